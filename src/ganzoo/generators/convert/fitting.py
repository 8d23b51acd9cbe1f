"""The generator that a state dict may be of: from its caller's words and its shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ganzoo import architectures
from ganzoo.architectures.base import Architecture
from ganzoo.architectures.inference import Inferred, Known
from ganzoo.core.component import RESERVED
from ganzoo.core.nets import build_on_meta
from ganzoo.core.spec import Kind, LatentSpec, SampleSpec
from ganzoo.errors import ConfigError, GanzooError, did_you_mean, listing, quoted
from ganzoo.files.statedicts import StateDict
from ganzoo.generators.convert.matching import MisfitError, Shape, match
from ganzoo.generators.convert.names import Reading, read_mapping, reading

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Fit", "Range", "Request", "flag", "worded"]

Range = tuple[float, float] | Literal["unbounded"] | None

_SMALLEST_IMAGE = 8  # side from which a flat row of values is taken for an image
_CHANNELS = 4  # that pictures usually have at most
_REPARAMETRISED = re.compile(r"weight_(orig|u|v|g)$|(^|\.)parametrizations\.")


@dataclass(frozen=True)
class Fit:
    """A state dict together with the generator that it is of.

    Attributes:
        state: The state dict.
        reading: It with torch's names and axes.
        arch: The architecture with its options.
        sample: What it makes.
        latent: What it is fed.
        expected: The generator's own state dict, without numbers.
        names: Names in the file to names here.
        notes: What was assumed.
        doubt: Why the names are ambiguous; empty if they are not.
        inferred: What the shapes tell.
        uncertain: Whether a part of it, or what it is a part of, fits as well.
    """

    state: StateDict
    reading: Reading
    arch: Architecture
    sample: SampleSpec
    latent: LatentSpec
    expected: dict[str, Tensor]
    names: dict[str, str]
    notes: tuple[str, ...]
    doubt: str
    inferred: Inferred | None = None
    uncertain: bool = False

    @property
    def by_name(self) -> bool:
        """Whether all names agree."""
        return not self.doubt and all(theirs == ours for theirs, ours in self.names.items())


@dataclass(frozen=True)
class Request:
    """What the caller says of the generator; None where the shapes are to tell."""

    cls: type[Architecture]
    options: dict[str, Any]
    mapping: dict[str, str]
    kind: Kind | None = None
    size: tuple[int, int] | None = None
    channels: int | None = None
    latent: dict[str, Any] = field(default_factory=dict)
    value_range: Range = None
    likely: bool = True
    classes: tuple[str, ...] | None = None

    @property
    def describes_samples(self) -> bool:
        """Whether the caller says what a sample or a latent is."""
        return bool(self.kind or self.size or self.channels or "shape" in self.latent)

    @classmethod
    def of(
        cls,
        arch: str | Mapping[str, Any] | Architecture,
        mapping: str | Path | Mapping[str, str] | None,
        kind: Kind | None,
        size: int | tuple[int, int] | None,
        channels: int | None,
        latent: Any,
        value_range: Range,
        classes: int | Sequence[str] | None,
    ) -> Request:
        """Validate the arguments of ``convert``, whose mistakes are not the file's."""
        chosen, options = _architecture(arch)
        if kind is not None and kind not in get_args(Kind):
            raise ConfigError(
                f"There is no kind of samples '{kind}'.{did_you_mean(str(kind), get_args(Kind))} "
                f"Kinds: {listing(get_args(Kind))}."
            )
        if value_range is not None and value_range != "unbounded":
            SampleSpec(kind="vector", shape=(1,), value_range=value_range)
        if latent is not None:
            latent = LatentSpec.model_validate(latent).model_dump(exclude_unset=True)
        sides = (size, size) if isinstance(size, int) else size
        if min(*(sides or (1, 1)), 1 if channels is None else channels) < 1:
            raise ConfigError("Sizes and channels are at least 1.")
        names = read_mapping(mapping)
        called = _classes(classes, chosen)
        return cls(
            chosen,
            options,
            names,
            kind,
            sides,
            channels,
            latent or {},
            value_range,
            classes=called,
        )

    def fit(self, state: StateDict) -> Fit:
        """Build, without numbers, the generator that a state dict may be of, and match names.

        Raises:
            MisfitError: If it is not.
        """
        try:
            read = reading(state)
        except GanzooError as error:
            raise MisfitError(error) from error
        shapes = {name: tuple(value.shape) for name, value in read.state.tensors.items()}
        _check_readable(shapes, read.names)
        try:
            known = Known(self.options, self.size, self.likely, len(self.classes or ()))
            inferred = self.cls.infer(shapes, known)
            sample = self._sample(shapes, inferred)
            latent = LatentSpec.model_validate(self._latent(inferred))
            arch = self.cls(**{**(inferred.options if inferred else {}), **self.options})
            net: nn.Module = build_on_meta(lambda: arch.generator(sample, latent))
        except GanzooError as error:
            raise MisfitError(f"{error}".rstrip(".")) from error
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise MisfitError(f"no such net can be built ({error})") from error
        if read.turned:
            _check_order_of_axes(shapes, sample)
        expected = dict(net.state_dict())
        names, doubt = match(
            shapes,
            {n: tuple(v.shape) for n, v in expected.items()},
            ordered=state.ordered,
            mapping=self.mapping,
            in_file=read.names,
        )
        notes = (*self._assumed(inferred, arch, sample), *([read.note] if read.note else []))
        found = {read.names[name]: ours for name, ours in names.items()}
        return Fit(
            state, read, arch, sample, latent, expected, found, notes, doubt, inferred=inferred
        )

    def _latent(self, inferred: Inferred | None) -> dict[str, Any]:
        advised = LatentSpec.model_validate(self.cls.recommended.get("latent", {}))
        shape = {"shape": (inferred.latent,)} if inferred else {}
        return {**advised.model_dump(exclude_unset=True), **shape, **self.latent}

    def _sample(self, shapes: Mapping[str, Shape], inferred: Inferred | None) -> SampleSpec:
        shape = self._shape(inferred)
        if not inferred and not (shape and "shape" in self.latent):
            name, first = next(iter(shapes.items()))
            raise MisfitError(
                f"these shapes tell nothing to '{self.cls.name}' (the first is '{name}' of "
                f"{first}); if it is one, give --size, --channels, --latent and the options "
                f"--arch.*"
            )
        if inferred and math.prod(shape) != inferred.values:
            if len(shape) == 3 and shape[0] > _CHANNELS and not self.channels:
                raise MisfitError(
                    f"these shapes are those of no generator of '{self.cls.name}' (its last layer "
                    f"would make {shape[0]} channels); if it is one, give --size and --channels"
                )
            raise MisfitError(
                f"its samples have {inferred.values:,} values, which is no "
                f"{' x '.join(map(str, shape)) or 'image'}: give --size and --channels"
            )
        kind: Kind = self.kind or ("image" if len(shape) == 3 else "vector")
        if self.value_range is None:
            usual = {"image": (-1.0, 1.0), "audio": (-1.0, 1.0), "sequence": (0.0, 1.0)}
            ends = usual.get(kind)
        else:
            ends = None if self.value_range == "unbounded" else self.value_range
        return SampleSpec(kind=kind, shape=shape, value_range=ends, classes=self.classes)

    def _shape(self, inferred: Inferred | None) -> Shape:
        """Shape of one sample; empty if unknown."""
        channels, size, values = self.channels, self.size, 0
        if inferred:
            channels, size = channels or inferred.channels, size or inferred.size
            values = inferred.values
        if self.kind == "vector":
            return (values or channels or 0,)
        if self.kind in ("audio", "sequence"):
            return (channels or 1, values // (channels or 1))
        if channels is None and size is not None:
            channels = max(values // math.prod(size), 1)
        if channels is None and values:
            grey, colour = math.isqrt(values), math.isqrt(values // 3)
            least = 1 if self.kind else _SMALLEST_IMAGE
            if grey**2 == values and grey >= least:
                channels = 1
            elif 3 * colour**2 == values and colour >= least:
                channels = 3
            else:
                return (values,) if self.kind is None else ()
        if channels is not None and size is None and values:
            side = math.isqrt(values // channels)
            size = side, side
        return (channels, *size) if channels and size else ()

    def _assumed(
        self, inferred: Inferred | None, arch: Architecture, sample: SampleSpec
    ) -> list[str]:
        notes = []
        described = self.kind or self.size or self.channels
        if inferred and not described and inferred.size is None:
            notes.append(
                f"{inferred.values:,} values are taken for a {sample} (--size, --channels, --kind)."
            )
        for option in inferred.not_inferable if inferred else ():
            if inferred and option not in self.options:
                taken = worded(inferred.taken.get(option, getattr(arch, option)))
                about = type(arch).model_fields[option].description or ""
                notes.append(
                    f"Weights do not tell '{option}', taken as {taken} ({flag(option)}): "
                    f"{about.partition(' (default')[0]}."
                )
        if self.value_range is None:
            ends = sample.value_range
            taken = "unbounded" if ends is None else f"{ends[0]:g} to {ends[1]:g}"
            ends_in = "nothing" if ends is None else "tanh" if ends[0] else "sigmoid"
            notes.append(
                f"Weights do not tell the range of values, taken as {taken} (--value-range): the "
                f"net ends in {ends_in}."
            )
        return notes


def _architecture(
    arch: str | Mapping[str, Any] | Architecture,
) -> tuple[type[Architecture], dict[str, Any]]:
    """The class and the options that the caller gives."""
    if isinstance(arch, Architecture):
        return type(arch), {name: getattr(arch, name) for name in arch.model_fields_set}
    chosen, found = architectures.registry.resolve(arch)
    options = {name: value for name, value in found.items() if name not in RESERVED}
    known = dict(chosen.model_fields)
    if wrong := [name for name in options if name not in known]:
        raise ConfigError(
            f"Architecture '{chosen.name}' has no option '{wrong[0]}'."
            f"{did_you_mean(wrong[0], known)} Options: {listing(sorted(known))}."
        )
    if not any(f.is_required() and name not in options for name, f in known.items()):
        chosen(**options)  # a mistake of the caller's is not the file's
    return chosen, options


def _classes(given: int | Sequence[str] | None, arch: type[Architecture]) -> tuple[str, ...] | None:
    """The names of the classes."""
    if given is None:
        return None
    if not arch.conditional:
        raise ConfigError(
            f"Architecture '{arch.name}' makes no use of labels. Leave classes out, or take an "
            f"architecture that does."
        )
    names: tuple[Any, ...] = ()
    if isinstance(given, int):
        names = tuple(map(str, range(given)))
    elif isinstance(given, Sequence) and not isinstance(given, str):
        names = tuple(given)
    named = all(isinstance(name, str) and name.strip() for name in names)
    if not named or len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"Classes are two names or more, each once, or how many there are, not "
            f"{quoted(given)}. Give 10, or a list of the names in the order of their numbers."
        )
    return names


def _check_readable(shapes: Mapping[str, Shape], in_file: Mapping[str, str]) -> None:
    if empty := [name for name, shape in shapes.items() if 0 in shape]:
        raise MisfitError(f"'{in_file[empty[0]]}' has no values")
    if wrapped := [name for name in shapes if _REPARAMETRISED.search(name)]:
        raise MisfitError(
            f"'{wrapped[0]}' is of a spectral or weight norm: take it off each layer, with "
            f"torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') or "
            f"remove_spectral_norm(layer), and save again"
        )


def _check_order_of_axes(shapes: Mapping[str, Shape], sample: SampleSpec) -> None:
    """Refuse dense layers of Keras that make maps, whose values lie in another order there."""
    dense = any(len(shape) == 2 for shape in shapes.values())
    maps = any(len(shape) == 4 for shape in shapes.values())
    if dense and (maps or (sample.kind == "image" and sample.channels > 1)):
        raise MisfitError(
            "its dense layer makes maps as (height, width, channels), as Keras has them: bring its "
            "values into the order (channels, height, width), and save it with torch's names and "
            "axes"
        )


def worded(value: Any) -> str:
    """Return the value of an option as a note and the command line have it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def flag(option: str, negated: bool = False, lead: str = "arch.") -> str:
    """Return what an option is called at the command line."""
    return f"--{lead}{'no-' * negated}{option.replace('_', '-')}"
