"""Data that the caller holds in memory: arrays, tensors and torch Datasets."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, PrivateAttr

from ganzoo.datasets.advice import advice, is_dataset
from ganzoo.datasets.array import ArrayDataset
from ganzoo.datasets.classes import Classes, Labels, as_labels, classes_of, labels_of_items
from ganzoo.datasets.conversion import as_number_array, is_array
from ganzoo.datasets.items import (
    Item,
    count_of,
    is_sequential,
    left_out,
    one_line,
    read_items,
    title_of,
)
from ganzoo.datasets.keys import columns_of, pick_keys
from ganzoo.datasets.samples import Samples, as_samples
from ganzoo.datasets.stream import USAGE, DatasetSchema, Stream
from ganzoo.errors import ConfigError, DataError, GanzooError

if TYPE_CHECKING:
    from ganzoo.datasets.conversion import AnyArray

__all__ = ["IN_MEMORY_LIMIT", "InMemoryDataset", "MaterializedSamples"]

_HASHED = 16 * 2**20  # bytes of an array that go into its fingerprint
_UNREAD = "not read yet"  # instead of a fingerprint
_STREAMED = "stream:"  # before the fingerprint of what is read while training
_POSSIBLE = (
    "the name of a dataset, a path, a mapping with 'name', an array or tensor, a tuple (data, "
    "labels), a dict of arrays, or a torch Dataset"
)


def _half_of_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):  # not known on this platform
        return 8 * 2**30


IN_MEMORY_LIMIT = _half_of_memory()
"""Most bytes that a torch Dataset is read into: half of the physical memory."""


class _Uncopied:
    """What copying a config does not copy."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


