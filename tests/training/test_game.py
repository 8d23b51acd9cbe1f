from __future__ import annotations

import copy
import functools
import math
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from ganzoo.averages.decay import Decay
from ganzoo.core.nets import across_batch
from ganzoo.core.spec import LatentSpec
from ganzoo.core.step import OWN, Output, Step
from ganzoo.errors import ConfigError
from ganzoo.losses.base import Loss
from ganzoo.losses.logistic import NonSaturating
from ganzoo.losses.wasserstein import Wasserstein
from ganzoo.optimizers import SGD, Adam
from ganzoo.training.ema import EMA
from ganzoo.training.game import Game
from ganzoo.training.parts import collect

BATCH, LATENT, SAMPLE = 5, 3, 2


class Generator(nn.Module):
    """Latents and labels to samples, with batch norm."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(LATENT, 4, bias=False)  # batch norm would take a bias back
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, SAMPLE, bias=False)  # and D's batch norm this one
        self.embed = nn.Embedding(classes, LATENT)
        self.given = []

    def forward(self, z, labels=None):
        self.given.append(labels)
        z = z.to(self.first.weight.dtype)
        z = z + (0.0 if labels is None else 1.0) * self.embed(
            labels if labels is not None else ZERO
        )
        return self.second(torch.tanh(self.norm(self.first(z))))


class Discriminator(nn.Module):
    """Samples and labels to logits, with batch norm so that the company of a sample matters."""

    def __init__(self, classes: int = 4, rich: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(SAMPLE, 4, bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 1)
        self.embed = nn.Embedding(classes, SAMPLE)
        self.rich = rich
        self.given = []
        self.seen = []

    def forward(self, x, labels=None):
        self.given.append(labels)
        self.seen.append(x)
        x = x + (0.0 if labels is None else 1.0) * self.embed(
            labels if labels is not None else ZERO
        )
        features = torch.tanh(self.norm(self.first(x)))
        logits = self.second(features).squeeze(1)
        return Output(logits, classes=2 * features, features=features) if self.rich else logits


ZERO = torch.zeros(1, dtype=torch.int64)


def reals(labels: bool = False, dtype: torch.dtype = torch.float64):
    """An endless supply of batches, each different, and the list of those handed out."""
    source = torch.Generator().manual_seed(11)
    drawn = []

    def batch():
        real = torch.randn(BATCH, SAMPLE, generator=source, dtype=torch.float64).to(dtype)
        chosen = torch.randint(4, (BATCH,), generator=source) if labels else None
        drawn.append((real, chosen))
        return drawn[-1]

    return batch, drawn


def game(
    loss, optimizer=None, *, dtype=torch.float64, rich=False, discriminator=None, **options
) -> Game:
    torch.manual_seed(0)
    generator = Generator().to(dtype)
    discriminator = (discriminator or Discriminator(rich=rich)).to(dtype)
    optimizer = optimizer or SGD(lr=0.1)
    return Game(
        generator=generator,
        discriminator=discriminator,
        loss=loss,
        latent=LatentSpec(shape=(LATENT,)),
        g_optimizer=optimizer.build(generator.parameters()),
        d_optimizer=optimizer.build(discriminator.parameters()),
        ema=EMA(generator, Decay(decay=0.9)),
        noise=torch.Generator().manual_seed(7),
        **options,
    )


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- the game against the same game played by hand ------------------------------------------------


class HandSGD:
    def __init__(self, lr: float) -> None:
        self.lr = lr

    def changes(self, gradients):
        return [-self.lr * gradient for gradient in gradients]


class HandAdam:
    """Algorithm 1 of arXiv:1412.6980."""

    def __init__(self, lr: float, betas: tuple[float, float]) -> None:
        self.lr, self.betas, self.count, self.m, self.v = lr, betas, 0, None, None

    def changes(self, gradients):
        a, b = self.betas
        self.count += 1
        self.m = self.m or [torch.zeros_like(gradient) for gradient in gradients]
        self.v = self.v or [torch.zeros_like(gradient) for gradient in gradients]
        self.m = [a * m + (1 - a) * g for m, g in zip(self.m, gradients, strict=True)]
        self.v = [b * v + (1 - b) * g * g for v, g in zip(self.v, gradients, strict=True)]
        return [
            -self.lr * (m / (1 - a**self.count)) / ((v / (1 - b**self.count)).sqrt() + 1e-8)
            for m, v in zip(self.m, self.v, strict=True)
        ]


class ByHand:
    """The game written down once more, with nothing but gradients taken from torch."""

    def __init__(self, game: Game, d_loss, g_loss, rule, *, weights_within=None) -> None:
        self.generator = copy.deepcopy(game.generator)
        self.discriminator = copy.deepcopy(game.discriminator)
        self.noise = torch.Generator()
        self.noise.set_state(game.noise.get_state())
        self.game, self.d_loss, self.g_loss = game, d_loss, g_loss
        self.g_rule, self.d_rule = copy.deepcopy(rule), copy.deepcopy(rule)
        self.weights_within = weights_within

    def latents(self):
        return torch.empty(BATCH, LATENT).normal_(generator=self.noise)

    def move(self, net, loss, rule) -> None:
        weights = list(net.parameters())
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        gradients = [
            torch.zeros_like(weight) if gradient is None else gradient
            for weight, gradient in zip(weights, gradients, strict=True)
        ]
        if self.game.clip is not None:
            norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
            factor = min(1.0, self.game.clip / (norm + 1e-6))
            gradients = [factor * gradient for gradient in gradients]
        with torch.no_grad():
            for weight, change in zip(weights, rule.changes(gradients), strict=True):
                weight += change

    def play(self, batch) -> dict[str, float]:
        scalars = {}
        for _ in range(self.game.d_steps):
            real, labels = batch()
            fake = self.generator(self.latents(), labels).detach()
            if self.game.joint_batch:
                both = None if labels is None else torch.cat((labels, labels))
                logits = self.discriminator(torch.cat((real, fake)), both).float()
                of_real, of_fake = logits[:BATCH], logits[BATCH:]
            else:
                of_real = self.discriminator(real, labels).float()
                of_fake = self.discriminator(fake, labels).float()
            loss = self.d_loss(of_real, of_fake)
            self.move(self.discriminator, loss, self.d_rule)
            if self.weights_within is not None:
                with torch.no_grad():
                    for weight in self.discriminator.parameters():
                        weight.clamp_(-self.weights_within, self.weights_within)
            scalars |= {"d_loss": loss, "d_real": of_real, "d_fake": of_fake}
        for _ in range(self.game.g_steps):
            fake = self.generator(self.latents(), labels)
            loss = self.g_loss(self.discriminator(fake, labels).float())
            self.move(self.generator, loss, self.g_rule)
            scalars["g_loss"] = loss
        return scalars


def log_d(real, fake):
    return softplus(-real).mean() + softplus(fake).mean()


def log_g(fake):
    return softplus(-fake).mean()


RULES = [
    (SGD(lr=0.1), HandSGD(0.1)),
    (Adam(lr=0.01, betas=(0.5, 0.9)), HandAdam(0.01, (0.5, 0.9))),
]


def compare(played: Game, hand: ByHand) -> None:
    for net, other in (
        (played.generator, hand.generator),
        (played.discriminator, hand.discriminator),
    ):
        found, expected = net.state_dict(), other.state_dict()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    ("d_steps", "g_steps", "clip", "joint", "labels"),
    [
        (1, 1, None, False, False),
        (1, 1, None, True, False),
        (1, 1, 0.05, False, True),
        (2, 1, None, False, True),
        (1, 2, 0.05, True, False),
        (2, 2, None, True, True),
    ],
)
@pytest.mark.parametrize(("optimizer", "rule"), RULES, ids=["sgd", "adam"])
def test_a_game_is_what_it_says(optimizer, rule, labels, d_steps, g_steps, clip, joint) -> None:
    played = game(
        NonSaturating(), optimizer, d_steps=d_steps, g_steps=g_steps, clip=clip, joint_batch=joint
    )
    hand = ByHand(played, log_d, log_g, rule)
    start = copied(played.generator)
    (batch, _), (again, _) = reals(labels), reals(labels)
    for number in range(3):
        step = played.play(batch)
        expected = hand.play(again)
        compare(played, hand)
        assert step.number == number and played.played == number + 1
        assert step.scalars["d_loss"].item() == pytest.approx(expected["d_loss"].item(), rel=1e-6)
        assert step.scalars["g_loss"].item() == pytest.approx(expected["g_loss"].item(), rel=1e-6)
        for name in ("d_real", "d_fake"):
            probability = torch.sigmoid(expected[name]).mean().item()
            assert step.scalars[name].item() == pytest.approx(probability, rel=1e-6)
    assert not torch.equal(start["first.weight"], played.generator.first.weight)


def test_clipping_bounds_the_gradient_of_each_net() -> None:
    free, clipped = (game(NonSaturating(), SGD(lr=1.0), clip=clip) for clip in (None, 0.01))
    for one in (free, clipped):
        before = copied(one.generator), copied(one.discriminator)
        one.play(reals()[0])
        moved = [
            math.sqrt(
                sum(
                    (value - old[name]).square().sum().item()
                    for name, value in net.named_parameters()
                )
            )
            for net, old in zip((one.generator, one.discriminator), before, strict=True)
        ]
        if one is clipped:
            assert moved == pytest.approx([0.01, 0.01], rel=1e-3)
        else:
            assert min(moved) > 0.02


def test_a_large_clip_changes_nothing() -> None:
    one, other = game(NonSaturating()), game(NonSaturating(), clip=1e6)
    one.play(reals()[0])
    other.play(reals()[0])
    assert same(copied(one.generator), copied(other.generator))
    assert same(copied(one.discriminator), copied(other.discriminator))


def test_constraints_follow_every_update_of_the_discriminator() -> None:
    played = game(Wasserstein(clip=0.2), SGD(lr=0.5), d_steps=2)
    hand = ByHand(
        played,
        lambda real, fake: fake.mean() - real.mean(),
        lambda fake: -fake.mean(),
        HandSGD(0.5),
        weights_within=0.2,
    )
    (batch, _), (again, _) = reals(), reals()
    for _ in range(2):
        step = played.play(batch)
        scalars = hand.play(again)
        compare(played, hand)
        # The critic's values are shown as they are.
        assert step.scalars["d_real"].item() == pytest.approx(scalars["d_real"].mean().item())
        bounds = [weight.abs().max().item() for weight in played.discriminator.parameters()]
        assert max(bounds) == 0.2
    assert max(weight.abs().max().item() for weight in played.generator.parameters()) > 0.2


def test_each_phase_draws_its_own_latents_and_real_samples() -> None:
    played = game(NonSaturating(), d_steps=3, g_steps=2)
    source = torch.Generator().manual_seed(7)
    expected = [torch.randn(BATCH, LATENT, generator=source) for _ in range(5)]
    batch, drawn = reals()
    step = played.play(batch)
    assert torch.equal(step.latent, expected[-1])
    assert torch.equal(played.noise.get_state(), source.get_state())
    assert len(drawn) == 3
    judged = played.discriminator.seen
    assert len(judged) == 8  # two for each update of D, one for each of G
    for number in range(3):
        assert torch.equal(judged[2 * number], drawn[number][0])
    for one, other in pairwise(judged):
        assert not torch.equal(one, other)


# -- who may change what --------------------------------------------------------------------------


class Watching(Loss):
    """Tells a test what each phase looks like from within."""

    monitor: ClassVar = staticmethod(lambda phase, step: None)

    def discriminator_loss(self, step: Step):
        self.monitor("D", step)
        return super().discriminator_loss(step)

    def generator_loss(self, step: Step):
        self.monitor("G", step)
        return super().generator_loss(step)

    def discriminator(self, real, fake):
        return log_d(real, fake)

    def generator(self, fake, real=None):
        return log_g(fake)


def watched(monitor, base: type[Watching] = Watching) -> Watching:
    return type("Watched", (base,), {"monitor": staticmethod(monitor), "__module__": __name__})()


def gradients(net: nn.Module) -> list:
    return [None if p.grad is None else p.grad.clone() for p in net.parameters()]


def test_the_discriminator_is_frozen_while_the_generator_learns() -> None:
    seen = []

    def monitor(phase: str, step: Step) -> None:
        net = step.discriminator
        trained = {weight.requires_grad for weight in net.parameters()}
        seen.append((phase, trained, copied(net), gradients(net)))

    played = game(watched(monitor), d_steps=2, g_steps=2)
    batch, _ = reals()
    for _ in range(2):
        seen.clear()
        played.play(batch)
        assert [(phase, trained) for phase, trained, *_ in seen] == [
            ("D", {True}),
            ("D", {True}),
            ("G", {False}),
            ("G", {False}),
        ]
        *_, weights, kept = seen[2]
        for name, value in played.discriminator.named_parameters():
            assert torch.equal(value, weights[name])
        for old, new in zip(kept, gradients(played.discriminator), strict=True):
            assert (old is None) == (new is None)
            assert old is None or torch.equal(old, new)


def test_the_generator_is_untouched_while_the_discriminator_learns() -> None:
    seen = []

    def monitor(phase: str, step: Step) -> None:
        if phase == "D":
            assert not step.fake.requires_grad
        seen.append((phase, copied(step.generator), gradients(step.generator)))

    played = game(watched(monitor), d_steps=3)
    start = copied(played.generator)
    played.play(reals()[0])
    assert [phase for phase, *_ in seen] == ["D", "D", "D", "G"]
    buffers = {name for name, _ in played.generator.named_buffers()}
    for number, (_, state, grads) in enumerate(seen, start=1):
        assert all(gradient is None for gradient in grads)
        for name, value in state.items():
            if name == "norm.num_batches_tracked":
                assert value == number
            else:
                assert torch.equal(value, start[name]) == (name not in buffers)
    assert not torch.equal(played.generator.first.weight, start["first.weight"])


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_weights_that_are_frozen_on_purpose_stay_so(player: str) -> None:
    played = game(NonSaturating())
    net = getattr(played, player)
    net.first.requires_grad_(False)
    before = net.first.weight.clone()
    batch, _ = reals()
    played.play(batch)
    played.play(batch)
    assert torch.equal(net.first.weight, before)


def test_the_average_follows_each_update_of_the_generator() -> None:
    played = game(NonSaturating(), g_steps=3)
    batch, _ = reals()
    played.play(batch)
    played.play(batch)
    assert played.ema.updates == 6


def test_rates() -> None:
    played = game(NonSaturating(), SGD(lr=0.4))
    for factor in (0.5, 0.25, 1.0):
        played.rate(factor)
        rates = [o.param_groups[0]["lr"] for o in (played.g_optimizer, played.d_optimizer)]
        assert rates == [0.4 * factor] * 2
    played.rate(0.0)
    before = copied(played.generator)
    played.play(reals()[0])
    for name, value in played.generator.named_parameters():
        assert torch.equal(value, before[name])


# -- what a step tells ----------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [False, True])
def test_the_finished_step(labels) -> None:
    played = game(NonSaturating(), d_steps=2)
    batch, drawn = reals(labels)
    step = played.play(batch)
    assert step.generator is played.generator and step.discriminator is played.discriminator
    assert step.real is drawn[-1][0] and step.labels is drawn[-1][1]
    assert step.fake.shape == (BATCH, SAMPLE)
    assert step.fake is played.discriminator.seen[-1]
    assert step.fake_output.logits.shape == (BATCH,)
    assert set(step.scalars) == {"d_loss", "d_real", "d_fake", "d_grad", "g_loss", "g_grad"}
    for value in step.scalars.values():
        assert value.shape == () and not value.requires_grad and value.isfinite()


@pytest.mark.parametrize("joint", [False, True])
def test_labels_reach_both_nets(joint) -> None:
    played = game(NonSaturating(), joint_batch=joint)
    batch, drawn = reals(labels=True)
    played.play(batch)
    labels = drawn[0][1]
    assert [given.tolist() for given in played.generator.given] == [labels.tolist()] * 2
    judged = [2 * labels.tolist()] if joint else [labels.tolist()] * 2
    assert [given.tolist() for given in played.discriminator.given] == [*judged, labels.tolist()]


def test_no_labels_reach_the_nets_where_there_are_none() -> None:
    played = game(NonSaturating(), joint_batch=True)
    played.play(reals()[0])
    assert played.generator.given == [None, None]
    assert played.discriminator.given == [None, None]


@pytest.mark.parametrize("joint", [False, True])
def test_a_loss_may_see_everything(joint) -> None:
    seen = {}

    class FeatureMatching(Loss):
        def discriminator_loss(self, step: Step):
            seen["D"] = step
            apart = step.real_output.features - step.fake_output.features
            return log_d(step.real_output.logits, step.fake_output.logits) - apart.abs().mean()

        def generator_loss(self, step: Step):
            seen["G"] = step
            return log_g(step.fake_output.logits) + step.fake_output.features.square().mean()

    played = game(FeatureMatching(), rich=True, joint_batch=joint)
    batch, drawn = reals(labels=True)
    judge = copy.deepcopy(played.discriminator)
    played.play(batch)

    step = seen["D"]
    real, labels = drawn[0]
    assert step.number == 0
    assert step.real is real and step.labels is labels
    assert step.latent.shape == (BATCH, LATENT) and step.fake.shape == (BATCH, SAMPLE)
    if joint:
        both = judge(torch.cat((real, step.fake)), torch.cat((labels, labels)))
        expected = [
            Output(both.logits[part], both.classes[part], both.features[part])
            for part in (slice(BATCH), slice(BATCH, None))
        ]
    else:
        expected = [judge(real, labels), judge(step.fake, labels)]
    for found, wanted in zip((step.real_output, step.fake_output), expected, strict=True):
        assert torch.equal(found.logits, wanted.logits.float())
        assert torch.equal(found.classes, wanted.classes)
        assert torch.equal(found.features, wanted.features)

    step = seen["G"]
    assert step.real_output is None
    assert step.fake.requires_grad and step.fake_output.features.requires_grad
    assert step.fake_output.classes.shape == (BATCH, 4)


def test_a_loss_whose_gradient_comes_from_the_features_alone() -> None:
    class Features(Watching):
        def generator_loss(self, step: Step):
            return step.fake_output.features.square().mean()

    played = game(Features(), rich=True)
    before = played.generator.first.weight.clone()
    played.play(reals()[0])
    assert not torch.equal(played.generator.first.weight, before)


class Relativistic(Watching):
    """A toy: G wants D to find its samples more real than the real ones."""

    generator_sees_real: ClassVar[bool] = True

    def generator(self, fake, real=None):
        return softplus(real.mean() - fake).mean()


def test_a_relativistic_loss_sees_fresh_real_samples() -> None:
    seen = []

    def monitor(phase: str, step: Step) -> None:
        if phase == "G":
            seen.append((step.real, step.labels, step.real_output.logits))

    played = game(watched(monitor, Relativistic), d_steps=2, g_steps=2)
    batch, drawn = reals(labels=True)
    before = copy.deepcopy(played.generator)
    played.play(batch)
    assert len(drawn) == 4
    for (real, labels, logits), (wanted, chosen) in zip(seen, drawn[2:], strict=True):
        assert real is wanted and labels is chosen
        assert logits.shape == (BATCH,) and not logits.requires_grad
    # G's samples carry the labels of the real ones they are held against.
    assert [given.tolist() for given in played.generator.given] == [
        chosen.tolist() for _, chosen in drawn
    ]
    assert not torch.equal(before.first.weight, played.generator.first.weight)


def test_a_relativistic_update_by_hand() -> None:
    played = game(Relativistic(), SGD(lr=0.1))
    generator, judge = copy.deepcopy(played.generator), copy.deepcopy(played.discriminator)
    states = []
    played.loss = watched(
        lambda phase, step: states.append(copied(step.discriminator)), Relativistic
    )
    batch, drawn = reals()
    played.play(batch)
    source = torch.Generator().manual_seed(7)
    latents = [torch.randn(BATCH, LATENT, generator=source) for _ in range(2)]
    generator(latents[0])  # D's phase moves the statistics of its batch norm
    judge.load_state_dict(states[1])  # as it is in G's phase
    fake = judge(generator(latents[1])).float()
    real = judge(drawn[1][0]).float().detach()
    weights = list(generator.parameters())
    moves = torch.autograd.grad(softplus(real.mean() - fake).mean(), weights, allow_unused=True)
    for weight, move, found in zip(weights, moves, played.generator.parameters(), strict=True):
        expected = weight if move is None else weight - 0.1 * move
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_finished_relativistic_step_is_of_one_piece() -> None:
    """``labels`` and ``real_output`` belong to ``real``, as ``Step`` promises."""
    played = game(Relativistic())
    batch, drawn = reals(labels=True)
    step = played.play(batch)
    labels = next(chosen for real, chosen in drawn if real is step.real)
    assert step.labels is labels


# -- arithmetic -----------------------------------------------------------------------------------


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_losses_work_in_float32_whatever_the_nets_compute_in(autocast, joint) -> None:
    seen = []

    def monitor(phase: str, step: Step) -> None:
        assert not torch.is_autocast_enabled("cpu")
        seen.append(step.fake_output.features.dtype)
        for output in (step.real_output, step.fake_output):
            assert output is None or output.logits.dtype == torch.float32

    played = game(
        watched(monitor), dtype=torch.float32, rich=True, autocast=autocast, joint_batch=joint
    )
    products = []
    for net in (played.generator, played.discriminator):
        net.second.register_forward_hook(lambda net, given, made: products.append(made.dtype))
    step = played.play(reals(dtype=torch.float32)[0])
    assert len(seen) == 2
    assert set(products) == {torch.bfloat16 if autocast else torch.float32}
    assert {value.dtype for value in step.scalars.values()} == {torch.float32}
    for net in (played.generator, played.discriminator, played.ema.module):
        assert {weight.dtype for weight in net.parameters()} == {torch.float32}
    for weight in played.generator.parameters():
        assert weight.grad is None or weight.grad.dtype == torch.float32


# -- the average ----------------------------------------------------------------------------------


def test_an_average_by_hand() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double()
    ema = EMA(net, Decay(decay=0.2))
    names = [name for name, value in net.state_dict().items() if value.is_floating_point()]
    assert "1.running_mean" in names and "0.weight" in names
    kept = {name: net.state_dict()[name].tolist() for name in names}
    source = torch.Generator().manual_seed(0)
    for decay in (0.1, 2 / 11, 0.2, 0.2):  # (1 + n) / (10 + n), until it reaches 0.2
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=source, dtype=value.dtype))
            else:
                value += 3
        ema.update()
        now = net.state_dict()
        for name in names:
            old = torch.tensor(kept[name], dtype=torch.float64)
            expected = decay * old + (1 - decay) * now[name]
            found = ema.module.state_dict()[name]
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
            kept[name] = found.tolist()
        count = ema.module.state_dict()["1.num_batches_tracked"]
        assert torch.equal(count, now["1.num_batches_tracked"])
    assert ema.updates == 4


def test_the_ramp_ends_at_the_decay() -> None:
    net = nn.Linear(1, 1, bias=False).double()
    ema = EMA(net, Decay(decay=0.999))
    ema.updates = 10**6
    ema.module.weight.fill_(1.0)
    net.weight.data.fill_(2.0)
    ema.update()
    assert ema.module.weight.item() == pytest.approx(1.001, rel=1e-12)


def test_no_decay_follows_the_net_itself() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    ema = EMA(net, Decay(decay=0.0))
    for _ in range(3):
        for value in net.state_dict().values():
            value.copy_(torch.randn(value.shape) * 100)
        ema.update()
        assert same(copied(ema.module), copied(net))


def test_an_average_is_a_net_of_its_own() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).train()
    ema = EMA(net, Decay(decay=0.5))
    assert net.training and not ema.module.training
    assert not any(weight.requires_grad for weight in ema.module.parameters())
    assert all(weight.requires_grad for weight in net.parameters())
    before = copied(ema.module)
    with torch.no_grad():
        net[0].weight.add_(1)
    assert same(copied(ema.module), before)


# -- batch norm -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2))), True),
        (nn.BatchNorm2d(3), True),
        (nn.SyncBatchNorm(3), True),
        (nn.Sequential(nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2)), False),
        (nn.Linear(2, 2), False),
    ],
    ids=lambda value: value if isinstance(value, bool) else type(value).__name__,
)
def test_batch_norm_is_found(net, expected) -> None:
    assert across_batch(net) == ["batch norm"] * expected


# -- the mode that D is in ------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [False, True])
def test_d_may_be_in_evaluation_mode_while_g_learns(asked: bool) -> None:
    batch, _ = reals()
    played = game(NonSaturating(), d_eval_for_g=asked)
    modes = []
    judge = played.discriminator
    judge.register_forward_hook(lambda module, *_: modes.append(module.norm.training))
    judge.embed.eval()  # what its author put into evaluation mode stays there
    played.play(batch)
    assert modes == [True, True, not asked]
    assert judge.training and judge.norm.training and not judge.embed.training
    # A phase that fails leaves the modes as they were.
    played.loss = Broken()
    with pytest.raises(ArithmeticError):
        played.update_generator(BATCH, None, None)
    assert judge.norm.training and all(value.requires_grad for value in judge.parameters())


class Broken(NonSaturating):
    """A loss of G that fails."""

    name: ClassVar[str] = "broken"

    def generator(self, fake, real=None):
        raise ArithmeticError


# -- tensors that are exchanged --------------------------------------------------------------------


class Holding(nn.Module):
    """A net whose tensors tests exchange."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(LATENT, SAMPLE)
        self.normed = nn.utils.parametrizations.spectral_norm(nn.Linear(SAMPLE, SAMPLE))
        self.register_buffer("mean", torch.zeros(SAMPLE))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, z, labels=None):
        return self.normed(self.layer(z)) + self.mean


