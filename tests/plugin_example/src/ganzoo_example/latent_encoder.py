"""A method with a third net and an iteration of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch.nn.functional import softplus

from ganzoo.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Play, Step

__all__ = ["LatentEncoder"]


class Balance:
    """The weight of G's loss, which moves with the scores: a number that lives between steps."""

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Return it."""
        return {"value": self.value}, {}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from it."""
        self.value.copy_(tensors["value"])


class LatentEncoder(Loss):
    """Non-saturating loss, and an encoder that finds the latents of generated samples."""

    citation: ClassVar[str] = "the example plug-in of ganzoo"
    probability: ClassVar[bool] = True

    pace: float = Field(0.01, ge=0, description="change of the weight of G's loss at each update")

    def build(self, spec: SampleSpec, latent: LatentSpec) -> Balance:
        """Return the weight of G's loss."""
        import torch

        return Balance(torch.ones(()))

    def nets(self, spec: SampleSpec, latent: LatentSpec) -> dict[str, nn.Module]:
        """Return the encoder: samples (N, *shape) to latents (N, latent size)."""
        from torch import nn

        return {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(spec.numel, latent.numel))}

    def iteration(self, game: Play, batch: Callable[[], tuple[Tensor, Tensor | None]]) -> Step:
        """Play as usual, then train the encoder on what G makes."""
        import torch

        step = super().iteration(game, batch)
        with game.phase():
            with game.precision():
                latent = game.draw(len(step.fake))
                with torch.no_grad():
                    fake = game.make(latent, step.labels)
                found = game.net("encoder")(fake).float()
            game.update("encoder", (found - latent.flatten(1)).square().mean())
        return step

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss E softplus(-D(x)) + E softplus(D(G(z))) from logits; a scalar."""
        return softplus(-real.float()).mean() + softplus(fake.float()).mean()

    def generator_loss(self, step: Step) -> Tensor:
        """G's loss E softplus(-D(G(z))), weighted; a scalar."""
        assert step.fake_output is not None
        loss = softplus(-step.fake_output.logits.float()).mean()
        balance = step.built.value.to(loss.device)
        moved = (balance + self.pace * (loss.detach() - 0.7)).clamp(0.5, 2.0)
        step.built.value = moved.where(moved.isfinite(), balance)  # whatever the loss is
        step.scalars["balance"] = step.built.value
        weighted: Tensor = balance * loss
        return weighted

    def score(self, logits: Tensor) -> Tensor:
        """Return the probability of being real, in [0, 1]."""
        return logits.float().sigmoid()
