"""The same data by any way in are the same samples, with the same notices."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset, random_split

import ganzoo
from ganzoo import datasets
from ganzoo.datasets import InMemoryDataset, as_dataset
from ganzoo.datasets.classes import in_order
from ganzoo.datasets.ranges import suggested_range
from ganzoo.datasets.samples import Samples
from ganzoo.datasets.stream import Stream
from ganzoo.errors import ConfigError, DataError, GanzooError
from ganzoo.training.loader import Loader

RNG = np.random.default_rng(0)


def drawn(low: int, high: int, *shape: int, dtype: Any = np.int64) -> np.ndarray:
    """Integers from ``low`` to ``high``, both of which occur."""
    values = np.random.default_rng(1).integers(low, high + 1, shape)
    values.flat[0], values.flat[-1] = low, high
    return values.astype(dtype)


class Items(Dataset):
    """Items that a function makes."""

    def __init__(self, count: int, make: Any, **attributes: Any) -> None:
        self.count, self.make = count, make
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def ways(
    data: np.ndarray, labels: np.ndarray | None, folder: Path, wanted: bool = False, **options: Any
) -> Iterator[tuple[str, Samples | Stream]]:
    """The same data by every way in."""
    arrays = {"images": np.ascontiguousarray(data)}
    if labels is not None:
        arrays["labels"] = np.ascontiguousarray(labels)
    pair = tuple(arrays.values())
    tensors = tuple(map(torch.from_numpy, pair))
    held: dict[str, Any] = {
        "arrays": pair if labels is not None else data,
        "tensors": tensors if labels is not None else tensors[0],
        "dict": arrays,
        "TensorDataset": TensorDataset(*tensors),
        "Dataset of arrays": Items(len(data), lambda i: tuple(each[i] for each in pair)),
        "Dataset of dicts": Items(len(data), lambda i: {k: v[i] for k, v in arrays.items()}),
    }
    for name, value in held.items():
        yield name, InMemoryDataset.of(value, **options).resolved(None, wanted)[1]
        if "Dataset" in name:
            yield f"{name}, workers=0", InMemoryDataset.of(value, **options).resolved(0, wanted)[1]
    np.savez(folder / "x.npz", **arrays)
    save_file(arrays, folder / "x.safetensors")
    files = ["x.npz", "x.safetensors"]
    if labels is None:
        np.save(folder / "x.npy", data)
        files.append("x.npy")
    for name in files:
        yield (
            name,
            datasets.create("array", path=folder / name, **options).resolved(None, wanted)[1],
        )


def seen(samples: Samples | Stream) -> tuple[Any, ...]:
    """What a training sees of samples."""
    if not isinstance(samples, Stream) and samples.labels is None:
        spec = samples.spec.model_copy(update={"classes": None})
        assert spec == samples.spec
    loader = Loader(samples, 4, torch.device("cpu"), seed=3)
    batches = [loader.next() for _ in range(2)]
    return samples.spec, samples.notices, batches


def check_alike(found: Iterator[tuple[str, Samples | Stream]], wanted: bool = False) -> Any:
    """Hold that all ways give the same, and return it."""
    first = None
    for name, samples in found:
        spec, notices, batches = seen(samples)
        if not wanted:
            spec = spec.model_copy(update={"classes": None})
        if first is None:
            first = (spec, notices, batches)
            continue
        assert (spec, notices) == first[:2], name
        for (data, labels), (others, other_labels) in zip(batches, first[2], strict=True):
            assert torch.equal(data, others), name
            if wanted:
                assert torch.equal(labels, other_labels), name
    return first


# -- every way in -----------------------------------------------------------------------------

DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "int32", "int64", "uint32", "float16")
DTYPES = (*DTYPES, "float32", "float64")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.sampled_from(
        [(8, 8), (3, 8, 8), (8, 8, 3), (8, 8, 13), (6, 9, 16), (3, 64), (64,), (5,), (5, 5, 5)]
    ),
    top=st.sampled_from([1, 9, 255, 1000, 4095, 40_000]),
    kind=st.sampled_from(["auto", "auto", "auto", "audio"]),
    said=st.booleans(),
    classes=st.sampled_from([None, [0, 1, 2], [1, 2, 12], [-1, 5], [False, True]]),
    count=st.sampled_from([12, 30]),
    seed=st.integers(0, 99),
)
def test_every_way_in_is_the_same(
    tmp_path_factory, dtype, shape, top, kind, said, classes, count, seed
) -> None:
    source = np.random.default_rng(seed)
    kept = np.dtype(dtype)
    if kept.kind == "f":
        data = source.uniform(-1 if seed % 2 else 0, 1, (count, *shape)).astype(kept)
    else:
        low = -3 if kept.kind == "i" and seed % 3 == 0 else 0
        most = min(top, 1 if kept.kind == "b" else np.iinfo(kept).max)
        data = source.integers(low, most + 1, (count, *shape)).astype(kept)
    labels = None if classes is None else source.choice(classes, count)
    options: dict[str, Any] = {"sample_kind": kind}
    if said:
        options["stored_range"] = (float(data.min()) - 1, float(data.max()) + 1)
    folder = tmp_path_factory.mktemp("data")
    wanted = labels is not None
    try:
        expected = InMemoryDataset.of(data, **options).load()
    except GanzooError as error:
        text = re.sub(r"^.*? (has|holds) ", "", str(error))
        for name in ("tensor", "workers"):
            with pytest.raises(type(error)) as caught:
                if name == "tensor":
                    InMemoryDataset.of(torch.from_numpy(data), **options).load()
                else:
                    InMemoryDataset.of(list_of(data), **options).resolved(0)
            assert re.sub(r"^.*? (has|holds) ", "", str(caught.value)) == text
        return
    spec, notices, _ = check_alike(ways(data, labels, folder, wanted, **options), wanted)
    assert spec.shape == expected.spec.shape
    assert set(expected.notices) <= set(notices)


def list_of(data: np.ndarray) -> Dataset:
    return TensorDataset(torch.from_numpy(data))


@pytest.mark.parametrize(
    ("data", "text"),
    [(np.zeros(5), "samples need at least two axes"), (np.zeros((5, 3, 0)), "it is empty")],
)
def test_what_cannot_be_samples(data, text) -> None:
    for value, workers in ((data, None), (list_of(data), None), (list_of(data), 0)):
        with pytest.raises(DataError, match=text):
            InMemoryDataset.of(value).resolved(workers)


# -- axes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "channels", "place"),
    [
        ((32, 32, 7), 7, "last"),
        ((12, 12, 31), 31, "last"),
        ((7, 32, 32), 7, "first"),
        ((31, 12, 12), 31, "first"),
        ((10, 10, 200), 200, "last"),
        ((200, 10, 10), 200, "first"),
        ((24, 36, 8), 8, "last"),
        ((8, 24, 36), 8, "first"),
        ((36, 24, 9), 9, "last"),
        ((20, 30, 12), 12, "last"),
        ((6, 6, 6), 6, "first"),
        ((9, 10, 8), 9, "first"),
        ((4, 20, 3), 4, "first"),
    ],
)
def test_axes_that_are_guessed(tmp_path, shape, channels, place) -> None:
    data = drawn(0, 255, 12, *shape, dtype=np.uint8)
    spec, notices, _ = check_alike(ways(data, None, tmp_path))
    assert spec.channels == channels
    (notice,) = notices
    assert f"{channels} channels, which come {place}" in notice
    other = {"first": "channels-last", "last": "channels-first"}[place]
    assert f"layout='{other}' (--dataset.layout {other})" in notice
    followed = InMemoryDataset.of(data, layout=other).load()
    assert followed.spec.channels == (shape[-1] if other == "channels-last" else shape[0])
    assert not followed.notices


@pytest.mark.parametrize(
    "shape", [(1, 9, 8), (9, 8, 1), (3, 9, 8), (9, 8, 3), (4, 9, 9), (9, 9, 4), (2, 9, 8), (8, 9)]
)
def test_axes_that_are_plain(tmp_path, shape) -> None:
    assert not check_alike(ways(drawn(0, 255, 12, *shape, dtype=np.uint8), None, tmp_path))[1]


@pytest.mark.parametrize("shape", [(64, 6), (6, 64), (100, 8), (8, 100), (64, 2), (2, 64), (1, 40)])
def test_axes_of_audio(tmp_path, shape) -> None:
    data = np.random.default_rng(0).uniform(-1, 1, (12, *shape)).astype(np.float32)
    spec, notices, _ = check_alike(ways(data, None, tmp_path, sample_kind="audio"))
    assert spec.shape == (min(shape), max(shape))
    assert len(notices) == (min(shape) > 4)


@pytest.mark.parametrize("shape", [(3, 64), (64, 3), (1, 50), (8, 100), (100, 8), (6, 24)])
def test_windows_of_signals_are_not_silently_pictures(tmp_path, shape) -> None:
    data = np.random.default_rng(0).uniform(-1, 1, (12, *shape)).astype(np.float32)
    spec, notices, _ = check_alike(ways(data, None, tmp_path))
    assert spec.kind == "image" and "sample_kind='audio'" in notices[0]
    assert InMemoryDataset.of(data, sample_kind="audio").load().spec.kind == "audio"
    with pytest.raises(DataError, match=r"stored_range=\(-30, 30\).*sample_kind='audio'"):
        InMemoryDataset.of(np.clip(data * 99, -29.7, 29.7)).load()


# -- ranges -----------------------------------------------------------------------------------


def suggested(text: str) -> tuple[float, float]:
    """The last range that a message suggests."""
    found = re.findall(r"stored_range=\(([^,]*), ([^)]*)\)", text)[-1]
    return float(found[0]), float(found[1])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (drawn(0, 1023, 12, 8, 8, dtype=np.uint16), (0, 1023)),
        (drawn(0, 1000, 12, 8, 8, dtype=np.uint16), (0, 1023)),
        (drawn(0, 4000, 12, 8, 8, dtype=np.uint16), (0, 4095)),
        (drawn(5, 16_000, 12, 8, 8, dtype=np.uint16), (0, 16_383)),
        (drawn(0, 2000, 12, 8, 8, dtype=np.uint16), (0, 2047)),
        (drawn(0, 9, 12, 8, 8, dtype=np.uint8), (0, 9)),
        (drawn(0, 1, 12, 8, 8, dtype=np.uint8), (0, 1)),
        (drawn(0, 99, 12, 8, 8, dtype=np.int32), (0, 99)),
        (drawn(0, 1, 12, 8, 8, dtype=np.int64), (0, 1)),
        (drawn(100, 160, 12, 8, 8, dtype=np.uint8), (100, 160)),
        (drawn(0, 127, 12, 8, 8, dtype=np.int8), (0, 127)),
        (drawn(0, 997, 12, 8, 8) / 9999, (0, 0.1)),
        (drawn(-99, 97, 12, 8, 8) / 1000, (-0.1, 0.1)),
        (drawn(20, 70, 12, 8, 8) / 100, (0.2, 0.7)),
        (drawn(-2, 100, 12, 8, 8) / 100, (-0.1, 1)),
    ],
)
def test_a_small_part_of_the_range_is_said(tmp_path, data, expected) -> None:
    _, notices, _ = check_alike(ways(data, None, tmp_path))
    (notice,) = notices
    low, high = suggested(notice)
    assert (low, high) == expected and low <= data.min() and data.max() <= high
    shown = re.search(r"--dataset.stored-range (\S+) (\S+)\)", notice)
    assert shown and (float(shown[1]), float(shown[2])) == expected
    spec, notices, _ = check_alike(ways(data, None, tmp_path, stored_range=(low, high)))
    assert not notices and spec.value_range == (-1, 1)
    levels = len(np.unique(data.astype(np.float32)))
    everything = Loader(
        InMemoryDataset.of(data, stored_range=(low, high)).load(), 12, torch.device("cpu")
    )
    assert len(everything.next()[0].unique()) == levels


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (drawn(-1, 1, 12, 8, 8, dtype=np.int8), (-1, 1)),
        (drawn(0, 4080, 12, 8, 8, dtype=np.int16), (0, 4095)),
        (drawn(-1024, 3060, 12, 8, 8, dtype=np.int16), (-1024, 3071)),
        (drawn(0, 2**20 - 5, 12, 8, 8, dtype=np.uint32), (0, 2**20 - 1)),
        (drawn(-30_000, 30_000, 12, 8, 8, dtype=np.int16), (-32_768, 32_767)),
        (drawn(0, 300, 12, 8, 8), (0, 300)),
        (drawn(-128, 127, 12, 8, 8, dtype=np.int8), (-128, 127)),
        (drawn(-243_963, 267_462, 12, 8, 8) / 1e4, (-25, 27)),
        (drawn(0, 254_999, 12, 8, 8) / 1e3, (0, 255)),
        (drawn(250_013, 309_975, 12, 8, 8) / 1e3, (250, 310)),
        (drawn(0, 40_949, 12, 8, 8) / 1e1, (0, 4095)),
        (np.full((12, 8, 8), 7.5), (6.5, 8.5)),
        (np.full((12, 8, 8), 300), (299, 301)),
    ],
)
def test_a_range_that_nobody_knows_is_asked_for(data, expected) -> None:
    for value in (data, TensorDataset(torch.from_numpy(data))):
        workers = None if value is data else 0
        with pytest.raises(DataError, match=r"InMemoryDataset\.of\(data, stored_range=") as caught:
            InMemoryDataset.of(value).resolved(workers)
        if value is data:
            assert suggested(str(caught.value)) == expected
        InMemoryDataset.of(value, stored_range=suggested(str(caught.value))).resolved(workers)
    np.save("x.npy", data)
    with pytest.raises(DataError, match=r"the option stored_range=.* \(--dataset.stored-range "):
        datasets.create("array", path="x.npy").load()


@pytest.mark.parametrize(
    "data",
    [
        drawn(0, 255, 12, 8, 8, dtype=np.uint8),
        drawn(0, 180, 12, 8, 8, dtype=np.uint8),
        drawn(0, 1, 12, 8, 8, dtype=np.uint8) * 255,
        drawn(0, 1, 12, 8, 8, dtype=bool),
        drawn(0, 65_535, 12, 8, 8, dtype=np.uint16),
        drawn(0, 50_000, 12, 8, 8, dtype=np.uint16),
        drawn(0, 1000, 12, 8, 8) / 1000,
        drawn(0, 800, 12, 8, 8) / 1000,
        drawn(-1000, 1000, 12, 8, 8) / 1000,
        drawn(-700, 700, 12, 8, 8) / 1000,
    ],
)
def test_ordinary_ranges_are_not_talked_about(tmp_path, data) -> None:
    assert not check_alike(ways(data, None, tmp_path))[1]


def test_quiet_audio_is_ordinary() -> None:
    loud = np.random.default_rng(0).uniform(-0.3, 0.3, (12, 1, 64))
    assert not InMemoryDataset.of(loud, sample_kind="audio").load().notices
    (notice,) = InMemoryDataset.of(loud / 10, sample_kind="audio").load().notices
    assert suggested(notice) == (-0.03, 0.03)
    twelve = drawn(-2000, 2000, 12, 1, 64, dtype=np.int16)
    (notice,) = InMemoryDataset.of(twelve, sample_kind="audio").load().notices
    assert suggested(notice) == (-2000, 2000)


def test_large_uint8_files_are_not_read_as_a_whole(monkeypatch) -> None:
    from ganzoo.datasets import conversion

    monkeypatch.setattr(conversion, "_EXCERPT", 10)
    monkeypatch.setattr(conversion, "MOST_LOOKED_AT", 3)
    data = np.zeros((100, 8, 8), np.uint8)
    data[7] = 200  # not among those that are looked at first
    assert not InMemoryDataset.of(data).load().notices
    data[7] = 20
    assert "from 0 to 20" in InMemoryDataset.of(data).load().notices[0]


@pytest.mark.parametrize(
    "data",
    [
        np.arange(300)[:, None] + np.array([1_700_000_000, 0]),
        (np.arange(300) / 300)[:, None] + np.array([1e9, 0.0]),
        np.arange(12 * 64).reshape(12, 8, 8) + 2**40,
        np.arange(12 * 64).reshape(12, 8, 8) / 1e6 + 1e3,
        np.arange(300).reshape(100, 3) + 2**33,
    ],
)
def test_what_float32_cannot_tell_apart_is_refused(data) -> None:
    for value in (data, TensorDataset(torch.from_numpy(data))):
        with pytest.raises(DataError, match="float32, with which nets compute, can tell") as caught:
            InMemoryDataset.of(value).resolved(None if value is data else 0)
    advice = str(caught.value).rpartition("first: data = ")[2].rstrip(".")
    InMemoryDataset.of(eval(advice, {"data": data}).reshape(len(data), -1)).load()


@pytest.mark.parametrize(
    ("low", "high", "kind", "dtype", "expected"),
    [
        (0, 1, "image", "uint8", (0, 1)),
        (3, 250, "image", "int64", (0, 255)),
        (-5, 90, "image", "int64", (-5, 90)),
        (0.0, 0.0, "image", "float32", (-1, 1)),
        (-0.00031, 0.00049, "image", "float64", (-0.00031, 0.00049)),
        (1e300, 2e300, "image", "float64", (1e300, 2e300)),
        (-7.0, 3.0, "audio", "float32", (-7, 7)),
        (-30_000, 100, "audio", "int32", (-32_768, 32_768)),
    ],
)
def test_suggested_ranges(low, high, kind, dtype, expected) -> None:
    assert suggested_range(low, high, kind, np.dtype(dtype)) == expected


# -- rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (drawn(0, 255, 20, 784, dtype=np.uint8), (1, 28, 28)),
        (drawn(0, 255, 20, 1024, dtype=np.uint8), (1, 32, 32)),
        (drawn(0, 255, 20, 3072, dtype=np.uint8), (3, 32, 32)),
        (drawn(0, 255, 20, 784), (1, 28, 28)),
        (drawn(0, 255, 20, 784) / 255, (1, 28, 28)),
        (drawn(0, 255, 20, 784).astype(np.float32), (1, 28, 28)),
        (drawn(0, 16, 20, 64).astype(np.float64), (1, 8, 8)),
        (drawn(0, 4095, 20, 256, dtype=np.uint16), (1, 16, 16)),
        (drawn(0, 1, 20, 100, dtype=np.uint8), (1, 10, 10)),
        (drawn(0, 65_000, 20, 256, dtype=np.int32), (1, 16, 16)),
        (drawn(0, 255, 20, 192, dtype=np.uint8), (3, 8, 8)),
        (drawn(0, 255, 20, 784) / 127.5 - 1, (1, 28, 28)),
        ((drawn(0, 255, 20, 3072) / 127.5 - 1).astype(np.float32), (3, 32, 32)),
        (drawn(0, 255, 20, 560, dtype=np.uint8), (1, 28, 20)),
        (drawn(0, 255, 20, 2914).astype(np.float64), (1, 62, 47)),
        (drawn(0, 255, 20, 10304, dtype=np.uint8), (1, 112, 92)),
    ],
)
def test_rows_that_may_be_pictures(tmp_path, data, shape) -> None:
    spec, notices, _ = check_alike(ways(data, None, tmp_path))
    (notice,) = notices
    assert spec.kind == "vector" and f"item_shape={shape}" in notice
    assert f"--dataset.item-shape {' '.join(map(str, shape))}" in notice
    first = notice.partition("; to scale")[0]
    options: dict[str, Any] = {"item_shape": shape}
    if "stored_range" in first:
        options["stored_range"] = suggested(first)
    spec, notices, _ = check_alike(ways(data, None, tmp_path, **options))
    assert spec.kind == "image" and spec.shape == shape and not notices
    if data.min() < 0:  # they are scaled
        assert "to scale" not in notice
        return
    scaled = InMemoryDataset.of(data, stored_range=suggested(notice)).load()
    assert scaled.spec.value_range == (-1, 1) and not scaled.notices


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize(
    ("top", "shape"), [(255, (1, 28, 28)), (255, (3, 32, 32)), (16, (1, 8, 8))]
)
@pytest.mark.parametrize("last", [False, True])
def test_rows_of_a_label_and_a_picture(tmp_path, dtype, top, shape, last) -> None:
    pictures = drawn(0, top, 20, int(np.prod(shape)), dtype=dtype)
    labels = (np.arange(20) % 10).astype(dtype)[:, None]
    data = np.concatenate([pictures, labels] if last else [labels, pictures], 1)
    _, notices, _ = check_alike(ways(data, None, tmp_path))
    (notice,) = notices
    advice = re.search("data = (.*?), or with (.*) and (.*) where", notice)
    assert advice
    text = advice[1]
    if last:
        text = text.replace("data[:, 1:]", advice[2]).replace("data[:, 0]", advice[3])
    for each in (data, torch.from_numpy(data)):
        given = eval(text, {"data": each, "numpy": np})
        bounds = None if dtype is np.uint8 and top == 255 else (0, top)
        found = InMemoryDataset.of(given, stored_range=bounds).load()
        assert found.spec.shape == shape and found.spec.classes == tuple(map(str, range(10)))
        assert np.array_equal(found.data.numpy().reshape(20, -1), pictures)


def test_long_rows_of_both_signs_may_be_audio(tmp_path) -> None:
    data = np.random.default_rng(0).uniform(-0.7, 0.7, (12, 5000)).astype(np.float32)
    (notice,) = check_alike(ways(data, None, tmp_path))[1]
    assert "sample_kind='audio' (--dataset.sample-kind audio)" in notice
    assert not check_alike(ways(data, None, tmp_path, sample_kind="audio"))[1]


@pytest.mark.parametrize(
    "shape",
    [
        (28, 28, 60),
        (64, 64, 200),
        (32, 32, 3, 50),
        (16, 24, 1, 50),
        (24, 16, 4, 200),
        (8, 8, 9),
        (48, 64, 1000),
        (20, 28, 300),
        (9, 7, 3, 40),
        (28, 28, 10),
    ],
)
def test_samples_that_the_last_axis_counts(tmp_path, shape) -> None:
    data = drawn(0, 255, *shape, dtype=np.uint8)
    found = check_alike(ways(data, None, tmp_path))[1]
    (notice,) = (each for each in found if "The first axis counts the samples" in each)
    advice = re.search(r"data = (.*)\.$", notice)
    assert advice
    for each in (data, torch.from_numpy(data)):
        turned = eval(advice[1], {"data": each, "numpy": np})
        assert len(turned) == shape[-1]
        samples = InMemoryDataset.of(turned).load()
        assert not samples.notices and samples.spec.shape[1:] == shape[:2]


@pytest.mark.parametrize(
    "shape",
    [(60, 28, 28), (28, 28, 28), (50, 32, 32, 3), (50, 3, 32, 32), (64, 64, 64, 3), (30, 80, 100)],
)
def test_samples_that_the_first_axis_counts(tmp_path, shape) -> None:
    assert not check_alike(ways(drawn(0, 255, *shape, dtype=np.uint8), None, tmp_path))[1]


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
@pytest.mark.parametrize("width", [100, 1000])
def test_rows_that_may_be_audio(tmp_path, dtype, width) -> None:
    data = drawn(-20_000, 20_000, 12, width, dtype=dtype)
    _, notices, _ = check_alike(ways(data, None, tmp_path))
    (notice,) = notices
    assert "sample_kind='audio'" in notice
    options: dict[str, Any] = {"sample_kind": "audio"}
    first = notice.partition("; to scale")[0]
    if "stored_range" in first:
        options["stored_range"] = suggested(first)
    found = InMemoryDataset.of(data, **options).load()
    assert found.spec.kind == "audio" and found.spec.value_range == (-1, 1)


@pytest.mark.parametrize(
    "scales",
    [[1, 100], [0.01, 1], [40, 47_000, 0.4], [1, 1, 1, 1e4], [1e-3, 1e-3, 1], [5, 0, 5000]],
)
def test_columns_of_unlike_scales(tmp_path, scales) -> None:
    data = np.random.default_rng(0).normal(0, 1, (200, len(scales))) * scales
    _, notices, _ = check_alike(ways(data, None, tmp_path))
    (notice,) = notices
    assert "columns differ in scale" in notice
    advice = re.search(r"data = (.*)\.$", notice)
    assert advice
    assert not InMemoryDataset.of(eval(advice[1], {"data": data})).load().notices


@pytest.mark.parametrize(
    "data",
    [
        np.random.default_rng(0).normal(0, 1, (50, 6)),
        np.random.default_rng(0).uniform(-20, 20, (50, 2)),
        np.random.default_rng(0).normal(0, 0.05, (50, 1024)),
        drawn(0, 1, 50, 10),
        drawn(0, 9, 50, 6),
        np.random.default_rng(0).normal(5, 2, (50, 3)),
    ],
)
def test_ordinary_rows_are_not_talked_about(tmp_path, data) -> None:
    assert not check_alike(ways(data, None, tmp_path))[1]


@pytest.mark.parametrize(
    "data",
    [
        drawn(0, 255, 12, 777, dtype=np.uint8),
        np.random.default_rng(0).normal(1e4, 1, (50, 6)),
        np.random.default_rng(0).normal(0, 500, (50, 6)),
        np.random.default_rng(0).normal(0, 1e-3, (50, 6)),
    ],
)
def test_rows_far_from_a_scale_of_one(tmp_path, data) -> None:
    (notice,) = check_alike(ways(data, None, tmp_path))[1]
    assert "far from the scale of 1" in notice
    scaled = InMemoryDataset.of(data, stored_range=suggested(notice)).load()
    assert not scaled.notices and scaled.spec.value_range == (-1, 1)
    advice = re.search(r"data = (.*?); or", notice)
    assert advice
    assert not InMemoryDataset.of(eval(advice[1], {"data": data})).load().notices


@pytest.mark.parametrize("shape", [(5, 5), (2, 28, 28), (784, 2)])
def test_an_item_shape_that_does_not_fit(shape) -> None:
    data = drawn(0, 255, 8, 784, dtype=np.uint8)
    for value, workers in ((data, None), (list_of(data), 0)):
        with pytest.raises(ConfigError, match="samples of 784 values .* correct item_shape"):
            InMemoryDataset.of(value, item_shape=shape).resolved(workers)


@pytest.mark.parametrize("layout", ["channels-first", "channels-last"])
@pytest.mark.parametrize("shape", [(8, 8), (5,)])
def test_a_layout_of_what_has_no_channels_is_refused(shape, layout) -> None:
    data = drawn(0, 255, 12, *shape, dtype=np.uint8)
    for value, workers in ((data, None), (list_of(data), 0)):
        with pytest.raises(ConfigError, match="no axis is that of channels.*leave it out"):
            InMemoryDataset.of(value, layout=layout).resolved(workers)


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(24) % 4.0,
        (np.arange(24) % 4).astype(np.float16),
        torch.arange(24).float() % 4,
        (torch.arange(24) % 4).bfloat16(),
        (np.arange(24) % 4.0).tolist(),
        np.arange(24)[:, None] % 4.0,
    ],
)
def test_whole_floats_become_classes_as_the_message_says(labels) -> None:
    data = drawn(0, 255, 24, 1, 8, 8, dtype=np.uint8)
    (notice,) = InMemoryDataset.of((data, labels)).load().notices
    advice = re.search(r"; (numpy.*\('int64'\)) makes classes", notice)
    assert advice
    if getattr(labels, "dtype", None) is torch.bfloat16:
        labels = labels.float()  # numpy has no bfloat16
    given = eval(advice[1], {"labels": labels, "numpy": np})
    assert InMemoryDataset.of((data, given)).load().spec.classes == ("0", "1", "2", "3")


# -- classes of torch Datasets ----------------------------------------------------------------

PICTURES = drawn(0, 255, 24, 1, 8, 8, dtype=np.uint8)
NUMBERS = np.arange(24) % 4


def labelled(numbers: Any = NUMBERS, **attributes: Any) -> Items:
    return Items(24, lambda i: (PICTURES[i], numbers[i]), **attributes)


NAMES = ["ant", "bee", "cat", "dog"]


def words(numbers: Any) -> list[str]:
    return [NAMES[number] for number in numbers]


def transformed(transform: Any) -> Items:
    """As torchvision's datasets are, whose names and targets are those before the transform."""
    dataset = labelled(classes=NAMES, targets=NUMBERS, target_transform=transform)
    dataset.make = lambda i: (PICTURES[i], transform(int(NUMBERS[i])))
    return dataset


