"""What ``ganzoo doctor FOLDER`` finds; every test spoils a copy of one run in one way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from ganzoo import Trainer
from ganzoo.errors import RunFolderError
from ganzoo.files import artifact, checkpoint
from ganzoo.files.storage import sha256, write_json
from ganzoo.generators import bundle
from ganzoo.runs.checkup import examine

SETTINGS: dict[str, Any] = {
    "arch": {"name": "mlp", "hidden": (3,)},
    "latent": 2,
    "batch_size": 8,
    "steps": 4,
    "checkpoint_every": 2,
    "snapshot_every": 4,
    "log_every": 1,
    "precision": "fp32",
    "device": "cpu",
    "progress": False,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    pictures = torch.randint(0, 256, (16, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    Trainer(dataset=pictures.byte(), out=folder, **SETTINGS).fit()
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="module", params=[False, True], ids=["inline", "async"])
def evaluated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    pictures = torch.randint(0, 256, (32, 1, 12, 12), generator=torch.Generator().manual_seed(0))
    settings = SETTINGS | {
        "steps": 12,
        "log_every": 2,
        "checkpoint_every": 6,
        "snapshot_every": 0,
        "metrics": [{"name": "swd", "patches": 2, "directions": 4}],
        "evaluate_every": 3,
        "evaluate_num_fake": 20,
        "evaluate_async": request.param,
    }
    Trainer(dataset=pictures.byte(), out=folder, **settings).fit()
    return folder


@pytest.fixture
def scored(evaluated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(evaluated, tmp_path / "scored"))


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def findings(folder: Path, verdict: str) -> dict[str, str]:
    """Text by place of the findings of one verdict; looking changes nothing."""
    before, state = contents(folder), torch.get_rng_state()
    found = list(examine(folder))
    assert contents(folder) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all("\n" not in finding.text for finding in found)
    return {each.place: each.text for each in found if each.verdict == verdict}


def the_wrong(folder: Path) -> tuple[str, str]:
    wrong = findings(folder, "wrong")
    assert len(wrong) == 1, wrong
    return next(iter(wrong.items()))


def flip(path: Path, place: int = -2) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def reweigh(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change tensors of a checkpoint or bundle with all facts that go with them."""
    file = "state.safetensors" if "step-" in folder.name else bundle.WEIGHTS
    tensors = {name: value.clone() for name, value in load_file(folder / file).items()}
    change(tensors)
    if file == bundle.WEIGHTS:
        config = bundle.read(folder)[0]
        save_file(tensors, folder / file, metadata={"format": "pt"})
        size, digest = (folder / file).stat().st_size, sha256(folder / file)
        facts = {**config.weights, file: bundle.WeightFile(size=size, sha256=digest)}
        raw = config.model_copy(update={"weights": facts}).model_dump(mode="json")
        write_json(folder / bundle.CONFIG, artifact.with_checksum(raw))
    else:
        state = checkpoint.load(folder)[1]
        del state["format_version"]
        checkpoint.save(folder.parent, int(folder.name[5:]), tensors, state)


def test_a_good_run(run: Path) -> None:
    assert findings(run, "wrong") == {}
    assert findings(run, "note") == {}
    good = findings(run, "ok")
    assert list(good) == [
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "samples",
        *(name for name in ("comparison.png", "curves.png") if (run / name).exists()),
        "checkpoints/step-00000002",
        "checkpoints/step-00000004",
        "generator",
        "snapshots/step-00000004",
    ]
    assert good["config.yaml"] == "format 1; mlp with non-saturating on tensor, 4 steps"
    assert good["metrics.jsonl"] == "4 rows, to step 4"
    assert good["checkpoints/step-00000002"].startswith("step 2, ")
    assert good["generator"].startswith("generator mlp, 4x4 greyscale image, ")
    assert good["generator"].endswith("; hashes agree, all finite, samples in range")
    assert good["snapshots/step-00000004"].startswith("both nets mlp, ")


@pytest.mark.parametrize("part", ["generator", "snapshots/step-00000004"])
def test_a_good_bundle(run: Path, part: str) -> None:
    assert [(each.place, each.verdict) for each in examine(run / part)] == [(".", "ok")]


def test_a_good_checkpoint(run: Path, tmp_path: Path) -> None:
    folder = run / "checkpoints/step-00000004"
    assert [each.verdict for each in examine(folder)] == ["ok"]
    alone = Path(shutil.copytree(folder, tmp_path / "alone" / folder.name))
    assert [each.verdict for each in examine(alone)] == ["ok"]


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_what_is_nothing_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    text = "is not a run, a saved generator" if name == "empty" else "There is no folder"
    with pytest.raises(RunFolderError, match=text):
        list(examine(tmp_path / name))


