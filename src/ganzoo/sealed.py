"""JSON files that are used only if they are, byte for byte, what ganzoo wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo import foreign

__all__ = ["LARGEST", "SEAL", "broken_seal", "excess", "parse", "peek", "read", "seal", "version"]

LARGEST = 16 * 2**20
"""Bytes that such a file may have; a larger one is refused before it is read."""

_DEEPEST, _MOST = 32, 50_000

SEAL = "sha256"
"""The key under which a file carries the SHA-256 of itself."""


def read(path: Path, *, largest: int = LARGEST, root: Path | None = None) -> tuple[Any, str]:
    """Read a JSON file and tell whether its bytes are those that ``write_json`` would write.

    Args:
        path: The file.
        largest: Bytes that it may have.
        root: A link may lead anywhere below it; by default, below the file's own folder.

    Returns:
        The value, and in words what is wrong with the bytes, which is empty if nothing is: the
        caller may first want to know whether a newer ganzoo wrote them in a form of its own.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file, too large, nested too deeply, or no JSON.
    """
    with foreign.opened(path, root) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it is larger than {largest:,} bytes")
    value = parse(content)
    expected = _text(value)
    if content == expected:
        return value, ""
    if content.replace(b"\r\n", b"\n") == expected:
        return value, (
            "has other line ends than it was written with, as git or a text-mode transfer makes "
            "them: copy it as it is"
        )
    return value, "is not as it was written, though it is JSON: it was edited or damaged"


def parse(content: bytes) -> Any:
    """Return what JSON says, if it is within reason.

    Raises:
        ValueError: If it is no JSON, nested too deeply, or holds too many values.
    """
    if content.count(b",") > 20 * _MOST:  # before they fill the memory; texts have commas too
        raise ValueError(f"it holds more than {_MOST:,} values")
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if problem := excess(value):
        raise ValueError(problem)
    return value


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


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with the SHA-256 of what ``write_json`` would write of it."""
    return {**value, SEAL: hashlib.sha256(_text(dict(value))).hexdigest()}


def broken_seal(value: Mapping[str, Any]) -> str:
    """Return in words what is wrong with a sealed mapping; empty if nothing is."""
    if SEAL not in value:
        return f"lacks its own {SEAL}: it was edited or damaged"
    if seal({key: item for key, item in value.items() if key != SEAL}) != value:
        return f"does not have its own {SEAL}: it was edited or damaged"
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


def _text(value: Any) -> bytes:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8")
