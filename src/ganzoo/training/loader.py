"""Batches of real samples, drawn on the device."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.core.seeds import derive
from ganzoo.datasets.in_memory import MaterializedSamples
from ganzoo.datasets.reader import Request
from ganzoo.datasets.stream import Stream
from ganzoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from ganzoo.datasets.preprocessing import Preprocessing
    from ganzoo.datasets.reader import Reader
    from ganzoo.datasets.samples import Samples
    from ganzoo.training.parts import State

__all__ = ["Loader"]

_COMPARED = 16  # samples by which data are recognised
_GREY = 1 / 255  # of the range: by so much, decoders of pictures may differ
_ROUNDING = 1e-4  # of the largest number: by so much, other processors may


class Loader:
    """An endless supply of normalised batches from samples in the form in which they are stored.

    Each epoch is a fresh permutation that follows from the seed and the epoch's number alone, and
    so do the random parts and mirrorings of a batch from its number, and the random transforms of
    a stream: one integer is the whole state. What is left over at an epoch's end is dropped: every
    batch is full. Samples that would take more than half of a GPU's free memory stay in the
    host's.

    Processes (``workers``) read a stream ahead, or this one if there are none; batches are the
    same, to the bit.

    Raises:
        DataError: If there are fewer samples than one batch needs.
    """

    def __init__(
        self,
        samples: Samples | Stream,
        batch_size: int,
        device: torch.device,
        seed: int = 0,
        preprocessing: Preprocessing | None = None,
        workers: int = 0,
        balanced: bool = False,
    ) -> None:
        self._count = len(samples)
        self._shape = samples.spec.shape  # of a sample as it is stored
        self._excerpt: _Excerpt | None = None
        if self._count < batch_size:
            raise DataError(
                f"The dataset has {len(samples)} samples, fewer than one batch of {batch_size}. "
                f"Use a batch size of at most {len(samples)}."
            )
        self.batch_size = batch_size
        self.seed = seed
        self.batches_per_epoch = self._count // batch_size
        self.device = device
        self.labels: Tensor | None = None
        self._stream: Stream | None = None
        home = torch.device("cpu")
        if isinstance(samples, Stream):
            self._stream = samples
            self.data = torch.empty(0, *samples.spec.shape)
        else:
            self._shape = tuple(samples.data.shape[1:])
            if not isinstance(samples, MaterializedSamples):
                self._excerpt = _Excerpt(samples)
            home = device if _fits(samples.data, device) else home
            self.data = samples.data.to(home)
            self.labels = None if samples.labels is None else samples.labels.to(home)
        self._order = _Order(self._count, batch_size, seed, home)
        if balanced:
            self._order = _BalancedOrder(_labels_of(samples), batch_size, seed, home)
        self._workers = workers
        self._reader: Reader[tuple[Tensor, Tensor | None]] | None = None
        self._read = 0  # number of the batch that the reader gives next
        self._seen: dict[int, tuple[Tensor, Tensor | None]] = {}  # previews of a stream
        self.scale, self.shift = _affine(samples)
        self._flip = samples.flip
        self._preprocessing = preprocessing
        self._low, _ = samples.stored_range or samples.spec.value_range or (0.0, 1.0)
        self._size = samples.spec.size if samples.spec.kind == "image" else None
        self._batches = 0  # handed out so far

    @property
    def epoch(self) -> float:
        """Epochs finished so far, with the fraction of the current one."""
        return self._batches / self.batches_per_epoch

    @property
    def drawn(self) -> int:
        """Samples handed out so far."""
        return self._batches * self.batch_size

    def next(self) -> tuple[Tensor, Tensor | None]:
        """Return the next batch: float32 (N, *shape), channels last, and labels (N,) or None."""
        if self._stream is None:
            stored, labels = self._chosen(self._order.batch(self._batches))
        else:
            stored, labels = self._from_stream(self._stream)
        if self._size is not None:
            stored = self._varied(stored, self._size)
        self._batches += 1
        return self._finished(stored), None if labels is None else _sent(labels, self.device)

    def _from_stream(self, stream: Stream) -> tuple[Tensor, Tensor | None]:
        if self._reader is None or self._read != self._batches:
            self.close()
            # The generator must not refer to this loader: workers end when that is dropped.
            requests = _requests(self._order, self._batches)
            self._reader = stream.batches(requests, self._workers, self.device.type == "cuda")
        try:
            stored, labels = self._reader.next()
        except BaseException:
            self.close()  # whatever it has read ahead, the next batch is this one
            raise
        self._read = self._batches + 1
        # A copy in torch's own memory: how that is aligned can decide the last bit of a product.
        return stored.clone() if self.device.type == "cpu" else _sent(stored, self.device), labels

    def preview(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Return samples for pictures, always the same, cropped in the middle and not mirrored.

        At most ``count`` samples and their labels, as ``next`` has them.
        """
        if self._stream is None:
            stored, labels = self._chosen(self._order.permutation("preview")[:count])
        else:
            if count not in self._seen:
                chosen = self._order.permutation("preview")[:count].tolist()
                request = Request(derive(self.seed, "stream", "preview"), chosen)
                self._seen[count] = self._stream.fetch(request, self._workers)
            stored, labels = self._seen[count][0].clone(), self._seen[count][1]
        if self._size is not None:
            (height, width), (tall, wide) = self._size, stored.shape[-2:]
            top, left = (tall - height) // 2, (wide - width) // 2
            stored = stored[..., top : top + height, left : left + width]
        return self._finished(stored), None if labels is None else _sent(labels, self.device)

    def _chosen(self, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        labels = None if self.labels is None else self.labels.index_select(0, chosen)
        return self.data.index_select(0, chosen), labels

    def _varied(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Images (N, C, ...) mirrored and cut to (N, C, *size) at random."""
        spare = images.shape[-2] - size[0], images.shape[-1] - size[1]
        if not (self._flip or any(spare)):
            return images
        source = torch.Generator().manual_seed(derive(self.seed, "variation", self._batches))
        count, device = len(images), images.device
        if any(spare):
            first = [
                _sent(torch.randint(room + 1, (count, 1), generator=source), device)
                for room in spare
            ]
            rows, columns = (
                start + torch.arange(side, device=device)
                for start, side in zip(first, size, strict=True)
            )
            which = torch.arange(count, device=device)
            images = images.movedim(1, -1)[which[:, None, None], rows[:, :, None], columns[:, None]]
            images = images.movedim(-1, 1)
        if self._flip:
            mirrored = _sent(torch.rand(count, generator=source) < 0.5, device)
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images

    def _finished(self, stored: Tensor) -> Tensor:
        """A batch as nets take it."""
        stored = _sent(stored, self.device)
        if self._preprocessing is not None:  # on the device, wherever the samples are
            stored = self._preprocessing.apply(stored, self._low)
        batch = stored.to(torch.float32)
        if self.scale != 1:
            batch.mul_(self.scale)
        if self.shift != 0:
            batch.add_(self.shift)
        if batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return batch

    def close(self) -> None:
        """End the processes that read samples; the next batch starts them again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def state(self) -> State:
        """Return the position in the data, and what they are recognised by."""
        known: dict[str, Any] = {"samples": self._count, "shape": list(self._shape)}
        if self._excerpt is not None:
            known |= {"means": self._excerpt.means, "labels": self._excerpt.labels}
        return {}, {"batches": self._batches, "data": known}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Continue from that position.

        Data are the same if there are as many samples of the same shape, and a few of them have
        about the same content. What a stream reads, or what a torch Dataset was read into, may be
        made at random, so that its content is not compared.

        Raises:
            DataError: If it is a position in other data.
        """
        batches, known = int(values["batches"]), values["data"]
        before, shape = int(known["samples"]), tuple(known["shape"])
        other = ""
        if before != self._count:
            other = f"there are {self._count:,} samples instead of {before:,}"
        elif shape != self._shape:
            other = f"samples have the shape {self._shape} instead of {shape}"
        elif self._excerpt is not None and "means" in known:
            other = self._excerpt.difference(known)
        if other:
            raise DataError(
                f"The data are not those of the checkpoint ({other}), so it cannot go on with "
                f"them. Bring them back as they were, or start a new training on these (init_from "
                f"starts it from a trained generator)."
            )
        self._batches = batches


class _Excerpt:
    """What evenly spaced samples hold in a few numbers, by which data are recognised.

    ``means`` are of each the mean of all values, and their mean with weights from -1 for the first
    to 1 for the last. They are compared with some room: pictures may be decoded by another version
    of a library, and points computed by another processor.
    """

    def __init__(self, samples: Samples) -> None:
        last, count = len(samples) - 1, min(_COMPARED, len(samples))
        chosen = [round(i * last / max(1, count - 1)) for i in range(count)]
        weights = torch.linspace(-1, 1, samples.data[0].numel(), dtype=torch.float64)
        self.means: list[list[float]] = []
        for index in chosen:  # one at a time: they may be large
            values = samples.data[index].detach().flatten().to("cpu", torch.float64)
            self.means.append([_short(values.mean()), _short((values * weights).mean())])
        labels = samples.labels
        self.labels = None if labels is None else [int(labels[index]) for index in chosen]
        if samples.stored_range is not None:
            self._room = _GREY * (samples.stored_range[1] - samples.stored_range[0])
        else:
            self._room = _ROUNDING * max(abs(mean) for pair in self.means for mean in pair)

    def difference(self, known: Mapping[str, Any]) -> str:
        """Return in what way an earlier excerpt is one of other data, or nothing if it is not."""
        pairs = zip(known["means"], self.means, strict=True)
        others = sum(math.dist(before, now) > self._room for before, now in pairs)
        if others:
            return f"{others} of {len(self.means)} that were compared have other content"
        before, now = known["labels"], self.labels
        relabelled = before is not None and now is not None and before != now
        return "their labels are others" if relabelled else ""


def _short(mean: Tensor) -> float:
    """A number for a file."""
    value = float(f"{mean.item():.6g}")
    return value if math.isfinite(value) else 0.0


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; copies to a GPU are asynchronous."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class _Order:
    """Which samples are in a batch, as numbers on a device."""

    def __init__(self, count: int, batch_size: int, seed: int, device: torch.device) -> None:
        self.seed = seed
        self._count, self._batch_size, self._device = count, batch_size, device
        self._epoch, self._numbers = -1, torch.empty(0, dtype=torch.int64)

    def permutation(self, *purpose: int | str) -> Tensor:
        """All numbers; drawn on the CPU, so that they are the same on any device."""
        generator = torch.Generator().manual_seed(derive(self.seed, *purpose))
        return torch.randperm(self._count, generator=generator).to(self._device)

    def batch(self, number: int) -> Tensor:
        epoch, position = divmod(number, self._count // self._batch_size)
        if epoch != self._epoch:
            self._epoch, self._numbers = epoch, self.permutation("order", epoch)
        return self._numbers[position * self._batch_size : (position + 1) * self._batch_size]


class _BalancedOrder(_Order):
    """Classes drawn evenly, and samples evenly within each; an epoch is as long as before."""

    def __init__(self, labels: Tensor, batch_size: int, seed: int, device: torch.device) -> None:
        super().__init__(len(labels), batch_size, seed, device)
        self._sorted = labels.argsort(stable=True)
        _, self._counts = torch.unique(labels, return_counts=True)  # of the classes that there are
        self._starts = self._counts.cumsum(0) - self._counts

    def batch(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self.seed, "balanced", number))
        drawn = torch.randint(len(self._counts), (self._batch_size,), generator=generator)
        place = torch.rand(self._batch_size, generator=generator, dtype=torch.float64)
        within = (place * self._counts[drawn]).long()
        return self._sorted[self._starts[drawn] + within].to(self._device)


def _labels_of(samples: Samples | Stream) -> Tensor:
    """The labels (N,) of samples in memory.

    Raises:
        ConfigError: If there are none, or they are read while training.
    """
    if isinstance(samples, Stream) or samples.labels is None:
        what = "are read while training" if isinstance(samples, Stream) else "have no labels"
        raise ConfigError(
            f"labels='uniform' draws classes evenly from samples in memory, and these {what}. "
            f"Leave workers out and set conditional=True, or set labels to 'data'."
        )
    return samples.labels.cpu()


def _requests(order: _Order, first: int) -> Iterator[Request]:
    """What batches of a stream consist of, from that one on."""
    for number in itertools.count(first):
        yield Request(derive(order.seed, "stream", number), order.batch(number).tolist())


def _affine(samples: Samples | Stream) -> tuple[float, float]:
    """Scale and shift that carry the stored range to the range that nets see."""
    wanted, stored = samples.spec.value_range, samples.stored_range
    if wanted is None or stored is None:
        return 1.0, 0.0
    scale = (wanted[1] - wanted[0]) / (stored[1] - stored[0])
    return scale, wanted[0] - stored[0] * scale


def _fits(data: Tensor, device: torch.device) -> bool:
    """Whether the samples fit on the device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return data.nbytes <= free / 2
