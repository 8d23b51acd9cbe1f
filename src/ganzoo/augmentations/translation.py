"""Random translations by whole pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["translate"]


def translate(samples: Tensor, share: float) -> Tensor:
    """Move each sample by a random number of whole pixels along each of its axes but the first.

    Args:
        samples: (N, C, *size): signals, images or volumes. What moves in is 0.
        share: Largest distance, as part of the axis' length.

    Returns:
        The moved samples (N, C, *size), differentiable any number of times.
    """
    count = len(samples)
    for axis in range(2, samples.ndim):
        length = samples.shape[axis]
        reach = round(share * length)
        if reach == 0:
            continue
        shape = [count, *[1] * (samples.ndim - 1)]
        moved = torch.randint(0, 2 * reach + 1, shape, device=samples.device)
        padding = [0, 0] * (samples.ndim - 1 - axis) + [reach, reach]
        places = torch.arange(length, device=samples.device).reshape(
            [length if place == axis else 1 for place in range(samples.ndim)]
        )
        index = (moved + places).expand(*samples.shape[:axis], length, *samples.shape[axis + 1 :])
        samples = pad(samples, padding).gather(axis, index)
    return samples
