"""Bring your own weights: a state dict that another program trained becomes a bundle."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ganzoo import architectures, bundle, statedicts
from ganzoo.architectures.base import Architecture, Inferred
from ganzoo.component import RESERVED
from ganzoo.errors import (
    BundleError,
    CheckpointError,
    ConfigError,
    GanzooError,
    did_you_mean,
    listing,
)
from ganzoo.spec import Kind, LatentSpec, SampleSpec
from ganzoo.statedicts import StateDict
from ganzoo.storage import expanded, sha256

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Conversion", "Pair", "convert"]

_COUNTER = "num_batches_tracked"  # of batch norm; torch before 0.4.1 had none, and none is needed
_SMALLEST_IMAGE = 8  # side from which a flat row of values is taken for an image
_REASONS = 3  # that a message gives at most

Range = tuple[float, float] | Literal["unbounded"] | None
Shape = tuple[int, ...]


class Pair(NamedTuple):
    """One tensor: its name in the file, its name in the generator here, its shape."""

    theirs: str
    ours: str
    shape: Shape


@dataclass(frozen=True)
class Conversion:
    """What was made of a file.

    Attributes:
        folder: The bundle.
        config: What it says of itself.
        key: Where in the file the weights were; ``.`` for the file itself.
        pairs: Which tensor became which, in the order of the file.
        notes: What was assumed or changed, a sentence each.
    """

    folder: Path
    config: bundle.BundleConfig
    key: str
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def convert(
    checkpoint: str | Path,
    arch: str | Mapping[str, Any] | Architecture,
    folder: str | Path,
    *,
    key: str | None = None,
    mapping: str | Path | Mapping[str, str] | None = None,
    kind: Kind | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    latent: LatentSpec | Mapping[str, Any] | int | tuple[int, ...] | None = None,
    value_range: Range = None,
) -> Conversion:
    """Make a bundle of a generator's weights that another program saved with PyTorch.

    The architecture's options, the size and channels of a sample and the latent follow from the
    weights' shapes; what is given here wins. Names are matched as they are if they agree, else by
    order and shape. Nothing in the file is run.

    Args:
        checkpoint: File of ``torch.save`` or of safetensors, with the weights at any depth.
        arch: The architecture: its name, a mapping with the name and options, or the component.
        folder: Where the bundle goes; an older bundle there is replaced.
        key: Where in the file the weights are, if several nets in it fit: keys joined by dots, or
            ``.`` for the file itself.
        mapping: Names in the file to names here, or a YAML or JSON file of such: of tensors, or of
            layers with all that they have. What it leaves out is matched as without it.
        kind: What a sample is; by default an image, or a vector if it cannot be one.
        size: Height and width of an image; one number if they are equal.
        channels: Channels of a sample.
        latent: What the generator is fed, as wherever a latent is expected.
        value_range: Lowest and highest value of samples, which decides what the net ends in: tanh
            for (-1, 1), the default but for vectors; sigmoid for (0, 1); nothing if "unbounded".

    Raises:
        CheckpointError: If the file cannot be read safely, or holds no such generator.
        ConfigError: If more must be said: which net of several, or which name is which.
        BundleError: If the bundle cannot be written there.
        UnknownNameError: If there is no such architecture.
    """
    import torch

    path, target = expanded(checkpoint), expanded(folder)
    if not bundle.replaceable(target):
        raise BundleError(
            f"{target} holds something that is not a bundle, which converting would replace. "
            f"Choose another folder."
        )
    wish = _Wish.of(arch, mapping, kind, size, channels, latent, value_range)
    found = statedicts.read(path)
    state = None if key is None else statedicts.select(found, key, path)
    fit = _best(path, wish, found) if state is None else _only(path, wish, state)
    if fit.doubt:
        raise ConfigError(f"{path}: {fit.doubt}")
    statedicts.check_claims(fit.state, path)
    weights: dict[str, Tensor] = {}
    types: set[str] = set()
    names = {ours: theirs for theirs, ours in fit.names.items()}
    for ours, like in fit.expected.items():
        if ours not in names:
            weights[ours] = torch.zeros(like.shape, dtype=like.dtype)
            continue
        weights[ours] = _converted(path, names[ours], fit.state.tensors[names[ours]], like.dtype)
        if weights[ours].dtype != fit.state.tensors[names[ours]].dtype:
            types.add(str(fit.state.tensors[names[ours]].dtype).removeprefix("torch."))
    source = {"file": _printable(path.name), "sha256": sha256(path), "key": fit.state.place}
    config = bundle.BundleConfig(
        architecture=fit.arch,
        sample=fit.sample,
        latent=fit.latent,
        training={"converted_from": source},
    )
    bundle.write(target, config, weights)
    notes = list(fit.notes)
    if types:
        notes.append(f"{listing(sorted(types))} weights were converted to float32.")
    if len(weights) > len(names):
        notes.append("The file lacks batch norm's counters of batches, which start at 0.")
    pairs = tuple(
        Pair(theirs, fit.names[theirs], tuple(value.shape))
        for theirs, value in fit.state.tensors.items()
    )
    return Conversion(target, config, fit.state.place, pairs, tuple(notes))


class _MisfitError(Exception):
    """Why a state dict is not what is looked for: a clause that begins with its subject."""


@dataclass(frozen=True)
class _Fit:
    """A state dict together with the generator that it is of.

    Attributes:
        state: The state dict.
        arch: The architecture with its options.
        sample: What it makes.
        latent: What it is fed.
        expected: The generator's own state dict, without numbers.
        names: Names in the file to names here.
        notes: What was assumed.
        doubt: Why the names cannot be told; empty if they can.
        uncertain: Whether a part of it, or what it is a part of, fits as well.
    """

    state: StateDict
    arch: Architecture
    sample: SampleSpec
    latent: LatentSpec
    expected: dict[str, Tensor]
    names: dict[str, str]
    notes: tuple[str, ...]
    doubt: str
    uncertain: bool = False

    @property
    def by_name(self) -> bool:
        return not self.doubt and all(theirs == ours for theirs, ours in self.names.items())

    @property
    def rank(self) -> tuple[bool, bool]:
        """How well it fits: what ends in a single value is more likely a discriminator."""
        return self.by_name, self.sample.numel > 1 and not self.uncertain


@dataclass(frozen=True)
class _Wish:
    """What the caller says of the generator; None where the shapes are to tell."""

    cls: type[Architecture]
    options: dict[str, Any]
    mapping: dict[str, str]
    kind: Kind | None = None
    size: tuple[int, int] | None = None
    channels: int | None = None
    latent: dict[str, Any] = field(default_factory=dict)
    value_range: Range = None

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
    ) -> _Wish:
        if isinstance(arch, Architecture):
            chosen: type[Architecture] = type(arch)
            options = {name: getattr(arch, name) for name in arch.model_fields_set}
        else:
            given = {"name": arch} if isinstance(arch, str) else dict(arch)
            provider = str(given.get("provider", ""))
            chosen = architectures.get(str(given.get("name", "")), provider=provider)
            options = {name: value for name, value in given.items() if name not in RESERVED}
        known = dict(chosen.model_fields)
        if wrong := [name for name in options if name not in known]:
            raise ConfigError(
                f"Architecture '{chosen.name}' has no option '{wrong[0]}'."
                f"{did_you_mean(wrong[0], known)} Options: {listing(sorted(known))}."
            )
        if not any(f.is_required() and name not in options for name, f in known.items()):
            chosen(**options)  # a mistake of the caller's is not the file's
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
        return cls(
            chosen, options, _read(mapping), kind, sides, channels, dict(latent or {}), value_range
        )

    def fit(self, state: StateDict) -> _Fit:
        """Build, without numbers, the generator that a state dict may be of, and match names.

        Raises:
            _MisfitError: If it is not.
        """
        shapes = {name: tuple(value.shape) for name, value in state.tensors.items()}
        if empty := [name for name, shape in shapes.items() if 0 in shape]:
            raise _MisfitError(f"'{empty[0]}' has no values")
        try:
            inferred = self.cls.infer(shapes)
            sample = self._sample(shapes, inferred)
            latent = LatentSpec.model_validate(self._latent(inferred))
            arch = self.cls(**{**(inferred.options if inferred else {}), **self.options})
            net = bundle.outline(lambda: arch.generator(sample, latent))
        except GanzooError as error:
            raise _MisfitError(f"{error}".rstrip(".")) from error
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise _MisfitError(f"no such net can be built ({error})") from error
        expected = dict(net.state_dict())
        names, doubt = _match(
            shapes, {n: tuple(v.shape) for n, v in expected.items()}, state.ordered, self.mapping
        )
        notes = tuple(self._assumed(inferred, arch, sample))
        return _Fit(state, arch, sample, latent, expected, names, notes, doubt)

    def _latent(self, inferred: Inferred | None) -> dict[str, Any]:
        advised = LatentSpec.model_validate(self.cls.recommended.get("latent", {}))
        shape = {"shape": (inferred.latent,)} if inferred else {}
        return {**advised.model_dump(exclude_unset=True), **shape, **self.latent}

    def _sample(self, shapes: Mapping[str, Shape], inferred: Inferred | None) -> SampleSpec:
        shape = self._shape(inferred)
        if not inferred and not (shape and "shape" in self.latent):
            name, first = next(iter(shapes.items()))
            raise _MisfitError(
                f"these shapes tell nothing to '{self.cls.name}' (the first is '{name}' of "
                f"{first}); if it is one, give --size, --channels, --latent and the options "
                f"--arch.*"
            )
        if inferred and math.prod(shape) != inferred.values:
            raise _MisfitError(
                f"its samples have {inferred.values:,} values, which is no "
                f"{' x '.join(map(str, shape)) or 'image'}: give --size and --channels"
            )
        kind: Kind = self.kind or ("image" if len(shape) == 3 else "vector")
        if self.value_range is None:
            usual = {"image": (-1.0, 1.0), "audio": (-1.0, 1.0), "sequence": (0.0, 1.0)}
            ends = usual.get(kind)
        else:
            ends = None if self.value_range == "unbounded" else self.value_range
        return SampleSpec(kind=kind, shape=shape, value_range=ends)

    def _shape(self, inferred: Inferred | None) -> Shape:
        """Shape of one sample; empty where it cannot be told."""
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
        told = self.kind or self.size or self.channels
        if inferred and not told and inferred.size is None:
            notes.append(
                f"{inferred.values:,} values are taken for a {sample} (--size, --channels, --kind)."
            )
        for option in inferred.untold if inferred else ():
            if option not in self.options:
                flag = f"--arch.{option.replace('_', '-')}"
                notes.append(
                    f"Weights do not tell '{option}', taken as {getattr(arch, option)} ({flag})."
                )
        if self.value_range is None:
            ends = sample.value_range
            taken = "unbounded" if ends is None else f"{ends[0]:g} to {ends[1]:g}"
            notes.append(
                f"Weights do not tell the range of values, taken as {taken} (--value-range)."
            )
        return notes


# -- which net of a file --------------------------------------------------------------------------


def _only(path: Path, wish: _Wish, state: StateDict) -> _Fit:
    try:
        return wish.fit(state)
    except _MisfitError as reason:
        raise CheckpointError(
            f"'{state.place}' of {path} is no generator of '{wish.cls.name}': {reason}."
        ) from None


def _best(path: Path, wish: _Wish, found: list[StateDict]) -> _Fit:
    """Return the one state dict of a file that fits, or fits best."""
    reasons: dict[str, str] = {}
    fits = [fit for state in found for fit in _search(wish, state, reasons)]
    if not fits:
        shown = [f"'{place}': {reason}" for place, reason in reasons.items()][:_REASONS]
        told = "; ".join(shown if len(reasons) > 1 else reasons.values())
        more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
        raise CheckpointError(f"{path} holds no generator of '{wish.cls.name}': {told}{more}.")
    highest = max(fit.rank for fit in fits)
    best = [fit for fit in fits if fit.rank == highest]
    if len(best) > 1:
        places = [fit.state.place for fit in best]
        raise ConfigError(
            f"{path} holds {len(best)} state dicts that fit '{wish.cls.name}' equally well: "
            f"{_quoted(places)}. Name one with --key."
        )
    return best[0]


def _search(wish: _Wish, state: StateDict, reasons: dict[str, str]) -> list[_Fit]:
    """Try a state dict, and the parts of what does not fit or may be two nets in a row."""
    try:
        whole = wish.fit(state)
    except _MisfitError as reason:
        reasons[state.place] = str(reason)
        return [fit for part in state.parts() for fit in _search(wish, part, reasons)]
    parts = state.parts()
    if whole.by_name or whole.sample.numel > 1 or len(parts) < 2:
        return [whole]
    inner = [fit for part in parts for fit in _search(wish, part, reasons)]
    return [replace(fit, uncertain=bool(inner)) for fit in (whole, *inner)]


# -- which name is which --------------------------------------------------------------------------


class _Layer(NamedTuple):
    """What belongs to one layer: tensors whose names differ in their last part alone."""

    name: str
    form: tuple[tuple[str, Shape], ...]

    def __str__(self) -> str:
        parts = [f"{last} {shape}" for last, shape in self.form]
        return f"'{self.name}' with {listing(parts)}"


def _match(
    theirs: Mapping[str, Shape],
    ours: Mapping[str, Shape],
    ordered: bool,
    mapping: Mapping[str, str],
) -> tuple[dict[str, str], str]:
    """Return names there to names here, and why they cannot be told, if so."""
    if not any(name.endswith(_COUNTER) for name in theirs):
        ours = {name: shape for name, shape in ours.items() if not name.endswith(_COUNTER)}
    names = _mapped(theirs, ours, mapping)
    _check_shapes(names, theirs, ours)
    left = {name: shape for name, shape in theirs.items() if name not in names}
    open_ = {name: shape for name, shape in ours.items() if name not in {*names.values()}}
    if left.keys() == open_.keys():
        names |= {name: name for name in left}
        doubt = ""
    else:
        more, doubt = _by_shape(_layers(left), _layers(open_), ordered)
        names |= more
    _check_shapes(names, theirs, ours)
    return names, doubt


def _check_shapes(
    names: Mapping[str, str], theirs: Mapping[str, Shape], ours: Mapping[str, Shape]
) -> None:
    for name, other in names.items():
        if theirs[name] != ours[other]:
            raise _MisfitError(
                f"'{name}' is {theirs[name]}, but the generator's '{other}' is {ours[other]}"
            )


def _mapped(
    theirs: Mapping[str, Shape], ours: Mapping[str, Shape], mapping: Mapping[str, str]
) -> dict[str, str]:
    """What the caller says of names: of tensors, or of layers with all that they have."""
    names: dict[str, str] = {}
    for lead, other in sorted(mapping.items(), key=lambda item: len(item[0])):  # the nearest wins
        below = [n for n in theirs if n == lead or n.startswith(f"{lead}.")]
        if not below:
            raise _MisfitError(
                f"the mapping speaks of '{lead}', which it lacks.{did_you_mean(lead, theirs)}"
            )
        names |= {name: other + name.removeprefix(lead) for name in below}
    for name, count in Counter(names.values()).items():
        if name not in ours or count > 1:
            fault = "twice" if count > 1 else "which the generator lacks"
            raise _MisfitError(
                f"the mapping leads to '{name}', {fault}; the generator has {listing(ours)}"
            )
    return names


def _layers(shapes: Mapping[str, Shape]) -> list[_Layer]:
    forms: dict[str, list[tuple[str, Shape]]] = defaultdict(list)
    for name, shape in shapes.items():
        layer, _, last = name.rpartition(".")
        forms[layer].append((last, shape))
    return [_Layer(name, tuple(sorted(form))) for name, form in forms.items()]


def _by_shape(
    theirs: list[_Layer], ours: list[_Layer], ordered: bool
) -> tuple[dict[str, str], str]:
    """Match layers of the same form: by their order where it is known, else by their numbers."""
    for one, other in zip(theirs, ours, strict=False):
        if one.form != other.form:
            difference = f"it has {one} where the generator has {other}"
            break
    else:
        longer = theirs[len(ours) :] or ours[len(theirs) :]
        owner = "it has" if len(theirs) > len(ours) else "it lacks"
        difference = f"{owner} {longer[0]}" if longer else ""
    if Counter(layer.form for layer in theirs) != Counter(layer.form for layer in ours):
        raise _MisfitError(difference)
    same: dict[Any, list[str]] = defaultdict(list)
    for layer in theirs:
        same[layer.form].append(layer.name)
    names: dict[str, str] = {}
    for form, alike in same.items():
        targets = [layer.name for layer in ours if layer.form == form]
        if not ordered or difference:
            if len({re.sub("[0-9]+", "0", name) for name in alike}) > 1:
                return {}, (
                    f"nothing tells which of {_quoted(alike)} is which of {_quoted(targets)}, for "
                    f"their shapes are the same and their order is not that of the net. Say so in "
                    f"a file (--mapping FILE.yaml), a line for each: '{alike[0]}: {targets[0]}'."
                )
            alike = sorted(alike, key=statedicts.natural)
        for name, target in zip(alike, targets, strict=True):
            for last, _ in form:
                names[_joined(name, last)] = _joined(target, last)
    return names, ""


def _joined(layer: str, last: str) -> str:
    return f"{layer}.{last}" if layer else last


def _quoted(names: list[str]) -> str:
    shown = [f"'{name}'" for name in names]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if shown[1:] else shown[0]


def _read(mapping: str | Path | Mapping[str, str] | None) -> dict[str, str]:
    """The mapping of names, from its file if it is in one."""
    if mapping is None:
        return {}
    where = "The mapping"
    content: Any = mapping
    if not isinstance(mapping, Mapping):
        import yaml

        where = f"The mapping {mapping}"
        try:
            content = yaml.safe_load(expanded(mapping).read_text(encoding="utf-8"))  # JSON is YAML
        except OSError as error:
            raise ConfigError(f"{where} cannot be read ({error.strerror}).") from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{where} is not valid YAML ({error}).") from None
    if not isinstance(content, Mapping) or not all(
        isinstance(name, (str, int)) and isinstance(other, str) and other
        for name, other in content.items()
    ):
        raise ConfigError(
            f"{where} must give a name here for each name in the checkpoint, such as "
            f"'main.0: project.conv'."
        )
    return {str(name): other for name, other in content.items()}


# -- the numbers ----------------------------------------------------------------------------------


def _converted(path: Path, name: str, value: Tensor, dtype: Any) -> Tensor:
    """Return a tensor in the generator's type."""
    if value.is_complex() or value.is_floating_point() != dtype.is_floating_point:
        raise CheckpointError(
            f"'{name}' of {path} holds {value.dtype}, where the generator has {dtype}. Save "
            f"weights as real numbers."
        )
    result = value.detach().to(dtype)
    if not result.isfinite().all():
        raise CheckpointError(
            f"'{name}' of {path} has values that are not finite: that training diverged. Take an "
            f"earlier checkpoint of it."
        )
    return result


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
