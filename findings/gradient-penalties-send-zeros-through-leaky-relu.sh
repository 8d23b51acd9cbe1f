#!/usr/bin/env bash
# Software:  torch 2.14.1, CPU
# Behaviour: the double backward of leaky_relu and relu returns a map of zeros for their input
#            where it could return no gradient. Under WGAN-GP, whose penalty is taken at points of
#            its own, autograd takes these zeros back through every layer before: each convolution
#            computes gradients of inputs and weights that are zero. A quarter of the
#            convolutions of a penalty are for nothing. With the same function written as
#            torch.where, no zeros arise, and the gradients are equal.
# Expected:  no work; the second derivative of a function that is linear in pieces is zero, and
#            for that autograd has the undefined gradient, which it skips
#            (https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad.html: allow_unused)
# Output:    leaky_relu: 21 convolutions, of which 5 of zeros; bias gradients are zeros
#            relu: 21 convolutions, of which 5 of zeros; bias gradients are zeros
#            where: 16 convolutions, of which 0 of zeros; bias gradients are none
#            gradients of weights: equal
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Convolutions(TorchDispatchMode):
    """Counts products that convolutions compute, and those of a map that is zero throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.zeros = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name == "convolution":
            self.count += 1
        elif name == "convolution_backward":
            products = sum(args[10][:2])
            self.count += products
            if not args[0].any():
                self.zeros += products
        return function(*args, **(kwargs or {}))


class Where(nn.Module):
    def forward(self, x):
        return torch.where(x > 0, x, 0.2 * x)


def penalty_of(activation: type, *arguments: float) -> tuple:
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1),
        activation(*arguments),
        nn.Conv2d(16, 32, 4, 2, 1),
        activation(*arguments),
        nn.Conv2d(32, 64, 4, 2, 1),
        activation(*arguments),
        nn.Conv2d(64, 1, 4),
    )
    points = torch.randn(4, 3, 32, 32, requires_grad=True)
    with Convolutions() as seen:
        (slopes,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
        penalty = (slopes.flatten(1).norm(dim=1) - 1).square().mean()
        found = torch.autograd.grad(penalty, list(critic.parameters()), allow_unused=True)
    biases = found[1:-2:2]
    if all(each is None for each in biases):
        state = "none"
    else:
        assert not any(each.any() for each in biases)
        state = "zeros"
    return seen.count, seen.zeros, state, found[::2]


results = {
    "leaky_relu": penalty_of(nn.LeakyReLU, 0.2),
    "relu": penalty_of(nn.ReLU),
    "where": penalty_of(Where),
}
for name, (count, zeros, biases, _) in results.items():
    print(f"{name}: {count} convolutions, of which {zeros} of zeros; bias gradients are {biases}")
for one, other in zip(results["leaky_relu"][3], results["where"][3], strict=True):
    torch.testing.assert_close(one, other)
print("gradients of weights: equal")
assert results["where"][1] == 0
assert results["leaky_relu"][1] > 0, "leaky_relu gives no zeros any more"
assert results["relu"][1] > 0, "relu gives no zeros any more"
PYTHON
