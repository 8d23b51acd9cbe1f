"""What a training expects of a loss; see ``contract``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ganzoo.training.contract import blaming, describe, require, same

if TYPE_CHECKING:
    from ganzoo.core.step import Step
    from ganzoo.losses.base import Loss

__all__ = [
    "check_logits_kept",
    "check_logits_used",
    "check_loss_finite",
    "check_loss_reaches",
    "check_scalar",
    "check_score",
    "constrain",
    "loss_of",
]


def loss_of(loss: Loss, player: str, step: Step) -> Tensor:
    """Return one player's loss of a phase: a scalar that has a gradient."""
    with blaming(f"The {player}'s loss", lambda error: _why(loss, step, str(error))):
        of_g = player == "generator"
        value: Any = loss.generator_loss(step) if of_g else loss.discriminator_loss(step)
    return check_scalar(value, player)


def _why(loss: Loss, step: Step, error: str) -> str:
    """What a loss that raised had: shapes, what is None in this phase, and how to get it."""
    logits = None if step.fake_output is None else tuple(step.fake_output.logits.shape)
    text = f"Its logits have shape {logits}, and samples {tuple(step.fake.shape)}."
    if loss.generator_sees_real and "positional argument" in error:
        text = (
            f"With generator_sees_real set, G's half is generator(fake, real), and without it "
            f"generator(fake). {text}"
        )
    absent = [name for name in ("labels", "real", "real_output") if getattr(step, name) is None]
    for side in ("real_output", "fake_output"):
        output = getattr(step, side)
        parts = () if output is None else ("classes", "features")
        absent += [f"{side}.{part}" for part in parts if getattr(output, part) is None]
    if absent:
        text += f" In this phase these are None: step.{', step.'.join(absent)}."
    if step.real is None:
        text += (
            " G's phase has real samples where the loss says generator_sees_real: ClassVar[bool] = "
            "True."
        )
    return text


def check_scalar(value: Any, player: str) -> Tensor:
    """Check that a loss is a scalar on the graph, without a host-device sync."""
    require(
        isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point(),
        f"The {player}'s loss must be a scalar tensor of shape (); it is {describe(value)}. Return "
        f"the mean over the batch, computed from the logits by tensors, without item() or float().",
    )
    require(
        value.requires_grad,
        f"The {player}'s loss has no gradient: compute it from the logits, without detach, "
        f"item() or no_grad.",
    )
    scalar: Tensor = value
    return scalar


def check_loss_finite(
    value: Tensor, player: str, scale: float, gradients: Sequence[Tensor | None] = ()
) -> None:
    """Check that a loss, and its gradients, are finite for logits that are so far from 0."""
    sound = bool(value.isfinite())
    what, found = "gradient of the loss", "not finite"
    if not sound:
        what, found = "loss", str(value.item())
    require(
        sound and all(each is None or bool(each.isfinite().all()) for each in gradients),
        f"The {player}'s {what} is {found} for logits around +-{scale:.3g}. Use a stable form, "
        f"such as softplus or logsigmoid.",
    )


def check_loss_reaches(player: str, gradients: Sequence[Tensor | None]) -> None:
    """Check that a loss depends on its player, by the gradients of that one's parameters."""
    use = "the logits of fake samples" if player == "generator" else "its logits of both batches"
    require(
        any(gradient is not None for gradient in gradients),
        f"The {player}'s loss does not depend on the {player}: use {use}.",
    )


def check_logits_used(side: str, used: bool) -> None:
    """Check that D's loss depends on samples of that side, ``real`` or ``fake``."""
    require(used, f"The discriminator's loss does not depend on its logits of {side} samples.")


def check_logits_kept(before: Tensor, after: Tensor) -> None:
    """Check that a loss has left logits as they were."""
    require(
        same(before.detach(), after.detach()),
        "The loss changes the logits in place, which others still read; work on new tensors.",
    )


def check_score(loss: Loss, logits: Tensor) -> Tensor:
    """Return what a loss shows of logits, one value for each of them."""
    with blaming("score()", f"That was for logits of shape {tuple(logits.shape)}."):
        score: Any = loss.score(logits)
    require(
        isinstance(score, Tensor) and score.shape == logits.shape,
        f"score() must return one value per logit, shape {tuple(logits.shape)}; "
        f"it returned {describe(score)}.",
    )
    checked: Tensor = score
    return checked


def constrain(loss: Loss, discriminator: nn.Module) -> None:
    """Restrict D's weights as the loss wants it."""
    with blaming("constrain()", "It gets the discriminator."):
        loss.constrain(discriminator)
