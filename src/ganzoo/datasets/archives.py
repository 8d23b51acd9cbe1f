"""Archives of pictures, read without being unpacked: zip, and tar without compression."""

from __future__ import annotations

import os
import tarfile
import threading
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from struct import error as struct_error

from ganzoo.datasets.label_files import NAMES
from ganzoo.datasets.picture_files import PictureFile, PictureFiles, printable, reason
from ganzoo.errors import DataError
from ganzoo.files.storage import read_all

__all__ = ["ARCHIVES", "PACKED", "Archive", "opened", "unpacking"]

ARCHIVES = (".zip", ".tar")
"""Suffixes of archives that are read as they are."""
PACKED = (".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".tbz", ".tbz2", ".txz")
"""Suffixes of archives that have to be unpacked."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENCRYPTED = 1  # in the flags of a file in a zip
_BLOCK = 512  # of a tar, which ends with two empty ones


def opened(path: Path) -> Archive:
    """Return the pictures of an archive.

    Raises:
        DataError: If it is damaged, encrypted or holds no pictures.
    """
    return _Zip(path) if path.suffix.lower() == ".zip" else _Tar(path)


def unpacking(path: Path) -> str:
    """Say how an archive that is not read as it is gives a folder."""
    name = path.name.lower()
    if name.endswith((".tgz", ".tbz", ".tbz2", ".txz")) or ".tar." in name:
        return f"unpack it (mkdir pictures; tar -xf '{path}' -C pictures) and give the folder"
    return "unpack it and give the folder that comes out"


class Archive(PictureFiles):
    """The pictures of an archive, in the order and with the names that a folder has.

    A folder that holds everything else is passed over, as archives of a folder have it.

    Raises:
        DataError: If it is damaged, encrypted or holds no pictures.
    """

    broken = (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        struct_error,
    )

    @abstractmethod
    def _entries(self) -> Iterator[tuple[str, PictureFile]]:
        """Open the archive and yield its files with their names as they stand there."""

    def _listed(self) -> Iterator[PictureFile]:
        """Files with the names that a folder has; of those of one name, the last counts."""
        found: dict[bytes, PictureFile] = {}
        for text, file in self._entries():
            name = text.replace("\\", "/").encode("utf-8", "surrogateescape")
            parts = [part for part in name.split(b"/") if part not in (b"", b".")]
            if parts and not any(part.startswith(b".") for part in parts if part != b".."):
                found[b"/".join(parts)] = file
        shared = len(_shared_folder(list(found)))
        for name, file in found.items():
            yield file._replace(name=name[shared:])

    def _damaged(self, error: Exception) -> DataError:
        problem, fix = f"is damaged or no {self.what}", "copy or make it again"
        if isinstance(error, OSError) and error.errno is not None:
            problem, fix = "cannot be read", "make it readable"
        return DataError(f"The {self.what} {self.origin} {problem} ({reason(error)}); {fix}.")


class _Zip(Archive):
    what = "zip"
    _zip: zipfile.ZipFile | None = None

    def _entries(self) -> Iterator[tuple[str, PictureFile]]:
        try:
            self._zip = zipfile.ZipFile(self._path)
        except self.broken as error:
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
            yield info.filename, PictureFile(b"", info.file_size, info.CRC, info)

    def _content(self, file: PictureFile) -> bytes:
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


class _Tar(Archive):
    what = "tar"
    _handle = -1

    def _entries(self) -> Iterator[tuple[str, PictureFile]]:
        try:
            # Nothing is extracted, so that links and names that lead elsewhere do no harm.
            self._handle = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            with tarfile.open(self._path, "r:") as archive:
                members = archive.getmembers()
        except self.broken as error:
            raise self._damaged(error) from error
        for member in members:
            if member.isreg() and not member.issparse():
                yield member.name, PictureFile(b"", member.size, member.offset_data, member)
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

    def _sort(self, files: list[PictureFile]) -> None:
        super()._sort(files)
        state = os.fstat(self._handle)
        self.key += f"-{state.st_size}-{state.st_mtime_ns}"  # a tar has no checksums

    def _content(self, file: PictureFile) -> bytes:
        with self._lock:
            os.lseek(self._handle, file.entry.offset_data, os.SEEK_SET)
            content = read_all(self._handle, file.size)
        if len(content) != file.size:
            raise tarfile.ReadError("cut off")
        return content

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


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
