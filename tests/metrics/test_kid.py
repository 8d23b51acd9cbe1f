from __future__ import annotations

import numpy as np
import pytest

from ganzoo import metrics
from ganzoo.errors import DataError


def test_golden(real, fake, gather):
    """torch-fidelity 0.4 on the same features in float64."""
    metric = metrics.create("kid", subsets=20, subset_size=100)
    result = metric.score(gather(real), gather(fake))
    assert result.value == pytest.approx(1.2108082085554097, rel=1e-12)
    assert result.extra["std"] == pytest.approx(0.9317946313958474, rel=1e-12)
    assert result.error == pytest.approx(0.9317946313958474 / 19**0.5, rel=1e-12)


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
    assert result.error is None


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
    with pytest.raises(DataError) as caught:
        metrics.create("kid").score(gather(real), gather(fake))
    assert str(caught.value) == (
        "The metric 'kid' takes subsets of 1,000 samples, and there are only 500: give more, or "
        "set subset_size=500."
    )
