"""One encoded picture as an array, in the form of its set, whatever its format and mode."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ganzoo.datasets import deep
from ganzoo.datasets.deep import DeepPicture
from ganzoo.datasets.formats import NATIVE_LIMIT, ImageStats, OutputFormat, PictureError
from ganzoo.datasets.placing import arranged, as_array, of_channels, scaled

if TYPE_CHECKING:
    from PIL import Image

    from ganzoo.datasets.placing import Pixels

__all__ = [
    "MOST_PIXELS",
    "SUFFIXES",
    "Opened",
    "decode",
    "decode_as_programs",
    "look_at",
    "resized",
]

SUFFIXES = frozenset(
    b".jpg .jpeg .jpe .jfif .png .webp .bmp .dib .tif .tiff .gif .pgm .ppm .pnm".split()
)
"""Suffixes of pictures, in lower case."""
MOST_PIXELS = 2 * 89_478_485
"""Beyond this many pixels a picture is taken for a decompression bomb, as Pillow does."""

_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112
_SMALL = NATIVE_LIMIT**2  # pixels up to which pictures wait to be resized together
_OVERSAMPLED = 2  # a JPEG is decoded at a fraction of its size only if that is this much too large


def decode(data: bytes, output: OutputFormat) -> tuple[Pixels, ImageStats]:
    """Decode one picture.

    A JPEG without Exif data whose only difference is its size comes back in that size, for
    ``resized``: many of them are resized together more quickly.

    Exif orientation is applied. Of several frames or pages the first counts. In a deep form,
    numbers of more than 8 bits stay what they are, and those of 8 bits are carried from 0..255 to
    its bounds, unless these are within 0..255. Of 16 bits in the colours of a compressed TIFF,
    Pillow takes the upper 8. Palettes, CMYK and others become RGB by Pillow's conversion; colour
    profiles are not applied. Transparent pixels are put on white where no alpha is retained. Sizes
    change with Pillow's antialiased bilinear filter.

    Returns:
        uint8 or, in a deep form, float32 (C, H, W), of that form or to be resized to it; and what
        was seen.

    Raises:
        PictureError: If it is damaged, incomplete, no picture, or too large.
    """
    with _picture_errors():
        if not output.deep and (quick := _quick(data, output)) is not None:
            return quick
        found, facts = _opened(data, output)
        if output.deep:
            if not isinstance(found, DeepPicture):
                found = deep.carried(found, output.bounds)
            return deep.arranged(found, output), facts
        if isinstance(found, DeepPicture):
            found = _image(deep.clipped(found))
        return arranged(found, output), facts


def look_at(data: bytes) -> ImageStats:
    """Return what is seen in one picture.

    Raises:
        PictureError: As ``decode``.
    """
    with _picture_errors():
        return _opened(data, None)[1]


class Opened(NamedTuple):
    """What a picture is before anything is made of it.

    Attributes:
        size: Height and width as they are stored, whatever Exif data say.
        colour: Whether it has colours, or could have.
        alpha: Whether it has an alpha channel, or a transparent colour.
        orientation: What Exif data say of how to turn it: 1 to 8.
        deep: Whether it is greyscale of more than 8 bits.
        cut: Whether it is not, and has 16 bits in colours or with alpha.
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


def decode_as_programs(data: bytes, output: OutputFormat | None) -> tuple[Pixels, Opened]:
    """Decode one picture as the programs that compute FID do: ``Image.open(...).convert("RGB")``.

    Alpha is dropped, so that what lies under it is seen; Exif orientation is ignored; of
    several frames the first counts; palettes and CMYK are converted by Pillow. One thing is done
    otherwise: in a deep output, numbers of more than 8 bits, which that conversion clips at 255 or
    cuts to their upper 8, stay what they are, and those of 8 bits are carried, as in ``decode``.

    Args:
        data: Content of the file.
        output: The form of the set, of 1 or 3 channels, or None for what it is in 8 bits: grey or
            RGB.

    Returns:
        uint8 or, of a deep output, float32 (C, H, W), and what was found.

    Raises:
        PictureError: As ``decode``.
    """
    from PIL import Image

    with _picture_errors():
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_pixels(image.height, image.width)
            numbers = deep.colours_of(data, image)
            image.load()
            orientation = 1
            with contextlib.suppress(Exception):  # damaged Exif data: the picture counts
                orientation = int(image.getexif().get(_ORIENTATION, 1))
            is_deep = image.mode.startswith("I") or image.mode == "F"
            if is_deep and not isinstance(numbers, DeepPicture):
                numbers = deep.grey_of(image)
            whole: Image.Image = image
            if is_deep and isinstance(numbers, DeepPicture):
                whole = _image(deep.clipped(numbers))
            whole = whole.convert("RGB")
            colour = image.mode not in ("1", "L", "LA", "La") and not is_deep
            if image.mode in ("P", "PA"):
                colour = _has_colours(whole)
            found = Opened(
                size=(image.height, image.width),
                colour=colour,
                alpha=image.has_transparency_data,
                orientation=orientation if orientation in range(2, 9) else 1,
                deep=is_deep,
                cut=numbers is not None and not is_deep,
            )
        if output is None:
            return as_array(of_channels(whole, 3 if colour else 1, (0.0, 255.0))), found
        if not output.deep:
            return arranged(whole, output), found
        if not isinstance(numbers, DeepPicture):
            numbers = deep.carried(whole, output.bounds)
        return deep.arranged(replace(numbers, alpha=None), output), found


