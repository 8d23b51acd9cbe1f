from __future__ import annotations

import importlib.util
import io
import os
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ganzoo import datasets
from ganzoo.datasets import fashion_mnist_10k
from ganzoo.errors import DataError

ROOT = Path(__file__).parents[2]
FILE = ROOT / "src/ganzoo/datasets/data/fashion-mnist-10k.npz"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools/embed_fashion_mnist.py"
    if not path.exists():
        pytest.skip("the tools are not beside these tests")
    found = importlib.util.spec_from_file_location("embed_fashion_mnist", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_thousand_of_each_class() -> None:
    samples = datasets.create("fashion-mnist-10k").load()
    assert samples.data.shape == (10000, 1, 28, 28)
    assert samples.data.dtype == torch.uint8
    assert samples.labels is not None and samples.labels.dtype == torch.int64
    assert samples.labels.bincount().tolist() == [1000] * 10
    assert samples.stored_range == (0.0, 255.0)
    assert samples.spec.classes == fashion_mnist_10k.CLASSES
    assert samples.spec.value_range == (-1.0, 1.0)


def test_its_licence_lies_beside_it() -> None:
    assert "Copyright (c) 2017 Zalando SE" in (FILE.parent / "FASHION-MNIST-LICENSE").read_text()
    assert datasets.get("fashion-mnist-10k").license == "MIT"


def test_the_file_is_small() -> None:
    assert FILE.stat().st_size < 5_000_000


def test_the_file_carries_no_clock() -> None:
    with zipfile.ZipFile(FILE) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_it_equals_the_training_split(torchvision_root: Path, tool: ModuleType) -> None:
    full = datasets.create("fashion-mnist", root=torchvision_root).load()
    assert full.labels is not None
    images, labels = tool.choose(full.data[:, 0].numpy(), full.labels.numpy())
    small = datasets.create("fashion-mnist-10k").load()
    assert small.labels is not None
    assert np.array_equal(small.data[:, 0].numpy(), images)
    assert np.array_equal(small.labels.numpy(), labels)
    assert full.spec.classes == small.spec.classes


def test_the_tool_is_reproducible(tool: ModuleType, tmp_path: Path) -> None:
    arrays = {"images": np.arange(12, dtype=np.uint8).reshape(3, 2, 2)}
    for name in ("a.npz", "b.npz"):
        tool.write(tmp_path / name, arrays)
        os.utime(tmp_path / name, (0, 0))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as read:
        assert np.array_equal(read["images"], arrays["images"])


def saved(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


WHOLE = FILE.read_bytes()
LABELS = np.zeros(10_000, np.uint8)
DAMAGED = {
    "truncated": WHOLE[:100_000],
    "other shape": saved(images=np.zeros((2, 28, 28), np.uint8), labels=LABELS[:2]),
    "other dtype": saved(images=np.zeros((10_000, 28, 28), bool), labels=LABELS),
    "other keys": saved(pictures=np.zeros(2)),
    "a flipped byte": WHOLE[:2_000_000] + bytes([WHOLE[2_000_000] ^ 255]) + WHOLE[2_000_001:],
    "absent": None,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_asks_to_reinstall(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / FILE.name).write_bytes(content)
    monkeypatch.setattr(fashion_mnist_10k.resources, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match=r"absent or damaged .*; reinstall ganzoo") as caught:
        fashion_mnist_10k.FashionMNIST10k().load()
    assert "\n" not in str(caught.value)
