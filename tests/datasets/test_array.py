from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from ganzoo import datasets
from ganzoo.datasets import conversion
from ganzoo.datasets.keys import pick_keys
from ganzoo.datasets.samples import as_samples
from ganzoo.errors import ConfigError, DataError


def uint8(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def unit(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


# -- shapes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((5, 8, 9), "auto", (1, 8, 9)),
        ((5, 3, 8, 9), "auto", (3, 8, 9)),
        ((5, 8, 9, 3), "auto", (3, 8, 9)),
        ((5, 1, 8, 9), "auto", (1, 8, 9)),
        ((5, 8, 9, 4), "auto", (4, 8, 9)),
        ((5, 13, 8, 9), "auto", (13, 8, 9)),  # neither axis is short
        ((5, 3, 8, 2), "auto", (3, 8, 2)),  # both are
        ((5, 13, 8, 9), "channels-last", (9, 13, 8)),
        ((5, 8, 9, 3), "channels-first", (8, 9, 3)),
    ],
)
def test_shapes_of_images(shape, layout, expected) -> None:
    data = uint8(*shape)
    samples = as_samples(data, layout=layout)
    assert samples.spec.kind == "image"
    assert samples.spec.shape == expected
    moved = samples.data.numpy()
    if moved.shape != shape:
        moved = moved[:, 0] if len(shape) == 3 else np.moveaxis(moved, 1, -1)
    assert np.array_equal(moved, data)
    assert samples.data.is_contiguous()


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((5, 64), "auto", (1, 64)),
        ((5, 2, 64), "auto", (2, 64)),
        ((5, 64, 2), "auto", (2, 64)),
        ((5, 64, 9), "channels-last", (9, 64)),
    ],
)
def test_shapes_of_audio(shape, layout, expected) -> None:
    samples = as_samples(unit(*shape) * 2 - 1, kind="audio", layout=layout)
    assert samples.spec.kind == "audio" and samples.spec.shape == expected
    assert samples.stored_range == (-1.0, 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8, bool])
def test_vectors_are_taken_as_they_are(dtype) -> None:
    data = (unit(6, 2) * 100).astype(dtype)
    samples = as_samples(data)
    assert samples.spec.kind == "vector" and samples.spec.shape == (2,)
    assert samples.spec.value_range is None and samples.stored_range is None
    assert samples.data.dtype == torch.float32
    assert np.allclose(samples.data.numpy(), data)


def test_vectors_with_a_range_are_bounded() -> None:
    samples = as_samples(unit(6, 2) * 9, stored_range=(0, 9))
    assert samples.stored_range == (0, 9) and samples.spec.value_range == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("shape", "kind", "text"),
    [
        ((), "auto", r"shape \(\): samples need at least two axes"),
        ((5,), "auto", r"shape \(5,\): samples need at least two axes"),
        ((0, 3, 8, 8), "auto", r"shape \(0, 3, 8, 8\): it is empty"),
        ((5, 0, 8), "auto", "it is empty; give at least one sample"),
        ((5, 1, 3, 8, 8), "auto", r"kind 'image'; reshape it to \(N, H, W\) or \(N, C, H, W\)"),
        ((5, 8), "image", r"kind 'image'; reshape it to"),
        ((5, 8, 8), "vector", r"kind 'vector'; reshape it to \(N, D\)"),
        ((5, 1, 8, 8), "audio", r"kind 'audio'; reshape it to \(N, L\) or \(N, C, L\)"),
    ],
)
def test_shapes_that_are_refused(shape, kind, text) -> None:
    with pytest.raises(DataError, match=f"^The array has .*{text}"):
        as_samples(np.zeros(shape, np.uint8), kind=kind)


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype", "held"),
    [
        (uint8(3, 4, 4), torch.uint8, (0, 255)),
        (uint8(3, 4, 4) > 9, torch.uint8, (0, 1)),
        (uint8(3, 4, 4).astype(np.uint16) * 257, torch.float32, (0, 65535)),
        (uint8(3, 4, 4).astype(np.int64), torch.uint8, (0, 255)),
        (uint8(3, 4, 4).astype(np.int8) % 2, torch.uint8, (0, 255)),
        (unit(3, 4, 4), torch.float32, (0, 1)),
        (unit(3, 4, 4).astype(np.float64), torch.float32, (0, 1)),
        (unit(3, 4, 4).astype(np.float16), torch.float32, (0, 1)),
        (unit(3, 4, 4).astype(">f4"), torch.float32, (0, 1)),
        (unit(3, 4, 4) * 2 - 1, torch.float32, (-1, 1)),
        (unit(3, 4, 4) * np.float32(1 + 1e-7), torch.float32, (0, 1)),
    ],
)
def test_values_of_images(data, dtype, held) -> None:
    samples = as_samples(data)
    assert samples.data.dtype == dtype
    assert samples.stored_range == held
    assert samples.spec.value_range == (-1.0, 1.0)
    assert np.allclose(samples.data[:, 0].numpy(), data.astype(np.float32))


