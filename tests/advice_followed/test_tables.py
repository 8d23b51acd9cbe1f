"""Advice on tables of pictures."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
from PIL import Image

from advice_followed.helpers import cases, extra, found, loaded, options_in, said
from ganzoo import datasets
from ganzoo.datasets import Samples


def png(value: int) -> Any:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), value).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def tabled(*columns: str, count: int = 12, **more: Any) -> Any:
    """A table of pictures, and what else is given."""
    hf = pytest.importorskip("datasets")
    made = {name: [png(20 * number) for number in range(count)] for name in columns}
    kinds = {name: hf.Image() for name in columns}
    for name, kept in more.items():
        made[name] = [kept[number % len(kept)] for number in range(count)]
        kinds[name] = hf.Value("string" if isinstance(kept[0], str) else "float64")
    return hf.Dataset.from_dict(made, features=hf.Features(kinds))


def of_table(path: str = "x.parquet", **options: Any) -> Samples:
    return datasets.create({"name": "huggingface", "path": path, **options}).load()


@cases(("image", "imag"), ("label", "labl"))
def test_a_column_that_is_not_there(column: str, word: str):
    tabled("image", label=["a", "b"]).to_parquet("x.parquet")
    text = said(lambda: of_table(**{f"{column}_column": word}))
    assert found(r"Did you mean '(\w+)'", text) == column
    assert of_table(**{f"{column}_column": column}).spec.classes


def test_several_columns_of_pictures():
    tabled("front", "back").to_parquet("x.parquet")
    options = options_in(found(r"which one to take with (.+?)\. Columns", said(of_table)))
    assert len(of_table(**options).data) == 12


def test_a_table_of_numbers():
    tabled(a=[1.0], b=[2.0]).to_parquet("x.parquet")
    way = found(r"as an array: (.+?)\. Columns", said(of_table))
    data = eval(way, {"pandas": pandas, "file": "x.parquet"})
    assert loaded(data).spec.shape == (2,)


@cases("column", "none")
def test_a_column_of_no_labels(way: str):
    tabled("image", size=[0.5, 1.5], label=["a", "b"]).to_parquet("x.parquet")
    text = said(lambda: of_table(label_column="size"))
    option, other, none = re.search(
        r"choose another with (\w+), or say (\w+)='(\w+)'", text
    ).groups()
    if way == "column":
        assert of_table(**{option: "label"}).spec.classes == ("a", "b")
    else:
        assert of_table(**{other: none}).spec.classes is None


def test_several_columns_of_labels():
    hf = pytest.importorskip("datasets")
    made = tabled("image", kind=["a", "b"], colour=["x", "y"])
    for name in ("kind", "colour"):
        made = made.cast_column(name, hf.ClassLabel(names=["a", "b", "x", "y"]))
    made.to_parquet("x.parquet")
    text = " ".join(of_table().notices)
    assert of_table(**options_in(found(r"choose one with (\w+='\w+')", text))).spec.classes


@cases("tran", "validation")
def test_a_split_that_is_not_there(word: str):
    hf = pytest.importorskip("datasets")
    hf.DatasetDict({"train": tabled("image"), "test": tabled("image")}).save_to_disk("saved")
    text = said(lambda: of_table("saved", split=word))
    splits = found(r"Splits: (.+)\.$", text).split(", ")
    if guess := re.search(r"Did you mean '(\w+)'", text):
        splits.append(guess[1])
    for split in splits:
        assert len(of_table("saved", split=split).data) == 12


def test_a_split_of_a_file():
    tabled("image").to_parquet("x.parquet")
    text = said(lambda: of_table(split="test"))
    option = found(r"choose one with the option (\w+)", text)
    assert len(of_table(**{option: "train"}).data) == 12


@cases("file", "folder")
def test_a_table_without_rows(kind: str):
    tabled("image", count=0).to_parquet("x.parquet")
    tabled("image", count=0).save_to_disk("saved")
    text = said(lambda: of_table("x.parquet" if kind == "file" else "saved"))
    assert "choose another split or file" in text
    tabled("image").to_parquet("y.parquet")
    of_table("y.parquet")


@cases("x.txt", "nowhere")
def test_what_is_no_table(name: str):
    Path("x.txt").touch()
    tabled("image").to_parquet("x.parquet")
    text = said(lambda: of_table(name))
    if name == "nowhere":
        assert "correct the path" in text
        of_table()
        return
    kinds = re.findall(r"(\.[a-z]+)", found(r"give a (.+?) file", text))
    assert kinds == [".parquet", ".arrow"]
    of_table()
    Path("tables").mkdir()
    Path("x.parquet").rename("tables/x.parquet")
    assert len(of_table("tables").data) == 12
    assert "save_to_disk" in text
    tabled("image").save_to_disk("saved")
    assert len(of_table("saved").data) == 12


@cases({"repo": "a/b"}, {"path": None}, {"revision": "main"},
     {"labels": "none", "label_column": "label"})  # fmt: skip
def test_options_of_a_table_that_exclude_each_other(options: dict[str, Any]):
    tabled("image", label=["a", "b"]).to_parquet("x.parquet")
    text = said(lambda: of_table(**{"path": "x.parquet", **options}))
    if "label_column" in options:
        assert "leave one of them out" in text
        for name, kept in options.items():
            of_table(**{name: kept})
    elif "revision" in options:
        assert "leave it out, or give repo" in text
        of_table()
        datasets.create({"name": "huggingface", "repo": "a/b", **options})
    else:
        datasets.create({"name": "huggingface", **options_in(found(r"such as (repo='\S+')", text))})
        of_table()


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    tabled("image").to_parquet("x.parquet")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "datasets", None)
        extra(said(of_table), "datasets")
    of_table()
