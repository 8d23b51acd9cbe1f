"""Advice on the weights of extractors."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from advice_followed.helpers import cases, extra, found, said
from ganzoo import features
from ganzoo.features.classifier import ClassifierNet
from ganzoo.features.weights import Published, load


def published(content: bytes = b"weights", **more: Any) -> Published:
    Path("there").mkdir(exist_ok=True)
    Path("there/net.pt").write_bytes(content)
    return Published(**{
        "title": "the weights of a net", "address": Path("there/net.pt").absolute().as_uri(),
        "digest": hashlib.sha256(b"weights").hexdigest(), "size": 7, "names": ("net.pt",),
        "environment": "GANZOO_NET", **more,
    })  # fmt: skip


@cases("path", "leave out", "environment")
def test_weights_that_are_not_where_they_are_said_to_be(way: str, monkeypatch: pytest.MonkeyPatch):
    known = published()
    if way == "environment":
        monkeypatch.setenv(known.environment, "nowhere.pt")
        assert "Correct the path" in said(lambda: known.find(None, True))
        monkeypatch.setenv(known.environment, "there/net.pt")
        assert known.find(None, True).read_bytes() == b"weights"
        return
    text = said(lambda: known.find(Path("nowhere.pt"), True))
    name = found(r"Correct the path, or leave it out to have (\S+) downloaded", text)
    if way == "path":
        assert known.find(Path("there", name), True).name == name
    else:
        assert known.find(None, True).name == name


@cases(("offline", "put"), ("offline", "set"), ("gone", "put"), ("changed", "put"),
     ("large", "put"))  # fmt: skip
def test_weights_that_are_not_on_this_machine(why: str, way: str, monkeypatch: pytest.MonkeyPatch):
    content = {"changed": b"stranger", "large": b"x" * 99}.get(why, b"weights")
    known = published(content, size=8 if why == "changed" else 7)
    if why == "gone":
        Path("there/net.pt").rename("net.pt")
    text = said(lambda: known.find(None, why != "offline"))
    Path("mine.pt").write_bytes(b"weights")
    if way == "set":
        name = found(r"or set (\w+) to where it lies", text)
        monkeypatch.setenv(name, "mine.pt")
        assert known.find(None, False).read_bytes() == b"weights"
        return
    place = Path(found(r"put it at (\S+?)(?:, or|\.$)", text))
    if digest := re.search(r"\(SHA-256 (\w+)\)", text):
        assert hashlib.sha256(Path("mine.pt").read_bytes()).hexdigest() == digest[1]
    place.parent.mkdir(parents=True, exist_ok=True)
    Path("mine.pt").rename(place)
    assert known.find(None, False) == place


@cases("names", "NaN")
def test_weights_of_another_net(fault: str):
    wanted = {"layer.weight": (2, 2)}
    broken = {"names": {"other.weight": torch.zeros(2, 2)},
              "NaN": {"layer.weight": torch.full((2, 2), torch.nan)}}[fault]  # fmt: skip
    torch.save(broken, "net.pt")
    text = said(lambda: load(Path("net.pt"), wanted, ()))
    assert re.search("or one with the same names|Get the file again", text)
    torch.save({"layer.weight": torch.zeros(2, 2)}, "net.pt")
    assert [*load(Path("net.pt"), wanted, ())] == ["layer.weight"]


def test_a_library_of_nets_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    chosen = features.create({"name": "dinov2", "weights": "here"})
    extra(said(lambda: chosen.build(torch.device("cpu"))), "transformers")


def test_a_folder_that_is_no_net():
    transformers = pytest.importorskip("transformers")
    Path("empty").mkdir()
    chosen = features.create({"name": "dinov2", "weights": "empty"})
    text = said(lambda: chosen.weights_hash())
    names = found(r"Such a folder has ([\w.]+ and [\w.]+): get", text).split(" and ")
    assert "or give another folder as weights" in text
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained("tiny")
    assert {*names} <= {each.name for each in Path("tiny").iterdir()}
    assert chosen.replace(weights="tiny").weights_hash()


def test_pictures_that_an_extractor_does_not_take():
    net = ClassifierNet().eval()
    text = said(lambda: net(torch.rand(2, 3, 28, 28)))
    dtype = getattr(torch, found(r"greyscale pictures, (\w+) \(N, 1, H, W\)", text))
    assert net(torch.zeros(2, 1, 28, 28, dtype=dtype)).logits.shape == (2, 10)


# -- more of scores ---------------------------------------------------------------------------


@cases("lacks", "NaN")
def test_weights_of_a_folder_that_are_wrong(fault: str):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    net = transformers.Dinov2Model(config)
    net.save_pretrained("tiny")
    whole = safetensors.torch.load_file("tiny/model.safetensors")
    name = "layernorm.weight"
    broken = {key: each for key, each in whole.items() if key != name}
    if fault == "NaN":
        broken[name] = torch.full_like(whole[name], torch.nan)
    meta = {"format": "pt"}
    safetensors.torch.save_file(broken, "tiny/model.safetensors", meta)
    chosen = features.create({"name": "dinov2", "weights": "tiny"})
    text = said(lambda: chosen.build(torch.device("cpu")))
    assert re.search("Get them again|or others of its kind", text)
    safetensors.torch.save_file(whole, "tiny/model.safetensors", meta)
    chosen.build(torch.device("cpu"))
