"""LeCam regularisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import nn

from ganzoo.penalties.base import Penalty

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Step

__all__ = ["LeCam"]


class Anchors(nn.Module):
    """Moving averages of D's mean logits, without the pull of their start at 0.

    Args:
        decay: Of both.
    """

    sums: Tensor
    weights: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("sums", torch.zeros(2))
        self.register_buffer("weights", torch.zeros(()))

    @torch.no_grad()
    def forward(self, real: Tensor, fake: Tensor, share: float = 1.0) -> Tensor:
        """Take in logits of real and generated samples; return both averages (2,).

        ``share`` is the part of a batch that they are of; the decay is that of a whole one.
        """
        weight = 1 - self.decay**share
        self.sums.lerp_(torch.stack((real.mean(), fake.mean())).to(self.sums), weight)
        self.weights.lerp_(torch.ones_like(self.weights), weight)
        return self.sums / self.weights


class LeCam(Penalty):
    """LeCam: D's logits stay near moving averages of those of the other side. For little data.

    Tseng et al. 2021, arXiv:2104.03310, eq. 4: E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2, with a_R
    and a_F the moving averages of D's logits of real and generated samples.
    """

    name: ClassVar[str] = "lecam"
    citation: ClassVar[str] = (
        'Tseng et al. 2021, "Regularizing Generative Adversarial Networks under Limited Data", '
        "arXiv:2104.03310"
    )

    whole_batch: ClassVar[bool] = True

    weight: float = Field(0.3, ge=0, allow_inf_nan=False, description="factor of the term")
    decay: float = Field(0.99, ge=0, lt=1, description="of the moving averages")

    def build(self, spec: SampleSpec, latent: LatentSpec) -> Anchors:
        """Return the moving averages."""
        return Anchors(self.decay)

    def value(self, real: Tensor, fake: Tensor, anchors: Tensor) -> Tensor:
        """Return the penalty, a scalar.

        Args:
            real: D's logits (N,) or (N, K) of real samples.
            fake: D's logits (N,) or (N, K) of generated samples.
            anchors: Averages of the logits of real and of generated samples (2,).
        """
        return (real - anchors[1]).square().mean() + (fake - anchors[0]).square().mean()

    def penalty(self, step: Step) -> Tensor:
        """Return the penalty, a scalar."""
        assert step.real_output is not None and step.fake_output is not None
        real, fake = step.real_output.logits, step.fake_output.logits
        return self.value(real, fake, step.built(real, fake, step.share))
