"""Packs of samples, and micro-batches: what D sees together, and what is computed together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ganzoo
from ganzoo import losses, penalties
from ganzoo.averages.decay import Decay
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Judge, Step, packed
from ganzoo.errors import ConfigError
from ganzoo.generators.generator import Generator
from ganzoo.optimizers import SGD
from ganzoo.penalties import Penalty
from ganzoo.training.ema import EMA
from ganzoo.training.game import Game, Term

VECTORS = torch.rand(64, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
IMAGES = torch.randint(0, 256, (24, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
MLP = {"name": "mlp", "hidden": [8], "dropout": 0.0}
DCGAN = {"name": "dcgan", "channels": 4}
LAYERED = {**DCGAN, "d_norm": "layer"}


def trainer(arch: Any, data: Any, **more: Any) -> ganzoo.Trainer:
    settings = {"steps": 4, "batch_size": 8, "log_every": 1, "checkpoint_every": 2, **more}
    return ganzoo.Trainer(arch, data, progress=False, device="cpu", precision="fp32", **settings)


def weights(run: Any) -> dict[str, torch.Tensor]:
    found = run.generator.module.state_dict()
    opponent = run.generator.discriminator()
    assert opponent is not None
    return found | {f"d.{name}": value for name, value in opponent.state_dict().items()}


# -- packs ---------------------------------------------------------------------------------------


def test_samples_that_follow_each_other_are_joined() -> None:
    images = torch.arange(4 * 2 * 3 * 5).reshape(4, 2, 3, 5)
    packs = packed(images, 2)
    assert packs.shape == (2, 4, 3, 5)
    assert torch.equal(packs[1], torch.cat((images[2], images[3])))
    assert packed(images, 1) is images
    assert SampleSpec(shape=(3, 8, 8)).packed(4).shape == (12, 8, 8)


@pytest.mark.parametrize("name", ["r1", "r2", "gp", "dragan", "approximate-r1", "approximate-r2"])
def test_penalties_take_gradients_at_packs(name: str) -> None:
    """A linear D of packs has the same gradient everywhere, which is known."""
    torch.manual_seed(0)

    class Slope(nn.Linear):
        def forward(self, x: torch.Tensor, labels: Any = None) -> torch.Tensor:
            return super().forward(x.double()).squeeze(1)

    net = Slope(6, 1, bias=False).double()
    norm = net.weight.square().sum()
    judge, latents = Judge(net, packing=3), torch.randn(600, 2)
    real, fake = (torch.randn(600, 2).double().requires_grad_() for _ in range(2))
    step = ganzoo.core.step.Step(
        0, nn.Identity(), judge, latents, fake, real, None, judge(real), judge(fake)
    )
    options = {"share": 1.0} if name.startswith("approximate") else {}
    value = penalties.create(name, **options).penalty(step).item()
    wanted = {"gp": (norm.sqrt() - 1) ** 2, "dragan": (norm.sqrt() - 1) ** 2}.get(name, norm / 2)
    tolerance = 0.3 if options else 1e-5  # a mean over 200 random directions
    assert value == pytest.approx(wanted.item(), rel=tolerance)


def test_a_part_of_the_batch_is_whole_packs() -> None:
    seen = []

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor, labels: Any = None) -> torch.Tensor:
            seen.append(x.shape)
            return x.sum(1)

    judge = Judge(Counting(), packing=4)
    penalties.create("approximate-r1", share=0.3).value(judge, torch.randn(16, 2))
    assert seen == [(2, 8), (2, 8)]  # 5 of 16, rounded up to 8


@pytest.mark.parametrize(
    ("arch", "data", "more"),
    [
        (MLP, VECTORS, {"packing": 2}),
        (MLP, VECTORS, {"packing": 4, "loss": "relativistic", "penalties": "r1,r2"}),
        (MLP, VECTORS, {"packing": 2, "loss": "wasserstein", "penalties": "gp,lecam"}),
        (DCGAN, IMAGES, {"packing": 2, "augmentation": "diffaugment", "penalties": "consistency"}),
        (LAYERED, IMAGES, {"packing": 4, "joint_batch": True}),
        (DCGAN, IMAGES, {"packing": 2, "augmentation": "ada", "penalties": "feature-matching"}),
    ],
)
def test_packs_train_and_resume_to_the_bit(
    arch: Any, data: Any, more: dict[str, Any], tmp_path: Path
) -> None:
    whole = trainer(arch, data, **more, out=tmp_path / "whole").fit()
    trainer(arch, data, **more, steps=2, out=tmp_path / "cut").fit()
    resumed = ganzoo.Trainer.resume(tmp_path / "cut", dataset=data, steps=4, progress=False).fit()
    one, other = weights(whole), weights(resumed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_d_of_packs_is_saved_and_trained_on(tmp_path: Path) -> None:
    run = trainer(MLP, VECTORS, packing=2, out=tmp_path / "one").fit()
    run.generator.save_pretrained(tmp_path / "bundle", discriminator=True)
    again = Generator.from_pretrained(tmp_path / "bundle")
    assert again.config.packing == 2
    assert again.discriminator().hidden.dense1.in_features == 12
    same = trainer(None, VECTORS, packing=2, init_from=str(tmp_path / "bundle"))
    same.setup()
    assert not [notice for notice in same.notices if "D starts anew" in notice]
    other = trainer(None, VECTORS, init_from=str(tmp_path / "bundle"))
    other.setup()
    assert [notice for notice in other.notices if "no such discriminator" in notice]
    plain = json.loads((trainer(MLP, VECTORS).fit().path / "generator/config.json").read_text())
    assert "packing" not in plain


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"packing": 3}, r"8 samples cannot be divided .* batch_size that 3 divides, such as 9"),
        ({"packing": 2, "accumulate": 8}, r"of packs of 2 .* that 16 divides, such as 16"),
        ({"packing": 0}, "packing cannot be 0"),
        ({"accumulate": 0}, "accumulate cannot be 0"),
    ],
)
def test_batches_are_whole_packs(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trainer(MLP, VECTORS, **more)


def test_what_has_no_meaning_for_a_pack_is_refused() -> None:
    labelled = (VECTORS, torch.arange(64) % 3)
    with pytest.raises(ConfigError, match=r"labels differ.* Set packing to 1"):
        trainer(MLP, labelled, conditional=True, packing=2).setup()
    latent = {"shape": 8, "categorical": [3]}
    with pytest.raises(ConfigError, match=r"reads D's features.* Set packing to 1"):
        trainer(MLP, VECTORS, loss="info", latent=latent, packing=2).setup()


# -- micro-batches -------------------------------------------------------------------------------


def game(parts: int, loss: str, terms: list[str]) -> Game:
    torch.manual_seed(0)
    generator = nn.Linear(3, 2).double()
    critic = nn.Sequential(nn.Linear(2, 6), nn.Softplus(), nn.Linear(6, 1), nn.Flatten(0)).double()

    class Net(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor, labels: Any = None) -> torch.Tensor:
            return self.inner(x.double())

    made = Net(generator)
    return Game(
        generator=made,
        discriminator=Net(critic),
        loss=losses.create(loss),
        latent=LatentSpec(shape=(3,)),
        g_optimizer=SGD(lr=0.1).build(generator.parameters()),
        d_optimizer=SGD(lr=0.1).build(critic.parameters()),
        ema=EMA(made, Decay(decay=0.9)),
        noise=torch.Generator().manual_seed(7),
        accumulate=parts,
        clip=0.5,
        terms=[Term(penalties.create(name)) for name in terms],
    )


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize(
    ("loss", "terms"),
    [
        ("non-saturating", []),
        ("hinge", ["r1", "r2"]),
        ("relativistic", ["r1"]),
        ("least-squares", []),
        ("bce", []),
    ],
)
def test_micro_batches_have_the_arithmetic_of_one_batch(
    parts: int, loss: str, terms: list[str]
) -> None:
    real = torch.randn(8, 2, generator=torch.Generator().manual_seed(1)).double()
    steps, found = [], []
    for count in (1, parts):
        played = game(count, loss, terms)
        for _ in range(3):
            steps.append(played.play(lambda: (real, None)))
        found.append(played.nets()["generator"].state_dict() | played.discriminator.state_dict())
    assert all(torch.allclose(found[0][k], found[1][k], rtol=0, atol=1e-7) for k in found[0])
    one, other = steps[2].scalars, steps[-1].scalars
    assert one.keys() == other.keys()
    assert all(one[k].item() == pytest.approx(other[k].item(), rel=1e-5) for k in one)


def test_the_step_is_of_the_whole_batch() -> None:
    labels = torch.arange(8) % 2
    played = game(4, "relativistic", [])
    real = torch.randn(8, 2).double()
    step = played.play(lambda: (real, labels))
    assert step.share == 1
    assert step.real is not None and torch.equal(step.real, real)
    assert step.labels is not None and torch.equal(step.labels, labels)
    assert torch.equal(step.fake, played.generator(step.latent)) is False  # G has moved since
    assert len(step.fake) == len(step.latent) == 8
    for output in (step.real_output, step.fake_output):
        assert output is not None and len(output.logits) == 8
        assert not output.logits.requires_grad


class Sometimes(Penalty):
    """Reports what not each part of a batch has."""

    name = "sometimes"

    def penalty(self, step: Step) -> torch.Tensor:
        assert step.labels is not None
        for number in step.labels.tolist():
            step.scalars[f"class {number}"] = number
        step.scalars["ratio"] = step.labels[0] / (step.labels[0] > 0)
        return step.fake.new_zeros(())


def test_a_number_is_the_mean_over_the_parts_that_have_it() -> None:
    played = game(4, "hinge", [])
    played.terms = [Term(Sometimes())]
    step = played.play(lambda: (torch.randn(8, 2).double(), torch.tensor([0, 0, 0, 1, 2, 2, 0, 1])))
    found = {name: step.scalars[name].item() for name in ("class 0", "class 1", "class 2")}
    assert found == {"class 0": 0, "class 1": 1, "class 2": 2}
    assert step.scalars["ratio"].item() == 2  # the others are 0 / 0


def test_what_is_of_the_whole_batch_is_said_to_see_micro_batches() -> None:
    chosen = {"loss": "relativistic-average", "penalties": ["lecam", "r1", "feature-matching"]}
    made = trainer(MLP, VECTORS, accumulate=2, **chosen)
    made.setup()
    said = [notice.partition(" sees")[0] for notice in made.notices if "micro-batches" in notice]
    assert said == [
        "Loss 'relativistic-average'",
        "Penalty 'lecam'",
        "Penalty 'feature-matching'",
    ]


def test_no_part_sees_more_than_its_share() -> None:
    played, seen = game(4, "hinge", []), []
    played.discriminator.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    played.play(lambda: (torch.randn(8, 2).double(), None))
    assert seen == [2] * 12  # real and fake for D, fake for G


def test_batch_norm_is_said_to_see_micro_batches() -> None:
    made = trainer(DCGAN, IMAGES, accumulate=2)
    made.setup()
    assert [notice for notice in made.notices if "micro-batches of accumulate=2" in notice]
    plain = trainer(MLP, VECTORS, accumulate=2)
    plain.setup()
    assert not [notice for notice in plain.notices if "micro-batches" in notice]


def test_micro_batches_resume_to_the_bit(tmp_path: Path) -> None:
    more = {"accumulate": 2, "penalties": "lecam", "augmentation": "ada"}
    whole = trainer(DCGAN, IMAGES, **more, out=tmp_path / "whole").fit()
    trainer(DCGAN, IMAGES, **more, steps=2, out=tmp_path / "cut").fit()
    resumed = ganzoo.Trainer.resume(tmp_path / "cut", dataset=IMAGES, steps=4, progress=False).fit()
    one, other = weights(whole), weights(resumed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
