"""Advice on bundles: saved, damaged, refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from advice_followed.helpers import cases, found, load, maker, run_of, said
from ganzoo import architectures
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.files import artifact
from ganzoo.generators import bundle
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.training.trainer import Trainer


def test_half_precision_that_is_exceeded():
    made = maker()
    with torch.no_grad():
        next(made.module.parameters()).fill_(1e6)
    assert "without half" in said(lambda: made.save_pretrained("made", half=True))
    made.save_pretrained("made")


def test_a_discriminator_that_is_not_there():
    text = said(lambda: maker().save_pretrained("made", discriminator=True))
    assert "Give the net itself, or leave it out" in text
    net = MLP(hidden=(4,)).discriminator(SampleSpec(shape=(1, 8, 8)))
    maker().save_pretrained("made", discriminator=net)
    maker().save_pretrained("other")
    text = said(
        lambda: Generator.from_pretrained("other").discriminator() or bundle.discriminator("other")
    )
    option = found(r"save_pretrained\(\.\.\., (\w+)=", text)
    maker().save_pretrained("third", **{option: net})
    assert bundle.discriminator("third")


def test_a_revision_of_a_folder():
    maker().save_pretrained("made")
    text = said(lambda: Generator.from_pretrained("made", revision="main"))
    assert "Leave the revision out" in text
    Generator.from_pretrained("made")


def test_a_folder_that_is_something_else():
    Path("mine").mkdir()
    Path("mine/letter.txt").touch()
    assert "Choose another folder" in said(lambda: maker().save_pretrained("mine"))
    maker().save_pretrained("other")


# -- makings ----------------------------------------------------------------------------------


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a bundle says of itself, as something that seals it again would."""
    content = json.loads((folder / bundle.CONFIG).read_text())
    content.pop(artifact.CHECKSUM)
    change(content)
    (folder / bundle.CONFIG).write_text(
        json.dumps(artifact.with_checksum(content), indent=2) + "\n"
    )


def reweighed(folder: Path, data: bytes) -> None:
    """Give a bundle another weight file that its configuration agrees with."""
    from ganzoo.files.storage import sha256

    path = folder / bundle.WEIGHTS
    path.write_bytes(data)

    def change(content: dict[str, Any]) -> None:
        content["weights"][bundle.WEIGHTS] = {"size": len(data), "sha256": sha256(path)}

    rewritten(folder, change)


def packed(tensors: dict[str, torch.Tensor]) -> bytes:
    save_file(tensors, "packed.safetensors")
    return Path("packed.safetensors").read_bytes()


def changed(name: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: rewritten(folder, lambda content: content.update({name: value}))


def edited(folder: Path) -> None:
    path = folder / bundle.CONFIG
    path.write_text(path.read_text().replace('"steps": 1', '"steps": 2'))


def said_twice(folder: Path) -> None:
    path = folder / bundle.CONFIG
    path.write_text(path.read_text().replace("{", '{"library": "ganzoo",', 1))


def cut_weights(folder: Path) -> None:
    os.truncate(folder / bundle.WEIGHTS, 40)


def without_one(folder: Path) -> None:
    tensors = load_file(folder / bundle.WEIGHTS)
    tensors.popitem()
    reweighed(folder, packed(tensors))


def not_finite(folder: Path) -> None:
    tensors = load_file(folder / bundle.WEIGHTS)
    next(iter(tensors.values())).fill_(float("nan"))
    reweighed(folder, packed(tensors))


# -- bundles ----------------------------------------------------------------------------------

COPIED = {
    "no version": changed("format_version", 0),
    "edited": edited,
    "said twice": said_twice,
    "no JSON": lambda folder: (folder / bundle.CONFIG).write_text("{"),
    "cut weights": cut_weights,
    "no weights": lambda folder: (folder / bundle.WEIGHTS).unlink(),
    "no safetensors": lambda folder: reweighed(folder, b"x" * 100),
    "a pickle": lambda folder: reweighed(folder, pickle.dumps([0] * 100)),
    "a weight too few": without_one,
}


@cases(*COPIED)
def test_a_damaged_bundle_to_copy_again(damage: str):
    maker().save_pretrained("whole")
    shutil.copytree("whole", "made")
    COPIED[damage](Path("made"))
    assert "opy the whole folder again" in said(load)
    shutil.rmtree("made")
    shutil.copytree("whole", "made")
    load()


SAVED = {
    "edited": edited,
    "not finite": not_finite,
    "other files": changed("weights", {"x.safetensors": {"size": 1, "sha256": "0" * 64}}),
    "a weight too few": without_one,
}


@cases(*SAVED)
def test_a_bundle_of_no_use_to_save_again(damage: str):
    made = maker()
    made.save_pretrained("made")
    SAVED[damage](Path("made"))
    assert re.search(r"save (it anew|the generator again)", said(load).replace("Save", "save"))
    made.save_pretrained("made")
    load()


def test_a_bundle_of_a_newer_version(monkeypatch: pytest.MonkeyPatch):
    maker().save_pretrained("made")
    changed("format_version", 2)(Path("made"))
    text = said(load)
    assert "upgrade ganzoo" in text
    monkeypatch.setattr(bundle, "FORMAT_VERSION", int(found(r"has format (\d+)", text)))
    load()


@cases("empty", "untrusted")
def test_a_folder_that_is_no_bundle(kind: str):
    run_of()
    Path("made").mkdir()
    if kind == "untrusted":
        Path("made/config.json").write_text('{"model_type": "bert"}')
    text = said(load)
    load(Path("run") / found(r"folder '(\w+)' of a run", text))
    assert "or the run folder itself" in text
    load("run")


def test_a_framing_for_another_size():
    spec, latent, arch = SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,)), MLP(hidden=(4,))
    preprocessing = {"method": "pad", "original_size": (6, 6), "size": (7, 7)}

    def make(**preprocessing: Any) -> BundleConfig:
        return BundleConfig(
            architecture=arch, sample=spec, latent=latent, preprocessing=preprocessing
        )

    height, width = re.search(
        r"the net an? (\d+)x(\d+)", said(lambda: make(**preprocessing))
    ).groups()
    make(**{**preprocessing, "size": (int(height), int(width))})


