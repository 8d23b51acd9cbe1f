"""What datasets made of encoded pictures have in common: their options, and how they are kept."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, PositiveInt

from ganzoo.datasets.base import DataPath, Dataset, Samples
from ganzoo.datasets.cache import cache_root, decoded
from ganzoo.datasets.decoding import Crop, Mode, Wanted, span
from ganzoo.spec import SampleSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.datasets.cache import Decoded, Source

__all__ = ["Labelling", "PictureDataset"]

_MOST_WORKERS = 8
_NAMED = 3  # classes or files that a notice names


def _pair(value: Any) -> Any:
    """One side stands for both."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return (value, value) if isinstance(value, int) else value


class Labelling(NamedTuple):
    """Labels (N,) and the names of their classes, or neither; and what to say about them."""

    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()


class PictureDataset(Dataset):
    """Base of datasets of encoded pictures, which are decoded once into a cache.

    What becomes of a picture:

    * Size: ``size``; where it is not given, the size that all pictures have, up to 256 a side;
      otherwise 64x64, which a notice says. A picture of other proportions is resized until it
      covers that size, and what is too long is cut off both ends (``crop="center"``); or it is
      stretched (``crop="none"``). With ``crop="random"`` it is kept 8/7 as large, rounded up, and a
      part of ``size`` is cut out each time it is drawn. Sizes change with Pillow's antialiased
      bilinear filter; smaller pictures are enlarged.
    * Channels: with ``mode="auto"`` all pictures become RGBA if each has an alpha channel and at
      least one has a transparent pixel, RGB if at least one is in colour, otherwise grey. What is
      transparent is put on white where alpha is not kept.
    * Values: 8 bits. 16-bit greyscale is scaled by 255/65535 and rounded, and in colour its upper 8
      bits are taken; floats are taken to be in [0, 1]. CMYK and palettes become RGB by Pillow's
      conversion; colour profiles are not applied. Exif orientation is.
    * A file that cannot be decoded is left out, which a notice says, up to ``max_bad``.
    """

    size: Annotated[tuple[PositiveInt, PositiveInt] | None, BeforeValidator(_pair)] = Field(
        None, description="height and width; by default that of the pictures if all agree, or 64"
    )
    crop: Crop = Field(
        "center", description="how other proportions are met: cut centrally, at random, or not"
    )
    flip: bool = Field(False, description="mirror left to right at random whenever one is drawn")
    mode: Mode = Field("auto", description="channels; auto is what the pictures have")
    max_bad: float = Field(
        0.01, ge=0, description="unreadable pictures to leave out: a share below 1, or a number"
    )
    cache: DataPath | None = Field(
        None,
        description="where decoded pictures are kept; by default GANZOO_CACHE or the user's cache",
    )
    workers: int | None = Field(None, ge=1, description="threads that decode; by default 1 per CPU")

    def load(self) -> Samples:
        """Decode the pictures, or read them as they were decoded before.

        Returns:
            Images uint8 (N, C, H, W) in 0..255, memory-mapped; labels int64 (N,) where there are
            any.

        Raises:
            DataError: If there are no pictures, too many are unreadable, or the cache cannot be
                written.
        """
        import torch

        with self._source() as source:
            found = self._decoded(source)
            labels, classes, own = self._labelled(found)
            notices = [*source.notices, *own, *self._notices(found, labels, classes)]
        size = self._wanted.size_of(found.facts)
        return Samples(
            data=torch.from_numpy(found.pictures),
            spec=SampleSpec(kind="image", shape=(found.pictures.shape[1], *size), classes=classes),
            labels=None if labels is None else torch.from_numpy(labels),
            flip=self.flip,
            notices=tuple(notices),
        )

    def encoded(self) -> AbstractContextManager[Source]:
        """Open the pictures as they are stored, to be decoded by the caller.

        Raises:
            DataError: If there are none.
        """
        return self._source()

    @property
    def wanted(self) -> Wanted:
        """The form that was asked for, where it was."""
        return self._wanted

    @property
    def threads(self) -> int:
        """How many threads decode."""
        return self.workers or min(_MOST_WORKERS, os.cpu_count() or 1)

    @abstractmethod
    def _source(self) -> AbstractContextManager[Source]:
        """Open what the pictures are read from."""

    @abstractmethod
    def _labelled(self, found: Decoded) -> Labelling:
        """Find the labels of what was decoded."""

    @property
    def _wanted(self) -> Wanted:
        return Wanted(size=self.size, crop=self.crop, mode=self.mode)

    def _decoded(self, source: Source) -> Decoded:
        root, workers = cache_root(self.cache), self.threads
        return decoded(source, self._wanted, root=root, workers=workers, max_bad=self.max_bad)

    def _notices(
        self,
        found: Decoded,
        labels: NDArray[np.int64] | None,
        classes: tuple[str, ...] | None,
    ) -> list[str]:
        import numpy as np

        facts, notices = found.facts, []
        if found.repaired:
            notices.append(
                f"The decoded pictures in {found.folder} were damaged ({found.repaired}) and have "
                f"been made again."
            )
        if skipped := found.skipped:
            files = f"'{skipped[0].name}' ({skipped[0].reason})"
            if len(skipped) > 1:
                files = f"{len(skipped):,} pictures, such as {files},"
            notices.append(
                f"{files} cannot be read and {'is' if len(skipped) == 1 else 'are'} left out of "
                f"{found.total:,}; {found.folder / 'cache.json'} names all."
            )
        if self.size is None and facts.native is None:
            height, width = self._wanted.size_of(facts)
            if facts.low == facts.high:
                fact = f"All pictures are {facts.high[0]}x{facts.high[1]}, which is large"
            else:
                fact = f"The pictures have {span(facts.low, facts.high)}"
            how = "stretched" if self.crop == "none" else "resized and cropped"
            notices.append(
                f"{fact}: they are {how} to {height}x{width}; another size is asked for with size."
            )
        if facts.clear and found.pictures.shape[1] < 4:
            notices.append(
                "Transparent parts of pictures are put on white; mode='rgba' keeps them."
            )
        if labels is not None and classes is not None:
            counts = np.bincount(labels, minlength=len(classes))
            single = [name for name, count in zip(classes, counts, strict=True) if count == 1]
            if single:
                notices.append(
                    f"{_some_of(single)} only one picture, too few to learn a class from; add "
                    f"pictures or leave the class out."
                )
        return notices


def _some_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"The class '{names[0]}' has"
    shown = ", ".join(f"'{name}'" for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"The classes {shown}{more} have"
