"""Advice of commands on their options, and on where they write."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

import ganzoo
from advice_followed.helpers import TINY, Line, cases, found, literal, maker, pixels, run_of
from ganzoo import metrics
from ganzoo.cli import main
from ganzoo.generators import pretrained
from ganzoo.runs import comparison

FLAGS = (
    ("--lr", "1e-4"), ("--learning-rate", "1e-4"), ("--g-lr", "1e-4"), ("--bs", "8"),
    ("--n-epochs", "1"), ("--iters", "3"), ("--nz", "5"), ("--n-critic", "2"),
    ("--criterion", "hinge"), ("--scheduler", "cosine"), ("--manual-seed", "1"), ("--stepz", "3"),
    ("--learning_rate", "1e-4"), ("--ema", "0.9"), ("--fit", "pad"),
)  # fmt: skip


@cases(*FLAGS)
def test_an_option_of_another_program(flag: str, value: str, line: Line):
    start = ("train", "mlp", "--dataset", "ring", "--arch.hidden", "4", "--quiet", "--dry-run")
    hint = found(r"Did you mean (.+)\?", line.refused(*start, flag, value))
    meant = [token for each in hint.split(" and ") for token in (each, value)]
    line.runs(*start, *meant)


@cases("ring", "three-gaussians")
def test_the_data_as_a_second_word(data: str, line: Line):
    text = line.refused("train", "mlp", data, "--dry-run")
    line.runs("train", "mlp", *shlex.split(found(r"write (.+)\.$", text)), *TINY, "--dry-run")


@cases("ring", "three-gaussians-2d", "grid")
def test_no_architecture_but_something_else_first(word: str, line: Line):
    text = line.refused("train", word, "--dry-run")
    said_so = shlex.split(found(r"write (--\w+ \S+)\. Architectures", text))
    if said_so[0] == "--recipe":
        line.runs("train", *said_so, "--dry-run")
        return
    other = found(r"take '(\w+)'", line.refused("train", *said_so, "--dry-run"))
    line.runs("train", other, *said_so, *TINY, "--dry-run")


@cases(("hidden", "4"), ("reversed", "1"), ("dropout", "0.1"), ("maps", "8"))
def test_an_option_of_another_architecture(option: str, value: str, line: Line):
    text = line.refused("train", "dcgan", f"--arch.{option}", value, "--dry-run")
    other = re.search(r"say (--arch) (\w+) too", text)
    if other is None:  # nobody has it: what there is, is told
        for each in found(r"Options: (.+?)\.", text).split(", "):
            assert each.replace("-", "_") in ganzoo.architectures.get("dcgan").model_fields
        return
    assert option in ganzoo.architectures.get(other.group(2)).model_fields
    np.save("x.npy", pixels(24, 16))
    more = ("--dataset", "x.npy", "--batch-size", "8", "--dry-run")
    line.runs("train", *other.groups(), f"--arch.{option}", value, *more)


@cases("coutn", "outt", "sed")
def test_a_misspelt_option_of_sample(option: str, line: Line):
    maker().save_pretrained("made")
    meant = found(r"Did you mean (--\w+)\?", line.refused("sample", "made", f"--{option}", "2"))
    line.runs("sample", "made", meant, "two.npy" if meant == "--out" else "2")


@cases("trian", "resum", "evalute", "comapre", "doctr")
def test_a_misspelt_command(word: str, line: Line):
    meant = found(r'Did you mean "(.+?)"', line.refused(word))
    with pytest.raises(SystemExit) as caught:
        main([meant, "--help"])
        raise SystemExit(0)
    assert caught.value.code == 0


@cases("wgan", "lsgan", "dcgn")
def test_a_misspelt_name_to_show(name: str, line: Line):
    meant = found(r"Did you mean '(.+?)'", line.refused("show", name))
    assert meant in line.runs("show", meant)


@cases("archs", "loses", "metric")
def test_a_misspelt_kind(kind: str, line: Line):
    text = line.refused("list", kind)
    for each in found(r"Kinds: (.+)\.$", text).split(", "):
        assert line.runs("list", each)


def test_a_folder_that_is_taken(line: Line):
    line.runs("train", "mlp", "--dataset", "ring", "--steps", "2", *TINY, "--out", "mine")
    text = line.refused("train", "mlp", "--dataset", "ring", *TINY, "--out", "mine")
    again = found(r"'(ganzoo resume .+?)'", text)
    line.follow(f"{again} --steps 3 --quiet")
    other = found(r"(--out)\.", text)
    line.runs("train", "mlp", "--dataset", "ring", "--steps", "2", *TINY, other, "other")


def test_fewer_than_one_sample(line: Line):
    maker().save_pretrained("made")
    text = line.refused("sample", "made", "--count", "0")
    flag, least = re.search(r"(--\w+) must be at least (\d+)", text).groups()
    line.runs("sample", "made", flag, least, "--out", "x.npy")


def test_an_unknown_kind_of_file(line: Line):
    maker().save_pretrained("made")
    text = line.refused("sample", "made", "--count", "2", "--out", "x.jpeg2")
    kinds = re.findall(r"(\.[a-z]+)(?= for| or|,)", text.partition("Use ")[2])
    assert len(kinds) >= 3
    for kind in kinds:
        line.runs("sample", "made", "--count", "2", "--out", f"x{kind}")


def test_a_file_that_is_there(line: Line):
    maker().save_pretrained("made")
    Path("x.npy").touch()
    text = line.refused("sample", "made", "--count", "2", "--out", "x.npy")
    line.runs("sample", "made", "--count", "2", "--out", "x.npy", found(r"add (--\w+)", text))


def test_one_run_to_compare(line: Line):
    assert "give two or more" in line.refused("compare", str(run_of()))
    run_of(out="second")
    line.runs("compare", "run", "second")


def test_what_a_picture_of_a_comparison_may_be_called(line: Line):
    run_of()
    run_of(out="second")
    text = line.refused("compare", "run", "second", "--plot", "x.bmp2")
    for ending in found(r"ending in (.+)\.$", text).split(", "):
        line.runs("compare", "run", "second", "--plot", f"x{ending}")


@cases('{"name": "kid",', "{kid}")
def test_a_metric_that_is_nearly_json(text: str, line: Line):
    np.save("a.npy", pixels(24, 16))
    np.save("b.npy", pixels(24, 16) // 2)
    told = line.refused("evaluate", "a.npy", "--dataset", "b.npy", "--metrics", text)
    example = found(r"Write it as '(\{.+\})'", told)
    assert metrics.create(literal(example)).name == "kid"


# -- comparisons ------------------------------------------------------------------------------


def scored(*folders: str, count: int = 50) -> None:
    for folder in folders:
        if not Path(folder).exists():
            maker().save_pretrained(folder)
        told = {"swd": {"value": 1.0, "protocol": {"metric": "swd", "fakes": {"count": count}}}}
        Path(folder, "metrics.json").write_text(json.dumps(told))


def test_nothing_to_compare(line: Line):
    scored("a")
    assert "ganzoo train" in line.refused("compare", "a", "nowhere")
    run_of()
    line.runs("compare", "a", "run")


def test_a_run_that_is_given_twice(line: Line):
    scored("a", "b")
    assert "leave it out once" in line.refused("compare", "a", "b", "./a")
    line.runs("compare", "a", "b")


@cases(("--metrics", "fid"), ("--metrics", ""))
def test_scores_that_nobody_has(flag: str, value: str, line: Line):
    scored("a", "b")
    text = line.refused("compare", "a", "b", flag, value)
    for name in found(r"There are: ([\w, -]+)\.", text).split(", "):
        line.runs("compare", "a", "b", flag, name)
    if value:
        assert "'ganzoo evaluate' measures others" in text


def test_scores_that_were_measured_differently():
    scored("a")
    scored("b", count=60)
    (notice,) = comparison.compare("a", "b").notices
    assert "'ganzoo evaluate' measures all by one protocol" in notice
    scored("b")
    assert comparison.compare("a", "b").notices == ()


def test_a_picture_that_cannot_be_written(line: Line, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ganzoo.showing.plots.available", lambda: True)
    scored("a", "b")
    Path("file").touch()
    text = line.refused("compare", "a", "b", "--plot", "file/x.png")
    line.runs("compare", "a", "b", found(r"Choose another (--plot)", text), "x.png")


@cases(("folder.png", "folder"), ("file", "file"), ("file/x.npy", "in file"))
def test_a_place_for_samples_that_is_taken(out: str, kind: str, line: Line):
    maker().save_pretrained("made")
    Path("folder.png").mkdir()
    Path("file").touch()
    text = line.refused("sample", "made", "--count", "2", "--out", out)
    line.runs("sample", "made", "--count", "2", found(r"Choose another (--out)", text), "x.npy")


@cases("losses", "datasets")
def test_what_is_not_online(kind: str, line: Line):
    text = line.refused("list", kind, "--online")
    flag, other = re.search(r"(--online) is for '(\w+)'", text).groups()
    line.runs("list", other)
    assert flag == "--online"


def test_a_metric_that_is_no_json(line: Line):
    maker().save_pretrained("made")
    text = line.refused("evaluate", "made", "--metrics", "{name: swd}")
    chosen = json.loads(found(r"Write it as '(\{.+?\})'", text))
    assert metrics.create(chosen).name == chosen["name"]


@cases(("alone", "--conditional"), ("joined", "--conditional=true"))
def test_a_switch_with_a_value(kind: str, expected: str, line: Line):
    start = ("train", "mlp", "--dataset", "ring", *TINY, "--dry-run")
    flag = "--deterministic"
    text = line.refused(*start[:1], flag, "true", *start[1:])
    alone, joined = re.search(r"Write (\S+) alone, or (\S+?)\.$", text).groups()
    assert "deterministic: true" in line.runs(*start, alone if kind == "alone" else joined)


# -- the installation -------------------------------------------------------------------------


def test_a_package_that_is_missing(line: Line, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        real = importlib.metadata.version

        def version(name: str) -> str:
            return "0.1" if name == "pydantic" else real(name)

        patch.setattr(importlib.metadata, "version", version)
        text = line.refused("doctor")
    command = shlex.split(found(r"Run: (pip install .+)$", text))
    wanted = Requirement(command[2])
    assert wanted.specifier.contains(importlib.metadata.version(wanted.name), prereleases=True)
    line.runs("doctor")


def test_a_generator_that_does_not_come_with_this(line: Line, monkeypatch: pytest.MonkeyPatch):
    far = pretrained.Pretrained(
        name="mlp.far", summary="x", repo_id="zoo/far", revision="0" * 40, license="MIT", size=9
    )
    get = pretrained.get
    monkeypatch.setattr(pretrained, "get", lambda name: far if name == "mlp.far" else get(name))
    text = line.refused("publish-zoo", "mlp.far")
    for name in found(r"Bundled are: (.+)\.$", text).split(", "):
        line.runs("publish-zoo", name)
