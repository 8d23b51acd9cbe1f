"""DiffAugment: colour, translation and cutout."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field, model_validator
from torch import nn

from ganzoo.augmentations.base import Augmentation, images_only
from ganzoo.augmentations.translation import translate
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec

__all__ = ["DiffAugment"]


class DiffAugment(Augmentation):
    """DiffAugment: random colour, translation and cutout of all images that D sees.

    Zhao et al. 2020, arXiv:2006.10738, sec. 3.2 and the settings of its experiments. Brightness
    moves by U(-1/4, 1/4) of the value range, saturation is multiplied by U(0, 2) and contrast by
    U(1/2, 3/2). Images move by up to 1/8 of each side, and a rectangle of half of each side is
    cut out; what moves in and what is cut out is 0. For any number of channels and any sides.
    """

    name: ClassVar[str] = "diffaugment"
    citation: ClassVar[str] = (
        'Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", '
        "arXiv:2006.10738"
    )

    colour: bool = Field(True, description="change brightness, saturation and contrast")
    translation: bool = Field(True, description="move by up to 1/8 of each side")
    cutout: bool = Field(True, description="cut out a rectangle of half of each side")

    @model_validator(mode="after")
    def _does_something(self) -> DiffAugment:
        if not (self.colour or self.translation or self.cutout):
            raise ConfigError(
                "Augmentation 'diffaugment' has nothing to do: set colour, translation or cutout, "
                "or leave the augmentation out."
            )
        return self

    def build(self, spec: SampleSpec) -> nn.Module:
        """Return the module: images (N, C, H, W) to the same.

        Raises:
            ConfigError: If samples are no images.
        """
        images_only(self, spec)
        return Policy(self, *(spec.value_range or (-1.0, 1.0)))


class Policy(nn.Module):
    """The augmentation of images whose values lie in a range.

    Args:
        options: What is done.
        low: Smallest value of the range.
        high: Largest value.
    """

    def __init__(self, options: DiffAugment, low: float, high: float) -> None:
        super().__init__()
        self.options, self.span = options, high - low

    def forward(self, images: Tensor) -> Tensor:
        """Return the augmented images."""
        if self.options.colour:
            images = recoloured(images, self.span)
        if self.options.translation:
            images = translate(images, 1 / 8)
        return cut_out(images) if self.options.cutout else images


def recoloured(images: Tensor, span: float) -> Tensor:
    """Return images (N, C, H, W) with random brightness, saturation and contrast.

    Args:
        images: Their values lie in a range of width ``span``.
        span: That width.
    """
    brightness, saturation, contrast = torch.rand(
        3, len(images), 1, 1, 1, device=images.device, dtype=images.dtype
    )
    images = images + (brightness - 0.5) * (span / 2)
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, 2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, contrast + 0.5)


def cut_out(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) with a rectangle of half of each side set to 0.

    Its centre lies anywhere in the image, so that parts of it may lie outside.
    """
    count, _, *sides = images.shape
    outside: list[Tensor] = []
    for side in sides:
        length = side // 2
        first = torch.randint(-(length // 2), side - length // 2, (count, 1), device=images.device)
        places = torch.arange(side, device=images.device)
        outside.append((places < first) | (places >= first + length))
    return images * (outside[0][:, None, :, None] | outside[1][:, None, None, :])
