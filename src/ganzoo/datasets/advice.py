"""What to do with objects that hold data in a form that is not read: one way on for each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["advice", "is_dataset", "is_picture"]

_FIRST = ("train", "training")
_SPLITS = frozenset(
    (*_FIRST, "test", "testing", "val", "valid", "validation", "dev", "eval", "unlabeled")
)


def is_picture(value: Any) -> bool:
    """Whether it is a Pillow image."""
    return hasattr(value, "getbands")


def is_dataset(value: Any) -> bool:
    """Whether it is a torch Dataset, or one of another library that torch's loader can read."""
    # torch's own loader asks for __getitems__, by which datasets of other libraries are recognised.
    if hasattr(value, "__getitems__") or _is_of(value, "datasets", "Dataset", "IterableDataset"):
        return True
    return _is_of(value, "torch.utils.data", "Dataset")


def _is_of(value: Any, module: str, *names: str) -> bool:
    """Whether a class of that module is among those of a value, without importing it."""
    return any(
        each.__name__ in names and f"{each.__module__}.".startswith(f"{module}.")
        for each in type(value).__mro__
    )


def advice(value: Any, name: str = "data") -> str:
    """Return how to turn a value, called ``name``, into a dataset; empty if nothing is known."""
    for known in (_of_a_library, _of_numpy, _of_python):
        if text := known(value, name):
            return text
    return ""


def _of_a_library(value: Any, name: str) -> str:
    if _is_of(value, "pandas", "DataFrame"):
        numeric = all(getattr(kind, "kind", "O") in "biuf" for kind in value.dtypes)
        table = name if numeric else f"pandas.get_dummies({name})"
        return f'give its numbers: {table}.to_numpy("float32")'
    if _is_of(value, "polars", "DataFrame"):
        return f'give its numbers: {name}.to_dummies().to_numpy().astype("float32")'
    if _is_of(value, "pyarrow", "Table"):
        return f'give its numbers: {name}.to_pandas().to_numpy("float32")'
    if _is_of(value, "torch.utils.data", "DataLoader"):
        return f"give the Dataset that it loads: {name}.dataset"
    if _is_of(value, "scipy.sparse", "spmatrix", "sparray", "_spbase"):
        return f"give it with its zeros: {name}.toarray()"
    if _is_of(value, "torch", "Tensor"):
        if value.is_nested:
            return f"give it as one array: {name}.to_padded_tensor(0)"
        if str(value.layout) != "torch.strided":
            return f"give it with its zeros: {name}.to_dense()"
        if value.is_complex():
            return _parts(value, name, "torch")
        if value.is_meta:
            return "it has no content on the device 'meta'; give a tensor that has"
    return ""


def _of_numpy(value: Any, name: str) -> str:
    import sys

    np = sys.modules.get("numpy")
    if np is None or not isinstance(value, np.ndarray):
        return ""
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        return f"say what stands where it is masked: {name}.filled(0)"
    if value.dtype.names:
        columns = f"numpy.stack([{name}[each] for each in {name}.dtype.names], 1)"
        return f"give its fields as columns: {columns}"
    if value.dtype.kind == "O" and value.size:
        shapes = {getattr(item, "shape", None) for item in value.flat}
        if shapes == {None}:
            plain = all(isinstance(item, (bool, int, float)) for item in value.flat)
            return f'give numbers: {name}.astype("float32")' if plain else ""
        if len(shapes) == 1 and value.ndim == 1:
            return f"give one array of them: numpy.stack({name})"
        return "bring its arrays to one shape, and give numpy.stack of them"
    if value.dtype.kind == "c":
        return _parts(value, name, "numpy")
    if value.dtype.kind in "mM":
        return f'give numbers: {name}.astype("int64")'
    return ""


def _parts(value: Any, name: str, library: str) -> str:
    """Real and imaginary part as channels."""
    how = "stack" if value.ndim < 4 else "concatenate"
    return f"give its real and imaginary part: {library}.{how}([{name}.real, {name}.imag], 1)"


def _of_python(value: Any, name: str) -> str:
    if is_picture(value):
        return "give many pictures: a folder of them, or an array (N, H, W, channels)"
    if isinstance(value, Mapping):
        return _of_a_mapping(value, name)
    if inspect.isgeneratorfunction(value):
        return f"give an array of what it yields: numpy.stack(list({name}()))"
    if isinstance(value, Iterator):
        return f"give an array of what it yields: numpy.stack(list({name}))"
    if isinstance(value, (list, tuple)):
        return _of_a_sequence(value, name)
    return ""


def _of_a_mapping(value: Mapping[Any, Any], name: str) -> str:
    if not value:
        return "it is empty: give a name, or leave the dataset out for the default one"
    if all(isinstance(key, bytes) for key in value):  # as a pickle of Python 2 has them
        return f"its keys are to be texts: {{key.decode(): {name}[key] for key in {name}}}"
    splits = [key for key, item in value.items() if _is_whole_dataset(item)]
    if not splits and _SPLITS.issuperset(str(key).lower() for key in value):
        splits = list(value)
    if splits:
        key = next((key for key in splits if str(key).lower() in _FIRST), splits[0])
        inside = ".dataset" if _is_of(value[key], "torch.utils.data", "DataLoader") else ""
        return f"it is a mapping of splits: give one of them, such as {name}[{key!r}]{inside}"
    listed = {key: item for key, item in value.items() if isinstance(item, (list, tuple))}
    if listed and len(listed) == len(value):
        return f"its lists are to be arrays: {{key: numpy.asarray({name}[key]) for key in {name}}}"
    return ""


def _is_whole_dataset(value: Any) -> bool:
    return is_dataset(value) or _is_of(value, "torch.utils.data", "DataLoader")


def _of_a_sequence(value: Sequence[Any], name: str) -> str:
    if not value:
        return "it is empty: give at least one sample"
    first = value[0]
    if isinstance(value, tuple) and len(value) <= 3:
        if len(value) == 1:
            return f"it is a tuple of one: give {name}[0]"
        if all(isinstance(part, tuple) and len(part) == 2 for part in value):
            return f"it is a tuple of splits: give one of them, such as {name}[0]"
        if text := advice(first, f"{name}[0]"):
            return f"{text}, with labels as a tuple of the two"
        return ""
    if is_picture(first):
        if len({(item.size, item.mode) for item in value if is_picture(item)}) == 1:
            return f"give one array: numpy.stack([numpy.asarray(each) for each in {name}])"
        return "bring the pictures to one size and mode, and give numpy.stack of them"
    shapes = {tuple(item.shape) if hasattr(item, "shape") else None for item in value}
    if shapes == {None}:
        numbers = isinstance(first, (int, float, list, tuple))
        return f"give an array: numpy.asarray({name})" if numbers else ""
    if len(shapes) == 1:
        library = "torch" if _is_of(first, "torch", "Tensor") else "numpy"
        return f"give one array: {library}.stack({name})"
    return "bring its arrays to one shape, and give numpy.stack of them"
