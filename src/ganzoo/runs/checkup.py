"""Checks the files of a run, bundle or checkpoint by the readers that use them; changes nothing."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ganzoo.config import FORMAT_VERSION, TrainConfig, saved_config
from ganzoo.core.state_dicts import not_finite
from ganzoo.errors import GanzooError, RunFolderError, plain, some
from ganzoo.files import checkpoint, untrusted
from ganzoo.files.lock import OWNER, owner
from ganzoo.files.storage import expanded, is_partial_write
from ganzoo.generators import bundle
from ganzoo.generators.generator import Generator
from ganzoo.runs import records
from ganzoo.runs.run import (
    ANIMATION,
    BEST,
    COMPARISON,
    CURVES,
    DIAGNOSES,
    GENERATOR,
    METRICS,
    PARTS,
    SCORES,
    numbered,
)

if TYPE_CHECKING:
    from ganzoo.evaluation import Score

__all__ = ["Finding", "examine"]

_DRAWN = 8  # samples of each generator
_SLACK = 1e-3  # of the width of the value range, for rounding in activations
_CHECKPOINT = (checkpoint.STATE, checkpoint.TENSORS)
_MOST = 20  # scores that are shown


@dataclass(frozen=True)
class Finding:
    """The result for one file or folder.

    Attributes:
        place: Its path below the folder that is examined; ``.`` is the folder itself.
        verdict: A ``note`` is harmless.
        text: What it is, or what is wrong and what to do, in one line.
    """

    place: str
    verdict: Literal["ok", "note", "wrong"]
    text: str


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with one thing, and what to do."""


def examine(folder: str | Path) -> Iterator[Finding]:
    """Check everything in a run, a bundle or a checkpoint, in the order of their names.

    Nothing is changed, and no data are loaded.

    Yields:
        A finding per file or folder.

    Raises:
        RunFolderError: If the folder is none of the three, or cannot be read.
    """
    for finding in _examined(expanded(folder)):
        yield Finding(plain(finding.place), finding.verdict, plain(finding.text))


def _examined(folder: Path) -> Iterator[Finding]:
    try:
        names = {path.name for path in folder.iterdir()}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunFolderError(
            f"There is no folder {folder} that can be read ({reason}). Give the folder of a run, "
            f"a saved generator or a checkpoint."
        ) from None
    if names & {"config.yaml", METRICS, "checkpoints"}:
        yield from _run(folder)
    elif names & {bundle.CONFIG, bundle.WEIGHTS}:
        yield from _bundles(folder, ".")
    elif names & {*_CHECKPOINT}:
        yield _look(folder, ".", _checkpoint)
    else:
        raise RunFolderError(
            f"{folder} is not a run, a saved generator or a checkpoint: it has none of "
            f"config.yaml, {bundle.CONFIG} and {checkpoint.STATE}. Give a folder that ganzoo wrote."
        )


def _look(folder: Path, place: str, check: Callable[[Path], str]) -> Finding:
    try:
        return Finding(place, "ok", check(folder / place))
    except (_Wrong, GanzooError) as wrong:
        return Finding(place, "wrong", str(wrong))
    except OSError as error:
        text = f"cannot be read ({error.strerror or error}). Check the disk and its permissions."
    except Exception as error:  # a reader's, or of a plug-in's net
        reason = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        text = f"cannot be used ({reason}). Restore the file that ganzoo wrote, or delete it."
    return Finding(place, "wrong", text)


def _run(folder: Path) -> Iterator[Finding]:
    if os.path.lexists(folder / OWNER):
        facts = owner(folder)
        who = "unreadable"
        if facts:
            who = f"process {facts['pid']} on {facts['host']}, since {facts['started']}"
        text = f"a training holds this run ({who}): files change while they are checked"
        yield Finding(OWNER, "note", text)
    for name, check in _CHECKS.items():
        if name in _EXPECTED or os.path.lexists(folder / name):
            yield _look(folder, name, check)
        elif name == "environment.json":
            yield Finding(name, "note", "is missing; nothing is read from it")
    try:
        config = _settings(folder / "config.yaml")
    except GanzooError:
        config = None
    saved = _numbered(folder / "checkpoints")
    for path in saved:
        yield _look(folder, f"checkpoints/{path.name}", _checkpoint)
    if not saved:
        yield Finding("checkpoints", "note", "none yet: 'ganzoo resume' starts the run afresh")
    if saved or (folder / GENERATOR).exists():
        yield from _bundles(folder, GENERATOR, config)
    if os.path.lexists(folder / BEST):
        yield from _bundles(folder, BEST, config)
    for path in _numbered(folder / "snapshots"):
        yield from _bundles(folder, f"snapshots/{path.name}", config)
    yield from _leftovers(folder)


