"""What a training begins with: data at a size that its nets can do, and weights to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganzoo import architectures
from ganzoo.datasets import progress
from ganzoo.errors import ConfigError, DataError, listing
from ganzoo.framing import Framing

if TYPE_CHECKING:
    from torch import nn

    from ganzoo.datasets import Samples
    from ganzoo.datasets.stream import Stream
    from ganzoo.generator import Generator
    from ganzoo.spec import SampleSpec
    from ganzoo.train_config import TrainConfig

__all__ = ["frame", "inherited", "load", "start_from"]


def load(config: TrainConfig, *, showing: bool) -> tuple[TrainConfig, Samples | Stream]:
    """Load the real samples.

    Args:
        config: All settings.
        showing: Whether to show how it goes.

    Returns:
        The settings with what loading has found out about the data, and the samples; they have
        classes only if the training is conditional.

    Raises:
        DataError: If the data are absent, unreadable, or lack the labels that are asked for.
        ConfigError: If a setting does not fit the data.
    """
    if config.size is not None and getattr(config.dataset, "size", config.size) is None:
        # Whoever reads pictures of any size brings them to that size at once.
        dataset = config.dataset.replace(size=config.size)
        config = config.model_copy(update={"dataset": dataset})
    with progress.showing(showing):
        dataset, samples = config.dataset.opened(config.workers, config.conditional)
    config = config.model_copy(update={"dataset": dataset})
    spec = samples.spec
    if config.value_range is not None:
        if samples.stored_range is None:
            raise ConfigError(
                f"'value_range' needs data with a known range, and dataset "
                f"'{config.dataset.name}' has none. Leave it out, or give the dataset's "
                f"stored_range."
            )
        spec = spec.model_copy(update={"value_range": config.value_range})
    if not config.conditional:
        return config, samples.with_spec(spec.model_copy(update={"classes": None}))
    if not samples.labeled or spec.classes is None:
        raise DataError(
            f"conditional=True needs labels, and dataset '{config.dataset.name}' has none. Give "
            f"data with labels, or leave it off."
        )
    if not config.arch.conditional:
        raise ConfigError(
            f"conditional=True needs an architecture that uses labels, and "
            f"'{config.arch.name}' does not. {_labelled_architectures()}"
        )
    return config, samples.with_spec(spec)


def frame(config: TrainConfig, spec: SampleSpec) -> tuple[SampleSpec, Framing | None]:
    """Decide how images come to a size that the architecture can do.

    Returns:
        What the nets work on, and how samples come to it; None where they are no images.

    Raises:
        UnsupportedSampleError: If the architecture cannot make such samples.
        ConfigError: If a size is asked for of what is no image.
    """
    if spec.kind != "image":
        if config.size is not None:
            raise ConfigError(f"'size' is for images, and these samples are {spec}. Leave it out.")
        config.arch.check(spec)
        return spec, None
    # config.size stays as it was given: a dataset that reads pictures of any size would take
    # the size that is found here for one that was asked for, and resize instead of pad.
    size = config.size or config.arch.nearest_size(*spec.size)
    config.arch.check(spec.resized(size))
    return spec.resized(size), Framing.fit(spec.size, size, config.resize_mode)


def inherited(origin: Generator) -> dict[str, Any]:
    """Return the settings of a training that starts from a generator, below all others."""
    config = origin.config
    sample = config.sample
    settings: dict[str, Any] = {
        "arch": config.architecture,
        "latent": config.latent,
        "conditional": sample.classes is not None,
    }
    if sample.kind == "image":
        if config.framing is None or config.framing.method != "pad":  # which follows from the data
            settings["size"] = sample.size
        if sample.value_range != (-1.0, 1.0):
            settings["value_range"] = sample.value_range
    return settings


def start_from(
    origin: Generator,
    config: TrainConfig,
    spec: SampleSpec,
    generator: nn.Module,
    discriminator: nn.Module,
) -> bool:
    """Give nets the weights of a trained generator, and of its discriminator if it has one.

    Args:
        origin: The trained generator.
        config: All settings of the training that starts from it.
        spec: What its nets work on.
        generator: Of this training.
        discriminator: Of this training.

    Returns:
        Whether there was a discriminator.

    Raises:
        ConfigError: If the trained generator is not of the same kind as these nets.
    """
    theirs = origin.config
    sample, frame = theirs.sample, theirs.framing
    for what, here, there, fix in (
        ("architecture", config.arch, theirs.architecture, "Leave arch out"),
        ("latent", config.latent, theirs.latent, "Leave latent out"),
        (
            "kind of a sample and number of its channels",
            (spec.kind, spec.shape[0]),
            (sample.kind, sample.shape[0]),
            "Use data of that kind (pictures of a folder: --dataset.mode)",
        ),
        (
            "shape of a sample",
            spec.shape,
            sample.shape,
            f"Give {_said('size', frame.size)}" if frame else "Use data of that shape",
        ),
        (
            "value range",
            spec.value_range,
            sample.value_range,
            "Leave value_range out"
            if sample.value_range is None
            else f"Give {_said('value_range', sample.value_range)}",
        ),
        (
            "number of classes",
            len(spec.classes or ()),
            len(sample.classes or ()),
            "Use data with as many, or set conditional",
        ),
    ):
        if here != there:
            raise ConfigError(
                f"The {what} of {config.init_from} is {there}, but this training has {here}. {fix}."
            )
    generator.load_state_dict(origin.module.state_dict())
    judge = origin.discriminator()
    if judge is not None:
        discriminator.load_state_dict(judge.state_dict())
    return judge is not None


def _said(name: str, numbers: tuple[float, ...]) -> str:
    """A setting of several numbers, in Python and on the command line."""
    flag = "--" + name.replace("_", "-")
    return f"{name}={numbers} ({flag} {' '.join(f'{number:g}' for number in numbers)})"


def _labelled_architectures() -> str:
    """Say which architectures use labels, or what to do where none does."""
    found = [
        entry.name
        for entry, error in architectures.registry.check()
        if error is None and architectures.get(architectures.registry.address(entry)).conditional
    ]
    if found:
        return f"Take one that does: {listing(found)}; or leave conditional off."
    return (
        "None that is installed does: leave conditional off to train on all classes together, or "
        "write one that says conditional = True, as the page on plug-ins shows."
    )
