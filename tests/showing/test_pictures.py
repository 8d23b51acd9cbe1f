from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from ganzoo.core.spec import SampleSpec
from ganzoo.errors import ConfigError
from ganzoo.showing import pictures


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


@pytest.mark.parametrize(
    ("values", "value_range", "shown"),
    [
        ([4.0, 4.0, 4.0], None, [0, 0, 0]),  # flat ones are black
        ([float("nan"), float("inf"), float("-inf")], (-1.0, 1.0), [0, 255, 0]),
    ],
)
def test_odd_values(values, value_range, shown) -> None:
    samples = torch.tensor(values).reshape(1, 1, 1, 3)
    (picture,) = pictures.images(samples, spec(size=(1, 3), value_range=value_range))
    assert pixels(picture) == [shown]


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


@pytest.mark.parametrize(
    ("samples", "columns", "text"),
    [
        (1, 0, "A grid needs at least one column, not 0."),
        (1, -3, "A grid needs at least one column, not -3."),
        (0, None, "A grid needs at least one sample, and there are none."),
    ],
)
def test_grids_of_nothing(samples, columns, text) -> None:
    with pytest.raises(ConfigError) as caught:
        pictures.grid(torch.zeros(samples, 1, 64, 64), WIDE, columns)
    assert str(caught.value) == text


@pytest.mark.parametrize("show", [pictures.images, pictures.grid])
def test_only_images_are_pictures(show) -> None:
    vector = SampleSpec(kind="vector", shape=(2,))
    with pytest.raises(ConfigError) as caught:
        show(torch.zeros(3, 2), vector)
    assert str(caught.value) == (
        "Only images can be shown as pictures; this is a vector of shape (2,)."
    )


# -- grids with the names of rows -----------------------------------------------------------------


def named(names, channels: int = 1, columns: int = 2):
    """A grid of white rows with names, and the part of it at the left of the samples."""
    like = SampleSpec(shape=(channels, 64, 64), value_range=(0.0, 255.0))
    samples = flat([200] * (columns * len(names)), like)
    picture = pictures.grid(samples, like, columns, names)
    plain = pictures.grid(samples, like, columns)
    margin = picture.width - plain.width
    beside = picture.crop((margin, 0, picture.width, picture.height))
    return picture, plain, beside, picture.crop((0, 0, margin, picture.height))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_names_stand_left_of_their_rows(channels) -> None:
    picture, plain, beside, left = named(["ant", "bee", "cat"], channels)
    assert picture.mode == ("L" if channels == 1 else "RGB")
    paper = Image.new("RGBA", plain.size, "white")
    seen = Image.alpha_composite(paper, plain.convert("RGBA")).convert(picture.mode)
    assert np.array_equal(np.asarray(beside), np.asarray(seen))
    ink = np.asarray(left.convert("L")) < 128
    for row in range(3):
        band = ink[2 + 66 * row : 66 * (row + 1)]
        assert band[20:44].any() and not band[:16].any() and not band[48:].any()
    assert not ink[:, -4:].any() and not ink[:, :4].any()


def lettering(names) -> list:
    """The pixels that each name is written with."""
    left = np.asarray(named(names)[3])
    wide = [left[66 * row : 66 * (row + 1)] for row in range(len(names))]
    return [row[:, (row < 255).any(0).argmax() :].tolist() for row in wide]


def written(name: str, number: int = 0) -> list:
    """How one name is written, if its class has that number."""
    left = np.asarray(named({number: name})[3])[:66]
    return left[:, (left < 255).any(0).argmax() :].tolist()


def test_a_long_name_is_cut() -> None:
    assert written("x" * 5000) == written("x" * 21 + "...")
    assert named(["x" * 5000])[0].width < 500
    assert written("x" * 24) != written("x" * 21 + "...")


@pytest.mark.parametrize("name", ["\u732b", "\u0416\u0443\u043a", "\U0001f431", "", "  ", "\n"])
def test_a_name_that_cannot_be_written_is_the_number_of_its_class(name) -> None:
    assert written(name, 0) == written("class 0")
    assert written(name, 37) == written("class 37")
    assert lettering(["ant", name])[1] == lettering(["ant", "class 1"])[1]


def test_accents_that_the_font_lacks_are_left_out() -> None:
    assert written("K\xe4fer") == written("Kafer") != written("class 0")
    assert written("\u200bcat\u202e") == written("cat")


