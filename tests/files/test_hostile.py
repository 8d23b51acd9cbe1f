"""Bundles and checkpoints by people who mean harm: refused, by an error of ganzoo's own.

Nothing that a folder says is a reason to run code, to read other files, to wait for ever or to fill
the memory. Whoever writes such a folder can compute every hash in it anew, and so does this file.
Run as a program, it tries mutated bundles and prints what became of them.
"""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import random
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ganzoo import Generator
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.architectures.mlp import MLP
from ganzoo.architectures.upsample import Upsample
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import (
    BundleError,
    CheckpointError,
    ConfigError,
    GanzooError,
    PluginError,
    UnknownNameError,
    UnsupportedSampleError,
)
from ganzoo.files import artifact, checkpoint
from ganzoo.files.storage import sha256, write_json
from ganzoo.generators import bundle
from ganzoo.generators.bundle import CONFIG, DISCRIMINATOR, WEIGHTS, BundleConfig, Half

ARCH, SAMPLE, LATENT = MLP(hidden=(4,)), SampleSpec(shape=(1, 4, 4)), LatentSpec(shape=(3,))
MUTANTS = 500
MEMORY = 200 * 2**20  # bytes that all mutants together may add to a process
PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")

# -- a hostile author's tools ---------------------------------------------------------------------


def made(folder: Path, arch=ARCH, spec=SAMPLE, latent=LATENT, half=None) -> Path:
    """Write a good bundle of both nets."""
    torch.manual_seed(0)
    nets = (arch.generator(spec, latent).state_dict(), arch.discriminator(spec).state_dict())
    config = BundleConfig(architecture=arch, sample=spec, latent=latent, half=half)
    bundle.write(folder, config, *nets)
    return folder


def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / CONFIG).read_text(encoding="utf-8"))


def tell(folder: Path, config: dict[str, Any]) -> None:
    """Write a config.json with its seal."""
    config.pop("sha256", None)
    write_json(folder / CONFIG, artifact.with_checksum(config))


def reseal(folder: Path) -> None:
    """Let config.json describe the weight files as they are now."""
    config = told(folder)
    for name in config["weights"]:
        path = folder / name
        config["weights"][name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    tell(folder, config)


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(path: Path, header: Any, data: bytes, *, length: int | None = None) -> None:
    """Write a safetensors file with any header, of any length that it says it has."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    said = len(text) if length is None else length
    path.write_bytes(said.to_bytes(8, "little") + text + data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "bundle")


def refusal(folder: Path, error: type[GanzooError] = BundleError, **options: Any) -> str:
    """The error with which every way of loading refuses, which leaves no trace in torch."""
    state = torch.get_rng_state()
    with pytest.raises(error) as caught:
        bundle.load(folder, **options)
    assert torch.equal(torch.get_rng_state(), state)
    message = str(caught.value)
    assert "\n" not in message
    with pytest.raises(error):
        Generator.from_pretrained(folder)
    return message


def test_the_author_can_write_good_ones(folder: Path) -> None:
    """Else all that is refused below might be refused for a slip of the author's."""
    header, data = parts(folder / WEIGHTS)
    join(folder / WEIGHTS, header, data)
    reseal(folder)
    assert Generator.from_pretrained(folder).sample(2, seed=0).isfinite().all()
    assert isinstance(bundle.discriminator(folder), torch.nn.Module)


# -- pickles --------------------------------------------------------------------------------------


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("protocol", [0, 2, 5, "torch", "old torch"])
@pytest.mark.parametrize("file", [WEIGHTS, DISCRIMINATOR, CONFIG])
def test_pickles_are_never_loaded(folder: Path, protocol, file: str) -> None:
    path = folder / file
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps({"w": Bomb()}, protocol))
    else:
        torch.save({"w": Bomb()}, path, _use_new_zipfile_serialization=protocol == "torch")
    if file != CONFIG:
        reseal(folder)
    for load in (bundle.load, bundle.read, bundle.discriminator):
        if file == DISCRIMINATOR and load is not bundle.discriminator:
            continue
        if file == WEIGHTS and load is bundle.discriminator:
            continue
        with pytest.raises(BundleError) as caught:
            load(folder)
        if file != CONFIG and protocol != 0:
            assert "it is a pickle, which may run code and is never loaded" in str(caught.value)
    assert not Path("exploded").exists()


