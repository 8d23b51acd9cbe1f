"""Which numbers of a training schedules may set, and the values that each may have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ganzoo.core.model import Model
from ganzoo.errors import ConfigError, did_you_mean, listing

if TYPE_CHECKING:
    from ganzoo.core.component import Component
    from ganzoo.schedules.numbers import NumberSchedule

__all__ = ["BETAS", "Number", "Weight", "check", "numbers"]

BETAS = ("beta1", "beta2")
"""What the parts of an optimizer's ``betas`` are called."""
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Number:
    """A number that may change while training.

    Attributes:
        own: The setting's own value, if it has one.
        check: Raises ``ConfigError`` for values that the setting does not allow.
    """

    own: float | None
    check: Callable[[float], object]


class _Adversarial(Model):
    error_label: ClassVar[str] = "The training"

    adversarial_weight: Weight


def _adversarial(value: float) -> None:
    _Adversarial(adversarial_weight=value)


def _option(component: Component, option: str) -> Number:
    return Number(getattr(component, option), lambda value: component.replace(**{option: value}))


def _rate(optimizer: Any) -> Number:
    """A learning rate, which may fall to 0 or rise from it."""
    return Number(optimizer.lr, lambda value: None if value == 0 else optimizer.replace(lr=value))


def _beta(optimizer: Any, index: int) -> Number:
    def check(value: float) -> None:
        betas = list(optimizer.betas)
        betas[index] = value
        optimizer.replace(betas=betas)

    return Number(optimizer.betas[index], check)


def numbers(
    optimizers: Mapping[str, Any],
    penalties: Iterable[Any],
    augmentation: Any,
    average: Any,
    loss: Any,
    adversarial_weight: float = 1.0,
) -> dict[str, Number]:
    """Return by path all numbers of these components that a schedule may set.

    Args:
        optimizers: By setting.
        penalties: All of them.
        augmentation: The augmentation or None.
        average: The moving average.
        loss: The loss.
        adversarial_weight: Factor of G's loss.
    """
    found = {}
    for setting, optimizer in optimizers.items():
        for name in optimizer.schedulable:
            if name in BETAS:
                found[f"{setting}.{name}"] = _beta(optimizer, BETAS.index(name))
            elif name == "lr":
                found[f"{setting}.{name}"] = _rate(optimizer)
            else:
                found[f"{setting}.{name}"] = _option(optimizer, name)
    for penalty in penalties:
        found[f"penalties.{penalty.name}.weight"] = _option(penalty, "weight")
    if augmentation is not None:
        for buffer, option in augmentation.schedulable.items():
            found[f"augmentation.{buffer}"] = _option(augmentation, option)
    for option in average.schedulable:
        found[f"average.{option}"] = _option(average, option)
    for option in loss.schedulable:
        found[f"loss.{option}"] = _option(loss, option)
    found["adversarial_weight"] = Number(adversarial_weight, _adversarial)
    return found


def check(schedules: Mapping[str, NumberSchedule], known: Mapping[str, Number]) -> None:
    """Refuse schedules of what is no such number, or of values that it must not have.

    Raises:
        ConfigError: With the numbers that there are, or with what is wrong.
    """
    for path, schedule in schedules.items():
        number = known.get(path)
        if number is None:
            raise ConfigError(
                f"There is no number '{path}' that a schedule may set in this training."
                f"{did_you_mean(path, known)} Choose one of: {listing(sorted(known))}."
            )
        start = number.own if schedule.start is None else schedule.start
        if start is None:
            raise ConfigError(
                f"schedules.{path}: '{path}' is not set, and its schedule has no start. Give one "
                f"of them."
            )
        try:
            for value in (start, schedule.final):
                number.check(value)
            schedule.check(start)
        except ConfigError as error:
            raise ConfigError(f"schedules.{path}: {error}") from None
