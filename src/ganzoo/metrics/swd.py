"""Sliced Wasserstein distance of local patches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch.nn.functional import normalize, pad

from ganzoo.core.seeds import derive
from ganzoo.errors import ConfigError, DataError, an
from ganzoo.metrics.base import Metric, Part, Result
from ganzoo.metrics.filters import separable
from ganzoo.metrics.inputs import batches

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec
    from ganzoo.metrics.inputs import MetricInputs

    _Chosen = tuple[MetricInputs, Tensor]  # a side, and which of its images are used

__all__ = ["SWD", "laplacian_pyramid", "sliced_wasserstein"]

_SIDE = 7  # of a patch
_COARSEST = 16  # pixels that the shorter side of a level has at the least
_IMAGES = 64  # looked at together; with the seed, this decides where patches are
_PROJECTED = 2**25  # values projected at once, 128 MiB


class SWD(Metric):
    """Sliced Wasserstein distance between patches of real and of generated images, by scale.

    Karras et al. 2018, arXiv:1710.10196, sec. 5: images are split into a Laplacian pyramid
    (Burt & Adelson 1983) down to 16 pixels. Of each level of each image, 128 patches of 7x7 pixels
    are taken at random and normalised by mean and standard deviation of each channel. Both sets
    are projected onto 512 random directions; the distance is the mean difference of the sorted
    projections, over places and directions. The value is the mean over levels, times 1,000, as it
    is published; ``extra["levels"]`` has each, by the shorter side of the level. In [0, inf); not 0
    of two sets of real images, for they are finite. As many real as generated images are used; of
    the side that has more they are drawn evenly at random. The paper takes 16,384.
    """

    citation: ClassVar[str] = (
        'Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and '
        'Variation", arXiv:1710.10196'
    )
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    requires: ClassVar[tuple[Part, ...]] = ("samples",)

    patches: int = Field(128, ge=1, description="patches of each level of each image")
    directions: int = Field(512, ge=1, description="random directions that are projected onto")
    seed: int = Field(0, ge=0, lt=2**63, description="decides images, patches and directions")

    def check(self, spec: SampleSpec) -> None:
        """Refuse what is not an image, or too small for a patch.

        Raises:
            ConfigError: If it is.
        """
        super().check(spec)
        if min(spec.size) < _SIDE:
            raise ConfigError(
                f"The metric '{self.name}' takes patches of {_SIDE}x{_SIDE} pixels, and this is "
                f"{an(spec)}: leave it out."
            )

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it level by level.

        Raises:
            DataError: If real images are constant, or of another size than generated ones.
        """
        assert real is not None and real.samples is not None and fake.samples is not None
        shape, other = tuple(real.samples.shape[1:]), tuple(fake.samples.shape[1:])
        if shape != other:
            raise DataError(
                f"The real images are {shape} and the generated ones {other}: the metric "
                f"'{self.name}' compares images of one size. Resize one of them."
            )
        count = min(real.count, fake.count)
        sides = (real, self._chosen(real, count)), (fake, self._chosen(fake, count))
        length: int = min(shape[1:])
        levels: list[int] = []
        while not levels or length >= _COARSEST:
            levels.append(length)
            length = (length + 1) // 2
        distances: dict[str, float] = {}
        flat = False
        for level, length in enumerate(levels):
            scales = []
            for side, whose in zip(sides, ("real", "generated"), strict=True):
                mean, deviation = self._scale(side, level)
                if not deviation.any() and whose == "real":
                    raise DataError(
                        f"The {count:,} real images are constant, so that there is nothing to "
                        f"compare with. Look at the dataset."
                    )
                flat = flat or not deviation.any()
                # A channel that is constant, such as an opaque alpha, becomes 0.
                scales.append((mean, deviation.where(deviation > 0, torch.inf)))
            distances[str(length)] = 1000 * self._distance(sides, level, scales)
        notices = (
            ("The generated images are constant: the generator has collapsed.",) if flat else ()
        )
        value = sum(distances.values()) / len(distances)
        return Result(value, extra={"levels": distances, "images": count}, notices=notices)

    def _chosen(self, part: MetricInputs, count: int) -> Tensor:
        """Positions of the images that are used: folders are sorted by class, so not the first."""
        if part.count == count:
            return torch.arange(count)
        source = torch.Generator().manual_seed(derive(self.seed, "images"))
        return torch.randperm(part.count, generator=source)[:count].sort().values

    def _distance(
        self,
        sides: tuple[_Chosen, _Chosen],
        level: int,
        scales: list[tuple[Tensor, Tensor]],
    ) -> float:
        """Distance of one level; patches are taken anew for every few directions."""
        (real, chosen), _ = sides
        assert real.samples is not None
        count, width = len(chosen), real.samples.shape[1] * _SIDE**2
        source = torch.Generator().manual_seed(derive(self.seed, "directions", level))
        directions = normalize(torch.randn(self.directions, width, generator=source), dim=1).T
        total = 0.0
        size = max(1, _PROJECTED // (count * self.patches))
        for some in batches(self.directions, size):
            lines = directions[:, some]
            projected = []
            for side, (mean, deviation) in zip(sides, scales, strict=True):
                projected.append(
                    torch.cat(
                        [
                            ((patches - mean) / deviation).flatten(1) @ lines.to(patches)
                            for patches in self._patches(side, level)
                        ]
                    )
                )
            total += sliced_wasserstein(*projected) * lines.shape[1]
        return total / self.directions

    def _scale(self, side: _Chosen, level: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel over all patches, each (1, C, 1)."""
        total = squares = torch.zeros(())
        values = 0
        for patches in self._patches(side, level):
            exact = patches.double()
            total = total.to(exact) + exact.sum((0, 2))
            squares = squares.to(exact) + exact.square().sum((0, 2))
            values += exact.shape[0] * exact.shape[2]
        mean = total / values
        variance = squares / values - mean.square()
        # What is left of equal values after subtracting is not a variance.
        variance = variance.where(variance > 1e-10 * (1 + mean.square()), 0.0)
        return mean.float()[None, :, None], variance.sqrt().float()[None, :, None]

    def _patches(self, side: _Chosen, level: int) -> Iterator[Tensor]:
        """Patches (n, C, 49) of one level, batch by batch: the same ones each time."""
        part, positions = side
        places = torch.arange(_SIDE)
        for batch, chosen in enumerate(batches(len(positions), _IMAGES)):
            images = laplacian_pyramid(part.pixels(positions[chosen]), level)
            n, channels, height, width = images.shape
            source = torch.Generator().manual_seed(derive(self.seed, "patches", level, batch))
            shape = (n, self.patches, 1, 1)
            top = torch.randint(height - _SIDE + 1, shape, generator=source)
            left = torch.randint(width - _SIDE + 1, shape, generator=source)
            index = (top + places[:, None]) * width + left + places  # (n, patches, 7, 7)
            index = index.reshape(n, 1, -1).expand(-1, channels, -1).to(images.device)
            found = images.flatten(2).gather(2, index)
            found = found.reshape(n, channels, self.patches, _SIDE**2)
            yield found.transpose(1, 2).reshape(-1, channels, _SIDE**2)


def sliced_wasserstein(a: Tensor, b: Tensor) -> float:
    """Return the mean Wasserstein-1 distance of the columns of a and b, each (n, directions)."""
    apart = (a.sort(0).values - b.to(a.device).sort(0).values).abs()
    return float(apart.mean(dtype=torch.float64))


def laplacian_pyramid(images: Tensor, level: int) -> Tensor:
    """Return one level of the Laplacian pyramid of images (n, C, H, W), 0 the finest.

    Each level is what the next coarser one, blurred up again, lacks. Sides are halved, and
    rounded up.
    """
    for _ in range(level):
        images = _down(images)
    if min(images.shape[2:]) < 2 * _COARSEST - 1:  # the coarsest is what remains
        return images
    return images - _up(_down(images), images)


def _blur(images: Tensor) -> Tensor:
    """Blur by (1 4 6 4 1) / 16 along both axes, mirrored at the borders."""
    wide = pad(images, (2, 2, 2, 2), mode="reflect")
    return separable(wide, [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16])


def _down(images: Tensor) -> Tensor:
    return _blur(images)[:, :, ::2, ::2]


def _up(images: Tensor, like: Tensor) -> Tensor:
    spread = torch.zeros_like(like)
    spread[:, :, ::2, ::2] = images
    return 4 * _blur(spread)
