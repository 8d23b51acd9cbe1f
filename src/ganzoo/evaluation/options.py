"""How scores are measured."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from ganzoo.core.device import PrecisionName
from ganzoo.core.model import Model
from ganzoo.core.seeds import checked
from ganzoo.errors import ConfigError, quoted

__all__ = ["EvalOptions", "Labels", "Size"]

Labels = Literal["uniform", "data"]
"""Classes that a conditional generator is asked for: evenly at random, or as real samples have."""

Size = tuple[PositiveInt, PositiveInt]
"""Height and width."""


def _pair(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler((value, value) if type(value) is int else value)
    except ValidationError:
        raise ConfigError(
            f"A size is a height and a width of at least 1, such as 64 or (64, 48), not "
            f"{quoted(value)}."
        ) from None


class EvalOptions(Model):
    """All that ``ganzoo.evaluate`` takes besides source, dataset and metrics; explained there."""

    error_label: ClassVar[str] = "An evaluation"

    real_split: str | None = None
    num_real: PositiveInt | None = None
    num_fake: PositiveInt | None = None
    labels: Labels | None = None
    per_class: bool = False
    preset: str | None = None
    seed: Annotated[int, BeforeValidator(checked)] = 0
    size: Annotated[Size | None, WrapValidator(_pair)] = None
    batch_size: int = Field(64, ge=1)
    device: str = "auto"
    precision: PrecisionName = "auto"
    cache: bool = True
