"""What a metric gets of samples: which channels, sizes, and ways of opening files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ganzoo.evaluation.sources import coloured
from ganzoo.metrics.base import FROM_EXTRACTOR

if TYPE_CHECKING:
    from ganzoo.core.spec import SampleSpec
    from ganzoo.evaluation.options import Size
    from ganzoo.evaluation.sources import SampleSource
    from ganzoo.features.programs import Reading
    from ganzoo.metrics import Metric

__all__ = [
    "View",
    "key_of",
    "pixels",
    "program_of",
    "reading_of",
    "recoloured",
    "shown",
    "treated",
    "view_of",
    "without_alpha",
]


class View(NamedTuple):
    """One way in which an extractor sees samples: metrics that share it share its features.

    Attributes:
        key: The extractor, as JSON.
        channels: Channels of what it is shown.
        reading: How files are opened for it.
    """

    key: str
    channels: int
    reading: Reading


def program_of(metric: Metric, spec: SampleSpec) -> str | None:
    """Return the program whose way of opening files a metric's extractor follows, or None."""
    extractor = metric.extracts
    return None if extractor is None or not uses_extractor(metric, spec) else extractor.program


def uses_extractor(metric: Metric, spec: SampleSpec) -> bool:
    """Return whether a metric takes features of such samples."""
    return bool(FROM_EXTRACTOR & {*metric.wants(spec)})


def reading_of(metric: Metric, spec: SampleSpec) -> Reading:
    """Return how files are opened for a metric."""
    return "data" if program_of(metric, spec) is None else "program"


def without_alpha(metric: Metric, spec: SampleSpec) -> SampleSpec:
    """Return what a metric gets of samples in memory: a program's extractor gets no alpha."""
    alpha = spec.kind == "image" and spec.channels == 4 and program_of(metric, spec) is not None
    return recoloured(spec, 3) if alpha else spec


def pixels(metric: Metric, side: SampleSource) -> bool:
    """Return whether a metric compares pixels, which takes pictures of one size."""
    return side.spec.kind == "image" and "samples" in metric.wants(side.spec)


def shown(
    metric: Metric, side: SampleSource, other: SampleSource | None, size: Size | None
) -> SampleSpec:
    """Return what a metric gets of the samples of a side.

    Where it compares two sides, grey becomes RGB next to RGB. Others get them as they are, so that
    no score depends on which others are asked for.
    """
    against = other if metric.needs_real else None
    spec = coloured(side, against, reading_of(metric, side.spec))
    return spec if size is None or not pixels(metric, side) else spec.resized(size)


def view_of(metric: Metric, spec: SampleSpec, side: SampleSource) -> View:
    """Return how a metric's extractor sees a side, of which the metric gets ``spec``."""
    return View(key_of(metric), spec.shape[0], side.reading(reading_of(metric, side.spec)))


def treated(metric: Metric, side: SampleSource) -> dict[str, Any]:
    """Return what was done to a side's pictures, and where a preset was left, for a protocol."""
    program = program_of(metric, side.spec)
    done = side.read("data" if program is None else "program")
    left = () if program is None else side.left(program)
    return {**({"read": done} if done else {}), **({"left": list(left)} if left else {})}


def recoloured(spec: SampleSpec, channels: int) -> SampleSpec:
    """Return a spec with another number of channels."""
    return spec.model_copy(update={"shape": (channels, *spec.shape[1:])})


def key_of(metric: Metric) -> str:
    """Return what tells extractors apart; metrics without one share nothing but samples."""
    extractor = metric.extracts
    return "" if extractor is None else extractor.model_dump_json()
