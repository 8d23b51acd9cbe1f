"""Data that the caller holds, and what the caller of a trainer may hand in as a dataset."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr

from ganzoo.component import Component
from ganzoo.datasets.array import (
    SUFFIXES,
    ArrayDataset,
    as_label_array,
    as_number_array,
    as_samples,
    pick_keys,
)
from ganzoo.datasets.base import Samples
from ganzoo.datasets.decoding import SUFFIXES as PICTURE_SUFFIXES
from ganzoo.datasets.items import count_of, is_sequential, read_items, title_of
from ganzoo.datasets.stream import USAGE, Form, Stream
from ganzoo.errors import ConfigError, DataError, did_you_mean, listing

if TYPE_CHECKING:
    from ganzoo.datasets.array import AnyArray

__all__ = ["GIVEN_LIMIT", "Given", "ReadOnce", "interpret"]

_HASHED = 16 * 2**20  # bytes of an array that go into its fingerprint
_UNREAD = "not read yet"  # instead of a fingerprint
_STREAMED = "stream:"  # before the fingerprint of what is read while training
_POSSIBLE = (
    "the name of a dataset, a mapping with 'name', a folder of pictures, a path to a .npy, .npz, "
    ".safetensors, .parquet or .arrow file, a tensor, a numpy array, a tuple (data, labels), a "
    "dict of arrays, or a torch Dataset"
)


def _half_of_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):  # not known on this platform
        return 8 * 2**30


GIVEN_LIMIT = _half_of_memory()
"""Most bytes that a torch Dataset is read into: half of the physical memory."""


@dataclass(frozen=True, eq=False)
class _Held:
    """The arrays themselves. Copying a config does not copy them."""

    data: AnyArray
    labels: AnyArray | None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held:
        return self


@dataclass(frozen=True, eq=False)
class _Source:
    """The torch Dataset itself. Copying a config does not copy it."""

    dataset: Any

    def __deepcopy__(self, memo: dict[int, Any]) -> _Source:
        return self


@dataclass(frozen=True, eq=False)
class ReadOnce(Samples):
    """Samples out of a torch Dataset, of which another reading may make others.

    Its transforms may draw random numbers, and whether they do so cannot be known.
    """


class Given(ArrayDataset):
    """Data that the caller holds as an object, which no file can name.

    A config stores only the description and the fingerprint, so that resuming can ask for the
    same data again. ``Given.of`` makes one; how an array is understood is described at
    ``ganzoo.datasets.array.as_samples``.

    The fingerprint is the SHA-256 of dtype, shape and content of data and labels. Of an array
    beyond 16 MiB the content is that of evenly spaced samples, the first and the last among them,
    which make up about 16 MiB. It is the same for a tensor, an array and a torch Dataset with the
    same numbers. A torch Dataset has none before it is read; of one that is read while training,
    it covers the number of items, their shape and type, and the classes.
    """

    name: ClassVar[str] = "given"

    description: str = Field(description="what was given, for people")
    fingerprint: str = Field(description="sha-256 of what was given")
    _held: _Held | None = PrivateAttr(default=None)
    _source: _Source | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, value: Any, **options: Any) -> Given:
        """Return the dataset that holds ``value``.

        A torch Dataset is read when it is needed: by ``load`` once into memory, item by item, so
        that random transforms in it are applied once, not per epoch, and make another fingerprint
        every time; or by ``stream`` while training. Its items are tensors, arrays or Pillow images
        of one shape, pairs of those and a label, or dicts with such keys as ``image`` and
        ``label``.

        Args:
            value: Tensor, numpy array, tuple (data, labels), dict of arrays with such keys as
                ``images`` and ``labels``, or torch Dataset (map-style or finite iterable).
            **options: ``layout``, ``sample_kind`` and ``stored_range`` where the defaults do not
                suit.

        Raises:
            ConfigError: If it is something else, or an option is wrong.
            DataError: If it holds something that is no sample, or has no length or no items.
        """
        if _is_torch_dataset(value):
            given = cls(description=_announced(value), fingerprint=_UNREAD, **options)
            given._source = _Source(value)
            return given
        held, what = _contents(value)
        given = cls(description=_described(what, held), fingerprint=_fingerprint(held), **options)
        given._held = held
        return given

    @property
    def unread(self) -> Any:
        """The torch Dataset that is held and was not read into memory; None if there is none."""
        return None if self._source is None or self._held is not None else self._source.dataset

    def load(self) -> Samples:
        """Return the samples, which may share memory with what was given.

        Raises:
            DataError: If the data is not held (the config was read from a file), does not fit
                into memory, or cannot be taken as samples.
        """
        held = self._contents()
        samples = as_samples(
            held.data,
            held.labels,
            layout=self.layout,
            kind=self.sample_kind,
            stored_range=self.stored_range,
            origin=f"The dataset in memory ({self.description})",
            usage=USAGE,
        )
        return samples if self._source is None else ReadOnce(**vars(samples))

    def stream(self, workers: int, labels: bool = False) -> Stream:
        """Return the samples of a torch Dataset, to be read while training.

        Raises:
            ConfigError: If it is no torch Dataset, or one that cannot be read so.
            DataError: If the data is not held, cannot be taken as samples, or is other data than
                the fingerprint of an earlier stream says.
        """
        if self._source is None and self._held is None:
            raise self._absent()
        if self._source is None:
            return super().stream(workers, labels)
        return Stream.of(
            self._source.dataset,
            workers=workers,
            labels=labels,
            layout=self.layout,
            sample_kind=self.sample_kind,
            stored_range=self.stored_range,
            check=self._check_form,
        )

    def opened(
        self, workers: int | None = None, labels: bool = False
    ) -> tuple[Given, Samples | Stream]:
        """Return this config with description and fingerprint of what was read, and that.

        What a stream has found out about the range of values is kept in the config, so that a
        training that is resumed does not depend on another look.

        Raises:
            ConfigError: If there are workers and it is no torch Dataset, or cannot be read so.
            DataError: If the data is not held, cannot be taken as samples, or is other data than
                before.
        """
        if workers is None:
            known = self._identified()
            return known, known.load()
        stream = self.stream(workers, labels)
        known = self.model_copy(
            update={
                "description": stream.form.description,
                "fingerprint": _STREAMED + stream.form.fingerprint,
                "stored_range": stream.stored_range,
            }
        )
        return known, stream

    def holding(self, other: Given) -> Given:
        """Return this config with the data that ``other`` holds, as resuming needs it.

        Of a torch Dataset that this config read while training, nothing is read here: ``stream``
        finds out whether it is the same.

        Raises:
            ConfigError: If ``other`` has options that are not those of this config.
            DataError: If ``other`` stands for other data.
        """
        if self._streamed:
            same = other._source is not None and (
                not other._streamed or other.fingerprint == self.fingerprint
            )
        else:
            other = other._identified()
            same = self.fingerprint in (_UNREAD, other.fingerprint)
        if not same:
            raise self._other(other.description)
        self._check_options(other)
        copy = self.model_copy()
        copy._held, copy._source = other._held, other._source
        return copy

    @property
    def _streamed(self) -> bool:
        return self.fingerprint.startswith(_STREAMED)

    def _check_form(self, form: Form) -> None:
        if self._streamed and self.fingerprint != _STREAMED + form.fingerprint:
            raise self._other(form.description)

    def _check_options(self, other: Given) -> None:
        """Refuse what is given otherwise than before; what is left out stays as it was."""
        for name, info in ArrayDataset.model_fields.items():
            now, before = getattr(other, name), getattr(self, name)
            if now not in (before, info.default):
                raise ConfigError(
                    f"This run was started with {name}={before!r} and keeps it, but the data is "
                    f"given with {name}={now!r}. Leave {name} out to resume the run, or start a "
                    f"new one with {USAGE.format(f'{name}={now!r}')}."
                )

    def _contents(self) -> _Held:
        """The arrays; a torch Dataset is read into them once."""
        if self._held is None:
            if self._source is None:
                raise self._absent()
            self._held = _read(self._source.dataset)
        return self._held

    def _identified(self) -> Given:
        """This config with the fingerprint of the content."""
        if self._source is None or not (self._streamed or self.fingerprint == _UNREAD):
            return self
        held = self._contents()
        return self.model_copy(
            update={
                "description": _described(title_of(self._source.dataset), held),
                "fingerprint": _fingerprint(held),
            }
        )

    def _absent(self) -> DataError:
        how = "read while training" if self._streamed else "held in memory"
        return DataError(
            f"This run was trained on data {how} ({self.description}); pass it again: "
            f"Trainer.resume(run, dataset=...)."
        )

    def _other(self, description: str) -> DataError:
        return DataError(
            f"This run was trained on {self.description}, and {description} is other data (its "
            f"fingerprint differs); pass the same data again."
        )

    def __eq__(self, other: object) -> bool:
        """Compare the options; whether the data is held does not count where it is known."""
        if type(other) is not type(self) or self.__dict__ != other.__dict__:
            return False
        if self.fingerprint != _UNREAD or self._source is None or other._source is None:
            return True
        return self._source.dataset is other._source.dataset

    def __hash__(self) -> int:
        return hash((type(self), self.fingerprint))


def interpret(value: Any) -> Any:
    """Turn what a caller handed in as a dataset into what the registry can create.

    Args:
        value: One of: the name of a dataset, a mapping with ``name``, a component or its class, a
            path to an array file, a .parquet or .arrow file or a folder, a tensor, a numpy array,
            a tuple (data, labels), a dict of arrays, a torch Dataset.

    Returns:
        A name, a mapping or a component. A plain unknown name is returned as it is: the registry
        knows what is near it.

    Raises:
        ConfigError: If it is none of these.
        DataError: If it is a path to nothing, or to a file that holds no samples; or data that
            cannot be taken as samples.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, os.PathLike):
        return _from_path(Path(value))
    if isinstance(value, (Component, type)):
        return value
    if isinstance(value, Mapping) and not any(_is_array(item) for item in value.values()):
        return value
    return Given.of(value)