def _loaded(net: Holding, assign: bool = False) -> None:
    state = {name: value + 1 for name, value in net.state_dict().items()}
    net.load_state_dict(state, assign=assign)


def _data(net: Holding) -> None:
    net.layer.weight.data = net.layer.weight.data + 1


def _parameter(net: Holding) -> None:
    net.layer.weight = nn.Parameter(net.layer.weight.detach() + 1)


def _part(net: Holding) -> None:
    net.layer = nn.Linear(LATENT, SAMPLE)


def _moved_and_back(net: Holding) -> None:
    net.double().float()
    net.mean += 1


def _frozen_parameter(net: Holding) -> None:
    net.layer.bias = nn.Parameter(net.layer.bias.detach() + 1, requires_grad=False)


def _deep(net: Holding) -> None:
    net.normed.parametrizations.weight.original = nn.Parameter(
        net.normed.parametrizations.weight.original.detach() * 2
    )


EXCHANGES = {
    "self.mean = ...": lambda net: setattr(net, "mean", net.mean * 0.5 + 1),
    "self.mean with a graph": lambda net: setattr(net, "mean", net.mean + net.layer.bias),
    "of a part": lambda net: setattr(net.normed, "bias", nn.Parameter(net.normed.bias + 1)),
    "a counter": lambda net: setattr(net, "count", net.count + 1),
    "in place": lambda net: net.mean.add_(1),
    "load_state_dict(assign=True)": functools.partial(_loaded, assign=True),
    "load_state_dict": _loaded,
    ".data": _data,
    "a parameter": _parameter,
    "a part": _part,
    "there and back": _moved_and_back,
    "another type": lambda net: net.double(),
    "a buffer of another type": lambda net: setattr(net, "mean", net.mean.double() + 1),
    "frozen": _frozen_parameter,
    "below a parametrization": _deep,
}


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
@pytest.mark.parametrize("when", [0, 1])
def test_the_average_follows_what_the_net_holds_now(exchange, when: int) -> None:
    torch.manual_seed(0)
    net = Holding()
    ema = EMA(net, Decay(decay=0.0))
    for _ in range(when):
        ema.update()
    for _ in range(2):
        exchange(net)
        ema.update()
        for name, value in ema.module.state_dict().items():
            expected = net.state_dict()[name].to(value)
            torch.testing.assert_close(value, expected, msg=name)
    assert not any(value.requires_grad for value in ema.module.state_dict().values())


