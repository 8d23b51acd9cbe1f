"""The component: one frozen, validated, named configuration from which the real thing is built."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer

from ganzoo.core.model import Model
from ganzoo.errors import RegistrationError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

__all__ = ["RESERVED", "Component", "shadowed"]

RESERVED = frozenset({"name", "provider"})
"""Keys of a saved component other than its options; no option may have these names."""


class _Kind(ModelMetaclass):
    """Leaves it to registries to refuse options that hide members, in a sentence."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], members: dict[str, Any], **more: Any
    ) -> Any:
        """Make the class without pydantic's warning."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", _SHADOWING)
                return super().__new__(mcs, name, bases, members, **more)
        except (TypeError, ValueError) as error:
            # Pydantic makes no class at all where its most important members are hidden.
            options = members.get("__annotations__", {})
            hidden = [option for option in options if option in _PYDANTIC]
            if not hidden:
                raise
            raise RegistrationError(
                f"{name} has an option called '{hidden[0]}', which hides the member '{hidden[0]}' "
                f"of pydantic's models; rename the option."
            ) from error


_NAMES = "|".join(sorted(RESERVED))
_SHADOWING = rf'Field name "(?!(?:{_NAMES})")\w+" in ".*" shadows an attribute'
_PYDANTIC = frozenset(name for name in dir(BaseModel) if not name.startswith("_"))


class Component(Model, metaclass=_Kind):
    """Base of architectures, losses, datasets and all other components.

    A component *is* its configuration: it validates, compares, prints and round-trips through
    JSON and YAML. It is frozen and holds no state; what runs is built from it. A registry gives
    it its ``name`` and ``provider``.

    Raises:
        ConfigError: On an option that does not exist or has a wrong value.
    """

    kind: ClassVar[str] = "component"
    """What it is, for messages: ``loss``, ``architecture``, ..."""
    name: ClassVar[str] = ""
    """Registered name."""
    provider: ClassVar[str] = ""
    """Distribution and version it came from, empty for ganzoo's own."""
    citation: ClassVar[str] = ""
    """The paper or page that the method comes from."""
    recommended: ClassVar[Mapping[str, Any]] = {}
    """Training settings that suit this method; they lie below the caller's own."""
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named options: ``{"dcgan_small": {"channels": 32}}``. A name begins with the component's and
    an underscore. A literal, so that listings know the names without importing the class."""

    if not TYPE_CHECKING:  # the type checker keeps the fields' own signature
        # Pydantic wraps what a serializer raises in an error of its own; these two raise it plain.

        def model_dump(self, **options: Any) -> dict[str, Any]:
            """Return name, provider and options as a mapping that a registry can read."""
            _require_name(type(self))
            return super().model_dump(**options)

        def model_dump_json(self, **options: Any) -> str:
            """Return name, provider and options as JSON."""
            _require_name(type(self))
            return super().model_dump_json(**options)

    @classmethod
    def _label(cls) -> str:
        return f"{cls.kind.capitalize()} '{cls.name}'" if _named(cls) else cls.__name__

    def replace(self, **options: Any) -> Self:
        """Return the same component with other options, validated; private attributes are copied.

        Raises:
            ConfigError: If an option does not exist or has a wrong value.
        """
        current = {option: getattr(self, option) for option in type(self).model_fields}
        other = type(self)(**{**current, **options})
        for name in type(self).__private_attributes__:
            setattr(other, name, getattr(self, name))
        return other

    @model_serializer(mode="wrap")
    def _with_name(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        cls = type(self)
        _require_name(cls)
        provider = {"provider": cls.provider} if cls.provider else {}
        return {"name": cls.name, **provider, **handler(self)}


def shadowed(cls: type[Component]) -> dict[str, type]:
    """Return options that hide a member of a class that they derive from, and that class."""
    return {
        option: base
        for option in cls.model_fields
        for base in cls.__mro__[1:]
        if issubclass(base, BaseModel)
        and option in vars(base)
        and option not in getattr(base, "__pydantic_fields__", {})
    }


def _named(cls: type[Component]) -> bool:
    """Whether the class itself has a name: a subclass does not inherit that of its base."""
    return "name" in vars(cls)


def _require_name(cls: type[Component]) -> None:
    if not _named(cls):
        raise RegistrationError(
            f"{cls.__name__} cannot be saved because it is not registered. "
            f'Decorate it with @register("some-name") of its registry.'
        )
