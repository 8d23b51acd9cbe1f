"""A run folder that is trained in: by one process, and whole at every moment."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import evaluation
from ganzoo.core.state_dicts import below
from ganzoo.errors import CheckpointError, GanzooError, RunFolderError
from ganzoo.files import bounded_json, checkpoint
from ganzoo.files.lock import LOCK, RunLock
from ganzoo.files.storage import clean_partial_writes, flush, make, write_json
from ganzoo.generators import bundle
from ganzoo.runs.run import (
    BEST,
    DIAGNOSES,
    GENERATOR,
    METRICS,
    SCORES,
    Run,
    cannot_write,
    check_free,
    make_folder,
    next_folder,
    writing,
)
from ganzoo.showing import pictures

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ganzoo.evaluation import Score
    from ganzoo.files.background import Background
    from ganzoo.generators.generator import Generator

__all__ = ["RunWriter"]

_CHECKPOINTS, _SAMPLES = "checkpoints", "samples"


class RunWriter:
    """A run, open for writing; no other process may write into it until ``release``.

    Raises:
        RunFolderError: If another process trains in it, or it cannot be written.
    """

    def __init__(self, run: Run, lock: RunLock | None = None) -> None:
        self.run = run
        self._lock = lock or RunLock(run.path)

    @classmethod
    def begin(cls, out: Path | None, stem: str, describe: Callable[[Path], None]) -> RunWriter:
        """Make a new run in ``out``, or in ``runs/<stem>-<number>``.

        ``describe`` writes ``config.yaml`` and whatever else belongs to it into the folder.

        Raises:
            RunFolderError: If the folder holds something, or cannot be written; then nothing is
                left of it.
        """
        path = out or next_folder(Path("runs"), stem)
        existed = out is not None and path.is_dir()
        make_folder(path)
        lock = RunLock(path)
        try:
            check_free(path)  # another process may have come first
            try:
                clean_partial_writes(path)  # what a start has left that was killed at once
                describe(path)
                make(path / _CHECKPOINTS)
            except OSError as error:
                with contextlib.suppress(OSError):
                    for name in ("config.yaml", "environment.json"):
                        (path / name).unlink(missing_ok=True)
                    lock.release()
                    (path / LOCK).unlink(missing_ok=True)
                    if not existed:
                        path.rmdir()
                raise cannot_write(path, error) from error
            return cls(Run(path), lock)
        except BaseException:
            lock.release()
            raise

    def release(self, background: Background | None = None) -> None:
        """Let others in, once a pending write is done; a second call does nothing."""
        if background is None:
            self._lock.release()
        else:
            self._lock.leaving()
            background.afterwards(self._lock.release)

    def recover(self) -> tuple[checkpoint.Newest, list[str]]:
        """Find the newest whole checkpoint, and put in order what an unclean end has left.

        What a kill has left unfinished is removed, and what is damaged is renamed; a line of the
        result each.

        Raises:
            CheckpointError: If there are checkpoints but none is whole.
            RunFolderError: If the checkpoints are gone that the run must have had, or the folder
                cannot be written.
        """
        path = self.run.path
        with writing(path):
            notices = self.run.clean_partial_writes()
        found = checkpoint.newest(path / _CHECKPOINTS)
        if found.path is None:
            self._check_none_was_there()
        broken = [(damaged, str(error)) for damaged, error in found.broken]
        for part in (path / GENERATOR, path / BEST):
            if not bundle.replaceable(part):
                broken.append((part, f"{part} is not a bundle any more."))
        for damaged, fact in broken:
            with writing(path):
                place = checkpoint.quarantine(damaged)
            notices.append(f"{fact} It was renamed to {place.name}.")
        return found, notices

    def _check_none_was_there(self) -> None:
        """Refuse to take a run for one without checkpoints that has lost them."""
        rows = self.run.history
        last = int(rows[-1]["step"]) if rows else 0
        every = self.run.config.checkpoint_every
        # The second is begun only when the first is there, after the row of its step.
        due = isinstance(every, int) and every > 0 and last > 2 * every
        if due or (rows and not (self.run.path / _CHECKPOINTS).is_dir()):
            raise RunFolderError(
                f"{self.run.path} was trained to step {last}, but its checkpoints are gone; to go "
                f"on would mean to start anew and lose the rest. Bring back the folder "
                f"'{_CHECKPOINTS}', or train again: ganzoo train --config "
                f"{self.run.path / 'config.yaml'}"
            )

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Add a line to ``metrics.jsonl`` or ``diagnoses.jsonl``."""
        path = self.run.path
        with writing(path), (path / name).open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")

    def scored(
        self, step: int, scores: Mapping[str, Score], more: Mapping[str, float] | None = None
    ) -> None:
        """Add scores to ``metrics.jsonl``, and keep them with their protocols as the newest.

        ``more`` are further columns of the row.
        """
        values = {name: score.value for name, score in scores.items()}
        measured = {name: evaluation.measured_as(score) for name, score in scores.items()}
        row = {"step": step, "evaluated": step, **(more or {}), **values, "measured": measured}
        self.append(METRICS, row)
        with writing(self.run.path):
            write_json(self.run.path / SCORES, {"step": step, "scores": _plain(scores)})

    def best(self, generator: Generator, scores: Mapping[str, Score]) -> None:
        """Keep a generator as the best so far, with its scores; both at once."""
        content = json.dumps(_plain(scores), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with writing(self.run.path):
            bundle.write(
                self.run.path / BEST,
                generator.config,
                generator.module.state_dict(),
                extras={bundle.METRICS: content.encode()},
            )

    def holds_best(self, step: int | None) -> bool:
        """Return whether what is kept as the best generator is that of a step, and whole."""
        folder = self.run.path / BEST
        if step is None or not folder.exists():
            return (step is not None) == folder.exists()
        try:
            config, _ = bundle.read(folder)
            scores = bounded_json.read(folder / bundle.METRICS)
        except (GanzooError, OSError, ValueError):
            return False
        return config.training.get("steps") == step and bool(scores)

    def set_best_aside(self) -> list[str]:
        """Rename what is kept as the best generator and is not; say so."""
        folder = self.run.path / BEST
        if not folder.exists():
            return []
        with writing(self.run.path):
            place = checkpoint.quarantine(folder)
        return [
            f"{folder} is not the best generator of this state. It was renamed to {place.name}."
        ]

    def picture(self, step: int, picture: Image) -> Path:
        """Write the picture of a step."""
        path = self.run.path / _SAMPLES / f"step-{step:08d}.png"
        with writing(self.run.path):
            make(path.parent)
            pictures.write(picture, path)
        return path

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        generator: bundle.BundleConfig,
        average: str,
        prune: Callable[[Path], None],
    ) -> Path:
        """Write the generator's bundle and a checkpoint; ``prune`` removes those that are over.

        Of the tensors, which must be copies, those of the part ``average`` are the generator's.

        Raises:
            CheckpointError, BundleError, RunFolderError: If something cannot be written; earlier
                checkpoints are untouched.
        """
        path = self.run.path
        folder = path / _CHECKPOINTS
        with writing(path):
            # Resuming from this checkpoint relies on what was written before it.
            for part in (METRICS, DIAGNOSES, _SAMPLES, "."):
                if (path / part).exists():
                    flush(path / part)
            bundle.write(path / GENERATOR, generator, below(tensors, average))
        # After the generator: a run whose last checkpoint is written lacks nothing.
        try:
            saved = checkpoint.save(folder, step, tensors, state, copied=True)
        except CheckpointError:
            with writing(path):  # which says so if the folder has vanished
                raise
        with writing(path):
            prune(folder)
        return saved


def _plain(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: evaluation.plain(score) for name, score in scores.items()}
