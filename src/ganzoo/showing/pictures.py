"""Samples as pictures."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.errors import ConfigError, an
from ganzoo.files.storage import new_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec

__all__ = ["animate", "grid", "images", "neighbours", "side_by_side", "write"]

_GAP = 2  # pixels between tiles
_LONGEST = 24  # letters of a row's name
_NO_LETTER = "\U0010ffff"  # which no font has
_LEGIBLE = 64  # pixels that one tile of a grid spans at the least
_HELD = 0.25  # share of an animation's time for which its last frame stays
_TICK = 40  # milliseconds that a frame is shown at the least
_STUDIED = 8  # frames that an animation's colours are chosen from


def images(samples: Tensor, spec: SampleSpec) -> list[Image]:
    """Return samples (N, C, H, W) as pictures: greyscale, RGB or RGBA by their channels.

    Of two channels the first is shown, of more than four the first three. Values beyond the spec's
    range are clipped.

    Raises:
        ConfigError: If the samples are not images.
    """
    from PIL import Image

    return [Image.fromarray(pixels) for pixels in _pixels(samples, spec).numpy()]


def grid(
    samples: Tensor,
    spec: SampleSpec,
    columns: int | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
) -> Image:
    """Return samples in rows on one picture, enlarged by a whole factor until they are legible.

    Args:
        samples: (N, C, H, W) in the spec's value range.
        spec: What one sample is.
        columns: Samples in a row; by default a square.
        names: Of the rows' classes, which are written to their left; with the classes' numbers,
            unless these are 0, 1, 2 and so on.

    Raises:
        ConfigError: If the samples are not images, or there are none.
    """
    from PIL import Image

    if len(samples) == 0:
        raise ConfigError("A grid needs at least one sample, and there are none.")
    pixels = _pixels(samples, spec)
    columns = math.ceil(math.sqrt(len(pixels))) if columns is None else columns
    if columns < 1:
        raise ConfigError(f"A grid needs at least one column, not {columns}.")
    enlarge = math.ceil(_LEGIBLE / max(spec.size))
    pixels = pixels.repeat_interleave(enlarge, dim=1).repeat_interleave(enlarge, dim=2)
    gap = _GAP
    height, width = pixels.shape[1] + gap, pixels.shape[2] + gap
    rows = math.ceil(len(pixels) / columns)
    # Transparent where there is alpha, white elsewhere: empty places read as paper.
    blank = 0 if pixels.shape[-1:] == (4,) else 255
    shape = (rows * height + gap, columns * width + gap, *pixels.shape[3:])
    canvas = torch.full(shape, blank, dtype=torch.uint8)
    for index, picture in enumerate(pixels):
        row, column = divmod(index, columns)
        top, left = row * height + gap, column * width + gap
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    picture = Image.fromarray(canvas.numpy())
    return picture if names is None else _with_names(picture, names, height)


def _with_names(picture: Image, names: Sequence[str] | Mapping[int, str], height: int) -> Image:
    """A grid with the names of its rows, of that height, on white to its left."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=16)
    numbered = names.items() if isinstance(names, Mapping) else enumerate(names)
    shown = [_legible(name, number, font) for number, name in numbered]
    margin = math.ceil(max(map(font.getlength, shown), default=0)) + 16
    mode = "L" if picture.mode == "L" else "RGB"
    canvas = Image.new(mode, (margin + picture.width, picture.height), "white")
    canvas.paste(picture, (margin, 0), picture if picture.mode == "RGBA" else None)
    draw = ImageDraw.Draw(canvas)
    for row, name in enumerate(shown):
        place = margin - 8, row * height + (height + _GAP) // 2
        draw.text(place, name, fill="black", font=font, anchor="rm")
    return canvas


def _legible(name: str, number: int, font: Any) -> str:
    """A name, cut where it is long; the class's number where the font lacks its letters.

    Letters with accents, which the font lacks, lose these.
    """
    name = "".join(each for each in unicodedata.normalize("NFKD", name) if each.isprintable())
    name = "".join(each for each in name if not unicodedata.combining(each)).strip()
    absent = bytes(font.getmask(_NO_LETTER))
    if not name or any(bytes(font.getmask(letter)) == absent for letter in {*name} - {" "}):
        return f"class {number}"
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."


