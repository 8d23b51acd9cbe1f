"""Advice on registering components, and on packages that bring some."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import ganzoo
from advice_followed.helpers import Line, cases, found, said
from ganzoo import losses
from ganzoo.architectures import Architecture, registry
from ganzoo.architectures.mlp import MLP
from ganzoo.config import resolve
from ganzoo.losses import Loss
from ganzoo.testing import check_loss
from ganzoo.training.callbacks import Callback


class Mine(Loss):
    """A loss."""

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return fake.mean() - real.mean()

    def generator(self, fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        return -fake.mean()


@cases("config", "check")
def test_a_component_without_a_name(way: str):
    class Fresh(Mine):
        """A loss."""

    def use() -> Any:
        return check_loss(Fresh()) if way == "check" else resolve({"loss": Fresh()})

    name = found(r'register\("([\w-]+)"\)', said(use))
    losses.register(name)(Fresh)
    try:
        use()
    finally:
        losses.registry.unregister(name)


@cases("My Loss", "UPPER", "a--b", "")
def test_a_name_that_is_none(name: str):
    assert "lower-case letters and digits" in said(lambda: losses.register(name)(Mine))
    better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"
    losses.register(better)(type("Other", (Mine,), {"__doc__": "A loss."}))
    losses.registry.unregister(better)


@cases("hinge", "bce")
def test_a_name_that_is_taken(name: str):
    assert "needs another name" in said(lambda: losses.register(name)(Mine))
    losses.register(f"my-{name}")(type("Other", (Mine,), {"__doc__": "A loss."}))
    losses.registry.unregister(f"my-{name}")


@cases("on_steps", "on_sampel", "on_score")
def test_a_hook_that_is_none(name: str):
    text = said(lambda: type("NonFiniteMonitor", (Callback,), {name: lambda self, *args: None}))
    meant = found(r"Did you mean '(\w+)'", text)
    type("NonFiniteMonitor", (Callback,), {meant: lambda self, *args: None})
    for hook in found(r"Hooks: (.+)\.$", text).split(", "):
        assert hasattr(Callback, hook)


@cases(("batchsize", "batch_size"), ("latents", "latent"))
def test_advice_for_a_setting_that_is_none(name: str, meant: str):
    def loss(setting: str) -> type[Loss]:
        return type("Advises", (Mine,), {"__doc__": "x", "recommended": {setting: 8}})

    losses.register("advises")(found_class := loss(name))
    try:
        assert found(r"Did you mean '(\w+)'", said(lambda: check_loss(found_class()))) == meant
    finally:
        losses.registry.unregister("advises")
    losses.register("advises")(found_class := loss(meant))
    try:
        check_loss(found_class())
    finally:
        losses.registry.unregister("advises")


def test_an_architecture_that_is_incomplete():
    half = type("Half", (Architecture,), {"__doc__": "x"})
    text = said(lambda: registry.register("half")(half))
    missing = found(r"must define (.+)\.$", text).split(", ")
    whole = type("Whole", (Architecture,), {"__doc__": "x"} | dict.fromkeys(missing, _net))
    registry.register("half")(whole)
    registry.unregister("half")


def _net(self: Any, *args: Any) -> torch.nn.Module:
    return torch.nn.Identity()


@cases("name", "provider")
def test_an_option_that_is_reserved(name: str):
    namespace = {"__doc__": "x", "__annotations__": {name: str}, name: "y"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydantic, which says that it shadows one
        text = said(lambda: losses.register("reserving")(type("Reserving", (Mine,), namespace)))
    assert "rename it" in text
    namespace = {"__doc__": "x", "__annotations__": {f"my_{name}": str}, f"my_{name}": "y"}
    losses.register("reserving")(type("Reserving", (Mine,), namespace))
    losses.registry.unregister("reserving")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Put packages with entry points for losses on the path, as `pip install` would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def refresh() -> None:
        ganzoo.core.registry._entry_points.cache_clear()
        importlib.invalidate_caches()

    def install(package: str, source: str, name: str = "odd", version: str = "0.3") -> Path:
        module = package.replace("-", "_")
        for older in tmp_path.glob(f"{module}-*.dist-info"):
            shutil.rmtree(older)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[ganzoo.losses]\n{name} = {module}:Odd\n")
        (tmp_path / f"{module}.py").write_text(source)
        sys.modules.pop(module, None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        refresh()
        return info

    yield install
    losses.registry._classes.clear()
    for module in [name for name in sys.modules if name.startswith("odd_")]:
        del sys.modules[module]
    refresh()


ODD = """
from ganzoo.losses import Loss

class Odd(Loss):
    '''A loss.'''

    def discriminator(self, real, fake):
        return fake.mean() - real.mean()

    def generator(self, fake, real=None):
        return -fake.mean()
