"""The check of a metric."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from ganzoo import metrics
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets.mixture import Mixture
from ganzoo.errors import ConfigError, ContractError, DataError, GanzooError, listing
from ganzoo.metrics import Result
from ganzoo.metrics.base import ANY_KIND, FROM_EXTRACTOR, Part
from ganzoo.metrics.inputs import MetricInputs, Moments
from ganzoo.testing.component import (
    SPECS,
    as_json,
    checked,
    first_accepted,
    made_up,
    require_no_draws,
)
from ganzoo.training.contract import blaming, describe, require

if TYPE_CHECKING:
    from ganzoo.metrics import Metric

__all__ = ["check_metric"]

_SAMPLES, _FEATURES, _CLASSES = 64, 16, 10
_EXACT = 1e-6  # by which a score may depend on the order of the samples
_TENSORS: tuple[Literal["features", "logits", "samples"], ...] = ("features", "logits", "samples")


def check_metric(component: str | type[Metric] | Metric, spec: SampleSpec | None = None) -> None:
    """Check that a metric keeps its contract.

    Of made-up inputs it must compute a finite score, the same each time and, unless it has an
    option ``seed``, in any order of the samples. It may use only what it requires, and leaves that
    as it is. Samples that are too few, not finite or of another kind must be refused.

    Args:
        component: The metric, its class or its registered name. It is tried on 64 samples, or
            ``min_samples`` where these are more.
        spec: What a sample is; by default the first of a small RGB image, a vector, audio and a
            sequence that the metric is for.

    Raises:
        AssertionError: If it breaks the contract.
        ConfigError: If it refuses the ``spec``.
        GanzooError: If the component cannot be created.
    """
    with checked(component, metrics.registry) as metric:
        _check_declared(metric)
        spec = first_accepted(metric, metric.check, SPECS) if spec is None else spec
        metric.check(spec)
        count = max(_SAMPLES, metric.min_samples)
        first = _check_result(metric, "compute", spec, count)
        with require_no_draws("compute()"):
            again = _check_result(metric, "score", spec, count)
        require(
            first.value == again.value,
            f"The same samples have the score {first.value!r}, and then {again.value!r}. What is "
            f"drawn at random must follow from an option 'seed'.",
        )
        if "seed" not in type(metric).model_fields:
            order = torch.randperm(count, generator=torch.Generator().manual_seed(5))
            found = metric.score(*_sides(metric, spec, count, order=order)).value
            require(
                abs(found - first.value) <= _EXACT * max(1.0, abs(first.value)),
                f"In another order the same samples have the score {found!r} instead of "
                f"{first.value!r}. A metric is of a set of samples; one that draws some at random "
                f"has an option 'seed'.",
            )
        _check_refusals(metric, spec, count)


def _check_declared(metric: Metric) -> None:
    cls = type(metric)
    require(
        cls.better in ("lower", "higher", None),
        f"{cls.__name__}.better is {cls.better!r}: say 'lower' or 'higher', or None for neither.",
    )
    for name, known in (("requires", get_args(Part)), ("sample_kinds", ANY_KIND)):
        value = getattr(cls, name)
        require(
            isinstance(value, tuple) and bool(value) and {*value} <= {*known},
            f"{cls.__name__}.{name} is {value!r}: give a tuple of {listing(known)}.",
        )
    has = "extractor" in cls.model_fields
    require(
        has == bool(FROM_EXTRACTOR & {*cls.requires}),
        f"{cls.__name__} requires {listing(cls.requires)} and has {'an' if has else 'no'} option "
        f"'extractor': moments, features and logits are those of its extractor, which nothing "
        f"else needs.",
    )


class _MadeUp(nn.Module):
    """A generator, as metrics of the latent space see it."""

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.spec, self.latent = spec, LatentSpec(shape=(4,))
        source = torch.Generator().manual_seed(3)
        self.weight = torch.randn(4, spec.numel, generator=source)

    def sample(
        self, count: int = 16, *, seed: int | None = None, latents: Tensor | None = None
    ) -> Tensor:
        if latents is None:
            latents = self.latent.sample(count, generator=torch.Generator().manual_seed(seed or 0))
        low, high = self.spec.value_range or (-1.0, 1.0)
        values = torch.tanh(latents @ self.weight).reshape(count, *self.spec.shape)
        return (values + 1) * ((high - low) / 2) + low


def _inputs(
    metric: Metric,
    spec: SampleSpec,
    count: int,
    side: int,
    *,
    order: Tensor | None = None,
    broken: Part | None = None,
) -> MetricInputs:
    """What a metric requires of real (0) or generated (1) samples, and nothing else."""
    parts = metric.wants(spec)
    source = torch.Generator().manual_seed(10 + side)
    order = torch.arange(count) if order is None else order
    made: dict[str, Any] = {
        "features": (torch.rand(count, _FEATURES, generator=source) + 0.1 * side)[order],
        "logits": torch.randn(count, _CLASSES, generator=source)[order],
        "samples": made_up(spec, count, 20 + side)[order],
        "generator": _MadeUp(spec) if side else None,
        "moments": Moments(),
    }
    if broken is not None:
        made[broken] = made[broken].float()
        made[broken][count // 2] = float("nan")
    if "moments" in parts:
        made["moments"].add(made["features"])
    mixture = None
    if spec.kind == "vector":
        mixture = Mixture(centres=tuple((float(k),) * spec.numel for k in range(3)), sd=1.0)
    given = {name: value for name, value in made.items() if name in parts}
    return MetricInputs(count=count, spec=spec, mixture=mixture, **given)


def _sides(
    metric: Metric, spec: SampleSpec, count: int, **how: Any
) -> tuple[MetricInputs | None, MetricInputs]:
    real = _inputs(metric, spec, count, 0, **how) if metric.needs_real else None
    return real, _inputs(metric, spec, count, 1, **how)


def _check_result(metric: Metric, method: str, spec: SampleSpec, count: int) -> Result:
    sides = _sides(metric, spec, count)
    before = [copy.deepcopy(_tensors(part)) for part in sides]
    remedy = f"It may use only what it requires of a {spec}: {listing(metric.wants(spec))}."
    with blaming(f"{method}() of {count} samples", remedy, own=True):
        result: Any = getattr(metric, method)(*sides)
    require(
        isinstance(result, Result),
        f"compute() must return a Result(value, ...), not {describe(result)}.",
    )
    for name, value in (("value", result.value), ("error", result.error)):
        require(
            type(value) in (int, float) or (name == "error" and value is None),
            f"The {name} of the Result must be a number of Python's, not {describe(value)}: take "
            f"float() of it.",
        )
    require(
        result.error is None or 0 <= result.error < float("inf"),
        f"The error of the Result is {result.error}: it is a finite number from 0 on, or None.",
    )
    remedy = "Give numbers, texts, and lists and mappings of them."
    as_json("The extra of the Result", lambda: dict(result.extra), remedy)
    require(
        isinstance(result.notices, tuple) and all(isinstance(line, str) for line in result.notices),
        f"The notices of the Result must be a tuple of texts, not {result.notices!r}.",
    )
    for part, old in zip(sides, before, strict=True):
        require(
            all(torch.equal(value, old[name]) for name, value in _tensors(part).items()),
            "compute() changes its inputs in place, which other metrics need.",
        )
    found: Result = result
    return found


def _tensors(part: MetricInputs | None) -> dict[str, Tensor]:
    if part is None:
        return {}
    found: dict[str, Any] = {name: getattr(part, name) for name in _TENSORS}
    found["moments"] = None if part.moments is None else part.moments.mean
    return {name: value for name, value in found.items() if value is not None}


def _check_refusals(metric: Metric, spec: SampleSpec, count: int) -> None:
    for other in SPECS:
        if other.kind not in metric.sample_kinds:
            what = f"check() of a {other}, whose kind is not among its sample_kinds,"
            _check_refused(partial(metric.check, other), ConfigError, what)
    if metric.needs_real:
        call = partial(metric.score, None, _inputs(metric, spec, count, 1))
        _check_refused(call, ConfigError, "score() without real samples")
    for part in _TENSORS:
        if part in metric.wants(spec):
            call = partial(metric.score, *_sides(metric, spec, count, broken=part))
            _check_refused(call, DataError, f"score() of {part} with NaN")
    if (few := metric.min_samples - 1) >= 0:
        call = partial(metric.score, *_sides(metric, spec, few))
        what = f"score() of {few} samples, fewer than its 'min_samples',"
        _check_refused(call, DataError, what)


def _check_refused(call: Callable[[], Any], wanted: type[GanzooError], what: str) -> None:
    raised = "nothing"
    try:
        call()
    except wanted:
        return
    except Exception as error:
        raised = f"{type(error).__name__} ({error})"
    raise ContractError(
        f"{what} raised {raised}; it must raise {wanted.__name__}. Call super(), whose checks come "
        f"first, or leave the method as it is."
    )
