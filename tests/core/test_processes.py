"""A training in several processes at once is refused; an evaluation is divided."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

import ganzoo
from ganzoo.core.processes import group_size, refuse_several
from ganzoo.errors import ConfigError

SMALL = {
    "arch": {"name": "mlp", "hidden": (4,)},
    "batch_size": 8,
    "latent": 2,
    "device": "cpu",
    "progress": False,
}

# What tells of several processes, and how many.
SEVERAL = {
    "torchrun": ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}, 2),
    "two nodes": ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "2"}, 2),
    "accelerate": ({"WORLD_SIZE": "8", "ACCELERATE_USE_CPU": "true"}, 8),
    "Kubernetes": ({"WORLD_SIZE": "3", "MASTER_ADDR": "master-0", "RANK": "0"}, 3),
    "local only": ({"LOCAL_WORLD_SIZE": "4"}, 4),
    "Open MPI": ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, 2),
    "MPICH": ({"PMI_SIZE": "16", "PMI_RANK": "3"}, 16),
    "MVAPICH": ({"MV2_COMM_WORLD_SIZE": "2"}, 2),
    "Horovod": ({"HOROVOD_SIZE": "2"}, 2),
    "jsrun": ({"JSM_NAMESPACE_SIZE": "6"}, 6),
    "srun": (
        {
            "SLURM_NTASKS": "4",
            "SLURM_STEP_NUM_TASKS": "4",
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": "3",
            "SLURM_LOCALID": "1",
        },
        4,
    ),
    "srun, less told": ({"SLURM_NTASKS": "4", "SLURM_STEP_ID": "0", "SLURM_PROCID": "2"}, 4),
    "mpirun of torchrun": ({"OMPI_COMM_WORLD_SIZE": "2", "WORLD_SIZE": "1"}, 2),
    "blanks": ({"WORLD_SIZE": " 2 "}, 2),
}
ONE = {
    "nothing": {},
    "torchrun": {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"},
    "none": {"WORLD_SIZE": "0"},
    "empty": {"WORLD_SIZE": "", "PMI_SIZE": " "},
    "a word": {"WORLD_SIZE": "many", "OMPI_COMM_WORLD_SIZE": "None"},
    "a fraction": {"WORLD_SIZE": "2.0"},
    "negative": {"WORLD_SIZE": "-2"},
    "another digit": {"WORLD_SIZE": "²", "PMI_SIZE": "\uff12"},
    "enormous": {"WORLD_SIZE": "9" * 5000},
    "mpirun -n 1": {"OMPI_COMM_WORLD_SIZE": "1", "PMI_SIZE": "1"},
    "sbatch": {"SLURM_NTASKS": "4", "SLURM_NPROCS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "9"},
    "sbatch, told of its step": {
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "0",
        "SLURM_STEP_ID": "4294967291",
    },
    "salloc": {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "9"},
    "srun -n 1 in a job of 4": {
        "SLURM_NTASKS": "4",
        "SLURM_STEP_NUM_TASKS": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "0",
    },
    "ranks without a number": {"RANK": "1", "LOCAL_RANK": "1", "PMIX_RANK": "1"},
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*os.environ,):
        if name.endswith(("_SIZE", "RANK")) or name.startswith("SLURM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch):
    def launch(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return launch


@pytest.mark.parametrize("case", SEVERAL)
def test_several_are_refused_and_the_way_out_works(launched, monkeypatch, case) -> None:
    variables, count = SEVERAL[case]
    launched(variables)
    with pytest.raises(ConfigError, match=f"one of {count} processes started together") as caught:
        refuse_several()
    text = str(caught.value)
    named = text.partition("or unset ")[2].partition(" where")[0].split(" and ")
    assert set(named) <= set(variables)
    for name in named:
        assert f"{name}=" in text
        monkeypatch.delenv(name)
    refuse_several()


@pytest.mark.parametrize("case", ONE)
def test_one_is_let_through(launched, case) -> None:
    launched(ONE[case])
    refuse_several()


@pytest.mark.parametrize("case", ["torchrun", "srun", "MPICH"])
def test_nothing_is_left_of_what_is_refused(launched, pictures, case) -> None:
    launched(SEVERAL[case][0])
    trainer = ganzoo.Trainer(dataset=pictures, steps=1, **SMALL)
    with pytest.raises(ConfigError, match="not divided among processes yet"):
        trainer.fit()
    with pytest.raises(ConfigError, match="not divided among processes yet"):
        next(trainer.iterations())
    with pytest.raises(ConfigError, match="not divided among processes yet"):
        ganzoo.Trainer(dataset=pictures, steps=1, out="there", **SMALL).fit()
    assert list(Path().iterdir()) == []


def test_a_run_is_not_resumed_either(launched, pictures) -> None:
    run = ganzoo.Trainer(dataset=pictures, steps=1, out="run", **SMALL).fit()
    before = sorted(path for path in run.path.rglob("*"))
    launched(SEVERAL["torchrun"][0])
    with pytest.raises(ConfigError, match="not divided among processes yet"):
        ganzoo.Trainer.resume("run", steps=2, dataset=pictures)
    assert sorted(path for path in run.path.rglob("*")) == before


def test_one_process_of_torchrun_trains(launched, pictures) -> None:
    launched(ONE["torchrun"])
    run = ganzoo.Trainer(dataset=pictures, steps=1, **SMALL).fit()
    assert (run.path / "generator" / "model.safetensors").is_file()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_group_tells_too(monkeypatch, pictures, count) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: count)
    assert group_size() == count
    trainer = ganzoo.Trainer(dataset=pictures, steps=1, **SMALL)
    if count == 1:
        trainer.fit()
        return
    with pytest.raises(ConfigError, match=f"one of {count} processes of a torch.distributed group"):
        trainer.fit()
    assert list(Path().iterdir()) == []


def test_a_process_outside_of_the_group_is_one(monkeypatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: -1)
    assert group_size() == 1
    refuse_several()


def torchrun(count: int, *line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
    options = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "ganzoo"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *options, *line], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.parametrize("count", [1, 2])
def test_the_command_under_torchrun(count) -> None:
    np.save("data.npy", np.zeros((16, 1, 8, 8), np.uint8))
    line = "train mlp --dataset data.npy --arch.hidden 4 --steps 1 --batch-size 8 --quiet"
    done = torchrun(count, *line.split(), "--device", "cpu")
    if count == 1:
        assert done.returncode == 0, done.stderr
        assert [path.name for path in Path("runs").iterdir()] == ["mlp-array-1"]
        return
    assert done.returncode != 0
    told = [each for each in done.stderr.splitlines() if "error: This is one of 2" in each]
    assert 1 <= len(told) <= 2, done.stderr  # torchrun ends the others when one has ended
    assert not Path("runs").exists()
