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

from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["digest", "max_bytes", "opened", "tensors", "too_large"]

_LARGEST = 16 * 2**30  # bytes in memory, unless GANZOO_MAX_BYTES says otherwise
_LARGEST_HEADER = 8 * 2**20  # bytes of a safetensors file's header, which takes more as an object
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


def digest(file: io.BufferedReader) -> str:
    """Return the hexadecimal SHA-256 of an open file's whole content."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def max_bytes() -> int:
    """Return the bytes of memory that a file, or a net and its samples, may need.

    Raises:
        ConfigError: If the environment variable GANZOO_MAX_BYTES is not a number.
    """
    text = os.environ.get("GANZOO_MAX_BYTES", "").strip()
    if text and not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ConfigError(
            f"The environment variable GANZOO_MAX_BYTES is '{text}', not a number of bytes."
        )
    return int(text) if text else _LARGEST


def too_large(fact: str) -> str:
    """Return the sentences on what exceeds ``max_bytes``; the fact is a clause."""
    return (
        f"{fact}, more than the {max_bytes():,} that are allowed. If it is meant to be so "
        f"large, set the environment variable GANZOO_MAX_BYTES to more."
    )


def tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU, each with memory of its own.

    Safetensors itself checks that the header is true: sizes, offsets, overlaps and holes.

    Raises:
        ValueError: If it is not a safetensors file, or its header is not true or too large.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if _LARGEST_HEADER < int.from_bytes(content[:8], "little") <= len(content) - 8:
        raise ValueError(f"its header is larger than {_LARGEST_HEADER:,} bytes")
    try:
        return load(content)
    except (SafetensorError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        if content.startswith(_PICKLES):
            raise ValueError("it is a pickle, which may run code and is never loaded") from None
        raise ValueError(str(error) or type(error).__name__) from error
