import pytest
from torch import nn

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
            "Options: activation, condition, d_condition, d_hidden, d_spectral, dropout, hidden, "
            "label_width, slope.",
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
