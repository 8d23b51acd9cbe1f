"""Pictures decoded once, into a folder of memory-mapped files that is whole or not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import platformdirs

from ganzoo.datasets import progress
from ganzoo.datasets.decoding import decode, look_at, resized
from ganzoo.datasets.formats import ImageStats, OutputFormat, PictureError, RequestedFormat
from ganzoo.datasets.picture_files import Source, printable
from ganzoo.datasets.ranges import Range
from ganzoo.errors import DataError, some
from ganzoo.files import artifact
from ganzoo.files.storage import expanded, new_folder, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.datasets.placing import Pixels
    from ganzoo.files.artifact import FileFacts

__all__ = [
    "ENVIRONMENT",
    "Decoded",
    "Skipped",
    "cache_root",
    "decoded",
    "facts_of",
    "only_one",
]

ENVIRONMENT = "GANZOO_CACHE"
"""Environment variable that names the folder of the cache of decoded pictures."""
FORMAT_VERSION = 4

_PICTURES, _RECORD = "pictures.npy", "cache.json"
_ALWAYS_HASHED = 32 * 2**20  # bytes up to which a file is hashed at every start
_TOGETHER = 64  # pictures per task
_TASK_BYTES = 8 * 2**20  # decoded bytes per task, where pictures are large
_AHEAD = 4  # tasks per thread that may be finished or waiting
_SURVEYED = 32  # pictures from which the form of all is guessed
_NAMED = 3  # pictures that an error names


class Skipped(NamedTuple):
    """A picture that was left out: its number in the source, its printable name, and why."""

    number: int
    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pictures of a source, decoded.

    Attributes:
        pictures: uint8 or float32 (N, C, H, W), memory-mapped copy-on-write.
        indices: int64 (N,), numbers of the pictures in the source.
        facts: What was seen in the pictures.
        extent: Lowest and highest number in ``pictures``.
        examples: Name of a picture of each depth.
        total: How many there were to read.
        skipped: Those that could not be read.
        folder: Where the cache is.
        repaired: Why an older cache was replaced, or nothing.
    """

    pictures: Pixels
    indices: NDArray[np.int64]
    facts: ImageStats
    extent: Range
    examples: dict[str, str]
    total: int
    skipped: Sequence[Skipped]
    folder: Path
    repaired: str = ""


def cache_root(chosen: Path | None = None) -> Path:
    """Return the folder of decoded pictures, which need not exist yet.

    It is ``decoded`` in the chosen folder, by default in the one that the environment variable
    ``GANZOO_CACHE`` names, or else in the user's cache folder of ganzoo.
    """
    place = chosen or os.environ.get(ENVIRONMENT)
    parent = expanded(place) if place else platformdirs.user_cache_path("ganzoo")
    return parent / "decoded"


def decoded(
    source: Source, wanted: RequestedFormat, *, root: Path, threads: int, max_bad: float
) -> Decoded:
    """Return the pictures of a source, from the cache or decoded now.

    A cache is one folder per content and form, written as a whole by one process at a time: others
    wait for it. At every start, a file up to 32 MiB is compared with its SHA-256; a larger one with
    its size and time of change, and its SHA-256 where these differ. What does not agree is built
    again.

    Args:
        source: Where the pictures come from.
        wanted: The form that was asked for.
        root: Folder of all caches.
        threads: How many decode.
        max_bad: Pictures that may be unreadable: a share below 1, or a number.

    Raises:
        DataError: If too many pictures are unreadable, or the cache cannot be written.
    """
    key = _key(source, wanted)
    folder = root / key
    found = _opened(folder)
    if not isinstance(found, Decoded):
        try:
            with only_one(root, key, f"decoding the pictures of {source.origin}"):
                found = _opened(folder)  # another process may have built it meanwhile
                if not isinstance(found, Decoded):
                    _remove_leftovers(root, key)
                    with new_folder(folder) as fresh:
                        _build(source, wanted, fresh, threads, max_bad)
                    found = _opened(folder, repaired=found)
        except OSError as error:
            raise _unwritable(root, source.origin, error) from error
        if not isinstance(found, Decoded):
            raise DataError(
                f"The decoded pictures of {source.origin} in {folder} are damaged right after "
                f"writing ({found}); check the disk, or set the option cache or {ENVIRONMENT}."
            )
    _check_skipped(found.skipped, max_bad, source)
    return found


def _key(source: Source, wanted: RequestedFormat) -> str:
    settings = {"format": FORMAT_VERSION, "source": source.key, **asdict(wanted)}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


# -- reading ----------------------------------------------------------------------------------


