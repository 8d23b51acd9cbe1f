"""Pictures of more than 8 bits: 16 bits in grey and colour, integers, floats."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganzoo.datasets.formats import Depth, ImageStats, OutputFormat, PictureError, carries
from ganzoo.datasets.placing import as_array, placed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ganzoo.datasets.ranges import Range

    Planes = NDArray[np.float32]

__all__ = ["DeepPicture", "arranged", "carried", "clipped", "colours_of", "grey_of"]

_PPM_HEADER = rb"P6" + 2 * rb"(?:\s|#[^\n]*\n)+\d+" + rb"(?:\s|#[^\n]*\n)+(\d+)\s"


@dataclass(frozen=True, eq=False)
class DeepPicture:
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

    def turned(self, orientation: int) -> DeepPicture:
        """Return it as its Exif data say."""
        turn = _TURNS.get(orientation)
        if turn is None:
            return self
        alpha = None if self.alpha is None else turn(self.alpha)
        return DeepPicture(self.depth, turn(self.planes), alpha)


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


def grey_of(image: Image.Image) -> DeepPicture:
    """A picture of the mode I, I;16 or F, with its numbers."""
    import numpy as np

    depth: Depth = "float32" if image.mode == "F" else "int32"
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        depth = "uint16"  # PNG and PGM have nothing that is deeper
    with np.errstate(over="ignore"):
        return DeepPicture(depth, np.asarray(image).astype(np.float32)[None])


def colours_of(data: bytes, image: Image.Image) -> DeepPicture | bool | None:
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


def _deep_png(data: bytes) -> DeepPicture | bool:
    """A PNG of 16 bits that is not grey alone."""
    import torch

    try:
        import torchvision.io  # noqa: F401 - defines the operator

        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        planes = torch.ops.image.decode_png.default(encoded, 0, False).numpy()
    except (ImportError, AttributeError, RuntimeError):
        return False  # Pillow will say what is wrong
    return _parted(planes) if planes.dtype.name == "uint16" else False


def _deep_ppm(data: bytes, image: Image.Image) -> DeepPicture | None:
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


def _deep_tiff(data: bytes, image: Image.Image) -> DeepPicture | bool | None:
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


def _parted(planes: NDArray[Any]) -> DeepPicture:
    """Numbers of 16 bits (C, H, W), with or without alpha."""
    import numpy as np

    planes = planes.astype(np.float32)
    if len(planes) in (1, 3):
        return DeepPicture("uint16", planes)
    return DeepPicture("uint16", planes[:-1], planes[-1] / np.float32(65535))


def clipped(deep: DeepPicture) -> NDArray[np.uint8]:
    """The numbers that 8 bits hold, as Pillow's conversion takes them."""
    import numpy as np

    return np.clip(deep.planes, 0, 255).astype(np.uint8)


def carried(image: Image.Image, bounds: Range) -> DeepPicture:
    """A picture of mode L, RGB or RGBA among deeper ones."""
    import numpy as np

    planes = as_array(image).astype(np.float32)
    alpha = planes[3] / np.float32(255) if image.mode == "RGBA" else None
    low, high = bounds
    if carries(bounds):
        planes = planes * np.float32((high - low) / 255) + np.float32(low)
    return DeepPicture("uint16", planes[:3], alpha)


def arranged(deep: DeepPicture, output: OutputFormat) -> Planes:
    """A deep picture as a float32 array of the form."""
    import numpy as np

    low, high = output.bounds
    planes, alpha = deep.planes, deep.alpha
    if output.channels == 1 and len(planes) == 3:
        red, green, blue = planes
        # As Pillow weighs them; what is grey already stays as it is.
        grey = red if _grey_alone(planes) else (299 * red + 587 * green + 114 * blue) / 1000
        planes = grey[None].astype(np.float32)
    elif output.channels > 1 and len(planes) == 1:
        planes = np.repeat(planes, 3, axis=0)
    alone = output.channels == 4
    base = low if alone else high  # what is transparent is put on white
    weighed = alpha is not None and not (alone and planes.shape[1:] == output.size)
    if alpha is not None and weighed:  # colours count as much as they are seen
        planes = base + (planes - base) * alpha
    if alone:
        seen = np.ones_like(planes[:1]) if alpha is None else alpha[None]
        planes = np.concatenate([planes, seen])
    found = np.stack([np.asarray(placed(_plane(each), output)) for each in planes])
    if alone:
        seen = found[3:]
        if weighed:
            colours = base + (found[:3] - base) / np.maximum(seen, np.float32(1e-6))
            found[:3] = np.clip(colours, deep.planes.min(), deep.planes.max())
        found[3:] = low + seen * (high - low)
    return found.astype(np.float32, copy=False)


def _plane(numbers: Planes) -> Image.Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(numbers, dtype=np.float32))
