"""Kernel Inception Distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from ganzoo.metrics.base import ANY_KIND, Chosen, Metric, Part, Result

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import Kind
    from ganzoo.metrics.inputs import MetricInputs

__all__ = ["KID", "Spread", "polynomial_mmd"]

_FEWEST = 4  # samples in a subset that its variance can be estimated from


class KID(Metric):
    """Kernel Inception Distance: a distance of features without bias, also of few samples.

    Binkowski et al. 2018, arXiv:1801.01401, sec. 4: the unbiased estimate of the squared maximum
    mean discrepancy (Gretton et al. 2012, eq. 3) with the kernel k(x, y) = (x . y / D + 1)^3. It is
    the mean over random subsets, each of the same size of both and drawn without replacement;
    subsets and seed as torch-fidelity draws them. About 0 where both are the same, and then often
    slightly negative; without unit, sometimes published times 1,000.

    The error is the standard error of the value: an estimate of its standard deviation over fresh
    samples of both sides, by the variance of U-statistics (Hoeffding 1948; Sutherland et al.
    2017, arXiv:1611.04488, for this one). Beyond a point it falls as samples become more, and not
    as subsets do. None where subsets have fewer than 4 samples. ``extra["std"]`` is the standard
    deviation over the subsets, which torch-fidelity reports: it says how much subsets differ,
    which overlap where samples are few.
    """

    citation: ClassVar[str] = 'Binkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401'
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    requires: ClassVar[tuple[Part, ...]] = ("features",)
    sample_kinds: ClassVar[tuple[Kind, ...]] = ANY_KIND
    lowers_min_samples: ClassVar[str | None] = "subset_size"

    extractor: Chosen = Field(
        "inception", validate_default=True, description="what features are compared"
    )
    subsets: int = Field(100, ge=1, description="random subsets that are averaged over")
    subset_size: int = Field(1000, ge=2, description="samples in a subset")
    seed: int = Field(2020, ge=0, lt=2**32, description="decides the subsets")

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        """As many as are in a subset."""
        return self.subset_size

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Average over subsets of the features."""
        assert real is not None and real.features is not None and fake.features is not None
        source = np.random.RandomState(self.seed)  # the one that torch-fidelity draws from

        def draw(features: Tensor) -> Tensor:
            chosen = source.choice(len(features), self.subset_size, replace=False)
            return features[torch.from_numpy(chosen).to(features.device)].double()

        found = [
            polynomial_mmd(draw(fake.features), draw(real.features)) for _ in range(self.subsets)
        ]
        values = np.array([value for value, _ in found])
        error = None
        if self.subset_size >= _FEWEST:
            spread = Spread(*np.mean([each.terms for _, each in found], axis=0).clip(min=0))
            whole = spread.variance(len(fake.features), len(real.features))
            # Given the samples, subsets are drawn independently: what is between the variance of
            # one of them and that of all samples falls as they become more.
            more = spread.variance(self.subset_size, self.subset_size) - whole
            error = math.sqrt(whole + more / self.subsets)
        return Result(float(values.mean()), error, {"std": float(values.std())})


@dataclass(frozen=True)
class Spread:
    """What decides the variance of an unbiased squared MMD of x and y.

    The terms of Hoeffding's decomposition, all of which are uncorrelated.

    Attributes:
        x: Variance of what a single x contributes, E k(x, x') - E k(x, y).
        y: The same of a single y.
        among_x: Variance of what a pair of x contributes beyond that.
        among_y: The same of a pair of y.
        between: The same of a pair of x and y.
    """

    x: float
    y: float
    among_x: float
    among_y: float
    between: float

    @property
    def terms(self) -> tuple[float, ...]:
        """All of them, in the order above."""
        return self.x, self.y, self.among_x, self.among_y, self.between

    def variance(self, n: int, m: int) -> float:
        """Return the variance of the squared MMD of n samples x and m samples y."""
        singles = 4 * (self.x / n + self.y / m)
        pairs = self.among_x / (n * (n - 1)) + self.among_y / (m * (m - 1))
        return singles + 2 * pairs + 4 * self.between / (n * m)


def polynomial_mmd(x: Tensor, y: Tensor) -> tuple[float, Spread]:
    """Return the unbiased squared MMD of x and y, each (m, D) with m >= 2; see ``KID``.

    Beside it are unbiased estimates of what its variance over fresh x and y comes from, all 0
    where m < 4. Each of them can be negative by chance.
    """
    m, d = x.shape
    y = y.to(x.device)
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = [(kernel.sum() - kernel.diagonal().sum()) / (m * (m - 1)) for kernel in (xx, yy)]
    value = float(within[0] + within[1] - 2 * (xy.sum() / (m * m)))
    if m < _FEWEST:
        return value, Spread(0.0, 0.0, 0.0, 0.0, 0.0)
    across, whole = (xy.mean(1), xy.mean(0)), xy.mean()
    xy.sub_(across[0][:, None]).sub_(across[1]).add_(whole)
    between = (xy.square_().sum() / (m - 1) ** 2).item()
    singles, pairs = [], []
    for kernel, others in zip((xx, yy), across, strict=True):
        kernel.fill_diagonal_(0.0)
        rows = kernel.sum(1) / (m - 2)
        # Centred as in Szekely & Rizzo 2014 (Annals of Statistics 42), so that there is no bias
        # although rows and columns are means of the same samples.
        whole = kernel.sum() / ((m - 1) * (m - 2))
        kernel.sub_(rows).sub_(rows[:, None]).add_(whole).fill_diagonal_(0.0)
        pairs.append((kernel.square_().sum() / (m * (m - 3))).item())
        singles.append((rows - others).var().item() - pairs[-1] / (m - 2) - between / m)
    return value, Spread(singles[0], singles[1], pairs[0], pairs[1], between)