def test_sixteen_bit_audio() -> None:
    samples = as_samples(np.array([[-32768, 0, 32767]], np.int16), kind="audio")
    assert samples.stored_range == (-32768.0, 32768.0)
    assert samples.data.tolist() == [[[-32768.0, 0.0, 32767.0]]]


@pytest.mark.parametrize(
    ("data", "stored_range", "dtype"),
    [
        (unit(3, 4, 4) * 255, (0, 255), torch.float32),
        (uint8(3, 4, 4) % 16, (0, 15), torch.uint8),
        (uint8(3, 4, 4).astype(np.int32) * 9, (0, 2295), torch.float32),
        (unit(3, 4, 4), (-1, 1), torch.float32),
    ],
)
def test_the_range_may_be_said(data, stored_range, dtype) -> None:
    samples = as_samples(data, stored_range=stored_range)
    assert samples.stored_range == stored_range and samples.data.dtype == dtype


@pytest.mark.parametrize(
    ("data", "stored_range", "text"),
    [
        (unit(3, 4, 4) * 255, None, r"floats from .* the option stored_range=\(0, 255\)"),
        (np.full((3, 4, 4), -2.5), None, r"floats from -2.5 to -2.5: .*=\(-3.5, -1.5\)"),
        (np.full((3, 4, 4), 300), None, r"int64 values from 300 to 300: integers outside 0..255"),
        (np.full((3, 4, 4), -1, np.int16), None, r"int16 values from -1 to -1: integers outside"),
        (unit(3, 4, 4) + 1, (0, 1), r"outside its stored_range \(0, 1\); correct"),
        (uint8(3, 4, 4), (0, 15), r"outside its stored_range \(0, 15\)"),
        (np.array([[[0.0, np.nan]]]), None, r"has 1 NaN or infinite value among 2; .* it\."),
        (np.array([[np.inf, np.nan]]), None, r"has 2 NaN or infinite values among 2; .* them\."),
        (np.array([[1e300, 0]]), None, r"has 1 NaN or infinite value"),
        (np.zeros((3, 4, 4), complex), None, "holds complex128 values: samples are numbers"),
        (np.full((3, 4), "a"), None, "holds strings: samples are numbers"),
        (np.full((3, 4), None), None, "holds Python objects: samples are numbers"),
    ],
)
def test_values_that_are_refused(data, stored_range, text) -> None:
    with pytest.raises(DataError, match=text) as caught:
        as_samples(data, stored_range=stored_range)
    assert "\n" not in str(caught.value)


def test_large_arrays_are_looked_at_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_CHUNK", 64)
    data = unit(50, 4, 4)
    assert as_samples(data).stored_range == (0, 1)
    data[7, 0, 0] = -0.5
    assert as_samples(data).stored_range == (-1, 1)
    data[[3, 49], 1, 1] = np.nan
    with pytest.raises(DataError, match="has 2 NaN"):
        as_samples(data)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(3, 4, 4, requires_grad=True),
        torch.rand(3, 4, 4, dtype=torch.bfloat16),
        torch.rand(3, 4, 4).transpose(1, 2),
        torch.rand(3, 4, 4).half(),
    ],
)
def test_tensors(tensor: torch.Tensor) -> None:
    samples = as_samples(tensor)
    assert not samples.data.requires_grad
    assert torch.equal(samples.data[:, 0], tensor.detach().float())


