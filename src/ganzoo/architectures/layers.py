"""What several architectures share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.spec import SampleSpec

__all__ = ["FromMap", "ScaledTanh", "ToMap", "dense_stack", "output_activation"]


class ToMap(nn.ConvTranspose2d):
    """Transposed convolution of a 1x1 map to a map of the kernel's size.

    The same numbers as ``ConvTranspose2d``, as one matrix product: convolution kernels are slow
    on maps of one pixel. With channels-last weights nothing is copied.

    Args:
        inputs: Width of the vector.
        channels: Channels of the map.
        size: Height and width of the map.
    """

    def __init__(self, inputs: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__(inputs, channels, size, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (N, inputs) to (N, channels, H, W), channels last."""
        channels, (height, width) = self.out_channels, self.kernel_size
        weight = self.weight.permute(0, 2, 3, 1).reshape(self.in_channels, -1)
        return (x @ weight).view(-1, height, width, channels).permute(0, 3, 1, 2)


class FromMap(nn.Conv2d):
    """Convolution of a whole map to one pixel; the counterpart of ``ToMap``.

    Args:
        channels: Channels of the map.
        outputs: Width of the vector.
        size: Height and width of the map.
    """

    def __init__(self, channels: int, outputs: int, size: tuple[int, int]) -> None:
        super().__init__(channels, outputs, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, outputs)."""
        weight = self.weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1)
        return nn.functional.linear(x.permute(0, 2, 3, 1).flatten(1), weight)


class ScaledTanh(nn.Module):
    """Tanh stretched to an arbitrary range.

    Args:
        low: Lowest output.
        high: Highest output.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Squash any tensor into [low, high]."""
        centre, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return centre + half * torch.tanh(x)

    def extra_repr(self) -> str:
        """Show the range when the module is printed."""
        return f"{self.low}, {self.high}"


def output_activation(spec: SampleSpec) -> nn.Module:
    """Return what a generator ends in, so that its samples lie in ``spec.value_range``.

    Tanh for [-1, 1], sigmoid for [0, 1], nothing where values are unbounded, and a stretched
    tanh for any other range.
    """
    if spec.value_range is None:
        return nn.Identity()
    if spec.value_range == (-1, 1):
        return nn.Tanh()
    if spec.value_range == (0, 1):
        return nn.Sigmoid()
    return ScaledTanh(*spec.value_range)


def dense_stack(
    sizes: Sequence[int], activation: Callable[[], nn.Module], dropout: float = 0.0
) -> nn.Sequential:
    """Return dense layers, each followed by an activation and, if asked, by dropout.

    Args:
        sizes: Width of the input, then of every layer; the input alone gives no layers.
        activation: Makes one activation module.
        dropout: Probability in [0, 1) of dropping a value; 0 adds no dropout.

    Returns:
        Module mapping (N, sizes[0]) to (N, sizes[-1]); its layers are called ``dense1``, ...
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        layers[f"dense{number}"] = nn.Linear(inputs, outputs)
        layers[f"activation{number}"] = activation()
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
    return nn.Sequential(layers)
