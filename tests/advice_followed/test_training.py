"""Advice on trainings: what they start from, run in, and run on."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from advice_followed.components import (
    Critic,
    Mean,
    Net,
    Quiet,
    Sound,
    const,
    g,
    registered,
    registered_for_labels,
)
from advice_followed.helpers import (
    SMALL,
    TINY,
    Line,
    cases,
    extra,
    fit,
    floats,
    found,
    kid,
    literal,
    options_in,
    pictures,
    pixels,
    run_of,
    said,
    trainer,
)
from ganzoo import metrics
from ganzoo.config import read_config, resolve
from ganzoo.core.device import pick_device, pick_precision
from ganzoo.datasets import InMemoryDataset
from ganzoo.errors import GanzooError
from ganzoo.training.trainer import Trainer


@cases(((0, 1), (8, 8)), ((-2, 2), (8, 8)), ((-1, 1), (16, 16)), ((-1, 1), (12, 10)))
def test_a_generator_of_another_form(value_range: Any, size: Any):
    run_of(pixels(), value_range=(-1, 1), size=(8, 8))
    settings = {"init_from": "run", "value_range": value_range, "size": size, "arch": None}
    settings = {"latent": None, **settings}
    settings = {name: value for name, value in settings.items() if value is not None}
    make = lambda more: Trainer(  # noqa: E731
        dataset=pixels(), steps=1, batch_size=8, progress=False, **{**settings, **more}
    ).setup()
    name, value = re.search(r"Give (\w+)=(\(.+?\))", said(lambda: make({}))).groups()
    make({name: literal(value)})


@cases(("arch", {"name": "mlp", "hidden": [5]}), ("latent", 9))
def test_a_trained_generator_of_another_kind(name: str, value: Any):
    run_of(pixels(), latent=5)
    settings = {"init_from": "run", "latent": 5, "arch": SMALL}
    left = found(r"Leave (\w+) out", said(lambda: trainer(pixels(), **{**settings, name: value})))
    assert left == name
    kept = {key: each for key, each in settings.items() if key != left}
    Trainer(dataset=pixels(), batch_size=8, steps=1, progress=False, **kept).setup()


def test_a_trained_generator_of_other_channels():
    pictures(count=12)
    run_of({"name": "folder", "path": "photos", "mode": "rgb"}, latent=5)
    settings = {"init_from": "run", "latent": 5}
    text = said(lambda: trainer("photos", **settings))
    option = found(r"pictures of a folder: --dataset\.(\w+)", text)
    trainer({"name": "folder", "path": "photos", option: "rgb"}, **settings)


@cases("images", "generator")
def test_a_trained_generator_of_images_for_points(way: str):
    run_of(pixels(), latent=5)
    text = said(lambda: trainer("ring", latent=5, init_from="run"))
    assert "where init_from gives it, use images or another generator" in text
    if way == "generator":
        run_of("ring", latent=5, out="points")
    data, origin = {"images": (pixels(), "run"), "generator": ("ring", "points")}[way]
    trainer(data, latent=5, init_from=origin)


@cases("data", "conditional")
def test_a_trained_generator_of_other_classes(way: str):
    with registered_for_labels():
        settings = {"arch": "labelled", "conditional": True, "latent": 3}
        run_of((pixels(), np.arange(24) % 2), **settings)
        settings = {**settings, "init_from": "run"}
        if way == "data":
            text = said(lambda: trainer((pixels(), np.arange(24) % 3), **settings))
            assert "Use data with as many" in text
        else:
            data = (pixels(), np.arange(24) % 2)
            text = said(lambda: trainer(data, **{**settings, "conditional": False}))
            assert found(r"or set (\w+)", text) == "conditional"
        trainer((pixels(), np.arange(24) % 2), **settings)


@cases("leave out", "stored_range")
def test_a_range_of_points(way: str):
    data = floats(24, 3)
    text = said(lambda: trainer(data, value_range=(-1, 1)))
    option = found(r"Leave it out, or give the dataset's (\w+)", text)
    if way == "leave out":
        trainer(data)
    else:
        made = trainer(InMemoryDataset.of(data, **{option: (0, 1)}), value_range=(-1, 1))
        assert made.spec.value_range == (-1, 1)


@cases("autocast", "precision")
def test_a_training_inside_of_autocast(way: str):
    with torch.autocast("cpu", torch.bfloat16):
        text = said(lambda: fit(device="cpu", out="a"))
    assert "Train outside of the block" in text
    settings = options_in(found(r"(precision='\w+') computes", text)) if way == "precision" else {}
    fit(device="cpu", out="b", **settings)


@cases("three", [1.5], 2.5)
def test_a_latent_that_is_none(latent: Any):
    text = said(lambda: resolve({"latent": latent}))
    if "a size, a shape or a mapping" in text:
        for each in (8, (2, 4), {"shape": (8,)}):
            resolve({"latent": each})
    else:
        resolve({"latent": 8})


@cases("a list", "nested", "broken", "nowhere", "large", "newer")
def test_a_configuration_that_cannot_be_read(fault: str):
    contents = {
        "a list": "- 1\n", "nested": "[" * 9000, "broken": "steps: [1\n", "nowhere": None,
        "large": "#" * 200_000, "newer": "format_version: 99\nsteps: 5\n",
    }  # fmt: skip
    if contents[fault] is not None:
        Path("c.yaml").write_text(contents[fault])
    text = said(lambda: read_config(Path("c.yaml")))
    limits = re.search(r"larger than ([\d,]+) bytes|reads up to (\d+)", text)
    right = "steps: 5\n"
    if limits and limits[1]:
        right += "#" * (int(limits[1].replace(",", "")) - len(right))
    if limits and limits[2]:
        right = f"format_version: {limits[2]}\n{right}"
    Path("c.yaml").write_text(right)
    assert read_config(Path("c.yaml"))["steps"] == 5


@cases(("", "x"), (1, "x"), ("d_loss", "d_loss_2"))
def test_a_name_that_a_loss_reports_by(name: Any, other: str):
    with registered(Reporting, const(report={name: 1.0})) as loss:
        text = said(lambda: fit(loss=loss(), out="a"))
    suggested = re.search(r"such as '(\w+)'", text)
    if suggested is None:
        assert other not in found(r"by another one than (.+?)\.", text).split(", ")
    with registered(Reporting, const(report={suggested[1] if suggested else other: 1.0})) as loss:
        fit(loss=loss(), out="b")


class Reporting(Critic):
    """Reports a number."""

    report: ClassVar[Any] = {}

    def discriminator_loss(self, step: Any) -> Any:
        step.scalars.update(self.report)
        return super().discriminator_loss(step)


@cases("float", "tensor")
def test_what_a_loss_reports(way: str):
    with registered(Reporting, const(report={"gap": torch.ones(3)})) as loss:
        text = said(lambda: fit(loss=loss(), out="a"))
    assert "a float or a 0-d tensor, such as a mean over the batch" in text
    one = 1.0 if way == "float" else torch.ones(3).mean()
    with registered(Reporting, const(report={"gap": one})) as loss:
        fit(loss=loss(), out="b")


class Growing(Net):
    """Builds a layer when it is first called."""

    def forward(self, x: Any, labels: Any = None) -> Any:
        if not hasattr(self, "late"):
            self.late = nn.Linear(3, 3)
        return torch.tanh(self.late(self.layer(x)))


class Grown(Growing):
    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Linear(3, 3)


def test_a_net_that_grows():
    points = InMemoryDataset.of(floats(24, 3), stored_range=(0, 1))
    with registered(Sound, g(make=Growing)) as arch:
        text = said(lambda: fit(points, arch=arch(), latent=3, out="a"))
    assert "Have it build all of its parameters and buffers at once" in text
    with registered(Sound, g(make=Grown)) as arch:
        fit(points, arch=arch(), latent=3, out="b")


def test_a_tracker_that_cannot_be_opened():
    def fails(self: Any, *_: Any) -> Any:
        raise OSError("no connection")

    with registered(Quiet, {"open": fails}) as tracker:
        text = said(lambda: fit(trackers=[tracker()], out="a"))
        assert "Mend the cause, or train without this tracker" in text
        fit(out="b")
    with registered(Quiet, {}) as tracker:
        fit(trackers=[tracker()], out="c")


def test_a_tracker_without_its_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    extra(said(lambda: fit(trackers=["tensorboard"])), "tensorboard")


def test_a_metric_that_is_called_step():
    named = type("Step", (Mean,), {"__doc__": "x", "__module__": __name__})
    metrics.registry.register("step")(named)
    points = floats(24, 3)
    try:
        text = said(lambda: trainer(points, metrics=["step"], evaluate_every=1))
    finally:
        metrics.registry.unregister("step")
    assert "Give it another name" in text
    with registered(Mean, {}) as metric:
        trainer(points, metrics=[metric()], evaluate_every=1)


def test_scores_of_what_has_no_usual_metric(line: Line):
    points = floats(24, 3)
    text = said(lambda: trainer(points, evaluate_every=1))
    command = found(r"'(ganzoo list \w+)' shows them", text)
    assert "kid" in line.follow(command)
    trainer(points, evaluate_every=1, metrics=[kid()])


# -- devices and processes ------------------------------------------------------------------------


@cases("tpu", "gpu", "cuda:99", "mps", "cuda:x")
def test_a_device_that_is_not_there(name: str):
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")
    text = said(lambda: pick_device(name))
    told = [each for each in re.findall(r"'([\w:]+)'", text) if each != name]
    assert "cpu" in told
    assert pick_device("cpu") and pick_device("auto")
    for each in told:  # what is named is a device, be it here or not
        with contextlib.suppress(GanzooError):
            pick_device(each)
            continue
        assert "is not a device" not in said(lambda each=each: pick_device(each))


@cases("tpu", "mps")
def test_a_device_on_the_command_line(name: str, line: Line):
    text = line.refused("train", "mlp", "--dataset", "ring", "--device", name, "--dry-run")
    device = found(r"'(auto)'", text)
    line.runs("train", "mlp", "--dataset", "ring", *TINY, "--device", device, "--dry-run")


def test_a_device_of_torch_that_is_not_supported():
    text = said(lambda: pick_device("meta"))
    for name in re.findall(r"'(\w+)'", text.partition("use ")[2]):
        with contextlib.suppress(GanzooError):
            pick_device(name)
            continue
        assert "not supported" not in said(lambda name=name: pick_device(name))


def test_bfloat16_on_an_older_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    device = torch.device("cuda")
    other = found(r"Use precision='(\w+)'", said(lambda: pick_precision("bf16", device)))
    assert pick_precision(other, device).name == "fp32"


@cases("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS")
def test_one_of_several_processes(name: str, monkeypatch: pytest.MonkeyPatch):
    if name.startswith("SLURM"):
        monkeypatch.setenv("SLURM_STEP_ID", "0")
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv(name, "3")
    names = found(r"or unset (.+?) where", said(run_of)).split(" and ")
    for each in names:
        monkeypatch.delenv(each)
    run_of()


def test_one_of_a_group_of_processes(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as grouped:
        grouped.setattr(torch.distributed, "is_initialized", lambda: True)
        grouped.setattr(torch.distributed, "get_world_size", lambda: 2)
        assert "Train in one process, without a group" in said(run_of)
    run_of()
