"""What one sample is, and what the generator starts from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ganzoo.core.model import Model
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["FLOAT32_MAX", "LARGEST", "Kind", "LatentSpec", "SampleSpec"]

Kind = Literal["image", "audio", "sequence", "vector"]
LARGEST = 2**31 - 1
"""Values that one sample or latent may have."""

PositiveInt = Annotated[int, Field(gt=0, le=LARGEST)]

FLOAT32_MAX = 3.4028234663852886e38
"""The largest number that nets compute with: torch refuses larger ones where it meets them."""

_AXES: dict[str, str] = {
    "image": "(channels, height, width)",
    "audio": "(channels, length)",
    "sequence": "(vocabulary, length)",
    "vector": "(dimensions,)",
}
_COLOURS = {1: "greyscale", 3: "RGB", 4: "RGBA"}


class SampleSpec(Model):
    """What one sample is: its kind, shape, value range and classes.

    Attributes:
        kind: ``image`` (C, H, W), ``audio`` (C, L), ``sequence`` (V, L) one-hot, ``vector`` (D,).
        shape: Shape of one sample, without the batch axis.
        value_range: Lowest and highest value, or None where values are unbounded. Images and
            audio are in [-1, 1] unless a recipe says otherwise; vectors are unbounded.
        classes: Names of the classes in the order of their labels, or None without labels.
    """

    error_label: ClassVar[str] = "The sample spec"

    kind: Kind = "image"
    shape: tuple[PositiveInt, ...]
    value_range: tuple[float, float] | None = (-1.0, 1.0)
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _shape_fits_kind(self) -> SampleSpec:
        axes = _AXES[self.kind]
        if len(self.shape) != axes.count(",") + (self.kind != "vector"):
            raise ConfigError(f"A sample of kind '{self.kind}' has shape {axes}, not {self.shape}.")
        if self.numel > LARGEST:
            raise ConfigError(f"A sample has at most {LARGEST:,} values, not {self.numel:,}.")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ConfigError(
                f"A value range is (low, high) with low < high, not {self.value_range}."
            )
        if self.value_range is not None and _beyond_float32(*self.value_range):
            raise ConfigError(
                f"The value range {self.value_range} is wider than float32 can hold; bring low and "
                f"high nearer together and to zero."
            )
        return self

    @property
    def channels(self) -> int:
        """Number of channels (the first axis)."""
        return self.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image.

        Raises:
            ConfigError: If the sample is not an image.
        """
        if self.kind != "image":
            raise ConfigError(f"Only images have a height and a width; this sample is {self}.")
        return self.shape[1], self.shape[2]

    @property
    def numel(self) -> int:
        """Number of values in one sample."""
        return math.prod(self.shape)

    def resized(self, size: tuple[int, int]) -> SampleSpec:
        """Return the same spec at another (height, width)."""
        return self.model_copy(update={"shape": (self.channels, *size)})

    def packed(self, count: int) -> SampleSpec:
        """Return what so many samples are, joined on their first axis."""
        return self.model_copy(update={"shape": (count * self.shape[0], *self.shape[1:])})

    def __str__(self) -> str:
        """Return a short description, such as ``28x28 greyscale image``."""
        if self.kind == "image":
            colour = _COLOURS.get(self.channels, f"{self.channels}-channel")
            return f"{self.shape[1]}x{self.shape[2]} {colour} image"
        return f"{self.kind} of shape {self.shape}"


class LatentSpec(Model):
    """The latent: what the generator is fed.

    Wherever a latent is expected, ``128``, ``(4, 8, 8)``, ``{"shape": [128]}`` and
    ``LatentSpec(shape=(128,))`` are accepted.

    Attributes:
        shape: Shape of one latent: a vector ``(D,)`` or a map ``(C, H, W)``.
        distribution: ``normal`` is N(0, 1); ``uniform`` is U(low, high); ``truncated`` is
            N(0, 1) restricted to [-truncation, truncation], not clipped but redistributed.
        low: Lower end of ``uniform``.
        high: Upper end of ``uniform``.
        truncation: Bound of ``truncated``, in standard deviations.
        categorical: Sizes of categorical codes: each is drawn evenly and stands one-hot.
        continuous: How many continuous codes there are, drawn from U(-1, 1). A latent (D,) ends in
            its categorical and then its continuous codes, which are part of its D values.
    """

    error_label: ClassVar[str] = "The latent"

    shape: tuple[PositiveInt, ...] = Field(
        (100,), min_length=1, max_length=8, description="shape of one latent"
    )
    distribution: Literal["normal", "uniform", "truncated"] = Field(
        "normal", description="what the latent is drawn from"
    )
    low: float = Field(-1.0, description="lower end of a uniform latent")
    high: float = Field(1.0, description="upper end of a uniform latent")
    truncation: float = Field(2.0, gt=0, description="bound of a truncated latent, in sd")
    categorical: tuple[Annotated[int, Field(ge=2, le=LARGEST)], ...] = Field(
        (), max_length=256, description="sizes of the categorical codes that the latent ends in"
    )
    continuous: int = Field(
        0, ge=0, le=LARGEST, description="number of continuous codes that the latent ends in"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_shape(cls, value: Any) -> Any:
        if isinstance(value, int):
            return {"shape": (value,)}
        return {"shape": tuple(value)} if isinstance(value, (tuple, list)) else value

    @field_validator("shape", mode="before")
    @classmethod
    def _from_int(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _possible(self) -> LatentSpec:
        if self.numel > LARGEST:
            raise ConfigError(f"A latent has at most {LARGEST:,} values, not {self.numel:,}.")
        if not self.low < self.high:
            raise ConfigError(f"A uniform latent needs low < high, not {self.low} and {self.high}.")
        if _beyond_float32(self.low, self.high):
            raise ConfigError(
                f"A uniform latent from {self.low} to {self.high} is wider than float32 can hold; "
                f"bring low and high nearer together and to zero."
            )
        if self.codes and (len(self.shape) != 1 or self.codes > self.numel):
            raise ConfigError(
                f"A latent of shape {self.shape} cannot end in {self.codes} values of codes. Give "
                f"one number that is at least as large as its shape, such as {self.codes + 62}."
            )
        return self

    @property
    def numel(self) -> int:
        """Number of values in one latent."""
        return math.prod(self.shape)

    @property
    def codes(self) -> int:
        """Number of values of its codes."""
        return sum(self.categorical) + self.continuous

    def sample(
        self,
        count: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Draw latents.

        Args:
            count: How many.
            generator: Source of randomness, on ``device``.
            device: Where the latents are made.

        Returns:
            float32 tensor (count, *shape).
        """
        import torch

        latents = torch.empty(count, *self.shape, device=device)
        if self.distribution == "uniform":
            latents.uniform_(self.low, self.high, generator=generator)
        elif self.distribution == "truncated":
            ends = {"a": -self.truncation, "b": self.truncation}
            torch.nn.init.trunc_normal_(latents, **ends, generator=generator)
        else:
            latents.normal_(generator=generator)
        place = self.numel - self.codes
        for size in self.categorical:
            drawn = torch.randint(size, (count,), generator=generator, device=device)
            # one_hot() would wait for the device.
            places = torch.arange(size, device=device)
            latents[:, place : place + size] = drawn.unsqueeze(1) == places
            place += size
        if self.continuous:
            latents[:, place:].uniform_(-1.0, 1.0, generator=generator)
        return latents


def _beyond_float32(low: float, high: float) -> bool:
    return max(-low, high, high - low) > FLOAT32_MAX
