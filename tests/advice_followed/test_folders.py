"""Advice on folders and archives of pictures, and on their label files."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from advice_followed.helpers import (
    cases,
    extra,
    floats,
    found,
    literal,
    loaded,
    options_in,
    pictures,
    pixels,
    said,
    trainer,
)
from ganzoo import datasets


@cases("train", "val")
def test_folders_that_look_like_splits(name: str):
    for part in ("train", "val"):
        Path("photos", part).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(pixels(1)[0, 0]).save(f"photos/{part}/{number}.png")
    text = " ".join(trainer("photos", batch_size=4).notices)
    place, option = found(r"such as '(.+?)'", text), literal(found(r"labels=('\w+')", text))
    trainer(place.replace(place.rpartition("/")[2], name), batch_size=4)
    assert trainer({"name": "folder", "path": "photos", "labels": option}, batch_size=4).spec


@cases("x.rar", "x.7z", "x.png")
def test_a_file_instead_of_a_folder(name: str):
    Image.fromarray(pixels(1)[0, 0]).save("y.png")
    Path(name).write_bytes(Path("y.png").read_bytes())
    assert re.search(r"give the folder|Give one of these|unpack", said(lambda: trainer(name)))


@cases("zip", "tar")
def test_an_archive_that_is_none(kind: str):
    Path("photos").mkdir()
    for number in range(8):
        Image.fromarray(pixels(1)[0, 0]).save(f"photos/{number}.png")
    Path(f"x.{kind}").write_bytes(Path("photos/0.png").read_bytes())
    assert "make it again" in said(lambda: trainer(f"x.{kind}"))
    shutil.make_archive("x", kind, "photos")
    assert trainer(f"x.{kind}").spec.shape == (1, 8, 8)


def packed(name: str, *names: str, password: bool = False, method: int = 0) -> Path:
    with zipfile.ZipFile(name, "w", method) as file:
        for each in names:
            file.write(f"photos/{each}", each)
    if password:  # the flag alone
        content = bytearray(Path(name).read_bytes())
        place = content.rindex(b"PK\x01\x02") + 8
        content[place] |= 1
        Path(name).write_bytes(content)
    return Path(name)


@cases("other files", "nothing")
def test_an_archive_without_pictures(content: str):
    pictures()
    Path("photos/letter.txt").touch()
    packed("x.zip", *(["letter.txt"] if content == "other files" else []))
    text = said(lambda: loaded("x.zip"))
    for suffix in found(r"give one with pictures \((.+)\)", text).split(", "):
        with contextlib.suppress(ValueError, KeyError):
            Image.open("photos/0.png").convert("L").save(f"photos/a{suffix}")
            packed("x.zip", f"a{suffix}")
            assert loaded("x.zip").spec.size == (8, 8)


@cases(True, False)
def test_an_archive_that_cannot_be_opened(secret: bool):
    pictures()
    packed("x.zip", "0.png", password=secret)
    if not secret:
        content = Path("x.zip").read_bytes()
        place = content.index(b"PK\x01\x02") + 10
        Path("x.zip").write_bytes(content[:place] + b"\x62" + content[place + 1 :])
    text = said(lambda: loaded("x.zip"))
    assert re.search(r"unpack it (with its password )?and give the folder", text)
    assert loaded("photos").spec.shape == (1, 8, 8)
    if not secret:
        method = int(found(r"pack it again \(zip -(\d) -r\)", text))
        packed("x.zip", "0.png", method=method)
        assert loaded("x.zip").spec.shape == (1, 8, 8)


# -- folders ----------------------------------------------------------------------------------


@cases("photos/0.png", "phots", "photos.tar.gz", "photos.7z")
def test_a_folder_that_is_none(name: str):
    pictures()
    if name == "photos.tar.gz":
        shutil.make_archive("photos", "gztar", "photos")
    elif name == "photos.7z":
        Path(name).touch()
    text = said(lambda: loaded(name))
    if way := re.search(r"unpack it \((.+?)\) and give the folder", text):
        subprocess.run(way[1], shell=True, check=True)
        assert loaded("pictures").spec.shape == (1, 8, 8)
    else:
        assert re.search("correct the path|give the folder that", text)
        loaded(Path(name).parent if "/" in name else "photos")


@cases("nothing", "other files", "folders")
def test_a_folder_without_pictures(content: str):
    Path("empty").mkdir()
    if content == "other files":
        Path("empty/letter.txt").touch()
    elif content == "folders":
        Path("empty/deep").mkdir()
    text = said(lambda: loaded("empty"))
    assert ".png" in found(r"give one with pictures \((.+)\)", text).split(", ")
    pictures("empty")
    assert loaded("empty").spec.shape == (1, 8, 8)


@cases("folders", "none")
def test_a_label_column_without_a_label_file(labels: str):
    pictures(folders=("a", "b"))
    assert "leave one of them out" in said(lambda: loaded(labels=labels, label_column="x"))
    loaded(labels=labels)


def written(name: str, content: Any) -> None:
    pictures(folders=("a", "b"))
    Path(f"photos/{name}").write_text(content if isinstance(content, str) else json.dumps(content))


FILES = [f"{'ab'[number % 2]}/{number}.png" for number in range(8)]
PAIRS = [[name, number % 2] for number, name in enumerate(FILES)]


def table(*columns: str, **values: Any) -> str:
    """A CSV file."""
    rows = [",".join(columns)]
    for number, name in enumerate(FILES):
        rows.append(",".join([name, *(str(values[each](number)) for each in columns[1:])]))
    return "\n".join(rows)


LABEL_FILES: dict[str, tuple[str, Any]] = {
    "no object": ("dataset.json", [1]),
    "nothing in it": ("dataset.json", {"labels": None}),
    "no pairs": ("dataset.json", {"labels": [1, 2]}),
    "damaged": ("dataset.json", '{"labels": ['),
    "too deep": ("dataset.json", "[" * 100_000),
    "labels of others": ("dataset.json", {"labels": [["other.png", 0]]}),
    "some without": ("dataset.json", {"labels": PAIRS[1:]}),
    "two of one": ("dataset.json", {"labels": [*PAIRS, [FILES[0], 1]]}),
    "no classes": ("dataset.json", {"labels": [[name, {"a": 1}] for name in FILES]}),
    "fractions": ("dataset.json", {"labels": [[name, 0.5 * k] for k, name in enumerate(FILES)]}),
    "no lines": ("metadata.jsonl", "1\n2\n"),
    "no column of files": ("metadata.csv", "label\n1\n"),
    "no column of labels": ("metadata.csv", table("file_name")),
    "captions": (
        "metadata.csv", table("file_name", "label", label=lambda number: f"a dog {number}"),
    ),
    "numbers": ("metadata.csv", table("file_name", "age", age=lambda number: number)),
    "texts of fractions": (
        "metadata.csv", table("file_name", "label", label=lambda number: f"{number % 3}.5"),
    ),
    "damaged table": ("metadata.parquet", "PAR1"),
}  # fmt: skip


@cases(*LABEL_FILES)
def test_a_label_file_that_is_of_no_use(fault: str):
    written(*LABEL_FILES[fault])
    text = said(lambda: loaded(labels="file"))
    ways = re.findall(r"labels='(\w+)'", found(r"; correct it, or say (.+)\.$", text))
    assert ways == ["folders", "none"]
    assert [bool(loaded(labels=way).spec.classes) for way in ways] == [True, False]
    Path("photos", LABEL_FILES[fault][0]).unlink()
    written("dataset.json", {"labels": PAIRS})
    assert loaded(labels="file").spec.classes == ("0", "1")


def test_no_label_file():
    pictures()
    names = found(r"has no label file \((.+?)\)", said(lambda: loaded(labels="file"))).split(", ")
    contents = {"json": json.dumps({"labels": PAIRS}), "csv": CSV, "jsonl": LINES}
    for name in names:
        if (kind := name.rpartition(".")[2]) != "parquet":
            shutil.rmtree("photos")
            written(name, contents[kind])
            assert loaded(labels="file").spec.classes == ("0", "1")


CSV = table("file_name", "label", label=lambda number: number % 2)
LINES = "\n".join(json.dumps({"file_name": name, "label": label}) for name, label in PAIRS)


@cases("file", "auto")
def test_a_label_file_of_several_columns(labels: str):
    content = table("file_name", "kind", "colour", kind=lambda n: n % 2, colour=lambda n: n // 4)
    written("metadata.csv", content)
    text = said(lambda: loaded(labels="file"))
    if labels == "auto":
        text = " ".join(loaded().notices)
    options = options_in(found(r"; choose one with (label_column='\w+')", text))
    assert loaded(labels="file", **options).spec.classes == ("0", "1")
    there = found(r"\(([\w, ]+)\); choose one", text)
    text = said(lambda: loaded(labels="file", label_column="knid"))
    assert found(r"\(columns: (.+?)\)", text) == there


@cases("put", "none")
def test_pictures_beside_folders(way: str):
    pictures(folders=("a", "b"))
    pictures(count=1)
    text = said(lambda: loaded(labels="folders"))
    assert "put each picture into the folder of its class" in text
    if way == "none":
        loaded(labels=found(r"or say labels='(\w+)'", text))
        return
    Path("photos/0.png").rename("photos/a/9.png")
    assert loaded(labels="folders").spec.classes == ("a", "b")


@cases("cache", "GANZOO_CACHE")
def test_a_cache_that_cannot_be_written(way: str, monkeypatch: pytest.MonkeyPatch):
    pictures()
    Path("taken").touch()
    monkeypatch.setenv("GANZOO_CACHE", "taken/caches")
    text = said(lambda: loaded())
    option, variable = re.search(
        r"set the option (\w+) or (\w+) to a folder of your own", text
    ).groups()
    assert way in (option, variable)
    if way == variable:
        monkeypatch.setenv(variable, "mine")
        loaded()
    else:
        loaded(**{option: "mine"})
    assert Path("mine").is_dir()


@cases("raise", "remove")
def test_pictures_that_cannot_be_read(way: str):
    pictures()
    Path("photos/0.png").write_bytes(b"no picture")
    text = said(lambda: loaded())
    option = found(r"repair or remove them, or raise (\w+)\.$", text)
    if way == "raise":
        assert len(loaded(**{option: 1}).data) == 7
        return
    for name in re.findall(r"'([^']+\.png)' \(", text):
        Path("photos", name).unlink()
    assert len(loaded().data) == 7


def test_not_one_picture_that_can_be_read():
    pictures(count=2)
    for number in range(2):
        Path(f"photos/{number}.png").write_bytes(b"no picture")
    assert "repair or replace them" in said(lambda: loaded(max_bad=9))
    pictures(count=2)
    assert len(loaded().data) == 2


@cases("range", "folders")
def test_floats_beside_integers(way: str):
    pictures(count=0)
    Path("photos").mkdir()
    Image.fromarray(floats(8, 8)).save("photos/0.tif")
    Image.fromarray((floats(8, 8) * 60000).astype(np.uint16)).save("photos/1.png")
    text = said(lambda: loaded())
    assert "keep them in folders of their own" in text
    if way == "range":
        assert loaded(
            **options_in(found(r"or say what all may be with (.+)\.$", text))
        ).stored_range
        return
    for number, name in enumerate(("0.tif", "1.png")):
        Path(f"own{number}").mkdir()
        Path(f"photos/{name}").rename(f"own{number}/{name}")
        assert len(loaded(f"own{number}").data) == 1


def test_workers_for_pictures():
    pictures()
    text = said(lambda: trainer({"name": "folder", "path": "photos"}, workers=2))
    assert "Leave 'workers' out" in text
    option = options_in(found(r"option (\w+=\d+)", text))
    trainer({"name": "folder", "path": "photos", **option})


def test_a_label_file_that_cannot_be_opened():
    pictures(folders=("a", "b"))
    Path("photos/dataset.json").symlink_to("nowhere")
    text = said(lambda: loaded(labels="file"))
    ways = re.findall(r"labels='(\w+)'", found(r"; correct it, or say (.+)\.$", text))
    assert [bool(loaded(labels=way).spec.classes) for way in ways] == [True, False]


def test_a_table_of_labels_without_its_package(monkeypatch: pytest.MonkeyPatch):
    written("metadata.parquet", "PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    text = said(lambda: loaded(labels="file"))
    extra(text, "datasets")  # which brings pyarrow
    assert "pyarrow" in text


def test_faces_without_their_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    celeba = datasets.create({"name": "celeba", "root": "here"})
    monkeypatch.setattr(type(celeba), "_read", lambda *_: 1 / 0)
    monkeypatch.setattr(type(celeba), "_lacks_gdown", lambda self: True)
    extra(said(celeba.load), "gdown")


@cases("size", "cache", "GANZOO_CACHE")
def test_a_full_disk(way: str, monkeypatch: pytest.MonkeyPatch):
    pictures(size=16)

    def usage(folder: Any) -> Any:
        free = 10**9 if "other" in str(folder) else 1000
        return type("Usage", (), {"free": free})

    monkeypatch.setattr("ganzoo.datasets.cache.shutil.disk_usage", usage)
    text = said(lambda: loaded())
    option, variable = re.search(
        r"choose a smaller size, or set the option (\w+) or (\w+) to a folder on another", text
    ).groups()
    if way == "size":
        assert loaded(size=8).spec.size == (8, 8)
    elif way == variable:
        monkeypatch.setenv(variable, "other")
        loaded()
    else:
        loaded(**{option: "other"})
