"""Diagrams of trainings, drawn by matplotlib: curves, scores, samples of one or two dimensions."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from torch import Tensor

__all__ = [
    "REMEDY",
    "Judge",
    "Limits",
    "Panel",
    "Trace",
    "available",
    "curves",
    "density",
    "limits_of",
    "scatter",
    "scores",
]

REMEDY = 'pip install "ganzoo[plots]"'
"""How to get matplotlib."""

Judge = Callable[["Tensor"], "Tensor"]
"""What D says of points (M, D): one score each, (M,)."""

Limits = Sequence[tuple[float, float]]
"""Lowest and highest coordinate that is shown, for each axis."""

# Of Okabe and Ito's colours, which differ for every kind of colour vision.
_REAL = "#0072B2"
_GENERATED = "#D55E00"
_JUDGE = "#404040"
_RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")  # of the lines, once all colours are taken

_CURVES = (
    ("loss", {"d_loss": ("discriminator", _JUDGE), "g_loss": ("generator", _GENERATED)}),
    (
        "D's mean score",
        {"d_real": ("real samples", _REAL), "d_fake": ("generated samples", _GENERATED)},
    ),
    (
        "modes covered",
        {"modes": ("modes covered", _REAL), "modes_due": ("with a quarter of their due", _RUNS[4])},
    ),
    (
        "share of samples",
        {"high_quality": ("high quality", _RUNS[2]), "rarest_mode": ("rarest mode", _RUNS[3])},
    ),
)
"""The panels of curves: name, and label and colour of each column of the rows."""

_DPI = 100
_WIDTH = 8.0  # inches
_MARGIN = 0.3  # of the data's span, around them
_BINS = 80
_DOTS = 2000  # of each kind; more hide each other
_QUARTERS = (0, 0.25, 0.5, 0.75, 1)
_ACROSS = 121  # places along an axis where D is asked
_POINTS = 1000  # places along a curve
_LONGEST_LABEL = 110  # characters that fit into a line of the legend
_DECADE = 10.0  # of the largest to the smallest score, from which on the axis is logarithmic


class Trace(NamedTuple):
    """Steps and scores of one run, in order; a score without a step is a level.

    Traces of one number share colour and legend, which says the label.
    """

    number: int
    label: str
    points: Sequence[tuple[float | None, float]]


class Panel(NamedTuple):
    """Scores by one metric; ``better`` is None where neither direction is."""

    title: str
    better: Literal["lower", "higher"] | None
    traces: Sequence[Trace]


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def limits_of(real: Tensor) -> tuple[tuple[float, float], ...]:
    """Return limits, a pair for each axis, that show real samples (N, D) with room around them.

    The same limits for every picture of a training make the pictures comparable.
    """
    values = _points(real, "real", real.shape[1] if real.dim() == 2 else 0)
    limits = []
    for axis in values.T:
        axis = axis[np.isfinite(axis)]
        low, high = (float(axis.min()), float(axis.max())) if len(axis) else (0.0, 0.0)
        room = _MARGIN * (high - low) or 1.0
        limits.append((low - room, high + room))
    return tuple(limits)


def curves(rows: Iterable[Mapping[str, float]], title: str = "") -> Image:
    """Draw how a training went, from the rows of its ``metrics.jsonl``.

    Panels show both nets' losses, D's mean score of real and of generated samples and, if rows have
    ``modes``, the coverage of modes. Measured values are faint; the strong line is their running
    mean over a twentieth of the rows.

    Args:
        rows: With ``step`` and any of ``epoch``, ``d_loss``, ``g_loss``, ``d_real``, ``d_fake``,
            ``modes``, ``modes_due``, ``high_quality`` and ``rarest_mode``.
        title: What is written above; by default how far the training went.

    Raises:
        ConfigError: If there are no rows, or matplotlib is not installed.
    """
    rows = list(rows)
    if not rows:
        raise ConfigError("Curves need at least one row of metrics, and there are none.")
    panels = _CURVES if any("modes" in row for row in rows) else _CURVES[:2]
    figure = _figure(height=1.2 + 1.9 * len(panels))
    column = _stacked(figure, len(panels))
    last = rows[-1]
    epoch = f" (epoch {last['epoch']:,.1f})" if "epoch" in last else ""
    reached = title or f"to step {last['step']:,.0f}{epoch}"
    for axes, (name, lines) in zip(column, panels, strict=True):
        _lines(axes, rows, lines)
        axes.set_ylabel(name)
        _style(axes, "" if axes is not column[0] else reached)
    if all(0 <= row.get(key, 0) <= 1 for row in rows for key in ("d_real", "d_fake")):
        column[1].set_ylim(-0.03, 1.03)
        column[1].axhline(0.5, color="0.75", linewidth=0.8, zorder=0)
    steps = [row["step"] for row in rows]
    if len(set(steps)) > 1:
        column[-1].set_xlim(min(steps), max(steps))
    column[-1].locator_params("x", integer=True)
    return _drawn(figure)


def density(
    real: Tensor,
    fake: Tensor,
    judge: Judge | None = None,
    limits: Limits | None = None,
    title: str = "",
    *,
    probability: bool | None = None,
) -> Image:
    """Draw the densities of real and of generated numbers, and D's score of every number.

    Args:
        real: Real samples (N, 1).
        fake: Generated samples (M, 1).
        judge: D's score of points; it is drawn on the axis at the right.
        limits: What is shown; by default ``limits_of(real)``. The legend says how many samples
            are beyond.
        title: What is written above, such as the step.
        probability: Whether scores are probabilities, in [0, 1], or raw. By default they are
            if all that are drawn lie in [0, 1].

    Raises:
        ConfigError: If samples are not of one dimension, or matplotlib is not installed.
    """
    kinds, ((low, high),) = _kinds(real, fake, limits, 1)
    figure = _figure(height=4.6)
    axes = figure.add_axes((0.08, 0.115, 0.82, 0.8))  # fixed, so that pictures can be compared
    edges = np.linspace(low, high, _BINS + 1)
    tallest = 0.0
    for label, values, colour in kinds:
        counts, _ = np.histogram(values, edges)
        heights = counts / max(1, len(values)) / (edges[1] - edges[0])
        axes.stairs(heights, edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(heights, edges, color=colour, linewidth=1.6, label=label)
        tallest = tallest or float(heights.max())  # of the real ones: the same in every picture
    axes.set(xlim=(low, high), ylim=(0, 1.6 * tallest or 1.0), xlabel="x", ylabel="density")
    handles, _ = axes.get_legend_handles_labels()
    if judge is not None:
        places = torch.linspace(low, high, 4 * _ACROSS)[:, None]
        scores, name, bounded = _judged(judge, places, probability)
        right = axes.twinx()
        handles += right.plot(places[:, 0], scores, color=_JUDGE, linewidth=1.8, label=name)
        right.set_ylabel(name)
        right.spines[["top", "left"]].set_visible(False)
        if bounded:
            right.set_ylim(0, 1.6 / 1.5)  # 1 stays below the edge
            right.set_yticks(_QUARTERS)
            right.axhline(0.5, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
    _style(axes, title, handles)
    return _drawn(figure)


def scatter(
    real: Tensor,
    fake: Tensor,
    judge: Judge | None = None,
    limits: Limits | None = None,
    title: str = "",
    *,
    probability: bool | None = None,
) -> Image:
    """Draw real and generated points over D's score of every place.

    Args are those of ``density``: the first 2,000 of real (N, 2) and of generated samples (M, 2)
    are drawn, and ``judge`` colours the ground.

    Raises:
        ConfigError: If samples are not of two dimensions, or matplotlib is not installed.
    """
    kinds, (across, along) = _kinds(real, fake, limits, 2)
    figure = _figure(height=6.8)
    axes = figure.add_axes((0.08, 0.08, 0.76, 0.86))  # fixed, so that pictures can be compared
    if judge is not None:
        x, y = torch.linspace(*across, _ACROSS), torch.linspace(*along, _ACROSS)
        scores, name, bounded = _judged(judge, torch.cartesian_prod(y, x).flip(1), probability)
        _ground(figure, axes, x, y, scores.reshape(_ACROSS, _ACROSS), name, bounded)
    for label, values, colour in kinds:
        xs, ys = values[:_DOTS].T
        axes.scatter(xs, ys, s=9, color=colour, alpha=0.45, linewidths=0, label=label)
    axes.set(xlim=across, ylim=along, xlabel="x", ylabel="y")
    axes.set_aspect("equal", anchor="W")
    _style(axes, title, grid=False)
    for handle in axes.get_legend().legend_handles:  # type: ignore[union-attr]
        handle.set(alpha=1, sizes=[30])  # type: ignore[union-attr]
    return _drawn(figure)


def scores(panels: Sequence[Panel]) -> Image:
    """Draw scores of several runs over their training, a panel for each metric.

    A dot marks the best score of each run, where a direction is the better one. Distances, of
    which lower is better, have a logarithmic axis where they are all above 0 and the largest is
    ten times the smallest or more.

    Raises:
        ConfigError: If there are no scores, or matplotlib is not installed.
    """
    panels = [panel for panel in panels if any(trace.points for trace in panel.traces)]
    if not panels:
        raise ConfigError("A plot of scores needs at least one score, and there are none.")
    traces = [trace for panel in panels for trace in panel.traces if trace.points]
    labels = {trace.number: " ".join(trace.label.split()) for trace in traces}
    figure = _figure(height=0.3 + 2.6 * len(panels) + 0.22 * len(labels))
    handles: dict[int, Any] = {}
    for axes, panel in zip(_stacked(figure, len(panels)), panels, strict=True):
        for trace in panel.traces:
            if trace.points:
                handles.setdefault(trace.number, _trace(axes, trace, panel.better))
        direction = f", {panel.better} is better" if panel.better else ""
        values = [value for trace in panel.traces for _, value in trace.points]
        if panel.better == "lower" and min(values) > 0 and max(values) >= _DECADE * min(values):
            _logarithmic(axes)
        _style(axes, panel.title + direction, [])
    legend = figure.legend(
        [handles[number] for number in sorted(labels)],
        [_shortened(labels[number]) for number in sorted(labels)],
        loc="outside lower left",
        frameon=False,
        fontsize="small",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names of any script
        return _drawn(figure)


def _trace(axes: Axes, trace: Trace, better: str | None) -> Any:
    """Draw the scores of one run; return what stands for it in a legend."""
    look: dict[str, Any] = {
        "color": _RUNS[trace.number % len(_RUNS)],
        "linestyle": _STYLES[trace.number // len(_RUNS) % len(_STYLES)],
        "linewidth": 1.6,
    }
    placed = np.array([point for point in trace.points if point[0] is not None], dtype=float)
    if len(placed) == 0:
        return axes.axhline(trace.points[-1][1], **{**look, "linewidth": 1.0})
    alone = "o" if len(placed) == 1 else ""
    (line,) = axes.plot(*placed.T, marker=alone, markersize=5, **look)
    if better is not None and not alone:
        at = placed[:, 1].argmin() if better == "lower" else placed[:, 1].argmax()
        axes.plot(*placed[at], marker="o", markersize=5, color=look["color"])
    return line


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 3]}..."


def _ground(
    figure: Figure, axes: Axes, x: Tensor, y: Tensor, scores: Any, name: str, bounded: bool
) -> None:
    """Colour the ground by D's scores: towards the colour of the kind that D takes it for."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    pale = LinearSegmentedColormap.from_list("verdict", ["#F6C29B", "#FFFFFF", "#A5CDE8"])
    if bounded:
        levels = list(np.linspace(0, 1, 11))
    else:
        low, high = float(scores.min()), float(scores.max())
        room = 0.0 if high > low else 1.0
        levels = list(MaxNLocator(10).tick_values(low - room, high + room))
    ground = axes.contourf(x.numpy(), y.numpy(), scores, levels, cmap=pale, zorder=0)
    bar = figure.colorbar(ground, cax=figure.add_axes((0.87, 0.2, 0.025, 0.6)))
    bar.set_label(name)
    bar.outline.set(edgecolor="0.6", linewidth=0.8)
    if bounded:
        bar.set_ticks(_QUARTERS)


