"""Logs of a training in the trackers of its settings."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ganzoo.errors import ConfigError, GanzooError
from ganzoo.training.callbacks import Callback

if TYPE_CHECKING:
    from pathlib import Path

    from ganzoo.evaluation import Score
    from ganzoo.runs.run import Run
    from ganzoo.trackers import Log
    from ganzoo.training.trainer import Trainer

__all__ = ["Tracking"]


class Tracking(Callback):
    """Logs a training to the trackers in its settings.

    A tracker that cannot be opened keeps the training from starting. One that fails later is
    given up with a line on standard error (through ``logging``, as ``ganzoo``), and the training
    goes on.
    """

    def __init__(self) -> None:
        self._logs: list[tuple[str, Log]] = []

    def on_start(self, trainer: Trainer, run: Run) -> None:
        """Open all logs.

        Raises:
            ConfigError: If one cannot be opened.
        """
        settings = trainer.config.dump()
        for tracker in trainer.config.trackers:
            try:
                log = tracker.open(run.path, settings, trainer.step)
            except GanzooError:
                raise
            except Exception as error:
                raise ConfigError(
                    f"The tracker '{tracker.name}' cannot be opened ({_reason(error)}). Mend the "
                    f"cause, or train without this tracker."
                ) from error
            self._logs.append((tracker.name, log))

    def on_log(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """Log the row."""
        values = {name: value for name, value in row.items() if name != "step"}
        self._each(trainer, lambda log: log.scalars(trainer.step, values))

    def on_scores(self, trainer: Trainer, step: int, scores: Mapping[str, Score]) -> None:
        """Log the scores."""
        values = {name: score.value for name, score in scores.items()}
        self._each(trainer, lambda log: log.scores(step, values))

    def on_picture(self, trainer: Trainer, path: Path) -> None:
        """Log the picture."""
        from PIL import Image

        def log_picture(log: Log) -> None:
            with Image.open(path) as image:
                image.load()
            log.images(trainer.step, "samples", image)

        self._each(trainer, log_picture)

    def on_close(self, trainer: Trainer) -> None:
        """Finish all logs."""
        for name, log in self._logs:
            _attempt(trainer, name, log.finish)
        self._logs = []

    def _each(self, trainer: Trainer, act: Callable[[Log], None]) -> None:
        for entry in list(self._logs):
            name, log = entry
            if not _attempt(trainer, name, functools.partial(act, log)):
                self._logs.remove(entry)
                with contextlib.suppress(Exception):
                    log.finish()


def _attempt(trainer: Trainer, tracker: str, act: Callable[[], None]) -> bool:
    """Whether it worked; if not, say so."""
    try:
        act()
    except Exception as error:  # a disk or a service may fail in any way
        # Not by warnings.warn, which ends the training where warnings are errors.
        logging.getLogger("ganzoo").warning(
            "The tracker '%s' failed at step %d (%s) and is given up; the run folder has it all.",
            tracker,
            trainer.step,
            _reason(error),
        )
        return False
    return True


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
