"""Training on from a trained generator."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganzoo
from ganzoo.errors import BundleError, ConfigError

TINY: dict[str, Any] = {
    "arch": {"name": "dcgan", "channels": 2},
    "latent": 4,
    "batch_size": 8,
    "steps": 2,
    "progress": False,
    "device": "cpu",
    "precision": "fp32",
}
ON: dict[str, Any] = {key: value for key, value in TINY.items() if key not in ("arch", "latent")}


@pytest.fixture
def first(pictures: Tensor) -> ganzoo.Run:
    return ganzoo.Trainer(dataset=pictures, out="first", snapshot_every=2, **TINY).fit()


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(left[k].equal(right[k]) for k in left)


def test_both_nets_and_the_average_begin_where_a_run_ended(
    first: ganzoo.Run, pictures: Tensor
) -> None:
    trainer = ganzoo.Trainer(dataset=pictures, init_from="first", **ON)
    nets = trainer.nets()
    before = ganzoo.Trainer.resume(first, dataset=pictures, progress=False).nets()
    assert same(nets["generator"], before["ema"])
    assert same(nets["ema"], before["ema"])
    assert same(nets["discriminator"], before["discriminator"])
    assert trainer.config.arch == first.config.arch
    assert trainer.config.latent == first.config.latent
    assert trainer.notices == []
    weights = {name: value.clone() for name, value in nets["generator"].state_dict().items()}
    trainer.fit()  # writes into nets of its own, not into the file
    assert ganzoo.Generator.from_pretrained("first").sample(2, seed=0).shape == (2, 1, 16, 16)
    assert any(
        not value.equal(weights[name]) for name, value in nets["generator"].state_dict().items()
    )


def test_a_generator_alone_is_enough_and_that_is_said(first: ganzoo.Run, pictures: Tensor) -> None:
    shutil.copytree("first/generator", "alone")
    trainer = ganzoo.Trainer(dataset=pictures, init_from="alone", **ON)
    trainer.setup()
    assert trainer.notices == ["alone has no discriminator: D starts anew"]
    both = ganzoo.Trainer(dataset=pictures, init_from="first/snapshots/step-00000002", **ON)
    both.setup()
    assert both.notices == []


def test_a_resumed_run_needs_its_origin_no_more(first: ganzoo.Run, pictures: Tensor) -> None:
    settings = {**ON, "init_from": "first", "seed": 3}
    whole = ganzoo.Trainer(dataset=pictures, out="whole", **{**settings, "steps": 4}).fit()
    ganzoo.Trainer(dataset=pictures, out="out", **settings).fit()
    shutil.rmtree("first")
    run = ganzoo.Trainer.resume("out", dataset=pictures, steps=4, progress=False).fit()
    assert same(whole.generator.module, run.generator.module)
    assert run.config.init_from == "first"


def test_a_run_that_starts_afresh_starts_from_it_again(first: ganzoo.Run, pictures: Tensor) -> None:
    settings = {**ON, "init_from": "first", "seed": 3}
    whole = ganzoo.Trainer(dataset=pictures, out="whole", **settings).fit()
    run = ganzoo.Trainer(dataset=pictures, out="out", **settings).fit()
    shutil.rmtree(run.path / "checkpoints")
    (run.path / "checkpoints").mkdir()
    (run.path / "metrics.jsonl").unlink()
    again = ganzoo.Trainer.resume("out", dataset=pictures, progress=False).fit()
    assert same(whole.generator.module, again.generator.module)


def test_the_bundle_says_where_it_began_but_no_path(first: ganzoo.Run, pictures: Tensor) -> None:
    origin = str(first.path.resolve())
    run = ganzoo.Trainer(dataset=pictures, init_from=origin, out="out", **ON).fit()
    assert run.config.init_from == origin
    told = json.loads((run.path / "generator" / "config.json").read_text())
    assert told["training"]["init_from"] == "first"
    assert origin not in (run.path / "generator" / "training.json").read_text()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"arch": "mlp"}, "architecture"),
        ({"arch": {"channels": 4}}, "architecture"),
        ({"latent": 5}, "latent"),
        ({"size": 32}, "shape of a sample"),
    ],
)
def test_other_nets_are_refused(
    first: ganzoo.Run, pictures: Tensor, settings: dict[str, Any], what: str
) -> None:
    with pytest.raises(ConfigError, match=f"The {what} of first is"):
        ganzoo.Trainer(dataset=pictures, init_from="first", **{**ON, **settings}).setup()


@pytest.mark.parametrize("how", ["name", "file", "file-channels"])
def test_the_architecture_may_be_said_too(first: ganzoo.Run, pictures: Tensor, how: str) -> None:
    given: dict[str, Any] = {"arch": "dcgan"} if how == "name" else {}
    if how != "name":
        arch = "{name: dcgan}" if how == "file" else "{channels: 2}"
        Path("on.yaml").write_text(f"arch: {arch}\ninit_from: first\n")
        given = {"config": "on.yaml"}
    trainer = ganzoo.Trainer(dataset=pictures, init_from=Path("first"), **given, **ON)
    trainer.setup()
    assert trainer.config.arch == first.config.arch
    assert trainer.config.init_from == "first"


@pytest.mark.parametrize("value", [5, torch.nn.Identity()])
def test_an_origin_that_is_none(pictures: Tensor, value: Any) -> None:
    with pytest.raises(ConfigError, match="init_from"):
        ganzoo.Trainer(dataset=pictures, init_from=value, **ON)


def test_a_folder_stays_a_folder_wherever_it_came_from(first: ganzoo.Run, pictures: Tensor) -> None:
    """What was changed since it was pulled is not what lies at that commit."""
    from ganzoo.generators.bundle import Origin

    generator = first.generator
    origin = Origin(repo_id="org/repo", revision="a" * 40)
    generator.config = generator.config.model_copy(update={"origin": origin})
    generator.save_pretrained("pulled")
    trainer = ganzoo.Trainer(dataset=pictures, init_from="pulled", **ON)
    trainer.setup()
    assert trainer.config.init_from == "pulled"


def test_an_origin_that_is_not_there(pictures: Tensor) -> None:
    with pytest.raises(BundleError, match="nowhere"):
        ganzoo.Trainer(dataset=pictures, init_from="nowhere", **ON)
    assert not Path("runs").exists()


def test_the_command_line_begins_from_a_bundled_one(capsys: pytest.CaptureFixture[str]) -> None:
    from ganzoo.cli import main

    line = ["train", "--init-from", "dcgan.fashion", "--steps", "1", "--out", "out", "--quiet"]
    with pytest.raises(SystemExit) as left:
        main([*line, "--batch-size", "4"])
        raise SystemExit(0)
    assert not left.value.code
    run = ganzoo.Run("out")
    bundled = ganzoo.Generator.from_pretrained("dcgan.fashion")
    assert run.config.arch == bundled.config.architecture
    assert run.generator.spec.shape == (1, 28, 28)


def test_classes_are_told_by_their_names(pictures: Tensor) -> None:
    from torch.utils.data import TensorDataset

    def labelled(*classes: str) -> TensorDataset:
        data = TensorDataset(pictures, torch.arange(len(pictures)) % 2)
        data.classes = classes
        return data

    ganzoo.Trainer(dataset=labelled("cat", "dog"), conditional=True, out="by", **TINY).fit()
    on: dict[str, Any] = {**ON, "init_from": "by", "conditional": True}
    same = ganzoo.Trainer(dataset=labelled("cat", "dog"), **on)
    same.setup()
    assert not [notice for notice in same.notices if "classes" in notice]
    others = ganzoo.Trainer(dataset=labelled("cat", "cow"), **on)
    others.setup()
    assert "classes of the data begin as those of by: 'cow' as 'dog'" in others.notices
    with pytest.raises(ConfigError, match="label 0 is 'cat' there and 'dog' here. Give the data's"):
        ganzoo.Trainer(dataset=labelled("dog", "cat"), **on).setup()
