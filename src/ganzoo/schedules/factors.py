"""Learning-rate schedules: a factor on both nets' rates, as a function of progress alone."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, ClassVar

from pydantic import Field

from ganzoo.core.component import Component

__all__ = ["Constant", "Cosine", "Linear", "Schedule"]

Factor = Annotated[float, Field(ge=0, le=1e6)]


class Schedule(Component):
    """What both learning rates are multiplied with over the run."""

    kind: ClassVar[str] = "schedule"

    warmup: int = Field(0, ge=0, description="iterations over which the rate rises from zero")

    def factor(self, step: int, total: int) -> float:
        """Return the factor of iteration ``step`` (from 0) of ``total``."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        return self.decay((step - self.warmup) / max(1, total - self.warmup))

    @abstractmethod
    def decay(self, progress: float) -> float:
        """Return the factor after the warm-up, at ``progress`` in [0, 1)."""


class Constant(Schedule):
    """The same rate throughout."""

    def decay(self, progress: float) -> float:
        """Return 1."""
        return 1.0


class Linear(Schedule):
    """A straight line down to ``final``, from ``start`` of the run on."""

    start: float = Field(0.0, ge=0, lt=1, description="share of the run before the rate falls")
    final: Factor = Field(0.0, description="factor at the end")

    def decay(self, progress: float) -> float:
        """Return the line's value."""
        down = max(0.0, progress - self.start) / (1 - self.start)
        return 1 + (self.final - 1) * down


class Cosine(Schedule):
    """Half a cosine down to ``final`` (Loshchilov & Hutter 2016, arXiv:1608.03983, eq. 5)."""

    citation: ClassVar[str] = "Loshchilov & Hutter 2016, arXiv:1608.03983"
    final: Factor = Field(0.0, description="factor at the end")

    def decay(self, progress: float) -> float:
        """Return the cosine's value."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2