# -- headers --------------------------------------------------------------------------------------

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
SECOND = {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"a": F32}, 4),
        ({"a": F32}, 12),
        ({"a": F32, "b": SECOND | {"data_offsets": [4, 8]}}, 8),
        ({"a": F32, "b": SECOND | {"data_offsets": [12, 16]}}, 16),
        ({"a": F32, "b": F32}, 8),
        ({"a": F32 | {"data_offsets": [8, 0]}}, 8),
        ({"a": F32 | {"data_offsets": [0, 12]}}, 12),
        ({"a": F32 | {"shape": [3]}}, 8),
        ({"a": F32 | {"shape": [2**40, 2**40]}}, 8),
        ({"a": F32 | {"shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}, 0),
        ({"a": F32 | {"shape": [-2]}}, 8),
        ({"a": F32 | {"shape": [2.0]}}, 8),
        ({"a": F32 | {"shape": [True, 2]}}, 8),
        ({"a": F32 | {"shape": "2"}}, 8),
        ({"a": F32 | {"shape": [2**63]}}, 8),
        ({"a": F32 | {"data_offsets": [0]}}, 8),
        ({"a": F32 | {"data_offsets": [-8, 0]}}, 8),
        ({"a": F32 | {"dtype": "F33"}}, 8),
        ({"a": F32 | {"dtype": ["F32"]}}, 8),
        ({"a": {"dtype": "F32"}}, 8),
        ({"a": 3}, 8),
        ({"\ud800": F32}, 8),
        ({"__metadata__": {"a": 1}, "a": F32}, 8),
        ([F32], 8),
        (b"[" * 50_000, 8),
        (b'{"\xff": 1}', 8),
        (b'{"a": ', 8),
        (b'{"a": %s}' % (b"9" * 5000), 8),
    ],
)
def test_headers_that_lie(folder: Path, header, size: int) -> None:
    join(folder / WEIGHTS, header, bytes(size))
    reseal(folder)
    assert refusal(folder).startswith(f"{folder / WEIGHTS}, which {CONFIG} lists, cannot be used (")


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**31, 2**63, 2**64 - 1])
def test_lengths_that_lie(folder: Path, length: int) -> None:
    header, data = parts(folder / WEIGHTS)
    join(folder / WEIGHTS, header, data, length=length)
    reseal(folder)
    assert "cannot be used (" in refusal(folder)


@pytest.mark.parametrize("content", [b"x", b"1234567", b"12345678", bytes(16), b"{}" * 100])
def test_files_that_are_nothing(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    reseal(folder)
    assert "cannot be used (" in refusal(folder)


def test_a_file_that_would_fill_the_memory_is_not_read(folder: Path) -> None:
    with (folder / WEIGHTS).open("wb") as file:
        file.write((2**33).to_bytes(8, "little"))
        file.truncate(2**33 + 8)  # sparse
    config = told(folder)
    config["weights"][WEIGHTS] = {"size": 2**33 + 8, "sha256": "0" * 64}
    tell(folder, config)
    assert "has 8,589,934,600 bytes, but the net that its configuration describes" in refusal(
        folder
    )


def test_a_file_without_tensors(folder: Path) -> None:
    join(folder / WEIGHTS, {}, b"")
    reseal(folder)
    assert "lacks the weight 'hidden.dense1.bias'" in refusal(folder)


def test_a_tensor_without_values(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, "none": torch.empty(0, 3)}, folder / WEIGHTS)
    reseal(folder)
    assert bundle.read(folder)[1]["none"].shape == (0, 3)
    assert "has a weight 'none' that its architecture lacks" in refusal(folder)


