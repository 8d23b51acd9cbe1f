"""Scores of a generator, or of a folder of pictures, with all that decides their numbers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from safetensors.torch import save_file

from ganzoo import bundle, datasets, foreign, metrics, sealed, storage
from ganzoo._version import __version__
from ganzoo.datasets import progress
from ganzoo.datasets.cache import cache_root
from ganzoo.device import pick_device, pick_precision
from ganzoo.errors import ConfigError, DataError, GanzooError, listing
from ganzoo.features.classifier import Classifier
from ganzoo.generator import Generator
from ganzoo.metrics.gathered import Gathered, Moments, batches
from ganzoo.model import Model
from ganzoo.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.datasets import Dataset, Samples
    from ganzoo.device import PrecisionName
    from ganzoo.features import Extractor, Features
    from ganzoo.framing import Framing
    from ganzoo.metrics import Metric
    from ganzoo.mixture import Mixture
    from ganzoo.spec import SampleSpec

__all__ = ["Score", "bundle_folder", "differences", "evaluate", "same_protocol", "save"]

_FAKES = 10_000
_BLOCK = 256  # generated samples with a seed of their own: no number of them changes others
_KEPT_FORMAT = 1
_MOST_KEPT = 2**30  # bytes of features that one file of the cache may have
_HASHED = 64 * 2**20  # bytes that are hashed together
_SEEN = frozenset({"moments", "features", "logits"})  # what takes an extractor
_FREE = ("seed", "source", "averaged")  # of the fakes: what two scores may differ in


class Score(Model):
    """What a metric says of a generator, and how that was measured.

    Attributes:
        value: The score.
        error: Its standard error or spread, as the metric says; None where it has none.
        extra: Further numbers of this metric.
        protocol: All that decides the value: ``metric``, its ``options``, the ``extractor`` with
            the hash of its weights and its precision, ``reals`` and ``fakes`` (what, how many, how
            chosen), ``samples`` (their size, and how images were brought to it) and ``versions``.
        notices: What a person should know about it, a line each.
    """

    error_label: ClassVar[str] = "The score"

    value: float
    error: float | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    protocol: dict[str, Any] = Field(default_factory=dict)
    notices: tuple[str, ...] = ()


def evaluate(
    source: Any,
    dataset: Any = None,
    metrics: str | Sequence[Any] = ("fid",),
    *,
    real_split: str | None = None,
    reals: int | None = None,
    fakes: int | None = None,
    labels: Literal["uniform", "data"] = "uniform",
    preset: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    device: str = "auto",
    precision: PrecisionName = "auto",
    cache: bool = True,
) -> dict[str, Score]:
    """Score a generator, or any samples, against real ones.

    Samples of both sides go once through each feature extractor that the metrics use, batch by
    batch. What is computed of the real ones is kept in ganzoo's cache, under a hash of the samples
    themselves and of all that decides their features.

    Images of a generator are compared as 8-bit pictures, as they would be in a file, with real
    ones brought to the same size in the way that it was trained with. Where one side is greyscale
    and the other RGB, grey becomes RGB with equal channels.

    Args:
        source: A ``Generator``, what ``Generator.from_pretrained`` takes, or samples: a folder of
            pictures, or anything else that is taken as a dataset.
        dataset: The real samples: a dataset as a training has it, so also a folder. By default
            what the generator was trained on.
        metrics: Names, mappings with ``name`` and options, or components.
        real_split: Part of the dataset that is compared with, such as ``test``.
        reals: How many real samples, chosen evenly at random and always the same ones; by default
            all.
        fakes: How many samples of the source; by default 10,000 of a generator, and all where it
            is itself a dataset.
        labels: Classes that a conditional generator is asked for: all equally often, or as often
            as the real samples have them.
        preset: Preparation of pictures for the Inception network: ``torch-fidelity``,
            ``pytorch-fid``, ``clean`` or ``studiogan``.
        seed: Decides the generated samples.
        batch_size: Samples that are computed together.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``; a ``Generator`` stays on its own.
        precision: Of the features: ``fp32``, ``bf16`` or ``auto``.
        cache: Whether to use and keep what was computed of real samples.

    Returns:
        The scores by the names of the metrics.

    Raises:
        ConfigError: If a metric is for other samples, or a setting fits nothing here.
        DataError: If samples are too few, of different sizes, or not finite, or a dataset cannot
            be read.
        CheckpointError: If the weights of an extractor are not there.
        GanzooError: If the source cannot be loaded.
    """
    chosen = _metrics(metrics, preset)
    if batch_size < 1:
        raise ConfigError(f"Samples come in batches of at least 1, not {batch_size}.")
    for count, what in ((reals, "reals"), (fakes, "fakes")):
        if count is not None and count < 1:
            raise ConfigError(f"'{what}' is a number of samples from 1 on, not {count}.")
    target = pick_device(device)
    origin = _source(source, str(target))
    generator = origin if isinstance(origin, Generator) else None
    wanted = [metric for metric in chosen if _compares(metric, dataset is not None)]
    known = _dataset(dataset, real_split, generator, required=bool(wanted))
    # What may have been asked for in vain is refused before anything is loaded or computed.
    if generator is not None:
        for metric in chosen:
            metric.check(generator.spec)
    framing = None if generator is None else generator.config.framing
    real = None
    if known is not None and (wanted or (generator is not None and labels == "data")):
        real = _Data.load(known, reals, generator)
    fake: _Data | _Made
    if isinstance(origin, Generator):
        weights = _label_weights(origin, real, labels)
        fake = _Made(origin, fakes or _FAKES, seed, batch_size, labels, weights)
    else:
        fake = _Data.load(origin, fakes, None)
    real = None if real is None else _matched(real, fake, framing)
    for metric in chosen:
        _check(metric, real if metric in wanted else None, fake, generator)
    plan = _Plan(chosen, fake.spec, target, precision, batch_size, _channels(real, fake))
    if wanted and real is not None:
        real_parts = plan.gather(real, wanted, "real", cache)
    fake_parts = plan.gather(fake, chosen, "generated", False)
    mixture = _mixture(known, real, fake)
    shared: dict[str, tuple[dict[Any, Any], dict[Any, Any]]] = {}
    scores = {}
    for metric in chosen:
        stores = shared.setdefault(_key(metric), ({}, {}))  # metrics of one extractor share work
        first = None
        if metric in wanted and real is not None:
            first = real_parts.gathered(metric, None, real.mixture, stores[0])
        second = fake_parts.gathered(metric, generator, mixture, stores[1])
        result = metric.score(first, second)
        scores[metric.name] = Score(
            value=result.value,
            error=result.error,
            extra=dict(result.extra),
            protocol=plan.protocol(metric, real if metric in wanted else None, fake),
            notices=(*result.notices, *(real.notices if real else ()), *fake.notices),
        )
    return scores


def differences(first: Score, second: Score) -> tuple[str, ...]:
    """Return in what two scores were measured differently, so that they cannot be compared.

    The source, the seed, averaging of weights and versions of libraries may differ: they are what
    is compared, or change nothing that counts.
    """
    one, other = (_comparable(score.protocol) for score in (first, second))
    return tuple(key for key in sorted({*one, *other}) if one.get(key) != other.get(key))


def same_protocol(first: Score, second: Score) -> bool:
    """Whether two scores were measured alike, so that they can be compared."""
    return not differences(first, second)


def bundle_folder(source: Any) -> Path | None:
    """Return the folder of the bundle that a source is here, as a bundle or in a run, or None."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    with contextlib.suppress(OSError, ValueError):
        folder = Path(source)
        for place in (folder, folder / "generator"):
            if (place / bundle.CONFIG).is_file():
                return place
    return None


