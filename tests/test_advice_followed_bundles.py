"""Advice is followed of what is saved, read, shown and published: as in `test_advice_followed`."""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.metadata
import io
import json
import os
import pickle
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from packaging.requirements import Requirement
from PIL import Image
from safetensors.torch import load_file, save_file

import advice
import ganzoo
from advice import (
    TINY,
    Line,
    Rows,
    follow,
    found,
    maker,
    pixels,
    run_of,
    said,
)
from ganzoo import architectures, losses, metrics
from ganzoo.architectures.mlp import MLP
from ganzoo.core.device import pick_device, pick_precision
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import GanzooError
from ganzoo.files import artifact, checkpoint
from ganzoo.files.lock import RunLock
from ganzoo.generators import bundle, card, hub, pretrained
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.convert import convert
from ganzoo.generators.generator import Generator
from ganzoo.losses import Loss
from ganzoo.runs import checkup, comparison
from ganzoo.runs.run import Run
from ganzoo.showing import pictures, plots
from ganzoo.training.callbacks import Callback
from ganzoo.training.trainer import Trainer
from hub.server import HubServer

hub_server, line, server = advice.hub_server, advice.line, advice.server

row = Rows()


@pytest.mark.parametrize(("situation", "arguments"), row)
def test_advice_helps(
    situation: Callable[..., None], arguments: tuple[Any, ...], request: pytest.FixtureRequest
) -> None:
    follow(situation, arguments, request)


# -- makings ----------------------------------------------------------------------------------


def load(folder: str | Path = "made") -> Generator:
    made = Generator.from_pretrained(folder)
    assert len(made.sample(2)) == 2
    return made


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


@row("bundle", *COPIED)
def a_damaged_bundle_to_copy_again(damage: str) -> None:
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


@row("bundle", *SAVED)
def a_bundle_of_no_use_to_save_again(damage: str) -> None:
    made = maker()
    made.save_pretrained("made")
    SAVED[damage](Path("made"))
    assert re.search(r"save (it anew|the generator again)", said(load).replace("Save", "save"))
    made.save_pretrained("made")
    load()


@row("bundle")
def a_bundle_of_a_newer_version(monkeypatch: pytest.MonkeyPatch) -> None:
    maker().save_pretrained("made")
    changed("format_version", 2)(Path("made"))
    text = said(load)
    assert "upgrade ganzoo" in text
    monkeypatch.setattr(bundle, "FORMAT_VERSION", int(found(r"has format (\d+)", text)))
    load()


@row("bundle", "empty", "untrusted")
def a_folder_that_is_no_bundle(kind: str) -> None:
    run_of()
    Path("made").mkdir()
    if kind == "untrusted":
        Path("made/config.json").write_text('{"model_type": "bert"}')
    text = said(load)
    load(Path("run") / found(r"folder '(\w+)' of a run", text))
    assert "or the run folder itself" in text
    load("run")


@row("bundle")
def a_framing_for_another_size() -> None:
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


@row("bundle", "made", "file/made", "none/\0")
def a_folder_that_cannot_be_written(name: str) -> None:
    Path("file").touch()
    if name == "made":
        Path(name).touch()
    assert "hoose another folder" in said(lambda: maker().save_pretrained(name))
    maker().save_pretrained("other")
    load("other")


@row("bundle")
def weights_that_are_not_finite() -> None:
    run_of(checkpoint_every=1)
    made = Generator.from_pretrained("run")
    next(made.module.parameters()).fill_(float("nan"))
    text = said(lambda: made.save_pretrained("made"))
    assert "go back to an earlier checkpoint or lower the learning rates" in text
    Trainer.resume("run", progress=False)
    run_of(out="lower", g_optimizer={"lr": 1e-6}, d_optimizer={"lr": 1e-6})
    load("lower").save_pretrained("made")


@row("bundle")
def another_discriminator() -> None:
    other = MLP(hidden=(5,)).discriminator(SampleSpec(shape=(1, 8, 8)))
    made = maker()
    text = said(lambda: made.save_pretrained("made", discriminator=other))
    assert "Give the net that its architecture builds" in text
    net = made.config.architecture.discriminator(made.config.sample)
    made.save_pretrained("made", discriminator=net)


@row("bundle", "long", "deep")
def too_much_to_say_of_the_training(how: str) -> None:
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


@row("bundle", "file", "net")
def a_net_that_is_larger_than_allowed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    maker().save_pretrained("made")
    monkeypatch.setenv("GANZOO_MAX_BYTES", "1650" if kind == "file" else "1500")
    text = said(lambda: Generator.from_pretrained("made"))
    needs = int(found(r"(?:needs|has) ([\d,]+) bytes", text).replace(",", ""))
    monkeypatch.setenv(found(r"environment variable (\w+) to more", text), str(2 * needs))
    load()


@row("bundle", "made", "sample")
def a_net_that_its_architecture_cannot_build(what: str) -> None:
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


# -- generators -------------------------------------------------------------------------------


@row("generator", (-1, 4), (4, 0), (2.5, 4), ("many", 4), (True, 4))
def counts_that_are_none(count: Any, batch_size: Any) -> None:
    text = said(lambda: maker().sample(count, batch_size=batch_size))
    least = re.search(r"at least (\d) and (\d)", text).groups()
    assert len(maker().sample(int(least[0]), batch_size=int(least[1]))) == 0


@row("generator")
def a_folder_that_is_being_saved() -> None:
    maker().save_pretrained("made")
    Path("made").rename(".made.12345678.old")
    text = said(lambda: Generator.from_pretrained("made"))
    left, name = re.search(r"which left (.+?)\. .*rename what is left to (\S+) if", text).groups()
    Path(left).rename(Path(left).with_name(name))
    load()


@row("generator")
def weights_of_another_library(line: Line) -> None:
    net = MLP(hidden=(4,)).generator(SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,)))
    torch.save(net.state_dict(), "one.pt")
    command = found(r"'(ganzoo convert)'", said(lambda: Generator.from_pretrained("one.pt")))
    line.follow(f"{command} one.pt --arch mlp --out made")
    load()


@row("generator")
def the_best_of_a_run_without_scores() -> None:
    run_of(pixels(24, 16))
    text = said(lambda: Generator.from_pretrained("run/best"))
    load(found(r"its newest generator is in (.+)\.$", text))
    setting = found(r"where (\w+) is set", text)
    run_of(pixels(24, 16), out="scored", metrics=["swd"], checkpoint_every=1, **{setting: 1})
    load("scored/best")


@row("generator", "dcgan.fashion", "other")
def a_revision_of_what_has_none(name: str) -> None:
    maker().save_pretrained("other")
    text = said(lambda: Generator.from_pretrained(name, revision="main"))
    assert "Leave the revision out" in text.replace("\n", " ")
    load(name)


@row("generator", "./nowhere", "a/b/c", "nowhere")
def a_folder_that_is_nowhere(name: str) -> None:
    text = said(lambda: Generator.from_pretrained(name))
    assert "Give the folder of a run or of a saved generator" in text
    run_of()
    load("run")
    maker().save_pretrained("made")
    load("made")
    for each in found(r"by its name: (.+)\.$", text).split(", ") if name == "nowhere" else ():
        assert each in ganzoo_names()


def ganzoo_names() -> list[str]:
    from ganzoo.generators import pretrained

    return list(pretrained.names())


@row("generator")
def a_link_out_of_a_run() -> None:
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


@row("generator")
def a_run_without_a_generator_yet(line: Line) -> None:
    killed()
    command = found(r"'(ganzoo resume .+?)'", said(lambda: Generator.from_pretrained("run")))
    line.follow(f"{command} --quiet")
    load("run")


@row("generator")
def a_run_that_has_lost_its_generator(line: Line) -> None:
    run_of()
    shutil.rmtree("run/generator")
    command = found(r"'(ganzoo resume .+?)'", said(lambda: Generator.from_pretrained("run")))
    line.follow(f"{command} --quiet")
    load("run")


