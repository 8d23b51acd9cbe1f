"""How samples of any origin are read: axes, range of values, rows of numbers, labels.

Functions of facts (shape and type of an item, lowest and highest value, labels), so that the same
data are understood alike, and with the same notices, whether they come from an array, a file, a
folder, a table or a torch Dataset. Whatever is a guess is said in a notice that names the option
which says otherwise.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ganzoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    AnyArray = NDArray[Any]

__all__ = [
    "MOST_LOOKED_AT",
    "NAMED",
    "Axes",
    "DataStats",
    "Layout",
    "Range",
    "SampleKind",
    "Understood",
    "Values",
    "arrange",
    "check_precision",
    "examined_notice",
    "option",
    "suggested_range",
    "understand",
    "understand_range",
    "vector_notices",
    "within",
]

Layout = Literal["auto", "channels-first", "channels-last"]
SampleKind = Literal["auto", "image", "vector", "audio"]
Kind = Literal["image", "vector", "audio"]
Range = tuple[float, float]

MOST_LOOKED_AT = 256
"""Items by which data are judged where they are not read as a whole."""

NAMED = "the option {}"
"""How a caller gives an option of a dataset that has a name, with ``{}`` for the option."""

_FEW = 4  # an axis of at most this length is one of channels, if the other is longer
_SHORT = 3 / 4  # of each other axis: so much at most has one that is clearly the shortest
_UNUSED = 0.55  # of the range that a type implies: data that fill less are worth a word
_QUIET = 1 / 8  # likewise of audio, which is seldom loud
_NEAR = 3 / 4  # of a number of bits: from there on it is taken for that
_VERY_NEAR = 0.97  # likewise of a number of bits that is seldom used
_BITS = (10, 12, 14, 16)
_HALVES = (2**7, 2**15, 2**23, 2**31)
_TOLERANCE = 1e-5  # of the range: what rounding may add to it
_UNLIKE = 100  # times: scales of columns that differ so much are worth a word
_LONG = 4096  # numbers: a longer row of both signs within [-1, 1] may be audio
_FILLED = 0.95  # of [-1, 1]: images that were scaled to it go so far
_UNIT = 30  # times around 1: the scales that nets learn well at


def option(name: str, value: Any) -> str:
    """Return an option as Python and as the command line spell it."""
    flag = f"--dataset.{name.replace('_', '-')}"
    if isinstance(value, tuple):
        shown = ", ".join(map(_number, value)) + ("," if len(value) == 1 else "")
        return f"{name}=({shown}) ({flag} {' '.join(map(_number, value))})"
    return f"{name}={value!r} ({flag} {shlex.quote(str(value))})"


def _number(value: float) -> str:
    """A number as a person would write it."""
    if isinstance(value, str):
        return value
    if float(value).is_integer() and abs(value) < 2**63:
        return str(int(value))
    return repr(float(value))


def _about(value: float) -> str:
    """A number that was found, exact where it is an integer."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 2**53):
        return str(int(value))
    return f"{value:g}"


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

    Args:
        shape: Of one item, without the axis that counts items.
        kind: What the caller says that a sample is.
        layout: Where the caller says that the channels are.
        origin: What the items are, to start a message.

    Raises:
        ConfigError: If there is a layout for items that have no channels.
        DataError: If items of this shape are no samples of that kind.
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
            f"{origin} has shape {whole}, which is no array of samples of kind '{chosen}'; "
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
    count = shape[-1 if last else 0]
    rest = shape[:-1] if last else shape[1:]
    place, other = ("last", "first") if last else ("first", "last")
    what = f"{rest[0]}x{rest[1]} images" if chosen == "image" else f"audio of length {rest[0]}"
    notice = (
        f"Samples of shape {shape} are taken as {what} with {count} channels, which come {place}; "
        f"if they come {other}, say {option('layout', f'channels-{other}')}.",
    )
    return Axes(chosen, -1 if last else 0, notice)


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


# -- values -----------------------------------------------------------------------------------


