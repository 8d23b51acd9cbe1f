"""The files that the end of a training leaves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo.files import storage
from ganzoo.files.storage import write_json
from ganzoo.generators import bundle
from ganzoo.runs import provenance
from ganzoo.runs.run import ANIMATION, COMPARISON, CURVES, GENERATOR, Run, writing
from ganzoo.showing import pictures, plots

if TYPE_CHECKING:
    from ganzoo.training.stage import Stage

__all__ = ["finished", "write_summary"]


def write_summary(run: Run, stage: Stage) -> None:
    """Write what shows the whole training; copies lie next to the generator.

    Raises:
        RunFolderError: If it cannot be written.
    """
    with writing(run.path):
        for make in _summaries(run, stage).values():
            make()


def finished(run: Run, stage: Stage) -> bool:
    """Return whether a run has been trained to its end, and all of that is there."""
    validation = stage.validation
    enough = validation is not None and validation.exhausted
    if stage.step < stage.total_steps and not enough:
        return False
    if validation is not None and not enough and validation.pending(stage.step):
        return False
    if not (run.path / GENERATOR).exists():
        return False
    return all(path.is_file() for path in _summaries(run, stage))


def _summaries(run: Run, stage: Stage) -> dict[Path, Callable[[], object]]:
    """The files, and what writes each of them, in order."""
    made: dict[Path, Callable[[], object]] = {}
    shown, visualizer = run.samples, stage.visualizer
    if stage.spec.kind == "image":
        path = run.path / COMPARISON
        made[path] = lambda: pictures.write(visualizer.comparison(), path)
    if curved := plots.available() and bool(run.history):
        made[run.path / CURVES] = lambda: pictures.write(run.curves(), run.path / CURVES)
    if visualizer.plotted and len(shown) > 1:
        made[run.path / ANIMATION] = lambda: pictures.animate(shown, run.path / ANIMATION)
    folder = run.path / GENERATOR
    if not (folder / bundle.CONFIG).is_file():  # ended before the first iteration
        return made
    copied = {bundle.CURVES: run.path / CURVES} if curved else {}
    copied |= {bundle.SAMPLES: shown[-1]} if shown else {}
    for name, original in copied.items():
        made[folder / name] = functools.partial(storage.copy, original, folder / name)
    facts = provenance.training(
        stage.config,
        stage.environment(),
        stage.step,
        stage.loader.drawn,
        settings_unchanged=stage.keeper.settings_unchanged,
    )
    made[folder / bundle.TRAINING] = lambda: write_json(folder / bundle.TRAINING, facts)
    return made