# -- memory and time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("architecture", {"name": "mlp", "hidden": [10**9]}, "hidden.0 cannot be 1000000000"),
        ("architecture", {"name": "mlp", "hidden": [1] * 300}, "at most 256 items"),
        ("architecture", {"name": "mlp", "hidden": [4], "d_hidden": [2**31]}, "d_hidden.0 cannot"),
        ("architecture", {"name": "mirror", "code": 10**12}, "code cannot be 1000000000000"),
        ("architecture", {"name": "dcgan", "channels": 10**9}, "channels cannot be 1000000000"),
        ("architecture", {"name": "dcgan", "max_multiplier": 10**30}, "max_multiplier cannot be"),
        ("architecture", {"name": "upsample", "channels": 10**400}, "channels cannot be 1000"),
        ("sample", {"shape": [1, 4, 10**12]}, "shape.2 cannot be 1000000000000"),
        ("sample", {"shape": [2**30, 2**30, 4]}, "at most 2,147,483,647 values"),
        ("latent", {"shape": [10**12]}, "shape.0 cannot be 1000000000000"),
        ("latent", {"shape": [2**30] * 8}, "at most 2,147,483,647 values"),
        ("latent", {"shape": [1] * 9}, "at most 8 items"),
        (
            "preprocessing",
            {"method": "none", "original_size": [10**12, 4], "size": [4, 4]},
            "original_size.0 cannot",
        ),
    ],
)
def test_sizes_beyond_reason(folder: Path, key: str, value, problem: str) -> None:
    tell(folder, told(folder) | {key: value})
    message = refusal(folder)
    assert message.startswith(f"{folder / CONFIG}: ") and problem in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("architecture", {"name": "mlp", "hidden": [2**20, 2**20]}),
        ("architecture", {"name": "mlp", "hidden": [2**20] * 256}),
        ("latent", {"shape": [2**31 - 1]}),
        ("sample", {"kind": "vector", "shape": [2**31 - 1]}),
    ],
)
def test_nets_that_would_fill_the_memory(folder: Path, key: str, value) -> None:
    tell(folder, told(folder) | {key: value})
    message = refusal(folder)
    assert message.startswith(f"{folder} needs ")
    assert message.endswith(
        " bytes for its net and one sample, more than the 17,179,869,184 that are allowed. If it "
        "is meant to be so large, set the environment variable GANZOO_MAX_BYTES to more."
    )


def test_a_net_whose_size_no_number_holds(folder: Path) -> None:
    config = told(folder)
    config["architecture"] = {"name": "upsample", "channels": 2**20}
    config["sample"]["shape"], config["latent"]["shape"] = [1, 400, 400], [2**31 - 1]
    tell(folder, config)
    assert f"The net that the configuration of {folder} describes cannot be built (" in refusal(
        folder
    )


def test_the_limit_is_the_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 4 x 3 + 4 + 16 x 4 + 16 weights, 16 values of a sample, 3 of a latent, 4 bytes each.
    monkeypatch.setenv("GANZOO_MAX_BYTES", "459")
    assert f"{folder} needs 460 bytes for its net and one sample, more than the 459" in refusal(
        folder
    )
    monkeypatch.setenv("GANZOO_MAX_BYTES", "300")
    with pytest.raises(BundleError, match=r"model\.safetensors has \d+ bytes, more than the 300"):
        bundle.read(folder)
    monkeypatch.setenv("GANZOO_MAX_BYTES", "1000000")
    assert bundle.load(folder)[0].architecture == ARCH
    for wrong in ("16 GB", "-1", "1e9", "\u0663", "9" * 5000):
        monkeypatch.setenv("GANZOO_MAX_BYTES", wrong)
        with pytest.raises(ConfigError, match="GANZOO_MAX_BYTES is '.*', not a number of bytes"):
            bundle.load(folder)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[" * 2**19, "it is nested too deeply"),
        (b"[" * 40 + b"]" * 40, "it is nested too deeply"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "it is nested too deeply"),
        (b"[" + b"0," * 60_000 + b"0]", "it holds more than 50,000 values"),
        (b"{" + b",".join(b'"%d":[]' % i for i in range(60_000)) + b"}", "more than 50,000 values"),
        (b'{"library": "ganzoo", "x": "' + b"x" * 2**20 + b'"}', "larger than 1,048,576 bytes"),
        (
            b'{"library": "ganzoo", "format_version": ' + b"9" * 5000 + b"}",
            "cannot be used (",
        ),
        (b'{"library": "ganzoo", "format_version": NaN}', "cannot be used ("),
        (b'{"library": "ganzoo", "format_version": 1e999}', "cannot be used ("),
        (b'{"library": "ganzoo\xff"}', "cannot be used ("),
        (b'{"library": "ganzoo", "x": "\\ud800"}', "cannot be used ("),
        ('{"library": "ganzoo"}'.encode("utf-16"), "cannot be used ("),
        (b'{"library": "ganzoo", "format_version": 10000000000000}', "its own sha256"),
        (b"\0" * 100, "cannot be used ("),
    ],
)
def test_configs_beyond_reason(folder: Path, text: bytes, problem: str) -> None:
    (folder / CONFIG).write_bytes(text)
    assert problem in refusal(folder)


