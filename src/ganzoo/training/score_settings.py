"""Settings of scores while training: what is scored, and what is the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganzoo import metrics
from ganzoo.config import several
from ganzoo.errors import ConfigError, did_you_mean, listing

if TYPE_CHECKING:
    from ganzoo.config import TrainConfig
    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.metrics import Metric

__all__ = ["by_score", "check_same", "resolve_evals"]

_RESERVED = ("step", "evaluated", "average", "measured")  # what else rows of scores have


def resolve_evals(
    config: TrainConfig, spec: SampleSpec, mixture: Mixture | None, numbers: Sequence[str]
) -> TrainConfig:
    """Return the settings with all that decides which generator is the best.

    ``numbers`` are the names of what rows of ``metrics.jsonl`` have.

    Raises:
        ConfigError: If a metric is for other samples, or there is no such score or number.
    """
    if config.evaluate_every:
        config = _with_metrics(config, spec, mixture)
    else:
        _check_unused(config)
    if by_score(config):
        return config
    if config.patience is not None:
        raise ConfigError(
            "patience requires evaluate_every. Leave it out, or set evaluate_every, and keep_best, "
            "if at all, to one of the metrics."
        )
    if config.keep_best is None:
        return config
    name = config.keep_best.partition(":")[2]
    known = [*numbers, *_scored(config)]
    if name not in known:
        raise ConfigError(
            f"keep_best needs a score or a number of metrics.jsonl, and this training has no "
            f"'{name}'.{did_you_mean(name, known)} Give min: or max: and one of: {listing(known)}."
        )
    if not config.checkpoint_every:
        raise ConfigError(
            "keep_best needs checkpoints to choose from, and checkpoint_every is 0. Set it."
        )
    return config


def check_same(saved: Sequence[Metric], given: Any, run: object) -> None:
    """Refuse to go on with other metrics, whose scores would be set beside those of the run.

    Functions and nets that see are taken as they are given: they cannot be in a file.

    Raises:
        ConfigError: If they are not those of the run.
    """
    again = [metrics.create(value) for value in several(given)]
    if [_named(metric) for metric in saved] != [_named(metric) for metric in again]:
        if not saved:
            raise ConfigError(
                f"{run} is not scored while training, so that no metrics can be given. Leave them "
                f"out, and score its generators with 'ganzoo evaluate'."
            )
        names = [metric.name for metric in saved]
        options = " with other options" if names == [metric.name for metric in again] else ""
        raise ConfigError(
            f"{run} is scored by {listing(names)}{options}: scores of these metrics could not be "
            f"compared. Give the same ones again, or score its generators with 'ganzoo evaluate'."
        )


def _named(metric: Metric) -> dict[str, Any]:
    dumped = metric.model_dump(mode="json")
    seen = dumped.get("extractor")
    if isinstance(seen, dict) and seen.get("name") == "callable":
        dumped["extractor"] = "callable"
    return dumped


def by_score(config: TrainConfig) -> bool:
    """Return whether the best generator is chosen by a score, not by a number of the rows."""
    return (config.keep_best or "").partition(":")[2] in _scored(config)


def _scored(config: TrainConfig) -> list[str]:
    return [metric.name for metric in config.metrics if config.evaluate_every]


def _with_metrics(config: TrainConfig, spec: SampleSpec, mixture: Mixture | None) -> TrainConfig:
    chosen = config.metrics or _usual(spec, mixture)
    for metric in chosen:
        metric.check(spec)
        if metric.name in _RESERVED:
            raise ConfigError(
                f"A metric named '{metric.name}' would be confused with another column of "
                f"metrics.jsonl. Give it another name."
            )
    if config.steps is not None and int(config.evaluate_every) > config.steps:
        raise ConfigError(
            f"evaluate_every is {config.evaluate_every}, and the training has {config.steps} "
            f"steps: nothing would be scored. Set it lower, or leave it out."
        )
    best = config.keep_best
    for metric in chosen:
        if best is None and metric.better is not None:
            best = f"{'max' if metric.better == 'higher' else 'min'}:{metric.name}"
    return config.model_copy(update={"metrics": chosen, "keep_best": best})


def _check_unused(config: TrainConfig) -> None:
    """Refuse settings that would be ignored."""
    for name in ("metrics", "evaluate_num_real", "real_split", "evaluate_async"):
        if getattr(config, name):
            raise ConfigError(
                f"'{name}' is for scores while training, of which there are none. Set "
                f"evaluate_every, or leave '{name}' out; 'ganzoo evaluate' scores a generator "
                f"afterwards."
            )


def _usual(spec: SampleSpec, mixture: Mixture | None) -> tuple[Metric, ...]:
    """What is scored where nothing is said."""
    if spec.kind == "image":
        return (metrics.create("fid"),)
    if mixture is not None:
        return (metrics.create("modes"),)
    raise ConfigError(
        f"'evaluate_every' needs metrics, and none is the usual one for samples of kind "
        f"'{spec.kind}'. Give some: 'ganzoo list metrics' shows them."
    )
