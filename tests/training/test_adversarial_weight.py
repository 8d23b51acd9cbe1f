"""The weight of the loss in G's phase, and a generator that is pretrained by a penalty."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import ganzoo
from ganzoo import losses, penalties
from ganzoo.config import resolve
from ganzoo.core.step import Step
from ganzoo.errors import ConfigError
from ganzoo.penalties.base import Player
from ganzoo.training.diagnosis import Diagnoses

DATA = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
PRETRAINED: dict[str, Any] = {
    "penalties": [{"name": "reconstruction", "weight": 10}],
    "schedules": {
        "adversarial_weight": "linear 0 1 begin=.25 end=.75",
        "penalties.reconstruction.weight": "linear 10 0 begin=.25 end=.75",
    },
}


class Size(penalties.Penalty):
    """The mean square of what G makes."""

    player: ClassVar[Player] = "generator"

    def penalty(self, step: Step) -> Tensor:
        return step.fake.square().mean()


class Alone(losses.Loss):
    """Updates both players by hand."""

    def iteration(self, game: Any, batch: Callable[[], Any]) -> Step:
        real, labels = batch()
        game.update_discriminator(real, labels)
        with game.phase():
            fake = game.make(game.draw(len(real)), labels)
            game.update("generator", -game.judge(fake).logits.mean())
        return Step(game.played, game.generator, game.discriminator, fake, fake)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    """These are known in these tests only."""
    penalties.register("size-of-fakes")(Size)
    losses.register("alone")(Alone)
    yield
    penalties.registry.unregister("size-of-fakes")
    losses.registry.unregister("alone")


def trainer(**more: Any) -> ganzoo.Trainer:
    settings = {"steps": 8, "batch_size": 8, "log_every": 1, "checkpoint_every": 4, **more}
    arch = {"name": "mlp", "hidden": [8], "dropout": 0.0}
    return ganzoo.Trainer(arch, DATA, progress=False, device="cpu", latent=3, **settings)


def played(**more: Any) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """The weights of both nets after a training, and the numbers of each iteration."""
    made, rows = trainer(**more), []
    for step in made.iterations():
        rows.append({name: float(value) for name, value in step.scalars.items()})
    nets = made.game.nets()
    return {
        f"{name}.{key}": value for name in nets for key, value in nets[name].state_dict().items()
    }, rows


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("loss", ["non-saturating", "relativistic"])
def test_a_weight_of_one_changes_no_bit(
    loss: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"loss": loss, "precision": precision, "penalties": "size-of-fakes"}
    plain, rows = played(**settings)
    for more in ({"adversarial_weight": 1}, {"schedules": {"adversarial_weight": "linear 1 1"}}):
        found, others = played(**settings, **more)
        assert same(plain, found) and rows == others
    other, _ = played(**settings, adversarial_weight=0.999)
    assert not same(plain, other)
    # With 1 there is no multiplication, even of what would not bear one.
    made = trainer(steps=1)
    made.setup()
    monkeypatch.setattr(Tensor, "__mul__", None)
    game = made.game
    step = game._step("generator", DATA[:8, :3], DATA[:8], None, None, None, None)
    monkeypatch.setattr(
        type(game.loss), "generator_loss", lambda *_: torch.ones((), requires_grad=True)
    )
    game.first = None
    assert game._total("generator", step)[0] == 1


def test_gradients_are_those_of_the_weighted_sum() -> None:
    """G's gradient is linear: w times that of the loss, and that of the penalty."""
    norms = {}
    gradients: dict[str, list[Tensor]] = {}
    for name, weight, size in (("loss", 1, 0), ("size", 0, 3), ("both", 0.25, 3)):
        made = trainer(
            adversarial_weight=weight,
            penalties=[{"name": "size-of-fakes", "weight": size}],
            steps=1,
            precision="fp32",
        )
        (step,) = made.iterations()
        gradients[name] = [w.grad.clone() for w in made.game.generator.parameters()]
        norms[name] = {key: float(value) for key, value in step.scalars.items()}
    for loss, size, both in zip(*gradients.values(), strict=True):
        assert torch.allclose(0.25 * loss + size, both, rtol=1e-5, atol=1e-8)
        assert size.abs().sum() > 0
    # D trains as always, and what is reported has no weight.
    for name in ("d_loss", "d_grad", "g_loss", "size-of-fakes"):
        assert len({norms[which][name] for which in norms}) == 1, name


def test_it_follows_its_schedule_and_acts() -> None:
    made, seen = trainer(**PRETRAINED), []
    for step in made.iterations():
        term = made.game.terms[0]
        seen.append((made.game.adversarial_weight, term.weight, "reconstruction" in step.scalars))
    assert seen == [
        (0, 10, True),
        (0, 10, True),
        (0, 10, True),
        (0.25, 7.5, True),
        (0.5, 5, True),
        (0.75, 2.5, True),
        (1, 0, False),  # a penalty that a schedule holds at 0 costs nothing
        (1, 0, False),
    ]
    term = {"penalties": "size-of-fakes"}
    scheduled, _ = played(schedules={"adversarial_weight": "linear 3 3"}, **term)
    assert same(scheduled, played(adversarial_weight=3, **term)[0])
    assert not same(scheduled, played(**term)[0])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cut", [2, 6])  # while G learns from the penalty alone; after it
