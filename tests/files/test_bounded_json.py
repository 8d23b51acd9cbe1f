from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganzoo.files import bounded_json
from ganzoo.files.storage import write_json

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
@settings(deadline=None)  # it writes files
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, value) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert bounded_json.read(path) == value
    assert bounded_json.parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": NaN}', "NaN is not finite"),
        ('{"a": -Infinity}', "-Infinity is not finite"),
        ('{"a": 1e999}', "1e999 is not finite"),
        ('{"a": -1e999}', "-1e999 is not finite"),
        (f'{{"a": {"9" * 5000}}}', "limit"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
        ("[" * 50 + "]" * 50, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "0," * 60_000 + "0]", "more than 50,000 values"),
        ('{"a": 1} {"a": 1}', "Extra data"),
        ('{"a": 1,}', "."),
        ("{'a': 1}", "."),
        ('{"a": 01}', "."),
        ('{"a": 1, "a": 1}', "the key 'a' stands twice"),
        ('{"b": [{"a": 1, "c": 2, "a": 3}]}', "the key 'a' stands twice"),
    ],
)
def test_what_is_no_json_of_ours(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "file.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=problem):
        bounded_json.read(tmp_path / "file.json")


def test_a_size_beyond_reason(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(b" " * 99 + b"1")
    assert bounded_json.read(tmp_path / "file.json", largest=100) == 1
    with pytest.raises(ValueError, match="larger than 99 bytes"):
        bounded_json.read(tmp_path / "file.json", largest=99)
