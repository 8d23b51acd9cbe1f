"""Runs side by side: in what their settings differ, and how their scores compare."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from ganzoo import metrics, pretrained
from ganzoo.config import TrainConfig, defaults, read_config, resolve, unlike
from ganzoo.errors import ConfigError, GanzooError, RunFolderError, listing
from ganzoo.evaluation import Score, differences, measured_as, same_protocol
from ganzoo.files import bounded_json, untrusted
from ganzoo.files.storage import expanded
from ganzoo.generators import bundle
from ganzoo.generators.bundle import SCORED
from ganzoo.runs.run import BEST, GENERATOR, METRICS, SCORES
from ganzoo.showing import plots

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Column", "Comparison", "Point", "Row", "TableCell", "compare", "letter", "setting"]

_EVALUATED = "evaluated"  # the step that the scores of a row belong to
_LONGEST_ROW = 2**20  # bytes
_LARGEST = 2**20  # bytes of scores.json or metrics.json
_IDENTITY = ("arch", "dataset", "loss")
_NOT_COMPARED = frozenset({"steps", "epochs"})  # how far each run came is told besides
_SHOWN = 3  # differences, lines or steps that a message names


@dataclass(frozen=True)
class Point:
    """A score of one generator, or the mean over several seeds.

    Attributes:
        value: The score.
        error: Its standard error or spread, as the metric says; over seeds, the standard
            deviation, with N - 1; None where it is not known.
        step: Iterations that this generator was trained for; None where they are not known or
            differ.
    """

    value: float
    error: float | None = None
    step: int | None = None


@dataclass(frozen=True)
class TableCell:
    """What a run has in a column.

    Attributes:
        last: Of the generator that was trained longest of those with a score.
        best: The best one; None where no direction is the better one.
        protocol: How they were measured.
        alike: Those of a column with the same number were measured alike.
        curves: Step and score, in order of the steps, of each run of the row.
    """

    last: Point
    best: Point | None
    protocol: Mapping[str, Any] = field(repr=False)
    alike: int = 0
    curves: tuple[tuple[tuple[int, float], ...], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Column:
    """Scores of one metric that stand side by side.

    Attributes:
        metric: Its name.
        better: Which of two scores is the better one; None where the metric says neither, or is
            not installed.
        detail: What tells its protocol from that of another column of the metric.
    """

    metric: str
    better: Literal["lower", "higher"] | None
    detail: str = ""

    @property
    def title(self) -> str:
        """What tells it from all other columns."""
        return f"{self.metric} ({self.detail})" if self.detail else self.metric


@dataclass(frozen=True)
class Row:
    """A run, a saved generator, or several runs that differ in their seed only.

    Attributes:
        name: As much of the path as tells it from the others.
        paths: The folders.
        settings: Those in which the rows differ, ``loss.margin`` by its whole name.
        step: Iterations so far.
        total: Iterations that it is to have; None where that is not known.
        scores: By the titles of the columns.
    """

    name: str
    paths: tuple[Path, ...]
    settings: Mapping[str, Any]
    step: int | None
    total: int | None
    scores: Mapping[str, TableCell]

    @property
    def label(self) -> str:
        """Name and settings in one line."""
        told = ", ".join(setting(key, value) for key, value in self.settings.items())
        return f"{self.name}: {told}" if told else self.name


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        columns: What is compared, a column for each metric and each way of measuring it that all
            runs with that metric share.
        rows: What is compared with each other, in the order given.
        notices: What a person should know, a line each.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notices: tuple[str, ...] = ()

    def leaders(self, column: Column, part: Literal["best", "last"] = "best") -> tuple[str, ...]:
        """Return the names of the rows that have the best score in a column.

        There are none where fewer than two rows have one, where they were measured differently, or
        where no direction is the better one.
        """
        cells = {
            row.name: row.scores[column.title] for row in self.rows if column.title in row.scores
        }
        mixed = len({cell.alike for cell in cells.values()}) > 1
        if len(cells) < 2 or mixed or column.better is None:
            return ()
        values = {
            name: point.value
            for name, cell in cells.items()
            if (point := getattr(cell, part)) is not None
        }
        best = (min if column.better == "lower" else max)(values.values())
        return tuple(name for name, value in values.items() if value == best)

    def plain(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {
            "columns": [
                {
                    "title": column.title,
                    "metric": column.metric,
                    "better": column.better,
                    "best": list(self.leaders(column)),
                    "best_last": list(self.leaders(column, "last")),
                }
                for column in self.columns
            ],
            "runs": [
                {
                    "name": row.name,
                    "paths": [str(path) for path in row.paths],
                    "settings": dict(row.settings),
                    "step": row.step,
                    "total": row.total,
                    "scores": {
                        title: {
                            "best": None if found.best is None else vars(found.best),
                            "last": vars(found.last),
                            "alike": found.alike,
                            "protocol": dict(found.protocol),
                        }
                        for title, found in row.scores.items()
                    },
                }
                for row in self.rows
            ],
            "notices": list(self.notices),
        }

    def plot(self) -> Image:
        """Draw the scores over the training: a panel for each column, a line for each run.

        Raises:
            ConfigError: If there are no scores, or matplotlib is not installed.
        """
        panels = []
        for column in self.columns:
            traces = []
            rows = [row for row in self.rows if column.title in row.scores]
            for row in rows:
                number, found = self.rows.index(row), row.scores[column.title]
                curves: Iterable[Sequence[tuple[float | None, float]]] = found.curves
                for curve in [curve for curve in curves if curve] or [[(None, found.last.value)]]:
                    traces.append(plots.Trace(number, row.label, curve))
            mixed = len({row.scores[column.title].alike for row in rows}) > 1
            title = f"{column.title}, measured differently" if mixed else column.title
            panels.append(plots.Panel(title, column.better, traces))
        return plots.scores(panels)


def compare(
    *sources: str | os.PathLike[str],
    metrics: str | Sequence[str] | None = None,
    any_protocol: bool = False,
    group_seeds: bool = False,
) -> Comparison:
    """Put runs and saved generators side by side.

    Scores come from wherever there are some: those measured while training, of the best and of the
    newest generator, and those that ``ganzoo evaluate`` wrote. Scores of a metric stand in one
    column only if they were measured alike; a way of measuring that not all share is left out.

    Args:
        sources: Folders of runs or of saved generators, or names of generators that come with
            ganzoo; two at least.
        metrics: Names of the metrics to show; by default all that one of them has.
        any_protocol: Show scores that were measured differently in one column, marked by
            ``TableCell.alike``, where there is no way of measuring that all share.
        group_seeds: Take runs of one length that differ in nothing but their seed as one row, with
            the mean and standard deviation of their scores.

    Raises:
        ConfigError: If there are fewer than two sources, one is given twice, or the scores of a
            metric were measured differently.
        RunFolderError: If there is no run and no generator in a folder.
    """
    folders = [_folder(source) for source in sources]
    if len(folders) < 2:
        raise ConfigError(f"There is nothing to compare with {len(folders)} run: give two or more.")
    names = _names(folders)
    parts = [_Part.read(name, folder) for name, folder in zip(names, folders, strict=True)]
    notices = [notice for part in parts for notice in part.notices]
    known = list(dict.fromkeys(name for part in parts for name in part.scores))
    chosen = known if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
    if metrics is not None and not chosen:
        raise ConfigError(f"No metric is given. There are: {listing(known)}.")
    chosen = list(dict.fromkeys(chosen))
    for name in chosen:
        if name not in known:
            raise ConfigError(
                f"None of these has a score of '{name}'. There are: {listing(known)}. "
                f"'ganzoo evaluate' measures others."
            )
    if not known:
        notices.append(
            "None of these has a score. Measure them with 'ganzoo evaluate', or while training "
            "with the setting evaluate_every."
        )
    columns: list[Column] = []
    scores: list[dict[str, TableCell]] = [{} for _ in parts]
    for name in chosen:
        for column, cells in _columns(name, parts, any_protocol, notices):
            columns.append(column)
            for number, cell in cells.items():
                scores[number][column.title] = cell
    flat = [None if part.settings is None else _flat(part.settings, part.known) for part in parts]
    own = set().union(*(_chosen(part.settings) for part in parts if part.settings))
    apart = [
        key
        for key in _apart([settings for settings in flat if settings is not None])
        if {key[0], _dotted(key)} & own
    ]
    rows = [
        Row(
            name=part.name,
            paths=(part.path,),
            settings={_dotted(key): settings[key] for key in apart if settings and key in settings},
            step=part.step,
            total=part.total,
            scores=found,
        )
        for part, settings, found in zip(parts, flat, scores, strict=True)
    ]
    if group_seeds:
        rows = _grouped(rows, flat)
    return Comparison(tuple(columns), tuple(rows), tuple(dict.fromkeys(notices)))


def setting(key: str, value: Any) -> str:
    """Return a setting and its value as a person reads them: ``loss.margin=0.5``."""
    if isinstance(value, float):
        return f"{key}={value:g}"
    return f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def letter(alike: int) -> str:
    """Return what marks scores that were measured alike: a, b, ..., z, and numbers after them."""
    return "abcdefghijklmnopqrstuvwxyz"[alike] if alike < 26 else str(alike + 1)


# -- reading --------------------------------------------------------------------------------------


def _folder(source: str | os.PathLike[str]) -> Path:
    text = os.fspath(source)
    with contextlib.suppress(OSError, ValueError):
        folder = expanded(text)
        if any(os.path.lexists(folder / name) for name in ("config.yaml", bundle.CONFIG)):
            return folder
        if not folder.exists() and text in pretrained.names():
            found = pretrained.get(text).folder
            if found is not None:
                return found
    raise RunFolderError(
        f"There is no run and no saved generator at {text}: no config.yaml and no {bundle.CONFIG}. "
        f"Give a folder that 'ganzoo train' named."
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """As much of each path's end as tells it from the others."""
    whole = [Path(os.path.realpath(folder)) for folder in folders]
    for number, path in enumerate(whole):
        if path in whole[:number]:
            raise ConfigError(f"{folders[number]} is given twice; leave it out once.")

    def ending(path: Path, length: int) -> str:
        return "/".join(path.parts[-length:])

    names = []
    for path in whole:
        others = [other for other in whole if other != path]
        length = 2 if path.name in (GENERATOR, BEST) else 1
        while any(ending(path, length) == ending(other, length) for other in others):
            length += 1
        names.append(ending(path, length))
    return names


