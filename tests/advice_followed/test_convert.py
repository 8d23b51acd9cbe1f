"""Advice on weights of other programs."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from advice_followed.helpers import Line, cases, found, load, maker, net, said
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import GanzooError
from ganzoo.generators.convert import convert
from ganzoo.generators.generator import Generator

START = ("convert", "weights.pt", "--arch", "mlp", "--out", "made")


@pytest.fixture(autouse=True)
def _weights(_own_folder: None) -> None:
    """There is a file of weights, 'weights.pt'."""
    torch.save(net().state_dict(), "weights.pt")


def test_weights_without_a_word_of_what(line: Line):
    command = found(r"(ganzoo convert CHECKPOINT [^.;]+)", line.refused("convert", "weights.pt"))
    for word, mine in (("CHECKPOINT", "weights.pt"), ("NAME", "mlp"), ("FOLDER", "made")):
        command = command.replace(word, mine)
    line.follow(command)


def test_two_nets_that_fit(line: Line):
    torch.save({name: net().state_dict() for name in "ab"}, "two.pt")
    text = line.refused("convert", "two.pt", "--arch", "mlp", "--out", "made")
    flag = found(r"Name one with (--\w+)", text)
    for place in re.findall(r"'([ab])'", text):
        line.runs("convert", "two.pt", "--arch", "mlp", "--out", f"made-{place}", flag, place)


def test_a_range_and_none(line: Line):
    start = ("convert", "weights.pt", "--arch", "mlp", "--out")
    text = line.refused(*start, "made", "--value-range", "-1", "1", "--unbounded")
    first, second = re.findall(r"(--[\w-]+)", text)
    line.runs(*start, "made1", first, "-1", "1")
    line.runs(*start, "made2", second)


@cases("imge", "vectr")
def test_a_misspelt_kind_of_samples(kind: str):
    text = said(lambda: convert("weights.pt", "mlp", "made", kind=kind))
    convert("weights.pt", "mlp", "made", kind=found(r"Did you mean '(\w+)'", text))


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


@cases(*REFUSED)
def test_a_file_that_is_not_weights_alone(kind: str):
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


@cases(*OTHERS)
def test_a_file_to_copy_or_choose_again(kind: str):
    make, advice = OTHERS[kind]
    make("theirs.safetensors" if "safetensors" in kind else "theirs.pt")
    text = said(lambda: made_of("theirs.safetensors" if "safetensors" in kind else "theirs.pt"))
    assert advice in text
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


@cases(*TENSORS)
def test_tensors_of_another_kind(kind: str):
    state = net().state_dict()
    name = next(name for name, value in state.items() if value.dim() == 2)
    theirs = TENSORS[kind](state[name])
    torch.save(state | {name: theirs}, "theirs.pt")
    ways = re.findall(r"tensor\.\w+\(\)", said(lambda: made_of("theirs.pt")))
    assert ways
    for way in ways:
        with contextlib.suppress(RuntimeError, NotImplementedError):
            plain = eval(way, {"tensor": theirs})
            torch.save(state | {name: plain}, "weights.pt")
            with contextlib.suppress(GanzooError):  # which is of the other kind
                made_of()
                return
    raise AssertionError(f"no way leads to plain tensors: {ways}")


@cases("complex", "whole numbers", "not finite")
def test_numbers_of_another_kind(kind: str):
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


@cases("generatr", "net.generator")
def test_a_misspelt_place_in_a_file(key: str):
    torch.save({"generator": net().state_dict(), "step": 3}, "weights.pt")
    text = said(lambda: made_of(key=key))
    for place in found(r"There is: (.+)\.$", text).split(", "):
        made_of(key=place)
    if hint := re.search(r"Did you mean '(.+?)'", text):
        made_of(key=hint.group(1))


@cases("a file", "a folder")
def test_where_a_conversion_cannot_go(kind: str):
    Path("taken").touch() if kind == "a file" else Path("taken/x").mkdir(parents=True)
    assert "Choose another folder" in said(lambda: convert("weights.pt", "mlp", "taken"))
    made_of()


@cases("hiden", "slop")
def test_a_misspelt_option_of_an_architecture(option: str):
    text = said(lambda: convert("weights.pt", {"name": "mlp", option: (4,)}, "made"))
    options = found(r"Options: (.+)\.$", text).split(", ")
    assert set(options) == set(MLP.model_fields)
    meant = found(r"Did you mean '(\w+)'", text)
    convert("weights.pt", {"name": "mlp", meant: (4,) if meant == "hidden" else 0.1}, "made")


@cases("--size", "--channels")
def test_sizes_below_the_least(flag: str, line: Line):
    least = found(r"at least (\d)", line.refused(*START, flag, "0"))
    line.runs(*START, *(("--size", "8", "8") if flag == "--size" else (flag, least)))


def test_a_size_of_three_numbers(line: Line):
    assert "a height and a width" in line.refused(*START, "--size", "8", "8", "1")
    line.runs(*START, "--size", "8", "8")


def weight_norm(layer: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.utils.parametrizations.weight_norm(layer)


NORMS = {
    "spectral": torch.nn.utils.parametrizations.spectral_norm,
    "weight": weight_norm,
    "older spectral": torch.nn.utils.spectral_norm,
}


@cases(*NORMS)
def test_a_net_with_norms_of_weights(kind: str):
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


def test_samples_that_are_no_image(line: Line):
    spec, latent = SampleSpec(shape=(2, 9, 5)), LatentSpec(shape=(3,))
    torch.save(MLP(hidden=(4,)).generator(spec, latent).state_dict(), "weights.pt")
    start = ("convert", "weights.pt", "--arch", "mlp", "--kind", "image", "--out", "made")
    flags = re.findall(r"--(?:size|channels)", line.refused(*start))
    sizes = {"--size": ("9", "5"), "--channels": ("2",)}
    line.runs(*start, *(word for flag in dict.fromkeys(flags) for word in (flag, *sizes[flag])))
    assert load().spec.shape == (2, 9, 5)


@cases("mapping", "beside")
def test_a_net_that_is_hardly_the_generator(kind: str, line: Line):
    narrow = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.ReLU(),
        torch.nn.Linear(8, 8),
    )  # fmt: skip
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Conv2d(3, 3, 3)).state_dict()
    content = {"mapping": {"m": narrow.state_dict()}}.get(
        kind, {"generator": other, "x": net().state_dict()}
    )
    torch.save(content, "weights.pt")
    way = found(r"say so with (--key \S+?)\.$", line.refused(*START))
    line.runs(*START, *way.split())
    load()


def renamed(state: dict[str, Any], names: Callable[[str], str]) -> dict[str, Any]:
    return {names(name): value for name, value in state.items()}


def same_shapes() -> dict[str, Any]:
    """A net with layers of the same shape, in an order that is not the net's."""
    spec, latent = SampleSpec(kind="vector", shape=(4,)), LatentSpec(shape=(4,))
    state = MLP(hidden=(4, 4)).generator(spec, latent).state_dict()
    called = dict(zip(sorted({n.rpartition(".")[0] for n in state}), "cab", strict=True))
    return renamed(state, lambda n: f"{called[n.rpartition('.')[0]]}_x.{n.rpartition('.')[2]}")


