"""Registries: built-ins, registrations in code, and plug-ins as they are found on ``sys.path``."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

import ganzoo.core.registry
from ganzoo import __version__
from ganzoo.core.component import Component
from ganzoo.core.registry import Registry, plugins_disabled
from ganzoo.errors import (
    ConfigError,
    GanzooError,
    PluginError,
    RegistrationError,
    UnknownNameError,
)

GROUP = "ganzoo.widgets"


class Widget(Component):
    """What the registries of these tests hold."""

    kind: ClassVar[str] = "widget"
    size: int = Field(1, ge=0)

    @abstractmethod
    def turn(self):
        """Do something."""


class Round(Widget):
    """A round one.

    More about it.
    """

    def turn(self):
        return "round"


class Square(Widget):
    """A square one."""

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "square_small": {"size": 2},
        "square_very_large": {"size": 9},
    }

    def turn(self):
        return "square"


PLUGIN = """
    from {home} import Widget

    class {cls}(Widget):
        '''From a plug-in.'''
        edge: float = 0.5

        def turn(self):
            return {cls!r}
    """


@pytest.fixture
def registry():
    # Classes keep the name that a registry gave them, so every test starts without.
    for cls in (Round, Square):
        for attribute in ("name", "provider"):
            if attribute in vars(cls):
                delattr(cls, attribute)
    builtins = {"round": f"{__name__}:Round", "square": f"{__name__}:Square"}
    return Registry(Widget, group=GROUP, builtins=builtins)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put distributions with entry points on ``sys.path``."""
    ganzoo.core.registry._entry_points.cache_clear()
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(distribution, entries, modules=(), version="0.3", summary="Some widgets."):
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(about + f"Summary: {summary}\n" * bool(summary))
        lines = "".join(f"{name} = {target}\n" for name, target in entries.items())
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
        for path, source in dict(modules).items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(textwrap.dedent(source))
        ganzoo.core.registry._entry_points.cache_clear()
        importlib.invalidate_caches()

    yield install
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    ganzoo.core.registry._entry_points.cache_clear()


def widget(cls="Foo"):
    return PLUGIN.format(home=__name__, cls=cls)


def define(name="Mine", **members):
    """A new class, as if a notebook cell that defines it ran."""
    members = {"turn": lambda self: name, "__module__": __name__, "__qualname__": name, **members}
    return type(Widget)(name, (Widget,), members)


# -- built-ins ------------------------------------------------------------------------------------


def test_built_ins(registry):
    assert registry.names() == ["round", "square"]
    assert registry.get("round") is registry.get("ganzoo:round") is Round
    assert (Round.name, Round.provider) == ("round", "")
    assert [entry.provider for entry in registry.entries()] == [f"ganzoo {__version__}"] * 2
    assert repr(registry) == "Registry(ganzoo.widgets: round, square)"


def test_summaries_come_from_the_source(registry):
    assert [entry.summary for entry in registry.entries()] == ["A round one.", "A square one."]
    assert [entry.lines for entry in registry.entries()] == [("A round one.",), ("A square one.",)]


