"""How class labels enter a generator and a discriminator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from ganzoo.architectures.base import Width
from ganzoo.core.step import Output
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec

__all__ = ["Condition", "ConditionalBatchNorm2d", "DCondition", "Joined", "LabelHead"]
__all__ += ["LabelWidth", "Normed", "joined", "label_head"]

_SPREAD = 0.02  # of initial embeddings, as of DCGAN's weights


Condition = Annotated[
    Literal["concat", "embedding"],
    Field(description="how labels join the latent: one-hot, or as a learned vector"),
]
DCondition = Annotated[
    Literal["concat", "projection", "auxiliary"],
    Field(
        description="how the discriminator has labels: one-hot beside the sample, projected on its "
        "features, or told from them (by a loss or penalty auxiliary-classifier)"
    ),
]
LabelWidth = Annotated[Width, Field(description="width of the learned vector of a label")]


def joined(spec: SampleSpec, way: str, width: int = 0) -> Joined:
    """Return what joins labels to an input.

    Args:
        spec: What a sample is; without classes nothing is joined.
        way: ``concat`` or ``embedding``; any other joins nothing.
        width: Of the embedding.
    """
    classes = len(spec.classes or ()) if way in ("concat", "embedding") else 0
    return Joined(classes, width if way == "embedding" else None)


def label_head(spec: SampleSpec, way: str, channels: int, places: int = 1) -> LabelHead:
    """Return what D's last features say of labels.

    Args:
        spec: What a sample is; without classes they say nothing.
        way: ``projection`` or ``auxiliary``; any other says nothing.
        channels: Of the features.
        places: Of each channel.
    """
    classes = len(spec.classes or ())
    return LabelHead(
        channels,
        projected=classes if way == "projection" else 0,
        told=classes if way == "auxiliary" else 0,
        places=places,
    )


def required(labels: Tensor | None) -> Tensor:
    """Return the labels of a net that has classes.

    Raises:
        ConfigError: If there are none.
    """
    if labels is None:
        raise ConfigError(
            "This net was built for samples with classes, and was called without labels. Pass the "
            "number of each sample's class, a tensor (N,) of int64, as the second argument."
        )
    return labels


class Joined(nn.Module):
    """Joins a label to the channels of an input: one-hot, or a learned vector.

    One-hot as in Mirza & Osindero 2014, arXiv:1411.1784, sec. 3.2 and 4.1.

    Args:
        classes: How many there are; with none, inputs stay as they are.
        width: Of the learned vector, from N(0, 1) at first; None for one-hot.

    Attributes:
        width: Channels that are added.
    """

    def __init__(self, classes: int, width: int | None = None) -> None:
        super().__init__()
        learned = width is not None and classes > 0
        self.width = width if width is not None and learned else classes
        self.embedding = nn.Embedding(classes, self.width) if learned else None

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Map (N, C, *places) and labels (N,) to (N, C + width, *places)."""
        if not self.width:
            return x
        labels = required(labels)
        if self.embedding is None:
            code = labels.unsqueeze(1) == torch.arange(self.width, device=labels.device)
        else:
            code = self.embedding(labels)
        code = code.to(x.dtype).reshape(*code.shape, *(1,) * (x.ndim - 2))
        return torch.cat((x, code.expand(-1, -1, *x.shape[2:])), 1)


class LabelHead(nn.Module):
    """What D's last features say of a label.

    A projection adds <embedding(y), sum of the features over places> to the logit: Miyato & Koyama
    2018, arXiv:1802.05637, eq. 3. An auxiliary classifier returns class logits beside it: Odena et
    al. 2017, arXiv:1610.09585, sec. 3.

    Args:
        channels: Of the features.
        projected: Classes whose embeddings are projected on the features; 0 for no projection.
        told: Classes that are told from the features; 0 for no classifier.
        places: Of each channel.
    """

    def __init__(
        self, channels: int, *, projected: int = 0, told: int = 0, places: int = 1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(projected, channels) if projected else None
        self.classifier = nn.Linear(channels * places, told) if told else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, _SPREAD)

    def forward(self, logits: Tensor, features: Tensor, labels: Tensor | None) -> Tensor | Output:
        """Complete logits (N,) by features (N, channels, *places) and, to project, labels (N,)."""
        if self.embedding is not None:
            pooled = features.flatten(2).sum(2) if features.ndim > 2 else features
            logits = logits + (self.embedding(required(labels)) * pooled).sum(1)
        if self.classifier is not None:
            return Output(logits, self.classifier(features.flatten(1)))
        return logits


class ConditionalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose gain and bias are a class's own.

    De Vries et al. 2017, arXiv:1707.00683, sec. 3.1; in generators Miyato & Koyama 2018,
    arXiv:1802.05637.

    Args:
        channels: Of the map.
        classes: How many there are.
        eps: Added to variances.
    """

    def __init__(self, channels: int, classes: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.normal_(self.gain.weight, 1.0, _SPREAD)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Normalise a map (N, C, H, W) for labels (N,)."""
        labels = required(labels)
        gain, shift = self.gain(labels)[..., None, None], self.shift(labels)[..., None, None]
        maps: Tensor = super().forward(x)
        found: Tensor = maps * gain.to(maps.dtype) + shift.to(maps.dtype)
        return found


class Normed(nn.Sequential):
    """A layer, its norm and its activation; a conditional norm gets the labels."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W), and labels (N,) where the norm needs them, to the next map."""
        for part in self:
            x = part(x, labels) if isinstance(part, ConditionalBatchNorm2d) else part(x)
        return x