@dataclass(frozen=True, eq=False)
class _Arrays(_Uncopied):
    """The arrays in memory."""

    data: AnyArray
    labels: Labels | None
    classes: Classes | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Source(_Uncopied):
    """The torch Dataset."""

    dataset: Any


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

    name: ClassVar[str] = "in-memory"

    description: str = Field(description="what the data are, for people")
    fingerprint: str = Field(description="sha-256 of the data")
    _arrays: _Arrays | None = PrivateAttr(default=None)
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
            DataError: If it holds something that is not a sample, or has no length or no items.
        """
        if is_dataset(value):
            dataset = cls(description=_announced(value), fingerprint=_UNREAD, **options)
            dataset._source = _Source(value)
            return dataset
        arrays, what = _arrays_in(value, options.get("key"), options.get("labels_key"))
        dataset = cls(
            description=_described(what, arrays), fingerprint=_fingerprint(arrays), **options
        )
        dataset._arrays = arrays
        return dataset

    @property
    def called(self) -> str:
        """What people call it: an array, a tensor, or the class of the torch Dataset."""
        word = re.match(r"\w{1,64}", self.description)
        return word[0] if word else "data"

    @property
    def unread(self) -> Any:
        """The torch Dataset that is held and was not read into memory; None if there is none."""
        return None if self._source is None or self._arrays is not None else self._source.dataset

    def load(self) -> Samples:
        """Return the samples, which may share memory with the data.

        Raises:
            ConfigError: If an option does not apply to the data.
            DataError: If the data is not held (the config was read from a file), does not fit
                into memory, or cannot be taken as samples.
        """
        return self._load(None)

    def _load(self, wanted: bool | None) -> Samples:
        arrays = self._read()
        samples = as_samples(
            arrays.data,
            arrays.labels,
            layout=self.layout,
            kind=self.sample_kind,
            item_shape=self.item_shape,
            stored_range=self.stored_range,
            origin=f"The dataset in memory ({self.description})",
            usage=USAGE,
            classes=arrays.classes,
            wanted=wanted,
        )
        samples = replace(samples, notices=(*samples.notices, *arrays.notices))
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
        self._arrays = _together(source, items, labels_key)
        return self.load()

    def stream(self, workers: int, labels: bool = False) -> Stream:
        """Return the samples of a torch Dataset, to be read while training.

        Raises:
            ConfigError: If it is not a torch Dataset, or one that cannot be read so.
            DataError: If the data is not held, cannot be taken as samples, or is other data than
                the fingerprint of an earlier stream says.
        """
        if self._source is None and self._arrays is None:
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
            check=self._check_schema,
        )

    def resolved(
        self, workers: int | None = None, labels: bool = False
    ) -> tuple[InMemoryDataset, Samples | Stream]:
        """Return this config with description and fingerprint of what was read, and that.

        The range of values that a stream has inferred is recorded in the config, so that resuming
        does not infer it again.

        Raises:
            ConfigError: If there are workers and it is not a torch Dataset, or cannot be read so.
            DataError: If the data is not held, cannot be taken as samples, or is other data than
                before.
        """
        if workers is None:
            known = self._identified()
            return known, known._load(labels)
        stream = self.stream(workers, labels)
        known = self.model_copy(
            update={
                "description": stream.schema.description,
                "fingerprint": _STREAMED + stream.schema.fingerprint,
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
        copy._arrays, copy._source = other._arrays, other._source
        return copy

    @property
    def _streamed(self) -> bool:
        return self.fingerprint.startswith(_STREAMED)

    def _check_schema(self, schema: DatasetSchema) -> None:
        if self._streamed and self.fingerprint != _STREAMED + schema.fingerprint:
            raise self._other(schema.description)

    def _check_options(self, other: InMemoryDataset) -> None:
        """Refuse options that differ from those before; options that are left out stay."""
        for name, info in ArrayDataset.model_fields.items():
            now, before = getattr(other, name), getattr(self, name)
            if now not in (before, info.default):
                raise ConfigError(
                    f"This run was started with {name}={before!r} and keeps it, but the data is "
                    f"given with {name}={now!r}. Leave {name} out to resume the run, or start a "
                    f"new one with {USAGE.format(f'{name}={now!r}')}."
                )

    def _read(self) -> _Arrays:
        """Return the arrays; a torch Dataset is read into them once."""
        if self._arrays is None:
            if self._source is None:
                raise self._absent()
            dataset = self._source.dataset
            key, labels_key = columns_of(dataset, self.key, self.labels_key)
            self._arrays = _together(dataset, _items_of(dataset, key, labels_key), labels_key)
        return self._arrays

    def _identified(self) -> InMemoryDataset:
        """This config with the fingerprint of the content."""
        if self._source is None or not (self._streamed or self.fingerprint == _UNREAD):
            return self
        arrays = self._read()
        return self.model_copy(
            update={
                "description": _described(title_of(self._source.dataset), arrays),
                "fingerprint": _fingerprint(arrays),
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


# -- finding the arrays ------------------------------------------------------------------------


def _arrays_in(
    value: Any, key: str | None = None, labels_key: str | None = None
) -> tuple[_Arrays, str]:
    """The arrays in a value, and what to call it."""
    if isinstance(value, memoryview):
        import numpy as np

        value = np.asarray(value)
    if isinstance(value, Mapping) and value and all(isinstance(each, str) for each in value):
        if hasattr(value, "files") or any(map(is_array, value.values())):
            return _of_names(value, key, labels_key)
    elif key is not None or labels_key is not None:
        raise ConfigError(
            "The options key and labels_key choose among arrays that have names, and these data "
            "have none; leave them out, or give a dict of arrays."
        )
    if isinstance(value, tuple) and len(value) >= 2 and is_array(value[0]):
        data, labels, *more = value
        origin = f"The {_noun(data)} in memory"
        try:
            array = as_number_array(data, origin)
        except GanzooError:
            raise
        except Exception as error:  # tensors without numbers in memory, arrays elsewhere
            fix = advice(data) or "give a numpy array"
            raise DataError(f"{origin} cannot be read ({one_line(error)}); {fix}.") from error
        found = None if labels is None else as_labels(labels)
        return _Arrays(array, found, notices=left_out(len(more))), _noun(data)
    if is_array(value):
        return _arrays_in((value, None))
    if advised := advice(value):
        advised = f"{advised[0].upper()}{advised[1:]}."
    raise ConfigError(
        f"A dataset is {_POSSIBLE}; got {type(value).__name__}. {advised or 'Give one of these.'}"
    )


def _of_names(
    value: Mapping[str, Any], key: str | None, labels_key: str | None
) -> tuple[_Arrays, str]:
    """The samples and labels of arrays that have names."""
    origin = "The archive" if hasattr(value, "files") else "The dict of arrays"
    key, labels_key = pick_keys(list(value), origin, key, labels_key)
    try:
        return _arrays_in((value[key], value[labels_key] if labels_key else None))
    except GanzooError:
        raise
    except Exception as error:  # of archives, whose arrays are read only now
        text = " ".join(str(error).split())
        raise DataError(
            f"{origin} cannot be read ({type(error).__name__}: {text}); write it again, with plain "
            f"numbers."
        ) from error


def _described(what: str, arrays: _Arrays) -> str:
    labelled = arrays.labels is not None and arrays.labels.values is not None
    return f"{what} {arrays.data.shape} {arrays.data.dtype}{' with labels' if labelled else ''}"


def _announced(dataset: Any) -> str:
    """What to call a torch Dataset that is not read yet; one that cannot be read is refused."""
    title = title_of(dataset)
    return title if is_sequential(dataset) else f"{title} of {count_of(dataset)}"


def _noun(value: Any) -> str:
    import torch

    return "tensor" if isinstance(value, torch.Tensor) else "array"


def _items_of(
    dataset: Any, key: str | None, labels_key: str | None, *, alike: bool = True
) -> list[Item]:
    """Read all items of a torch Dataset, map-style or finite iterable, into memory."""
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


def _together(dataset: Any, items: list[Item], labels_key: str | None) -> _Arrays:
    """Items of one shape in one array. The list is emptied on the way: memory is needed once."""
    import numpy as np

    title = title_of(dataset)
    found = labels_of_items([item.label for item in items], title)
    more = max(item.more for item in items)
    classes = None
    if found is not None and found.values is not None:
        try:
            classes = classes_of(dataset, labels_key)
        except DataError as error:
            found = Labels(None, str(error).rstrip("."))
    stacked: AnyArray = np.empty((len(items), *items[0].data.shape), items[0].data.dtype)
    items.reverse()  # so that the first item is the last one, which pops
    for index in range(len(stacked)):
        stacked[index] = items.pop().data
    return _Arrays(stacked, found, classes, left_out(more))


def _check_memory(size: int, title: str) -> None:
    if size > IN_MEMORY_LIMIT:
        raise DataError(
            f"The dataset {title} takes {size / 2**30:.1f} GiB or more, over the limit of "
            f"{IN_MEMORY_LIMIT / 2**30:.1f} GiB (half of this machine's memory); read it while "
            f"training (workers=2), make it smaller, or save it as a .npy array and give its path."
        )


# -- fingerprints -----------------------------------------------------------------------------


def _fingerprint(arrays: _Arrays) -> str:
    digest = hashlib.sha256()
    for array in (arrays.data, None if arrays.labels is None else arrays.labels.values):
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
