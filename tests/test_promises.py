"""What options, paths and rows promise, in all the places where they are met."""

from __future__ import annotations

import json
import operator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import ganzoo
from ganzoo.architectures.mlp import MLP
from ganzoo.cli import main
from ganzoo.config import TrainConfig
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import BundleError, ConfigError, ContractError, GanzooError
from ganzoo.files import storage
from ganzoo.generators import bundle, hub
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.losses import registry
from ganzoo.losses.base import Loss
from ganzoo.losses.hinge import Hinge
from ganzoo.runs import checkup, comparison
from ganzoo.runs.run import Run
from ganzoo.training.callbacks import Callback
from ganzoo.training.progress import Progress

TINY: dict[str, Any] = {
    "arch": {"name": "mlp", "hidden": [4]},
    "latent": 3,
    "batch_size": 8,
    "progress": False,
    "device": "cpu",
}


class Judging(Loss):
    """Sees real samples in G's phase, and reports from both phases."""

    generator_sees_real: ClassVar[bool] = True

    def discriminator_loss(self, step):
        real, fake = step.real_output.logits, step.fake_output.logits
        step.scalars["gap"] = real.mean() - fake.mean()
        if step.number % 3 == 0:
            step.scalars["lazy"] = step.number
        return softplus(fake - real).mean()

    def generator_loss(self, step):
        step.scalars["at_times"] = float("nan") if step.number % 2 else 1.0
        step.scalars["never"] = torch.tensor(float("inf"))
        return softplus(step.real_output.logits - step.fake_output.logits).mean()


@pytest.fixture(autouse=True)
def _judging():
    registry.register("judging")(Judging)
    yield
    registry.unregister("judging")


# -- passes over the data --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "d_steps", "g_steps", "steps"),
    [
        ("hinge", 1, 1, 36),
        ("hinge", 2, 1, 18),
        ("hinge", 1, 3, 36),
        ("hinge", 3, 2, 12),
        ("judging", 1, 1, 18),
        ("judging", 2, 1, 12),
        ("judging", 1, 2, 12),
        ("judging", 2, 2, 9),
        ("judging", 3, 1, 9),
        ("judging", 1, 5, 6),
    ],
)
def test_epochs_are_passes_over_the_data(
    pictures: Tensor, loss: str, d_steps: int, g_steps: int, steps: int
) -> None:
    """96 pictures in batches of 8: 12 batches a pass."""
    settings = TINY | {"loss": loss, "d_steps": d_steps, "g_steps": g_steps, "log_every": 1}
    trainer = ganzoo.Trainer(
        dataset=pictures, epochs=3, checkpoint_every="epoch", sample_every="epoch", **settings
    )
    drawn = 0

    class Counting(Callback):
        def on_step(self, trainer, step) -> None:
            nonlocal drawn
            drawn = trainer.loader._batches

    trainer.callbacks.append(Counting())
    run = trainer.fit()
    assert trainer.total_steps == steps and drawn == 36
    assert trainer.config.checkpoint_every == trainer.config.sample_every == steps // 3
    for row in run.history:
        assert row["images"] == row["step"] * trainer.images_per_step
        assert row["epoch"] == pytest.approx(row["images"] / 96)
    assert run.history[-1]["epoch"] == 3 and run.history[-1]["images"] == 288
    told = json.loads((run.path / "generator/training.json").read_text())
    assert (told["steps"], told["images"]) == (steps, 288)

    more = ganzoo.Trainer.resume(run, dataset=pictures, epochs=4, progress=False)
    assert more.fit().history[-1]["epoch"] == 4
    assert more.run.history[-1]["images"] == 384


# -- what a loss reports ---------------------------------------------------------------------------


