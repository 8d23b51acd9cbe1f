"""JSON from files of any origin: bounded in size and depth, finite, each key once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ganzoo.errors import quoted
from ganzoo.files import untrusted

__all__ = ["LARGEST", "excess", "parse", "read"]

LARGEST = 16 * 2**20
"""Bytes that such a file may have; a larger one is refused before it is read."""

_DEEPEST, _MOST = 32, 50_000


def read(path: Path, *, largest: int = LARGEST, root: Path | None = None) -> Any:
    """Read a JSON file, whatever its indentation, line ends, order of keys or byte order mark.

    Links may lead anywhere below ``root``; by default, below the file's own folder.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a regular file, has more bytes than ``largest``, or ``parse``
            refuses it.
    """
    with untrusted.opened(path, root) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it is larger than {largest:,} bytes")
    return parse(content)


def parse(content: bytes) -> Any:
    """Return the value of JSON in UTF-8.

    Raises:
        ValueError: If it is not JSON, nested too deeply, holds too many values, numbers that are
            not finite, text that is none, or a key twice.
    """
    if content.count(b",") > 20 * _MOST:  # before they fill the memory; texts have commas too
        raise ValueError(f"it holds more than {_MOST:,} values")
    try:
        value = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_mapping,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if problem := excess(value):
        raise ValueError(problem)
    if b"\\u" in content:
        json.dumps(value, ensure_ascii=False).encode()  # which refuses half a character
    return value


def excess(value: Any) -> str:
    """Return in words which bound of ``parse`` a JSON value exceeds; empty if none."""
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


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {quoted(key)} stands twice")
        found[key] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is not finite")
    return number
