"""Deep convolutional GAN."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator
from torch import nn

from ganzoo.architectures.base import Architecture, Inferred, Width, Widths
from ganzoo.architectures.growth import Stage, doubling, grown, growths, shrunk, usual
from ganzoo.architectures.layers import (
    Activation,
    Double,
    FromMap,
    Halve,
    ToMap,
    activations_elsewhere,
    activations_untold,
    hidden_activation,
    in_a_row,
    output_activation,
)
from ganzoo.core.spec import FLOAT32_MAX
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec

__all__ = ["DCGAN", "DCGANDiscriminator", "DCGANGenerator"]

_SMALLEST, _LARGEST = 16, 256
_BASE = 4  # the shorter side of the map that the generator starts from
_SLOPE = 0.2
_KERNEL = 4
_EPS = (1e-5, 1e-3, 0.8, 1e-4, 1e-6, 1e-8)  # of norms in other programs
_GROUPS = (32, 16, 8, 4, 2)
_SHAPING = ("kernels", "strides", "paddings", "output_paddings", "widths")
_OWN_FIRST = "project.conv.weight"

Norm = Literal["batch", "instance", "instance-affine", "group", "none"]
Steps = Annotated[
    tuple[Annotated[int, Field(ge=0, le=64)], ...], Field(min_length=2, max_length=16)
]
"""A whole number for each of the generator's layers."""