@dataclass(eq=False)
class _Measured:
    """Scores of one run by one metric that were measured alike."""

    score: Score  # one of them, for its protocol
    points: dict[int | None, Point] = field(default_factory=dict)
    final: bool = False  # whether `ganzoo evaluate` measured one

    @property
    def last(self) -> Point:
        return max(self.points.values(), key=lambda point: -1 if point.step is None else point.step)

    def best(self, better: str | None) -> Point | None:
        if better is None:
            return None
        choose: Callable[..., Point] = min if better == "lower" else max
        return choose(self.points.values(), key=lambda point: point.value)

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        found = ((step, point.value) for step, point in self.points.items() if step is not None)
        return tuple(sorted(found))


@dataclass(eq=False)
class _Part:
    """What the files of a run or a generator say."""

    name: str
    path: Path
    settings: TrainConfig | None = None
    known: frozenset[str] = frozenset(TrainConfig.model_fields)  # of the settings
    step: int | None = None
    total: int | None = None
    scores: dict[str, list[_Measured]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, name: str, folder: Path) -> _Part:
        part = cls(name, folder)
        if not os.path.lexists(folder / "config.yaml"):
            part._saved()
            return part
        try:
            part.settings = resolve(read_config(folder / "config.yaml", root=folder))
            part.total = part.settings.steps
            part._computed_in()
        except GanzooError as error:
            part._unknown(error)
        part._rows(*part._newest())
        for place in (BEST, GENERATOR):
            part._bundle(folder / place)
        return part

    def _computed_in(self) -> None:
        """Say what ``auto`` was, as saved generators do."""
        assert self.settings is not None
        with contextlib.suppress(OSError, ValueError):
            found = self._mapping(self.path / "environment.json").get("precision")
            if self.settings.precision == "auto" and found in ("fp32", "bf16"):
                self.settings = self.settings.model_copy(update={"precision": found})

    def _unknown(self, error: object) -> None:
        self.notices.append(f"{self.name}: settings are not compared ({str(error).rstrip('.')}).")

    def _left_out(self, what: str, reason: object) -> None:
        self.notices.append(f"{self.name}: not used: {what} ({str(reason).rstrip('.')}).")

    def _saved(self) -> None:
        """A generator by itself."""
        try:
            told = self._mapping(self.path / bundle.TRAINING).get("config")
            if not isinstance(told, dict):
                described = self._mapping(self.path / bundle.CONFIG)
                training = described.get("training")
                training = training if isinstance(training, dict) else {}
                known = training.items()
                told = {k: v for k, v in known if k in TrainConfig.model_fields}
                told |= {"arch": described["architecture"], "latent": described["latent"]}
            self.known = frozenset(told)
            self.settings = resolve(told)
        except KeyError as error:
            self._unknown(f"{bundle.CONFIG} has no {error}")
        except (GanzooError, OSError, ValueError) as error:
            self._unknown(error)
        self.step = self._bundle(self.path)

    def _bundle(self, folder: Path) -> int | None:
        """Take in the scores of a saved generator; return the iterations of its training."""
        step = None
        with contextlib.suppress(OSError, ValueError):
            training = self._mapping(folder / bundle.CONFIG).get("training")
            given = training.get("steps") if isinstance(training, dict) else None
            step = given if _is_step(given) else None
        path = folder / bundle.METRICS
        for name, score in self._scores(path, self._content(path)).items():
            point = Point(score.value, score.error, step)
            kept = self._measured(name, score)
            # What the training has written itself into BEST is among its own already.
            kept.final |= folder.name != BEST or not kept.points
            kept.points[step] = point
        return step

    def _measured(self, name: str, score: Score) -> _Measured:
        kept = self.scores.setdefault(name, [])
        for each in kept:
            if _alike(each.score, score):
                return each
        kept.append(_Measured(score))
        return kept[-1]

    def _newest(self) -> tuple[int, dict[str, Score]]:
        """The newest scores of the training, and the step of their generator."""
        content = self._content(self.path / SCORES)
        step, entries = content.get("step"), content.get("scores")
        if _is_step(step) and isinstance(entries, dict):
            return step, self._scores(self.path / SCORES, entries)
        if content:
            self._left_out(SCORES, "it does not say of which step its scores are")
        return 0, {}

    def _rows(self, last: int, newest: Mapping[str, Score]) -> None:
        """Take in ``metrics.jsonl``: how far the run is, and the scores of the training."""
        asked = getattr(self.settings, "metrics", ())
        named = {metric.name for metric in asked} | {*newest}
        ways = {name: measured_as(score) for name, score in newest.items()}
        others: dict[str, list[int]] = {}
        found: dict[str, dict[int | None, Point]] = {}
        wrong: dict[str, list[int]] = {}
        for row in self._lines():
            self.step = max(self.step or 0, row["step"])
            step = row.get(_EVALUATED)
            if not _is_step(step):
                continue
            for name in named & row.keys():
                value, way = _finite(row[name]), row.get("measured")
                if isinstance(way, dict) and way.get(name, ways.get(name)) != ways.get(name):
                    others.setdefault(name, []).append(step)
                elif value is not None:
                    found.setdefault(name, {})[step] = Point(value, None, step)
                else:
                    wrong.setdefault(name, []).append(step)
        for found_so, reason in (
            (wrong, "no finite number"),
            (others, "measured otherwise than the newest one, in what only that one records"),
        ):
            for name, steps in sorted(found_so.items()):
                where = f"step{'s' * (len(steps) > 1)} {_some(steps)}"
                self._left_out(f"the score '{name}' of {where}", reason)
        for name in dict.fromkeys((*newest, *sorted(found))):
            score, points = newest.get(name), found.get(name, {})
            if score is None:
                score = Score(value=points[max(points, key=lambda step: step or 0)].value)
            elif last not in points or points[last].value == score.value:
                points[last] = Point(score.value, score.error, last)  # of which rows have no error
            self._measured(name, score).points |= points

    def _lines(self) -> Iterator[dict[str, Any]]:
        damaged = []
        try:
            with untrusted.opened(self.path / METRICS, self.path) as file:
                lines = iter(lambda: file.readline(_LONGEST_ROW + 1), b"")
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n") and len(line) <= _LONGEST_ROW:
                        break  # it is being written, or a kill cut it short
                    try:
                        row = json.loads(line)
                        if not _is_step(row["step"]):
                            raise ValueError
                    except (ValueError, TypeError, KeyError, RecursionError):
                        damaged.append(number)
                    else:
                        yield row
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._left_out(METRICS, getattr(error, "strerror", None) or error)
        if damaged:
            where = f"line{'s' * (len(damaged) > 1)} {_some(damaged)}"
            self._left_out(f"{where} of {METRICS}", "damaged")

    def _content(self, path: Path) -> dict[str, Any]:
        """A file of scores; nothing where it is none."""
        try:
            return self._mapping(path)
        except (OSError, ValueError) as error:
            place = path.relative_to(self.path).as_posix()
            self._left_out(place, getattr(error, "strerror", None) or error)
            return {}

    def _scores(self, path: Path, entries: Mapping[str, Any]) -> dict[str, Score]:
        """Scores by the names of their metrics; what is none is left out."""
        place = path.relative_to(self.path).as_posix()
        found = {}
        for name, entry in entries.items():
            try:
                if not SCORED.fullmatch(name) or not isinstance(entry, dict):
                    raise ConfigError("it is no score")
                known = {key: entry[key] for key in Score.model_fields if key in entry}
                found[name] = Score(**known)
            except GanzooError as error:
                self._left_out(f"the score '{name:.100}' of {place}", error)
        return found

    @staticmethod
    def _mapping(path: Path) -> dict[str, Any]:
        """A JSON object; an empty one where there is no file."""
        try:
            value = bounded_json.read(path, largest=_LARGEST)
        except FileNotFoundError:
            return {}
        if not isinstance(value, dict):
            raise ValueError("it is no mapping")
        return value


