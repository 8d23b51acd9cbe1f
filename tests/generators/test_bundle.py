from __future__ import annotations

import copy
import errno
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ganzoo import __version__, architectures
from ganzoo.architectures import Architecture
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import BundleError, ConfigError, PluginError, UnknownNameError
from ganzoo.files import artifact
from ganzoo.files.storage import sha256, write_json
from ganzoo.generators import bundle
from ganzoo.generators.bundle import BundleConfig

ANEW = (
    "Copy the whole folder again or save it anew; or give the folder 'generator' of a run, or the "
    "run folder itself."
)
ARCH = MLP(hidden=(4,))
SAMPLE = SampleSpec(shape=(1, 4, 4), classes=("a", "b"))
LATENT = LatentSpec(shape=(3,), distribution="uniform", low=-0.5)
CONFIG = BundleConfig(
    architecture=ARCH,
    sample=SAMPLE,
    preprocessing=Preprocessing.fit((2, 3), (4, 4), "pad"),
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
    write_json(folder / "config.json", artifact.with_checksum(changed))


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
    text = json.dumps(
        {key: value for key, value in config.items() if key != "sha256"},
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    )
    assert config.pop("sha256") == hashlib.sha256(text.encode()).hexdigest()
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
            "activation": "relu",
            "norm": "none",
            "d_fourier": 0,
            "d_fourier_scale": 1.0,
            "condition": "concat",
            "d_condition": "concat",
            "label_width": 32,
            "d_spectral": False,
        },
        "sample": {
            "kind": "image",
            "shape": [1, 4, 4],
            "value_range": [-1.0, 1.0],
            "classes": ["a", "b"],
        },
        "preprocessing": {"method": "pad", "original_size": [2, 3], "size": [4, 4]},
        "latent": {
            "shape": [3],
            "distribution": "uniform",
            "low": -0.5,
            "high": 1.0,
            "truncation": 2.0,
            "categorical": [],
            "continuous": 0,
        },
        "weights": {"model.safetensors": {"size": path.stat().st_size, "sha256": sha256(path)}},
        "training": {"dataset": {"name": "given"}, "steps": 3},
    }
    assert load_file(path).keys() == weights().keys()


def test_any_layout_is_saved(tmp_path: Path) -> None:
    arch, spec = DCGAN(channels=2), SampleSpec(shape=(3, 16, 16))
    net = arch.generator(spec, LATENT).to(memory_format=torch.channels_last)
    assert not net.output.weight.is_contiguous()
    config = BundleConfig(architecture=arch, sample=spec, latent=LATENT)
    bundle.write(tmp_path / "b", config, net.state_dict())
    _, tensors = bundle.read(tmp_path / "b")
    assert tensors.keys() == net.state_dict().keys()
    assert all(torch.equal(tensors[name], value) for name, value in net.state_dict().items())


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
        with pytest.raises(
            BundleError, match=r"discriminator.safetensors, which .* cannot be used \(checksum"
        ):
            read(folder)


def test_a_discriminator_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    bad = {"w": torch.tensor([float("nan")])}
    with pytest.raises(BundleError, match="discriminator cannot be saved: its weight 'w'"):
        bundle.write(tmp_path / "both", CONFIG, weights(), bad)
    assert not (tmp_path / "both").exists()


# -- reading what is not right --------------------------------------------------------------------


def test_no_bundle(tmp_path: Path) -> None:
    assert refused(tmp_path) == (
        f"{tmp_path} holds no config.json, so it is not a bundle. Give the folder 'generator' of a "
        f"run, or the run folder itself."
    )


@pytest.mark.parametrize("text", ["", "{", "\udcff"])
def test_a_config_that_is_no_json(folder: Path, text: str) -> None:
    path = folder / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    message = refused(folder)
    assert message.startswith(f"{path} cannot be used (")
    assert message.endswith(f"). {ANEW}")


@pytest.mark.parametrize("raw", [[], {}, {"library": "diffusers"}, {"model_type": "bert"}, 3])
def test_a_config_of_something_else(folder: Path, raw) -> None:
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    assert "(it has no format_version, so ganzoo did not write it)" in refused(folder)


def test_a_config_of_another_library(folder: Path) -> None:
    edit(folder, library="diffusers")
    assert "(its 'library' is not 'ganzoo')" in refused(folder)


def test_a_newer_format(folder: Path) -> None:
    edit(folder, format_version=2, surprise=True)
    assert refused(folder) == (
        f"{folder / 'config.json'} has format 2, but this ganzoo reads up to 1: upgrade ganzoo."
    )


