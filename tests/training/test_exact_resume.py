"""N iterations equal k iterations, a resume, and N - k iterations: to the bit, and for all."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

import ganzoo
from ganzoo import architectures, losses, optimizers, schedules
from ganzoo.training.callbacks import Callback
from ganzoo.training.parts import collect

TINY: dict[str, dict[str, Any]] = {
    "dcgan": {"channels": 2},
    "mirror": {"hidden": (6,), "code": 4},
    "mlp": {"hidden": (8,), "dropout": 0.3},
    "upsample": {"channels": 2, "d_channels": 1},
}
# Elsewhere, what a test defines cannot be sent to a process.
FORKED = multiprocessing.get_start_method() == "fork"
COUNT, BATCH, TOTAL, CUT = 28, 8, 7, 4  # 3 batches an epoch: the cut is in the second one


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures that are varied at random each time, as transforms do."""

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.data[index].float() / 255
        image = image + random.random() * torch.rand(1, 20, 20) * float(np.random.rand())
        return image.clamp(0, 1), index % 3


class End(Callback):
    """Ends the training at once, as an error does."""

    def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
        if trainer.step == CUT + 1:
            raise RuntimeError("the machine went down")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small pictures, one thread, no waiting for the disk."""
    monkeypatch.setattr("ganzoo.training.visualizer._SHOWN", 4)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images() -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (COUNT, 1, 20, 20), generator=source, dtype=torch.uint8)


@pytest.fixture(scope="module")
def folder(images: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(images):
        place = path / str(index % 3)
        place.mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place / f"{index}.png")
    return path


@pytest.fixture
def data(request: pytest.FixtureRequest, images: Tensor, folder: Path) -> dict[str, Any]:
    """Settings of one way to have the data."""
    return {
        "memory": {"dataset": images},
        "folder": {"dataset": {"name": "folder", "path": str(folder), "flip": True}},
        "stream": {"dataset": Pictures(images), "workers": 0},
    }[request.param]


def settings(**more: Any) -> dict[str, Any]:
    return {
        "latent": 4,
        "batch_size": BATCH,
        "steps": TOTAL,
        "device": "cpu",
        "log_every": 3,  # the cut is in the middle of a row
        "sample_every": 3,
        "checkpoint_every": 2,
        "progress": False,
        **more,
    }


def tensors(trainer: ganzoo.Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in collect(trainer.parts())[0].items()}


def check(given: dict[str, Any], total: int = TOTAL) -> None:
    """Train whole, and in two parts; all that is left must be the same.

    The first part was planned to end after ``TOTAL`` iterations, all is to end after ``total``.
    """
    whole = ganzoo.Trainer(out="whole", **{**given, "steps": total})
    whole.fit()
    first = ganzoo.Trainer(out="part", callbacks=[End()], **given)
    with pytest.raises(RuntimeError, match="went down"):
        first.fit()
    random.random(), np.random.rand(), torch.rand(7)  # another process has another history
    again = given["dataset"] if not isinstance(given["dataset"], dict) else None
    second = ganzoo.Trainer.resume("part", dataset=again, steps=total, progress=False)
    assert second.step == CUT
    second.fit()
    one, other = tensors(whole), tensors(second)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    files = {
        run: {
            str(path.relative_to(run)): path.read_bytes()
            for path in Path(run).rglob("*")
            if path.suffix in (".png", ".jsonl", ".safetensors")
        }
        for run in ("whole", "part")
    }
    assert files["whole"].keys() == files["part"].keys()
    assert any("samples" in name for name in files["whole"])
    differ = [name for name, content in files["whole"].items() if files["part"][name] != content]
    assert differ == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("data", ["memory", "folder", "stream"], indirect=True)
@pytest.mark.parametrize("arch", architectures.names())
def test_every_architecture(arch: str, data: dict[str, Any], precision: str) -> None:
    chosen = {"name": arch, **TINY.get(arch, {})}
    if "workers" in data and precision == "fp32" and FORKED:
        data = {**data, "workers": 2}
    check(settings(arch=chosen, precision=precision, **data))


@pytest.mark.parametrize("total", [CUT + 1, TOTAL + 2])
@pytest.mark.parametrize("data", ["memory", "folder", "stream"], indirect=True)
def test_another_length_than_was_planned(data: dict[str, Any], total: int) -> None:
    check(settings(arch={"name": "mlp", **TINY["mlp"]}, **data), total)


@pytest.mark.parametrize("loss", losses.names())
def test_every_loss(loss: str, images: Tensor) -> None:
    chosen: dict[str, Any] = {"name": loss}
    if loss == "bce":
        chosen["noise"] = 0.2
    arch: dict[str, Any] = {"name": "mlp", **TINY["mlp"]}
    given: dict[str, Any] = {"dataset": images}
    if "classes" in losses.get(loss).wants:
        arch["d_condition"] = "auxiliary"
        given = {"dataset": (images, torch.arange(COUNT) % 3), "conditional": True}
    if loss == "info":
        given["latent"] = {"shape": 6, "categorical": [3], "continuous": 1}
    check(settings(arch=arch, loss=chosen, d_steps=1, **given))


@pytest.mark.parametrize("optimizer", optimizers.names())
@pytest.mark.parametrize("schedule", schedules.names())
def test_every_optimizer_and_schedule(optimizer: str, schedule: str, images: Tensor) -> None:
    arch = {"name": "mlp", **TINY["mlp"]}
    both = {"g_optimizer": optimizer, "d_optimizer": {"name": optimizer, "lr": 1e-3}}
    check(settings(arch=arch, dataset=images, schedule=schedule, **both))


@pytest.mark.parametrize(
    "more",
    [
        {"d_steps": 2, "g_steps": 3},
        {"joint_batch": True, "d_eval_for_g": True},
        {"average": {"decay": 0.0}, "clip_grad": 0.1},
        {"nan_policy": "skip", "deterministic": True},
        {"nan_policy": "rollback"},
        {"latent": {"shape": [2, 2], "distribution": "uniform"}, "seed": 7},
        {"size": (24, 16), "resize_mode": "resize"},
    ],
    ids=lambda more: "-".join(more),
)
def test_every_rule_of_the_game(more: dict[str, Any], images: Tensor) -> None:
    check(settings(**{"arch": {"name": "mlp", **TINY["mlp"]}, "dataset": images, **more}))


def test_a_shorter_plan_that_was_made_longer(images: Tensor) -> None:
    """What was to end early and was then prolonged equals what was planned so."""
    arch = {"name": "dcgan", **TINY["dcgan"]}
    given = settings(arch=arch, dataset=images)
    ganzoo.Trainer(out="whole", **given).fit()
    ganzoo.Trainer(out="part", **{**given, "steps": CUT}).fit()
    longer = ganzoo.Trainer.resume("part", dataset=images, steps=TOTAL, progress=False)
    assert longer.step == CUT
    run = longer.fit()
    for name in ("metrics.jsonl", "generator/model.safetensors"):
        assert (Path("whole") / name).read_bytes() == (Path("part") / name).read_bytes()
    assert [path.name for path in run.samples] == [
        path.name for path in ganzoo.Run("whole").samples
    ]
