#!/usr/bin/env bash
# Software:  torch 2.14.1, CPU
# Behaviour: FlopCounterMode around the first half of a gradient penalty, torch.autograd.grad of a
#            module's output with respect to its input, raises RuntimeError from a hook of its
#            module tracker. The same net by functions, or with backward(), is counted. So the cost
#            of a WGAN-GP, R1 or path length step cannot be measured with it as the step stands.
# Expected:  a number: the mode counts operations, whatever asks for them.
#            (https://docs.pytorch.org/docs/stable/utils.html)
# Output:    backward() of a module: 10800
#            autograd.grad by functions: 7200
#            autograd.grad of a module: RuntimeError: A leaf node was passed to _will_engine_execute_node
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import torch
from torch.utils.flop_counter import FlopCounterMode

torch.manual_seed(0)
critic = torch.nn.Conv2d(1, 2, 3)
images = torch.randn(4, 1, 7, 7, requires_grad=True)


def counted(run) -> int:
    """Floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def slope(function) -> None:
    """What a gradient penalty begins with."""
    torch.autograd.grad(function(images).sum(), images, create_graph=True)


print(f"backward() of a module: {counted(lambda: critic(images).sum().backward())}")
plain = lambda x: torch.nn.functional.conv2d(x, critic.weight, critic.bias)
print(f"autograd.grad by functions: {counted(lambda: slope(plain))}")
try:
    counted(lambda: slope(critic))
except RuntimeError as error:
    assert "_will_engine_execute_node" in str(error), error
    print(f"autograd.grad of a module: RuntimeError: {str(error).split(' but')[0]}")
else:
    raise AssertionError("the counter takes gradients at inputs now")
PYTHON
