"""The contract of a penalty."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ganzoo.core.component import Component

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Step

__all__ = ["Penalty"]


class Penalty(Component):
    """A term that is added to the loss of one player.

    Its mean is a column of ``metrics.jsonl`` by the penalty's name, without the weight.
    """

    kind: ClassVar[str] = "penalty"
    player: ClassVar[Literal["discriminator", "generator"]] = "discriminator"
    """Whose loss it is added to."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """Inputs of D that it differentiates: ``real``, ``fake`` or both.

    The game makes them require gradients before D's one forward pass, so that ``penalty`` takes
    the gradient of ``step.real_output.logits`` with respect to ``step.real``.
    """

    weight: float = Field(1.0, ge=0, description="factor of the term")
    every: int = Field(
        1, ge=1, description="iterations between two terms, whose weight is multiplied by it"
    )

    def build(self, spec: SampleSpec, latent: LatentSpec) -> Any:
        """Return what the penalty remembers between steps, or None; ``step.built`` has it.

        It is an ``nn.Module``, whose parameters are trained with ``player``, or an object with
        ``state`` and ``restore``. Checkpoints hold its state.
        """
        return None

    @abstractmethod
    def penalty(self, step: Step) -> Tensor:
        """Return the term without its weight, a scalar, from all that the phase knows."""
