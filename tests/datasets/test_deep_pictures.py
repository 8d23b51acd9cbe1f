"""Pictures of more than 8 bits: what they hold is what is trained on."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganzoo import datasets
from ganzoo.datasets.samples import Samples, as_samples
from ganzoo.errors import ConfigError, DataError
from ganzoo.training.loader import Loader

COUNT, SIDE = 12, 8


@pytest.fixture(autouse=True)
def cache_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "pictures"
    path.mkdir()
    return path


def load(path: Path, **options: object) -> Samples:
    return datasets.create("folder", path=path, **options).load()


def refused(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def numbers(low: float, high: float, dtype: str, shape: tuple[int, ...] = (SIDE, SIDE)):
    """COUNT pictures with values from low to high, both of which occur."""
    values = np.random.default_rng(0).uniform(low, high, (COUNT, *shape)).astype(dtype)
    values[0, 0, 0], values[-1, 0, 0] = low, high
    return values


def png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits (H, W, C), which Pillow cannot write in colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checked)

    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(values: np.ndarray, order: str = "<") -> bytes:
    """An uncompressed TIFF of 16 bits (H, W, 3), which Pillow cannot write either."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    base = 8 + 2 + 12 * 10 + 4
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 4, 3, base),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, base + 6),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
        (284, 3, 1, 1),
    ]
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, kind, count, value in tags:
        form = "HHIHH" if kind == 3 else "HHII"
        rest = (value, 0) if kind == 3 else (value,)
        # Bits per sample are shorts, which do not fit into the entry itself.
        out += struct.pack(order + form, tag, 3 if tag == 258 else kind, count, *rest)
    return out + struct.pack(f"{order}I3H", 0, 16, 16, 16) + data


def save(root: Path, values: np.ndarray, suffix: str = ".png") -> None:
    for index, picture in enumerate(values):
        path = root / f"{index:02}{suffix}"
        if picture.ndim == 3:
            path.write_bytes(png(picture) if suffix == ".png" else tiff(picture))
        elif suffix == ".pgm":
            header = b"P5 %d %d 65535\n" % picture.shape[::-1]
            path.write_bytes(header + picture.astype(">u2").tobytes())
        else:
            Image.fromarray(picture).save(path)


def in_order(samples: Samples, root: Path, suffix: str) -> list[int]:
    """Which picture each sample is."""
    dataset = datasets.create("folder", path=root)
    return [int(dataset.file(index).name.removesuffix(suffix)) for index in range(len(samples))]


def same_as_array(root: Path, values: np.ndarray, suffix: str, **options: object) -> Samples:
    """Load pictures, and see that the array of them gives the same batches and notices."""
    samples = load(root, **options)
    order = in_order(samples, root, suffix)
    known = as_samples(values[order], **options)
    assert samples.spec == known.spec and samples.stored_range == known.stored_range
    assert samples.notices == known.notices
    batches = [Loader(each, COUNT, torch.device("cpu")).next()[0] for each in (samples, known)]
    assert torch.equal(*batches)
    return samples


