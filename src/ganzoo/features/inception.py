"""Inception features, as each of the reference programs makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from ganzoo.datasets.base import DataPath
from ganzoo.features.arithmetic import feature_precision, full_float32
from ganzoo.features.base import Extractor, Features, fingerprint
from ganzoo.features.inception_net import CLASSES, DIMENSIONS, SIZE, InceptionNet
from ganzoo.features.resizing import Resize, as_rgb, resize
from ganzoo.features.weights import Published, Reading, load, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from ganzoo.core.device import PrecisionName

__all__ = ["ENVIRONMENT", "WEIGHTS", "Inception"]

ENVIRONMENT = "GANZOO_INCEPTION_WEIGHTS"
"""Environment variable that names a file of the weights."""

WEIGHTS = Published(
    title="the weights of the FID Inception network",
    address=(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth"
    ),
    digest="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    size=95_628_359,
    names=(
        "pt_inception-2015-12-05-6726825d.pth",  # of pytorch-fid
        "weights-inception-2015-12-05-6726825d.pth",  # of torch-fidelity
    ),
    environment=ENVIRONMENT,
)

_TOGETHER = 10  # pictures on a CPU: more leave its caches, and malloc maps larger blocks each time


@dataclass(frozen=True)
class _Preset:
    """How a program makes features.

    Attributes:
        resize: How it resizes.
        centre: Grey value that becomes 0.
        scale: Distance from it that becomes 1.
        program: Its name.
        bias: Whether its logits have the last layer's bias.
    """

    resize: Resize
    centre: float
    scale: float
    program: str
    bias: bool = False


_PRESETS = {
    "torch-fidelity": _Preset("tf1-bilinear", 128.0, 128.0, "torch-fidelity"),
    "pytorch-fid": _Preset("bilinear", 127.5, 127.5, "pytorch-fid"),
    "clean": _Preset("pil-bicubic-float", 128.0, 128.0, "clean-fid"),
    "studiogan": _Preset("pil-bilinear-float", 127.5, 127.5, "StudioGAN", bias=True),
}


class Inception(Extractor):
    """Features of the Inception network that FID, KID and the Inception Score are defined on.

    2,048 features after the last pooling, of pictures resized to 299x299; greyscale becomes RGB
    with equal channels. Logits where the weights have the last layer: without its bias, as the
    Inception Score is computed by its authors and torch-fidelity, or with it where the preset
    says so. ``torch-fidelity`` resizes as TensorFlow 1 did, ``pytorch-fid`` as ``interpolate``,
    ``clean`` with Pillow's bicubic filter (clean-fid), ``studiogan`` with Pillow's bilinear one
    (StudioGAN's "friendly").
    """

    name: ClassVar[str] = "inception"
    citation: ClassVar[str] = (
        'Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", '
        "arXiv:1512.00567; Heusel et al. 2017, arXiv:1706.08500"
    )
    channels: ClassVar[tuple[int, ...] | None] = (1, 3)
    dimensions: ClassVar[int] = DIMENSIONS
    classes: ClassVar[int] = CLASSES

    preset: Literal["torch-fidelity", "pytorch-fid", "clean", "studiogan"] = Field(
        "torch-fidelity", description="program whose preparation of pictures is followed"
    )
    weights: DataPath | None = Field(
        None,
        description=f"file of weights, safetensors or .pth; by default {ENVIRONMENT}, "
        "the cache, or a download",
    )
    download: bool = Field(True, description="download the weights where they are not found")

    @property
    def program(self) -> str:
        """The program that the preset follows."""
        return _PRESETS[self.preset].program

    def build(self, device: torch.device, precision: PrecisionName = "auto") -> nn.Module:
        """Return the net; its parts are ``features`` of any number of pictures at once."""
        picked = feature_precision(precision, device)
        dtype = torch.bfloat16 if picked.autocast else torch.float32
        net = InceptionNet(_READING.take(self, self._tensors), device, dtype)
        return _Module(net, self.preset, device, exact=not picked.autocast).eval()

    def weights_hash(self) -> str:
        """Return the SHA-256 of the convolutional weights, in whatever file they are."""
        return self._hashes()[0]

    def logits_hash(self) -> str | None:
        """Return the SHA-256 of the last layer; None where the weights lack it."""
        return self._hashes()[1]

    def preparation(self) -> dict[str, Any]:
        """Return preset, size, resizing and scaling."""
        preset = _PRESETS[self.preset]
        return {
            "preset": self.preset,
            "size": SIZE,
            "resize": preset.resize,
            "scaling": f"(x - {preset.centre:g}) / {preset.scale:g}",
            "logits": "with bias" if preset.bias else "without bias",
        }

    def _hashes(self) -> tuple[str, str | None]:
        return _READING.digest(self, lambda: stamp(self._file()), self._tensors)

    def _file(self) -> Path:
        return WEIGHTS.find(self.weights, self.download)

    def _tensors(self) -> dict[str, Tensor]:
        shapes = InceptionNet.shapes()
        return load(self._file(), shapes, [name for name in shapes if name.startswith("fc.")])


def _hashed(tensors: Mapping[str, Tensor]) -> tuple[str, str | None]:
    """The hashes of the convolutions and of the last layer, if there is one."""
    last = {name for name in tensors if name.startswith("fc.")}
    return (
        fingerprint({n: v for n, v in tensors.items() if n not in last}),
        fingerprint({n: tensors[n] for n in last}) if last else None,
    )


_READING: Reading[dict[str, Tensor], tuple[str, str | None]] = Reading(_hashed)


class _Module(nn.Module):
    """From uint8 pictures to features."""

    def __init__(
        self, net: InceptionNet, preset: str, device: torch.device, *, exact: bool
    ) -> None:
        super().__init__()
        self.net, self._exact = net, exact
        self._preset = _PRESETS[preset]
        self._together = _TOGETHER if device.type == "cpu" else None

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Features:
        """Map uint8 (N, 1 or 3, H, W) to features (N, 2048) and logits (N, 1008) or None."""
        pictures = as_rgb(pictures, "inception")
        parts = torch.split(pictures, self._together or max(1, len(pictures)))
        with full_float32(self._exact):
            pool = torch.cat([self.net(self._prepared(part)) for part in parts])
            return Features(pool, self.net.logits(pool, self._preset.bias))

    def _prepared(self, pictures: Tensor) -> Tensor:
        how = self._preset
        grey = pictures.stride(1) == 0  # its channels are one, and are resized once
        x = resize(pictures[:, :1] if grey else pictures, SIZE, how.resize)
        return x.sub_(how.centre).div_(how.scale).expand(-1, 3, -1, -1)
