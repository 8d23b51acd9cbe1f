"""Checkpoints: the whole state of a training, without pickle.

A checkpoint is a folder ``step-00001500`` of three files: ``state.safetensors`` (every tensor),
``state.json`` (everything else) and ``manifest.json`` (size and SHA-256 of the other two).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import CheckpointError
from ganzoo.storage import new_folder, own_copies, sha256, write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "FORMAT_VERSION",
    "latest",
    "load",
    "pack_optimizer",
    "prune",
    "save",
    "unpack_optimizer",
]

FORMAT_VERSION = 1
_PREFIX = "step-"


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write one checkpoint below ``folder``; it appears whole or not at all.

    Args:
        folder: The run's ``checkpoints`` folder.
        step: Iterations finished, which names the checkpoint.
        tensors: Every tensor of the state, by a name that is unique in it.
        state: The rest, as JSON holds it.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: If it cannot be written (a full or read-only disk); what was there stays.
    """
    from safetensors.torch import save_file

    target = folder / f"{_PREFIX}{step:08d}"
    try:
        with new_folder(target) as fresh:
            save_file(own_copies(tensors), fresh / "state.safetensors")
            write_json(fresh / "state.json", {"format_version": FORMAT_VERSION, **state})
            files = {
                path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
                for path in sorted(fresh.iterdir())
            }
            write_json(fresh / "manifest.json", {"format_version": FORMAT_VERSION, "files": files})
    except Exception as error:  # safetensors wraps the system's error in its own class
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise CheckpointError(
            f"The checkpoint {target} cannot be written ({error}). Earlier ones are untouched; "
            f"free some space or choose another folder, then resume."
        ) from error
    return target


def load(checkpoint: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read and verify one checkpoint.

    Returns:
        Its tensors, on the CPU, and the rest of the state.

    Raises:
        CheckpointError: If a file is missing, damaged, or from a newer ganzoo.
    """
    from safetensors.torch import load_file

    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format_version"] > FORMAT_VERSION:
            raise CheckpointError(
                f"The checkpoint {checkpoint} has format {manifest['format_version']}, but this "
                f"ganzoo reads up to {FORMAT_VERSION}: upgrade ganzoo."
            )
        if set(manifest["files"]) != {"state.safetensors", "state.json"}:
            raise ValueError("manifest.json names other files")
        for name, facts in manifest["files"].items():
            if (checkpoint / name).stat().st_size != facts["size"]:
                raise ValueError(f"{name} has another size than manifest.json says")
            if sha256(checkpoint / name) != facts["sha256"]:
                raise ValueError(f"{name} has another SHA-256 than manifest.json says")
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        return load_file(checkpoint / "state.safetensors"), state
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint {checkpoint} is damaged ({error}). Resume from an earlier one: "
            f"move this folder away."
        ) from error


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint below ``folder``, or None where there is none."""
    found = _all(folder)
    return found[-1] if found else None


def prune(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the newest ``keep``."""
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)


def pack_optimizer(
    lead: str, optimizer: torch.optim.Optimizer, names: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors, named below ``lead``, and the rest.

    Args:
        lead: What the tensors' names begin with.
        optimizer: Of one net's parameters.
        names: The parameters' names, in the order in which the optimizer was given them.
    """
    import torch

    tensors, rest = {}, {}
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{lead}.{names[index]}.{key}"] = value
            elif value is not None:
                rest[f"{names[index]}.{key}"] = value
    return tensors, rest


def unpack_optimizer(
    lead: str,
    optimizer: torch.optim.Optimizer,
    names: Sequence[str],
    tensors: Mapping[str, Tensor],
    rest: Mapping[str, Any],
) -> None:
    """Put back what ``pack_optimizer`` took; the groups' settings stay as they were built.

    Raises:
        ValueError: If the state is of a parameter that the optimizer does not have.
    """
    import torch

    saved = {
        key.removeprefix(f"{lead}."): value
        for key, value in tensors.items()
        if key.startswith(f"{lead}.")
    }
    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    places = {name: index for index, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for path, value in {**saved, **rest}.items():
        name, _, key = path.rpartition(".")
        if name not in places:
            raise ValueError(f"{lead} has the state of '{name}', which the net lacks")
        like = parameters[places[name]]
        if isinstance(value, torch.Tensor):
            # Fused kernels walk weights and moments side by side in memory, so that both must
            # be laid out alike (channels last, say), which a file does not keep.
            laid = torch.empty_like(like, dtype=value.dtype) if value.shape == like.shape else None
            value = value.clone() if laid is None else laid.copy_(value)
        state.setdefault(places[name], {})[key] = value
    if state and len(state) != len(names):
        missing = next(name for name in names if places[name] not in state)
        raise ValueError(f"{lead} lacks the state of '{missing}'")
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _all(folder: Path) -> list[Path]:
    numbered = {
        int(path.name.removeprefix(_PREFIX)): path
        for path in folder.glob(f"{_PREFIX}*")
        if path.is_dir() and path.name.removeprefix(_PREFIX).isdecimal()
    }
    return [numbered[step] for step in sorted(numbered)]
