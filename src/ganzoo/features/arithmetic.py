"""Arithmetic that is what its name says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["full_float32"]

_LOCK = threading.Lock()
_FOUND: list[list[str]] = []  # what each block that is open has found; the first, the program's own


@contextlib.contextmanager
def full_float32(asked: bool = True) -> Iterator[None]:
    """Within the block, if asked, float32 is float32 in convolutions and matrix products.

    By default cuDNN's convolutions keep 10 of its 23 bits (TF32), and a program may have asked for
    as few in matrix products. These settings are those of the process, so that other threads get
    them too for as long, and the last block that ends puts them back.
    """
    if not asked:
        yield
        return
    backends: Any = torch.backends
    parts = (
        backends.cudnn.conv,
        backends.cuda.matmul,
        backends.mkldnn.conv,
        backends.mkldnn.matmul,
    )
    with _LOCK:
        _FOUND.append([part.fp32_precision for part in parts])
        for part in parts:
            part.fp32_precision = "ieee"
    try:
        yield
    finally:
        with _LOCK:
            before = _FOUND.pop()
            if not _FOUND:
                for part, kept in zip(parts, before, strict=True):
                    part.fp32_precision = kept