@cases("layers", "tensors")
def test_names_that_nothing_tells(kind: str, line: Line):
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


@cases(*MAPPINGS)
def test_a_mapping_with_a_wrong_name(kind: str):
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


@cases("absent", "[1", "- a\n- b\n", "a:\n  b: c\n")
def test_a_mapping_that_is_none(content: str):
    if content != "absent":
        Path("names.yaml").write_text(content)
    form = re.search(r"such as '(\S+): (\S+)'", said(lambda: made_of(mapping="names.yaml")))
    name = next(iter(net().state_dict()))
    Path("names.yaml").write_text("{}: {}\n".format(*([name] * 2)) if form else "{}\n")
    made_of(mapping="names.yaml")


def checked(picture: Callable[[Generator, torch.Tensor], Any], **options: Any) -> Any:
    """What a conversion says of a picture that another net made."""
    torch.manual_seed(3)
    other = maker(arch=MLP(hidden=(4,), **options))
    torch.save(other.module.state_dict(), "weights.pt")
    z = torch.randn(2, 3)
    return z, picture(other, z)


@cases("command line", "python")
def test_a_picture_that_another_setting_makes(way: str, line: Line):
    z, picture = checked(lambda other, z: other.sample(latents=z), slope=0.0)
    np.save("z.npy", z)
    np.save("picture.npy", picture)
    check = ("--check", "z.npy", "picture.npy")
    text = line.refused(*START, *check)
    flags, call = re.search(r" with (--.+?) \(in Python, (.+?)\): say so", text).groups()
    if way == "python":
        options = eval(f"dict({call})")
        convert("weights.pt", folder="made", check=(z, picture), **{"arch": "mlp", **options})
    else:
        line.runs(*START, *check, *flags.split())
    load()


def test_a_picture_in_another_range():
    z, picture = checked(lambda other, z: (other.sample(latents=z) + 1) * 127.5)
    text = said(lambda: made_of(check=(z, picture)))
    assert "give the picture as the net itself makes it" in text
    made_of(check=(z, picture / 127.5 - 1))


def test_fewer_pictures_than_latents():
    z, picture = checked(lambda other, z: other.sample(latents=z))
    z = torch.cat([z, z])
    picture = torch.cat([picture, picture])
    assert "give one picture for each latent" in said(lambda: made_of(check=(z, picture[:3])))
    made_of(check=(z, picture))


def test_a_picture_that_nothing_makes():
    z, picture = checked(lambda other, z: other.sample(latents=z))
    text = said(lambda: made_of(check=(z, picture.flip(0) * 0.3)))
    assert "make sure that the picture is of this latent" in text
    made_of(check=(z, picture))


def test_kernels_whose_axes_nothing_tells():
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


def test_a_place_that_holds_another_net(line: Line):
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Conv2d(3, 3, 3))
    torch.save({"a": other.state_dict(), "b": net().state_dict()}, "weights.pt")
    start = (*START, "--key")
    assert "'a' of weights.pt is not a generator of 'mlp'" in line.refused(*start, "a")
    line.runs(*start, "b")
