"""Which tensor of a file is which of a generator: by name, by a mapping, by order and shape."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from ganzoo.errors import did_you_mean, listing
from ganzoo.files.statedicts import joined, natural

__all__ = ["COUNTER", "MisfitError", "Shape", "match", "quoted_list"]

Shape = tuple[int, ...]

COUNTER = "num_batches_tracked"
"""Of batch norm; torch before 0.4.1 had none, and none is needed."""
_TENSORS = frozenset({"weight", "bias", "running_mean", "running_var", COUNTER})  # torch's names
_LINES = 8  # of a mapping that a message shows


class MisfitError(Exception):
    """Why a state dict is not the one that is looked for: a clause that begins with its subject.

    Args:
        reason: The clause.
        nearness: Share of the layers that do fit.
    """

    def __init__(self, reason: object, nearness: float = 0.0) -> None:
        super().__init__(reason)
        self.nearness = nearness


class _Layer(NamedTuple):
    """Tensors that belong to one layer: their names differ in the last part alone."""

    name: str
    form: tuple[tuple[str, Shape], ...]

    def __str__(self) -> str:
        parts = [f"{last} {shape}" for last, shape in self.form]
        return f"'{self.name}' with {listing(parts)}"


def match(
    theirs: Mapping[str, Shape],
    ours: Mapping[str, Shape],
    *,
    ordered: bool,
    mapping: Mapping[str, str],
    in_file: Mapping[str, str],
) -> tuple[dict[str, str], str]:
    """Return names here by names there, and why they are ambiguous, if so.

    Args:
        theirs: Shapes of the state dict, by torch's names.
        ours: Shapes of the generator's.
        ordered: Whether theirs are in the order of their net.
        mapping: The caller's names in the file to names here, of tensors or layers.
        in_file: Names in the file by torch's names.

    Raises:
        MisfitError: If the two cannot be the same net.
    """
    if not any(name.endswith(COUNTER) for name in theirs):
        ours = {name: shape for name, shape in ours.items() if not name.endswith(COUNTER)}
    here = {name: torchs for torchs, name in in_file.items()}
    layers = {name.rpartition("/")[0]: torchs.rpartition(".")[0] for name, torchs in here.items()}
    translated = {here.get(n, layers.get(n, n)): other for n, other in mapping.items()}
    names = _mapped(theirs, ours, translated)
    _check_shapes(names, theirs, ours)
    left = {name: shape for name, shape in theirs.items() if name not in names}
    open_ = {name: shape for name, shape in ours.items() if name not in {*names.values()}}
    if left.keys() == open_.keys():
        names |= {name: name for name in left}
        doubt = ""
    else:
        more, doubt = _by_shape(_layers(left), _layers(open_), ordered, in_file)
        names |= more
    _check_shapes(names, theirs, ours)
    return names, doubt


def _check_shapes(
    names: Mapping[str, str], theirs: Mapping[str, Shape], ours: Mapping[str, Shape]
) -> None:
    for name, other in names.items():
        if theirs[name] != ours[other]:
            raise MisfitError(
                f"'{name}' is {theirs[name]}, but the generator's '{other}' is {ours[other]}"
            )


def _mapped(
    theirs: Mapping[str, Shape], ours: Mapping[str, Shape], mapping: Mapping[str, str]
) -> dict[str, str]:
    """The names that the caller's mapping gives: of tensors, or of layers with all of theirs."""
    names: dict[str, str] = {}
    for lead, other in sorted(mapping.items(), key=lambda item: len(item[0])):  # the nearest wins
        below = [n for n in theirs if n == lead or n.startswith(f"{lead}.")]
        if not below:
            hint = did_you_mean(lead, theirs).replace(" Did", " (did").replace("?", "?)")
            raise MisfitError(f"the mapping speaks of '{lead}', which it lacks{hint}")
        names |= {name: other + name.removeprefix(lead) for name in below}
    for name, count in Counter(names.values()).items():
        if name not in ours or count > 1:
            fault = "twice" if count > 1 else "which the generator lacks"
            raise MisfitError(
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
    theirs: list[_Layer], ours: list[_Layer], ordered: bool, in_file: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """Match layers of the same form: by their order where it is known, else by their numbers."""
    has, needs = Counter(layer.form for layer in theirs), Counter(layer.form for layer in ours)
    if has != needs:
        if doubt := _renamed(theirs, ours, in_file):
            return {}, doubt
        nearness = sum((has & needs).values()) / max(len(theirs), len(ours))
        raise MisfitError(_difference(theirs, ours), nearness)
    same_order = all(one.form == other.form for one, other in zip(theirs, ours, strict=True))
    groups: dict[Any, list[str]] = defaultdict(list)
    for layer in theirs:
        groups[layer.form].append(layer.name)
    names: dict[str, str] = {}
    for form, alike in groups.items():
        targets = [layer.name for layer in ours if layer.form == form]
        if not (ordered and same_order):
            if len({re.sub("[0-9]+", "0", name) for name in alike}) > 1:
                first = joined(alike[0], form[0][0])
                line = in_file.get(first, first).rpartition(".")[0] or first
                return {}, (
                    f"nothing tells which of {quoted_list(alike)} is which of "
                    f"{quoted_list(targets)}, for their shapes are the same and their order is not "
                    f"that of the net. Say so in a file (--mapping FILE.yaml), a line for each: "
                    f"'{line}: {targets[0]}'."
                )
            alike = sorted(alike, key=natural)
        for name, target in zip(alike, targets, strict=True):
            names |= {joined(name, last): joined(target, last) for last, _ in form}
    return names, ""


def _difference(theirs: Sequence[_Layer], ours: Sequence[_Layer]) -> str:
    """In words, the layers in which two nets differ: those that are most alike."""
    extra, missing = _without(theirs, ours), _without(ours, theirs)
    if not extra:
        text = f"it lacks {missing[0]}"
    elif not missing:
        text = f"it has {extra[0]}, which the generator has not"
    else:
        one, other = max(product(extra, missing), key=lambda pair: _likeness(*pair))
        text = f"it has {one} where the generator has {other}"
    if {last for layer in theirs for last, _ in layer.form} <= _TENSORS:
        return text
    return f"{text}; where names alone differ, say which is which with --mapping FILE.yaml"


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


def _renamed(theirs: Sequence[_Layer], ours: Sequence[_Layer], in_file: Mapping[str, str]) -> str:
    """Why names alone keep two nets apart, and the lines that say which is which; else empty."""
    mine, yours = (
        [(joined(layer.name, last), shape) for layer in layers for last, shape in layer.form]
        for layers in (theirs, ours)
    )
    if Counter(shape for _, shape in mine) != Counter(shape for _, shape in yours):
        return ""
    waiting = list(yours)
    lines = []
    for name, shape in mine:
        at = next(i for i, (_, other) in enumerate(waiting) if other == shape)
        lines.append(f"'{in_file.get(name, name)}: {waiting.pop(at)[0]}'")
    more = ", ..." if len(lines) > _LINES else ""
    return (
        f"its tensors have the shapes of the generator's, but other names. Say which is which in "
        f"a file (--mapping FILE.yaml), a line for each, such as {', '.join(lines[:_LINES])}{more}."
    )


def quoted_list(names: Iterable[str]) -> str:
    """Return names in quotes, in a row that ends in "and"."""
    shown = [f"'{name}'" for name in names]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if shown[1:] else shown[0]
