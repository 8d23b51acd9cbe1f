"""Penalties on plain tensors against formulas of their own, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from ganzoo import penalties
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Judge, Output, Step
from ganzoo.errors import ConfigError

N, SHAPE = 4, (2, 3)
HEADS = [None, 1, 3]  # logits (N,), (N, 1) and (N, 3)


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(5)
    yield
    torch.set_default_dtype(torch.float32)


class Net(nn.Module):
    """A smooth discriminator of (N, 2, 3): logits (N,), or (N, K)."""

    def __init__(self, heads: int | None = None) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, heads or 1)
        self.heads = heads

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        shift = 0.0 if labels is None else labels.double()[:, None]
        logits = self.last(torch.sin(self.first(samples.flatten(1)) + shift))
        return logits.squeeze(1) if self.heads is None else logits


def slopes(net: Net, samples: Tensor, labels: Tensor | None = None) -> Tensor:
    """|grad D(x)| of each sample by Jacobians: (N,)."""

    def one(sample: Tensor, label: Tensor | None) -> Tensor:
        return net(sample[None], None if label is None else label[None]).mean()

    if labels is None:
        rows = vmap(jacrev(lambda sample: one(sample, None)))(samples)
    else:
        rows = torch.stack([jacrev(one)(x, y) for x, y in zip(samples, labels, strict=True)])
    return rows.detach().flatten(1).square().sum(1).sqrt()


def batch(seed: int = 0) -> Tensor:
    return torch.randn(N, *SHAPE, generator=torch.Generator().manual_seed(seed))


def check_gradient(net: nn.Module, value: Callable[[], Tensor]) -> None:
    """Compare the gradient of a penalty along a direction with central differences."""
    weights = list(net.parameters())
    torch.manual_seed(1)
    ours = torch.autograd.grad(value(), weights, allow_unused=True)
    source = torch.Generator().manual_seed(3)
    ways = [torch.randn(weight.shape, generator=source) for weight in weights]
    found = sum((g * way).sum() for g, way in zip(ours, ways, strict=True) if g is not None)
    values = []
    for side in (1e-5, -1e-5):
        with torch.no_grad():
            for weight, way in zip(weights, ways, strict=True):
                weight.add_(way, alpha=side)
        torch.manual_seed(1)
        values.append(value().detach())
        with torch.no_grad():
            for weight, way in zip(weights, ways, strict=True):
                weight.sub_(way, alpha=side)
    assert float(found) == pytest.approx(float(values[0] - values[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("name", ["r1", "r2"])
def test_zero_centred(name: str, heads: int | None) -> None:
    net, samples = Net(heads), batch().requires_grad_()
    penalty = penalties.create(name)
    value = penalty.value(net(samples), samples)
    assert float(value.detach()) == pytest.approx(
        float(slopes(net, samples.detach()).square().mean() / 2)
    )
    check_gradient(net, lambda: penalty.value(net(samples), samples))


def test_as_many_equal_logits_as_you_like_are_one() -> None:
    samples = batch().requires_grad_()
    logits = Net()(samples)
    penalty = penalties.create("r1")
    many = penalty.value(logits[:, None].expand(N, 7), samples)
    assert torch.allclose(many, penalty.value(logits, samples), rtol=1e-12)


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_gradient_penalty(heads: int | None, one_sided: bool, labelled: bool) -> None:
    net, real, fake = Net(heads), batch(), batch(1)
    labels = torch.arange(N) if labelled else None
    torch.manual_seed(8)
    share = torch.rand(N).reshape(N, 1, 1)
    norms = slopes(net, share * real + (1 - share) * fake, labels)
    target = float(norms.mean())  # so that some are above it, and some below
    excess = norms - target
    penalty = penalties.create("gp", target=target, one_sided=one_sided)
    torch.manual_seed(8)
    value = penalty.value(net, real, fake, labels)
    kept = np.maximum(excess.numpy(), 0) if one_sided else excess.numpy()
    assert float(value.detach()) == pytest.approx((kept**2).mean())
    check_gradient(net, lambda: penalty.value(net, real, fake, labels))


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("one_sided", [False, True])
def test_dragan(heads: int | None, one_sided: bool) -> None:
    net, real = Net(heads), batch()
    torch.manual_seed(8)
    share, moved = torch.rand(N).reshape(N, 1, 1), torch.rand(N, *SHAPE)
    norms = slopes(net, real + share * moved * 0.7 * np.std(real.numpy()))
    target = float(norms.mean())  # so that some are above it, and some below
    excess = norms - target
    penalty = penalties.create("dragan", target=target, one_sided=one_sided, spread=0.7)
    torch.manual_seed(8)
    value = penalty.value(net, real)
    kept = np.maximum(excess.numpy(), 0) if one_sided else excess.numpy()
    assert float(value.detach()) == pytest.approx((kept**2).mean())
    check_gradient(net, lambda: penalty.value(net, real))


def test_a_gradient_that_vanishes_is_no_nan() -> None:
    net = Net()
    with torch.no_grad():
        net.last.weight.zero_()
    for penalty in (penalties.create("gp"), penalties.create("dragan")):
        arguments = (net, batch(), batch(1))[: 3 if penalty.name == "gp" else 2]
        value = penalty.value(*arguments)
        assert float(value.detach()) == 1.0
        found = torch.autograd.grad(value, list(net.parameters()), allow_unused=True)
        assert all(bool(each.isfinite().all()) for each in found if each is not None)


@pytest.mark.parametrize("name", ["approximate-r1", "approximate-r2"])
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.3])
def test_finite_differences(name: str, heads: int | None, share: float) -> None:
    torch.set_default_dtype(torch.float32)  # in which samples are
    net, samples = Net(heads).float(), batch().float()
    penalty = penalties.create(name, sigma=0.1, share=share)
    torch.manual_seed(8)
    value = penalty.value(lambda x, y: net(x), samples)
    count = {1.0: 4, 0.5: 2, 0.3: 2}[share]
    torch.manual_seed(8)
    noise = 0.1 * torch.randn(count, *SHAPE)
    wide, weights = Net(heads), {k: v.double() for k, v in net.state_dict().items()}
    above, below = (
        functional_call(wide, weights, (samples[:count].double() + side * noise.double(),))
        for side in (1, -1)
    )
    rows = ((above - below) / 0.2).reshape(count, -1).mean(1)
    assert float(value.detach()) == pytest.approx(
        float(rows.detach().square().mean() / 2), rel=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["approximate-r1", "approximate-r2"])
def test_finite_differences_of_nets_of_other_types(name: str, dtype: torch.dtype) -> None:
    torch.set_default_dtype(torch.float32)
    net, samples = Net(), batch().float()
    penalty = penalties.create(name, sigma=0.1, share=1)
    torch.manual_seed(8)
    found = penalty.value(net.to(dtype), samples.to(dtype))
    torch.manual_seed(8)
    wide = torch.promote_types(dtype, torch.float32)
    noise, samples = 0.1 * torch.randn(samples.shape, dtype=wide), samples.to(dtype).double()
    net = copy.deepcopy(net).double()
    rows = ((net(samples + noise) - net(samples - noise)) / 0.2).reshape(N, -1).mean(1)
    close = {"rel": 1e-12} if dtype == torch.float64 else {"rel": 0.2}
    assert float(found.detach()) == pytest.approx(float(rows.detach().square().mean() / 2), **close)
    assert found.requires_grad


def test_finite_differences_of_many_directions_are_r1() -> None:
    torch.set_default_dtype(torch.float32)
    net, samples = Net().float(), batch().float()
    penalty = penalties.create("approximate-r1", sigma=0.01, share=1)
    values = torch.stack([penalty.value(net, samples).detach() for _ in range(4000)])
    exact = penalties.create("r1").value(net(samples.requires_grad_()), samples).detach()
    assert abs(values.mean() - exact) < 4 * values.std() / 4000**0.5


def test_both_sides_see_the_same_dropout_and_the_same_augmentation() -> None:
    torch.set_default_dtype(torch.float32)

    class Half(nn.Module):
        def forward(self, samples: Tensor) -> Tensor:
            return samples * (torch.rand(len(samples), 1, 1) < 0.5)

    seen = []

    class Dropping(nn.Module):
        def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
            kept = nn.functional.dropout(samples.flatten(1), 0.5)
            seen.append(kept == 0)
            return kept.sum(1)

    judge = Judge(Dropping(), augmentation=Half())
    value = penalties.create("approximate-r1", share=1).value(judge, 5 + batch().float())
    assert torch.equal(seen[0], seen[1]) and seen[0].any() and not seen[0].all()
    assert value < 50  # masks that differ would be divided by sigma^2
    after = torch.rand(())
    assert not torch.equal(after, torch.rand(()))  # random numbers go on


def test_lecam() -> None:
    penalty = penalties.create("lecam", decay=0.9)
    anchors = penalty.build(SampleSpec(kind="vector", shape=(2,)), LatentSpec(shape=(2,)))
    sums, weight = np.zeros(2), 0.0
    for seed in range(3):
        real, fake = batch(seed).flatten(1), batch(seed + 9).flatten(1)
        sums = 0.9 * sums + 0.1 * np.array([real.mean(), fake.mean()])
        weight = 0.9 * weight + 0.1
        found = anchors(real, fake)
        assert found.numpy() == pytest.approx(sums / weight)
        wanted = ((real - found[1]) ** 2).mean() + ((fake - found[0]) ** 2).mean()
        assert penalty.value(real, fake, found) == pytest.approx(float(wanted))
    assert set(anchors.state_dict()) == {"sums", "weights"}


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 2, 3, 3), (5, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    penalty = penalties.create("orthogonal")
    weight = torch.randn(shape).requires_grad_()
    rows = weight.detach().numpy().reshape(shape[0], -1)
    off = rows @ rows.T * (1 - np.eye(shape[0]))
    value = penalty.value([weight, torch.randn(4)])
    assert float(value.detach()) == pytest.approx((off**2).sum())
    (found,) = torch.autograd.grad(value, weight)
    assert found.numpy().reshape(rows.shape) == pytest.approx(4 * off @ rows)


def test_orthogonal_rows_cost_nothing() -> None:
    wide = torch.linalg.qr(torch.randn(6, 6)).Q[:3] * torch.tensor([[2.0], [0.1], [5.0]])
    assert penalties.create("orthogonal").value([wide]) < 1e-20
    assert penalties.create("orthogonal").value([]) == 0


def test_vectors_of_classes_are_no_filters() -> None:
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 4))
    one = step("generator", generator=net)
    penalty = penalties.create("orthogonal")
    found = penalty.penalty(one).detach()
    assert found == penalty.value([net[1].weight]).detach()
    assert found < penalty.value(net.parameters()).detach()


@pytest.mark.parametrize("name", ["gp", "dragan"])
def test_between_packs_there_is_one_number_of_each(name: str) -> None:
    seen = []

    class Seeing(nn.Module):
        def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
            seen.append(samples)
            return samples.flatten(1).sum(1)

    real, fake = torch.ones(6, 2, 3), torch.zeros(6, 2, 3)
    arguments = (real, fake) if name == "gp" else (torch.randn(6, 2, 3),)
    torch.manual_seed(8)
    penalties.create(name).value(Judge(Seeing(), packing=3), *arguments)
    assert seen[0].shape == (2, 6, 3)
    if name == "gp":  # one number in a pack, and another in the other
        assert [len(pack.unique()) for pack in seen[0]] == [1, 1] and len(seen[0].unique()) == 2


def test_auxiliary_classifier() -> None:
    classes, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    rows = classes.double().numpy()
    expected = np.mean([np.log(np.exp(r).sum()) - r[y] for r, y in zip(rows, labels, strict=True)])
    found = penalties.create("auxiliary-classifier").value(classes, labels)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_feature_matching() -> None:
    real, fake = batch(), batch(1)
    value = penalties.create("feature-matching").value(real, fake)
    means = real.numpy().mean(0) - fake.numpy().mean(0)
    assert float(value.detach()) == pytest.approx((means**2).mean(), rel=1e-6)


def test_lecam_of_micro_batches_forgets_as_fast() -> None:
    penalty = penalties.create("lecam", decay=0.9)
    spec, latent = SampleSpec(kind="vector", shape=(2,)), LatentSpec(shape=(2,))
    whole, parts = penalty.build(spec, latent), penalty.build(spec, latent)
    for seed in range(3):
        real = batch(seed).flatten(1).mean().repeat(4)
        whole(real, -real)
        for _ in range(4):
            parts(real[:1], -real[:1], 0.25)
    assert torch.allclose(whole.sums, parts.sums) and torch.allclose(whole.weights, parts.weights)


def step(player: str, **more: Any) -> Step:
    """A step without a game."""
    generator = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Unflatten(1, SHAPE))
    take = type("G", (nn.Module,), {"forward": lambda self, z, labels=None: generator(z)})()
    net = Net()
    latent = torch.randn(N, 4)
    real, fake = batch(), take(latent)
    return Step(
        **{"number": 0, "generator": take, "discriminator": Judge(net), "latent": latent}
        | {"fake": fake, "real": real, "player": player}
        | {"real_output": Output(net(real)), "fake_output": Output(net(fake))}
        | more
    )


def test_path_length() -> None:
    penalty = penalties.create("path-length", decay=0.6, share=0.5)
    built = penalty.build(SampleSpec(kind="vector", shape=(2,)), LatentSpec(shape=(4,)))
    one = step("generator", built=built)
    torch.manual_seed(8)
    value = penalty.penalty(one)
    torch.manual_seed(8)
    noise = torch.randn(2, *SHAPE, dtype=torch.float32) / 3**0.5
    rows = jacrev(lambda z: one.generator(z[None])[0])
    lengths = [
        float(torch.einsum("abz,ab->z", rows(z), y.double()).norm().detach())
        for z, y in zip(one.latent[:2], noise, strict=True)
    ]
    average = 0.4 * np.mean(lengths)
    assert float(built.mean) == pytest.approx(average, rel=1e-5)
    assert float(one.scalars["path length"]) == pytest.approx(average, rel=1e-5)
    assert float(value.detach()) == pytest.approx(
        np.mean((np.array(lengths) - average) ** 2), rel=1e-5
    )


def test_path_length_takes_two_samples_and_forgets_as_fast_in_micro_batches() -> None:
    penalty = penalties.create("path-length", decay=0.81, share=0.01)
    built = penalty.build(SampleSpec(kind="vector", shape=(2,)), LatentSpec(shape=(4,)))
    one = step("generator", built=built)
    seen, take = [], one.generator
    take.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    torch.manual_seed(8)
    penalty.penalty(one)
    assert seen == [2]
    whole = float(built.mean)
    built.mean.zero_()
    one.share = 0.5
    torch.manual_seed(8)
    penalty.penalty(one)
    assert float(built.mean) == pytest.approx(whole * 0.1 / 0.19, rel=1e-5)


def test_logits_of_two_shapes_are_not_compared() -> None:
    with pytest.raises(ConfigError, match=r"shape \(4,\) with logits of shape \(4, 1\)"):
        penalties.create("consistency").value(torch.zeros(4), torch.zeros(4, 1))


def test_consistency() -> None:
    one = step("discriminator")
    net = one.discriminator
    assert one.real is not None
    for options in ({}, {"fake": True}, {"fake": True, "latent": True, "sigma": 0.5}):
        penalty = penalties.create("consistency", shift=0.4, **options)
        torch.manual_seed(8)
        value = penalty.penalty(one)
        torch.manual_seed(8)
        others = [(one.real, penalty.changed(one.real))]
        if penalty.fake:
            others.append((one.fake, penalty.changed(one.fake)))
        if penalty.latent:
            near = one.latent + 0.5 * torch.randn_like(one.latent)
            others.append((one.fake, one.generator(near)))
        parts = [(net(x).logits - net(y).logits).square().mean() for x, y in others]
        assert float(value.detach()) == pytest.approx(float(sum(parts).detach()), rel=1e-5)


def test_consistency_of_the_generator() -> None:
    one = step("generator", real=None, real_output=None)
    penalty = penalties.create("consistency", real=False, latent=True, sigma=0.5, diversity=0.2)
    torch.manual_seed(8)
    value = penalty.penalty(one)
    torch.manual_seed(8)
    other = one.generator(one.latent + 0.5 * torch.randn_like(one.latent))
    wanted = -0.2 * (one.fake - other).flatten(1).square().sum(1).mean()
    assert float(value.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert penalty.players == {"discriminator", "generator"}
    assert penalties.create("consistency").players == {"discriminator"}


def test_consistency_mirrors_one_half_of_images() -> None:
    penalty = penalties.create("consistency", shift=0)
    images = torch.randn(400, 1, 2, 5)
    changed = penalty.changed(images)
    mirrored = (changed == images.flip(-1)).flatten(1).all(1)
    kept = (changed == images).flatten(1).all(1)
    assert bool((mirrored | kept).all()) and 140 < int(mirrored.sum()) < 260


def test_what_consistency_refuses() -> None:
    vectors, latent = SampleSpec(kind="vector", shape=(2,)), LatentSpec(shape=(4,))
    with pytest.raises(ConfigError, match="no axis to move along. Set real and fake to false"):
        penalties.create("consistency").build(vectors, latent)
    penalties.create("consistency", real=False, latent=True).build(vectors, latent)
    with pytest.raises(ConfigError, match="nothing to compare: set real, fake or latent"):
        penalties.create("consistency", real=False)


@pytest.mark.parametrize("name", penalties.names())
def test_bad_options(name: str) -> None:
    for option, wrong in (("weight", -1), ("weight", float("nan")), ("every", 0), ("gamma", 1)):
        with pytest.raises(ConfigError, match=rf"Penalty '{name}'.*{option}"):
            penalties.create(name, **{option: wrong})
