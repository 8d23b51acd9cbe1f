"""Labels in the built-in nets, against formulas of their own in double precision."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import ganzoo
from ganzoo import architectures
from ganzoo.architectures.conditioning import (
    ConditionalBatchNorm2d,
    Joined,
    LabelHead,
    Normed,
    joined,
    label_head,
)
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Output
from ganzoo.errors import ConfigError
from ganzoo.testing import check_architecture
from ganzoo.training.parts import collect

NAMES = ("ant", "bee", "cat")
LATENT = LatentSpec(shape=(5,))
TINY: dict[str, dict[str, Any]] = {
    "dcgan": {"channels": 2},
    "mirror": {"hidden": (6,), "code": 4},
    "mlp": {"hidden": (8,)},
    "upsample": {"channels": 2, "d_channels": 1},
}
SIDE = {"dcgan": 16, "mirror": 4, "mlp": 4, "upsample": 20}
D_WAYS = ("concat", "projection", "auxiliary")


def ways(name: str) -> tuple[str, ...]:
    """How labels may enter a generator."""
    return ("concat", "embedding", *["batch-norm"] * (name == "dcgan"))


def spec(name: str, classes: tuple[str, ...] | None = NAMES) -> SampleSpec:
    return SampleSpec(shape=(1, SIDE[name], SIDE[name]), classes=classes)


def small(name: str, **options: Any) -> architectures.Architecture:
    return architectures.create(name, **{**TINY[name], "label_width": 3, **options})


LABELS = torch.tensor([2, 0, 1, 1, 2])


# -- formulas -------------------------------------------------------------------------------------


def test_one_hot_stands_after_the_channels() -> None:
    x = torch.randn(5, 4, dtype=torch.float64)
    found = Joined(3)(x, LABELS)
    rows = []
    for values, label in zip(x.tolist(), LABELS.tolist(), strict=True):
        rows.append([*values, *(1.0 if number == label else 0.0 for number in range(3))])
    assert found.dtype == torch.float64
    assert found.tolist() == rows


def test_one_hot_fills_every_place_of_a_map() -> None:
    x = torch.randn(5, 2, 3, 4, dtype=torch.float64)
    found = Joined(3)(x, LABELS)
    assert found.shape == (5, 5, 3, 4)
    assert torch.equal(found[:, :2], x)
    for row, label in zip(found[:, 2:], LABELS.tolist(), strict=True):
        for number in range(3):
            assert (row[number] == float(number == label)).all()


@pytest.mark.parametrize("places", [(), (3, 4)])
def test_a_learned_vector_stands_after_the_channels(places: tuple[int, ...]) -> None:
    part = Joined(3, width=7).double()
    assert part.width == 7
    x = torch.randn(5, 2, *places, dtype=torch.float64)
    found = part(x, LABELS)
    assert found.shape == (5, 9, *places)
    assert torch.equal(found[:, :2], x)
    table = part.embedding.weight
    for row, label in zip(found[:, 2:], LABELS.tolist(), strict=True):
        for number, value in enumerate(table[label].tolist()):
            assert (row[number] == value).all()
    found.sum().backward()
    times = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)  # of each class
    size = int(np.prod(places))
    assert torch.allclose(table.grad, (times * size)[:, None].expand(3, 7))


def test_what_is_joined_has_the_type_of_the_input() -> None:
    for part in (Joined(3), Joined(3, width=4)):
        assert part(torch.zeros(5, 2, dtype=torch.bfloat16), LABELS).dtype == torch.bfloat16


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("places", [(), (2, 3)])
def test_a_projection_is_the_product_with_the_sum_over_places(
    channels: int, places: tuple[int, ...]
) -> None:
    head = LabelHead(channels, projected=3).double()
    logits = torch.randn(5, dtype=torch.float64)
    features = torch.randn(5, channels, *places, dtype=torch.float64)
    found = head(logits, features, LABELS)
    table = head.embedding.weight.detach().numpy()
    for index, label in enumerate(LABELS.tolist()):
        total = logits[index].item()
        for channel in range(channels):
            total += float(table[label, channel]) * features[index, channel].sum().item()
        assert found[index].item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("places", [(), (2, 3)])
def test_an_auxiliary_head_leaves_logits_and_tells_classes(places: tuple[int, ...]) -> None:
    count = int(np.prod(places))
    head = LabelHead(4, told=3, places=count).double()
    logits = torch.randn(5, dtype=torch.float64)
    features = torch.randn(5, 4, *places, dtype=torch.float64)
    found = head(logits, features, None)  # it tells labels, and needs none
    assert isinstance(found, Output)
    assert torch.equal(found.logits, logits)
    weight = head.classifier.weight.detach().numpy()
    bias = head.classifier.bias.detach().numpy()
    expected = features.reshape(5, -1).numpy() @ weight.T + bias
    assert np.allclose(found.classes.detach().numpy(), expected, rtol=0, atol=1e-12)


def test_a_head_of_neither_leaves_logits() -> None:
    logits = torch.randn(5)
    assert LabelHead(4)(logits, torch.randn(5, 4), None) is logits


def test_conditional_batch_norm_is_batch_norm_with_a_gain_and_a_bias_of_each_class() -> None:
    norm = ConditionalBatchNorm2d(2, 3, eps=1e-3).double()
    nn.init.normal_(norm.shift.weight)
    x = 3 * torch.randn(5, 2, 3, 4, dtype=torch.float64) + 1
    found = norm(x, LABELS).detach()
    expected = torch.empty_like(x)
    means, variances = [], []
    for channel in range(2):
        values = x[:, channel]
        mean = values.sum().item() / values.numel()
        variance = sum((value - mean) ** 2 for value in values.flatten().tolist()) / values.numel()
        means.append(mean)
        variances.append(variance * values.numel() / (values.numel() - 1))
        for index, label in enumerate(LABELS.tolist()):
            gain, shift = norm.gain.weight[label, channel], norm.shift.weight[label, channel]
            normed = (x[index, channel] - mean) / (variance + 1e-3) ** 0.5
            expected[index, channel] = normed * gain.item() + shift.item()
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    assert norm.running_mean.tolist() == pytest.approx([0.1 * mean for mean in means])
    assert norm.running_var.tolist() == pytest.approx([0.9 + 0.1 * value for value in variances])
    norm.eval()
    alone = norm(x[:1], LABELS[:1]).detach()
    place = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    normed = (x[0] - place[0]) / (place[1] + 1e-3).sqrt()
    gain, shift = norm.gain.weight[2, :, None, None], norm.shift.weight[2, :, None, None]
    assert torch.allclose(alone[0], normed * gain + shift, rtol=0, atol=1e-12)


def test_conditional_batch_norm_starts_near_plain_batch_norm() -> None:
    torch.manual_seed(0)
    norm = ConditionalBatchNorm2d(50, 40)
    assert norm.weight is None and norm.bias is None
    assert norm.gain.weight.mean().item() == pytest.approx(1, abs=0.002)
    assert norm.gain.weight.std().item() == pytest.approx(0.02, abs=0.001)
    assert not norm.shift.weight.any()
    assert LabelHead(50, projected=40).embedding.weight.std().item() == pytest.approx(
        0.02, abs=1e-3
    )


def test_only_a_conditional_norm_gets_labels() -> None:
    norm = ConditionalBatchNorm2d(2, 3)
    x = torch.randn(5, 2, 3, 3)
    found = Normed(nn.Identity(), norm, nn.ReLU())(x, LABELS)
    again = ConditionalBatchNorm2d(2, 3)
    again.load_state_dict(norm.state_dict())
    assert torch.equal(found, again(x, LABELS).relu())
    assert torch.equal(Normed(nn.ReLU())(x), x.relu())


@pytest.mark.parametrize("way", ["concat", "embedding", "batch-norm", "projection", "auxiliary"])
def test_without_classes_nothing_is_built(way: str) -> None:
    plain = SampleSpec(shape=(1, 8, 8))
    part, head = joined(plain, way, 4), label_head(plain, way, 4)
    assert part.width == 0 and not part.state_dict() and not head.state_dict()
    x, logits = torch.randn(5, 3), torch.randn(5)
    assert part(x, None) is x and part(x, LABELS) is x
    assert head(logits, x, LABELS) is logits


# -- in nets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("d_condition", D_WAYS)
@pytest.mark.parametrize(
    ("name", "condition"), [(name, way) for name in TINY for way in ways(name)]
)
def test_contract(name: str, condition: str, d_condition: str) -> None:
    arch = small(name, condition=condition, d_condition=d_condition)
    check_architecture(arch, spec(name), LATENT)


@pytest.mark.parametrize("name", ["mlp", "mirror"])
def test_contract_of_nets_without_hidden_layers_and_of_other_kinds(name: str) -> None:
    for kind, shape in (("vector", (2,)), ("audio", (2, 9)), ("sequence", (4, 3))):
        ends = {"vector": None, "audio": (-1.0, 1.0), "sequence": (0.0, 1.0)}[kind]
        sample = SampleSpec(kind=kind, shape=shape, value_range=ends, classes=NAMES)
        for d_condition in D_WAYS:
            arch = small(name, d_condition=d_condition, condition="embedding")
            check_architecture(arch, sample, LATENT)
    bare = architectures.create("mlp", hidden=(), d_condition="projection")
    check_architecture(bare, SampleSpec(kind="vector", shape=(2,), classes=NAMES), LATENT)


@pytest.mark.parametrize("name", TINY)
def test_a_concatenated_label_is_an_input_of_the_first_layer(name: str) -> None:
    arch = small(name)
    generator = arch.generator(spec(name), LATENT).double().eval()
    first = next(part for part in generator.modules() if getattr(part, "weight", None) is not None)
    seen: list[Tensor] = []
    first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    z = torch.randn(5, 5, dtype=torch.float64)
    generator(z, LABELS)
    code = torch.eye(3, dtype=torch.float64)[LABELS]
    assert torch.equal(seen[0].reshape(5, -1), torch.cat((z, code), 1))


@pytest.mark.parametrize("name", TINY)
def test_logits_of_d_by_projection_are_those_of_its_parts(name: str) -> None:
    net = small(name, d_condition="projection").discriminator(spec(name)).double().eval()
    x = torch.randn(5, *spec(name).shape, dtype=torch.float64)
    seen: dict[str, Any] = {}
    net.head.register_forward_pre_hook(lambda _, given: seen.update(given=given))
    found = net(x, LABELS)
    plain, features, _ = seen["given"]
    table, expected = net.head.embedding.weight, []
    for index, label in enumerate(LABELS.tolist()):
        pooled = features[index].reshape(features.shape[1], -1).sum(1)
        expected.append(plain[index] + torch.dot(table[label], pooled))
    assert torch.allclose(found, torch.stack(expected), rtol=0, atol=1e-12)
    assert not torch.allclose(found, plain)


@pytest.mark.parametrize("name", TINY)
def test_d_by_an_auxiliary_classifier_returns_classes(name: str) -> None:
    net = small(name, d_condition="auxiliary").discriminator(spec(name)).eval()
    x = torch.randn(5, *spec(name).shape)
    found = net(x, LABELS)
    assert found.logits.shape == (5,) and found.classes.shape == (5, 3)
    again = net(x, LABELS.flip(0))
    assert torch.equal(found.logits, again.logits) and torch.equal(found.classes, again.classes)


@pytest.mark.parametrize(
    ("name", "condition"), [(name, way) for name in TINY for way in ways(name)]
)
def test_a_generator_called_without_labels(name: str, condition: str) -> None:
    generator = small(name, condition=condition).generator(spec(name), LATENT)
    with pytest.raises(ConfigError, match=r"classes, and was called without labels. Pass the num"):
        generator(LATENT.sample(4))


@pytest.mark.parametrize("d_condition", ["concat", "projection"])
@pytest.mark.parametrize("name", TINY)
def test_a_discriminator_called_without_labels(name: str, d_condition: str) -> None:
    net = small(name, d_condition=d_condition).discriminator(spec(name))
    with pytest.raises(ConfigError, match=r"Pass the number of each sample's class, a tensor \(N"):
        net(torch.zeros(4, *spec(name).shape))


KEYS = {  # those that files of weights have had since before there were labels
    "dcgan": (
        "project.conv project.norm grow.0.conv grow.0.norm output",
        "input shrink.0.conv shrink.0.norm output",
    ),
    "mirror": ("decoder.dense1 output", "encoder.dense1 encoder.dense2 output"),
    "mlp": ("hidden.dense1 output", "hidden.dense1 output"),
    "upsample": (
        "project grow.0.conv grow.1.conv refine.0.conv refine.1.conv output",
        "convs.0.conv convs.1.conv convs.2.conv convs.3.conv output",
    ),
}


@pytest.mark.parametrize("d_condition", D_WAYS)
@pytest.mark.parametrize(
    ("name", "condition"), [(name, way) for name in TINY for way in ways(name)]
)
def test_nets_without_classes_are_the_same_whatever_the_options(
    name: str, condition: str, d_condition: str
) -> None:
    found = []
    for options in ({}, {"condition": condition, "d_condition": d_condition}):
        torch.manual_seed(0)
        arch = small(name, **options)
        nets = arch.generator(spec(name, None), LATENT), arch.discriminator(spec(name, None))
        found.append([net.state_dict() for net in nets])
    for one, other, keys in zip(*found, KEYS[name], strict=True):
        assert list(one) == list(other)
        assert all(torch.equal(value, other[key]) for key, value in one.items())
        layers = dict.fromkeys(key.rpartition(".")[0] for key in one)
        assert " ".join(layers) == keys


def test_one_hot_labels_add_no_weights() -> None:
    for name in TINY:
        arch = small(name)
        for classes in (None, NAMES):
            net = arch.generator(spec(name, classes), LATENT)
            assert list(net.state_dict()) == list(arch.generator(spec(name), LATENT).state_dict())


def test_batch_norm_of_classes_needs_batch_norm() -> None:
    with pytest.raises(ConfigError, match=r"its norm is 'group'. Set norm to batch, or condition"):
        architectures.create("dcgan", norm="group", condition="batch-norm")


# -- in trainings ---------------------------------------------------------------------------------


class Flags(Dataset[tuple[Tensor, int]]):
    """Pictures of three named classes: the upper half has the brightness of the class."""

    classes = NAMES

    def __init__(self, side: int) -> None:
        self.data = torch.rand(16, 1, side, side, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.data[index].clone()
        image[:, : image.shape[1] // 2] = (index % 3) / 2
        return image, index % 3


def trainer(arch: dict[str, Any], **more: Any) -> ganzoo.Trainer:
    settings: dict[str, Any] = {"steps": 3, "batch_size": 6, "latent": 4, "log_every": 2, **more}
    if arch.get("d_condition") == "auxiliary":
        settings["penalties"] = "auxiliary-classifier"
    data = Flags(SIDE[arch["name"]])
    settings |= {"conditional": True, "progress": False, "device": "cpu", "checkpoint_every": 2}
    return ganzoo.Trainer(arch, data, sample_every=100, **settings)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few pictures, one thread, no waiting for the disk."""
    monkeypatch.setattr("ganzoo.training.visualizer._SHOWN", 4)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


