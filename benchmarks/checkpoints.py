"""CPU time of the default job with checkpoints every 50 iterations against none.

One training of the default job (``Trainer("dcgan")`` with its default data and settings, rows and
pictures included) is cut into stretches of 50 iterations. Every other one, in alternating order
within its pair, begins with a checkpoint and the generator's bundle being written; the CPU time of
the whole process, the writing thread included, is compared within each pair.

A virtual machine's speed drifts by more from stretch to stretch than a save costs. So beside the
plain ratio there is one in units of the stretch's own later iterations, which a save does not
reach: what the first ten cost, counted in those, plus forty, with a save against without.

    python benchmarks/checkpoints.py --pairs 30
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
from pathlib import Path

import ganzoo

STRETCH = 50
REACH = 10  # iterations within which a save is over


class Alternating(ganzoo.Trainer):
    """Saves at the beginning of every other stretch only."""

    saves = 0

    def _save(self, run: ganzoo.Run) -> None:
        if saving(self.step // STRETCH):
            self.saves += 1
            super()._save(run)


class Clock(ganzoo.Callback):
    """Reads the CPU time after each iteration, before anything is written there."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def on_step(self, trainer: ganzoo.Trainer, step: object) -> None:
        """Read both clocks."""
        self.cpu.append(time.process_time())
        self.wall.append(time.perf_counter())


def stretches(read: list[float], own: bool) -> list[float]:
    """Cost of each stretch from the second on: in seconds, or in iterations of its own."""
    spent = [after - before for before, after in itertools.pairwise(read)]
    # A save after iteration n is in spent[n - 1], together with iteration n + 1.
    found = []
    for start in range(STRETCH - 1, len(spent) - STRETCH + 1, STRETCH):
        part = spent[start : start + STRETCH]
        rest = statistics.mean(part[REACH:])
        found.append(sum(part[:REACH]) / rest + STRETCH - REACH if own else sum(part))
    return found


def saving(stretch: int) -> bool:
    """Whether that stretch begins with a save: A B, B A, A B, ..."""
    pair, second = divmod(stretch, 2)
    return bool(pair % 2) == bool(second)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30)
    pairs = parser.parse_args().pairs
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Alternating(
            "dcgan",
            steps=STRETCH * (2 * pairs + 3),
            checkpoint_every=STRETCH,
            out=Path(folder) / "run",
            callbacks=[clock],
            progress=False,
        )
        trainer.fit()
        newest = max((trainer.run.path / "checkpoints").iterdir())
        state = sum(path.stat().st_size for path in newest.iterdir())
    ratios = {}
    for name, read, own in (
        ("CPU time", clock.cpu, False),
        ("wall time", clock.wall, False),
        ("CPU time in own iterations", clock.cpu, True),
    ):
        cost = stretches(read, own)  # cost[i] is of stretch i + 1; the first pair warms up
        values = []
        for pair in range(1, pairs + 1):
            one, other = cost[2 * pair - 1], cost[2 * pair]
            values.append(one / other if saving(2 * pair) else other / one)
        ratios[name] = values
    print(f"{pairs} pairs, {trainer.saves} saves of {state / 1e6:.1f} MB")
    for name, values in ratios.items():
        mean, error = statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5
        low, high = bounds(values)
        print(
            f"{name}, with / without: median {statistics.median(values):.3f} "
            f"(95%: {low:.3f} to {high:.3f}), mean {mean:.3f} "
            f"(95%: {mean - 1.96 * error:.3f} to {mean + 1.96 * error:.3f})"
        )


def bounds(values: list[float]) -> tuple[float, float]:
    """95% bounds of the median by order statistics, whatever the noise is distributed like.

    A neighbour that takes the processor away for seconds spoils a mean, but few of the pairs.
    """
    ordered, count = sorted(values), len(values)
    rank, tail = 0, 1 / 2**count  # of fewer than rank + 1 pairs below the median
    while tail + math.comb(count, rank + 1) / 2**count <= 0.025:
        rank += 1
        tail += math.comb(count, rank) / 2**count
    return ordered[rank], ordered[count - 1 - rank]


if __name__ == "__main__":
    main()
