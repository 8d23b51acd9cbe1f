"""Advice on generators: their bundles, samples, pictures."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from advice_followed.helpers import (
    Line,
    cases,
    found,
    helped,
    labelled,
    literal,
    load,
    maker,
    net,
    pixels,
    run_of,
    said,
)
from ganzoo import architectures
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.files import artifact
from ganzoo.generators import bundle, pretrained
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.showing import pictures, plots
from ganzoo.showing.pictures import animate
from ganzoo.training.callbacks import Callback
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
    def make(height: Any, width: Any) -> BundleConfig:
        framing = {"method": "pad", "original_size": (6, 6), "size": (int(height), int(width))}
        return BundleConfig(**{**dict(maker().config), "preprocessing": framing})

    helped(lambda: make(7, 7), r"the net an? (\d+)x(\d+)", make)


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


def test_a_net_that_its_architecture_cannot_build():
    class Fickle(MLP):
        """Builds what it likes."""

        def generator(self, spec: SampleSpec, latent: LatentSpec) -> torch.nn.Module:
            if broken:
                raise RuntimeError("no more")
            return super().generator(spec, latent)

    broken = False
    architectures.register("fickle")(Fickle)
    try:
        maker(arch=Fickle(hidden=(4,))).save_pretrained("made")
        broken = True
        assert "Load another one, or upgrade what its architecture comes from" in said(load)
        maker().save_pretrained("other")
        load("other")
        broken = False
        load()
    finally:
        architectures.registry.unregister("fickle")


# -- loading and sampling -------------------------------------------------------------------------


@cases((4, (4, 7)), (2, (3, 3)))
def test_latents_of_another_shape(count: int, shape: tuple[int, ...]):
    text = said(lambda: maker().sample(count, latents=torch.zeros(shape)))
    needed = literal(found(r"need (\(.+?\))", text))
    assert len(maker().sample(count, latents=torch.zeros(needed))) == count


@cases(3, "cat")
def test_labels_without_classes(label: Any):
    assert "leave out 'labels'" in said(lambda: maker().sample(2, labels=label))
    maker().sample(2)


@cases("dcgan.fashon", "mlp.mnst")
def test_a_misspelt_generator(name: str):
    meant = found(r"Did you mean '(.+?)'", said(lambda: Generator.from_pretrained(name)))
    assert len(Generator.from_pretrained(meant).sample(2)) == 2


@cases((50, 4000), (200, 20000))
def test_more_bytes_than_are_allowed(count: int, allowed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_MAX_BYTES", str(allowed))
    text = said(lambda: maker().sample(count))
    assert "Draw them in parts" in text
    maker().sample(5)
    each = int(found(r"of (\d+) bytes each", text.replace(",", "")))
    monkeypatch.setenv(found(r"variable (\w+) to more", text), str(2 * count * each))
    assert len(maker().sample(count)) == count


@cases("much", "-3", "1e9")
def test_a_limit_that_is_no_number(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_MAX_BYTES", given)
    name = found(r"variable (\w+) is", said(lambda: maker().sample(2)))
    monkeypatch.setenv(name, "1000000")
    maker().sample(2)


@cases((-1, 4), (4, 0), (2.5, 4), ("many", 4), (True, 4))
def test_counts_that_are_none(count: Any, batch_size: Any):
    text = said(lambda: maker().sample(count, batch_size=batch_size))
    least = re.search(r"at least (\d) and (\d)", text).groups()
    assert len(maker().sample(int(least[0]), batch_size=int(least[1]))) == 0


def test_a_folder_that_is_being_saved():
    maker().save_pretrained("made")
    Path("made").rename(".made.12345678.old")
    text = said(lambda: Generator.from_pretrained("made"))
    left, name = re.search(r"which left (.+?)\. .*rename what is left to (\S+) if", text).groups()
    Path(left).rename(Path(left).with_name(name))
    load()


def test_weights_of_another_library(line: Line):
    torch.save(net().state_dict(), "one.pt")
    command = found(r"'(ganzoo convert)'", said(lambda: Generator.from_pretrained("one.pt")))
    line.follow(f"{command} one.pt --arch mlp --out made")
    load()


def test_the_best_of_a_run_without_scores():
    run_of(pixels(24, 16))
    text = said(lambda: Generator.from_pretrained("run/best"))
    load(found(r"its newest generator is in (.+)\.$", text))
    setting = found(r"where (\w+) is set", text)
    run_of(pixels(24, 16), out="scored", metrics=["swd"], checkpoint_every=1, **{setting: 1})
    load("scored/best")


@cases("dcgan.fashion", "other")
def test_a_revision_of_what_has_none(name: str):
    maker().save_pretrained("other")
    text = said(lambda: Generator.from_pretrained(name, revision="main"))
    assert "Leave the revision out" in text.replace("\n", " ")
    load(name)


@cases("./nowhere", "a/b/c", "nowhere")
def test_a_folder_that_is_nowhere(name: str):
    text = said(lambda: Generator.from_pretrained(name))
    assert "Give the folder of a run or of a saved generator" in text
    run_of()
    load("run")
    maker().save_pretrained("made")
    load("made")
    for each in found(r"by its name: (.+)\.$", text).split(", ") if name == "nowhere" else ():
        assert each in pretrained.names()


def ganzoo_names() -> list[str]:

    return list(pretrained.names())


def test_a_link_out_of_a_run():
    run_of()
    shutil.move("run/generator", "elsewhere")
    Path("run/generator").symlink_to(Path("elsewhere").resolve())
    text = said(lambda: Generator.from_pretrained("run"))
    assert "Give the folder it leads to" in text
    load(Path(found(r"^(\S+) is a link", text)).resolve())


class KilledError(Exception):
    """What ends a training at once."""


def killed(**settings: Any) -> None:
    """A run that was ended before its first checkpoint."""

    class Kill(Callback):
        def on_step(self, *_: Any) -> None:
            raise KilledError

    with contextlib.suppress(KilledError):
        run_of(callbacks=[Kill()], **settings)
    shutil.rmtree("run/generator", ignore_errors=True)


def test_a_run_without_a_generator_yet(line: Line):
    killed()
    command = found(r"'(ganzoo resume .+?)'", said(lambda: Generator.from_pretrained("run")))
    line.follow(f"{command} --quiet")
    load("run")


def test_a_run_that_has_lost_its_generator(line: Line):
    run_of()
    shutil.rmtree("run/generator")
    command = found(r"'(ganzoo resume .+?)'", said(lambda: Generator.from_pretrained("run")))
    line.follow(f"{command} --quiet")
    load("run")


# -- labels -----------------------------------------------------------------------------------

NAMES = ("cat", "dog", "Éclair", "7", "a,b")


@contextlib.contextmanager
def of_classes() -> Iterator[Generator]:
    """A generator that knows classes."""
    with labelled() as name:
        arch = architectures.create({"name": name, "hidden": [4]})
        yield maker(SampleSpec(shape=(1, 8, 8), classes=NAMES), arch)


LABELS = (
    ("dgo", r"Did you mean ('dog')"), ("cat,dog", r"in a list: (\[.+?\])"),
    ("1", r"given without quotes: (\d)"), (2.0, r"Give (\d)"),
    (np.eye(5)[[0, 1, 4]], r"instead: (labels\.argmax\(1\))"),
    (np.eye(5)[[0, 1, 4]].tolist(), r"instead: (numpy\.argmax\(labels, 1\))"),
    (np.array([0.0, 1.5]), r"by (labels\.astype\(int\))"),
    (torch.tensor([0.0, 1.5]), r"by .+ a tensor by (labels\.long\(\))"),
    (7, r"called '(7)': give it as a string"),
)  # fmt: skip


@cases(*[(number,) for number in range(len(LABELS))])
def test_labels_in_another_form(number: int):
    labels, pattern = LABELS[number]
    with of_classes() as made:
        way = found(pattern, said(lambda: made.sample(labels=labels)))
        better = way if labels is LABELS[8][0] else eval(way, {"labels": labels, "numpy": np})
        assert len(made.sample(labels=better))


@cases("set", "mapping", "several", "no label", "too large", "rows")
def test_labels_that_are_none(kind: str):
    labels: Any = {
        "set": {0, 1}, "mapping": {0: 1}, "several": [0, 1, 2], "no label": None,
        "too large": 9, "rows": [[0, 1], [1, 0]],
    }[kind]  # fmt: skip
    labels = [labels] if kind == "no label" else labels
    with of_classes() as made:
        text = said(lambda: made.sample(None if kind == "no label" else 2, labels=labels))
        if kind in ("set", "mapping"):
            assert "Give a list, with one for each sample" in text
            made.sample(2, labels=list(labels)[:1] * 2)
        elif kind in ("several", "rows"):
            assert "one label for all samples or one for each of the 2" in text
            made.sample(2, labels=0)
            made.sample(2, labels=[0, 1])
        elif kind == "no label":
            for name in found(r"Classes, from 0 on: (.+)\.$", text).split(", "):
                made.sample(2, labels=name)
        else:
            low, high = re.search(r"from (\d) to (\d)", text).groups()
            made.sample(2, labels=[int(low), int(high)])


def test_a_sample_that_needs_more_than_is_allowed(monkeypatch: pytest.MonkeyPatch):
    made = maker(arch=MLP(hidden=(400,)))
    monkeypatch.setenv("GANZOO_MAX_BYTES", "1000")
    text = said(lambda: made.sample(2))
    needs = found(r"One sample of this generator needs ([\d,]+) bytes", text).replace(",", "")
    monkeypatch.setenv(found(r"environment variable (\w+) to more", text), needs)
    assert len(made.sample(2)) == 2


# -- pictures and plots ---------------------------------------------------------------------------


@cases(SampleSpec(kind="audio", shape=(2, 64)), SampleSpec(kind="vector", shape=(6,)))
def test_a_picture_of_what_is_no_image(spec: SampleSpec):
    text = said(lambda: maker(spec).grid(4))
    assert "a audio" not in text and spec.kind in text


@cases(".png", ".mp4")
def test_an_animation_of_another_kind(ending: str):
    for number in range(2):
        Image.fromarray(pixels(1)[0, 0]).save(f"{number}.png")
    frames = [Path("0.png"), Path("1.png")]
    text = said(lambda: animate(frames, Path(f"x{ending}")))
    for kind in re.findall(r"(\.gif|\.webp)", text):
        animate(frames, Path(f"x{kind}"))
        assert Path(f"x{kind}").is_file()


@cases(("count", 0), ("columns", 0), ("columns", -3))
def test_a_grid_of_nothing(name: str, value: int):
    text = said(lambda: maker().grid(**{"count": 4, name: value}))
    least = {"one": 1}[found(r"at least (one)", text)]
    maker().grid(**{"count": 4, name: least})


def still(name: str, side: int) -> Path:
    Image.new("L", (side, side)).save(name)
    return Path(name)


@cases("seconds", "frames", "sizes")
def test_an_animation_that_cannot_be(what: str):
    frames = [still("0.png", 8), still("1.png", 9 if what == "sizes" else 8)]
    frames, seconds = [] if what == "frames" else frames, 0.0 if what == "seconds" else 1.0
    text = said(lambda: pictures.animate(frames, Path("x.gif"), seconds))
    if what == "seconds":
        seconds = float(found(r"more than (\d+) seconds", text)) + 0.5
    elif what == "frames":
        assert "at least one frame" in text
        frames = [still("0.png", 8)]
    else:
        first, size = re.search(r"(\S+\.png) has (\d+)x", text).groups()
        frames = [Path(first), still("1.png", int(size))]
    pictures.animate(frames, Path("x.gif"), seconds)


@cases("none", "too few", "another size")
def test_neighbours_that_do_not_fit(what: str):
    spec, images = SampleSpec(shape=(1, 8, 8)), torch.zeros(2, 1, 8, 8)
    closest = [] if what == "none" else [{"ratio": 0.5, "fake": 0, "real": 1}] * 2
    other = {"none": images, "too few": images[:1], "another size": images[..., :4]}[what]
    text = said(lambda: pictures.neighbours(closest, images, other, spec))
    if what == "none":
        assert "at least one pair" in text
        closest = [{"ratio": 0.5, "fake": 0, "real": 1}] * 2
    else:
        assert "as many generated and real images of one size" in text
    pictures.neighbours(closest, images, images, spec)


@cases("rows", "scores", "samples", "axes", "limits")
def test_plots_that_cannot_be_drawn(what: str):
    real, fake = torch.randn(9, 1), torch.randn(9, 1)
    if what == "rows":
        assert "at least one row" in said(lambda: plots.curves([]))
        plots.curves([{"step": 1, "d_loss": 1.0, "g_loss": 1.0}])
    elif what == "scores":
        assert "at least one score" in said(lambda: plots.scores([]))
    elif what in ("samples", "axes"):
        wrong = fake[:0] if what == "samples" else torch.randn(9, 2)
        axes = int(found(r"tensor \(N, (\d)\)", said(lambda: plots.density(real, wrong))))
        plots.density(real, torch.randn(9, axes))
    else:
        text = said(lambda: plots.density(real, fake, limits=((1.0, -1.0),)))
        assert found(r"are (1) pair", text) and "low < high" in text
        plots.density(real, fake, limits=((-1.0, 1.0),))


def test_plots_without_matplotlib(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib.figure", None)
        text = said(lambda: plots.curves([{"step": 1, "d_loss": 1.0}]))
    extra = found(r'pip install "ganzoo\[(\w+)\]"', text)
    needs = importlib.metadata.requires("ganzoo") or []
    assert any("matplotlib" in each and f'"{extra}"' in each.replace("'", '"') for each in needs)
    plots.curves([{"step": 1, "d_loss": 1.0}])