def test_all_letters_of_ascii_are_written() -> None:
    letters = [chr(code) for code in range(0x21, 0x7F)]
    assert all(written(letter) != written("class 0") for letter in letters)
    assert len({str(written(letter)) for letter in letters}) > 85  # and not all as one box


def test_many_rows_have_names() -> None:
    picture, _, _, left = named([f"class of number {number}" for number in range(120)], columns=1)
    assert picture.height == 120 * 66 + 2
    ink = np.asarray(left) < 128
    assert all(ink[66 * row : 66 * (row + 1)].any() for row in range(120))


def test_fewer_names_than_rows_and_none() -> None:
    samples = flat([200] * 4, WIDE)
    one = np.asarray(pictures.grid(samples, WIDE, 1, ["ant"]))
    assert (one[66:, :10] == 255).all()
    assert pictures.grid(samples, WIDE, 1, []).size[1] == 4 * 66 + 2


# -- animations -----------------------------------------------------------------------------------


def frames(folder, pictures) -> list:
    paths = [folder / f"step-{number:08d}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return paths


def read(path) -> list[tuple[Image.Image, int]]:
    """The pictures of an animation as RGB, with their milliseconds."""
    with Image.open(path) as file:
        found = []
        for picture in ImageSequence.Iterator(file):
            rgb = picture.convert("RGB")  # WebP's duration is known once the frame is decoded
            found.append((rgb, picture.info["duration"]))
        assert file.info["loop"] == 0  # for ever
    return found


def noise(count: int, mode: str = "RGB") -> list[Image.Image]:
    generator = np.random.default_rng(3)
    shape = (20, 30) if mode == "L" else (20, 30, len(mode))
    return [
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)) for _ in range(count)
    ]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".GIF"])
def test_greyscale_frames_come_back(tmp_path, suffix) -> None:
    made = noise(5, "L")
    target = tmp_path / f"animation{suffix}"
    pictures.animate(frames(tmp_path, made), target, seconds=4)
    found = read(target)
    assert [duration for _, duration in found] == [600, 600, 600, 600, 1600]
    for picture, (shown, _) in zip(made, found, strict=True):
        assert pixels(shown) == pixels(picture.convert("RGB"))


def test_few_colours_come_back(tmp_path) -> None:
    colours = ["#0072B2", "#D55E00", "#FFFFFF", "#404040"]
    made = [Image.new("RGB", (40, 30), colour) for colour in colours]
    for number, picture in enumerate(made):
        picture.paste(colours[number - 1], (5, 5, 20, 20))
    pictures.animate(frames(tmp_path, made), tmp_path / "animation.gif")
    for picture, (shown, _) in zip(made, read(tmp_path / "animation.gif"), strict=True):
        assert pixels(shown) == pixels(picture)


def test_what_stays_does_not_flicker(tmp_path) -> None:
    made = noise(6)
    for picture in made[1:]:
        picture.paste(made[0].crop((0, 0, 30, 10)))
    pictures.animate(frames(tmp_path, made), tmp_path / "animation.gif")
    found = [np.asarray(shown) for shown, _ in read(tmp_path / "animation.gif")]
    for picture, shown in zip(made, found, strict=True):
        assert np.array_equal(shown[:10], found[0][:10])
        error = shown.astype(float) - np.asarray(picture)
        assert np.abs(error).mean() < 30  # 256 colours for random ones


def test_paper_stays_white(tmp_path) -> None:
    ramp = np.linspace((160, 200, 230), (255, 255, 255), 200).round().astype(np.uint8)
    made = [Image.new("RGB", (300, 200), "white") for _ in range(3)]
    for number, picture in enumerate(made):
        picture.paste(Image.fromarray(np.tile(ramp, (60, 1, 1))), (10, 10 * number))
        picture.paste(noise(1)[0], (100, 120 + number))
    pictures.animate(frames(tmp_path, made), tmp_path / "animation.gif")
    for shown, _ in read(tmp_path / "animation.gif"):
        assert shown.getpixel((299, 0)) == shown.getpixel((0, 199)) == (255, 255, 255)


