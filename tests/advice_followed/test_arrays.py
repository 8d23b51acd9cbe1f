"""Advice on data in memory and in array files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from advice_followed.components import registered_for_labels
from advice_followed.helpers import (
    TINY,
    Line,
    Made,
    cases,
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
from ganzoo.datasets import InMemoryDataset
from ganzoo.errors import GanzooError

RANGES = {
    "negative floats": np.float32([-24.3963, 26.7462, 3.3]),
    "large floats": np.float32([0, 1234.5678, 7]),
    "small floats": np.float32([-1.00001, 0.5, 1.2]),
    "tiny": np.float32([0.123456789, 2.7182818, 1.5]),
    "float64": np.float64([-3.14159265358979, 99999.999999, 0]),
    "huge": np.float32([-1.5e20, 3.3e19, 0]),
    "int16": np.int16([-32768, 32767, 12]),
    "uint16": np.uint16([0, 4095, 77]),
    "int32": np.int32([-123456789, 987654321, 5]),
    "int64": np.int64([0, 1234567891, 5]),
    "half": np.float16([-7.77, 5.55, 0]),
    "few digits": np.float32([0, 255.5, 3]),
}
_RANGE = r"stored_range=\(\s*([^,()\s]+),\s*([^()\s]+?)\s*\)"


def spread(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.resize(values, (24, 1, 8, 8))


@cases(*RANGES)
def test_a_range_that_nobody_knows(name: str):
    data = spread(RANGES[name])
    given = said(lambda: InMemoryDataset.of(data).load()) if _refuses(data) else _note(data)
    advised = re.search(_RANGE, given)
    if advised is None:
        pytest.skip("a range that is taken as known, without a note")
    low, high = (float(end) for end in advised.groups())
    assert low <= data.min() and data.max() <= high  # outwards
    kept = InMemoryDataset.of(data, stored_range=(low, high))
    assert trainer(kept).spec.shape == (1, 8, 8)


def _refuses(data: Any) -> bool:
    try:
        InMemoryDataset.of(data).load()
    except GanzooError:
        return True
    return False


def _note(data: Any) -> str:
    return " ".join(trainer(data).notices)


@cases(*[name for name in RANGES if name not in ("huge",)])
def test_a_range_in_a_file_on_the_command_line(name: str, line: Line):
    np.save("x.npy", spread(RANGES[name]))
    start = ("train", "mlp", "--dataset", "x.npy", "--dry-run", *TINY)
    try:
        text = line.runs(*start)
    except SystemExit:
        text = line.capture.readouterr().err
    advised = re.search(r"--dataset\.stored-range (\S+) (\S+)", text) or re.search(_RANGE, text)
    if advised is None:
        pytest.skip("a range that is taken as known, without a note")
    low, high = advised.groups()
    low, high = low.rstrip(".,;:)"), high.rstrip(".,;:)")
    line.runs(*start, "--dataset.stored-range", low, high)


@cases("bool", "uint8")
def test_a_range_that_is_known_needs_no_word(dtype: str):
    data = (pixels() > 100) if dtype == "bool" else pixels()
    assert trainer(data).spec.value_range == (-1, 1)


@cases("npz", "mapping")
def test_several_arrays_and_no_word_which(kind: str):
    arrays = {"train_images": pixels(), "test_images": pixels(), "train_labels": np.zeros(24, int)}
    np.savez("x.npz", **arrays)
    dataset = {"name": "array", "path": "x.npz"}
    text = said(
        (lambda: trainer(dataset)) if kind == "npz" else (lambda: InMemoryDataset.of(arrays))
    )
    for key in ("key", "labels_key"):
        assert key in text
    there = found(r"Names in it: (.+?)\.", text).split(", ")
    chosen = {"key": next(n for n in there if "images" in n)}
    chosen["labels_key"] = next(n for n in there if "labels" in n)
    if kind == "npz":
        assert trainer({**dataset, **chosen}).spec.shape == (1, 8, 8)
    else:
        assert InMemoryDataset.of(arrays, **chosen).load().data.shape[1:] == (1, 8, 8)


@cases("imges", "image", "labesl")
def test_an_array_by_a_misspelt_name(key: str):
    np.savez("x.npz", images=pixels(), labels=np.zeros(24, int))
    option = "labels_key" if key.startswith("lab") else "key"
    dataset = {"name": "array", "path": "x.npz", option: key}
    meant = found(r"Did you mean '(\w+)'", said(lambda: trainer(dataset)))
    trainer({**dataset, option: meant})


def test_a_name_for_an_array_without_one():
    np.save("x.npy", pixels())
    text = said(lambda: trainer({"name": "array", "path": "x.npy", "key": "images"}))
    assert "leave out key" in text
    trainer({"name": "array", "path": "x.npy"})


def test_objects_instead_of_numbers():
    data = np.array([[1, 2.0, 3.0]] * 24, dtype=object)
    dtypes = re.findall(r"\b(uint8|float32)\b", said(lambda: InMemoryDataset.of(data).load()))
    assert "float32" in dtypes
    for dtype in dtypes:
        InMemoryDataset.of(data.astype(dtype), stored_range=(0, 10)).load()


def test_one_row_without_an_axis_that_counts():
    text = said(lambda: InMemoryDataset.of(np.zeros(64, np.float32)).load())
    for shape in re.findall(r"\((N(?:, \w)+)\)", text):
        sizes = {"N": 24, "D": 4, "C": 1, "H": 8, "W": 8}
        InMemoryDataset.of(np.zeros([sizes[axis] for axis in shape.split(", ")], np.float32)).load()


def test_one_hot_labels_become_classes():
    labels = np.eye(3, dtype=np.int64)[np.arange(24) % 3]
    text = (
        said(lambda: InMemoryDataset.of((pixels(), labels)).load())
        if _refuses((pixels(), labels))
        else ""
    )
    if text:
        assert "argmax" in text
        InMemoryDataset.of((pixels(), labels.argmax(1))).load()


@cases("nowhere.npy", "fashon-mnist")
def test_data_that_are_nowhere(name: str):
    text = said(lambda: trainer(name))
    for each in found(r"Available: (.+)\.$", text).split(", "):
        datasets.get(each)


def test_a_data_set_of_the_hub_by_its_name():
    chosen = literal(found(r"it is (\{.+?\})", said(lambda: trainer("ylecun/mnist"))))
    assert datasets.create(chosen).name == chosen["name"]


NUMBERS: dict[str, Callable[[], Any]] = {
    "zeros left out": lambda: torch.eye(24).to_sparse(),
    "complex tensors": lambda: torch.complex(torch.rand(24, 8, 8), torch.rand(24, 8, 8)),
    "complex channels": lambda: torch.complex(torch.rand(24, 1, 8, 8), torch.rand(24, 1, 8, 8)),
    "complex arrays": lambda: floats(24, 8, 8) * (0.5 + 0.5j),
    "masked": lambda: np.ma.masked_greater(floats(24, 8, 8), 0.9),
    "records": lambda: np.zeros(24, [("a", "f4"), ("b", "f4")]),
    "numbers as objects": lambda: np.array([[1, 2.0]] * 24, object),
    "times": lambda: np.full((24, 2), 3, "datetime64[s]"),
    "a table": lambda: pandas.DataFrame({"a": range(24), "b": range(24)}),
    "a table of texts": lambda: pandas.DataFrame({"a": range(24), "b": ["x", "y"] * 12}),
    "a loader": lambda: torch.utils.data.DataLoader(Made(lambda index: torch.rand(1, 8, 8))),
    "an iterator": lambda: iter([floats(8, 8) for _ in range(24)]),
    "a function": lambda: yielding,
    "a list of arrays": lambda: [floats(8, 8) for _ in range(24)],
    "a list of lists": lambda: [[1.0, 2.0]] * 24,
    "bytes as names": lambda: {b"data": pixels(), b"labels": np.arange(24) % 2},
    "lists by names": lambda: {"images": pixels().tolist(), "labels": [0] * 24},
    "splits": lambda: {"train": Made(lambda index: torch.rand(1, 8, 8))},
}  # fmt: skip


def yielding() -> Iterator[Any]:
    for _ in range(24):
        yield floats(8, 8)


@cases(*NUMBERS)
def test_what_is_no_array_of_numbers(kind: str):
    data = NUMBERS[kind]()
    text = said(lambda: loaded(data))
    way = re.search(r"(?:: |such as )((?:data|numpy|torch|pandas|\{key).+)\.$", text)
    assert way, text
    names = {"data": data, "numpy": np, "torch": torch, "pandas": pandas}
    made = eval(way[1], names)
    assert len(
        loaded(made, **({"stored_range": (0, 255)} if kind == "lists by names" else {})).data
    )


def test_arrays_of_several_shapes():
    odd = np.empty(2, object)
    odd[:] = [floats(8, 8), floats(8, 7)]
    text = said(lambda: loaded(odd))
    way = getattr(np, found(r"to one shape, and give numpy\.(\w+) of them", text))
    assert loaded(way([each[:, :7] for each in odd])).spec.shape == (1, 8, 7)


ARRAYS: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "nothing": (lambda: floats(0, 8, 8), "give at least one sample", lambda: floats(1, 8, 8)),
    "NaN": (lambda: floats(24, 8, 8) * np.nan, "remove or replace them",
            lambda: np.nan_to_num(floats(24, 8, 8) * np.nan)),
    "labels too few": (lambda: (pixels(), [0] * 20), "give one label per sample",
                       lambda: (pixels(), [0] * 24)),
    "five axes": (lambda: floats(24, 1, 2, 3, 4), r"reshape it to \(N, H, W\) or \(N, C, H, W\)",
                  lambda: floats(24, 1, 2, 3, 4).reshape(24, 2, 3, 4)),
}  # fmt: skip


@cases(*ARRAYS)
def test_arrays_that_are_no_samples(fault: str):
    broken, remedy, mended = ARRAYS[fault]
    assert re.search(remedy, said(lambda: loaded(broken())))
    assert len(loaded(mended()).data)


def test_one_number_for_each_sample():
    data = floats(24)
    way = found(r"; (data\.reshape\(.+?\)) makes", said(lambda: loaded(data)))
    assert len(loaded(eval(way, {"data": data})).data) == 24


def test_numbers_that_are_too_near_each_other():
    data = 1e9 + np.random.default_rng(0).random((240, 3))
    way = found(r"first: data = (.+)\.$", said(lambda: loaded(data)))
    assert loaded(eval(way, {"data": data})).spec.shape == (3,)


@cases("item_shape", "layout", "key", "stored_range")
def test_options_that_do_not_fit(option: str):
    value, data = {
        "item_shape": ((2, 8, 8), pixels()),
        "layout": ("channels-last", floats(24, 3)),
        "key": ("images", pixels()),
        "stored_range": ((0, 100), pixels()),
    }[option]
    text = said(lambda: loaded(data, **{option: value}))
    assert re.search(r"leave (it|them|item_shape) out|or leave it out|correct the range", text)
    loaded(data)
    if option == "item_shape":
        loaded(data, item_shape=(1, int(found(r"samples of (\d+) values", text)) // 8, 8))
    if option == "key":
        assert "give a dict of arrays" in text
        loaded({"images": data}, key="images")
    if option == "stored_range":
        high = int(found(r"from 0 to (\d+)", text))
        loaded(data, stored_range=(0, high))


@cases((1, 0), (0.5, 0.5))
def test_a_range_that_is_the_wrong_way_round(low: float, high: float):
    assert "swap or correct it" in said(lambda: loaded(floats(24, 8, 8), stored_range=(low, high)))
    loaded(floats(24, 8, 8), stored_range=(high, low) if low > high else (0, 1))


def test_several_arrays_of_labels():
    data = {"images": pixels(), "labels": np.arange(24) % 2, "y": np.arange(24) % 3}
    options = options_in(found(r"which one with (.+?)\. Names", said(lambda: loaded(data))))
    assert loaded(data, **options).spec.classes


def test_statistics_instead_of_samples():
    text = said(lambda: loaded({"mu": floats(4), "sigma": floats(4, 4)}))
    assert "such as a folder of pictures or an array of images" in text
    loaded(pixels())
    loaded(pictures())


@cases(".npy", ".npz")
def test_an_array_file_of_another_kind(suffix: str):
    np.save("one.npy", pixels())
    np.savez("two.npz", images=pixels())
    real = Path("one.npy" if suffix == ".npz" else "two.npz")
    wrong = real.rename(f"x{suffix}")
    right = wrong.rename(f"x{found(r'rename it to (.[a-z]+)', said(lambda: trainer(str(wrong))))}")
    assert trainer(str(right)).spec.shape == (1, 8, 8)


@cases("x.dat", "nowhere.npy", "folder.npy")
def test_what_is_no_array_file(name: str):
    np.save("x.npy", pixels())
    Path("folder.npy").mkdir()
    text = said(lambda: trainer({"name": "array", "path": name}))
    if name == "x.dat":
        kinds = re.findall(r"(\.[a-z]+)", found(r"as one of (.+)\.$", text))
        assert {".npy", ".npz"} <= {*kinds}
    else:
        assert "correct the path of the dataset 'array'" in text
    trainer({"name": "array", "path": "x.npy"})


@cases("pickle", "damaged")
def test_an_array_file_that_cannot_be_read(how: str):
    array = np.array([[1, 2.0]] * 24, object)
    np.save("x.npy", array, allow_pickle=True)
    if how == "damaged":
        np.save("x.npy", array.astype("float32"))
        Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:90])
    text = said(lambda: trainer("x.npy"))
    if how == "pickle":
        way = found(r"plain numbers with (numpy\.save\(.+\))\.$", text)
        eval(way, {"numpy": np, "path": "x.npy", "array": array})
    else:
        assert "write it again" in text
        np.save("x.npy", array.astype("float32"))
    assert trainer("x.npy").spec.shape == (2,)


def test_an_archive_of_arrays_that_cannot_be_read():
    np.savez("x.npz", images=np.array([[1, 2.0]] * 24, object), allow_pickle=True)
    with np.load("x.npz") as archive:
        assert "write it again, with plain numbers" in said(lambda: loaded(archive))
    np.savez("x.npz", images=np.array([[1, 2.0]] * 24, "float32"))
    with np.load("x.npz") as archive:
        assert loaded(archive).spec.shape == (2,)


@cases([0.5, 1.5] * 12, [1.0, 2.0] * 12, [[1, 2]] * 24)
def test_labels_that_are_no_classes(labels: Any):
    settings = {"arch": "labelled", "conditional": True}
    with registered_for_labels():
        text = said(lambda: trainer((pixels(), labels), **settings))
        assert "give one integer or string per sample, or leave conditional off" in text
        trainer((pixels(), labels))
        if way := re.search(r"; (numpy\.asarray\(labels\)\.astype\('int64'\)) makes", text):
            labels = eval(way[1], {"numpy": np, "labels": labels})
        else:
            labels = [str(each) for each in labels]
        assert trainer((pixels(), labels), **settings).spec.classes


def test_an_empty_name():
    text = said(lambda: trainer(""))
    assert "give a name or a path, or leave the dataset out" in text
    for name in found(r"Available: (.+)\.$", text).split(", "):
        datasets.get(name)


@cases("range", "audio")
def test_a_signal_taken_for_an_image(way: str):
    data = 50 * floats(24, 4, 100)
    options = options_in(said(lambda: loaded(data)))
    assert {"stored_range", "sample_kind"} <= {*options}
    if way == "range":
        assert loaded(data, stored_range=options["stored_range"]).spec.kind == "image"
    else:
        assert loaded(data, **options).spec.kind == "audio"
