from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.register_assert_rewrite("advice_followed")

# Tests are many small trainings: more threads than that only wait for each other. Processes that
# share the tests (pytest -n) share the cores too, with those that tests start.
_SHARING = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, min(2, (os.cpu_count() or 1) // _SHARING)))
if _SHARING > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test works in a folder of its own and leaves torch's random state as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANZOO_DISABLE_PLUGINS", raising=False)
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture(autouse=True)
def _signals_reach_us() -> Iterator[None]:
    """Tests that are started in the background, where Ctrl-C is ignored, send themselves some."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings draw no plots, which take longer than such trainings; `plotted` lets them."""
    if "plotted" not in request.fixturenames and "test_plots" not in request.module.__name__:
        monkeypatch.setattr("ganzoo.showing.plots.available", lambda: False)


@pytest.fixture
def plotted() -> None:
    """Trainings in this test draw their plots."""


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


@pytest.fixture(scope="session")
def found_torchvision_root(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A writable copy of a torchvision root with MNIST and Fashion-MNIST, if there is one.

    It is looked for where GANZOO_TEST_DATA says, else in a folder beside the repository.
    """
    sibling = Path(__file__).parents[2] / "shared/data/torchvision-root"
    source = Path(os.environ.get("GANZOO_TEST_DATA") or sibling)
    names = ("MNIST", "FashionMNIST")
    if not all((source / name / "raw").is_dir() for name in names):
        return None
    root = tmp_path_factory.mktemp("torchvision-root")
    for name in names:
        (root / name / "raw").mkdir(parents=True)
        for file in (source / name / "raw").glob("*.gz"):
            shutil.copyfile(file, root / name / "raw" / file.name)
    return root


@pytest.fixture(scope="session")
def torchvision_root(found_torchvision_root: Path | None) -> Path:
    """That root; tests that need it are skipped where there is none."""
    if found_torchvision_root is None:
        pytest.skip("no MNIST files: set GANZOO_TEST_DATA to a torchvision root")
    return found_torchvision_root