def test_colours_without_loss_in_webp(tmp_path) -> None:
    made = noise(3)
    pictures.animate(frames(tmp_path, made), tmp_path / "animation.webp")
    for picture, (shown, _) in zip(made, read(tmp_path / "animation.webp"), strict=True):
        assert pixels(shown) == pixels(picture)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_what_is_transparent_becomes_white(tmp_path, suffix) -> None:
    made = [Image.new("RGBA", (8, 6), (255, 0, 0, alpha)) for alpha in (0, 51, 255)]
    target = tmp_path / f"animation{suffix}"
    pictures.animate(frames(tmp_path, made), target)
    centres = [shown.getpixel((4, 3)) for shown, _ in read(target)]
    assert centres == [(255, 255, 255), (255, 204, 204), (255, 0, 0)]


def test_many_frames_are_thinned(tmp_path) -> None:
    made = [Image.new("L", (8, 6), shade) for shade in range(100)]
    pictures.animate(frames(tmp_path, made), tmp_path / "animation.gif", seconds=1)
    found = read(tmp_path / "animation.gif")
    shades = [shown.getpixel((0, 0))[0] for shown, _ in found]
    assert len(shades) == 18
    assert (shades[0], shades[-1]) == (0, 99)
    assert {after - before for before, after in itertools.pairwise(shades)} == {5, 6}
    assert sum(duration for _, duration in found) == 1000
    assert found[-1][1] == max(duration for _, duration in found) > 250


def test_one_frame(tmp_path) -> None:
    made = noise(1, "L")
    pictures.animate(frames(tmp_path, made), tmp_path / "animation.gif")
    with Image.open(tmp_path / "animation.gif") as file:
        assert pixels(file.convert("L")) == pixels(made[0])


@pytest.mark.parametrize(
    ("count", "name", "seconds", "text"),
    [
        (0, "a.gif", 6, "An animation needs at least one frame, and there are none."),
        (2, "a.mp4", 6, "An animation is written as .gif or .webp, not as 'a.mp4'."),
        (2, "a", 6, "An animation is written as .gif or .webp, not as 'a'."),
        (2, "a.gif", 0, "An animation takes more than 0 seconds, not 0."),
        (2, "a.gif", -1.0, "An animation takes more than 0 seconds, not -1.0."),
        (2, "a.gif", float("inf"), "An animation takes more than 0 seconds, not inf."),
        (2, "a.gif", float("nan"), "An animation takes more than 0 seconds, not nan."),
    ],
)
def test_animations_that_cannot_be(tmp_path, count, name, seconds, text) -> None:
    with pytest.raises(ConfigError) as caught:
        pictures.animate(frames(tmp_path, noise(count)), tmp_path / name, seconds)
    assert str(caught.value) == text


def test_frames_of_different_sizes(tmp_path) -> None:
    paths = frames(
        tmp_path, [Image.new("L", (8, 6)), Image.new("L", (8, 6)), Image.new("L", (6, 8))]
    )
    with pytest.raises(ConfigError) as caught:
        pictures.animate(paths, tmp_path / "animation.gif")
    assert str(caught.value) == (
        f"The frames of an animation have one size, but {paths[0]} has 8x6 pixels and "
        f"{paths[2]} has 6x8."
    )
    assert not (tmp_path / "animation.gif").exists()


def test_a_frame_that_is_not_there(tmp_path) -> None:
    with pytest.raises(OSError):
        pictures.animate([tmp_path / "none.png"], tmp_path / "animation.gif")


# -- side by side ---------------------------------------------------------------------------------


def test_pictures_stand_beside_each_other() -> None:
    red = Image.new("RGB", (40, 60), "red")
    clear = Image.new("RGBA", (50, 30), (0, 0, 255, 0))
    clear.putpixel((0, 0), (0, 0, 255, 255))
    both = pictures.side_by_side([red, clear], ["one", "two"])
    assert (both.mode, both.size) == ("RGB", (40 + 50 + 3 * 16, 60 + 32 + 16))
    assert both.getpixel((16, 32)) == both.getpixel((55, 91)) == (255, 0, 0)
    assert both.getpixel((72, 32)) == (0, 0, 255)
    assert both.getpixel((73, 32)) == (255, 255, 255)  # transparent is paper
    captions = np.asarray(both.convert("L"))[:32]
    assert (captions[:, 16:56] < 128).any() and (captions[:, 72:122] < 128).any()


def test_each_picture_has_a_caption() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pictures.side_by_side([Image.new("L", (4, 4))] * 2, ["one"])
