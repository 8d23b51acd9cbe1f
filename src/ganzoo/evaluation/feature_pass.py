"""One pass over the samples of a side, for all metrics together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.datasets import progress
from ganzoo.errors import GanzooError
from ganzoo.evaluation import feature_cache, ranks
from ganzoo.evaluation.extraction import Extraction, as_bytes, has_bytes, versions
from ganzoo.evaluation.feature_cache import Collected
from ganzoo.evaluation.sources import RealSamples, fitted, form_of
from ganzoo.evaluation.views import (
    View,
    key_of,
    pixels,
    reading_of,
    recoloured,
    shown,
    treated,
    view_of,
)
from ganzoo.features.arithmetic import feature_precision
from ganzoo.metrics.base import FROM_EXTRACTOR
from ganzoo.metrics.inputs import MetricInputs, Moments

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.evaluation.options import EvalOptions, Size
    from ganzoo.evaluation.sources import SampleSource
    from ganzoo.features.programs import Reading
    from ganzoo.generators.generator import Generator
    from ganzoo.metrics import Metric

__all__ = ["STOPPED", "FeaturePass", "Parts"]

STOPPED = "The scoring was stopped."


@dataclass(eq=False)
class Parts:
    """What was computed of one side."""

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
        view = view_of(metric, spec, self.side)
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
        fake: The generated samples, or others of their form.
        device: Where nets compute.
        options: Precision, size of batches, and size that pictures are brought to for pixels.
    """

    def __init__(
        self,
        chosen: Sequence[Metric],
        real: RealSamples | None,
        fake: SampleSource,
        device: torch.device,
        options: EvalOptions,
    ) -> None:
        self._real, self._fake, self._size = real, fake, options.size
        self._metrics, self._device = tuple(chosen), device
        self._batch_size = options.batch_size
        self._extractions: dict[str, Extraction] = {}
        picked = feature_precision(options.precision, device).name
        for metric in chosen:
            extractor, key = metric.extracts, key_of(metric)
            wanted = {*metric.wants(shown(metric, fake, real, self._size))}
            if extractor is None or not FROM_EXTRACTOR & wanted:
                continue
            if key not in self._extractions:
                extraction = Extraction(extractor, device, options.precision, picked)
                self._extractions[key] = extraction
            if "logits" in wanted:
                self._extractions[key].last_layer = extractor.logits_hash()

    def between(self, real: RealSamples | None, fake: SampleSource) -> FeaturePass:
        """Return a pass over parts of the two sides, by the same nets."""
        other = copy.copy(self)
        other._real, other._fake = real, fake
        return other

    def build(self) -> None:
        """Build the extractors that are used, and load what metrics need.

        Raises:
            CheckpointError: If the weights of one are not there.
            ConfigError: If one cannot be built, or gives no logits and a metric needs them.
        """
        with ranks.propagate_errors():
            for extraction in self._extractions.values():
                extraction.net()
            for view in self._wanted(self._fake, self._metrics, {"logits"}):
                spec = self._fake.spec_for(view.reading)
                sample = torch.zeros(1, *spec.shape, dtype=torch.uint8 if has_bytes(spec) else None)
                extraction = self._extractions[view.key]
                extraction.logits(extraction.see(sample, spec, view.channels))
            for metric in self._metrics:
                metric.prepare(self._device)

    def protocol(
        self,
        metric: Metric,
        real: RealSamples | None,
        fake: SampleSource,
        mixture: Mixture | None,
    ) -> dict[str, Any]:
        """Return all that decides a score.

        Args:
            metric: The metric.
            real: The real samples that it gets; under ``real_extra`` where they do not decide the
                score, and only ``extra`` tells of them.
            fake: The samples that it scores.
            mixture: The distribution that they come from, where it is known.
        """
        options = metric.model_dump(mode="json", exclude={"extractor"})
        options = {k: v for k, v in options.items() if k not in ("name", "provider")}
        spec, key = shown(metric, fake, self._real, self._size), key_of(metric)
        wanted = {*metric.wants(spec)}
        extractor: dict[str, Any] = {}
        if FROM_EXTRACTOR & wanted:
            extractor = dict(self._extractions[key].protocol)
            if "logits" in wanted and (last := self._extractions[key].last_layer) is not None:
                extractor["last_layer"] = last
        made = fake.protocol()
        if wanted == {"generator"}:  # such a metric draws its own, as its options say
            drawn = {"count", "labels", "label_shares"}
            made = {k: v for k, v in made.items() if k not in drawn}
        else:
            made |= treated(metric, fake)
        against = {} if real is None else {**real.protocol(), **treated(metric, real)}
        used = self._extractions.get(key)
        whole = {
            "metric": metric.name,
            "provider": metric.provider,
            "options": options,
            "extractor": extractor,
            "measured": metric.protocol(spec, mixture),
            "real" if metric.needs_real else "real_extra": against,
            "fake": made,
            "samples": self._form(metric, real if metric.needs_real else None, fake),
            "versions": versions(None if used is None else used.extractor),
        }
        absent = ("provider", "extractor", "measured", "real", "real_extra")
        return {name: part for name, part in whole.items() if part or name not in absent}

    def _form(self, metric: Metric, real: RealSamples | None, fake: SampleSource) -> dict[str, str]:
        """What the samples of both sides are, and how they came to it."""
        spec = shown(metric, fake, self._real, self._size)
        asked = reading_of(metric, spec)
        if pixels(metric, fake) and self._size is not None:
            sides = [("fake", fake)] + ([("real", real)] if real is not None else [])
            changed = [
                f"{whose} from {side.sizes(asked)}"
                for whose, side in sides
                if side.sizes(asked).one != self._size
            ]
            return {"form": str(spec), **({"resized": " and ".join(changed)} if changed else {})}
        form = {"form": form_of(fake, asked, spec.shape[0])}
        if real is not None and real.preprocessing is not None:
            height, width = real.preprocessing.original_size
            form["resized"] = f"real from {height}x{width}"
        if real is not None and (theirs := form_of(real, asked, spec.shape[0])) != form["form"]:
            form["real"] = theirs
        return form

    def _wanted(
        self, side: SampleSource, chosen: Iterable[Metric], parts: Set[str]
    ) -> dict[View, Collected]:
        """Which of some parts metrics want of samples, by what sees these."""
        views: dict[View, Collected] = {}
        for metric in chosen:
            spec = shown(metric, side, self._other(side), self._size)
            if wanted := parts & {*metric.wants(spec)}:
                view = view_of(metric, spec, side)
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
        """Pass over all samples of a side once, or not at all where the cache has everything.

        Where metrics want files opened in two ways, and that makes a difference, it is twice.

        Raises:
            GanzooError: If ``given_up`` says so, which is asked after each batch.
        """
        chosen = tuple(chosen)
        seen = self._wanted(side, chosen, FROM_EXTRACTOR)
        keep = bool(self._wanted(side, chosen, {"samples"}))
        cached = {}
        if cache and isinstance(side, RealSamples):
            views = (view for view in seen if self._extractions[view.key].extractor.cacheable)
            cached = {view: self._cache_key(side, view) for view in views}
        for view, key in cached.items():
            last = self._extractions[view.key].last_layer
            feature_cache.load(key, last, seen[view], side.count)
        missing = {view: each for view, each in seen.items() if not ranks.all_agree(each.complete)}
        readings: dict[Reading, dict[View, Collected]] = {"data": {}} if keep else {}
        for view, each in missing.items():
            each.moments = each.features = each.logits = None
            readings.setdefault(view.reading, {})[view] = each
        samples: list[Tensor] = []
        for asked, wanted in readings.items():
            samples += self._pass(side, asked, wanted, keep and asked == "data", whose, given_up)
        if ranks.first():
            for view in cached.keys() & missing.keys():
                last = self._extractions[view.key].last_layer
                feature_cache.save(cached[view], last, missing[view])
        whole = torch.cat(samples) if keep else None
        return Parts(side, self._other(side), self._size, seen, whole, self._device)

    def _cache_key(self, side: RealSamples, view: View) -> dict[str, Any]:
        """All that decides what an extractor sees of real samples."""
        extraction = self._extractions[view.key]
        spec = recoloured(side.spec_for(view.reading), view.channels)
        return {
            "format": feature_cache.FORMAT,
            "data": side.fingerprint,
            "spec": spec.model_dump(mode="json", exclude={"classes"}),
            **side.cache_key(view.reading),
            "extractor": extraction.protocol,
            "device": self._device.type,
            "versions": versions(extraction.extractor),
        }

    def _pass(
        self,
        side: SampleSource,
        asked: Reading,
        wanted: Mapping[View, Collected],
        keep: bool,
        whose: str,
        given_up: Callable[[], bool],
    ) -> list[Tensor]:
        """Fill in what is wanted; return the samples if ``keep``.

        Processes that evaluate together divide the samples, and all have all of it in the end.
        """
        features: dict[View, list[Tensor]] = {view: [] for view in wanted}
        logits: dict[View, list[Tensor]] = {view: [] for view in wanted}
        samples: list[Tensor] = []
        spec, share = side.spec_for(asked), ranks.share(side.count, side.grain)
        done, text = 0, f"computing features of {whose} samples"
        with ranks.propagate_errors(), progress.Bar(text, share.stop - share.start) as bar:
            for batch in side.batches(self._batch_size, share, asked):
                if given_up():
                    raise GanzooError(STOPPED)
                for view, collected in wanted.items():
                    extraction = self._extractions[view.key]
                    found = extraction.see(batch, spec, view.channels)
                    if "moments" in collected.parts:
                        collected.moments = collected.moments or Moments()
                        # Moments are in float64, which of all devices only CUDA has.
                        there = found.pool.device.type == "cuda"
                        collected.moments.add(found.pool if there else found.pool.cpu())
                    if "features" in collected.parts:
                        features[view].append(_copied(found.pool))
                    if "logits" in collected.parts:
                        logits[view].append(_copied(extraction.logits(found)))
                if keep:
                    samples.append(self._one_size(batch, spec))
                done += len(batch)
                bar.show(done)
        for view, collected in wanted.items():
            if "moments" in collected.parts:
                collected.moments = _merged(collected.moments)
            if "features" in collected.parts:
                collected.features = torch.cat(_all(features.pop(view)))
            if "logits" in collected.parts:
                collected.logits = torch.cat(_all(logits.pop(view)))
        return _all(samples) if keep else []

    def _one_size(self, batch: Tensor | Sequence[Tensor], spec: SampleSpec) -> Tensor:
        """Samples for metrics on pixels."""
        if self._size is not None and spec.kind == "image":
            batch = fitted(batch, self._size)
        assert isinstance(batch, torch.Tensor)  # metrics on pixels are refused otherwise
        return as_bytes(batch, spec) if has_bytes(spec) else batch


def _merged(moments: Moments | None) -> Moments:
    """The moments of all processes' samples, in the order of the samples."""
    whole = Moments()
    for state in ranks.all_gather_object((moments or Moments()).state()):
        whole.merge(Moments.of(state))
    return whole


def _copied(value: Tensor) -> Tensor:
    """A copy: what a net returns may be a part of more, or be reused for the next batch."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _all(own: list[Tensor]) -> list[Tensor]:
    """The tensors of all processes, in the order of the samples."""
    return [part for parts in ranks.all_gather_object(own) for part in parts]
