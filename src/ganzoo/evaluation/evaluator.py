"""Scoring: the samples of a source against real ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import metrics as zoo
from ganzoo.core.device import PrecisionName, pick_device
from ganzoo.errors import ConfigError, DataError, GanzooError, listing
from ganzoo.evaluation import by_class, closest, ranks
from ganzoo.evaluation.extraction import unlike
from ganzoo.evaluation.feature_pass import STOPPED, FeaturePass, Parts
from ganzoo.evaluation.opening import (
    dataset_of,
    label_weights,
    matched,
    mixture_of,
    sample_source,
    source_of,
)
from ganzoo.evaluation.options import EvalOptions, Labels
from ganzoo.evaluation.score import Score
from ganzoo.evaluation.sources import GeneratedSamples, RealSamples, form_of
from ganzoo.evaluation.views import (
    pixels,
    program_of,
    reading_of,
    shown,
    uses_extractor,
    without_alpha,
)
from ganzoo.files.storage import expanded
from ganzoo.generators.generator import Generator
from ganzoo.metrics import Metric

if TYPE_CHECKING:
    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets import Dataset, Samples
    from ganzoo.evaluation.options import Size
    from ganzoo.evaluation.sources import SampleSource
    from ganzoo.metrics.inputs import MetricInputs

__all__ = ["Evaluator", "evaluate"]

_SAME = "The source and the real samples are the same ones: they are compared with themselves."
_NO_PIXELS = "'size' changed nothing: none of these metrics looks at pixels."
_NO_REAL = "'{}' changed nothing: none of these metrics looks at real samples."
NUM_FAKE = 10_000
"""Generated samples that are scored, unless asked otherwise."""


def evaluate(
    source: Any,
    dataset: Any = None,
    metrics: str | Sequence[Any] = ("fid",),
    *,
    real_split: str | None = None,
    num_real: int | None = None,
    num_fake: int | None = None,
    labels: Labels | None = None,
    per_class: bool = False,
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
    batch. What is computed of the real ones is cached, under a hash of the samples and of
    all that decides their features.

    Metrics on features see each picture at its own size, whatever the sizes of the two sides, and
    files as the program opens them that the preset is named after. Metrics on pixels need pictures
    of one size. Real images are brought to the size of a generator's in the way that it was trained
    with.

    Extractors that take 8-bit pictures, as all of ganzoo's do, see its images as they would be in a
    file; a function of your own sees floats, unless it is passed as
    ``Callable.of(function, quantise=True)``. Where one side is greyscale and the other RGB, grey
    becomes RGB with equal channels for the metrics that compare them.

    Args:
        source: A ``Generator``, what ``Generator.from_pretrained`` takes, or samples: a folder of
            pictures, or anything else that is taken as a dataset.
        dataset: The real samples: a dataset as a training has it, so also a folder. By default
            what the generator was trained on.
        metrics: Names, mappings with ``name`` and options, or components.
        real_split: Part of the dataset to compare with, such as ``test``.
        num_real: How many real samples, chosen evenly at random and always the same ones; by
            default all.
        num_fake: How many samples of the source; by default 10,000 of a generator, and all where it
            is itself a dataset.
        labels: Classes that a conditional generator is asked for: ``uniform``, drawn evenly at
            random, or ``data``, drawn from those of the real samples, which is the default where
            these are read and have the classes that the generator knows.
        per_class: Whether each metric is computed of each class by itself, of samples that a
            conditional generator makes of it against the real ones with its name; of FID, the mean
            is known as intra FID (Miyato and Koyama 2018, arXiv:1802.05637). ``num_fake`` is
            divided evenly among the classes.
        preset: Preparation of pictures for the Inception network: ``torch-fidelity``,
            ``pytorch-fid``, ``clean`` or ``studiogan``.
        seed: Decides the generated samples.
        size: Height and width that pictures are brought to for metrics on pixels, such as
            ``swd``, which compare pictures of one size; one number stands for both.
        batch_size: Samples that are computed together.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``; a ``Generator`` stays on its own.
        precision: Of the features: ``fp32``, ``bf16`` or ``auto``.
        cache: Whether to read and write the cache of what is computed of real samples.
        picture: A new PNG file for the closest pairs that ``nearest-neighbours`` finds; if it
            cannot be written in the end, a notice of that score says so.

    Returns:
        The scores by the names of the metrics. With ``per_class`` the names end with
        ``-per-class``, the value is the mean over the classes, and ``extra["per_class"]`` has that
        of each class by its name.

    Raises:
        ConfigError: If a metric is for other samples, or a setting fits nothing here.
        DataError: If samples are too few, of different sizes, or not finite, or a dataset cannot
            be read.
        CheckpointError: If the weights of an extractor are not there.
        GanzooError: If the source cannot be loaded.
    """
    options = {name: value for name, value in locals().items() if name in EvalOptions.model_fields}
    evaluator = Evaluator(source, dataset, metrics, EvalOptions(**options))
    path = None if picture is None else expanded(picture)
    if path is not None:
        evaluator.check_picture(path)
    scores = evaluator.score()
    if path is not None:
        try:
            evaluator.draw(scores, path)
        except GanzooError as error:  # which is no reason to lose the scores
            name = evaluator.drawn.name
            notices = (*scores[name].notices, str(error))
            scores[name] = scores[name].model_copy(update={"notices": notices})
    return scores


