"""Archives of pictures, read without being unpacked: zip, and tar without compression."""

from __future__ import annotations

import hashlib
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from ganzoo.datasets.cache import printable
from ganzoo.datasets.decoding import SUFFIXES
from ganzoo.datasets.formats import PictureError
from ganzoo.datasets.label_files import NAMES
from ganzoo.errors import DataError, listing
from ganzoo.files.storage import read_all

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ARCHIVES", "MOST_BYTES", "PACKED", "Archive", "opened", "order_of", "unpacking"]

ARCHIVES = (".zip", ".tar")
"""Suffixes of archives that are read as they are."""
PACKED = (".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".tbz", ".tbz2", ".txz")
"""Suffixes of archives that have to be unpacked."""
MOST_BYTES = 2**30
"""Of one file."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENCRYPTED = 1  # in the flags of a file in a zip
_BLOCK = 512  # of a tar, which ends with two empty ones
_MODULUS = 1 << 256

Entry = TypeVar("Entry")


class _File(NamedTuple, Generic[Entry]):
    """One file of an archive: its name there, what the archive knows it by, and its content."""

    name: str
    entry: Entry
    size: int
    stamp: int


def opened(path: Path) -> Archive[zipfile.ZipInfo] | Archive[tarfile.TarInfo]:
    """Return the pictures of an archive.

    Raises:
        DataError: If it is damaged, encrypted or holds no pictures.
    """
    return _Zip(path) if path.suffix.lower() == ".zip" else _Tar(path)


def unpacking(path: Path) -> str:
    """Return how an archive that is not read as it is gives a folder, to end a message."""
    name = path.name.lower()
    if name.endswith((".tgz", ".tbz", ".tbz2", ".txz")) or ".tar." in name:
        return f"unpack it (mkdir pictures; tar -xf '{path}' -C pictures) and give the folder"
    return "unpack it and give the folder that comes out"


def order_of(name: bytes) -> int:
    """Return the number by which pictures are in order, the same wherever they are kept."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")


class Archive(AbstractContextManager["Archive[Entry]"], Generic[Entry]):
    """The pictures of an archive, listed, in the order and with the names that a folder has.

    A folder that holds everything else is passed over, as archives of a folder have it.

    Args:
        path: The archive.

    Raises:
        DataError: If it is damaged, encrypted or holds no pictures.
    """

    what = "archive"

    def __init__(self, path: Path) -> None:
        self.origin = f"'{printable(os.fsencode(path))}'"
        self.notices: list[str] = []
        self._path = path
        try:
            self._arrange(self._named(self._listed()))
        except BaseException:
            self.close()
            raise

    def _arrange(self, listed: dict[bytes, _File[Entry]]) -> None:
        import numpy as np

        shared = _shared_folder(list(listed))
        self._files: list[tuple[bytes, _File[Entry]]] = []
        self._others: dict[bytes, _File[Entry]] = {}
        total, other = 0, b""
        for whole, file in listed.items():
            name = whole[len(shared) :]
            end = name.rpartition(b"/")[2]
            if end[end.rfind(b".") :].lower() in SUFFIXES:
                self._files.append((name, file))
                content = struct.pack("<qq", file.size, file.stamp) + name
                digest = hashlib.blake2b(content, digest_size=32).digest()
                total = (total + int.from_bytes(digest, "big")) % _MODULUS
            elif end.decode(errors="replace") in NAMES:
                self._others[name] = file
            else:
                other = other or name
        if not self._files:
            found = f"but other files, such as '{printable(other)}'" if other else "or is empty"
            suffixes = listing(sorted(suffix.decode() for suffix in SUFFIXES))
            raise DataError(
                f"The {self.what} {self.origin} holds no pictures {found}; give one of pictures "
                f"({suffixes})."
            )
        self._files.sort(key=lambda each: order_of(each[0]))
        tops = [name.partition(b"/")[0] if b"/" in name else None for name, _ in self._files]
        folders = sorted({top for top in tops if top is not None})
        rank = {top: number for number, top in enumerate(folders)}
        self.groups: NDArray[np.int32] = np.array(
            [-1 if top is None else rank[top] for top in tops], np.int32
        )
        self.group_names = [printable(folder) for folder in folders]
        self.key = f"{self.what}-{len(self._files)}-{total:064x}-{self._stamp()}"

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._files)

    @property
    def label_files(self) -> list[bytes]:
        """Names of files beside the pictures that may hold labels."""
        return list(self._others)

    def name(self, index: int) -> bytes:
        """Return the name of a picture, relative to the archive."""
        return self._files[index][0]

    def read(self, start: int, stop: int) -> Iterator[bytes | PictureError]:
        """Yield the content of these pictures, or why there is none."""
        for _, file in self._files[start:stop]:
            if file.size > MOST_BYTES:
                yield PictureError("more than 1 GiB")
                continue
            try:
                yield self._content(file)
            except _BROKEN as error:
                yield PictureError(_told(error))

    def text(self, name: bytes, most: int) -> bytes:
        """Return the content of a label file.

        Raises:
            OSError: If it is damaged, or has more than so many bytes.
        """
        file = self._others[name]
        if file.size > most:
            raise OSError(f"it has {file.size:,} bytes, more than {most:,}")
        try:
            return self._content(file)
        except _BROKEN as error:
            raise OSError(_told(error)) from error

    @abstractmethod
    def close(self) -> None:
        """Close the archive."""

    @abstractmethod
    def _listed(self) -> Iterator[_File[Entry]]:
        """Open the archive and yield its files."""

    @abstractmethod
    def _content(self, file: _File[Entry]) -> bytes:
        """The content of a file."""

    def _stamp(self) -> str:
        """What else its content may be known by."""
        return ""

    def _named(self, files: Iterator[_File[Entry]]) -> dict[bytes, _File[Entry]]:
        """Files and their names as a folder has them; of those of one name, the last counts."""
        found: dict[bytes, _File[Entry]] = {}
        for file in files:
            name = file.name.replace("\\", "/").encode("utf-8", "surrogateescape")
            parts = [part for part in name.split(b"/") if part not in (b"", b".")]
            if parts and not any(part.startswith(b".") for part in parts if part != b".."):
                found[b"/".join(parts)] = file
        return found

    def _damaged(self, error: Exception) -> DataError:
        if isinstance(error, OSError) and error.errno is not None:
            return DataError(
                f"The {self.what} {self.origin} cannot be read ({_told(error)}); make it readable."
            )
        return DataError(
            f"The {self.what} {self.origin} is damaged or no {self.what} ({_told(error)}); copy or "
            f"make it again."
        )


