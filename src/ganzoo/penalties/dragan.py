"""Gradient penalty around real samples of DRAGAN."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field

from ganzoo.penalties.gradient_penalty import NormPenalty
from ganzoo.penalties.gradients import logits_at, one_of_each

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step
    from ganzoo.penalties.gradients import Discriminator

__all__ = ["Dragan"]


class Dragan(NormPenalty):
    """DRAGAN: gradients have norm 1 in the neighbourhood of real samples.

    Kodali et al. 2017, arXiv:1705.07215, eq. 1: E (|grad D(x + d)| - 1)^2. As in the authors'
    program d = u v s: u from U(0, 1) once and v from U(0, ``spread``) for each number of a sample,
    s the standard deviation of the batch. Each x + d costs D a forward pass of its own.
    """

    name: ClassVar[str] = "dragan"
    citation: ClassVar[str] = (
        'Kodali et al. 2017, "On Convergence and Stability of GANs", arXiv:1705.07215'
    )
    whole_batch: ClassVar[bool] = True

    spread: float = Field(
        0.5, gt=0, allow_inf_nan=False, description="largest distance, in standard deviations"
    )

    def value(
        self, discriminator: Discriminator, real: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Return the penalty of a discriminator; a scalar.

        Args:
            discriminator: ``(samples, labels) -> logits`` (N,) or (N, K), or an ``Output``.
            real: Real samples (N, *shape).
            labels: Theirs (N,), or None.
        """
        real = real.detach()
        share = one_of_each(real, discriminator)
        moved = torch.rand_like(real) * real.std(correction=0) * self.spread
        near = (real + share * moved).requires_grad_()
        logits = logits_at(discriminator, near, labels)
        return self.of(logits, near)

    def penalty(self, step: Step) -> Tensor:
        """Return E (|grad D(x + d)| - target)^2, a scalar."""
        assert step.real is not None
        return self.value(step.discriminator, step.real, step.labels)