"""


def test_a_loss_of_two_packages(install: Callable[..., Path]):
    install("odd-one", ODD)
    install("odd-two", ODD)
    text = said(lambda: losses.create("odd"))
    names = re.findall(r"'([\w-]+:odd)'", text.partition("Say which one")[2])
    assert len(names) == 2
    for name in names:
        losses.create(name)


@cases("raise OSError('no more')", "class Odd: pass", "raise SystemExit")
def test_a_plug_in_that_is_broken(source: str, install: Callable[..., Path], line: Line):
    info = install("odd-one", source)
    assert found(r"Upgrade or remove ([\w-]+)\.", said(lambda: losses.create("odd"))) == "odd-one"
    assert "upgrade or remove what is broken" in line.refused("list", "losses", "--check")
    assert "odd-one" in line.refused("doctor")
    install("odd-one", ODD, version="0.4")
    losses.create("odd")
    line.runs("list", "losses", "--check")
    shutil.rmtree(info.with_name("odd_one-0.4.dist-info"))
    ganzoo.core.registry._entry_points.cache_clear()
    line.runs("list", "losses", "--check")


def test_plug_ins_that_are_off(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    install("odd-one", ODD)
    monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", "1")
    text = said(lambda: losses.create({"name": "odd", "provider": "odd-one 0.3"}))
    variable = found(r"but (GANZOO_\w+) turns plug-ins off; unset it", text)
    assert found(r"off: (GANZOO_\w+) is set", said(lambda: losses.create("odd"))) == variable
    monkeypatch.delenv(variable)
    losses.create({"name": "odd", "provider": "odd-one 0.3"})
    losses.create("odd")


@cases("not installed", "older", "in code", "damaged")
def test_what_a_file_says_that_it_needs(kind: str, install: Callable[..., Path]):
    provider = {"in code": "odd_one", "damaged": "!! 3"}.get(kind, "odd-one 0.3")
    if kind == "older":
        install("odd-one", ODD, name="even", version="0.2")
    text = said(lambda: losses.create({"name": "odd", "provider": provider}))
    if kind == "in code":
        module = found(r"the module '(\w+)': .+ run or import it first", text)
        mine = type("Odd", (MyLoss,), {"__doc__": "A loss.", "__module__": module})
        losses.register("odd")(mine)
        try:
            losses.create({"name": "odd", "provider": provider})
        finally:
            losses.registry.unregister("odd")
    elif kind == "damaged":
        assert "Get another copy of it" in text
        losses.create({"name": "hinge"})
    else:
        package = found(r"from the package '([\w-]+)'", text)
        install(package, ODD, version=found(r"' ([\d.]+\d)", text))
        losses.create({"name": "odd", "provider": provider})


class MyLoss(Loss):
    """A loss."""

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return fake.mean() - real.mean()

    def generator(self, fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        return -fake.mean()


@cases("no class", "a function", "another kind")
def test_what_is_no_loss(kind: str):
    thing = {"no class": 3, "a function": print, "another kind": MLP}[kind]
    base = found(r"must be a subclass of (\w+)", said(lambda: losses.register("mine")(thing)))
    mine = type("Mine", (MyLoss,), {"__doc__": "A loss."})
    assert base in {each.__name__ for each in mine.__mro__}
    losses.register("mine")(mine)
    losses.registry.unregister("mine")


@cases([3], [["hinge"]], [{"nam": "hinge"}])
def test_what_chooses_no_component(given: list[Any]):
    text = said(lambda: losses.create(given[0]))
    assert "name" in text
    for name in found(r"Available: (.+)\.$", text).split(", "):
        losses.create(name)
        losses.create({"name": name})


@cases("copy", "model_fields")
def test_an_option_that_hides_a_member(option: str):
    def register(option: str) -> None:
        members = {"__doc__": "x", "__annotations__": {option: int}, option: 3}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pydantic, which says so too
            losses.register("hiding")(type("Hiding", (MyLoss,), members))

    assert "rename the option" in said(lambda: register(option))
    register(f"my_{option}")
    losses.registry.unregister("hiding")


def test_a_member_that_is_no_option():
    def source(line: str) -> type[Loss]:
        code = f"class Sees(MyLoss):\n    '''x'''\n    {line}\n"
        space: dict[str, Any] = {"MyLoss": MyLoss, "ClassVar": ClassVar, "__name__": "sees"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pydantic, which says so too
            exec(compile(code, "sees", "exec", dont_inherit=True), space)
        return space["Sees"]

    def register(line: str) -> None:
        losses.register("sees")(source(line))

    text = said(lambda: register("generator_sees_real: bool = True"))
    line = found(r"or write '(.+? = )\.\.\.'", text) + "True"
    register(line)
    losses.registry.unregister("sees")


def test_what_was_never_registered():
    assert "was registered in code" in said(lambda: losses.registry.unregister("hinge"))
    losses.register("mine")(type("Mine", (MyLoss,), {"__doc__": "A loss."}))
    losses.registry.unregister("mine")
