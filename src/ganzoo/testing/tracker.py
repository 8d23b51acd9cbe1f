"""The check of a tracker."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ganzoo import trackers
from ganzoo.config import resolve
from ganzoo.testing.component import checked, require_no_draws
from ganzoo.training.contract import blaming, describe, require

if TYPE_CHECKING:
    from ganzoo.trackers import Tracker

__all__ = ["check_tracker"]


def check_tracker(component: str | type[Tracker] | Tracker) -> None:
    """Check that a tracker keeps its contract.

    Its log must take rows with columns that come and go, scores, and pictures of all modes; leave
    its arguments unchanged; draw no random numbers of torch's; and open again for a resumed run.

    Args:
        component: The tracker, its class or its registered name. It is opened twice in a
            temporary folder: where it speaks to a service, give options that keep it offline.

    Raises:
        AssertionError: If it breaks the contract.
        GanzooError: If the component cannot be created, or what it needs is absent.
    """
    with checked(component, trackers.registry) as tracker:
        tracker.check()
        with tempfile.TemporaryDirectory(prefix="ganzoo-") as folder, require_no_draws("Logging"):
            for step in (0, 1):
                _check_log(tracker, Path(folder), step)


def _check_log(tracker: Tracker, folder: Path, step: int) -> None:
    """Log two rows and pictures of all modes, from ``step`` on."""
    settings = resolve({"trackers": [tracker]}).dump()
    row = {"epoch": 0.5, "images": 64.0, "d_loss": 1.25, "g_loss": -0.5}
    rows = {step + 1: row, step + 2: {**row, "modes": 8.0}}
    before = copy.deepcopy((settings, rows))
    remedy = "A training begins, in an empty folder; a tracker of a service must be kept offline."
    if step:
        remedy = "A training is resumed: go on after what earlier steps left in the folder."
    with blaming(f"open(folder, settings, step={step})", remedy, own=True):
        log = tracker.open(folder, settings, step)
    require(isinstance(log, trackers.Log), f"open() must return a Log, not {describe(log)}.")
    for number, values in rows.items():
        remedy = "Columns may come and go between rows."
        with blaming(f"scalars({number}, {values})", remedy, own=True):
            log.scalars(number, values)
    with blaming("scores()", "Scores may be of an earlier step than the last row.", own=True):
        log.scores(step + 1, {"fid": 12.5})
    for mode in ("L", "RGB", "RGBA"):
        picture = Image.new(mode, (6, 4), "grey")
        pixels = picture.tobytes()
        with blaming(f"images() of mode {mode}", "Pictures are of mode L, RGB or RGBA.", own=True):
            log.images(step + 2, "samples", picture)
        require(
            picture.tobytes() == pixels,
            "images() changes the picture in place, which other trackers get too; copy it.",
        )
    with blaming("finish()", "It must end the log in any state.", own=True):
        log.finish()
    require(
        (settings, rows) == before,
        "The tracker changes its settings or rows, which other trackers get too; copy them.",
    )
