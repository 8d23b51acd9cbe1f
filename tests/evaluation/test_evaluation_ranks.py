"""Several processes score together what one scores alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ganzoo
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.evaluation.ranks import share
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator

SCRIPT = """
import json, sys
import torch
import torch.distributed as dist
import ganzoo
from torch.nn.functional import adaptive_avg_pool2d

rank, folder, metrics = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
cells = lambda samples: adaptive_avg_pool2d(samples.float(), 4).mean(1).flatten(1)
for metric in metrics:
    metric.setdefault("extractor", cells)
found = ganzoo.evaluate(
    f"{folder}/generator", f"{folder}/real.npy", metrics, num_fake=600, device="cpu"
)
values = {name: score.value for name, score in found.items()}


def fails_in_one(samples):
    if rank == 1 and len(samples) != 64:  # in its last batch
        raise ganzoo.errors.DataError("one of them is odd")
    return cells(samples)


try:
    ganzoo.evaluate(
        f"{folder}/generator",
        f"{folder}/real.npy",
        [{"name": "fid", "extractor": fails_in_one}],
        num_fake=600,
        device="cpu",
    )
except ganzoo.errors.DataError as error:
    values["failure"] = str(error)
print(json.dumps(values))
dist.destroy_process_group()
"""
METRICS = [
    {"name": "fid"},
    {"name": "kid", "subset_size": 50, "subsets": 4},
    {"name": "precision"},
    {"name": "recall"},
    {"name": "coverage"},
]


@pytest.mark.parametrize(("count", "grain"), [(600, 256), (10, 256), (7, 1), (512, 256)])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_are_all_of_it_and_begin_with_a_grain(monkeypatch, count, grain, world) -> None:
    dist = torch.distributed
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: world)
    taken: list[int] = []
    for rank in range(world):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        part = share(count, grain)
        assert part.start % grain == 0 or part.start == part.stop == count
        taken += range(part.start, part.stop)
    assert taken == list(range(count))


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    import numpy as np

    spec, arch, latent = SampleSpec(shape=(1, 16, 16)), MLP(hidden=(8,)), LatentSpec(shape=(3,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = arch.generator(spec, latent)
        real = torch.randint(0, 256, (301, 16, 16), dtype=torch.uint8)
    Generator(net, BundleConfig(architecture=arch, sample=spec, latent=latent)).save_pretrained(
        tmp_path / "generator"
    )
    np.save(tmp_path / "real.npy", real.numpy())
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(tmp_path), json.dumps(METRICS)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for rank in (0, 1)
    ]
    told = [json.loads(process.communicate(timeout=240)[0]) for process in processes]
    assert [each.pop("failure") for each in told] == [
        "Process 1 of those that evaluate together has failed: one of them is odd",
        "one of them is odd",
    ]
    assert told[0] == told[1]

    def cells(samples):
        return torch.nn.functional.adaptive_avg_pool2d(samples.float(), 4).mean(1).flatten(1)

    alone = ganzoo.evaluate(
        tmp_path / "generator",
        tmp_path / "real.npy",
        [metric | {"extractor": cells} for metric in METRICS],
        num_fake=600,
        device="cpu",
        cache=False,
    )
    for name, score in alone.items():
        assert told[0][name] == pytest.approx(score.value, rel=1e-6), name
