"""Path length regularisation of StyleGAN2."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import nn

from ganzoo.core.differentiation import inputs_alone
from ganzoo.penalties.base import Penalty, Player

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Step

__all__ = ["PathLength"]


class MeanLength(nn.Module):
    """The moving average of path lengths, 0 at first."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))


class PathLength(Penalty):
    """Path length: a step of the latent changes G's samples by the same amount everywhere.

    Karras et al. 2020, arXiv:1912.04958, eq. 4: E (|J^T y| - a)^2 with J the Jacobian of G at
    its latent, y normal noise of the samples' shape (divided by the root of an image's number of
    pixels, as in the authors' program) and a the moving average of |J^T y|.
    """

    name: ClassVar[str] = "path-length"
    citation: ClassVar[str] = (
        'Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", '
        "arXiv:1912.04958"
    )
    player: ClassVar[Player] = "generator"
    second_order: ClassVar[bool] = True
    whole_batch: ClassVar[bool] = True

    weight: float = Field(2.0, ge=0, allow_inf_nan=False, description="factor of the term")
    every: int = Field(
        4, ge=1, description="iterations between two terms, whose weight is multiplied by it"
    )
    decay: float = Field(0.99, ge=0, lt=1, description="of the moving average of lengths")
    share: float = Field(0.5, gt=0, le=1, description="part of the batch that is evaluated")

    def build(self, spec: SampleSpec, latent: LatentSpec) -> MeanLength:
        """Return the moving average of lengths."""
        return MeanLength()

    def lengths(self, samples: Tensor, latent: Tensor) -> Tensor:
        """Return |J^T y| of each sample, (N,), itself differentiable.

        Args:
            samples: G's (N, *shape).
            latent: What they were made from (N, *latent.shape); it requires gradients.
        """
        noise = torch.randn_like(samples) / math.sqrt(samples[0, 0].numel())
        with inputs_alone():
            (slope,) = torch.autograd.grad((samples * noise).sum(), latent, create_graph=True)
        norms: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
        return norms

    def value(self, lengths: Tensor, average: Tensor) -> Tensor:
        """Return the penalty E (|J^T y| - a)^2, a scalar.

        Args:
            lengths: What ``lengths`` has returned (N,).
            average: The moving average of lengths a, ().
        """
        return (lengths - average).square().mean()

    def penalty(self, step: Step) -> Tensor:
        """Return E (|J^T y| - a)^2, a scalar; the average length is reported."""
        # At least two, which batch norm in G needs.
        count = min(len(step.latent), max(2, math.ceil(self.share * len(step.latent))))
        latent = step.latent[:count].detach().requires_grad_()
        labels = None if step.labels is None else step.labels[:count]
        lengths = self.lengths(step.generator(latent, labels).float(), latent)
        average: Tensor = step.built.mean
        with torch.no_grad():
            average.lerp_(lengths.mean(), 1 - self.decay**step.share)
        step.scalars["path length"] = average.clone()
        return self.value(lengths, average.clone())
