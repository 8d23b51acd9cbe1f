"""One look at the samples of a side for all metrics, kept for the next time."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo._version import __version__
from ganzoo.datasets import progress
from ganzoo.datasets.cache import cache_root
from ganzoo.errors import ConfigError, DataError, GanzooError
from ganzoo.evaluation import ranks
from ganzoo.evaluation.own_size import fitted
from ganzoo.evaluation.sources import GeneratedSamples, Real, SampleSource, coloured, form_of
from ganzoo.features import tensor_cache
from ganzoo.features.arithmetic import feature_precision
from ganzoo.metrics.inputs import MetricInputs, Moments

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.core.device import PrecisionName
    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.features import Extractor, Features
    from ganzoo.features.programs import Reading
    from ganzoo.generators.generator import Generator
    from ganzoo.metrics import Metric

__all__ = [
    "SEEN",
    "FeaturePass",
    "Parts",
    "compares",
    "extractor_of",
    "pixels",
    "program_of",
    "shown",
    "unlike",
    "without_alpha",
]

SEEN = frozenset({"moments", "features", "logits"})
"""What takes an extractor."""

GIVEN_UP = "The scoring was given up."

_KEPT_FORMAT = 3
_MOST_KEPT = 2**30  # bytes of features that are kept

Size = tuple[int, int]

View = tuple[str, int, str]
"""What tells an extractor, the channels of what it is shown, and how files are opened for it."""


@dataclass(eq=False)
class Collected:
    """What one extractor has seen of one side."""

    parts: set[str] = field(default_factory=set)
    moments: Moments | None = None
    features: Tensor | None = None
    logits: Tensor | None = None


@dataclass(eq=False)
class Parts:
    """What was gathered of one side."""

    side: SampleSource
    other: SampleSource | None  # what it is compared with
    size: Size | None  # of pictures whose pixels are compared, where it was asked for
    seen: dict[View, Collected]
    samples: Tensor | None
    device: torch.device
    stores: dict[View, dict[Any, Any]] = field(default_factory=dict)  # what metrics share

    def inputs(
        self, metric: Metric, generator: Generator | None, mixture: Mixture | None
    ) -> MetricInputs:
        """Return a metric's share of it."""
        spec = shown(metric, self.side, self.other, self.size)
        samples = self.samples if "samples" in metric.wants(spec) else None
        if samples is not None and spec.kind == "image":  # grey as RGB, or RGBA as RGB
            samples = samples[:, : spec.channels].expand(-1, spec.channels, -1, -1)
        view = _view(metric, spec, self.side)
        seen = self.seen.get(view, Collected())
        return MetricInputs(
            count=self.side.count,
            moments=seen.moments,
            features=seen.features,
            logits=seen.logits,
            samples=samples,
            generator=generator,
            spec=spec,
            mixture=mixture,
            cache=self.stores.setdefault(view, {}),
            device=self.device,
        )


