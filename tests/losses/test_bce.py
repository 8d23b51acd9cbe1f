import math

import pytest
import torch

from ganzoo.errors import ConfigError
from ganzoo.losses.bce import BCE

REAL = [0.3, -1.2, 2.5, 0.0, 0.9]
FAKE = [-0.4, 1.7, 0.6, -2.2, 0.1]


def cross_entropy(logits, targets):
    """Mean over the batch, straight from the definition."""
    terms = []
    for logit, target in zip(logits, targets, strict=True):
        p = 1 / (1 + math.exp(-logit))
        terms.append(-target * math.log(p) - (1 - target) * math.log(1 - p))
    return sum(terms) / len(terms)


@pytest.mark.parametrize(
    ("options", "real_target", "fake_target", "g_target"),
    [
        ({}, 1, 0, 1),
        ({"smoothing": 0.1}, 0.9, 0, 1),
        ({"swapped": True}, 0, 1, 0),
        ({"swapped": True, "smoothing": 0.1}, 0.1, 1, 0),
        ({"real": 0.9, "fake": 0.2}, 0.9, 0.2, 0.9),
        ({"real": 0.9, "fake": 0.2, "swapped": True, "smoothing": 0.3}, 0.5, 0.9, 0.2),
    ],
)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_values(options, real_target, fake_target, g_target, reduction):
    loss = BCE(reduction=reduction, **options)
    wanted = cross_entropy(REAL, [real_target] * 5) + cross_entropy(FAKE, [fake_target] * 5)
    wanted = wanted / 2 if reduction == "mean" else wanted
    found = loss.discriminator(torch.tensor(REAL), torch.tensor(FAKE))
    assert found.item() == pytest.approx(wanted, rel=1e-6)
    found = loss.generator(torch.tensor(FAKE))
    assert found.item() == pytest.approx(cross_entropy(FAKE, [g_target] * 5), rel=1e-6)


def test_mean_equals_one_concatenated_batch():
    together = cross_entropy(REAL + FAKE, [1] * 5 + [0] * 5)
    found = BCE(reduction="mean").discriminator(torch.tensor(REAL), torch.tensor(FAKE))
    assert found.item() == pytest.approx(together, rel=1e-6)


def drawn_targets(loss, count=4000):
    """Targets of real and fake: at logit 0 the gradient of each term is 1/2 - target."""
    real, fake = torch.zeros(count, requires_grad=True), torch.zeros(count, requires_grad=True)
    torch.manual_seed(0)
    gradients = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    return [0.5 - count * gradient for gradient in gradients]


@pytest.mark.parametrize(
    ("options", "real_range", "fake_range"),
    [
        ({"noise": 0.15}, (0.85, 1), (0, 0.15)),
        ({"noise": 0.15, "swapped": True}, (0, 0.15), (0.85, 1)),
        ({"noise": 0.2, "smoothing": 0.1}, (0.7, 0.9), (0, 0.2)),
        ({"noise": 0.2, "smoothing": 0.1, "swapped": True}, (0.1, 0.3), (0.8, 1)),
    ],
)
def test_noise_is_uniform_and_points_inwards(options, real_range, fake_range):
    targets = drawn_targets(BCE(**options))
    for found, (low, high) in zip(targets, (real_range, fake_range), strict=True):
        assert low - 1e-3 <= found.min() < low + 2e-3
        assert high - 2e-3 < found.max() <= high + 1e-3
        assert found.mean().item() == pytest.approx((low + high) / 2, abs=0.005)
        assert found.std().item() == pytest.approx((high - low) / math.sqrt(12), rel=0.05)
    a, b = (target - target.mean() for target in targets)
    assert abs((a * b).mean() / a.std() / b.std()) < 0.05  # drawn separately for real and fake


def test_noise_is_drawn_anew_and_spares_the_generator():
    loss = BCE(noise=0.3)
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    assert loss.discriminator(real, fake) != loss.discriminator(real, fake)
    assert loss.generator(fake) == BCE().generator(fake)


def test_no_noise_draws_nothing():
    state = torch.get_rng_state()
    BCE().discriminator(torch.tensor(REAL), torch.tensor(FAKE))
    assert torch.equal(torch.get_rng_state(), state)


def test_gradients():
    real = torch.tensor(REAL, requires_grad=True)
    fake = torch.tensor(FAKE, requires_grad=True)
    of_real, of_fake = torch.autograd.grad(
        BCE(smoothing=0.2).discriminator(real, fake), (real, fake)
    )
    assert of_real.tolist() == pytest.approx([(1 / (1 + math.exp(-x)) - 0.8) / 5 for x in REAL])
    assert of_fake.tolist() == pytest.approx([1 / (1 + math.exp(-x)) / 5 for x in FAKE])


def test_swapped_score():
    scores = BCE(swapped=True).score(torch.tensor([-1e4, 0.0, math.log(3), 1e4]))
    torch.testing.assert_close(scores, torch.tensor([1.0, 0.5, 0.25, 0.0]))


def test_swapped_mirrors_the_logits():
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    plain, swapped = BCE(smoothing=0.1), BCE(smoothing=0.1, swapped=True)
    torch.testing.assert_close(swapped.discriminator(-real, -fake), plain.discriminator(real, fake))
    torch.testing.assert_close(swapped.generator(-fake), plain.generator(fake))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"real": 0.0, "fake": 1.0},
            "Loss 'bce' needs a real target above the fake one, not 0.0 and 1.0. For the opposite "
            "polarity set swapped=True.",
        ),
        (
            {"smoothing": 0.5, "noise": 0.3},
            "Loss 'bce': smoothing 0.5 and noise 0.3 could move the target of real samples, 1.0, "
            "past that of fake ones, 0.0. Keep smoothing + 2 * noise within 1.",
        ),
        (
            {"reduction": "max"},
            "Loss 'bce': reduction cannot be 'max': input should be 'sum' or 'mean'.",
        ),
        (
            {"smooth": 0.1},
            "Loss 'bce' has no option 'smooth'. Did you mean 'smoothing'? "
            "Options: fake, noise, real, reduction, smoothing, swapped.",
        ),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ConfigError) as caught:
        BCE(**options)
    assert str(caught.value) == message
