"""What a caller may give as a dataset: a name, a path, options, or the data themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ganzoo.core.component import Component
from ganzoo.datasets.advice import advice
from ganzoo.datasets.archives import ARCHIVES, PACKED, unpacking
from ganzoo.datasets.array import SUFFIXES
from ganzoo.datasets.conversion import is_array
from ganzoo.datasets.decoding import SUFFIXES as PICTURE_SUFFIXES
from ganzoo.datasets.in_memory import InMemoryDataset
from ganzoo.errors import ConfigError, DataError, did_you_mean, listing
from ganzoo.files.storage import expanded

__all__ = ["as_dataset"]

_PICKLED = (
    "Such a file is not loaded, because loading it can run code: save its arrays with "
    "numpy.savez(path, images=...). If it holds statistics for FID, give the data that they are of."
)
_TABLE = (
    'Give its numbers as an array: pandas.get_dummies(table).to_numpy("float32") of what pandas '
    "reads from it."
)
_AUDIO = (
    "Read the sounds with another program into one array (N, channels, length), save it with "
    "numpy.save, and say sample_kind='audio' (--dataset.sample-kind audio)."
)
_WAYS_ON = {
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth"), _PICKLED),
    **dict.fromkeys((".csv", ".tsv", ".xlsx", ".feather"), _TABLE),
    **dict.fromkeys((".wav", ".flac", ".mp3", ".ogg"), _AUDIO),
}


def as_dataset(value: Any, below: Any = None) -> Any:
    """Turn what a caller handed in as a dataset into what the registry can create.

    Args:
        value: One of: the name of a dataset, a mapping with ``name``, a component or its class, a
            path to an array file, a .parquet or .arrow file or a folder, a tensor, a numpy array,
            a tuple (data, labels), a dict of arrays, a torch Dataset.
        below: The dataset whose options a mapping without ``name`` changes, if there is one.

    Returns:
        A name, a mapping or a component. A plain unknown name is returned as it is: the registry
        knows what is near it.

    Raises:
        ConfigError: If it is none of these.
        DataError: If it is a path to nothing, or to a file that holds no samples; or data that
            cannot be taken as samples.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, os.PathLike):
        return _from_path(Path(value))
    if isinstance(value, (Component, type)):
        return value
    if isinstance(value, Mapping):
        options = _options_of(below)
        if not _holds_data(value, options):
            return _from_options(value, options)
    return InMemoryDataset.of(value)


def _options_of(dataset: Any) -> Collection[str]:
    """The options of a dataset; none if there is no such dataset."""
    if isinstance(dataset, Component):
        return type(dataset).model_fields
    name = dataset.get("name") if isinstance(dataset, Mapping) else None
    if isinstance(name, str) and name in _names():
        from ganzoo.datasets import registry

        return registry.get(name).model_fields
    return ()


def _holds_data(value: Mapping[Any, Any], options: Collection[str]) -> bool:
    """Whether a mapping holds data, in a form that is read or not."""
    if isinstance(value.get("name"), str):
        return False
    # The arrays of an .npz are read from the file whenever they are asked for.
    if hasattr(value, "files") or any(map(is_array, value.values())):
        return True
    return bool(advice(value)) and not (value and all(key in options for key in value))


def _from_options(value: Mapping[Any, Any], options: Collection[str]) -> Any:
    """A mapping of options; with a place but without a name it is the dataset of that place."""
    if "name" in value:
        return value
    if isinstance(value.get("path"), (str, os.PathLike)) and "path" not in options:
        return {**_from_path(Path(value["path"])), **value}
    if isinstance(value.get("repo"), str) and "repo" not in options:
        return {"name": "huggingface", **value}
    return value


def _from_text(text: str) -> Any:
    if not text:
        raise ConfigError(
            f"The name of a dataset is empty; give a name or a path, or leave the dataset out for "
            f"the default one. Available: {listing(_names())}."
        )
    if text in _names():
        return text
    path = expanded(text)
    looks_like_path = "/" in text or "\\" in text or re.fullmatch(r".*\.[A-Za-z0-9]+", text)
    there = os.path.exists(path)  # noqa: PTH110 - of a text that no path can be, it is False
    return _from_path(Path(text)) if looks_like_path or there else text


def _from_path(path: Path) -> Any:
    # Listing what there is imports this module, and must not wait for that one.
    from ganzoo.datasets.huggingface import TABLE_SUFFIXES, holds_tables

    place = expanded(path)
    if place.is_dir():
        name = "huggingface" if holds_tables(place) else "folder"
        return {"name": name, "path": str(path)}
    if not place.exists():
        text = path.as_posix()
        hint = ""
        if re.fullmatch(r"[\w.-]+/[\w.-]+", text):
            hint = f" On the Hugging Face Hub it is {{'name': 'huggingface', 'repo': '{text}'}}."
        raise DataError(
            f"There is no such file '{path}', and no dataset has that name."
            f"{did_you_mean(str(path), _names())} Correct the path, or give a name.{hint} "
            f"Available: {listing(_names())}."
        )
    suffix = place.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return {"name": "huggingface", "path": str(path)}
    if suffix in ARCHIVES:
        return {"name": "folder", "path": str(path)}
    if suffix in PACKED:
        raise DataError(f"'{path}' is packed, not a folder of pictures; {unpacking(path)}.")
    if suffix not in SUFFIXES:
        what = "one picture" if os.fsencode(suffix) in PICTURE_SUFFIXES else "no array file"
        way_on = _WAYS_ON.get(suffix, "Give one of these, or a name.")
        raise DataError(
            f"'{path}' is {what}: samples are read from "
            f"{listing((*SUFFIXES, *TABLE_SUFFIXES, *ARCHIVES))} and from folders of pictures. "
            f"{way_on} Available: {listing(_names())}."
        )
    return {"name": "array", "path": str(path)}


def _names() -> list[str]:
    from ganzoo.datasets import registry

    return registry.names()