class FeaturePass:
    """One pass over each side for all metrics.

    Args:
        chosen: The metrics.
        real: The real samples.
        fake: What is scored, or what is like it.
        device: Where nets compute.
        precision: In what.
        batch_size: Samples that are computed together.
        size: Height and width that pictures are brought to for metrics on pixels.
    """

    def __init__(
        self,
        chosen: Sequence[Metric],
        real: Real | None,
        fake: SampleSource,
        device: torch.device,
        precision: PrecisionName,
        batch_size: int,
        size: Size | None,
    ) -> None:
        self._real, self._fake, self._size = real, fake, size
        self._metrics = tuple(chosen)
        self._device, self._batch_size, self._asked = device, batch_size, precision
        self._nets: dict[str, nn.Module] = {}
        self._extractors: dict[str, Extractor] = {}
        self._protocols: dict[str, dict[str, Any]] = {}
        self._last: dict[str, dict[str, str]] = {}  # what logits depend on besides
        self._packages: dict[str, dict[str, str]] = {}  # versions of those that it computes with
        picked = feature_precision(precision, device).name
        for metric in chosen:
            extractor, key = extractor_of(metric), _key(metric)
            if extractor is None:
                continue
            wanted = metric.wants(shown(metric, fake, real, size))
            if key not in self._extractors and SEEN & set(wanted):
                self._extractors[key] = extractor
                computed = extractor.forced_dtype or picked
                self._protocols[key] = {**extractor.protocol(), "precision": computed}
                self._packages[key] = {name: _version(name) for name in extractor.packages}
            if key in self._extractors and "logits" in wanted:
                last = extractor.logits_hash()
                self._last[key] = {} if last is None else {"last_layer": last}

    def build(self) -> None:
        """Build the extractors that are used, and load what metrics need.

        Raises:
            CheckpointError: If the weights of one are not there.
            ConfigError: If one cannot be built, or gives no logits and a metric needs them.
        """
        with ranks.propagate_errors():
            for key in self._extractors:
                self._net(key)
            for view in self._wanted(self._fake, self._metrics, {"logits"}):
                self._check_logits(view)
            for metric in self._metrics:
                metric.prepare(self._device)

    def protocol(
        self,
        metric: Metric,
        real: Real | None,
        fake: SampleSource,
        mixture: Mixture | None,
        *,
        beside: bool,
    ) -> dict[str, Any]:
        """All that decides a score.

        Args:
            metric: What scores.
            real: The real samples that it gets.
            fake: The samples that it scores.
            mixture: The distribution that they come from, where it is known.
            beside: Whether the real ones are only looked at as well, and decide nothing.
        """
        options = metric.model_dump(mode="json", exclude={"extractor"})
        options = {k: v for k, v in options.items() if k not in ("name", "provider")}
        provider = {"provider": metric.provider} if metric.provider else {}
        spec, key = shown(metric, fake, self._real, self._size), _key(metric)
        wanted = set(metric.wants(spec))
        sees = SEEN & wanted
        last = self._last.get(key, {}) if "logits" in sees else {}
        extractor = {"extractor": {**self._protocols[key], **last}} if sees else {}
        measured = metric.protocol(spec, mixture)
        form = self._form(metric, None if beside else real, fake)
        made = fake.protocol()
        if wanted == {"generator"}:  # such a metric draws its own, as its options say
            drawn = {"count", "labels", "label_shares"}
            made = {k: v for k, v in made.items() if k not in drawn}
        else:
            made |= _treated(metric, fake)
        reals = {} if real is None else {**real.protocol(), **_treated(metric, real)}
        return {
            "metric": metric.name,
            **provider,
            "options": options,
            **extractor,
            **({"measured": measured} if measured else {}),
            **({"beside" if beside else "reals": reals} if reals else {}),
            "fakes": made,
            "samples": form,
            "versions": self._versions(key),
        }

    def _form(self, metric: Metric, real: Real | None, fake: SampleSource) -> dict[str, str]:
        """What the samples of both sides are, and how they came to it."""
        spec = shown(metric, fake, self._real, self._size)
        asked = _asked(metric, spec)
        if pixels(metric, fake) and self._size is not None:
            form = {"form": str(spec)}
            sides = [("generated ones", fake)] + ([("reals", real)] if real is not None else [])
            changed = [
                f"{whose} from {side.sizes(asked)}"
                for whose, side in sides
                if side.sizes(asked).one != self._size
            ]
            return {**form, **({"resized": " and ".join(changed)} if changed else {})}
        form = {"form": form_of(fake, asked, spec.shape[0])}
        if real is not None and real.preprocessing is not None:
            height, width = real.preprocessing.original_size
            form["resized"] = f"reals from {height}x{width}"
        if real is not None and (theirs := form_of(real, asked, spec.shape[0])) != form["form"]:
            form["reals"] = theirs
        return form

    def _versions(self, key: str) -> dict[str, str]:
        versions = {"ganzoo": __version__, "torch": torch.__version__}
        return versions | self._packages.get(key, {})

    def _wanted(
        self, side: SampleSource, chosen: Iterable[Metric], parts: Set[str]
    ) -> dict[View, Collected]:
        """What metrics want of some parts of samples, by what sees it."""
        views: dict[View, Collected] = {}
        for metric in chosen:
            seen = shown(metric, side, self._other(side), self._size)
            if wanted := parts & {*metric.wants(seen)}:
                view = _view(metric, seen, side)
                views.setdefault(view, Collected()).parts.update(wanted)
        return views

    def _other(self, side: SampleSource) -> SampleSource | None:
        """What a side is compared with."""
        return self._fake if side is self._real else self._real

    def gather(
        self,
        side: SampleSource,
        chosen: Iterable[Metric],
        whose: str,
        cache: bool,
        given_up: Callable[[], bool] = bool,
    ) -> Parts:
        """Look at all samples of a side once, or at none where all is in the cache.

        Where metrics want files opened in two ways, and that makes a difference, it is twice.

        Raises:
            GanzooError: If it is given up, which is asked after each batch.
        """
        chosen = tuple(chosen)
        seen = self._wanted(side, chosen, SEEN)
        keep = bool(self._wanted(side, chosen, {"samples"}))
        cacheable = {view for view in seen if cache and self._extractors[view[0]].cacheable}
        if not isinstance(side, GeneratedSamples):
            for view in cacheable:
                self._look_up(side, view, seen[view])
        missing = {
            view: each for view, each in seen.items() if not ranks.all_agree(_complete(each))
        }
        for each in missing.values():
            each.moments = each.features = each.logits = None
        samples: list[Tensor] = []
        readings: dict[Reading, dict[View, Collected]] = {"data": {}} if keep else {}
        for view, each in missing.items():
            readings.setdefault("program" if view[2] == "program" else "data", {})[view] = each
        for asked, views in readings.items():
            samples += self._pass(side, asked, views, keep and asked == "data", whose, given_up)
        if not isinstance(side, GeneratedSamples) and ranks.first():
            for view in cacheable & missing.keys():
                self._keep(side, view, missing[view])
        whole = torch.cat(samples) if keep else None
        other = self._other(side)
        return Parts(side, other, self._size, seen, whole, self._device)

    def _pass(
        self,
        side: SampleSource,
        asked: Reading,
        wanted: Mapping[View, Collected],
        keep: bool,
        whose: str,
        given_up: Callable[[], bool],
    ) -> list[Tensor]:
        """Fill in what is wanted; return the samples if they are to be kept.

        Processes that evaluate together divide the samples, and all have all of it in the end.
        """
        features: dict[View, list[Tensor]] = {view: [] for view in wanted}
        logits: dict[View, list[Tensor]] = {view: [] for view in wanted}
        samples: list[Tensor] = []
        with ranks.propagate_errors():
            kept_ = samples if keep else None
            self._look(side, asked, wanted, whose, features, logits, kept_, given_up)
        for view, collected in wanted.items():
            if "moments" in collected.parts:
                collected.moments = _merged(collected.moments)
            if "features" in collected.parts:
                collected.features = _joined(features.pop(view))
            if "logits" in collected.parts:
                collected.logits = _joined(logits.pop(view))
        return (
            [part for parts in ranks.all_gather_object(samples) for part in parts] if keep else []
        )

    def _look(
        self,
        side: SampleSource,
        asked: Reading,
        wanted: Mapping[View, Collected],
        whose: str,
        features: Mapping[View, list[Tensor]],
        logits: Mapping[View, list[Tensor]],
        samples: list[Tensor] | None,
        given_up: Callable[[], bool],
    ) -> None:
        """Look at this process's share of the samples, and fill the lists and moments."""
        spec = side.spec_for(asked)
        nets = {view: self._net(view[0]) for view in wanted}
        done, chosen = 0, ranks.share(side.count, side.grain)
        with progress.Bar(f"looking at {whose} samples", chosen.stop - chosen.start) as bar:
            for batch in side.batches(self._batch_size, chosen, asked):
                if given_up():
                    raise GanzooError(GIVEN_UP)
                for view, net in nets.items():
                    found = self._seen(self._extractors[view[0]], net, batch, spec, view[1])
                    collected = wanted[view]
                    if "moments" in collected.parts:
                        collected.moments = collected.moments or Moments()
                        # Only CUDA has the float64 in which they are computed there.
                        there = found.pool.device.type == "cuda"
                        collected.moments.add(found.pool if there else found.pool.cpu())
                    if "features" in collected.parts:
                        features[view].append(_own(found.pool))
                    if "logits" in collected.parts:
                        if found.logits is None:
                            raise self._no_logits(view[0])
                        logits[view].append(_own(found.logits))
                if samples is not None:
                    samples.append(self._one_size(batch, spec))
                done += len(batch)
                bar.show(done)

    def _net(self, key: str) -> nn.Module:
        if key not in self._nets:
            self._nets[key] = self._extractors[key].build(self._device, self._asked)
        return self._nets[key]

    def _one_size(self, batch: Tensor | Sequence[Tensor], spec: SampleSpec) -> Tensor:
        """Samples for metrics on pixels."""
        if self._size is not None and spec.kind == "image":
            batch = fitted(batch, self._size)
        assert isinstance(batch, torch.Tensor)  # metrics on pixels are refused otherwise
        return _bytes(batch, spec) if _pictures(spec) else batch

    def _seen(
        self,
        extractor: Extractor,
        net: nn.Module,
        batch: Tensor | Sequence[Tensor],
        spec: SampleSpec,
        channels: int,
    ) -> Features:
        """What an extractor sees, in the order of the samples."""
        if isinstance(batch, torch.Tensor):
            return self._seen_alike(extractor, net, batch, spec, channels)
        alike: dict[Any, list[int]] = {}
        for place, picture in enumerate(batch):
            alike.setdefault((picture.shape, picture.dtype), []).append(place)
        parts = [
            self._seen_alike(
                extractor, net, torch.stack([batch[place] for place in places]), spec, channels
            )
            for places in alike.values()
        ]
        widths = {part.pool.shape[1] for part in parts}
        if len(widths) > 1:
            raise unlike(extractor, *sorted(widths)[:2])
        order = torch.tensor([place for places in alike.values() for place in places]).argsort()
        pool = torch.cat([part.pool for part in parts])
        logits = [part.logits for part in parts if part.logits is not None]
        order = order.to(pool.device)
        whole = torch.cat(logits)[order] if len(logits) == len(parts) else None
        return type(parts[0])(pool[order], whole)

    def _seen_alike(
        self,
        extractor: Extractor,
        net: nn.Module,
        batch: Tensor,
        spec: SampleSpec,
        channels: int,
    ) -> Features:
        if spec.kind == "image" and channels != batch.shape[1]:  # grey as RGB, or RGBA as RGB
            batch = batch[:, :channels].expand(-1, channels, -1, -1)
        if extractor.quantisation == "uint8":
            batch = _bytes(batch, spec)
        elif batch.dtype == torch.uint8:
            batch = batch.float()
            if spec.value_range is not None:
                low, high = spec.value_range
                batch = batch * ((high - low) / 255) + low
        batch = batch.to(self._device)
        count = len(batch)
        if not extractor.channelwise or channels == 1:
            found: Features = net(batch)
            return found
        found = net(batch.reshape(count * channels, 1, *batch.shape[2:]))
        logits = None if found.logits is None else found.logits.reshape(count, channels, -1)
        return type(found)(found.pool.reshape(count, -1), logits)

    def _check_logits(self, view: View) -> None:
        """Refuse an extractor without logits before all real samples are looked at."""
        key, channels, asked = view
        spec = self._fake.spec_for("program" if asked == "program" else "data")
        sample = torch.zeros(1, *spec.shape, dtype=torch.uint8 if _pictures(spec) else None)
        if self._seen(self._extractors[key], self._net(key), sample, spec, channels).logits is None:
            raise self._no_logits(key)

    def _no_logits(self, key: str) -> ConfigError:
        return ConfigError(
            f"The extractor '{self._extractors[key].name}' gives no logits with these weights, as "
            f"a classifier would. Give it weights with the last layer, or choose another extractor "
            f"or metric."
        )

    # -- the cache ----------------------------------------------------------------------------

    def _folder(self, side: Real, view: View) -> Path:
        """Where what an extractor has seen of these samples is kept."""
        key, channels, reading = view
        asked: Reading = "program" if reading == "program" else "data"
        spec = _coloured(side.spec_for(asked), channels)
        known = {
            "format": _KEPT_FORMAT,
            "data": side.fingerprint,
            "spec": spec.model_dump(mode="json", exclude={"classes"}),
            **side.kept_as(asked),
            "extractor": self._protocols[key],
            "device": self._device.type,
            "versions": self._versions(key),
        }
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        return _statistics() / digest[:32]

    def _place(self, folder: Path, key: str, part: str) -> Path:
        last = self._last.get(key, {}).get("last_layer", "") if part == "logits" else ""
        return folder / (f"{part}-{last[:16]}" if last else part)

    def _look_up(self, side: Real, view: View, collected: Collected) -> None:
        folder = self._folder(side, view)
        for part in collected.parts:
            found = tensor_cache.read(self._place(folder, view[0], part))
            with contextlib.suppress(DataError):  # what is no use is made again
                if found is None:
                    continue
                if part == "moments":
                    moments = Moments.of(found[0])
                    collected.moments = moments if moments.count == side.count else None
                elif (value := found[0].get(part)) is not None and len(value) == side.count:
                    setattr(collected, part, value)

    def _keep(self, side: Real, view: View, collected: Collected) -> None:
        folder, key = self._folder(side, view), view[0]
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
            tensor_cache.clean_partial_writes(_statistics())
            if collected.moments is not None:
                tensor_cache.write(self._place(folder, key, "moments"), collected.moments.state())
            for part in ("features", "logits"):
                value: Tensor | None = getattr(collected, part)
                if value is not None and value.nbytes <= _MOST_KEPT:
                    tensor_cache.write(self._place(folder, key, part), {part: value.contiguous()})


