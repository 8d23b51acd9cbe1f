"""Pictures at their own sizes: those of files and tables, and items of torch Datasets."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from ganzoo.datasets import Given, progress
from ganzoo.datasets.array import as_samples
from ganzoo.datasets.cache import cache_root, only_one, printable
from ganzoo.datasets.decoding import (
    Facts,
    Look,
    Opened,
    PictureError,
    decode,
    decode_as_programs,
    resized,
    span,
)
from ganzoo.datasets.given import GIVEN_LIMIT
from ganzoo.datasets.items import count_of, is_sequential, read_item, title_of
from ganzoo.errors import DataError, GanzooError
from ganzoo.features import kept
from ganzoo.features.programs import PROGRAMS
from ganzoo.spec import SampleSpec

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets import Dataset, Samples
    from ganzoo.datasets.array import AnyArray
    from ganzoo.datasets.cache import Source
    from ganzoo.datasets.decoding import Pixels
    from ganzoo.datasets.picture_dataset import PictureDataset
    from ganzoo.features.programs import Reading
    from ganzoo.mixture import Mixture

__all__ = [
    "WINDOW",
    "Encoded",
    "Items",
    "Sizes",
    "called",
    "chosen",
    "described",
    "dropped_alpha",
    "fitted",
    "in_range",
    "items_of",
]

Size = tuple[int, int]
T = TypeVar("T")
R = TypeVar("R")

WINDOW = 64 * 2**20
"""Bytes of pictures that are looked at together, at most: of large ones it is one at a time."""

_FORMAT = 1  # of what is kept of a survey
_AHEAD = 256 * 2**20  # bytes that threads may decode in advance
_NAMED = 3  # pictures that an error names
_MOST_SKIPPED = 1000  # of which the names are kept
_WHITE = 255


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


def together(windows: Iterable[Tensor], size: int) -> Iterator[Tensor | list[Tensor]]:
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


def _in_order(
    jobs: Sequence[T], work: Callable[[T], R], threads: int, cost: Callable[[T], int]
) -> Iterator[R]:
    """Do work in threads and yield what comes of it in order, with few bytes held in advance."""
    if threads == 1:
        yield from map(work, jobs)
        return
    waiting: deque[tuple[Future[R], int]] = deque()
    ahead = 0
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ganzoo-decode")
    try:
        for job in jobs:
            price = cost(job)
            while waiting and (ahead + price > _AHEAD or len(waiting) >= 8 * threads):
                done, paid = waiting.popleft()
                ahead -= paid
                yield done.result()
            waiting.append((pool.submit(work, job), price))
            ahead += price
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# -- files and tables -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of encoded pictures once all were decoded.

    Attributes:
        kept: Numbers of those that can be read, int64 (N,).
        sizes: Their heights and widths once upright, int32 (N, 2).
        stored: Their heights and widths as they are stored, int32 (N, 2).
        facts: What form a dataset gives them.
        colour: Whether one has colours; as programs open it.
        alpha: Whether one has a transparent pixel.
        turned: Whether Exif data ask to turn one.
        deep: Whether one is greyscale of more than 8 bits.
        scaled: Whether one was scaled to 8 bits.
        nested: Whether one lies in a sub-folder.
        suffixes: Of their names.
        total: How many there were to read.
        skipped: Names of those that could not be read, and why.
        digest: SHA-256 of the pictures, upright, as ``Stored.fingerprint`` has it.
    """

    kept: Tensor
    sizes: Tensor
    stored: Tensor
    facts: Facts
    colour: bool
    alpha: bool
    turned: bool
    deep: bool
    scaled: bool
    nested: bool
    suffixes: tuple[str, ...]
    total: int
    skipped: tuple[tuple[str, str], ...]
    digest: str


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures of files or of the rows of a table, decoded whenever they are looked at.

    Each is seen at its own size, or at the one that the dataset's options say. What was found in
    all of them is kept in ganzoo's cache, so that they are decoded once more at most.
    """

    dataset: PictureDataset
    source: Source
    survey: Survey
    indices: Tensor | None
    keep: bool

    grain: ClassVar[int] = 1
    mixture: ClassVar[Mixture | None] = None
    framing: ClassVar[None] = None

    @classmethod
    def load(cls, dataset: PictureDataset, count: int | None, keep: bool) -> Encoded:
        """Decode all pictures once, unless what would be found is in the cache.

        Args:
            dataset: Folder, table, or another dataset of encoded pictures.
            count: How many to look at; all where None.
            keep: Whether to use the cache.

        Raises:
            DataError: If there are none, fewer than ``count``, or too many cannot be read.
        """
        with contextlib.ExitStack() as guard:
            source = guard.enter_context(dataset.encoded())
            survey = _surveyed(dataset, source, keep)
            indices = chosen(dataset, len(survey.kept), count)
            side = cls(dataset, source, survey, indices, keep)
            weakref.finalize(side, guard.pop_all().close)
        return side

    @property
    def count(self) -> int:
        """How many are looked at."""
        return len(self.survey.kept) if self.indices is None else len(self.indices)

    def reading(self, asked: Reading) -> Reading:
        """How files are opened: as programs do only where that makes a difference."""
        found = self.survey
        differs = found.alpha or found.turned
        return asked if differs and self.dataset.wanted.mode == "auto" else "data"

    def spec_for(self, asked: Reading) -> SampleSpec:
        """What one sample is, of the smallest height and width."""
        if self.reading(asked) == "data":
            channels = self._channels
            channels = 3 if asked == "program" and channels == 4 else channels
        else:
            channels = 3 if self.survey.colour else 1
        return SampleSpec(shape=(channels, *self.sizes(asked).low))

    @property
    def spec(self) -> SampleSpec:
        """What one sample is, as a training would see it."""
        return self.spec_for("data")

    @property
    def _channels(self) -> int:
        return self.dataset.wanted.look(self.survey.facts).channels

    def sizes(self, asked: Reading) -> Sizes:
        """Heights and widths of all that are looked at."""
        if (said := self.dataset.wanted.size) is not None:
            return Sizes(said, said)
        table = self._table(self.reading(asked))
        return Sizes.of(table if self.indices is None else table[self.indices])

    def _table(self, reading: Reading) -> Tensor:
        return self.survey.sizes if reading == "data" else self.survey.stored

    def batches(
        self, size: int, part: slice, asked: Reading = "data"
    ) -> Iterator[Tensor | list[Tensor]]:
        """Pictures uint8 (n, C, H, W), or a list of such (C, H, W) where their sizes differ."""
        reading, channels = self.reading(asked), self.spec_for(asked).channels
        places = torch.arange(part.start, part.stop) if self.indices is None else self.indices[part]
        yield from together(self._pictures(places.tolist(), reading, channels), size)

    def _pictures(self, places: Sequence[int], reading: Reading, channels: int) -> Iterator[Tensor]:
        table, numbers = self._table(reading), self.survey.kept

        def work(place: int) -> Tensor:
            height, width = table[place].tolist()
            index = int(numbers[place])
            look = self._look(height, width, reading)
            pixels = _pixels(self.source, index, look, reading, self.survey.deep)
            return torch.from_numpy(_cut(pixels, self.dataset.wanted.size).copy())[:channels]

        def cost(place: int) -> int:
            return int(table[place].prod()) * 4

        yield from _in_order(places, work, self.dataset.threads, cost)

    def _look(self, height: int, width: int, reading: Reading) -> Look:
        channels = self._channels if reading == "data" else self.spec_for("program").channels
        return _look(self.dataset, channels, (height, width))

    @property
    def own(self) -> bool:
        """Whether each picture is seen at its own size."""
        return self.dataset.wanted.size is None

    @property
    def labels(self) -> None:
        """None: labels are of use beside a generator, whose real samples are loaded."""
        return None

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the pictures that are compared, as a training would see them."""
        if self.indices is None:
            return self.survey.digest
        name = hashlib.sha256(self.indices.numpy().tobytes()).hexdigest()[:16]
        place = _place(self.dataset, self.source, name)
        known = kept.read(place) if self.keep else None
        if known is not None and isinstance(known[1].get("digest"), str):
            return str(known[1]["digest"])
        running = _Digest(self.count)
        for picture in self._pictures(self.indices.tolist(), "data", self._channels):
            running.add(picture.numpy())
        digest = running.hexdigest()
        if self.keep:
            with contextlib.suppress(OSError):
                kept.write(place, {"none": torch.zeros(1)}, digest=digest)
        return digest

    def kept_as(self, asked: Reading) -> dict[str, Any]:
        """What else decides what an extractor sees of them."""
        from PIL import __version__ as pillow

        return {"read": self.reading(asked), "pillow": pillow, **self.read(asked)}

    def protocol(self) -> dict[str, Any]:
        """Which samples these are."""
        return described(self.dataset, self.count, self.fingerprint)

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures on the way, where it was."""
        done: dict[str, str] = {}
        found, reading = self.survey, self.reading(asked)
        if not self.own:
            done["size"] = self._how
        if found.alpha:
            white = "kept" if self._channels == 4 and asked == "data" else "on white"
            dropped = reading == "program" or (self._channels == 4 and asked == "program")
            done["alpha"] = "dropped" if dropped else white
        if found.turned:
            done["orientation"] = "ignored" if reading == "program" else "applied"
        if found.scaled:
            done["depth"] = "scaled to 8 bits"
        if self.dataset.wanted.mode != "auto":
            done["mode"] = self.dataset.wanted.mode
        return done

    @property
    def _how(self) -> str:
        said, crop = self.dataset.wanted.size, self.dataset.wanted.crop
        assert said is not None
        verb = "stretched" if crop == "none" else "resized and cropped"
        return f"{verb} to {said[0]}x{said[1]}"

    def left(self, program: str) -> tuple[str, ...]:
        """Return in what a program would treat them otherwise, a few words each."""
        found, known, own = self.survey, PROGRAMS.get(program), self.read("program")
        parts = []
        if found.scaled:
            parts.append(f"pictures of more than 8 bits are scaled, where {program} clips them")
        if own.get("alpha", "dropped") != "dropped":
            parts.append(f"alpha is put on white (mode='{own['mode']}'), where {program} drops it")
        if own.get("orientation", "ignored") != "ignored":
            parts.append(f"Exif orientation is applied, where {program} ignores it")
        if self.dataset.wanted.mode == "grey" and found.colour:
            parts.append(f"colours become grey (mode='grey'), where {program} sees them")
        if not self.own and Sizes.of(self._table("data")).one != self.dataset.wanted.size:
            parts.append(
                f"pictures are {self._how} (size), where {program} has each at its own size"
            )
        if self.dataset.name == "folder" and known is not None:
            if found.nested and not known.nested:
                parts.append(f"pictures in sub-folders count, where {program} searches none")
            if other := [each for each in found.suffixes if not known.finds(each)]:
                parts.append(f"{', '.join(other)} files count, where {program} looks for none")
        if found.skipped:
            parts.append(f"unreadable pictures are left out, where {program} stops at one")
        return tuple(parts)

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them, where they are opened as a program does."""
        origin = self.source.origin
        notices = [*self.source.notices]
        found, done = self.survey, self.read("data" if program is None else "program")
        if found.skipped:
            name, reason = found.skipped[0]
            files = f"'{name}' ({reason})"
            several = found.total - len(found.kept)
            if several > 1:
                files = f"{several:,} pictures, such as {files},"
            notices.append(
                f"{files} cannot be read and {'are' if several > 1 else 'is'} left out of "
                f"{found.total:,} of {origin}."
            )
        if "size" in done and (own := Sizes.of(self._table("data"))).one is None:
            notices.append(
                f"The pictures of {origin} have {own} and are {done['size']}, as size says; "
                f"without it each is seen at its own size."
            )
        if done.get("alpha") == "on white":
            notices.append(
                f"Transparent parts of the pictures of {origin} are put on white; mode='rgba' "
                f"keeps them."
            )
        if done.get("alpha") == "dropped":
            notices.append(
                f"The pictures of {origin} have transparent parts: alpha is dropped, as {program} "
                f"does, so that the colours under it are seen; mode='rgb' puts them on white."
            )
        if program is not None and (left := self.left(program)):
            notices.append(f"The preset of {program} is left for {origin}: {'; '.join(left)}.")
        return tuple(notices)