def test_nothing_is_imported_by_listing():
    code = """
        import sys
        from ganzoo import architectures, datasets, losses, optimizers, schedules
        for kind in (architectures, datasets, losses, optimizers, schedules):
            assert kind.names() and kind.registry.entries() and repr(kind.registry)
            assert all(entry.summary for entry in kind.registry.entries())
        for name in ("torch", "torchvision", "ganzoo.losses.hinge", "ganzoo.architectures.dcgan"):
            assert name not in sys.modules, name
        from ganzoo.losses import get
        assert get("hinge").name == "hinge"
        assert "ganzoo.losses.hinge" in sys.modules
        assert "ganzoo.losses.bce" not in sys.modules
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_broken_built_in(registry):
    broken = Registry(Widget, group=GROUP, builtins={"gone": f"{__name__}:Gone"})
    with pytest.raises(PluginError, match=r"'gone' of ganzoo .* cannot be .* Reinstall ganzoo\."):
        broken.get("gone")


# -- unknown names --------------------------------------------------------------------------------


def test_an_unknown_name_lists_all_and_the_nearest(registry):
    with pytest.raises(UnknownNameError) as caught:
        registry.get("Rounds")
    assert str(caught.value) == (
        "Unknown widget 'Rounds'. Did you mean 'round'? Available: round, square."
    )
    with pytest.raises(UnknownNameError, match=r"^Unknown widget 'zz'\. Available: round, square"):
        registry.create("zz")


@pytest.mark.parametrize("name", ["", ":", "round:", ":roundd", "nobody:round", "a:b:round"])
def test_odd_names_are_unknown(registry, name):
    with pytest.raises(UnknownNameError):
        registry.get(name)


def test_an_empty_registry():
    with pytest.raises(UnknownNameError, match=r"Available: none\.$"):
        Registry(Widget, group=GROUP, builtins={}).get("x")


# -- creating -------------------------------------------------------------------------------------


def test_create_accepts_all_forms(registry):
    forms = ["round", {"name": "round"}, Round, Round()]
    assert [registry.create(form, size=3) for form in forms] == [Round(size=3)] * 4
    assert registry.create({"name": "round", "size": 2}) == Round(size=2)
    assert registry.create({"name": "round", "size": 2}, size=4).size == 4
    same = Round(size=7)
    assert registry.create(same) is same
    assert registry.create(same, size=8) == Round(size=8) != same


def test_create_validates_overrides(registry):
    for form in ("round", {"name": "round"}, Round, Round()):
        with pytest.raises(ConfigError, match="size cannot be -1"):
            registry.create(form, size=-1)
        with pytest.raises(ConfigError, match=r"has no option 'sise'\. Did you mean 'size'\?"):
            registry.create(form, sise=1)


@pytest.mark.parametrize("option", ["self", "value", "name", "provider"])
def test_awkward_override_names_are_unknown_options(registry, option):
    with pytest.raises(ConfigError, match=f"'round' has no option '{option}'"):
        registry.create("round", **{option: 1})


def test_keys_that_are_no_text(registry):
    with pytest.raises(ConfigError, match="'round' has no option '1'"):
        registry.create({"name": "round", 1: 2})


@pytest.mark.parametrize("value", [{}, {"size": 1}, {"name": 3}, {"name": None}])
def test_a_mapping_needs_a_name(registry, value):
    with pytest.raises(ConfigError, match=r"given as a mapping needs its 'name'.*round, square"):
        registry.create(value)


@pytest.mark.parametrize("value", [None, 3, ["round"], object(), int, Component, lambda: None])
def test_wrong_types_are_refused(registry, value):
    message = "A widget is a name, a mapping with 'name', or a component of class Widget"
    with pytest.raises(ConfigError, match=message):
        registry.create(value)


def test_the_message_names_a_class_by_its_name(registry):
    with pytest.raises(ConfigError, match=r"got int\. Available"):
        registry.create(int)


def test_an_incomplete_class_is_refused(registry):
    with pytest.raises(RegistrationError, match="Widget is incomplete: Widget must define turn"):
        registry.create(Widget)


@given(st.integers(min_value=0))
def test_round_trip(size):
    registry = Registry(Widget, group=GROUP, builtins={"round": f"{__name__}:Round"})
    made = registry.create("round", size=size)
    assert registry.create(json.loads(json.dumps(made.model_dump(mode="json")))) == made


def test_a_class_that_was_imported_directly_gets_its_name(registry, install):
    assert registry.create(Round(size=2)).model_dump() == {"name": "round", "size": 2}
    assert registry.create(Square).model_dump()["name"] == "square"
    modules = {"foo/__init__.py": "from foo.nets import Foo", "foo/nets.py": widget()}
    entries = {"broken": "foo:Nothing", "foo": "foo:Foo"}
    install("ganzoo-foo", entries, modules)
    foo = importlib.import_module("foo.nets").Foo
    with pytest.raises(RegistrationError, match="Foo cannot be saved"):
        foo().model_dump()
    assert registry.create(foo()).model_dump()["provider"] == "ganzoo-foo 0.3"


def test_an_unregistered_class_works_but_cannot_be_saved(registry):
    mine = registry.create(define(), size=2)
    assert registry.create(mine, size=3).size == 3
    with pytest.raises(RegistrationError, match="Mine cannot be saved"):
        mine.model_dump()


def test_optimizers_given_as_objects_can_be_saved():
    code = """
        from ganzoo.optimizers import SGD, create
        assert create(SGD(lr=1)).model_dump()["name"] == "sgd"
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


