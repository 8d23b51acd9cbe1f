from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ganzoo import __version__, bundle, sealed
from ganzoo.architectures.mlp import MLP
from ganzoo.bundle import BundleConfig
from ganzoo.errors import BundleError, PluginError, UnknownNameError
from ganzoo.framing import Framing
from ganzoo.spec import LatentSpec, SampleSpec
from ganzoo.storage import sha256, write_json

ARCH = MLP(hidden=(4,))
SAMPLE = SampleSpec(shape=(1, 4, 4), classes=("a", "b"))
LATENT = LatentSpec(shape=(3,), distribution="uniform", low=-0.5)
CONFIG = BundleConfig(
    architecture=ARCH,
    sample=SAMPLE,
    framing=Framing.fit((2, 3), (4, 4), "pad"),
    latent=LATENT,
    training={"dataset": {"name": "given"}, "steps": 3},
)


def weights() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ARCH.generator(SAMPLE, LATENT).state_dict()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle.write(tmp_path / "bundle", CONFIG, weights())
    return tmp_path / "bundle"


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def edit(folder: Path, **changes) -> None:
    """Change keys of config.json as if it had been written so; None removes one."""
    merged = {**config_of(folder), "sha256": None, **changes}
    changed = {key: value for key, value in merged.items() if value is not None}
    write_json(folder / "config.json", sealed.seal(changed))


