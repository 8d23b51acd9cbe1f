"""The contract of a dataset."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import AfterValidator

from ganzoo.core.component import Component
from ganzoo.errors import ConfigError, DataError
from ganzoo.files.storage import expanded

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.datasets.stream import Stream

__all__ = ["SUBSET_FIELDS", "DataPath", "Dataset", "Samples", "StoredRange"]

SUBSET_FIELDS = ("repo", "subset", "revision", "split")
"""Options of a dataset that say which of its samples."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Real samples in memory, or memory-mapped.

    Attributes:
        data: (N, *spec.shape), uint8 or float32, on the CPU. Images may be larger than their
            spec: each time one is drawn, a part of the spec's size is cut out at random.
        spec: What one sample is, at its native size. ``spec.value_range`` is what a generator
            of it shall make; ``stored_range`` is what ``data`` holds.
        labels: (N,) int64 class indices, or None.
        stored_range: Lowest and highest value that ``data`` may hold: (0, 255) for uint8. None
            where values are taken as they are.
        flip: Whether an image is mirrored left to right, half of the times that it is drawn.
        mixture: The distribution that the samples come from, where it is known.
        notices: What a person should know about these data, a line each.
    """

    data: Tensor
    spec: SampleSpec
    labels: Tensor | None = None
    stored_range: tuple[float, float] | None = (0.0, 255.0)
    flip: bool = False
    mixture: Mixture | None = None
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.data.shape[1:])
        if self.spec.kind == "image" and shape[:1] == self.spec.shape[:1] and len(shape) == 3:
            fits = shape[1] >= self.spec.shape[1] and shape[2] >= self.spec.shape[2]
        else:
            fits = shape == self.spec.shape
        if not fits:
            raise DataError(
                f"The samples have shape {tuple(self.data.shape[1:])} but their spec says "
                f"{self.spec.shape}; the dataset that made them is at fault."
            )
        if self.labels is not None and self.labels.shape != self.data.shape[:1]:
            raise DataError(
                f"There are {len(self.data)} samples but labels of shape "
                f"{tuple(self.labels.shape)}; give one label per sample."
            )

    def __len__(self) -> int:
        return len(self.data)

    @property
    def labeled(self) -> bool:
        """Whether samples have labels."""
        return self.labels is not None

    def with_spec(self, spec: SampleSpec) -> Samples:
        """Return the same samples under another spec; without classes they have no labels."""
        return replace(self, spec=spec, labels=self.labels if spec.classes else None)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else expanded(path).absolute()


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1]:
        raise ConfigError(
            f"A stored_range is (low, high) with low < high, not {value}; swap or correct it."
        )
    return value


DataPath = Annotated[Path, AfterValidator(_absolute)]
"""A path that is kept absolute, so that a saved setting means the same from any folder."""

StoredRange = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Lowest and highest value that data may hold."""


class Dataset(Component):
    """A source of real samples."""

    kind: ClassVar[str] = "dataset"
    license: ClassVar[str] = ""
    """SPDX identifier of the data's licence, or empty where it is not known."""
    classes_of: ClassVar[str | None] = None
    """The data whose classes its samples have, such as ``mnist``; None where it cannot be told."""

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
            f"'{self.called}' is in memory or mapped into it, where no process needs to read it: "
            f"leave 'workers' out."
        )

    def resolved(
        self, workers: int | None = None, labels: bool = False
    ) -> tuple[Self, Samples | Stream]:
        """Return this dataset as a config shall keep it, and its samples.

        Args:
            workers: As ``stream`` has it; None if the samples are to be loaded.
            labels: Whether labels are wanted of a stream.

        Raises:
            ConfigError: If there are workers and this dataset is not read while training.
            DataError: If the samples are absent or unreadable.
        """
        return self, self.load() if workers is None else self.stream(workers, labels)
