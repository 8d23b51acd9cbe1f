from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from folders import idx

import ganzoo
from ganzoo import datasets
from ganzoo.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An MNIST of 20 training and 10 test images, whose pixels tell which image it is."""
    raw = tmp_path / "data/MNIST/raw"
    raw.mkdir(parents=True)
    for part, first, count in (("train", 0, 20), ("t10k", 100, 10)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:] = np.arange(first, first + count)[:, None, None]
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path / "data"


def stacks(root: Path, **options: object) -> datasets.Samples:
    return datasets.create("stacked-mnist", root=root, download=False, **options).load()


def test_each_channel_is_a_digit_and_the_label_is_all_three(root: Path) -> None:
    samples = stacks(root, count=2000)
    assert samples.data.shape == (2000, 3, 28, 28) and samples.data.dtype == torch.uint8
    assert samples.data.is_contiguous()
    assert samples.spec.shape == (3, 28, 28) and samples.spec.value_range == (-1, 1)
    which = samples.data[:, :, 0, 0]
    assert torch.equal(which[:, :, None, None].expand(-1, -1, 28, 28), samples.data)
    assert set(which.flatten().tolist()) == set(range(20))
    assert samples.labels is not None and samples.spec.classes is not None
    digits = which % 10
    for stack, label in zip(digits.tolist(), samples.labels.tolist(), strict=True):
        assert samples.spec.classes[label] == "".join(map(str, stack))
    assert len(samples.spec.classes) == len(set(samples.spec.classes)) == 1000


def test_channels_are_drawn_evenly_and_apart_from_each_other(root: Path) -> None:
    which = stacks(root, count=40_000).data[:, :, 0, 0].long()
    for channel in range(3):
        counts = torch.bincount(which[:, channel], minlength=20).double()
        assert ((counts - 2000).square() / 2000).sum() < 50  # chi square, 19 degrees of freedom
    for one, other in ((0, 1), (0, 2), (1, 2)):
        pairs = torch.bincount(20 * which[:, one] + which[:, other], minlength=400).double()
        assert ((pairs - 100).square() / 100).sum() < 550  # 399 degrees of freedom


def test_the_splits_and_their_numbers(root: Path) -> None:
    train, test = (stacks(root, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (128_000, 26_000)
    assert int(train.data.max()) == 19 and int(test.data.min()) == 100
    dataset = datasets.create("stacked-mnist", root=root).replace(split="test")
    assert len(dataset.load()) == 26_000  # as evaluating on the other split has it


def test_the_seed_alone_decides_the_stacks(root: Path) -> None:
    first = stacks(root, count=200)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    again = stacks(root, count=200)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.data, again.data)
    assert not torch.equal(first.data, stacks(root, count=200, seed=1).data)
    # The same on every machine.
    golden = [[6, 10, 0], [3, 7, 15], [18, 17, 6], [12, 5, 14]]
    assert first.data[:4, :, 0, 0].tolist() == golden


def test_what_is_not_there_is_named(tmp_path: Path, root: Path) -> None:
    with pytest.raises(DataError, match="^The dataset 'stacked-mnist' is not in .*MNIST/raw"):
        stacks(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="count"):
        stacks(root, count=0)


def test_a_generator_learns_from_them_and_is_evaluated_on_them(root: Path) -> None:
    options = {"name": "stacked-mnist", "root": str(root), "count": 64}
    arch = {"name": "dcgan", "channels": 4}
    run = ganzoo.Trainer(arch, options, steps=1, batch_size=16, progress=False).fit()
    assert run.generator.spec.shape == (3, 28, 28)
    (score,) = ganzoo.evaluate(run.path, metrics="swd", num_fake=64, real_split="test").values()
    assert score.protocol["real"]["split"] == "test"
