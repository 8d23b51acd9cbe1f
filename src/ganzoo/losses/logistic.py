"""The first GAN losses: the zero-sum game, and the form that does not saturate."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.functional import softplus

from ganzoo.losses.base import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Minimax", "NonSaturating"]


class Logistic(Loss):
    """D of the first GAN, which maximises the likelihood of its verdicts."""

    citation: ClassVar[str] = (
        'Goodfellow et al. 2014, "Generative Adversarial Networks", arXiv:1406.2661'
    )
    probability: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss -E log D(x) - E log(1 - D(G(z))) from logits (N,); a float32 scalar."""
        return softplus(-real.float()).mean() + softplus(fake.float()).mean()

    def score(self, logits: Tensor) -> Tensor:
        """D's probability, in [0, 1], that a sample is real."""
        return torch.sigmoid(logits)


class Minimax(Logistic):
    """The zero-sum game of the first GAN; G's gradient vanishes when D is sure.

    Goodfellow et al. 2014, arXiv:1406.2661, eq. 1: D maximises and G minimises
    E log D(x) + E log(1 - D(G(z))), with D the sigmoid of the logit.
    """

    name: ClassVar[str] = "minimax"
    instead: ClassVar[str] = "non-saturating"

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss E log(1 - D(G(z))) from logits (N,), never positive; a float32 scalar."""
        return -softplus(fake.float()).mean()


class NonSaturating(Logistic):
    """The usual GAN loss: G maximises log D(G(z)), with strong gradients from the start.

    Goodfellow et al. 2014, arXiv:1406.2661: eq. 1 for D; sec. 3, last paragraph, for G.
    """

    name: ClassVar[str] = "non-saturating"

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss -E log D(G(z)) from logits (N,), never negative; a float32 scalar."""
        return softplus(-fake.float()).mean()

    def softer(self) -> tuple[str, ...]:
        """Advise the cross-entropy, which has softer targets."""
        return ("--loss bce --loss.smoothing 0.1",)