# -- registering in code --------------------------------------------------------------------------


def test_the_decorator(registry):
    @registry.register("mine")
    class Mine(Widget):
        """My own.

        Details.
        """

        def turn(self):
            return "mine"

    assert registry.get("mine") is registry.get(f"{__name__}:mine") is Mine
    assert (Mine.name, Mine.provider) == ("mine", __name__)
    assert registry.names() == ["mine", "round", "square"]
    entry = registry.entries()[-1]
    assert (entry.name, entry.distribution, entry.version) == ("mine", __name__, "")
    assert entry.summary == "My own."
    assert registry.create(Mine(size=3).model_dump()) == Mine(size=3)
    assert dict(registry.check())[entry] is None


def test_registering_the_same_class_again_is_no_matter(registry):
    mine = registry.register("mine")(define())
    assert registry.register("mine")(mine) is mine
    assert registry.register("round")(Round) is registry.get("round") is Round
    assert (Round.name, Round.provider) == ("round", "")
    assert registry.names() == ["mine", "round", "square"]


def test_a_definition_run_again_replaces_itself(registry):
    first = registry.register("mine")(define(power=1, __annotations__={"power": int}))
    second = registry.register("mine")(define())
    assert first is not second
    assert registry.get("mine") is type(registry.create("mine")) is second
    assert registry.names().count("mine") == 1
    with pytest.raises(ConfigError, match="'mine' has no option 'power'"):
        registry.create("mine", power=2)
    third = registry.register("mine")(define())  # and again
    assert registry.get("mine") is third


def test_another_class_under_a_taken_name(registry):
    registry.register("mine")(define())
    with pytest.raises(RegistrationError) as caught:
        registry.register("mine")(define("Other"))
    assert str(caught.value) == (
        f"The widget name 'mine' is already taken by {__name__}:Mine ({__name__}); "
        f"{__name__}:Other needs another name."
    )
    assert registry.get("mine").__name__ == "Mine"


@pytest.mark.parametrize("modules", [("pack.a", "pack.b"), ("a", "b"), ("__main__", "a")])
def test_two_modules_of_one_package_may_not_share_a_name(registry, modules):
    first, second = (define(__module__=module) for module in modules)
    registry.register("mine")(first)
    with pytest.raises(RegistrationError, match=f"taken by {modules[0]}:Mine .*{modules[1]}:Mine"):
        registry.register("mine")(second)
    assert registry.get("mine") is first


def test_a_built_in_cannot_be_shadowed(registry):
    with pytest.raises(RegistrationError) as caught:
        registry.register("round")(define())
    assert str(caught.value) == (
        f"The widget name 'round' is already taken by {__name__}:Round (ganzoo {__version__}); "
        f"{__name__}:Mine needs another name."
    )
    assert registry.get("round") is Round


@pytest.mark.parametrize("loaded", [True, False])
def test_a_built_in_class_keeps_its_name(registry, loaded):
    if loaded:
        assert registry.get("round") is Round
        assert registry.register("disc")(Round) is Round  # an alias
    else:
        with pytest.raises(RegistrationError, match="Round is ganzoo's own and keeps its name"):
            registry.register("disc")(Round)
    assert (registry.get("round").name, Round.provider) == ("round", "")


def test_two_names_for_one_class(registry):
    mine = registry.register("second")(registry.register("first")(define()))
    assert registry.get("first") is registry.get("second") is mine
    assert mine.name == "first"
    assert registry.create(mine().model_dump()) == mine()


def test_unregister(registry):
    mine = registry.register("mine")(define())
    registry.unregister("mine")
    with pytest.raises(UnknownNameError):
        registry.get("mine")
    for name in ("mine", "round", "nothing"):
        with pytest.raises(UnknownNameError, match="registered in code"):
            registry.unregister(name)
    assert registry.register("other")(mine).name == "other"


