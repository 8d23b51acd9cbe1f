"""Reconstruction: against formulas in float64, and in trainings."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganzoo
from ganzoo import architectures, penalties
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Judge, Output, Step
from ganzoo.errors import ConfigError
from ganzoo.penalties.reconstruction import Encoder

N, SHAPE = 6, (2, 3)
NORMAL = NormalDist()
VECTORS = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randint(0, 256, (24, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
MLP: dict[str, Any] = {"name": "mlp", "hidden": [8], "dropout": 0.0}


class Body(nn.Module):
    """A discriminator of (N, 2, 3) with logits (N,) or (N, K)."""

    def __init__(self, heads: int = 1, rich: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.rich = nn.Linear(6, 5), nn.Linear(5, heads), rich

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Any:
        assert labels is None
        hidden = torch.sin(self.first(samples.flatten(1)))
        logits = self.last(hidden).squeeze(1)
        return Output(logits, features=hidden[:, :3]) if self.rich else logits


class Maker(nn.Module):
    """A generator of (N, 2, 3) that shifts by the label."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self.layer = nn.Linear(numel, 6)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        shift = 0.0 if labels is None else labels.double()[:, None]
        return torch.tanh(self.layer(z.flatten(1)) + shift).reshape(-1, *SHAPE)


def encoder(latent: LatentSpec, **body: Any) -> Encoder:
    made = Encoder(Body(**body), latent).double()
    made(torch.zeros(2, *SHAPE).double())  # which sizes it
    return made


def step(built: Encoder, *, labels: Tensor | None = None, **more: Any) -> Step:
    torch.manual_seed(3)
    maker = Maker(built.latent.numel).double()
    real = torch.rand(N, *SHAPE).double() * 2 - 1
    latent = built.latent.sample(N).double()
    given = {"real": real, "labels": labels, "built": built, "player": "generator", **more}
    return Step(0, maker, Judge(Body().double()), latent, maker(latent, labels), **given)


def drawn(latent: LatentSpec, values: np.ndarray) -> np.ndarray:
    """Values (N, D) of a batch as latents, one after the other."""
    found = (values - values.mean(0)) / np.sqrt(values.var(0) + 1e-8)
    free = latent.numel - latent.codes
    wide = 2 * NORMAL.cdf(latent.truncation) - 1
    for row in found:
        for place in range(free):
            share = NORMAL.cdf(row[place])
            if latent.distribution == "uniform":
                row[place] = latent.low + (latent.high - latent.low) * share
            elif latent.distribution == "truncated":
                share = NORMAL.cdf(-latent.truncation) + wide * share
                row[place] = NORMAL.inv_cdf(share)
        place = free
        for size in latent.categorical:
            row[place : place + size] = np.eye(size)[row[place : place + size].argmax()]
            place += size
        row[place:] = [2 * NORMAL.cdf(value) - 1 for value in row[place:]]
    return found


LATENTS = [
    LatentSpec(shape=(4,)),
    LatentSpec(shape=(2, 1, 2)),
    LatentSpec(shape=(4,), distribution="uniform", low=-0.5, high=3.0),
    LatentSpec(shape=(4,), distribution="truncated", truncation=1.2),
    LatentSpec(shape=(9,), categorical=(3, 2), continuous=2),
]


@pytest.mark.parametrize("latent", LATENTS, ids=str)
@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("labelled", [False, True])
def test_formula(latent: LatentSpec, distance: str, labelled: bool) -> None:
    torch.manual_seed(1)
    built = encoder(latent, heads=3 if labelled else 1)
    labels = torch.arange(N) % 2 if labelled else None
    one = step(built, labels=labels)
    assert one.real is not None
    value = penalties.create("reconstruction", distance=distance).penalty(one)

    weights = {name: each.detach().numpy() for name, each in built.state_dict().items()}
    real = one.real.numpy().reshape(N, 6)
    hidden = np.sin(real @ weights["body.first.weight"].T + weights["body.first.bias"])
    logits = hidden @ weights["body.last.weight"].T + weights["body.last.bias"]
    found = np.concatenate((hidden, logits), 1)
    values = found @ weights["head.weight"].T
    z = drawn(latent, values)
    layer = one.generator.layer
    made = z @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    made = np.tanh(made + (0 if labels is None else labels.numpy()[:, None]))
    apart = np.abs(real - made) if distance == "l1" else (real - made) ** 2
    assert value.shape == ()
    assert value.item() == pytest.approx(apart.mean(), rel=1e-6)
    assert built(one.real).shape == (N, *latent.shape)


