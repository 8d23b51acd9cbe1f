"""``ganzoo list`` and ``ganzoo show``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo.errors import ConfigError, PluginError, UnknownNameError, did_you_mean, listing

if TYPE_CHECKING:
    from ganzoo.component import Component
    from ganzoo.registry import Registry

__all__ = ["KINDS", "list_", "show"]

KINDS = ("architectures", "losses", "datasets", "optimizers", "schedules")
Switch = Annotated[bool, Parameter(negative=())]


def list_(kind: str | None = None, /, *, check: Switch = False) -> None:
    """List what is in the zoo, plug-ins included.

    Args:
        kind: architectures, losses, datasets, optimizers or schedules; all of them by default
        check: import everything and say what is broken
    """
    console = Console(highlight=False)
    broken = 0
    for name in _kinds(kind):
        registry = _registry(name)
        rows = registry.check() if check else ((entry, None) for entry in registry.entries())
        table = Table("name", "from", "", box=None, header_style="bold", pad_edge=False)
        for entry, fault in rows:
            if not entry.listed:
                continue
            broken += fault is not None
            note = (
                Text(entry.summary.replace("``", ""))
                if fault is None
                else Text(f"broken: {fault}", style="red")
            )
            table.add_row(Text(registry.address(entry)), Text(entry.provider, style="dim"), note)
        console.print(Text(name, style="bold"))
        console.print(table)
        console.print()
    if broken:
        raise PluginError(
            f"{broken} of the above cannot be used; upgrade or remove what is broken."
        )


def show(name: str, /, *, kind: str | None = None) -> None:
    """Describe one thing in the zoo: what it is, where it comes from, its options.

    Args:
        name: as ``ganzoo list`` shows it
        kind: where several kinds know the name
    """
    console = Console(highlight=False, soft_wrap=True)
    found = []
    everything: list[str] = []
    for group in _kinds(kind):
        registry = _registry(group)
        everything += registry.names()
        try:
            found.append((group, registry.get(name)))
        except UnknownNameError:
            continue
    if not found:
        where = kind or "the zoo"
        raise UnknownNameError(
            f"Nothing in {where} is called '{name}'.{did_you_mean(name, everything)} "
            f"There is: {listing(sorted(set(everything)))}."
        )
    for group, component in found:
        _describe(console, group, component)


def _describe(console: Console, group: str, component: type[Component]) -> None:
    from inspect import cleandoc

    provider = component.provider or "ganzoo"
    console.print(Text.assemble((component.name, "bold"), f"  {component.kind} from {provider}"))
    console.print(cleandoc(component.__doc__ or ""), markup=False)
    if component.citation:
        console.print(f"\nSource: {component.citation}", markup=False)
    fields = component.model_fields
    if fields:
        table = Table("option", "default", "", box=None, header_style="bold", pad_edge=False)
        for option, field in fields.items():
            default = "required" if field.is_required() else str(field.get_default())
            table.add_row(Text(option), Text(default), Text(field.description or ""))
        console.print()
        console.print(table)
    if component.recommended:
        console.print("\nRecommended with it:")
        for key, value in component.recommended.items():
            console.print(f"  {key}: {value}", markup=False)
    if group == "architectures":
        console.print(f"\nTrain it: ganzoo train {component.name}", markup=False)


def _kinds(kind: str | None) -> tuple[str, ...]:
    if kind is None:
        return KINDS
    if kind not in KINDS:
        raise ConfigError(
            f"Unknown kind '{kind}'.{did_you_mean(kind, KINDS)} Kinds: {listing(KINDS)}."
        )
    return (kind,)


def _registry(kind: str) -> Registry[Any]:
    registry: Registry[Any] = importlib.import_module(f"ganzoo.{kind}").registry
    return registry
