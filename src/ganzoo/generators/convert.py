"""Bring your own weights: a state dict that another program trained becomes a bundle."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ganzoo import architectures
from ganzoo.architectures.base import Architecture, Inferred
from ganzoo.core import probe
from ganzoo.core.component import RESERVED
from ganzoo.core.spec import Kind, LatentSpec, SampleSpec
from ganzoo.errors import (
    BundleError,
    CheckpointError,
    ConfigError,
    DataError,
    GanzooError,
    did_you_mean,
    listing,
)
from ganzoo.files import statedicts
from ganzoo.files.statedicts import StateDict, joined
from ganzoo.files.storage import expanded, sha256
from ganzoo.generators import bundle

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Conversion", "Pair", "convert"]

_COUNTER = "num_batches_tracked"  # of batch norm; torch before 0.4.1 had none, and none is needed
_SMALLEST_IMAGE = 8  # side from which a flat row of values is taken for an image
_REASONS = 3  # that a message gives at most
_SAME = 1e-3  # by which samples may differ from those expected, for values from -1 to 1
_ROUNDING = 1e-5  # by which they may without a word
_TRIES = 800  # settings that are tried for other samples
_NEAR = 0.5  # share of the layers that fit, from which a reason is the only one told
_CHANNELS = 4  # that pictures usually have at most
_LINES = 8  # of a mapping that a message shows
_REPARAMETRISED = re.compile(r"weight_(orig|u|v|g)$|(^|\.)parametrizations\.")
_TENSORS = frozenset({"weight", "bias", "running_mean", "running_var", _COUNTER})  # torch's names
_AT_ONCE = 32  # samples that are made for a check

# Words of names that tell what a net is for, as people call nets.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_GENERATORS = frozenset({"g", "gen", "generator", "netg", "ge", "gema", "decoder", "synthesis"})
_OTHERS = frozenset(
    {
        *("d", "dis", "disc", "discriminator", "netd", "critic", "classifier", "cls", "head"),
        *("e", "enc", "encoder", "nete", "q", "qnet", "features", "extractor"),
        *("s", "se", "style", "styles", "mapping", "mapper", "vgg", "lpips", "inception"),
    }
)

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
        difference: By how much samples differ at most from those of the check, if there was one.
    """

    folder: Path
    config: bundle.BundleConfig
    key: str
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    difference: float | None = None


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
    check: tuple[Any, Any] | None = None,
) -> Conversion:
    """Make a bundle of a generator's weights that another program saved with PyTorch.

    The architecture's options, the size and channels of a sample and the latent follow from the
    weights' shapes; what is given here wins. Names are matched as they are if they agree, else by
    order and shape. Nothing in the file is run. What weights do not tell, such as activations, is
    assumed and stands in the notes; a ``check`` verifies it.

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
        check: A latent and the picture that the other program's net makes of it in evaluation
            mode, or a batch of each: ``.npy`` files, arrays or tensors. (D,), (N, D) or (N, D, 1,
            1), and (C, H, W) or (N, C, H, W), channels first or last. Where samples differ by more
            than 0.001 (for values from -1 to 1), nothing is written.

    Raises:
        CheckpointError: If the file cannot be read safely, holds no such generator, or the check
            fails; with the options that make it succeed, if usual ones do.
        ConfigError: If more must be said: which net of several, or which name is which.
        DataError: If latent or picture of the check cannot be read.
        BundleError: If the bundle cannot be written there.
        UnknownNameError: If there is no such architecture.
    """
    path, target = expanded(checkpoint), expanded(folder)
    if not bundle.replaceable(target):
        raise BundleError(
            f"{target} holds something that is not a bundle, which converting would replace. "
            f"Choose another folder."
        )
    wish = _Wish.of(arch, mapping, kind, size, channels, latent, value_range)
    expected = None if check is None else probe.read(check)
    found = statedicts.read(path)
    state = None if key is None else statedicts.select(found, key, path)
    fit = _best(path, wish, found) if state is None else _only(path, wish, state)
    if fit.doubt:
        raise ConfigError(f"{path}: {fit.doubt}")
    statedicts.check_claims(fit.state, path)
    weights, types = _weights(path, fit)
    difference, told = None, ""
    if expected:
        difference, told = _checked(path, wish, fit, weights, *expected)
    source = {"file": _printable(path.name), "sha256": sha256(path), "key": fit.state.place}
    config = bundle.BundleConfig(
        architecture=fit.arch,
        sample=fit.sample,
        latent=fit.latent,
        training={"converted_from": source},
    )
    bundle.write(target, config, weights)
    notes = [*fit.notes, *([told] if told else [])]
    if types:
        notes.append(f"{listing(sorted(types))} weights were converted to float32.")
    if len(weights) > len(fit.names):
        notes.append("The file lacks batch norm's counters of batches, which start at 0.")
    pairs = tuple(
        Pair(theirs, fit.names[theirs], tuple(value.shape))
        for theirs, value in fit.state.tensors.items()
    )
    return Conversion(target, config, fit.state.place, pairs, tuple(notes), difference)