# -- damage, a place each --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        "generator/config.json",
        "generator/model.safetensors",
        "snapshots/step-00000004/discriminator.safetensors",
        "checkpoints/step-00000002/state.json",
        "checkpoints/step-00000004/state.safetensors",
    ],
)
@pytest.mark.parametrize("how", ["flipped", "removed"])
def test_damaged_files(run: Path, file: str, how: str) -> None:
    if how == "flipped":
        flip(run / file)
    else:
        (run / file).unlink()
    place, text = the_wrong(run)
    assert place == str(Path(file).parent.as_posix())
    if how == "flipped" or file != "generator/config.json":
        assert Path(file).name in text


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda c: c.update(loss="hing"), "Unknown loss 'hing'"),
        (lambda c: c.update(format_version=9), "upgrade ganzoo"),
        (lambda c: c.update(stepz=9), "Unknown setting 'stepz'"),
    ],
)
def test_settings(run: Path, spoil, problem: str) -> None:
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    spoil(config)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    place, text = the_wrong(run)
    assert place == "config.yaml" and problem in text


def test_settings_that_are_gone(run: Path) -> None:
    (run / "config.yaml").unlink()
    assert the_wrong(run)[0] == "config.yaml"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"threads": NaN}'])
def test_environment(run: Path, content: bytes) -> None:
    (run / "environment.json").write_bytes(content)
    place, text = the_wrong(run)
    assert place == "environment.json" and text.startswith("cannot be used (")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (['{"step": 1}', '{"step": 3}', '{"step": 2}'], "line 3 is of step 2, after one of step 3"),
        (['{"step": 1}', '{"step": 1}'], "line 2 is of step 1, after one of step 1"),
        (['{"step": 1}', "{"], "line 2 is not JSON"),
        (["[1]"], "line 1 has no step"),
        (['{"step": true}'], "line 1 has no step"),
        (['{"step": 1, "d_loss": NaN}'], "line 1 holds numbers that are not finite"),
    ],
)
def test_rows(run: Path, rows: list[str], problem: str) -> None:
    (run / "metrics.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    place, text = the_wrong(run)
    assert place == "metrics.jsonl" and problem in text


def test_a_row_that_was_cut_short(run: Path) -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 5, "d_l')
    assert findings(run, "wrong") == {}
    assert findings(run, "ok")["metrics.jsonl"] == "4 rows, to step 4"


def test_diagnoses_may_share_a_step(run: Path) -> None:
    path = run / "diagnoses.jsonl"
    path.write_text('{"step": 2, "kind": "a"}\n{"step": 2, "kind": "b"}\n', encoding="utf-8")
    assert findings(run, "ok")["diagnoses.jsonl"] == "2 rows, to step 2"
    path.write_text('{"step": 2}\n{"step": 1}\n', encoding="utf-8")
    assert the_wrong(run)[0] == "diagnoses.jsonl"


def rows_of(run: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text(encoding="utf-8").splitlines()]


def test_a_good_run_with_scores(scored: Path) -> None:
    steps = [row["step"] for row in rows_of(scored)]
    assert sorted(steps) == [2, 3, 4, 6, 6, 8, 9, 10, 12, 12]
    beside = yaml.safe_load((scored / "config.yaml").read_text("utf-8"))["evaluate_async"]
    assert (steps == sorted(steps)) is not beside  # else this looks at nothing
    assert findings(scored, "wrong") == {}
    assert findings(scored, "note") == {}
    good = findings(scored, "ok")
    assert good["metrics.jsonl"] == "6 rows and 4 of scores, to step 12"
    newest, *_ = [row for row in reversed(rows_of(scored)) if "swd" in row]
    assert good["scores.json"] == f"step 12: swd {newest['swd']:.6g}"
    assert good["best"].endswith("; hashes agree, all finite, samples in range")
    best = min(row["swd"] for row in rows_of(scored) if "swd" in row)
    assert good["best/metrics.json"] == f"swd {best:.6g}"
    assert list(findings(scored / "best", "ok")) == [".", "metrics.json"]


@pytest.mark.parametrize("step", [9, 12])
def test_rows_of_scores_ascend_by_themselves(scored: Path, step: int) -> None:
    with (scored / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "evaluated": step, "swd": 1.0}) + "\n")
    place, text = the_wrong(scored)
    assert place == "metrics.jsonl"
    assert text.startswith(f"line 11 is of step {step}, after one of step 12: two trainings")


