"""Samples that are read while training, by worker processes or in the training's own."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.array import (
    as_label_array,
    as_tensor,
    check_shape,
    classes_for,
    converted,
    extent_of,
    judged_by,
    numbered,
    reshaped,
    scales_of,
)
from ganzoo.datasets.items import (
    classes_of,
    columns_of,
    count_of,
    gather,
    is_sequential,
    labels_of,
    left_out,
    read_items,
    title_of,
)
from ganzoo.datasets.reader import Reader, Request, once, seed_all
from ganzoo.datasets.reading import (
    MOST_LOOKED_AT,
    Classes,
    ImageStats,
    Labels,
    Layout,
    Range,
    SampleKind,
    Understood,
    check_precision,
    classes_of_values,
    judged_from,
    understand,
    understand_range,
)
from ganzoo.errors import ConfigError, DataError, listing

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganzoo.datasets.array import AnyArray
    from ganzoo.datasets.mixture import Mixture

    Batches = Reader[tuple[Tensor, Tensor | None]]

__all__ = ["USAGE", "DatasetSchema", "Stream"]

T = TypeVar("T")

USAGE = "ganzoo.datasets.Given.of(data, {})"
"""How a caller gives an option, with ``{}`` for the option."""

_EXCERPT = 2**22  # values of them that are kept to see how exact they have to be


class DatasetSchema(NamedTuple):
    """What is known of a dataset without its content.

    Attributes:
        title: What errors call it.
        shape: (N, *shape of an item).
        dtype: Name of the type of an item's numbers.
        classes: Names of the classes, or None where labels are not read.
    """

    title: str
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[str, ...] | None

    @property
    def description(self) -> str:
        """It in a few words."""
        labels = "" if self.classes is None else " with labels"
        return f"{self.title} {self.shape} {self.dtype}{labels}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all but the title."""
        return hashlib.sha256(f"{self.shape} {self.dtype} {self.classes}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Stream:
    """Real samples that are read while training, batch by batch, from a torch Dataset.

    ``Stream.of`` makes one. It stands beside ``Samples`` for data that are not to be read
    beforehand. Python's, numpy's and torch's global random numbers are seeded for each batch, so
    that a batch is the same whichever process reads it; random numbers of other sources are not.

    Attributes:
        dataset: Map-style: it has ``__getitem__`` and ``__len__``.
        spec: What one sample is, at its native size.
        item_shape: Shape of each item as the dataset gives it.
        item_dtype: Type of its numbers.
        numbers: The class index of each label; None where labels are not read.
        hot: Whether labels are one-hot rows.
        key: Under which name an item that is a dict has the sample.
        labels_key: Under which name it has the label.
        taken_shape: Shape that each item is brought to before it is understood, if another.
        understood: How items are taken.
        title: What errors call the dataset.
        assumed: Whether ``stored_range`` was taken from a few items.
        flip: Whether an image is mirrored left to right, half of the times that it is drawn.
        mixture: The distribution that the samples come from, where it is known.
        notices: What a person should know about these data, a line each.
    """

    dataset: Any
    spec: SampleSpec
    item_shape: tuple[int, ...]
    item_dtype: np.dtype[Any]
    understood: Understood
    numbers: Mapping[int | str, int] | None = None
    hot: bool = False
    key: str | None = None
    labels_key: str | None = None
    taken_shape: tuple[int, ...] | None = None
    title: str = "The dataset"
    assumed: bool = False
    flip: bool = False
    mixture: Mixture | None = None
    notices: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        dataset: Any,
        *,
        workers: int = 0,
        labels: bool = False,
        layout: Layout = "auto",
        sample_kind: SampleKind = "auto",
        item_shape: tuple[int, ...] | None = None,
        stored_range: Range | None = None,
        key: str | None = None,
        labels_key: str | None = None,
        check: Callable[[DatasetSchema], object] | None = None,
    ) -> Stream:
        """Look at up to 256 items, evenly spaced, and return the stream of all.

        Items are what ``InMemoryDataset.of`` takes, and are understood as ``as_samples``
        understands the array of all, but what is not given follows from those that were looked
        at, which a notice says where there are more. Classes are what the dataset says
        (``items.classes_of``), or else the labels of all items, if all were looked at.

        Args:
            dataset: Map-style torch Dataset.
            workers: If any, the items are looked at in a process of their own, so that files
                which the dataset opens there are not shared by those that read it later.
            labels: Whether to read labels.
            layout: Where the channels are.
            sample_kind: What one sample is.
            item_shape: Shape of one sample, where items are rows or otherwise shaped.
            stored_range: Lowest and highest value that an item may hold.
            key: Under which name an item that is a dict has the sample.
            labels_key: Under which name it has the label.
            check: Called with the form of the items before their values count; it may raise.

        Raises:
            ConfigError: If the items come in their own order only, or the dataset cannot be sent
                to a process; if an option does not apply.
            DataError: If items cannot be read or taken as samples, or it cannot be known what
                their classes are.
        """
        title = title_of(dataset)
        if is_sequential(dataset):
            raise ConfigError(
                f"The dataset {title} gives its items in its own order only (IterableDataset), so "
                f"a training that reads it with 'workers' could not be resumed in the middle. "
                f"Give a dataset with __getitem__ and __len__, or leave 'workers' out: it is then "
                f"read into memory."
            )
        count = count_of(dataset)
        most = min(count, MOST_LOOKED_AT)
        looked_at = {round(i * (count - 1) / max(1, most - 1)) for i in range(most)}
        key, labels_key = columns_of(dataset, key, labels_key)
        look = functools.partial(_look, dataset, key, labels_key, item_shape)
        indices = sorted(looked_at)
        found = once(look, Request(0, indices), workers, title)
        origin = f"The dataset {title}"
        classes: Classes | None = None
        hot, notices = False, tuple[str, ...]()
        if not labels and found.labels is not None:
            notices = numbered(found.labels, most, None, False, origin)[2]
        elif found.labels is not None:
            classes, hot, notices = _classes(dataset, found.labels, labels_key, indices)
        names = None if classes is None else classes.names
        form = DatasetSchema(title, (count, *found.shape), found.dtype.name, names)
        if check is not None:
            check(form)
        check_precision(found.excerpt, origin)
        understood = _explained(
            functools.partial(
                understand,
                found.facts,
                kind=sample_kind,
                layout=layout,
                stored_range=stored_range,
                origin=origin,
                usage=USAGE,
            ),
            stored_range,
        )
        bounds = understood.values.bounds
        one = converted(found.excerpt[:1], understood)
        return cls(
            dataset=dataset,
            spec=SampleSpec(
                kind=understood.axes.kind,
                shape=one.shape[1:],
                value_range=None if bounds is None else (-1.0, 1.0),
                classes=names,
            ),
            item_shape=found.shape,
            item_dtype=found.dtype,
            understood=understood,
            numbers=None if classes is None else classes.numbers,
            hot=hot,
            key=key,
            labels_key=labels_key,
            taken_shape=None if item_shape is None else tuple(item_shape),
            title=title,
            assumed=stored_range is None,
            notices=(
                *understood.notices,
                *notices,
                *left_out(found.more),
                *judged_from(most, count),
            ),
        )

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def stored_range(self) -> Range | None:
        """Lowest and highest value of a sample; None where values are taken as they are."""
        return self.understood.values.bounds

    @property
    def labeled(self) -> bool:
        """Whether labels are read."""
        return self.numbers is not None

    @property
    def form(self) -> DatasetSchema:
        """What is known of the items without their content."""
        shape = (len(self), *self.item_shape)
        return DatasetSchema(self.title, shape, self.item_dtype.name, self.spec.classes)

    def with_spec(self, spec: SampleSpec) -> Stream:
        """Return the same samples under another spec; without classes, labels are not read."""
        return replace(self, spec=spec, numbers=self.numbers if spec.classes else None)

    def read(self, request: Request) -> tuple[Tensor, Tensor | None]:
        """Read one batch in this process, whose global random numbers are seeded by that.

        Returns:
            Samples (N, *spec.shape), uint8 or float32, and labels (N,) int64 or None.

        Raises:
            DataError: If an item cannot be read, or is not what the others are.
        """
        import torch

        seed_all(request.seed)
        form = self.item_shape, self.item_dtype
        array, labels = gather(self.dataset, request.indices, form, self.key, self.labels_key)
        numbers = None
        if self.labeled:
            pairs = zip(request.indices, labels, strict=True)
            numbers = torch.tensor([self._number(*pair) for pair in pairs])
        try:
            return self._samples(array, f"A batch of {self.title}"), numbers
        except DataError:
            for index, one in zip(request.indices, array, strict=True):  # which one is it?
                self._samples(one[None], f"Item {index} of {self.title}")
            raise

    def fetch(self, request: Request, workers: int = 0) -> tuple[Tensor, Tensor | None]:
        """Read one batch aside: in a process of its own if there are ``workers``, else in this.

        Raises:
            ConfigError: If the dataset cannot be sent to a process.
            DataError: If an item cannot be read, or is not what the others are.
        """
        return once(self.read, request, workers, self.title)

    def batches(self, requests: Iterator[Request], workers: int, pin: bool = False) -> Batches:
        """Return what reads a batch for each request, ahead of time where there are workers.

        Args:
            requests: What to read; it may be endless.
            workers: Processes that read; without any, each batch is read when it is asked for.
            pin: Whether batches shall be in page-locked memory, from which a GPU copies faster.

        Raises:
            ConfigError: If the dataset cannot be sent to processes.
        """
        return Reader(self.read, requests, workers, self.title, pin)

    def _samples(self, array: AnyArray, origin: str) -> Tensor:
        array = reshaped(array, self.taken_shape, origin)
        if (array.dtype.name, self.stored_range) != ("uint8", (0, 255)):
            looked = min(len(self), MOST_LOOKED_AT) if self.assumed else 0
            low, high = extent_of(array, origin)
            kind = self.understood.axes.kind
            check = functools.partial(understand_range, array.dtype, low, high, kind)
            _explained(
                functools.partial(check, self.stored_range, origin, USAGE),
                self.stored_range,
                looked,
            )
        return as_tensor(converted(array, self.understood))

    def _number(self, index: int, label: Any) -> int:
        """The class of one item."""
        assert self.numbers is not None
        if label is None:
            raise DataError(
                f"Item {index} of {self.title} has no label but others have; label all or none."
            )
        number = None
        if self.hot:
            found = as_label_array([label]) if hasattr(label, "shape") else None
            number = int(found.values[0]) if found and found.values is not None else None
        elif isinstance(label, (int, str)):
            number = self.numbers.get(label)
        if number is None:
            raise DataError(
                f"Item {index} of {self.title} has the label {label!r}, which is none of its "
                f"classes ({listing(map(str, self.numbers))}); correct its classes or targets."
            )
        return number


