"""Reconstruction: G as the decoder of an autoencoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from ganzoo.core.nets import evaluating, last_input
from ganzoo.core.step import Judge, Output
from ganzoo.errors import ConfigError
from ganzoo.penalties.base import Penalty, Player

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.architectures.base import Architecture
    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Step

__all__ = ["Encoder", "Reconstruction"]

_EPS = 1e-8  # added to variances
_MOST = 1 - 1e-6  # a larger argument of float32's inverse error function gives infinity


class Reconstruction(Penalty):
    """An encoder finds latents from which G makes the real samples again: an autoencoder.

    The mean distance of real samples x and G(E(x)) in each value. The encoder E has the layers of
    the architecture's discriminator, with weights of its own that are trained with G, and a linear
    layer on its features and logits. Its latents are standardised over the batch (over each
    micro-batch with ``accumulate``) and brought to the latent's distribution. So G may learn from
    it alone, before or beside a game: this is the autoencoder of Larsen et al. 2016,
    arXiv:1512.09300, sec. 2, with neither its prior (latents are no samples of a posterior) nor
    its distance in D's features.
    """

    name: ClassVar[str] = "reconstruction"
    citation: ClassVar[str] = (
        'Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric", '
        "arXiv:1512.09300 (an autoencoder term without its prior)"
    )
    player: ClassVar[Player] = "generator"
    generator_sees_real: ClassVar[bool] = True
    min_batch: ClassVar[int] = 2
    whole_batch: ClassVar[bool] = True

    weight: float = Field(10.0, ge=0, allow_inf_nan=False, description="factor of the term")
    distance: Literal["l1", "l2"] = Field(
        "l1", description="of two values: absolute difference (l1) or its square (l2)"
    )

    def build(self, spec: SampleSpec, latent: LatentSpec) -> None:
        """Refuse to do without an architecture.

        Raises:
            ConfigError: Always; ``build_with`` has one.
        """
        raise ConfigError(
            "Penalty 'reconstruction' builds its encoder from an architecture. Call "
            "build_with(arch, spec, latent)."
        )

    def build_with(self, arch: Architecture, spec: SampleSpec, latent: LatentSpec) -> Encoder:
        """Return the encoder of one sample, without labels."""
        one = spec.model_copy(update={"classes": None})
        encoder = Encoder(arch.discriminator(one), latent)
        with torch.no_grad(), evaluating(encoder):
            encoder.head(encoder.features(torch.zeros(1, *spec.shape)))  # which sizes it
        if spec.kind == "image":
            encoder.to(memory_format=torch.channels_last)
        return encoder

    def value(self, real: Tensor, made: Tensor) -> Tensor:
        """Return the mean distance of real samples and their reconstructions (N, *shape)."""
        apart = real - made.to(real.dtype)
        return apart.abs().mean() if self.distance == "l1" else apart.square().mean()

    def penalty(self, step: Step) -> Tensor:
        """Return the mean distance, a scalar.

        Raises:
            ConfigError: If the loss has an iteration of its own that leaves out real samples.
        """
        if step.real is None:
            raise ConfigError(
                "Penalty 'reconstruction' needs real samples in G's phase, and this loss plays it "
                "without. Pass a fresh batch to update_generator where game.generator_sees_real."
            )
        assert isinstance(step.discriminator, Judge)
        encoder: Encoder = step.built
        with step.discriminator.precision():
            made = step.generator(encoder(step.real), step.labels)
        return self.value(step.real, made)


class Encoder(nn.Module):
    """Maps samples to latents that have the distribution's scale.

    Values of a batch are standardised, each by its mean and variance in it. Where those are
    normal, latents are distributed as the generator's: a uniform or truncated one is their
    distribution's quantile of the normal one's, and a categorical code is the largest of its
    values, with the gradient of their softmax.

    Args:
        body: A discriminator without labels.
        latent: What the generator is fed.
    """

    def __init__(self, body: nn.Module, latent: LatentSpec) -> None:
        super().__init__()
        self.body, self.latent = body, latent
        self.head = nn.LazyLinear(latent.numel, bias=False)  # a batch's mean is taken away

    def features(self, samples: Tensor) -> Tensor:
        """Return features (N, F): the body's, or inputs of its last layer, and its logits.

        With the logits, all of its weights are of use.
        """
        with last_input(self.body) as inputs:
            found = self.body(samples)
        output = found if isinstance(found, Output) else Output(found)
        features = inputs[-1] if output.features is None else output.features
        return torch.cat((features.flatten(1), output.logits.reshape(len(samples), -1)), 1)

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples (N, *shape), N > 1, to latents (N, *latent.shape) of their type."""
        return self.scaled(self.head(self.features(samples)).to(samples.dtype))

    def scaled(self, values: Tensor) -> Tensor:
        """Bring values (N, latent.numel) to the scale of latents (N, *latent.shape)."""
        latent = self.latent
        variance, mean = torch.var_mean(values, 0, correction=0)
        values = (values - mean) / (variance + _EPS).sqrt()
        sizes = [latent.numel - latent.codes, *latent.categorical, latent.continuous]
        free, *codes, continuous = torch.split(values, sizes, 1)
        if latent.distribution == "uniform":
            free = _uniform(free, latent.low, latent.high)
        elif latent.distribution == "truncated":
            share = min(math.erf(latent.truncation / math.sqrt(2)), _MOST)
            free = math.sqrt(2) * torch.erfinv(share * torch.erf(free / math.sqrt(2)))
        parts = [free, *map(_largest, codes), _uniform(continuous, -1.0, 1.0)]
        return torch.cat(parts, 1).reshape(-1, *latent.shape)


def _uniform(values: Tensor, low: float, high: float) -> Tensor:
    """Map values from N(0, 1) to such from U(low, high)."""
    return low + (high - low) * (1 + torch.erf(values / math.sqrt(2))) / 2


def _largest(values: Tensor) -> Tensor:
    """Return the largest of values (N, K) one-hot, with the gradient of their softmax."""
    soft = values.softmax(1)
    hard = torch.zeros_like(soft).scatter(1, soft.argmax(1, keepdim=True), 1.0)
    return hard - soft.detach() + soft
