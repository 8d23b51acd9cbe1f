"""The small Fashion-MNIST inside the package: training works offline, right after installing."""

from __future__ import annotations

import zipfile
import zlib
from importlib import resources
from typing import ClassVar

from ganzoo.core import installation
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.base import Dataset
from ganzoo.datasets.samples import Samples
from ganzoo.errors import DataError

__all__ = ["CLASSES", "FashionMNIST10k"]

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""What the ten labels mean."""

_FILE = "fashion-mnist-10k.npz"
_COUNT = 10_000


class FashionMNIST10k(Dataset):
    """10,000 of the Fashion-MNIST training images, 1,000 per class, inside the package.

    The images are the first 1,000 of each class, in the order of the training split, as 28x28
    greyscale. Credit: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; MIT licence, Copyright (c)
    2017 Zalando SE (``FASHION-MNIST-LICENSE`` next to the file).
    """

    name: ClassVar[str] = "fashion-mnist-10k"
    classes_of: ClassVar[str | None] = "fashion-mnist"
    license: ClassVar[str] = "MIT"
    citation: ClassVar[str] = "Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747"

    def load(self) -> Samples:
        """Read the samples.

        Returns:
            Images uint8 (10000, 1, 28, 28) in 0..255, labels int64 (10000,) in 0..9.

        Raises:
            DataError: If the file inside the package is absent or damaged.
        """
        import numpy as np
        import torch

        place = resources.files("ganzoo.datasets").joinpath("data", _FILE)
        try:
            with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                images, labels = arrays["images"], arrays["labels"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error
        shapes = (images.shape, labels.shape) == ((_COUNT, 28, 28), (_COUNT,))
        if not shapes or {images.dtype, labels.dtype} != {np.dtype(np.uint8)}:
            raise self._damaged(f"images {images.shape} {images.dtype}, labels {labels.shape}")
        return Samples(
            data=torch.from_numpy(images).unsqueeze(1),
            spec=SampleSpec(kind="image", shape=(1, 28, 28), classes=CLASSES),
            labels=torch.from_numpy(labels.astype(np.int64)),
        )

    def _damaged(self, reason: str) -> DataError:
        reason = " ".join(reason.split())
        return DataError(
            f"The file {_FILE} inside the ganzoo package is absent or damaged ({reason}); "
            f"reinstall ganzoo: {installation.reinstall()}"
        )
