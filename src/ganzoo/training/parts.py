"""Parts with state: what a checkpoint holds, and the walk that saves and restores it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from ganzoo.core import seeds
from ganzoo.core.state_dicts import below
from ganzoo.errors import ContractError
from ganzoo.files import checkpoint

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ganzoo.core.component import Component

__all__ = ["NetState", "OptimizerState", "Part", "RandomState", "State", "as_part"]
__all__ += ["collect", "named", "restore"]

State = tuple[Mapping[str, "Tensor"], Mapping[str, Any]]
"""Tensors by name, and plain values as JSON holds them, by name."""


class Part(Protocol):
    """Something that decides how a training goes on."""

    def state(self) -> State:
        """Return its tensors, not copied, and its plain values; both may be empty."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; the tensors are on the CPU.

        Raises:
            RuntimeError, KeyError, TypeError, ValueError: If it is the state of something else.
        """
        ...


def collect(parts: Mapping[str, Part]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state of all parts: tensors by ``<part>.<name>``, and plain values by part.

    A part without state leaves nothing.
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for name, part in parts.items():
        own, plain = part.state()
        tensors |= {f"{name}.{key}": value for key, value in own.items()}
        if plain:
            values[name] = copy.deepcopy(dict(plain))  # written while the training goes on
    return tensors, values


def restore(
    parts: Mapping[str, Part], tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Restore all parts, in their order, from what ``collect`` returned.

    Raises what ``Part.restore`` does, and ``DataError`` for a position in other data.
    """
    if others := {name.partition(".")[0] for name in tensors} - parts.keys():
        raise ValueError(f"it has tensors of '{min(others)}', which this training lacks")
    for name, part in parts.items():
        part.restore(below(tensors, name), values.get(name, {}))


class NetState:
    """Weights and buffers of a net."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def state(self) -> State:
        """Return its state dict."""
        return self.net.state_dict(), {}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Load a state dict."""
        self.net.load_state_dict(dict(tensors))


class OptimizerState:
    """State of an optimizer, by the names of its parameters, which ``names`` returns in order."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, names: Callable[[], Sequence[str]]
    ) -> None:
        self.optimizer, self.names = optimizer, names

    def state(self) -> State:
        """Return tensors and numbers by ``<parameter>.<key>``."""
        return checkpoint.pack_optimizer(self.optimizer, self.names())

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put them back."""
        checkpoint.unpack_optimizer(self.optimizer, self.names(), tensors, values)


class RandomState:
    """Random generators: the global ones of Python, NumPy and torch, and that of the latents.

    Args:
        noise: Generator of the latents, on the device of the training.
        reseed: Seeds it anew where a checkpoint comes from another kind of device.
    """

    def __init__(self, noise: torch.Generator, reseed: Callable[[], object]) -> None:
        self._noise, self._reseed = noise, reseed
        self.moved_from = ""
        """Kind of device that the restored state was on, if it is not this one's."""

    def state(self) -> State:
        """Return the states of all, and the kind of device."""
        device = self._noise.device
        return {**seeds.states(device), "noise": self._noise.get_state()}, {"device": device.type}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on with the same numbers; on another kind of device with other ones."""
        device = self._noise.device
        same = values["device"] == device.type
        self.moved_from = "" if same else str(values["device"])
        seeds.restore(tensors, device, same)
        if same:
            self._noise.set_state(tensors["noise"])
        else:
            self._reseed()


def named(component: Component) -> str:
    """Return a component as messages call it: ``Loss 'hinge'``."""
    return f"{component.kind.capitalize()} '{component.name}'"


def as_part(component: Component, built: Any) -> Part:
    """Return a net, or an object with ``state`` and ``restore``, as a part.

    Raises:
        ContractError: If what the component has built is neither.
    """
    if callable(getattr(built, "state", None)) and callable(getattr(built, "restore", None)):
        part: Part = built
        return part
    if isinstance(built, nn.Module):
        return NetState(built)
    raise ContractError(
        f"{named(component)} builds a {type(built).__name__}, whose state cannot be saved. Let "
        f"build() return an nn.Module, or an object with state() and restore(tensors, values)."
    )
