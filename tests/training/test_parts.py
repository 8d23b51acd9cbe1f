"""Parts with state, and the doors of the game: penalties, augmentation, heads, further nets."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import ganzoo
from ganzoo import augmentations, losses, penalties
from ganzoo.core.step import Step
from ganzoo.errors import ConfigError, ContractError
from ganzoo.training.parts import collect, restore

DATA = torch.randn(24, 2, generator=torch.Generator().manual_seed(0))


def trainer(**more: Any) -> ganzoo.Trainer:
    settings = {"steps": 4, "batch_size": 4, "latent": 2, "log_every": 1, **more}
    arch = {"name": "mlp", "hidden": [8]}
    return ganzoo.Trainer(arch, DATA, progress=False, device="cpu", **settings)


class Counter:
    """A part with one tensor and one value."""

    def __init__(self) -> None:
        self.tensor, self.value = torch.zeros(2), 0

    def state(self) -> Any:
        return {"tensor": self.tensor}, {"value": self.value}

    def restore(self, tensors: Any, values: Any) -> None:
        self.tensor, self.value = tensors["tensor"], values["value"]


class Nothing:
    """A part without state."""

    def state(self) -> Any:
        return {}, {}

    def restore(self, tensors: Any, values: Any) -> None:
        assert tensors == values == {}


def test_the_walk() -> None:
    one = Counter()
    one.tensor, one.value = torch.ones(2), 3
    tensors, values = collect({"a": one, "b": Nothing()})
    assert list(tensors) == ["a.tensor"] and values == {"a": {"value": 3}}
    other = Counter()
    restore({"a": other, "b": Nothing()}, tensors, values)
    assert other.value == 3 and torch.equal(other.tensor, one.tensor)
    with pytest.raises(ValueError, match="tensors of 'a', which this training lacks"):
        restore({"b": Nothing()}, tensors, values)


class Headed(losses.Loss):
    """Learns a scale of D's logits with the player that it says."""

    name: ClassVar[str]

    def build(self, spec: Any, latent: Any) -> nn.Module:
        head = nn.Linear(1, 1)
        head.register_buffer("seen", torch.zeros(()))
        return head

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    def generator_loss(self, step: Step) -> Tensor:
        step.built.seen += 1
        return softplus(-step.built(step.fake_output.logits[:, None])).mean()


