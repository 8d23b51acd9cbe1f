"""The pictures of a folder and its sub-folders."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ganzoo.datasets import label_files
from ganzoo.datasets.archives import PACKED, unpacking
from ganzoo.datasets.decoding import SUFFIXES
from ganzoo.datasets.formats import PictureError
from ganzoo.datasets.picture_files import PictureFile, PictureFiles, printable, reason
from ganzoo.errors import DataError
from ganzoo.files.storage import read_all

__all__ = ["ImageFolderIndex"]

_NO_FILE, _BROKEN = -1, -2  # in place of a size
_NO_CONTENT = {
    _NO_FILE: "no regular file",
    _BROKEN: "a link that leads nowhere, or not to be looked at",
}
_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_SAMPLED, _SAMPLE_BYTES = 16, 2**16  # files of which the start goes into the key


class ImageFolderIndex(PictureFiles):
    """The pictures of a folder, without links that lead into a folder they lie in.

    Raises:
        DataError: If it is not a folder, holds no pictures, or cannot be listed.
    """

    def __init__(self, path: Path) -> None:
        self._root = os.fsencode(path)
        super().__init__(path)
        # Other files of these names, sizes and times, as unpacking may make them, differ here.
        starts = hashlib.blake2b(digest_size=16)
        for number in range(_SAMPLED):
            file = self._files[number * (len(self) - 1) // (_SAMPLED - 1)]
            if file.size >= 0:
                with contextlib.suppress(OSError):
                    starts.update(self._start(file, _SAMPLE_BYTES)[1])
        self.key += f"-{starts.hexdigest()}"

    def _content(self, file: PictureFile) -> bytes:
        if file.size < 0:
            raise PictureError(_NO_CONTENT[file.size])
        try:
            state, content = self._start(file, file.size)
        except FileNotFoundError:
            raise PictureError("removed while the folder was read") from None
        same = (state.st_size, state.st_mtime_ns) == (file.size, file.stamp)
        if not same or len(content) != file.size:
            raise PictureError("changed while the folder was read")
        return content

    def _start(self, file: PictureFile, most: int) -> tuple[os.stat_result, bytes]:
        # Plain descriptors: for small files, a file object takes longer than reading does.
        handle = os.open(self._root + b"/" + file.name, _OPEN)
        try:
            state = os.fstat(handle)
            return state, read_all(handle, min(state.st_size, most))
        finally:
            os.close(handle)

    def _check(self) -> None:
        root = self._path
        if root.is_dir():
            return
        if not root.exists():
            raise DataError(
                f"There is no folder {self.origin}; correct the path of the dataset 'folder'."
            )
        fix = "give the folder that it is in"
        if root.suffix.lower() in PACKED:
            fix = unpacking(root)
        raise DataError(f"{self.origin} is a file, not a folder of pictures; {fix}.")

    def _listed(self) -> Iterator[PictureFile]:
        """Walk through the tree, following links but no loop of them."""
        self._check()
        waiting = [b""]
        while waiting:
            inside = waiting.pop()
            for entry in self._entries(inside):
                if entry.name.startswith(b"."):
                    continue
                name = inside + entry.name
                if not _is_folder(entry):
                    yield _listed_file(entry, name)
                elif entry.is_symlink() and self._loops(entry.path, inside):
                    self.notices.append(
                        f"'{printable(name)}' in {self.origin} is a link to a folder that it lies "
                        f"in; it is passed over."
                    )
                else:
                    waiting.append(name + b"/")

    def _entries(self, inside: bytes) -> Iterator[os.DirEntry[bytes]]:
        try:
            with os.scandir(self._root + b"/" + inside) as entries:
                yield from entries
        except FileNotFoundError:
            pass  # it is gone by now, and its pictures with it
        except OSError as error:
            place = printable(self._root + b"/" + inside.rstrip(b"/")).rstrip("/")
            raise DataError(
                f"The folder '{place}' cannot be listed ({reason(error)}); make it readable, or "
                f"move it out of the way."
            ) from error

    def _loops(self, path: bytes, inside: bytes) -> bool:
        """Whether a link leads to one of the folders that it lies in, above the root as well."""
        place = os.path.realpath(self._root) + b"/" + inside
        ends = (index for index, each in enumerate(place) if each == ord("/"))
        try:
            target = os.stat(path)  # noqa: PTH116 - names are bytes
            around = (os.stat(place[: end + 1]) for end in ends)  # noqa: PTH116
            return any(os.path.samestat(target, each) for each in around)
        except OSError:  # gone by now, which listing it finds out
            return False


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _listed_file(entry: os.DirEntry[bytes], name: bytes) -> PictureFile:
    suffix = entry.name[entry.name.rfind(b".") :].lower()
    if suffix not in SUFFIXES and os.fsdecode(entry.name) not in label_files.NAMES:
        return PictureFile(name, 0, 0)
    try:
        state = entry.stat()
    except OSError:
        return PictureFile(name, _BROKEN, _BROKEN)
    size = state.st_size if stat.S_ISREG(state.st_mode) else _NO_FILE
    return PictureFile(name, size, state.st_mtime_ns)
