from __future__ import annotations

import types

import numpy as np
import pytest
import torch

from ganzoo import metrics
from ganzoo.errors import CheckpointError, ConfigError, DataError
from ganzoo.metrics import lpips
from ganzoo.metrics.gathered import Gathered
from ganzoo.metrics.perceptual import path_lengths, slerp
from ganzoo.spec import LatentSpec, SampleSpec


class Curve:
    """A generator of 16x16 images that bend with the latent."""

    latent = LatentSpec(shape=(5,))
    spec = SampleSpec(shape=(1, 16, 16))

    def __init__(self, speed=1.0):
        self.speed = speed
        self.weights = torch.randn(5, 256, generator=torch.Generator().manual_seed(0))

    def sample(self, count=16, *, seed=None, latents=None):
        assert len(latents) == count
        shade = torch.Generator().manual_seed(seed)  # of the class
        values = torch.sin(self.speed * latents @ self.weights)
        return (values * (0.5 + torch.rand(count, 1, generator=shade) / 2)).reshape(-1, 1, 16, 16)


def squares(a, b):
    return (a - b).square().flatten(1).mean(1)


@pytest.fixture
def net(monkeypatch):
    monkeypatch.setattr(lpips, "pretrained", lambda size, device: squares)


def ppl(generator, **options):
    fake = Gathered(0, generator=generator, spec=generator.spec)
    return metrics.create("ppl", **{"ways": 200, **options}).score(None, fake)


@pytest.mark.parametrize("interpolation", ["lerp", "slerp"])
def test_path_length_by_the_formula(net, interpolation):
    epsilon = 1e-3
    result = ppl(Curve(), interpolation=interpolation, epsilon=epsilon)
    drawn = []
    whole = types.SimpleNamespace(
        sample=lambda count, *, seed, latents: (
            drawn.append(latents) or Curve().sample(count, seed=seed, latents=latents)
        ),
        latent=Curve.latent,
        spec=Curve.spec,
    )
    assert ppl(whole, interpolation=interpolation, epsilon=epsilon) == result
    start, end = torch.cat(drawn[0::2]).double(), torch.cat(drawn[1::2]).double()
    assert start.shape == (200, 5)
    assert 0 < (end - start).norm(dim=1).max() < 0.02
    weights = Curve().weights.double().numpy()
    apart = np.sin(start.numpy() @ weights) - np.sin(end.numpy() @ weights)
    # Classes scale a pair by one factor in [0.5, 1], of pixels that are 127.5 per unit.
    lengths = (127.5 * apart / epsilon) ** 2
    assert 0.25 * lengths.mean() * 0.9 < result.value < lengths.mean()
    assert result.error == pytest.approx(result.extra["std"] / np.sqrt(196), rel=0.02)


def test_a_straight_generator_has_the_length_of_its_map(net):
    class Straight(Curve):
        def sample(self, count=16, *, seed=None, latents=None):
            return (0.01 * latents @ self.weights).reshape(-1, 1, 16, 16)

    result = ppl(Straight(), ways=400)
    start, end = torch.randn(2, 20_000, 5)
    wanted = ((1.275 * (end - start) @ Curve().weights) ** 2).mean()
    assert result.value == pytest.approx(wanted.item(), rel=0.15)


def test_rougher_generators_have_longer_paths(net):
    assert ppl(Curve(0.1)).value * 5 < ppl(Curve(1.0)).value


def test_both_ends_are_of_one_class(net):
    z = torch.randn(70, 5)
    assert path_lengths(Curve(), z, z, squares, seed=0).tolist() == [0] * 70


def test_a_generator_that_diverged(net):
    class Broken(Curve):
        def sample(self, count=16, *, seed=None, latents=None):
            return torch.full((count, 1, 16, 16), torch.nan)

    with pytest.raises(DataError, match="^Some generated samples are not finite"):
        ppl(Broken())


