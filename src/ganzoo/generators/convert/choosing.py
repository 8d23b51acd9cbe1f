"""Which state dict of a file is the generator: its siblings are refused, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ganzoo.errors import CheckpointError, ConfigError
from ganzoo.files import statedicts
from ganzoo.files.statedicts import StateDict
from ganzoo.generators.convert.fitting import Fit, Request
from ganzoo.generators.convert.matching import MisfitError, quoted_list

__all__ = ["best", "only"]

_REASONS = 3  # that a message gives at most
_NEAR = 0.5  # share of the layers that fit, from which a reason is the only one given

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

_Refused = tuple[StateDict, MisfitError]


def only(path: Path, request: Request, state: StateDict) -> Fit:
    """Return the fit of the state dict that the caller names.

    Raises:
        CheckpointError: If it does not fit.
    """
    try:
        return request.fit(state)
    except MisfitError as reason:
        raise CheckpointError(
            f"'{state.place}' of {path} is not a generator of '{request.cls.name}': {reason}."
        ) from None


def best(path: Path, request: Request, found: list[StateDict]) -> Fit:
    """Return the one state dict of a file that fits, or fits best.

    Raises:
        CheckpointError: If none does, or it is hardly the generator; the nearest comes first.
        ConfigError: If several do equally well.
    """
    refused: dict[str, _Refused] = {}
    fits = [fit for state in found for fit in _search(request, state, refused)]
    if not fits:
        raise CheckpointError(
            f"{path} holds no generator of '{request.cls.name}': {_reasons(refused.values())}."
        )
    highest = max(map(_rank, fits))
    top = [fit for fit in fits if _rank(fit) == highest]
    place = top[0].state.place
    statedicts.check_claims(top[0].state, path)
    if why := _hardly(request, top[0], refused):
        raise CheckpointError(
            f"{path} holds no generator of '{request.cls.name}': '{place}' would fit, but {why}. "
            f"If it is the generator all the same, say so with --key {place}."
        )
    if len(top) > 1:
        raise ConfigError(
            f"{path} holds {len(top)} state dicts that fit '{request.cls.name}' equally well: "
            f"{quoted_list(fit.state.place for fit in top)}. Name one with --key."
        )
    return top[0]


def _search(request: Request, state: StateDict, refused: dict[str, _Refused]) -> list[Fit]:
    """Try a state dict, and the parts of one that does not fit or may be two nets in a row."""
    try:
        whole = request.fit(state)
    except MisfitError as reason:
        refused[state.place] = state, reason
        return [fit for part in state.parts() for fit in _search(request, part, refused)]
    parts = state.parts()
    if whole.by_name or whole.sample.numel > 1 or len(parts) < 2:
        return [whole]
    inner = [fit for part in parts for fit in _search(request, part, refused)]
    return [replace(fit, uncertain=bool(inner)) for fit in (whole, *inner)]


def _rank(fit: Fit) -> tuple[bool, bool, bool]:
    """How well a state dict fits: one that ends in a single value is rather a discriminator."""
    certain = fit.sample.numel > 1 and not fit.uncertain
    return fit.by_name, certain, certain and not _oddity(fit)


def _oddity(fit: Fit) -> str:
    """Why it is hardly the generator, though it fits: a clause; empty if nothing tells so."""
    if _role(fit.state) < 0:
        return "its name is that of another net"
    widths = [(v.shape[1], v.shape[0]) for v in fit.expected.values() if v.dim() == 2]
    if any(value.dim() > 2 for value in fit.expected.values()) or fit.by_name:
        return ""
    first, last = fit.latent.numel, fit.sample.numel
    if len(widths) > 2 and {*map(len, map(set, widths))} == {1}:
        return f"its layers map {first} values to {last} all along, as a mapping network's do"
    if last < first and all(after <= before for before, after in widths):
        return (
            f"its layers narrow from {first} values to {last}, as those of a discriminator, an "
            f"encoder or a classifier do"
        )
    return ""


def _hardly(request: Request, fit: Fit, refused: Mapping[str, _Refused]) -> str:
    """Why the best fit is hardly the generator of a file: a clause; empty if it may well be."""
    role = _role(fit.state)
    for state, reason in refused.values():
        outer = _holds(state, fit.state)
        rest = _other_weights(state, fit.state) if outer else []
        if _role(state) > 0 and not outer and role <= 0:
            return f"'{state.place}' is called a generator, and does not fit: {reason}"
        if _role(state) > 0 and rest:
            return (
                f"it is a part of '{state.place}', which is called a generator and does not fit "
                f"as a whole: {reason}"
            )
    for state, reason in refused.values():
        if role <= 0 and _holds(state, fit.state):
            rest = [name for name in _other_weights(state, fit.state) if _role_of(name) >= 0]
            if rest:
                return (
                    f"it is a part of '{state.place}', which also has '{rest[0]}' and does not "
                    f"fit as a whole: {reason}"
                )
    return "" if request.describes_samples else _oddity(fit)


def _reasons(refused: Iterable[_Refused]) -> str:
    """Reasons in words, of what is nearest to a generator first."""
    ranked = sorted(refused, key=lambda item: (_role(item[0]), item[1].nearness), reverse=True)
    if len(ranked) == 1:
        return str(ranked[0][1])
    if ranked[0][1].nearness > _NEAR:  # others are farther, and would only distract
        return f"'{ranked[0][0].place}': {ranked[0][1]}"
    ranked = [item for item in ranked if not any(_explains(other, item) for other in ranked)]
    if len(ranked) == 1 and not ranked[0][0].key:
        return str(ranked[0][1])
    shown = [f"'{state.place}': {reason}" for state, reason in ranked[:_REASONS]]
    more = f"; and {len(ranked) - _REASONS} more" if len(ranked) > _REASONS else ""
    return f"{'; '.join(shown)}{more}"


def _explains(outer: _Refused, inner: _Refused) -> bool:
    """Whether a net's reason makes that of its part superfluous: the part is not meant."""
    (whole, reason), (part, other) = outer, inner
    near = (_role(whole), reason.nearness) >= (_role(part), other.nearness)
    above = not whole.key or part.key.startswith(f"{whole.key}.")
    return whole.key != part.key and above and near and _holds(whole, part)


def _holds(outer: StateDict, inner: StateDict) -> bool:
    """Whether a state dict is a part of another one."""
    lead = f"{outer.key}." if outer.key else ""
    pieces = {id(value) for value in outer.tensors.values()}
    return inner.key.startswith(lead) and all(id(v) in pieces for v in inner.tensors.values())


def _other_weights(outer: StateDict, inner: StateDict) -> list[str]:
    """Names of the weights of layers that ``outer`` has and its part has not."""
    own = {id(value) for value in inner.tensors.values()}
    return [n for n, value in outer.tensors.items() if id(value) not in own and value.dim() > 1]


def _role(state: StateDict) -> int:
    """1 if a state dict is called as generators are, -1 if as other nets are, else 0."""
    return _role_of(".".join([state.key, *_common_parts(list(state.tensors))]))


def _role_of(name: str) -> int:
    """As ``_role``, of a name in dots: its last part that tells counts."""
    for part in reversed(name.split(".")):
        words = {word.lower() for word in _WORD.findall(part)} | {part.lower()}
        if words & _OTHERS:
            return -1
        if words & _GENERATORS:
            return 1
    return 0


def _common_parts(names: Sequence[str]) -> list[str]:
    """The parts that all names begin with."""
    split = [name.split(".")[:-1] for name in names]
    common: list[str] = []
    for parts in zip(*split, strict=False):
        if len({*parts}) > 1:
            break
        common.append(parts[0])
    return common
