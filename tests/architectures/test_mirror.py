import pytest
import torch
from torch import nn

from ganzoo.architectures.mirror import Mirror
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import ConfigError

DIGIT = SampleSpec(shape=(1, 28, 28))


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def linears(net):
    return [module for module in net.modules() if isinstance(module, nn.Linear)]


def test_layers():
    generator = Mirror().generator(DIGIT, LatentSpec())
    assert [layer.weight.shape for layer in linears(generator)] == [(150, 100), (784, 150)]
    layers = linears(Mirror().discriminator(DIGIT))
    assert [layer.weight.shape for layer in layers] == [(150, 784), (100, 150), (1, 100)]
    assert count(generator) == 150 * 101 + 784 * 151


def test_hidden_layers_are_mirrored():
    arch = Mirror(hidden=(5, 6), code=4)
    widths = [layer.out_features for layer in linears(arch.generator(DIGIT, LatentSpec()))]
    assert widths == [5, 6, 784]
    assert [layer.out_features for layer in linears(arch.discriminator(DIGIT))] == [6, 5, 4, 1]


@pytest.mark.parametrize(("activation", "gain"), [("selu", 1.0), ("relu", 2.0)])
def test_initial_weights(activation, gain):
    torch.manual_seed(0)
    hidden, _, output = linears(Mirror(activation=activation, code=2000).discriminator(DIGIT))
    assert hidden.weight.var().item() * 784 == pytest.approx(gain, rel=0.05)
    assert output.weight.var().item() * 2000 == pytest.approx(1.0, rel=0.15)
    assert not hidden.bias.any()


def test_selu_keeps_the_scale_of_activations():
    torch.manual_seed(0)
    encoder = Mirror(hidden=(300,) * 6).discriminator(DIGIT).encoder
    codes = encoder(torch.randn(200, 784))
    assert codes.mean().item() == pytest.approx(0, abs=0.15)
    assert codes.var().item() == pytest.approx(1, abs=0.25)


def test_unknown_activation():
    with pytest.raises(ConfigError) as caught:
        Mirror(activation="gelu")
    assert str(caught.value) == (
        "Architecture 'mirror': activation cannot be 'gelu': input should be 'selu' or 'relu'."
    )