TENS = {name: 10 * number for number, name in enumerate(NAMES)}
BACK = {name: 3 - number for number, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    ("dataset", "classes", "numbers"),
    [
        (labelled(classes=NAMES), NAMES, {0, 1, 2, 3}),
        (labelled(classes=tuple(NAMES)), NAMES, {0, 1, 2, 3}),
        (labelled(classes=np.array(NAMES)), NAMES, {0, 1, 2, 3}),
        (labelled(classes=[(each, "x") for each in NAMES]), [f"{each}, x" for each in NAMES], None),
        (labelled(classes=["10", "2", "33", "1"]), ["10", "2", "33", "1"], {0, 1, 2, 3}),
        (labelled(class_to_idx=dict(zip(NAMES, (2, 0, 3, 1), strict=True))), None, {0, 1, 2, 3}),
        (labelled(NUMBERS * 10 + 10, targets=NUMBERS * 10 + 10), ["10", "20", "30", "40"], None),
        (labelled(NUMBERS.tolist(), labels=NUMBERS.tolist()), ["0", "1", "2", "3"], None),
        (labelled(words(NUMBERS), classes=[*NAMES, "eel"]), [*NAMES, "eel"], {0, 1, 2, 3}),
        (labelled([str(each + 8) for each in NUMBERS]), ["8", "9", "10", "11"], {0, 1, 2, 3}),
        (labelled(words(NUMBERS)), NAMES, {0, 1, 2, 3}),
        (Subset(labelled(classes=NAMES), [1, 3, 5, 7, 9, 11, 13, 15]), NAMES, {1, 3}),
        (Subset(Subset(labelled(classes=NAMES), range(1, 24)), range(0, 23, 4)), NAMES, {1}),
        (Subset(labelled(targets=NUMBERS), range(2, 24, 4)), ["0", "1", "2", "3"], {2}),
        (random_split(labelled(classes=NAMES), [12, 12])[0], NAMES, None),
        (ConcatDataset([labelled(classes=NAMES), labelled(classes=NAMES)]), NAMES, None),
        (ConcatDataset([Subset(labelled(classes=NAMES), [1] * 5)] * 2), NAMES, {1}),
        (ConcatDataset([labelled(targets=NUMBERS)] * 2), ["0", "1", "2", "3"], None),
        (
            TensorDataset(torch.from_numpy(PICTURES), torch.arange(24) % 3 + 1),
            ["1", "2", "3"],
            None,
        ),
        (labelled(np.eye(4)[NUMBERS]), ["0", "1", "2", "3"], {0, 1, 2, 3}),
        (labelled(np.eye(4, dtype=int)[NUMBERS], classes=NAMES), NAMES, {0, 1, 2, 3}),
        (labelled(NUMBERS[:, None], classes=NAMES), NAMES, {0, 1, 2, 3}),
        (labelled(classes=4), ["0", "1", "2", "3"], {0, 1, 2, 3}),
        (labelled(classes=dict(enumerate(NAMES))), NAMES, {0, 1, 2, 3}),
        (labelled(idx_to_class=dict(enumerate([*NAMES, "eel"]))), [*NAMES, "eel"], {0, 1, 2, 3}),
        (labelled(NUMBERS * 2 + 3, classes=[3, 5, 7, 9]), ["3", "5", "7", "9"], {0, 1, 2, 3}),
        (labelled(NUMBERS, classes=[13, 15, 17, 19]), ["13", "15", "17", "19"], {0, 1, 2, 3}),
        (labelled(NUMBERS + 1, classes=np.arange(1, 5)), ["1", "2", "3", "4"], {0, 1, 2, 3}),
        (labelled(NUMBERS * 10, classes=NAMES, class_to_idx=TENS), NAMES, {0, 1, 2, 3}),
        (labelled(classes=NAMES, class_to_idx=BACK), NAMES[::-1], {0, 1, 2, 3}),
        (
            labelled(classes=[("ant", "x"), "bee", "cat", "dog"], class_to_idx={"ant": 0, "x": 0}),
            ["ant, x", *NAMES[1:]],
            {0, 1, 2, 3},
        ),
        (labelled([each.encode() for each in words(NUMBERS)]), NAMES, {0, 1, 2, 3}),
        (labelled([np.bytes_(each) for each in words(NUMBERS)]), NAMES, {0, 1, 2, 3}),
        (transformed(lambda label: label), NAMES, {0, 1, 2, 3}),
        (transformed(torch.tensor), NAMES, {0, 1, 2, 3}),
        (transformed(lambda label: np.eye(4)[label]), NAMES, {0, 1, 2, 3}),
        (transformed(lambda label: label % 2), ["0", "1"], {0, 1}),
        (transformed(lambda label: label + 10), ["10", "11", "12", "13"], {0, 1, 2, 3}),
        (transformed(lambda label: 3 - label), ["0", "1", "2", "3"], {0, 1, 2, 3}),
        (transformed(lambda label: NAMES[label].upper()), [n.upper() for n in NAMES], None),
        (Subset(transformed(lambda label: label // 2), range(24)), ["0", "1"], {0, 1}),
    ],
)
def test_classes_are_those_of_the_data(dataset, classes, numbers) -> None:
    _, held = InMemoryDataset.of(dataset).resolved(None, labels=True)
    _, stream = InMemoryDataset.of(dataset).resolved(0, labels=True)
    first, second = seen(held), seen(stream)
    assert first[:2] == second[:2]
    if classes is not None:
        assert held.spec.classes == tuple(classes)
    for one, other in zip(first[2], second[2], strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    if numbers is not None:
        assert set(held.labels.tolist()) == numbers


def test_class_to_idx_is_kept() -> None:
    numbers = dict(zip(NAMES, (2, 0, 3, 1), strict=True))
    for workers in (None, 0):
        _, samples = InMemoryDataset.of(labelled(class_to_idx=numbers)).resolved(
            workers, labels=True
        )
        assert samples.spec.classes == ("bee", "dog", "ant", "cat")


def test_parts_of_different_classes() -> None:
    joined = ConcatDataset([labelled(classes=NAMES), labelled(classes=NAMES[::-1])])
    for workers in (None, 0):
        with pytest.raises(DataError, match="different classes.*give all parts the same classes"):
            InMemoryDataset.of(joined).resolved(workers, labels=True)
    assert not InMemoryDataset.of(joined).resolved(0)[1].notices
    assert InMemoryDataset.of(joined).load().labels is None
    joined.classes = NAMES  # as the message says
    assert InMemoryDataset.of(joined).resolved(0, labels=True)[1].spec.classes == tuple(NAMES)
    assert InMemoryDataset.of(joined).resolved(None, labels=True)[1].spec.classes == tuple(NAMES)


def test_tables_of_the_package_datasets() -> None:
    hf = pytest.importorskip("datasets")
    from PIL import Image

    columns = {
        "picture": [Image.fromarray(each[0]) for each in PICTURES],
        "kind": NUMBERS.tolist(),
        "other": NUMBERS.tolist(),
    }
    features = {"picture": hf.Image(), "kind": hf.ClassLabel(names=[*NAMES, "eel"])}
    table = hf.Dataset.from_dict(columns, hf.Features({**features, "other": hf.Value("int64")}))
    plain = hf.Dataset.from_dict(
        {"image": [each.tolist() for each in PICTURES], "label": (NUMBERS + 1).tolist()}
    )
    for workers, form in itertools.product((None, 0), (table, table.select(range(8, 24)))):
        _, samples = InMemoryDataset.of(form).resolved(workers, labels=True)
        assert samples.spec.classes == (*NAMES, "eel") and not samples.notices
    for workers in (None, 0):
        _, samples = InMemoryDataset.of(table, labels_key="other").resolved(workers, labels=True)
        assert samples.spec.classes == ("0", "1", "2", "3")
        hot = plain.map(lambda row: {"label": [int(row["label"] == k) for k in range(1, 5)]})
        assert InMemoryDataset.of(hot).resolved(workers, True)[1].spec.classes == (
            "0",
            "1",
            "2",
            "3",
        )
        _, samples = InMemoryDataset.of(plain).resolved(workers, labels=True)
        assert samples.spec.classes == ("1", "2", "3", "4") and samples.spec.shape == (1, 8, 8)
    assert InMemoryDataset.of(plain.to_iterable_dataset()).load().spec.classes == (
        "1",
        "2",
        "3",
        "4",
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["02", "1", "2"], ["1", "02", "2"]),
        (["b", "a", "10"], ["10", "a", "b"]),
        ([10, -1, 2], [-1, 2, 10]),
        (["2.5", "10"], ["10", "2.5"]),
        ([], []),
        (["x"], ["x"]),
        (["0012", "0003"], ["0003", "0012"]),
        (["class10", "class2"], ["class10", "class2"]),
        ([True, False], [False, True]),
    ],
)
def test_the_order_of_names(values, expected) -> None:
    assert in_order(values) == expected


# -- targets that are no class ----------------------------------------------------------------

LABELS = {
    "attributes": np.tile([[0, 1, 1]], (24, 1)),
    "ages": np.arange(24) + 0.5,
    "floats that are whole": NUMBERS.astype(np.float64),
    "boxes": [{"boxes": torch.zeros(2, 4)}] * 24,
    "pairs": [(torch.zeros(40), 3)] * 24,
    "images": PICTURES,
    "keypoints": np.zeros((24, 5, 2), np.float32),
    "mixed": [0, "a"] * 12,
    "some without": [0, None] * 12,
    "lists": [[0.5, 1.5]] * 24,
    "a large embedding": np.zeros((24, 5000), np.float32),
    "ragged": [np.zeros(1 + i % 2 + 1, np.int64) for i in range(24)],
    "soft": np.full((24, 4), 0.25),
    "huge": [2**70 + i for i in range(24)],
    "complex": (NUMBERS * 1j),
    "objects": [object()] * 24,
}


@pytest.mark.parametrize("kind", LABELS)
def test_what_is_no_class_is_left_out(kind) -> None:
    dataset = labelled(LABELS[kind])
    notices = set()
    for workers in (None, 0):
        _, samples = InMemoryDataset.of(dataset).resolved(workers, labels=False)
        assert not samples.labeled
        (notice,) = samples.notices
        notices.add(notice)
        with pytest.raises(DataError, match="labels that are not classes .*leave conditional off"):
            InMemoryDataset.of(dataset).resolved(workers, labels=True)
    assert len(notices) == 1 and "The labels are not classes" in notices.pop()
    assert InMemoryDataset.of(dataset).load().labels is None
    ganzoo.Trainer("mlp", dataset, steps=1, batch_size=8, progress=False).setup()


@pytest.mark.parametrize("kind", ["attributes", "ages", "images", "keypoints", "soft", "complex"])
def test_arrays_of_labels_that_are_no_classes(kind) -> None:
    _, samples = InMemoryDataset.of((PICTURES, LABELS[kind])).resolved()
    _, other = InMemoryDataset.of(labelled(LABELS[kind])).resolved()
    assert samples.notices == other.notices and not samples.labeled


@pytest.mark.parametrize(
    ("item", "more"),
    [
        (lambda i: (PICTURES[i], i % 3, i), 1),
        (lambda i: (PICTURES[i], i % 3, i, "path"), 2),
        (lambda i: [PICTURES[i], i % 3, {"id": i}], 1),
        (lambda i: (PICTURES[i], "ab"[i % 2], None), 1),
    ],
)
def test_more_parts_than_two(item, more) -> None:
    for workers in (None, 0):
        _, samples = InMemoryDataset.of(Items(24, item)).resolved(workers, labels=True)
        (notice,) = samples.notices
        assert f"{more} more" in notice and samples.labeled
    arrays = tuple(np.stack([np.array(item(i)[part]) for i in range(24)]) for part in (0, 1))
    assert InMemoryDataset.of((*arrays, *[np.arange(24)] * more)).load().notices == samples.notices


def test_a_stream_that_is_judged_by_some_of_its_items(monkeypatch) -> None:
    from ganzoo.datasets import stream

    monkeypatch.setattr(stream, "MOST_LOOKED_AT", 5)
    _, samples = InMemoryDataset.of(labelled()).resolved(0)
    assert samples.notices == ("What the data are was judged from 5 of 24 samples, evenly spaced.",)


# -- mappings and other forms -----------------------------------------------------------------


def generate() -> Iterator[np.ndarray]:
    yield from PICTURES


def frames() -> dict[str, Any]:
    """Objects that hold data in another form."""
    records = np.zeros(5, dtype=[("a", "f4"), ("b", "f4")])
    boxed = np.empty(3, object)
    boxed[:] = list(PICTURES[:3])
    loader = torch.utils.data.DataLoader(TensorDataset(torch.from_numpy(PICTURES)))
    dataset = TensorDataset(torch.from_numpy(PICTURES))
    return {
        "list of arrays": list(PICTURES),
        "list of tensors": list(torch.from_numpy(PICTURES)),
        "nested lists": PICTURES.tolist(),
        "list and labels": (list(PICTURES), NUMBERS),
        "tuple of one": (PICTURES,),
        "loader": loader,
        "splits": {"train": dataset, "val": dataset},
        "splits of loaders": {"test": loader, "train": loader},
        "odd splits": {"mine": dataset, "yours": dataset},
        "generator function": generate,
        "generator": generate(),
        "sparse": torch.eye(8).to_sparse(),
        "records": records,
        "objects": boxed,
        "numbers as objects": np.array([[1, 2], [3, 4]], object),
        "masked": np.ma.masked_equal(PICTURES, 3),
        "complex": PICTURES.astype(complex) / 255,
        "complex tensor": torch.zeros(4, 3, dtype=torch.complex64),
        "dates": np.arange(8).reshape(4, 2).astype("M8[s]"),
        "lists by name": {"images": PICTURES.tolist(), "labels": NUMBERS.tolist()},
    }


@pytest.mark.parametrize("form", frames())
def test_advice_is_followed(form) -> None:
    value = frames()[form]
    with pytest.raises(GanzooError) as caught:
        InMemoryDataset.of(as_dataset(value) if isinstance(value, dict) else value).load()
    text = str(caught.value)
    assert "\n" not in text
    known = {"data": value, "numpy": np, "torch": torch}
    code = re.search(r"(\{key.*\})\.$", text) or re.match(
        r".*(?:: |give |such as )((?:numpy|torch|data).*?)(?:, with labels.*)?\.$", text
    )
    assert code, text
    followed = eval(code[1], known)
    if form == "list and labels":
        followed = (followed, value[1])
    assert len(InMemoryDataset.of(followed).load().data) > 1


def test_pictures_and_tables() -> None:
    from PIL import Image

    pictures = [Image.fromarray(each[0]) for each in PICTURES]
    with pytest.raises(ConfigError, match=r"numpy.stack\(\[numpy.asarray\(each\)") as caught:
        InMemoryDataset.of(pictures)
    code = str(caught.value).rpartition("one array: ")[2].rstrip(".")
    assert len(InMemoryDataset.of(eval(code, {"numpy": np, "data": pictures})).load()) == 24
    with pytest.raises(ConfigError, match="a folder of them, or an array"):
        InMemoryDataset.of(pictures[0])
    pandas = pytest.importorskip("pandas")
    for table in (
        pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3, 4, 6]}),
        pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]}),
    ):
        with pytest.raises(ConfigError, match=r'to_numpy\("float32"\)') as caught:
            InMemoryDataset.of(table)
        code = str(caught.value).rpartition("its numbers: ")[2].rstrip(".")
        assert len(InMemoryDataset.of(eval(code, {"pandas": pandas, "data": table})).load()) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "got dict. It is empty"),
        ([], "got list. It is empty"),
        ((), "got tuple. It is empty"),
        ("", "The name of a dataset is empty"),
        ({"train": "a", "test": "b"}, r"mapping of splits: .* data\['train'\]"),
        ({"validation": [1, 2]}, r"mapping of splits: .* data\['validation'\]"),
        ({"path": "nowhere"}, "There is no such file 'nowhere'"),
        ([np.zeros(3), np.zeros(4)], "Bring its arrays to one shape"),
        (memoryview(b"abc"), r"shape \(3,\): samples need at least two axes"),
        (torch.zeros(3, 4, device="meta"), "has no content on the device 'meta'"),
        (np.arange(3.0), r"data.reshape\(-1, 1\)"),
    ],
)
def test_what_is_no_dataset(value, text) -> None:
    for use in (
        lambda: ganzoo.Trainer("mlp", value, steps=1, progress=False).setup(),
        lambda: datasets.create(as_dataset(value)).load(),
    ):
        with pytest.raises(GanzooError, match=text):
            use()


