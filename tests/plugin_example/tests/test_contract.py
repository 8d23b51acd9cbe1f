"""The checks that ganzoo has for plug-ins, and one training with everything from here."""

import ganzoo_example
import pytest

from ganzoo import Trainer, architectures, datasets
from ganzoo.spec import LatentSpec, SampleSpec
from ganzoo.testing import check_architecture, check_dataset, check_loss


@pytest.mark.parametrize("classes", [None, ("cat", "dog", "bird")])
def test_architecture(classes):
    arch = architectures.create("tiny-conv", channels=4)
    check_architecture(arch, SampleSpec(shape=(3, 8, 12), classes=classes), LatentSpec(shape=(5,)))


def test_loss():
    check_loss("softplus-margin")


def test_dataset():
    check_dataset(datasets.create("checkerboard", size=8, count=10))


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
