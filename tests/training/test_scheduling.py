"""Scheduled numbers and half-lives in trainings."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ganzoo
from ganzoo.averages.half_life import HalfLife
from ganzoo.errors import ConfigError
from ganzoo.training.ema import EMA

IMAGES = torch.randint(0, 256, (24, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
FULL: dict[str, Any] = {
    "penalties": [{"name": "r1", "weight": 2}],
    "augmentation": {"name": "ada", "ramp": None},
    "average": {"name": "half-life", "ramp": 0},
    "schedules": {
        "g_optimizer.lr": "cosine 2e-4 5e-5",
        "g_optimizer.beta2": "cosine .9 .99",
        "d_optimizer.lr": "linear 1e-3 warmup=.5",
        "d_optimizer.beta1": "linear 0",
        "penalties.r1.weight": "step .5 at=.5",
        "augmentation.p": "cosine 0 .55",
        "average.images": "cosine 0 100",
    },
}


MOMENTA: dict[str, Any] = {
    "g_optimizer": "sgd",
    "d_optimizer": {"name": "sgd", "lr": 1e-3, "nesterov": True, "momentum": 0.5},
    "schedules": {
        "g_optimizer.momentum": "linear 0 .8",
        "d_optimizer.momentum": "linear .9",
    },
}


def trainer(**more: Any) -> ganzoo.Trainer:
    settings = {"steps": 4, "batch_size": 8, "log_every": 1, "checkpoint_every": 2, **more}
    return ganzoo.Trainer(
        {"name": "mlp", "hidden": [8]}, IMAGES, progress=False, device="cpu", **settings
    )


def rows(run: Any) -> list[dict[str, Any]]:
    text = (Path(run.path) / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def cosine(start: float, final: float) -> list[float]:
    return [start + (final - start) * (1 - math.cos(math.pi * step / 4)) / 2 for step in range(4)]


def test_every_number_follows_its_schedule_and_rows_show_the_rates(tmp_path: Path) -> None:
    playing = trainer(**FULL)
    found: dict[str, list[float]] = {}
    for _ in playing.iterations():
        game = playing.game
        (g_group,), (d_group,) = game.g_optimizer.param_groups, game.d_optimizer.param_groups
        for name, value in {
            "g lr": g_group["lr"],
            "g beta1": g_group["betas"][0],
            "g beta2": g_group["betas"][1],
            "d lr": d_group["lr"],
            "d beta1": d_group["betas"][0],
            "r1": game.terms[0].weight,
            "p": float(game.augmentation[1].p),
            "half-life": game.ema.average.images,
        }.items():
            found.setdefault(name, []).append(value)
    assert found == {
        "g lr": pytest.approx(cosine(2e-4, 5e-5)),
        "g beta1": [0.9] * 4,
        "g beta2": pytest.approx(cosine(0.9, 0.99)),
        "d lr": pytest.approx([2e-4 / 3, 4e-4 / 3, 2e-4, 6e-4]),
        "d beta1": pytest.approx([0.9, 0.675, 0.45, 0.225]),
        "r1": [2, 2, 0.5, 0.5],
        "p": pytest.approx(cosine(0, 0.55)),
        "half-life": pytest.approx(cosine(0, 100)),
    }
    written = rows(trainer(out=tmp_path / "run", **FULL).fit())
    assert [row["g_lr"] for row in written] == found["g lr"]
    assert [row["d_lr"] for row in written] == found["d lr"]
    assert [row["ada_p"] for row in written] == pytest.approx(found["p"])


def test_a_weight_of_the_loss_follows_its_schedule() -> None:
    latent = {"shape": 4, "categorical": [2], "continuous": 1}
    course = {"loss.weight": "linear 0", "loss.continuous_weight": "linear 0 1"}
    playing = trainer(loss="info", latent=latent, schedules=course)
    found = [
        (playing.game.loss.weight, playing.game.loss.continuous_weight)
        for _ in playing.iterations()
    ]
    assert found == [(1, 0), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75)]
    with pytest.raises(ConfigError, match=r"schedules.loss.weight: Loss 'info': weight cannot be"):
        trainer(loss="info", latent=latent, schedules={"loss.weight": "linear -1"})


def test_a_rate_may_fall_to_nothing_and_rise_from_it() -> None:
    playing = trainer(schedules={"g_optimizer.lr": "linear 0 2e-4", "d_optimizer.lr": "linear 0"})
    playing.setup()
    both = playing.game.g_optimizer, playing.game.d_optimizer
    found = [tuple(each.param_groups[0]["lr"] for each in both) for _ in playing.iterations()]
    assert found == [pytest.approx((2e-4 * n / 4, 2e-4 * (4 - n) / 4)) for n in range(4)]


def test_a_scheduled_weight_acts_on_the_update() -> None:
    def weights(**settings: Any) -> list[torch.Tensor]:
        playing = trainer(**settings)
        for _ in playing.iterations():
            pass
        return [weight.detach().clone() for weight in playing.game.discriminator.parameters()]

    def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))

    def r1(weight: float) -> dict[str, Any]:
        return {"penalties": [{"name": "r1", "weight": weight}]}

    scheduled = {"schedules": {"penalties.r1.weight": "linear 7 7"}}
    assert same(weights(**r1(1), **scheduled), weights(**r1(7)))
    assert not same(weights(**r1(1)), weights(**r1(7)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("settings", [FULL, MOMENTA])
def test_resumed_to_the_bit(tmp_path: Path, settings: dict[str, Any], precision: str) -> None:
    whole = trainer(out=tmp_path / "whole", precision=precision, **settings)
    whole.fit()
    half = trainer(out=tmp_path / "half", precision=precision, **settings)

    class Stop(ganzoo.Callback):
        def on_step(self, trainer: Any, step: Any) -> None:
            if trainer.step == 2:
                trainer.stop()

    half.callbacks.append(Stop())
    half.fit()
    resumed = ganzoo.Trainer.resume(tmp_path / "half", dataset=IMAGES, progress=False)
    assert resumed.step == 2
    resumed.fit()
    for name, net in whole.nets().items():
        other = resumed.nets()[name].state_dict()
        assert all(torch.equal(value, other[key]) for key, value in net.state_dict().items()), name
    assert rows(whole.run)[2:] == rows(resumed.run)[2:]


def test_the_schedule_of_both_rates_multiplies_a_scheduled_one() -> None:
    settings = {"schedule": {"name": "linear", "final": 0.5}}
    playing = trainer(schedules={"g_optimizer.lr": "linear 4e-4 0.8e-4"}, **settings)
    found = [
        tuple(
            each.param_groups[0]["lr"]
            for each in (playing.game.g_optimizer, playing.game.d_optimizer)
        )
        for _ in playing.iterations()
    ]
    factors = [1, 0.875, 0.75, 0.625]
    values = [4e-4, 3.2e-4, 2.4e-4, 1.6e-4]
    assert [g for g, _ in found] == pytest.approx(
        [a * b for a, b in zip(factors, values, strict=True)]
    )
    assert [d for _, d in found] == pytest.approx([factor * 2e-4 for factor in factors])


# -- half-lives -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "final"), [(0, 0.8), (0.8, 0)])
def test_momentum_follows_its_schedule(start: float, final: float) -> None:
    settings = copy.deepcopy(MOMENTA)
    settings["schedules"]["g_optimizer.momentum"] = f"linear {start} {final}"
    playing = trainer(**settings)
    found = [
        (
            playing.game.g_optimizer.param_groups[0]["momentum"],
            playing.game.d_optimizer.param_groups[0]["momentum"],
        )
        for _ in playing.iterations()
    ]
    shares = [0, 0.25, 0.5, 0.75]
    assert found == [
        pytest.approx((start + (final - start) * way, 0.5 + 0.4 * way)) for way in shares
    ]


@pytest.mark.parametrize("ramp", [None, 0.05, 0.5])
def test_a_half_life_is_that_of_the_formula(ramp: float | None) -> None:
    net = nn.Linear(3, 2).double()
    ema = EMA(net, HalfLife(images=20.0, ramp=ramp), images=8)
    expected = copy.deepcopy(net.weight.detach())
    for number in range(12):
        with torch.no_grad():
            net.weight.normal_()
        ema.update()
        half_life = 20.0 if ramp is None else min(20.0, ramp * 8 * number)
        kept = 0.5 ** (8 / half_life) if half_life else 0.0
        expected = kept * expected + (1 - kept) * net.weight.detach()
        assert torch.allclose(ema.module.weight, expected, rtol=0, atol=1e-12)


def test_after_a_half_life_of_images_a_half_is_forgotten() -> None:
    net = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(1)
        ema = EMA(net, HalfLife(images=80, ramp=0), images=8)
        net.weight.fill_(0)
    for _ in range(10):
        ema.update()
    assert float(ema.module.weight) == pytest.approx(0.5, rel=1e-12)


def test_a_half_life_of_zero_follows_the_net() -> None:
    net = nn.Linear(2, 2)
    ema = EMA(net, HalfLife(images=0.0), images=8)
    with torch.no_grad():
        net.weight.normal_()
    ema.update()
    assert torch.equal(ema.module.weight, net.weight)


@pytest.mark.parametrize(
    ("settings", "images"),
    [({}, 8), ({"d_steps": 2}, 16), ({"g_steps": 2}, 4)],
)
def test_images_per_update(settings: dict[str, Any], images: int) -> None:
    playing = trainer(average={"name": "half-life", "images": 100}, steps=1, **settings)
    playing.setup()
    assert playing.game.ema._images == images
    assert playing.game.ema.average.images == 100
