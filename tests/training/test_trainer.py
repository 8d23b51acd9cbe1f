"""The trainer: from settings to a run, and on from there."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

import ganzoo
from ganzoo import architectures, losses
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets import Samples
from ganzoo.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    DivergenceError,
    GanzooError,
    RunFolderError,
    UnknownNameError,
    UnsupportedSampleError,
)
from ganzoo.generators import bundle
from ganzoo.generators.sampling import draw_latents
from ganzoo.training.callbacks import Callback
from ganzoo.training.parts import collect

SMALL: dict[str, dict[str, Any]] = {
    "dcgan": {"name": "dcgan", "channels": 4},
    "mirror": {"name": "mirror", "hidden": (12,), "code": 8},
    "mlp": {"name": "mlp", "hidden": (16, 24)},
    "upsample": {"name": "upsample", "channels": 4, "d_channels": 2},
}


def small(arch: str = "mlp", **settings: Any) -> dict[str, Any]:
    """Settings of a training that takes no time."""
    defaults = {
        "arch": SMALL.get(arch, arch),
        "latent": 8,
        "batch_size": 16,
        "steps": 6,
        "progress": False,
    }
    return {**defaults, "precision": "fp32", "device": "cpu", "log_every": 2, **settings}


def weights(trainer: ganzoo.Trainer) -> dict[str, Tensor]:
    """Everything that training changes, by name."""
    tensors, _ = collect(trainer.parts())
    return {name: value.clone() for name, value in tensors.items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    differ = [name for name in first if not torch.equal(first[name], second[name])]
    assert differ == []


# -- the whole way ----------------------------------------------------------------------------


@pytest.mark.parametrize("arch", architectures.names())
def test_every_architecture_trains_saves_and_loads(arch: str, pictures: Tensor) -> None:
    run = ganzoo.Trainer(dataset=pictures, **small(arch)).fit()
    assert run.generator.sample(3, seed=0).shape == (3, 1, 16, 16)
    loaded = ganzoo.Generator.from_pretrained(run.path)
    assert torch.equal(loaded.sample(3, seed=0), run.generator.sample(3, seed=0))


@pytest.mark.parametrize("loss", losses.names())
def test_every_loss_trains(loss: str, pictures: Tensor) -> None:
    more: dict[str, Any] = {"dataset": pictures}
    if "classes" in losses.get(loss).wants:
        more = {"dataset": (pictures, torch.arange(96) % 3), "conditional": True}
        more["arch"] = {**SMALL["mlp"], "d_condition": "auxiliary"}
    if loss == "info":
        more["latent"] = {"shape": 8, "categorical": [3]}
    trainer = ganzoo.Trainer(loss=loss, **{**small(), **more})
    trainer.setup()
    before = weights(trainer)
    run = trainer.fit()
    after = weights(trainer)
    for part in ("generator.", "discriminator.", "ema."):
        names = [name for name in before if name.startswith(part)]
        assert any(not torch.equal(before[name], after[name]) for name in names)
    assert all(abs(value) < 1e4 for row in run.history for value in row.values())


def test_the_run_folder_holds_what_it_promises(pictures: Tensor) -> None:
    run = ganzoo.Trainer(
        dataset=pictures, out="out", sample_every=3, checkpoint_every=2, **small("dcgan")
    ).fit()
    assert run.path == Path("out")
    files = {str(path.relative_to("out")) for path in run.path.rglob("*") if path.is_file()}
    files.discard(".lock")  # some versions of filelock leave it, unlocked
    state = ["state.json", "state.safetensors"]
    assert files == {
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "comparison.png",
        "samples/step-00000003.png",
        "samples/step-00000006.png",
        "generator/config.json",
        "generator/model.safetensors",
        "generator/samples.png",
        "generator/training.json",
        *(f"checkpoints/step-{step:08d}/{name}" for step in (4, 6) for name in state),
    }
    assert [row["step"] for row in run.history] == [2, 4, 6]
    assert set(run.history[0]) == {
        "step",
        "epoch",
        "images",
        "d_loss",
        "g_loss",
        "d_real",
        "d_fake",
        "d_grad",
        "g_grad",
        "diversity",
        "g_lr",
        "d_lr",
    }
    assert run.environment["precision"] == "fp32"
    assert run.samples[-1].name == "step-00000006.png"


def test_config_yaml_is_resolved_and_trains_again_to_the_same_bits(pictures: Tensor) -> None:
    import numpy as np

    np.save("squares.npy", pictures.numpy())
    settings = {**small(epochs=2.0, seed=3), "arch": "mlp", "latent": 8}
    settings.pop("steps")
    first = ganzoo.Trainer(dataset="squares.npy", out="one", **settings).fit()
    saved = yaml.safe_load((first.path / "config.yaml").read_text(encoding="utf-8"))
    assert saved["steps"] == 12  # two epochs of six batches
    assert saved["epochs"] is None
    assert saved["arch"]["hidden"] == [256, 512, 1024]
    assert saved["g_optimizer"]["betas"] == [0.9, 0.999]
    assert None not in (saved["sample_every"], saved["checkpoint_every"])
    second = ganzoo.Trainer(config="one/config.yaml", out="two", progress=False).fit()
    for name in ("metrics.jsonl", "config.yaml", "generator/model.safetensors"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not(pictures: Tensor) -> None:
    runs = [
        ganzoo.Trainer(dataset=pictures, out=f"run{i}", seed=seed, **small("dcgan")).fit()
        for i, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (
        (run.path / "generator" / "model.safetensors").read_bytes() for run in runs
    )
    assert first == again
    assert first != other


def test_your_own_loop_is_the_same_training(pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(dataset=pictures, **small())
    seen = [step.number for step in trainer.iterations()]
    assert seen == list(range(6))
    assert not Path("runs").exists()
    fitted = ganzoo.Trainer(dataset=pictures, **small())
    fitted.fit()
    assert_equal(weights(trainer), weights(fitted))


def test_runs_are_numbered(pictures: Tensor) -> None:
    runs = [ganzoo.Trainer(dataset=pictures, **small(steps=1)).fit() for _ in range(2)]
    assert [str(run.path) for run in runs] == ["runs/mlp-tensor-1", "runs/mlp-tensor-2"]


def test_training_ends_alone_without_worker_processes(pictures: Tensor) -> None:
    before = threading.active_count()
    ganzoo.Trainer(dataset=pictures, **small(steps=2)).fit()
    assert threading.active_count() == before


# -- shapes -----------------------------------------------------------------------------------


def test_the_embedded_data_train_padded_and_come_out_at_their_own_size() -> None:
    trainer = ganzoo.Trainer(**small("dcgan", steps=1))
    run = trainer.fit()
    assert trainer.spec.size == (32, 32)
    assert trainer.notices == [
        "28x28 images are padded to 32x32, which 'dcgan' can do; samples come out 28x28."
    ]
    assert run.generator.sample(4, seed=0).shape == (4, 1, 28, 28)
    assert run.generator.spec.size == (28, 28)
    assert run.generator(torch.zeros(2, 8)).shape == (2, 1, 32, 32)


@pytest.mark.parametrize(
    ("arch", "shape", "size"),
    [
        ("dcgan", (3, 48, 96), (64, 128)),
        ("upsample", (3, 48, 96), (48, 96)),
        ("dcgan", (4, 32, 32), (32, 32)),
        ("dcgan", (7, 20, 20), (32, 32)),
        ("upsample", (7, 20, 20), (20, 20)),
        ("mlp", (2, 9, 5), (9, 5)),
        ("mirror", (4, 9, 5), (9, 5)),
    ],
)
def test_any_channels_and_any_aspect(
    arch: str, shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    data = torch.randint(0, 256, (20, *shape), dtype=torch.uint8)
    trainer = ganzoo.Trainer(dataset=data, **small(arch, steps=1))
    run = trainer.fit()
    assert trainer.spec.size == size
    assert run.generator.sample(2, seed=0).shape == (2, *shape)
    assert len(run.samples) == 1


def test_resizing_trains_and_samples_at_the_other_size(pictures: Tensor) -> None:
    run = ganzoo.Trainer(
        dataset=pictures, size=32, resize_mode="resize", **small("dcgan", steps=1)
    ).fit()
    assert run.generator.sample(2, seed=0).shape == (2, 1, 32, 32)


def test_vectors_train_unbounded_and_without_pictures() -> None:
    data = torch.randn(64, 2) * 5 + 20
    run = ganzoo.Trainer(dataset=data, **small()).fit()
    assert run.generator.sample(7, seed=0).shape == (7, 2)
    assert run.generator.spec.value_range is None
    assert run.samples == []
    assert not (run.path / "comparison.png").exists()


def test_without_matplotlib_a_notice_says_why_there_are_no_plots() -> None:
    trainer = ganzoo.Trainer(dataset=torch.randn(64, 1), **small())
    trainer.setup()
    assert trainer.notices == [
        'no pictures of these samples without matplotlib: pip install "ganzoo[plots]"'
    ]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_vectors_are_plotted(dimensions: int, plotted: None) -> None:
    data = torch.randn(64, dimensions)
    run = ganzoo.Trainer(dataset=data, sample_every=3, **small()).fit()
    names = [path.name for path in run.samples]
    assert names == ([] if dimensions == 3 else ["step-00000003.png", "step-00000006.png"])
    assert (run.path / "animation.gif").exists() == (dimensions < 3)
    assert (run.path / "curves.png").exists()
    with Image.open(run.path / "curves.png") as curves:
        assert curves.tobytes() == run.curves().tobytes()


def test_plots_change_nothing(plotted: None) -> None:
    data = torch.randn(64, 2)
    first = ganzoo.Trainer(dataset=data, sample_every=1, out="a", **small())
    second = ganzoo.Trainer(dataset=data, sample_every=0, out="b", **small())
    first.fit()
    second.fit()
    assert_equal(weights(first), weights(second))


def test_modes_are_counted_where_they_are_known() -> None:
    trainer = ganzoo.Trainer(dataset={"name": "three-gaussians", "count": 200}, **small())
    with torch.no_grad():
        trainer.setup()
        output = trainer.game.generator.output
        output.weight.zero_()
        output.bias.copy_(torch.tensor([5.0, 5.0]))
    trainer.game.ema.module.load_state_dict(trainer.game.generator.state_dict())
    found = {"modes": 1, "modes_due": 1, "high_quality": 1.0, "rarest_mode": 0.0}
    assert trainer.visualizer.scores() == found
    assert trainer.visualizer.numbers == tuple(found)
    row = trainer.fit().history[-1]
    assert 0 <= row["modes_due"] <= row["modes"]
    assert 0 <= row["modes"] <= 3 and 0 <= row["rarest_mode"] <= row["high_quality"] <= 1


def test_real_images_stand_beside_generated_ones(pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(dataset=pictures[:40], size=32, **small("dcgan"))
    run = trainer.fit()
    with Image.open(run.path / "comparison.png") as file:
        image = file.convert("L")
    grid = trainer.generator.grid(40, seed=0)
    assert image.width == 2 * grid.width + 3 * 16
    real = image.crop((16, 32, 16 + grid.width, 32 + grid.height))
    fake = image.crop((32 + grid.width, 32, 32 + 2 * grid.width, 32 + grid.height))
    assert fake.tobytes() == grid.tobytes()
    # The left half is made of the data: every tile is one bright square of 6x6.
    tile = real.crop((2, 2, 2 + 64, 2 + 64))
    assert sum(value > 127 for value in tile.get_flattened_data()) == 36 * 16


@pytest.mark.parametrize("d_steps", [1, 2])
def test_an_epoch_is_a_length_that_settings_know(d_steps: int, pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(
        dataset=pictures,
        sample_every="epoch",
        checkpoint_every="epoch",
        snapshot_every="epoch",
        d_steps=d_steps,
        **small(),
    )
    trainer.setup()
    config = trainer.config
    expected = 6 // d_steps
    assert (config.sample_every, config.checkpoint_every, config.snapshot_every) == (expected,) * 3


def test_snapshots_keep_both_nets(pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(
        dataset=pictures, snapshot_every=4, average={"decay": 0}, out="out", **small(steps=9)
    )
    for step in trainer.iterations():
        if step.number == 3:
            break
    judge = trainer.nets()["discriminator"]
    kept = {name: value.clone() for name, value in judge.named_parameters()}
    probe = trainer.generator.sample(5, seed=1)
    again = ganzoo.Trainer(
        dataset=pictures, snapshot_every=4, average={"decay": 0}, out="out", **small(steps=9)
    )
    run = again.fit()
    folders = sorted(path.name for path in (run.path / "snapshots").iterdir())
    assert folders == ["step-00000004", "step-00000008"]
    folder = run.path / "snapshots" / "step-00000004"
    assert torch.equal(ganzoo.Generator.from_pretrained(folder).sample(5, seed=1), probe)
    for name, value in bundle.discriminator(folder).named_parameters():
        assert torch.equal(value, kept[name])


def test_a_size_reaches_a_dataset_that_reads_pictures_of_any_size() -> None:
    @ganzoo.datasets.register("sized")
    class Sized(ganzoo.datasets.Dataset):
        """Black pictures of the size that is asked for."""

        size: tuple[int, int] | None = None

        def sized(self, size: tuple[int, int]) -> Sized:
            return self if self.size else self.replace(size=size)

        def load(self) -> Samples:
            data = torch.zeros(32, 1, *(self.size or (8, 8)), dtype=torch.uint8)
            return Samples(data, SampleSpec(shape=tuple(data.shape[1:])), notices=("black",))

    try:
        trainer = ganzoo.Trainer(dataset="sized", size=(12, 20), **small())
        trainer.setup()
        assert trainer.config.dataset.size == (12, 20)
        assert trainer.preprocessing is not None and trainer.preprocessing.method == "none"
        assert trainer.notices == ["black"]
        chosen = ganzoo.Trainer(dataset=Sized(size=(8, 8)), size=(12, 20), **small())
        chosen.setup()
        assert chosen.preprocessing is not None and chosen.preprocessing.method == "pad"
    finally:
        ganzoo.datasets.registry.unregister("sized")


def test_a_tracker_that_cannot_work_is_refused_before_anything_is_done(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(GanzooError, match=r"tensorboard.*pip install"):
        ganzoo.Trainer(dataset=pictures, trackers="tensorboard", out="out", **small())
    assert not Path("out").exists()
    with pytest.raises(ConfigError, match="'tensorboard' is given twice"):
        ganzoo.Trainer(trackers=["tensorboard", "tensorboard"], **small())


def test_a_value_range_reaches_data_and_generator(pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(dataset=pictures, value_range=(0, 1), **small())
    step = next(trainer.iterations())
    assert step.real is not None
    assert (step.real.min(), step.real.max()) == (0, 1)
    assert 0 <= step.fake.min() <= step.fake.max() <= 1


def test_labels_reach_an_architecture_that_uses_them(pictures: Tensor) -> None:
    seen: list[Tensor] = []

    class Labelled(architectures.Architecture):
        """Adds the label to everything."""

        conditional = True

        def generator(self, spec: Any, latent: Any) -> nn.Module:
            class Net(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.linear = nn.Linear(latent.numel, spec.numel)
                    self.classes = nn.Embedding(len(spec.classes), spec.numel)

                def forward(self, z: Tensor, labels: Tensor) -> Tensor:
                    return (self.linear(z) + self.classes(labels)).tanh().view(-1, *spec.shape)

            return Net()

        def discriminator(self, spec: Any) -> nn.Module:
            class Net(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.linear = nn.Linear(spec.numel, 1)

                def forward(self, x: Tensor, labels: Tensor) -> Tensor:
                    seen.append(labels)
                    return self.linear(x.flatten(1)).flatten() + labels

            return Net()

    architectures.register("labelled")(Labelled)
    try:
        labels = torch.arange(96) % 3
        settings = small("labelled", steps=2, conditional=True)
        run = ganzoo.Trainer(dataset=(pictures, labels), **settings).fit()
        assert all(set(part.tolist()) <= {0, 1, 2} for part in seen)
        generator = run.generator
        zero, one = (generator.sample(4, seed=0, labels=label) for label in (0, 1))
        assert not torch.equal(zero, one)
        with pytest.raises(DataError, match="conditional=True needs labels"):
            ganzoo.Trainer(dataset=pictures, **settings).fit()
        with pytest.raises(ConfigError, match="Labels go from 0 to 2"):
            generator.sample(4, labels=3)
    finally:
        architectures.registry.unregister("labelled")


# -- resuming ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["mlp", "dcgan"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_resuming_equals_never_having_stopped(arch: str, optimizer: str, pictures: Tensor) -> None:
    settings = small(
        arch,
        steps=10,
        checkpoint_every=7,
        sample_every=5,
        g_optimizer=optimizer,
        d_optimizer=optimizer,
        schedule="cosine",
    )
    whole = ganzoo.Trainer(dataset=pictures, out="whole", **settings)
    whole.fit()

    class Stop(Callback):
        def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
            if trainer.step == 9:
                raise RuntimeError("the machine went down")

    broken = ganzoo.Trainer(dataset=pictures, out="part", callbacks=[Stop()], **settings)
    with pytest.raises(RuntimeError, match="went down"):
        broken.fit()
    torch.rand(100)  # the process that resumes has another history
    resumed = ganzoo.Trainer.resume("part", dataset=pictures, progress=False)
    assert resumed.step == 7
    resumed.fit()
    assert_equal(weights(whole), weights(resumed))
    for name in ("metrics.jsonl", "samples/step-00000010.png", "generator/model.safetensors"):
        assert (Path("whole") / name).read_bytes() == (Path("part") / name).read_bytes()


def test_an_interruption_finishes_the_iteration_and_saves(pictures: Tensor) -> None:
    class Interrupt(Callback):
        def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
            if trainer.step == 5:
                signal.raise_signal(signal.SIGINT)

    settings = small(checkpoint_every=0)
    trainer = ganzoo.Trainer(dataset=pictures, out="out", callbacks=[Interrupt()], **settings)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert signal.getsignal(signal.SIGINT) is before
    resumed = ganzoo.Trainer.resume("out", dataset=pictures, progress=False)
    assert resumed.step == 5
    resumed.fit()
    whole = ganzoo.Trainer(dataset=pictures, out="whole", **settings)
    whole.fit()
    assert_equal(weights(whole), weights(resumed))
    for name in ("metrics.jsonl", "generator/model.safetensors"):
        assert (Path("whole") / name).read_bytes() == (Path("out") / name).read_bytes()


def test_a_second_interruption_ends_at_once(pictures: Tensor) -> None:
    class Twice(Callback):
        def on_log(self, trainer: ganzoo.Trainer, row: Any) -> None:
            if trainer.step == 4:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    settings = small(checkpoint_every=2)
    trainer = ganzoo.Trainer(dataset=pictures, out="out", callbacks=[Twice()], **settings)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert ganzoo.Trainer.resume("out", dataset=pictures, progress=False).step == 2


@pytest.mark.parametrize("hook", ["on_step", "on_log", "on_picture"])
def test_a_callback_can_end_the_training_well(hook: str, pictures: Tensor) -> None:
    def stop(self: Callback, trainer: ganzoo.Trainer, what: Any) -> None:
        if trainer.step == 3:
            trainer.stop()

    enough = type("Enough", (Callback,), {hook: stop})()
    settings = small(log_every=3, sample_every=3, checkpoint_every=2)
    run = ganzoo.Trainer(dataset=pictures, callbacks=[enough], **settings).fit()
    assert [row["step"] for row in run.history] == [3]
    assert run.samples[-1].name == "step-00000003.png"
    assert run.generator.config.training["steps"] == 3
    assert ganzoo.Trainer.resume(run, dataset=pictures, progress=False).step == 3


def test_weights_that_are_not_finite_replace_no_good_checkpoint(pictures: Tensor) -> None:
    class Poison(Callback):
        def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
            if trainer.step == 4:
                with torch.no_grad():
                    next(trainer.game.generator.parameters()).fill_(float("nan"))

    settings = small(checkpoint_every=2, keep_checkpoints=1, log_every=100)
    trainer = ganzoo.Trainer(
        dataset=pictures, out="out", callbacks=[Poison()], snapshot_every=4, **settings
    )
    with pytest.raises(DivergenceError, match=r"generator\..* is no longer finite at step 4"):
        trainer.fit()
    assert not Path("out/snapshots").exists()
    assert ganzoo.Trainer.resume("out", dataset=pictures, progress=False).step == 2
    assert ganzoo.Generator.from_pretrained("out").config.training["steps"] == 2


def test_a_run_that_cannot_be_described_leaves_nothing(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ganzoo.training.stage.write_json", full)
    for out in ("out", None):
        with pytest.raises(RunFolderError, match="No space left on device"):
            ganzoo.Trainer(dataset=pictures, out=out, **small()).fit()
    assert [path for path in Path().rglob("*") if path.name != "runs"] == []


def test_resuming_writes_only_when_training_goes_on(pictures: Tensor) -> None:
    run = ganzoo.Trainer(dataset=pictures, out="out", **small(steps=4)).fit()
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    trainer = ganzoo.Trainer.resume("out", dataset=pictures, steps=9, progress=False)
    assert files == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    (run.path / "samples" / "step-00000007.png").write_bytes(b"of a life that was lost")
    trainer.fit()
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in trainer.run.samples)


def test_resuming_forgets_what_the_lost_end_left(plotted: None) -> None:
    class OutputFormat(Callback):
        def on_start(self, trainer: ganzoo.Trainer, run: ganzoo.Run) -> None:
            left.update(path.relative_to(run.path).as_posix() for path in run.path.rglob("*"))

    left: set[str] = set()
    ends = {"curves.png", "animation.gif"}
    settings = small(steps=9, sample_every=3, checkpoint_every=4, snapshot_every=3, d_steps=2)
    data = {"name": "three-gaussians", "count": 200}
    whole = ganzoo.Trainer(dataset=data, out="whole", **settings)
    run = whole.fit()
    files = {path: path.read_bytes() for path in run.path.rglob("*.*") if path.is_file()}
    assert {Path("whole") / end for end in ends} <= set(files)
    shutil.rmtree("whole/checkpoints/step-00000009")
    resumed = ganzoo.Trainer.resume("whole", progress=False, callbacks=[OutputFormat()])
    resumed.fit()
    assert not left & ends
    assert {path for path in left if path.startswith("snapshots/")} == {
        f"snapshots/step-0000000{step}{file}"
        for step in (3, 6)
        for file in ("", "/config.json", "/model.safetensors", "/discriminator.safetensors")
    }
    assert_equal(weights(whole), weights(resumed))
    assert files == {path: path.read_bytes() for path in run.path.rglob("*.*") if path.is_file()}


def test_resuming_a_finished_run_loses_nothing(plotted: None) -> None:
    settings = small(steps=3, log_every=20)
    run = ganzoo.Trainer(dataset=torch.ones(32, 2), out="out", **settings).fit()
    rows = run.history
    assert [row["step"] for row in rows] == [3]
    again = ganzoo.Trainer.resume("out", dataset=torch.ones(32, 2), progress=False).fit()
    assert again.history == rows
    assert (run.path / "curves.png").is_file()


def test_data_from_a_file_are_found_from_another_folder(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    np.save("squares.npy", pictures.numpy())
    run = ganzoo.Trainer(dataset="squares.npy", out="out", **small(steps=2)).fit()
    where = run.path.absolute()
    assert run.generator.config.training["dataset"]["path"] == "squares.npy"
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert ganzoo.Trainer.resume(where, steps=4, progress=False).step == 2


def test_no_two_streams_of_random_numbers_are_the_same(pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(dataset=pictures, **small(latent=16, batch_size=64))
    first = next(trainer.iterations())
    generator = trainer.generator
    assert not torch.equal(first.latent, draw_latents(generator.latent, 64, trainer.config.seed))


def test_a_mistake_in_a_file_names_the_file() -> None:
    Path("mine.yaml").write_text("loss: {name: hinge, margn: 3}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^mine\.yaml: Loss 'hinge' has no option 'margn'\."):
        ganzoo.Trainer(config="mine.yaml")
    Path("mine.yaml").write_text("loss: hing\n", encoding="utf-8")
    with pytest.raises(UnknownNameError, match=r"^mine\.yaml: Unknown loss 'hing'\."):
        ganzoo.Trainer(config="mine.yaml")
    with pytest.raises(ConfigError, match="^The training: steps cannot be 0"):
        Path("mine.yaml").write_text("loss: hinge\n", encoding="utf-8")
        ganzoo.Trainer(config="mine.yaml", steps=0)
    # What the file leaves open, and the caller gives, is no mistake of the file.
    Path("mine.yaml").write_text("recipe: dcgan-faces\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="^The training: steps cannot be 0"):
        ganzoo.Trainer(dataset="fashion-mnist-10k", config="mine.yaml", steps=0)


def test_a_value_range_must_be_possible(pictures: Tensor) -> None:
    with pytest.raises(ConfigError, match="A value range is"):
        ganzoo.Trainer(dataset=pictures, value_range=(1, -1), **small())
    with pytest.raises(ConfigError, match="'value_range' needs data with a known range"):
        ganzoo.Trainer(dataset=torch.randn(64, 2), value_range=(-1, 1), **small()).setup()


def test_a_checkpoint_of_your_own_loop_goes_on(pictures: Tensor) -> None:
    whole = ganzoo.Trainer(dataset=pictures, **small())
    for _ in whole.iterations():
        pass
    part = ganzoo.Trainer(dataset=pictures, **small())
    for step in part.iterations():
        if step.number == 2:
            saved = part.save_checkpoint("mine")
            break
    other = ganzoo.Trainer(dataset=pictures, **small())
    other.load_checkpoint(saved)
    assert [step.number for step in other.iterations()] == [3, 4, 5]
    assert_equal(weights(whole), weights(other))


def test_a_config_object_trains_again(pictures: Tensor) -> None:
    first = ganzoo.Trainer(dataset=pictures, out="one", **small())
    first.fit()
    second = ganzoo.Trainer(config=first.config, out="two", progress=False)
    second.fit()
    assert_equal(weights(first), weights(second))


def test_a_longer_total_trains_on(pictures: Tensor) -> None:
    ganzoo.Trainer(dataset=pictures, out="out", **small(steps=4)).fit()
    run = ganzoo.Trainer.resume("out", dataset=pictures, steps=9, progress=False).fit()
    assert [row["step"] for row in run.history] == [2, 4, 6, 8, 9]
    assert run.config.steps == 9
    # The row of step 9 was cut short by the end; a longer run has the whole one instead.
    longer = ganzoo.Trainer.resume("out", dataset=pictures, steps=12, progress=False).fit()
    whole = ganzoo.Trainer(dataset=pictures, out="whole", **small(steps=12)).fit()
    assert longer.history == whole.history


def test_resuming_asks_for_data_that_were_in_memory(pictures: Tensor) -> None:
    ganzoo.Trainer(dataset=pictures, out="out", **small(steps=2)).fit()
    with pytest.raises(DataError, match=r"pass it again: Trainer\.resume\(run, dataset=\.\.\.\)"):
        ganzoo.Trainer.resume("out", steps=4, progress=False)
    with pytest.raises(DataError, match="its fingerprint differs"):
        ganzoo.Trainer.resume("out", dataset=pictures + 1, steps=4, progress=False)


def test_resuming_refuses_what_does_not_fit(pictures: Tensor) -> None:
    ganzoo.Trainer(dataset=pictures, out="out", **small(steps=2)).fit()
    config = Path("out/config.yaml")
    text = config.read_text(encoding="utf-8")
    assert "- 24\n" in text
    config.write_text(text.replace("- 24\n", "- 25\n"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"does not fit the run's config\.yaml"):
        ganzoo.Trainer.resume("out", dataset=pictures, steps=4, progress=False)
    with pytest.raises(RunFolderError, match="There is no folder elsewhere"):
        ganzoo.Trainer.resume("elsewhere")
    Path("empty").mkdir()
    with pytest.raises(RunFolderError, match=r"empty is not a run: it has no config\.yaml"):
        ganzoo.Trainer.resume("empty")


# -- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"arch": "dcgn"}, UnknownNameError, "Unknown architecture 'dcgn'. Did you mean 'dcgan'?"),
        ({"loss": "hing"}, UnknownNameError, "Unknown loss 'hing'. Did you mean 'hinge'?"),
        ({"dataset": "minst"}, UnknownNameError, "Unknown dataset 'minst'. Did you mean 'mnist'?"),
        ({"g_optimizer": "adm"}, UnknownNameError, "Unknown optimizer 'adm'. Did you mean 'adam'?"),
        ({"schedule": "cosin"}, UnknownNameError, "Did you mean 'cosine'?"),
        ({"stepz": 4}, ConfigError, "Unknown setting 'stepz'. Did you mean 'steps'?"),
        ({"steps": 0}, ConfigError, "The training: steps cannot be 0"),
        ({"steps": 4, "epochs": 2}, ConfigError, "Give 'steps' or 'epochs', not both."),
        (
            {"loss": {"name": "hinge", "margn": 2}},
            ConfigError,
            "Loss 'hinge' has no option 'margn'. Did you mean 'margin'? Options: margin.",
        ),
        ({"precision": "fp8"}, ConfigError, "precision cannot be 'fp8'"),
        ({"device": "tpu"}, DeviceError, "'tpu' is not a device"),
        ({"latent": "big"}, ConfigError, "A latent is a size, a shape or a mapping"),
        ({"config": "nowhere.yaml"}, ConfigError, "The configuration nowhere.yaml cannot be read"),
    ],
)
def test_wrong_settings_are_named_at_once(
    settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        ganzoo.Trainer(**settings)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"batch_size": 97}, DataError, "has 96 samples, fewer than one batch of 97"),
        (
            {"arch": "dcgan", "size": 24},
            UnsupportedSampleError,
            "Architecture 'dcgan' cannot do a 24x24 greyscale image: height and width must be "
            "powers of two from 16 to 256; the nearest it can is 32x32.",
        ),
        ({"size": 8}, ConfigError, "resize_mode='resize'"),
        (
            {"conditional": True},
            DataError,
            "conditional=True needs labels, and dataset 'tensor' has none.",
        ),
    ],
)
def test_what_the_data_forbid_leaves_no_folder(
    settings: dict[str, Any], error: type[Exception], text: str, pictures: Tensor
) -> None:
    with pytest.raises(error) as caught:
        ganzoo.Trainer(dataset=pictures, **{**small(), **settings}).fit()
    assert text in str(caught.value)
    assert list(Path().iterdir()) == []


def test_labels_for_an_architecture_that_ignores_them(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganzoo.architectures.mlp.MLP.conditional", False)
    trainer = ganzoo.Trainer(dataset=(pictures, torch.arange(96) % 3), conditional=True, **small())
    with pytest.raises(ConfigError, match="needs an architecture that uses labels, and 'mlp'"):
        trainer.fit()


def test_a_folder_that_is_taken_is_refused_before_anything_is_loaded(pictures: Tensor) -> None:
    ganzoo.Trainer(dataset=pictures, out="out", **small(steps=1)).fit()
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    trainer = ganzoo.Trainer(dataset="mnist", out="out", **small())
    with pytest.raises(RunFolderError, match="out already holds a run. Continue it with"):
        trainer.fit()
    assert before == {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunFolderError, match="other already exists and is not an empty folder"):
        ganzoo.Trainer(dataset=pictures, out="other", **small()).fit()
    assert [path.name for path in Path("other").iterdir()] == ["notes.txt"]


def test_a_full_disk_is_one_sentence_and_spares_earlier_checkpoints(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    real, calls = safetensors.torch.save_file, []

    def full(tensors: Any, path: Any, **options: Any) -> None:
        calls.append(path)
        if "checkpoints" in str(path) and len(calls) > 2:
            raise OSError(28, "No space left on device")
        real(tensors, path, **options)

    trainer = ganzoo.Trainer(dataset=pictures, out="out", checkpoint_every=2, **small())
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(CheckpointError, match="No space left on device") as caught:
            trainer.fit()
    assert "\n" not in str(caught.value)
    left = [path.name for path in Path("out/checkpoints").iterdir()]
    assert left == ["step-00000002"]
    assert ganzoo.Trainer.resume("out", dataset=pictures, progress=False).step == 2


def test_numbers_that_are_no_longer_finite_stop_the_training(pictures: Tensor) -> None:
    settings = small(steps=40, log_every=5, checkpoint_every=1000)
    trainer = ganzoo.Trainer(
        dataset=pictures, loss="least-squares", g_optimizer="sgd", d_optimizer="sgd", **settings
    )
    trainer.setup()
    with torch.no_grad():
        next(trainer.game.discriminator.parameters()).fill_(float("inf"))
    with pytest.raises(DivergenceError, match=r"loss is not finite since step 1 \(noticed"):
        trainer.fit()


def test_a_joint_batch_through_batch_norm_is_refused(pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(dataset=pictures, joint_batch=True, **small("dcgan"))
    with pytest.raises(ConfigError, match="training is known to collapse"):
        trainer.setup()
    quiet = ganzoo.Trainer(dataset=pictures, joint_batch=True, **small("mlp"))
    quiet.setup()
    assert quiet.notices == []


def test_bf16_trains_and_leaves_float32_weights(pictures: Tensor) -> None:
    trainer = ganzoo.Trainer(dataset=pictures, **small("dcgan", precision="bf16"))
    run = trainer.fit()
    assert json.loads((run.path / "environment.json").read_text())["precision"] == "bf16"
    floating = [value for value in weights(trainer).values() if value.is_floating_point()]
    assert {value.dtype for value in floating} == {torch.float32}
    assert torch.isfinite(run.generator.sample(4, seed=0)).all()
