from __future__ import annotations

import os
import signal
import threading

import pytest

from ganzoo.training.interrupt import leave, on_signals

NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these to itself")
@pytest.mark.parametrize("name", NAMES)
def test_the_first_signal_asks(name: str) -> None:
    number = getattr(signal, name)
    before = {each: signal.getsignal(getattr(signal, each)) for each in NAMES}
    acts: list[str] = []
    with on_signals(lambda: acts.append(name)) as asked:
        signal.raise_signal(number)
        assert asked == [number] and acts == [name]
        signal.raise_signal(signal.SIGTERM)  # says it once more
        assert asked == [number] and acts == [name]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert {each: signal.getsignal(getattr(signal, each)) for each in NAMES} == before


def test_leaving_as_the_system_expects() -> None:
    with pytest.raises(KeyboardInterrupt):
        leave(signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        leave(signal.SIGTERM)
    assert caught.value.code == 143


def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with on_signals(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_what_the_parent_has_ignored_stays_ignored() -> None:
    """As nohup, and shells for commands in the background, have it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with on_signals(lambda: None) as asked:
        signal.raise_signal(signal.SIGINT)
    assert asked == []
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
