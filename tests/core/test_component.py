"""Components: validated, frozen, and the same after being written and read."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Annotated, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ganzoo.core.component import RESERVED, Component
from ganzoo.core.model import _explain
from ganzoo.core.registry import Registry
from ganzoo.errors import ConfigError, GanzooError, RegistrationError, plain


class Lamp(Component):
    """A lamp."""

    kind: ClassVar[str] = "lamp"


registry: Registry[Lamp] = Registry(Lamp, group="ganzoo.test_lamps", builtins={})


@registry.register("desk")
class Desk(Lamp):
    """A lamp with options of many types."""

    power: float = Field(40.0, gt=0, description="watts")
    count: int = Field(1, ge=0)
    colours: tuple[str, ...] = ("white",)
    angles: tuple[Annotated[float, Field(ge=0)], float] = (0.0, 1.0)
    dimmed: bool = False
    label: str | None = None


class Bulb(Lamp):
    """A lamp whose option has no default, and that nobody registered."""

    socket: str


def message(cls, /, **options):
    with pytest.raises(ConfigError) as caught:
        cls(**options)
    return str(caught.value)


# -- validation -----------------------------------------------------------------------------------


def test_defaults_and_values():
    assert Desk().power == 40
    assert Desk(power="60").power == 60.0
    assert Desk(colours=["red"], angles=[1, 2]) == Desk(colours=("red",), angles=(1.0, 2.0))


def test_an_unknown_option_names_the_nearest_and_all():
    assert message(Desk, powr=3) == (
        "Lamp 'desk' has no option 'powr'. Did you mean 'power'? "
        "Options: angles, colours, count, dimmed, label, power."
    )
    assert message(Desk, zzz=3).startswith("Lamp 'desk' has no option 'zzz'. Options: ")


def test_a_component_without_options_says_so():
    class Bare(Lamp):
        pass

    assert message(Bare, power=1) == "Bare has no option 'power'. Options: none."


def test_a_broken_constraint_states_value_and_reason():
    assert message(Desk, power=-1) == (
        "Lamp 'desk': power cannot be -1: input should be greater than 0."
    )
    assert message(Desk, angles=(0, -1, 2)).startswith("Lamp 'desk': angles cannot be (0, -1, 2): ")
    assert message(Desk, angles=(-1, 2)).startswith("Lamp 'desk': angles.0 cannot be -1: ")
    assert message(Desk, dimmed="perhaps").startswith("Lamp 'desk': dimmed cannot be 'perhaps': ")


def test_a_missing_option_is_named():
    assert message(Bulb) == "Bulb needs a value for 'socket'."


def test_further_problems_are_counted():
    assert message(Desk, power=0, count=-1).endswith(" (1 more problem.)")
    assert message(Desk, power=0, count=-1, colours=3).endswith(" (2 more problems.)")


def test_a_derived_class_does_not_speak_in_the_name_of_its_base():
    class Derived(Desk):
        pass

    assert message(Derived, power=0).startswith("Derived: power cannot be 0: ")


@pytest.mark.parametrize("option", ["self", "cls", "name", "provider", "kind", "value"])
def test_awkward_options_are_no_options(option):
    assert f"Lamp 'desk' has no option '{option}'." in message(Desk, **{option: 1})


def test_the_error_is_not_swallowed_by_a_model_around_it():
    class Room(BaseModel):
        lamp: Desk

    with pytest.raises(ConfigError, match="Lamp 'desk' has no option 'powr'"):
        Room(lamp={"powr": 1})
    with pytest.raises(ConfigError, match="Lamp 'desk': power cannot be 0"):
        TypeAdapter(Desk).validate_python({"power": 0})
    with pytest.raises(ConfigError, match="Lamp 'desk': power cannot be 0"):
        Desk.model_validate_json('{"power": 0}')


def test_the_error_has_no_noise_around_it():
    with pytest.raises(GanzooError) as caught:
        Desk(power=0)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not isinstance(caught.value, ValueError)


def test_explain_of_a_whole_value():
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("x")
    assert _explain(caught.value, "It", {}).startswith("It: the value cannot be 'x': input should")


# -- immutability ---------------------------------------------------------------------------------


def test_frozen():
    lamp = Desk()
    with pytest.raises(ValidationError, match="frozen"):
        lamp.power = 3
    with pytest.raises(ValidationError):
        lamp.other = 3
    with pytest.raises(ValidationError, match="frozen"):
        del lamp.power
    assert lamp == Desk()


def test_equality_and_hash_follow_the_options():
    assert Desk(power=1) == Desk(power=1.0)
    assert Desk(power=1) != Desk(power=2)
    assert hash(Desk(power=1)) == hash(Desk(power=1.0))
    assert len({Desk(), Desk(), Desk(count=2)}) == 2


def test_copies_and_pickles_are_equal():
    lamp = Desk(colours=("red", "blue"))
    assert copy.deepcopy(lamp) == pickle.loads(pickle.dumps(lamp)) == lamp.model_copy() == lamp


# -- writing and reading --------------------------------------------------------------------------


def test_a_dump_carries_name_and_provider_first():
    dumped = Desk(power=5).model_dump(mode="json")
    assert list(dumped)[:3] == ["name", "provider", "power"]
    assert (dumped["name"], dumped["provider"]) == ("desk", __name__)
    assert set(dumped) - RESERVED == set(Desk.model_fields)
    assert json.loads(Desk(power=5).model_dump_json()) == dumped


def test_a_dump_inside_another_model_carries_the_name():
    class Room(BaseModel):
        lamp: Desk

    assert Room(lamp=Desk()).model_dump()["lamp"]["name"] == "desk"


def test_ganzoo_itself_is_not_written_as_provider():
    from ganzoo import losses

    assert losses.create("hinge").model_dump() == {"name": "hinge", "margin": 1.0}


@pytest.mark.parametrize("dump", [Bulb.model_dump, Bulb.model_dump_json])
def test_an_unregistered_component_cannot_be_dumped(dump):
    with pytest.raises(RegistrationError, match=r'Bulb cannot be saved.*@register\("some-name"\)'):
        dump(Bulb(socket="E27"))


def test_a_derived_class_does_not_inherit_the_name():
    class Derived(Desk):
        pass

    assert Derived(power=3).power == 3
    with pytest.raises(RegistrationError, match="Derived cannot be saved"):
        Derived().model_dump()


def test_schema_lists_the_options():
    assert set(Desk.model_json_schema()["properties"]) == set(Desk.model_fields)


finite = st.floats(allow_nan=False, allow_infinity=False)
# PyYAML writes U+0085 plainly and reads it back as a space.
text = st.text(st.characters(exclude_characters="\x85", exclude_categories=["Cs"]))
desks = st.builds(
    Desk,
    power=finite.filter(lambda value: value > 0),
    count=st.integers(min_value=0),
    colours=st.lists(text).map(tuple),
    angles=st.tuples(finite.filter(lambda value: value >= 0), finite),
    dimmed=st.booleans(),
    label=st.none() | text,
)


@given(desks)
def test_round_trip_through_json(lamp):
    assert registry.create(json.loads(json.dumps(lamp.model_dump(mode="json")))) == lamp
    assert registry.create(json.loads(lamp.model_dump_json())) == lamp


@given(desks)
def test_round_trip_through_yaml(lamp):
    import yaml

    written = yaml.safe_dump(lamp.model_dump(mode="json"), allow_unicode=True)
    assert registry.create(yaml.safe_load(written)) == lamp


@given(st.text(), st.integers())
def test_any_unknown_option_is_refused_with_a_config_error(option, value):
    if option not in Desk.model_fields:
        expected = plain(f"has no option '{option}'")
        assert expected in message(Desk, **{option: value})
