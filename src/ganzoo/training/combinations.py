"""What cannot be combined, or is better not, found by trying it before training."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from ganzoo.core import seeds
from ganzoo.core.nets import across_batch
from ganzoo.core.step import Output, packed
from ganzoo.errors import ConfigError, ContractError, UnsupportedSampleError
from ganzoo.losses.base import Loss
from ganzoo.training.parts import named

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.architectures.base import Architecture
    from ganzoo.core.component import Component
    from ganzoo.core.spec import SampleSpec
    from ganzoo.penalties import Penalty
    from ganzoo.training.game import Game

__all__ = [
    "check_batch",
    "check_classes",
    "check_joint_batch",
    "check_packing",
    "check_second_derivatives",
    "check_signs",
    "notices",
]

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
        first = next(penalty for penalty in penalties if penalty.player == player)
        with seeds.preserve_rng_state(game.noise.device):
            net = copy.deepcopy(game.net(player))
            fault = _fault(game, player, spec, net)
            augmented = ""
            if not fault and player == "discriminator" and game.augmentation is not None:
                module = copy.deepcopy(game.augmentation[1])
                augmented = _fault(game, player, spec, net, module)
        if fault:
            raise ConfigError(_refusal(first, player, arch, fault))
        if augmented and game.augmentation is not None:
            raise ConfigError(
                f"Penalty '{first.name}' differentiates a gradient, and augmentation "
                f"'{game.augmentation[0].name}' has no second derivative here ({augmented}). "
                f"{_instead(first)}, or another augmentation."
            )


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


def check_classes(game: Game, arch: Architecture, spec: SampleSpec) -> None:
    """Refuse losses and penalties on classes where D tells none, and a D that tells them to none.

    Raises:
        ConfigError: With what to give instead.
        ContractError: If D returns class logits of another number than there are classes.
    """
    components: list[Component] = [game.loss, *(term.penalty for term in game.terms)]
    wanting = [each for each in components if "classes" in getattr(each, "wants", ())]
    if spec.classes is None:
        if wanting:
            raise ConfigError(
                f"{named(wanting[0])} needs labels, and this training has none. Give data with "
                f"labels and set conditional=True (--conditional)."
            )
        return
    found = _tried(game, spec)
    if found is None:
        return
    if found.classes is None and wanting:
        raise ConfigError(
            f"{named(wanting[0])} needs class logits of the discriminator, and that of "
            f"architecture '{arch.name}' returns none as it is set. {_auxiliary(arch)}"
        )
    if found.classes is not None and tuple(found.classes.shape) != (_TRIED, len(spec.classes)):
        raise ContractError(
            f"The discriminator of architecture '{arch.name}' returns class logits of shape "
            f"{tuple(found.classes.shape)} for {_TRIED} samples of {len(spec.classes)} classes. "
            f"Return (N, {len(spec.classes)})."
        )
    # A loss of the general form may use classes where there are some, and say nothing of it.
    simple = type(game.loss).discriminator_loss is Loss.discriminator_loss
    if found.classes is not None and (simple or game.loss.wants) and not wanting:
        raise ConfigError(
            f"The discriminator of architecture '{arch.name}' tells classes, and neither loss "
            f"'{game.loss.name}' nor a penalty trains it to, so that samples would not follow "
            f"their labels. Add penalty 'auxiliary-classifier' (--penalties auxiliary-classifier), "
            f"or take another way for labels to enter the discriminator."
        )


def check_batch(game: Game, batch_size: int) -> None:
    """Refuse batches that are too small for a penalty.

    Raises:
        ConfigError: With what to give instead.
    """
    count = batch_size // game.accumulate
    for term in game.terms:
        if count < (least := term.penalty.min_batch):
            raise ConfigError(
                f"{named(term.penalty)} needs at least {least} samples at a time, and there is "
                f"{count} (batch_size {batch_size}, accumulate {game.accumulate}). Give a "
                f"batch_size of at least {least * game.accumulate}, or leave the penalty out."
            )


def check_joint_batch(game: Game, arch: Architecture) -> None:
    """Refuse real and generated samples in one batch that is normalised over both.

    Raises:
        ConfigError: With the reason and the way out.
    """
    layer = "batch norm"
    if game.joint_batch and layer in across_batch(game.discriminator):
        option, value = _OPTIONS[layer]
        other = "take an architecture without it"
        if option in type(arch).model_fields:
            other = f"set the architecture's {option} to {value} (--arch.{option} {value})"
        raise ConfigError(
            f"joint_batch shows D real and generated samples in one batch, and {layer} in that of "
            f"'{arch.name}' then tells them apart: training is known to collapse. Leave "
            f"joint_batch off, or {other}."
        )


def check_packing(game: Game, arch: Architecture, spec: SampleSpec) -> None:
    """Refuse packs where a pack has no one label, or a method reads features of single samples.

    Raises:
        ConfigError: With the reason and the way out.
    """
    if game.packing == 1:
        return
    if spec.classes is not None:
        raise ConfigError(
            f"D sees {game.packing} samples together (packing), and their labels differ, so that "
            f"conditional training has no label for a pack. Set packing to 1, or leave conditional "
            f"off."
        )
    if "features" in game.loss.wants:
        raise ConfigError(
            f"Loss '{game.loss.name}' reads D's features of each sample, and with packing D has "
            f"those of {game.packing} samples together. Set packing to 1, or take another loss."
        )
    try:
        arch.check(spec.packed(game.packing))
    except UnsupportedSampleError as error:
        raise ConfigError(f"With packing {game.packing}: {error} Or set packing to 1.") from error


def _auxiliary(arch: Architecture) -> str:
    if "d_condition" in type(arch).model_fields:
        return "Set its option d_condition to auxiliary (--arch.d_condition auxiliary)."
    return "Take an architecture whose discriminator returns an Output with classes."


def _tried(game: Game, spec: SampleSpec) -> Output | None:
    """What a copy of D says of a few samples; None where it fails, which is checked elsewhere."""
    with seeds.preserve_rng_state(game.noise.device), torch.no_grad(), suppress(Exception):
        return Output.of(copy.deepcopy(game.discriminator)(*_inputs(game, "discriminator", spec)))
    return None


def _inputs(game: Game, player: str, spec: SampleSpec) -> tuple[Tensor, Tensor | None]:
    """A few inputs of a net, and labels where there are classes."""
    device = game.noise.device
    inputs = torch.randn(_TRIED, *spec.packed(game.packing).shape, device=device)
    if player == "generator":
        inputs = game.latent.sample(_TRIED, device=device)
    labels = None
    if spec.classes is not None:
        labels = torch.zeros(_TRIED, dtype=torch.int64, device=device)
    return inputs, labels


def _fault(
    game: Game, player: str, spec: SampleSpec, net: nn.Module, before: nn.Module | None = None
) -> str:
    """Return torch's words on a second derivative that there is not, or ''."""
    inputs, labels = _inputs(game, player, spec)
    if before is not None:  # single samples, which are packed behind it
        inputs = torch.randn(_TRIED * game.packing, *spec.shape, device=inputs.device)
    inputs.requires_grad_()
    try:
        with torch.enable_grad(), game.precision():
            seen = inputs if before is None else packed(before(inputs), game.packing)
            found = net(seen, labels)
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
    way = f"{_instead(penalty)}, or take an architecture without that layer."
    if penalty.instead:
        way = f"{_instead(penalty)}."
    return (
        f"Penalty '{penalty.name}' differentiates a gradient, and a layer in the {player} of "
        f"architecture '{arch.name}' has no second derivative here ({fault}). {way}"
    )