def _from_text(text: str) -> Any:
    if text in _names():
        return text
    path = Path(text).expanduser()
    looks_like_path = "/" in text or "\\" in text or re.fullmatch(r".*\.[A-Za-z0-9]+", text)
    there = os.path.exists(path)  # noqa: PTH110 - of a text that no path can be, it is False
    return _from_path(Path(text)) if looks_like_path or there else text


def _from_path(path: Path) -> Any:
    from ganzoo.datasets.huggingface import TABLE_SUFFIXES, holds_tables

    place = path.expanduser()
    if place.is_dir():
        name = "huggingface" if holds_tables(place) else "folder"
        return {"name": name, "path": str(path)}
    if not place.exists():
        text = path.as_posix()
        hint = ""
        if re.fullmatch(r"[\w.-]+/[\w.-]+", text):
            hint = f" On the Hugging Face Hub it is {{'name': 'huggingface', 'repo': '{text}'}}."
        raise DataError(
            f"There is no such file '{path}', and no dataset has that name."
            f"{did_you_mean(str(path), _names())} Correct the path, or give a name.{hint} "
            f"Available: {listing(_names())}."
        )
    suffix = place.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return {"name": "huggingface", "path": str(path)}
    if suffix not in SUFFIXES:
        what = "one picture" if os.fsencode(suffix) in PICTURE_SUFFIXES else "no array file"
        raise DataError(
            f"'{path}' is {what}: samples are read from {listing((*SUFFIXES, *TABLE_SUFFIXES))} "
            f"and from folders of pictures. Give one of these, or a name. Available: "
            f"{listing(_names())}."
        )
    return {"name": "array", "path": str(path)}


