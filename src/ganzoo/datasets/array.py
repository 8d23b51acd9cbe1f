"""Arrays as datasets: files of numpy and safetensors, and the conversion that all arrays share."""

from __future__ import annotations

import math
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from ganzoo.datasets.base import DataPath, Dataset, Samples
from ganzoo.errors import ConfigError, DataError, did_you_mean, listing
from ganzoo.spec import SampleSpec
from ganzoo.storage import expanded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    AnyArray = NDArray[Any]

__all__ = [
    "LABEL_KEYS",
    "SAMPLE_KEYS",
    "SUFFIXES",
    "Array",
    "ArrayDataset",
    "Layout",
    "SampleKind",
    "as_label_array",
    "as_number_array",
    "as_samples",
    "pick_keys",
]

Layout = Literal["auto", "channels-first", "channels-last"]
SampleKind = Literal["auto", "image", "vector", "audio"]
Range = tuple[float, float]

SUFFIXES = (".npy", ".npz", ".safetensors")
"""Suffixes of the files that can be read."""
SAMPLE_KEYS = ("images", "image", "samples", "data", "x")
"""Names under which samples are looked for where several arrays have names."""
LABEL_KEYS = ("labels", "label", "targets", "target", "y")
"""Names under which labels are looked for."""

_NPY, _ZIP, _PICKLE = b"\x93NUMPY", b"PK", b"\x80"  # what such files start with
_MOST_CHANNELS = 4  # an axis of at most this length can be recognised as channels
_CHUNK = 16 * 2**20  # bytes looked at in one go, so that a mapped file is never read as a whole
_TOLERANCE = 1e-5  # of the range: what rounding may add to it


class ArrayDataset(Dataset):
    """What datasets made of arrays have in common: how to understand the numbers."""

    layout: Layout = Field(
        "auto", description="where the channels are in arrays of images or audio"
    )
    sample_kind: SampleKind = Field("auto", description="what one sample is")
    stored_range: Range | None = Field(
        None, description="lowest and highest value that the array may hold"
    )

    @field_validator("stored_range")
    @classmethod
    def _ordered(cls, value: Range | None) -> Range | None:
        if value is not None and not value[0] < value[1]:
            raise ConfigError(
                f"A stored_range is (low, high) with low < high, not {value}; swap or correct it."
            )
        return value


class Array(ArrayDataset):
    """Samples from a .npy, .npz or .safetensors file.

    How an array is understood is described at ``as_samples``. A ``.npy`` of uint8 or float32 in
    the order (N, C, H, W), (N, H, W) or (N, D) is memory-mapped, so it may be larger than memory.
    Python objects (pickles) are never loaded.

    Where a file holds several arrays, labels are looked for under ``labels``, ``label``,
    ``targets``, ``target`` or ``y``, and samples under ``images``, ``image``, ``samples``, ``data``
    or ``x``, or else the one array that is left.
    """

    name: ClassVar[str] = "array"

    path: DataPath = Field(description="array file: .npy, .npz or .safetensors")
    key: str | None = Field(None, description="name of the samples in the file")
    labels_key: str | None = Field(None, description="name of the labels in the file")

    @field_validator("path")
    @classmethod
    def _readable(cls, value: Path) -> Path:
        if value.suffix.lower() not in SUFFIXES:
            raise ConfigError(
                f"'{value}' has no suffix of an array file; save the samples as one of "
                f"{listing(SUFFIXES)}."
            )
        return value

    def load(self) -> Samples:
        """Read the samples.

        Returns:
            What ``as_samples`` makes of the arrays.

        Raises:
            ConfigError: If ``key`` or ``labels_key`` does not exist or is needed.
            DataError: If the file is absent, damaged or holds something that is no sample.
        """
        path = expanded(self.path)
        origin = f"'{path}'"
        if not path.is_file():
            what = "is a folder, not an array file" if path.is_dir() else "does not exist"
            raise DataError(f"{origin} {what}; correct the path of the dataset 'array'.")
        try:
            data, labels = self._read(path, origin)
        except (ConfigError, DataError):
            raise
        except Exception as error:  # numpy and safetensors raise many classes on damaged files
            raise _unreadable(origin, error) from error
        return as_samples(
            data,
            labels,
            layout=self.layout,
            kind=self.sample_kind,
            stored_range=self.stored_range,
            origin=origin,
        )

    def _read(self, path: Path, origin: str) -> tuple[Any, Any]:
        if path.suffix.lower() == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                key, labels_key = pick_keys(names, origin, self.key, self.labels_key)
                return file.get_tensor(key), file.get_tensor(labels_key) if labels_key else None

        import numpy as np

        with path.open("rb") as file:
            start = file.read(6)
            file.seek(0)
            if path.suffix.lower() == ".npz":
                if start == _NPY:
                    raise DataError(f"{origin} is a .npy file, not an archive; rename it to .npy.")
                with np.load(file, allow_pickle=False) as arrays:
                    key, labels_key = pick_keys(list(arrays), origin, self.key, self.labels_key)
                    return arrays[key], arrays[labels_key] if labels_key else None

        if start[:2] == _ZIP:
            raise DataError(f"{origin} is an .npz archive, not a .npy file; rename it to .npz.")
        if start[:1] == _PICKLE:
            raise pickle.UnpicklingError
        if self.key or self.labels_key:
            raise ConfigError(
                f"{origin} is a .npy file, which holds one array without a name; "
                f"leave out key and labels_key, or save an .npz."
            )
        # "c" is copy-on-write: nothing changes the file, and torch finds memory it may write.
        return np.lib.format.open_memmap(path, mode="c"), None