def test_reports_reach_rows_trackers_and_progress(pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(
        dataset=pictures, loss="judging", steps=6, log_every=3, trackers=["tensorboard"], **TINY
    )
    run = trainer.fit()
    for row in run.history:
        assert {"gap", "lazy", "at_times"} <= row.keys() and "never" not in row
        assert row["at_times"] == 1
    assert [row["lazy"] for row in run.history] == [0, 3]
    progress = Progress()
    progress._row = run.history[-1]
    assert all(f"  {name} " in progress._numbers() for name in ("gap", "lazy", "at_times"))
    events = b"".join(path.read_bytes() for path in (run.path / "tensorboard").iterdir())
    assert b"gap" in events and b"at_times" in events
    assert set(run.history[-1]) >= {"d_loss", "g_loss", "step"}


@pytest.mark.parametrize("left", [1, 2, 4, 5])
def test_reports_go_on_where_a_run_was_left(pictures: Tensor, left: int) -> None:
    settings = TINY | {"dataset": pictures, "loss": "judging", "steps": 6, "log_every": 3}

    class Leaving(Callback):
        def on_step(self, trainer, step) -> None:
            if trainer.step == left:
                trainer.stop()

    whole = ganzoo.Trainer(out="whole", **settings).fit()
    ganzoo.Trainer(out="parts", callbacks=[Leaving()], **settings).fit()
    parts = ganzoo.Trainer.resume("parts", dataset=pictures, progress=False).fit()
    assert parts.history == whole.history


def test_own_names_of_rows(pictures: Tensor) -> None:
    from ganzoo.core.step import OWN
    from ganzoo.training.accumulator import NAMES

    trainer = ganzoo.Trainer(**TINY | {"dataset": "ring", "steps": 2, "nan_policy": "skip"})
    row = trainer.fit().history[-1]
    assert {*row, *NAMES, *trainer.visualizer.numbers} <= {*OWN}


# -- a person's own folder -------------------------------------------------------------------------


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    return folder


def test_a_path_from_home_is_one_everywhere(home: Path, pictures: Tensor) -> None:
    np.save(home / "data.npy", pictures.numpy())
    settings = TINY | {"dataset": "~/data.npy", "steps": 2}
    trainer = ganzoo.Trainer(out=Path("~/run"), **settings)
    run = trainer.fit()
    assert run.path == home / "run"
    trainer.save_checkpoint("~/points")
    (newest,) = (home / "points").iterdir()
    trainer.load_checkpoint(f"~/points/{newest.name}")
    trainer.load_checkpoint(Path("~/points") / newest.name)

    for source in ("~/run", Path("~/run"), "~/run/generator", Path("~/run/generator")):
        assert Generator.from_pretrained(source).latent.shape == (3,)
    saved = run.generator.save_pretrained("~/saved", discriminator=trainer.game.discriminator)
    assert saved == home / "saved" and isinstance(bundle.discriminator("~/saved"), nn.Module)
    assert Run("~/run").history == Run(Path("~/run")).history == run.history
    assert ganzoo.Trainer(config="~/run/config.yaml").config == trainer.config
    started = ganzoo.Trainer(init_from="~/run", **{**settings, "arch": None, "latent": 3})
    started.setup()
    assert ganzoo.Trainer.resume("~/run", steps=4, progress=False).fit().history[-1]["step"] == 4
    ganzoo.evaluate("~/saved", "~/data.npy", metrics=["swd"], num_fake=96)
    assert len(comparison.compare("~/run", "~/saved").rows) == 2
    assert all(finding.verdict == "ok" for finding in checkup.examine("~/saved"))
    assert not Path("~").exists()


def test_a_path_from_home_on_the_command_line(home: Path, pictures: Tensor) -> None:
    np.save(home / "data.npy", pictures.numpy())
    for line in (
        "train mlp --arch.hidden 4 --dataset=~/data.npy --steps 2 --batch-size 8 --out=~/run",
        "train --config=~/run/config.yaml --out=~/again --quiet",
        "resume ~/run --steps 4 --quiet",
        "sample ~/run --out=~/one.png -n 4",
        "sample ~/run --out=~/many -n 4",
        "evaluate ~/run --dataset=~/data.npy --metrics swd --num-fake 96",
        "compare ~/run ~/again",
        "push ~/run org/name --dry-run",
        "doctor ~/run/generator",
    ):
        main(line.split())
    for name in ("run", "again", "one.png", "many", "run/generator/metrics.json"):
        assert (home / name).exists(), name
    assert not Path("~").exists()


def test_a_home_that_nobody_has(home: Path) -> None:
    assert storage.expanded("~nobody-here/x") == Path("~nobody-here/x")
    for attempt in (
        lambda: Generator.from_pretrained("~nobody-here/x"),
        lambda: Run("~nobody-here/x"),
        lambda: ganzoo.evaluate("~nobody-here/x", "mnist"),
        lambda: ganzoo.Trainer("mlp", "~nobody-here/x"),
        lambda: ganzoo.Trainer(config="~nobody-here/x"),
        lambda: comparison.compare("~nobody-here/x", "~nobody-here/y"),
    ):
        with pytest.raises(GanzooError, match="~nobody-here/x"):
            attempt()


# -- what a run has --------------------------------------------------------------------------------


def test_the_generator_of_a_run_is_the_one_that_was_saved_last(pictures: Tensor) -> None:
    seen = []

    class Looking(Callback):
        def on_checkpoint(self, trainer, path) -> None:
            generator = trainer.run.generator
            assert trainer.run.generator is generator
            seen.append((generator.config.training["steps"], generator.sample(2, seed=0)))

    trainer = ganzoo.Trainer(
        dataset=pictures, steps=6, checkpoint_every=2, callbacks=[Looking()], **TINY
    )
    run = trainer.fit()
    assert [steps for steps, _ in seen] == [2, 4, 6]
    assert not torch.equal(seen[0][1], seen[1][1])
    assert torch.equal(run.generator.sample(2, seed=0), seen[2][1])
    held = run.generator
    ganzoo.Trainer.resume(run, dataset=pictures, steps=8, progress=False).fit()
    assert run.generator is not held and run.generator.config.training["steps"] == 8


def test_the_best_of_a_run_that_was_not_scored(pictures: Tensor) -> None:
    run = ganzoo.Trainer(dataset=pictures, steps=2, **TINY).fit()
    for attempt in (
        lambda: run.best,
        lambda: Generator.from_pretrained(run.path / "best"),
        lambda: Generator.from_pretrained(str(run.path / "best")),
        lambda: ganzoo.evaluate(str(run.path / "best"), pictures),
    ):
        with pytest.raises(BundleError, match="none of its generators has been scored yet.*every"):
            attempt()


# -- sampling --------------------------------------------------------------------------------------


class Mean(nn.Module):
    """A generator without parameters."""

    def forward(self, z, labels=None):
        return z[:, :2].tanh()


class Buffered(Mean):
    """A generator with a buffer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(()))


class Frozen(nn.Module):
    """A generator with a part that its author keeps in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
        self.norm = nn.BatchNorm1d(2).eval()

    def forward(self, z, labels=None):
        return self.norm(self.first(z)).tanh()


def made(module: nn.Module) -> Generator:
    config = BundleConfig(
        architecture=MLP(hidden=(4,)),
        sample=SampleSpec(kind="vector", shape=(2,), value_range=(-1.0, 1.0)),
        latent=LatentSpec(shape=(3,)),
    )
    return Generator(module, config)


@pytest.mark.parametrize("module", [Mean(), Buffered()])
def test_a_net_without_parameters_is_sampled(module: nn.Module) -> None:
    assert len(made(module).sample(3, seed=0)) == 3


@pytest.mark.parametrize("draw", ["sample", "error"])
def test_sampling_leaves_all_modes_as_they_are(draw: str) -> None:
    generator = made(Frozen())
    net = generator.module
    for modes in (
        [1, 1, 1, 1, 0],
        [1, 1, 0, 1, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
    ):
        for part, mode in zip(net.modules(), modes, strict=True):
            part.training = bool(mode)
        if draw == "error":
            with pytest.raises(RuntimeError):
                generator.module.forward = lambda z, labels=None: z[:, :7] @ z
                generator.sample(4, seed=0)
            del generator.module.forward
        else:
            first = generator.sample(4, seed=0)
            assert torch.equal(first, generator.sample(4, seed=0))  # no dropout
        assert [int(part.training) for part in net.modules()] == modes


class Still(MLP):
    """Nets of which one has nothing to train, or a part in evaluation mode."""

    player: str = "generator"

    def generator(self, spec, latent):
        net = super().generator(spec, latent)
        net.add_module("still", nn.BatchNorm1d(1).eval())
        return Mean() if self.player == "generator" else net

    def discriminator(self, spec):
        return Mean() if self.player == "discriminator" else super().discriminator(spec)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_net_without_parameters_is_not_trained(pictures: Tensor, player: str) -> None:
    ganzoo.architectures.register("still")(Still)
    try:
        settings = TINY | {"arch": {"name": "still", "player": player}, "dataset": pictures}
        with pytest.raises(ContractError, match=f"The {player} has no parameters .*'still'"):
            ganzoo.Trainer(steps=1, **settings).fit()
        settings["arch"] = {"name": "still", "player": "neither", "hidden": [4]}
        trainer = ganzoo.Trainer(steps=1, **settings)
        trainer.setup()
        assert trainer.game.generator.training and not trainer.game.generator.still.training
    finally:
        ganzoo.architectures.registry.unregister("still")


@pytest.mark.parametrize(
    "seed", ["a", "1", -1, 1.5, 2.0, 2**63, 2**70, True, [1], float("nan"), torch.zeros(2), b"1"]
)
def test_a_seed_that_is_none(seed: Any, pictures: Tensor) -> None:
    generator = made(Mean())
    for attempt in (
        lambda: generator.sample(2, seed=seed),
        lambda: generator.images(2, seed=seed),
        lambda: generator.grid(2, seed=seed),
        lambda: ganzoo.evaluate("mlp.mnist", "mnist", seed=seed),
    ):
        with pytest.raises(ConfigError, match=r"A seed is a whole number from 0 to 2\*\*63 - 1"):
            attempt()


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1, np.int64(7), torch.tensor(7), np.uint8(7)])
def test_a_seed_that_is_one(seed: Any) -> None:
    generator = made(Mean())
    assert torch.equal(generator.sample(2, seed=seed), generator.sample(2, seed=int(seed)))


