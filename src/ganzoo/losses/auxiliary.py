"""The auxiliary classifier: D tells classes, and G makes samples that it tells right."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch.nn.functional import cross_entropy

from ganzoo.core.step import Output
from ganzoo.losses.logistic import NonSaturating

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step

__all__ = ["AuxiliaryClassifier", "class_error"]


class AuxiliaryClassifier(NonSaturating):
    """The non-saturating loss, and D's error in telling the classes of samples.

    Odena et al. 2017, arXiv:1610.09585, eq. 2 and 3: both players minimise the cross-entropy of
    the class, D on real samples, G on its own. In the paper D learns the classes of generated
    samples too (``fake``): then the two may agree on any sample for a class. D returns class
    logits, and the data have labels. For another adversarial loss add the penalty of this name.
    On plain logits, ``discriminator`` and ``generator`` are the adversarial part; the other is
    ``value`` of that penalty.
    """

    name: ClassVar[str] = "auxiliary-classifier"
    citation: ClassVar[str] = (
        'Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs", '
        "arXiv:1610.09585"
    )
    wants: ClassVar[frozenset[str]] = frozenset({"classes"})
    schedulable: ClassVar[tuple[str, ...]] = ("weight",)

    weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="factor of the classes' cross-entropy"
    )
    fake: bool = Field(
        False, description="teach D the classes of generated samples too, as in the paper"
    )

    @property
    def d_range(self) -> None:
        """None: the loss holds a classifier's, too."""
        return None

    def discriminator_loss(self, step: Step) -> Tensor:
        """D's loss; reports its mean cross-entropy of the classes as ``d_classes``."""
        assert step.real_output is not None and step.fake_output is not None
        error = class_error(step.real_output, step.labels)
        if self.fake:
            error = error + class_error(step.fake_output, step.labels)
        step.scalars["d_classes"] = error.detach()
        return super().discriminator_loss(step) + self.weight * error

    def generator_loss(self, step: Step) -> Tensor:
        """G's loss; reports its cross-entropy of the classes as ``g_classes``."""
        assert step.fake_output is not None
        error = class_error(step.fake_output, step.labels)
        step.scalars["g_classes"] = error.detach()
        return super().generator_loss(step) + self.weight * error


def class_error(output: Output, labels: Tensor | None) -> Tensor:
    """Return the mean cross-entropy of D's class logits (N, classes) to labels (N,), in nats."""
    assert output.classes is not None and labels is not None  # as is checked before training
    return cross_entropy(output.classes.float(), labels)