# -- files of weights -------------------------------------------------------------------------


def net() -> torch.nn.Module:
    return MLP(hidden=(4,)).generator(SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,)))


def made_of(path: str = "weights.pt", **options: Any) -> None:
    convert(path, "mlp", "made", **options)
    load()


def tar_file(path: str) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO())


def scripted(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, which has other ways by now
        torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), path)


REFUSED = {
    "a whole module": lambda path: torch.save(net(), path),
    "a plain pickle": lambda path: Path(path).write_bytes(pickle.dumps(net())),
    "the older format": lambda path: torch.save(net(), path, _use_new_zipfile_serialization=False),
    "TorchScript": scripted,
    "a tar archive": tar_file,
    "no state dict": lambda path: torch.save({"steps": 3}, path),
}


@row("convert", *REFUSED)
def a_file_that_is_not_weights_alone(kind: str) -> None:
    REFUSED[kind]("theirs.pt")
    way = found(r"(torch\.save\(.+?\))\.$", said(lambda: made_of("theirs.pt")))
    eval(way, {"torch": torch, "generator": net()})
    made_of(found(r"'(.+?)'", way))


def zipped(path: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "hello")


def inflated(path: str) -> None:
    torch.save(net().state_dict(), "plain.pt")
    with zipfile.ZipFile("plain.pt") as there, zipfile.ZipFile(path, "w") as archive:
        for entry in there.infolist():
            archive.writestr(entry.filename, there.read(entry), zipfile.ZIP_DEFLATED)


def cut(path: str) -> None:
    torch.save(net().state_dict(), path)
    os.truncate(path, 900)


def cut_safetensors(path: str) -> None:
    save_file(net().state_dict(), path)
    os.truncate(path, 300)


OTHERS = {
    "a folder": (lambda path: Path(path).mkdir(), "Give the file of weights in it"),
    "nothing": (lambda path: None, "Give a file of weights"),
    "an empty file": (lambda path: Path(path).touch(), "Copy it again"),
    "a text": (lambda path: Path(path).write_text("hello"), "Give a file of PyTorch weights"),
    "a zip": (zipped, "Give the file of weights"),
    "a zip that is packed": (inflated, "Get it from somewhere else"),
    "a file cut off": (cut, "Copy it again"),
    "safetensors cut off": (cut_safetensors, "Copy it again"),
}


@row("convert", *OTHERS)
def a_file_to_copy_or_choose_again(kind: str) -> None:
    make, advice = OTHERS[kind]
    make("theirs.safetensors" if "safetensors" in kind else "theirs.pt")
    text = said(lambda: made_of("theirs.safetensors" if "safetensors" in kind else "theirs.pt"))
    assert advice in text
    torch.save(net().state_dict(), "weights.pt")
    made_of()


def quantized(tensor: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, which has other ways by now
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


TENSORS = {
    "sparse": torch.Tensor.to_sparse,
    "quantized": quantized,
    "expanded": lambda tensor: torch.zeros(1, 1).expand(tensor.shape),
}


@row("convert", *TENSORS)
def tensors_of_another_kind(kind: str) -> None:
    state = net().state_dict()
    name = next(name for name, value in state.items() if value.dim() == 2)
    theirs = TENSORS[kind](state[name])
    torch.save(state | {name: theirs}, "theirs.pt")
    text = said(lambda: made_of("theirs.pt"))
    ways = re.findall(r"tensor\.\w+\(\)", text)
    assert ways
    for way in ways:
        with contextlib.suppress(RuntimeError, NotImplementedError):
            plain = eval(way, {"tensor": theirs})
            torch.save(state | {name: plain}, "weights.pt")
            with contextlib.suppress(GanzooError):  # which is of the other kind
                made_of()
                return
    raise AssertionError(f"no way leads to plain tensors: {ways}")


@row("convert", "complex", "whole numbers", "not finite")
def numbers_of_another_kind(kind: str) -> None:
    state = net().state_dict()
    name = next(iter(state))
    other = {
        "complex": state[name].to(torch.complex64),
        "whole numbers": state[name].to(torch.int64),
        "not finite": torch.full_like(state[name], float("nan")),
    }[kind]
    torch.save(state | {name: other}, "theirs.pt")
    text = said(lambda: made_of("theirs.pt"))
    assert "Save weights as real numbers" in text or "Take an earlier checkpoint" in text
    torch.save(
        state | {name: (other.real if kind == "complex" else other.float()).nan_to_num()},
        "weights.pt",
    )
    made_of()


@row("convert", "generatr", "net.generator")
def a_misspelt_place_in_a_file(key: str) -> None:
    torch.save({"generator": net().state_dict(), "step": 3}, "weights.pt")
    text = said(lambda: made_of(key=key))
    for place in found(r"There is: (.+)\.$", text).split(", "):
        made_of(key=place)
    if hint := re.search(r"Did you mean '(.+?)'", text):
        made_of(key=hint.group(1))


@row("convert", "a file", "a folder")
def where_a_conversion_cannot_go(kind: str) -> None:
    torch.save(net().state_dict(), "weights.pt")
    Path("taken").touch() if kind == "a file" else Path("taken/x").mkdir(parents=True)
    assert "Choose another folder" in said(lambda: convert("weights.pt", "mlp", "taken"))
    made_of()


@row("convert", "hiden", "slop")
def a_misspelt_option_of_an_architecture(option: str) -> None:
    torch.save(net().state_dict(), "weights.pt")
    text = said(lambda: convert("weights.pt", {"name": "mlp", option: (4,)}, "made"))
    options = found(r"Options: (.+)\.$", text).split(", ")
    assert set(options) == set(MLP.model_fields)
    meant = found(r"Did you mean '(\w+)'", text)
    convert("weights.pt", {"name": "mlp", meant: (4,) if meant == "hidden" else 0.1}, "made")


@row("convert", "--size", "--channels")
def sizes_below_the_least(flag: str, line: Line) -> None:
    torch.save(net().state_dict(), "weights.pt")
    start = ("convert", "weights.pt", "--arch", "mlp", "--out", "made")
    least = found(r"at least (\d)", line.refused(*start, flag, "0"))
    line.runs(*start, *(("--size", "8", "8") if flag == "--size" else (flag, least)))


@row("convert")
def a_size_of_three_numbers(line: Line) -> None:
    torch.save(net().state_dict(), "weights.pt")
    start = ("convert", "weights.pt", "--arch", "mlp", "--out", "made", "--size")
    assert "a height and a width" in line.refused(*start, "8", "8", "1")
    line.runs(*start, "8", "8")


def weight_norm(layer: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.utils.parametrizations.weight_norm(layer)


NORMS = {
    "spectral": torch.nn.utils.parametrizations.spectral_norm,
    "weight": weight_norm,
    "older spectral": torch.nn.utils.spectral_norm,
}


@row("convert", *NORMS)
def a_net_with_norms_of_weights(kind: str) -> None:
    theirs = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on the older ones
        for layer in theirs.modules():
            if isinstance(layer, torch.nn.Linear):
                NORMS[kind](layer)
    torch.save(theirs.state_dict(), "theirs.pt")
    text = said(lambda: made_of("theirs.pt"))
    ways = {**vars(torch.nn.utils), "torch": torch}
    calls = re.findall(r"((?:torch\.[\w.]+\.)?remove_\w+\(layer(?:, '\w+')?\))", text)
    assert len(calls) == 2
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.Linear):
            eval(calls["older" in kind], {**ways, "layer": layer})
    torch.save(theirs.state_dict(), "weights.pt")
    made_of()


@row("convert")
def samples_that_are_no_image(line: Line) -> None:
    spec, latent = SampleSpec(shape=(2, 9, 5)), LatentSpec(shape=(3,))
    torch.save(MLP(hidden=(4,)).generator(spec, latent).state_dict(), "weights.pt")
    start = ("convert", "weights.pt", "--arch", "mlp", "--kind", "image", "--out", "made")
    flags = re.findall(r"--(?:size|channels)", line.refused(*start))
    sizes = {"--size": ("9", "5"), "--channels": ("2",)}
    line.runs(*start, *(word for flag in dict.fromkeys(flags) for word in (flag, *sizes[flag])))
    assert load().spec.shape == (2, 9, 5)


@row("convert", "mapping", "beside")
def a_net_that_is_hardly_the_generator(kind: str, line: Line) -> None:
    narrow = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.ReLU(),
        torch.nn.Linear(8, 8),
    )  # fmt: skip
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Conv2d(3, 3, 3)).state_dict()
    content = {"mapping": {"m": narrow.state_dict()}}.get(
        kind, {"generator": other, "x": net().state_dict()}
    )
    torch.save(content, "weights.pt")
    start = ("convert", "weights.pt", "--arch", "mlp", "--out", "made")
    way = found(r"say so with (--key \S+?)\.$", line.refused(*start))
    line.runs(*start, *way.split())
    load()


