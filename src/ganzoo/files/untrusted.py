"""Files of any origin: opened without following them elsewhere, read without running code."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["digest", "opened", "size", "tensors"]

_PICKLES = (b"\x80", b"PK\x03\x04")  # bare, and in the zip file that torch.save writes


@contextlib.contextmanager
def opened(path: Path, root: Path | None = None) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading, without ever waiting for a pipe or device.

    Args:
        path: The file.
        root: Links may lead anywhere below it; by default, below the file's own folder.

    Raises:
        OSError: If it is not there or cannot be read.
        ValueError: If it is not a regular file, or a link that leads out of ``root``.
    """
    root = path.parent if root is None else root
    try:
        place, home = path.resolve(strict=True), root.resolve(strict=True)
    except RuntimeError:
        raise ValueError("it is a link that leads in a circle") from None
    if not place.is_relative_to(home):
        raise ValueError(f"it is a link that leads out of {root}")
    _require_file(place.stat())
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY"):  # it may have been exchanged by now
        flags |= getattr(os, name, 0)
    with os.fdopen(os.open(place, flags), "rb") as file:
        _require_file(os.fstat(file.fileno()))
        yield file


def _require_file(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a regular file")


def size(file: io.BufferedReader) -> int:
    """Return the size of an open file, in bytes."""
    return os.fstat(file.fileno()).st_size


def digest(file: io.BufferedReader) -> str:
    """Return the hexadecimal SHA-256 of an open file's whole content."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU, each with memory of its own.

    Safetensors itself checks that the header is true: sizes, offsets, overlaps and holes.

    Raises:
        ValueError: If it is not a safetensors file, or its header is not true.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        if content.startswith(_PICKLES):
            raise ValueError("it is a pickle, which may run code and is never loaded") from None
        raise ValueError(str(error) or type(error).__name__) from error
