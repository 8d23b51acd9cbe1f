"""What the shapes of a DCGAN generator's weights tell: widths, norms, biases and how maps grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from ganzoo.architectures.growth import Stage, doubling, grown, growths
from ganzoo.architectures.inference import (
    Inferred,
    Known,
    Shapes,
    activations_elsewhere,
    activations_not_inferable,
    in_a_row,
    latent_of,
    without_labels,
)
from ganzoo.errors import ConfigError

__all__ = ["BASE", "KERNEL", "SHAPING", "infer_growth"]

BASE = 4
"""The shorter side of the map that the generator of the paper starts from."""
KERNEL = 4
"""Of the paper's convolutions."""
SHAPING = ("kernels", "strides", "paddings", "output_paddings", "widths")
"""The options that shape layers, a number for each."""

_EPS = (1e-5, 1e-3, 0.8, 1e-4, 1e-6, 1e-8)  # of norms in other programs
_GROUPS = (32, 16, 8, 4, 2)
_OWN_FIRST = "project.conv.weight"


def infer_growth(shapes: Shapes, known: Known, most: int) -> Inferred | None:
    """Do as ``DCGAN.infer``.

    Args:
        shapes: Of the weights.
        known: What the caller says.
        most: The default of ``max_multiplier``.
    """
    shapes, joined, by_label = without_labels(shapes, known)
    convs = _convolutions(shapes)
    if len(convs) < 2:
        return None
    (inputs, *_), (_, channels, *_) = convs[0].shape, convs[-1].shape
    norm, norms_elsewhere = _norm_of(shapes, convs)
    ranked = _growths(convs, known)
    likeliest, kernels = ranked[0], [conv.shape[2:] for conv in convs]
    options = _widths_of([conv.shape[1] for conv in convs[:-1]], most)
    options |= _biases_of(shapes, convs) | ({} if norm == "batch" else {"norm": norm})
    options |= _options_of(likeliest, kernels) | by_label
    made = grown(likeliest, kernels[0])
    assert made is not None  # as ``growths`` has found
    taken = {
        "strides": tuple(stage.stride for stage in likeliest),
        "paddings": tuple(stage.padding for stage in likeliest),
    }
    if any(stage.extra for stage in likeliest):
        taken["output_paddings"] = tuple(stage.extra for stage in likeliest)
    not_inferable = [*activations_not_inferable(known.options)]
    if norms_elsewhere or norm == "none":
        not_inferable.append("norm")
    chosen = {"norm": norm, **known.options}["norm"]
    not_inferable += ["activation_first", "norm_eps"] if chosen != "none" else []
    not_inferable += ["groups"] if chosen == "group" else []
    return Inferred(
        latent_of(inputs, joined),
        channels * made[0] * made[1],
        channels,
        made,
        options,
        (*not_inferable, *taken),
        taken,
        (
            activations_elsewhere(),
            ({"activation_first": False}, {"activation_first": True}),
            tuple({"norm_eps": eps} for eps in _EPS),
            *([norms_elsewhere] if norms_elsewhere else []),
            tuple(_options_of(other, kernels, whole=True) for other in ranked),
        ),
    )


def _growths(convs: Sequence[_Conv], known: Known) -> list[list[Stage]]:
    """The layers that convolutions may be, the likeliest first.

    Raises:
        ConfigError: If there are none.
    """
    kernels = [conv.shape[2:] for conv in convs]
    if any(height != width for height, width in kernels[1:]):
        raise ConfigError("it has kernels that are not square")
    fixed = {n: known.options[n] for n in SHAPING[1:4] if known.options.get(n) is not None}
    if ranked := growths(kernels, fixed, known.size, likely=known.likely):
        return ranked
    usually = growths(kernels, fixed)
    made = grown(usually[0], kernels[0]) if usually else None
    if known.size is None or made is None:
        raise ConfigError(
            f"its {len(convs)} layers make no image with "
            + (f"such {' and '.join(fixed)}" if fixed else "any strides and paddings")
        )
    channels = convs[-1].shape[1]
    raise ConfigError(
        f"its samples have {channels * made[0] * made[1]:,} values, which is no {channels} "
        f"x {known.size[0]} x {known.size[1]}, for its layers usually make {made[0]}x{made[1]}: "
        f"leave --size out, or say --arch.strides and --arch.paddings as that net has them"
    )


class _Conv(NamedTuple):
    """A transposed convolution: the shape of its weight, and whether it has a bias."""

    shape: tuple[int, ...]
    bias: bool


