"""Untrusted text as Markdown: escaped, without places of a machine and without secrets."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

__all__ = [
    "HIDDEN",
    "clean",
    "code",
    "fence",
    "hidden",
    "hidden_command",
    "prose",
    "public",
    "word",
]

HIDDEN = "(left out)"  # stands for a secret

_SECRET_KEY = re.compile(
    r"(?:.*(?:[_.-]|[A-Za-z\d](?=[A-Z])))?"
    r"(?i:token|password|passwd|secret|api[_-]?key|credentials?)",
    re.DOTALL,
)  # names, or options of a command, whose values are secrets
_LONGEST = 2000  # characters of one string
_DEEPEST = 32  # levels of a value, as bounded_json reads them
_HOME = r"~(?:[A-Za-z_][\w.-]*)?"
_PLACE = re.compile(rf"{_HOME}[/\\]|~$|[/\\]|[A-Za-z]:[/\\]|(?i:file):[/\\]|\.\.[/\\]")
_FOLDER = r"(?:[^\s'\"`,;:/\\]+[/\\])"
_PLACES = re.compile(
    r"(?<![\w.:/\\~])(?:"
    rf"(?:{_HOME}[/\\]|(?:\.\.[/\\])+){_FOLDER}*"
    r"|(?:(?i:file):/*)?(?:[A-Za-z]:[/\\]|/|\\\\)"
    rf"(?:(?i:home|users)[/\\][^'\"`,;:/\\]{{1,100}}[/\\]{_FOLDER}*|{_FOLDER}+)"  # "Jane Doe"
    r")"
)
_SECRETS = re.compile(r"\bhf_\w{8,}|(?<=://)[^/\s@]+@")
_SPECIAL = re.compile(r"[\\`*\[\]<|~$]|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_])")
_LINKABLE = re.compile(
    r"((?:[A-Za-z][\w+.-]*://|\bwww\.|(?<!\w)@\w)[^\s|`]*|[\w.+-]+@[\w-]+\.[^\s|`]*)"
)
_UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, surrogates, separators of lines
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def hidden(value: Any, tidy: Callable[[str], str] = str, depth: int = 0) -> Any:
    """Return a JSON value without secrets and folders of a machine; ``tidy`` cleans each text.

    Of a path, the last part stays. Mappings and lists deeper than 32 levels are cut.
    """
    if isinstance(value, str):
        return _without_places(_SECRETS.sub(HIDDEN, tidy(value)))
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {
            hidden(str(key), tidy): HIDDEN
            if _SECRET_KEY.fullmatch(str(key)) and not (item is None or isinstance(item, bool))
            else hidden(item, tidy, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [hidden(item, tidy, depth + 1) for item in value]
    return value


def hidden_command(text: str) -> str:
    """Return a command line without secrets and folders of a machine."""
    try:
        words = shlex.split(text)
    except ValueError:  # quotes without an end
        return HIDDEN
    shown = [_hidden_word(each, before) for before, each in pairwise(["", *words])]
    return text if shown == words else shlex.join(shown)


def _hidden_word(word: str, before: str) -> str:
    option, sign, _ = word.partition("=")
    if "=" not in before and _is_secret(before):
        return HIDDEN
    return f"{option}={HIDDEN}" if sign and _is_secret(option) else str(hidden(word))


def _is_secret(option: str) -> bool:
    return option.startswith("--") and _SECRET_KEY.fullmatch(option) is not None


def public(value: Any) -> Any:
    """Return a JSON value as ``hidden`` does, without control characters and long texts."""
    return hidden(value, clean)


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
