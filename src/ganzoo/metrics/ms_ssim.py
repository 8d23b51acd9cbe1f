"""Multi-scale structural similarity of pairs of samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import avg_pool2d

from ganzoo.metrics.base import Metric, Part, Result
from ganzoo.metrics.filters import separable
from ganzoo.metrics.inputs import batches

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.metrics.inputs import MetricInputs

__all__ = ["MSSSIM", "ms_ssim", "pairs"]

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_BATCH = 2**21  # values per batch of images


class MSSSIM(Metric):
    """How alike pairs of generated images are: the opposite of their diversity.

    Odena et al. 2017, arXiv:1610.09585, sec. 4.2: the mean multi-scale structural similarity
    (Wang et al. 2003, sec. 3) over random pairs of generated images, each of them in one pair. In
    [0, 1]; 1 where all are the same picture. It says nothing about quality, and noise has the
    lowest: compare it with ``extra["real"]``, that of pairs of real images, where there are some.
    The error is the standard error of the mean over pairs.

    Settings of Wang et al. on pixels in [0, 255]: five scales, Gaussian window 11 with standard
    deviation 1.5. In images too small for it the window shrinks, and its deviation with it, as in
    the evaluation of Karras et al. 2018, arXiv:1710.10196; so 32x32 images have a score too,
    comparable among images of one size only.
    """

    citation: ClassVar[str] = (
        'Odena et al. 2017, "Conditional Image Synthesis With Auxiliary Classifier GANs", '
        "arXiv:1610.09585"
    )
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    requires: ClassVar[tuple[Part, ...]] = ("samples",)
    needs_real: ClassVar[bool] = False

    seed: int = Field(0, ge=0, lt=2**32, description="decides the pairs")

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it pair by pair."""
        values = self._similarities(fake)
        error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else None
        extra: dict[str, Any] = {"pairs": len(values)}
        if real is not None and real.samples is not None and real.count >= self.min_samples:
            real.require_finite("samples", "real")
            extra["real"] = self._similarities(real).mean().item()
        return Result(values.mean().item(), error, extra)

    def _similarities(self, part: MetricInputs) -> Tensor:
        assert part.samples is not None
        size = max(1, _BATCH // part.samples[0].numel())
        first, second = pairs(part.count, self.seed)
        return torch.cat(
            [
                ms_ssim(part.pixels(first[batch]), part.pixels(second[batch]))
                for batch in batches(len(first), size)
            ]
        ).cpu()


def pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return positions of the first and second samples of random pairs, each sample in one."""
    order = torch.from_numpy(np.random.RandomState(seed).permutation(count))
    return order[0 : count // 2 * 2 : 2], order[1::2]


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the multi-scale structural similarity of images a and b (n, C, H, W) in [0, 255].

    Wang et al. 2003, eq. 7, in float64; contrast and structure that are negative count as 0.

    Returns:
        (n,) float64 in [0, 1].
    """
    a, b = a.double(), b.double()
    total = torch.ones(len(a), dtype=a.dtype, device=a.device)
    for scale, weight in enumerate(_WEIGHTS):
        if scale:
            # An odd side is rounded up, its last row or column counting twice.
            a, b = (
                avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False) for images in (a, b)
            )
        ssim, contrast = _ssim(a, b)
        last = scale == len(_WEIGHTS) - 1
        total = total * (ssim if last else contrast).clamp(min=0) ** weight
    return total


def _ssim(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean similarity, and that of contrast and structure alone, each (n,)."""
    size = min(_WINDOW, *a.shape[2:])
    sigma = size * _SIGMA / _WINDOW
    window = [math.exp(-((i - (size - 1) / 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    window = [weight / sum(window) for weight in window]

    def blurred(images: Tensor) -> Tensor:
        return separable(images, window).flatten(1)

    mean_a, mean_b = blurred(a), blurred(b)
    variance = blurred(a * a) + blurred(b * b) - mean_a.square() - mean_b.square()
    covariance = blurred(a * b) - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a.square() + mean_b.square() + _C1)
    return (luminance * contrast).mean(1), contrast.mean(1)
