"""The default job makes recognisable garments of all kinds. Minutes long: ``pytest -m slow``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import ganzoo
from ganzoo import datasets
from ganzoo.datasets import Samples


def real_images(root: Any) -> tuple[Samples, Samples]:
    """Training and test images: the full splits where they are at hand, else the embedded ones."""
    if root is not None:
        train, test = (
            datasets.create("fashion-mnist", split=split, root=root) for split in ("train", "test")
        )
        return train.load(), test.load()
    whole = datasets.create("fashion-mnist-10k").load()
    assert whole.labels is not None
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    return tuple(  # type: ignore[return-value]
        Samples(whole.data[part], whole.spec, whole.labels[part])
        for part in (order[1500:], order[:1500])
    )


def classifier() -> nn.Module:
    """A small convolutional classifier of 28x28 greyscale pictures in [-1, 1]."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * 9, 10))


def normalised(data: Tensor) -> Tensor:
    return data.float() / 127.5 - 1


def trained(samples: Samples, updates: int = 2400, batch: int = 128) -> nn.Module:
    """Train a classifier with mirrored and shifted pictures."""
    torch.manual_seed(0)
    net = classifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=updates)
    assert samples.labels is not None
    for _ in range(updates):
        chosen = torch.randint(len(samples), (batch,))
        pictures = normalised(samples.data[chosen])
        if torch.rand(()) < 0.5:
            pictures = pictures.flip(3)
        shift = tuple(torch.randint(-1, 2, (2,)).tolist())
        pictures = pictures.roll(shift, (2, 3)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(net(pictures).float(), samples.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
    return net.eval()


@torch.no_grad()
def classes(net: nn.Module, pictures: Tensor) -> Tensor:
    """The class that the classifier sees in each picture (N, 1, 28, 28) in [-1, 1]."""
    return torch.cat([net(part).argmax(1) for part in pictures.split(500)])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_default_job_covers_all_ten_classes(found_torchvision_root: Any) -> None:
    train, test = real_images(found_torchvision_root)
    net = trained(train)
    assert test.labels is not None
    accuracy = (classes(net, normalised(test.data)) == test.labels).float().mean().item()
    assert accuracy >= 0.9, f"the classifier itself is too weak: {accuracy:.3f}"

    run = ganzoo.Trainer(arch="dcgan").fit()
    samples = run.generator.sample(1000, seed=0)
    shares = classes(net, samples).bincount(minlength=10) / 1000
    print(f"classifier {accuracy:.3f}; shares {[round(share, 3) for share in shares.tolist()]}")
    assert samples.shape == (1000, 1, 28, 28)
    assert shares.min() >= 0.03, shares.tolist()
