"""Fully connected generator and discriminator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from ganzoo.architectures.base import Architecture, Inferred, Known, Shapes, Widths
from ganzoo.architectures.conditioning import (
    Condition,
    DCondition,
    Joined,
    LabelHead,
    LabelWidth,
    joined,
    label_head,
)
from ganzoo.architectures.inference import (
    NOTHING,
    activations_elsewhere,
    activations_not_inferable,
    infer_dense,
)
from ganzoo.architectures.layers import (
    Activation,
    FourierFeatures,
    Spectral,
    dense_stack,
    hidden_activation,
    output_activation,
    spectrally_normalised,
)
from ganzoo.core.spec import FLOAT32_MAX

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Output

__all__ = ["MLP", "MLPDiscriminator", "MLPGenerator"]


class MLP(Architecture):
    """Fully connected nets, as in the first GAN; for samples of any kind and shape.

    The players of Goodfellow et al. 2014, arXiv:1406.2661, sec. 3 and 5: multilayer perceptrons,
    with dropout in the discriminator only. Labels enter both nets one-hot, as in Mirza & Osindero
    2014, arXiv:1411.1784.
    """

    name: ClassVar[str] = "mlp"
    citation: ClassVar[str] = (
        'Goodfellow et al. 2014, "Generative Adversarial Networks", arXiv:1406.2661'
    )
    conditional: ClassVar[bool] = True
    recommended: ClassVar[Mapping[str, Any]] = {
        "latent": 100,
        "batch_size": 100,
        "g_optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.9, 0.999)},
        "d_optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.9, 0.999)},
    }

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mlp_small": {"hidden": (128, 128)},
        "mlp_paper": {"hidden": (1200, 1200), "d_hidden": (240, 240)},  # widths for MNIST
    }

    hidden: Widths = Field((256, 512, 1024), description="widths of the generator's hidden layers")
    d_hidden: Widths | None = Field(
        None,
        description="widths of the discriminator's hidden layers (default: hidden reversed)",
    )
    slope: float = Field(
        0.2, ge=0, le=FLOAT32_MAX, description="slope of leaky ReLU below zero; 0 is plain ReLU"
    )
    activation: Activation = Field(
        "relu", description="activation of the hidden layers; relu is leaky by the slope"
    )
    dropout: float = Field(
        0.3, ge=0, lt=1, description="dropout after each hidden layer of the discriminator"
    )
    norm: Literal["none", "batch"] = Field(
        "none", description="norm of the generator's hidden layers, before their activation"
    )
    d_fourier: int = Field(
        0,
        ge=0,
        le=65_536,
        description="random Fourier features of a sample that the discriminator sees beside its "
        "values; for modes much narrower than the data",
    )
    d_fourier_scale: float = Field(
        1.0,
        gt=0,
        le=1e6,
        description="standard deviation of their frequencies, in cycles per unit of a value",
    )
    condition: Condition = "concat"
    d_condition: DCondition = "concat"
    label_width: LabelWidth = 32
    d_spectral: Spectral = False

    @classmethod
    def infer(cls, shapes: Shapes, known: Known = NOTHING) -> Inferred | None:
        """Tell from dense layers their widths; a sample is a flat row of values to them."""
        return infer_dense(
            shapes,
            known,
            "mlp",
            not_inferable=activations_not_inferable(known.options),
            elsewhere=(activations_elsewhere(),),
        )

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> MLPGenerator:
        """Build the generator: (N, *latent.shape) -> (N, *spec.shape)."""
        self.check(spec)
        labels = joined(spec, self.condition, self.label_width)
        return MLPGenerator(
            spec, latent, self.hidden, self._activate, labels, batch_norm=self.norm == "batch"
        )

    def discriminator(self, spec: SampleSpec) -> MLPDiscriminator:
        """Build the discriminator: (N, *spec.shape) -> logits (N,), or an ``Output``."""
        self.check(spec)
        hidden = self.hidden[::-1] if self.d_hidden is None else self.d_hidden
        waves, values = None, spec.numel
        if self.d_fourier:
            waves = FourierFeatures(values, self.d_fourier, self.d_fourier_scale)
            values = waves.width
        labels = joined(spec, self.d_condition)
        head = label_head(spec, self.d_condition, hidden[-1] if hidden else values)
        net = MLPDiscriminator(spec, hidden, self._activate, self.dropout, labels, head, waves)
        return spectrally_normalised(net) if self.d_spectral else net

    def _activate(self) -> nn.Module:
        return hidden_activation(self.activation, self.slope)


class MLPGenerator(nn.Module):
    """Dense layers from the latent to a sample.

    Args:
        spec: What a sample is.
        latent: What it is made from.
        hidden: Widths of the hidden layers.
        activate: Makes one activation of a hidden layer.
        labels: Joins labels to the latent.
        batch_norm: Normalise hidden layers over the batch.
    """

    def __init__(
        self,
        spec: SampleSpec,
        latent: LatentSpec,
        hidden: Sequence[int],
        activate: Callable[[], nn.Module],
        labels: Joined,
        *,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        widths = (latent.numel + labels.width, *hidden)
        self.shape = spec.shape
        self.labels = labels
        self.hidden = dense_stack(widths, activate, batch_norm=batch_norm)
        self.output = nn.Linear(widths[-1], spec.numel)
        self.activation = output_activation(spec)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents (N, *latent.shape) to samples (N, *spec.shape) in ``spec.value_range``."""
        z = self.labels(z.flatten(1), labels)
        samples: Tensor = self.activation(self.output(self.hidden(z)))
        return samples.reshape(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Dense layers from a sample to one logit.

    Args:
        spec: What a sample is.
        hidden: Widths of the hidden layers.
        activate: Makes one activation of a hidden layer.
        dropout: Probability of dropping a value after each hidden layer.
        labels: Joins labels to the sample.
        head: What the last features say of labels.
        waves: Adds features to a sample's values; None for none.
    """

    def __init__(
        self,
        spec: SampleSpec,
        hidden: Sequence[int],
        activate: Callable[[], nn.Module],
        dropout: float,
        labels: Joined,
        head: LabelHead,
        waves: FourierFeatures | None = None,
    ) -> None:
        super().__init__()
        values = spec.numel if waves is None else waves.width
        widths = (values + labels.width, *hidden)
        self.waves = nn.Identity() if waves is None else waves
        self.labels = labels
        self.hidden = dense_stack(widths, activate, dropout)
        self.head = head
        self.output = nn.Linear(widths[-1], 1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor | Output:
        """Map samples (N, *spec.shape) to logits (N,), or an ``Output`` with classes."""
        features = self.hidden(self.labels(self.waves(x.flatten(1)), labels))
        logits: Tensor = self.output(features).squeeze(1)
        judged: Tensor | Output = self.head(logits, features, labels)
        return judged
