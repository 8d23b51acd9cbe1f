"""Files of pictures, be they in a folder or an archive, in an order that is the same everywhere."""

from __future__ import annotations

import hashlib
import os
import struct
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ganzoo.datasets import label_files
from ganzoo.datasets.decoding import SUFFIXES
from ganzoo.errors import DataError, listing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.datasets.formats import PictureError

__all__ = ["MOST_BYTES", "PictureFile", "PictureFiles", "printable", "quoted", "reason"]

MOST_BYTES = 2**30
"""Most bytes of one file."""


class PictureFile(NamedTuple):
    """One file.

    Attributes:
        name: Relative to the folder or archive.
        size: Bytes.
        stamp: What tells another content of that size: time of change, checksum or place.
        entry: What the archive knows it by.
    """

    name: bytes
    size: int
    stamp: int
    entry: Any = None


class PictureFiles(AbstractContextManager["PictureFiles"]):
    """The pictures among some files, which subclasses list and read.

    The order follows from a hash of each name, not from the file system or the alphabet.

    Args:
        path: The folder or archive.

    Attributes:
        origin: The path, to start a message.
        notices: What a person should know, a line each.
        label_files: Files that may hold labels, by name.
        groups: (N,) index of the first-level folder of each picture, or -1.
        group_names: Names of these folders.
        key: Hash of names, sizes and stamps.

    Raises:
        DataError: If there are no pictures.
    """

    what = "folder"

    def __init__(self, path: Path) -> None:
        self.origin = quoted(path)
        self.notices: list[str] = []
        self.label_files: dict[bytes, PictureFile] = {}
        self._path = path
        try:
            self._sort(list(self._listed()))
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _listed(self) -> Iterator[PictureFile]:
        """List all files."""

    @abstractmethod
    def read(self, start: int, stop: int) -> Iterator[bytes | PictureError]:
        """Yield the content of these pictures, or why there is none, from any thread."""

    @abstractmethod
    def text(self, name: bytes, most: int) -> bytes:
        """Return the content of a label file.

        Raises:
            OSError: If it cannot be read, or has more than so many bytes.
        """

    def close(self) -> None:
        """Close the archive."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> bytes:
        """Return the name of a picture."""
        return self._files[index].name

    def _sort(self, files: list[PictureFile]) -> None:
        import numpy as np

        found: list[PictureFile] = []
        other = b""
        for file in files:
            end = file.name.rpartition(b"/")[2]
            if end[end.rfind(b".") :].lower() in SUFFIXES:
                found.append(file)
                continue
            if end.decode(errors="replace") in label_files.NAMES:
                self.label_files[file.name] = file
            other = other or file.name
        if not found:
            raise self._empty(other)
        self._files = sorted(found, key=lambda file: (_hash(file.name), file.name))
        tops = [file.name.partition(b"/")[0] if b"/" in file.name else b"" for file in self._files]
        folders = sorted({top for top in tops if top})
        rank = {b"": -1, **{top: number for number, top in enumerate(folders)}}
        self.groups: NDArray[np.int32] = np.array([rank[top] for top in tops], np.int32)
        self.group_names = [printable(folder) for folder in folders]
        digest = hashlib.blake2b(digest_size=32)
        for file in self._files:
            digest.update(struct.pack("<qq", file.size, file.stamp) + file.name + b"\0")
        self.key = f"{self.what}-{len(self._files)}-{digest.hexdigest()}"

    def _empty(self, other: bytes) -> DataError:
        found = "is empty"
        if other:
            found = f"holds no pictures but other files, such as '{printable(other)}'"
        suffixes = listing(sorted(suffix.decode() for suffix in SUFFIXES))
        return DataError(
            f"The {self.what} {self.origin} {found}; give one with pictures ({suffixes})."
        )


def _hash(name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=8).digest()


def printable(name: bytes) -> str:
    r"""Return a name as text that can be printed: what cannot be becomes \x.. or \n."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def quoted(path: Path) -> str:
    """Return a path for a message."""
    return f"'{printable(os.fsencode(path))}'"


def reason(error: Exception) -> str:
    """Return why something cannot be read, in a few words."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text or type(error).__name__
