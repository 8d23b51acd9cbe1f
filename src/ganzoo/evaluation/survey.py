"""What is found in encoded pictures when all are decoded once, and how one is decoded."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from PIL import __version__ as pillow

from ganzoo.datasets import progress
from ganzoo.datasets.cache import cache_root, facts_of, only_one
from ganzoo.datasets.decoding import Opened, decode, decode_as_programs, look_at, resized
from ganzoo.datasets.formats import ImageStats, OutputFormat, PictureError
from ganzoo.datasets.picture_files import printable
from ganzoo.errors import DataError
from ganzoo.evaluation.sources import Digest
from ganzoo.features import tensor_cache

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets.picture_dataset import PictureDataset
    from ganzoo.datasets.picture_files import Source
    from ganzoo.datasets.placing import Pixels
    from ganzoo.datasets.ranges import Range
    from ganzoo.evaluation.options import Size
    from ganzoo.features.programs import Reading

__all__ = ["Survey", "cut", "in_order", "look_of", "place_of", "read", "surveyed"]

T = TypeVar("T")
R = TypeVar("R")

_FORMAT = 3  # of a cached survey
_AHEAD = 256 * 2**20  # bytes that threads may decode in advance
_NAMED = 3  # pictures that an error names
_MOST_SKIPPED = 1000  # whose names are cached


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of encoded pictures once all were decoded.

    Attributes:
        readable: Numbers of those that can be read, int64 (N,).
        sizes: Their heights and widths once upright, int32 (N, 2).
        stored: Their heights and widths as they are stored, int32 (N, 2).
        facts: What form a dataset gives them.
        colour: Whether one has colours; as programs open it.
        alpha: Whether one has a transparent pixel.
        turned: Whether Exif data ask to turn one.
        deep: Whether one is greyscale of more than 8 bits.
        cut: Whether one has 16 bits in colours or with alpha.
        nested: Whether one lies in a sub-folder.
        suffixes: Of their names.
        examples: Name of a picture of each depth.
        extent: Lowest and highest number in the pictures.
        total: How many there were to read.
        skipped: Names of those that could not be read, and why.
        digest: SHA-256 of the pictures, upright, as ``StoredSamples.fingerprint`` has it.
    """

    readable: Tensor
    sizes: Tensor
    stored: Tensor
    facts: ImageStats
    colour: bool
    alpha: bool
    turned: bool
    deep: bool
    cut: bool
    nested: bool
    suffixes: tuple[str, ...]
    examples: dict[str, str]
    extent: Range
    total: int
    skipped: tuple[tuple[str, str], ...]
    digest: str


_TENSORS = ("readable", "sizes", "stored")
_PLAIN = tuple(each.name for each in fields(Survey) if each.name not in (*_TENSORS, "facts"))


def in_order(
    jobs: Sequence[T], work: Callable[[T], R], threads: int, cost: Callable[[T], int]
) -> Iterator[R]:
    """Do work in threads and yield what comes of it in order.

    Args:
        jobs: What to work on.
        work: Called in a thread.
        threads: How many.
        cost: Bytes that come of a job, which bound how many are done in advance.
    """
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


# -- one picture ------------------------------------------------------------------------------


def look_of(dataset: PictureDataset, facts: ImageStats | None, own: Size) -> OutputFormat:
    """Return the form in which a picture of this size is seen, among others of these facts."""
    wanted = dataset.wanted
    look = wanted.output(facts)
    if facts is None and wanted.mode == "auto":
        look = replace(look, channels=1)
    return look if wanted.size is not None else replace(look, size=own, stretch=True)


def read(source: Source, index: int, look: OutputFormat, reading: Reading) -> Pixels:
    """Decode one picture of a source.

    Args:
        source: Where it comes from.
        index: Which it is.
        look: What it shall become.
        reading: How files are opened.

    Raises:
        DataError: If it has changed since the survey, and cannot be read.
    """
    for content in source.read(index, index + 1):
        if isinstance(content, PictureError):
            raise _gone(source, index, content)
        try:
            if reading == "program":
                return decode_as_programs(content, look)[0]
            return _decoded(content, look)
        except PictureError as error:
            raise _gone(source, index, error) from error
    raise AssertionError


def _decoded(content: bytes, look: OutputFormat) -> Pixels:
    """A picture as a training sees it."""
    pixels, _ = decode(content, look)
    if pixels.shape == look.shape:
        return pixels
    found: Pixels = resized([pixels], look.size)[0]
    return found


def cut(pixels: Pixels, size: Size | None) -> Pixels:
    """Return the middle, of a picture that is larger for random crops."""
    if size is None or pixels.shape[1:] == size:
        return pixels
    top, left = (pixels.shape[1] - size[0]) // 2, (pixels.shape[2] - size[1]) // 2
    return pixels[:, top : top + size[0], left : left + size[1]]


def _gone(source: Source, index: int, error: PictureError) -> DataError:
    return DataError(
        f"'{printable(source.name(index))}' of {source.origin} could be read and no longer can "
        f"({error}); leave the pictures as they are while they are scored."
    )


# -- all of them ------------------------------------------------------------------------------


def place_of(dataset: PictureDataset, source: Source, what: str) -> Path:
    """Return where something that was found in a source is cached."""
    return cache_root().parent / "surveys" / _key(dataset, source) / what