def renamed(state: dict[str, Any], names: Callable[[str], str]) -> dict[str, Any]:
    return {names(name): value for name, value in state.items()}


def same_shapes() -> dict[str, Any]:
    """A net with layers of the same shape, in an order that is not the net's."""
    spec, latent = SampleSpec(kind="vector", shape=(4,)), LatentSpec(shape=(4,))
    state = MLP(hidden=(4, 4)).generator(spec, latent).state_dict()
    called = dict(zip(sorted({n.rpartition(".")[0] for n in state}), "cab", strict=True))
    return renamed(state, lambda n: f"{called[n.rpartition('.')[0]]}_x.{n.rpartition('.')[2]}")


@row("convert", "layers", "tensors")
def names_that_nothing_tells(kind: str, line: Line) -> None:
    start = ("convert", "weights.safetensors", "--arch", "mlp", "--kind", "vector", "--out", "made")
    if kind == "layers":
        save_file(same_shapes(), "weights.safetensors")
    else:
        state = net().state_dict()
        names = {n: f"p_{k}" for k, n in enumerate(state)}
        save_file(renamed(state, names.__getitem__), "weights.safetensors")
        start = (*start[:4], "--out", "made")
    text = line.refused(*start)
    flag, file = re.search(r"(--mapping) (\S+?)\)", text).groups()
    if kind == "layers":
        theirs = re.search(r"which of (.+?) is which of (.+?), for", text)
        first, second = (re.findall(r"'(.+?)'", part) for part in theirs.groups())
        lines = [f"{one}: {other}" for one, other in zip(first, second, strict=True)]
        assert found(r"a line for each: '(.+?)'", text) in lines
    else:
        lines = re.findall(r"'(.+?: .+?)'", text.partition("such as ")[2])
    Path(file).write_text("\n".join(lines) + "\n")
    line.runs(*start, flag, file)
    load()


MAPPINGS = {
    "a name it lacks": {"hiden.dense0": "hidden.dense0"},
    "a name nobody has": {"hidden.dense1.bias": "hidden.dense7.bias"},
}


@row("convert", *MAPPINGS)
def a_mapping_with_a_wrong_name(kind: str) -> None:
    state = net().state_dict()
    torch.save(state, "weights.pt")
    lead = next(iter(state)).rpartition(".")[0]
    mapping = {lead[:-1]: lead} if kind == "a name it lacks" else {lead: "nowhere"}
    text = said(lambda: made_of(mapping=mapping))
    assert text.endswith((".", "?)."))
    if kind == "a name it lacks":
        hint = found(r"did you mean '(.+?)'", text)
        made_of(mapping={hint: hint})
    else:
        there = found(r"the generator has (.+)\.$", text).split(", ")
        assert there == list(state)
        made_of(mapping={name: name for name in there})


@row("convert", "absent", "[1", "- a\n- b\n", "a:\n  b: c\n")
def a_mapping_that_is_none(content: str) -> None:
    torch.save(net().state_dict(), "weights.pt")
    if content != "absent":
        Path("names.yaml").write_text(content)
    text = said(lambda: made_of(mapping="names.yaml"))
    form = re.search(r"such as '(\S+): (\S+)'", text)
    name = next(iter(net().state_dict()))
    Path("names.yaml").write_text("{}: {}\n".format(*([name] * 2)) if form else "{}\n")
    made_of(mapping="names.yaml")


def checked(picture: Callable[[Generator, torch.Tensor], Any], **options: Any) -> Any:
    """What a conversion says of a picture that another net made."""
    theirs = MLP(hidden=(4,), **options)
    spec, latent = SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,))
    config = BundleConfig(architecture=theirs, sample=spec, latent=latent)
    torch.manual_seed(3)
    other = Generator(theirs.generator(spec, latent), config)
    torch.save(other.module.state_dict(), "weights.pt")
    z = torch.randn(2, 3)
    return z, picture(other, z)


@row("convert", "command line", "python")
def a_picture_that_another_setting_makes(way: str, line: Line) -> None:
    z, picture = checked(lambda other, z: other.sample(latents=z), slope=0.0)
    np.save("z.npy", z)
    np.save("picture.npy", picture)
    start = ("convert", "weights.pt", "--arch", "mlp", "--out", "made")
    check = ("--check", "z.npy", "picture.npy")
    text = line.refused(*start, *check)
    flags, call = re.search(r" with (--.+?) \(in Python, (.+?)\): say so", text).groups()
    if way == "python":
        options = eval(f"dict({call})")
        convert("weights.pt", folder="made", check=(z, picture), **{"arch": "mlp", **options})
    else:
        line.runs(*start, *check, *flags.split())
    load()


@row("convert")
def a_picture_in_another_range() -> None:
    z, picture = checked(lambda other, z: (other.sample(latents=z) + 1) * 127.5)
    text = said(lambda: made_of(check=(z, picture)))
    assert "give the picture as the net itself makes it" in text
    made_of(check=(z, picture / 127.5 - 1))


@row("convert")
def fewer_pictures_than_latents() -> None:
    z, picture = checked(lambda other, z: other.sample(latents=z))
    z = torch.cat([z, z])
    picture = torch.cat([picture, picture])
    text = said(lambda: made_of(check=(z, picture[:3])))
    assert "give one picture for each latent" in text
    made_of(check=(z, picture))


@row("convert")
def a_picture_that_nothing_makes() -> None:
    z, picture = checked(lambda other, z: other.sample(latents=z))
    text = said(lambda: made_of(check=(z, picture.flip(0) * 0.3)))
    assert "make sure that the picture is of this latent" in text
    made_of(check=(z, picture))


@row("convert")
def kernels_whose_axes_nothing_tells() -> None:
    spec, latent = SampleSpec(kind="vector", shape=(4,)), LatentSpec(shape=(4,))
    state = MLP(hidden=(4,)).generator(spec, latent).state_dict()
    keras = {
        name.replace("weight", "kernel"): value.T if value.dim() == 2 else value
        for name, value in state.items()
    }
    torch.save(keras, "theirs.pt")
    text = said(lambda: made_of("theirs.pt", kind="vector"))
    name, way = found(r"call them '(\w+)'", text), found(r"that is (kernel\.T)", text)
    torch.save(
        {
            n.replace("kernel", name): eval(way, {"kernel": v}) if n.endswith("kernel") else v
            for n, v in keras.items()
        },
        "weights.pt",
    )
    made_of(kind="vector")


# -- labels -----------------------------------------------------------------------------------

NAMES = ("cat", "dog", "Éclair", "7", "a,b")


@contextlib.contextmanager
def of_classes() -> Any:
    """A generator that knows classes."""

    class Classy(MLP):
        """Uses labels."""

        conditional = True

    architectures.register("classy")(Classy)
    try:
        spec, latent = SampleSpec(shape=(1, 8, 8), classes=NAMES), LatentSpec(shape=(3,))
        arch = Classy(hidden=(4,))
        config = BundleConfig(architecture=arch, sample=spec, latent=latent)
        yield Generator(arch.generator(spec, latent), config)
    finally:
        architectures.registry.unregister("classy")


