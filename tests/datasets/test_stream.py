from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets import stream
from ganzoo.datasets.reader import Reader, Request
from ganzoo.datasets.stream import Stream
from ganzoo.errors import ConfigError, DataError

PIXELS = torch.arange(9 * 3 * 6 * 8).remainder(251).to(torch.uint8).reshape(9, 3, 6, 8)

# Elsewhere, what a test defines cannot be sent to a process.
forked = pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="processes are not forked here"
)
HERE_OR_THERE = [0, pytest.param(1, marks=forked)]


class Pixels(Dataset):
    """Pictures with labels; what they do when an item is read is up to subclasses."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> object:
        if index in self.bad:
            raise OSError("broken\nfile")
        return PIXELS[index], index % 3


class Noisy(Pixels):
    """Draws from all the sources that a transform may draw from."""

    def __getitem__(self, index: int) -> object:
        drawn = (index, random.random(), np.random.rand(), torch.rand(()).item())
        return torch.tensor(drawn, dtype=torch.float64)


class Pids(Pixels):
    """Items tell in which process they are read."""

    def __getitem__(self, index: int) -> object:
        return np.full((2, 2), os.getpid(), dtype=np.float32)


def requests(*batches: list[int]):
    return iter([Request(number, indices) for number, indices in enumerate(batches)])


def endless():
    return (Request(number, [number % 9, (number + 1) % 9]) for number in itertools.count())


def batches(source: Stream, workers: int, *wanted: list[int]):
    reader = source.batches(requests(*wanted), workers)
    try:
        return [reader.next() for _ in wanted]
    finally:
        reader.close()


# -- what is read -----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [*HERE_OR_THERE, pytest.param(2, marks=forked)])
def test_batches_are_what_was_asked_for(workers) -> None:
    source = Stream.of(Pixels(), workers=workers, labels=False)
    assert source.spec == SampleSpec(shape=(3, 6, 8)) and source.stored_range == (0.0, 255.0)
    assert len(source) == 9 and not source.labeled and source.schema.shape == (9, 3, 6, 8)
    wanted = [[1, 2], [8, 0], [3, 3], [5, 4], [7, 6]]
    for (data, labels), indices in zip(batches(source, workers, *wanted), wanted, strict=True):
        assert torch.equal(data, PIXELS[indices]) and data.dtype == torch.uint8
        assert labels is None


@forked
def test_random_transforms_depend_on_the_seed_of_the_batch_alone() -> None:
    source = Stream.of(Noisy())
    wanted = [[0, 1], [2, 3], [0, 1], [4, 5]]
    expected = [data for data, _ in batches(source, 0, *wanted)]
    for workers in (1, 2):
        found = [data for data, _ in batches(source, workers, *wanted)]
        assert all(map(torch.equal, found, expected))
    assert torch.equal(source.fetch(Request(3, [4, 5]), 1)[0], expected[3])
    columns = torch.cat(expected)[:, 1:]
    assert len(columns.unique()) == columns.numel()  # neither items nor batches share numbers


@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_the_processes_own_random_numbers_and_threads_stay(workers) -> None:
    def drawn() -> tuple:
        return random.getstate(), np.random.get_state()[1:], torch.get_rng_state().tolist()

    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    before, threads = repr(drawn()), torch.get_num_threads()
    batches(Stream.of(Noisy(), workers=workers), workers, [0], [1])
    assert repr(drawn()) == before
    assert torch.get_num_threads() == threads


@forked
def test_items_are_read_with_one_thread_everywhere() -> None:
    class Threads(Pixels):
        def __getitem__(self, index: int) -> object:
            return torch.full((2,), float(torch.get_num_threads()))

    torch.set_num_threads(before := max(2, torch.get_num_threads()))
    source = Stream.of(Threads())
    for workers in (0, 1):
        ((data, _),) = batches(source, workers, [0, 1])
        assert (data == 1).all()
    assert torch.get_num_threads() == before


@forked
def test_with_workers_this_process_reads_nothing() -> None:
    source = Stream.of(Pids(), workers=1, stored_range=(0, 2**31))
    ((data, _),) = batches(source, 1, [0])
    preview, _ = source.fetch(Request(0, [1]), workers=1)
    assert os.getpid() not in {int(data[0, 0, 0, 0]), int(preview[0, 0, 0, 0])}
    ((data, _),) = batches(source, 0, [0])
    assert int(data[0, 0, 0, 0]) == int(np.float32(os.getpid()))


@pytest.mark.parametrize(
    ("item", "spec", "stored", "expected"),
    [
        (PIXELS[0].permute(1, 2, 0), SampleSpec(shape=(3, 6, 8)), (0.0, 255.0), PIXELS[0]),
        (
            Image.fromarray(PIXELS[0, 0].numpy()),
            SampleSpec(shape=(1, 6, 8)),
            (0.0, 255.0),
            PIXELS[0, :1],
        ),
        (PIXELS[0] / 255, SampleSpec(shape=(3, 6, 8)), (0.0, 1.0), PIXELS[0] / 255),
        (
            PIXELS[0, 0].numpy().astype(np.uint16),
            SampleSpec(shape=(1, 6, 8)),
            (0.0, 65535.0),
            PIXELS[0, :1].float(),
        ),
        (
            torch.tensor([7.0, -3.0]),
            SampleSpec(kind="vector", shape=(2,), value_range=None),
            None,
            torch.tensor([7.0, -3.0]),
        ),
    ],
)
def test_items_are_understood_as_arrays_are(item, spec, stored, expected) -> None:
    source = Stream.of([item, item, item].copy(), labels=True)
    assert source.spec == spec and source.stored_range == stored
    (data, labels) = source.read(Request(0, [2, 0]))
    assert torch.equal(data, torch.stack([expected, expected])) and labels is None


def test_a_buffer_may_be_used_again() -> None:
    class Reusing(Pixels):
        buffer = torch.zeros(1, 2, 2, dtype=torch.uint8)

        def __getitem__(self, index: int) -> object:
            return self.buffer.fill_(index)

    data, _ = Stream.of(Reusing()).read(Request(0, [3, 5]))
    assert data[:, 0, 0, 0].tolist() == [3, 5]


# -- labels -----------------------------------------------------------------------------------


class Named(Pixels):
    classes = ("ant", "bee", "cat")


class Worded(Named):
    def __getitem__(self, index: int) -> object:
        return PIXELS[index], self.classes[index % 3]


class Targeted(Pixels):
    targets = torch.arange(9) % 3 * 10

    def __getitem__(self, index: int) -> object:
        return {"image": PIXELS[index], "label": self.targets[index]}


@pytest.mark.parametrize(
    ("dataset", "classes"),
    [
        (Named(), ("ant", "bee", "cat")),
        (Worded(), ("ant", "bee", "cat")),
        (Targeted(), ("0", "10", "20")),
        (TensorDataset(PIXELS, torch.arange(9) % 3), ("0", "1", "2")),
        (Subset(Subset(Named(), range(9)), range(9)), ("ant", "bee", "cat")),
    ],
)
@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_labels(dataset, classes, workers) -> None:
    source = Stream.of(dataset, workers=workers, labels=True)
    assert source.labeled and source.spec.classes == classes
    ((_, labels),) = batches(source, workers, [4, 2, 0])
    assert labels.tolist() == [1, 2, 0] and labels.dtype == torch.int64
    plain = source.with_spec(source.spec.model_copy(update={"classes": None}))
    assert not plain.labeled and plain.read(Request(0, [4]))[1] is None


@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_classes_that_nobody_knows(workers, monkeypatch) -> None:
    assert Stream.of(Pixels(), workers=workers, labels=True).spec.classes == ("0", "1", "2")
    monkeypatch.setattr(stream, "MOST_LOOKED_AT", 8)
    with pytest.raises(DataError, match="Pixels does not say what classes it has.*'targets'"):
        Stream.of(Pixels(), workers=workers, labels=True)
    assert not Stream.of(Pixels(), workers=workers).labeled


def test_labels_that_are_none(monkeypatch) -> None:
    class Few(Named):
        classes = ("ant", "bee")

    class Some(Named):
        def __getitem__(self, index: int) -> object:
            return PIXELS[index], None if index == 4 else 0

    with pytest.raises(DataError, match="Item 2 of Few has the label 2, which is none of its"):
        Stream.of(Few(), labels=True)
    with pytest.raises(DataError, match="Item 4 of Some has no label but others have"):
        Stream.of(Some(), labels=True)
    monkeypatch.setattr(stream, "MOST_LOOKED_AT", 2)
    Few.__getitem__ = lambda self, index: (PIXELS[index], 2 if index == 5 else 0)
    with pytest.raises(DataError, match="Item 5 of Few has the label 2, which is none of its"):
        Stream.of(Few(), labels=True).read(Request(0, [0, 5]))
    with pytest.raises(DataError, match="Item 4 of Some has no label but others have"):
        Stream.of(Some(), labels=True).read(Request(0, [3, 4]))


# -- what is wrong ----------------------------------------------------------------------------


class Uneven(Pixels):
    def __getitem__(self, index: int) -> object:
        return PIXELS[index, :, 1:] if index == 2 else PIXELS[index]


class Bright(Pixels):
    def __getitem__(self, index: int) -> object:
        return torch.full((1, 2, 2), -1.0 if index == 2 else 0.5)


class Undefined(Pixels):
    def __getitem__(self, index: int) -> object:
        return torch.full((1, 2, 2), torch.nan if index == 2 else 0.5)


@pytest.mark.parametrize("workers", HERE_OR_THERE)
@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        (
            Pixels(2),
            r"^Item 2 of Pixels cannot be read \(OSError: broken file\); repair it or leave",
        ),
        (
            Uneven(),
            r"^Item 2 of Uneven has shape \(3, 5, 8\) uint8 but item 0 has \(3, 6, 8\) uint",
        ),
        (
            Bright(),
            r"^Item 2 of Bright holds values from -1 to -1, outside its stored_range \(0, 1\); .* "
            r"inferred from 8 items\. A run keeps its range: start a new one with "
            r"ganzoo.datasets.InMemoryDataset.of\(data, stored_range=\(low, high\)\)\.",
        ),
        (Undefined(), r"^Item 2 of Undefined has 4 NaN or infinite values among 4; remove"),
    ],
)
def test_an_item_that_is_wrong_is_named(workers, dataset, text, monkeypatch) -> None:
    monkeypatch.setattr(stream, "MOST_LOOKED_AT", 2)
    source = Stream.of(dataset, workers=workers)
    monkeypatch.setattr(stream, "MOST_LOOKED_AT", 8)
    reader = source.batches(requests([0, 1], [3, 2], [4, 5]), workers)
    assert len(reader.next()[0]) == 2
    with pytest.raises(DataError, match=text) as caught:
        reader.next()
    reader.close()
    assert "\n" not in str(caught.value)
    notes = "".join(getattr(caught.value, "__notes__", ()))
    assert ("Traceback" in notes) is (workers > 0)  # where it happened is not lost


@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_the_first_items_are_looked_at(workers) -> None:
    with pytest.raises(DataError, match="Item 0 of Pixels cannot be read"):
        Stream.of(Pixels(0), workers=workers)
    with pytest.raises(DataError, match="Item 0 of list is a str"):
        Stream.of(["a"], workers=workers)


def own_error() -> type[DataError]:
    class TwofoldError(DataError):
        def __init__(self, path: str, why: str) -> None:
            super().__init__(f"{path} is {why}")

    return TwofoldError


@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_a_datasets_own_class_of_error(workers) -> None:
    """It need not be one that can be sent to another process, or made out of a text."""

    class Refusing(Pixels):
        def __getitem__(self, index: int) -> object:
            raise own_error()("a.png", "gone")

    with pytest.raises(DataError, match=r"^a.png is gone(\n|$)"):
        Stream.of(Refusing(), workers=workers)


@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_an_error_that_cannot_be_told(workers) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    class Refusing(Pixels):
        def __getitem__(self, index: int) -> object:
            raise MuteError

    with pytest.raises(DataError, match=r"^Item 0 of Refusing cannot be read \(MuteError\)"):
        Stream.of(Refusing(), workers=workers)


@pytest.mark.parametrize("error", [RuntimeError("gone\naway"), TypeError("gone away")])
def test_a_length_that_fails(error) -> None:
    class Unsure(Pixels):
        def __len__(self) -> int:
            raise error

    kind = type(error).__name__
    with pytest.raises(DataError, match=rf"Unsure cannot tell its length \({kind}: gone away\);"):
        Stream.of(Unsure())


def sparse_error() -> str:
    try:
        torch.eye(2).to_sparse().numpy()
    except Exception as error:
        return type(error).__name__
    raise AssertionError


@pytest.mark.parametrize("workers", HERE_OR_THERE)
@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({0: PIXELS[0], 1: 3}, r"is a dict .* \(keys: 0, 1\); return a pair \(image, label\)\."),
        (
            {"left": PIXELS[0], "right": PIXELS[0]},
            r"is a dict .* \(keys: 'left', 'right'\); return a pair \(image, label\)\.",
        ),
        ({}, r"is a dict .* \(keys: none\); return a pair"),
        (
            torch.eye(2).to_sparse(),
            rf"cannot be read \({sparse_error()}: .*\); repair it or leave it",
        ),
        (
            torch.empty(2, 2, device="meta"),
            r"cannot be read \(\w+Error: .*\); repair it or leave it",
        ),
    ],
    ids=["numbered", "two", "none", "sparse", "meta"],
)
def test_items_that_are_odd(workers, item, text) -> None:
    with pytest.raises(DataError, match=rf"^Item 0 of list {text}") as caught:
        Stream.of([item], workers=workers)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


def test_what_cannot_be_streamed() -> None:
    class InOrder(IterableDataset):
        def __iter__(self):
            return iter(PIXELS)

    class Unsized(Dataset):
        def __getitem__(self, index: int) -> object:
            return PIXELS[0]

    with pytest.raises(ConfigError, match="InOrder gives its items in its own order only .* leave"):
        Stream.of(InOrder())
    with pytest.raises(DataError, match="Unsized has no length"):
        Stream.of(Unsized())
    with pytest.raises(DataError, match="list is empty"):
        Stream.of([])


# -- processes --------------------------------------------------------------------------------


@pytest.fixture(params=["spawn", "forkserver"])
def spawning(request):
    if request.param not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this platform")
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def test_processes_may_be_spawned(spawning) -> None:
    source = Stream.of(Noisy())
    expected = batches(source, 0, [0, 1], [2, 3])
    for (data, _), (again, _) in zip(batches(source, 1, [0, 1], [2, 3]), expected, strict=True):
        assert torch.equal(data, again)


def test_what_cannot_be_sent_to_a_process(spawning) -> None:
    dataset = Pixels()
    dataset.transform = lambda picture: picture
    with pytest.raises(ConfigError, match="Pixels cannot be read by worker .*; or use workers=0"):
        Stream.of(dataset, workers=2)


@forked
def test_processes_that_cannot_be_started(monkeypatch) -> None:
    def start(self) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", start)
    monkeypatch.setattr(multiprocessing.Process, "start", start)
    with pytest.raises(ConfigError, match=r"cannot be read by worker processes \(BlockingIOError"):
        Stream.of(Pixels(), workers=1)


def alive(*pids: int) -> bool:
    """Whether any of these processes runs; what only waits to be collected does not."""
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return True
    return False


def reading(dataset: object, workers: int = 2) -> tuple[Reader, list[int]]:
    """A reader that has begun, and its processes."""
    reader = Stream.of(dataset).batches(endless(), workers)
    reader.next()
    return reader, [process.pid for process in reader.processes]


linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or multiprocessing.get_start_method() != "fork",
    reason="looks into /proc",
)


@linux
def test_workers_end_when_they_are_closed_or_forgotten() -> None:
    reader, pids = reading(Pixels())
    assert alive(*pids) and len(pids) == 2
    reader.close()
    reader.close()
    assert not alive(*pids) and [process.exitcode for process in reader.processes] == [0, 0]
    reader, pids = reading(Pixels())
    del reader
    assert not alive(*pids)


@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_a_reader_that_is_closed_reads_nothing(workers) -> None:
    reader = Stream.of(Pixels()).batches(endless(), workers)
    reader.next()
    reader.close()
    with pytest.raises(RuntimeError, match="is closed"):
        reader.next()


class Stuck(Pixels):
    """All but the first item take for ever."""

    def __getitem__(self, index: int) -> object:
        if index:
            time.sleep(1000)
        return PIXELS[index]


@linux
def test_workers_in_the_midst_of_long_items_are_killed(monkeypatch) -> None:
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(stream, "MOST_LOOKED_AT", 2)
    monkeypatch.setattr(Pixels, "__len__", lambda self: 1)
    reader = Stream.of(Stuck()).batches(requests([0], [1], [2], [3]), 2)
    reader.next()
    pids = [process.pid for process in reader.processes]
    assert alive(*pids)
    reader.close()
    assert not alive(*pids)


@linux
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torch's iterator
@pytest.mark.parametrize(
    ("error", "raised"), [(OSError(11, "none left"), ConfigError), (KeyboardInterrupt(),) * 2]
)
def test_half_of_the_workers_do_not_outlive_the_start(error, raised, monkeypatch) -> None:
    begun = []
    start = multiprocessing.context.ForkProcess.start

    def failing(self) -> None:
        if begun:
            raise error
        start(self)
        begun.append(self.pid)

    source = Stream.of(Pixels())
    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", failing)
    with pytest.raises(raised if isinstance(raised, type) else KeyboardInterrupt):
        source.batches(endless(), 2)
    assert len(begun) == 1 and not alive(*begun)
    assert not {process.pid for process in multiprocessing.active_children()} & set(begun)


@forked
@pytest.mark.skipif(os.name != "posix", reason="has no such signals")
def test_programs_that_a_dataset_starts_heed_signals() -> None:
    class Starting(Pixels):
        def __getitem__(self, index: int) -> object:
            done = subprocess.run(["sh", "-c", "kill -TERM $$"], check=False)
            return torch.full((2,), float(done.returncode))

    ((data, _),) = batches(Stream.of(Starting()), 1, [0])
    assert data.tolist() == [[-signal.SIGTERM] * 2]


@forked
def test_what_interrupts_the_training_does_not_reach_workers() -> None:
    reader, pids = reading(Pixels())
    for number, pid in itertools.product((signal.SIGINT, signal.SIGTERM, signal.SIGUSR1), pids):
        os.kill(pid, number)
    for _ in range(20):
        reader.next()
    reader.close()


@forked
def test_a_worker_that_dies() -> None:
    reader, pids = reading(Pixels())
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(DataError, match="^Pixels cannot be read by workers .*; workers=0 reads"):
        for _ in range(20):
            reader.next()
    reader.close()
    assert not alive(*pids)


def no_room() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))


def no_more_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0) + 20,) * 2)
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)


@linux
@pytest.mark.parametrize("use_up", [no_room, no_more_files])
def test_what_cannot_be_handed_over_is_not_lost(use_up) -> None:
    class Greedy(Pixels):
        def __getitem__(self, index: int) -> object:
            if index == 5:
                use_up()
            return PIXELS[index]

    source = Stream.of(Greedy(), workers=1)
    reader = source.batches(requests([0], [1], [5], [2]), 1)
    with pytest.raises(DataError, match="^Greedy cannot be read by workers .*/dev/shm"):
        for _ in range(3):
            reader.next()
    reader.close()


SCRIPT = """
import itertools, os, sys, torch
from ganzoo.datasets.reader import Request
from ganzoo.datasets.stream import Stream

source = Stream.of(torch.utils.data.TensorDataset(torch.zeros(9, 2)))
begin = lambda: source.batches((Request(n, [0]) for n in itertools.count()), 2)
reader = begin()
reader.next()
"""
# Not by os._exit, so that what is to run at the end of a process runs.
FORK = """
if not os.fork():
    sys.stderr.close()  # multiprocessing complains of children that are not its own
    sys.exit()
os.wait()
for _ in range(20):
    reader.next()
"""
TELL = "print(*[process.pid for process in reader.processes], flush=True)\n"


@linux
def test_a_process_that_forgets_to_close_ends_with_its_workers() -> None:
    """And so does its fork, which leaves them alone."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + FORK + TELL], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == ""
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2 and not alive(*pids)


@linux
def test_workers_of_a_process_that_was_killed_end() -> None:
    script = SCRIPT + TELL + "os.kill(os.getpid(), 9)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert done.returncode == -9 and len(pids) == 2
    deadline = time.monotonic() + 60
    while alive(*pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(*pids)
