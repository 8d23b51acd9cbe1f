"""The contract of a loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from ganzoo.core.component import Component
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.core.step import Step

__all__ = ["Loss"]


class Loss(Component):
    """What both players minimise.

    The simple form overrides ``discriminator`` and ``generator`` and sees logits. The general
    form overrides ``discriminator_loss`` and ``generator_loss`` and sees the whole ``Step``.
    Logits are (N,), or (N, K) where D returns K of each sample: losses take the mean over all.
    """

    kind: ClassVar[str] = "loss"
    generator_sees_real: ClassVar[bool] = False
    """Whether ``generator`` needs D's logits of real samples (relativistic losses do)."""
    probability: ClassVar[bool] = False
    """Whether ``score`` is a probability, in [0, 1], of being real."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss from its logits of real and fake samples, each (N,) or (N, K); a scalar."""
        raise ConfigError(f"Loss '{self.name}' has no discriminator loss: override one of the two.")

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss from D's logits (N,) or (N, K).

        ``real`` is given where ``generator_sees_real``; a loss without that may leave it out.
        """
        raise ConfigError(f"Loss '{self.name}' has no generator loss: override one of the two.")

    def discriminator_loss(self, step: Step) -> Tensor:
        """D's loss from everything that D's phase knows; a scalar."""
        assert step.real_output is not None and step.fake_output is not None
        return self.discriminator(step.real_output.logits, step.fake_output.logits)

    def generator_loss(self, step: Step) -> Tensor:
        """G's loss from everything that G's phase knows; a scalar."""
        assert step.fake_output is not None
        if not self.generator_sees_real:
            return self.generator(step.fake_output.logits)
        assert step.real_output is not None
        return self.generator(step.fake_output.logits, step.real_output.logits)

    @property
    def d_range(self) -> tuple[float, float] | None:
        """D's loss where it tells all samples apart, and the least where it guesses.

        None where these are not known or there is no least loss, as of a critic. That of a
        cross-entropy where ``probability`` is set.
        """
        return (0.0, 2 * math.log(2)) if self.probability else None

    def score(self, logits: Tensor) -> Tensor:
        """What progress shows as D(x): a probability of being real, or the raw critic score."""
        return logits

    def constrain(self, discriminator: nn.Module) -> None:
        """Restrict D's weights after each of its updates (WGAN's clipping)."""
