"""Advice is followed: what plug-ins, data, scores and trainings are told, and that it helps.

Each row is a situation, as in the other tests of advice.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib.metadata
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas
import pytest
import safetensors.torch
import torch
from PIL import Image
from pydantic import ConfigDict, Field, PrivateAttr
from torch import nn
from torch.nn import functional

import advice
import ganzoo
from advice import (
    SMALL,
    Line,
    Rows,
    flat,
    follow,
    found,
    literal,
    maker,
    pixels,
    run_of,
    said,
    trainer,
)
from ganzoo import architectures, datasets, features, losses, metrics, testing, trackers
from ganzoo.architectures import Architecture, Output, layers
from ganzoo.architectures.base import Inferred
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.config import read_config, resolve
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import Dataset, InMemoryDataset, Samples, in_memory
from ganzoo.datasets.mixture import Mixture
from ganzoo.errors import ConfigError, DataError, UnsupportedSampleError
from ganzoo.features import Extractor, Features
from ganzoo.features.base import fingerprint
from ganzoo.features.callable import Callable as Function
from ganzoo.features.classifier import ClassifierNet
from ganzoo.features.weights import Published, load
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.generators.pretrained import Pretrained
from ganzoo.losses import Loss
from ganzoo.metrics import Metric, Result
from ganzoo.metrics.inputs import MetricInputs, Moments
from ganzoo.trackers import Log, Tracker
from ganzoo.training.callbacks import Callback
from ganzoo.training.trainer import Trainer

hub_server, line, server = advice.hub_server, advice.line, advice.server

row = Rows()


@pytest.mark.parametrize(("situation", "arguments"), row)
def test_advice_helps(
    situation: Callable[..., None], arguments: tuple[Any, ...], request: pytest.FixtureRequest
) -> None:
    follow(situation, arguments, request)


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


class Listed(Net):
    """Layers in a list, as a class of lists has them."""

    kind: Any = list

    def __init__(self) -> None:
        super().__init__()
        self.layers = self.kind([self.layer])
        del self.layer

    def forward(self, x: Any, labels: Any = None) -> Any:
        return torch.tanh(self.layers[0](x))


class Spare(Net):
    """A parameter that is not used, unless it is."""

    def __init__(self, trained: bool = True, used: bool = False) -> None:
        super().__init__()
        self.spare, self.used = nn.Parameter(torch.ones(3), requires_grad=trained), used

    def forward(self, x: Any, labels: Any = None) -> Any:
        return torch.tanh(self.layer(x) * (self.spare if self.used else 1))


class Hidden(Net):
    """A number that matters and is no buffer, unless it is."""

    def __init__(self, kept: bool = False) -> None:
        super().__init__()
        if kept:
            self.register_buffer("number", torch.rand(1) + 0.5)
        else:
            self.number = torch.rand(1) + 0.5

    def forward(self, x: Any, labels: Any = None) -> Any:
        return torch.tanh(self.layer(x) * self.number)


class Odd(Net):
    """A state that is no tensor, unless it is."""

    def get_extra_state(self) -> Any:
        return "text"

    def set_extra_state(self, state: Any) -> None:
        pass


class Tensors(Odd):
    def get_extra_state(self) -> Any:
        return torch.zeros(1)


class Started(Net):
    """Weights as a number has them."""

    def __init__(self, value: float = float("nan")) -> None:
        super().__init__()
        if value:
            nn.init.constant_(self.layer.weight, value)


class Huge(Net):
    def forward(self, x: Any, labels: Any = None) -> Any:
        return self.layer(x * 1e38) * 1e38


class Normed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Any, labels: Any = None) -> Any:
        return torch.tanh(self.norm(self.layer(x)))


class Labelled(Net):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.names = nn.Embedding(classes, 3)

    def forward(self, x: Any, labels: Any = None) -> Any:
        return torch.tanh(self.layer(x) + (0 if labels is None else self.names(labels)))


class LabelledJudge(Labelled):
    def forward(self, x: Any, labels: Any = None) -> Any:
        return Labelled.forward(self, x, labels).sum(1)


NAMED = SampleSpec(kind="vector", shape=(3,), classes=("a", "b", "c"))
ONE = Net()

NETS: dict[str, tuple[Space, str, Space]] = {
    "a net that is none": (
        g(make=lambda: torch.tanh), "must return an nn.Module", g(),
    ),
    "a judge that is none": (
        d(make=lambda: torch.tanh), "must return an nn.Module", d(),
    ),
    "weights that nobody made": (
        g(make=Started), "initialise what torch.empty made", g(make=lambda: Started(0.1)),
    ),
    "latents changed": (
        g(lambda self, x, labels=None: plain(self, x.mul_(0.5))), "work on new tensors",
        g(lambda self, x, labels=None: plain(self, x.mul(0.5))),
    ),
    "samples changed": (
        d(lambda self, x, labels=None: Judge.forward(self, x.detach().mul_(0.5) + 0 * x)),
        "work on new tensors",
        d(lambda self, x, labels=None: Judge.forward(self, x.mul(0.5))),
    ),
    "a table of logits": (
        d(lambda self, x, labels=None: self.layer(x) + self.layer(x).squeeze(1)),
        "squeeze the last axis",
        d(lambda self, x, labels=None: self.layer(x).squeeze(-1) * 2),
    ),
    "a logit with an axis": (
        d(lambda self, x, labels=None: self.layer(x)), r"squeeze\(1\) a single logit",
        d(lambda self, x, labels=None: self.layer(x).squeeze(1)),
    ),
    "a mean of logits": (
        d(lambda self, x, labels=None: self.layer(x).mean()), "Keep the batch axis",
        d(lambda self, x, labels=None: self.layer(x).mean(1)),
    ),
    "decisions": (
        d(lambda self, x, labels=None: self.layer(x).squeeze(1) > 0), "return no decisions", d(),
    ),
    "logits in a mapping": (
        d(lambda self, x, labels=None: {"logits": self.layer(x).squeeze(1)}),
        r"must return float32 logits of shape \(N,\)", d(),
    ),
    "logits in an Output": (
        d(lambda self, x, labels=None: [self.layer(x).squeeze(1), x]),
        r"or an Output\(logits, classes=\.\.\., features=\.\.\.\)",
        d(lambda self, x, labels=None: Output(self.layer(x).squeeze(1), features=x)),
    ),
    "values beyond all bounds": (
        g(make=Huge), "check its initial weights", g(),
    ),
    "the same of any latent": (
        g(lambda self, x, labels=None: plain(self, torch.zeros_like(x))),
        "from its own row of the z that", g(),
    ),
    "latents mixed": (
        g(lambda self, x, labels=None: plain(self, x.sum(0, keepdim=True).expand(len(x), -1))),
        "from its own row of the z that", g(),
    ),
    "part of a latent": (
        g(lambda self, x, labels=None: plain(self, x * torch.tensor([1.0, 1.0, 0.0]))),
        "Use all of z", g(),
    ),
    "a smaller latent": (
        g(lambda self, x, labels=None: plain(self, x * torch.tensor([1.0, 1.0, 0.0]))),
        "or a smaller latent",
        g(make=lambda: Net(2), recommended={"latent": 2}),
    ),
    "samples off the graph": (
        g(lambda self, x, labels=None: plain(self, x).detach()), "remove what detaches them", g(),
    ),
    "logits under no_grad": (
        d(lambda self, x, labels=None: torch.no_grad()(Judge.forward)(self, x)),
        "must not detach, or run under no_grad", d(),
    ),
    "a parameter that is not used": (
        g(make=Spare), "Use these parameters in forward", g(make=lambda: Spare(used=True)),
    ),
    "a parameter on purpose": (
        g(make=Spare), r"or set requires_grad_\(False\) on", g(make=lambda: Spare(trained=False)),
    ),
    "layers of all nets": (
        g(make=lambda: ONE), "Create all layers inside the module's __init__", g(),
    ),
    "chance in eval mode": (
        g(lambda self, x, labels=None: plain(self, x) * torch.rand(1)),
        "must depend on self.training",
        g(lambda self, x, labels=None: plain(self, x) * (torch.rand(1) if self.training else 1)),
    ),
    "a state that is no tensor": (
        g(make=Odd), "hold tensors only", g(make=Tensors),
    ),
    "a tensor that is not kept": (
        g(make=Hidden), r"\(register_buffer\)", g(make=lambda: Hidden(kept=True)),
    ),
    "samples mixed": (
        g(lambda self, x, labels=None: plain(self, x - x.mean(0))),
        "use running statistics in norms", g(make=Normed),
    ),
    "a gradient that needs what is gone": (
        g(lambda self, x, labels=None: plain(self, x).exp().log_().add_(1).sub_(1)),
        "No layer may change in place what its gradient needs",
        g(lambda self, x, labels=None: plain(self, x).exp().log()),
    ),
}  # fmt: skip


@row("plug-ins", *NETS)
def nets_that_break_their_contract(fault: str) -> None:
    broken, remedy, mended = NETS[fault]
    assert re.search(remedy, refused(Sound, broken, POINTS))
    checked(Sound, mended, POINTS)


@row("plug-ins", "generator", "discriminator")
def a_forward_of_another_form(player: str) -> None:
    ways = {"generator": "torch.tanh(self.layer(z))", "discriminator": "self.layer(x).squeeze(1)"}
    fed = ways[player].partition(")")[0][-1]
    broken = defined(f"def forward(self, {fed}): return {ways[player]}")
    form = found(r"declare it as (forward\(.+?\))", refused(Sound, of(player, broken), POINTS))
    checked(Sound, of(player, defined(f"def {form}: return {ways[player]}")), POINTS)


@row("plug-ins")
def layers_in_a_list() -> None:
    kind = found(r"of them as (nn\.\w+)", refused(Sound, g(make=Listed), POINTS))
    kept = type("Kept", (Listed,), {"kind": eval(kind)})
    checked(Sound, g(make=kept), POINTS)


@row("plug-ins")
def logits_of_patches() -> None:
    broken = defined("def forward(self, x, labels=None): return self.layer(x)[:, :, None] * X", X=X)
    way = found(r"(flatten\(1\)) several", refused(Sound, d(broken), POINTS))
    code = f"def forward(self, x, labels=None): return (self.layer(x)[:, :, None] * X).{way}"
    checked(Sound, d(defined(code, X=X)), POINTS)


X = torch.ones(1, 2, 2)


@row("plug-ins")
def samples_of_another_shape() -> None:
    broken = g(lambda self, x, labels=None: plain(self, x)[..., None])
    shape = literal(found(r"float32 tensor of shape (\(.+?\))", refused(Sound, broken, POINTS)))
    own = shape[1:]
    checked(Sound, g(lambda self, x, labels=None: plain(self, x).reshape(-1, *own)), POINTS)


@row("plug-ins")
def values_outside_their_range() -> None:
    broken = g(lambda self, x, labels=None: self.layer(x) * 9)
    text = refused(Sound, broken, POINTS)
    way = found(r"End it with (\w+)\(spec\) of ganzoo\.architectures\.layers", text)
    end = getattr(layers, way)(POINTS)
    checked(Sound, g(lambda self, x, labels=None: end(self.layer(x) * 9)), POINTS)


@row("plug-ins", "z.shape[0]", "x.reshape(-1, *shape)")
def a_generator_that_knows_its_batch(way: str) -> None:
    own = SampleSpec(kind="vector", shape=(3,))
    code = "def forward(self, z, labels=None): return torch.tanh(self.layer(z)).reshape(len(z), 3)"
    text = refused(Sound, g(defined(code)), own)
    assert way in found(r"a constant: write (.+)\.$", text).split(", or ")
    if way == "z.shape[0]":
        code = code.replace("len(z)", way)
    else:
        code = (
            "def forward(self, z, labels=None):\n"
            f"    x, shape = torch.tanh(self.layer(z)), (3,)\n    return {way}"
        )
    checked(Sound, g(defined(code)), own)


def labelled(spec: SampleSpec, net: Any, other: Any) -> nn.Module:
    return net(len(spec.classes)) if spec.classes else other()


@row("plug-ins", ("generator", True), ("generator", False), ("discriminator", True),
     ("discriminator", False))  # fmt: skip
def labels_that_are_ignored(player: str, used: bool) -> None:
    both = {"generator": lambda self, spec, _: labelled(spec, Labelled, Net)}
    both["discriminator"] = lambda self, spec: labelled(spec, LabelledJudge, Judge)
    space = {"conditional": True, **both}
    plainly = {"generator": lambda self, *_: Net(), "discriminator": lambda self, *_: Judge()}
    text = refused(Sound, {**space, player: plainly[player]}, NAMED)
    assert "Use the labels that forward() gets" in text
    assert "set conditional to False" in text
    checked(Sound, space if used else {**plainly, "conditional": False}, NAMED)


class Choosy(Sound):
    """Only of three numbers."""

    def check(self, spec: SampleSpec) -> None:
        if spec.shape != (3,):
            self.refuse(spec, "it does three numbers only.")


@row("plug-ins")
def samples_that_its_nets_cannot_do() -> None:
    def three(self: Any, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        if spec.numel != 3:
            raise ValueError("three")
        return Net(latent.numel)

    text = refused(Sound, {"generator": three}, SampleSpec(kind="vector", shape=(2,)))
    method = found(r"Refuse what it cannot do in (\w+)\(spec\)", text)

    def check(self: Any, spec: SampleSpec) -> None:
        if spec.numel != 3:
            raise UnsupportedSampleError("three")

    checked(Sound, {"generator": three, method: check}, POINTS)
    with registered(Sound, {"generator": three, method: check}) as made:
        assert said(lambda: made().check(SampleSpec(kind="vector", shape=(2,)))) == "three"


@row("plug-ins", "refuse", "build")
def labels_that_are_not_there(way: str) -> None:
    def own(self: Any, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        return Labelled(len(spec.classes))

    judge = {"discriminator": lambda self, *_: LabelledJudge()}
    space = {"conditional": True, "generator": own, **judge}
    text = refused(Sound, space, NAMED)
    assert "build nets without labels then" in text
    assert "Refuse what it cannot do in check(spec)" in text

    def check(self: Any, spec: SampleSpec) -> None:
        if spec.classes is None:
            raise UnsupportedSampleError("It needs classes.")

    both = {
        "generator": lambda self, spec, _: labelled(spec, Labelled, Net),
        "discriminator": lambda self, spec: labelled(spec, LabelledJudge, Judge),
    }
    ways = {"refuse": {"check": check}, "build": both}
    checked(Sound, {**space, **ways[way]}, NAMED)


@row("plug-ins")
def an_architecture_of_one_kind_of_samples() -> None:
    text = refused(Choosy, {})
    option = found(r"check_architecture\(\.\.\., (\w+)=SampleSpec\(", text)
    checked(Choosy, {}, **{option: POINTS})


@row("plug-ins")
def a_size_that_it_recommends_and_refuses() -> None:
    def check(self: Any, spec: SampleSpec) -> None:
        if spec.kind == "image" and spec.size != (32, 32):
            raise UnsupportedSampleError("32x32.")

    space = {
        "check": check,
        "generator": lambda self, spec, latent: Picture(latent.numel),
        "discriminator": lambda self, spec: OutputFormat(),
    }
    method = found(r"Override (\w+) so that", refused(Sound, space))
    checked(Sound, {**space, method: lambda self, height, width: (32, 32)})


class Picture(Net):
    def __init__(self, latent: int) -> None:
        super().__init__(latent, 3 * 32 * 32)

    def forward(self, x: Any, labels: Any = None) -> Any:
        return plain(self, x).reshape(-1, 3, 32, 32)


class OutputFormat(Net):
    def __init__(self) -> None:
        super().__init__(3 * 32 * 32, 1)

    def forward(self, x: Any, labels: Any = None) -> Any:
        return self.layer(x.flatten(1)).squeeze(1)


@row("plug-ins")
def an_architecture_that_keeps_state() -> None:
    def counting(self: Any, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        self.seen.append(1)
        return Net(latent.numel)

    class Counting(Sound):
        seen: list[int] = Field(default_factory=list)

    text = refused(Counting, {"generator": counting}, POINTS)
    assert "keep state in what it builds or gets (the buffers of a net" in text
    checked(Counting, g(make=lambda: Hidden(kept=True)), POINTS)


@row("plug-ins", "None", "options")
def what_shapes_do_not_tell(what: str) -> None:
    class Wide(Sound):
        wide: int = 5

        def generator(self, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
            return Net(latent.numel)

    def infer(options: Any, latent: int = 3) -> Any:
        return classmethod(lambda cls, shapes: Inferred(latent, 3, options=options))

    if what == "None":
        text = refused(Wide, {"infer": infer({}, latent=9)}, POINTS)
        told = eval(found(r"Return (None) where", text))
        checked(Wide, {"infer": classmethod(lambda cls, shapes: told)}, POINTS)
        return

    wide = {"generator": lambda self, *_: Broad(self.wide)}
    text = refused(Wide, {"infer": infer({"wide": 1}), **wide}, POINTS)
    assert "Leave out what shapes do not tell" in text
    checked(Wide, {"infer": infer({}), **wide}, POINTS)


class Broad(Net):
    def __init__(self, wide: int) -> None:
        super().__init__()
        self.first = nn.Linear(3, wide)
        self.layer = nn.Linear(wide, 3)

    def forward(self, x: Any, labels: Any = None) -> Any:
        return plain(self, self.first(x))


# -- losses -----------------------------------------------------------------------------------


class Critic(Loss):
    """A sound loss."""

    def discriminator(self, real: Any, fake: Any) -> Any:
        return fake.mean() - real.mean()

    def generator(self, fake: Any, real: Any = None) -> Any:
        return -fake.mean()


def dl(code: str) -> Space:
    return {"discriminator": defined(f"def discriminator(self, real, fake): {code}")}


def gl(code: str, form: str = "self, fake, real=None") -> Space:
    return {"generator": defined(f"def generator({form}): {code}")}


SOFT = "functional.softplus(fake).mean() + functional.softplus(-real).mean()"
LOG = "functional.logsigmoid(fake).mean() - functional.logsigmoid(real).mean()"

LOSSES: dict[str, tuple[Space, str, Space]] = {
    "one for each": (dl("return fake - real"), "Return the mean over the batch", {}),
    "nothing": (gl("fake.mean()"), r"it is a NoneType\. Return the mean", {}),
    "a number of Python's": (
        gl("return -fake.mean().item()"), r"by tensors, without item\(\)", {},
    ),
    "detached": (gl("return -fake.detach().mean()"), "from the logits, without detach", {}),
    "large logits, stable": (
        dl("return torch.log(1 + torch.exp(fake)).mean() + torch.log(1 + torch.exp(-real)).mean()"),
        "such as softplus", dl(f"return {SOFT}"),
    ),
    "large logits of G": (
        gl("return -torch.log(torch.sigmoid(fake)).mean()"), "or logsigmoid",
        gl("return -functional.logsigmoid(fake).mean()"),
    ),
    "gradients of large logits": (
        gl("return -torch.sigmoid(fake).log().clamp(-99).mean()"), "such as softplus",
        gl("return functional.softplus(-fake).mean()"),
    ),
    "gradients of D's large logits": (
        dl("return (1 - torch.sigmoid(fake)).log().clamp(-99).mean().neg() - real.mean()"),
        "or logsigmoid", dl(f"return {LOG}"),
    ),
    "nothing of G": (
        gl("return (fake.detach().mean() + W).sum()"), "use the logits of fake samples", {},
    ),
    "nothing of D": (
        dl("return (fake.detach().mean() + W).sum()"), "use its logits of both batches", {},
    ),
    "fake samples alone": (dl("return fake.mean()"), "its logits of real samples", {}),
    "real samples alone": (dl("return -real.mean()"), "its logits of fake samples", {}),
    "logits changed": (dl("return fake.sub_(real).mean()"), "work on new tensors", {}),
    "the first of several": (
        gl("return -fake[:1].sum() if fake.ndim == 1 else -fake.sum()"), "Take the mean over all",
        {},
    ),
    "a score of all": (
        {"score": lambda self, logits: logits.mean()}, "one value per logit",
        {"score": lambda self, logits: logits.sigmoid()},
    ),
    "advice that is no JSON": (
        {"recommended": {"d_steps": {1}}}, "must be numbers, strings",
        {"recommended": {"d_steps": 1}},
    ),
}  # fmt: skip


@row("plug-ins", *LOSSES)
def losses_that_break_their_contract(fault: str) -> None:
    broken, remedy, mended = LOSSES[fault]
    assert re.search(remedy, refused(Critic, broken))
    checked(Critic, mended)


@row("plug-ins")
def real_samples_in_the_phase_of_g() -> None:
    code = "return real.mean() - fake.mean()"
    name, kind, value = re.search(
        r"says (\w+): (ClassVar\[bool\]) = (True)", refused(Critic, gl(code))
    ).groups()
    told = {name: literal(value), "__annotations__": {name: kind}}
    checked(Critic, {**gl(code), **told})


@row("plug-ins", True, False)
def a_loss_of_g_with_another_form(sees: bool) -> None:
    told = {"generator_sees_real": True, "__annotations__": {"generator_sees_real": ClassVar[bool]}}
    text = refused(Critic, {**gl("return -fake.mean()", "self, fake"), **told})
    with_real, without = re.search(
        r"G's half is generator\((.+?)\), and without it generator\((.+?)\)", text
    ).groups()
    if sees:
        checked(Critic, {**gl("return real.mean() - fake.mean()", f"self, {with_real}"), **told})
    else:
        checked(Critic, gl("return -fake.mean()", f"self, {without}"))


@row("plug-ins", "discriminator", "generator")
def a_loss_of_one_player(player: str) -> None:
    other = {"discriminator": "generator", "generator": "discriminator"}[player]
    half = {other: vars(Critic)[other]}
    text = refused(Loss, half)
    assert f"no {player} loss: override one of the two" in text
    checked(Loss, {**half, player: vars(Critic)[player]})


@row("plug-ins", "option", "ClassVar")
def a_loss_that_keeps_something(way: str) -> None:
    text = refused(Critic, {"_seen": PrivateAttr(1), "__annotations__": {"_seen": int}})
    assert "make them options, ClassVars" in text
    kind = int if way == "option" else ClassVar[int]
    checked(Critic, {"seen": 1, "__annotations__": {"seen": kind}})


@row("plug-ins")
def a_loss_that_may_change() -> None:
    text = refused(Critic, {"model_config": ConfigDict(frozen=False, extra="allow")})
    assert "must stay frozen and forbid unknown" in text
    checked(Critic, {"model_config": ConfigDict(title="x")})


@row("plug-ins")
def a_loss_that_counts() -> None:
    def counting(self: Any, logits: Any) -> Any:
        self.seen.append(1)
        return logits

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    assert "or keep none" in refused(Critic, {**space, "score": counting})
    checked(Critic, {**space, "score": lambda self, logits: logits})


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


LABELS = torch.arange(8) % 2
WIDE = SampleSpec(kind="vector", shape=(3,), value_range=(0.0, 1.0))
FREE = SampleSpec(kind="vector", shape=(3,), value_range=None)
NAN = torch.full((8, 3), float("nan"))


def empty() -> Samples:
    raise DataError("There are no points in 'x'.")


DATA: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "no samples at all": (
        lambda: torch.zeros(8, 3), r"must return Samples\(data, spec, ...\)", samples,
    ),
    "classes without labels": (
        lambda: samples(classes=("a", "b")), "give labels",
        lambda: samples(labels=LABELS, classes=("a", "b")),
    ),
    "no classes": (
        lambda: samples(classes=("a", "b")), "or classes=None", samples,
    ),
    "labels without classes": (
        lambda: samples(labels=LABELS), r"give spec\.classes",
        lambda: samples(labels=LABELS, classes=("a", "b")),
    ),
    "labels of another type": (
        lambda: samples(labels=LABELS.int(), classes=("a", "b")), "must be int64 on the CPU",
        lambda: samples(labels=LABELS.int().to(torch.int64), classes=("a", "b")),
    ),
    "labels beyond the classes": (
        lambda: samples(labels=LABELS + 1, classes=("a", "b")), "must lie between 0 and 1",
        lambda: samples(labels=(LABELS + 1).clamp(0, 1), classes=("a", "b")),
    ),
    "a label too few": (
        lambda: samples(labels=LABELS[1:], classes=("a", "b")), "give one label per sample",
        lambda: samples(labels=LABELS, classes=("a", "b")),
    ),
    "doubles": (
        lambda: samples(torch.zeros(8, 3).double()), "must be uint8 or float32",
        lambda: samples(torch.zeros(8, 3).float()),
    ),
    "none": (
        lambda: samples(torch.zeros(0, 3)), "raise DataError instead", None,
    ),
    "not finite": (lambda: samples(NAN), "remove or repair", lambda: samples(NAN.nan_to_num())),
    "beyond their range": (
        lambda: samples(stored_range=(0.0, 1.0)), "Say the range of the data", samples,
    ),
    "beyond their spec": (
        lambda: samples(spec=WIDE, stored_range=None), "Give the stored_range of the data", samples,
    ),
    "no range": (
        lambda: samples(spec=WIDE, stored_range=None), "or value_range=None",
        lambda: samples(spec=FREE, stored_range=None),
    ),
    "others each time": (
        lambda: samples(torch.rand(8, 3)), "seed what is random",
        lambda: samples(torch.rand(8, 3, generator=torch.Generator().manual_seed(0))),
    ),
}  # fmt: skip


@row("plug-ins", *DATA)
def datasets_that_break_their_contract(fault: str) -> None:
    broken, remedy, mended = DATA[fault]
    assert re.search(remedy, refused(Points, loads(broken)))
    if mended is None:
        assert "no points" in refused(Points, loads(empty))
    else:
        checked(Points, loads(mended))


@row("plug-ins")
def a_dataset_that_counts() -> None:
    def counting(self: Any) -> Any:
        self.seen.append(1)
        return samples()

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    assert "or keep none" in refused(Points, {**space, "load": counting})
    checked(Points, space)


# -- metrics ----------------------------------------------------------------------------------


class Mean(Metric):
    """A sound metric."""

    requires: ClassVar[Any] = ("samples",)
    sample_kinds: ClassVar[Any] = ("vector",)

    def compute(self, real: Any, fake: Any) -> Result:
        return Result(value(real, fake))


def value(real: Any, fake: Any) -> float:
    return abs(float(real.samples.double().mean() - fake.samples.double().mean()))


def scores(make: Callable[[Any, Any], Any]) -> Space:
    return {"compute": lambda self, real, fake: make(real, fake)}


def const(**values: Any) -> Space:
    return {**values, "__annotations__": dict.fromkeys(values, ClassVar[Any])}


def drawn(self: Any, real: Any, fake: Any) -> Result:
    source = torch.Generator().manual_seed(self.seed)
    rows = torch.randint(0, fake.count, (9,), generator=source)
    return Result(float(fake.samples[rows].double().mean()))


SEEDED: Space = {"seed": 0, "__annotations__": {"seed": int}, "compute": drawn}

METRICS: dict[str, tuple[Space, str, Space]] = {
    "better than what": (const(better="most"), "say 'lower' or 'higher'", const(better="higher")),
    "better than nothing": (const(better="most"), "or None for neither", const(better=None)),
    "a kind that is none": (
        const(sample_kinds=("points",)), "give a tuple of", const(sample_kinds=("vector",)),
    ),
    "a part that is none": (
        const(requires="samples"), "give a tuple of", const(requires=("samples",)),
    ),
    "chance of torch's": (
        scores(lambda real, fake: Result(float(fake.samples[torch.randperm(9)].mean()))),
        "with an option 'seed'", SEEDED,
    ),
    "chance of Python's": (
        scores(lambda real, fake: Result(float(np.random.default_rng().random()))),
        "must follow from an option 'seed'", SEEDED,
    ),
    "an order that matters": (
        scores(lambda real, fake: Result(float(fake.samples[0].mean()))), "has an option 'seed'",
        SEEDED,
    ),
    "what was not gathered": (
        scores(lambda real, fake: Result(float(fake.features.mean()))),
        r"only what it requires of a vector of shape \(2,\): samples", {},
    ),
    "a number": (scores(value), r"must return a Result\(value, ...\)", {}),
    "a tensor": (
        scores(lambda real, fake: Result(fake.samples.mean())), r"take float\(\) of it", {},
    ),
    "an error below zero": (
        scores(lambda real, fake: Result(value(real, fake), error=-1.0)),
        "a finite number from 0 on",
        scores(lambda real, fake: Result(value(real, fake), error=0.0)),
    ),
    "an error that is unknown": (
        scores(lambda real, fake: Result(value(real, fake), error=float("nan"))),
        "or None", scores(lambda real, fake: Result(value(real, fake), error=None)),
    ),
    "an extra that is no JSON": (
        scores(lambda real, fake: Result(value(real, fake), extra={"all": {1, 2}})),
        "Give numbers, texts, and lists",
        scores(lambda real, fake: Result(value(real, fake), extra={"all": [1, 2]})),
    ),
    "a notice that is no tuple": (
        scores(lambda real, fake: Result(value(real, fake), notices="odd")),
        "must be a tuple of texts",
        scores(lambda real, fake: Result(value(real, fake), notices=("odd",))),
    ),
    "a check of its own": (
        {"check": lambda self, spec: None}, r"Call super\(\)",
        {"check": lambda self, spec: Metric.check(self, spec)},
    ),
    "a score of its own": (
        {"score": lambda self, real, fake: self.compute(real, fake)}, r"Call super\(\)",
        {"score": lambda self, real, fake: Metric.score(self, real, fake)},
    ),
    "features without an extractor": (
        {**const(requires=("features",)), **scores(
            lambda real, fake: Result(float(fake.features.double().mean()))
        )},
        "option 'extractor'", {},
    ),
}  # fmt: skip


@row("plug-ins", *METRICS)
def metrics_that_break_their_contract(fault: str) -> None:
    broken, remedy, mended = METRICS[fault]
    assert re.search(remedy, refused(Mean, broken))
    checked(Mean, mended)


@row("plug-ins")
def a_metric_of_one_kind_of_samples() -> None:
    def check(self: Any, spec: SampleSpec) -> None:
        super(Mean, self).check(spec)
        if spec.shape != (5,):
            raise ConfigError("Five numbers.")

    option = found(r"check_metric\(\.\.\., (\w+)=SampleSpec\(", refused(Mean, {"check": check}))
    checked(Mean, {"check": check}, **{option: SampleSpec(kind="vector", shape=(5,))})


@row("plug-ins")
def a_metric_that_counts() -> None:
    def counting(self: Any, real: Any, fake: Any) -> Any:
        self.seen.append(1)
        return Result(value(real, fake))

    def caching(self: Any, real: Any, fake: Any) -> Any:
        getattr(fake, name)["seen"] = 1
        return Result(value(real, fake))

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    text = refused(Mean, {**space, "compute": counting})
    name = found(r"the (\w+) of a metric's inputs", text)
    checked(Mean, {"compute": caching})


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


class Weighted(Eye):
    """Weights that gradients are kept for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        with torch.no_grad():
            self.layer.weight.fill_(0.1)
            self.layer.bias.fill_(0.1)

    def forward(self, samples: Any) -> Any:
        return Features(self.layer(Eye.forward(self, samples).pool))


