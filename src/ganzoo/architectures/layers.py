"""What several architectures share."""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import nn
from torch.nn.utils import parametrize

from ganzoo.core.device import has_amx
from ganzoo.core.differentiation import wants_weights

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec

__all__ = [
    "Activation",
    "Double",
    "FourierFeatures",
    "FromMap",
    "Halve",
    "MinibatchDeviation",
    "ScaledTanh",
    "Spectral",
    "ToMap",
    "dense_stack",
    "hidden_activation",
    "output_activation",
    "spectrally_normalised",
]

Activation = Literal["relu", "elu", "selu", "gelu", "silu", "tanh"]
"""What hidden layers can end in; ``relu`` is leaky where an architecture has a slope."""

Spectral = Annotated[
    bool,
    Field(
        description="divide each weight of the discriminator by its largest singular value "
        "(spectral normalisation)"
    ),
]

Net = TypeVar("Net", bound=nn.Module)

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}

_SMALL_MAP = 16  # places
_FEW_CHANNELS = 4
_EPS = 1e-8  # of variances over a group
_FIRST_STEPS = 15  # of the power iteration with initial weights, as torch has it


class ToMap(nn.ConvTranspose2d):
    """Transposed convolution of a 1x1 map to a map of the kernel's size, or less by a padding.

    The same numbers as ``ConvTranspose2d``, as one matrix product: convolution kernels are slow
    on maps of one pixel. With channels-last weights nothing is copied.

    Args:
        inputs: Width of the vector.
        channels: Channels of the map.
        size: Height and width of the map.
        padding: Rows and columns of the kernel, on each side, that fall outside of the map.
        bias: Whether each channel has a bias.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        size: tuple[int, int],
        padding: int = 0,
        bias: bool = False,
    ) -> None:
        kernel = size[0] + 2 * padding, size[1] + 2 * padding
        super().__init__(inputs, channels, kernel, padding=padding, bias=bias)
        self.size = size
        self.cut = padding

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (N, inputs) to (N, channels, H, W), channels last."""
        channels, (height, width), cut = self.out_channels, self.size, self.cut
        seen = self.weight
        if cut:
            seen = seen[:, :, cut : cut + height, cut : cut + width]
        weight = seen.permute(0, 2, 3, 1).reshape(self.in_channels, -1)
        maps = (x @ weight).view(-1, height, width, channels)
        if self.bias is not None:
            maps = maps + self.bias
        return maps.permute(0, 3, 1, 2)


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


class Halve(nn.Conv2d):
    """Convolution with a 4x4 kernel and stride 2 that halves the map.

    In bfloat16 on a CPU the weights' gradient is one matrix product over patches, 1.5 to 4 times
    as fast as the library's convolution kernel for it; elsewhere this is a plain ``Conv2d``.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__(inputs, outputs, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        if _multiplies_bf16_on_cpu(x):
            halved: Tensor = _Halve.apply(x.bfloat16(), self.weight.bfloat16())
            if self.bias is not None:
                halved = halved + self.bias.bfloat16().view(1, -1, 1, 1)
            return halved
        return super().forward(x)


class Double(nn.ConvTranspose2d):
    """Transposed convolution with a 4x4 kernel and stride 2 that doubles the map.

    The counterpart of ``Halve``, with the same way to the weights' gradient.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__(inputs, outputs, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2H, 2W)."""
        if _multiplies_bf16_on_cpu(x):
            doubled: Tensor = _Double.apply(x.bfloat16(), self.weight.bfloat16())
            if self.bias is not None:
                doubled = doubled + self.bias.bfloat16().view(1, -1, 1, 1)
            return doubled
        return super().forward(x, output_size)


def _multiplies_bf16_on_cpu(x: Tensor) -> bool:
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    return torch.get_autocast_dtype("cpu") == torch.bfloat16


