"""Zero-centred gradient penalties R1 and R2."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ganzoo.penalties.base import Penalty
from ganzoo.penalties.gradients import gradients, squared_norms

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.step import Step

__all__ = ["R1", "R2"]


class ZeroCentred(Penalty):
    """Half the mean squared norm of D's gradient at samples."""

    citation: ClassVar[str] = (
        'Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", '
        "arXiv:1801.04406"
    )
    second_order: ClassVar[bool] = True

    def value(self, logits: Tensor, samples: Tensor) -> Tensor:
        """Return E |grad D(x)|^2 / 2, a scalar.

        Args:
            logits: D's (N,) or (N, K).
            samples: (N, *shape), which require gradients and which ``logits`` were computed from.
        """
        return squared_norms(gradients(logits, samples)).mean() / 2


class R1(ZeroCentred):
    """R1: D's gradient vanishes at real samples.

    Mescheder et al. 2018, arXiv:1801.04406, eq. 9: E |grad D(x)|^2 / 2; the weight is its gamma.
    It costs a backward pass through D and no forward pass.
    """

    name: ClassVar[str] = "r1"
    wants: ClassVar[frozenset[str]] = frozenset({"real"})
    instead: ClassVar[str] = "approximate-r1"

    def penalty(self, step: Step) -> Tensor:
        """Return E |grad D(x)|^2 / 2, a scalar."""
        assert step.real is not None and step.real_output is not None
        return self.value(step.real_output.logits, step.real)


class R2(ZeroCentred):
    """R2: D's gradient vanishes at generated samples.

    Mescheder et al. 2018, arXiv:1801.04406, eq. 10: E |grad D(G(z))|^2 / 2; the weight is its
    gamma. It costs a backward pass through D and no forward pass.
    """

    name: ClassVar[str] = "r2"
    wants: ClassVar[frozenset[str]] = frozenset({"fake"})
    instead: ClassVar[str] = "approximate-r2"

    def penalty(self, step: Step) -> Tensor:
        """Return E |grad D(G(z))|^2 / 2, a scalar."""
        assert step.fake_output is not None
        return self.value(step.fake_output.logits, step.fake)
