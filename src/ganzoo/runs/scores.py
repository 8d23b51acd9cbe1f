"""What a run or a saved generator says of itself: settings, length, scores by protocol."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganzoo.config import TrainConfig, resolve, saved_config
from ganzoo.errors import GanzooError, some
from ganzoo.evaluation import Score, measured_as, same_protocol
from ganzoo.generators import bundle
from ganzoo.runs import records
from ganzoo.runs.run import BEST, GENERATOR, METRICS, SCORES

__all__ = ["Measured", "Point", "Recorded", "comparable"]


@dataclass(frozen=True)
class Point:
    """A score of one generator, or the mean over several seeds.

    Attributes:
        value: The score.
        error: Its standard error or spread, as the metric says; over seeds, the standard
            deviation, with N - 1. None if unknown.
        step: Iterations of training; None if unknown or different.
    """

    value: float
    error: float | None = None
    step: int | None = None


@dataclass(eq=False)
class Measured:
    """Scores of one run by one metric and one protocol."""

    metric: str
    score: Score  # one of them, for its protocol
    points: dict[int | None, Point] = field(default_factory=dict)  # by step


@dataclass(eq=False)
class Recorded:
    """A run or a saved generator as its files describe it; damaged ones are left out, noticed.

    Attributes:
        settings: Of its training; None where they cannot be read.
        known: Those of the settings that its files name; the others are defaults.
        step, total: Iterations so far, and iterations that it is to have.
        measured: Its scores, by metric and protocol.
        notices: What could not be read, a line each.
    """

    name: str
    path: Path
    settings: TrainConfig | None = None
    known: frozenset[str] = frozenset(TrainConfig.model_fields)
    step: int | None = None
    total: int | None = None
    measured: list[Measured] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not os.path.lexists(self.path / "config.yaml"):
            self._bundle_settings()
            self.step = self._bundle_scores(self.path)
            return
        self._run_settings()
        self._training_scores()
        for place in (BEST, GENERATOR):
            self._bundle_scores(self.path / place)

    def _run_settings(self) -> None:
        try:
            config = saved_config(self.path / "config.yaml", root=self.path)
        except GanzooError as error:
            self._notice("settings are not compared", error)
            return
        with contextlib.suppress(OSError, ValueError):  # it says what 'auto' was
            precision = records.mapping(self.path / "environment.json").get("precision")
            if config.precision == "auto" and precision in ("fp32", "bf16"):
                config = config.model_copy(update={"precision": precision})
        self.settings, self.total = config, config.steps

    def _bundle_settings(self) -> None:
        """Settings of a saved generator: all, or those that its ``config.json`` has."""
        try:
            settings = None
            with contextlib.suppress(FileNotFoundError):
                settings = records.mapping(self.path / bundle.TRAINING).get("config")
            if not isinstance(settings, dict):
                config = records.mapping(self.path / bundle.CONFIG)
                training = config.get("training")
                pairs = training.items() if isinstance(training, dict) else ()
                settings = {key: value for key, value in pairs if key in TrainConfig.model_fields}
                settings |= {"arch": config["architecture"], "latent": config["latent"]}
            self.known = frozenset(settings)
            self.settings = resolve(settings)
        except KeyError as error:
            self._notice("settings are not compared", f"{bundle.CONFIG} has no {error}")
        except (GanzooError, OSError, ValueError) as error:
            self._notice("settings are not compared", error)

    def _notice(self, fact: str, reason: object) -> None:
        reason = getattr(reason, "strerror", None) or reason
        self.notices.append(f"{self.name}: {fact} ({str(reason).rstrip('.')}).")

    def _skip(self, what: str, reason: object) -> None:
        self._notice(f"not used: {what}", reason)

    def _stored(self, path: Path) -> tuple[int, Mapping[str, Score]]:
        """Read the scores of a file, and their step where it says one."""
        place, step = path.relative_to(self.path).as_posix(), 0
        try:
            if path.name == SCORES:
                step, found, wrong = records.newest_scores(path)
            else:
                found, wrong = records.scores(path)
        except FileNotFoundError:
            return 0, {}
        except (OSError, ValueError) as error:
            self._skip(place, error)
            return 0, {}
        for name, reason in wrong.items():
            self._skip(f"the score '{name:.100}' of {place}", reason)
        return step, found

    def _bundle_scores(self, folder: Path) -> int | None:
        """Add the scores of a saved generator; return the iterations of its training."""
        step = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            step = records.mapping(folder / bundle.CONFIG).get("training", {}).get("steps")
        step = step if records.is_step(step) else None
        for name, score in self._stored(folder / bundle.METRICS)[1].items():
            self._add(name, score, {step: Point(score.value, score.error, step)})
        return step

    def _add(self, name: str, score: Score, points: Mapping[int | None, Point]) -> None:
        for each in self.measured:
            if each.metric == name and comparable(each.score, score):
                each.points |= points
                return
        self.measured.append(Measured(name, score, dict(points)))

    def _training_scores(self) -> None:
        """Add the scores of the training, from ``scores.json`` and rows of ``metrics.jsonl``."""
        last, newest = self._stored(self.path / SCORES)
        points = self._points(newest)
        for name in dict.fromkeys((*newest, *sorted(points))):
            score, scored = newest.get(name), points.get(name, {})
            if score is None:
                score = Score(value=scored[max(scored, key=lambda step: step or 0)].value)
            elif last not in scored or scored[last].value == score.value:
                scored[last] = Point(score.value, score.error, last)  # rows have no error
            self._add(name, score, scored)

    def _points(self, newest: Mapping[str, Score]) -> dict[str, dict[int | None, Point]]:
        """Read scores by metric and step from the rows, and how far the run is."""
        names = {metric.name for metric in getattr(self.settings, "metrics", ())} | {*newest}
        protocols = {name: measured_as(score) for name, score in newest.items()}
        found: dict[str, dict[int | None, Point]] = {}
        skipped: dict[tuple[str, str], list[int]] = {}
        for row in self._rows():
            self.step = max(self.step or 0, row["step"])
            step, measured = row.get("evaluated"), row.get("measured")
            if not records.is_step(step):
                continue
            for name in sorted(names & row.keys()):
                value = _finite(row[name])
                protocol = measured.get(name) if isinstance(measured, dict) else None
                if protocol not in (None, protocols.get(name)):
                    reason = "measured by another protocol than the newest one"
                    skipped.setdefault((name, reason), []).append(step)
                elif value is None:
                    skipped.setdefault((name, "no finite number"), []).append(step)
                else:
                    found.setdefault(name, {})[step] = Point(value, None, step)
        for (name, reason), steps in sorted(skipped.items()):
            self._skip(f"the score '{name}' of {_numbers('step', steps)}", reason)
        return found

    def _rows(self) -> Iterator[dict[str, Any]]:
        damaged = []
        try:
            for number, row in records.rows(self.path / METRICS):
                if isinstance(row, str):
                    damaged.append(number)
                else:
                    yield row
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._skip(METRICS, error)
        if damaged:
            self._skip(f"{_numbers('line', damaged)} of {METRICS}", "damaged")


def _finite(value: Any) -> float | None:
    with contextlib.suppress(OverflowError):  # integers have no limit
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    return None


def _numbers(noun: str, numbers: Sequence[int]) -> str:
    return f"{noun}{'s' * (len(numbers) > 1)} {some(map(str, numbers))}"


def comparable(first: Score, second: Score) -> bool:
    """Whether two scores have the same protocol; without one they are never comparable."""
    return bool(second.protocol) and same_protocol(first, second)
