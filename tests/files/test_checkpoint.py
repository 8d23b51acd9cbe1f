from __future__ import annotations

import copy
import errno
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from ganzoo import optimizers
from ganzoo.core.state_dicts import below
from ganzoo.errors import CheckpointError, ConfigError
from ganzoo.files import artifact, checkpoint
from ganzoo.files.storage import write_json

TENSORS = {
    "net.weight": torch.tensor([[1.5, float("nan")], [float("-inf"), -0.0]]),
    "net.count": torch.tensor(7),
    "double": torch.tensor([0.1], dtype=torch.float64),
    "half": torch.tensor([0.1], dtype=torch.bfloat16),
    "rng": torch.arange(9, dtype=torch.uint8),
    "none": torch.empty(0, 3),
}
STATE = {"step": 12, "lr": 0.1, "nested": {"text": "猫", "list": [1, None, True]}}


def parameter_names(optimizer: torch.optim.Optimizer) -> list[str]:
    """Names for the parameters of an optimizer, in its order."""
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    return [f"layer.{index}" for index in range(count)]


def bits(value: torch.Tensor) -> tuple:
    return value.dtype, value.shape, value.contiguous().flatten().view(torch.uint8).tolist()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path, 12, TENSORS, STATE)


def test_round_trip(saved: Path, tmp_path: Path) -> None:
    assert saved == tmp_path / "step-00000012"
    tensors, state = checkpoint.load(saved)
    assert {name: bits(value) for name, value in tensors.items()} == {
        name: bits(value) for name, value in TENSORS.items()
    }
    assert state == {"format_version": 1, **STATE}
    assert names(tmp_path) == ["step-00000012"]


def test_what_is_in_the_folder(saved: Path) -> None:
    assert names(saved) == ["state.json", "state.safetensors"]
    state = json.loads((saved / "state.json").read_text(encoding="utf-8"))
    assert set(state) == {"format_version", "files", "sha256", *STATE}
    content = (saved / "state.safetensors").read_bytes()
    assert state["files"] == {
        "state.safetensors": {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    }


def test_any_layout_is_saved(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    rows = torch.arange(12.0).reshape(3, 4)
    tensors = {"images": images, "turned": rows.t(), "part": torch.arange(9.0)[2:5]}
    tensors["learning"] = nn.Parameter(torch.ones(2))
    loaded, _ = checkpoint.load(checkpoint.save(tmp_path, 0, tensors, {}))
    for name, value in tensors.items():
        assert torch.equal(loaded[name], value)


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    """Nets may tie weights: the same tensor then has two names."""
    weight = torch.randn(3, 3)
    loaded, _ = checkpoint.load(checkpoint.save(tmp_path, 0, {"a": weight, "b": weight}, {}))
    assert torch.equal(loaded["a"], weight) and torch.equal(loaded["b"], weight)


def test_a_checkpoint_may_be_written_again(saved: Path, tmp_path: Path) -> None:
    again = checkpoint.save(tmp_path, 12, {"x": torch.ones(1)}, {"step": 13})
    assert again == saved
    tensors, state = checkpoint.load(saved)
    assert tensors.keys() == {"x"} and state["step"] == 13
    assert names(tmp_path) == ["step-00000012"]


# -- damage ---------------------------------------------------------------------------------------


def refused(saved: Path, reason: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(saved)
    text = str(caught.value)
    assert text.startswith(f"The checkpoint {saved} is damaged (")
    assert reason in text
    assert text.endswith(
        "Resuming the run takes the newest one that is whole; or bring back a copy of this one."
    )
    assert caught.value.__cause__ is not None


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


EDITED = "it does not match its own sha256, so it was edited or damaged)"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("state.safetensors", lambda old: flipped(old, 0), "checksum mismatch)"),
        ("state.safetensors", lambda old: flipped(old, len(old) // 2), "checksum mismatch)"),
        ("state.safetensors", lambda old: flipped(old, -1), "checksum mismatch)"),
        ("state.safetensors", lambda old: old + b" ", "size mismatch)"),
        ("state.safetensors", lambda old: old[:20], "size mismatch)"),
        ("state.safetensors", lambda old: b"", "size mismatch)"),
        ("state.json", lambda old: old.replace(b'"step": 12', b'"step": 13'), EDITED),
        ("state.json", lambda old: old.rstrip()[:-1], ""),
        ("state.json", lambda old: old[:20], ""),
        ("state.json", lambda old: b"", ""),
    ],
)
def test_a_changed_file(saved: Path, name: str, change, reason: str) -> None:
    path = saved / name
    path.write_bytes(change(path.read_bytes()))
    refused(saved, f"({name}: {reason}")


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_missing_files(saved: Path, name: str) -> None:
    (saved / name).unlink()
    refused(saved, f"No such file or directory: '{saved / name}'")


def test_a_missing_folder(tmp_path: Path) -> None:
    refused(tmp_path / "step-00000001", "No such file or directory")


def test_files_of_another_checkpoint(saved: Path, tmp_path: Path) -> None:
    tensors = {**TENSORS, "net.count": torch.tensor(8)}
    other = checkpoint.save(tmp_path, 13, tensors, {**STATE, "step": 13})
    (saved / "state.json").write_bytes((other / "state.json").read_bytes())
    refused(saved, "(state.safetensors: checksum mismatch)")


def change(saved: Path, **changes: object) -> None:
    """Write a state.json whose checksum holds."""
    state = json.loads((saved / "state.json").read_text(encoding="utf-8"))
    del state["sha256"]
    write_json(saved / "state.json", artifact.with_checksum({**state, **changes}))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "its files are not state.safetensors"),
        ({"../state.safetensors": {}}, "its files are not state.safetensors"),
        ([], "has no attribute 'keys'"),
        ({"state.safetensors": {}}, "'size'"),
    ],
)
def test_a_state_that_lists_other_files(saved: Path, files: object, reason: str) -> None:
    change(saved, files=files)
    refused(saved, reason)


