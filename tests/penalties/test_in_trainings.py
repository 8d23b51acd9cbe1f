"""Penalties in trainings: by D's one forward pass, with columns and state of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganzoo
from ganzoo import penalties
from ganzoo.averages.decay import Decay
from ganzoo.core.spec import LatentSpec
from ganzoo.core.step import Output
from ganzoo.errors import ConfigError, ContractError
from ganzoo.losses.logistic import NonSaturating
from ganzoo.optimizers import SGD
from ganzoo.training.ema import EMA
from ganzoo.training.game import Game, Term

IMAGES = torch.randint(0, 256, (24, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()

DATA = (IMAGES, torch.arange(24) % 3)


def trainer(arch: Any, penalty: Any, **more: Any) -> ganzoo.Trainer:
    settings = {"steps": 4, "batch_size": 8, "log_every": 1, "checkpoint_every": 2, **more}
    if penalty == "auxiliary-classifier":
        arch, settings["conditional"] = {**arch, "d_condition": "auxiliary"}, True
    return ganzoo.Trainer(arch, DATA, penalties=penalty, progress=False, device="cpu", **settings)


TINY = {
    "mlp": {"name": "mlp", "hidden": [8]},
    "dcgan": {"name": "dcgan", "channels": 4},
}
ALL: dict[str, Any] = {name: name for name in penalties.names()} | {
    "bcr and zcr": {"name": "consistency", "fake": True, "latent": True},
    "path-length": {"name": "path-length", "every": 2},
    "orthogonal of both": {"name": "orthogonal", "nets": "both"},
}


class Critic(nn.Module):
    """Logits (N,) or (N, 4) by way of batch norm, in which samples see each other."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Softplus(), nn.Linear(6, heads)
        )
        self.passes = 0

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        self.passes += 1
        return self.layers(samples).squeeze(1)