class _Halve(torch.autograd.Function):
    """``conv2d(x, weight, stride=2, padding=1)``, whose derivatives have derivatives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.set_materialize_grads(False)
        return nn.functional.conv2d(x, weight, stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, None
        x, weight = ctx.saved_tensors
        to_x, to_weight = ctx.needs_input_grad
        return (
            _Double.apply(grad, weight) if to_x else None,
            _weight_gradient(x, grad) if to_weight and wants_weights() else None,
        )


class _Double(torch.autograd.Function):
    """``conv_transpose2d(x, weight, stride=2, padding=1)``: the adjoint of ``_Halve``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.set_materialize_grads(False)
        return _doubled(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, None
        x, weight = ctx.saved_tensors
        to_x, to_weight = ctx.needs_input_grad
        return (
            _Halve.apply(grad, weight) if to_x else None,
            _weight_gradient(grad, x) if to_weight and wants_weights() else None,
        )


def _doubled(x: Tensor, weight: Tensor) -> Tensor:
    """``conv_transpose2d(x, weight, stride=2, padding=1)``, channels last.

    The library's bfloat16 kernel takes two to four times as long as one matrix product whose
    results are laid over each other where few channels come out, and with AMX about twice as long
    as four products where maps have up to 16 places.
    """
    if weight.shape[1] <= _FEW_CHANNELS:
        return _overlaid(x, weight)
    if x.shape[2] * x.shape[3] <= _SMALL_MAP and _has_amx():
        return _by_parity(x, weight)
    return nn.functional.conv_transpose2d(x, weight, stride=2, padding=1)


def _overlaid(x: Tensor, weight: Tensor) -> Tensor:
    """Each input place makes 4x4 places of the output; neighbours' are summed in float32."""
    count, inputs, height, width = x.shape
    outputs = weight.shape[1]
    product = x.permute(0, 2, 3, 1).reshape(-1, inputs) @ weight.permute(0, 2, 3, 1).flatten(1)
    tiles = _lifted(product).view(count, height, width, 2, 2, 2, 2, outputs)
    whole = tiles.new_zeros(count, height + 1, 2, width + 1, 2, outputs)
    for row in (0, 1):
        for column in (0, 1):
            place = whole[:, row : row + height, :, column : column + width]
            place += tiles[:, :, :, row, :, column].transpose(2, 3)
    cut = whole.view(count, 2 * height + 2, 2 * width + 2, outputs)[:, 1:-1, 1:-1]
    return cut.to(x.dtype).permute(0, 3, 1, 2)


def _by_parity(x: Tensor, weight: Tensor) -> Tensor:
    """A product for each parity of the output's row and column: its places see 2x2 inputs."""
    count, inputs, height, width = x.shape
    outputs = weight.shape[1]
    padded = nn.functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    taps = weight.permute(2, 3, 0, 1).flip(0, 1)
    rows = []
    for row in (0, 1):
        columns = []
        for column in (0, 1):
            seen = padded[:, row : row + height + 1, column : column + width + 1]
            patches = seen.unfold(1, 2, 1).unfold(2, 2, 1).permute(0, 1, 2, 4, 5, 3)
            kernel = taps[row::2, column::2].reshape(4 * inputs, outputs)
            product = patches.reshape(-1, 4 * inputs) @ kernel
            columns.append(product.view(count, height, width, outputs))
        rows.append(torch.stack(columns, 3))
    return torch.stack(rows, 2).view(count, 2 * height, 2 * width, outputs).permute(0, 3, 1, 2)


def _weight_gradient(large: Tensor, small: Tensor) -> Tensor:
    """Gradient of a halving's weights from its input and the gradient of its output.

    Args:
        large: (N, C, H, W), the larger map.
        small: (N, K, H / 2, W / 2), the smaller one.

    Returns:
        (K, C, 4, 4): for each weight, the sum over all places of what it multiplies.
    """
    channels, outputs = large.shape[1], small.shape[1]
    padded = nn.functional.pad(large.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    patches = padded.unfold(1, 4, 2).unfold(2, 4, 2).permute(0, 1, 2, 4, 5, 3)
    product = small.permute(0, 2, 3, 1).reshape(-1, outputs).t() @ patches.reshape(
        -1, 16 * channels
    )
    return product.view(outputs, 4, 4, channels).permute(0, 3, 1, 2)


@functools.cache
def _has_amx() -> bool:
    return has_amx()


def _lifted(x: Tensor) -> Tensor:
    """Float32 of what has fewer bits; anything else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class MinibatchDeviation(nn.Module):
    """Appends a map that tells how much samples of a group differ.

    Karras et al. 2018, arXiv:1710.10196, sec. 3: the standard deviation of each feature at each
    place over a group of samples, and of these the mean. A generator whose samples are all alike
    is known by it. Samples next to each other are a group.

    Args:
        group: Samples in a group; the largest divisor of the batch that is at most this.
    """

    across_batch: ClassVar[str] = "minibatch deviation"

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, *places) to (N, C + 1, *places)."""
        count = len(x)
        size = next(size for size in range(min(self.group, count), 0, -1) if count % size == 0)
        variance = _lifted(x).reshape(-1, size, *x.shape[1:]).var(1, correction=0)
        # With the summand samples that are all the same have derivatives, of any order.
        spread = (variance + _EPS).sqrt().flatten(1).mean(1)
        each = spread.unsqueeze(1).expand(-1, size).reshape(count, *(1,) * (x.ndim - 1))
        return torch.cat((x, each.to(x.dtype).expand(-1, 1, *x.shape[2:])), 1)

    def extra_repr(self) -> str:
        """Show the group when the module is printed."""
        return str(self.group)


class FourierFeatures(nn.Module):
    """Adds sines and cosines of random projections of a sample, which show fine differences.

    The features of Tancik et al. 2020, arXiv:2006.10739, sec. 5 (Gaussian), beside the sample's own
    values. A dense net learns functions of wavelengths about 1 / ``scale`` soon, which it would
    learn very late from the values alone. The frequencies are drawn once, are not trained, and are
    part of the state.

    Args:
        values: Values of a sample.
        count: How many projections.
        scale: Standard deviation of each frequency, in cycles per unit of a value.
    """

    frequencies: Tensor

    def __init__(self, values: int, count: int, scale: float) -> None:
        super().__init__()
        self.width = values + 2 * count
        self.register_buffer("frequencies", scale * torch.randn(values, count))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, values) to (N, width)."""
        # At least in float32: phases of many turns have no digits left in bfloat16.
        wide = torch.promote_types(x.dtype, torch.float32)
        with _without_autocast(x.device.type):
            phases = 2 * torch.pi * (x.to(wide) @ self.frequencies.to(wide))
            waves = (phases.sin().to(x.dtype), phases.cos().to(x.dtype))
        return torch.cat((x, *waves), 1)


class _SpectralNorm(nn.Module):
    """Divides a weight by an estimate of its largest singular value.

    The same numbers and the same buffers as torch's own, with the arithmetic in the precision of
    the weight, which autocast on a GPU would mix with bfloat16, and none on the meta device.

    Args:
        weight: As it is at first.
        axis: Of the outputs, which are the rows of the matrix.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, axis: int = 0) -> None:
        super().__init__()
        self.axis = axis
        rows = weight.shape[axis]
        self.register_buffer("_u", weight.new_empty(rows))
        self.register_buffer("_v", weight.new_empty(weight.numel() // rows))
        if not weight.is_meta:  # where any arithmetic would import torch's compiler
            nn.init.normal_(self._v)
            self._iterate(self._matrix(weight), _FIRST_STEPS)

    def forward(self, weight: Tensor) -> Tensor:
        """Return a normalised weight of the same shape; in training mode after one step."""
        if weight.is_meta:
            return weight.view_as(weight)
        with _without_autocast(weight.device.type):
            matrix = self._matrix(weight)
            if self.training:
                self._iterate(matrix, 1)
            u, v = self._u.clone(), self._v.clone()  # those of this pass, which the next changes
            return weight / torch.vdot(u, torch.mv(matrix, v))

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.axis, 0).flatten(1)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor, steps: int) -> None:
        for _ in range(steps):
            self._u.copy_(nn.functional.normalize(torch.mv(matrix, self._v), dim=0))
            self._v.copy_(nn.functional.normalize(torch.mv(matrix.t(), self._u), dim=0))