def save(scores: Mapping[str, Score], folder: Path) -> Path:
    """Write scores into a bundle's ``metrics.json``, beside those of other metrics.

    Returns:
        The file.

    Raises:
        DataError: If what is there is no file of scores.
        OSError: If it cannot be written.
    """
    path = folder / bundle.METRICS
    known: Any = {}
    with contextlib.suppress(FileNotFoundError):
        try:
            known, _ = sealed.read(path)
        except ValueError as error:
            raise DataError(
                f"{path} holds no scores ({error}). Delete it; it is made again."
            ) from (error)
    if not isinstance(known, dict):
        raise DataError(f"{path} holds no scores. Delete it; it is made again.")
    storage.write_json(path, known | {name: plain(score) for name, score in scores.items()})
    return path


def plain(score: Score) -> dict[str, Any]:
    """Return a score as JSON has it; what it does not have is left out."""
    whole = score.model_dump(mode="json")
    return {
        key: value
        for key, value in whole.items()
        if key == "protocol" or value not in ([], {}, None)
    }


# -- what is compared -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Data:
    """Samples of a dataset, in the order in which they are looked at."""

    dataset: Dataset
    samples: Samples
    indices: Tensor | None  # all of them where None
    spec: SampleSpec
    framing: Framing | None = None

    @classmethod
    def load(cls, dataset: Dataset, count: int | None, generator: Generator | None) -> _Data:
        if generator is not None and generator.spec.kind == "image":
            frame = generator.config.framing
            resized = frame is not None and frame.method == "resize"
            size = frame.native if frame is not None and resized else generator.spec.size
            if getattr(dataset, "size", size) is None:  # it reads pictures of any size
                dataset = dataset.replace(size=size)
        samples = dataset.load()
        indices = None
        if count is not None and count > len(samples):
            raise DataError(
                f"The dataset {_called(dataset)} has {len(samples):,} samples, fewer than the "
                f"{count:,} that are asked for. Ask for at most {len(samples):,}."
            )
        if count is not None and count < len(samples):
            order = torch.Generator().manual_seed(derive(0, "evaluated"))
            indices = torch.randperm(len(samples), generator=order)[:count].sort().values
        return cls(dataset, samples, indices, samples.spec)

    @property
    def count(self) -> int:
        return len(self.samples) if self.indices is None else len(self.indices)

    @property
    def mixture(self) -> Mixture | None:
        return self.samples.mixture

    @property
    def notices(self) -> tuple[str, ...]:
        return self.samples.notices

    @property
    def labels(self) -> Tensor | None:
        labels = self.samples.labels
        return labels if labels is None or self.indices is None else labels[self.indices]

    def fingerprint(self) -> str:
        """SHA-256 of the samples that are compared, as they are stored."""
        data = self.samples.data
        head = (tuple(data.shape[1:]), str(data.dtype), self.count, self.samples.stored_range)
        digest = hashlib.sha256(repr(head).encode())
        rows = max(1, _HASHED // max(1, data[0].nbytes))
        for part in batches(self.count, rows):
            values = self._stored(part).contiguous().view(-1).view(torch.uint8)
            digest.update(values.cpu().numpy().data)
        return digest.hexdigest()

    def _stored(self, part: slice) -> Tensor:
        data = self.samples.data
        return data[part] if self.indices is None else data.index_select(0, self.indices[part])

    def batches(self, size: int) -> Iterator[Tensor]:
        """Images as uint8 where they are stored so, all else as floats in the spec's range."""
        stored_range = self.samples.stored_range
        for part in batches(self.count, size):
            batch = self._stored(part)
            if self.samples.spec.kind == "image":
                (height, width), (tall, wide) = self.samples.spec.size, batch.shape[-2:]
                top, left = (tall - height) // 2, (wide - width) // 2
                batch = batch[..., top : top + height, left : left + width]
                if self.framing is not None and self.framing.method == "resize":
                    batch = self.framing.apply(batch, 0)
                if batch.dtype == torch.uint8 and stored_range == (0.0, 255.0):
                    yield batch
                    continue
            batch = batch.float()
            if stored_range is not None and self.spec.value_range is not None:
                (low, high), (bottom, top_) = stored_range, self.spec.value_range
                batch = (batch - low) * ((top_ - bottom) / (high - low)) + bottom
            yield batch

    def protocol(self, hashed: str | None = None) -> dict[str, Any]:
        settings = self.dataset.model_dump(mode="json")
        split = {"split": settings["split"]} if "split" in settings else {}
        return {
            "dataset": self.dataset.name,
            **split,
            "count": self.count,
            "sha256": hashed or self.fingerprint(),
        }


@dataclass(frozen=True, eq=False)
class _Made:
    """Samples of a generator."""

    generator: Generator
    count: int
    seed: int
    batch_size: int
    labels: Literal["uniform", "data"]
    weights: Tensor | None  # labels of the real samples, which are drawn from

    notices: tuple[str, ...] = ()
    mixture: Mixture | None = None

    @property
    def spec(self) -> SampleSpec:
        return self.generator.spec

    def batches(self, size: int) -> Iterator[Tensor]:
        """Floats in the spec's range, all finite."""
        for part in batches(self.count, _BLOCK):
            number, count = part.start // _BLOCK, part.stop - part.start
            seed = derive(self.seed, "evaluate", number)
            classes = None
            if self.weights is not None:
                source = torch.Generator().manual_seed(derive(self.seed, "labels", number))
                picked = torch.randint(len(self.weights), (_BLOCK,), generator=source)[:count]
                classes = self.weights[picked]
            samples = self.generator.sample(
                count, seed=seed, labels=classes, batch_size=self.batch_size
            )
            good = samples.flatten(1).isfinite().all(1)
            if not good.all():
                first = part.start + int((~good).nonzero()[0])
                raise DataError(
                    f"The generator makes NaN or infinity, first in sample {first:,} of seed "
                    f"{self.seed}, so that there is no score. Its training diverged: take an "
                    f"earlier checkpoint, or train it again."
                )
            yield from torch.split(samples, size)

    def protocol(self, hashed: str | None = None) -> dict[str, Any]:
        training = self.generator.config.training
        averaged = training.get("ema_decay")
        conditional = {"labels": self.labels} if self.spec.classes is not None else {}
        return {
            "source": "generator",
            "count": self.count,
            "seed": self.seed,
            **conditional,
            "averaged": None if averaged is None else bool(averaged),
        }


_Side = _Data | _Made


def _source(source: Any, device: str) -> Generator | Dataset:
    """The generator, or the dataset, that a source is."""
    if isinstance(source, Generator):
        return source
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        with contextlib.suppress(OSError, ValueError):
            place = Path(text).expanduser()
            pictures = place.is_dir() and bundle_folder(place) is None
            pictures = pictures and not (place / "config.yaml").exists()
            if pictures or place.is_file() or (text in datasets.names() and not place.exists()):
                return datasets.create(datasets.interpret(source))
        return Generator.from_pretrained(text, device=device)
    return datasets.create(datasets.interpret(source))


def _dataset(
    given: Any, split: str | None, generator: Generator | None, *, required: bool
) -> Dataset | None:
    """The dataset that is compared with, in the split that was asked for."""
    if given is not None:
        found = datasets.create(datasets.interpret(given))
    elif generator is None or "dataset" not in generator.config.training:
        if not required:
            return None
        raise ConfigError(
            "Nothing says what real samples to compare with: give a dataset, by its name, or as "
            "a folder of pictures."
        )
    else:
        saved = generator.config.training["dataset"]
        try:
            found = datasets.create(saved)
            if isinstance(found, datasets.Given):
                raise ConfigError(f"it was {found.description}")
        except GanzooError as error:
            if not required:
                return None
            raise ConfigError(
                f"The dataset that this generator was trained on cannot be made again "
                f"({str(error).rstrip('.')}). Give it, or another one, as the dataset."
            ) from error
    if split is None:
        return found
    if "split" not in type(found).model_fields:
        raise ConfigError(
            f"The dataset {_called(found)} has no splits, so none can be chosen; leave the real "
            f"split out."
        )
    return found.replace(split=split)


def _called(dataset: Dataset) -> str:
    path = getattr(dataset, "path", None)
    return f"'{dataset.name}' ({path})" if path else f"'{dataset.name}'"


def _matched(real: _Data, fake: _Side, framing: Framing | None) -> _Data:
    """Real samples of the form of the generated ones."""
    have, want = real.spec, fake.spec
    if have.kind != want.kind or (have.kind != "image" and have.shape != want.shape):
        raise DataError(
            f"The real samples are of another form ({have}) than the generated ones ({want}). "
            f"Give a dataset of the same form."
        )
    size = real.samples.spec
    if have.kind == "image":
        if framing is not None and framing.method == "resize" and have.size == framing.native:
            size = size.resized(framing.size)
        else:
            framing = None
        if size.size != want.size:
            raise DataError(
                f"The real images are {have.size[0]}x{have.size[1]} and the generated ones "
                f"{want.size[0]}x{want.size[1]}, so that a score would tell their sizes apart. "
                f"Bring them to one size, as the option size of a folder does."
            )
        channels = {have.channels, want.channels}
        if len(channels) == 2 and channels != {1, 3}:
            raise DataError(
                f"The real images have {have.channels} channels and the generated ones "
                f"{want.channels}. Give images with as many."
            )
    size = size.model_copy(update={"value_range": want.value_range})
    return _Data(real.dataset, real.samples, real.indices, size, framing)


def _channels(real: _Data | None, fake: _Side) -> int | None:
    """Channels that images are brought to, where one side is greyscale and the other RGB."""
    if real is None or fake.spec.kind != "image":
        return None
    channels = {real.spec.channels, fake.spec.channels}
    return max(channels) if len(channels) == 2 else None


def _label_weights(
    generator: Generator, real: _Data | None, labels: Literal["uniform", "data"]
) -> Tensor | None:
    classes = generator.spec.classes
    if labels == "uniform" or classes is None:
        return None
    if real is None or real.labels is None or real.samples.spec.classes != classes:
        raise ConfigError(
            "labels='data' needs real samples with the classes that the generator knows, and "
            "these have others or none. Say labels='uniform'."
        )
    return real.labels


def _mixture(known: Dataset | None, real: _Data | None, fake: _Side) -> Mixture | None:
    """The distribution that the data come from, also where they were not loaded."""
    found: Mixture | None = fake.mixture or (real.mixture if real is not None else None)
    return found or getattr(known, "mixture", None)


# -- metrics --------------------------------------------------------------------------------------


def _metrics(given: str | Sequence[Any], preset: str | None) -> list[Metric]:
    values = [given] if isinstance(given, (str, Mapping, metrics.Metric)) else list(given)
    if not values:
        raise ConfigError(f"No metric is given. There are: {listing(metrics.names())}.")
    found = [metrics.create(value) for value in values]
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
    extractor = _extractor(metric)
    return extractor is not None and extractor.name == "inception"


def _with_preset(metric: Metric, preset: str) -> Metric:
    extractor = _extractor(metric)
    if extractor is None or not _presets(metric):
        return metric
    return metric.replace(extractor=extractor.replace(preset=preset))


def _extractor(metric: Metric) -> Extractor | None:
    found: Extractor | None = getattr(metric, "extractor", None)
    return found


def _key(metric: Metric) -> str:
    """What tells extractors apart; metrics without one share nothing but samples."""
    extractor = _extractor(metric)
    return "" if extractor is None else extractor.model_dump_json()


def _compares(metric: Metric, given: bool) -> bool:
    """Whether a metric gets real samples: if it needs them, or can use them at little cost."""
    if metric.reals or getattr(metric, "reference", None) == "real":
        return True
    return given and metric.gathers == ("samples",)


def _check(metric: Metric, real: _Data | None, fake: _Side, generator: Generator | None) -> None:
    """Refuse now what would be refused after minutes."""
    metric.check(fake.spec)
    parts = metric.wants(fake.spec)
    if "generator" in parts and generator is None:
        raise ConfigError(
            f"The metric '{metric.name}' looks at the latents of a generator, and the source is a "
            f"dataset. Leave it out, or give a generator."
        )
    for side, whose in ((real, "real"), (fake, "generated")):
        if side is not None and side.count < metric.least:
            raise DataError(
                f"The metric '{metric.name}' needs at least {metric.least:,} {whose} samples, not "
                f"{side.count:,}: give more."
            )
        for option in ("subset_size", "splits"):  # they fail late, after all has been computed
            needed = getattr(metric, option, 0)
            if side is not None and side.count < needed:
                raise DataError(
                    f"The metric '{metric.name}' needs at least {needed:,} {whose} samples "
                    f"({option}), not {side.count:,}: give more, or set {option} lower."
                )
    extractor = _extractor(metric)
    if extractor is None or not _SEEN & set(parts):
        return
    if extractor.quantisation == "uint8" and fake.spec.kind != "image":
        raise ConfigError(
            f"The metric '{metric.name}' takes features of the extractor '{extractor.name}', which "
            f"sees pictures, and these samples are of kind '{fake.spec.kind}'. Give it another "
            f"extractor, or leave it out."
        )


# -- gathering ------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Collected:
    """What one extractor has seen of one side."""

    parts: set[str] = field(default_factory=set)
    moments: Moments | None = None
    features: Tensor | None = None
    logits: Tensor | None = None


@dataclass(eq=False)
class _Parts:
    """What was gathered of one side."""

    count: int
    spec: SampleSpec
    seen: dict[str, _Collected]
    samples: Tensor | None

    def gathered(
        self,
        metric: Metric,
        generator: Generator | None,
        mixture: Mixture | None,
        store: dict[Any, Any],
    ) -> Gathered:
        seen = self.seen.get(_key(metric), _Collected())
        return Gathered(
            count=self.count,
            moments=seen.moments,
            features=seen.features,
            logits=seen.logits,
            samples=self.samples,
            generator=generator,
            spec=self.spec,
            mixture=mixture,
            cache=store,
        )


class _Plan:
    """One pass over each side for all metrics."""

    def __init__(
        self,
        chosen: Sequence[Metric],
        spec: SampleSpec,
        device: torch.device,
        precision: PrecisionName,
        batch_size: int,
        channels: int | None,
    ) -> None:
        self._channels = channels
        self._device, self._batch_size, self._asked = device, batch_size, precision
        self._nets: dict[str, nn.Module] = {}
        self._extractors: dict[str, Extractor] = {}
        self._protocols: dict[str, dict[str, Any]] = {}
        self._hashes: dict[int, str] = {}
        picked = pick_precision(precision, device).name
        for metric in chosen:
            extractor, key = _extractor(metric), _key(metric)
            if extractor is None or key in self._extractors:
                continue
            if _SEEN & set(metric.wants(spec)):
                self._extractors[key] = extractor
                computed = {"classifier": "fp32", "callable": "as given"}.get(
                    extractor.name, picked
                )
                self._protocols[key] = {**extractor.protocol(), "precision": computed}

    def protocol(self, metric: Metric, real: _Data | None, fake: _Side) -> dict[str, Any]:
        """All that decides a score."""
        options = metric.model_dump(mode="json", exclude={"extractor"})
        options = {k: v for k, v in options.items() if k not in ("name", "provider")}
        provider = {"provider": metric.provider} if metric.provider else {}
        sees = _SEEN & set(metric.wants(fake.spec))
        extractor = {"extractor": self._protocols[_key(metric)]} if sees else {}
        form = {"form": str(self._spec(fake))}
        if real is not None and real.framing is not None:
            form["resized"] = f"reals from {real.framing.native[0]}x{real.framing.native[1]}"
        made = fake.protocol(self._hash(fake) if isinstance(fake, _Data) else None)
        if set(metric.wants(fake.spec)) == {"generator"}:
            del made["count"]  # such a metric draws its own, as its options say
        return {
            "metric": metric.name,
            **provider,
            "options": options,
            **extractor,
            **({"reals": real.protocol(self._hash(real))} if real is not None else {}),
            "fakes": made,
            "samples": form,
            "versions": {"ganzoo": __version__, "torch": torch.__version__},
        }

    def _spec(self, side: _Side) -> SampleSpec:
        """What the samples of a side are once grey ones are RGB, where the others are."""
        if self._channels is None:
            return side.spec
        return side.spec.model_copy(update={"shape": (self._channels, *side.spec.size)})

    def _hash(self, side: _Data) -> str:
        key = id(side)
        if key not in self._hashes:
            self._hashes[key] = side.fingerprint()
        return self._hashes[key]

    def gather(self, side: _Side, chosen: Iterable[Metric], whose: str, cache: bool) -> _Parts:
        """Look at all samples of a side once, or at none where all is in the cache."""
        seen: dict[str, _Collected] = {}
        spec, keep = self._spec(side), False
        for metric in chosen:
            for part in metric.wants(spec):
                if part == "samples":
                    keep = True
                elif part != "generator":
                    seen.setdefault(_key(metric), _Collected()).parts.add(part)
        if cache and isinstance(side, _Data):
            for key, collected in seen.items():
                self._look_up(side, key, collected)
        missing = {key: each for key, each in seen.items() if not _complete(each)}
        kept: list[Tensor] = []
        if missing or keep:
            for each in missing.values():
                each.moments = each.features = each.logits = None
            kept = self._pass(side, missing, keep, whose)
            if cache and isinstance(side, _Data):
                for key, each in missing.items():
                    self._keep(side, key, each)
        return _Parts(side.count, spec, seen, torch.cat(kept) if keep else None)

    def _pass(
        self, side: _Side, wanted: Mapping[str, _Collected], keep: bool, whose: str
    ) -> list[Tensor]:
        """Fill in what is wanted; return the samples if they are to be kept."""
        spec = self._spec(side)
        nets = {key: self._net(key) for key in wanted}
        features: dict[str, list[Tensor]] = {key: [] for key in wanted}
        logits: dict[str, list[Tensor]] = {key: [] for key in wanted}
        kept: list[Tensor] = []
        done = 0
        with progress.Bar(f"looking at {whose} samples", side.count) as bar:
            for batch in side.batches(self._batch_size):
                if self._channels is not None:
                    batch = batch.expand(-1, self._channels, -1, -1)
                for key, net in nets.items():
                    found = self._seen(self._extractors[key], net, batch, spec)
                    collected = wanted[key]
                    if "moments" in collected.parts:
                        collected.moments = collected.moments or Moments()
                        collected.moments.add(found.pool)
                    if "features" in collected.parts:
                        features[key].append(found.pool.cpu())
                    if "logits" in collected.parts:
                        if found.logits is None:
                            raise ConfigError(
                                f"The extractor '{self._extractors[key].name}' gives no logits "
                                f"with these weights, as a classifier would. Give it weights with "
                                f"the last layer, or choose another extractor or metric."
                            )
                        logits[key].append(found.logits.cpu())
                if keep:
                    kept.append(_bytes(batch, spec) if _pictures(spec) else batch)
                done += len(batch)
                bar.show(done)
        for key, collected in wanted.items():
            if "features" in collected.parts:
                collected.features = torch.cat(features.pop(key))
            if "logits" in collected.parts:
                collected.logits = torch.cat(logits.pop(key))
        return kept

    def _net(self, key: str) -> nn.Module:
        if key not in self._nets:
            self._nets[key] = self._extractors[key].build(self._device, self._asked)
        return self._nets[key]

    def _seen(
        self, extractor: Extractor, net: nn.Module, batch: Tensor, spec: SampleSpec
    ) -> Features:
        if extractor.quantisation == "uint8":
            batch = _bytes(batch, spec)
        elif batch.dtype == torch.uint8:
            batch = batch.float()
            if spec.value_range is not None:
                low, high = spec.value_range
                batch = batch * ((high - low) / 255) + low
        batch = batch.to(self._device)
        count, channels = len(batch), spec.channels
        if not isinstance(extractor, Classifier) or channels == 1:
            found: Features = net(batch)
            return found
        # It sees one digit; images of several have one in each channel.
        found = net(batch.reshape(count * channels, 1, *batch.shape[2:]))
        assert found.logits is not None
        logits = found.logits.reshape(count, channels, -1)
        return type(found)(found.pool.reshape(count, -1), logits)

    # -- the cache ----------------------------------------------------------------------------

    def _folder(self, side: _Data, key: str) -> Path:
        """Where what an extractor has seen of these samples is kept."""
        framing = None if side.framing is None else side.framing.model_dump(mode="json")
        known = {
            "format": _KEPT_FORMAT,
            "data": self._hash(side),
            "spec": self._spec(side).model_dump(mode="json", exclude={"classes"}),
            "native": side.samples.spec.shape,
            "framing": framing,
            "extractor": self._protocols[key],
        }
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        return cache_root().parent / "statistics" / digest[:32]

    def _look_up(self, side: _Data, key: str, collected: _Collected) -> None:
        folder = self._folder(side, key)
        with contextlib.suppress(OSError, ValueError, DataError):  # what is no use is made again
            if "moments" in collected.parts:
                found = Moments.load(folder / "moments.safetensors")
                collected.moments = found if found.count == side.count else None
        for part in ("features", "logits"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                if part in collected.parts:
                    with foreign.opened(folder / f"{part}.safetensors") as file:
                        value = foreign.tensors(file)[part]
                    if len(value) == side.count and value.dtype == torch.float32:
                        setattr(collected, part, value)

    def _keep(self, side: _Data, key: str, collected: _Collected) -> None:
        folder = self._folder(side, key)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
            storage.make(folder)
            if collected.moments is not None:
                collected.moments.save(folder / "moments.safetensors")
            for part in ("features", "logits"):
                value: Tensor | None = getattr(collected, part)
                if value is not None and value.nbytes <= _MOST_KEPT:
                    with storage.new_file(folder / f"{part}.safetensors") as fresh:
                        save_file({part: value.contiguous()}, fresh)


def _complete(collected: _Collected) -> bool:
    return all(getattr(collected, part) is not None for part in collected.parts)


def _pictures(spec: SampleSpec) -> bool:
    """Whether samples are images of which 8-bit pictures can be made."""
    return spec.kind == "image" and spec.value_range is not None


def _bytes(batch: Tensor, spec: SampleSpec) -> Tensor:
    """Images as they would be in a file."""
    if batch.dtype == torch.uint8:
        return batch
    if spec.value_range is None:
        raise ConfigError(
            "These images have no value range, so that nobody knows what is black and what is "
            "white. Give the dataset's stored_range."
        )
    low, high = spec.value_range
    return batch.sub(low).mul(255 / (high - low)).round().clamp(0, 255).to(torch.uint8)


def _comparable(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol by dotted keys, without what may differ."""
    flat: dict[str, Any] = {}
    for key, value in protocol.items():
        if key == "versions":
            continue
        if not isinstance(value, Mapping):
            flat[key] = value
            continue
        for inner, item in value.items():
            if key != "fakes" or inner not in (*_FREE, "dataset", "split", "sha256"):
                flat[f"{key}.{inner}"] = item
    return flat
