from __future__ import annotations

import numpy as np
import pytest
import torch

from ganzoo import metrics
from ganzoo.core.spec import SampleSpec
from ganzoo.errors import ConfigError, DataError
from ganzoo.metrics.swd import laplacian_pyramid, sliced_wasserstein

FEW = {"patches": 16, "directions": 32}


def blur(image):
    """(1 4 6 4 1) / 16 along both axes of (H, W), mirrored without the border itself."""
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    wide = np.pad(image, 2, mode="reflect")
    height, width = image.shape
    return sum(
        kernel[i, j] * wide[i : i + height, j : j + width] for i in range(5) for j in range(5)
    )


def plain_pyramid(image, levels):
    found = []
    for _ in range(levels - 1):
        coarse = blur(image)[::2, ::2]
        spread = np.zeros_like(image)
        spread[::2, ::2] = coarse
        found.append(image - 4 * blur(spread))
        image = coarse
    return [*found, image]


@pytest.mark.parametrize(("size", "levels"), [(64, 3), (32, 2), (28, 1), (33, 2), (31, 2)])
def test_pyramid(images, size, levels):
    pictures = images(2, seed=1, size=size).double()
    for n in range(2):
        for channel in range(3):
            wanted = plain_pyramid(pictures[n, channel].numpy(), levels)
            for level in range(levels):
                found = laplacian_pyramid(pictures, level)[n, channel].numpy()
                np.testing.assert_allclose(found, wanted[level], atol=1e-9)


def test_sliced_distance():
    a, b = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0)).double()
    wanted = np.abs(np.sort(a.numpy(), 0) - np.sort(b.numpy(), 0)).mean()
    assert sliced_wasserstein(a, b) == pytest.approx(wanted, rel=1e-12)
    assert sliced_wasserstein(a, a.flip(0)) == 0
    assert sliced_wasserstein(a, a + 2) == pytest.approx(2)


def test_score(images, gather_images):
    metric = metrics.create("swd", **FEW)
    real = gather_images(images(100, seed=1, size=64))
    near = metric.score(real, gather_images(images(100, seed=2, size=64)))
    noise = torch.randint(256, (100, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    far = metric.score(real, gather_images(noise.to(torch.uint8)))
    assert list(near.extra["levels"]) == ["64", "32", "16"]
    assert near.value == pytest.approx(sum(near.extra["levels"].values()) / 3)
    assert all(near.extra["levels"][side] < far.extra["levels"][side] for side in ("64", "32"))
    assert near.value * 2 < far.value
    assert near.notices == ()


def test_the_same_images(images, gather_images):
    parts = gather_images(images(70, seed=1)), gather_images(images(70, seed=1))
    assert metrics.create("swd", **FEW).score(*parts).value == 0


def test_of_the_larger_side_images_are_drawn_evenly(gather_images):
    """Folders are sorted by class: the first ones would be of one class only."""
    noise = torch.randint(60, (400, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    dark, bright = noise.to(torch.uint8), (noise.flip(0) + 190).to(torch.uint8)
    few = gather_images(torch.cat((dark[300:], bright[300:])))
    many = torch.cat((dark[:300], bright[:300]))
    of_one = gather_images(many[:200])
    metric = metrics.create("swd", **FEW)
    random = torch.get_rng_state()
    result = metric.score(gather_images(many), few)
    assert torch.equal(torch.get_rng_state(), random)
    assert result.extra["images"] == 200
    wrong = metric.score(of_one, few).value
    assert result.value < wrong / 3
    assert metric.score(few, gather_images(many)).value < wrong / 3
    assert metric.score(gather_images(many), few).value == result.value
    other = metrics.create("swd", seed=1, **FEW).score(gather_images(many), few)
    assert other.value != result.value and other.value < wrong / 3


def test_it_is_invariant_to_brightness_and_contrast(images, gather_images):
    metric = metrics.create("swd", **FEW)
    real, fake = images(70, seed=1), images(70, seed=2)
    wanted = metric.score(gather_images(real), gather_images(fake)).value
    found = metric.score(gather_images(real), gather_images(fake.float() / 1000 - 0.1)).value
    assert found == pytest.approx(wanted, rel=1e-3)


def test_blocks_of_directions_make_no_difference(images, gather_images, monkeypatch):
    parts = gather_images(images(70, seed=1)), gather_images(images(70, seed=2))
    metric = metrics.create("swd", **FEW)
    wanted = metric.score(*parts).value
    monkeypatch.setattr("ganzoo.metrics.swd._PROJECTED", 70 * 16 * 5)
    assert metric.score(*parts).value == pytest.approx(wanted, rel=1e-5)


def test_the_seed_decides(images, gather_images):
    parts = gather_images(images(70, seed=1)), gather_images(images(70, seed=2))
    values = [metrics.create("swd", seed=seed, **FEW).score(*parts).value for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]
    assert values[2] == pytest.approx(values[0], rel=0.2)


def test_constant_images(images, gather_images):
    metric = metrics.create("swd", **FEW)
    grey = gather_images(torch.full((70, 3, 32, 32), 7, dtype=torch.uint8))
    with pytest.raises(DataError, match="^The 70 real images are constant, so that there is nothi"):
        metric.score(grey, gather_images(images(70, seed=1)))
    result = metric.score(gather_images(images(70, seed=1)), grey)
    assert result.value > 100
    assert result.notices == ("The generated images are constant: the generator has collapsed.",)


def test_one_constant_channel(images, gather_images):
    def opaque(pictures):
        return torch.cat((pictures, torch.full_like(pictures[:, :1], 255)), 1)

    real, fake = images(70, seed=1), images(70, seed=2)
    result = metrics.create("swd", **FEW).score(
        gather_images(opaque(real)), gather_images(opaque(fake))
    )
    assert 0 < result.value < 500 and result.notices == ()


def test_sizes(images, gather_images):
    with pytest.raises(DataError) as caught:
        metrics.create("swd").score(
            gather_images(images(9, seed=1, size=32)), gather_images(images(9, seed=1, size=28))
        )
    assert str(caught.value) == (
        "The real images are (3, 32, 32) and the generated ones (3, 28, 28): the metric 'swd' "
        "compares images of one size. Resize one of them."
    )
    with pytest.raises(ConfigError, match="takes patches of 7x7 pixels, and this is a 6x9 greysc"):
        metrics.create("swd").check(SampleSpec(shape=(1, 6, 9)))
