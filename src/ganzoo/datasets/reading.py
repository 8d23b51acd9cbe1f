"""How samples of any origin are read: axes, range of values, rows of numbers, labels.

The same facts are understood alike, with the same notices, wherever the data come from. A notice
of a guess names the option that says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ganzoo.datasets.ranges import NAMED, Kind, Range, Values, option, understand_range
from ganzoo.datasets.vectors import vector_notices
from ganzoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    AnyArray = NDArray[Any]

__all__ = [
    "MOST_LOOKED_AT",
    "Axes",
    "DataStats",
    "Layout",
    "SampleKind",
    "Understood",
    "arrange",
    "check_precision",
    "examined_notice",
    "understand",
]

Layout = Literal["auto", "channels-first", "channels-last"]
SampleKind = Literal["auto", "image", "vector", "audio"]

MOST_LOOKED_AT = 256
"""Items by which data are judged where they are not read as a whole."""

_FEW = 4  # an axis of at most this length is one of channels, if the other is longer
_SHORT = 3 / 4  # of each other axis: so much at most has one that is clearly the shortest


# -- axes -------------------------------------------------------------------------------------


class Axes(NamedTuple):
    """What the axes of an item are.

    Attributes:
        kind: What one sample is.
        channels: The axis of the item that holds the channels, 0 or -1; None where it has none,
            so that one is to be put first (images and audio) or none is needed (vectors).
        notices: What was guessed.
    """

    kind: Kind
    channels: int | None
    notices: tuple[str, ...] = ()


def arrange(
    shape: Sequence[int],
    kind: SampleKind = "auto",
    layout: Layout = "auto",
    origin: str = "The array",
) -> Axes:
    """Decide what the axes of an item are.

    Items of one axis are vectors, of two greyscale images (H, W), of three images. Channels are
    the first or the last axis: exactly one of them of at most 4; else the one that differs where
    the other two are equal; else the one that is clearly the shortest; else the first.

    ``shape`` is that of one item; ``kind`` and ``layout`` are what the caller says.

    Raises:
        ConfigError: If there is a layout for items that have no channels.
        DataError: If items of this shape are not samples of that kind.
    """
    shape = tuple(shape)
    chosen: Kind = ("vector" if len(shape) == 1 else "image") if kind == "auto" else kind
    possible = {
        "vector": {1: "(N, D)"},
        "audio": {1: "(N, L)", 2: "(N, C, L)"},
        "image": {2: "(N, H, W)", 3: "(N, C, H, W)"},
    }[chosen]
    if len(shape) not in possible:
        whole = f"(N, {', '.join(map(str, shape))})"
        raise DataError(
            f"{origin} has shape {whole}, which is not an array of samples of kind '{chosen}'; "
            f"reshape it to {' or '.join(possible.values())}."
        )
    if chosen == "vector" or len(shape) == (2 if chosen == "image" else 1):
        if layout != "auto":
            raise ConfigError(
                f"{origin} has samples of shape {shape}, in which no axis is that of channels, so "
                f"that layout='{layout}' says nothing; leave it out."
            )
        notice: tuple[str, ...] = ()
        if chosen == "image" and kind == "auto" and _like_a_window(*shape):
            notice = (
                f"Samples of shape {shape} are taken as greyscale images, {shape[0]} high and "
                f"{shape[1]} wide; if they are audio or time series, say "
                f"{option('sample_kind', 'audio')}.",
            )
        return Axes(chosen, None, notice)
    if layout != "auto":
        return Axes(chosen, -1 if layout == "channels-last" else 0)
    few = [shape[axis] <= _FEW for axis in (0, -1)]
    if few[0] != few[1]:
        return Axes(chosen, -1 if few[1] else 0)
    last = _channels_last(shape)
    return Axes(chosen, -1 if last else 0, (_guess_of_channels(shape, chosen, last),))


def _guess_of_channels(shape: tuple[int, ...], kind: Kind, last: bool) -> str:
    count = shape[-1 if last else 0]
    rest = shape[:-1] if last else shape[1:]
    place, other = ("last", "first") if last else ("first", "last")
    what = f"{rest[0]}x{rest[1]} images" if kind == "image" else f"audio of length {rest[0]}"
    return (
        f"Samples of shape {shape} are taken as {what} with {count} channels, which come {place}; "
        f"if they come {other}, say {option('layout', f'channels-{other}')}."
    )


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Whether the last axis is rather the channels than the first."""
    first, last = shape[0], shape[-1]
    if len(shape) == 2:
        return last < first
    middle = shape[1]
    if first == middle != last:
        return True
    if middle == last != first:
        return False
    return max(first, last) > _FEW and last <= _SHORT * min(first, middle)


