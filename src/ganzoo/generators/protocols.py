"""The protocol of a score in words: how many samples of what, seen by which features."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ganzoo import datasets
from ganzoo.errors import PluginError, UnknownNameError
from ganzoo.generators import bundle
from ganzoo.generators.markdown import word

__all__ = ["described", "number", "samples_of"]

_LONGEST = 800  # characters
_HASH_SHOWN = 8  # digits of a hash
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LOCAL = frozenset({"array", "folder", "in-memory"})  # datasets whose samples differ by machine


def described(protocol: Mapping[str, Any]) -> str:
    """Return a score's protocol in words, the most decisive first; plain text.

    Entries of another form than ``ganzoo.evaluate`` writes are shown as they are. What is longer
    than any of its protocols is cut.
    """
    order = [*_SAYINGS, *(key for key in protocol if key not in _SAYINGS)]
    words = []
    for key in order:
        value = protocol.get(key)
        if key in ("metric", "versions") or key not in protocol or value == {}:
            continue
        if key in _SAYINGS and isinstance(value, Mapping):
            words.append(_SAYINGS[key](value))
        else:
            words.append(f"{key.replace('_', ' ')}: {_shown(value)}")
    text = "; ".join(words) or "protocol not recorded"
    if len(text) > _LONGEST:
        return f"{text[:_LONGEST]} (cut; {bundle.METRICS} has all of it)"
    return text


def samples_of(side: Mapping[str, Any]) -> str:
    """Return the name of the samples in a protocol; plain text, empty where it has none.

    Samples that are not the same for everyone, such as a folder, have the hash in their name.
    """
    name, digest, repo = (word(side.get(key)) for key in ("dataset", "sha256", "repo"))
    if name == "huggingface" and _REPO.fullmatch(repo):
        return repo
    return f"{name}-{digest[:_HASH_SHOWN]}" if name and digest and not _fixed(name) else name


def _fixed(name: str) -> bool:
    """Whether a dataset of this name has the same samples for everyone."""
    try:
        return name not in _LOCAL and "path" not in datasets.registry.get(name).model_fields
    except (UnknownNameError, PluginError):
        return False


def number(value: float) -> str:
    """Return a number with five digits, a whole one with all of them."""
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1e15)
    return f"{int(value):,}" if whole else f"{value:.5g}"


def _fakes(side: Mapping[str, Any]) -> str:
    if side.get("source") != "generator":
        return _samples(side, "given")
    count = side.get("count")
    words = [f"{_shown(count)} generated samples" if count is not None else "the generator itself"]
    if (averaged := side.get("averaged")) is not None:
        words.append("averaged weights" if averaged is True else "weights not averaged")
    if labels := word(side.get("labels")):
        words.append({"data": "classes as in the data"}.get(labels, f"classes {labels}"))
    return ", ".join(words + [_option(key, side[key]) for key in ("seed",) if key in side])


def _samples(side: Mapping[str, Any], what: str) -> str:
    words = [f"{_shown(side.get('count'))} {what} samples of {samples_of(side) or 'none'}"]
    more = {key: word(side.get(key)) for key in ("subset", "revision", "split")}
    return ", ".join(words + [_option(key, value) for key, value in more.items() if value])


def _features(extractor: Mapping[str, Any]) -> str:
    inside = {key: word(extractor.get(key)) for key in ("dataset", "preset", "weights")}
    options = ", ".join(
        f"of {value}" if key == "dataset" else _option(key, value)
        for key, value in inside.items()
        if value
    )
    precision = word(extractor.get("precision"))
    return (
        f"features of {_shown(extractor.get('extractor'))}{f' ({options})' if options else ''}"
        f"{f' in {precision}' if precision else ''}"
    )


_SAYINGS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "fake": _fakes,
    "real": lambda side: f"against {_samples(side, 'real')}",
    "per_class": lambda found: (
        f"mean over {_shown(found.get('classes'))} classes, each by itself, with "
        f"{_shown(found.get('each'))} generated samples of each"
    ),
    "extractor": _features,
    "options": lambda options: (
        f"options: {', '.join(_option(key, value) for key, value in options.items())}"
    ),
    "measured": lambda found: "; ".join(_option(key, value) for key, value in found.items()),
    "samples": lambda facts: "; ".join(map(_shown, facts.values())),
    "real_extra": lambda side: f"next to {_samples(side, 'real')}",  # which no score depends on
}


def _option(key: str, value: Any) -> str:
    text = str(value) if key == "seed" and type(value) is int else _shown(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16,64}", value):
        text = value[:_HASH_SHOWN]
    return f"{key.replace('_', ' ')} {text}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if type(value) in (int, float):
        return number(value)
    return {True: "yes", False: "no", None: "none"}.get(value, str(value))
