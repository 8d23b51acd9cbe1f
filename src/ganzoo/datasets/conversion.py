"""Arrays and tensors of numbers, brought to the form in which samples are held."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganzoo.datasets.advice import advice
from ganzoo.datasets.reading import MOST_LOOKED_AT, DataStats, Understood
from ganzoo.errors import ConfigError, DataError, listing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    AnyArray = NDArray[Any]

__all__ = [
    "as_number_array",
    "as_numpy",
    "as_tensor",
    "check_shape",
    "converted",
    "examined",
    "excerpt_of",
    "extent_of",
    "is_array",
    "reshaped",
    "scales_of",
    "stats_of",
]

_CHUNK = 16 * 2**20  # bytes looked at in one go, so that a mapped file is never read as a whole
_EXCERPT = 2**22  # values of an array that it is judged by where it is not looked at as a whole


def is_array(value: Any) -> bool:
    """Whether a value acts as an array or tensor."""
    try:
        return hasattr(value, "shape") and hasattr(value, "dtype")
    except Exception:  # nested tensors have neither, and fail instead of saying so
        return False


def as_number_array(value: Any, origin: str) -> AnyArray:
    """Return an array, or a tensor on any device, as a numpy array of bool, integers or floats.

    Memory is shared where possible.

    Raises:
        DataError: If it holds something else.
    """
    import numpy as np

    how = advice(value)
    array = np.asarray(as_numpy(value))
    if array.dtype.kind not in "biuf" or how:
        raise DataError(
            f"{origin} holds {_dtype_name(array, value)}: samples are numbers; "
            f"{how or 'convert it to uint8 or float32'}."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)  # which torch knows
    return array


def as_numpy(value: Any) -> Any:
    """A tensor as a numpy array; anything else as it is."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    known = (torch.float16, torch.float32, torch.float64)
    if value.is_floating_point() and value.dtype not in known:
        value = value.float()  # numpy has no bfloat16
    return value.detach().cpu().numpy()


def _dtype_name(array: AnyArray, value: Any) -> str:
    if array.dtype.kind == "O" and array.ndim == 0:
        return f"a {type(value).__name__}"
    if array.dtype.kind in "biuf":
        return "masked values"
    if array.dtype.names:
        return f"records ({listing(array.dtype.names)})"
    return {"O": "Python objects", "U": "strings", "S": "bytes"}.get(
        array.dtype.kind, f"{array.dtype} values"
    )


def as_tensor(array: AnyArray) -> Tensor:
    """Return an array as a tensor, sharing memory where possible."""
    import numpy as np
    import torch

    native: np.dtype[Any] = array.dtype.newbyteorder("=")
    with warnings.catch_warnings():  # samples are only read, so read-only memory will do
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array, dtype=native))


def check_shape(array: AnyArray, origin: str) -> None:
    """Refuse what cannot be samples (N, ...).

    Raises:
        DataError: If the only axis counts samples, or there is no value.
    """
    if array.ndim < 2:
        single = "; data.reshape(-1, 1) makes a sample of each number" if array.ndim else ""
        raise DataError(
            f"{origin} has shape {array.shape}: samples need at least two axes, the first of which "
            f"counts them; reshape it to (N, D), (N, H, W) or (N, C, H, W){single}."
        )
    if array.size == 0:
        raise DataError(f"{origin} has shape {array.shape}: it is empty; give at least one sample.")


def reshaped(array: AnyArray, item_shape: Sequence[int] | None, origin: str) -> AnyArray:
    """Return an array (N, ...) with items of that shape.

    Raises:
        ConfigError: If its items have not as many values.
    """
    if item_shape is None:
        return array
    if math.prod(item_shape) != math.prod(array.shape[1:]):
        raise ConfigError(
            f"{origin} has samples of {math.prod(array.shape[1:]):,} values "
            f"{array.shape[1:]}, and an item_shape of {tuple(item_shape)} has "
            f"{math.prod(item_shape):,}; correct item_shape or leave it out."
        )
    return array.reshape(len(array), *item_shape)


def converted(array: AnyArray, found: Understood) -> AnyArray:
    """Return items (N, ...) as they are held: channels first, uint8 or float32."""
    import numpy as np

    axes = found.axes
    if axes.channels is None:
        array = array if axes.kind == "vector" else array[:, None]
    elif axes.channels == -1:
        array = np.moveaxis(array, -1, 1)
    return array.astype(np.uint8, copy=False) if found.values.small else _as_float32(array)


def _as_float32(array: AnyArray) -> AnyArray:
    import numpy as np

    with np.errstate(over="ignore"):  # what becomes infinite is refused with its count
        return array.astype(np.float32, copy=False)


def stats_of(array: AnyArray, origin: str) -> DataStats:
    """Return what has to be known of an array (N, ...) to understand it.

    Raises:
        DataError: If there are NaN or infinite values.
    """
    low, high = extent_of(array, origin)
    return DataStats(
        array.shape[1:], array.dtype, low, high, scales_of(excerpt_of(array)), len(array)
    )


def extent_of(array: AnyArray, origin: str) -> tuple[float, float]:
    """Return the lowest and the highest value of an array (N, ...).

    Raises:
        DataError: If there are NaN or infinite values.
    """
    low, high, bad = _extent(array)
    if bad:
        raise DataError(
            f"{origin} has {bad} NaN or infinite value{'s' if bad > 1 else ''} among "
            f"{array.size}; remove or replace {'them' if bad > 1 else 'it'}."
        )
    return low, high


def _extent(array: AnyArray) -> tuple[float, float, int]:
    """Lowest value, highest value, and how many are NaN or infinite, in one chunked pass."""
    import numpy as np

    rows = max(1, _CHUNK // max(1, array[:1].nbytes))
    low, high, bad = math.inf, -math.inf, 0
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        if part.dtype.kind == "f":
            part = _as_float32(part)
            finite = np.isfinite(part)
            bad += part.size - int(np.count_nonzero(finite))
            if bad:
                continue
        low, high = min(low, part.min().item()), max(high, part.max().item())
    return low, high, bad


def scales_of(array: AnyArray) -> AnyArray | None:
    """Return the standard deviation of each column of vectors (N, D); None of anything else."""
    import numpy as np

    return array.astype(np.float64).std(0) if array.ndim == 2 else None


def excerpt_of(array: AnyArray) -> AnyArray:
    """Evenly spaced items, or all of them where they are few."""
    import numpy as np

    most = examined(array[:1].size)
    if len(array) <= most:
        return array
    return array[np.linspace(0, len(array) - 1, most).round().astype(np.int64)]


def examined(size: int) -> int:
    """Return by how many items of that size data are judged: 256, fewer large or more small."""
    return max(2, min(max(MOST_LOOKED_AT, _EXCERPT // size), 4 * _EXCERPT // size))
