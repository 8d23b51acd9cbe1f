"""Samples that are read while training, by worker processes or in the training's own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import random
import signal
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from ganzoo.datasets.array import as_number_array, as_samples, pick_keys
from ganzoo.errors import ConfigError, DataError, GanzooError, listing

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganzoo.datasets.array import AnyArray, Layout, Range, SampleKind
    from ganzoo.mixture import Mixture
    from ganzoo.spec import SampleSpec

__all__ = ["Form", "Reader", "Request", "Stream", "is_sequential", "read_item", "title_of"]

T = TypeVar("T")

_LOOKED_AT = 8  # items by which it is decided what all of them are
_KEPT_MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L")
_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")  # which are for the training, not for its workers
_HARMLESS = (
    "This process .* is multi-threaded, use of fork",  # workers compute with one thread
    "This DataLoader will create",  # how many, is the caller's choice
    "Got pickle error when attempting",  # which becomes an error of our own
)


class Request(NamedTuple):
    """One batch to be read.

    Attributes:
        seed: What random transforms of its items draw from, in [0, 2**63).
        indices: Numbers of its items.
    """

    seed: int
    indices: Sequence[int]


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
        usage: How the caller gives an option, with ``{}`` for the option.
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
    usage: str = "{}"
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
        usage: str = "ganzoo.datasets.Given.of(data, {})",
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
            usage: How the caller gives an option, with ``{}`` for the option.
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
        if not hasattr(dataset, "__len__"):
            raise DataError(f"The dataset {title} has no length; give it a __len__.")
        count = len(dataset)
        if not count:
            raise DataError(f"The dataset {title} is empty; give at least one sample.")
        looked_at = {round(i * (count - 1) / (_LOOKED_AT - 1)) for i in range(_LOOKED_AT)}
        look = functools.partial(_look, dataset, title, labels)
        found = _once(look, Request(0, sorted(looked_at)), workers, title)
        form = Form(title, (count, *found.data.shape[1:]), found.data.dtype.name, found.classes)
        if check is not None:
            check(form)
        samples = as_samples(
            found.data,
            layout=layout,
            kind=sample_kind,
            stored_range=stored_range,
            origin=f"The dataset {title}",
            usage=usage,
        )
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
            usage=usage,
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

        _seed(request.seed)
        array, labels = _gather(
            self.dataset, request.indices, self.title, (self.item_shape, self.item_dtype)
        )
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
        return _once(self.read, request, workers, self.title)

    def batches(self, requests: Iterator[Request], workers: int, pin: bool = False) -> _Batches:
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
        try:
            return as_samples(
                array,
                layout=self.layout,
                kind=self.sample_kind,
                stored_range=self.stored_range,
                origin=origin,
                usage=self.usage,
            ).data
        except DataError as error:
            import numpy as np

            if not self.assumed or self.stored_range is None or not np.isfinite(array).all():
                raise
            raise DataError(
                f"{error} It was taken from {_LOOKED_AT} items; give it with "
                f"{self.usage.format('stored_range=(low, high)')}."
            ) from None

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


# -- datasets and their items -----------------------------------------------------------------


def title_of(dataset: Any) -> str:
    """Return what errors call a dataset."""
    return type(dataset).__name__


def is_sequential(dataset: Any) -> bool:
    """Whether a torch Dataset can only be iterated over."""
    from torch.utils.data import IterableDataset

    return isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")


def read_item(item: Any, index: int, title: str) -> tuple[AnyArray, int | str | None]:
    """Return the sample of an item of a torch Dataset, and its label or None.

    Args:
        item: A tensor, an array or a Pillow image; a pair of that and a label; or a dict with
            such keys as ``image`` and ``label``.
        index: Which item it is, for messages.
        title: What messages call the dataset.

    Returns:
        Array of numbers, and an integer, a string or None. Pillow images are (C, H, W): uint8, or
        uint16, int32 or float32 for their deep modes.

    Raises:
        DataError: If it is something else.
    """
    origin = f"Item {index} of {title}"
    label: Any = None
    if isinstance(item, Mapping):
        key, labels_key = pick_keys(list(item), origin)
        item, label = item[key], item[labels_key] if labels_key else None
    elif isinstance(item, (tuple, list)) and len(item) in (1, 2):
        item, label = item[0], item[1] if len(item) == 2 else None

    if hasattr(item, "getbands"):
        array = _from_pillow(item)
    elif hasattr(item, "shape") and hasattr(item, "dtype"):
        array = as_number_array(item, origin)
    else:
        raise DataError(
            f"{origin} is {_article(type(item).__name__)}; an item is a tensor, an array or a "
            f"Pillow image, a pair of that and a label, or a dict with image and label."
        )
    if label is None or isinstance(label, (int, str)):
        return array, label
    if hasattr(label, "shape") and (scalar := _scalar(label)) is not None:
        return array, scalar
    raise DataError(
        f"{origin} has a label that is {_article(type(label).__name__)}; give one integer or "
        f"string per sample, or no labels."
    )


def _scalar(label: Any) -> int | str | None:
    """A label out of an array or tensor with one integer or string, or None."""
    import numpy as np

    value = np.asarray(label.detach().cpu() if hasattr(label, "detach") else label)
    found: int | str | None = None
    if value.size == 1 and value.dtype.kind in "biuU":
        found = value.item()
    return found


def _from_pillow(image: Any) -> AnyArray:
    """A Pillow image as (C, H, W): uint8, or uint16, int32 or float32 for its deep modes."""
    import numpy as np

    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode not in _KEPT_MODES:
        image = image.convert("RGB")
    array = np.array(image)
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _gather(
    dataset: Any,
    indices: Iterable[int],
    title: str,
    like: tuple[tuple[int, ...], np.dtype[Any]] | None = None,
) -> tuple[AnyArray, list[int | str | None]]:
    """Items in one array, all of the shape and type of the first, and their labels."""
    import numpy as np

    arrays: list[AnyArray] = []
    labels = []
    for index in indices:
        try:
            item = dataset[index]
        except Exception as error:
            raise DataError(
                f"Item {index} of {title} cannot be read ({_told(error)}); mend it or leave it out."
            ) from error
        array, label = read_item(item, index, title)
        like = like or (array.shape, array.dtype)
        if (array.shape, array.dtype) != like:
            raise DataError(
                f"Item {index} of {title} has shape {array.shape} {array.dtype} but item 0 has "
                f"{like[0]} {like[1]}; bring all items to one shape (resize or crop them)."
            )
        # A copy: an item may be a view of something larger, or of a buffer that is used again.
        arrays.append(np.array(array))
        labels.append(label)
    return np.stack(arrays), labels


class _Found(NamedTuple):
    """What a look at some items tells: those items, the class of each label, names of classes."""

    data: AnyArray
    numbers: dict[int | str, int] | None
    classes: tuple[str, ...] | None


def _look(dataset: Any, title: str, labels: bool, request: Request) -> _Found:
    _seed(request.seed)
    data, found = _gather(dataset, request.indices, title)
    if not labels or all(label is None for label in found):
        return _Found(data, None, None)
    return _Found(data, *_classes(dataset, title))


def _classes(dataset: Any, title: str) -> tuple[dict[int | str, int], tuple[str, ...]]:
    """The class of each label, and the names of classes."""
    import numpy as np
    from torch.utils.data import Subset, TensorDataset

    from ganzoo.datasets.array import as_label_array

    whole = dataset
    while isinstance(whole, Subset):
        whole = whole.dataset
    names = getattr(whole, "classes", None)
    if isinstance(names, (list, tuple)) and names and all(isinstance(one, str) for one in names):
        numbers: dict[int | str, int] = {number: number for number in range(len(names))}
        return {**numbers, **{name: number for number, name in enumerate(names)}}, tuple(names)
    targets = getattr(whole, "targets", getattr(whole, "labels", None))
    if isinstance(whole, TensorDataset) and len(whole.tensors) == 2:
        targets = whole.tensors[1]
    if targets is None:
        raise DataError(
            f"The dataset {title} does not say what classes it has, which conditional training "
            f"needs to know before it reads the items. Give it an attribute 'classes' (names, in "
            f"the order of the labels 0, 1, ...) or 'targets' (the label of each item), or leave "
            f"'workers' out: it is then read into memory."
        )
    values = np.unique(as_label_array(targets, f"The dataset {title}")).tolist()
    return {value: number for number, value in enumerate(values)}, tuple(map(str, values))


# -- reading ----------------------------------------------------------------------------------


class Reader(Generic[T]):
    """Answers requests in their order, in worker processes ahead of time, or in this process.

    Answers are the same either way: this process computes with one thread while it reads, as
    workers do, and gets its global random numbers back. Workers heed no SIGINT, SIGTERM or
    SIGUSR1, and end with ``close``, when the reader is not used any more, and when this process
    ends, in whatever way.

    Args:
        answer: What answers a request; it is sent to workers.
        requests: Read in this process; it may be endless.
        workers: How many processes, or 0 for none.
        title: What errors call the dataset.
        pin: Whether tensors shall be in page-locked memory; with workers only.

    Raises:
        ConfigError: If the dataset cannot be sent to processes, or they cannot be started.
    """

    def __init__(
        self,
        answer: Callable[[Request], T],
        requests: Iterator[Request],
        workers: int,
        title: str,
        pin: bool = False,
    ) -> None:
        import torch

        # Setting it, to whatever, changes how some libraries divide work; so it is always set.
        torch.set_num_threads(torch.get_num_threads())
        self._answer = answer
        self._requests = requests
        self._title = title
        self._iterator: Any = None
        self._processes: list[Any] = []
        if workers:
            self._iterator = _start(_Job(answer), requests, workers, title, pin)
            self._processes = list(self._iterator._workers)
            self._end = weakref.finalize(self, _stop, self._iterator, self._processes)
            # Before multiprocessing's own, which would wait for workers that heed no SIGTERM.
            atexit.register(self._end)

    def next(self) -> T:
        """Return the answer to the next request.

        Raises:
            DataError: If it cannot be read, or a worker was killed.
            StopIteration: If there are no more requests.
        """
        if self._iterator is None:
            request = next(self._requests)
            with _aside():
                return self._answer(request)
        try:
            found = next(self._iterator)
        except StopIteration:
            raise
        except Exception as error:
            raise self._broken(error) from error
        if isinstance(found, _Failure):
            failure = found.error(found.text)
            failure.add_note(f"In a worker process:\n{found.trace}")
            raise failure
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the workers."""
        if self._iterator is not None:
            self._iterator = None
            atexit.unregister(self._end)
            self._end()

    def _broken(self, error: Exception) -> DataError:
        """What to say if there is no answer at all."""
        codes = [one.exitcode for one in self._processes if one.exitcode]
        advice = "workers=0 reads in the training's own process."
        if not codes:
            return DataError(f"{self._title} cannot be read by workers ({_told(error)}); {advice}")
        if codes[0] < 0:
            with contextlib.suppress(ValueError):
                return DataError(
                    f"A process that reads {self._title} was killed "
                    f"({signal.Signals(-codes[0]).name}), as happens when memory or shared memory "
                    f"(/dev/shm) runs out. Use fewer workers; {advice}"
                )
        return DataError(
            f"A process that reads {self._title} ended with exit code {codes[0]}; what it printed "
            f"says why. Where processes are not forked, a script needs if __name__ == "
            f"'__main__': around what trains, and the dataset's class must be in a module that "
            f"can be imported; {advice}"
        )