@contextlib.contextmanager
def _picture_errors() -> Iterator[None]:
    """Turn whatever is raised into a ``PictureError``: Pillow raises many classes."""
    try:
        yield
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(_reason(error)) from error


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    text = " ".join(str(error).split())
    if isinstance(error, UnidentifiedImageError):
        return "no picture, or damaged where it begins"
    if isinstance(error, Image.DecompressionBombError):
        return f"a decompression bomb: {text}"
    plain = isinstance(error, (OSError, SyntaxError, ValueError)) and text
    return text if plain else f"{type(error).__name__}: {text}"


def _check_pixels(height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise PictureError(
            f"a decompression bomb: {width}x{height} are more than {MOST_PIXELS:,} pixels"
        )


# -- JPEG by torchvision's operator, which takes two thirds of Pillow's time ----------------------


def _quick(data: bytes, output: OutputFormat) -> tuple[Pixels, ImageStats] | None:
    """A plain JPEG, decoded; None for Pillow to do."""
    if (header := _plain_jpeg(data)) is None:
        return None
    height, width, channels = header
    _check_pixels(height, width)
    if _reducible(height, width, output) or (pixels := _decoded_jpeg(data)) is None:
        return None
    facts = _jpeg_facts(height, width, channels)
    whole = output.stretch or height * output.size[1] == width * output.size[0]
    if channels == output.channels and whole and height * width <= _SMALL:
        return pixels, facts
    return arranged(_image(pixels), output), facts


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


@functools.lru_cache(maxsize=256)
def _jpeg_facts(height: int, width: int, channels: int) -> ImageStats:
    size = (height, width)
    return ImageStats(size, size, channels == 3, any_opaque=True, any_transparent=False)


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

    if (operator := _jpeg_operator()) is None:
        return None
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    try:
        pixels: Pixels = operator(encoded, 0, False).numpy()
    except RuntimeError:
        return None
    return pixels


def _image(pixels: Pixels) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def resized(pixels: list[Pixels], size: tuple[int, int]) -> Pixels:
    """Resize uint8 (C, H, W) of one shape to (N, C, *size), as Pillow's bilinear filter does it.

    Values may differ from Pillow's by 1.
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


def _opened(
    data: bytes, output: OutputFormat | None
) -> tuple[Image.Image | DeepPicture, ImageStats]:
    """The picture, upright, in the mode L, RGB or RGBA or deep, and what was seen in it."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _check_pixels(image.height, image.width)
        size = image.height, image.width
        turned = cut = False
        if image.format in ("JPEG", "MPO"):
            with contextlib.suppress(Exception):  # damaged Exif data: the picture counts
                turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
            if turned:
                size = size[::-1]
            if output is not None and _reducible(*size, output):
                wide, tall = (round(_OVERSAMPLED * side) for side in scaled(*size, output))
                image.draft(None, (tall, wide) if turned else (wide, tall))
        else:
            numbers = deep.colours_of(data, image)
            if numbers is None and (image.mode.startswith("I") or image.mode == "F"):
                numbers = deep.grey_of(image)
            if isinstance(numbers, DeepPicture):
                with contextlib.suppress(Exception):
                    numbers = numbers.turned(image.getexif().get(_ORIENTATION, 1))
                return numbers, numbers.facts
            cut = numbers is False
        image.load()
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        if image.format not in ("JPEG", "MPO"):
            size = image.height, image.width
        plain, colour, alpha = _plain(image)
    clear = alpha and bool(np.asarray(plain.getchannel("A")).min() < 255)
    return plain, ImageStats(size, size, colour, not alpha, clear, cut=cut)


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


def _reducible(height: int, width: int, output: OutputFormat) -> bool:
    """Whether a JPEG may be decoded at half its size or less without a visible difference."""
    wide, tall = scaled(height, width, output)
    return min(width / wide, height / tall) >= 2 * _OVERSAMPLED
