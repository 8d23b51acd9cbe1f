"""Progress of datasets that take long to load, on standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console
    from rich.progress import Progress

__all__ = ["MOMENT", "Bar", "is_shown", "say", "showing"]

MOMENT = 1.0
"""Seconds before anything is shown."""

_LINES_APART = 10.0  # seconds between lines where there is no terminal
_shown: ContextVar[bool] = ContextVar("ganzoo_dataset_progress", default=True)


@contextlib.contextmanager
def showing(shown: bool) -> Iterator[None]:
    """Say whether datasets that are loaded in this block show how far they are."""
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


def is_shown() -> bool:
    """Return whether a dataset may show how far it is."""
    return _shown.get()


def say(text: str) -> None:
    """Print a line, unless progress is hidden."""
    if is_shown():
        _console().print(text, markup=False)


class Bar:
    """Shows how far something is, once it takes more than a moment.

    On a terminal that is a bar, elsewhere a line every ten seconds.
    """

    def __init__(self, text: str, total: int) -> None:
        self._text, self._total = text, total
        self._due = time.monotonic() + MOMENT
        self._live: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, done: int) -> None:
        """Show that so many are done."""
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=done)
        elif is_shown() and time.monotonic() >= self._due:
            console = _console()
            if console.is_terminal:
                self._live = self._started(console, done)
            else:
                self._due = time.monotonic() + _LINES_APART
                say(f"{self._text}: {done:,} of {self._total:,}")

    def _started(self, console: Console, done: int) -> Progress:
        from rich.markup import escape
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        live = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        live.add_task(escape(self._text), total=self._total, completed=done)
        live.start()
        return live


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False)
