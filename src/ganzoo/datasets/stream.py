"""Samples that are read while training, by worker processes or in the training's own."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ganzoo.datasets.array import as_samples
from ganzoo.datasets.items import classes_of, count_of, gather, is_sequential, title_of
from ganzoo.datasets.reader import Reader, Request, once, seed_all
from ganzoo.errors import ConfigError, DataError, listing

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganzoo.datasets.array import AnyArray, Layout, Range, SampleKind
    from ganzoo.datasets.base import Samples
    from ganzoo.mixture import Mixture
    from ganzoo.spec import SampleSpec

    Batches = Reader[tuple[Tensor, Tensor | None]]

__all__ = ["USAGE", "Form", "Stream"]

USAGE = "ganzoo.datasets.Given.of(data, {})"
"""How a caller gives an option, with ``{}`` for the option."""

_LOOKED_AT = 8  # items by which it is decided what all of them are


class Form(NamedTuple):
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
        stored_range: Lowest and highest value that a sample may hold; None where values are
            taken as they are.
        numbers: The class index of each label; None where labels are not read.
        layout: Where the channels of an item are, as ``as_samples`` has it.
        sample_kind: What one sample is, as ``as_samples`` has it.
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
    stored_range: Range | None
    numbers: Mapping[int | str, int] | None = None
    layout: Layout = "auto"
    sample_kind: SampleKind = "auto"
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
        stored_range: Range | None = None,
        check: Callable[[Form], object] | None = None,
    ) -> Stream:
        """Look at eight items, evenly spaced, and return the stream of all.

        Items are what ``Given.of`` takes, and are understood as ``as_samples`` understands the
        array of all, but what is not given follows from those eight. Classes are the dataset's
        attribute ``classes`` (names in the order of their labels 0, 1, ...), or else the sorted
        distinct values of its ``targets`` or ``labels``; a ``Subset`` has those of its whole.

        Args:
            dataset: Map-style torch Dataset.
            workers: If any, the items are looked at in a process of their own, so that files
                which the dataset opens there are not shared by those that read it later.
            labels: Whether to read labels.
            layout: Where the channels are.
            sample_kind: What one sample is.
            stored_range: Lowest and highest value that an item may hold.
            check: Called with the form of the items before their values count; it may raise.

        Raises:
            ConfigError: If the items come in their own order only, or the dataset cannot be sent
                to a process.
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
        looked_at = {round(i * (count - 1) / (_LOOKED_AT - 1)) for i in range(_LOOKED_AT)}
        look = functools.partial(_look, dataset, labels)
        found = once(look, Request(0, sorted(looked_at)), workers, title)
        form = Form(title, (count, *found.data.shape[1:]), found.data.dtype.name, found.classes)
        if check is not None:
            check(form)
        samples = _understood(found.data, f"The dataset {title}", layout, sample_kind, stored_range)
        return cls(
            dataset=dataset,
            spec=samples.spec.model_copy(update={"classes": found.classes}),
            item_shape=found.data.shape[1:],
            item_dtype=found.data.dtype,
            stored_range=samples.stored_range,
            numbers=found.numbers,
            layout=layout,
            sample_kind=sample_kind,
            title=title,
            assumed=stored_range is None,
        )

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def labeled(self) -> bool:
        """Whether labels are read."""
        return self.numbers is not None

    @property
    def form(self) -> Form:
        """What is known of the items without their content."""
        shape = (len(self), *self.item_shape)
        return Form(self.title, shape, self.item_dtype.name, self.spec.classes)

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
        array, labels = gather(self.dataset, request.indices, form)
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
        known = self.layout, self.sample_kind, self.stored_range
        return _understood(array, origin, *known, self.assumed).data

    def _number(self, index: int, label: Any) -> int:
        """The class of one item."""
        assert self.numbers is not None
        if label is None:
            raise DataError(
                f"Item {index} of {self.title} has no label but others have; label all or none."
            )
        number = self.numbers.get(label)
        if number is None:
            raise DataError(
                f"Item {index} of {self.title} has the label {label!r}, which is none of its "
                f"classes ({listing(map(str, self.numbers))}); correct its classes or targets."
            )
        return number


def _understood(
    array: AnyArray,
    origin: str,
    layout: Layout,
    kind: SampleKind,
    stored_range: Range | None,
    assumed: bool = False,
) -> Samples:
    """Items as samples; where they are not within the range, what can be done about it."""
    import numpy as np

    try:
        return as_samples(
            array, layout=layout, kind=kind, stored_range=stored_range, origin=origin, usage=USAGE
        )
    except DataError as error:
        if stored_range is None or not np.isfinite(array).all():
            raise
        guessed = f" It was taken from {_LOOKED_AT} items." if assumed else ""
        raise DataError(
            f"{error}{guessed} A run keeps its range: start a new one with "
            f"{USAGE.format('stored_range=(low, high)')}."
        ) from None


class _Found(NamedTuple):
    """What a look at some items tells: those items, the class of each label, names of classes."""

    data: AnyArray
    numbers: dict[int | str, int] | None
    classes: tuple[str, ...] | None


def _look(dataset: Any, labels: bool, request: Request) -> _Found:
    seed_all(request.seed)
    data, found = gather(dataset, request.indices)
    if not labels or all(label is None for label in found):
        return _Found(data, None, None)
    return _Found(data, *classes_of(dataset))
