"""Trainings on some of the samples, and what takes back a recipe's components."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ganzoo
from ganzoo.config import resolve
from ganzoo.errors import ConfigError, DataError

DATA = torch.arange(200.0).reshape(100, 2) / 200


def trainer(**more: Any) -> ganzoo.Trainer:
    settings = {"steps": 2, "batch_size": 4, **more}
    return ganzoo.Trainer(
        {"name": "mlp", "hidden": [4]},
        settings.pop("dataset", DATA),
        progress=False,
        device="cpu",
        **settings,
    )


def test_always_the_same_samples_whatever_the_seed() -> None:
    made = [trainer(num_samples=10, seed=seed) for seed in (0, 1)]
    for each in made:
        each.setup()
    one, other = (each.loader.data for each in made)
    assert one.shape == (10, 2) and torch.equal(one, other)
    assert {tuple(row) for row in one.tolist()} < {tuple(row) for row in DATA.tolist()}
    few = trainer(num_samples=4)
    few.setup()
    assert torch.equal(few.loader.data, one[:4])  # fewer are the first of more


def test_labels_follow() -> None:
    labels = torch.arange(100) // 50
    made = trainer(dataset=(DATA, labels), num_samples=20, conditional=True)
    made.setup()
    wanted = (made.loader.data[:, 0] >= 0.5).long()
    assert torch.equal(made.loader.labels, wanted)


def test_an_epoch_is_as_long_as_the_samples() -> None:
    made = trainer(num_samples=12, steps=None, epochs=2)
    made.setup()
    assert made.total_steps == 6


def test_more_than_there_are() -> None:
    with pytest.raises(DataError, match=r"100 samples, fewer than the 101 .* at most 100"):
        trainer(num_samples=101).setup()
    with pytest.raises(ConfigError, match="num_samples cannot be 0"):
        trainer(num_samples=0)


def test_samples_that_are_read_while_training() -> None:
    data = torch.utils.data.TensorDataset(torch.rand(20, 3, 16, 16))
    with pytest.raises(ConfigError, match="Leave workers out"):
        ganzoo.Trainer(
            {"name": "dcgan", "channels": 4}, data, workers=0, num_samples=8, progress=False
        ).setup()


@pytest.mark.parametrize("none", ["none", None])
def test_none_takes_back_what_a_recipe_adds(none: Any) -> None:
    recipe = {"recipe": "few-shot-fashion"}
    assert resolve(recipe).augmentation is not None
    assert resolve(recipe, {"augmentation": none}).augmentation is None


def test_none_takes_back_penalties() -> None:
    lower = {"penalties": "r1,r2"}
    assert len(resolve(lower).penalties) == 2
    for none in ("none", (), []):
        assert resolve(lower, {"penalties": none}).penalties == ()
