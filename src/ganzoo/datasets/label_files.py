"""Labels in files next to pictures: StyleGAN's dataset.json, Hugging Face's metadata files."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ganzoo.datasets.classes import Classes, classes_of_values, read_labels
from ganzoo.datasets.keys import LABEL_KEYS
from ganzoo.datasets.ranges import option
from ganzoo.errors import some

__all__ = [
    "MOST_BYTES",
    "NAMES",
    "LabelFile",
    "UnusableError",
    "key_of",
    "read",
]

NAMES = ("dataset.json", "metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Names of the files that are known, those that count first before the others."""
MOST_BYTES = 256 * 2**20
"""Beyond this many bytes such a file is not read."""

_FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
_LABEL_COLUMNS = (*LABEL_KEYS, "class", "category")
_WHOLE = re.compile(r"-?[0-9]{1,15}\.0+")
_NAMED = 5  # columns that a message names


class UnusableError(Exception):
    """A file that names no classes; the text says why, as a sentence that begins with 'it'."""


class LabelFile(NamedTuple):
    """The label of each file that a label file names, and in which column if it has columns.

    ``sure`` is whether they are said to be labels, or only look like it.
    """

    values: Mapping[str, Any]
    column: str | None
    sure: bool

    def of(self, names: Sequence[str]) -> tuple[list[int], Classes]:
        """Return the class of each of these pictures, from 0, and the classes.

        Raises:
            UnusableError: If a picture has none, or labels are not classes.
        """
        what = "its labels"
        if self.column is not None:
            what = f"the values of its column '{self.column}'"
        values = [self.values.get(name) for name in names]
        missing = [names[place] for place, value in enumerate(values) if value in (None, "")]
        if len(missing) == len(values):
            likely = ""
            if self.values:
                likely = f", which are named like '{min(names)}' and not '{min(self.values)}'"
            raise UnusableError(f"it has a label for none of the pictures{likely}")
        if missing:
            raise UnusableError(
                f"it has no label for {len(missing):,} of {len(values):,} pictures, such as "
                f"'{missing[0]}'"
            )
        try:
            found = read_labels(_as_integers(values))
        except (TypeError, ValueError):
            raise UnusableError(f"{what} are not classes") from None
        if found.values is None:
            raise UnusableError(f"{what} are {found.problem}, which are not classes")
        labels: list[Any] = found.values.tolist()
        distinct = set(labels)
        texts = isinstance(labels[0], str)
        if texts and _are_fractions(distinct):
            raise UnusableError(f"{what} are numbers with a fraction, which are not classes")
        if not self.sure and 2 * len(distinct) > len(labels):
            raise UnusableError(
                f"{what} have {len(distinct):,} different values for {len(labels):,} pictures, too "
                f"many for classes"
            )
        if texts and len(distinct) == len(labels) > 1 and any(" " in label for label in labels):
            raise UnusableError(f"{what} differ for each picture, as captions do")
        classes = found.classes or classes_of_values(labels)
        notices = (*found.notices, *classes.notices)
        return [classes.numbers[label] for label in labels], classes._replace(notices=notices)


def key_of(name: str) -> str:
    """Return the form of a file's name under which labels are looked up."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return unicodedata.normalize("NFC", "/".join(parts))


def read(name: str, content: bytes, column: str | None = None) -> LabelFile:
    """Read a label file of one of ``NAMES``; ``column`` holds the labels, by default one is found.

    Raises:
        UnusableError: If it is damaged, of another form, or it is not clear what its labels are.
    """
    reader = {"json": _from_json, "csv": _from_csv, "jsonl": _from_lines, "parquet": _from_parquet}
    try:
        return reader[name.rpartition(".")[2]](content, column)
    except UnusableError:
        raise
    except RecursionError:
        raise UnusableError("it is nested too deeply") from None
    except Exception as error:  # pyarrow raises many classes on damaged files
        text = " ".join(str(error).split())
        raise UnusableError(f"it is damaged ({type(error).__name__}: {text})") from error


def _from_json(content: bytes, column: str | None) -> LabelFile:
    """What StyleGAN's dataset_tool writes: {"labels": [["00000/img00000000.png", 6], ...]}."""
    whole = json.loads(content.decode("utf-8-sig"))
    if not isinstance(whole, dict) or "labels" not in whole:
        raise UnusableError('it is not of the form {"labels": [["picture.png", 0], ...]}')
    labels = whole["labels"]
    if labels is None:
        raise UnusableError("its labels are null")
    values: dict[str, Any] = {}
    try:
        for file, value in labels.items() if isinstance(labels, dict) else labels:
            _set(values, key_of(file), value)
    except (TypeError, ValueError, AttributeError):
        raise UnusableError('its labels are not of the form [["picture.png", 0], ...]') from None
    return LabelFile(values, None, sure=True)