class _MisfitError(Exception):
    """Why a state dict is not what is looked for: a clause that begins with its subject.

    Args:
        reason: The clause.
        nearness: Share of the layers that do fit.
    """

    def __init__(self, reason: object, nearness: float = 0.0) -> None:
        super().__init__(reason)
        self.nearness = nearness


@dataclass(frozen=True)
class _Fit:
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
        doubt: Why the names cannot be told; empty if they can.
        uncertain: Whether a part of it, or what it is a part of, fits as well.
    """

    state: StateDict
    reading: statedicts.Reading
    arch: Architecture
    sample: SampleSpec
    latent: LatentSpec
    expected: dict[str, Tensor]
    names: dict[str, str]
    notes: tuple[str, ...]
    doubt: str
    not_inferable: tuple[str, ...] = ()
    elsewhere: tuple[tuple[Mapping[str, Any], ...], ...] = ()
    uncertain: bool = False

    @property
    def by_name(self) -> bool:
        return not self.doubt and all(theirs == ours for theirs, ours in self.names.items())

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """How well it fits: what ends in a single value is more likely a discriminator."""
        certain = self.sample.numel > 1 and not self.uncertain
        return self.by_name, certain, certain and not self.odd

    @property
    def odd(self) -> str:
        """Why it is hardly the generator, though it fits: a clause; empty if nothing tells so."""
        if _meant(self.state) < 0:
            return "it is called as what is no generator"
        widths = [(v.shape[1], v.shape[0]) for v in self.expected.values() if v.dim() == 2]
        if any(value.dim() > 2 for value in self.expected.values()) or self.by_name:
            return ""
        first, last = self.latent.numel, self.sample.numel
        if len(widths) > 2 and {*map(len, map(set, widths))} == {1}:
            return f"its layers map {first} values to {last} all along, as a mapping network's do"
        if last < first and all(after <= before for before, after in widths):
            return (
                f"its layers narrow from {first} values to {last}, as those of a discriminator, an "
                f"encoder or a classifier do"
            )
        return ""


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
    likely: bool = True

    @property
    def tells(self) -> bool:
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
        try:
            reading = statedicts.reading(state)
        except GanzooError as error:
            raise _MisfitError(error) from error
        tensors = reading.state.tensors
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        if empty := [name for name, shape in shapes.items() if 0 in shape]:
            raise _MisfitError(f"'{reading.names[empty[0]]}' has no values")
        if wrapped := [name for name in shapes if _REPARAMETRISED.search(name)]:
            raise _MisfitError(
                f"'{wrapped[0]}' is of a spectral or weight norm: take it off each layer, with "
                f"torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') or "
                f"remove_spectral_norm(layer), and save again"
            )
        try:
            inferred = self._inferred(shapes)
            sample = self._sample(shapes, inferred)
            latent = LatentSpec.model_validate(self._latent(inferred))
            arch = self.cls(**{**(inferred.options if inferred else {}), **self.options})
            net = bundle.build_on_meta(lambda: arch.generator(sample, latent))
        except GanzooError as error:
            raise _MisfitError(f"{error}".rstrip(".")) from error
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise _MisfitError(f"no such net can be built ({error})") from error
        if reading.turned:
            _check_order_of_axes(shapes, sample)
        expected = dict(net.state_dict())
        here = {theirs: name for name, theirs in reading.names.items()}
        names, doubt = _match(
            shapes,
            {n: tuple(v.shape) for n, v in expected.items()},
            state.ordered,
            _translated(self.mapping, here),
            reading.names,
        )
        notes = tuple(self._assumed(inferred, arch, sample))
        notes += (reading.note,) if reading.note else ()
        return _Fit(
            state,
            reading,
            arch,
            sample,
            latent,
            expected,
            {reading.names[name]: ours for name, ours in names.items()},
            notes,
            doubt,
            inferred.not_inferable if inferred else (),
            inferred.elsewhere if inferred else (),
        )

    def _inferred(self, shapes: Mapping[str, Shape]) -> Inferred | None:
        """What the architecture infers; a plug-in may override only the simpler way."""
        for cls in self.cls.__mro__:
            if "infer_given" in vars(cls):
                break
            if "infer" in vars(cls):
                return self.cls.infer(shapes)
        return self.cls.infer_given(shapes, self.options, self.size, likely=self.likely)

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
        odd = len(shape) == 3 and shape[0] > _CHANNELS and not self.channels
        if inferred and math.prod(shape) != inferred.values and odd:
            raise _MisfitError(
                f"these shapes are those of no generator of '{self.cls.name}' (its last layer "
                f"would make {shape[0]} channels); if it is one, give --size and --channels"
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
        for option in inferred.not_inferable if inferred else ():
            if option not in self.options:
                taken = inferred.taken.get(option, getattr(arch, option)) if inferred else ""
                about = type(arch).model_fields[option].description or ""
                notes.append(
                    f"Weights do not tell '{option}', taken as {_worded(taken)} ({_flag(option)}): "
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
    reasons: dict[str, tuple[StateDict, _MisfitError]] = {}
    fits = [fit for state in found for fit in _search(wish, state, reasons)]
    if not fits:
        raise CheckpointError(
            f"{path} holds no generator of '{wish.cls.name}': {_told(reasons.values())}."
        )
    highest = max(fit.rank for fit in fits)
    best = [fit for fit in fits if fit.rank == highest]
    statedicts.check_claims(best[0].state, path)
    if why := _hardly(wish, best[0], found, reasons):
        place = best[0].state.place
        raise CheckpointError(
            f"{path} holds no generator of '{wish.cls.name}': '{place}' would fit, but {why}. If "
            f"it is the generator all the same, say so with --key {place}."
        )
    if len(best) > 1:
        places = [fit.state.place for fit in best]
        raise ConfigError(
            f"{path} holds {len(best)} state dicts that fit '{wish.cls.name}' equally well: "
            f"{_quoted(places)}. Name one with --key."
        )
    return best[0]


def _told(refused: Iterable[tuple[StateDict, _MisfitError]]) -> str:
    """Reasons in words, of what is nearest to a generator first."""
    ranked = sorted(refused, key=lambda item: (_meant(item[0]), item[1].nearness), reverse=True)
    if len(ranked) == 1:
        return str(ranked[0][1])
    if ranked[0][1].nearness > _NEAR:  # others are farther, and would only distract
        return f"'{ranked[0][0].place}': {ranked[0][1]}"
    ranked = [item for item in ranked if not any(_tells_more(other, item) for other in ranked)]
    if len(ranked) == 1 and not ranked[0][0].key:
        return str(ranked[0][1])
    shown = [f"'{state.place}': {reason}" for state, reason in ranked[:_REASONS]]
    more = f"; and {len(ranked) - _REASONS} more" if len(ranked) > _REASONS else ""
    return f"{'; '.join(shown)}{more}"


def _tells_more(
    outer: tuple[StateDict, _MisfitError], inner: tuple[StateDict, _MisfitError]
) -> bool:
    """Whether a net's reason makes that of its part a guess at what nobody means."""
    (whole, reason), (part, other) = outer, inner
    near = (_meant(whole), reason.nearness) >= (_meant(part), other.nearness)
    above = not whole.key or part.key.startswith(f"{whole.key}.")
    return whole.key != part.key and above and near and _holds(whole, part)


