"""Files of pictures, be they in a folder or an archive, in an order that is the same everywhere."""

from __future__ import annotations

import hashlib
import os
import struct
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ganzoo.datasets import label_files
from ganzoo.datasets.decoding import SUFFIXES
from ganzoo.datasets.formats import PictureError
from ganzoo.errors import DataError, listing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MOST_BYTES", "PictureFile", "PictureFiles", "Source", "printable", "quoted", "reason"]

MOST_BYTES = 2**30
"""Most bytes of one file."""


class Source(AbstractContextManager["Source"]):
    """Where encoded pictures come from, in an order that is the same everywhere.

    Attributes:
        origin: What it is, to start a message.
        key: Hash of its content and order.
        groups: (N,) index of each picture's group, or -1.
        group_names: Names of the groups.
        notices: What a person should know about it, a line each.
    """

    origin: str
    key: str
    groups: NDArray[np.int32]
    group_names: list[str]
    notices: list[str]

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def read(self, start: int, stop: int) -> Iterator[bytes | PictureError]:
        """Yield the content of these pictures, or why there is none, from any thread."""

    @abstractmethod
    def name(self, index: int) -> bytes:
        """Return what a picture is called; it holds no NUL."""

    def close(self) -> None:
        """Let go of what is open."""

    def __exit__(self, *error: object) -> None:
        self.close()


class PictureFile(NamedTuple):
    """One file: its name in the folder or archive, its size, and what the archive knows it by.

    ``stamp`` tells another content of that size: time of change, checksum or place.
    """

    name: bytes
    size: int
    stamp: int
    entry: Any = None


class PictureFiles(Source):
    """The pictures among some files, which subclasses list and read.

    The order follows from a hash of each name. Groups are the folders of the first level.

    Attributes:
        label_files: Files that may hold labels, by name.

    Raises:
        DataError: If there are no pictures.
    """

    what: ClassVar[str] = "folder"
    broken: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    """What reading a file may raise."""

    def __init__(self, path: Path) -> None:
        self.origin = quoted(path)
        self.notices = []
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
    def _content(self, file: PictureFile) -> bytes:
        """Return the content of a file, or raise ``PictureError`` or what is ``broken``."""

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> bytes:
        """Return the name of a picture."""
        return self._files[index].name

    def read(self, start: int, stop: int) -> Iterator[bytes | PictureError]:
        """Yield the content of these pictures, or why there is none, from any thread."""
        for file in self._files[start:stop]:
            yield self._read(file, MOST_BYTES)

    def text(self, name: bytes, most: int) -> bytes | PictureError:
        """Return the content of a label file of at most so many bytes, or why there is none."""
        return self._read(self.label_files[name], most)

    def _read(self, file: PictureFile, most: int) -> bytes | PictureError:
        if file.size > most:
            return PictureError(f"it has {file.size:,} bytes, more than {most:,}")
        try:
            return self._content(file)
        except PictureError as error:
            return error
        except self.broken as error:
            return PictureError(reason(error))

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
        self.groups = np.array([rank[top] for top in tops], np.int32)
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
