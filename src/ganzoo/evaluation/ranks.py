"""Evaluation by several processes: each takes its share, and all have the whole afterwards."""

from __future__ import annotations

from typing import Any, TypeVar

import torch.distributed as dist

__all__ = ["all_agree", "first", "gathered", "share"]

T = TypeVar("T")


def share(count: int, grain: int) -> slice:
    """Return which of ``count`` samples this process takes: one stretch of them.

    Stretches begin at multiples of ``grain`` and follow each other in the order of the ranks;
    one may be empty. A process alone takes all.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if _several() else (0, 1)
    grains = -(-count // grain)
    start, stop = (min(count, grains * part // world * grain) for part in (rank, rank + 1))
    return slice(start, stop)


def gathered(value: T) -> list[T]:
    """Return what each process gives, in the order of their ranks."""
    if not _several():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def all_agree(wish: bool) -> bool:
    """Return whether all processes say so."""
    return all(gathered(wish))


def first() -> bool:
    """Return whether this process writes what is to be written once."""
    return not _several() or dist.get_rank() == 0


def _several() -> bool:
    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
