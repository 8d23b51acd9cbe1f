from __future__ import annotations

import pytest
import torch

from ganzoo.training.estimate import Estimate, estimate
from ganzoo.training.trainer import Trainer

# Dense layers 5 -> 7 -> 12 in G and 12 -> 6 -> 1 in D, on samples of 3x4.
G = 5 * 7 + 7 + 7 * 12 + 12
D = 12 * 6 + 6 + 6 * 1 + 1
BATCH = 10
MADE = BATCH * (7 + 7 + 12 + 12)  # dense, activation, dense, activation
JUDGED = BATCH * (6 + 6 + 6 + 1)  # dense, activation, dropout, dense


def trainer(**settings) -> Trainer:
    data = torch.randint(0, 256, (25, 1, 3, 4), dtype=torch.uint8)
    options = {
        "arch": {"name": "mlp", "hidden": (7,), "d_hidden": (6,)},
        "latent": 5,
        "batch_size": BATCH,
        "steps": 9,
        "precision": "fp32",
        "device": "cpu",
        "progress": False,
    }
    return Trainer(dataset=data, **{**options, **settings})


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [
        ("adam", 2),
        ("adamw", 2),
        ("rmsprop", 1),
        ({"name": "rmsprop", "momentum": 0.5}, 2),
        ("sgd", 0),
        ({"name": "sgd", "momentum": 0.5}, 1),
    ],
)
def test_by_hand(optimizer, slots) -> None:
    found = estimate(trainer(g_optimizer=optimizer, d_optimizer=optimizer))
    assert found == Estimate(
        generator=G,
        discriminator=D,
        steps=9,
        # Weights, gradients and moments of both, and the average of G.
        state=4 * ((2 + slots) * (G + D) + G),
        data=25 * 12,
        # D keeps what it computes of real and of generated samples: more than G's phase does.
        activations=4 * (JUDGED + max(JUDGED, MADE)),
    )
    assert found.memory == found.state + found.data + found.activations


def test_each_net_has_its_own_optimizer() -> None:
    found = estimate(trainer(g_optimizer="sgd", d_optimizer="adam"))
    assert found.state == 4 * (2 * (G + D) + G + 2 * D)


def test_nets_of_penalties_and_losses_are_counted() -> None:
    plain, pretrained = estimate(trainer()), trainer(penalties=["reconstruction"])
    found = estimate(pretrained)
    (encoder,) = list(pretrained.game.players["generator"].modules.values())[1:]
    weights = sum(weight.numel() for weight in encoder.parameters())
    assert weights > 12 * 6
    assert found.state - plain.state == 4 * 4 * weights
    assert (found.generator, found.activations) == (plain.generator, plain.activations)


def test_bf16_halves_the_activations() -> None:
    whole, half = estimate(trainer()), estimate(trainer(precision="bf16"))
    assert 2 * half.activations == whole.activations
    assert (half.state, half.data) == (whole.state, whole.data)


def test_stored_data_count_as_they_are() -> None:
    found = estimate(
        Trainer(
            arch={"name": "mlp", "hidden": (7,)},
            dataset=torch.rand(25, 1, 3, 4),
            batch_size=5,
            device="cpu",
            progress=False,
        )
    )
    assert found.data == 4 * 25 * 12


def test_nothing_is_trained() -> None:
    one = trainer()
    one.setup()
    before = {name: value.clone() for name, value in one.game.generator.state_dict().items()}
    state = torch.get_rng_state()
    estimate(one)
    assert one.step == 0
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in one.game.generator.state_dict().items():
        assert value.device.type == "cpu" and torch.equal(value, before[name])
    assert one.game.discriminator.training


def test_lines() -> None:
    mib = 2**20
    assert Estimate(1_234_567, 89, 5, 3 * mib, 2000 * mib, mib // 4).lines() == [
        "parameters: generator 1,234,567, discriminator 89",
        "memory: about 2,003 MiB (weights and optimizers 3 MiB, data 2,000 MiB, activations 0 MiB) "
        "besides torch itself",
    ]
