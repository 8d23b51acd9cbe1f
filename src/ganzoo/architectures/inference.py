"""What the shapes of a generator's weights tell, so that weights of other programs can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

from ganzoo.errors import ConfigError

__all__ = [
    "NOTHING",
    "Inferred",
    "Known",
    "Shapes",
    "activations_elsewhere",
    "activations_not_inferable",
    "in_a_row",
    "infer_dense",
    "latent_of",
    "without_labels",
]

Shapes = Mapping[str, tuple[int, ...]]
"""Of weights and buffers by name, in the order in which the net defines them."""

_SLOPES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3)  # that other programs use


@dataclass(frozen=True)
class Known:
    """What the caller says of a generator.

    Attributes:
        options: Options of the architecture.
        size: Height and width of a sample.
        likely: Whether a size that only an odd net would make is refused.
        classes: How many classes it makes samples of; 0 without labels.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    likely: bool = True
    classes: int = 0


NOTHING = Known()
"""What is known where the caller says nothing."""


@dataclass(frozen=True)
class Inferred:
    """What the shapes of a generator's weights tell of it.

    Attributes:
        latent: Values in one latent.
        values: Values in one sample.
        channels: Channels of a sample, where the shapes tell.
        size: Height and width of a sample, where the shapes tell.
        options: Those of the architecture that are not at their defaults.
        not_inferable: Options that samples depend on and no shape tells, such as a slope.
        taken: What such options are taken as, where the options themselves do not say.
        elsewhere: What such options are in other programs, to be tried where samples are not
            those expected: of each question the answers, an answer being options and values.
    """

    latent: int
    values: int
    channels: int | None = None
    size: tuple[int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    not_inferable: tuple[str, ...] = ()
    taken: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: tuple[tuple[Mapping[str, Any], ...], ...] = ()


def without_labels(shapes: Shapes, known: Known) -> tuple[Shapes, int, dict[str, Any]]:
    """Tell how labels enter a generator, by its tables of one row for each class.

    Returns:
        The shapes without those tables, the width of what is joined to the latent, and the
        options. Without a table a label is taken to be joined one-hot.
    """
    if not known.classes:
        return shapes, 0, {}
    tables = {
        name: shape
        for name, shape in shapes.items()
        if len(shape) == 2 and shape[0] == known.classes and name.endswith(".weight")
        if f"{name.removesuffix('.weight')}.bias" not in shapes
    }
    rest = {name: shape for name, shape in shapes.items() if name not in tables}
    if not tables:
        return rest, known.classes, {}
    if len(tables) > 1:
        return rest, 0, {"condition": "batch-norm"}
    ((_, width),) = tables.values()
    return rest, width, {"condition": "embedding", "label_width": width}


def latent_of(inputs: int, joined: int) -> int:
    """Return the values of the latent, where a label's are joined to it.

    Raises:
        ConfigError: If none are left.
    """
    if inputs <= joined:
        raise ConfigError(
            f"its first layer has {inputs} inputs, of which a label takes {joined}: none are left "
            f"for the latent"
        )
    return inputs - joined


def activations_elsewhere() -> tuple[dict[str, Any], ...]:
    """Return the options ``activation`` and ``slope`` of nets that other programs train."""
    from ganzoo.architectures.layers import Activation  # which imports torch

    relus: list[dict[str, Any]] = [{"activation": "relu", "slope": slope} for slope in _SLOPES]
    return (*relus, *({"activation": name} for name in get_args(Activation) if name != "relu"))


def activations_not_inferable(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which of the options ``activation`` and ``slope`` follow from nothing.

    Args:
        options: Those that the caller gives: with a slope, the activation is ReLU.
    """
    if "slope" in options or options.get("activation", "relu") != "relu":
        return ()
    return ("slope",) if "activation" in options else ("activation", "slope")


def infer_dense(shapes: Shapes, known: Known, name: str, **more: Any) -> Inferred | None:
    """Tell from dense layers their widths; a sample is a flat row of values to them.

    Args:
        shapes: Of the weights.
        known: What the caller says.
        name: The architecture's, for messages.
        more: Further fields of ``Inferred``.

    Raises:
        ConfigError: If there are convolutions, with the first.
    """
    for weight, shape in shapes.items():
        if len(shape) > 2:
            raise ConfigError(
                f"it has '{weight}' of {shape}, a convolution, where '{name}' has dense layers"
            )
    shapes, joined, options = without_labels(shapes, known)
    layers = [(shape[1], shape[0]) for shape in shapes.values() if len(shape) == 2]
    if not (order := in_a_row(layers)):
        return None
    latent = latent_of(layers[order[0]][0], joined)
    *hidden, values = (layers[index][1] for index in order)
    return Inferred(latent, values, options={"hidden": tuple(hidden), **options}, **more)


def in_a_row(layers: Sequence[tuple[int, int]]) -> list[int]:
    """Return the order in which layers feed each other.

    Args:
        layers: Width of the input and of the output of each.

    Returns:
        Their indices: ascending if each feeds the next, else the only other order in which they
        do; empty if there is none, or several.
    """
    if all(before[1] == after[0] for before, after in pairwise(layers)):
        return list(range(len(layers)))
    outputs = {output for _, output in layers}
    following = [index for index, (inputs, _) in enumerate(layers) if inputs not in outputs]
    order: list[int] = []
    while len({layers[index] for index in following}) == 1:
        order.append(following[0])
        width = layers[order[-1]][1]
        following = [i for i, (inputs, _) in enumerate(layers) if inputs == width if i not in order]
    return order if len(order) == len(layers) else []
