"""The contract of a penalty."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ganzoo.core.component import Component
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.architectures.base import Architecture
    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Step

__all__ = ["Penalty"]

Player = Literal["discriminator", "generator"]


class Penalty(Component):
    """A term that is added to the loss of one player, or of both.

    Its mean is a column of ``metrics.jsonl`` by the penalty's name, without the weight. Where both
    players have one, the columns begin with ``d_`` and ``g_``.
    """

    kind: ClassVar[str] = "penalty"
    player: ClassVar[Player] = "discriminator"
    """Whose loss it is added to, and whose optimizer trains what ``build`` returns."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """What it needs of D's one forward pass: ``real``, ``fake``, ``features``, ``classes``.

    ``real`` and ``fake`` are inputs that it differentiates: the game makes them require gradients
    before that pass, so that ``penalty`` takes the gradient of ``step.real_output.logits`` with
    respect to ``step.real``. With ``features``, outputs have the inputs of D's last layer where
    D returns no features itself; with ``classes``, D has to return class logits.
    """
    second_order: ClassVar[bool] = False
    """Whether it differentiates a gradient, so that all layers need a second derivative."""
    instead: ClassVar[str] = ""
    """The penalty to take where a layer has no second derivative."""
    per_sample: ClassVar[bool] = False
    """Whether it is meant for a D whose logit of a sample depends on that sample alone."""
    generator_sees_real: ClassVar[bool] = False
    """Whether G's phase needs fresh real samples and D's output on them."""
    whole_batch: ClassVar[bool] = False
    """Whether it is of the batch as a whole, such as of its mean, and not a mean over samples.

    Micro-batches (``accumulate``) change it: a notice says so.
    """
    min_batch: ClassVar[int] = 1
    """Samples that it needs at a time."""

    weight: float = Field(1.0, ge=0, allow_inf_nan=False, description="factor of the term")
    every: int = Field(
        1, ge=1, description="iterations between two terms, whose weight is multiplied by it"
    )

    @model_validator(mode="before")
    @classmethod
    def _is_of_its_player(cls, options: Any) -> Any:
        if isinstance(options, Mapping) and "player" in options.keys() - cls.model_fields.keys():
            raise ConfigError(
                f"Penalty '{cls.name}' is added to the loss of its own player (by default the "
                f"{cls.player}), which no option changes. Leave player out."
            )
        return options

    @property
    def players(self) -> frozenset[Player]:
        """Whose losses it is added to: ``player``, unless an option decides."""
        return frozenset({self.player})

    def build(self, spec: SampleSpec, latent: LatentSpec) -> Any:
        """Return what the penalty remembers between steps, or None; ``step.built`` has it.

        It is an ``nn.Module``, whose parameters are trained with ``player``, or an object with
        ``state`` and ``restore``. Checkpoints hold its state.
        """
        return None

    def build_with(self, arch: Architecture, spec: SampleSpec, latent: LatentSpec) -> Any:
        """Return what ``build`` does; a penalty with a net like one of the players' overrides it.

        ``arch.discriminator(spec)`` is a further one, with weights of its own.
        """
        return self.build(spec, latent)

    @abstractmethod
    def penalty(self, step: Step) -> Tensor:
        """Return the term without its weight, a scalar, from all that the phase knows."""