def _statistics() -> Path:
    """The folder of all that is kept."""
    return cache_root().parent / "statistics"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _merged(moments: Moments | None) -> Moments:
    """The moments of all processes' samples, in the order of the samples."""
    whole = Moments()
    for state in ranks.all_gather_object((moments or Moments()).state()):
        whole.merge(Moments.of(state))
    return whole


def _own(value: Tensor) -> Tensor:
    """A copy: what a net returns may be a part of more, or be filled anew for the next batch."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _joined(own: list[Tensor]) -> Tensor:
    return torch.cat([part for parts in ranks.all_gather_object(own) for part in parts])


def _complete(collected: Collected) -> bool:
    return all(getattr(collected, part) is not None for part in collected.parts)


def _pictures(spec: SampleSpec) -> bool:
    """Whether samples are images of which 8-bit pictures can be made."""
    return spec.kind == "image" and spec.value_range is not None


def extractor_of(metric: Metric) -> Extractor | None:
    """Return what a metric sees samples by, if it has such a thing."""
    found: Extractor | None = getattr(metric, "extractor", None)
    return found


def compares(metric: Metric) -> bool:
    """Return whether real samples decide the score."""
    return metric.reals or getattr(metric, "reference", None) == "real"


def program_of(metric: Metric, spec: SampleSpec) -> str | None:
    """Return the program whose way of opening files a metric's extractor follows, or None."""
    extractor = extractor_of(metric)
    return extractor.program if extractor is not None and SEEN & {*metric.wants(spec)} else None