def test_why_there_is_no_score_is_known_later(run: Path) -> None:
    path = run / "diagnoses.jsonl"
    late = '{"step": 4, "kind": "collapse"}\n{"step": 3, "kind": "score"}\n'
    path.write_text(late + '{"step": 4, "kind": "rollback"}\n', encoding="utf-8")
    assert findings(run, "ok")["diagnoses.jsonl"] == "3 rows, to step 4"
    path.write_text(late + '{"step": 2, "kind": "score"}\n', encoding="utf-8")
    assert the_wrong(run) == (
        "diagnoses.jsonl",
        "line 3 is of step 2, after one of step 3: two trainings wrote into this run, or it was "
        "edited. Remove that line.",
    )


@pytest.mark.parametrize("name", ["scores.json", "best/metrics.json", "generator/metrics.json"])
@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ("{", "cannot be used ("),
        ("[]", "cannot be used (it "),
        ('{"fid": 3.5}', "has no valid score 'fid' (it is not a score"),
        ('{"fid": {"value": NaN}}', "cannot be used (the number NaN is not finite"),
        ('{"fid": {"value": 1.0, "error": -1e999}}', "cannot be used (the number -1e999 is"),
        ('{"fid": {"value": null}}', "has no valid score 'fid' (The score: value "),
        (
            '{"fid": {"value": 1.0, "protocol": []}}',
            "has no valid score 'fid' (The score: protocol",
        ),
    ],
)
def test_scores_that_are_none(run: Path, name: str, scores: str, problem: str) -> None:
    if name.startswith("best"):
        shutil.copytree(run / "generator", run / "best")
    whole = f'{{"step": 4, "scores": {scores}}}' if name == "scores.json" else scores
    (run / name).write_text(whole, encoding="utf-8")
    place, text = the_wrong(run)
    assert place == name and text.startswith(problem)


def test_newest_scores_of_no_step(run: Path) -> None:
    (run / "scores.json").write_text('{"fid": {"value": 1.0}}', encoding="utf-8")
    place, text = the_wrong(run)
    assert place == "scores.json" and text.startswith("cannot be used (it has no step")


def test_the_best_generator(scored: Path) -> None:
    flip(scored / "best/model.safetensors")
    place, text = the_wrong(scored)
    assert place == "best" and "model.safetensors" in text


def test_pictures(run: Path) -> None:
    flip(run / "samples/step-00000004.png", 40)
    place, text = the_wrong(run)
    assert place == "samples" and text.startswith("step-00000004.png is damaged")


# -- whole files that do not fit ------------------------------------------------------------------


