"""Every setting of a training, resolved from its layers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from ganzoo import (
    architectures,
    augmentations,
    averages,
    datasets,
    losses,
    metrics,
    optimizers,
    penalties,
    recipes,
    schedules,
    trackers,
)
from ganzoo._version import __version__
from ganzoo.architectures.base import Architecture
from ganzoo.augmentations import Augmentation
from ganzoo.averages import Average
from ganzoo.config.layering import COMPONENTS, LISTS, merged, several
from ganzoo.core.component import Component
from ganzoo.core.model import Model
from ganzoo.core.registry import Registry
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.synonyms import synonyms
from ganzoo.datasets.base import Dataset
from ganzoo.errors import (
    ConfigError,
    UnknownNameError,
    did_you_mean,
    listing,
    quoted,
)
from ganzoo.files import storage
from ganzoo.losses.base import Loss
from ganzoo.metrics import Metric
from ganzoo.optimizers import Optimizer
from ganzoo.penalties import Penalty
from ganzoo.schedules import NumberSchedule, Schedule, paths
from ganzoo.schedules.numbers import read_all, read_each
from ganzoo.trackers import Tracker

__all__ = [
    "COMPONENTS",
    "FORMAT_VERSION",
    "LISTS",
    "TrainConfig",
    "defaults",
    "differences",
    "flag_of",
    "located",
    "read_config",
    "resolve",
    "saved_config",
    "several",
    "unlike",
]

FORMAT_VERSION = 1

_DEFAULTS: dict[str, Any] = {
    "arch": {"name": "dcgan"},
    "dataset": {"name": "fashion-mnist-10k"},
    "loss": {"name": "non-saturating"},
    "g_optimizer": {"name": "adam"},
    "d_optimizer": {"name": "adam"},
    "schedule": {"name": "constant"},
    "average": {"name": "decay"},
    "latent": {},
    "steps": 1000,
}


Every = Annotated[int, Field(ge=0)] | Literal["epoch"]
"""How often: every so many iterations, after each pass over the data, or 0 for never."""


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Metrics = Annotated[
    tuple[Annotated[SerializeAsAny[Metric], BeforeValidator(metrics.create)], ...],
    BeforeValidator(several),
]
Trackers = Annotated[
    tuple[Annotated[SerializeAsAny[Tracker], BeforeValidator(trackers.create)], ...],
    BeforeValidator(several),
]
Penalties = Annotated[
    tuple[Annotated[SerializeAsAny[Penalty], BeforeValidator(penalties.create)], ...],
    BeforeValidator(several),
]

OneSchedule = Annotated[SerializeAsAny[Schedule], BeforeValidator(schedules.create)]
Schedules = Annotated[
    dict[str, NumberSchedule], BeforeValidator(read_each), BeforeValidator(read_all)
]


def _augmentation(value: Any) -> Augmentation | None:
    return None if value in (None, "none") else augmentations.create(value)


class TrainConfig(Model):
    """Everything that decides a training.

    ``resolve`` builds one from layers of settings and supplies the defaults; ``trainer.config``
    is one, and ``config.yaml`` of a run holds it.

    Raises:
        ConfigError: If a setting is unknown, wrong, or contradicts another.
    """

    error_label: ClassVar[str] = "The training"

    arch: Annotated[SerializeAsAny[Architecture], BeforeValidator(architectures.create)] = Field(
        description="architecture: generator and discriminator"
    )
    dataset: Annotated[SerializeAsAny[Dataset], BeforeValidator(datasets.create)] = Field(
        description="where real samples come from: a name, or the path of a folder or file"
    )
    loss: Annotated[SerializeAsAny[Loss], BeforeValidator(losses.create)] = Field(
        description="what both nets minimise"
    )
    penalties: Penalties = Field(
        (), description="terms that are added to the loss of a player, by name"
    )
    adversarial_weight: paths.Weight = Field(
        1.0, description="factor of the loss in G's phase; penalties of G are not multiplied"
    )
    augmentation: Annotated[SerializeAsAny[Augmentation] | None, BeforeValidator(_augmentation)] = (
        Field(None, description="what all samples pass through before D, by name")
    )
    recipe: str | None = Field(None, description="settings that reproduce a known system, by name")
    init_from: Annotated[str | None, BeforeValidator(_text)] = Field(
        None,
        description="trained generator to start from: a folder, the name of one that comes with "
        "ganzoo, or org/repo of the Hugging Face Hub; arch and latent follow from it",
    )
    num_samples: int | None = Field(
        None, ge=1, description="train on so many of the samples, the same ones each time"
    )
    steps: int | None = Field(None, ge=1, description="iterations to train")
    epochs: float | None = Field(None, gt=0, description="passes over the data, instead of steps")
    batch_size: int = Field(64, ge=1, description="samples per update")
    d_steps: int = Field(1, ge=1, description="updates of D per iteration")
    g_steps: int = Field(1, ge=1, description="updates of G per iteration")
    g_optimizer: Annotated[SerializeAsAny[Optimizer], BeforeValidator(optimizers.create)] = Field(
        description="optimizer of G"
    )
    d_optimizer: Annotated[SerializeAsAny[Optimizer], BeforeValidator(optimizers.create)] = Field(
        description="optimizer of D"
    )
    schedule: OneSchedule = Field(description="schedule of both learning rates")
    schedules: Schedules = Field(
        {},
        description="courses of single numbers, such as 'g_optimizer.lr cosine 2e-4 5e-5; "
        "average.decay linear .9 .999'",
    )
    clip_grad: float | None = Field(None, gt=0, description="largest norm of a net's gradient")
    latent: LatentSpec = Field(LatentSpec(), description="what the generator is fed")
    accumulate: int = Field(
        1,
        ge=1,
        description="micro-batches that each batch is computed in, one after the other, to need "
        "less memory",
    )
    packing: int = Field(
        1, ge=1, description="samples that D sees together, joined as channels (PacGAN)"
    )
    joint_batch: bool = Field(
        False, description="show D real and generated samples in one batch (not with batch norm)"
    )
    d_eval_for_g: bool = Field(
        False,
        description="put D in evaluation mode while G learns from it: no dropout, batch norm by "
        "its running statistics",
    )
    conditional: bool = Field(False, description="train on the dataset's labels")
    labels: Literal["data", "uniform"] = Field(
        "data", description="classes in a batch: as the data have them, or drawn evenly"
    )
    size: Annotated[tuple[int, int] | None, BeforeValidator(_pair)] = Field(
        None, description="height and width to train at; by default the nearest that arch can do"
    )
    resize_mode: Literal["pad", "resize"] = Field(
        "pad", description="how images are brought to that size; padding is cropped from samples"
    )
    value_range: tuple[float, float] | None = Field(
        None, description="range that samples are brought to; by default -1 1 for images"
    )
    average: Annotated[SerializeAsAny[Average], BeforeValidator(averages.create)] = Field(
        description="moving average of G, which is the generator that is kept"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto is bf16 where the hardware multiplies it, else fp32"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps")
    seed: int = Field(0, ge=0, lt=2**63, description="decides everything random")
    log_every: int = Field(20, ge=1, description="iterations between rows of metrics.jsonl")
    sample_every: Every | None = Field(
        None, description="iterations between pictures, or epoch; 0 for the last only"
    )
    checkpoint_every: Every | None = Field(
        None, description="iterations between checkpoints, or epoch; 0 for the last only"
    )
    snapshot_every: Every = Field(
        0, description="iterations between snapshots of both nets, or epoch; 0 for none"
    )
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints to keep")
    keep_every: int = Field(
        0, ge=0, description="keep checkpoints of every so many iterations too; 0 for none"
    )
    keep_best: str | None = Field(
        None,
        pattern=r"^(min|max):[a-z0-9]+([-_.:][a-z0-9]+)*$",
        description="keep the best checkpoint too, by a score or a number of metrics.jsonl: "
        "min:fid, max:high_quality; by default the first of metrics, where they are evaluated",
    )
    evaluate_every: Annotated[int, Field(ge=0)] | Literal["epoch"] = Field(
        0, description="iterations between scores of the averaged generator, or epoch; 0 for none"
    )
    metrics: Metrics = Field(
        (), description="what is scored, such as fid,kid; by default fid, or modes of a mixture"
    )
    evaluate_num_fake: int = Field(10_000, ge=1, description="generated samples that are scored")
    evaluate_num_real: int | None = Field(
        None, ge=1, description="real samples that they are compared with; by default all"
    )
    real_split: str | None = Field(
        None, description="part of the dataset that they are compared with; by default dataset's"
    )
    evaluate_async: bool = Field(
        False, description="score in a thread of its own, while the training goes on"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many scores in a row that are not the best"
    )
    nan_policy: Literal["stop", "skip", "rollback"] = Field(
        "stop",
        description="what follows NaN or infinity in a loss or gradient: stop, skip that update, "
        "or go back to the last checkpoint with half the learning rates",
    )
    max_rollbacks: int = Field(3, ge=0, description="how often to go back before stopping")
    workers: int | None = Field(
        None,
        ge=0,
        description="read a torch Dataset while training, by so many processes (0: the "
        "training's own), instead of once into memory before it",
    )
    deterministic: bool = Field(
        False,
        description="use algorithms that give the same bits each time on GPUs too, if slower ones",
    )
    trackers: Trackers = Field(
        (), description="where else numbers and pictures are logged, such as tensorboard"
    )

    @field_validator("value_range")
    @classmethod
    def _ascending(cls, ends: tuple[float, float] | None) -> tuple[float, float] | None:
        if ends is not None:
            SampleSpec(kind="vector", shape=(1,), value_range=ends)  # which refuses what is none
        return ends

    @field_validator("penalties", "trackers", "metrics")
    @classmethod
    def _each_once(cls, chosen: tuple[Component, ...]) -> tuple[Component, ...]:
        named = [component.name for component in chosen]
        for component in chosen:
            if named.count(component.name) > 1:
                raise ConfigError(
                    f"The {component.kind} '{component.name}' is given twice; once is enough."
                )
        return chosen

    @field_validator("size")
    @classmethod
    def _positive(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and min(size) < 1:
            raise ConfigError(f"A size is a height and a width of at least 1, not {size}.")
        return size

    @model_validator(mode="after")
    def _whole_packs(self) -> TrainConfig:
        pieces = self.packing * self.accumulate
        if self.batch_size % pieces:
            packs = f" of packs of {self.packing}" if self.packing > 1 else ""
            raise ConfigError(
                f"A batch of {self.batch_size} samples cannot be divided into {self.accumulate} "
                f"equal parts{packs} (accumulate, packing). Give a batch_size that {pieces} "
                f"divides, such as {pieces * -(-self.batch_size // pieces)}."
            )
        return self

    @model_validator(mode="after")
    def _schedules_fit(self) -> TrainConfig:
        if self.schedules:
            paths.check(self.schedules, self.numbers())
        return self

    @model_validator(mode="after")
    def _something_trains_g(self) -> TrainConfig:
        weights = {"adversarial_weight": self.adversarial_weight}
        for penalty in self.penalties:
            if "generator" in penalty.players:
                weights[f"penalties.{penalty.name}.weight"] = penalty.weight
        if not any(self._ever(path, own) for path, own in weights.items()):
            raise ConfigError(
                "Nothing trains G: adversarial_weight is 0 throughout, and there is no penalty of "
                "G with a weight. Give a schedule by which it rises, such as "
                "schedules={'adversarial_weight': 'linear 0 1 end=.1'}, or a penalty of G, such as "
                "'reconstruction'."
            )
        return self

    def _ever(self, path: str, own: float) -> bool:
        """Whether a number is not 0 throughout, by its schedule if it has one."""
        schedule = self.schedules.get(path)
        if schedule is None:
            return own != 0
        return schedule.final != 0 or (own if schedule.start is None else schedule.start) != 0

    def numbers(self) -> dict[str, paths.Number]:
        """Return by path the numbers that ``schedules`` may set."""
        return paths.numbers(
            {key: getattr(self, key) for key in ("g_optimizer", "d_optimizer")},
            self.penalties,
            self.augmentation,
            self.average,
            self.loss,
            self.adversarial_weight,
        )

    @property
    def batches_per_step(self) -> int:
        """Batches of real samples that one iteration draws, for D and, where it sees them, G."""
        penalties = (penalty.generator_sees_real for penalty in self.penalties)
        sees = self.loss.generator_sees_real or any(penalties)
        return self.d_steps + self.g_steps * sees

    def dump(self) -> dict[str, Any]:
        """Return the settings as plain values; ``resolve`` reads them back.

        Schedules that lower layers bring and this training has not are None there.
        """
        settings = self.model_dump(mode="json")
        layers = _stack({name: getattr(self, name) for name in TrainConfig.model_fields})
        settings["schedules"] = dict.fromkeys(layers["schedules"]) | settings["schedules"]
        return settings

    def yaml(self) -> str:
        """Return the settings as a configuration file that ``read_config`` reads back."""
        import yaml

        head = {"format_version": FORMAT_VERSION, "ganzoo": __version__}
        return yaml.safe_dump({**head, **self.dump()}, sort_keys=False, allow_unicode=True)


def resolve(*layers: Mapping[str, Any]) -> TrainConfig:
    """Build the configuration from layers of settings; later ones win.

    Below all layers lie the library's defaults, then what the architecture recommends, then
    what the loss recommends, then the recipe that a layer names. A layer may give a component
    whole (a name, a mapping with ``name``, an object), or only some of its options (a mapping
    without ``name``), which then apply to the component that lower layers chose. Another component
    takes back the options of a lower one, and the schedules of its numbers.

    Args:
        layers: Mappings from setting to value, such as a file and the caller's own.

    Raises:
        ConfigError: If a setting is unknown, wrong, or contradicts another.
        UnknownNameError: If a component's name is not known.
    """
    for layer in layers:
        _known(layer)
    settings = _stack(*layers)
    if settings.get("recipe"):
        recipes.get(settings["recipe"]).check(settings)
    config = TrainConfig(**settings)
    for component in (
        *(getattr(config, key) for key in COMPONENTS),
        *config.penalties,
        *((config.augmentation,) if config.augmentation is not None else ()),
        *config.trackers,
        *config.metrics,
    ):
        component.model_dump()  # what cannot be saved is refused before training
    return config


def defaults(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every setting would be, for showing it: nothing is validated.

    Components are built without their required options, if those are not set yet.
    """
    settings = {
        **{name: field.get_default() for name, field in TrainConfig.model_fields.items()},
        **_stack(*layers),
    }
    for key, registry in COMPONENTS.items():
        settings[key] = _shown(registry, settings[key])
    for key, registry in LISTS.items():
        found = several(settings[key])
        found = found if isinstance(found, (list, tuple)) else ()  # else it is refused later
        settings[key] = tuple(_shown(registry, each, strict=True) for each in found)
    chosen = settings["augmentation"]
    chosen = None if chosen == "none" else chosen
    settings["augmentation"] = _shown(augmentations.registry, chosen, strict=True)
    settings["latent"] = LatentSpec.model_validate(settings["latent"])
    return settings