LABELS = (
    ("dgo", r"Did you mean ('dog')"), ("cat,dog", r"in a list: (\[.+?\])"),
    ("1", r"given without quotes: (\d)"), (2.0, r"Give (\d)"),
    (np.eye(5)[[0, 1, 4]], r"instead: (labels\.argmax\(1\))"),
    (np.eye(5)[[0, 1, 4]].tolist(), r"instead: (numpy\.argmax\(labels, 1\))"),
    (np.array([0.0, 1.5]), r"by (labels\.astype\(int\))"),
    (torch.tensor([0.0, 1.5]), r"by .+ a tensor by (labels\.long\(\))"),
    (7, r"called '(7)': give it as a string"),
)  # fmt: skip


@row("generator", *[(number,) for number in range(len(LABELS))])
def labels_in_another_form(number: int) -> None:
    labels, pattern = LABELS[number]
    with of_classes() as made:
        way = found(pattern, said(lambda: made.sample(labels=labels)))
        better = way if labels is LABELS[8][0] else eval(way, {"labels": labels, "numpy": np})
        assert len(made.sample(labels=better))


@row("generator", "set", "mapping", "several", "no label", "too large", "rows")
def labels_that_are_none(kind: str) -> None:
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


# -- pictures and plots -----------------------------------------------------------------------


@row("pictures", ("count", 0), ("columns", 0), ("columns", -3))
def a_grid_of_nothing(name: str, value: int) -> None:
    text = said(lambda: maker().grid(**{"count": 4, name: value}))
    least = {"one": 1}[found(r"at least (one)", text)]
    maker().grid(**{"count": 4, name: least})


def still(name: str, side: int) -> Path:
    Image.new("L", (side, side)).save(name)
    return Path(name)


@row("pictures", "seconds", "frames", "sizes")
def an_animation_that_cannot_be(what: str) -> None:
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


@row("pictures", "none", "too few", "another size")
def neighbours_that_do_not_fit(what: str) -> None:
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


@row("pictures", "rows", "scores", "samples", "axes", "limits")
def plots_that_cannot_be_drawn(what: str) -> None:
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


@row("pictures")
def plots_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib.figure", None)
        text = said(lambda: plots.curves([{"step": 1, "d_loss": 1.0}]))
    extra = found(r'pip install "ganzoo\[(\w+)\]"', text)
    needs = importlib.metadata.requires("ganzoo") or []
    assert any("matplotlib" in each and f'"{extra}"' in each.replace("'", '"') for each in needs)
    plots.curves([{"step": 1, "d_loss": 1.0}])


# -- specs ------------------------------------------------------------------------------------


@row("config", ("image", (3, 8)), ("vector", (3, 8)), ("audio", (8,)), ("sequence", (1, 2, 3)))
def a_shape_of_another_kind(kind: str, shape: tuple[int, ...]) -> None:
    text = said(lambda: SampleSpec(kind=kind, shape=shape))
    axes = found(r"has shape \(([^)]+?),?\), not", text).split(", ")
    SampleSpec(kind=kind, shape=(4,) * len(axes))


@row("config", SampleSpec, LatentSpec)
def more_values_than_there_may_be(spec: type[Any]) -> None:
    text = said(lambda: spec(shape=(3, 2**16, 2**16)))
    spec(shape=(1, 1, int(found(r"at most ([\d,]+) values", text).replace(",", ""))))


RANGES = (
    (SampleSpec, {"value_range": (1.0, -1.0)}, "low < high", {"value_range": (-1.0, 1.0)}),
    (SampleSpec, {"value_range": (-3e38, 3e38)}, "nearer", {"value_range": (-3e37, 3e37)}),
    (LatentSpec, {"low": 1.0, "high": -1.0}, "low < high", {"low": -1.0, "high": 1.0}),
    (LatentSpec, {"low": -3e38, "high": 3e38}, "nearer", {"low": -3e37, "high": 3e37}),
)  # fmt: skip


@row("config", *[(number,) for number in range(len(RANGES))])
def ranges_that_are_none(number: int) -> None:
    spec, wrong, advice, right = RANGES[number]
    more = {"distribution": "uniform"} if spec is LatentSpec else {}
    assert advice in said(lambda: spec(shape=(1, 8, 8), **more, **wrong))
    spec(shape=(1, 8, 8), **more, **right)


# -- devices and processes --------------------------------------------------------------------


@row("device")
def a_device_of_torch_that_is_not_supported() -> None:
    text = said(lambda: pick_device("meta"))
    for name in re.findall(r"'(\w+)'", text.partition("use ")[2]):
        with contextlib.suppress(GanzooError):
            pick_device(name)
            continue
        assert "not supported" not in said(lambda name=name: pick_device(name))


@row("device")
def bfloat16_on_an_older_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    device = torch.device("cuda")
    other = found(r"Use precision='(\w+)'", said(lambda: pick_precision("bf16", device)))
    assert pick_precision(other, device).name == "fp32"


@row("device", "WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS")
def one_of_several_processes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("SLURM"):
        monkeypatch.setenv("SLURM_STEP_ID", "0")
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv(name, "3")
    names = found(r"or unset (.+?) where", said(run_of)).split(" and ")
    for each in names:
        monkeypatch.delenv(each)
    run_of()


@row("device")
def one_of_a_group_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as grouped:
        grouped.setattr(torch.distributed, "is_initialized", lambda: True)
        grouped.setattr(torch.distributed, "get_world_size", lambda: 2)
        assert "Train in one process, without a group" in said(run_of)
    run_of()


# -- cards ------------------------------------------------------------------------------------


@row("hub", ("repo_id", "one two/three"), ("license", "!!!"))
def what_a_card_cannot_say(name: str, value: str) -> None:
    maker().save_pretrained("made")
    text = said(lambda: card.render(Path("made"), **{name: value}))
    better = {"repo_id": r"give (org/name)", "license": r"such as ([\w.-]+\w)"}[name]
    card.render(Path("made"), **{name: found(better, text)})


BESIDE = {
    "training.json": ("[", "[]"),
    "metrics.json": ("[", "[]", '{"fid": 3}', '{"a/b": {}}', '{"fid": {"value": "x"}}'),
}


@row("hub", *[(name, text) for name, texts in BESIDE.items() for text in texts])
def what_lies_beside_and_is_of_no_use(name: str, content: str) -> None:
    maker().save_pretrained("made")
    Path("made", name).write_text(content)
    text = said(lambda: card.render(Path("made")))
    assert "Remove it" in text
    Path(found(r"^(\S+) cannot be used", text)).unlink()
    card.render(Path("made"))


# -- comparisons ------------------------------------------------------------------------------


def scored(*folders: str, count: int = 50) -> None:
    for folder in folders:
        if not Path(folder).exists():
            maker().save_pretrained(folder)
        told = {"swd": {"value": 1.0, "protocol": {"metric": "swd", "fakes": {"count": count}}}}
        Path(folder, "metrics.json").write_text(json.dumps(told))


@row("command line")
def nothing_to_compare(line: Line) -> None:
    scored("a")
    assert "ganzoo train" in line.refused("compare", "a", "nowhere")
    run_of()
    line.runs("compare", "a", "run")


@row("command line")
def a_run_that_is_given_twice(line: Line) -> None:
    scored("a", "b")
    assert "leave it out once" in line.refused("compare", "a", "b", "./a")
    line.runs("compare", "a", "b")


@row("command line", ("--metrics", "fid"), ("--metrics", ""))
def scores_that_nobody_has(flag: str, value: str, line: Line) -> None:
    scored("a", "b")
    text = line.refused("compare", "a", "b", flag, value)
    for name in found(r"There are: ([\w, -]+)\.", text).split(", "):
        line.runs("compare", "a", "b", flag, name)
    if value:
        assert "'ganzoo evaluate' measures others" in text


@row("command line")
def scores_that_were_measured_differently() -> None:
    scored("a")
    scored("b", count=60)
    (notice,) = comparison.compare("a", "b").notices
    assert "'ganzoo evaluate' measures all by one protocol" in notice
    scored("b")
    assert comparison.compare("a", "b").notices == ()


