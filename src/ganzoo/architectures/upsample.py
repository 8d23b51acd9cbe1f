"""Generator of nearest-neighbour upsampling and convolutions; discriminator without padding."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch import nn

from ganzoo.architectures.base import Architecture, Inferred, Known, Shapes, Width
from ganzoo.architectures.conditioning import (
    Condition,
    DCondition,
    Joined,
    LabelHead,
    LabelWidth,
    joined,
    label_head,
)
from ganzoo.architectures.inference import (
    NOTHING,
    activations_elsewhere,
    activations_not_inferable,
    latent_of,
    without_labels,
)
from ganzoo.architectures.layers import (
    Activation,
    Spectral,
    hidden_activation,
    output_activation,
    spectrally_normalised,
)
from ganzoo.core.spec import FLOAT32_MAX

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Output

__all__ = ["Upsample", "UpsampleDiscriminator", "UpsampleGenerator"]

_FACTOR = 4  # the generator doubles its map twice
_KERNEL, _CONVS = 5, 4  # of the discriminator
_LOST = _CONVS * (_KERNEL - 1)  # by which its convolutions shrink each side
_SMALLEST = _FACTOR * (_LOST // _FACTOR + 1)


class Upsample(Architecture):
    """Upsampling and plain convolutions; for images with sides divisible by 4.

    The generator doubles its map twice by nearest-neighbour upsampling and a 5x5 convolution,
    which avoids the checkerboards of transposed convolutions (Odena et al. 2016), and refines it
    by three 4x4 convolutions. The discriminator is four 5x5 convolutions without stride or
    padding, with dropout. Neither has a norm. Weights start uniform as in Glorot & Bengio 2010,
    eq. 16, biases at zero: under smaller ones the latent would be lost on the way through six
    layers, and all samples would begin as one. Labels enter one-hot: beside the latent, and as
    maps beside the image.
    """

    name: ClassVar[str] = "upsample"
    citation: ClassVar[str] = (
        'Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", '
        "doi:10.23915/distill.00003 (upsampling before convolution)"
    )
    conditional: ClassVar[bool] = True
    recommended: ClassVar[Mapping[str, Any]] = {
        "latent": 128,
        "batch_size": 32,
        "g_optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)},
        "d_optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)},
    }

    channels: Width = Field(128, description="channels of all the generator's maps")
    d_channels: Width = Field(
        32, description="channels of the discriminator's first layer, doubled by each further one"
    )
    dropout: float = Field(
        0.4, ge=0, lt=1, description="dropout after each layer of the discriminator"
    )
    slope: float = Field(
        0.2, ge=0, le=FLOAT32_MAX, description="slope of leaky ReLU below zero; 0 is plain ReLU"
    )

    activation: Activation = Field(
        "relu", description="activation after all layers but the last; relu is leaky by the slope"
    )
    condition: Condition = "concat"
    d_condition: DCondition = "concat"
    label_width: LabelWidth = 32
    d_spectral: Spectral = False

    @classmethod
    def infer(cls, shapes: Shapes, known: Known = NOTHING) -> Inferred | None:
        """Tell from the dense layer the number of places of its map, but not their rows."""
        shapes, joined, options = without_labels(shapes, known)
        dense = [shape for shape in shapes.values() if len(shape) == 2]
        convs = [shape for shape in shapes.values() if len(shape) == 4]
        if len(dense) != 1 or not convs:
            return None
        output = next((conv for conv in convs if conv[0] != conv[1]), convs[-1])
        (maps, inputs), (channels, width, *_) = dense[0], output
        values = channels * (maps // width) * _FACTOR**2
        return Inferred(
            latent_of(inputs, joined),
            values,
            channels,
            options={"channels": width, **options},
            not_inferable=activations_not_inferable(known.options),
            elsewhere=(activations_elsewhere(),),
        )

    def check(self, spec: SampleSpec) -> None:
        """Refuse all but images whose sides are divisible by 4 and at least 20.

        Raises:
            UnsupportedSampleError: With the reason and the nearest size that it can do.
        """
        if spec.kind != "image":
            self.refuse(spec, "it makes images only; take 'mlp', which makes samples of any kind.")
        nearest = self.nearest_size(*spec.size)
        if spec.size != nearest:
            self.refuse(
                spec,
                f"height and width must be divisible by {_FACTOR} and at least {_SMALLEST}; "
                f"the nearest it can is {nearest[0]}x{nearest[1]}.",
            )

    def nearest_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the next multiple of 4 of each side, at least 20."""
        return _nearest_side(height), _nearest_side(width)

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> UpsampleGenerator:
        """Build the generator: (N, *latent.shape) -> (N, C, H, W).

        Raises:
            UnsupportedSampleError: If ``spec`` is not an image or has other sides.
        """
        self.check(spec)
        labels = joined(spec, self.condition, self.label_width)
        return UpsampleGenerator(spec, latent, self.channels, self._activate, labels)

    def discriminator(self, spec: SampleSpec) -> UpsampleDiscriminator:
        """Build the discriminator: (N, C, H, W) -> logits (N,), or an ``Output``.

        Raises:
            UnsupportedSampleError: If ``spec`` is not an image or has other sides.
        """
        self.check(spec)
        labels = joined(spec, self.d_condition)
        places = math.prod(side - _LOST for side in spec.size)
        head = label_head(spec, self.d_condition, self.d_channels * 2 ** (_CONVS - 1), places)
        net = UpsampleDiscriminator(
            spec, self.d_channels, self.dropout, self._activate, labels, head
        )
        return spectrally_normalised(net) if self.d_spectral else net

    def _activate(self) -> nn.Module:
        return hidden_activation(self.activation, self.slope, inplace=True)


