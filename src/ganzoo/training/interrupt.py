"""Signals at a moment that suits: between two iterations, not in the middle of one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

__all__ = ["leave", "on_signals"]

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # SIGUSR1 comes from batch schedulers; Windows lacks it


@contextlib.contextmanager
def on_signals(act: Callable[[], object]) -> Iterator[list[int]]:
    """Call ``act`` at the first Ctrl-C, SIGTERM or SIGUSR1 within the block; yield its number.

    It is in the list once it has come. A Ctrl-C after the first signal interrupts at once;
    further SIGTERM and SIGUSR1 change nothing. Signals reach the main thread only; elsewhere the
    block runs as if this were not there.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before: dict[int, Any] = {
        number: signal.getsignal(number)
        for name in _NAMES
        if (number := getattr(signal, name, None)) is not None
        if signal.getsignal(number) != signal.SIG_IGN  # nohup and scripts have some ignored
    }

    def handle(number: int, frame: FrameType | None) -> None:
        if signal.SIGINT in before:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if not asked:
            asked.append(number)
            act()

    for number in before:
        signal.signal(number, handle)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            # None: it was installed from outside Python, and cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def leave(number: int) -> None:
    """Leave as programs do that end by a signal.

    Raises:
        KeyboardInterrupt: For Ctrl-C.
        SystemExit: With 128 and the signal's number for others: 143 for SIGTERM.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
