#!/usr/bin/env bash
# Software:  torch 2.14.1, CPU
# Behaviour: the derivative of a convolution's input gradient, which gradient penalties take, runs
#            one convolution for each group, one after the other: 64 groups make 66 convolutions
#            of what forward and first backward pass do in one each. It does so for the gradient
#            of the weight even where the weight is frozen, as in a blur by a fixed filter.
# Expected:  as many kernels as for one group; none for a weight that requires no gradient. (A
#            depthwise convolution is advertised as groups = channels:
#            https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html)
# Output:    groups 1: forward 1, backward 1, double backward 3, with a frozen weight 3
#            groups 8: forward 1, backward 1, double backward 10, with a frozen weight 10
#            groups 64: forward 1, backward 1, double backward 66, with a frozen weight 66
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Convolutions(TorchDispatchMode):
    """Counts convolutions and their backward passes."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "convolution" in str(function)
        return function(*args, **(kwargs or {}))


def counts(groups: int, frozen: bool) -> list[int]:
    """Convolutions of the forward, the first and the second backward pass."""
    torch.manual_seed(0)
    images = torch.randn(2, 64, 8, 8, requires_grad=True)
    weight = torch.randn(64, 64 // groups, 3, 3, requires_grad=not frozen)
    passes = [Convolutions() for _ in range(3)]
    with passes[0]:
        maps = torch.nn.functional.conv2d(images, weight, padding=1, groups=groups)
    with passes[1]:
        (slopes,) = torch.autograd.grad(maps.square().sum(), images, create_graph=True)
    with passes[2]:
        torch.autograd.grad(slopes.square().sum(), images if frozen else (images, weight))
    return [each.count for each in passes]


for groups in (1, 8, 64):
    forward, backward, double = counts(groups, frozen=False)
    alone = counts(groups, frozen=True)[2]
    print(
        f"groups {groups}: forward {forward}, backward {backward}, double backward {double}, "
        f"with a frozen weight {alone}"
    )
    assert (forward, backward) == (1, 1)
    assert double == alone == groups + 2, "double backward does not loop over groups any more"
PYTHON
