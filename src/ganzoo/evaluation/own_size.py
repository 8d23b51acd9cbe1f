"""What sides of pictures have in common: sizes, batches of them, which are taken, their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.core.seeds import derive
from ganzoo.datasets.base import SUBSET_FIELDS
from ganzoo.datasets.formats import span
from ganzoo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets import Dataset
    from ganzoo.datasets.conversion import AnyArray
    from ganzoo.datasets.ranges import Range

__all__ = [
    "WINDOW",
    "Digest",
    "Size",
    "Sizes",
    "called",
    "chosen",
    "described",
    "dropped_alpha",
    "fitted",
    "in_range",
    "in_windows",
]

Size = tuple[int, int]
"""Height and width."""

WINDOW = 64 * 2**20
"""Bytes of pictures that are looked at together, at most: of large ones it is one at a time."""


@dataclass(frozen=True)
class Sizes:
    """Which sizes pictures have: smallest and largest height, smallest and largest width."""

    low: Size
    high: Size

    @classmethod
    def of(cls, table: Tensor) -> Sizes:
        """Those in a table of heights and widths (N, 2)."""
        low, high = table.amin(0).tolist(), table.amax(0).tolist()
        return cls((low[0], low[1]), (high[0], high[1]))

    @property
    def one(self) -> Size | None:
        """Height and width, if all agree."""
        return self.low if self.low == self.high else None

    def __str__(self) -> str:
        """Return them in words."""
        if self.one is not None:
            return f"{self.low[0]}x{self.low[1]}"
        return span(self.low, self.high)


def in_windows(windows: Iterable[Tensor], size: int) -> Iterator[Tensor | list[Tensor]]:
    """Gather pictures (C, H, W) into batches of at most ``size`` and ``WINDOW`` bytes, in order.

    A batch is a tensor where all are of one shape and type, and otherwise a list.
    """
    waiting: list[Tensor] = []
    held = 0
    for picture in windows:
        if waiting and (len(waiting) == size or held + picture.nbytes > WINDOW):
            yield _batch(waiting)
            waiting, held = [], 0
        waiting.append(picture)
        held += picture.nbytes
    if waiting:
        yield _batch(waiting)


def _batch(pictures: list[Tensor]) -> Tensor | list[Tensor]:
    forms = {(picture.shape, picture.dtype) for picture in pictures}
    return torch.stack(pictures) if len(forms) == 1 else pictures


def fitted(batch: Tensor | Sequence[Tensor], size: Size) -> Tensor:
    """Bring pictures to one size, as a dataset of pictures does for a training.

    What is too long for the proportions is cut off both ends; the rest is resized bilinearly, with
    antialiasing.

    Args:
        batch: (N, C, H, W), or pictures (C, H, W) of any sizes; uint8 or floats.
        size: Height and width.

    Returns:
        (N, C, *size), of the same type; of floats where they differ in it.
    """
    if not isinstance(batch, torch.Tensor):
        parts = [fitted(picture[None], size) for picture in batch]
        if len({part.dtype for part in parts}) > 1:
            raise DataError(
                "Some of these pictures are 8-bit numbers and others are floats, so that they "
                "cannot be put together; bring all to one type."
            )
        return torch.cat(parts)
    (height, width), (tall, wide) = batch.shape[-2:], size
    if (height, width) == (tall, wide):
        return batch
    scale = min(width / wide, height / tall)
    rows, columns = max(1, round(tall * scale)), max(1, round(wide * scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    part = batch[..., top : top + rows, left : left + columns]
    if (rows, columns) == (tall, wide):
        return part
    found = torch.nn.functional.interpolate(
        part.float(), size, mode="bilinear", align_corners=False, antialias=True
    )
    return found.round().clamp(0, 255).to(torch.uint8) if batch.dtype == torch.uint8 else found


def in_range(
    batch: Tensor, stored: tuple[float, float] | None, wanted: tuple[float, float] | None
) -> Tensor:
    """Stored values as floats in the range of a spec; pictures of 8 bits as they are."""
    if batch.dtype == torch.uint8 and stored == (0.0, 255.0):
        return batch
    batch = batch.float()
    if stored is not None and wanted is not None:
        (low, high), (bottom, top) = stored, wanted
        batch = (batch - low) * ((top - bottom) / (high - low)) + bottom
    return batch


def chosen(dataset: Dataset, there: int, count: int | None) -> Tensor | None:
    """Numbers of as many samples as are asked for, always the same ones; None for all.

    Raises:
        DataError: If there are fewer.
    """
    if count is None or count == there:
        return None
    if count > there:
        raise DataError(
            f"The dataset {called(dataset)} has {there:,} samples, fewer than the {count:,} that "
            f"are asked for. Ask for at most {there:,}."
        )
    order = torch.Generator().manual_seed(derive(0, "evaluated"))
    return torch.randperm(there, generator=order)[:count].sort().values


def called(dataset: Dataset) -> str:
    """Return how an error names a dataset."""
    path = getattr(dataset, "path", None)
    return f"'{dataset.name}' ({path})" if path else f"'{dataset.called}'"


def described(dataset: Dataset, count: int, digest: str) -> dict[str, Any]:
    """Which samples these are, for a protocol."""
    settings = dataset.model_dump(mode="json")
    parts = {name: settings[name] for name in SUBSET_FIELDS if settings.get(name) is not None}
    if Path(parts.get("repo", "")).is_absolute():
        del parts["repo"]  # a folder of this machine, which says nothing elsewhere
    return {"dataset": dataset.name, **parts, "count": count, "sha256": digest}


def dropped_alpha(title: str, program: str | None) -> str:
    """Return the notice on a last channel that is not looked at."""
    return (
        f"The last channel of the pictures of {title} is taken for alpha and is dropped, as "
        f"{program} does with files; give them without it if it is none."
    )


class Digest:
    """SHA-256 of pictures: ``StoredSamples.fingerprint`` where all are there and of one size."""

    def __init__(self, expected: int, bounds: Range = (0.0, 255.0)) -> None:
        self._expected, self._bounds, self._count = expected, bounds, 0
        self._pixels, self._forms = hashlib.sha256(), hashlib.sha256()
        self._first: Any = None
        self._alike = True

    def add(self, pixels: AnyArray) -> None:
        """Take in the next picture."""
        import numpy as np

        form = (pixels.shape, f"torch.{pixels.dtype}")
        if self._first is None:
            self._first = form
            self._pixels.update(repr((*form, self._expected, self._bounds)).encode())
        self._alike = self._alike and form == self._first
        self._count += 1
        self._forms.update(repr(form).encode())
        self._pixels.update(np.ascontiguousarray(pixels).data)

    def hexdigest(self) -> str:
        """Return it."""
        if self._alike and self._count == self._expected:
            return self._pixels.hexdigest()
        parts: tuple[Any, ...] = (
            self._count,
            self._forms.hexdigest(),
            self._pixels.hexdigest(),
        )
        if self._bounds != (0.0, 255.0):
            parts = (*parts, self._bounds)
        return hashlib.sha256(repr(parts).encode()).hexdigest()
