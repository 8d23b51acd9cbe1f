"""Checkpoints: the whole state of a training, without pickle.

A checkpoint is an artifact, a folder ``step-00001500`` of two files: ``state.safetensors`` (every
tensor) and ``state.json`` (everything else, and the checksums of both).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import CheckpointError, ConfigError
from ganzoo.files import artifact, bounded_json
from ganzoo.files.storage import remove

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "FORMAT_VERSION",
    "STATE",
    "TENSORS",
    "Newest",
    "after",
    "latest",
    "load",
    "mismatch",
    "misnamed",
    "newest",
    "pack_optimizer",
    "prune",
    "quarantine",
    "save",
    "step_of",
    "steps_to_keep",
    "unpack_optimizer",
]

FORMAT_VERSION = 1
STATE, TENSORS = "state.json", "state.safetensors"
_PREFIX = "step-"


class UnusableError(CheckpointError):
    """Not damaged, but of no use here and now: an older one must not take its place."""


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    *,
    copied: bool = False,
) -> Path:
    """Write one checkpoint below ``folder`` and return its own folder; it is whole or not there.

    Args:
        folder: The run's ``checkpoints`` folder.
        step: Iterations finished, which names the checkpoint.
        tensors: Every tensor of the state, by a name that is unique in it.
        state: The rest, as JSON holds it.
        copied: Whether the tensors come from ``own_copies`` already.

    Raises:
        CheckpointError: If it cannot be written (a full or read-only disk), or the state is too
            large to be read again; an older checkpoint stays.
    """
    target = place(folder, step)
    try:
        with artifact.new(target, STATE, {"format_version": FORMAT_VERSION, **state}) as fresh:
            artifact.save_tensors(fresh / TENSORS, tensors, copied=copied)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {target} cannot be written ({error}). Earlier ones are untouched; "
            f"free some space or choose another folder, then resume."
        ) from error
    except artifact.BeyondBoundsError as error:
        raise CheckpointError(
            f"The checkpoint {target} could not be read again: its {STATE} is beyond bounds "
            f"({error}). Let the optimizer hold tensors instead of so many numbers."
        ) from error
    return target


def place(folder: Path, step: int) -> Path:
    """Return where the checkpoint of a step is, below ``folder``, if there is one."""
    return folder / f"{_PREFIX}{step:08d}"


def load(checkpoint: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Verify one checkpoint, and return its tensors, on the CPU, and the rest of the state.

    Raises:
        CheckpointError: If a file is missing, damaged, unreadable, too large, or from a newer
            ganzoo.
        ConfigError: If the environment variable GANZOO_MAX_BYTES is not a number.
    """
    name = STATE
    try:
        state = artifact.read_manifest(checkpoint / STATE, newest=FORMAT_VERSION)
        files = state.pop("files", {})
        if files.keys() != {TENSORS}:
            raise ValueError(f"its files are not {TENSORS}")
        name = TENSORS
        return artifact.read_tensors(checkpoint / TENSORS, files[TENSORS]), state
    except artifact.NewerFormatError as error:
        raise UnusableError(f"The checkpoint {checkpoint} {error}.") from error
    except artifact.TooLargeError as error:
        raise UnusableError(f"The checkpoint cannot be read: {error}") from error
    except ConfigError:  # of the environment
        raise
    except Exception as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError))
        if isinstance(error, (OSError, MemoryError)) and not missing:
            raise UnusableError(
                f"The checkpoint {checkpoint} cannot be read ({error or type(error).__name__}), "
                f"which need not be its fault. Try again, or move it away to go on from the one "
                f"before."
            ) from error
        raise CheckpointError(
            f"The checkpoint {checkpoint} is damaged ({name}: {error}). Resuming the run takes the "
            f"newest one that is whole; or bring back a copy of this one."
        ) from error


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint below ``folder``, or None where there is none."""
    return max(_all(folder), key=step_of, default=None)


@dataclass(frozen=True)
class Newest:
    """The newest whole checkpoint, and those after it that are not whole.

    Attributes:
        path: Its folder; None where there is no checkpoint at all.
        tensors: Its tensors, on the CPU.
        state: The rest of the state.
        broken: Newer ones that cannot be used, newest first, each with what is wrong.
    """

    path: Path | None
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    broken: tuple[tuple[Path, CheckpointError], ...] = ()


def newest(folder: Path) -> Newest:
    """Find and read the newest checkpoint below ``folder`` that is whole.

    Raises:
        CheckpointError: If there are checkpoints but none is whole, or if one cannot be read now
            or is of a newer format.
    """
    broken: list[tuple[Path, CheckpointError]] = []
    for path in reversed(_all(folder)):
        try:
            tensors, state = load(path)
            if misnamed(path, state):
                raise CheckpointError(
                    f"The checkpoint {path} is damaged (it holds the state of step "
                    f"{state.get('step')})."
                )
        except UnusableError:
            raise
        except CheckpointError as error:
            broken.append((path, error))
        else:
            return Newest(path, tensors, state, tuple(broken))
    if broken:
        _, first = broken[0]
        others = f" The {len(broken) - 1} before it are damaged too." if broken[1:] else ""
        raise CheckpointError(
            f"No checkpoint in {folder} is whole. The newest: {first}{others} Train again from "
            f"the run's config.yaml, or bring back a copy of a checkpoint."
        ) from first
    return Newest(None, {}, {})


def quarantine(checkpoint: Path) -> Path:
    """Rename a broken checkpoint to ``broken-step-...``: it is never used but still there."""
    for number in itertools.count(1):
        place = checkpoint.with_name(f"broken-{checkpoint.name}" + f"-{number}" * (number > 1))
        if not place.exists():
            return checkpoint.rename(place)
    raise AssertionError  # the numbers do not end


def steps_to_keep(
    steps: Sequence[int], last: int, every: int = 0, wanted: Collection[int] = ()
) -> list[int]:
    """Return which of some steps, ascending, stay.

    They are the last ones, the multiples of ``every`` (0 for none), and those that are wanted.
    """
    newest = set(steps[-last:])
    return [s for s in steps if s in newest or s in wanted or (every and s % every == 0)]


def prune(folder: Path, last: int, every: int = 0) -> None:
    """Remove all checkpoints but the ``steps_to_keep``, and those that the newest ones need."""
    found = _all(folder)
    wanted = {step for path in found[-last:] for step in _needs(path)}
    keep = steps_to_keep([step_of(path) for path in found], last, every, wanted)
    for path in found:
        if step_of(path) not in keep:
            remove(path)


def _needs(checkpoint: Path) -> list[int]:
    """The steps of other checkpoints that one says its state needs."""
    try:
        steps = bounded_json.read(checkpoint / STATE).get("retain_steps")
    except (OSError, ValueError, AttributeError):
        return []
    return [step for step in steps if isinstance(step, int)] if isinstance(steps, list) else []


def pack_optimizer(
    optimizer: torch.optim.Optimizer, names: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors and the rest, by ``<parameter>.<key>``.

    The names are those of its parameters, in the order in which it was given them.
    """
    import torch

    tensors, rest = {}, {}
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{names[index]}.{key}"] = value
            elif value is not None:
                rest[f"{names[index]}.{key}"] = value
    return tensors, rest


