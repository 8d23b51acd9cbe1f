"""The exponential moving average of a net, and tensors that a net exchanges for others."""

from __future__ import annotations

import copy
import itertools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.training.parts import State

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
    """Exponential moving average of a net, weights and buffers alike.

    The decay is min(decay, (1 + n) / (10 + n)) at update n, so that the random start is soon
    forgotten. With a half-life h it is 0.5^(images / h), where h is at most ``ramp`` times the
    images seen before (half-life: Karras et al. 2018, arXiv:1710.10196; limit: Karras et al. 2020,
    arXiv:2006.06676). Buffers are averaged too: the batch-norm statistics of the current net do
    not fit averaged weights. Tensors that the net exchanges for others of the same name and shape
    are followed from then on.

    Args:
        module: The net to follow.
        decay: Share that is retained at each update, in [0, 1); 0 follows the net itself.
        name: What to call the net in messages.
        half_life: Instead of the decay: images after which a half is forgotten, at least 0.
        images: Real samples seen per update.
        ramp: Share of the images seen that the half-life is at most; None for no limit.
    """

    def __init__(
        self,
        module: nn.Module,
        decay: float,
        name: str = "generator",
        *,
        half_life: float | None = None,
        images: float = 1.0,
        ramp: float | None = None,
    ) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay, self.name = decay, name
        self.half_life, self._images, self._ramp = half_life, images, ramp
        self.updates = 0
        self._net = module
        self._pair()

    def _pair(self) -> None:
        """Find out which tensor follows which; these are the nets' own objects, not views."""
        mine = self.module.state_dict(keep_vars=True)
        theirs = self._net.state_dict(keep_vars=True)
        check_same_tensors(self.name, mine, theirs)
        self._identities = [TensorIdentity(net) for net in (self.module, self._net)]
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

    def _retained(self) -> float:
        """Share that this update retains."""
        if self.half_life is None:
            return min(self.decay, (1 + self.updates) / (10 + self.updates))
        half_life = self.half_life
        if self._ramp is not None:
            half_life = min(half_life, self._ramp * self._images * self.updates)
        return float(0.5 ** (self._images / half_life)) if half_life else 0.0

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the net's present state.

        Raises:
            ConfigError: If the net has tensors now of other names or shapes than it began with.
        """
        # What is exchanged below a parameter (.data, .double()) shows in its type alone.
        types = [*map(_dtype, self._theirs)]
        if types != self._types or any(held.changed for held in self._identities):
            self._pair()
        decay = self._retained()
        if self._mine:
            torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)
        for mine, theirs in self._others:  # counters, and what was exchanged for another type
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine), 1 - decay)
            else:
                mine.copy_(theirs)
        self.updates += 1

    def state(self) -> State:
        """Return the averaged tensors, and the number of updates."""
        return self.module.state_dict(), {"updates": self.updates}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.module.load_state_dict(dict(tensors))
        self.updates = int(values["updates"])


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
