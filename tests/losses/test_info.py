"""InfoGAN: the formulas of its codes, the head Q in trainings, and codes in the latent."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganzoo
from ganzoo import losses
from ganzoo.core.nets import sized
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Output, Step
from ganzoo.errors import ConfigError
from ganzoo.losses.info import CodeHead
from ganzoo.training.parts import collect

PLANE = SampleSpec(kind="vector", shape=(2,), value_range=None)
HEADS = [None, 1, 3]  # logits (N,), (N, 1) and (N, 3)
CODES = [
    {"categorical": (3,)},
    {"categorical": (3, 2)},
    {"continuous": 2},
    {"categorical": (4, 2), "continuous": 1},
]


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)


def expected_errors(
    head: CodeHead, features: Tensor, latents: Tensor, spec: LatentSpec
) -> tuple[float, float]:
    """The cross-entropy of categorical codes and half the squared error of continuous ones."""
    weights = {name: value.detach().double().numpy() for name, value in head.state_dict().items()}
    hidden = features.flatten(1).double().numpy() @ weights["hidden.weight"].T
    hidden = hidden + weights["hidden.bias"]
    hidden = np.where(hidden > 0, hidden, 0.1 * hidden)
    guessed = hidden @ weights["output.weight"].T + weights["output.bias"]
    categorical = continuous = 0.0
    place, first = 0, spec.numel - spec.codes
    for size in spec.categorical:
        errors = []
        for row, latent in zip(guessed, latents.tolist(), strict=True):
            code = latent[first + place : first + place + size]
            assert sorted(code) == [0.0] * (size - 1) + [1.0]
            part = row[place : place + size]
            errors.append(math.log(sum(math.exp(x - part[code.index(1.0)]) for x in part)))
        categorical += mean(errors)
        place += size
    for number in range(spec.continuous):
        pairs = zip(guessed[:, place + number], latents[:, first + place + number], strict=True)
        continuous += mean((guess - truth.item()) ** 2 for guess, truth in pairs) / 2
    return categorical, continuous


@pytest.mark.parametrize("codes", CODES, ids=str)
@pytest.mark.parametrize("heads", HEADS)
def test_formulas(heads: int | None, codes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    latent = LatentSpec(shape=(12,), **codes)
    loss = losses.create("info", weight=0.7, continuous_weight=0.3, width=5)
    head = loss.build(PLANE, latent)
    features = torch.randn(6, 2, 2)
    head(features)  # which gives its lazy layer a size
    shape = (6,) if heads is None else (6, heads)
    logits = [torch.randn(shape), torch.randn(shape)]
    latents = latent.sample(6)
    step = Step(
        number=0,
        generator=nn.Identity(),
        discriminator=nn.Identity(),
        latent=latents,
        fake=torch.zeros(6, 2),
        real_output=Output(logits[0]),
        fake_output=Output(logits[1], features=features),
        built=head,
    )
    categorical, continuous = expected_errors(head, features, latents, latent)
    error = 0.7 * categorical + 0.3 * continuous
    real, fake = (each.flatten().tolist() for each in logits)
    adversarial = mean(softplus(-x) for x in real) + mean(softplus(x) for x in fake)
    found = loss.discriminator_loss(step)
    assert found.shape == ()
    assert found.item() == pytest.approx(adversarial + error, rel=1e-5)
    assert step.scalars == {}
    found = loss.generator_loss(step)
    assert found.item() == pytest.approx(mean(softplus(-x) for x in fake) + error, rel=1e-5)
    reported = {name: value.item() for name, value in step.scalars.items()}
    wanted = {"categorical": categorical} if latent.categorical else {}
    wanted |= {"continuous": continuous} if latent.continuous else {}
    assert reported == pytest.approx(wanted, rel=1e-5)
    assert not any(value.requires_grad for value in step.scalars.values())


def test_the_head_computes_in_float32_on_features_of_half_precision() -> None:
    latent = LatentSpec(shape=(5,), categorical=(3,))
    head = CodeHead(4, latent)
    features = torch.randn(6, 7).bfloat16()
    found = head(features)
    assert found.dtype == torch.float32 and found.shape == (6, 3)
    assert torch.equal(found, head(features.float()))


# -- codes in the latent --------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated"])
def test_a_latent_ends_in_its_codes(distribution: str) -> None:
    spec = LatentSpec(shape=(10,), distribution=distribution, categorical=(3, 2), continuous=2)
    assert spec.codes == 7
    source = torch.Generator().manual_seed(0)
    latents = spec.sample(6000, generator=source)
    assert latents.shape == (6000, 10)
    first, second, rest = latents[:, 3:6], latents[:, 6:8], latents[:, 8:]
    for code in (first, second):
        assert ((code == 0) | (code == 1)).all() and (code.sum(1) == 1).all()
        assert torch.allclose(
            code.mean(0), torch.full((code.shape[1],), 1 / code.shape[1]), atol=0.03
        )
    joint = (first[:, :, None] * second[:, None, :]).mean(0)  # drawn apart from each other
    assert torch.allclose(joint, torch.full((3, 2), 1 / 6), atol=0.03)
    assert rest.min() >= -1 and rest.max() <= 1
    assert torch.allclose(rest.mean(0), torch.zeros(2), atol=0.05)
    assert torch.allclose(rest.var(0), torch.full((2,), 1 / 3), atol=0.03)
    noise = latents[:, :3]
    assert len(noise.unique()) > 10_000 and torch.equal(
        latents, spec.sample(6000, generator=source.manual_seed(0))
    )


def test_latents_without_codes_are_drawn_as_before() -> None:
    source = torch.Generator().manual_seed(3)
    found = LatentSpec(shape=(4,)).sample(9, generator=source)
    assert torch.equal(found, torch.empty(9, 4).normal_(generator=source.manual_seed(3)))
    assert LatentSpec(shape=(4,)).codes == 0


def test_a_latent_may_be_nothing_but_codes() -> None:
    spec = LatentSpec(shape=(5,), categorical=(3,), continuous=2)
    assert (spec.sample(50)[:, :3].sum(1) == 1).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shape": (6,), "categorical": (4,), "continuous": 3}, r"\(6,\) cannot end in 7 values"),
        ({"shape": (2, 3), "categorical": (4,)}, r"\(2, 3\) cannot end in 4 values .* such as 66"),
        ({"shape": (6,), "categorical": (1,)}, r"categorical.0 cannot be 1"),
        ({"shape": (6,), "continuous": -1}, "continuous cannot be -1"),
    ],
)
def test_codes_that_cannot_be(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        LatentSpec(**options)


def test_a_latent_without_codes_is_refused() -> None:
    for latent in (LatentSpec(), LatentSpec(shape=(2, 3))):
        with pytest.raises(
            ConfigError, match=r"needs codes in the latent, .* --latent.categorical"
        ):
            losses.create("info").build(PLANE, latent)
    with pytest.raises(ConfigError, match=r"Loss 'info' needs codes in the latent"):
        trainer(latent=4).setup()


# -- in trainings ---------------------------------------------------------------------------------

LATENT = {"shape": 8, "categorical": [3], "continuous": 1}
_SOURCE = torch.Generator().manual_seed(0)
POINTS = torch.randn(60, 2, generator=_SOURCE) * 0.2 + torch.tensor(
    [[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]]
).repeat(20, 1)


def trainer(arch: Any = None, data: Any = POINTS, **more: Any) -> ganzoo.Trainer:
    arch = arch or {"name": "mlp", "hidden": [8], "dropout": 0}
    settings = {"batch_size": 12, "steps": 4, "latent": LATENT, "loss": "info", **more}
    return ganzoo.Trainer(arch, data, progress=False, device="cpu", **settings)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Nets are tiny here: several threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def head_of(made: ganzoo.Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in made.game.built.state_dict().items()}


def test_the_head_takes_its_width_from_the_features() -> None:
    made = trainer({"name": "mlp", "hidden": [8], "d_hidden": [16, 7]}, loss={"name": "info"})
    made.setup()
    head = made.game.built
    assert head.hidden.weight.shape == (128, 7) and head.output.weight.shape == (4, 128)
    images = torch.randint(0, 256, (16, 1, 16, 16)).byte()
    made = trainer({"name": "dcgan", "channels": 2}, images, loss={"name": "info", "width": 9})
    made.setup()
    assert made.game.built.hidden.weight.shape == (9, 4 * 4 * 4)


def test_sizing_a_head_leaves_the_net_as_it_is() -> None:
    arch = ganzoo.architectures.create("dcgan", channels=2)
    net = arch.discriminator(SampleSpec(shape=(1, 16, 16), classes=("a", "b")))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    head = CodeHead(5, LatentSpec(shape=(4,), categorical=(2,)))
    sized(head, net, SampleSpec(shape=(1, 16, 16), classes=("a", "b")))
    assert head.hidden.weight.shape == (5, 64)
    assert net.training and all(part.training for part in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    weight = head.hidden.weight
    assert sized(head, net, SampleSpec(shape=(1, 16, 16))).hidden.weight is weight


def test_the_head_is_trained_by_the_generators_optimizer() -> None:
    made = trainer(g_optimizer={"name": "sgd", "lr": 0.1}, d_optimizer={"name": "sgd", "lr": 0.2})
    made.setup()
    game, head = made.game, made.game.built
    owned = {id(weight) for group in game.g_optimizer.param_groups for weight in group["params"]}
    theirs = {id(weight) for group in game.d_optimizer.param_groups for weight in group["params"]}
    assert all(id(weight) in owned - theirs for weight in head.parameters())
    game.first = None
    before = head_of(made)
    d_before = [weight.clone() for weight in game.discriminator.parameters()]
    game.update_discriminator(POINTS[:12], None)
    assert all(torch.equal(value, before[name]) for name, value in head_of(made).items())
    d_weights = list(game.discriminator.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(d_before, d_weights, strict=True))
    made_of: dict[str, Tensor] = {}
    game.generator.register_forward_hook(lambda _, given, out: made_of.update(z=given[0], x=out))
    game.update_generator(12, None, None)
    assert all(map(torch.equal, d_weights, game.discriminator.parameters()))
    again = CodeHead(128, made.config.latent)
    again(torch.zeros(1, 8))
    again.load_state_dict(before)
    features = game.discriminator.hidden(made_of["x"].detach())
    categorical, continuous = again.errors(again(features.detach()), made_of["z"])
    (categorical + 0.1 * continuous).backward()
    for name, weight in again.named_parameters():
        expected = before[name] - 0.1 * weight.grad
        assert torch.allclose(head_of(made)[name], expected, rtol=0, atol=1e-6), name


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_head_is_saved_and_resumed_to_the_bit(precision: str, labelled: bool) -> None:
    data = (POINTS, torch.arange(60) % 3) if labelled else POINTS
    settings = {"data": data, "precision": precision, "conditional": labelled, "log_every": 1}
    whole = trainer(**settings, out="whole")
    whole.fit()
    trainer(**settings, steps=2, out="part").fit()
    random.random(), np.random.rand(), torch.rand(7)  # another process has another history
    rest = ganzoo.Trainer.resume("part", dataset=data, steps=4, progress=False)
    assert rest.step == 2
    rest.fit()
    one, other = collect(whole.parts())[0], collect(rest.parts())[0]
    assert {name for name in one if name.startswith("loss")} >= {
        f"loss.{layer}.{what}" for layer in ("hidden", "output") for what in ("weight", "bias")
    }
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    rows = [(Path(run) / "metrics.jsonl").read_text() for run in ("whole", "part")]
    assert rows[0] == rows[1] and '"categorical"' in rows[0] and "NaN" not in rows[0]


def test_samples_come_to_tell_the_code() -> None:
    quick = {"name": "adam", "lr": 1e-2}
    made = trainer(
        {"name": "mlp", "hidden": [24], "dropout": 0},
        steps=70,
        g_optimizer=quick,
        d_optimizer=quick,
        latent={"shape": 5, "categorical": [3]},
        batch_size=30,
    )
    errors = [step.scalars["categorical"].item() for step in made.iterations()]
    assert mean(errors[:4]) == pytest.approx(math.log(3), abs=0.25)
    assert mean(errors[-20:]) < 0.3