def test_a_card_that_is_no_text_is_nobodys_business(folder: Path) -> None:
    (folder / "README.md").write_bytes(b"\xff\xfe\x00\x80")
    (folder / "training.json").write_bytes(b"[" * 2**20)
    assert bundle.load(folder)[0].architecture == ARCH


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "problem"),
    [
        ({"name": "os.system"}, UnknownNameError, "Unknown architecture 'os.system'"),
        ({"name": "ganzoo.generators.bundle:write"}, UnknownNameError, "Unknown architecture"),
        ({"name": "../mlp"}, UnknownNameError, "Unknown architecture"),
        ({"name": "x", "provider": "os 1"}, PluginError, "which is not installed"),
        ({"name": "x", "provider": " 1"}, PluginError, "' 1', which names no package"),
        ({"name": "x", "provider": "../../tmp 1"}, PluginError, "which names no package"),
        ({"name": "x", "provider": "os"}, PluginError, "run or import it first"),
        ({"name": "\x1b]0;x\x07\u202e"}, UnknownNameError, "Unknown architecture '?]0;x??'"),
        ({"name": ["mlp"]}, BundleError, "needs its 'name'"),
        ("os:system", UnknownNameError, "Unknown architecture"),
        (["mlp"], BundleError, "got list"),
        ({"name": "mlp", "hiden": [4]}, BundleError, "has no option 'hiden'. Did you mean"),
        ({"name": "mlp", "__class__": "x"}, BundleError, "has no option '__class__'"),
        ({"name": "mlp", "self": 1}, BundleError, "has no option 'self'"),
        ({"name": "mlp", "hidden": "__import__('os')"}, BundleError, "hidden cannot be"),
        ({"name": "dcgan"}, UnsupportedSampleError, "cannot do a 4x4 greyscale image"),
    ],
)
def test_architectures_that_are_none(folder: Path, value, error, problem: str) -> None:
    tell(folder, told(folder) | {"architecture": value})
    assert problem in refusal(folder, error)


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/passwd",
        "a/../model.safetensors",
        "./model.safetensors",
        "model.safetensors/",
        "MODEL.safetensors",
        "model.safetensors\0",
        "C:\\model.safetensors",
        "model.bin",
        "",
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_names_of_weight_files(folder: Path, name: str, beside: bool) -> None:
    config = told(folder)
    facts = config["weights"][WEIGHTS]
    config["weights"] = ({WEIGHTS: facts} if beside else {}) | {name: facts}
    tell(folder, config)
    message = refusal(folder)
    assert "lists the weight files [" in message and "not model.safetensors" in message


