"""Other programs' names of tensors and order of axes, read as those of torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import ConfigError
from ganzoo.files.statedicts import StateDict, joined
from ganzoo.files.storage import expanded

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Reading", "read_mapping", "reading"]

# What other programs call the tensors of a layer; the second of them only next to the first.
_NAMES = {
    **dict.fromkeys(("kernel", "gamma", "w", "W"), "weight"),
    "beta": "bias",
    "moving_mean": "running_mean",
    **dict.fromkeys(("moving_variance", "moving_var"), "running_var"),
}
_KNOWN = {
    **_NAMES,
    "scale": "weight",
    **dict.fromkeys(("b", "B", "biases", "offset"), "bias"),
    "mean": "running_mean",
    **dict.fromkeys(("var", "variance"), "running_var"),
}


@dataclass(frozen=True)
class Reading:
    """A state dict with the names that torch gives, and its kernels in torch's order of axes.

    Attributes:
        state: The state dict.
        names: Names in the file by names here, of all tensors.
        turned: Whether kernels had their inputs before their outputs, as in Keras.
        note: What was done, in a sentence; empty if nothing.
    """

    state: StateDict
    names: dict[str, str]
    turned: bool = False
    note: str = ""


def reading(state: StateDict) -> Reading:
    """Read ``kernel``, ``gamma``, ``moving_mean`` and the like as torch's ``weight`` and so on.

    Names that are as torch's stay. Biases show which axis of kernels is which.

    Raises:
        ConfigError: If kernels are those of a dense net whose axes are ambiguous, in a clause.
    """
    plain = {re.sub(r":[0-9]+$", "", name).replace("/", "."): name for name in state.tensors}
    lasts = {name: name.rpartition(".")[2] for name in plain}
    as_it_is = Reading(state, {name: name for name in state.tensors})
    if len(plain) < len(state.tensors) or not any(last in _NAMES for last in lasts.values()):
        return as_it_is
    names = {
        name.removesuffix(last) + _KNOWN.get(last, last): plain[name]
        for name, last in lasts.items()
    }
    if len(names) < len(plain):
        return as_it_is
    tensors = {name: state.tensors[theirs] for name, theirs in names.items()}
    turned = any(last == "kernel" for last in lasts.values()) and _inputs_first(tensors)
    if turned:
        tensors = {name: _turned(value) for name, value in tensors.items()}
    renamed = [last for last in dict.fromkeys(lasts.values()) if _KNOWN.get(last, last) != last]
    read_as = ", ".join(f"'{last}' as '{_KNOWN[last]}'" for last in renamed)
    note = f"Names are not those of torch: {read_as} was read (--mapping says otherwise)."
    if turned:
        note += (
            " Kernels have their inputs before their outputs, as in Keras, and were turned; there "
            "the eps of norms is 0.001 and the slope of leaky ReLU 0.3 where a net does not say."
        )
    return Reading(StateDict(state.key, tensors, state.ordered), names, turned, note)


def _turned(value: Tensor) -> Tensor:
    """A kernel of Keras, (in, out) or (height, width, in, out), in torch's order of axes."""
    if value.dim() == 2:
        return value.t()
    return value.permute(3, 2, 0, 1) if value.dim() == 4 else value


def _inputs_first(tensors: dict[str, Tensor]) -> bool:
    """Whether kernels are (in, out) and (height, width, in, out)."""
    votes: set[bool] = set()
    dense = []
    for name, value in tensors.items():
        layer, _, last = name.rpartition(".")
        bias = tensors.get(joined(layer, "bias"))
        shape = tuple(value.shape)
        if last != "weight":
            continue
        if len(shape) == 4 and (shape[0] == shape[1]) != (shape[2] == shape[3]):
            votes.add(shape[0] == shape[1])
        if len(shape) == 2:
            dense.append(shape)
            if bias is not None and shape[0] != shape[1] and bias.numel() in shape:
                votes.add(bias.numel() == shape[1])
    if not votes and dense:
        forwards = all(one[1] == other[0] for one, other in pairwise(dense))
        backwards = all(one[0] == other[1] for one, other in pairwise(dense))
        if forwards != backwards:
            votes.add(forwards)
    if len(votes) == 1:
        return votes.pop()
    if votes or dense:
        raise ConfigError(
            "nothing tells whether its kernels are (inputs, outputs), as in Keras, or (outputs, "
            "inputs), as in torch: save them as torch has them and call them 'weight' (of a dense "
            "layer that is kernel.T)"
        )
    return False


def read_mapping(mapping: str | Path | Mapping[str, str] | None) -> dict[str, str]:
    """Return names here by names in the file, from a YAML or JSON file if they are in one.

    Raises:
        ConfigError: If it is no such mapping.
    """
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
        except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{where} cannot be read as YAML ({reason}).") from None
    if not isinstance(content, Mapping) or not all(
        isinstance(name, (str, int)) and isinstance(other, str) and other
        for name, other in content.items()
    ):
        raise ConfigError(
            f"{where} must give a name here for each name in the checkpoint, such as "
            f"'main.0: project.conv'."
        )
    return {str(name): other for name, other in content.items()}
