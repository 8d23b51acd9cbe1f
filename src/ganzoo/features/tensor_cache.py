"""Folders of tensors in ganzoo's cache, which are used only if they are unharmed."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.files import artifact
from ganzoo.files.storage import is_partial_write

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
        tensors: By name.
        facts: What else is to be known; not ``format_version``, ``files`` nor ``sha256``.

    Raises:
        OSError: If the disk is full or the place is not writable.
    """
    with artifact.new(folder, _RECORD, {"format_version": 1, **facts}) as fresh:
        artifact.save_tensors(fresh / _WEIGHTS, tensors)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and facts that ``write`` saved; None if nothing is there, or damage."""
    try:
        record = artifact.read_manifest(folder / _RECORD)
        return artifact.read_tensors(folder / _WEIGHTS, record["files"][_WEIGHTS]), record
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clean_partial_writes(root: Path) -> None:
    """Remove what writes that a kill has cut short left in the folders of ``root``.

    What is younger than a day stays: another process may be writing it.
    """
    for path in root.glob("*/.*"):
        with contextlib.suppress(OSError):
            if is_partial_write(path) and time.time() - path.stat().st_mtime > _DAY:
                shutil.rmtree(path)
