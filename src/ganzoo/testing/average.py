"""The check of an average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganzoo import averages
from ganzoo.testing.component import checked, require_no_draws
from ganzoo.training.contract import blaming, require

if TYPE_CHECKING:
    from ganzoo.averages import Average

__all__ = ["check_average"]

_UPDATES = (0, 1, 2, 10, 100, 10_000, 10_000_000)
_IMAGES = (1.0, 64.0, 100_000.0)


def check_average(component: str | type[Average] | Average) -> None:
    """Check that an average keeps its contract.

    It must retain one share in [0, 1] for each of its labels, which are different numbers, at any
    update and for any batch size; the same ones each time; and have the options that schedules set.

    Args:
        component: The average, its class or its registered name.

    Raises:
        AssertionError: If it breaks the contract.
        GanzooError: If the component cannot be created.
    """
    with checked(component, averages.registry) as average, require_no_draws("The average"):
        with blaming("labels", "They are numbers, one for each average.", own=True):
            labels = average.labels
        require(
            _numbers(labels) and 0 < len({*map(float, labels)}) == len(labels),
            f"labels must be different numbers, one for each average that is kept at once, not "
            f"{labels!r:.200}. Return a tuple of floats, such as (0.0,).",
        )
        for updates in _UPDATES:
            for images in _IMAGES:
                _check_shares(average, len(labels), updates, images)
        for option in average.schedulable:
            value = getattr(average, option, None)
            require(
                option in type(average).model_fields and _numbers([value]),
                f"schedulable has '{option}', which is no option that is a number. Name options "
                f"of the component that are floats.",
            )


def _check_shares(average: Average, count: int, updates: int, images: float) -> None:
    call = f"retained({updates}, {images:g})"
    with blaming(call, "It must return shares at any update.", own=True):
        found, again = (average.retained(updates, images) for _ in range(2))
    require(
        _numbers(found) and len(found) == count and all(0 <= share <= 1 for share in found),
        f"{call} must return a share in [0, 1] for each of the labels, of which there are {count}, "
        f"not {found!r:.200}. Return a tuple of floats.",
    )
    require(
        list(found) == list(again),
        f"{call} returns other shares when it is called again, so that a resumed training would "
        f"differ. Let them follow from options and arguments alone.",
    )


def _numbers(values: Any) -> bool:
    return isinstance(values, Sequence) and all(type(each) in (int, float) for each in values)
