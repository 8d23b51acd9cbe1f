"""Scores by nearest neighbours among features: precision, recall, density, coverage, copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field

from ganzoo.errors import DataError
from ganzoo.metrics.base import ANY_KIND, Chosen, Metric, Part, Result
from ganzoo.metrics.inputs import batches

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import Kind
    from ganzoo.metrics.inputs import MetricInputs

__all__ = ["Coverage", "Density", "NearestNeighbours", "Precision", "Recall", "nearest", "radii"]

_ROWS, _COLUMNS = 1024, 4096  # of one block of distances, 32 MiB
_SAME = 1e-12  # squared distance, of the squared lengths, that is taken for 0: float64 rounding
_TIE = 1e-12  # by which two squared distances that are equal may differ


class _Neighbours(Metric):
    """What these metrics share: features, and balls around real or generated ones."""

    requires: ClassVar[tuple[Part, ...]] = ("features",)
    sample_kinds: ClassVar[tuple[Kind, ...]] = ANY_KIND

    extractor: Chosen = Field(
        "inception", validate_default=True, description="what features are compared"
    )


class _Balls(_Neighbours):
    """Balls that reach to the k-th nearest neighbour."""

    better: ClassVar[Literal["lower", "higher"] | None] = "higher"

    lowers_min_samples: ClassVar[str | None] = "neighbours"

    neighbours: int = Field(3, ge=1, description="neighbours that a ball reaches to, k")

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        """One more than the neighbours of each sample."""
        return self.neighbours + 1


class Precision(_Balls):
    """Improved precision: the share of generated samples that lie where real ones are.

    Kynkaanniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2: the share of generated features that
    are within the ball of a real one, which reaches to its k-th nearest real neighbour (k = 3),
    boundary included. In [0, 1]; 1 is best. It depends on the number of samples: compare the same
    numbers only.
    """

    citation: ClassVar[str] = (
        'Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative '
        'Models", arXiv:1904.06991'
    )

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it block by block."""
        assert real is not None
        return _share_within(fake, real, self.neighbours, _centre(real))


class Recall(_Balls):
    """Improved recall: the share of real samples that lie where generated ones are.

    Kynkaanniemi et al. 2019, arXiv:1904.06991, eq. 1 and 2: the share of real features that are
    within the ball of a generated one, which reaches to its k-th nearest generated neighbour
    (k = 3), boundary included. In [0, 1]; 1 is best.
    """

    citation: ClassVar[str] = Precision.citation

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it block by block."""
        assert real is not None
        return _share_within(real, fake, self.neighbours, _centre(real))


class Density(_Balls):
    """Density: how many balls of real samples a generated one lies in, outliers counting little.

    Naeem et al. 2020, arXiv:2002.09797, eq. 5: the mean over generated features of the number of
    real balls that they are within, divided by k (k = 5), boundary excluded as in the package
    prdc. In [0, real samples / k]; about 1 where both are the same, and it may be above.
    """

    citation: ClassVar[str] = (
        'Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", '
        "arXiv:2002.09797"
    )

    neighbours: int = Field(5, ge=1, description="neighbours that a ball reaches to, k")

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it block by block."""
        assert real is not None
        centre = _centre(real)
        generated = _features(fake)
        reach = radii(real, self.neighbours, centre).to(generated.device) * (1 - _TIE)
        found = 0
        for _, columns, squares in _blocks(generated, _features(real), centre):
            found += int((squares < reach[columns]).sum())
        return Result(found / (self.neighbours * len(generated)))


class Coverage(_Balls):
    """Coverage: the share of real samples with a generated one in their ball.

    Naeem et al. 2020, arXiv:2002.09797, eq. 6: the share of real features whose ball, which
    reaches to the k-th nearest real neighbour (k = 5), holds a generated one, boundary excluded
    as in the package prdc. In [0, 1]; 1 is best, and of as many samples of the same distribution
    it is about 1 - 2^-k.
    """

    citation: ClassVar[str] = Density.citation

    neighbours: int = Field(5, ge=1, description="neighbours that a ball reaches to, k")

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it block by block."""
        assert real is not None
        centre = _centre(real)
        reach = radii(real, self.neighbours, centre) * (1 - _TIE)
        squares, _ = nearest(_features(real), _features(fake), 1, centre)
        return Result((squares[:, 0] < reach).double().mean().item())


class NearestNeighbours(_Neighbours):
    """Whether samples are copies of training samples: distance to the nearest one.

    The value is the median, over generated features, of the distance to the nearest real one, as
    a ratio to the median distance of a real one to the nearest other real one. In [0, inf): near
    0 are copies, 1 is as far as training samples are from each other, and far above 1 samples are
    unlike all of them, so that neither end is the better one. Give the training samples as the
    real ones.

    ``extra["authenticity"]`` is the share, in [0, 1], of generated samples that are farther from
    their nearest real one than that is from its own nearest neighbour (Alaa et al. 2022,
    arXiv:2102.08921, sec. 3): 0 are copies. ``extra["closest"]`` are the samples with the smallest
    ratio of these two distances, closest first, with the positions of both: material for a
    picture. The ratio is None where that real one occurs twice and the sample is not a copy.
    """

    citation: ClassVar[str] = (
        'Alaa et al. 2022, "How Faithful is your Synthetic Data? Sample-level Metrics for '
        'Evaluating and Auditing Generative Models", arXiv:2102.08921'
    )
    better: ClassVar[Literal["lower", "higher"] | None] = None

    shown: int = Field(16, ge=0, le=1000, description="pairs of samples that are named")

    @property
    def num_pairs(self) -> int:
        """Pairs in ``extra["closest"]``."""
        return self.shown

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it block by block.

        Raises:
            DataError: If most real samples are there twice, so that there is nothing to compare to.
        """
        assert real is not None
        centre = _centre(real)
        among = radii(real, 1, centre).sqrt().cpu()
        usual = among.median().item()
        if usual == 0:
            raise DataError(
                f"Most of the {real.count:,} real samples have the features of another one, so "
                f"that no distance can be set beside theirs. Look at the dataset for duplicates."
            )
        squares, indices = nearest(_features(fake), _features(real), 1, centre)
        distances, indices = squares[:, 0].sqrt().cpu(), indices[:, 0].cpu()
        own = among[indices]
        # A copy of a sample that is there twice is 0 of 0, and a copy.
        ratios = torch.where(distances > 0, distances / own, 0.0)
        order = ratios.sort(stable=True).indices[: self.shown]
        closest = [
            {
                "fake": i,
                "real": int(indices[i]),
                "distance": float(distances[i]),
                "ratio": float(ratios[i]) if ratios[i].isfinite() else None,
            }
            for i in order.tolist()
        ]
        authentic = (distances > own * (1 + _TIE)).double().mean().item()
        return Result(
            distances.median().item() / usual,
            extra={"authenticity": authentic, "usual_distance": usual, "closest": closest},
        )