def _counted_last(count: int, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Say so where it is likely that the last axis counts the samples, as in (H, W, C, N)."""
    if count < 2 or len(shape) not in (2, 3) or shape[-1] <= _FEW or shape[-1] == shape[0]:
        return ()
    if len(shape) == 3:  # a middle axis of channels
        likely = shape[1] <= _FEW < min(count, shape[0])
    else:  # a square beforehand, or a last axis that is far longer than both
        long = shape[1] >= 4 * max(count, shape[0]) and not _like_a_window(*shape)
        likely = count == shape[0] or long
    if not likely:
        return ()
    return (
        f"The first axis counts the samples: these are {count} of shape {shape}. If the last one "
        f"counts them, so that there are {shape[-1]} of shape {(count, *shape[:-1])}, give "
        f"data = numpy.moveaxis(numpy.asarray(data), -1, 0).",
    )


def _like_a_window(height: int, width: int) -> bool:
    """Whether what has two axes may be a few channels of a signal rather than an image."""
    short, long = sorted((height, width))
    return short <= 16 and long >= 4 * short


class DataStats(NamedTuple):
    """What has to be known of samples to understand them.

    Attributes:
        shape: Of one item, without the axis that counts items.
        dtype: Type of the numbers as they are stored.
        low: The lowest of them.
        high: The highest of them.
        scales: (D,) standard deviation of each column, of items with one axis; else None.
        samples: How many items there are.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: float
    high: float
    scales: AnyArray | None = None
    samples: int = 0


class Understood(NamedTuple):
    """How samples are taken, and everything that was guessed."""

    axes: Axes
    values: Values
    notices: tuple[str, ...]


def understand(
    facts: DataStats,
    *,
    kind: SampleKind = "auto",
    layout: Layout = "auto",
    stored_range: Range | None = None,
    origin: str = "The array",
    usage: str = NAMED,
) -> Understood:
    """Decide how samples are taken, from what is known of them; options as the caller gave them.

    Raises:
        ConfigError: If an option does not apply to such samples.
        DataError: If they are not samples of that kind, or have an unknown range.
    """
    axes = arrange(facts.shape, kind, layout, origin)
    try:
        values = understand_range(
            facts.dtype, facts.low, facts.high, axes.kind, stored_range, origin, usage
        )
    except DataError as error:
        if axes.channels is None and axes.notices:  # perhaps it is another kind altogether
            raise DataError(f"{error} {axes.notices[0]}") from None
        raise
    last = _counted_last(facts.samples, facts.shape) if kind == layout == "auto" else ()
    notices = (*axes.notices, *last, *values.notices)
    if axes.kind == "vector" and facts.scales is not None:
        notices += vector_notices(facts.dtype, facts.low, facts.high, facts.scales, stored_range)
    return Understood(axes, values, notices)


def examined_notice(seen: int, count: int) -> tuple[str, ...]:
    """Return the notice that data were judged by some of their items; nothing if by all."""
    if seen >= count:
        return ()
    return (f"What the data are was judged from {seen:,} of {count:,} samples, evenly spaced.",)


def check_precision(values: AnyArray, origin: str = "The array") -> None:
    """Refuse numbers most of which float32 cannot tell apart.

    ``values`` are some samples (N, ...) as stored. Columns of vectors count by themselves.

    Raises:
        DataError: If fewer than half of the different values are left.
    """
    import numpy as np

    if values.dtype.kind not in "iuf" or values.dtype.itemsize < 4 or values.dtype == np.float32:
        return
    columns = values if values.ndim == 2 else values.reshape(1, -1).T
    # Only where the spacing of float32 is coarse for what a column spans is it worth a count.
    with np.errstate(over="ignore", invalid="ignore"):
        lows, highs = columns.min(0).astype(np.float64), columns.max(0).astype(np.float64)
        largest = np.maximum(np.abs(lows), np.abs(highs))
        coarse = (highs > lows) & ((highs - lows) < largest * 2.0**-24 * 2 * len(columns))
        if columns.dtype.kind in "iu":
            coarse &= largest > 2**24
    for column in np.flatnonzero(coarse):
        exact = columns[:, column]
        before, after = len(np.unique(exact)), len(np.unique(exact.astype(np.float32)))
        if 2 * after < before:
            where = f" in column {column}" if values.ndim == 2 else ""
            low, high = exact.min().item(), exact.max().item()
            raise DataError(
                f"{origin} holds values from {low} to {high}{where}, of which "
                f"float32, with which nets compute, can tell {after:,} of {before:,} apart; "
                f"take their mean away and scale them first: "
                f"data = (data - data.mean(0)) / data.std(0).clip(1e-9)."
            )