@pytest.mark.parametrize("version", ["one", 0, -1, 1.0, True, "1", []])
def test_a_format_that_is_none(folder: Path, version) -> None:
    edit(folder, format_version=version)
    assert refused(folder) == (
        f"{folder / 'config.json'} cannot be used (its format_version is {version!r}, not a number "
        f"from 1 on). {ANEW}"
    )


CHANGED = "it does not match its own sha256, so it was edited or damaged"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda text: text.replace('"steps": 3', '"steps": 2, "steps": 3'),
            "the key 'steps' stands twice",
        ),
        (lambda text: text.replace('"steps": 3', '"steps": 4'), CHANGED),
        (lambda text: text.replace('"given"', '"givem"'), CHANGED),
    ],
)
def test_a_config_that_was_changed(folder: Path, change, problem: str) -> None:
    path = folder / "config.json"
    text = path.read_bytes().decode()
    assert change(text) != text
    path.write_bytes(change(text).encode())
    message = refused(folder)
    assert message.startswith(f"{path} cannot be used ({problem}")
    assert message.endswith(f"). {ANEW}")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace('"steps": 3', '"steps":  3'),
        lambda text: text + "\n",
        lambda text: text.removesuffix("\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("-0.5", "-5e-1"),
        lambda text: json.dumps(json.loads(text)),
        lambda text: json.dumps(json.loads(text), indent=4, ensure_ascii=True),
        lambda text: json.dumps(dict(reversed(json.loads(text).items()))),
        lambda text: json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")),
    ],
)
def test_a_config_that_was_laid_out_anew(folder: Path, change) -> None:
    path = folder / "config.json"
    before, text = bundle.read(folder), path.read_bytes().decode()
    assert change(text) != text
    path.write_bytes(change(text).encode())
    found, weights = bundle.read(folder)
    assert found == before[0]
    assert all(torch.equal(weights[name], value) for name, value in before[1].items())


def test_a_config_without_its_hash(folder: Path) -> None:
    raw = config_of(folder)
    del raw["sha256"]
    write_json(folder / "config.json", raw)
    assert refused(folder) == (f"{folder / 'config.json'} cannot be used ({CHANGED}). {ANEW}")


def test_a_config_that_is_huge_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("ab") as file:
        file.truncate(2**40)  # sparse: no test should need so much memory
    assert refused(folder) == (
        f"{folder / 'config.json'} cannot be used (it is larger than 1,048,576 bytes). {ANEW}"
    )


@pytest.mark.parametrize(
    ("note", "problem"),
    [
        ("x" * 2**20, "it is larger than 1,048,576 bytes"),
        (functools.reduce(lambda inner, _: [inner], range(32), 0), "it is nested too deeply"),
        ([0] * 50_000, "it holds more than 50,000 values"),
    ],
    ids=["long", "deep", "many"],
)
def test_a_config_that_could_not_be_read_again_is_not_written(
    tmp_path: Path, note, problem: str
) -> None:
    talkative = CONFIG.model_copy(update={"training": {"note": note}})
    with pytest.raises(BundleError, match=f"could not be read again .{problem}.: put less"):
        bundle.write(tmp_path / "b", talkative, weights())
    assert not (tmp_path / "b").exists()