class _Zip(Archive[zipfile.ZipInfo]):
    what = "zip"
    _zip: zipfile.ZipFile | None = None

    def _listed(self) -> Iterator[_File[zipfile.ZipInfo]]:
        try:
            self._zip = zipfile.ZipFile(self._path)
        except _BROKEN as error:
            raise self._damaged(error) from error
        # What is open is counted without a lock.
        self._lock = threading.Lock()
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            problem = ""
            if info.flag_bits & _ENCRYPTED:
                problem = "is encrypted"
                fix = "unpack it with its password and give the folder"
            elif info.compress_type not in _METHODS:
                problem = f"is compressed by the method {info.compress_type}, which cannot be read"
                fix = "pack it again (zip -0 -r), or unpack it and give the folder"
            if problem:
                name = printable(info.filename.encode("utf-8", "surrogateescape"))
                raise DataError(f"'{name}' in the zip {self.origin} {problem}; {fix}.")
            yield _File(info.filename, info, info.file_size, info.CRC)

    def _content(self, file: _File[zipfile.ZipInfo]) -> bytes:
        with self._lock:
            assert self._zip is not None
            reader = self._zip.open(file.entry)
        try:
            return reader.read()
        finally:
            with self._lock:
                reader.close()

    def close(self) -> None:
        if self._zip is not None:
            self._zip.close()


class _Tar(Archive[tarfile.TarInfo]):
    what = "tar"
    _handle = -1

    def _listed(self) -> Iterator[_File[tarfile.TarInfo]]:
        try:
            # Nothing is extracted, so that links and names that lead elsewhere do no harm.
            self._handle = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            with tarfile.open(self._path, "r:") as archive:
                members = archive.getmembers()
        except _BROKEN as error:
            raise self._damaged(error) from error
        for member in members:
            if member.isreg() and not member.issparse():
                yield _File(member.name, member, member.size, member.offset_data)
        end = 0
        if members:
            last = members[-1]
            end = last.offset_data + -(-last.size // _BLOCK) * _BLOCK * last.isreg()
        os.lseek(self._handle, end, os.SEEK_SET)
        if read_all(self._handle, 2 * _BLOCK) != bytes(2 * _BLOCK):
            self.notices.append(
                f"The tar {self.origin} does not end as one does; it may have been cut off, so "
                f"that pictures are missing."
            )
        self._lock = threading.Lock()

    def _content(self, file: _File[tarfile.TarInfo]) -> bytes:
        with self._lock:
            os.lseek(self._handle, file.entry.offset_data, os.SEEK_SET)
            content = read_all(self._handle, file.size)
        if len(content) != file.size:
            raise tarfile.ReadError("cut off")
        return content

    def _stamp(self) -> str:
        state = os.fstat(self._handle)
        return f"{state.st_size}-{state.st_mtime_ns}"

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    struct.error,
)


def _told(error: Exception) -> str:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text or type(error).__name__


def _shared_folder(names: list[bytes]) -> bytes:
    """The folder, with a slash, that all is in, where there are folders or labels in it."""
    shared = b""
    while names:
        tops = {name[len(shared) :].partition(b"/")[:2] for name in names}
        if len(tops) != 1 or not (top := tops.pop())[1]:
            break
        inner = shared + top[0] + b"/"
        rest = [name[len(inner) :] for name in names]
        if not any(b"/" in name or name.decode(errors="replace") in NAMES for name in rest):
            break
        shared = inner
    return shared
