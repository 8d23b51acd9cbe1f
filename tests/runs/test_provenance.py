"""Where a generator comes from: what a run says of itself, and the command that repeats it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ganzoo
from commands import parsed
from ganzoo import losses, recipes
from ganzoo.config import TrainConfig, resolve
from ganzoo.errors import RunFolderError
from ganzoo.losses.hinge import Hinge
from ganzoo.runs import provenance
from ganzoo.training.session import Session

TINY: dict[str, Any] = {
    "arch": {"name": "dcgan", "channels": 2},
    "latent": 4,
    "batch_size": 8,
    "steps": 2,
    "progress": False,
    "device": "cpu",
}


def decisive(config: TrainConfig) -> dict[str, Any]:
    """The settings that decide the generator."""
    kept = {
        key: value for key, value in config.dump().items() if key not in provenance._NON_ALGORITHMIC
    }
    kept.pop("epochs")
    return kept


@pytest.mark.parametrize("recipe", recipes.names())
def test_the_command_repeats_a_recipe(recipe: str, tmp_path: Path) -> None:
    needs = {"dataset": {"path": "faces"}} if recipes.get(recipe).needs else {}
    config = resolve({"recipe": recipe, **needs, "steps": 7, "precision": "fp32"})
    assert decisive(parsed(str(provenance.command(config, "fp32")))) == decisive(config)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"steps": 50, "seed": 3},
        {"arch": {"name": "dcgan", "channels": 8}, "loss": {"name": "hinge"}},
        {"arch": "mlp", "latent": (2, 3), "g_optimizer": {"lr": 1e-5}},
        {"loss": "wasserstein"},
        {"loss": {"name": "bce", "real": 0.9}, "clip_grad": 1.5, "joint_batch": True},
        {"size": (48, 96), "resize_mode": "resize", "value_range": (0.0, 1.0)},
        {"d_optimizer": {"name": "sgd", "lr": 0.1}, "schedule": "linear"},
        {"recipe": "mlp-mnist", "arch": "dcgan", "conditional": False},
        {"schedules": {"g_optimizer.lr": "cosine 2e-4 5e-5 warmup=.05 begin=.1 end=.9"}},
        {"schedules": "g_optimizer.beta1 step .5 .9 at=.25,.5; average.decay linear .9 .999"},
        {"schedules": {"d_optimizer.lr": "linear 1e-3 1e-5 geometric=true"}, "penalties": "r1"},
        {"recipe": "ring-pac", "schedules": {"g_optimizer.lr": "none"}, "steps": 70},
        {
            "recipe": "ring-pac",
            "penalties": "none",
            "schedules": {"penalties.r1.weight": "none", "penalties.r2.weight": "none"},
        },
        {"penalties": ["r1", {"name": "gp", "weight": 2, "one_sided": True}], "arch": "mlp"},
        {"augmentation": {"name": "diffaugment", "cutout": False}, "penalties": ["lecam"]},
        {"recipe": "few-shot-fashion", "augmentation": "none"},
        {"recipe": "few-shot-fashion", "augmentation": {"name": "ada", "ramp": 7}},
        {
            "average": {"name": "power", "widths": (0.05, 0.1, 0.2)},
            "evaluate_every": 2,
            "steps": 4,
            "metrics": [{"name": "swd"}],
        },
        {"average": "half-life", "adversarial_weight": 0.5},
        {"trackers": "tensorboard", "workers": 2, "log_every": 3},
    ],
)
def test_the_command_gives_the_same_settings(settings: dict[str, Any]) -> None:
    config = resolve(settings)
    line = provenance.command(config, "bf16")
    expected = decisive(config.model_copy(update={"precision": "bf16"}))
    assert decisive(parsed(str(line))) == expected


def test_the_command_says_nothing_that_needs_no_saying() -> None:
    assert provenance.command(resolve({}), "fp32") == "ganzoo train dcgan --precision fp32"


@pytest.mark.parametrize(
    "settings",
    [
        {"recipe": "mirror-mnist", "value_range": None},
        {"arch": {"name": "mlp", "hidden": []}},
    ],
)
def test_what_no_option_can_say_is_not_said_otherwise(settings: dict[str, Any]) -> None:
    assert provenance.command(resolve(settings), "fp32") is None


def test_a_component_of_a_script_is_nobody_elses() -> None:
    class Mine(Hinge):
        """Defined here."""

    losses.register("mine-alone")(Mine)
    try:
        assert provenance.command(resolve({"loss": "mine-alone"}), "fp32") is None
    finally:
        losses.registry.unregister("mine-alone")


def test_a_training_that_was_not_straight_has_no_command(pictures: Tensor) -> None:
    """One that was stopped, or whose schedule was stretched, is not repeated by its settings."""
    np.save("squares.npy", pictures.numpy())

    def told(out: str) -> Any:
        return json.loads(Path(out, "generator", "training.json").read_text())["command"]

    class Stop(ganzoo.Callback):
        def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
            if trainer.step == 1:
                trainer.stop()

    ganzoo.Trainer(dataset="squares.npy", out="stopped", callbacks=[Stop()], **TINY).fit()
    assert told("stopped") is None
    ganzoo.Trainer.resume("stopped", progress=False).fit()
    assert told("stopped") is not None
    for schedule, settings_unchanged in (("constant", True), ("linear", False)):
        ganzoo.Trainer(dataset="squares.npy", out=schedule, schedule=schedule, **TINY).fit()
        assert told(schedule) is not None
        ganzoo.Trainer.resume(schedule, steps=4, progress=False).fit()
        assert (told(schedule) is not None) == settings_unchanged
        ganzoo.Trainer.resume(schedule, steps=6, progress=False).fit()
        assert (told(schedule) is not None) == settings_unchanged


def test_no_command_repeats_data_that_were_an_object() -> None:
    config = resolve({"dataset": torch.zeros(8, 1, 8, 8)})
    assert provenance.command(config, "fp32") is None


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset": {"name": "folder", "path": "/home/ann/secret/photos"}},
        {"dataset": {"name": "huggingface", "repo": "/home/ann/secret/photos"}},
        {"init_from": "/home/ann/secret/photos"},
        {"init_from": "C:\\Users\\secret\\photos"},
    ],
)
def test_where_something_lay_is_not_told(settings: dict[str, Any]) -> None:
    config = resolve(settings)
    told = json.dumps([provenance.command(config, "fp32"), provenance._portable(config)])
    assert "photos" in told
    assert "secret" not in told


def test_what_anybody_can_have_is_told_whole() -> None:
    for source in ("dcgan.fashion", "org/repo@" + "a" * 40):
        assert provenance._portable(resolve({"init_from": source}))["init_from"] == source
    config = resolve({"dataset": {"name": "huggingface", "repo": "org/data"}})
    assert provenance._portable(config)["dataset"]["repo"] == "org/data"


def test_a_run_says_how_it_came_about_beside_its_generator(pictures: Tensor) -> None:
    run = ganzoo.Trainer(dataset=pictures, out="out", **TINY).fit()
    told = json.loads((run.path / "generator" / "training.json").read_text())
    assert (told["steps"], told["images"], told["command"]) == (2, 16, None)
    assert told["environment"]["torch"] == torch.__version__
    assert told["config"]["arch"]["channels"] == 2
    picture = (run.path / "generator" / "samples.png").read_bytes()
    assert picture == run.samples[-1].read_bytes()
    trainer = ganzoo.Trainer.resume(run, dataset=pictures, steps=4, progress=False)
    with Session(trainer, trainer._stage, None, trainer._build):
        pass
    assert not (run.path / "generator" / "training.json").exists()  # of the shorter training
    trainer.fit()
    assert json.loads((run.path / "generator" / "training.json").read_text())["steps"] == 4


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_an_unreadable_environment_stops_nothing(text: str, pictures: Tensor) -> None:
    run = ganzoo.Trainer(dataset=pictures, out="out", **TINY).fit()
    (run.path / "environment.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"environment\.json"):
        _ = run.environment
    ganzoo.Trainer.resume(run, dataset=pictures, steps=3, progress=False).fit()
    assert run.environment["device"] == "cpu"
