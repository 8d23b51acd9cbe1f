from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from ganzoo import metrics
from ganzoo.errors import ConfigError, DataError
from ganzoo.metrics.gathered import Gathered
from ganzoo.metrics.modes import reverse_kl
from ganzoo.mixture import Mixture
from ganzoo.spec import SampleSpec

VECTOR = SampleSpec(kind="vector", shape=(2,), value_range=None)
FOUR = Mixture(centres=((-1, -1), (-1, 1), (1, -1), (1, 1)), sd=0.05)
STACKED = SampleSpec(shape=(3, 28, 28))


def points(values):
    values = torch.as_tensor(values, dtype=torch.float32)
    return Gathered(len(values), samples=values, spec=VECTOR, mixture=FOUR)


def seen(digits, spec=STACKED):
    """Logits of a classifier that is sure of these digits, (N,) or (N, C)."""
    logits = 10.0 * torch.nn.functional.one_hot(torch.as_tensor(digits), 10)
    return Gathered(len(logits), logits=logits, spec=spec)


def test_samples_of_the_mixture():
    drawn, _ = FOUR.sample(4000, torch.Generator().manual_seed(0))
    result = metrics.create("modes").score(None, points(drawn))
    assert result.value == 4
    assert result.extra["total"] == 4
    assert result.extra["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.01)
    assert 0 <= result.extra["reverse_kl"] < 0.002
    assert result.extra["rarest"] == pytest.approx(0.25, abs=0.03)


def test_hand_made_points():
    # Two in one mode, one in another, one near a third and too far to be good.
    result = metrics.create("modes").score(None, points([[-1, -1], [-1.1, -1], [1, 1], [-1, 0.5]]))
    assert result.value == 2
    assert result.extra["high_quality"] == 0.75
    assert result.extra["rarest"] == 0
    assert result.extra["reverse_kl"] == pytest.approx(
        0.5 * math.log(2) + 2 * 0.25 * math.log(1), rel=1e-12
    )


def test_points_without_a_mixture():
    fake = Gathered(3, samples=torch.zeros(3, 2), spec=VECTOR)
    with pytest.raises(ConfigError, match="needs to know the modes of points: take a dataset that"):
        metrics.create("modes").score(None, fake)


def test_the_mixture_may_be_that_of_the_reals():
    fake = Gathered(2, samples=torch.ones(2, 2), spec=VECTOR)
    assert metrics.create("modes").score(points([[1, 1], [-1, -1]]), fake).value == 1


def test_all_stacks():
    digits = torch.cartesian_prod(*[torch.arange(10)] * 3)
    result = metrics.create("modes").score(None, seen(digits))
    assert result.value == result.extra["total"] == 1000
    assert result.extra["reverse_kl"] == pytest.approx(0, abs=1e-12)
    assert "high_quality" not in result.extra


def test_real_stacks_are_close_to_uniform():
    digits = np.random.RandomState(0).randint(0, 10, (26_000, 3))
    result = metrics.create("modes").score(None, seen(digits))
    assert result.value == 1000
    assert result.extra["reverse_kl"] == pytest.approx(999 / 52_000, rel=0.1)


def test_a_collapsed_generator_as_counted_by_hand():
    digits = [[1, 2, 3]] * 700 + [[7, 7, 7]] * 200 + [[3, 2, 1]] * 100
    result = metrics.create("modes").score(None, seen(digits))
    assert result.value == len(Counter(map(tuple, digits))) == 3
    shares = np.array([0.7, 0.2, 0.1])
    assert result.extra["reverse_kl"] == pytest.approx((shares * np.log(shares * 1000)).sum())
    assert result.extra["rarest"] == 0


def test_classes_of_plain_images():
    result = metrics.create("modes").score(None, seen([0, 1, 1, 5], SampleSpec(shape=(1, 28, 28))))
    assert (result.value, result.extra["total"]) == (3, 10)
    wanted = 0.5 * math.log(5) + 0.5 * math.log(2.5)
    assert result.extra["reverse_kl"] == pytest.approx(wanted, rel=1e-12)


def test_against_the_reals():
    metric = metrics.create("modes", reference="real")
    real, fake = seen([[1, 1, 1]] * 30 + [[2, 2, 2]] * 10), seen([[1, 1, 1]] * 6 + [[2, 2, 2]] * 2)
    assert metric.score(real, fake).extra["reverse_kl"] == pytest.approx(0, abs=1e-12)
    wanted = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert metric.score(real, seen([[1, 1, 1], [2, 2, 2]])).extra["reverse_kl"] == pytest.approx(
        wanted, rel=1e-12
    )
    with pytest.raises(DataError, match=r"^Mode 333 is among the generated samples and not among "):
        metric.score(real, seen([[3, 3, 3]]))
    with pytest.raises(DataError, match="was to compare with real samples, and there are none"):
        metric.score(None, fake)


def test_reverse_kl_against_numpy():
    source = np.random.RandomState(3)
    counts, p = source.randint(0, 40, 200), source.dirichlet(np.ones(200))
    q = counts / counts.sum()
    kept = q > 0
    wanted = np.sum(q[kept] * np.log(q[kept] / p[kept]))
    assert reverse_kl(counts.tolist(), p.tolist()) == pytest.approx(wanted, rel=1e-12)
    assert reverse_kl([1, 1], [1.0, 0.0]) == math.inf


def test_logits_that_tell_no_classes():
    for shape in ((5, 1), (5, 3, 10, 2)):
        fake = Gathered(5, logits=torch.zeros(shape), spec=STACKED)
        with pytest.raises(ConfigError, match="^Modes are told by logits "):
            metrics.create("modes").score(None, fake)


def test_what_it_wants():
    metric = metrics.create("modes")
    assert metric.wants(VECTOR) == ("samples",)
    assert metric.wants(STACKED) == ("logits",)
