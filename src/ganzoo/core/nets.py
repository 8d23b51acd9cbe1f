"""What is asked of nets, and modes they are put in for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ganzoo.core.step import Output
from ganzoo.errors import ContractError

if TYPE_CHECKING:
    from ganzoo.core.spec import SampleSpec

__all__ = ["across_batch", "build_on_meta", "evaluating", "frozen", "last_input", "sized"]

_DRAWS = frozenset({"normal_", "uniform_", "bernoulli_", "exponential_", "random_"})


@contextlib.contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Need no gradients of nets' weights; what their authors froze stays so afterwards."""
    trained = [item for module in modules for item in module.parameters() if item.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def evaluating(module: nn.Module, asked: bool = True) -> Iterator[None]:
    """Put a net in evaluation mode, if asked; each of its parts returns to the mode it was in."""
    parts = [part for part in module.modules() if part.training] if asked else []
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True


def across_batch(module: nn.Module) -> list[str]:
    """Return the kinds of layers by which samples of a batch see each other, as messages call them.

    They are "batch norm", and any layer that has a name in an attribute ``across_batch``.
    """
    found: dict[str, None] = {}
    for part in module.modules():
        normalises = isinstance(part, nn.modules.batchnorm._BatchNorm)
        name = "batch norm" if normalises else getattr(part, "across_batch", "")
        if isinstance(name, str) and name:
            found[name] = None
    return [*found]


@contextlib.contextmanager
def last_input(net: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect the input (N, *shape) of a net's last layer with weights at each of its passes.

    Raises:
        ContractError: If no layer with weights was called in this block.
    """
    layers = [part for part in net.modules() if _has_weights(part)]
    inputs: list[torch.Tensor] = []

    def take(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.append(arguments[0])

    hook = layers[-1].register_forward_pre_hook(take) if layers else None
    try:
        yield inputs
    finally:
        if hook is not None:
            hook.remove()
    if not inputs:
        raise ContractError(
            "The discriminator has features for no penalty: none of its layers with weights was "
            "called last. Return Output(logits, features=...), with features (N, ...)."
        )


def sized(head: nn.Module, net: nn.Module, spec: SampleSpec) -> nn.Module:
    """Return a head whose lazy layers have their sizes, by a net's features of a sample.

    Args:
        head: Maps features (N, *shape).
        net: The discriminator, on the device that the head goes to.
        spec: What a sample is.
    """
    device = next((weight.device for weight in net.parameters()), torch.device("cpu"))
    if any(nn.parameter.is_lazy(weight) for weight in head.parameters()):
        labels = None if spec.classes is None else torch.zeros(1, dtype=torch.int64, device=device)
        with last_input(net) as inputs, torch.no_grad(), evaluating(net):
            output = Output.of(net(torch.zeros(1, *spec.shape, device=device), labels))
        head.to(device)(inputs[-1] if output.features is None else output.features)
    return head


def _has_weights(part: nn.Module) -> bool:
    own = next(part.parameters(recurse=False), None) is not None
    inside = isinstance(part, nn.utils.parametrize.ParametrizationList)
    return (own or nn.utils.parametrize.is_parametrized(part)) and not inside


def build_on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a net on torch's meta device: all of its shapes, none of its numbers."""
    with torch.device("meta"), _NoInitialWeights():
        return build()


class _NoInitialWeights(TorchFunctionMode):
    """Leaves initial weights out, for which torch would import its compiler."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        named = {} if options is None else options
        initial = getattr(function, "__module__", "") == "torch.nn.init"
        if initial or getattr(function, "__name__", "") in _DRAWS:
            return arguments[0] if arguments else named["tensor"]
        return function(*arguments, **named)