def test_a_state_may_be_laid_out_anew(saved: Path) -> None:
    path = saved / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    path.write_text("\ufeff" + json.dumps(state, indent=4, sort_keys=True), encoding="utf-8")
    assert checkpoint.load(saved)[1]["step"] == STATE["step"]


def test_a_state_that_is_huge_is_not_read(saved: Path) -> None:
    with (saved / "state.json").open("ab") as file:
        file.truncate(2**40)  # sparse
    refused(saved, "it is larger than 16,777,216 bytes")


def test_tensors_beyond_the_limit_are_not_read(saved: Path, monkeypatch) -> None:
    newest = checkpoint.save(saved.parent, 12, {**TENSORS, "more": torch.zeros(500)}, STATE)
    older = checkpoint.save(saved.parent, 11, {"w": torch.zeros(1)}, STATE)
    size = (newest / "state.safetensors").stat().st_size
    monkeypatch.setenv("GANZOO_MAX_BYTES", "1000")
    assert checkpoint.load(older)
    for look in (lambda: checkpoint.load(newest), lambda: checkpoint.newest(saved.parent)):
        with pytest.raises(CheckpointError) as caught:
            look()
        assert str(caught.value) == (
            f"The checkpoint cannot be read: {newest / 'state.safetensors'} has {size:,} bytes, "
            f"more than the 1,000 that are allowed. If it is meant to be so large, set the "
            f"environment variable GANZOO_MAX_BYTES to more."
        )
    monkeypatch.setenv("GANZOO_MAX_BYTES", "16 GB")
    with pytest.raises(ConfigError, match="not a number of bytes"):
        checkpoint.newest(saved.parent)


def test_a_damaged_version_is_no_newer_one(saved: Path) -> None:
    path = saved / "state.json"
    path.write_bytes(path.read_bytes().replace(b'"format_version": 1', b'"format_version": 3'))
    refused(saved, "it does not match its own sha256")


def test_a_newer_format(saved: Path) -> None:
    change(saved, format_version=2, invention=1)
    (saved / "state.safetensors").unlink()
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(saved)
    assert str(caught.value) == (
        f"The checkpoint {saved} has format 2, but this ganzoo reads up to 1: upgrade ganzoo."
    )