def _lines(
    axes: Axes, rows: Sequence[Mapping[str, float]], columns: Mapping[str, tuple[str, str]]
) -> None:
    """Columns of the rows, each with its label and colour: faint, and strong its running mean."""
    usual = []
    for key, (label, colour) in columns.items():
        listed = [(row["step"], row[key]) for row in rows if key in row]
        found = np.array(listed, dtype=float).reshape(-1, 2)
        found = found[np.isfinite(found).all(axis=1)]
        if len(found) == 0:
            continue
        marker = "o" if len(found) == 1 else ""
        axes.plot(*_smoothed(found).T, color=colour, linewidth=1.8, marker=marker, label=label)
        axes.plot(*found.T, color=colour, linewidth=0.8, alpha=0.25, zorder=1)
        usual.extend(np.quantile(found[:, 1], (0.005, 0.995)))
    room = 0.1 * (max(usual) - min(usual)) if usual else 0
    if room:  # a single outlier must not flatten all the rest
        axes.set_ylim(min(usual) - room, max(usual) + room)


def _smoothed(points: Any) -> Any:
    """Running mean of points (N, 2) over a twentieth of them, at about ``_POINTS`` of their places.

    At both ends it is over those that are there.
    """
    count, half = len(points), len(points) // 20 // 2
    places = np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int)
    means = [points[max(0, at - half) : at + half + 1, 1].mean() for at in places]
    return np.column_stack((points[places, 0], means))


