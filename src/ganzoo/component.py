"""The component: one frozen, validated, named configuration from which the real thing is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from ganzoo.errors import ConfigError, RegistrationError, did_you_mean, listing

__all__ = ["RESERVED", "Component", "explain"]

RESERVED = frozenset({"name", "provider"})
"""Keys that a saved component carries beside its options; no option may have these names."""


class Component(BaseModel):
    """Base of architectures, losses, datasets and all other components.

    A component *is* its configuration: it validates, compares, prints and round-trips through
    JSON and YAML. It is frozen and holds no state; what runs is built from it. A registry gives
    it its ``name`` and ``provider``.

    Raises:
        ConfigError: On an option that does not exist or has a wrong value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False)

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

    if not TYPE_CHECKING:  # the type checker keeps the fields' own signature

        def __init__(self, /, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as error:
                cls = type(self)
                label = f"{cls.kind.capitalize()} '{cls.name}'" if _named(cls) else cls.__name__
                raise ConfigError(explain(error, label, cls.model_fields)) from None

        # Pydantic wraps what a serializer raises in an error of its own; these two raise it plain.

        def model_dump(self, **options: Any) -> dict[str, Any]:
            """Return name, provider and options as a mapping that a registry can read."""
            _require_name(type(self))
            return super().model_dump(**options)

        def model_dump_json(self, **options: Any) -> str:
            """Return name, provider and options as JSON."""
            _require_name(type(self))
            return super().model_dump_json(**options)

    def replace(self, **options: Any) -> Self:
        """Return the same component with other options, validated; what it holds is kept.

        Raises:
            ConfigError: If an option does not exist or has a wrong value.
        """
        kept = {option: getattr(self, option) for option in type(self).model_fields}
        other = type(self)(**{**kept, **options})
        for name in type(self).__private_attributes__:
            setattr(other, name, getattr(self, name))
        return other

    @model_serializer(mode="wrap")
    def _with_name(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        cls = type(self)
        _require_name(cls)
        provider = {"provider": cls.provider} if cls.provider else {}
        return {"name": cls.name, **provider, **handler(self)}


def _named(cls: type[Component]) -> bool:
    """Whether the class itself has a name: a subclass does not inherit that of its base."""
    return "name" in vars(cls)


def _require_name(cls: type[Component]) -> None:
    if not _named(cls):
        raise RegistrationError(
            f"{cls.__name__} cannot be saved because it is not registered. "
            f'Decorate it with @register("some-name") of its registry.'
        )


def explain(error: ValidationError, owner: str, fields: Mapping[str, Any]) -> str:
    """Turn pydantic's report into one line: the first fact, its cause and what is possible.

    Args:
        error: What pydantic raised.
        owner: Who was being configured, to start the sentence.
        fields: The options there are.
    """
    first, *others = error.errors()
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        text = (
            f"{owner} has no option '{path}'.{did_you_mean(path, fields)} "
            f"Options: {listing(sorted(fields))}."
        )
    elif first["type"] == "missing":
        text = f"{owner} needs a value for '{path}'."
    else:
        reason = first["msg"][0].lower() + first["msg"][1:]
        text = f"{owner}: {path or 'the value'} cannot be {first['input']!r}: {reason}."
    if others:
        text += f" ({len(others)} more problem{'s' * (len(others) > 1)}.)"
    return text
