"""One encoded picture as an array: any format and mode, in the form that its set is kept in."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint8]

__all__ = [
    "MOST_PIXELS",
    "SUFFIXES",
    "Crop",
    "Facts",
    "Look",
    "Mode",
    "Opened",
    "PictureError",
    "Wanted",
    "decode",
    "decode_as_programs",
    "resized",
    "span",
]

Crop = Literal["center", "random", "none"]
Mode = Literal["auto", "grey", "rgb", "rgba"]

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


class PictureError(Exception):
    """A picture that cannot be decoded; the text says why, to stand in parentheses."""


class Facts(NamedTuple):
    """What has been seen in pictures, of which the form of their set follows.

    Attributes:
        low: Smallest height and smallest width.
        high: Largest height and largest width.
        colour: Whether one has colours, or could have.
        bare: Whether one has no alpha channel.
        clear: Whether one has a transparent pixel.
    """

    low: tuple[int, int]
    high: tuple[int, int]
    colour: bool
    bare: bool
    clear: bool

    def merged(self, other: Facts | None) -> Facts:
        """Return what has been seen in both."""
        if other is None:
            return self
        return Facts(
            low=(min(self.low[0], other.low[0]), min(self.low[1], other.low[1])),
            high=(max(self.high[0], other.high[0]), max(self.high[1], other.high[1])),
            colour=self.colour or other.colour,
            bare=self.bare or other.bare,
            clear=self.clear or other.clear,
        )

    @property
    def native(self) -> tuple[int, int] | None:
        """Height and width that all pictures have, if they do and are not too large."""
        return self.high if self.low == self.high and max(self.high) <= NATIVE_LIMIT else None


def span(low: tuple[int, int], high: tuple[int, int]) -> str:
    """Return the sizes of pictures in words: ``heights from 32 to 64 and a width of 96``.

    Args:
        low: Smallest height and smallest width.
        high: Largest height and largest width.
    """
    height, width = (
        f"a {what} of {most}" if least == most else f"{what}s from {least} to {most}"
        for what, least, most in zip(("height", "width"), low, high, strict=True)
    )
    return f"{height} and {width}"


@dataclass(frozen=True)
class Look:
    """The form in which the pictures of a set are kept.

    Attributes:
        channels: 1, 3 or 4.
        size: Height and width.
        stretch: Whether proportions give way; otherwise what is too long is cut off both ends.
    """

    channels: int
    size: tuple[int, int]
    stretch: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, *self.size)


@dataclass(frozen=True)
class Wanted:
    """The form that was asked for, where it was.

    Attributes:
        size: Height and width of a sample, or None for what ``size_of`` says.
        crop: How pictures of other proportions are brought to it.
        mode: What the channels mean, or ``auto``.
    """

    size: tuple[int, int] | None
    crop: Crop
    mode: Mode

    @property
    def settled(self) -> bool:
        """Whether the form does not depend on the pictures."""
        return self.size is not None and self.mode != "auto"

    def size_of(self, facts: Facts | None) -> tuple[int, int]:
        """Return height and width of a sample: as asked for, as all are, or 64x64."""
        return self.size or (facts.native if facts is not None else None) or FALLBACK

    def look(self, facts: Facts | None) -> Look:
        """Return the form in which pictures of these facts are kept.

        With ``auto``, the channels are those of RGBA where every picture has an alpha channel and
        at least one makes use of it; of RGB where at least one picture has colours; otherwise
        grey. For random crops, each side is kept with an eighth to spare.
        """
        if self.mode != "auto":
            channels = _CHANNELS[self.mode]
        elif facts is not None and facts.clear and not facts.bare:
            channels = 4
        else:
            channels = 1 if facts is not None and not facts.colour else 3
        height, width = self.size_of(facts)
        if self.crop == "random":
            spare, part = _SPARE
            height, width = -(-height * spare // part), -(-width * spare // part)
        return Look(channels=channels, size=(height, width), stretch=self.crop == "none")


def decode(data: bytes, look: Look | None) -> tuple[Pixels, Facts]:
    """Decode one picture.

    A JPEG without Exif data whose only difference is its size comes back in that size, for
    ``resized``: many of them are resized together more quickly.

    Orientation in Exif data is applied. Of several frames or pages the first counts. Samples of
    16 bits are scaled to 8, which 65535 / 255 = 257 makes exact at both ends; in colour, Pillow
    takes their upper 8 bits. Palettes, CMYK and others become RGB by Pillow's conversion, colour
    profiles are not applied. What is transparent is put on white where no alpha is kept. Sizes
    change with Pillow's antialiased bilinear filter.

    Args:
        data: Content of the file.
        look: What it shall become, or None for what it is.

    Returns:
        uint8 (C, H, W), of the look or to be resized to it, and what was seen.

    Raises:
        PictureError: If it is damaged, incomplete, no picture, or too large.
    """
    header = _plain_jpeg(data)
    if header is not None:
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
        image, facts = _opened(data, look)
        return (_array(image) if look is None else _arranged(image, look)), facts
    except PictureError:
        raise
    except Exception as error:  # Pillow raises many classes on damaged files
        raise PictureError(_reason(error)) from error


class Opened(NamedTuple):
    """What a picture is before anything is made of it.

    Attributes:
        size: Height and width as they are stored, whatever Exif data say.
        colour: Whether it has colours, or could have.
        alpha: Whether it has an alpha channel, or a transparent colour.
        orientation: What Exif data say of how to turn it: 1 to 8.
        deep: Whether it is greyscale of more than 8 bits.
        scaled: Whether it is and its values were scaled to 8 bits.
    """

    size: tuple[int, int]
    colour: bool
    alpha: bool
    orientation: int
    deep: bool
    scaled: bool

    @property
    def plain(self) -> bool:
        """Whether ``decode`` makes the same of it as ``decode_as_programs``."""
        return not (self.alpha or self.deep) and self.orientation == 1


def decode_as_programs(data: bytes, look: Look | None) -> tuple[Pixels, Opened]:
    """Decode one picture as the programs that compute FID do: ``Image.open(...).convert("RGB")``.

    Alpha is dropped, so that what lies under it is seen; Exif orientation is not looked at; of
    several frames the first counts; palettes and CMYK are converted by Pillow. One thing is done
    otherwise: greyscale of more than 8 bits, which that conversion clips at 255, comes as from
    ``decode``. So do floats within [0, 1]; what lies within 0..255 is taken as it is.

    Args:
        data: Content of the file.
        look: What it shall become, of 1 or 3 channels, or None for what it is: grey or RGB.

    Returns:
        uint8 (C, H, W), and what was found.

    Raises:
        PictureError: If it is damaged, incomplete, no picture, or too large.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_pixels(image.height, image.width)
            image.load()
            orientation = 1
            with contextlib.suppress(Exception):  # damaged Exif data: the picture counts
                orientation = int(image.getexif().get(_ORIENTATION, 1))
            deep = image.mode.startswith("I") or image.mode == "F"
            scaled = deep and _clips(image)
            whole = image.convert("RGB") if not scaled else None
            colour = image.mode not in ("1", "L", "LA", "La") and not deep
            if whole is not None and image.mode in ("P", "PA"):
                colour = _has_colours(whole)
            found = Opened(
                size=(image.height, image.width),
                colour=colour,
                alpha=image.has_transparency_data,
                orientation=orientation if orientation in range(2, 9) else 1,
                deep=deep,
                scaled=scaled,
            )
    except PictureError:
        raise
    except Exception as error:  # Pillow raises many classes on damaged files
        raise PictureError(_reason(error)) from error
    if whole is None:
        pixels, _ = decode(data, None)
        whole = _image(pixels)
    if look is not None:
        return _arranged(whole, look), found
    return _array(_of_channels(whole, 3 if colour else 1)), found


