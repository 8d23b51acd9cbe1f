"""Where a generator comes from: the settings, the machine, the command that repeats it."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo._version import __version__
from ganzoo.bundle import BundleConfig
from ganzoo.component import Component
from ganzoo.datasets import Given
from ganzoo.model import Model
from ganzoo.train_config import COMPONENTS, TrainConfig, defaults, flag_of

if TYPE_CHECKING:
    from ganzoo.device import Precision
    from ganzoo.framing import Framing
    from ganzoo.spec import SampleSpec

__all__ = ["bundle_config", "changes", "command", "environment", "training"]

_FORMAT_VERSION = 1  # of environment.json
_HABITS = (
    "device",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "snapshot_every",
    "keep_checkpoints",
    "keep_every",
    "keep_best",
    "trackers",
    "workers",
)  # settings that leave the generator as it is
_PLACES = ("path", "root", "cache")  # options of datasets


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
    """Return what of two environments may change the last bits of a run, in words."""
    return [
        f"{name.replace('_', ' ')} {before[name]}, now {now[name]}"
        for name in ("torch", "device_name", "threads")
        if name in before and before[name] != now[name]
    ]


def bundle_config(
    config: TrainConfig,
    spec: SampleSpec,
    framing: Framing | None,
    steps: int,
    precision: Precision,
) -> BundleConfig:
    """Return what the generator of a training is.

    Args:
        config: All settings.
        spec: What one sample is, at the size of the net.
        framing: How native images were brought to that size.
        steps: Iterations finished.
        precision: How it was trained.
    """
    settings = _portable(config)
    for part in ("arch", "latent"):  # which a bundle says elsewhere
        del settings[part]
    return BundleConfig(
        architecture=config.arch,
        sample=spec,
        framing=framing,
        latent=config.latent,
        training={
            **settings,
            "steps": steps,
            "precision": precision.name,
            "data_license": config.dataset.license,
        },
    )


def training(
    config: TrainConfig, environment: Mapping[str, Any], steps: int, images: int
) -> dict[str, Any]:
    """Return the content of ``training.json``, by which a reader can repeat a training.

    Args:
        config: All settings.
        environment: As ``environment`` returns it.
        steps: Iterations finished.
        images: Real samples seen.
    """
    facts = ("ganzoo", "python", "torch", "device", "device_name", "threads", "precision")
    return {
        "command": command(config, str(environment["precision"])),
        "steps": steps,
        "images": images,
        "environment": {name: environment[name] for name in facts},
        "config": _portable(config),
    }


def command(config: TrainConfig, precision: str) -> str | None:
    """Return the command line that repeats a training; None where its data were an object.

    Args:
        config: All settings.
        precision: What the training computed in, where the setting is ``auto``.
    """
    if isinstance(config.dataset, Given):
        return None
    named = {key: getattr(config, key).name for key in COMPONENTS}
    recipe = {} if config.recipe is None else {"recipe": config.recipe}
    plain, same = defaults(recipe), defaults({**recipe, **named})
    config = config.model_copy(update={"precision": precision})
    words = ["ganzoo", "train"]
    if not recipe or named["arch"] != plain["arch"].name:
        words.append(named["arch"])
    if recipe:
        words += ["--recipe", str(config.recipe)]
    for key in TrainConfig.model_fields:
        value, other = getattr(config, key), same[key]
        if key in ("recipe", "epochs", *_HABITS):
            continue
        if key == "init_from":
            value = _told(value)
        if key in COMPONENTS and key != "arch" and value.name != plain[key].name:
            words += [flag_of(key), value.name]
        if isinstance(value, Model):
            for option in type(value).model_fields:
                theirs = getattr(other, option, None)
                mine = getattr(value, option)
                if key == "dataset" and option in _PLACES and mine is not None:
                    mine = Path(mine).name  # where it lay is nobody else's business
                words += _words(mine, theirs, key, option)
        else:
            words += _words(value, other, key)
    return shlex.join(words)


def _words(value: Any, other: Any, *path: str) -> Iterator[str]:
    """What gives one setting on the command line; nothing where it is so without."""
    if value is None or _plain(value) == _plain(other):
        return
    if isinstance(value, bool):
        yield flag_of(*path) if value else flag_of(*path[:-1], f"no-{path[-1]}")
        return
    yield flag_of(*path)
    for item in value if isinstance(value, (tuple, list)) else (value,):
        yield item.name if isinstance(item, Component) else str(item)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _portable(config: TrainConfig) -> dict[str, Any]:
    """The settings without what belongs to this machine."""
    settings = {key: value for key, value in config.dump().items() if key not in _HABITS}
    dataset = dict(settings["dataset"])
    for key in _PLACES:
        if dataset.get(key):
            dataset[key] = Path(dataset[key]).name
    return {**settings, "dataset": dataset, "init_from": _told(config.init_from)}


def _told(source: str | None) -> str | None:
    """Where a training started from: the whole name, but of a folder its last part only."""
    return Path(source).resolve().name if source and Path(source).exists() else source
