"""The contract of a tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ganzoo.core.component import Component

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

__all__ = ["Log", "Tracker"]


class Tracker(Component):
    """Where else a training's numbers and pictures go, in addition to the run folder.

    A tracker is options only; what it opens, a ``Log``, holds files and connections. An error in
    ``check`` or ``open`` keeps the training from starting. One in the log ends the tracking, and
    the training goes on.
    """

    kind: ClassVar[str] = "tracker"

    def check(self) -> None:
        """Raise what would keep it from working, such as a package that is not installed.

        It is called before anything is loaded or written, and must be quick.

        Raises:
            ConfigError: With the cause and what to do.
        """

    @abstractmethod
    def open(self, folder: Path, settings: Mapping[str, Any], step: int) -> Log:
        """Return the log of a training that is about to begin or to continue.

        Args:
            folder: The run folder, which exists. A tracker writes into a file or
                folder of its own below it.
            settings: All settings of the training as plain values, those of ``config.yaml``.
            step: The iteration that training continues from, 0 for a new one. What was logged of
                later steps before an interruption is going to be logged again, and must not show
                twice.
        """


class Log(ABC):
    """What one training is logged to; it is used from one thread, and finished once."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log a row of numbers.

        Args:
            step: Iterations finished; it rises from call to call.
            values: The columns of ``metrics.jsonl`` other than ``step``: ``d_loss``, ``g_loss``,
                ``d_real``, ``d_fake``, ``d_lr``, ``g_lr``, ``epoch``, ``images``, and further
                ones, which need not be in every row.
        """

    def scores(self, step: int, values: Mapping[str, float]) -> None:  # noqa: B027 - optional
        """Log scores of the averaged generator; by default nothing.

        Args:
            step: Iterations that this generator was trained for. Scores take time: rows of later
                steps may have been logged before. After an interruption some come again.
            values: By the names of the metrics.
        """

    @abstractmethod
    def images(self, step: int, name: str, image: Image) -> None:
        """Log a picture.

        Args:
            step: Iterations finished.
            name: What it shows; a grid of samples is called ``samples``.
            image: The picture: greyscale (mode L), RGB or RGBA.
        """

    @abstractmethod
    def finish(self) -> None:
        """Write what is left and let go of files and connections, however training ended."""
