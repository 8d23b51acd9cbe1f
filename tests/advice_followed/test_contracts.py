"""Advice on losses, datasets, metrics, extractors and trackers that break their contracts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field, PrivateAttr
from torch import nn
from torch.nn import functional

from advice_followed.components import (
    Critic,
    Eye,
    Mean,
    Points,
    Quiet,
    Seeing,
    Silent,
    Space,
    checked,
    const,
    defined,
    loads,
    logs,
    look,
    refused,
    samples,
    sees,
    value,
)
from advice_followed.helpers import cases, flat, found, literal
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets import Samples
from ganzoo.errors import ConfigError, DataError
from ganzoo.features import Features
from ganzoo.losses import Loss
from ganzoo.metrics import Metric, Result


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


@cases(*LOSSES)
def test_losses_that_break_their_contract(fault: str):
    broken, remedy, mended = LOSSES[fault]
    assert re.search(remedy, refused(Critic, broken))
    checked(Critic, mended)


def test_real_samples_in_the_phase_of_g():
    code = "return real.mean() - fake.mean()"
    name, kind, value = re.search(
        r"says (\w+): (ClassVar\[bool\]) = (True)", refused(Critic, gl(code))
    ).groups()
    told = {name: literal(value), "__annotations__": {name: kind}}
    checked(Critic, {**gl(code), **told})


@cases(True, False)
def test_a_loss_of_g_with_another_form(sees: bool):
    told = {"generator_sees_real": True, "__annotations__": {"generator_sees_real": ClassVar[bool]}}
    text = refused(Critic, {**gl("return -fake.mean()", "self, fake"), **told})
    with_real, without = re.search(
        r"G's half is generator\((.+?)\), and without it generator\((.+?)\)", text
    ).groups()
    if sees:
        checked(Critic, {**gl("return real.mean() - fake.mean()", f"self, {with_real}"), **told})
    else:
        checked(Critic, gl("return -fake.mean()", f"self, {without}"))


@cases("discriminator", "generator")
def test_a_loss_of_one_player(player: str):
    other = {"discriminator": "generator", "generator": "discriminator"}[player]
    half = {other: vars(Critic)[other]}
    assert f"no {player} loss: override one of the two" in refused(Loss, half)
    checked(Loss, {**half, player: vars(Critic)[player]})


@cases("option", "ClassVar")
def test_a_loss_that_keeps_something(way: str):
    text = refused(Critic, {"_seen": PrivateAttr(1), "__annotations__": {"_seen": int}})
    assert "make them options, ClassVars" in text
    kind = int if way == "option" else ClassVar[int]
    checked(Critic, {"seen": 1, "__annotations__": {"seen": kind}})


def test_a_loss_that_may_change():
    text = refused(Critic, {"model_config": ConfigDict(frozen=False, extra="allow")})
    assert "must stay frozen and forbid unknown" in text
    checked(Critic, {"model_config": ConfigDict(title="x")})


def test_a_loss_that_counts():
    def counting(self: Any, logits: Any) -> Any:
        self.seen.append(1)
        return logits

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    assert "or keep none" in refused(Critic, {**space, "score": counting})
    checked(Critic, {**space, "score": lambda self, logits: logits})


# -- datasets ---------------------------------------------------------------------------------

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


@cases(*DATA)
def test_datasets_that_break_their_contract(fault: str):
    broken, remedy, mended = DATA[fault]
    assert re.search(remedy, refused(Points, loads(broken)))
    if mended is None:
        assert "no points" in refused(Points, loads(empty))
    else:
        checked(Points, loads(mended))


def test_a_dataset_that_counts():
    def counting(self: Any) -> Any:
        self.seen.append(1)
        return samples()

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    assert "or keep none" in refused(Points, {**space, "load": counting})
    checked(Points, space)


# -- metrics ----------------------------------------------------------------------------------


def scores(make: Callable[[Any, Any], Any]) -> Space:
    return {"compute": lambda self, real, fake: make(real, fake)}


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


@cases(*METRICS)
def test_metrics_that_break_their_contract(fault: str):
    broken, remedy, mended = METRICS[fault]
    assert re.search(remedy, refused(Mean, broken))
    checked(Mean, mended)


def test_a_metric_of_one_kind_of_samples():
    def check(self: Any, spec: SampleSpec) -> None:
        super(Mean, self).check(spec)
        if spec.shape != (5,):
            raise ConfigError("Five numbers.")

    option = found(r"check_metric\(\.\.\., (\w+)=SampleSpec\(", refused(Mean, {"check": check}))
    checked(Mean, {"check": check}, **{option: SampleSpec(kind="vector", shape=(5,))})


def test_a_metric_that_counts():
    def counting(self: Any, real: Any, fake: Any) -> Any:
        self.seen.append(1)
        return Result(value(real, fake))

    def caching(self: Any, real: Any, fake: Any) -> Any:
        getattr(fake, name)["seen"] = 1
        return Result(value(real, fake))

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    name = found(r"the (\w+) of a metric's inputs", refused(Mean, {**space, "compute": counting}))
    checked(Mean, {"compute": caching})


# -- extractors -------------------------------------------------------------------------------


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


@cases(*EXTRACTORS)
def test_extractors_that_break_their_contract(fault: str):
    broken, remedy, mended = EXTRACTORS[fault]
    assert re.search(remedy, refused(Seeing, broken))
    checked(Seeing, mended)


def test_weights_that_are_not_loaded():
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


@cases(*TRACKERS)
def test_trackers_that_break_their_contract(fault: str):
    broken, remedy, mended = TRACKERS[fault]
    assert re.search(remedy, refused(Quiet, broken))
    checked(Quiet, mended)


def test_a_tracker_that_counts():
    def counting(self: Any, *_: Any) -> Any:
        self.seen.append(1)
        return Silent()

    space = {"seen": Field(default_factory=list), "__annotations__": {"seen": list[int]}}
    assert "a tracker's Log" in refused(Quiet, {**space, "open": counting})
    checked(Quiet, {**space, **logs(__init__=lambda self: setattr(self, "seen", 1))})