def _hardly(
    wish: _Wish,
    fit: _Fit,
    found: Sequence[StateDict],
    reasons: Mapping[str, tuple[StateDict, _MisfitError]],
) -> str:
    """Why what fits is hardly the generator of a file: a clause; empty if it may well be."""
    meant = _meant(fit.state)
    inside = [item for item in reasons.values() if _holds(item[0], fit.state)]
    for state, reason in reasons.values():
        if _meant(state) <= 0:
            continue
        if not _holds(state, fit.state):
            if meant <= 0:
                return f"'{state.place}' is called a generator, and does not fit: {reason}"
        elif _beside(state, fit.state):
            return (
                f"it is a part of '{state.place}', which is called a generator and does not fit "
                f"as a whole: {reason}"
            )
    if meant <= 0:
        for state, reason in inside:
            unknown = [name for name in _beside(state, fit.state) if _meant_by(name) >= 0]
            if unknown:
                return (
                    f"it is a part of '{state.place}', which also has '{unknown[0]}' and does not "
                    f"fit as a whole: {reason}"
                )
    if fit.odd and not wish.tells:
        return fit.odd
    return ""


def _holds(outer: StateDict, inner: StateDict) -> bool:
    """Whether a state dict is a part of another one."""
    lead = f"{outer.key}." if outer.key else ""
    pieces = {id(value) for value in outer.tensors.values()}
    return inner.key.startswith(lead) and all(id(v) in pieces for v in inner.tensors.values())