def without_alpha(metric: Metric, spec: SampleSpec) -> SampleSpec:
    """Return what a metric gets of samples of no file: a program's extractor no alpha."""
    alpha = spec.kind == "image" and spec.channels == 4 and program_of(metric, spec) is not None
    return _coloured(spec, 3) if alpha else spec


def pixels(metric: Metric, side: SampleSource) -> bool:
    """Return whether a metric looks at pixels, which takes pictures of one size."""
    return side.spec.kind == "image" and "samples" in metric.wants(side.spec)


def shown(
    metric: Metric, side: SampleSource, other: SampleSource | None, size: Size | None
) -> SampleSpec:
    """Return what a metric gets of the samples of a side.

    Where it compares two sides, grey becomes RGB beside RGB. Others get them as they are, so that
    no score depends on which others are asked for.
    """
    against = other if compares(metric) else None
    spec = coloured(side, against, _asked(metric, side.spec))
    return spec if size is None or not pixels(metric, side) else spec.resized(size)


def _asked(metric: Metric, spec: SampleSpec) -> Reading:
    return "data" if program_of(metric, spec) is None else "program"


def _view(metric: Metric, spec: SampleSpec, side: SampleSource) -> View:
    return _key(metric), spec.shape[0], side.reading(_asked(metric, side.spec))


def _treated(metric: Metric, side: SampleSource) -> dict[str, Any]:
    """What was done to a side's pictures, and in what a preset was left, for a protocol."""
    program = program_of(metric, side.spec)
    done = side.read("data" if program is None else "program")
    left = () if program is None else side.left(program)
    return {**({"read": done} if done else {}), **({"left": list(left)} if left else {})}


def unlike(extractor: Extractor, one: int, other: int) -> DataError:
    """Return the error that pictures of two sizes have features of two lengths."""
    return DataError(
        f"The features of the extractor '{extractor.name}' are {one:,} numbers of some pictures "
        f"and {other:,} of others, whose sizes differ. Have it bring pictures to one size, or "
        f"give them at one: with the option size of a folder, such as "
        f'{{"name": "folder", "path": "PATH", "size": 64}}.'
    )


def _coloured(spec: SampleSpec, channels: int) -> SampleSpec:
    return spec.model_copy(update={"shape": (channels, *spec.shape[1:])})


def _key(metric: Metric) -> str:
    """What tells extractors apart; metrics without one share nothing but samples."""
    extractor = extractor_of(metric)
    return "" if extractor is None else extractor.model_dump_json()


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
