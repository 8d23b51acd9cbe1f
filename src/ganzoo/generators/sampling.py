"""Latents and labels that follow from a seed, and how many samples fit into memory at once."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.core.nets import build_on_meta
from ganzoo.core.seeds import derive
from ganzoo.errors import ConfigError
from ganzoo.files.untrusted import max_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.core.spec import LatentSpec
    from ganzoo.generators.bundle import BundleConfig

__all__ = ["affordable_batch", "device_of", "draw_labels", "draw_latents", "is_whole", "number_of"]

_BLOCK = 64
_BATCH = 2**30  # bytes that one layer's outputs may have; a hundred layers never live at once


def number_of(
    count: int | None, labels: Tensor | None, latents: Tensor | None, default: int
) -> int:
    """Return how many samples to draw: by default one for each label or latent."""
    if count is not None:
        return operator.index(count)
    if labels is not None and labels.dim():
        return len(labels)
    return default if latents is None else len(latents)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of whatever type, and no bool."""
    try:
        return type(value) is not bool and operator.index(value) == value
    except (TypeError, RuntimeError):
        return False


def draw_latents(latent: LatentSpec, count: int, seed: int) -> Tensor:
    """Return (count, *latent.shape) latents that begin alike whatever the count."""
    blocks = _blocks("latents", count, seed, lambda source: latent.sample(_BLOCK, generator=source))
    return torch.cat(blocks)[:count] if blocks else torch.empty(0, *latent.shape)


def draw_labels(classes: int, count: int, seed: int) -> Tensor:
    """Return (count,) int64 numbers of classes that begin alike whatever the count."""
    blocks = _blocks(
        "labels", count, seed, lambda source: torch.randint(classes, (_BLOCK,), generator=source)
    )
    return torch.cat(blocks)[:count] if blocks else torch.empty(0, dtype=torch.int64)


def _blocks(
    purpose: str, count: int, seed: int, draw: Callable[[torch.Generator], Tensor]
) -> list[Tensor]:
    """Whole blocks, each from a seed of its own, so that no count changes another's numbers."""
    return [
        draw(torch.Generator().manual_seed(derive(seed, "sample", purpose, number)))
        for number in range(-(-count // _BLOCK))
    ]


def device_of(module: nn.Module) -> torch.device:
    """Return where a net computes; the CPU where it holds no tensor at all."""
    held = itertools.chain(module.parameters(), module.buffers())
    return next((value.device for value in held), torch.device("cpu"))


def affordable_batch(module: nn.Module, config: BundleConfig, count: int, batch_size: int) -> int:
    """Return how many samples to draw at once.

    Raises:
        ConfigError: If all samples, or one, need more memory than ``GANZOO_MAX_BYTES`` allows.
    """
    sample, latent, allowed = config.sample, config.latent, max_bytes()
    if count * 4 * (sample.numel + latent.numel) > allowed:
        raise ConfigError(
            f"{count:,} samples of {4 * sample.numel:,} bytes each exceed the {allowed:,} "
            f"bytes that are allowed. Draw them in parts, each with a seed of its own, or set "
            f"the environment variable GANZOO_MAX_BYTES to more."
        )
    batch_size = min(batch_size, count)
    # Hidden layers are seldom as large as they could be: looked at only where that matters.
    pixels = sample.numel // sample.shape[0]
    sizes = [axis for weight in module.parameters() for axis in weight.shape]
    largest = 4 * sample.numel
    if 4 * pixels * batch_size * max(sizes, default=1) > allowed:
        largest = max(largest, widest(config))
    if largest > allowed:
        raise ConfigError(
            f"One sample of this generator needs {largest:,} bytes, more than the {allowed:,} "
            f"that are allowed. If it is meant to be so large, set the environment variable "
            f"GANZOO_MAX_BYTES to more."
        )
    room = min(_BATCH, allowed) // max(largest, 16 * sample.numel)
    return max(1, min(batch_size, room))


def widest(config: BundleConfig) -> int:
    """Return the bytes of the largest output of a layer for one sample; 0 if only trying tells."""
    largest = 0

    def look(layer: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, output.numel() * output.element_size())

    with contextlib.suppress(Exception), torch.random.fork_rng(devices=[]):
        plan = build_on_meta(lambda: config.architecture.generator(config.sample, config.latent))
        for layer in plan.modules():
            layer.register_forward_hook(look)
        labels = None
        if config.sample.classes:
            labels = torch.zeros(1, dtype=torch.int64, device="meta")
        with torch.no_grad():
            plan.eval()(torch.zeros(1, *config.latent.shape, device="meta"), labels)
    return largest