def _key(dataset: PictureDataset, source: Source) -> str:
    parts = [_FORMAT, source.key, asdict(dataset.wanted), pillow]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def surveyed(dataset: PictureDataset, source: Source, keep: bool) -> Survey:
    """Return the survey of a source, from the cache or made now.

    Raises:
        DataError: If too many pictures cannot be read.
    """
    found: Survey | None = None
    if keep:
        place = place_of(dataset, source, "survey")
        found = _known(place)
        if found is None:
            one = only_one(place.parent, "survey", f"looking at {source.origin}")
            with contextlib.suppress(OSError), one:  # without a cache it takes longer only
                found = _known(place)
                if found is None:
                    found = _survey(dataset, source)
                    _write(place, found)
    found = found or _survey(dataset, source)
    bad, limit = found.total - len(found.readable), _limit(dataset.max_bad, found.total)
    if bad > limit or not len(found.readable):
        raise _too_many(source, found.skipped, bad, limit, found.total)
    return found


def _known(place: Path) -> Survey | None:
    stored = tensor_cache.read(place)
    if stored is None:
        return None
    tensors, record = stored
    with contextlib.suppress(KeyError, TypeError, ValueError, IndexError):
        plain: dict[str, Any] = {name: _as_tuples(record[name]) for name in _PLAIN}
        return Survey(facts=facts_of(record["facts"]), **{**tensors, **plain})
    return None


def _as_tuples(value: Any) -> Any:
    """JSON's lists as the tuples that were written."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _write(place: Path, survey: Survey) -> None:
    tensor_cache.clean_partial_writes(place.parent.parent)
    tensors = {name: getattr(survey, name) for name in _TENSORS}
    plain = {name: getattr(survey, name) for name in _PLAIN}
    tensor_cache.write(place, tensors, facts=survey.facts._asdict(), **plain)


@dataclass(frozen=True, eq=False)
class _Found:
    """One picture that can be read."""

    pixels: Pixels  # as a training would see it, in the channels that are guessed
    facts: ImageStats
    opened: Opened


def _survey(dataset: PictureDataset, source: Source) -> Survey:
    """Decode all pictures, again where they have another form than was thought."""
    found: Survey | ImageStats | None = None
    while not isinstance(found, Survey):
        found = _survey_in(dataset, source, found)
    return found


def _survey_in(
    dataset: PictureDataset, source: Source, facts: ImageStats | None
) -> Survey | ImageStats:
    """The survey, or what was seen when it turned out that they have another form."""

    def form_of(seen: ImageStats | None) -> tuple[OutputFormat, Range]:
        return look_of(dataset, seen, (1, 1)), dataset.wanted.bounds(seen)

    guessed, form = facts, form_of(facts)

    def work(index: int) -> _Found | PictureError:
        return _examined(dataset, source, index, guessed)

    numbers: list[int] = []
    seen: list[tuple[Opened, Size, Range]] = []
    skipped: list[tuple[str, str]] = []
    examples: dict[str, str] = {}
    running = Digest(len(source), form[1])
    limit = _limit(dataset.max_bad, len(source))
    price = _AHEAD // (2 * dataset.decoders)  # how large they are is not known yet
    with progress.Bar(f"reading {source.origin}", len(source)) as bar:
        found: _Found | PictureError
        for index, found in enumerate(
            in_order(range(len(source)), work, dataset.decoders, lambda _: price)
        ):
            bar.show(index + 1)
            if isinstance(found, PictureError):
                if len(skipped) < _MOST_SKIPPED:
                    skipped.append((printable(source.name(index)), str(found)))
                if index + 1 - len(numbers) > limit:
                    raise _too_many(source, skipped, index + 1 - len(numbers), limit, len(source))
                continue
            # What was once seen counts, so that the form changes a few times at most.
            facts = found.facts.merged(facts)
            if form_of(facts) != form:
                return facts
            numbers.append(index)
            extent = float(found.pixels.min()), float(found.pixels.max())
            seen.append((found.opened, found.facts.low, extent))
            depth = found.facts.deep[0][0] if found.facts.deep else "uint8"
            examples.setdefault(depth, printable(source.name(index)))
            running.add(found.pixels)
    if facts is None:
        raise _too_many(source, skipped, len(source), limit, len(source))
    opened, sizes, extents = zip(*seen, strict=True)
    names = [PurePosixPath(os.fsdecode(source.name(index))) for index in numbers]
    return Survey(
        readable=torch.tensor(numbers),
        sizes=torch.tensor(sizes, dtype=torch.int32),
        stored=torch.tensor([each.size for each in opened], dtype=torch.int32),
        facts=facts,
        colour=any(each.colour for each in opened),
        alpha=facts.any_transparent,
        turned=any(each.orientation != 1 for each in opened),
        deep=any(each.deep for each in opened),
        cut=any(each.cut for each in opened),
        nested=any(len(name.parts) > 1 for name in names),
        suffixes=tuple(sorted({name.suffix for name in names})),
        examples=examples,
        extent=(min(low for low, _ in extents), max(high for _, high in extents)),
        total=len(source),
        skipped=tuple(skipped),
        digest=running.hexdigest(),
    )


def _examined(
    dataset: PictureDataset, source: Source, index: int, guessed: ImageStats | None
) -> _Found | PictureError:
    for content in source.read(index, index + 1):
        try:
            if isinstance(content, PictureError):
                raise content
            pixels, opened = decode_as_programs(content, None)
            if opened.plain:
                facts = ImageStats(
                    opened.size, opened.size, opened.colour, any_opaque=True, any_transparent=False
                )
            else:
                facts = look_at(content)
            look = look_of(dataset, guessed, facts.low)
            alike = opened.plain and dataset.wanted.size is None and not look.deep
            if alike and len(pixels) <= look.channels:
                pixels = pixels.repeat(look.channels // len(pixels), 0)
            else:
                pixels = cut(_decoded(content, look), dataset.wanted.size)
        except PictureError as error:
            return error
        return _Found(pixels, facts, opened)
    raise AssertionError


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
