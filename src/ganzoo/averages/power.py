"""Averages by a power function, of one or several widths at once."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from ganzoo.averages.base import Average
from ganzoo.errors import ConfigError, listing

__all__ = ["Power", "exponent"]

Width = Annotated[float, Field(ge=1e-6, lt=1 / math.sqrt(12))]


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, (int, float)) else value


class Power(Average):
    """Averages by a power function, of one or several widths; scores choose the one that is kept.

    Karras et al. 2024, arXiv:2312.02696, sec. 3.1: the net after update t has the weight t^gamma,
    so that update t retains (1 - 1/t)^(gamma + 1). The random start is forgotten at the first
    update, and the average widens with the training. A width is the standard deviation of these
    weights as a share of the training so far (appendix C.1); a small one forgets fast.

    All widths are kept in memory and in checkpoints, each a copy of the generator. Where the
    training scores itself, all of them are scored, which takes one evaluation for each, and the
    best by the score that decides is kept, sampled and exported from then on. Until then, and
    without scores, it is the first.
    """

    name: ClassVar[str] = "power"
    citation: ClassVar[str] = (
        'Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", '
        "arXiv:2312.02696"
    )

    widths: Annotated[tuple[Width, ...], BeforeValidator(_several)] = Field(
        (0.05, 0.1),
        max_length=64,
        description="standard deviations, as shares of the training, below 0.2886",
    )

    @field_validator("widths")
    @classmethod
    def _ascending(cls, widths: tuple[float, ...]) -> tuple[float, ...]:
        if not widths:
            raise ConfigError("Average 'power' has no width. Give one or several, such as 0.1.")
        if any(left >= right for left, right in itertools.pairwise(widths)):
            raise ConfigError(
                f"The widths of average 'power' must ascend, and are "
                f"{listing(f'{width:g}' for width in widths)}. Give each once, smallest first."
            )
        return widths

    @property
    def labels(self) -> tuple[float, ...]:
        """The widths."""
        return self.widths

    def retained(self, updates: int, images: float) -> tuple[float, ...]:
        """Return (1 - 1/t)^(gamma + 1) of each width, where t is the number of this update."""
        rest = updates / (updates + 1)
        return tuple(rest ** (exponent(width) + 1) for width in self.widths)


@functools.cache
def exponent(width: float) -> float:
    """Return gamma > 0 of a relative width in (0, 1/sqrt(12)).

    It is the largest root of (gamma + 2)^2 (gamma + 3) width^2 = gamma + 1 (arXiv:2312.02696,
    appendix C.1), all of whose roots are real, by Viete's formula.
    """
    inverse = width**-2
    third = (inverse + 1 / 3) / 3  # with gamma = x - 7/3: x^3 - 3 third x + 2 half = 0
    half = 2 * inverse / 3 + 1 / 27
    angle = math.acos(max(-1.0, min(1.0, -half / third**1.5)))
    return 2 * math.sqrt(third) * math.cos(angle / 3) - 7 / 3
