from __future__ import annotations

import base64
import errno
import json
from pathlib import Path

import pytest
import torch
import yaml

from ganzoo.architectures.mlp import MLP
from ganzoo.config import resolve
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import BundleError, RunFolderError
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.runs.run import Run, cannot_write, make_folder, next_folder, writing

ROWS = [
    {"step": 20, "epoch": 0.5, "d_loss": 1.25, "g_loss": 0.75},
    {"step": 40, "epoch": 1.0, "d_loss": 1.123456789, "g_loss": 0.5},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    make_folder(path)
    (path / "samples").mkdir()
    config = resolve({"arch": {"name": "mlp", "hidden": [4]}, "steps": 40, "seed": 3})
    (path / "config.yaml").write_text(yaml.safe_dump(config.dump()), encoding="utf-8")
    return path


def log(folder: Path, rows=ROWS, end: str = "") -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text + end, encoding="utf-8")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError) as caught:
        Run(tmp_path / "absent")
    assert str(caught.value) == (
        f"There is no folder {tmp_path / 'absent'}. Give the folder of a run."
    )


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError) as caught:
        Run(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path} is not a run: it has no config.yaml. Give the folder that 'ganzoo train' "
        f"named."
    )


def test_config_and_environment(folder: Path) -> None:
    run = Run(str(folder))
    assert run.path == folder
    expected = resolve({"arch": {"name": "mlp", "hidden": [4]}, "steps": 40, "seed": 3})
    assert run.config == expected
    (folder / "environment.json").write_text('{"device": "cpu"}', encoding="utf-8")
    assert run.environment == {"device": "cpu"}


def test_history(folder: Path) -> None:
    run = Run(folder)
    assert run.history == []
    assert repr(run) == f"Run({folder}, step 0)"
    log(folder)
    assert run.history == ROWS
    assert repr(run) == f"Run({folder}, step 40)"


def test_a_row_that_was_cut_off_is_not_in_the_history(folder: Path) -> None:
    """A full disk or a killed process may leave half a line at the end."""
    log(folder, end='{"step": 60, "epo')
    assert Run(folder).history == ROWS


def test_samples_are_in_order(folder: Path) -> None:
    run = Run(folder)
    assert run.samples == []
    for name in ("step-00000100.png", "step-00000020.png", "notes.txt"):
        (folder / "samples" / name).touch()
    assert [path.name for path in run.samples] == ["step-00000020.png", "step-00000100.png"]


def test_generator(folder: Path) -> None:
    with pytest.raises(BundleError, match="has not saved its generator yet"):
        _ = Run(folder).generator
    arch, latent = MLP(hidden=(4,)), LatentSpec(shape=(3,))
    spec = SampleSpec(kind="vector", shape=(2,), value_range=None)
    config = BundleConfig(architecture=arch, sample=spec, latent=latent)
    generator = Generator(arch.generator(spec, latent), config)
    generator.save_pretrained(folder / "generator")
    run = Run(folder)
    assert torch.equal(run.generator.sample(3, seed=0), generator.sample(3, seed=0))
    assert run.generator is run.generator


def test_html_of_an_empty_run(folder: Path) -> None:
    assert Run(folder)._repr_html_() == f"<div><p><b>{folder}</b></p></div>"


def test_html(folder: Path) -> None:
    log(folder, [{"step": 40, "d_loss": 1.123456789, "a<b": 1.0}])
    (folder / "samples" / "step-00000020.png").write_bytes(b"first")
    (folder / "samples" / "step-00000040.png").write_bytes(b"last")
    picture = base64.b64encode(b"last").decode("ascii")
    head = "<tr><th style='text-align:left'>"
    assert Run(folder)._repr_html_() == (
        f"<div><p><b>{folder}</b></p>"
        f'<img alt="samples" style="max-width:32em" src="data:image/png;base64,{picture}">'
        f"<table>{head}step</th><td>40</td></tr>{head}d_loss</th><td>1.1235</td></tr>"
        f"{head}a&lt;b</th><td>1</td></tr></table></div>"
    )