@pytest.mark.parametrize("count", ["4", 2.5, -1, True, [4], 1e9])
def test_a_count_that_is_none(count: Any) -> None:
    with pytest.raises(ConfigError, match="Cannot draw .* samples in batches of 64"):
        made(Mean()).sample(count)


# -- the Hub's listing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({"BOOL": 3}, 3),
        ({"U8": 3}, 3),
        ({"I8": 3}, 3),
        ({"F8_E5M2": 3}, 3),
        ({"F8_E4M3": 3}, 3),
        ({"F8_E8M0": 3}, 3),
        ({"F8_E4M3FNUZ": 3}, 3),
        ({"F4": 3}, 2),
        ({"F6_E2M3": 4}, 3),
        ({"F6_E3M2": 3}, 3),
        ({"I16": 3, "U16": 3}, 12),
        ({"F16": 3, "BF16": 3}, 12),
        ({"I32": 3, "U32": 3, "F32": 3}, 36),
        ({"C64": 3, "F64": 3, "I64": 3, "U64": 3}, 96),
        ({"bf16": 3, "Bool": 1, "f8_e4m3": 1}, 8),
        ({}, 0),
        ({"F32": 3, "STRANGE": 1}, None),
        ({"": 1}, None),
        ({"32": 1}, None),
        ({"F32": None}, None),
    ],
)
def test_sizes_of_all_types(parameters: dict[str, int], size: int | None) -> None:
    model = SimpleNamespace(
        id="a/b",
        sha="c",
        tags=[],
        safetensors=SimpleNamespace(parameters=parameters),
    )
    assert hub._published(model).size == size


