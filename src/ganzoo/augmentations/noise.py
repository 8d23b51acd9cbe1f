"""Instance noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import nn

from ganzoo.augmentations.base import Augmentation

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec
    from ganzoo.core.step import Step

__all__ = ["Noise"]


class Noise(Augmentation):
    """Instance noise: normal noise on all samples that D sees; for samples of any kind.

    Sonderby et al. 2017, arXiv:1610.04490, sec. 3.2, and Arjovsky & Bottou 2017,
    arXiv:1701.04862, sec. 3. It makes the distributions of real and generated samples overlap.
    It falls in a straight line to ``final`` over ``steps`` updates of D, if these are set.
    """

    name: ClassVar[str] = "noise"
    citation: ClassVar[str] = (
        'Sonderby et al. 2017, "Amortised MAP Inference for Image Super-resolution", '
        "arXiv:1610.04490"
    )

    sigma: float = Field(0.1, ge=0, le=1e6, description="standard deviation of the noise at first")
    final: float = Field(0.0, ge=0, le=1e6, description="standard deviation after steps")
    steps: int | None = Field(
        None, ge=1, description="updates of D from sigma to final; none keeps sigma"
    )

    @property
    def schedulable(self) -> Mapping[str, str]:
        """``sigma``, unless ``steps`` is set."""
        return {"sigma": "sigma"} if self.steps is None else {}

    def build(self, spec: SampleSpec) -> NormalNoise:
        """Return the module: samples (N, *shape) to the same."""
        return NormalNoise(self.sigma)

    def adapt(self, module: nn.Module, step: Step) -> None:
        """Let the noise fall; the row has it as ``noise``."""
        assert isinstance(module, NormalNoise)
        if self.steps is not None:
            module.updates.add_(1)
            share = (module.updates / self.steps).clamp(max=1)
            module.sigma.copy_(self.sigma + (self.final - self.sigma) * share)
        step.scalars["noise"] = module.sigma.clone()


class NormalNoise(nn.Module):
    """Adds noise of standard deviation ``sigma``.

    Args:
        sigma: At first.
    """

    sigma: Tensor
    updates: Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.register_buffer("sigma", torch.tensor(sigma))
        self.register_buffer("updates", torch.zeros((), dtype=torch.float64))

    def forward(self, samples: Tensor) -> Tensor:
        """Return samples with noise."""
        return samples + self.sigma.to(samples.dtype) * torch.randn_like(samples)
