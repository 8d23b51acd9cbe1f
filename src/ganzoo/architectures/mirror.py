"""A generator and a discriminator that mirror each other like the halves of an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field
from torch import nn

from ganzoo.architectures.base import Architecture, Inferred, Known, Shapes, Width, Widths
from ganzoo.architectures.conditioning import (
    Condition,
    DCondition,
    Joined,
    LabelHead,
    LabelWidth,
    joined,
    label_head,
)
from ganzoo.architectures.inference import NOTHING, infer_dense
from ganzoo.architectures.layers import (
    Spectral,
    dense_stack,
    output_activation,
    spectrally_normalised,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Output

__all__ = ["Mirror", "MirrorDiscriminator", "MirrorGenerator"]

Activation = Literal["selu", "relu"]
_ACTIVATIONS: dict[Activation, type[nn.Module]] = {"selu": nn.SELU, "relu": nn.ReLU}


class Mirror(Architecture):
    """Small dense pair shaped like an autoencoder; for samples of any kind and shape.

    The generator is a decoder (latent, hidden, sample); the discriminator is the encoder that
    mirrors it (sample, hidden, code) and one logit on top. With SELU the weights start
    LeCun-normal, which keeps activations near zero mean and unit variance (Klambauer et al. 2017,
    arXiv:1706.02515, sec. 2); with ReLU they start He-normal. Labels enter both nets one-hot, as
    in Mirza & Osindero 2014, arXiv:1411.1784.
    """

    name: ClassVar[str] = "mirror"
    citation: ClassVar[str] = (
        'Klambauer et al. 2017, "Self-Normalizing Neural Networks", arXiv:1706.02515 '
        "(activation and initial weights)"
    )
    conditional: ClassVar[bool] = True
    recommended: ClassVar[Mapping[str, Any]] = {
        "latent": 100,
        "batch_size": 32,
        "precision": "fp32",
        "g_optimizer": {"name": "rmsprop", "lr": 2e-4, "alpha": 0.9},
        "d_optimizer": {"name": "rmsprop", "lr": 2e-4, "alpha": 0.9},
    }

    hidden: Widths = Field(
        (150,), description="widths between latent and sample; mirrored in the discriminator"
    )
    code: Width = Field(100, description="width of the discriminator's last hidden layer")
    activation: Activation = Field("selu", description="activation of the hidden layers")
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
            "mirror",
            not_inferable=("activation",),
            elsewhere=(tuple({"activation": name} for name in _ACTIVATIONS),),
        )

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> MirrorGenerator:
        """Build the generator: (N, *latent.shape) -> (N, *spec.shape)."""
        self.check(spec)
        labels = joined(spec, self.condition, self.label_width)
        return MirrorGenerator(spec, latent, self.hidden, self.activation, labels)

    def discriminator(self, spec: SampleSpec) -> MirrorDiscriminator:
        """Build the discriminator: (N, *spec.shape) -> logits (N,), or an ``Output``."""
        self.check(spec)
        labels, head = joined(spec, self.d_condition), label_head(spec, self.d_condition, self.code)
        hidden = (*self.hidden[::-1], self.code)
        net = MirrorDiscriminator(spec, hidden, self.activation, labels, head)
        return spectrally_normalised(net) if self.d_spectral else net


class MirrorGenerator(nn.Module):
    """The decoder: dense layers from the latent to a sample.

    Args:
        spec: What a sample is.
        latent: What it is made from.
        hidden: Widths of the hidden layers.
        activation: Activation of the hidden layers.
        labels: Joins labels to the latent.
    """

    def __init__(
        self,
        spec: SampleSpec,
        latent: LatentSpec,
        hidden: Sequence[int],
        activation: Activation,
        labels: Joined,
    ) -> None:
        super().__init__()
        widths = (latent.numel + labels.width, *hidden)
        self.shape = spec.shape
        self.labels = labels
        self.decoder = dense_stack(widths, _ACTIVATIONS[activation])
        self.output = nn.Linear(widths[-1], spec.numel)
        self.activation = output_activation(spec)
        _initialise(self.decoder, self.output, activation)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents (N, *latent.shape) to samples (N, *spec.shape) in ``spec.value_range``."""
        z = self.labels(z.flatten(1), labels)
        samples: Tensor = self.activation(self.output(self.decoder(z)))
        return samples.reshape(-1, *self.shape)


class MirrorDiscriminator(nn.Module):
    """The encoder: dense layers from a sample to a code, and one logit on top.

    Args:
        spec: What a sample is.
        hidden: Widths of the hidden layers, the code last.
        activation: Activation of the hidden layers.
        labels: Joins labels to the sample.
        head: What the last features say of labels.
    """

    def __init__(
        self,
        spec: SampleSpec,
        hidden: Sequence[int],
        activation: Activation,
        labels: Joined,
        head: LabelHead,
    ) -> None:
        super().__init__()
        widths = (spec.numel + labels.width, *hidden)
        self.labels = labels
        self.encoder = dense_stack(widths, _ACTIVATIONS[activation])
        self.head = head
        self.output = nn.Linear(hidden[-1], 1)
        _initialise(self.encoder, self.output, activation)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor | Output:
        """Map samples (N, *spec.shape) to logits (N,), or an ``Output`` with classes."""
        features = self.encoder(self.labels(x.flatten(1), labels))
        logits: Tensor = self.output(features).squeeze(1)
        judged: Tensor | Output = self.head(logits, features, labels)
        return judged


def _initialise(hidden: nn.Sequential, output: nn.Linear, activation: Activation) -> None:
    """Start LeCun-normal (variance 1 / inputs) or, before ReLU, He-normal (2 / inputs)."""
    for layer in (*hidden, output):
        if isinstance(layer, nn.Linear):
            relu_follows = activation == "relu" and layer is not output
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if relu_follows else "linear")
            nn.init.zeros_(layer.bias)