# -- items of torch Datasets ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Items:
    """Pictures of several sizes in memory, as a torch Dataset gave them.

    Attributes:
        dataset: What they come from.
        groups: Those of one shape and type each.
        table: Group and row of each picture, int64 (N, 2), in their order.
    """

    dataset: Given
    groups: tuple[Samples, ...]
    table: Tensor
    indices: Tensor | None

    grain: ClassVar[int] = 1
    mixture: ClassVar[Mixture | None] = None
    framing: ClassVar[None] = None
    own: ClassVar[bool] = True
    labels: ClassVar[None] = None

    @property
    def count(self) -> int:
        """How many are looked at."""
        return len(self.table) if self.indices is None else len(self.indices)

    @property
    def _places(self) -> Tensor:
        return self.table if self.indices is None else self.table[self.indices]

    def sizes(self, asked: Reading = "data") -> Sizes:
        """Heights and widths of all that are looked at."""
        table = torch.tensor([group.data.shape[-2:] for group in self.groups])
        return Sizes.of(table[self._places[:, 0]])

    @property
    def _channels(self) -> set[int]:
        return {self.groups[group].spec.channels for group in set(self._places[:, 0].tolist())}

    def reading(self, asked: Reading) -> Reading:
        """Whether alpha is dropped, as programs do, or kept or put on white."""
        return asked if self._channels & {2, 4} else "data"

    def spec_for(self, asked: Reading) -> SampleSpec:
        """What one sample is, of the smallest height and width."""
        have = self._channels
        colours = {{2: 1, 4: 3}.get(each, each) for each in have}
        channels = max(colours)
        if self.reading(asked) == "data" and len(have) == 1:
            channels = max(have)
        return SampleSpec(shape=(channels, *self.sizes().low))

    @property
    def spec(self) -> SampleSpec:
        """What one sample is, as a training would see it."""
        return self.spec_for("data")

    def batches(
        self, size: int, part: slice, asked: Reading = "data"
    ) -> Iterator[Tensor | list[Tensor]]:
        """Pictures (n, C, H, W), or a list of such (C, H, W) where their sizes differ."""
        spec, reading = self.spec_for(asked), self.reading(asked)
        places = self._places[part].tolist()
        yield from together(
            (self._picture(group, row, spec, reading) for group, row in places), size
        )

    def _picture(self, group: int, row: int, spec: SampleSpec, reading: Reading) -> Tensor:
        samples = self.groups[group]
        picture = in_range(samples.data[row], samples.stored_range, spec.value_range)
        if picture.shape[0] == spec.channels:
            return picture
        if picture.shape[0] in (2, 4):
            picture = picture[:-1] if reading == "program" else _on_white(picture, spec)
        return picture.expand(spec.channels, -1, -1)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the pictures that are compared, as they are stored."""
        running = _Digest(self.count)
        for group, row in self._places.tolist():
            running.add(self.groups[group].data[row].numpy())
        ranges = [group.stored_range for group in self.groups]
        return hashlib.sha256(f"{running.hexdigest()} {ranges}".encode()).hexdigest()

    def kept_as(self, asked: Reading) -> dict[str, Any]:
        """What else decides what an extractor sees of them."""
        return self.read(asked)

    def protocol(self) -> dict[str, Any]:
        """Which samples these are."""
        return described(self.dataset, self.count, self.fingerprint)

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures on the way, where it was."""
        if not self._channels & {2, 4}:
            return {}
        kept_ = len(self._channels) == 1
        dropped = self.reading(asked) == "program"
        return {"alpha": "dropped" if dropped else "kept" if kept_ else "on white"}

    def left(self, program: str) -> tuple[str, ...]:
        """Return nothing: no program reads them otherwise."""
        return ()

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them."""
        notices = [notice for group in self.groups for notice in group.notices]
        if self.read("data" if program is None else "program").get("alpha") == "dropped":
            notices.append(dropped_alpha(called(self.dataset), program))
        return tuple(dict.fromkeys(notices))


def dropped_alpha(title: str, program: str | None) -> str:
    """Return the notice on a last channel that is not looked at."""
    return (
        f"The last channel of the pictures of {title} is taken for alpha and is dropped, as "
        f"{program} does with files; give them without it if it is none."
    )


def _on_white(picture: Tensor, spec: SampleSpec) -> Tensor:
    """Colours (C, H, W) on white, of a picture with alpha."""
    low, high = (0.0, 255.0) if picture.dtype == torch.uint8 else (spec.value_range or (-1.0, 1.0))
    colours, alpha = picture[:-1].float(), (picture[-1:].float() - low) / (high - low)
    found = high + (colours - high) * alpha
    return found.round().to(torch.uint8) if picture.dtype == torch.uint8 else found


def items_of(dataset: Given, source: Any, count: int | None) -> Items | Samples:
    """Read a torch Dataset into memory; ``Samples`` where all items are of one shape.

    Raises:
        DataError: If an item cannot be read, or they do not fit into memory, or differ in more
            than size and colour.
    """
    title = title_of(source)
    total = 0 if is_sequential(source) else count_of(source)
    rows: list[AnyArray] = []
    held = 0
    for index, item in _each(source, total):
        array, _ = read_item(item, index, title)
        held += array.nbytes
        if held > GIVEN_LIMIT:
            raise DataError(
                f"The dataset {title} takes more than {GIVEN_LIMIT / 2**30:.1f} GiB, half of this "
                f"machine's memory, before item {index:,}; give fewer items, or a folder of the "
                f"pictures, which are read one by one."
            )
        rows.append(array.copy())
    if not rows:
        raise DataError(f"The dataset {title} is empty; give at least one sample.")
    return _grouped(dataset, rows, title, count)


def _each(source: Any, total: int) -> Iterator[tuple[int, Any]]:
    index = 0
    try:
        if not total:
            for item in source:
                yield index, item
                index += 1
        else:
            for index in range(total):
                yield index, source[index]
    except GanzooError:
        raise
    except Exception as error:
        from ganzoo.datasets.items import told

        raise DataError(
            f"Item {index} of {title_of(source)} cannot be read ({told(error)}); mend it or leave "
            f"it out."
        ) from error


def _grouped(
    dataset: Given, rows: list[AnyArray], title: str, count: int | None
) -> Items | Samples:
    import numpy as np

    places: dict[tuple[Any, Any], list[int]] = {}
    for index, row in enumerate(rows):
        places.setdefault((row.shape, row.dtype), []).append(index)
    several = len(places) > 1
    for index, row in enumerate(rows):
        picture = row.ndim == 3 or (row.ndim == 2 and min(row.shape) > 4)
        if several and not (picture and dataset.sample_kind in ("auto", "image")):
            raise DataError(
                f"Item {index} of {title} has shape {row.shape} {row.dtype} but item 0 has "
                f"{rows[0].shape} {rows[0].dtype}; only pictures may differ in size: bring all "
                f"items to one shape."
            )

    def group(numbers: list[int], stored: tuple[float, float] | None) -> Samples:
        return as_samples(
            np.stack([rows[number] for number in numbers]),
            layout=dataset.layout,
            kind="image" if several else dataset.sample_kind,
            stored_range=stored,
            origin=f"The dataset in memory ({title})",
            usage="ganzoo.datasets.Given.of(data, {})",
        )

    groups = [group(numbers, dataset.stored_range) for numbers in places.values()]
    if not several:
        return groups[0]
    floats = {
        each.stored_range for each in groups if each.stored_range and each.stored_range[1] <= 1
    }
    if (-1.0, 1.0) in floats and len(floats) > 1:  # some of them happen to have no dark values
        groups = [
            group(numbers, (-1.0, 1.0)) if each.stored_range in floats else each
            for each, numbers in zip(groups, places.values(), strict=True)
        ]
    table = torch.empty(len(rows), 2, dtype=torch.int64)
    for number, numbers in enumerate(places.values()):
        table[numbers, 0] = number
        table[numbers, 1] = torch.arange(len(numbers))
    found = Items(dataset, tuple(groups), table, chosen(dataset, len(rows), count))
    channels = sorted(found._channels)
    if not set(channels) <= {1, 2, 3, 4} and len(channels) > 1:
        raise DataError(
            f"The items of {title} have {', '.join(map(str, channels))} channels; bring all to one "
            f"number of them."
        )
    return found


def chosen(dataset: Dataset, there: int, count: int | None) -> Tensor | None:
    """Numbers of as many samples as are asked for, always the same ones; None for all.

    Raises:
        DataError: If there are fewer.
    """
    from ganzoo.seeds import derive

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
    return f"'{dataset.name}' ({path})" if path else f"'{dataset.name}'"


def described(dataset: Dataset, count: int, digest: str) -> dict[str, Any]:
    """Which samples these are, for a protocol."""
    from ganzoo.datasets.base import PARTS

    settings = dataset.model_dump(mode="json")
    parts = {name: settings[name] for name in PARTS if settings.get(name) is not None}
    if os.path.isabs(parts.get("repo", "")):  # noqa: PTH117 - a folder of this machine
        del parts["repo"]
    return {"dataset": dataset.name, **parts, "count": count, "sha256": digest}


def _look(dataset: PictureDataset, channels: int, own: Size) -> Look:
    """The form in which a picture of this size is seen."""
    wanted = dataset.wanted
    if wanted.size is None:
        return Look(channels, own, stretch=True)
    return Look(channels, wanted.look(None).size, stretch=wanted.crop == "none")


def _pixels(source: Source, index: int, look: Look, reading: Reading, deep: bool) -> Pixels:
    for content in source.read(index, index + 1):
        if isinstance(content, PictureError):
            raise _gone(source, index, content)
        try:
            if reading == "program":
                return decode_as_programs(content, look)[0]
            return _decoded(content, look, deep)
        except PictureError as error:
            raise _gone(source, index, error) from error
    raise AssertionError


def _decoded(content: bytes, look: Look, deep: bool) -> Pixels:
    """A picture as a training sees it; what 8 bits can hold is not scaled, whatever its mode."""
    if deep:
        pixels, opened = decode_as_programs(content, look)
        if opened.deep and not opened.scaled:
            return pixels
    pixels, _ = decode(content, look)
    if pixels.shape == look.shape:
        return pixels
    found: Pixels = resized([pixels], look.size)[0]
    return found


def _cut(pixels: Pixels, size: Size | None) -> Pixels:
    """The middle, where more was kept for random crops."""
    if size is None or pixels.shape[1:] == size:
        return pixels
    top, left = (pixels.shape[1] - size[0]) // 2, (pixels.shape[2] - size[1]) // 2
    return pixels[:, top : top + size[0], left : left + size[1]]


def _gone(source: Source, index: int, error: PictureError) -> DataError:
    return DataError(
        f"'{printable(source.name(index))}' of {source.origin} could be read and no longer can "
        f"({error}); leave the pictures as they are while they are scored."
    )


# -- the survey of files ----------------------------------------------------------------------


def _place(dataset: PictureDataset, source: Source, what: str) -> Path:
    return cache_root().parent / "surveys" / _key(dataset, source) / what


def _key(dataset: PictureDataset, source: Source) -> str:
    from PIL import __version__ as pillow

    wanted = dataset.wanted
    parts = [_FORMAT, source.key, wanted.size, wanted.crop, wanted.mode, pillow]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _surveyed(dataset: PictureDataset, source: Source, keep: bool) -> Survey:
    """The survey of a source, from the cache or made now; too many bad pictures are refused."""
    found: Survey | None = None
    if keep:
        place = _place(dataset, source, "survey")
        found = _known(place)
        if found is None:
            one = only_one(place.parent, "survey", f"looking at {source.origin}")
            with contextlib.suppress(OSError), one:  # where it cannot be kept, it costs time only
                found = _known(place)
                if found is None:
                    found = _survey(dataset, source)
                    _write(place, found)
    found = found or _survey(dataset, source)
    bad, limit = found.total - len(found.kept), _limit(dataset.max_bad, found.total)
    if bad > limit or not len(found.kept):
        raise _too_many(source, found.skipped, bad, limit, found.total)
    return found


def _known(place: Path) -> Survey | None:
    stored = kept.read(place)
    if stored is None:
        return None
    tensors, record = stored
    with contextlib.suppress(KeyError, TypeError, ValueError):
        facts = record["facts"]
        own = {
            name: record[name] for name in ("colour", "alpha", "turned", "deep", "scaled", "nested")
        }
        return Survey(
            kept=tensors["kept"],
            sizes=tensors["sizes"],
            stored=tensors["stored"],
            facts=Facts(**{**facts, "low": tuple(facts["low"]), "high": tuple(facts["high"])}),
            suffixes=tuple(record["suffixes"]),
            total=record["total"],
            skipped=tuple((name, reason) for name, reason in record["skipped"]),
            digest=record["digest"],
            **own,
        )
    return None


def _write(place: Path, survey: Survey) -> None:
    tensors = {"kept": survey.kept, "sizes": survey.sizes, "stored": survey.stored}
    kept.tidy(place.parent.parent)
    kept.write(
        place,
        tensors,
        facts=survey.facts._asdict(),
        colour=survey.colour,
        alpha=survey.alpha,
        turned=survey.turned,
        deep=survey.deep,
        scaled=survey.scaled,
        nested=survey.nested,
        suffixes=list(survey.suffixes),
        total=survey.total,
        skipped=[list(each) for each in survey.skipped],
        digest=survey.digest,
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """One picture that can be read."""

    pixels: Pixels  # as a training would see it, in the channels that are guessed
    facts: Facts
    opened: Opened


def _survey(dataset: PictureDataset, source: Source) -> Survey:
    """Decode all pictures, again where they have other channels than was thought."""
    found: Survey | Facts | None = None
    while not isinstance(found, Survey):
        found = _survey_in(dataset, source, found)
    return found


def _survey_in(dataset: PictureDataset, source: Source, facts: Facts | None) -> Survey | Facts:
    """The survey, or what was seen when it turned out that they have other channels."""
    channels = 1 if facts is None else dataset.wanted.look(facts).channels

    def work(index: int) -> _Found | PictureError:
        return _examined(dataset, source, index, channels)

    numbers: list[int] = []
    sizes: list[Size] = []
    stored: list[Size] = []
    skipped: list[tuple[str, str]] = []
    suffixes: set[str] = set()
    colour = turned = deep = scaled = nested = False
    running = _Digest(len(source))
    limit = _limit(dataset.max_bad, len(source))
    with progress.Bar(f"reading {source.origin}", len(source)) as bar:
        found: _Found | PictureError
        for index, found in enumerate(
            _in_order(range(len(source)), work, dataset.threads, lambda _: 2**20)
        ):
            bar.show(index + 1)
            if isinstance(found, PictureError):
                if len(skipped) < _MOST_SKIPPED:
                    skipped.append((printable(source.name(index)), str(found)))
                if index + 1 - len(numbers) > limit:
                    raise _too_many(source, skipped, index + 1 - len(numbers), limit, len(source))
                continue
            # What was once seen counts, so that the channels change a few times at most.
            facts = found.facts.merged(facts)
            if dataset.wanted.look(facts).channels != channels:
                return facts
            numbers.append(index)
            sizes.append(found.facts.low)
            opened = found.opened
            stored.append(opened.size)
            colour, turned = colour | opened.colour, turned | (opened.orientation != 1)
            deep, scaled = deep | opened.deep, scaled | opened.scaled
            name = PurePosixPath(os.fsdecode(source.name(index)))
            nested |= len(name.parts) > 1
            suffixes.add(name.suffix)
            running.add(found.pixels)
    if facts is None:
        raise _too_many(source, skipped, len(source), limit, len(source))
    return Survey(
        kept=torch.tensor(numbers),
        sizes=torch.tensor(sizes, dtype=torch.int32),
        stored=torch.tensor(stored, dtype=torch.int32),
        facts=facts,
        colour=colour,
        alpha=facts.clear,
        turned=turned,
        deep=deep,
        scaled=scaled,
        nested=nested,
        suffixes=tuple(sorted(suffixes)),
        total=len(source),
        skipped=tuple(skipped),
        digest=running.hexdigest(),
    )


def _examined(
    dataset: PictureDataset, source: Source, index: int, channels: int
) -> _Found | PictureError:
    for content in source.read(index, index + 1):
        try:
            if isinstance(content, PictureError):
                raise content
            pixels, opened = decode_as_programs(content, None)
            as_it_is = opened.plain or (opened.deep and not opened.scaled)
            if as_it_is:
                facts = Facts(opened.size, opened.size, opened.colour, bare=True, clear=False)
            else:
                _, facts = decode(content, None)
            if as_it_is and dataset.wanted.size is None and len(pixels) <= channels:
                pixels = pixels.repeat(channels // len(pixels), 0)
            else:
                look = _look(dataset, channels, facts.low)
                pixels = _cut(_decoded(content, look, opened.deep), dataset.wanted.size)
        except PictureError as error:
            return error
        return _Found(pixels, facts, opened)
    raise AssertionError


class _Digest:
    """SHA-256 of pictures: where all are there and of one size it is ``Stored.fingerprint``."""

    def __init__(self, expected: int) -> None:
        self._expected, self._count = expected, 0
        self._pixels, self._forms = hashlib.sha256(), hashlib.sha256()
        self._first: Any = None
        self._alike = True

    def add(self, pixels: AnyArray) -> None:
        import numpy as np

        form = (pixels.shape, f"torch.{pixels.dtype}")
        if self._first is None:
            self._first = form
            self._pixels.update(repr((*form, self._expected, (0.0, 255.0))).encode())
        self._alike = self._alike and form == self._first
        self._count += 1
        self._forms.update(repr(form).encode())
        self._pixels.update(np.ascontiguousarray(pixels).data)

    def hexdigest(self) -> str:
        """Return it."""
        if self._alike and self._count == self._expected:
            return self._pixels.hexdigest()
        parts = (self._count, self._forms.hexdigest(), self._pixels.hexdigest())
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def _limit(max_bad: float, total: int) -> int:
    return int(max_bad * total) if max_bad < 1 else int(max_bad)


def _too_many(
    source: Source, skipped: Sequence[tuple[str, str]], bad: int, limit: int, total: int
) -> DataError:
    some = ", ".join(f"'{name}' ({reason})" for name, reason in skipped[:_NAMED])
    if bad == total:
        return DataError(
            f"None of the {total:,} pictures of {source.origin} can be read: {some}; repair or "
            f"replace them."
        )
    are = "picture is" if bad == 1 else "pictures are"
    return DataError(
        f"{bad:,} {are} unreadable among {total:,} of {source.origin}, more than the {limit:,} "
        f"that max_bad allows: {some}; repair or remove them, or raise max_bad."
    )