def _clips(image: Image.Image) -> bool:
    """Whether Pillow's conversion to 8 bits would lose what is in a picture of more."""
    import numpy as np

    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    # Of 16 bits also a dark picture is scaled, so that all of a set are treated alike.
    least = {"I": 0.0, "F": 1.0}.get(image.mode, 255.0)
    return not (low >= 0 and least < high <= 255)


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


def _only_size(height: int, width: int, look: Look) -> bool:
    """Whether a picture that is not too large to wait for others differs in nothing but size."""
    whole = look.stretch or height * look.size[1] == width * look.size[0]
    return whole and height * width <= _SMALL


@functools.lru_cache(maxsize=256)
def _jpeg_facts(height: int, width: int, channels: int) -> Facts:
    size = (height, width)
    return Facts(low=size, high=size, colour=channels == 3, bare=True, clear=False)


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


def _opened(data: bytes, look: Look | None) -> tuple[Image.Image, Facts]:
    """The picture, upright, in the mode L, RGB or RGBA, and what was seen in it."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _check_pixels(image.height, image.width)
        size = image.height, image.width
        turned = False
        if image.format in ("JPEG", "MPO"):
            with contextlib.suppress(Exception):  # damaged Exif data: the picture counts
                turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
            if turned:
                size = size[::-1]
            if look is not None and _reducible(*size, look):
                wide, tall = (round(_OVERSAMPLED * side) for side in _scaled(*size, look))
                image.draft(None, (tall, wide) if turned else (wide, tall))
        image.load()
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        if image.format not in ("JPEG", "MPO"):
            size = image.height, image.width
        plain, colour, alpha = _plain(image)
    clear = alpha and bool(np.asarray(plain.getchannel("A")).min() < 255)
    return plain, Facts(low=size, high=size, colour=colour, bare=not alpha, clear=clear)


def _plain(image: Image.Image) -> tuple[Image.Image, bool, bool]:
    """The picture as L, RGB or RGBA; whether it has colours; whether it has an alpha channel."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return _eight_bits(image), False, False
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


