"""The first iteration of three recipes, written down once more and computed in float64.

The nets, losses and optimizers here are those of the systems that the recipes reproduce, spelled
out in plain tensor arithmetic; only starting weights and real samples are the recipe's own. Each
system updates D once, then G against the D that came of it, on noise drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

import ganzoo
from ganzoo import recipes
from ganzoo.core.step import Step
from ganzoo.training.ema import EMA

SEED = 3  # of dropout and label noise

# -- an iteration as the library plays it ----------------------------------------------------------


class Call(NamedTuple):
    """One forward pass: which net, of how many samples, with dropout or not, learning or not."""

    net: str
    rows: int
    training: bool
    learning: bool


@dataclass
class Iteration:
    """A recipe's first iteration, and what it began from."""

    trainer: ganzoo.Trainer
    step: Step
    real: Tensor  # (N, 1, 28, 28)
    generator: list[Tensor]  # weights before
    discriminator: list[Tensor]
    noise: torch.Generator  # as it was before
    calls: list[Call]
    latents: list[Tensor]


def play(recipe: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iteration:
    """Play one iteration of a recipe in float64, on random pictures of 28x28."""
    # What the library brings to float32 for its losses shall keep its float64.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    batch_size = settings.get("batch_size", recipes.get(recipe).settings["batch_size"])
    trainer = ganzoo.Trainer.from_recipe(
        recipe, pictures(batch_size + 7), progress=False, device="cpu", precision="fp32", **settings
    )
    trainer.setup()
    game = trainer.game
    game.generator.double()
    game.discriminator.double()
    game.ema = game.players["generator"].ema = EMA(game.generator, trainer.config.average)
    calls: list[Call] = []
    latents: list[Tensor] = []

    def record(name: str) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
        def hook(net: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            (modes,) = {part.training for part in net.modules()}  # all of one mind
            learning = torch.is_grad_enabled() and all(w.requires_grad for w in net.parameters())
            calls.append(Call(name, len(inputs[0]), modes, learning))
            if name == "G":
                latents.append(inputs[0])
            return inputs[0].double(), *inputs[1:]

        return hook

    game.generator.register_forward_pre_hook(record("G"))
    game.discriminator.register_forward_pre_hook(record("D"))
    generator, discriminator = (
        [weight.detach().clone() for weight in net.parameters()]
        for net in (game.generator, game.discriminator)
    )
    noise = torch.Generator()
    noise.set_state(game.noise.get_state())
    handed: list[Tensor] = []

    def batch() -> tuple[Tensor, Tensor | None]:
        real, labels = trainer.loader.next()
        handed.append(real)
        return real, labels

    torch.manual_seed(SEED)
    game.first = None  # which looks for float32
    step = game.play(batch)
    (real,) = handed  # one update of D, and G's sees none
    assert all(part.training for part in game.discriminator.modules())
    assert all(weight.requires_grad for weight in game.discriminator.parameters())
    return Iteration(trainer, step, real, generator, discriminator, noise, calls, latents)


def pictures(count: int) -> Tensor:
    """Different pictures, each with black and white in it: uint8 (count, 1, 28, 28)."""
    source = torch.Generator().manual_seed(1)
    data = torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8, generator=source)
    data[..., 0, 0], data[..., 0, 1] = 0, 255
    return data


def assert_brought_to(real: Tensor, low: float, high: float) -> None:
    """Real samples are stored pictures, no two the same, with [0, 255] brought to a range."""
    data = pictures(len(real) + 7).flatten(1)
    stored = ((real.double() - low) * 255 / (high - low)).flatten(1)
    torch.testing.assert_close(stored, stored.round(), rtol=0, atol=1e-4)
    found = (stored.round()[:, None] == data).all(2)
    assert found.sum(1).tolist() == [1] * len(real)
    assert found.sum(0).max() == 1


# -- the pieces of the same by hand ----------------------------------------------------------------


class ByHand(NamedTuple):
    """What an iteration comes to."""

    d_loss: Tensor
    g_loss: Tensor
    d_gradients: Sequence[Tensor]
    g_gradients: Sequence[Tensor]
    d_changes: Sequence[Tensor]
    g_changes: Sequence[Tensor]
    fake: Tensor  # G's samples in its own phase
    p_real: Tensor  # D's answers in its own phase, each in (0, 1)
    p_fake: Tensor


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def dropped(x: Tensor, p: float) -> Tensor:
    """Each value is dropped with probability p, what is kept grows to make up for it."""
    kept = torch.empty_like(x).bernoulli_(1 - p)
    return x * kept / (1 - p)


def cross_entropy(p: Tensor, target: Tensor | float) -> Tensor:
    return -(target * torch.log(p) + (1 - target) * torch.log(1 - p))


def adam(gradient: Tensor, lr: float) -> Tensor:
    """Adam's first change of a weight, with the decays .9 and .999."""
    m, v = (1 - 0.9) * gradient, (1 - 0.999) * gradient**2
    return -lr * (m / (1 - 0.9)) / ((v / (1 - 0.999)).sqrt() + 1e-8)


def rmsprop(gradient: Tensor, lr: float) -> Tensor:
    """RMSprop's first change of a weight, with the decay .9."""
    return -lr * gradient / (((1 - 0.9) * gradient**2).sqrt() + 1e-8)


def learning(weights: Sequence[Tensor]) -> list[Tensor]:
    return [weight.clone().requires_grad_() for weight in weights]


def moved(weights: Sequence[Tensor], changes: Sequence[Tensor]) -> list[Tensor]:
    return [(weight + change).detach() for weight, change in zip(weights, changes, strict=True)]


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal to nine digits of the largest value."""
    assert found.dtype == expected.dtype == torch.float64
    scale = expected.abs().max().item()
    assert scale > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * scale)


def assert_same(played: Iteration, hand: ByHand) -> None:
    """Losses, G's samples, gradients and changes of all weights are those computed by hand."""
    game, scalars = played.trainer.game, played.step.scalars
    assert_close(scalars["d_loss"], hand.d_loss)
    assert_close(scalars["g_loss"], hand.g_loss)
    assert_close(played.step.fake, hand.fake)
    for net, before, gradients, changes in (
        (game.discriminator, played.discriminator, hand.d_gradients, hand.d_changes),
        (game.generator, played.generator, hand.g_gradients, hand.g_changes),
    ):
        for weight, old, gradient, change in zip(
            net.parameters(), before, gradients, changes, strict=True
        ):
            assert weight.grad is not None
            assert_close(weight.grad, gradient)
            assert_close(weight.detach() - old, change)
    for weight, average in zip(
        game.generator.parameters(), game.ema.module.parameters(), strict=True
    ):
        assert torch.equal(weight, average)  # these systems average nothing


def assert_adam(played: Iteration, hand: ByHand) -> None:
    """The optimizers remember what Adam with .9 and .999 does: its first change hides both."""
    game = played.trainer.game
    for net, optimizer, gradients in (
        (game.discriminator, game.d_optimizer, hand.d_gradients),
        (game.generator, game.g_optimizer, hand.g_gradients),
    ):
        for weight, gradient in zip(net.parameters(), gradients, strict=True):
            assert_close(optimizer.state[weight]["exp_avg"], (1 - 0.9) * gradient)
            assert_close(optimizer.state[weight]["exp_avg_sq"], (1 - 0.999) * gradient**2)


def assert_rmsprop(played: Iteration, hand: ByHand) -> None:
    """The optimizers remember what RMSprop with .9 and no momentum does."""
    game = played.trainer.game
    for net, optimizer, gradients in (
        (game.discriminator, game.d_optimizer, hand.d_gradients),
        (game.generator, game.g_optimizer, hand.g_gradients),
    ):
        for weight, gradient in zip(net.parameters(), gradients, strict=True):
            assert optimizer.state[weight].keys() == {"step", "square_avg"}
            assert_close(optimizer.state[weight]["square_avg"], (1 - 0.9) * gradient**2)


def assert_normal_noise(played: Iteration, size: int) -> None:
    """Each phase had Gaussian noise of its own."""
    noise = torch.Generator()
    noise.set_state(played.noise.get_state())
    first, second = played.latents
    assert torch.equal(first, torch.randn(len(played.real), size, generator=noise))
    assert torch.equal(second, torch.randn(len(played.real), size, generator=noise))


def parameters(weights: Sequence[Tensor]) -> int:
    return sum(weight.numel() for weight in weights)


# -- upsample-fashion: nearest upsampling and convolutions, noisy labels of swapped polarity -------


def upsample_generator(w: Sequence[Tensor], z: Tensor) -> Tensor:
    x = leaky(z @ w[0].T + w[1]).reshape(-1, 128, 7, 7)
    for weight, bias in (w[2:4], w[4:6]):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = leaky(conv2d(pad(x, (2, 2, 2, 2)), weight, bias))
    for weight, bias in (w[6:8], w[8:10]):
        x = leaky(conv2d(pad(x, (1, 2, 1, 2)), weight, bias))
    return sigmoid(conv2d(pad(x, (1, 2, 1, 2)), w[10], w[11]))


def upsample_discriminator(w: Sequence[Tensor], x: Tensor, dropout: float) -> Tensor:
    for weight, bias in (w[0:2], w[2:4], w[4:6], w[6:8]):
        x = leaky(conv2d(x, weight, bias))
        x = dropped(x, dropout) if dropout else x
    x = x.flatten(1)
    x = dropped(x, dropout) if dropout else x
    return sigmoid(x @ w[8].T + w[9])[:, 0]


def upsample_by_hand(
    g: Sequence[Tensor], d: Sequence[Tensor], real: Tensor, noise: torch.Generator
) -> ByHand:
    count = len(real)
    torch.manual_seed(SEED)
    g, d = learning(g), learning(d)

    fake = upsample_generator(g, torch.randn(count, 128, generator=noise).double()).detach()
    p_real, p_fake = (upsample_discriminator(d, x, dropout=0.4) for x in (real, fake))
    real_labels = 0 + 0.15 * torch.rand(count, dtype=torch.float64)
    fake_labels = 1 - 0.15 * torch.rand(count, dtype=torch.float64)
    d_loss = cross_entropy(
        torch.cat((p_real, p_fake)), torch.cat((real_labels, fake_labels))
    ).mean()
    d_gradients = torch.autograd.grad(d_loss, d)
    d_changes = [adam(gradient, lr=1e-5) for gradient in d_gradients]
    d = moved(d, d_changes)

    fake = upsample_generator(g, torch.randn(count, 128, generator=noise).double())
    g_loss = cross_entropy(upsample_discriminator(d, fake, dropout=0), 0.0).mean()
    g_gradients = torch.autograd.grad(g_loss, g)
    g_changes = [adam(gradient, lr=1e-4) for gradient in g_gradients]
    return ByHand(
        d_loss, g_loss, d_gradients, g_gradients, d_changes, g_changes, fake, p_real, p_fake
    )


def check_upsample(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    count = 2  # of the recipe's 128: convolutions in float64 are slow
    played = play("upsample-fashion", monkeypatch, batch_size=count, **settings)
    assert_brought_to(played.real, 0, 1)
    assert parameters(played.generator) == 2_155_137
    assert parameters(played.discriminator) == 1_113_345
    assert_normal_noise(played, 128)
    assert played.calls == [
        Call("G", count, training=True, learning=False),
        Call("D", count, training=True, learning=True),
        Call("D", count, training=True, learning=True),
        Call("G", count, training=True, learning=True),
        Call("D", count, training=False, learning=False),
    ]
    hand = upsample_by_hand(
        played.generator, played.discriminator, played.real.double(), played.noise
    )
    assert_same(played, hand)
    assert_adam(played, hand)
    # The high answer means generated; what is reported is the probability of being real.
    assert_close(played.step.scalars["d_real"], (1 - hand.p_real).mean())
    assert_close(played.step.scalars["d_fake"], (1 - hand.p_fake).mean())


def test_upsample_fashion(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recipes.get("upsample-fashion").settings["batch_size"] == 128
    check_upsample(monkeypatch)


# -- mirror-mnist: a dense pair, D's samples in one batch; the backward pass by hand too -----------

_SCALE, _ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def selu(x: Tensor) -> Tensor:
    return _SCALE * torch.where(x > 0, x, _ALPHA * (torch.exp(x) - 1))


def selu_slope(x: Tensor) -> Tensor:
    return _SCALE * torch.where(x > 0, 1.0, _ALPHA * torch.exp(x))


def mirror_generator(w: Sequence[Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """Samples (N, 784), and the hidden layer before its activation."""
    hidden = z @ w[0].T + w[1]
    return sigmoid(selu(hidden) @ w[2].T + w[3]), hidden


def mirror_generator_gradients(
    w: Sequence[Tensor], z: Tensor, hidden: Tensor, samples: Tensor, to_samples: Tensor
) -> list[Tensor]:
    to_output = to_samples * samples * (1 - samples)
    to_hidden = (to_output @ w[2]) * selu_slope(hidden)
    return [to_hidden.T @ z, to_hidden.sum(0), to_output.T @ selu(hidden), to_output.sum(0)]


def mirror_discriminator(w: Sequence[Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (N, 1), and both hidden layers before their activation."""
    hidden = x @ w[0].T + w[1]
    code = selu(hidden) @ w[2].T + w[3]
    return sigmoid(selu(code) @ w[4].T + w[5]), hidden, code


def mirror_discriminator_gradients(
    w: Sequence[Tensor], x: Tensor, hidden: Tensor, code: Tensor, to_logits: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Gradients of the weights and of x."""
    to_code = (to_logits @ w[4]) * selu_slope(code)
    to_hidden = (to_code @ w[2]) * selu_slope(hidden)
    of_weights = [
        *(to_hidden.T @ x, to_hidden.sum(0)),
        *(to_code.T @ selu(hidden), to_code.sum(0)),
        *(to_logits.T @ selu(code), to_logits.sum(0)),
    ]
    return of_weights, to_hidden @ w[0]


def mirror_by_hand(
    g: Sequence[Tensor], d: Sequence[Tensor], real: Tensor, noise: torch.Generator
) -> ByHand:
    count = len(real)

    fake, _ = mirror_generator(g, torch.randn(count, 100, generator=noise).double())
    both = torch.cat((fake, real.flatten(1)))
    labels = torch.cat((torch.zeros(count, 1), torch.ones(count, 1))).double()
    p, hidden, code = mirror_discriminator(d, both)
    d_loss = cross_entropy(p, labels).mean()
    d_gradients, _ = mirror_discriminator_gradients(
        d, both, hidden, code, (p - labels) / (2 * count)
    )
    d_changes = [rmsprop(gradient, lr=2e-4) for gradient in d_gradients]
    d = moved(d, d_changes)

    z = torch.randn(count, 100, generator=noise).double()
    fake, g_hidden = mirror_generator(g, z)
    misled, hidden, code = mirror_discriminator(d, fake)
    g_loss = cross_entropy(misled, 1.0).mean()
    _, to_fake = mirror_discriminator_gradients(d, fake, hidden, code, (misled - 1) / count)
    g_gradients = mirror_generator_gradients(g, z, g_hidden, fake, to_fake)
    g_changes = [rmsprop(gradient, lr=2e-4) for gradient in g_gradients]
    return ByHand(
        *(d_loss, g_loss, d_gradients, g_gradients, d_changes, g_changes),
        *(fake.reshape(-1, 1, 28, 28), p[count:], p[:count]),
    )


def check_mirror(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    played = play("mirror-mnist", monkeypatch, **settings)
    count = len(played.real)
    assert_brought_to(played.real, 0, 1)
    assert parameters(played.generator) == (100 + 1) * 150 + (150 + 1) * 784
    assert parameters(played.discriminator) == (784 + 1) * 150 + (150 + 1) * 100 + (100 + 1)
    assert_normal_noise(played, 100)
    assert played.calls == [
        Call("G", count, training=True, learning=False),
        Call("D", 2 * count, training=True, learning=True),
        Call("G", count, training=True, learning=True),
        Call("D", count, training=True, learning=False),
    ]
    hand = mirror_by_hand(
        played.generator, played.discriminator, played.real.double(), played.noise
    )
    assert_same(played, hand)
    assert_rmsprop(played, hand)
    assert_close(played.step.scalars["d_real"], hand.p_real.mean())
    assert_close(played.step.scalars["d_fake"], hand.p_fake.mean())


def test_mirror_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    check_mirror(monkeypatch)


# -- mlp-mnist: the vanilla GAN, with dropout in both phases ---------------------------------------


def mlp_generator(w: Sequence[Tensor], z: Tensor) -> Tensor:
    x = z
    for weight, bias in (w[0:2], w[2:4], w[4:6]):
        x = leaky(x @ weight.T + bias)
    x = x @ w[6].T + w[7]
    grown, shrunk = torch.exp(x), torch.exp(-x)
    return ((grown - shrunk) / (grown + shrunk)).reshape(-1, 1, 28, 28)  # tanh


def mlp_discriminator(w: Sequence[Tensor], x: Tensor) -> Tensor:
    x = x.flatten(1)
    for weight, bias in (w[0:2], w[2:4], w[4:6]):
        x = dropped(leaky(x @ weight.T + bias), 0.3)
    return sigmoid(x @ w[6].T + w[7])[:, 0]


def mlp_by_hand(
    g: Sequence[Tensor], d: Sequence[Tensor], real: Tensor, noise: torch.Generator
) -> ByHand:
    count = len(real)
    torch.manual_seed(SEED)
    g, d = learning(g), learning(d)

    fake = mlp_generator(g, torch.randn(count, 100, generator=noise).double()).detach()
    p_real, p_fake = mlp_discriminator(d, real), mlp_discriminator(d, fake)
    d_loss = cross_entropy(p_real, 1.0).mean() + cross_entropy(p_fake, 0.0).mean()
    d_gradients = torch.autograd.grad(d_loss, d)
    d_changes = [adam(gradient, lr=2e-4) for gradient in d_gradients]
    d = moved(d, d_changes)

    fake = mlp_generator(g, torch.randn(count, 100, generator=noise).double())
    g_loss = -torch.log(mlp_discriminator(d, fake)).mean()  # non-saturating
    g_gradients = torch.autograd.grad(g_loss, g)
    g_changes = [adam(gradient, lr=2e-4) for gradient in g_gradients]
    return ByHand(
        d_loss, g_loss, d_gradients, g_gradients, d_changes, g_changes, fake, p_real, p_fake
    )


def check_mlp(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    played = play("mlp-mnist", monkeypatch, **settings)
    count = len(played.real)
    assert_brought_to(played.real, -1, 1)
    assert parameters(played.generator) == 1_486_352
    assert parameters(played.discriminator) == 1_460_225
    assert_normal_noise(played, 100)
    assert played.calls == [
        Call("G", count, training=True, learning=False),
        Call("D", count, training=True, learning=True),
        Call("D", count, training=True, learning=True),
        Call("G", count, training=True, learning=True),
        Call("D", count, training=True, learning=False),
    ]
    hand = mlp_by_hand(played.generator, played.discriminator, played.real.double(), played.noise)
    assert_same(played, hand)
    assert_adam(played, hand)
    assert_close(played.step.scalars["d_real"], hand.p_real.mean())
    assert_close(played.step.scalars["d_fake"], hand.p_fake.mean())


def test_mlp_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recipes.get("mlp-mnist").settings["batch_size"] == 100
    check_mlp(monkeypatch)