def _from_csv(content: bytes, column: str | None) -> LabelFile:
    # Of another encoding than it should be, what is not read is only what has accents.
    text = content.decode("utf-8-sig", "replace")
    head = text.partition("\n")[0]
    # Spreadsheets write semicolons where a comma is that of fractions.
    between = max(",;\t|", key=head.count)
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=between, skipinitialspace=True)
    table.fieldnames = [name.strip() for name in table.fieldnames or ()]
    return _from_rows(table.fieldnames, table, column)


def _from_lines(content: bytes, column: str | None) -> LabelFile:
    lines = content.decode("utf-8-sig").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise UnusableError("its lines are not objects with a file_name")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _from_rows(columns, rows, column)


def _from_parquet(content: bytes, column: str | None) -> LabelFile:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UnusableError('reading it needs pyarrow: pip install "ganzoo[datasets]"') from None
    file = parquet.ParquetFile(io.BytesIO(content))
    names = file.schema_arrow.names
    files, labels = _columns(names, column)
    rows = file.read(columns=[files, labels]).to_pylist()
    return _from_rows(names, rows, column)


def _from_rows(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], asked: str | None
) -> LabelFile:
    files, labels = _columns(columns, asked)
    values: dict[str, Any] = {}
    for row in rows:
        if isinstance(row.get(files), str):
            _set(values, key_of(row[files]), row.get(labels))
    sure = asked is not None or labels.lower() in _LABEL_COLUMNS
    return LabelFile(values, labels, sure)


def _columns(columns: Sequence[str], asked: str | None) -> tuple[str, str]:
    """The columns of the files and of their labels."""
    lower = {name.lower(): name for name in reversed(columns) if name}
    files = next((lower[name] for name in _FILE_COLUMNS if name in lower), None)
    if files is None:
        shown = some(columns, _NAMED) or "none"
        raise UnusableError(f"it has no column file_name (columns: {shown})")
    rest = [name for name in columns if name and name != files]
    shown = some(rest, _NAMED) or "none"
    if asked is not None:
        if asked not in rest:
            raise UnusableError(f"it has no column '{asked}' (columns: {shown})")
        return files, asked
    if not rest:
        raise UnusableError("it has no column besides that of the files")
    named = [name for name in rest if name.lower() in _LABEL_COLUMNS]
    chosen = rest if len(rest) == 1 else named
    if len(chosen) != 1:
        raise UnusableError(
            f"it is not clear which of its columns holds labels ({shown}); choose one with "
            f"{option('label_column', (named or rest)[0])}"
        )
    return files, chosen[0]


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    """Set the label of a file, which has one only."""
    if values.setdefault(name, value) != value:
        raise UnusableError(f"it gives '{name}' several labels ({values[name]} and {value})")


def _as_integers(values: list[Any]) -> list[Any]:
    """Labels as integers where all are whole numbers with a fraction of 0, as pandas has them."""
    texts = all(isinstance(value, str) and _WHOLE.fullmatch(value) for value in values)
    if texts or all(isinstance(value, float) and value.is_integer() for value in values):
        return [int(float(value)) for value in values]
    return values


def _are_fractions(values: Iterable[str]) -> bool:
    """Whether texts are numbers, at least one of which has a fraction."""
    try:
        return any(not float(value).is_integer() for value in values)
    except (ValueError, OverflowError):
        return False
