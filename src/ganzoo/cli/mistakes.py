"""What a person meant by words that a command does not know."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from cyclopts import CycloptsError, UnknownOptionError, UnusedCliTokensError

__all__ = ["explained"]

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


def explained(error: CycloptsError, command: str, tokens: Sequence[str]) -> str:
    """Return in one sentence what is wrong with a line, and what to write instead.

    Args:
        error: What the parser says.
        command: Name of the command.
        tokens: The line.

    Returns:
        Nothing where the parser says it well enough.
    """
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        word = error.unused_tokens[0]
        if command == "train":
            return _meant(word)
        if command in _ONE:
            return f"'ganzoo {command}' {_ONE[command]}. '{word}' is one too many."
    if isinstance(error, UnknownOptionError) and command == "resume":
        flag = (error.token.keyword or error.token.value).partition("=")[0]
        return _kept(flag, list(tokens[1:]))
    return ""


def _meant(word: str) -> str:
    """Which option a word of the command line may be the value of."""
    from ganzoo import recipes
    from ganzoo.storage import expanded
    from ganzoo.train_config import COMPONENTS, flag_of

    kinds = {flag_of(name): registry.names() for name, registry in COMPONENTS.items()}
    kinds |= {"--recipe": recipes.names()}
    for flag, names in kinds.items():
        if word in names:
            if flag == "--arch":
                return f"'{word}' is a second architecture; one is trained at a time."
            return f"'{word}' stands without its option: say it as {flag} {word}."
    if expanded(word).exists():
        quoted = shlex.quote(word)
        return (
            f"'{word}' stands without its option: say it as --dataset {quoted} if it is the data, "
            f"or as --out {quoted} if the run is to be there."
        )
    return ""


def _kept(flag: str, tokens: list[str]) -> str:
    """Why a run does not go on with this option."""
    from ganzoo.preparation import kept_setting
    from ganzoo.storage import expanded

    at = next((i for i, token in enumerate(tokens) if token.partition("=")[0] == flag), None)
    words = [flag]
    if at is not None:
        words = [tokens[at]]
        if "=" not in tokens[at]:
            for token in tokens[at + 1 :]:
                if token.startswith("--") or (expanded(token) / "config.yaml").is_file():
                    break
                words.append(token)
    runs = [token for token in tokens if (expanded(token) / "config.yaml").is_file()]
    run = runs[0] if runs else "RUN"
    setting = flag.lstrip("-").partition(".")[0].replace("-", "_").removeprefix("no_")
    return kept_setting(setting, Path(run), shlex.join(words))
