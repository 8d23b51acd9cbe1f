"""Methods with phases of their own, and what they must not disturb."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import softplus

import ganzoo
from ganzoo import augmentations, losses, penalties
from ganzoo.core.step import Step
from ganzoo.errors import ConfigError, ContractError
from ganzoo.training.parts import collect
from ganzoo.training.progress import Progress

DATA = torch.randn(24, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trainer(**more: Any) -> ganzoo.Trainer:
    settings = {"steps": 6, "batch_size": 4, "latent": 2, "progress": False, **more}
    arch = {"name": "mlp", "hidden": [8]}
    return ganzoo.Trainer(arch, DATA, device="cpu", precision="fp32", **settings)


class Plain(losses.Loss):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return softplus(-fake).mean()


@losses.register("own-phases")
class OwnPhases(Plain):
    """Updates D by hand in each iteration, and G in each ``every``-th."""

    name: ClassVar[str]
    every: int = 1

    def iteration(self, game: Any, batch: Callable[[], Any]) -> Step:
        real, labels = batch()
        with game.phase():
            fake = game.make(game.draw(len(real)), labels).detach()
            loss = self.discriminator(game.judge(real).logits, game.judge(fake).logits)
            game.update("discriminator", loss)
        if game.played % self.every:
            return Step(game.played, game.generator, game.discriminator, game.draw(1), fake, real)
        step: Step = game.update_generator(len(real), None, labels)
        return step


def rows(run: ganzoo.Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_numbers_that_a_method_lacks_are_no_divergence() -> None:
    written = io.StringIO()
    shown = Progress(Console(file=written))
    run = trainer(
        loss="own-phases", log_every=3, checkpoint_every=2, callbacks=[shown], out="a"
    ).fit()
    assert all("d_loss" in row and "d_real" not in row for row in rows(run))
    assert "loss D" in written.getvalue() and "D(x)" not in written.getvalue()
    again = ganzoo.Trainer.resume(run.path, dataset=DATA, steps=9, progress=False).fit()
    straight = trainer(loss="own-phases", log_every=3, checkpoint_every=2, steps=9, out="b").fit()
    assert rows(again) == rows(straight)


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_net_that_is_updated_now_and_then(policy: str) -> None:
    loss = {"name": "own-phases", "every": 3}
    found = rows(trainer(loss=loss, log_every=3, nan_policy=policy, out="a").fit())
    assert [row["step"] for row in found] == [3, 6]
    assert all("g_loss" in row and "d_loss" in row for row in found)


def test_only_an_update_within_a_phase_counts() -> None:
    @losses.register("idle-phase")
    class Idle(Plain):
        name: ClassVar[str]

        def iteration(self, game: Any, batch: Callable[[], Any]) -> Step:
            real, labels = batch()
            step = game.update_discriminator(real, labels)
            if game.played == 1:
                with game.phase():
                    game.update("generator", game.make(game.draw(4), None).sum() * float("nan"))
            elif game.played == 0:
                game.update_generator(len(real), None, labels)
            else:
                with game.phase():
                    pass
            return step

    subject = trainer(loss="idle-phase", nan_policy="skip")
    for _ in subject.iterations():
        pass
    assert int(subject.game.skipped) == 1
    assert subject.game.ema.updates == 2


@penalties.register("idle-norm")
class Norm(penalties.Penalty):
    name: ClassVar[str]
    wants: ClassVar = frozenset({"fake"})

    def penalty(self, step: Step) -> Tensor:
        assert step.fake.dtype == torch.float32 and step.fake.requires_grad
        (gradient,) = torch.autograd.grad(
            step.fake_output.logits.sum(), step.fake, create_graph=True
        )
        return gradient.square().sum(1).mean()


def test_a_penalty_that_is_never_evaluated_is_refused() -> None:
    with pytest.raises(ConfigError, match="Penalty 'idle-norm' has no effect with loss 'own-ph"):
        next(iter(trainer(loss="own-phases", penalties=["idle-norm"]).iterations()))


def test_generated_inputs_are_differentiated_in_float32() -> None:
    settings = {"steps": 2, "batch_size": 4, "latent": 2, "progress": False}
    subject = ganzoo.Trainer(
        "mlp", DATA, device="cpu", precision="bf16", penalties=["idle-norm"], **settings
    )
    assert len(list(subject.iterations())) == 2


def test_a_penalty_that_fails_is_named() -> None:
    @penalties.register("failing")
    class Failing(penalties.Penalty):
        name: ClassVar[str]

        def penalty(self, step: Step) -> Tensor:
            return step.real_output.features.mean()

    with pytest.raises(ContractError, match="Penalty 'failing' raised AttributeError in test_own"):
        next(iter(trainer(penalties=["failing"]).iterations()))


def test_pictures_leave_the_random_numbers_of_an_augmentation_alone(plotted: None) -> None:
    @augmentations.register("jitter")
    class Jitter(augmentations.Augmentation):
        name: ClassVar[str]

        def build(self, spec: Any) -> nn.Module:
            class Module(nn.Module):
                def forward(self, x: Tensor) -> Tensor:
                    return x + 0.1 * torch.randn_like(x)

            return Module()

    states = []
    for every in (1, 100):
        subject = trainer(augmentation="jitter", sample_every=every, out=f"run{every}")
        subject.fit()
        states.append(subject.game.nets()["discriminator"].state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_values_of_a_state_are_copies() -> None:
    class Grows:
        def __init__(self) -> None:
            self.seen = [1]

        def state(self) -> Any:
            return {}, {"seen": self.seen}

        def restore(self, tensors: Any, values: Any) -> None:
            self.seen = values["seen"]

    part = Grows()
    _, values = collect({"part": part})
    part.seen.append(2)
    assert values == {"part": {"seen": [1]}}


@pytest.mark.parametrize("names", ["enc enc_optimizer", "g", "ema", "a.b", "generator"])
def test_nets_whose_names_are_taken_are_refused(names: str) -> None:
    @losses.register(f"nets-{re.sub('[ ._]', '-', names)}")
    class Nets(Plain):
        name: ClassVar[str]

        def nets(self, spec: Any, latent: Any) -> dict[str, nn.Module]:
            return {name: nn.Linear(2, 2) for name in names.split()}

    fault = "called 'enc_optimizer'" if " " in names else f"a net called '{names}'"
    with pytest.raises(ContractError, match=fault):
        trainer(loss=Nets()).setup()
