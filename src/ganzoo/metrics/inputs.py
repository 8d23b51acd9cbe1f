"""What metrics are computed from: moments, features, logits and samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor

from ganzoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.datasets.mixture import Mixture

__all__ = ["MetricInputs", "Moments", "Sampler", "batches"]

_ROWS = 512  # folded into the covariance at once, at least: a matrix product wants many
_CHECKED = 4096  # samples checked together


class Moments:
    """Mean and covariance of features, which come batch by batch.

    Everything is in float64. Rows are collected into blocks of a fixed size, of which each is
    folded in by the update of Chan et al. 1979 (Stanford STAN-CS-79-773, eq. 2.1): with counts m
    and n, means a and b, and scatters S (sums of squared deviations from the mean),
    S = S_a + S_b + mn / (m + n) (b - a)(b - a)^T. So the size of the batches makes no difference to
    the bit, the order of the samples and their division among processes one of about 1e-13, and
    memory does not grow with the number of samples: it is that of two matrices (D, D).

    While there are no more samples than features, they stay as they are, for then their
    covariance has no full rank and they are a better factor of it.
    """

    def __init__(self) -> None:
        self._rows: Tensor | None = None  # (block, D), the first _pending are filled
        self._pending = 0
        self._folded = 0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None
        self._known: tuple[Tensor, Tensor] | None = None  # mean and scatter of all

    def __repr__(self) -> str:
        return f"Moments({self.count:,} samples, {self.dimensions:,} features)"

    @property
    def count(self) -> int:
        """Samples so far."""
        return self._folded + self._pending

    @property
    def dimensions(self) -> int:
        """D, features per sample; 0 before the first ones."""
        return 0 if self._rows is None else self._rows.shape[1]

    def add(self, features: Tensor) -> None:
        """Take in the features of a batch, (N, D) of any float type; N may be 0.

        Raises:
            DataError: If one is NaN or infinite, with the number of its sample.
            ConfigError: If they are not (N, D) with the D of the batches before.
        """
        if features.ndim != 2 or self.dimensions not in (0, features.shape[1]):
            raise ConfigError(
                f"Features are (N, {self.dimensions or 'D'}), not of shape "
                f"{tuple(features.shape)}; the extractor that made them is at fault."
            )
        features = features.detach()
        if not torch.isfinite(features).all():
            _refuse(features, self.count, "features", "these")
        if self._rows is None:
            device = features.device if features.device.type == "cuda" else torch.device("cpu")
            block = max(_ROWS, features.shape[1])
            self._rows = torch.empty(block, features.shape[1], dtype=torch.float64, device=device)
        start, self._known = 0, None
        while start < len(features):
            if self._pending == len(self._rows):
                self._fold()
            part = features[start : start + len(self._rows) - self._pending]
            self._rows[self._pending : self._pending + len(part)] = part
            self._pending += len(part)
            start += len(part)

    def merge(self, other: Moments) -> None:
        """Take in all that another one has, such as that of another process.

        Raises:
            ConfigError: If it has features of another size.
        """
        if other._rows is None:
            return
        self.add(other._rows[: other._pending])  # checks the size, too
        if other._folded:
            assert other._mean is not None and other._scatter is not None
            device = self._rows.device  # type: ignore[union-attr]
            self._combine(other._folded, other._mean.to(device), other._scatter.to(device))
            self._known = None

    @property
    def mean(self) -> Tensor:
        """Mean (D,), float64 on the CPU."""
        return self._all()[0].cpu()

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance (D, D), divided by N - 1, float64 on the CPU.

        Raises:
            DataError: If there are fewer than 2 samples.
        """
        _, scatter = self._all()
        return (scatter + scatter.T).cpu() / (2 * (self.count - 1))

    @property
    def factor(self) -> Tensor:
        """A (rows, D), float64 on the CPU, with A^T A the covariance and as few rows as are known.

        Raises:
            DataError: If there are fewer than 2 samples.
        """
        if self._folded == 0 and self.count <= self.dimensions:
            assert self._rows is not None
            mean, _ = self._all()
            rows: Tensor = (self._rows[: self._pending] - mean).cpu()
            return rows / math.sqrt(self.count - 1)
        covariance = self.covariance
        lower, failed = torch.linalg.cholesky_ex(covariance)
        if failed:  # it is of lower rank, up to rounding
            values, vectors = torch.linalg.eigh(covariance)
            positive = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
            lower = vectors[:, positive] * values[positive].sqrt()
        factor: Tensor = lower.T.contiguous()
        return factor

    @property
    def constant(self) -> bool:
        """Whether all samples have the same features, up to the rounding of float32."""
        mean, scatter = self._all()
        return bool(scatter.trace() <= 1e-12 * (self.count - 1) * mean.square().sum())

    # -- state --------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Return all of it as tensors on the CPU, to be sent to another process or written."""
        if self._rows is None:
            return {"count": torch.tensor(0)}
        state = {
            "count": torch.tensor(self._folded),
            "rows": self._rows[: self._pending].cpu().clone(),
        }
        if self._mean is not None and self._scatter is not None:
            state |= {"mean": self._mean.cpu().clone(), "scatter": self._scatter.cpu().clone()}
        return state

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Moments:
        """Return what ``state`` gave.

        Raises:
            DataError: If it is no such state.
        """
        moments = cls()
        try:
            folded = int(state["count"])
            if set(state) == {"count"} and folded == 0:
                return moments
            rows = state["rows"]
            names = {"count", "rows"} | ({"mean", "scatter"} if folded else set())
            if set(state) != names or folded < 0 or rows.dtype != torch.float64:
                raise ValueError("it has other tensors")
            moments.add(rows)
            if moments._folded:
                raise ValueError("it has too many rows")
            if folded:
                mean, scatter, size = state["mean"], state["scatter"], rows.shape[1]
                whole = (mean, scatter)
                if (mean.shape, scatter.shape) != ((size,), (size, size)) or not all(
                    value.dtype == torch.float64 and value.isfinite().all() for value in whole
                ):
                    raise ValueError("its mean and scatter are not those of its features")
                moments._folded = folded
                moments._mean, moments._scatter = mean.clone(), scatter.clone()
        except (KeyError, ValueError, RuntimeError, ConfigError) as error:
            raise DataError(f"This is not a state of moments: {error}.") from error
        return moments

    # -- inside -------------------------------------------------------------------------------

    def _fold(self) -> None:
        """Move the rows that are pending into mean and scatter."""
        assert self._rows is not None
        rows = self._rows[: self._pending]
        mean = rows.mean(0)
        centred = rows - mean
        self._pending = 0
        self._combine(len(rows), mean, centred.T @ centred)

    def _combine(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        if self._mean is None or self._scatter is None:
            self._folded, self._mean, self._scatter = count, mean.clone(), scatter.clone()
            return
        total = self._folded + count
        apart = mean - self._mean
        self._scatter += scatter
        self._scatter.addr_(apart, apart, alpha=self._folded * count / total)
        self._mean += apart * (count / total)
        self._folded = total

    def _all(self) -> tuple[Tensor, Tensor]:
        """Mean and scatter of all samples; which rows are pending stays as it is."""
        if self.count < 2 or self._rows is None:
            raise DataError(f"A covariance needs at least 2 samples, not {self.count}: give more.")
        if self._known is None:
            whole = Moments()
            whole._rows, whole._pending, whole._folded = self._rows, self._pending, self._folded
            if self._mean is not None and self._scatter is not None:
                whole._mean, whole._scatter = self._mean.clone(), self._scatter.clone()
            if whole._pending:
                whole._fold()
            assert whole._mean is not None and whole._scatter is not None
            self._known = whole._mean, whole._scatter
        return self._known


class Sampler(Protocol):
    """A generator as metrics of its latent space see it; ``ganzoo.Generator`` is one."""

    @property
    def latent(self) -> LatentSpec:
        """What it is fed."""

    @property
    def spec(self) -> SampleSpec:
        """What it makes."""

    def sample(
        self, count: int = 16, *, seed: int | None = None, latents: Tensor | None = None
    ) -> Tensor:
        """Samples (count, *spec.shape) in ``spec.value_range`` of the latents.

        Where it knows classes, the seed decides them.
        """


@dataclass(frozen=True, eq=False)
class MetricInputs:
    """What metrics are computed from, of real or of generated samples, all in the same order.

    Tensors are on the CPU, or on a device that computes in float64.

    Attributes:
        count: N, how many samples.
        moments: Mean and covariance of their features.
        features: Their features (N, D), float32.
        logits: Class logits (N, K) of a classifier, or (N, C, K) where it looks at each channel.
        samples: They themselves, (N, *spec.shape): uint8 in [0, 255], or floats in
            ``spec.value_range``.
        generator: What made them.
        spec: What one sample is.
        mixture: The distribution that they come from, where it is known.
        device: Where to compute what needs a net, such as a perceptual distance; None for the CPU.
        cache: What a metric has computed from it and others need as well.
    """

    count: int
    moments: Moments | None = None
    features: Tensor | None = None
    logits: Tensor | None = None
    samples: Tensor | None = None
    generator: Sampler | None = None
    spec: SampleSpec | None = None
    mixture: Mixture | None = None
    device: torch.device | None = None
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    def require_finite(self, name: Literal["features", "logits", "samples"], whose: str) -> None:
        """Look at every number once.

        Raises:
            DataError: If one is NaN or infinite, with the number of its sample.
        """
        if ("finite", name) in self.cache:
            return
        values: Tensor = getattr(self, name)
        if values.is_floating_point():
            for batch in batches(len(values), _CHECKED):
                if not torch.isfinite(values[batch]).all():
                    _refuse(values[batch], batch.start, name, whose)
        self.cache["finite", name] = True

    def pixels(self, chosen: slice | Tensor) -> Tensor:
        """Return some of the images as float32 (n, C, H, W) in [0, 255], not rounded.

        Raises:
            ConfigError: If the value range is not known.
        """
        assert self.samples is not None
        images = self.samples[chosen]
        if images.dtype == torch.uint8:
            return images.float()
        if self.spec is None or self.spec.value_range is None:
            raise ConfigError(
                "These images have no value range, so black and white are not known. "
                "Give it in their spec, or give them as uint8."
            )
        low, high = self.spec.value_range
        return (images.float() - low) * (255 / (high - low))


def batches(count: int, size: int) -> Iterator[slice]:
    """Give the slices that cut ``count`` things into batches of at most ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _refuse(values: Tensor, start: int, name: str, whose: str) -> None:
    bad = ~torch.isfinite(values).flatten(1).all(1)
    first = start + int(bad.nonzero()[0])
    what = f"The {name} of {whose} samples" if name != "samples" else f"Some {whose} samples"
    raise DataError(
        f"{what} are not finite (NaN or infinity), the first of them in sample {first:,}, so that "
        f"there is no score. Look at the samples: a generator that diverged makes such ones."
    )