def test_the_average_of_exchanged_tensors_is_one() -> None:
    net = Holding()
    ema = EMA(net, Decay(decay=0.9))
    expected = net.mean.clone()
    for number in range(5):
        net.mean = torch.full((SAMPLE,), float(number))
        decay = min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * net.mean
        ema.update()
    torch.testing.assert_close(ema.module.mean, expected)


def test_the_average_itself_may_be_given_other_tensors() -> None:
    net = Holding()
    ema = EMA(net, Decay(decay=0.0))
    ema.module.load_state_dict(copied(ema.module), assign=True)
    net.mean = net.mean + 3
    ema.update()
    assert ema.module.mean.tolist() == [3.0] * SAMPLE


def test_a_tensor_with_two_names_moves_once() -> None:
    net = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    net[1].weight = net[0].weight
    ema = EMA(net, Decay(decay=0.5))
    before = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight += 1
    ema.update()
    torch.testing.assert_close(ema.module[0].weight, before + 0.9)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda net: net.register_buffer("more", torch.zeros(1)), "has a new tensor 'more'"),
        (lambda net: delattr(net, "mean"), "has no tensor 'mean' any more"),
        (lambda net: setattr(net, "mean", None), "has no tensor 'mean' any more"),
        (
            lambda net: setattr(net, "mean", torch.zeros(SAMPLE + 1)),
            "has a tensor 'mean' of shape (3,), which was (2,)",
        ),
        (
            lambda net: setattr(net, "layer", nn.Linear(LATENT + 1, SAMPLE)),
            "has a tensor 'layer.weight' of shape (2, 4), which was (2, 3)",
        ),
        (lambda net: net.add_module("new", nn.Linear(1, 1)), "has a new tensor 'new.weight'"),
    ],
)
def test_a_net_with_other_tensors_is_refused(change, fact: str) -> None:
    net = Holding()
    ema = EMA(net, Decay(decay=0.9))
    ema.update()
    change(net)
    with pytest.raises(ConfigError) as caught:
        ema.update()
    assert str(caught.value).startswith(f"The generator {fact} since it was built: ")


