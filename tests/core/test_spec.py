from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import ConfigError


def test_sample_defaults() -> None:
    spec = SampleSpec(shape=(3, 4, 5))
    assert spec.kind == "image"
    assert spec.value_range == (-1.0, 1.0)
    assert spec.classes is None
    assert spec.channels == 3
    assert spec.size == (4, 5)
    assert spec.numel == 60


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("image", (7, 1, 9)), ("audio", (2, 100)), ("sequence", (26, 8)), ("vector", (5,))],
)
def test_every_kind_has_its_shape(kind, shape) -> None:
    spec = SampleSpec(kind=kind, shape=shape)
    assert spec.shape == shape
    assert spec.channels == shape[0]
    assert spec.numel == math.prod(shape)


@pytest.mark.parametrize(
    ("kind", "shape", "axes"),
    [
        ("image", (3, 4), "(channels, height, width)"),
        ("image", (1, 3, 4, 5), "(channels, height, width)"),
        ("audio", (3,), "(channels, length)"),
        ("sequence", (3, 4, 5), "(vocabulary, length)"),
        ("vector", (3, 4), "(dimensions,)"),
        ("vector", (), "(dimensions,)"),
    ],
)
def test_a_shape_that_does_not_fit_the_kind(kind, shape, axes) -> None:
    with pytest.raises(ConfigError) as caught:
        SampleSpec(kind=kind, shape=shape)
    assert str(caught.value) == f"A sample of kind '{kind}' has shape {axes}, not {shape}."


@pytest.mark.parametrize("value_range", [(1.0, 1.0), (1.0, -1.0)])
def test_a_value_range_ascends(value_range) -> None:
    with pytest.raises(ConfigError) as caught:
        SampleSpec(shape=(1, 2, 2), value_range=value_range)
    assert str(caught.value) == (
        f"A value range is (low, high) with low < high, not {value_range}."
    )


@pytest.mark.parametrize("value_range", [(-1e308, 1e308), (-3e38, 3e38), (1e39, 1.0000001e39)])
def test_a_value_range_fits_into_float32(value_range) -> None:
    with pytest.raises(ConfigError, match="wider than float32 can hold"):
        SampleSpec(shape=(1, 2, 2), value_range=value_range)
    with pytest.raises(ConfigError, match="wider than float32 can hold"):
        LatentSpec(distribution="uniform", low=value_range[0], high=value_range[1])


def test_no_classes_are_none() -> None:
    with pytest.raises(ConfigError, match="classes cannot be ()"):
        SampleSpec(shape=(1, 2, 2), classes=())


@pytest.mark.parametrize("options", [{"shape": (0, 2, 2)}, {"shape": (1, 2, 2), "colour": "red"}])
def test_wrong_sample_options(options) -> None:
    with pytest.raises(ConfigError, match="^The sample spec"):
        SampleSpec(**options)


def test_a_sample_spec_is_frozen() -> None:
    spec = SampleSpec(shape=(1, 2, 2))
    with pytest.raises(ValidationError, match="frozen"):
        spec.shape = (1, 3, 3)


def test_only_images_have_a_size() -> None:
    with pytest.raises(ConfigError) as caught:
        _ = SampleSpec(kind="vector", shape=(2,)).size
    assert str(caught.value) == (
        "Only images have a height and a width; this sample is vector of shape (2,)."
    )


def test_resized_changes_the_size_alone() -> None:
    spec = SampleSpec(shape=(3, 28, 28), value_range=(0.0, 1.0), classes=("a", "b"))
    assert spec.resized((32, 16)) == SampleSpec(
        shape=(3, 32, 16), value_range=(0.0, 1.0), classes=("a", "b")
    )
    assert spec.shape == (3, 28, 28)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (SampleSpec(shape=(1, 28, 20)), "28x20 greyscale image"),
        (SampleSpec(shape=(3, 8, 8)), "8x8 RGB image"),
        (SampleSpec(shape=(4, 8, 8)), "8x8 RGBA image"),
        (SampleSpec(shape=(2, 8, 8)), "8x8 2-channel image"),
        (SampleSpec(kind="audio", shape=(1, 100)), "audio of shape (1, 100)"),
        (SampleSpec(kind="sequence", shape=(26, 8)), "sequence of shape (26, 8)"),
    ],
)
def test_text(spec, text) -> None:
    assert str(spec) == text


@pytest.mark.parametrize(
    "spec",
    [
        SampleSpec(shape=(3, 4, 5), classes=("a", "b")),
        SampleSpec(kind="vector", shape=(2,), value_range=None),
    ],
)
def test_sample_spec_survives_json(spec) -> None:
    assert SampleSpec.model_validate_json(spec.model_dump_json()) == spec


