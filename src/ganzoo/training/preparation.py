"""What a training begins with: data at a size that its nets can do, and weights to start from."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo import architectures
from ganzoo.config import COMPONENTS, TrainConfig, flag_of, located, read_config, resolve
from ganzoo.core.component import Component
from ganzoo.core.synonyms import synonyms
from ganzoo.datasets import Samples, progress
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.datasets.stream import Stream
from ganzoo.errors import (
    ConfigError,
    ContractError,
    DataError,
    UnknownNameError,
    did_you_mean,
    listing,
    quoted,
)
from ganzoo.files import storage
from ganzoo.generators.generator import Generator
from ganzoo.training import contract

if TYPE_CHECKING:
    from torch import nn

    from ganzoo.core.spec import SampleSpec

__all__ = ["RESUMED", "frame", "inherited", "kept_settings", "load", "settings", "start_from"]

_LOOKED_AT, _VALUES = 1024, 2**24  # samples, and values of all of them
_SHOWN = 5  # pairs of classes
_ROOM = 1e-3  # of their range: floats are rounded


def settings(
    config: str | Path | TrainConfig | Mapping[str, Any] | None, given: Mapping[str, Any]
) -> tuple[TrainConfig, Generator | None]:
    """Resolve all settings of a training: a YAML file or settings, and others that win over those.

    Returns:
        The settings, and the generator that the training starts from, if there is one.

    Raises:
        ConfigError: If a setting is unknown, wrong, or contradicts another.
        UnknownNameError: If a component's name is not known.
    """
    file = storage.expanded(config) if isinstance(config, (str, Path)) else None
    layer = read_config(file) if file else dict(config or {})  # type: ignore[arg-type]
    origin, below = None, {}
    source = given.get("init_from", layer.get("init_from"))
    if isinstance(source, (str, Path)):
        origin = Generator.from_pretrained(source)
        below = inherited(origin)
    try:
        return resolve(below, layer, given), origin
    except (ConfigError, UnknownNameError) as error:
        # Where the file has this mistake by itself, it is named.
        with located(file if _refusal(layer) == str(error) else None):
            raise


def _refusal(layer: Mapping[str, Any]) -> str:
    """Why a layer of settings is refused; empty if it is not."""
    try:
        resolve(layer)
    except (ConfigError, UnknownNameError) as error:
        return str(error)
    return ""


def load(config: TrainConfig, *, showing: bool) -> tuple[TrainConfig, Samples | Stream]:
    """Load the real samples, and show how it goes if asked.

    Returns:
        The settings with what loading has found out about the data, and the samples; they have
        classes only if the training is conditional.

    Raises:
        DataError: If the data are absent, unreadable, or lack the labels that are asked for.
        ConfigError: If a setting does not fit the data.
        ContractError: If what the dataset loads is not what it promises.
    """
    if config.size is not None:
        config = config.model_copy(update={"dataset": config.dataset.sized(config.size)})
    with progress.showing(showing):
        dataset, samples = config.dataset.resolved(config.workers, config.conditional)
    with contract.attributed_to(dataset):
        samples = _checked(samples, config)
    if config.num_samples is not None:
        if isinstance(samples, Stream):
            raise ConfigError(
                "num_samples trains on some of the samples in memory, and with workers they are "
                "read while training. Leave workers out, or give a smaller dataset."
            )
        samples = samples.some(config.num_samples)
    config = config.model_copy(update={"dataset": dataset})
    spec = samples.spec
    if config.value_range is not None:
        if samples.stored_range is None:
            raise ConfigError(
                f"'value_range' needs data with a known range, and dataset "
                f"'{config.dataset.called}' has none. Leave it out, or give the dataset's "
                f"stored_range."
            )
        spec = spec.model_copy(update={"value_range": config.value_range})
    if not config.conditional:
        return config, samples.with_spec(spec.model_copy(update={"classes": None}))
    if not samples.labeled or spec.classes is None:
        why = "".join(f" {each}" for each in samples.notices if "label" in each.lower())
        raise DataError(
            f"conditional=True needs labels, and dataset '{config.dataset.called}' has none.{why} "
            f"Give data with labels, or leave it off."
        )
    if not config.arch.conditional:
        raise ConfigError(
            f"conditional=True needs an architecture that uses labels, and "
            f"'{config.arch.name}' does not. {_labelled_architectures()}"
        )
    return config, _with_empty_classes_said(samples.with_spec(spec))


def _with_empty_classes_said(samples: Samples | Stream) -> Samples | Stream:
    """Note classes that no sample is of."""
    classes = samples.spec.classes or ()
    if isinstance(samples, Stream) or samples.labels is None:
        return samples
    counts = torch.bincount(samples.labels.long(), minlength=len(classes)).tolist()
    empty = [quoted(name) for name, count in zip(classes, counts, strict=True) if count == 0]
    if not empty:
        return samples
    more = f" and {len(empty) - _SHOWN} more" * (len(empty) > _SHOWN)
    return replace(
        samples,
        notices=(
            *samples.notices,
            f"no sample is of class {listing(empty[:_SHOWN])}{more}, of {len(classes)} classes in "
            f"all: what G makes of such labels means nothing",
        ),
    )


def _checked(samples: Samples | Stream, config: TrainConfig) -> Samples | Stream:
    """Check a part of the samples, as the dataset may be a plug-in's or the user's."""
    if isinstance(samples, Stream):
        return samples
    kind, call = (Samples, "load()") if config.workers is None else (Stream, "stream()")
    contract.check_loaded(samples, kind, call)
    count = len(samples)
    fewer = min(count, _LOOKED_AT, max(1, _VALUES // samples.spec.numel))
    few = samples.data[[number * count // fewer for number in range(fewer)]]
    contract.check_data(samples, few, _ROOM)
    if config.conditional and samples.labels is not None:
        contract.check_labels(samples)
    try:
        contract.check_type(samples)
    except ContractError as odd:  # which costs memory, and trains all the same
        return replace(samples, notices=(*samples.notices, str(odd)))
    return samples


def frame(config: TrainConfig, spec: SampleSpec) -> tuple[SampleSpec, Preprocessing | None]:
    """Return what the nets work on, and how images come to it; None for other samples.

    Raises:
        UnsupportedSampleError: If the architecture cannot make such samples.
        ConfigError: If a size is given for samples that are not images, or the architecture cannot
            start from such latents.
    """
    size, framed = None, spec
    if spec.kind == "image":
        # config.size stays as it was given: a dataset that reads pictures of any size would take
        # the size that is found here for one that was asked for, and resize instead of pad.
        size = config.size or config.arch.nearest_size(*spec.size)
        framed = spec.resized(size)
    elif config.size is not None:
        raise ConfigError(
            f"'size' is for images, and these samples are {spec}. Leave it out; where init_from "
            f"gives it, use images or another generator."
        )
    config.arch.check(framed)
    config.arch.check_latent(config.latent, framed)
    return framed, None if size is None else Preprocessing.fit(spec.size, size, config.resize_mode)


def inherited(origin: Generator) -> dict[str, Any]:
    """Return the settings of a training that starts from a generator, below all others."""
    config, sample = origin.config, origin.config.sample
    settings: dict[str, Any] = {
        "arch": config.architecture,
        "latent": config.latent,
        "conditional": sample.classes is not None,
    }
    padded = config.preprocessing is not None and config.preprocessing.method == "pad"
    if sample.kind == "image" and not padded:  # which follows from the data
        settings["size"] = sample.size
    if sample.kind == "image" and sample.value_range != (-1.0, 1.0):
        settings["value_range"] = sample.value_range
    return settings


RESUMED = ("steps", "epochs", "device", "dataset", "workers", "nan_policy", "metrics", "patience")
"""The settings that a run may be resumed with."""

_DECIDED = ("arch", "latent", "conditional", "size", "value_range", "recipe", "init_from")


def kept_settings(given: Mapping[str, Any], run: Path) -> str:
    """Return why a run is not resumed with settings, and how to train on with them.

    Args:
        given: What was taken for settings, and their values; of a command line, options
            (``--batch-size``) and the words that follow each.
        run: The run's folder.
    """
    typed = any(word.startswith("--") for word in given)
    # A net or function that a metric sees by has no name for a command line.
    taken = [name for name in RESUMED if not typed or name != "metrics"]
    allowed = [flag_of(name) for name in taken] if typed else taken
    changes: dict[tuple[str, ...], Any] = {}
    for word, value in given.items():
        paths = _settings(word)
        if paths and paths[0][0] in taken and paths[0][1:]:
            whole = f"say {flag_of(paths[0][0])} PATH" if typed else f"give {paths[0][0]}=..."
            return f"Resuming takes {paths[0][0]} as a whole: {whole}."
        if not paths or paths[0][0] in taken:
            known = [flag_of(each) if typed else each for each in TrainConfig.model_fields]
            meant = allowed[taken.index(paths[0][0])] if paths else word
            return (
                f"Resuming has no setting '{word}'.{did_you_mean(meant, [*allowed, *known])} A run "
                f"goes on as it was set, but for {listing(allowed)}."
            )
        for path in paths:
            if len(path) == 3 and path[0] in COMPONENTS:  # the option of another component
                changes[path[:1]], path = [path[1]] if typed else path[1], path[::2]
            changes[path] = value
    anew = any(path[0] in _DECIDED for path in changes)
    anew = anew or not (run / "generator" / "config.json").is_file()
    names = [".".join((*path[:-1], path[-1].removeprefix("no_"))) for path in changes]
    are, them = ("is one of them", "it") if len(names) == 1 else ("are some of them", "them")
    how = f"anew with {them}" if anew else f"on from its generator with {them}, in a new run"
    again = _typed if typed else _written
    return (
        f"A run keeps its settings when it is resumed, and {' and '.join(names)} {are}: only "
        f"{listing(allowed)} may be given. To train {how}: {again(changes, run, anew)}"
    )


def _settings(word: str) -> tuple[tuple[str, ...], ...]:
    """The settings, or options of their components, that a word or option stands for."""
    bare = word.removeprefix("--")
    path = tuple(bare.replace("-", "_").split("."))
    off = word.startswith("--no-") and path[0].removeprefix("no_") in TrainConfig.model_fields
    return (path,) if off or path[0] in TrainConfig.model_fields else synonyms(bare)


def _typed(changes: Mapping[tuple[str, ...], list[str]], run: Path, anew: bool) -> str:
    """The command of a training with a run's settings but for some."""
    words = ["ganzoo", "train", "--config", str(run / "config.yaml")]
    words += [] if anew else ["--init-from", str(run)]
    words += ["--dataset", "DATA"] if _held(run) else []
    for path, values in changes.items():
        field = TrainConfig.model_fields.get(path[0])
        switch = field is not None and field.annotation is bool
        words += ["=".join([flag_of(*path), *values])] if switch else [flag_of(*path), *values]
    return shlex.join(words)


