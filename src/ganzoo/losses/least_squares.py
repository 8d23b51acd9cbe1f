"""Least-squares loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ganzoo.losses.base import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LeastSquares"]

# The square of the distance between two of them still fits into float32.
Target = Annotated[float, Field(ge=-1e18, le=1e18)]


class LeastSquares(Loss):
    """Least squares to targets, which also pulls in samples far on the right side.

    Mao et al. 2016, arXiv:1611.04076, eq. 2; ``fake``, ``real`` and ``g_target`` are its a, b
    and c, by default as in its eq. 9.
    """

    name: ClassVar[str] = "least-squares"
    citation: ClassVar[str] = (
        'Mao et al. 2016, "Least Squares Generative Adversarial Networks", arXiv:1611.04076'
    )

    real: Target = Field(1.0, description="discriminator's target of real samples")
    fake: Target = Field(0.0, description="discriminator's target of fake samples")
    g_target: Target = Field(1.0, description="generator's target of fake samples")

    @property
    def d_range(self) -> tuple[float, float]:
        """0 at both targets, and (b - a)^2 / 4 where D answers with their middle."""
        return 0.0, (self.real - self.fake) ** 2 / 4

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss (E (D(x) - b)^2 + E (D(G(z)) - a)^2) / 2 from logits (N,); float32 scalar."""
        to_real = (real.float() - self.real).square().mean()
        to_fake = (fake.float() - self.fake).square().mean()
        return (to_real + to_fake) / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss E (D(G(z)) - c)^2 / 2 from logits (N,); a float32 scalar."""
        return (fake.float() - self.g_target).square().mean() / 2

    def realness(self, logits: Tensor) -> Tensor:
        """D's logits from the middle of both targets on, towards that of real samples."""
        away = logits - (self.real + self.fake) / 2
        return away if self.real >= self.fake else -away
