"""Scores of pictures of more than 8 bits: their range is the one that a training takes."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ganzoo
from ganzoo.datasets import InMemoryDataset
from ganzoo.errors import ConfigError, DataError
from ganzoo.features import inception
from ganzoo.features.inception import Inception

COUNT, SIZE = 8, (36, 44)


class Small(nn.Module):
    """Stands in for the Inception network: sees (N, 3, 299, 299) in cells of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.randn(3 * (64 + 16), 6, generator=torch.Generator().manual_seed(3))

    def forward(self, x):
        parts = [nn.functional.adaptive_avg_pool2d(x, 8), nn.functional.adaptive_max_pool2d(x, 4)]
        return torch.cat([part.flatten(1) for part in parts], 1) @ self.weights / 10

    def logits(self, pool, bias):
        return pool


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch) -> None:
    def build(self, device, precision="auto"):
        return inception._Module(Small(), self.preset, device, exact=True).eval()

    monkeypatch.setattr(Inception, "build", build)
    monkeypatch.setattr(Inception, "weights_hash", lambda self: "small")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


def score(a, b="other", **options):
    options = {"device": "cpu", "precision": "fp32", "preset": "pytorch-fid", **options}
    return ganzoo.evaluate(a, b, ["fid"], **options)["fid"]


# -- pictures, and files of them ------------------------------------------------------------------


def shades(channels: int = 0, seed: int = 0, count: int = COUNT, size=SIZE) -> np.ndarray:
    """Pictures uint8 (N, H, W[, C]) in which 0 and 255 occur."""
    shape = (count, *size, *([channels] if channels else []))
    found = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    found[:, : 9 * (1 + seed % 3)] //= 2
    found[:, -1, -2:] = 255
    found[:, -1, -1] = 0
    return found


def deep(channels: int = 0, top: int = 65535) -> np.ndarray:
    """Pictures uint16 that use all bits."""
    low = np.random.default_rng(9).integers(0, 256, shades(channels).shape)
    return ((shades(channels).astype(np.int64) * 256 + low) * top // 65535).astype(np.uint16)


def png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits (H, W, C), which Pillow cannot write in colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checked)

    height, width, channels = values.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def encoded(picture: np.ndarray, suffix: str = ".png", **options) -> bytes:
    if suffix == ".ppm":
        head = b"P6 %d %d 65535\n" % picture.shape[1::-1]
        return head + picture.astype(">u2").tobytes()
    if suffix == ".pgm":
        return b"P5 %d %d 65535\n" % picture.shape[::-1] + picture.astype(">u2").tobytes()
    if picture.ndim == 3 and picture.dtype == np.uint16:
        return png(picture)
    held = io.BytesIO()
    Image.fromarray(picture).save(held, {".png": "PNG", ".tif": "TIFF"}[suffix], **options)
    return held.getvalue()


def folder(pictures, name: str = "deep", suffix: str = ".png", **options) -> str:
    Path(name).mkdir()
    for number, picture in enumerate(pictures):
        Path(name, f"{number:02}{suffix}").write_bytes(encoded(picture, suffix, **options))
    return name


def ranged(path: str, low: float, high: float) -> dict:
    return {"name": "folder", "path": path, "stored_range": (low, high)}


@pytest.fixture(autouse=True)
def other(_place) -> str:
    return folder(shades(3, seed=1), "other")


# -- the same pictures in other ways --------------------------------------------------------------