# -- links and what is no file --------------------------------------------------------------------


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS, DISCRIMINATOR])
@pytest.mark.parametrize("absolute", [False, True])
def test_links_out_of_the_folder(folder: Path, file: str, absolute: bool) -> None:
    shutil.move(folder / file, folder.parent / "elsewhere")
    target = folder.parent / "elsewhere" if absolute else Path("../elsewhere")
    (folder / file).symlink_to(target)
    message = refusal(folder)
    assert str(folder / file) in message
    assert f"(it is a link that leads out of {folder})" in message
    assert bundle.load(folder, root=folder.parent)[0].architecture == ARCH


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
def test_links_to_the_systems_files(folder: Path, file: str) -> None:
    (folder / file).unlink()
    (folder / file).symlink_to("/dev/zero" if Path("/dev/zero").exists() else sys.executable)
    assert "leads out of" in refusal(folder)
    with pytest.raises(BundleError, match="it is not a regular file|cannot be used"):
        bundle.load(folder, root=Path(folder.anchor))


def test_links_within_the_folder(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "kept")
    (folder / WEIGHTS).symlink_to("kept")
    link = folder.parent / "link"
    link.symlink_to(folder)
    for place in (folder, link):
        assert bundle.load(place)[0].architecture == ARCH


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("target", ["absent", "circle"])
def test_links_to_nothing(folder: Path, file: str, target: str) -> None:
    (folder / file).unlink()
    (folder / file).symlink_to("absent" if target == "absent" else file)
    assert str(folder / file) in refusal(folder) or "holds no config.json" in refusal(folder)


def test_the_cache_of_the_hub_consists_of_links(tmp_path: Path) -> None:
    """What the Hub's client returns as a folder is as good as any, within its cache."""
    whole = made(tmp_path / "whole")
    repository = tmp_path / "cache/models--ada--gan"
    snapshot, blobs = repository / "snapshots/0123", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in whole.iterdir():
        shutil.move(path, blobs / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert bundle.load(snapshot)[0].architecture == ARCH
    shutil.move(blobs / WEIGHTS, tmp_path / "outside")
    (snapshot / WEIGHTS).unlink()
    (snapshot / WEIGHTS).symlink_to(tmp_path / "outside")
    assert "leads out of" in refusal(snapshot)


def test_what_only_looks_like_the_cache_of_the_hub(folder: Path) -> None:
    """Anybody can call folders so, and then have links beside them read."""
    snapshot = folder.parent / "models--ada--gan/snapshots/0123"
    shutil.copytree(folder, snapshot)
    (snapshot / WEIGHTS).unlink()
    (snapshot / WEIGHTS).symlink_to(folder / WEIGHTS)
    assert "leads out of" in refusal(snapshot)


def test_the_clients_own_cache_may_share_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder.parent))
    snapshot = folder.parent / "models--ada--gan/snapshots/0123"
    shutil.copytree(folder, snapshot)
    (snapshot / WEIGHTS).unlink()
    (snapshot / WEIGHTS).symlink_to(folder / WEIGHTS)
    assert bundle.load(snapshot)[0].architecture == ARCH


def test_places_where_nothing_can_be_saved(folder: Path) -> None:
    config, weights = bundle.read(folder)
    circle = folder.parent / "circle"
    circle.symlink_to(circle)
    for place in (folder.parent / ("x" * 300), circle / "x", folder.parent / "a\0b"):
        with pytest.raises(BundleError, match="cannot be written to"):
            bundle.write(place, config, weights)


def test_writing_into_a_file_that_was_loaded(folder: Path) -> None:
    """It is in memory by then."""
    (_, weights), saved = bundle.read(folder), checkpoint.save(folder, 1, {"w": torch.ones(9)}, {})
    tensors, _ = checkpoint.load(saved)
    expected = {name: value.clone() for name, value in weights.items()}
    for path in (folder / WEIGHTS, saved / "state.safetensors"):
        path.write_bytes(bytes(path.stat().st_size))
        os.truncate(path, 0)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert torch.equal(tensors["w"], torch.ones(9))


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS, DISCRIMINATOR])
@pytest.mark.parametrize("kind", ["folder", pytest.param("pipe", marks=PIPES)])
def test_what_is_no_file(folder: Path, file: str, kind: str) -> None:
    (folder / file).unlink()
    os.mkfifo(folder / file) if kind == "pipe" else (folder / file).mkdir()
    assert "(it is not a regular file)" in refusal(folder)