def _beside(outer: StateDict, inner: StateDict) -> list[str]:
    """Names of the weights of layers that ``outer`` has and its part has not."""
    own = {id(value) for value in inner.tensors.values()}
    return [n for n, value in outer.tensors.items() if id(value) not in own and value.dim() > 1]


def _meant(state: StateDict) -> int:
    """1 if a state dict is called as generators are, -1 if as other nets are, else 0."""
    return _meant_by(".".join([state.key, *_shared(list(state.tensors))]))


def _meant_by(name: str) -> int:
    """As ``_meant``, of a name in dots: its last part that tells counts."""
    for part in reversed(name.split(".")):
        words = {word.lower() for word in _WORD.findall(part)} | {part.lower()}
        if words & _OTHERS:
            return -1
        if words & _GENERATORS:
            return 1
    return 0


def _shared(names: Sequence[str]) -> list[str]:
    """The parts that all names begin with."""
    split = [name.split(".")[:-1] for name in names]
    count = 0
    while len({tuple(parts[: count + 1]) for parts in split}) == 1 and count < len(split[0]):
        count += 1
    return split[0][:count] if split else []


def _search(
    wish: _Wish, state: StateDict, reasons: dict[str, tuple[StateDict, _MisfitError]]
) -> list[_Fit]:
    """Try a state dict, and the parts of what does not fit or may be two nets in a row."""
    try:
        whole = wish.fit(state)
    except _MisfitError as reason:
        reasons[state.place] = state, reason
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
    called: Mapping[str, str],
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
        more, doubt = _by_shape(_layers(left), _layers(open_), ordered, called)
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
            hint = did_you_mean(lead, theirs).replace(" Did", " (did").replace("?", "?)")
            raise _MisfitError(f"the mapping speaks of '{lead}', which it lacks{hint}")
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
    theirs: list[_Layer], ours: list[_Layer], ordered: bool, called: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """Match layers of the same form: by their order where it is known, else by their numbers."""
    has, needs = Counter(layer.form for layer in theirs), Counter(layer.form for layer in ours)
    if has != needs:
        if doubt := _renamed(theirs, ours, called):
            return {}, doubt
        nearness = sum((has & needs).values()) / max(len(theirs), len(ours))
        raise _MisfitError(_difference(theirs, ours) + _naming(theirs), nearness)
    difference = any(one.form != other.form for one, other in zip(theirs, ours, strict=True))
    same: dict[Any, list[str]] = defaultdict(list)
    for layer in theirs:
        same[layer.form].append(layer.name)
    names: dict[str, str] = {}
    for form, alike in same.items():
        targets = [layer.name for layer in ours if layer.form == form]
        if not ordered or difference:
            if len({re.sub("[0-9]+", "0", name) for name in alike}) > 1:
                told = [called.get(n := joined(name, form[0][0]), n) for name in alike]
                lines = [name.rpartition(".")[0] or name for name in told]
                return {}, (
                    f"nothing tells which of {_quoted(alike)} is which of {_quoted(targets)}, for "
                    f"their shapes are the same and their order is not that of the net. Say so in "
                    f"a file (--mapping FILE.yaml), a line for each: '{lines[0]}: {targets[0]}'."
                )
            alike = sorted(alike, key=statedicts.natural)
        for name, target in zip(alike, targets, strict=True):
            for last, _ in form:
                names[joined(name, last)] = joined(target, last)
    return names, ""


