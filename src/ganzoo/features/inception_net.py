"""The Inception network of 2015-12-05 that FID is defined on, for inference.

Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision",
arXiv:1512.00567, as its TensorFlow graph computes it. It differs from torchvision's
``inception_v3`` in its weights, in average pooling that does not count the padding, in max pooling
in the last block, and in 1,008 classes. Modules have torchvision's names.

Batch norm is folded into the convolutions, in float64. A branch that averages and then convolves
with 1x1 is computed the other way round, which is the same and pools fewer channels: both are
linear, and neither counts padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, linear, max_pool2d, relu_

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["CLASSES", "DIMENSIONS", "SIZE", "InceptionNet"]

SIZE = 299
"""Height and width of the pictures that it sees."""
DIMENSIONS = 2048
CLASSES = 1008

_EPSILON = 1e-3  # of batch norm
_EXACT = ("Conv2d_1a_3x3", "Mixed_7c")  # stay float32: there bfloat16 changes FID most


class InceptionNet(nn.Module):
    """The network from pictures, scaled to about [-1, 1], to pooled features.

    Args:
        tensors: Weights by their names, all of ``shapes()`` except, maybe, those of ``fc``.
        device: Where to compute.
        dtype: What to compute convolutions in; float32 or bfloat16. The first and the last block
            compute in float32 in any case.
    """

    fc_weight: Tensor | None
    fc_bias: Tensor | None

    def __init__(
        self, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self._define()
        for name, module in self.named_modules():
            if isinstance(module, _Unit):
                module.fold({part: tensors[f"{name}.{part}"] for part in module.PARTS})
        for name, module in self.named_modules():
            if isinstance(module, _Unit):
                exact = name.partition(".")[0] in _EXACT
                module.prepare(device, torch.float32 if exact else dtype)
        self._dtype = dtype
        for name in ("weight", "bias"):
            last = tensors.get(f"fc.{name}")
            self.register_buffer(f"fc_{name}", None if last is None else last.float())
        self.to(device)

    @classmethod
    def shapes(cls) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all weights by name; those of ``fc`` come last."""
        net = cls.__new__(cls)
        nn.Module.__init__(net)
        net._define()
        units = {n: m for n, m in net.named_modules() if isinstance(m, _Unit)}
        found: dict[str, tuple[int, ...]] = {}
        for name, unit in units.items():
            for part in unit.PARTS:
                found[f"{name}.{part}"] = unit.shape if part == "conv.weight" else unit.shape[:1]
        return found | {"fc.weight": (CLASSES, DIMENSIONS), "fc.bias": (CLASSES,)}

    def _define(self) -> None:
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(128)
        self.Mixed_6c = _BlockC(160)
        self.Mixed_6d = _BlockC(160)
        self.Mixed_6e = _BlockC(192)
        self.Mixed_7a = _BlockD()
        self.Mixed_7b = _BlockE(1280, average=True)
        self.Mixed_7c = _BlockE(2048, average=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map float pictures (N, 3, 299, 299) to features, float32 (N, 2048)."""
        x = self.Conv2d_1a_3x3(x.contiguous(memory_format=torch.channels_last))
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(x.to(self._dtype)))
        x = max_pool2d(x, 3, stride=2)  # (N, 64, 73, 73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = max_pool2d(x, 3, stride=2)  # (N, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7b(self.Mixed_7a(x)).float()
        x = self.Mixed_7c(x)  # (N, 2048, 8, 8)
        return x.mean((2, 3))

    def logits(self, pool: Tensor, bias: bool) -> Tensor | None:
        """Map features to logits, float32 (N, 1008); None without the weights of ``fc``."""
        if self.fc_weight is None:
            return None
        return linear(pool, self.fc_weight, self.fc_bias if bias else None)


class _Unit(nn.Module):
    """A convolution without bias, batch norm and ReLU, folded into one operation."""

    PARTS = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.shape = (outputs, inputs, *_pair(kernel))
        self._stride, self._padding = _pair(stride), _pair(padding)
        self._fused: Tensor | None = None

    def fold(self, parts: Mapping[str, Tensor]) -> None:
        """Take the weights of convolution and batch norm, by ``PARTS``."""
        kernel, gain, shift, mean, variance = (parts[part].cpu().double() for part in self.PARTS)
        factor = gain / torch.sqrt(variance + _EPSILON)
        self.register_buffer("weight", kernel * factor.view(-1, 1, 1, 1))
        self.register_buffer("bias", shift - mean * factor)

    def prepare(self, device: torch.device, dtype: torch.dtype) -> None:
        """Lay the weights out for the device, where they go later: it may lack float64."""
        self.weight = self.weight.to(dtype, memory_format=torch.channels_last)
        self.bias = self.bias.to(dtype)
        if _can_fuse(device, dtype):
            self._fused = self.weight

    def forward(self, x: Tensor) -> Tensor:
        if self._fused is None:
            return relu_(self.affine(x))
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._fused, self.bias, self._padding, self._stride, (1, 1), 1, "relu", [], ""
        )
        return found

    def affine(self, x: Tensor) -> Tensor:
        """Everything but the ReLU."""
        return conv2d(x, self.weight, self.bias, self._stride, self._padding)

    def averaged(self, x: Tensor) -> Tensor:
        """The same of a 3x3 average of ``x``, for a 1x1 convolution."""
        return relu_(avg_pool2d(self.affine(x), 3, stride=1, padding=1, count_include_pad=False))


class _BlockA(nn.Module):
    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(inputs, 64, 1)
        self.branch5x5_1 = _Unit(inputs, 48, 1)
        self.branch5x5_2 = _Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Unit(inputs, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, padding=1)
        self.branch_pool = _Unit(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = (
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool.averaged(x),
        )
        return torch.cat(branches, 1)


class _BlockB(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Unit(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Unit(inputs, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        branches = (
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            max_pool2d(x, 3, stride=2),
        )
        return torch.cat(branches, 1)


class _BlockC(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        wide: dict[str, Any] = {"kernel": (1, 7), "padding": (0, 3)}
        tall: dict[str, Any] = {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = _Unit(768, 192, 1)
        self.branch7x7_1 = _Unit(768, width, 1)
        self.branch7x7_2 = _Unit(width, width, **wide)
        self.branch7x7_3 = _Unit(width, 192, **tall)
        self.branch7x7dbl_1 = _Unit(768, width, 1)
        self.branch7x7dbl_2 = _Unit(width, width, **tall)
        self.branch7x7dbl_3 = _Unit(width, width, **wide)
        self.branch7x7dbl_4 = _Unit(width, width, **tall)
        self.branch7x7dbl_5 = _Unit(width, 192, **wide)
        self.branch_pool = _Unit(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branches = (
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool.averaged(x),
        )
        return torch.cat(branches, 1)


class _BlockD(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _Unit(768, 192, 1)
        self.branch3x3_2 = _Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Unit(768, 192, 1)
        self.branch7x7x3_2 = _Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Unit(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Unit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        long = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        branches = (
            self.branch3x3_2(self.branch3x3_1(x)),
            self.branch7x7x3_4(long),
            max_pool2d(x, 3, stride=2),
        )
        return torch.cat(branches, 1)


class _BlockE(nn.Module):
    def __init__(self, inputs: int, *, average: bool) -> None:
        super().__init__()
        self.branch1x1 = _Unit(inputs, 320, 1)
        self.branch3x3_1 = _Unit(inputs, 384, 1)
        self.branch3x3_2a = _Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Unit(inputs, 448, 1)
        self.branch3x3dbl_2 = _Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Unit(inputs, 192, 1)
        self._average = average

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        if self._average:
            pooled = self.branch_pool.averaged(x)
        else:  # likely a mistake in the graph of 2015, which FID has kept
            pooled = self.branch_pool(max_pool2d(x, 3, stride=1, padding=1))
        branches = (
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            pooled,
        )
        return torch.cat(branches, 1)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _can_fuse(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN's convolution with ReLU, which torch's compiler uses, can be called here."""
    operations = torch.ops.mkldnn
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(operations, "_convolution_pointwise"):
        return False
    if dtype == torch.bfloat16:
        supported = getattr(operations, "_is_mkldnn_bf16_supported", None)
        return supported is not None and bool(supported())
    return True
