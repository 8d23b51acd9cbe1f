"""What was meant by a line of the command line that is not understood."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cyclopts.exceptions import UnknownOptionError, UnusedCliTokensError

from ganzoo import recipes
from ganzoo.errors import did_you_mean, quoted
from ganzoo.train_config import COMPONENTS, TrainConfig, flag_of, kept_on_resuming, synonyms

__all__ = ["explain", "flag_for"]


def explain(error: UnknownOptionError | UnusedCliTokensError, tokens: Sequence[str]) -> str:
    """Return one line: what is not understood, and what was meant or is possible.

    Args:
        error: Of cyclopts.
        tokens: The whole line, from the command's name on.
    """
    command = tokens[0] if tokens else ""
    if isinstance(error, UnusedCliTokensError):
        return _unused(command, list(error.unused_tokens or ()))
    given, _, value = (error.token.keyword or error.token.value or "").partition("=")
    flags = [
        name for argument in error.argument_collection if argument.parse for name in argument.names
    ]
    flags = [flag for flag in flags if flag.startswith("--")]
    off = given.startswith("--no-")
    paths = _settings(given.removeprefix("--no-" if off else "--"))
    if command == "resume" and paths and not tokens[1].startswith("-"):
        after = [] if value else tokens[list(tokens).index(given) + 1 :]
        values = [value] if value else [*itertools.takewhile(lambda t: t[:2] != "--", after)]
        changes = {".".join(path): False if off else values for path in paths}
        return kept_on_resuming(changes, Path(tokens[1]), sorted({*flags} - {"--quiet", "--run"}))
    return f"Unknown option: {quoted(given)[1:-1]}.{_meant(given, flags, command)}"


def _settings(word: str) -> tuple[tuple[str, ...], ...]:
    """The settings that an option is, or that others call so."""
    path = tuple(word.replace("-", "_").split("."))
    return (path,) if path[0] in TrainConfig.model_fields else synonyms(word)


def _meant(given: str, flags: list[str], command: str) -> str:
    """A hint at options that there are; without one, where all of them are listed."""
    if command == "train":
        meant = [flag_of(*path) for path in synonyms(given.removeprefix("--"))]
        if found := [flag for flag in meant if flag in flags]:
            return f" Did you mean {' and '.join(found)}?"
    word = given.removeprefix("--").replace("_", "-")
    near = did_you_mean(word, (flag.removeprefix("--") for flag in flags))
    if near:
        return near.replace("'", "--", 1).replace("'", "")
    return f" '{' '.join(['ganzoo', *([command] if command else []), '--help'])}' lists them."


def _unused(command: str, unused: list[str]) -> str:
    start = f"Unused Tokens: {unused}."
    if command == "train" and (flag := flag_for(unused[0])):
        return f"{start} Say it with its option: {flag} {shlex.quote(unused[0])}"
    if any(command == each for each in _ONE_EACH):
        return f"{start} Give one at a time."
    return f"{start} Values follow their option; 'ganzoo {command} --help' lists them."


_ONE_EACH = ("evaluate", "pull", "resume", "sample", "show")


def flag_for(word: str) -> str | None:
    """The option of a training that a value is meant for, where one knows it."""
    for setting, registry in COMPONENTS.items():
        if word in registry.names():
            return flag_of(setting)
    if word in recipes.names():
        return "--recipe"
    return "--dataset" if os.path.exists(word) else None  # noqa: PTH110 - of any text