@pytest.mark.parametrize("cls", [int, Component, 3])
def test_what_is_no_component_of_the_kind(registry, cls):
    with pytest.raises(RegistrationError, match=r"'mine' is no widget: .* subclass of Widget"):
        registry.register("mine")(cls)


def test_what_lacks_a_method(registry):
    class Lazy(Widget):
        pass

    with pytest.raises(RegistrationError, match="'lazy' is incomplete: Lazy must define turn"):
        registry.register("lazy")(Lazy)


@pytest.mark.parametrize("option", ["name", "provider"])
def test_reserved_options(registry, option):
    with pytest.warns(UserWarning, match="shadows"):  # pydantic has its own word on it
        cls = define(__annotations__={option: str}, **{option: "x"})
    with pytest.raises(RegistrationError, match=f"'mine' has an option called '{option}'"):
        registry.register("mine")(cls)
    assert "mine" not in registry.names()


@given(st.from_regex(r"[a-z0-9]+([-_.][a-z0-9]+){0,3}", fullmatch=True))
def test_plain_names_are_accepted(name):
    registry = Registry(Widget, group=GROUP, builtins={})
    cls = registry.register(name)(define())
    assert registry.get(name) is cls
    assert registry.create(cls().model_dump()) == cls()


@given(st.text())
def test_a_name_is_accepted_or_refused_with_a_message(name):
    registry = Registry(Widget, group=GROUP, builtins={})
    try:
        cls = registry.register(name)(define())
    except RegistrationError as error:
        assert "cannot name a widget" in str(error)
    else:
        assert registry.get(name) is cls
        assert name == name.lower().strip("-_. \n")
        assert not set(name) & set(":/\\ ")


@pytest.mark.parametrize("name", ["", "A", "a b", "a:b", "a/b", "-a", "a-", "a--b", "é", "a\n"])
def test_names_that_are_not_plain(registry, name):
    with pytest.raises(RegistrationError, match="cannot name a widget: use lower-case letters"):
        registry.register(name)


def test_the_decorator_without_a_name(registry):
    with pytest.raises(RegistrationError, match="cannot name a widget"):
        registry.register(define())


# -- plug-ins -------------------------------------------------------------------------------------


def test_a_plugin_is_listed_without_import_and_loaded_on_use(registry, install):
    install("ganzoo-foo", {"foo": "foo:Foo"}, {"foo.py": widget()})
    assert registry.names() == ["foo", "round", "square"]
    entry = registry.entries()[-1]
    assert (entry.provider, entry.summary) == ("ganzoo-foo 0.3", "Some widgets.")
    assert "foo" not in sys.modules
    cls = registry.get("foo")
    assert cls is registry.get("ganzoo-foo:foo") is sys.modules["foo"].Foo
    assert (cls.name, cls.provider) == ("foo", "ganzoo-foo 0.3")


@pytest.mark.parametrize(
    ("target", "modules"),
    [
        ("foo:Foo", {"foo.py": "{widget}"}),
        ("foo:Foo", {"foo/__init__.py": "{widget}"}),
        ("foo:Foo", {"foo/__init__.py": "from foo.deep import Foo", "foo/deep.py": "{widget}"}),
        ("foo:Foo", {"foo/__init__.py": "from .deep import Foo", "foo/deep.py": "{widget}"}),
        ("foo:Bar", {"foo/__init__.py": "from .deep import Foo as Bar", "foo/deep.py": "{widget}"}),
        ("foo.deep:Foo", {"foo/__init__.py": "1 / 0", "foo/deep.py": "{widget}"}),
        ("foo.deep:Foo", {"foo/__init__.py": "", "foo/deep.py": "from . import Foo"}),
        ("foo:Foo", {"foo.py": "{widget}", "foo.txt": ""}),
        ("foo:Foo", {}),
        ("foo.deep:Foo", {"foo.py": "{widget}"}),
        ("foo:Foo", {"foo.py": "class Foo: pass"}),
        ("foo:Foo", {"foo.py": "class Foo(:"}),
        ("foo:Foo", {"foo.py": "Foo = 3"}),
        ("foo:Foo", {"foo.py": "from foo import Foo"}),
    ],
)
def test_lines_on_a_plugin_come_from_its_source_and_its_package(registry, install, target, modules):
    found = any(text == "{widget}" for text in modules.values())
    found = found and not (target == "foo.deep:Foo" and "foo.py" in modules)
    install(
        "ganzoo-foo",
        {"foo": target},
        {
            path: text.replace("{widget}", textwrap.dedent(widget()))
            for path, text in modules.items()
        },
    )
    (entry,) = (each for each in registry.entries() if each.name == "foo")
    assert entry.lines == (*["From a plug-in."] * found, "Some widgets.")
    assert {name for name in sys.modules if name.partition(".")[0] == "foo"} == set()


