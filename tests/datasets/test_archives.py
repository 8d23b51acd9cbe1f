"""Archives of pictures are what the folder is that was packed into them."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import load, refused
from PIL import Image

import ganzoo
from ganzoo import datasets
from ganzoo.datasets import archives, picture_files
from ganzoo.datasets.samples import Samples
from ganzoo.errors import DataError

pytestmark = pytest.mark.usefixtures("cache_place")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "pictures"
    path.mkdir()
    return path


def fill(root: Path, *folders: str, count: int = 6, suffix: str = ".png") -> None:
    for number, name in enumerate(folders):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            value = 40 * number + index
            Image.fromarray(np.full((8, 8), value, np.uint8)).save(root / name / f"{index}{suffix}")


def packed(root: Path, suffix: str = ".zip", inside: str = "", method: int = 0) -> Path:
    """An archive of a folder, of what is in it or of it as a whole."""
    path = root.parent / f"{root.name}{suffix}"
    files = sorted(each for each in root.rglob("*") if each.is_file())
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", method) as archive:
            for file in files:
                archive.write(file, inside + file.relative_to(root).as_posix())
    else:
        with tarfile.open(path, "w") as archive:
            for file in files:
                archive.add(file, inside + file.relative_to(root).as_posix())
    return path


def plain(samples: Samples, path: Path) -> tuple[str, ...]:
    return tuple(each.replace(str(path), "PATH") for each in samples.notices)


def same(root: Path, path: Path, **options: object) -> Samples:
    """Load both, and see that they are the same."""
    ours, theirs = load(path, **options), load(root, **options)
    assert torch.equal(ours.data, theirs.data) and ours.spec == theirs.spec
    assert (ours.labels is None) == (theirs.labels is None)
    assert ours.labels is None or torch.equal(ours.labels, theirs.labels)
    assert ours.stored_range == theirs.stored_range
    assert plain(ours, path) == plain(theirs, root)
    return ours


def from_windows(root: Path) -> Path:
    path = packed(root, inside="windows|")
    content = path.read_bytes()
    for sep in (b"/", b"|"):  # zipfile itself would write slashes
        content = content.replace(b"windows|", b"windows|")
        for name in {each.filename.encode() for each in zipfile.ZipFile(path).infolist()}:
            content = content.replace(name, name.replace(b"|", b"\\").replace(sep, b"\\"))
    path.write_bytes(content)
    return path


def from_a_mac(root: Path) -> Path:
    path = packed(root, inside="pictures/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/pictures/a/._0.png", b"rubbish")
        archive.writestr("pictures/.DS_Store", b"rubbish")
    return path


def with_folders(root: Path) -> Path:
    path = packed(root)
    with zipfile.ZipFile(path, "a") as archive:
        archive.mkdir("a")
        archive.mkdir("empty")
    return path


def in_upper_case(root: Path) -> Path:
    return packed(root).rename(root.parent / "PICTURES.ZIP")


as_a_whole = partial(packed, inside="pictures/")
as_tar = partial(packed, suffix=".tar")
WAYS: dict[str, Callable[[Path], Path]] = {
    "as it is": packed,
    "as a whole": as_a_whole,
    "in two folders": partial(packed, inside="data/pictures/"),
    "with dots": partial(packed, inside="./"),
    "deflated": partial(packed, method=zipfile.ZIP_DEFLATED),
    "with bzip2": partial(packed, method=zipfile.ZIP_BZIP2),
    "with lzma": partial(packed, method=zipfile.ZIP_LZMA),
    "from windows": from_windows,
    "from a mac": from_a_mac,
    "with folders": with_folders,
    "as tar": as_tar,
    "as tar of a folder": partial(packed, suffix=".tar", inside="pictures/"),
    "in upper case": in_upper_case,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_an_archive_is_its_folder(root: Path, way: Callable[[Path], Path]) -> None:
    fill(root, "b", "a/deep", "10")
    samples = same(root, way(root))
    assert samples.spec.classes == ("10", "a", "b")


@pytest.mark.parametrize("way", [packed, as_a_whole, as_tar])
@pytest.mark.parametrize(
    "names", [("1", "2", "10"), ("00000", "00001"), ("0", "5"), (".",), ("a", ".")]
)
def test_labels_and_notices_are_those_of_the_folder(root: Path, way, names) -> None:
    fill(root, *names)
    if way is not as_a_whole or names != (".",):  # in which nothing says what is a class
        same(root, way(root))
    assert load(way(root), labels="none").labels is None


def test_parts_of_a_dataset_in_an_archive(root: Path) -> None:
    fill(root, "train", "test")
    samples = load(packed(root))
    assert samples.labels is None
    assert "Pack one of them alone, such as 'train'" in " ".join(samples.notices)
    assert load(packed(root), labels="folders").spec.classes == ("test", "train")
    alone = packed(root / "train").rename(root.parent / "train.zip")
    assert len(load(alone)) == 6 and "parts" not in "".join(load(alone).notices)


def test_palettes_and_deep_pictures(root: Path) -> None:
    colours = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("RGB")
    colours.quantize(8).save(root / "palette.png")
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(root / "deep.png")
    samples = same(root, packed(root))
    assert samples.data.dtype == torch.float32


def test_labels_of_stylegans_zip(root: Path) -> None:
    fill(root, "00000", "00001")
    labels = [[f"0000{k}/{i}.png", (i + k) % 3] for k in range(2) for i in range(6)]
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    samples = same(root, packed(root))
    assert samples.spec.classes == ("0", "1", "2")
    assert "'dataset.json' in" in " ".join(samples.notices)
    file = datasets.create("folder", path=packed(root)).file(0)
    assert file.parts[-3] == "pictures.zip"
    assert samples.labels[0] == dict(map(tuple, labels))["/".join(file.parts[-2:])]


@pytest.mark.parametrize("given", [str, Path, lambda path: {"name": "folder", "path": path}])
def test_an_archive_trains(root: Path, given) -> None:
    fill(root, "a", "b", count=20)
    for path in (packed(root), packed(root, ".tar")):
        run = ganzoo.Trainer(
            "mlp", given(path), steps=1, batch_size=8, progress=False, out=f"{path}-run"
        ).fit()
        assert run.generator.sample(1).shape == (1, 1, 8, 8)


def test_many_threads_read_one_zip(root: Path) -> None:
    fill(root, "a", "b", count=200)
    zipped = packed(root, method=zipfile.ZIP_DEFLATED)
    with archives.opened(zipped) as one:
        from concurrent.futures import ThreadPoolExecutor

        def content(index: int) -> bytes:
            (found,) = one.read(index, index + 1)
            assert isinstance(found, bytes)
            return found

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(content, range(len(one))))
        assert together == list(one.read(0, len(one)))


def test_a_cache_is_known_by_the_content(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganzoo.datasets import cache

    fill(root, "a", "b")
    before = load(packed(root))
    moved = packed(root).rename(root.parent / "moved.zip")
    decode = cache.decode
    monkeypatch.setattr(cache, "decode", None)  # whoever decodes again fails
    assert torch.equal(load(moved).data, before.data)
    monkeypatch.setattr(cache, "decode", decode)
    Image.fromarray(np.full((8, 8), 99, np.uint8)).save(root / "a/0.png")
    assert (load(packed(root)).data == 99).any()


# -- what is no such archive ------------------------------------------------------------------


def encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(start)
        content[place + offset] |= 1
    path.write_bytes(content)


def of_a_method_nobody_reads(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = content.find(start)
        struct.pack_into("<H", content, place + offset, 9)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is damaged or no zip"),
        (lambda path: path.write_bytes(b""), "is damaged or no zip"),
        (lambda path: path.write_bytes(b"rubbish" * 99), "is damaged or no zip"),
        (encrypted, "is encrypted; unpack it with its password and give the folder"),
        (of_a_method_nobody_reads, "is compressed by the method 9, which cannot be read"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "is empty; give one with pictures"),
    ],
)
def test_zips_that_cannot_be_read(root: Path, spoil, text: str) -> None:
    fill(root, "a", "b")
    path = packed(root)
    spoil(path)
    assert text in refused(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.tar.gz", "tar -xf '{path}' -C pictures) and give the folder"),
        ("x.tgz", "tar -xf '{path}' -C pictures) and give the folder"),
        ("x.tar.bz2", "tar -xf '{path}' -C pictures) and give the folder"),
        ("x.tar.xz", "tar -xf '{path}' -C pictures) and give the folder"),
        ("x.7z", "unpack it and give the folder"),
        ("x.rar", "unpack it and give the folder"),
    ],
)
def test_archives_to_unpack(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"whatever")
    assert text.format(path=path) in refused(path)
    with pytest.raises(DataError, match="is packed, not a folder of pictures; unpack it"):
        ganzoo.Trainer("mlp", str(path), progress=False)


def test_the_advice_for_a_packed_tar_works(root: Path, monkeypatch) -> None:
    fill(root, "a", "b")
    path = root.parent / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, ".")
    place = root.parent / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    command = refused(path).partition("(")[2].partition(")")[0]
    assert os.system(command) == 0
    assert len(load(place / "pictures")) == 12


def test_a_damaged_picture_is_named(root: Path) -> None:
    fill(root, "a", "b")
    path = packed(root)
    content = bytearray(path.read_bytes())
    content[content.find(b"a/3.png") + 60] ^= 255
    path.write_bytes(content)
    assert "'a/3.png' (Bad CRC-32" in refused(path)
    assert len(load(path, max_bad=1)) == 11


def test_a_bomb_is_passed_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, "a", "b")
    path = packed(root)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/bomb.png", bytes(2**20))
    monkeypatch.setattr(picture_files, "MOST_BYTES", 2**16)
    assert "'a/bomb.png' (it has 1,048,576 bytes, more than 65,536)" in refused(path)


def test_names_that_lead_elsewhere_do_no_harm(root: Path) -> None:
    fill(root, "a", "b")
    path = packed(root)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../outside.png", (root / "a/0.png").read_bytes())
        archive.writestr("/absolute.png", (root / "a/0.png").read_bytes())
    before = set(root.parent.rglob("*"))
    assert len(load(path)) == 14
    assert {each for each in set(root.parent.rglob("*")) - before if each.suffix == ".png"} == set()


def test_of_files_of_one_name_the_last_counts(root: Path) -> None:
    fill(root, "a", "b")
    path = packed(root)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/0.png", (root / "b/5.png").read_bytes())
    samples = load(path)
    assert len(samples) == 12 and sorted(samples.data[:, 0, 0, 0].tolist())[-2:] == [45, 45]


def test_a_tar_that_was_cut_off(root: Path) -> None:
    fill(root, "a", "b")
    path = packed(root, ".tar")
    content = path.read_bytes()
    with tarfile.open(path) as archive:
        third = archive.getmembers()[3]
    path.write_bytes(content[: third.offset])  # between two pictures: no error tells
    samples = load(path, labels="none")
    assert len(samples) == 3 and "may have been cut off" in samples.notices[0]
    path.write_bytes(content[: third.offset_data + 10])
    with pytest.raises(DataError, match="damaged|unreadable"):
        load(path)
    path.write_bytes(b"rubbish" * 200)
    assert "is damaged or no tar" in refused(path)


def test_an_archive_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.parquet", b"")
    assert "holds no pictures but other files, such as 'rows.parquet'" in refused(path)


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_short_reads_drop_no_picture(root: Path, monkeypatch, most: int) -> None:
    fill(root, "a", "b")
    paths = [root, packed(root), packed(root, ".tar")]
    read = os.read
    monkeypatch.setattr(os, "read", lambda handle, size: read(handle, min(size, most)))
    for path in paths:
        assert len(load(path)) == 12


def test_a_zip_in_memory_is_not_a_path() -> None:
    with pytest.raises(ganzoo.GanzooError):
        ganzoo.Trainer("mlp", io.BytesIO(), progress=False)