class Evaluator:
    """Scores a generator again and again while it learns, or many of one form.

    Arguments and errors are those of ``evaluate``. When it is made, it loads the real samples and
    refuses all that can be refused; their features are computed once, for the first score or by
    ``prepare``.

    Args:
        source: What ``evaluate`` takes, and what is scored unless another generator is passed.
        dataset: The real samples, as ``evaluate`` takes them.
        metrics: The metrics, as ``evaluate`` takes them.
        options: All else.
        samples: The dataset's samples, where they are loaded already.
    """

    @ranks.propagate_errors()
    def __init__(
        self,
        source: Any,
        dataset: Any = None,
        metrics: str | Sequence[Any] = ("fid",),
        options: EvalOptions | None = None,
        *,
        samples: Samples | None = None,
    ) -> None:
        options = options or EvalOptions()
        chosen = _metrics(metrics, options.preset)
        target = pick_device(options.device)
        origin = source_of(source, str(target))
        generator = origin if isinstance(origin, Generator) else None
        self.metrics = [metric.for_dataset(_data_of(origin)) for metric in chosen]
        compared = any(metric.needs_real for metric in self.metrics)
        # Others report real samples next to the score, where that costs little.
        self._looked = [
            metric
            for metric in self.metrics
            if metric.needs_real or (dataset is not None and metric.requires == ("samples",))
        ]
        known = dataset_of(dataset, options.real_split, generator, required=compared)
        if generator is not None:  # before anything is loaded or computed
            for metric in self.metrics:
                metric.check(without_alpha(metric, generator.spec))
        if options.per_class:
            by_class.check_asked(self.metrics, generator, options)
        real: RealSamples | None = None
        if known is not None and (
            self._looked or (generator is not None and options.labels == "data")
        ):
            real = sample_source(known, options.num_real, generator, samples, keep=options.cache)
        self._fake = _source(origin, options, real)
        preprocessing = None if generator is None else generator.config.preprocessing
        self._real = None if real is None else matched(real, self._fake, preprocessing)
        self._notices = () if real is not None else _in_vain(options)
        self._cache = options.cache
        for metric in self.metrics:
            against = self._against(metric)
            _check_channels(metric, self._real, self._fake)
            _check_size(metric, against, self._fake, options.size)
            spec = shown(metric, self._fake, self._real, options.size)
            _check(metric, against, self._fake, spec)
        if options.size is not None and not any(pixels(m, self._fake) for m in self.metrics):
            self._notices += (_NO_PIXELS,)
        self._pass = FeaturePass(self.metrics, self._real, self._fake, target, options)
        self._mixture = mixture_of(known, self._real, self._fake)
        self._parts: Parts | None = None  # of the real samples
        self._classes: tuple[by_class.ClassSides, ...] = ()
        self._by_class: dict[str, Evaluator] = {}
        if options.per_class:
            self._divide()

    def _divide(self) -> None:
        """Make an evaluator of each class, with the same nets."""
        assert isinstance(self._fake, GeneratedSamples)
        self._classes = by_class.sides(self._real, self._fake)
        each = self._classes[0].fake.count
        self._fake = replace(self._fake, count=each * len(self._classes))
        for metric in self.metrics:
            by_class.check_counts(metric, self._classes, self._against(metric) is not None)
        for part in self._classes:
            evaluator = copy.copy(self)
            evaluator._real, evaluator._fake, evaluator._by_class = part.real, part.fake, {}
            evaluator._pass = self._pass.between(part.real, part.fake)
            self._by_class[part.name] = evaluator

    def prepare(self) -> None:
        """Build the extractors, and compute the features of real samples unless they are cached.

        Raises:
            DataError: If they are not finite.
            CheckpointError: If the weights of an extractor are not there.
            ConfigError: If an extractor cannot be built, or gives no logits and a metric needs
                them.
        """
        self._pass.build()
        for evaluator in self._by_class.values():
            evaluator.prepare()
        if self._by_class:
            return
        if self._parts is None and self._real is not None and self._looked:
            self._parts = self._pass.gather(self._real, self._looked, "real", self._cache)

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
        if self._by_class:
            found = {
                name: each.score(generator, given_up=given_up)
                for name, each in self._by_class.items()
            }
            return {
                f"{metric.name}{by_class.SUFFIX}": by_class.joined(
                    {name: scores[metric.name] for name, scores in found.items()},
                    self._classes,
                    self._pass.protocol(metric, self._against(metric), fake, self._mixture),
                )
                for metric in self.metrics
            }
        parts = self._pass.gather(fake, self.metrics, "generated", False, given_up)
        made_by = fake.generator if isinstance(fake, GeneratedSamples) else None
        scores = {}
        for metric in self.metrics:
            if given_up():
                raise GanzooError(STOPPED)
            real, first = self._against(metric), None
            if real is not None and self._parts is not None:
                first = self._parts.inputs(metric, None, real.mixture)
            second = parts.inputs(metric, made_by, self._mixture)
            _check_features(metric, first, second)
            result = metric.score(first, second)
            program = program_of(metric, self._fake.spec)
            notices = [*result.notices]
            for side in (real, fake):
                notices += () if side is None else side.notices(program)
            if real is not None and metric.needs_real and _same(real, fake):
                notices.append(_SAME)
            scores[metric.name] = Score(
                value=result.value,
                error=result.error,
                extra=dict(result.extra),
                protocol=self._pass.protocol(metric, real, fake, self._mixture),
                notices=tuple(dict.fromkeys((*notices, *self._notices))),
            )
        return scores

    def check_picture(self, path: Path) -> None:
        """Refuse a picture of nearest neighbours that cannot be drawn.

        Raises:
            ConfigError: If no metric names pairs, the samples are not images, or there is such a
                file, or no such folder.
        """
        if self._by_class:
            raise ConfigError(
                "A picture shows the pairs of one score, and per_class has a score of each class. "
                "Leave one of them out."
            )
        closest.check(self.metrics, self._fake.spec, path)

    @property
    def drawn(self) -> Metric:
        """The metric whose pairs a picture shows."""
        return next(metric for metric in self.metrics if metric.num_pairs)

    def draw(self, scores: Mapping[str, Score], path: Path) -> None:
        """Write the generated samples that are nearest to real ones, next to these, as PNG.

        Args:
            scores: What ``score`` has returned.
            path: A file that ``check_picture`` has let pass.

        Raises:
            ConfigError: If it cannot be drawn or written.
        """
        assert self._real is not None
        closest.draw(scores[self.drawn.name], self._real, self._fake, path)

    def _against(self, metric: Metric) -> RealSamples | None:
        """The real samples, where a metric gets them."""
        return self._real if metric in self._looked else None


