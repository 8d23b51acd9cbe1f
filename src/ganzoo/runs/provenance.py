"""Where a generator comes from: the settings, the machine, the command that repeats it."""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo._version import __version__
from ganzoo.config import COMPONENTS, LISTS, TrainConfig, defaults, flag_of, unlike
from ganzoo.core.component import Component
from ganzoo.datasets import InMemoryDataset
from ganzoo.generators.bundle import BundleConfig

if TYPE_CHECKING:
    from ganzoo.core.device import Precision
    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets.preprocessing import Preprocessing
    from ganzoo.schedules.numbers import NumberSchedule

__all__ = ["bundle_config", "changes", "command", "environment", "training"]

_FORMAT_VERSION = 1  # of environment.json
_NON_ALGORITHMIC = (
    "device",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "snapshot_every",
    "keep_checkpoints",
    "keep_every",
    "keep_best",
    "evaluate_every",
    "metrics",
    "evaluate_num_fake",
    "evaluate_num_real",
    "real_split",
    "evaluate_async",
    "patience",
    "trackers",
    "workers",
)  # settings that leave the generator as it is
_PLACES = (
    ("init_from",),
    ("dataset", "path"),
    ("dataset", "root"),
    ("dataset", "cache"),
    ("dataset", "repo"),
)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[0-9a-f]{40})?")  # or a folder in a folder


def environment(
    device: torch.device, precision: Precision, notices: Sequence[str]
) -> dict[str, Any]:
    """Return the content of ``environment.json``: versions, device, precision, notices."""
    cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "format_version": _FORMAT_VERSION,
        "ganzoo": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": device.type,
        "device_name": cuda or platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": precision.name,
        "precision_reason": precision.reason,
        "notices": list(notices),
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return differences of two environments that may change the last bits of a run, in words."""
    return [
        f"{name.replace('_', ' ')} {before[name]}, now {now[name]}"
        for name in ("torch", "device_name", "threads")
        if name in before and before[name] != now[name]
    ]


def bundle_config(
    config: TrainConfig,
    spec: SampleSpec,
    preprocessing: Preprocessing | None,
    steps: int,
    precision: Precision,
    average: int = 0,
) -> BundleConfig:
    """Return the configuration of a training's generator after so many steps.

    ``average`` is the number of the average that it is, of those that are kept at once.
    """
    settings = _portable(config)
    for part in ("arch", "latent"):  # which a bundle says elsewhere
        del settings[part]
    settings |= {"steps": steps, "precision": precision.name}
    if len(labels := config.average.labels) > 1:
        settings["average_kept"] = labels[average]
    return BundleConfig(
        architecture=config.arch,
        sample=spec,
        preprocessing=preprocessing,
        latent=config.latent,
        packing=config.packing,
        training={**settings, "data_license": config.dataset.license},
    )


def training(
    config: TrainConfig,
    environment: Mapping[str, Any],
    steps: int,
    images: int,
    *,
    settings_unchanged: bool = True,
) -> dict[str, Any]:
    """Return the content of ``training.json``, by which a reader can repeat a training.

    Args:
        config: All settings.
        environment: As ``environment`` returns it.
        steps: Iterations finished.
        images: Real samples seen.
        settings_unchanged: If not, no command repeats it.
    """
    facts = ("ganzoo", "python", "torch", "device", "device_name", "threads", "precision")
    whole = settings_unchanged and steps == config.steps
    return {
        "command": command(config, str(environment["precision"])) if whole else None,
        "steps": steps,
        "images": images,
        "environment": {name: environment[name] for name in facts},
        "config": _portable(config),
    }


def command(config: TrainConfig, precision: str) -> str | None:
    """Return the command line that repeats a training, which computed in that precision.

    None where there is none: data that were an object, components that a script defines, or
    values that no option takes.
    """
    chosen = {key: getattr(config, key) for key in COMPONENTS}
    if isinstance(config.dataset, InMemoryDataset) or not all(map(_installed, chosen.values())):
        return None
    named = {key: component.name for key, component in chosen.items()}
    recipe = {} if config.recipe is None else {"recipe": config.recipe}
    plain, same = defaults(recipe), defaults({**recipe, **named})
    mine = {key: getattr(config, key) for key in TrainConfig.model_fields}
    mine["precision"] = precision
    words = ["ganzoo", "train"]
    if not recipe or named["arch"] != plain["arch"].name:
        words.append(named["arch"])
    if recipe:
        words += ["--recipe", str(config.recipe)]
    for key, name in named.items():
        if key != "arch" and name != plain[key].name:
            words += [flag_of(key), name]
    for path, value, other in unlike(mine, same):
        if path[0] in ("recipe", "epochs", *_NON_ALGORITHMIC):
            continue
        if path == ("schedules",):
            option: list[str] | None = [flag_of(*path), _schedules(value, other)]
        elif path == ("augmentation",):
            option = _components(path[0], () if value is None else (value,), named=False)
        elif path[0] in LISTS:
            option = _components(path[0], value, named=True)
        else:
            option = _words(_public(value) if path in _PLACES else value, path)
        if option is None:
            return None
        words += option
    return shlex.join(words)


def _schedules(mine: Mapping[str, NumberSchedule], same: Mapping[str, NumberSchedule]) -> str:
    """Schedules in text; those that a recipe has besides are taken back."""
    texts = dict.fromkeys(same, "none") | {path: each.text for path, each in mine.items()}
    return "; ".join(f"{path} {text}" for path, text in texts.items())


def _components(key: str, chosen: Sequence[Component], *, named: bool) -> list[str] | None:
    """The words of a setting that has components or none; their options have their name or not."""
    names = [each.name for each in chosen]
    if len({*names}) < len(names) or not all(map(_installed, chosen)):
        return None
    words = [flag_of(key), ",".join(names) or "none"]
    for each in chosen:
        for option, field in type(each).model_fields.items():
            value = getattr(each, option)
            if value == field.get_default(call_default_factory=True):
                continue
            place = (key, each.name, option) if named else (key, option)
            more = None if isinstance(value, (Component, Mapping)) else _words(value, place)
            if more is None:
                return None
            words += more
    return words


def _installed(component: Component) -> bool:
    """Whether it can be installed: it is ganzoo's own, or from a package, which has a version."""
    return not component.provider or " " in component.provider


def _words(value: Any, path: tuple[str, ...]) -> list[str] | None:
    """The words of the command line for one setting; None if there are none."""
    if isinstance(value, bool):
        return [flag_of(*path) if value else flag_of(*path[:-1], f"no-{path[-1]}")]
    if value is None or value == ():
        return None
    values = value if isinstance(value, (tuple, list)) else (value,)
    return [flag_of(*path), *map(str, values)]


def _portable(config: TrainConfig) -> dict[str, Any]:
    """The settings without what belongs to this machine."""
    settings = {key: value for key, value in config.dump().items() if key not in _NON_ALGORITHMIC}
    dataset = {
        option: _public(value) if value and ("dataset", option) in _PLACES else value
        for option, value in settings["dataset"].items()
    }
    courses = {path: each for path, each in settings["schedules"].items() if each is not None}
    places = {"dataset": dataset, "init_from": _public(config.init_from)}
    return {**settings, **places, "schedules": courses}


def _public(place: str | Path | None) -> str | None:
    """A place without what is private: the last part of a path, or a repository as it is."""
    if place is None or _REPOSITORY.fullmatch(str(place)):
        return None if place is None else str(place)
    return re.split(r"[/\\]", str(place).rstrip("/\\"))[-1]