def test_the_provider_survives_a_round_trip(registry, install):
    install("ganzoo-foo", {"foo": "foo:Foo"}, {"foo.py": widget()})
    made = registry.create("foo", edge=0.25)
    saved = json.loads(made.model_dump_json())
    assert saved == {"name": "foo", "provider": "ganzoo-foo 0.3", "size": 1, "edge": 0.25}
    assert registry.create(saved) == made
    assert registry.create({**saved, "provider": "ganzoo-foo 0.1"}) == made
    assert registry.create({**saved, "provider": "Ganzoo_Foo 0.3"}) == made
    assert registry.get("Ganzoo.Foo:foo") is type(made)


def test_a_missing_plugin_is_named(registry):
    with pytest.raises(PluginError) as caught:
        registry.create({"name": "foo", "provider": "ganzoo-foo 0.3", "edge": 1})
    assert str(caught.value) == (
        "The widget 'foo' says that it comes from the package 'ganzoo-foo' 0.3, which is not "
        "installed. Only the file says so: look at it on PyPI before you "
        "install it."
    )


@pytest.mark.parametrize(
    "provider",
    [
        *("git+https://example.org/x 1", "foo;id 1", "--index-url=http://example.org 1", " 1"),
        *("../x 1", "foo 1;id", "foo  1", "foo 1\n", "f\u00f6o 1", "foo not-a-version", "a-b"),
        *("", " ", "foo 1!" + "9" * 5000, "x" * 10**6),
    ],
)
def test_what_names_no_package_is_no_advice(registry, provider):
    """A file could otherwise have its reader run whatever follows ``pip install``."""
    with pytest.raises((PluginError, UnknownNameError)) as caught:
        registry.create({"name": "foo", "provider": provider})
    text = str(caught.value)
    assert "install" not in text and len(text) < 2100
    if provider.strip() and not provider.startswith("xxx"):
        assert ", which names no package: the file was damaged or made by hand." in text


def test_a_plugin_that_no_longer_has_it(registry, install):
    install("ganzoo-foo", {"new": "foo:Foo"}, {"foo.py": widget()}, version="0.5")
    with pytest.raises(PluginError, match=r"'ganzoo-foo' 0\.3, but the installed 0\.5 does not"):
        registry.create({"name": "foo", "provider": "ganzoo-foo 0.3"})


def test_a_missing_module_of_one_s_own_is_named(registry):
    with pytest.raises(PluginError, match="registered by code in the module 'notebook': if that"):
        registry.get("foo", provider="notebook")


def test_what_was_registered_in_code_may_move(registry, install):
    mine = registry.register("mine")(define())
    assert registry.get("mine", provider="__main__") is mine
    install("ganzoo-foo", {"foo": "foo:Foo"}, {"foo.py": widget()})
    assert registry.get("foo", provider="__main__").provider == "ganzoo-foo 0.3"
    with pytest.raises(PluginError, match="by code in the module '__main__'"):
        registry.get("round", provider="__main__")


def test_another_distribution_s_namesake_is_not_taken(registry, install):
    install("ganzoo-bar", {"foo": "bar:Bar", "round": "bar:Bar"}, {"bar.py": widget("Bar")})
    for name in ("foo", "round"):
        with pytest.raises(PluginError, match=f"'{name}' says .* 'ganzoo-foo' 0.3, which is not"):
            registry.create({"name": name, "provider": "ganzoo-foo 0.3"})


