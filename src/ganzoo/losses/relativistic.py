"""Relativistic losses: real samples are more real than generated ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from torch.nn.functional import softplus

from ganzoo.errors import ConfigError
from ganzoo.losses.base import Loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Relativistic", "RelativisticAverage"]


class Comparing(Loss):
    """Compares logits of real and generated samples; G needs fresh real ones."""

    citation: ClassVar[str] = (
        'Jolicoeur-Martineau 2018, "The relativistic discriminator: a key element missing from '
        'standard GAN", arXiv:1807.00734'
    )
    generator_sees_real: ClassVar[bool] = True
    relative: ClassVar[bool] = True

    def _paired(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Both in float32; of other shapes, each would be compared with each."""
        if real.shape != fake.shape:
            raise ConfigError(
                f"Loss '{self.name}' compares logits of real samples of shape "
                f"{tuple(real.shape)} with those of generated samples of shape "
                f"{tuple(fake.shape)}. Give both the same shape, (N,) or (N, K)."
            )
        return real.float(), fake.float()

    def _needed(self, real: Tensor | None) -> Tensor:
        if real is None:
            raise ConfigError(
                f"Loss '{self.name}' compares generated samples with real ones: pass D's logits of "
                f"real samples too, as in generator(fake, real)."
            )
        return real


class Relativistic(Comparing):
    """Relativistic loss of pairs: each real sample is more real than one generated sample.

    Jolicoeur-Martineau 2018, arXiv:1807.00734, sec. 4.2, eq. 7 and 8 (RSGAN); with R1 and R2 the
    loss of R3GAN, Huang et al. 2024, arXiv:2501.05441, eq. 2. Only differences of logits matter.
    """

    name: ClassVar[str] = "relativistic"

    @property
    def d_range(self) -> tuple[float, float]:
        """0 where all pairs are told apart, and log 2 where D guesses."""
        return 0.0, math.log(2)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss E softplus(-(D(x) - D(G(z)))) from logits (N,) or (N, K); a float32 scalar."""
        real, fake = self._paired(real, fake)
        return softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss E softplus(-(D(G(z)) - D(x))) from logits (N,) or (N, K); a float32 scalar."""
        real, fake = self._paired(self._needed(real), fake)
        return softplus(real - fake).mean()


class RelativisticAverage(Comparing):
    """Relativistic loss of averages: each sample is held against the mean of the other side.

    Jolicoeur-Martineau 2018, arXiv:1807.00734, sec. 4.3 (RaSGAN). The means are those of the
    batch, of (N, K) for each of the K.
    """

    name: ClassVar[str] = "relativistic-average"
    whole_batch: ClassVar[bool] = True

    @property
    def d_range(self) -> tuple[float, float]:
        """0 where both sides are told apart, and 2 log 2 where D guesses."""
        return 0.0, 2 * math.log(2)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss from logits (N,) or (N, K), a float32 scalar.

        E softplus(-(D(x) - E D(G(z)))) + E softplus(D(G(z)) - E D(x)).
        """
        real, fake = self._paired(real, fake)
        return softplus(fake.mean(0) - real).mean() + softplus(fake - real.mean(0)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss from logits (N,) or (N, K): D's with both sides exchanged; a float32 scalar."""
        return self.discriminator(fake, self._needed(real))
