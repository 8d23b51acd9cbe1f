"""Datasets made of arrays: files of numpy and safetensors."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveInt, field_validator

from ganzoo.datasets.base import DataPath, Dataset, StoredRange
from ganzoo.datasets.keys import pick_keys
from ganzoo.datasets.reading import Layout, SampleKind
from ganzoo.datasets.samples import Samples, as_samples
from ganzoo.errors import ConfigError, DataError, listing
from ganzoo.files.storage import expanded

__all__ = ["SUFFIXES", "Array", "ArrayDataset"]

SUFFIXES = (".npy", ".npz", ".safetensors")
"""Suffixes of the files that can be read."""
_NPY, _ZIP, _PICKLE = b"\x93NUMPY", b"PK", b"\x80"  # what such files start with


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
            DataError: If the file is absent, damaged or holds something that is not a sample.
        """
        return self._load(None)

    def _load(self, wanted: bool | None) -> Samples:
        path = expanded(self.path)
        origin = f"'{path}'"
        if not path.is_file():
            what = "is a folder, not an array file" if path.is_dir() else "does not exist"
            raise DataError(f"{origin} {what}; correct the path of the dataset 'array'.")
        try:
            data, found = self._read(path, origin)
        except (ConfigError, DataError):
            raise
        except Exception as error:  # numpy and safetensors raise many classes on damaged files
            raise _unreadable(origin, error) from error
        return as_samples(
            data,
            found,
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
