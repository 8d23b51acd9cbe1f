"""Atomic writes: files and folders that are there whole or not at all, also after a crash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ContendedError",
    "clean_partial_writes",
    "copy",
    "expanded",
    "flush",
    "is_partial_write",
    "make",
    "new_file",
    "new_folder",
    "own_copies",
    "partial_writes",
    "read_all",
    "remove",
    "sha256",
    "state_of",
    "write_json",
    "write_text",
]

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.(?P<kind>tmp|old)")


class ContendedError(FileExistsError):
    """Two processes write the same folder at the same moment."""

    def __init__(self, target: Path) -> None:
        super().__init__(errno.EEXIST, "something else saves there at the same moment", str(target))


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path that a person gave, with ``~`` and ``~name`` as a shell reads them.

    A name that no user here has stays as it is: there is just no such file.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own raises for such a name


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``target`` when the block ends well.

    Its files and both folders are flushed to the disk first, so that ``target`` is never there
    in part. An older ``target`` is moved aside as ``.<name>.<random>.old`` and removed once the
    new one has its place; a crash between leaves both, whole, and ``clean_partial_writes`` puts
    it back. When the block raises, the older one stays.

    Raises:
        ContendedError: If another process puts a folder there at the same moment; that one stays.
        OSError: If the disk is full or the place is not writable.
    """
    target = target.resolve()  # what a link leads to is replaced, not the link
    make(target.parent)
    fresh = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    fresh.mkdir()
    try:
        yield fresh
        for path in sorted(fresh.rglob("*")):
            if path.is_symlink():
                continue  # its target is not ours
            if path.is_file():  # some libraries write files that only their owner can read
                path.chmod(fresh.stat().st_mode & 0o666)
            flush(path)
        flush(fresh)
        old = None
        if target.exists():
            try:
                old = target.rename(fresh.with_suffix(".old"))
            except FileNotFoundError as error:
                raise ContendedError(target) from error
        try:
            fresh.rename(target)
        except BaseException as error:
            if taken := target.exists():
                shutil.rmtree(old or fresh, ignore_errors=True)  # which is replaced by now
            elif old is not None:
                old.rename(target)
            if taken and isinstance(error, OSError):
                raise ContendedError(target) from error
            raise
        flush(target.parent)  # before the old one goes: a power cut keeps either
        if old is not None:
            shutil.rmtree(old)
            flush(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def make(folder: Path) -> None:
    """Make a folder and its parents, if they are not there, and flush them to the disk."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


def remove(folder: Path) -> None:
    """Remove a folder; a kill leaves a partial write of it, never half of the folder.

    Raises:
        OSError: If it cannot be written.
    """
    shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")))


def is_partial_write(path: Path) -> bool:
    """Whether a file or folder is what an unfinished write leaves."""
    return _LEFTOVER.fullmatch(path.name) is not None


def partial_writes(target: Path) -> list[Path]:
    """Return what a running or killed write of ``target`` has put next to it."""
    try:
        target = target.resolve()
        siblings = list(target.parent.iterdir())
    except (OSError, RuntimeError, ValueError):  # no such place, or no name of a file at all
        return []
    return [
        path
        for path in sorted(siblings)
        if (found := _LEFTOVER.fullmatch(path.name)) and found["name"] == target.name
    ]


def state_of(place: Path) -> tuple[int, ...] | None:
    """Return what changes when another folder takes this one's place; None where there is none."""
    try:
        found = place.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def clean_partial_writes(folder: Path) -> list[str]:
    """Clear away what writes that a kill cut short have left in a folder; say it, a line each.

    An older folder that was moved aside returns to its place if no newer one has come there.
    Nothing else may be writing there.
    """
    done = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = _LEFTOVER.fullmatch(path.name)
        if found is None:
            continue
        target = folder / found["name"]
        if found["kind"] == "old" and not target.exists():
            path.rename(target)
            done.append(f"put {target} back, which a kill had caught while it was replaced")
        else:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            done.append(f"removed {path}, which a kill had left unfinished")
    return done


def own_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous copies on the CPU, none sharing memory, as safetensors needs them."""
    import torch

    plain = torch.contiguous_format
    return {
        name: value.detach().to("cpu", copy=True, memory_format=plain)
        for name, value in tensors.items()
    }


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a temporary path whose file becomes ``target`` when the block ends well.

    When the block raises, an older ``target`` stays as it was.
    """
    fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield fresh
        flush(fresh)
        fresh.replace(target)
        flush(target.parent)
    finally:
        fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file that is there whole or not at all."""
    with new_file(path) as fresh:
        fresh.write_text(text, encoding="utf-8", newline="\n")


def copy(source: Path, target: Path) -> None:
    """Copy a file's content; the copy is there whole or not at all."""
    with new_file(target) as fresh:
        shutil.copyfile(source, fresh)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON; NaN is refused, being no JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_all(handle: int, size: int) -> bytes:
    """Return so many bytes of an open file, fewer only at its end.

    The system may hand out less than it was asked for, as network file systems do.
    """
    pieces = []
    while size > 0 and (piece := os.read(handle, size)):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def flush(path: Path) -> None:
    """Have the system write a file's content, or a folder's entries, to the disk itself."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a directory
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # what cannot be flushed at all
            raise
    finally:
        os.close(handle)
