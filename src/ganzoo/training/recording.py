"""Rows and diagnoses of a run while it is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganzoo.runs.run import DIAGNOSES, METRICS
from ganzoo.training.diagnosis import Diagnoses, Diagnosis

if TYPE_CHECKING:
    from ganzoo.runs.writer import RunWriter
    from ganzoo.training.stage import Stage

__all__ = ["Recorder"]


class Recorder:
    """Writes rows of ``metrics.jsonl``, and what they show to go wrong."""

    def __init__(self, stage: Stage, call: Callable[..., None]) -> None:
        self.stage = stage
        self.call = call
        self.writer: RunWriter
        self.rows: list[dict[str, float]] = []
        self._diagnoses = self._anew()

    def _anew(self) -> Diagnoses:
        stage = self.stage
        count = stage.loader.batches_per_epoch * stage.config.batch_size
        return Diagnoses(stage.config, stage.modes, stage.total_steps, samples=count)

    def read(self, rows: Sequence[dict[str, float]]) -> None:
        """Go on after the rows that a run has."""
        self.rows, self._diagnoses = list(rows), self._anew()
        for row in self.rows:
            if self.whole(int(row["step"])):
                self._diagnoses.see(row)

    def whole(self, step: int) -> bool:
        """Return whether the row of that step covers a whole interval; the last one may not."""
        return step % self.stage.config.log_every == 0

    def log(self) -> None:
        """Write the means since the last row, and what is measured at this step.

        Raises:
            DivergenceError: If a number is not finite.
        """
        stage, whole = self.stage, self.whole(self.stage.step)
        head = {"step": stage.step, "epoch": stage.loader.epoch, "images": stage.loader.drawn}
        row = stage.accumulator.row(head, stage.visualizer.scores, whole=whole)
        if row is None:
            raise stage.divergence()
        self.writer.append(METRICS, row)
        self.rows.append(row)
        self.call("on_log", row)
        for diagnosis in self._diagnoses.see(row) if whole else ():
            self._diagnose(diagnosis)

    def diagnose(self, step: int, kind: str, text: str) -> None:
        """Write something that goes wrong."""
        self._diagnose(Diagnosis(step, kind, text))

    def _diagnose(self, diagnosis: Diagnosis) -> None:
        self.writer.append(DIAGNOSES, dataclasses.asdict(diagnosis))
        self.call("on_diagnosis", diagnosis)

    def said(self, text: str) -> bool:
        """Return whether the run has a diagnosis with that text."""
        found: Sequence[Mapping[str, Any]] = self.writer.run.diagnoses
        return any(each.get("text") == text for each in found)
