"""Reading of ``ganzoo train`` commands without training."""

from __future__ import annotations

import shlex
from typing import Any

from ganzoo.cli import options, run, train
from ganzoo.config import TrainConfig, defaults, resolve

__all__ = ["parsed"]


def parsed(line: str) -> TrainConfig:
    """The settings that the command line gives."""
    program, command, *tokens = shlex.split(line)
    assert (program, command) == ("ganzoo", "train")
    layer, chosen = train._choices(tokens)
    shown = defaults(layer, chosen)
    options.check_dotted(tokens, shown)
    found: list[TrainConfig] = []

    def execute(values: Any) -> None:
        settings = options.nested(values, shown)
        if len(size := settings.get("size", ())) == 1:
            settings["size"] = size[0]
        found.append(resolve(settings))

    offered = list(options.setting_options(shown))
    app = options.application("ganzoo train", "", offered, execute)
    run(app, options.repeated(tokens, offered))
    return found[0]
