import math

import pytest
import torch
from torch import nn

from ganzoo.architectures.layers import FourierFeatures
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import ConfigError

DIGIT = SampleSpec(shape=(1, 28, 28))


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def test_parameters():
    assert count(MLP().generator(DIGIT, LatentSpec())) == 1_486_352
    assert count(MLP().discriminator(DIGIT)) == 1_460_225


def test_dropout_follows_each_hidden_layer_of_the_discriminator_only():
    def rates(net):
        return [module.p for module in net.modules() if isinstance(module, nn.Dropout)]

    assert rates(MLP().discriminator(DIGIT)) == [0.3] * 3
    assert rates(MLP(dropout=0).discriminator(DIGIT)) == []
    assert rates(MLP().generator(DIGIT, LatentSpec())) == []


def test_hidden_layers_of_the_discriminator_can_differ():
    # 1-16-1 against 1-64-1, as for a one-dimensional Gaussian
    spec = SampleSpec(kind="vector", shape=(1,), value_range=None)
    arch = MLP(hidden=(16,), d_hidden=(64,), slope=0, dropout=0)
    assert count(arch.generator(spec, LatentSpec(shape=(1,)))) == 16 + 16 + 16 + 1
    assert count(arch.discriminator(spec)) == 64 + 64 + 64 + 1


def test_batch_norm_stands_before_each_activation_of_the_generator_only():
    arch = MLP(hidden=(8, 4), norm="batch")
    names = [
        name for name, _ in arch.generator(DIGIT, LatentSpec(shape=(3,))).hidden.named_children()
    ]
    assert names == [f"{layer}{k}" for k in (1, 2) for layer in ("dense", "norm", "activation")]
    assert count(arch.generator(DIGIT, LatentSpec(shape=(3,)))) == (
        8 * 3 + 2 * 8 + 4 * 8 + 2 * 4 + 784 * 4 + 784
    )
    assert not any(
        isinstance(module, nn.BatchNorm1d) for module in arch.discriminator(DIGIT).modules()
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.5, 20.0])
def test_fourier_features_are_sines_and_cosines_beside_the_values(scale, dtype):
    waves = FourierFeatures(2, 500, scale)
    assert waves.frequencies.std().item() == pytest.approx(scale, rel=0.1)
    x = torch.tensor([[0.25, -3.0], [4.0, 1.5]], dtype=dtype)
    found = waves(x)
    assert found.dtype is dtype
    assert torch.equal(found[:, :2], x)
    for row, point in enumerate(x.tolist()):
        for column in (0, 1, 499):
            turns = sum(
                value * frequency
                for value, frequency in zip(
                    point, waves.frequencies[:, column].tolist(), strict=True
                )
            )
            near = {"abs": {torch.float64: 1e-9, torch.float32: 2e-3}.get(dtype, 1e-2)}
            assert found[row, 2 + column].item() == pytest.approx(
                math.sin(2 * math.pi * turns), **near
            )
            assert found[row, 502 + column].item() == pytest.approx(
                math.cos(2 * math.pi * turns), **near
            )


def test_phases_are_float32_within_an_autocast():
    waves, x = FourierFeatures(2, 16, 30.0), torch.tensor([[0.37, -3.9]])
    with torch.autocast("cpu", torch.bfloat16):
        inside = waves(x)
    assert torch.equal(inside, waves(x))


def test_fourier_features_enter_the_discriminator_alone_and_are_saved():
    spec = SampleSpec(kind="vector", shape=(3,), value_range=None)
    arch = MLP(hidden=(5,), d_fourier=7, d_fourier_scale=0.3, dropout=0)
    net, other = arch.discriminator(spec), arch.discriminator(spec)
    assert net.hidden.dense1.in_features == 3 + 2 * 7
    assert count(net) == 5 * 17 + 5 + 5 + 1
    assert "waves.frequencies" in net.state_dict()
    assert not torch.equal(net.waves.frequencies, other.waves.frequencies)
    other.load_state_dict(net.state_dict())
    x = torch.randn(4, 3)
    assert torch.equal(net(x), other(x))
    assert MLP(hidden=(), d_fourier=7).discriminator(spec).output.in_features == 17
    generator = arch.generator(spec, LatentSpec(shape=(2,)))
    assert not any(isinstance(module, FourierFeatures) for module in generator.modules())


def test_no_hidden_layers_is_linear():
    spec = SampleSpec(kind="vector", shape=(3,), value_range=None)
    assert count(MLP(hidden=()).generator(spec, LatentSpec(shape=(2,)))) == 2 * 3 + 3
    assert count(MLP(hidden=()).discriminator(spec)) == 3 + 1


def test_any_size_will_do():
    assert MLP().nearest_size(5, 7) == (5, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"hiden": (3,)},
            "Architecture 'mlp' has no option 'hiden'. Did you mean 'hidden'? "
            "Options: activation, condition, d_condition, d_fourier, d_fourier_scale, d_hidden, "
            "d_spectral, dropout, hidden, label_width, norm, slope.",
        ),
        (
            {"dropout": 1},
            "Architecture 'mlp': dropout cannot be 1: input should be less than 1.",
        ),
        (
            {"hidden": (8, 0)},
            "Architecture 'mlp': hidden.1 cannot be 0: input should be greater than 0.",
        ),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ConfigError) as caught:
        MLP(**options)
    assert str(caught.value) == message
