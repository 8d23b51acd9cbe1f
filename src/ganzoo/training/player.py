"""A net in training: what happens between its loss and its new weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from ganzoo.training.ema import TensorIdentity, check_same_tensors
from ganzoo.training.monitor import NonFiniteMonitor, gradient_norms
from ganzoo.training.parts import NetState, OptimizerState, Part

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.training.ema import EMA

__all__ = ["Player"]


class Player:
    """A net, its optimizer, its moving average and the monitor of its gradients.

    Args:
        name: ``generator``, ``discriminator``, or that of a further net.
        net: The net.
        optimizer: Of the parameters of the net and of ``heads``, in this order.
        device: Where they are.
        ema: Follows the net after each of its updates; None for no average.
        heads: Modules that are trained with it, by the names of their parts.
        clip: Largest norm of the gradient; None leaves it as it is.
        skipping: Leave out updates whose loss or gradient is not finite.
        autocast: Whether the net computes under autocast.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        *,
        ema: EMA | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        clip: float | None = None,
        skipping: bool = False,
        autocast: bool = False,
    ) -> None:
        self.name, self.net, self.optimizer, self.ema = name, net, optimizer, ema
        self.modules: dict[str, nn.Module] = {name: net, **(heads or {})}
        self._clip, self._skipping, self._autocast = clip, skipping, autocast
        # The fused Adams leave out an update by themselves.
        fused = isinstance(optimizer, torch.optim.Adam) and bool(optimizer.defaults["fused"])
        self._skips_itself = fused and device.type in ("cpu", "cuda")
        self._identities = {part: TensorIdentity(net) for part, net in self.modules.items()}
        self._named = {part: dict(net.named_parameters()) for part, net in self.modules.items()}
        what = [f"{name}'s loss", *(f"gradient of {each}" for each in self.names())]
        self.monitor = NonFiniteMonitor(what, device)
        self.bad = torch.zeros((), dtype=torch.bool, device=device)
        """Whether the numbers of the last update were not finite."""

    def names(self) -> list[str]:
        """Return ``<part>.<name>`` of all parameters, in the optimizer's order."""
        return [
            f"{part}.{name}"
            for part, net in self.modules.items()
            for name, _ in net.named_parameters()
        ]

    def prepare(self) -> None:
        """Get ready for a backward pass: no gradients, and the parameters that there are now."""
        for part, identity in self._identities.items():
            if identity.changed:
                self._exchange(part)
        self.optimizer.zero_grad(set_to_none=True)

    def update(self, number: int, loss: Tensor) -> Tensor:
        """Check, clip and follow the gradients of a loss in iteration ``number``, from 1 on.

        Returns:
            The Euclidean norm of the gradient before clipping: a 0-d tensor.
        """
        optimizer = self.optimizer
        parameters = [item for group in optimizer.param_groups for item in group["params"]]
        norms = gradient_norms(parameters, loss)
        norm: Tensor = torch.linalg.vector_norm(norms)
        numbers = torch.cat((loss.detach().to(norms.dtype).reshape(1), norms))
        self.bad = self.monitor.note(number, numbers)
        if self._clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self._clip, norm)
        if self._skipping and self._skips_itself:
            # The kernel itself leaves everything as it was: no host-device sync.
            optimizer.found_inf = self.bad.float()  # type: ignore[attr-defined]
        if not self._skipping or self._skips_itself or not self.bad:
            optimizer.step()
        if self._autocast:  # in a caller's block, ours does not end the cache of cast weights
            torch.clear_autocast_cache()
        return norm

    def rate(self, factor: float) -> None:
        """Set the learning rate to ``factor`` times the one that it was built with."""
        for group in self.optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def buffers(self) -> Iterator[tuple[tuple[str, str], Tensor]]:
        """Yield the buffers of all modules, by part and name."""
        for part, net in self.modules.items():
            for name, buffer in net.named_buffers():
                yield (part, name), buffer

    def parts(self) -> dict[str, Part]:
        """Return net, average and optimizer; heads are parts of their components."""
        short = {"generator": "g_optimizer", "discriminator": "d_optimizer"}
        parts: dict[str, Part] = {self.name: NetState(self.net)}
        if self.ema is not None:
            parts |= self.ema.parts("ema" if self.name == "generator" else f"{self.name}_ema")
        optimizer = short.get(self.name, f"{self.name}_optimizer")
        return {**parts, optimizer: OptimizerState(self.optimizer, self.names)}

    def _exchange(self, part: str) -> None:
        """Have the optimizer train the parameters that a module has now, with the old state.

        A net may be given others from outside (``load_state_dict(assign=True)``), and some
        exchange their own.
        """
        net = self.modules[part]
        before, now = self._named[part], dict(net.named_parameters())
        check_same_tensors(part, before, now)
        others = {before[name]: now[name] for name in now if before[name] is not now[name]}
        for group in self.optimizer.param_groups:
            group["params"] = [others.get(item, item) for item in group["params"]]
        for old, new in others.items():
            if old in self.optimizer.state:
                self.optimizer.state[new] = self.optimizer.state.pop(old)
        self._named[part], self._identities[part] = now, TensorIdentity(net)
