"""The contract of a dataset."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator

from ganzoo.component import Component
from ganzoo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.spec import SampleSpec

__all__ = ["DataPath", "Dataset", "Samples"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Real samples in memory, or memory-mapped.

    Attributes:
        data: (N, *spec.shape), uint8 or float32, on the CPU.
        spec: What one sample is, at its native size. ``spec.value_range`` is what a generator
            of it shall make; ``stored_range`` is what ``data`` holds.
        labels: (N,) int64 class indices, or None.
        stored_range: Lowest and highest value that ``data`` may hold: (0, 255) for uint8. None
            where values are taken as they are.
    """

    data: Tensor
    spec: SampleSpec
    labels: Tensor | None = None
    stored_range: tuple[float, float] | None = (0.0, 255.0)

    def __post_init__(self) -> None:
        if tuple(self.data.shape[1:]) != self.spec.shape:
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


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().absolute()


DataPath = Annotated[Path, AfterValidator(_absolute)]
"""A path that is kept absolute, so that a saved setting means the same from any folder."""


class Dataset(Component):
    """A source of real samples."""

    kind: ClassVar[str] = "dataset"
    license: ClassVar[str] = ""
    """SPDX identifier of the data's licence, or empty where it is not known."""

    @abstractmethod
    def load(self) -> Samples:
        """Read the samples.

        Raises:
            DataError: If they are absent or unreadable, with what to do about it.
        """
