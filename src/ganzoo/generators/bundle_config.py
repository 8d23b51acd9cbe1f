"""What the ``config.json`` of a bundle says: the nets, and where their weights come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from ganzoo import architectures
from ganzoo._version import __version__
from ganzoo.architectures.base import Architecture
from ganzoo.core.model import Model
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "DISCRIMINATOR",
    "FORMAT_VERSION",
    "WEIGHTS",
    "BundleConfig",
    "Half",
    "Origin",
    "WeightFile",
]

FORMAT_VERSION = 1
WEIGHTS, DISCRIMINATOR = "model.safetensors", "discriminator.safetensors"


class WeightFile(Model):
    """What a weight file must be."""

    error_label: ClassVar[str] = "The weight file"

    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Origin(Model):
    """Where on the Hugging Face Hub a bundle was pulled from."""

    error_label: ClassVar[str] = "The origin"

    repo_id: str = Field(max_length=200, pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")


class Half(Model):
    """What storing in half precision costs the samples.

    Attributes:
        largest: Largest error of a value, as a share of the width of the value range; of the
            samples' own where it has none.
        mean: Mean error, in the same unit.
    """

    error_label: ClassVar[str] = "The error of half precision"

    largest: float = Field(ge=0)
    mean: float = Field(ge=0)


class BundleConfig(Model):
    """The content of ``config.json``.

    Attributes:
        format_version: Version of this layout.
        library: ``ganzoo``.
        library_version: The ganzoo that wrote it.
        architecture: The architecture with its options.
        sample: What the net makes, at the size of its output.
        preprocessing: How native images were brought to that size; undone when sampling.
        latent: What the net is fed.
        weights: Size and hash of every weight file, by name.
        training: Where the weights come from: dataset, loss, steps and the like.
        packing: Samples that the discriminator sees together.
        origin: Where on the Hub it was pulled from, if it was.
        half: Set if floating-point weights are stored as float16.
    """

    error_label: ClassVar[str] = "The bundle"

    format_version: int = FORMAT_VERSION
    library: str = "ganzoo"
    library_version: str = __version__
    architecture: SerializeAsAny[Architecture]
    sample: SampleSpec
    preprocessing: Preprocessing | None = None
    latent: LatentSpec
    weights: dict[str, WeightFile] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    packing: int = Field(1, ge=1, exclude_if=lambda value: value == 1)
    origin: Origin | None = Field(None, exclude_if=lambda value: value is None)
    half: Half | None = Field(None, exclude_if=lambda value: value is None)

    @field_validator("architecture", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Architecture:
        return architectures.create(value)

    @model_validator(mode="after")
    def _framed(self) -> BundleConfig:
        preprocessing, sample = self.preprocessing, self.sample
        if preprocessing is not None and (
            sample.kind != "image" or sample.size != preprocessing.size
        ):
            raise ConfigError(
                f"The preprocessing makes images of {preprocessing.size[0]}x{preprocessing.size[1]}"
                f", but the net a {sample}."
            )
        return self

    @property
    def _padding(self) -> Preprocessing | None:
        """What to crop from the net's output, if anything."""
        found = self.preprocessing
        return found if found is not None and found.method == "pad" else None

    @property
    def shown(self) -> SampleSpec:
        """What one sample is as people see it: without padding."""
        padding = self._padding
        return self.sample.resized(padding.original_size) if padding else self.sample

    def cropped(self, samples: Tensor) -> Tensor:
        """Return samples of the net (N, *sample.shape) as people see them: (N, *shown.shape)."""
        padding = self._padding
        return (padding.undo(samples) if padding else samples).contiguous()

    def build(self, file: str) -> nn.Module:
        """Build the net of a weight file, ``WEIGHTS`` or ``DISCRIMINATOR``, with fresh weights."""
        if file == WEIGHTS:
            return self.architecture.generator(self.sample, self.latent)
        return self.architecture.discriminator(self.sample.packed(self.packing))
