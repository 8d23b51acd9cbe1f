"""What datasets of encoded pictures have in common: their options, and their cache."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from pydantic import BeforeValidator, Field, PositiveInt

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.base import DataPath, Dataset, StoredRange
from ganzoo.datasets.cache import cache_root, decoded
from ganzoo.datasets.classes import rare_classes
from ganzoo.datasets.formats import Crop, Mode, RequestedFormat, carries, span
from ganzoo.datasets.ranges import Range, option, suggested_range, understand_range
from ganzoo.datasets.samples import Samples
from ganzoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.datasets.cache import Decoded
    from ganzoo.datasets.formats import ImageStats
    from ganzoo.datasets.picture_files import Source
    from ganzoo.datasets.stream import Stream

__all__ = ["Labelling", "PictureDataset"]

_MOST_THREADS = 8
_GENERAL = ("float32", "int32", "uint16")  # numbers, those that hold the others first


def _pair(value: Any) -> Any:
    """One side stands for both."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return (value, value) if isinstance(value, int) else value


class Labelling(NamedTuple):
    """Labels (N,) and the names of their classes, or neither; and what to say about them.

    ``guessed`` is what is said only where labels are used.
    """

    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()


class PictureDataset(Dataset):
    """Base of datasets of encoded pictures, which are decoded once into a cache.

    What becomes of a picture:

    * Size: ``size``; by default the size that all pictures have, up to 256 a side;
      otherwise 64x64, which a notice says. A picture of other proportions is resized until it
      covers that size, and what is too long is cut off both ends (``crop="center"``); or it is
      stretched (``crop="none"``). With ``crop="random"`` it is cached 8/7 as large, rounded up, and
      a part of ``size`` is cut out each time it is drawn. Sizes change with Pillow's antialiased
      bilinear filter; smaller pictures are enlarged.
    * Channels: with ``mode="auto"`` all pictures become RGBA if each has an alpha channel and at
      least one has a transparent pixel, RGB if at least one is in colour, otherwise grey. What is
      transparent is put on white where alpha is not retained.
    * Values: pictures of 8 bits are cached as uint8, deeper ones as float32 with the numbers that
      they hold, of which ``stored_range`` says the lowest and highest possible. Without it, 8 bits
      are taken as 0..255, 16 bits as 0..65535, other integers as 0..255 where all are within, and
      floats as [0, 1] or [-1, 1] where all are; others are refused. Pictures of 8 bits among deeper
      ones are carried from 0..255 to the range of these. CMYK and palettes become RGB by Pillow's
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
    stored_range: StoredRange | None = Field(
        None, description="lowest and highest value that the pictures may hold, before any scaling"
    )
    max_bad: float = Field(
        0.01, ge=0, description="unreadable pictures to leave out: a share below 1, or a number"
    )
    cache: DataPath | None = Field(
        None,
        description="folder of the cache; by default GANZOO_CACHE or the user's cache",
    )
    threads: int | None = Field(None, ge=1, description="threads that decode; by default 1 per CPU")

    def sized(self, size: tuple[int, int]) -> Self:
        """Return the dataset that makes samples of this size, where none was asked for."""
        return self if self.size is not None else self.replace(size=size)

    def stream(self, workers: int, labels: bool = False) -> Stream:
        """Refuse to be read while training, and say what to say instead."""
        threads = f"threads={workers} (--dataset.threads {workers})" if workers else "threads"
        raise ConfigError(
            f"'workers' are processes that read a torch Dataset while training; pictures of the "
            f"dataset '{self.name}' are decoded once, by threads. Leave 'workers' out; how many "
            f"threads is the dataset's option {threads}."
        )

    def load(self) -> Samples:
        """Decode the pictures, or read them as they were decoded before.

        Returns:
            Images uint8 or, of more than 8 bits, float32 (N, C, H, W), memory-mapped; labels int64
            (N,) where there are any.

        Raises:
            DataError: If there are no pictures, too many are unreadable, the cache cannot be
                written, or it is not known which range their values are in.
        """
        return self._load(None)

    def _load(self, wanted: bool | None) -> Samples:
        """Load, and say what is guessed about classes unless labels are not wanted."""
        import torch

        with self.encoded() as source:
            found = self._decoded(source)
            bounds, about = self.ranged(found.facts, found.examples, found.extent, source.origin)
            labelling = self._labelled(found, source)
            notices = [*source.notices, *self._notices(found), *about, *labelling.notices]
        labels, classes = None, labelling.classes
        if labelling.labels is not None:
            labels = torch.from_numpy(labelling.labels)
        if wanted is not False and labels is not None and classes is not None:
            counts = torch.bincount(labels, minlength=len(classes))
            notices += [*labelling.guessed, *rare_classes(classes, counts.tolist())]
        size = self.wanted.size_of(found.facts)
        return Samples(
            data=torch.from_numpy(found.pictures),
            spec=SampleSpec(kind="image", shape=(found.pictures.shape[1], *size), classes=classes),
            labels=labels,
            stored_range=bounds,
            flip=self.flip,
            notices=tuple(notices),
        )

    @abstractmethod
    def encoded(self) -> Source:
        """Open the pictures as they are stored; a ``DataError`` says that there are none."""

    def ranged(
        self, facts: ImageStats, names: Mapping[str, str], extent: Range, origin: str
    ) -> tuple[Range, list[str]]:
        """Return the range of values, and what to say about it.

        ``names`` has a picture of each depth, ``extent`` the lowest and highest number in all.

        Raises:
            DataError: If it cannot be decided, or numbers are outside the ``stored_range``.
        """
        import numpy as np

        depths = [depth for depth, _, _ in facts.deep]
        dtype, (low, high) = np.dtype(np.uint8), extent
        if facts.deep:
            # Of several depths, that of the most general numbers.
            dtype = np.dtype(next(each for each in _GENERAL if each in depths))
            low, high = min(each[1] for each in facts.deep), max(each[2] for each in facts.deep)
        if "float32" in depths and len(depths) > 1 and self.stored_range is None:
            other = next(depth for depth in depths if depth != "float32")
            raise DataError(
                f"{origin} holds floats ('{names['float32']}') beside integers of more than 8 bits "
                f"('{names[other]}'), which have no range in common; keep them in folders of their "
                f"own, or say what all may be with "
                f"{option('stored_range', suggested_range(low, high, 'image', dtype))}."
            )
        values = understand_range(dtype, low, high, "image", self.stored_range, origin)
        assert values.bounds is not None
        notices = list(values.notices)
        if self.wanted.output(facts).deep and facts.plain:
            what = "are taken as 0 to 255 and carried to"
            if not carries(values.bounds):
                what = "are taken as they are, in"
            notices.append(
                f"Some pictures have 8 bits, such as '{names['uint8']}', and some have more, such "
                f"as '{names[depths[0]]}': the former {what} {values.bounds[0]:g} to "
                f"{values.bounds[1]:g}."
            )
        if facts.cut:
            notices.append(
                "Of some TIFF files with 16 bits in colour only the upper 8 bits can be read; "
                "save them as PNG, or without compression, to keep all."
            )
        return values.bounds, notices

    @property
    def wanted(self) -> RequestedFormat:
        """The form that was asked for, where it was."""
        return RequestedFormat(
            size=self.size, crop=self.crop, mode=self.mode, stored_range=self.stored_range
        )

    @property
    def decoders(self) -> int:
        """How many threads decode."""
        return self.threads or min(_MOST_THREADS, os.cpu_count() or 1)

    @abstractmethod
    def _labelled(self, found: Decoded, source: Any) -> Labelling:
        """Find the labels of what was decoded from a source that is still open."""

    def _decoded(self, source: Source) -> Decoded:
        root, threads = cache_root(self.cache), self.decoders
        return decoded(source, self.wanted, root=root, threads=threads, max_bad=self.max_bad)

    def _notices(self, found: Decoded) -> list[str]:
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
        if self.size is None and facts.original_size is None:
            height, width = self.wanted.size_of(facts)
            if facts.low == facts.high:
                fact = f"All pictures are {facts.high[0]}x{facts.high[1]}, which is large"
            else:
                fact = f"The pictures have {span(facts.low, facts.high)}"
            how = "stretched" if self.crop == "none" else "resized and cropped"
            notices.append(
                f"{fact}: they are {how} to {height}x{width}; another size is asked for with size."
            )
        if facts.any_transparent and found.pictures.shape[1] < 4:
            notices.append(
                "Transparent parts of pictures are put on white; mode='rgba' keeps them."
            )
        return notices
