"""Samples of a net: latents and labels that follow from a seed, and batches that fit memory."""

from __future__ import annotations

import contextlib
import itertools
import operator
import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.core import labels as labelling
from ganzoo.core.nets import build_on_meta, evaluating
from ganzoo.core.seeds import checked, derive
from ganzoo.errors import ConfigError, quoted
from ganzoo.files.untrusted import max_bytes
from ganzoo.generators.bundle_config import WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.generators.bundle_config import BundleConfig

__all__ = ["affordable_batch", "class_numbers", "draw", "draw_latents", "number_of", "seed_of"]
__all__ += ["widest"]

_BLOCK = 64
_BATCH = 2**30  # bytes that one layer's outputs may have; a hundred layers never live at once

Labels = int | str | Iterable[int | str]


def draw(
    module: nn.Module,
    config: BundleConfig,
    count: int | None = None,
    *,
    seed: int | None = None,
    labels: Labels | Tensor | None = None,
    latents: Tensor | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Return samples of a net as people see them; see ``Generator.sample``.

    Raises:
        ConfigError: If the count, the seed, the labels or the latents do not fit the generator,
            or more memory would be needed than is allowed.
    """
    asked = (batch_size,) if count is None else (batch_size, count)
    if not all(map(_is_whole, asked)) or min(asked) < 0 or batch_size < 1:
        raise ConfigError(
            f"Cannot draw {quoted(count)} samples in batches of {quoted(batch_size)}: both are "
            f"whole numbers, of at least 0 and 1."
        )
    spec = config.shown
    classes = class_numbers(spec, labels, count)
    count = number_of(count, classes, latents, 16)
    batch_size = affordable_batch(module, config, count, operator.index(batch_size))
    seed = seed_of(seed)
    if latents is None:
        latents = draw_latents(config.latent, count, seed)
    elif tuple(latents.shape) != (count, *config.latent.shape):
        raise ConfigError(
            f"The latents have shape {tuple(latents.shape)}; {count} samples of this generator "
            f"need {(count, *config.latent.shape)}."
        )
    if classes is not None:
        classes = classes.expand(count)
    elif spec.classes is not None:
        classes = _draw_labels(len(spec.classes), count, seed)
    tensors = itertools.chain(module.parameters(), module.buffers())
    device = next((value.device for value in tensors), torch.device("cpu"))
    parts = []
    with evaluating(module), torch.no_grad():
        for start in range(0, count, batch_size):
            part = slice(start, start + batch_size)
            chosen = None if classes is None else classes[part].to(device)
            parts.append(module(latents[part].to(device), chosen).float().cpu())
    return config.cropped(torch.cat(parts)) if parts else torch.empty(0, *spec.shape)


def seed_of(seed: int | None) -> int:
    """Return the seed that is given, checked, or a fresh one."""
    return secrets.randbits(63) if seed is None else checked(seed)


def class_numbers(
    spec: SampleSpec, labels: Labels | Tensor | None, count: int | None
) -> Tensor | None:
    """Return the numbers of the classes that are asked for, () or (N,) int64; None for none.

    Raises:
        ConfigError: If there is no such class, or there are no classes at all.
    """
    if labels is None:
        return None
    if spec.classes is None:
        raise ConfigError(
            "This generator was trained without labels, so it cannot be asked for a class; leave "
            "out 'labels'."
        )
    return labelling.numbers(labels, spec.classes, count)


def number_of(
    count: int | None, labels: Tensor | None, latents: Tensor | None, default: int
) -> int:
    """Return how many samples to draw: by default one for each label or latent."""
    if count is not None:
        return operator.index(count)
    if labels is not None and labels.dim():
        return len(labels)
    return default if latents is None else len(latents)


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of whatever type, and no bool."""
    try:
        return type(value) is not bool and operator.index(value) == value
    except (TypeError, RuntimeError):
        return False


def draw_latents(latent: LatentSpec, count: int, seed: int) -> Tensor:
    """Return (count, *latent.shape) latents that begin alike whatever the count."""
    return _blocks("latents", count, seed, lambda source: latent.sample(_BLOCK, generator=source))


def _draw_labels(classes: int, count: int, seed: int) -> Tensor:
    """(count,) int64 numbers of classes that begin alike whatever the count."""
    return _blocks(
        "labels", count, seed, lambda source: torch.randint(classes, (_BLOCK,), generator=source)
    )


def _blocks(
    purpose: str, count: int, seed: int, make: Callable[[torch.Generator], Tensor]
) -> Tensor:
    """Whole blocks, each from a seed of its own, so that no count changes another's numbers."""
    blocks = [
        make(torch.Generator().manual_seed(derive(seed, "sample", purpose, number)))
        for number in range(max(1, -(-count // _BLOCK)))
    ]
    return torch.cat(blocks)[:count]


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
        plan = build_on_meta(lambda: config.build(WEIGHTS))
        for layer in plan.modules():
            layer.register_forward_hook(look)
        labels = None
        if config.sample.classes:
            labels = torch.zeros(1, dtype=torch.int64, device="meta")
        with torch.no_grad():
            plan.eval()(torch.zeros(1, *config.latent.shape, device="meta"), labels)
    return largest
