from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from ganzoo.errors import RunFolderError
from ganzoo.files import lock
from ganzoo.files.lock import LOCK, OWNER, RunLock, owner

HOLD = """
import sys
from pathlib import Path
from ganzoo.files.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


UNABLE = """
import filelock
class Unable(filelock.FileLock):
    def _acquire(self):
        raise NotImplementedError
filelock.FileLock = Unable
"""


def holder(folder: Path, script: str = HOLD) -> subprocess.Popen[str]:
    """Another process that holds the folder until its input ends or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(RunFolderError) as caught:
            RunLock(tmp_path)
        told = str(caught.value)
        assert f"process {process.pid} on {socket.gethostname()} (since 20" in told
        assert str(tmp_path) in told
        process.communicate("")
    RunLock(tmp_path).release()


def test_a_kill_leaves_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
    assert owner(tmp_path) is not None  # it could not tidy up
    mine = RunLock(tmp_path)
    facts = owner(tmp_path)
    assert facts is not None
    assert facts["pid"] == os.getpid()
    mine.release()
    assert owner(tmp_path) is None
    mine.release()


def test_one_process_holds_it_once_too(tmp_path: Path) -> None:
    first = RunLock(tmp_path)
    with pytest.raises(RunFolderError, match=f"process {os.getpid()} on"):
        RunLock(tmp_path)
    first.release()
    RunLock(tmp_path).release()


def test_one_that_is_let_go_of_meanwhile_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = RunLock(tmp_path)
    first.leaving()

    def release(folder: Path) -> None:  # asked for after a try that failed
        first.release()

    monkeypatch.setattr(lock, "owner", release)
    RunLock(tmp_path).release()


class Unable(filelock.FileLock):
    """A file system without locks."""

    def _acquire(self) -> None:
        raise NotImplementedError


@pytest.mark.skipif(os.name == "nt", reason="Windows always has locks")
@pytest.mark.parametrize("alive", [True, False, None])
def test_without_locks_of_the_system_a_file_stands_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool | None
) -> None:
    monkeypatch.setattr(filelock, "FileLock", Unable)
    monkeypatch.setattr(lock, "_PATIENCE", 0)
    with holder(tmp_path, UNABLE + HOLD) as process:
        if alive is False:
            process.kill()
            process.wait()
            RunLock(tmp_path).release()
            return
        if alive is None:  # on a host that cannot be asked
            process.kill()
            process.wait()
            (tmp_path / LOCK).write_text(f"{process.pid}\nelsewhere\n", encoding="utf-8")
            facts = {"host": "elsewhere", "pid": process.pid, "started": "then"}
            (tmp_path / OWNER).write_text(json.dumps(facts), encoding="utf-8")
        host = socket.gethostname() if alive else "elsewhere"
        with pytest.raises(RunFolderError, match=f"process {process.pid} on {host}"):
            RunLock(tmp_path)
        if alive:
            process.communicate("")


@pytest.mark.skipif(os.name == "nt", reason="Windows always has locks")
def test_of_many_that_find_a_stale_file_one_takes_it_over(tmp_path: Path) -> None:
    for _ in range(3):
        with holder(tmp_path, UNABLE + HOLD) as process:
            process.kill()
        line = [sys.executable, "-c", UNABLE + HOLD, str(tmp_path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        rivals = [subprocess.Popen(line, text=True, **pipes) for _ in range(4)]
        told = [rival.stdout.readline() for rival in rivals]
        for rival in rivals:
            rival.communicate("")
        assert told.count("held\n") == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"cannot be written \("):
        RunLock(tmp_path / "absent")


def test_an_owner_file_that_says_nothing(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", "\0"):
        (tmp_path / OWNER).write_text(text, encoding="utf-8")
        assert owner(tmp_path) is None


def test_a_lock_that_cannot_name_its_owner_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lock, "write_json", full)
        with pytest.raises(RunFolderError, match="No space left") as caught:
            RunLock(tmp_path)
    RunLock(tmp_path).release()
    del caught  # its traceback held the lock alive until here


class Without(filelock.FileLock):
    """A network file system whose server has no locks."""

    def _acquire(self) -> None:
        raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.skipif(os.name == "nt", reason="Windows always has locks")
def test_a_server_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filelock, "FileLock", Without)
    held = RunLock(tmp_path)
    with pytest.raises(RunFolderError, match=f"process {os.getpid()} on"):
        RunLock(tmp_path)
    held.release()
    RunLock(tmp_path).release()
