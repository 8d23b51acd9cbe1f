"""Files that may come from anybody, opened and mapped without trusting what they say."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["amount", "digest", "opened", "tensors"]

_HEADER = 8 * 2**20  # bytes; some 60,000 tensors
_AXES = 16
_SMALL = 64 * 2**20  # bytes; copying less takes some milliseconds
_PICKLES = (b"\x80", b"PK\x03\x04")  # bare, and in the zip file that torch.save writes
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}


@contextlib.contextmanager
def opened(path: Path, root: Path | None = None) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading, without ever waiting for a pipe or device.

    Args:
        path: The file.
        root: Links may lead anywhere below it; by default, below the file's own folder.

    Raises:
        OSError: If it is not there or cannot be read.
        ValueError: If it is no regular file, or a link that leads out of ``root``.
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
        raise ValueError("it is no regular file")


def amount(file: io.BufferedReader) -> int:
    """Return the size of an open file, in bytes."""
    return os.fstat(file.fileno()).st_size


def digest(file: io.BufferedReader) -> str:
    """Return the hexadecimal SHA-256 of an open file's whole content."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def tensors(file: io.BufferedReader) -> dict[str, Tensor]:
    """Read the tensors of an open safetensors file, or map them into memory from 64 MiB on.

    What is read has memory of its own, so that whatever becomes of the file does not matter. What
    is mapped is not read yet and takes no memory: the file may be closed then, removed and replaced
    by another, but whoever writes into it changes tensors, and whoever cuts it short ends the
    process. Writing into a tensor leaves the file as it is.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no safetensors file, its header is not true, or it changes meanwhile.
    """
    import torch

    layout, start = _layout(file)
    if not layout:
        return {}
    size = amount(file)
    data: mmap.mmap | bytearray
    if small := size < _SMALL:
        data = bytearray(size)
        file.seek(0)
        if file.readinto(data) != size:
            raise ValueError("it was cut short while it was read")
    else:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    found = {}
    for name, (kind, shape, begin, _) in layout.items():
        dtype, count = _dtype(kind), math.prod(shape)
        if (start + begin) % dtype.itemsize:
            raise ValueError(f"the values of its tensor '{name}' are not aligned")
        if count == 0:
            found[name] = torch.empty(shape, dtype=dtype)
            continue
        value = torch.frombuffer(data, dtype=dtype, count=count, offset=start + begin)
        # Windows lets nobody replace or remove a file while it is mapped.
        own = small or os.name == "nt"
        found[name] = value.reshape(shape).clone() if own else value.reshape(shape)
    return found


def _layout(file: io.BufferedReader) -> tuple[dict[str, tuple[str, list[int], int, int]], int]:
    """Read and check a header.

    Returns:
        Each tensor's type, shape, and begin and end among the data; and where these start.
    """
    size = amount(file)
    file.seek(0)
    lead = file.read(8)
    length = int.from_bytes(lead, "little")
    if len(lead) < 8 or not 2 <= length <= min(_HEADER, size - 8):
        if lead.startswith(_PICKLES):
            raise ValueError("it is a pickle, which may run code and is never loaded")
        raise ValueError("it does not begin with the length of a header")
    try:
        text = file.read(length).decode("utf-8")
        header = json.loads(text, object_pairs_hook=_unique, parse_int=_integer)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    remarks = header.pop("__metadata__", {})
    if not isinstance(remarks, dict) or not all(isinstance(v, str) for v in remarks.values()):
        raise ValueError("the metadata in its header are no texts")
    if any(map(_has_surrogates, (*header, *remarks, *remarks.values()))):
        raise ValueError("its header has half a character in a name or text")
    layout = {name: _piece(name, facts) for name, facts in header.items()}
    end = 0
    for name, (_, _, begin, stop) in sorted(layout.items(), key=lambda item: item[1][2:]):
        if begin != end:
            raise ValueError(f"its tensor '{name}' overlaps another, or follows a hole")
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"its tensors have {end:,} bytes, but {size - 8 - length:,} are there")
    return layout, 8 + length


def _piece(name: str, facts: Any) -> tuple[str, list[int], int, int]:
    if not isinstance(facts, dict) or set(facts) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"its header does not say what its tensor '{name}' is")
    kind, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise ValueError(f"its tensor '{name}' is of a type that is not known")
    if not _sizes(shape) or len(shape) > _AXES or math.prod(axis or 1 for axis in shape) >= 2**63:
        raise ValueError(f"its tensor '{name}' has a shape that is none")
    if not _sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"its tensor '{name}' has a place that is none")
    begin, end = offsets
    if end - begin != math.prod(shape) * _dtype(kind).itemsize:
        raise ValueError(f"the shape of its tensor '{name}' does not agree with its bytes")
    return kind, shape, begin, end


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**63 for v in value)


def _dtype(kind: str) -> torch.dtype:
    import torch

    dtype: torch.dtype = getattr(torch, _DTYPES[kind])
    return dtype


def _integer(text: str) -> int:
    return -1 if text == "-0" else int(text)  # which others refuse as a size, and so do we


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= each <= "\udfff" for each in text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header says something twice")
    return found
