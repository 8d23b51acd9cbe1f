"""Samples as pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ganzoo.spec import SampleSpec

__all__ = ["grid", "images"]

_LEGIBLE = 64  # pixels that one tile of a grid spans at the least


def images(samples: Tensor, spec: SampleSpec) -> list[Image]:
    """Return samples as pictures: greyscale, RGB or RGBA by their number of channels.

    Of samples with another number of channels the first three are shown as RGB, or the first
    one as greyscale where there are only two.

    Args:
        samples: (N, C, H, W) in the spec's value range; values beyond it are clipped.
        spec: What one sample is.

    Raises:
        ConfigError: If the samples are no images.
    """
    from PIL import Image

    return [Image.fromarray(pixels) for pixels in _pixels(samples, spec).numpy()]


def grid(samples: Tensor, spec: SampleSpec, columns: int | None = None) -> Image:
    """Return samples in rows on one picture, enlarged by a whole factor until they are legible.

    Args:
        samples: (N, C, H, W) in the spec's value range.
        spec: What one sample is.
        columns: Samples in a row; by default a square.

    Raises:
        ConfigError: If the samples are no images, or there are none.
    """
    from PIL import Image

    if len(samples) == 0:
        raise ConfigError("A grid needs at least one sample, and there are none.")
    pixels = _pixels(samples, spec)
    if columns is None:
        columns = math.ceil(math.sqrt(len(pixels)))
    if columns < 1:
        raise ConfigError(f"A grid needs at least one column, not {columns}.")
    enlarge = math.ceil(_LEGIBLE / max(spec.size))
    pixels = pixels.repeat_interleave(enlarge, dim=1).repeat_interleave(enlarge, dim=2)
    gap = 2
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
    return Image.fromarray(canvas.numpy())


def _pixels(samples: Tensor, spec: SampleSpec) -> Tensor:
    """(N, H, W) or (N, H, W, 3 or 4) uint8 on the CPU."""
    if spec.kind != "image":
        raise ConfigError(f"Only images can be shown as pictures; this is a {spec}.")
    low, high = spec.value_range or (float(samples.min()), float(samples.max()))
    span = (high - low) or 1.0
    pixels = samples.detach().float().sub(low).mul(255 / span).round().clamp(0, 255)
    pixels = pixels.nan_to_num(0).to("cpu", torch.uint8)
    channels = pixels.shape[1]
    if channels < 3:
        return pixels[:, 0].contiguous()
    shown = 4 if channels == 4 else 3
    return pixels[:, :shown].permute(0, 2, 3, 1).contiguous()
