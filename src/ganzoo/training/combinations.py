"""What cannot be combined, or is better not, found by trying it before training."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from ganzoo.core import seeds
from ganzoo.core.nets import uses_batch_norm
from ganzoo.core.step import Output
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.architectures.base import Architecture
    from ganzoo.core.spec import SampleSpec
    from ganzoo.penalties import Penalty
    from ganzoo.training.game import Game

__all__ = ["check_second_derivatives", "check_signs", "notices"]

_TRIED = 2  # samples


def check_second_derivatives(game: Game, arch: Architecture, spec: SampleSpec) -> None:
    """Try the second derivatives that penalties need, on copies of the nets.

    Random generators stay as they are. A net that fails before its second derivative is left to
    the checks of the first iteration.

    Raises:
        ConfigError: If a layer has none, with the penalty and what to take instead.
    """
    penalties = [term.penalty for term in game.terms if term.penalty.second_order]
    for player in sorted({penalty.player for penalty in penalties}):
        with seeds.preserve_rng_state(game.noise.device):
            fault = _fault(game, player, spec)
        if fault:
            first = next(penalty for penalty in penalties if penalty.player == player)
            raise ConfigError(_refusal(first, player, arch, fault))


def check_signs(game: Game) -> None:
    """Refuse an augmentation that reads signs of logits, where a loss leaves them open.

    Raises:
        ConfigError: With what to take instead.
    """
    if game.augmentation is None or not game.loss.relative:
        return
    augmentation = game.augmentation[0]
    if augmentation.without_signs:
        raise ConfigError(
            f"Augmentation '{augmentation.name}' adapts to the signs of D's logits, and under loss "
            f"'{game.loss.name}' only differences of logits mean anything. "
            f"{augmentation.without_signs}"
        )


def _fault(game: Game, player: str, spec: SampleSpec) -> str:
    """Return torch's words on a second derivative that there is not, or ''."""
    device = game.noise.device
    net = copy.deepcopy(game.net(player))
    inputs = torch.randn(_TRIED, *spec.shape, device=device)
    if player == "generator":
        inputs = game.latent.sample(_TRIED, device=device)
    labels = None
    if spec.classes is not None:
        labels = torch.zeros(_TRIED, dtype=torch.int64, device=device)
    inputs.requires_grad_()
    try:
        with torch.enable_grad(), game.precision():
            found = net(inputs, labels)
            result: Tensor = found.logits if isinstance(found, Output) else found
        (slope,) = torch.autograd.grad(result.float().sum(), inputs, create_graph=True)
    except Exception:
        return ""
    try:
        slope.square().sum().backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, NotImplementedError) as error:
        return str(error).strip().partition("\n")[0]
    return ""


def _refusal(penalty: Penalty, player: str, arch: Architecture, fault: str) -> str:
    way = "Leave the penalty out, or take an architecture without that layer."
    if penalty.instead:
        way = f"Take penalty '{penalty.instead}', which needs none."
    return (
        f"Penalty '{penalty.name}' differentiates a gradient, and a layer in the {player} of "
        f"architecture '{arch.name}' has no second derivative here ({fault}). {way}"
    )


def notices(game: Game, arch: Architecture, *, joint_batch: bool) -> list[str]:
    """Return what can be combined but is better not, a line each."""
    if not uses_batch_norm(game.discriminator):
        return []
    found = []
    if joint_batch:
        found.append(
            f"joint_batch shows '{arch.name}' real and generated samples in one batch, whose batch "
            f"norm then tells them apart: training is known to collapse. Leave joint_batch off."
        )
    for term in game.terms:
        if term.penalty.per_sample:
            found.append(
                f"penalty '{term.penalty.name}' is meant for a discriminator that judges each "
                f"sample by itself, and batch norm in that of '{arch.name}' looks at the whole "
                f"batch: its paper leaves it out. Take an architecture without it, or penalty 'r1'."
            )
    return found