def _difference(theirs: Sequence[_Layer], ours: Sequence[_Layer]) -> str:
    """In words, the layers in which two nets differ: those that are most alike."""
    extra, missing = _without(theirs, ours), _without(ours, theirs)
    if not extra:
        return f"it lacks {missing[0]}"
    if not missing:
        return f"it has {extra[0]}, which the generator has not"
    one, other = max(product(extra, missing), key=lambda pair: _likeness(*pair))
    return f"it has {one} where the generator has {other}"


def _naming(layers: Sequence[_Layer]) -> str:
    """The way on where names are not torch's, which may be all that differs."""
    lasts = {last for layer in layers for last, _ in layer.form}
    if lasts <= _TENSORS:
        return ""
    return "; where names alone differ, say which is which with --mapping FILE.yaml"


def _without(layers: Sequence[_Layer], others: Sequence[_Layer]) -> list[_Layer]:
    """Layers for which the others have none of the same form."""
    left = Counter(layer.form for layer in others)
    found = []
    for layer in layers:
        left[layer.form] -= 1
        if left[layer.form] < 0:
            found.append(layer)
    return found


def _likeness(one: _Layer, other: _Layer) -> int:
    """How many facts of two layers agree: tensors, their number of axes, and the axes."""
    mine, yours = dict(one.form), dict(other.form)
    both = [(mine[last], yours[last]) for last in mine.keys() & yours.keys()]
    axes = [sum(a == b for a, b in zip(*pair, strict=False)) for pair in both]
    return sum(axes) + sum(2 * (len(a) == len(b)) for a, b in both)


def _renamed(theirs: Sequence[_Layer], ours: Sequence[_Layer], called: Mapping[str, str]) -> str:
    """Why names alone keep two nets apart, and the lines that say which is which; else empty."""
    tensors = [
        [(joined(layer.name, last), shape) for layer in layers for last, shape in layer.form]
        for layers in (theirs, ours)
    ]
    if Counter(shape for _, shape in tensors[0]) != Counter(shape for _, shape in tensors[1]):
        return ""
    waiting = list(tensors[1])
    lines = []
    for name, shape in tensors[0]:
        at = next(i for i, (_, other) in enumerate(waiting) if other == shape)
        lines.append(f"'{called.get(name, name)}: {waiting.pop(at)[0]}'")
    more = ", ..." if len(lines) > _LINES else ""
    return (
        f"its tensors have the shapes of the generator's, but other names. Say which is which in "
        f"a file (--mapping FILE.yaml), a line for each, such as {', '.join(lines[:_LINES])}{more}."
    )