class UpsampleGenerator(nn.Module):
    """A dense layer to a map of a quarter of the size, two doublings, three refinements.

    Args:
        spec: What an image is.
        latent: What it is made from; any shape, flattened.
        channels: Channels of all maps.
        activate: Makes one activation of a layer.
        labels: Joins labels to the latent.
    """

    def __init__(
        self,
        spec: SampleSpec,
        latent: LatentSpec,
        channels: int,
        activate: Callable[[], nn.Module],
        labels: Joined,
    ) -> None:
        super().__init__()
        height, width = spec.size
        self.base = (channels, height // _FACTOR, width // _FACTOR)
        self.labels = labels
        inputs = latent.numel + labels.width
        self.project = nn.Linear(inputs, channels * self.base[1] * self.base[2])
        self.project_activation = activate()
        self.grow = nn.Sequential(*(_double(channels, activate) for _ in range(2)))
        self.refine = nn.Sequential(*(_refine(channels, activate) for _ in range(2)))
        self.output_pad = _same_padding(4)
        self.output = nn.Conv2d(channels, spec.channels, 4)
        self.activation = output_activation(spec)
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents (N, *latent.shape) to images (N, C, H, W) in ``spec.value_range``."""
        z = self.labels(z.flatten(1), labels)
        maps = self.project_activation(self.project(z)).reshape(-1, *self.base)
        maps = self.refine(self.grow(maps))
        images: Tensor = self.activation(self.output(self.output_pad(maps)))
        return images


class UpsampleDiscriminator(nn.Module):
    """Convolutions without padding, then a dense layer to one logit.

    Args:
        spec: What an image is.
        channels: Channels of the first layer, doubled by each further one.
        dropout: Probability of dropping a value after each layer, and before the dense one.
        activate: Makes one activation of a layer.
        labels: Joins labels to the image.
        head: What the last features say of labels.
    """

    def __init__(
        self,
        spec: SampleSpec,
        channels: int,
        dropout: float,
        activate: Callable[[], nn.Module],
        labels: Joined,
        head: LabelHead,
    ) -> None:
        super().__init__()
        height, width = spec.size
        self.labels = labels
        widths = [spec.channels + labels.width, *(channels * 2**layer for layer in range(_CONVS))]
        self.convs = nn.Sequential(
            *(
                nn.Sequential(
                    OrderedDict(
                        conv=nn.Conv2d(inputs, outputs, _KERNEL),
                        activation=activate(),
                        dropout=nn.Dropout(dropout),
                    )
                )
                for inputs, outputs in pairwise(widths)
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.head = head
        self.output = nn.Linear(widths[-1] * (height - _LOST) * (width - _LOST), 1)
        _initialise(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor | Output:
        """Map images (N, C, H, W) to logits (N,), or an ``Output`` with classes."""
        maps = self.convs(self.labels(x, labels))
        features = self.dropout(maps.flatten(1))
        logits: Tensor = self.output(features).squeeze(1)
        judged: Tensor | Output = self.head(logits, features.reshape(maps.shape), labels)
        return judged


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _nearest_side(side: int) -> int:
    return max(-(-side // _FACTOR) * _FACTOR, _SMALLEST)


def _double(channels: int, activate: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            upsample=nn.Upsample(scale_factor=2, mode="nearest"),
            conv=nn.Conv2d(channels, channels, 5, padding=2),
            activation=activate(),
        )
    )


def _refine(channels: int, activate: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            pad=_same_padding(4),
            conv=nn.Conv2d(channels, channels, 4),
            activation=activate(),
        )
    )


def _same_padding(kernel: int) -> nn.ZeroPad2d:
    """Return the zeros that keep a map's size; the odd one of an even kernel goes last.

    The same as ``padding="same"`` of a convolution, which warns of even kernels.
    """
    before = (kernel - 1) // 2
    after = kernel - 1 - before
    return nn.ZeroPad2d((before, after, before, after))
