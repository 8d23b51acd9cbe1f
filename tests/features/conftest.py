"""A random Inception network, the same everywhere, and pictures made by arithmetic."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ganzoo.features.inception_net import InceptionNet


def random_tensors() -> dict[str, torch.Tensor]:
    """Weights that keep activations of all layers near 1; logits included."""
    tensors = {}
    for index, (name, shape) in enumerate(InceptionNet.shapes().items()):
        random = torch.Generator().manual_seed(index)
        if name.endswith(("conv.weight", "fc.weight")):
            fan = shape[1] * (shape[2] * shape[3] if len(shape) == 4 else 1)
            tensors[name] = torch.randn(shape, generator=random) * (2 / fan) ** 0.5
        elif name.endswith("running_var"):
            tensors[name] = 0.5 + torch.rand(shape, generator=random)
        elif name.endswith("bn.weight"):
            tensors[name] = 0.9 + 0.2 * torch.rand(shape, generator=random)
        else:
            tensors[name] = 0.1 * torch.randn(shape, generator=random)
    return tensors


def chequered(count: int = 2, channels: int = 3, height: int = 32, width: int = 32) -> torch.Tensor:
    """Pictures uint8 (N, C, H, W) with structure at all scales, without random numbers."""
    n, c, y, x = torch.meshgrid(
        *(torch.arange(size) for size in (count, channels, height, width)), indexing="ij"
    )
    return ((x * x * (3 + n) + y * (7 + 5 * c) + x * y * (c + 1)) % 256).to(torch.uint8)


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of those weights."""
    path = tmp_path_factory.mktemp("inception") / "random.safetensors"
    save_file(random_tensors(), path)
    return path


@pytest.fixture
def pictures() -> torch.Tensor:
    return chequered()


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The network's real weights; tests that need them are skipped where there are none."""
    shared = Path(__file__).parents[3] / "shared/weights/fid_inception_2015_nofc.safetensors"
    path = Path(os.environ.get("GANZOO_TEST_INCEPTION") or shared)
    if not path.is_file():
        pytest.skip("no Inception weights: set GANZOO_TEST_INCEPTION to a file of them")
    return path
