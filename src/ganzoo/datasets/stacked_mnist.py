"""Stacked MNIST: colour images with a thousand modes that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ganzoo.core.seeds import derive
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.samples import Samples
from ganzoo.datasets.torchvision_sets import MNIST

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["StackedMNIST"]

_COUNTS = {"train": 128_000, "test": 26_000}
_CHANNELS = 3


class StackedMNIST(MNIST):
    """Three digits of MNIST as the channels of one image, 28x28 RGB: 1,000 modes.

    Metz et al. 2017, sec. 3.3.1. Each channel is an image of the split, drawn evenly with
    replacement and apart from the other two; nothing else is random, so that the same seed gives
    the same stacks on every machine. A label is the three digits read from red to blue: class 123
    is called ``123``, and is the mode that the metric ``modes`` counts under that number. All
    stacks are in memory, 2,352 bytes each.

    Credit: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
    """

    name: ClassVar[str] = "stacked-mnist"
    citation: ClassVar[str] = (
        'Metz et al. 2017, "Unrolled Generative Adversarial Networks", arXiv:1611.02163'
    )

    count: int | None = Field(
        None,
        ge=1,
        description="stacks in all; by default 128,000 to train with and 26,000 to test, as in "
        "PacGAN, arXiv:1712.04086",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="decides the stacks, apart from the run's")

    def _read(self, root: Path, download: bool) -> Samples:
        import torch

        digits = super()._read(root, download)
        assert digits.labels is not None and digits.spec.classes is not None
        random = torch.Generator().manual_seed(derive(self.seed, "stacks", self.split))
        count = self.count or _COUNTS[self.split]
        picked = torch.randint(len(digits), (count, _CHANNELS), generator=random)
        total = len(digits.spec.classes)
        labels = torch.zeros(count, dtype=torch.long)
        for channel in range(_CHANNELS):
            labels = labels * total + digits.labels[picked[:, channel]]
        classes = tuple(f"{mode:0{_CHANNELS}d}" for mode in range(total**_CHANNELS))
        return Samples(
            data=digits.data[:, 0][picked],
            spec=SampleSpec(kind="image", shape=(_CHANNELS, *digits.spec.size), classes=classes),
            labels=labels,
        )
