"""VGG-16 features, in which precision and recall were first measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from ganzoo.datasets.base import DataPath
from ganzoo.features.arithmetic import feature_precision
from ganzoo.features.base import Extractor, fingerprint
from ganzoo.features.vision import IMAGENET, Seen
from ganzoo.features.weights import Published, Reading, load, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from ganzoo.core.device import PrecisionName

__all__ = ["ENVIRONMENT", "VGG16", "WEIGHTS", "shapes"]

ENVIRONMENT = "GANZOO_VGG16_WEIGHTS"
"""Environment variable that names a file of the weights."""

WEIGHTS = Published(
    title="torchvision's weights of VGG-16",
    address="https://download.pytorch.org/models/vgg16-397923af.pth",
    digest="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    size=553_433_881,
    names=("vgg16-397923af.pth",),
    environment=ENVIRONMENT,
)

_SIZE = 224


class VGG16(Extractor):
    """4,096 features of VGG-16: its second fully connected layer, after the ReLU.

    As torch-fidelity has them: pictures resized to 224x224 as TensorFlow 1 did, with torchvision's
    weights. Kynkaanniemi et al. 2019, arXiv:1904.06991, measure precision and recall there.
    """

    name: ClassVar[str] = "vgg16"
    citation: ClassVar[str] = "Simonyan & Zisserman 2015, arXiv:1409.1556"
    channels: ClassVar[tuple[int, ...] | None] = (1, 3)
    dimensions: ClassVar[int] = 4096

    weights: DataPath | None = Field(
        None,
        description=f"file of torchvision's weights; by default {ENVIRONMENT}, the cache, or a "
        "download",
    )
    download: bool = Field(True, description="download the weights where they are not found")

    @property
    def program(self) -> str:
        """The program whose features these are."""
        return "torch-fidelity"

    def build(self, device: torch.device, precision: PrecisionName = "auto") -> nn.Module:
        """Return the net."""
        net = _network()
        net.load_state_dict(_READING.take(self, self._tensors), assign=True)
        del net.classifier[4:]  # ReLU and dropout follow, and the classes
        net.classifier.append(nn.ReLU())
        return Seen(
            net,
            "vgg16",
            device,
            feature_precision(precision, device),
            _SIZE,
            "tf1-bilinear",
            IMAGENET,
        )

    def weights_hash(self) -> str:
        """Return the SHA-256 of the weights, without those of the last layer."""
        return _READING.digest(self, lambda: stamp(self._file()), self._tensors)

    def preparation(self) -> dict[str, Any]:
        """Return preset, size, resizing and scaling."""
        return {
            "preset": "torch-fidelity",
            "size": _SIZE,
            "resize": "tf1-bilinear",
            "scaling": str(IMAGENET),
            "layer": "fc2 after ReLU",
        }

    def _tensors(self) -> dict[str, Tensor]:
        return load(self._file(), shapes(), ())

    def _file(self) -> Path:
        return WEIGHTS.find(self.weights, self.download)


def _hashed(tensors: Mapping[str, Tensor]) -> str:
    return fingerprint({n: v for n, v in tensors.items() if not n.startswith("classifier.6.")})


_READING: Reading[dict[str, Tensor], str] = Reading(_hashed)


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights, by torchvision's names."""
    return {name: tuple(value.shape) for name, value in _network().state_dict().items()}


def _network() -> Any:
    """Return torchvision's network, with neither weights nor memory for them."""
    import torchvision

    with torch.device("meta"):
        return torchvision.models.vgg16()
