"""The checks that ganzoo has for plug-ins, and one training with everything from here."""

import ganzoo_example
import pytest
import torch

from ganzoo import Callback, Trainer, architectures, datasets, trackers
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.testing import check_architecture, check_dataset, check_loss, check_tracker
from ganzoo.training.parts import collect


@pytest.mark.parametrize("classes", [None, ("cat", "dog", "bird")])
def test_architecture(classes):
    arch = architectures.create("tiny-conv", channels=4)
    check_architecture(arch, SampleSpec(shape=(3, 8, 12), classes=classes), LatentSpec(shape=(5,)))


@pytest.mark.parametrize("loss", ["softplus-margin", "latent-encoder"])
def test_loss(loss):
    check_loss(loss)


def test_dataset():
    check_dataset(datasets.create("checkerboard", size=8, count=10))


def test_tracker(tmp_path):
    check_tracker("number-table")
    tracker = trackers.create("number-table", digits=3)
    for step, value in ((0, 1.0), (20, 2.0)):  # interrupted, and continued from step 20
        log = tracker.open(tmp_path, {}, step)
        for later in (20, 40):
            log.scalars(step + later, {"d_loss": value / 3})
        log.finish()
    table = (tmp_path / "numbers.csv").read_text(encoding="utf-8").split()
    assert table == ["step,name,value", "20,d_loss,0.333", "40,d_loss,0.667", "60,d_loss,0.667"]


def test_training(tmp_path):
    run = Trainer(
        "tiny-conv",
        "checkerboard",
        loss={"name": "softplus-margin", "margin": 0.5},
        steps=2,
        batch_size=4,
        progress=False,
        out=tmp_path / "run",
    ).fit()
    assert run.generator.sample(3).shape == (3, 1, 16, 16)


METHODS = {
    "loss": {"name": "latent-encoder", "pace": 0.02},
    "penalties": [{"name": "sliding-penalty", "weight": 2.0, "every": 2}],
    "augmentation": {"name": "adaptive-fade", "target": 1.0},
}


def trainer(folder, **more):
    return Trainer(
        "tiny-conv",
        {"name": "checkerboard", "size": 8, "count": 24},
        **{**METHODS, "steps": 8, "batch_size": 4, "log_every": 3, "checkpoint_every": 2, **more},
        device="cpu",
        progress=False,
        out=folder,
    )


class End(Callback):
    """Ends a training as an error does."""

    def on_step(self, trainer, step):
        if trainer.step == 5:
            raise RuntimeError("the machine went down")


def assert_same(one, other):
    (tensors, values), (others, other_values) = collect(one.parts()), collect(other.parts())
    assert tensors.keys() == others.keys() and values == other_values
    assert [name for name in tensors if not torch.equal(tensors[name], others[name])] == []


def test_state_of_all_is_trained_and_saved(tmp_path):
    made = trainer(tmp_path / "run")
    made.setup()
    before = {name: value.clone() for name, value in collect(made.parts())[0].items()}
    run = made.fit()
    after = collect(made.parts())[0]
    for name in (
        "penalty-sliding-penalty.mean",
        "augmentation.probability",
        "loss.value",
        "encoder.1.weight",
        "encoder_ema.1.weight",
    ):
        assert not torch.equal(before[name], after[name]), name
    assert "encoder_optimizer.encoder.1.weight.exp_avg" in after
    row = run.history[-1]
    names = {"sliding-penalty", "running norm", "fade", "balance", "encoder_loss", "encoder_grad"}
    assert names <= row.keys()


@pytest.mark.parametrize("more", [{}, {"precision": "bf16"}, {"joint_batch": True}])
def test_resumed_to_the_bit(tmp_path, more):
    whole = trainer(tmp_path / "whole", **more)
    whole.fit()
    part = trainer(tmp_path / "part", **more, callbacks=[End()])
    with pytest.raises(RuntimeError, match="went down"):
        part.fit()
    resumed = Trainer.resume(tmp_path / "part", progress=False)
    assert resumed.step == 4
    resumed.fit()
    assert_same(whole, resumed)
    for name in ("metrics.jsonl", "generator/model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()


def test_the_weight_of_a_lazy_penalty_is_scaled(tmp_path):
    plain, lazy = (
        trainer(None, loss="softplus-margin", augmentation=None, steps=1, penalties=penalties)
        for penalties in (
            [{"name": "sliding-penalty", "weight": 6.0}],
            [{"name": "sliding-penalty", "weight": 2.0, "every": 3}],
        )
    )
    for made in (plain, lazy):
        list(made.iterations())
    assert_same(plain, lazy)


def test_version():
    assert architectures.get("tiny-conv").provider == f"ganzoo-example {ganzoo_example.__version__}"
