from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ganzoo.background import Background


def test_a_job_is_done_beside_and_told_once() -> None:
    background, go = Background(), threading.Event()
    here = threading.get_ident()
    threads = []

    def job() -> Path:
        assert go.wait(10)
        threads.append(threading.get_ident())
        return Path("a")

    assert background.submit(job) is None
    assert background.poll() is None
    go.set()
    assert background.wait() == Path("a")
    assert background.wait() is None
    assert background.poll() is None
    assert threads
    assert threads[0] != here
    background.close()


def test_a_failure_is_raised_at_the_next_call() -> None:
    def fail() -> Path:
        raise OSError("full")

    begun = []

    def job() -> Path:
        begun.append(True)
        return Path("b")

    for after in ("submit", "wait"):
        background = Background()
        background.submit(fail)
        with pytest.raises(OSError, match="full"):
            background.submit(job) if after == "submit" else background.wait()
        assert not begun
        assert background.submit(lambda: Path("c")) is None  # it goes on
        assert background.wait() == Path("c")
        background.close()


def test_polling_hears_of_failures_too() -> None:
    background = Background()

    def fail() -> Path:
        raise OSError("full")

    background.submit(fail)
    background.close()  # waits
    with pytest.raises(OSError, match="full"):
        background.poll()


def test_one_after_the_other() -> None:
    background, done = Background(), []
    for number in range(5):

        def job(number: int = number) -> Path:
            done.append(number)
            return Path(str(number))

        assert background.submit(job) == (Path(str(number - 1)) if number else None)
    background.close()
    assert done == [0, 1, 2, 3, 4]
