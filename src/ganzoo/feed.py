"""Batches of real samples, drawn on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ganzoo.errors import DataError
from ganzoo.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets.base import Samples

__all__ = ["Feed"]


class Feed:
    """An endless supply of normalised batches from samples that lie on the device as stored.

    Each epoch is a fresh permutation that follows from the seed and the epoch's number alone, so
    that two integers are the whole state. What is left over at an epoch's end is dropped: every
    batch is full.

    Args:
        samples: What to draw from, already at the size to train at.
        batch_size: Samples per batch.
        device: Where the samples are kept and drawn.
        seed: Decides the order.

    Raises:
        DataError: If there are fewer samples than one batch needs.
    """

    def __init__(
        self, samples: Samples, batch_size: int, device: torch.device, seed: int = 0
    ) -> None:
        if len(samples) < batch_size:
            raise DataError(
                f"The dataset has {len(samples)} samples, fewer than one batch of {batch_size}. "
                f"Use a batch size of at most {len(samples)}."
            )
        self.batch_size = batch_size
        self.seed = seed
        self.batches_per_epoch = len(samples) // batch_size
        self.data = samples.data.to(device)
        self.labels = None if samples.labels is None else samples.labels.to(device)
        self.scale, self.shift = _affine(samples)
        self._batches = 0  # handed out so far
        self._order = torch.empty(0, dtype=torch.int64, device=device)
        self._order_epoch = -1

    @property
    def epoch(self) -> float:
        """Epochs finished so far, with the fraction of the current one."""
        return self._batches / self.batches_per_epoch

    def next(self) -> tuple[Tensor, Tensor | None]:
        """Return the next batch: float32 (N, *shape), channels last, and labels (N,) or None."""
        epoch, position = divmod(self._batches, self.batches_per_epoch)
        if epoch != self._order_epoch:
            generator = torch.Generator(self.data.device)
            generator.manual_seed(derive(self.seed, "order", epoch))
            self._order = torch.randperm(
                len(self.data), generator=generator, device=self.data.device
            )
            self._order_epoch = epoch
        self._batches += 1
        chosen = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        batch = self.data.index_select(0, chosen).to(torch.float32)
        if self.scale != 1:
            batch.mul_(self.scale)
        if self.shift != 0:
            batch.add_(self.shift)
        if batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return batch, None if self.labels is None else self.labels.index_select(0, chosen)

    def state_dict(self) -> dict[str, int]:
        """Return the position in the data."""
        return {"batches": self._batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from that position."""
        self._batches = int(state["batches"])


def _affine(samples: Samples) -> tuple[float, float]:
    """Scale and shift that carry the stored range to the range that nets see."""
    wanted, stored = samples.spec.value_range, samples.stored_range
    if wanted is None or stored is None:
        return 1.0, 0.0
    scale = (wanted[1] - wanted[0]) / (stored[1] - stored[0])
    return scale, wanted[0] - stored[0] * scale
