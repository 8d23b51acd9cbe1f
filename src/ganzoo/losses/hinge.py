"""Hinge loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch.nn.functional import relu

from ganzoo.losses.base import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Hinge"]


class Hinge(Loss):
    """Hinge loss: D stops caring about samples that it has right by a margin.

    Lim & Ye 2017, arXiv:1705.02894; in the form of Miyato et al. 2018, arXiv:1802.05957,
    eq. 16 and 17.
    """

    name: ClassVar[str] = "hinge"
    citation: ClassVar[str] = 'Lim & Ye 2017, "Geometric GAN", arXiv:1705.02894'

    margin: float = Field(1.0, gt=0, description="logit beyond which a sample no longer counts")

    @property
    def d_range(self) -> tuple[float, float]:
        """0 where all samples are beyond the margin, and twice the margin where D guesses."""
        return 0.0, 2 * self.margin

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss E max(0, m - D(x)) + E max(0, m + D(G(z))) from logits (N,); float32 scalar."""
        return relu(self.margin - real.float()).mean() + relu(self.margin + fake.float()).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss -E D(G(z)) from logits (N,); a float32 scalar."""
        return -fake.float().mean()
