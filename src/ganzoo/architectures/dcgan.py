"""Deep convolutional GAN."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch import nn

from ganzoo.architectures.base import Architecture, Inferred, Width
from ganzoo.architectures.layers import Double, FromMap, Halve, ToMap, in_a_row, output_activation

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.spec import LatentSpec, SampleSpec

__all__ = ["DCGAN", "DCGANDiscriminator", "DCGANGenerator"]

_SMALLEST, _LARGEST = 16, 256
_BASE = 4  # the shorter side of the map that the generator starts from
_SLOPE = 0.2


class DCGAN(Architecture):
    """Strided convolutions and batch norm; for images with sides that are powers of two.

    Radford et al. 2015, arXiv:1511.06434, sec. 3 and fig. 1. Every stage doubles the map of the
    generator and halves its channels (the discriminator the reverse). The shorter side starts at
    4, so that an image that is not square starts from a map that is not square either. The
    generator normalises all but its output, the discriminator all but its input and its output.
    Weights start as N(0, 0.02). Labels are ignored.
    """

    name: ClassVar[str] = "dcgan"
    citation: ClassVar[str] = (
        'Radford et al. 2015, "Unsupervised Representation Learning with Deep Convolutional '
        'Generative Adversarial Networks", arXiv:1511.06434'
    )
    recommended: ClassVar[Mapping[str, Any]] = {
        "latent": 100,
        "batch_size": 64,
        "g_optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)},
        "d_optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)},
    }

    channels: Width = Field(64, description="channels of the layers next to the image")
    max_multiplier: Width = Field(
        8, description="the widest layer has at most this many times the channels"
    )
    d_norm_input: bool = Field(
        False, description="normalise the discriminator's first layer too, unlike the paper"
    )

    @classmethod
    def infer(cls, shapes: Mapping[str, tuple[int, ...]]) -> Inferred | None:
        """Tell all from the transposed convolutions: each but the first doubles the map."""
        kernels = [shape for shape in shapes.values() if len(shape) == 4]
        convs = [kernels[index] for index in in_a_row([kernel[:2] for kernel in kernels])]
        if len(convs) < 2:
            return None
        (latent, widest, height, width), (narrowest, channels, *_) = convs[0], convs[-1]
        scale = 2 ** (len(convs) - 1)
        size = height * scale, width * scale
        options = {"channels": narrowest}
        if widest != narrowest * min(scale // 2, cls.model_fields["max_multiplier"].default):
            options["max_multiplier"] = max(widest // narrowest, 1)
        return Inferred(latent, channels * size[0] * size[1], channels, size, options)

    def check(self, spec: SampleSpec) -> None:
        """Refuse all but images whose sides are powers of two from 16 to 256.

        Raises:
            UnsupportedSampleError: With the reason and the nearest size that it can do.
        """
        if spec.kind != "image":
            self.refuse(spec, "it makes images only; take 'mlp', which makes samples of any kind.")
        nearest = self.nearest_size(*spec.size)
        if spec.size != nearest:
            self.refuse(
                spec,
                f"height and width must be powers of two from {_SMALLEST} to {_LARGEST}; "
                f"the nearest it can is {nearest[0]}x{nearest[1]}.",
            )

    def nearest_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the next power of two of each side, from 16 to 256."""
        return _nearest_side(height), _nearest_side(width)

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> DCGANGenerator:
        """Build the generator: (N, *latent.shape) -> (N, C, H, W).

        Raises:
            UnsupportedSampleError: If ``spec`` is no image or has other sides.
        """
        self.check(spec)
        return DCGANGenerator(spec, latent, self._widths(spec)[::-1])

    def discriminator(self, spec: SampleSpec) -> DCGANDiscriminator:
        """Build the discriminator: (N, C, H, W) -> logits (N,).

        Raises:
            UnsupportedSampleError: If ``spec`` is no image or has other sides.
        """
        self.check(spec)
        return DCGANDiscriminator(spec, self._widths(spec), self.d_norm_input)

    def _widths(self, spec: SampleSpec) -> list[int]:
        """Channels of the maps, from the one next to the image to the smallest."""
        stages = (min(spec.size) // _BASE).bit_length() - 1
        return [self.channels * min(2**stage, self.max_multiplier) for stage in range(stages)]


class DCGANGenerator(nn.Module):
    """Transposed convolutions from the latent, seen as a 1x1 map, to an image.

    Args:
        spec: What an image is.
        latent: What it is made from; any shape, flattened.
        widths: Channels of the maps, from the smallest map to the one next to the image.
    """

    def __init__(self, spec: SampleSpec, latent: LatentSpec, widths: Sequence[int]) -> None:
        super().__init__()
        self.project = _stage(
            ToMap(latent.numel, widths[0], _base_map(spec)), widths[0], nn.ReLU(inplace=True)
        )
        self.grow = nn.Sequential(*(_grow(wide, narrow) for wide, narrow in pairwise(widths)))
        self.output = Double(widths[-1], spec.channels)
        self.activation = output_activation(spec)
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents (N, *latent.shape) to images (N, C, H, W) in ``spec.value_range``."""
        maps = self.grow(self.project(z.flatten(1)))
        images: Tensor = self.activation(self.output(maps))
        return images


class DCGANDiscriminator(nn.Module):
    """Strided convolutions from an image to one logit.

    Args:
        spec: What an image is.
        widths: Channels of the maps, from the one next to the image to the smallest map.
        norm_input: Whether the first layer is normalised too.
    """

    def __init__(self, spec: SampleSpec, widths: Sequence[int], norm_input: bool = False) -> None:
        super().__init__()
        self.input = Halve(spec.channels, widths[0])
        self.norm = nn.BatchNorm2d(widths[0]) if norm_input else nn.Identity()
        self.activation = nn.LeakyReLU(_SLOPE, inplace=True)
        self.shrink = nn.Sequential(*(_shrink(narrow, wide) for narrow, wide in pairwise(widths)))
        self.output = FromMap(widths[-1], 1, _base_map(spec))
        _initialise(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) to logits (N,)."""
        logits: Tensor = self.output(self.shrink(self.activation(self.norm(self.input(x)))))
        return logits.flatten()


def _nearest_side(side: int) -> int:
    above = 1 << (side - 1).bit_length()
    return min(max(above, _SMALLEST), _LARGEST)


def _base_map(spec: SampleSpec) -> tuple[int, int]:
    """Height and width of the smallest map."""
    height, width = spec.size
    shorter = min(height, width)
    return _BASE * height // shorter, _BASE * width // shorter


def _grow(inputs: int, outputs: int) -> nn.Sequential:
    conv = Double(inputs, outputs)
    return _stage(conv, outputs, nn.ReLU(inplace=True))


def _shrink(inputs: int, outputs: int) -> nn.Sequential:
    conv = Halve(inputs, outputs)
    return _stage(conv, outputs, nn.LeakyReLU(_SLOPE, inplace=True))


def _stage(conv: nn.Module, channels: int, activation: nn.Module) -> nn.Sequential:
    norm = nn.BatchNorm2d(channels)
    return nn.Sequential(OrderedDict(conv=conv, norm=norm, activation=activation))


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