def _convolutions(shapes: Shapes) -> list[_Conv]:
    """The transposed convolutions in the order in which they feed each other; empty if none do.

    Raises:
        ConfigError: If they are plain convolutions, or those of an encoder or a discriminator.
    """
    weights = {name: shape for name, shape in shapes.items() if len(shape) == 4}
    if not weights:
        return []
    dense = [name for name, shape in shapes.items() if len(shape) == 2]
    if dense:
        raise ConfigError(
            f"it has '{dense[0]}' of {shapes[dense[0]]}, a dense layer, where 'dcgan' has "
            f"transposed convolutions alone"
        )
    biases = {name: shapes.get(f"{name.rpartition('.')[0]}.bias") for name in weights}
    plain = [
        name
        for name, (first, second, *_) in weights.items()
        if biases[name] == (first,) and first != second
    ]
    order = in_a_row([(shape[0], shape[1]) for shape in weights.values()])
    backwards = len(order) > 1 and order == list(range(len(order)))[::-1]
    if plain or (backwards and _OWN_FIRST not in weights):
        raise ConfigError(
            f"its convolutions lead from an image to a vector ('{next(iter(weights))}' is "
            f"{next(iter(weights.values()))}), as those of a discriminator or an encoder do"
            if backwards
            else f"'{plain[0]}' of {weights[plain[0]]} is a plain convolution, where 'dcgan' has "
            f"transposed ones"
        )
    names = list(weights)
    return [_Conv(weights[names[i]], biases[names[i]] is not None) for i in order]


def _widths_of(widths: Sequence[int], most: int) -> dict[str, Any]:
    """The options that give maps these channels, from the smallest map on."""
    narrowest, widest = widths[-1], widths[0]
    for multiple in (most, max(widest // narrowest, 1)):
        stages = range(len(widths))
        if [narrowest * min(2**stage, multiple) for stage in stages][::-1] == [*widths]:
            more = {} if multiple == most else {"max_multiplier": multiple}
            return {"channels": narrowest, **more}
    return {"widths": tuple(widths)}


def _norm_layers(shapes: Shapes) -> list[dict[str, tuple[int, ...]]]:
    """The tensors of each norm: several of one axis and the same length, and no others."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        layer, _, last = name.rpartition(".")
        if shape:
            layers.setdefault(layer, {})[last] = shape
    return [
        tensors
        for tensors in layers.values()
        if len(tensors) > 1
        and len({*tensors.values()}) == 1
        and len(next(iter(tensors.values()))) == 1
    ]


def _biases_of(shapes: Shapes, convs: Sequence[_Conv]) -> dict[str, Any]:
    """The options for the biases that convolutions have, whatever they are called."""
    inner, last = [conv.bias for conv in convs[:-1]], convs[-1].bias
    if not any(inner) and not last:
        vectors = Counter(shape[0] for shape in shapes.values() if len(shape) == 1)
        norms = _norm_layers(shapes)
        vectors -= Counter(shape[0] for layer in norms for shape in layer.values())
        widths = [conv.shape[1] for conv in convs]
        last = vectors in (Counter(widths), Counter(widths[-1:]))
        inner = [vectors in (Counter(widths), Counter(widths[:-1]))]
    found = {"bias": 2 * sum(inner) > len(inner), "output_bias": last}
    return {name: True for name, value in found.items() if value}


def _norm_of(shapes: Shapes, convs: Sequence[_Conv]) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Which norm the tensors between convolutions are of, and which others they may be of."""
    layers = _norm_layers(shapes)
    if any("running_mean" in layer for layer in layers):
        return "batch", ()
    if not layers:
        return "none", ({"norm": "none"}, {"norm": "instance"})
    widths = [conv.shape[1] for conv in convs[:-1]]
    groups = [count for count in _GROUPS if not any(width % count for width in widths)]
    ways = [{"norm": "group", "groups": count} for count in (*groups, 1)]
    return "instance-affine", ({"norm": "instance-affine"}, *ways)


def _options_of(
    plan: Sequence[Stage], kernels: Sequence[tuple[int, ...]], whole: bool = False
) -> dict[str, Any]:
    """The options that make such layers: none where they are those of the paper.

    Args:
        plan: The layers.
        kernels: Height and width of their kernels.
        whole: Whether options are named that are at their defaults.
    """
    if not whole and min(kernels[0]) == BASE and not plan[0].padding:
        size = grown(plan, (kernels[0][0], kernels[0][1]))
        doubled = all(stage == doubling(KERNEL) for stage in plan[1:])
        if doubled and size and all(_is_power_of_two(side) for side in size):
            return {}
    options: dict[str, Any] = {
        "strides": tuple(stage.stride for stage in plan),
        "paddings": tuple(stage.padding for stage in plan),
    }
    if any(stage.kernel != KERNEL for stage in plan):
        options["kernels"] = tuple(stage.kernel for stage in plan)
    if whole or any(stage.extra for stage in plan):
        options["output_paddings"] = tuple(stage.extra for stage in plan)
    return options


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