def unpack_optimizer(
    optimizer: torch.optim.Optimizer,
    names: Sequence[str],
    tensors: Mapping[str, Tensor],
    rest: Mapping[str, Any],
) -> None:
    """Put back what ``pack_optimizer`` took; the groups' settings stay as they were built.

    Raises:
        ValueError: If the state is of other parameters than the optimizer has.
    """
    import torch

    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    unchecked = (torch.optim.Adam, torch.optim.RMSprop, torch.optim.SGD)  # which do not look
    elementwise = isinstance(optimizer, unchecked)
    shapes = {name: item.shape for name, item in zip(names, parameters, strict=True)}
    if problem := mismatch(shapes, tensors, rest, elementwise=elementwise):
        raise ValueError(f"an optimizer {problem}")
    places = {name: index for index, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for path, value in {**tensors, **rest}.items():
        name, _, key = path.rpartition(".")
        like = parameters[places[name]]
        if isinstance(value, torch.Tensor):
            # Fused kernels walk weights and moments side by side in memory, so that both must
            # be laid out alike (channels last, say), which a file does not keep.
            if value.shape == like.shape:
                value = torch.empty_like(like, dtype=value.dtype).copy_(value)
            else:
                value = value.clone()
        state.setdefault(places[name], {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def mismatch(
    shapes: Mapping[str, Sequence[int]],
    tensors: Mapping[str, Tensor],
    rest: Mapping[str, Any],
    *,
    elementwise: bool,
) -> str:
    """Return in words why an optimizer cannot take what was packed; empty if it can.

    The shapes are those of its parameters. With ``elementwise``, each tensor of its state is a
    number, or of its parameter's shape.
    """
    found = set()
    for path, value in {**tensors, **rest}.items():
        name, _, key = path.rpartition(".")
        if name not in shapes:
            return f"has the state of '{name}', which the net lacks"
        found.add(name)
        shape = tuple(getattr(value, "shape", ()))
        if elementwise and shape and shape != tuple(shapes[name]):
            return (
                f"has a state '{key}' of shape {shape} for '{name}', which has "
                f"{tuple(shapes[name])}"
            )
    if found and (missing := [name for name in shapes if name not in found]):
        return f"lacks the state of '{missing[0]}'"
    return ""


def after(folder: Path, step: int) -> list[Path]:
    """Return the checkpoints of later steps."""
    return [path for path in _all(folder) if step_of(path) > step]


def _all(folder: Path) -> list[Path]:
    paths = [path for path in folder.glob(f"{_PREFIX}*") if path.is_dir()]
    return sorted(filter(_is_named, paths), key=step_of)


def _is_named(checkpoint: Path) -> bool:
    return checkpoint.name.removeprefix(_PREFIX).isdecimal()


def misnamed(checkpoint: Path, state: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's name tells another step than its state; other names tell none."""
    return _is_named(checkpoint) and step_of(checkpoint) != state.get("step")


def step_of(checkpoint: Path) -> int:
    """Return the number of iterations that a checkpoint's name tells."""
    return int(checkpoint.name.removeprefix(_PREFIX))