def _source(
    origin: Generator | Dataset, options: EvalOptions, real: RealSamples | None
) -> SampleSource:
    if not isinstance(origin, Generator):
        return sample_source(origin, options.num_fake, None, keep=options.cache)
    weights = label_weights(origin, real, "uniform" if options.per_class else options.labels)
    count = options.num_fake or NUM_FAKE
    return GeneratedSamples(origin, count, options.seed, options.batch_size, weights)


def _metrics(chosen: str | Sequence[Any], preset: str | None) -> list[Metric]:
    values = [chosen] if isinstance(chosen, (str, Mapping, Metric)) else list(chosen)
    if not values:
        raise ConfigError(f"No metric was asked for. There are: {listing(zoo.names())}.")
    found = [zoo.create(value) for value in values]
    names = [metric.name for metric in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"The metric '{name}' is there twice; leave one of them out.")
    if preset is None:
        return found
    prepared = [_with_preset(metric, preset) for metric in found]
    if all(one is other for one, other in zip(found, prepared, strict=True)):
        raise ConfigError(
            f"The preset '{preset}' prepares pictures for an extractor with presets, such as "
            f"'inception', which none of {listing(names)} uses. Leave it out."
        )
    return prepared


def _with_preset(metric: Metric, preset: str) -> Metric:
    extractor = metric.extracts
    if extractor is None or "preset" not in type(extractor).model_fields:
        return metric
    return metric.replace(extractor=extractor.replace(preset=preset))


