from __future__ import annotations

import shutil
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ganzoo import metrics
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import CheckpointError, ConfigError, DataError
from ganzoo.features import weights
from ganzoo.metrics import lpips
from ganzoo.metrics.inputs import MetricInputs
from ganzoo.metrics.perceptual import path_lengths, slerp


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
    fake = MetricInputs(0, generator=generator, spec=generator.spec)
    return metrics.create("ppl", **{"num_samples": 200, **options}).score(None, fake)


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

    result = ppl(Straight(), num_samples=400)
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


@pytest.mark.parametrize("name", ["ppl", "lpips-diversity"])
@pytest.mark.parametrize("device", [None, torch.device("cuda:1")])
def test_it_computes_where_it_is_told_to(images, monkeypatch, name, device):
    asked = []

    def pretrained(size, where):
        asked.append((size, where))
        return squares

    monkeypatch.setattr(lpips, "pretrained", pretrained)
    metric = metrics.create(
        {"name": name, "size": 32, **({"num_samples": 4} if name == "ppl" else {})}
    )
    samples = images(4, seed=1)
    spec = SampleSpec(shape=tuple(samples.shape[1:]))
    metric.score(
        None, MetricInputs(4, samples=samples, generator=Curve(), spec=spec, device=device)
    )
    assert asked == [(32, device or torch.device("cpu"))]


@pytest.mark.parametrize(("name", "looks"), [("ppl", 3), ("lpips-diversity", 1)])
def test_float32_is_that_of_the_generator_too(images, monkeypatch, name, looks):
    """Graphics cards compute convolutions in TF32 otherwise."""
    backends, seen = torch.backends, []
    parts = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.matmul)
    before = [part.fp32_precision for part in parts]

    def looking(compute):
        def call(*arguments, **options):
            seen.append([part.fp32_precision for part in parts])
            return compute(*arguments, **options)

        return call

    monkeypatch.setattr(lpips, "pretrained", lambda size, device: looking(squares))
    generator = Curve()
    generator.sample = looking(generator.sample)
    samples = images(4, seed=1)
    spec = SampleSpec(shape=tuple(samples.shape[1:]))
    metric = metrics.create({"name": name, **({"num_samples": 4} if name == "ppl" else {})})
    metric.score(None, MetricInputs(4, samples=samples, generator=generator, spec=spec))
    assert seen == [["ieee"] * 3] * looks
    assert [part.fp32_precision for part in parts] == before


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


@pytest.fixture(scope="module")
def stored(random_net, tmp_path_factory):
    """Folder with the random net's weights under their published names."""
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
    folder = tmp_path_factory.mktemp("lpips")
    torch.save(trunk, folder / "vgg16.pth")
    torch.save(heads, folder / "heads.pth")
    return folder


@pytest.fixture
def files(stored, tmp_path, monkeypatch):
    """Where the weights are looked for: those of the trunk, and a copy of the heads'."""
    heads = Path(shutil.copy(stored / "heads.pth", tmp_path))
    monkeypatch.setenv("GANZOO_VGG16_WEIGHTS", str(stored / "vgg16.pth"))
    monkeypatch.setenv("GANZOO_LPIPS_WEIGHTS", str(heads))
    return stored / "vgg16.pth", heads


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


@pytest.mark.parametrize("name", ["ppl", "lpips-diversity"])
def test_weights_that_are_not_there_are_missed_at_once(tmp_path, monkeypatch, name):
    monkeypatch.setenv("GANZOO_VGG16_WEIGHTS", str(tmp_path / "none.pth"))
    with pytest.raises(CheckpointError, match="^There is no file .*none.pth that GANZOO_VGG16"):
        metrics.create(name).prepare(torch.device("cpu"))


def test_weights_are_taken_by_their_published_names(images, random_net, files):
    found = lpips.pretrained(32, torch.device("cpu"))
    a, b = images(2, seed=1), images(2, seed=2)
    assert torch.equal(found(a, b), random_net(a, b))
    assert not found.training and not any(value.requires_grad for value in found.parameters())
    _, heads = files
    fewer = torch.load(heads)
    fewer.pop("lin3.model.1.weight")
    torch.save(fewer, heads)
    with pytest.raises(
        CheckpointError, match="holds the weights of another net: it lacks 1 tensor"
    ):
        lpips.pretrained(32, torch.device("cpu"))


def test_weights_are_read_once_as_long_as_they_are_the_same(images, gather_images, files):
    read, load = [], weights.load
    part = gather_images(images(4, seed=1))
    metric = metrics.create("lpips-diversity", size=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            weights, "load", lambda path, *a, **k: read.append(path) or load(path, *a, **k)
        )
        metric.prepare(torch.device("cpu"))
        assert read == [*files]
        first = metric.score(None, part)
        assert metric.score(None, part) == first
        assert read == [*files]
        heads = {name: 2 * value for name, value in torch.load(files[1]).items()}
        torch.save(heads, files[1])
        assert metric.score(None, part).value == pytest.approx(2 * first.value)
        assert read == [*files, *files]


@pytest.mark.parametrize("name", ["ppl", "lpips-diversity"])
def test_no_global_random_numbers_are_drawn(images, files, name):
    samples = images(4, seed=1)
    spec = SampleSpec(shape=tuple(samples.shape[1:]))
    metric = metrics.create(
        {"name": name, "size": 32, **({"num_samples": 4} if name == "ppl" else {})}
    )
    state = torch.get_rng_state()
    metric.prepare(torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    metric.score(None, MetricInputs(4, samples=samples, generator=Curve(), spec=spec))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_protocol_is_of_the_net_and_of_what_it_sees(files, tmp_path, monkeypatch):
    spec = SampleSpec(shape=(3, 48, 32))
    names = ("lpips-diversity", "ppl")
    first, path = (metrics.create(name, size=16).protocol(spec, None) for name in names)
    assert first["resize"] == "area to 16x16" and first["precision"] == "fp32"
    assert path == {**first, "images": "float"} and first["images"] == "uint8"
    for size, resize in ((32, "bilinear to 32x32"), (64, "bilinear to 64x64"), (None, "none")):
        assert metrics.create("ppl", size=size).protocol(spec, None) == {**path, "resize": resize}
    trunk, heads = (torch.load(file) for file in files)
    save_file({name: value.contiguous() for name, value in trunk.items()}, tmp_path / "same")
    monkeypatch.setenv("GANZOO_VGG16_WEIGHTS", str(tmp_path / "same"))
    assert metrics.create("ppl", size=16).protocol(spec, None) == path  # in another form of file
    torch.save({name: 2 * value for name, value in heads.items()}, files[1])
    other = metrics.create("ppl", size=16).protocol(spec, None)
    assert [key for key in path if path[key] != other[key]] == ["heads"]
    trunk["features.0.bias"] = trunk["features.0.bias"] + 1
    torch.save(trunk, tmp_path / "other.pth")
    monkeypatch.setenv("GANZOO_VGG16_WEIGHTS", str(tmp_path / "other.pth"))
    last = metrics.create("ppl", size=16).protocol(spec, None)
    assert [key for key in other if other[key] != last[key]] == ["trunk"]
