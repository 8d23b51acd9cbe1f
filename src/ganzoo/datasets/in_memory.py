"""Data that the caller holds, and what the caller of a trainer may hand in as a dataset."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr

from ganzoo.core.component import Component
from ganzoo.datasets.advice import advice, is_dataset
from ganzoo.datasets.archives import ARCHIVES, PACKED, unpacking
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
from ganzoo.datasets.items import (
    Item,
    classes_of,
    columns_of,
    count_of,
    is_sequential,
    labels_of,
    left_out,
    read_items,
    title_of,
    told,
)
from ganzoo.datasets.reading import Classes, Labels
from ganzoo.datasets.stream import USAGE, DatasetSchema, Stream
from ganzoo.errors import ConfigError, DataError, GanzooError, did_you_mean, listing
from ganzoo.files.storage import expanded

if TYPE_CHECKING:
    from ganzoo.datasets.array import AnyArray

__all__ = ["IN_MEMORY_LIMIT", "InMemoryDataset", "MaterializedSamples", "as_dataset"]

_HASHED = 16 * 2**20  # bytes of an array that go into its fingerprint
_UNREAD = "not read yet"  # instead of a fingerprint
_STREAMED = "stream:"  # before the fingerprint of what is read while training
_POSSIBLE = (
    "the name of a dataset, a path, a mapping with 'name', an array or tensor, a tuple (data, "
    "labels), a dict of arrays, or a torch Dataset"
)

_PICKLED = (
    "Such a file is not loaded, because loading it can run code: save its arrays with "
    "numpy.savez(path, images=...). If it holds statistics for FID, give the data that they are of."
)
_TABLE = (
    'Give its numbers as an array: pandas.get_dummies(table).to_numpy("float32") of what pandas '
    "reads from it."
)
_AUDIO = (
    "Read the sounds with another program into one array (N, channels, length), save it with "
    "numpy.save, and say sample_kind='audio' (--dataset.sample-kind audio)."
)
_WAYS_ON = {
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth"), _PICKLED),
    **dict.fromkeys((".csv", ".tsv", ".xlsx", ".feather"), _TABLE),
    **dict.fromkeys((".wav", ".flac", ".mp3", ".ogg"), _AUDIO),
}


def _half_of_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):  # not known on this platform
        return 8 * 2**30


IN_MEMORY_LIMIT = _half_of_memory()
"""Most bytes that a torch Dataset is read into: half of the physical memory."""


@dataclass(frozen=True, eq=False)
class _ArrayRef:
    """The arrays themselves. Copying a config does not copy them."""

    data: AnyArray
    labels: Labels | None
    classes: Classes | None = None
    notices: tuple[str, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> _ArrayRef:
        return self


@dataclass(frozen=True, eq=False)
class _Source:
    """The torch Dataset itself. Copying a config does not copy it."""

    dataset: Any

    def __deepcopy__(self, memo: dict[int, Any]) -> _Source:
        return self


@dataclass(frozen=True, eq=False)
class MaterializedSamples(Samples):
    """Samples out of a torch Dataset, of which another reading may make others.

    Its transforms may draw random numbers, and whether they do so cannot be known.
    """


class InMemoryDataset(ArrayDataset):
    """Data that the caller holds as an object, which no file can name.

    A config stores only the description and the fingerprint, so that resuming can ask for the
    same data again. ``InMemoryDataset.of`` makes one; how an array is understood is described at
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
    _held: _ArrayRef | None = PrivateAttr(default=None)
    _source: _Source | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, value: Any, **options: Any) -> InMemoryDataset:
        """Return the dataset that holds ``value``.

        A torch Dataset is read when it is needed: by ``load`` once into memory, item by item, so
        that random transforms in it are applied once, not per epoch, and make another fingerprint
        every time; or by ``stream`` while training. Its items are tensors, arrays or Pillow images
        of one shape, pairs of those and a label, or dicts with such keys as ``image`` and
        ``label``.

        Args:
            value: Tensor, numpy array, tuple (data, labels), dict of arrays with such keys as
                ``images`` and ``labels`` (or what ``numpy.load`` makes of an .npz), torch Dataset
                (map-style or finite iterable), or Dataset of the package ``datasets``.
            **options: ``layout``, ``sample_kind``, ``item_shape`` and ``stored_range`` where the
                defaults do not suit; ``key`` and ``labels_key`` of a dict, or of a Dataset whose
                items are dicts.

        Raises:
            ConfigError: If it is something else, or an option is wrong or does not apply.
            DataError: If it holds something that is no sample, or has no length or no items.
        """
        if is_dataset(value):
            given = cls(description=_announced(value), fingerprint=_UNREAD, **options)
            given._source = _Source(value)
            return given
        held, what = _contents(value, options.get("key"), options.get("labels_key"))
        given = cls(description=_described(what, held), fingerprint=_fingerprint(held), **options)
        given._held = held
        return given

    @property
    def called(self) -> str:
        """What people call it: an array, a tensor, or the class of the torch Dataset."""
        word = re.match(r"\w{1,64}", self.description)
        return word[0] if word else "data"

    @property
    def unread(self) -> Any:
        """The torch Dataset that is held and was not read into memory; None if there is none."""
        return None if self._source is None or self._held is not None else self._source.dataset

    def load(self) -> Samples:
        """Return the samples, which may share memory with what was given.

        Raises:
            ConfigError: If an option does not apply to the data.
            DataError: If the data is not held (the config was read from a file), does not fit
                into memory, or cannot be taken as samples.
        """
        return self._load(None)

    def _load(self, wanted: bool | None) -> Samples:
        held = self._contents()
        samples = as_samples(
            held.data,
            held.labels,
            layout=self.layout,
            kind=self.sample_kind,
            item_shape=self.item_shape,
            stored_range=self.stored_range,
            origin=f"The dataset in memory ({self.description})",
            usage=USAGE,
            classes=held.classes,
            wanted=wanted,
        )
        samples = replace(samples, notices=(*samples.notices, *held.notices))
        return samples if self._source is None else MaterializedSamples(**vars(samples))

    def load_apart(self) -> Samples | list[Item]:
        """Load, or return the items of a torch Dataset as they are where their shapes differ.

        Raises:
            ConfigError: As ``load``.
            DataError: As ``load``, but for their shapes.
        """
        source = self.unread
        if source is None:
            return self.load()
        key, labels_key = columns_of(source, self.key, self.labels_key)
        items = _items_of(source, key, labels_key, alike=False)
        if len({(item.data.shape, item.data.dtype) for item in items}) > 1:
            return items
        self._held = _together(source, items, labels_key)
        return self.load()

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
            item_shape=self.item_shape,
            stored_range=self.stored_range,
            key=self.key,
            labels_key=self.labels_key,
            check=self._check_form,
        )

    def resolved(
        self, workers: int | None = None, labels: bool = False
    ) -> tuple[InMemoryDataset, Samples | Stream]:
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
            return known, known._load(labels)
        stream = self.stream(workers, labels)
        known = self.model_copy(
            update={
                "description": stream.form.description,
                "fingerprint": _STREAMED + stream.form.fingerprint,
                "stored_range": stream.stored_range,
            }
        )
        return known, stream

    def with_data(self, other: InMemoryDataset) -> InMemoryDataset:
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

    def _check_form(self, form: DatasetSchema) -> None:
        if self._streamed and self.fingerprint != _STREAMED + form.fingerprint:
            raise self._other(form.description)

    def _check_options(self, other: InMemoryDataset) -> None:
        """Refuse what is given otherwise than before; what is left out stays as it was."""
        for name, info in ArrayDataset.model_fields.items():
            now, before = getattr(other, name), getattr(self, name)
            if now not in (before, info.default):
                raise ConfigError(
                    f"This run was started with {name}={before!r} and keeps it, but the data is "
                    f"given with {name}={now!r}. Leave {name} out to resume the run, or start a "
                    f"new one with {USAGE.format(f'{name}={now!r}')}."
                )

    def _contents(self) -> _ArrayRef:
        """The arrays; a torch Dataset is read into them once."""
        if self._held is None:
            if self._source is None:
                raise self._absent()
            self._held = _read(self._source.dataset, self.key, self.labels_key)
        return self._held

    def _identified(self) -> InMemoryDataset:
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


