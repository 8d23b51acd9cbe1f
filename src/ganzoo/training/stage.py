"""Everything that a training plays with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.core.state_dicts import not_finite
from ganzoo.datasets import Samples
from ganzoo.errors import CheckpointError, DivergenceError, some
from ganzoo.files.storage import own_copies, write_json, write_text
from ganzoo.generators.generator import Generator
from ganzoo.runs import provenance
from ganzoo.training.accumulator import MetricAccumulator
from ganzoo.training.game import Game, outer_autocast
from ganzoo.training.keeping import Keeper
from ganzoo.training.loader import Loader
from ganzoo.training.parts import Part, RandomState, collect, restore
from ganzoo.training.scheduling import Scheduler
from ganzoo.training.validation import Validation
from ganzoo.training.visualizer import SampleVisualizer

if TYPE_CHECKING:
    from ganzoo.config import TrainConfig
    from ganzoo.core.device import Precision
    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets.preprocessing import Preprocessing
    from ganzoo.generators.bundle import BundleConfig

__all__ = ["Stage"]


@dataclass(eq=False)
class Stage:
    """What a training plays with.

    Attributes:
        config: All settings, with what follows from the data.
        notices: What a person should know about this training; shared with the trainer.
        spec: What one sample is, at the size the nets work at.
        preprocessing: How samples come to that size; None where they are not images.
        modes: How many modes the data have, where it is known.
        loader: Batches of real samples.
        accumulator: Numbers for the next row.
        visualizer: Pictures.
        scheduler: Numbers that change while training.
        keeper: Checkpoints, and what they know of the run.
        validation: Scores while training, where there are any.
        samples: The real samples in memory, until scores have used them.
    """

    config: TrainConfig
    device: torch.device
    precision: Precision
    notices: list[str]
    spec: SampleSpec
    preprocessing: Preprocessing | None
    modes: int | None
    loader: Loader
    game: Game
    accumulator: MetricAccumulator
    visualizer: SampleVisualizer
    random: RandomState
    keeper: Keeper
    scheduler: Scheduler
    validation: Validation | None = None
    samples: Samples | None = None

    @property
    def step(self) -> int:
        """Iterations finished."""
        return self.game.played

    @property
    def total_steps(self) -> int:
        """Iterations in all."""
        return int(self.config.steps or 1)

    def parts(self) -> dict[str, Part]:
        """Return all parts with state, by name, in the order of restoring."""
        parts: dict[str, Part] = {"loader": self.loader}  # which refuses other data first
        parts |= self.game.parts()
        parts |= {"accumulator": self.accumulator, "keeper": self.keeper}
        if self.validation is not None:
            parts["scores"] = self.validation
        return parts | {"random": self.random}

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return all tensors, copied to the host, and the rest of a checkpoint.

        Raises:
            DivergenceError: If the state is not finite: it would be of no use.
        """
        tensors, values = collect(self.parts())
        copies = own_copies(tensors)
        self.check_finite(copies)
        return copies, {
            "step": self.step,
            "precision": self.precision.name,
            "retain_steps": self.retain_steps(),
            "parts": values,
        }

    def check_finite(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Refuse to save a state that is not finite, or comes from numbers that were not."""
        if self.config.nan_policy != "skip" and self.game.alarm:
            raise self.divergence()
        if name := not_finite(tensors):
            remedy = self.keeper.remedy()
            raise DivergenceError(f"{name} is no longer finite at step {self.step}. {remedy}")

    def restore(
        self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], path: Path
    ) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: If it does not fit these settings.
            DataError: If it is of other data.
        """
        try:
            restore(self.parts(), tensors, state["parts"])
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"The checkpoint {path} does not fit the run's config.yaml ({reason}). "
                f"Restore the config.yaml it was trained with."
            ) from error
        if self.random.moved_from:
            self.keeper.settings_unchanged = False
            self.note(
                f"the run was on {self.random.moved_from} and goes on on {self.device.type}: "
                f"from here on its random numbers differ."
            )
        self.keeper.newest = max(self.keeper.newest, self.step)

    def retain_steps(self) -> list[int]:
        """Return steps whose checkpoints this state needs: the best, and those to be scored."""
        best, validation = self.keeper.best, self.validation
        wanted = set() if best is None else {int(best["step"])}
        if validation is not None:
            wanted |= {*validation.pending(self.step)}
            wanted |= set() if validation.best_step is None else {validation.best_step}
        return sorted(wanted)

    def divergence(self) -> DivergenceError:
        """Return the error that says which number is not finite, since when, and what to do."""
        players = self.game.players.values()
        reports = [found for player in players if (found := player.monitor.report())]
        fact = "What D says of real or generated samples is not finite"
        if reports:
            since, names = min(reports, key=lambda report: report[0])
            alone = names[0].endswith("loss")
            fact = f"The {some(names[: 1 if alone else None], 1)} is not finite since step {since}"
        if self.config.nan_policy == "skip":
            fact += f", and all updates were left out from step {self.step} back to the last row"
        return DivergenceError(f"{fact} (noticed at step {self.step}). {self.keeper.remedy()}")

    def generator(self, average: int | None = None) -> Generator:
        """Return the averaged generator as it is now, by default of the average that is used."""
        ema = self.game.ema
        average = ema.chosen if average is None else average
        return Generator(ema.modules[average], self.bundle_config(average=average))

    def bundle_config(self, step: int | None = None, average: int | None = None) -> BundleConfig:
        """Return what the generator of a step and an average is, by default those of now."""
        return provenance.bundle_config(
            self.config,
            self.spec,
            self.preprocessing,
            self.step if step is None else step,
            self.precision,
            self.game.ema.chosen if average is None else average,
        )

    def environment(self) -> dict[str, Any]:
        """Return what ``environment.json`` holds."""
        return provenance.environment(self.device, self.precision, self.notices)

    def describe(self, path: Path) -> None:
        """Write ``config.yaml`` and ``environment.json`` into a run's folder."""
        write_text(path / "config.yaml", self.config.yaml())
        write_json(path / "environment.json", self.environment())

    def check_autocast(self) -> None:
        """Refuse or note an autocast around the training."""
        dtype = outer_autocast(self.device)
        if dtype is not None:
            self.note(
                f"a torch.autocast around the training multiplies matrices in "
                f"{str(dtype).removeprefix('torch.')}, whatever its precision says: leave it out; "
                f"precision='bf16' computes in bfloat16"
            )

    def note(self, text: str) -> None:
        """Add a notice, once."""
        if text not in self.notices:
            self.notices.append(text)
