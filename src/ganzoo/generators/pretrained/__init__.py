"""Pretrained generators, listed in ``pretrained.yaml``; some are bundled in this folder.

A name is ``architecture.tag``. Loading one is ``Generator.from_pretrained``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from ganzoo.core.model import Model
from ganzoo.errors import ConfigError, UnknownNameError, did_you_mean, listing

__all__ = ["Pretrained", "Score", "bundled", "get", "names"]

_HERE = Path(__file__).parent


class Score(Model):
    """A number that says how good samples are, and the protocol that it takes to compare it."""

    error_label: ClassVar[str] = "The score"

    metric: str = Field(min_length=1)
    value: float
    protocol: str = Field(min_length=1)


def _bundled(value: Any) -> Any:
    """A folder next to ``pretrained.yaml``, by its name."""
    return _HERE / value if isinstance(value, str) else value


class Pretrained(Model):
    """A trained generator that ``Generator.from_pretrained`` finds by name, ``architecture.tag``.

    Attributes:
        name: ``architecture.tag``.
        summary: One line on what it makes.
        folder: The bundle, where it lies inside this package; it is loaded from there.
        repo_id: Where it lies on the Hub, if it does.
        revision: The commit there.
        license: SPDX identifier of the weights' licence.
        size: Bytes of the generator's weight file.
        scores: What has been measured; empty where nothing has.
    """

    error_label: ClassVar[str] = "The pretrained generator"

    name: str = Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")
    summary: str = Field(min_length=1)
    folder: Annotated[Path | None, BeforeValidator(_bundled)] = None
    repo_id: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    license: str = Field(min_length=1)
    size: int = Field(gt=0)
    scores: tuple[Score, ...] = ()

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.folder is None and self.repo_id is None:
            raise ConfigError(f"{self.error_label} '{self.name}' needs a folder or a repo_id.")
        if (self.repo_id is None) != (self.revision is None):
            raise ConfigError(
                f"{self.error_label} '{self.name}' needs a revision with its repo_id, so that it "
                f"stays what it is."
            )
        return self

    @property
    def architecture(self) -> str:
        """The architecture's name."""
        return self.name.partition(".")[0]

    @property
    def place(self) -> str:
        """Where it is loaded from: ``bundled``, or repository and commit."""
        return "bundled" if self.folder else f"{self.repo_id}@{self.revision}"


@functools.cache
def _entries() -> dict[str, dict[str, Any]]:
    import yaml

    text = (_HERE / "pretrained.yaml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return entries


def names() -> list[str]:
    """Return the names of all pretrained generators, sorted."""
    return sorted(_entries())


def bundled() -> list[str]:
    """Return the names of those that lie inside this package, sorted."""
    return [name for name in names() if get(name).folder]


@functools.cache
def get(name: str) -> Pretrained:
    """Return the pretrained generator of that name.

    Raises:
        UnknownNameError: If there is none.
    """
    if name not in _entries():
        raise UnknownNameError(
            f"Unknown pretrained generator '{name}'.{did_you_mean(str(name), names())} "
            f"Available: {listing(names())}."
        )
    return Pretrained(name=name, **_entries()[name])