class Values(NamedTuple):
    """How the numbers of samples are taken.

    Attributes:
        bounds: What is the lowest and the highest value of a sample; None where values are taken
            as they are.
        small: Whether they are held as uint8, and not as float32.
        notices: What was guessed.
    """

    bounds: Range | None
    small: bool
    notices: tuple[str, ...] = ()


def understand_range(
    dtype: np.dtype[Any],
    low: float,
    high: float,
    kind: Kind,
    stored_range: Range | None = None,
    origin: str = "The array",
    usage: str = NAMED,
) -> Values:
    """Decide which range numbers are in.

    Args:
        dtype: Their type as they are stored.
        low: The lowest of them.
        high: The highest of them.
        kind: What one sample is.
        stored_range: What the caller says; None if nothing.
        origin: What holds the numbers, to start a message.
        usage: How the caller gives an option, with ``{}`` for the option.

    Raises:
        DataError: If it cannot be decided, or numbers are outside the ``stored_range``.
    """
    dtype = dtype.newbyteorder("=")
    small = dtype.kind == "b" or dtype == "uint8"
    if stored_range is not None:
        if not within(low, high, stored_range):
            raise DataError(
                f"{origin} holds values from {_about(low)} to {_about(high)}, outside its "
                f"stored_range ({stored_range[0]:g}, {stored_range[1]:g}); correct the range or "
                f"the values."
            )
        return Values(stored_range, small and kind != "vector")
    if kind == "vector":
        return Values(None, False)
    if dtype.kind == "b":
        return Values((0.0, 1.0), True)
    remedy = _range_option(low, high, kind, dtype, usage)
    if dtype == "uint16":
        bounds = (0.0, 65535.0)
    elif dtype == "int16" and kind == "audio":
        bounds = (-32768.0, 32768.0)
    elif dtype.kind in "iu":
        if low < 0 or high > 255:
            raise DataError(
                f"{origin} holds {dtype} values from {_about(low)} to {_about(high)}: integers "
                f"outside 0..255 have no range of their own; say what they may be with {remedy}."
            )
        bounds, small = (0.0, 255.0), True
    else:
        candidates = [(-1.0, 1.0)] if kind == "audio" else [(0.0, 1.0), (-1.0, 1.0)]
        found = next((each for each in candidates if within(low, high, each)), None)
        if found is None:
            raise DataError(
                f"{origin} holds floats from {_about(low)} to {_about(high)}: only [0, 1] and "
                f"[-1, 1] are recognised; say what they may be with {remedy}."
            )
        bounds = found
    return Values(bounds, small, _unused(dtype, low, high, kind, bounds))


def within(low: float, high: float, bounds: Range) -> bool:
    """Whether values are in a range, but for what rounding adds."""
    slack = _TOLERANCE * (bounds[1] - bounds[0])
    return bounds[0] - slack <= low and high <= bounds[1] + slack


def suggested_range(low: float, high: float, kind: Kind, dtype: np.dtype[Any]) -> Range:
    """Return a range that values may be meant to have, rounded outwards.

    Numbers near the most that 10, 12, 14 or 16 bits can hold are taken for that; floats are
    rounded to two digits of what they span. Audio is the same to both sides of zero.
    """
    whole = dtype.kind in "iub"
    if 0 <= low <= 0.1 * high:
        low = 0
    if kind == "audio" and low < 0:
        high = max(-low, high)
        low = -high
    if whole:
        low, high = int(low), int(high)
    if low == 0 and (top := _full(high)):
        high = top
    elif whole and low < 0:
        half = next((half for half in _HALVES if _NEAR * half <= max(-low, high) <= half), 0)
        if half and -half <= low and high <= half:
            low, high = -half, half if kind == "audio" else max(half - 1, high)
        elif math.log2(-low).is_integer() and (top := _full(high - low)):  # as -1024 to 3071
            high = low + top
    elif not whole:
        low, high = (0, 255) if low >= 0 and 127 < high <= 255 else _outwards(low, high)
    return (low, high) if low < high else (low - 1, high + 1)