def as_dataset(value: Any, below: Any = None) -> Any:
    """Turn what a caller handed in as a dataset into what the registry can create.

    Args:
        value: One of: the name of a dataset, a mapping with ``name``, a component or its class, a
            path to an array file, a .parquet or .arrow file or a folder, a tensor, a numpy array,
            a tuple (data, labels), a dict of arrays, a torch Dataset.
        below: The dataset whose options a mapping without ``name`` changes, if there is one.

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
    if isinstance(value, Mapping):
        options = _options_of(below)
        if not _holds_data(value, options):
            return _from_options(value, options)
    return InMemoryDataset.of(value)


def _options_of(dataset: Any) -> Collection[str]:
    """The options of a dataset; none if there is no such dataset."""
    if isinstance(dataset, Component):
        return type(dataset).model_fields
    name = dataset.get("name") if isinstance(dataset, Mapping) else None
    if isinstance(name, str) and name in _names():
        from ganzoo.datasets import registry

        return registry.get(name).model_fields
    return ()


def _holds_data(value: Mapping[Any, Any], options: Collection[str]) -> bool:
    """Whether a mapping is one of arrays, or of what should be given otherwise."""
    if isinstance(value.get("name"), str):
        return False
    # The arrays of an .npz are read from the file whenever they are asked for.
    if hasattr(value, "files") or any(map(_is_array, value.values())):
        return True
    return bool(advice(value)) and not (value and all(key in options for key in value))


def _from_options(value: Mapping[Any, Any], options: Collection[str]) -> Any:
    """A mapping of options; with a place but without a name it is the dataset of that place."""
    if "name" in value:
        return value
    if isinstance(value.get("path"), (str, os.PathLike)) and "path" not in options:
        return {**_from_path(Path(value["path"])), **value}
    if isinstance(value.get("repo"), str) and "repo" not in options:
        return {"name": "huggingface", **value}
    return value


def _from_text(text: str) -> Any:
    if not text:
        raise ConfigError(
            f"The name of a dataset is empty; give a name or a path, or leave the dataset out for "
            f"the default one. Available: {listing(_names())}."
        )
    if text in _names():
        return text
    path = expanded(text)
    looks_like_path = "/" in text or "\\" in text or re.fullmatch(r".*\.[A-Za-z0-9]+", text)
    there = os.path.exists(path)  # noqa: PTH110 - of a text that no path can be, it is False
    return _from_path(Path(text)) if looks_like_path or there else text


def _from_path(path: Path) -> Any:
    from ganzoo.datasets.huggingface import TABLE_SUFFIXES, holds_tables

    place = expanded(path)
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
    if suffix in ARCHIVES:
        return {"name": "folder", "path": str(path)}
    if suffix in PACKED:
        raise DataError(f"'{path}' is packed, not a folder of pictures; {unpacking(path)}.")
    if suffix not in SUFFIXES:
        what = "one picture" if os.fsencode(suffix) in PICTURE_SUFFIXES else "no array file"
        way_on = _WAYS_ON.get(suffix, "Give one of these, or a name.")
        raise DataError(
            f"'{path}' is {what}: samples are read from "
            f"{listing((*SUFFIXES, *TABLE_SUFFIXES, *ARCHIVES))} and from folders of pictures. "
            f"{way_on} Available: {listing(_names())}."
        )
    return {"name": "array", "path": str(path)}


def _names() -> list[str]:
    from ganzoo.datasets import registry

    return registry.names()


def _is_array(value: Any) -> bool:
    try:
        return hasattr(value, "shape") and hasattr(value, "dtype")
    except Exception:  # nested tensors have neither, and fail instead of saying so
        return False


# -- reading what was given -------------------------------------------------------------------


def _contents(
    value: Any, key: str | None = None, labels_key: str | None = None
) -> tuple[_ArrayRef, str]:
    """The arrays in what was given, and what to call it."""
    if isinstance(value, memoryview):
        import numpy as np

        value = np.asarray(value)
    if isinstance(value, Mapping) and value and all(isinstance(each, str) for each in value):
        if hasattr(value, "files") or any(map(_is_array, value.values())):
            return _of_names(value, key, labels_key)
    elif key is not None or labels_key is not None:
        raise ConfigError(
            "The options key and labels_key choose among arrays that have names, and these data "
            "have none; leave them out, or give a dict of arrays."
        )
    if isinstance(value, tuple) and len(value) >= 2 and _is_array(value[0]):
        data, labels, *more = value
        origin = f"The {_noun(data)} in memory"
        try:
            array = as_number_array(data, origin)
        except GanzooError:
            raise
        except Exception as error:  # tensors without numbers in memory, arrays elsewhere
            raise DataError(
                f"{origin} cannot be read ({told(error)}); {advice(data) or 'give a numpy array'}."
            ) from error
        found = None if labels is None else as_label_array(labels)
        return _ArrayRef(array, found, notices=left_out(len(more))), _noun(data)
    if _is_array(value):
        return _contents((value, None))
    if advised := advice(value):
        advised = f"{advised[0].upper()}{advised[1:]}."
    raise ConfigError(
        f"A dataset is {_POSSIBLE}; got {type(value).__name__}. {advised or 'Give one of these.'}"
    )


def _of_names(
    value: Mapping[str, Any], key: str | None, labels_key: str | None
) -> tuple[_ArrayRef, str]:
    """The samples and labels of arrays that have names."""
    origin = "The archive" if hasattr(value, "files") else "The dict of arrays"
    key, labels_key = pick_keys(list(value), origin, key, labels_key)
    try:
        return _contents((value[key], value[labels_key] if labels_key else None))
    except GanzooError:
        raise
    except Exception as error:  # of archives, whose arrays are read only now
        text = " ".join(str(error).split())
        raise DataError(
            f"{origin} cannot be read ({type(error).__name__}: {text}); write it again, with plain "
            f"numbers."
        ) from error


def _described(what: str, held: _ArrayRef) -> str:
    labelled = held.labels is not None and held.labels.values is not None
    return f"{what} {held.data.shape} {held.data.dtype}{' with labels' if labelled else ''}"


def _announced(dataset: Any) -> str:
    """What to call a torch Dataset that is not read yet; one that cannot be read is refused."""
    title = title_of(dataset)
    return title if is_sequential(dataset) else f"{title} of {count_of(dataset)}"


def _noun(value: Any) -> str:
    import torch

    return "tensor" if isinstance(value, torch.Tensor) else "array"


def _read(dataset: Any, key: str | None = None, labels_key: str | None = None) -> _ArrayRef:
    """Read a torch Dataset into one array."""
    key, labels_key = columns_of(dataset, key, labels_key)
    return _together(dataset, _items_of(dataset, key, labels_key), labels_key)


def _items_of(
    dataset: Any, key: str | None = None, labels_key: str | None = None, *, alike: bool = True
) -> list[Item]:
    """Read all items of a torch Dataset into memory.

    Args:
        dataset: Map-style or finite iterable.
        key: As ``columns_of`` returns it.
        labels_key: Likewise.
        alike: Whether they must be of one shape and type.

    Raises:
        ConfigError: As ``read_item``.
        DataError: If there are none, one cannot be read, or they do not fit into memory.
    """
    title = title_of(dataset)
    count = 0 if is_sequential(dataset) else count_of(dataset)
    found: list[Item] = []
    held = 0
    numbers = range(count) if count else None
    for item in read_items(dataset, numbers, None, key, labels_key, alike=alike):
        held += item.data.nbytes
        _check_memory(max(held, count * item.data.nbytes if alike else 0), title)
        found.append(item)
    if not found:
        raise DataError(f"The dataset {title} is empty; give at least one sample.")
    return found


def _together(dataset: Any, items: list[Item], labels_key: str | None) -> _ArrayRef:
    """Items of one shape in one array. The list is emptied on the way."""
    title = title_of(dataset)
    found = labels_of([item.label for item in items], title)
    more = max(item.more for item in items)
    classes = None
    if found is not None and found.values is not None:
        try:
            classes = classes_of(dataset, labels_key)
        except DataError as error:
            found = Labels(None, str(error).rstrip("."))
    return _ArrayRef(_stacked(items), found, classes, left_out(more))


def _stacked(items: list[Item]) -> AnyArray:
    """All items in one array. The list is emptied on the way, so that memory is needed once."""
    import numpy as np

    stacked: AnyArray = np.empty((len(items), *items[0].data.shape), items[0].data.dtype)
    items.reverse()  # so that the first item is the last one, which pops
    for index in range(len(stacked)):
        stacked[index] = items.pop().data
    return stacked


def _check_memory(size: int, title: str) -> None:
    if size > IN_MEMORY_LIMIT:
        raise DataError(
            f"The dataset {title} takes {size / 2**30:.1f} GiB or more, over the limit of "
            f"{IN_MEMORY_LIMIT / 2**30:.1f} GiB (half of this machine's memory); read it while "
            f"training (workers=2), make it smaller, or save it as a .npy array and give its path."
        )


# -- fingerprints -----------------------------------------------------------------------------


def _fingerprint(held: _ArrayRef) -> str:
    digest = hashlib.sha256()
    for array in (held.data, None if held.labels is None else held.labels.values):
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
