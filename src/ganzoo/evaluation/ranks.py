"""Evaluation by several processes: each takes its share, and all have the whole afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import torch.distributed as dist

from ganzoo import errors
from ganzoo.core.processes import group_size

__all__ = ["all_agree", "all_gather_object", "first", "propagate_errors", "share"]

T = TypeVar("T")


def share(count: int, grain: int) -> slice:
    """Return which of ``count`` samples this process takes: one stretch of them.

    Stretches begin at multiples of ``grain`` and follow each other in the order of the ranks;
    one may be empty. A process alone takes all.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if group_size() > 1 else (0, 1)
    grains = -(-count // grain)
    start, stop = (min(count, grains * part // world * grain) for part in (rank, rank + 1))
    return slice(start, stop)


def all_gather_object(value: T) -> list[T]:
    """Return what each process gives, in the order of their ranks."""
    if group_size() == 1:
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def all_agree(agrees: bool) -> bool:
    """Return whether all processes say so."""
    return all(all_gather_object(agrees))


def first() -> bool:
    """Return whether this process writes what is to be written once."""
    return group_size() == 1 or dist.get_rank() == 0


@contextlib.contextmanager
def propagate_errors() -> Iterator[None]:
    """Raise an error of one process within the block in all of them, so that none hangs.

    Raises:
        GanzooError: If another process failed, with its message; of the same class, if that is
            one of ganzoo's.
    """
    if group_size() == 1:
        yield
        return
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        own = error
    failures = all_gather_object(None if own is None else (type(own).__name__, str(own)))
    if own is not None:
        raise own
    for rank, failure in enumerate(failures):
        if failure is not None:
            kind: Any = getattr(errors, failure[0], None)
            if not (isinstance(kind, type) and issubclass(kind, errors.GanzooError)):
                kind = errors.GanzooError
            raise kind(f"Process {rank} of those that evaluate together has failed: {failure[1]}")