def _eight_bits(image: Image.Image) -> Image.Image:
    """A greyscale picture of more than 8 bits as L; Pillow's own conversion would clip it."""
    import numpy as np
    from PIL import Image

    values: NDArray[Any] = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    top = 1.0 if image.mode == "F" else 65535.0
    if not (low >= 0 and high <= top):  # also where one is not a number
        raise PictureError(f"values from {low:g} to {high:g}, where 0 to {top:g} have a meaning")
    return Image.fromarray(np.rint(values * (255.0 / top)).astype(np.uint8))


def _scaled(height: int, width: int, look: Look) -> tuple[float, float]:
    """Width and height that the whole picture has once it fits the look."""
    tall, wide = look.size
    if look.stretch:
        return wide, tall
    scale = max(tall / height, wide / width)
    return width * scale, height * scale


def _reducible(height: int, width: int, look: Look) -> bool:
    """Whether a JPEG may be decoded at half its size or less without a visible difference."""
    wide, tall = _scaled(height, width, look)
    return min(width / wide, height / tall) >= 2 * _OVERSAMPLED


def _arranged(image: Image.Image, look: Look) -> Pixels:
    """A picture of mode L, RGB or RGBA as an array of the look."""
    from PIL import Image

    (width, height), (tall, wide) = image.size, look.size
    if (height, width) != (tall, wide):
        part_width, part_height = float(width), float(height)
        if not look.stretch:
            scale = min(width / wide, height / tall)
            part_width, part_height = wide * scale, tall * scale
        left, top = max(0.0, (width - part_width) / 2), max(0.0, (height - part_height) / 2)
        if (part_width, part_height) == (wide, tall):  # nothing but a crop
            image = image.crop((int(left), int(top), int(left) + wide, int(top) + tall))
        else:
            # Rounding may put a side of the box past the edge, which Pillow refuses.
            box = (left, top, min(left + part_width, width), min(top + part_height, height))
            image = image.resize((wide, tall), Image.Resampling.BILINEAR, box=box)
    return _array(_of_channels(image, look.channels))


def _of_channels(image: Image.Image, channels: int) -> Image.Image:
    from PIL import Image

    if image.mode == "RGBA" and channels < 4:
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        ground.alpha_composite(image)
        image = ground
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    return image if image.mode == mode else image.convert(mode)


def _array(image: Image.Image) -> Pixels:
    import numpy as np

    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
