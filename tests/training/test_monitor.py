from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ganzoo.training.monitor import NonFiniteMonitor, diversity, gradient_norms

CPU = torch.device("cpu")


def test_the_first_update_of_each_number_is_kept() -> None:
    monitor = NonFiniteMonitor(["loss", "a", "b"], CPU)
    assert not monitor.alarm
    assert monitor.report() is None
    assert not monitor.note(1, torch.tensor([1.0, 2.0, 3.0]))
    assert monitor.note(2, torch.tensor([1.0, math.nan, -math.inf]))
    assert not monitor.note(3, torch.tensor([1.0, 1.0, 1.0]))
    assert monitor.note(4, torch.tensor([math.nan, math.nan, math.nan]))
    assert monitor.alarm
    assert monitor.report() == (2, ["a", "b"])
    monitor.reset()
    assert monitor.report() is None


def test_gradient_norms() -> None:
    parameters = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))]
    like = torch.zeros(())
    assert gradient_norms(parameters, like).tolist() == [0, 0]
    parameters[1].grad = torch.tensor([3.0, 0.0, 4.0])
    assert gradient_norms(parameters, like).tolist() == [0, 5]
    parameters[0].grad = torch.ones(2, 2)
    assert gradient_norms(parameters, like).tolist() == [2, 5]
    parameters[0].grad[0, 0] = math.nan
    assert gradient_norms(parameters, like).isfinite().tolist() == [False, True]


def test_diversity_is_the_ratio_of_mean_distances() -> None:
    real = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    fake = torch.tensor([[0.0], [1.0], [2.0], [3.0]])  # distances 1 1 1 2 2 3
    assert diversity(fake, real).item() == pytest.approx((10 / 6) / (10 / 3))
    images = torch.randn(70, 3, 5, 4)
    assert diversity(images, images).item() == 1
    assert diversity(images[:1].expand(64, -1, -1, -1), images).item() == 0


def test_diversity_is_told_of_samples_that_are_almost_one() -> None:
    real = torch.randn(64, 1000)
    fake = 10 + 1e-4 * torch.randn(64, 1000)
    assert diversity(fake, real).item() == pytest.approx(1e-4, rel=0.05)


def test_diversity_of_what_has_none_is_no_number() -> None:
    assert math.isnan(diversity(torch.zeros(1, 2), torch.zeros(1, 2)).item())
    assert math.isnan(diversity(torch.zeros(4, 2), torch.zeros(4, 2)).item())
