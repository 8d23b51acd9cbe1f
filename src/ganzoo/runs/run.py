"""A run: the folder that a training leaves behind."""

from __future__ import annotations

import base64
import contextlib
import html
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import RunFolderError
from ganzoo.files import checkpoint
from ganzoo.files.lock import LOCK, OWNER
from ganzoo.files.storage import (
    clean_partial_writes,
    expanded,
    flush,
    is_partial_write,
    make,
    remove,
    state_of,
    write_text,
)
from ganzoo.generators import bundle
from ganzoo.runs import records

if TYPE_CHECKING:
    from PIL.Image import Image

    from ganzoo.config import TrainConfig
    from ganzoo.generators.generator import Generator

__all__ = ["Run"]

METRICS, DIAGNOSES = "metrics.jsonl", "diagnoses.jsonl"
COMPARISON, CURVES, ANIMATION = "comparison.png", "curves.png", "animation.gif"
GENERATOR, BEST = "generator", "best"
SCORES = "scores.json"
PARTS = ("", "checkpoints", "snapshots", "samples", GENERATOR, BEST)
"""Folders that hold files; the first is the run's own."""


class Run:
    """A training's folder, open for reading; anyone can read it without ganzoo too.

    ``config.yaml`` (every setting), ``environment.json`` (versions, device, precision),
    ``metrics.jsonl`` (one row of numbers per ``log_every`` iterations), ``samples/`` (pictures
    from one fixed latent), ``checkpoints/`` (to resume from), ``generator/`` (the result),
    ``diagnoses.jsonl`` (what went wrong, in words, if anything did) and, where asked for,
    ``snapshots/`` (both nets as they were), ``best/`` (the generator with the best score) and
    ``scores.json`` (the newest scores, with their protocols). At the end there are ``curves.png``
    and, for images, ``comparison.png`` (real and generated) or, for vectors of one or two
    dimensions, ``animation.gif``.

    Args:
        path: The folder.

    Raises:
        RunFolderError: If there is no run in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self._generator: tuple[tuple[int, ...] | None, Generator] | None = None
        if not self.path.is_dir():
            raise RunFolderError(f"There is no folder {self.path}. Give the folder of a run.")
        if not (self.path / "config.yaml").is_file():
            raise RunFolderError(
                f"{self.path} is not a run: it has no config.yaml. Give the folder that "
                f"'ganzoo train' named."
            )

    def __repr__(self) -> str:
        rows = self.history
        return f"Run({self.path}, step {int(rows[-1]['step']) if rows else 0})"

    @property
    def config(self) -> TrainConfig:
        """The settings it was trained with."""
        from ganzoo.config import saved_config

        return saved_config(self.path / "config.yaml")

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device and precision.

        Raises:
            RunFolderError: If they cannot be read; nothing else depends on them.
        """
        path = self.path / "environment.json"
        try:
            return records.mapping(path)
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{path} cannot be read ({error}). Nothing depends on it; resuming writes it anew."
            ) from None

    @property
    def history(self) -> list[dict[str, float]]:
        """The rows of ``metrics.jsonl``: means over the iterations since the row before.

        ``step``, ``epoch``, ``images`` (real ones seen), ``d_loss``, ``g_loss``, ``d_real`` and
        ``d_fake`` (D(x) and D(G(z)) as the loss scores them), ``d_grad`` and ``g_grad``
        (Euclidean norms of the nets' gradients, before clipping), ``g_lr``, ``d_lr``. At that step
        itself: ``diversity`` (mean distance between two generated samples of the batch, as a
        multiple of that between two real ones) and, where the modes of the data are known,
        ``modes``, ``modes_due``, ``high_quality`` and ``rarest_mode``. With
        ``nan_policy="skip"``: ``skipped`` (updates left out so far).
        """
        return [row for row in _lines(self.path / METRICS) if _of_training(row)]

    @property
    def scores(self) -> list[dict[str, float]]:
        """What was scored while training, oldest first: ``step``, and each metric's value.

        Where several averages are scored, ``average`` is the label of the best one, and
        ``METRIC_average_LABEL`` the value of each. They are rows of ``metrics.jsonl`` too;
        ``scores.json`` has the newest with protocols.
        """
        found = [row for row in _lines(self.path / METRICS) if not _of_training(row)]
        for row in found:
            del row["evaluated"]
            row.pop("measured", None)
        return sorted(found, key=lambda row: row["step"])

    @property
    def best(self) -> Generator:
        """The generator with the best score so far, loaded from the folder ``best``.

        Raises:
            BundleError: If there is none, as nothing was scored, or it is damaged.
        """
        from ganzoo.generators.generator import Generator

        return Generator.from_pretrained(self.path / BEST)

    @property
    def diagnoses(self) -> list[dict[str, Any]]:
        """What went wrong, in words, as it was noticed: ``step``, ``kind`` and ``text``."""
        return _lines(self.path / DIAGNOSES)

    @property
    def samples(self) -> list[Path]:
        """The pictures, oldest first."""
        return sorted((self.path / "samples").glob("*.png"))

    def rewind(
        self,
        step: int,
        whole: Callable[[int], bool],
        pictured: Callable[[int], bool],
        evaluated: int = 0,
    ) -> None:
        """Remove everything of later steps, so that training can continue from this one.

        Args:
            step: Iterations finished.
            whole: Whether the row of a step covers a whole interval; another one, of where the
                training was left, is going to be completed.
            pictured: Whether a step's picture belongs to the schedule.
            evaluated: Step of the newest scores that are known.
        """
        for name in (METRICS, DIAGNOSES):
            rows = [row for row in _lines(self.path / name) if row["step"] <= step]
            rows = [
                row
                for row in rows
                if (
                    row["step"] <= evaluated
                    if not _of_training(row) or row.get("kind") in ("score", "patience")
                    else name == DIAGNOSES or whole(row["step"])
                )
            ]
            if rows or (self.path / name).exists():
                lines = (json.dumps(row) + "\n" for row in rows)
                write_text(self.path / name, "".join(lines))
        if _scored_at(self.path / SCORES) > evaluated:
            (self.path / SCORES).unlink()
        for picture in self.samples:
            when = numbered(picture.stem)
            if when is not None and (when > step or not pictured(when)):
                picture.unlink()
        for snapshot in (self.path / "snapshots").glob("step-*"):
            if (numbered(snapshot.name) or 0) > step:
                remove(snapshot)
        for later in checkpoint.after(self.path / "checkpoints", step):
            remove(later)
        summaries = [
            f"{GENERATOR}/{name}" for name in (bundle.TRAINING, bundle.SAMPLES, bundle.CURVES)
        ]
        for summary in (COMPARISON, CURVES, ANIMATION, *summaries):
            (self.path / summary).unlink(missing_ok=True)

    def clean_partial_writes(self) -> list[str]:
        """Clear away what writes that a kill cut short have left; say what was done."""
        return [line for part in PARTS for line in clean_partial_writes(self.path / part)]

    def curves(self) -> Image:
        """Draw losses, mean scores and, where they are counted, modes covered over the training.

        Raises:
            ConfigError: If matplotlib is not installed, or there are no rows yet.
        """
        from ganzoo.showing import plots

        return plots.curves(self.history)

    @property
    def generator(self) -> Generator:
        """The trained generator, loaded from the folder ``generator``.

        The same object until the training saves another one there.

        Raises:
            BundleError: If none was saved yet, or it is damaged.
        """
        from ganzoo.generators.generator import Generator

        before = state_of(self.path / GENERATOR)
        if self._generator is None or self._generator[0] != before:
            self._generator = before, Generator.from_pretrained(self.path)
        return self._generator[1]

    def _repr_html_(self) -> str:
        rows, pictures = self.history, self.samples
        text = f"<p><b>{html.escape(str(self.path))}</b></p>"
        if pictures:
            data = base64.b64encode(pictures[-1].read_bytes()).decode("ascii")
            text += f'<img alt="samples" style="max-width:32em" src="data:image/png;base64,{data}">'
        if rows:
            cells = (
                f"<tr><th style='text-align:left'>{html.escape(key)}</th><td>{value:.5g}</td></tr>"
                for key, value in rows[-1].items()
            )
            text += f"<table>{''.join(cells)}</table>"
        return f"<div>{text}</div>"