def _numbered(folder: Path) -> list[Path]:
    """The folders that are named by a step, in order."""
    found = {path: numbered(path.name) for path in folder.glob("step-*")}
    steps = {path: step for path, step in found.items() if step is not None}
    return sorted(steps, key=lambda path: steps[path])


def _leftovers(folder: Path) -> Iterator[Finding]:
    for part in PARTS:
        for path in sorted((folder / part).iterdir()) if (folder / part).is_dir() else ():
            place = path.relative_to(folder).as_posix()
            if path.name.startswith("broken-"):
                text = "set aside, because it was damaged, and never used; delete it when you like"
                yield Finding(place, "note", text)
            elif is_partial_write(path):
                text = "left by a write that was cut short; 'ganzoo resume' clears up"
                yield Finding(place, "note", text)


# -- files of a run -------------------------------------------------------------------------------


def _settings(path: Path) -> TrainConfig:
    return saved_config(path, root=path.parent)


def _config(path: Path) -> str:
    config = _settings(path)
    return (
        f"format {FORMAT_VERSION}; {config.arch.name} with {config.loss.name} on "
        f"{config.dataset.called}, {config.steps} steps"
    )


def _environment(path: Path) -> str:
    found = records.mapping(path)
    return ", ".join(f"{k} {found[k]}" for k in ("ganzoo", "torch", "device") if k in found)


def _rows(path: Path) -> str:
    """Check lines of JSON whose steps ascend.

    Scores are known later than rows of the training that were written meanwhile, so the steps of
    both kinds ascend separately. Two diagnoses may have the same step.
    """
    if not os.path.lexists(path):
        return "no rows"
    rising = path.name == METRICS
    last, count = {False: -1, True: -1}, {False: 0, True: 0}  # by whether they are of scores
    for number, row in records.rows(path):
        if isinstance(row, str):
            raise _Wrong(f"line {number} {row}. Remove that line.")
        if any(isinstance(value, float) and not math.isfinite(value) for value in row.values()):
            raise _Wrong(f"line {number} holds numbers that are not finite. Remove that line.")
        step = row["step"]
        scored = "evaluated" in row if rising else row.get("kind") in ("score", "patience")
        if step < last[scored] or (rising and step == last[scored]):
            raise _Wrong(
                f"line {number} is of step {step}, after one of step {last[scored]}: two "
                f"trainings wrote into this run, or it was edited. Remove that line."
            )
        last[scored] = step
        count[scored] += 1
    if not any(count.values()):
        return "no rows"
    scores = f" and {count[True]} of scores" if rising and count[True] else ""
    rows = count[False] if rising else sum(count.values())
    return f"{rows} rows{scores}, to step {max(last.values())}"


def _newest_scores(path: Path) -> str:
    step, found, wrong = records.newest_scores(path)
    return f"step {step}: {_listed(found, wrong)}"


def _listed(found: dict[str, Score], wrong: dict[str, str]) -> str:
    for name, problem in wrong.items():
        raise _Wrong(
            f"has no valid score '{name:.40}' ({problem}). Delete it; 'ganzoo evaluate' measures "
            f"again."
        )
    texts = [f"{name:.40} {score.value:.6g}" for name, score in found.items()]
    return some(texts, _MOST) or "no scores"


def _pictures(folder: Path) -> str:
    paths = sorted(folder.glob("*.png")) if folder.is_dir() else []
    for path in paths:
        try:
            _picture(path)
        except (_Wrong, ValueError) as wrong:
            raise _Wrong(f"{path.name} {wrong}") from None
    return f"{len(paths)} pictures"


