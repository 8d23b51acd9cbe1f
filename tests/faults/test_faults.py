"""A run survives whatever ends it, and comes out as if nothing had (see ``harness``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

SEED = 0
SHORT = {"kills": 12, "failing": 6, "signals": 4, "others": 1, "workers": 1, "full-disk": 1}
LONG = {"kills": 200, "failing": 50, "signals": 40, "others": 10, "workers": 8, "full-disk": 25}

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals"),
    pytest.mark.timeout(3600),
]


def play(folder: Path, counts: Mapping[str, int], seed: int = SEED) -> dict[str, Any]:
    """Do so many of each to trainings, in a process whose only business that is."""
    root, report = folder / "runs", folder / "report.json"
    root.mkdir()
    wanted = [f"--{part}={count}" for part, count in counts.items()]
    program = Path(__file__).with_name("harness.py")
    done = subprocess.run(
        [
            sys.executable,
            program,
            f"--root={root}",
            f"--report={report}",
            f"--seed={seed}",
            *wanted,
        ],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GANZOO_DISABLE_PLUGINS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return play(tmp_path_factory.mktemp("few"), SHORT)


@pytest.mark.parametrize("part", SHORT)
def test_all_runs_end_as_if_undisturbed(few: dict[str, Any], part: str) -> None:
    if part in few[part]["skipped"]:
        pytest.skip(few[part]["skipped"][part])
    assert not few[part]["problems"], "\n".join(few[part]["problems"])
    assert few[part]["figures"]["runs"] >= 1


def test_what_was_done_to_them(few: dict[str, Any]) -> None:
    figures = {name: count for part in few.values() for name, count in part["figures"].items()}
    assert figures["kills"] >= SHORT["kills"]
    assert figures["kills while a checkpoint was written"] >= 1
    assert figures["kills before the first checkpoint"] >= 1
    assert figures["failing writes"] >= SHORT["failing"]
    assert figures["signals"] >= SHORT["signals"]
    assert figures["second processes refused"] >= 2


@pytest.mark.slow
def test_at_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = play(tmp_path, LONG)
    with capsys.disabled():
        for part, facts in found.items():
            print(f"\n{part}: {facts['seconds']} s, {facts['cpu_seconds']} s of CPU")
            for name, reason in facts["skipped"].items():
                print(f"  skipped {name}: {reason}")
            for name, count in sorted(facts["figures"].items()):
                print(f"  {count:5d} {name}")
    problems = [problem for facts in found.values() for problem in facts["problems"]]
    assert not problems, "\n".join(problems)
    kills, failing = found["kills"]["figures"], found["failing"]["figures"]
    assert kills["kills"] >= LONG["kills"]
    assert kills["kills while a checkpoint was written"] >= 50
    assert kills["kills before the first checkpoint"] >= 10
    assert kills["resumed afresh"] >= 5
    assert kills["runs lost"] == 0
    assert failing["failing writes"] >= LONG["failing"]
    assert found["signals"]["figures"]["signals"] >= LONG["signals"]
