import pytest
import torch
from torch import nn

from ganzoo.architectures.layers import (
    Double,
    FromMap,
    Halve,
    ToMap,
    _by_parity,
    _Double,
    _Halve,
    _overlaid,
    dense_stack,
    output_activation,
)
from ganzoo.core.spec import SampleSpec


@pytest.mark.parametrize(
    ("value_range", "kind"), [((-1, 1), nn.Tanh), ((0, 1), nn.Sigmoid), (None, nn.Identity)]
)
def test_output_activation(value_range, kind):
    spec = SampleSpec(kind="vector", shape=(2,), value_range=value_range)
    assert isinstance(output_activation(spec), kind)


@pytest.mark.parametrize("value_range", [(-1, 1), (0, 1), (-3, 5)])
def test_what_is_nearly_black_or_white_goes_on_learning_in_bfloat16(value_range):
    """In bfloat16 itself the gradient would be exactly 0 there."""
    activation = output_activation(SampleSpec(kind="vector", shape=(2,), value_range=value_range))
    x = torch.tensor([-8.0, 8.0], dtype=torch.bfloat16, requires_grad=True)
    y = activation(x)
    assert y.dtype == torch.float32
    y.sum().backward()
    assert (x.grad != 0).all()


@pytest.mark.parametrize("value_range", [(-1, 1), (0, 1), (-3, 5)])
@pytest.mark.parametrize(
    ("given", "made"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_halves_alone_are_lifted(value_range, given, made):
    activation = output_activation(SampleSpec(kind="vector", shape=(2,), value_range=value_range))
    assert activation(torch.zeros(2, dtype=given)).dtype == made


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


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (1, 4), (8, 1)])
@pytest.mark.parametrize("kind", [Halve, Double])
def test_halving_and_doubling_are_plain_convolutions(kind: type, inputs: int, outputs: int) -> None:
    """In bfloat16 the hand-made gradients agree with the library's to bfloat16's rounding."""
    torch.manual_seed(0)
    layer = kind(inputs, outputs)
    x = torch.randn(4, inputs, 8, 12, requires_grad=True)
    plain = nn.functional.conv2d if kind is Halve else nn.functional.conv_transpose2d
    exact = plain(x, layer.weight, stride=2, padding=1)
    torch.testing.assert_close(layer(x), exact, rtol=0, atol=0)
    grad = torch.randn_like(exact)
    expected = torch.autograd.grad(exact, (x, layer.weight), grad)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.02, atol=0.03)
    found = torch.autograd.grad(rounded, (x, layer.weight), grad.bfloat16())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0.05 * theirs.abs().max().item())


@pytest.mark.parametrize("size", [(4, 6), (10, 8)])
@pytest.mark.parametrize("function", [_Halve, _Double])
def test_the_hand_made_gradients_are_exact_and_can_be_differentiated(
    function: type, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    shape = (2, 3, *size) if function is _Halve else (2, 2, size[0] // 2, size[1] // 2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function.apply, (x, weight))
    assert torch.autograd.gradgradcheck(function.apply, (x, weight))
    expected = function.apply(x, weight)
    for few, amx in ((4, False), (0, True), (0, False)):
        monkeypatch.setattr("ganzoo.architectures.layers._FEW_CHANNELS", few)
        monkeypatch.setattr("ganzoo.architectures.layers._has_amx", lambda amx=amx: amx)
        torch.testing.assert_close(function.apply(x, weight), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width"),
    [(5, 1, 4, 6), (7, 3, 1, 5), (2, 4, 3, 1), (64, 1, 16, 16), (6, 9, 4, 2)],
)
def test_every_way_of_doubling_a_map_is_the_transposed_convolution(
    inputs: int, outputs: int, height: int, width: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, inputs, height, width).to(dtype)
    weight = torch.randn(inputs, outputs, 4, 4).to(dtype)
    expected = nn.functional.conv_transpose2d(x.double(), weight.double(), stride=2, padding=1)
    near = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.01}[dtype]
    near *= expected.abs().max().item()
    for way in (_overlaid, _by_parity):
        found = way(x, weight)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=near)


def test_map_ends_are_plain_convolutions() -> None:
    torch.manual_seed(0)
    to_map, from_map = ToMap(6, 5, (4, 8)), FromMap(5, 3, (4, 8))
    z = torch.randn(7, 6)
    image = to_map(z)
    expected = nn.functional.conv_transpose2d(z[:, :, None, None], to_map.weight)
    torch.testing.assert_close(image, expected)
    expected = nn.functional.conv2d(image, from_map.weight).flatten(1)
    torch.testing.assert_close(from_map(image), expected)
