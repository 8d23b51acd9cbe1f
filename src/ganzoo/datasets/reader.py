"""Reading ahead in worker processes: how they are started, asked, and ended whatever happens."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import pickle
import random
import signal
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from ganzoo import errors
from ganzoo.datasets.items import told
from ganzoo.errors import ConfigError, DataError, GanzooError

__all__ = ["Reader", "Request", "once", "seed_all"]

T = TypeVar("T")

_PATIENCE = 2.0  # seconds that workers have, all of them together, to finish what they are at
_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")  # which are for the training, not for its workers
_ADVICE = "workers=0 reads in the training's own process."
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
        self._closed = False
        self._crew: _WorkerPool | None = None
        if workers:
            self._crew = _WorkerPool(_Job(answer, title), requests, workers, title, pin)
            weakref.finalize(self, self._crew.stop).atexit = False

    def next(self) -> T:
        """Return the answer to the next request.

        Raises:
            DataError: If it cannot be read, or a worker was killed.
            RuntimeError: If the reader is closed.
            StopIteration: If there are no more requests.
        """
        if self._closed:
            raise RuntimeError("This reader is closed; make another one.")
        if self._crew is None:
            request = next(self._requests)
            with _aside():
                return self._answer(request)
        try:
            found = next(self._crew.iterator)
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
        """End the workers; what is in the midst of a batch has two seconds to finish it."""
        self._closed = True
        if self._crew is not None:
            self._crew.stop()

    @property
    def pids(self) -> list[int]:
        """Of its processes."""
        return [] if self._crew is None else [process.pid for process in self._crew.processes]

    def _broken(self, error: Exception) -> DataError:
        """What to say if there is no answer at all."""
        assert self._crew is not None
        codes = [one.exitcode for one in self._crew.processes if one.exitcode]
        if not codes:
            return DataError(f"{self._title} cannot be read by workers ({told(error)}); {_ADVICE}")
        if codes[0] < 0:
            with contextlib.suppress(ValueError):
                return DataError(
                    f"A process that reads {self._title} was killed "
                    f"({signal.Signals(-codes[0]).name}), as happens when memory or shared memory "
                    f"(/dev/shm) runs out. Use fewer workers; {_ADVICE}"
                )
        return DataError(
            f"A process that reads {self._title} ended with exit code {codes[0]}; what it printed "
            f"says why. Where processes are not forked, a script needs if __name__ == "
            f"'__main__': around what trains, and the dataset's class must be in a module that "
            f"can be imported; {_ADVICE}"
        )


def once(answer: Callable[[Request], T], request: Request, workers: int, title: str) -> T:
    """Return the answer to one request, from a process of its own if there are ``workers``.

    Raises:
        ConfigError: As ``Reader`` has it.
        DataError: As ``Reader.next`` has it.
    """
    reader = Reader(answer, iter((request,)), min(workers, 1), title)
    try:
        return reader.next()
    finally:
        reader.close()


def seed_all(seed: int) -> None:
    """Seed the global random numbers that a transform may draw from, on the CPU."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too


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


# -- what workers do --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a worker."""

    error: type[GanzooError]
    text: str
    trace: str

    @classmethod
    def of(cls, error: GanzooError) -> _Failure:
        """One that can be sent: a class of a dataset's own need not be known, or made so."""
        known = vars(errors).values()
        nearest = next(one for one in type(error).__mro__ if one in known)
        return cls(nearest, str(error), traceback.format_exc())


class _Packed:
    """An answer, pickled: what a queue's own thread cannot pickle would never arrive.

    Its tensors are in shared memory already, and it is unpickled as the answer itself.
    """

    def __init__(self, answer: Any) -> None:
        from multiprocessing.reduction import ForkingPickler

        self._bytes = bytes(ForkingPickler.dumps(answer))

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return pickle.loads, (self._bytes,)


@dataclass(frozen=True, eq=False)
class _Job:
    """What a worker does, as torch has it: the item of a request is its answer."""

    answer: Callable[[Request], Any]
    title: str

    def __getitem__(self, request: Request) -> Any:
        try:
            answer = self.answer(request)
        except GanzooError as error:
            _free()
            return _Failure.of(error)
        except Exception as error:
            _free()
            text = f"{self.title} cannot be read by workers ({told(error)}); {_ADVICE}"
            return _Failure(DataError, text, traceback.format_exc())
        try:
            return _Packed(answer)
        except Exception as error:
            _free()
            text = (
                f"What a process has read of {self.title} cannot be handed over ({told(error)}), "
                f"as happens when shared memory (/dev/shm) or open files run out. Use fewer "
                f"workers; {_ADVICE}"
            )
            return _Failure(DataError, text, traceback.format_exc())


@dataclass(frozen=True, eq=False)
class _Order:
    """Requests as torch's sampler."""

    requests: Iterator[Request] = field(repr=False)

    def __iter__(self) -> Iterator[Request]:
        return self.requests


def _settle(parent: int, worker: int) -> None:
    """Begin as a worker: what interrupts the training is not for this process."""
    if os.name == "posix" and os.getppid() != parent:
        os._exit(1)  # torch's own watch begins after this, and would not notice
    ours = {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}
    for one in ours:
        signal.signal(one, _unheeded)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
    with contextlib.suppress(OSError):
        source, _ = pipe = os.pipe()
        _spare.extend((*pipe, *(os.dup(source) for _ in range(2))))


_spare: list[int] = []  # open files of a worker, so that there are some to close


def _free() -> None:
    """Make room for handing over the answers before this one, which needs open files."""
    while _spare:
        os.close(_spare.pop())