def _kinds(
    real: Tensor, fake: Tensor, limits: Limits | None, dimensions: int
) -> tuple[list[tuple[str, Any, str]], tuple[tuple[float, float], ...]]:
    """Label, values (N, D) and colour of both kinds of samples; and the limits of the plot."""
    kinds = (("real", real, _REAL), ("generated", fake, _GENERATED))
    found = [(kind, _points(samples, kind, dimensions), colour) for kind, samples, colour in kinds]
    pairs = tuple((float(low), float(high)) for low, high in limits or limits_of(real))
    if len(pairs) != dimensions or not all(low < high for low, high in pairs):
        raise ConfigError(
            f"The limits of this plot are {dimensions} pair{'s' * (dimensions > 1)} (low, high) "
            f"with low < high, not {limits}."
        )
    low, high = np.array(pairs).T
    labelled = []
    for kind, values, colour in found:
        beyond = 1 - ((low <= values) & (values <= high)).all(axis=1).mean()
        labelled.append((f"{kind} ({beyond:.1%} outside)" if beyond else kind, values, colour))
    return labelled, pairs


def _points(samples: Tensor, kind: str, dimensions: int) -> Any:
    """Samples (N, D) as a float64 array; those that are not finite are out of the picture."""
    if dimensions < 1 or samples.shape[1:] != (dimensions,) or len(samples) == 0:
        raise ConfigError(
            f"The {kind} samples must be a tensor (N, {dimensions or 'D'}) with at least one row "
            f"to be plotted, not {tuple(samples.shape)}."
        )
    values = samples.detach().cpu().double()
    return torch.where(values.isfinite(), values, torch.inf).numpy()