def _is_step(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63


def _finite(value: Any) -> float | None:
    with contextlib.suppress(OverflowError):  # integers have no limit
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    return None


def _some(numbers: Sequence[int]) -> str:
    more = ["..."] if len(numbers) > _SHOWN else []
    return listing([*map(str, numbers[:_SHOWN]), *more])


# -- columns --------------------------------------------------------------------------------------


def _columns(
    name: str, parts: Sequence[_Part], any_protocol: bool, notices: list[str]
) -> Iterator[tuple[Column, dict[int, TableCell]]]:
    """Yield the columns of a metric, with what each part has in it by the part's number."""
    ways: list[Score] = []
    found: dict[int, dict[int, _Measured]] = {}
    for number, part in enumerate(parts):
        for measured in part.scores.get(name, ()):
            way = _way(ways, measured.score)
            found.setdefault(number, {})[way] = measured
    shared = [way for way in range(len(ways)) if all(way in each for each in found.values())]
    better = _better(name, ways, notices)
    if not shared and not any_protocol:
        raise ConfigError(_refusal(name, parts, ways, found))
    if not shared:
        column = Column(name, better)
        picked = {number: _picked(each, found.values()) for number, each in found.items()}
        marks = {way: mark for mark, way in enumerate(dict.fromkeys(picked.values()))}
        first = next(iter(marks))
        for way, mark in list(marks.items())[1:]:
            told = _told(ways[way], ways[first])
            notices.append(f"'{name}' [{letter(mark)}] differs from [{letter(0)}] in {told}.")
        yield (
            column,
            {
                number: _table_cell(found[number][way], better, marks[way])
                for number, way in picked.items()
            },
        )
        return
    details: list[str] = []
    for way in shared:
        others = [ways[other] for other in shared if other != way]
        detail = _told(ways[way], others[0], both=False) if others else ""
        detail = f"{detail}; {letter(len(details))}" if detail in details else detail
        details.append(detail)
        column = Column(name, better, detail)
        yield column, {number: _table_cell(each[way], better) for number, each in found.items()}
    for way in range(len(ways)):
        if way not in shared:
            names = listing(parts[number].name for number, each in found.items() if way in each)
            notices.append(
                f"{names}: scores '{name}' that were measured otherwise than those shown, in "
                f"{_told(ways[way], ways[shared[0]])}, are left out."
            )


def _way(ways: list[Score], score: Score) -> int:
    """The number of a way of measuring."""
    for number, each in enumerate(ways):
        if _alike(each, score):
            return number
    ways.append(score)
    return len(ways) - 1


def _alike(first: Score, second: Score) -> bool:
    """Whether two scores were measured alike; of what is not recorded nobody knows that."""
    return bool(second.protocol) and same_protocol(first, second)


def _picked(mine: Mapping[int, _Measured], all_: Iterable[Mapping[int, _Measured]]) -> int:
    """The way of measuring that most others have too, one of a finished generator before others."""
    all_ = list(all_)
    return max(mine, key=lambda way: (sum(way in each for each in all_), mine[way].final))


def _table_cell(measured: _Measured, better: str | None, alike: int = 0) -> TableCell:
    return TableCell(
        last=measured.last,
        best=measured.best(better),
        protocol=measured.score.protocol,
        alike=alike,
        curves=(measured.curve,),
    )


def _better(
    name: str, ways: Sequence[Score], notices: list[str]
) -> Literal["lower", "higher"] | None:
    provider = next((way.protocol.get("provider") for way in ways), None)
    try:
        cls = metrics.registry.get(name, provider=provider if isinstance(provider, str) else "")
    except GanzooError:
        notices.append(
            f"The metric '{name}' is not installed here, so that nobody knows which of its scores "
            f"is the better one: none is marked."
        )
        return None
    return cls.better


def _refusal(
    name: str,
    parts: Sequence[_Part],
    ways: Sequence[Score],
    found: Mapping[int, Mapping[int, _Measured]],
) -> str:
    first, one = next(iter(found.items()))
    way = next(iter(one))  # which not all have, as none is
    second, other = next((number, each) for number, each in found.items() if way not in each)
    told = _told(ways[way], ways[next(iter(other))])
    return (
        f"The scores '{name}' of {parts[first].name} and {parts[second].name} were measured "
        f"differently, in {told}, and cannot be compared. Measure both alike with 'ganzoo "
        f"evaluate', leave '{name}' out, or show it all the same with --any-protocol "
        f"(any_protocol=True)."
    )


def _told(one: Score, other: Score, *, both: bool = True) -> str:
    """In what two scores were measured differently, in words."""
    if not one.protocol or not other.protocol:
        return "what is not recorded" if both else "not recorded" * (not one.protocol)
    keys = differences(one, other)
    keys = tuple(key for key in keys if not key.endswith(".sha256")) or keys
    words = []
    for key in keys[:_SHOWN]:
        mine, theirs = (_at(score.protocol, key) for score in (one, other))
        words.append(f"{key} {mine}, not {theirs}" if both else f"{key} {mine}")
    if len(keys) > _SHOWN:
        words.append(f"{len(keys) - _SHOWN} more")
    return ("; " if both else ", ").join(words)


def _at(protocol: Mapping[str, Any], key: str) -> str:
    head, _, rest = key.partition(".")
    value = protocol.get(head)
    if rest and isinstance(value, Mapping):
        value = value.get(rest)
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:8]
    if type(value) is int:
        return f"{value:,}"
    return "none" if value is None else f"{value!s:.80}"


