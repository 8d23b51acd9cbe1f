"""One seed, many independent streams of random numbers."""

from __future__ import annotations

import hashlib

__all__ = ["derive"]


def derive(seed: int, *purpose: str | int) -> int:
    """Return the seed of one stream, in [0, 2**63), from a run's seed and what the stream is for.

    Streams seeded with the same number would draw the same numbers: weights would start as the
    first latents. A hash keeps them apart, on every machine alike.
    """
    text = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