class Maker(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(latent.to(self.layer.weight.dtype))


@pytest.mark.parametrize("heads", [1, 4])  # a mean over 4 is exact in the logits' float32
@pytest.mark.parametrize("joint", [False, True])
def test_r1_and_r2_by_the_one_pass_are_those_by_a_pass_of_their_own(
    heads: int, joint: bool
) -> None:
    torch.manual_seed(0)
    generator, critic = Maker().double(), Critic(heads).double()
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    game = Game(
        generator=generator,
        discriminator=critic,
        loss=NonSaturating(),
        latent=LatentSpec(shape=(3,)),
        g_optimizer=SGD(lr=0.1).build(generator.parameters()),
        d_optimizer=SGD(lr=0.1).build(critic.parameters()),
        ema=EMA(generator, Decay(decay=0.9)),
        noise=torch.Generator().manual_seed(7),
        joint_batch=joint,
        terms=[Term(penalties.create("r1", weight=3)), Term(penalties.create("r2", weight=5))],
    )
    real = torch.randn(5, 2).double()
    step = game.update_discriminator(real, None)
    assert critic.passes == (1 if joint else 2)
    found = {name: value.clone() for name, value in critic.state_dict().items()}

    critic.load_state_dict(before)
    fake = step.fake.detach().double()
    both = torch.cat((real, fake)).requires_grad_()
    logits = critic(both).chunk(2) if joint else (critic(real), critic(fake))
    total = NonSaturating().discriminator(logits[0].float(), logits[1].float())
    values = []
    for side, samples, weight in ((0, real, 3), (1, fake, 5)):
        given = samples.clone().requires_grad_()
        ways = [real, fake]
        ways[side] = given
        again = critic(torch.cat(ways)).chunk(2)[side] if joint else critic(given)
        score = again.reshape(5, -1).mean(1).sum()
        (slope,) = torch.autograd.grad(score, given, create_graph=True)
        values.append(slope.square().sum(1).mean() / 2)
        total = total + weight * values[-1]
    gradients = torch.autograd.grad(total, list(critic.parameters()))
    assert step.scalars["r1"].item() == pytest.approx(values[0].item(), rel=1e-10)
    assert step.scalars["r2"].item() == pytest.approx(values[1].item(), rel=1e-10)
    for (name, _), gradient in zip(critic.named_parameters(), gradients, strict=True):
        assert torch.allclose(found[name], before[name] - 0.1 * gradient, rtol=0, atol=1e-10), name


def rows(run: Any) -> list[dict[str, Any]]:
    text = (Path(run.path) / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("arch", TINY)
@pytest.mark.parametrize("name", ALL)
def test_each_trains_is_in_every_row_and_resumes_to_the_bit(
    name: str, arch: str, precision: str, tmp_path: Path
) -> None:
    settings = {"penalty": ALL[name], "precision": precision}
    whole = trainer(TINY[arch], **settings, out=tmp_path / "whole").fit()
    penalty = penalties.create(ALL[name])
    columns = {Term(penalty).column(player) for player in penalty.players}
    for number, row in enumerate(rows(whole)):
        there = number % penalty.every == 0
        assert all((column in row) == there for column in columns), row
        assert all(row[column] == row[column] for column in columns if there)  # no NaN
    cut = trainer(TINY[arch], **settings, steps=2, out=tmp_path / "cut").fit()
    resumed = ganzoo.Trainer.resume(cut, dataset=DATA, steps=4, progress=False).fit()
    one, other = whole.generator.module.state_dict(), resumed.generator.module.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    kept = [{k: v for k, v in row.items() if k in columns} for row in rows(whole)]
    assert kept == [{k: v for k, v in row.items() if k in columns} for row in rows(resumed)]


def test_a_penalty_that_sees_real_samples_draws_a_batch_for_g() -> None:
    made = trainer(TINY["mlp"], "feature-matching", steps=None, epochs=2)
    drawn = 0
    for step in made.iterations():
        drawn += 2
        assert step.real is not None and step.real_output is not None
    assert drawn == 2 * 24 // 8  # each pass over the data is shared by both players


def test_a_loss_that_plays_g_without_real_samples_is_told() -> None:
    made = trainer(TINY["mlp"], "feature-matching", steps=1)
    made.setup()
    made.game.first = None
    with pytest.raises(ConfigError, match=r"needs real samples .* where game\.generator_sees_real"):
        made.game.update_generator(8, None, None)


def test_features_are_those_that_d_returns() -> None:
    given: list[Output] = []

    class Rich(nn.Module):
        def __init__(self, rich: bool) -> None:
            super().__init__()
            self.rich, self.flat = rich, nn.Flatten()
            self.first, self.last = nn.Linear(256, 6), nn.Linear(6, 1)

        def forward(self, samples: Tensor, labels: Tensor | None = None) -> Any:
            hidden = torch.tanh(self.first(self.flat(samples)))
            logits = self.last(hidden).squeeze(1)
            if not self.rich:
                return logits
            given.append(Output(logits, features=hidden[:, :2]))
            return given[-1]

    for rich in (True, False):
        made = trainer(TINY["mlp"], "feature-matching", steps=1)
        made.setup()
        made.game.discriminator = made.game.players["discriminator"].net = Rich(rich)
        made.game.first = None
        step = made.game.play(lambda: (torch.randn(8, 1, 16, 16), None))
        assert step.fake_output.features.shape == (8, 2 if rich else 6)


def test_a_net_without_layers_has_no_features() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
            return nn.functional.linear(samples.flatten(1), self.scale.expand(1, 256)).squeeze(1)

    made = trainer(TINY["mlp"], "feature-matching", steps=1)
    made.setup()
    bare = nn.Sequential()
    bare.register_module("inside", Bare())
    bare.forward = lambda samples, labels=None: bare.inside.forward(samples)
    made.game.discriminator = made.game.players["discriminator"].net = bare
    made.game.first = None
    with pytest.raises(
        ContractError, match=r"features for no penalty: .* Return Output\(logits, features="
    ):
        made.game.update_generator(8, torch.randn(8, 1, 16, 16), None)


def test_a_penalty_has_no_option_for_its_player() -> None:
    for name, player in (("path-length", "generator"), ("r1", "discriminator")):
        refused = f"'{name}' is added to the loss of its own player .by default the {player}"
        with pytest.raises(ConfigError, match=refused):
            penalties.create({"name": name, "player": "discriminator"})
