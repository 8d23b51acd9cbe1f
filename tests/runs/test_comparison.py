"""Runs side by side: settings, scores, protocols, plot, command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

import ganzoo
from ganzoo import metrics
from ganzoo.cli import main
from ganzoo.config import resolve
from ganzoo.errors import ConfigError, RunFolderError
from ganzoo.evaluation import Score, measured_as
from ganzoo.files.storage import write_json
from ganzoo.metrics import Metric
from ganzoo.runs.comparison import Point, compare
from ganzoo.showing import plots

SHA = "0123456789abcdef" * 4


def protocol(metric="fid", count=2000, **changes):
    """As evaluate writes it."""
    return {
        "metric": metric,
        "options": {},
        "extractor": {
            "extractor": "inception",
            "quantisation": "uint8",
            "preset": "torch-fidelity",
            "weights": SHA,
            "precision": "bf16",
        },
        "real": {"dataset": "mnist", "split": "train", "count": 5000, "sha256": SHA},
        "fake": {"source": "generator", "count": count, "seed": 0, "averaged": True},
        "samples": {"form": "28x28 greyscale image"},
        "versions": {"ganzoo": "0.1.0", "torch": "2.15.0"},
        **changes,
    }


def score(value, how=None, **rest):
    return {"value": value, "protocol": protocol() if how is None else how, **rest}


def run(folder, scores=None, *, newest=None, settings=None, steps=100, best=None, final=None):
    """A run of 100 steps with scores by step."""
    path = Path(folder)
    path.mkdir(parents=True)
    config = resolve({"steps": steps, **(settings or {})})
    (path / "config.yaml").write_text(config.yaml(), encoding="utf-8")
    rows = [{"step": step, "epoch": 0.1, "modes": 3} for step in range(10, 101, 10)]
    for row in rows:
        if row["step"] in (scores or {}):
            row.update(scores[row["step"]], evaluated=row["step"])
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (path / "metrics.jsonl").write_text(text, encoding="utf-8")
    if newest is not None:
        write_newest(path, newest, max(scores or {100: 0}))
    for name, (step, found) in {"best": best or (0, None), "generator": final or (0, None)}.items():
        if found is not None:
            bundle(path / name, step, found)
    return path


def write_newest(path, found, step=100):
    write_json(path / "scores.json", {"step": step, "scores": found})


def bundle(path, step, found):
    path.mkdir(parents=True)
    arch, latent = {"name": "mlp", "hidden": [4]}, {"shape": [8]}
    described = {"architecture": arch, "latent": latent, "training": {"steps": step}}
    write_json(path / "config.json", described)
    write_json(path / "metrics.json", found)
    return path


@pytest.fixture
def pair():
    """Two runs that differ in their loss, one of which was best in between."""
    first = run("runs/a", {50: {"fid": 20.0}, 100: {"fid": 30.0}}, newest={"fid": score(30.0)})
    second = run(
        "runs/b",
        {50: {"fid": 40.0}, 100: {"fid": 25.0}},
        newest={"fid": score(25.0, error=0.5)},
        settings={"loss": {"name": "hinge", "margin": 0.5}},
    )
    return first, second


def only(found):
    (column,) = found.columns
    return [row.scores.get(column.title) for row in found.rows]


def shell(capsys, *tokens):
    code = 0
    try:
        main(tokens)
    except SystemExit as leaving:
        code = leaving.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


# -- scores ---------------------------------------------------------------------------------------


def test_best_and_last(pair):
    found = ganzoo.compare(*pair)
    a, b = only(found)
    assert (a.best, a.last) == (Point(20.0, None, 50), Point(30.0, None, 100))
    assert b.best == b.last == Point(25.0, 0.5, 100)
    assert a.curves == (((50, 20.0), (100, 30.0)),)
    (column,) = found.columns
    assert (column.title, column.metric, column.better) == ("fid", "fid", "lower")
    assert found.leaders(column) == ("a",) and found.leaders(column, "last") == ("b",)
    assert [row.name for row in found.rows] == ["a", "b"]
    assert [(row.step, row.total) for row in found.rows] == [(100, 100)] * 2
    assert found.notices == ()


def test_higher_is_better_where_the_metric_says_so():
    how = protocol("recall")
    for name, values in {"a": (0.2, 0.1), "b": (0.3, 0.4)}.items():
        rows = {50: {"recall": values[0]}, 100: {"recall": values[1]}}
        run(name, rows, newest={"recall": score(values[1], how)})
    found = compare("a", "b")
    assert [cell.best.value for cell in only(found)] == [0.2, 0.4]
    assert found.leaders(found.columns[0]) == ("b",)


def test_numbers_of_the_training_with_the_name_of_a_metric_are_no_scores(pair):
    assert [column.metric for column in compare(*pair).columns] == ["fid"]


def test_a_score_belongs_to_the_step_it_was_measured_of():
    path = run("a")
    write_newest(path, {"fid": score(9.0, error=0.2)}, 70)
    run("b", {100: {"fid": 8.0}}, newest={"fid": score(8.0)})
    with (path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 110, "fid": 9.0, "evaluated": 70}) + "\n")
    assert only(compare("a", "b"))[0].last == Point(9.0, 0.2, 70)
    (path / "metrics.jsonl").unlink()
    assert only(compare("a", "b"))[0].last == Point(9.0, 0.2, 70)


def test_scores_of_the_best_and_of_the_newest_generator():
    how = protocol(count=10_000)
    for name, values in {"a": (11.0, 12.0), "b": (14.0, 13.0)}.items():
        run(
            name,
            {50: {"fid": 5.0}, 100: {"fid": 6.0}},
            newest={"fid": score(6.0)},
            best=(50, {"fid": score(values[0], how)}),
            final=(100, {"fid": score(values[1], how, error=0.1)}),
        )
    found = compare("a", "b")
    assert [column.title for column in found.columns] == [
        "fid (fake.count 2,000)",
        "fid (fake.count 10,000)",
    ]
    trained, evaluated = (
        [row.scores[column.title] for row in found.rows] for column in found.columns
    )
    assert [cell.last.value for cell in trained] == [6.0, 6.0]
    assert evaluated[0].best == Point(11.0, None, 50)
    assert evaluated[0].last == Point(12.0, 0.1, 100)
    assert evaluated[1].best == Point(13.0, 0.1, 100)


def test_what_was_evaluated_alike_while_training_is_one_score():
    seeded = protocol(fake={"source": "generator", "count": 2000, "seed": 7, "averaged": True})
    run(
        "a",
        {50: {"fid": 5.0}, 100: {"fid": 6.0}},
        newest={"fid": score(6.0)},
        final=(100, {"fid": score(6.1, seeded)}),
    )
    run("b", {100: {"fid": 7.0}}, newest={"fid": score(7.0)})
    first, _ = only(compare("a", "b"))
    assert (first.best.value, first.last.value) == (5.0, 6.1)


def test_rows_that_were_measured_otherwise_are_left_out():
    """As where a run went on on another machine."""
    newest = score(30.0)
    now = measured_as(Score(**newest))
    was = measured_as(Score(**score(9.0, protocol(count=99))))
    path = run(
        "a", {50: {"fid": 9.0}, 80: {"fid": 31.0}, 100: {"fid": 30.0}}, newest={"fid": newest}
    )
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for row in lines:
        if "evaluated" in row:
            row["measured"] = {"fid": was if row["step"] == 50 else now}
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    run("b", {100: {"fid": 20.0}}, newest={"fid": score(20.0)})
    found = compare("a", "b")
    assert only(found)[0].best.value == 30.0
    assert only(found)[0].curves == (((80, 31.0), (100, 30.0)),)
    (notice,) = found.notices
    assert "the score 'fid' of step 50 (measured by another protocol than the newest one" in notice


def test_a_metric_that_two_packages_have():
    how = protocol("one:sharpness")
    for name in ("a", "b"):
        run(name, {100: {"one:sharpness": 1.0}}, newest={"one:sharpness": score(1.0, how)})
    assert [column.metric for column in compare("a", "b").columns] == ["one:sharpness"]


def test_generators_and_runs():
    run("a", {100: {"fid": 5.0}}, newest={"fid": score(5.0)}, final=(100, {"fid": score(4.0)}))
    bundle(Path("saved"), 70, {"fid": score(3.0), "kid": score(0.1, protocol("kid"))})
    found = compare("saved", "a", "a/generator")
    assert [row.name for row in found.rows] == ["saved", "a", "a/generator"]
    assert [row.step for row in found.rows] == [70, 100, 100]
    assert [row.scores["fid"].last.value for row in found.rows] == [3.0, 4.0, 4.0]
    assert list(found.rows[1].scores) == ["fid"]
    assert found.leaders(found.columns[1]) == ()  # of one there is no best
    # What a bundle does not say is not taken for the default.
    assert found.rows[0].settings == {"arch": "mlp", "latent.shape": [8]}
    assert found.rows[1].settings["arch"] == "dcgan" and "loss" not in found.rows[1].settings
    assert found.notices == ()


def test_a_pretrained_generator_is_known_by_its_name():
    found = compare("dcgan.fashion", run("a"))
    assert found.rows[0].step == 5622 and "dataset" in found.rows[0].settings
    assert found.columns == () and "None of these has a score" in found.notices[-1]


def test_several_seeds_are_one_row():
    for seed, value in enumerate((10.0, 14.0, 12.0)):
        rows = {50: {"fid": 20.0}, 100: {"fid": value}}
        run(f"s{seed}", rows, newest={"fid": score(value)}, settings={"seed": seed})
    other = {"fid": score(11.0)}
    run("other", {100: {"fid": 11.0}}, newest=other, settings={"loss": "hinge", "seed": 1})
    found = compare("s0", "s1", "other", "s2", group_seeds=True)
    first, second = found.rows
    assert first.name == "s0, s1, s2" and len(first.paths) == 3
    assert first.settings == {"loss": "non-saturating"}
    values = np.array([10.0, 14.0, 12.0])
    assert first.scores["fid"].last == Point(values.mean(), values.std(ddof=1), 100)
    assert len(first.scores["fid"].curves) == 3
    assert second.scores["fid"].last == Point(11.0, None, 100)
    assert found.leaders(found.columns[0]) == ("other",)
    assert len(compare("s0", "s1", "other", "s2").rows) == 4


def test_seeds_are_of_one_length_and_differ():
    for name, seed, steps in (("a", 0, 100), ("b", 1, 100), ("long", 2, 900), ("again", 0, 100)):
        run(
            name,
            {100: {"fid": 5.0}},
            newest={"fid": score(5.0)},
            settings={"seed": seed},
            steps=steps,
        )
    rows = compare("a", "b", "long", "again", group_seeds=True).rows
    assert [row.name for row in rows] == ["a, b", "long", "again"]


# -- settings -------------------------------------------------------------------------------------


def test_settings_that_differ(pair):
    a, b = compare(*pair).rows
    assert (a.settings, b.settings) == ({"loss": "non-saturating"}, {"loss": "hinge"})
    assert b.label == "b: loss=hinge"


def test_options_are_compared_with_those_of_the_same_component():
    for name, loss in {"a": {"name": "hinge", "margin": 0.5}, "b": "hinge", "c": "minimax"}.items():
        run(name, settings={"loss": loss, "arch": {"name": "mlp", "hidden": [4]}})
    a, b, c = compare("a", "b", "c").rows
    assert a.settings == {"loss": "hinge", "loss.margin": 0.5}
    assert b.settings == {"loss": "hinge", "loss.margin": 1.0}
    assert c.settings == {"loss": "minimax"}


def test_what_a_loss_or_an_architecture_recommends_is_no_setting_of_ones_own():
    run("a", settings={"arch": "dcgan"})
    run("b", settings={"arch": "mlp", "loss": "wasserstein"})  # with another optimizer and batch
    run("c", settings={"arch": "mlp", "loss": "wasserstein", "batch_size": 7})
    a, b, _ = compare("a", "b", "c").rows
    assert a.settings == {"arch": "dcgan", "loss": "non-saturating", "batch_size": 16}
    assert b.settings["batch_size"] != 7
    a, b = compare("a", "b").rows
    assert b.settings == {"arch": "mlp", "loss": "wasserstein"}


def test_names_are_as_long_as_they_must_be():
    for folder in ("one/runs/a", "two/runs/a", "two/runs/b"):
        run(folder)
    found = compare("one/runs/a", "two/runs/a", "two/runs/b")
    assert [row.name for row in found.rows] == ["one/runs/a", "two/runs/a", "b"]


# -- protocols ------------------------------------------------------------------------------------


def test_each_protocol_has_a_column(pair):
    finer = protocol(extractor={**protocol()["extractor"], "precision": "fp32"})
    run("c", {100: {"fid": 2.0}}, newest={"fid": score(2.0, finer)})
    found = compare(*pair, "c")
    titles = ["fid (extractor.precision bf16)", "fid (extractor.precision fp32)"]
    assert [column.title for column in found.columns] == titles
    assert [list(row.scores) for row in found.rows] == [titles[:1], titles[:1], titles[1:]]
    assert [found.leaders(column) for column in found.columns] == [("a",), ()]
    assert found.notices == (
        "'fid' was measured by 2 protocols, each of which has its own column: scores of different "
        "columns are not comparable. 'ganzoo evaluate' measures all by one protocol.",
    )


def test_several_protocols_of_one_run(pair):
    for path in pair:
        (path / "generator").mkdir()
        write_json(path / "generator/config.json", {"training": {"steps": 100}})
        found = {"fid": score(3.0, protocol(count=10_000))}
        write_json(path / "generator/metrics.json", found)
    bundle(Path("c"), 10, {"fid": score(2.0, protocol(count=10_000))})
    found = compare(*pair, "c")
    titles = ["fid (fake.count 2,000)", "fid (fake.count 10,000)"]
    assert [column.title for column in found.columns] == titles
    assert [row.scores[titles[1]].last.value for row in found.rows] == [3.0, 3.0, 2.0]
    assert [titles[0] in row.scores for row in found.rows] == [True, True, False]
    assert found.leaders(found.columns[1]) == ("c",)
    assert len(found.notices) == 1


def test_scores_without_a_protocol_are_not_comparable(pair):
    for path in pair:
        write_newest(path, {"fid": {"value": 30.0}})
    found = compare(*pair)
    titles = ["fid (not recorded)", "fid (not recorded; 2)"]
    assert [column.title for column in found.columns] == titles
    assert [found.leaders(column) for column in found.columns] == [(), ()]
    assert len(found.notices) == 1


def test_nor_are_those_of_one_run():
    run(
        "a",
        {50: {"fid": 40.0}, 100: {"fid": 30.0}},
        newest={"fid": {"value": 30.0}},
        best=(50, {"fid": {"value": 0.002}}),
        final=(100, {"fid": {"value": 0.001}}),
    )
    found = compare("a", run("b"))
    titles = ["fid (not recorded)", "fid (not recorded; 2)", "fid (not recorded; 3)"]
    assert [column.title for column in found.columns] == titles
    trained, best, final = (found.rows[0].scores[title] for title in titles)
    assert trained.curves == (((50, 40.0), (100, 30.0)),) and trained.best.value == 30.0
    assert (best.last, final.last) == (Point(0.002, None, 50), Point(0.001, None, 100))


def test_a_metric_that_is_not_installed(pair, capsys):
    class Odd(Metric):
        """Something."""

        requires: ClassVar = ("samples",)

        def compute(self, real, fake): ...

    metrics.register("odd")(Odd)
    metrics.registry.unregister("odd")
    for path, value in zip(pair, (1.0, 2.0), strict=True):
        write_newest(path, {"odd": score(value, protocol("odd", provider="x 1.0"))})
    found = compare(*pair, metrics="odd")
    assert [(s.best, s.last.value) for s in only(found)] == [(None, 1.0), (None, 2.0)]
    assert found.columns[0].better is None and found.leaders(found.columns[0], "last") == ()
    assert "The metric 'odd' is not installed, so it is not known" in found.notices[0]
    code, out, _ = shell(capsys, "compare", *map(str, pair), "--metrics", "odd")
    assert code == 0 and "odd: none is marked as the best" in out


def test_a_metric_of_which_no_direction_is_better(plotted, capsys):
    name, how = "nearest-neighbours", protocol("nearest-neighbours")
    for folder, value in {"a": 0.9, "b": 1e6}.items():
        run(folder, {50: {name: 1.0}, 100: {name: value}}, newest={name: score(value, how)})
    found = compare("a", "b")
    (column,) = found.columns
    assert column.better is None and found.notices == ()
    assert [(s.best, s.last.value) for s in only(found)] == [(None, 0.9), (None, 1e6)]
    assert found.leaders(column) == found.leaders(column, "last") == ()
    assert found.plain()["columns"][0]["better"] is None
    code, out, _ = shell(capsys, "compare", "a", "b", "--plot", "x.png")
    assert code == 0 and f"{name}: none is marked as the best; 2,000 generated" in out
    assert "*" not in out and f"{name}, " not in out and Path("x.png").is_file()
    panel = plots.Panel(name, None, [plots.Trace(0, "a", [(50, 1.0), (100, 0.9)])])
    marked = panel._replace(better="higher")
    assert plots.scores([panel]).tobytes() != plots.scores([marked]).tobytes()


# -- what may be wrong ----------------------------------------------------------------------------


def test_damaged_files_are_left_out_and_named(pair):
    a, b = pair
    lines = (a / "metrics.jsonl").read_text().splitlines()
    lines[1] = "{damaged"
    lines[4] = lines[4].replace("20.0", "NaN")
    lines += ["[]", '{"step": -1}', '{"step": 1e99}', '{"step": 120, "evaluat']
    (a / "metrics.jsonl").write_text("\n".join(lines))
    (b / "generator").mkdir()
    (b / "generator/metrics.json").write_text("{")
    newest = '{"fid": {"value": "low"}, "\\u001b[31m": {"value": 1}}'
    (b / "scores.json").write_text(f'{{"step": 100, "scores": {newest}}}')
    (b / "best").mkdir()
    (b / "best/metrics.json").write_text('{"kid": {"value": 1, "protocol": {"x": Infinity}}}')
    (b / "config.yaml").write_text("arch: [")
    write_json(bundle(Path("c"), 1, {}) / "config.json", {"training": []})
    run("d")
    write_json(Path("d/scores.json"), {"fid": score(1.0)})
    found = compare(*pair, "c", "d")
    fid = found.rows[0].scores["fid"]
    assert fid.last == fid.best == Point(30.0, None, 100)
    told = "\n".join(found.notices)
    assert "a: not used: lines 2, 11, 12 and 1 more of metrics.jsonl (damaged)." in told
    assert "a: not used: the score 'fid' of step 50 (no finite number)." in told
    assert "b: settings are not compared (The configuration " in told
    assert "b: not used: generator/metrics.json (" in told
    assert "b: not used: best/metrics.json (the number Infinity is not finite" in told
    assert "b: not used: the score 'fid' of scores.json (The score: value cannot" in told
    assert "c: settings are not compared (config.json has no 'architecture')." in told
    assert "d: not used: scores.json (it has no step, or no scores of that step)." in told
    assert found.rows[1].settings == {} and found.rows[1].step == 100


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "There is nothing to compare with 0 run"),
        (["runs/a"], "There is nothing to compare with 1 run"),
        (["runs/a", "runs/../runs/a"], "is given twice"),
        (["runs/a", "runs"], "There is no run and no saved generator at runs: no config.yaml"),
        (["runs/a", "~nobody-has-this-name/runs"], "There is no run and no saved generator at ~"),
        (["runs/a", "a\0b"], "There is no run and no saved generator at "),
    ],
)
def test_sources_that_are_none(pair, sources, message):
    with pytest.raises((ConfigError, RunFolderError), match=re.escape(message)):
        compare(*sources)


def test_metrics_that_none_has(pair):
    with pytest.raises(ConfigError, match=r"^None of these has a score of 'kid'. There are: fid\."):
        compare(*pair, metrics=["fid", "kid"])
    with pytest.raises(ConfigError, match=r"^No metric is given. There are: fid\.$"):
        compare(*pair, metrics=[])
    assert len(compare(*pair, metrics=["fid", "fid"]).columns) == 1


def test_pipes_and_links_are_not_read(pair):
    a, _ = pair
    (a / "metrics.jsonl").unlink()
    (a / "metrics.jsonl").symlink_to("/dev/zero")
    found = compare(*pair)
    assert "a: not used: metrics.jsonl (it is a link that leads out" in found.notices[0]
    assert only(found)[0].last == Point(30.0, None, 100)  # of scores.json


# -- command line ---------------------------------------------------------------------------------


def test_the_table(pair, capsys):
    code, out, err = shell(capsys, "compare", *map(str, pair))
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0].split("  ")[0] == "run" and "fid, best" in lines[0] and "fid, last" in lines[0]
    assert lines[1].split() == [
        "a", "loss=non-saturating", "100", "20", "@", "50", "*", "30",
    ]  # fmt: skip
    assert lines[2].split() == ["b", "loss=hinge", "100", "25", "±", "0.5", "25", "±", "0.5", "*"]
    assert lines[3] == "* the best of its column"
    assert lines[4] == (
        "fid: lower is better; 2,000 generated samples, averaged weights, seed 0; against 5,000 "
        "real samples of mnist, split train; features of inception (preset torch-fidelity, "
        "weights 01234567) in bf16; 28x28 greyscale image"
    )


def test_a_run_that_goes_on_and_one_without_scores(pair, capsys):
    run("runs/c", steps=500)
    code, out, _ = shell(capsys, "compare", str(pair[0]), "runs/c")
    assert code == 0 and "100 of 500" in out
    assert out.splitlines()[2].split()[-2:] == ["-", "-"]
    code, out, _ = shell(capsys, "compare", str(run("d")), "runs/c")
    assert code == 0 and "note: None of these has a score." in out


def test_different_protocols_on_the_command_line(pair, capsys):
    run("c", {100: {"fid": 2.0}}, newest={"fid": score(2.0, protocol(count=50_000))})
    code, out, _ = shell(capsys, "compare", str(pair[0]), "c")
    assert code == 0 and " *" not in out
    assert "fid (fake.count 50,000): lower is better; 50,000 generated" in out
    assert "note: 'fid' was measured by 2 protocols" in out


def test_json_is_all_that_is_printed(pair, capsys):
    code, out, err = shell(capsys, "compare", *map(str, pair), "--json", "--plot", "x.png")
    found = json.loads(out)
    assert code == 0 and found["columns"][0]["best"] == ["a"]
    first = found["runs"][0]
    assert first["settings"] == {"loss": "non-saturating"} and first["total"] == 100
    assert first["scores"]["fid"]["best"] == {"value": 20.0, "error": None, "step": 50}
    assert first["scores"]["fid"]["protocol"] == protocol()
    assert "x.png is not drawn: plots need matplotlib" in err and not Path("x.png").exists()


def test_the_plot(plotted, pair, capsys):
    code, out, _ = shell(capsys, "compare", *map(str, pair), "--plot", "scores.png")
    assert code == 0 and out.splitlines()[-1] == "plot: scores.png"
    with Image.open("scores.png") as picture:
        assert picture.size[0] == 800
    assert not list(Path().glob(".*.png"))
    code, _, err = shell(capsys, "compare", *map(str, pair), "--plot", "none/scores.png")
    assert code == 2 and "Cannot write none/scores.png" in err
    code, _, err = shell(capsys, "compare", *map(str, pair), "--plot", "scores.png/x.png")
    assert code == 2 and "Cannot write scores.png/x.png" in err
    code, _, err = shell(capsys, "compare", *map(str, pair), "--plot", "scores.pdf")
    assert code == 2 and "give a name ending in .png" in err


def test_names_and_settings_of_strangers_stay_text(plotted, capsys):
    wild = "$x^{\x1b[31m[bold]_猫"
    path = run(Path("w") / wild, {100: {"fid": 1.0}}, newest={"fid": score(1.0)})
    other = run("b", newest={"fid": score(2.0)})
    code, out, _ = shell(capsys, "compare", str(path), str(other), "--plot", "x.png")
    assert code == 0 and "[bold]_猫" in out and "\x1b" not in out
    assert Path("x.png").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such pipes")
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_reads_it_may_stop(pair, form, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    told = io.StringIO()
    monkeypatch.setattr(told, "close", lambda: None)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "w", 1) as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.setattr(sys, "stderr", told)
        with pytest.raises(SystemExit) as leaving:
            main(["compare", *map(str, pair), *form])
        assert leaving.value.code in (1, 141) and told.getvalue() == ""


def test_the_module_is_imported_late():
    program = "import sys, ganzoo.cli; assert 'ganzoo.runs.comparison' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_runs_that_were_scored_while_training(pictures, capsys):
    swd = {"name": "swd", "patches": 1, "directions": 2}
    for seed in (0, 1):
        ganzoo.Trainer(
            {"name": "mlp", "hidden": [4]},
            pictures,
            steps=4,
            batch_size=16,
            seed=seed,
            evaluate_every=2,
            metrics=[swd],
            evaluate_num_fake=20,
            evaluate_num_real=20,
            device="cpu",
            out=f"runs/{seed}",
            progress=False,
        ).fit()
    found = compare("runs/0", "runs/1", "runs/1/best")
    assert found.notices == () and [column.title for column in found.columns] == ["swd"]
    assert [row.settings for row in found.rows] == [{"seed": 0}, {"seed": 1}, {"seed": 1}]
    for row in found.rows[:2]:
        scores = {each["step"]: each["swd"] for each in ganzoo.Run(row.paths[0]).scores}
        cell = row.scores["swd"]
        assert dict(cell.curves[0]) == scores and list(scores) == [2, 4]
        assert (cell.last.step, cell.last.value) == (4, scores[4])
        assert cell.best.value == min(scores.values())
    best = found.rows[1].scores["swd"].best
    assert found.rows[2].scores["swd"].last == best and found.rows[2].step == best.step
    (row,) = compare("runs/0", "runs/1", group_seeds=True).rows
    assert row.settings == {} and row.scores["swd"].last.error > 0
    assert shell(capsys, "compare", "runs/0", "runs/1")[0] == 0
