"""Writes a net as a bundle, with the files of its former bundle that are still true of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ganzoo.core.state_dicts import not_finite
from ganzoo.errors import GanzooError
from ganzoo.generators import bundle, sampling

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.generators.locating import Place

__all__ = ["write"]

_DRAWN = 64  # samples by which the error of half precision is measured


def write(
    folder: Path,
    module: nn.Module,
    config: bundle.BundleConfig,
    place: Place | None,
    discriminator: nn.Module | None,
    half: bool,
) -> None:
    """Write a bundle, with the extras of the one that the net was loaded from.

    Args:
        folder: Where to.
        module: The generator's net.
        config: What it is.
        place: Where it was loaded from, if it was.
        discriminator: To be saved too.
        half: Whether to store in half precision.

    Raises:
        BundleError: If weights cannot be saved so, or the folder cannot be written.
    """
    weights, loaded_as_half = module.state_dict(), config.half is not None
    if not loaded_as_half or not all(torch.equal(_rounded(v), v) for v in weights.values()):
        error = _rounding_error(module, config) if half else None
        config = config.model_copy(update={"half": error})
    extras = None if place is None else _extras(place, weights, config, loaded_as_half)
    if extras is None and config.origin is not None:
        base = f"{config.origin.repo_id}@{config.origin.revision}"
        training = {**config.training, "init_from": base}
        config = config.model_copy(update={"origin": None, "training": training})
    second = None if discriminator is None else discriminator.state_dict()
    bundle.write(folder, config, weights, second, extras)


def _extras(
    place: Place, weights: Mapping[str, Tensor], config: bundle.BundleConfig, loaded_as_half: bool
) -> dict[str, bytes] | None:
    """The extras of the bundle at a place, as far as they are true of weights written anew.

    None if the weights are others, or that bundle is gone.
    """
    found = bundle.extras(place.folder, root=place.root)
    found.pop(bundle.CARD, None)  # it says where that bundle is loaded from
    if not found and config.origin is None:
        return None
    try:
        theirs, there = bundle.read(place.folder, root=place.root)
    except GanzooError:  # it has gone or changed since
        return None
    if _equal(weights, there, rounded=config.half is not None):
        return found
    # A rounded copy, or the exact one of a bundle that was rounded since it was loaded.
    if not _equal(weights, there, rounded=theirs.half is not None and not loaded_as_half):
        return None
    found.pop(bundle.METRICS, None)  # measured with the others
    return found


def _rounding_error(module: nn.Module, config: bundle.BundleConfig) -> bundle.Half:
    """What half precision costs the samples."""
    weights = {name: _rounded(value) for name, value in module.state_dict().items()}
    if not_finite(weights):
        return bundle.Half(largest=0, mean=0)  # ``bundle.write`` refuses such weights
    rounded = copy.deepcopy(module)
    rounded.load_state_dict(weights)
    exact = sampling.draw(module, config, _DRAWN, seed=0)
    error = (sampling.draw(rounded, config, _DRAWN, seed=0) - exact).abs()
    low, high = config.shown.value_range or (float(exact.min()), float(exact.max()))
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
