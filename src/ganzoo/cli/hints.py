"""Hints for command lines that cannot be parsed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence

from cyclopts.exceptions import UnknownOptionError, UnusedCliTokensError

from ganzoo import recipes
from ganzoo.config import COMPONENTS, flag_of
from ganzoo.core.synonyms import synonyms
from ganzoo.errors import an, did_you_mean, quoted
from ganzoo.files.storage import expanded
from ganzoo.training import preparation

__all__ = ["explain", "meant"]

_ONE = {
    "evaluate": "scores one generator or folder at a time: run it once for each, then 'ganzoo "
    "compare' shows their scores side by side",
    "sample": "samples one generator at a time: run it once for each",
    "resume": "continues one run at a time: run it once for each",
    "doctor": "checks one folder at a time: run it once for each",
    "push": "takes one generator and one repository",
    "pull": "copies one generator at a time: run it once for each",
    "show": "describes one thing at a time: run it once for each",
}
"""What commands do with their one argument."""


def explain(error: UnknownOptionError | UnusedCliTokensError, tokens: Sequence[str]) -> str:
    """Return one line: what cannot be parsed, and what may have been meant.

    Args:
        error: Of cyclopts.
        tokens: The whole line, from the command's name on.
    """
    command, *rest = tokens or [""]
    if isinstance(error, UnusedCliTokensError):
        return _unused(command, list(error.unused_tokens or ()), rest)
    given = (error.token.keyword or error.token.value or "").partition("=")[0]
    flags = [
        name
        for argument in error.argument_collection
        if argument.parse
        for name in argument.names
        if name.startswith("--")
    ]
    if command == "resume" and given.startswith("--"):
        run = _run(rest)
        return preparation.kept_settings(_others(rest, flags, run), expanded(run))
    return f"Unknown option: {quoted(given)[1:-1]}.{_near(given, flags, command)}"


def _run(tokens: Sequence[str]) -> str:
    """The run to resume, anywhere on the line."""
    if tokens and not tokens[0].startswith("-"):
        return tokens[0]
    return next((each for each in tokens if (expanded(each) / "config.yaml").is_file()), "RUN")


def _others(tokens: Sequence[str], flags: Collection[str], run: str) -> dict[str, list[str]]:
    """The options of a line that are not among ``flags``, and the words that follow each."""
    found: dict[str, list[str]] = {}
    words: list[str] = []
    for token in tokens:
        if token.startswith("--"):
            flag, equals, value = token.partition("=")
            words = [] if flag in flags else found.setdefault(flag, [])
            words += [value] if equals else []
        elif token != run:
            words.append(token)
    return found


def _near(given: str, flags: Collection[str], command: str) -> str:
    """The nearest option; else the command that lists all of them."""
    if command == "train":
        called = map(_called, synonyms(given.removeprefix("--")))
        if found := [words for words in called if words.partition(" ")[0] in flags]:
            return f" Did you mean {' and '.join(found)}?"
    word = given.removeprefix("--").replace("_", "-")
    near = did_you_mean(word, (flag.removeprefix("--") for flag in flags))
    if near:
        return near.replace("'", "--", 1).replace("'", "")
    return f" '{' '.join(['ganzoo', *([command] if command else []), '--help'])}' lists them."


def _called(path: tuple[str, ...]) -> str:
    """A path of ``synonyms`` as options: of three parts, the component is named too."""
    if len(path) < 3:
        return flag_of(*path)
    setting, name, option = path
    return f"{flag_of(setting)} {name} {flag_of(setting, option)}"


def _unused(command: str, unused: Sequence[str], rest: Sequence[str]) -> str:
    word, first = unused[0] if unused else "", rest[0] if rest else ""
    known = COMPONENTS["arch"].names()
    if command == "train" and word in known and first not in known and (found := meant(first)):
        return f"'{first}' needs its option: {found[1]}."
    if command == "train" and word in known:
        return f"'{word}' is a second architecture; one is trained at a time."
    if command == "train" and (found := meant(word)):
        return f"'{word}' needs its option: {found[1]}."
    if command in _ONE:
        return f"'ganzoo {command}' {_ONE[command]}. '{word}' is one too many."
    help_ = f"ganzoo {command} --help"
    return f"Unused Tokens: {unused}. Values follow their option; '{help_}' lists them."


def meant(word: str) -> tuple[str, str] | None:
    """Return what a word without its option is, such as ``a loss``, and how to write it.

    Architectures are not among them.
    """
    for setting, registry in COMPONENTS.items():
        if setting != "arch" and word in registry.names():
            return an(registry.base.kind), f"write {flag_of(setting)} {word}"
    if word in recipes.names():
        return "a recipe", f"write --recipe {word}"
    looks_like_one = word.startswith(("./", "../", "~/", "/", ".\\", "..\\"))
    if looks_like_one or (word and os.path.exists(expanded(word))):  # noqa: PTH110 - of any text
        path = shlex.quote(word)
        return "a path", (
            f"write --dataset {path} if it is the data, or --out {path} if the run is to be there"
        )
    return None
