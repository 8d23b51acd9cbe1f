"""Saving in another thread while the training goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from ganzoo.errors import CheckpointError

__all__ = ["Background"]


class Background:
    """Does one job at a time in another thread; a failure is raised where the result is asked for.

    A job returns the path of what it has written. The threads do not keep the process alive: a
    write that is not waited for is left unfinished when it ends.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._result: Future[Path] = Future()

    def submit(self, job: Callable[[], Path]) -> None:
        """Begin a job; the one before must have been waited for.

        Raises:
            CheckpointError: If the system allows no more threads.
        """
        if self._thread is not None:
            raise RuntimeError("a job is begun before the one before it was waited for")
        result: Future[Path] = Future()

        def work() -> None:
            try:
                result.set_result(job())
            except BaseException as error:
                result.set_exception(error)

        thread = threading.Thread(target=work, name="ganzoo-save", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise CheckpointError(
                f"Nothing can be saved beside the training ({error}). Allow the process more "
                f"threads (ulimit -u), then resume."
            ) from error
        self._thread, self._result = thread, result

    def afterwards(self, act: Callable[[], object]) -> None:
        """Do something at once, or, if a job is at work, at its end, without waiting here."""
        if self._thread is None:
            act()
        else:
            self._result.add_done_callback(lambda _: act())

    def settle(self) -> None:
        """Wait until the job is over; ``poll`` or ``wait`` gives its result."""
        if self._thread is not None:
            self._thread.join()

    def poll(self) -> Path | None:
        """Return what a job has written that has ended since the last call; raise what it raised.

        This does not wait.
        """
        return None if self._thread is None or self._thread.is_alive() else self.wait()

    def wait(self) -> Path | None:
        """Wait for the job and return what it has written; None if there is no new result.

        Raises:
            Exception: What it has raised.
        """
        if self._thread is None:
            return None
        self._thread.join()  # an interruption here loses nothing
        self._thread = None
        return self._result.result()
