from __future__ import annotations

import numpy as np
import pytest
import torch

from ganzoo import metrics
from ganzoo.core.spec import SampleSpec
from ganzoo.metrics.inputs import MetricInputs
from ganzoo.metrics.ms_ssim import ms_ssim, pairs

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def plain(a, b):
    """Wang et al. 2003, one image (C, H, W) at a time, window by window."""
    total = 1.0
    for scale, weight in enumerate(WEIGHTS):
        size = min(11, *a.shape[1:])
        places = np.arange(size) - (size - 1) / 2
        window = np.exp(-(places**2) / (2 * (1.5 * size / 11) ** 2))
        window = np.outer(window, window) / window.sum() ** 2
        ssim, contrast = [], []
        for x, y in zip(a, b, strict=True):
            for top in range(x.shape[0] - size + 1):
                for left in range(x.shape[1] - size + 1):
                    p, q = (z[top : top + size, left : left + size] for z in (x, y))
                    mean_p, mean_q = (window * p).sum(), (window * q).sum()
                    var = (window * (p - mean_p) ** 2).sum() + (window * (q - mean_q) ** 2).sum()
                    both = (window * (p - mean_p) * (q - mean_q)).sum()
                    contrast.append((2 * both + 7.65**2) / (var + 7.65**2))
                    light = (2 * mean_p * mean_q + 2.55**2) / (mean_p**2 + mean_q**2 + 2.55**2)
                    ssim.append(light * contrast[-1])
        total *= max(0.0, np.mean(ssim if scale == 4 else contrast)) ** weight
        # TensorFlow's msssim.py mirrors the border of an odd side.
        a, b = (
            np.pad(z, [(0, 0), (0, z.shape[1] % 2), (0, z.shape[2] % 2)], "edge") for z in (a, b)
        )
        a, b = (
            z.reshape(len(z), z.shape[1] // 2, 2, z.shape[2] // 2, 2).mean((2, 4)) for z in (a, b)
        )
    return total


@pytest.mark.parametrize("size", [28, 32, 33, 44])
def test_the_formula(images, size):
    a, b = images(2, seed=1, size=size).double(), images(2, seed=2, size=size).double()
    b = (a + b) / 2
    wanted = [plain(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert ms_ssim(a, b).tolist() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (32, [0.8859338933277903, 0.9104805869602142, 0.8767686683202004]),
        (64, [0.8932571627265756, 0.8998338725486882, 0.9005219487605733]),
    ],
)
def test_golden(size, wanted):
    """TensorFlow's msssim.py, from which Karras et al. have theirs, on squares of random colour."""

    def squares(seed):
        colours = torch.from_numpy(np.random.RandomState(seed).randint(0, 256, (3, 3, 8, 8)))
        return colours.double().repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3)

    a, b = squares(1), (3 * squares(1) + squares(2)) / 4
    assert ms_ssim(a, b).tolist() == pytest.approx(wanted, rel=1e-12)


def test_range(images):
    a = images(4, seed=1)
    assert ms_ssim(a, a).tolist() == pytest.approx([1] * 4)
    assert (ms_ssim(a, 255 - a) < 0.05).all()
    assert torch.equal(ms_ssim(a, images(4, seed=2)), ms_ssim(images(4, seed=2), a))


@pytest.mark.parametrize("size", [8, 28, 32, 33])
def test_small_images_have_a_score(images, size):
    a = images(3, seed=1, size=size, channels=1)
    assert ms_ssim(a, a).tolist() == pytest.approx([1] * 3)


def test_pairs_hold_each_sample_once():
    first, second = pairs(11, seed=3)
    assert len(first) == len(second) == 5
    assert len({*first.tolist(), *second.tolist()}) == 10
    assert torch.equal(pairs(11, seed=3)[0], first)


def test_diversity(images, gather_images, monkeypatch):
    metric = metrics.create("ms-ssim")
    various = metric.score(None, gather_images(images(21, seed=1)))
    alike = metric.score(None, gather_images(images(1, seed=1).repeat(20, 1, 1, 1)))
    assert alike.value == pytest.approx(1) and alike.error == pytest.approx(0)
    assert 0 < various.value < 0.8
    assert various.extra == {"pairs": 10} and various.error > 0
    with_real = metric.score(gather_images(images(20, seed=2)), gather_images(images(21, seed=1)))
    assert with_real.value == various.value
    assert with_real.extra["real"] == pytest.approx(various.value, abs=0.2)
    monkeypatch.setattr("ganzoo.metrics.ms_ssim._BATCH", 1)
    assert metric.score(None, gather_images(images(21, seed=1))).value == pytest.approx(
        various.value, rel=1e-12
    )


def test_floats_are_taken_from_their_range(images):
    whole = images(20, seed=1)
    metric = metrics.create("ms-ssim")
    wanted = metric.score(None, MetricInputs(20, samples=whole, spec=SampleSpec(shape=(3, 32, 32))))
    for low, high in ((-1.0, 1.0), (0.0, 1.0)):
        spec = SampleSpec(shape=(3, 32, 32), value_range=(low, high))
        floats = whole.float() / 255 * (high - low) + low
        found = metric.score(None, MetricInputs(20, samples=floats, spec=spec))
        assert found.value == pytest.approx(wanted.value, rel=1e-5)