def builds(make: Callable[[], Any]) -> Space:
    return {"build": lambda self, device, precision="auto": make()}


EXTRACTORS: dict[str, tuple[Space, str, Space]] = {
    "a form that is none": (
        {"quantisation": "int8", "__annotations__": {"quantisation": ClassVar[str]}},
        "'uint8' or 'none' says", {"quantisation": property(lambda self: "none")},
    ),
    "a hash that is none": (
        {"weights_hash": lambda self: "v1"}, r"ganzoo\.features\.base\.fingerprint makes one", {},
    ),
    "a preparation that is no JSON": (
        {"preparation": lambda self: {"size": {1}}}, "must return plain values",
        {"preparation": lambda self: {"size": 1}},
    ),
    "a preparation that changes": (
        {"preparation": lambda self: {"at": np.random.default_rng().random()}},
        "must follow from the options and the weights alone", {},
    ),
    "a function": (builds(lambda: flat), r"must return an nn\.Module", {}),
    "a net in training mode": (
        builds(lambda: Eye().train()), r"Call (eval\(\))", builds(lambda: Eye().eval()),
    ),
    "a net that is trained": (
        builds(lambda: Weighted().eval()), r"call requires_grad_\(False\)",
        builds(lambda: Weighted().eval().requires_grad_(False)),
    ),
    "a tensor": (
        sees(lambda self, x: look(self, x).pool), r"must return Features\(pool, logits=None\)", {},
    ),
    "doubles": (
        sees(lambda self, x: Features(look(self, x).pool.double())), "must be a float32 tensor",
        sees(lambda self, x: Features(look(self, x).pool.double().float())),
    ),
    "gradients": (
        sees(lambda self, x: Features(look(self, x).pool.requires_grad_())),
        r"run the net under torch\.no_grad",
        sees(torch.no_grad()(lambda self, x: look(self, x))),
    ),
    "samples changed": (
        sees(lambda self, x: look(self, x.mul_(2))), "work on new tensors",
        sees(lambda self, x: look(self, x.mul(2))),
    ),
    "chance": (
        sees(lambda self, x: Features(look(self, x).pool * torch.rand(1))),
        "leave out what is random", {},
    ),
    "chance in training mode": (
        sees(lambda self, x: Features(functional.dropout(look(self, x).pool, 0.5, True))),
        "Put it into eval mode",
        sees(lambda self, x: Features(functional.dropout(look(self, x).pool, 0.5, self.training))),
    ),
    "samples mixed": (
        sees(lambda self, x: Features(look(self, x).pool - look(self, x).pool.mean(0))),
        "no layer may mix", {},
    ),
    "two channels": (
        sees(lambda self, x: Features(x.float().mean((2, 3)) @ self.weight)),
        "Refuse what the net cannot see by UnsupportedSampleError", {},
    ),
}  # fmt: skip


