from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import load, notices, refused
from PIL import Image

from ganzoo import Trainer, datasets
from ganzoo.datasets import cache, folder_index, picture_files, progress
from ganzoo.datasets.picture_files import printable
from ganzoo.datasets.samples import Samples
from ganzoo.errors import ConfigError

pytestmark = pytest.mark.usefixtures("cache_place")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "pictures"
    path.mkdir()
    return path


def save(path: Path, value: int | tuple[int, ...] = 0, size=(6, 4), mode="L", **options) -> Path:
    """A picture of one value; ``size`` is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], value).save(path, **options)
    return path


def fill(root: Path, count: int = 12, **options) -> None:
    for index in range(count):
        save(root / f"{index:03}.png", index, **options)


def values(samples: Samples) -> list[int]:
    """The value of each picture of one value."""
    return samples.data[:, 0, 0, 0].tolist()


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*args: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(cache, "decode", decode)


# -- what comes out ---------------------------------------------------------------------------


def test_pictures_of_one_size_stay_as_they_are(root: Path) -> None:
    fill(root)
    samples = load(root)
    assert samples.data.dtype == torch.uint8 and samples.data.shape == (12, 1, 6, 4)
    assert samples.spec.shape == (1, 6, 4) and samples.spec.classes is None
    assert samples.labels is None and samples.stored_range == (0, 255)
    assert notices(samples) == () and not samples.flip
    assert sorted(values(samples)) == list(range(12))


@pytest.mark.parametrize("target", [(32, 32), (48, 96)])
def test_a_mixed_folder(root: Path, target: tuple[int, int]) -> None:
    noise = np.random.default_rng(0)
    for index in range(200):
        height, width = noise.integers(20, 150, 2)
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{index}.jpg")
    deep = noise.integers(0, 65536, (70, 50), dtype=np.uint16)
    Image.fromarray(deep).save(root / "deep.png")
    save(root / "clear.png", (0, 0, 0, 0), mode="RGBA")
    samples = load(root, size=target)
    assert samples.data.shape == (202, 3, *target) and samples.spec.shape == (3, *target)
    clear, deep = notices(samples)
    assert clear == "Transparent parts of pictures are put on white; mode='rgba' keeps them."
    assert "such as 'deep.png': the former are taken as 0 to 255 and carried to 0 to 65535" in deep
    assert load(root, size=target, mode="rgba").data.shape == (202, 4, *target)
    assert load(root, size=target, mode="grey").data.shape == (202, 1, *target)


def test_sizes_that_differ(root: Path) -> None:
    fill(root, 3)
    save(root / "wide.png", 9, size=(5, 80))
    samples = load(root)
    assert samples.data.shape == (4, 1, 64, 64)
    assert notices(samples) == (
        "The pictures have heights from 5 to 6 and widths from 4 to 80: they are resized and "
        "cropped to 64x64; another size is asked for with size.",
    )
    assert "stretched to 64x64" in notices(load(root, crop="none"))[0]
    assert notices(load(root, size=8)) == ()
    assert load(root, size=8).data.shape == (4, 1, 8, 8)


def test_pictures_that_the_first_ones_do_not_announce(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(cache, "_SURVEYED", 1)
    monkeypatch.setattr(cache, "_TOGETHER", 2)
    fill(root, 9)
    save(root / "colour.png", (255, 0, 0), mode="RGB")
    assert load(root).data.shape == (10, 3, 6, 4)
    save(root / "large.png", (255, 0, 0), mode="RGB", size=(12, 12))
    assert load(root).data.shape == (11, 3, 64, 64)


def test_a_picture_that_only_one_form_can_read(root: Path, monkeypatch) -> None:
    decode = cache.decode

    def capricious(data, look):
        pixels, facts = decode(data, look)
        if facts.high == (12, 12) and look is not None and look.size == (64, 64):
            raise cache.PictureError("not in this form")
        return pixels, facts

    monkeypatch.setattr(cache, "decode", capricious)
    fill(root, 9)
    save(root / "large.png", size=(12, 12))
    samples = load(root, max_bad=1)  # and is not decoded in turns for ever
    assert samples.data.shape == (9, 1, 64, 64) and samples.spec.size == (64, 64)
    assert load(root, max_bad=1).spec.size == (64, 64)
    assert "(not in this form)" in notices(samples)[0]


def test_random_crops_and_flips_are_left_to_who_draws(root: Path) -> None:
    fill(root, 3)
    samples = load(root, crop="random", size=(7, 14), flip=True)
    assert samples.data.shape == (3, 1, 8, 16) and samples.spec.shape == (1, 7, 14)
    assert samples.flip


def test_the_files_are_not_changed_and_samples_may_be(root: Path) -> None:
    fill(root)
    before = load(root)
    before.data.zero_()
    assert sorted(values(load(root))) == list(range(12))


def test_the_order_is_that_of_no_file_system(root: Path, tmp_path: Path) -> None:
    fill(root)
    other = tmp_path / "other"
    for path in sorted(root.iterdir(), reverse=True):
        other.mkdir(exist_ok=True)
        shutil.copyfile(path, other / path.name)
    # Which one it is must not change either: a seed decides of it what a run sees.
    wanted = sorted(range(12), key=lambda n: blake2b(b"%03d.png" % n, digest_size=8).digest())
    assert values(load(root)) == values(load(other)) == wanted


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_the_outcome(root: Path, threads: int, monkeypatch) -> None:
    monkeypatch.setattr(cache, "_TOGETHER", 3)
    fill(root, 20)
    (root / "bad.png").write_bytes(b"\x89PNG")
    samples = load(root, threads=threads, max_bad=1)
    names = sorted(path.name for path in root.glob("0*.png"))
    data = datasets.create("folder", path=root, max_bad=1)
    assert [data.file(index).name for index in range(20)] == [
        names[value] for value in values(samples)
    ]


def test_which_file_a_sample_is(root: Path) -> None:
    for index, name in enumerate(("a/x.png", "b/y.png", "b/c/z.png")):
        save(root / name, index)
    data = datasets.create("folder", path=root)
    found = [data.file(index) for index in range(3)]
    assert [int(np.asarray(Image.open(path))[0, 0]) for path in found] == values(data.load())
    assert data.file(-1) == found[-1]
    with pytest.raises(IndexError, match="index out of range"):
        data.file(3)


def test_settings_survive_a_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    data = datasets.create("folder", path="pictures", size=[7], crop="none", max_bad=3)
    assert data.path == root and data.size == (7, 7)
    assert datasets.create(data.model_dump(mode="json")) == data


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, "size"),
        ({"size": (1, 2, 3)}, "size"),
        ({"max_bad": -1}, "max_bad"),
        ({"crop": "middle"}, "'center', 'random' or 'none'"),
        ({"threads": 0}, "threads"),
    ],
)
def test_wrong_options(root: Path, options, text) -> None:
    with pytest.raises(ConfigError, match=text):
        datasets.create("folder", path=root, **options)


@pytest.mark.parametrize("workers", [0, 1, 8])
def test_workers_are_not_threads(root: Path, workers: int) -> None:
    fill(root)
    with pytest.raises(ConfigError, match="decoded once, by threads. Leave 'workers' out") as error:
        Trainer("mlp", str(root), workers=workers, progress=False).setup()
    assert ("threads=8 (--dataset.threads 8)" in str(error.value)) is (workers == 8)
    assert len(load(root, threads=8)) == 12


@pytest.mark.parametrize(
    ("size", "asked", "made"),
    [(None, 10, (10, 10)), (5, 10, (5, 5)), (None, (8, 9), (8, 9)), ((4, 5), None, (4, 5))],
)
def test_a_size_that_is_asked_for(root: Path, size, asked, made) -> None:
    fill(root)
    data = datasets.create("folder", path=root, size=size)
    sized = (
        data if asked is None else data.sized(asked if isinstance(asked, tuple) else (asked,) * 2)
    )
    assert sized.load().spec.size == made
    trainer = Trainer("mlp", data, size=asked, resize_mode="resize", progress=False, batch_size=4)
    trainer.setup()
    wanted = asked or size
    assert trainer.spec.size == (wanted if isinstance(wanted, tuple) else (wanted, wanted))


def test_other_datasets_have_the_size_that_they_have() -> None:
    data = datasets.create("fashion-mnist-10k")
    assert data.sized((64, 64)) is data


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ([(6, 4), (6, 9)], "The pictures have one height of 6 and widths from 4 to 9: they are"),
        ([(6, 4), (9, 4)], "The pictures have heights from 6 to 9 and one width of 4: they are"),
        ([(6, 4), (9, 5)], "The pictures have heights from 6 to 9 and widths from 4 to 5: they"),
        ([(300, 300), (300, 300)], "All pictures are 300x300, which is large: they are"),
        ([(300, 4), (300, 4)], "All pictures are 300x4, which is large: they are"),
    ],
)
def test_sizes_in_notices_are_true(root: Path, sizes, text: str) -> None:
    for index, size in enumerate(sizes):
        save(root / f"{index}.png", 200 * index, size=size)
    samples = load(root)
    assert samples.spec.size == (64, 64)
    assert [each.startswith(text) for each in samples.notices] == [True]


# -- labels -----------------------------------------------------------------------------------


def classed(root: Path) -> None:
    for index, name in enumerate(("dog/a.png", "cat/b.png", "cat/deep/c.png", "dog/d.png")):
        save(root / name, index)


def test_folders_are_labels(root: Path) -> None:
    classed(root)
    (root / "empty").mkdir()
    samples = load(root)
    assert samples.spec.classes == ("cat", "dog") and samples.labels.dtype == torch.int64
    by_value = dict(zip(values(samples), samples.labels.tolist(), strict=True))
    assert by_value == {0: 1, 1: 0, 2: 0, 3: 1}
    assert load(root, labels="none").labels is None


def test_when_folders_are_no_labels(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classed(root)
    save(root / "beside.png")
    assert load(root).labels is None
    text = refused(root, ConfigError, labels="folders")
    assert "has 1 picture in no folder" in text and "labels='none'" in text
    assert "no folders with pictures" in refused(root / "dog", ConfigError, labels="folders")
    (root / "beside.png").unlink()
    shutil.rmtree(root / "dog")
    assert load(root).labels is None
    assert load(root, labels="folders").spec.classes == ("cat",)
    no_decoding(monkeypatch)  # labels are not among what a cache depends on
    load(root, labels="none")


def test_parts_of_a_dataset_are_no_classes(root: Path) -> None:
    save(root / "train/a.png")
    save(root / "Test/b.png")
    samples = load(root)
    assert len(samples) == 2 and samples.labels is None
    assert notices(samples) == (
        f"'{root}' has the folders Test, train, which look like parts of a dataset: all pictures "
        f"are taken, without labels. Give one of them, such as '{root / 'train'}', or say "
        f"labels='folders' (--dataset.labels folders).",
    )
    assert notices(load(root, labels="none")) == ()
    assert len(load(root, labels="none")) == 2
    assert load(root, labels="folders").spec.classes == ("Test", "train")


def test_a_class_with_one_picture(root: Path) -> None:
    classed(root)
    save(root / "emu/e.png")
    assert notices(load(root)) == (
        "The class 'emu' has only one sample, too few to learn a class from; add samples or "
        "leave the class out.",
    )
    for name in "fghi":
        save(root / f"{name}/e.png")
    assert notices(load(root))[0].startswith("The classes 'emu', 'f', 'g' and 2 more have only one")


# -- what may be wrong with a folder ----------------------------------------------------------


def test_a_folder_that_is_not_there(root: Path) -> None:
    assert refused(root / "x") == (
        f"There is no folder '{root / 'x'}'; correct the path of the dataset 'folder'."
    )


def test_a_path_that_is_a_file(root: Path) -> None:
    path = save(root / "a.png")
    text = f"'{path}' is a file, not a folder of pictures; give the folder that it is in."
    assert refused(path) == text
    (root / "a.7z").touch()
    assert refused(root / "a.7z").endswith("; unpack it and give the folder that comes out.")


def test_a_folder_without_pictures(root: Path) -> None:
    (root / "inner").mkdir()
    assert refused(root).startswith(f"The folder '{root}' is empty; give one with pictures (.bmp")
    (root / "inner/a.txt").touch()
    assert "holds no pictures but other files, such as 'inner/a.txt'" in refused(root)
    (root / ".hidden.png").touch()
    assert "'inner/a.txt'" in refused(root)


def test_a_few_damaged_pictures_are_left_out(root: Path, monkeypatch) -> None:
    fill(root, 300)
    (root / "000.png").write_bytes((root / "000.png").read_bytes()[:44])
    samples = load(root)
    assert sorted(values(samples)) == [*range(1, 256), *([255] * 44)]
    (notice,) = notices(samples)
    assert notice.startswith("'000.png' (image file is truncated")
    assert notice.endswith("cache.json names all.") and "left out of 300" in notice
    (root / "001.png").write_bytes(b"")
    (root / "002.png").write_bytes(b"hello")
    notice = notices(load(root))[0]
    assert notice.startswith("3 pictures, such as '") and "are left out of 300" in notice
    no_decoding(monkeypatch)
    assert notices(load(root))[0] == notice  # also when they come from the cache
    text = refused(root, max_bad=2)
    assert text.startswith(f"3 pictures are unreadable among 300 of '{root}', more than the 2 that")


def test_too_many_damaged_pictures(root: Path, cache_place: Path) -> None:
    fill(root, 4)
    (root / "000.png").write_bytes(b"hello")
    assert refused(root) == (
        f"1 picture is unreadable among 4 of '{root}', more than the 0 that max_bad allows: "
        f"'000.png' (no picture, or damaged where it begins); repair or remove them, or raise "
        f"max_bad."
    )
    assert not list(cache_place.glob("*-*")) and not list(cache_place.glob(".*"))
    assert len(load(root, max_bad=0.3)) == 3
    for name in ("001", "002", "003"):
        (root / f"{name}.png").write_bytes(b"hello")
    assert refused(root, max_bad=4).startswith(f"None of the 4 pictures of '{root}' can be read: ")


def test_a_file_that_is_too_large(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, 3)
    monkeypatch.setattr(picture_files, "MOST_BYTES", 10)
    assert " bytes, more than 10)" in refused(root)


def test_a_decompression_bomb(root: Path) -> None:
    fill(root, 3)
    Image.new("1", (20_000, 20_000)).save(root / "bomb.png")
    assert "'bomb.png' (a decompression bomb: " in refused(root)
    assert len(load(root, max_bad=1)) == 3


@pytest.mark.skipif(os.name == "nt", reason="such names are not possible there")
def test_odd_names(root: Path) -> None:
    names = [b"a b.png", b"new\nline.png", b"\xff\xfe.png", "ä字.png".encode(), b"[red].png"]
    for index, name in enumerate(names):
        for place in (b"one", b"t\nw\xff"):
            save(root / os.fsdecode(place) / os.fsdecode(name), index)
    samples = load(root)
    assert len(samples) == 10 and samples.spec.classes == ("one", r"t\nw\xff")
    assert samples.spec.model_dump_json().encode()
    data = datasets.create("folder", path=root)
    assert {os.fsencode(data.file(index).name) for index in range(10)} == set(names)
    (root / "one/new\nline.png").write_bytes(b"")
    text = refused(root)
    assert r"'one/new\nline.png' (no picture" in text


@pytest.mark.skipif(os.name == "nt", reason="such names are not possible there")
@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe"])
def test_odd_names_of_the_folder_itself(tmp_path: Path, name: bytes) -> None:
    place = tmp_path / os.fsdecode(name)
    fill(place, 2)
    assert len(load(place)) == 2
    assert notices(load(place, cache=tmp_path / "other")) == ()
    text = refused(place, ConfigError, labels="folders")
    assert text.encode().startswith(f"'{tmp_path}/{printable(name)}' has no fold".encode())
    assert printable(name) in refused(place / "x")
    save(place / "train/a.png")
    save(place / "test/a.png")
    for index in range(2):
        (place / f"{index:03}.png").unlink()
    (notice,) = notices(load(place))
    assert notice.isprintable() and notice.encode()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
def test_links_and_other_files(root: Path, tmp_path: Path) -> None:
    fill(root, 2)
    outside = tmp_path / "outside"
    save(outside / "x.png", 7)
    (root / "linked").symlink_to(outside)
    (root / "again.png").symlink_to(outside / "x.png")
    assert sorted(values(load(root))) == [0, 1, 7, 7]
    (root / "dangling.png").symlink_to(root / "nothing")
    assert "'dangling.png' (a link that leads nowhere" in refused(root)
    (root / "dangling.png").unlink()
    (root / "self.png").symlink_to(root / "self.png")
    assert "'self.png' (a link that leads nowhere" in refused(root)
    (root / "self.png").unlink()
    os.mkfifo(root / "pipe.png")
    assert "'pipe.png' (no regular file)" in refused(root)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_loop_of_links(root: Path) -> None:
    classed(root)
    (root / "cat/deep/up").symlink_to(root / "cat")
    (root / "dog/top").symlink_to(root)
    samples = load(root)
    assert len(samples) == 4 and samples.spec.classes == ("cat", "dog")
    assert set(notices(samples)) == {
        f"'{name}' in '{root}' is a link to a folder that it lies in; it is passed over."
        for name in ("cat/deep/up", "dog/top")
    }


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_to_what_is_around_the_folder(root: Path) -> None:
    fill(root, 2)
    save(root.parent / "outside.png", 9)
    (root / "up").symlink_to(root.parent)
    (root / "top").symlink_to("/")
    samples = load(root)
    assert sorted(values(samples)) == [0, 1] and len(notices(samples)) == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_lead_to_each_other(root: Path) -> None:
    save(root / "a/a.png", 1)
    save(root / "b/b.png", 2)
    (root / "a/link").symlink_to(root / "b")
    (root / "b/link").symlink_to(root / "a")
    samples = load(root)
    assert sorted(values(samples)) == [1, 1, 2, 2]
    assert sorted(notice.split("'")[1] for notice in notices(samples)) == [
        "a/link/link",
        "b/link/link",
    ]


def test_a_folder_that_changes_while_it_is_read(root: Path, monkeypatch) -> None:
    fill(root, 4)
    listed = folder_index.ImageFolderIndex._sort

    def change(tree: folder_index.ImageFolderIndex, files: list) -> None:
        listed(tree, files)
        (root / "000.png").unlink()
        save(root / "001.png", 77, size=(6, 40))
        save(root / "new.png")

    with monkeypatch.context() as patch:
        patch.setattr(folder_index.ImageFolderIndex, "_sort", change)
        text = refused(root)
        assert "(removed while the folder was read)" in text
    fill(root, 4)
    (root / "new.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(folder_index.ImageFolderIndex, "_sort", change)
        samples = load(root, max_bad=2)
    assert sorted(values(samples)) == [2, 3]
    assert "while the folder was read" in notices(samples)[0]
    assert len(load(root)) == 4  # what is there now


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed(root: Path) -> None:
    fill(root, 1)
    (root / "secret").mkdir(mode=0)
    assert refused(root).startswith(f"The folder '{root / 'secret'}' cannot be listed (Permission")


def test_a_folder_that_fails_while_it_is_listed(root: Path, monkeypatch) -> None:
    save(root / "inner/a.png")
    scan = os.scandir

    def fail(place):
        if os.fsencode(place).endswith(b"inner/"):
            raise OSError(errno.EIO, "Input/output error")
        return scan(place)

    monkeypatch.setattr(os, "scandir", fail)
    assert refused(root).startswith(
        f"The folder '{root / 'inner'}' cannot be listed (Input/output error); make it readable"
    )


# -- the cache --------------------------------------------------------------------------------


def test_pictures_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classed(root)
    first = load(root)
    no_decoding(monkeypatch)
    again = load(root, flip=True, threads=1, max_bad=0)
    assert torch.equal(first.data, again.data) and torch.equal(first.labels, again.labels)
    if Path("/proc/self/maps").exists():
        assert "pictures.npy" in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(
    "options", [{"size": 5}, {"crop": "none"}, {"crop": "random"}, {"mode": "rgb"}]
)
def test_settings_that_need_another_cache(root: Path, monkeypatch, options) -> None:
    fill(root, 2)
    load(root)
    no_decoding(monkeypatch)
    with pytest.raises(AssertionError, match="decoded again"):
        load(root, **options)


def change_content(root: Path) -> None:
    state = (root / "000.png").stat()
    save(root / "000.png", 99)
    os.utime(root / "000.png", ns=(state.st_atime_ns, state.st_mtime_ns + 1))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_content, [1, 2, 99]),
        (lambda root: save(root / "a/b.png", 50), [0, 1, 2, 50]),
        (lambda root: (root / "000.png").unlink(), [1, 2]),
    ],
)
def test_changes_in_the_folder_are_noticed(root: Path, change, expected) -> None:
    fill(root, 3)
    load(root)
    change(root)
    assert sorted(values(load(root))) == expected


def test_folders_that_only_their_pixels_tell_apart(tmp_path: Path) -> None:
    for name, value in (("images", 10), ("masks", 200)):
        for index in range(3):
            path = save(tmp_path / name / f"{index}.bmp", value)
            os.utime(path, ns=(0, 0))  # as archives without times are unpacked
    assert values(load(tmp_path / "images")) == [10, 10, 10]
    assert values(load(tmp_path / "masks")) == [200, 200, 200]


def test_a_folder_that_was_moved_is_known(root: Path, monkeypatch) -> None:
    fill(root, 30)
    load(root)
    no_decoding(monkeypatch)
    assert len(load(root.rename(root.parent / "moved"))) == 30


def test_where_the_cache_is(root: Path, tmp_path: Path, monkeypatch) -> None:
    fill(root, 2)
    load(root, cache=tmp_path / "mine")
    assert len(list((tmp_path / "mine/decoded").glob("*/cache.json"))) == 1
    monkeypatch.setenv(cache.ENVIRONMENT, "~/x")
    assert cache.cache_root() == Path("~/x/decoded").expanduser()
    monkeypatch.setenv(cache.ENVIRONMENT, "")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("/home/me") / name)
    assert cache.cache_root() == Path("/home/me/ganzoo/decoded")


def only_cache(place: Path) -> Path:
    (found,) = (path.parent for path in place.glob("*/cache.json"))
    return found


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 3)


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    time.sleep(0.02)  # a clock tick of the file system
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["pictures.npy", "cache.json"])
@pytest.mark.parametrize("damage", [cut, flip_byte, Path.unlink])
@pytest.mark.parametrize("always", [0, 2**25])
def test_a_damaged_cache_is_built_again(
    root: Path, cache_place: Path, monkeypatch, name: str, damage, always: int
) -> None:
    monkeypatch.setattr(cache, "_ALWAYS_HASHED", always)
    fill(root, 5)
    wanted = load(root).data.clone()
    damage(only_cache(cache_place) / name)
    samples = load(root)
    assert torch.equal(samples.data, wanted)
    (notice,) = notices(samples)
    assert "were damaged (" in notice and notice.endswith("and have been made again.")
    assert notices(load(root)) == ()
    assert not list(cache_place.glob(".*"))


def test_a_copied_cache_is_as_good(root: Path, cache_place: Path, monkeypatch) -> None:
    monkeypatch.setattr(cache, "_ALWAYS_HASHED", 0)
    fill(root, 5)
    load(root)
    os.utime(only_cache(cache_place) / "pictures.npy", ns=(1, 1))
    no_decoding(monkeypatch)
    assert notices(load(root)) == ()


def test_a_full_disk(root: Path, cache_place: Path, monkeypatch) -> None:
    fill(root, 5)
    usage = shutil.disk_usage(root)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
        assert refused(root) == (
            f"The disk of {cache_place} is too full for the decoded pictures of '{root}' (0.00 GiB "
            f"are needed); free some space, choose a smaller size, or set the option cache or "
            f"GANZOO_CACHE to a folder on another disk."
        )
    with monkeypatch.context() as patch:  # it fills up on the way
        patch.setattr(
            progress.Bar,
            "show",
            lambda *a: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")),
        )
        assert "is too full for the decoded pictures" in refused(root)
    assert not list(cache_place.glob(".*")) and not list(cache_place.glob("*/cache.json"))
    load(root)


def test_a_cache_place_that_cannot_be_written(root: Path, tmp_path: Path, monkeypatch) -> None:
    fill(root, 5)
    (tmp_path / "file").touch()
    text = refused(root, cache=tmp_path / "file")
    assert text.startswith(f"The decoded pictures of '{root}' cannot be written to {tmp_path}")
    assert text.endswith("set the option cache or GANZOO_CACHE to a folder of your own.")
    load(root)
    monkeypatch.setattr(Path, "mkdir", None)  # a cache that is there needs no writing
    assert len(load(root)) == 5


def test_two_runs_may_build_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, 40)
    decode, builders = cache.decode, set()

    def slow(*args):
        builders.add(threading.current_thread())
        time.sleep(0.005)
        return decode(*args)

    monkeypatch.setattr(cache, "decode", slow)
    outcomes: list[Samples] = []
    runs = [
        threading.Thread(target=lambda: outcomes.append(load(root, threads=1))) for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(builders) == 1 and len(outcomes) == 3
    for samples in outcomes:
        assert torch.equal(samples.data, outcomes[0].data)


def test_who_waits_is_told(root: Path, cache_place: Path, monkeypatch, capsys) -> None:
    from filelock import FileLock

    monkeypatch.setattr(progress, "MOMENT", 0.05)
    fill(root, 2)
    load(root)
    key = only_cache(cache_place).name
    shutil.rmtree(cache_place / key)
    with FileLock(cache_place / f"locks/{key}.lock"):
        run = threading.Thread(target=load, args=(root,))
        run.start()
        time.sleep(0.5)
    run.join()
    assert "waiting for another process, which is decoding" in capsys.readouterr().err
    assert (cache_place / key / "cache.json").exists()


def test_a_builder_that_was_killed(root: Path, cache_place: Path) -> None:
    fill(root, 20)
    script = f"""
        import time
        from ganzoo.datasets import cache, create
        decode = cache.decode
        cache.decode = lambda *a: (time.sleep(0.05), decode(*a))[1]
        create("folder", path={str(root)!r}, mode="rgb", size=9, threads=1).load()
    """
    builder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    deadline = time.monotonic() + 120
    while not list(cache_place.glob(".*.tmp/pictures.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    builder.kill()
    builder.wait()
    assert list(cache_place.glob(".*.tmp"))
    assert sorted(values(load(root))) == list(range(20))  # another cache: its leftovers go too
    assert not list(cache_place.glob(".*"))
    assert len(load(root, mode="rgb", size=9)) == 20


def test_leftovers_of_the_living_stay(root: Path, cache_place: Path) -> None:
    from filelock import FileLock

    fill(root, 2)
    busy = cache_place / ".abc.123.tmp"
    busy.mkdir(parents=True)
    (cache_place / "locks").mkdir()
    with FileLock(cache_place / "locks/abc.lock"):
        load(root)
        assert busy.exists()
    load(root, size=3)
    assert not busy.exists()


def test_progress_is_shown_if_it_takes_long(root: Path, monkeypatch, capsys) -> None:
    fill(root, 6)
    load(root)
    monkeypatch.setattr(progress, "MOMENT", 0)
    with progress.showing(False):
        load(root, size=2)
    assert capsys.readouterr() == ("", "")
    load(root, size=3)
    assert capsys.readouterr() == ("", f"decoding '{root}': 6 of 6\n")


def test_an_unguarded_script_may_load(root: Path) -> None:
    fill(root, 4)
    script = (
        f"import ganzoo.datasets as d; print(len(d.create('folder', path={str(root)!r}).load()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "4\n" and done.stderr == ""