def pick_keys(
    names: Sequence[str],
    origin: str,
    key: str | None = None,
    labels_key: str | None = None,
) -> tuple[str, str | None]:
    """Choose which named array holds the samples and which the labels.

    Args:
        names: Names there are.
        origin: What they are in, to start a message.
        key: Name of the samples if the caller gave it.
        labels_key: Name of the labels if the caller gave it.

    Returns:
        Name of the samples, and of the labels or None.

    Raises:
        ConfigError: If a given name does not exist or no choice is obvious.
    """
    for given in (key, labels_key):
        if given is not None and given not in names:
            raise ConfigError(
                f"{origin} has no array '{given}'.{did_you_mean(given, names)} "
                f"Names in it: {listing(names)}."
            )
    if labels_key is None:
        found = [name for name in names if name in LABEL_KEYS and name != key]
        if len(found) > 1:
            raise ConfigError(
                f"{origin} has several arrays that may be labels; say which one with labels_key. "
                f"Names in it: {listing(names)}."
            )
        labels_key = found[0] if found else None
    if key is None:
        rest = [name for name in names if name != labels_key]
        found = [name for name in rest if name in SAMPLE_KEYS] or rest
        if len(found) != 1:
            raise ConfigError(
                f"It is not clear which array of {origin} holds the samples; say it with key (and "
                f"labels_key). Names in it: {listing(names)}."
            )
        key = found[0]
    return key, labels_key


def as_samples(
    data: Any,
    labels: Any = None,
    *,
    layout: Layout = "auto",
    kind: SampleKind = "auto",
    stored_range: Range | None = None,
    origin: str = "The array",
    usage: str = "the option {}",
) -> Samples:
    """Turn an array of numbers into samples, without copying it where that is possible.

    Shapes, where N is the number of samples:

    * (N, D) is vectors; with ``kind="audio"`` it is mono audio of length D.
    * (N, H, W) is greyscale images; with ``kind="audio"`` it is (N, C, L) or (N, L, C).
    * (N, C, H, W) or (N, H, W, C) is images. With ``layout="auto"``, if exactly one of the second
      and the last axis is at most 4 long, it is the channel axis; otherwise channels come first.

    Values of images and audio:

    * uint8 is taken as 0..255 and kept; bool becomes uint8 0..1.
    * uint16 becomes float32 in 0..65535; int16 audio becomes float32 in -32768..32768.
    * Other integers become uint8 if they are within 0..255, and are refused otherwise.
    * Floats become float32. Images within [0, 1] are taken as that, images and audio within
      [-1, 1] as that; anything else is refused until ``stored_range`` says what it is.

    Vectors become float32, taken as they are; with a ``stored_range`` they are bounded, and
    generated in [-1, 1]. NaN and infinite values are always refused.

    Args:
        data: Array or tensor.
        labels: Array, tensor or sequence (N,) or (N, 1) of integers or strings, or None. Classes
            are the sorted distinct values: 0..K-1 stay what they are, others are numbered.
        layout: Where the channels are.
        kind: What one sample is.
        stored_range: Lowest and highest value that ``data`` may hold.
        origin: What the array is, to start a message.
        usage: How the caller gives an option, with ``{}`` for the option, to end a message.

    Returns:
        Samples that may share memory with ``data``.

    Raises:
        DataError: If the array cannot be taken as samples, with the reason.
    """
    array = as_number_array(data, origin)
    if array.ndim < 2:
        raise DataError(
            f"{origin} has shape {array.shape}: samples need at least two axes, the first of which "
            f"counts them; reshape it to (N, D), (N, H, W) or (N, C, H, W)."
        )
    if array.size == 0:
        raise DataError(f"{origin} has shape {array.shape}: it is empty; give at least one sample.")
    what = _kind_of(array, kind, origin)
    array = _arranged(array, what, layout)
    array, held = _ranged(array, what, stored_range, origin, usage)
    indices, classes = (None, None) if labels is None else _numbered(labels, len(array), origin)
    spec = SampleSpec(
        kind=what,
        shape=array.shape[1:],
        value_range=None if held is None else (-1.0, 1.0),
        classes=classes,
    )
    return Samples(data=_tensor(array), spec=spec, labels=indices, stored_range=held)


