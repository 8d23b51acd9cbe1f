from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganzoo import device
from ganzoo.device import Precision, has_amx, pick_device, pick_precision
from ganzoo.errors import DeviceError

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be a machine with these devices."""

    def pretend(cuda: int = 0, mps: bool = False, capability=(8, 0), amx: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(device, "has_amx", lambda: amx)

    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(0, False, "cpu"), (1, False, "cuda"), (0, True, "mps"), (2, True, "cuda")],
)
def test_auto_takes_the_best_device(machine, cuda, mps, expected) -> None:
    machine(cuda=cuda, mps=mps)
    assert pick_device("auto") == torch.device(expected)
    assert pick_device() == torch.device(expected)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps"])
def test_devices_by_name(machine, name) -> None:
    machine(cuda=2, mps=True)
    assert pick_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "CUDA"])
def test_no_device(machine, name) -> None:
    machine(cuda=1)
    with pytest.raises(DeviceError) as caught:
        pick_device(name)
    assert str(caught.value) == (
        f"'{name}' is no device: use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'."
    )
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "cuda", "why"),
    [
        ("cuda", 0, f"torch {torch.__version__} sees no CUDA device or driver"),
        ("cuda:0", 0, f"torch {torch.__version__} sees no CUDA device or driver"),
        ("cuda:1", 1, "only 1 CUDA device(s) are here"),
        ("cuda:7", 2, "only 2 CUDA device(s) are here"),
    ],
)
def test_absent_cuda_devices(machine, name, cuda, why) -> None:
    machine(cuda=cuda)
    with pytest.raises(DeviceError) as caught:
        pick_device(name)
    assert str(caught.value) == (
        f"Device '{name}' is not available: {why}. Use device='auto' or 'cpu'."
    )


def test_absent_mps(machine) -> None:
    machine(mps=False)
    with pytest.raises(DeviceError) as caught:
        pick_device("mps")
    assert str(caught.value) == (
        "Device 'mps' is not available: this is no Apple GPU. Use device='auto' or 'cpu'."
    )


def test_devices_that_are_not_supported(machine) -> None:
    machine()
    with pytest.raises(DeviceError) as caught:
        pick_device("meta")
    assert str(caught.value) == (
        "Device 'meta' is not supported: use 'auto', 'cpu', 'cuda' or 'mps'."
    )


@pytest.mark.parametrize(
    ("where", "capability", "amx", "name", "reason"),
    [
        (CUDA, (8, 0), False, "bf16", "compute capability 8.0"),
        (CUDA, (9, 0), False, "bf16", "compute capability 9.0"),
        (CUDA, (7, 5), True, "fp32", "compute capability 7.5"),
        (CPU, (9, 0), True, "bf16", "this CPU has AMX bf16"),
        (CPU, (9, 0), False, "fp32", "this CPU lacks AMX bf16"),
        (MPS, (9, 0), True, "fp32", "mps runs float32"),
    ],
)
def test_auto_precision(machine, where, capability, amx, name, reason) -> None:
    machine(cuda=1, capability=capability, amx=amx)
    precision = pick_precision("auto", where)
    assert precision == Precision(name, reason)
    assert precision.autocast is (name == "bf16")


@pytest.mark.parametrize("where", [CPU, CUDA, MPS], ids=str)
@pytest.mark.parametrize("able", [False, True])
def test_fp32_is_always_possible(machine, where, able) -> None:
    machine(cuda=1, capability=(9, 0) if able else (7, 5), amx=able)
    assert pick_precision("fp32", where) == Precision("fp32", "as set")


@pytest.mark.parametrize("where", [CPU, CUDA, MPS], ids=str)
def test_bf16_as_asked(machine, where) -> None:
    machine(cuda=1, capability=(8, 6), amx=False)  # on the CPU it is emulated
    assert pick_precision("bf16", where) == Precision("bf16", "as set")


def test_bf16_on_an_old_gpu(machine) -> None:
    machine(cuda=1, capability=(7, 5))
    with pytest.raises(DeviceError) as caught:
        pick_precision("bf16", CUDA)
    assert str(caught.value) == (
        "precision='bf16' needs CUDA compute capability 8.0 or newer; this GPU has compute "
        "capability 7.5. Use precision='fp32'."
    )


@pytest.mark.parametrize(
    ("system", "flags", "supported", "expected"),
    [
        ("Linux", "fpu sse amx_bf16 amx_tile", True, True),
        ("Linux", "fpu sse amx_bf16 amx_tile", False, False),
        ("Linux", "fpu sse amx_tile amx_int8", True, False),
        ("Linux", "fpu sse amx_bf16", None, True),
        ("Linux", "fpu sse", None, False),
        ("Linux", OSError("no /proc"), True, False),
        ("Darwin", OSError("no /proc"), True, True),
        ("Darwin", OSError("no /proc"), False, False),
        ("Windows", OSError("no /proc"), None, False),
    ],
)
def test_amx(monkeypatch: pytest.MonkeyPatch, system, flags, supported, expected) -> None:
    read_text = Path.read_text

    def read(self: Path, *arguments, **options) -> str:
        if self != Path("/proc/cpuinfo"):
            return read_text(self, *arguments, **options)
        if isinstance(flags, OSError):
            raise flags
        return f"processor : 0\nflags : {flags}\n"

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(device.platform, "system", lambda: system)
    if supported is None:
        monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: supported, raising=False)
    assert has_amx() is expected
