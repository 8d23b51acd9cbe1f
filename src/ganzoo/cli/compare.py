"""``ganzoo compare``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo.errors import ConfigError, plain
from ganzoo.files.storage import expanded, new_file

if TYPE_CHECKING:
    from ganzoo.runs.comparison import Column, Comparison, Row

__all__ = ["compare"]

Switch = Annotated[bool, Parameter(negative=())]

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_WIDE = 10_000  # columns where the output is not a terminal: each run is one line there


def compare(
    *runs: str,
    metrics: str | None = None,
    plot: Path | None = None,
    group_seeds: Switch = False,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Compare runs: the settings that differ, their steps, their scores.

    Args:
        runs: folders of runs or of saved generators, two or more
        metrics: names of the metrics to show with commas between; by default all that there are
        plot: picture to draw the scores over the training into, such as scores.png; one that is
            there is replaced
        group_seeds: show runs that differ in their seed only as one, with mean and deviation
        json_: print everything as JSON, and nothing else
    """
    from ganzoo.runs import comparison
    from ganzoo.showing import plots

    plot = None if plot is None else expanded(plot)
    if plot is not None and plot.suffix.lower() not in _FORMATS:
        raise ConfigError(f"Cannot draw into {plot}: give a name ending in {', '.join(_FORMATS)}.")
    found = comparison.compare(
        *runs,
        metrics=None if metrics is None else [n.strip() for n in metrics.split(",") if n.strip()],
        group_seeds=group_seeds,
    )
    missing = "" if found.columns else "there are no scores"
    if not missing and not plots.available():
        missing = f"plots need matplotlib. {plots.REMEDY}"
    if plot is not None and not missing:
        _draw(found, plot)
    if json_:
        sys.stdout.write(json.dumps(found.plain(), indent=2, allow_nan=False) + "\n")
    else:
        _show(found)
        for notice in found.notices:
            _note(notice)
    if plot is not None and missing:
        _note(f"{plot} is not drawn: {missing}", stderr=json_)
    elif plot is not None and not json_:
        Console(soft_wrap=True, highlight=False).print(f"plot: {plain(str(plot))}", markup=False)


def _note(notice: str, *, stderr: bool = False) -> None:
    console = Console(stderr=stderr, soft_wrap=True, highlight=False)
    console.print(f"note: {plain(notice)}", markup=False, style="yellow")


def _draw(found: Comparison, target: Path) -> None:
    picture = found.plot()
    try:
        with new_file(target) as fresh:
            picture.save(fresh, _FORMATS[target.suffix.lower()])
    except OSError as error:
        raise ConfigError(
            f"Cannot write {target} ({error.strerror or error}). Choose another --plot."
        ) from error


def _show(found: Comparison) -> None:
    from ganzoo.generators import protocols as worded

    console = Console(highlight=False, soft_wrap=True)
    wide = console if console.is_terminal else Console(highlight=False, width=_WIDE)
    table = Table(box=None, header_style="bold", pad_edge=False)
    settings = any(row.settings for row in found.rows)
    for name in ("run", *["settings"] * settings, "steps"):
        table.add_column(name, justify="right" if name == "steps" else "left")
    texts = [
        [Text(plain(each)) for each in (row.name, *[_settings(row)] * settings, _steps(row))]
        for row in found.rows
    ]
    legend = []
    for column in found.columns:
        protocols = [
            r.scores[column.title].protocol for r in found.rows if column.title in r.scores
        ]
        for part, header in _parts(found, column):
            table.add_column(Text(plain(header)), justify="right")
            leaders = found.leaders(column, part)
            for row, line in zip(found.rows, texts, strict=True):
                line.append(_cell(row, column, part, leads=row.name in leaders))
        better = f"{column.better} is better" if column.better else "none is marked as the best"
        legend.append(f"{column.title}: {better}; {worded.described(protocols[0])}")
    for line in texts:
        table.add_row(*line)
    wide.print(table)
    if any(found.leaders(column) for column in found.columns):
        console.print("* the best of its column")
    for text in legend:
        console.print(plain(text), markup=False)


def _parts(found: Comparison, column: Column) -> list[tuple[Literal["best", "last"], str]]:
    """The best and the last scores, or one column where they are the same."""
    cells = [row.scores[column.title] for row in found.rows if column.title in row.scores]
    if column.better is None:
        return [("last", column.title)]
    if all(cell.best == cell.last for cell in cells):
        return [("best", column.title)]
    return [("best", f"{column.title}, best"), ("last", f"{column.title}, last")]


def _cell(row: Row, column: Column, part: Literal["best", "last"], *, leads: bool) -> Text:
    """A score: value, error, the step if it is not the run's last one, and a mark."""
    cell = row.scores.get(column.title)
    point = None if cell is None else getattr(cell, part)
    if point is None:
        return Text("-", style="dim")
    error = "" if point.error is None else f" ± {point.error:.2g}"
    step = "" if point.step in (None, row.step) else f" @ {point.step:,}"
    return Text(f"{point.value:.5g}{error}{step}{' *' * leads}", style="bold" * leads)


def _settings(row: Row) -> str:
    from ganzoo.runs.comparison import setting

    return ", ".join(setting(key, value) for key, value in row.settings.items())


def _steps(row: Row) -> str:
    if row.step is None:
        return "-"
    left = row.total is not None and row.total > row.step
    return f"{row.step:,} of {row.total:,}" if left else f"{row.step:,}"