def test_slerp():
    a, b = torch.randn(2, 50, 8, dtype=torch.float64)
    unit_a, unit_b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    half = slerp(unit_a, unit_b, 0.5)
    torch.testing.assert_close(half.norm(dim=1), torch.ones(50, dtype=torch.float64))
    middle = (unit_a + unit_b) / (unit_a + unit_b).norm(dim=1, keepdim=True)
    torch.testing.assert_close(half, middle)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, 3 * a, 0.25), 1.5 * a)
    assert slerp(a.reshape(50, 2, 4), b.reshape(50, 2, 4), 0.3).shape == (50, 2, 4)


def test_diversity(images, gather_images, net):
    metric = metrics.create("lpips-diversity")
    whole = images(21, seed=1)
    result = metric.score(gather_images(images(20, seed=2)), gather_images(whole))
    assert result.extra["pairs"] == 10
    assert result.extra["real"] == pytest.approx(result.value, rel=0.5)
    assert result.value > 100
    assert metric.score(None, gather_images(whole[:1].repeat(20, 1, 1, 1))).value == 0


def test_what_it_looks_at():
    for name in ("ppl", "lpips-diversity"):
        with pytest.raises(
            ConfigError, match="looks at greyscale and RGB images, and this is a 32"
        ):
            metrics.create(name).check(SampleSpec(shape=(4, 32, 32)))
        metrics.create(name).check(SampleSpec(shape=(1, 8, 8)))
        with pytest.raises(ConfigError, match="needs images of at least 16x16 pixels, and this is"):
            metrics.create(name, size=None).check(SampleSpec(shape=(1, 8, 8)))


# -- LPIPS itself ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def random_net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lpips.LPIPS(size=32).eval().requires_grad_(False)


def test_lpips_is_a_distance(images, random_net):
    a, b = images(3, seed=1).float(), images(3, seed=2).float()
    assert random_net(a, a).tolist() == [0, 0, 0]
    assert torch.equal(random_net(a, b), random_net(b, a))
    assert (random_net(a, b) > 0).all()
    grey = a[:, :1]
    torch.testing.assert_close(
        random_net(grey, b), random_net(grey.expand(-1, 3, -1, -1), b), rtol=0, atol=0
    )


def test_weights_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_VGG16_WEIGHTS", str(tmp_path / "none.pth"))
    with pytest.raises(
        CheckpointError, match="^There is no file .*none.pth that GANZOO_VGG16_WEIG"
    ):
        lpips.pretrained(64, torch.device("cpu"))


def test_weights_are_taken_by_their_published_names(images, random_net, tmp_path, monkeypatch):
    names = {
        0: (0, 0), 2: (0, 2), 5: (1, 1), 7: (1, 3), 10: (2, 1), 12: (2, 3), 14: (2, 5),
        17: (3, 1), 19: (3, 3), 21: (3, 5), 24: (4, 1), 26: (4, 3), 28: (4, 5),
    }  # fmt: skip
    trunk = {}
    for name, (block, layer) in names.items():
        trunk[f"features.{name}.weight"] = random_net.blocks[block][layer].weight
        trunk[f"features.{name}.bias"] = random_net.blocks[block][layer].bias
    heads = {
        f"lin{i}.model.1.weight": head.detach().reshape(1, -1, 1, 1)
        for i, head in enumerate(random_net.heads)
    }
    torch.save(trunk, tmp_path / "vgg16.pth")
    torch.save(heads, tmp_path / "heads.pth")
    monkeypatch.setenv("GANZOO_VGG16_WEIGHTS", str(tmp_path / "vgg16.pth"))
    monkeypatch.setenv("GANZOO_LPIPS_WEIGHTS", str(tmp_path / "heads.pth"))
    found = lpips.pretrained(32, torch.device("cpu"))
    a, b = images(2, seed=1), images(2, seed=2)
    assert torch.equal(found(a, b), random_net(a, b))
    heads.pop("lin3.model.1.weight")
    torch.save(heads, tmp_path / "heads.pth")
    with pytest.raises(
        CheckpointError, match="holds the weights of another net: it lacks 1 tensor"
    ):
        lpips.pretrained(32, torch.device("cpu"))
