"""Advice on torch's Datasets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import ganzoo
from advice_followed.components import registered_for_labels
from advice_followed.helpers import (
    SMALL,
    Made,
    cases,
    floats,
    found,
    labelled,
    loaded,
    pixels,
    run_of,
    said,
    trainer,
)
from ganzoo.datasets import InMemoryDataset, in_memory
from ganzoo.training.trainer import Trainer


class Items(torch.utils.data.Dataset):
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return 300  # more than are looked at

    def __getitem__(self, index: int) -> Any:
        return torch.full((1, 8, 8), index / 300), index % 3


@cases(("classes", ["a", "b", "c"]), ("targets", [0, 1, 2] * 100))
def test_classes_that_workers_must_know(name: str, value: Any):
    with labelled() as arch:
        settings = {"arch": arch, "conditional": True}
        text = said(lambda: trainer(Items(), workers=0, **settings))
        assert f"'{name}'" in text and "leave 'workers' out" in text
        assert trainer(Items(**{name: value}), workers=0, **settings).spec.classes
        assert trainer(Items(), **settings).spec.classes


@cases("ring", "array")
def test_workers_for_what_is_in_memory(name: str):
    data = name if name == "ring" else pixels()
    assert "leave 'workers' out" in said(lambda: trainer(data, workers=2))
    trainer(data)


# -- torch Datasets ---------------------------------------------------------------------------

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
    first, second = re.search(r"The options (\w+) and (\w+) of ganzoo", said(lambda: loaded(data)))[
        0
    ].split()[2:5:2]
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


@cases("all", "none")
def test_an_item_without_a_label(way: str):
    def fit(data: Any, **more: Any) -> Any:
        settings = {"arch": "labelled", "conditional": True, "workers": 0, "steps": 40, **more}
        return Trainer(
            dataset=data, **{"batch_size": 8, "progress": False, "out": "run", **settings}
        ).fit()

    def item(index: int) -> Any:
        return torch.full((1, 8, 8), index / 300), None if index == SKIPPED else index % 2

    with registered_for_labels():
        text = said(lambda: fit(Made(item, 300, classes=["a", "b"])))
        assert "label all or none" in text
        if way == "all":
            fit(Made(lambda index: (item(index)[0], index % 2), 300, classes=["a", "b"]), out="b")
        else:
            fit(Made(lambda index: item(index)[0], 300), conditional=False, arch="mlp", out="b")


@cases("classes", "targets")
def test_a_label_of_no_class(way: str):
    def fit(data: Any, **more: Any) -> Any:
        settings = {"arch": "labelled", "conditional": True, "workers": 0, "steps": 40, **more}
        return Trainer(
            dataset=data, **{"batch_size": 8, "progress": False, "out": "run", **settings}
        ).fit()

    def item(index: int) -> Any:
        return torch.full((1, 8, 8), index / 300), 2 if index == SKIPPED else index % 2

    with registered_for_labels():
        text = said(lambda: fit(Made(item, 300, targets=[0, 1] * 150)))
        assert way in found(r"correct its (classes or targets)", text)
        right = {"classes": ["a", "b", "c"], "targets": [item(index)[1] for index in range(300)]}
        fit(Made(item, 300, **{way: right[way]}), out="b")


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

    settings = {"arch": SMALL, "steps": 40, "batch_size": 8, "progress": False, "workers": 0}
    text = said(lambda: Trainer(dataset=Made(item, 300), out="run", **settings).fit())
    way = found(r"start a new one with (.+)\.$", text)
    made = eval(way.replace("(low, high)", "(0, 7)"), {"ganzoo": ganzoo, "data": Made(item, 300)})
    Trainer(dataset=made, out="b", **settings).fit()


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


# -- more of data -----------------------------------------------------------------------------


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