def test_two_plugins_with_one_name(registry, install):
    install("ganzoo-foo", {"both": "foo:Foo"}, {"foo.py": widget("Foo")})
    install("ganzoo-bar", {"both": "bar:Bar"}, {"bar.py": widget("Bar")}, version="2")
    assert registry.names() == ["ganzoo-bar:both", "ganzoo-foo:both", "round", "square"]
    with pytest.raises(PluginError) as caught:
        registry.get("both")
    assert str(caught.value) == (
        "The widget 'both' is provided by several: ganzoo-bar 2, ganzoo-foo 0.3. "
        "Say which one: 'ganzoo-bar:both', 'ganzoo-foo:both'."
    )
    foo, bar = registry.create("ganzoo-foo:both"), registry.create("ganzoo-bar:both")
    assert (foo.turn(), bar.turn()) == ("Foo", "Bar")
    assert foo.name == "ganzoo-foo:both"
    assert [registry.create(made.model_dump()) for made in (foo, bar)] == [foo, bar]
    # A file saved while there was but one of them still finds it.
    assert registry.create({"name": "both", "provider": "ganzoo-bar 1"}) == bar
    # And one saved while there were two finds it when it is the only one.
    assert registry.get("ganzoo-bar:both", provider="ganzoo-bar 2") is type(bar)


def test_a_plugin_that_shadows_a_built_in(registry, install):
    install("ganzoo-foo", {"round": "foo:Foo"}, {"foo.py": widget()})
    assert registry.names() == ["ganzoo-foo:round", "round", "square"]
    assert registry.get("round") is Round
    other = registry.get("ganzoo-foo:round")
    assert (other.name, other.__name__) == ("ganzoo-foo:round", "Foo")
    assert registry.create(other().model_dump()) == other()
    assert Round.name == "round"


def test_code_under_a_plugin_s_name(registry, install):
    install("ganzoo-foo", {"foo": "foo:Foo"}, {"foo.py": widget()})
    with pytest.raises(RegistrationError) as caught:
        registry.register("foo")(define())
    assert str(caught.value) == (
        f"The widget name 'foo' is already taken by foo:Foo (ganzoo-foo 0.3); "
        f"{__name__}:Mine needs another name."
    )


DECORATED = f"""
    import {__name__} as home

    @home.CURRENT.register("foo")
    class Foo(home.Widget):
        '''Decorated, and declared as an entry point as well.'''

        def turn(self):
            return "Foo"
    """


@pytest.mark.parametrize("target", ["foo:Foo", "foo.nets:Foo"])
@pytest.mark.parametrize("imported_first", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_an_entry_point_of_a_decorated_class(
    registry, install, monkeypatch, target, imported_first, shared
):
    monkeypatch.setattr(sys.modules[__name__], "CURRENT", registry, raising=False)
    modules = {"foo/__init__.py": "from foo.nets import Foo", "foo/nets.py": DECORATED}
    install("ganzoo-foo", {"foo": target}, modules)
    if shared:
        install("ganzoo-bar", {"foo": "bar:Bar"}, {"bar.py": widget("Bar")})
    address = "ganzoo-foo:foo" if shared else "foo"
    if imported_first:
        cls = importlib.import_module("foo").Foo
        assert (cls.name, cls.provider) == (address, "ganzoo-foo 0.3")
    cls = registry.get(address)
    assert cls is sys.modules["foo.nets"].Foo
    assert (cls.name, cls.provider) == (address, "ganzoo-foo 0.3")
    assert len(registry.entries()) == 3 + shared
    assert registry.create(cls().model_dump()) == cls()


def test_an_old_name_kept_as_an_alias(registry, install):
    install("ganzoo-foo", {"new": "foo:Foo", "old": "foo:Foo"}, {"foo.py": widget()})
    assert registry.get("new") is registry.get("old")
    assert registry.get("old").name == "new"


def test_an_alias_cannot_rename_a_built_in(registry, install):
    install("ganzoo-foo", {"disc": f"{__name__}:Round"})
    with pytest.raises(PluginError, match="Round is ganzoo's own and keeps its name"):
        registry.get("disc")
    assert registry.create("round").name == "round"


def test_entry_points_with_extras_and_spaces(registry, install):
    install("ganzoo-foo", {"foo": "foo : Foo.Inner [gpu,cpu]"}, {"foo.py": "class Foo: pass"})
    assert registry.entries()[-1].target == "foo:Foo.Inner"


def test_a_distribution_found_twice_counts_once(registry, install, monkeypatch):
    install("ganzoo-foo", {"foo": "foo:Foo"}, {"foo.py": widget()})
    points = list(importlib.metadata.entry_points(group=GROUP))
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points * 2)
    ganzoo.core.registry._entry_points.cache_clear()
    assert registry.names() == ["foo", "round", "square"]
    assert registry.get("foo").provider == "ganzoo-foo 0.3"


