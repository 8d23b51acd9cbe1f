"""One encoded picture as an array: any format and mode, in the form that its set is kept in."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ganzoo.datasets.reading import Range, within

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint8] | NDArray[np.float32]
    Planes = NDArray[np.float32]

__all__ = [
    "MOST_PIXELS",
    "SUFFIXES",
    "Crop",
    "Depth",
    "ImageStats",
    "Mode",
    "Opened",
    "OutputFormat",
    "PictureError",
    "Range",
    "RequestedFormat",
    "carries",
    "decode",
    "decode_as_programs",
    "look_at",
    "resized",
    "span",
]

Crop = Literal["center", "random", "none"]
Mode = Literal["auto", "grey", "rgb", "rgba"]
Depth = Literal["uint16", "int32", "float32"]

SUFFIXES = frozenset(
    b".jpg .jpeg .jpe .jfif .png .webp .bmp .dib .tif .tiff .gif .pgm .ppm .pnm".split()
)
"""Suffixes of pictures, in lower case."""
MOST_PIXELS = 2 * 89_478_485
"""Beyond this many pixels a picture is taken for a decompression bomb, as Pillow does."""
NATIVE_LIMIT = 256
"""Longest side up to which pictures of one size stay as they are."""
FALLBACK = (64, 64)
"""Height and width of what has no size of its own."""

_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}
_SPARE = (8, 7)  # a random crop takes 7/8 of each side of what is kept
_ORIENTATION = 0x0112
_SMALL = NATIVE_LIMIT**2  # pixels up to which pictures are held back to be resized together
_OVERSAMPLED = 2  # a JPEG is decoded at a fraction of its size only if that is this much too large


_PPM_HEADER = rb"P6" + 2 * rb"(?:\s|#[^\n]*\n)+\d+" + rb"(?:\s|#[^\n]*\n)+(\d+)\s"


class PictureError(Exception):
    """A picture that cannot be decoded; the text says why, to stand in parentheses."""


class ImageStats(NamedTuple):
    """What has been seen in pictures, of which the form of their set follows.

    Attributes:
        low: Smallest height and smallest width.
        high: Largest height and largest width.
        colour: Whether one has colours, or could have.
        bare: Whether one has no alpha channel.
        clear: Whether one has a transparent pixel.
        plain: Whether one has 8 bits or fewer.
        deep: What numbers those with more than 8 bits hold, with the lowest and the highest:
            ``uint16``, ``int32`` (of no range of their own) or ``float32``.
        cut: Whether one has 16 bits in colour, of which only the upper 8 can be read.
    """

    low: tuple[int, int]
    high: tuple[int, int]
    colour: bool
    any_opaque: bool
    any_transparent: bool
    plain: bool = True
    deep: tuple[tuple[Depth, float, float], ...] = ()
    cut: bool = False

    def merged(self, other: ImageStats | None) -> ImageStats:
        """Return what has been seen in both."""
        if other is None:
            return self
        return ImageStats(
            low=(min(self.low[0], other.low[0]), min(self.low[1], other.low[1])),
            high=(max(self.high[0], other.high[0]), max(self.high[1], other.high[1])),
            colour=self.colour or other.colour,
            any_opaque=self.any_opaque or other.any_opaque,
            any_transparent=self.any_transparent or other.any_transparent,
            plain=self.plain or other.plain,
            deep=_joined(self.deep, other.deep),
            cut=self.cut or other.cut,
        )

    @property
    def original_size(self) -> tuple[int, int] | None:
        """Height and width that all pictures have, if they do and are not too large."""
        return self.high if self.low == self.high and max(self.high) <= NATIVE_LIMIT else None


def _joined(
    ours: tuple[tuple[Depth, float, float], ...], theirs: tuple[tuple[Depth, float, float], ...]
) -> tuple[tuple[Depth, float, float], ...]:
    """Lowest and highest number of each depth in both."""
    found: dict[Depth, Range] = {}
    for depth, low, high in (*ours, *theirs):
        before = found.get(depth, (low, high))
        found[depth] = min(low, before[0]), max(high, before[1])
    return tuple((depth, *found[depth]) for depth in sorted(found))


def span(low: tuple[int, int], high: tuple[int, int]) -> str:
    """Return the sizes of pictures in words: ``heights from 32 to 64 and one width of 96``.

    Args:
        low: Smallest height and smallest width.
        high: Largest height and largest width.
    """
    height, width = (
        f"one {what} of {most}" if least == most else f"{what}s from {least} to {most}"
        for what, least, most in zip(("height", "width"), low, high, strict=True)
    )
    return f"{height} and {width}"


@dataclass(frozen=True)
class OutputFormat:
    """The form in which the pictures of a set are kept.

    Attributes:
        channels: 1, 3 or 4.
        size: Height and width.
        stretch: Whether proportions give way; otherwise what is too long is cut off both ends.
        deep: Whether numbers are kept as they are, in float32; otherwise in uint8.
        bounds: Lowest and highest number that may occur, where that decides what becomes of a
            picture: of 8 bits among deeper ones, or transparent.
    """

    channels: int
    size: tuple[int, int]
    stretch: bool
    deep: bool = False
    bounds: Range = (0.0, 255.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, *self.size)


@dataclass(frozen=True)
class RequestedFormat:
    """The form that was asked for, where it was.

    Attributes:
        size: Height and width of a sample, or None for what ``size_of`` says.
        crop: How pictures of other proportions are brought to it.
        mode: What the channels mean, or ``auto``.
        stored_range: Lowest and highest number that pictures may hold, or None for what their
            type says.
    """

    size: tuple[int, int] | None
    crop: Crop
    mode: Mode
    stored_range: Range | None = None

    @property
    def settled(self) -> bool:
        """Whether the form does not depend on the pictures."""
        return self.size is not None and self.mode != "auto"

    def size_of(self, facts: ImageStats | None) -> tuple[int, int]:
        """Return height and width of a sample: as asked for, as all are, or 64x64."""
        return self.size or (facts.original_size if facts is not None else None) or FALLBACK

    def look(self, facts: ImageStats | None) -> OutputFormat:
        """Return the form in which pictures of these facts are kept.

        With ``auto``, the channels are those of RGBA where every picture has an alpha channel and
        at least one makes use of it; of RGB where at least one picture has colours; otherwise
        grey. For random crops, each side is kept with an eighth to spare. Pictures of more than 8
        bits are kept in float32, unless they hold integers within 0..255 and no range is given.
        """
        if self.mode != "auto":
            channels = _CHANNELS[self.mode]
        elif facts is not None and facts.any_transparent and not facts.any_opaque:
            channels = 4
        else:
            channels = 1 if facts is not None and not facts.colour else 3
        height, width = self.size_of(facts)
        if self.crop == "random":
            spare, part = _SPARE
            height, width = -(-height * spare // part), -(-width * spare // part)
        look = OutputFormat(channels=channels, size=(height, width), stretch=self.crop == "none")
        if facts is None:
            return look
        deep = bool(facts.deep) and (self.stored_range is not None or not _fit_bytes(facts.deep))
        if facts.any_transparent or (facts.deep and (facts.plain or channels == 4)):
            return replace(look, deep=deep, bounds=self.bounds(facts))
        return replace(look, deep=deep)

    def bounds(self, facts: ImageStats | None) -> Range:
        """Return the range that the numbers of all pictures are of, as far as it is known."""
        return self.stored_range or _bounds(() if facts is None else facts.deep)


def _fit_bytes(deep: tuple[tuple[Depth, float, float], ...]) -> bool:
    """Whether all are integers without a range of their own, and within 0..255."""
    return all(depth == "int32" and low >= 0 and high <= 255 for depth, low, high in deep)


def _bounds(deep: tuple[tuple[Depth, float, float], ...]) -> Range:
    """The range of numbers of which none was said, as far as it is known."""
    depths = {depth for depth, _, _ in deep}
    low = min((low for _, low, _ in deep), default=0.0)
    high = max((high for _, _, high in deep), default=0.0)
    if depths == {"float32"}:
        return (0.0 if within(low, 1.0, (0.0, 1.0)) else -1.0), 1.0
    if not deep or ("int32" in depths and low >= 0 and high <= 255):
        return 0.0, 255.0
    return 0.0, 65535.0


def decode(data: bytes, look: OutputFormat | None) -> tuple[Pixels, ImageStats]:
    """Decode one picture.

    A JPEG without Exif data whose only difference is its size comes back in that size, for
    ``resized``: many of them are resized together more quickly.

    Orientation in Exif data is applied. Of several frames or pages the first counts. In a deep
    look, numbers of more than 8 bits stay what they are, and those of 8 bits are carried from
    0..255 to its bounds, unless these are within 0..255. Without a look, numbers become 8 bits: 16
    are scaled by 255/65535, floats are taken to be in [0, 1]. Of 16 bits in the colours of a
    compressed TIFF, Pillow takes the upper 8. Palettes, CMYK and others become RGB by Pillow's
    conversion, colour profiles are not applied. What is transparent is put on white where no alpha
    is kept. Sizes change with Pillow's antialiased bilinear filter.

    Args:
        data: Content of the file.
        look: What it shall become, or None for what it is, in 8 bits.

    Returns:
        uint8 or, of a deep look, float32 (C, H, W), of the look or to be resized to it, and what
        was seen.

    Raises:
        PictureError: If it is damaged, incomplete, no picture, or too large.
    """
    header = _plain_jpeg(data)
    if header is not None and (look is None or not look.deep):
        height, width, channels = header
        _check_pixels(height, width)
        if look is None or not _reducible(height, width, look):
            pixels = _decoded_jpeg(data)
            if pixels is not None:  # otherwise Pillow shall say what is wrong
                facts = _jpeg_facts(height, width, channels)
                alike = look is not None and channels == look.channels
                if look is None or (alike and _only_size(height, width, look)):
                    return pixels, facts
                return _arranged(_image(pixels), look), facts
    try:
        found, facts = _opened(data, look)
        if isinstance(found, _Deep):
            if look is not None and look.deep:
                return _arranged_deep(found, look), facts
            # What a look of 8 bits cannot hold is worth a word only where all is seen as it is.
            found = _image(_eight_bits(found, facts, clip=look is not None))
        elif look is not None and look.deep:
            return _arranged_deep(_deepened(found, look.bounds), look), facts
        return (_array(found) if look is None else _arranged(found, look)), facts
    except PictureError:
        raise
    except Exception as error:  # Pillow raises many classes on damaged files
        raise PictureError(_reason(error)) from error


def look_at(data: bytes) -> ImageStats:
    """Return what is seen in one picture.

    Raises:
        PictureError: As ``decode``.
    """
    try:
        return _opened(data, None)[1]
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(_reason(error)) from error


class Opened(NamedTuple):
    """What a picture is before anything is made of it.

    Attributes:
        size: Height and width as they are stored, whatever Exif data say.
        colour: Whether it has colours, or could have.
        alpha: Whether it has an alpha channel, or a transparent colour.
        orientation: What Exif data say of how to turn it: 1 to 8.
        deep: Whether it is greyscale of more than 8 bits.
        cut: Whether it is not, and has 16 bits in colours or beside alpha.
    """

    size: tuple[int, int]
    colour: bool
    alpha: bool
    orientation: int
    deep: bool
    cut: bool

    @property
    def plain(self) -> bool:
        """Whether ``decode`` makes the same of it as ``decode_as_programs``."""
        return not (self.alpha or self.deep or self.cut) and self.orientation == 1


def decode_as_programs(data: bytes, look: OutputFormat | None) -> tuple[Pixels, Opened]:
    """Decode one picture as the programs that compute FID do: ``Image.open(...).convert("RGB")``.

    Alpha is dropped, so that what lies under it is seen; Exif orientation is not looked at; of
    several frames the first counts; palettes and CMYK are converted by Pillow. One thing is done
    otherwise: in a deep look, numbers of more than 8 bits, which that conversion clips at 255 or
    cuts to their upper 8, stay what they are, and those of 8 bits are carried, as in ``decode``.

    Args:
        data: Content of the file.
        look: What it shall become, of 1 or 3 channels, or None for what it is in 8 bits: grey or
            RGB.

    Returns:
        uint8 or, of a deep look, float32 (C, H, W), and what was found.

    Raises:
        PictureError: If it is damaged, incomplete, no picture, or too large.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_pixels(image.height, image.width)
            numbers = _deep_colours(data, image)
            image.load()
            orientation = 1
            with contextlib.suppress(Exception):  # damaged Exif data: the picture counts
                orientation = int(image.getexif().get(_ORIENTATION, 1))
            deep = image.mode.startswith("I") or image.mode == "F"
            if deep and not isinstance(numbers, _Deep):
                numbers = _deep_grey(image)
            whole = (
                _image(_clipped(numbers)) if deep and isinstance(numbers, _Deep) else image
            ).convert("RGB")
            colour = image.mode not in ("1", "L", "LA", "La") and not deep
            if image.mode in ("P", "PA"):
                colour = _has_colours(whole)
            found = Opened(
                size=(image.height, image.width),
                colour=colour,
                alpha=image.has_transparency_data,
                orientation=orientation if orientation in range(2, 9) else 1,
                deep=deep,
                cut=numbers is not None and not deep,
            )
        if look is None:
            return _array(_of_channels(whole, 3 if colour else 1, (0.0, 255.0))), found
        if not look.deep:
            return _arranged(whole, look), found
        if not isinstance(numbers, _Deep):
            numbers = _deepened(whole, look.bounds)
        return _arranged_deep(replace(numbers, alpha=None), look), found
    except PictureError:
        raise
    except Exception as error:  # Pillow raises many classes on damaged files
        raise PictureError(_reason(error)) from error


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "no picture, or damaged where it begins"
    text = " ".join(str(error).split())
    if isinstance(error, Image.DecompressionBombError):
        return f"a decompression bomb: {text}"
    plain = isinstance(error, (OSError, SyntaxError, ValueError)) and text
    return text if plain else f"{type(error).__name__}: {text}"


