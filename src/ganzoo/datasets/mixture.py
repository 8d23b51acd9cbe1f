"""A mixture of normals: a distribution that is known, so that covering it can be measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from ganzoo.core.model import Model
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["QUARTER", "Coverage", "Mixture", "reached"]

QUARTER = 0.25
"""Part of its due share that a mode has at least, to be counted by it."""

_REACH = 3.0  # standard deviations from a centre within which a sample is of high quality
_ROUNDING = 1e-9  # of shares, relatively


@dataclass(frozen=True)
class Coverage:
    """How samples cover the modes of a mixture.

    Attributes:
        modes: Modes with at least one sample of high quality.
        total: Modes in all.
        high_quality: Share of the samples, in [0, 1], that lie within three standard deviations
            of a centre. Of the mixture's own samples it is 0.997 in one dimension and 0.989 in
            two.
        shares: Share of each mode among those samples, in the order of the centres; all 0 where
            there are none.
    """

    modes: int
    total: int
    high_quality: float
    shares: tuple[float, ...]

    @property
    def due(self) -> int:
        """Modes with at least a quarter of their due, as ``reached`` counts them."""
        return reached(
            [share * self.high_quality for share in self.shares],
            [1 / self.total] * self.total,
            QUARTER,
        )

    @property
    def rarest(self) -> float:
        """Share of the mode that is made least often; 0 if one is missing."""
        return min(self.shares)

    def __str__(self) -> str:
        """Return it in words.

        Such as ``2 of 3 modes, 1 with a quarter of its due, 98.1% high quality, rarest mode 0.0%``.
        """
        return (
            f"{self.modes} of {self.total} modes, {self.due} with a quarter of "
            f"{'its' if self.due == 1 else 'their'} due, {self.high_quality:.1%} high quality, "
            f"rarest mode {self.rarest:.1%}"
        )


def reached(shares: Sequence[float], due: Sequence[float], least: float) -> int:
    """Return how many modes have a part of their due, and at least one sample.

    By one sample, samples that lie anywhere reach most modes: 10,000 that are uniform over the
    square of a grid of 100 narrow modes reach more than 80. By a part of what is due, they reach
    none.

    Args:
        shares: Share of all samples, in [0, 1], that each mode has. Where there is a measure of
            quality only good ones are a mode's, and the others still count among all.
        due: Share that each mode has of the true distribution.
        least: Part of its due share, in [0, 1], that a mode needs; 0 for one sample.
    """
    return sum(
        share > 0 and share >= least * wanted * (1 - _ROUNDING)
        for share, wanted in zip(shares, due, strict=True)
    )


class Mixture(Model):
    """Normals of one width around several centres, all equally likely.

    Attributes:
        centres: The means, (modes, D).
        sd: Standard deviation of each normal along each axis.

    Raises:
        ConfigError: If there is no centre, or they are not points of one space.
    """

    error_label: ClassVar[str] = "The mixture"

    centres: tuple[tuple[float, ...], ...]
    sd: float = Field(gt=0)

    @field_validator("centres")
    @classmethod
    def _one_space(cls, centres: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if len({len(centre) for centre in centres}) != 1 or not centres[0]:
            raise ConfigError(
                f"A mixture needs at least one centre, and all with the same number of "
                f"coordinates, not {centres}."
            )
        return centres

    @property
    def dimensions(self) -> int:
        """D, the number of coordinates of a point."""
        return len(self.centres[0])

    def sample(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw points.

        Args:
            count: How many.
            generator: Source of randomness, on the CPU.

        Returns:
            Points float32 (count, D), and which normal each is from, int64 (count,).
        """
        import torch

        labels = torch.randint(len(self.centres), (count,), generator=generator)
        spread = torch.randn(count, self.dimensions, generator=generator)
        return torch.tensor(self.centres)[labels] + self.sd * spread, labels

    def density(self, points: Tensor) -> Tensor:
        """Return the probability density at points (N, D), float64 (N,) on their device."""
        import torch

        exponents = -0.5 * (self._distances(points) / self.sd) ** 2
        scale = 0.5 * self.dimensions * math.log(2 * math.pi * self.sd**2)
        return torch.exp(exponents.logsumexp(1) - math.log(len(self.centres)) - scale)

    def coverage(self, samples: Tensor) -> Coverage:
        """Return how samples (N, D) cover the modes.

        The protocol of Lin et al. 2017 (PacGAN, arXiv:1712.04086), who take 2,500
        samples: one is of high quality within three standard deviations of the nearest centre,
        and a mode counts as soon as one such sample is nearest to it. A sample that is not finite
        is near to nothing.

        Raises:
            ConfigError: If there are no samples, or they are of another dimension.
        """
        import torch

        if len(samples) == 0:
            raise ConfigError("Mode coverage needs at least one sample, and there are none.")
        nearest, modes = self._distances(samples).min(dim=1)
        good = nearest <= _REACH * self.sd  # which is False of NaN
        counts = torch.bincount(modes[good], minlength=len(self.centres)).tolist()
        found = sum(counts)
        return Coverage(
            modes=sum(count > 0 for count in counts),
            total=len(counts),
            high_quality=found / len(samples),
            shares=tuple(count / max(1, found) for count in counts),
        )

    def _distances(self, points: Tensor) -> Tensor:
        """Distances from points (N, D) to the centres (modes, D), float64 (N, modes)."""
        import torch

        if points.shape[1:] != (self.dimensions,):
            raise ConfigError(
                f"The mixture has points of shape {(self.dimensions,)}, not "
                f"{tuple(points.shape[1:])}; give a tensor (N, {self.dimensions})."
            )
        points = points.detach().double()
        centres = torch.tensor(self.centres, dtype=points.dtype, device=points.device)
        # Matrix products, which cdist takes for many points, are too coarse for narrow modes.
        return torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
