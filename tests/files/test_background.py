from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ganzoo.errors import CheckpointError
from ganzoo.files.background import Background


def test_a_job_is_done_beside_and_told_once() -> None:
    background, go = Background(), threading.Event()
    threads = []

    def job() -> Path:
        assert go.wait(10)
        threads.append(threading.current_thread())
        return Path("a")

    assert background.poll() is None
    background.submit(job)
    assert background.poll() is None
    go.set()
    assert background.wait() == Path("a")
    assert background.wait() is None
    assert background.poll() is None
    (thread,) = threads
    assert thread is not threading.main_thread()
    assert thread.daemon  # it does not keep a process that is to end


@pytest.mark.parametrize("call", ["wait", "poll"])
def test_a_failure_is_raised_once_and_work_goes_on(call: str) -> None:
    def fail() -> Path:
        raise OSError("full")

    background = Background()
    background.submit(fail)
    background.settle()  # tells nothing
    background.settle()
    with pytest.raises(OSError, match="full"):
        getattr(background, call)()
    assert background.wait() is None
    background.submit(lambda: Path("c"))
    assert background.wait() == Path("c")


def test_one_at_a_time() -> None:
    background = Background()
    background.submit(lambda: Path("a"))
    with pytest.raises(RuntimeError, match="before the one before it"):
        background.submit(lambda: Path("b"))
    assert background.wait() == Path("a")


def test_an_interruption_while_waiting_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise OSError("full")

    def interrupted(self: threading.Thread) -> None:
        raise KeyboardInterrupt

    background = Background()
    background.submit(fail)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            background.wait()
    with pytest.raises(OSError, match="full"):
        background.wait()


def test_what_follows_a_job_waits_for_it_beside() -> None:
    background, go, done = Background(), threading.Event(), threading.Event()
    background.afterwards(done.set)
    assert done.is_set()  # no job: at once
    done.clear()

    def job() -> Path:
        assert go.wait(10)
        return Path("a")

    background.submit(job)
    background.afterwards(done.set)
    assert not done.wait(0.1)
    go.set()
    assert done.wait(10)
    assert background.wait() == Path("a")


def test_where_no_thread_can_start_it_is_said_and_nothing_stays_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    background = Background()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(CheckpointError, match="Allow the process more threads"):
            background.submit(lambda: Path("a"))
    assert background.wait() is None
    background.submit(lambda: Path("b"))
    assert background.wait() == Path("b")