def _without_autocast(kind: str) -> contextlib.AbstractContextManager[Any]:
    available = torch.amp.is_autocast_available(kind)
    if not available or not torch.is_autocast_enabled(kind):
        return contextlib.nullcontext()
    return torch.autocast(kind, enabled=False)


def spectrally_normalised(net: Net) -> Net:
    """Divide each weight of a net, from now on, by an estimate of its largest singular value.

    Miyato et al. 2018, arXiv:1802.05957, sec. 2.1 and algorithm 1: a weight is seen as a matrix of
    one row for each output, and each pass in training mode does one step of the power iteration.
    The vectors of that iteration are buffers ``_u`` and ``_v``, as torch's own ``spectral_norm``
    has them. Biases, and gains of norms, stay as they are.

    Args:
        net: With its initial weights.

    Returns:
        The net itself; its parameters ``weight`` are ``parametrizations.weight.original``.
    """
    for part in [*net.modules()]:
        weight = part._parameters.get("weight")
        if weight is not None and weight.ndim > 1:
            axis = int(isinstance(part, nn.modules.conv._ConvTransposeNd))  # of the outputs
            parametrize.register_parametrization(part, "weight", _SpectralNorm(weight, axis))
    return net


class ScaledTanh(nn.Module):
    """Tanh stretched to an arbitrary range, in float32 at least.

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
        return centre + half * torch.tanh(_lifted(x))

    def extra_repr(self) -> str:
        """Show the range when the module is printed."""
        return f"{self.low}, {self.high}"


class Tanh(nn.Tanh):
    """Tanh in float32 at least: in bfloat16 it is exactly 1, and its gradient 0, from 3.5 on."""

    def forward(self, x: Tensor) -> Tensor:
        """Map values to (-1, 1)."""
        return super().forward(_lifted(x))


class Sigmoid(nn.Sigmoid):
    """Sigmoid in float32 at least: in bfloat16 it is 1, and its gradient 0, from 6.25 on."""

    def forward(self, x: Tensor) -> Tensor:
        """Map values to (0, 1)."""
        return super().forward(_lifted(x))


def output_activation(spec: SampleSpec) -> nn.Module:
    """Return what a generator ends in, so that its samples lie in ``spec.value_range``.

    Tanh for [-1, 1], sigmoid for [0, 1], nothing where values are unbounded, and a stretched
    tanh for any other range; computed in float32 if the net computes in fewer bits, or pixels that
    are nearly black or white would stop learning.
    """
    if spec.value_range is None:
        return nn.Identity()
    if spec.value_range == (-1, 1):
        return Tanh()
    if spec.value_range == (0, 1):
        return Sigmoid()
    return ScaledTanh(*spec.value_range)


def hidden_activation(name: str, slope: float = 0.0, inplace: bool = False) -> nn.Module:
    """Return what a hidden layer ends in.

    Args:
        name: One of ``Activation``.
        slope: Of ``relu`` below zero.
        inplace: Whether ``relu`` writes over its input.
    """
    if name != "relu":
        return _ACTIVATIONS[name]()
    return nn.LeakyReLU(slope, inplace=inplace) if slope else nn.ReLU(inplace=inplace)


def dense_stack(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module],
    dropout: float = 0.0,
    *,
    batch_norm: bool = False,
) -> nn.Sequential:
    """Return dense layers, each followed by an activation and, if asked, by dropout.

    Args:
        sizes: Width of the input, then of every layer; the input alone gives no layers.
        activation: Makes one activation module.
        dropout: Probability in [0, 1) of dropping a value; 0 adds no dropout.
        batch_norm: Normalise over the batch before each activation.

    Returns:
        Module mapping (N, sizes[0]) to (N, sizes[-1]); its layers are called ``dense1``, ...
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        layers[f"dense{number}"] = nn.Linear(inputs, outputs, bias=not batch_norm)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm1d(outputs)
        layers[f"activation{number}"] = activation()
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
    return nn.Sequential(layers)
