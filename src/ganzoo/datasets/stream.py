"""Samples that are read while training, by worker processes or in the training's own."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.classes import (
    Classes,
    Labels,
    choose_classes,
    class_indices,
    classes_of,
    classes_of_values,
    labels_of_items,
)
from ganzoo.datasets.conversion import (
    as_tensor,
    check_shape,
    converted,
    examined,
    extent_of,
    reshaped,
    scales_of,
)
from ganzoo.datasets.items import count_of, is_sequential, left_out, read_items, title_of
from ganzoo.datasets.keys import columns_of
from ganzoo.datasets.ranges import Range, understand_range
from ganzoo.datasets.reader import Reader, Request, once, seed_all
from ganzoo.datasets.reading import (
    MOST_LOOKED_AT,
    DataStats,
    Layout,
    SampleKind,
    Understood,
    check_precision,
    examined_notice,
    understand,
)
from ganzoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganzoo.datasets.conversion import AnyArray
    from ganzoo.datasets.mixture import Mixture

__all__ = ["USAGE", "DatasetSchema", "Stream"]

USAGE = "ganzoo.datasets.InMemoryDataset.of(data, {})"
"""How a caller gives an option, with ``{}`` for the option."""

_EXCERPT = 2**22  # values of the examined items that are retained to check their precision


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

    ``Stream.of`` makes one. It takes the place of ``Samples`` for data that are not read
    beforehand. Python's, numpy's and torch's global random numbers are seeded for each batch, so
    that a batch is the same whichever process reads it; other sources of random numbers are not.

    Attributes:
        dataset: Map-style: it has ``__getitem__`` and ``__len__``.
        spec: What one sample is, at its original size.
        schema: What is known of the items without their content.
        item_dtype: Type of an item's numbers.
        understood: How items are taken.
        classes: The classes of the labels; None where labels are not read.
        key: Under which name an item that is a dict has the sample.
        labels_key: Under which name it has the label.
        reshape_to: Shape that each item is brought to before it is understood, if another.
        assumed: Whether ``stored_range`` was inferred from a few items.
        flip: Whether an image is mirrored left to right, half of the times that it is drawn.
        mixture: The distribution that the samples come from, where it is known.
        notices: What a person should know about these data, a line each.
    """

    dataset: Any
    spec: SampleSpec
    schema: DatasetSchema
    item_dtype: np.dtype[Any]
    understood: Understood
    classes: Classes | None = None
    key: str | None = None
    labels_key: str | None = None
    reshape_to: tuple[int, ...] | None = None
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
        """Examine up to 256 items, evenly spaced, and return the stream of all.

        What the caller does not say follows from the examined items; a notice says so where there
        are more. With ``workers``, a process of its own examines them, so that files that the
        dataset opens there are no shared by those that read it later.

        Args:
            dataset: Map-style torch Dataset, of items that ``InMemoryDataset.of`` takes.
            workers: How many processes will read.
            labels: Whether to read labels.
            layout: As an option of the dataset ``array``; so are the next five.
            sample_kind: What one sample is.
            item_shape: Shape of one sample.
            stored_range: Lowest and highest value that an item may hold.
            key: Name of the sample in a dict.
            labels_key: Name of the label in a dict.
            check: Called with the schema before values are judged; it may raise.

        Raises:
            ConfigError: If the dataset cannot be resumed in the middle, or cannot be sent to a
                process; if an option does not apply.
            DataError: If items cannot be read or taken as samples, or their classes are unknown.
        """
        title = title_of(dataset)
        indices = _spread(dataset)
        key, labels_key = columns_of(dataset, key, labels_key)
        look = functools.partial(_examine, dataset, key, labels_key, item_shape)
        found = once(look, Request(0, indices), workers, title)
        classes, notices = _classes(dataset, found.labels, labels_key, indices, labels)
        names = None if classes is None else classes.names
        schema = DatasetSchema(title, (len(dataset), *found.shape), found.dtype.name, names)
        if check is not None:
            check(schema)
        origin = f"The dataset {title}"
        check_precision(found.excerpt, origin)
        with _range_advice(stored_range):
            understood = understand(
                found.stats,
                kind=sample_kind,
                layout=layout,
                stored_range=stored_range,
                origin=origin,
                usage=USAGE,
            )
        return cls(
            dataset=dataset,
            spec=SampleSpec(
                kind=understood.axes.kind,
                shape=converted(found.excerpt[:1], understood).shape[1:],
                value_range=None if understood.values.bounds is None else (-1.0, 1.0),
                classes=names,
            ),
            schema=schema,
            item_dtype=found.dtype,
            understood=understood,
            classes=classes,
            key=key,
            labels_key=labels_key,
            reshape_to=None if item_shape is None else tuple(item_shape),
            assumed=stored_range is None,
            notices=(
                *understood.notices,
                *notices,
                *left_out(found.more),
                *examined_notice(len(indices), len(dataset)),
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
        return self.classes is not None

    def with_spec(self, spec: SampleSpec) -> Stream:
        """Return the same samples under another spec; without classes, labels are not read."""
        return replace(self, spec=spec, classes=self.classes if spec.classes else None)

    def read(self, request: Request) -> tuple[Tensor, Tensor | None]:
        """Read one batch in this process, and seed its global random numbers for that.

        Returns:
            Samples (N, *spec.shape), uint8 or float32, and labels (N,) int64 or None.

        Raises:
            DataError: If an item cannot be read, or differs from the others in shape or type.
        """
        import numpy as np

        seed_all(request.seed)
        title, (_, *shape) = self.schema.title, self.schema.shape
        like = tuple(shape), self.item_dtype
        items = [*read_items(self.dataset, request.indices, like, self.key, self.labels_key)]
        array = np.stack([item.data for item in items])
        numbers = None
        if self.labeled:
            numbers = self._class_indices([item.label for item in items], request.indices)
        try:
            return self._samples(array, f"A batch of {title}"), numbers
        except DataError:
            for index, one in zip(request.indices, array, strict=True):  # which one is it?
                self._samples(one[None], f"Item {index} of {title}")
            raise

    def fetch(self, request: Request, workers: int = 0) -> tuple[Tensor, Tensor | None]:
        """Read one batch apart from others: in its own process if there are ``workers``.

        Raises:
            ConfigError: If the dataset cannot be sent to a process.
            DataError: As ``read``.
        """
        return once(self.read, request, workers, self.schema.title)

    def batches(
        self, requests: Iterator[Request], workers: int, pin: bool = False
    ) -> Reader[tuple[Tensor, Tensor | None]]:
        """Return what reads a batch for each request, ahead of time where there are workers.

        Args:
            requests: What to read; it may be endless.
            workers: Processes that read; without any, each batch is read when it is asked for.
            pin: Whether batches are put into page-locked memory, from which a GPU copies faster.

        Raises:
            ConfigError: If the dataset cannot be sent to processes.
        """
        return Reader(self.read, requests, workers, self.schema.title, pin)

    def _samples(self, array: AnyArray, origin: str) -> Tensor:
        array = reshaped(array, self.reshape_to, origin)
        if (array.dtype.name, self.stored_range) != ("uint8", (0, 255)):
            low, high = extent_of(array, origin)
            kind = self.understood.axes.kind
            with _range_advice(self.stored_range, len(self) if self.assumed else 0):
                understand_range(array.dtype, low, high, kind, self.stored_range, origin, USAGE)
        return as_tensor(converted(array, self.understood))

    def _class_indices(self, labels: list[Any], indices: Sequence[int]) -> Tensor:
        title = self.schema.title
        found = labels_of_items(labels, title, indices)
        if found is None:
            raise DataError(f"Item {indices[0]} of {title} has no label but others have.")
        origin, item = f"The dataset {title}", f"Item {{}} of {title}"
        numbers, _, _ = class_indices(
            found, len(indices), self.classes, True, origin, item, indices, whole=False
        )
        assert numbers is not None  # labels that are not classes have been refused
        return numbers


@contextlib.contextmanager
def _range_advice(stored_range: Range | None, count: int = 0) -> Iterator[None]:
    """Add to an error about values outside the range in force what can be done about it.

    ``count`` is that of all items, where the range was inferred from some of them.
    """
    try:
        yield
    except DataError as error:
        if stored_range is None or "outside its stored_range" not in str(error):
            raise
        inferred = f" It was inferred from {min(count, MOST_LOOKED_AT)} items." if count else ""
        raise DataError(
            f"{error}{inferred} A run keeps its range: start a new one with "
            f"{USAGE.format('stored_range=(low, high)')}."
        ) from None


# -- examining items --------------------------------------------------------------------------


def _spread(dataset: Any) -> list[int]:
    """Return which items to examine."""
    if is_sequential(dataset):
        raise ConfigError(
            f"The dataset {title_of(dataset)} gives its items in its own order only "
            f"(IterableDataset), so a training that reads it with 'workers' could not be resumed "
            f"in the middle. Give a dataset with __getitem__ and __len__, or leave 'workers' out: "
            f"it is then read into memory."
        )
    count = count_of(dataset)
    most = min(count, MOST_LOOKED_AT)
    return sorted({round(i * (count - 1) / max(1, most - 1)) for i in range(most)})


class _Examined(NamedTuple):
    """What some items show: shape, type and extent, some of their values, and their labels."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stats: DataStats
    excerpt: AnyArray
    labels: Labels | None
    more: int


def _examine(
    dataset: Any,
    key: str | None,
    labels_key: str | None,
    item_shape: tuple[int, ...] | None,
    request: Request,
) -> _Examined:
    """Look at items one by one, for they may be large."""
    import numpy as np

    seed_all(request.seed)
    title = title_of(dataset)
    excerpt: list[AnyArray] = []
    labels: list[Any] = []
    low, high, more = math.inf, -math.inf, 0
    shape, dtype = (), None
    items = read_items(dataset, request.indices, None, key, labels_key)
    for index, item in zip(request.indices, items, strict=True):
        labels.append(item.label)
        more = max(more, item.more)
        shape, dtype = item.data.shape, item.data.dtype
        check_shape(item.data[None], f"The dataset {title}")
        array = reshaped(item.data[None], item_shape, f"The dataset {title}")
        lowest, highest = extent_of(array, f"Item {index} of {title}")
        low, high = min(low, lowest), max(high, highest)
        most = examined(array.size) if array.ndim == 2 else _EXCERPT // array.size + 1
        if len(excerpt) < most:
            excerpt.append(array)
    assert dtype is not None
    some = np.concatenate(excerpt)
    stats = DataStats(some.shape[1:], dtype, low, high, scales_of(some), len(dataset))
    return _Examined(
        shape, dtype, stats, some, labels_of_items(labels, title, request.indices), more
    )


def _classes(
    dataset: Any,
    labels: Labels | None,
    labels_key: str | None,
    indices: Sequence[int],
    wanted: bool,
) -> tuple[Classes | None, tuple[str, ...]]:
    """The classes of a dataset if they are wanted, and notices; ``labels`` are those examined."""
    title, whole = title_of(dataset), len(indices) == len(dataset)
    origin = f"The dataset {title}"
    if labels is None:
        return None, ()
    if not wanted:
        return None, class_indices(labels, len(indices), None, False, origin)[2]
    known = None
    if labels.values is not None:
        known = choose_classes(labels, classes_of(dataset, labels_key))
        if known is None and whole:
            known = classes_of_values(labels.values.tolist())
        if known is None:
            raise DataError(
                f"{origin} does not say what classes it has, which conditional training needs to "
                f"know before it reads the items. Give it an attribute 'classes' (names, in the "
                f"order of the labels 0, 1, ...) or 'targets' (the label of each item), or leave "
                f"'workers' out: it is then read into memory."
            )
    item = f"Item {{}} of {title}"
    notices = class_indices(labels, len(indices), known, True, origin, item, indices, whole)[2]
    return known, notices
