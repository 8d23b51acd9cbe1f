"""A run: the folder that a training leaves behind."""

from __future__ import annotations

import base64
import contextlib
import functools
import html
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import RunFolderError

if TYPE_CHECKING:
    from PIL.Image import Image

    from ganzoo.generator import Generator
    from ganzoo.train_config import TrainConfig

__all__ = ["Run"]


class Run:
    """A training's folder, open for reading; anyone can read it without ganzoo too.

    ``config.yaml`` (every setting), ``environment.json`` (versions, device, precision),
    ``metrics.jsonl`` (one row of numbers per ``log_every`` iterations), ``samples/`` (pictures
    from one fixed latent), ``checkpoints/`` (to resume from), ``generator/`` (the result) and,
    where asked for, ``snapshots/`` (both nets as they were). At the end there are ``curves.png``
    and, for images, ``comparison.png`` (real beside generated) or, for vectors of one or two
    dimensions, ``animation.gif``.

    Args:
        path: The folder.

    Raises:
        RunFolderError: If there is no run in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
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
        from ganzoo.train_config import read_config, resolve

        return resolve(read_config(self.path / "config.yaml"))

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device and precision."""
        text = (self.path / "environment.json").read_text(encoding="utf-8")
        environment: dict[str, Any] = json.loads(text)
        return environment

    @property
    def history(self) -> list[dict[str, float]]:
        """The rows of ``metrics.jsonl``: means over the iterations since the row before.

        ``step``, ``epoch``, ``images`` (real ones seen), ``d_loss``, ``g_loss``, ``d_real`` and
        ``d_fake`` (D(x) and D(G(z)) as the loss scores them), ``g_lr``, ``d_lr``; and, where the
        modes of the data are known, ``modes``, ``high_quality`` and ``rarest_mode`` at that step.
        """
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        # A line that a full disk or a kill cut off is the last one, and lacks its end.
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def samples(self) -> list[Path]:
        """The pictures, oldest first."""
        return sorted((self.path / "samples").glob("*.png"))

    def curves(self) -> Image:
        """Draw losses, mean scores and, where they are counted, modes covered over the training.

        Raises:
            ConfigError: If matplotlib is not installed, or there are no rows yet.
        """
        from ganzoo import plots

        return plots.curves(self.history)

    @functools.cached_property
    def generator(self) -> Generator:
        """The trained generator, loaded from the folder ``generator``."""
        from ganzoo.generator import Generator

        return Generator.from_pretrained(self.path)

    def _repr_html_(self) -> str:
        rows, pictures = self.history, self.samples
        parts = [f"<p><b>{html.escape(str(self.path))}</b></p>"]
        if pictures:
            data = base64.b64encode(pictures[-1].read_bytes()).decode("ascii")
            parts.append(
                f'<img alt="samples" style="max-width:32em" src="data:image/png;base64,{data}">'
            )
        if rows:
            last = rows[-1]
            cells = "".join(
                f"<tr><th style='text-align:left'>{html.escape(key)}</th><td>{value:.5g}</td></tr>"
                for key, value in last.items()
            )
            parts.append(f"<table>{cells}</table>")
        return f"<div>{''.join(parts)}</div>"


def check_free(path: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        RunFolderError: With what it holds and what to do.
    """
    try:
        holds_run = (path / "config.yaml").exists()
        taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
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


@contextlib.contextmanager
def new_run(path: Path, made: bool = False) -> Iterator[None]:
    """Make the folder of a new run for the block to fill; if that fails, nothing is left of it.

    Args:
        path: The folder; an existing one must be empty.
        made: Whether it exists only because ``next_folder`` has just made it.

    Raises:
        RunFolderError: If the folder holds something, or cannot be written.
    """
    check_free(path)
    existed = path.exists() and not made
    try:
        for part in ("samples", "checkpoints"):
            (path / part).mkdir(parents=True)
        yield
    except OSError as error:
        for left in list(path.iterdir()) if path.is_dir() else ():
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
        if not existed and path.is_dir():
            path.rmdir()
        raise cannot_write(path, error) from error


def next_folder(parent: Path, stem: str) -> Path:
    """Make and return the first of ``stem-1``, ``stem-2``, ... that is not there yet.

    Raises:
        RunFolderError: If it cannot be written.
    """
    for number in itertools.count(1):
        path = parent / f"{stem}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(path, error) from error
        return path
    raise AssertionError  # the numbers do not end


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's errors while writing into a run folder into one of ours."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> RunFolderError:
    """Return the error that says why a run folder cannot be written."""
    return RunFolderError(
        f"The run folder {path} cannot be written ({error.strerror or error}). Free some space "
        f"or choose another folder with --out."
    )