@pytest.mark.parametrize(
    ("low", "high", "dtype", "suffix", "advice"),
    [
        (0, 4095, "uint16", ".png", "stored_range=(0, 4095) (--dataset.stored-range 0 4095)"),
        (0, 4095, "uint16", ".tif", "(perhaps they have 12 bits)"),
        (0, 1000, "uint16", ".png", "stored_range=(0, 1023)"),
        (3, 16000, "uint16", ".tiff", "stored_range=(0, 16383)"),
        (0, 4000, "uint16", ".pgm", "stored_range=(0, 4095)"),
        (0, 1, "uint16", ".png", "stored_range=(0, 1)"),
        (1000, 3000, "uint16", ".png", "stored_range=(1000, 3000)"),
        (0, 9, "uint8", ".png", "stored_range=(0, 9)"),
        (0, 1, "uint8", ".bmp", "stored_range=(0, 1)"),
        (100, 160, "uint8", ".tif", "stored_range=(100, 160)"),
        (0, 0.1, "float32", ".tif", "stored_range=(0, 0.11)"),
        (0, 20, "int32", ".tif", "stored_range=(0, 20)"),
        (0, 4095, "uint16", ".png colour", "stored_range=(0, 4095)"),
        (0, 900, "uint16", ".tif colour", "stored_range=(0, 1023)"),
    ],
)
def test_a_small_share_of_the_range_is_told(root, low, high, dtype, suffix, advice) -> None:
    suffix, _, colour = suffix.partition(" ")
    values = numbers(low, high, dtype, (SIDE, SIDE, 3) if colour else (SIDE, SIDE))
    save(root, values, suffix)
    samples = same_as_array(root, values, suffix)
    (notice,) = samples.notices
    assert advice in notice
    # What is advised works, and says nothing more.
    said = notice.partition("stored_range=(")[2].partition(")")[0]
    bounds = tuple(float(each) for each in said.split(","))
    again = same_as_array(root, values, suffix, stored_range=bounds)
    assert again.notices == () and again.stored_range == bounds
    batch, _ = Loader(again, COUNT, torch.device("cpu")).next()
    assert batch.max() - batch.min() > 1.4 and batch.min() >= -1.001 and batch.max() <= 1.001
    assert len(batch.unique()) == len(np.unique(values))


@pytest.mark.parametrize(
    ("low", "high", "dtype", "suffix"),
    [
        (0, 65535, "uint16", ".png"),
        (0, 65535, "uint16", ".tif"),
        (0, 65535, "uint16", ".pgm"),
        (0, 255, "int32", ".tif"),
        (0, 1, "float32", ".tif"),
        (-1, 1, "float32", ".tif"),
        (0.0, 0.9, "float32", ".tif"),
        (0, 255, "uint8", ".tif"),
        (0, 65535, "uint16", ".png colour"),
        (0, 65535, "uint16", ".tif colour"),
    ],
)
def test_nothing_is_lost(root, low, high, dtype, suffix) -> None:
    suffix, _, colour = suffix.partition(" ")
    values = numbers(low, high, dtype, (SIDE, SIDE, 3) if colour else (SIDE, SIDE))
    save(root, values, suffix)
    samples = same_as_array(root, values, suffix)
    assert samples.notices == ()
    assert samples.data.dtype == (torch.uint8 if high == 255 else torch.float32)


