"""``ganzoo train`` and ``ganzoo resume``."""

from __future__ import annotations

import functools
import itertools
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from rich.console import Console

from ganzoo.cli import run as run_app
from ganzoo.cli.options import (
    Option,
    application,
    check_dotted,
    nested,
    repeated,
    schedule_options,
    setting_options,
    switches,
)
from ganzoo.config import COMPONENTS, LISTS, defaults, flag_of, read_config
from ganzoo.errors import ConfigError, listing, plain

if TYPE_CHECKING:
    from ganzoo.training.callbacks import Callback

__all__ = ["resume", "train"]

_RUN = Group("Run", sort_key=0)
_OWN = [
    Option(
        (name,),
        kind,
        Parameter(name=flag_of(name), help=text, group=_RUN, negative=(), show_default=False),
    )
    for name, kind, text in (
        ("config", Path, "settings in YAML, such as config.yaml of a run; options win over it"),
        ("out", Path, "folder of the run; by default the next free runs/<arch>-<dataset>-<number>"),
        ("dry_run", bool, "print the settings, parameter counts and memory, and stop"),
        ("quiet", bool, "show no progress"),
    )
]


_ANSWERS = ("true", "false", "yes", "no", "on", "off")


def train(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]) -> None:
    """Train a GAN and leave a run folder with pictures and the generator.

    The options are the fields of ``TrainConfig`` and of the components that this very line
    chooses, plug-ins included.
    """
    layer, chosen = _choices(tokens)
    shown = defaults(layer, chosen)
    check_dotted(tokens, shown)
    options = [*setting_options(shown), *schedule_options(tokens), *_OWN]
    _check_switches(tokens, switches(options))
    app = application(
        "ganzoo train",
        "Train a GAN and leave a run folder with pictures and the generator.",
        options,
        functools.partial(_execute, shown=shown),
    )
    run_app(app, repeated(tokens, options))