# -- settings that a run keeps ---------------------------------------------------------------------

KEPT = sorted(
    set(TrainConfig.model_fields)
    - {"steps", "epochs", "device", "dataset", "workers", "nan_policy", "metrics", "patience"}
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    settings = TINY | {"dataset": "ring", "steps": 2}
    return ganzoo.Trainer(out=folder / "run", **settings).fit().path


@pytest.mark.parametrize("name", KEPT)
def test_a_run_keeps_its_settings(kept: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ganzoo.Trainer.resume(kept, steps=4, **{name: 1})
    told = str(caught.value)
    assert f"and {name} is one of them: only steps, epochs, device, dataset," in told
    assert f"Trainer(config='{kept / 'config.yaml'}'" in told and f"{name}=1)" in told


@pytest.mark.parametrize("name", KEPT)
def test_a_run_keeps_its_settings_on_the_command_line(kept: Path, name: str, capsys) -> None:
    flag = f"--{name.replace('_', '-')}"
    for line in ([str(kept), flag, "1"], [f"{flag}=1", str(kept)], [flag, "1", str(kept)]):
        with pytest.raises(SystemExit):
            main(["resume", *line])
        told = capsys.readouterr().err
        assert f"and {name} is one of them: only --steps," in told
        assert f"ganzoo train --config {kept}/config.yaml" in told


def test_the_way_on_with_another_setting_works(kept: Path, pictures: Tensor, capsys) -> None:
    with pytest.raises(ConfigError) as caught:
        ganzoo.Trainer.resume(kept, batch_size=16)
    trainer = eval(str(caught.value).rpartition(": ")[2], {"Trainer": ganzoo.Trainer})
    assert trainer.config.batch_size == 16
    assert trainer.fit().history[-1]["step"] == 2
    with pytest.raises(SystemExit):
        main(["resume", str(kept), "--g-optimizer.lr", "1e-5"])
    line = capsys.readouterr().err.rpartition(": ganzoo ")[2]
    main([*line.split(), "--quiet"])
    newest = sorted(Path("runs").iterdir())[-1]
    assert Run(newest).config.g_optimizer.lr == 1e-5

    held = ganzoo.Trainer(dataset=pictures, out="held", steps=2, **TINY).fit()
    with pytest.raises(ConfigError) as caught:
        ganzoo.Trainer.resume(held, batch_size=16)
    line = str(caught.value).rpartition(": ")[2]
    trainer = eval(line, {"Trainer": ganzoo.Trainer, "data": pictures})
    assert trainer.fit().config.batch_size == 16


@pytest.mark.parametrize(
    ("given", "line", "expected"),
    [
        ({"lr": 1e-5}, "--lr 1e-5", {"g_optimizer.lr": 1e-5, "d_optimizer.lr": 1e-5}),
        ({"g_lr": 1e-5}, "--g-lr=1e-5", {"g_optimizer.lr": 1e-5, "d_optimizer.lr": 0.0002}),
        ({"g_optimizer": {"lr": 1e-5}}, "--g-optimizer.lr 1e-5", {"g_optimizer.lr": 1e-5}),
        ({"g_optimizer.lr": 1e-5}, "--g-optimizer.lr=1e-5", {"g_optimizer.lr": 1e-5}),
        (
            {"lr": 0.01, "optimizer": "sgd"},
            "--lr 0.01 --optimizer sgd",
            {"g_optimizer.name": "sgd", "d_optimizer.name": "sgd", "g_optimizer.lr": 0.01},
        ),
        ({"bs": 4, "seed": 3}, "--bs 4 --steps 4 --seed 3", {"batch_size": 4, "seed": 3}),
        ({"loss": Hinge(margin=0.5)}, "--loss hinge --loss.margin 0.5", {"loss.margin": 0.5}),
        ({"betas": (0.5, 0.9)}, "--betas 0.5 0.9", {"d_optimizer.betas": (0.5, 0.9)}),
        ({"nz": 5}, "--nz 5", {"latent.shape": (5,)}),
        ({"deterministic": True}, "--deterministic=true", {"deterministic": True}),
        ({"joint_batch": False}, "--no-joint-batch", {"joint_batch": False}),
        ({"arch": {"name": "mlp", "hidden": [5]}}, "--arch.hidden 5", {"arch.hidden": (5,)}),
    ],
)
def test_the_way_on_with_words_of_other_programs(
    kept: Path, given: dict[str, Any], line: str, expected: dict[str, Any], capsys
) -> None:
    with pytest.raises(ConfigError) as caught:
        ganzoo.Trainer.resume(kept, **given)
    call = "Trainer(" + str(caught.value).partition(": Trainer(")[2]
    trainer = eval(call, {"Trainer": ganzoo.Trainer})
    for place in ([*line.split(), str(kept)], [str(kept), *line.split()]):
        with pytest.raises(SystemExit):
            main(["resume", *place])
        main([*capsys.readouterr().err.rpartition(": ganzoo ")[2].split(), "--dry-run"])
        Path("told.yaml").write_text(capsys.readouterr().out)
        for config in (trainer.config, ganzoo.Trainer(config="told.yaml").config):
            for path, value in expected.items():
                assert operator.attrgetter(path)(config) == value


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("step", "steps"),
        ("batchsize", "batch_size"),
        ("epoch", "epochs"),
        ("frobnicate", ""),
        ("iterations", "steps"),
        ("num_workers", "workers"),
        ("gpu", "device"),
        ("devices", "device"),
        ("pacience", "patience"),
        ("nan_policies", "nan_policy"),
        ("losss", "loss"),
        ("worker", "workers"),
        ("averag", "average"),
    ],
)
def test_a_misspelt_setting_of_resume(kept: Path, word: str, meant: str, capsys) -> None:
    with pytest.raises(ConfigError, match=f"Resuming has no setting '{word}'.") as caught:
        ganzoo.Trainer.resume(kept, **{word: 1})
    assert not meant or f"Did you mean '{meant}'?" in str(caught.value)
    flag = f"--{word.replace('_', '-')}"
    with pytest.raises(SystemExit):
        main(["resume", str(kept), flag, "1"])
    told = capsys.readouterr().err
    assert f"Resuming has no setting '{flag}'." in told
    assert not meant or f"Did you mean '--{meant.replace('_', '-')}'?" in told


