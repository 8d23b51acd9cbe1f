"""The checks that ganzoo has for plug-ins, and one training with everything from here."""

import ganzoo_example
import pytest

from ganzoo import Trainer, architectures, datasets, trackers
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.testing import check_architecture, check_dataset, check_loss, check_tracker


@pytest.mark.parametrize("classes", [None, ("cat", "dog", "bird")])
def test_architecture(classes):
    arch = architectures.create("tiny-conv", channels=4)
    check_architecture(arch, SampleSpec(shape=(3, 8, 12), classes=classes), LatentSpec(shape=(5,)))


def test_loss():
    check_loss("softplus-margin")


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


def test_version():
    assert architectures.get("tiny-conv").provider == f"ganzoo-example {ganzoo_example.__version__}"
