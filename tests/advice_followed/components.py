"""Sound components of plug-ins, and what breaks one of their methods at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from advice_followed.helpers import said
from ganzoo import architectures, datasets, features, losses, metrics, testing, trackers
from ganzoo.architectures import Architecture
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import Dataset, Samples
from ganzoo.errors import UnsupportedSampleError
from ganzoo.features import Extractor, Features
from ganzoo.features.base import fingerprint
from ganzoo.losses import Loss
from ganzoo.metrics import Metric, Result
from ganzoo.trackers import Log, Tracker

WEIGHT = nn.Parameter(torch.zeros(1))
Space = dict[str, Any]
"""What a class has."""


def defined(code: str, **names: Any) -> Callable[..., Any]:
    """The function that a text defines."""
    space = {"torch": torch, "functional": functional, "W": WEIGHT, **names}
    exec(code, space)
    return next(value for name, value in space.items() if code.startswith(f"def {name}("))


@contextlib.contextmanager
def registered(base: type, space: Space) -> Iterator[Any]:
    """A component that is known as long as the block lasts."""
    kinds = (architectures, losses, datasets, features, metrics, trackers)
    registry = next(each.registry for each in kinds if issubclass(base, each.registry.base))
    fields = {name: type(value) for name, value in space.items() if isinstance(value, list)}
    kept = {"__doc__": "x", "__module__": __name__, "__annotations__": fields, **space}
    made = type("Plain", (base,), kept)
    registry.register("plain")(made)
    try:
        yield made
    finally:
        registry.unregister("plain")


def checked(base: type, space: Space, *args: Any, **options: Any) -> None:
    with registered(base, space) as made:
        kind = made.kind
        getattr(testing, f"check_{kind}")(made, *args, **options)


def refused(base: type, space: Space, *args: Any, **options: Any) -> str:
    return said(lambda: checked(base, space, *args, **options))


# -- architectures ----------------------------------------------------------------------------

POINTS = SampleSpec(kind="vector", shape=(3,))


class Net(nn.Module):
    """A sound generator."""

    def __init__(self, inputs: int = 3, outputs: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x: Any, labels: Any = None) -> Any:
        return torch.tanh(self.layer(x))


class Judge(Net):
    """A sound discriminator."""

    def __init__(self) -> None:
        super().__init__(outputs=1)

    def forward(self, x: Any, labels: Any = None) -> Any:
        return self.layer(x).squeeze(1)


class Sound(Architecture):
    """Nets for points."""

    recommended: ClassVar[Mapping[str, Any]] = {"latent": 3}

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        return Net(latent.numel, spec.numel)

    def discriminator(self, spec: SampleSpec) -> nn.Module:
        return Judge()


def of(player: str, forward: Any = None, make: Any = None, **more: Any) -> Space:
    """An architecture with another forward, or another net, of one player."""
    base = Net if player == "generator" else Judge
    cls = type("Other", (base,), {"forward": forward} if forward else {})
    return {player: lambda self, *_: (make or cls)(), **more}


def g(forward: Any = None, **more: Any) -> Space:
    return of("generator", forward, **more)


def d(forward: Any = None, **more: Any) -> Space:
    return of("discriminator", forward, **more)


def plain(self: Any, x: Any, labels: Any = None) -> Any:
    return Net.forward(self, x)


# -- losses -----------------------------------------------------------------------------------


class Critic(Loss):
    """A sound loss."""

    def discriminator(self, real: Any, fake: Any) -> Any:
        return fake.mean() - real.mean()

    def generator(self, fake: Any, real: Any = None) -> Any:
        return -fake.mean()


# -- datasets ---------------------------------------------------------------------------------


class Points(Dataset):
    """A sound dataset."""

    def load(self) -> Samples:
        return samples()


def samples(data: Any = None, labels: Any = None, **more: Any) -> Samples:
    data = torch.linspace(-1, 1, 24).reshape(8, 3) if data is None else data
    spec = more.pop(
        "spec", SampleSpec(kind="vector", shape=(3,), classes=more.pop("classes", None))
    )
    return Samples(data, spec, labels, **{"stored_range": (-1.0, 1.0), **more})


def loads(make: Callable[[], Any]) -> Space:
    return {"load": lambda self: make()}


# -- metrics ----------------------------------------------------------------------------------


class Mean(Metric):
    """A sound metric."""

    requires: ClassVar[Any] = ("samples",)
    sample_kinds: ClassVar[Any] = ("vector",)

    def compute(self, real: Any, fake: Any) -> Result:
        return Result(value(real, fake))


def value(real: Any, fake: Any) -> float:
    return abs(float(real.samples.double().mean() - fake.samples.double().mean()))


def const(**values: Any) -> Space:
    return {**values, "__annotations__": dict.fromkeys(values, ClassVar[Any])}


# -- extractors -------------------------------------------------------------------------------


class Eye(nn.Module):
    """A sound net of an extractor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.linspace(-1, 1, 12).reshape(3, 4))

    def forward(self, samples: Any) -> Any:
        if samples.shape[1] != 3:
            raise UnsupportedSampleError("It sees RGB images.")
        return Features(samples.float().mean((2, 3)) @ self.weight)


class Seeing(Extractor):
    """A sound extractor."""

    eye: ClassVar[Any] = Eye

    def build(self, device: torch.device, precision: Any = "auto") -> nn.Module:
        return self.eye().eval().requires_grad_(False).to(device)

    def weights_hash(self) -> str:
        return fingerprint({"weight": Eye().weight})

    def preparation(self) -> dict[str, Any]:
        return {"resize": "none"}


def sees(look: Callable[[Any, Any], Any], **more: Any) -> Space:
    return const(eye=type("Other", (Eye,), {"forward": look, **more}))


def look(self: Any, samples: Any) -> Any:
    return Eye.forward(self, samples)


# -- trackers ---------------------------------------------------------------------------------


class Silent(Log):
    """A sound log."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def images(self, step: int, name: str, image: Any) -> None:
        pass

    def finish(self) -> None:
        pass


class Quiet(Tracker):
    """A sound tracker."""

    def open(self, folder: Path, settings: Any, step: int) -> Any:
        return Silent()


def logs(**methods: Any) -> Space:
    log = type("Other", (Silent,), methods)
    return {"open": lambda self, folder, settings, step: log()}


# -- labels -------------------------------------------------------------------------------------


class Tagged(nn.Module):
    """A net that adds something for each class."""

    def __init__(self, inputs: int, spec: SampleSpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, int(np.prod(shape)))
        self.names = nn.Embedding(len(spec.classes or "x"), int(np.prod(shape)))
        self.shape, self.bounded = shape, len(shape) > 0

    def forward(self, x: Any, labels: Any = None) -> Any:
        labels = torch.zeros(len(x), dtype=torch.int64) if labels is None else labels
        made = self.layer(x.flatten(1)) + self.names(labels)
        return (torch.tanh(made) if self.bounded else made).reshape(-1, *self.shape)


class Known(Architecture):
    """Uses labels."""

    conditional: ClassVar[bool] = True
    recommended: ClassVar[Mapping[str, Any]] = {"latent": 3}

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        return Tagged(latent.numel, spec, spec.shape)

    def discriminator(self, spec: SampleSpec) -> nn.Module:
        return Tagged(spec.numel, spec, ())


@contextlib.contextmanager
def registered_for_labels() -> Iterator[None]:
    known = type("Other", (Known,), {"__doc__": "x", "__module__": __name__})
    architectures.registry.register("labelled")(known)
    try:
        yield
    finally:
        architectures.registry.unregister("labelled")
