"""What was meant by a line of the command line that is not understood."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence

from cyclopts.exceptions import UnknownOptionError, UnusedCliTokensError

from ganzoo import recipes
from ganzoo.config import COMPONENTS, flag_of, synonyms
from ganzoo.errors import an, did_you_mean, quoted
from ganzoo.files.storage import expanded
from ganzoo.training import preparation

__all__ = ["explain", "meant"]

_ONE = {
    "evaluate": "scores one generator or folder at a time: run it once for each, then 'ganzoo "
    "compare' sets their scores beside each other",
    "sample": "samples one generator at a time: run it once for each",
    "resume": "continues one run at a time: run it once for each",
    "doctor": "checks one folder at a time: run it once for each",
    "push": "takes one generator and one repository",
    "pull": "copies one generator at a time: run it once for each",
    "show": "describes one thing at a time: run it once for each",
}
"""What commands do with the one thing that they take."""


def explain(error: UnknownOptionError | UnusedCliTokensError, tokens: Sequence[str]) -> str:
    """Return one line: what is not understood, and what was meant or is possible.

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
    """The run that is to be resumed, wherever it stands."""
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
    """A hint at options that there are; without one, where all of them are listed."""
    if command == "train":
        called = [flag_of(*path) for path in synonyms(given.removeprefix("--"))]
        if found := [flag for flag in called if flag in flags]:
            return f" Did you mean {' and '.join(found)}?"
    word = given.removeprefix("--").replace("_", "-")
    near = did_you_mean(word, (flag.removeprefix("--") for flag in flags))
    if near:
        return near.replace("'", "--", 1).replace("'", "")
    return f" '{' '.join(['ganzoo', *([command] if command else []), '--help'])}' lists them."


def _unused(command: str, unused: Sequence[str], rest: Sequence[str]) -> str:
    word, first = unused[0] if unused else "", rest[0] if rest else ""
    known = COMPONENTS["arch"].names()
    if command == "train" and word in known and first not in known and (told := meant(first)):
        return f"'{first}' stands without its option: {told[1]}."
    if command == "train" and word in known:
        return f"'{word}' is a second architecture; one is trained at a time."
    if command == "train" and (told := meant(word)):
        return f"'{word}' stands without its option: {told[1]}."
    if command in _ONE:
        return f"'ganzoo {command}' {_ONE[command]}. '{word}' is one too many."
    help_ = f"ganzoo {command} --help"
    return f"Unused Tokens: {unused}. Values follow their option; '{help_}' lists them."


def meant(word: str) -> tuple[str, str] | None:
    """Return what a word without its option is, such as ``a loss``, and how it is said.

    Only what is no architecture is known here.
    """
    for setting, registry in COMPONENTS.items():
        if setting != "arch" and word in registry.names():
            return an(registry.base.kind), f"say it as {flag_of(setting)} {word}"
    if word in recipes.names():
        return "a recipe", f"say it as --recipe {word}"
    looks_like_one = word.startswith(("./", "../", "~/", "/", ".\\", "..\\"))
    if looks_like_one or (word and os.path.exists(expanded(word))):  # noqa: PTH110 - of any text
        path = shlex.quote(word)
        return "a path", (
            f"say it as --dataset {path} if it is the data, or as --out {path} if the run is to "
            f"be there"
        )
    return None