def test_an_unknown_key(folder: Path) -> None:
    edit(folder, sampel=1)
    assert refused(folder) == (
        f"{folder / 'config.json'}: The bundle has no option 'sampel'. "
        "Did you mean 'sample'? Options: architecture, format_version, half, latent, "
        "library, library_version, origin, packing, preprocessing, sample, training, weights."
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
        "The architecture 'swirl' says that it comes from the package 'ganzoo-swirl' 0.3, which is "
        "not installed. Only the file says so: look at it on PyPI before you "
        "install it."
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
    message = refused(folder)
    assert message.startswith(f"{path}, which config.json lists, cannot be used ([Errno 2] No such")
    assert message.endswith("). Copy the whole folder again.")


@pytest.mark.parametrize("damage", ["bit", "short", "long", "empty"])
def test_damaged_weights(folder: Path, damage: str) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[-1] ^= 1
    changed = {"short": content[:-1], "long": content + b"\0", "empty": b""}.get(damage, content)
    path.write_bytes(changed)
    reason = "checksum mismatch" if damage == "bit" else "size mismatch"
    assert refused(folder) == (
        f"{path}, which config.json lists, cannot be used ({reason}). Copy the whole folder again."
    )


# -- weights and the net built for them -----------------------------------------------------------


AGAIN = (
    "Copy the whole folder again or save it anew; if its architecture has changed, install the "
    "version that it was saved with."
)


def filled(folder: Path) -> torch.nn.Module:
    return bundle.load(folder)[1]


def test_filling(folder: Path) -> None:
    found = filled(folder).state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights().items())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"output.bias": None}, "lacks the weight 'output.bias' that its architecture has"),
        ({"extra": torch.ones(1)}, "has a weight 'extra' that its architecture lacks"),
        ({"output.bias": torch.ones(15)}, "(15,) torch.float32"),
        ({"output.bias": torch.ones(16, 1)}, "(16, 1) torch.float32"),
        ({"output.bias": torch.ones(16, dtype=torch.float64)}, "(16,) torch.float64"),
    ],
)
def test_weights_of_another_net(folder: Path, changes, problem: str) -> None:
    exchange(folder, {n: v for n, v in {**weights(), **changes}.items() if v is not None})
    with pytest.raises(BundleError) as caught:
        filled(folder)
    if problem.startswith("("):
        problem = (
            f"has the weight 'output.bias' as {problem}, but its architecture needs (16,) "
            f"torch.float32"
        )
    assert str(caught.value) == f"{folder} {problem}. {AGAIN}"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda w: w.pop("output.bias"), "lacks the weight 'output.bias' that its architecture"),
        (lambda w: w.update(x=torch.ones(1)), "has a weight 'x' that its architecture lacks"),
        (lambda w: w.update({"output.bias": torch.ones(15)}), "'output.bias' as (15,) torch.float"),
    ],
)
def test_weights_of_another_net_are_not_saved(tmp_path: Path, change, problem: str) -> None:
    other = weights()
    change(other)
    with pytest.raises(BundleError) as caught:
        bundle.write(tmp_path / "b", CONFIG, other)
    message = str(caught.value)
    assert message.startswith("The generator cannot be saved: it ") and problem in message
    assert not (tmp_path / "b").exists()


# -- loading --------------------------------------------------------------------------------------

BUILT_IN = [e.name for e in architectures.registry.entries() if e.distribution == "ganzoo"]
SPEC = SampleSpec(shape=(1, 32, 32))


