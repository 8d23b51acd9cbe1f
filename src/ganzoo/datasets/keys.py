"""Which of several named arrays or columns holds the samples, and which the labels."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ganzoo.datasets.ranges import option
from ganzoo.errors import ConfigError, DataError, GanzooError, did_you_mean, listing

__all__ = ["LABEL_KEYS", "PICTURE_KEYS", "SAMPLE_KEYS", "columns_of", "pick_keys", "the_one"]

SAMPLE_KEYS = ("images", "image", "samples", "data", "x")
"""Names under which samples are looked for where several arrays have names."""
PICTURE_KEYS = (*SAMPLE_KEYS, "img", "picture", "photo")
"""Names under which encoded pictures are looked for in tables."""
LABEL_KEYS = ("labels", "label", "targets", "target", "y")
"""Names under which labels are looked for."""

_STATISTICS = ({"mu", "sigma"}, {"mean", "cov"}, {"mean", "sigma"}, {"mu", "cov"})
_OF_STATISTICS = re.compile(r"(.*[._/])?(mu|sigma|mean|cov)(_s|_clean)?")


def pick_keys(
    names: Sequence[str],
    origin: str,
    key: str | None = None,
    labels_key: str | None = None,
) -> tuple[str, str | None]:
    """Choose which named array holds the samples and which the labels.

    ``key`` and ``labels_key`` are those that the caller gave. The name of the labels may be None.

    Raises:
        ConfigError: If a name does not exist or no choice is obvious.
    """
    for name in (key, labels_key):
        if name is not None and name not in names:
            raise ConfigError(
                f"{origin} has no array '{name}'.{did_you_mean(name, names)} "
                f"Names in it: {listing(names)}."
            )
    if key is None and labels_key is None:
        statistics = [name for name in names if _OF_STATISTICS.fullmatch(name)]
        parts = {name.replace("/", ".").rpartition(".")[2] for name in statistics}
        if any(pair <= parts for pair in _STATISTICS):
            # A reference batch of guided-diffusion also has its pictures.
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


def columns_of(
    dataset: Any, key: str | None, labels_key: str | None
) -> tuple[str | None, str | None]:
    """Return which columns of a table are samples and labels, where it says what columns are.

    They are those that the caller names, or else the one of pictures and the one of class labels,
    as for a table in a file.
    """
    features = getattr(dataset, "features", None)
    if not isinstance(features, Mapping):
        return key, labels_key
    kinds = {name: type(kind).__name__ for name, kind in features.items()}
    key = key or the_one([name for name in kinds if kinds[name] == "Image"], PICTURE_KEYS)
    labels_key = labels_key or the_one(
        [name for name in kinds if kinds[name] == "ClassLabel"], LABEL_KEYS
    )
    with contextlib.suppress(GanzooError):  # which reading an item will tell
        key, labels_key = pick_keys(list(features), "The table", key, labels_key)
    return key, labels_key


def the_one(found: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the only name that was found, or the only one that is among these."""
    chosen = found if len(found) == 1 else [name for name in found if name in names]
    return chosen[0] if len(chosen) == 1 else None
