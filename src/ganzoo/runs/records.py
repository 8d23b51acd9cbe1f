"""The numbers that a run has recorded: rows of metrics.jsonl, and scores with their protocols.

Files are untrusted: links that lead out, pipes and what is too large are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ganzoo.errors import ConfigError, GanzooError
from ganzoo.files import bounded_json, untrusted
from ganzoo.generators.bundle import SCORED

if TYPE_CHECKING:
    from ganzoo.evaluation import Score

__all__ = ["MAX_BYTES", "is_step", "mapping", "newest_scores", "rows", "scores"]

MAX_BYTES = 2**20
"""Of one row, and of a file of scores; ganzoo never writes as much."""


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the lines of a JSONL file: number (from 1), and the row or what is wrong with it.

    A last line without its end is left out: it is being written, or a kill cut it short.

    Raises:
        OSError: If the file is absent or cannot be read.
        ValueError: If it is not a regular file, or a link that leads out of its folder.
    """
    with untrusted.opened(path) as file:
        lines = iter(lambda: file.readline(MAX_BYTES + 1), b"")
        for number, line in enumerate(lines, start=1):
            if len(line) > MAX_BYTES:
                yield number, f"is larger than {MAX_BYTES:,} bytes"
                return
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"is not JSON ({error})"
                continue
            valid = isinstance(row, dict) and is_step(row.get("step"))
            yield number, row if valid else "has no step"


def mapping(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        OSError: If the file is absent or cannot be read.
        ValueError: If it is something else.
    """
    value = bounded_json.read(path, largest=MAX_BYTES)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def scores(path: Path) -> tuple[dict[str, Score], dict[str, str]]:
    """Read ``metrics.json`` of a saved generator; raises as ``mapping``.

    Returns:
        The scores by the names of their metrics; what is wrong with the others, likewise.
    """
    return _parsed(mapping(path))


def newest_scores(path: Path) -> tuple[int, dict[str, Score], dict[str, str]]:
    """Read ``scores.json`` of a run: the step of the generator, and what ``scores`` returns.

    Raises:
        OSError: If the file is absent or cannot be read.
        ValueError: If it is not a JSON object, has no step or no scores.
    """
    found = mapping(path)
    step, entries = found.get("step"), found.get("scores")
    if not is_step(step) or not isinstance(entries, dict):
        raise ValueError("it has no step, or no scores of that step")
    return step, *_parsed(entries)


def _parsed(entries: Mapping[str, Any]) -> tuple[dict[str, Score], dict[str, str]]:
    from ganzoo.evaluation import Score

    found, wrong = {}, {}
    for name, entry in entries.items():
        try:
            if not SCORED.fullmatch(name) or not isinstance(entry, dict):
                raise ConfigError("it is not a score by the name of its metric")
            found[name] = Score(**{k: entry[k] for k in Score.model_fields if k in entry})
        except GanzooError as error:
            wrong[name] = str(error)
    return found, wrong


def is_step(value: Any) -> TypeGuard[int]:
    """Whether a value is a number of iterations."""
    return type(value) is int and 0 <= value < 2**63
