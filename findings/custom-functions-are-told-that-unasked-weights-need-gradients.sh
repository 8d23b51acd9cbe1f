#!/usr/bin/env bash
# Software:  torch 2.14.1, CPU
# Behaviour: torch.autograd.grad(loss, inputs) asks for gradients of inputs alone, and torch's own
#            operations compute no other. In a torch.autograd.Function, ctx.needs_input_grad is
#            true of the weight all the same, so a backward pass that heeds it computes the
#            weight's gradient, which is then thrown away, at each R1, R2 or WGAN-GP penalty of a net
#            with such layers.
# Expected:  needs_input_grad says what this backward pass needs, as the mask does that built-in
#            operations get. (The notes on extending autograd recommend it to save this very work:
#            https://docs.pytorch.org/docs/stable/notes/extending.html)
# Output:    built in: computes gradients of (input, weight): (True, False)
#            Function: needs_input_grad is (True, True)
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import torch
from torch.utils._python_dispatch import TorchDispatchMode

told = []
masks = []


class Own(torch.autograd.Function):
    """A convolution that notes what it is told."""

    @staticmethod
    def forward(ctx, images, weight):
        ctx.save_for_backward(images, weight)
        return torch.nn.functional.conv2d(images, weight)

    @staticmethod
    def backward(ctx, grad):
        told.append(tuple(ctx.needs_input_grad))
        images, weight = ctx.saved_tensors
        return torch.nn.grad.conv2d_input(images.shape, weight, grad), None


class Masks(TorchDispatchMode):
    """Notes which gradients a built-in convolution computes."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "convolution_backward" in str(function):
            masks.append(tuple(args[-1][:2]))
        return function(*args, **(kwargs or {}))


torch.manual_seed(0)
images = torch.randn(2, 3, 8, 8, requires_grad=True)
weight = torch.randn(4, 3, 3, 3, requires_grad=True)
with Masks():
    (plain,) = torch.autograd.grad(torch.nn.functional.conv2d(images, weight).sum(), images)
(own,) = torch.autograd.grad(Own.apply(images, weight).sum(), images)
assert torch.allclose(plain, own, atol=1e-5)
print(f"built in: computes gradients of (input, weight): {masks[0]}")
print(f"Function: needs_input_grad is {told[0]}")
assert masks == [(True, False)]
assert told == [(True, True)], "needs_input_grad heeds what autograd.grad is asked for now"
PYTHON
