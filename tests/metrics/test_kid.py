from __future__ import annotations

import numpy as np
import pytest
import torch

from ganzoo import metrics
from ganzoo.errors import DataError
from ganzoo.metrics.inputs import MetricInputs
from ganzoo.metrics.kid import Spread, polynomial_mmd


def test_golden(real, fake, gather):
    """torch-fidelity 0.4 on the same features in float64."""
    metric = metrics.create("kid", subsets=20, subset_size=100)
    result = metric.score(gather(real), gather(fake))
    assert result.value == pytest.approx(1.2108082085554097, rel=1e-12)
    assert result.extra["std"] == pytest.approx(0.9317946313958474, rel=1e-12)


def test_the_whole_is_one_subset(draw, gather):
    x, y = draw(30, seed=1), draw(30, seed=2)
    metric = metrics.create("kid", subsets=1, subset_size=30)
    result = metric.score(gather(x), gather(y))
    a, b = x.double().numpy(), y.double().numpy()

    def kernel(p, q):
        return (p @ q / len(p) + 1) ** 3

    within = [
        np.mean([kernel(z[i], z[j]) for i in range(30) for j in range(30) if i != j])
        for z in (a, b)
    ]
    between = np.mean([kernel(p, q) for p in a for q in b])
    assert result.value == pytest.approx(sum(within) - 2 * between, rel=1e-9)


# -- the error -------------------------------------------------------------------------------------


def same(count, source, side):
    return torch.randn(count, 16, generator=source)


def shifted(count, source, side):
    return torch.randn(count, 16, generator=source) + 0.1 * side


def wider(count, source, side):
    return (torch.randn(count, 16, generator=source) * (1 + side / 2)).relu()


@pytest.mark.parametrize("draw", [same, shifted, wider])
@pytest.mark.parametrize(
    ("reals", "fakes", "options"),
    [
        (100, 100, {"subsets": 1, "subset_size": 100}),  # the subset is the whole
        (200, 100, {"subsets": 20, "subset_size": 50}),  # subsets overlap
        (300, 300, {"subsets": 2, "subset_size": 20}),  # what is drawn decides
    ],
)
def test_the_error_is_the_deviation_over_fresh_samples(draw, reals, fakes, options):
    results = []
    for seed in range(60):
        source = torch.Generator().manual_seed(seed)
        parts = [
            MetricInputs(count, features=draw(count, source, side))
            for side, count in enumerate((reals, fakes))
        ]
        results.append(metrics.create("kid", seed=seed, **options).score(*parts))
    wanted = np.std([result.value for result in results], ddof=1)
    found = np.mean([result.error**2 for result in results]) ** 0.5
    assert wanted / 1.5 < found < wanted * 1.5


def test_more_subsets_of_the_same_samples_make_it_no_surer(draw, gather):
    parts = gather(draw(60, seed=1)), gather(draw(60, seed=2))
    errors = [
        metrics.create("kid", subsets=subsets, subset_size=60).score(*parts).error
        for subsets in (2, 50)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-12) and errors[0] > 0.01


def test_the_variance_of_normals_is_that_of_the_formula():
    """Terms with a closed form: k(x, y) = (x y + 1)^3 of x, y ~ N(0, 1).

    E k(x, y) over y is 1 + 3 x^2, the same for a real x and a generated one, so that none
    contributes alone; the variance of a pair is E (x y + 1)^6 - E (1 + 3 x^2)^2 twice, and so on.
    """
    source = torch.Generator().manual_seed(0)
    terms = [
        polynomial_mmd(*torch.randn(2, 100, 1, generator=source, dtype=torch.float64))[1].terms
        for _ in range(150)
    ]
    # E (xy + 1)^6 = 1 + 15 * 1 + 15 * 9 + 225 = 376, mean 4, E (1 + 3 x^2)^2 = 1 + 6 + 27 = 34.
    pair = 376 - 2 * 34 + 4**2
    found = np.mean(terms, axis=0)
    error = np.std(terms, axis=0) / 150**0.5
    assert (abs(found - [0, 0, pair, pair, pair]) < 4 * error).all()
    assert (error[2:] < pair / 5).all()
    assert Spread(1, 2, 3, 4, 5).variance(10, 20) == pytest.approx(
        4 * (1 / 10 + 2 / 20) + 2 * (3 / 90 + 4 / 380) + 4 * 5 / 200
    )


def test_too_small_subsets_for_an_error(draw, gather):
    metric = metrics.create("kid", subsets=5, subset_size=3)
    result = metric.score(gather(draw(30, seed=1)), gather(draw(30, seed=2)))
    assert result.error is None and result.extra["std"] > 0


# -- the value -------------------------------------------------------------------------------------


def test_it_has_no_bias(draw, gather):
    values = [
        metrics.create("kid", subsets=1, subset_size=50)
        .score(gather(draw(50, seed=seed)), gather(draw(50, seed=1000 + seed)))
        .value
        for seed in range(40)
    ]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / 40**0.5


def test_the_seed_decides(real, fake, gather):
    parts = gather(real), gather(fake)
    values = [
        metrics.create("kid", subsets=3, subset_size=50, seed=seed).score(*parts).value
        for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


def test_too_few(real, fake, gather):
    fault = "needs at least 1,000 .* samples, not 500: give more, or set subset_size lower"
    with pytest.raises(DataError, match=fault):
        metrics.create("kid").score(gather(real), gather(fake))
