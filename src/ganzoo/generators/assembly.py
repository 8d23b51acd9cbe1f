"""Builds the nets of a bundle within a bound of memory, and gives them weights of any origin."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo.core.state_dicts import mismatch
from ganzoo.errors import BundleError, GanzooError
from ganzoo.files.untrusted import max_bytes, too_large

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.generators.bundle_config import BundleConfig

__all__ = ["assemble", "check_sizes", "stored"]


def assemble(
    place: Path,
    config: BundleConfig,
    file: str,
    read: Callable[[], Mapping[str, Tensor]],
    *,
    half: bool = False,
) -> nn.Module:
    """Build a net of a bundle and give it weights, of which nothing is believed.

    Nets of ganzoo's own architectures take the tensors as they are; a plug-in's net is built and
    filled. The global random state stays as it is.

    Args:
        place: Where the weights lie, for messages.
        config: What the bundle says of itself.
        file: ``WEIGHTS`` or ``DISCRIMINATOR``.
        read: Gives the weights, on the CPU; called when the net is known to be affordable.
        half: Whether they are stored in half precision.

    Raises:
        BundleError: If the net cannot be built, needs more than is allowed, or has other weights.
        GanzooError: If the architecture refuses its options, sample or latent.
    """
    import torch  # late: the Hub's listings are made without it

    own = not config.architecture.provider  # their state dicts hold all tensors, each once
    # A plug-in's nets may draw random numbers; ganzoo's own do not on the meta device.
    with contextlib.nullcontext() if own else torch.random.fork_rng(devices=[]):
        plan = _plan(config, file, place)
        if plan is not None:
            _check_affordable(place, plan, config)
            if file in config.weights:
                _check_size(config, file, plan, place)
        weights = read()
        if plan is not None:
            fitting = _fitting(place, plan.state_dict(), weights, half)
            if own:
                plan.load_state_dict(fitting, strict=True, assign=True)
                return plan
        with _building(place):
            module = config.build(file)
    module.load_state_dict(_fitting(place, module.state_dict(), weights, half), strict=True)
    return module


def check_sizes(config: BundleConfig, owner: str) -> None:
    """Refuse weight files that no net of theirs can need, before they are fetched.

    Args:
        config: What the bundle says of itself.
        owner: Whose files they are, for the message.

    Raises:
        BundleError: If one is larger than its architecture or ``GANZOO_MAX_BYTES`` allows.
        GanzooError: If the architecture refuses its options, sample or latent.
    """
    for name, facts in sorted(config.weights.items(), reverse=True):  # the generator first
        if facts.size > max_bytes():
            raise BundleError(too_large(f"{name} of {owner} has {facts.size:,} bytes"))
        # A plug-in's net may need memory only to be looked at.
        if not config.architecture.provider and (plan := _plan(config, name, owner)):
            _check_size(config, name, plan, owner)


def stored(weights: Mapping[str, Tensor], half: bool) -> dict[str, Tensor]:
    """Return weights in the types in which a file has them."""
    if not half:
        return dict(weights)
    return {n: v.half() if v.is_floating_point() else v for n, v in weights.items()}


def _check_affordable(owner: Path, net: nn.Module, config: BundleConfig) -> None:
    """Refuse a net that needs too much memory for itself and one sample, before it is allocated."""
    parts = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    needed = sum(part.numel() * part.element_size() for part in parts.values())
    needed += 4 * (config.sample.numel + config.latent.numel)
    if needed > max_bytes():
        raise BundleError(too_large(f"{owner} needs {needed:,} bytes for its net and one sample"))


def _plan(config: BundleConfig, file: str, place: object) -> nn.Module | None:
    """The net on the meta device; None where a plug-in's cannot be built there."""
    from ganzoo.core.nets import build_on_meta

    try:
        with _building(place):
            return build_on_meta(lambda: config.build(file))
    except BundleError:
        if config.architecture.provider:  # its net may need numbers while it is built
            return None
        raise


def _check_size(config: BundleConfig, file: str, plan: nn.Module, owner: object) -> None:
    """Refuse a weight file that is larger than its net can need."""
    weights, size = plan.state_dict().values(), config.weights[file].size
    most = sum(weight.numel() * weight.element_size() for weight in weights)
    most += 2**16 + 2**10 * len(weights)  # names and shapes
    if size > most:
        raise BundleError(
            f"{file} of {owner} has {size:,} bytes, but the net that its configuration describes "
            f"needs {most:,} at most: it is not what ganzoo writes. Load another one."
        )


def _fitting(
    place: Path, expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], half: bool
) -> dict[str, Tensor]:
    """Return weights as they are stored in the types that the net needs."""
    if problem := mismatch(stored(expected, half), weights):
        raise BundleError(
            f"{place} {problem}. Copy the whole folder again or save it anew; if its architecture "
            f"has changed, install the version that it was saved with."
        )
    return {name: value.to(expected[name].dtype) for name, value in weights.items()}


@contextlib.contextmanager
def _building(place: object) -> Iterator[None]:
    """Say whose net it is that cannot be built."""
    try:
        yield
    except GanzooError:
        raise
    except Exception as error:
        raise BundleError(
            f"The net that the configuration of {place} describes cannot be built "
            f"({type(error).__name__}: {error}). Load another one, or upgrade what its "
            f"architecture comes from."
        ) from error
