"""The base of all validated settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ganzoo.core.installation import check_root
from ganzoo.errors import ConfigError, did_you_mean, listing, quoted

__all__ = ["Model"]

check_root()  # here, since nearly all of the package stands on this module


class Model(BaseModel):
    """A frozen pydantic model whose validation errors are one line.

    Raises:
        ConfigError: On a key that does not exist or a wrong value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    error_label: ClassVar[str] = ""
    """What its errors call it."""

    if not TYPE_CHECKING:  # the type checker keeps the fields' own signature

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                cls = type(self)
                raise ConfigError(_explain(error, cls._label(), cls.model_fields)) from None

    @classmethod
    def _label(cls) -> str:
        return cls.error_label or cls.__name__


def _explain(error: ValidationError, owner: str, fields: Mapping[str, Any]) -> str:
    """Turn pydantic's report into one line: the first fact, its cause and what is possible."""
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
        value = quoted(first["input"])
        text = f"{owner}: {path or 'the value'} cannot be {value}: {reason}."
    if others:
        text += f" ({len(others)} more problem{'s' * (len(others) > 1)}.)"
    return text