def _translated(mapping: Mapping[str, str], here: Mapping[str, str]) -> dict[str, str]:
    """A mapping of the file's names as one of those with torch's."""
    layers = {name.rpartition("/")[0]: ours.rpartition(".")[0] for name, ours in here.items()}
    return {here.get(n, layers.get(n, n)): other for n, other in mapping.items()}


def _check_order_of_axes(shapes: Mapping[str, Shape], sample: SampleSpec) -> None:
    """Refuse dense layers of Keras that make maps, whose values lie in another order there."""
    dense = any(len(shape) == 2 for shape in shapes.values())
    maps = any(len(shape) == 4 for shape in shapes.values())
    if dense and (maps or (sample.kind == "image" and sample.channels > 1)):
        raise _MisfitError(
            "its dense layer makes maps as (height, width, channels), as Keras has them: bring its "
            "values into the order (channels, height, width), and save it with torch's names and "
            "axes"
        )


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
            # JSON is YAML. Names stay texts, also those that look like numbers: '0.1'.
            content = yaml.load(
                expanded(mapping).read_text(encoding="utf-8"), Loader=yaml.BaseLoader
            )
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


# -- the check ------------------------------------------------------------------------------------


def _checked(
    path: Path,
    wish: _Wish,
    fit: _Fit,
    weights: Mapping[str, Tensor],
    latent: Tensor,
    picture: Tensor,
) -> tuple[float, str]:
    """Return by how much samples differ from those expected, and what is to be said of it.

    Raises:
        CheckpointError: If by more than rounding, or they have another shape.
        DataError: If latent or picture are none of this generator.
    """
    z = probe.latents(latent, fit.latent)
    try:
        wanted = probe.samples(picture, len(z), fit.sample)
    except probe.MisshapenError as error:
        fault = f"the generator makes a {fit.sample}, the picture given is of shape {error.shape}"
        if 1 < len(z) != len(picture):
            raise DataError(
                f"The check has {len(z)} latents and {len(picture)} pictures: give one picture for "
                f"each latent."
            ) from None
    else:
        difference = _apart(fit.arch, fit.sample, fit.latent, weights, z, wanted)
        allowed = _SAME * _scale(wanted)
        if difference <= _ROUNDING * _scale(wanted):
            return difference, f"Samples differ from the picture given by {difference:.2g} at most."
        fault = f"samples differ from the picture given by up to {difference:.2g}"
        if difference <= allowed:
            other = _setting(wish, fit, weights, z, picture, below=difference / 4)
            advice = f", by {other.difference:.2g} with {other}" if other else ""
            return difference, f"Other than by rounding, {fault}{advice}."
        if made := _rescaled(fit, weights, z, wanted):
            raise CheckpointError(
                f"{path}: {fault}, which is {made}: give the picture as the net itself makes it."
            )
    if other := _setting(wish, fit, weights, z, picture):
        raise CheckpointError(
            f"{path}: {fault}. They differ by {other.difference:.2g} with {other}: say so."
        )
    options = [option for option in fit.not_inferable if option not in wish.options]
    told = [f"{option} ({_flag(option)})" for option in options or fit.not_inferable]
    raise CheckpointError(
        f"{path}: {fault}, and no usual setting makes it. Weights do not tell "
        f"{listing([*told, 'what the net ends in (--value-range, --unbounded)'])}: say what that "
        f"net has, and make sure that the picture is of this latent, in evaluation mode."
    )