@cases("made", "file/made", "none/\0")
def test_a_folder_that_cannot_be_written(name: str):
    Path("file").touch()
    if name == "made":
        Path(name).touch()
    assert "hoose another folder" in said(lambda: maker().save_pretrained(name))
    maker().save_pretrained("other")
    load("other")


def test_weights_that_are_not_finite():
    run_of(checkpoint_every=1)
    made = Generator.from_pretrained("run")
    next(made.module.parameters()).fill_(float("nan"))
    text = said(lambda: made.save_pretrained("made"))
    assert "go back to an earlier checkpoint or lower the learning rates" in text
    Trainer.resume("run", progress=False)
    run_of(out="lower", g_optimizer={"lr": 1e-6}, d_optimizer={"lr": 1e-6})
    load("lower").save_pretrained("made")


def test_another_discriminator():
    other = MLP(hidden=(5,)).discriminator(SampleSpec(shape=(1, 8, 8)))
    made = maker()
    text = said(lambda: made.save_pretrained("made", discriminator=other))
    assert "Give the net that its architecture builds" in text
    net = made.config.architecture.discriminator(made.config.sample)
    made.save_pretrained("made", discriminator=net)


@cases("long", "deep")
def test_too_much_to_say_of_the_training(how: str):
    deep: Any = 0
    for _ in range(100):
        deep = [deep]
    made = maker()
    config = made.config.model_copy(
        update={"training": {"told": deep if how == "deep" else "x" * 2**21}}
    )
    text = said(lambda: Generator(made.module, config).save_pretrained("made"))
    setting = found(r"put less into '(\w+)'", text)
    less = config.model_copy(update={setting: {}})
    Generator(made.module, less).save_pretrained("made")
    load()


@cases("file", "net")
def test_a_net_that_is_larger_than_allowed(kind: str, monkeypatch: pytest.MonkeyPatch):
    maker().save_pretrained("made")
    monkeypatch.setenv("GANZOO_MAX_BYTES", "1650" if kind == "file" else "1500")
    text = said(lambda: Generator.from_pretrained("made"))
    needs = int(found(r"(?:needs|has) ([\d,]+) bytes", text).replace(",", ""))
    monkeypatch.setenv(found(r"environment variable (\w+) to more", text), str(2 * needs))
    load()


@cases("made", "sample")
def test_a_net_that_its_architecture_cannot_build(what: str):
    class Fickle(MLP):
        """Builds what it likes."""

        def generator(self, spec: SampleSpec, latent: LatentSpec) -> torch.nn.Module:
            if broken:
                raise RuntimeError("no more")
            return super().generator(spec, latent)

    broken = False
    architectures.register("fickle")(Fickle)
    try:
        arch, spec, latent = (
            Fickle(hidden=(4,)),
            SampleSpec(shape=(1, 8, 8)),
            LatentSpec(shape=(3,)),
        )
        config = BundleConfig(architecture=arch, sample=spec, latent=latent)
        Generator(arch.generator(spec, latent), config).save_pretrained("made")
        broken = True
        assert "Load another one, or upgrade what its architecture comes from" in said(load)
        maker().save_pretrained("other")
        load("other")
        broken = False
        load()
    finally:
        architectures.registry.unregister("fickle")
