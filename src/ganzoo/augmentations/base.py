"""The contract of an augmentation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ganzoo.core.component import Component
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from ganzoo.core.spec import SampleSpec
    from ganzoo.core.step import Step

__all__ = ["Augmentation", "images_only"]


class Augmentation(Component):
    """Random maps that all samples pass through on their way to D, in both phases.

    Gradients flow through them to G. Saved samples and scores are not augmented.
    """

    kind: ClassVar[str] = "augmentation"

    @property
    def without_signs(self) -> str:
        """How to do without the signs of D's logits, where ``adapt`` reads them; else ''.

        They mean nothing under losses that say ``relative``, and the two are not combined.
        """
        return ""

    @property
    def schedulable(self) -> Mapping[str, str]:
        """Buffers () of the module that schedules may set, each with the option that bounds it.

        What ``adapt`` moves by itself is not among them.
        """
        return {}

    @abstractmethod
    def build(self, spec: SampleSpec) -> nn.Module:
        """Return the module: samples (N, *shape) to samples (N, *shape), differentiable.

        It draws from torch's global random numbers. Checkpoints hold its buffers.
        """

    def adapt(self, module: nn.Module, step: Step) -> None:
        """Change the module's buffers after an update of D, without host-device sync.

        ``step.real_output`` has D's logits, turned so that D takes samples above 0 for real
        whatever the loss. What is written into ``step.scalars`` is a column of ``metrics.jsonl``.
        """


def images_only(augmentation: Augmentation, spec: SampleSpec) -> None:
    """Refuse samples that are no images (C, H, W).

    Raises:
        ConfigError: With what to do.
    """
    if spec.kind != "image" or len(spec.shape) != 3:
        raise ConfigError(
            f"Augmentation '{augmentation.name}' changes images, not {spec.kind} samples of shape "
            f"{spec.shape}. Leave it out, or take 'noise', which suits samples of any kind."
        )