_Batches = Reader[tuple["Tensor", "Tensor | None"]]


def _once(answer: Callable[[Request], T], request: Request, workers: int, title: str) -> T:
    """The answer to one request."""
    reader = Reader(answer, iter((request,)), min(workers, 1), title)
    try:
        return reader.next()
    finally:
        reader.close()


@dataclass(frozen=True)
class _Failure:
    """An error of ours on its way out of a worker."""

    error: type[GanzooError]
    text: str
    trace: str


@dataclass(frozen=True, eq=False)
class _Job:
    """What a worker does, as torch has it: the item of a request is its answer."""

    answer: Callable[[Request], Any]

    def __getitem__(self, request: Request) -> Any:
        try:
            return self.answer(request)
        except GanzooError as error:
            return _Failure(type(error), str(error), traceback.format_exc())


@dataclass(frozen=True, eq=False)
class _Order:
    """Requests as torch's sampler."""

    requests: Iterator[Request] = field(repr=False)

    def __iter__(self) -> Iterator[Request]:
        return self.requests


def _start(job: _Job, requests: Iterator[Request], workers: int, title: str, pin: bool) -> Any:
    """Start workers and have them read ahead; the iterator over answers."""
    import pickle

    import torch
    from torch.utils.data import DataLoader

    with _undisturbed():
        try:
            iterator: Any = iter(
                DataLoader(
                    job,  # type: ignore[arg-type]
                    batch_size=None,
                    sampler=_Order(requests),
                    num_workers=workers,
                    collate_fn=_as_it_is,
                    pin_memory=pin,
                    worker_init_fn=_settle,
                    generator=torch.Generator(),  # else it draws from the global one
                )
            )
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise ConfigError(
                f"The dataset {title} cannot be sent to worker processes ({_told(error)}). Define "
                f"its class and transforms at the top of a module, without lambdas and open files; "
                f"or use workers=0, which reads in the training's own process."
            ) from None
        except (AssertionError, OSError, RuntimeError) as error:
            raise ConfigError(
                f"{workers} worker processes cannot be started ({_told(error)}). Use fewer, or "
                f"workers=0, which reads in the training's own process."
            ) from None
        # A worker that is killed is noticed when its batch is due. Torch would also raise an
        # error from a signal handler, wherever the main thread happens to be.
        torch._C._remove_worker_pids(id(iterator))
        iterator._worker_pids_set = False
    return iterator


def _stop(iterator: Any, processes: list[Any]) -> None:
    """End workers: those in the midst of a batch may finish it, for some seconds."""
    iterator._shutdown_workers()
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Start processes: without signals until they ignore them, and without torch's warnings."""
    import multiprocessing

    ours = {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}
    # A fork server would hand the mask on to every process that it ever starts.
    masked = hasattr(signal, "pthread_sigmask") and (
        multiprocessing.get_start_method() != "forkserver"
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ours) if masked else set()
    try:
        with warnings.catch_warnings():
            for message in _HARMLESS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle(worker: int) -> None:
    """Begin as a worker: what interrupts the training is not for this process."""
    ours = {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}
    for one in ours:
        signal.signal(one, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Read in this process: as a worker would, and without a trace."""
    import numpy as np
    import torch

    threads = torch.get_num_threads()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _seed(seed: int) -> None:
    """Seed what a random transform may draw from, on the CPU."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too


def _as_it_is(value: T) -> T:
    return value


def _told(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
