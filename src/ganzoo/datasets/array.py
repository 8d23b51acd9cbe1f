"""Arrays as datasets: files of numpy and safetensors, and the conversion that all arrays share."""

from __future__ import annotations

import math
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt, field_validator

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.advice import advice
from ganzoo.datasets.base import DataPath, Dataset, Samples, StoredRange
from ganzoo.datasets.reading import (
    MOST_LOOKED_AT,
    NAMED,
    Classes,
    ImageStats,
    Labels,
    Layout,
    Range,
    SampleKind,
    Understood,
    check_precision,
    classes_of_values,
    lonely,
    option,
    read_labels,
    understand,
    understand_range,
)
from ganzoo.errors import ConfigError, DataError, did_you_mean, listing
from ganzoo.files.storage import expanded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ganzoo.datasets.stream import Stream

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
    "as_tensor",
    "check_shape",
    "converted",
    "extent_of",
    "judged_by",
    "numbered",
    "pick_keys",
    "reshaped",
    "scales_of",
]

SUFFIXES = (".npy", ".npz", ".safetensors")
"""Suffixes of the files that can be read."""
SAMPLE_KEYS = ("images", "image", "samples", "data", "x")
"""Names under which samples are looked for where several arrays have names."""
LABEL_KEYS = ("labels", "label", "targets", "target", "y")
"""Names under which labels are looked for."""

_NPY, _ZIP, _PICKLE = b"\x93NUMPY", b"PK", b"\x80"  # what such files start with
_CHUNK = 16 * 2**20  # bytes looked at in one go, so that a mapped file is never read as a whole
_EXCERPT = 2**22  # values of an array that it is judged by where it is not looked at as a whole
_STATISTICS = ({"mu", "sigma"}, {"mean", "cov"}, {"mean", "sigma"}, {"mu", "cov"})
_OF_STATISTICS = re.compile(r"(.*[._/])?(mu|sigma|mean|cov)(_s|_clean)?")