def _opened(folder: Path, repaired: str = "") -> Decoded | str:
    """The cache in that folder, or what is wrong with it; nothing if there is none."""
    import numpy as np

    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        checksum = record.pop(artifact.CHECKSUM)
        if artifact.with_checksum(record)[artifact.CHECKSUM] != checksum:
            return f"{_RECORD} has been changed"
        _verify(folder / _PICTURES, record["file"], record["mtime_ns"])
        skipped = [Skipped(*each) for each in record["skipped"]]
        return Decoded(
            # "c" is copy-on-write: nothing changes the file, and torch finds memory it may write.
            pictures=np.load(folder / _PICTURES, mmap_mode="c", allow_pickle=False),
            indices=np.delete(np.arange(record["total"]), [each.number for each in skipped]),
            facts=facts_of(record["facts"]),
            extent=tuple(record["extent"]),
            examples=record["examples"],
            total=record["total"],
            skipped=skipped,
            folder=folder,
            repaired=repaired,
        )
    except FileNotFoundError as error:
        if not folder.exists():
            return ""
        return f"{Path(error.filename or _RECORD).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _verify(path: Path, facts: FileFacts, mtime_ns: int) -> None:
    """Check a file of the cache; a large one is not hashed while its size and time are the same."""
    state = path.stat()
    same = (state.st_size, state.st_mtime_ns) == (facts["size"], mtime_ns)
    if not same or state.st_size <= _ALWAYS_HASHED:
        artifact.check(path, facts)


def facts_of(record: dict[str, Any]) -> ImageStats:
    """Return facts that were written as JSON."""
    low, high = tuple(record["low"]), tuple(record["high"])
    deep = tuple((depth, *extent) for depth, *extent in record["deep"])
    return ImageStats(**{**record, "low": low, "high": high, "deep": deep})


# -- building ---------------------------------------------------------------------------------


class _OtherForm(Exception):  # noqa: N818 - no error: the pictures are read once more
    """Pictures turned out not to have the form that was guessed from the first ones."""

    def __init__(self, facts: ImageStats) -> None:
        self.facts = facts


@dataclass(eq=False)
class _Batch:
    """What one task has decoded."""

    pixels: Pixels
    bad: list[tuple[int, str]] = field(default_factory=list)
    facts: ImageStats | None = None
    examples: dict[str, int] = field(default_factory=dict)


def _build(
    source: Source, wanted: RequestedFormat, folder: Path, threads: int, max_bad: float
) -> None:
    with warnings.catch_warnings():  # Pillow warns of what is odd in a file and reads on
        warnings.simplefilter("ignore")
        facts = None if wanted.settled else _survey(source)
        while True:
            try:
                record = _write(source, wanted, facts, folder, threads, max_bad)
                break
            except _OtherForm as other:
                facts = other.facts
    write_json(folder / _RECORD, artifact.with_checksum(record))


def _survey(source: Source) -> ImageStats | None:
    """What is seen in a few pictures that are spread over all, if they can be read."""
    facts: ImageStats | None = None
    for number in range(min(_SURVEYED, len(source))):
        index = number * len(source) // min(_SURVEYED, len(source))
        for content in source.read(index, index + 1):
            with contextlib.suppress(PictureError):
                if isinstance(content, bytes):
                    facts = look_at(content).merged(facts)
    return facts


def _write(
    source: Source,
    wanted: RequestedFormat,
    facts: ImageStats | None,
    folder: Path,
    threads: int,
    max_bad: float,
) -> dict[str, Any]:
    """Decode everything into a file, in the form that follows from the facts."""
    output = wanted.output(facts)
    _check_space(folder, source, output)
    count = 0
    skipped: list[Skipped] = []
    extents: list[Range] = []
    examples: dict[str, str] = {}
    with (
        (folder / _PICTURES).open("wb") as file,
        progress.Bar(f"decoding {source.origin}", len(source)) as bar,
    ):
        _write_header(file, len(source), output)
        for batch in _batches(source, output, threads):
            for index, reason in batch.bad:
                skipped.append(Skipped(index, printable(source.name(index)), reason))
            _check_skipped(skipped, max_bad, source)
            if batch.facts is not None:
                # What was once seen counts, so that the form changes a few times at most.
                facts = batch.facts.merged(facts)
                if wanted.output(facts) != output:
                    raise _OtherForm(facts)
                extents.append((float(batch.pixels.min()), float(batch.pixels.max())))
            for depth, index in batch.examples.items():
                examples.setdefault(depth, printable(source.name(index)))
            file.write(batch.pixels.data)
            count += len(batch.pixels)
            bar.show(count + len(skipped))
        if facts is None or not count:
            raise DataError(
                f"None of the {len(source):,} pictures of {source.origin} can be read: "
                f"{_some(skipped)}; repair or replace them."
            )
        file.seek(0)
        _write_header(file, count, output)
    return {
        "format_version": FORMAT_VERSION,
        "origin": source.origin,
        "settings": asdict(wanted),
        "shape": [count, *output.shape],
        "total": len(source),
        "facts": facts._asdict(),
        "extent": [min(low for low, _ in extents), max(high for _, high in extents)],
        "examples": examples,
        "skipped": [list(each) for each in skipped],
        "file": artifact.describe(folder / _PICTURES),
        "mtime_ns": (folder / _PICTURES).stat().st_mtime_ns,
    }


