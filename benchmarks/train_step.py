"""Images per second of ``Trainer`` against a hand-written loop on the same work.

DCGAN at 32x32 (width 64, latent 100, batch 64) on the embedded Fashion-MNIST images. The other
side is what one writes after reading PyTorch's DCGAN example: a ``DataLoader`` with transforms,
float32, the fake batch shared by both updates, losses read with ``.item()`` at every step. Each
measurement is a fresh process; the two sides take turns, so that a machine that slows down slows
both; a pair's ratio is the figure, not the absolute speeds.

    python benchmarks/train_step.py --pairs 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

STEPS, WARMUP, BATCH, LATENT = 60, 15, 64, 100


def trainer_speed() -> float:
    """Images per second of ``Trainer.iterations``."""
    import ganzoo

    trainer = ganzoo.Trainer("dcgan", batch_size=BATCH, steps=STEPS + WARMUP, progress=False)
    step, began = None, 0.0
    for step in trainer.iterations():
        if step.number == WARMUP - 1:
            step.scalars["g_loss"].item()
            began = time.perf_counter()
    assert step is not None
    step.scalars["g_loss"].item()
    return STEPS * BATCH / (time.perf_counter() - began)


def hand_speed() -> float:
    """Images per second of the hand-written loop."""
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from ganzoo import datasets

    samples = datasets.create("fashion-mnist-10k").load()
    transform = transforms.Compose(
        [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    )

    class Pictures(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, index: int) -> torch.Tensor:
            picture: torch.Tensor = transform(Image.fromarray(samples.data[index, 0].numpy()))
            return picture

    def stage(conv: nn.Module, width: int, activation: nn.Module) -> list[nn.Module]:
        return [conv, nn.BatchNorm2d(width), activation]

    generator = nn.Sequential(
        *stage(nn.ConvTranspose2d(LATENT, 256, 4, 1, 0, bias=False), 256, nn.ReLU(True)),
        *stage(nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False), 128, nn.ReLU(True)),
        *stage(nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), 64, nn.ReLU(True)),
        nn.ConvTranspose2d(64, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, True),
        *stage(nn.Conv2d(64, 128, 4, 2, 1, bias=False), 128, nn.LeakyReLU(0.2, True)),
        *stage(nn.Conv2d(128, 256, 4, 2, 1, bias=False), 256, nn.LeakyReLU(0.2, True)),
        nn.Conv2d(256, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
        nn.Flatten(0),
    )
    criterion = nn.BCELoss()
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    loader = DataLoader(Pictures(), batch_size=BATCH, shuffle=True, drop_last=True)
    began, log = 0.0, []
    for done, real in enumerate(loader):
        if done == WARMUP:
            began = time.perf_counter()
        if done == WARMUP + STEPS:
            break
        ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
        discriminator.zero_grad()
        real_output = discriminator(real)
        real_loss = criterion(real_output, ones)
        real_loss.backward()
        fake = generator(torch.randn(BATCH, LATENT, 1, 1))
        fake_output = discriminator(fake.detach())
        fake_loss = criterion(fake_output, zeros)
        fake_loss.backward()
        d_optimizer.step()
        generator.zero_grad()
        g_loss = criterion(discriminator(fake), ones)
        g_loss.backward()
        g_optimizer.step()
        log.append((real_loss.item() + fake_loss.item(), g_loss.item(), real_output.mean().item()))
    assert len(log) == WARMUP + STEPS
    return STEPS * BATCH / (time.perf_counter() - began)


def main() -> None:
    """Measure pairs and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--side", choices=["trainer", "hand"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(trainer_speed() if options.side == "trainer" else hand_speed()))
        return
    ratios = []
    for pair in range(options.pairs):
        speed = {}
        for side in ("trainer", "hand") if pair % 2 == 0 else ("hand", "trainer"):
            command = [sys.executable, __file__, "--side", side]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            speed[side] = float(done.stdout.splitlines()[-1])
        ratios.append(speed["trainer"] / speed["hand"])
        print(
            f"pair {pair + 1}: Trainer {speed['trainer']:.0f}, hand-written "
            f"{speed['hand']:.0f} images/s, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"ratio: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