class ArrayDataset(Dataset):
    """What datasets made of arrays have in common: how to understand the numbers."""

    layout: Layout = Field(
        "auto", description="where the channels are in arrays of images or audio"
    )
    sample_kind: SampleKind = Field("auto", description="what one sample is")
    item_shape: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)] | None = (
        Field(None, description="shape of one sample, where it is stored as a row: 1 28 28")
    )
    stored_range: StoredRange | None = Field(
        None, description="lowest and highest value that the array may hold"
    )
    key: str | None = Field(None, description="name of the samples where arrays have names")
    labels_key: str | None = Field(None, description="name of the labels where arrays have names")


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
            ConfigError: If ``key`` or ``labels_key`` does not exist or is needed, or an option
                does not apply.
            DataError: If the file is absent, damaged or holds something that is no sample.
        """
        return self._load(None)

    def resolved(
        self, workers: int | None = None, labels: bool = False
    ) -> tuple[Array, Samples | Stream]:
        """Return this dataset and its samples, as ``Dataset.resolved`` has it."""
        if workers is not None:
            return self, self.stream(workers, labels)
        return self, self._load(labels)

    def _load(self, wanted: bool | None) -> Samples:
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
            item_shape=self.item_shape,
            stored_range=self.stored_range,
            origin=origin,
            wanted=wanted,
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
    if key is None and labels_key is None:
        statistics = [name for name in names if _OF_STATISTICS.fullmatch(name)]
        parts = {name.replace("/", ".").rpartition(".")[2] for name in statistics}
        if any(pair <= parts for pair in _STATISTICS):
            # A reference batch of guided-diffusion has its pictures beside them.
            names = [name for name in names if name not in statistics]
            if not names:
                raise DataError(
                    f"{origin} holds statistics of features ({listing(statistics)}), as programs "
                    f"for FID keep them, and no samples; give the data that they are of, such as "
                    f"a folder of pictures or an array of images."
                )
    if labels_key is None:
        found = [name for name in names if name in LABEL_KEYS and name != key]
        if len(found) > 1:
            raise ConfigError(
                f"{origin} has several arrays that may be labels; say which one with "
                f"{option('labels_key', found[0])}. Names in it: {listing(names)}."
            )
        labels_key = found[0] if found else None
    if key is None:
        rest = [name for name in names if name != labels_key]
        found = [name for name in rest if name in SAMPLE_KEYS] or rest
        if len(found) != 1:
            raise ConfigError(
                f"It is not clear which array of {origin.replace('The ', 'the ', 1)} holds the "
                f"samples; say it with key and labels_key{_such_as(rest, labels_key)}. Names in "
                f"it: {listing(names)}."
            )
        key = found[0]
    return key, labels_key


def _such_as(names: Sequence[str], labels_key: str | None) -> str:
    """The options that are most likely meant, of several names."""
    if not names:
        return ""
    likely = [name for name in names if _named_like(name, SAMPLE_KEYS)] or [*names]
    key = next((name for name in likely if "train" in name.lower()), likely[0])
    options = [option("key", key)]
    labels = [name for name in names if name != key and _named_like(name, LABEL_KEYS)]
    if labels_key is None and labels:
        fits = [name for name in labels if ("train" in name.lower()) == ("train" in key.lower())]
        options.append(option("labels_key", (fits or labels)[0]))
    return f", such as {' and '.join(options)}"


def _named_like(name: str, keys: Sequence[str]) -> bool:
    """Whether a part of a name is one of these: ``train_images``, ``y-test``."""
    return not set(re.split(r"[^a-z]+", name.lower())).isdisjoint(keys)


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

    Shapes, where N is the number of samples:

    * (N, D) is vectors; with ``kind="audio"`` it is mono audio of length D.
    * (N, H, W) is greyscale images; with ``kind="audio"`` it is (N, C, L) or (N, L, C).
    * (N, C, H, W) or (N, H, W, C) is images. With ``layout="auto"`` the channels are the second or
      the last axis: the one of at most 4, if the other is longer; else the one that differs from
      two equal ones; else the one that is clearly the shortest; else the second.

    Values of images and audio:

    * uint8 is taken as 0..255 and kept; bool becomes uint8 0..1.
    * uint16 becomes float32 in 0..65535; int16 audio becomes float32 in -32768..32768.
    * Other integers become uint8 if they are within 0..255, and are refused otherwise.
    * Floats become float32. Images within [0, 1] are taken as that, images and audio within
      [-1, 1] as that; anything else is refused until ``stored_range`` says what it is.

    Vectors become float32, taken as they are; with a ``stored_range`` they are bounded, and
    generated in [-1, 1]. NaN and infinite values are always refused, and so are numbers most of
    which float32 cannot tell apart. What is guessed is said in ``notices``.

    Args:
        data: Array or tensor.
        labels: Array, tensor or sequence (N,) or (N, 1) of integers or strings, one-hot rows
            (N, K), or None. Without ``classes``, classes are the sorted distinct values: 0..K-1
            stay what they are, others are numbered.
        layout: Where the channels are.
        kind: What one sample is.
        item_shape: Shape of one sample, where it is stored as a row or otherwise.
        stored_range: Lowest and highest value that ``data`` may hold.
        origin: What the array is, to start a message.
        usage: How the caller gives an option, with ``{}`` for the option, to end a message.
        classes: Those that the data themselves name.
        wanted: Whether labels are used: what is no class is refused then. If they are not, only
            what is no class is said. By default they are taken where they are classes.

    Returns:
        Samples that may share memory with ``data``.

    Raises:
        ConfigError: If an option does not apply to such an array.
        DataError: If the array cannot be taken as samples, with the reason.
    """
    array = as_number_array(data, origin)
    check_shape(array, origin)
    array = reshaped(array, item_shape, origin)
    check_precision(_some(array), origin)
    found = understand(
        _looked_at(array, stored_range, origin),
        kind=kind,
        layout=layout,
        stored_range=stored_range,
        origin=origin,
        usage=usage,
    )
    indices, names, notices = numbered(labels, len(array), classes, wanted, origin)
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


