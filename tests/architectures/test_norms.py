"""Norms of discriminators, spectral normalisation and minibatch deviation."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

import ganzoo
from ganzoo import architectures
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.architectures.layers import (
    FromMap,
    Halve,
    MinibatchDeviation,
    spectrally_normalised,
)
from ganzoo.core.nets import across_batch, build_on_meta, last_input
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import ConfigError
from ganzoo.generators import bundle
from ganzoo.testing import check_architecture
from ganzoo.training.estimate import estimate
from ganzoo.training.parts import collect

SPEC = SampleSpec(shape=(1, 20, 20))
CLASSES = SampleSpec(shape=(1, 20, 20), classes=("a", "b", "c"))
LATENT = LatentSpec(shape=(4,))
SMALL: dict[str, dict[str, Any]] = {
    "dcgan": {"channels": 2, "d_norm": "none"},
    "mirror": {"hidden": (6,), "code": 4},
    "mlp": {"hidden": (8,), "dropout": 0.0},
    "upsample": {"channels": 2, "d_channels": 1, "dropout": 0.0},
}
IMAGES = torch.randint(0, 256, (24, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganzoo.training.visualizer._SHOWN", 4)
    monkeypatch.setattr("os.fsync", lambda handle: None)
    torch.manual_seed(0)


def small(name: str, **more: Any) -> architectures.Architecture:
    return architectures.create(name, **SMALL[name], **more)


def judge(name: str, spec: SampleSpec = SPEC, **more: Any) -> tuple[nn.Module, SampleSpec]:
    """A discriminator, and the sample that it judges, of a size that it can do."""
    arch = small(name, **more)
    spec = SampleSpec(shape=(1, *arch.nearest_size(*spec.size)), classes=spec.classes)
    return arch.discriminator(spec), spec


def trainer(arch: Any, **more: Any) -> ganzoo.Trainer:
    settings = {"steps": 4, "batch_size": 8, "latent": 4, "device": "cpu", "progress": False}
    return ganzoo.Trainer(arch, IMAGES, **{**settings, **more})


def double(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.double() for name, value in net.state_dict().items()}


# -- norms ----------------------------------------------------------------------------------------


def test_the_discriminator_is_by_default_what_it_was() -> None:
    found = DCGAN(channels=2).discriminator(SampleSpec(shape=(1, 16, 16)))
    norm = [f"shrink.0.norm.{name}" for name in ("weight", "bias")]
    norm += [f"shrink.0.norm.{name}" for name in ("running_mean", "running_var")]
    norm += ["shrink.0.norm.num_batches_tracked"]
    assert [*found.state_dict()] == ["input.weight", "shrink.0.conv.weight", *norm, "output.weight"]
    assert across_batch(found) == ["batch norm"]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("norm", ["layer", "instance", "none"])
def test_norms_by_their_formulas(norm: str, first: bool) -> None:
    if norm == "none" and first:
        return  # refused
    arch = DCGAN(channels=3, d_norm=norm, d_norm_input=first)
    net = arch.discriminator(SampleSpec(shape=(2, 16, 16)))
    with torch.no_grad():
        for weight in net.parameters():  # gains and biases that count
            weight.normal_()
    x, at = torch.randn(5, 2, 16, 16), double(net)

    def normal(maps: Tensor, name: str) -> Tensor:
        axes = (1, 2, 3) if norm == "layer" else (2, 3)
        mean = maps.mean(axes, keepdim=True)
        variance = (maps - mean).square().mean(axes, keepdim=True)
        gain, bias = (at[f"{name}.{end}"][:, None, None] for end in ("weight", "bias"))
        return (maps - mean) / (variance + 1e-5).sqrt() * gain + bias

    maps = conv2d(x.double(), at["input.weight"], at.get("input.bias"), 2, 1)
    maps = leaky_relu(normal(maps, "norm") if first else maps, 0.2)
    maps = conv2d(maps, at["shrink.0.conv.weight"], at.get("shrink.0.conv.bias"), 2, 1)
    maps = leaky_relu(maps if norm == "none" else normal(maps, "shrink.0.norm"), 0.2)
    expected = conv2d(maps, at["output.weight"]).flatten()
    torch.testing.assert_close(net(x).double(), expected, rtol=1e-4, atol=1e-3)
    assert ("input.bias" in at) is ("shrink.0.conv.bias" in at) is (norm == "none")
    assert across_batch(net) == []
    alone = torch.cat([net(x[place : place + 1]) for place in range(5)])
    torch.testing.assert_close(alone, net(x), rtol=1e-4, atol=1e-4)


def test_biases_count_in_low_precision_too() -> None:
    layer, x = Halve(2, 3, bias=True), torch.randn(4, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x)
    torch.testing.assert_close(low.float(), layer(x), rtol=0.02, atol=0.02)
    assert layer.bias is not None
    (grad,) = torch.autograd.grad(low.float().sum(), layer.bias)
    assert grad.tolist() == [64.0] * 3  # places of the map, and samples


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_norm": "none", "d_norm_input": True}, "Set d_norm_input to False, or d_norm to a"),
        ({"d_deviation": 1}, "Set d_deviation to 2 or more, or to 0"),
    ],
)
def test_options_without_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DCGAN(**options)


def test_instance_norm_of_one_place_is_refused() -> None:
    arch = DCGAN(channels=2, kernels=(1, 4, 4), strides=(1, 4, 4), d_norm="instance")
    with pytest.raises(ConfigError, match="Set d_norm to layer, or take a larger first kernel"):
        arch.discriminator(SampleSpec(shape=(1, 16, 16)))
    plain = arch.model_copy(update={"d_norm": "layer"})
    plain.discriminator(SampleSpec(shape=(1, 16, 16)))


# -- spectral normalisation -----------------------------------------------------------------------


def normalised(net: nn.Module) -> list[nn.Module]:
    return [part for part in net.modules() if nn.utils.parametrize.is_parametrized(part)]


@torch.no_grad()
def converge(layers: list[nn.Module], steps: int = 300) -> None:
    """Each look at a weight in training mode is one step of the power iteration."""
    for layer in layers:
        for _ in range(steps):
            _ = layer.weight


def matrix(weight: Tensor) -> np.ndarray[Any, Any]:
    return weight.detach().double().flatten(1).numpy()


@pytest.mark.parametrize("way", ["concat", "projection", "auxiliary"])
@pytest.mark.parametrize("name", SMALL)
def test_largest_singular_values_are_one(name: str, way: str) -> None:
    net, _ = judge(name, CLASSES, d_spectral=True, d_condition=way)
    layers = normalised(net)
    converge(layers)
    net.eval()
    head = [part for part in net.modules() if isinstance(part, nn.Embedding)]
    assert bool(head) is (way == "projection")
    plain = [part for part in net.modules() if "weight" in part._parameters]
    assert plain == []
    kinds = (nn.Linear, nn.Conv2d, nn.Embedding)
    assert layers == [part for part in net.modules() if isinstance(part, kinds)]
    for layer in layers:
        original = layer.parametrizations.weight.original
        largest = np.linalg.svd(matrix(original), compute_uv=False)[0]
        expected = matrix(original) / largest
        np.testing.assert_allclose(matrix(layer.weight), expected, rtol=1e-3, atol=1e-4)
        top = np.linalg.svd(matrix(layer.weight), compute_uv=False)[0]
        assert top == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 7),
        nn.Conv2d(3, 4, 3),
        nn.ConvTranspose2d(3, 4, 3),
        nn.Embedding(3, 8),
        Halve(3, 5),
        FromMap(3, 2, (2, 4)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_numbers_and_tensors_are_those_of_torch(layer: nn.Module) -> None:
    ours, theirs = spectrally_normalised(copy.deepcopy(layer)), spectral_norm(layer)
    theirs.load_state_dict(ours.state_dict())
    for _ in range(3):
        assert torch.equal(ours.weight, theirs.weight)
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_one_step_of_the_iteration_in_a_pass_of_training_and_none_in_evaluation() -> None:
    net, spec = judge("mlp", d_spectral=True)
    layer = net.output
    with torch.no_grad():
        layer.parametrizations.weight.original.normal_()  # the vectors fit it no more
    weight = matrix(layer.parametrizations.weight.original)
    before = copy.deepcopy(net.state_dict())
    net.eval()(torch.randn(2, *spec.shape))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.train()(torch.randn(2, *spec.shape))
    right = before["output.parametrizations.weight.0._v"].double().numpy()
    left = weight @ right
    left /= np.linalg.norm(left)
    right = weight.T @ left
    right /= np.linalg.norm(right)
    found = net.state_dict()
    for name, expected in (("_u", left), ("_v", right)):
        vector = found[f"output.parametrizations.weight.0.{name}"]
        np.testing.assert_allclose(vector.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_zero_centred_penalties_differentiate_twice() -> None:
    """R1's gradient is that of weights divided by the largest value of an exact decomposition."""
    net = DCGAN(channels=2, d_norm="none", d_spectral=True).discriminator(
        SampleSpec(shape=(1, 16, 16))
    )
    net = net.double()
    x = torch.randn(3, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    converge(normalised(net), 400)
    net.eval()
    originals = {
        name: value.detach().clone().requires_grad_() for name, value in net.named_parameters()
    }

    def exact(name: str) -> Tensor:
        weight = originals[f"{name}.parametrizations.weight.original"]
        largest: Tensor = torch.linalg.svdvals(weight.flatten(1))[0]
        return weight / largest

    def plain() -> Tensor:
        maps = leaky_relu(conv2d(x, exact("input"), originals["input.bias"], 2, 1), 0.2)
        maps = conv2d(maps, exact("shrink.0.conv"), originals["shrink.0.conv.bias"], 2, 1)
        return conv2d(leaky_relu(maps, 0.2), exact("output")).flatten()

    found = []
    for logits, weights in ((net(x), [*net.parameters()]), (plain(), [*originals.values()])):
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        value = slope.square().sum() + logits.square().sum()
        found.append((value, *torch.autograd.grad(value, weights)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)
        assert one.abs().sum() > 0


@pytest.mark.parametrize("name", SMALL)
def test_weights_and_vectors_are_computed_without_autocast(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU it would make bfloat16 of some of them."""
    net, spec = judge(name, d_spectral=True)
    seen, multiply = [], torch.mv

    def watched(*arguments: Any) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return multiply(*arguments)

    monkeypatch.setattr(torch, "mv", watched)
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.randn(2, *spec.shape)).float().sum().backward()
        assert torch.is_autocast_enabled("cpu")
    assert set(seen) == {False}
    assert all(weight.grad is not None for weight in net.parameters())
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("name", SMALL)
def test_the_input_of_the_last_layer_is_found(name: str) -> None:
    net, spec = judge(name, CLASSES, d_spectral=True, d_condition="projection")
    found: list[Tensor] = []
    net.output.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    with last_input(net) as inputs:
        net(torch.randn(2, *spec.shape), torch.tensor([0, 1]))
    assert len(inputs) == len(found) == 1
    assert inputs[0] is found[0]


def test_no_arithmetic_on_the_meta_device() -> None:
    """Where bundles are measured by it, torch would import its compiler."""
    code = (
        "import sys; from ganzoo.architectures.dcgan import DCGAN; "
        "from ganzoo.core.nets import build_on_meta; from ganzoo.core.spec import SampleSpec; "
        "arch = DCGAN(channels=2, d_spectral=True); "
        "build_on_meta(lambda: arch.discriminator(SampleSpec(shape=(1, 16, 16)))); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_estimate_counts_outputs_of_normalised_layers() -> None:
    options = {"precision": "fp32", "batch_size": 8}
    arch = {"name": "mlp", "hidden": (2,), "d_hidden": (6,)}
    plain, more = (estimate(trainer({**arch, "d_spectral": on}, **options)) for on in (False, True))
    assert more.discriminator == plain.discriminator
    weights = 256 * 6 + 6  # that one pass makes; the other is smaller than that of G
    assert more.activations - plain.activations == 4 * weights


# -- minibatch deviation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "group", "size"), [(8, 4, 4), (6, 4, 3), (7, 4, 1), (2, 4, 2), (9, 20, 9)]
)
def test_the_deviation_of_groups_by_hand(count: int, group: int, size: int) -> None:
    x = torch.randn(count, 3, 4, 2)
    made = MinibatchDeviation(group)(x)
    assert torch.equal(made[:, :3], x)
    values = x.double().numpy()
    for first in range(0, count, size):
        members = values[first : first + size]
        expected = np.sqrt(members.var(0) + 1e-8).mean()
        found = made[first : first + size, 3:]
        assert found.shape == (size, 1, 4, 2)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_vectors_have_a_deviation_too() -> None:
    x = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    assert MinibatchDeviation(2)(x)[:, 2].tolist() == pytest.approx([1.5, 1.5])


def test_the_deviation_has_derivatives_also_of_equal_samples() -> None:
    layer = MinibatchDeviation(4)
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)
    same = torch.ones(4, 2, 2, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(same).square().sum(), same, create_graph=True)
    (curve,) = torch.autograd.grad(slope.square().sum(), same)
    assert slope.isfinite().all()
    assert curve.isfinite().all()


def test_the_map_of_the_deviation_has_the_type_of_the_others() -> None:
    x = torch.randn(4, 2, 2, 2).bfloat16() + 100
    found = MinibatchDeviation(4)(x)
    assert found.dtype == torch.bfloat16
    expected = MinibatchDeviation(4)(x.float())[:, 2]
    torch.testing.assert_close(found[:, 2].float(), expected, rtol=0.005, atol=0)


def test_the_last_layer_sees_the_deviation_and_labels_do_not() -> None:
    spec = SampleSpec(shape=(1, 16, 16), classes=("a", "b"))
    net = DCGAN(channels=2, d_deviation=4, d_condition="auxiliary").discriminator(spec)
    assert net.output.in_channels == 4 + 1
    assert net.head.classifier.in_features == 4 * 16
    assert across_batch(net) == ["batch norm", "minibatch deviation"]
    assert DCGAN(channels=2).discriminator(spec).output.in_channels == 4


# -- trainings ------------------------------------------------------------------------------------

TRAINED: list[tuple[str, dict[str, Any]]] = [
    ("dcgan", {"d_norm": "layer"}),
    ("dcgan", {"d_norm": "instance", "d_norm_input": True}),
    ("dcgan", {"d_norm": "none", "d_spectral": True, "d_deviation": 4}),
    ("mlp", {"d_spectral": True}),
    ("mirror", {"d_spectral": True}),
    ("upsample", {"d_spectral": True}),
]


@pytest.mark.parametrize(
    ("name", "options", "precision"),
    [
        (*trained, precision)
        for trained in TRAINED
        for precision in ("fp32", "bf16")
        if precision == "bf16" or trained[1].get("d_spectral")
    ],
)
def test_trainings_resume_to_the_bit(name: str, options: dict[str, Any], precision: str) -> None:
    """With a penalty that differentiates twice, and undoing of updates that are not finite."""
    given: dict[str, Any] = {"precision": precision, "penalties": "r1", "nan_policy": "skip"}
    given["arch"] = {"name": name, **SMALL[name], **options}
    whole = trainer(out="whole", **given)
    whole.fit()
    trainer(out="part", **given, steps=2).fit()
    second = ganzoo.Trainer.resume("part", dataset=IMAGES, steps=4, progress=False)
    assert second.step == 2
    second.fit()
    one, other = collect(whole.parts())[0], collect(second.parts())[0]
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    vectors = [key for key in one if key.endswith("._u")]
    assert bool(vectors) is options.get("d_spectral", False)
    assert all(key.startswith("discriminator.") for key in vectors)


def test_vectors_of_an_update_that_is_left_out_are_undone() -> None:
    made = trainer({"name": "mlp", "hidden": (4,), "d_spectral": True}, nan_policy="skip")
    steps = made.iterations()
    next(steps)
    discriminator = made.game.discriminator
    with torch.no_grad():  # so that a step of the iteration changes the vectors
        for weight in discriminator.parameters():
            weight.normal_()
    before = copy.deepcopy(discriminator.state_dict())
    hook = discriminator.register_forward_hook(lambda net, given, logits: logits * float("nan"))
    next(steps)
    after = discriminator.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    hook.remove()
    next(steps)
    assert not torch.equal(after["output.parametrizations.weight.0._v"], before[_V])


_V = "output.parametrizations.weight.0._v"


@pytest.mark.parametrize("name", SMALL)
def test_bundles_have_the_vectors_and_a_plain_generator(name: str, tmp_path: Path) -> None:
    arch = small(name, d_spectral=True)
    run = trainer(arch, steps=1, out="run").fit()
    generator = ganzoo.Generator.from_pretrained(run.path)
    assert not [key for key in generator.module.state_dict() if "parametrizations" in key]
    net = generator.discriminator()
    generator.save_pretrained(tmp_path / "b", discriminator=net)
    loaded = bundle.discriminator(tmp_path / "b")
    assert loaded.state_dict().keys() == net.state_dict().keys()
    assert any(key.endswith("._u") for key in net.state_dict())
    x = torch.randn(2, *generator.config.sample.shape)
    assert torch.equal(loaded.eval()(x), net.eval()(x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dcgan", {"d_norm": "layer", "d_deviation": 4}),
        ("dcgan", {"d_norm": "none", "d_spectral": True, "d_condition": "projection"}),
        ("mirror", {"d_spectral": True}),
        ("mlp", {"d_spectral": True, "d_condition": "projection"}),
        ("upsample", {"d_spectral": True, "d_condition": "auxiliary"}),
    ],
)
def test_the_contract(name: str, options: dict[str, Any]) -> None:
    arch = architectures.create(name, **{**SMALL[name], **options})
    spec = SampleSpec(shape=(1, *arch.nearest_size(20, 20)), classes=("a", "b"))
    check_architecture(arch, spec, LATENT)


def test_copies_are_apart() -> None:
    net, spec = judge("dcgan", d_spectral=True)
    before = copy.deepcopy(net.state_dict())
    other = copy.deepcopy(net)
    with torch.no_grad():
        for weight in other.parameters():
            weight.normal_()
    other(torch.randn(2, *spec.shape))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not torch.equal(other.state_dict()[_V], before[_V])


@pytest.mark.parametrize("penalty", ["gp", "dragan"])
def test_options_are_the_way_out_under_penalties_of_single_samples(penalty: str) -> None:
    arch: dict[str, Any] = {"name": "dcgan", "channels": 2}

    def notices(**options: Any) -> list[str]:
        made = trainer({**arch, **options}, penalties=penalty)
        made.setup()
        return [notice for notice in made.notices if f"penalty '{penalty}'" in notice]

    (notice,) = notices()
    assert notice.endswith(
        "batch norm in that of 'dcgan' looks at the whole batch: its paper leaves it out. Set its "
        "option d_norm to layer (--arch.d_norm layer), or take penalty 'r1'."
    )
    assert notices(d_norm="layer", d_norm_input=True) == notices(d_norm="none") == []
    (notice,) = notices(d_norm="layer", d_deviation=4)
    assert notice.endswith(
        "minibatch deviation in that of 'dcgan' looks at the whole batch. Set its option "
        "d_deviation to 0 (--arch.d_deviation 0), or take penalty 'r1'."
    )


def test_one_batch_of_both_is_noticed() -> None:
    arch = {"name": "dcgan", "channels": 2, "d_norm": "layer", "d_deviation": 4}
    made = trainer(arch, joint_batch=True)
    made.setup()
    (found,) = [notice for notice in made.notices if notice.startswith("joint_batch")]
    assert "whose minibatch deviation then looks at both at once. Leave joint_batch off." in found


def test_one_batch_of_both_is_not_normalised() -> None:
    refused = (
        "batch norm in that of 'dcgan' then tells them apart: .* Leave joint_batch off, or set the "
        r"architecture's d_norm to layer \(--arch.d_norm layer\)."
    )
    with pytest.raises(ConfigError, match=refused):
        trainer({"name": "dcgan", "channels": 2}, joint_batch=True, out="run").fit()
    assert not Path("run").exists()


def test_the_plan_of_a_net_has_its_shapes() -> None:
    net, spec = judge("upsample", d_spectral=True)
    plan = build_on_meta(lambda: small("upsample", d_spectral=True).discriminator(spec))
    shapes = [{name: value.shape for name, value in x.state_dict().items()} for x in (net, plan)]
    assert shapes[0] == shapes[1]