def _names() -> list[str]:
    from ganzoo.datasets import registry

    return registry.names()


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


# -- reading what was given -------------------------------------------------------------------


def _contents(value: Any) -> tuple[_Held, str]:
    """The arrays in what was given, and what to call it."""
    if isinstance(value, Mapping) and value and all(isinstance(key, str) for key in value):
        key, labels_key = pick_keys(list(value), "The dict of arrays")
        value = (value[key], value[labels_key] if labels_key else None)
    if isinstance(value, tuple) and len(value) == 2 and _is_array(value[0]):
        data, labels = value
        origin = f"The {_noun(data)} in memory"
        array = as_number_array(data, origin)
        return _Held(array, None if labels is None else as_label_array(labels, origin)), _noun(data)
    if _is_array(value):
        return _contents((value, None))
    raise ConfigError(f"A dataset is {_POSSIBLE}; got {type(value).__name__}. Give one of these.")


def _described(what: str, held: _Held) -> str:
    labels = "" if held.labels is None else " with labels"
    return f"{what} {held.data.shape} {held.data.dtype}{labels}"


def _announced(dataset: Any) -> str:
    """What to call a torch Dataset that is not read yet; one that cannot be read is refused."""
    title = title_of(dataset)
    return title if is_sequential(dataset) else f"{title} of {count_of(dataset)}"


