"""Data sets of pictures from the Hugging Face Hub, and local files of the same form."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ganzoo.datasets import progress
from ganzoo.datasets.base import DataPath
from ganzoo.datasets.classes import classes_named, classes_of_values, read_labels
from ganzoo.datasets.formats import PictureError
from ganzoo.datasets.keys import LABEL_KEYS, PICTURE_KEYS, the_one
from ganzoo.datasets.label_files import NAMES as LABEL_FILES
from ganzoo.datasets.picture_dataset import Labelling, PictureDataset
from ganzoo.datasets.picture_files import Source, printable
from ganzoo.datasets.ranges import option
from ganzoo.errors import ConfigError, DataError, did_you_mean, listing

if TYPE_CHECKING:
    from ganzoo.datasets.cache import Decoded

__all__ = ["TABLE_SUFFIXES", "HuggingFace", "holds_tables"]

TABLE_SUFFIXES = (".parquet", ".arrow")
"""Suffixes of single files that can be read."""

_SAVED = ("state.json", "dataset_dict.json")  # one of them is in what save_to_disk makes
_CLASSES = ("int", "uint", "str", "large_str", "bool")  # types of columns
_LABELS_READ = 65_536  # rows at once


class HuggingFace(PictureDataset):
    """Pictures of a data set on the Hugging Face Hub, or in local Arrow or Parquet files.

    Give ``repo``, such as ``org/name``; or ``path``: a .parquet or .arrow file, a folder of them,
    or what ``Dataset.save_to_disk`` wrote. The package ``datasets`` reads them, keeps downloads
    where it always does, and finds your token for private data sets as it always does
    (``HF_TOKEN``, or ``hf auth login``). It is needed: ``pip install "ganzoo[datasets]"``.

    The pictures are the one column of pictures, or the one of several that is named like one; the
    labels are the one column of class labels, or one that is named like it. Otherwise say
    ``image_column`` and ``label_column``.
    """

    name: ClassVar[str] = "huggingface"

    repo: str | None = Field(None, description="name of the data set on the Hub: org/name")
    path: DataPath | None = Field(
        None, description="local instead: .parquet or .arrow file, or a folder of such"
    )
    subset: str | None = Field(None, description="configuration of the data set, if it has several")
    split: str = Field("train", description="part of the data set")
    revision: str | None = Field(None, description="branch, tag or commit on the Hub")
    image_column: str | None = Field(None, description="column of the pictures, if not found")
    label_column: str | None = Field(None, description="column of the labels, if not found")
    labels: Literal["auto", "none"] = Field("auto", description="whether labels are read")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.repo is None) == (self.path is None):
            raise ConfigError(
                "The dataset 'huggingface' reads one thing: give either repo, such as "
                "repo='ylecun/mnist', or path, a local file or folder."
            )
        if self.path is not None and self.revision is not None:
            raise ConfigError("A local path has no revision; leave it out, or give repo.")
        if self.labels == "none" and self.label_column is not None:
            raise ConfigError("With labels='none' there is no label_column; leave one of them out.")
        return self

    def encoded(self) -> _Rows:
        """Open the rows, to be decoded by the caller; their files are memory-mapped."""
        origin = f"'{printable(os.fsencode(self.path or str(self.repo)))}'"
        return _Rows(self, self._table(origin), origin)

    def _labelled(self, found: Decoded, source: Any) -> Labelling:
        import numpy as np

        if not source.group_names:
            return Labelling()
        labels = source.groups[found.indices].astype(np.int64)
        return Labelling(labels, tuple(source.group_names), guessed=source.guessed)

    def _table(self, origin: str) -> Any:
        """The data set as the package ``datasets`` opens it."""
        try:
            import huggingface_hub.utils as hub

            import datasets
            from datasets import Dataset, load_dataset, load_from_disk
        except ImportError as error:
            raise DataError(
                f"The dataset 'huggingface' needs the package datasets ({error}); install it: "
                f'pip install "ganzoo[datasets]"'
            ) from error
        path = self.path
        if path is not None and not path.exists():
            raise DataError(f"There is no file or folder {origin}; correct the path.")
        kind = "" if path is None else path.suffix.lower()
        if path is not None and path.is_file() and kind not in TABLE_SUFFIXES:
            raise DataError(
                f"{origin} is not a table of pictures; give a {' or '.join(TABLE_SUFFIXES)} file, "
                f"a folder of them, or one that save_to_disk wrote."
            )
        try:
            with _bars_of(datasets, hub):
                if path is None:
                    return load_dataset(
                        self.repo, self.subset, split=self.split, revision=self.revision
                    )
                if path.is_file():
                    return load_dataset(kind[1:], data_files={"train": str(path)}, split=self.split)
                if not any((path / name).exists() for name in _SAVED):
                    return load_dataset(str(path), self.subset, split=self.split)
                saved = load_from_disk(str(path))
        except Exception as error:  # datasets and what it is built on raise many classes
            raise _explained(origin, error, datasets) from error
        if isinstance(saved, Dataset):
            return saved
        _require("split", self.split, saved, origin)
        return saved[self.split]


def holds_tables(folder: Path) -> bool:
    """Whether a folder is one that this dataset reads: tables in it, or in its folder ``data``."""
    if any((folder / name).is_file() for name in _SAVED):
        return True
    for place in (folder, folder / "data"):
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            names = {entry.name.lower() for entry in entries} - set(LABEL_FILES)
            if any(name.endswith(TABLE_SUFFIXES) for name in names):
                return True
    return False


@contextlib.contextmanager
def _bars_of(*libraries: Any) -> Iterator[None]:
    """Have these libraries show bars only where ganzoo does."""
    shown = [each for each in libraries if not each.are_progress_bars_disabled()]
    silenced = [] if progress.is_shown() else shown
    for each in silenced:
        each.disable_progress_bars()
    try:
        yield
    finally:
        for each in silenced:
            each.enable_progress_bars()


def _require(what: str, name: str, known: Any, origin: str) -> None:
    if name not in known:
        raise ConfigError(
            f"{origin} has no {what} '{name}'.{did_you_mean(name, list(known))} "
            f"{what.capitalize()}s: {listing(known)}."
        )


def _explained(origin: str, error: Exception, datasets: Any) -> DataError:
    text = " ".join(str(error).split()) or "no reason given"
    wrong_value = isinstance(error, ValueError)
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        fix = "check the name; for a private or gated data set, set HF_TOKEN or run 'hf auth login'"
    elif "corresponds to no data" in text or isinstance(error, IndexError):  # as it reads nothing
        fix = "it has no rows: choose another split or file"
    elif wrong_value and "split" in text.lower():
        fix = "choose one with the option split"
    elif wrong_value and "config" in text.lower():
        fix = "choose one with the option subset"
    elif isinstance(error, (ConnectionError, TimeoutError)):
        fix = "connect to the network, or give downloaded files with the option path"
    elif isinstance(error, OSError) and error.errno is not None:
        fix = "free space or set HF_HOME to a folder of your own, where datasets keeps its files"
    else:
        fix = "check that it is what you mean, and that its files are whole"
    return DataError(f"{origin} cannot be loaded ({type(error).__name__}: {text}); {fix}.")


class _Rows(Source):
    """The rows of a data set as a source of pictures, in their order.

    Raises:
        ConfigError: If a column does not exist, or it is not clear which one is meant.
        DataError: If there are no rows, or their labels are not labels.
    """

    def __init__(self, asked: HuggingFace, table: Any, origin: str) -> None:
        import numpy as np

        if not len(table):
            raise DataError(f"{origin} has no rows; choose another split or file.")
        self.origin = origin
        self.notices = []
        self.guessed: tuple[str, ...] = ()  # of classes
        self.groups = np.full(len(table), -1, np.int32)
        self.group_names = []
        self._column = _image_column(table.features, origin, asked.image_column)
        self._rows = table.with_format("arrow")
        # datasets keeps this hash of content and of what was done to it, and has no other name.
        parts = (table._fingerprint, len(table), self._column)
        self.key = "rows-" + hashlib.sha256(repr(parts).encode()).hexdigest()
        column = asked.label_column
        if asked.labels == "none":
            return
        if column is not None:
            _require("column", column, table.features, origin)
        elif (column := self._label_column(table.features)) is None:
            return
        problem = self._read_labels(table, column, asked.path)
        if problem:
            text = f"The column '{column}' of {origin} {problem}"
            fix = f"choose another with label_column, or say {option('labels', 'none')}."
            if asked.label_column is not None:
                raise DataError(f"{text}; {fix}")
            self.notices.append(f"{text}, and is not used for labels; {fix}")

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> bytes:
        """Return what a picture is called."""
        return b"row %d" % index

    def read(self, start: int, stop: int) -> Iterator[bytes | PictureError]:
        """Yield the encoded pictures of these rows, or why there is none."""
        for value in self._rows[start:stop].column(self._column):
            yield _content(value.as_py())

    def _label_column(self, features: Any) -> str | None:
        from datasets import ClassLabel

        found: list[str] = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
        named = [name for name in features if name in LABEL_KEYS and name != self._column]
        found = found or [
            name for name in named if getattr(features[name], "dtype", "").startswith(_CLASSES)
        ]
        found = found or named  # one that is called labels and holds none gets a notice
        chosen = the_one(found, LABEL_KEYS)
        if found and chosen is None:
            self.notices.append(
                f"{self.origin} has several columns of labels ({listing(found)}) and none is used; "
                f"choose one with {option('label_column', found[0])}."
            )
        return chosen

    def _read_labels(self, table: Any, column: str, path: Path | None) -> str:
        """Read classes; return what keeps the column from being labels."""
        import numpy as np

        values: list[Any] = []
        for start in range(0, len(self), _LABELS_READ):
            values += self._rows[start : start + _LABELS_READ].column(column).to_pylist()
        if all(value is None or value == -1 for value in values):
            self.notices.append(f"The column '{column}' of {self.origin} holds no labels.")
            return ""
        names = getattr(table.features[column], "names", None)  # of a ClassLabel
        missing = sum(value is None or (names is not None and value == -1) for value in values)
        if missing:
            return f"has no label for {missing:,} of {len(values):,} rows"
        notices: tuple[str, ...] = ()
        if names is not None:
            low, high = min(values), max(values)
            if low < 0 or high >= len(names):
                return f"holds classes from {low} to {high}, and {len(names)} have names"
            classes = classes_named(names)
            folder = path is not None and path.is_dir() and not holds_tables(path)
            if folder and table.info.builder_name == "imagefolder":
                classes = classes_of_values(names)  # which the library puts in the order of text
                values = [names[value] for value in values]
        else:
            found = read_labels(values)
            if found.values is None:
                return f"holds {found.problem}, which are not classes"
            values, notices = found.values.tolist(), found.notices
            classes = found.classes or classes_of_values(values)
        self.groups = np.array([classes.numbers[value] for value in values], np.int32)
        self.group_names = list(classes.names)
        self.guessed = (*notices, *classes.notices)
        return ""


def _image_column(features: Any, origin: str, asked: str | None) -> str:
    from datasets import Image

    if asked is not None:
        _require("column", asked, features, origin)
        return asked
    found: list[str] = [name for name, kind in features.items() if isinstance(kind, Image)]
    # Files that datasets did not write hold the same without saying so.
    found = found or [name for name, kind in features.items() if _is_encoded(kind)]
    if (chosen := the_one(found, PICTURE_KEYS)) is not None:
        return chosen
    what, way = "no column of pictures", "say which one has them with image_column"
    if found:
        likely = next((name for name in found if name in PICTURE_KEYS), found[0])
        what = "several columns of pictures"
        way = f"say which one to take with {option('image_column', likely)}"
    else:
        way += ", or give its numbers as an array: pandas.read_parquet(file).to_numpy('float32')"
    raise ConfigError(f"{origin} has {what}; {way}. Columns: {listing(features)}.")


def _is_encoded(kind: Any) -> bool:
    if isinstance(kind, dict):
        return {"bytes", "path"} <= kind.keys() or _is_encoded(kind.get("bytes"))
    return getattr(kind, "dtype", "") in ("binary", "large_binary")


def _content(value: Any) -> bytes | PictureError:
    """The encoded picture in a cell."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        what = "an empty cell" if value is None else f"a cell of {type(value).__name__}"
        return PictureError(what)
    path, shown = Path(value), printable(value.encode())
    try:
        if path.exists() and not path.is_file():  # a device may be read for ever
            return PictureError(f"{shown}: no regular file")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        return PictureError(f"{shown}: {getattr(error, 'strerror', None) or error}")
