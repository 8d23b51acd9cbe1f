"""Writes a generator as a bundle, with the files of its former bundle that are still true of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ganzoo.core.state_dicts import not_finite
from ganzoo.errors import GanzooError
from ganzoo.generators import bundle

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.generators.generator import Generator

__all__ = ["write"]

_DRAWN = 64  # samples by which the error of half precision is measured


def write(
    generator: Generator,
    folder: Path,
    config: bundle.BundleConfig,
    discriminator: nn.Module | None,
    half: bool,
) -> None:
    """Write a bundle, with the extras of the one that the generator was loaded from.

    Args:
        generator: Whose weights they are.
        folder: Where to.
        config: What it is.
        discriminator: To be saved too.
        half: Whether to store in half precision.

    Raises:
        BundleError: If weights cannot be saved so, or the folder cannot be written.
    """
    weights = generator.module.state_dict()
    if config.half is None or not all(torch.equal(_rounded(v), v) for v in weights.values()):
        error = _rounding_error(generator) if half else None
        config = config.model_copy(update={"half": error})
    extras = _extras(generator, weights, config)
    if extras is None and config.origin is not None:
        base = f"{config.origin.repo_id}@{config.origin.revision}"
        training = {**config.training, "init_from": base}
        config = config.model_copy(update={"origin": None, "training": training})
    second = None if discriminator is None else discriminator.state_dict()
    bundle.write(folder, config, weights, second, extras)


def _extras(
    generator: Generator, weights: Mapping[str, Tensor], config: bundle.BundleConfig
) -> dict[str, bytes] | None:
    """The extras of the bundle that this was loaded from, as far as they are true of these weights.

    Args:
        generator: Which was loaded.
        weights: Its own, now.
        config: With which they are to be written.

    Returns:
        The contents by name; None if the weights are others, or that bundle is gone.
    """
    if generator.place is None:
        return None
    place, root = generator.place.folder, generator.place.root
    found = bundle.extras(place, root=root)
    found.pop(bundle.CARD, None)  # it says where that bundle is loaded from
    if not found and config.origin is None:
        return None
    try:
        theirs, there = bundle.read(place, root=root)
    except GanzooError:  # it has gone or changed since
        return None
    if _equal(weights, there, rounded=config.half is not None):
        return found
    # A rounded copy, or the exact one of a bundle that was rounded since it was loaded.
    since = theirs.half is not None and generator.config.half is None
    if not _equal(weights, there, rounded=since):
        return None
    found.pop(bundle.METRICS, None)  # measured with the others
    return found


def _rounding_error(generator: Generator) -> bundle.Half:
    """What half precision costs the samples."""
    weights = generator.module.state_dict()
    rounded = {name: _rounded(value) for name, value in weights.items()}
    if not_finite(rounded):
        return bundle.Half(largest=0, mean=0)  # ``bundle.write`` refuses such weights
    module = copy.deepcopy(generator.module)
    module.load_state_dict(rounded)
    exact = generator.sample(_DRAWN, seed=0)
    error = (type(generator)(module, generator.config).sample(_DRAWN, seed=0) - exact).abs()
    low, high = generator.spec.value_range or (float(exact.min()), float(exact.max()))
    width = high - low or 1.0
    return bundle.Half(largest=float(error.max()) / width, mean=float(error.mean()) / width)


def _rounded(value: Tensor) -> Tensor:
    """A weight as it comes back from half precision."""
    return value.half().to(value.dtype) if value.is_floating_point() else value


def _equal(own: Mapping[str, Tensor], there: Mapping[str, Tensor], *, rounded: bool) -> bool:
    """Whether weights, or what half precision makes of them, are those that were read."""
    return own.keys() == there.keys() and all(
        torch.equal((_rounded(value) if rounded else value).cpu(), there[name])
        for name, value in own.items()
    )
