"""The contract of an architecture."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, NoReturn

from pydantic import Field

from ganzoo.architectures.inference import NOTHING, Inferred, Known, Shapes
from ganzoo.core.component import Component
from ganzoo.core.step import Output
from ganzoo.errors import ConfigError, UnsupportedSampleError, an

if TYPE_CHECKING:
    from torch import nn

    from ganzoo.core.spec import LatentSpec, SampleSpec

__all__ = ["Architecture", "Inferred", "Known", "Output", "Shapes", "Width", "Widths"]

Width = Annotated[int, Field(gt=0, le=2**20)]
"""Channels or units of one layer; bounded, since files from anywhere may ask for some."""
Widths = Annotated[tuple[Width, ...], Field(max_length=256)]
"""Of layers one after the other."""


class Architecture(Component):
    """A generator and a discriminator whose shapes follow from a ``SampleSpec``.

    The generator ends in the spec's value range: tanh for [-1, 1], sigmoid for [0, 1], linear
    where it is None (``output_activation`` in ``ganzoo.architectures.layers``).
    """

    kind: ClassVar[str] = "architecture"
    conditional: ClassVar[bool] = False
    """Whether its nets use labels where the spec has classes."""

    @abstractmethod
    def generator(self, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        """Build the generator: ``(z (N, *latent.shape), labels (N,) or None) -> (N, *spec.shape)``.

        Raises:
            UnsupportedSampleError: If it cannot make such samples.
        """

    @abstractmethod
    def discriminator(self, spec: SampleSpec) -> nn.Module:
        """Build the discriminator: ``(x (N, *spec.shape), labels or None) -> logits (N,)``.

        It may return logits (N, K), K > 1 of each sample, and an ``Output`` instead of the logits.

        Raises:
            UnsupportedSampleError: If it cannot judge such samples.
        """

    @classmethod
    def infer(cls, shapes: Shapes, known: Known = NOTHING) -> Inferred | None:
        """Tell from the shapes of a generator's weights what it was built with.

        It makes weights of other programs usable. It need not verify anything: whether the net
        built from its answer has these very shapes is checked afterwards.

        Args:
            shapes: Of weights and buffers by name, in the order in which the net defines them;
                the names are whatever its author chose.
            known: What the caller says of the generator.

        Returns:
            None where these cannot be the weights of such a generator.

        Raises:
            ConfigError: Where these are plainly the weights of another net, in a clause that begins
                with its subject: "its convolutions lead from an image to a vector".
        """
        return None

    def check(self, spec: SampleSpec) -> None:
        """Refuse what the architecture cannot do.

        Raises:
            UnsupportedSampleError: With the reason and what it can do.
        """

    def check_latent(self, latent: LatentSpec, spec: SampleSpec) -> None:
        """Refuse a latent that the generator of such samples cannot start from.

        Raises:
            ConfigError: With the reason and what it can do, as ``refuse_latent`` raises it.
        """

    def nearest_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest size it can do that holds (height, width).

        Where none is large enough, the largest it can do.
        """
        return height, width

    def refuse(self, spec: SampleSpec, reason: str) -> NoReturn:
        """Raise the error that ``check`` owes its caller."""
        sample = an(spec)
        raise UnsupportedSampleError(f"Architecture '{self.name}' cannot do {sample}: {reason}")

    def refuse_latent(self, latent: LatentSpec, reason: str) -> NoReturn:
        """Raise the error that ``check_latent`` owes its caller."""
        raise ConfigError(
            f"Architecture '{self.name}' cannot start from latents of shape {latent.shape}: "
            f"{reason}"
        )