@pytest.mark.parametrize("player", ["generator", "discriminator"])
@pytest.mark.parametrize("how", ["parameter", "assign", "layer"])
@pytest.mark.parametrize("optimizer", [Adam(lr=0.1), SGD(lr=0.1, momentum=0.9)])
def test_the_optimizer_trains_the_parameters_that_there_are(player: str, how: str, optimizer):
    """As if they had never been exchanged: their moments go on."""
    plain, changed = game(NonSaturating(), optimizer), game(NonSaturating(), optimizer)
    batches = reals()[0], reals()[0]
    for number in range(4):
        net = getattr(changed, player)
        if number == 2 and how == "parameter":
            net.first.weight = nn.Parameter(net.first.weight.detach().clone())
        elif number == 2 and how == "assign":
            net.load_state_dict(copied(net), assign=True)
        elif number == 2:
            net.first = copy.deepcopy(net.first)
        plain.play(batches[0])
        changed.play(batches[1])
    for name, net in plain.nets().items():
        assert same(net.state_dict(), changed.nets()[name].state_dict()), name
    tensors, values = collect(changed.parts())
    assert tensors.keys() == collect(plain.parts())[0].keys()
    assert values == collect(plain.parts())[1]


def test_skipping_restores_buffers_that_the_net_rebinds() -> None:
    class Rebinding(Discriminator):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, x, labels=None):
            self.mean = self.mean * 0.5 + x.detach().mean()
            return super().forward(x, labels)

    played = game(NonSaturating(), discriminator=Rebinding(), skip_nonfinite=True)
    net = played.discriminator
    played.play(reals()[0])
    before = net.mean.clone()
    played.update_generator = lambda *given: Step(  # type: ignore[method-assign]
        0, played.generator, net, torch.zeros(1), torch.zeros(1)
    )
    played.play(lambda: (torch.full((BATCH, SAMPLE), math.nan, dtype=torch.float64), None))
    assert int(played.skipped) >= 1
    assert net.mean == before


