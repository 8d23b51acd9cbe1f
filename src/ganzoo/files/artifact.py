"""Artifacts: folders with a JSON manifest of the size and SHA-256 of each file, without pickles.

Checkpoints, bundles and caches are artifacts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ganzoo.errors import quoted
from ganzoo.files import bounded_json, untrusted
from ganzoo.files.bounded_json import LARGEST
from ganzoo.files.storage import new_folder, own_copies, sha256, write_json

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CHECKSUM",
    "BeyondBoundsError",
    "FileFacts",
    "NewerFormatError",
    "TooLargeError",
    "check",
    "describe",
    "new",
    "read",
    "read_manifest",
    "read_tensors",
    "save_tensors",
    "with_checksum",
    "write_manifest",
]

CHECKSUM = "sha256"
"""The key under which a manifest has the SHA-256 of all its other values."""


class FileFacts(TypedDict):
    """What a manifest says of a file: its size in bytes and its hexadecimal SHA-256."""

    size: int
    sha256: str


class BeyondBoundsError(ValueError):
    """Facts are more than ``read_manifest`` reads again."""


class NewerFormatError(ValueError):
    """A manifest is of a later ``format_version`` than this ganzoo reads; ``version`` is it."""

    def __init__(self, version: int, newest: int) -> None:
        super().__init__(
            f"has format {version}, but this ganzoo reads up to {newest}: upgrade ganzoo"
        )
        self.version = version


class TooLargeError(ValueError):
    """A file needs more memory than ``GANZOO_MAX_BYTES`` allows."""


# -- writing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def new(folder: Path, manifest: str, facts: Mapping[str, Any]) -> Iterator[Path]:
    """Give a temporary folder to write files into; it becomes ``folder`` with its manifest.

    One that is there is replaced, at the end. The manifest says the facts, and ``files``.

    Raises:
        BeyondBoundsError: If the facts are more than ``read_manifest`` reads again.
        OSError: If the disk is full or the place is not writable.
    """
    with new_folder(folder) as fresh:
        yield fresh
        files = {path.name: describe(path) for path in sorted(fresh.iterdir())}
        write_manifest(fresh / manifest, {**facts, "files": files})


def describe(path: Path) -> FileFacts:
    """Return what a manifest says of a file."""
    return {"size": path.stat().st_size, "sha256": sha256(path)}


def write_manifest(path: Path, facts: Mapping[str, Any], *, largest: int = LARGEST) -> None:
    """Write a manifest with its checksum.

    Raises:
        BeyondBoundsError: If it is more than ``read_manifest`` reads again.
        OSError: If the disk is full or the place is not writable.
    """
    content = with_checksum(facts)
    if problem := bounded_json.excess(content):
        raise BeyondBoundsError(problem)
    write_json(path, content)
    if path.stat().st_size > largest:
        raise BeyondBoundsError(f"it is larger than {largest:,} bytes")


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, copied: bool = False) -> None:
    """Write a safetensors file of tensors on any device, of any layout, which may share memory.

    Those that are ``copied`` come from ``own_copies`` already. A full disk is an ``OSError``.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    ready = dict(tensors) if copied else own_copies(tensors)
    try:
        save_file(ready, path, metadata={"format": "pt"})
    except SafetensorError as error:  # in which it wraps the system's error
        raise OSError(str(error)) from error


# -- reading --------------------------------------------------------------------------------------


def read_manifest(
    path: Path, *, newest: int = 1, largest: int = LARGEST, root: Path | None = None
) -> dict[str, Any]:
    """Read a manifest, verify its checksum, and return the rest; its layout does not matter.

    Args:
        path: The manifest.
        newest: The latest ``format_version`` that the caller understands.
        largest: Bytes that it may have.
        root: A link may lead anywhere below it; by default, below the manifest's own folder.

    Raises:
        OSError: If it cannot be read.
        NewerFormatError: If a newer ganzoo wrote it.
        ValueError: If it is not a manifest or does not match its checksum, in a clause.
    """
    value = bounded_json.read(path, largest=largest, root=root)
    if not isinstance(value, dict) or "format_version" not in value:
        raise ValueError("it has no format_version, so ganzoo did not write it")
    version = value["format_version"]
    if type(version) is not int or version < 1:
        raise ValueError(f"its format_version is {quoted(version)}, not a number from 1 on")
    # First: a damaged number must not read as that of a newer ganzoo.
    if value.pop(CHECKSUM, None) != _checksum(value):
        raise ValueError(f"it does not match its own {CHECKSUM}, so it was edited or damaged")
    if version > newest:
        raise NewerFormatError(version, newest)
    return dict(value)


def with_checksum(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest says with its SHA-256, which does not depend on the order of keys."""
    return {**facts, CHECKSUM: _checksum(facts)}


def _checksum(facts: Mapping[str, Any]) -> str:
    text = json.dumps(
        facts, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def check(path: Path, facts: FileFacts, *, root: Path | None = None) -> None:
    """Verify a file of an artifact; its content takes no memory.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a regular file, or of another size or SHA-256, in a clause.
    """
    with _of_its_size(path, facts, root) as file:
        if untrusted.digest(file) != facts["sha256"]:
            raise ValueError("checksum mismatch")


def read(path: Path, facts: FileFacts, *, root: Path | None = None) -> bytes:
    """Verify a file of an artifact and return its content: the very bytes that were hashed.

    Raises:
        OSError, ValueError: As ``check``.
        TooLargeError: If it is larger than ``GANZOO_MAX_BYTES`` allows; it is not read.
    """
    with _of_its_size(path, facts, root) as file:
        if facts["size"] > untrusted.max_bytes():
            raise TooLargeError(untrusted.too_large(f"{path} has {facts['size']:,} bytes"))
        content = file.read(facts["size"])
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise ValueError("checksum mismatch")
    return content


@contextlib.contextmanager
def _of_its_size(path: Path, facts: FileFacts, root: Path | None) -> Iterator[BufferedReader]:
    with untrusted.opened(path, root) as file:
        if os.fstat(file.fileno()).st_size != facts["size"]:
            raise ValueError("size mismatch")
        yield file


def read_tensors(path: Path, facts: FileFacts, *, root: Path | None = None) -> dict[str, Tensor]:
    """Verify a safetensors file of an artifact and return its tensors, on the CPU.

    Raises:
        OSError, ValueError: As ``read``; or if it is not a safetensors file.
    """
    return untrusted.tensors(read(path, facts, root=root))