def _instead(penalty: Penalty) -> str:
    if penalty.instead:
        return f"Take penalty '{penalty.instead}', which needs none"
    return "Leave the penalty out"


def notices(game: Game, arch: Architecture) -> list[str]:
    """Return what can be combined but is better not, a line each."""
    found = []
    layers = {layer: None for net in game.nets().values() for layer in across_batch(net)}
    whole = [f"{' and '.join(layers)} in '{arch.name}'"] if layers else []
    parts: list[Loss | Penalty] = [game.loss, *(term.penalty for term in game.terms)]
    whole += [named(part) for part in parts if part.whole_batch]
    if game.accumulate > 1:
        found += [
            f"{each} sees the micro-batches of accumulate={game.accumulate} one by one, not the "
            f"whole batch: results are those of smaller batches in this alone."
            for each in whole
        ]
    single = [term.penalty.name for term in game.terms if term.penalty.per_sample]
    augmentation = game.augmentation[0] if game.augmentation is not None else None
    for layer in across_batch(game.discriminator):
        if game.joint_batch:
            found.append(
                f"joint_batch shows '{arch.name}' real and generated samples in one batch, whose "
                f"{layer} then looks at both at once. Leave joint_batch off."
            )
        if augmentation is not None and augmentation.without_signs and layer == "batch norm":
            found.append(
                f"augmentation '{augmentation.name}' takes sure signs of D's logits for "
                f"overfitting, and batch norm in that of '{arch.name}', which sees real and "
                f"generated batches apart, makes them sure of unseen samples too. "
                f"{_without(arch, layer)} 'diffaugment'."
            )
        source = ": its paper leaves it out" if layer == "batch norm" else ""
        for name in single:
            found.append(
                f"penalty '{name}' is meant for a discriminator that judges each sample by itself, "
                f"and {layer} in that of '{arch.name}' looks at the whole batch{source}. "
                f"{_without(arch, layer)} penalty 'r1'."
            )
    return found


_OPTIONS = {"batch norm": ("d_norm", "layer"), "minibatch deviation": ("d_deviation", "0")}
"""By a layer that looks at the whole batch, the option and value that replace it."""


def _without(arch: Architecture, layer: str) -> str:
    option, value = _OPTIONS.get(layer, ("", ""))
    if option in type(arch).model_fields:
        return f"Set its option {option} to {value} (--arch.{option} {value}), or take"
    return "Take an architecture without it, or"
