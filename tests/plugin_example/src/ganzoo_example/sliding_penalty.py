"""A penalty with state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ganzoo.penalties import Penalty

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Step

__all__ = ["SlidingPenalty"]


class SlidingPenalty(Penalty):
    """Pulls the norm of D's gradient at real samples to its own running mean."""

    citation: ClassVar[str] = "the example plug-in of ganzoo"
    wants: ClassVar[frozenset[str]] = frozenset({"real"})

    decay: float = Field(0.9, ge=0, lt=1, description="of the running mean")

    def build(self, spec: SampleSpec, latent: LatentSpec) -> Any:
        """Return a module whose buffer is the running mean."""
        import torch
        from torch import nn

        module = nn.Module()
        module.register_buffer("mean", torch.zeros(()))
        return module

    def penalty(self, step: Step) -> Tensor:
        """Return E (|grad D(x)| - mean)^2, a scalar."""
        import torch

        assert step.real is not None and step.real_output is not None
        logits = step.real_output.logits.sum()
        (gradient,) = torch.autograd.grad(logits, step.real, create_graph=True)
        norms = gradient.flatten(1).norm(dim=1)
        mean = step.built.mean
        with torch.no_grad():
            mean.lerp_(norms.mean(), 1 - self.decay)
        step.scalars["running norm"] = mean.clone()
        return (norms - mean.clone()).square().mean()
