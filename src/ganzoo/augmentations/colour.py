"""Random changes of colours, as one product with a matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ganzoo.augmentations.geometry import chosen, normal, uniform

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["recoloured"]


def recoloured(images: Tensor, p: Tensor, middle: float, span: float) -> Tensor:
    """Return images with each colour change of ADA's appendix B with probability p.

    In this order: brightness (N(0, .2) in units of half the range), contrast (2^N(0, .5)), luma
    mirrored, hue turned by an angle from U(-pi, pi), saturation (2^N(0, 1)). Luma is the mean over
    channels. Hue is turned where there are three channels; one channel has no saturation.

    Args:
        images: (N, C, H, W), float32 or float64.
        p: A 0-d tensor in [0, 1].
        middle: Middle of the range of values.
        span: Half of its width.
    """
    channels = images.shape[1]

    def maybe(value: Tensor) -> Tensor:
        return (value * chosen(p, images))[:, None, None]

    same = torch.eye(channels, device=images.device, dtype=images.dtype)
    luma = torch.full_like(same, 1 / channels)  # the projection on it
    bright = maybe(normal(images, 0.2))
    contrast = 2 ** maybe(normal(images, 0.5))
    matrix = contrast * (same - 2 * maybe(uniform(images, 0, 2).floor()) * luma)
    if channels == 3:
        angle = maybe(uniform(images, -math.pi, math.pi))
        cross = (same.roll(1, 0) - same.roll(-1, 0)) / math.sqrt(3)
        matrix = (luma + angle.cos() * (same - luma) + angle.sin() * cross) @ matrix
    if channels > 1:
        matrix = (luma + 2 ** maybe(normal(images, 1.0)) * (same - luma)) @ matrix
    values = (images.flatten(2) - middle) / span + bright
    return ((matrix @ values) * span + middle).reshape(images.shape)