def _written(changes: Mapping[tuple[str, ...], Any], run: Path, anew: bool) -> str:
    """The call of a training with a run's settings but for some."""
    layer: dict[str, Any] = {} if anew else {"init_from": str(run)}
    for (name, *option), value in sorted(changes.items(), key=lambda each: len(each[0])):
        if isinstance(value, Component):
            value = value.model_dump(mode="json")
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
        if option:
            chosen = layer.get(name, {})
            whole = chosen if isinstance(chosen, Mapping) else {"name": chosen}
            value = {**whole, option[0]: value}
        layer[name] = value
    layer = {"config": str(run / "config.yaml"), **layer}
    words = ["dataset=data"] * _held(run) + [f"{name}={value!r}" for name, value in layer.items()]
    return f"Trainer({', '.join(words)})"


def _held(run: Path) -> bool:
    """Whether a run's data were an object in memory."""
    with contextlib.suppress(ConfigError, UnknownNameError):
        dataset = read_config(run / "config.yaml").get("dataset")
        return isinstance(dataset, dict) and dataset.get("name") == "in-memory"
    return False


def start_from(
    origin: Generator | None,
    config: TrainConfig,
    spec: SampleSpec,
    generator: nn.Module,
    discriminator: nn.Module,
    notices: list[str],
) -> TrainConfig:
    """Give nets the weights of a trained generator, and of its discriminator if it has one.

    Returns:
        The settings, which name the revision of a generator from the Hub.

    Raises:
        ConfigError: If the trained generator is not of the same kind as these nets.
    """
    source = str(config.init_from)
    origin = origin or Generator.from_pretrained(source)
    theirs, sample = origin.config, origin.config.sample
    size = "Use data of that shape"
    if theirs.preprocessing is not None:
        size = f"Give {_said('size', theirs.preprocessing.size)}"
    value_range = "Leave value_range out"
    if sample.value_range is not None:
        value_range = f"Give {_said('value_range', sample.value_range)}"
    for what, here, there, fix in (
        ("architecture", config.arch, theirs.architecture, "Leave arch out"),
        ("latent", config.latent, theirs.latent, "Leave latent out"),
        (
            "kind of a sample and number of its channels",
            (spec.kind, spec.shape[0]),
            (sample.kind, sample.shape[0]),
            "Use data of that kind (pictures of a folder: --dataset.mode)",
        ),
        ("shape of a sample", spec.shape, sample.shape, size),
        ("value range", spec.value_range, sample.value_range, value_range),
        (
            "number of classes",
            len(spec.classes or ()),
            len(sample.classes or ()),
            "Use data with as many, or set conditional",
        ),
    ):
        if here != there:
            raise ConfigError(
                f"The {what} of {source} is {there}, but this training has {here}. {fix}."
            )
    notices += _class_notices(source, spec, sample)
    generator.load_state_dict(origin.module.state_dict())
    judge = origin.discriminator()
    if judge is None or theirs.packing != config.packing:
        notices.append(
            f"{source} has no {'such ' * (judge is not None)}discriminator: D starts anew"
        )
    else:
        discriminator.load_state_dict(judge.state_dict())
    place = theirs.origin
    if place is None or storage.expanded(source).is_dir():
        return config
    return config.model_copy(update={"init_from": f"{place.repo_id}@{place.revision}"})