def _full(high: float) -> int:
    """The most that a number of bits can hold, if a highest value is near it; else 0."""
    for bits in range(8, 33):
        top = 2**bits - 1
        if high <= top:
            return top if high >= (_NEAR if bits in _BITS else _VERY_NEAR) * top else 0
    return 0


def _outwards(low: float, high: float) -> Range:
    """Floats rounded outwards to two digits of what they span."""
    span = high - low or abs(high) or 1.0
    if not math.isfinite(span) or span > 1e15 or span < 1e-12:
        return low, high
    step = Decimal((0, (1,), Decimal(repr(float(span))).adjusted() - 1))
    if max(abs(low), abs(high)) / float(step) > 1e12:  # a small span far from zero
        return low, high
    lowest = Decimal(repr(float(low))).quantize(step, ROUND_FLOOR)
    return float(lowest), float(Decimal(repr(float(high))).quantize(step, ROUND_CEILING))


def _range_option(low: float, high: float, kind: Kind, dtype: np.dtype[Any], usage: str) -> str:
    text = option("stored_range", suggested_range(low, high, kind, dtype))
    # What is an object in Python has no command line.
    return usage.format(text if usage == NAMED else text.partition(" (--")[0])


def _unused(
    dtype: np.dtype[Any], low: float, high: float, kind: Kind, bounds: Range
) -> tuple[str, ...]:
    """What is said of data that fill a small part of the range that their type implies."""
    if low == high:
        return (f"All values are {_about(low)}, so that all samples are the same; check them.",)
    share = (high - low) / (bounds[1] - bounds[0])
    if share >= (_QUIET if kind == "audio" else _UNUSED):
        return ()
    suggested = suggested_range(low, high, kind, dtype)
    perhaps = ""
    if suggested[0] == 0 and suggested[1] in (1023, 4095, 16383):
        perhaps = f" (perhaps they have {int(suggested[1]).bit_length()} bits)"
    return (
        f"The values go from {_about(low)} to {_about(high)}{perhaps}, and are taken to be in "
        f"{_number(bounds[0])} to {_number(bounds[1])}, of which that is {_percent(share)}: "
        f"generated samples will fill as little. If they have a range of their own, say "
        f"{option('stored_range', suggested)}.",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


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
    """Decide how samples are taken, from what is known of them.

    Args:
        facts: What is known.
        kind: What the caller says that a sample is.
        layout: Where the caller says that the channels are.
        stored_range: What the caller says about the range of values.
        origin: What holds the samples, to start a message.
        usage: How the caller gives an option, with ``{}`` for the option.

    Raises:
        ConfigError: If an option does not apply to such samples.
        DataError: If they are no samples of that kind, or have an unknown range.
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
    last: tuple[str, ...] = ()
    if kind == layout == "auto":
        last = _counted_last(facts.samples, facts.shape)
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

    Args:
        values: Some samples (N, ...) as they are stored. Columns of vectors count by themselves.
        origin: What holds them, to start a message.

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


# -- rows -------------------------------------------------------------------------------------


def vector_notices(
    dtype: np.dtype[Any],
    low: float,
    high: float,
    scales: AnyArray,
    stored_range: Range | None = None,
) -> tuple[str, ...]:
    """Say what rows of numbers that are taken as vectors may be instead, or how they do better.

    Args:
        dtype: Type of the numbers as they are stored.
        low: The lowest of them.
        high: The highest of them.
        scales: (D,) standard deviation of each column.
        stored_range: What the caller says about the range.

    Returns:
        Notices; with a ``stored_range``, which scales them, only about columns.
    """
    import numpy as np

    width = len(scales)
    if stored_range is None:
        taken = suggested_range(low, high, "image", dtype)
        scaled = f"; to scale vectors to [-1, 1], say {option('stored_range', taken)}"
        if low < 0 and within(low, high, (-1, 1)):  # they are scaled
            scaled = ""
        if (side := _picture_of(width, low, high)) is not None:
            channels, height, across = shape = side
            colour = {1: "greyscale", 3: "RGB"}[channels]
            ways = option("item_shape", shape)
            if not _known_as_image(dtype, low, high):
                ways += f" and {option('stored_range', taken)}"
            return (
                f"Rows of {width} numbers from {_about(low)} to {_about(high)} are taken as "
                f"vectors, as they are. If they are {height}x{across} {colour} images, say {ways}"
                f"{scaled}.",
            )
        if width > _LONG and -1 <= low < 0 < high <= 1:
            return (
                f"Rows of {width} numbers from {_about(low)} to {_about(high)} are taken as "
                f"vectors, as they are. If they are audio, say {option('sample_kind', 'audio')}.",
            )
        if dtype.kind == "i" and low < 0 and width >= 64 and max(-low, high) > 255:
            taken = suggested_range(low, high, "audio", dtype)
            ways = option("sample_kind", "audio")
            if dtype != np.int16:
                ways += f" and {option('stored_range', taken)}"
            return (
                f"Rows of {width} {dtype.name} numbers from {_about(low)} to {_about(high)} are "
                f"taken as vectors, as they are. If they are audio, say {ways}; to scale vectors "
                f"to [-1, 1], say {option('stored_range', taken)}.",
            )
        if (side := _picture_of(width - 1, low, high)) and side[1] == side[2] and side[1] >= 8:
            where = f"data[:, 1:].reshape(-1, {', '.join(map(str, side))})"
            label = "data[:, 0]"
            if dtype.kind == "f":
                label = f"numpy.asarray({label}).astype('int64')"
            return (
                f"Rows of {width} numbers from {_about(low)} to {_about(high)} are taken as "
                f"vectors, as they are. If each is a label and an image of {width - 1} numbers, "
                f"give them apart: data = {{'images': {where}, 'labels': {label}}}, or with "
                f"data[:, :-1] and data[:, -1] where the label comes last{scaled}.",
            )
    how = "data = (data - data.mean(0)) / data.std(0).clip(1e-9)"
    varying = scales[scales > 0]
    if len(varying) and varying.max() >= _UNLIKE * varying.min():
        most, least = int(scales.argmax()), int(np.where(scales > 0, scales, np.inf).argmin())
        return (
            f"The columns differ in scale: column {most} has the standard deviation "
            f"{scales[most]:.3g} and column {least} {scales[least]:.3g}, so that the first decides "
            f"what is learnt. Vectors are taken as they are; standardise them beforehand: {how}.",
        )
    if stored_range is None and len(varying):
        typical = float(np.median(varying))
        far = max(abs(low), abs(high))
        if not 1 / _UNIT <= typical <= _UNIT or far > _UNIT**2 * typical:
            return (
                f"The vectors have values from {_about(low)} to {_about(high)} and are taken as "
                f"they are, far from the scale of 1 at which nets learn. Standardise them "
                f"beforehand: {how}; or to scale them to [-1, 1], say "
                f"{option('stored_range', suggested_range(low, high, 'vector', dtype))}.",
            )
    return ()


def _picture_of(width: int, low: float, high: float) -> tuple[int, int, int] | None:
    """Channels, height and width of the image that a row of numbers may be.

    It is a square; of what goes up to 255 also a rectangle near to one. Of numbers of both signs
    it has to fill [-1, 1], which embeddings do not.
    """
    signed = -1 <= low <= -_FILLED and _FILLED <= high <= 1
    if not (signed or 0 <= low <= high <= 65535) or width < 49:
        return None
    for channels in (1, 3):
        side = math.isqrt(width // channels)
        if channels * side * side == width and side >= 7:
            return channels, side, side
    if low >= 0 and 127 < high <= 255:
        for across in range(math.isqrt(width), math.isqrt(2 * width // 3), -1):
            if width % across == 0:
                return 1, width // across, across
    return None


def _known_as_image(dtype: np.dtype[Any], low: float, high: float) -> bool:
    """Whether numbers that are said to be an image are understood without another word."""
    try:
        return not understand_range(dtype, low, high, "image").notices
    except DataError:
        return False


# -- labels -----------------------------------------------------------------------------------