def of_kind(kind: str):
    """A side of files, what is the same in memory, and what was done to the files."""
    grey, scaled = deep(), {"depth": "scaled", "range": "0 to 65535"}
    signed = deep(top=4095).astype(np.int32) - 1024
    unit = np.linspace(0, 1, grey.size, dtype=np.float32).reshape(grey.shape) ** 2
    match kind:
        case "16-bit PNG":
            return folder(grey), grey, scaled
        case "16-bit TIFF":
            return folder(grey, suffix=".tif"), grey, scaled
        case "16-bit PGM":
            return folder(grey, suffix=".pgm"), grey, scaled
        case "16-bit PPM":
            return folder(deep(3), suffix=".ppm"), deep(3), scaled
        case "8 bits as 16":
            return folder(shades().astype(np.uint16) * 257), shades(), scaled
        case "12 bits of 16":
            return folder(deep(top=4095)), deep(top=4095), scaled
        case "12 bits":
            done = {"depth": "scaled", "range": "0 to 4095"}
            data = InMemoryDataset.of(deep(top=4095), stored_range=(0, 4095))
            return ranged(folder(deep(top=4095)), 0, 4095), data, done
        case "12 bits in colour":
            done = {"depth": "scaled", "range": "0 to 4095"}
            values = deep(3, top=4095)
            return ranged(folder(values), 0, 4095), np.float32(values) / np.float32(4095), done
        case "floats from 0 to 1":
            return folder(unit, suffix=".tif"), unit, {"depth": "scaled", "range": "0 to 1"}
        case "floats from -1 to 1":
            done = {"depth": "scaled", "range": "-1 to 1"}
            return folder(unit * 2 - 1, suffix=".tif"), unit * 2 - 1, done
        case "floats of a range that is said":
            done = {"depth": "scaled", "range": "-3 to 3"}
            values = unit * 6 - 3
            data = InMemoryDataset.of(values, stored_range=(-3, 3))
            return ranged(folder(values, suffix=".tif"), -3, 3), data, done
        case "integers within 8 bits":
            return folder(shades().astype(np.int32), suffix=".tif"), shades(), None
        case "integers of a range that is said":
            done = {"depth": "scaled", "range": "-1024 to 3071"}
            data = InMemoryDataset.of(signed, stored_range=(-1024, 3071))
            return ranged(folder(signed, suffix=".tif"), -1024, 3071), data, done
        case "8 bits of a range that is said":
            data = InMemoryDataset.of(shades() // 2, stored_range=(0, 127))
            return ranged(folder(shades() // 2), 0, 127), data, {"range": "0 to 127"}
        case "8 bits beside 16":
            mixed = [
                each.astype(np.uint16) * 257 if i % 2 else each for i, each in enumerate(shades())
            ]
            return folder(mixed), shades(), scaled
        case "grey of 8 bits beside colours of 16":
            some, colours = shades(), shades(3)
            mixed = [colours[i].astype(np.uint16) * 257 if i % 2 else some[i] for i in range(COUNT)]
            same = [colours[i] if i % 2 else some[i][..., None].repeat(3, 2) for i in range(COUNT)]
            return folder(mixed), np.stack(same), scaled
        case "16-bit colours":
            return folder(deep(3)), deep(3), scaled
        case "16 bits with alpha":
            return folder(deep(4)), deep(4)[..., :3], {**scaled, "alpha": "dropped"}
        case "16-bit grey with alpha":
            return folder(deep(2)), deep(2)[..., :1], {**scaled, "alpha": "dropped"}
        case "16 bits that Exif data turn":
            exif = Image.Exif()
            exif[0x0112] = 6
            return folder(grey, exif=exif), grey, {**scaled, "orientation": "ignored"}
        case "a zip":
            with zipfile.ZipFile("deep.zip", "w") as file:
                for number, picture in enumerate(grey):
                    file.writestr(f"class{number % 2}/{number}.png", encoded(picture))
            return "deep.zip", np.concatenate([grey[::2], grey[1::2]]), scaled
        case "a tar":
            with tarfile.open("deep.tar", "w") as file:
                for number, picture in enumerate(grey):
                    entry = tarfile.TarInfo(f"{number}.png")
                    entry.size = len(encoded(picture))
                    file.addfile(entry, io.BytesIO(encoded(picture)))
            return "deep.tar", grey, scaled
        case "a table":
            pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            rows = [{"bytes": encoded(each), "path": None} for each in grey]
            pq.write_table(pa.table({"image": rows}), "deep.parquet")
            return "deep.parquet", grey, scaled
    raise AssertionError(kind)


KINDS = (
    "16-bit PNG",
    "16-bit TIFF",
    "16-bit PGM",
    "16-bit PPM",
    "8 bits as 16",
    "12 bits of 16",
    "12 bits",
    "12 bits in colour",
    "floats from 0 to 1",
    "floats from -1 to 1",
    "floats of a range that is said",
    "integers within 8 bits",
    "integers of a range that is said",
    "8 bits of a range that is said",
    "8 bits beside 16",
    "grey of 8 bits beside colours of 16",
    "16-bit colours",
    "16 bits with alpha",
    "16-bit grey with alpha",
    "16 bits that Exif data turn",
    "a zip",
    "a tar",
    "a table",
)


@pytest.mark.parametrize("kind", KINDS)
def test_files_score_as_the_same_numbers_in_memory(kind, other) -> None:
    side, same, done = of_kind(kind)
    found, known = score(side), score(same)
    assert found.value == pytest.approx(known.value, rel=1e-6) and known.value > 0.1
    assert score(side).value == found.value  # as it is kept
    assert score(other, side).value == pytest.approx(found.value, rel=1e-6)
    fakes = found.protocol["fake"]
    assert fakes.get("read") == done
    left = " ".join(fakes.get("left", ()))
    assert (f"scaled from {done['range']}" in left) == ("depth" in done) if done else not left
    assert any("The preset of pytorch-fid is left" in each for each in found.notices) == bool(left)


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("16-bit PNG", "from 0 to 65535, where pytorch-fid clips them"),
        ("16-bit colours", "where pytorch-fid takes the upper 8 of 16 bits in colour"),
        ("8 bits of a range that is said", "as 0 to 127, where pytorch-fid takes them as 0 to 255"),
    ],
)
def test_what_the_program_does_instead_is_told(kind, left) -> None:
    assert left in " ".join(score(of_kind(kind)[0]).protocol["fake"]["left"])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (deep(top=4095).astype(np.int32), "int32 values from 0 to 4095"),
        (deep().astype(np.int32) - 5, "int32 values from -5 to 65530"),
        (deep().astype(np.float32), "floats from 0 to 65535"),
        (shades().astype(np.float32), "floats from 0 to 255"),
    ],
)
def test_a_range_is_asked_for_as_by_a_training(values, told, other) -> None:
    values[0, 0, 0], values[-1, 0, 0] = values.min(), values.max()
    side = folder(values, suffix=".tif")
    with pytest.raises(DataError) as scored:
        score(side)
    with pytest.raises(DataError) as trained:
        ganzoo.datasets.create("folder", path=side).load()
    assert str(scored.value) == str(trained.value)
    low, high = values.min() - 1.0, values.max() + 1.0
    assert score(ranged(side, low, high)).value > 0
    with pytest.raises(DataError, match="outside its stored_range"):
        score(ranged(side, low, high - 2))


