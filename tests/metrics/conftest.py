from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ganzoo.core.spec import SampleSpec
from ganzoo.metrics.inputs import MetricInputs, Moments


def features(count: int, seed: int, size: int = 24, shift: float = 0.0, scale: float = 1.0):
    """Features as nets have them: not negative, correlated, of very different variance."""
    mixing = np.random.RandomState(99).randn(size, size) * np.logspace(0, -2, size)
    drawn = np.random.RandomState(seed).randn(count, size) @ mixing
    return torch.from_numpy(np.maximum(scale * drawn + shift + 0.1, 0)).float()


def moments(values: Tensor) -> Moments:
    found = Moments()
    found.add(values)
    return found


def of_features(values: Tensor) -> MetricInputs:
    spec = SampleSpec(shape=(3, 32, 32))
    return MetricInputs(len(values), moments(values), values, spec=spec)


def of_logits(values: Tensor) -> MetricInputs:
    return MetricInputs(len(values), logits=values, spec=SampleSpec(shape=(3, 32, 32)))


def of_images(values: Tensor) -> MetricInputs:
    return MetricInputs(len(values), samples=values, spec=SampleSpec(shape=tuple(values.shape[1:])))


@pytest.fixture
def draw() -> Callable[..., Tensor]:
    return features


@pytest.fixture
def real() -> Tensor:
    return features(500, seed=1)


@pytest.fixture
def fake() -> Tensor:
    return features(600, seed=2, shift=0.05, scale=1.2)


@pytest.fixture
def gather() -> Callable[[Tensor], MetricInputs]:
    return of_features


@pytest.fixture
def gather_logits() -> Callable[[Tensor], MetricInputs]:
    return of_logits


@pytest.fixture
def gather_images() -> Callable[[Tensor], MetricInputs]:
    return of_images


@pytest.fixture
def images() -> Callable[..., Tensor]:
    """Smooth pictures of uint8."""

    def make(count: int, seed: int, size: int = 32, channels: int = 3) -> Tensor:
        coarse = np.random.RandomState(seed).rand(count, channels, 6, 6)
        fine = torch.nn.functional.interpolate(
            torch.from_numpy(coarse), (size, size), mode="bicubic", align_corners=False
        )
        return (fine * 255).clamp(0, 255).to(torch.uint8)

    return make