@row("plug-ins", *EXTRACTORS)
def extractors_that_break_their_contract(fault: str) -> None:
    broken, remedy, mended = EXTRACTORS[fault]
    assert re.search(remedy, refused(Seeing, broken))
    checked(Seeing, mended)


@row("plug-ins")
def weights_that_are_not_loaded() -> None:
    class Newborn(Eye):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.rand(3, 4)

    class Loaded(Newborn):
        def __init__(self) -> None:
            super().__init__()
            self.load_state_dict(kept)

    kept = Newborn().state_dict()
    assert "its weights must be loaded" in refused(Seeing, const(eye=Newborn))
    checked(Seeing, const(eye=Loaded))


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


def columns() -> Callable[..., None]:
    seen: list[Any] = []

    def scalars(self: Any, step: int, values: Any) -> None:
        seen.append([*values])
        if seen[-1] != seen[0]:
            raise ValueError("another column")

    return scalars


def files(mode: str) -> Space:
    def log(self: Any, folder: Path, settings: Any, step: int) -> Any:
        with (folder / "log.txt").open(mode):
            return Silent()

    return {"open": log}


TRACKERS: dict[str, tuple[Space, str, Space]] = {
    "no log": ({"open": lambda self, *_: None}, "must return a Log", {}),
    "chance of torch's": (
        logs(scalars=lambda self, *_: torch.rand(1)), r"Use a torch\.Generator",
        logs(scalars=lambda self, *_: torch.rand(1, generator=torch.Generator())),
    ),
    "columns that stay": (
        logs(scalars=columns()), "Columns may come and go between rows", {},
    ),
    "a picture changed": (
        logs(images=lambda self, step, name, image: image.putpixel((0, 0), 0)), "copy it",
        logs(images=lambda self, step, name, image: image.copy().putpixel((0, 0), 0)),
    ),
    "pictures of one mode": (
        logs(images=lambda self, step, name, image: 1 / (image.mode == "RGB")),
        "Pictures are of mode L, RGB or RGBA",
        logs(images=lambda self, step, name, image: 1 / (image.convert("RGB").mode == "RGB")),
    ),
    "settings changed": (
        {"open": lambda self, folder, settings, step: settings.pop("steps") and Silent()},
        "copy them",
        {"open": lambda self, folder, settings, step: dict(settings).pop("steps") and Silent()},
    ),
    "a file that is there": (
        files("x"), "go on after what earlier steps left in the folder", files("a"),
    ),
    "an end that depends": (
        logs(finish=lambda self: 1 / 0), "It must end the log in any state", {},
    ),
}  # fmt: skip


@row("plug-ins", *TRACKERS)
def trackers_that_break_their_contract(fault: str) -> None:
    broken, remedy, mended = TRACKERS[fault]
    assert re.search(remedy, refused(Quiet, broken))
    checked(Quiet, mended)


@row("plug-ins")
def a_tracker_that_counts() -> None:
    def counting(self: Any, *_: Any) -> Any:
        self.seen.append(1)
        return Silent()

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    assert "a tracker's Log" in refused(Quiet, {**space, "open": counting})
    checked(Quiet, {**space, **logs(__init__=lambda self: setattr(self, "seen", 1))})


# -- data -------------------------------------------------------------------------------------


