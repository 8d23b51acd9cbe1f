"""Pictures of several sizes in memory: items of torch Datasets."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ganzoo.datasets.array import as_samples
from ganzoo.datasets.given import GIVEN_LIMIT
from ganzoo.datasets.items import count_of, each_item, is_sequential, read_item, title_of
from ganzoo.datasets.stream import USAGE
from ganzoo.errors import DataError
from ganzoo.evaluation.own_size import (
    Digest,
    Sizes,
    called,
    chosen,
    described,
    dropped_alpha,
    in_range,
    together,
)
from ganzoo.spec import SampleSpec

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets import Given, Samples
    from ganzoo.datasets.array import AnyArray
    from ganzoo.features.programs import Reading
    from ganzoo.mixture import Mixture

__all__ = ["Items", "items_of"]


@dataclass(frozen=True, eq=False)
class Items:
    """Pictures of several sizes in memory, as a torch Dataset gave them.

    Attributes:
        dataset: What they come from.
        groups: Those of one shape and type each.
        table: Group and row of each picture, int64 (N, 2), in their order.
    """

    dataset: Given
    groups: tuple[Samples, ...]
    table: Tensor
    indices: Tensor | None

    grain: ClassVar[int] = 1
    mixture: ClassVar[Mixture | None] = None
    framing: ClassVar[None] = None
    own: ClassVar[bool] = True
    labels: ClassVar[None] = None

    @property
    def count(self) -> int:
        """How many are looked at."""
        return len(self.table) if self.indices is None else len(self.indices)

    @property
    def _places(self) -> Tensor:
        return self.table if self.indices is None else self.table[self.indices]

    def sizes(self, asked: Reading = "data") -> Sizes:
        """Heights and widths of all that are looked at."""
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
        yield from together(
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

    def kept_as(self, asked: Reading) -> dict[str, Any]:
        """What else decides what an extractor sees of them."""
        return self.read(asked)

    def protocol(self) -> dict[str, Any]:
        """Which samples these are."""
        return described(self.dataset, self.count, self.fingerprint)

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures on the way, where it was."""
        if not self._channels & {2, 4}:
            return {}
        kept_ = len(self._channels) == 1
        dropped = self.reading(asked) == "program"
        return {"alpha": "dropped" if dropped else "kept" if kept_ else "on white"}

    def left(self, program: str) -> tuple[str, ...]:
        """Return nothing: no program reads them otherwise."""
        return ()

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them."""
        notices = [notice for group in self.groups for notice in group.notices]
        if self.read("data" if program is None else "program").get("alpha") == "dropped":
            notices.append(dropped_alpha(called(self.dataset), program))
        return tuple(dict.fromkeys(notices))


def _on_white(picture: Tensor, spec: SampleSpec) -> Tensor:
    """Colours (C, H, W) on white, of a picture with alpha."""
    low, high = (0.0, 255.0) if picture.dtype == torch.uint8 else (spec.value_range or (-1.0, 1.0))
    colours, alpha = picture[:-1].float(), (picture[-1:].float() - low) / (high - low)
    found = high + (colours - high) * alpha
    return found.round().to(torch.uint8) if picture.dtype == torch.uint8 else found


def items_of(dataset: Given, source: Any, count: int | None) -> Items | Samples:
    """Read a torch Dataset into memory; ``Samples`` where all items are of one shape.

    Raises:
        DataError: If an item cannot be read, or they do not fit into memory, or differ in more
            than size and colour.
    """
    title = title_of(source)
    total = 0 if is_sequential(source) else count_of(source)
    rows: list[AnyArray] = []
    held = 0
    for index, item in each_item(source, range(total) if total else None):
        array = read_item(item, index, title, dataset.key, dataset.labels_key).data
        held += array.nbytes
        if held > GIVEN_LIMIT:
            raise DataError(
                f"The dataset {title} takes more than {GIVEN_LIMIT / 2**30:.1f} GiB, half of this "
                f"machine's memory, before item {index:,}; give fewer items, or a folder of the "
                f"pictures, which are read one by one."
            )
        rows.append(array.copy())
    if not rows:
        raise DataError(f"The dataset {title} is empty; give at least one sample.")
    return _grouped(dataset, rows, title, count)


def _grouped(
    dataset: Given, rows: list[AnyArray], title: str, count: int | None
) -> Items | Samples:
    import numpy as np

    places: dict[tuple[Any, Any], list[int]] = {}
    for index, row in enumerate(rows):
        places.setdefault((row.shape, row.dtype), []).append(index)
    several = len(places) > 1
    for index, row in enumerate(rows):
        picture = row.ndim == 3 or (row.ndim == 2 and min(row.shape) > 4)
        if several and not (picture and dataset.sample_kind in ("auto", "image")):
            raise DataError(
                f"Item {index} of {title} has shape {row.shape} {row.dtype} but item 0 has "
                f"{rows[0].shape} {rows[0].dtype}; only pictures may differ in size: bring all "
                f"items to one shape."
            )

    def group(numbers: list[int], stored: tuple[float, float] | None) -> Samples:
        return as_samples(
            np.stack([rows[number] for number in numbers]),
            layout=dataset.layout,
            kind="image" if several else dataset.sample_kind,
            stored_range=stored,
            origin=f"The dataset in memory ({title})",
            usage=USAGE,
        )

    groups = [group(numbers, dataset.stored_range) for numbers in places.values()]
    if not several:
        return groups[0]
    floats = {
        each.stored_range for each in groups if each.stored_range and each.stored_range[1] <= 1
    }
    if (-1.0, 1.0) in floats and len(floats) > 1:  # some of them happen to have no dark values
        groups = [
            group(numbers, (-1.0, 1.0)) if each.stored_range in floats else each
            for each, numbers in zip(groups, places.values(), strict=True)
        ]
    table = torch.empty(len(rows), 2, dtype=torch.int64)
    for number, numbers in enumerate(places.values()):
        table[numbers, 0] = number
        table[numbers, 1] = torch.arange(len(numbers))
    found = Items(dataset, tuple(groups), table, chosen(dataset, len(rows), count))
    channels = sorted(found._channels)
    if not set(channels) <= {1, 2, 3, 4} and len(channels) > 1:
        raise DataError(
            f"The items of {title} have {', '.join(map(str, channels))} channels; bring all to one "
            f"number of them."
        )
    return found
