"""Advice is followed: what plug-ins, data, scores and trainings are told, and that it helps.

Each row is a situation, as in the other tests of advice.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ConfigDict, Field, PrivateAttr
from torch import nn
from torch.nn import functional

import advice
from advice import Rows, flat, follow, found, literal, said
from ganzoo import architectures, datasets, features, losses, metrics, testing, trackers
from ganzoo.architectures import Architecture, Output, layers
from ganzoo.architectures.base import Inferred
from ganzoo.datasets import Dataset, Samples
from ganzoo.errors import ConfigError, DataError, UnsupportedSampleError
from ganzoo.features import Extractor, Features
from ganzoo.features.base import fingerprint
from ganzoo.losses import Loss
from ganzoo.metrics import Metric, Result
from ganzoo.spec import LatentSpec, SampleSpec
from ganzoo.trackers import Log, Tracker

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
        d(lambda self, x, labels=None: self.layer(x)), "squeeze the last axis",
        d(lambda self, x, labels=None: self.layer(x).squeeze(-1)),
    ),
    "a mean of logits": (
        d(lambda self, x, labels=None: self.layer(x).mean()), "take no mean over the batch",
        d(lambda self, x, labels=None: self.layer(x).mean(1)),
    ),
    "decisions": (
        d(lambda self, x, labels=None: self.layer(x).squeeze(1) > 0), "return them as float32", d(),
    ),
    "logits in a mapping": (
        d(lambda self, x, labels=None: {"logits": self.layer(x).squeeze(1)}),
        "Return the logits themselves", d(),
    ),
    "logits in an Output": (
        d(lambda self, x, labels=None: [self.layer(x).squeeze(1), x]), r"or Output\(logits, ",
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
    way = found(r"are \(N, K\): (flatten\(1\))", refused(Sound, d(broken), POINTS))
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
    method = found(r"it refuses in (\w+)\(spec\)", text)

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
    assert "build nets without labels then, or refuse such samples in check(spec)" in text

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
        "discriminator": lambda self, spec: Look(),
    }
    method = found(r"Override (\w+) so that", refused(Sound, space))
    checked(Sound, {**space, method: lambda self, height, width: (32, 32)})


class Picture(Net):
    def __init__(self, latent: int) -> None:
        super().__init__(latent, 3 * 32 * 32)

    def forward(self, x: Any, labels: Any = None) -> Any:
        return plain(self, x).reshape(-1, 3, 32, 32)


class Look(Net):
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
    assert "keep state in buffers of the nets" in text
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
    "one for each": (dl("return fake - real"), "Take the mean over the batch", {}),
    "nothing": (gl("fake.mean()"), "End it with return", {}),
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
        r"it is generator\((.+?)\), and without it generator\((.+?)\)", text
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
    assert "it cannot keep state" in refused(Critic, {**space, "score": counting})
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
    assert "it cannot keep state" in refused(Points, {**space, "load": counting})
    checked(Points, space)


# -- metrics ----------------------------------------------------------------------------------


class Mean(Metric):
    """A sound metric."""

    gathers: ClassVar[Any] = ("samples",)
    kinds: ClassVar[Any] = ("vector",)

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
    "a kind that is none": (const(kinds=("points",)), "give a tuple of", const(kinds=("vector",))),
    "a part that is none": (
        const(gathers="samples"), "give a tuple of", const(gathers=("samples",)),
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
        "only what it gathers of a 3 numbers|only what it gathers", {},
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
        {**const(gathers=("features",)), **scores(
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
        fake.cache["seen"] = 1
        return Result(value(real, fake))

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    text = refused(Mean, {**space, "compute": counting})
    assert "Gathered.cache holds what metrics of the same samples share" in text
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
        "Pictures may be of mode L, RGB or RGBA",
        logs(images=lambda self, step, name, image: 1 / (image.convert("RGB").mode == "RGB")),
    ),
    "settings changed": (
        {"open": lambda self, folder, settings, step: settings.pop("steps") and Silent()},
        "copy them",
        {"open": lambda self, folder, settings, step: dict(settings).pop("steps") and Silent()},
    ),
    "a file that is there": (
        files("x"), "A training continues", files("a"),
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
    assert "keep state in the Log" in refused(Quiet, {**space, "open": counting})
    checked(Quiet, {**space, **logs(__init__=lambda self: setattr(self, "seen", 1))})
