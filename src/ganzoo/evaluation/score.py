"""What a metric says, with all that decides the number, and whether two such can be compared."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ganzoo.core.model import Model
from ganzoo.datasets.base import SUBSET_FIELDS
from ganzoo.errors import DataError
from ganzoo.features.base import UNNAMED
from ganzoo.files import bounded_json, storage
from ganzoo.generators import bundle

__all__ = ["Score", "check_savable", "differences", "measured_as", "plain", "same_protocol", "save"]

# Of generated samples: what two scores may differ in.
_FREE = ("seed", "source", "averaged", "dataset", "sha256", "left", *SUBSET_FIELDS)

_LABELS = ("fake.labels", "fake.label_shares")


class Score(Model):
    """What a metric says of a generator, and how that was measured.

    Attributes:
        value: The score.
        error: Its standard error or spread, as the metric says; None where it has none.
        extra: Further numbers of this metric.
        protocol: All that decides the value: ``metric``, its ``options``, the ``extractor`` with
            the hash of its weights and its precision, ``real`` and ``fake`` (what, how many, how
            chosen), ``samples`` (their size, and how images were brought to it) and ``versions``;
            ``measured`` is what else a metric says, and ``real_extra`` real samples that only
            ``extra`` reports.
        notices: What a person should know about it, a line each.
    """

    error_label: ClassVar[str] = "The score"

    value: float
    error: float | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    protocol: dict[str, Any] = Field(default_factory=dict)
    notices: tuple[str, ...] = ()


def differences(first: Score, second: Score) -> tuple[str, ...]:
    """Return in what two scores were measured differently, so that they cannot be compared.

    The source, the seed, averaging of weights, versions of libraries and real samples that only
    ``extra`` reports may differ: they are what is compared, or do not change the score. So may
    whether there are classes; of two with classes, these must be drawn alike.
    """
    one, other = (_comparable(score.protocol) for score in (first, second))
    keys = {*one, *other}
    if not (_LABELS[0] in one and _LABELS[0] in other):  # one of them knows no classes
        keys -= set(_LABELS)
    return tuple(key for key in sorted(keys) if one.get(key) != other.get(key))


def same_protocol(first: Score, second: Score) -> bool:
    """Whether two scores were measured alike, so that they can be compared."""
    return not differences(first, second)


def measured_as(score: Score) -> str:
    """Return what is the same for scores of one run that were measured alike, as a short hash."""
    decisive = _comparable(score.protocol)
    if str(decisive.get("extractor.weights", "")).startswith(UNNAMED):  # another in each process
        del decisive["extractor.weights"]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


def check_savable(folder: Path) -> None:
    """Refuse a folder that ``save`` could not write into, before scores are computed for it.

    Raises:
        DataError: If its ``metrics.json`` is not a file of scores, or it is not writable.
    """
    _known(folder / bundle.METRICS)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"Scores cannot be saved in {folder} ({error.strerror or error}). Make it writable, or "
            f"do not save them (--no-write)."
        ) from error


def save(scores: Mapping[str, Score], folder: Path) -> Path:
    """Write scores into a bundle's ``metrics.json``, next to those of other metrics.

    Returns:
        The file.

    Raises:
        DataError: If what is there is no file of scores.
        OSError: If it cannot be written.
    """
    path = folder / bundle.METRICS
    new = {name: plain(score) for name, score in scores.items()}
    storage.write_json(path, _known(path) | new)
    return path


def _known(path: Path) -> dict[str, Any]:
    """What is in a file of scores; nothing if it is not there."""
    known: Any = {}
    with contextlib.suppress(FileNotFoundError):
        try:
            known = bounded_json.read(path)
        except ValueError as error:
            raise DataError(
                f"{path} holds no scores ({error}). Delete it; it is made again."
            ) from error
    if not isinstance(known, dict):
        raise DataError(f"{path} holds no scores. Delete it; it is made again.")
    return known


def plain(score: Score) -> dict[str, Any]:
    """Return a score as JSON has it; what it does not have is left out."""
    whole = score.model_dump(mode="json")
    return {
        key: value
        for key, value in whole.items()
        if key == "protocol" or value not in ([], {}, None)
    }


def _comparable(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol by dotted keys, without what may differ."""
    flat: dict[str, Any] = {}
    for key, value in protocol.items():
        if key in ("versions", "real_extra"):
            continue
        if not isinstance(value, Mapping):
            flat[key] = value
            continue
        for inner, item in value.items():
            if key != "fake" or inner not in _FREE:
                flat[f"{key}.{inner}"] = item
    return flat
