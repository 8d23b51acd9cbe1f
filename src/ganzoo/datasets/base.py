"""The contract of a dataset."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import AfterValidator

from ganzoo.core.component import Component
from ganzoo.errors import ConfigError
from ganzoo.files.storage import expanded

if TYPE_CHECKING:
    from ganzoo.datasets.samples import Samples
    from ganzoo.datasets.stream import Stream

__all__ = ["SUBSET_FIELDS", "DataPath", "Dataset", "StoredRange"]

SUBSET_FIELDS = ("repo", "subset", "revision", "split")
"""Options of a dataset that say which of its samples."""


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else expanded(path).absolute()


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1]:
        raise ConfigError(
            f"A stored_range is (low, high) with low < high, not {value}; swap or correct it."
        )
    return value


DataPath = Annotated[Path, AfterValidator(_absolute)]
"""A path made absolute, so that a saved setting means the same from any folder."""

StoredRange = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Lowest and highest value that data may hold."""


class Dataset(Component):
    """A source of real samples."""

    kind: ClassVar[str] = "dataset"
    license: ClassVar[str] = ""
    """SPDX identifier of the data's licence, or empty where it is not known."""
    classes_of: ClassVar[str | None] = None
    """The data whose classes its samples have, such as ``mnist``; None if unknown."""

    @property
    def called(self) -> str:
        """What people call it."""
        return self.name

    @abstractmethod
    def load(self) -> Samples:
        """Read the samples.

        Raises:
            DataError: If they are absent or unreadable, with what to do about it.
        """

    def sized(self, size: tuple[int, int]) -> Self:
        """Return the dataset that makes images of this height and width, where it can.

        One that reads pictures of any size brings them to that size at once; others stay as they
        are, and their images are padded or resized.
        """
        return self

    def stream(self, workers: int, labels: bool = False) -> Stream:
        """Return the samples to be read while training, where this dataset can do so.

        Args:
            workers: Processes that will read; 0 if the training's own does.
            labels: Whether labels are wanted.

        Raises:
            ConfigError: If this dataset is not read while training, or cannot be.
            DataError: If the samples are absent or unreadable.
        """
        raise ConfigError(
            f"'workers' is for torch Datasets that are read while training. The dataset "
            f"'{self.called}' is in memory or mapped into it: leave 'workers' out."
        )

    def resolved(
        self, workers: int | None = None, labels: bool = False
    ) -> tuple[Self, Samples | Stream]:
        """Return this dataset as a config records it, and its samples.

        Args:
            workers: As ``stream`` has it; None if the samples are to be loaded.
            labels: Whether labels are wanted: only then are guesses about classes worth a notice.

        Raises:
            ConfigError: If there are workers and this dataset is not read while training.
            DataError: If the samples are absent or unreadable.
        """
        return self, self._load(labels) if workers is None else self.stream(workers, labels)

    def _load(self, wanted: bool | None) -> Samples:
        """Load; ``wanted`` is whether labels are, or None if that is unknown."""
        return self.load()
