"""Folders of tensors in ganzoo's cache, which are used only if they are unharmed."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.files import checksummed, untrusted
from ganzoo.files.storage import is_partial_write, new_folder, sha256, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["clean_partial_writes", "read", "write"]

_WEIGHTS, _RECORD = "weights.safetensors", "record.json"
_DAY = 24 * 60 * 60  # seconds


def write(folder: Path, tensors: Mapping[str, Tensor], **facts: Any) -> None:
    """Write tensors and JSON values into a folder, whole or not at all.

    Args:
        folder: One that is there is replaced.
        tensors: By name, contiguous and none sharing memory.
        facts: What else is to be known; not ``file`` nor ``sha256``.

    Raises:
        OSError: If the disk is full or the place is not writable.
    """
    from safetensors.torch import save_file

    with new_folder(folder) as fresh:
        try:
            save_file(dict(tensors), fresh / _WEIGHTS)
        except Exception as error:  # safetensors wraps the system's error in its own class
            if type(error).__name__ != "SafetensorError":
                raise
            raise OSError(str(error)) from error
        record = {**facts, "file": sha256(fresh / _WEIGHTS)}
        write_json(fresh / _RECORD, checksummed.add_checksum(record))


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and facts that ``write`` wrote; None if nothing is there, or damage.

    Large files are mapped into memory, as ``untrusted.tensors`` says.
    """
    try:
        record, damage = checksummed.read(folder / _RECORD)
        if damage or not isinstance(record, dict) or checksummed.broken_checksum(record):
            return None
        with untrusted.opened(folder / _WEIGHTS) as file:
            if untrusted.digest(file) != record.get("file"):
                return None
            return untrusted.tensors(file), record
    except (OSError, ValueError):
        return None


def clean_partial_writes(root: Path) -> None:
    """Remove what writes that a kill has cut short left in the folders of ``root``.

    What is younger than a day stays: somebody may be writing it.
    """
    for path in root.glob("*/.*"):
        with contextlib.suppress(OSError):
            if is_partial_write(path) and time.time() - path.stat().st_mtime > _DAY:
                shutil.rmtree(path)
