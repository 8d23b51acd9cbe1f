"""Least-squares loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ganzoo.losses.base import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LeastSquares"]


class LeastSquares(Loss):
    """Least squares to targets, which also pulls in samples far on the right side.

    Mao et al. 2016, arXiv:1611.04076, eq. 2; ``fake``, ``real`` and ``g_target`` are its a, b
    and c, by default as in its eq. 9.
    """

    name: ClassVar[str] = "least-squares"
    citation: ClassVar[str] = (
        'Mao et al. 2016, "Least Squares Generative Adversarial Networks", arXiv:1611.04076'
    )

    real: float = Field(1.0, description="discriminator's target of real samples")
    fake: float = Field(0.0, description="discriminator's target of fake samples")
    g_target: float = Field(1.0, description="generator's target of fake samples")

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss (E (D(x) - b)^2 + E (D(G(z)) - a)^2) / 2 from logits (N,); float32 scalar."""
        to_real = (real.float() - self.real).square().mean()
        to_fake = (fake.float() - self.fake).square().mean()
        return (to_real + to_fake) / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss E (D(G(z)) - c)^2 / 2 from logits (N,); a float32 scalar."""
        return (fake.float() - self.g_target).square().mean() / 2
