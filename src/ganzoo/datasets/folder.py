"""Folders of pictures."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import stat
import struct
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ganzoo.datasets import label_files
from ganzoo.datasets.archives import (
    ARCHIVES,
    MOST_BYTES,
    PACKED,
    Archive,
    opened,
    order_of,
    unpacking,
)
from ganzoo.datasets.base import DataPath
from ganzoo.datasets.cache import printable
from ganzoo.datasets.decoding import SUFFIXES, PictureError
from ganzoo.datasets.label_files import UnusableError, key_of
from ganzoo.datasets.picture_dataset import Labelling, PictureDataset
from ganzoo.datasets.reading import classes_of_values, option
from ganzoo.errors import ConfigError, DataError, listing, some
from ganzoo.files.storage import read_all

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.datasets.cache import Decoded

__all__ = ["Folder", "ImageFolderIndex"]

_SPLIT = re.compile(
    "(train(ing)?|test(ing)?|val(id(ation)?)?|dev|eval)([ab]|[-_ ]?[0-9]{4}|[-_ ][a-z]+)?"
)
_SHARD = re.compile("[0-9]{5,}")
_LISTED = 5  # folders that a notice names
_NO_FILE, _BROKEN = -1, -2  # in place of a size
_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_SAMPLED, _SAMPLE_BYTES = 16, 2**16  # files of which the start goes into the key
_MODULUS = 1 << 256


class Folder(PictureDataset):
    """Pictures in a folder and its sub-folders: JPEG, PNG, WebP, BMP, TIFF, GIF, PPM.

    A .zip, or a .tar without compression, is read like the folder that was packed into it, without
    being unpacked. Files are recognised by their suffix; names that begin with a dot are passed
    over, links are followed. Of an animation the first frame counts.

    With ``labels="auto"``, labels are those of a label file beside the pictures, where it has a
    class for each of them: ``dataset.json`` as StyleGAN's dataset_tool writes it, or
    ``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet`` with ``file_name`` and a column of
    labels, as Hugging Face has it. Otherwise they are the folders of the first level, where there
    are two or more of them with pictures and none beside them, which are not named like ``train``
    and ``test`` or numbered like shards (00000, 00001). Classes are in the order of their names: of
    numbers where all are numbers.

    The order of the samples follows from the files' names alone and is the same everywhere; it is
    not that of the alphabet. ``file`` says which file a sample is.

    Pictures are decoded once, into the cache. Decoded pictures are used again as long as name,
    size and time of change of all files, the start of 16 of them, ``size``, ``crop``, ``mode`` and
    ``stored_range`` are the same; of a zip, name, size and checksum of all files.
    """

    name: ClassVar[str] = "folder"

    path: DataPath = Field(description="folder of pictures, or a .zip or .tar of one")
    labels: Literal["auto", "file", "folders", "none"] = Field(
        "auto",
        description="a label file or the folders of the first level as labels; auto: what is there",
    )
    label_column: str | None = Field(
        None, description="column of the labels in a metadata file, if not found"
    )

    @model_validator(mode="after")
    def _has_a_column(self) -> Self:
        if self.label_column is not None and self.labels in ("folders", "none"):
            raise ConfigError(
                f"With labels='{self.labels}' no label file is read, so there is no label_column; "
                f"leave one of them out."
            )
        return self

    def file(self, index: int) -> Path:
        """Return the file of a sample, decoding the pictures first where that is to be done.

        Of an archive, it is the name in it, after the path of the archive.

        Raises:
            IndexError: If there is no such sample.
            DataError: As ``load``.
        """
        with self.encoded() as source:
            name = self._decoded(source).name(index)
        return self.path / os.fsdecode(name)

    def encoded(self) -> ImageFolderIndex | Archive[Any]:
        """Open the files, to be decoded by the caller."""
        if self.path.suffix.lower() in ARCHIVES and self.path.is_file():
            return opened(self.path)
        return ImageFolderIndex(self.path)

    def _labelled(self, found: Decoded, source: ImageFolderIndex | Archive[Any]) -> Labelling:
        notices: tuple[str, ...] = ()
        if self.labels == "none":
            return Labelling()
        if self.labels in ("auto", "file"):
            labelling, problem = self._of_files(found, source)
            if labelling.labels is not None:
                return labelling
            if self.labels == "file" or (problem and self.label_column is not None):
                raise DataError(f"{problem}; correct it, or say labels='folders' or labels='none'.")
            notices = labelling.notices
        labelling = self._of_folders(found)
        return labelling._replace(notices=(*notices, *labelling.notices))

    def _of_files(
        self, found: Decoded, source: ImageFolderIndex | Archive[Any]
    ) -> tuple[Labelling, str]:
        """The labels in files beside the pictures; why there are none; notices in any case."""
        import numpy as np

        kinds: dict[str, list[bytes]] = {}
        for path in sorted(source.label_files):
            kinds.setdefault(path.rpartition(b"/")[2].decode(), []).append(path)
        problems: list[str] = []
        names = [] if not kinds else [key_of(os.fsdecode(name)) for name in found.names()]
        shown = {kind: f"'{printable(paths[0])}'" for kind, paths in kinds.items()}
        for kind in sorted(kinds, key=label_files.NAMES.index):
            if len(kinds[kind]) > 1:
                shown[kind] += f" and {len(kinds[kind]) - 1} more"
            try:
                file = self._joined(kind, kinds[kind], source)
                labels, classes, notices = file.of(names)
            except UnusableError as error:
                problems.append(
                    f"The label file {shown[kind]} in {source.origin} is not used: {error}"
                )
                continue
            column = f"the column '{file.column}' of " if file.column is not None else ""
            told = [
                f"Labels are those in {column}{shown[kind]} in {source.origin} "
                f"({_counted(classes)}); {option('labels', 'folders')} takes the folders, "
                f"{option('labels', 'none')} none."
            ]
            told += [f"{each}." for each in problems]
            if rest := [shown[each] for each in kinds if label_files.counts_after(each, kind)]:
                told.append(f"Of several label files one counts; not used: {listing(rest)}.")
            if absent := self._absent(file, names, source):
                told.append(absent)
            return Labelling(np.array(labels, np.int64), classes, tuple(told), notices), ""
        if not problems:
            known = listing(label_files.NAMES)
            return Labelling(), f"{source.origin} has no label file ({known})"
        return Labelling(notices=tuple(f"{each}." for each in problems)), "; ".join(problems)

    def _joined(
        self, kind: str, paths: list[bytes], source: ImageFolderIndex | Archive[Any]
    ) -> label_files.LabelFile:
        """What all label files of a kind say; names in each are relative to its folder."""
        joined: label_files.LabelFile | None = None
        values: dict[str, Any] = {}
        for path in paths:
            try:
                content = source.text(path, label_files.MOST_BYTES)
            except OSError as error:
                raise UnusableError(f"it cannot be read ({_reason(error)})") from error
            file = label_files.read(kind, content, self.label_column)
            place = os.fsdecode(path.rpartition(b"/")[0])
            values |= {key_of(f"{place}/{name}"): value for name, value in file.values.items()}
            joined = file if joined is None else joined
        assert joined is not None
        return joined._replace(values=values)

    def _absent(
        self, file: label_files.LabelFile, names: list[str], source: ImageFolderIndex | Archive[Any]
    ) -> str:
        """What to say of names in a label file that no picture has."""
        absent = file.values.keys() - set(names)
        if absent:  # those that cannot be read are there
            absent -= {key_of(os.fsdecode(source.name(index))) for index in range(len(source))}
        if not absent:
            return ""
        files = "a picture that is" if len(absent) == 1 else f"{len(absent):,} pictures that are"
        return f"The label file names {files} not there, such as '{min(absent)}'."

    def _of_folders(self, found: Decoded) -> Labelling:
        """The folders of the first level as labels."""
        import numpy as np

        beside = int(np.count_nonzero(found.groups < 0))
        present = np.unique(found.groups[found.groups >= 0]).tolist()
        names = [found.group_names[index] for index in present]
        if self.labels == "auto":
            if beside or len(names) < 2:
                return Labelling(notices=self._no_classes(found, names, beside))
            if all(_SPLIT.fullmatch(name.lower()) for name in names):
                main = next((name for name in names if name.lower().startswith("train")), names[0])
                way = f"Give one of them, such as {_quoted(self.path / main)}"
                if self.path.is_file():
                    way = f"Pack one of them alone, such as '{main}'"
                notice = (
                    f"{_quoted(self.path)} has the folders {listing(names)}, which look like parts "
                    f"of a dataset: all pictures are taken, without labels. {way}, or say "
                    f"{option('labels', 'folders')}."
                )
                return Labelling(notices=(notice,))
            if _like_shards(names):
                notice = (
                    f"{_quoted(self.path)} has the folders {_listed(names)}, which look like "
                    f"numbered parts of one set: all pictures are taken, without labels. If they "
                    f"are classes, say {option('labels', 'folders')}."
                )
                return Labelling(notices=(notice,))
        elif beside or not names:
            what = "no folders with pictures"
            if names:
                what = f"{beside:,} picture{'s' if beside > 1 else ''} in no folder"
            raise ConfigError(
                f"{_quoted(self.path)} has {what}, so labels='folders' cannot name all classes; "
                f"put each picture into the folder of its class, or say labels='none'."
            )
        classes = classes_of_values(names)
        numbers = np.zeros(len(found.group_names), np.int64)
        numbers[present] = [classes.numbers[name] for name in names]
        return Labelling(numbers[found.groups], classes.names, guessed=classes.notices)

    def _no_classes(self, found: Decoded, names: list[str], beside: int) -> tuple[str, ...]:
        """Say so where folders may well be classes but are not taken as such."""
        if len(names) > 1 and 2 * beside < len(found.groups):
            files = "a picture lies" if beside == 1 else f"{beside:,} pictures lie"
            return (
                f"{_quoted(self.path)} has folders ({_listed(names)}), and {files} beside them, so "
                f"that they are not taken as classes: all pictures are taken, without labels. If "
                f"they are, move {'it' if beside == 1 else 'those'} away.",
            )
        if len(names) == 1 and not beside:
            inner = {name.split(b"/")[1] for name in found.names() if name.count(b"/") > 1}
            if len(inner) > 1:
                place = f"Pack '{names[0]}' alone"
                if self.path.is_dir():
                    place = f"Give {_quoted(self.path / names[0])}"
                return (
                    f"All pictures lie in the folder '{names[0]}' of {_quoted(self.path)}, and are "
                    f"taken without labels. {place} if the folders in it are classes "
                    f"({_listed(sorted(map(printable, inner)))}).",
                )
        return ()


def _listed(names: list[str]) -> str:
    return some(names, _LISTED)


def _like_shards(names: list[str]) -> bool:
    """Whether folders are numbered from 0 on, as tools divide large sets."""
    alike = len({len(name) for name in names}) == 1
    return alike and all(map(_SHARD.fullmatch, names)) and any(int(name) == 0 for name in names)


def _counted(classes: tuple[str, ...]) -> str:
    return f"{len(classes):,} class{'es' if len(classes) > 1 else ''}"


class ImageFolderIndex(contextlib.AbstractContextManager["ImageFolderIndex"]):
    """The pictures of a folder, listed. Of each, 36 bytes stay in memory; names are in a file.

    Args:
        root: The folder.

    Raises:
        DataError: If it is no folder, holds no pictures, or cannot be listed, or if there is no
            room for the names where temporary files are.
    """

    def __init__(self, root: Path) -> None:
        self.origin = _quoted(root)
        self.notices: list[str] = []
        self._root = os.fsencode(root)
        self._hashes, self._starts = array("Q"), array("q")
        self._sizes, self._times, self._tops = array("q"), array("q"), array("i")
        self._folders: list[bytes] = []
        self._sum = 0
        self._other = b""
        self.label_files: list[bytes] = []
        self._check(root)
        try:
            self._names: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
            try:
                self._list()
                self._arrange()
            except BaseException:
                self._names.close()
                raise
        except OSError as error:
            raise DataError(
                f"The names of the pictures in {self.origin} cannot be kept in a temporary file "
                f"({_reason(error)}); free some space, or set TMPDIR to a folder on another disk."
            ) from error

    def __exit__(self, *error: object) -> None:
        self._text.close()
        self._names.close()

    def __len__(self) -> int:
        return len(self._order)

    def name(self, index: int) -> bytes:
        """Return the name of a picture, relative to the folder."""
        number = self._order[index]
        return self._text[self._starts[number] : self._starts[number + 1] - 1]

    def read(self, start: int, stop: int) -> Iterator[bytes | PictureError]:
        """Yield the content of these pictures, or why there is none."""
        for index in range(start, stop):
            yield self._content(index)

    def text(self, name: bytes, most: int) -> bytes:
        """Return the content of a label file.

        Raises:
            OSError: If it cannot be read, or has more than so many bytes.
        """
        # Without waiting, in case it is a pipe.
        handle = os.open(self._root + b"/" + name, _OPEN | getattr(os, "O_NONBLOCK", 0))
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise OSError("no regular file")
            if state.st_size > most:
                raise OSError(f"it has {state.st_size:,} bytes, more than {most:,}")
            return read_all(handle, state.st_size)
        finally:
            os.close(handle)

    def _content(self, index: int) -> bytes | PictureError:
        number = self._order[index]
        size, time = self._sizes[number], self._times[number]
        if size == _NO_FILE:
            return PictureError("no regular file")
        if size == _BROKEN:
            return PictureError("a link that leads nowhere, or not to be looked at")
        try:
            state, content = self._start(index, MOST_BYTES)
        except FileNotFoundError:
            return PictureError("removed while the folder was read")
        except OSError as error:
            return PictureError(_reason(error))
        if state.st_size > MOST_BYTES:
            return PictureError("more than 1 GiB")
        if (state.st_size, state.st_mtime_ns) != (size, time) or len(content) != size:
            return PictureError("changed while the folder was read")
        return content

    def _start(self, index: int, most: int) -> tuple[os.stat_result, bytes]:
        # Plain descriptors: for small files, a file object takes longer than reading does.
        handle = os.open(self._root + b"/" + self.name(index), _OPEN)
        try:
            state = os.fstat(handle)
            return state, read_all(handle, min(state.st_size, most))
        finally:
            os.close(handle)

    def _check(self, root: Path) -> None:
        if root.is_dir():
            return
        if not root.exists():
            raise DataError(
                f"There is no folder {self.origin}; correct the path of the dataset 'folder'."
            )
        if root.suffix.lower() in PACKED:
            raise DataError(
                f"{self.origin} is packed, not a folder of pictures; {unpacking(root)}."
            )
        raise DataError(
            f"{self.origin} is a file, not a folder of pictures; give the folder that it is in."
        )

    def _list(self) -> None:
        """Walk through the tree, following links but no loop of them."""
        waiting: list[tuple[bytes, int]] = [(b"", -1)]
        while waiting:
            inside, top = waiting.pop()
            for entry in self._entries(inside):
                if entry.name.startswith(b"."):
                    continue
                name = inside + entry.name
                if not _is_folder(entry):
                    self._add(entry, name, top)
                elif entry.is_symlink() and self._loops(entry.path, inside):
                    self.notices.append(
                        f"'{printable(name)}' in {self.origin} is a link to a folder that it lies "
                        f"in; it is passed over."
                    )
                else:
                    waiting.append((name + b"/", top if inside else len(self._folders)))
                    if not inside:
                        self._folders.append(entry.name)

    def _entries(self, inside: bytes) -> Iterator[os.DirEntry[bytes]]:
        try:
            with os.scandir(self._root + b"/" + inside) as entries:
                yield from entries
        except FileNotFoundError:
            if not inside:
                raise self._unlistable(inside, "it has been removed") from None
            # A folder that is gone by now: its pictures are no longer in the tree.
        except OSError as error:
            raise self._unlistable(inside, _reason(error)) from error

    def _add(self, entry: os.DirEntry[bytes], name: bytes, top: int) -> None:
        suffix = entry.name[entry.name.rfind(b".") :].lower()
        if suffix not in SUFFIXES:
            if entry.name.decode(errors="replace") in label_files.NAMES:
                self.label_files.append(name)
            self._other = self._other or name
            return
        try:
            state = entry.stat()
            size = state.st_size if stat.S_ISREG(state.st_mode) else _NO_FILE
            time = state.st_mtime_ns
        except OSError:
            size = time = _BROKEN
        self._hashes.append(order_of(name))
        self._sizes.append(size)
        self._times.append(time)
        self._tops.append(top)
        self._starts.append(self._names.tell())
        self._names.write(name + b"\0")
        # A sum does not depend on the order, which is the file system's.
        content = hashlib.blake2b(struct.pack("<qq", size, time) + name, digest_size=32).digest()
        self._sum = (self._sum + int.from_bytes(content, "big")) % _MODULUS

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

    def _arrange(self) -> None:
        """Put the pictures into an order that the file system has no part in."""
        import numpy as np

        if not self._starts:
            raise self._empty()
        self._starts.append(self._names.tell())
        self._names.flush()
        self._text = mmap.mmap(self._names.fileno(), 0, access=mmap.ACCESS_READ)
        order = np.argsort(np.frombuffer(self._hashes, np.uint64), kind="stable")
        self._order = array("q", order.astype(np.int64).tobytes())
        by_name = sorted(range(len(self._folders)), key=self._folders.__getitem__)
        rank = np.full(len(by_name) + 1, -1, np.int32)  # the last one is that of no folder
        rank[by_name] = np.arange(len(by_name), dtype=np.int32)
        self.groups: NDArray[np.int32] = rank[np.frombuffer(self._tops, np.int32)][order]
        self.group_names = [printable(self._folders[index]) for index in by_name]
        del self._hashes, self._tops
        # Other files of these names, sizes and times, as unpacking may make them, are told by this.
        starts = hashlib.blake2b(digest_size=16)
        for index in np.linspace(0, len(order) - 1, _SAMPLED).astype(int):
            with contextlib.suppress(OSError):
                if self._sizes[self._order[index]] >= 0:
                    starts.update(self._start(index, _SAMPLE_BYTES)[1])
        self.key = f"{len(order)}-{self._sum:064x}-{starts.hexdigest()}"

    def _empty(self) -> DataError:
        found = "is empty"
        if self._other:
            found = f"holds no pictures but other files, such as '{printable(self._other)}'"
        elif self._folders:
            found = "holds no pictures, only folders without any"
        suffixes = listing(sorted(suffix.decode() for suffix in SUFFIXES))
        return DataError(
            f"The folder {self.origin} {found}; give a folder of pictures ({suffixes})."
        )

    def _unlistable(self, inside: bytes, reason: str) -> DataError:
        place = printable(self._root + b"/" + inside.rstrip(b"/")).rstrip("/")
        return DataError(
            f"The folder '{place}' cannot be listed ({reason}); make it readable, or move it out "
            f"of the way."
        )


def _quoted(path: Path) -> str:
    return f"'{printable(os.fsencode(path))}'"


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
