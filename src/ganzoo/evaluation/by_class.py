"""A score of each class: generated samples of a class against real ones of that class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.errors import ConfigError, DataError, listing
from ganzoo.evaluation.score import Score
from ganzoo.evaluation.sources import GeneratedSamples, StoredSamples

if TYPE_CHECKING:
    from ganzoo.evaluation.options import EvalOptions
    from ganzoo.evaluation.sources import RealSamples
    from ganzoo.generators.generator import Generator
    from ganzoo.metrics import Metric

__all__ = ["SUFFIX", "ClassSides", "check_asked", "check_counts", "joined", "sides"]

SUFFIX = "-per-class"
"""What the name of a metric ends with, where its value is the mean over the classes."""

_NAMED = 5  # classes that a message names


@dataclass(frozen=True, eq=False)
class ClassSides:
    """What is compared of one class."""

    name: str
    real: StoredSamples | None
    fake: GeneratedSamples


def check_asked(
    metrics: Iterable[Metric], generator: Generator | None, options: EvalOptions
) -> None:
    """Refuse, before data are looked at, what has no score of each class.

    Args:
        metrics: The metrics.
        generator: The source; None where that is a dataset.
        options: What else was asked for.

    Raises:
        ConfigError: If the source is no conditional generator, a metric draws samples of its own,
            or samples are fewer than classes.
    """
    if generator is None:
        raise ConfigError(
            "per_class asks a conditional generator for samples of each class, and the source is a "
            "dataset. Give a generator, or leave per_class out."
        )
    classes = generator.spec.classes
    if classes is None:
        raise ConfigError(
            "per_class needs a generator that knows classes, and this one knows none. Give one "
            "that was trained with conditional=True, or leave per_class out."
        )
    if options.labels == "data":
        raise ConfigError(
            "labels='data' has no meaning with per_class, which takes as many samples of each "
            "class. Leave one of them out."
        )
    if options.num_fake is not None and options.num_fake < len(classes):
        raise ConfigError(
            f"per_class divides num_fake evenly among {len(classes):,} classes, and "
            f"{options.num_fake:,} samples are fewer. Give more."
        )
    for metric in metrics:
        if "generator" in metric.wants(generator.spec):
            raise ConfigError(
                f"The metric '{metric.name}' draws samples of its own, of all classes together. "
                f"Leave it out, or leave per_class out."
            )


def sides(real: RealSamples | None, fake: GeneratedSamples) -> tuple[ClassSides, ...]:
    """Divide both sides by classes, which are matched by their names.

    Args:
        real: The real samples, where they are compared with.
        fake: The generated samples; of each class it is an equal number, with the same latents.

    Returns:
        The classes in the generator's order.

    Raises:
        ConfigError: If the real samples have no classes, or others.
    """
    names = fake.spec.classes
    assert names is not None
    each = fake.count // len(names)
    found: list[ClassSides] = []
    for number, name in enumerate(names):
        own = replace(fake, count=each, weights=torch.tensor([number]))
        found.append(ClassSides(name, None, own))
    if real is None:
        return tuple(found)
    have = real.spec.classes
    if not isinstance(real, StoredSamples) or real.labels is None or have is None:
        raise ConfigError(
            "per_class needs real samples with classes, and these have none. Give a dataset with "
            "labels, or leave per_class out."
        )
    if {*have} != {*names}:
        raise ConfigError(
            f"The generator knows the classes {_named(names)}, and the real samples have "
            f"{_named(have)}: they are matched by name. Give real samples whose classes have the "
            f"same names, or leave per_class out."
        )
    return tuple(replace(part, real=real.of_class(have.index(part.name))) for part in found)


def check_counts(metric: Metric, parts: Sequence[ClassSides], compared: bool) -> None:
    """Refuse classes with too few samples, by the one with the fewest.

    Args:
        metric: The metric.
        parts: The classes.
        compared: Whether the metric gets real samples.

    Raises:
        DataError: If a class has fewer than the metric needs.
    """
    fewest = min(parts, key=lambda part: part.real.count if part.real is not None else 0)
    if compared and fewest.real is not None:
        metric.check_count(fewest.real.count, f"real '{fewest.name}'")
    try:
        metric.check_count(fewest.fake.count, f"generated '{fewest.name}'")
    except DataError as error:
        raise DataError(
            f"{error} per_class divides num_fake evenly among {len(parts):,} classes."
        ) from None


def joined(
    scores: Mapping[str, Score], parts: Sequence[ClassSides], protocol: Mapping[str, Any]
) -> Score:
    """Return the scores of one metric by class as one, whose value is their mean.

    Args:
        scores: By the name of the class.
        parts: What was compared.
        protocol: That of all classes together.

    Returns:
        ``extra["per_class"]`` has the values by class, and ``protocol["per_class"]`` the number of
        ``classes``, the number ``each`` of generated samples, the ``fewest`` real ones of a class
        and a hash of the ``division``: names, and which samples are of which class.
    """
    said: dict[str, Any] = {"classes": len(parts), "each": parts[0].fake.count}
    division = hashlib.sha256(repr(sorted(part.name for part in parts)).encode())
    if "real" in protocol:
        reals = {part.name: part.real for part in parts if part.real is not None}
        said["fewest"] = min(real.count for real in reals.values())
        for name in sorted(reals):
            division.update(reals[name].fingerprint.encode())
    said["division"] = division.hexdigest()[:16]
    values = {name: score.value for name, score in scores.items()}
    return Score(
        value=fmean(values.values()),
        extra={"per_class": values},
        protocol={**protocol, "per_class": said},
        notices=_notices(scores),
    )


def _notices(scores: Mapping[str, Score]) -> tuple[str, ...]:
    """Those of all classes as they are, and those of some by the first such class."""
    common = [
        notice
        for notice in next(iter(scores.values())).notices
        if all(notice in score.notices for score in scores.values())
    ]
    own = {
        name: [notice for notice in score.notices if notice not in common]
        for name, score in scores.items()
    }
    noticed = [name for name, notices in own.items() if notices]
    if noticed:
        common += [f"Class '{noticed[0]}': {notice}" for notice in own[noticed[0]]]
    if len(noticed) > 1:
        others = len(noticed) - 1
        common.append(
            "1 other class has notices of its own."
            if others == 1
            else f"{others:,} other classes have notices of their own."
        )
    return tuple(common)


def _named(classes: Sequence[str]) -> str:
    shown = listing(repr(name) for name in classes[:_NAMED])
    return shown if len(classes) <= _NAMED else f"{shown} and {len(classes) - _NAMED:,} more"