def check_free(path: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        RunFolderError: If it does, or cannot be read.
    """
    try:
        holds_run = (path / "config.yaml").exists()
        taken = path.exists() and (not path.is_dir() or any(map(_matters, path.iterdir())))
    except OSError as error:
        raise cannot_write(path, error) from error
    if holds_run:
        raise RunFolderError(
            f"{path} already holds a run. Continue it with 'ganzoo resume {path}' or choose "
            f"another folder with --out."
        )
    if taken:
        raise RunFolderError(
            f"{path} already exists and is not an empty folder. Choose another one with --out."
        )


def make_folder(path: Path) -> None:
    """Make the folder of a new run, unless an empty one is there; raises as ``check_free``."""
    check_free(path)
    try:
        make(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def next_folder(parent: Path, stem: str) -> Path:
    """Make and return the first of ``stem-1``, ``stem-2``, ... that is not there yet.

    Raises:
        RunFolderError: If it cannot be written.
    """
    for number in itertools.count(1):
        path = parent / f"{stem}-{number}"
        try:
            make(parent)
            path.mkdir()
            flush(parent)
        except FileExistsError:
            if not parent.is_dir():
                raise cannot_write(parent, NotADirectoryError(f"{parent} is a file")) from None
            continue
        except OSError as error:
            raise cannot_write(path, error) from error
        return path
    raise AssertionError  # the numbers do not end


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's errors while writing into a run folder into one of ours.

    Raises:
        RunFolderError: If the folder has vanished, or cannot be written.
    """
    if not (path / "config.yaml").is_file():
        raise RunFolderError(
            f"The run folder {path} has vanished, or its config.yaml: it was moved or deleted "
            f"during the training. Put it back and resume, or train again."
        )
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> RunFolderError:
    """Return the error that says why a run folder cannot be written."""
    return RunFolderError(
        f"The run folder {path} cannot be written ({error.strerror or error}). Free some space "
        f"or use another folder."
    )


def _matters(path: Path) -> bool:
    """Whether a file is more than what a start that was killed at once leaves."""
    return path.name not in (LOCK, OWNER) and not is_partial_write(path)


def _of_training(row: Mapping[str, Any]) -> bool:
    """Whether a row of ``metrics.jsonl`` is of the training itself, not of scores."""
    return "evaluated" not in row


def _scored_at(path: Path) -> float:
    """The step of ``scores.json``; 0 if there is none, and infinity if it is damaged."""
    try:
        return records.newest_scores(path)[0] if path.is_file() else 0
    except (OSError, ValueError):
        return math.inf


def _lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; none if it is absent."""
    if not path.is_file():
        return []
    found = []
    try:
        for number, row in records.rows(path):
            if isinstance(row, str):
                raise RunFolderError(
                    f"Line {number} of {path} is damaged: it {row}. Remove that line; other rows "
                    f"and checkpoints do not depend on it."
                )
            found.append(row)
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read ({error}).") from error
    return found


def numbered(name: str) -> int | None:
    """The step in ``step-00000150``; None in what is no such name."""
    digits = name.removeprefix("step-")
    return int(digits) if digits != name and digits.isdecimal() else None
