"""Advice on registering components, and on packages that bring some."""

from __future__ import annotations

import contextlib
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
from torch.nn import Identity

import ganzoo
from advice_followed.components import Critic
from advice_followed.helpers import Line, cases, found, said
from ganzoo import losses
from ganzoo.architectures import Architecture, registry
from ganzoo.architectures.mlp import MLP
from ganzoo.config import resolve
from ganzoo.losses import Loss
from ganzoo.testing import check_loss
from ganzoo.training.callbacks import Callback


def mine(**members: Any) -> type[Loss]:
    return type("Mine", (Critic,), {"__doc__": "A loss.", **members})


@contextlib.contextmanager
def known(name: str, loss: Any = None) -> Iterator[None]:
    """A loss is registered as long as the block lasts."""
    losses.register(name)(mine() if loss is None else loss)
    try:
        yield
    finally:
        losses.registry.unregister(name)


def accept(name: str, loss: Any = None) -> None:
    with known(name, loss):
        pass


def with_option(name: str, value: Any) -> type[Loss]:
    return mine(**{name: value}, __annotations__={name: type(value)})


def resolve_loss(loss: Loss) -> Any:
    return resolve({"loss": loss})


@cases(resolve_loss, check_loss)
def test_a_component_without_a_name(use: Callable[[Loss], Any]):
    fresh = mine()
    with known(found(r'register\("([\w-]+)"\)', said(lambda: use(fresh()))), fresh):
        use(fresh())


@cases("My Loss", "UPPER", "a--b", "")
def test_a_name_that_is_none(name: str):
    assert "lower-case letters and digits" in said(lambda: accept(name))
    accept(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x")


@cases("hinge", "bce")
def test_a_name_that_is_taken(name: str):
    assert "needs another name" in said(lambda: losses.register(name)(mine()))
    accept(f"my-{name}")


@cases("on_steps", "on_sampel", "on_score")
def test_a_hook_that_is_none(name: str):
    text = said(lambda: type("NonFiniteMonitor", (Callback,), {name: lambda self, *args: None}))
    meant = found(r"Did you mean '(\w+)'", text)
    type("NonFiniteMonitor", (Callback,), {meant: lambda self, *args: None})
    for hook in found(r"Hooks: (.+)\.$", text).split(", "):
        assert hasattr(Callback, hook)


@cases(("batchsize", "batch_size"), ("latents", "latent"))
def test_advice_for_a_setting_that_is_none(name: str, meant: str):
    with known("advises", wrong := mine(recommended={name: 8})):
        assert found(r"Did you mean '(\w+)'", said(lambda: check_loss(wrong()))) == meant
    with known("advises", right := mine(recommended={meant: 8})):
        check_loss(right())


def test_an_architecture_that_is_incomplete():
    half = type("Half", (Architecture,), {"__doc__": "x"})
    text = said(lambda: registry.register("half")(half))
    missing = dict.fromkeys(found(r"must define (.+)\.$", text).split(", "), lambda *_: Identity())
    registry.register("half")(type("Whole", (Architecture,), {"__doc__": "x", **missing}))
    registry.unregister("half")


@cases("name", "provider")
def test_an_option_that_is_reserved(name: str):
    with shadowing():
        assert "rename it" in said(lambda: accept("reserving", with_option(name, "y")))
    accept("reserving", with_option(f"my_{name}", "y"))


@contextlib.contextmanager
def shadowing() -> Iterator[None]:
    """Without the warnings of pydantic on members that hide others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cases("copy", "model_fields")
def test_an_option_that_hides_a_member(option: str):
    with shadowing():
        assert "rename the option" in said(lambda: accept("hiding", with_option(option, 3)))
        accept("hiding", with_option(f"my_{option}", 3))


def test_a_member_that_is_no_option():
    def register(line: str) -> None:
        space: dict[str, Any] = {"Critic": Critic, "ClassVar": ClassVar, "__name__": "sees"}
        with shadowing():
            code = f"class Sees(Critic):\n    '''x'''\n    {line}\n"
            exec(compile(code, "sees", "exec", dont_inherit=True), space)
        accept("sees", space["Sees"])

    text = said(lambda: register("generator_sees_real: bool = True"))
    register(found(r"or write '(.+? = )\.\.\.'", text) + "True")


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
        with known("odd", mine(__module__=module)):
            losses.create({"name": "odd", "provider": provider})
    elif kind == "damaged":
        assert "Get another copy of it" in text
        losses.create({"name": "hinge"})
    else:
        package = found(r"from the package '([\w-]+)'", text)
        install(package, ODD, version=found(r"' ([\d.]+\d)", text))
        losses.create({"name": "odd", "provider": provider})


@cases(3, print, MLP)
def test_what_is_no_loss(thing: Any):
    base = found(r"must be a subclass of (\w+)", said(lambda: losses.register("mine")(thing)))
    assert base in {each.__name__ for each in mine().__mro__}
    accept("mine")


@cases([3], [["hinge"]], [{"nam": "hinge"}])
def test_what_chooses_no_component(given: list[Any]):
    text = said(lambda: losses.create(given[0]))
    assert "name" in text
    for name in found(r"Available: (.+)\.$", text).split(", "):
        losses.create(name)
        losses.create({"name": name})


def test_what_was_never_registered():
    assert "was registered in code" in said(lambda: losses.registry.unregister("hinge"))
    accept("mine")