@pytest.mark.parametrize("latent", LATENTS[:4], ids=str)
def test_gradient_is_that_of_differences(latent: LatentSpec) -> None:
    torch.manual_seed(1)
    one = step(encoder(latent))
    penalty = penalties.create("reconstruction", distance="l2")
    weights = [*one.generator.parameters(), *one.built.parameters()]
    ours = torch.autograd.grad(penalty.penalty(one), weights)
    ways = [torch.randn_like(weight) for weight in weights]
    found = sum((g * way).sum() for g, way in zip(ours, ways, strict=True))
    values = []
    for side in (1e-5, -1e-5):
        with torch.no_grad():
            for weight, way in zip(weights, ways, strict=True):
                weight.add_(way, alpha=side)
            values.append(penalty.penalty(one))
            for weight, way in zip(weights, ways, strict=True):
                weight.sub_(way, alpha=side)
    assert float(found) == pytest.approx(float(values[0] - values[1]) / 2e-5, rel=1e-6)


def test_a_categorical_code_is_one_hot_with_the_gradient_of_the_softmax() -> None:
    torch.manual_seed(1)
    built = encoder(LatentSpec(shape=(3,), categorical=(3,)))
    values = torch.randn(N, 3).double().requires_grad_()
    codes = built.scaled(values)
    assert torch.allclose(codes.sum(1), torch.ones(N).double())
    assert sorted(set(codes.detach().round(decimals=9).flatten().tolist())) == [0, 1]
    toward = torch.randn(N, 3).double()
    (ours,) = torch.autograd.grad((codes * toward).sum(), values)
    mean, variance = values.mean(0), values.var(0, correction=0)
    soft = ((values - mean) / (variance + 1e-8).sqrt()).softmax(1)
    (wanted,) = torch.autograd.grad((soft * toward).sum(), values)
    assert torch.allclose(ours, wanted, rtol=1e-9, atol=1e-12)


def test_latents_of_many_samples_have_the_distribution() -> None:
    source = torch.Generator().manual_seed(0)
    values = 5 + 3 * torch.randn(20_000, 4, generator=source)
    for latent in (LATENTS[0], *LATENTS[2:4]):
        found = Encoder(Body(), latent).scaled(values).flatten(1)
        theirs = latent.sample(20_000, generator=source).flatten(1)
        levels = torch.linspace(0.01, 0.99, 9)
        assert torch.allclose(found.quantile(levels, 0), theirs.quantile(levels, 0), atol=0.08)
        if latent.distribution == "uniform":
            assert found.min() >= latent.low and found.max() <= latent.high
        if latent.distribution == "truncated":
            assert found.abs().max() <= latent.truncation


def test_the_farthest_value_of_a_large_batch_is_finite() -> None:
    values = torch.zeros(4096, 4)
    values[0] = 1  # 64 standard deviations
    wide = LatentSpec(shape=(4,), distribution="truncated", truncation=50)
    for latent in (*LATENTS[2:4], wide):
        given = values.clone().requires_grad_()
        found = Encoder(Body(), latent).scaled(given)
        found.square().sum().backward()
        assert found.isfinite().all() and given.grad is not None and given.grad.isfinite().all()


def test_features_are_those_that_the_body_returns() -> None:
    built = encoder(LatentSpec(shape=(4,)), rich=True)
    assert built.head.in_features == 3 + 1
    assert built(torch.randn(N, *SHAPE).double()).shape == (N, 4)


@pytest.mark.parametrize("name", ["dcgan_small", "mlp", "mirror", "upsample"])
def test_the_encoder_is_a_discriminator_of_single_samples_without_labels(name: str) -> None:
    spec = SampleSpec(shape=(1, 28, 28), classes=("a", "b"))
    option = {"d_condition": "auxiliary"}
    arch = architectures.create({"name": name, **option})
    size = arch.nearest_size(*spec.size)
    spec, latent = spec.resized(size), LatentSpec(shape=(7,))
    built = penalties.create("reconstruction").build_with(arch, spec, latent)
    plain = arch.discriminator(spec.model_copy(update={"classes": None}))
    assert {name: value.shape for name, value in built.body.state_dict().items()} == {
        name: value.shape for name, value in plain.state_dict().items()
    }
    assert built(torch.rand(3, *spec.shape)).shape == (3, 7)
    with pytest.raises(ConfigError, match=r"Call build_with\(arch, spec, latent\)"):
        penalties.create("reconstruction").build(spec, latent)


# -- in trainings ---------------------------------------------------------------------------------


