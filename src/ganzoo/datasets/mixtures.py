"""Points of one and two dimensions from known distributions: GANs that train in minutes."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ganzoo.core.seeds import derive
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.base import Dataset
from ganzoo.datasets.mixture import Mixture
from ganzoo.datasets.samples import Samples

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Gaussian1D", "Grid", "Ring", "Spiral", "ThreeGaussians"]

_PACGAN = "Lin et al. 2017 (PacGAN), arXiv:1712.04086"


class _Points(Dataset):
    """Points that are drawn when they are loaded, the same ones each time."""

    license: ClassVar[str] = "CC0-1.0"

    count: int = Field(100_000, ge=1, description="points in all")
    seed: int = Field(0, ge=0, lt=2**63, description="decides the points, apart from the run's")

    @property
    def mixture(self) -> Mixture | None:
        """The distribution, where it is a mixture of normals."""
        return None

    def load(self) -> Samples:
        """Draw the points: float32 (count, D), with labels where there are several modes."""
        import torch

        generator = torch.Generator().manual_seed(derive(self.seed, "points"))
        points, labels = self._draw(generator)
        classes = tuple(f"mode {mode}" for mode in range(self._modes))
        labelled = len(classes) > 1
        return Samples(
            data=points,
            spec=SampleSpec(
                kind="vector",
                shape=tuple(points.shape[1:]),
                value_range=None,
                classes=classes if labelled else None,
            ),
            labels=labels if labelled else None,
            stored_range=None,
            mixture=self.mixture,
        )

    @property
    @abstractmethod
    def _modes(self) -> int:
        """How many parts the points are from, each a class."""

    @abstractmethod
    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points float32 (count, D) and the part that each is from, int64 (count,)."""


class _OfMixture(_Points):
    """Points of a mixture of normals."""

    @property
    @abstractmethod
    def mixture(self) -> Mixture:
        """The distribution of the points."""

    @property
    def _modes(self) -> int:
        return len(self.mixture.centres)

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.mixture.sample(self.count, generator)


class Gaussian1D(_OfMixture):
    """Numbers from one normal distribution: the smallest task there is."""

    mean: float = Field(5.0, description="mean of the numbers")
    sd: float = Field(1.0, gt=0, description="standard deviation of the numbers")

    @property
    def mixture(self) -> Mixture:
        """The normal distribution, as a mixture of one."""
        return Mixture(centres=((self.mean,),), sd=self.sd)


class ThreeGaussians(_OfMixture):
    """Points around (-5, -5), (5, 5) and (-5, 5): the smallest task that shows mode collapse."""

    sd: float = Field(1.0, gt=0, description="standard deviation around each centre")

    @property
    def mixture(self) -> Mixture:
        """The three normal distributions."""
        return Mixture(centres=((-5, -5), (5, 5), (-5, 5)), sd=self.sd)


class Ring(_OfMixture):
    """Points around places that lie evenly on a circle; by default the ring of 8."""

    citation: ClassVar[str] = _PACGAN

    modes: int = Field(8, ge=1, description="places on the circle")
    radius: float = Field(1.0, gt=0, description="radius of the circle")
    sd: float = Field(0.01, gt=0, description="standard deviation around each place")

    @property
    def mixture(self) -> Mixture:
        """The normal distributions, anticlockwise from (radius, 0)."""
        angles = [2 * math.pi * mode / self.modes for mode in range(self.modes)]
        centres = ((self.radius * math.cos(a), self.radius * math.sin(a)) for a in angles)
        return Mixture(centres=tuple(centres), sd=self.sd)


class Grid(_OfMixture):
    """Points around the crossings of a square grid about the origin; by default the grid of 25."""

    citation: ClassVar[str] = _PACGAN

    side: int = Field(5, ge=1, description="crossings along each axis")
    spacing: float = Field(2.0, gt=0, description="distance between neighbours")
    sd: float = Field(0.05, gt=0, description="standard deviation around each crossing")

    @property
    def mixture(self) -> Mixture:
        """The normal distributions, row by row from the lower left."""
        places = [self.spacing * (place - (self.side - 1) / 2) for place in range(self.side)]
        return Mixture(centres=tuple((x, y) for y in places for x in places), sd=self.sd)


class Spiral(_Points):
    """Points along the arms of a spiral of radius 1: a thin shape that is not a mixture."""

    arms: int = Field(2, ge=1, description="arms, evenly turned against each other")
    turns: float = Field(1.0, gt=0, description="turns of an arm from the centre outwards")
    noise: float = Field(0.02, ge=0, description="standard deviation around the arms")

    @property
    def _modes(self) -> int:
        return self.arms

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        import torch

        arm = torch.randint(self.arms, (self.count,), generator=generator)
        # Archimedean; the root spreads the points along an arm instead of heaping them inside.
        radius = torch.rand(self.count, generator=generator).sqrt()
        angle = 2 * math.pi * (self.turns * radius + arm / self.arms)
        points = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)
        return points + self.noise * torch.randn(self.count, 2, generator=generator), arm
