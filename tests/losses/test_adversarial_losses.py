"""The simple losses against their formulas, in plain Python and double precision."""

import math

import pytest
import torch

from ganzoo.errors import ConfigError
from ganzoo.losses.hinge import Hinge
from ganzoo.losses.least_squares import LeastSquares
from ganzoo.losses.logistic import Minimax, NonSaturating
from ganzoo.losses.wasserstein import Wasserstein

REAL = [0.3, -1.2, 2.5, 0.0, 0.9]
FAKE = [-0.4, 1.7, 0.6, -2.2, 0.1]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def log_likelihood_loss(real, fake):
    real_half = mean(-math.log(sigmoid(x)) for x in real)
    return real_half + mean(-math.log(1 - sigmoid(x)) for x in fake)


CASES = [
    (
        Minimax(),
        log_likelihood_loss,
        lambda fake: mean(math.log(1 - sigmoid(x)) for x in fake),
    ),
    (
        NonSaturating(),
        log_likelihood_loss,
        lambda fake: mean(-math.log(sigmoid(x)) for x in fake),
    ),
    (
        Hinge(),
        lambda real, fake: mean(max(0, 1 - x) for x in real) + mean(max(0, 1 + x) for x in fake),
        lambda fake: -mean(fake),
    ),
    (
        Hinge(margin=0.5),
        lambda real, fake: (
            mean(max(0, 0.5 - x) for x in real) + mean(max(0, 0.5 + x) for x in fake)
        ),
        lambda fake: -mean(fake),
    ),
    (
        LeastSquares(),
        lambda real, fake: 0.5 * mean((x - 1) ** 2 for x in real) + 0.5 * mean(x**2 for x in fake),
        lambda fake: 0.5 * mean((x - 1) ** 2 for x in fake),
    ),
    (
        LeastSquares(fake=-1, real=2, g_target=0.5),
        lambda real, fake: (
            0.5 * mean((x - 2) ** 2 for x in real) + 0.5 * mean((x + 1) ** 2 for x in fake)
        ),
        lambda fake: 0.5 * mean((x - 0.5) ** 2 for x in fake),
    ),
    (
        Wasserstein(),
        lambda real, fake: mean(fake) - mean(real),
        lambda fake: -mean(fake),
    ),
]
IDS = [repr(case[0]) for case in CASES]


@pytest.mark.parametrize(("loss", "d_formula", "g_formula"), CASES, ids=IDS)
def test_values(loss, d_formula, g_formula):
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    assert loss.discriminator(real, fake).item() == pytest.approx(d_formula(REAL, FAKE), rel=1e-6)
    assert loss.generator(fake).item() == pytest.approx(g_formula(FAKE), rel=1e-6)


def derivative(formula, values, index, width=1e-6):
    def at(shift):
        return formula([x + shift * (i == index) for i, x in enumerate(values)])

    return (at(width) - at(-width)) / (2 * width)


@pytest.mark.parametrize(("loss", "d_formula", "g_formula"), CASES, ids=IDS)
def test_gradients(loss, d_formula, g_formula):
    real = torch.tensor(REAL, requires_grad=True)
    fake = torch.tensor(FAKE, requires_grad=True)
    of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    (of_generator,) = torch.autograd.grad(loss.generator(fake), fake)
    for i in range(len(REAL)):
        wanted = [
            derivative(lambda values: d_formula(values, FAKE), REAL, i),
            derivative(lambda values: d_formula(REAL, values), FAKE, i),
            derivative(g_formula, FAKE, i),
        ]
        found = [of_real[i].item(), of_fake[i].item(), of_generator[i].item()]
        assert found == pytest.approx(wanted, abs=1e-6)


def test_minimax_saturates_and_non_saturating_does_not():
    fake = torch.tensor([-20.0], requires_grad=True)  # D is sure
    (flat,) = torch.autograd.grad(Minimax().generator(fake), fake)
    (steep,) = torch.autograd.grad(NonSaturating().generator(fake), fake)
    assert flat.abs().item() < 1e-8
    assert steep.item() == pytest.approx(-1)


def test_clipping():
    critic = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    before = [parameter.detach().clone() for parameter in critic.parameters()]
    assert Wasserstein(clip=0.1).constrain(critic) is None
    for old, parameter in zip(before, critic.parameters(), strict=True):
        assert torch.equal(parameter, old.clamp(-0.1, 0.1))
        assert parameter.requires_grad and parameter.is_leaf
    assert torch.equal(critic[1].running_var, torch.ones(4))


def test_no_clipping():
    critic = torch.nn.Linear(3, 4)
    before = critic.weight.detach().clone()
    Wasserstein(clip=None).constrain(critic)
    assert torch.equal(critic.weight, before)
    Wasserstein().constrain(torch.nn.Identity())


def test_wasserstein_recommends_its_training():
    rmsprop = {"name": "rmsprop", "lr": 5e-5}
    assert Wasserstein.recommended == {
        "d_steps": 5,
        "g_optimizer": rmsprop,
        "d_optimizer": rmsprop,
    }


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (
            Hinge,
            {"margin": 0},
            "Loss 'hinge': margin cannot be 0: input should be greater than 0.",
        ),
        (
            Hinge,
            {"margn": 1},
            "Loss 'hinge' has no option 'margn'. Did you mean 'margin'? Options: margin.",
        ),
        (
            Wasserstein,
            {"clip": -1},
            "Loss 'wasserstein': clip cannot be -1: input should be greater than 0.",
        ),
        (
            Wasserstein,
            {"clip": 3.5e38},
            "Loss 'wasserstein': clip cannot be 3.5e+38: "
            "input should be less than or equal to 340282346638528860000000000000000000000.",
        ),
        (
            LeastSquares,
            {"real": 1e300},
            "Loss 'least-squares': real cannot be 1e+300: "
            "input should be less than or equal to 1000000000000000000.",
        ),
        (
            Minimax,
            {"margin": 1},
            "Loss 'minimax' has no option 'margin'. Options: none.",
        ),
    ],
)
def test_wrong_options(cls, options, message):
    with pytest.raises(ConfigError) as caught:
        cls(**options)
    assert str(caught.value) == message
