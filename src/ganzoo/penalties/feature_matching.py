"""Feature matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ganzoo.errors import ConfigError
from ganzoo.penalties.base import Penalty, Player

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step

__all__ = ["FeatureMatching"]


class FeatureMatching(Penalty):
    """G matches the mean of D's features of real samples.

    Salimans et al. 2016, arXiv:1606.03498, sec. 3.1: |E f(x) - E f(G(z))|^2, here the mean over
    features instead of the sum, so that the weight does not depend on their number. The features f
    are those that D returns, or the inputs of D's last layer.
    """

    name: ClassVar[str] = "feature-matching"
    citation: ClassVar[str] = (
        'Salimans et al. 2016, "Improved Techniques for Training GANs", arXiv:1606.03498'
    )
    player: ClassVar[Player] = "generator"
    wants: ClassVar[frozenset[str]] = frozenset({"features"})
    generator_sees_real: ClassVar[bool] = True
    whole_batch: ClassVar[bool] = True

    def value(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the penalty of features (N, *shape) of real and generated samples; a scalar."""
        return (real.float().mean(0) - fake.float().mean(0)).square().mean()

    def penalty(self, step: Step) -> Tensor:
        """Return the penalty, a scalar.

        Raises:
            ConfigError: If the loss has an iteration of its own that leaves out real samples.
        """
        if step.real_output is None:
            raise ConfigError(
                "Penalty 'feature-matching' needs real samples in G's phase, and this loss plays "
                "it without. Pass a fresh batch to update_generator where game.generator_sees_real."
            )
        assert step.fake_output is not None
        real, fake = step.real_output.features, step.fake_output.features
        assert real is not None and fake is not None
        return self.value(real, fake)
