"""One look at the samples of a side for all metrics, kept for the next time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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

__all__ = ["SEEN", "Gathering", "Parts", "extractor_of", "key_of"]

SEEN = frozenset({"moments", "features", "logits"})
"""What takes an extractor."""

GIVEN_UP = "The scoring was given up."

_KEPT_FORMAT = 2
_MOST_KEPT = 2**30  # bytes of features that are kept


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
    seen: dict[str, Collected]
    samples: Tensor | None
    device: torch.device

    def gathered(
        self,
        metric: Metric,
        generator: Generator | None,
        mixture: Mixture | None,
        store: dict[Any, Any],
    ) -> Gathered:
        """Return a metric's share of it; ``store`` is what its extractor's metrics share."""
        seen = self.seen.get(key_of(metric), Collected())
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
            device=self.device,
        )


class Gathering:
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
        self._form, self._channels, self._metrics = spec, channels, tuple(chosen)
        self._device, self._batch_size, self._asked = device, batch_size, precision
        self._nets: dict[str, nn.Module] = {}
        self._extractors: dict[str, Extractor] = {}
        self._protocols: dict[str, dict[str, Any]] = {}
        self._last: dict[str, dict[str, str]] = {}  # what logits depend on besides
        picked = pick_precision(precision, device).name
        for metric in chosen:
            extractor, key = extractor_of(metric), key_of(metric)
            if extractor is None:
                continue
            if key not in self._extractors and SEEN & set(metric.wants(spec)):
                self._extractors[key] = extractor
                computed = extractor.computes_in or picked
                self._protocols[key] = {**extractor.protocol(), "precision": computed}
            if key in self._extractors and "logits" in metric.wants(spec):
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
            for key in self._last:
                self._check_logits(key)
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
        sees = SEEN & set(metric.wants(fake.spec))
        key = key_of(metric)
        last = self._last.get(key, {}) if "logits" in sees else {}
        extractor = {"extractor": {**self._protocols[key], **last}} if sees else {}
        measured = metric.protocol(self._spec(fake), mixture)
        form = {"form": str(self._spec(fake))}
        if real is not None and real.framing is not None and not beside:
            form["resized"] = f"reals from {real.framing.native[0]}x{real.framing.native[1]}"
        made = fake.protocol()
        if set(metric.wants(fake.spec)) == {"generator"}:
            del made["count"]  # such a metric draws its own, as its options say
        return {
            "metric": metric.name,
            **provider,
            "options": options,
            **extractor,
            **({"measured": measured} if measured else {}),
            **({"beside" if beside else "reals": real.protocol()} if real is not None else {}),
            "fakes": made,
            "samples": form,
            "versions": {"ganzoo": __version__, "torch": torch.__version__},
        }

    def _spec(self, side: Side) -> SampleSpec:
        """What the samples of a side are once grey ones are RGB, where the others are."""
        return self._coloured(side.spec)

    def _coloured(self, spec: SampleSpec) -> SampleSpec:
        if self._channels is None:
            return spec
        return spec.model_copy(update={"shape": (self._channels, *spec.size)})

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
        seen: dict[str, Collected] = {}
        spec, keep = self._spec(side), False
        for metric in chosen:
            for part in metric.wants(spec):
                if part == "samples":
                    keep = True
                elif part != "generator":
                    seen.setdefault(key_of(metric), Collected()).parts.add(part)
        lasting = {key for key in seen if cache and self._extractors[key].lasting}
        if isinstance(side, Stored):
            for key in lasting:
                self._look_up(side, key, seen[key])
        missing = {key: each for key, each in seen.items() if not ranks.all_agree(_complete(each))}
        samples: list[Tensor] = []
        if missing or keep:
            for each in missing.values():
                each.moments = each.features = each.logits = None
            samples = self._pass(side, missing, keep, whose, given_up)
            if isinstance(side, Stored) and ranks.first():
                for key in lasting & missing.keys():
                    self._keep(side, key, missing[key])
        whole = torch.cat(samples) if keep else None
        return Parts(side.count, spec, seen, whole, self._device)

    def _pass(
        self,
        side: Side,
        wanted: Mapping[str, Collected],
        keep: bool,
        whose: str,
        given_up: Callable[[], bool],
    ) -> list[Tensor]:
        """Fill in what is wanted; return the samples if they are to be kept.

        Processes that evaluate together divide the samples, and all have all of it in the end.
        """
        features: dict[str, list[Tensor]] = {key: [] for key in wanted}
        logits: dict[str, list[Tensor]] = {key: [] for key in wanted}
        samples: list[Tensor] = []
        with ranks.together():
            self._look(side, wanted, whose, features, logits, samples if keep else None, given_up)
        for key, collected in wanted.items():
            if "moments" in collected.parts:
                collected.moments = _merged(collected.moments)
            if "features" in collected.parts:
                collected.features = _joined(features.pop(key))
            if "logits" in collected.parts:
                collected.logits = _joined(logits.pop(key))
        return [part for parts in ranks.gathered(samples) for part in parts] if keep else []

    def _look(
        self,
        side: Side,
        wanted: Mapping[str, Collected],
        whose: str,
        features: Mapping[str, list[Tensor]],
        logits: Mapping[str, list[Tensor]],
        samples: list[Tensor] | None,
        given_up: Callable[[], bool],
    ) -> None:
        """Look at this process's share of the samples, and fill the lists and moments."""
        spec = self._spec(side)
        nets = {key: self._net(key) for key in wanted}
        done, chosen = 0, ranks.share(side.count, side.grain)
        with progress.Bar(f"looking at {whose} samples", chosen.stop - chosen.start) as bar:
            for batch in side.batches(self._batch_size, chosen):
                if given_up():
                    raise GanzooError(GIVEN_UP)
                if self._channels is not None:
                    batch = batch.expand(-1, self._channels, -1, -1)
                for key, net in nets.items():
                    found = self._seen(self._extractors[key], net, batch, spec)
                    collected = wanted[key]
                    if "moments" in collected.parts:
                        collected.moments = collected.moments or Moments()
                        # Only CUDA has the float64 in which they are computed there.
                        there = found.pool.device.type == "cuda"
                        collected.moments.add(found.pool if there else found.pool.cpu())
                    if "features" in collected.parts:
                        features[key].append(found.pool.cpu())
                    if "logits" in collected.parts:
                        if found.logits is None:
                            raise self._no_logits(key)
                        logits[key].append(found.logits.cpu())
                if samples is not None:
                    samples.append(_bytes(batch, spec) if _pictures(spec) else batch)
                done += len(batch)
                bar.show(done)

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
        if not extractor.channelwise or channels == 1:
            found: Features = net(batch)
            return found
        found = net(batch.reshape(count * channels, 1, *batch.shape[2:]))
        logits = None if found.logits is None else found.logits.reshape(count, channels, -1)
        return type(found)(found.pool.reshape(count, -1), logits)

    def _check_logits(self, key: str) -> None:
        """Refuse an extractor without logits before all real samples are looked at."""
        spec = self._coloured(self._form)
        sample = torch.zeros(1, *spec.shape, dtype=torch.uint8 if _pictures(spec) else None)
        if self._seen(self._extractors[key], self._net(key), sample, spec).logits is None:
            raise self._no_logits(key)

    def _no_logits(self, key: str) -> ConfigError:
        return ConfigError(
            f"The extractor '{self._extractors[key].name}' gives no logits with these weights, as "
            f"a classifier would. Give it weights with the last layer, or choose another extractor "
            f"or metric."
        )

    # -- the cache ----------------------------------------------------------------------------

    def _folder(self, side: Stored, key: str) -> Path:
        """Where what an extractor has seen of these samples is kept."""
        framing = None if side.framing is None else side.framing.model_dump(mode="json")
        known = {
            "format": _KEPT_FORMAT,
            "data": side.fingerprint,
            "spec": self._spec(side).model_dump(mode="json", exclude={"classes"}),
            "native": side.samples.spec.shape,
            "framing": framing,
            "extractor": self._protocols[key],
            "device": self._device.type,
            "versions": {"ganzoo": __version__, "torch": torch.__version__},
        }
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        return cache_root().parent / "statistics" / digest[:32]

    def _place(self, folder: Path, key: str, part: str) -> Path:
        last = self._last.get(key, {}).get("last_layer", "") if part == "logits" else ""
        return folder / (f"{part}-{last[:16]}" if last else part)

    def _look_up(self, side: Stored, key: str, collected: Collected) -> None:
        folder = self._folder(side, key)
        for part in collected.parts:
            found = kept.read(self._place(folder, key, part))
            with contextlib.suppress(DataError):  # what is no use is made again
                if found is None:
                    continue
                if part == "moments":
                    moments = Moments.of(found[0])
                    collected.moments = moments if moments.count == side.count else None
                elif (value := found[0].get(part)) is not None and len(value) == side.count:
                    setattr(collected, part, value)

    def _keep(self, side: Stored, key: str, collected: Collected) -> None:
        folder = self._folder(side, key)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
            if collected.moments is not None:
                kept.write(self._place(folder, key, "moments"), collected.moments.state())
            for part in ("features", "logits"):
                value: Tensor | None = getattr(collected, part)
                if value is not None and value.nbytes <= _MOST_KEPT:
                    kept.write(self._place(folder, key, part), {part: value.contiguous()})


def _merged(moments: Moments | None) -> Moments:
    """The moments of all processes' samples, in the order of the samples."""
    whole = Moments()
    for state in ranks.gathered((moments or Moments()).state()):
        whole.merge(Moments.of(state))
    return whole


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


def key_of(metric: Metric) -> str:
    """Return what tells extractors apart; metrics without one share nothing but samples."""
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
