from __future__ import annotations

import numpy as np
import pytest
import torch

import ganzoo
from ganzoo import metrics
from ganzoo.core.spec import SampleSpec
from ganzoo.errors import ConfigError, DataError
from ganzoo.metrics import neighbours
from ganzoo.metrics.inputs import MetricInputs
from ganzoo.showing import pictures

FOUR = ["precision", "recall", "density", "coverage"]
# The package prdc 0.2 with k = 5, torch-fidelity 0.4 with k = 3.
GOLDEN_5 = {"precision": 0.8783333333333333, "recall": 0.986, "density": 0.693, "coverage": 0.942}
GOLDEN_3 = {"precision": 461 / 600, "recall": 482 / 500}


def score(name, real, fake, **options):
    return metrics.create(name, **options).score(real, fake).value


@pytest.mark.parametrize("name", FOUR)
def test_golden(name, real, fake, gather):
    parts = gather(real), gather(fake)
    assert score(name, *parts, neighbours=5) == pytest.approx(GOLDEN_5[name], rel=1e-12)
    if name in GOLDEN_3:
        assert score(name, *parts) == pytest.approx(GOLDEN_3[name], rel=1e-12)


def plain(real, fake, k):
    """The four formulas, straight from the papers."""

    def apart(x, y):
        return np.sqrt(((x[:, None] - y[None]) ** 2).sum(2))

    x, y = real.double().numpy(), fake.double().numpy()
    reach_x = np.sort(apart(x, x), axis=1)[:, k]
    reach_y = np.sort(apart(y, y), axis=1)[:, k]
    between = apart(x, y)
    return {
        "precision": (between <= reach_x[:, None]).any(0).mean(),
        "recall": (between <= reach_y[None]).any(1).mean(),
        "density": (between < reach_x[:, None]).sum(0).mean() / k,
        "coverage": (between.min(1) < reach_x).mean(),
    }


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("blocks", [(1024, 4096), (7, 13), (1, 1000)])
def test_the_formulas_in_blocks(draw, gather, monkeypatch, k, blocks):
    monkeypatch.setattr(neighbours, "_ROWS", blocks[0])
    monkeypatch.setattr(neighbours, "_COLUMNS", blocks[1])
    x, y = draw(60, seed=1), draw(50, seed=2, shift=0.05, scale=1.2)
    parts = gather(x), gather(y)
    for name, wanted in plain(x, y, k).items():
        assert score(name, *parts, neighbours=k) == pytest.approx(wanted, rel=1e-12), name


def test_far_from_the_origin(draw, gather):
    """Where |x|^2 - 2xy + |y|^2 cancels."""
    x, y = draw(60, seed=1) + 1000, draw(50, seed=2, shift=0.05, scale=1.2) + 1000
    parts = gather(x), gather(y)
    for name, wanted in plain(x, y, 3).items():
        assert score(name, *parts, neighbours=3) == pytest.approx(wanted, rel=1e-12), name


@pytest.mark.parametrize("spread", [1e-3, 1e-2])
def test_an_offset_that_all_share_changes_nothing(gather, spread):
    """Distances of 1e-3 around 1,000, which vanish beside the squares of float64."""
    source = torch.Generator().manual_seed(0)
    # Steps that float32 can hold at 1,000, so that the features are the same, but for the offset.
    step = 2.0**-14
    x, y = ((torch.randn(200, 8, generator=source) * spread / step).round() * step for _ in "xy")
    y[0], y[1] = x[0], x[0] + 16 * step
    near, far = ([gather(side + offset) for side in (x, y)] for offset in (0.0, 1000.0))
    for name in FOUR:
        assert (
            score(name, *far)
            == score(name, *near)
            == plain(x, y, 5 if name in FOUR[2:] else 3)[name]
        )
    results = [metrics.create("nearest-neighbours").score(*parts) for parts in (near, far)]
    assert results[1].value == pytest.approx(results[0].value, rel=1e-6)
    closest = [[pair["fake"] for pair in result.extra["closest"]] for result in results]
    assert closest[0] == closest[1] and closest[0][0] == 0
    assert results[1].extra["closest"][0]["ratio"] == 0


def test_generated_ones_that_are_far_away_hide_no_distance(draw, gather):
    """What is subtracted is the mean of the reals, whatever a generator makes."""
    x, y = draw(60, seed=1), draw(50, seed=2, shift=0.05, scale=1.2)
    y[25:] += 1e7
    for name, wanted in plain(x, y, 3).items():
        assert score(name, gather(x), gather(y), neighbours=3) == pytest.approx(wanted), name


