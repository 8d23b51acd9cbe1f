from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from ganzoo import optimizers
from ganzoo.core.spec import FLOAT32_MAX
from ganzoo.errors import ConfigError, UnknownNameError
from ganzoo.optimizers import SGD, Adam, AdamW, RMSprop

GRADIENTS = [0.5, -1.5, 0.25, 3.0]
START = 2.0


def follow(optimizer) -> list[float]:
    """Where one weight goes when it is given these gradients."""
    weight = nn.Parameter(torch.tensor([START], dtype=torch.float64))
    built = optimizer.build([weight])
    path = []
    for gradient in GRADIENTS:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        built.step()
        path.append(weight.item())
    return path


def adam(lr, betas, eps, l2=0.0, decoupled=0.0) -> list[float]:
    """Algorithm 1 of arXiv:1412.6980; algorithm 2 of arXiv:1711.05101 where it is decoupled."""
    weight, m, v, path = START, 0.0, 0.0, []
    for t, gradient in enumerate(GRADIENTS, start=1):
        gradient = gradient + l2 * weight
        weight -= lr * decoupled * weight
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        weight -= lr * m_hat / (math.sqrt(v_hat) + eps)
        path.append(weight)
    return path


def rmsprop(lr, alpha, eps, momentum=0.0, l2=0.0) -> list[float]:
    weight, v, speed, path = START, 0.0, 0.0, []
    for gradient in GRADIENTS:
        gradient = gradient + l2 * weight
        v = alpha * v + (1 - alpha) * gradient**2
        speed = momentum * speed + gradient / (math.sqrt(v) + eps)
        weight -= lr * speed
        path.append(weight)
    return path


def sgd(lr, momentum=0.0, nesterov=False, l2=0.0) -> list[float]:
    weight, speed, path = START, 0.0, []
    for gradient in GRADIENTS:
        gradient = gradient + l2 * weight
        speed = momentum * speed + gradient
        weight -= lr * (gradient + momentum * speed if nesterov else speed)
        path.append(weight)
    return path


CASES = [
    (Adam(), adam(2e-4, (0.5, 0.999), 1e-8)),
    (Adam(lr=0.1, betas=(0.0, 0.9), eps=0.01), adam(0.1, (0.0, 0.9), 0.01)),
    (Adam(lr=0.1, weight_decay=0.3), adam(0.1, (0.5, 0.999), 1e-8, l2=0.3)),
    (AdamW(), adam(2e-4, (0.5, 0.999), 1e-8, decoupled=0.01)),
    (AdamW(lr=0.1, weight_decay=0.3), adam(0.1, (0.5, 0.999), 1e-8, decoupled=0.3)),
    (RMSprop(), rmsprop(2e-4, 0.99, 1e-8)),
    (
        RMSprop(lr=0.1, alpha=0.9, eps=0.1, momentum=0.5, weight_decay=0.2),
        rmsprop(0.1, 0.9, 0.1, 0.5, 0.2),
    ),
    (SGD(), sgd(0.01)),
    (SGD(lr=0.1, momentum=0.9, weight_decay=0.2), sgd(0.1, 0.9, l2=0.2)),
    (SGD(lr=0.1, momentum=0.9, nesterov=True), sgd(0.1, 0.9, True)),
]


@pytest.mark.parametrize(("optimizer", "expected"), CASES, ids=[repr(case[0]) for case in CASES])
def test_updates(optimizer, expected) -> None:
    assert follow(optimizer) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_learns(name) -> None:
    weights = [nn.Parameter(torch.full((3, 2), 1.0)), nn.Parameter(torch.full((2,), -1.0))]
    built = optimizers.create(name, lr=0.05).build(iter(weights))
    assert built.param_groups[0]["lr"] == 0.05
    losses = []
    for _ in range(10):
        built.zero_grad()
        loss = sum(weight.square().sum() for weight in weights)
        loss.backward()
        built.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_survives_json(name) -> None:
    optimizer = optimizers.create(name, lr=0.123, weight_decay=0.5)
    text = optimizer.model_dump_json()
    assert json.loads(text)["name"] == name
    assert optimizers.create(json.loads(text)) == optimizer


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adam", {"lr": 0}, "Optimizer 'adam': lr cannot be 0: input should be greater than 0."),
        (
            "adam",
            {"betas": (0.5, 1.0)},
            "Optimizer 'adam': betas.1 cannot be 1.0: input should be less than 1.",
        ),
        (
            "rmsprop",
            {"alpha": -0.1},
            "Optimizer 'rmsprop': alpha cannot be -0.1: "
            "input should be greater than or equal to 0.",
        ),
        (
            "sgd",
            {"betas": (0.5, 0.9)},
            "Optimizer 'sgd' has no option 'betas'. Options: lr, momentum, nesterov, weight_decay.",
        ),
    ],
)
def test_wrong_options(name, options, message) -> None:
    with pytest.raises(ConfigError) as caught:
        optimizers.create(name, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", optimizers.names())
def test_the_largest_options_are_numbers_that_torch_takes(name) -> None:
    largest = {"lr": 1e6, "weight_decay": FLOAT32_MAX, "eps": FLOAT32_MAX}
    fields = optimizers.get(name).model_fields
    optimizer = optimizers.create(name, **{key: largest[key] for key in largest if key in fields})
    weight = torch.nn.Parameter(torch.ones(3))
    built = optimizer.build([weight])
    built.param_groups[0]["lr"] *= 1e6  # the largest factor of a schedule
    weight.grad = torch.ones(3)
    built.step()  # whatever that makes of the weights
    for option in largest.keys() & fields.keys():
        with pytest.raises(ConfigError, match=f"{option} cannot be 3.5e"):
            optimizers.create(name, **{option: 3.5e38})


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ConfigError, match="momentum"):
        SGD(nesterov=True)


def test_an_unknown_optimizer() -> None:
    with pytest.raises(UnknownNameError) as caught:
        optimizers.create("adamm")
    assert str(caught.value) == (
        "Unknown optimizer 'adamm'. Did you mean 'adam'? Available: adam, adamw, rmsprop, sgd."
    )
