"""Any net or function that the caller holds, as an extractor."""

from __future__ import annotations

import copy
import hashlib
import types
import uuid
import weakref
from collections.abc import Callable as Function
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field, PrivateAttr
from torch import Tensor, nn

from ganzoo.core.component import Component
from ganzoo.errors import ConfigError
from ganzoo.features.base import UNNAMED, Extractor, Features, fingerprint

if TYPE_CHECKING:
    from ganzoo.core.device import PrecisionName

__all__ = ["Callable", "as_extractor"]


@dataclass(frozen=True, eq=False)
class _Held:
    """The function itself. Copying a config does not copy it."""

    function: Function[[Tensor], Any]
    name: str | None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held:
        return self


class Callable(Extractor):
    """A net or function that the caller holds as an object, which no file can name.

    A config stores only the description and the fingerprint; the object has to be passed again with
    a config that was read from a file. ``Callable.of`` makes one. It computes as it is:
    ``precision`` changes nothing.

    With a ``name`` of your own, scores compare with those of other processes, and features are
    cached. Without one the fingerprint names the object and a module's weights in this process
    alone, so that its scores compare with each other and with no others, and nothing is cached.
    """

    forced_dtype: ClassVar[str] = "as given"
    name: ClassVar[str] = "callable"

    description: str = Field(description="what it is, for people")
    fingerprint: str = Field(description="sha-256 of name and weights, or names of both")
    quantise: bool = Field(
        False, description="give it uint8 samples instead of floats in the sample spec's range"
    )
    _held: _Held | None = PrivateAttr(default=None)

    @classmethod
    def of(
        cls,
        function: Function[[Tensor], Any],
        *,
        name: str | None = None,
        quantise: bool = False,
    ) -> Callable:
        """Return the extractor that calls ``function``.

        Args:
            function: Maps a batch of samples (N, C, H, W), or as their spec has them, to features
                (N, D), or to ``Features`` with logits. A module is copied, put into eval mode and
                moved to the device.
            name: Any text that stands for what it computes, such as ``resnet-v2``; change it
                whenever the code changes. The weights of a module count in addition.
            quantise: Give it samples as uint8 in 0..255.

        Raises:
            ConfigError: If it cannot be called.
        """
        if not callable(function):
            raise ConfigError(
                f"An extractor is a name, a mapping with 'name', a component, a torch module or a "
                f"function of a batch of samples; got {type(function).__name__}. Give one of these."
            )
        extractor = cls(
            description=_described(function),
            fingerprint=_fingerprint(function, name),
            quantise=quantise,
        )
        extractor._held = _Held(function, name)
        return extractor

    @property
    def cacheable(self) -> bool:
        """Whether the fingerprint means the same in each process."""
        return not self.fingerprint.startswith(UNNAMED)

    @property
    def quantisation(self) -> Literal["uint8", "none"]:
        """``uint8`` where it was asked for, else ``none``."""
        return "uint8" if self.quantise else "none"

    def __eq__(self, other: object) -> bool:
        """Compare fingerprints; whether the object is held does not count."""
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.fingerprint))

    def build(self, device: torch.device, precision: PrecisionName = "auto") -> nn.Module:
        """Return a module that calls what was given."""
        if self._held is None:
            raise ConfigError(
                f"These features are those of {self.description}, which no file can hold; pass it "
                f"again: extractor=..."
            )
        function = self._held.function
        if isinstance(function, nn.Module):
            if _fingerprint(function, self._held.name) != self.fingerprint:
                raise ConfigError(
                    f"These features are those of {self.description} as it was, and its weights "
                    f"have changed since. Give a copy that stays as it is: copy.deepcopy(net)."
                )
            function = copy.deepcopy(function).eval().requires_grad_(False).to(device)
        return _Module(function, self.description).eval()

    def weights_hash(self) -> str:
        """Return the fingerprint."""
        return self.fingerprint

    def preparation(self) -> dict[str, Any]:
        """Return the description."""
        return {"callable": self.description}


class _Module(nn.Module):
    def __init__(self, function: Function[[Tensor], Any], description: str) -> None:
        super().__init__()
        self._function, self._description = function, description

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Features:
        """Map samples to features, checked."""
        found = self._function(samples)
        features = found if isinstance(found, Features) else Features(found)
        self._check(features.pool, "features", len(samples))
        if features.logits is not None:
            self._check(features.logits, "logits", len(samples))
        logits = None if features.logits is None else features.logits.float()
        return Features(features.pool.float(), logits)

    def _check(self, value: Any, what: str, count: int) -> None:
        right = isinstance(value, Tensor) and value.dim() == 2 and len(value) == count
        if not right:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(
                f"The {what} of {self._description} must be a tensor ({count}, D) for {count} "
                f"samples, and are {got}. Return one row per sample, such as tensor.flatten(1)."
            )


def as_extractor(value: Any) -> Any:
    """Turn what a caller passed as an extractor into what the registry can create.

    Args:
        value: A name, a mapping with ``name``, a component or its class, a torch module, or a
            function of a batch of samples.

    Raises:
        ConfigError: If it is none of these.
    """
    if isinstance(value, (str, Mapping, Component)):
        return value
    if isinstance(value, type) and issubclass(value, Component):
        return value
    return Callable.of(value)


def _described(function: Any) -> str:
    if isinstance(function, nn.Module):
        return f"the module {type(function).__qualname__}"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"the function {getattr(function, '__module__', '')}.{name}"


def _fingerprint(function: Any, name: str | None) -> str:
    weights = fingerprint(function.state_dict()) if isinstance(function, nn.Module) else ""
    if name is None:
        return f"{UNNAMED}{_token(function)}" + (f"-{weights[:16]}" if weights else "")
    return hashlib.sha256(f"{name} {weights}".encode()).hexdigest()


_TOKENS: dict[int, str] = {}  # by id, because equal objects may compute something else


def _token(value: Any) -> str:
    """A name of an object, the same as long as it exists."""
    if isinstance(value, types.MethodType):  # made anew each time that it is read
        return f"{_token(value.__self__)}-{_token(value.__func__)}"
    key = id(value)
    if key not in _TOKENS:
        try:
            weakref.finalize(value, _TOKENS.pop, key, None).atexit = False
        except TypeError:  # without weak references: another name each time
            return uuid.uuid4().hex
        _TOKENS[key] = uuid.uuid4().hex
    return _TOKENS[key]
