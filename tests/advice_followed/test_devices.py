"""Advice on devices, precision and processes."""

from __future__ import annotations

import contextlib
import re

import pytest
import torch

from advice_followed.helpers import TINY, Line, cases, found, run_of, said
from ganzoo.core.device import pick_device, pick_precision
from ganzoo.errors import GanzooError


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


# -- devices and processes --------------------------------------------------------------------


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
