"""Arithmetic that is what its name says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["full_float32"]


@contextlib.contextmanager
def full_float32(asked: bool = True) -> Iterator[None]:
    """Within the block, if asked, float32 is float32 in convolutions and matrix products.

    By default cuDNN's convolutions keep 10 of its 23 bits (TF32), and a program may have asked for
    as few in matrix products. These settings are those of the process, so that other threads get
    them too for as long.
    """
    backends: Any = torch.backends
    parts = (
        backends.cudnn.conv,
        backends.cuda.matmul,
        backends.mkldnn.conv,
        backends.mkldnn.matmul,
    )
    before = [part.fp32_precision for part in parts] if asked else []
    try:
        for part, _ in zip(parts, before, strict=False):
            part.fp32_precision = "ieee"
        yield
    finally:
        for part, kept in zip(parts, before, strict=False):
            part.fp32_precision = kept
