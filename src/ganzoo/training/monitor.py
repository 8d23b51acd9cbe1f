"""How a training is doing, measured on the device without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["NonFiniteMonitor", "diversity", "gradient_norms"]

_NEVER = 2**62


class NonFiniteMonitor:
    """Remembers, on the device, the update at which each of some numbers first was not finite.

    ``names`` says what the numbers are, in the order in which ``note`` gets them.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = list(names)
        self._first = torch.full((len(self.names),), _NEVER, dtype=torch.int64, device=device)

    def note(self, update: int, values: Tensor) -> Tensor:
        """Return whether any of an update's numbers (len(names),) is not finite: a 0-d bool."""
        bad = ~values.isfinite()
        self._first = torch.where(bad, self._first.clamp(max=update), self._first)
        return bad.any()

    @property
    def alarm(self) -> Tensor:
        """Whether anything ever was not finite: a 0-d bool on the device."""
        return (self._first < _NEVER).any()

    def report(self) -> tuple[int, list[str]] | None:
        """Return the first update at which something went wrong, and what did, if any; waits."""
        first = self._first.tolist()
        update = min(first, default=_NEVER)
        if update == _NEVER:
            return None
        return update, [
            name for name, when in zip(self.names, first, strict=True) if when == update
        ]

    def reset(self) -> None:
        """Forget everything."""
        self._first.fill_(_NEVER)


def gradient_norms(parameters: Sequence[torch.nn.Parameter], like: Tensor) -> Tensor:
    """Return the Euclidean norm of each parameter's gradient, 0 if it has none, on like's device.

    Returns:
        (len(parameters),).
    """
    gradients = [item.grad for item in parameters if item.grad is not None]
    if not gradients:
        return like.new_zeros(len(parameters))
    norms = iter(torch._foreach_norm(gradients))
    zero = like.new_zeros((), dtype=gradients[0].dtype)
    return torch.stack([zero if item.grad is None else next(norms) for item in parameters])


def diversity(fake: Tensor, real: Tensor) -> Tensor:
    """Return how far generated samples lie apart, as a multiple of how far real ones do.

    The Euclidean distance of two samples, averaged over all pairs of at most 64 samples: about
    1 where both (N, ...) are equally varied, 0 where all generated samples are one. A 0-d float32
    tensor; NaN where there are no two samples or the real ones are all alike.
    """
    return _apart(fake) / _apart(real)


def _apart(samples: Tensor) -> Tensor:
    points = samples.detach()[:64].flatten(1).float()
    # Not by a matrix product: its error would hide how close collapsed samples are.
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.sum() / (len(points) * (len(points) - 1))