# -- the latent -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (128, (128,)),
        ((4, 8, 8), (4, 8, 8)),
        ([4, 8], (4, 8)),
        ({"shape": [128]}, (128,)),
        ({"shape": 128}, (128,)),
        ({}, (100,)),
        (LatentSpec(shape=(7,)), (7,)),
    ],
)
def test_latent_forms(value, shape) -> None:
    latent = LatentSpec.model_validate(value)
    assert latent == LatentSpec(shape=shape)
    assert latent.numel == math.prod(shape)


@pytest.mark.parametrize(
    "value",
    [0, (), (4, 0), {"shape": (4,), "distribution": "cauchy"}, {"truncation": 0}, {"size": 4}, "x"],
)
def test_wrong_latents(value) -> None:
    with pytest.raises((ConfigError, ValidationError)):
        LatentSpec.model_validate(value)


def test_a_uniform_latent_ascends() -> None:
    with pytest.raises(ConfigError) as caught:
        LatentSpec(distribution="uniform", low=2.0, high=2.0)
    assert str(caught.value) == "A uniform latent needs low < high, not 2.0 and 2.0."


@pytest.mark.parametrize(("low", "high"), [(-1e300, 1e300), (-3e38, 3e38), (1e300, 2e300)])
def test_a_uniform_latent_is_no_wider_than_float32(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=r"wider than float32 can hold; bring low and high near"):
        LatentSpec(distribution="uniform", low=low, high=high)
    assert LatentSpec(distribution="uniform", low=-1.7e38, high=1.7e38).sample(4).isfinite().all()


LATENTS = [
    LatentSpec(shape=(3,)),
    LatentSpec(shape=(3, 2), distribution="uniform", low=-0.5, high=2.0),
    LatentSpec(shape=(3,), distribution="truncated", truncation=0.7),
]


@pytest.mark.parametrize("latent", LATENTS, ids=lambda latent: latent.distribution)
def test_latents_follow_their_source(latent) -> None:
    def draw(seed: int) -> torch.Tensor:
        return latent.sample(5, generator=torch.Generator().manual_seed(seed))

    before = torch.get_rng_state()
    drawn = draw(3)
    assert drawn.shape == (5, *latent.shape)
    assert drawn.dtype == torch.float32
    assert drawn.device.type == "cpu"
    assert torch.equal(drawn, draw(3))
    assert not torch.equal(drawn, draw(4))
    assert torch.equal(torch.get_rng_state(), before)  # the global source is left alone


@pytest.mark.parametrize("latent", LATENTS, ids=lambda latent: latent.distribution)
def test_without_a_source_latents_come_from_the_global_one(latent) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = latent.sample(4)
        torch.manual_seed(1)
        assert torch.equal(latent.sample(4), first)
        assert not torch.equal(latent.sample(4), first)


def cdf(x: torch.Tensor) -> torch.Tensor:
    return (1 + torch.erf(x / math.sqrt(2))) / 2


@pytest.mark.parametrize(
    ("latent", "distribution"),
    [
        (LatentSpec(shape=(4,)), cdf),
        (LATENTS[1], lambda x: (x + 0.5) / 2.5),
        (
            LATENTS[2],
            lambda x: (
                (cdf(x) - cdf(torch.tensor(-0.7, dtype=torch.float64)))
                / (
                    cdf(torch.tensor(0.7, dtype=torch.float64))
                    - cdf(torch.tensor(-0.7, dtype=torch.float64))
                )
            ),
        ),
    ],
    ids=["normal", "uniform", "truncated"],
)
def test_latents_have_their_distribution(latent, distribution) -> None:
    drawn = latent.sample(5000, generator=torch.Generator().manual_seed(0)).double().flatten()
    expected = distribution(drawn.sort().values)
    found = (torch.arange(len(drawn), dtype=torch.float64) + 0.5) / len(drawn)
    # Kolmogorov-Smirnov: beyond 1.95 / sqrt(n) once in a thousand seeds, and the seed is fixed.
    assert (expected - found).abs().max() < 1.95 / math.sqrt(len(drawn))


def test_bounded_latents_stay_within_their_bounds() -> None:
    for latent, low, high in ((LATENTS[1], -0.5, 2.0), (LATENTS[2], -0.7, 0.7)):
        drawn = latent.sample(2000, generator=torch.Generator().manual_seed(0))
        assert low <= drawn.min() and drawn.max() <= high
        # Redistributed, not clipped: almost nothing lies on the bounds themselves.
        assert ((drawn == low) | (drawn == high)).sum() <= 2


def test_no_latents() -> None:
    assert LatentSpec(shape=(3, 2)).sample(0).shape == (0, 3, 2)
