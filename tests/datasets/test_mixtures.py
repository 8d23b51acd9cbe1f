from __future__ import annotations

import math

import pytest
import torch

from ganzoo.datasets.mixtures import Gaussian1D, Grid, Ring, Spiral, ThreeGaussians
from ganzoo.datasets.samples import Samples
from ganzoo.errors import ConfigError

ALL = [Gaussian1D, ThreeGaussians, Ring, Grid, Spiral]


@pytest.fixture(scope="module")
def loaded() -> dict[type, Samples]:
    return {cls: cls().load() for cls in ALL}


@pytest.mark.parametrize("cls", ALL)
def test_samples(loaded, cls) -> None:
    samples = loaded[cls]
    dimensions = 1 if cls is Gaussian1D else 2
    assert samples.data.shape == (100_000, dimensions)
    assert samples.data.dtype == torch.float32
    assert samples.spec.kind == "vector" and samples.spec.shape == (dimensions,)
    assert samples.spec.value_range is None and samples.stored_range is None
    assert cls().license == "CC0-1.0"


@pytest.mark.parametrize("cls", ALL)
def test_the_seed_alone_decides_the_points(loaded, cls) -> None:
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, other = cls().load(), cls(seed=1).load()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again.data, loaded[cls].data)
    assert not torch.equal(other.data, loaded[cls].data)


@pytest.mark.parametrize("cls", ALL)
def test_count(cls) -> None:
    assert len(cls(count=1).load()) == 1
    with pytest.raises(ConfigError, match="count cannot be 0"):
        cls(count=0)


@pytest.mark.parametrize(
    ("cls", "modes"), [(ThreeGaussians, 3), (Ring, 8), (Grid, 25), (Spiral, 2)]
)
def test_labels_say_the_mode(loaded, cls, modes) -> None:
    samples = loaded[cls]
    assert samples.spec.classes == tuple(f"mode {mode}" for mode in range(modes))
    assert samples.labels is not None and samples.labels.dtype == torch.int64
    shares = samples.labels.bincount(minlength=modes) / len(samples)
    assert shares.tolist() == pytest.approx([1 / modes] * modes, abs=0.005)


@pytest.mark.parametrize("dataset", [Gaussian1D(count=9), Ring(count=9, modes=1)])
def test_one_mode_needs_no_labels(dataset) -> None:
    samples = dataset.load()
    assert samples.labels is None and samples.spec.classes is None


@pytest.mark.parametrize("cls", [ThreeGaussians, Ring, Grid])
def test_points_lie_around_the_centre_of_their_label(loaded, cls) -> None:
    samples = loaded[cls]
    mixture = samples.mixture
    assert mixture is not None and samples.labels is not None
    assert mixture == cls().mixture
    away = samples.data - torch.tensor(mixture.centres)[samples.labels]
    assert away.mean(0).tolist() == pytest.approx([0, 0], abs=0.02 * mixture.sd)
    assert away.std(0).tolist() == pytest.approx([mixture.sd] * 2, rel=0.02)
    found = mixture.coverage(samples.data)
    assert found.modes == len(mixture.centres)
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)


def test_gaussian(loaded) -> None:
    data = loaded[Gaussian1D].data
    assert (data.mean().item(), data.std().item()) == pytest.approx((5, 1), abs=0.02)
    other = Gaussian1D(mean=-2, sd=0.1, count=10_000).load()
    assert (other.data.mean().item(), other.data.std().item()) == pytest.approx((-2, 0.1), abs=0.01)
    assert other.mixture is not None
    assert (other.mixture.centres, other.mixture.sd) == (((-2,),), 0.1)


def test_three_gaussians() -> None:
    mixture = ThreeGaussians().mixture
    assert (mixture.centres, mixture.sd) == (((-5, -5), (5, 5), (-5, 5)), 1)
    assert ThreeGaussians(sd=0.5).mixture.sd == 0.5


def test_ring() -> None:
    mixture = Ring(modes=4, radius=2, sd=0.1).mixture
    assert mixture.sd == 0.1
    expected = [(2, 0), (0, 2), (-2, 0), (0, -2)]
    for centre, place in zip(mixture.centres, expected, strict=True):
        assert centre == pytest.approx(place)
    eight = Ring().mixture
    assert len(eight.centres) == 8 and eight.sd == 0.01
    assert [math.hypot(*centre) for centre in eight.centres] == pytest.approx([1] * 8)


def test_grid() -> None:
    axis = (-4, -2, 0, 2, 4)
    assert Grid().mixture.centres == tuple((x, y) for y in axis for x in axis)
    assert Grid().mixture.sd == 0.05
    small = Grid(side=2, spacing=3, sd=0.1).mixture
    assert small.centres == ((-1.5, -1.5), (1.5, -1.5), (-1.5, 1.5), (1.5, 1.5))


def test_spiral(loaded) -> None:
    assert loaded[Spiral].mixture is None
    samples = Spiral(arms=3, turns=1.25, noise=0, count=20_000).load()
    assert samples.labels is not None
    radius = samples.data.norm(dim=1)
    assert radius.max().item() <= 1.0001
    angle = 2 * math.pi * (1.25 * radius + samples.labels / 3)
    expected = torch.stack((angle.cos(), angle.sin()), dim=1) * radius[:, None]
    assert torch.allclose(samples.data, expected, atol=1e-5)
    # Evenly over the disc: half of the points lie within radius sqrt(1/2).
    assert (radius**2 < 0.5).float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_noise_of_the_spiral() -> None:
    plain, noisy = (Spiral(noise=noise, count=20_000).load() for noise in (0, 0.05))
    assert torch.equal(plain.labels, noisy.labels)
    assert (noisy.data - plain.data).std().item() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(
    ("cls", "option", "value"),
    [
        (Gaussian1D, "sd", 0),
        (ThreeGaussians, "sd", -1),
        (Ring, "modes", 0),
        (Ring, "radius", 0),
        (Ring, "sd", 0),
        (Grid, "side", 0),
        (Grid, "spacing", 0),
        (Grid, "sd", 0),
        (Spiral, "arms", 0),
        (Spiral, "turns", 0),
        (Spiral, "noise", -0.1),
        (Spiral, "seed", -1),
    ],
)
def test_wrong_options(cls, option, value) -> None:
    with pytest.raises(ConfigError, match=f"{option} cannot be {value}"):
        cls(**{option: value})