@dataclass(frozen=True)
class _Setting:
    """What the caller would have to say, and the difference that is left then."""

    options: dict[str, Any]
    about: dict[str, Any]
    name: str
    difference: float

    def __str__(self) -> str:
        flags = [
            _flag(option, value is False) + _argument(value)
            for option, value in self.options.items()
        ]
        for name, value in self.about.items():
            flags.append(
                "--unbounded" if value == "unbounded" else _flag(name, lead="") + _argument(value)
            )
        arch = {"name": self.name, **self.options}
        python = [f"arch={arch}"] if self.options else []
        python += [f"{name}={value!r}" for name, value in self.about.items()]
        return f"{' '.join(flags)} (in Python, {', '.join(python)})"


def _setting(
    wish: _Wish,
    fit: _Fit,
    weights: Mapping[str, Tensor],
    z: Tensor,
    picture: Tensor,
    below: float | None = None,
) -> _Setting | None:
    """Return the setting, of those that other programs have, that makes the picture best.

    Args:
        wish: What the caller says.
        fit: What has become of it.
        weights: Of the generator.
        z: (N, *shape) latents.
        picture: What is made of them.
        below: The difference that it has to be smaller than, if not the one that is allowed.
    """
    start, tried = fit, wish
    shape = probe.image(picture, len(z)) or fit.sample.shape
    if len(shape) == 3 and shape != fit.sample.shape:
        tried = replace(wish, size=(shape[1], shape[2]), channels=shape[0], likely=False)
        try:
            start = tried.fit(fit.state)
        except _MisfitError:
            return None
    best: tuple[float, dict[str, Any], SampleSpec] | None = None
    first = slice(0, 1) if len(z) == len(picture) or len(z) > 1 else slice(None)
    for changes in _settings(start):
        try:
            arch = tried.cls(**{**_options(start.arch), **changes})
            sample = start.sample
            wanted = probe.samples(picture, len(z), sample)
            raw = _made(arch, _linear(sample), fit.latent, weights, z[first])
        except (GanzooError, probe.MisshapenError, RuntimeError, ValueError):
            continue
        for ends in _ranges(wish, sample):
            apart = _largest(_ended(raw, ends) - wanted[first])
            if best is None or apart < best[0] / 2:
                best = apart, changes, ends
        if best and best[0] <= _ROUNDING:
            break
    if best is None:
        return None
    _, changes, ends = best
    arch = tried.cls(**{**_options(start.arch), **changes})
    wanted = probe.samples(picture, len(z), ends)
    limit = _SAME * _scale(wanted) if below is None else below
    try:
        difference = _apart(arch, ends, fit.latent, weights, z, wanted)
    except GanzooError:
        return None
    if difference > limit:
        return None
    now = _options(fit.arch)
    options = {
        name: value
        for name, value in _options(arch).items()
        if value != now[name] and value is not None
    }
    about: dict[str, Any] = {}
    if ends.value_range != fit.sample.value_range:
        about["value_range"] = "unbounded" if ends.value_range is None else ends.value_range
    said = replace(wish, options={**wish.options, **options})
    try:
        same = said.fit(fit.state).sample.shape == ends.shape
    except _MisfitError:
        same = False
    if not same:
        about |= {"size": ends.shape[1:], "channels": ends.shape[0]}
    return _Setting(options, about, fit.arch.name, difference) if options or about else None


def _settings(fit: _Fit) -> Iterator[dict[str, Any]]:
    """Settings that other programs have, those that differ least from what was taken first."""
    axes = [[answer for answer in axis if _is_another(fit, answer)] for axis in fit.elsewhere]
    tries = 0
    for count in range(len(axes) + 1):
        for chosen in combinations(axes, count):
            for answers in product(*chosen):
                if tries == _TRIES:
                    return
                tries += 1
                yield {name: value for answer in answers for name, value in answer.items()}


def _is_another(fit: _Fit, answer: Mapping[str, Any]) -> bool:
    """Whether options make another net of samples of the same shape."""
    now = _options(fit.arch)
    if all(now[name] == value for name, value in answer.items()):
        return False
    try:
        type(fit.arch)(**{**now, **answer}).check(fit.sample)
    except GanzooError:
        return False
    return True


def _options(arch: Architecture) -> dict[str, Any]:
    return {name: getattr(arch, name) for name in type(arch).model_fields}


