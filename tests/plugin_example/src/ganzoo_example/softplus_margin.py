"""A loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch.nn.functional import softplus

from ganzoo.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SoftplusMargin"]


class SoftplusMargin(Loss):
    """Logistic loss whose discriminator has to be right by a margin.

    With margin 0 it is the non-saturating loss; with a large one D's loss is close to linear.
    """

    citation: ClassVar[str] = "the example plug-in of ganzoo"

    margin: float = Field(1.0, ge=0, description="logit by which D has to be right")

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss E softplus(m - D(x)) + E softplus(m + D(G(z))) from logits (N,); a scalar."""
        return (
            softplus(self.margin - real.float()).mean()
            + softplus(self.margin + fake.float()).mean()
        )

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss E softplus(-D(G(z))) from logits (N,); a scalar."""
        return softplus(-fake.float()).mean()

    def score(self, logits: Tensor) -> Tensor:
        """Return the probability of being real, in [0, 1]."""
        return logits.float().sigmoid()
