from __future__ import annotations

import pytest

from ganzoo.errors import GanzooError, plain, quoted

NAMES = "猫 Ελλάς نمی\u200cکنم 👩\u200d👧 é e\u0301"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\r\n and\u2028three\tfour", "two lines  and three four"),
        ("\x1b]52;c;eA==\x07\x1b[2K", "?]52;c;eA==??[2K"),
        ("\x9b31m \x7f \x00 \u202e \u2066 \ufeff", "?31m ? ? ? ? ?"),
        ("a\ud800b", "a?b"),
        (NAMES, NAMES),
    ],
)
def test_messages_do_nothing_to_a_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert str(GanzooError(text)) == shown


def test_of_long_messages_both_ends_stay() -> None:
    text = str(GanzooError("the fact " + "x" * 10**6 + " the fix"))
    assert text.startswith("the fact x") and text.endswith("x the fix")
    assert len(text) == 2005


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("it's", '"it\'s"'),
        ([1, "a"], "[1, 'a']"),
        (10**1000, "100000"),
        ("\n", r"'\n'"),
    ],
)
def test_values_as_messages_quote_them(value, shown: str) -> None:
    assert quoted(value).startswith(shown)


def test_numbers_that_python_does_not_write_down() -> None:
    assert quoted([1 << 10**5]) == "[a number of 100,001 bits]"


def test_quoting_is_quick_and_short() -> None:
    value: list = ["x"] * 10
    for _ in range(50):
        value = [value] * 10
    assert len(quoted(value)) < 210