@row("command line")
def a_picture_that_cannot_be_written(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganzoo.showing.plots.available", lambda: True)
    scored("a", "b")
    Path("file").touch()
    text = line.refused("compare", "a", "b", "--plot", "file/x.png")
    line.runs("compare", "a", "b", found(r"Choose another (--plot)", text), "x.png")


# -- runs -------------------------------------------------------------------------------------


@row("runs", "nowhere", "empty")
def what_is_no_run(kind: str) -> None:
    Path("empty").mkdir()
    text = said(lambda: Run(kind))
    assert re.search(r"Give the folder (of a run|that 'ganzoo train' named)", text)
    run_of()
    Run("run")


@row("runs", "[", "[]")
def a_record_of_the_machine_that_is_damaged(content: str) -> None:
    run_of()
    Path("run/environment.json").write_text(content)
    assert "resuming writes it anew" in said(lambda: Run("run").environment).lower()
    Trainer.resume("run", steps=4, progress=False).fit()
    assert Run("run").environment


@row("runs", "{", '{"step": "x"}', "[]")
def a_row_that_is_damaged(content: str) -> None:
    run_of(log_every=1)
    path = Path("run/metrics.jsonl")
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], content, *rows[1:]]) + "\n")
    text = said(lambda: Run("run").history)
    number = int(found(r"Line (\d+) of", text))
    assert "Remove that line" in text
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: number - 1] + lines[number:]) + "\n")
    assert len(Run("run").history) == 2
    Trainer.resume("run", steps=4, progress=False).fit()


@row("runs", "a folder", "a file")
def a_place_for_a_run_that_is_taken(kind: str, line: Line) -> None:
    Path("mine").touch() if kind == "a file" else Path("mine/x").mkdir(parents=True)
    start = ("train", "mlp", "--dataset", "ring", "--steps", "1", *TINY)
    text = line.refused(*start, "--out", "mine")
    line.runs(*start, found(r"Choose another one with (--out)", text), "other")


@row("runs", "file/run", "file/run/deeper")
def a_place_for_a_run_that_cannot_be(place: str) -> None:
    Path("file").touch()
    assert "use another folder" in said(lambda: run_of(out=place))
    run_of(out="other")


@row("runs")
def a_folder_of_runs_that_is_a_file() -> None:
    Path("runs").touch()
    assert "use another folder" in said(lambda: run_of(out=None))
    run_of(out="other")


@row("runs")
def a_run_that_vanishes() -> None:
    class Takes(Callback):
        def on_step(self, *_: Any) -> None:
            if Path("run").exists():
                shutil.move("run", "elsewhere")

    text = said(lambda: run_of(callbacks=[Takes()], checkpoint_every=1))
    assert "Put it back and resume, or train again" in text
    shutil.move("elsewhere", "run")
    Trainer.resume("run", progress=False).fit()
    load("run")


@row("runs", "bring back", "train again")
def a_run_without_its_checkpoints(way: str, line: Line) -> None:
    run_of(log_every=1)
    shutil.move("run/checkpoints", "kept")
    text = said(lambda: Trainer.resume("run", steps=4))
    if way == "bring back":
        shutil.move("kept", Path("run", found(r"Bring back the folder '(\w+)'", text)))
        Trainer.resume("run", steps=4, progress=False).fit()
    else:
        command = found(r"(ganzoo train --config .+)$", text)
        line.follow(f"{command} --quiet")


@row("runs")
def a_run_that_is_trained_in() -> None:
    run_of()
    with contextlib.closing(contextlib.ExitStack()) as stack:
        lock = RunLock(Path("run"))
        stack.callback(lock.release)
        text = said(lambda: Trainer.resume("run", steps=4, progress=False).fit())
        assert "Wait for it or stop it" in text
    left = Path(found(r"if it is gone, delete (.+)\.$", text))
    left.unlink(missing_ok=True)
    Trainer.resume("run", steps=4, progress=False).fit()


@row("runs", "copy", "again")
def a_run_without_a_whole_checkpoint(way: str, line: Line) -> None:
    run_of()
    kept = Path("run/checkpoints")
    shutil.copytree(kept, "copy")
    for path in kept.rglob("state.safetensors"):
        os.truncate(path, 20)
    text = said(lambda: Trainer.resume("run", steps=4))
    if way == "copy":
        assert "bring back a copy of a checkpoint" in text
        shutil.rmtree(kept)
        shutil.copytree("copy", kept)
        Trainer.resume("run", steps=4, progress=False).fit()
    else:
        config = Path("run", found(r"Train again from the run's (\S+),", text))
        line.runs("train", "--config", str(config), "--out", "again", "--quiet")


@row("runs")
def a_checkpoint_of_a_newer_version(monkeypatch: pytest.MonkeyPatch) -> None:
    run_of()
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 2)
    Trainer.resume("run", steps=4, progress=False).fit()
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 1)
    text = said(lambda: Trainer.resume("run", steps=6))
    assert "upgrade ganzoo" in text
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", int(found(r"has format (\d+)", text)))
    Trainer.resume("run", steps=6, progress=False).fit()


# -- ganzoo doctor ----------------------------------------------------------------------------


def cured(run: Path, whole: Path, finding: checkup.Finding) -> None:
    """Do to a run what a finding says."""
    place, text = run / finding.place, finding.text
    if name := re.match(r"(\S+\.png) ", text):
        place = place / name.group(1)
    if re.search(r"(?<!rows: )[Rr]emove that line", text):
        number = int(found(r"line (\d+)", text))
        lines = place.read_text().splitlines()
        place.write_text("".join(f"{each}\n" for each in lines[: number - 1] + lines[number:]))
    elif "give it its own name back" in text:
        step = int(found(r"holds step (\d+)", text))
        place.rename(place.with_name(f"step-{step:08d}"))
    elif "move this one away" in text:
        shutil.rmtree(place)
    elif re.search(r"[Rr]esuming (the run|from a checkpoint|writes)", text):
        Trainer.resume(run, steps=6, progress=False).fit()
    elif re.search(r"[Dd]elete it", text):
        place.unlink()
    elif "It does not fit config.yaml: restore the one" in text or "config.yaml says" in text:
        shutil.copy(whole / "config.yaml", run / "config.yaml")
    elif re.search(r"[Bb]ring back a copy|Copy the whole folder again|Put the file back", text):
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
        copy = shutil.copytree if (whole / finding.place).is_dir() else shutil.copy
        copy(whole / finding.place, place)
    else:
        raise AssertionError(f"no remedy is known in: {text}")


def write(name: str, content: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(content)

    return damage


def add(name: str, content: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        with (run / name).open("a") as file:
            file.write(content + "\n")

    return damage


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))

    return damage


def nan_checkpoint(run: Path) -> None:
    path = max((run / "checkpoints").iterdir())
    tensors, state = checkpoint.load(path)
    tensors = {n: v * float("nan") if v.is_floating_point() else v for n, v in tensors.items()}
    state.pop("format_version")
    checkpoint.save(path.parent, state["step"], tensors, state)


