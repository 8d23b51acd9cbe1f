"""Pillow images cut, resized and converted to a form, and as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ganzoo.datasets.formats import OutputFormat
    from ganzoo.datasets.ranges import Range

    Pixels = NDArray[np.uint8] | NDArray[np.float32]

__all__ = ["Pixels", "arranged", "as_array", "of_channels", "placed", "scaled"]


def arranged(image: Image.Image, output: OutputFormat) -> Pixels:
    """A picture of mode L, RGB or RGBA as an array of the output."""
    return as_array(of_channels(placed(image, output), output.channels, output.bounds))


def placed(image: Image.Image, output: OutputFormat) -> Image.Image:
    """A picture of any mode, cut and resized to the size of the output."""
    from PIL import Image

    (width, height), (tall, wide) = image.size, output.size
    if (height, width) == (tall, wide):
        return image
    part_width, part_height = float(width), float(height)
    if not output.stretch:
        scale = min(width / wide, height / tall)
        part_width, part_height = wide * scale, tall * scale
    left, top = max(0.0, (width - part_width) / 2), max(0.0, (height - part_height) / 2)
    if (part_width, part_height) == (wide, tall):  # nothing but a crop
        return image.crop((int(left), int(top), int(left) + wide, int(top) + tall))
    # Rounding may put a side of the box past the edge, which Pillow refuses.
    box = (left, top, min(left + part_width, width), min(top + part_height, height))
    return image.resize((wide, tall), Image.Resampling.BILINEAR, box=box)


def scaled(height: int, width: int, output: OutputFormat) -> tuple[float, float]:
    """Width and height that the whole picture has once it fits the output."""
    tall, wide = output.size
    if output.stretch:
        return wide, tall
    scale = max(tall / height, wide / width)
    return width * scale, height * scale


def of_channels(image: Image.Image, channels: int, bounds: Range) -> Image.Image:
    """Return a picture of mode L, RGB or RGBA in that many channels; without alpha, on white."""
    from PIL import Image

    if image.mode == "RGBA" and channels < 4:
        white = round(bounds[1])
        ground = Image.new("RGBA", image.size, (white, white, white, 255))
        ground.alpha_composite(image)
        image = ground
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    return image if image.mode == mode else image.convert(mode)


def as_array(image: Image.Image) -> Pixels:
    """Return an image as (C, H, W)."""
    import numpy as np

    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