def pictures(
    root: str = "photos", count: int = 8, folders: tuple[str, ...] = (), size: int = 8
) -> Path:
    """A folder of pictures, in such folders by turns."""
    for number in range(count):
        place = Path(root, folders[number % len(folders)] if folders else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(1, size)[0, 0] // 9 + 20 * number).save(place / f"{number}.png")
    return Path(root)


def loaded(value: Any = "photos", **options: Any) -> Samples:
    """The samples of a folder, or of what is given."""
    if isinstance(value, (str, Path)):
        return datasets.create({"name": "folder", "path": str(value), **options}).load()
    return InMemoryDataset.of(value, **options).load()


def words(text: str) -> dict[str, Any]:
    """Options that a message says, such as key='x' and size=(1, 2)."""
    pairs = re.findall(r"\b([a-z]\w*)=('[^']*'|\([^)]*\)|\[[^\]]*\]|[\w.]+)", text)
    return {name: literal(value) for name, value in pairs}


def floats(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


class Made(torch.utils.data.Dataset):
    """Items as a function makes them."""

    def __init__(self, make: Callable[[int], Any], count: int | None = 24, **more: Any) -> None:
        self.make, self.count = make, count
        vars(self).update(more)

    def __len__(self) -> int:
        if self.count is None:
            raise OSError("no list of files")
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


NUMBERS: dict[str, Callable[[], Any]] = {
    "zeros left out": lambda: torch.eye(24).to_sparse(),
    "complex tensors": lambda: torch.complex(torch.rand(24, 8, 8), torch.rand(24, 8, 8)),
    "complex channels": lambda: torch.complex(torch.rand(24, 1, 8, 8), torch.rand(24, 1, 8, 8)),
    "complex arrays": lambda: floats(24, 8, 8) * (0.5 + 0.5j),
    "masked": lambda: np.ma.masked_greater(floats(24, 8, 8), 0.9),
    "records": lambda: np.zeros(24, [("a", "f4"), ("b", "f4")]),
    "numbers as objects": lambda: np.array([[1, 2.0]] * 24, object),
    "times": lambda: np.full((24, 2), 3, "datetime64[s]"),
    "a table": lambda: pandas.DataFrame({"a": range(24), "b": range(24)}),
    "a table of texts": lambda: pandas.DataFrame({"a": range(24), "b": ["x", "y"] * 12}),
    "a loader": lambda: torch.utils.data.DataLoader(Made(lambda index: torch.rand(1, 8, 8))),
    "an iterator": lambda: iter([floats(8, 8) for _ in range(24)]),
    "a function": lambda: yielding,
    "a list of arrays": lambda: [floats(8, 8) for _ in range(24)],
    "a list of lists": lambda: [[1.0, 2.0]] * 24,
    "bytes as names": lambda: {b"data": pixels(), b"labels": np.arange(24) % 2},
    "lists by names": lambda: {"images": pixels().tolist(), "labels": [0] * 24},
    "splits": lambda: {"train": Made(lambda index: torch.rand(1, 8, 8))},
}  # fmt: skip


def yielding() -> Iterator[Any]:
    for _ in range(24):
        yield floats(8, 8)


@row("data", *NUMBERS)
def what_is_no_array_of_numbers(kind: str) -> None:
    data = NUMBERS[kind]()
    text = said(lambda: loaded(data))
    way = re.search(r"(?:: |such as )((?:data|numpy|torch|pandas|\{key).+)\.$", text)
    assert way, text
    names = {"data": data, "numpy": np, "torch": torch, "pandas": pandas}
    made = eval(way[1], names)
    assert len(
        loaded(made, **({"stored_range": (0, 255)} if kind == "lists by names" else {})).data
    )


@row("data")
def arrays_of_several_shapes() -> None:
    odd = np.empty(2, object)
    odd[:] = [floats(8, 8), floats(8, 7)]
    text = said(lambda: loaded(odd))
    way = getattr(np, found(r"to one shape, and give numpy\.(\w+) of them", text))
    assert loaded(way([each[:, :7] for each in odd])).spec.shape == (1, 8, 7)


ARRAYS: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "nothing": (lambda: floats(0, 8, 8), "give at least one sample", lambda: floats(1, 8, 8)),
    "NaN": (lambda: floats(24, 8, 8) * np.nan, "remove or replace them",
            lambda: np.nan_to_num(floats(24, 8, 8) * np.nan)),
    "labels too few": (lambda: (pixels(), [0] * 20), "give one label per sample",
                       lambda: (pixels(), [0] * 24)),
    "five axes": (lambda: floats(24, 1, 2, 3, 4), r"reshape it to \(N, H, W\) or \(N, C, H, W\)",
                  lambda: floats(24, 1, 2, 3, 4).reshape(24, 2, 3, 4)),
}  # fmt: skip


@row("data", *ARRAYS)
def arrays_that_are_no_samples(fault: str) -> None:
    broken, remedy, mended = ARRAYS[fault]
    assert re.search(remedy, said(lambda: loaded(broken())))
    assert len(loaded(mended()).data)


@row("data")
def one_number_for_each_sample() -> None:
    data = floats(24)
    way = found(r"; (data\.reshape\(.+?\)) makes", said(lambda: loaded(data)))
    assert len(loaded(eval(way, {"data": data})).data) == 24


@row("data")
def numbers_that_are_too_near_each_other() -> None:
    data = 1e9 + np.random.default_rng(0).random((240, 3))
    way = found(r"first: data = (.+)\.$", said(lambda: loaded(data)))
    assert loaded(eval(way, {"data": data})).spec.shape == (3,)


@row("data", "item_shape", "layout", "key", "stored_range")
def options_that_do_not_fit(option: str) -> None:
    value, data = {
        "item_shape": ((2, 8, 8), pixels()),
        "layout": ("channels-last", floats(24, 3)),
        "key": ("images", pixels()),
        "stored_range": ((0, 100), pixels()),
    }[option]
    text = said(lambda: loaded(data, **{option: value}))
    assert re.search(r"leave (it|them|item_shape) out|or leave it out|correct the range", text)
    loaded(data)
    if option == "item_shape":
        loaded(data, item_shape=(1, int(found(r"samples of (\d+) values", text)) // 8, 8))
    if option == "key":
        assert "give a dict of arrays" in text
        loaded({"images": data}, key="images")
    if option == "stored_range":
        high = int(found(r"from 0 to (\d+)", text))
        loaded(data, stored_range=(0, high))


@row("data", (1, 0), (0.5, 0.5))
def a_range_that_is_the_wrong_way_round(low: float, high: float) -> None:
    text = said(lambda: loaded(floats(24, 8, 8), stored_range=(low, high)))
    assert "swap or correct it" in text
    loaded(floats(24, 8, 8), stored_range=(high, low) if low > high else (0, 1))


@row("data")
def several_arrays_of_labels() -> None:
    data = {"images": pixels(), "labels": np.arange(24) % 2, "y": np.arange(24) % 3}
    options = words(found(r"which one with (.+?)\. Names", said(lambda: loaded(data))))
    assert loaded(data, **options).spec.classes


@row("data")
def statistics_instead_of_samples() -> None:
    text = said(lambda: loaded({"mu": floats(4), "sigma": floats(4, 4)}))
    assert "such as a folder of pictures or an array of images" in text
    loaded(pixels())
    loaded(pictures())


@row("data", ".npy", ".npz")
def an_array_file_of_another_kind(suffix: str) -> None:
    np.save("one.npy", pixels())
    np.savez("two.npz", images=pixels())
    real = Path("one.npy" if suffix == ".npz" else "two.npz")
    wrong = real.rename(f"x{suffix}")
    text = said(lambda: trainer(str(wrong)))
    right = wrong.rename(f"x{found(r'rename it to (.[a-z]+)', text)}")
    assert trainer(str(right)).spec.shape == (1, 8, 8)


@row("data", "x.dat", "nowhere.npy", "folder.npy")
def what_is_no_array_file(name: str) -> None:
    np.save("x.npy", pixels())
    Path("folder.npy").mkdir()
    text = said(lambda: trainer({"name": "array", "path": name}))
    if name == "x.dat":
        kinds = re.findall(r"(\.[a-z]+)", found(r"as one of (.+)\.$", text))
        assert {".npy", ".npz"} <= {*kinds}
    else:
        assert "correct the path of the dataset 'array'" in text
    trainer({"name": "array", "path": "x.npy"})


@row("data", "pickle", "damaged")
def an_array_file_that_cannot_be_read(how: str) -> None:
    array = np.array([[1, 2.0]] * 24, object)
    np.save("x.npy", array, allow_pickle=True)
    if how == "damaged":
        np.save("x.npy", array.astype("float32"))
        Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:90])
    text = said(lambda: trainer("x.npy"))
    if how == "pickle":
        way = found(r"plain numbers with (numpy\.save\(.+\))\.$", text)
        eval(way, {"numpy": np, "path": "x.npy", "array": array})
    else:
        assert "write it again" in text
        np.save("x.npy", array.astype("float32"))
    assert trainer("x.npy").spec.shape == (2,)


@row("data")
def an_archive_of_arrays_that_cannot_be_read() -> None:
    np.savez("x.npz", images=np.array([[1, 2.0]] * 24, object), allow_pickle=True)
    with np.load("x.npz") as archive:
        assert "write it again, with plain numbers" in said(lambda: loaded(archive))
    np.savez("x.npz", images=np.array([[1, 2.0]] * 24, "float32"))
    with np.load("x.npz") as archive:
        assert loaded(archive).spec.shape == (2,)


@row("data", [0.5, 1.5] * 12, [1.0, 2.0] * 12, [[1, 2]] * 24)
def labels_that_are_no_classes(labels: Any) -> None:
    settings = {"arch": "labelled", "conditional": True}
    with registered_for_labels():
        text = said(lambda: trainer((pixels(), labels), **settings))
        assert "give one integer or string per sample, or leave conditional off" in text
        trainer((pixels(), labels))
        if way := re.search(r"; (numpy\.asarray\(labels\)\.astype\('int64'\)) makes", text):
            labels = eval(way[1], {"numpy": np, "labels": labels})
        else:
            labels = [str(each) for each in labels]
        assert trainer((pixels(), labels), **settings).spec.classes


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


@row("data")
def an_empty_name() -> None:
    text = said(lambda: trainer(""))
    assert "give a name or a path, or leave the dataset out" in text
    for name in found(r"Available: (.+)\.$", text).split(", "):
        datasets.get(name)


# -- archives ---------------------------------------------------------------------------------


def packed(name: str, *names: str, password: bool = False, method: int = 0) -> Path:
    with zipfile.ZipFile(name, "w", method) as file:
        for each in names:
            file.write(f"photos/{each}", each)
    if password:  # the flag alone
        content = bytearray(Path(name).read_bytes())
        place = content.rindex(b"PK\x01\x02") + 8
        content[place] |= 1
        Path(name).write_bytes(content)
    return Path(name)


@row("data", "other files", "nothing")
def an_archive_without_pictures(content: str) -> None:
    pictures()
    Path("photos/letter.txt").touch()
    packed("x.zip", *(["letter.txt"] if content == "other files" else []))
    text = said(lambda: loaded("x.zip"))
    for suffix in found(r"give one with pictures \((.+)\)", text).split(", "):
        with contextlib.suppress(ValueError, KeyError):
            Image.open("photos/0.png").convert("L").save(f"photos/a{suffix}")
            packed("x.zip", f"a{suffix}")
            assert loaded("x.zip").spec.size == (8, 8)


@row("data", True, False)
def an_archive_that_cannot_be_opened(secret: bool) -> None:
    pictures()
    packed("x.zip", "0.png", password=secret)
    if not secret:
        content = Path("x.zip").read_bytes()
        place = content.index(b"PK\x01\x02") + 10
        Path("x.zip").write_bytes(content[:place] + b"\x62" + content[place + 1 :])
    text = said(lambda: loaded("x.zip"))
    assert re.search(r"unpack it (with its password )?and give the folder", text)
    assert loaded("photos").spec.shape == (1, 8, 8)
    if not secret:
        method = int(found(r"pack it again \(zip -(\d) -r\)", text))
        packed("x.zip", "0.png", method=method)
        assert loaded("x.zip").spec.shape == (1, 8, 8)


# -- folders ----------------------------------------------------------------------------------


@row("data", "photos/0.png", "phots", "photos.tar.gz", "photos.7z")
def a_folder_that_is_none(name: str) -> None:
    pictures()
    if name == "photos.tar.gz":
        shutil.make_archive("photos", "gztar", "photos")
    elif name == "photos.7z":
        Path(name).touch()
    text = said(lambda: loaded(name))
    if way := re.search(r"unpack it \((.+?)\) and give the folder", text):
        subprocess.run(way[1], shell=True, check=True)
        assert loaded("pictures").spec.shape == (1, 8, 8)
    else:
        assert re.search("correct the path|give the folder that", text)
        loaded(Path(name).parent if "/" in name else "photos")


@row("data", "nothing", "other files", "folders")
def a_folder_without_pictures(content: str) -> None:
    Path("empty").mkdir()
    if content == "other files":
        Path("empty/letter.txt").touch()
    elif content == "folders":
        Path("empty/deep").mkdir()
    text = said(lambda: loaded("empty"))
    assert ".png" in found(r"give one with pictures \((.+)\)", text).split(", ")
    pictures("empty")
    assert loaded("empty").spec.shape == (1, 8, 8)


@row("data", "folders", "none")
def a_label_column_without_a_label_file(labels: str) -> None:
    pictures(folders=("a", "b"))
    text = said(lambda: loaded(labels=labels, label_column="x"))
    assert "leave one of them out" in text
    loaded(labels=labels)


def written(name: str, content: Any) -> None:
    pictures(folders=("a", "b"))
    Path(f"photos/{name}").write_text(content if isinstance(content, str) else json.dumps(content))


FILES = [f"{'ab'[number % 2]}/{number}.png" for number in range(8)]
PAIRS = [[name, number % 2] for number, name in enumerate(FILES)]


def table(*columns: str, **values: Any) -> str:
    """A CSV file."""
    rows = [",".join(columns)]
    for number, name in enumerate(FILES):
        rows.append(",".join([name, *(str(values[each](number)) for each in columns[1:])]))
    return "\n".join(rows)


LABEL_FILES: dict[str, tuple[str, Any]] = {
    "no object": ("dataset.json", [1]),
    "nothing in it": ("dataset.json", {"labels": None}),
    "no pairs": ("dataset.json", {"labels": [1, 2]}),
    "damaged": ("dataset.json", '{"labels": ['),
    "too deep": ("dataset.json", "[" * 100_000),
    "labels of others": ("dataset.json", {"labels": [["other.png", 0]]}),
    "some without": ("dataset.json", {"labels": PAIRS[1:]}),
    "two of one": ("dataset.json", {"labels": [*PAIRS, [FILES[0], 1]]}),
    "no classes": ("dataset.json", {"labels": [[name, {"a": 1}] for name in FILES]}),
    "fractions": ("dataset.json", {"labels": [[name, 0.5 * k] for k, name in enumerate(FILES)]}),
    "no lines": ("metadata.jsonl", "1\n2\n"),
    "no column of files": ("metadata.csv", "label\n1\n"),
    "no column of labels": ("metadata.csv", table("file_name")),
    "captions": (
        "metadata.csv", table("file_name", "label", label=lambda number: f"a dog {number}"),
    ),
    "numbers": ("metadata.csv", table("file_name", "age", age=lambda number: number)),
    "texts of fractions": (
        "metadata.csv", table("file_name", "label", label=lambda number: f"{number % 3}.5"),
    ),
    "damaged table": ("metadata.parquet", "PAR1"),
}  # fmt: skip


@row("data", *LABEL_FILES)
def a_label_file_that_is_of_no_use(fault: str) -> None:
    written(*LABEL_FILES[fault])
    text = said(lambda: loaded(labels="file"))
    ways = re.findall(r"labels='(\w+)'", found(r"; correct it, or say (.+)\.$", text))
    assert ways == ["folders", "none"]
    assert [bool(loaded(labels=way).spec.classes) for way in ways] == [True, False]
    Path("photos", LABEL_FILES[fault][0]).unlink()
    written("dataset.json", {"labels": PAIRS})
    assert loaded(labels="file").spec.classes == ("0", "1")


@row("data")
def no_label_file() -> None:
    pictures()
    text = said(lambda: loaded(labels="file"))
    names = found(r"has no label file \((.+?)\)", text).split(", ")
    contents = {"json": json.dumps({"labels": PAIRS}), "csv": CSV, "jsonl": LINES}
    for name in names:
        if (kind := name.rpartition(".")[2]) != "parquet":
            shutil.rmtree("photos")
            written(name, contents[kind])
            assert loaded(labels="file").spec.classes == ("0", "1")


CSV = table("file_name", "label", label=lambda number: number % 2)
LINES = "\n".join(json.dumps({"file_name": name, "label": label}) for name, label in PAIRS)


@row("data", "file", "auto")
def a_label_file_of_several_columns(labels: str) -> None:
    content = table("file_name", "kind", "colour", kind=lambda n: n % 2, colour=lambda n: n // 4)
    written("metadata.csv", content)
    text = said(lambda: loaded(labels="file"))
    if labels == "auto":
        text = " ".join(loaded().notices)
    options = words(found(r"; choose one with (label_column='\w+')", text))
    assert loaded(labels="file", **options).spec.classes == ("0", "1")
    there = found(r"\(([\w, ]+)\); choose one", text)
    text = said(lambda: loaded(labels="file", label_column="knid"))
    assert found(r"\(columns: (.+?)\)", text) == there


@row("data", "put", "none")
def pictures_beside_folders(way: str) -> None:
    pictures(folders=("a", "b"))
    pictures(count=1)
    text = said(lambda: loaded(labels="folders"))
    assert "put each picture into the folder of its class" in text
    if way == "none":
        loaded(labels=found(r"or say labels='(\w+)'", text))
        return
    Path("photos/0.png").rename("photos/a/9.png")
    assert loaded(labels="folders").spec.classes == ("a", "b")


@row("data", "cache", "GANZOO_CACHE")
def a_cache_that_cannot_be_written(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures()
    Path("taken").touch()
    monkeypatch.setenv("GANZOO_CACHE", "taken/caches")
    text = said(lambda: loaded())
    option, variable = re.search(
        r"set the option (\w+) or (\w+) to a folder of your own", text
    ).groups()
    assert way in (option, variable)
    if way == variable:
        monkeypatch.setenv(variable, "mine")
        loaded()
    else:
        loaded(**{option: "mine"})
    assert Path("mine").is_dir()


@row("data", "raise", "remove")
def pictures_that_cannot_be_read(way: str) -> None:
    pictures()
    Path("photos/0.png").write_bytes(b"no picture")
    text = said(lambda: loaded())
    option = found(r"repair or remove them, or raise (\w+)\.$", text)
    if way == "raise":
        assert len(loaded(**{option: 1}).data) == 7
        return
    for name in re.findall(r"'([^']+\.png)' \(", text):
        Path("photos", name).unlink()
    assert len(loaded().data) == 7


@row("data")
def not_one_picture_that_can_be_read() -> None:
    pictures(count=2)
    for number in range(2):
        Path(f"photos/{number}.png").write_bytes(b"no picture")
    assert "repair or replace them" in said(lambda: loaded(max_bad=9))
    pictures(count=2)
    assert len(loaded().data) == 2


@row("data", "range", "folders")
def floats_beside_integers(way: str) -> None:
    pictures(count=0)
    Path("photos").mkdir()
    Image.fromarray(floats(8, 8)).save("photos/0.tif")
    Image.fromarray((floats(8, 8) * 60000).astype(np.uint16)).save("photos/1.png")
    text = said(lambda: loaded())
    assert "keep them in folders of their own" in text
    if way == "range":
        assert loaded(**words(found(r"or say what all may be with (.+)\.$", text))).stored_range
        return
    for number, name in enumerate(("0.tif", "1.png")):
        Path(f"own{number}").mkdir()
        Path(f"photos/{name}").rename(f"own{number}/{name}")
        assert len(loaded(f"own{number}").data) == 1


@row("data")
def workers_for_pictures() -> None:
    pictures()
    text = said(lambda: trainer({"name": "folder", "path": "photos"}, workers=2))
    assert "Leave 'workers' out" in text
    option = words(found(r"option (\w+=\d+)", text))
    trainer({"name": "folder", "path": "photos", **option})


# -- torch Datasets ---------------------------------------------------------------------------


ITEMS: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "no items": (
        lambda: Made(lambda index: torch.rand(1, 8, 8), 0), "give at least one sample",
        lambda: Made(lambda index: torch.rand(1, 8, 8), 1),
    ),
    "a length that fails": (
        lambda: Made(lambda index: torch.rand(1, 8, 8), None), "correct its __len__",
        lambda: Made(lambda index: torch.rand(1, 8, 8)),
    ),
    "a text": (
        lambda: Made(lambda index: "x"), "an item is a tensor",
        lambda: Made(lambda index: floats(8, 8)),
    ),
    "names that nobody knows": (
        lambda: Made(lambda index: {"a": floats(8, 8), "b": 1}), r"return a pair \(image, label\)",
        lambda: Made(lambda index: (floats(8, 8), 1)),
    ),
    "two shapes": (
        lambda: Made(lambda index: floats(8, 8 + index % 2)), r"one shape \(resize or crop them\)",
        lambda: Made(lambda index: floats(8, 8 + index % 2)[:, :8]),
    ),
}  # fmt: skip


@row("data", *ITEMS)
def items_that_are_no_samples(fault: str) -> None:
    broken, remedy, mended = ITEMS[fault]
    assert re.search(remedy, said(lambda: loaded(broken())))
    assert len(loaded(mended()).data)


@row("data")
def items_by_names_that_nobody_knows() -> None:
    data = Made(lambda index: {"a": floats(8, 8), "b": 1})
    first, second = re.search(r"The options (\w+) and (\w+) of ganzoo", said(lambda: loaded(data)))[
        0
    ].split()[2:5:2]
    assert loaded(data, **{first: "a", second: "b"}).spec.classes


@row("data")
def a_name_of_what_has_none() -> None:
    data = Made(lambda index: floats(8, 8))
    assert "leave them out" in said(lambda: loaded(data, key="image"))
    loaded(data)


SKIPPED = min({*range(300)} - {round(each * 299 / 255) for each in range(256)})
"""An item that is not looked at before a training."""


class Endless(torch.utils.data.IterableDataset):
    """In its own order only."""

    def __iter__(self) -> Iterator[Any]:
        return iter([torch.rand(1, 8, 8) for _ in range(24)])


@row("data", "map", "memory")
def items_in_their_own_order(way: str) -> None:
    text = said(lambda: trainer(Endless(), workers=0))
    assert "Give a dataset with __getitem__ and __len__, or leave 'workers' out" in text
    if way == "map":
        trainer(Made(lambda index: torch.rand(1, 8, 8)), workers=0)
    else:
        trainer(Endless())


@row("data", "all", "none")
def an_item_without_a_label(way: str) -> None:
    def fit(data: Any, **more: Any) -> Any:
        settings = {"arch": "labelled", "conditional": True, "workers": 0, "steps": 40, **more}
        return Trainer(
            dataset=data, **{"batch_size": 8, "progress": False, "out": "run", **settings}
        ).fit()

    def item(index: int) -> Any:
        return torch.full((1, 8, 8), index / 300), None if index == SKIPPED else index % 2

    with registered_for_labels():
        text = said(lambda: fit(Made(item, 300, classes=["a", "b"])))
        assert "label all or none" in text
        if way == "all":
            fit(Made(lambda index: (item(index)[0], index % 2), 300, classes=["a", "b"]), out="b")
        else:
            fit(Made(lambda index: item(index)[0], 300), conditional=False, arch="mlp", out="b")


@row("data", "classes", "targets")
def a_label_of_no_class(way: str) -> None:
    def fit(data: Any, **more: Any) -> Any:
        settings = {"arch": "labelled", "conditional": True, "workers": 0, "steps": 40, **more}
        return Trainer(
            dataset=data, **{"batch_size": 8, "progress": False, "out": "run", **settings}
        ).fit()

    def item(index: int) -> Any:
        return torch.full((1, 8, 8), index / 300), 2 if index == SKIPPED else index % 2

    with registered_for_labels():
        text = said(lambda: fit(Made(item, 300, targets=[0, 1] * 150)))
        assert way in found(r"correct its (classes or targets)", text)
        right = {"classes": ["a", "b", "c"], "targets": [item(index)[1] for index in range(300)]}
        fit(Made(item, 300, **{way: right[way]}), out="b")


@row("data", "parts", "whole")
def parts_of_different_classes(way: str) -> None:
    def part(*names: str) -> Any:
        return Made(lambda index: (torch.full((1, 8, 8), index / 24), index % 2), classes=names)

    settings = {"arch": "labelled", "conditional": True}
    with registered_for_labels():
        data = torch.utils.data.ConcatDataset([part("a", "b"), part("b", "c")])
        text = said(lambda: trainer(data, **settings))
        assert "give all parts the same classes" in text
        if way == "whole":
            name = found(r"or say which with data\.(\w+) = \[", text)
            setattr(data, name, ["x", "y"])
        else:
            data = torch.utils.data.ConcatDataset([part("a", "b"), part("a", "b")])
        assert trainer(data, **settings).spec.classes


@row("data")
def values_outside_the_range_of_the_first_items() -> None:
    def item(index: int) -> Any:
        return torch.full((1, 8, 8), 7.0 if index == SKIPPED else index / 300)

    settings = {"arch": SMALL, "steps": 40, "batch_size": 8, "progress": False, "workers": 0}
    text = said(lambda: Trainer(dataset=Made(item, 300), out="run", **settings).fit())
    way = found(r"start a new one with (.+)\.$", text)
    made = eval(way.replace("(low, high)", "(0, 7)"), {"ganzoo": ganzoo, "data": Made(item, 300)})
    Trainer(dataset=made, out="b", **settings).fit()


@row("data", "leave out", "new")
def another_range_for_a_run(way: str) -> None:
    data = floats(24, 1, 8, 8)
    run = run_of(data)
    other = InMemoryDataset.of(data, stored_range=(0, 2))
    text = said(lambda: Trainer.resume(run, steps=3, dataset=other, progress=False))
    if way == "leave out":
        assert "Leave stored_range out to resume" in text
        Trainer.resume(run, steps=3, dataset=data, progress=False).fit()
        return
    made = eval(found(r"start a new one with (.+)\.$", text), {"ganzoo": ganzoo, "data": data})
    run_of(made, out="other")


# -- tables of pictures -----------------------------------------------------------------------


def png(value: int) -> Any:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), value).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def tabled(*columns: str, count: int = 12, **more: Any) -> Any:
    """A table of pictures, and what else is given."""
    hf = pytest.importorskip("datasets")
    made = {name: [png(20 * number) for number in range(count)] for name in columns}
    kinds = {name: hf.Image() for name in columns}
    for name, kept in more.items():
        made[name] = [kept[number % len(kept)] for number in range(count)]
        kinds[name] = hf.Value("string" if isinstance(kept[0], str) else "float64")
    return hf.Dataset.from_dict(made, features=hf.Features(kinds))


