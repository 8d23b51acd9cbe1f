"""Binary cross-entropy with label smoothing, label noise and either polarity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch.nn.functional import binary_cross_entropy_with_logits

from ganzoo.errors import ConfigError
from ganzoo.losses.base import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BCE"]


class BCE(Loss):
    """Binary cross-entropy to targets for real and fake, smoothed or noisy if asked.

    With the default targets this is the value function of Goodfellow et al. 2014,
    arXiv:1406.2661, eq. 1, for D and its non-saturating form (sec. 3) for G. One-sided label
    smoothing is that of Salimans et al. 2016, arXiv:1606.03498, sec. 3.4.

    D's target of real samples is ``real - smoothing - noise * U``, that of fake ones is
    ``fake + noise * U``, with U drawn from U(0, 1) for each sample. G's target is ``real``. With
    ``swapped`` the two players use ``fake`` for real samples and ``real`` for fake ones, smoothing
    and noise still point inwards, and a high logit means fake.

    Raises:
        ConfigError: If ``real`` is not above ``fake``, or smoothing and noise make them cross.
    """

    name: ClassVar[str] = "bce"
    citation: ClassVar[str] = (
        'Goodfellow et al. 2014, "Generative Adversarial Networks", arXiv:1406.2661'
    )
    probability: ClassVar[bool] = True

    real: float = Field(1.0, ge=0, le=1, description="target of real samples")
    fake: float = Field(0.0, ge=0, le=1, description="target of fake samples")
    smoothing: float = Field(
        0.0, ge=0, le=1, description="how far the target of real samples is moved inwards"
    )
    noise: float = Field(
        0.0, ge=0, le=1, description="how far at most both targets are moved inwards at random"
    )
    swapped: bool = Field(False, description="exchange the targets, so that a high logit is fake")
    reduction: Literal["sum", "mean"] = Field(
        "sum", description="add the discriminator's losses on real and fake, or average them"
    )

    @model_validator(mode="after")
    def _targets_apart(self) -> BCE:
        if not self.fake < self.real:
            raise ConfigError(
                f"Loss '{self.name}' needs a real target above the fake one, not {self.real} and "
                f"{self.fake}. For the opposite polarity set swapped=True."
            )
        if self.smoothing + 2 * self.noise > self.real - self.fake:
            raise ConfigError(
                f"Loss '{self.name}': smoothing {self.smoothing} and noise {self.noise} could move "
                f"the target of real samples, {self.real}, past that of fake ones, {self.fake}. "
                f"Keep smoothing + 2 * noise within {self.real - self.fake:g}."
            )
        return self

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss from its logits of real and fake samples, each (N,); a float32 scalar."""
        inwards = 1.0 if self.swapped else -1.0  # where the real target moves
        real_target, fake_target = self._targets
        total = self._half(real, real_target + inwards * self.smoothing, inwards * self.noise)
        total = total + self._half(fake, fake_target, -inwards * self.noise)
        return total / 2 if self.reduction == "mean" else total

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss from D's logits of fake samples (N,); a float32 scalar."""
        return self._half(fake, self._targets[0], 0.0)

    @property
    def d_range(self) -> tuple[float, float]:
        """D's loss at the means of both targets, and the least where it guesses.

        A cross-entropy is at least the entropy of its target's mean, so that smoothing and noise
        keep the first above 0.
        """
        real = self.real - self.smoothing - self.noise / 2
        fake = self.fake + self.noise / 2
        share = 0.5 if self.reduction == "mean" else 1.0
        least = share * (_entropy(real) + _entropy(fake))
        return least, 2 * share * _entropy((real + fake) / 2)

    def softer(self) -> list[str]:
        """Advise smoothing and noise, as far as the targets stay apart."""
        room, advice = self.real - self.fake, []
        if self.smoothing == 0 and 0.1 + 2 * self.noise <= room:
            advice.append("--loss.smoothing 0.1")
        if self.noise == 0 and self.smoothing + 2 * 0.1 <= room:
            advice.append("--loss.noise 0.1")
        return advice

    def score(self, logits: Tensor) -> Tensor:
        """D's probability, in [0, 1], that a sample is real."""
        return torch.sigmoid(-logits if self.swapped else logits)

    def realness(self, logits: Tensor) -> Tensor:
        """D's logits, negative ones for real samples if ``swapped`` turned around."""
        return -logits if self.swapped else logits

    @property
    def _targets(self) -> tuple[float, float]:
        """Targets of real and of fake samples."""
        return (self.fake, self.real) if self.swapped else (self.real, self.fake)

    @staticmethod
    def _half(logits: Tensor, target: float, noise: float) -> Tensor:
        """Mean cross-entropy of logits (N,) to ``target + noise * U(0, 1)``."""
        logits = logits.float()
        targets = torch.full_like(logits, target)
        if noise:
            targets = targets + noise * torch.rand_like(logits)
        return binary_cross_entropy_with_logits(logits, targets)


def _entropy(p: float) -> float:
    """Of a coin that shows heads with probability p, in nats."""
    return 0.0 - sum(q * math.log(q) for q in (p, 1 - p) if q > 0)  # 0.0, so that it is no -0.0
