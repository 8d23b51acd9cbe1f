"""Arithmetic that is what its name says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

from ganzoo.core.device import Precision, PrecisionName, has_amx, pick_precision

__all__ = ["feature_precision", "full_float32"]

_LOCK = threading.Lock()
_FOUND: list[list[str]] = []  # what each block that is open has found; the first, the program's own


def feature_precision(name: PrecisionName, device: torch.device) -> Precision:
    """Return the precision to compute features in.

    ``auto`` is that of a training, but on a CPU bf16 only with AMX: there FID was measured to
    stay within .3 % of float32's, and the gain is largest.

    Raises:
        DeviceError: As ``pick_precision``.
    """
    if name == "auto" and device.type == "cpu" and not has_amx():
        return Precision("fp32", "scores are in float32 on a CPU without AMX")
    return pick_precision(name, device)


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
                for part, old in zip(parts, before, strict=True):
                    part.fp32_precision = old