def test_resumed_to_the_bit(precision: str, cut: int, tmp_path: Path) -> None:
    class Stop(ganzoo.Callback):
        def on_step(self, trainer: Any, step: Any) -> None:
            if trainer.step == cut:
                trainer.stop()

    whole = trainer(out=tmp_path / "whole", precision=precision, **PRETRAINED)
    whole.fit()
    half = trainer(out=tmp_path / "half", precision=precision, **PRETRAINED)
    half.callbacks.append(Stop())
    half.fit()
    resumed = ganzoo.Trainer.resume(tmp_path / "half", dataset=DATA, progress=False)
    assert resumed.step == cut
    resumed.fit()
    for name, net in whole.nets().items():
        assert same(dict(net.state_dict()), dict(resumed.nets()[name].state_dict())), name
    encoders = [each.game.terms[0].built.state_dict() for each in (whole, resumed)]
    assert same(*map(dict, encoders))
    texts = [(Path(r.path) / "metrics.jsonl").read_text() for r in (whole.run, resumed.run)]
    rows = [[json.loads(line) for line in text.splitlines()] for text in texts]
    assert rows[0] == rows[1]
    assert "reconstruction" in rows[0][5] and "reconstruction" not in rows[0][6]


def test_a_penalty_that_rises_from_0_resumes_to_the_bit(tmp_path: Path) -> None:
    """What it trains has the optimizer's state before its turn has come."""
    rising = {"schedules": {"penalties.reconstruction.weight": "linear 0 1 begin=.75 end=1"}}
    whole = trainer(penalties="reconstruction", **rising)
    columns = []
    for step in whole.iterations():
        columns.append("reconstruction" in step.scalars)
        if whole.step == 4:
            kept = whole.save_checkpoint(tmp_path)
    assert columns == [True, *[False] * 6, True]
    resumed = trainer(penalties="reconstruction", **rising)
    resumed.load_checkpoint(kept)
    assert len(list(resumed.iterations())) == 4
    encoders = [each.game.terms[0].built.state_dict() for each in (whole, resumed)]
    assert same(*map(dict, encoders))
    assert same(*(dict(each.game.generator.state_dict()) for each in (whole, resumed)))


@pytest.mark.parametrize(
    "more",
    [
        {"adversarial_weight": 0},
        {"adversarial_weight": 0, "penalties": "r1"},
        {"adversarial_weight": 0, "penalties": [{"name": "size-of-fakes", "weight": 0}]},
        {"schedules": {"adversarial_weight": "linear 0 0"}},
        {
            "adversarial_weight": 0,
            "penalties": "size-of-fakes",
            "schedules": {"penalties.size-of-fakes.weight": "linear 0 0"},
        },
    ],
)
def test_nothing_that_trains_g_is_refused(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^Nothing trains G: .*\. Give a schedule .*or a penal"):
        trainer(**more, out=tmp_path / "run").fit()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "more",
    [
        {"adversarial_weight": 0, "penalties": "size-of-fakes"},
        {"adversarial_weight": 0, "schedules": {"adversarial_weight": "linear 1"}},
        {"schedules": {"adversarial_weight": "linear 0"}},
        {
            "adversarial_weight": 0,
            "penalties": [{"name": "size-of-fakes", "weight": 0}],
            "schedules": {"penalties.size-of-fakes.weight": "linear 1"},
        },
    ],
)
def test_what_trains_g_at_some_time_trains(more: dict[str, Any]) -> None:
    assert len(played(steps=3, **more)[1]) == 3


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_bad_weights(value: float) -> None:
    with pytest.raises(ConfigError, match="adversarial_weight"):
        resolve({"adversarial_weight": value})
    with pytest.raises(ConfigError, match=r"schedules\.adversarial_weight: .*|finite number"):
        resolve({"schedules": {"adversarial_weight": f"linear 0 {value}"}})


def test_a_loss_that_does_not_play_gs_phase_is_told() -> None:
    with pytest.raises(ConfigError, match=r"adversarial_weight has no effect .* Leave it at 1, or"):
        list(trainer(loss="alone", adversarial_weight=2).iterations())
    assert len(list(trainer(loss="alone", steps=1).iterations())) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, True),
        ({"adversarial_weight": 0.5}, True),
        ({"adversarial_weight": 0, "penalties": "reconstruction"}, False),
        ({"schedules": {"adversarial_weight": "linear 0 1 begin=.5 end=1"}}, False),
        ({"schedules": {"adversarial_weight": "linear 0 1 begin=.1 end=.2"}}, True),
    ],
)
def test_d_is_sure_and_g_still_while_g_is_pretrained(settings: dict[str, Any], said: bool) -> None:
    diagnoses = Diagnoses(resolve({"steps": 1000, **settings}), None, 1000)
    rows = [
        {"step": step, "d_loss": 1e-4, "g_grad": 1.0 if step < 400 else 1e-9}
        for step in range(20, 1001, 20)
    ]
    found = {each.kind for row in rows for each in diagnoses.see(row)}
    assert found == ({"d-wins", "g-vanishes"} if said else set())
