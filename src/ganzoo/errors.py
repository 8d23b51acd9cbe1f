"""Every exception that a user of ganzoo may want to catch, and the wording they share.

A message states the fact, its cause and what to do. None of these classes derives from
``ValueError``: pydantic would swallow it into a ``ValidationError`` of its own.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "BundleError",
    "CheckpointError",
    "ConfigError",
    "ContractError",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "GanzooError",
    "HubError",
    "PluginError",
    "RegistrationError",
    "RunFolderError",
    "UnknownNameError",
    "UnsupportedSampleError",
]


class GanzooError(Exception):
    """Base class of all errors that ganzoo raises on purpose; the message is one line."""

    def __init__(self, message: object = "") -> None:
        super().__init__(plain(str(message)))  # it may quote files and names of files


class UnknownNameError(GanzooError):
    """A name that no registry, built-in or installed plug-in knows."""


class RegistrationError(GanzooError):
    """A component could not be registered: its name is taken or it breaks the contract."""


class ContractError(GanzooError, AssertionError):
    """A component does not do what its kind promises: its nets, losses or data are at fault.

    The checks of ``ganzoo.testing`` raise it, and so does the first batch of a training; to a
    test it is an ``AssertionError``.
    """

    names_component = False
    """Whether the message already names the component."""


class PluginError(GanzooError):
    """An installed plug-in, or one that a file needs, cannot be used."""


class ConfigError(GanzooError):
    """A setting does not exist, has a wrong value, or contradicts another one."""


class UnsupportedSampleError(ConfigError):
    """The architecture cannot make samples of this shape or kind."""


class DataError(GanzooError):
    """A dataset is absent, unreadable, too small, or not what it says it is."""


class DeviceError(GanzooError):
    """The device or precision that was asked for is not available on this machine."""


class DivergenceError(GanzooError):
    """Losses are no longer finite numbers; going on would only waste time."""


class RunFolderError(GanzooError):
    """A run folder is taken, absent, not writable, or not a run."""


class CheckpointError(GanzooError):
    """A checkpoint is damaged, incomplete, or belongs to another configuration."""


class BundleError(GanzooError):
    """A bundle (saved generator) is damaged, incomplete, or cannot be written."""


class HubError(GanzooError):
    """The Hugging Face Hub refused something, could not be reached, or does not have it."""


_LONGEST = 2000  # characters of a message
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # which Persian, Indic scripts and emoji need


def plain(text: str) -> str:
    """Return what a file or server says as one line that does nothing to a terminal.

    Line breaks and tabs become spaces, other characters that are not printable (control, format
    and lone surrogates) question marks. Of more than 2,000 characters the middle is left out.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 3 // 4]} ... {text[-_LONGEST // 4 :]}"
    line = " ".join(text.splitlines()).replace("\t", " ")
    if line.isprintable():
        return line
    return "".join(
        "?" if unicodedata.category(each) in _UNPRINTABLE and each not in _JOINERS else each
        for each in line
    )


class _Quote(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxstring = self.maxother = self.maxlong = 200

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write down more than some thousand digits.
        if x.bit_length() > 4000:
            return f"a number of {x.bit_length():,} bits"
        return super().repr_int(x, level)


def quoted(value: Any) -> str:
    """Return any value as a message quotes it: one line of at most 200 characters or so."""
    text = " ".join(_Quote().repr(value).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def did_you_mean(
    word: str, options: Iterable[str], synonyms: Mapping[str, str] | None = None
) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest of ``options``, or an empty string.

    Args:
        word: The unknown word.
        options: The known ones.
        synonyms: Other names of options, such as those of papers; case and hyphens do not matter.
    """
    if len(word) > 100:
        return ""
    # Case is forgiven; "nearest" is difflib's ratio, which suits short identifiers.
    by_folded = {option.casefold(): option for option in options}
    known = {_bare(name): meant for name, meant in (synonyms or {}).items()}
    meant = known.get(_bare(word))
    if meant in by_folded.values():
        return f" Did you mean '{meant}'?"
    nearest = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean '{by_folded[nearest[0]]}'?" if nearest else ""


def _bare(word: str) -> str:
    return re.sub(r"[-_. ]", "", word.casefold())


def an(noun: object) -> str:
    """Return a noun with its article: ``a vector``, ``an 8x8 RGB image``; ``audio`` has none."""
    text = str(noun)
    if text.startswith("audio "):
        return text
    vowel = text[:1].lower() in "aeiou" or re.match(r"8|1[18](?![0-9])", text)
    return f"{'an' if vowel else 'a'} {text}"


def some(items: Iterable[str], most: int = 3) -> str:
    """Return the first items with commas between, and how many more there are."""
    first = list(items)
    more = f" and {len(first) - most:,} more" if len(first) > most else ""
    return f"{', '.join(first[:most])}{more}"


def listing(options: Iterable[str]) -> str:
    """Return the options as one comma-separated line, or ``"none"``."""
    return ", ".join(options) or "none"
