from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganzoo.files import artifact

FACTS = {"format_version": 1, "b": [1, 0.5, {"z": None, "a": "ä 猫"}], "a": {"y": True, "x": "\n"}}
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab猫"), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with artifact.new(tmp_path / "it", "record.json", FACTS) as fresh:
        artifact.save_tensors(fresh / "w.safetensors", {"w": torch.arange(4.0)})
        (fresh / "notes.txt").write_text("notes", encoding="utf-8")
    return tmp_path / "it"


def test_a_folder_of_files_and_facts(folder: Path) -> None:
    record = artifact.read_manifest(folder / "record.json")
    files = record.pop("files")
    assert record == FACTS
    assert {name: artifact.describe(folder / name) for name in files} == files
    assert artifact.read(folder / "notes.txt", files["notes.txt"]) == b"notes"
    tensors = artifact.read_tensors(folder / "w.safetensors", files["w.safetensors"])
    assert torch.equal(tensors["w"], torch.arange(4.0))
    assert [path.name for path in folder.parent.iterdir()] == ["it"]


def test_what_fails_leaves_the_older_one(folder: Path) -> None:
    with (
        pytest.raises(ValueError, match="nested too deeply"),
        artifact.new(folder, "record.json", {"deep": json.loads("[" * 40 + "]" * 40)}) as fresh,
    ):
        (fresh / "other.txt").write_bytes(b"other")
    assert artifact.read_manifest(folder / "record.json")["a"] == FACTS["a"]
    assert [path.name for path in folder.parent.iterdir()] == ["it"]


@pytest.mark.parametrize(
    ("content", "problem"), [(b"noteS", "checksum"), (b"note", "size"), (b"notes ", "size")]
)
def test_damage_of_a_file(folder: Path, content: bytes, problem: str) -> None:
    facts = artifact.read_manifest(folder / "record.json")["files"]["notes.txt"]
    (folder / "notes.txt").write_bytes(content)
    for look in (artifact.check, artifact.read):
        with pytest.raises(ValueError, match=f"{problem} mismatch"):
            look(folder / "notes.txt", facts)


@given(st.dictionaries(st.text("ab猫"), PLAIN))
def test_the_checksum_does_not_depend_on_the_order_of_keys(value) -> None:
    closed = artifact.with_checksum(value)
    turned = dict(reversed(json.loads(json.dumps(value)).items()))
    assert artifact.with_checksum(turned)["sha256"] == closed["sha256"]


LAYOUTS = {
    "indent 4": lambda value: json.dumps(value, indent=4),
    "tabs": lambda value: json.dumps(value, indent="\t"),
    "one line": lambda value: json.dumps(value),
    "no spaces": lambda value: json.dumps(value, separators=(",", ":")),
    "escapes": lambda value: json.dumps(value, ensure_ascii=True),
    "sorted": lambda value: json.dumps(value, sort_keys=True),
    "checksum first": lambda value: json.dumps(dict(reversed(value.items())), indent=2),
    "line ends of Windows": lambda value: json.dumps(value, indent=2).replace("\n", "\r\n"),
    "blank lines": lambda value: "\n\n" + json.dumps(value) + "\n \t\n",
    "byte order mark": lambda value: "\ufeff" + json.dumps(value),
    "other digits": lambda value: json.dumps(value).replace("0.5", "5E-1"),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_no_change(tmp_path: Path, layout) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(layout(artifact.with_checksum(FACTS)).encode())
    assert artifact.read_manifest(path) == FACTS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"),
        ("true", "false"),
        ("true", "1"),
        ("null", "0"),
        ('"z"', '"zz"'),
        ("[1, 0.5", "[0.5, 1"),
        ("猫", "猫 "),
        (', "y": true', ""),
        ('"y": true', '"y": true, "more": 0'),
        ("1, 0", "1, 1, 0"),
        ('"format_version": 1', '"format_version": 2'),
    ],
)
def test_a_value_is_a_change(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "value.json"
    text = json.dumps(artifact.with_checksum(FACTS), ensure_ascii=False, sort_keys=True)
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match="does not match its own sha256"):
        artifact.read_manifest(path)


def test_every_single_byte_counts(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    artifact.write_manifest(path, {"format_version": 1, "text": "a b", "list": [0.5, None]})
    content, value = path.read_bytes(), artifact.read_manifest(path)
    for place in range(len(content)):
        for change in (1, 0x20, 0x80):
            path.write_bytes(
                content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
            )
            try:  # one kind of white space for another is no change
                assert artifact.read_manifest(path) == value
            except ValueError:
                continue


@pytest.mark.parametrize("version", [None, 0, -1, True, "1", 1.0])
def test_a_version_that_is_none(tmp_path: Path, version) -> None:
    artifact.write_manifest(tmp_path / "m.json", {"format_version": version})
    with pytest.raises(ValueError, match="not a number from 1 on"):
        artifact.read_manifest(tmp_path / "m.json")


def test_a_newer_version(tmp_path: Path) -> None:
    artifact.write_manifest(tmp_path / "m.json", {"format_version": 3})
    assert artifact.read_manifest(tmp_path / "m.json", newest=3) == {"format_version": 3}
    with pytest.raises(artifact.NewerFormatError, match="has format 3, but .* upgrade ganzoo"):
        artifact.read_manifest(tmp_path / "m.json", newest=2)