def _pixels(samples: Tensor, spec: SampleSpec) -> Tensor:
    """(N, H, W) or (N, H, W, 3 or 4) uint8 on the CPU."""
    if spec.kind != "image":
        raise ConfigError(f"Only images can be shown as pictures; this is {an(spec)}.")
    low, high = spec.value_range or (float(samples.min()), float(samples.max()))
    span = (high - low) or 1.0
    pixels = samples.detach().float().sub(low).mul(255 / span).round().clamp(0, 255)
    pixels = pixels.nan_to_num(0).to("cpu", torch.uint8)
    channels = pixels.shape[1]
    if channels < 3:
        return pixels[:, 0].contiguous()
    shown = 4 if channels == 4 else 3
    return pixels[:, :shown].permute(0, 2, 3, 1).contiguous()


def side_by_side(pictures: Sequence[Image], captions: Sequence[str]) -> Image:
    """Return pictures side by side, each below its caption."""
    from PIL import Image, ImageDraw, ImageFont

    gap, head = 16, 32
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) + 1)
    height = max(picture.height for picture in pictures) + head + gap
    canvas = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=18)
    left = gap
    for picture, caption in zip(pictures, captions, strict=True):
        draw.text((left, head // 2), caption, fill="black", font=font, anchor="lm")
        canvas.paste(picture, (left, head), picture if picture.mode == "RGBA" else None)
        left += picture.width + gap
    return canvas


def neighbours(
    closest: Sequence[Mapping[str, Any]], fakes: Tensor, reals: Tensor, spec: SampleSpec
) -> Image:
    """Return generated images, each with its nearest real one at its right and their ratio below.

    The ratio is the distance of the two by that of the real one to its own nearest neighbour:
    near 0 the generated image is a copy.

    Args:
        closest: ``extra["closest"]`` of the metric ``nearest-neighbours``.
        fakes: The generated images that it names, in its order: (N, C, H, W), uint8 or in the
            spec's value range.
        reals: The real ones, likewise. If one side is greyscale, it is shown in grey.
        spec: What a generated image is.

    Raises:
        ConfigError: If they are not images, there are none, or the two sides differ in number,
            size or channels.
    """
    from PIL import Image, ImageDraw, ImageFont

    if len(closest) == 0:
        raise ConfigError("A picture of neighbours needs at least one pair, and there are none.")
    alike = len(closest) == len(fakes) == len(reals) and fakes.shape[2:] == reals.shape[2:]
    if not alike or len({1, fakes.shape[1], reals.shape[1]}) > 2:
        raise ConfigError(
            f"A picture of {len(closest)} neighbours needs as many generated and real images of "
            f"one size and colour, not {tuple(fakes.shape)} and {tuple(reals.shape)}: give those "
            f"that 'closest' names, in its order."
        )
    channels = max(fakes.shape[1], reals.shape[1])
    sides = [_floats(side, spec).expand(-1, channels, -1, -1) for side in (fakes, reals)]
    if spec.value_range is None:  # all pairs on one scale
        lows, highs = zip(*(side.aminmax() for side in sides), strict=True)
        spec = spec.model_copy(update={"value_range": (float(min(lows)), float(max(highs)))})
    pairs = [grid(torch.stack(pair), spec, columns=2) for pair in zip(*sides, strict=True)]
    gap, head, foot = 12, 32, 26
    width, height = pairs[0].width + gap, pairs[0].height + foot
    columns = math.ceil(math.sqrt(len(pairs) * height / width))  # about as high as wide
    title, font = "generated | nearest real", ImageFont.load_default(size=14)
    across = gap + max(columns * width, math.ceil(font.getlength(title)) + gap)
    canvas = Image.new("RGB", (across, head + math.ceil(len(pairs) / columns) * height), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((gap, head // 2), title, fill="black", font=font, anchor="lm")
    for index, (pair, named) in enumerate(zip(pairs, closest, strict=True)):
        row, column = divmod(index, columns)
        left, top = gap + column * width, head + row * height
        canvas.paste(pair, (left, top), pair if pair.mode == "RGBA" else None)
        place = (left + pair.width // 2, top + pair.height + 9)
        text = "-" if named.get("ratio") is None else f"{named['ratio']:.2f}"
        draw.text(place, text, fill="black", font=font, anchor="mm")
    return canvas


def animate(frames: Sequence[Path], target: Path, seconds: float = 6.0) -> None:
    """Write pictures, one after the other, as an animation that begins again at its end.

    All frames of a GIF share one palette, so that nothing flickers; greyscale stays as it is.
    What is transparent becomes white. Where there are more frames than can be shown in time, they
    are thinned evenly; the first and the last are always there.

    Args:
        frames: Pictures of one size, such as the PNGs of a run's ``samples``.
        target: File to write, ``.gif`` or ``.webp``.
        seconds: How long one round takes; for a quarter of it the last frame stays.

    Raises:
        ConfigError: If there are no frames, their sizes differ, the time is not positive, or the
            target is of another kind.
        OSError: If a frame cannot be read or the target not be written.
    """
    from PIL.Image import Dither

    suffix = target.suffix.lower()
    if suffix not in (".gif", ".webp"):
        raise ConfigError(f"An animation is written as .gif or .webp, not as '{target.name}'.")
    if not 0 < seconds < math.inf:
        raise ConfigError(f"An animation takes more than 0 seconds, not {seconds}.")
    if not frames:
        raise ConfigError("An animation needs at least one frame, and there are none.")
    total = 1000 * seconds
    count = min(len(frames), max(2, int(total * (1 - _HELD) / _TICK)))
    places = _spread(len(frames), count)
    shown = [_opaque(frames[place]) for place in places]
    for place, picture in zip(places, shown, strict=True):
        if picture.size != shown[0].size:
            (wide, high), (width, height) = shown[0].size, picture.size
            raise ConfigError(
                f"The frames of an animation have one size, but {frames[0]} has {wide}x{high} "
                f"pixels and {frames[place]} has {width}x{height}."
            )
    each = 10 * max(1, round(total * (1 - _HELD) / count / 10))  # GIF counts hundredths
    last = max(each, 10 * round(total / 10) - each * (count - 1))
    durations = [*[each] * (count - 1), last]
    kind: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {"optimize": False}
    if suffix == ".gif" and any(picture.mode != "L" for picture in shown):
        colours: dict[str, Any] = {"palette": _palette(shown), "dither": Dither.NONE}
        shown = [picture.convert("RGB").quantize(**colours) for picture in shown]
    first, *rest = shown
    kind |= {"save_all": True, "append_images": rest, "duration": durations, "loop": 0}
    with new_file(target) as fresh:
        first.save(fresh, suffix.removeprefix("."), **kind)


def write(picture: Image, target: Path) -> None:
    """Write a picture as PNG that is there whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    with new_file(target) as fresh:
        picture.save(fresh, "PNG")


def _floats(samples: Tensor, spec: SampleSpec) -> Tensor:
    """Images in the spec's value range, those of uint8 as well."""
    samples = samples.detach().cpu()
    if samples.dtype != torch.uint8:
        return samples.float()
    low, high = spec.value_range or (0.0, 255.0)
    return samples.float().mul((high - low) / 255).add(low)


def _spread(length: int, count: int) -> list[int]:
    """``count`` of the places 0 to ``length - 1``, evenly, with both ends."""
    return [round(place * (length - 1) / max(1, count - 1)) for place in range(count)]


def _opaque(path: Path) -> Image:
    """The picture in a file, greyscale or RGB."""
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode == "L":
            return picture.copy()
        layers = picture.convert("RGBA")
    paper = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(paper, layers).convert("RGB")


def _palette(pictures: Sequence[Image]) -> Image:
    """One palette of 256 colours for all pictures, chosen from some of them."""
    from PIL import Image
    from PIL.Image import Quantize

    some = [pictures[i] for i in _spread(len(pictures), min(_STUDIED, len(pictures)))]
    width, height = some[0].size
    strip = Image.new("RGB", (width, height * len(some)))
    for row, picture in enumerate(some):
        strip.paste(picture, (0, row * height))
    # Median cut, the default, makes white paper slightly grey.
    return strip.quantize(256, method=Quantize.MAXCOVERAGE, kmeans=3)