@PIPES
def test_a_pipe_does_not_stop_saving(folder: Path) -> None:
    config, weights = bundle.read(folder)
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)
    with pytest.raises(BundleError, match="holds something that is not a bundle"):
        bundle.write(folder, config, weights)
    made(folder.parent / "other")
    (folder.parent / "other" / WEIGHTS).unlink()
    os.mkfifo(folder.parent / "other" / WEIGHTS)
    bundle.write(folder.parent / "other", config, weights)
    assert bundle.load(folder.parent / "other")[0].architecture == ARCH


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("half", [None, Half(largest=0.1, mean=0.1)])
@pytest.mark.parametrize("file", [WEIGHTS, DISCRIMINATOR])
def test_weights_that_are_not_finite(tmp_path: Path, value: float, half, file: str) -> None:
    folder = made(tmp_path / "bundle", half=half)
    weights = {name: tensor.clone() for name, tensor in load_file(folder / file).items()}
    weights["output.bias"][0] = value
    save_file(weights, folder / file)
    reseal(folder)
    load = bundle.load if file == WEIGHTS else bundle.discriminator
    with pytest.raises(BundleError, match=r"is of no use: its weight 'output\.bias' is not finite"):
        load(folder)


@pytest.mark.parametrize("file", [WEIGHTS, DISCRIMINATOR])
def test_numbers_that_torch_cannot_sum(folder: Path, file: str) -> None:
    weights = load_file(folder / file)
    weights["output.bias"] = weights["output.bias"].to(torch.float8_e4m3fn)
    save_file(weights, folder / file)
    reseal(folder)
    load = bundle.load if file == WEIGHTS else bundle.discriminator
    with pytest.raises(BundleError) as caught:
        load(folder)
    shape = tuple(weights["output.bias"].shape)
    problem = f"{folder} has the weight 'output.bias' as {shape} torch.float8_e4m3fn, but its"
    assert str(caught.value).startswith(problem)


def test_large_weights_are_finite(tmp_path: Path) -> None:
    """Though their sum is not, in the numbers in which they are stored."""
    folder = made(tmp_path / "bundle", half=Half(largest=0.1, mean=0.1))
    weights = {name: torch.full_like(v, 60_000) for name, v in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS)
    reseal(folder)
    assert float(bundle.load(folder)[1].output.bias[0].detach()) == 60_000


def test_a_framing_of_other_samples(folder: Path) -> None:
    preprocessing = {"method": "pad", "original_size": [2, 2], "size": [8, 8]}
    tell(folder, told(folder) | {"preprocessing": preprocessing})
    assert "The preprocessing makes images of 8x8, but the net a 4x4 greyscale image" in refusal(
        folder
    )


# -- checkpoints ----------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path / "checkpoints", 3, {"w": torch.ones(4)}, {"step": 3})


