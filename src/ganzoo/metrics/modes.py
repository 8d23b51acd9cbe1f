"""Which modes of a distribution generated samples reach."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field

from ganzoo.datasets.mixture import QUARTER, reached
from ganzoo.errors import ConfigError, DataError
from ganzoo.metrics.base import Chosen, Part, Result
from ganzoo.metrics.classified import Classified

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import Kind, SampleSpec
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.metrics.inputs import MetricInputs

__all__ = ["Modes", "reverse_kl"]

_TOGETHER = 8192  # samples
_MOST = 10**6  # modes that are counted
_SURE = 0.8  # mean probability of the likeliest class, of pictures that a classifier knows
_COARSE = 0.03  # reverse KL by chance alone that is worth a notice


class Modes(Classified):
    """How many modes generated samples reach: of a mixture, or of classes that a net sees.

    The value is the number of modes with at least one sample, an integer from 0 on. One sample says
    little: samples that lie anywhere reach nearly all modes too. With a ``least_share`` above 0 a
    mode counts if its share of all samples is at least that part of its due, which is its share of
    the reference: by 0.25, a mode of 100 alike needs 0.25% of the samples. Of points, only samples
    of high quality are a mode's. ``extra["modes_due"]`` is the count by 0.25, always.

    Points of a mixture whose centres are known, by the protocol of Lin et al. 2017 (PacGAN),
    arXiv:1712.04086, sec. 4.1, which takes 2,500 samples: a mode counts with one sample within
    three standard deviations. ``extra["high_quality"]`` is the share of samples, in [0, 1], that
    are within three of a centre.

    Images, by the protocol of Metz et al. 2017, arXiv:1611.02163, sec. 3.3.1: the modes are the
    classes that a classifier sees, and for Stacked MNIST all 1,000 triples of digits.
    PacGAN takes 26,000 samples there.

    ``extra["reverse_kl"]`` is KL(q || p) in nats, from 0 on: q are the shares of the modes among
    generated samples, each counted for its nearest centre or likeliest class, and p the reference.
    Of n samples of p itself it is about (modes - 1) / 2n. ``extra["rarest"]`` is the smallest
    share of q, and ``extra["total"]`` the number of modes there are. Of images,
    ``extra["certainty"]`` is the mean probability, in [0, 1], of the likeliest class: a classifier
    sees classes in anything, also where there are none. ``extra["classes_of"]`` is the data whose
    classes it knows, where it says so.
    """

    citation: ClassVar[str] = (
        'Lin et al. 2017, "PacGAN: The power of two samples in generative adversarial networks", '
        "arXiv:1712.04086"
    )
    better: ClassVar[Literal["lower", "higher"]] = "higher"
    requires: ClassVar[tuple[Part, ...]] = ("samples", "logits")
    sample_kinds: ClassVar[tuple[Kind, ...]] = ("image", "vector")
    min_samples: ClassVar[int] = 1

    extractor: Chosen = Field(
        "classifier", validate_default=True, description="what sees the classes of images"
    )
    reference: Literal["uniform", "real"] = Field(
        "uniform",
        description="shares to compare with: all modes alike, or those of the real samples",
    )
    least_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="part of its due that a mode has at least, to count; 0: one sample",
    )

    @property
    def needs_real(self) -> bool:  # type: ignore[override]
        """Whether the shares of real samples are the reference."""
        return self.reference == "real"

    def wants(self, spec: SampleSpec) -> tuple[Part, ...]:
        """Return the points of a mixture, or the logits of images."""
        return ("samples",) if spec.kind == "vector" else ("logits",)

    def protocol(self, spec: SampleSpec, mixture: Mixture | None) -> dict[str, Any]:
        """Return when a mode counts, and which mixture the modes of points are those of."""
        rule = {"counted": self._rule}
        if mixture is None or spec.kind != "vector":
            return rule
        exact = json.dumps([mixture.centres, mixture.sd]).encode()
        digest = hashlib.sha256(exact).hexdigest()[:16]
        return {**rule, "mixture": digest, "modes": len(mixture.centres)}

    @property
    def _rule(self) -> str:
        """When a mode counts, in words."""
        if not self.least_share:
            return "modes with at least one sample"
        return f"modes with at least {self.least_share:g} of their due share of all samples"

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Count the modes.

        Raises:
            DataError: If a mode of the generated samples has none of the real ones, which are the
                reference.
            ConfigError: If points have no mixture, or the logits tell no classes.
        """
        mixture = fake.mixture or (real.mixture if real is not None else None)
        counts = self._counts(fake, mixture)
        total = len(counts)
        shares = [count / sum(counts) for count in counts]
        extra: dict[str, Any] = {}
        if mixture is not None and fake.samples is not None:
            coverage = mixture.coverage(fake.samples.cpu())
            shares = [share * coverage.high_quality for share in coverage.shares]
            extra["high_quality"] = coverage.high_quality
        reference = [1 / total] * total
        if self.reference == "real":
            reference = self._shares_of_real(real, mixture, counts)
        found = reached(shares, reference, self.least_share)
        extra |= {
            "total": total,
            "modes_due": reached(shares, reference, QUARTER),
            "reverse_kl": reverse_kl(counts, reference),
            "rarest": min(counts) / sum(counts),
        }
        if fake.logits is not None:
            extra["certainty"] = _certainty(fake.logits)
            if self.classes_of is not None:
                extra["classes_of"] = self.classes_of
        notices = tuple(self._notices(extra, sum(counts)))
        return Result(float(found), extra=extra, notices=notices)

    def _notices(self, extra: Mapping[str, Any], count: int) -> Iterator[str]:
        if (certainty := extra.get("certainty", 1.0)) < _SURE:
            known = f", which knows the classes of {self.classes_of}," if self.classes_of else ""
            yield (
                f"The classifier of '{self.name}'{known} gives what it sees a probability of only "
                f"{certainty:.2f} on average: samples that are none of its classes, or not yet "
                f"clear, are counted for some mode all the same."
            )
        chance = (extra["total"] - 1) / (2 * count)
        if chance > max(_COARSE, extra["reverse_kl"] / 4):
            yield (
                f"The reverse KL of '{self.name}' is about {chance:.2g} by chance alone with "
                f"{count:,} samples of {extra['total']:,} modes: take more to tell it from 0."
            )

    def _counts(self, part: MetricInputs, mixture: Mixture | None) -> list[int]:
        """How many samples are nearest to each mode."""
        if mixture is not None and part.samples is not None:
            centres = torch.tensor(mixture.centres, dtype=torch.float64)
            # Matrix products would be too coarse for narrow modes.
            exact = "donot_use_mm_for_euclid_dist"
            distances = torch.cdist(part.samples.cpu().double(), centres, compute_mode=exact)
            return _bins(distances.argmin(1), len(centres))
        if part.logits is None:
            raise ConfigError(
                f"The metric '{self.name}' needs to know the modes of points: take a dataset that "
                f"is a mixture, such as 'ring', or leave it out."
            )
        digits, classes = part.logits.argmax(-1), part.logits.shape[-1]
        if part.logits.ndim not in (2, 3) or classes < 2:
            raise ConfigError(
                f"Modes are counted by logits (N, K) of at least two classes, or (N, C, K) of the "
                f"channels of stacked images, not of shape {tuple(part.logits.shape)}: choose "
                f"another extractor."
            )
        if digits.ndim == 1:
            return _bins(digits, classes)
        if classes ** digits.shape[1] > _MOST:
            raise ConfigError(
                f"The metric '{self.name}' counts at most {_MOST:,} modes, and {digits.shape[1]} "
                f"channels of {classes} classes each make more: leave it out."
            )
        joint = torch.zeros_like(digits[:, 0])  # the first channel is the most significant digit
        for channel in range(digits.shape[1]):
            joint = joint * classes + digits[:, channel]
        return _bins(joint, classes ** digits.shape[1])

    def _shares_of_real(
        self, real: MetricInputs | None, mixture: Mixture | None, counts: list[int]
    ) -> list[float]:
        assert real is not None
        of_real = self._counts(real, mixture)
        for mode, (count, other) in enumerate(zip(counts, of_real, strict=True)):
            if count and not other:
                raise DataError(
                    f"Mode {mode} is among the generated samples and not among the {real.count:,} "
                    f"real ones, so that the divergence from these is infinite: give more real "
                    f"samples, or set reference='uniform'."
                )
        return [count / sum(of_real) for count in of_real]


def reverse_kl(counts: list[int], reference: list[float]) -> float:
    """Return KL(q || p) in nats, q the shares of these counts and p the reference.

    Infinite where q has something and p nothing.
    """
    total = sum(counts)
    terms = (
        count / total * math.log(count / total / p) if p > 0 else math.inf
        for count, p in zip(counts, reference, strict=True)
        if count > 0
    )
    return max(0.0, math.fsum(terms))


def _certainty(logits: Tensor) -> float:
    """Mean probability of the likeliest class."""
    sure = [part.double().softmax(-1).amax(-1).sum() for part in torch.split(logits, _TOGETHER)]
    return float(torch.stack(sure).sum() / logits[..., 0].numel())


def _bins(modes: Tensor, total: int) -> list[int]:
    counts: list[int] = torch.bincount(modes.cpu(), minlength=total).tolist()
    return counts