def of_table(path: str = "x.parquet", **options: Any) -> Samples:
    return datasets.create({"name": "huggingface", "path": path, **options}).load()


@row("data", ("image", "imag"), ("label", "labl"))
def a_column_that_is_not_there(column: str, word: str) -> None:
    tabled("image", label=["a", "b"]).to_parquet("x.parquet")
    text = said(lambda: of_table(**{f"{column}_column": word}))
    assert found(r"Did you mean '(\w+)'", text) == column
    assert of_table(**{f"{column}_column": column}).spec.classes


@row("data")
def several_columns_of_pictures() -> None:
    tabled("front", "back").to_parquet("x.parquet")
    options = words(found(r"which one to take with (.+?)\. Columns", said(of_table)))
    assert len(of_table(**options).data) == 12


@row("data")
def a_table_of_numbers() -> None:
    tabled(a=[1.0], b=[2.0]).to_parquet("x.parquet")
    way = found(r"as an array: (.+?)\. Columns", said(of_table))
    data = eval(way, {"pandas": pandas, "file": "x.parquet"})
    assert loaded(data).spec.shape == (2,)


@row("data", "column", "none")
def a_column_of_no_labels(way: str) -> None:
    tabled("image", size=[0.5, 1.5], label=["a", "b"]).to_parquet("x.parquet")
    text = said(lambda: of_table(label_column="size"))
    option, other, none = re.search(
        r"choose another with (\w+), or say (\w+)='(\w+)'", text
    ).groups()
    if way == "column":
        assert of_table(**{option: "label"}).spec.classes == ("a", "b")
    else:
        assert of_table(**{other: none}).spec.classes is None


@row("data")
def several_columns_of_labels() -> None:
    hf = pytest.importorskip("datasets")
    made = tabled("image", kind=["a", "b"], colour=["x", "y"])
    for name in ("kind", "colour"):
        made = made.cast_column(name, hf.ClassLabel(names=["a", "b", "x", "y"]))
    made.to_parquet("x.parquet")
    text = " ".join(of_table().notices)
    assert of_table(**words(found(r"choose one with (\w+='\w+')", text))).spec.classes


@row("data", "tran", "validation")
def a_split_that_is_not_there(word: str) -> None:
    hf = pytest.importorskip("datasets")
    hf.DatasetDict({"train": tabled("image"), "test": tabled("image")}).save_to_disk("saved")
    text = said(lambda: of_table("saved", split=word))
    splits = found(r"Splits: (.+)\.$", text).split(", ")
    if guess := re.search(r"Did you mean '(\w+)'", text):
        splits.append(guess[1])
    for split in splits:
        assert len(of_table("saved", split=split).data) == 12


@row("data")
def a_split_of_a_file() -> None:
    tabled("image").to_parquet("x.parquet")
    text = said(lambda: of_table(split="test"))
    option = found(r"choose one with the option (\w+)", text)
    assert len(of_table(**{option: "train"}).data) == 12


@row("data", "file", "folder")
def a_table_without_rows(kind: str) -> None:
    tabled("image", count=0).to_parquet("x.parquet")
    tabled("image", count=0).save_to_disk("saved")
    text = said(lambda: of_table("x.parquet" if kind == "file" else "saved"))
    assert "choose another split or file" in text
    tabled("image").to_parquet("y.parquet")
    of_table("y.parquet")


@row("data", "x.txt", "nowhere")
def what_is_no_table(name: str) -> None:
    Path("x.txt").touch()
    tabled("image").to_parquet("x.parquet")
    text = said(lambda: of_table(name))
    if name == "nowhere":
        assert "correct the path" in text
        of_table()
        return
    kinds = re.findall(r"(\.[a-z]+)", found(r"give a (.+?) file", text))
    assert kinds == [".parquet", ".arrow"]
    of_table()
    Path("tables").mkdir()
    Path("x.parquet").rename("tables/x.parquet")
    assert len(of_table("tables").data) == 12
    assert "save_to_disk" in text
    tabled("image").save_to_disk("saved")
    assert len(of_table("saved").data) == 12


@row("data", {"repo": "a/b"}, {"path": None}, {"revision": "main"},
     {"labels": "none", "label_column": "label"})  # fmt: skip
def options_of_a_table_that_exclude_each_other(options: dict[str, Any]) -> None:
    tabled("image", label=["a", "b"]).to_parquet("x.parquet")
    text = said(lambda: of_table(**{"path": "x.parquet", **options}))
    if "label_column" in options:
        assert "leave one of them out" in text
        for name, kept in options.items():
            of_table(**{name: kept})
    elif "revision" in options:
        assert "leave it out, or give repo" in text
        of_table()
        datasets.create({"name": "huggingface", "repo": "a/b", **options})
    else:
        datasets.create({"name": "huggingface", **words(found(r"such as (repo='\S+')", text))})
        of_table()


@row("data")
def a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    tabled("image").to_parquet("x.parquet")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "datasets", None)
        extra(said(of_table), "datasets")
    of_table()


def extra(text: str, package: str) -> None:
    """A message names an extra that brings a package."""
    name = found(r"pip install ['\"]ganzoo\[(\w+)\]['\"]", text)
    brought = importlib.metadata.requires("ganzoo") or []
    assert any(
        re.match(rf"{package}\b", each) and re.search(rf"extra == ['\"]{name}['\"]", each)
        for each in brought
    )


# -- scores -----------------------------------------------------------------------------------


def score(source: Any, dataset: Any, *chosen: Any, **options: Any) -> Any:
    options = {"cache": False, "device": "cpu", **options}
    return ganzoo.evaluate(source, dataset, [*chosen], **options)


