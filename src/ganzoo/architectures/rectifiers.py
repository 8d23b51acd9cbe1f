"""ReLU and leaky ReLU whose second derivative, zero everywhere, is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LeakyReLU", "ReLU"]


class LeakyReLU(nn.LeakyReLU):
    """Leaky ReLU, to the bit.

    When the backward pass of torch's own is differentiated, it hands a map of zeros on, and all
    layers before compute with it. Under a penalty of gradients at points of their own, such as
    ``gp``, that is a whole backward pass for nothing: a seventh of the arithmetic of a WGAN-GP
    critic.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map values of any shape; those below zero become ``negative_slope`` times as large."""
        return _rectified(x, self.negative_slope) if _differs(x) else super().forward(x)


class ReLU(nn.ReLU):
    """ReLU, to the bit; see ``LeakyReLU``."""

    def forward(self, x: Tensor) -> Tensor:
        """Map values of any shape; those below zero become zero."""
        return _rectified(x, 0.0) if _differs(x) else super().forward(x)


def _differs(x: Tensor) -> bool:
    """Whether a derivative is taken; exporters and compilers are given torch's own layer."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return False
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return not (torch.compiler.is_compiling() or tracing)


def _rectified(x: Tensor, slope: float) -> Tensor:
    found: Tensor = _Rectified.apply(x, slope)
    return found


def _sloped(grad: Tensor, y: Tensor, slope: float) -> Tensor:
    """A gradient times the slopes where the output is ``y``, which are constants."""
    found: Tensor = (
        torch.ops.aten.leaky_relu_backward(grad, y, slope, True)
        if slope
        else torch.ops.aten.threshold_backward(grad, y, 0)
    )
    return found


class _Rectified(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, slope: float) -> Tensor:
        return nn.functional.leaky_relu(x, slope) if slope else nn.functional.relu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.slope = inputs[1]
        _keep(ctx, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None]:
        if grad is None:
            return None, None
        return _Sloped.apply(grad, *ctx.saved_tensors, ctx.slope), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        (y,) = ctx.saved_tensors
        return _sloped(tangent, y, ctx.slope)


class _Sloped(torch.autograd.Function):
    """``_sloped``, of which only ``grad`` has a derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, y: Tensor, slope: float) -> Tensor:
        return _sloped(grad, y, slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        ctx.slope = inputs[2]
        _keep(ctx, inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        return _Sloped.apply(grad, *ctx.saved_tensors, ctx.slope), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, *_: Tensor | None) -> Tensor | None:
        (y,) = ctx.saved_tensors
        return None if tangent is None else _sloped(tangent, y, ctx.slope)


def _keep(ctx: Any, y: Tensor) -> None:
    ctx.save_for_backward(y)
    ctx.save_for_forward(y)
    # Otherwise torch makes zeros of a gradient that is not there.
    ctx.set_materialize_grads(False)
