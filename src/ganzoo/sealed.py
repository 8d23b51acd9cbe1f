"""JSON files that are used only if they are, byte for byte, what ganzoo wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["LARGEST", "SEAL", "broken_seal", "peek", "read", "seal", "version"]

LARGEST = 16 * 2**20
"""Bytes that such a file may have; a larger one is refused before it is read."""

SEAL = "sha256"
"""The key under which a file carries the SHA-256 of itself."""


def read(path: Path) -> tuple[Any, str]:
    """Read a JSON file and tell whether its bytes are those that ``write_json`` would write.

    Returns:
        The value, and in words what is wrong with the bytes, which is empty if nothing is: the
        caller may first want to know whether a newer ganzoo wrote them in a form of its own.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is too large or no JSON.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST:,} bytes")
    try:
        value = json.loads(content.decode("utf-8-sig"))
        expected = _text(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if content == expected:
        return value, ""
    if content.replace(b"\r\n", b"\n") == expected:
        return value, (
            "has other line ends than it was written with, as git or a text-mode transfer makes "
            "them: copy it as it is"
        )
    return value, "is not as it was written, though it is JSON: it was edited or damaged"


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
