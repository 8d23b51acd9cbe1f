"""Advice on pictures, animations and plots."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from advice_followed.helpers import cases, found, maker, pixels, said
from ganzoo.core.spec import SampleSpec
from ganzoo.showing import pictures, plots
from ganzoo.showing.pictures import animate


@cases(SampleSpec(kind="audio", shape=(2, 64)), SampleSpec(kind="vector", shape=(6,)))
def test_a_picture_of_what_is_no_image(spec: SampleSpec):
    text = said(lambda: maker(spec).grid(4))
    assert "a audio" not in text and spec.kind in text


@cases(".png", ".mp4")
def test_an_animation_of_another_kind(ending: str):
    for number in range(2):
        Image.fromarray(pixels(1)[0, 0]).save(f"{number}.png")
    frames = [Path("0.png"), Path("1.png")]
    text = said(lambda: animate(frames, Path(f"x{ending}")))
    for kind in re.findall(r"(\.gif|\.webp)", text):
        animate(frames, Path(f"x{kind}"))
        assert Path(f"x{kind}").is_file()


# -- pictures and plots -----------------------------------------------------------------------


@cases(("count", 0), ("columns", 0), ("columns", -3))
def test_a_grid_of_nothing(name: str, value: int):
    text = said(lambda: maker().grid(**{"count": 4, name: value}))
    least = {"one": 1}[found(r"at least (one)", text)]
    maker().grid(**{"count": 4, name: least})


def still(name: str, side: int) -> Path:
    Image.new("L", (side, side)).save(name)
    return Path(name)


@cases("seconds", "frames", "sizes")
def test_an_animation_that_cannot_be(what: str):
    frames = [still("0.png", 8), still("1.png", 9 if what == "sizes" else 8)]
    frames, seconds = [] if what == "frames" else frames, 0.0 if what == "seconds" else 1.0
    text = said(lambda: pictures.animate(frames, Path("x.gif"), seconds))
    if what == "seconds":
        seconds = float(found(r"more than (\d+) seconds", text)) + 0.5
    elif what == "frames":
        assert "at least one frame" in text
        frames = [still("0.png", 8)]
    else:
        first, size = re.search(r"(\S+\.png) has (\d+)x", text).groups()
        frames = [Path(first), still("1.png", int(size))]
    pictures.animate(frames, Path("x.gif"), seconds)


@cases("none", "too few", "another size")
def test_neighbours_that_do_not_fit(what: str):
    spec, images = SampleSpec(shape=(1, 8, 8)), torch.zeros(2, 1, 8, 8)
    closest = [] if what == "none" else [{"ratio": 0.5, "fake": 0, "real": 1}] * 2
    other = {"none": images, "too few": images[:1], "another size": images[..., :4]}[what]
    text = said(lambda: pictures.neighbours(closest, images, other, spec))
    if what == "none":
        assert "at least one pair" in text
        closest = [{"ratio": 0.5, "fake": 0, "real": 1}] * 2
    else:
        assert "as many generated and real images of one size" in text
    pictures.neighbours(closest, images, images, spec)


@cases("rows", "scores", "samples", "axes", "limits")
def test_plots_that_cannot_be_drawn(what: str):
    real, fake = torch.randn(9, 1), torch.randn(9, 1)
    if what == "rows":
        assert "at least one row" in said(lambda: plots.curves([]))
        plots.curves([{"step": 1, "d_loss": 1.0, "g_loss": 1.0}])
    elif what == "scores":
        assert "at least one score" in said(lambda: plots.scores([]))
    elif what in ("samples", "axes"):
        wrong = fake[:0] if what == "samples" else torch.randn(9, 2)
        axes = int(found(r"tensor \(N, (\d)\)", said(lambda: plots.density(real, wrong))))
        plots.density(real, torch.randn(9, axes))
    else:
        text = said(lambda: plots.density(real, fake, limits=((1.0, -1.0),)))
        assert found(r"are (1) pair", text) and "low < high" in text
        plots.density(real, fake, limits=((-1.0, 1.0),))


def test_plots_without_matplotlib(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib.figure", None)
        text = said(lambda: plots.curves([{"step": 1, "d_loss": 1.0}]))
    extra = found(r'pip install "ganzoo\[(\w+)\]"', text)
    needs = importlib.metadata.requires("ganzoo") or []
    assert any("matplotlib" in each and f'"{extra}"' in each.replace("'", '"') for each in needs)
    plots.curves([{"step": 1, "d_loss": 1.0}])
