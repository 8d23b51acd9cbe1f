"""Inception Score, and its formula on other classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from ganzoo.errors import ConfigError
from ganzoo.metrics.base import ANY_KIND, Chosen, Part, Result
from ganzoo.metrics.classified import Classified

if TYPE_CHECKING:
    from ganzoo.core.spec import Kind
    from ganzoo.metrics.inputs import MetricInputs

__all__ = ["ClassifierScore", "InceptionScore"]

_CITATION = 'Salimans et al. 2016, "Improved Techniques for Training GANs", arXiv:1606.03498'


class ClassifierScore(Classified):
    """The Inception Score's formula on a classifier of your own data; no Inception Score.

    Salimans et al. 2016, arXiv:1606.03498, sec. 4: exp(E KL(p(y|x) || p(y))) with the classes y
    that a classifier sees in generated samples x. In [1, K] for K classes: K where it is sure of
    every sample and all classes are equally frequent. Scores of different classifiers cannot be
    compared. The samples are shuffled and split; the score is the mean over the splits and the
    error their standard deviation, as is usual. Real samples are not used.
    ``extra["classes_of"]`` is the data whose classes the classifier knows, where it says so.
    """

    citation: ClassVar[str] = _CITATION
    better: ClassVar[Literal["lower", "higher"]] = "higher"
    requires: ClassVar[tuple[Part, ...]] = ("logits",)
    needs_real: ClassVar[bool] = False
    sample_kinds: ClassVar[tuple[Kind, ...]] = ANY_KIND
    lowers_min_samples: ClassVar[str | None] = "splits"

    splits: int = Field(10, ge=1, description="parts that are averaged over")
    seed: int = Field(2020, ge=0, lt=2**32, description="decides the order before it is split")

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        """Two, and one for each split."""
        return max(2, self.splits)

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it from the logits, as torch-fidelity does.

        Raises:
            ConfigError: If the extractor gives no logits (N, K).
        """
        assert fake.logits is not None
        if fake.logits.ndim != 2 or fake.logits.shape[1] < 2:
            raise ConfigError(
                f"The metric '{self.name}' needs logits of at least two classes, (N, K), not of "
                f"shape {tuple(fake.logits.shape)}: choose another extractor."
            )
        count = len(fake.logits)
        order = torch.from_numpy(np.random.RandomState(self.seed).permutation(count))
        logits = fake.logits[order.to(fake.logits.device)]
        scores = []
        for part in range(self.splits):
            chosen = logits[part * count // self.splits : (part + 1) * count // self.splits]
            log_p = chosen.double().log_softmax(1)
            marginal = log_p.exp().mean(0).clamp(min=torch.finfo(torch.float64).tiny)
            divergence = (log_p.exp() * (log_p - marginal.log())).sum(1)
            scores.append(divergence.mean().exp().item())
        extra = {} if self.classes_of is None else {"classes_of": self.classes_of}
        return Result(float(np.mean(scores)), float(np.std(scores)), extra)


class InceptionScore(ClassifierScore):
    """Inception Score: whether samples are of clear and of many ImageNet classes.

    Salimans et al. 2016, arXiv:1606.03498, sec. 4: exp(E KL(p(y|x) || p(y))) with the 1,008
    classes of the Inception network. In [1, 1008]; real CIFAR-10 has about 11.2. It is published
    for 50,000 samples in 10 splits, with their standard deviation, which is the error here. The
    splits are those of torch-fidelity. Real samples are not used, so that it says nothing of
    data that ImageNet does not know.
    """

    extractor: Chosen = Field(
        "inception", validate_default=True, description="the classifier whose logits count"
    )