class DCGAN(Architecture):
    """Strided convolutions and batch norm; for images with sides that are powers of two.

    Radford et al. 2015, arXiv:1511.06434, sec. 3 and fig. 1. Every stage doubles the map of the
    generator and halves its channels (the discriminator the reverse). The shorter side starts at
    4, so that an image that is not square starts from a map that is not square either. The
    generator normalises all but its output, the discriminator all but its input and its output.
    Weights start as N(0, 0.02). Labels are ignored.

    The options from ``slope`` on make the generators of other programs: what they leave at its
    default is as in the paper. With ``kernels``, ``strides``, ``paddings``, ``output_paddings`` or
    ``widths`` the size of the images follows from the layers, and the discriminator goes the same
    way back.
    """

    name: ClassVar[str] = "dcgan"
    citation: ClassVar[str] = (
        'Radford et al. 2015, "Unsupervised Representation Learning with Deep Convolutional '
        'Generative Adversarial Networks", arXiv:1511.06434'
    )
    recommended: ClassVar[Mapping[str, Any]] = {
        "latent": 100,
        "batch_size": 64,
        "g_optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)},
        "d_optimizer": {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)},
    }

    channels: Width = Field(64, description="channels of the layers next to the image")
    max_multiplier: Width = Field(
        8, description="the widest layer has at most this many times the channels"
    )
    d_norm_input: bool = Field(
        False, description="normalise the discriminator's first layer too, unlike the paper"
    )

    slope: float = Field(
        0.0,
        ge=0,
        le=FLOAT32_MAX,
        description="slope of the generator's leaky ReLU below zero; 0 is plain ReLU",
    )
    activation: Activation = Field(
        "relu",
        description="activation of the generator's hidden layers; relu is leaky by the slope",
    )
    activation_first: bool = Field(
        False, description="order in the generator: the activation comes before the norm"
    )
    norm: Norm = Field("batch", description="norm of the generator's hidden layers")
    groups: Width = Field(32, description="groups of channels of the generator's group norm")
    norm_eps: float = Field(
        1e-5, gt=0, le=1e6, description="what the generator's norms add to variances"
    )
    bias: bool = Field(False, description="the generator's hidden convolutions have biases")
    output_bias: bool = Field(False, description="the generator's last convolution has a bias")
    widths: Widths | None = Field(
        None,
        min_length=1,
        description="channels of the generator's maps, the smallest map's first "
        "(default: by channels and max_multiplier)",
    )
    kernels: Steps | None = Field(
        None,
        description="kernel sizes of the generator's layers, from the latent on (default: 4 each)",
    )
    strides: Steps | None = Field(
        None, description="strides of the generator's layers (default: 1, then 2 each)"
    )
    paddings: Steps | None = Field(
        None,
        description="paddings of the generator's layers (default: those with which maps double)",
    )
    output_paddings: Steps | None = Field(
        None,
        description="output paddings of the generator's layers "
        "(default: 0 each if paddings are given)",
    )

    @model_validator(mode="after")
    def _layers_fit(self) -> DCGAN:
        lengths = {name: self._count(name) for name in _SHAPING if self._count(name)}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} for {count}" for name, count in lengths.items())
            raise ConfigError(
                f"Architecture 'dcgan' has one number for each of the generator's layers, and one "
                f"of its widths less, but there are {told}."
            )
        if not (plan := self._plan()):
            return self
        for number, stage in enumerate(plan, start=1):
            if stage.kernel < 1 or stage.stride < 1 or stage.extra >= stage.stride:
                raise ConfigError(
                    f"Architecture 'dcgan' cannot have {stage} as layer {number}: give kernels "
                    f"and strides of at least 1, and output paddings less than the stride."
                )
        if grown(plan, (1, 1)) is None:
            raise ConfigError(
                f"Architecture 'dcgan' has a layer that leaves nothing of its map: "
                f"{'; '.join(map(str, plan))}. Take smaller paddings or larger kernels."
            )
        return self

    @classmethod
    def infer_given(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        options: Mapping[str, Any],
        size: tuple[int, int] | None = None,
        *,
        likely: bool = True,
    ) -> Inferred | None:
        """Tell widths, kernels, norms and biases from shapes, and guess how far maps grow."""
        convs = _convolutions(shapes)
        if len(convs) < 2:
            return None
        (latent, *_), (_, channels, *_) = convs[0].shape, convs[-1].shape
        told = _widths_told([conv.shape[1] for conv in convs[:-1]], cls)
        told |= _biases_told(shapes, convs)
        norm, ways = _norm_told(shapes, convs)
        told |= {} if norm == "batch" else {"norm": norm}

        kernels = [conv.shape[2:] for conv in convs]
        if any(height != width for height, width in kernels[1:]):
            raise ConfigError("it has kernels that are not square")
        fixed = {name: options[name] for name in _SHAPING[1:4] if options.get(name) is not None}
        ranked = growths(kernels, fixed, size, likely=likely)
        if not ranked:
            usually = growths(kernels, fixed)
            made = grown(usually[0], kernels[0]) if usually else None
            if size is None or made is None:
                raise ConfigError(
                    f"its {len(convs)} layers make no image with "
                    + (f"such {' and '.join(fixed)}" if fixed else "any strides and paddings")
                )
            raise ConfigError(
                f"its samples have {channels * made[0] * made[1]:,} values, which is no {channels} "
                f"x {size[0]} x {size[1]}, for its layers usually make {made[0]}x{made[1]}: leave "
                f"--size out, or say --arch.strides and --arch.paddings as that net has them"
            )
        chosen = _options_of(ranked[0], kernels)
        ends = grown(ranked[0], kernels[0])
        assert ends is not None  # as ``growths`` has found
        given = {**told, **chosen, **options}
        steps = {
            "strides": tuple(stage.stride for stage in ranked[0]),
            "paddings": tuple(stage.padding for stage in ranked[0]),
        }
        if any(stage.extra for stage in ranked[0]):
            steps["output_paddings"] = tuple(stage.extra for stage in ranked[0])
        not_inferable = [*activations_untold(options)]
        if ways or norm == "none":
            not_inferable.append("norm")
        if given.get("norm", "batch") != "none":
            not_inferable += ["activation_first", "norm_eps"]
        if given.get("norm") == "group":
            not_inferable.append("groups")
        return Inferred(
            latent,
            channels * ends[0] * ends[1],
            channels,
            ends,
            {**told, **chosen},
            (*not_inferable, *steps),
            steps,
            (
                activations_elsewhere(),
                ({"activation_first": False}, {"activation_first": True}),
                tuple({"norm_eps": eps} for eps in _EPS),
                *([ways] if ways else []),
                tuple(_options_of(other, kernels, whole=True) for other in ranked),
            ),
        )

    def check(self, spec: SampleSpec) -> None:
        """Refuse all but images whose sides are powers of two from 16 to 256.

        Where options shape the layers, all but those that the layers make.

        Raises:
            UnsupportedSampleError: With the reason and the nearest size that it can do.
        """
        if spec.kind != "image":
            self.refuse(spec, "it makes images only; take 'mlp', which makes samples of any kind.")
        nearest = self.nearest_size(*spec.size)
        if spec.size != nearest:
            if self._plan():
                rule = f"its {_listed(self)} make {nearest[0]}x{nearest[1]}"
                self.refuse(spec, f"{rule}; give that size, or other ones.")
            self.refuse(
                spec,
                f"height and width must be powers of two from {_SMALLEST} to {_LARGEST}; "
                f"the nearest it can is {nearest[0]}x{nearest[1]}.",
            )

    def nearest_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the next power of two of each side, from 16 to 256.

        Where options shape the layers, the shorter side is theirs, and the longer one the next that
        they make of a wider map.
        """
        if not (plan := self._plan()):
            return _nearest_side(height), _nearest_side(width)
        base = plan[0].kernel - 2 * plan[0].padding
        (side, _), limit = _made(plan, base, base), max(height, width)
        longer = side
        while longer < min(limit, max(_LARGEST, side)):
            base += 1
            longer, _ = _made(plan, base, base)
        if longer > max(_LARGEST, side):
            longer, _ = _made(plan, base - 1, base - 1)
        return (side, longer) if height <= width else (longer, side)

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> DCGANGenerator:
        """Build the generator: (N, *latent.shape) -> (N, C, H, W).

        Raises:
            UnsupportedSampleError: If ``spec`` is no image or has other sides.
        """
        self.check(spec)
        return DCGANGenerator(spec, latent, self._layers(spec), self)

    def discriminator(self, spec: SampleSpec) -> DCGANDiscriminator:
        """Build the discriminator: (N, C, H, W) -> logits (N,).

        Raises:
            UnsupportedSampleError: If ``spec`` is no image or has other sides.
        """
        self.check(spec)
        return DCGANDiscriminator(spec, self._layers(spec), self.d_norm_input)

    def _count(self, name: str) -> int:
        """How many layers an option is for; 0 if it is not given."""
        value = getattr(self, name)
        return 0 if value is None else len(value) + (name == "widths")

    def _plan(self) -> list[Stage]:
        """The generator's layers, where options shape them; else none."""
        if not (count := max(map(self._count, _SHAPING))):
            return []
        kernels = self.kernels or (_KERNEL,) * count
        return usual(kernels, self.strides, self.paddings, self.output_paddings)

    def _layers(self, spec: SampleSpec) -> _Layers:
        """The layers for images of a size that ``check`` accepts."""
        plan = self._plan()
        if plan:
            first, *stages = plan
            base = shrunk(stages, spec.size)
            assert base is not None  # for ``check`` accepts the size
        else:
            base = _base_map(spec)
            stages = [doubling(_KERNEL)] * ((min(spec.size) // _BASE).bit_length() - 1)
            first = Stage(_BASE, 1, 0, 0)
        multiples = (min(2**stage, self.max_multiplier) for stage in range(len(stages)))
        widths = self.widths or [self.channels * multiple for multiple in multiples][::-1]
        return _Layers(base, first.padding, tuple(stages), tuple(widths))


class _Layers(NamedTuple):
    """What is between the latent and an image.

    Attributes:
        base: Height and width of the smallest map.
        padding: Of the first layer, which makes it.
        stages: The layers after it, each of which makes a larger one.
        widths: Channels of the maps, from the smallest to the one next to the image.
    """

    base: tuple[int, int]
    padding: int
    stages: tuple[Stage, ...]
    widths: tuple[int, ...]


class DCGANGenerator(nn.Module):
    """Transposed convolutions from the latent, seen as a 1x1 map, to an image.

    Args:
        spec: What an image is.
        latent: What it is made from; any shape, flattened.
        layers: Its layers.
        options: Norm, activation and biases.
    """

    def __init__(
        self, spec: SampleSpec, latent: LatentSpec, layers: _Layers, options: DCGAN
    ) -> None:
        super().__init__()
        widths, stages = layers.widths, layers.stages
        first = ToMap(latent.numel, widths[0], layers.base, layers.padding, options.bias)
        self.project = _hidden(first, widths[0], options)
        self.grow = nn.Sequential(
            *(
                _hidden(_larger(wide, narrow, stage, options.bias), narrow, options)
                for (wide, narrow), stage in zip(pairwise(widths), stages[:-1], strict=True)
            )
        )
        self.output = _larger(widths[-1], spec.channels, stages[-1], options.output_bias)
        self.activation = output_activation(spec)
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents (N, *latent.shape) to images (N, C, H, W) in ``spec.value_range``."""
        maps = self.grow(self.project(z.flatten(1)))
        images: Tensor = self.activation(self.output(maps))
        return images


class DCGANDiscriminator(nn.Module):
    """Strided convolutions from an image to one logit.

    Args:
        spec: What an image is.
        layers: Those of the generator, which it goes back.
        norm_input: Whether the first layer is normalised too.
    """

    def __init__(self, spec: SampleSpec, layers: _Layers, norm_input: bool = False) -> None:
        super().__init__()
        widths, stages = layers.widths[::-1], layers.stages[::-1]
        self.input = _smaller(spec.channels, widths[0], stages[0])
        self.norm = nn.BatchNorm2d(widths[0]) if norm_input else nn.Identity()
        self.activation = nn.LeakyReLU(_SLOPE, inplace=True)
        self.shrink = nn.Sequential(
            *(
                _shrink(narrow, wide, stage)
                for (narrow, wide), stage in zip(pairwise(widths), stages[1:], strict=True)
            )
        )
        self.output = FromMap(widths[-1], 1, layers.base)
        _initialise(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) to logits (N,)."""
        logits: Tensor = self.output(self.shrink(self.activation(self.norm(self.input(x)))))
        return logits.flatten()


def _nearest_side(side: int) -> int:
    above = 1 << (side - 1).bit_length()
    return min(max(above, _SMALLEST), _LARGEST)


def _base_map(spec: SampleSpec) -> tuple[int, int]:
    """Height and width of the smallest map."""
    height, width = spec.size
    shorter = min(height, width)
    return _BASE * height // shorter, _BASE * width // shorter


def _hidden(conv: nn.Module, channels: int, options: DCGAN) -> nn.Sequential:
    """A convolution of the generator with what follows it."""
    norm = _norm(options, channels)
    follows_norm = norm is not None and not options.activation_first
    activation = hidden_activation(options.activation, options.slope, inplace=follows_norm)
    parts: list[tuple[str, nn.Module | None]] = [("norm", norm), ("activation", activation)]
    ordered = parts[::-1] if options.activation_first else parts
    found = OrderedDict((name, part) for name, part in ordered if part is not None)
    return nn.Sequential(OrderedDict(conv=conv, **found))


def _norm(options: DCGAN, channels: int) -> nn.Module | None:
    if options.norm == "batch":
        return nn.BatchNorm2d(channels, options.norm_eps)
    if options.norm == "group":
        if channels % options.groups:
            raise ConfigError(
                f"Architecture 'dcgan' has a map of {channels} channels, which cannot be "
                f"normalised in {options.groups} groups: give other groups."
            )
        return nn.GroupNorm(options.groups, channels, options.norm_eps)
    if options.norm == "none":
        return None
    affine = options.norm == "instance-affine"
    return nn.InstanceNorm2d(channels, options.norm_eps, affine=affine)


def _larger(inputs: int, outputs: int, stage: Stage, bias: bool) -> nn.Module:
    if stage == doubling(_KERNEL):
        return Double(inputs, outputs, bias)
    kernel, stride, padding, extra = stage
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, extra, bias=bias)


def _smaller(inputs: int, outputs: int, stage: Stage) -> nn.Module:
    if stage == doubling(_KERNEL):
        return Halve(inputs, outputs)
    kernel, stride, padding, _ = stage
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)


