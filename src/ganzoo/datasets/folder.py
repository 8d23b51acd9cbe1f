"""Folders of pictures."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ganzoo.datasets import label_files
from ganzoo.datasets.archives import ARCHIVES, opened
from ganzoo.datasets.base import DataPath
from ganzoo.datasets.classes import classes_of_values
from ganzoo.datasets.folder_index import ImageFolderIndex
from ganzoo.datasets.formats import PictureError
from ganzoo.datasets.label_files import UnusableError, key_of
from ganzoo.datasets.picture_dataset import Labelling, PictureDataset
from ganzoo.datasets.picture_files import printable, quoted
from ganzoo.datasets.ranges import option
from ganzoo.errors import ConfigError, DataError, listing, some

if TYPE_CHECKING:
    from ganzoo.datasets.cache import Decoded
    from ganzoo.datasets.picture_files import PictureFiles, Source

__all__ = ["Folder"]

_SPLIT = re.compile(
    "(train(ing)?|test(ing)?|val(id(ation)?)?|dev|eval)([ab]|[-_ ]?[0-9]{4}|[-_ ][a-z]+)?"
)
_SHARD = re.compile("[0-9]{5,}")
_LISTED = 5  # folders that a notice names


class Folder(PictureDataset):
    """Pictures in a folder and its sub-folders: JPEG, PNG, WebP, BMP, TIFF, GIF, PPM.

    A .zip, or a .tar without compression, is read like the folder that was packed into it. Files
    are recognised by their suffix; names that begin with a dot are passed over, links are followed.
    Of an animation the first frame counts.

    With ``labels="auto"``, labels are those of a label file next to the pictures, where it has a
    class for each of them: ``dataset.json`` as StyleGAN's dataset_tool writes it, or
    ``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet`` with ``file_name`` and a column of
    labels, as Hugging Face has it. Otherwise they are the folders of the first level, where there
    are two or more of them, no pictures lie beside them, and they are not named like ``train``
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
            names = _names(self._decoded(source), source)
        return self.path / os.fsdecode(names[index])

    def encoded(self) -> PictureFiles:
        """Open the files, to be decoded by the caller."""
        if self.path.suffix.lower() in ARCHIVES and self.path.is_file():
            return opened(self.path)
        return ImageFolderIndex(self.path)

    def _labelled(self, found: Decoded, source: PictureFiles) -> Labelling:
        if self.labels == "none":
            return Labelling()
        notices: tuple[str, ...] = ()
        if self.labels != "folders":
            labelling, problem = self._of_files(found, source)
            if labelling.labels is not None:
                return labelling
            if self.labels == "file" or (problem and self.label_column is not None):
                raise DataError(f"{problem}; correct it, or say labels='folders' or labels='none'.")
            notices = labelling.notices
        labelling = self._of_folders(found, source)
        return labelling._replace(notices=(*notices, *labelling.notices))

    def _of_files(self, found: Decoded, source: PictureFiles) -> tuple[Labelling, str]:
        """The labels in label files, or why there are none."""
        import numpy as np

        kinds: dict[str, list[bytes]] = {}
        for path in sorted(source.label_files):
            kinds.setdefault(path.rpartition(b"/")[2].decode(), []).append(path)
        if not kinds:
            known = listing(label_files.NAMES)
            return Labelling(), f"{source.origin} has no label file ({known})"
        problems: list[str] = []
        names = [key_of(os.fsdecode(name)) for name in _names(found, source)]
        waiting = sorted(kinds, key=label_files.NAMES.index)
        shown = {kind: f"'{printable(paths[0])}'" for kind, paths in kinds.items()}
        while waiting:
            kind = waiting.pop(0)
            if len(kinds[kind]) > 1:
                shown[kind] += f" and {len(kinds[kind]) - 1} more"
            try:
                file = self._joined(kind, kinds[kind], source)
                labels, classes = file.of(names)
            except UnusableError as error:
                problems.append(
                    f"The label file {shown[kind]} in {source.origin} is not used: {error}"
                )
                continue
            column = f"the column '{file.column}' of " if file.column is not None else ""
            count = len(classes.names)
            notes = [
                f"Labels are those in {column}{shown[kind]} in {source.origin} ({count:,} "
                f"class{'es' if count > 1 else ''}); {option('labels', 'folders')} takes the "
                f"folders, {option('labels', 'none')} none.",
                *(f"{each}." for each in problems),
            ]
            if waiting:
                rest = listing(shown[each] for each in waiting)
                notes.append(f"Of several label files one counts; not used: {rest}.")
            notes += self._absent(file, names, source)
            numbers = np.array(labels, np.int64)
            return Labelling(numbers, classes.names, tuple(notes), classes.notices), ""
        return Labelling(notices=tuple(f"{each}." for each in problems)), "; ".join(problems)

    def _joined(self, kind: str, paths: list[bytes], source: PictureFiles) -> label_files.LabelFile:
        """What all label files of a kind say; names in each are relative to its folder."""
        values: dict[str, Any] = {}
        for path in paths:
            content = source.text(path, label_files.MOST_BYTES)
            if isinstance(content, PictureError):
                raise UnusableError(f"it cannot be read ({content})")
            file = label_files.read(kind, content, self.label_column)
            place = os.fsdecode(path.rpartition(b"/")[0])
            values |= {key_of(f"{place}/{name}"): value for name, value in file.values.items()}
        return file._replace(values=values)

    def _absent(
        self, file: label_files.LabelFile, names: list[str], source: PictureFiles
    ) -> list[str]:
        """What to say of names in a label file that no picture has."""
        absent = file.values.keys() - set(names)
        if absent:  # those that cannot be read are there
            absent -= {key_of(os.fsdecode(source.name(index))) for index in range(len(source))}
        if not absent:
            return []
        files = "a picture that is" if len(absent) == 1 else f"{len(absent):,} pictures that are"
        return [f"The label file names {files} not there, such as '{min(absent)}'."]

    def _of_folders(self, found: Decoded, source: PictureFiles) -> Labelling:
        """The folders of the first level as labels."""
        import numpy as np

        groups = source.groups[found.indices]
        loose = int(np.count_nonzero(groups < 0))
        present = np.unique(groups[groups >= 0]).tolist()
        names = [source.group_names[index] for index in present]
        if self.labels == "auto":
            if loose or len(names) < 2:
                return Labelling(notices=self._no_classes(_names(found, source), names, loose))
            if notice := self._parts(names):
                return Labelling(notices=(notice,))
        elif loose or not names:
            what = "no folders with pictures"
            if names:
                what = f"{loose:,} picture{'s' if loose > 1 else ''} in no folder"
            raise ConfigError(
                f"{quoted(self.path)} has {what}, so labels='folders' cannot name all classes; "
                f"put each picture into the folder of its class, or say labels='none'."
            )
        classes = classes_of_values(names)
        numbers = np.zeros(len(source.group_names), np.int64)
        numbers[present] = [classes.numbers[name] for name in names]
        return Labelling(numbers[groups], classes.names, guessed=classes.notices)

    def _parts(self, names: list[str]) -> str:
        """What to say of folders that look like parts of a dataset; nothing of others."""
        if all(_SPLIT.fullmatch(name.lower()) for name in names):
            main = next((name for name in names if name.lower().startswith("train")), names[0])
            way = f"Give one of them, such as {quoted(self.path / main)}"
            if self.path.is_file():
                way = f"Pack one of them alone, such as '{main}'"
            what, fix = "parts of a dataset", f"{way}, or"
        elif _like_shards(names):
            what, fix = "numbered parts of one set", "If they are classes,"
        else:
            return ""
        return (
            f"{quoted(self.path)} has the folders {some(names, _LISTED)}, which look like {what}: "
            f"all pictures are taken, without labels. {fix} say {option('labels', 'folders')}."
        )

    def _no_classes(self, files: list[bytes], names: list[str], loose: int) -> tuple[str, ...]:
        """Say so where folders may well be classes but are not taken as such."""
        if len(names) > 1 and 2 * loose < len(files):
            which = "a picture lies" if loose == 1 else f"{loose:,} pictures lie"
            return (
                f"{quoted(self.path)} has folders ({some(names, _LISTED)}), and {which} beside "
                f"them, so that they are not taken as classes: all pictures are taken, without "
                f"labels. If they are, move {'it' if loose == 1 else 'those'} away.",
            )
        inner = {name.split(b"/")[1] for name in files if name.count(b"/") > 1}
        if loose or len(names) != 1 or len(inner) < 2:
            return ()
        place = f"Pack '{names[0]}' alone"
        if self.path.is_dir():
            place = f"Give {quoted(self.path / names[0])}"
        return (
            f"All pictures lie in the folder '{names[0]}' of {quoted(self.path)}, and are taken "
            f"without labels. {place} if the folders in it are classes "
            f"({some(sorted(map(printable, inner)), _LISTED)}).",
        )


def _names(found: Decoded, source: Source) -> list[bytes]:
    return [source.name(index) for index in found.indices]


def _like_shards(names: list[str]) -> bool:
    """Whether folders are numbered from 0 on, as tools divide large sets."""
    alike = len({len(name) for name in names}) == 1
    return alike and all(map(_SHARD.fullmatch, names)) and any(int(name) == 0 for name in names)
