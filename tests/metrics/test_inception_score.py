from __future__ import annotations

import numpy as np
import pytest
import torch

from ganzoo import metrics
from ganzoo.errors import ConfigError, DataError

NAMES = ["inception-score", "classifier-score"]


def logits():
    return torch.from_numpy(np.random.RandomState(4).randn(203, 10) * 2)


@pytest.mark.parametrize("name", NAMES)
def test_golden(name, gather_logits):
    """torch-fidelity 0.4 on the same logits."""
    result = metrics.create(name).score(None, gather_logits(logits()))
    assert result.value == pytest.approx(2.403971957312298, rel=1e-12)
    assert result.error == pytest.approx(0.25234693136595837, rel=1e-12)
    whole = metrics.create(name, splits=1).score(None, gather_logits(logits()))
    assert whole.value == pytest.approx(2.5897643168218814, rel=1e-12)
    assert whole.error == 0


def test_the_formula(gather_logits):
    p = np.exp(logits().numpy())
    p /= p.sum(1, keepdims=True)
    wanted = np.exp(np.mean(np.sum(p * np.log(p / p.mean(0)), axis=1)))
    metric = metrics.create("classifier-score", splits=1)
    assert metric.score(None, gather_logits(logits())).value == pytest.approx(wanted, rel=1e-12)


def test_range(gather_logits):
    metric = metrics.create("classifier-score", splits=1)
    sure = 1000 * torch.eye(7).repeat(10, 1)
    assert metric.score(None, gather_logits(sure)).value == pytest.approx(7)
    alike = sure[:1].repeat(50, 1)
    assert metric.score(None, gather_logits(alike)).value == pytest.approx(1)
    unsure = torch.zeros(50, 7)
    assert metric.score(None, gather_logits(unsure)).value == pytest.approx(1)


def test_errors(gather_logits):
    with pytest.raises(DataError, match="needs at least 10 generated .* or set splits"):
        metrics.create("inception-score").score(None, gather_logits(torch.zeros(5, 3)))
    for shape in ((20, 1), (20, 3, 10)):
        with pytest.raises(ConfigError, match="needs logits of at least two classes"):
            metrics.create("inception-score").score(None, gather_logits(torch.zeros(shape)))
