"""Relativistic losses against their formulas, in plain Python and double precision."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import ganzoo
from ganzoo import losses
from ganzoo.errors import ConfigError

DATA = torch.randn(128, 2, generator=torch.Generator().manual_seed(0))
SHAPES = [(5,), (5, 3)]


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def rows(values: torch.Tensor) -> list[list[float]]:
    return values.double().reshape(len(values), -1).tolist()


def by_hand(name: str, ours: torch.Tensor, others: torch.Tensor) -> float:
    """The loss of the player who wants ``ours`` above ``others``."""
    first, second = rows(ours), rows(others)
    count, heads = len(first), len(first[0])
    total = 0.0
    for head in range(heads):
        a, b = [row[head] for row in first], [row[head] for row in second]
        if name == "relativistic":
            total += sum(softplus(-(x - y)) for x, y in zip(a, b, strict=True))
        else:
            total += sum(softplus(-(x - sum(b) / count)) for x in a)
            total += sum(softplus(y - sum(a) / count) for y in b)
    return total / (count * heads)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["relativistic", "relativistic-average"])
def test_formulas(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    loss, real, fake = losses.create(name), torch.randn(shape), 2 * torch.randn(shape)
    assert float(loss.discriminator(real, fake)) == pytest.approx(by_hand(name, real, fake))
    assert float(loss.generator(fake, real)) == pytest.approx(by_hand(name, fake, real))
    shifted = loss.discriminator(real + 7, fake + 7)
    assert float(shifted) == pytest.approx(float(loss.discriminator(real, fake)), rel=1e-5)


@pytest.mark.parametrize("name", ["relativistic", "relativistic-average"])
def test_logits_of_two_shapes_are_not_compared(name: str) -> None:
    loss = losses.create(name)
    for play in (loss.discriminator, loss.generator):
        with pytest.raises(ConfigError, match="Give both the same shape"):
            play(torch.zeros(4), torch.zeros(4, 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["relativistic", "relativistic-average"])
def test_gradients_by_differences(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    loss, real, fake = losses.create(name), torch.randn(shape), torch.randn(shape)
    given = fake.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss.generator(given, real), given)
    for place in range(fake.numel()):
        values = []
        for side in (1e-5, -1e-5):
            moved = fake.double().flatten().clone()
            moved[place] += side
            values.append(by_hand(name, moved.reshape(shape), real))
        slope = (values[0] - values[1]) / 2e-5
        assert float(found.flatten()[place]) == pytest.approx(slope, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", ["relativistic", "relativistic-average"])
def test_range_of_the_discriminators_loss(name: str) -> None:
    loss = losses.create(name)
    low, guess = loss.d_range
    equal = torch.full((6,), 0.3)
    assert float(loss.discriminator(equal, equal)) == pytest.approx(guess)
    apart = [float(loss.discriminator(equal + by, equal - by)) for by in (1.0, 3.0, 20.0)]
    assert all(one > other for one, other in pairwise([guess, *apart]))
    assert apart[-1] == pytest.approx(low, abs=1e-6)


@pytest.mark.parametrize("name", ["relativistic", "relativistic-average"])
def test_trains_on_fresh_real_samples_and_resumes_to_the_bit(name: str, tmp_path: Path) -> None:
    def trained(steps: int, folder: str) -> Any:
        return ganzoo.Trainer(
            {"name": "mlp", "hidden": [8]},
            DATA,
            loss=name,
            penalties=["r1", "r2"],
            out=tmp_path / folder,
            steps=steps,
            batch_size=8,
            progress=False,
            device="cpu",
        ).fit()

    whole, cut = trained(4, "whole"), trained(2, "cut")
    resumed = ganzoo.Trainer.resume(cut, dataset=DATA, steps=4, progress=False).fit()
    one, other = whole.generator.module.state_dict(), resumed.generator.module.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", ["relativistic", "relativistic-average", "wasserstein"])
def test_ada_reads_signs_that_these_leave_open(name: str, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (16, 1, 8, 8)).byte()

    def made(augmentation: Any) -> ganzoo.Trainer:
        return ganzoo.Trainer(
            {"name": "mlp", "hidden": [8]},
            images,
            loss=name,
            augmentation=augmentation,
            out=tmp_path / "run",
            steps=1,
            batch_size=8,
            progress=False,
            device="cpu",
        )

    with pytest.raises(ConfigError) as caught:
        made("ada").fit()
    message = str(caught.value)
    assert message.startswith(
        "Augmentation 'ada' adapts to the signs of D's logits, and under loss"
    )
    assert f"'{name}' only differences" in message and "Set ramp to none" in message
    assert not (tmp_path / "run").exists()
    for other in ({"name": "ada", "ramp": None, "start": 0.3}, "diffaugment"):
        made(other).setup()