def _shown(registry: Registry[Any], value: Any, *, strict: bool = False) -> Any:
    """A component, without its required options if those are not set yet.

    Strictly, options that it does not have are refused.
    """
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return value
    chosen = dict(value)
    cls = registry.get(chosen.pop("name"), provider=chosen.pop("provider", ""))
    if strict and not chosen.keys() <= cls.model_fields.keys():
        cls(**chosen)  # which says what options there are
    return cls.model_construct(**chosen)


def differences(recipe: str) -> list[tuple[str, Any, Any, str]]:
    """Return what a recipe sets otherwise than its architecture, loss and data would have it.

    Returns:
        Rows of: setting, or setting and option (``loss.noise``); the recipe's value; the value
        without the recipe; the reason.

    Raises:
        UnknownNameError: If there is no such recipe.
    """
    chosen = recipes.get(recipe)
    named = {key: {"name": chosen.settings[key]["name"]} for key in ("arch", "dataset", "loss")}
    mine, theirs = defaults({"recipe": recipe}), defaults(named)
    rows: list[tuple[str, Any, Any]] = [
        (key, named[key]["name"], _DEFAULTS[key]["name"])
        for key in named
        if named[key] != _DEFAULTS[key]
    ]
    for path, one, other in unlike(mine, theirs):
        key = path[0]
        if key == "recipe" or (key in ("steps", "epochs") and one is None):
            continue
        if key == "epochs":
            other = f"{theirs['steps']} steps"
        if isinstance(one, Component):
            one, other = chosen.settings[key], "none" if other is None else other.name
        if key in LISTS:
            one, other = chosen.settings[key], ",".join(each.name for each in other) or "none"
        rows.append((".".join(path), one, other))
    order = list(TrainConfig.model_fields)
    rows.sort(key=lambda row: order.index(row[0].partition(".")[0]))
    return [
        (place, value, other, chosen.why.get(place) or chosen.why[place.partition(".")[0]])
        for place, value, other in rows
    ]