def describe(saved: Path) -> None:
    """Let state.json describe the tensors as they are now."""
    state = json.loads((saved / "state.json").read_text(encoding="utf-8"))
    del state["sha256"]
    state["files"] = {"state.safetensors": artifact.describe(saved / "state.safetensors")}
    write_json(saved / "state.json", artifact.with_checksum(state))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (pickle.dumps({"w": Bomb()}), "it is a pickle, which may run code"),
        ((2**24).to_bytes(8, "little") + b"{}".ljust(2**24), "header is larger than 8,388,608"),
        (b"\xff" * 64, r"state\.safetensors: "),
        (b"", r"state\.safetensors: "),
    ],
)
def test_tensors_of_checkpoints(saved: Path, content: bytes, problem: str) -> None:
    (saved / "state.safetensors").write_bytes(content)
    describe(saved)
    with pytest.raises(CheckpointError, match=problem):
        checkpoint.load(saved)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[" * 100_000, "state.json: it is nested too deeply"),
        (b"[" * 40 + b"]" * 40, "state.json: it is nested too deeply"),
        (b"[" + b"[]," * 60_000 + b"[]]", "more than 50,000 values"),
        (b"[" + b"[]," * 2_000_000 + b"[]]", "more than 50,000 values"),
        (b" " * (2**24 + 1), "state.json: it is larger than 16,777,216 bytes"),
        (b"\xff", "decode"),
        (b'{"format_version": ' + b"9" * 5000 + b"}", "limit"),
    ],
)
def test_states_of_checkpoints(saved: Path, content: bytes, problem: str) -> None:
    (saved / "state.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=problem):
        checkpoint.load(saved)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("kind", ["link", "folder", pytest.param("pipe", marks=PIPES)])
def test_what_is_no_file_of_a_checkpoint(saved: Path, file: str, kind: str) -> None:
    shutil.move(saved / file, saved.parent.parent / "elsewhere")
    if kind == "link":
        (saved / file).symlink_to(saved.parent.parent / "elsewhere")
    elif kind == "folder":
        (saved / file).mkdir()
    else:
        os.mkfifo(saved / file)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(saved)
    text = "a link that leads out of" if kind == "link" else "it is not a regular file"
    assert f"{file}: it is" in str(caught.value) and text in str(caught.value)


# -- mutants --------------------------------------------------------------------------------------

EVIL: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 255, 2**31, 2**63, 10**12, 10**400, -(10**30), 0.5, 1e308, -1e308, 5e-324),
    *("", "x", "x" * 3000, "\0", "../../etc/passwd", "/etc/passwd", "mlp", "\u202e\U0001f600"),
    *(None, True, False, [], {}, [[]], [1], [10**9] * 3, [1] * 300, [0.0, 1e-40], [-1e308, 1e308]),
    *({"name": "upsample"}, {"name": "dcgan", "channels": 10**6}, {"name": 3}, {"shape": [1, 1]}),
    *("uniform", "truncated", "vector", "audio", "pad", "resize", "1", "model.safetensors"),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all values below."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, (dict, list)):
        for key, item in items:
            yield from (
                places(item, (*path, key)) if isinstance(item, (dict, list)) else [(*path, key)]
            )


