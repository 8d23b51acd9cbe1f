"""How many processes work together: those of a torch.distributed group or of a launcher."""

from __future__ import annotations

import os

import torch.distributed as dist

from ganzoo.errors import ConfigError

__all__ = ["group_size", "refuse_several"]

# What starts several processes tells each of them how many there are: torchrun and what is built
# on it (accelerate, DeepSpeed), Open MPI, MPICH and Intel MPI, MVAPICH, Horovod, jsrun.
_COUNTS = (
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "HOROVOD_SIZE",
    "JSM_NAMESPACE_SIZE",
)


def group_size() -> int:
    """Return how many processes are in the group of ``torch.distributed``; 1 without one."""
    if not (dist.is_available() and dist.is_initialized()):
        return 1
    return max(1, dist.get_world_size())  # -1 in a process that is none of the group's


def refuse_several() -> None:
    """Refuse to train in one of several processes that were started together.

    Each would train the whole GAN by itself, in a run of its own.

    Raises:
        ConfigError: If there are several processes.
    """
    group = group_size()
    if group > 1:
        raise ConfigError(
            f"This is one of {group} processes of a torch.distributed group, and training is not "
            f"divided among processes yet: each would train the whole GAN by itself. Train in one "
            f"process, without a group."
        )
    if found := _launched():
        counts = ", ".join(f"{name}={count}" for name, count in found.items())
        raise ConfigError(
            f"This is one of {max(found.values())} processes started together ({counts}), "
            f"and training is not divided among processes yet: each would train the whole GAN by "
            f"itself. Start one, without torchrun, mpirun or srun; or unset {' and '.join(found)} "
            f"where each is to leave a run of its own."
        )


def _launched() -> dict[str, int]:
    """The variables that tell of several processes, with their number."""
    names = list(_COUNTS)
    # A batch script of Slurm is one process, however many tasks its job may start (SLURM_NTASKS);
    # srun starts a step, and sets the variables of the step.
    if _number("SLURM_STEP_ID") is not None and _number("SLURM_STEP_NUM_TASKS") != 1:
        names += ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]
    counts = {name: _number(name) for name in names}
    return {name: count for name, count in counts.items() if count is not None and count > 1}


def _number(name: str) -> int | None:
    """The whole number that a variable of the environment holds, if it does."""
    text = os.environ.get(name, "").strip()
    # Bounded: Slurm numbers the step of a batch script, which is one process, beyond 2**31.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