# -- what a loss reports ---------------------------------------------------------------------------

REPORTS = {
    "a tensor": lambda: torch.tensor(2.0),
    "with a graph": lambda: torch.tensor(2.0, requires_grad=True) * 1,
    "float64": lambda: torch.tensor(2.0, dtype=torch.float64),
    "bfloat16": lambda: torch.tensor(2.0, dtype=torch.bfloat16),
    "a whole tensor": lambda: torch.tensor(2),
    "a tensor with an axis": lambda: torch.tensor([2.0]),
    "a float": lambda: 2.0,
    "an int": lambda: 2,
    "a boolean": lambda: 2 * True,
    "numpy": lambda: np.float32(2),
    "numpy without axes": lambda: np.array(2.0),
}


@pytest.mark.parametrize("value", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("phase", ["D", "G"])
def test_what_a_loss_reports_is_in_the_step(value, phase: str) -> None:
    def monitor(now: str, step: Step) -> None:
        if now == phase:
            step.scalars["gradient penalty"] = value()

    step = game(watched(monitor), d_steps=2).play(reals()[0])
    assert step.scalars.keys() == {
        *("d_loss", "g_loss", "d_real", "d_fake", "d_grad", "g_grad", "gradient penalty")
    }
    found = step.scalars["gradient penalty"]
    assert found.shape == () and not found.requires_grad and float(found) == 2


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("phase", ["D", "G"])
def test_names_of_rows_are_taken(name: str, phase: str) -> None:
    def monitor(now: str, step: Step) -> None:
        if now == phase:
            step.scalars[name] = 1.0

    with pytest.raises(ConfigError, match=f"reports a number as '{name}', a name that rows have"):
        game(watched(monitor)).play(reals()[0])


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("r1", torch.zeros(5), "reports a tensor of shape (5,) as 'r1'. Report one number"),
        ("r1", torch.zeros(2, 2), "reports a tensor of shape (2, 2) as 'r1'."),
        ("r1", torch.tensor(1j), "reports a complex tensor of shape () as 'r1'."),
        ("r1", None, "reports None as 'r1'."),
        ("r1", "much", "reports 'much' as 'r1'."),
        ("r1", [1.0], "reports [1.0] as 'r1'."),
        ("r1", 1j, "reports 1j as 'r1'."),
        ("", 1.0, "reports a number by the name ''."),
        (3, 1.0, "reports a number by the name 3."),
        (None, 1.0, "reports a number by the name None."),
    ],
)
def test_what_is_no_number_is_refused(name, value, problem: str) -> None:
    def monitor(now: str, step: Step) -> None:
        step.scalars[name] = value

    with pytest.raises(ConfigError) as caught:
        game(watched(monitor)).play(reals()[0])
    assert problem in str(caught.value)