def unlike(
    mine: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield in what two sets of settings differ, as ``defaults`` returns them.

    Yields:
        The setting, or the setting and the option of its component; the one value; the other.
    """
    for key in TrainConfig.model_fields:
        one, other = mine[key], theirs[key]
        if isinstance(one, Model) and type(one) is type(other):
            for option in type(one).model_fields:
                first, second = getattr(one, option, None), getattr(other, option, None)
                if _plain(first) != _plain(second):
                    yield (key, option), first, second
        elif _plain(one) != _plain(other):
            yield (key,), one, other


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def flag_of(*path: str) -> str:
    """Return the flag of a setting or of a component's option: ``--g-optimizer.lr``."""
    return "--" + ".".join(part.replace("_", "-") for part in path)


def read_config(path: Path, *, root: Path | None = None) -> dict[str, Any]:
    """Read a configuration file, such as ``config.yaml`` of a run, as a layer for ``resolve``.

    Args:
        path: The file.
        root: A link may lead anywhere below it; by default, anywhere.

    Raises:
        ConfigError: If the file is absent, larger than 128 KiB, no YAML mapping, uses YAML's
            aliases, is from a newer ganzoo, or has an unknown setting.
    """
    from ganzoo.files import bounded_yaml

    try:
        path = storage.expanded(path)
        root = Path(os.path.realpath(path)).parent if root is None else root
        settings = bounded_yaml.read(path, root=root)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"The configuration {path} cannot be read ({problem}).") from None
    version = settings.pop("format_version", FORMAT_VERSION)
    settings.pop("ganzoo", None)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ConfigError(
            f"The configuration {path} has format {quoted(version)}, but this ganzoo reads up to "
            f"{FORMAT_VERSION}: upgrade ganzoo."
        )
    _known(settings, f"{path}: ")
    return settings


