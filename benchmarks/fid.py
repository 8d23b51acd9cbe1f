"""Time of ``ganzoo evaluate`` against pytorch-fid's program, on the same pictures and weights.

Both programs start anew each time, read the pictures of folder FIRST, and print their FID against
those of folder SECOND. pytorch-fid is timed as it is usually called, with two folders, and with
statistics of SECOND that it has saved before; ganzoo has kept its own of SECOND, as it does
unasked, and of FIRST nothing. The programs take turns, so that a machine that slows down slows all;
a round's ratio is the figure, not the seconds.

    pip install --no-deps pytorch-fid
    pip install "scipy<1.18"
    python benchmarks/fid.py --weights WEIGHTS --first FOLDER --second FOLDER --rounds 2

WEIGHTS is a file of the Inception network's weights, safetensors or ``.pth``; FID does not use its
last layer, which may lack.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ganzoo.features.inception_net import InceptionNet
from ganzoo.features.weights import load

PRECISIONS = ("bf16", "fp32")
PUBLISHED = "pt_inception-2015-12-05-6726825d.pth"  # where pytorch-fid looks before it downloads


class Programs:
    """Both programs on the same two folders.

    Args:
        work: A folder for all that they keep.
        weights: A file of weights.
        first: Folder of the pictures that are scored.
        second: Folder of the pictures that they are compared with.

    Attributes:
        seconds: What the last program has taken.
    """

    seconds: float

    def __init__(self, work: Path, weights: Path, first: Path, second: Path) -> None:
        self._work, self._weights = work, weights.absolute()
        self._first, self._second = first.absolute(), second.absolute()
        shapes = InceptionNet.shapes()
        last = [name for name in shapes if name.startswith("fc.")]
        missing = {name: torch.zeros(shapes[name]) for name in last}
        place = work / "hub" / "checkpoints" / PUBLISHED
        place.parent.mkdir(parents=True)
        torch.save(missing | load(self._weights, shapes, last), place)

    def theirs(self, *arguments: Path | str) -> float | None:
        """Run pytorch-fid; return the FID that it prints."""
        found = self._run(["pytorch_fid", "--device", "cpu", *map(str, arguments)], {})
        told = re.search(r"FID:\s*(\S+)", found)
        return None if told is None else float(told[1])

    def both_folders(self) -> float | None:
        """Run pytorch-fid on the pictures of both folders."""
        return self.theirs(self._first, self._second)

    def save_statistics(self) -> float | None:
        """Run pytorch-fid on SECOND only."""
        return self.theirs("--save-stats", self._second, self._work / "second.npz")

    def with_statistics(self) -> float | None:
        """Run pytorch-fid on the pictures of FIRST, and the statistics of SECOND."""
        return self.theirs(self._first, self._work / "second.npz")

    def ours(self, source: Path, precision: str, cache: Path) -> float:
        """Run ganzoo against SECOND; return the FID that it prints."""
        command = ["ganzoo", "evaluate", str(source), "--dataset", str(self._second)]
        command += ["--metrics", "fid", "--preset", "pytorch-fid", "--precision", precision]
        places = {"GANZOO_CACHE": str(cache), "GANZOO_INCEPTION_WEIGHTS": str(self._weights)}
        found = self._run([*command, "--device", "cpu", "--json"], places)
        return float(json.loads(found)["fid"]["value"])

    def keep(self, precision: str) -> None:
        """Have ganzoo keep what it keeps of SECOND."""
        self.ours(self._second, precision, self._kept(precision) / "cache")

    def with_kept(self, precision: str) -> float:
        """Run ganzoo on the pictures of FIRST, with what was kept of SECOND and nothing else."""
        fresh = self._work / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(self._kept(precision), fresh)
        return self.ours(self._first, precision, fresh / "cache")

    def _kept(self, precision: str) -> Path:
        return self._work / f"kept-{precision}"

    def _run(self, command: Sequence[str], places: dict[str, str]) -> str:
        settings = {**os.environ, "TORCH_HOME": str(self._work), **places}
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", *command],
            env=settings,
            capture_output=True,
            text=True,
        )
        self.seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
        return done.stdout


def main() -> None:
    """Measure rounds and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--first", type=Path, required=True, help="pictures that are scored")
    parser.add_argument("--second", type=Path, required=True, help="pictures to compare with")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        measure(
            Programs(Path(folder), options.weights, options.first, options.second), options.rounds
        )


def measure(programs: Programs, rounds: int) -> None:
    """Let the programs take turns."""
    programs.save_statistics()
    for precision in PRECISIONS:
        programs.keep(precision)
    sides = {
        "pytorch-fid, two folders": programs.both_folders,
        "pytorch-fid, saved statistics": programs.with_statistics,
        **{f"ganzoo, {p}": lambda p=p: programs.with_kept(p) for p in PRECISIONS},
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    value: dict[str, float | None] = {}
    for number in range(rounds):
        for name, run in sides.items():
            value[name] = run()
            seconds[name].append(programs.seconds)
            print(
                f"round {number + 1}: {name}: {seconds[name][-1]:.1f} s, FID {value[name]}",
                flush=True,
            )
    for theirs in list(sides)[:2]:
        for mine in list(sides)[2:]:
            ratios = [a / b for a, b in zip(seconds[theirs], seconds[mine], strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            away = (value[mine] or 0.0) / (value[theirs] or 1.0) - 1
            print(
                f"{mine} against {theirs}: x{statistics.median(ratios):.2f} ({spread}), "
                f"FID {away:+.3%}"
            )


if __name__ == "__main__":
    main()
