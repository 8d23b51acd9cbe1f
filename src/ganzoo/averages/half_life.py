"""The exponential average by a half-life in images."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from ganzoo.averages.base import Average

__all__ = ["HalfLife"]


def _limit(value: Any) -> Any:
    return 0.0 if value is None else value


class HalfLife(Average):
    """An exponential average by a half-life in images, whatever the batch size.

    An update retains 0.5^(b / h), where b are the images of the update and h is the half-life, at
    most ``ramp`` times the images seen before (half-life: Karras et al. 2018, arXiv:1710.10196;
    limit: Karras et al. 2020, arXiv:2006.06676). Images are real samples drawn, as in the rows.
    """

    name: ClassVar[str] = "half-life"
    citation: ClassVar[str] = (
        'Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and '
        'Variation", arXiv:1710.10196'
    )
    schedulable: ClassVar[tuple[str, ...]] = ("images",)

    images: float = Field(
        10_000.0, ge=0, le=1e15, description="images after which a half is forgotten"
    )
    ramp: Annotated[float, BeforeValidator(_limit)] = Field(
        0.05,
        ge=0,
        le=1e6,
        description="share of the images seen that the half-life is at most; 0 for no limit",
    )

    def retained(self, updates: int, images: float) -> tuple[float]:
        """Return the share by the half-life of now; 0 where that is 0."""
        half_life = self.images
        if self.ramp:
            half_life = min(half_life, self.ramp * images * updates)
        return (float(0.5 ** (images / half_life)) if half_life else 0.0,)
