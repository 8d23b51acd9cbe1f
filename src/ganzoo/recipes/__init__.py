"""Recipes: settings that reproduce a known system, as YAML beside this file."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any, ClassVar

from pydantic import Field

from ganzoo.core.model import Model
from ganzoo.errors import ConfigError, UnknownNameError, did_you_mean, listing

__all__ = ["Recipe", "get", "names", "summary"]


class Recipe(Model):
    """Settings that reproduce a known system; what a caller gives on top of them wins.

    Attributes:
        name: What it is called.
        summary: One line on what it trains.
        about: What the system does and shows.
        settings: The settings, as a layer for ``resolve``.
        why: The reason for each setting that differs from what would hold without the recipe, by
            setting or by setting and option (``loss.noise``).
        parameters: Trained numbers of ``generator`` and ``discriminator``, where the data that
            the recipe names fix them.
        needs: What the caller has to give, by setting and option, and how.
    """

    error_label: ClassVar[str] = "The recipe"

    name: str
    summary: str
    about: str
    settings: dict[str, Any]
    why: dict[str, str]
    parameters: dict[str, int] = Field(default_factory=dict)
    needs: dict[str, str] = Field(default_factory=dict)

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuse settings that lack what the recipe cannot know.

        Raises:
            ConfigError: With what is needed and how to give it.
        """
        for place, how in self.needs.items():
            key, _, option = place.partition(".")
            value = settings.get(key)
            if not isinstance(value, Mapping) or value.get("name") != self.settings[key]["name"]:
                continue  # the caller has chosen another component
            if value.get(option) is None:
                raise ConfigError(f"The recipe '{self.name}' needs {how}.")


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def summary(name: str) -> str:
    """Return the recipe's one line, which its file begins with; the rest is not parsed."""
    with resources.files(__name__).joinpath(f"{name}.yaml").open(encoding="utf-8") as file:
        return file.readline().removeprefix("summary:").strip()


@functools.cache
def get(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UnknownNameError: If there is none.
    """
    import yaml

    if name not in names():
        raise UnknownNameError(
            f"Unknown recipe '{name}'.{did_you_mean(str(name), names())} "
            f"Available: {listing(names())}."
        )
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return Recipe(name=name, **yaml.safe_load(text))
