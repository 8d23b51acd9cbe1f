"""The contract of a metric."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, SerializeAsAny

from ganzoo import features
from ganzoo.core.component import Component
from ganzoo.errors import ConfigError, DataError, an, listing
from ganzoo.features.base import Extractor

if TYPE_CHECKING:
    import torch

    from ganzoo.core.spec import Kind, SampleSpec
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.metrics.inputs import MetricInputs

__all__ = ["ANY_KIND", "FROM_EXTRACTOR", "Chosen", "Metric", "Part", "Result"]

Part = Literal["moments", "features", "logits", "samples", "generator"]
"""What a metric may require of samples; the fields of ``MetricInputs``."""

ANY_KIND: tuple[Kind, ...] = ("image", "audio", "sequence", "vector")


FROM_EXTRACTOR = frozenset[Part]({"moments", "features", "logits"})
"""Parts that an extractor computes."""


def _extractor(value: Any) -> Extractor:
    if callable(value) and not isinstance(value, type):
        from ganzoo.features.callable import as_extractor  # which imports torch

        value = as_extractor(value)
    return features.create(value)


Chosen = Annotated[SerializeAsAny[Extractor], BeforeValidator(_extractor)]
"""An extractor as a metric's option: a name, a mapping with ``name``, an extractor, or any net or
function that maps samples to features."""


@dataclass(frozen=True)
class Result:
    """What a metric says of samples.

    Attributes:
        value: The score.
        error: Its standard error or spread, as the metric's docstring says; None where it has
            none.
        extra: Further numbers, as JSON can hold them.
        notices: What a person should know about this score, a line each.
    """

    value: float
    error: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


class Metric(Component):
    """A named score of generated samples.

    A metric says what it requires of the samples; an evaluation computes that in one pass for
    all metrics, and calls ``score``. A metric defines ``compute``.
    """

    kind: ClassVar[str] = "metric"
    better: ClassVar[Literal["lower", "higher"] | None] = "lower"
    """Which of two scores is the better one; None where neither end is, so that none is best."""
    requires: ClassVar[tuple[Part, ...]] = ()
    """What it needs of the samples; features and logits are those of its ``extractor``."""
    needs_real: ClassVar[bool] = True
    """Whether real samples decide the score."""
    sample_kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    """The kinds of samples that it is for."""
    min_samples: ClassVar[int] = 2
    """Samples that it needs, real ones and generated ones each; a property where options decide."""
    lowers_min_samples: ClassVar[str | None] = None
    """The option that decides ``min_samples``, for messages."""

    @property
    def extracts(self) -> Extractor | None:
        """The extractor whose features it requires; None without one."""
        found = getattr(self, "extractor", None)
        return found if isinstance(found, Extractor) else None

    @property
    def num_pairs(self) -> int:
        """Pairs of a generated and a real sample that ``extra["closest"]`` names, for a picture."""
        return 0

    @abstractmethod
    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute the score from inputs that ``score`` has checked.

        Raises:
            DataError: If there is none of these samples.
            ConfigError: If the options do not fit them.
        """

    def wants(self, spec: SampleSpec) -> tuple[Part, ...]:
        """Return what it needs of such samples: ``requires``, unless that depends on them."""
        return self.requires

    def check(self, spec: SampleSpec) -> None:
        """Refuse samples that the metric is not for.

        Raises:
            ConfigError: If it is for samples of another kind, or its extractor cannot see them.
        """
        if spec.kind not in self.sample_kinds:
            raise ConfigError(
                f"The metric '{self.name}' is for samples of kind {listing(self.sample_kinds)}; "
                f"this is {an(spec)}. Leave it out."
            )
        sees = self.extracts
        if sees is None or sees.channels is None or spec.kind != "image":
            return
        if spec.channels not in sees.channels and FROM_EXTRACTOR & {*self.wants(spec)}:
            raise ConfigError(
                f"The metric '{self.name}' takes features of the extractor '{sees.name}', which "
                f"sees images of {' or '.join(map(str, sees.channels))} channels, and this is "
                f"{an(spec)}. Give it another extractor, or leave it out."
            )

    def check_count(self, count: int, whose: str) -> None:
        """Refuse too few samples.

        Args:
            count: How many there are.
            whose: ``real`` or ``generated``, for the message.

        Raises:
            DataError: If there are fewer than ``min_samples``.
        """
        if count < self.min_samples:
            option = self.lowers_min_samples
            raise DataError(
                f"The metric '{self.name}' needs at least {self.min_samples:,} {whose} samples, "
                f"not {count:,}: give more{f', or set {option} lower' if option else ''}."
            )

    def for_dataset(self, dataset_name: str) -> Metric:
        """Return the metric as it is to score samples of a dataset, by that one's name.

        This replaces defaults that would be wrong there, such as a classifier of other data;
        options that were set stay.

        Raises:
            ConfigError: If a default is wrong there, and nothing fits.
        """
        return self

    def protocol(self, spec: SampleSpec, mixture: Mixture | None) -> dict[str, Any]:
        """Return what decides its numbers besides options, extractor and samples, as plain values.

        Args:
            spec: What one sample is.
            mixture: The distribution that they come from, where it is known.

        Raises:
            CheckpointError: If weights that are part of it are not there.
        """
        return {}

    def prepare(self, device: torch.device) -> None:
        """Load what ``compute`` will need; called before any features are computed.

        So what is missing is known before a training, and not after hours of it. It leaves the
        global random state as it is.

        Args:
            device: Where it will compute; the ``device`` of its inputs.

        Raises:
            CheckpointError: If weights are not there.
        """

    def score(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Score generated samples.

        Args:
            real: Inputs of the real samples; may be None where ``needs_real`` is False.
            fake: Inputs of the generated samples.

        Returns:
            A finite value; the metric's own docstring says in which range and unit.

        Raises:
            DataError: If samples are too few, or anything about them is NaN or infinite.
            ConfigError: If the metric is for other samples, or an input is missing.
        """
        if real is None and self.needs_real:
            raise ConfigError(
                f"The metric '{self.name}' compares with real samples, and there are none: give "
                f"a dataset."
            )
        for part, whose in ((real, "real"), (fake, "generated")):
            if part is not None and (part is fake or self.needs_real):
                self._check_inputs(part, whose)
        result = self.compute(real, fake)
        if not math.isfinite(result.value):
            raise DataError(
                f"The metric '{self.name}' of these samples is {result.value}. Look at the "
                f"samples: what they hold is beyond what it can be computed from."
            )
        return result

    def _check_inputs(self, part: MetricInputs, whose: str) -> None:
        wanted = self.requires
        if part.spec is not None:
            self.check(part.spec)
            wanted = self.wants(part.spec)
        self.check_count(part.count, whose)
        for name in wanted:
            if name == "generator" and whose == "real":
                continue
            value = getattr(part, name)
            if value is None:
                raise ConfigError(
                    f"The metric '{self.name}' needs the {name} of the {whose} samples: give "
                    f"them in its inputs."
                )
            if name in ("features", "logits", "samples"):
                part.require_finite(name, whose)
