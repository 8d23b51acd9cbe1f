"""Advice on the folders of runs: resumed, damaged, looked at by the doctor."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advice_followed.helpers import (
    TINY,
    Line,
    cases,
    fit,
    found,
    helped,
    load,
    pixels,
    run_of,
    said,
)
from ganzoo.cli import main
from ganzoo.files import checkpoint
from ganzoo.files.lock import RunLock
from ganzoo.runs import checkup
from ganzoo.runs.run import Run
from ganzoo.training.callbacks import Callback
from ganzoo.training.trainer import Trainer


@cases(("--batch-size", "4"), ("--seed", "3"), ("--g-optimizer.lr", "1e-5"), ("--lr", "1e-5"))
def test_another_setting_of_a_run(flag: str, value: str, line: Line):
    run_of()
    text = line.refused("resume", "run", flag, value)
    line.follow(f"{found(r': (ganzoo train .+)$', text)} --quiet --out next")
    with contextlib.suppress(SystemExit):
        main(["resume", "--help"])
    told = line.capture.readouterr().out
    for each in found(r"only (.+?) may be given", text).split(", "):
        assert each in told


OTHERS = (
    ("batch_size", 4), ("seed", 3), ("g_optimizer", {"lr": 1e-5}), ("lr", 1e-5), ("loss", "hinge"),
    ("log_every", 1), ("learning_rate", 1e-3), ("precision", "fp32"), ("d_steps", 2), ("bs", 4),
)  # fmt: skip


@cases(*OTHERS)
def test_another_setting_of_a_run_in_python(name: str, value: Any):
    run = run_of()
    text = said(lambda: Trainer.resume(run, progress=False, **{name: value}))
    again = eval(found(r": (Trainer\(.+\))$", text), {"Trainer": Trainer})
    assert again.fit().path != run
    taken = found(r"only (.+?) may be given", text).split(", ")
    assert {"steps", "device"} <= {*taken}


@cases("--size 16 16", "--deterministic", "--value-range 0 1", "--no-conditional")
def test_another_setting_of_several_words_or_none(given: str, line: Line):
    words = given.split()
    np.save("x.npy", pixels())
    run_of("x.npy")
    follow = found(r": (ganzoo train .+)$", line.refused("resume", "run", *words))
    assert shlex.split(follow)[-len(words) :] == words
    line.follow(f"{follow} --quiet --out next")


@cases("step", "devise", "epoch")
def test_a_misspelt_word_of_resume(word: str):
    run = run_of()
    meant = found(r"Did you mean '(\w+)'", said(lambda: Trainer.resume(run, **{word: 3})))
    assert meant in ("steps", "device", "epochs")
    value = {"steps": 3, "device": "cpu", "epochs": None}[meant]
    Trainer.resume(run, progress=False, **{meant: value})


def test_a_run_that_is_done(line: Line):
    run = run_of()
    flag = found(r"total with (--\w+)", line.refused("resume", str(run)))
    line.runs("resume", str(run), flag, "3", "--quiet")


def resume(**settings: Any) -> Trainer:
    return Trainer.resume("run", **{"steps": 3, "progress": False, **settings})


RESUMED: dict[str, tuple[Any, Callable[[], Any], str, Callable[..., Any]]] = {
    "fewer steps than are done": (
        "ring", lambda: resume(steps=1), r"trained for (\d+) steps",
        lambda done: resume(steps=int(done) + 1).fit(),
    ),
    "data that were in memory": (
        pixels(), resume, r"Trainer\.resume\(run, (\w+)=",
        lambda option: resume(**{option: pixels()}).fit(),
    ),
    "other data than before": (
        pixels(), lambda: resume(dataset=pixels() // 2), "pass the same data again",
        lambda: resume(dataset=pixels()).fit(),
    ),
    "workers for a run without": (
        "ring", lambda: resume(workers=1), "Leave workers out", lambda: resume().fit(),
    ),
    "metrics for a run without": (
        pixels(), lambda: resume(dataset=pixels(), metrics=["swd"]), "Leave them out",
        lambda: resume(dataset=pixels()).fit(),
    ),
}  # fmt: skip


@cases(*RESUMED)
def test_resuming(situation: str):
    data, broken, remedy, mended = RESUMED[situation]
    run_of(data)
    helped(broken, remedy, mended)


@cases("rum", "nowhere")
def test_a_run_that_is_not_there(name: str):
    assert "Give the folder of a run" in said(lambda: Trainer.resume(name))
    Trainer.resume(run_of(), progress=False)


@cases("nowhere", "empty")
def test_what_is_no_run(kind: str):
    Path("empty").mkdir()
    text = said(lambda: Run(kind))
    assert re.search(r"Give the folder (of a run|that 'ganzoo train' named)", text)
    run_of()
    Run("run")


@cases("[", "[]")
def test_a_record_of_the_machine_that_is_damaged(content: str):
    run_of()
    Path("run/environment.json").write_text(content)
    assert "resuming writes it anew" in said(lambda: Run("run").environment).lower()
    resume(steps=4).fit()
    assert Run("run").environment


@cases("{", '{"step": "x"}', "[]")
def test_a_row_that_is_damaged(content: str):
    run_of(log_every=1)
    path = Path("run/metrics.jsonl")
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], content, *rows[1:]]) + "\n")
    text = said(lambda: Run("run").history)
    number = int(found(r"Line (\d+) of", text))
    assert "Remove that line" in text
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: number - 1] + lines[number:]) + "\n")
    assert len(Run("run").history) == 2
    resume(steps=4).fit()


@cases("a folder", "a file")
def test_a_place_for_a_run_that_is_taken(kind: str, line: Line):
    Path("mine").touch() if kind == "a file" else Path("mine/x").mkdir(parents=True)
    start = ("train", "mlp", "--dataset", "ring", "--steps", "1", *TINY)
    text = line.refused(*start, "--out", "mine")
    line.runs(*start, found(r"Choose another one with (--out)", text), "other")


@cases("file/run", "file/run/deeper")
def test_a_place_for_a_run_that_cannot_be(place: str):
    Path("file").touch()
    assert "use another folder" in said(lambda: run_of(out=place))
    run_of(out="other")


def test_a_folder_of_runs_that_is_a_file():
    Path("runs").touch()
    assert "use another folder" in said(lambda: run_of(out=None))
    run_of(out="other")


def test_a_run_that_vanishes():
    class Takes(Callback):
        def on_step(self, *_: Any) -> None:
            if Path("run").exists():
                shutil.move("run", "elsewhere")

    text = said(lambda: run_of(callbacks=[Takes()], checkpoint_every=1))
    assert "Put it back and resume, or train again" in text
    shutil.move("elsewhere", "run")
    Trainer.resume("run", progress=False).fit()
    load("run")


@cases("bring back", "train again")
def test_a_run_without_its_checkpoints(way: str, line: Line):
    run_of(log_every=1)
    shutil.move("run/checkpoints", "kept")
    text = said(lambda: resume(steps=4))
    if way == "bring back":
        shutil.move("kept", Path("run", found(r"Bring back the folder '(\w+)'", text)))
        resume(steps=4).fit()
    else:
        command = found(r"(ganzoo train --config .+)$", text)
        line.follow(f"{command} --quiet")


def test_a_run_that_is_trained_in():
    run_of()
    with contextlib.ExitStack() as stack:
        stack.callback(RunLock(Path("run")).release)
        text = said(lambda: resume(steps=4).fit())
        assert "Wait for it or stop it" in text
    left = Path(found(r"if it is gone, delete (.+)\.$", text))
    left.unlink(missing_ok=True)
    resume(steps=4).fit()


@cases("copy", "again")
def test_a_run_without_a_whole_checkpoint(way: str, line: Line):
    run_of()
    kept = Path("run/checkpoints")
    shutil.copytree(kept, "copy")
    for path in kept.rglob("state.safetensors"):
        os.truncate(path, 20)
    text = said(lambda: resume(steps=4))
    if way == "copy":
        assert "bring back a copy of a checkpoint" in text
        shutil.rmtree(kept)
        shutil.copytree("copy", kept)
        resume(steps=4).fit()
    else:
        config = Path("run", found(r"Train again from the run's (\S+),", text))
        line.runs("train", "--config", str(config), "--out", "again", "--quiet")


def test_a_checkpoint_of_a_newer_version(monkeypatch: pytest.MonkeyPatch):
    run_of()
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 2)
    resume(steps=4).fit()
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 1)
    text = said(lambda: resume(steps=6))
    assert "upgrade ganzoo" in text
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", int(found(r"has format (\d+)", text)))
    resume(steps=6).fit()


@cases("again", "evaluate")
def test_other_metrics_for_a_run(way: str, line: Line):
    data = pixels(24, 16)
    np.save("x.npy", data)
    run_of("x.npy", evaluate_every=1, metrics=["swd"])
    text = said(lambda: resume(metrics=["ms-ssim"]))
    if way == "again":
        assert "Give the same ones again" in text
        resume(metrics=["swd"]).fit()
        return
    command = found(r"'(ganzoo evaluate)'", text)
    line.follow(f"{command} run --dataset x.npy --metrics swd --num-fake 24")


class Spoil(Callback):
    """Makes gradients NaN once."""

    def on_step(self, trainer: Trainer, step: Any) -> None:
        if trainer.step == 3:
            weight = next(trainer.game.generator.parameters())
            handle = weight.register_hook(lambda gradient: (handle.remove(), gradient * np.nan)[1])


@cases("rollback", "again", "without checkpoints")
def test_a_training_that_diverged(way: str, line: Line):
    np.save("x.npy", pixels())
    every = 0 if way == "without checkpoints" else 2
    settings = {"steps": 12, "checkpoint_every": every, "out": "run", "callbacks": [Spoil()]}
    text = said(lambda: fit("x.npy", **settings))
    if way == "rollback":
        command = found(r"'(ganzoo resume .+?)' goes on", text)
        line.follow(f"{command} --quiet")
        assert "step-00000012" in {each.name for each in Path("run/checkpoints").iterdir()}
        return
    flags = re.findall(r"(--[\w.-]+\b)", found(r"[Tt]rain again with (.+)\.$", text))
    assert flags == ["--g-optimizer.lr", "--d-optimizer.lr", "--clip-grad"]
    start = ("train", "mlp", "--dataset", "x.npy", *TINY, "--steps", "3")
    line.runs(*start, *(word for each in flags for word in (each, "1e-4")), "--out", "b")


@cases("back", "new")
def test_a_file_of_data_that_changed(way: str):
    np.save("x.npy", pixels())
    run = run_of("x.npy")
    np.save("x.npy", pixels(30))
    text = said(lambda: resume().fit())
    option = found(r"Bring them back as they were, or start a new .+\((\w+) starts", text)
    if way == "back":
        np.save("x.npy", pixels())
        resume().fit()
    else:
        settings = {"batch_size": 8, "steps": 2, "progress": False, "out": "b"}
        Trainer(dataset="x.npy", **settings, **{option: str(run)}).fit()


def test_a_checkpoint_of_another_configuration():
    run_of()
    kept = Path("run/config.yaml").read_text()
    Path("run/config.yaml").write_text(re.sub(r"hidden:\n( *)- 4", r"hidden:\n\1- 5", kept))
    text = said(lambda: resume().fit())
    assert "Restore the config.yaml it was trained with" in text
    Path("run/config.yaml").write_text(kept)
    resume().fit()


def test_a_run_that_went_on_elsewhere():
    run_of(steps=2, checkpoint_every=1)
    one = resume(steps=6)
    resume(steps=4).fit()
    assert "Resume the run again, from there" in said(one.fit)
    resume(steps=6).fit()


# -- doctor ---------------------------------------------------------------------------------------


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
        resume(steps=6).fit()
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
    assert "the lines above say what and what to do" in line.refused("doctor", "run")
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
