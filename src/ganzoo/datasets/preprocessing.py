"""How images of one size meet an architecture that makes another: padded or resized."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from ganzoo.core.model import Model
from ganzoo.core.spec import PositiveInt
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Preprocessing"]

Size = tuple[PositiveInt, PositiveInt]
_CHUNK = 64 * 2**20  # bytes of float32 that resizing holds at once


class Preprocessing(Model):
    """A map from images of the original size to the size that is trained, and back.

    Attributes:
        method: ``none`` where both sizes are the same; ``pad`` puts the image in the middle of a
            larger one and is undone exactly; ``resize`` stretches it to the size, also where that
            changes its proportions, and is not undone.
        original_size: Height and width of the images as they are stored.
        size: Height and width that the architecture is trained at.
    """

    error_label: ClassVar[str] = "The preprocessing"

    method: Literal["none", "pad", "resize"]
    original_size: Size
    size: Size

    @model_validator(mode="after")
    def _possible(self) -> Preprocessing:
        (height, width), (tall, wide) = self.original_size, self.size
        if self.method == "none" and self.original_size != self.size:
            raise ConfigError(
                f"{_text(self.original_size)} images are not {_text(self.size)}: they need padding "
                f"or resizing (resize_mode='pad' or resize_mode='resize')."
            )
        if self.method == "pad" and (tall < height or wide < width):
            raise ConfigError(
                f"{_text(self.original_size)} images cannot be padded to {_text(self.size)}, which "
                f"is smaller; resize them instead (resize_mode='resize')."
            )
        return self

    @classmethod
    def fit(
        cls,
        original_size: tuple[int, int],
        size: tuple[int, int],
        method: Literal["none", "pad", "resize"],
    ) -> Preprocessing:
        """Return the preprocessing from one size to another; ``none`` where they are the same.

        Raises:
            ConfigError: If the sizes differ and ``method`` is ``none``, or is ``pad`` and the
                images are larger than ``size``.
        """
        return cls(
            method="none" if original_size == size else method,
            original_size=original_size,
            size=size,
        )

    def apply(self, data: Tensor, low: float) -> Tensor:
        """Bring images to the trained size.

        Args:
            data: (N, C, *original_size), uint8 or float.
            low: Lowest stored value (black, or transparent), which padding consists of.

        Returns:
            (N, C, *size) of the same dtype; ``data`` itself where nothing is to be done. Where
            padding is odd, the further row is below and the further column on the right.

        Raises:
            ConfigError: If the images do not have the original size.
        """
        self._expect(data, self.original_size)
        if self.method == "none":
            return data
        if self.method == "resize":
            return _resized(data, self.size)
        fill = low if data.is_floating_point() else int(low)
        padded = data.new_full((*data.shape[:-2], *self.size), fill)
        rows, columns = self._inner()
        padded[..., rows, columns] = data
        return padded

    def undo(self, images: Tensor) -> Tensor:
        """Bring images of the trained size back to what people see.

        Of images (..., *size) that were padded, the result is a view (..., *original_size);
        others are unchanged.

        Raises:
            ConfigError: If the images do not have the trained size.
        """
        self._expect(images, self.size)
        if self.method != "pad":
            return images
        rows, columns = self._inner()
        return images[..., rows, columns]

    def notice(self, architecture: str) -> str:
        """Return one line on what happens to the images for an architecture; empty if nothing."""
        if self.method == "none":
            return ""
        verb = "padded" if self.method == "pad" else "resized"
        after = self.original_size if self.method == "pad" else self.size
        (height, width), (tall, wide) = self.original_size, self.size
        stretched = self.method == "resize" and height * wide != width * tall
        return (
            f"{_text(self.original_size)} images are {verb} to {_text(self.size)}, which "
            f"'{architecture}' can do; samples come out {_text(after)}"
            f"{', with other proportions' if stretched else ''}."
        )

    def _inner(self) -> tuple[slice, slice]:
        (height, width), (tall, wide) = self.original_size, self.size
        top, left = (tall - height) // 2, (wide - width) // 2
        return slice(top, top + height), slice(left, left + width)

    def _expect(self, images: Tensor, size: tuple[int, int]) -> None:
        if tuple(images.shape[-2:]) != size:
            raise ConfigError(
                f"Images of shape {tuple(images.shape)} are not {_text(size)}, which this "
                f"preprocessing ({_text(self.original_size)} to {_text(self.size)}) needs."
            )


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _resized(data: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing, computed in float32 and a chunk at a time."""
    import torch
    from torch.nn import functional

    resized = data.new_empty((*data.shape[:-2], *size))
    larger = max(data[:1].numel(), resized[:1].numel())
    rows = max(1, _CHUNK // (4 * max(1, larger)))
    for start in range(0, len(data), rows):
        part = functional.interpolate(
            data[start : start + rows].to(torch.float32),
            size=size,
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        resized[start : start + rows] = part if data.is_floating_point() else part.round()
    return resized
