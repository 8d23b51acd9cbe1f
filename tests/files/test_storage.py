from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import pytest

from ganzoo.files import storage
from ganzoo.files.storage import (
    ContendedError,
    new_folder,
    partial_writes,
    sha256,
    write_json,
    write_text,
)


def contents(folder: Path) -> dict[str, str]:
    """Everything below a folder, hidden files too."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_new_folder_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "down" / "folder"
    with new_folder(target) as fresh:
        assert not target.exists()
        assert fresh.parent == target.parent  # a rename cannot cross file systems
        (fresh / "part").mkdir()
        (fresh / "part" / "a.txt").write_text("a", encoding="utf-8")
        (fresh / "b.txt").write_text("b", encoding="utf-8")
    assert contents(target) == {"part/a.txt": "a", "b.txt": "b"}
    assert list(target.parent.iterdir()) == [target]


def test_an_older_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old.txt").write_text("old", encoding="utf-8")
    with new_folder(target) as fresh:
        (fresh / "new.txt").write_text("new", encoding="utf-8")
        assert contents(target) == {"old.txt": "old"}
    assert contents(target) == {"new.txt": "new"}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("anything"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_what_was_there(tmp_path: Path, error, there) -> None:
    target = tmp_path / "folder"
    if there:
        target.mkdir()
        (target / "old.txt").write_text("old", encoding="utf-8")
    before = contents(tmp_path)
    with pytest.raises(type(error)) as caught, new_folder(target) as fresh:
        (fresh / "half.txt").write_text("ha", encoding="utf-8")
        raise error
    assert caught.value is error
    assert contents(tmp_path) == before
    assert list(tmp_path.iterdir()) == ([target] if there else [])


def test_files_are_flushed_before_the_folder_appears(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "folder"
    flushed = []

    def flush(path: Path) -> None:
        flushed.append((path.name, target.exists()))

    monkeypatch.setattr(storage, "flush", flush)
    with new_folder(target) as fresh:
        (fresh / "b").write_text("b", encoding="utf-8")
        (fresh / "a").mkdir()
        (fresh / "a" / "c").write_text("c", encoding="utf-8")
    names = ["a", "c", "b", fresh.name]
    assert flushed == [*((name, False) for name in names), (tmp_path.name, True)]


def test_a_disk_that_fails_to_flush(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old.txt").write_text("old", encoding="utf-8")

    def fsync(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(storage.os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"), new_folder(target) as fresh:
        (fresh / "new.txt").write_text("new", encoding="utf-8")
    assert contents(tmp_path) == {"folder/old.txt": "old"}
    assert list(tmp_path.iterdir()) == [target]


def test_the_older_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch
) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old.txt").write_text("old", encoding="utf-8")
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="busy"), new_folder(target) as fresh:
        (fresh / "new.txt").write_text("new", encoding="utf-8")
    assert contents(tmp_path) == {"folder/old.txt": "old"}


@pytest.mark.parametrize("older", [True, False])
def test_two_that_save_at_once(tmp_path: Path, monkeypatch, older) -> None:
    target, rename = tmp_path / "folder", Path.rename
    if older:
        target.mkdir()
        (target / "old.txt").write_text("old", encoding="utf-8")

    def slow(self: Path, to: Path) -> Path:
        if self.name.endswith(".tmp"):  # the other one is a moment quicker
            to.mkdir()
            (to / "other.txt").write_text("other", encoding="utf-8")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", slow)
    with pytest.raises(ContendedError, match="saves there at the same"), new_folder(target) as new:
        (new / "new.txt").write_text("new", encoding="utf-8")
    assert contents(tmp_path) == {"folder/other.txt": "other"}
    assert list(tmp_path.iterdir()) == [target]


def test_an_older_folder_that_another_has_moved(tmp_path: Path, monkeypatch) -> None:
    target, rename = tmp_path / "folder", Path.rename
    target.mkdir()

    def slow(self: Path, to: Path) -> Path:
        if self == target:
            rename(self, tmp_path / "theirs")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", slow)
    with pytest.raises(ContendedError), new_folder(target) as fresh:
        (fresh / "new.txt").write_text("new", encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_leftovers_are_those_of_one_folder(tmp_path: Path) -> None:
    names = [".a.0123abcd.old", ".a.0123abce.tmp", ".a.b.0123abcd.tmp", ".a.old", "a", "b"]
    for name in names:
        (tmp_path / name).mkdir()
    assert [path.name for path in partial_writes(tmp_path / "a")] == names[:2]
    (tmp_path / "link").symlink_to("a")
    assert len(partial_writes(tmp_path / "link")) == 2
    assert partial_writes(tmp_path / "b") == partial_writes(tmp_path / "x" / "y") == []
    assert partial_writes(Path("a\0b")) == []


def test_a_file_in_the_way_of_the_parent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(FileExistsError), new_folder(tmp_path / "file" / "folder"):
        pytest.fail("the block must not run")
    assert contents(tmp_path) == {"file": "x"}


def test_text_is_utf8_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    write_text(path, "first")
    write_text(path, "Häßlich 猫\n")
    assert path.read_bytes().decode("utf-8") == "Häßlich 猫\n"
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "text.txt"
    path.write_text("old", encoding="utf-8")

    def full(self: Path, text: str, **options: str) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert contents(tmp_path) == {"text.txt": "old"}


def test_json(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True], "a": {"naïve": "猫"}}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text == json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert "naïve" in text and text.startswith('{\n  "b": [')


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_json(tmp_path: Path, value) -> None:
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"value": value})
    assert contents(tmp_path) == {"value.json": "1\n"}


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
