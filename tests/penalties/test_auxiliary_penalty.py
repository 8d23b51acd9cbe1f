"""The auxiliary classifier as a penalty: its formula, its players, and any loss beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ganzoo
from ganzoo import penalties
from ganzoo.core.step import Output, Step
from ganzoo.training.game import Term

LABELS = [2, 0, 1, 1, 0]
HEADS = [None, 1, 3]  # logits (N,), (N, 1) and (N, 3): they have no part in it


def cross_entropy(rows: list[list[float]]) -> float:
    """The mean of -log of each row's softmax at its label."""
    errors = [
        math.log(sum(math.exp(value - row[label]) for value in row))
        for row, label in zip(rows, LABELS, strict=True)
    ]
    return sum(errors) / len(errors)


def output(seed: int, heads: int | None) -> Output:
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(*((5,) if heads is None else (5, heads)), generator=source).double()
    return Output(logits, (3 * torch.randn(5, 4, generator=source)).double())


def step(player: str, heads: int | None = None) -> Step:
    samples = torch.zeros(5, 2)
    made = Step(0, nn.Identity(), nn.Identity(), samples, samples, labels=torch.tensor(LABELS))
    made.fake_output, made.player = output(2, heads), player
    if player == "discriminator":
        made.real, made.real_output = samples, output(1, heads)
    return made


@pytest.mark.parametrize("fake", [True, False])
@pytest.mark.parametrize("heads", HEADS)
def test_formula(heads: int | None, fake: bool) -> None:
    penalty = penalties.create("auxiliary-classifier", weight=7, fake=fake)
    of_real, of_fake = (cross_entropy(output(seed, heads).classes.tolist()) for seed in (1, 2))
    found = penalty.penalty(step("discriminator", heads))
    assert found.shape == ()
    assert found.item() == pytest.approx(of_real + (of_fake if fake else 0), rel=1e-5)
    found = penalty.penalty(step("generator", heads))  # which sees no real samples
    assert found.item() == pytest.approx(of_fake, rel=1e-5)


def test_it_is_a_term_of_both_players() -> None:
    penalty = penalties.create("auxiliary-classifier")
    assert penalty.players == {"discriminator", "generator"}
    assert penalty.wants == {"classes"}
    columns = [Term(penalty).column(player) for player in ("discriminator", "generator")]
    assert columns == ["d_auxiliary-classifier", "g_auxiliary-classifier"]


DATA = (torch.rand(24, 2) * 2 - 1, torch.arange(24) % 3)


def trainer(loss: Any, penalty: Any = (), **more: Any) -> ganzoo.Trainer:
    arch = {"name": "mlp", "hidden": [8], "d_condition": "auxiliary", "dropout": 0}
    settings = {"batch_size": 8, "steps": 2, "latent": 4, "conditional": True, "log_every": 1}
    settings |= {"progress": False, "device": "cpu", **more}
    return ganzoo.Trainer(arch, DATA, loss=loss, penalties=penalty, **settings)


@pytest.mark.parametrize("fake", [True, False])
def test_beside_the_non_saturating_loss_it_is_the_loss_of_this_name(fake: bool) -> None:
    options = {"name": "auxiliary-classifier", "weight": 0.5, "fake": fake}
    one, other = trainer(options), trainer("non-saturating", options)
    for mine, theirs in zip(one.iterations(), other.iterations(), strict=True):
        for player in "dg":
            error = mine.scalars[f"{player}_classes"]
            assert torch.allclose(error, theirs.scalars[f"{player}_auxiliary-classifier"])
            penalised = theirs.scalars[f"{player}_loss"] + 0.5 * error
            assert torch.allclose(mine.scalars[f"{player}_loss"], penalised, rtol=1e-5, atol=1e-6)
    for name, net in one.nets().items():
        again = other.nets()[name].state_dict()
        for key, value in net.state_dict().items():
            assert torch.allclose(value, again[key], rtol=1e-4, atol=1e-6), (name, key)


@pytest.mark.parametrize("loss", ["hinge", "wasserstein", "relativistic"])
def test_any_loss_may_stand_beside_it(loss: str) -> None:
    penalty = {"name": "auxiliary-classifier", "every": 2}
    trainer(loss, penalty, out="run", joint_batch=loss == "hinge").fit()
    text = (Path("run") / "metrics.jsonl").read_text()
    first, second = map(json.loads, text.splitlines())
    for column in ("d_auxiliary-classifier", "g_auxiliary-classifier"):
        assert 0 < first[column] < 10 and column not in second


def test_with_every_it_weighs_as_much_on_the_whole() -> None:
    lazy = {"name": "auxiliary-classifier", "weight": 2.0, "every": 3}
    sgd = {"name": "sgd", "lr": 0.1}
    settings = {"g_optimizer": sgd, "d_optimizer": sgd, "steps": 1}
    one = trainer("hinge", lazy, **settings)
    other = trainer("hinge", {"name": "auxiliary-classifier", "weight": 6.0}, **settings)
    next(one.iterations())
    next(other.iterations())
    states = [made.nets()["discriminator"].state_dict() for made in (one, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