def _ranges(wish: _Wish, sample: SampleSpec) -> list[SampleSpec]:
    """The sample with each range that decides what a net ends in, what was taken first."""
    ranges = dict.fromkeys([sample.value_range, (-1.0, 1.0), (0.0, 1.0), None])
    return [sample.model_copy(update={"value_range": ends}) for ends in ranges]


def _linear(sample: SampleSpec) -> SampleSpec:
    return sample.model_copy(update={"value_range": None})


def _ended(raw: Tensor, sample: SampleSpec) -> Tensor:
    """What a net without its last activation makes, with that of a range of values."""
    from ganzoo.architectures.layers import output_activation

    ended: Tensor = output_activation(sample)(raw)
    return ended


def _rescaled(fit: _Fit, weights: Mapping[str, Tensor], z: Tensor, wanted: Tensor) -> str:
    """In words, what was done to samples to make the picture; empty if it is not that."""
    made = _made(fit.arch, fit.sample, fit.latent, weights, z)
    ways = {
        "that of the generator brought from -1..1 to 0..1": (made + 1) / 2,
        "that of the generator brought from -1..1 to 0..255": (made + 1) * 127.5,
        "that of the generator brought from 0..1 to 0..255": made * 255,
        "that of the generator brought from 0..1 to -1..1": made * 2 - 1,
    }
    for words, way in ways.items():
        if _largest(way - wanted) <= _SAME * _scale(wanted):
            return words
    return ""


def _apart(
    arch: Architecture,
    sample: SampleSpec,
    latent: LatentSpec,
    weights: Mapping[str, Tensor],
    z: Tensor,
    wanted: Tensor,
) -> float:
    return _largest(_made(arch, sample, latent, weights, z) - wanted)


def _made(
    arch: Architecture,
    sample: SampleSpec,
    latent: LatentSpec,
    weights: Mapping[str, Tensor],
    z: Tensor,
) -> Tensor:
    """What a generator with these weights makes of latents, in evaluation mode."""
    import torch

    if arch.provider:  # a plug-in's net may hold more than its state dict says
        with torch.random.fork_rng(devices=[]):
            net = arch.generator(sample, latent)
    else:
        net = bundle.build_on_meta(lambda: arch.generator(sample, latent))
    net.load_state_dict(dict(weights), assign=True)
    net.eval()
    with torch.no_grad():
        parts = [net(part) for part in torch.split(z, _AT_ONCE)]
    return torch.cat(parts).float()


def _largest(difference: Tensor) -> float:
    value = difference.abs().max().item()
    return value if math.isfinite(value) else math.inf


def _scale(wanted: Tensor) -> float:
    """What differences are measured by: 1, or the largest value where there are larger ones."""
    return max(1.0, _largest(wanted))


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _argument(value: Any) -> str:
    """What follows the flag of an option."""
    return "" if isinstance(value, bool) else f" {_worded(value)}"


def _flag(option: str, negated: bool = False, lead: str = "arch.") -> str:
    return f"--{lead}{'no-' * negated}{option.replace('_', '-')}"


# -- the numbers ----------------------------------------------------------------------------------


def _weights(path: Path, fit: _Fit) -> tuple[dict[str, Tensor], set[str]]:
    """Return the generator's weights, and the types that they had where these were others."""
    import torch

    weights: dict[str, Tensor] = {}
    types: set[str] = set()
    here = {theirs: name for name, theirs in fit.reading.names.items()}
    names = {ours: theirs for theirs, ours in fit.names.items()}
    for ours, like in fit.expected.items():
        if ours not in names:
            weights[ours] = torch.zeros(like.shape, dtype=like.dtype)
            continue
        value = fit.reading.state.tensors[here[names[ours]]]
        weights[ours] = _converted(path, names[ours], value, like.dtype)
        if weights[ours].dtype != value.dtype:
            types.add(str(value.dtype).removeprefix("torch."))
    return weights, types


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