def test_copies(real, gather):
    parts = gather(real), gather(real.clone())
    assert [score(name, *parts) for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    for name, wanted in plain(real[:80], real[:80], 5).items():
        parts = gather(real[:80]), gather(real[:80])
        assert score(name, *parts, neighbours=5) == pytest.approx(wanted, rel=1e-12), name


def test_one_picture_only(real, gather):
    """A collapsed generator: its balls have no size."""
    parts = gather(real), gather(real[3:4].repeat(50, 1))
    assert score("precision", *parts) == 1
    assert score("recall", *parts) == pytest.approx(1 / len(real))
    parts = gather(real), gather(real[3:4].repeat(50, 1) + 100)
    assert [score(name, *parts) for name in FOUR] == [0, 0, 0, 0]


def test_no_more_pairs_are_named_than_a_file_of_scores_can_hold():
    assert metrics.create("nearest-neighbours", shown=1000).shown == 1000
    with pytest.raises(ConfigError, match="shown"):
        metrics.create("nearest-neighbours", shown=1001)


def test_nearest_excludes_the_point_itself(draw):
    x = torch.cat((draw(40, seed=1), draw(40, seed=1)[:2]))
    squares, which = neighbours.nearest(x, None, 3, x.double().mean(0))
    assert squares.shape == which.shape == (42, 3)
    assert (which != torch.arange(42)[:, None]).all()
    assert which[0, 0] == 40 and which[41, 0] == 1 and squares[0, 0] == 0
    assert (squares.diff(dim=1) >= 0).all()
    exact = (x[:, None].double() - x[None].double()).square().sum(2)
    torch.testing.assert_close(exact.gather(1, which), squares, rtol=1e-9, atol=1e-12)


def test_radii_are_computed_once(real, fake, gather, monkeypatch):
    parts = gather(real), gather(fake)
    wanted = [score(name, *parts) for name in FOUR]
    monkeypatch.setattr(neighbours, "nearest", None)
    assert [score(name, *parts) for name in FOUR[:3]] == wanted[:3]


def test_too_few(draw, gather):
    with pytest.raises(DataError) as caught:
        score("precision", gather(draw(3, 1)), gather(draw(9, 2)))
    assert str(caught.value) == (
        "The metric 'precision' needs at least 4 real samples, not 3: give more, or set "
        "neighbours lower."
    )
    score("precision", gather(draw(4, 1)), gather(draw(9, 2)))


def test_too_few_are_refused_before_anything_is_seen(images):
    def never(samples):
        raise AssertionError("features were taken")

    metric = {"name": "coverage", "neighbours": 10, "extractor": never}
    for reals, fakes, whose in ((10, 11, "real"), (11, 10, "generated")):
        with pytest.raises(DataError) as caught:
            ganzoo.evaluate(images(fakes, seed=1), images(reals, seed=2), [metric])
        assert str(caught.value) == (
            f"The metric 'coverage' needs at least 11 {whose} samples, not 10: give more, or set "
            f"neighbours lower."
        )


# -- copies of training samples -------------------------------------------------------------------


def test_samples_of_the_same_distribution_are_as_far_as_training_samples(draw, gather):
    result = metrics.create("nearest-neighbours").score(
        gather(draw(400, seed=1)), gather(draw(400, seed=2))
    )
    assert result.value == pytest.approx(1, abs=0.1)
    assert result.extra["authenticity"] == pytest.approx(0.5, abs=0.1)


def test_copies_are_found(draw, gather):
    real = draw(300, seed=1)
    fake = draw(100, seed=2)
    fake[[7, 42]] = real[[123, 5]]
    fake[50] = real[77] + 1e-4
    result = metrics.create("nearest-neighbours", shown=3).score(gather(real), gather(fake))
    pairs = [(pair["fake"], pair["real"]) for pair in result.extra["closest"]]
    assert pairs == [(7, 123), (42, 5), (50, 77)]
    assert [pair["distance"] for pair in result.extra["closest"][:2]] == [0, 0]
    only = metrics.create("nearest-neighbours").score(gather(real), gather(real[10:40]))
    assert only.value == 0 and only.extra["authenticity"] == 0
    assert len(only.extra["closest"]) == 16


def test_the_ratio(gather):
    line = torch.arange(10.0)[:, None]  # neighbours at distance 1
    result = metrics.create("nearest-neighbours").score(gather(line), gather(line[2:5] + 0.25))
    assert result.value == pytest.approx(0.25)
    assert result.extra["authenticity"] == 0
    result = metrics.create("nearest-neighbours").score(gather(line), gather(line[:3] + 50))
    assert result.value == pytest.approx(42)
    assert result.extra["authenticity"] == 1
    assert [pair["ratio"] for pair in result.extra["closest"]] == pytest.approx([41, 42, 43])


def test_neither_copies_nor_garbage_are_best(real, fake, gather):
    metric = metrics.create("nearest-neighbours")
    assert metric.better is None
    values = [
        metric.score(gather(real), gather(side)).value for side in (real, fake, 1e6 * (fake + 1))
    ]
    assert values[0] < 1 < values[1] < 1000 < values[2]


def test_the_ratio_to_a_real_one_that_is_there_twice(gather):
    line = torch.tensor([0.0, 1, 2, 3, 4, 5, 5])[:, None]
    fake = torch.tensor([5.0, 6.0, 0.5])[:, None]
    closest = (
        metrics.create("nearest-neighbours").score(gather(line), gather(fake)).extra["closest"]
    )
    assert [pair["fake"] for pair in closest] == [0, 2, 1]
    assert [pair["ratio"] for pair in closest] == [0, pytest.approx(0.5), None]


def test_duplicates_among_the_reals(real, gather):
    with pytest.raises(DataError, match="^Most of the 100 real samples have the features of anoth"):
        metrics.create("nearest-neighbours").score(gather(real[:50].repeat(2, 1)), gather(real))


# -- the picture of it -----------------------------------------------------------------------------

GREY, COLOUR = SampleSpec(shape=(1, 32, 32)), SampleSpec(shape=(3, 32, 32))


def halves(picture, index, columns, side=64):
    """The two images of a pair, and what is below them."""
    pixels = np.asarray(picture)
    width, height = 2 * side + 6 + 12, side + 4 + 26
    row, column = divmod(index, columns)
    top, left = 32 + row * height + 2, 12 + column * width + 2
    pair = pixels[top : top + side, left : left + side + 2 + side]
    return (
        pair[:, :side],
        pair[:, side + 2 :],
        pixels[top + side + 2 : top + side + 24, left:][:, :130],
    )


def enlarged(image):
    """(C, 32, 32) uint8 as RGB of twice the size."""
    return image.expand(3, -1, -1).permute(1, 2, 0).numpy().repeat(2, 0).repeat(2, 1)


def test_pairs_are_side_by_side_with_their_ratio_below(images, gather):
    real, fake = images(40, seed=1), images(30, seed=2)
    fake[11] = real[5]
    parts = (MetricInputs(len(x), features=x.flatten(1).float(), spec=COLOUR) for x in (real, fake))
    closest = metrics.create("nearest-neighbours", shown=5).score(*parts).extra["closest"]
    fakes, reals = (
        fake[[pair["fake"] for pair in closest]],
        real[[pair["real"] for pair in closest]],
    )
    picture = pictures.neighbours(closest, fakes, reals, COLOUR)
    assert (closest[0]["fake"], closest[0]["real"], closest[0]["ratio"]) == (11, 5, 0)
    for index in range(5):
        left, right, below = halves(picture, index, columns=2)
        assert np.array_equal(left, enlarged(fakes[index]))
        assert np.array_equal(right, enlarged(reals[index]))
        assert below.min() < 100 and (below == 255).mean() > 0.8  # black letters on paper
    same = pictures.neighbours([{**closest[0], "ratio": None}], fakes[:1], reals[:1], COLOUR)
    first = pictures.neighbours(closest[:1], fakes[:1], reals[:1], COLOUR)
    assert not np.array_equal(np.asarray(same), np.asarray(first))


def test_bytes_and_floats_and_grey_and_colour_may_stand_side_by_side(images):
    closest = [{"ratio": 0.5}, {"ratio": 2.0}]
    grey, colour = images(2, seed=1, channels=1), images(2, seed=2)
    wanted = pictures.neighbours(closest, grey, grey, GREY)
    assert wanted == pictures.neighbours(closest, grey.float() / 127.5 - 1, grey, GREY)
    picture = pictures.neighbours(closest, colour, grey, COLOUR)
    for index in range(2):
        left, right, _ = halves(picture, index, columns=2)
        assert np.array_equal(left, enlarged(colour[index]))
        assert np.array_equal(right, enlarged(grey[index]))


def test_large_images_are_not_enlarged():
    images = torch.zeros(16, 3, 256, 256)
    spec = SampleSpec(shape=(3, 256, 256))
    picture = pictures.neighbours([{"ratio": 1.0}] * 16, images, images, spec)
    assert picture.size == (12 + 3 * (2 * 256 + 6 + 12), 32 + 6 * (256 + 4 + 26))


def test_images_without_a_range_are_on_one_scale():
    spec = SampleSpec(shape=(1, 32, 32), value_range=None)
    values = torch.tensor([0.0, 5.0, 10.0, 10.0])[:, None, None, None].expand(-1, 1, 32, 32)
    picture = pictures.neighbours([{"ratio": 1.0}] * 2, values[:2], values[2:], spec)
    shades = [int(half[0, 0, 0]) for i in range(2) for half in halves(picture, i, columns=2)[:2]]
    assert shades == [0, 255, 128, 255]


def test_what_makes_no_picture(images):
    grey = images(2, seed=1, channels=1)
    with pytest.raises(ConfigError, match="needs at least one pair"):
        pictures.neighbours([], grey[:0], grey[:0], GREY)
    for fakes, reals in (
        (grey[:1], grey),
        (grey, grey[:, :, :8]),
        (grey.expand(-1, 3, -1, -1),) * 2,
    ):
        reals = reals if reals.shape[1] == 1 else torch.zeros(2, 4, 32, 32)
        with pytest.raises(ConfigError, match=r"as many generated and real images of one size and"):
            pictures.neighbours([{"ratio": 1.0}] * 2, fakes, reals, GREY)
    with pytest.raises(ConfigError, match="Only images can be shown"):
        points = torch.zeros(1, 2, 1, 1)
        vector = SampleSpec(kind="vector", shape=(2,), value_range=None)
        pictures.neighbours([{"ratio": 1.0}], points, points, vector)
