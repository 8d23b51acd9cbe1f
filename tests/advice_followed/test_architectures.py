"""Advice on architectures that break the contract of plug-ins."""

from __future__ import annotations

import re
from typing import Any

import torch
from pydantic import Field
from torch import nn

from advice_followed.components import (
    POINTS,
    Judge,
    Net,
    Sound,
    Space,
    checked,
    d,
    defined,
    g,
    of,
    plain,
    refused,
    registered,
)
from advice_followed.helpers import cases, found, literal, said
from ganzoo.architectures import Output, layers
from ganzoo.architectures.base import Inferred
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import UnsupportedSampleError


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


@cases(*NETS)
def test_nets_that_break_their_contract(fault: str):
    broken, remedy, mended = NETS[fault]
    assert re.search(remedy, refused(Sound, broken, POINTS))
    checked(Sound, mended, POINTS)


@cases("generator", "discriminator")
def test_a_forward_of_another_form(player: str):
    ways = {"generator": "torch.tanh(self.layer(z))", "discriminator": "self.layer(x).squeeze(1)"}
    fed = ways[player].partition(")")[0][-1]
    broken = defined(f"def forward(self, {fed}): return {ways[player]}")
    form = found(r"declare it as (forward\(.+?\))", refused(Sound, of(player, broken), POINTS))
    checked(Sound, of(player, defined(f"def {form}: return {ways[player]}")), POINTS)


def test_layers_in_a_list():
    kind = found(r"of them as (nn\.\w+)", refused(Sound, g(make=Listed), POINTS))
    kept = type("Kept", (Listed,), {"kind": eval(kind)})
    checked(Sound, g(make=kept), POINTS)


def test_logits_of_patches():
    broken = defined("def forward(self, x, labels=None): return self.layer(x)[:, :, None] * X", X=X)
    way = found(r"(flatten\(1\)) several", refused(Sound, d(broken), POINTS))
    code = f"def forward(self, x, labels=None): return (self.layer(x)[:, :, None] * X).{way}"
    checked(Sound, d(defined(code, X=X)), POINTS)


X = torch.ones(1, 2, 2)


def test_samples_of_another_shape():
    broken = g(lambda self, x, labels=None: plain(self, x)[..., None])
    shape = literal(found(r"float32 tensor of shape (\(.+?\))", refused(Sound, broken, POINTS)))
    own = shape[1:]
    checked(Sound, g(lambda self, x, labels=None: plain(self, x).reshape(-1, *own)), POINTS)


def test_values_outside_their_range():
    broken = g(lambda self, x, labels=None: self.layer(x) * 9)
    text = refused(Sound, broken, POINTS)
    way = found(r"End it with (\w+)\(spec\) of ganzoo\.architectures\.layers", text)
    end = getattr(layers, way)(POINTS)
    checked(Sound, g(lambda self, x, labels=None: end(self.layer(x) * 9)), POINTS)


@cases("z.shape[0]", "x.reshape(-1, *shape)")
def test_a_generator_that_knows_its_batch(way: str):
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


def with_labels_or_not(spec: SampleSpec, net: Any, other: Any) -> nn.Module:
    return net(len(spec.classes)) if spec.classes else other()


@cases(("generator", True), ("generator", False), ("discriminator", True),
     ("discriminator", False))  # fmt: skip
def test_labels_that_are_ignored(player: str, used: bool):
    both = {"generator": lambda self, spec, _: with_labels_or_not(spec, Labelled, Net)}
    both["discriminator"] = lambda self, spec: with_labels_or_not(spec, LabelledJudge, Judge)
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


def test_samples_that_its_nets_cannot_do():
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


@cases("refuse", "build")
def test_labels_that_are_not_there(way: str):
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
        "generator": lambda self, spec, _: with_labels_or_not(spec, Labelled, Net),
        "discriminator": lambda self, spec: with_labels_or_not(spec, LabelledJudge, Judge),
    }
    ways = {"refuse": {"check": check}, "build": both}
    checked(Sound, {**space, **ways[way]}, NAMED)


def test_an_architecture_of_one_kind_of_samples():
    option = found(r"check_architecture\(\.\.\., (\w+)=SampleSpec\(", refused(Choosy, {}))
    checked(Choosy, {}, **{option: POINTS})


def test_a_size_that_it_recommends_and_refuses():
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


def test_an_architecture_that_keeps_state():
    def counting(self: Any, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        self.seen.append(1)
        return Net(latent.numel)

    class Counting(Sound):
        seen: list[int] = Field(default_factory=list)

    text = refused(Counting, {"generator": counting}, POINTS)
    assert "keep state in what it builds or gets (the buffers of a net" in text
    checked(Counting, g(make=lambda: Hidden(kept=True)), POINTS)


@cases("None", "options")
def test_what_shapes_do_not_tell(what: str):
    class Wide(Sound):
        wide: int = 5

        def generator(self, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
            return Net(latent.numel)

    def infer(options: Any, latent: int = 3) -> Any:
        return classmethod(lambda cls, shapes, known: Inferred(latent, 3, options=options))

    if what == "None":
        text = refused(Wide, {"infer": infer({}, latent=9)}, POINTS)
        told = eval(found(r"Return (None) where", text))
        checked(Wide, {"infer": classmethod(lambda cls, shapes, known: told)}, POINTS)
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
