"""Consistency regularisation: CR, bCR and zCR."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field, model_validator

from ganzoo.augmentations.translation import translate
from ganzoo.core.step import Judge
from ganzoo.errors import ConfigError
from ganzoo.penalties.base import Penalty, Player
from ganzoo.penalties.gradients import logits_of, means, squared_norms

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Step

__all__ = ["Consistency"]


class Consistency(Penalty):
    """D's logits do not change with a small shift, a mirror image, or a small step of the latent.

    CR (``real``): E (D(x) - D(T(x)))^2, Zhang et al. 2020, arXiv:1910.12027, eq. 2. bCR (``fake``
    too) adds the same of generated samples, and zCR (``latent``) E (D(G(z)) - D(G(z + d)))^2 for
    D and -``diversity`` E |G(z) - G(z + d)|^2 for G with d from N(0, ``sigma``^2): Zhao et al.
    2020, arXiv:2002.04724, algorithms 1 and 2. T mirrors one half of images and moves all by up to
    ``shift``. D(T(x)) costs a forward pass of its own.
    """

    name: ClassVar[str] = "consistency"
    citation: ClassVar[str] = (
        'Zhao et al. 2020, "Improved Consistency Regularization for GANs", arXiv:2002.04724'
    )

    weight: float = Field(10.0, ge=0, allow_inf_nan=False, description="factor of the term")
    real: bool = Field(True, description="compare real samples with changed ones (CR)")
    fake: bool = Field(False, description="compare generated samples with changed ones (bCR)")
    latent: bool = Field(False, description="compare samples of latents close together (zCR)")
    flip: bool = Field(True, description="mirror one half of images, left to right")
    shift: float = Field(0.125, ge=0, lt=1, description="largest shift, as part of each side")
    sigma: float = Field(0.05, gt=0, le=1e6, description="standard deviation of a latent's step")
    diversity: float = Field(
        0.1, ge=0, le=1e6, description="weight of G's term with latent, relative to D's"
    )

    @model_validator(mode="after")
    def _compares(self) -> Consistency:
        if not (self.real or self.fake or self.latent):
            raise ConfigError(
                "Penalty 'consistency' has nothing to compare: set real, fake or latent, or leave "
                "the penalty out."
            )
        return self

    @property
    def players(self) -> frozenset[Player]:
        """D, and G too with ``latent``."""
        both = self.latent and self.diversity > 0
        return frozenset({"discriminator", "generator"} if both else {"discriminator"})

    def build(self, spec: SampleSpec, latent: LatentSpec) -> None:
        """Refuse samples that cannot be moved.

        Raises:
            ConfigError: If ``real`` or ``fake`` is set and samples are no images or signals.
        """
        if (self.real or self.fake) and len(spec.shape) < 2:
            raise ConfigError(
                f"Penalty 'consistency' moves images and signals, and samples of shape "
                f"{spec.shape} have no axis to move along. Set real and fake to false and latent "
                f"to true, which compares samples of latents close together."
            )

    def changed(self, samples: Tensor) -> Tensor:
        """Return T of samples (N, C, *size): moved, and one half of images mirrored."""
        if self.flip and samples.ndim == 4:
            mirrored = torch.rand(len(samples), 1, 1, 1, device=samples.device) < 0.5
            samples = torch.where(mirrored, samples.flip(-1), samples)
        return translate(samples, self.shift)

    def value(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the mean squared difference of D's logits (N,) or (N, K); a scalar.

        Raises:
            ConfigError: If both are not of the same shape.
        """
        if first.shape != second.shape:
            raise ConfigError(
                f"Penalty 'consistency' compares logits of shape {tuple(first.shape)} with logits "
                f"of shape {tuple(second.shape)}. Give both the same shape, (N,) or (N, K)."
            )
        return means(first - second).square().mean()

    def penalty(self, step: Step) -> Tensor:
        """Return the sum of what is compared for D, or G's term; a scalar."""
        if step.player == "generator":
            moved = self._near(step)
            return -self.diversity * squared_norms(step.fake.float() - moved.float()).mean()
        terms = []
        if self.real:
            assert step.real is not None and step.real_output is not None
            terms.append((step.real_output.logits, self.changed(step.real.detach())))
        assert step.fake_output is not None
        if self.fake:
            terms.append((step.fake_output.logits, self.changed(step.fake.detach())))
        if self.latent:
            with torch.no_grad():
                near = self._near(step)
            terms.append((step.fake_output.logits, near))
        values = [
            self.value(logits, logits_of(step.discriminator(samples, step.labels)))
            for logits, samples in terms
        ]
        return torch.stack(values).sum()

    def _near(self, step: Step) -> Tensor:
        """G's samples of latents close to those of the step, in the precision of the training."""
        latent = step.latent + self.sigma * torch.randn_like(step.latent)
        assert isinstance(step.discriminator, Judge)
        with step.discriminator.precision():
            near: Tensor = step.generator(latent, step.labels)
        return near
