"""Advice on torch's Datasets and on tables of pictures."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import ganzoo
from advice_followed.components import registered_for_labels
from advice_followed.helpers import (
    Made,
    cases,
    extra,
    fit,
    floats,
    found,
    labelled,
    loaded,
    options_in,
    pixels,
    run_of,
    said,
    trainer,
)
from ganzoo import datasets
from ganzoo.datasets import InMemoryDataset, Samples, in_memory
from ganzoo.training.trainer import Trainer


@cases(("classes", ["a", "b", "c"]), ("targets", [0, 1, 2] * 100))
def test_classes_that_workers_must_know(name: str, value: Any):
    def items(**more: Any) -> Made:  # more than are looked at
        return Made(lambda index: (torch.full((1, 8, 8), index / 300), index % 3), 300, **more)

    with labelled() as arch:
        settings = {"arch": arch, "conditional": True}
        text = said(lambda: trainer(items(), workers=0, **settings))
        assert f"'{name}'" in text and "leave 'workers' out" in text
        assert trainer(items(**{name: value}), workers=0, **settings).spec.classes
        assert trainer(items(), **settings).spec.classes


@cases("ring", "array")
def test_workers_for_what_is_in_memory(name: str):
    data = name if name == "ring" else pixels()
    assert "leave 'workers' out" in said(lambda: trainer(data, workers=2))
    trainer(data)


ITEMS: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "no items": (
        lambda: Made(lambda index: torch.rand(1, 8, 8), 0), "give at least one sample",
        lambda: Made(lambda index: torch.rand(1, 8, 8), 1),
    ),
    "a length that fails": (
        lambda: Made(lambda index: torch.rand(1, 8, 8), None), "correct its __len__",
        lambda: Made(lambda index: torch.rand(1, 8, 8)),
    ),
    "a text": (
        lambda: Made(lambda index: "x"), "an item is a tensor",
        lambda: Made(lambda index: floats(8, 8)),
    ),
    "names that nobody knows": (
        lambda: Made(lambda index: {"a": floats(8, 8), "b": 1}), r"return a pair \(image, label\)",
        lambda: Made(lambda index: (floats(8, 8), 1)),
    ),
    "two shapes": (
        lambda: Made(lambda index: floats(8, 8 + index % 2)), r"one shape \(resize or crop them\)",
        lambda: Made(lambda index: floats(8, 8 + index % 2)[:, :8]),
    ),
}  # fmt: skip


@cases(*ITEMS)
def test_items_that_are_no_samples(fault: str):
    broken, remedy, mended = ITEMS[fault]
    assert re.search(remedy, said(lambda: loaded(broken())))
    assert len(loaded(mended()).data)


def test_items_by_names_that_nobody_knows():
    data = Made(lambda index: {"a": floats(8, 8), "b": 1})
    text = said(lambda: loaded(data))
    first, second = re.search(r"The options (\w+) and (\w+) of ganzoo", text).groups()
    assert loaded(data, **{first: "a", second: "b"}).spec.classes


def test_a_name_of_what_has_none():
    data = Made(lambda index: floats(8, 8))
    assert "leave them out" in said(lambda: loaded(data, key="image"))
    loaded(data)


SKIPPED = min({*range(300)} - {round(each * 299 / 255) for each in range(256)})
"""An item that is not looked at before a training."""


class Endless(torch.utils.data.IterableDataset):
    """In its own order only."""

    def __iter__(self) -> Iterator[Any]:
        return iter([torch.rand(1, 8, 8) for _ in range(24)])


@cases("map", "memory")
def test_items_in_their_own_order(way: str):
    text = said(lambda: trainer(Endless(), workers=0))
    assert "Give a dataset with __getitem__ and __len__, or leave 'workers' out" in text
    if way == "map":
        trainer(Made(lambda index: torch.rand(1, 8, 8)), workers=0)
    else:
        trainer(Endless())


def fit_labelled(data: Any, **more: Any) -> None:
    fit(data, **{"arch": "labelled", "conditional": True, "workers": 0, "steps": 40, **more})


def grey(index: int) -> torch.Tensor:
    return torch.full((1, 8, 8), index / 300)


@cases("all", "none")
def test_an_item_without_a_label(way: str):
    data = Made(lambda i: (grey(i), None if i == SKIPPED else i % 2), 300, classes=["a", "b"])
    with registered_for_labels():
        assert "label all or none" in said(lambda: fit_labelled(data))
        if way == "all":
            data = Made(lambda index: (grey(index), index % 2), 300, classes=["a", "b"])
            fit_labelled(data, out="b")
        else:
            fit_labelled(Made(grey, 300), conditional=False, arch="mlp", out="b")


@cases("classes", "targets")
def test_a_label_of_no_class(way: str):
    def item(index: int) -> Any:
        return torch.full((1, 8, 8), index / 300), 2 if index == SKIPPED else index % 2

    with registered_for_labels():
        text = said(lambda: fit_labelled(Made(item, 300, targets=[0, 1] * 150)))
        assert way in found(r"correct its (classes or targets)", text)
        right = {"classes": ["a", "b", "c"], "targets": [item(index)[1] for index in range(300)]}
        fit_labelled(Made(item, 300, **{way: right[way]}), out="b")


@cases("parts", "whole")
def test_parts_of_different_classes(way: str):
    def part(*names: str) -> Any:
        return Made(lambda index: (torch.full((1, 8, 8), index / 24), index % 2), classes=names)

    settings = {"arch": "labelled", "conditional": True}
    with registered_for_labels():
        data = torch.utils.data.ConcatDataset([part("a", "b"), part("b", "c")])
        text = said(lambda: trainer(data, **settings))
        assert "give all parts the same classes" in text
        if way == "whole":
            name = found(r"or say which with data\.(\w+) = \[", text)
            setattr(data, name, ["x", "y"])
        else:
            data = torch.utils.data.ConcatDataset([part("a", "b"), part("a", "b")])
        assert trainer(data, **settings).spec.classes


def test_values_outside_the_range_of_the_first_items():
    def item(index: int) -> Any:
        return torch.full((1, 8, 8), 7.0 if index == SKIPPED else index / 300)

    text = said(lambda: fit(Made(item, 300), steps=40, workers=0, out="run"))
    way = found(r"start a new one with (.+)\.$", text)
    made = eval(way.replace("(low, high)", "(0, 7)"), {"ganzoo": ganzoo, "data": Made(item, 300)})
    fit(made, steps=40, workers=0, out="b")


@cases("leave out", "new")
def test_another_range_for_a_run(way: str):
    data = floats(24, 1, 8, 8)
    run = run_of(data)
    other = InMemoryDataset.of(data, stored_range=(0, 2))
    text = said(lambda: Trainer.resume(run, steps=3, dataset=other, progress=False))
    if way == "leave out":
        assert "Leave stored_range out to resume" in text
        Trainer.resume(run, steps=3, dataset=data, progress=False).fit()
        return
    made = eval(found(r"start a new one with (.+)\.$", text), {"ganzoo": ganzoo, "data": data})
    run_of(made, out="other")


class Lengthless(torch.utils.data.Dataset):
    """Nobody knows how many items."""

    def __getitem__(self, index: int) -> Any:
        return torch.rand(1, 8, 8)


class Nothing(torch.utils.data.IterableDataset):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        return iter([torch.rand(1, 8, 8)] * self.count)


@cases("length", "items")
def test_a_torch_dataset_of_nothing(what: str):
    if what == "items":
        assert "give at least one sample" in said(lambda: loaded(Nothing(0)))
        assert len(loaded(Nothing(1)).data) == 1
        return
    name = found(r"give it a (__\w+__)", said(lambda: loaded(Lengthless())))
    known = type("Known", (Lengthless,), {name: lambda self: 24})
    assert len(loaded(known()).data) == 24


@cases("workers", "smaller", "file")
def test_data_beyond_the_memory(way: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(in_memory, "IN_MEMORY_LIMIT", 5000)
    data = Made(lambda index: torch.full((1, 8, 8), index / 24))
    text = said(lambda: trainer(data))
    if way == "workers":
        trainer(data, workers=0 * int(found(r"workers=(\d)", text)))
    elif way == "smaller":
        assert "make it smaller" in text
        trainer(Made(lambda index: torch.full((1, 4, 4), index / 24)))
    else:
        suffix = found(r"or save it as a (\.\w+) array and give its path", text)
        np.save(f"x{suffix}", np.stack([each.numpy() for each in map(data.make, range(24))]))
        trainer(f"x{suffix}")


# -- tables of pictures ---------------------------------------------------------------------------


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
    option = found(r"choose one with the option (\w+)", said(lambda: of_table(split="test")))
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
