"""What the tests of pictures in folders, archives and tables share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ganzoo import datasets
from ganzoo.datasets.samples import Samples
from ganzoo.errors import DataError


def load(path: Path, dataset: str = "folder", **options: object) -> Samples:
    return datasets.create(dataset, path=path, **options).load()


def notices(samples: Samples) -> tuple[str, ...]:
    """All but those about the range of values, of which pictures here fill little."""
    about = ("The values go from", "All values are")
    return tuple(each for each in samples.notices if not each.startswith(about))


def refused(path: Path, kind: type[Exception] = DataError, **options: object) -> str:
    """What loading says, in one line, where it fails."""
    with pytest.raises(kind) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def idx(array: np.ndarray) -> bytes:
    """The file of MNIST's format that holds these bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
