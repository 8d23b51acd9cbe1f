"""Where to compute and how precisely, with the reason for the choice."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ganzoo.errors import DeviceError

__all__ = [
    "Precision",
    "PrecisionName",
    "deterministic",
    "has_amx",
    "pick_device",
    "pick_precision",
]

PrecisionName = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Precision:
    """The arithmetic of a run: ``fp32``, or ``bf16`` autocast over float32 weights."""

    name: Literal["fp32", "bf16"]
    reason: str

    @property
    def autocast(self) -> bool:
        """Whether matrix work runs in bfloat16."""
        return self.name == "bf16"


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is the first CUDA device, else MPS, else CPU.

    Raises:
        DeviceError: If there is no such device here.
    """
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(
            f"'{name}' is no device: use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'."
        ) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            why = (
                f"only {count} CUDA device(s) are here"
                if count
                else f"torch {torch.__version__} sees no CUDA device or driver"
            )
            raise DeviceError(
                f"Device '{name}' is not available: {why}. Use device='auto' or 'cpu'."
            )
    elif device.type == "mps" and not mps:
        raise DeviceError(
            "Device 'mps' is not available: this is no Apple GPU. Use device='auto' or 'cpu'."
        )
    elif device.type not in ("cpu", "mps"):
        raise DeviceError(f"Device '{name}' is not supported: use 'auto', 'cpu', 'cuda' or 'mps'.")
    return device


def pick_precision(name: PrecisionName, device: torch.device) -> Precision:
    """Return the precision to compute with; ``auto`` is bf16 where the hardware multiplies it.

    That is on CUDA from Ampere (compute capability 8.0) on and on CPUs with AMX. Elsewhere
    bfloat16 is emulated and slower than float32. The answer depends on the hardware alone,
    never on measured time, so that a resumed run computes as it did.

    Raises:
        DeviceError: If bf16 was asked for and the device cannot do it.
    """
    if name == "fp32":
        return Precision("fp32", "as set")
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        able, what = major >= 8, f"compute capability {major}.{minor}"
    elif device.type == "cpu":
        able = has_amx()
        what = f"this CPU {'has' if able else 'lacks'} AMX bf16"
    else:
        able, what = False, f"{device.type} runs float32"
    if name == "bf16":
        if device.type == "cuda" and not able:
            raise DeviceError(
                f"precision='bf16' needs CUDA compute capability 8.0 or newer; this GPU has "
                f"{what}. Use precision='fp32'."
            )
        return Precision("bf16", "as set")
    return Precision("bf16" if able else "fp32", what)


@contextlib.contextmanager
def deterministic(asked: bool) -> Iterator[None]:
    """Within the block, if asked, torch uses only algorithms that give the same bits each time.

    On CPUs they do so anyhow. An operation that has no such algorithm on the device raises
    torch's RuntimeError, which names it.
    """
    if not asked:
        yield
        return
    # What cuBLAS needs for it; read when a CUDA context first multiplies matrices.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # which would choose by measured time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]


def has_amx() -> bool:
    """Whether this CPU multiplies bfloat16 tiles (AMX)."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    if supported is not None and not supported():
        return False
    if platform.system() != "Linux":
        return bool(supported is not None and supported())
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
