"""Untrusted text as Markdown: escaped, without places of a machine and without secrets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

__all__ = ["HIDDEN", "SECRET_KEY", "clean", "code", "fence", "prose", "public", "word"]

HIDDEN = "(left out)"
"""Stands for a secret."""

SECRET_KEY = re.compile(r"(?:.*[_-])?(?:token|password|passwd|secret|api_?key|credentials?)", re.I)
"""Names whose values are secrets."""

_LONGEST = 2000  # characters of one string
_DEEPEST = 20  # levels of a value
_PLACE = re.compile(r"~?[/\\]|~$|[A-Za-z]:[/\\]")
_PLACES = re.compile(r"(?<![\w.:/\\~])(?:~?/|[A-Za-z]:[/\\]|\\\\)(?:[^\s'\"`,;:/\\]+[/\\])+")
_SECRETS = re.compile(r"\bhf_\w{8,}|(?<=://)[^/\s@]+@")
_SPECIAL = re.compile(r"[\\`*\[\]<|~$]|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_])")
_LINKABLE = re.compile(
    r"((?:[A-Za-z][\w+.-]*://|\bwww\.|(?<!\w)@\w)[^\s|`]*|[\w.+-]+@[\w-]+\.[^\s|`]*)"
)
_UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, surrogates, separators of lines
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def public(value: Any, depth: int = 0) -> Any:
    """Return a JSON value without control characters, secrets, and folders of a machine.

    Of a path, the last part stays. Mappings and lists deeper than 20 levels are cut.
    """
    if isinstance(value, str):
        return _without_places(_SECRETS.sub(HIDDEN, clean(value)))
    if depth >= _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {
            str(public(key)): HIDDEN
            if isinstance(item, str) and SECRET_KEY.fullmatch(key)
            else public(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [public(item, depth + 1) for item in value]
    return value


def _without_places(text: str) -> str:
    if not _PLACE.match(text):
        return _PLACES.sub("", text)
    windows = "\\" in text and "/" not in text
    return (PureWindowsPath if windows else PurePosixPath)(text).name


def clean(text: str) -> str:
    """Return one line without control characters, of at most 2,000 characters."""
    text = text[: 2 * _LONGEST]
    if not text.isprintable():
        text = "".join(
            "" if sign in _BIDI else " " if unicodedata.category(sign) in _UNSHOWN else sign
            for sign in text
        )
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def word(value: Any) -> str:
    """Return a string as ``public`` does; empty for any other value."""
    return public(value) if isinstance(value, str) else ""


def prose(text: str) -> str:
    """Return plain text as Markdown without any markup.

    Addresses and mentions become code, because many renderers link them even if they are escaped.
    """
    parts = _LINKABLE.split(clean(text))
    return "".join(
        code(part) if index % 2 else _SPECIAL.sub(r"\\\g<0>", part)
        for index, part in enumerate(parts)
    )


def code(text: str) -> str:
    """Return plain text as Markdown code inside a line."""
    text = clean(text) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{text}{room}{ticks}"


def fence(text: str, language: str) -> str:
    """Return a block of code."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"