def test_what_is_kept_is_of_one_range() -> None:
    side = folder(deep(top=4095))
    first = [score(side), *(score(ranged(side, 0, top)) for top in (4095, 8191, 65535))]
    assert first[0].value == first[3].value
    assert len({each.value for each in first}) == 3
    again = [score(side), *(score(ranged(side, 0, top)) for top in (4095, 8191, 65535))]
    assert [each.value for each in again] == [each.value for each in first]
    assert [each.protocol for each in again] == [each.protocol for each in first]


def test_few_of_a_small_range_are_told() -> None:
    notices = score(folder(deep(top=4095))).notices
    assert any("perhaps they have 12 bits" in each for each in notices)


def test_a_training_has_the_same_hash() -> None:
    data = ganzoo.datasets.create("folder", path=folder(deep())).load().data.numpy()
    pair = [score(side).protocol["fake"]["sha256"] for side in ("deep", data.astype(np.uint16))]
    assert pair[0] == pair[1]


def test_sizes_that_differ_keep_their_numbers() -> None:
    sizes = [(20 + 3 * i, 30) for i in range(COUNT)]
    small = [shades(seed=i, count=1, size=size)[0] for i, size in enumerate(sizes)]
    eight = folder(small, "eight")
    sixteen = folder([each.astype(np.uint16) * 257 for each in small])
    assert score(sixteen).value == pytest.approx(score(eight).value, rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 16},
        {"size": (20, 30), "crop": "none"},
        {"size": 12, "stored_range": (0, 70000)},
        {"mode": "grey"},
        {"mode": "rgb"},
        {"mode": "rgba"},
        {"mode": "rgb", "size": 20},
        {"mode": "grey", "stored_range": (-5, 65535)},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_options_mean_what_they_mean_in_a_training(channels, options) -> None:
    values = deep(channels)
    if channels == 4:  # half of a picture is transparent
        values[..., 3] = np.where(values[..., 0] > 30000, 65535, 0)
    side = {"name": "folder", "path": folder(values), **options}
    samples = ganzoo.datasets.create(side).load()
    if channels == 4 and "mode" not in options:
        pytest.skip("alpha is dropped, as the program does, and not kept as in a training")
    same = InMemoryDataset.of(samples.data, stored_range=samples.stored_range)
    assert score(side).value == pytest.approx(score(same).value, rel=1e-5)


