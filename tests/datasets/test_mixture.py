from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from ganzoo.datasets.mixture import Coverage, Mixture, reached
from ganzoo.errors import ConfigError

THREE = Mixture(centres=((-5, -5), (5, 5), (-5, 5)), sd=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_is_torch_free() -> None:
    program = "import sys, ganzoo.datasets.mixture; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_it_round_trips() -> None:
    assert Mixture(**THREE.model_dump(mode="json")) == THREE
    assert THREE.dimensions == 2


@pytest.mark.parametrize("centres", [(), ((),), ((1.0,), (1.0, 2.0))])
def test_centres_are_points_of_one_space(centres) -> None:
    with pytest.raises(ConfigError) as caught:
        Mixture(centres=centres, sd=1)
    assert str(caught.value) == (
        f"A mixture needs at least one centre, and all with the same number of coordinates, not "
        f"{centres}."
    )


@pytest.mark.parametrize("sd", [0, -1, float("inf")])
def test_sd_is_positive(sd) -> None:
    with pytest.raises(ConfigError, match="^The mixture: sd cannot be "):
        Mixture(centres=((0.0,),), sd=sd)


# -- drawing --------------------------------------------------------------------------------------


def test_points_are_around_the_centre_of_their_label() -> None:
    points, labels = Mixture(centres=((-5, -5), (5, 5), (-5, 5)), sd=0.5).sample(
        30_000, generator()
    )
    assert (points.shape, points.dtype) == ((30_000, 2), torch.float32)
    assert (labels.shape, labels.dtype) == ((30_000,), torch.int64)
    for label, centre in enumerate(THREE.centres):
        own = points[labels == label]
        assert len(own) / 30_000 == pytest.approx(1 / 3, abs=0.01)
        assert own.mean(0).tolist() == pytest.approx(centre, abs=0.02)
        assert own.std(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
        assert own.T.cov()[0, 1].item() == pytest.approx(0, abs=0.01)


def test_the_generator_decides_the_points() -> None:
    first, again, other = (THREE.sample(50, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


# -- density --------------------------------------------------------------------------------------


def test_density_by_hand() -> None:
    found = Mixture(centres=((0.0,), (4.0,)), sd=2).density(torch.tensor([[0.0], [2.0]]))
    peak = 1 / (2 * math.sqrt(2 * math.pi))
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(
        [peak * (1 + math.exp(-2)) / 2, peak * math.exp(-0.5)], rel=1e-12
    )


@pytest.mark.parametrize("sd", [0.3, 1.0])
def test_density_integrates_to_one(sd) -> None:
    axis = torch.linspace(-10, 10, 401)
    points = torch.cartesian_prod(axis, axis)
    mixture = Mixture(centres=THREE.centres, sd=sd)
    assert mixture.density(points).sum().item() * 0.05**2 == pytest.approx(1, abs=1e-6)


def test_density_far_away_is_zero() -> None:
    assert THREE.density(torch.tensor([[1e6, 0.0]])).tolist() == [0.0]


# -- coverage -------------------------------------------------------------------------------------


def test_coverage_by_hand() -> None:
    samples = torch.tensor(
        [[-5.0, -5.0], [-5.0, -2.01], [-5.0, -1.9], [5.0, 5.0], [0.0, 0.0], [-7.0, -7.0]]
    )
    found = THREE.coverage(samples)
    assert found == Coverage(modes=2, total=3, high_quality=4 / 6, shares=(0.75, 0.25, 0.0))
    assert found.rarest == 0
    assert found.due == 2
    assert str(found) == (
        "2 of 3 modes, 2 with a quarter of their due, 66.7% high quality, rarest mode 0.0%"
    )


def test_the_rarest_mode() -> None:
    samples = torch.tensor(THREE.centres).repeat_interleave(torch.tensor([5, 3, 2]), dim=0)
    found = THREE.coverage(samples)
    assert found == Coverage(modes=3, total=3, high_quality=1.0, shares=(0.5, 0.3, 0.2))
    assert found.rarest == 0.2


@pytest.mark.parametrize(("count", "due"), [(24, 1), (25, 2), (26, 2)])
def test_a_quarter_of_the_due_is_of_all_samples(count, due) -> None:
    """A quarter of a third of 300 samples is 25, of which those that are near no mode are some."""
    samples = torch.cat(
        [
            torch.tensor([[5.0, 5.0]]).expand(count, 2),
            torch.tensor([[-5.0, 5.0]]).expand(150, 2),
            torch.tensor([[float("nan"), 0.0]]).expand(50, 2),
            torch.tensor([[50.0, 50.0]]).expand(100 - count, 2),
        ]
    )
    found = THREE.coverage(samples)
    assert (found.modes, found.due) == (2, due)
    assert found.high_quality == (150 + count) / 300
    assert "1 with a quarter of its due" in str(found) or due == 2


def test_samples_that_lie_anywhere_have_their_due_nowhere() -> None:
    places = [2.0 * place - 9 for place in range(10)]
    mixture = Mixture(centres=tuple((x, y) for y in places for x in places), sd=0.05)
    cloud = 20 * torch.rand(10_000, 2, generator=generator()) - 10
    found = mixture.coverage(cloud)
    squares = (cloud[:, None].double() - torch.tensor(mixture.centres)).square().sum(2)
    near = (squares <= 0.15**2).sum(0)
    assert found.modes == int((near > 0).sum()) > 80
    assert found.due == int((near >= 25).sum()) == 0
    assert found.high_quality == pytest.approx(math.pi * 0.15**2 / 4, rel=0.2)
    own = mixture.coverage(mixture.sample(2500, generator())[0])
    assert (own.modes, own.due) == (100, 100)


def test_the_only_mode() -> None:
    found = Mixture(centres=((0.0,),), sd=1).coverage(torch.tensor([[0.5]] + [[9.0]] * 4))
    assert (found.modes, found.due, found.shares) == (1, 0, (1.0,))


def test_reached_counts_at_least_one_sample() -> None:
    assert reached([0.0, 0.001, 0.999], [0.2, 0.5, 0.3], 0) == 2
    assert reached([0.05, 0.1, 0.85], [0.2, 0.5, 0.3], 0.25) == 2
    assert reached([0.05, 0.125, 0.825], [0.2, 0.5, 0.3], 0.25) == 3
    assert reached([0.0, 1.0], [0.0, 1.0], 0.25) == 1


def test_a_sample_counts_for_the_nearest_centre_alone() -> None:
    near = Mixture(centres=((0.0,), (1.0,)), sd=1)
    assert near.coverage(torch.tensor([[0.4], [0.3]])).shares == (1.0, 0.0)


def test_what_is_not_finite_is_not_good() -> None:
    nan, inf = float("nan"), float("inf")
    samples = torch.tensor([[nan, nan], [nan, 5.0], [inf, 5.0], [-inf, inf], [5.0, 5.0]])
    assert THREE.coverage(samples) == Coverage(1, 3, 0.2, (0.0, 1.0, 0.0))
    assert THREE.coverage(samples[:4]) == Coverage(0, 3, 0.0, (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("centres", "expected"),
    [
        (((0.0,),), 0.9973),
        (((0.0, 0.0), (3.0, 3.0)), 1 - math.exp(-4.5)),
        (((0.0, 0.0, 0.0),), 0.9707),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_quality_of_the_mixture_itself(centres, expected, shift) -> None:
    # Far from the origin, distances by matrix products would lose the narrow modes.
    centres = tuple(tuple(value + shift for value in centre) for centre in centres)
    mixture = Mixture(centres=centres, sd=0.05)
    points, labels = mixture.sample(100_000, generator())
    found = mixture.coverage(points)
    assert found.high_quality == pytest.approx(expected, abs=0.002)
    assert found.shares == pytest.approx((labels.bincount() / len(labels)).tolist(), abs=0.001)


def test_any_float_with_gradients_will_do() -> None:
    samples = torch.tensor([[5.0, 5.0]], dtype=torch.bfloat16, requires_grad=True)
    assert THREE.coverage(samples).high_quality == 1


def test_no_samples() -> None:
    with pytest.raises(ConfigError) as caught:
        THREE.coverage(torch.empty(0, 2))
    assert str(caught.value) == "Mode coverage needs at least one sample, and there are none."


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 2, 1)])
@pytest.mark.parametrize("method", ["coverage", "density"])
def test_samples_of_another_shape(method, shape) -> None:
    with pytest.raises(ConfigError) as caught:
        getattr(THREE, method)(torch.zeros(shape))
    assert str(caught.value) == (
        f"The mixture has points of shape (2,), not {shape[1:]}; give a tensor (N, 2)."
    )
