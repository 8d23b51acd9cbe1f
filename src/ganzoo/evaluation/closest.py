"""The picture of generated samples next to the real ones that are nearest to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo.errors import ConfigError
from ganzoo.evaluation.sources import fitted, picked
from ganzoo.showing import pictures

if TYPE_CHECKING:
    from ganzoo.core.spec import SampleSpec
    from ganzoo.evaluation.score import Score
    from ganzoo.evaluation.sources import RealSamples, SampleSource
    from ganzoo.metrics import Metric

__all__ = ["check", "draw"]


def check(metrics: Sequence[Metric], spec: SampleSpec, path: Path) -> None:
    """Refuse a picture that cannot be drawn.

    Raises:
        ConfigError: If no metric names pairs, the samples are not images, or there is such a file,
            or no such folder.
    """
    if not any(metric.num_pairs for metric in metrics):
        raise ConfigError(
            "A picture shows the closest pairs that a metric names, and none of these does: ask "
            "for 'nearest-neighbours' too, with 'shown' above 0, or leave the picture out."
        )
    if spec.kind != "image":
        raise ConfigError(
            f"A picture is drawn of images, and these samples are {spec}. Leave the picture out."
        )
    if not path.absolute().parent.is_dir():
        raise ConfigError(
            f"The picture {path} cannot be written: there is no folder {path.parent}. Make it."
        )
    if path.exists() or path.is_symlink():
        raise ConfigError(
            f"There is a file {path} already, and the picture is a new one. Choose another name, "
            f"or remove it."
        )


def draw(score: Score, real: RealSamples, fake: SampleSource, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        score: Of a metric that names pairs.
        real: The real samples.
        fake: The generated ones.
        path: A file that ``check`` has let pass.

    Raises:
        ConfigError: If it cannot be drawn or written.
    """
    pairs = score.extra["closest"]
    sides = (fake, "fake"), (real, "real")
    images = [picked(side, [pair[whose] for pair in pairs]) for side, whose in sides]
    forms = {tuple(each.shape[-2:]) for part in images for each in part}
    size = (min(tall for tall, _ in forms), min(wide for _, wide in forms))
    ours, theirs = (fitted(part, size) for part in images)
    picture = pictures.neighbours(pairs, ours, theirs, fake.spec)
    try:
        pictures.write(picture, path)
    except OSError as error:
        raise ConfigError(
            f"The picture {path} could not be written ({error.strerror or error}). Choose "
            f"another place."
        ) from error
