"""Wasserstein loss with weight clipping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field

from ganzoo.core.spec import FLOAT32_MAX
from ganzoo.losses.base import Loss

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Wasserstein"]


class Wasserstein(Loss):
    """Wasserstein distance estimated by a critic, kept Lipschitz by clipping its weights.

    Arjovsky et al. 2017, arXiv:1701.07875, eq. 2 and algorithm 1. Leave out the clipping where a
    gradient penalty or spectral norm takes its place. The logits are the critic's values.
    """

    name: ClassVar[str] = "wasserstein"
    citation: ClassVar[str] = 'Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875'
    relative: ClassVar[bool] = True
    recommended: ClassVar[Mapping[str, Any]] = {
        "d_steps": 5,
        "g_optimizer": {"name": "rmsprop", "lr": 5e-5},
        "d_optimizer": {"name": "rmsprop", "lr": 5e-5},
    }

    clip: float | None = Field(
        0.01,
        gt=0,
        le=FLOAT32_MAX,
        description="bound of the critic's weights, or none for no clipping",
    )

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss E D(G(z)) - E D(x) from its values (N,); a float32 scalar."""
        return fake.float().mean() - real.float().mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss -E D(G(z)) from the critic's values (N,); a float32 scalar."""
        return -fake.float().mean()

    def small_gradients(self) -> tuple[str, str] | None:
        """Blame the clipping."""
        if self.clip is None:
            return None
        why = f"a critic whose weights are clipped to {self.clip:g} passes little on"
        return why, f"--loss.clip {3 * self.clip:.1g}"

    @torch.no_grad()
    def constrain(self, discriminator: nn.Module) -> None:
        """Clip all of the critic's parameters in place to [-clip, clip]."""
        parameters: list[Tensor] = list(discriminator.parameters())
        if self.clip is None or not parameters:
            return
        torch._foreach_clamp_min_(parameters, -self.clip)
        torch._foreach_clamp_max_(parameters, self.clip)
