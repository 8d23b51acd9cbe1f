"""What a card says of a generator, read from the files of its bundle."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, Strict

from ganzoo import datasets, losses
from ganzoo.core.model import Model
from ganzoo.errors import BundleError, ConfigError, PluginError, UnknownNameError
from ganzoo.files import bounded_json
from ganzoo.generators import bundle
from ganzoo.generators.markdown import prose, public, word

if TYPE_CHECKING:
    from ganzoo.core.component import Component
    from ganzoo.core.registry import Registry
    from ganzoo.generators.bundle import BundleConfig

__all__ = ["NAME", "REPO", "Data", "Facts", "Record", "Score", "mapping", "read"]

NAME = r"[A-Za-z0-9][\w.-]*"
REPO = re.compile(rf"{NAME}(?:/{NAME})?", re.ASCII)
"""A repository of the Hub."""

_NOUNS = {"image": "images", "audio": "clips", "sequence": "sequences", "vector": "points"}
_LARGEST = 2**20  # bytes of training.json or metrics.json


class Record(Model):
    """The part of training.json that the card shows."""

    model_config = ConfigDict(extra="ignore")
    error_label: ClassVar[str] = "It"

    config: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    command: str | None = None


class Score(Model):
    """One entry of metrics.json."""

    model_config = ConfigDict(extra="ignore")
    error_label: ClassVar[str] = "It"

    value: Annotated[float, Strict()]
    error: Annotated[float, Strict()] | None = None
    protocol: dict[str, Any] = Field(default_factory=dict)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """The dataset of a training."""

    name: str
    options: Mapping[str, Any]
    license: str
    component: type[datasets.Dataset] | None

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> Data:
        """Return the data that ``training`` of config.json names."""
        options, component = _component(datasets.registry, training.get("dataset"))
        licensed = component.license if component else ""
        terms = word(training.get("data_license")) or licensed
        return cls(word(options.get("name")), options, terms, component)

    @property
    def hub(self) -> str:
        """Its name on the Hub; empty if it is not from there."""
        repo = word(self.options.get("repo")) if self.name == "huggingface" else ""
        return repo if "/" in repo and REPO.fullmatch(repo) else ""

    @property
    def label(self) -> str:
        """What to call it; plain text."""
        place = word(self.options.get("path")) or word(self.options.get("description"))
        return self.hub or (f"{self.name} ({place})" if place else self.name)


@dataclass(frozen=True)
class Facts:
    """All that a card is made of."""

    config: BundleConfig
    training: Mapping[str, Any]  # what config.json says of it
    record: Record
    scores: Mapping[str, Score]
    data: Data
    copied: bool

    @classmethod
    def of(cls, folder: Path, repo_id: str | None, source: Path) -> Facts:
        """Read a bundle that is published in ``repo_id``; its files were copied from ``source``."""
        config, record = bundle.config(folder), _record(folder, source)
        training, origin = public(config.training), config.origin
        return cls(
            config=config,
            training={**record.config, **training},
            record=record,
            scores=_scores(folder, source),
            data=Data.of(training),
            copied=origin is not None and origin.repo_id != repo_id,
        )

    @property
    def noun(self) -> str:
        """What several samples are called."""
        return _NOUNS[self.config.sample.kind]

    @property
    def title(self) -> str:
        """The heading; Markdown."""
        name, data = self.config.architecture.name, self.data
        return prose(f"{name} trained on {data.label}" if data.name else f"{name} generator")

    @property
    def base(self) -> str:
        """What the training started from; ``org/repo@commit`` where that is on the Hub."""
        return word(self.training.get("init_from"))

    @property
    def loss(self) -> tuple[str, type[Component] | None]:
        """Name of the loss, empty if not recorded, and its class, if it is installed."""
        options, component = _component(losses.registry, self.training.get("loss"))
        return word(options.get("name")), component


def _record(folder: Path, source: Path) -> Record:
    content = read(folder, bundle.TRAINING, source)
    try:
        # The command is cleaned word by word, without its quotes.
        return Record(**{**public(content), "command": content.get("command")})
    except ConfigError as error:
        raise _malformed(source / bundle.TRAINING, error) from None


def _scores(folder: Path, source: Path) -> dict[str, Score]:
    found = {}
    for name, entry in read(folder, bundle.METRICS, source).items():
        try:
            if not bundle.SCORED.fullmatch(name):
                raise ConfigError(f"a score cannot be called {name!r:.120}")
            if not isinstance(entry, dict):
                raise ConfigError(f"the score '{name}' has no 'value' and 'protocol'")
            found[name] = Score(**public(entry))
        except ConfigError as error:
            raise _malformed(source / bundle.METRICS, error) from None
    return found


def read(folder: Path, name: str, source: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file of a bundle; empty if there is no file.

    Raises:
        BundleError: If the file cannot be read or is no mapping; it names the one in ``source``.
    """
    try:
        value = bounded_json.read(folder / name, largest=_LARGEST)
        if not isinstance(value, dict):
            raise ValueError("it is not a mapping")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _malformed(source / name, error) from None
    return value


def _malformed(path: Path, error: Exception) -> BundleError:
    reason = str(error).rstrip(".")
    return BundleError(
        f"{path} cannot be used for the card ({reason}). Remove it, or copy the folder again."
    )


def _component(registry: Registry[Any], value: Any) -> tuple[Mapping[str, Any], Any]:
    """Options of a saved component, and its class; None if that is not installed."""
    options = {"name": value} if isinstance(value, str) else mapping(value)
    name, provider = options.get("name"), options.get("provider", "")
    if isinstance(name, str) and isinstance(provider, str):
        with contextlib.suppress(UnknownNameError, PluginError):
            return options, registry.get(name, provider=provider)
    return options, None


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}