def nearest(points: Tensor, others: Tensor | None, k: int, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Return the k nearest of others for each point, by block, in bounded memory.

    Args:
        points: (N, D).
        others: (M, D); None for the points themselves, each without itself.
        k: How many, at most M, or N - 1.
        centre: (D,) float64, where most of them are, so that their distances keep their digits.

    Returns:
        Squared distances, float64 (N, k), smallest first, and which they are, int64 (N, k).
    """
    found, which = [], []
    best = chosen = torch.empty(0)
    for rows, columns, squares in _blocks(points, points if others is None else others, centre):
        if others is None:
            same = range(max(rows.start, columns.start), min(rows.stop, columns.stop))
            index = torch.tensor(same, dtype=torch.long, device=squares.device)
            squares[index - rows.start, index - columns.start] = torch.inf
        if columns.start == 0:
            best = squares.new_empty(len(squares), 0)
            chosen = best.long()
        numbers = torch.arange(columns.start, columns.stop, device=squares.device)
        squares, places = squares.topk(min(k, squares.shape[1]), largest=False)
        best, order = torch.cat((best, squares), 1).sort(stable=True)
        chosen = torch.cat((chosen, numbers[places]), 1).gather(1, order)[:, :k]
        best = best[:, :k]
        if columns.stop == len(points if others is None else others):
            found.append(best)
            which.append(chosen)
    return torch.cat(found), torch.cat(which)


def radii(part: MetricInputs, k: int, centre: Tensor) -> Tensor:
    """Return the squared distance of each sample's features to their k-th nearest other, (N,)."""
    known: Tensor | None = part.cache.get("nearest")
    if known is None or known.shape[1] < k:
        # Five serve precision, recall, density and coverage alike.
        known, _ = nearest(_features(part), None, min(max(k, 5), part.count - 1), centre)
        part.cache["nearest"] = known
    return known[:, k - 1]


def _share_within(part: MetricInputs, others: MetricInputs, k: int, centre: Tensor) -> Result:
    """Share of samples within the ball of one of the others, boundary included."""
    points = _features(part)
    reach = radii(others, k, centre).to(points.device) * (1 + _TIE)
    within = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for rows, columns, squares in _blocks(points, _features(others), centre):
        within[rows.start : rows.stop] |= (squares <= reach[columns.start : columns.stop]).any(1)
    return Result(within.double().mean().item())


def _features(part: MetricInputs) -> Tensor:
    assert part.features is not None
    return part.features


def _centre(real: MetricInputs) -> Tensor:
    """Mean of the real features, (D,) float64: generated ones may lie anywhere."""
    known: Tensor | None = real.cache.get("centre")
    if known is None:
        parts = torch.split(_features(real), _COLUMNS)
        known = torch.stack([part.double().sum(0) for part in parts]).sum(0) / real.count
        real.cache["centre"] = known
    return known


def _blocks(
    points: Tensor, others: Tensor, centre: Tensor
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Give squared distances float64 (n, m) of all pairs, by block, columns faster than rows.

    By |x|^2 + |y|^2 - 2 x . y from the centre, whose rounding can leave a trace of equal ones: that
    is cut off. From the origin it would drown distances that are small beside what all share.
    """
    others, centre = others.to(points.device), centre.to(points.device)
    lengths = torch.cat(
        [
            (others[part].double() - centre).square().sum(1)
            for part in batches(len(others), _COLUMNS)
        ]
    )
    for rows in batches(len(points), _ROWS):
        x = points[rows].double() - centre
        own = x.square().sum(1, keepdim=True)
        for columns in batches(len(others), _COLUMNS):
            total = own + lengths[columns]
            y = others[columns].double() - centre
            squares = torch.addmm(total, x, y.T, alpha=-2)
            yield rows, columns, squares.masked_fill_(squares <= _SAME * total, 0.0)
