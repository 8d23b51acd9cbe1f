from __future__ import annotations

import gzip
import hashlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from folders import idx
from PIL import Image

from ganzoo import datasets
from ganzoo.datasets import cache, torchvision_sets
from ganzoo.errors import ConfigError, DataError


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A root with an MNIST of 6 training and 4 test images, unpacked."""
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 6), ("t10k", 4)):
        images = np.arange(count * 784).astype(np.uint8).reshape(count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count, dtype=np.uint8)))
    return tmp_path


def message(error: pytest.ExceptionInfo[DataError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(("split", "count"), [("train", 6), ("test", 4)])
@pytest.mark.parametrize("named", [True, False])
def test_mnist(
    tiny: Path, no_network: None, monkeypatch, split: str, count: int, named: bool
) -> None:
    monkeypatch.setenv("GANZOO_DATA", "nowhere" if named else str(tiny))
    samples = datasets.create("mnist", root=tiny if named else None, split=split).load()
    assert samples.data.shape == (count, 1, 28, 28)
    assert samples.data.dtype == torch.uint8
    assert samples.labels is not None and samples.labels.tolist() == list(range(count))
    assert samples.spec.classes == tuple("0123456789")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_files(torchvision_root: Path, no_network: None, name: str) -> None:
    samples = datasets.create(name, root=torchvision_root, split="test", download=False).load()
    assert samples.data.shape == (10000, 1, 28, 28)
    assert samples.labels is not None and samples.labels.max() == 9


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
@pytest.mark.parametrize("download", [True, False])
def test_offline_it_says_what_to_fetch(
    tmp_path: Path, no_network: None, name: str, download: bool
) -> None:
    dataset = datasets.create(name, root=tmp_path, download=download)
    with pytest.raises(DataError, match=f"The dataset '{name}' is not in ") as caught:
        dataset.load()
    text = message(caught)
    assert ("no route to host" if download else "download is off") in text
    source = getattr(torchvision.datasets, type(dataset).__name__)
    if name == "cifar10":
        assert f"{source.filename} from {source.url} into {tmp_path}" in text
    else:
        assert ", ".join(filename for filename, _ in source.resources) in text
        assert " or ".join(source.mirrors) in text
        assert str(tmp_path / type(dataset).__name__ / "raw") in text
    assert "GANZOO_DATA" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train-images-idx3-ubyte", idx(np.zeros((6, 28, 28), np.uint8))[:1000]),
        ("t10k-labels-idx1-ubyte", b""),
        ("t10k-labels-idx1-ubyte", b"rubbish rubbish"),
        ("t10k-labels-idx1-ubyte", b"\x00\x00\x08\x03\x00"),
    ],
)
def test_a_damaged_file_is_named(tiny: Path, no_network: None, name: str, content: bytes) -> None:
    (tiny / "MNIST/raw" / name).write_bytes(content)
    split = "train" if name.startswith("train") else "test"
    with pytest.raises(DataError, match=rf"The file .*{name} of .* is damaged; delete it"):
        datasets.create("mnist", root=tiny, split=split).load()


def test_a_damaged_archive_is_named(tmp_path: Path, no_network: None) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    with gzip.open(raw / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(b"not MNIST")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz of .* is damaged") as caught:
        datasets.create("mnist", root=tmp_path).load()
    assert torchvision.datasets.MNIST.mirrors[0] in message(caught)


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torchvision.datasets, "MNIST", forbid)
    monkeypatch.setattr(torchvision_sets.MNIST, "_sources", lambda self, root: [])
    with pytest.raises(DataError, match=r"needs to write to .* set root or GANZOO_DATA"):
        datasets.create("mnist", root=tmp_path).load()


def test_files_that_disagree(tiny: Path, no_network: None) -> None:
    labels = tiny / "MNIST/raw/train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="6 samples but labels of shape"):
        datasets.create("mnist", root=tiny).load()


def test_whatever_else_goes_wrong(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("odd\nvery odd\n")

    monkeypatch.setattr(torchvision.datasets.MNIST, "_load_data", fail)
    with pytest.raises(DataError, match=r"cannot be read \(RuntimeError: very odd\)") as caught:
        datasets.create("mnist", root=tiny).load()
    message(caught)


# -- CIFAR-10 ---------------------------------------------------------------------------------


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def tiny_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a CIFAR-10 of two batches of two pictures and one test batch."""
    source = torchvision.datasets.CIFAR10
    folder = tmp_path / source.base_folder
    folder.mkdir()
    pixels = np.arange(2 * 3072).astype(np.uint8).reshape(2, 3072)
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 9]}))
    names = [f"class {index}" for index in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    listed = {name: [name, md5(folder / name)] for name in ("data_batch_1", "data_batch_2")}
    monkeypatch.setattr(source, "train_list", list(listed.values()))
    monkeypatch.setattr(source, "test_list", [["test_batch", md5(folder / "test_batch")]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(folder / "batches.meta")})
    return tmp_path


@pytest.mark.parametrize(("split", "count"), [("train", 4), ("test", 2)])
def test_cifar10(tiny_cifar: Path, no_network: None, split: str, count: int) -> None:
    samples = datasets.create("cifar10", root=tiny_cifar, split=split).load()
    assert samples.data.shape == (count, 3, 32, 32)
    assert samples.data.is_contiguous() and samples.data.dtype == torch.uint8
    assert samples.data[0].flatten().tolist() == [value % 256 for value in range(3072)]
    assert samples.labels is not None and samples.labels.tolist() == [3, 9] * (count // 2)
    assert samples.spec.classes is not None and samples.spec.classes[3] == "class 3"


@pytest.mark.parametrize("name", ["data_batch_2", "batches.meta"])
def test_a_damaged_batch_is_named(tiny_cifar: Path, no_network: None, name: str) -> None:
    path = tiny_cifar / "cifar-10-batches-py" / name
    path.write_bytes(b"rubbish")
    with pytest.raises(DataError, match=f"{name} of the dataset 'cifar10' is damaged") as caught:
        datasets.create("cifar10", root=tiny_cifar).load()
    assert torchvision.datasets.CIFAR10.url in message(caught)


# -- CelebA -----------------------------------------------------------------------------------


@pytest.fixture
def tiny_celeba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a CelebA of six pictures, two per split."""
    source = torchvision.datasets.CelebA
    folder = tmp_path / source.base_folder
    pictures = folder / "img_align_celeba"
    pictures.mkdir(parents=True)
    names = [f"{index:06}.jpg" for index in range(1, 7)]
    for index, name in enumerate(names):
        # Grey in the middle square, white above and below, which cropping removes.
        picture = np.full((218, 178, 3), 255, np.uint8)
        picture[20:198] = 40 * index
        Image.fromarray(picture).save(pictures / name, quality=95)
    splits = "".join(f"{name} {index // 2}\n" for index, name in enumerate(names))
    texts = {
        "list_eval_partition.txt": splits,
        "identity_CelebA.txt": "".join(f"{name} 1\n" for name in names),
        "list_bbox_celeba.txt": "6\nx y w h\n" + "".join(f"{name} 0 0 1 1\n" for name in names),
        "list_landmarks_align_celeba.txt": "6\nx y\n" + "".join(f"{n} 0 0\n" for n in names),
        "list_attr_celeba.txt": "6\nSmiling\n" + "".join(f"{name} 1\n" for name in names),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(
        source,
        "file_list",
        [
            (identifier, md5(folder / name) if name in texts else checksum, name)
            for identifier, checksum, name in source.file_list
        ],
    )
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(
    ("split", "greys"),
    [("train", [0, 40]), ("valid", [80, 120]), ("test", [160, 200]), ("all", range(0, 201, 40))],
)
def test_celeba(tiny_celeba: Path, no_network: None, split: str, greys: list[int]) -> None:
    samples = datasets.create("celeba", root=tiny_celeba, split=split, size=16).load()
    assert samples.data.shape == (len(greys), 3, 16, 16)
    assert samples.labels is None and samples.spec.classes is None
    inner = samples.data[:, :, 1:-1].float()  # JPEG blurs the edges of the square
    for picture, grey in zip(inner, greys, strict=True):
        assert (picture - grey).abs().max() <= 3


def test_celeba_is_decoded_once(tiny_celeba: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = datasets.create("celeba", root=tiny_celeba, split="all", size=16)
    before = dataset.load()
    decode = cache.decode
    monkeypatch.setattr(cache, "decode", None)  # whoever decodes again fails
    assert torch.equal(dataset.load().data, before.data)
    monkeypatch.setattr(cache, "decode", decode)
    face = tiny_celeba / "celeba/img_align_celeba/000003.jpg"
    Image.new("RGB", (178, 218), (9, 9, 9)).save(face)
    assert dataset.load().data[2].unique().tolist() == [9]
    place = tiny_celeba / "elsewhere"
    assert datasets.create("celeba", root=tiny_celeba, cache=place).load().spec.size == (64, 64)
    assert (place / "decoded").is_dir()


def test_celeba_is_never_enlarged() -> None:
    with pytest.raises(ConfigError, match="size cannot be 256"):
        datasets.create("celeba", size=256)


@pytest.mark.parametrize("installed", [True, False])
def test_celeba_needs_gdown(
    tmp_path: Path, no_network: None, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    monkeypatch.setattr(torchvision_sets.CelebA, "_lacks_gdown", lambda self: not installed)
    with pytest.raises(DataError) as caught:
        datasets.create("celeba", root=tmp_path).load()
    text = message(caught)
    assert ('pip install "ganzoo[celeba]"' in text) is not installed
    for identifier, _, filename in torchvision.datasets.CelebA.file_list:
        assert f"{filename} from https://drive.google.com/uc?id={identifier}" in text
    assert f"into {tmp_path / 'celeba'}" in text


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda path: path.write_bytes(b"rubbish"), r"000002.jpg is damaged; unpack"),
        (lambda path: path.write_bytes(path.read_bytes()[:700]), r"000002.jpg is damaged"),
        (lambda path: path.unlink(), r"000002.jpg is missing; unpack img_align_celeba.zip"),
        (
            lambda path: Image.new("RGB", (9, 9)).save(path),
            r"from 9 to 218 .*, not 218 and 178",
        ),
    ],
)
def test_a_bad_picture_is_named(tiny_celeba: Path, spoil, text: str) -> None:
    spoil(tiny_celeba / "celeba/img_align_celeba/000002.jpg")
    with pytest.raises(DataError, match=text) as caught:
        datasets.create("celeba", root=tiny_celeba).load()
    message(caught)


def test_a_damaged_list_is_named(tiny_celeba: Path, no_network: None) -> None:
    (tiny_celeba / "celeba/list_attr_celeba.txt").write_text("rubbish")
    with pytest.raises(DataError, match=r"list_attr_celeba.txt of the dataset 'celeba' is damaged"):
        datasets.create("celeba", root=tiny_celeba, download=False).load()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "celeba"])
def test_a_wrong_split(name: str) -> None:
    with pytest.raises(ConfigError, match="split cannot be 'extra'"):
        datasets.create(name, split="extra")