def tamper(value: Any, draw: random.Random) -> None:
    """Change, remove, rename or add something anywhere in a JSON value."""
    path = draw.choice(list(places(value)))
    for key in path[:-1]:
        value = value[key]
    last, way = path[-1], draw.randrange(6)
    if way == 0:
        del value[last]
    elif way == 1 and isinstance(value, dict):
        value[draw.choice(["x", "name", "__metadata__", last + "s"])] = value.pop(last)
    elif way == 2 and isinstance(value[last], (int, float)) and abs(value[last]) < 1e100:
        value[last] = value[last] * draw.choice([2, 4, -1, 0.5, 2**40])
    elif way == 3 and isinstance(value[last], list):
        draw.shuffle(value[last])
    else:
        value[last] = copy.deepcopy(draw.choice(EVIL))


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Bytes that are changed, cut off, added or repeated."""
    place = draw.randrange(max(1, len(content)))
    return {
        0: content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :],
        1: content[:place],
        2: content + bytes(draw.randrange(64)),
        3: content[:place] + content[place // 2 :],
    }[draw.randrange(4)]


def mutate(folder: Path, other: Path, draw: random.Random) -> str:
    """Change a bundle in one way, and return which."""
    file = draw.choice([WEIGHTS, WEIGHTS, DISCRIMINATOR])
    path, way = folder / file, draw.choice(["config"] * 4 + ["header"] * 3 + ["rest"] * 3)
    if way == "config":
        config = told(folder)
        for _ in range(draw.choice([1, 1, 2, 3])):
            tamper(config, draw)
        tell(folder, config)
        return "config, sealed"
    if way == "header":
        header, data = parts(path)
        kind = draw.choice(["values", "bytes", "length", "data", "sparse"])
        text = json.dumps(header).encode()
        if kind == "values":
            tamper(header, draw)
            join(path, header, data)
        elif kind == "bytes":
            join(path, damaged(text, draw), data)
        elif kind == "length":
            join(path, text, data, length=draw.choice([0, 9, len(text) // 2, 2**26, 2**62]))
        elif kind == "data":
            join(path, text, damaged(data, draw))
        else:
            with path.open("r+b") as opened:
                opened.write((2**25).to_bytes(8, "little"))
                opened.truncate(2**25 + 8)
        reseal(folder)
        return f"header: {kind}, sealed"
    kind = draw.choice(["swapped", "exchanged", "damaged", "gone", "raw config", "not finite"])
    if kind == "swapped":
        (folder / WEIGHTS).rename(folder / "x")
        (folder / DISCRIMINATOR).rename(folder / WEIGHTS)
        (folder / "x").rename(folder / DISCRIMINATOR)
        reseal(folder)
    elif kind == "exchanged":
        shutil.copyfile(other / file, path)
        reseal(folder)
    elif kind == "not finite":
        weights = {name: value.clone() for name, value in load_file(path).items()}
        floats = [name for name, value in weights.items() if value.is_floating_point()]
        weights[draw.choice(floats)].fill_(math.nan)
        save_file(weights, path)
        reseal(folder)
    elif kind == "gone":
        draw.choice([path, folder / CONFIG]).unlink()
    else:
        path = folder / CONFIG if kind == "raw config" else path
        path.write_bytes(damaged(path.read_bytes(), draw))
    return kind


def use(folder: Path) -> None:
    """All that is done with a bundle."""
    generator = Generator.from_pretrained(folder)
    generator.sample(2, seed=0)
    repr(generator)
    if DISCRIMINATOR in generator.config.weights:
        bundle.discriminator(folder)


def peak() -> int:
    """Bytes of memory that this process has had at most; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main(place: Path, count: int, seed: int) -> None:
    """Try mutants and print what became of them."""
    half = Half(largest=0.1, mean=0.1)
    images = SampleSpec(shape=(1, 20, 20), value_range=(0, 2), classes=("a", "b"))
    truncated = LatentSpec(shape=(2, 2), distribution="truncated")
    originals = [
        made(place / "mlp"),
        made(place / "mlp half", half=half),
        made(place / "dcgan", DCGAN(channels=1), SampleSpec(shape=(3, 16, 16)), half=half),
        made(place / "upsample", Upsample(channels=2, d_channels=1), images, truncated),
    ]
    for original in originals:
        use(original)
    before, found, odd = peak(), Counter[str](), []
    draw = random.Random(seed)
    parent = os.getppid()
    for number in range(count):
        if os.getppid() != parent:  # the test was killed
            return
        original, other = draw.sample(originals, 2)
        folder = Path(shutil.copytree(original, place / str(number)))
        way = mutate(folder, other, draw)
        try:
            use(folder)
            found[f"loaded: {way}"] += 1
        except GanzooError as error:
            found["refused"] += 1
            if not str(error).isprintable() or len(str(error)) > 2100:
                odd.append(f"{number} ({way}): {error}")
        except Exception:
            odd.append(f"{number} ({way}): {traceback.format_exc()}")
        shutil.rmtree(folder)
    grown, compiler = peak() - before, "torch._dynamo" in sys.modules
    print(json.dumps({"found": found, "odd": odd, "grown": grown, "compiler": compiler}))


def test_mutants(tmp_path: Path) -> None:
    """In a process of their own, whose memory is measured; they are the same each time."""
    command = [sys.executable, __file__, str(tmp_path), str(MUTANTS), "0"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    outcome = json.loads(process.stdout)
    assert outcome["odd"] == []
    assert outcome["found"]["refused"] > 0.7 * MUTANTS
    assert sum(outcome["found"].values()) == MUTANTS
    assert outcome["grown"] < MEMORY
    assert not outcome["compiler"]  # which takes seconds to import


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
