"""An augmentation that adapts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ganzoo.augmentations import Augmentation

if TYPE_CHECKING:
    from torch import nn

    from ganzoo.core.spec import SampleSpec
    from ganzoo.core.step import Step

__all__ = ["AdaptiveFade"]


class AdaptiveFade(Augmentation):
    """Fades some samples, more of them while D takes too many real ones for real."""

    citation: ClassVar[str] = "the example plug-in of ganzoo"

    start: float = Field(0.2, ge=0, le=1, description="probability at first")
    target: float = Field(0.6, ge=-1, le=1, description="mean sign of D's logits of real samples")
    pace: float = Field(0.1, gt=0, le=1, description="change of the probability at each update")

    def build(self, spec: SampleSpec) -> nn.Module:
        """Return the module: samples (N, *shape) to the same, half as strong at random."""
        import torch
        from torch import Tensor, nn

        start = self.start

        class Fade(nn.Module):
            probability: Tensor

            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("probability", torch.tensor(start))

            def forward(self, samples: Tensor) -> Tensor:
                chosen = torch.rand(len(samples), device=samples.device) < self.probability
                factor = torch.where(chosen, 0.5, 1.0)
                return samples * factor.reshape(-1, *[1] * (samples.ndim - 1))

        return Fade()

    def adapt(self, module: nn.Module, step: Step) -> None:
        """Move the probability by the sign of D's logits of real samples."""
        assert step.real_output is not None
        sign = (step.real_output.logits.sign().mean() - self.target).sign()
        module.probability.add_(self.pace * sign).clamp_(0, 1)  # type: ignore[operator, union-attr]
        step.scalars["fade"] = module.probability.clone()  # type: ignore[operator, union-attr]