# -- booleans and names on a line ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--loss bce --loss.swapped mlp --arch.dropout 0.2", ("mlp", "swapped: true")),
        ("--loss bce --loss.no-swapped mlp --arch.dropout 0.2", ("mlp", "swapped: false")),
        ("--loss bce --loss.swapped=true mlp --arch.dropout 0.2", ("mlp", "swapped: true")),
        ("--loss bce --loss.swapped=false mlp --arch.dropout 0.2", ("mlp", "swapped: false")),
        ("--loss=bce --loss.swapped mirror", ("mirror", "swapped: true")),
        ("--arch.d-norm-input dcgan --arch.channels 4", ("dcgan", "d_norm_input: true")),
        ("--arch.no-d-norm-input dcgan --arch.channels 4", ("dcgan", "d_norm_input: false")),
        (
            "--g-optimizer sgd --g-optimizer.momentum 0.9 --g-optimizer.nesterov mlp "
            "--arch.hidden 4",
            ("mlp", "nesterov: true"),
        ),
        (
            "--d-optimizer sgd --d-optimizer.momentum 0.9 --d-optimizer.nesterov upsample",
            ("upsample", "nesterov: true"),
        ),
        ("--joint-batch mlp --arch.hidden 4", ("mlp", "joint_batch: true")),
        ("--no-joint-batch mlp --arch.hidden 4", ("mlp", "joint_batch: false")),
        ("--quiet mlp --arch.hidden 4", ("mlp", "hidden:")),
        ("--d-eval-for-g --loss bce --loss.swapped mlp", ("mlp", "swapped: true")),
        ("mlp --loss bce --loss.swapped", ("mlp", "swapped: true")),
        ("--loss.swapped --loss bce --arch mlp --arch.dropout 0.2", ("mlp", "swapped: true")),
    ],
)
def test_a_switch_takes_no_value(line: str, expected: tuple[str, str], capsys) -> None:
    main(["train", *line.split(), "--dataset", "fashion-mnist-10k", "--dry-run"])
    told = capsys.readouterr().out
    assert f"arch:\n  name: {expected[0]}\n" in told and expected[1] in told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("train dcgan mnist", "'mnist' needs its option: write --dataset mnist."),
        ("train mnist", "'mnist' is not an architecture but a dataset: write --dataset mnist"),
        ("train dcgan ring", "write --dataset ring."),
        ("train hinge", "'hinge' is not an architecture but a loss: write --loss hinge"),
        ("train sgd", "'sgd' is not an architecture but an optimizer: write --g-optimizer sgd"),
        ("train three-gaussians-2d", "not an architecture but a recipe: write --recipe three"),
        ("train .", "'.' is not an architecture but a path: write --dataset . if it is"),
        ("train dcgan hinge", "write --loss hinge."),
        ("train dcgan sgd", "write --g-optimizer sgd."),
        ("train dcgan cosine", "write --schedule cosine."),
        ("train dcgan mlp", "'mlp' is a second architecture"),
        ("train mnist dcgan", "'mnist' needs its option: write --dataset mnist."),
        ("train hinge mlp", "'hinge' needs its option: write --loss hinge."),
        (
            "train ./photos",
            "'./photos' is not an architecture but a path: write --dataset",
        ),
        ("train dcgan ./photos", "write --dataset ./photos if it is the data, or --out ./"),
        ("train dcgan ../absent.npz", "write --dataset ../absent.npz if it is the data"),
        ("train ~/photos dcgan", "needs its option: write --dataset"),
        ("train --steps 3 dcgan mnist --seed 1", "write --dataset mnist."),
        ("train dcgan .", "write --dataset . if it is the data, or --out ."),
        ("train --loss bce --loss.swapped true mlp", "--loss.swapped takes no value after a space"),
        ("train --conditional yes mlp", "--conditional takes no value after a space."),
        ("evaluate one two", "'ganzoo evaluate' scores one generator or folder at a time"),
        ("evaluate one two three", "'ganzoo compare' shows their scores side by side"),
        ("sample one two", "'ganzoo sample' samples one generator at a time"),
        ("resume one two", "'ganzoo resume' continues one run at a time"),
        ("doctor one two", "'ganzoo doctor' checks one folder at a time"),
        ("pull one/a two/b", "'ganzoo pull' copies one generator at a time"),
    ],
)
def test_a_word_too_many(line: str, told: str, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2 and told in capsys.readouterr().err