def test_nothing_is_copied_without_need() -> None:
    data = uint8(3, 1, 4, 4)
    data.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = as_samples(data)
    assert samples.data.data_ptr() == data.ctypes.data


# -- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "indices", "classes"),
    [
        ([0, 2, 1], [0, 2, 1], ("0", "1", "2")),
        ([5, -1, 5], [1, 0, 1], ("-1", "5")),
        (["dog", "cat", "dog"], [1, 0, 1], ("cat", "dog")),
        (np.array(["b", "a", "b"], dtype=object), [1, 0, 1], ("a", "b")),
        (np.array([[1], [0], [1]], np.uint8), [1, 0, 1], ("0", "1")),
        (torch.tensor([2, 0, 1]), [2, 0, 1], ("0", "1", "2")),
    ],
)
def test_labels(labels, indices, classes) -> None:
    samples = as_samples(uint8(3, 4, 4), labels)
    assert samples.labels is not None and samples.labels.dtype == torch.int64
    assert samples.labels.tolist() == indices
    assert samples.spec.classes == classes


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.eye(3)[:, :2], r"\(float64 values of shape \(2,\)\)"),
        ([0.0, 0.5, 1.0], r"\(float64 values\)"),
        ([None, 1, "a"], r"\(Python objects \(NoneType, int, str\)\)"),
    ],
)
def test_labels_that_are_no_classes(labels, text) -> None:
    samples = as_samples(uint8(3, 4, 4), labels)
    assert samples.labels is None and samples.spec.classes is None
    (notice,) = samples.notices
    assert re.search(f"The labels are not classes {text} and are left out", notice)
    assert as_samples(uint8(3, 4, 4), labels, wanted=False).notices == samples.notices
    with pytest.raises(DataError, match=f"labels that are not classes {text}, and conditional"):
        as_samples(uint8(3, 4, 4), labels, wanted=True)


@pytest.mark.parametrize("wanted", [None, False, True])
def test_as_many_labels_as_samples(wanted) -> None:
    with pytest.raises(DataError, match="has 3 samples but 2 labels; give one label per sample"):
        as_samples(uint8(3, 4, 4), [0, 1], wanted=wanted)


# -- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [uint8(6, 1, 4, 4), unit(6, 4, 4), unit(6, 2)])
def test_npy_is_memory_mapped(tmp_path: Path, data: np.ndarray) -> None:
    path = tmp_path / "x.npy"
    np.save(path, data)
    before = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = datasets.create("array", path=path).load()
    assert np.array_equal(samples.data.numpy().reshape(data.shape), data)
    if Path("/proc/self/maps").exists():
        assert str(path) in Path("/proc/self/maps").read_text()
    samples.data.zero_()  # changes memory only
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("keys", "options"),
    [
        (("images", "labels"), {}),
        (("samples", "y"), {}),
        (("pixels", "targets"), {}),
        (("x_train", "y_train"), {"key": "x_train", "labels_key": "y_train"}),
    ],
)
def test_files_of_several_arrays(tmp_path: Path, suffix: str, keys, options) -> None:
    path = tmp_path / f"x{suffix}"
    content = {keys[0]: uint8(3, 4, 4), keys[1]: np.array([0, 1, 1])}
    if suffix == ".npz":
        np.savez(path, **content)
    else:
        save_file(content, path)
    samples = datasets.create("array", path=path, **options).load()
    assert np.array_equal(samples.data[:, 0].numpy(), content[keys[0]])
    assert samples.labels is not None and samples.labels.tolist() == [0, 1, 1]


