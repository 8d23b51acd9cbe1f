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
from ganzoo.device import pick_precision
from ganzoo.errors import ConfigError, DataError, GanzooError
from ganzoo.evaluation import ranks
from ganzoo.evaluation.sides import Side, Stored
from ganzoo.features import kept
from ganzoo.metrics.gathered import Gathered, Moments

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.device import PrecisionName
    from ganzoo.features import Extractor, Features
    from ganzoo.generator import Generator
    from ganzoo.metrics import Metric
    from ganzoo.mixture import Mixture
    from ganzoo.spec import SampleSpec

__all__ = ["SEEN", "Gathering", "Parts", "compares", "extractor_of", "shown"]

SEEN = frozenset({"moments", "features", "logits"})
"""What takes an extractor."""

GIVEN_UP = "The scoring was given up."

_KEPT_FORMAT = 2
_MOST_KEPT = 2**30  # bytes of features that are kept

View = tuple[str, int]
"""What tells an extractor, and the channels of what it is shown."""


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

    count: int
    spec: SampleSpec
    channels: int | None  # of images that metrics compare
    seen: dict[View, Collected]
    samples: Tensor | None
    device: torch.device
    stores: dict[View, dict[Any, Any]] = field(default_factory=dict)  # what metrics share

    def gathered(
        self, metric: Metric, generator: Generator | None, mixture: Mixture | None
    ) -> Gathered:
        """Return a metric's share of it."""
        spec, samples = shown(metric, self.spec, self.channels), self.samples
        if samples is not None and spec != self.spec:
            samples = samples.expand(-1, *spec.shape)
        view = _key(metric), spec.channels
        seen = self.seen.get(view, Collected())
        return Gathered(
            count=self.count,
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


class Gathering:
    """One pass over each side for all metrics.

    Args:
        chosen: The metrics.
        spec: What is scored.
        device: Where nets compute.
        precision: In what.
        batch_size: Samples that are computed together.
        channels: Those that images are brought to where they are compared; None where both sides
            have as many.
    """

    def __init__(
        self,
        chosen: Sequence[Metric],
        spec: SampleSpec,
        device: torch.device,
        precision: PrecisionName,
        batch_size: int,
        channels: int | None,
    ) -> None:
        self._form, self._channels, self._metrics = spec, channels, tuple(chosen)
        self._device, self._batch_size, self._asked = device, batch_size, precision
        self._nets: dict[str, nn.Module] = {}
        self._extractors: dict[str, Extractor] = {}
        self._protocols: dict[str, dict[str, Any]] = {}
        self._last: dict[str, dict[str, str]] = {}  # what logits depend on besides
        self._packages: dict[str, dict[str, str]] = {}  # versions of those that it computes with
        picked = pick_precision(precision, device).name
        for metric in chosen:
            extractor, key = extractor_of(metric), _key(metric)
            if extractor is None:
                continue
            wanted = metric.wants(shown(metric, spec, channels))
            if key not in self._extractors and SEEN & set(wanted):
                self._extractors[key] = extractor
                computed = extractor.computes_in or picked
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
        with ranks.together():
            for key in self._extractors:
                self._net(key)
            for view in self._wanted(self._form, self._metrics, {"logits"}):
                self._check_logits(view)
            for metric in self._metrics:
                metric.prepare(self._device)

    def protocol(
        self,
        metric: Metric,
        real: Stored | None,
        fake: Side,
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
        spec, key = shown(metric, fake.spec, self._channels), _key(metric)
        wanted = set(metric.wants(spec))
        sees = SEEN & wanted
        last = self._last.get(key, {}) if "logits" in sees else {}
        extractor = {"extractor": {**self._protocols[key], **last}} if sees else {}
        measured = metric.protocol(spec, mixture)
        form = {"form": str(spec)}
        if real is not None and real.framing is not None and not beside:
            form["resized"] = f"reals from {real.framing.native[0]}x{real.framing.native[1]}"
        made = fake.protocol()
        if wanted == {"generator"}:  # such a metric draws its own, as its options say
            drawn = {"count", "labels", "label_shares"}
            made = {k: v for k, v in made.items() if k not in drawn}
        return {
            "metric": metric.name,
            **provider,
            "options": options,
            **extractor,
            **({"measured": measured} if measured else {}),
            **({"beside" if beside else "reals": real.protocol()} if real is not None else {}),
            "fakes": made,
            "samples": form,
            "versions": self._versions(key),
        }

    def _versions(self, key: str) -> dict[str, str]:
        versions = {"ganzoo": __version__, "torch": torch.__version__}
        return versions | self._packages.get(key, {})

    def _wanted(
        self, spec: SampleSpec, chosen: Iterable[Metric], parts: Set[str]
    ) -> dict[View, Collected]:
        """What metrics want of some parts of samples, by what sees it."""
        views: dict[View, Collected] = {}
        for metric in chosen:
            seen = shown(metric, spec, self._channels)
            if wanted := parts & {*metric.wants(seen)}:
                views.setdefault((_key(metric), seen.channels), Collected()).parts.update(wanted)
        return views

    def gather(
        self,
        side: Side,
        chosen: Iterable[Metric],
        whose: str,
        cache: bool,
        given_up: Callable[[], bool] = bool,
    ) -> Parts:
        """Look at all samples of a side once, or at none where all is in the cache.

        Raises:
            GanzooError: If it is given up, which is asked after each batch.
        """
        chosen = tuple(chosen)
        seen = self._wanted(side.spec, chosen, SEEN)
        keep = bool(self._wanted(side.spec, chosen, {"samples"}))
        lasting = {view for view in seen if cache and self._extractors[view[0]].lasting}
        if isinstance(side, Stored):
            for view in lasting:
                self._look_up(side, view, seen[view])
        missing = {
            view: each for view, each in seen.items() if not ranks.all_agree(_complete(each))
        }
        samples: list[Tensor] = []
        if missing or keep:
            for each in missing.values():
                each.moments = each.features = each.logits = None
            samples = self._pass(side, missing, keep, whose, given_up)
            if isinstance(side, Stored) and ranks.first():
                for view in lasting & missing.keys():
                    self._keep(side, view, missing[view])
        whole = torch.cat(samples) if keep else None
        return Parts(side.count, side.spec, self._channels, seen, whole, self._device)

    def _pass(
        self,
        side: Side,
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
        with ranks.together():
            self._look(side, wanted, whose, features, logits, samples if keep else None, given_up)
        for view, collected in wanted.items():
            if "moments" in collected.parts:
                collected.moments = _merged(collected.moments)
            if "features" in collected.parts:
                collected.features = _joined(features.pop(view))
            if "logits" in collected.parts:
                collected.logits = _joined(logits.pop(view))
        return [part for parts in ranks.gathered(samples) for part in parts] if keep else []

    def _look(
        self,
        side: Side,
        wanted: Mapping[View, Collected],
        whose: str,
        features: Mapping[View, list[Tensor]],
        logits: Mapping[View, list[Tensor]],
        samples: list[Tensor] | None,
        given_up: Callable[[], bool],
    ) -> None:
        """Look at this process's share of the samples, and fill the lists and moments."""
        spec = side.spec
        nets = {view: self._net(view[0]) for view in wanted}
        done, chosen = 0, ranks.share(side.count, side.grain)
        with progress.Bar(f"looking at {whose} samples", chosen.stop - chosen.start) as bar:
            for batch in side.batches(self._batch_size, chosen):
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
                    samples.append(_bytes(batch, spec) if _pictures(spec) else batch)
                done += len(batch)
                bar.show(done)

    def _net(self, key: str) -> nn.Module:
        if key not in self._nets:
            self._nets[key] = self._extractors[key].build(self._device, self._asked)
        return self._nets[key]

    def _seen(
        self,
        extractor: Extractor,
        net: nn.Module,
        batch: Tensor,
        spec: SampleSpec,
        channels: int,
    ) -> Features:
        if channels != spec.channels:
            batch = batch.expand(-1, channels, -1, -1)
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
        (key, channels), spec = view, self._form
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

    def _folder(self, side: Stored, view: View) -> Path:
        """Where what an extractor has seen of these samples is kept."""
        key, channels = view
        spec = _coloured(side.spec, channels)
        framing = None if side.framing is None else side.framing.model_dump(mode="json")
        known = {
            "format": _KEPT_FORMAT,
            "data": side.fingerprint,
            "spec": spec.model_dump(mode="json", exclude={"classes"}),
            "native": side.samples.spec.shape,
            "framing": framing,
            "extractor": self._protocols[key],
            "device": self._device.type,
            "versions": self._versions(key),
        }
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        return _statistics() / digest[:32]

    def _place(self, folder: Path, key: str, part: str) -> Path:
        last = self._last.get(key, {}).get("last_layer", "") if part == "logits" else ""
        return folder / (f"{part}-{last[:16]}" if last else part)

    def _look_up(self, side: Stored, view: View, collected: Collected) -> None:
        folder = self._folder(side, view)
        for part in collected.parts:
            found = kept.read(self._place(folder, view[0], part))
            with contextlib.suppress(DataError):  # what is no use is made again
                if found is None:
                    continue
                if part == "moments":
                    moments = Moments.of(found[0])
                    collected.moments = moments if moments.count == side.count else None
                elif (value := found[0].get(part)) is not None and len(value) == side.count:
                    setattr(collected, part, value)

    def _keep(self, side: Stored, view: View, collected: Collected) -> None:
        folder, key = self._folder(side, view), view[0]
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
            kept.tidy(_statistics())
            if collected.moments is not None:
                kept.write(self._place(folder, key, "moments"), collected.moments.state())
            for part in ("features", "logits"):
                value: Tensor | None = getattr(collected, part)
                if value is not None and value.nbytes <= _MOST_KEPT:
                    kept.write(self._place(folder, key, part), {part: value.contiguous()})


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
    for state in ranks.gathered((moments or Moments()).state()):
        whole.merge(Moments.of(state))
    return whole


def _own(value: Tensor) -> Tensor:
    """A copy: what a net returns may be a part of more, or be filled anew for the next batch."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _joined(own: list[Tensor]) -> Tensor:
    return torch.cat([part for parts in ranks.gathered(own) for part in parts])


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


def shown(metric: Metric, spec: SampleSpec, channels: int | None) -> SampleSpec:
    """Return what a metric gets of samples: with ``channels``, where it compares two sides.

    Others get them as they are, so that no score depends on which others are asked for.
    """
    return spec if channels is None or not compares(metric) else _coloured(spec, channels)


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
