"""An architecture: its options, its generator and its discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import interpolate, leaky_relu, relu

from ganzoo.architectures import Architecture
from ganzoo.architectures.layers import output_activation
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec

__all__ = ["TinyConv", "TinyDiscriminator", "TinyGenerator"]


class TinyConv(Architecture):
    """Two small convolutional nets for images whose sides are multiples of 4.

    Where the samples have classes, G starts from the latent and an embedding of the label, and D
    adds the inner product of its features with another one (Miyato & Koyama 2018,
    arXiv:1802.05637).
    """

    citation: ClassVar[str] = "the example plug-in of ganzoo"
    conditional: ClassVar[bool] = True
    recommended: ClassVar[Mapping[str, Any]] = {"latent": {"shape": [16]}, "batch_size": 32}

    channels: int = Field(16, ge=1, description="channels at full size; twice that below")
    embedding: int = Field(8, ge=1, description="size of a label's embedding in G")
    batch_norm: bool = Field(True, description="batch norm in G")
    slope: float = Field(0.2, ge=0, lt=1, description="negative slope of D's leaky ReLU")

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> TinyGenerator:
        """Build the generator: ``(z (N, *latent.shape), labels (N,)) -> (N, *spec.shape)``."""
        self.check(spec)
        return TinyGenerator(self, spec, latent)

    def discriminator(self, spec: SampleSpec) -> TinyDiscriminator:
        """Build the discriminator: ``(x (N, *spec.shape), labels (N,)) -> logits (N,)``."""
        self.check(spec)
        return TinyDiscriminator(self, spec)

    def check(self, spec: SampleSpec) -> None:
        """Refuse what is no image, and sides that are no multiples of 4.

        Raises:
            UnsupportedSampleError: With the reason.
        """
        if spec.kind != "image":
            self.refuse(spec, "it makes images only.")
        if any(side % 4 for side in spec.size):
            self.refuse(spec, f"sides must be multiples of 4, such as {self._up(spec.size)}.")

    def nearest_size(self, height: int, width: int) -> tuple[int, int]:
        """Return both sides, rounded up to multiples of 4."""
        return self._up((height, width))

    @staticmethod
    def _up(size: tuple[int, int]) -> tuple[int, int]:
        return -(-size[0] // 4) * 4, -(-size[1] // 4) * 4


class TinyGenerator(nn.Module):
    """Dense layer to a quarter of the size, then twice: enlarge, convolve."""

    def __init__(self, config: TinyConv, spec: SampleSpec, latent: LatentSpec) -> None:
        super().__init__()
        channels = config.channels
        self.start = (2 * channels, spec.size[0] // 4, spec.size[1] // 4)
        self.embed = nn.Embedding(len(spec.classes), config.embedding) if spec.classes else None
        inputs = latent.numel + (config.embedding if spec.classes else 0)
        self.project = nn.Linear(inputs, self.start[0] * self.start[1] * self.start[2])
        self.conv1 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels) if config.batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(channels, spec.channels, 3, padding=1)
        self.finish = output_activation(spec)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make samples (N, *spec.shape) from latents; labels (N,) are needed with classes."""
        x = z.flatten(1)
        if self.embed is not None:
            x = torch.cat((x, self.embed(_needed(labels))), dim=1)
        x = relu(self.project(x)).view(-1, *self.start)
        x = relu(self.norm1(self.conv1(interpolate(x, scale_factor=2))))
        samples: Tensor = self.finish(self.conv2(interpolate(x, scale_factor=2)))
        return samples


class TinyDiscriminator(nn.Module):
    """Two convolutions of stride 2, a mean over positions, and one score."""

    def __init__(self, config: TinyConv, spec: SampleSpec) -> None:
        super().__init__()
        channels = config.channels
        self.slope = config.slope
        self.conv1 = nn.Conv2d(spec.channels, channels, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1)
        self.output = nn.Linear(2 * channels, 1)
        self.embed = nn.Embedding(len(spec.classes), 2 * channels) if spec.classes else None

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge samples: logits (N,), higher for real; labels (N,) are needed with classes."""
        x = leaky_relu(self.conv1(x), self.slope)
        x = leaky_relu(self.conv2(x), self.slope)
        features = x.mean(dim=(2, 3))
        logits: Tensor = self.output(features).squeeze(1)
        if self.embed is not None:
            logits = logits + (self.embed(_needed(labels)) * features).sum(dim=1)
        return logits


def _needed(labels: Tensor | None) -> Tensor:
    if labels is None:
        raise ConfigError("This net was built for samples with classes; give it labels (N,).")
    return labels
