"""A dataset."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets import Dataset, Samples

__all__ = ["CLASSES", "Checkerboard"]

CLASSES = ("coarse", "fine")
"""What the two labels mean: squares of half and of a quarter of the image's width."""


class Checkerboard(Dataset):
    """Greyscale checkerboards of two sizes, shifted at random: made, not downloaded."""

    license: ClassVar[str] = "CC0-1.0"

    size: int = Field(16, ge=4, multiple_of=4, description="height and width of an image")
    count: int = Field(512, ge=1, description="number of images")
    seed: int = Field(0, ge=0, description="decides shifts and shades")

    def load(self) -> Samples:
        """Draw the images.

        Returns:
            Images uint8 (count, 1, size, size) in 0..255, labels int64 (count,) in 0..1.
        """
        # Imported here, so that listing options stays quick.
        import numpy as np
        import torch

        random = np.random.default_rng(self.seed)
        labels = np.arange(self.count) % len(CLASSES)
        square = np.array([self.size // 2, self.size // 4])[labels]
        shift = random.integers(0, self.size, (2, self.count))
        axis = np.arange(self.size)
        rows, columns = ((axis + shift[..., None]) // square[:, None]) % 2  # (count, size) each
        is_light = rows[:, :, None] != columns[:, None, :]
        dark = random.integers(0, 64, (self.count, 1, 1))
        light = random.integers(192, 256, (self.count, 1, 1))
        images = np.where(is_light, light, dark).astype(np.uint8)
        return Samples(
            data=torch.from_numpy(images).unsqueeze(1),
            spec=SampleSpec(kind="image", shape=(1, self.size, self.size), classes=CLASSES),
            labels=torch.from_numpy(labels.astype(np.int64)),
        )