def test_an_entry_point_without_metadata(registry, install, monkeypatch):
    install("ganzoo-foo", {}, {"foo.py": widget()}, summary="")
    point = importlib.metadata.EntryPoint("foo", "foo:Foo", GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    ganzoo.core.registry._entry_points.cache_clear()
    assert registry.get("foo").provider == "unknown 0"
    assert registry.entries()[-1].summary == ""


# -- broken plug-ins ------------------------------------------------------------------------------

BROKEN = {
    "import": ("foo:Foo", "import nothing_of_the_sort", ModuleNotFoundError),
    "syntax": ("foo:Foo", "class", SyntaxError),
    "raises": ("foo:Foo", "raise RuntimeError('no GPU')", RuntimeError),
    "exits": ("foo:Foo", "raise SystemExit(3)", SystemExit),
    "absent": ("no_such_module:Foo", "", ModuleNotFoundError),
    "attribute": ("foo:Bar", "class Foo: pass", AttributeError),
    "no-attribute": ("foo", "class Foo: pass", AttributeError),
    "type": ("foo:Foo", "class Foo: pass", RegistrationError),
    "instance": ("foo:Foo", "Foo = 3", RegistrationError),
    "kind": ("foo:Foo", "from ganzoo.losses import Loss as Foo", RegistrationError),
    "abstract": ("foo:Foo", f"from {__name__} import Widget as Foo", RegistrationError),
    "Bad Name": ("foo:Foo", "", RegistrationError),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_breaks_only_itself(registry, install, name):
    target, source, cause = BROKEN[name]
    install("ganzoo-foo", {name: target}, {"foo.py": source})
    install("ganzoo-bar", {"good": "bar:Bar"}, {"bar.py": widget("Bar")})
    assert registry.names() == sorted(["good", "round", "square", name])
    assert registry.create("good").turn() == "Bar"
    with pytest.raises(PluginError) as caught:
        registry.create(name)
    text = str(caught.value)
    assert text.startswith(
        f"The widget '{name}' of ganzoo-foo 0.3 cannot be loaded from {target} ({cause.__name__}: "
    )
    assert text.endswith(" Upgrade or remove ganzoo-foo.")
    assert isinstance(caught.value.__cause__, cause)
    faults = {entry.name: fault for entry, fault in registry.check()}
    assert set(faults) == {"good", "round", "square", name}
    assert [entry for entry, fault in faults.items() if fault] == [name]
    assert str(faults[name]) == text


def test_check_tells_namesakes_apart(registry, install):
    install("ganzoo-foo", {"both": "foo:Foo", "round": "foo:Nothing"}, {"foo.py": widget("Foo")})
    install("ganzoo-bar", {"both": "bar:Nothing"}, {"bar.py": widget("Bar")})
    faults = {registry.address(entry): fault for entry, fault in registry.check()}
    broken = [address for address, fault in faults.items() if fault]
    assert broken == ["ganzoo-bar:both", "ganzoo-foo:round"]
    assert set(faults) == {*broken, "ganzoo-foo:both", "round", "square"}


# -- the switch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_plugins_can_be_turned_off(registry, install, monkeypatch, value):
    install("ganzoo-foo", {"foo": "foo:Foo"}, {"foo.py": widget()})
    monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", value)
    assert plugins_disabled()
    assert registry.names() == ["round", "square"]
    with pytest.raises(UnknownNameError, match=r"square\. Plug-ins are off: GANZOO_DISABLE_PLUG"):
        registry.get("foo")
    with pytest.raises(PluginError, match="'ganzoo-foo' 0.3, but GANZOO_DISABLE_PLUGINS turns pl"):
        registry.get("foo", provider="ganzoo-foo 0.3")
    monkeypatch.delenv("GANZOO_DISABLE_PLUGINS")
    assert registry.get("foo").provider == "ganzoo-foo 0.3"


@pytest.mark.parametrize("value", ["", "0", "false", "no", "No"])
def test_plugins_are_on_by_default(monkeypatch, value):
    monkeypatch.setenv("GANZOO_DISABLE_PLUGINS", value)
    assert not plugins_disabled()
    monkeypatch.delenv("GANZOO_DISABLE_PLUGINS")
    assert not plugins_disabled()


# -- whatever is asked ----------------------------------------------------------------------------

plain = st.none() | st.booleans() | st.integers() | st.text()
keys = st.text() | st.just("name")
values = plain | st.lists(plain) | st.dictionaries(keys, plain | st.dictionaries(keys, plain))


@given(values)
def test_any_value_makes_a_component_or_one_of_our_errors(value):
    registry = Registry(Widget, group=GROUP, builtins={"round": f"{__name__}:Round"})
    try:
        assert isinstance(registry.create(value), Widget)
    except GanzooError as error:
        assert str(error)


# -- variants and former names --------------------------------------------------------------------


def test_variants(registry):
    assert registry.variants() == {"square_small": "square", "square_very_large": "square"}
    assert registry.names() == ["round", "square"]
    assert registry.get("square_small") is Square
    made = registry.create("square_very_large")
    assert made == Square(size=9)
    assert made.model_dump() == {"name": "square", "size": 9}  # a file needs no table
    assert registry.create({"name": "square_small", "size": 3}) == Square(size=3)
    assert registry.create("square_small", size=4) == Square(size=4)
    with pytest.raises(UnknownNameError, match="Did you mean 'square_small'"):
        registry.create("square_smal")
    with pytest.raises(UnknownNameError, match="Unknown widget 'round_small'"):
        registry.create("round_small")


def test_variants_are_not_inherited(registry):
    @registry.register("wide-square")
    class Wide(Square):
        """A wide one."""

    assert Wide.variants == {}
    assert list(registry.variants()) == ["square_small", "square_very_large"]


@pytest.mark.parametrize(
    ("variants", "problem"),
    [
        ({"small": {}}, "a variant 'small', which must be called 'odd_...'"),
        ({"odd_small": {"sise": 1}}, "has an option 'sise', which 'odd' lacks. Options: size."),
    ],
)
def test_variants_that_are_none(registry, variants, problem):
    cls = type("Odd", (Square,), {"variants": variants, "__annotations__": {"variants": ClassVar}})
    with pytest.raises(RegistrationError, match=problem):
        registry.register("odd")(cls)


def test_variants_of_a_plugin(registry, install):
    source = (
        PLUGIN.format(home=__name__, cls="Star")
        + """
        variants: dict = {"star_sharp": {"edge": 0.1}}
    """
    )
    source = source.replace("variants: dict", "variants: ClassVar[dict]")
    source = "    from typing import ClassVar\n" + source
    install("ganzoo-stars", {"star": "stars:Star"}, {"stars.py": source})
    assert registry.variants()["star_sharp"] == "star"
    assert "stars" not in sys.modules
    assert registry.create("star_sharp").edge == 0.1
    assert registry.create("ganzoo-stars:star_sharp").edge == 0.1


@pytest.mark.parametrize(("old", "size"), [("quad", 1), ("tiny", 2)])
def test_former_names(registry, old, size):
    registry.deprecated.update(quad="square", tiny="square_small")
    with pytest.warns(FutureWarning, match=f"The widget '{old}' is now called 'square"):
        assert registry.create(old) == Square(size=size)
    assert old not in registry.names()
