"""The check of a feature extractor."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganzoo import features
from ganzoo.core.spec import SampleSpec
from ganzoo.errors import ContractError, GanzooError, some
from ganzoo.features import Features
from ganzoo.testing.component import SPECS, as_json, checked, made_up
from ganzoo.training.contract import blaming, describe, require

if TYPE_CHECKING:
    from ganzoo.features import Extractor

__all__ = ["check_extractor"]

_SEEN = 3  # samples that it is tried on
_TOLERANCE = 1e-4


def check_extractor(
    component: str | type[Extractor] | Extractor, spec: SampleSpec | None = None
) -> None:
    """Check that a feature extractor keeps its contract.

    Its protocol must be plain values that follow from its options. Its net must be in eval mode
    and without gradients; features must be float32 (N, D), finite, the same each time and for each
    sample alone. Pictures with two channels must be seen, or refused by an error of ganzoo.

    Args:
        component: The extractor, its class or its registered name. Its net is built twice, on the
            CPU: give options that name weights which are there.
        spec: What a sample is; by default an RGB image of 32x32 pixels.

    Raises:
        AssertionError: If it breaks the contract.
        CheckpointError: If its weights are not there.
        GanzooError: If the component cannot be created.
    """
    spec = spec or SPECS[0]
    with checked(component, features.registry) as extractor:
        _check_protocol(extractor)
        net, other = (extractor.build(torch.device("cpu"), "fp32") for _ in range(2))
        _check_frozen(net)
        samples = _shown(extractor, spec)
        before, random = samples.clone(), torch.get_rng_state()
        seen = _check_features(extractor, net(samples))
        require(
            torch.equal(samples, before),
            "The net changes the samples in place, which others see too; work on new tensors.",
        )
        again = net(samples)
        require(
            torch.equal(random, torch.get_rng_state()) and torch.equal(seen.pool, again.pool),
            "The net gives different features of the same samples, or draws random numbers. Put "
            "it into eval mode, and leave out what is random.",
        )
        last = slice(_SEEN - 1, _SEEN)
        for found, wanted, when in (
            (other(samples), seen.pool, "the net is built again: its weights must be loaded"),
            (net(samples[last]), seen.pool[last], "it is alone in the batch: no layer may mix"),
        ):
            scale = float(wanted.abs().max())
            require(
                found.pool.shape == wanted.shape
                and torch.allclose(found.pool, wanted, rtol=_TOLERANCE, atol=_TOLERANCE * scale),
                f"The features of a sample change when {when}.",
            )
        if spec.kind == "image":
            odd = _shown(extractor, SampleSpec(shape=(2, *spec.size)))
            remedy = "Refuse what the net cannot see by UnsupportedSampleError, saying what it can."
            try:
                with blaming("Pictures with two channels", remedy):
                    found = net(odd)
            except ContractError:
                raise
            except GanzooError:
                return
            _check_features(extractor, found)


def _shown(extractor: Extractor, spec: SampleSpec) -> Tensor:
    """Samples as an extractor takes them."""
    samples = made_up(spec, _SEEN, 0)
    if extractor.quantisation == "uint8" or samples.is_floating_point():
        return samples
    low, high = spec.value_range or (0.0, 255.0)
    return samples * ((high - low) / 255) + low


def _check_protocol(extractor: Extractor) -> None:
    require(
        extractor.quantisation in ("uint8", "none"),
        f"quantisation is {extractor.quantisation!r}: 'uint8' or 'none' says what the net takes.",
    )
    digest = extractor.weights_hash()
    require(
        isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) is not None,
        f"weights_hash() must be a hexadecimal SHA-256, not {digest!r}. "
        f"ganzoo.features.base.fingerprint makes one of tensors.",
    )
    text = as_json("protocol()", extractor.protocol, "preparation() must return plain values.")
    again = features.registry.create(json.loads(extractor.model_dump_json())).protocol()
    require(
        as_json("protocol()", lambda: again, "") == text,
        f"The same options have the protocol {text}, and then {again}. It must follow from the "
        f"options and the weights alone.",
    )


def _check_frozen(net: Any) -> None:
    require(isinstance(net, nn.Module), f"build() must return an nn.Module, not {describe(net)}.")
    training = some(repr(name or "itself") for name, part in net.named_modules() if part.training)
    require(
        not training, f"The net that build() returns is in training mode: {training}. Call eval()."
    )
    trained = some(repr(name) for name, value in net.named_parameters() if value.requires_grad)
    require(
        not trained,
        f"Gradients would be computed for {trained} of the net: call requires_grad_(False).",
    )


def _check_features(extractor: Extractor, found: Any) -> Features:
    require(
        isinstance(found, Features),
        f"The net must return Features(pool, logits=None), not {describe(found)}.",
    )
    for name, value, size in (
        ("pool", found.pool, extractor.dimensions),
        ("logits", found.logits, extractor.classes),
    ):
        if value is None and name == "logits":
            continue
        right = isinstance(value, Tensor) and value.dtype == torch.float32 and value.ndim == 2
        require(
            right and len(value) == _SEEN and size in (None, value.shape[1]),
            f"The {name} of {_SEEN} samples must be a float32 tensor of shape "
            f"({_SEEN}, {size or 'any number'}); it is {describe(value)}.",
        )
        require(
            bool(value.isfinite().all()) and not value.requires_grad,
            f"The {name} is not finite, or carries gradients: run the net under torch.no_grad, and "
            f"check its weights.",
        )
    checked_features: Features = found
    return checked_features
