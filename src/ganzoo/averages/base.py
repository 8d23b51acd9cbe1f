"""The contract of an average."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from ganzoo.core.component import Component

__all__ = ["Average"]


class Average(Component):
    """How the generator that is kept follows the one that trains.

    After each update of a net, each of its averages is ``share * average + (1 - share) * net``,
    weights and buffers alike.
    """

    kind: ClassVar[str] = "average"
    schedulable: ClassVar[tuple[str, ...]] = ()
    """Options that schedules may set."""

    @property
    def labels(self) -> tuple[float, ...]:
        """A number for each average that is kept at once, by which rows and files name it.

        Most keep one, whose label is of no matter. Of several, scores choose the one that is used;
        until then it is the first.
        """
        return (0.0,)

    @abstractmethod
    def retained(self, updates: int, images: float) -> Sequence[float]:
        """Return the share in [0, 1] that an update retains, for each of ``labels``.

        Args:
            updates: Updates before this one, from 0 on.
            images: Real samples seen per update.
        """
