"""The contract of a feature extractor."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ganzoo.core.component import Component

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ganzoo.core.device import PrecisionName

__all__ = ["UNNAMED", "Extractor", "Features", "fingerprint"]

UNNAMED = "object-"
"""How the fingerprint of something begins that only this process knows."""


@dataclass(frozen=True, eq=False)
class Features:
    """What an extractor sees in a batch of samples.

    Attributes:
        pool: float32 (N, D), what distances are measured in.
        logits: float32 (N, K), before the softmax; None where the net does not classify.
    """

    pool: Tensor
    logits: Tensor | None = None


class Extractor(Component):
    """A net that turns samples into features, with all that decides its numbers."""

    kind: ClassVar[str] = "extractor"
    dimensions: ClassVar[int | None] = None
    """Features per sample; None where only the weights tell."""
    classes: ClassVar[int | None] = None
    """Logits per sample, where the weights have them; None where it makes none."""
    channels: ClassVar[tuple[int, ...] | None] = None
    """Numbers of channels that an image may have; None for any."""
    channelwise: ClassVar[bool] = False
    """Whether it sees one channel: those of images that have several are seen one by one."""
    forced_dtype: ClassVar[str | None] = None
    """Precision it computes in, whatever is asked for; None where it computes in that."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions besides torch whose version may decide its numbers; they are in protocols."""

    @property
    def classes_of(self) -> str | None:
        """The data whose classes its logits tell apart; None where it does not say."""
        return None

    @property
    def program(self) -> str | None:
        """The program whose way of opening files is followed, of ``features.programs``.

        None where files are opened as for a training: alpha on white, Exif orientation applied.
        """
        return None

    @property
    def cacheable(self) -> bool:
        """Whether its protocol names its code too, so that its features may be cached.

        That of an installed package does, by its version; code of a script or notebook changes.
        """
        cls = type(self)
        return " " in cls.provider if cls.provider else cls.__module__.startswith("ganzoo.")

    @property
    def quantisation(self) -> Literal["uint8", "none"]:
        """What the net takes: ``uint8`` in 0..255, or ``none``: floats in the spec's range."""
        return "uint8"

    @abstractmethod
    def build(self, device: torch.device, precision: PrecisionName = "auto") -> nn.Module:
        """Return the net, in eval mode and without gradients.

        Args:
            device: Where it computes; it takes samples from there.
            precision: ``bf16``, ``fp32``, or ``auto``, as ``feature_precision`` has it.

        Returns:
            A module that maps samples (N, C, H, W), as ``quantisation`` has them, to ``Features``.

        Raises:
            CheckpointError: If its weights are not there, damaged, or of another net.
            ConfigError: If it needs a package that is not installed.
            DeviceError: If the device cannot compute so.
        """

    @abstractmethod
    def weights_hash(self) -> str:
        """Return the hexadecimal SHA-256 of the weights that decide the features.

        Raises:
            CheckpointError: If its weights are not there, damaged, or of another net.
            ConfigError: If it needs a package that is not installed.
        """

    def logits_hash(self) -> str | None:
        """Return the SHA-256 of what decides the logits and not the features; None if nothing."""
        return None

    @abstractmethod
    def preparation(self) -> dict[str, Any]:
        """Return what is done to samples before the net sees them, as plain values."""

    def protocol(self) -> dict[str, Any]:
        """Return all that decides the features but the precision, as plain values.

        Two extractors with equal protocols give the same features of the same samples.

        Raises:
            CheckpointError: If its weights are not there, damaged, or of another net.
            ConfigError: If it needs a package that is not installed.
        """
        return {
            "extractor": type(self).name,
            **({"provider": self.provider} if self.provider else {}),
            "quantisation": self.quantisation,
            **self.preparation(),
            "weights": self.weights_hash(),
        }


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the hexadecimal SHA-256 of named tensors, in whatever file they are."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().to("cpu").contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data)  # bfloat16 has no numpy type
    return digest.hexdigest()
