"""Gradient penalty on interpolates of WGAN-GP."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field

from ganzoo.penalties.base import Penalty
from ganzoo.penalties.gradients import gradients, logits_at, one_of_each

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step
    from ganzoo.penalties.gradients import Discriminator

__all__ = ["GradientPenalty", "NormPenalty"]


class NormPenalty(Penalty):
    """The mean squared distance of the norms of D's gradients from a target."""

    second_order: ClassVar[bool] = True
    per_sample: ClassVar[bool] = True
    instead: ClassVar[str] = "approximate-r1"

    weight: float = Field(10.0, ge=0, allow_inf_nan=False, description="factor of the term")
    target: float = Field(1.0, ge=0, allow_inf_nan=False, description="norm without penalty")
    one_sided: bool = Field(False, description="leave norms below the target without penalty")

    def of(self, logits: Tensor, samples: Tensor) -> Tensor:
        """Return E (|grad D| - target)^2, a scalar.

        Args:
            logits: D's (N,) or (N, K).
            samples: (N, *shape), where the gradients are taken.
        """
        # Where a gradient vanishes, the root's derivative is infinite; vector_norm takes 0.
        norms: Tensor = torch.linalg.vector_norm(gradients(logits, samples).flatten(1), dim=1)
        excess = norms - self.target
        return (excess.relu() if self.one_sided else excess).square().mean()


class GradientPenalty(NormPenalty):
    """WGAN-GP: gradients have norm 1 between real and generated samples.

    Gulrajani et al. 2017, arXiv:1704.00028, eq. 3: E (|grad D(y)| - 1)^2 with
    y = u x + (1 - u) G(z) and one u from U(0, 1) for each sample. Each y costs D a forward pass
    of its own. One-sided as discussed there in section 4.
    """

    name: ClassVar[str] = "gp"
    citation: ClassVar[str] = (
        'Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", arXiv:1704.00028'
    )

    def value(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Return the penalty of a critic; a scalar.

        Args:
            discriminator: ``(samples, labels) -> logits`` (N,) or (N, K), or an ``Output``.
            real: Real samples (N, *shape).
            fake: Generated samples (N, *shape).
            labels: Of both (N,), or None.
        """
        real, fake = real.detach(), fake.detach().to(real.dtype)
        share = one_of_each(real, discriminator)
        between = torch.lerp(fake, real, share).requires_grad_()
        logits = logits_at(discriminator, between, labels)
        return self.of(logits, between)

    def penalty(self, step: Step) -> Tensor:
        """Return E (|grad D(y)| - target)^2, a scalar."""
        assert step.real is not None
        return self.value(step.discriminator, step.real, step.fake, step.labels)
