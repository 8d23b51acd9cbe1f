"""Batches of real samples, drawn on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ganzoo.errors import DataError
from ganzoo.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets.base import Samples
    from ganzoo.framing import Framing

__all__ = ["Feed"]


class Feed:
    """An endless supply of normalised batches from samples that are kept as they are stored.

    Each epoch is a fresh permutation that follows from the seed and the epoch's number alone, and
    so do the random parts and mirrorings of a batch from its number: one integer is the whole
    state. What is left over at an epoch's end is dropped: every batch is full. Samples that
    would take more than half of a GPU's free memory stay in the host's.

    Args:
        samples: What to draw from.
        batch_size: Samples per batch.
        device: Where batches are wanted.
        seed: Decides the order.
        framing: How images are brought to the size to train at.

    Raises:
        DataError: If there are fewer samples than one batch needs.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        device: torch.device,
        seed: int = 0,
        framing: Framing | None = None,
    ) -> None:
        if len(samples) < batch_size:
            raise DataError(
                f"The dataset has {len(samples)} samples, fewer than one batch of {batch_size}. "
                f"Use a batch size of at most {len(samples)}."
            )
        self.batch_size = batch_size
        self.seed = seed
        self.batches_per_epoch = len(samples) // batch_size
        self.device = device
        home = device if _fits(samples.data, device) else torch.device("cpu")
        self.data = samples.data.to(home)
        self.labels = None if samples.labels is None else samples.labels.to(home)
        self.scale, self.shift = _affine(samples)
        self._flip = samples.flip
        self._framing = framing
        low, _ = samples.stored_range or samples.spec.value_range or (0.0, 1.0)
        self._low = low
        self._size = samples.spec.size if samples.spec.kind == "image" else None
        self._batches = 0  # handed out so far
        self._order = torch.empty(0, dtype=torch.int64)
        self._order_epoch = -1

    @property
    def epoch(self) -> float:
        """Epochs finished so far, with the fraction of the current one."""
        return self._batches / self.batches_per_epoch

    def next(self) -> tuple[Tensor, Tensor | None]:
        """Return the next batch: float32 (N, *shape), channels last, and labels (N,) or None."""
        epoch, position = divmod(self._batches, self.batches_per_epoch)
        if epoch != self._order_epoch:
            self._order = self._permutation("order", epoch)
            self._order_epoch = epoch
        chosen = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        stored = self.data.index_select(0, chosen)
        if self._size is not None:
            stored = self._varied(stored, self._size)
        self._batches += 1
        labels = None if self.labels is None else self.labels.index_select(0, chosen)
        return self._finished(stored), None if labels is None else labels.to(self.device)

    def preview(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Return samples to look at, always the same, cropped in the middle and not mirrored.

        Returns:
            At most ``count`` samples and their labels, as ``next`` has them.
        """
        chosen = self._permutation("preview")[:count]
        stored = self.data.index_select(0, chosen)
        if self._size is not None:
            (height, width), (tall, wide) = self._size, stored.shape[-2:]
            top, left = (tall - height) // 2, (wide - width) // 2
            stored = stored[..., top : top + height, left : left + width]
        labels = None if self.labels is None else self.labels.index_select(0, chosen)
        return self._finished(stored), None if labels is None else labels.to(self.device)

    def _permutation(self, *purpose: int | str) -> Tensor:
        # Drawn on the CPU, so that the order is the same wherever the samples are kept.
        generator = torch.Generator().manual_seed(derive(self.seed, *purpose))
        return torch.randperm(len(self.data), generator=generator).to(self.data.device)

    def _varied(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Images (N, C, ...) mirrored and cut to (N, C, *size) at random."""
        spare = images.shape[-2] - size[0], images.shape[-1] - size[1]
        if not (self._flip or any(spare)):
            return images
        source = torch.Generator().manual_seed(derive(self.seed, "variation", self._batches))
        count, device = len(images), images.device
        if any(spare):
            first = [
                torch.randint(room + 1, (count, 1), generator=source).to(device) for room in spare
            ]
            rows, columns = (
                start + torch.arange(side, device=device)
                for start, side in zip(first, size, strict=True)
            )
            which = torch.arange(count, device=device)
            images = images.movedim(1, -1)[which[:, None, None], rows[:, :, None], columns[:, None]]
            images = images.movedim(-1, 1)
        if self._flip:
            mirrored = (torch.rand(count, generator=source) < 0.5).to(device)
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images

    def _finished(self, stored: Tensor) -> Tensor:
        """A batch as nets take it."""
        if self._framing is not None:
            stored = self._framing.apply(stored, self._low)
        batch = stored.to(self.device).to(torch.float32)
        if self.scale != 1:
            batch.mul_(self.scale)
        if self.shift != 0:
            batch.add_(self.shift)
        if batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return batch

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


def _fits(data: Tensor, device: torch.device) -> bool:
    """Whether the samples may be kept on the device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return data.nbytes <= free / 2
