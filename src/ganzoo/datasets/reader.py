"""Answers read ahead by the worker processes of torch's DataLoader, or in this process."""

from __future__ import annotations

import atexit
import contextlib
import copy
import os
import pickle
import random
import signal
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ganzoo import errors
from ganzoo.datasets.items import one_line
from ganzoo.errors import ConfigError, DataError, GanzooError

__all__ = ["Reader", "Request", "once", "seed_all"]

T = TypeVar("T")

# For the trainer, which then saves and ends its workers.
_SIGNALS = {
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
}
_CAUSES = (TypeError, AttributeError, pickle.PicklingError, OSError, AssertionError, RuntimeError)


class Request(NamedTuple):
    """One batch to be read.

    Attributes:
        seed: Seed of the random transforms of its items, in [0, 2**63).
        indices: Numbers of its items.
    """

    seed: int
    indices: Sequence[int]


class Reader(Generic[T]):
    """Answers requests in their order: ahead of time in worker processes, or in this process.

    Answers are the same either way: this process computes with one thread while it reads, as
    workers do, and its global random numbers are restored. Workers ignore SIGINT, SIGTERM and
    SIGUSR1. They end with ``close``, with the reader, and with this process.

    Args:
        answer: What answers a request; it is sent to workers.
        requests: Read in this process; it may be endless.
        workers: How many processes, or 0 for none.
        title: What errors call the dataset.
        pin: Whether tensors are put into page-locked memory; with workers only.

    Attributes:
        processes: The workers.

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

        # Setting it, to any value, changes how some libraries divide work; so always set it.
        torch.set_num_threads(torch.get_num_threads())
        self.processes: list[Any] = []
        self._answer, self._requests, self._title = answer, requests, title
        self._closed, self._owner = False, os.getpid()
        self._ahead: Iterator[T | _Failure] | None = None
        if not workers:
            return
        _open.add(self)
        try:
            self._ahead = self._started(workers, pin)
        except BaseException as error:
            self.close()
            if not isinstance(error, _CAUSES):
                raise
            raise ConfigError(
                f"The dataset {title} cannot be read by worker processes "
                f"({one_line(error)}). Use fewer; where they are not forked, define its class and "
                f"transforms at the top of a module, without lambdas and open files; or use "
                f"workers=0, which reads in the training's own process."
            ) from None

    def _started(self, workers: int, pin: bool) -> Iterator[T | _Failure]:
        import torch
        from torch.utils.data import DataLoader

        with _signals_kept(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork")
            warnings.filterwarnings("ignore", "This DataLoader will create")
            warnings.filterwarnings("ignore", "Got pickle error when")
            return iter(
                DataLoader(
                    _Answers(self._answer),  # type: ignore[arg-type]
                    batch_size=None,
                    sampler=self._requests,
                    num_workers=workers,
                    collate_fn=_identity,
                    pin_memory=pin,
                    worker_init_fn=_ignore_signals,
                    generator=torch.Generator(),  # else it draws from the global one
                    multiprocessing_context=_recording(self.processes),
                )
            )

    def next(self) -> T:
        """Return the answer to the next request.

        Raises:
            DataError: If it cannot be read, or a worker has died.
            RuntimeError: If the reader is closed.
            StopIteration: If there are no more requests.
        """
        if self._closed:
            raise RuntimeError("This reader is closed; make another one.")
        if self._ahead is None:
            request = next(self._requests)
            with _like_a_worker():
                return self._answer(request)
        try:
            found = next(self._ahead)
        except StopIteration:
            raise
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they would keep the workers alive
            if not isinstance(error, Exception):
                raise
            raise DataError(
                f"{self._title} cannot be read by workers ({one_line(error)}), as happens when "
                f"memory, shared memory (/dev/shm) or open files run out, or when the main module "
                f"lacks its if __name__ == '__main__'. Use fewer workers; workers=0 reads in the "
                f"training's own process."
            ) from error
        if isinstance(found, _Failure):
            failure = found.error(found.text)
            failure.add_note(f"In a worker process:\n{found.trace}")
            raise failure
        return found

    def close(self) -> None:
        """End the workers. Torch waits a few seconds for an item that is being read."""
        self._closed = True
        if os.getpid() != self._owner:
            return  # a fork of that process has a copy, but the workers are not its own
        self._ahead = None  # when torch's iterator goes, it asks its workers to end, and waits
        for process in self.processes:
            if process.pid is not None:
                process.kill()  # torch would send SIGTERM, which workers ignore
                process.join()

    def __del__(self) -> None:
        if not self._closed:
            self.close()


_open: weakref.WeakSet[Reader[Any]] = weakref.WeakSet()


def _close_all() -> None:
    for reader in list(_open):
        reader.close()


def once(answer: Callable[[Request], T], request: Request, workers: int, title: str) -> T:
    """Return the answer to one request, from a process of its own if there are ``workers``."""
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
def _like_a_worker() -> Iterator[None]:
    """Compute with one thread, and restore threads and global random numbers at the end."""
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


class _Failure(NamedTuple):
    """An error in a worker, in parts that can be sent to another process."""

    error: type[GanzooError]
    text: str
    trace: str


@dataclass(frozen=True, eq=False)
class _Answers:
    """Answers by request, as a torch Dataset for torch's DataLoader."""

    answer: Callable[[Request], Any]

    def __getitem__(self, request: Request) -> Any:
        import torch

        try:
            answer = self.answer(request)
            for part in answer:
                if isinstance(part, torch.Tensor):
                    # An error in the queue's own thread, which would do it, would be lost.
                    part.share_memory_()  # type: ignore[no-untyped-call]
            return answer
        except GanzooError as error:
            # A dataset's own class of error need not be one that can be sent.
            known = vars(errors).values()
            nearest = next(each for each in type(error).__mro__ if each in known)
            return _Failure(nearest, str(error), traceback.format_exc())


def _identity(value: T) -> T:
    return value


def _ignore_signals(_: int) -> None:
    for one in _SIGNALS:
        signal.signal(one, lambda *_: None)  # programs that a dataset starts would inherit SIG_IGN
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Start workers with blocked signals, which they inherit, and keep the handler of SIGCHLD.

    Torch's handler raises an error wherever the main thread happens to be when a worker dies.
    Without it, the error comes when the worker's batch is due.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGCHLD) if main and hasattr(signal, "SIGCHLD") else None
    masks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS) if masks else set()
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGCHLD, handler)
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _recording(processes: list[Any]) -> Any:
    """A context of multiprocessing that adds each process it makes to a list."""
    import multiprocessing.util

    # At exit the last one registered goes first: before multiprocessing ends its processes.
    atexit.unregister(_close_all)
    atexit.register(_close_all)
    method = multiprocessing.get_start_method()
    # Signals for this process would end a fork server, and the workers with it.
    plain: Any = multiprocessing.get_context("spawn" if method == "forkserver" else method)
    make, context = plain.Process, copy.copy(plain)

    def recorded(*args: Any, **options: Any) -> Any:
        processes.append(make(*args, **options))
        return processes[-1]

    context.Process = recorded
    return context