def _data_of(origin: Generator | Dataset) -> str:
    """Name of the dataset that a generator was trained on, or that is scored; empty if unknown."""
    if not isinstance(origin, Generator):
        return origin.name
    saved = origin.config.training.get("dataset")
    name = saved.get("name") if isinstance(saved, Mapping) else saved
    return name if isinstance(name, str) else ""


def _in_vain(options: EvalOptions) -> tuple[str, ...]:
    """Notices of options of real samples, where there are none."""
    names = ("real_split", "num_real")
    return tuple(_NO_REAL.format(name) for name in names if getattr(options, name) is not None)


def _same(real: RealSamples, fake: SampleSource) -> bool:
    return isinstance(fake, RealSamples) and real.fingerprint == fake.fingerprint


# -- what is refused ------------------------------------------------------------------------------


def _check_features(metric: Metric, real: MetricInputs | None, fake: MetricInputs) -> None:
    """Refuse features of two lengths, which a function may make of pictures of two sizes."""
    extractor, widths = metric.extracts, set()
    for part in (real, fake):
        if part is not None and part.moments is not None:
            widths.add(part.moments.dimensions)
        if part is not None and part.features is not None:
            widths.add(part.features.shape[1])
    if len(widths) > 1 and extractor is not None:
        raise unlike(extractor, *sorted(widths))


def _check_channels(metric: Metric, real: RealSamples | None, fake: SampleSource) -> None:
    """Refuse to compare images of other numbers of channels, except grey ones with RGB."""
    if real is None or fake.spec.kind != "image" or not metric.needs_real:
        return
    asked = reading_of(metric, fake.spec)
    have, want = (side.spec_for(asked).channels for side in (real, fake))
    if have != want and {have, want} != {1, 3}:
        raise DataError(
            f"The real images have {have} channels and the generated ones {want}. Give images "
            f"with as many."
        )


def _check_size(
    metric: Metric, real: RealSamples | None, fake: SampleSource, size: Size | None
) -> None:
    """Refuse pictures of several sizes, where pixels are compared and nothing says of which."""
    if size is not None or not pixels(metric, fake):
        return
    sides = [("generated", fake), *([] if real is None else [("real", real)])]
    if len({side.sizes("data").one for _, side in sides} - {None}) == 1 and all(
        side.sizes("data").one is not None for _, side in sides
    ):
        return
    forms = [
        f"the {whose} ones are {form_of(side, 'data', side.spec.channels)}" for whose, side in sides
    ]
    raise DataError(
        f"The metric '{metric.name}' looks at pixels, which takes pictures of one size, and "
        f"{' and '.join(forms)}. Say one with size, such as size=64."
    )


def _check(metric: Metric, real: RealSamples | None, fake: SampleSource, spec: SampleSpec) -> None:
    """Refuse now what would be refused after minutes; ``spec`` is what the metric gets."""
    metric.check(spec)
    if "generator" in metric.wants(spec) and not isinstance(fake, GeneratedSamples):
        raise ConfigError(
            f"The metric '{metric.name}' looks at the latents of a generator, and the source is a "
            f"dataset. Leave it out, or give a generator."
        )
    for side, whose in ((real, "real"), (fake, "generated")):
        if side is not None:
            metric.check_count(side.count, whose)
    extractor = metric.extracts if uses_extractor(metric, spec) else None
    if extractor is not None and extractor.quantisation == "uint8" and fake.spec.kind != "image":
        raise ConfigError(
            f"The metric '{metric.name}' takes features of the extractor '{extractor.name}', which "
            f"sees pictures, and these samples are of kind '{fake.spec.kind}'. Give it another "
            f"extractor, or leave it out."
        )
