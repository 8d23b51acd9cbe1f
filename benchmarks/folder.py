"""Time of the first pass of the dataset ``folder`` against decoding alone with torchvision.

    python benchmarks/folder.py path/to/folder --pairs 5 --size 64 --threads 1 2

ganzoo's side is ``load()`` with an empty cache: listing, decoding, resizing where ``--size`` says
so, writing the cache, hashing it and flushing it to the disk. torchvision's side lists the same
files and calls ``decode_image`` for each, once with nothing more ("decode"), and where there is a
size once with ``resize`` (antialiased) after it ("decode + resize"); it keeps nothing. Both sides
have the same number of threads, and torch computes with one in each of them.

Every measurement is a fresh process that has imported what it needs before the clock starts, with
files that have been read once before. The sides take turns, so that a machine that slows down slows
all; the figures are the ratios of a turn, and their median. The ratio of processor times is printed
too, which other work on the machine disturbs less, but which leaves out waiting for the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp")  # what torchvision decodes
TOGETHER = 64


def ganzoo_seconds(folder: Path, size: int | None, threads: int) -> dict[str, float]:
    """Seconds of the first load, and of the second."""
    import torchvision.io  # noqa: F401

    from ganzoo import datasets

    with tempfile.TemporaryDirectory() as cache:
        options = {"path": folder, "size": size, "cache": cache, "workers": threads}
        dataset = datasets.create("folder", labels="none", **options)
        first = timed(dataset.load)
        again = timed(dataset.load)
    return {"wall": first["wall"], "processor": first["processor"], "again": again["wall"]}


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds on the wall and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def torchvision_pass(folder: Path, size: int | None, threads: int) -> None:
    """Decode every file, and resize it if there is a size."""
    from torchvision.io import decode_image
    from torchvision.transforms.v2.functional import resize

    warnings.simplefilter("ignore")

    def decode(paths: list[str]) -> None:
        for path in paths:
            picture = decode_image(path)
            if size is not None:
                resize(picture, [size, size], antialias=True)

    paths = [
        os.path.join(place, name)  # noqa: PTH118 - the quicker way
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
    ]
    tasks = [paths[start : start + TOGETHER] for start in range(0, len(paths), TOGETHER)]
    if threads == 1:
        for task in tasks:
            decode(task)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(decode, tasks))


def measure(side: str, folder: Path, size: int | None, threads: int) -> dict[str, float]:
    """One measurement, in this process."""
    import torch

    torch.set_num_threads(1)
    if side == "ganzoo":
        return ganzoo_seconds(folder, size, threads)
    resizing = size if side == "decode + resize" else None
    import torchvision.transforms.v2.functional  # noqa: F401 - before the clock starts

    return timed(lambda: torchvision_pass(folder, resizing, threads))


def main() -> None:
    """Measure in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=5, help="turns")
    parser.add_argument("--size", type=int, help="side to resize to; by default none")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder, size = options.folder.absolute(), options.size
    if options.side:
        print(json.dumps(measure(options.side, folder, size, options.threads[0])))
        return

    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()
    sides = ["ganzoo", "decode", *(["decode + resize"] if size else [])]
    for threads in dict.fromkeys(options.threads):
        kinds = [(side, clock) for side in sides[1:] for clock in ("wall", "processor")]
        ratios: dict[tuple[str, str], list[float]] = {kind: [] for kind in kinds}
        for turn in range(options.pairs):
            seconds: dict[str, dict[str, float]] = {}
            for side in sides if turn % 2 == 0 else reversed(sides):
                command = [sys.executable, __file__, str(folder), "--side", side]
                command += ["--threads", str(threads), *(["--size", str(size)] if size else [])]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                seconds[side] = json.loads(done.stdout.splitlines()[-1])
            for side, clock in kinds:
                ratios[side, clock].append(seconds["ganzoo"][clock] / seconds[side][clock])
            shown = ", ".join(f"{side} {times['wall']:.2f} s" for side, times in seconds.items())
            shown += f", ganzoo again {seconds['ganzoo']['again']:.2f} s"
            print(f"{threads} threads, turn {turn + 1}: {shown}", flush=True)
        for (side, clock), found in ratios.items():
            print(
                f"{threads} threads, {clock} time, ganzoo / torchvision ({side}): median "
                f"{statistics.median(found):.2f}, {min(found):.2f} to {max(found):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
