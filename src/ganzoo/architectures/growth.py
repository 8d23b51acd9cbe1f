"""How transposed convolutions make maps larger: sizes forwards and backwards, and good guesses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

__all__ = ["Stage", "doubling", "grown", "growths", "shrunk", "usual"]

Size = tuple[int, int]

_MOST = 12  # guesses that lead to the same size, or that are returned
_FOLLOWED = 2000  # among which those are chosen
_LIKELY = 1.5  # about one layer that is odd
_LARGEST = 1024
_SIZES = (16, 28, 32, 64, 96, 128, 256, 512)  # of images that people train on


class Stage(NamedTuple):
    """One transposed convolution: its kernel, stride, padding and output padding."""

    kernel: int
    stride: int
    padding: int
    extra: int

    def __str__(self) -> str:
        more = f", output padding {self.extra}" if self.extra else ""
        return f"kernel {self.kernel}, stride {self.stride}, padding {self.padding}{more}"

    def of(self, side: int) -> int:
        """Return the side of what it makes of a map with this side."""
        return self.stride * (side - 1) - 2 * self.padding + self.kernel + self.extra


def doubling(kernel: int) -> Stage:
    """Return the layer with this kernel that doubles maps."""
    return usual((1, kernel), None, None, None)[1]


def usual(
    kernels: Sequence[int],
    strides: Sequence[int] | None,
    paddings: Sequence[int] | None,
    extras: Sequence[int] | None,
) -> list[Stage]:
    """Return layers, with defaults for the numbers that are None.

    By default, the first layer and kernels of 1 have stride 1 and no padding, others stride 2 and
    the padding with which a map grows by the stride. With explicit paddings, output paddings are 0.
    """
    stages = []
    for index, kernel in enumerate(kernels):
        stride = 2 if index and kernel > 1 else 1
        if strides:
            stride = strides[index]
        spare = kernel - stride
        padding = max(spare + 1, 0) // 2
        if not index or (stride == 1 and spare % 2):
            padding = 0
        if paddings:
            padding = paddings[index]
        extra = extras[index] if extras else 0
        if index and not extras and not paddings:
            extra = max(min(2 * padding - spare, stride - 1), 0)
        stages.append(Stage(kernel, stride, padding, extra))
    return stages


def grown(stages: Sequence[Stage], kernel: Sequence[int]) -> Size | None:
    """Return height and width of what layers make; None where one leaves nothing.

    Args:
        stages: The layers; the first meets a map of one place.
        kernel: Height and width of its kernel; at least its ``kernel``.
    """
    size = [max(side, stages[0].kernel) - 2 * stages[0].padding for side in kernel]
    for stage in stages[1:]:
        if min(size) < 1:
            return None
        size = [stage.of(side) for side in size]
    return (size[0], size[1]) if min(size) >= 1 else None


def shrunk(stages: Sequence[Stage], size: Size) -> Size | None:
    """Return the map of which layers make a size; None if there is none."""
    sides = list(size)
    for kernel, stride, padding, extra in reversed(stages):
        whole = [side + 2 * padding - kernel - extra for side in sides]
        if any(side % stride for side in whole):
            return None
        sides = [side // stride + 1 for side in whole]
    return (sides[0], sides[1]) if min(sides) >= 1 else None


def growths(
    kernels: Sequence[Sequence[int]],
    fixed: Mapping[str, Sequence[int]],
    size: Size | None = None,
    *,
    likely: bool = True,
) -> list[list[Stage]]:
    """Return what layers with such kernels may be, the likeliest first.

    Likely is what doubles maps, and leads to images of a usual size.

    Args:
        kernels: Height and width of each; square but for the first.
        fixed: ``strides``, ``paddings`` and ``output_paddings`` of all, where they are known.
        size: Height and width of the images, where they are known.
        likely: Leave out what is far from doubling, though it leads to that size.
    """
    if any(len(values) != len(kernels) for values in fixed.values()):
        return []
    mixed = len({kernel[0] for kernel in kernels[1:]}) > 1
    paths = [_Path(0.0, (1, 1), ())]
    for index, (height, width) in enumerate(kernels):
        longer = []
        for cost, stage in _choices(min(height, width), index, fixed, mixed):
            for path in paths:
                if index:
                    made = stage.of(path.size[0]), stage.of(path.size[1])
                else:
                    made = height - 2 * stage.padding, width - 2 * stage.padding
                if min(made) >= 1 and max(made) <= _LARGEST:
                    longer.append(_Path(path.cost + cost, made, (*path.stages, stage)))
        longer.sort(key=lambda path: path.cost)
        alike: Counter[Size] = Counter()
        paths = []
        for path in longer[:_FOLLOWED]:
            alike[path.size] += 1
            if alike[path.size] <= _MOST:
                paths.append(path)
    fitting = [path for path in paths if size in (None, path.size)]
    if size and likely and not fixed:
        fitting = [path for path in fitting if path.cost <= _LIKELY]
    fitting.sort(key=lambda path: path.cost + (size is None and min(path.size) not in _SIZES))
    return [list(path.stages) for path in fitting[:_MOST]]


class _Path(NamedTuple):
    """Layers that follow each other: how unlikely they are, and the size of what they make."""

    cost: float
    size: Size
    stages: tuple[Stage, ...]


def _choices(
    kernel: int, index: int, fixed: Mapping[str, Sequence[int]], mixed: bool
) -> list[tuple[float, Stage]]:
    """Layers with a kernel, and how unlikely each is."""
    strides: Sequence[int] = (1, 2, 3, 4) if index else (1,)
    paddings: Sequence[int] = range(max(kernel // 2, 2 if kernel == 1 else 0) + 1)
    if not index:
        paddings = (0, 1)
    if "strides" in fixed:
        strides = (fixed["strides"][index],)
    if "paddings" in fixed:
        paddings = (fixed["paddings"][index],)
    found = []
    for stride, padding in product(strides, paddings):
        extras: Sequence[int] = (0, 1) if index and "paddings" not in fixed else (0,)
        if "output_paddings" in fixed:
            extras = (fixed["output_paddings"][index],)
        for extra in extras:
            stage = Stage(kernel, stride, padding, extra)
            if extra < stride and (index or kernel > 2 * padding):
                found.append((_unlikely(stage, index, mixed), stage))
    return found


def _unlikely(stage: Stage, index: int, mixed: bool) -> float:
    kernel, stride, padding, extra = stage
    if not index:
        return 2.0 * padding
    likely = usual((1, kernel), None, None, None)[1]
    if stage == likely:
        return 0.25 if extra else 0.0
    if stage == likely._replace(extra=0):  # torch's own default: 4 becomes 7 by a kernel of 3
        return 0.0 if mixed else 0.3
    if extra or stride > 2:
        return 2.5
    if stride == 1 and kernel == 2 * padding + 1:
        return 0.75  # keeps the size
    if padding == 0:
        return 1.0 if kernel % 2 == 0 or stride == 2 else 1.5
    return 1.5 if stride == 2 else 2.0
