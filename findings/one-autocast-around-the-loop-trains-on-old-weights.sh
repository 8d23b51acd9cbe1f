#!/usr/bin/env bash
# Software:  torch 2.14.1, CPU
# Behaviour: one torch.autocast block around several updates computes all of them with the weights
#            that were cast in the first one. The cache of cast weights lives until the outermost
#            block ends, and optimizer.step() does not empty it. The loss stays the same to the last
#            digit while the weights walk away. Nothing is raised or warned of. A GAN's generator
#            learns in such a block from the discriminator of the first iteration.
# Expected:  each forward pass sees the present weights, as without autocast. The documentation
#            wraps the forward pass alone, and does not say what a larger block does
#            (https://docs.pytorch.org/docs/stable/amp.html).
# Output:    one block around all steps: 1 loss in 6 steps, weights moved by 0.35
#            a block in each step: 6 losses in 6 steps
#            one block with cache_enabled=False: 6 losses in 6 steps
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import contextlib

import torch

STEPS = 6


def trained(around: bool, **options: bool) -> tuple[int, float]:
    """Number of different losses, and the largest change of a weight."""
    torch.manual_seed(0)
    net, points = torch.nn.Linear(16, 16), torch.randn(32, 16)
    before = net.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    autocast = lambda: torch.autocast("cpu", torch.bfloat16, **options)
    nothing = contextlib.nullcontext
    losses = set()
    with autocast() if around else nothing():
        for _ in range(STEPS):
            optimizer.zero_grad()
            with nothing() if around else autocast():
                loss = net(points).float().square().mean()
            loss.backward()
            optimizer.step()
            losses.add(loss.item())
    return len(losses), (net.weight - before).abs().max().item()


count, moved = trained(around=True)
print(f"one block around all steps: {count} loss in {STEPS} steps, weights moved by {moved:.2g}")
assert count == 1 and moved > 0.1, "the cache of cast weights is emptied by an update now"
count, _ = trained(around=False)
print(f"a block in each step: {count} losses in {STEPS} steps")
assert count == STEPS
count, _ = trained(around=True, cache_enabled=False)
print(f"one block with cache_enabled=False: {count} losses in {STEPS} steps")
assert count == STEPS
PYTHON