# -- torch Datasets -------------------------------------------------------------------------------


class Held(torch.utils.data.Dataset):
    def __init__(self, items) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def items_of(kind: str):
    """A torch Dataset, the same in an array, and the options of both."""
    grey, colours = shades(), shades(3)
    match kind:
        case "pillow of 16 bits":
            return Held([(Image.fromarray(each), 0) for each in deep()]), deep(), {}
        case "a key":
            items = [{"left": each, "right": 255 - each, "y": 0} for each in grey]
            return Held(items), 255 - grey, {"key": "right"}
        case "a key and one of labels":
            items = [{"x": each, "z": each // 2, "a": i} for i, each in enumerate(grey)]
            return Held(items), grey, {"key": "x", "labels_key": "a"}
        case "rows":
            return Held([each.ravel() for each in grey]), grey, {"item_shape": (1, *SIZE)}
        case "rows of colours":
            items = [each.transpose(2, 0, 1).ravel() for each in colours]
            return Held(items), colours, {"item_shape": (3, *SIZE)}
        case "a layout":
            items = [each.repeat(2, 2)[:, :6, [0, 2, 4]] for each in colours]
            return Held(items), np.stack(items), {"layout": "channels-last"}
        case "a range":
            return (
                Held(list(grey // 2)),
                InMemoryDataset.of(grey // 2, stored_range=(0, 127)),
                {"stored_range": (0, 127)},
            )
        case "12 bits":
            values = deep(top=4095).astype(np.int64)
            return Held(list(values)), values / 4095, {"stored_range": (0, 4095)}
        case "a key of several sizes":
            items = [{"left": each[: 20 + i], "right": each, "y": 0} for i, each in enumerate(grey)]
            return Held(items), [each["left"] for each in items], {"key": "left"}
        case "a range of several sizes":
            items = [each[: 20 + i] // 2 for i, each in enumerate(grey)]
            return (
                Held(items),
                [each[: 20 + i] // 2 * 2 for i, each in enumerate(grey)],
                {"stored_range": (0, 127.5)},
            )
        case "integers of several sizes":
            items = [each[: 20 + i].astype(np.int64) for i, each in enumerate(grey)]
            return Held(items), [each.astype(np.uint8) for each in items], {}
        case "floats of several sizes":
            items = [each[: 20 + i] / np.float32(127.5) - 1 for i, each in enumerate(grey)]
            return Held(items), [each[: 20 + i] for i, each in enumerate(grey)], {}
        case "a table":
            hub = pytest.importorskip("datasets")
            rows = {
                "mask": [Image.fromarray(each // 3) for each in grey],
                "image": [Image.fromarray(each) for each in grey],
                "label": [i % 2 for i in range(COUNT)],
            }
            kinds = hub.Features(
                {
                    "mask": hub.Image(),
                    "image": hub.Image(),
                    "label": hub.ClassLabel(names=["a", "b"]),
                }
            )
            return hub.Dataset.from_dict(rows, features=kinds), grey, {}
        case "a table and a key":
            hub = pytest.importorskip("datasets")
            rows = {
                "image": [Image.fromarray(each // 3) for each in grey],
                "mask": [Image.fromarray(each) for each in grey],
            }
            kinds = hub.Features({"mask": hub.Image(), "image": hub.Image()})
            return hub.Dataset.from_dict(rows, features=kinds), grey, {"key": "mask"}
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "pillow of 16 bits",
        "a key",
        "a key and one of labels",
        "rows",
        "rows of colours",
        "a layout",
        "a range",
        "12 bits",
        "a key of several sizes",
        "a range of several sizes",
        "integers of several sizes",
        "floats of several sizes",
        "a table",
        "a table and a key",
    ],
)
def test_items_are_scored_as_a_training_reads_them(kind) -> None:
    source, same, options = items_of(kind)
    given = InMemoryDataset.of(source, **options)
    alike = not isinstance(same, list)
    same = same if alike else folder(same)
    assert score(given).value == pytest.approx(score(same).value, rel=1e-6)
    if alike:
        notices = InMemoryDataset.of(source, **options).load().notices
        assert score(InMemoryDataset.of(source, **options)).notices == notices


def test_options_that_do_not_apply_to_items_are_refused() -> None:
    with pytest.raises(ConfigError, match="key"):
        score(InMemoryDataset.of(Held(list(shades())), key="image"))
    with pytest.raises(DataError, match="stored_range"):
        sizes = [each[: 20 + i].astype(np.int64) * 9 for i, each in enumerate(shades())]
        score(InMemoryDataset.of(Held(sizes)))
    with pytest.raises(DataError, match="only pictures may differ in size"):
        score(InMemoryDataset.of(Held([np.zeros(5 + i) for i in range(COUNT)])))


# -- archives -------------------------------------------------------------------------------------


def archived(pictures, name: str, extra: dict[str, bytes]) -> str:
    parts = {f"{number:02}.png": encoded(each) for number, each in enumerate(pictures)} | extra
    if name.endswith(".zip"):
        with zipfile.ZipFile(name, "w") as file:
            for place, content in parts.items():
                file.writestr(place, content)
        return name
    with tarfile.open(name, "w") as file:
        for place, content in parts.items():
            entry = tarfile.TarInfo(place)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return name


@pytest.mark.parametrize("name", ["held.zip", "held.tar"])
@pytest.mark.parametrize("labels", [False, True])
def test_an_archive_is_a_side(name, labels, other) -> None:
    rows = "".join(f"{number:02}.png,{number % 3}\n" for number in range(COUNT))
    extra = {"metadata.csv": f"file_name,label\n{rows}".encode()} if labels else {}
    side, same = archived(shades(3), name, extra), folder(shades(3), "same")
    assert score(side).value == pytest.approx(score(same).value, rel=1e-6)
    assert score(Path(side), side).value == pytest.approx(0, abs=1e-6)
    assert score(other, {"path": side}).value == pytest.approx(score(other, same).value, rel=1e-6)
    assert score(side).protocol["fake"]["sha256"] == score(same).protocol["fake"]["sha256"]


@pytest.mark.parametrize("name", ["held.zip", "held.tar"])
def test_the_command_takes_archives(name, capsys) -> None:
    from ganzoo.cli import main

    side, same = archived(shades(3), name, {}), archived(shades(3, seed=1), "real.zip", {})
    assert not main(["evaluate", side, "--dataset", same, "--metrics", "swd", "--json"])
    assert '"swd"' in capsys.readouterr().out