def exchange(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Put other weights into a bundle, with the facts that go with them."""
    path = folder / "model.safetensors"
    save_file(tensors, path)
    facts = {"size": path.stat().st_size, "sha256": sha256(path)}
    edit(folder, weights={"model.safetensors": facts})


def refused(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        bundle.read(folder)
    return str(caught.value)


def test_round_trip(folder: Path) -> None:
    config, tensors = bundle.read(folder)
    assert config.model_copy(update={"weights": {}}) == CONFIG
    assert tensors.keys() == weights().keys()
    for name, value in weights().items():
        assert torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype
    assert sorted(path.name for path in folder.parent.iterdir()) == ["bundle"]


def test_what_is_in_the_folder(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    path = folder / "model.safetensors"
    config = config_of(folder)
    lines = (folder / "config.json").read_bytes().splitlines(keepends=True)
    without = b"".join([*lines[:-3], lines[-3].replace(b",\n", b"\n"), lines[-1]])
    assert config.pop("sha256") == hashlib.sha256(without).hexdigest()
    assert config == {
        "format_version": 1,
        "library": "ganzoo",
        "library_version": __version__,
        "architecture": {
            "name": "mlp",
            "hidden": [4],
            "d_hidden": None,
            "slope": 0.2,
            "dropout": 0.3,
        },
        "sample": {
            "kind": "image",
            "shape": [1, 4, 4],
            "value_range": [-1.0, 1.0],
            "classes": ["a", "b"],
        },
        "framing": {"method": "pad", "native": [2, 3], "size": [4, 4]},
        "latent": {
            "shape": [3],
            "distribution": "uniform",
            "low": -0.5,
            "high": 1.0,
            "truncation": 2.0,
        },
        "weights": {"model.safetensors": {"size": path.stat().st_size, "sha256": sha256(path)}},
        "training": {"dataset": {"name": "given"}, "steps": 3},
    }
    assert load_file(path).keys() == weights().keys()


def test_any_layout_is_saved(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    bundle.write(tmp_path / "b", CONFIG, {"w": images, "count": torch.tensor(3)})
    _, tensors = bundle.read(tmp_path / "b")
    assert torch.equal(tensors["w"], images) and tensors["count"].item() == 3


def test_a_discriminator_lies_beside(tmp_path: Path) -> None:
    torch.manual_seed(1)
    judge = ARCH.discriminator(SAMPLE)
    folder = tmp_path / "both"
    bundle.write(folder, CONFIG, weights(), judge.state_dict())
    assert set(config_of(folder)["weights"]) == {"model.safetensors", "discriminator.safetensors"}
    assert bundle.read(folder)[1].keys() == weights().keys()
    loaded = bundle.discriminator(str(folder))
    for name, value in judge.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    (folder / "README.md").write_text("kept", encoding="utf-8")
    bundle.write(folder, CONFIG, weights())  # without it, the older one must not stay
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]
    with pytest.raises(BundleError, match=r"saved without its discriminator\. A snapshot"):
        bundle.discriminator(folder)


def test_a_damaged_discriminator_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    bundle.write(folder, CONFIG, weights(), ARCH.discriminator(SAMPLE).state_dict())
    path = folder / "discriminator.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for read in (bundle.discriminator, bundle.read):  # half a bundle is no bundle
        with pytest.raises(BundleError, match=r"discriminator.safetensors is not .*SHA-256 differ"):
            read(folder)


def test_a_discriminator_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    bad = {"w": torch.tensor([float("nan")])}
    with pytest.raises(BundleError, match="discriminator cannot be saved: its weight 'w'"):
        bundle.write(tmp_path / "both", CONFIG, weights(), bad)
    assert not (tmp_path / "both").exists()


# -- reading what is not right --------------------------------------------------------------------


def test_no_bundle(tmp_path: Path) -> None:
    assert refused(tmp_path) == (
        f"{tmp_path} holds no config.json, so it is no bundle. Give the folder 'generator' of a "
        f"run, or the run folder itself."
    )


@pytest.mark.parametrize("text", ["", "{", "\udcff"])
def test_a_config_that_is_no_json(folder: Path, text: str) -> None:
    path = folder / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    message = refused(folder)
    assert message.startswith(f"{path} cannot be read as JSON (") and message.endswith(").")


@pytest.mark.parametrize("raw", [[], {}, {"library": "diffusers"}, {"model_type": "bert"}, 3])
def test_a_config_of_something_else(folder: Path, raw) -> None:
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    assert refused(folder) == (
        f"{folder / 'config.json'} was not written by ganzoo: its 'library' is not 'ganzoo'."
    )


def test_a_newer_format(folder: Path) -> None:
    edit(folder, format_version=2, surprise=True)
    assert refused(folder) == (
        f"{folder / 'config.json'} has format 2, but this ganzoo reads up to 1: upgrade ganzoo."
    )


@pytest.mark.parametrize("version", ["one", 0, -1, 1.0, True, "1", None, []])
def test_a_format_that_is_none(folder: Path, version) -> None:
    edit(folder, format_version=version)
    assert refused(folder) == (
        f"{folder / 'config.json'} is damaged: its format_version is {version!r}, not a number "
        f"from 1 on. Copy the whole folder again."
    )


NOT_AS_WRITTEN = "is not as it was written, though it is JSON: it was edited or damaged"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("\n", "\r\n"), "has other line ends than it was written with"),
        (lambda text: text.replace('"steps": 3', '"steps":  3'), NOT_AS_WRITTEN),
        (lambda text: text + "\n", NOT_AS_WRITTEN),
        (lambda text: text.removesuffix("\n"), NOT_AS_WRITTEN),
        (lambda text: "\ufeff" + text, NOT_AS_WRITTEN),
        (lambda text: text.replace("-0.5", "-5e-1"), NOT_AS_WRITTEN),
        (lambda text: text.replace('"steps": 3', '"steps": 2, "steps": 3'), NOT_AS_WRITTEN),
        (lambda text: text.replace('"steps": 3', '"steps": 4'), "does not have its own sha256"),
        (lambda text: text.replace('"given"', '"givem"'), "does not have its own sha256"),
    ],
)
def test_a_config_that_was_changed(folder: Path, change, problem: str) -> None:
    path = folder / "config.json"
    text = path.read_bytes().decode()
    assert change(text) != text
    path.write_bytes(change(text).encode())
    message = refused(folder)
    assert message.startswith(f"{path} {problem}")
    assert message.endswith(". Copy the whole folder again, or save it anew.")


def test_a_config_without_its_hash(folder: Path) -> None:
    raw = config_of(folder)
    del raw["sha256"]
    write_json(folder / "config.json", raw)
    assert refused(folder) == (
        f"{folder / 'config.json'} lacks its own sha256: it was edited or damaged. "
        f"Copy the whole folder again, or save it anew."
    )


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1e999}', f'{{"a": {"9" * 5000}}}'])
def test_a_config_that_is_absurd(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    assert "config.json cannot be read as JSON (" in refused(folder)


def test_a_config_that_is_huge_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("ab") as file:
        file.truncate(2**40)  # sparse: no test should need so much memory
    assert refused(folder) == (
        f"{folder / 'config.json'} cannot be read as JSON (it is larger than 16,777,216 bytes)."
    )


def test_a_config_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    talkative = CONFIG.model_copy(update={"training": {"note": "x" * 2**24}})
    with pytest.raises(BundleError, match=r"would exceed 16,777,216 bytes"):
        bundle.write(tmp_path / "b", talkative, weights())
    assert not (tmp_path / "b").exists()


def test_a_damaged_bundle_does_not_block_a_new_one(folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(path.read_bytes()[:-40])
    bundle.write(folder, CONFIG, weights())
    assert filled(folder) is not None


def test_an_unknown_key(folder: Path) -> None:
    edit(folder, sampel=1)
    assert refused(folder) == (
        f"{folder / 'config.json'}: The bundle has no option 'sampel'. "
        "Did you mean 'sample'? Options: architecture, format_version, framing, latent, library, "
        "library_version, sample, training, weights."
    )


@pytest.mark.parametrize("key", ["architecture", "sample", "latent"])
def test_a_missing_key(folder: Path, key: str) -> None:
    edit(folder, **{key: None})
    assert refused(folder) == f"{folder / 'config.json'}: The bundle needs a value for '{key}'."


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"latent": {"shape": [0]}},
            "The latent: shape.0 cannot be 0: input should be greater than 0.",
        ),
        ({"sample": {"shape": [1, 4, 4], "colour": 1}}, "The sample spec has no option 'colour'."),
        ({"weights": {"model.safetensors": {"size": 3, "sha256": "x"}}}, "sha256 cannot be 'x': "),
    ],
)
def test_a_wrong_value(folder: Path, changes, problem: str) -> None:
    edit(folder, **changes)
    message = refused(folder)
    assert message.startswith(f"{folder / 'config.json'}: ") and problem in message


def test_an_unknown_architecture(folder: Path) -> None:
    edit(folder, architecture={"name": "mpl", "hidden": [4]})
    with pytest.raises(UnknownNameError, match=r"Unknown architecture 'mpl'\. Did you mean 'mlp'"):
        bundle.read(folder)


def test_an_architecture_of_an_absent_plugin(folder: Path) -> None:
    edit(folder, architecture={"name": "swirl", "provider": "ganzoo-swirl 0.3"})
    with pytest.raises(PluginError) as caught:
        bundle.read(folder)
    assert str(caught.value) == (
        "The architecture 'swirl' needs ganzoo-swirl (saved with 0.3), which is not installed: "
        "pip install ganzoo-swirl"
    )


@pytest.mark.parametrize(
    "names", [[], ["other.safetensors"], ["../model.safetensors"], ["a.bin", "model.safetensors"]]
)
def test_other_weight_files(folder: Path, names: list[str]) -> None:
    facts = config_of(folder)["weights"]["model.safetensors"]
    edit(folder, weights=dict.fromkeys(names, facts))
    assert refused(folder) == (
        f"{folder / 'config.json'} lists the weight files {sorted(names)}, not model.safetensors: "
        f"save the generator again."
    )


def test_missing_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.unlink()
    assert refused(folder) == (
        f"{path} is missing, which config.json lists: copy the whole folder again."
    )


@pytest.mark.parametrize("damage", ["bit", "short", "long", "empty"])
def test_damaged_weights(folder: Path, damage: str) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[-1] ^= 1
    changed = {"short": content[:-1], "long": content + b"\0", "empty": b""}.get(damage, content)
    path.write_bytes(changed)
    assert refused(folder) == (
        f"{path} is not the file that config.json describes (size or SHA-256 differ): it was "
        f"damaged or exchanged. Copy the whole folder again."
    )


def test_weights_that_are_no_safetensors(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle, which is never loaded
    edit(folder, weights={"model.safetensors": {"size": 5, "sha256": sha256(path)}})
    message = refused(folder)
    assert message.startswith(f"{path} cannot be read as safetensors (")


# -- weights and the net built for them -----------------------------------------------------------


def filled(folder: Path) -> torch.nn.Module:
    config, tensors = bundle.read(folder)
    net = config.architecture.generator(config.sample, config.latent)
    bundle.fill(net, tensors, folder)
    return net


def test_filling(folder: Path) -> None:
    found = filled(folder).state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights().items())


def test_a_missing_tensor(folder: Path) -> None:
    tensors = weights()
    tensors.pop("output.bias")
    exchange(folder, tensors)
    with pytest.raises(BundleError) as caught:
        filled(folder)
    assert str(caught.value) == (
        f"{folder} lacks the weight 'output.bias' that its architecture has."
    )


def test_an_extra_tensor(folder: Path) -> None:
    exchange(folder, {**weights(), "extra": torch.ones(1)})
    with pytest.raises(BundleError) as caught:
        filled(folder)
    assert str(caught.value) == f"{folder} has a weight 'extra' that its architecture lacks."


@pytest.mark.parametrize(
    ("value", "have"),
    [
        (torch.ones(15), "(15,) torch.float32"),
        (torch.ones(16, 1), "(16, 1) torch.float32"),
        (torch.ones(16, dtype=torch.float64), "(16,) torch.float64"),
    ],
)
def test_another_shape_or_dtype(folder: Path, value, have: str) -> None:
    exchange(folder, {**weights(), "output.bias": value})
    with pytest.raises(BundleError) as caught:
        filled(folder)
    assert str(caught.value) == (
        f"The weight 'output.bias' of {folder} is {have}, but its architecture needs (16,) "
        f"torch.float32."
    )


def test_weights_that_do_not_fit_leave_the_net_alone() -> None:
    net = ARCH.generator(SAMPLE, LATENT)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    changed = {name: value + 1 for name, value in weights().items()}
    changed["output.weight"] = torch.ones(1)
    with pytest.raises(BundleError):
        bundle.fill(net, changed, Path("origin"))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# -- writing that is refused or fails -------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(folder: Path, bad: float) -> None:
    broken = weights()
    broken["output.bias"][3] = bad
    with pytest.raises(BundleError) as caught:
        bundle.write(folder, CONFIG, broken)
    assert str(caught.value) == (
        "The generator cannot be saved: its weight 'output.bias' is not finite. The training "
        "diverged; go back to an earlier checkpoint or lower the learning rates."
    )
    assert filled(folder) is not None  # the old one is whole


def test_a_bundle_replaces_a_bundle(folder: Path) -> None:
    (folder / "samples.png").write_bytes(b"of the old one")
    changed = {name: value + 1 for name, value in weights().items()}
    bundle.write(folder, CONFIG, changed)
    _, tensors = bundle.read(folder)
    assert all(torch.equal(tensors[name], value) for name, value in changed.items())


def test_a_bundle_goes_into_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bundle.write(tmp_path / "empty", CONFIG, weights())
    assert filled(tmp_path / "empty") is not None


def holds_something_else(folder: Path) -> str:
    return (
        f"{folder} holds something that is not a bundle, which saving would replace. "
        f"Choose another folder."
    )


def test_other_things_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        bundle.write(tmp_path, CONFIG, weights())
    assert str(caught.value) == holds_something_else(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_config_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    """Many programs keep a config.json."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        bundle.write(tmp_path, CONFIG, weights())
    assert str(caught.value) == holds_something_else(tmp_path)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError):
        bundle.write(path, CONFIG, weights())
    assert path.read_text(encoding="utf-8") == "mine"


class SafetensorError(Exception):
    """Stands for the class in which safetensors wraps the system's errors."""


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: no space")],
    ids=lambda error: type(error).__name__,
)
def test_a_full_disk_keeps_the_old_one(folder: Path, monkeypatch, error) -> None:
    def full(tensors, path, metadata=None) -> None:
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(BundleError) as caught:
        bundle.write(folder, CONFIG, {"w": torch.ones(1)})
    assert str(caught.value) == (
        f"The generator cannot be written to {folder} ({error}). "
        f"Free some space or choose another folder."
    )
    assert caught.value.__cause__ is error
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    monkeypatch.undo()
    assert filled(folder) is not None


def test_a_config_that_cannot_be_written_keeps_the_old_one(folder: Path, monkeypatch) -> None:
    def full(path: Path, value) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(bundle, "write_json", full)
    with pytest.raises(BundleError, match=r"Disk quota exceeded"):
        bundle.write(folder, CONFIG, {"w": torch.ones(1)})
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert filled(folder) is not None
