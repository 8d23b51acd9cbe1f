"""What a training knows of its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.files import checkpoint
from ganzoo.files.background import Background
from ganzoo.training.score_settings import by_score

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.config import TrainConfig
    from ganzoo.training.parts import State

__all__ = ["Keeper"]


class Keeper:
    """Which checkpoint is the best, how often training went back, and how checkpoints are written.

    Attributes:
        best: ``step`` and ``value`` of the best checkpoint by a number of ``metrics.jsonl``.
        lr_scale: Factor of the learning rates because of rollbacks.
        settings_unchanged: Whether one command with these settings repeats the run.
        newest: Step of the newest checkpoint that this process knows of.
        unclean: Whether ``fit`` was left in the middle of something.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.background = Background()
        self.best: dict[str, float] | None = None
        self.rollbacks = 0
        self.lr_scale = 1.0
        self.settings_unchanged = True
        self.newest = 0
        self.unclean = False
        self.run: Path | None = None

    def state(self) -> State:
        """Return the best checkpoint, and what became of the learning rates."""
        return {}, {
            "best": self.best,
            "rollbacks": self.rollbacks,
            "lr_scale": self.lr_scale,
            "settings_unchanged": self.settings_unchanged,
        }

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        best = values["best"]
        self.best = best and {"step": int(best["step"]), "value": float(best["value"])}
        self.rollbacks, self.lr_scale = int(values["rollbacks"]), float(values["lr_scale"])
        self.settings_unchanged = bool(values["settings_unchanged"])

    def judge(self, step: int, row: Mapping[str, float]) -> None:
        """Find out whether this is the best checkpoint so far, by the newest row."""
        if self.config.keep_best is None or by_score(self.config):
            return
        better, _, name = self.config.keep_best.partition(":")
        value, sign = row.get(name, math.nan), 1 if better == "max" else -1
        if math.isfinite(value) and (self.best is None or sign * value > sign * self.best["value"]):
            self.best = {"step": step, "value": value}

    def pruning(self) -> Callable[[Path], None]:
        """Return what removes the checkpoints that are not to be kept from their folder."""
        last, every = self.config.keep_checkpoints, self.config.keep_every
        return lambda folder: checkpoint.prune(folder, last, every)

    def remedy(self) -> str:
        """Return what to do after numbers that are not finite."""
        lower = "lower learning rates (--g-optimizer.lr, --d-optimizer.lr) or with --clip-grad"
        if self.rollbacks:
            lower += f"; {self.rollbacks} times half of them was not enough"
        self.background.settle()
        newest = None
        if self.run is not None and not self.rollbacks:
            newest = checkpoint.latest(self.run / "checkpoints")
        if newest is None:
            return f"Train again with {lower}."
        return (
            f"The last good checkpoint is {newest}: 'ganzoo resume {self.run} --nan-policy "
            f"rollback' goes on from there, and halves the learning rates if it comes to this "
            f"again. Or train again with {lower}."
        )
