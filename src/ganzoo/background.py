"""Work that goes on beside the training, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

__all__ = ["Background"]


class Background:
    """Does one job at a time in another thread; a failure is raised at the next call.

    A job returns the path of what it has written. At most one is waiting or running, so that no
    more than one copy of a training's state is held for it.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._job: Future[Path] | None = None

    def submit(self, job: Callable[[], Path]) -> Path | None:
        """Begin a job once the one before is over.

        Returns:
            What the one before has written, unless that has been told already.

        Raises:
            Exception: What the one before has raised; the new one is not begun then.
        """
        done = self.wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "ganzoo-save")
        self._job = self._pool.submit(job)
        return done

    def poll(self) -> Path | None:
        """Return what a job has written that has ended since the last call, without waiting.

        Raises:
            Exception: What it has raised.
        """
        return self.wait() if self._job is not None and self._job.done() else None

    def wait(self) -> Path | None:
        """Wait for the job, and return what it has written.

        Raises:
            Exception: What it has raised.
        """
        job, self._job = self._job, None
        return None if job is None else job.result()

    def close(self) -> None:
        """Wait for the job and end the thread; what the job raised and nobody asked for is lost."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