def as_number_array(value: Any, origin: str) -> AnyArray:
    """Return an array or tensor of numbers as a numpy array, sharing memory where possible.

    Args:
        value: numpy array, or torch tensor on any device.
        origin: What it is, to start a message.

    Returns:
        Array of bool, integers or floats.

    Raises:
        DataError: If it holds something else.
    """
    import numpy as np

    array = np.asarray(_detached(value))
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{origin} holds {_dtype_name(array)}: samples are numbers; "
            f"convert it to uint8 or float32."
        )
    return array


def as_label_array(value: Any, origin: str) -> AnyArray:
    """Return labels as a numpy array (N,) of integers, bool or strings.

    Args:
        value: Array, tensor or sequence (N,) or (N, 1).
        origin: What the labels belong to, to start a message.

    Raises:
        DataError: If labels are not integers or strings, or not one per sample.
    """
    import numpy as np

    array = np.asarray(_detached(value))
    if array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat):
        array = array.astype(str)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{origin} has labels of shape {array.shape}: give one class per sample, shape (N,); "
            f"one-hot labels become that by argmax."
        )
    if array.dtype.kind not in "biuU":
        raise DataError(f"{origin} has labels of {_dtype_name(array)}: give integers or strings.")
    return array


def _detached(value: Any) -> Any:
    """A tensor as a numpy array; anything else as it is."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    known = (torch.float16, torch.float32, torch.float64)
    if value.is_floating_point() and value.dtype not in known:
        value = value.float()  # numpy has no bfloat16
    return value.detach().cpu().numpy()


def _dtype_name(array: AnyArray) -> str:
    return {"O": "Python objects", "U": "strings", "S": "bytes"}.get(
        array.dtype.kind, f"{array.dtype} values"
    )


def _kind_of(array: AnyArray, kind: SampleKind, origin: str) -> Literal["image", "vector", "audio"]:
    chosen = ("vector" if array.ndim == 2 else "image") if kind == "auto" else kind
    possible = {
        "vector": {2: "(N, D)"},
        "audio": {2: "(N, L)", 3: "(N, C, L)"},
        "image": {3: "(N, H, W)", 4: "(N, C, H, W)"},
    }[chosen]
    if array.ndim not in possible:
        raise DataError(
            f"{origin} has shape {array.shape}, which is no array of samples of kind '{chosen}'; "
            f"reshape it to {' or '.join(possible.values())}."
        )
    return chosen


def _arranged(array: AnyArray, kind: str, layout: Layout) -> AnyArray:
    """The array with its channels on the second axis, as a view."""
    import numpy as np

    if kind == "vector":
        return array
    if array.ndim == (3 if kind == "image" else 2):
        return array[:, None]
    few = [array.shape[axis] <= _MOST_CHANNELS for axis in (1, -1)]
    last = few == [False, True] if layout == "auto" else layout == "channels-last"
    return np.moveaxis(array, -1, 1) if last else array


def _ranged(
    array: AnyArray, kind: str, stored_range: Range | None, origin: str, usage: str
) -> tuple[AnyArray, Range | None]:
    """The array as uint8 or float32, and the range of its values."""
    import numpy as np

    dtype = array.dtype
    bounds: Range | None = stored_range
    if kind == "vector":
        array = _as_float32(array)
    elif dtype == np.bool_:
        array, bounds = array.astype(np.uint8), bounds or (0.0, 1.0)
    elif dtype == np.uint8:
        bounds = bounds or (0.0, 255.0)
    elif dtype == np.uint16:
        array, bounds = _as_float32(array), bounds or (0.0, 65535.0)
    elif dtype == np.int16 and kind == "audio":
        array, bounds = _as_float32(array), bounds or (-32768.0, 32768.0)
    elif dtype.kind in "iu" and bounds is None:
        low, high, _ = _extent(array)
        if low < 0 or high > 255:
            raise DataError(
                f"{origin} holds {dtype} values from {low:g} to {high:g}: integers outside 0..255 "
                f"have no range of their own; say what they may be with "
                f"{usage.format(f'stored_range=({low:g}, {high:g})')}."
            )
        array, bounds = array.astype(np.uint8), (0.0, 255.0)
    else:
        array = _as_float32(array)

    if array.dtype == np.uint8 and stored_range is None:
        return array, bounds
    low, high, bad = _extent(array)
    if bad:
        raise DataError(
            f"{origin} has {bad} NaN or infinite value{'s' if bad > 1 else ''} among "
            f"{array.size}; remove or replace {'them' if bad > 1 else 'it'}."
        )
    if kind == "vector" and bounds is None:
        return array, None
    if bounds is None:
        candidates = [(-1.0, 1.0)] if kind == "audio" else [(0.0, 1.0), (-1.0, 1.0)]
        bounds = next((each for each in candidates if _within(low, high, each)), None)
        if bounds is None:
            guess = "(0, 255)" if low >= 0 and high <= 255 else f"({low:g}, {high:g})"
            raise DataError(
                f"{origin} holds floats from {low:g} to {high:g}: only [0, 1] and [-1, 1] are "
                f"recognised; say what they may be with {usage.format(f'stored_range={guess}')}."
            )
    if not _within(low, high, bounds):
        raise DataError(
            f"{origin} holds values from {low:g} to {high:g}, outside its stored_range "
            f"({bounds[0]:g}, {bounds[1]:g}); correct the range or the values."
        )
    return array, bounds


def _within(low: float, high: float, bounds: Range) -> bool:
    slack = _TOLERANCE * (bounds[1] - bounds[0])
    return bounds[0] - slack <= low and high <= bounds[1] + slack


def _as_float32(array: AnyArray) -> AnyArray:
    import numpy as np

    with np.errstate(over="ignore"):  # what becomes infinite is refused with its count
        return array.astype(np.float32, copy=False)


def _extent(array: AnyArray) -> tuple[float, float, int]:
    """Lowest value, highest value, and how many are NaN or infinite, in one chunked pass."""
    import numpy as np

    rows = max(1, _CHUNK // max(1, array[:1].nbytes))
    low, high, bad = math.inf, -math.inf, 0
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        if part.dtype.kind == "f":
            finite = np.isfinite(part)
            bad += part.size - int(np.count_nonzero(finite))
            if bad:
                continue
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    return low, high, bad


def _numbered(labels: Any, count: int, origin: str) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as int64 indices into the sorted distinct values, and those as class names."""
    import numpy as np
    import torch

    array = as_label_array(labels, origin)
    if len(array) != count:
        raise DataError(
            f"{origin} has {count} samples but {len(array)} labels; give one label per sample."
        )
    values, indices = np.unique(array, return_inverse=True)
    return torch.from_numpy(indices.astype(np.int64)), tuple(str(value) for value in values)


def _tensor(array: AnyArray) -> Tensor:
    import numpy as np
    import torch

    native: np.dtype[Any] = array.dtype.newbyteorder("=")
    with warnings.catch_warnings():  # samples are only read, so read-only memory will do
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array, dtype=native))


def _unreadable(origin: str, error: Exception) -> DataError:
    text = " ".join(str(error).split())
    objects = ("allow_pickle", "pickled", "Python objects")
    if isinstance(error, pickle.UnpicklingError) or any(word in text for word in objects):
        return DataError(
            f"{origin} holds Python objects (a pickle), which are never loaded because they can "
            f"run code; save plain numbers with numpy.save(path, array.astype('float32'))."
        )
    broken = (EOFError, zipfile.BadZipFile, zlib.error, ValueError)
    fact = "is damaged or no such file type" if isinstance(error, broken) else "cannot be read"
    return DataError(
        f"{origin} {fact} ({type(error).__name__}: {text}); write it again, or check its suffix."
    )
