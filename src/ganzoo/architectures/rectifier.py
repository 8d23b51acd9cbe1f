"""Leaky ReLU whose second derivative, zero everywhere, can be left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganzoo.core.differentiation import is_for_gradients_alone

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LeakyReLU"]


class LeakyReLU(nn.LeakyReLU):
    """torch's leaky ReLU, but for penalties of gradients at points of their own, such as ``gp``.

    When the backward pass of torch's own is differentiated, it hands a map of zeros on, and all
    layers before compute with it (findings/gradient-penalties-send-zeros-through-leaky-relu.sh).
    Here that gradient does not exist in what is computed ``for_gradients_alone``: ``.grad`` of
    what nothing else reaches stays None, and ``torch.autograd.grad`` needs ``allow_unused`` or
    ``materialize_grads`` for it. There it does not write over its input either.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map values of any shape; those below zero become ``negative_slope`` times as large."""
        if is_for_gradients_alone() and self.negative_slope > 0 and _differentiates(x):
            rectified: Tensor = _Rectified.apply(x, self.negative_slope)
            return rectified
        return super().forward(x)


def _differentiates(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling()


def _sloped(grad: Tensor, y: Tensor, slope: float) -> Tensor:
    """A gradient times the slopes where the output is ``y``, which are constants."""
    found: Tensor = torch.ops.aten.leaky_relu_backward(grad, y, slope, True)
    return found


class _Rectified(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, slope: float) -> Tensor:
        return nn.functional.leaky_relu(x, slope)

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
    def jvp(ctx: Any, tangent: Tensor | None, *_: Tensor | None) -> Tensor:
        (y,) = ctx.saved_tensors
        # Where only y has a tangent, torch asserts that the result has one.
        return torch.zeros_like(y) if tangent is None else _sloped(tangent, y, ctx.slope)


def _keep(ctx: Any, y: Tensor) -> None:
    ctx.save_for_backward(y)
    ctx.save_for_forward(y)
    # Otherwise torch makes zeros of a gradient that is not there.
    ctx.set_materialize_grads(False)
