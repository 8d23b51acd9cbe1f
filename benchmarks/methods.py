"""What penalties and augmentations cost: time of a step with them over that of the step without.

DCGAN at 32x32, batch 64, on the embedded Fashion-MNIST images. All trainings live in one process
and take turns, ``--steps`` iterations each, so that a machine that slows down slows all; a
method's figure is the median over rounds of its time over that of the plain step in the same round.
``wgan-gp by hand`` is the usual loop: float32, ``autograd.grad`` over interpolates, a
``DataLoader``; its rival here is ``wasserstein`` with ``gp``. Neither critic has batch norm.

    python benchmarks/methods.py --rounds 7
    python benchmarks/methods.py --only wgan-gp
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

import ganzoo

BATCH, LATENT = 64, 100
METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "r1": {"penalties": ["r1"]},
    "r1 every 16": {"penalties": [{"name": "r1", "every": 16}]},
    "r1 + r2": {"penalties": ["r1", "r2"]},
    "approximate r1 + r2": {"penalties": ["approximate-r1", "approximate-r2"]},
    "gp": {"penalties": ["gp"]},
    "dragan": {"penalties": ["dragan"]},
    "consistency": {"penalties": ["consistency"]},
    "lecam": {"penalties": ["lecam"]},
    "path-length": {"penalties": ["path-length"]},
    "orthogonal": {"penalties": ["orthogonal"]},
    "feature-matching": {"penalties": ["feature-matching"]},
    "reconstruction": {"penalties": ["reconstruction"]},
    "diffaugment": {"augmentation": "diffaugment"},
    "ada at .5": {"augmentation": {"name": "ada", "start": 0.5, "ramp": None}},
}
WGAN_GP: dict[str, Any] = {
    "arch": {"name": "dcgan", "d_norm": "none"},
    "loss": {"name": "wasserstein", "clip": None},
    "penalties": ["gp"],
    "d_steps": 5,
}


def training(settings: dict[str, Any], folder: str) -> Iterator[Any]:
    """The iterations of a training that never ends."""
    trainer = ganzoo.Trainer(
        **{"arch": "dcgan", **settings},
        batch_size=BATCH,
        steps=10**6,
        checkpoint_every=10**6,
        sample_every=10**6,
        progress=False,
        out=folder,
    )
    return trainer.iterations()


def by_hand() -> Iterator[Any]:
    """WGAN-GP as most people write it, with the nets of PyTorch's DCGAN example at 32x32.

    The critic has no batch norm, as the paper demands.
    """
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    samples = ganzoo.datasets.create("fashion-mnist-10k").load()
    transform = transforms.Compose(
        [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    )

    class Pictures(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, index: int) -> torch.Tensor:
            picture: torch.Tensor = transform(Image.fromarray(samples.data[index, 0].numpy()))
            return picture

    def up(before: int, after: int, *shape: int) -> list[nn.Module]:
        return [
            nn.ConvTranspose2d(before, after, *shape, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(True),
        ]

    generator = nn.Sequential(
        *up(LATENT, 256, 4, 1, 0),
        *up(256, 128, 4, 2, 1),
        *up(128, 64, 4, 2, 1),
        nn.ConvTranspose2d(64, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    critic = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(128, 256, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(256, 1, 4, 1, 0),
        nn.Flatten(0),
    )
    g_optimizer = torch.optim.Adam(generator.parameters(), 1e-4, betas=(0.0, 0.9))
    d_optimizer = torch.optim.Adam(critic.parameters(), 1e-4, betas=(0.0, 0.9))
    count = 0
    while True:
        for real in DataLoader(Pictures(), BATCH, shuffle=True, drop_last=True):
            d_optimizer.zero_grad()
            fake = generator(torch.randn(BATCH, LATENT, 1, 1)).detach()
            share = torch.rand(BATCH, 1, 1, 1)
            between = (share * real + (1 - share) * fake).requires_grad_(True)
            logits = critic(between)
            (slope,) = torch.autograd.grad(
                logits, between, torch.ones_like(logits), create_graph=True, retain_graph=True
            )
            penalty = ((slope.view(BATCH, -1).norm(2, dim=1) - 1) ** 2).mean()
            loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
            loss.backward()
            d_optimizer.step()
            loss.item()
            count += 1
            if count % 5:
                continue
            g_optimizer.zero_grad()
            g_loss = -critic(generator(torch.randn(BATCH, LATENT, 1, 1))).mean()
            g_loss.backward()
            g_optimizer.step()
            g_loss.item()
            yield None


def measure(sides: dict[str, Callable[[], Iterator[Any]]], rounds: int, steps: int) -> None:
    """Let sides take turns; print each one's median time over that of the first."""
    running = {name: start() for name, start in sides.items()}
    for side in running.values():
        next(side)
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, side in running.items():
            began = time.perf_counter()
            for _ in range(steps):
                next(side)
            times[name].append(time.perf_counter() - began)
    first = next(iter(times.values()))
    for name, taken in times.items():
        ratios = sorted(one / base for one, base in zip(taken, first, strict=True))
        speed = BATCH * steps / statistics.median(taken)
        print(
            f"{name:22} {statistics.median(ratios):6.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  "
            f"{speed:7.0f} images per step-second",
            flush=True,
        )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=16, help="iterations of a turn")
    parser.add_argument("--only", help="comma-separated methods, or wgan-gp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.only == "wgan-gp":
            ours = training(WGAN_GP, f"{folder}/gp")
            measure({"ours": lambda: ours, "by hand": by_hand}, options.rounds, 2)
            return
        chosen = options.only.split(",") if options.only else list(METHODS)
        sides = {
            name: lambda name=name: training(METHODS[name], f"{folder}/{name}")
            for name in dict.fromkeys(["plain", *chosen])
        }
        measure(sides, options.rounds, options.steps)


if __name__ == "__main__":
    main()
