"""A tracker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ganzoo.trackers import Log, Tracker

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

__all__ = ["NumberTable"]


class NumberTable(Tracker):
    """A table for spreadsheets, ``numbers.csv`` in the run folder: step, name, value."""

    digits: int = Field(6, ge=1, description="significant digits of a value")

    def open(self, folder: Path, settings: Mapping[str, Any], step: int) -> Log:
        """Go on with the table that is there, as far as training had come at ``step``."""
        path = folder / "numbers.csv"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines[1:] if line.endswith("\n")]  # a kill may cut the last one
        kept = [line for line in whole if int(line.partition(",")[0]) <= step]
        return _Table(path, kept, self.digits)


class _Table(Log):
    """The open file."""

    def __init__(self, path: Path, lines: Iterable[str], digits: int) -> None:
        self.digits = digits
        self.file = path.open("w", encoding="utf-8")
        self.file.writelines(["step,name,value\n", *lines])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line for each value."""
        for name, value in values.items():
            self.file.write(f"{step},{name},{value:.{self.digits}g}\n")
        self.file.flush()

    def images(self, step: int, name: str, image: Image) -> None:
        """Leave pictures out: they do not fit into a table."""

    def finish(self) -> None:
        """Close the file."""
        self.file.close()
