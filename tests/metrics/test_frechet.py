from __future__ import annotations

import math

import pytest
import torch

from ganzoo import metrics
from ganzoo.errors import DataError
from ganzoo.metrics.frechet import frechet_distance
from ganzoo.metrics.inputs import Moments


def moments(*batches):
    found = Moments()
    for batch in batches:
        found.add(batch)
    return found


def by_singular_values(a, b):
    """The formula, with the exact factors of both covariances."""
    first, second = ((x.double() - x.double().mean(0)) / math.sqrt(len(x) - 1) for x in (a, b))
    apart = (a.double().mean(0) - b.double().mean(0)).square().sum()
    trace = torch.linalg.svdvals(first @ second.T).sum()
    return float(apart + first.square().sum() + second.square().sum() - 2 * trace)


def test_golden(real, fake, gather):
    """torch-fidelity 0.4 and pytorch-fid 0.3 say 1.84688310514929 to 1e-13."""
    result = metrics.create("fid").score(gather(real), gather(fake))
    assert result.value == pytest.approx(1.8468831051492893, rel=1e-10)
    assert result.error is None and result.notices == ()


@pytest.mark.parametrize("size", [1, 7, 64])
def test_stable_over_batch_sizes(real, fake, size):
    wanted = frechet_distance(moments(real), moments(fake))
    found = frechet_distance(moments(*real.split(size)), moments(*fake.split(size)))
    assert found == wanted


def test_stable_over_ranks(real, fake):
    wanted = frechet_distance(moments(real), moments(fake))
    ranks = [moments(real[0::2]), moments(real[1::2])]
    ranks[0].merge(Moments.of(ranks[1].state()))
    assert frechet_distance(ranks[0], moments(fake)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(500, 600), (24, 600), (20, 600), (20, 15), (2, 2)])
def test_any_rank(draw, n, m):
    a, b = draw(n, seed=1), draw(m, seed=2, shift=0.05, scale=1.2)
    wanted = by_singular_values(a, b)
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(wanted, rel=1e-7)
    assert frechet_distance(moments(b), moments(a)) == pytest.approx(wanted, rel=1e-7)


def test_features_that_are_always_the_same_or_twice_there(draw):
    def widened(x):
        return torch.cat((x, x[:, :8], torch.full((len(x), 3), 2.0)), 1)

    a, b = draw(500, seed=1), draw(600, seed=2, shift=0.05, scale=1.2)
    found = frechet_distance(moments(widened(a)), moments(widened(b)))
    assert found == pytest.approx(by_singular_values(widened(a), widened(b)), rel=1e-7)


@pytest.mark.parametrize("count", [2, 20, 24, 30, 500])
def test_nothing_to_itself(draw, count):
    x = draw(count, seed=1)
    found = frechet_distance(moments(x), moments(x))
    assert 0 <= found < 1e-6 * float(x.var(0).sum())
    assert frechet_distance(moments(x), moments(x.flip(0))) < 1e-6 * float(x.var(0).sum())


def test_of_normals_in_one_dimension():
    """(m - n)^2 + (s - t)^2."""
    x = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (x - x.mean()) / x.std()
    assert frechet_distance(moments(x), moments(3 * x + 2)) == pytest.approx(4 + 4, rel=1e-12)


def test_few_samples_are_noticed(draw, gather):
    result = metrics.create("fid").score(gather(draw(24, 1)), gather(draw(500, 2)))
    assert result.notices == (
        "'fid' of 24 samples is far too high: 24 features need at least 25 samples for covariances "
        "of full rank, and 10,000 to be comparable. 'kid' has no such bias.",
    )
    result = metrics.create("fid").score(gather(draw(25, 1)), gather(draw(500, 2)))
    assert result.notices == ()


def test_constant_images(real, gather):
    same = gather(real[:1].repeat(100, 1))
    with pytest.raises(DataError, match="^All 100 real samples have the same features, as const"):
        metrics.create("fid").score(same, gather(real))
    result = metrics.create("fid").score(gather(real), same)
    exact = real.double()
    wanted = (exact.mean(0) - exact[0]).square().sum() + exact.var(0).sum()
    assert result.value == pytest.approx(wanted.item(), rel=1e-9)
    assert result.notices == (
        "All generated samples have the same features: the generator has collapsed.",
    )


def test_of_two_extractors(real, gather):
    with pytest.raises(DataError, match="^The real samples have 24 features and the generated one"):
        metrics.create("fid").score(gather(real), gather(real[:, :5]))


def test_dinov2_is_the_same_formula(real, fake, gather):
    parts = gather(real), gather(fake)
    result = metrics.create("fd-dinov2").score(*parts)
    assert result == metrics.create("fid").score(*parts)
    assert metrics.create("fd-dinov2").extractor.name == "dinov2"