def nets_of(name: str) -> tuple[BundleConfig, torch.nn.Module, torch.nn.Module]:
    small = {"dcgan": {"channels": 2}, "upsample": {"channels": 4, "d_channels": 2}}
    arch = architectures.create(name, **small.get(name, {"hidden": (5, 3)}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        generator, judge = arch.generator(SPEC, LATENT), arch.discriminator(SPEC)
    return BundleConfig(architecture=arch, sample=SPEC, latent=LATENT), generator, judge


def tensors_in(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All, also those that its state dict does not have, by a walk through what it holds."""
    found: dict[str, torch.Tensor] = {}

    def look(value, place: str, depth: int) -> None:
        if isinstance(value, torch.Tensor):
            found[place] = value
        elif depth and isinstance(value, dict):
            for key, item in value.items():
                look(item, f"{place}.{key}", depth - 1)
        elif depth and isinstance(value, (list, tuple)):
            look(dict(enumerate(value)), place, depth)

    for name, module in net.named_modules():
        look(vars(module), name, 4)
    return found


@pytest.mark.parametrize("name", BUILT_IN)
def test_own_nets_are_loaded_whole(tmp_path: Path, name: str) -> None:
    """Each tensor is in the state dict, once: no other could be given its value."""
    config, generator, judge = nets_of(name)
    bundle.write(tmp_path / "b", config, generator.state_dict(), judge.state_dict())
    state = torch.get_rng_state()
    loaded = (bundle.load(tmp_path / "b")[1], bundle.discriminator(tmp_path / "b"))
    assert torch.equal(torch.get_rng_state(), state)
    for new, old in zip(loaded, (generator, judge), strict=True):
        found, expected = new.state_dict(), old.state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(value, expected[name]) for name, value in found.items())
        held = tensors_in(new)
        assert not any(value.is_meta for value in held.values())
        assert len({value.data_ptr() for value in held.values()}) == len(expected)
        assert tensors_in(old).keys() == held.keys()
        assert [p.requires_grad for p in new.parameters()] == [
            p.requires_grad for p in old.parameters()
        ]
    latents = LATENT.sample(5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded[0].eval()(latents), generator.eval()(latents))


def test_loaded_weights_may_be_changed_and_the_file_stays(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    net = filled(folder)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    assert (folder / "model.safetensors").read_bytes() == before
    assert all(torch.equal(net.state_dict()[n], v + 1) for n, v in weights().items())
    assert all(torch.equal(filled(folder).state_dict()[n], v) for n, v in weights().items())


def test_a_bundle_replaces_the_one_that_it_is_loaded_from(folder: Path) -> None:
    net = filled(folder)
    twin = copy.deepcopy(net)
    bundle.write(folder, CONFIG, {name: value + 1 for name, value in net.state_dict().items()})
    bundle.write(folder, CONFIG, net.state_dict())  # of a file that is gone by now
    for each in (net, twin, filled(folder)):
        assert all(torch.equal(each.state_dict()[n], v) for n, v in weights().items())


class Odd(torch.nn.Module):
    """Holds what a plug-in's net may hold: random and plain tensors, and one weight twice."""

    def __init__(self, spec: SampleSpec, numbers: bool) -> None:
        super().__init__()
        self.first = torch.nn.Linear(spec.numel, spec.numel)
        self.second = torch.nn.Linear(spec.numel, spec.numel)
        self.second.weight = self.first.weight
        self.register_buffer("hidden", torch.full((2,), 3.0), persistent=False)
        self.plain = [torch.arange(spec.numel)]
        self.number = float(torch.ones(1)) if numbers else 1.0  # which meta tensors do not have

    def forward(self, z, labels=None):
        return (self.second(self.first(z)) + self.hidden.sum() + self.plain[0]) * self.number


@pytest.fixture(params=[False, True], ids=["plain", "with numbers"])
def odd(request: pytest.FixtureRequest) -> Iterator[type[Architecture]]:
    @architectures.register("odd")
    class OddPair(Architecture):
        def generator(self, spec, latent):
            return Odd(spec, request.param)

        def discriminator(self, spec):
            return Odd(spec, request.param)

    yield OddPair
    architectures.registry.unregister("odd")


@pytest.mark.parametrize("half", [None, bundle.Half(largest=0.1, mean=0.1)])
def test_nets_of_plugins_are_built_and_filled(tmp_path: Path, odd, half) -> None:
    spec = SampleSpec(kind="vector", shape=(3,), value_range=None)
    config = BundleConfig(architecture=odd(), sample=spec, latent=LATENT, half=half)
    net = odd().generator(spec, LATENT)
    if half is not None:
        net.half().float()  # rounded, so that nothing is lost
    bundle.write(tmp_path / "b", config, net.state_dict())
    state = torch.get_rng_state()
    loaded = bundle.load(tmp_path / "b")[1]
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.first.weight is loaded.second.weight
    latents = torch.ones(2, 3)
    assert torch.equal(loaded(latents), net(latents))


# -- half precision, origin and what lies beside --------------------------------------------------

HALF = bundle.Half(largest=0.01, mean=0.002)
HALVED = CONFIG.model_copy(update={"half": HALF})


def test_half_precision(tmp_path: Path) -> None:
    folder = tmp_path / "half"
    counted = {**weights()}
    bundle.write(folder, HALVED, counted, ARCH.discriminator(SAMPLE).state_dict())
    assert config_of(folder)["half"] == {"largest": 0.01, "mean": 0.002}
    stored = load_file(folder / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    config, read = bundle.read(folder)
    assert config.half == HALF
    for found in (read, filled(folder).state_dict()):
        for name, value in counted.items():
            assert found[name].dtype == torch.float32
            assert torch.equal(found[name], value.half().float())
    assert next(bundle.discriminator(folder).parameters()).dtype == torch.float32


def test_numbers_that_are_counted_stay_whole(tmp_path: Path) -> None:
    config, generator, _ = nets_of("dcgan")
    generator.project.norm.num_batches_tracked.fill_(100_001)  # which float16 cannot hold
    bundle.write(tmp_path / "b", config.model_copy(update={"half": HALF}), generator.state_dict())
    for found in (bundle.read(tmp_path / "b")[1], filled(tmp_path / "b").state_dict()):
        assert int(found["project.norm.num_batches_tracked"]) == 100_001


def test_what_half_precision_cannot_hold(tmp_path: Path) -> None:
    large = weights()
    large["output.bias"][2] = 70_000
    with pytest.raises(BundleError) as caught:
        bundle.write(tmp_path / "b", HALVED, large)
    assert str(caught.value) == (
        "The generator cannot be saved in half precision: its weight 'output.bias' exceeds "
        "65,504. Save it without half."
    )
    bundle.write(tmp_path / "b", CONFIG, large)


@pytest.mark.parametrize("half", [None, {"largest": 0.0, "mean": 0.0}])
def test_types_are_those_that_the_config_says(folder: Path, half) -> None:
    """Be the config's word float16 and the file's float32, or the other way."""
    if half is None:
        exchange(folder, {name: value.half() for name, value in weights().items()})
    else:
        edit(folder, half=half)
    with pytest.raises(BundleError, match=r"as \(4,\) torch.float\d\d, but .* needs \(4,\) torch"):
        filled(folder)


def test_an_origin(tmp_path: Path) -> None:
    origin = bundle.Origin(repo_id="ada/gan", revision="0123456789" * 4)
    bundle.write(tmp_path / "b", CONFIG.model_copy(update={"origin": origin}), weights())
    assert bundle.config(tmp_path / "b").origin == origin
    with pytest.raises(ConfigError, match="revision"):
        bundle.Origin(repo_id="ada/gan", revision="main")


def test_what_tells_of_weights_goes_with_them(folder: Path) -> None:
    for name in (*bundle.EXTRAS, "notes.txt"):
        (folder / name).write_text(name, encoding="utf-8")
    bundle.write(folder, CONFIG, weights())
    assert {path.name for path in folder.iterdir()} >= {*bundle.EXTRAS, "notes.txt"}
    bundle.write(folder, CONFIG, {name: value + 1 for name, value in weights().items()})
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "notes.txt",
    ]


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
    changed = {name: value + 1 for name, value in weights().items()}
    bundle.write(folder, CONFIG, changed)
    _, tensors = bundle.read(folder)
    assert all(torch.equal(tensors[name], value) for name, value in changed.items())


def test_a_bundle_goes_into_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bundle.write(tmp_path / "empty", CONFIG, weights())
    assert filled(tmp_path / "empty") is not None


@pytest.mark.parametrize(
    "mine",
    [
        {"thesis.txt": "years of work"},
        # Many programs keep a config.json.
        {"config.json": '{"model_type": "bert"}', "thesis.txt": "years of work"},
        {
            "config.json": '{"deps": [{"library": "ganzoo"}], "mine": 1}',
            "metrics.json": "{}",
            "training.json": '{"of": "mine"}',
        },
    ],
    ids=["no config", "another config", "a config that names ganzoo"],
)
def test_other_things_are_not_replaced(tmp_path: Path, mine: dict[str, str]) -> None:
    for name, text in mine.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        bundle.write(tmp_path, CONFIG, weights())
    assert str(caught.value) == (
        f"{tmp_path} holds something that is not a bundle, which saving would replace. "
        f"Choose another folder."
    )
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == mine


def test_a_damaged_bundle_is_replaced(folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(path.read_bytes()[:-20])
    bundle.write(folder, CONFIG, weights())
    assert filled(folder) is not None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("place", ["pipe", "mine/pipe"])
def test_a_pipe_that_would_stay_is_named(folder: Path, place: str) -> None:
    (folder / place).parent.mkdir(exist_ok=True)
    os.mkfifo(folder / place)
    with pytest.raises(BundleError) as caught:
        bundle.write(folder, CONFIG, weights())
    message = str(caught.value)
    assert message.startswith(f"The generator cannot be written to {folder} (")
    assert f"`{folder / place}` is a named pipe" in message
    assert message.endswith("or choose another folder.")
    assert filled(folder) is not None and (folder / place).is_fifo()


@pytest.mark.parametrize("value", ["\ud800", 10**5000], ids=["text", "int"])
def test_what_json_cannot_hold_keeps_the_old_one(folder: Path, value) -> None:
    config = CONFIG.model_copy(update={"training": {"note": value}})
    with pytest.raises(BundleError) as caught:
        bundle.write(folder, config, weights())
    assert str(caught.value).startswith(f"The config.json of {folder} cannot be written (")
    assert str(caught.value).endswith(
        "Put only valid Unicode and integers of at most 4,300 digits into 'training'."
    )
    assert filled(folder) is not None


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError):
        bundle.write(path, CONFIG, weights())
    assert path.read_text(encoding="utf-8") == "mine"


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
        bundle.write(folder, CONFIG, weights())
    assert str(caught.value) == (
        f"The generator cannot be written to {folder} ({error}). "
        f"Free some space or choose another folder."
    )
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    monkeypatch.undo()
    assert filled(folder) is not None


def test_a_config_that_cannot_be_written_keeps_the_old_one(folder: Path, monkeypatch) -> None:
    def full(path: Path, value) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(artifact, "write_json", full)
    with pytest.raises(BundleError, match=r"Disk quota exceeded"):
        bundle.write(folder, CONFIG, weights())
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert filled(folder) is not None
