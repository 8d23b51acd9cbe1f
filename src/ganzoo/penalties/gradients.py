"""What penalties do with logits: gradients at samples, and means over K."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from ganzoo.core.differentiation import for_gradients_alone, inputs_alone
from ganzoo.core.step import Output, packed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Discriminator",
    "gradients",
    "logits_at",
    "logits_of",
    "means",
    "one_of_each",
    "squared_norms",
]

Discriminator = Callable[["Tensor", "Tensor | None"], "Tensor | Output"]
"""``(samples (N, *shape), labels (N,) or None) -> logits (N,) or (N, K)``, or an ``Output``."""


def logits_of(found: Tensor | Output) -> Tensor:
    """Return the logits of what a discriminator returned."""
    return found.logits if isinstance(found, Output) else found


def logits_at(discriminator: Discriminator, points: Tensor, labels: Tensor | None) -> Tensor:
    """Return the logits at a penalty's own points, of which only ``gradients`` are used."""
    with for_gradients_alone():
        return logits_of(discriminator(points, labels))


def means(logits: Tensor) -> Tensor:
    """Return each sample's logit (N,), of (N, K) the mean over K, as losses have it."""
    return logits.reshape(len(logits), -1).mean(1)


def gradients(logits: Tensor, samples: Tensor) -> Tensor:
    """Return the gradient of each sample's logit at the sample, itself differentiable.

    Args:
        logits: (N,), or (N, K), of which the mean over K is differentiated.
        samples: (N, *shape), which ``logits`` were computed from; or (N * m, *shape) where each
            logit is of m samples that follow each other.

    Returns:
        (N, *shape); of packs, the gradients of their samples joined on the first axis.

    Raises:
        RuntimeError: If ``logits`` do not depend on ``samples``.
    """
    with inputs_alone():
        (found,) = torch.autograd.grad(means(logits).sum(), samples, create_graph=True)
    return packed(found, len(samples) // len(logits))


def squared_norms(values: Tensor) -> Tensor:
    """Return the squared Euclidean norm of each of ``values`` (N, *shape): (N,)."""
    return values.reshape(len(values), -1).square().sum(1)


def one_of_each(samples: Tensor, discriminator: Discriminator) -> Tensor:
    """Return a number from U(0, 1) for each of ``samples`` (N, *shape), or for each pack of D's.

    Returns:
        (N, 1, ...), which broadcasts over samples; the same for those of one pack.
    """
    packing = getattr(discriminator, "packing", 1)  # of ganzoo's own D
    shape = len(samples) // packing, *[1] * (samples.ndim - 1)
    drawn = torch.rand(shape, device=samples.device, dtype=samples.dtype)
    return drawn if packing == 1 else drawn.repeat_interleave(packing, 0)