def _shrink(inputs: int, outputs: int, stage: Stage) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=_smaller(inputs, outputs, stage),
            norm=nn.BatchNorm2d(outputs),
            activation=nn.LeakyReLU(_SLOPE, inplace=True),
        )
    )


def _made(plan: Sequence[Stage], height: int, width: int) -> tuple[int, int]:
    """Height and width of what layers make of a map that the first of them has made."""
    padding = 2 * plan[0].padding
    size = grown(plan, (height + padding, width + padding))
    assert size is not None  # larger maps have larger images
    return size


def _listed(arch: DCGAN) -> str:
    """The options that shape layers, as they are."""
    given = [(name, getattr(arch, name)) for name in _SHAPING if getattr(arch, name) is not None]
    return ", ".join(f"{name} {' '.join(map(str, value))}" for name, value in given)


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif (
            isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)) and module.affine
        ):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


# -- what the shapes of weights tell --------------------------------------------------------------


class _Conv(NamedTuple):
    """A transposed convolution: the shape of its weight, and whether it has a bias."""

    shape: tuple[int, ...]
    bias: bool


def _convolutions(shapes: Mapping[str, tuple[int, ...]]) -> list[_Conv]:
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


def _widths_told(widths: Sequence[int], cls: type[DCGAN]) -> dict[str, Any]:
    """The options that give maps these channels, from the smallest map on."""
    narrowest, widest = widths[-1], widths[0]
    most = cls.model_fields["max_multiplier"].default
    for multiple in (most, max(widest // narrowest, 1)):
        stages = range(len(widths))
        if [narrowest * min(2**stage, multiple) for stage in stages][::-1] == [*widths]:
            more = {} if multiple == most else {"max_multiplier": multiple}
            return {"channels": narrowest, **more}
    return {"widths": tuple(widths)}


def _norm_layers(shapes: Mapping[str, tuple[int, ...]]) -> list[dict[str, tuple[int, ...]]]:
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


def _biases_told(shapes: Mapping[str, tuple[int, ...]], convs: Sequence[_Conv]) -> dict[str, Any]:
    """The options for the biases that convolutions have, whatever they are called."""
    inner, last = [conv.bias for conv in convs[:-1]], convs[-1].bias
    if not any(inner) and not last:
        vectors = Counter(shape[0] for shape in shapes.values() if len(shape) == 1)
        norms = _norm_layers(shapes)
        vectors -= Counter(shape[0] for layer in norms for shape in layer.values())
        widths = [conv.shape[1] for conv in convs]
        last = vectors in (Counter(widths), Counter(widths[-1:]))
        inner = [vectors in (Counter(widths), Counter(widths[:-1]))]
    told = {"bias": 2 * sum(inner) > len(inner), "output_bias": last}
    return {name: True for name, value in told.items() if value}


def _norm_told(
    shapes: Mapping[str, tuple[int, ...]], convs: Sequence[_Conv]
) -> tuple[Norm, tuple[dict[str, Any], ...]]:
    """Which norm the tensors beside convolutions are of, and which others they may be of."""
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
    if not whole and min(kernels[0]) == _BASE and not plan[0].padding:
        size = grown(plan, (kernels[0][0], kernels[0][1]))
        doubled = all(stage == doubling(_KERNEL) for stage in plan[1:])
        if doubled and size and all(_is_power_of_two(side) for side in size):
            return {}
    options: dict[str, Any] = {
        "strides": tuple(stage.stride for stage in plan),
        "paddings": tuple(stage.padding for stage in plan),
    }
    if any(stage.kernel != _KERNEL for stage in plan):
        options["kernels"] = tuple(stage.kernel for stage in plan)
    if whole or any(stage.extra for stage in plan):
        options["output_paddings"] = tuple(stage.extra for stage in plan)
    return options


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