def check_shape(array: AnyArray, origin: str) -> None:
    """Refuse what cannot be samples (N, ...).

    Raises:
        DataError: If there is no axis beside the one that counts, or no value.
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


def _looked_at(array: AnyArray, stored_range: Range | None, origin: str) -> ImageStats:
    """Look at an array (N, ...): at some of it where a type of 8 bits limits it anyway.

    Raises:
        DataError: If there are NaN or infinite values.
    """
    vectors = array.ndim == 2
    if array.dtype == "uint8" and stored_range is None and not vectors:
        facts = _facts(_some(array), origin)
        if not understand_range(array.dtype, facts.low, facts.high, "image").notices:
            return facts
    return _facts(array, origin)


def _facts(array: AnyArray, origin: str) -> ImageStats:
    low, high = extent_of(array, origin)
    return ImageStats(array.shape[1:], array.dtype, low, high, scales_of(_some(array)), len(array))


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


def scales_of(array: AnyArray) -> AnyArray | None:
    """Return the standard deviation of each column of vectors (N, D); None of anything else."""
    import numpy as np

    return array.astype(np.float64).std(0) if array.ndim == 2 else None


def _some(array: AnyArray) -> AnyArray:
    """Evenly spaced items, or all of them where they are few."""
    import numpy as np

    most = judged_by(array[:1].size)
    if len(array) <= most:
        return array
    return array[np.linspace(0, len(array) - 1, most).round().astype(np.int64)]


def judged_by(size: int) -> int:
    """Return by how many items of that size data are judged: 256, fewer large or more small."""
    return max(2, min(max(MOST_LOOKED_AT, _EXCERPT // size), 4 * _EXCERPT // size))


def converted(array: AnyArray, found: Understood) -> AnyArray:
    """Return items (N, ...) as they are held: channels first, uint8 or float32."""
    import numpy as np

    axes = found.axes
    if axes.channels is None:
        array = array if axes.kind == "vector" else array[:, None]
    elif axes.channels == -1:
        array = np.moveaxis(array, -1, 1)
    return array.astype(np.uint8, copy=False) if found.values.small else _as_float32(array)


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

    how = advice(value)
    array = np.asarray(_detached(value))
    if array.dtype.kind not in "biuf" or how:
        raise DataError(
            f"{origin} holds {_dtype_name(array, value)}: samples are numbers; "
            f"{how or 'convert it to uint8 or float32'}."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)  # which torch knows
    return array


def as_label_array(value: Any) -> Labels:
    """Return what labels are: an array, a tensor or a sequence, as ``read_labels`` has it."""
    return value if isinstance(value, Labels) else read_labels(_detached(value))


def _detached(value: Any) -> Any:
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
            part = _as_float32(part)
            finite = np.isfinite(part)
            bad += part.size - int(np.count_nonzero(finite))
            if bad:
                continue
        low, high = min(low, part.min().item()), max(high, part.max().item())
    return low, high, bad


def numbered(
    labels: Any,
    count: int,
    classes: Classes | None = None,
    wanted: bool | None = None,
    origin: str = "The array",
    item: str = "sample {}",
    indices: Sequence[int] | None = None,
    whole: bool = True,
) -> tuple[Tensor | None, tuple[str, ...] | None, tuple[str, ...]]:
    """Return labels as the numbers of classes, the names of these, and what is to be said.

    Args:
        labels: As ``as_samples`` has it, or as ``read_labels`` returned them.
        count: How many samples there are.
        classes: Those that the data themselves name.
        wanted: As ``as_samples`` has it.
        origin: What the labels belong to, to start a message.
        item: What messages call a sample, with ``{}`` for its number.
        indices: Numbers of the samples; by default 0, 1, ...
        whole: Whether these are the labels of all samples.

    Raises:
        DataError: If there are not as many as samples; if labels are wanted and are no classes.
    """
    import numpy as np
    import torch

    if labels is None:
        return None, None, ()
    found = as_label_array(labels)
    values = found.values
    if values is not None and len(values) != count:
        raise DataError(
            f"{origin} has {count} samples but {len(values)} labels; give one label per sample."
        )
    if values is None:
        return None, None, _unused(found.problem, wanted, origin)
    distinct, which = np.unique(values, return_inverse=True)
    known = classes_for(found, classes) or classes_of_values(distinct.tolist())
    strange = [value not in known.numbers for value in distinct.tolist()]
    if any(strange):
        first = int(np.array(strange)[which.reshape(-1)].argmax())
        problem = (
            f"{item.format(first if indices is None else indices[first])} has the label "
            f"{values[first].item()!r}, which is none of its classes ({listing(known.names)}); "
            f"correct its classes or targets"
        )
        return None, None, () if wanted is False else _unused(problem, wanted, origin)
    numbers = np.array([known.numbers[value] for value in distinct.tolist()], np.int64)
    taken = torch.from_numpy(numbers[which.reshape(-1)])
    if wanted is False:
        return taken, known.names, ()
    notices = (*found.notices, *known.notices)
    if whole:
        notices += lonely(known.names, torch.bincount(taken, minlength=len(known.names)).tolist())
    return taken, known.names, notices


def classes_for(found: Labels, classes: Classes | None) -> Classes | None:
    """Return the classes that labels are of: those that are named, or that follow from the form."""
    if found.classes is None or (classes and len(classes.names) == len(found.classes.names)):
        return classes
    return found.classes


def _unused(problem: str, wanted: bool | None, origin: str) -> tuple[str, ...]:
    """Return the notice that labels are left out, if they have a problem.

    Raises:
        DataError: If labels are wanted.
    """
    if not problem:
        return ()
    if problem.startswith("whole "):  # floats, as files of other programs keep classes
        problem += "; numpy.asarray(labels).astype('int64') makes classes of them"
    if wanted:
        raise DataError(
            f"{origin} has labels that are no classes ({problem}), and conditional training needs "
            f"them: give one integer or string per sample, or leave conditional off."
        )
    return (
        f"The labels are no classes ({problem}) and are left out; a class is one integer or "
        f"string per sample.",
    )


def as_tensor(array: AnyArray) -> Tensor:
    """Return an array as a tensor, sharing memory where possible."""
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