def weights(made: ganzoo.Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in collect(made.parts())[0].items()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_of_a_loss_are_trained_saved_and_resumed(precision: str) -> None:
    made = trainer(loss="headed", out="out", precision=precision)
    made.setup()
    before = weights(made)
    run = made.fit()
    after = weights(made)
    assert not torch.equal(before["loss.weight"], after["loss.weight"])
    assert after["loss.seen"] == 4 and "g_optimizer.loss.weight.exp_avg" in after
    longer = ganzoo.Trainer.resume(run, dataset=DATA, steps=6, progress=False)
    assert all(torch.equal(value, after[name]) for name, value in weights(longer).items())
    longer.fit()
    whole = trainer(loss="headed", out="whole", steps=6, precision=precision)
    whole.fit()
    one, other = weights(whole), weights(longer)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_rollback_restores_the_state_of_a_loss() -> None:
    made = trainer(loss="headed", out="out", nan_policy="rollback", checkpoint_every=2)
    made.setup()

    class Bad(ganzoo.Callback):
        done = False

        def on_step(self, trainer: Any, step: Any) -> None:
            if trainer.step == 3 and not self.done:
                self.done = True
                with torch.no_grad():
                    made.parts()["loss"].net.weight.fill_(float("nan"))

    made.callbacks.append(Bad())
    made.fit()
    assert made.parts()["keeper"].rollbacks == 1
    assert weights(made)["loss.weight"].isfinite().all()


class Slope(penalties.Penalty):
    """The squared gradient of D at real samples, as R1."""

    wants: ClassVar[frozenset[str]] = frozenset({"real", "fake"})

    def penalty(self, step: Step) -> Tensor:
        total = torch.zeros(())
        for samples, output in ((step.real, step.real_output), (step.fake, step.fake_output)):
            assert samples is not None and output is not None and samples.requires_grad
            (slope,) = torch.autograd.grad(output.logits.sum(), samples, create_graph=True)
            total = total + slope.square().sum(1).mean()
        return total


class Doubling(augmentations.Augmentation):
    """Doubles all samples."""

    def build(self, spec: Any) -> nn.Module:
        class Twice(nn.Module):
            def forward(self, samples: Tensor) -> Tensor:
                return 2 * samples

        return Twice()


@pytest.fixture(scope="module", autouse=True)
def registered() -> Any:
    """These components are known in this file alone."""
    kinds: list[tuple[Any, str, type]] = [
        (losses, "headed", Headed),
        (penalties, "slope", Slope),
        (augmentations, "doubling", Doubling),
    ]
    for kind, name, component in kinds:
        kind.register(name)(component)
    yield
    for kind, name, _ in (*kinds, (losses, "odd", None), (penalties, "rows", None)):
        if name in kind.names():
            kind.registry.unregister(name)


@pytest.mark.parametrize("joint", [False, True])
def test_gradients_at_inputs_cost_no_second_forward_pass(joint: bool) -> None:
    made = trainer(penalties="slope", joint_batch=joint)
    made.setup()
    made.game.first = None  # which checks nets by further passes
    seen: list[int] = []
    made.game.discriminator.register_forward_hook(lambda net, given, out: seen.append(1))
    step = next(made.iterations())
    assert len(seen) == (2 if joint else 3)
    assert step.scalars["slope"] > 0 and not step.real.requires_grad


def test_a_penalty_is_a_term_of_its_player() -> None:
    plain, other = trainer(steps=1), trainer(steps=1, penalties=[{"name": "slope", "weight": 0.0}])
    one, two = next(plain.iterations()), next(other.iterations())
    assert torch.equal(one.scalars["d_loss"], two.scalars["d_loss"])
    assert set(two.scalars) - set(one.scalars) == {"slope"}
    after = weights(plain), weights(other)
    assert all(torch.equal(value, after[1][name]) for name, value in after[0].items())
    heavy = trainer(steps=1, penalties=[{"name": "slope", "weight": 9.0}])
    next(heavy.iterations())
    name = "discriminator.output.weight"
    assert not torch.equal(weights(heavy)[name], after[0][name])


def test_a_lazy_penalty_has_its_turn() -> None:
    made = trainer(penalties=[{"name": "slope", "every": 3}], steps=5)
    assert ["slope" in step.scalars for step in made.iterations()] == [
        *(True, False, False, True, False)
    ]


def test_all_that_d_sees_is_augmented() -> None:
    made = trainer(augmentation="doubling", penalties="slope")
    made.setup()
    made.game.first = None
    seen: list[Tensor] = []
    made.game.discriminator.register_forward_pre_hook(
        lambda net, given: seen.append(given[0].detach().clone())
    )
    step = next(made.iterations())
    assert torch.equal(seen[0], 2 * step.real) and torch.equal(seen[-1], 2 * step.fake.detach())


def test_what_builds_no_part_is_refused_before_training() -> None:
    class Odd(Headed):
        def build(self, spec: Any, latent: Any) -> Any:
            return 3

    losses.register("odd")(Odd)
    with pytest.raises(ContractError, match="Loss 'odd' builds a int, whose state cannot be saved"):
        trainer(loss="odd").setup()


def test_a_penalty_that_is_no_scalar() -> None:
    class Rows(Slope):
        def penalty(self, step: Step) -> Tensor:
            return step.real_output.logits

    penalties.register("rows")(Rows)
    with pytest.raises(ContractError, match=r"'rows' must return a scalar"):
        next(trainer(penalties="rows").iterations())
    with pytest.raises(ConfigError, match="'slope' is given twice"):
        trainer(penalties="slope,slope")
