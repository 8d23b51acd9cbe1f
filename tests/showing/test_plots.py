from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from ganzoo.errors import ConfigError
from ganzoo.showing import plots

pytest.importorskip("matplotlib")

REAL = (0, 114, 178)
GENERATED = (213, 94, 0)


def rows(count: int, coverage: bool = False) -> list[dict[str, float]]:
    generator = np.random.default_rng(0)
    made = []
    for number in range(1, count + 1):
        row = {"step": 20 * number, "epoch": number / 8}
        row |= {"d_loss": 1 + generator.normal() / 9, "g_loss": 2 + generator.normal() / 9}
        row |= {"d_real": 0.7 + generator.random() / 9, "d_fake": 0.2 + generator.random() / 9}
        if coverage:
            row |= {"modes": 1 + number // 3, "modes_due": 1}
            row |= {"high_quality": 0.9, "rarest_mode": 0.25}
        made.append(row)
    return made


def points(count: int = 500, dimensions: int = 2) -> torch.Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(count))


def logistic(places: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(places[:, 0])


@pytest.fixture
def figure(monkeypatch):
    """Draws like ``plots`` and returns what was drawn: matplotlib's figure."""
    drawn = plots._drawn
    figures = []

    def keep(figure):
        figures.append(figure)
        return drawn(figure)

    monkeypatch.setattr(plots, "_drawn", keep)

    def draw(function, *arguments, **options):
        function(*arguments, **options)
        return figures.pop()

    return draw


def lines(axes) -> dict[str, np.ndarray]:
    """The curves of the legend by name, (N, 2); what is faint has no name."""
    return {
        line.get_label(): line.get_xydata()
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


def named(figure) -> list[str]:
    found = [axes.get_legend() for axes in figure.axes]
    return [text.get_text() for legend in found if legend for text in legend.get_texts()]


def shows(picture, colour) -> int:
    """How many pixels have about that colour."""
    away = np.abs(np.asarray(picture).astype(int) - colour).max(axis=2)
    return int((away < 40).sum())


DRAWN = {
    "curves": lambda: plots.curves(rows(50)),
    "density": lambda: plots.density(points(500, 1), points(400, 1), logistic),
    "scatter": lambda: plots.scatter(points(500), points(400), logistic),
}
each = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN.keys())


# -- all of them ----------------------------------------------------------------------------------


@each
def test_pictures(draw) -> None:
    picture = draw()
    assert picture.mode == "RGB"
    assert picture.width == 800 and 400 <= picture.height <= 800
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert shows(picture, REAL) > 30 and shows(picture, GENERATED) > 30


@each
def test_the_same_every_time_and_in_any_thread(draw) -> None:
    expected = draw().tobytes()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: draw().tobytes(), range(4)))
    assert found == [expected] * 4


