#!/usr/bin/env bash
# Software:  torch 2.14.1, CPU
# Behaviour: torch.optim.SGD(momentum=0.9, fused=True) behind torch.amp.GradScaler: if the scaler
#            skips the very first step, because a gradient is infinite, the momentum buffer is
#            memory that nobody has written, and counts as the momentum from the second step on.
#            Weights become whatever lay there, here 1e30. The unfused optimizer makes no buffer in
#            a skipped step and goes on as if it had not been.
# Expected:  a skipped step changes nothing, fused or not. The first step is the one that a scaler
#            most often skips, since its scale starts high.
# Output:    fused=False: after the second step weights 0.9, momentum 1
#            fused=True: after the second step weights and momentum beyond 1e+06
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import torch


def trained(fused: bool) -> tuple[float, float]:
    """Largest weight and momentum after a skipped and an ordinary step."""
    weight = torch.nn.Parameter(torch.ones(1000))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    for factor in (float("inf"), 1.0):
        optimizer.zero_grad()
        loss = (weight * factor).sum()
        # What programs leave behind in freed memory, made visible.
        used = [torch.full((1000,), 1e30) for _ in range(50)]
        del used
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    momentum = optimizer.state[weight]["momentum_buffer"]
    return weight.abs().max().item(), momentum.abs().max().item()


weight, momentum = trained(fused=False)
print(f"fused=False: after the second step weights {weight:.3g}, momentum {momentum:.3g}")
assert abs(weight - 0.9) < 1e-6 and momentum == 1
weight, momentum = trained(fused=True)
assert weight > 1e6 and momentum > 1e6, "the fused optimizer does not use unwritten memory any more"
print("fused=True: after the second step weights and momentum beyond 1e+06")
PYTHON
