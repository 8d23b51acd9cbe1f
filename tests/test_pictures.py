from __future__ import annotations

import numpy as np
import pytest
import torch

from ganzoo import pictures
from ganzoo.errors import ConfigError
from ganzoo.spec import SampleSpec


def spec(channels: int = 1, size=(2, 3), value_range=(-1.0, 1.0)) -> SampleSpec:
    return SampleSpec(shape=(channels, *size), value_range=value_range)


def pixels(picture) -> list:
    return np.asarray(picture).tolist()


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0), (-3.0, 5.0), (0.0, 255.0)])
def test_every_pixel_comes_back(value_range) -> None:
    low, high = value_range
    values = torch.arange(256, dtype=torch.float64) / 255 * (high - low) + low
    (picture,) = pictures.images(
        values.float().reshape(1, 1, 16, 16), spec(size=(16, 16), value_range=value_range)
    )
    assert picture.mode == "L" and picture.size == (16, 16)
    assert pixels(picture) == np.arange(256).reshape(16, 16).tolist()


def test_values_are_rounded_and_clipped() -> None:
    samples = torch.tensor([[[[0.4, 0.6, 254.4], [300.0, -7.0, 254.6]]]])
    (picture,) = pictures.images(samples, spec(value_range=(0.0, 255.0)))
    assert pixels(picture) == [[0, 1, 254], [255, 0, 255]]


def test_without_a_range_the_samples_give_it() -> None:
    samples = torch.tensor([[[[-4.0, 0.0, 1.0]]], [[[6.0, -4.0, 6.0]]]])
    first, second = pictures.images(samples, spec(size=(1, 3), value_range=None))
    assert pixels(first) == [[0, 102, 128]]  # 127.5 is rounded to even
    assert pixels(second) == [[255, 0, 255]]


def test_without_a_range_flat_samples_are_black() -> None:
    (picture,) = pictures.images(torch.full((1, 1, 2, 3), 4.0), spec(value_range=None))
    assert pixels(picture) == [[0, 0, 0], [0, 0, 0]]


def test_what_is_no_number_is_black_and_infinity_is_the_end() -> None:
    values = [float("nan"), float("inf"), float("-inf")]
    (picture,) = pictures.images(torch.tensor(values).reshape(1, 1, 1, 3), spec(size=(1, 3)))
    assert pixels(picture) == [[0, 255, 0]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_channels(channels) -> None:
    values = torch.arange(2 * channels * 6).reshape(2, channels, 2, 3)
    found = pictures.images(values.float(), spec(channels, value_range=(0.0, 255.0)))
    assert len(found) == 2
    shown = {1: 1, 2: 1, 3: 3, 4: 4, 7: 3}[channels]
    for sample, picture in zip(values, found, strict=True):
        assert picture.mode == {1: "L", 3: "RGB", 4: "RGBA"}[shown]
        assert picture.size == (3, 2)  # Pillow's order is width, height
        expected = sample[0] if shown == 1 else sample[:shown].permute(1, 2, 0)
        assert pixels(picture) == expected.tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_floats(dtype) -> None:
    samples = torch.tensor([-1.0, 0.0, 1.0], dtype=dtype).reshape(1, 1, 1, 3)
    (picture,) = pictures.images(samples, spec(size=(1, 3)))
    assert pixels(picture) == [[0, 128, 255]]


def test_samples_are_not_changed_and_may_have_gradients() -> None:
    samples = torch.rand(2, 1, 2, 3, requires_grad=True)
    before = samples.detach().clone()
    pictures.images(samples, spec())
    assert torch.equal(samples, before)


def test_no_samples_are_no_pictures() -> None:
    assert pictures.images(torch.empty(0, 1, 2, 3), spec()) == []


# -- grids ----------------------------------------------------------------------------------------

WIDE = SampleSpec(shape=(1, 64, 64), value_range=(0.0, 255.0))


def flat(values: list[int], like: SampleSpec) -> torch.Tensor:
    """One sample of one colour for each value."""
    shape = (-1, *[1] * len(like.shape))
    return torch.tensor(values).float().reshape(shape).expand(-1, *like.shape)


@pytest.mark.parametrize(
    ("count", "columns", "rows", "wide"),
    [
        (1, None, 1, 1),
        (4, None, 2, 2),
        (5, None, 2, 3),
        (7, None, 3, 3),
        (5, 5, 1, 5),
        (5, 1, 5, 1),
        (5, 2, 3, 2),
        (2, 6, 1, 6),
    ],
)
def test_layout(count, columns, rows, wide) -> None:
    values = [10 * (number + 1) for number in range(count)]
    picture = pictures.grid(flat(values, WIDE), WIDE, columns)
    assert picture.mode == "L"
    expected = np.full((66 * rows + 2, 66 * wide + 2), 255)
    for number, value in enumerate(values):
        top, left = 2 + 66 * (number // wide), 2 + 66 * (number % wide)
        expected[top : top + 64, left : left + 64] = value
    assert np.array_equal(np.asarray(picture), expected)


@pytest.mark.parametrize(
    ("size", "factor"),
    [
        ((64, 64), 1),
        ((65, 3), 1),
        ((63, 20), 2),
        ((28, 28), 3),
        ((32, 16), 2),
        ((1, 2), 32),
        ((200, 200), 1),
    ],
)
def test_small_samples_are_enlarged_by_a_whole_factor(size, factor) -> None:
    small = spec(size=size, value_range=(0.0, 255.0))
    sample = torch.randint(0, 256, (1, 1, *size))
    picture = np.asarray(pictures.grid(sample.float(), small))
    assert picture.shape == (size[0] * factor + 4, size[1] * factor + 4)
    inner = picture[2:-2, 2:-2]
    expected = np.kron(sample[0, 0].numpy(), np.ones((factor, factor), dtype=int))
    assert np.array_equal(inner, expected)


@pytest.mark.parametrize(
    ("channels", "mode", "blank"),
    [(2, "L", 255), (3, "RGB", [255] * 3), (4, "RGBA", [0] * 4), (7, "RGB", [255] * 3)],
)
def test_empty_places_look_like_paper(channels, mode, blank) -> None:
    many = SampleSpec(shape=(channels, 64, 64), value_range=(0.0, 255.0))
    picture = pictures.grid(flat([9, 9, 9], many), many)
    assert picture.mode == mode and picture.size == (134, 134)
    array = np.asarray(picture)
    assert array[100, 100].tolist() == blank  # the fourth place
    assert array[0, 0].tolist() == blank  # the margin
    assert (array[2:66, 2:66] == 9).all()


@pytest.mark.parametrize("columns", [0, -3])
def test_no_columns(columns) -> None:
    with pytest.raises(ConfigError) as caught:
        pictures.grid(flat([1], WIDE), WIDE, columns)
    assert str(caught.value) == f"A grid needs at least one column, not {columns}."


def test_a_grid_of_nothing() -> None:
    with pytest.raises(ConfigError) as caught:
        pictures.grid(torch.empty(0, 1, 2, 3), spec())
    assert str(caught.value) == "A grid needs at least one sample, and there are none."


@pytest.mark.parametrize("show", [pictures.images, pictures.grid])
def test_only_images_are_pictures(show) -> None:
    vector = SampleSpec(kind="vector", shape=(2,))
    with pytest.raises(ConfigError) as caught:
        show(torch.zeros(3, 2), vector)
    assert str(caught.value) == (
        "Only images can be shown as pictures; this is a vector of shape (2,)."
    )