def kid(extractor: Any = None, **options: Any) -> Metric:
    extractor = Function.of(flat) if extractor is None else extractor
    settings = {"name": "kid", "subset_size": 5, "subsets": 2, "extractor": extractor, **options}
    return metrics.create(settings)


def near(**options: Any) -> Metric:
    return metrics.create({"name": "nearest-neighbours", "extractor": Function.of(flat), **options})


def classified(samples: torch.Tensor) -> Features:
    return Features(flat(samples.float()), flat(samples.float())[:, :4])


OTHERS = pixels() // 2


@row("evaluate", "x", [8, 8, 8], [3], 0)
def a_size_that_is_none(size: Any) -> None:
    text = said(lambda: score(pixels(), OTHERS, kid(), size=size))
    first, second = re.search(r"such as (\d+) or (\(\d+, \d+\)), not", text).groups()
    for each in (first, second):
        score(pixels(), OTHERS, kid(), size=literal(each))


@row("evaluate", 0, -3)
def batches_of_nothing(size: int) -> None:
    text = said(lambda: score(pixels(), OTHERS, kid(), batch_size=size))
    least = int(found(r"greater than or equal to (\d+)", text))
    score(pixels(), OTHERS, kid(), batch_size=least)


@row("evaluate", "shown", "none")
def a_picture_of_no_pairs(way: str) -> None:
    text = said(lambda: score(pixels(), OTHERS, near(shown=0), picture="x.png"))
    name = found(r"with '(\w+)' above 0, or leave the picture out", text)
    if way == "shown":
        score(pixels(), OTHERS, near(**{name: 1}), picture="x.png")
        assert Path("x.png").is_file()
    else:
        score(pixels(), OTHERS, near(shown=0))


@row("evaluate")
def a_picture_of_points() -> None:
    points = floats(24, 3)
    text = said(lambda: score(points, points + 1, near(), picture="x.png"))
    assert re.search("[Ll]eave (it|the picture) out", text)
    score(pixels(), OTHERS, near(), picture="x.png")


@row("evaluate", "folder", "name", "remove")
def a_place_for_a_picture(way: str) -> None:
    path = Path("deep/x.png" if way == "folder" else "x.png")
    if way != "folder":
        path.touch()
    text = said(lambda: score(pixels(), OTHERS, near(), picture=str(path)))
    if way == "folder":
        Path(found(r"there is no folder (\S+)\. Make it", text)).mkdir()
    else:
        assert "Choose another name, or remove it" in text
    if way == "remove":
        path.unlink()
    path = Path("y.png") if way == "name" else path
    score(pixels(), OTHERS, near(), picture=str(path))
    assert path.is_file()


@row("evaluate", "extractor", "metric")
def an_extractor_without_logits(way: str) -> None:
    chosen = {"name": "inception-score", "splits": 1}
    text = said(lambda: score(pixels(), None, {**chosen, "extractor": Function.of(flat)}))
    assert "choose another extractor or metric" in text
    if way == "extractor":
        score(pixels(), None, {**chosen, "extractor": Function.of(classified)})
    else:
        score(pixels(), OTHERS, kid())


@row("evaluate", "fewer", "option")
def samples_in_more_parts_than_there_are(way: str) -> None:
    chosen = {"name": "inception-score", "extractor": Function.of(classified)}
    text = said(lambda: score(pixels(6), None, chosen))
    option = found(r"give more, or set (\w+) lower", text)
    if way == "option":
        score(pixels(6), None, {**chosen, option: 2})
    else:
        score(pixels(24), None, chosen)


def gathered(count: int = 24, **more: Any) -> MetricInputs:
    source = torch.Generator().manual_seed(0)
    made = {name: torch.rand(count, 5, generator=source) for name in ("features", "logits")}
    return MetricInputs(**{"count": count, "spec": SampleSpec(shape=(1, 8, 8)), **made, **more})


@row("evaluate")
def parts_and_subsets_beyond_what_was_gathered() -> None:
    few = gathered(6)
    split = metrics.create({"name": "inception-score", "extractor": Function.of(classified)})
    name, there = lowered(said(lambda: split.score(None, few)))
    split.replace(**{name: there}).score(None, few)
    subset = kid(subset_size=10)
    name, there = lowered(said(lambda: subset.score(few, few)))
    subset.replace(**{name: there}).score(few, few)


def lowered(text: str) -> tuple[str, int]:
    """The option that a message says to set lower, and how many samples there are."""
    return found(r"or set (\w+) lower", text), int(found(r"samples, not (\d+)", text))


@row("evaluate")
def modes_of_no_real_samples() -> None:
    settings = {"name": "modes", "reference": "real", "extractor": Function.of(classified)}
    assert "give a dataset" in said(lambda: metrics.create(settings).score(None, gathered()))
    assert "give a dataset" in said(lambda: score(pixels(), None, settings))
    score(pixels(), pixels(), settings)


@row("evaluate", "more", "reference")
def a_mode_that_no_real_sample_has(way: str) -> None:
    made, real = np.zeros((24, 1, 8, 8), np.uint8), np.zeros((24, 1, 8, 8), np.uint8)
    made[:, :, 0, 1], real[:, :, 0, 0] = 200, 200
    made[0, :, 0, 3] = 100
    chosen = {"name": "modes", "reference": "real", "extractor": Function.of(classified)}
    text = said(lambda: score(made, real, chosen))
    if way == "more":
        assert "give more real samples" in text
        score(made, np.concatenate((real, made)), chosen)
    else:
        score(made, real, {**chosen, **words(found(r"or set (reference='\w+')", text))})


@row("evaluate")
def modes_of_points_that_have_none() -> None:
    points = floats(24, 2)
    text = said(lambda: score(points, None, "modes"))
    name = found(r"such as '(\w+)'", text)
    score(points, name, "modes")


@row("evaluate", "cifar10", "celeba")
def classes_that_no_classifier_knows(name: str) -> None:
    chosen = metrics.create("modes")
    option = found(r"give it an '(\w+)' that tells", said(lambda: chosen.for_dataset(name)))
    own = metrics.create({"name": "modes", option: Function.of(classified)})
    assert own.for_dataset(name) == own


