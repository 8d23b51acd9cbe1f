"""LPIPS: the distance between two images as people see it, by VGG16."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganzoo.features import vgg16, weights
from ganzoo.features.base import fingerprint

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

__all__ = ["HEADS", "LPIPS", "hashes", "pretrained"]

_BLOCKS = ((0, 4, 64), (4, 9, 128), (9, 16, 256), (16, 23, 512), (23, 30, 512))
"""Where the blocks of VGG-16 begin and end among torchvision's layers, and their channels."""

HEADS = weights.Published(
    title="the weights of LPIPS",
    address=(
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/"
        "v0.1/vgg.pth"
    ),
    digest="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    size=7_289,
    names=("lpips-vgg16-v0.1.pth", "weights-vgg16-lpips.pth"),
    environment="GANZOO_LPIPS_WEIGHTS",
)


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity, version 0.1, with VGG16.

    Zhang et al. 2018, arXiv:1801.03924, eq. 1: both images pass through VGG16; after each of its
    five blocks the features of each place are brought to length 1, and the squared differences are
    weighted by channel, averaged over places and added up.

    Args:
        size: Height and width that images are brought to first, by area where both sides are
            larger, else bilinearly; None to leave them.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size
        from torchvision.models.vgg import cfgs, make_layers

        layers = make_layers(cfgs["D"])
        self.blocks = nn.ModuleList(nn.Sequential(*layers[a:b]) for a, b, _ in _BLOCKS)
        self.heads = nn.ParameterList(torch.rand(channels) for _, _, channels in _BLOCKS)
        # ImageNet's mean and standard deviation, as LPIPS rounds them, on [-1, 1]; numbers, even
        # where the rest is built on the meta device.
        shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]], device="cpu")
        self.register_buffer("shift", shift[:, None, None], persistent=False)
        self.register_buffer("scale", scale[:, None, None], persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances (N,), from 0 on, of images (N, 1 or 3, H, W) in [0, 255]."""
        return self.apart(self.see(a), self.see(b))

    def see(self, images: Tensor) -> list[Tensor]:
        """Return the features of images (N, 1 or 3, H, W) in [0, 255], of length 1 everywhere."""
        images = images.to(self.shift.device)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        x = (images / 127.5 - 1 - self.shift) / self.scale
        if self.size is not None:
            size = (self.size, self.size)
            if min(x.shape[2:]) > self.size:
                x = interpolate(x, size, mode="area")
            else:
                x = interpolate(x, size, mode="bilinear", align_corners=False)
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def apart(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Return the distances (N,) of what ``see`` returned."""
        return torch.stack(
            [
                ((x - y).square() * head[:, None, None]).sum(1).mean((1, 2))
                for x, y, head in zip(a, b, self.heads, strict=True)
            ]
        ).sum(0)

    def take(self, trunk: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        """Take weights under the names of torchvision's VGG16 and of the published heads.

        They are copied; the net itself may be on the meta device until then.
        """
        for name, layer in self._layers():
            layer.weight = _own(trunk[f"{name}.weight"])
            layer.bias = _own(trunk[f"{name}.bias"])
        for number in range(len(self.heads)):
            self.heads[number] = _own(heads[f"lin{number}.model.1.weight"].flatten())

    def _layers(self) -> list[tuple[str, nn.Conv2d]]:
        """The convolutions by their names in torchvision, where all layers are in one row."""
        row = [layer for block in self.blocks for layer in block.children()]
        return [(f"features.{i}", x) for i, x in enumerate(row) if isinstance(x, nn.Conv2d)]


def pretrained(size: int | None, device: torch.device) -> LPIPS:
    """Return LPIPS with its published weights, in eval mode and without gradients.

    They are looked for as those of extractors are: environment variables, caches, download. The
    net is the same one as long as the files are the same: do not change it. The global random state
    stays as it is.

    Raises:
        CheckpointError: If they are not there, or are those of another net.
    """
    trunk, heads = (each.find(None, download=True) for each in (vgg16.WEIGHTS, HEADS))
    return _loaded(size, device, trunk, heads, (weights.stamp(trunk), weights.stamp(heads)))


def hashes() -> dict[str, str]:
    """Return the SHA-256 of the published weights: of the ``trunk``, and of the ``heads`` on it.

    Raises:
        CheckpointError: If they are not there, or are those of another net.
    """
    trunk, heads = (each.find(None, download=True) for each in (vgg16.WEIGHTS, HEADS))
    first, second = _hashes(trunk, heads, (weights.stamp(trunk), weights.stamp(heads)))
    return {"trunk": first, "heads": second}


@functools.lru_cache(maxsize=2)
def _hashes(trunk_file: Path, heads_file: Path, files: tuple[Hashable, ...]) -> tuple[str, str]:
    """Of the tensors as they are used, in whatever form the files hold them."""
    state = _read(trunk_file, heads_file, files).state_dict()
    heads = {name: value for name, value in state.items() if name.startswith("heads.")}
    trunk = {name: value for name, value in state.items() if name not in heads}
    return fingerprint(trunk), fingerprint(heads)


@functools.lru_cache(maxsize=2)
def _loaded(
    size: int | None,
    device: torch.device,
    trunk_file: Path,
    heads_file: Path,
    files: tuple[Hashable, ...],
) -> LPIPS:
    """The net for a size and device, with the very tensors that were hashed."""
    with torch.device("meta"):
        net = LPIPS(size)
    state = _read(trunk_file, heads_file, files).state_dict()
    net.load_state_dict(state, assign=True)
    return net.to(device).eval().requires_grad_(False)


@functools.lru_cache(maxsize=1)  # of some 60 MB
def _read(trunk_file: Path, heads_file: Path, files: tuple[Hashable, ...]) -> LPIPS:
    """The net with the weights of two files, read anew where these are others."""
    with torch.device("meta"):
        net = LPIPS(None)
    shapes = vgg16.shapes()
    classifier = [name for name in shapes if name.startswith("classifier.")]
    trunk = weights.load(trunk_file, shapes, optional=classifier)
    expected: dict[str, tuple[int, ...]] = {
        f"lin{number}.model.1.weight": (1, len(head), 1, 1) for number, head in enumerate(net.heads)
    }
    net.take(trunk, weights.load(heads_file, expected, optional=()))
    return net.requires_grad_(False)


def _own(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.to(torch.float32, copy=True))
