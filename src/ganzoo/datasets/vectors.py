"""Rows of numbers that are taken as vectors: what they may be instead, or how they do better."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ganzoo.datasets.ranges import Range, option, shown, suggested_range, understand_range, within
from ganzoo.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["vector_notices"]

_UNLIKE = 100  # times: scales of columns that differ so much are worth a word
_LONG = 4096  # numbers: a longer row of both signs within [-1, 1] may be audio
_FILLED = 0.95  # of [-1, 1]: images that were scaled to it go so far
_UNIT = 30  # times around 1: the scales that nets learn well at
_STANDARDISED = "data = (data - data.mean(0)) / data.std(0).clip(1e-9)"


def vector_notices(
    dtype: np.dtype[Any],
    low: float,
    high: float,
    scales: NDArray[Any],
    stored_range: Range | None = None,
) -> tuple[str, ...]:
    """Say what rows of numbers that are taken as vectors may be instead, or how they do better.

    ``scales`` (D,) are the standard deviations of the columns. With a ``stored_range``, notices are
    only about columns.
    """
    import numpy as np

    if stored_range is None and (perhaps := _instead(dtype, low, high, len(scales))):
        return (
            f"Rows of {len(scales)} numbers from {shown(low)} to {shown(high)} are taken as "
            f"vectors, as they are.{perhaps}",
        )
    varying = scales[scales > 0]
    if len(varying) and varying.max() >= _UNLIKE * varying.min():
        most, least = int(scales.argmax()), int(np.where(scales > 0, scales, np.inf).argmin())
        return (
            f"The columns differ in scale: column {most} has the standard deviation "
            f"{scales[most]:.3g} and column {least} {scales[least]:.3g}, so that the first decides "
            f"what is learnt. Vectors are taken as they are; standardise them beforehand: "
            f"{_STANDARDISED}.",
        )
    if stored_range is None and len(varying):
        typical = float(np.median(varying))
        far = max(abs(low), abs(high))
        if not 1 / _UNIT <= typical <= _UNIT or far > _UNIT**2 * typical:
            taken = suggested_range(low, high, "vector", dtype)
            return (
                f"The vectors have values from {shown(low)} to {shown(high)} and are taken as they "
                f"are, far from the scale of 1 at which nets learn. Standardise them beforehand: "
                f"{_STANDARDISED}; or to scale them to [-1, 1], say "
                f"{option('stored_range', taken)}.",
            )
    return ()


def _instead(dtype: np.dtype[Any], low: float, high: float, width: int) -> str:
    """What rows of that width may be: images, audio, or labels and images; nothing if neither."""
    taken = suggested_range(low, high, "image", dtype)
    scaled = f"; to scale vectors to [-1, 1], say {option('stored_range', taken)}"
    if low < 0 and within(low, high, (-1, 1)):  # they are scaled
        scaled = ""
    if (shape := _picture_of(width, low, high)) is not None:
        colour = {1: "greyscale", 3: "RGB"}[shape[0]]
        ways = option("item_shape", shape)
        if not _known_as_image(dtype, low, high):
            ways += f" and {option('stored_range', taken)}"
        return f" If they are {shape[1]}x{shape[2]} {colour} images, say {ways}{scaled}."
    ways = option("sample_kind", "audio")
    if width > _LONG and -1 <= low < 0 < high <= 1:
        return f" If they are audio, say {ways}."
    if dtype.kind == "i" and low < 0 and width >= 64 and max(-low, high) > 255:
        loud = option("stored_range", suggested_range(low, high, "audio", dtype))
        if dtype.name != "int16":
            ways += f" and {loud}"
        return f" If they are audio, say {ways}; to scale vectors to [-1, 1], say {loud}."
    shape = _picture_of(width - 1, low, high)
    if shape and shape[1] == shape[2] and shape[1] >= 8:
        where = f"data[:, 1:].reshape(-1, {', '.join(map(str, shape))})"
        label = "data[:, 0]"
        if dtype.kind == "f":
            label = f"numpy.asarray({label}).astype('int64')"
        return (
            f" If each is a label and an image of {width - 1} numbers, give them apart: data = "
            f"{{'images': {where}, 'labels': {label}}}, or with data[:, :-1] and data[:, -1] where "
            f"the label comes last{scaled}."
        )
    return ""


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
