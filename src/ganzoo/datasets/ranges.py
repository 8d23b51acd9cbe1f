"""The range that numbers are in: what follows from their type and extent, and what to suggest."""

from __future__ import annotations

import math
import shlex
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ganzoo.errors import DataError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "NAMED",
    "Kind",
    "Range",
    "Values",
    "option",
    "shown",
    "suggested_range",
    "understand_range",
    "within",
]

Kind = Literal["image", "vector", "audio"]
Range = tuple[float, float]

NAMED = "the option {}"
"""How a caller gives an option of a dataset that has a name, with ``{}`` for the option."""

_UNUSED = 0.55  # of the range that a type implies: data that fill less are worth a word
_QUIET = 1 / 8  # likewise of audio, which is seldom loud
_NEAR = 3 / 4  # of a number of bits: from there on it is taken for that
_VERY_NEAR = 0.97  # likewise of a number of bits that is seldom used
_BITS = (10, 12, 14, 16)
_HALVES = (2**7, 2**15, 2**23, 2**31)
_TOLERANCE = 1e-5  # of the range: what rounding may add to it


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


def shown(value: float) -> str:
    """Return a number for a message, exact where it is an integer."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 2**53):
        return str(int(value))
    return f"{value:g}"


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

    ``dtype``, ``low`` and ``high`` are those of the stored numbers; ``stored_range`` is what the
    caller says. ``origin`` starts a message; ``usage`` is how options are given, as in ``NAMED``.

    Raises:
        DataError: If it cannot be decided, or numbers are outside the ``stored_range``.
    """
    dtype = dtype.newbyteorder("=")
    small = dtype.kind == "b" or dtype == "uint8"
    if stored_range is not None:
        if not within(low, high, stored_range):
            raise DataError(
                f"{origin} holds values from {shown(low)} to {shown(high)}, outside its "
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
                f"{origin} holds {dtype} values from {shown(low)} to {shown(high)}: integers "
                f"outside 0..255 have no range of their own; say what they may be with {remedy}."
            )
        bounds, small = (0.0, 255.0), True
    else:
        candidates = [(-1.0, 1.0)] if kind == "audio" else [(0.0, 1.0), (-1.0, 1.0)]
        found = next((each for each in candidates if within(low, high, each)), None)
        if found is None:
            raise DataError(
                f"{origin} holds floats from {shown(low)} to {shown(high)}: only [0, 1] and "
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
        return (f"All values are {shown(low)}, so that all samples are the same; check them.",)
    share = (high - low) / (bounds[1] - bounds[0])
    if share >= (_QUIET if kind == "audio" else _UNUSED):
        return ()
    suggested = suggested_range(low, high, kind, dtype)
    perhaps = ""
    if suggested[0] == 0 and suggested[1] in (1023, 4095, 16383):
        perhaps = f" (perhaps they have {int(suggested[1]).bit_length()} bits)"
    return (
        f"The values go from {shown(low)} to {shown(high)}{perhaps}, and are taken to be in "
        f"{_number(bounds[0])} to {_number(bounds[1])}, of which that is {100 * share:.2g} %: "
        f"generated samples will fill as little. If they have a range of their own, say "
        f"{option('stored_range', suggested)}.",
    )
