"""Features of real samples in ganzoo's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.datasets.cache import cache_root
from ganzoo.errors import DataError
from ganzoo.features import tensor_cache
from ganzoo.metrics.inputs import Moments

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORMAT", "Collected", "load", "save"]

FORMAT = 3
"""Of what is cached; another one is computed anew."""

_MOST = 2**30  # bytes of features that are cached


@dataclass(eq=False)
class Collected:
    """What one extractor gave of one side; ``parts`` are those that metrics want."""

    parts: set[str] = field(default_factory=set)
    moments: Moments | None = None
    features: Tensor | None = None
    logits: Tensor | None = None

    @property
    def complete(self) -> bool:
        """Whether all that is wanted is there."""
        return all(getattr(self, part) is not None for part in self.parts)


def load(key: Mapping[str, Any], last_layer: str | None, collected: Collected, count: int) -> None:
    """Fill in what the cache has of the parts that are wanted.

    Args:
        key: All that decides the features.
        last_layer: What else decides logits.
        collected: Where it goes.
        count: How many samples there are.
    """
    for part in collected.parts:
        found = tensor_cache.read(_place(key, last_layer, part))
        with contextlib.suppress(DataError):  # damaged entries are computed anew
            if found is None:
                continue
            if part == "moments":
                moments = Moments.of(found[0])
                collected.moments = moments if moments.count == count else None
            elif (value := found[0].get(part)) is not None and len(value) == count:
                setattr(collected, part, value)


def save(key: Mapping[str, Any], last_layer: str | None, collected: Collected) -> None:
    """Write all that was collected, unless it is too large or the disk refuses."""
    with contextlib.suppress(OSError):  # without a cache it takes longer only
        tensor_cache.clean_partial_writes(_root())
        if collected.moments is not None:
            tensor_cache.write(_place(key, last_layer, "moments"), collected.moments.state())
        for part in ("features", "logits"):
            value: Tensor | None = getattr(collected, part)
            if value is not None and value.nbytes <= _MOST:
                tensor_cache.write(_place(key, last_layer, part), {part: value.contiguous()})


def _root() -> Path:
    return cache_root().parent / "statistics"


def _place(key: Mapping[str, Any], last_layer: str | None, part: str) -> Path:
    folder = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return (
        _root()
        / folder
        / (f"{part}-{last_layer[:16]}" if part == "logits" and last_layer else part)
    )