# -- writing that fails ---------------------------------------------------------------------------


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, SafetensorError("I/O error: no space left")], ids=repr)
@pytest.mark.parametrize("step", [12, 13])
def test_a_full_disk_leaves_what_was_there(saved, tmp_path, monkeypatch, error, step) -> None:
    def full(tensors, path, metadata) -> None:
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.save(tmp_path, step, {"x": torch.ones(1)}, {})
    target = tmp_path / f"step-{step:08d}"
    assert str(caught.value) == (
        f"The checkpoint {target} cannot be written ({error}). Earlier ones are untouched; free "
        f"some space or choose another folder, then resume."
    )
    assert names(tmp_path) == ["step-00000012"]
    tensors, state = checkpoint.load(saved)
    assert state["step"] == 12 and tensors.keys() == TENSORS.keys()


def test_a_disk_that_is_full_at_the_manifest(saved, tmp_path, monkeypatch) -> None:
    def full(path: Path, value) -> None:
        raise FULL

    monkeypatch.setattr(artifact, "write_json", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(tmp_path, 13, TENSORS, STATE)
    assert names(tmp_path) == ["step-00000012"]
    assert checkpoint.latest(tmp_path) == saved


def test_mistakes_of_the_program_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoint.save(tmp_path, 1, TENSORS, {"loss": float("nan")})
    assert names(tmp_path) == []


# -- many checkpoints -----------------------------------------------------------------------------


def test_the_latest(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "absent") is None
    for step in (900, 1000, 20):
        checkpoint.save(tmp_path, step, {}, {})
    (tmp_path / "step-00002000").write_text("a file", encoding="utf-8")
    (tmp_path / ".step-00003000.0123abcd.tmp").mkdir()
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00001000"


def test_a_checkpoint_that_was_put_aside_is_not_the_latest(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {}, {})
    (tmp_path / "step-00000002").rename(tmp_path / "step-00000002-damaged")
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00000001"
    checkpoint.prune(tmp_path, 1)
    assert names(tmp_path) == ["step-00000001", "step-00000002-damaged"]


def test_the_latest_by_number(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000):
        checkpoint.save(tmp_path, step, {}, {})
    assert checkpoint.latest(tmp_path) == tmp_path / "step-100000000"


@pytest.mark.parametrize(("keep", "left"), [(1, [40]), (2, [30, 40]), (9, [10, 20, 30, 40])])
def test_pruning(tmp_path: Path, keep: int, left: list[int]) -> None:
    for step in (30, 10, 40, 20):
        checkpoint.save(tmp_path, step, {}, {})
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    checkpoint.prune(tmp_path, keep)
    assert names(tmp_path) == ["notes.txt", *(f"step-{step:08d}" for step in left)]


def test_pruning_nothing(tmp_path: Path) -> None:
    checkpoint.prune(tmp_path / "absent", 1)
    assert not (tmp_path / "absent").exists()


# -- optimizers -----------------------------------------------------------------------------------


OPTIMIZERS = [
    *({"name": name} for name in optimizers.names()),
    {"name": "sgd", "momentum": 0.9, "nesterov": True},
    {"name": "rmsprop", "momentum": 0.5},
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_an_optimizer_goes_on_as_if_nothing_had_happened(tmp_path, options, layout) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    net.to(memory_format=layout)
    twin = copy.deepcopy(net)
    data = torch.randn(5, 3, 4, 4)

    def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            module(data).square().mean().backward()
            optimizer.step()

    config = optimizers.create(options, lr=0.01)
    optimizer = config.build(net.parameters())
    train(net, optimizer, 3)
    packed, rest = checkpoint.pack_optimizer(optimizer, parameter_names(optimizer))
    named = {f"g_optimizer.{name}": value for name, value in packed.items()}
    noise = {"d_optimizer.0.exp_avg": torch.ones(9), "generator.0.weight": torch.ones(9)}
    path = checkpoint.save(tmp_path, 3, {**named, **noise}, {"optimizer": rest})

    tensors, state = checkpoint.load(path)
    twin.load_state_dict(net.state_dict())
    resumed = config.build(twin.parameters())
    own = below(tensors, "g_optimizer")
    checkpoint.unpack_optimizer(resumed, parameter_names(resumed), own, state["optimizer"])
    again, rest_again = checkpoint.pack_optimizer(resumed, parameter_names(resumed))
    assert rest_again == rest and again.keys() == packed.keys()
    for name, value in packed.items():
        assert torch.equal(again[name], value) and again[name].dtype == value.dtype

    train(net, optimizer, 2)
    train(twin, resumed, 2)
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)
    checkpoint.load(path)  # what was loaded is no window onto the file
    checkpoint.save(
        tmp_path,
        5,
        checkpoint.pack_optimizer(resumed, parameter_names(resumed))[0],
        {},
    )


def test_an_optimizer_keeps_the_settings_it_was_built_with() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    old = optimizers.create("adam", lr=0.1).build([weight])
    old.step()
    tensors, rest = checkpoint.pack_optimizer(old, parameter_names(old))
    new = optimizers.create("adam", lr=0.3, betas=(0.1, 0.2)).build([weight])
    checkpoint.unpack_optimizer(new, parameter_names(new), tensors, rest)
    assert new.param_groups[0]["lr"] == 0.3
    assert new.param_groups[0]["betas"] == (0.1, 0.2)
    assert new.state[weight]["step"] == 1


def test_an_optimizer_that_has_not_begun() -> None:
    optimizer = optimizers.create("adam").build([nn.Parameter(torch.ones(2))])
    tensors, rest = checkpoint.pack_optimizer(optimizer, parameter_names(optimizer))
    assert tensors == {} and rest == {}
    checkpoint.unpack_optimizer(optimizer, parameter_names(optimizer), tensors, rest)
    assert not optimizer.state


def test_an_optimizer_of_another_net_is_refused() -> None:
    weights = [torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)]
    optimizer = torch.optim.Adam(weights)
    for weight in weights:
        weight.grad = torch.ones(3)
    optimizer.step()
    tensors, rest = checkpoint.pack_optimizer(optimizer, ["first", "second"])
    with pytest.raises(ValueError, match="has the state of 'second', which the net lacks"):
        checkpoint.unpack_optimizer(optimizer, ["first", "other"], tensors, rest)
    tensors = {name: value for name, value in tensors.items() if "second" not in name}
    with pytest.raises(ValueError, match="an optimizer lacks the state of 'second'"):
        checkpoint.unpack_optimizer(optimizer, ["first", "second"], tensors, rest)


