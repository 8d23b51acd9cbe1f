from __future__ import annotations

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

from ganzoo.datasets import stream
from ganzoo.datasets.stream import Reader, Request, Stream
from ganzoo.errors import ConfigError, DataError
from ganzoo.spec import SampleSpec

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
    assert len(source) == 9 and not source.labeled and source.item_shape == (3, 6, 8)
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
def test_classes_that_nobody_knows(workers) -> None:
    with pytest.raises(DataError, match="Pixels does not say what classes it has.*'targets'"):
        Stream.of(Pixels(), workers=workers, labels=True)
    assert not Stream.of(Pixels(), workers=workers).labeled


def test_labels_that_are_none() -> None:
    class Few(Named):
        classes = ("ant", "bee")

    class Some(Named):
        def __getitem__(self, index: int) -> object:
            return PIXELS[index], None if index == 4 else 0

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
        (Pixels(2), r"^Item 2 of Pixels cannot be read \(OSError: broken file\); mend it or leave"),
        (
            Uneven(),
            r"^Item 2 of Uneven has shape \(3, 5, 8\) uint8 but item 0 has \(3, 6, 8\) uint",
        ),
        (
            Bright(),
            r"^Item 2 of Bright holds values from -1 to -1, outside its stored_range \(0, 1\); .* "
            r"taken from 8 items; give it with ganzoo.datasets.Given.of\(data, stored_range=",
        ),
        (Undefined(), r"^Item 2 of Undefined has 4 NaN or infinite values among 4; remove"),
    ],
)
def test_an_item_that_is_wrong_is_named(workers, dataset, text, monkeypatch) -> None:
    monkeypatch.setattr(stream, "_LOOKED_AT", 2)
    source = Stream.of(dataset, workers=workers)
    monkeypatch.setattr(stream, "_LOOKED_AT", 8)
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


@pytest.fixture
def spawning():
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
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
    with pytest.raises(ConfigError, match="Pixels cannot be sent to worker .*; or use workers=0"):
        Stream.of(dataset, workers=2)


@forked
def test_processes_that_cannot_be_started(monkeypatch) -> None:
    def start(self) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.context.ForkProcess, "start", start)
    monkeypatch.setattr(multiprocessing.Process, "start", start)
    with pytest.raises(
        ConfigError, match=r"1 worker processes cannot be started \(BlockingIOError"
    ):
        Stream.of(Pixels(), workers=1)


def alive(*pids: int) -> bool:
    return any(Path("/proc", str(pid)).exists() for pid in pids)


def reading(dataset: object, workers: int = 2) -> tuple[Reader, list[int]]:
    """A reader that has begun, and its processes."""
    reader = Stream.of(dataset).batches(endless(), workers)
    reader.next()
    return reader, [process.pid for process in reader._processes]


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
    assert not alive(*pids)
    reader, pids = reading(Pixels())
    del reader
    assert not alive(*pids)


@linux
def test_a_worker_in_the_midst_of_a_long_item_ends(monkeypatch) -> None:
    class Slow(Pixels):
        def __getitem__(self, index: int) -> object:
            if index == 5:
                time.sleep(1000)
            return PIXELS[index]

    # Torch waits so long for each worker.
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(stream, "_LOOKED_AT", 2)
    reader = Stream.of(Slow()).batches(requests([0], [5]), 1)
    reader.next()
    (pid,) = [process.pid for process in reader._processes]
    reader.close()
    assert not alive(pid)


@forked
def test_what_interrupts_the_training_does_not_reach_workers() -> None:
    reader, pids = reading(Pixels())
    for number, pid in itertools.product((signal.SIGINT, signal.SIGTERM, signal.SIGUSR1), pids):
        os.kill(pid, number)
    for _ in range(20):
        reader.next()
    reader.close()


@forked
def test_a_worker_that_is_killed(monkeypatch) -> None:
    iterator = torch.utils.data.dataloader._MultiProcessingDataLoaderIter
    monkeypatch.setattr(iterator._try_get_data, "__defaults__", (0.2,))  # between looks at them
    reader, pids = reading(Pixels())
    os.kill(pids[0], signal.SIGKILL)
    for process in reader._processes[:1]:
        process.join()
    with pytest.raises(DataError) as caught:
        for _ in range(20):
            reader.next()
    reader.close()
    assert str(caught.value) == (
        "A process that reads Pixels was killed (SIGKILL), as happens when memory or shared memory "
        "(/dev/shm) runs out. Use fewer workers; workers=0 reads in the training's own process."
    )


@forked
def test_a_worker_that_ends_by_itself(monkeypatch) -> None:
    class Leaving(Pixels):
        def __getitem__(self, index: int) -> object:
            return os._exit(3) if index == 5 else PIXELS[index]

    iterator = torch.utils.data.dataloader._MultiProcessingDataLoaderIter
    monkeypatch.setattr(iterator._try_get_data, "__defaults__", (0.2,))
    monkeypatch.setattr(stream, "_LOOKED_AT", 2)
    source = Stream.of(Leaving())
    reader = source.batches(requests([5]), 1)
    with pytest.raises(DataError, match="ended with exit code 3; .*__main__.*workers=0"):
        reader.next()
    reader.close()


SCRIPT = """
import itertools, os, sys, torch
from ganzoo.datasets.stream import Request, Stream

data = torch.utils.data.TensorDataset(torch.zeros(9, 2))
reader = Stream.of(data).batches((Request(n, [0]) for n in itertools.count()), 2)
reader.next()
print(*(process.pid for process in reader._processes), flush=True)
"""


@linux
def test_a_process_that_forgets_to_close_ends_with_its_workers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == ""
    assert not alive(*map(int, done.stdout.split()))


@linux
def test_workers_of_a_process_that_was_killed_end() -> None:
    script = SCRIPT + "os.kill(os.getpid(), 9)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -9
    pids = [int(pid) for pid in done.stdout.split()]
    deadline = time.monotonic() + 60
    while alive(*pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(*pids)