RESUMED = [
    *((name, "embedding", d_condition) for name in TINY for d_condition in D_WAYS),
    ("dcgan", "batch-norm", "projection"),
    ("mlp", "concat", "concat"),
]


@pytest.mark.parametrize(
    ("name", "condition", "d_condition", "precision"),
    [
        *((*each, "fp32") for each in RESUMED),
        *((*each, "bf16") for each in RESUMED if each[0] == "mlp" or each[1] == "batch-norm"),
    ],
)
def test_trainings_with_labels_resume_to_the_bit(
    name: str, condition: str, d_condition: str, precision: str
) -> None:
    options = {"name": name, **TINY[name], "condition": condition, "d_condition": d_condition}
    whole = trainer(options, precision=precision, out="whole")
    whole.fit()
    trainer(options, precision=precision, steps=2, out="part").fit()
    random.random(), np.random.rand(), torch.rand(7)  # another process has another history
    data = Flags(SIDE[name])
    rest = ganzoo.Trainer.resume("part", dataset=data, steps=3, progress=False)
    assert rest.step == 2
    rest.fit()
    one, other = collect(whole.parts())[0], collect(rest.parts())[0]
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    rows = [(Path(run) / "metrics.jsonl").read_bytes() for run in ("whole", "part")]
    assert rows[0] == rows[1] and b"NaN" not in rows[0]


@pytest.mark.parametrize(("name", "condition"), [("dcgan", "batch-norm"), ("mlp", "embedding")])
def test_a_trained_generator_is_asked_for_classes_by_name(name: str, condition: str) -> None:
    options = {"name": name, **TINY[name], "condition": condition, "label_width": 3}
    trainer(options, steps=1, out="run").fit()
    generator = ganzoo.Generator.from_pretrained("run")
    assert generator.spec.classes == NAMES
    latents = generator.latent.sample(4)
    with torch.no_grad():
        expected = generator.module(latents, torch.tensor([1, 1, 2, 0]))
    named = generator.sample(labels=["bee", "Bee", "cat", "ant"], latents=latents)
    assert torch.equal(named, expected)
    assert torch.equal(generator.sample(labels=[1, 1, 2, 0], latents=latents), expected)
    bees = generator.sample(4, labels="bee", latents=latents)
    assert torch.allclose(bees[:2], expected[:2], atol=1e-6)
    assert not torch.allclose(bees[2:], expected[2:], atol=1e-6)
    with pytest.raises(ConfigError, match="wasp"):
        generator.sample(4, labels="wasp")