def test_the_state_of_equal_weights_goes_by_name() -> None:
    weights = [torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)]
    optimizer = torch.optim.Adam(weights)
    for size, weight in enumerate(weights, start=1):
        weight.grad = torch.full((3,), float(size))
    optimizer.step()
    tensors, rest = checkpoint.pack_optimizer(optimizer, ["first", "second"])
    other = torch.optim.Adam(weights)
    checkpoint.unpack_optimizer(other, ["second", "first"], tensors, rest)
    moments = [other.state[weight]["exp_avg"] for weight in weights]
    assert torch.equal(moments[0], optimizer.state[weights[1]]["exp_avg"])
    assert torch.equal(moments[1], optimizer.state[weights[0]]["exp_avg"])


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_a_state_of_another_shape_is_refused_before_a_kernel_meets_it(name: str) -> None:
    net = torch.nn.Linear(3, 4)
    options = {"momentum": 0.9} if name == "sgd" else {}
    optimizer = optimizers.create({"name": name, **options}).build(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    tensors, rest = checkpoint.pack_optimizer(optimizer, ["weight", "bias"])
    key = next(key for key, value in tensors.items() if value.dim() == 2)
    with pytest.raises(ValueError, match=r"shape \(1,\) for 'weight', which has \(4, 3\)"):
        checkpoint.unpack_optimizer(
            optimizer, ["weight", "bias"], {**tensors, key: torch.zeros(1)}, rest
        )
