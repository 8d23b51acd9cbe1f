"""The numbers of a training, collected iteration by iteration into rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.training.monitor import diversity

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step
    from ganzoo.training.game import Game
    from ganzoo.training.parts import State

__all__ = ["NAMES", "MetricAccumulator"]

_SCALARS = ("d_loss", "g_loss", "d_real", "d_fake", "d_grad", "g_grad")
_LEAD = "reported."
NAMES = ("step", "epoch", "images", *_SCALARS, "g_lr", "d_lr")
"""What every row has."""


class MetricAccumulator:
    """Sums on the device what each iteration measures, and makes rows of their means.

    With ``skipping``, updates whose numbers are not finite are left out, and counted.
    """

    def __init__(self, game: Game, device: torch.device, *, skipping: bool) -> None:
        self._game = game
        self._skipping = skipping
        self._sums = torch.zeros(len(_SCALARS), device=device)
        self._summed = torch.zeros(len(_SCALARS), device=device)
        self._reported: dict[str, Tensor] = {}  # by the loss: sum and count of each
        self._last: Step | None = None
        self._seen: set[str] = set()  # what an iteration had since the last row
        self._zero = torch.zeros((), device=device)
        self._there: dict[tuple[bool, ...], Tensor] = {}

    def add(self, step: Step) -> None:
        """Take an iteration into the means of the next row."""
        # A method may have phases of its own, and not all of them in each iteration.
        has = tuple(name in step.scalars for name in _SCALARS)
        if has not in self._there:
            self._there[has] = self._sums.new_tensor(has)
        there = self._there[has]
        self._seen.update(name for name, is_there in zip(_SCALARS, has, strict=True) if is_there)
        values = torch.stack([step.scalars.get(name, self._zero).float() for name in _SCALARS])
        if self._skipping:  # means of what was played
            finite = values.isfinite()
            self._sums += values.where(finite, 0)
            self._summed += finite * there
        else:
            self._sums += values
            self._summed += there
        for name in step.scalars.keys() - set(_SCALARS):
            value = step.scalars[name].to(self._sums)
            finite = value.isfinite()  # a ratio may have no value at times, which is no failure
            pair = torch.stack((value.where(finite, 0), finite.to(value)))
            self._reported[name] = self._reported.get(name, 0) + pair
        self._last = step

    def row(
        self,
        head: Mapping[str, float],
        scores: Callable[[], Mapping[str, float]],
        *,
        whole: bool,
    ) -> dict[str, float] | None:
        """Return means since the last row; the only host-device sync of the training loop.

        A number that a component reports is the mean over the iterations that reported it; the
        row has none where no iteration did, or none that is finite.

        Args:
            head: What the row begins with.
            scores: Returns what else is measured at this step; called if all is finite.
            whole: Whether the interval is over. If not, a resumed training completes the means.

        Returns:
            The row; None if a number is not finite.
        """
        game, last, count = self._game, self._last, len(_SCALARS)
        spread = self._sums.new_full((), math.nan)
        if last is not None and last.real is not None:
            spread = diversity(last.fake, last.real)
        pairs = self._reported.values()
        measured = (self._sums, self._summed, game.alarm[None], spread[None], *pairs)
        numbers = iter(torch.cat(measured).tolist())
        sums, summed = list(islice(numbers, count)), list(islice(numbers, count))
        alarm, varied = next(numbers), next(numbers)
        reported = zip(self._reported, numbers, numbers, strict=True)  # sum and count by turns
        alarmed = alarm and not self._skipping
        totals = {
            name: pair
            for name, *pair in zip(_SCALARS, sums, summed, strict=True)
            if name in self._seen
        }
        if alarmed or not all(b and math.isfinite(a) for a, b in totals.values()):
            return None
        means = {name: a / b for name, (a, b) in totals.items()}
        if whole:
            self._sums.zero_()
            self._summed.zero_()
            self._reported, self._seen = {}, set()
        row = {
            **head,
            **means,
            **scores(),
            "g_lr": float(game.g_optimizer.param_groups[0]["lr"]),
            "d_lr": float(game.d_optimizer.param_groups[0]["lr"]),
        }
        if math.isfinite(varied):
            row["diversity"] = varied
        if self._skipping:
            row["skipped"] = int(game.skipped)
        more = {name: total / times for name, total, times in reported if times}
        return row | {name: more[name] for name in sorted(more) if math.isfinite(more[name])}

    def state(self) -> State:
        """Return the sums since the last row."""
        reported = {f"{_LEAD}{name}": pair for name, pair in self._reported.items()}
        seen = {"seen": sorted(self._seen)} if self._seen else {}
        return {"sums": self._sums, "summed": self._summed, **reported}, seen

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._sums.copy_(tensors["sums"])
        self._summed.copy_(tensors["summed"])
        self._seen = set(values.get("seen", ()))
        self._reported = {
            name.removeprefix(_LEAD): pair.to(self._sums, copy=True)
            for name, pair in tensors.items()
            if name.startswith(_LEAD)
        }
