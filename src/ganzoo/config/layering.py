"""How layers of settings merge."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from ganzoo import (
    architectures,
    augmentations,
    averages,
    datasets,
    losses,
    metrics,
    optimizers,
    penalties,
    schedules,
    trackers,
)
from ganzoo.core.component import RESERVED, Component
from ganzoo.core.registry import Registry
from ganzoo.core.spec import LatentSpec
from ganzoo.errors import ConfigError, GanzooError
from ganzoo.schedules.numbers import read_all

__all__ = ["COMPONENTS", "LISTS", "merged", "several"]

COMPONENTS: dict[str, Registry[Any]] = {
    "arch": architectures.registry,
    "dataset": datasets.registry,
    "loss": losses.registry,
    "g_optimizer": optimizers.registry,
    "d_optimizer": optimizers.registry,
    "schedule": schedules.registry,
    "average": averages.registry,
}
"""The settings that are components, and where each is looked up."""

LISTS: dict[str, Registry[Any]] = {
    "penalties": penalties.registry,
    "metrics": metrics.registry,
    "trackers": trackers.registry,
}
"""The settings that are several components."""

_SCHEDULED = ("loss", "g_optimizer", "d_optimizer", "average")  # whose options schedules may set


def several(value: Any) -> Any:
    """Return what several components are made of: one, or names as a person writes them.

    ``none`` is no component, which takes back those of a recipe or a file.
    """
    if isinstance(value, str) and value.strip() == "none":
        return ()
    if isinstance(value, str):
        return tuple(name for part in value.split(",") if (name := part.strip()))
    return (value,) if isinstance(value, (Mapping, Component)) else value


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of layers; later ones win."""
    found: dict[str, Any] = {}
    for layer in layers:
        _drop_schedules(found, layer)
        for key, value in layer.items():
            if key == "dataset":
                # A path or an object becomes a component.
                value = datasets.as_dataset(value, found.get(key))
            if key in COMPONENTS:
                found[key] = _merged_component(found.get(key), value)
            elif key == "schedules":
                found[key] = _merged_schedules(found.get(key, {}), read_all(value))
            elif key == "latent":
                found[key] = {**found.get(key, {}), **_latent_options(value)}
            else:
                found[key] = value
        # The two say the same thing: the layer that gives one takes back a lower layer's other.
        for given, other in (("steps", "epochs"), ("epochs", "steps")):
            if layer.get(given) is not None:
                found[other] = None
    return found


def _drop_schedules(lower: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Take back schedules of components that a layer exchanges, as their options are."""
    found = lower.get("schedules")
    if isinstance(found, Mapping):
        lower["schedules"] = {
            path: schedule for path, schedule in found.items() if not _exchanged(path, lower, layer)
        }


def _exchanged(path: Any, lower: Mapping[str, Any], layer: Mapping[str, Any]) -> bool:
    """Whether a layer has another component in place of that of the number at a path."""
    setting, _, rest = str(path).partition(".")
    if setting not in layer:
        return False
    if setting == "penalties":
        name, before = rest.rpartition(".")[0], _named(LISTS[setting], lower.get(setting, ()))
        after = _named(LISTS[setting], layer[setting])
        return before is not None and after is not None and name in before - after
    if setting == "augmentation":
        old, new = (_class_of(augmentations.registry, each.get(setting)) for each in (lower, layer))
        given = layer[setting]
        none = given is None or (isinstance(given, str) and given == "none")
        return old is not None and (none or new not in (None, old))
    if setting not in _SCHEDULED:
        return False
    old, new = (_class_of(COMPONENTS[setting], each.get(setting)) for each in (lower, layer))
    return old is not None and new not in (None, old) and rest in old.schedulable


def _named(registry: Registry[Any], value: Any) -> set[str] | None:
    """The names of several components; None where they cannot be told."""
    given = several(value)
    if not isinstance(given, Collection) or isinstance(given, (str, bytes)):
        return None
    classes = (_class_of(registry, each) for each in given)
    return {cls.name for cls in classes if cls is not None}


def _class_of(registry: Registry[Any], value: Any) -> Any:
    """The class of a component as a layer has it; None for options alone and for what is wrong."""
    if isinstance(value, Component):
        return type(value)
    if isinstance(value, type) and issubclass(value, Component):
        return value
    provider = ""
    if isinstance(value, Mapping):
        provider, value = str(value.get("provider", "")), value.get("name")
    with contextlib.suppress(GanzooError):
        return registry.get(value, provider=provider) if isinstance(value, str) else None
    return None


def _merged_component(lower: Any, upper: Any) -> Any:
    if isinstance(upper, str):
        upper = {"name": upper}
    if isinstance(upper, Mapping) and isinstance(lower, Component):
        if upper.get("name", lower.name) == lower.name:
            return lower.replace(**{k: v for k, v in upper.items() if k not in RESERVED})
        return dict(upper)
    if not isinstance(upper, Mapping) or not isinstance(lower, Mapping):
        return dict(upper) if isinstance(upper, Mapping) else upper
    if upper.get("name", lower.get("name")) != lower.get("name"):
        return dict(upper)
    return {**lower, **upper}


def _merged_schedules(lower: Any, upper: Any) -> Any:
    """Schedules by path; one that is None or ``none`` takes back a lower layer's, None all."""
    if upper is None:
        return {}
    if not isinstance(lower, Mapping) or not isinstance(upper, Mapping):
        return upper
    both = {**lower, **upper}
    return {path: value for path, value in both.items() if value not in (None, "none")}


def _latent_options(value: Any) -> dict[str, Any]:
    if isinstance(value, LatentSpec):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, (int, tuple, list)):
        return {"shape": value}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    raise ConfigError(
        f"A latent is a size, a shape or a mapping of its options, not {type(value).__name__}."
    )