def _noun(value: Any) -> str:
    import torch

    return "tensor" if isinstance(value, torch.Tensor) else "array"


def _is_torch_dataset(value: Any) -> bool:
    from torch.utils.data import Dataset

    # torch's own loader asks for __getitems__, by which other libraries' datasets can be told.
    return isinstance(value, Dataset) or hasattr(value, "__getitems__")


def _read(dataset: Any) -> _Held:
    """Read a torch Dataset into one array."""
    title = title_of(dataset)
    count = 0 if is_sequential(dataset) else count_of(dataset)
    arrays: list[AnyArray] = []
    labels: list[Any] = []
    held = 0
    for array, label in read_items(dataset, range(count) if count else None):
        held += array.nbytes
        _check_memory(max(held, count * array.nbytes), title)
        arrays.append(array)
        labels.append(label)
    if not arrays:
        raise DataError(f"The dataset {title} is empty; give at least one sample.")
    data = _stacked(arrays)
    if all(label is None for label in labels):
        return _Held(data, None)
    if None in labels:
        raise DataError(
            f"Item {labels.index(None)} of {title} has no label but others have; label all or none."
        )
    return _Held(data, as_label_array(labels, f"The dataset {title}"))


def _stacked(arrays: list[AnyArray]) -> AnyArray:
    """All items in one array. The list is emptied on the way, so that memory is needed once."""
    import numpy as np

    stacked: AnyArray = np.empty((len(arrays), *arrays[0].shape), arrays[0].dtype)
    arrays.reverse()  # so that the first item is the last one, which pops
    for index in range(len(stacked)):
        stacked[index] = arrays.pop()
    return stacked


def _check_memory(size: int, title: str) -> None:
    if size > GIVEN_LIMIT:
        raise DataError(
            f"The dataset {title} takes {size / 2**30:.1f} GiB or more, over the limit of "
            f"{GIVEN_LIMIT / 2**30:.1f} GiB (half of this machine's memory); read it while "
            f"training (workers=2), make it smaller, or save it as a .npy array and give its path."
        )


# -- fingerprints -----------------------------------------------------------------------------


def _fingerprint(held: _Held) -> str:
    digest = hashlib.sha256()
    for array in (held.data, held.labels):
        if array is None:
            digest.update(b"none;")
        else:
            digest.update(f"{array.dtype.name} {array.shape};".encode())
            digest.update(_excerpt(array))
    return digest.hexdigest()


def _excerpt(array: AnyArray) -> bytes:
    """The content in row-major order and little-endian, or that of evenly spaced rows."""
    import numpy as np

    if array.nbytes > _HASHED:
        rows = max(2, _HASHED * len(array) // array.nbytes)
        picked = np.linspace(0, len(array) - 1, rows).round().astype(np.int64)
        array = array[np.unique(picked)]
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
