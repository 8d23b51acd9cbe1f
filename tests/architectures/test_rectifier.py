import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ganzoo import penalties
from ganzoo.architectures import layers
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.architectures.layers import Double, Halve
from ganzoo.architectures.rectifier import LeakyReLU
from ganzoo.core.differentiation import (
    for_gradients_alone,
    inputs_alone,
    is_for_gradients_alone,
    wants_weights,
)
from ganzoo.core.spec import SampleSpec
from ganzoo.penalties.gradients import gradients, logits_at

PAIRS = [
    (LeakyReLU(0.2), nn.LeakyReLU(0.2)),
    (LeakyReLU(0.01), nn.LeakyReLU(0.01)),
    (LeakyReLU(0.0), nn.LeakyReLU(0.0)),
    (LeakyReLU(-0.5), nn.LeakyReLU(-0.5)),
]


@pytest.fixture
def alone() -> Iterator[None]:
    with for_gradients_alone():
        yield


def bits(x: torch.Tensor) -> bytes:
    return bytes(x.detach().contiguous().view(torch.uint8).numpy())


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_values_and_derivatives_are_torchs_to_the_bit(
    ours: nn.Module, torchs: nn.Module, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    awkward = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-40, -1e-40]
    start = torch.cat((torch.randn(40), torch.tensor(awkward)))
    slope, twice = torch.randn(2, 47).to(dtype).unbind()
    found = []
    for layer in (ours, torchs):
        x = start.to(dtype).requires_grad_()
        first = slope.clone().requires_grad_()
        y = layer(x)
        (to_x,) = torch.autograd.grad(y, x, first, create_graph=True)
        (to_first,) = torch.autograd.grad(to_x, first, twice)
        with torch.no_grad():
            assert bits(layer(x)) == bits(y)
        found.append((y, to_x, to_first))
    for one, other in zip(*found, strict=True):
        assert bits(one) == bits(other)


@pytest.mark.usefixtures("alone")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_every_way_to_differentiate_is_torchs(ours: nn.Module, torchs: nn.Module) -> None:
    torch.manual_seed(0)
    torch.compiler.reset()
    weight, x = torch.randn(2, 5, 5, dtype=torch.float64).unbind()
    func = torch.func
    twice = func.grad
    ways = {
        "grad": func.grad,
        "of each sample": lambda of: func.vmap(func.grad(of)),
        "of a penalty": lambda of: twice(lambda x: func.grad(of)(x).norm()),
        "forward": lambda of: lambda x: func.jvp(of, (x,), (x.cos(),))[1],
        "hessian": func.hessian,
        "of each hessian": lambda of: func.vmap(func.hessian(of)),
        "backward of backward": lambda of: func.jacrev(func.jacrev(of)),
        "compiled": lambda of: torch.compile(func.grad(of), backend="aot_eager", fullgraph=True),
    }

    def logits(layer: nn.Module) -> object:
        return lambda x: (layer(x @ weight) @ weight).square().sum()

    def linear(layer: nn.Module) -> object:
        """A critic's: the gradient behind the layer has no tangent."""
        return lambda x: (layer(x @ weight) @ weight).sum()

    for end in (logits, linear):
        for name, way in ways.items():
            found, expected = way(end(ours))(x), way(end(torchs))(x)
            assert torch.equal(found, expected), (name, end)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.clone().requires_grad_(), x.cos())
        tangents = [
            torch.autograd.forward_ad.unpack_dual(logits(layer)(dual)).tangent
            for layer in (ours, torchs)
        ]
    assert torch.equal(*tangents)
    x = x.requires_grad_()
    assert torch.autograd.gradgradcheck(logits(ours), (x,))


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("ours", "torchs"), PAIRS[:2])
def test_layers_before_are_not_given_zeros(ours: nn.Module, torchs: nn.Module, bf16: bool) -> None:
    """A penalty of gradients at points of their own has none for biases, and no zeros."""
    torch.manual_seed(0)
    critic = nn.Sequential(Halve(2, 4, bias=True), ours, Double(4, 3, bias=True), ours)
    plain = copy.deepcopy(critic)
    plain[1] = plain[3] = torchs
    found = []
    for net in (critic, plain):
        points = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
        points.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = logits_at(lambda x, _, net=net: net(x).float().mean((1, 2, 3)), points, None)
            penalty = gradients(logits, points).flatten(1).norm(dim=1).square().mean()
        found.append(torch.autograd.grad(penalty, tuple(net.parameters()), allow_unused=True))
    weights, bias = found[0][::2], found[0][1]
    assert bias is None
    assert found[1][1] is not None
    assert found[1][1].count_nonzero() == 0
    for one, other in zip(weights, found[1][::2], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", [Halve, Double])
def test_a_penalty_computes_no_gradient_of_weights_that_nobody_asks_for(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    real = layers._weight_gradient

    def counted(large: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
        computed.append(large.shape)
        return real(large, small)

    monkeypatch.setattr(layers, "_weight_gradient", counted)
    layer, points = kind(2, 3), torch.randn(4, 2, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        slope = gradients(layer(points).float().mean((1, 2, 3)), points)
    assert not computed
    assert wants_weights()
    slope.square().sum().backward()
    assert len(computed) == 1
    assert layer.weight.grad is not None


def test_the_promise_ends_with_its_block() -> None:
    with pytest.raises(RuntimeError, match="of a test"), inputs_alone(), inputs_alone():
        assert not wants_weights()
        raise RuntimeError("of a test")
    assert wants_weights()
    blocks = pytest.raises(RuntimeError, match="of a test"), for_gradients_alone()
    with blocks[0], blocks[1], for_gradients_alone():
        assert is_for_gradients_alone()
        raise RuntimeError("of a test")
    assert not is_for_gradients_alone()


@pytest.mark.parametrize("inplace", [False, True])
def test_outside_a_penalty_it_is_torchs(inplace: bool) -> None:
    found = []
    for layer in (LeakyReLU(0.2, inplace=inplace), nn.LeakyReLU(0.2, inplace=inplace)):
        x = torch.tensor([-1.0, 2.0], requires_grad=True)
        inner = x * 1
        y = layer(inner)
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        assert (y is inner) == inplace
        found.append((y.tolist(), slope.tolist(), type(y.grad_fn)))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["gp", "dragan"])
def test_penalties_at_points_of_their_own_leave_zeros_out(name: str) -> None:
    torch.manual_seed(0)
    spec = SampleSpec(shape=(1, 16, 16))
    critic = DCGAN(channels=4, d_norm="none").discriminator(spec)
    real, fake = torch.randn(2, 6, 1, 16, 16).unbind()
    arguments = (real, fake) if name == "gp" else (real,)
    penalties.create(name).value(critic, *arguments).backward()
    weights = dict(critic.named_parameters())
    biases = [each for each in weights if each.endswith("bias")]
    assert len(biases) >= 2
    assert all(weights[each].grad is None for each in biases)
    assert all(weights[each].grad.any() for each in weights if each not in biases)


def test_a_critic_that_is_recomputed_has_the_same_penalty() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 4), LeakyReLU(0.2), nn.Linear(4, 1))
    found = []
    for again in (False, True):
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with for_gradients_alone():
            logits = checkpoint(critic, x, use_reentrant=False) if again else critic(x)
        slope = gradients(logits.flatten(), x)
        found.append(torch.autograd.grad(slope.square().sum(), critic[0].weight)[0])
    assert found[0].any()
    assert torch.equal(*found)