def test_options_reach_the_conversion(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", unit(3, 64, 9) * 5)
    samples = datasets.create(
        "array",
        path=tmp_path / "x.npy",
        layout="channels-last",
        sample_kind="audio",
        stored_range=(0, 5),
    ).load()
    assert samples.spec.kind == "audio" and samples.spec.shape == (9, 64)
    assert samples.stored_range == (0, 5)


@pytest.mark.parametrize(
    ("names", "given", "text"),
    [
        (["a", "b"], {}, "not clear which array of 'f' holds the samples; .* Names in it: a, b"),
        (["images", "x"], {}, "not clear which array"),
        (["labels"], {}, "not clear which array"),
        (["x", "y", "labels"], {}, "several arrays that may be labels; say which one"),
        (["images"], {"key": "image"}, "has no array 'image'. Did you mean 'images'"),
        (["images"], {"labels_key": "labels"}, "has no array 'labels'. Names in it: images"),
    ],
)
def test_keys_that_are_refused(names, given, text) -> None:
    with pytest.raises(ConfigError, match=text):
        pick_keys(names, "'f'", **given)


@pytest.mark.parametrize(
    ("names", "given", "expected"),
    [
        (["x"], {}, ("x", None)),
        (["y"], {"key": "y"}, ("y", None)),
        (["img", "label"], {}, ("img", "label")),
        (["images", "mask", "label"], {}, ("images", "label")),
        (["a", "b"], {"labels_key": "b"}, ("a", "b")),
    ],
)
def test_keys(names, given, expected) -> None:
    assert pick_keys(names, "'f'", **given) == expected


def load(path: Path, **options: object) -> str:
    with pytest.raises((ConfigError, DataError)) as caught:
        datasets.create("array", path=path, **options).load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickles_are_never_loaded(tmp_path: Path, suffix: str) -> None:
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    path = tmp_path / f"x{suffix}"
    content = np.array([Trap()], dtype=object)
    if suffix == ".npy":
        np.save(path, content, allow_pickle=True)
    else:
        np.savez(path, images=content)
    assert "holds Python objects (a pickle), which are never loaded" in load(path)
    path.write_bytes(b"\x80\x04K\x01.")
    assert "never loaded" in load(path)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 and then nothing of use"])
def test_damaged_files(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    text = load(path)
    assert text.startswith(f"'{path}' ")
    assert text.endswith("write it again, or check its suffix.") or "rename it to" in text


def test_truncated_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", uint8(10, 20, 20))
    np.savez(tmp_path / "x.npz", x=uint8(10, 20, 20))
    save_file({"x": uint8(10, 20, 20)}, tmp_path / "x.safetensors")
    for suffix in (".npy", ".npz", ".safetensors"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(path.read_bytes()[:2000])
        assert "write it again" in load(path)


def test_files_without_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", uint8(0, 3, 4))
    assert "(0, 3, 4): it is empty" in load(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz")
    assert "Names in it: none" in load(tmp_path / "x.npz")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "does not exist; correct the path" in load(tmp_path / "x.npy")
    (tmp_path / "folder.npy").mkdir()
    assert "is a folder, not an array file" in load(tmp_path / "folder.npy")


def test_a_npz_under_another_name(tmp_path: Path) -> None:
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, uint8(3, 4, 4))
    assert "is a .npy file, not an archive; rename it to .npy" in load(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", uint8(3, 4, 4))
    (tmp_path / "y.npz").rename(tmp_path / "y.npy")
    assert "is an .npz archive, not a .npy file; rename it to .npz" in load(tmp_path / "y.npy")


def test_keys_of_a_file_without_any(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", uint8(3, 4, 4))
    assert "holds one array without a name" in load(tmp_path / "x.npy", key="images")


def test_options_that_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"x\.csv' has no suffix of an array file; save .*\.npy"):
        datasets.create("array", path="x.csv")
    with pytest.raises(ConfigError, match=r"stored_range is \(low, high\) with low < high"):
        datasets.create("array", path="x.npy", stored_range=(1, 0))
    with pytest.raises(ConfigError, match="needs a value for 'path'"):
        datasets.create("array")


def test_it_round_trips_through_json() -> None:
    import json

    made = datasets.create("array", path="x.npy", stored_range=(0, 9))
    assert datasets.create(json.loads(made.model_dump_json())) == made
