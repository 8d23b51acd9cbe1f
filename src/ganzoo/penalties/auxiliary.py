"""The auxiliary classifier as a term beside any loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch.nn.functional import cross_entropy

from ganzoo.losses.auxiliary import class_error
from ganzoo.penalties.base import Penalty, Player

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step

__all__ = ["AuxiliaryClassifier"]


class AuxiliaryClassifier(Penalty):
    """D tells the classes of samples, and G makes samples whose classes are told right.

    The classes' part of Odena et al. 2017, arXiv:1610.09585, eq. 2 and 3, for any adversarial loss:
    the cross-entropy of D's class logits on real samples for D, and on generated ones for G. With
    ``fake``, as in the paper, D learns them on generated samples too: then the two may agree on any
    sample for a class.
    """

    name: ClassVar[str] = "auxiliary-classifier"
    citation: ClassVar[str] = (
        'Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs", '
        "arXiv:1610.09585"
    )
    wants: ClassVar[frozenset[str]] = frozenset({"classes"})

    fake: bool = Field(
        False, description="teach D the classes of generated samples too, as in the paper"
    )

    @property
    def players(self) -> frozenset[Player]:
        """Both."""
        return frozenset({"discriminator", "generator"})

    def value(self, classes: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of class logits (N, classes) to labels (N,); a scalar."""
        return cross_entropy(classes.float(), labels)

    def penalty(self, step: Step) -> Tensor:
        """Return the cross-entropy of the classes, in nats; a scalar."""
        assert step.fake_output is not None
        if step.player == "generator":
            return class_error(step.fake_output, step.labels)
        assert step.real_output is not None
        error = class_error(step.real_output, step.labels)
        return error + class_error(step.fake_output, step.labels) if self.fake else error
