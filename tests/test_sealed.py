from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo import sealed
from ganzoo.storage import write_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab猫"), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, value) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert sealed.read(path) == (value, "")


@given(st.dictionaries(st.text("ab猫"), PLAIN))
def test_a_seal_holds(value) -> None:
    closed = sealed.seal(value)
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert closed == {**value, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert sealed.broken_seal(json.loads(json.dumps(closed))) == ""


@pytest.mark.parametrize(
    "value", [{"a": 1}, {"a": 1, "sha256": None}, {**sealed.seal({"a": 1}), "a": 2}]
)
def test_a_seal_breaks(value) -> None:
    assert sealed.broken_seal(value).endswith("it was edited or damaged")


def test_every_single_byte_counts(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, sealed.seal({"version": 1, "text": "a b", "list": [0.5, None]}))
    content = path.read_bytes()
    for place in range(len(content)):
        for change in (1, 0x20, 0x80):
            path.write_bytes(
                content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
            )
            try:
                value, fault = sealed.read(path)
            except ValueError:
                continue
            assert fault or not isinstance(value, dict) or sealed.broken_seal(value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"format_version": 7, "more": 1}', 7),
        ('{"format_version": "7"}', None),
        ('{"format_version": true}', None),
        ("[7]", None),
        ("no JSON", None),
        ("[" * 100_000, None),
    ],
)
def test_a_glance_at_the_version(tmp_path: Path, text: str, found: int | None) -> None:
    (tmp_path / "file.json").write_text(text, encoding="utf-8")
    assert sealed.peek(tmp_path / "file.json") == found
    assert sealed.peek(tmp_path / "absent.json") is None
