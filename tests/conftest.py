from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# Tests are many small trainings: more threads than that only wait for each other.
torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own and leaves torch's random state as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANZOO_DISABLE_PLUGINS", raising=False)
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture
def pictures() -> torch.Tensor:
    """96 greyscale pictures of 16x16: bright squares at random places."""
    generator = torch.Generator().manual_seed(5)
    data = torch.zeros(96, 1, 16, 16, dtype=torch.uint8)
    for picture, (top, left) in zip(
        data, torch.randint(0, 10, (96, 2), generator=generator).tolist(), strict=True
    ):
        picture[0, top : top + 6, left : left + 6] = 255
    return data