# -- settings -------------------------------------------------------------------------------------


_Key = tuple[str, str, str]  # a setting; the component that has the option, and the option
_SEED: _Key = ("seed", "", "")


def _chosen(settings: TrainConfig) -> set[str]:
    """What does not follow from architecture, loss and recipe, which recommend the rest."""
    named: dict[str, Any] = {key: getattr(settings, key).name for key in _IDENTITY}
    recipe = {} if settings.recipe is None else {"recipe": settings.recipe}
    mine = {key: getattr(settings, key) for key in TrainConfig.model_fields}
    try:
        theirs = defaults({**recipe, **named})
    except GanzooError:  # one that has no name here
        return set(mine)
    return {".".join(path) for path, _, _ in unlike(mine, theirs)} | {*_IDENTITY, "recipe"}


def _flat(settings: TrainConfig, known: frozenset[str]) -> dict[_Key, Any]:
    """Settings and options, so that options of different components are not compared."""
    flat: dict[_Key, Any] = {}
    for key, value in settings.dump().items():
        if key in _NOT_COMPARED or key not in known:
            continue
        if not isinstance(value, Mapping):
            flat[key, "", ""] = value
            continue
        name = value.get("name")
        if isinstance(name, str):
            flat[key, "", ""] = name
        for option, item in value.items():
            if option != "name":
                flat[key, name or "", option] = item
    return flat