def _class_notices(source: str, spec: SampleSpec, theirs: SampleSpec) -> list[str]:
    """Say which classes begin as which others.

    Raises:
        ConfigError: If the classes are the same in another order, so that labels would be mixed up.
    """
    here, there = spec.classes or (), theirs.classes or ()
    others = [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]]
    if not others:
        return []
    new, old = others[0]
    if set(here) == set(there):
        raise ConfigError(
            f"{source} and these data have the same classes in another order: label "
            f"{there.index(old)} is {quoted(old)} there and {quoted(new)} here. Give the data's "
            f"classes and labels in the order of {source}."
        )
    pairs = [f"{quoted(new)} as {quoted(old)}" for new, old in others[:_SHOWN]]
    more = f" and {len(others) - _SHOWN} more" * (len(others) > _SHOWN)
    return [f"classes of the data begin as those of {source}: {listing(pairs)}{more}"]


def _said(name: str, numbers: tuple[float, ...]) -> str:
    """A setting of several numbers, in Python and on the command line."""
    return f"{name}={numbers} ({flag_of(name)} {' '.join(f'{number:g}' for number in numbers)})"


def _labelled_architectures() -> str:
    """Say which architectures use labels, or what to do where none does."""
    found = [
        entry.name
        for entry, error in architectures.registry.check()
        if error is None and architectures.get(architectures.registry.address(entry)).conditional
    ]
    which = f"Take one that does: {listing(found)}; or" if found else "None that is installed does:"
    return f"{which} leave conditional off to train on all classes together."