def saved_config(path: Path, *, root: Path | None = None) -> TrainConfig:
    """Read the ``config.yaml`` of a run, which says all: no later recommendation is added.

    Raises:
        ConfigError: As ``read_config`` and ``resolve`` raise it.
        UnknownNameError: If a component's name is not known.
    """
    return resolve({"schedules": None}, read_config(path, root=root))


@contextlib.contextmanager
def located(path: Path | None) -> Iterator[None]:
    """Say in what file a mistake is, where it is in one."""
    try:
        yield
    except (ConfigError, UnknownNameError) as error:
        if path is None:
            raise
        raise type(error)(f"{path}: {error}") from None


def _known(layer: Mapping[str, Any], where: str = "") -> None:
    names = TrainConfig.model_fields
    for key, value in layer.items():
        if key not in names:
            word = key if isinstance(key, str) else quoted(key)
            raise ConfigError(
                f"{where}Unknown setting '{word}'.{_meant(word, value, bool(where))} "
                f"Settings: {listing(sorted(names))}."
            )
    if layer.get("steps") is not None and layer.get("epochs") is not None:
        raise ConfigError(f"{where}Give 'steps' or 'epochs', not both.")


def _meant(word: str, value: Any, in_file: bool) -> str:
    """Return a hint at the setting that others call ``word``, as YAML or Python has it."""
    paths = synonyms(word)
    if not paths or len(paths) == len(paths[0]) == 1:
        return did_you_mean(paths[0][0] if paths else word, TrainConfig.model_fields)
    # The setting itself, an option of its component, and one of a component of that name.
    forms = ("{}={}", "{}={{'{}': {}}}", "{}={{'name': '{}', '{}': {}}}")
    if in_file:
        forms = ("{}: {}", "{}: {{{}: {}}}", "{}: {{name: {}, {}: {}}}")
    meant = [forms[len(path) - 1].format(*path, quoted(value)) for path in paths]
    return f" Did you mean {' and '.join(meant)}?"


def _stack(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The layers upon the defaults, what architecture and loss recommend, and the recipe."""
    named = [layer["recipe"] for layer in layers if layer.get("recipe") is not None]
    if named:
        layers = (recipes.get(str(named[-1])).settings, *layers)
    chosen = merged(_DEFAULTS, *layers)
    advice = [_class(key, chosen[key]).recommended for key in ("arch", "loss")]
    settings = merged(_DEFAULTS, *advice, *layers)
    if settings.get("steps") is None and settings.get("epochs") is None:
        settings |= {key: merged(_DEFAULTS, *advice).get(key) for key in ("steps", "epochs")}
    return settings


def _class(key: str, value: Any) -> type[Component]:
    if isinstance(value, type) and issubclass(value, Component):
        return value
    if isinstance(value, Component):
        return type(value)
    registry = COMPONENTS[key]
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return registry.get(value["name"], provider=str(value.get("provider", "")))
    return type(registry.create(value))  # which says what is wrong with it
