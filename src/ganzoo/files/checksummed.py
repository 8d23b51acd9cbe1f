"""JSON files that are used only if they say what ganzoo wrote, however they are laid out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo.errors import quoted
from ganzoo.files import untrusted

__all__ = [
    "CHECKSUM",
    "LARGEST",
    "add_checksum",
    "broken_checksum",
    "excess",
    "parse",
    "peek",
    "read",
    "version",
]

LARGEST = 16 * 2**20
"""Bytes that such a file may have; a larger one is refused before it is read."""

_DEEPEST, _MOST = 32, 50_000

_FIRST = ("format_version", "library", "library_version", "name")

CHECKSUM = "sha256"
"""The key under which a file carries the SHA-256 of itself."""


def read(path: Path, *, largest: int = LARGEST, root: Path | None = None) -> tuple[Any, str]:
    """Read a JSON file, whatever its indentation, line ends, order of keys or byte order mark.

    Args:
        path: The file.
        largest: Bytes that it may have.
        root: A link may lead anywhere below it; by default, below the file's own folder.

    Returns:
        The value, and in words what ganzoo would not have written so, a key that stands twice;
        empty if there is none. The caller may first want to know whether a newer ganzoo wrote it.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file, too large, nested too deeply, no JSON, or holds
            numbers that are not finite.
    """
    with untrusted.opened(path, root) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it is larger than {largest:,} bytes")
    value, twice = _parsed(content)
    _digest(value)  # which refuses text that is none
    if not twice:
        return value, ""
    return value, (
        f"is not as it was written, though it is JSON: it was edited or damaged (the key "
        f"{quoted(twice[0])} stands twice)"
    )


def parse(content: bytes) -> Any:
    """Return what JSON says, if it is within reason.

    Raises:
        ValueError: If it is no JSON, nested too deeply, holds too many values, numbers that are
            not finite, or a key twice.
    """
    value, twice = _parsed(content)
    if twice:
        raise ValueError(f"the key {quoted(twice[0])} stands twice")
    return value


def _parsed(content: bytes) -> tuple[Any, list[str]]:
    """What JSON says, and the keys that stand twice in one mapping."""
    twice: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                twice.append(key)
            found[key] = value
        return found

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"the number {text[:40]} is not finite")
        return number

    if content.count(b",") > 20 * _MOST:  # before they fill the memory; texts have commas too
        raise ValueError(f"it holds more than {_MOST:,} values")
    try:
        value = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=mapping,
            parse_float=finite,
            parse_constant=finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if problem := excess(value):
        raise ValueError(problem)
    return value, twice


def excess(value: Any) -> str:
    """Return in words what of a JSON value is beyond reason; empty if nothing is."""
    count, level = 0, [value]
    for _ in range(_DEEPEST + 1):
        count += len(level)
        if count > _MOST:
            return f"it holds more than {_MOST:,} values"
        level = [
            item
            for each in level
            if isinstance(each, (dict, list))
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return ""
    return "it is nested too deeply"


def add_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with the SHA-256 of what ``write_json`` would write of it.

    Its keys are sorted, so that the hash follows from what it says alone.
    """
    ordered = _ordered(value)
    return {**ordered, CHECKSUM: _digest(ordered)}


def broken_checksum(value: Mapping[str, Any]) -> str:
    """Return in words what is wrong with a sealed mapping; empty if nothing is."""
    if CHECKSUM not in value:
        return f"lacks its own {CHECKSUM}: it was edited or damaged"
    rest = {key: item for key, item in value.items() if key != CHECKSUM}
    # At first the keys were in the order of the file.
    if value[CHECKSUM] not in (_digest(_ordered(rest)), _digest(rest)):
        return f"does not have its own {CHECKSUM}: it was edited or damaged"
    return ""


def version(value: Any) -> int:
    """Return the ``format_version`` of what a file holds.

    Raises:
        ValueError: If it is none.
    """
    found = value.get("format_version") if isinstance(value, dict) else None
    if type(found) is not int or found < 1:
        raise ValueError(f"its format_version is {found!r}, not a number from 1 on")
    return found


def peek(path: Path) -> int | None:
    """Return the ``format_version`` of a file in whatever form it is; None if it has none."""
    try:
        return version(read(path)[0])
    except (OSError, ValueError):
        return None


def _digest(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _ordered(value: Any) -> Any:
    """A JSON value with the keys of all its mappings sorted, those that say what it is first."""
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: (key not in _FIRST, key))
        return {key: _ordered(value[key]) for key in keys}
    if isinstance(value, (list, tuple)):
        return [_ordered(item) for item in value]
    return value