def _unheeded(number: int, frame: object) -> None:
    """Take a signal. SIG_IGN would be handed on to the programs that a dataset starts."""


def _as_it_is(value: T) -> T:
    return value


# -- their processes --------------------------------------------------------------------------


class _WorkerPool:
    """Worker processes under torch's loader, and what ends them.

    Workers do not heed SIGTERM, for which multiprocessing would wait without end when this process
    ends. So whatever happens, each one that was started is killed in the end: if starting another
    failed, if ending them was interrupted, or if they were forgotten.

    Args:
        job: What they do.
        requests: What they are asked.
        workers: How many.
        title: What errors call the dataset.
        pin: Whether their tensors shall be in page-locked memory.

    Attributes:
        iterator: Torch's, over their answers.
        processes: All that were made, be they started or not.

    Raises:
        ConfigError: If the job cannot be sent to processes, or they cannot be started.
    """

    def __init__(
        self, job: _Job, requests: Iterator[Request], workers: int, title: str, pin: bool
    ) -> None:
        self.processes: list[Any] = []
        self._owner = os.getpid()
        self._stopped = False
        from multiprocessing.util import Finalize

        # Before anything waits for processes; where this is one itself, atexit is not run.
        self._at_exit = Finalize(None, self.kill, exitpriority=100)
        try:
            with _undisturbed():
                self.iterator = self._start(job, requests, workers, pin)
        except BaseException as error:
            _disable_del(error)
            self.kill()
            self._at_exit.cancel()
            refusal = _refusal(error, workers, title)
            if refusal is None:
                raise
            raise refusal from None
        _unregister_sigchld(self.iterator)

    def _start(self, job: _Job, requests: Iterator[Request], workers: int, pin: bool) -> Any:
        import torch
        from torch.utils.data import DataLoader

        return iter(
            DataLoader(
                job,  # type: ignore[arg-type]
                batch_size=None,
                sampler=_Order(requests),
                num_workers=workers,
                collate_fn=_as_it_is,
                pin_memory=pin,
                worker_init_fn=functools.partial(_settle, os.getpid()),
                generator=torch.Generator(),  # else it draws from the global one
                multiprocessing_context=_recording(self.processes),
            )
        )

    def stop(self) -> None:
        """End them: those in the midst of a batch have a little time to finish it."""
        if self._stopped:
            return
        if os.getpid() != self._owner:
            # A fork of this process has a copy, but the workers and their queues are not its own.
            self.iterator._shutdown = True
            return
        impatient = threading.Timer(_PATIENCE, self._kill_all)
        impatient.daemon = True
        try:
            with contextlib.suppress(Exception):  # whatever it is, they are killed
                impatient.start()
                _shut(self.iterator)
        finally:
            impatient.cancel()
            self.kill()
        self._stopped = True
        self._at_exit.cancel()

    def kill(self) -> None:
        """End them at once."""
        if os.getpid() == self._owner:
            self._kill_all()
            for process in self.processes:
                if process.pid is not None:
                    process.join()

    def _kill_all(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                process.kill()


def _recording(processes: list[Any]) -> Any:
    """A context of multiprocessing that notes each process it makes."""
    import multiprocessing

    method = multiprocessing.get_start_method()
    # What a fork server starts would be open to signals until it heeds them no more.
    plain: Any = multiprocessing.get_context("spawn" if method == "forkserver" else method)
    make = plain.Process

    def noted(*args: Any, **options: Any) -> Any:
        processes.append(make(*args, **options))
        return processes[-1]

    context: Any = copy.copy(plain)
    context.Process = noted
    return context


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Start processes: without signals until they heed them no more, and torch's warnings."""
    import multiprocessing

    masked = hasattr(signal, "pthread_sigmask")
    if masked and multiprocessing.get_start_method() != "fork":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # else it would be started here, and undo the mask
    ours = {getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ours) if masked else set()
    try:
        with warnings.catch_warnings():
            for message in _HARMLESS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _refusal(error: BaseException, workers: int, title: str) -> ConfigError | None:
    """What to say of an error while workers were started, if it is one that is known."""
    if isinstance(error, (TypeError, AttributeError, pickle.PicklingError)):
        return ConfigError(
            f"The dataset {title} cannot be sent to worker processes ({told(error)}). Define its "
            f"class and transforms at the top of a module, without lambdas and open files; or use "
            f"workers=0, which reads in the training's own process."
        )
    if isinstance(error, (AssertionError, OSError, RuntimeError)):
        return ConfigError(
            f"{workers} worker processes cannot be started ({told(error)}). Use fewer, or "
            f"workers=0, which reads in the training's own process."
        )
    return None


# What follows uses torch's own names, which another version may not have: all goes without them.


def _unregister_sigchld(iterator: Any) -> None:
    """Notice a killed worker when its batch is due.

    Torch would also raise an error from a signal handler, wherever the main thread happens to be.
    """
    import torch

    forget = getattr(torch._C, "_remove_worker_pids", None)
    if forget is not None and getattr(iterator, "_worker_pids_set", False):
        forget(id(iterator))
        iterator._worker_pids_set = False


def _disable_del(error: BaseException) -> None:
    """Keep an iterator that was not finished from ending workers itself, which it cannot."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        unfinished: Any = frame.f_locals.get("self")
        if hasattr(unfinished, "_shutdown_workers"):
            unfinished._shutdown = True


def _shut(iterator: Any) -> None:
    """Ask workers to end, and wait for each; end the thread that locks pages."""
    shut = getattr(iterator, "_shutdown_workers", None)
    if shut is not None:
        shut()