def _explained(make: Callable[[], T], stored_range: Range | None, looked: int = 0) -> T:
    """Understand items; where they are not within the range, say what can be done about it."""
    try:
        return make()
    except DataError as error:
        if stored_range is None or "outside its stored_range" not in str(error):
            raise
        guessed = f" It was taken from {looked} items." if looked else ""
        raise DataError(
            f"{error}{guessed} A run keeps its range: start a new one with "
            f"{USAGE.format('stored_range=(low, high)')}."
        ) from None


class _Found(NamedTuple):
    """What a look at some items tells: what they are, some of their values, and their labels."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    facts: ImageStats
    excerpt: AnyArray
    labels: Labels | None
    more: int


def _look(
    dataset: Any,
    key: str | None,
    labels_key: str | None,
    item_shape: tuple[int, ...] | None,
    request: Request,
) -> _Found:
    """Look at items one by one, for they may be large."""
    import numpy as np

    seed_all(request.seed)
    title = title_of(dataset)
    origin = f"The dataset {title}"
    kept: list[AnyArray] = []
    labels: list[Any] = []
    low, high, more = math.inf, -math.inf, 0
    shape, dtype = (), None
    items = read_items(dataset, request.indices, None, key, labels_key)
    for index, item in zip(request.indices, items, strict=True):
        labels.append(item.label)
        more = max(more, item.more)
        shape, dtype = item.data.shape, item.data.dtype
        check_shape(item.data[None], origin)
        array = reshaped(item.data[None], item_shape, origin)
        lowest, highest = extent_of(array, f"Item {index} of {title}")
        low, high = min(low, lowest), max(high, highest)
        if len(kept) < (judged_by(array.size) if array.ndim == 2 else _EXCERPT // array.size + 1):
            kept.append(array)
    assert dtype is not None
    excerpt = np.concatenate(kept)
    facts = ImageStats(excerpt.shape[1:], dtype, low, high, scales_of(excerpt), len(dataset))
    return _Found(shape, dtype, facts, excerpt, labels_of(labels, title, request.indices), more)


def _classes(
    dataset: Any, labels: Labels, labels_key: str | None, indices: Sequence[int]
) -> tuple[Classes, bool, tuple[str, ...]]:
    """The classes of a dataset, whether its labels are one-hot rows, and what is to be said.

    Args:
        dataset: The dataset.
        labels: Of the items that were looked at.
        labels_key: The column of labels of a table.
        indices: Which items these are.

    Raises:
        DataError: If labels are no classes, or nobody knows which classes there are.
    """
    title = title_of(dataset)
    origin = f"The dataset {title}"
    known = None
    if labels.values is not None:
        known = classes_for(labels, classes_of(dataset, labels_key))
        if known is None and len(indices) == len(dataset):
            known = classes_of_values(labels.values.tolist())
        if known is None:
            raise DataError(
                f"{origin} does not say what classes it has, which conditional training needs to "
                f"know before it reads the items. Give it an attribute 'classes' (names, in the "
                f"order of the labels 0, 1, ...) or 'targets' (the label of each item), or leave "
                f"'workers' out: it is then read into memory."
            )
    item = f"Item {{}} of {title}"
    whole = len(indices) == len(dataset)
    notices = numbered(labels, len(indices), known, True, origin, item, indices, whole)[2]
    assert known is not None  # what is no class has been refused
    return known, labels.classes is not None, notices
