"""The auxiliary classifier's loss: its formulas, and what it asks of data and nets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganzoo
from ganzoo import architectures, losses
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Output, Step
from ganzoo.errors import ConfigError, ContractError

LABELS = torch.tensor([2, 0, 1, 1])
HEADS = [None, 1, 3]  # logits (N,), (N, 1) and (N, 3)


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def cross_entropy(rows: list[list[float]], labels: list[int]) -> float:
    """The mean of -log of each row's softmax at its label."""
    return mean(
        [
            math.log(sum(math.exp(value - row[label]) for value in row))
            for row, label in zip(rows, labels, strict=True)
        ]
    )


def output(seed: int, heads: int | None) -> Output:
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(*((4,) if heads is None else (4, heads)), generator=source).double()
    return Output(logits, 3 * torch.randn(4, 3, generator=source).double())


def step(heads: int | None) -> Step:
    nothing = torch.zeros(4, 2)
    return Step(
        number=0,
        generator=nn.Identity(),
        discriminator=nn.Identity(),
        latent=nothing,
        fake=nothing,
        real=nothing,
        labels=LABELS,
        real_output=output(1, heads),
        fake_output=output(2, heads),
    )


@pytest.mark.parametrize("fake", [True, False])
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("heads", HEADS)
def test_formulas(heads: int | None, weight: float, fake: bool) -> None:
    loss, given = losses.create("auxiliary-classifier", weight=weight, fake=fake), step(heads)
    real_logits, fake_logits = (
        each.logits.flatten().tolist() for each in (given.real_output, given.fake_output)
    )
    of_real, of_fake = (
        cross_entropy(each.classes.tolist(), LABELS.tolist())
        for each in (given.real_output, given.fake_output)
    )
    error = of_real + (of_fake if fake else 0.0)
    adversarial = mean([softplus(-x) for x in real_logits]) + mean(
        [softplus(x) for x in fake_logits]
    )
    found = loss.discriminator_loss(given)
    assert found.shape == () and found.dtype == torch.float32
    assert found.item() == pytest.approx(adversarial + weight * error, rel=1e-5)
    assert given.scalars["d_classes"].item() == pytest.approx(error, rel=1e-5)
    found = loss.generator_loss(given)
    adversarial = mean([softplus(-x) for x in fake_logits])
    assert found.item() == pytest.approx(adversarial + weight * of_fake, rel=1e-5)
    assert given.scalars["g_classes"].item() == pytest.approx(of_fake, rel=1e-5)
    assert not any(value.requires_grad for value in given.scalars.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_class_logits_of_half_precision_are_brought_to_float32(dtype: torch.dtype) -> None:
    given = step(None)
    classes = given.fake_output.classes.to(dtype)
    given.fake_output = Output(given.fake_output.logits, classes)
    losses.create("auxiliary-classifier").generator_loss(given)
    expected = cross_entropy(classes.tolist(), LABELS.tolist())
    assert given.scalars["g_classes"].dtype == torch.float32
    assert given.scalars["g_classes"].item() == pytest.approx(expected, rel=1e-5)


def test_it_is_the_non_saturating_loss_with_more() -> None:
    loss = losses.create("auxiliary-classifier")
    assert loss.d_range is None  # which the classes' part would not keep
    real, fake = torch.randn(5), torch.randn(5)
    plain = losses.create("non-saturating")
    assert torch.equal(loss.discriminator(real, fake), plain.discriminator(real, fake))
    assert torch.equal(loss.score(real), plain.score(real))
    for wrong in (-1, math.inf, math.nan):
        with pytest.raises(ConfigError, match="weight cannot be"):
            losses.create("auxiliary-classifier", weight=wrong)


# -- what it needs --------------------------------------------------------------------------------

DATA = (torch.rand(24, 2) * 2 - 1, torch.arange(24) % 3)
MLP: dict[str, Any] = {"name": "mlp", "hidden": [8]}
TELLING = {**MLP, "d_condition": "auxiliary"}


def trainer(arch: Any, loss: Any, **more: Any) -> ganzoo.Trainer:
    settings = {"batch_size": 8, "steps": 2, "latent": 4, "conditional": True, "log_every": 1}
    settings |= {"progress": False, "device": "cpu", **more}
    return ganzoo.Trainer(arch, DATA, loss=loss, **settings)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Nets are tiny here: several threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Critic(nn.Module):
    """Class logits of any number beside the logit; none for a width of 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.output = nn.Linear(2, 1 + width)
        self.width = width

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor | Output:
        logit, classes = self.output(samples).split([1, self.width], 1)
        return Output(logit.squeeze(1), classes) if self.width else logit.squeeze(1)


class Wide(architectures.get("mlp")):  # type: ignore[misc]
    """A classifier of as many classes as is said, whatever the data have."""

    width: int = 3

    def discriminator(self, spec: SampleSpec) -> nn.Module:
        return Critic(self.width)


class Bare(architectures.Architecture):
    """Nets with labels and no options."""

    conditional = True

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        return architectures.create(MLP).generator(spec, latent)

    def discriminator(self, spec: SampleSpec) -> nn.Module:
        return architectures.create(MLP).discriminator(spec)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """The architectures are known in these tests only."""
    architectures.register("test-wide")(Wide)
    architectures.register("test-bare")(Bare)
    yield
    architectures.registry.unregister("test-wide")
    architectures.registry.unregister("test-bare")


BOTH = [{"loss": "auxiliary-classifier"}, {"loss": "hinge", "penalties": "auxiliary-classifier"}]


@pytest.mark.parametrize("asking", BOTH, ids=["loss", "penalty"])
def test_without_labels_it_is_refused(asking: dict[str, Any]) -> None:
    word = "Penalty" if "penalties" in asking else "Loss"
    for arch in (MLP, TELLING):
        with pytest.raises(ConfigError) as caught:
            trainer(arch, **asking, conditional=False).setup()
        assert str(caught.value) == (
            f"{word} 'auxiliary-classifier' needs labels, and this training has none. Give data "
            f"with labels and set conditional=True (--conditional)."
        )


@pytest.mark.parametrize("asking", BOTH, ids=["loss", "penalty"])
def test_a_discriminator_that_tells_no_classes_is_refused(asking: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"returns none as it is set\. Set its option d_conditi"):
        trainer(MLP, **asking).setup()
    with pytest.raises(ConfigError, match=r"that of architecture 'test-bare' .* Take an architect"):
        trainer("test-bare", **asking).setup()


@pytest.mark.parametrize("asking", BOTH, ids=["loss", "penalty"])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_class_logits_of_another_number_are_refused(width: int, asking: dict[str, Any]) -> None:
    arch = {"name": "test-wide", "hidden": [8], "width": width}
    with pytest.raises(ContractError) as caught:
        trainer(arch, **asking).setup()
    assert str(caught.value).endswith(
        f"returns class logits of shape (2, {width}) for 2 samples of 3 classes. Return (N, 3)."
    )
    (step,) = trainer({**arch, "width": 3}, **asking, steps=1).iterations()
    assert math.isfinite(step.scalars["d_loss"].item())


@pytest.mark.parametrize(
    "loss", ["non-saturating", "bce", "hinge", "relativistic", "wasserstein", "info"]
)
def test_a_classifier_that_nobody_trains_is_refused(loss: str) -> None:
    latent = {"shape": 6, "categorical": [3]}
    for arch in (TELLING, {"name": "test-wide", "hidden": [8]}):
        with pytest.raises(ConfigError, match=r"nor a penalty trains it to.* Add penalty 'auxilia"):
            trainer(arch, loss, latent=latent).setup()
    trainer(TELLING, loss, latent=latent, penalties="auxiliary-classifier").setup()
    trainer(TELLING, loss, latent=latent, conditional=False).setup()  # then there is none


def test_a_general_loss_may_use_classes_without_a_word() -> None:
    class Own(losses.get("non-saturating")):  # type: ignore[misc]
        name = "test-own"

        def discriminator_loss(self, step: Step) -> Tensor:
            classes = step.real_output.classes
            return super().discriminator_loss(step) + classes.square().mean()

    losses.register("test-own")(Own)
    try:
        trainer(TELLING, "test-own").setup()
    finally:
        losses.registry.unregister("test-own")


def test_in_a_training_samples_come_to_be_told_right() -> None:
    quick = {"name": "adam", "lr": 2e-2}
    arch = {**TELLING, "dropout": 0}
    loss = {"name": "auxiliary-classifier", "weight": 10}
    made = trainer(arch, loss, steps=220, g_optimizer=quick, d_optimizer=quick)
    steps = [{**step.scalars} for step in made.iterations()]
    chance = math.log(3)
    assert steps[0]["d_classes"].item() == pytest.approx(chance, abs=0.4)
    wrong = [mean([step["g_classes"].item() for step in steps[at : at + 8]]) for at in range(213)]
    assert wrong[0] == pytest.approx(chance, abs=0.4)
    # The best stretch: a small game swings, and the bits of a processor decide when.
    assert min(wrong) < 0.5 * chance
