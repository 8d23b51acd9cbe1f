"""Real samples in memory, and how an array becomes samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ganzoo.core.seeds import derive
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.classes import Classes, class_indices
from ganzoo.datasets.conversion import (
    as_number_array,
    as_tensor,
    check_shape,
    converted,
    excerpt_of,
    reshaped,
    stats_of,
)
from ganzoo.datasets.ranges import NAMED, Range, understand_range
from ganzoo.datasets.reading import DataStats, Layout, SampleKind, check_precision, understand
from ganzoo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets.conversion import AnyArray
    from ganzoo.datasets.mixture import Mixture

__all__ = ["Samples", "as_samples"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Real samples in memory, or memory-mapped.

    Attributes:
        data: (N, *spec.shape), uint8 or float32, on the CPU. Images may be larger than their
            spec: each time one is drawn, a part of the spec's size is cut out at random.
        spec: What one sample is, at its original size. ``spec.value_range`` is what a generator
            of it makes; ``stored_range`` is what ``data`` holds.
        labels: (N,) int64 class indices, or None.
        stored_range: Lowest and highest value that ``data`` may hold: (0, 255) for uint8. None
            where values are taken as they are.
        flip: Whether an image is mirrored left to right, half of the times that it is drawn.
        mixture: The distribution that the samples come from, where it is known.
        notices: What a person should know about these data, a line each.
    """

    data: Tensor
    spec: SampleSpec
    labels: Tensor | None = None
    stored_range: tuple[float, float] | None = (0.0, 255.0)
    flip: bool = False
    mixture: Mixture | None = None
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.data.shape[1:])
        if self.spec.kind == "image" and shape[:1] == self.spec.shape[:1] and len(shape) == 3:
            fits = shape[1] >= self.spec.shape[1] and shape[2] >= self.spec.shape[2]
        else:
            fits = shape == self.spec.shape
        if not fits:
            raise DataError(
                f"The samples have shape {tuple(self.data.shape[1:])} but their spec says "
                f"{self.spec.shape}; the dataset that made them is at fault."
            )
        if self.labels is not None and self.labels.shape != self.data.shape[:1]:
            raise DataError(
                f"There are {len(self.data)} samples but labels of shape "
                f"{tuple(self.labels.shape)}; give one label per sample."
            )

    def __len__(self) -> int:
        return len(self.data)

    @property
    def labeled(self) -> bool:
        """Whether samples have labels."""
        return self.labels is not None

    def with_spec(self, spec: SampleSpec) -> Samples:
        """Return the same samples under another spec; without classes they have no labels."""
        return replace(self, spec=spec, labels=self.labels if spec.classes else None)

    def some(self, count: int) -> Samples:
        """Return so many of the samples, chosen at random and always the same ones.

        Raises:
            DataError: If there are fewer.
        """
        import torch

        if count > len(self):
            raise DataError(
                f"There are {len(self)} samples, fewer than the {count} to train on. Give a "
                f"num_samples of at most {len(self)}."
            )
        source = torch.Generator().manual_seed(derive(0, "some"))
        chosen = torch.randperm(len(self), generator=source)[:count]
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, data=self.data[chosen], labels=labels)


def as_samples(
    data: Any,
    labels: Any = None,
    *,
    layout: Layout = "auto",
    kind: SampleKind = "auto",
    item_shape: Sequence[int] | None = None,
    stored_range: Range | None = None,
    origin: str = "The array",
    usage: str = NAMED,
    classes: Classes | None = None,
    wanted: bool | None = None,
) -> Samples:
    """Turn an array of numbers into samples, without copying it where that is possible.

    ``reading`` decides about axes and ranges, and docs/data.md has the rules in tables. uint8 stays
    uint8, bool and other integers within 0..255 become it, everything else becomes float32. NaN
    and infinite values are refused, and so are numbers most of which float32 cannot tell apart.

    Args:
        data: Array or tensor: (N, D), (N, H, W), (N, C, H, W), ...
        labels: As ``classes.class_indices`` has it.
        layout: As an option of the dataset ``array``; so are the next three.
        kind: What one sample is.
        item_shape: Shape of one sample.
        stored_range: Lowest and highest value that ``data`` may hold.
        origin: What the array is, to start a message.
        usage: How the caller gives an option, with ``{}`` for the option.
        classes: Those that the data themselves name.
        wanted: Whether labels that are not classes are refused, or get a notice. By default,
            labels are used where they are classes.

    Raises:
        ConfigError: If an option does not apply to such an array.
        DataError: If the array cannot be taken as samples, with the reason.
    """
    array = as_number_array(data, origin)
    check_shape(array, origin)
    array = reshaped(array, item_shape, origin)
    check_precision(excerpt_of(array), origin)
    found = understand(
        _looked_at(array, stored_range, origin),
        kind=kind,
        layout=layout,
        stored_range=stored_range,
        origin=origin,
        usage=usage,
    )
    indices, names, notices = class_indices(labels, len(array), classes, wanted, origin)
    array = converted(array, found)
    bounds = found.values.bounds
    spec = SampleSpec(
        kind=found.axes.kind,
        shape=array.shape[1:],
        value_range=None if bounds is None else (-1.0, 1.0),
        classes=names,
    )
    return Samples(
        data=as_tensor(array),
        spec=spec,
        labels=indices,
        stored_range=bounds,
        notices=(*found.notices, *notices),
    )


def _looked_at(array: AnyArray, stored_range: Range | None, origin: str) -> DataStats:
    """Look at an array (N, ...): at some of it where a type of 8 bits limits it anyway."""
    if array.dtype == "uint8" and stored_range is None and array.ndim != 2:
        facts = stats_of(excerpt_of(array), origin)
        if not understand_range(array.dtype, facts.low, facts.high, "image").notices:
            return facts
    return stats_of(array, origin)