def resume(
    run: Path,
    /,
    *,
    steps: int | None = None,
    epochs: float | None = None,
    device: str | None = None,
    dataset: str | None = None,
    workers: int | None = None,
    nan_policy: Literal["stop", "skip", "rollback"] | None = None,
    patience: int | None = None,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Continue a run from its newest checkpoint.

    Args:
        run: folder of the run
        steps: a new total number of iterations
        epochs: a new total number of passes over the data
        device: another device
        dataset: where the data lie now, if their file has moved
        workers: another number of processes that read data, where they do
        nan_policy: what follows NaN or infinity from here on
        patience: from here on, how many scores in a row may fail to be the best
        quiet: show no progress
    """
    from ganzoo.training.trainer import Trainer

    trainer = Trainer.resume(
        run,
        steps=steps,
        epochs=epochs,
        device=device,
        dataset=dataset,
        workers=workers,
        nan_policy=nan_policy,
        patience=patience,
        callbacks=_progress(quiet),
        progress=False,
    )
    if trainer.finished:
        raise ConfigError(
            f"{run} has already been trained for {trainer.step} steps. "
            f"{_further(trainer.step < trainer.total_steps)}"
        )
    _fit(trainer)


def _further(lost_patience: bool) -> str:
    if lost_patience:
        return "Its scores got no better: give more patience with --patience to train on."
    return "Give a larger total with --steps to train on."


def _choices(tokens: Sequence[str]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """The configuration file's settings, and the components and recipe that the line names."""
    flags = {flag_of(name): name for name in (*COMPONENTS, *LISTS, "augmentation", "recipe")}
    chosen: dict[str, str] = {}
    layer: Mapping[str, Any] = {}
    place = option = ""
    for token, following in zip(tokens, [*tokens, ""][1:], strict=True):
        flag, equals, value = token.partition("=")
        value = value if equals else following
        if flag == "--config" and value:
            layer = read_config(Path(value))
        elif flag in flags and value:
            setting = flags[flag]
            earlier = chosen.get(setting, "") if setting == "trackers" else ""
            chosen[setting] = f"{earlier},{value}".lstrip(",")  # trackers are given one by one
        elif flag in ("--dataset.path", "--dataset.repo") and value:
            place, option = value, flag.rpartition(".")[2]
    if place and option not in type(defaults(layer, chosen)["dataset"]).model_fields:
        chosen["dataset"] = place if option == "path" else "huggingface"
    if "arch" in chosen:
        return layer, chosen
    for before, token in zip(["", *tokens], tokens, strict=False):
        # The architecture's name may stand anywhere but where another option's value does.
        known = token in COMPONENTS["arch"].names()
        if token.startswith("-") or not (known or not before):
            continue
        if before.startswith("--") and "=" not in before:
            shown = defaults(layer, chosen, {"arch": token})
            if before not in switches([*setting_options(shown), *_OWN]):
                continue  # it is that option's value
        chosen["arch"] = token
    if (name := chosen.get("arch")) and name not in COMPONENTS["arch"].names():
        _check_first(name)
    return layer, chosen


def _check_first(word: str) -> None:
    """Refuse what is something else where the architecture's name is expected."""
    from ganzoo.cli.hints import meant

    if found := meant(word):
        kind, way = found
        raise ConfigError(
            f"'{word}' is not an architecture but {kind}: {way}. "
            f"Architectures: {listing(COMPONENTS['arch'].names())}."
        )


def _check_switches(tokens: Sequence[str], flags: Collection[str]) -> None:
    """Refuse ``--conditional true``, whose second word would be the architecture's name."""
    for token, following in itertools.pairwise(tokens):
        if token in flags and following.lower() in _ANSWERS:
            raise ConfigError(
                f"{token} takes no value after a space. Write {token} alone, or "
                f"{token}={following}."
            )


def _execute(values: Mapping[tuple[str, ...], Any], shown: Mapping[str, Any]) -> None:
    from ganzoo.training.trainer import Trainer

    own = {option.path[0] for option in _OWN}
    run = {path[0]: value for path, value in values.items() if path[0] in own}
    given = {path: value for path, value in values.items() if path[0] not in own}
    settings = nested(given, shown)
    if len(size := settings.get("size", ())) == 1:
        settings["size"] = size[0]
    trainer = Trainer(
        config=run.get("config"),
        out=run.get("out"),
        callbacks=_progress(run.get("quiet", False)),
        progress=False,
        **settings,
    )
    if run.get("dry_run"):
        _explain(trainer)
    else:
        _fit(trainer)


def _explain(trainer: Any) -> None:
    """Print what a training would be, as YAML that ``--config`` reads."""
    from ganzoo.training.estimate import estimate

    facts = estimate(trainer)
    notes = [f"note: {notice}" for notice in trainer.notices]
    precision = f"{trainer.precision.name}: {trainer.precision.reason}"
    console = Console(soft_wrap=True, highlight=False)
    console.print(trainer.config.yaml(), markup=False, end="")
    for line in (*notes, *facts.lines(), precision):
        console.print(f"# {line}", markup=False)


def _progress(quiet: bool) -> list[Callback]:
    from ganzoo.training.progress import Progress

    return [] if quiet else [Progress(results=False)]  # the results go to standard output


def _fit(trainer: Any) -> None:
    """Train; at the end print where picture and generator are."""
    try:
        run = trainer.fit()
    except (KeyboardInterrupt, SystemExit):
        if trainer.run is not None:
            Console(stderr=True, soft_wrap=True, highlight=False).print(
                f"interrupted at step {trainer.step}; continue with: "
                f"ganzoo resume {shlex.quote(str(trainer.run.path))}",
                markup=False,
            )
        raise
    console = Console(soft_wrap=True, highlight=False)
    if run.samples:
        console.print(plain(f"picture: {run.samples[-1]}"), markup=False)
    console.print(plain(f"generator: {run.path / 'generator'}"), markup=False)
    if trainer.best_step is not None and (run.path / "best").is_dir():
        best = f"best generator: {run.path / 'best'} (step {trainer.best_step})"
        console.print(plain(best), markup=False)
