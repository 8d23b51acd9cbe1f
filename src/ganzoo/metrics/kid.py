"""Kernel Inception Distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from ganzoo.errors import DataError
from ganzoo.metrics.base import ANY_KIND, Chosen, Metric, Part, Result

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.metrics.gathered import Gathered
    from ganzoo.spec import Kind

__all__ = ["KID", "polynomial_mmd"]


class KID(Metric):
    """Kernel Inception Distance: a distance of features without bias, also of few samples.

    Binkowski et al. 2018, arXiv:1801.01401, sec. 4: the unbiased estimate of the squared maximum
    mean discrepancy (Gretton et al. 2012, eq. 3) with the kernel k(x, y) = (x . y / D + 1)^3. It is
    the mean over random subsets, each of the same size of both and drawn without replacement;
    subsets and seed as torch-fidelity draws them. About 0 where both are the same, and then often
    slightly negative; without unit, sometimes published times 1,000.

    The error is the standard error of that mean over subsets, which overlap where samples are
    few; ``extra["std"]`` is their standard deviation, which torch-fidelity reports.
    """

    citation: ClassVar[str] = 'Binkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401'
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    gathers: ClassVar[tuple[Part, ...]] = ("features",)
    kinds: ClassVar[tuple[Kind, ...]] = ANY_KIND

    extractor: Chosen = Field(
        "inception", validate_default=True, description="what features are compared"
    )
    subsets: int = Field(100, ge=1, description="random subsets that are averaged over")
    subset_size: int = Field(1000, ge=2, description="samples in a subset")
    seed: int = Field(2020, ge=0, lt=2**32, description="decides the subsets")

    def compute(self, real: Gathered | None, fake: Gathered) -> Result:
        """Average over subsets of the features.

        Raises:
            DataError: If there are fewer samples than in a subset.
        """
        assert real is not None and real.features is not None and fake.features is not None
        fewest = min(len(real.features), len(fake.features))
        if fewest < self.subset_size:
            raise DataError(
                f"The metric '{self.name}' takes subsets of {self.subset_size:,} samples, and "
                f"there are only {fewest:,}: give more, or set subset_size={fewest}."
            )
        source = np.random.RandomState(self.seed)  # the one that torch-fidelity draws from

        def draw(features: Tensor) -> Tensor:
            chosen = source.choice(len(features), self.subset_size, replace=False)
            return features[torch.from_numpy(chosen).to(features.device)].double()

        values = np.array(
            [polynomial_mmd(draw(fake.features), draw(real.features)) for _ in range(self.subsets)]
        )
        error = float(values.std(ddof=1) / self.subsets**0.5) if self.subsets > 1 else None
        return Result(float(values.mean()), error, {"std": float(values.std())})


def polynomial_mmd(x: Tensor, y: Tensor) -> float:
    """Return the unbiased squared MMD of x and y, each (m, D) with m >= 2; see ``KID``."""
    m, d = x.shape
    y = y.to(x.device)

    def among(z: Tensor) -> Tensor:
        kernel = (z @ z.T / d + 1) ** 3
        return (kernel.sum() - kernel.diagonal().sum()) / (m * (m - 1))

    between = ((x @ y.T / d + 1) ** 3).sum() / (m * m)
    return float(among(x) + among(y) - 2 * between)
