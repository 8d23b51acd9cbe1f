import math

import pytest
import torch

from ganzoo import losses
from ganzoo.errors import ConfigError
from ganzoo.testing import check_loss

BUILT_IN = [e.name for e in losses.registry.entries() if e.distribution == "ganzoo"]
OTHER_OPTIONS = [
    {"name": "bce", "swapped": True, "noise": 0.15, "reduction": "mean"},
    {"name": "bce", "real": 0.9, "fake": 0.1, "smoothing": 0.1},
    {"name": "hinge", "margin": 0.5},
    {"name": "least-squares", "real": 1.0, "fake": -1.0, "g_target": 0.0},
    {"name": "wasserstein", "clip": None},
]


@pytest.mark.parametrize("options", [*BUILT_IN, *OTHER_OPTIONS], ids=str)
def test_contract(options):
    check_loss(losses.create(options))  # the round trip through JSON included


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_ins_are_described(name):
    cls = losses.get(name)
    assert cls.name == name
    assert "arXiv:" in cls.citation
    assert cls.__doc__
    for option, field in cls.model_fields.items():
        assert field.description, option
        assert field.description[0].islower() and field.description[-1] != ".", option


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_losses_are_float32_whatever_the_logits_are(name, dtype):
    loss = losses.create(name)
    real, fake = (torch.randn(64, dtype=dtype, requires_grad=True) for _ in range(2))
    values = loss.discriminator(real, fake), loss.generator(fake, real)
    exact = (
        loss.discriminator(real.float(), fake.float()),
        loss.generator(fake.float(), real.float()),
    )
    for value, wanted in zip(values, exact, strict=True):
        assert value.dtype == torch.float32
        assert value.item() == wanted.item()
    sum(values).backward()
    assert real.grad.dtype == fake.grad.dtype == dtype


@pytest.mark.parametrize("name", BUILT_IN)
def test_extreme_logits_stay_finite(name):
    loss = losses.create(name)
    for magnitude in (100.0, 1e4, 1e8):
        for sign in (1, -1):
            real = torch.full((3,), sign * magnitude, requires_grad=True)
            fake = torch.full((3,), -sign * magnitude, requires_grad=True)
            values = loss.discriminator(real, fake), loss.generator(fake, real)
            sum(values).backward()
            assert all(math.isfinite(value.item()) for value in values)
            assert torch.isfinite(real.grad).all() and torch.isfinite(fake.grad).all()


@pytest.mark.parametrize("name", BUILT_IN)
def test_players_pull_in_opposite_directions(name):
    loss = losses.create(name)
    real = torch.zeros(4, requires_grad=True)
    fake = torch.zeros(4, requires_grad=True)
    if name == "least-squares":  # at rest at its own target
        fake = torch.full((4,), 0.5, requires_grad=True)
    of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    (of_generator,) = torch.autograd.grad(loss.generator(fake, real), fake)
    assert (of_real < 0).all() and (of_fake > 0).all() and (of_generator < 0).all()


@pytest.mark.parametrize("name", ["bce", "minimax", "non-saturating"])
def test_score_is_a_probability(name):
    scores = losses.create(name).score(torch.tensor([-1e4, 0.0, math.log(3), 1e4]))
    torch.testing.assert_close(scores, torch.tensor([0.0, 0.5, 0.75, 1.0]))


@pytest.mark.parametrize("name", ["hinge", "least-squares", "wasserstein"])
def test_score_is_the_raw_value(name):
    logits = torch.randn(5)
    assert torch.equal(losses.create(name).score(logits), logits)


@pytest.mark.parametrize("name", BUILT_IN)
def test_relative_losses_are_those_that_an_offset_does_not_change(name):
    loss, real, fake = losses.create(name), torch.randn(8), torch.randn(8)
    one, other = (loss.discriminator(real + by, fake + by).item() for by in (0.0, 3.0))
    assert loss.relative == (abs(one - other) < 1e-5)


@pytest.mark.parametrize("name", BUILT_IN)
def test_gs_half_says_when_it_needs_real_samples(name):
    loss = losses.create(name)
    if not loss.generator_sees_real:
        loss.generator(torch.randn(8))
        return
    with pytest.raises(ConfigError, match=r"compares .* as in generator\(fake, real\)"):
        loss.generator(torch.randn(8))
