"""The recipes of points learn what they should. The longer half: ``pytest -m slow``."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ganzoo


def trained(recipe: str, seed: int, **settings: Any) -> ganzoo.Trainer:
    trainer = ganzoo.Trainer.from_recipe(
        recipe, seed=seed, sample_every=0, checkpoint_every=0, progress=False, **settings
    )
    trainer.fit()
    return trainer


def coverage(trainer: ganzoo.Trainer) -> Any:
    mixture = trainer.visualizer.mixture
    assert mixture is not None
    return mixture.coverage(trainer.generator.sample(10_000, seed=1, batch_size=10_000))


def test_the_cure_covers_all_modes_early() -> None:
    found = coverage(trained("three-gaussians-2d-cured", 0, steps=1500))
    assert found.modes == 3 and found.rarest > 0.2 and found.high_quality > 0.9


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_the_cure_covers_all_modes(seed: int) -> None:
    found = coverage(trained("three-gaussians-2d-cured", seed))
    print(seed, found)
    assert found.modes == 3 and found.rarest > 0.15 and found.high_quality >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("recipe", "modes", "least", "most"),
    [
        ("ring-pac", 8, 0.98, 0.04),
        ("grid-pac", 25, 0.95, 0.04),
        ("hundred-gaussians", 100, 0.95, 0.04),
    ],
)
def test_narrow_modes_are_found(
    recipe: str, modes: int, least: float, most: float, seed: int
) -> None:
    trainer = trained(recipe, seed)
    scores = ganzoo.evaluate(trainer.generator, metrics="modes", num_fake=2500, seed=1)
    found = scores["modes"]
    print(recipe, seed, found.value, found.extra)
    assert found.value == modes
    assert found.extra["high_quality"] >= least and found.extra["reverse_kl"] <= most


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_the_source_collapses(seed: int) -> None:
    found = coverage(trained("three-gaussians-2d", seed, steps=2000))
    print(seed, found)
    assert found.modes == 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_normal_distribution_is_learnt() -> None:
    samples = trained("gaussian-1d", 0).generator.sample(10_000, seed=1, batch_size=10_000)
    print(samples.mean(), samples.std())
    assert samples.mean().item() == pytest.approx(5, rel=0.1)
    assert samples.std().item() == pytest.approx(1, rel=0.1)
    assert torch.isfinite(samples).all()