def spoilt(part: str, value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors[part].flatten()[:1].fill_(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("folder", "tensor"),
    [
        ("generator", "output.bias"),
        ("checkpoints/step-00000004", "discriminator.output.bias"),
        ("checkpoints/step-00000002", "g_optimizer.generator.output.bias.exp_avg"),
    ],
)
def test_numbers_that_are_not_finite(run: Path, folder: str, tensor: str, value: float) -> None:
    reweigh(run / folder, spoilt(tensor, value))
    place, text = the_wrong(run)
    assert place == folder
    assert f"'{tensor}' is not finite" in text


@pytest.mark.parametrize("kind", ["shape", "dtype", "float8", "absent", "extra"])
def test_tensors_that_do_not_fit(run: Path, kind: str) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        value = tensors.pop("output.bias")
        if kind != "absent":
            tensors["output.bias"] = {
                "shape": value[:3].clone(),
                "dtype": value.double(),
                "float8": value.to(torch.float8_e4m3fn),
            }.get(kind, value)
        if kind == "extra":
            tensors["other"] = torch.ones(1)

    reweigh(run / "generator", change)
    place, text = the_wrong(run)
    assert place == "generator"
    assert ("other" if kind == "extra" else "output.bias") in text


def test_any_error_of_a_reader_is_a_finding(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path) -> None:
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr(bundle, "load", fails)
    assert findings(run, "wrong")["generator"] == (
        "cannot be used (NotImplementedError: no such kernel). Restore the file that ganzoo "
        "wrote, or delete it."
    )


def test_a_checkpoint_under_another_name(run: Path) -> None:
    (run / "checkpoints/step-00000002").rename(run / "checkpoints/step-00000003")
    place, text = the_wrong(run)
    assert place == "checkpoints/step-00000003"
    assert text == "holds step 2, but its name is of another: give it its own name back."


def test_a_generator_of_another_architecture(run: Path, tmp_path: Path) -> None:
    pictures = torch.zeros(16, 1, 4, 4, dtype=torch.uint8)
    arch = {"name": "mlp", "hidden": (3,), "slope": 0.5}
    other = Trainer(dataset=pictures, **{**SETTINGS, "arch": arch})
    other.setup()
    other.generator.save_pretrained(run / "generator")
    place, text = the_wrong(run)
    assert place == "generator" and text.startswith("is of another architecture")


def test_samples_outside_their_range(run: Path) -> None:
    """The weights are as they were saved, and the sample spec says something else."""
    config, weights = bundle.read(run / "generator")
    bounded = config.sample.model_copy(update={"value_range": (0.0, 0.5)})
    shutil.rmtree(run / "generator")
    bundle.write(run / "generator", config.model_copy(update={"sample": bounded}), weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganzoo.architectures.mlp.output_activation", lambda spec: torch.nn.Tanh())
        place, text = the_wrong(run)
    assert place == "generator"
    assert text.startswith("makes values from -") and "outside its range of 0 to 0.5" in text


# -- what kills leave ------------------------------------------------------------------------------


def test_remains_are_noted(run: Path) -> None:
    shutil.copytree(run / "generator", run / ".generator.0123abcd.tmp")
    (run / "checkpoints/.step-00000006.0123abcd.tmp").mkdir()
    (run / "checkpoints/step-00000002").rename(run / "checkpoints/broken-step-00000002")
    write_json(run / ".owner.json", {"host": "ada", "pid": 7, "started": "2026-12-01"})
    assert findings(run, "wrong") == {}
    notes = findings(run, "note")
    assert list(notes) == [
        ".owner.json",
        ".generator.0123abcd.tmp",
        "checkpoints/.step-00000006.0123abcd.tmp",
        "checkpoints/broken-step-00000002",
    ]
    assert "process 7 on ada, since 2026-12-01" in notes[".owner.json"]


def test_a_run_that_was_killed_before_its_first_checkpoint(run: Path) -> None:
    for part in ("checkpoints", "generator", "snapshots"):
        shutil.rmtree(run / part)
    (run / "checkpoints").mkdir()
    assert findings(run, "wrong") == {}
    assert findings(run, "note") == {
        "checkpoints": "none yet: 'ganzoo resume' starts the run afresh"
    }


def test_a_generator_that_is_gone(run: Path) -> None:
    shutil.rmtree(run / "generator")
    place, text = the_wrong(run)
    assert place == "generator" and text.startswith("is missing.")


def test_all_that_is_wrong_is_said_at_once(run: Path) -> None:
    flip(run / "generator/model.safetensors")
    flip(run / "checkpoints/step-00000004/state.json")
    (run / "environment.json").write_text(json.dumps([]), encoding="utf-8")
    assert list(findings(run, "wrong")) == [
        "environment.json",
        "checkpoints/step-00000004",
        "generator",
    ]


# -- what others may have put there ----------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize(
    "name",
    [
        *("config.yaml", "environment.json", "metrics.jsonl", "diagnoses.jsonl", "curves.png"),
        *("samples/step-00000004.png", "scores.json", "generator/metrics.json", ".owner.json"),
    ],
)
def test_a_pipe_is_not_waited_for(run: Path, name: str) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    found = list(examine(run))
    if name == ".owner.json":
        assert "unreadable" in found[0].text
    else:
        assert sum("it is not a regular file" in each.text for each in found) == 1


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "metrics.jsonl", "curves.png"])
def test_links_that_lead_out(run: Path, name: str) -> None:
    (run / name).unlink(missing_ok=True)
    (run.parent / "secret").write_text("{}\n", encoding="utf-8")
    (run / name).symlink_to("../secret")
    place, text = the_wrong(run)
    assert place == name and "it is a link that leads out of" in text


@pytest.mark.parametrize("name", ["environment.json", "metrics.jsonl"])
def test_files_that_are_too_large(run: Path, name: str) -> None:
    (run / name).write_bytes(b" " * (2**20 + 1) + b"{}\n")
    place, text = the_wrong(run)
    assert place == name and "is larger than 1,048,576 bytes" in text


@pytest.mark.parametrize("name", ["comparison.png", "curves.png", "animation.gif"])
def test_the_pictures_of_the_run(run: Path, name: str) -> None:
    Image.effect_noise((40, 30), 9).save(run / name)
    assert findings(run, "ok")[name] == "40x30"
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])
    place, text = the_wrong(run)
    assert place == name and text.startswith("is damaged (")


def test_what_files_say_does_nothing_to_a_terminal(run: Path) -> None:
    (run / "environment.json").write_text('{"torch": "\\u001b]0;x\\u0007猫"}', encoding="utf-8")
    assert findings(run, "ok")["environment.json"] == "torch ?]0;x?猫"
    (run / "broken-\x1b[31m").touch()
    assert "broken-?[31m" in findings(run, "note")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(RunFolderError):
            list(examine(tmp_path / name))
