from __future__ import annotations

import threading

import pytest
from rich.console import Console

from ganzoo.datasets import progress


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOMENT", 0)


def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def run(*counts: int, text: str = "decoding '[red]x'") -> None:
    with progress.Bar(text, 2000) as bar:
        for count in counts:
            bar.show(count)


def test_lines_where_there_is_no_terminal(capsys) -> None:
    run(1, 1000, 2000)
    assert capsys.readouterr() == ("", "decoding '[red]x': 1 of 2,000\n")


def test_lines_are_apart(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINES_APART", 0)
    run(1, 1000)
    assert capsys.readouterr().err.endswith(": 1,000 of 2,000\n")


def test_a_bar_on_a_terminal(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    run(1, 1000)
    out, err = capsys.readouterr()
    assert out == "" and "decoding '[red]x'" in err and "1000/2000" in err


def test_what_is_quick_shows_nothing(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOMENT", 60)
    run(1, 1000, 2000)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("on_terminal", [False, True])
def test_quiet(on_terminal: bool, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    if on_terminal:
        terminal(monkeypatch)
    with progress.showing(False):
        run(1, 2)
        progress.say("waiting")
        with progress.showing(True):
            assert progress.is_shown()
        assert not progress.is_shown()
    assert progress.is_shown()
    assert capsys.readouterr() == ("", "")


def test_quiet_is_over_after_an_error_and_does_not_reach_other_threads() -> None:
    seen: list[bool] = []
    with pytest.raises(KeyError), progress.showing(False):
        thread = threading.Thread(target=lambda: seen.append(progress.is_shown()))
        thread.start()
        thread.join()
        raise KeyError
    assert progress.is_shown() and seen == [True]


def test_a_line(capsys) -> None:
    progress.say("waiting for [bold]'x'")
    assert capsys.readouterr() == ("", "waiting for [bold]'x'\n")