def _apart(settings: Sequence[Mapping[_Key, Any]]) -> list[_Key]:
    """The settings in which some of those that have them differ, in their own order."""
    keys = dict.fromkeys(key for each in settings for key in each)
    apart = []
    for key in keys:
        values = [each[key] for each in settings if key in each]
        if any(value != values[0] for value in values):
            apart.append(key)
    return apart


def _dotted(key: _Key) -> str:
    head, _, option = key
    return f"{head}.{option}" if option else head


def _grouped(rows: Sequence[Row], flat: Sequence[Mapping[_Key, Any] | None]) -> list[Row]:
    """Rows of which each stands for all runs that differ in nothing but their seed."""
    groups: list[tuple[Any, dict[Any, Row]]] = []  # each by its seeds
    for row, settings in zip(rows, flat, strict=True):
        same, seed = None, None
        if settings is not None:
            seed = settings.get(_SEED)
            rest = {key: value for key, value in settings.items() if key != _SEED}
            length = row.step if row.total is None else row.total
            same = rest, length, {title: found.alike for title, found in row.scores.items()}
        fitting = (rows for key, rows in groups if same and key == same and seed not in rows)
        known = next(fitting, None)
        if known is None:
            groups.append((same, {seed: row}))
        else:
            known[seed] = row
    return [_merged([*group.values()]) for _, group in groups]


def _merged(rows: Sequence[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    scores = {}
    for title, first in rows[0].scores.items():
        found = [row.scores[title] for row in rows]
        best = [cell.best for cell in found if cell.best is not None]
        scores[title] = replace(
            first,
            last=_mean([cell.last for cell in found]),
            best=_mean(best) if best else None,
            curves=tuple(curve for cell in found for curve in cell.curves),
        )
    steps = {row.step for row in rows}
    totals = {row.total for row in rows}
    return Row(
        name=", ".join(row.name for row in rows),
        paths=tuple(path for row in rows for path in row.paths),
        settings={key: value for key, value in rows[0].settings.items() if key != "seed"},
        step=steps.pop() if len(steps) == 1 else None,
        total=totals.pop() if len(totals) == 1 else None,
        scores=scores,
    )


def _mean(points: Sequence[Point]) -> Point:
    values = [point.value for point in points]
    steps = {point.step for point in points}
    return Point(fmean(values), stdev(values), steps.pop() if len(steps) == 1 else None)
