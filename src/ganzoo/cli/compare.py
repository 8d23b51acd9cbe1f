"""``ganzoo compare``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo.errors import ConfigError, plain
from ganzoo.files.storage import expanded, new_file

if TYPE_CHECKING:
    from ganzoo.runs.comparison import Column, Comparison, Row, TableCell

__all__ = ["compare"]

Switch = Annotated[bool, Parameter(negative=())]

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_WIDE = 10_000  # columns of what is no terminal: each run is one line there


def compare(
    *runs: str,
    metrics: str | None = None,
    plot: Path | None = None,
    any_protocol: Switch = False,
    group_seeds: Switch = False,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Compare runs: what their settings differ in, how far they are, their scores.

    Args:
        runs: folders of runs or of saved generators, two or more
        metrics: names of the metrics to show with commas between; by default all that there are
        plot: picture to draw the scores over the training into, such as scores.png; one that is
            there is replaced
        any_protocol: show scores that were measured differently in one column, with a letter each
        group_seeds: take runs that differ in their seed only as one, with mean and deviation
        json_: print everything as JSON, and nothing else
    """
    from ganzoo.runs import comparison
    from ganzoo.showing import plots

    plot = None if plot is None else expanded(plot)
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise ConfigError(f"Cannot draw into {plot}: give a name ending in {', '.join(_PICTURES)}.")
    found = comparison.compare(
        *runs,
        metrics=None if metrics is None else [n.strip() for n in metrics.split(",") if n.strip()],
        any_protocol=any_protocol,
        group_seeds=group_seeds,
    )
    notices = list(found.notices)
    drawn = None
    if plot is not None and not found.columns:
        notices.append(f"{plot} is not drawn, for there are no scores.")
    elif plot is not None and not plots.available():
        notices.append(f"{plot} is not drawn: plots need matplotlib. {plots.REMEDY}")
    elif plot is not None:
        drawn = plot
        _draw(found, plot)
    if json_:
        sys.stdout.write(json.dumps(found.plain(), indent=2, allow_nan=False) + "\n")
        for notice in notices[len(found.notices) :]:
            _note(notice, stderr=True)
        return
    _show(found)
    for notice in notices:
        _note(notice)
    if drawn is not None:
        Console(soft_wrap=True, highlight=False).print(f"plot: {plain(str(drawn))}", markup=False)


def _note(notice: str, *, stderr: bool = False) -> None:
    console = Console(stderr=stderr, soft_wrap=True, highlight=False)
    console.print(f"note: {plain(notice)}", markup=False, style="yellow")


def _draw(found: Comparison, target: Path) -> None:
    """Write the picture, which replaces an older one when it is whole."""
    from PIL import Image

    picture = found.plot()
    try:
        with new_file(target) as fresh:
            picture.save(fresh, Image.registered_extensions()[target.suffix.lower()])
    except OSError as error:
        raise ConfigError(
            f"Cannot write {target} ({error.strerror or error}). Choose another --plot."
        ) from error


def _show(found: Comparison) -> None:
    from ganzoo.generators import card
    from ganzoo.runs.comparison import letter

    console = Console(highlight=False, soft_wrap=True)
    wide = console if console.is_terminal else Console(highlight=False, width=_WIDE)
    table = Table(box=None, header_style="bold", pad_edge=False)
    told = any(row.settings for row in found.rows)
    table.add_column("run")
    if told:
        table.add_column("settings")
    table.add_column("steps", justify="right")
    cells = [
        [Text(plain(text)) for text in (row.name, *([_settings(row)] if told else []), _steps(row))]
        for row in found.rows
    ]
    lines = []
    for column in found.columns:
        table_cells = {
            row.name: row.scores[column.title] for row in found.rows if column.title in row.scores
        }
        ways = {table_cell.alike: table_cell.protocol for table_cell in table_cells.values()}
        for part, header in _parts(column, list(table_cells.values())):
            table.add_column(Text(plain(header)), justify="right")
            leaders = found.leaders(column, part)
            for row, line in zip(found.rows, cells, strict=True):
                leads, mixed = row.name in leaders, len(ways) > 1
                line.append(_cell(table_cells.get(row.name), row, part, leads=leads, mixed=mixed))
        better = f"{column.better} is better" if column.better else "none is marked as the best"
        for alike, protocol in ways.items():
            mark = f" [{letter(alike)}]" if len(ways) > 1 else ""
            lines.append(f"{column.title}{mark}: {better}; {card.measured(protocol)}")
    for line in cells:
        table.add_row(*line)
    wide.print(table)
    if any(found.leaders(column) for column in found.columns):
        console.print("* the best of its column")
    for text in lines:
        console.print(plain(text), markup=False)


def _parts(
    column: Column, table_cells: Sequence[TableCell]
) -> list[tuple[Literal["best", "last"], str]]:
    """The best and the last scores, or one column where they are the same."""
    if all(table_cell.best is None for table_cell in table_cells):
        return [("last", column.title)]
    if all(table_cell.best == table_cell.last for table_cell in table_cells):
        return [("best", column.title)]
    return [("best", f"{column.title}, best"), ("last", f"{column.title}, last")]


def _cell(
    table_cell: TableCell | None,
    row: Row,
    part: Literal["best", "last"],
    *,
    leads: bool,
    mixed: bool,
) -> Text:
    """A score: value, error, the step if it is not the run's last one, and marks."""
    from ganzoo.runs.comparison import letter

    point = None if table_cell is None else getattr(table_cell, part)
    if table_cell is None or point is None:
        return Text("-", style="dim")
    error = "" if point.error is None else f" ± {point.error:.2g}"
    step = "" if point.step in (None, row.step) else f" @ {point.step:,}"
    mark = f" [{letter(table_cell.alike)}]" if mixed else ""
    return Text(f"{point.value:.5g}{error}{step}{mark}{' *' * leads}", style="bold" * leads)


def _settings(row: Row) -> str:
    from ganzoo.runs.comparison import setting

    return ", ".join(setting(key, value) for key, value in row.settings.items())


def _steps(row: Row) -> str:
    if row.step is None:
        return "-"
    left = row.total is not None and row.total > row.step
    return f"{row.step:,} of {row.total:,}" if left else f"{row.step:,}"
