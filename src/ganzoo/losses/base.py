"""The contract of a loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ganzoo.core.component import Component
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Play, Step

__all__ = ["Loss"]


class Loss(Component):
    """What both players minimise.

    The simple form overrides ``discriminator`` and ``generator`` and sees logits. The general
    form overrides ``discriminator_loss`` and ``generator_loss`` and sees the whole ``Step``.
    Logits are (N,), or (N, K) where D returns K of each sample: losses take the mean over all.
    A loss with state builds it in ``build``, and one with nets of its own in ``nets``. A method
    whose iteration is not D's updates and then G's overrides ``iteration``.
    """

    kind: ClassVar[str] = "loss"
    generator_sees_real: ClassVar[bool] = False
    """Whether ``generator`` needs D's logits of real samples (relativistic losses do)."""
    probability: ClassVar[bool] = False
    """Whether ``score`` is a probability, in [0, 1], of being real."""

    wants: ClassVar[frozenset[str]] = frozenset()
    """What it needs of D's outputs: ``classes``, ``features``.

    One that says something, and not ``classes``, is taken not to train D's class logits. With
    ``features``, outputs have the inputs of D's last layer where D returns none itself. What
    ``build`` returns may then have lazy layers (``nn.LazyLinear``): they are sized by them.
    """
    whole_batch: ClassVar[bool] = False
    """Whether it is of the batch as a whole, such as of its mean, and not a mean over samples.

    Micro-batches (``accumulate``) change it: a notice says so.
    """
    relative: ClassVar[bool] = False
    """Whether only differences of logits matter, so that their signs say nothing (a critic's)."""
    schedulable: ClassVar[tuple[str, ...]] = ()
    """Options that ``schedules`` may set by ``loss.OPTION``, such as a weight."""
    trained_with: ClassVar[Literal["generator", "discriminator"]] = "generator"
    """The player whose optimizer trains the parameters of what ``build`` returns."""

    def build(self, spec: SampleSpec, latent: LatentSpec) -> Any:
        """Return what the loss remembers between steps, or None; ``step.built`` has it.

        It is an ``nn.Module``, whose parameters are trained with ``trained_with``, or an object
        with ``state`` and ``restore``. Checkpoints hold its state.
        """
        return None

    def nets(self, spec: SampleSpec, latent: LatentSpec) -> Mapping[str, nn.Module]:
        """Return further nets of the method, by name, such as an encoder.

        Each has an optimizer with the settings of G's, and a moving average. ``iteration``
        trains them.
        """
        return {}

    def iteration(self, game: Play, batch: Callable[[], tuple[Tensor, Tensor | None]]) -> Step:
        """Play one iteration, D's updates and then G's, and return the step of the last.

        ``batch`` returns fresh real samples (N, *shape) with labels (N,) or None.
        """
        for _ in range(game.d_steps):
            real, labels = batch()
            game.update_discriminator(real, labels)
        for _ in range(game.g_steps):
            fresh = batch() if game.generator_sees_real else (None, labels)
            step = game.update_generator(len(real), *fresh)
        return step

    instead: ClassVar[str] = ""
    """The loss to try where G's gradients vanish because D is too sure, if this one causes it."""

    def softer(self) -> Sequence[str]:
        """Return options of the command line by which D becomes less sure, best first."""
        return ()

    def small_gradients(self) -> tuple[str, str] | None:
        """Return why G's gradients may be small though D is not sure, and an option against it."""
        return None

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

    def realness(self, logits: Tensor) -> Tensor:
        """Return D's logits turned and shifted so that D takes samples above 0 for real.

        Of no use where only differences matter (``relative``).
        """
        return logits

    def constrain(self, discriminator: nn.Module) -> None:
        """Restrict D's weights after each of its updates (WGAN's clipping)."""
