"""One extractor at work: its net, its features of batches, and what these depend on."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ganzoo._version import __version__
from ganzoo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.core.device import PrecisionName
    from ganzoo.core.spec import SampleSpec
    from ganzoo.features import Extractor, Features

__all__ = ["Extraction", "as_bytes", "has_bytes", "unlike", "versions"]


class Extraction:
    """An extractor, built once.

    Args:
        extractor: The extractor.
        device: Where it computes.
        asked: The precision that is asked for.
        picked: The precision that this means here.

    Attributes:
        protocol: All that decides its features.
        last_layer: SHA-256 of what decides its logits alone, where a metric needs these.
    """

    def __init__(
        self, extractor: Extractor, device: torch.device, asked: PrecisionName, picked: str
    ) -> None:
        self.extractor, self._device, self._asked = extractor, device, asked
        precision = extractor.forced_dtype or picked
        self.protocol: dict[str, Any] = {**extractor.protocol(), "precision": precision}
        self.last_layer: str | None = None
        self._net: nn.Module | None = None

    def net(self) -> nn.Module:
        """Return the net, built the first time.

        Raises:
            CheckpointError: If its weights are not there.
            ConfigError: If it cannot be built.
        """
        if self._net is None:
            self._net = self.extractor.build(self._device, self._asked)
        return self._net

    def see(self, batch: Tensor | Sequence[Tensor], spec: SampleSpec, channels: int) -> Features:
        """Return the features of samples, in their order.

        Args:
            batch: (N, *shape), or pictures (C, H, W) of several sizes.
            spec: What one sample is.
            channels: How many to show of pictures: grey becomes RGB, and RGBA loses alpha.
        """
        if isinstance(batch, torch.Tensor):
            return self._see_alike(batch, spec, channels)
        alike: dict[Any, list[int]] = {}
        for place, picture in enumerate(batch):
            alike.setdefault((picture.shape, picture.dtype), []).append(place)
        parts = [
            self._see_alike(torch.stack([batch[place] for place in places]), spec, channels)
            for places in alike.values()
        ]
        widths = {part.pool.shape[1] for part in parts}
        if len(widths) > 1:
            raise unlike(self.extractor, *sorted(widths)[:2])
        pool = torch.cat([part.pool for part in parts])
        order = torch.tensor([place for places in alike.values() for place in places]).argsort()
        order = order.to(pool.device)
        logits = [part.logits for part in parts if part.logits is not None]
        whole = torch.cat(logits)[order] if len(logits) == len(parts) else None
        return type(parts[0])(pool[order], whole)

    def _see_alike(self, batch: Tensor, spec: SampleSpec, channels: int) -> Features:
        if spec.kind == "image" and channels != batch.shape[1]:
            batch = batch[:, :channels].expand(-1, channels, -1, -1)
        if self.extractor.quantisation == "uint8":
            batch = as_bytes(batch, spec)
        elif batch.dtype == torch.uint8:
            batch = batch.float()
            if spec.value_range is not None:
                low, high = spec.value_range
                batch = batch * ((high - low) / 255) + low
        batch, count = batch.to(self._device), len(batch)
        if not self.extractor.channelwise or channels == 1:
            found: Features = self.net()(batch)
            return found
        found = self.net()(batch.reshape(count * channels, 1, *batch.shape[2:]))
        logits = None if found.logits is None else found.logits.reshape(count, channels, -1)
        return type(found)(found.pool.reshape(count, -1), logits)

    def logits(self, found: Features) -> Tensor:
        """Return the logits among features.

        Raises:
            ConfigError: If there are none.
        """
        if found.logits is None:
            raise ConfigError(
                f"The extractor '{self.extractor.name}' gives no logits with these weights, as a "
                f"classifier would. Give it weights with the last layer, or choose another "
                f"extractor or metric."
            )
        return found.logits


def versions(extractor: Extractor | None) -> dict[str, str]:
    """Return versions of ganzoo, torch and what an extractor computes with."""
    packages = () if extractor is None else extractor.packages
    own = {"ganzoo": __version__, "torch": torch.__version__}
    return own | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def unlike(extractor: Extractor, one: int, other: int) -> DataError:
    """Return the error that pictures of two sizes have features of two lengths."""
    return DataError(
        f"The features of the extractor '{extractor.name}' are {one:,} numbers of some pictures "
        f"and {other:,} of others, whose sizes differ. Have it bring pictures to one size, or "
        f"give them at one: with the option size of a folder, such as "
        f'{{"name": "folder", "path": "PATH", "size": 64}}.'
    )


def has_bytes(spec: SampleSpec) -> bool:
    """Return whether samples are images of which 8-bit pictures can be made."""
    return spec.kind == "image" and spec.value_range is not None


def as_bytes(batch: Tensor, spec: SampleSpec) -> Tensor:
    """Return images as they would be in a file.

    Raises:
        ConfigError: If their value range is not known.
    """
    if batch.dtype == torch.uint8:
        return batch
    if spec.value_range is None:
        raise ConfigError(
            "These images have no value range, so black and white are not known. Give the "
            "dataset's stored_range."
        )
    low, high = spec.value_range
    return batch.sub(low).mul(255 / (high - low)).round().clamp(0, 255).to(torch.uint8)
