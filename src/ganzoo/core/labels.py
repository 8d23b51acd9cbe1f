"""Class labels as people give them: the number of a class or its name, one or one per sample."""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganzoo.errors import ConfigError, did_you_mean, quoted

__all__ = ["numbers", "of_words"]


def numbers(labels: Any, classes: Sequence[str], count: int | None = None) -> Tensor:
    """Return the numbers of the classes that labels mean.

    An integer is a class's number, its place among the names from 0 on; a string is a name, also
    one of digits. Where no name is the same, upper and lower case and blanks around it do not
    matter.

    Args:
        labels: One label, or several in a list, tuple, range, array or tensor (N,).
        classes: The names, in the order of their numbers.
        count: How many are needed, unless it is one for all; None for any number.

    Returns:
        int64 on the CPU: () for one label, else (N,).

    Raises:
        ConfigError: If one of them is not a class, or they are not that many.
    """
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
        labels = (labels.float() if labels.is_floating_point() else labels).numpy()
    elif not isinstance(labels, str) and hasattr(labels, "__array__"):
        labels = np.asarray(labels)  # of pandas and others too
    if isinstance(labels, (Mapping, Set)):
        raise ConfigError(
            f"Labels in a {type(labels).__name__} have no order. Give a list, with one for each "
            f"sample."
        )
    if isinstance(labels, Iterable) and not isinstance(labels, (str, bytes, np.ndarray)):
        labels = [each.tolist() if isinstance(each, Tensor) else each for each in labels]
    shape = _shape(labels)
    if len(shape) == 2 and shape[1] == len(classes) != 1 and shape[0] != 0:
        way = "labels.argmax(1)" if isinstance(labels, np.ndarray) else "numpy.argmax(labels, 1)"
        raise ConfigError(
            f"Labels of shape {shape} look one-hot, with a row for each sample. Give the numbers "
            f"of the classes instead: {way}."
        )
    if len(shape) > 1 or (shape and count is not None and shape != (count,)):
        each = "sample" if count is None else f"of the {count}"
        raise ConfigError(f"Give one label for all samples or one for each {each}; got {shape}.")
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":  # may be many
        _check_range(labels.reshape(-1), classes)
        return torch.from_numpy(labels.astype(np.int64))
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if not shape:
        return torch.tensor(_numbers([labels], classes)[0], dtype=torch.int64)
    return torch.tensor(_numbers(labels, classes), dtype=torch.int64)


def of_words(words: Iterable[str], classes: Sequence[str]) -> tuple[int | list[int], list[str]]:
    """Return the labels that words of a command line mean, and what to know of them.

    Commas separate labels, unless they are part of a name. A word is a name if a class is called
    so, else a number.

    Args:
        words: Each with one label or several.
        classes: The names, in the order of their numbers.

    Returns:
        One label, or a list; and a notice for each name that could have been a number.

    Raises:
        ConfigError: If a word is neither.
    """
    found: list[int | str] = []
    notices: dict[str, None] = {}
    for word in (each for line in words for each in _separated(line, classes)):
        number, meant = _number_in(word), _called(word, classes)
        found.append(word if number is None or meant is not None else number)
        if number is not None and meant not in (None, number) and 0 <= number < len(classes):
            notices[
                f"label {word} is the class called {word}, number {meant}; number {number} is "
                f"called {classes[number]}."
            ] = None
    chosen = _numbers(found, classes)
    return chosen[0] if len(chosen) == 1 else chosen, list(notices)


def _separated(line: str, classes: Sequence[str]) -> Iterator[str]:
    """The labels of a line; where names hold commas, the longest that is one."""
    parts = line.split(",")
    start = 0
    while start < len(parts):
        stop = len(parts)
        while stop > start + 1 and _called(",".join(parts[start:stop]), classes) is None:
            stop -= 1
        yield ",".join(parts[start:stop]).strip()
        start = stop


def _shape(labels: Any) -> tuple[int, ...]:
    if not isinstance(labels, (list, np.ndarray)):
        return ()
    try:
        return tuple(np.shape(labels))
    except ValueError:  # rows of unequal lengths, each of which is not a label
        return (len(labels),)


def _numbers(labels: Sequence[Any], classes: Sequence[str]) -> list[int]:
    found = [_number(label, classes) for label in labels]
    _check_range(found, classes)
    return found


def _number(label: Any, classes: Sequence[str]) -> int:
    """What one label means; one that is a number may be out of range."""
    if isinstance(label, (Tensor, np.ndarray, np.generic)) and label.ndim == 0:
        label = label.item()
    if isinstance(label, str):
        if (number := _called(label, classes)) is None:
            raise ConfigError(_unknown(label, classes))
        return number
    if not isinstance(label, bool):
        try:
            return operator.index(label)
        except TypeError:
            pass
    if isinstance(label, float):
        fix = f"{label:.0f}" if label.is_integer() else "the number of a class"
        raise ConfigError(
            f"The label {label} is a float, and labels are whole numbers or names. Give {fix}, or "
            f"convert an array by labels.astype(int) and a tensor by labels.long()."
        )
    raise ConfigError(
        f"The label {quoted(label)} is neither the number of a class nor a name. Classes, from 0 "
        f"on: {_some(classes)}."
    )


def _called(name: str, classes: Sequence[str]) -> int | None:
    """The number of the class of that name; None if there is none, or it may be several."""
    if name in classes:
        return list(classes).index(name)
    alike = [number for number, each in enumerate(classes) if _folded(each) == _folded(name)]
    return alike[0] if len(alike) == 1 else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def _number_in(word: str) -> int | None:
    digits = word.removeprefix("-")
    return int(word) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _unknown(name: str, classes: Sequence[str]) -> str:
    alike = [each for each in classes if _folded(each) == _folded(name)]
    number = _number_in(name)
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and all(_called(part, classes) is not None for part in parts):
        hint = f" Several are given in a list: [{', '.join(map(quoted, parts))}]."
    elif alike:
        hint = f" It may be {' or '.join(map(quoted, alike))}."
    elif number is not None and 0 <= number < len(classes):
        hint = f" The number of a class is given without quotes: {number}."
    else:
        hint = did_you_mean(name, classes)
    return f"There is no class {quoted(name)}.{hint} Classes: {_some(classes)}."


def _check_range(found: Any, classes: Sequence[str]) -> None:
    if not len(found):
        return
    ends = (found.min(), found.max()) if isinstance(found, np.ndarray) else (min(found), max(found))
    low, high = int(ends[0]), int(ends[1])
    if low >= 0 and high < len(classes):
        return
    wrong = high if high >= len(classes) else low
    named = wrong.bit_length() < 64 and str(wrong) in classes
    hint = f" A class is called '{wrong}': give it as a string." if named else ""
    raise ConfigError(
        f"Labels go from 0 to {len(classes) - 1} ({_some(classes)}); got {quoted(low)} to "
        f"{quoted(high)}.{hint}"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 12 else [*names[:10], "...", names[-1]])
