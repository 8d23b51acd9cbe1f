"""Advice of 'ganzoo doctor' on damaged runs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from advice_followed.helpers import Line, cases, found, pixels, run_of
from ganzoo.files import checkpoint
from ganzoo.runs import checkup
from ganzoo.training.trainer import Trainer


def cured(run: Path, whole: Path, finding: checkup.Finding) -> None:
    """Do to a run what a finding says."""
    place, text = run / finding.place, finding.text
    if name := re.match(r"(\S+\.png) ", text):
        place = place / name.group(1)
    if re.search(r"(?<!rows: )[Rr]emove that line", text):
        number = int(found(r"line (\d+)", text))
        lines = place.read_text().splitlines()
        place.write_text("".join(f"{each}\n" for each in lines[: number - 1] + lines[number:]))
    elif "give it its own name back" in text:
        step = int(found(r"holds step (\d+)", text))
        place.rename(place.with_name(f"step-{step:08d}"))
    elif "move this one away" in text:
        shutil.rmtree(place)
    elif re.search(r"[Rr]esuming (the run|from a checkpoint|writes)", text):
        Trainer.resume(run, steps=6, progress=False).fit()
    elif re.search(r"[Dd]elete it", text):
        place.unlink()
    elif "It does not fit config.yaml: restore the one" in text or "config.yaml says" in text:
        shutil.copy(whole / "config.yaml", run / "config.yaml")
    elif re.search(r"[Bb]ring back a copy|Copy the whole folder again|Put the file back", text):
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
        copy = shutil.copytree if (whole / finding.place).is_dir() else shutil.copy
        copy(whole / finding.place, place)
    else:
        raise AssertionError(f"no remedy is known in: {text}")


def write(name: str, content: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(content)

    return damage


def add(name: str, content: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        with (run / name).open("a") as file:
            file.write(content + "\n")

    return damage


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))

    return damage


def nan_checkpoint(run: Path) -> None:
    path = max((run / "checkpoints").iterdir())
    tensors, state = checkpoint.load(path)
    tensors = {n: v * float("nan") if v.is_floating_point() else v for n, v in tensors.items()}
    state.pop("format_version")
    checkpoint.save(path.parent, state["step"], tensors, state)


def linked(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        Path("outside").touch()
        (run / name).unlink()
        (run / name).symlink_to(Path("outside").resolve())

    return damage


def misnamed(run: Path) -> None:
    path = max((run / "checkpoints").iterdir())
    path.rename(path.with_name("step-00000009"))


def shortened(pattern: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        os.truncate(max(run.glob(pattern)), 60)

    return damage


DAMAGES = {
    "environment [": write("environment.json", "["),
    "environment []": write("environment.json", "[]"),
    "environment NaN": write("environment.json", '{"a": NaN}'),
    "environment 1e999": write("environment.json", '{"a": 1e999}'),
    "environment link": linked("environment.json"),
    "row {": add("metrics.jsonl", "{"),
    "row NaN": add("metrics.jsonl", '{"step": NaN}'),
    "row []": add("metrics.jsonl", "[]"),
    "row of an earlier step": add("metrics.jsonl", '{"step": 1}'),
    "scores without a step": write("scores.json", "{}"),
    "scores []": write("scores.json", '{"step": 3, "scores": []}'),
    "scores without a value": write("scores.json", '{"step": 3, "scores": {"fid": {}}}'),
    "metrics []": write("generator/metrics.json", "[]"),
    "metrics without a value": write("generator/metrics.json", '{"fid": {}}'),
    "metrics without a protocol": write(
        "generator/metrics.json", '{"fid": {"value": 1, "protocol": 3}}'
    ),
    "no generator": lambda run: shutil.rmtree(run / "generator"),
    "another net": replaced("config.yaml", "- 4\n", "- 5\n"),
    "a checkpoint of NaN": nan_checkpoint,
    "a checkpoint with another name": misnamed,
    "a checkpoint that is cut": shortened("checkpoints/*/state.safetensors"),
    "a bundle that is cut": shortened("generator/model.safetensors"),
    "a picture": shortened("samples/*.png"),
    "a plot": write("curves.png", "x"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with rows, pictures and checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    np.save(folder / "x.npy", pixels())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganzoo.showing.plots.available", lambda: False)
        each = {"log_every": 1, "checkpoint_every": 1, "sample_every": 1}
        return run_of(str(folder / "x.npy"), out=str(folder / "run"), **each)


@cases(*DAMAGES)
def test_a_run_that_is_not_whole(damage: str, line: Line, whole: Path):
    shutil.copytree(whole, "run")
    line.runs("doctor", "run")
    DAMAGES[damage](Path("run"))
    text = line.refused("doctor", "run")
    assert "the lines above say what and what to do" in text
    for _ in range(6):
        wrong = [each for each in checkup.examine("run") if each.verdict == "wrong"]
        if not wrong:
            break
        cured(Path("run"), whole, wrong[0])
    line.runs("doctor", "run")


@cases("nowhere", "empty")
def test_what_the_doctor_cannot_look_at(kind: str, line: Line):
    Path("empty").mkdir()
    text = line.refused("doctor", kind)
    assert re.search(r"Give (the folder of a run|a folder that ganzoo wrote)", text)
    run_of()
    line.runs("doctor", "run")
    line.runs("doctor", "run/generator")
    line.runs("doctor", str(next(Path("run/checkpoints").iterdir())))
