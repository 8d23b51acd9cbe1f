"""Inception features per second, against pytorch-fid's network on the same pictures.

The other side is the network of the installed pytorch-fid, with random weights and as its program
calls it. ganzoo's side is the extractor ``inception`` with the preset ``pytorch-fid``. They take
turns in one process, so that a machine that slows down slows all; a round's ratio is the figure,
not the absolute speeds.

    pip install --no-deps pytorch-fid
    python benchmarks/features.py --rounds 3 --pictures 100
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo.features.inception import Inception

BATCH = 50  # of pytorch-fid


def reference(path: Path) -> nn.Module:
    """Return pytorch-fid's network with random weights, and write them to a file."""
    import torchvision
    from pytorch_fid import inception
    from safetensors.torch import save_file

    net = torchvision.models.inception_v3(
        num_classes=1008, aux_logits=False, weights=None, init_weights=False
    )
    weights = net.state_dict()
    save_file(weights, path)
    inception.load_state_dict_from_url = lambda *_, **__: weights
    return inception.InceptionV3().eval()


def speed(call: Callable[[Tensor], Any], pictures: Tensor) -> float:
    """Pictures per second, in batches."""
    began = time.perf_counter()
    for batch in pictures.split(BATCH):
        call(batch)
    return len(pictures) / (time.perf_counter() - began)


@torch.no_grad()
def main() -> None:
    """Measure rounds and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=100)
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        net = reference(path).to(device)
        extractor = Inception(preset="pytorch-fid", weights=path)
        sides = {name: extractor.build(device, name) for name in ("fp32", "bf16")}

    def other(batch: Tensor) -> Tensor:
        found: Tensor = net(batch.float() / 255)[0].flatten(1)
        return found

    pictures = torch.randint(0, 256, (options.pictures, 3, 32, 32), dtype=torch.uint8).to(device)
    few = pictures[:4]
    wanted = other(few)
    for name, side in sides.items():
        error = (side(few).pool - wanted).norm() / wanted.norm()
        print(f"{name}: features differ by {error.item():.1e} of their norm")
    ratios: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds):
        theirs = speed(other, pictures)
        line = f"round {number + 1}: pytorch-fid's network {theirs:.1f} pictures/s"
        for name, side in sides.items():
            ours = speed(side, pictures)
            ratios[name].append(ours / theirs)
            line += f", {name} {ours:.1f} (x{ours / theirs:.2f})"
        print(line, flush=True)
    for name, found in ratios.items():
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"{name}: median ratio {statistics.median(found):.2f} ({spread})")


if __name__ == "__main__":
    main()