def _check_pixels(height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise PictureError(
            f"a decompression bomb: {width}x{height} are more than {MOST_PIXELS:,} pixels"
        )


# -- JPEG, the short way ----------------------------------------------------------------------


def _plain_jpeg(data: bytes) -> tuple[int, int, int] | None:
    """Height, width and channels of a grey or RGB JPEG of 8 bits without Exif, from its header."""
    if data[:2] != b"\xff\xd8":
        return None
    place = 2
    try:
        while True:
            if data[place] != 0xFF:
                return None
            marker = data[place + 1]
            if marker == 0xFF:  # padding
                place += 1
            elif 0xC0 <= marker <= 0xC2:
                bits, height, width, channels = struct.unpack_from(">BHHB", data, place + 4)
                plain = bits == 8 and channels in (1, 3) and height and width
                return (height, width, channels) if plain else None
            elif marker == 0xE1 or not 0xC4 <= marker <= 0xFE or 0xD0 <= marker <= 0xDA:
                return None  # perhaps Exif, or nothing that stands before a frame
            else:
                place += 2 + (data[place + 2] << 8 | data[place + 3])
    except (IndexError, struct.error):
        return None


def _only_size(height: int, width: int, look: OutputFormat) -> bool:
    """Whether a picture that is not too large to wait for others differs in nothing but size."""
    whole = look.stretch or height * look.size[1] == width * look.size[0]
    return whole and height * width <= _SMALL


@functools.lru_cache(maxsize=256)
def _jpeg_facts(height: int, width: int, channels: int) -> ImageStats:
    size = (height, width)
    return ImageStats(
        low=size, high=size, colour=channels == 3, any_opaque=True, any_transparent=False
    )


@functools.cache
def _jpeg_operator() -> Any:
    """What torchvision decodes a JPEG with, or None where it has no such thing."""
    try:
        import torch
        import torchvision.io  # noqa: F401 - defines the operator

        # Its Python function warns at every call that it will go away one day.
        return torch.ops.image.decode_jpeg.default
    except (ImportError, AttributeError, RuntimeError):
        return None


def _decoded_jpeg(data: bytes) -> Pixels | None:
    """A JPEG as (C, H, W): the values that Pillow has too, with less around them."""
    import torch

    operator = _jpeg_operator()
    if operator is None:
        return None
    try:
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pixels: Pixels = operator(encoded, 0, False).numpy()
    except RuntimeError:
        return None
    return pixels


def _image(pixels: Pixels) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def resized(pixels: list[Pixels], size: tuple[int, int]) -> Pixels:
    """Resize pictures of one shape, as Pillow's antialiased bilinear filter does it.

    Args:
        pixels: uint8 arrays (C, H, W).
        size: Height and width that they shall have.

    Returns:
        uint8 (N, C, *size); values may differ from Pillow's by 1.
    """
    import torch
    from torch.nn import functional

    # Channels last in memory, for which torch has a kernel that is twice as quick.
    stacked = torch.stack([torch.from_numpy(each.transpose(1, 2, 0)) for each in pixels])
    done = functional.interpolate(
        stacked.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False, antialias=True
    )
    result: Pixels = done.numpy()
    return result


# -- everything else --------------------------------------------------------------------------


def _opened(data: bytes, look: OutputFormat | None) -> tuple[Image.Image | _Deep, ImageStats]:
    """The picture, upright, in the mode L, RGB or RGBA or deep, and what was seen in it."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _check_pixels(image.height, image.width)
        size = image.height, image.width
        turned = False
        cut = False
        if image.format in ("JPEG", "MPO"):
            with contextlib.suppress(Exception):  # damaged Exif data: the picture counts
                turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
            if turned:
                size = size[::-1]
            if look is not None and _reducible(*size, look):
                wide, tall = (round(_OVERSAMPLED * side) for side in _scaled(*size, look))
                image.draft(None, (tall, wide) if turned else (wide, tall))
        else:
            deep = _deep_colours(data, image)
            if deep is None and (image.mode.startswith("I") or image.mode == "F"):
                deep = _deep_grey(image)
            if isinstance(deep, _Deep):
                with contextlib.suppress(Exception):
                    deep = deep.turned(image.getexif().get(_ORIENTATION, 1))
                return deep, deep.facts
            cut = deep is False
        image.load()
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        if image.format not in ("JPEG", "MPO"):
            size = image.height, image.width
        plain, colour, alpha = _plain(image)
    any_transparent = alpha and bool(np.asarray(plain.getchannel("A")).min() < 255)
    return plain, ImageStats(
        low=size,
        high=size,
        colour=colour,
        any_opaque=not alpha,
        any_transparent=any_transparent,
        cut=cut,
    )


def _plain(image: Image.Image) -> tuple[Image.Image, bool, bool]:
    """The picture as L, RGB or RGBA; whether it has colours; whether it has an alpha channel."""
    mode = image.mode
    if image.has_transparency_data:
        colour = mode not in ("L", "LA", "La", "1")
        plain = image.convert("RGBA")
        if mode in ("P", "PA"):
            colour = _has_colours(plain)
        return plain, colour, True
    if mode in ("1", "L"):
        return image.convert("L"), False, False
    plain = image.convert("RGB")
    if mode == "P" and not _has_colours(plain):
        return plain.convert("L"), False, False
    return plain, True, False


def _has_colours(image: Image.Image) -> bool:
    red, green, blue = (image.getchannel(name).tobytes() for name in "RGB")
    return not red == green == blue


def _scaled(height: int, width: int, look: OutputFormat) -> tuple[float, float]:
    """Width and height that the whole picture has once it fits the look."""
    tall, wide = look.size
    if look.stretch:
        return wide, tall
    scale = max(tall / height, wide / width)
    return width * scale, height * scale


def _reducible(height: int, width: int, look: OutputFormat) -> bool:
    """Whether a JPEG may be decoded at half its size or less without a visible difference."""
    wide, tall = _scaled(height, width, look)
    return min(width / wide, height / tall) >= 2 * _OVERSAMPLED


def _arranged(image: Image.Image, look: OutputFormat) -> Pixels:
    """A picture of mode L, RGB or RGBA as an array of the look."""
    return _array(_of_channels(_placed(image, look), look.channels, look.bounds))


def _placed(image: Image.Image, look: OutputFormat) -> Image.Image:
    """A picture of any mode, cut and resized to the size of the look."""
    from PIL import Image

    (width, height), (tall, wide) = image.size, look.size
    if (height, width) == (tall, wide):
        return image
    part_width, part_height = float(width), float(height)
    if not look.stretch:
        scale = min(width / wide, height / tall)
        part_width, part_height = wide * scale, tall * scale
    left, top = max(0.0, (width - part_width) / 2), max(0.0, (height - part_height) / 2)
    if (part_width, part_height) == (wide, tall):  # nothing but a crop
        return image.crop((int(left), int(top), int(left) + wide, int(top) + tall))
    # Rounding may put a side of the box past the edge, which Pillow refuses.
    box = (left, top, min(left + part_width, width), min(top + part_height, height))
    return image.resize((wide, tall), Image.Resampling.BILINEAR, box=box)


def _of_channels(image: Image.Image, channels: int, bounds: Range) -> Image.Image:
    from PIL import Image

    if image.mode == "RGBA" and channels < 4:
        white = round(bounds[1])
        ground = Image.new("RGBA", image.size, (white, white, white, 255))
        ground.alpha_composite(image)
        image = ground
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    return image if image.mode == mode else image.convert(mode)


def _array(image: Image.Image) -> Pixels:
    import numpy as np

    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


# -- more than 8 bits -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Deep:
    """A picture of more than 8 bits.

    Attributes:
        depth: What numbers it holds.
        planes: (1 or 3, H, W), as they are in the file.
        alpha: (H, W) from 0 for transparent to 1, or None.
    """

    depth: Depth
    planes: Planes
    alpha: Planes | None = None

    @property
    def facts(self) -> ImageStats:
        """What is seen in it.

        Raises:
            PictureError: If it holds NaN or infinite values.
        """
        import numpy as np

        bad = int(self.planes.size - np.count_nonzero(np.isfinite(self.planes)))
        if bad:
            raise PictureError(f"{bad:,} NaN or infinite value{'s' if bad > 1 else ''}")
        size = (self.planes.shape[1], self.planes.shape[2])
        any_transparent = self.alpha is not None and bool(self.alpha.min() < 1)
        deep = ((self.depth, float(self.planes.min()), float(self.planes.max())),)
        colour = len(self.planes) == 3 and not _grey_alone(self.planes)
        return ImageStats(
            low=size,
            high=size,
            colour=colour,
            any_opaque=self.alpha is None,
            any_transparent=any_transparent,
            plain=False,
            deep=deep,
        )

    def turned(self, orientation: int) -> _Deep:
        """Return it as its Exif data say."""
        turn = _TURNS.get(orientation)
        if turn is None:
            return self
        alpha = None if self.alpha is None else turn(self.alpha)
        return _Deep(self.depth, turn(self.planes), alpha)


_TURNS: dict[int, Callable[[Planes], Planes]] = {
    2: lambda planes: planes[..., ::-1],
    3: lambda planes: planes[..., ::-1, ::-1],
    4: lambda planes: planes[..., ::-1, :],
    5: lambda planes: planes.swapaxes(-1, -2),
    6: lambda planes: planes[..., ::-1, :].swapaxes(-1, -2),
    7: lambda planes: planes[..., ::-1, ::-1].swapaxes(-1, -2),
    8: lambda planes: planes[..., ::-1].swapaxes(-1, -2),
}


def _grey_alone(planes: Planes) -> bool:
    return bool((planes[0] == planes[1]).all() and (planes[0] == planes[2]).all())


def _deep_grey(image: Image.Image) -> _Deep:
    """A picture of the mode I, I;16 or F, with its numbers."""
    import numpy as np

    depth: Depth = "float32" if image.mode == "F" else "int32"
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        depth = "uint16"  # PNG and PGM have nothing that is deeper
    with np.errstate(over="ignore"):
        return _Deep(depth, np.asarray(image).astype(np.float32)[None])


def _deep_colours(data: bytes, image: Image.Image) -> _Deep | bool | None:
    """A picture of 16 bits in colour or with alpha, which Pillow would cut to 8.

    None if it is no such picture, and False if it is one of which no more can be read.
    """
    if image.format == "PNG" and data[12:16] == b"IHDR" and data[24] == 16:
        return None if data[25] == 0 else _deep_png(data)
    if image.format == "PPM" and data[:2] == b"P6":
        return _deep_ppm(data, image)
    if image.format == "TIFF" and image.mode in ("RGB", "RGBA", "LA"):
        return _deep_tiff(data, image)
    return None


def _deep_png(data: bytes) -> _Deep | bool:
    """A PNG of 16 bits that is not grey alone."""
    import torch

    try:
        import torchvision.io  # noqa: F401 - defines the operator

        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        planes = torch.ops.image.decode_png.default(encoded, 0, False).numpy()
    except (ImportError, AttributeError, RuntimeError):
        return False  # Pillow shall say what is wrong
    return _parted(planes) if planes.dtype.name == "uint16" else False


def _deep_ppm(data: bytes, image: Image.Image) -> _Deep | None:
    """A binary colour PPM with numbers beyond 255, scaled to 65535 as Pillow does it for grey."""
    import numpy as np

    header = re.match(_PPM_HEADER, data)
    top = int(header[1]) if header else 0
    count = image.height * image.width * 3
    if header is None or not 255 < top < 65536 or len(data) - header.end() < 2 * count:
        return None
    numbers = np.frombuffer(data, ">u2", count, header.end()).astype(np.float32)
    planes = numbers.reshape(image.height, image.width, 3).transpose(2, 0, 1)
    return _parted(np.minimum(np.rint(planes * (65535 / top)), 65535))


def _deep_tiff(data: bytes, image: Image.Image) -> _Deep | bool | None:
    """A colour TIFF of 16 bits: as it is in the file, where it is not compressed."""
    import numpy as np

    tiles = getattr(image, "tile", None) or ()
    raw = [tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in tiles]
    if not raw or not all(isinstance(one, str) and ";16" in one for one in raw):
        return None
    order = {"L": "<u2", "B": ">u2"}.get(raw[0][-1])
    bands = {"RGB": 3, "RGBA": 4, "LA": 2}[raw[0].partition(";")[0]] if order else 0
    if order is None or any(tile.codec_name != "raw" for tile in tiles):
        return False
    height, width = (max(tile.extents[side] for tile in tiles) for side in (3, 2))
    planes = np.zeros((bands, height, width), np.float32)
    for tile in tiles:
        left, top, right, bottom = tile.extents
        shape = bottom - top, right - left, bands
        if tile.args[0] != raw[0] or tile.args[1:] != (0, 1):
            return False
        numbers = np.frombuffer(data, order, math.prod(shape), tile.offset).reshape(shape)
        planes[:, top:bottom, left:right] = numbers.transpose(2, 0, 1)
    return _parted(planes)


def _parted(planes: NDArray[Any]) -> _Deep:
    """Numbers of 16 bits (C, H, W), with or without alpha."""
    import numpy as np

    planes = planes.astype(np.float32)
    if len(planes) in (1, 3):
        return _Deep("uint16", planes)
    return _Deep("uint16", planes[:-1], planes[-1] / np.float32(65535))


def _eight_bits(deep: _Deep, facts: ImageStats, clip: bool = False) -> NDArray[np.uint8]:
    """A deep picture as (C, H, W) of 8 bits; Pillow's own conversion would clip it."""
    import numpy as np

    ((_, low, high),) = facts.deep
    top = 1.0 if deep.depth == "float32" else 65535.0
    if deep.depth == "int32" and high <= 255:
        top = 255.0
    if not (clip or (low >= 0 and high <= top)):
        raise PictureError(f"values from {low:g} to {high:g}, where 0 to {top:g} have a meaning")
    planes = deep.planes * (255.0 / top)
    if deep.alpha is not None:
        colours = np.repeat(planes, 3, axis=0) if len(planes) == 1 else planes
        planes = np.concatenate([colours, deep.alpha[None] * 255])
    pixels: NDArray[np.uint8] = np.rint(planes).clip(0, 255).astype(np.uint8)
    return pixels


def _clipped(deep: _Deep) -> NDArray[np.uint8]:
    """The numbers that 8 bits hold, as Pillow's conversion takes them."""
    import numpy as np

    return np.clip(deep.planes, 0, 255).astype(np.uint8)


def carries(bounds: Range) -> bool:
    """Return whether pictures of 8 bits are carried to a range; else it is one of their numbers."""
    return not (bounds[0] >= 0 and 1 < bounds[1] <= 255)


def _deepened(image: Image.Image, bounds: Range) -> _Deep:
    """A picture of mode L, RGB or RGBA among deeper ones."""
    import numpy as np

    planes = _array(image).astype(np.float32)
    alpha = planes[3] / np.float32(255) if image.mode == "RGBA" else None
    low, high = bounds
    if carries(bounds):
        planes = planes * np.float32((high - low) / 255) + np.float32(low)
    return _Deep("uint16", planes[:3], alpha)


def _arranged_deep(deep: _Deep, look: OutputFormat) -> Pixels:
    """A deep picture as a float32 array of the look."""
    import numpy as np

    low, high = look.bounds
    planes, alpha = deep.planes, deep.alpha
    if look.channels == 1 and len(planes) == 3:
        red, green, blue = planes
        # As Pillow weighs them; what is grey already stays as it is.
        grey = red if _grey_alone(planes) else (299 * red + 587 * green + 114 * blue) / 1000
        planes = grey[None].astype(np.float32)
    elif look.channels > 1 and len(planes) == 1:
        planes = np.repeat(planes, 3, axis=0)
    alone = look.channels == 4
    base = low if alone else high  # what is transparent is put on white
    weighed = alpha is not None and not (alone and planes.shape[1:] == look.size)
    if alpha is not None and weighed:  # colours count as much as they are seen
        planes = base + (planes - base) * alpha
    if alone:
        seen = np.ones_like(planes[:1]) if alpha is None else alpha[None]
        planes = np.concatenate([planes, seen])
    placed = np.stack([np.asarray(_placed(_plane(each), look)) for each in planes])
    if alone:
        seen = placed[3:]
        if weighed:
            colours = base + (placed[:3] - base) / np.maximum(seen, np.float32(1e-6))
            placed[:3] = np.clip(colours, deep.planes.min(), deep.planes.max())
        placed[3:] = low + seen * (high - low)
    return placed.astype(np.float32, copy=False)


def _plane(numbers: Planes) -> Image.Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(numbers, dtype=np.float32))