# -- new folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [False, True])
def test_a_new_folder(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "deep" / "run"
    if there:
        path.mkdir(parents=True)
    make_folder(path)
    assert not list(path.iterdir())


def test_what_a_start_that_was_killed_at_once_leaves_is_nothing(tmp_path: Path) -> None:
    for name in (".lock", ".owner.json", ".config.yaml.0123abcd.tmp"):
        (tmp_path / name).touch()
    make_folder(tmp_path)
    (tmp_path / ".config.yaml").touch()
    with pytest.raises(RunFolderError, match="not an empty folder"):
        make_folder(tmp_path)


def test_a_folder_with_a_run(folder: Path) -> None:
    with pytest.raises(RunFolderError) as caught:
        make_folder(folder)
    assert str(caught.value) == (
        f"{folder} already holds a run. Continue it with 'ganzoo resume {folder}' or choose "
        f"another folder with --out."
    )


@pytest.mark.parametrize("kind", ["file", "full"])
def test_a_folder_that_is_taken(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "taken"
    if kind == "file":
        path.write_text("mine", encoding="utf-8")
    else:
        path.mkdir()
        (path / "mine.txt").touch()
    with pytest.raises(RunFolderError) as caught:
        make_folder(path)
    assert str(caught.value) == (
        f"{path} already exists and is not an empty folder. Choose another one with --out."
    )


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=lambda error: error.strerror,
)
def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch, error) -> None:
    def refuse(self: Path, *arguments, **options) -> None:
        raise error

    monkeypatch.setattr(Path, "mkdir", refuse)
    path = tmp_path / "run"
    with pytest.raises(RunFolderError) as caught:
        make_folder(path)
    assert str(caught.value) == (
        f"The run folder {path} cannot be written ({error.strerror}). Free some space or use "
        f"another folder."
    )
    assert caught.value.__cause__ is error


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"file/run cannot be written \("):
        make_folder(tmp_path / "file" / "run")


def test_an_error_without_a_reason_of_the_system() -> None:
    assert str(cannot_write(Path("runs/a"), OSError("odd"))) == (
        f"The run folder {Path('runs/a')} cannot be written (odd). Free some space or use "
        f"another folder."
    )


def test_the_next_folder(tmp_path: Path) -> None:
    parent = tmp_path / "runs"
    assert next_folder(parent, "mlp-mnist") == parent / "mlp-mnist-1"
    assert (parent / "mlp-mnist-1").is_dir()  # made at once, so that no other process takes it
    for name in ("mlp-mnist-3", "mlp-cifar10-2"):
        (parent / name).mkdir()
    assert next_folder(parent, "mlp-mnist") == parent / "mlp-mnist-2"
    (parent / "mlp-mnist-2").rmdir()
    (parent / "mlp-mnist-2").write_text("a file counts too", encoding="utf-8")
    assert next_folder(parent, "mlp-mnist") == parent / "mlp-mnist-4"
    assert next_folder(parent, "mlp") == parent / "mlp-1"


# -- going back to a step -------------------------------------------------------------------------


def test_rewinding_forgets_what_came_after(folder: Path) -> None:
    log(folder, [{"step": step} for step in (10, 20, 25, 30)])
    (folder / "diagnoses.jsonl").write_text(
        "".join(f'{{"step": {step}, "kind": "x", "text": "\\u2028"}}\n' for step in (25, 30)),
        encoding="utf-8",
    )
    for part in ("samples", "snapshots", "checkpoints"):
        (folder / part).mkdir(exist_ok=True)
        for step in (20, 25, 30):
            name = f"step-{step:08d}"
            if part == "samples":
                (folder / part / f"{name}.png").touch()
            else:
                (folder / part / name).mkdir()
    (folder / "curves.png").touch()
    run = Run(folder)
    run.rewind(25, whole=lambda step: step % 10 == 0, pictured=lambda step: step % 10 == 0)
    assert [row["step"] for row in run.history] == [10, 20]
    assert run.diagnoses == [{"step": 25, "kind": "x", "text": "\u2028"}]
    assert [path.stem for path in run.samples] == ["step-00000020"]
    for part in ("snapshots", "checkpoints"):
        left = sorted(path.name for path in (folder / part).iterdir())
        assert left == ["step-00000020", "step-00000025"]
    assert not (folder / "curves.png").exists()


def test_tidying_finds_what_kills_left(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / ".step-00000020.0123abcd.tmp").mkdir()
    (folder / ".generator.0123abcd.old").mkdir()
    (folder / ".metrics.jsonl.0123abcd.tmp").touch()
    done = Run(folder).clean_partial_writes()
    assert len(done) == 3
    assert (folder / "generator").is_dir()
    assert not Run(folder).clean_partial_writes()


def test_a_folder_that_vanished_is_named(folder: Path) -> None:
    (folder / "config.yaml").unlink()
    with pytest.raises(RunFolderError, match="has vanished"), writing(folder):
        pass


@pytest.mark.parametrize("row", ['{"step": Infinity}', "[" * 100_000, '{"step": "x"}', "{}"])
def test_a_row_that_is_none(folder: Path, row: str) -> None:
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(row + "\n")
    with pytest.raises(RunFolderError, match=r"of .*metrics\.jsonl is damaged"):
        _ = Run(folder).history


def test_a_file_in_the_way_of_the_next_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("", encoding="utf-8")
    with pytest.raises(RunFolderError, match="cannot be written"):
        next_folder(tmp_path / "runs", "a")
