"""Optimizers: one per net, each a component."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from ganzoo.core.component import Component
from ganzoo.core.registry import Registry
from ganzoo.core.spec import FLOAT32_MAX
from ganzoo.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn, optim

__all__ = ["Optimizer", "create", "get", "names", "register", "registry"]

# With the largest factor of a schedule a rate still fits into float32.
Rate = Annotated[float, Field(gt=0, le=1e6)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=FLOAT32_MAX)]
WeightDecay = Annotated[float, Field(ge=0, le=FLOAT32_MAX)]

_OF_ADAM = ("lr", "betas", "eps", "weight_decay")


class Optimizer(Component):
    """How one net's weights follow its gradients."""

    kind: ClassVar[str] = "optimizer"
    schedulable: ClassVar[tuple[str, ...]] = ("lr",)
    """What schedules may set: options that torch's parameter groups hold, ``beta1``, ``beta2``."""

    lr: Rate = Field(2e-4, description="learning rate")

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """Return the torch optimizer of these parameters."""

    def _options(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}


class Adam(Optimizer):
    """Adam (Kingma & Ba 2014, arXiv:1412.6980)."""

    citation: ClassVar[str] = "Kingma & Ba 2014, arXiv:1412.6980"
    schedulable: ClassVar[tuple[str, ...]] = ("lr", "beta1", "beta2", "weight_decay")
    betas: tuple[Decay, Decay] = Field((0.5, 0.999), description="decay of both moments")
    eps: Epsilon = Field(1e-8, description="added to the denominator")
    weight_decay: WeightDecay = Field(0.0, description="L2 penalty added to the gradient")

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """Return ``torch.optim.Adam`` with its fused kernel."""
        from torch import optim

        return optim.Adam(parameters, **self._options(*_OF_ADAM), fused=True)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017, arXiv:1711.05101)."""

    citation: ClassVar[str] = "Loshchilov & Hutter 2017, arXiv:1711.05101"
    weight_decay: WeightDecay = Field(0.01, description="decay of the weights per step, times lr")

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """Return ``torch.optim.AdamW`` with its fused kernel."""
        from torch import optim

        return optim.AdamW(parameters, **self._options(*_OF_ADAM), fused=True)


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012, lecture 6e of "Neural networks for machine learning")."""

    citation: ClassVar[str] = "Hinton 2012, Neural networks for machine learning, lecture 6e"
    schedulable: ClassVar[tuple[str, ...]] = ("lr", "alpha", "weight_decay")
    alpha: Decay = Field(0.99, description="decay of the squared gradient's average")
    eps: Epsilon = Field(1e-8, description="added to the denominator")
    momentum: Decay = Field(0.0, description="momentum")
    weight_decay: WeightDecay = Field(0.0, description="L2 penalty added to the gradient")

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """Return ``torch.optim.RMSprop``."""
        from torch import optim

        options = self._options("lr", "alpha", "eps", "momentum", "weight_decay")
        return optim.RMSprop(parameters, **options, foreach=True)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum on request."""

    schedulable: ClassVar[tuple[str, ...]] = ("lr", "momentum", "weight_decay")
    lr: Rate = Field(1e-2, description="learning rate")
    momentum: Decay = Field(0.0, description="momentum")
    nesterov: bool = Field(False, description="look ahead along the momentum")
    weight_decay: WeightDecay = Field(0.0, description="L2 penalty added to the gradient")

    @model_validator(mode="after")
    def _momentum_to_look_along(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ConfigError(
                f"{self._label()} with nesterov=True needs a momentum above 0, such as 0.9."
            )
        return self

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """Return ``torch.optim.SGD`` with its fused kernel."""
        from torch import optim

        options = self._options("lr", "momentum", "nesterov", "weight_decay")
        return optim.SGD(parameters, **options, fused=True)


registry: Registry[Optimizer] = Registry(
    Optimizer,
    group="ganzoo.optimizers",
    builtins={
        "adam": "ganzoo.optimizers:Adam",
        "adamw": "ganzoo.optimizers:AdamW",
        "rmsprop": "ganzoo.optimizers:RMSprop",
        "sgd": "ganzoo.optimizers:SGD",
    },
    synonyms={"momentum": "sgd", "rms": "rmsprop"},
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
