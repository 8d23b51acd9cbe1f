"""Pictures of several sizes in memory: items of torch Datasets."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.conversion import extent_of
from ganzoo.datasets.items import left_out, title_of
from ganzoo.datasets.ranges import understand_range
from ganzoo.datasets.samples import as_samples
from ganzoo.datasets.stream import USAGE
from ganzoo.errors import DataError
from ganzoo.evaluation.sources import Digest, RealSamples, Sizes, chosen, in_range, in_windows

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets import InMemoryDataset, Samples
    from ganzoo.datasets.items import Item
    from ganzoo.features.programs import Reading

__all__ = ["Items", "items_of"]


@dataclass(frozen=True, eq=False)
class Items(RealSamples):
    """Pictures of several sizes in memory, as a torch Dataset gave them.

    Attributes:
        dataset: What they come from.
        groups: Those of one shape and type each.
        own_notices: What was guessed about them.
        table: Group and row of each picture, int64 (N, 2), in their order.
    """

    dataset: InMemoryDataset
    groups: tuple[Samples, ...]
    own_notices: tuple[str, ...]
    table: Tensor
    indices: Tensor | None

    @property
    def count(self) -> int:
        """How many are compared."""
        return len(self.table) if self.indices is None else len(self.indices)

    @property
    def _places(self) -> Tensor:
        return self.table if self.indices is None else self.table[self.indices]

    def sizes(self, asked: Reading = "data") -> Sizes:
        """Heights and widths of all that are compared."""
        table = torch.tensor([group.data.shape[-2:] for group in self.groups])
        return Sizes.of(table[self._places[:, 0]])

    @property
    def _channels(self) -> set[int]:
        return {self.groups[group].spec.channels for group in set(self._places[:, 0].tolist())}

    def reading(self, asked: Reading) -> Reading:
        """Whether alpha is dropped, as programs do, or kept or put on white."""
        return asked if self._channels & {2, 4} else "data"

    def spec_for(self, asked: Reading) -> SampleSpec:
        """What one sample is, of the smallest height and width."""
        have = self._channels
        colours = {{2: 1, 4: 3}.get(each, each) for each in have}
        channels = max(colours)
        if self.reading(asked) == "data" and len(have) == 1:
            channels = max(have)
        return SampleSpec(shape=(channels, *self.sizes().low))

    @property
    def spec(self) -> SampleSpec:
        """What one sample is, as a training would see it."""
        return self.spec_for("data")

    def batches(
        self, size: int, part: slice, asked: Reading = "data"
    ) -> Iterator[Tensor | list[Tensor]]:
        """Pictures (n, C, H, W), or a list of such (C, H, W) where their sizes differ."""
        spec, reading = self.spec_for(asked), self.reading(asked)
        places = self._places[part].tolist()
        yield from in_windows(
            (self._picture(group, row, spec, reading) for group, row in places), size
        )

    def _picture(self, group: int, row: int, spec: SampleSpec, reading: Reading) -> Tensor:
        samples = self.groups[group]
        picture = in_range(samples.data[row], samples.stored_range, spec.value_range)
        if picture.shape[0] == spec.channels:
            return picture
        if picture.shape[0] in (2, 4):
            picture = picture[:-1] if reading == "program" else _on_white(picture, spec)
        return picture.expand(spec.channels, -1, -1)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the pictures that are compared, as they are stored."""
        running = Digest(self.count)
        for group, row in self._places.tolist():
            running.add(self.groups[group].data[row].numpy())
        ranges = [group.stored_range for group in self.groups]
        return hashlib.sha256(f"{running.hexdigest()} {ranges}".encode()).hexdigest()

    def cache_key(self, asked: Reading) -> dict[str, Any]:
        """What else decides what an extractor sees of them."""
        return self.read(asked)

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures on the way, where it was."""
        if not self._channels & {2, 4}:
            return {}
        otherwise = "kept" if len(self._channels) == 1 else "on white"
        return {"alpha": "dropped" if self.reading(asked) == "program" else otherwise}

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them."""
        return (*self.own_notices, *super().notices(program))


def _on_white(picture: Tensor, spec: SampleSpec) -> Tensor:
    """Colours (C, H, W) on white, of a picture with alpha."""
    low, high = (0.0, 255.0) if picture.dtype == torch.uint8 else (spec.value_range or (-1.0, 1.0))
    colours, alpha = picture[:-1].float(), (picture[-1:].float() - low) / (high - low)
    found = high + (colours - high) * alpha
    return found.round().to(torch.uint8) if picture.dtype == torch.uint8 else found


def items_of(dataset: InMemoryDataset, count: int | None) -> Items | Samples:
    """Read a torch Dataset into memory; ``Samples`` where all items are of one shape.

    Args:
        dataset: How it is read.
        count: How many to compare; all where None.

    Raises:
        ConfigError: If an option does not apply to the items.
        DataError: If an item cannot be read, or they do not fit into memory, or differ in more
            than size and colour.
    """
    title, found = title_of(dataset.unread), dataset.load_apart()
    return _grouped(dataset, found, title, count) if isinstance(found, list) else found


def _grouped(dataset: InMemoryDataset, items: list[Item], title: str, count: int | None) -> Items:
    import numpy as np

    origin = f"The dataset in memory ({title})"
    rows = [item.data for item in items]
    places: dict[tuple[Any, Any], list[int]] = {}
    for index, row in enumerate(rows):
        places.setdefault((row.shape, row.dtype), []).append(index)
    shaped = dataset.item_shape is not None and len(dataset.item_shape) > 1
    pictures = all(len(shape) == 3 or (len(shape) == 2 and min(shape) > 4) for shape, _ in places)
    if dataset.sample_kind not in ("auto", "image") or not (pictures or shaped):
        (shape, dtype), (other, theirs) = list(places)[:2]
        raise DataError(
            f"Item {places[other, theirs][0]} of {title} has shape {other} {theirs} but item 0 has "
            f"{shape} {dtype}; only pictures may differ in size: bring all items to one shape."
        )
    # Numbers of one type are of one range, whatever the sizes of the pictures that hold them.
    extents: dict[Any, tuple[float, float]] = {}
    for row in rows:
        low, high = extent_of(row[None], origin)
        known = extents.get(row.dtype, (low, high))
        extents[row.dtype] = min(low, known[0]), max(high, known[1])
    values = {
        dtype: understand_range(dtype, low, high, "image", dataset.stored_range, origin, USAGE)
        for dtype, (low, high) in extents.items()
    }
    groups = tuple(
        as_samples(
            np.stack([rows[number] for number in numbers]),
            layout=dataset.layout if len(shape) == 3 or dataset.item_shape else "auto",
            kind="image",
            item_shape=dataset.item_shape,
            stored_range=values[dtype].bounds,
            origin=origin,
            usage=USAGE,
        )
        for (shape, dtype), numbers in places.items()
    )
    table = torch.empty(len(rows), 2, dtype=torch.int64)
    for number, numbers in enumerate(places.values()):
        table[numbers, 0] = number
        table[numbers, 1] = torch.arange(len(numbers))
    notices = [notice for group in groups for notice in group.notices]
    notices += [notice for each in values.values() for notice in each.notices]
    notices += left_out(max(item.more for item in items))
    indices = chosen(dataset, len(rows), count)
    found = Items(dataset, groups, tuple(dict.fromkeys(notices)), table, indices)
    channels = sorted(found._channels)
    if not set(channels) <= {1, 2, 3, 4} and len(channels) > 1:
        raise DataError(
            f"The items of {title} have {', '.join(map(str, channels))} channels; bring all to one "
            f"number of them."
        )
    return found
