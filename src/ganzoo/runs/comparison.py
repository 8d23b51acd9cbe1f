"""Runs side by side: in what their settings differ, and how their scores compare."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from ganzoo import metrics as all_metrics
from ganzoo.config import TrainConfig, defaults, unlike
from ganzoo.errors import ConfigError, GanzooError, RunFolderError, listing
from ganzoo.evaluation import Score, differences
from ganzoo.files.storage import expanded
from ganzoo.generators import bundle, pretrained
from ganzoo.runs.run import BEST, GENERATOR
from ganzoo.runs.scores import Measured, Point, Recorded, comparable
from ganzoo.showing import plots

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Column", "Comparison", "Point", "Row", "TableCell", "compare", "setting"]

_IDENTITY = ("arch", "dataset", "loss")
_NOT_COMPARED = frozenset({"steps", "epochs"})  # the table has a column of steps
_SHOWN = 3  # differences, lines or steps that a message names

Better = Literal["lower", "higher"] | None


@dataclass(frozen=True)
class TableCell:
    """The scores of a row in a column.

    Attributes:
        last: Of the generator that was trained longest.
        best: The best one; None where no direction is the better one.
        protocol: How they were measured, with seed, source and versions of one of them.
        curves: Step and score, in order of the steps, of each run of the row.
    """

    last: Point
    best: Point | None
    protocol: Mapping[str, Any] = field(repr=False)
    curves: tuple[tuple[tuple[int, float], ...], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Column:
    """Scores of one metric that were measured by one protocol.

    Attributes:
        metric: Its name.
        better: Which of two scores is the better one; None where the metric says neither, or is
            not installed.
        detail: How its protocol differs from that of another column of the metric.
    """

    metric: str
    better: Better
    detail: str = ""

    @property
    def title(self) -> str:
        """A unique name."""
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
        settings = ", ".join(setting(key, value) for key, value in self.settings.items())
        return f"{self.name}: {settings}" if settings else self.name


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        columns: One for each metric and protocol.
        rows: What is compared, in the order of the arguments.
        notices: What a person should know, a line each.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notices: tuple[str, ...] = ()

    def leaders(self, column: Column, part: Literal["best", "last"] = "best") -> tuple[str, ...]:
        """Return the names of the rows that have the best score in a column.

        There are none where fewer than two rows have a score, or no direction is the better one.
        """
        cells = {row.name: getattr(row.scores.get(column.title), part, None) for row in self.rows}
        values = {name: point.value for name, point in cells.items() if point is not None}
        if len(values) < 2 or column.better is None:
            return ()
        best = (min if column.better == "lower" else max)(values.values())
        return tuple(name for name, value in values.items() if value == best)

    def plain(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        columns = [
            asdict(column)
            | {"title": column.title, "best": self.leaders(column)}
            | {"best_last": self.leaders(column, "last")}
            for column in self.columns
        ]
        rows = [{**asdict(row), "paths": [str(path) for path in row.paths]} for row in self.rows]
        return {"columns": columns, "runs": rows, "notices": list(self.notices)}

    def plot(self) -> Image:
        """Draw the scores over the training: a panel for each column, a line for each run.

        Raises:
            ConfigError: If there are no scores, or matplotlib is not installed.
        """
        panels = []
        for column in self.columns:
            traces = [
                plots.Trace(number, row.label, curve or ((None, cell.last.value),))
                for number, row in enumerate(self.rows)
                if (cell := row.scores.get(column.title))
                for curve in cell.curves
            ]
            panels.append(plots.Panel(column.title, column.better, traces))
        return plots.scores(panels)


def compare(
    *sources: str | os.PathLike[str],
    metrics: str | Sequence[str] | None = None,
    group_seeds: bool = False,
) -> Comparison:
    """Put runs and saved generators side by side.

    Scores are those of the training, of the best and of the newest generator, and those that
    ``ganzoo evaluate`` wrote. A column has scores of one metric and one protocol, so that all of a
    column are comparable.

    Args:
        sources: Folders of runs or of saved generators, or names of generators that come with
            ganzoo; two at least.
        metrics: Names of the metrics to show; by default all.
        group_seeds: Show runs of one length that differ in their seed only as one row, with the
            mean and standard deviation of their scores.

    Raises:
        ConfigError: If there are fewer than two sources, one is named twice, or none has a score
            of a metric.
        RunFolderError: If there is no run and no generator in a folder.
    """
    folders = [_folder(source) for source in sources]
    if len(folders) < 2:
        raise ConfigError(f"There is nothing to compare with {len(folders)} run: give two or more.")
    read = [Recorded(name, path) for name, path in zip(_names(folders), folders, strict=True)]
    notices = [notice for source in read for notice in source.notices]
    columns: list[Column] = []
    cells: list[dict[str, TableCell]] = [{} for _ in read]
    for name in _selected(metrics, read, notices):
        for column, found in _columns(name, read, notices):
            columns.append(column)
            for number, measured in found.items():
                cells[number][column.title] = _cell(measured, column.better)
    flat = [None if each.settings is None else _flat(each.settings, each.known) for each in read]
    chosen = set().union(*(_chosen(each.settings) for each in read if each.settings))
    keys = [key for key in _differing(flat) if {key[0], _dotted(key)} & chosen]
    rows = [
        Row(
            name=source.name,
            paths=(source.path,),
            settings={_dotted(key): settings[key] for key in keys if settings and key in settings},
            step=source.step,
            total=source.total,
            scores=scores,
        )
        for source, settings, scores in zip(read, flat, cells, strict=True)
    ]
    if group_seeds:
        rows = _grouped(rows, flat)
    return Comparison(tuple(columns), tuple(rows), tuple(dict.fromkeys(notices)))


def setting(key: str, value: Any) -> str:
    """Return a setting and its value as a person reads them: ``loss.margin=0.5``."""
    if isinstance(value, float):
        return f"{key}={value:g}"
    return f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


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
    names = []
    for path in whole:
        length = 2 if path.name in (GENERATOR, BEST) else 1
        while sum(other.parts[-length:] == path.parts[-length:] for other in whole) > 1:
            length += 1
        names.append("/".join(path.parts[-length:]))
    return names


# -- columns --------------------------------------------------------------------------------------


def _selected(
    wanted: str | Sequence[str] | None, sources: Sequence[Recorded], notices: list[str]
) -> list[str]:
    """The names of the metrics to show."""
    known = list(dict.fromkeys(each.metric for source in sources for each in source.measured))
    if wanted is None:
        if not known:
            notices.append(
                "None of these has a score. Measure them with 'ganzoo evaluate', or while training "
                "with the setting evaluate_every."
            )
        return known
    names = list(dict.fromkeys([wanted] if isinstance(wanted, str) else wanted))
    if not names:
        raise ConfigError(f"No metric is given. There are: {listing(known)}.")
    for name in names:
        if name not in known:
            raise ConfigError(
                f"None of these has a score of '{name}'. There are: {listing(known)}. "
                f"'ganzoo evaluate' measures others."
            )
    return names


def _columns(
    name: str, sources: Sequence[Recorded], notices: list[str]
) -> Iterator[tuple[Column, dict[int, Measured]]]:
    """Yield a column for each protocol of a metric, with the scores by number of the source."""
    groups: list[tuple[Score, dict[int, Measured]]] = []
    for number, source in enumerate(sources):
        for measured in source.measured:
            if measured.metric != name:
                continue
            for score, members in groups:
                if comparable(score, measured.score):
                    members[number] = measured
                    break
            else:
                groups.append((measured.score, {number: measured}))
    protocols = [score for score, _ in groups]
    better = _better(name, protocols, notices)
    if any(members.keys() != groups[0][1].keys() for _, members in groups):
        notices.append(
            f"'{name}' was measured by {len(groups)} protocols, each of which has its own column: "
            f"scores of different columns are not comparable. 'ganzoo evaluate' measures all "
            f"by one protocol."
        )
    details = Counter[str]()
    for number, (score, members) in enumerate(groups):
        detail = ""
        if len(groups) > 1:
            detail = _difference(score, protocols[1 if number == 0 else 0])
            details[detail] += 1
            detail += f"; {details[detail]}" if details[detail] > 1 else ""
        yield Column(name, better, detail), members


def _cell(measured: Measured, better: Better) -> TableCell:
    points = sorted(measured.points.values(), key=lambda p: -1 if p.step is None else p.step)
    choose = {"lower": min, "higher": max}.get(better or "")
    return TableCell(
        last=points[-1],
        best=choose(points, key=lambda point: point.value) if choose else None,
        protocol=measured.score.protocol,
        curves=(tuple((p.step, p.value) for p in points if p.step is not None),),
    )


def _better(name: str, protocols: Sequence[Score], notices: list[str]) -> Better:
    provider = protocols[0].protocol.get("provider")
    try:
        registered = all_metrics.registry.get
        return registered(name, provider=provider if isinstance(provider, str) else "").better
    except GanzooError:
        notices.append(
            f"The metric '{name}' is not installed, so it is not known whether lower or higher is "
            f"better: none of its scores is marked."
        )
        return None


def _difference(one: Score, other: Score) -> str:
    """How a protocol differs from another one, in words."""
    if not one.protocol or not other.protocol:
        return "" if one.protocol else "not recorded"
    keys = differences(one, other)
    keys = tuple(key for key in keys if not key.endswith(".sha256")) or keys
    words = [f"{key} {_at(one.protocol, key)}" for key in keys[:_SHOWN]]
    if len(keys) > _SHOWN:
        words.append(f"{len(keys) - _SHOWN} more")
    return ", ".join(words)


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
    """The settings that do not follow from architecture, loss and recipe."""
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


def _differing(flat: Sequence[Mapping[_Key, Any] | None]) -> list[_Key]:
    """The settings in which some of those that have them differ, in their own order."""
    values: dict[_Key, set[str]] = {}
    for settings in flat:
        for key, value in (settings or {}).items():
            values.setdefault(key, set()).add(repr(value))
    return [key for key, found in values.items() if len(found) > 1]


def _dotted(key: _Key) -> str:
    head, _, option = key
    return f"{head}.{option}" if option else head


def _grouped(rows: Sequence[Row], flat: Sequence[Mapping[_Key, Any] | None]) -> list[Row]:
    """Merge rows of runs that differ in nothing but their seed."""
    groups: dict[Any, list[Row]] = {}
    seen = Counter[Any]()  # a seed that comes again begins another group
    for row, settings in zip(rows, flat, strict=True):
        key: Any = row.name
        if settings is not None:
            rest = {key: value for key, value in settings.items() if key != _SEED}
            same = repr((rest, row.step if row.total is None else row.total, list(row.scores)))
            seed = same, settings.get(_SEED)
            key = same, seen[seed]
            seen[seed] += 1
        groups.setdefault(key, []).append(row)
    return [_merged(group) for group in groups.values()]


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
    return Row(
        name=", ".join(row.name for row in rows),
        paths=tuple(path for row in rows for path in row.paths),
        settings={key: value for key, value in rows[0].settings.items() if key != "seed"},
        step=_common([row.step for row in rows]),
        total=_common([row.total for row in rows]),
        scores=scores,
    )


def _mean(points: Sequence[Point]) -> Point:
    values = [point.value for point in points]
    return Point(fmean(values), stdev(values), _common([point.step for point in points]))


def _common(values: Sequence[int | None]) -> int | None:
    return values[0] if len({*values}) == 1 else None
