"""Random geometric changes of images, as one resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import grid_sample

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["chosen", "moved", "normal", "uniform"]


def chosen(p: Tensor, like: Tensor) -> Tensor:
    """Return for each of N samples whether something with probability p happens: bool (N,)."""
    return torch.rand(len(like), device=like.device) < p


def uniform(like: Tensor, low: float, high: float) -> Tensor:
    """Draw U(low, high) for each of N samples: (N,)."""
    return low + (high - low) * torch.rand(len(like), device=like.device, dtype=like.dtype)


def normal(like: Tensor, deviation: float) -> Tensor:
    """Draw N(0, deviation^2) for each of N samples: (N,)."""
    return deviation * torch.randn(len(like), device=like.device, dtype=like.dtype)


def moved(images: Tensor, p: Tensor) -> Tensor:
    """Return images with each geometric change of ADA's appendix B with probability p.

    In this order: mirror, quarter turn, shift by whole pixels, scale, turn, stretch, turn,
    shift by parts of pixels.

    Args:
        images: (N, C, H, W), float32 or float64.
        p: A 0-d tensor in [0, 1].

    Returns:
        (N, C, H, W), differentiable with respect to ``images`` any number of times.
    """
    height, width = images.shape[2:]
    sources = places(images, p)[:, :2, :, None, None]  # per pixel from here on
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    y = torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2
    found = sources[:, :, 0] * x + sources[:, :, 1] * y[:, None] + sources[:, :, 2]
    # In units in which half of each side is 1.
    grid = torch.stack((found[:, 0] * (2 / width), found[:, 1] * (2 / height)), 3)
    return grid_sample(images, grid, "bicubic", "reflection", align_corners=False)


def places(images: Tensor, p: Tensor) -> Tensor:
    """Draw where each pixel comes from: matrices (N, 3, 3), in pixels from the centre."""
    height, width = images.shape[2:]
    turned = 1 - (1 - p).clamp(min=0).sqrt()  # so that one of two turns happens with p

    def maybe(value: Tensor, odds: Tensor = p) -> Tensor:
        return value * chosen(odds, images)

    mirrored = 1 - 2 * maybe(uniform(images, 0, 2).floor())
    quarters = maybe(uniform(images, 0, 4).floor())
    if height != width:
        quarters = 2 * (quarters / 2).floor()
    whole = [maybe((uniform(images, -side / 8, side / 8)).round()) for side in (width, height)]
    size = 2 ** maybe(normal(images, 0.2))
    first = maybe(uniform(images, -math.pi, math.pi), turned)
    stretch = 2 ** maybe(normal(images, 0.2))
    second = maybe(uniform(images, -math.pi, math.pi), turned)
    parts = [maybe(normal(images, side / 8)) for side in (width, height)]
    # The inverse of each change, in the same order.
    return (
        _scaling(mirrored, torch.ones_like(mirrored))
        @ _rotation(quarters * (math.pi / 2))
        @ _shift(whole)
        @ _scaling(1 / size, 1 / size)
        @ _rotation(first)
        @ _scaling(1 / stretch, stretch)
        @ _rotation(second)
        @ _shift(parts)
    )


def _matrix(*entries: Tensor | float, like: Tensor) -> Tensor:
    """Return (N, 3, 3) from the six entries of the two upper rows, each (N,) or a number."""
    columns = [
        entry if isinstance(entry, torch.Tensor) else torch.full_like(like, entry)
        for entry in (*entries, 0.0, 0.0, 1.0)
    ]
    return torch.stack(columns, 1).reshape(-1, 3, 3)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    return _matrix(x, 0.0, 0.0, 0.0, y, 0.0, like=x)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return _matrix(cos, -sin, 0.0, sin, cos, 0.0, like=angle)


def _shift(by: Sequence[Tensor]) -> Tensor:
    return _matrix(1.0, 0.0, by[0], 0.0, 1.0, by[1], like=by[0])
