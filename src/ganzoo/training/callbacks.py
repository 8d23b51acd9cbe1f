"""Callbacks: what else happens while a trainer trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ganzoo.errors import RegistrationError, did_you_mean, listing

if TYPE_CHECKING:
    from pathlib import Path

    from ganzoo.core.step import Step
    from ganzoo.evaluation import Score
    from ganzoo.runs.run import Run
    from ganzoo.training.diagnosis import Diagnosis
    from ganzoo.training.trainer import Trainer

__all__ = ["Callback"]


class Callback:
    """Hooks that ``Trainer.fit`` calls; override those you need.

    A method that starts with ``on_`` and is not a hook is an error when the class is defined, so
    that a misspelt hook cannot stay silent.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        hooks = [name for name in vars(Callback) if name.startswith("on_")]
        for name in vars(cls):
            if name.startswith("on_") and name not in hooks:
                raise RegistrationError(
                    f"{cls.__name__}.{name} is not a hook.{did_you_mean(name, hooks)} "
                    f"Hooks: {listing(hooks)}."
                )

    def on_start(self, trainer: Trainer, run: Run) -> None:
        """Training is about to begin or to continue; the run folder exists."""

    def on_step(self, trainer: Trainer, step: Step) -> None:
        """An iteration is over. Reading a tensor here with ``.item()`` makes training wait."""

    def on_log(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """A row has been added to ``metrics.jsonl``."""

    def on_diagnosis(self, trainer: Trainer, diagnosis: Diagnosis) -> None:
        """That row shows that something goes wrong."""

    def on_evaluate(self, trainer: Trainer) -> None:
        """The averaged generator is about to be scored, which can take minutes."""

    def on_scores(self, trainer: Trainer, step: int, scores: Mapping[str, Score]) -> None:
        """The averaged generator as it was at that step has been scored."""

    def on_picture(self, trainer: Trainer, path: Path) -> None:
        """A grid of samples has been written."""

    def on_checkpoint(self, trainer: Trainer, path: Path) -> None:
        """A checkpoint has been written, while ``trainer.step`` may have gone on."""

    def on_end(self, trainer: Trainer, run: Run) -> None:
        """Training has reached its last step, or was stopped, and everything is saved."""

    def on_close(self, trainer: Trainer) -> None:
        """Training is left, however it ended."""
