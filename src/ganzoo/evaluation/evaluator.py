"""Scoring: the samples of a source against real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import metrics as zoo
from ganzoo.core.device import pick_device
from ganzoo.core.seeds import checked
from ganzoo.errors import ConfigError, DataError, GanzooError, listing
from ganzoo.evaluation import ranks
from ganzoo.evaluation.feature_pass import (
    GIVEN_UP,
    SEEN,
    FeaturePass,
    Parts,
    compares,
    extractor_of,
    pixels,
    program_of,
    shown,
    unlike,
    without_alpha,
)
from ganzoo.evaluation.own_size import fitted
from ganzoo.evaluation.score import Score
from ganzoo.evaluation.sources import (
    GeneratedSamples,
    Labels,
    Real,
    SampleSource,
    dataset_of,
    form_of,
    label_weights,
    matched,
    mixture_of,
    picked,
    sample_source,
    source_of,
)
from ganzoo.files.storage import expanded
from ganzoo.generators.generator import Generator
from ganzoo.metrics import Metric
from ganzoo.showing import pictures

if TYPE_CHECKING:
    from PIL.Image import Image

    from ganzoo.core.device import PrecisionName
    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets import Dataset, Samples
    from ganzoo.metrics.inputs import MetricInputs

__all__ = ["Evaluator", "evaluate"]

NEIGHBOURS = "nearest-neighbours"
_SAME = "The source and the real samples are the same ones: they are compared with themselves."
_NO_PIXELS = "'size' changed nothing: none of these metrics looks at pixels."
FAKES = 10_000
"""Generated samples that are scored, unless asked otherwise."""


def evaluate(
    source: Any,
    dataset: Any = None,
    metrics: str | Sequence[Any] = ("fid",),
    *,
    real_split: str | None = None,
    num_real: int | None = None,
    num_fake: int | None = None,
    labels: Labels = "uniform",
    preset: str | None = None,
    seed: int = 0,
    size: int | tuple[int, int] | None = None,
    batch_size: int = 64,
    device: str = "auto",
    precision: PrecisionName = "auto",
    cache: bool = True,
    picture: str | Path | None = None,
) -> dict[str, Score]:
    """Score a generator, or any samples, against real ones.

    Samples of both sides go once through each feature extractor that the metrics use, batch by
    batch. What is computed of the real ones is kept in ganzoo's cache, under a hash of the samples
    themselves and of all that decides their features.

    Metrics on features see each picture at its own size, whatever the sizes of the two sides, and
    files as the program opens them that the preset is named after. Metrics on pixels need pictures
    of one size. Real images are brought to the size of a generator's in the way that it was trained
    with.

    Extractors that take 8-bit pictures, as all of ganzoo's do, see its images as they would be in a
    file; a function of your own sees floats, unless it is given as
    ``Callable.of(function, quantise=True)``. Where one side is greyscale and the other RGB, grey
    becomes RGB with equal channels for the metrics that compare them.

    Args:
        source: A ``Generator``, what ``Generator.from_pretrained`` takes, or samples: a folder of
            pictures, or anything else that is taken as a dataset.
        dataset: The real samples: a dataset as a training has it, so also a folder. By default
            what the generator was trained on.
        metrics: Names, mappings with ``name`` and options, or components.
        real_split: Part of the dataset that is compared with, such as ``test``.
        num_real: How many real samples, chosen evenly at random and always the same ones; by
            default all.
        num_fake: How many samples of the source; by default 10,000 of a generator, and all where it
            is itself a dataset.
        labels: Classes that a conditional generator is asked for: drawn evenly at random, or from
            those of the real samples.
        preset: Preparation of pictures for the Inception network: ``torch-fidelity``,
            ``pytorch-fid``, ``clean`` or ``studiogan``.
        seed: Decides the generated samples.
        size: Height and width that pictures are brought to for metrics on pixels, such as
            ``swd``, which compare pictures of one size; one number stands for both.
        batch_size: Samples that are computed together.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``; a ``Generator`` stays on its own.
        precision: Of the features: ``fp32``, ``bf16`` or ``auto``.
        cache: Whether to use and keep what was computed of real samples.
        picture: A new PNG file for the pairs that ``nearest-neighbours`` finds to be closest; if
            it cannot be written in the end, a notice of that score says so.

    Returns:
        The scores by the names of the metrics.

    Raises:
        ConfigError: If a metric is for other samples, or a setting fits nothing here.
        DataError: If samples are too few, of different sizes, or not finite, or a dataset cannot
            be read.
        CheckpointError: If the weights of an extractor are not there.
        GanzooError: If the source cannot be loaded.
    """
    evaluator = Evaluator(
        source,
        dataset,
        metrics,
        real_split=real_split,
        num_real=num_real,
        num_fake=num_fake,
        labels=labels,
        preset=preset,
        seed=seed,
        size=size,
        batch_size=batch_size,
        device=device,
        precision=precision,
        cache=cache,
    )
    drawn = None if picture is None else expanded(picture)
    if drawn is not None:
        evaluator.check_picture(drawn)
    scores = evaluator.score()
    if drawn is not None:
        try:
            evaluator.draw(scores, drawn)
        except GanzooError as error:  # which is no reason to lose the scores
            told = scores[NEIGHBOURS]
            notices = (*told.notices, str(error))
            scores[NEIGHBOURS] = told.model_copy(update={"notices": notices})
    return scores


class Evaluator:
    """Scores a generator again and again while it learns, or many of one form.

    Arguments and errors are those of ``evaluate``. The real samples are loaded and all that can
    be refused is refused when it is made; they are looked at once, when the first score is asked
    for or by ``prepare``.

    Args:
        source: What ``evaluate`` takes, and what is scored unless another generator is given.
        samples: The dataset's samples, where they are loaded already.
    """

    @ranks.propagate_errors()
    def __init__(
        self,
        source: Any,
        dataset: Any = None,
        metrics: str | Sequence[Any] = ("fid",),
        *,
        real_split: str | None = None,
        num_real: int | None = None,
        num_fake: int | None = None,
        labels: Labels = "uniform",
        preset: str | None = None,
        seed: int = 0,
        size: int | tuple[int, int] | None = None,
        batch_size: int = 64,
        device: str = "auto",
        precision: PrecisionName = "auto",
        cache: bool = True,
        samples: Samples | None = None,
    ) -> None:
        chosen = _metrics(metrics, preset)
        seed = checked(seed)
        pixel_size = _size(size)
        if batch_size < 1:
            raise ConfigError(f"Samples come in batches of at least 1, not {batch_size}.")
        for count, what in ((num_real, "num_real"), (num_fake, "num_fake")):
            if count is not None and count < 1:
                raise ConfigError(f"'{what}' is a number of samples from 1 on, not {count}.")
        target = pick_device(device)
        origin = source_of(source, str(target))
        generator = origin if isinstance(origin, Generator) else None
        self.metrics = [metric.for_dataset(_data_of(origin)) for metric in chosen]
        self._compared = [metric for metric in self.metrics if compares(metric)]
        # Of these, real samples are only told of beside the score.
        self._beside = [
            metric
            for metric in self.metrics
            if metric not in self._compared and dataset is not None and _cheap(metric)
        ]
        looked = [*self._compared, *self._beside]
        known = dataset_of(dataset, real_split, generator, required=bool(self._compared))
        # What may have been asked for in vain is refused before anything is loaded or computed.
        if generator is not None:
            for metric in self.metrics:
                metric.check(without_alpha(metric, generator.spec))
        real: Real | None = None
        if known is not None and (looked or (generator is not None and labels == "data")):
            real = sample_source(known, num_real, generator, samples, keep=cache)
        self._notices = _in_vain(real, real_split=real_split, num_real=num_real)
        self._cache = cache
        self._fake: SampleSource
        if isinstance(origin, Generator):
            weights = label_weights(origin, real, labels)
            self._fake = GeneratedSamples(
                origin, num_fake or FAKES, seed, batch_size, labels, weights
            )
        else:
            self._fake = sample_source(origin, num_fake, None, keep=cache)
        preprocessing = None if generator is None else generator.config.preprocessing
        self._real = None if real is None else matched(real, self._fake, preprocessing)
        both = self._real, self._fake
        for metric in self.metrics:
            _check_channels(metric, *both)
            _check_size(metric, self._against(metric), self._fake, pixel_size)
            seen = shown(metric, self._fake, self._real, pixel_size)
            _check(metric, self._against(metric), self._fake, seen)
        if pixel_size is not None and not any(pixels(m, self._fake) for m in self.metrics):
            self._notices += (_NO_PIXELS,)
        self._gathering = FeaturePass(
            self.metrics, *both, target, precision, batch_size, pixel_size
        )
        self._mixture = mixture_of(known, self._real, self._fake)
        self._parts: Parts | None = None  # of the real samples

    def prepare(self) -> None:
        """Build the extractors, and look at the real samples, or find in the cache what was seen.

        Raises:
            DataError: If they are not finite.
            CheckpointError: If the weights of an extractor are not there.
            ConfigError: If an extractor cannot be built, or gives no logits and a metric needs
                them.
        """
        self._gathering.build()
        looked = [*self._compared, *self._beside]
        if self._parts is None and self._real is not None and looked:
            self._parts = self._gathering.gather(self._real, looked, "real", self._cache)

    def score(
        self, generator: Generator | None = None, *, given_up: Callable[[], bool] = bool
    ) -> dict[str, Score]:
        """Return the scores, of the source or of another generator of its form.

        Args:
            generator: The other one.
            given_up: Asked now and then; True ends it soon.

        Raises:
            DataError: If samples are not finite.
            GanzooError: If it is given up.
        """
        fake = self._fake
        if generator is not None:
            assert isinstance(fake, GeneratedSamples)
            fake = replace(fake, generator=generator)
        self.prepare()
        parts = self._gathering.gather(fake, self.metrics, "generated", False, given_up)
        made_by = fake.generator if isinstance(fake, GeneratedSamples) else None
        scores = {}
        for metric in self.metrics:
            if given_up():
                raise GanzooError(GIVEN_UP)
            real, first = self._against(metric), None
            if real is not None and self._parts is not None:
                first = self._parts.inputs(metric, None, real.mixture)
            second = parts.inputs(metric, made_by, self._mixture)
            _check_features(metric, first, second)
            result = metric.score(first, second)
            beside = metric in self._beside
            program = program_of(metric, self._fake.spec)
            told = [side.notices(program) for side in (real, fake) if side is not None]
            notices = (*result.notices, *(notice for each in told for notice in each))
            if real is not None and not beside and _same(real, fake):
                notices += (_SAME,)
            scores[metric.name] = Score(
                value=result.value,
                error=result.error,
                extra=dict(result.extra),
                protocol=self._gathering.protocol(metric, real, fake, self._mixture, beside=beside),
                notices=tuple(dict.fromkeys((*notices, *self._notices))),
            )
        return scores

    def check_picture(self, path: Path) -> None:
        """Refuse a picture of nearest neighbours that cannot be.

        Raises:
            ConfigError: If the metric is not among those asked for or shows no pairs, the samples
                are no images, or there is such a file, or no such folder.
        """
        asked = next((metric for metric in self.metrics if metric.name == NEIGHBOURS), None)
        if asked is None:
            raise ConfigError(
                f"A picture is drawn of what the metric '{NEIGHBOURS}' finds: ask for it too, or "
                f"leave the picture out."
            )
        if getattr(asked, "shown", None) == 0:
            raise ConfigError(
                f"A picture shows the pairs that the metric '{NEIGHBOURS}' names, and its option "
                f"'shown' is 0. Set it higher, or leave the picture out."
            )
        if self._fake.spec.kind != "image":
            raise ConfigError(
                f"A picture is drawn of images, and these samples are {self._fake.spec}. Leave "
                f"the picture out."
            )
        if not path.absolute().parent.is_dir():
            raise ConfigError(
                f"The picture {path} cannot be written: there is no folder {path.parent}. Make it."
            )
        if path.exists() or path.is_symlink():
            raise ConfigError(
                f"There is a file {path} already, and the picture is a new one. Give another name, "
                f"or remove it."
            )

    def draw(self, scores: Mapping[str, Score], path: Path) -> None:
        """Write the picture of nearest neighbours as PNG.

        Args:
            scores: What ``score`` has returned, with ``nearest-neighbours`` among them.
            path: A file that ``check_picture`` has let pass.

        Raises:
            ConfigError: If it cannot be drawn or written.
        """
        picture = self.neighbours(scores)
        try:
            pictures.write(picture, path)
        except OSError as error:
            raise ConfigError(
                f"The picture {path} could not be written ({error.strerror or error}). Choose "
                f"another place."
            ) from error

    def neighbours(self, scores: Mapping[str, Score]) -> Image:
        """Draw the generated samples that are nearest to real ones, beside these.

        Args:
            scores: What ``score`` has returned, with ``nearest-neighbours`` among them.

        Raises:
            ConfigError: If that metric was not asked for, or these are no images.
        """
        closest = scores[NEIGHBOURS].extra.get("closest", ()) if NEIGHBOURS in scores else ()
        assert self._real is not None
        sides = (self._fake, "fake"), (self._real, "real")
        images = [picked(side, [pair[whose] for pair in closest]) for side, whose in sides]
        forms = {tuple(each.shape[-2:]) for part in images for each in part}
        size = (min(tall for tall, _ in forms), min(wide for _, wide in forms))
        ours, theirs = (fitted(part, size) for part in images)
        return pictures.neighbours(closest, ours, theirs, self._fake.spec)

    def _against(self, metric: Metric) -> Real | None:
        """The real samples, where a metric gets them."""
        return self._real if metric in (*self._compared, *self._beside) else None


def _metrics(given: str | Sequence[Any], preset: str | None) -> list[Metric]:
    values = [given] if isinstance(given, (str, Mapping, Metric)) else list(given)
    if not values:
        raise ConfigError(f"No metric is given. There are: {listing(zoo.names())}.")
    found = [zoo.create(value) for value in values]
    names = [metric.name for metric in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"The metric '{name}' is given twice; leave one of them out.")
    if preset is None:
        return found
    if not any(_presets(metric) for metric in found):
        raise ConfigError(
            f"The preset '{preset}' prepares pictures for the Inception network, which none of "
            f"{listing(names)} uses. Leave it out."
        )
    return [_with_preset(metric, preset) for metric in found]


def _presets(metric: Metric) -> bool:
    extractor = extractor_of(metric)
    return extractor is not None and extractor.name == "inception"


def _with_preset(metric: Metric, preset: str) -> Metric:
    extractor = extractor_of(metric)
    if extractor is None or not _presets(metric):
        return metric
    return metric.replace(extractor=extractor.replace(preset=preset))


def _data_of(origin: Generator | Dataset) -> str:
    """Name of the dataset that a generator was trained on, or that is scored; empty if unknown."""
    if not isinstance(origin, Generator):
        return origin.name
    saved = origin.config.training.get("dataset")
    name = saved.get("name") if isinstance(saved, Mapping) else saved
    return name if isinstance(name, str) else ""


def _cheap(metric: Metric) -> bool:
    """Whether a metric that needs no real samples can tell of them at little cost."""
    return metric.requires == ("samples",)


def _in_vain(real: Real | None, **asked: Any) -> tuple[str, ...]:
    """Notices of what was asked for of real samples, where there are none."""
    return tuple(
        f"'{name}' changed nothing: none of these metrics looks at real samples."
        for name, value in asked.items()
        if value is not None and real is None
    )


def _same(real: Real, fake: SampleSource) -> bool:
    return not isinstance(fake, GeneratedSamples) and real.fingerprint == fake.fingerprint


def _size(given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    pair = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
        raise ConfigError(
            f"'size' is a height and width, such as 64 or (64, 48), not {given!r}. Correct it."
        )
    return pair


def _check_features(metric: Metric, real: MetricInputs | None, fake: MetricInputs) -> None:
    """Refuse features of two lengths, which a function may make of pictures of two sizes."""
    extractor, widths = extractor_of(metric), set()
    for part in (real, fake):
        if part is not None and part.moments is not None:
            widths.add(part.moments.dimensions)
        if part is not None and part.features is not None:
            widths.add(part.features.shape[1])
    if len(widths) > 1 and extractor is not None:
        raise unlike(extractor, *sorted(widths))


def _check_channels(metric: Metric, real: Real | None, fake: SampleSource) -> None:
    """Refuse to compare images of other numbers of channels, except grey ones with RGB."""
    if real is None or fake.spec.kind != "image" or not compares(metric):
        return
    asked: Any = "data" if program_of(metric, fake.spec) is None else "program"
    have, want = (side.spec_for(asked).channels for side in (real, fake))
    if have != want and {have, want} != {1, 3}:
        raise DataError(
            f"The real images have {have} channels and the generated ones {want}. Give images "
            f"with as many."
        )


def _check_size(
    metric: Metric, real: Real | None, fake: SampleSource, size: tuple[int, int] | None
) -> None:
    """Refuse pictures of several sizes, where pixels are compared and nothing says of which."""
    if size is not None or not pixels(metric, fake):
        return
    sides = [("generated", fake), *([] if real is None else [("real", real)])]
    if len({side.sizes("data").one for _, side in sides} - {None}) == 1 and all(
        side.sizes("data").one is not None for _, side in sides
    ):
        return
    told = [
        f"the {whose} ones are {form_of(side, 'data', side.spec.channels)}" for whose, side in sides
    ]
    raise DataError(
        f"The metric '{metric.name}' looks at pixels, which takes pictures of one size, and "
        f"{' and '.join(told)}. Say one with size, such as size=64."
    )


def _check(metric: Metric, real: Real | None, fake: SampleSource, spec: SampleSpec) -> None:
    """Refuse now what would be refused after minutes; ``spec`` is what the metric gets."""
    metric.check(spec)
    parts = metric.wants(spec)
    if "generator" in parts and not isinstance(fake, GeneratedSamples):
        raise ConfigError(
            f"The metric '{metric.name}' looks at the latents of a generator, and the source is a "
            f"dataset. Leave it out, or give a generator."
        )
    for side, whose in ((real, "real"), (fake, "generated")):
        if side is not None and side.count < metric.min_samples:
            raise DataError(
                f"The metric '{metric.name}' needs at least {metric.min_samples:,} {whose} "
                f"samples, not {side.count:,}: give more."
            )
        for option in ("subset_size", "splits"):  # they fail late, after all has been computed
            needed = getattr(metric, option, 0)
            if side is not None and side.count < needed:
                raise DataError(
                    f"The metric '{metric.name}' needs at least {needed:,} {whose} samples "
                    f"({option}), not {side.count:,}: give more, or set {option} lower."
                )
    extractor = extractor_of(metric)
    if extractor is None or not SEEN & set(parts):
        return
    if extractor.quantisation == "uint8" and fake.spec.kind != "image":
        raise ConfigError(
            f"The metric '{metric.name}' takes features of the extractor '{extractor.name}', which "
            f"sees pictures, and these samples are of kind '{fake.spec.kind}'. Give it another "
            f"extractor, or leave it out."
        )
