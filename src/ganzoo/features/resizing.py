"""Pictures brought to a net's size, to the bit or nearly, as the reference programs do it.

FID changes by more than most methods improve it when the resizing changes: Parmar, Zhang and Zhu
2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", arXiv:2104.11222.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import interpolate

from ganzoo.errors import UnsupportedSampleError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Resize", "as_rgb", "resize"]

Resize = Literal[
    "tf1-bilinear", "bilinear", "pil-bilinear-float", "pil-bicubic-float", "pil-bicubic-uint8"
]

_LARGE = 2**24  # values that are resized at once, at most: in float64 they are 128 MiB


def as_rgb(pictures: Tensor, extractor: str) -> Tensor:
    """Return uint8 pictures (N, 1 or 3, H, W) as (N, 3, H, W): grey is three equal channels.

    Raises:
        UnsupportedSampleError: If they are no such pictures.
    """
    if pictures.dtype != torch.uint8 or pictures.dim() != 4 or pictures.shape[1] not in (1, 3):
        raise UnsupportedSampleError(
            f"The extractor '{extractor}' sees greyscale and RGB pictures, uint8 (N, 1 or 3, H, "
            f"W), and got {str(pictures.dtype).removeprefix('torch.')} "
            f"{tuple(pictures.shape)}. Use another extractor, or another metric."
        )
    return pictures.expand(-1, 3, -1, -1)


def resize(pictures: Tensor, size: int, how: Resize) -> Tensor:
    """Return uint8 pictures (N, C, H, W) as float32 (N, C, size, size), values in 0..255.

    Args:
        pictures: The pictures.
        size: Height and width wanted.
        how: ``tf1-bilinear``: as TensorFlow 1, with corners and no smoothing. ``bilinear``: as
            ``torch.nn.functional.interpolate``, without smoothing. ``pil-...-float``: Pillow's
            filters on float channels, which smooth where they shrink. ``pil-bicubic-uint8``:
            Pillow's filter on 8-bit pictures, rounded to whole numbers.
    """
    together = max(1, _LARGE // max(1, pictures[:1].numel()))
    if len(pictures) > together:
        return torch.cat([resize(part, size, how) for part in torch.split(pictures, together)])
    if how == "tf1-bilinear":
        return _tf1_bilinear(pictures.float(), size)
    if how == "bilinear":
        return interpolate(pictures.float(), (size, size), mode="bilinear", align_corners=False)
    if how == "pil-bicubic-uint8":
        return _pillow(pictures, size)
    # Pillow computes in float64, and so does torch if asked: they differ by float32's rounding.
    mode = "bicubic" if how == "pil-bicubic-float" else "bilinear"
    near = pictures.cpu() if pictures.device.type == "mps" else pictures  # which has no float64
    parts = torch.split(near, 1, 1) if near.numel() > _LARGE else (near,)  # one channel at a time
    resized = [
        interpolate(part.double(), (size, size), mode=mode, antialias=True, align_corners=False)
        .clamp_(0, 255)
        .float()
        for part in parts
    ]
    return torch.cat(resized, 1).to(pictures.device)


def _tf1_bilinear(pictures: Tensor, size: int) -> Tensor:
    """Output pixel i lies at input coordinate i * (input size / output size), to the bit.

    Columns first, as TensorFlow has it; each of the rows is then used by several rows.
    """
    for axis in (3, 2):
        length = pictures.shape[axis]
        scale = torch.tensor(length / size, dtype=torch.float32, device=pictures.device)
        place = torch.arange(size, dtype=torch.float32, device=pictures.device) * scale
        low = place.long()
        part = (place - low).view(-1, *[1] * (3 - axis))
        before = pictures.index_select(axis, low)
        after = pictures.index_select(axis, (low + 1).clamp_max(length - 1))
        pictures = before + (after - before) * part
    return pictures


def _pillow(pictures: Tensor, size: int) -> Tensor:
    import numpy as np
    from PIL import Image

    resized = []
    for picture in pictures.permute(0, 2, 3, 1).cpu().contiguous().numpy():
        found = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
        resized.append(torch.from_numpy(np.array(found)))
    return torch.stack(resized).permute(0, 3, 1, 2).to(pictures.device, torch.float32)
