"""Deep convolutional GAN."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator
from torch import nn

from ganzoo.architectures.base import Architecture, Inferred, Known, Shapes, Width, Widths
from ganzoo.architectures.conditioning import (
    ConditionalBatchNorm2d,
    DCondition,
    LabelWidth,
    Normed,
    joined,
    label_head,
)
from ganzoo.architectures.dcgan_weights import BASE, KERNEL, SHAPING, infer_growth
from ganzoo.architectures.growth import Stage, doubling, grown, shrunk, usual
from ganzoo.architectures.inference import NOTHING
from ganzoo.architectures.layers import (
    Activation,
    Double,
    FromMap,
    Halve,
    MinibatchDeviation,
    ToMap,
    hidden_activation,
    output_activation,
    spectrally_normalised,
)
from ganzoo.architectures.rectifier import LeakyReLU
from ganzoo.core.spec import FLOAT32_MAX
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Output

__all__ = ["DCGAN", "DCGANDiscriminator", "DCGANGenerator"]

_SMALLEST, _LARGEST = 16, 256
_SLOPE = 0.2

Norm = Literal["batch", "instance", "instance-affine", "group", "none"]
DNorm = Literal["batch", "layer", "instance", "none"]
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
    Weights start as N(0, 0.02). Labels enter one-hot: beside the latent, and as maps beside the
    image.

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
    conditional: ClassVar[bool] = True
    recommended: ClassVar[Mapping[str, Any]] = {
        "latent": 100,
        # The paper's rate is 2e-4 for batches of 128. In the same time many small batches at a
        # higher rate come much further.
        "batch_size": 16,
        "steps": 3000,
        "g_optimizer": {"name": "adam", "lr": 4e-4, "betas": (0.5, 0.999)},
        "d_optimizer": {"name": "adam", "lr": 4e-4, "betas": (0.5, 0.999)},
    }

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dcgan_small": {"channels": 32},
        "dcgan_paper": {"channels": 128},  # fig. 1: 1024, 512, 256 and 128 at 64x64
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
    condition: Literal["concat", "embedding", "batch-norm"] = Field(
        "concat",
        description="how labels enter the generator: one-hot or as a learned vector beside the "
        "latent, or as gains and biases of its batch norms",
    )
    d_condition: DCondition = "concat"
    label_width: LabelWidth = 32
    d_norm: DNorm = Field(
        "batch",
        description="norm of the discriminator's hidden layers: over the batch, or of each sample "
        "over a layer or over each map (instance); with none they have biases",
    )
    d_spectral: bool = Field(
        False,
        description="divide each weight of the discriminator by its largest singular value "
        "(spectral normalisation), usually with d_norm none",
    )
    d_deviation: int = Field(
        0,
        ge=0,
        le=2**20,
        description="samples in a group whose standard deviation the discriminator's last layer "
        "sees as a map more (4 in the paper, arXiv:1710.10196); 0 for no such map",
    )

    @model_validator(mode="after")
    def _discriminator_has_sense(self) -> DCGAN:
        if self.d_norm_input and self.d_norm == "none":
            raise ConfigError(
                "Architecture 'dcgan' normalises the discriminator's first layer with "
                "d_norm_input, by a norm that d_norm sets to none. Set d_norm_input to False, or "
                "d_norm to a norm."
            )
        if self.d_deviation == 1:
            raise ConfigError(
                "Architecture 'dcgan' has groups of one sample with d_deviation 1, and one sample "
                "has no deviation. Set d_deviation to 2 or more, or to 0 for none."
            )
        return self

    @model_validator(mode="after")
    def _norms_have_labels(self) -> DCGAN:
        if self.condition == "batch-norm" and self.norm != "batch":
            raise ConfigError(
                f"Architecture 'dcgan' has labels in its batch norms with condition 'batch-norm', "
                f"and its norm is '{self.norm}'. Set norm to batch, or condition to concat."
            )
        return self

    @model_validator(mode="after")
    def _layers_fit(self) -> DCGAN:
        lengths = {name: self._count(name) for name in SHAPING if self._count(name)}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} for {count}" for name, count in lengths.items())
            raise ConfigError(
                f"Architecture 'dcgan' has one number for each of the generator's layers, and one "
                f"of its widths less, but there are {listed}. Give all of them the same number of "
                f"layers, or leave out those that follow from the others."
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
    def infer(cls, shapes: Shapes, known: Known = NOTHING) -> Inferred | None:
        """Tell widths, kernels, norms and biases from shapes, and guess how far maps grow."""
        return infer_growth(shapes, known, cls.model_fields["max_multiplier"].default)

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
            UnsupportedSampleError: If ``spec`` is not an image or has other sides.
        """
        self.check(spec)
        return DCGANGenerator(spec, latent, self._layers(spec), self)

    def discriminator(self, spec: SampleSpec) -> DCGANDiscriminator:
        """Build the discriminator: (N, C, H, W) -> logits (N,), or an ``Output``.

        Raises:
            UnsupportedSampleError: If ``spec`` is not an image or has other sides.
            ConfigError: If instance norm would have maps of one place.
        """
        self.check(spec)
        layers = self._layers(spec)
        if self.d_norm == "instance" and layers.base == (1, 1):
            raise ConfigError(
                "Architecture 'dcgan' has maps of one place in its discriminator, of which "
                "instance norm leaves nothing. Set d_norm to layer, or take a larger first kernel."
            )
        net = DCGANDiscriminator(spec, layers, self)
        return spectrally_normalised(net) if self.d_spectral else net

    def _count(self, name: str) -> int:
        """How many layers an option is for; 0 if it is not given."""
        value = getattr(self, name)
        return 0 if value is None else len(value) + (name == "widths")

    def _plan(self) -> list[Stage]:
        """The generator's layers, where options shape them; else none."""
        if not (count := max(map(self._count, SHAPING))):
            return []
        kernels = self.kernels or (KERNEL,) * count
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
            stages = [doubling(KERNEL)] * ((min(spec.size) // BASE).bit_length() - 1)
            first = Stage(BASE, 1, 0, 0)
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
        self.labels = joined(spec, options.condition, options.label_width)
        inputs, bias = latent.numel + self.labels.width, options.bias
        classes = len(spec.classes or ()) if options.condition == "batch-norm" else 0
        first = ToMap(inputs, widths[0], layers.base, layers.padding, bias)
        self.project = _hidden(first, widths[0], options, classes)
        self.grow = nn.Sequential(
            *(
                _hidden(_larger(wide, narrow, stage, bias), narrow, options, classes)
                for (wide, narrow), stage in zip(pairwise(widths), stages[:-1], strict=True)
            )
        )
        self.output = _larger(widths[-1], spec.channels, stages[-1], options.output_bias)
        self.activation = output_activation(spec)
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents (N, *latent.shape) to images (N, C, H, W) in ``spec.value_range``."""
        maps = self.project(self.labels(z.flatten(1), labels), labels)
        for stage in self.grow:
            maps = stage(maps, labels)
        images: Tensor = self.activation(self.output(maps))
        return images


class DCGANDiscriminator(nn.Module):
    """Strided convolutions from an image to one logit.

    Args:
        spec: What an image is.
        layers: Those of the generator, which it goes back.
        options: Norms, and how labels enter.
    """

    def __init__(self, spec: SampleSpec, layers: _Layers, options: DCGAN) -> None:
        super().__init__()
        widths, stages = layers.widths[::-1], layers.stages[::-1]
        self.labels = joined(spec, options.d_condition)
        inputs, bias = spec.channels + self.labels.width, options.d_norm == "none"
        self.input = _smaller(inputs, widths[0], stages[0], bias)
        self.norm = _d_norm(options, widths[0]) if options.d_norm_input else nn.Identity()
        self.activation = LeakyReLU(_SLOPE, inplace=True)
        self.shrink = nn.Sequential(
            *(
                _shrink(narrow, wide, stage, options)
                for (narrow, wide), stage in zip(pairwise(widths), stages[1:], strict=True)
            )
        )
        places = layers.base[0] * layers.base[1]
        self.head = label_head(spec, options.d_condition, widths[-1], places)
        group = options.d_deviation
        self.deviation = MinibatchDeviation(group) if group else nn.Identity()
        self.output = FromMap(widths[-1] + bool(group), 1, layers.base)
        _initialise(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor | Output:
        """Map images (N, C, H, W) to logits (N,), or an ``Output`` with classes."""
        maps = self.norm(self.input(self.labels(x, labels)))
        features = self.shrink(self.activation(maps))
        logits = self.output(self.deviation(features)).flatten()
        judged: Tensor | Output = self.head(logits, features, labels)
        return judged


def _nearest_side(side: int) -> int:
    above = 1 << (side - 1).bit_length()
    return min(max(above, _SMALLEST), _LARGEST)


def _base_map(spec: SampleSpec) -> tuple[int, int]:
    """Height and width of the smallest map."""
    height, width = spec.size
    shorter = min(height, width)
    return BASE * height // shorter, BASE * width // shorter


def _hidden(conv: nn.Module, channels: int, options: DCGAN, classes: int) -> Normed:
    """A convolution of the generator with what follows it."""
    norm = _norm(options, channels, classes)
    follows_norm = norm is not None and not options.activation_first
    activation = hidden_activation(options.activation, options.slope, inplace=follows_norm)
    parts: list[tuple[str, nn.Module | None]] = [("norm", norm), ("activation", activation)]
    ordered = parts[::-1] if options.activation_first else parts
    found = OrderedDict((name, part) for name, part in ordered if part is not None)
    return Normed(OrderedDict(conv=conv, **found))


def _norm(options: DCGAN, channels: int, classes: int) -> nn.Module | None:
    """A norm of the generator; with gains and biases for each class, if there are any."""
    if classes:
        return ConditionalBatchNorm2d(channels, classes, options.norm_eps)
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
    if stage == doubling(KERNEL):
        return Double(inputs, outputs, bias)
    kernel, stride, padding, extra = stage
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, extra, bias=bias)


def _smaller(inputs: int, outputs: int, stage: Stage, bias: bool) -> nn.Module:
    if stage == doubling(KERNEL):
        return Halve(inputs, outputs, bias)
    kernel, stride, padding, _ = stage
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)


def _shrink(inputs: int, outputs: int, stage: Stage, options: DCGAN) -> nn.Sequential:
    """A convolution of the discriminator with what follows it."""
    parts = OrderedDict[str, nn.Module]()
    parts["conv"] = _smaller(inputs, outputs, stage, bias=options.d_norm == "none")
    if options.d_norm != "none":
        parts["norm"] = _d_norm(options, outputs)
    parts["activation"] = LeakyReLU(_SLOPE, inplace=True)
    return nn.Sequential(parts)


def _d_norm(options: DCGAN, channels: int) -> nn.Module:
    """A norm of the discriminator, where it has one."""
    if options.d_norm == "layer":
        return nn.GroupNorm(1, channels)
    if options.d_norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.BatchNorm2d(channels)


def _made(plan: Sequence[Stage], height: int, width: int) -> tuple[int, int]:
    """Height and width of what layers make of a map that the first of them has made."""
    padding = 2 * plan[0].padding
    size = grown(plan, (height + padding, width + padding))
    assert size is not None  # larger maps have larger images
    return size


def _listed(arch: DCGAN) -> str:
    """The options that shape layers, as they are."""
    shaping = [(name, getattr(arch, name)) for name in SHAPING if getattr(arch, name) is not None]
    return ", ".join(f"{name} {' '.join(map(str, value))}" for name, value in shaping)


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
