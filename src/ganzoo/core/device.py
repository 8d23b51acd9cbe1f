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
    "bf16_feature",
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
            f"'{name}' is not a device: use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'."
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
            "Device 'mps' is not available: this is not an Apple GPU. Use device='auto' or 'cpu'."
        )
    elif device.type not in ("cpu", "mps"):
        raise DeviceError(f"Device '{name}' is not supported: use 'auto', 'cpu', 'cuda' or 'mps'.")
    return device


def pick_precision(name: PrecisionName, device: torch.device, why: str = "as set") -> Precision:
    """Return the precision to compute with; ``auto`` is bf16 where the hardware multiplies it.

    That is on CUDA from Ampere (compute capability 8.0) on and on CPUs with AMX, AVX-512 BF16 or
    Arm's BF16 (``bf16_feature``). Elsewhere bfloat16 is emulated and slower than float32. The
    answer depends on the hardware alone, never on measured time, so that a resumed run computes
    as it did.

    Args:
        name: ``auto``, ``fp32`` or ``bf16``.
        device: Where it is computed.
        why: The reason where the name itself decides.

    Raises:
        DeviceError: If bf16 was asked for and the device cannot do it.
    """
    if name == "fp32":
        return Precision("fp32", why)
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        able, what = major >= 8, f"compute capability {major}.{minor}"
    elif device.type == "cpu":
        feature = bf16_feature()
        able = feature is not None
        what = "this CPU does not multiply bfloat16"
        if able:
            what = f"this CPU multiplies bfloat16 ({feature})"
    else:
        able, what = False, f"{device.type} runs float32"
    if name == "bf16":
        if device.type == "cuda" and not able:
            raise DeviceError(
                f"precision='bf16' needs CUDA compute capability 8.0 or newer; this GPU has "
                f"{what}. Use precision='fp32'."
            )
        return Precision("bf16", why)
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


def bf16_feature() -> str | None:
    """Return the feature by which this CPU multiplies bfloat16; None if it does not.

    It is called as Linux calls it: ``amx_bf16``, ``avx512_bf16``, or ``bf16`` of Arm. torch must
    have oneDNN, which uses them, and oneDNN must be allowed to (``ONEDNN_MAX_CPU_ISA``).
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    if has_amx() and "AVX512_CORE_AMX" in _allowed(limit):
        return "amx_bf16"
    if _is_there("avx512_bf16", "_is_avx512_bf16_supported") and (
        "AVX512_CORE_BF16" in _allowed(limit)
    ):
        return "avx512_bf16"
    return "bf16" if _is_arm_bf16_there() else None


def has_amx() -> bool:
    """Whether this CPU multiplies bfloat16 tiles (AMX)."""
    return _is_there("amx_bf16", "_is_amx_tile_supported")


_BELOW_BF16 = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
)
_BELOW_AMX = ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512", "AVX10_2", "AVX10_2_512")


def _allowed(limit: str) -> set[str]:
    """The instruction sets with bfloat16 that oneDNN may use on x86 under this limit."""
    limit = limit.strip().upper()
    if limit in _BELOW_BF16:
        return set()
    return {"AVX512_CORE_BF16"} | ({"AVX512_CORE_AMX"} if limit not in _BELOW_AMX else set())


def _is_there(feature: str, question: str) -> bool:
    """Whether an x86 CPU has the feature: torch, which asks the CPU, and Linux must both say so.

    Args:
        feature: As Linux lists it.
        question: The function of ``torch.cpu`` that tells; torch may not have it.
    """
    ask = getattr(torch.cpu, question, None)
    if ask is not None and not ask():
        return False
    if platform.system() == "Linux":
        return feature in _listed()
    return ask is not None  # and it has said yes


def _is_arm_bf16_there() -> bool:
    if platform.system() == "Linux":
        return "bf16" in _listed()  # by this very name on Arm only
    return torch.cpu.get_capabilities().get("bf16") is True


def _listed() -> frozenset[str]:
    """The features that Linux lists for every core; none where it cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    cores = [
        frozenset(values.split())
        for key, _, values in (line.partition(":") for line in text.splitlines())
        if key.strip().lower() in ("flags", "features")
    ]
    return frozenset.intersection(*cores) if cores else frozenset()