def _judged(judge: Judge, places: Tensor, probability: bool | None) -> tuple[Any, str, bool]:
    """D's scores of places, their name, and whether they are probabilities."""
    with torch.no_grad():
        found = judge(places).detach().cpu().double().reshape(len(places))
    scores = found.nan_to_num(0, 0, 0).numpy()
    if probability is None:
        probability = bool(scores.min() >= 0 and scores.max() <= 1)
    if probability:
        return scores.clip(0, 1), "D's probability of real", True
    return scores, "D's score", False


def _figure(height: float) -> Figure:
    """An empty figure of its own, apart from pyplot's: nothing global, good in any thread."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if available():
            raise
        raise ConfigError(f"Plots need matplotlib, which is not installed: {REMEDY}") from error
    return Figure((_WIDTH, height), dpi=_DPI, facecolor="white")


def _stacked(figure: Figure, count: int) -> Any:
    """Axes below each other, with steps along the last one."""
    figure.set_layout_engine("constrained")
    column = figure.subplots(count, sharex=True, squeeze=False)[:, 0]
    column[-1].set_xlabel("step")
    column[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return column


def _style(
    axes: Axes, title: str, handles: Sequence[Any] | None = None, *, grid: bool = True
) -> None:
    """The looks of all axes: few lines, and a legend in one line above, where it hides nothing."""
    axes.set_title(title, loc="left", fontsize="medium").set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
    if handles is None:
        handles, _ = axes.get_legend_handles_labels()
    if handles:
        above: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "frameon": False}
        axes.legend(handles=handles, ncols=len(handles), borderaxespad=0.1, **above)


def _drawn(figure: Figure) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels[..., :3].copy())