def trainer(arch: Any = MLP, data: Any = VECTORS, **more: Any) -> ganzoo.Trainer:
    settings = {"steps": 4, "batch_size": 8, "log_every": 1, "checkpoint_every": 2, "latent": 6}
    settings |= {"penalties": "reconstruction", **more}
    return ganzoo.Trainer(arch, data, progress=False, device="cpu", **settings)


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_g_and_the_encoder_learn_and_d_does_not(precision: str) -> None:
    made = trainer(adversarial_weight=0, precision=precision)
    made.setup()
    game = made.game
    game.first = None
    (term,) = game.terms
    before = {name: weights(net) for name, net in (*game.nets().items(), ("e", term.built))}
    assert game.players["generator"].modules["penalty-reconstruction"] is term.built
    game.update_generator(8, VECTORS[:8], None)
    after = {name: weights(net) for name, net in (*game.nets().items(), ("e", term.built))}

    def moved(name: str) -> set[str]:
        return {k for k, value in before[name].items() if not torch.equal(value, after[name][k])}

    assert moved("discriminator") == set()
    assert all(weight.grad is None for weight in game.discriminator.parameters())
    assert moved("generator") == set(before["generator"])
    assert moved("e") == set(before["e"])


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_its_passes_are_in_the_precision_of_the_training(precision: str, dtype: str) -> None:
    made = trainer(precision=precision)
    made.setup()
    game = made.game
    game.first = None
    seen: list[str] = []
    for net in (game.terms[0].built.body, game.generator):
        layer = next(part for part in net.modules() if isinstance(part, nn.Linear))
        layer.register_forward_hook(lambda _, given, found: seen.append(str(found.dtype)))
    game.update_generator(8, VECTORS[:8], None)
    assert seen == [f"torch.{dtype}"] * 3  # G's of its own latents, too


def test_it_learns_to_reconstruct() -> None:
    made = trainer(steps=150, adversarial_weight=0, g_optimizer={"name": "adam", "lr": 3e-3})
    values = [float(step.scalars["reconstruction"]) for step in made.iterations()]
    assert sum(values[-10:]) < 0.7 * sum(values[:10]), values


@pytest.mark.parametrize(
    ("arch", "data", "more"),
    [
        (MLP, VECTORS, {"packing": 2}),
        (MLP, VECTORS, {"accumulate": 4, "latent": {"shape": 6, "distribution": "uniform"}}),
        (MLP, (IMAGES, torch.arange(24) % 3), {"conditional": True, "augmentation": "ada"}),
        ({"name": "dcgan", "channels": 4}, IMAGES, {"precision": "bf16", "nan_policy": "skip"}),
        (
            {"name": "dcgan", "channels": 4, "d_condition": "projection"},
            (IMAGES, torch.arange(24) % 3),
            {"conditional": True, "loss": "hinge", "clip_grad": 0.1, "g_steps": 2},
        ),
        (
            MLP,
            VECTORS,
            {"loss": "info", "latent": {"shape": 9, "categorical": [3], "continuous": 2}},
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_trains_and_resumes_to_the_bit(
    arch: Any, data: Any, more: dict[str, Any], tmp_path: Path
) -> None:
    whole = trainer(arch, data, **more, out=tmp_path / "whole").fit()
    trainer(arch, data, **more, steps=2, out=tmp_path / "cut").fit()
    resumed = ganzoo.Trainer.resume(tmp_path / "cut", dataset=data, steps=4, progress=False).fit()
    one, other = (run.generator.module.state_dict() for run in (whole, resumed))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_labels_of_the_real_samples_go_to_g() -> None:
    labels = torch.arange(24) % 3
    made = trainer(MLP, (VECTORS, labels), conditional=True)
    made.setup()
    made.game.first = None
    seen: list[Any] = []
    made.game.generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    made.game.update_generator(8, VECTORS[:8], labels[:8])
    assert len(seen) == 2 and all(torch.equal(each, labels[:8]) for each in seen)


@pytest.mark.parametrize(
    "more", [{"batch_size": 1}, {"batch_size": 4, "accumulate": 4}], ids=lambda more: "-".join(more)
)
def test_a_batch_of_one_is_refused(more: dict[str, int], tmp_path: Path) -> None:
    least = 2 * more.get("accumulate", 1)
    with pytest.raises(ConfigError, match=rf"at least 2 .* Give a batch_size of at least {least}"):
        trainer(**more, out=tmp_path / "run").fit()
    assert not (tmp_path / "run").exists()


def test_a_loss_that_plays_g_without_real_samples_is_told() -> None:
    made = trainer()
    made.setup()
    made.game.first = None
    with pytest.raises(ConfigError, match=r"'reconstruction' needs real .* Pass a fresh batch"):
        made.game.update_generator(8, None, None)
