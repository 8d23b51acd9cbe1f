"""The check of a loss."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganzoo import losses
from ganzoo.core import seeds
from ganzoo.core.nets import sized
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Judge, Output, Step
from ganzoo.errors import ContractError
from ganzoo.losses import Loss
from ganzoo.testing.component import SPECS, checked
from ganzoo.training import contract

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_loss"]

_BATCH = 4
_CLASSES = 3
_HEADS = 3  # logits of one sample
_TOLERANCE = 1e-4
_LATENT = LatentSpec(shape=(7,), categorical=(3,), continuous=2)  # with codes, for those who ask


def check_loss(component: str | type[Loss] | Loss, spec: SampleSpec | None = None) -> None:
    """Check that a loss keeps its contract.

    Both players' losses must be finite scalars with finite gradients that reach the player, also
    for logits of -100 and 100, and depend on real and on fake samples; of several logits for each
    sample the simple form must take the mean. ``score`` must give one value per logit and
    ``constrain`` must leave finite weights.

    Args:
        component: The loss, its class or its registered name.
        spec: What a sample is; by default the first of a small RGB image and a vector that the
            loss can do.

    Raises:
        AssertionError: If it breaks the contract.
        GanzooError: If the component cannot be created.
    """
    with checked(component, losses.registry) as loss:
        _check_players(loss, (spec,) if spec else SPECS[:2])
        score = contract.check_score(loss, torch.linspace(-3, 3, _BATCH))
        contract.require(
            bool(score.isfinite().all()),
            "score() returned values that are not finite for logits between -3 and 3.",
        )
        critic = _TinyDiscriminator(1.0, SPECS[1])
        contract.constrain(loss, critic)
        contract.require(
            all(bool(weight.isfinite().all()) for weight in critic.parameters()),
            "constrain() left weights that are not finite.",
        )


class _TinyDiscriminator(nn.Module):
    """Logits of about ``scale``, and class logits and features for losses that want them.

    ``heads`` is how many logits of each sample there are, all the same; None makes them (N,).
    """

    def __init__(self, scale: float, spec: SampleSpec, heads: int | None = None) -> None:
        super().__init__()
        self.scale, self.shape, self.heads = scale, spec.shape, heads
        self.logits = nn.Linear(spec.numel, 1)
        self.classes = nn.Linear(spec.numel, _CLASSES)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Output:
        if x.shape[1:] != self.shape:  # as a convolution would
            raise RuntimeError(f"samples have shape {tuple(x.shape)}, not (N, *{self.shape})")
        flat = x.flatten(1)
        # The sign alternates, so that both ends are seen whatever the weights are.
        signs = torch.ones(len(x)).index_fill(0, torch.arange(0, len(x), 2), -1.0)
        logits = self.scale * (signs + 0.1 * torch.tanh(self.logits(flat).squeeze(1)))
        if self.heads is not None:
            logits = logits[:, None].expand(-1, self.heads) * 1.0
        return Output(logits, self.classes(flat), flat)


def _tiny_step(loss: Loss, scale: float, spec: SampleSpec, heads: int | None = None) -> Step:
    generator = nn.Sequential(nn.Linear(_LATENT.numel, spec.numel), nn.Unflatten(1, spec.shape))
    discriminator, latent = _TinyDiscriminator(scale, spec, heads), _LATENT.sample(_BATCH)
    built = loss.build(spec, _LATENT)
    return Step(
        number=0,
        generator=generator,
        discriminator=Judge(discriminator),
        latent=latent,
        fake=generator(latent),
        labels=torch.arange(_BATCH) % _CLASSES,
        built=sized(built, discriminator, spec) if isinstance(built, nn.Module) else built,
    )


def _check_players(loss: Loss, specs: Iterable[SampleSpec]) -> None:
    """Check both players' losses on the first kind of samples that the loss can do."""
    faults = []
    for spec in specs:
        try:
            for scale in (0.5, 100.0):
                for player in ("discriminator", "generator"):
                    _check_player(loss, player, _tiny_step(loss, scale, spec), scale)
            _check_heads(loss, spec)
        except ContractError as error:
            if error.__cause__ is None:  # it can do them, and wrongly
                raise
            faults.append(error)
        else:
            return
    raise faults[0]


def _phase(loss: Loss, player: str, step: Step, real: Tensor) -> Tensor:
    """One player's loss, as its phase of the game has it."""
    of_g = player == "generator"
    if of_g:
        step.discriminator.requires_grad_(False)
    else:
        step.fake = step.fake.detach()
    if not of_g or loss.generator_sees_real:
        step.real, step.real_output = real, step.discriminator(real, step.labels)
    step.fake_output = step.discriminator(step.fake, step.labels)
    return contract.loss_of(loss, player, step)


def _check_player(loss: Loss, player: str, step: Step, scale: float) -> None:
    of_g, real = player == "generator", torch.randn(step.fake.shape)
    again = copy.deepcopy(step.discriminator)
    with seeds.preserve_rng_state(real.device):
        value = _phase(loss, player, step, real)
    contract.check_loss_finite(value, player, scale)
    sides = {"real": (real, step.real_output), "fake": (step.fake, step.fake_output)}
    logits = {side: output.logits for side, (_, output) in sides.items() if output is not None}
    asked = [] if of_g else list(logits.values())
    weights = (step.generator if of_g else step.discriminator).parameters()
    gradients = torch.autograd.grad(value, [*asked, *weights], allow_unused=True)
    contract.check_loss_reaches(player, gradients)
    if not of_g and scale < 1:
        for side, gradient in zip(logits, gradients, strict=False):
            contract.check_logits_used(
                side, gradient is not None or _depends(loss, step, again, side, value)
            )
    contract.check_loss_finite(value, player, scale, gradients)
    for side, before in logits.items():
        contract.check_logits_kept(step.discriminator(sides[side][0], step.labels).logits, before)


def _depends(loss: Loss, step: Step, judge: Any, side: str, before: Tensor) -> bool:
    """Whether D's loss changes with the samples of one side, which it may have judged itself."""
    assert step.real is not None
    other, real = replace(step, discriminator=judge), step.real
    if side == "real":
        real = 1.5 - real
    else:
        other.fake = 1.5 - step.fake
    with seeds.preserve_rng_state(real.device):
        return not torch.equal(_phase(loss, "discriminator", other, real), before)


def _check_heads(loss: Loss, spec: SampleSpec) -> None:
    """Check the simple form on several logits of each sample, all the same."""
    for player in ("discriminator", "generator"):
        general = f"{player}_loss"
        if getattr(type(loss), general) is not getattr(Loss, general):
            continue
        values = []
        for heads, seed in ((None, 1), (None, 2), (_HEADS, 1)):
            torch.manual_seed(0)
            step = _tiny_step(loss, 0.5, spec, heads)
            real = torch.randn(step.fake.shape)
            torch.manual_seed(seed)
            values.append(_phase(loss, player, step, real).item())
        one, other, several = values
        contract.require(
            one != other or math.isclose(one, several, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE),
            f"The {player}'s loss is {several:.4g} where D returns {_HEADS} logits of each sample, "
            f"(N, {_HEADS}), and {one:.4g} for the same logits as (N,). Take the mean over all.",
        )
