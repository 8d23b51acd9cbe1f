"""One process per run folder: a lock that ends with its process."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import RunFolderError
from ganzoo.files import bounded_json, untrusted
from ganzoo.files.storage import write_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["LOCK", "OWNER", "RunLock", "owner"]

LOCK, OWNER = ".lock", ".owner.json"
_LARGEST = 2**16  # bytes of .owner.json
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
_PATIENCE = 15.0  # seconds; processes that read data outlive a killed training by about 5
_LEAVING: set[Path] = set()  # folders that this process lets go of when a last write is done


class RunLock:
    """Held by the one process that may write into a folder, which must exist.

    The system releases it when its process ends, in whatever way. On file systems that cannot
    lock, a file stands for the lock: it is stale, and taken over, when its process is no longer
    there on this host.

    Raises:
        RunFolderError: If another process holds it, with its host and pid; or if the folder
            cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import Timeout

        self.folder = folder
        try:
            folder.stat()  # filelock would make it
            self._lock = self._taken()
            facts = {"host": socket.gethostname(), "pid": os.getpid()}
            try:
                started = datetime.now(UTC).isoformat(timespec="seconds")
                write_json(folder / OWNER, {**facts, "started": started})
            except BaseException:
                self._lock.release()
                raise
        except Timeout:
            raise _held(folder) from None
        except OSError as error:
            raise RunFolderError(
                f"The run folder {folder} cannot be written ({error.strerror or error}). Free "
                f"some space or use another folder."
            ) from error

    def _taken(self) -> BaseFileLock:
        from filelock import FileLock, SoftFileLock

        try:
            return self._take(FileLock(self.folder / LOCK, thread_local=False))
        except (NotImplementedError, OSError) as error:
            # The first is what filelock makes of ENOSYS.
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            return self._take(SoftFileLock(self.folder / LOCK, thread_local=False))

    def _take(self, lock: BaseFileLock) -> BaseFileLock:
        from filelock import Timeout

        began = time.monotonic()
        while True:
            # Asked before the try: a lock may be let go of between the two.
            leaving = self.folder.resolve() in _LEAVING
            try:
                with warnings.catch_warnings():
                    # Newer filelocks change to a SoftFileLock by themselves, and say so.
                    warnings.filterwarnings("ignore", "flock not supported")
                    lock.acquire(timeout=0)
                return lock
            except Timeout:
                # Its owner is gone, but processes that it had started hold the lock still; or it
                # is this very process, which is about to let go.
                orphaned = _running(owner(self.folder)) is False
                if not (orphaned or leaving) or time.monotonic() - began > _PATIENCE:
                    raise
                time.sleep(0.1)

    def leaving(self) -> None:
        """Say that ``release`` is to come soon, from another thread."""
        _LEAVING.add(self.folder.resolve())

    def release(self) -> None:
        """Let others in; a second call does nothing."""
        try:
            if self._lock.is_locked:
                with contextlib.suppress(OSError):  # the folder may be gone
                    (self.folder / OWNER).unlink(missing_ok=True)
                self._lock.release()
        finally:
            _LEAVING.discard(self.folder.resolve())


def owner(folder: Path) -> dict[str, Any] | None:
    """Return ``host``, ``pid`` and ``started`` of the last holder; None if unknown."""
    try:
        with untrusted.opened(folder / OWNER) as file:
            facts = bounded_json.parse(file.read(_LARGEST))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and {"host", "pid", "started"} <= set(facts) else None


def _held(folder: Path) -> RunFolderError:
    facts = owner(folder)
    who = "another process"
    if facts is not None:
        who = f"process {facts['pid']} on {facts['host']} (since {facts['started']})"
    return RunFolderError(
        f"{who} is training in {folder}, and two would spoil each other's files. Wait for it or "
        f"stop it; if it is gone, delete {folder / LOCK}."
    )


def _running(facts: dict[str, Any] | None) -> bool | None:
    """Whether that process is there; None where it cannot be known from here."""
    if facts is None or facts["host"] != socket.gethostname() or os.name == "nt":
        return None
    try:
        os.kill(int(facts["pid"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, TypeError, OverflowError):
        return None
    return True
