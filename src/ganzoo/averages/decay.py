"""The exponential average of a fixed decay."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ganzoo.averages.base import Average

__all__ = ["Decay"]


class Decay(Average):
    """An exponential average: each update retains a fixed share.

    The share is min(``decay``, (1 + n) / (10 + n)) at update n, from 0 on, so that the random start
    is soon forgotten.
    """

    name: ClassVar[str] = "decay"
    schedulable: ClassVar[tuple[str, ...]] = ("decay",)

    decay: float = Field(
        0.999, ge=0, lt=1, description="share that an update retains; 0 keeps the last weights"
    )

    def retained(self, updates: int, images: float) -> tuple[float]:
        """Return the decay, or less at the start."""
        return (min(self.decay, (1 + updates) / (10 + updates)),)