def test_a_mapping_with_a_path_and_no_name_is_what_lies_there(tmp_path) -> None:
    np.save(tmp_path / "x.npy", PICTURES)
    options = {"path": str(tmp_path / "x.npy"), "stored_range": [0, 255]}
    config = ganzoo.Trainer("mlp", options, steps=1, batch_size=8, progress=False).config
    assert config.dataset.name == "array" and config.dataset.stored_range == (0, 255)
    assert as_dataset({"path": str(tmp_path)}) == {"name": "folder", "path": str(tmp_path)}
    assert as_dataset({"repo": "a/b"}) == {"name": "huggingface", "repo": "a/b"}
    # Upon a dataset that has a path it is another path.
    lower = datasets.create("array", path="y.npy")
    assert as_dataset({"path": "z.npy"}, lower) == {"path": "z.npy"}


def test_a_memoryview_is_an_array() -> None:
    assert torch.equal(
        InMemoryDataset.of(memoryview(PICTURES)).load().data, torch.from_numpy(PICTURES)
    )


# -- names of arrays --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("images_test", "images_train", "labels_test", "labels_train"),
        ("a", "b", "c", "d"),
        ("train/images", "train/labels", "val/images", "val/labels"),
        ("X", "Y", "Xt", "Yt"),
    ],
)
def test_keys_that_a_message_names_work_everywhere(tmp_path, names) -> None:
    arrays = {name: PICTURES if i % 2 == 0 else NUMBERS for i, name in enumerate(sorted(names))}
    arrays = {n: NUMBERS if re.search("label|y|Y|b|d", n) else PICTURES for n in names}
    save_file(arrays, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", **{name.replace("/", "."): each for name, each in arrays.items()})
    for value in (
        arrays,
        {name: torch.from_numpy(each) for name, each in arrays.items()},
        np.load(tmp_path / "x.npz"),
        tmp_path / "x.npz",
        tmp_path / "x.safetensors",
    ):

        def made(value: Any = value, **options: Any) -> Samples:
            if isinstance(value, Path):
                return datasets.create("array", path=value, **options).load()
            return InMemoryDataset.of(value, **options).load()

        with pytest.raises(ConfigError, match="It is not clear which array") as caught:
            made()
        options = dict(re.findall(r"(key|labels_key)='([^']*)'", str(caught.value)))
        flags = dict(re.findall(r"--dataset.(key|labels-key) ([^)]*)\)", str(caught.value)))
        assert list(options.values()) == list(flags.values()) and "key" in options
        samples = made(**options)
        assert len(samples) == 24
        assert samples.labeled is ("labels_key" in options)


@pytest.mark.parametrize(
    "value", [PICTURES, (PICTURES, NUMBERS), torch.from_numpy(PICTURES), labelled()]
)
@pytest.mark.parametrize("option", ["key", "labels_key"])
def test_keys_of_what_has_no_names_are_refused(value, option) -> None:
    with pytest.raises(ConfigError, match="leave them out"):
        InMemoryDataset.of(value, **{option: "images"}).load()


def test_keys_of_items() -> None:
    both = Items(24, lambda i: {"left": PICTURES[i], "right": PICTURES[-i], "side": i % 2})
    with pytest.raises(DataError, match="key and labels_key of .*InMemoryDataset.of say which"):
        InMemoryDataset.of(both).load()
    for workers in (None, 0):
        chosen = InMemoryDataset.of(both, key="right", labels_key="side")
        _, samples = chosen.resolved(workers, labels=True)
        assert samples.spec.classes == ("0", "1")
        with pytest.raises(ConfigError, match="has no array 'rigth'. Did you mean 'right'"):
            InMemoryDataset.of(both, key="rigth").resolved(workers)


@pytest.mark.parametrize(
    "names",
    [
        ("mu", "sigma"),
        ("mean", "cov"),
        ("fid.mu", "fid.sigma"),
        ("mu", "sigma", "mu_s", "sigma_s"),
        ("features/mean", "features/cov"),
    ],
)
def test_statistics_are_named_as_such(tmp_path, names) -> None:
    arrays = {n: np.eye(4) if "s" in n[-6:] or "cov" in n else np.zeros(4) for n in names}
    save_file(arrays, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", **{name.replace("/", "."): each for name, each in arrays.items()})
    images = drawn(0, 255, 24, 8, 8, dtype=np.uint8)
    text = "holds statistics of features .*, as programs for FID keep them, and no samples; give"
    for value in (tmp_path / "x.npz", tmp_path / "x.safetensors", arrays):
        with pytest.raises(DataError, match=text):
            datasets.create(as_dataset(value)).load()
        with pytest.raises(DataError, match=text):
            ganzoo.evaluate(images, value, "swd")


def test_a_batch_with_its_statistics_is_the_batch(tmp_path) -> None:
    images = drawn(0, 255, 24, 8, 8, 3, dtype=np.uint8)
    np.savez(tmp_path / "x.npz", arr_0=images, mu=np.zeros(4), sigma=np.eye(4))
    samples = datasets.create(as_dataset(tmp_path / "x.npz")).load()
    assert samples.spec.shape == (3, 8, 8) and len(samples) == 24


@pytest.mark.parametrize("suffix", ["pkl", "pt", "pickle", "csv", "wav"])
def test_files_of_other_kinds_name_a_way_on(tmp_path, suffix) -> None:
    (tmp_path / f"x.{suffix}").touch()
    with pytest.raises(DataError, match=r"numpy\.save|to_numpy"):
        as_dataset(tmp_path / f"x.{suffix}")


# -- what it is called ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "called"),
    [
        (PICTURES, "array"),
        (torch.from_numpy(PICTURES), "tensor"),
        ({"x": PICTURES}, "array"),
        (labelled(), "Items"),
        (TensorDataset(torch.from_numpy(PICTURES)), "TensorDataset"),
        (Subset(labelled(), range(20)), "Subset"),
    ],
)
def test_data_are_called_what_they_are(value, called, capsys) -> None:
    trainer = ganzoo.Trainer("mlp", value, steps=1, batch_size=8)
    run = trainer.fit()
    assert run.path.name == f"mlp-{called}-1"
    told = capsys.readouterr().err
    assert f"mlp on {called} (" in told and "in-memory" not in told.split("\n")[0]
    assert run.config.dataset.name == "in-memory"  # in files it is one name