def _picture(path: Path) -> str:
    from PIL import Image

    kind = path.suffix[1:].upper()
    with untrusted.opened(path) as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of pictures that would fill the memory
                with Image.open(file, formats=[kind]) as picture:
                    width, height = picture.size
                    picture.verify()
            if kind == "GIF":  # of which nothing is verified
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b";":
                    raise ValueError("it was cut short")
        except Exception as error:  # Pillow's decoders raise anything
            raise _Wrong(f"is damaged ({error}). Nothing depends on it: delete it.") from None
    return f"{width}x{height}"


_EXPECTED = ("config.yaml", METRICS, "samples")
_CHECKS: dict[str, Callable[[Path], str]] = {
    "config.yaml": _config,
    "environment.json": _environment,
    METRICS: _rows,
    DIAGNOSES: _rows,
    SCORES: _newest_scores,
    "samples": _pictures,
    **dict.fromkeys((COMPARISON, CURVES, ANIMATION), _picture),
}


# -- checkpoints and bundles ----------------------------------------------------------------------


def _checkpoint(folder: Path) -> str:
    tensors, state = checkpoint.load(folder)
    step = state.get("step")
    if checkpoint.misnamed(folder, state):
        raise _Wrong(f"holds step {step}, but its name is of another: give it its own name back.")
    if bad := not_finite(tensors):
        raise _Wrong(
            f"its tensor '{bad}' is not finite. Resume from an earlier checkpoint: "
            f"move this one away."
        )
    size = sum((folder / name).stat().st_size for name in _CHECKPOINT)
    return f"step {step}, {len(tensors)} tensors, {size / 1e6:,.1f} MB; hashes agree, all finite"


def _bundles(folder: Path, place: str, settings: TrainConfig | None = None) -> Iterator[Finding]:
    """Check a bundle, and the scores in it."""
    yield _look(folder, place, partial(_bundle, settings))
    if os.path.lexists(folder / place / bundle.METRICS):
        scores = bundle.METRICS if place == "." else f"{place}/{bundle.METRICS}"
        yield _look(folder, scores, lambda path: _listed(*records.scores(path)))


def _bundle(settings: TrainConfig | None, folder: Path) -> str:
    if not folder.exists():
        raise _Wrong("is missing. Resuming the run writes it with the next checkpoint.")
    config, module = bundle.load(folder)
    nets = "generator"
    if bundle.DISCRIMINATOR in config.weights:
        bundle.discriminator(folder)
        nets = "both nets"
    if settings is not None and config.architecture != settings.arch:
        raise _Wrong(
            f"is of another architecture ({config.architecture}) than config.yaml says "
            f"({settings.arch}): restore the one or the other."
        )
    _sample(Generator(module, config))
    size = sum(facts.size for facts in config.weights.values())
    samples = "finite" if config.sample.value_range is None else "in range"
    return (
        f"{nets} {config.architecture.name}, {config.sample}, {size / 1e6:,.1f} MB, by ganzoo "
        f"{config.library_version}; hashes agree, all finite, samples {samples}"
    )


def _sample(generator: Generator) -> None:
    spec = generator.spec
    try:
        samples = generator.sample(_DRAWN, seed=0)
    except Exception as error:  # the architecture may be a plug-in's
        reason = " ".join(str(error).split())
        raise _Wrong(f"cannot be sampled from ({type(error).__name__}: {reason}).") from error
    problem = ""
    low, high = spec.value_range or (-math.inf, math.inf)
    least, most = float(samples.min()), float(samples.max())
    slack = _SLACK * (high - low) if spec.value_range else 0
    if tuple(samples.shape[1:]) != spec.shape:
        problem = f"samples of shape {tuple(samples.shape[1:])}, not {spec.shape}"
    elif not samples.isfinite().all():
        problem = "samples that are not finite"
    elif least < low - slack or most > high + slack:
        problem = f"values from {least:.3g} to {most:.3g}, outside its range of {low:g} to {high:g}"
    if problem:
        raise _Wrong(
            f"makes {problem}. Go back to an earlier checkpoint, or install the version of its "
            f"architecture that it was saved with."
        )
