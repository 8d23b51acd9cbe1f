"""Moments: equal to numpy's, whatever the batches, the order and the number of processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganzoo.errors import ConfigError, DataError
from ganzoo.metrics.inputs import Moments


def moments(*batches):
    found = Moments()
    for batch in batches:
        found.add(batch)
    return found


def same(a, b, rel=1e-12):
    scale = b.covariance.abs().max()
    assert (a.covariance - b.covariance).abs().max() <= rel * scale
    assert (a.mean - b.mean).abs().max() <= rel * b.mean.abs().max()
    assert a.count == b.count


@pytest.fixture
def values(draw):
    return draw(1400, seed=3) + 1000  # a mean that is large beside the spread


def test_against_numpy(values):
    found = moments(values)
    exact = values.double().numpy()
    assert found.count == 1400 and found.dimensions == 24
    np.testing.assert_allclose(found.mean.numpy(), exact.mean(0), rtol=1e-14)
    wanted = np.cov(exact, rowvar=False)
    np.testing.assert_allclose(
        found.covariance.numpy(), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max()
    )
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    assert torch.equal(found.covariance, found.covariance.T)


@pytest.mark.parametrize("size", [1, 7, 64, 513, 1400])
def test_batch_size_makes_no_difference_to_the_bit(values, size):
    a, b = moments(*values.split(size)), moments(values)
    assert torch.equal(a.covariance, b.covariance) and torch.equal(a.mean, b.mean)


def test_order_makes_none_but_rounding(values):
    same(moments(values.flip(0)), moments(values))
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(values)))
    same(moments(values[order]), moments(values))


@pytest.mark.parametrize("cut", [0, 1, 10, 511, 512, 700, 1399, 1400])
def test_processes_are_merged(values, cut):
    merged = moments(values[:cut])
    merged.merge(moments(values[cut:]))
    same(merged, moments(values))


def test_merging_leaves_the_other_as_it_is(values):
    other = moments(values[600:])
    before = other.covariance.clone()
    moments(values[:600]).merge(other)
    assert torch.equal(other.covariance, before)


def test_looking_does_not_change_what_follows(values):
    looked = moments(values[:700])
    looked.covariance, looked.mean, looked.factor  # noqa: B018
    looked.add(values[700:])
    assert torch.equal(looked.covariance, moments(values).covariance)


def test_memory_does_not_grow(values):
    found = moments(*[values] * 4)
    assert sum(t.numel() for t in found.state().values()) <= 24 * 24 + 24 + 1 + 512 * 24


@pytest.mark.parametrize("count", [2, 10, 24, 25, 600])
def test_factor(values, count):
    found = moments(values[:count])
    factor = found.factor
    assert len(factor) == min(count, 24)
    wanted = found.covariance
    torch.testing.assert_close(factor.T @ factor, wanted, rtol=0, atol=1e-12 * wanted.abs().max())


def test_factor_of_lower_rank(draw):
    values = draw(700, seed=1)
    values = torch.cat((values, values[:, :4], torch.ones(700, 2)), 1)
    found = moments(values)
    factor = found.factor
    assert len(factor) == 24
    torch.testing.assert_close(factor.T @ factor, found.covariance, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float(values, dtype):
    a, b = moments(values.to(dtype)), moments(values.to(dtype).double())
    assert torch.equal(a.covariance, b.covariance)


def test_constant(values):
    assert moments(values[:1].repeat(600, 1)).constant
    assert moments(values[:1].repeat(3, 1)).constant
    assert not moments(values).constant
    assert moments(torch.zeros(5, 3)).constant


@pytest.mark.parametrize("count", [0, 1, 20, 600, 1400])
def test_state(values, count):
    other = Moments.of(moments(values[:count]).state())
    other.add(values)
    wanted = moments(values[:count], values)
    assert torch.equal(other.covariance, wanted.covariance)
    assert other.count == wanted.count


def test_damaged_states(values):
    state = moments(values).state()
    for wrong in (
        {"rows": state["rows"]},
        {**state, "other": state["mean"]},
        {**state, "scatter": state["scatter"][:3]},
        {**state, "scatter": state["scatter"] * torch.nan},
        {**state, "count": torch.tensor(-1)},
        {**state, "count": torch.tensor([1, 2])},
        {**state, "rows": state["rows"].float()},
        {**state, "rows": state["rows"][0]},
    ):
        with pytest.raises(DataError, match="^This is not a state of moments: "):
            Moments.of(wrong)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_features_that_are_not_finite(values, bad):
    found = moments(values)
    wrong = values[:10].clone()
    wrong[7, 3] = bad
    with pytest.raises(DataError) as caught:
        found.add(wrong)
    assert str(caught.value) == (
        "The features of these samples are not finite (NaN or infinity), the first of them in "
        "sample 1,407, so that there is no score. Look at the samples: a generator that diverged "
        "makes such ones."
    )
    assert found.count == 1400


def test_other_shapes(values):
    found = moments(values)
    for wrong in (values[:, :5], values[0], values[None]):
        with pytest.raises(ConfigError, match=r"^Features are \(N, 24\), not of shape "):
            found.add(wrong)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few(values, count):
    with pytest.raises(DataError, match=f"^A covariance needs at least 2 samples, not {count}"):
        moments(values[:count]).covariance  # noqa: B018