@row("evaluate", 2, 4)
def pictures_of_channels_that_an_extractor_does_not_see(channels: int) -> None:
    with registered(Seeing, const(channels=(3,), dimensions=4)) as seeing:
        made, real = (pixels(24, 8, channels) // each for each in (1, 2))
        text = said(lambda: score(made, real, kid(seeing())))
        assert re.search("Give it another extractor|Use another|RGB images", text)
        score(made, real, kid())


@row("evaluate")
def real_pictures_of_other_channels() -> None:
    text = said(lambda: score(pixels(24, 8, 2), pixels(24, 8, 4), kid()))
    count = int(found(r"the generated ones (\d)\. Give images with as many", text))
    score(pixels(24, 8, 2), pixels(24, 8, count) // 2, kid())


@row("evaluate")
def real_samples_of_another_form() -> None:
    text = said(lambda: score(pixels(), floats(24, 3), kid()))
    assert "Give a dataset of the same form" in text
    score(pixels(), OTHERS, kid())


@row("evaluate", "images", "folder")
def real_images_of_another_size_than_a_generator_makes(way: str) -> None:
    text = said(lambda: score(maker(), pixels(24, 16), kid(), num_fake=10))
    height, width = map(int, found(r"Give real images of (\d+x\d+), or a folder", text).split("x"))
    assert height == width
    if way == "images":
        score(maker(), pixels(24, height), kid(), num_fake=10)
        return
    pictures(count=10, size=16)
    score(maker(), {"name": "folder", "path": "photos"}, kid(), num_fake=10)


@row("evaluate")
def features_of_two_lengths() -> None:
    pictures(count=12)
    pictures("wide", count=12, size=12)
    for each in Path("wide").iterdir():
        each.rename(f"photos/w{each.name}")
    made = pixels(24)
    text = said(lambda: score(made, {"name": "folder", "path": "photos"}, kid()))
    way = literal(found(r"such as (\{.+\})\.$", text))
    way["path"] = way["path"].replace("PATH", "photos")
    score(pixels(24, way["size"]), way, kid())


@row("evaluate", "raise", "remove")
def unreadable_pictures_to_score(way: str) -> None:
    pictures(count=12)
    Path("photos/0.png").write_bytes(b"no picture")
    folder = {"name": "folder", "path": "photos"}
    text = said(lambda: score(maker(), folder, kid(), num_fake=10))
    option = found(r"repair or remove them, or raise (\w+)\.$", text)
    if way == "raise":
        score(maker(), {**folder, option: 1}, kid(), num_fake=10)
        return
    for name in re.findall(r"'([^']+\.png)' \(", text):
        Path("photos", name).unlink()
    score(maker(), folder, kid(), num_fake=10)


@row("evaluate")
def data_of_a_training_that_were_in_memory() -> None:
    run = run_of(pixels())
    text = said(lambda: score(str(run), None, kid(), num_fake=10))
    assert "Give it, or another one, as the dataset" in text
    score(str(run), pixels(), kid(), num_fake=10)


@row("evaluate")
def a_split_of_data_without_splits() -> None:
    text = said(lambda: score(pixels(), OTHERS, kid(), real_split="test"))
    assert "leave the real split out" in text
    score(pixels(), OTHERS, kid())


@row("evaluate")
def labels_of_real_samples_without_any() -> None:
    with registered_for_labels():
        arch = architectures.create("labelled")
        spec, latent = SampleSpec(shape=(1, 8, 8), classes=("a", "b")), LatentSpec(shape=(3,))
        config = BundleConfig(architecture=arch, sample=spec, latent=latent, training={"steps": 1})
        made = Generator(arch.generator(spec, latent), config)
        text = said(lambda: score(made, pixels(), kid(), num_fake=10, labels="data"))
        options = words(found(r"Say (labels='\w+')", text))
        score(made, pixels(), kid(), num_fake=10, **options)


@row("evaluate", "spec", "bytes")
def images_without_a_range(way: str) -> None:
    spec = SampleSpec(shape=(1, 16, 16), value_range=None)
    chosen = metrics.create("swd")
    real = gathered(samples=torch.rand(24, 1, 16, 16), spec=spec)
    text = said(lambda: chosen.score(real, real))
    assert "Give it in their spec, or give them as uint8" in text
    if way == "spec":
        known = spec.model_copy(update={"value_range": (0.0, 1.0)})
        real = gathered(samples=real.samples, spec=known)
    else:
        real = gathered(samples=(255 * real.samples).to(torch.uint8), spec=spec)
    chosen.score(real, real)


@row("evaluate")
def small_images_of_their_own_size() -> None:
    chosen = metrics.create({"name": "lpips-diversity", "size": None})
    text = said(lambda: chosen.check(SampleSpec(shape=(1, 8, 8))))
    chosen.replace(**words(found(r"set (size=\d+)", text))).check(SampleSpec(shape=(1, 8, 8)))


@row("evaluate")
def patches_of_small_images() -> None:
    assert "leave it out" in said(lambda: score(pixels(24, 4), pixels(24, 4) // 2, "swd", kid()))
    score(pixels(24, 4), pixels(24, 4) // 2, kid())


@row("evaluate", "delete", "no-write")
def scores_that_cannot_be_kept(way: str, line: Line) -> None:
    maker(SampleSpec(shape=(1, 16, 16))).save_pretrained("made")
    np.save("x.npy", pixels(24, 16))
    command = ("evaluate", "made", "--dataset", "x.npy", "--metrics", "swd", "--num-fake", "24")
    Path("made/metrics.json").write_text("[]" if way == "delete" else "{")
    text = line.refused(*command)
    path = found(r"(\S+metrics\.json) holds no scores", text)
    assert "Delete it; it is made again" in text
    if way == "no-write":
        line.runs(*command, "--no-write")
    Path(path).unlink()
    line.runs(*command)
    assert "swd" in json.loads(Path(path).read_text())


@row("evaluate")
def an_array_as_an_extractor() -> None:
    text = said(lambda: Function.of(3))
    assert "a torch module or a function of a batch of samples" in text
    for each in (nn.Flatten(), flat):
        score(pixels(), OTHERS, kid(Function.of(each)))
    told = said(lambda: kid(extractor=3.5))
    assert "a name, a mapping" in told


@row("evaluate")
def features_of_another_shape() -> None:
    text = said(lambda: score(pixels(), OTHERS, kid(Function.of(lambda x: x))))
    way = found(r"such as (tensor\.flatten\(1\))", text)
    score(pixels(), OTHERS, kid(Function.of(lambda tensor: eval(way, {"tensor": tensor}))))


@row("evaluate")
def an_extractor_from_a_file() -> None:
    again = kid(json.loads(Function.of(flat).model_dump_json()))
    text = said(lambda: score(pixels(), OTHERS, again))
    option = found(r"pass it again: (\w+)=", text)
    score(pixels(), OTHERS, metrics.create({**again.model_dump(), option: Function.of(flat)}))


@row("evaluate")
def a_net_that_changes_after_it_was_given() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    def changed(given: Any) -> Any:
        chosen = kid(Function.of(given, name="mine"))
        with torch.no_grad():
            net[1].weight.add_(1)
        return score(pixels(), OTHERS, chosen)

    way = found(r"copy that stays as it is: (copy\.deepcopy\(net\))", said(lambda: changed(net)))
    changed(eval(way, {"copy": copy, "net": net}))


# -- weights of extractors --------------------------------------------------------------------


def published(content: bytes = b"weights", **more: Any) -> Published:
    Path("there").mkdir(exist_ok=True)
    Path("there/net.pt").write_bytes(content)
    return Published(**{
        "title": "the weights of a net", "address": Path("there/net.pt").absolute().as_uri(),
        "digest": hashlib.sha256(b"weights").hexdigest(), "size": 7, "names": ("net.pt",),
        "environment": "GANZOO_NET", **more,
    })  # fmt: skip


@row("weights", "path", "leave out", "environment")
def weights_that_are_not_where_they_are_said_to_be(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = published()
    if way == "environment":
        monkeypatch.setenv(known.environment, "nowhere.pt")
        assert "Correct the path" in said(lambda: known.find(None, True))
        monkeypatch.setenv(known.environment, "there/net.pt")
        assert known.find(None, True).read_bytes() == b"weights"
        return
    text = said(lambda: known.find(Path("nowhere.pt"), True))
    name = found(r"Correct the path, or leave it out to have (\S+) downloaded", text)
    if way == "path":
        assert known.find(Path("there", name), True).name == name
    else:
        assert known.find(None, True).name == name


@row("weights", ("offline", "put"), ("offline", "set"), ("gone", "put"), ("changed", "put"),
     ("large", "put"))  # fmt: skip
def weights_that_are_not_on_this_machine(
    why: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"changed": b"stranger", "large": b"x" * 99}.get(why, b"weights")
    known = published(content, size=8 if why == "changed" else 7)
    if why == "gone":
        Path("there/net.pt").rename("net.pt")
    text = said(lambda: known.find(None, why != "offline"))
    Path("mine.pt").write_bytes(b"weights")
    if way == "set":
        name = found(r"or set (\w+) to where it lies", text)
        monkeypatch.setenv(name, "mine.pt")
        assert known.find(None, False).read_bytes() == b"weights"
        return
    place = Path(found(r"put it at (\S+?)(?:, or|\.$)", text))
    if digest := re.search(r"\(SHA-256 (\w+)\)", text):
        assert hashlib.sha256(Path("mine.pt").read_bytes()).hexdigest() == digest[1]
    place.parent.mkdir(parents=True, exist_ok=True)
    Path("mine.pt").rename(place)
    assert known.find(None, False) == place


@row("weights", "names", "NaN")
def weights_of_another_net(fault: str) -> None:
    wanted = {"layer.weight": (2, 2)}
    broken = {"names": {"other.weight": torch.zeros(2, 2)},
              "NaN": {"layer.weight": torch.full((2, 2), torch.nan)}}[fault]  # fmt: skip
    torch.save(broken, "net.pt")
    text = said(lambda: load(Path("net.pt"), wanted, ()))
    assert re.search("or one with the same names|Get the file again", text)
    torch.save({"layer.weight": torch.zeros(2, 2)}, "net.pt")
    assert [*load(Path("net.pt"), wanted, ())] == ["layer.weight"]


@row("weights")
def a_library_of_nets_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    chosen = features.create({"name": "dinov2", "weights": "here"})
    extra(said(lambda: chosen.build(torch.device("cpu"))), "transformers")


@row("weights")
def a_folder_that_is_no_net() -> None:
    transformers = pytest.importorskip("transformers")
    Path("empty").mkdir()
    chosen = features.create({"name": "dinov2", "weights": "empty"})
    text = said(lambda: chosen.weights_hash())
    names = found(r"Such a folder has ([\w.]+ and [\w.]+): get", text).split(" and ")
    assert "or give another folder as weights" in text
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained("tiny")
    assert {*names} <= {each.name for each in Path("tiny").iterdir()}
    assert chosen.replace(weights="tiny").weights_hash()


@row("weights")
def pictures_that_an_extractor_does_not_take() -> None:
    net = ClassifierNet().eval()
    text = said(lambda: net(torch.rand(2, 3, 28, 28)))
    dtype = getattr(torch, found(r"greyscale pictures, (\w+) \(N, 1, H, W\)", text))
    assert net(torch.zeros(2, 1, 28, 28, dtype=dtype)).logits.shape == (2, 10)


# -- mixtures ---------------------------------------------------------------------------------


@row("config")
def a_mixture_of_points_of_no_space() -> None:
    text = said(lambda: Mixture(centres=((0.0, 1.0), (2.0,)), sd=1.0))
    assert "all with the same number of coordinates" in text
    made = Mixture(centres=((0.0, 1.0), (2.0, 3.0)), sd=1.0)
    shape = found(r"give a tensor \((.+?)\)", said(lambda: made.density(torch.zeros(4, 3))))
    size = shape.rpartition(", ")[2]
    assert made.density(torch.zeros(4, int(size))).shape == (4,)
    assert "at least one sample" in said(lambda: made.coverage(torch.zeros(0, 2)))
    made.coverage(torch.zeros(1, 2))


# -- trainings --------------------------------------------------------------------------------


def fit(data: Any = None, **settings: Any) -> Any:
    data = pixels() if data is None else data
    settings = {"arch": SMALL, "steps": 2, "batch_size": 8, "progress": False, **settings}
    return Trainer(dataset=data, **settings).fit()


@row("config", ("arch", {"name": "mlp", "hidden": [5]}), ("latent", 9))
def a_trained_generator_of_another_kind(name: str, value: Any) -> None:
    run_of(pixels(), latent=5)
    settings = {"init_from": "run", "latent": 5, "arch": SMALL}
    text = said(lambda: trainer(pixels(), **{**settings, name: value}))
    left = found(r"Leave (\w+) out", text)
    assert left == name
    kept = {key: each for key, each in settings.items() if key != left}
    Trainer(dataset=pixels(), batch_size=8, steps=1, progress=False, **kept).setup()


@row("config")
def a_trained_generator_of_other_channels() -> None:
    pictures(count=12)
    run_of({"name": "folder", "path": "photos", "mode": "rgb"}, latent=5)
    settings = {"init_from": "run", "latent": 5}
    text = said(lambda: trainer("photos", **settings))
    option = found(r"pictures of a folder: --dataset\.(\w+)", text)
    trainer({"name": "folder", "path": "photos", option: "rgb"}, **settings)


@row("config", "images", "generator")
def a_trained_generator_of_images_for_points(way: str) -> None:
    run_of(pixels(), latent=5)
    text = said(lambda: trainer("ring", latent=5, init_from="run"))
    assert "where init_from gives it, use images or another generator" in text
    if way == "generator":
        run_of("ring", latent=5, out="points")
    data, origin = {"images": (pixels(), "run"), "generator": ("ring", "points")}[way]
    trainer(data, latent=5, init_from=origin)


@row("config", "data", "conditional")
def a_trained_generator_of_other_classes(way: str) -> None:
    with registered_for_labels():
        settings = {"arch": "labelled", "conditional": True, "latent": 3}
        run_of((pixels(), np.arange(24) % 2), **settings)
        settings = {**settings, "init_from": "run"}
        if way == "data":
            text = said(lambda: trainer((pixels(), np.arange(24) % 3), **settings))
            assert "Use data with as many" in text
        else:
            data = (pixels(), np.arange(24) % 2)
            text = said(lambda: trainer(data, **{**settings, "conditional": False}))
            assert found(r"or set (\w+)", text) == "conditional"
        trainer((pixels(), np.arange(24) % 2), **settings)


@row("config", "leave out", "stored_range")
def a_range_of_points(way: str) -> None:
    data = floats(24, 3)
    text = said(lambda: trainer(data, value_range=(-1, 1)))
    option = found(r"Leave it out, or give the dataset's (\w+)", text)
    if way == "leave out":
        trainer(data)
    else:
        made = trainer(InMemoryDataset.of(data, **{option: (0, 1)}), value_range=(-1, 1))
        assert made.spec.value_range == (-1, 1)


@row("config", "autocast", "precision")
def a_training_inside_of_autocast(way: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        text = said(lambda: fit(device="cpu", out="a"))
    assert "Train outside of the block" in text
    settings = words(found(r"(precision='\w+') computes", text)) if way == "precision" else {}
    fit(device="cpu", out="b", **settings)


@row("config", 0, -4)
def a_size_of_nothing(size: int) -> None:
    least = int(found(r"at least (\d+)", said(lambda: resolve({"size": (size, 8)}))))
    resolve({"size": (least, 8)})


@row("config", "three", [1.5], 2.5)
def a_latent_that_is_none(latent: Any) -> None:
    text = said(lambda: resolve({"latent": latent}))
    if "a size, a shape or a mapping" in text:
        for each in (8, (2, 4), {"shape": (8,)}):
            resolve({"latent": each})
    else:
        resolve({"latent": 8})


@row("config", "a list", "nested", "broken", "nowhere", "large", "newer")
def a_configuration_that_cannot_be_read(fault: str) -> None:
    contents = {
        "a list": "- 1\n", "nested": "[" * 9000, "broken": "steps: [1\n", "nowhere": None,
        "large": "#" * 200_000, "newer": "format_version: 99\nsteps: 5\n",
    }  # fmt: skip
    if contents[fault] is not None:
        Path("c.yaml").write_text(contents[fault])
    text = said(lambda: read_config(Path("c.yaml")))
    limits = re.search(r"larger than ([\d,]+) bytes|reads up to (\d+)", text)
    right = "steps: 5\n"
    if limits and limits[1]:
        right += "#" * (int(limits[1].replace(",", "")) - len(right))
    if limits and limits[2]:
        right = f"format_version: {limits[2]}\n{right}"
    Path("c.yaml").write_text(right)
    assert read_config(Path("c.yaml"))["steps"] == 5


@row("config", ("", "x"), (1, "x"), ("d_loss", "d_loss_2"))
def a_name_that_a_loss_reports_by(name: Any, other: str) -> None:
    with registered(Reporting, const(report={name: 1.0})) as loss:
        text = said(lambda: fit(loss=loss(), out="a"))
    suggested = re.search(r"such as '(\w+)'", text)
    if suggested is None:
        assert other not in found(r"by another one than (.+?)\.", text).split(", ")
    with registered(Reporting, const(report={suggested[1] if suggested else other: 1.0})) as loss:
        fit(loss=loss(), out="b")


class Reporting(Critic):
    """Reports a number."""

    report: ClassVar[Any] = {}

    def discriminator_loss(self, step: Any) -> Any:
        step.scalars.update(self.report)
        return super().discriminator_loss(step)


@row("config", "float", "tensor")
def what_a_loss_reports(way: str) -> None:
    with registered(Reporting, const(report={"gap": torch.ones(3)})) as loss:
        text = said(lambda: fit(loss=loss(), out="a"))
    assert "a float or a 0-d tensor, such as a mean over the batch" in text
    one = 1.0 if way == "float" else torch.ones(3).mean()
    with registered(Reporting, const(report={"gap": one})) as loss:
        fit(loss=loss(), out="b")


class Growing(Net):
    """Builds a layer when it is first called."""

    def forward(self, x: Any, labels: Any = None) -> Any:
        if not hasattr(self, "late"):
            self.late = nn.Linear(3, 3)
        return torch.tanh(self.late(self.layer(x)))


class Grown(Growing):
    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Linear(3, 3)


@row("config")
def a_net_that_grows() -> None:
    points = InMemoryDataset.of(floats(24, 3), stored_range=(0, 1))
    with registered(Sound, g(make=Growing)) as arch:
        text = said(lambda: fit(points, arch=arch(), latent=3, out="a"))
    assert "Have it build all of its parameters and buffers at once" in text
    with registered(Sound, g(make=Grown)) as arch:
        fit(points, arch=arch(), latent=3, out="b")


@row("config")
def a_tracker_that_cannot_be_opened() -> None:
    def fails(self: Any, *_: Any) -> Any:
        raise OSError("no connection")

    with registered(Quiet, {"open": fails}) as tracker:
        text = said(lambda: fit(trackers=[tracker()], out="a"))
        assert "Mend the cause, or train without this tracker" in text
        fit(out="b")
    with registered(Quiet, {}) as tracker:
        fit(trackers=[tracker()], out="c")


@row("config")
def a_tracker_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    extra(said(lambda: fit(trackers=["tensorboard"])), "tensorboard")


@row("config")
def a_metric_that_is_called_step() -> None:
    named = type("Step", (Mean,), {"__doc__": "x", "__module__": __name__})
    metrics.registry.register("step")(named)
    points = floats(24, 3)
    try:
        text = said(lambda: trainer(points, metrics=["step"], evaluate_every=1))
    finally:
        metrics.registry.unregister("step")
    assert "Give it another name" in text
    with registered(Mean, {}) as metric:
        trainer(points, metrics=[metric()], evaluate_every=1)


@row("config")
def scores_of_what_has_no_usual_metric(line: Line) -> None:
    points = floats(24, 3)
    text = said(lambda: trainer(points, evaluate_every=1))
    command = found(r"'(ganzoo list \w+)' shows them", text)
    assert "kid" in line.follow(command)
    trainer(points, evaluate_every=1, metrics=[kid()])


@row("resume", "again", "evaluate")
def other_metrics_for_a_run(way: str, line: Line) -> None:
    data = pixels(24, 16)
    np.save("x.npy", data)
    run = run_of("x.npy", evaluate_every=1, metrics=["swd"])
    text = said(lambda: Trainer.resume(run, steps=3, metrics=["ms-ssim"], progress=False))
    if way == "again":
        assert "Give the same ones again" in text
        Trainer.resume(run, steps=3, metrics=["swd"], progress=False).fit()
        return
    command = found(r"'(ganzoo evaluate)'", text)
    line.follow(f"{command} run --dataset x.npy --metrics swd --num-fake 24")


@row("resume")
def metrics_for_a_run_without() -> None:
    run = run_of(pixels())
    text = said(lambda: Trainer.resume(run, dataset=pixels(), steps=3, metrics=["swd"]))
    assert "Leave them out" in text
    Trainer.resume(run, dataset=pixels(), steps=3, progress=False).fit()


class Spoil(Callback):
    """Makes gradients NaN once."""

    def on_step(self, trainer: Trainer, step: Any) -> None:
        if trainer.step == 3:
            weight = next(trainer.game.generator.parameters())
            handle = weight.register_hook(lambda gradient: (handle.remove(), gradient * np.nan)[1])


@row("resume", "rollback", "again", "without checkpoints")
def a_training_that_diverged(way: str, line: Line) -> None:
    np.save("x.npy", pixels())
    every = 0 if way == "without checkpoints" else 2
    settings = {"steps": 12, "checkpoint_every": every, "out": "run", "callbacks": [Spoil()]}
    text = said(lambda: fit("x.npy", **settings))
    if way == "rollback":
        command = found(r"'(ganzoo resume .+?)' goes on", text)
        line.follow(f"{command} --quiet")
        assert "step-00000012" in {each.name for each in Path("run/checkpoints").iterdir()}
        return
    flags = re.findall(r"(--[\w.-]+\b)", found(r"[Tt]rain again with (.+)\.$", text))
    assert flags == ["--g-optimizer.lr", "--d-optimizer.lr", "--clip-grad"]
    start = ("train", "mlp", "--dataset", "x.npy", *advice.TINY, "--steps", "3")
    line.runs(*start, *(word for each in flags for word in (each, "1e-4")), "--out", "b")


@row("resume", "back", "new")
def a_file_of_data_that_changed(way: str) -> None:
    np.save("x.npy", pixels())
    run = run_of("x.npy")
    np.save("x.npy", pixels(30))
    text = said(lambda: Trainer.resume(run, steps=3, progress=False).fit())
    option = found(r"Bring them back as they were, or start a new .+\((\w+) starts", text)
    if way == "back":
        np.save("x.npy", pixels())
        Trainer.resume(run, steps=3, progress=False).fit()
    else:
        settings = {"batch_size": 8, "steps": 2, "progress": False, "out": "b"}
        Trainer(dataset="x.npy", **settings, **{option: str(run)}).fit()


@row("resume")
def a_checkpoint_of_another_configuration() -> None:
    run = run_of()
    kept = Path("run/config.yaml").read_text()
    Path("run/config.yaml").write_text(re.sub(r"hidden:\n( *)- 4", r"hidden:\n\1- 5", kept))
    text = said(lambda: Trainer.resume(run, steps=3, progress=False).fit())
    assert "Restore the config.yaml it was trained with" in text
    Path("run/config.yaml").write_text(kept)
    Trainer.resume(run, steps=3, progress=False).fit()


@row("resume")
def a_run_that_went_on_elsewhere() -> None:
    run = run_of(steps=2, checkpoint_every=1)
    one = Trainer.resume(run, steps=6, progress=False)
    Trainer.resume(run, steps=4, progress=False).fit()
    assert "Resume the run again, from there" in said(one.fit)
    Trainer.resume(run, steps=6, progress=False).fit()


# -- architectures' own -----------------------------------------------------------------------


DCGANS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "numbers": ({"widths": [8, 4], "kernels": [4, 4]}, "one number for each of the generator's",
                {"widths": [8, 4], "kernels": [4, 4, 4]}),
    "strides": ({"strides": [1, 0, 2]}, "strides of at least 1", {"strides": [1, 1, 2]}),
    "output paddings": (
        {"strides": [1, 2, 2], "paddings": [0, 1, 1], "output_paddings": [0, 2, 0]},
        "output paddings less than the stride",
        {"strides": [1, 2, 2], "paddings": [0, 1, 1], "output_paddings": [0, 1, 0]},
    ),
    "paddings": ({"paddings": [9, 1, 1]}, "Take smaller paddings", {"paddings": [0, 1, 1]}),
    "kernels": ({"kernels": [2, 2, 2], "paddings": [1, 1, 1]}, "or larger kernels",
                {"kernels": [4, 4, 4], "paddings": [1, 1, 1]}),
}  # fmt: skip


@row("config", *DCGANS)
def layers_that_make_no_map(fault: str) -> None:
    broken, remedy, mended = DCGANS[fault]
    text = said(lambda: architectures.create({"name": "dcgan", **broken}))
    assert re.search(remedy, text)
    architectures.create({"name": "dcgan", **mended})


@row("config")
def groups_that_do_not_divide() -> None:
    arch = {"name": "dcgan", "norm": "group", "g_width": 6, "d_width": 6}
    arch = {key: each for key, each in arch.items() if key in DCGAN.model_fields or key == "name"}
    text = said(lambda: trainer(pixels(24, 16), arch={**arch, "groups": 7}))
    count = int(found(r"a map of (\d+) channels", text))
    assert "give other groups" in text
    trainer(pixels(24, 16), arch={**arch, "groups": 2 if count % 2 == 0 else 1})


@row("config", "dcgan.fashon", "mlp.mnst")
def a_misspelt_pretrained_generator(name: str) -> None:
    text = said(lambda: ganzoo.generators.pretrained.get(name))
    assert ganzoo.generators.pretrained.get(found(r"Did you mean '(\S+)'", text))


@row("config", "words", "python")
def what_a_recipe_cannot_know(way: str, line: Line) -> None:
    needy = [name for name in ganzoo.recipes.names() if ganzoo.recipes.get(name).needs]
    assert needy
    for name in needy:
        text = line.refused("train", "--recipe", name, "--dry-run")
        flag, path, setting, again = re.search(r"(--\w+) (\S+), or (\w+)='(\S+)'\.", text).groups()
        pictures(path, count=2)
        if way == "words":
            line.runs("train", "--recipe", name, flag, path, "--batch-size", "2", "--dry-run")
        else:
            resolve({"recipe": name, setting: again})


@row("config", "folder", "revision")
def an_entry_of_a_pretrained_generator(what: str) -> None:
    entry = {"name": "mlp.mine", "summary": "x", "license": "mit", "size": 1}
    place = {"folder": {}, "revision": {"repo_id": "a/b"}}[what]
    text = said(lambda: Pretrained(**entry, **place))
    if what == "folder":
        assert "needs a folder or a repo_id" in text
        Pretrained(**entry, folder="mlp.mine")
    else:
        name = found(r"needs a (\w+) with its repo_id", text)
        Pretrained(**entry, **place, **{name: 40 * "a"})


# -- more of data -----------------------------------------------------------------------------


class Lengthless(torch.utils.data.Dataset):
    """Nobody knows how many items."""

    def __getitem__(self, index: int) -> Any:
        return torch.rand(1, 8, 8)


class Nothing(torch.utils.data.IterableDataset):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        return iter([torch.rand(1, 8, 8)] * self.count)


@row("data", "length", "items")
def a_torch_dataset_of_nothing(what: str) -> None:
    if what == "items":
        assert "give at least one sample" in said(lambda: loaded(Nothing(0)))
        assert len(loaded(Nothing(1)).data) == 1
        return
    name = found(r"give it a (__\w+__)", said(lambda: loaded(Lengthless())))
    known = type("Known", (Lengthless,), {name: lambda self: 24})
    assert len(loaded(known()).data) == 24


@row("data", "workers", "smaller", "file")
def data_beyond_the_memory(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "IN_MEMORY_LIMIT", 5000)
    data = Made(lambda index: torch.full((1, 8, 8), index / 24))
    text = said(lambda: trainer(data))
    if way == "workers":
        trainer(data, workers=0 * int(found(r"workers=(\d)", text)))
    elif way == "smaller":
        assert "make it smaller" in text
        trainer(Made(lambda index: torch.full((1, 4, 4), index / 24)))
    else:
        suffix = found(r"or save it as a (\.\w+) array and give its path", text)
        np.save(f"x{suffix}", np.stack([each.numpy() for each in map(data.make, range(24))]))
        trainer(f"x{suffix}")


@row("data", "range", "audio")
def a_signal_taken_for_an_image(way: str) -> None:
    data = 50 * floats(24, 4, 100)
    text = said(lambda: loaded(data))
    options = words(text)
    assert {"stored_range", "sample_kind"} <= {*options}
    if way == "range":
        assert loaded(data, stored_range=options["stored_range"]).spec.kind == "image"
    else:
        assert loaded(data, **options).spec.kind == "audio"


@row("data")
def a_label_file_that_cannot_be_opened() -> None:
    pictures(folders=("a", "b"))
    Path("photos/dataset.json").symlink_to("nowhere")
    text = said(lambda: loaded(labels="file"))
    ways = re.findall(r"labels='(\w+)'", found(r"; correct it, or say (.+)\.$", text))
    assert [bool(loaded(labels=way).spec.classes) for way in ways] == [True, False]


@row("data")
def a_table_of_labels_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    written("metadata.parquet", "PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    text = said(lambda: loaded(labels="file"))
    extra(text, "datasets")  # which brings pyarrow
    assert "pyarrow" in text


@row("data")
def faces_without_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    celeba = datasets.create({"name": "celeba", "root": "here"})
    monkeypatch.setattr(type(celeba), "_read", lambda *_: 1 / 0)
    monkeypatch.setattr(type(celeba), "_lacks_gdown", lambda self: True)
    extra(said(celeba.load), "gdown")


@row("data", "size", "cache", "GANZOO_CACHE")
def a_full_disk(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(size=16)

    def usage(folder: Any) -> Any:
        free = 10**9 if "other" in str(folder) else 1000
        return type("Usage", (), {"free": free})

    monkeypatch.setattr("ganzoo.datasets.cache.shutil.disk_usage", usage)
    text = said(lambda: loaded())
    option, variable = re.search(
        r"choose a smaller size, or set the option (\w+) or (\w+) to a folder on another", text
    ).groups()
    if way == "size":
        assert loaded(size=8).spec.size == (8, 8)
    elif way == variable:
        monkeypatch.setenv(variable, "other")
        loaded()
    else:
        loaded(**{option: "other"})


# -- more of scores ---------------------------------------------------------------------------


def two(samples: torch.Tensor) -> Features:
    return Features(flat(samples), flat(samples)[:, :1])


@row("evaluate", "inception-score", "modes")
def logits_of_one_class(name: str) -> None:
    chosen = {"name": name, **({"splits": 1} if name != "modes" else {})}
    text = said(lambda: score(pixels(), None, {**chosen, "extractor": Function.of(two)}))
    assert "choose another extractor" in text
    score(pixels(), None, {**chosen, "extractor": Function.of(classified)})


@row("evaluate")
def features_of_two_extractors() -> None:
    one, other = (gathered(moments=moments_of(size)) for size in (3, 4))
    chosen = metrics.create({"name": "fid", "extractor": Function.of(flat)})
    assert "take both from the same extractor" in said(lambda: chosen.score(one, other))
    chosen.score(one, gathered(moments=moments_of(3)))


def moments_of(size: int) -> Moments:
    made = Moments()
    made.add(torch.rand(24, size))
    return made


@row("evaluate")
def real_samples_that_are_duplicates() -> None:
    data = np.concatenate([pixels(3)] * 12)
    text = said(lambda: score(pixels(), data, near()))
    assert "Look at the dataset for duplicates" in text
    score(pixels(), np.unique(np.concatenate((data, OTHERS)), axis=0), near())


@row("evaluate")
def a_metric_of_a_generator_for_data(line: Line) -> None:
    chosen = [each for each in metrics.names() if "generator" in metrics.get(each).requires]
    assert chosen
    for name in chosen:
        text = said(lambda name=name: score(pixels(24, 64, 3), None, name))
        assert "Leave it out, or give a generator" in text
    score(pixels(), OTHERS, kid())


@row("evaluate")
def images_of_a_dataset_without_a_range() -> None:
    spec = SampleSpec(shape=(1, 8, 8), value_range=None)
    data = torch.rand(24, 1, 8, 8)
    chosen = kid(Function.of(flat, quantise=True))
    with registered(Points, loads(lambda: Samples(data, spec, stored_range=None))) as points:
        text = said(lambda: score(points(), points(), chosen))
    assert "Give the dataset's stored_range" in text
    spec = SampleSpec(shape=(1, 8, 8))
    with registered(Points, loads(lambda: Samples(data, spec, stored_range=(0.0, 1.0)))) as points:
        score(points(), OTHERS, chosen)


@row("evaluate", "shapes", "channels")
def items_that_are_not_alike(fault: str) -> None:
    def item(index: int) -> Any:
        odd = index % 2
        return floats(3 + odd) if fault == "shapes" else floats(5 + odd, 8, 8)

    real = floats(24, 3) if fault == "shapes" else pixels(24, 8, 5)
    text = said(lambda: score(Made(item), real, kid()))
    assert re.search("bring all items to one shape|bring all to one number of them", text)
    score(Made(lambda index: item(2 * index)), real, kid())


@row("evaluate")
def not_one_picture_to_score() -> None:
    pictures(count=8)
    for each in Path("photos").iterdir():
        each.write_bytes(b"no picture")
    folder = {"name": "folder", "path": "photos", "max_bad": 99}
    text = said(lambda: score(maker(), folder, kid(), num_fake=10))
    assert "repair or replace them" in text
    pictures(count=8)
    score(maker(), folder, kid(), num_fake=10)


@row("evaluate")
def a_folder_where_scores_cannot_be_written(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    maker(SampleSpec(shape=(1, 16, 16))).save_pretrained("made")
    np.save("x.npy", pixels(24, 16))
    command = ("evaluate", "made", "--dataset", "x.npy", "--metrics", "swd", "--num-fake", "24")

    def fails(**_: Any) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("ganzoo.evaluation.score.tempfile.TemporaryFile", fails)
    flag = found(r"do not save them \((--[\w-]+)\)", line.refused(*command))
    line.runs(*command, flag)


@row("weights", "lacks", "NaN")
def weights_of_a_folder_that_are_wrong(fault: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    net = transformers.Dinov2Model(config)
    net.save_pretrained("tiny")
    whole = safetensors.torch.load_file("tiny/model.safetensors")
    name = "layernorm.weight"
    broken = {key: each for key, each in whole.items() if key != name}
    if fault == "NaN":
        broken[name] = torch.full_like(whole[name], torch.nan)
    meta = {"format": "pt"}
    safetensors.torch.save_file(broken, "tiny/model.safetensors", meta)
    chosen = features.create({"name": "dinov2", "weights": "tiny"})
    text = said(lambda: chosen.build(torch.device("cpu")))
    assert re.search("Get them again|or others of its kind", text)
    safetensors.torch.save_file(whole, "tiny/model.safetensors", meta)
    chosen.build(torch.device("cpu"))


@row("weights")
def pictures_that_are_not_resized() -> None:
    from ganzoo.features.resizing import as_rgb

    text = said(lambda: as_rgb(torch.rand(2, 2, 8, 8), "vgg16"))
    assert "Use another extractor, or another metric" in text
    score(pixels(24, 8, 2), pixels(24, 8, 2) // 2, kid())
