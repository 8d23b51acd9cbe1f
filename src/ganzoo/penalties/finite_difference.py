"""R1 and R2 by finite differences, without a second derivative."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field

from ganzoo.core import seeds
from ganzoo.core.step import Judge
from ganzoo.penalties.base import Penalty
from ganzoo.penalties.gradients import logits_of, means

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step
    from ganzoo.penalties.gradients import Discriminator

__all__ = ["ApproximateR1", "ApproximateR2"]


class FiniteDifference(Penalty):
    """Half the mean squared slope of D along a random direction at samples."""

    citation: ClassVar[str] = (
        'Lin et al. 2025, "Diffusion Adversarial Post-Training for One-Step Video Generation", '
        "arXiv:2501.08316"
    )

    sigma: float = Field(
        0.03, gt=0, allow_inf_nan=False, description="standard deviation of the noise on samples"
    )
    share: float = Field(0.25, gt=0, le=1, description="part of the batch that is evaluated")

    def value(
        self, discriminator: Discriminator, samples: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Return E ((D(x + s e) - D(x - s e)) / (2 s))^2 / 2 with e from N(0, 1); a scalar.

        Both sides see the same random numbers, so that D's dropout and the augmentation are the
        same function of x. D sees samples of their own type; in bfloat16 that rounds steps to a
        hundredth of their length at best.

        Args:
            discriminator: ``(samples, labels) -> logits`` (N,) or (N, K), or an ``Output``.
            samples: (N, *shape).
            labels: Theirs (N,), or None.
        """
        packing = getattr(discriminator, "packing", 1)  # of ganzoo's own D
        count = packing * math.ceil(self.share * len(samples) / packing)
        samples = samples.detach()[:count]
        kind = samples.dtype
        if isinstance(discriminator, Judge) or torch.is_autocast_enabled(samples.device.type):
            kind = torch.promote_types(kind, torch.float32)  # layers cast by themselves
        samples = samples.to(torch.promote_types(kind, torch.float32))
        labels = None if labels is None else labels[:count]
        noise = self.sigma * torch.randn_like(samples)
        before = seeds.torch_states(samples.device)
        above = logits_of(discriminator((samples + noise).to(kind), labels))
        seeds.restore_torch(before, samples.device)
        below = logits_of(discriminator((samples - noise).to(kind), labels))
        difference = above.to(samples.dtype) - below.to(samples.dtype)
        return (means(difference) / (2 * self.sigma)).square().mean() / 2


class ApproximateR1(FiniteDifference):
    """R1 by finite differences, without a second derivative, so that every layer and bf16 will do.

    Lin et al. 2025, arXiv:2501.08316, sec. 3.3, here by central differences and divided by
    sigma^2, so that its expectation is that of ``r1`` for small sigma, and weights agree.
    """

    name: ClassVar[str] = "approximate-r1"

    def penalty(self, step: Step) -> Tensor:
        """Return the penalty at real samples, a scalar."""
        assert step.real is not None
        return self.value(step.discriminator, step.real, step.labels)


class ApproximateR2(FiniteDifference):
    """R2 by finite differences, without a second derivative, so that every layer and bf16 will do.

    As ``approximate-r1``, at generated samples.
    """

    name: ClassVar[str] = "approximate-r2"

    def penalty(self, step: Step) -> Tensor:
        """Return the penalty at generated samples, a scalar."""
        return self.value(step.discriminator, step.fake, step.labels)
