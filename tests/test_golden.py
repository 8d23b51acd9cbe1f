"""Folders written by earlier versions load, compute and train on as they did.

``tools/make_golden.py`` writes the folder of a format once; its name then goes into ``WRITTEN``
and is never taken out again.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from ganzoo import Generator, Run, Trainer
from ganzoo.config import FORMAT_VERSION
from ganzoo.errors import BundleError, CheckpointError, ConfigError
from ganzoo.files import artifact, checkpoint
from ganzoo.files.storage import write_json
from ganzoo.generators import bundle
from ganzoo.runs.checkup import examine

WRITTEN = ("format-1",)
"""Every folder that must be in tests/golden."""

GOLDEN = Path(__file__).parent / "golden"
TOOL = Path(__file__).parents[1] / "tools/make_golden.py"
NOW = "now"  # made afresh, so that the tool is tested too
CLOSE = {"rtol": 1e-3, "atol": 1e-4}  # other processors, other versions of torch


def test_nothing_golden_is_lost() -> None:
    there = [path.name for path in GOLDEN.iterdir() if path.is_dir()] if GOLDEN.exists() else []
    assert sorted(there) == sorted(WRITTEN)
    if WRITTEN:
        attributes = (GOLDEN / ".gitattributes").read_text(encoding="utf-8")
        assert attributes == "* -text\n"  # else git may convert line ends, which are hashed


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_golden", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=[*WRITTEN, NOW])
def golden(
    request: pytest.FixtureRequest, tool: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if request.param != NOW:
        return GOLDEN / request.param
    folder = tmp_path_factory.mktemp("golden") / "format-now"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganzoo.showing.plots.available", lambda: False)  # which the tool sets, too
        tool.make(folder)
    return folder


@pytest.fixture
def expected(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def copy(golden: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden, tmp_path / "copy"))


def close(found: Any, wanted: list[Any]) -> None:
    torch.testing.assert_close(torch.as_tensor(found), torch.tensor(wanted), **CLOSE)


def same_rows(found: list[dict[str, float]], wanted: list[dict[str, float]]) -> None:
    """Later versions may add numbers; those of then are as they were."""
    assert len(found) == len(wanted)
    for new, old in zip(found, wanted, strict=True):
        assert new.keys() >= old.keys()
        for name, value in old.items():
            assert new[name] == pytest.approx(value, rel=1e-3, abs=1e-4), (new["step"], name)


def test_it_is_whole(golden: Path, tool: ModuleType) -> None:
    for part in ("run", "bundle"):
        assert [each for each in examine(golden / part) if each.verdict != "ok"] == []
    files = [path for path in golden.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < tool.LIMIT


def test_generators_make_what_they_made(golden: Path, expected: dict[str, Any]) -> None:
    for part, wanted in (
        ("run", expected["run"]["samples"]),
        ("run/snapshots/step-00000004", expected["run"]["snapshot"]),
        ("bundle", expected["bundle"]["samples"]),
    ):
        close(Generator.from_pretrained(golden / part).sample(2, seed=0), wanted)
    assert Generator.from_pretrained(golden / "bundle").spec.shape == (1, 3, 4)  # padding undone


def test_a_discriminator_judges_as_it_did(golden: Path, expected: dict[str, Any]) -> None:
    judge = bundle.discriminator(golden / "bundle").eval()
    with torch.no_grad():
        scores = judge(torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4))
    close(scores, expected["bundle"]["scores"])


def test_a_run_is_read(golden: Path, expected: dict[str, Any]) -> None:
    run = Run(golden / "run")
    assert run.config.arch.name == "mlp" and run.config.steps == 4
    assert run.environment["ganzoo"] == expected["ganzoo"]
    assert run.history == expected["run"]["history"]
    assert [row["step"] for row in run.history] == [1, 2, 3, 4]


@pytest.mark.parametrize("start", [2, 4])
def test_a_run_goes_on(copy: Path, expected: dict[str, Any], start: int) -> None:
    if start == 2:
        shutil.rmtree(copy / "run/checkpoints/step-00000004")
    trainer = Trainer.resume(copy / "run", steps=6, progress=False)
    assert trainer.step == start
    run = trainer.fit()
    same_rows(run.history, expected["resumed"]["history"])
    close(run.generator.sample(2, seed=0), expected["resumed"]["samples"])


# -- what a later format would look like ----------------------------------------------------------


def newer_config(run: Path) -> None:
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config |= {"format_version": FORMAT_VERSION + 1, "invention": 1}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


def newer_checkpoints(run: Path) -> None:
    version = checkpoint.FORMAT_VERSION + 1
    for folder in (run / "checkpoints").iterdir():
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        del state["sha256"]
        state |= {"format_version": version, "invention": 1}
        write_json(folder / "state.json", artifact.with_checksum(state))


def newer_bundle(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del raw["sha256"]
    raw |= {"format_version": bundle.FORMAT_VERSION + 1, "invention": 1}
    write_json(folder / "config.json", artifact.with_checksum(raw))


def resume(run: Path) -> object:
    return Trainer.resume(run, steps=6, progress=False)


@pytest.mark.parametrize(
    ("part", "renew", "use", "error"),
    [
        ("run", newer_config, resume, ConfigError),
        ("run", newer_config, lambda run: Run(run).config, ConfigError),
        ("run", newer_checkpoints, resume, CheckpointError),
        ("run/generator", newer_bundle, Generator.from_pretrained, BundleError),
        ("bundle", newer_bundle, Generator.from_pretrained, BundleError),
        ("bundle", newer_bundle, bundle.discriminator, BundleError),
    ],
)
def test_a_newer_format_is_refused(
    copy: Path,
    part: str,
    renew: Callable[[Path], None],
    use: Callable[[Path], object],
    error: type[Exception],
) -> None:
    use(copy / part)  # as it is, it is read
    renew(copy / part)
    before = sorted(path for path in copy.rglob("*") if path.name not in (".lock", ".owner.json"))
    with pytest.raises(
        error, match=r"has format \d+, but this ganzoo reads up to \d+: upgrade ganz"
    ):
        use(copy / part)
    wrong = [each for each in examine(copy / part) if each.verdict == "wrong"]
    assert wrong and all("upgrade ganzoo" in each.text for each in wrong)
    after = sorted(path for path in copy.rglob("*") if path.name not in (".lock", ".owner.json"))
    assert after == before  # it is neither set aside nor overwritten