def test_nothing_global_is_touched() -> None:
    program = """
import sys, torch
from ganzoo.showing import plots
assert plots.available()
assert "matplotlib" not in sys.modules
state = torch.get_rng_state()
plots.curves([{"step": 1, "d_loss": 1.0, "g_loss": 1.0, "d_real": 0.5, "d_fake": 0.5}])
plots.scatter(torch.ones(2, 2), torch.ones(2, 2), lambda places: places[:, 0])
assert "matplotlib.pyplot" not in sys.modules
assert torch.equal(torch.get_rng_state(), state)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


@each
def test_without_matplotlib(draw, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    assert not plots.available()
    with pytest.raises(ConfigError) as caught:
        draw()
    assert str(caught.value) == (
        'Plots need matplotlib, which is not installed: pip install "ganzoo[plots]"'
    )


# -- curves ---------------------------------------------------------------------------------------


def test_panels_and_words(figure) -> None:
    losses, scores = figure(plots.curves, rows(50)).axes
    assert (losses.get_ylabel(), scores.get_ylabel()) == ("loss", "D's mean score")
    assert scores.get_xlabel() == "step"
    assert losses.get_title("left") == "to step 1,000 (epoch 6.2)"
    assert list(lines(losses)) == ["discriminator", "generator"]
    assert list(lines(scores)) == ["real samples", "generated samples"]
    assert scores.get_xlim() == (20, 1000)
    assert scores.get_ylim() == (-0.03, 1.03)


def test_the_strong_line_is_the_running_mean(figure) -> None:
    given = rows(200)
    losses = figure(plots.curves, given).axes[0]
    found = lines(losses)["generator"]
    values = np.array([row["g_loss"] for row in given])
    expected = [values[max(0, at - 5) : at + 6].mean() for at in range(200)]
    assert found[:, 0].tolist() == [row["step"] for row in given]
    assert found[:, 1] == pytest.approx(np.array(expected))
    faint = [line.get_ydata() for line in losses.get_lines() if line.get_alpha() == 0.25]
    assert any(np.array_equal(values, line) for line in faint)


@pytest.mark.parametrize("count", [1, 2, 19])
def test_few_rows_are_shown_as_they_are(figure, count) -> None:
    given = rows(count)
    drawn = figure(plots.curves, given)
    for axes in drawn.axes:
        shown = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
        assert len(shown) == 2
        assert all(line.get_marker() == ("o" if count == 1 else "") for line in shown)
    found = lines(drawn.axes[0])["discriminator"]
    assert found.tolist() == [[row["step"], row["d_loss"]] for row in given]


def test_the_extremes_of_many_rows_stay(figure) -> None:
    given = rows(100_000)
    given[77_777]["g_loss"] = -50.0
    losses = figure(plots.curves, given).axes[0]
    for line in losses.get_lines():
        assert line.get_xydata()[0, 0] < 8000 and line.get_xydata()[-1, 0] > 1_992_000
    assert min(line.get_ydata().min() for line in losses.get_lines()) == -50


def test_an_outlier_does_not_flatten_the_rest(figure) -> None:
    given = rows(1000)
    given[500]["g_loss"], given[501]["d_loss"] = 1e30, -50.0
    losses = figure(plots.curves, given).axes[0]
    low, high = losses.get_ylim()
    assert 0 < low < 1 and 2 < high < 3
    # Nor does it spoil the mean of what comes long after.
    assert lines(losses)["generator"][-1, 1] == pytest.approx(2, abs=0.1)


def test_a_loss_that_stays_is_shown_too(figure) -> None:
    given = [{**row, "d_loss": 7.0} for row in rows(100)]
    low, high = figure(plots.curves, given).axes[0].get_ylim()
    assert low < 2 and high > 7
    constant = [{**row, "g_loss": 7.0} for row in given]
    low, high = figure(plots.curves, constant).axes[0].get_ylim()
    assert low < 7 < high


def test_panels_for_coverage(figure) -> None:
    drawn = figure(plots.curves, rows(50, coverage=True))
    _, _, modes, shares = drawn.axes
    assert (modes.get_ylabel(), shares.get_ylabel()) == ("modes covered", "share of samples")
    faint = [line.get_ydata().tolist() for line in modes.get_lines() if line.get_alpha() == 0.25]
    assert faint == [[1 + n // 3 for n in range(1, 51)], [1] * 50]
    assert lines(shares)["high quality"][:, 1] == pytest.approx(np.full(50, 0.9))
    assert lines(shares)["rarest mode"][:, 1] == pytest.approx(np.full(50, 0.25))
    names = ["modes covered", "with a quarter of their due", "high quality", "rarest mode"]
    assert named(drawn)[-4:] == names
    assert shares.get_xlabel() == "step"


def test_coverage_of_some_rows_only(figure) -> None:
    given = rows(50)
    given[9] |= {"modes": 0, "high_quality": 0.0, "rarest_mode": 0.0}
    modes, shares = figure(plots.curves, given).axes[2:]
    assert lines(modes)["modes covered"].tolist() == [[200, 0]]
    assert lines(shares)["high quality"].tolist() == [[200, 0]]
    low, high = modes.get_ylim()
    assert low < 0 < high


def test_scores_beyond_probability_decide_their_axis(figure) -> None:
    given = [{**row, "d_real": 30.0 + i, "d_fake": -20.0} for i, row in enumerate(rows(5))]
    low, high = figure(plots.curves, given).axes[1].get_ylim()
    assert low < -20 and high > 34


def test_rows_may_lack_columns_and_hold_what_is_not_finite(figure) -> None:
    given = [*rows(3), {"step": 80}, {"step": 100, "g_loss": float("nan"), "d_loss": 1.0}]
    above = figure(plots.curves, given, "a title").axes[0]
    assert above.get_title("left") == "a title"
    losses = lines(above)
    assert losses["generator"][:, 0].tolist() == [20, 40, 60]
    assert losses["discriminator"][:, 0].tolist() == [20, 40, 60, 100]


def test_curves_of_nothing() -> None:
    with pytest.raises(ConfigError) as caught:
        plots.curves([])
    assert str(caught.value) == "Curves need at least one row of metrics, and there are none."


# -- limits ---------------------------------------------------------------------------------------


def test_limits_leave_room() -> None:
    real = torch.tensor([[0.0, -3.0], [10.0, -3.0]])
    assert plots.limits_of(real) == ((-3.0, 13.0), (-4.0, -2.0))
    assert plots.limits_of(real[:, :1]) == ((-3.0, 13.0),)


def test_limits_of_what_is_not_finite() -> None:
    nan = float("nan")
    assert plots.limits_of(torch.tensor([[nan], [0.0], [10.0]])) == ((-3.0, 13.0),)
    assert plots.limits_of(torch.tensor([[nan]])) == ((-1.0, 1.0),)


@pytest.mark.parametrize("shape", [(0, 2), (5,), (5, 2, 2)])
def test_limits_need_points(shape) -> None:
    with pytest.raises(ConfigError, match=r"^The real samples must be a tensor \(N, .*at least"):
        plots.limits_of(torch.zeros(shape))


# -- density --------------------------------------------------------------------------------------


def test_density_is_that_of_all_samples(figure) -> None:
    real, fake = torch.tensor([[0.5], [0.5], [2.5], [9.0]]), torch.tensor([[1.5]])
    drawn = figure(plots.density, real, fake, limits=((0, 4),), title="step 20")
    (axes,) = drawn.axes
    assert axes.get_title("left") == "step 20"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "density")
    assert named(drawn) == ["real (25.0% outside)", "generated"]
    width = 4 / 80
    heights = {
        patch.get_label(): patch.get_data().values
        for patch in axes.patches
        if not patch.get_label().startswith("_")
    }
    assert heights["real (25.0% outside)"].sum() * width == pytest.approx(0.75)
    assert heights["generated"].sum() * width == pytest.approx(1)
    assert heights["real (25.0% outside)"][10] == pytest.approx(0.5 / width)
    assert axes.get_xlim() == (0, 4)
    assert axes.get_ylim() == (0, pytest.approx(1.6 * 0.5 / width))  # whatever G does


def test_the_judge_is_drawn_over_all_of_x(figure) -> None:
    drawn = figure(plots.density, points(500, 1), points(400, 1), logistic, ((-4, 5),))
    _, right = drawn.axes
    assert right.get_ylabel() == "D's probability of real"
    assert named(drawn) == ["real", "generated", "D's probability of real"]
    curve = lines(right)["D's probability of real"]
    assert curve[0, 0] == -4 and curve[-1, 0] == 5
    assert curve[:, 1] == pytest.approx(1 / (1 + np.exp(-curve[:, 0])), abs=1e-6)
    assert right.get_yticks().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert right.get_ylim()[0] == 0 and right.get_ylim()[1] > 1


@pytest.mark.parametrize(
    ("probability", "judge", "name"),
    [
        (None, lambda places: 3 * places[:, 0], "D's score"),
        (False, logistic, "D's score"),
        (True, lambda places: 3 * places[:, 0], "D's probability of real"),
        (None, logistic, "D's probability of real"),
    ],
)
def test_probability_or_score(figure, probability, judge, name) -> None:
    drawn = figure(plots.density, points(50, 1), points(50, 1), judge, probability=probability)
    curve = lines(drawn.axes[1])[name]
    assert name == "D's score" or (curve[:, 1].min() >= 0 and curve[:, 1].max() <= 1)
    flat = figure(plots.scatter, points(50), points(50), judge, probability=probability)
    assert flat.axes[1].get_ylabel() == name


def test_the_frame_stays_where_it_is(figure) -> None:
    """Pictures of a training can be laid over each other."""
    for function, dimensions in ((plots.density, 1), (plots.scatter, 2)):
        real = points(500, dimensions)
        places = [
            figure(function, real, scale * real - 1, judge, title=title).axes[0].get_position()
            for scale, judge, title in (
                (1, logistic, "step 1"),
                (9, lambda places: 1e6 * places[:, 0], "step 1,000,000"),
            )
        ]
        assert places[0].bounds == places[1].bounds


# -- scatter --------------------------------------------------------------------------------------


def test_points_are_drawn(figure) -> None:
    real, fake = points(3000), points(400) + torch.tensor([1000.0, 0.0])
    fake[:100] = 0
    drawn = figure(plots.scatter, real, fake, limits=((-5, 5), (-6, 6)), title="step 20")
    (axes,) = drawn.axes
    assert axes.get_title("left") == "step 20"
    assert named(drawn) == ["real", "generated (75.0% outside)"]
    first, second = (np.asarray(dots.get_offsets()) for dots in axes.collections)
    assert np.array_equal(first, real[:2000].double().numpy())
    assert np.array_equal(second, fake.double().numpy())
    assert axes.get_xlim() == (-5, 5) and axes.get_ylim() == (-6, 6)
    assert axes.get_aspect() == 1


@pytest.mark.parametrize(
    ("axis", "real", "fake"),
    [(1, (0.25, 300), (0.75, 300)), (0, (0.5, 600), (0.5, 120))],
    ids=["upper and lower", "right and left"],
)
def test_the_ground_says_what_the_judge_says(axis, real, fake) -> None:
    nothing = torch.full((1, 2), 100.0)
    picture = plots.scatter(
        nothing, nothing, lambda places: (places[:, axis] > 0).float(), ((-1, 1), (-1, 1))
    )
    pixels = np.asarray(picture).astype(int)
    blue, orange = (pixels[int(row * picture.height), at] for row, at in (real, fake))
    assert blue[2] > blue[0] + 20  # taken for real
    assert orange[0] > orange[2] + 20  # taken for generated


@pytest.mark.parametrize("value", [0.5, -7.0, float("nan"), float("inf")])
def test_a_judge_without_an_opinion(value) -> None:
    plots.scatter(points(50), points(50), lambda places: torch.full((len(places),), value))
    plots.density(points(50, 1), points(50, 1), lambda places: torch.full((len(places),), value))


# -- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "dimensions"), [(plots.density, 1), (plots.scatter, 2)])
def test_samples_that_are_not_finite_are_outside(figure, function, dimensions) -> None:
    fake = points(4, dimensions)
    fake[0, 0], fake[1, 0], fake[2, 0] = float("nan"), float("inf"), float("-inf")
    drawn = figure(function, points(500, dimensions), fake, logistic)
    assert named(drawn)[:2] == ["real", "generated (75.0% outside)"]


@pytest.mark.parametrize(("function", "dimensions"), [(plots.density, 1), (plots.scatter, 2)])
def test_samples_of_another_dimension(function, dimensions) -> None:
    good, bad = points(5, dimensions), points(5, 3)
    for real, fake, what in ((bad, good, "real"), (good, bad, "generated")):
        with pytest.raises(ConfigError) as caught:
            function(real, fake)
        assert str(caught.value) == (
            f"The {what} samples must be a tensor (N, {dimensions}) with at least one row to be "
            f"plotted, not (5, 3)."
        )


@pytest.mark.parametrize(
    ("function", "dimensions", "limits", "text"),
    [
        (plots.density, 1, ((0, 1), (0, 1)), "are 1 pair (low, high)"),
        (plots.scatter, 2, ((0, 1),), "are 2 pairs (low, high)"),
        (plots.scatter, 2, ((0, 1), (1, 1)), "are 2 pairs (low, high)"),
    ],
)
def test_limits_that_are_none(function, dimensions, limits, text) -> None:
    with pytest.raises(ConfigError) as caught:
        function(points(5, dimensions), points(5, dimensions), limits=limits)
    assert str(caught.value) == (f"The limits of this plot {text} with low < high, not {limits}.")


def test_samples_are_not_changed_and_may_have_gradients() -> None:
    samples = points(50).requires_grad_()
    before = samples.detach().clone()
    weight = torch.ones(1, requires_grad=True)
    plots.scatter(samples, samples, lambda places: places[:, 0] * weight)
    assert torch.equal(samples, before)
    assert weight.grad is None


# -- scores ---------------------------------------------------------------------------------------


def trace(number, *values, label=None):
    steps = range(100, 100 * len(values) + 1, 100)
    return plots.Trace(number, label or f"run {number}", list(zip(steps, values, strict=True)))


def test_scores_have_a_panel_each_and_one_legend(figure) -> None:
    fid = plots.Panel("fid", "lower", [trace(0, 300, 20, 30), trace(1, 200, 90, 40)])
    recall = plots.Panel("recall", "higher", [trace(1, 0.1, 0.5, 0.4), trace(1, 0.2, 0.3, 0.6)])
    drawn = figure(plots.scores, [fid, recall])
    above, below = drawn.axes
    assert [axes.get_title("left") for axes in drawn.axes] == [
        "fid, lower is better",
        "recall, higher is better",
    ]
    assert (above.get_yscale(), below.get_yscale()) == ("log", "linear")
    curves = [line for line in above.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_ydata()) for line in curves] == [[300, 20, 30], [200, 90, 40]]
    assert len({line.get_color() for line in above.lines}) == 2
    assert len({line.get_color() for line in below.lines}) == 1  # two seeds of one row
    dots = [line.get_xydata()[0].tolist() for line in above.lines if len(line.get_xdata()) == 1]
    assert dots == [[200, 20], [300, 40]]
    dots = [line.get_xydata()[0].tolist() for line in below.lines if len(line.get_xdata()) == 1]
    assert dots == [[200, 0.5], [300, 0.6]]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["run 0", "run 1"]


@pytest.mark.parametrize(
    ("better", "values"), [("lower", (30, -1)), ("lower", (30, 4)), ("higher", (0.9, 0.01))]
)
def test_scores_on_a_plain_axis(figure, better, values) -> None:
    drawn = figure(plots.scores, [plots.Panel("x", better, [trace(0, *values)])])
    assert drawn.axes[0].get_yscale() == "linear"


def test_scores_without_steps_are_levels_and_without_direction_have_no_best(figure) -> None:
    level = plots.Trace(1, "saved", [(None, 25.0)])
    drawn = figure(plots.scores, [plots.Panel("odd", None, [trace(0, 30, 20), level])])
    (axes,) = drawn.axes
    assert axes.get_title("left") == "odd"
    assert [list(line.get_ydata()) for line in axes.lines] == [[30, 20], [25, 25]]


def test_labels_of_strangers_are_drawn_as_they_are(figure) -> None:
    label = "_$x^{$ \n 猫 " + "y" * 300
    panel = plots.Panel("$\\frac{$", "lower", [trace(0, 3, 2, label=label)])
    drawn = figure(plots.scores, [panel])
    (text,) = drawn.legends[0].get_texts()
    assert text.get_text().startswith("_$x^{$ 猫 yyy") and len(text.get_text()) == 110


def test_many_runs_are_told_apart(figure) -> None:
    drawn = figure(
        plots.scores, [plots.Panel("fid", "lower", [trace(n, n + 2, n + 1) for n in range(28)])]
    )
    looks = {(line.get_color(), line.get_linestyle()) for line in drawn.axes[0].lines[::2]}
    assert len(looks) == 28


def test_no_scores() -> None:
    for panels in ([], [plots.Panel("fid", "lower", [plots.Trace(0, "a", [])])]):
        with pytest.raises(ConfigError, match="^A plot of scores needs at least one score"):
            plots.scores(panels)