def linked(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        Path("outside").touch()
        (run / name).unlink()
        (run / name).symlink_to(Path("outside").resolve())

    return damage


def misnamed(run: Path) -> None:
    path = max((run / "checkpoints").iterdir())
    path.rename(path.with_name("step-00000009"))


def shortened(pattern: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        os.truncate(max(run.glob(pattern)), 60)

    return damage


DAMAGES = {
    "environment [": write("environment.json", "["),
    "environment []": write("environment.json", "[]"),
    "environment NaN": write("environment.json", '{"a": NaN}'),
    "environment 1e999": write("environment.json", '{"a": 1e999}'),
    "environment link": linked("environment.json"),
    "row {": add("metrics.jsonl", "{"),
    "row NaN": add("metrics.jsonl", '{"step": NaN}'),
    "row []": add("metrics.jsonl", "[]"),
    "row of an earlier step": add("metrics.jsonl", '{"step": 1}'),
    "scores without a step": write("scores.json", "{}"),
    "scores []": write("scores.json", '{"step": 3, "scores": []}'),
    "scores without a value": write("scores.json", '{"step": 3, "scores": {"fid": {}}}'),
    "metrics []": write("generator/metrics.json", "[]"),
    "metrics without a value": write("generator/metrics.json", '{"fid": {}}'),
    "metrics without a protocol": write(
        "generator/metrics.json", '{"fid": {"value": 1, "protocol": 3}}'
    ),
    "no generator": lambda run: shutil.rmtree(run / "generator"),
    "another net": replaced("config.yaml", "- 4\n", "- 5\n"),
    "a checkpoint of NaN": nan_checkpoint,
    "a checkpoint with another name": misnamed,
    "a checkpoint that is cut": shortened("checkpoints/*/state.safetensors"),
    "a bundle that is cut": shortened("generator/model.safetensors"),
    "a picture": shortened("samples/*.png"),
    "a plot": write("curves.png", "x"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with rows, pictures and checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    np.save(folder / "x.npy", pixels())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganzoo.showing.plots.available", lambda: False)
        each = {"log_every": 1, "checkpoint_every": 1, "sample_every": 1}
        return run_of(str(folder / "x.npy"), out=str(folder / "run"), **each)


@row("doctor", *DAMAGES)
def a_run_that_is_not_whole(damage: str, line: Line, whole: Path) -> None:
    shutil.copytree(whole, "run")
    line.runs("doctor", "run")
    DAMAGES[damage](Path("run"))
    text = line.refused("doctor", "run")
    assert "the lines above say what and what to do" in text
    for _ in range(6):
        wrong = [each for each in checkup.examine("run") if each.verdict == "wrong"]
        if not wrong:
            break
        cured(Path("run"), whole, wrong[0])
    line.runs("doctor", "run")


@row("doctor", "nowhere", "empty")
def what_the_doctor_cannot_look_at(kind: str, line: Line) -> None:
    Path("empty").mkdir()
    text = line.refused("doctor", kind)
    assert re.search(r"Give (the folder of a run|a folder that ganzoo wrote)", text)
    run_of()
    line.runs("doctor", "run")
    line.runs("doctor", "run/generator")
    line.runs("doctor", str(next(Path("run/checkpoints").iterdir())))


# -- the command line -------------------------------------------------------------------------


@row("command line", ("folder.png", "folder"), ("file", "file"), ("file/x.npy", "in file"))
def a_place_for_samples_that_is_taken(out: str, kind: str, line: Line) -> None:
    maker().save_pretrained("made")
    Path("folder.png").mkdir()
    Path("file").touch()
    text = line.refused("sample", "made", "--count", "2", "--out", out)
    line.runs("sample", "made", "--count", "2", found(r"Choose another (--out)", text), "x.npy")


@row("command line", "losses", "datasets")
def what_is_not_online(kind: str, line: Line) -> None:
    text = line.refused("list", kind, "--online")
    flag, other = re.search(r"(--online) is for '(\w+)'", text).groups()
    line.runs("list", other)
    assert flag == "--online"


@row("command line")
def a_metric_that_is_no_json(line: Line) -> None:
    maker().save_pretrained("made")
    text = line.refused("evaluate", "made", "--metrics", "{name: swd}")
    chosen = json.loads(found(r"Write it as '(\{.+?\})'", text))
    assert metrics.create(chosen).name == chosen["name"]


@row("command line", ("alone", "--conditional"), ("joined", "--conditional=true"))
def a_switch_with_a_value(kind: str, expected: str, line: Line) -> None:
    start = ("train", "mlp", "--dataset", "ring", *TINY, "--dry-run")
    flag = "--deterministic"
    text = line.refused(*start[:1], flag, "true", *start[1:])
    alone, joined = re.search(r"Write (\S+) alone, or (\S+?)\.$", text).groups()
    assert "deterministic: true" in line.runs(*start, alone if kind == "alone" else joined)


# -- loading from the Hub ---------------------------------------------------------------------


def fetched(name: str = "zoo/a", **options: Any) -> Generator:
    made = Generator.from_pretrained(name, **options)
    assert len(made.sample(1)) == 1
    return made


def logged_in(text: str, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Set the variable that a message names for a token."""
    monkeypatch.setenv(found(r"set (HF_\w+)", text), token)


@row("hub", "gated", "private")
def a_repository_that_not_all_see(
    kind: str, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(server.repo("zoo/a"), kind, True)
    monkeypatch.delenv("HF_TOKEN")
    text = said(fetched)
    logged_in(text, monkeypatch, "hf_bob")
    text = said(fetched)
    if kind == "gated":
        assert found(r"Ask its owner for access at (\S+)", text) == f"{server.endpoint}/zoo/a"
        server.grant("zoo/a", "bob")
    else:
        assert "of an account that may see it" in text
        monkeypatch.setenv("HF_TOKEN", "hf_ann")
    fetched()


@row("hub")
def a_repository_that_is_not_there(server: HubServer) -> None:
    assert "Check the name" in said(lambda: fetched("zoo/aa"))
    fetched()


@row("hub", "hf_wrong", "", "hf_a b", "hf_a\n", True)
def a_token_that_is_none(
    token: str | bool, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    text = said(lambda: fetched(token=token))
    logged_in(text, monkeypatch, "hf_ann")
    fetched()
    if place := re.search(r"Create one that may read at (\S+)", text):
        assert place.group(1) == f"{server.endpoint}/settings/tokens"


@row("hub", "local_files_only", "HF_HUB_OFFLINE", "network")
def what_is_not_in_the_cache(kind: str, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"local_files_only": True} if kind == "local_files_only" else {}

    def offline() -> Any:
        if kind == "network":
            return server.offline()
        return monkeypatch.context()

    @contextlib.contextmanager
    def without() -> Any:
        with offline() as patch:
            if kind == "HF_HUB_OFFLINE":
                patch.setattr(constants, kind, True)
            yield

    with without():
        text = said(lambda: fetched(**options))
    if kind != "network":
        assert found(r"(\w+) is set", text) == kind
        assert "Load it once without that; afterwards it is in the cache" in text
    else:
        assert "Check the network" in text
    fetched()
    with without():
        fetched(**options)


@row("hub")
def fetching_again_without_asking(server: HubServer) -> None:
    both = {"force_download": True, "local_files_only": True}
    text = said(lambda: fetched(**both))
    assert "leave one out" in text
    fetched()
    for name in re.findall(r"\b(force_download|local_files_only)\b", text):
        fetched(**{name: True})


FAULTS = {
    "cut": ({"where": "GET /lfs/.*model", "cut": 20, "times": None}, "then try again"),
    "too short": ({"where": "GET /lfs/.*model", "content": b"short"}, "then try again"),
    "trouble": ({"where": "GET /api/models", "status": 503, "times": None}, "Try again"),
    "too often": ({"where": "paths-info", "status": 429, "times": None}, "Try again in some"),
    "a teapot": ({"where": "paths-info", "status": 418}, "Check the name"),
    "a log-in page": (
        {"where": "GET /api/models/zoo/a", "content": b"<html>hotel</html>"}, "a log-in page"
    ),
}  # fmt: skip


@row("hub", *FAULTS)
def a_hub_in_trouble(kind: str, server: HubServer) -> None:
    fault, advice = FAULTS[kind]
    server.fail(**fault)
    assert advice in said(fetched)
    server.heal()
    fetched()


@row("hub")
def a_page_that_answers_in_its_place(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.fail("GET /api/models/zoo/a", content=b"<html>hotel</html>", times=None)
    name = found(r"Check (HF_\w+)", said(fetched))
    assert getattr(constants, name.removeprefix("HF_")) == server.endpoint


@row("hub", "cache_dir", "HF_HOME")
def a_cache_that_cannot_be_written(
    way: str, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("taken").touch()
    text = said(lambda: fetched(cache_dir="taken"))
    assert way in found(r"another folder with (.+)\.$", text).split(" or ")
    if way == "cache_dir":
        fetched(cache_dir="other")
    else:  # which is read when the client is imported
        fetched()


@row("hub")
def a_full_disk(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("huggingface_hub.file_download._create_symlink", full)
        text = said(fetched)
    assert "Free some space" in text
    fetched()
    fetched(**{found(r"another folder with (\w+)", text): "other"})


def broken(server: HubServer, kind: str) -> None:
    """Make the newest commit of a repository one that cannot be loaded."""
    files = server.files("zoo/a")
    config = json.loads(files[bundle.CONFIG])
    config.pop(artifact.CHECKSUM)
    if kind == "lacks weights":
        changes: dict[str, Any] = {bundle.WEIGHTS: None}
    elif kind == "other weights":
        changes = {bundle.WEIGHTS: b"\0" * 100_000}
    elif kind == "huge weights":
        config["weights"][bundle.WEIGHTS]["size"] = 300_000
        text = json.dumps(artifact.with_checksum(config), indent=2) + "\n"
        changes = {bundle.WEIGHTS: b"\0" * 300_000, bundle.CONFIG: text}
    elif kind == "huge config":
        changes = {bundle.CONFIG: b"{" + b" " * 2**25 + b"}"}
    elif kind == "no config":
        changes = {bundle.CONFIG: None}
    elif kind == "config of others":
        changes = {bundle.CONFIG: b'{"model_type": "bert"}'}
    else:
        changes = {bundle.CONFIG: files[bundle.CONFIG][:-9]}
    server.commit("zoo/a", changes)


@row(
    "hub", "lacks weights", "other weights", "huge weights", "huge config", "no config",
    "config of others",
)  # fmt: skip
def a_revision_that_cannot_be_loaded(kind: str, server: HubServer) -> None:
    before = server.commits("zoo/a")[0].oid
    broken(server, kind)
    text = said(fetched)
    assert re.search(r"Load another (revision|one)|Check the name and the revision", text)
    fetched(revision=before)
    maker().push_to_hub("zoo/other")
    fetched("zoo/other")


@row("hub")
def damage_in_the_repository(server: HubServer) -> None:
    broken(server, "cut config")
    text = said(fetched)
    assert "Copy the whole folder again" in text and "once more changed nothing" in text
    maker().push_to_hub("zoo/whole")
    fetched("zoo/whole")


@row("hub")
def damage_in_the_cache_without_a_network(server: HubServer) -> None:
    made = fetched()
    weights = next(Path(constants.HF_HUB_CACHE).rglob(f"snapshots/*/{bundle.WEIGHTS}")).resolve()
    weights.chmod(0o644)
    os.truncate(weights, 30)
    with server.offline():
        text = said(fetched)
        assert "Fetching it again failed" in text and "Check the network" in text
    fetched()
    assert made.config.origin == fetched().config.origin


# -- publishing -------------------------------------------------------------------------------


@row("hub", ("main", "a b"), ("v1", "x..y"))
def what_is_no_revision(right: str, wrong: str, server: HubServer) -> None:
    text = said(lambda: fetched(revision=wrong))
    server.tag("zoo/a", "v1")
    assert "Give a branch, a tag" in text
    fetched(revision=right)


@row("hub", "own name", "pull request", "token")
def no_right_to_write(way: str, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    made = maker(SampleSpec(shape=(1, 4, 4)))
    text = said(lambda: made.push_to_hub("zoo/a"))
    if way == "own name":
        assert "the token is not valid, or may not do this" in text
        made.push_to_hub("bob/a")
    elif way == "pull request":
        assert made.push_to_hub("zoo/a", **{found(r"\((create_pr)\)", text): True}).pull_request
    else:
        assert found(r"may write at (\S+)", text) == f"{server.endpoint}/settings/tokens"
        monkeypatch.setenv("HF_TOKEN", "hf_ann")
        made.push_to_hub("zoo/a")


@row("hub", "network", "trouble", "refused", "too often", "meanwhile")
def a_push_that_fails(kind: str, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = maker(SampleSpec(shape=(1, 4, 4)))
    real = hub._refuse_other_models

    def slow(*given: Any) -> None:
        server.commit("zoo/a", {"news.txt": "x"})
        real(*given)

    with contextlib.ExitStack() as stack:
        if kind == "network":
            stack.enter_context(server.offline())
        elif kind == "meanwhile":
            stack.enter_context(monkeypatch.context()).setattr(hub, "_refuse_other_models", slow)
        else:
            status = {"trouble": 503, "refused": 404, "too often": 429}[kind]
            server.fail("POST .*/(verify|commit/)", status=status, times=None)
        text = said(lambda: made.push_to_hub("zoo/a"))
    server.heal()
    assert re.search(r"[Pp]ush again|[Tt]ry again|Check the name", text)
    assert made.push_to_hub("zoo/a").changed


@row("hub")
def a_push_without_a_network_on_purpose(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = maker(SampleSpec(shape=(1, 4, 4)))
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        name = found(r"(\w+) is set. Unset it", said(lambda: made.push_to_hub("zoo/a")))
        assert name == "HF_HUB_OFFLINE"
    assert made.push_to_hub("zoo/a").changed


@row("hub", "tag", "pull request")
def a_branch_that_is_none(kind: str, server: HubServer) -> None:
    made = maker(SampleSpec(shape=(1, 4, 4)))
    text = said(lambda: made.push_to_hub("zoo/a", revision="refs/pr/9"))
    assert "has no branch" in text
    for name in found(r"branches and tags: (.+)\.$", text).split(", "):
        made.push_to_hub("zoo/a", revision=name)


@row("hub")
def a_card_that_is_too_large_to_be_ours(server: HubServer) -> None:
    server.commit("zoo/a", {bundle.CARD: b"x" * (hub.LARGEST + 1)})
    text = said(lambda: maker(SampleSpec(shape=(1, 4, 4))).push_to_hub("zoo/a"))
    assert "Choose another repository" in text
    maker().push_to_hub("zoo/other")


@row("hub")
def no_place_to_prepare_a_push(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    Path("file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "gettempdir", lambda: str(Path("file").resolve()))
        text = said(lambda: maker().push_to_hub("zoo/b"))
    Path("tmp").mkdir()
    monkeypatch.setenv(found(r"another folder with (\w+)\.", text), str(Path("tmp").resolve()))
    maker().push_to_hub("zoo/b")


@row("hub", "damaged", "missing")
def a_bundle_that_cannot_be_pushed(kind: str, server: HubServer) -> None:
    folder = maker().save_pretrained("made")
    shutil.copytree("made", "whole")
    if kind == "damaged":
        (folder / bundle.WEIGHTS).write_bytes(b"x" * 99)
    else:
        (folder / bundle.WEIGHTS).unlink()

    (folder / bundle.CARD).write_text("---\nlicense: mit\n---\n")
    shutil.copy(folder / bundle.CARD, "whole")
    assert "Copy the whole folder again" in said(lambda: hub.push(folder, "zoo/b"))
    shutil.rmtree(folder)
    shutil.copytree("whole", folder)
    assert hub.push(folder, "zoo/b").changed


@row("hub", "something else", "a generator of one's own")
def a_folder_that_pulling_would_replace(kind: str, server: HubServer, line: Line) -> None:
    if kind == "something else":
        Path("a").mkdir()
        Path("a/letter.txt").touch()
    else:
        maker(SampleSpec(shape=(1, 4, 4))).save_pretrained("a")
    text = line.refused("pull", "zoo/a")
    line.runs("pull", "zoo/a", found(r"another folder with (--out)", text), "b")
    load("b")


# -- plug-ins ---------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Put packages with entry points for losses on the path, as `pip install` would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def refresh() -> None:
        ganzoo.core.registry._entry_points.cache_clear()
        importlib.invalidate_caches()

    def install(package: str, source: str, name: str = "odd", version: str = "0.3") -> Path:
        module = package.replace("-", "_")
        for older in tmp_path.glob(f"{module}-*.dist-info"):
            shutil.rmtree(older)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[ganzoo.losses]\n{name} = {module}:Odd\n")
        (tmp_path / f"{module}.py").write_text(source)
        sys.modules.pop(module, None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        refresh()
        return info

    yield install
    losses.registry._classes.clear()
    for module in [name for name in sys.modules if name.startswith("odd_")]:
        del sys.modules[module]
    refresh()


ODD = """
from ganzoo.losses import Loss

class Odd(Loss):
    '''A loss.'''

    def discriminator(self, real, fake):
        return fake.mean() - real.mean()

    def generator(self, fake, real=None):
        return -fake.mean()
"""


@row("plug-ins")
def a_loss_of_two_packages(install: Callable[..., Path]) -> None:
    install("odd-one", ODD)
    install("odd-two", ODD)
    text = said(lambda: losses.create("odd"))
    names = re.findall(r"'([\w-]+:odd)'", text.partition("Say which one")[2])
    assert len(names) == 2
    for name in names:
        losses.create(name)


@row("plug-ins", "raise OSError('no more')", "class Odd: pass", "raise SystemExit")
def a_plug_in_that_is_broken(source: str, install: Callable[..., Path], line: Line) -> None:
    info = install("odd-one", source)
    text = said(lambda: losses.create("odd"))
    assert found(r"Upgrade or remove ([\w-]+)\.", text) == "odd-one"
    assert "upgrade or remove what is broken" in line.refused("list", "losses", "--check")
    assert "odd-one" in line.refused("doctor")
    install("odd-one", ODD, version="0.4")
    losses.create("odd")
    line.runs("list", "losses", "--check")
    shutil.rmtree(info.with_name("odd_one-0.4.dist-info"))
    ganzoo.core.registry._entry_points.cache_clear()
    line.runs("list", "losses", "--check")


@row("plug-ins")
def plug_ins_that_are_off(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    install("odd-one", ODD)
    monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", "1")
    text = said(lambda: losses.create({"name": "odd", "provider": "odd-one 0.3"}))
    variable = found(r"but (GANZOO_\w+) turns plug-ins off; unset it", text)
    assert found(r"off: (GANZOO_\w+) is set", said(lambda: losses.create("odd"))) == variable
    monkeypatch.delenv(variable)
    losses.create({"name": "odd", "provider": "odd-one 0.3"})
    losses.create("odd")


@row("plug-ins", "not installed", "older", "in code", "damaged")
def what_a_file_says_that_it_needs(kind: str, install: Callable[..., Path]) -> None:
    provider = {"in code": "odd_one", "damaged": "!! 3"}.get(kind, "odd-one 0.3")
    if kind == "older":
        install("odd-one", ODD, name="even", version="0.2")
    text = said(lambda: losses.create({"name": "odd", "provider": provider}))
    if kind == "in code":
        module = found(r"the module '(\w+)': .+ run or import it first", text)
        mine = type("Odd", (MyLoss,), {"__doc__": "A loss.", "__module__": module})
        losses.register("odd")(mine)
        try:
            losses.create({"name": "odd", "provider": provider})
        finally:
            losses.registry.unregister("odd")
    elif kind == "damaged":
        assert "Get another copy of it" in text
        losses.create({"name": "hinge"})
    else:
        package = found(r"from the package '([\w-]+)'", text)
        install(package, ODD, version=found(r"' ([\d.]+\d)", text))
        losses.create({"name": "odd", "provider": provider})


class MyLoss(Loss):
    """A loss."""

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return fake.mean() - real.mean()

    def generator(self, fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        return -fake.mean()


@row("plug-ins", "no class", "a function", "another kind")
def what_is_no_loss(kind: str) -> None:
    thing = {"no class": 3, "a function": print, "another kind": MLP}[kind]
    base = found(r"must be a subclass of (\w+)", said(lambda: losses.register("mine")(thing)))
    mine = type("Mine", (MyLoss,), {"__doc__": "A loss."})
    assert base in {each.__name__ for each in mine.__mro__}
    losses.register("mine")(mine)
    losses.registry.unregister("mine")


@row("plug-ins", [3], [["hinge"]], [{"nam": "hinge"}])
def what_chooses_no_component(given: list[Any]) -> None:
    text = said(lambda: losses.create(given[0]))
    assert "name" in text
    for name in found(r"Available: (.+)\.$", text).split(", "):
        losses.create(name)
        losses.create({"name": name})


@row("plug-ins", "copy", "model_fields")
def an_option_that_hides_a_member(option: str) -> None:
    def register(option: str) -> None:
        members = {"__doc__": "x", "__annotations__": {option: int}, option: 3}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pydantic, which says so too
            losses.register("hiding")(type("Hiding", (MyLoss,), members))

    assert "rename the option" in said(lambda: register(option))
    register(f"my_{option}")
    losses.registry.unregister("hiding")


@row("plug-ins")
def a_member_that_is_no_option() -> None:
    def source(line: str) -> type[Loss]:
        code = f"class Sees(MyLoss):\n    '''x'''\n    {line}\n"
        space: dict[str, Any] = {"MyLoss": MyLoss, "ClassVar": ClassVar, "__name__": "sees"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pydantic, which says so too
            exec(compile(code, "sees", "exec", dont_inherit=True), space)
        return space["Sees"]

    def register(line: str) -> None:
        losses.register("sees")(source(line))

    text = said(lambda: register("generator_sees_real: bool = True"))
    line = found(r"or write '(.+? = )\.\.\.'", text) + "True"
    register(line)
    losses.registry.unregister("sees")


@row("plug-ins")
def what_was_never_registered() -> None:
    text = said(lambda: losses.registry.unregister("hinge"))
    assert "was registered in code" in text
    losses.register("mine")(type("Mine", (MyLoss,), {"__doc__": "A loss."}))
    losses.registry.unregister("mine")


# -- the installation -------------------------------------------------------------------------


@row("command line")
def a_package_that_is_missing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        real = importlib.metadata.version

        def version(name: str) -> str:
            return "0.1" if name == "pydantic" else real(name)

        patch.setattr(importlib.metadata, "version", version)
        text = line.refused("doctor")
    command = shlex.split(found(r"Run: (pip install .+)$", text))
    wanted = Requirement(command[2])
    assert wanted.specifier.contains(importlib.metadata.version(wanted.name), prereleases=True)
    line.runs("doctor")


@row("command line")
def a_generator_that_does_not_come_with_this(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    far = pretrained.Pretrained(
        name="mlp.far", summary="x", repo_id="zoo/far", revision="0" * 40, license="MIT", size=9
    )
    get = pretrained.get
    monkeypatch.setattr(pretrained, "get", lambda name: far if name == "mlp.far" else get(name))
    text = line.refused("publish-zoo", "mlp.far")
    for name in found(r"Bundled are: (.+)\.$", text).split(", "):
        line.runs("publish-zoo", name)


@row("generator")
def a_sample_that_needs_more_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, latent, arch = SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,)), MLP(hidden=(400,))
    config = BundleConfig(architecture=arch, sample=spec, latent=latent)
    made = Generator(arch.generator(spec, latent), config)
    monkeypatch.setenv("GANZOO_MAX_BYTES", "1000")
    text = said(lambda: made.sample(2))
    needs = found(r"One sample of this generator needs ([\d,]+) bytes", text).replace(",", "")
    monkeypatch.setenv(found(r"environment variable (\w+) to more", text), needs)
    assert len(made.sample(2)) == 2


@row("convert")
def a_place_that_holds_another_net(line: Line) -> None:
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Conv2d(3, 3, 3))
    torch.save({"a": other.state_dict(), "b": net().state_dict()}, "weights.pt")
    start = ("convert", "weights.pt", "--arch", "mlp", "--out", "made", "--key")
    assert "'a' of weights.pt is not a generator of 'mlp'" in line.refused(*start, "a")
    line.runs(*start, "b")
