from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ganzoo
from ganzoo.core import device
from ganzoo.core.device import Precision, bf16_feature, has_amx, pick_device, pick_precision
from ganzoo.errors import DeviceError

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be a machine with these devices."""

    def pretend(cuda: int = 0, mps: bool = False, capability=(8, 0), bf16=None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(device, "bf16_feature", lambda: bf16)

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
        f"'{name}' is not a device: use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'."
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
        "Device 'mps' is not available: this is not an Apple GPU. Use device='auto' or 'cpu'."
    )


def test_devices_that_are_not_supported(machine) -> None:
    machine()
    with pytest.raises(DeviceError) as caught:
        pick_device("meta")
    assert str(caught.value) == (
        "Device 'meta' is not supported: use 'auto', 'cpu', 'cuda' or 'mps'."
    )


@pytest.mark.parametrize(
    ("where", "capability", "bf16", "name", "reason"),
    [
        (CUDA, (8, 0), None, "bf16", "compute capability 8.0"),
        (CUDA, (9, 0), None, "bf16", "compute capability 9.0"),
        (CUDA, (7, 5), "amx_bf16", "fp32", "compute capability 7.5"),
        (CPU, (9, 0), "amx_bf16", "bf16", "this CPU multiplies bfloat16 (amx_bf16)"),
        (CPU, (9, 0), "avx512_bf16", "bf16", "this CPU multiplies bfloat16 (avx512_bf16)"),
        (CPU, (9, 0), "bf16", "bf16", "this CPU multiplies bfloat16 (bf16)"),
        (CPU, (9, 0), None, "fp32", "this CPU does not multiply bfloat16"),
        (MPS, (9, 0), "bf16", "fp32", "mps runs float32"),
    ],
)
def test_auto_precision(machine, where, capability, bf16, name, reason) -> None:
    machine(cuda=1, capability=capability, bf16=bf16)
    precision = pick_precision("auto", where)
    assert precision == Precision(name, reason)
    assert precision.autocast is (name == "bf16")


@pytest.mark.parametrize("where", [CPU, CUDA, MPS], ids=str)
@pytest.mark.parametrize("able", [False, True])
def test_fp32_is_always_possible(machine, where, able) -> None:
    machine(cuda=1, capability=(9, 0) if able else (7, 5), bf16="amx_bf16" if able else None)
    assert pick_precision("fp32", where) == Precision("fp32", "as set")


@pytest.mark.parametrize("where", [CPU, CUDA, MPS], ids=str)
def test_bf16_as_asked(machine, where) -> None:
    machine(cuda=1, capability=(8, 6))  # on the CPU it is emulated
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


# Each kind of CPU: system, what Linux lists (a line for each core), what torch says of AMX and of
# avx512_bf16 (None: it has no such function), further capabilities, and the feature it is to be.
ZEN4 = "fpu sse avx2 avx512f avx512bw avx512vl avx512_bf16 avx512_vnni"
SAPPHIRE_RAPIDS = f"{ZEN4} amx_bf16 amx_tile amx_int8"
ICE_LAKE = "fpu sse avx2 avx512f avx512bw avx512vl avx512_vnni"
NEOVERSE_N1 = "fp asimd evtstrm aes asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
NEOVERSE_V1 = f"{NEOVERSE_N1} sve svei8mm svebf16 i8mm bf16 dgh rng"
ARM = {"architecture": "aarch64", "neon": True, "bf16": True, "i8mm": True}
CPUS = {
    "Sapphire Rapids": ("Linux", [SAPPHIRE_RAPIDS], True, True, {}, "amx_bf16"),
    "Sapphire Rapids, two cores": ("Linux", [SAPPHIRE_RAPIDS] * 2, True, True, {}, "amx_bf16"),
    "AMX that the hypervisor hides": ("Linux", [ZEN4], True, True, {}, "avx512_bf16"),
    "AMX that the kernel does not let in": (
        "Linux",
        [SAPPHIRE_RAPIDS],
        False,
        True,
        {},
        "avx512_bf16",
    ),
    "Zen 4": ("Linux", [ZEN4], False, True, {}, "avx512_bf16"),
    "Zen 5, old torch": ("Linux", [f"{ZEN4} avx_vnni movdiri"], None, None, {}, "avx512_bf16"),
    "Cooper Lake": ("Linux", [f"{ICE_LAKE} avx512_bf16"], False, True, {}, "avx512_bf16"),
    "Ice Lake": ("Linux", [ICE_LAKE], False, False, {}, None),
    "Zen 3": ("Linux", ["fpu sse avx avx2 fma"], False, False, {}, None),
    "Arrow Lake": ("Linux", ["fpu avx2 avx_vnni avx_ne_convert"], False, False, {}, None),
    "avx512_bf16 that torch does not see": ("Linux", [ZEN4], False, False, {}, None),
    "avx512_bf16 that Linux hides": ("Linux", [ICE_LAKE], False, True, {}, None),
    "Neoverse V1": ("Linux", [NEOVERSE_V1], False, False, ARM, "bf16"),
    "Neoverse N1": ("Linux", [NEOVERSE_N1], False, False, {"bf16": False}, None),
    "SVE's bf16 alone": ("Linux", [f"{NEOVERSE_N1} svebf16"], False, False, {}, None),
    "big and little cores": ("Linux", [NEOVERSE_V1, NEOVERSE_N1], False, False, ARM, None),
    "Apple M2": ("Darwin", OSError("no /proc"), False, False, ARM, "bf16"),
    "Apple M1": ("Darwin", OSError("no /proc"), False, False, {**ARM, "bf16": False}, None),
    "Intel Mac": ("Darwin", OSError("no /proc"), False, False, {}, None),
    "Windows on Zen 4": ("Windows", OSError("no /proc"), False, True, {}, "avx512_bf16"),
    "Windows with AMX": ("Windows", OSError("no /proc"), True, True, {}, "amx_bf16"),
    "Windows on Zen 3": ("Windows", OSError("no /proc"), False, False, {}, None),
    "Windows, old torch": ("Windows", OSError("no /proc"), None, None, {}, None),
    "Windows on Arm": ("Windows", OSError("no /proc"), False, False, ARM, "bf16"),
    "RISC-V": ("Linux", [], False, False, {"architecture": "riscv64"}, None),
    "a file without lines": ("Linux", "", True, True, {}, None),
    "a file without access": ("Linux", PermissionError("no"), True, True, {}, None),
    "a file of rubbish": ("Linux", "\x00flags\n::\nflags\n", True, True, {}, None),
}


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch):
    """Pretend to have a CPU of ``CPUS``."""
    read_text = Path.read_text
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)

    def pretend(name: str) -> str | None:
        system, listed, amx, avx512, capabilities, expected = CPUS[name]

        def read(self: Path, *arguments, **options) -> str:
            if self != Path("/proc/cpuinfo"):
                return read_text(self, *arguments, **options)
            if isinstance(listed, OSError):
                raise listed
            if isinstance(listed, str):
                return listed
            key = "Features" if "asimd" in "".join(listed) else "flags\t"
            return "".join(f"processor\t: 0\n{key}\t: {line}\n\n" for line in listed)

        monkeypatch.setattr(Path, "read_text", read)
        monkeypatch.setattr(device.platform, "system", lambda: system)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
        for function, answer in (
            ("_is_amx_tile_supported", amx),
            ("_is_avx512_bf16_supported", avx512),
        ):
            if answer is None:
                monkeypatch.delattr(torch.cpu, function, raising=False)
            else:
                monkeypatch.setattr(torch.cpu, function, lambda x=answer: x, raising=False)
        return expected

    return pretend


@pytest.mark.parametrize("name", CPUS)
def test_what_multiplies_bf16(cpu, name) -> None:
    expected = cpu(name)
    assert bf16_feature() == expected
    assert pick_precision("auto", CPU).name == ("bf16" if expected else "fp32")


@pytest.mark.parametrize("name", ["Sapphire Rapids", "Zen 4", "Neoverse V1", "Apple M2"])
def test_without_onednn_nothing_does(cpu, name, monkeypatch) -> None:
    cpu(name)  # as on a Mac, whose torch is built without it
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert bf16_feature() is None


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "zen4", "sapphire_rapids"),
    [
        ("SSE41", None, None),
        ("AVX2", None, None),
        ("avx512_core", None, None),
        ("AVX512_CORE_VNNI", None, None),
        ("AVX512_CORE_BF16", "avx512_bf16", "avx512_bf16"),
        ("AVX512_CORE_FP16", "avx512_bf16", "avx512_bf16"),
        ("AVX512_CORE_AMX", "avx512_bf16", "amx_bf16"),
        ("AVX512_CORE_AMX_FP16", "avx512_bf16", "amx_bf16"),
        ("ALL", "avx512_bf16", "amx_bf16"),
        ("DEFAULT", "avx512_bf16", "amx_bf16"),
        ("", "avx512_bf16", "amx_bf16"),
        ("?", "avx512_bf16", "amx_bf16"),
    ],
)
def test_a_limit_of_onednn(cpu, monkeypatch, variable, limit, zen4, sapphire_rapids) -> None:
    for name, expected in (("Zen 4", zen4), ("Sapphire Rapids", sapphire_rapids)):
        cpu(name)
        monkeypatch.setenv(variable, limit)
        assert bf16_feature() == expected


@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_a_limit_of_atens_kernels_leaves_it(cpu, monkeypatch, capability) -> None:
    """They multiply no matrices; under each of these bf16 is the faster one still."""
    expected = cpu("Sapphire Rapids")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
    assert bf16_feature() == expected


@pytest.mark.parametrize(
    ("arch", "precision"),
    [("mlp", "bf16"), ("dcgan", "bf16"), ("upsample", "bf16"), ("mirror", "fp32")],
)
@pytest.mark.parametrize("name", ["Sapphire Rapids", "Zen 4", "Neoverse V1", "Zen 3"])
def test_what_architectures_compute_in(cpu, name, arch, precision) -> None:
    feature = cpu(name)
    found = ganzoo.Trainer(arch, device="cpu", progress=False).precision
    if arch == "mirror":
        assert found == Precision("fp32", "as 'mirror' recommends")
    else:
        reason = f"this CPU multiplies bfloat16 ({feature})"
        assert found == (
            Precision(precision, reason)
            if feature
            else Precision("fp32", "this CPU does not multiply bfloat16")
        )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_asked_for_is_computed_in(cpu, precision) -> None:
    cpu("Zen 4")
    found = ganzoo.Trainer("mlp", device="cpu", precision=precision, progress=False).precision
    assert found == Precision(precision, "as set")
