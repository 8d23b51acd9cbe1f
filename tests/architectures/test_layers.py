import pytest
import torch
from torch import nn

from ganzoo.architectures.layers import dense_stack, output_activation
from ganzoo.spec import SampleSpec


@pytest.mark.parametrize(
    ("value_range", "kind"), [((-1, 1), nn.Tanh), ((0, 1), nn.Sigmoid), (None, nn.Identity)]
)
def test_output_activation(value_range, kind):
    spec = SampleSpec(kind="vector", shape=(2,), value_range=value_range)
    assert type(output_activation(spec)) is kind


def test_other_ranges_are_a_stretched_tanh():
    activation = output_activation(SampleSpec(kind="vector", shape=(2,), value_range=(-3, 5)))
    assert repr(activation) == "ScaledTanh(-3.0, 5.0)"
    assert activation(torch.tensor([-99.0, 0.0, 99.0])).tolist() == [-3, 1, 5]


def test_dense_stack_names_its_layers():
    stack = dense_stack((2, 3, 4), nn.ReLU, dropout=0.5)
    assert list(stack._modules) == [
        "dense1",
        "activation1",
        "dropout1",
        "dense2",
        "activation2",
        "dropout2",
    ]
    assert stack(torch.zeros(5, 2)).shape == (5, 4)


def test_dense_stack_without_layers_is_the_identity():
    x = torch.randn(2, 3)
    assert torch.equal(dense_stack((3,), nn.ReLU)(x), x)