@pytest.mark.parametrize(
    ("low", "high", "dtype", "told", "bounds"),
    [
        (0, 4095, "int32", "int32 values from 0 to 4095", (0, 4095)),
        (-1000, 3000, "int32", "int32 values from -1000 to 3000", (-1000, 3000)),
        (-1, 1, "int32", "int32 values from -1 to 1", (-1, 1)),
        (0, 70_000, "int32", "int32 values from 0 to 70000", (0, 70_000)),
        (0, 256, "int32", "int32 values from 0 to 256", (0, 256)),
        (0, 255, "float32", "floats from 0 to 255", (0, 255)),
        (-3, 3, "float32", "floats from -3 to 3", (-3, 3)),
        (0, 65535, "float32", "floats from 0 to 65535", (0, 66000)),
        (-1024, 3071, "float32", "floats from -1024 to 3071", (-1100, 3100)),
        (0, 1.5, "float32", "floats from 0 to 1.5", (0, 1.5)),
    ],
)
def test_what_has_no_range_of_its_own_is_asked_for(root, low, high, dtype, told, bounds) -> None:
    values = numbers(low, high, dtype)
    save(root, values, ".tif")
    text = refused(root)
    assert told in text and f"'{root}'" in text
    said = text.partition("stored_range=(")[2].partition(")")[0]
    advised = tuple(float(each) for each in said.split(","))
    assert advised[0] <= low and high <= advised[1]
    samples = same_as_array(root, values, ".tif", stored_range=advised)
    assert samples.notices == () and samples.data.dtype == torch.float32
    assert load(root, stored_range=bounds).stored_range == bounds
    assert "outside its stored_range" in refused(root, stored_range=(low, (low + high) / 2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sizes_change_without_losing_bits(root: Path, suffix: str) -> None:
    values = np.zeros((COUNT, 16, 16), np.uint16)
    values[:, ::2] = np.arange(COUNT)[:, None, None] * 3 + 1
    save(root, values, suffix)
    samples = load(root, size=8, stored_range=(0, 4095))
    assert samples.data.dtype == torch.float32
    # The mean of a stripe and of black: 8 bits of 4095 would all be the same.
    assert len(samples.data[:, 0, 4, 4].unique()) == COUNT


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_by_name(root: Path, value: float) -> None:
    values = numbers(0, 1, "float32")
    values[7, 3, 3] = value
    save(root, values, ".tif")
    assert "'07.tif' (1 NaN or infinite value)" in refused(root)
    assert len(load(root, max_bad=1)) == COUNT - 1


def test_eight_bits_among_sixteen(root: Path) -> None:
    save(root, numbers(0, 65535, "uint16"))
    Image.new("L", (SIDE, SIDE), 255).save(root / "bright.png")
    Image.new("L", (SIDE, SIDE), 51).save(root / "dim.jpg")
    samples = load(root)
    names = [datasets.create("folder", path=root).file(index).name for index in range(len(samples))]
    assert samples.data[names.index("bright.png")].unique().tolist() == [65535]
    assert samples.data[names.index("dim.jpg")].unique().tolist() == [51 * 257]
    (notice,) = samples.notices
    assert "have 8 bits, such as '" in notice and "0 to 255 and carried to 0 to 65535" in notice
    samples = load(root, stored_range=(0, 131070))
    assert samples.data[names.index("bright.png")].unique().tolist() == [131070]


@pytest.mark.parametrize(
    ("deep", "top"), [((0, 1, "float32"), 1), ((-1, 1, "float32"), 1), ((0, 200, "int32"), 255)]
)
def test_eight_bits_among_other_numbers(root: Path, deep, top: float) -> None:
    save(root, numbers(*deep), ".tif")
    Image.new("L", (SIDE, SIDE), 255).save(root / "bright.png")
    samples = load(root)
    assert samples.data.max() == top
    assert samples.data.min() == deep[0] and samples.data.shape[1] == 1


def test_masks_of_integers_among_bytes(root: Path) -> None:
    save(root, numbers(0, 9, "int32"), ".tif")
    Image.new("L", (SIDE, SIDE), 5).save(root / "mask.png")
    samples = load(root, stored_range=(0, 9))
    names = [datasets.create("folder", path=root).file(index).name for index in range(len(samples))]
    assert samples.data[names.index("mask.png")].unique().tolist() == [5]
    assert "are taken as they are, in 0 to 9" in samples.notices[0]


def test_floats_among_integers_are_refused_by_name(root: Path) -> None:
    save(root, numbers(0, 1, "float32"), ".tif")
    Image.fromarray(np.full((SIDE, SIDE), 700, np.uint16)).save(root / "deep.png")
    text = refused(root)
    assert ".tif')" in text and "('deep.png')" in text and "stored_range=(" in text
    assert load(root, stored_range=(0, 1000)).stored_range == (0, 1000)


@pytest.mark.parametrize("mode", ["grey", "rgb", "rgba"])
def test_sixteen_bits_become_other_channels(root: Path, mode: str) -> None:
    values = numbers(0, 65535, "uint16", (SIDE, SIDE, 3))
    values[...] = values[..., :1]  # grey, in colour
    save(root, values)
    data = load(root, mode=mode).data
    assert data.shape[1] == {"grey": 1, "rgb": 3, "rgba": 4}[mode]
    assert (data[:, :1] == data[:, :3]).all()
    assert mode != "rgba" or data[:, 3].unique().tolist() == [65535]
    assert sorted(data[:, 0].flatten().tolist()) == sorted(values[..., 0].flatten().tolist())


@pytest.mark.parametrize("channels", [2, 4])
def test_sixteen_bits_with_alpha(root: Path, channels: int) -> None:
    values = np.full((COUNT, SIDE, SIDE, channels), 1001, np.uint16)
    values[..., -1] = 65535
    values[:, :2, :, -1] = 0  # transparent above
    values[:, 7, :, -1] = 13107  # a fifth below
    save(root, values)
    samples = load(root)
    assert samples.data.shape[1] == 4
    assert samples.data[0, :3, 3].unique().tolist() == [1001]
    assert samples.data[0, 3, :, 0].tolist() == [0, 0, 65535, 65535, 65535, 65535, 65535, 13107]
    on_white = load(root, mode="rgb")
    assert on_white.data[0, 0, :2].unique().tolist() == [65535]
    assert abs(on_white.data[0, 0, 7, 0].item() - (1001 / 5 + 65535 * 4 / 5)) < 0.01
    # White is the upper end of the range.
    assert load(root, mode="rgb", stored_range=(0, 4095)).data[0, 0, 0, 0] == 4095
    small = load(root, size=4)
    assert small.data.shape[1:] == (4, 4, 4) and abs(small.data[0, 0, 2, 2] - 1001) < 0.1


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_in_colour_of_either_byte_order(root: Path, order: str) -> None:
    values = numbers(0, 65535, "uint16", (SIDE, SIDE + 3, 3))
    for index, picture in enumerate(values):
        (root / f"{index:02}.tif").write_bytes(tiff(picture, order))
    samples = load(root)
    wanted = values[in_order(samples, root, ".tif")].transpose(0, 3, 1, 2)
    assert np.array_equal(samples.data.numpy(), wanted.astype(np.float32))


def test_a_colour_ppm_of_sixteen_bits(root: Path) -> None:
    values = numbers(0, 1023, "uint16", (SIDE, SIDE, 3))
    for index, picture in enumerate(values):
        header = b"P6\n# a comment\n8 8\n1023\n"
        (root / f"{index:02}.ppm").write_bytes(header + picture.astype(">u2").tobytes())
    samples = load(root)
    assert samples.notices == () and samples.data.max() == 65535  # as its header says
    assert len(samples.data.unique()) == len(np.unique(values))


def test_the_cache_of_deep_pictures_is_used_again(root: Path, monkeypatch) -> None:
    from ganzoo.datasets import cache

    values = numbers(0, 4095, "uint16")
    save(root, values)
    before = load(root)
    monkeypatch.setattr(cache, "decode", None)  # whoever decodes again fails
    again = load(root)
    assert torch.equal(before.data, again.data) and before.notices == again.notices
    assert again.stored_range == (0, 65535)


@pytest.mark.filterwarnings("ignore:Downcasting array dtype")
def test_pictures_of_int64_that_hugging_face_writes(tmp_path: Path) -> None:
    hf = pytest.importorskip("datasets")
    values = numbers(0, 255, "int64")
    features = hf.Features({"image": hf.Image()})
    hf.Dataset.from_dict({"image": list(values)}, features=features).to_parquet(
        str(tmp_path / "x.parquet")
    )
    samples = datasets.create("huggingface", path=tmp_path / "x.parquet").load()
    assert np.array_equal(samples.data[:, 0].numpy(), values) and samples.notices == ()
    assert samples.data.dtype == torch.uint8


@pytest.mark.parametrize("bounds", [(1, 1), (5, 2)])
def test_a_range_that_is_none(root: Path, bounds: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="low < high"):
        load(root, stored_range=bounds)