def _write_header(file: BinaryIO, count: int, output: OutputFormat) -> None:
    """Write the start of a .npy file; numpy gives it one length for all counts."""
    import numpy as np

    kind, shape = "<f4" if output.deep else "|u1", (count, *output.shape)
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _batches(source: Source, output: OutputFormat, threads: int) -> Iterator[_Batch]:
    """Decode everything, a task at a time, and yield the outcomes in order."""
    together = max(1, min(_TOGETHER, _TASK_BYTES // _picture_bytes(output)))
    # Pillow and torchvision decode outside the interpreter lock, so threads are enough.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ganzoo-decode")
    waiting: deque[Future[_Batch]] = deque()
    try:
        for start in range(0, len(source), together):
            stop = min(start + together, len(source))
            waiting.append(pool.submit(_decoded_batch, source, output, start, stop))
            if len(waiting) >= _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _decoded_batch(source: Source, output: OutputFormat, start: int, stop: int) -> _Batch:
    import numpy as np

    kind = np.dtype("<f4" if output.deep else np.uint8)
    batch = _Batch(np.empty((stop - start, *output.shape), kind))
    last: ImageStats | None = None
    row = 0
    other_sizes: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}
    for index, content in enumerate(source.read(start, stop), start):
        try:
            if isinstance(content, PictureError):
                raise content
            pixels, seen = decode(content, output)
        except PictureError as error:
            batch.bad.append((index, str(error)))
            continue
        if pixels.shape == output.shape:
            batch.pixels[row] = pixels
        else:
            other_sizes.setdefault(pixels.shape, []).append((row, pixels))
        row += 1
        batch.examples.setdefault(seen.deep[0][0] if seen.deep else "uint8", index)
        if seen != last:  # most pictures of a set are alike
            last = seen
            batch.facts = seen.merged(batch.facts)
    for group in other_sizes.values():
        rows, pictures = zip(*group, strict=True)
        batch.pixels[list(rows)] = resized(list(pictures), output.size)
    batch.pixels = batch.pixels[:row]
    return batch


def _picture_bytes(output: OutputFormat) -> int:
    return math.prod(output.shape) * (4 if output.deep else 1)


# -- what may go wrong ------------------------------------------------------------------------


def _some(skipped: Sequence[Skipped]) -> str:
    return some([f"'{each.name}' ({each.reason})" for each in skipped], _NAMED)


def _check_skipped(skipped: Sequence[Skipped], max_bad: float, source: Source) -> None:
    limit = int(max_bad * len(source) if max_bad < 1 else max_bad)
    if len(skipped) <= limit:
        return
    are = "picture is" if len(skipped) == 1 else "pictures are"
    raise DataError(
        f"{len(skipped):,} {are} unreadable among {len(source):,} of {source.origin}, more than "
        f"the {limit:,} that max_bad allows: {_some(skipped)}; repair or remove them, or raise "
        f"max_bad."
    )


def _check_space(folder: Path, source: Source, output: OutputFormat) -> None:
    needed = len(source) * _picture_bytes(output)
    if needed > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, f"{needed / 2**30:.2f} GiB are needed")


def _unwritable(root: Path, origin: str, error: OSError) -> DataError:
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return DataError(
            f"The disk of {root} is too full for the decoded pictures of {origin} ({reason}); free "
            f"some space, choose a smaller size, or set the option cache or {ENVIRONMENT} to a "
            f"folder on another disk."
        )
    return DataError(
        f"The decoded pictures of {origin} cannot be written to {root} ({reason}); set the option "
        f"cache or {ENVIRONMENT} to a folder of your own."
    )


# -- one builder at a time --------------------------------------------------------------------


@contextlib.contextmanager
def only_one(root: Path, key: str, doing: str) -> Iterator[None]:
    """Hold the lock of an entry of the cache in ``root``; the system frees it if its holder dies.

    Others that wait are told what the holder is ``doing``.
    """
    from filelock import FileLock, Timeout

    place = root / "locks" / f"{key}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place)
    try:
        lock.acquire(timeout=progress.MOMENT)
    except Timeout:
        progress.say(f"waiting for another process, which is {doing}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(root: Path, own: str) -> None:
    """Remove partial writes of builders that were killed: their lock is free."""
    from filelock import FileLock, Timeout

    for path in (*root.glob(".*.tmp"), *root.glob(".*.old")):
        key = path.name[1:].partition(".")[0]
        lock = FileLock(root / "locks" / f"{key}.lock", 0)
        with (
            contextlib.suppress(Timeout, OSError),
            contextlib.nullcontext() if key == own else lock,
        ):
            shutil.rmtree(path, ignore_errors=True)
