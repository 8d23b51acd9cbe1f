"""``ganzoo convert``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo import architectures
from ganzoo.cli import run as run_app
from ganzoo.cli.options import (
    Option,
    application,
    check_dotted,
    nested,
    repeated,
    setting_options,
)
from ganzoo.config import defaults
from ganzoo.errors import ConfigError, listing

if TYPE_CHECKING:
    from ganzoo.generators.convert import Conversion

__all__ = ["convert"]

_FILES = Group("Files", sort_key=0)
_SAMPLES = Group("Samples", sort_key=1)
_SUMMARY = "Make a generator of weights that another program saved with PyTorch."


def _option(flags: Sequence[str], kind: Any, text: str, group: Group) -> Option:
    name = flags[0].removeprefix("--").replace("-", "_")
    parameter = Parameter(name=list(flags), help=text, group=group, negative=(), show_default=False)
    return Option((name,), kind, parameter)


_OWN = [
    _option(["--checkpoint"], Path, "file of torch.save or of safetensors", _FILES),
    _option(["--out", "-o"], Path, "folder of the generator that is made", _FILES),
    _option(
        ["--key"],
        str,
        "where in the file the weights are, if several nets in it fit; . for the file itself",
        _FILES,
    ),
    _option(
        ["--mapping"],
        Path,
        "YAML or JSON of names in the file to names here, of tensors or layers",
        _FILES,
    ),
    _option(
        ["--check"],
        tuple[Path, Path],
        "latent and the picture that the other program makes of it, as .npy, to verify by",
        _FILES,
    ),
    _option(
        ["--kind"],
        str,
        "image, vector, audio or sequence; by default an image, or a vector if it cannot be one",
        _SAMPLES,
    ),
    _option(["--size"], tuple[int, ...], "height and width, or one number if equal", _SAMPLES),
    _option(["--channels"], int, "channels of a sample", _SAMPLES),
    _option(
        ["--value-range"],
        tuple[float, float],
        "lowest and highest value: tanh for -1 1, the default but for vectors; sigmoid for 0 1",
        _SAMPLES,
    ),
    _option(
        ["--classes"],
        str,
        "names of the classes with commas between, or how many, of a generator with labels",
        _SAMPLES,
    ),
    _option(["--unbounded"], bool, "values have no range: the net ends in no activation", _SAMPLES),
]


def convert(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]) -> None:
    """Make a generator of weights that another program saved with PyTorch."""
    chosen = {"arch": name} if (name := _architecture(tokens)) else {}
    shown = defaults(chosen)
    check_dotted(tokens, shown)
    known = {option.path: option for option in setting_options(shown)}
    about = f"architecture [{', '.join(architectures.names())}]"
    options = [*_OWN, _option(["--arch"], str, about, _FILES)]
    options += [o for path, o in known.items() if path[0] == "arch" and path[1:] and chosen]
    options += [option for path, option in known.items() if path[0] == "latent"]
    app = application("ganzoo convert", _SUMMARY, options, _execute)
    run_app(app, repeated(tokens, options))


def _architecture(tokens: Sequence[str]) -> str:
    for token, following in zip(tokens, [*tokens[1:], ""], strict=False):
        flag, equals, value = token.partition("=")
        if flag == "--arch":
            return value if equals else following
    return ""


def _execute(values: Mapping[tuple[str, ...], Any]) -> None:
    chosen = nested(values)
    usage = "ganzoo convert CHECKPOINT --arch NAME --out FOLDER"
    for name, what in (
        ("checkpoint", "a file of weights"),
        ("arch", f"an architecture ({listing(architectures.names())})"),
        ("out", "a folder for the generator"),
    ):
        if name not in chosen:
            raise ConfigError(f"Give {what}: {usage}.")
    if chosen.pop("unbounded", False):
        if "value_range" in chosen:
            raise ConfigError("Give --value-range or --unbounded, not both.")
        chosen["value_range"] = "unbounded"
    if size := chosen.get("size"):
        if len(size) > 2:
            raise ConfigError(f"A size is a height and a width, not {len(size)} numbers.")
        chosen["size"] = size[0] if len(size) == 1 else size

    if classes := chosen.get("classes"):
        words = [word.strip() for word in classes.split(",")]
        chosen["classes"] = int(classes) if classes.isdecimal() else words

    from ganzoo.generators.convert import convert as made

    done = made(chosen.pop("checkpoint"), chosen.pop("arch"), chosen.pop("out"), **chosen)
    _report(done)


def _report(done: Conversion) -> None:
    console = Console(soft_wrap=True, highlight=False)
    table = Table("in the file", "shape", "here", box=None, header_style="bold", pad_edge=False)
    for pair in done.pairs:
        shape = " x ".join(map(str, pair.shape)) or "1"
        table.add_row(Text(pair.theirs), Text(shape, style="dim"), Text(pair.ours))
    console.print(table)
    aside = Console(stderr=True, soft_wrap=True, highlight=False)
    for note in done.notes:
        aside.print(f"note: {note}", markup=False, style="yellow")
    config = done.config
    latent = config.latent
    console.print(
        f"\n{config.architecture.name}: {config.sample}, {latent.distribution} latent of shape "
        f"{latent.shape}, from '{done.key}'\ngenerator: {done.folder}\n"
        f"sample it with: ganzoo sample {shlex.quote(str(done.folder))}",
        markup=False,
    )
