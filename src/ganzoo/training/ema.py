"""Moving averages of a net, and tensors that a net exchanges for others."""

from __future__ import annotations

import copy
import itertools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganzoo.errors import ConfigError
from ganzoo.training.parts import NetState

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.averages import Average
    from ganzoo.training.parts import Part, State

__all__ = ["EMA", "TensorIdentity", "check_same_tensors"]

_dtype = operator.attrgetter("dtype")


class TensorIdentity:
    """Which objects a net holds; tells cheaply whether a tensor or submodule was exchanged."""

    def __init__(self, net: nn.Module) -> None:
        self._tables: list[dict[str, Any]] = [
            table
            for part in net.modules()
            for table in (part._parameters, part._buffers, part._modules)
        ]
        self._before = self._now()

    def _now(self) -> list[Any]:
        return list(itertools.chain.from_iterable(map(dict.values, self._tables)))

    @property
    def changed(self) -> bool:
        """Whether the net holds other objects than when this was made."""
        now = self._now()
        return len(now) != len(self._before) or not all(map(operator.is_, now, self._before))


class EMA:
    """Moving averages of a net, weights and buffers alike: one, or several that are kept at once.

    Buffers are averaged too: the batch-norm statistics of the current net do not fit averaged
    weights. Tensors that the net exchanges for others of the same name and shape are followed from
    then on.

    Args:
        net: The net to follow.
        average: How; schedules exchange it for one with other options.
        name: What to call the net in messages.
        images: Real samples seen per update.

    Attributes:
        modules: The averages, in the order of the component's ``labels``.
        chosen: Which of them is used.
        updates: How often they have moved.
    """

    def __init__(
        self, net: nn.Module, average: Average, name: str = "generator", *, images: float = 1.0
    ) -> None:
        self.modules = [copy.deepcopy(net).eval().requires_grad_(False) for _ in average.labels]
        self.average, self.name = average, name
        self.chosen = 0
        self.updates = 0
        self._images = images
        self._net = net
        self._pair()

    @property
    def module(self) -> nn.Module:
        """The average that is used."""
        return self.modules[self.chosen]

    def _pair(self) -> None:
        """Find out which tensor follows which; these are the nets' own objects, not views."""
        theirs = self._net.state_dict(keep_vars=True)
        self._identities = [TensorIdentity(net) for net in (*self.modules, self._net)]
        self._followers = [_Follower(self.name, module, theirs) for module in self.modules]

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the net's present state.

        Raises:
            ConfigError: If the net has tensors now of other names or shapes than it began with.
        """
        # What is exchanged below a parameter (.data, .double()) shows in its type alone.
        if any(each.retyped for each in self._followers) or any(
            held.changed for held in self._identities
        ):
            self._pair()
        shares = self.average.retained(self.updates, self._images)
        for follower, share in zip(self._followers, shares, strict=True):
            follower.move(1 - share)
        self.updates += 1

    def part(self, name: str, number: int | None = None) -> str:
        """Return the part of a checkpoint that has an average, by default the one that is used."""
        number = self.chosen if number is None else number
        return f"{name}-{number + 1}" if number else name

    def parts(self, name: str) -> dict[str, Part]:
        """Return what a checkpoint holds, by name: ``name``, ``name-2``, ``name-3`` and so on."""
        others = list(enumerate(self.modules))[1:]
        return {name: self, **{self.part(name, number): NetState(net) for number, net in others}}

    def state(self) -> State:
        """Return the tensors of the first average, the number of updates, and which is used."""
        chosen = {"chosen": self.chosen} if len(self.modules) > 1 else {}
        return self.modules[0].state_dict(), {"updates": self.updates, **chosen}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from a state."""
        chosen = int(values["chosen"]) if len(self.modules) > 1 else 0
        if not 0 <= chosen < len(self.modules):
            raise ValueError(f"it uses average {chosen + 1} of {len(self.modules)}")
        self.modules[0].load_state_dict(dict(tensors))
        self.updates, self.chosen = int(values["updates"]), chosen


class _Follower:
    """The tensors of one average, and those that they follow."""

    def __init__(self, name: str, module: nn.Module, theirs: Mapping[str, Tensor]) -> None:
        mine = module.state_dict(keep_vars=True)
        check_same_tensors(name, mine, theirs)
        # One that has several names moves once.
        pairs = {id(value): (value, theirs[name]) for name, value in mine.items()}.values()
        smooth = [
            (a, b)
            for a, b in pairs
            if a.is_floating_point() and (a.dtype, a.device) == (b.dtype, b.device)
        ]
        self._mine, self._theirs = [a for a, _ in smooth], [b for _, b in smooth]
        self._types = [*map(_dtype, self._theirs)]
        moved = {id(a) for a in self._mine}
        self._others = [(a, b) for a, b in pairs if id(a) not in moved]

    @property
    def retyped(self) -> bool:
        """Whether what it follows has other types than before."""
        return [*map(_dtype, self._theirs)] != self._types

    def move(self, share: float) -> None:
        """Go a share of the way."""
        if self._mine:
            torch._foreach_lerp_(self._mine, self._theirs, share)
        for mine, theirs in self._others:  # counters, and what was exchanged for another type
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine), share)
            else:
                mine.copy_(theirs)


def check_same_tensors(
    player: str, before: Mapping[str, Tensor], now: Mapping[str, Tensor]
) -> None:
    """Refuse a net that has tensors of other names or shapes than it was built with."""
    for name in (*before, *now):
        if name not in now:
            fact = f"has no tensor '{name}' any more"
        elif name not in before:
            fact = f"has a new tensor '{name}'"
        elif before[name].shape != now[name].shape:
            was, is_ = tuple(before[name].shape), tuple(now[name].shape)
            fact = f"has a tensor '{name}' of shape {is_}, which was {was}"
        else:
            continue
        raise ConfigError(
            f"The {player} {fact} since it was built: EMA, optimizer and checkpoints know the "
            f"tensors that its architecture builds. Have it build all of its parameters and "
            f"buffers at once, in their final shape."
        )
