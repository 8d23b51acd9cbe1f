"""Callbacks: what else happens while a trainer trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ganzoo.errors import RegistrationError, did_you_mean, listing

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from ganzoo.config import TrainConfig
    from ganzoo.core.device import Precision
    from ganzoo.core.spec import SampleSpec
    from ganzoo.core.step import Step
    from ganzoo.evaluation import Score
    from ganzoo.generators.generator import Generator
    from ganzoo.runs.run import Run
    from ganzoo.training.diagnosis import Diagnosis

__all__ = ["Callback", "Training"]


class Training(Protocol):
    """The trainer as callbacks have it."""

    config: TrainConfig
    device: torch.device
    precision: Precision
    notices: list[str]
    spec: SampleSpec
    run: Run | None

    @property
    def step(self) -> int:
        """Iterations finished."""
        ...

    @property
    def total_steps(self) -> int:
        """Iterations in all."""
        ...

    @property
    def images_per_step(self) -> int:
        """Real samples that one iteration sees."""
        ...

    @property
    def best_step(self) -> int | None:
        """Step of the best generator so far, where scores tell which it is."""
        ...

    @property
    def modes(self) -> int | None:
        """How many modes the data have, where it is known."""
        ...

    @property
    def generator(self) -> Generator:
        """The averaged generator as it is now."""
        ...

    def nets(self) -> dict[str, nn.Module]:
        """Return the nets as they train."""
        ...

    def stop(self) -> None:
        """End after the present iteration."""
        ...


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

    def on_start(self, trainer: Training, run: Run) -> None:
        """Training is about to begin or to continue; the run folder exists."""

    def on_step(self, trainer: Training, step: Step) -> None:
        """An iteration is over. Reading a tensor here with ``.item()`` makes training wait."""

    def on_log(self, trainer: Training, row: Mapping[str, float]) -> None:
        """A row has been added to ``metrics.jsonl``."""

    def on_diagnosis(self, trainer: Training, diagnosis: Diagnosis) -> None:
        """That row shows that something goes wrong."""

    def on_evaluate(self, trainer: Training) -> None:
        """The averaged generator is about to be scored, which can take minutes."""

    def on_scores(self, trainer: Training, step: int, scores: Mapping[str, Score]) -> None:
        """The averaged generator as it was at that step has been scored."""

    def on_picture(self, trainer: Training, path: Path) -> None:
        """A grid of samples has been written."""

    def on_checkpoint(self, trainer: Training, path: Path) -> None:
        """A checkpoint has been written, while ``trainer.step`` may have gone on."""

    def on_end(self, trainer: Training, run: Run) -> None:
        """Training has reached its last step, or was stopped, and everything is saved."""

    def on_close(self, trainer: Training) -> None:
        """Training is left, however it ended."""
