"""``ganzoo list`` and ``ganzoo show``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo import architectures, recipes
from ganzoo.errors import (
    ConfigError,
    PluginError,
    UnknownNameError,
    did_you_mean,
    listing,
    plain,
)
from ganzoo.files import bounded_json
from ganzoo.generators import pretrained

if TYPE_CHECKING:
    from pathlib import Path

    from ganzoo.core.component import Component
    from ganzoo.core.registry import Registry

__all__ = ["KINDS", "list_", "show"]

KINDS = (
    "architectures",
    "losses",
    "penalties",
    "augmentations",
    "averages",
    "datasets",
    "optimizers",
    "schedules",
    "trackers",
    "metrics",
    "features",
)
Switch = Annotated[bool, Parameter(negative=())]


def list_(kind: str | None = None, /, *, check: Switch = False, online: Switch = False) -> None:
    """List what is in the zoo, plug-ins included.

    Args:
        kind: pretrained, recipes, architectures, losses, penalties, augmentations, averages,
            datasets, optimizers, schedules, trackers, metrics or features; all of them by default
        check: import everything and say what is broken
        online: with the pretrained generators, also those on the Hugging Face Hub
    """
    console = Console(highlight=False)
    broken = 0
    if online and kind not in (None, "pretrained"):
        raise ConfigError(f"There are no {kind} on the Hub: --online is for 'pretrained'.")
    for name in _kinds(kind):
        if name == "pretrained":
            _list_pretrained(console, online)
            continue
        if name == "recipes":
            _list_recipes(console)
            continue
        registry = _registry(name)
        rows = registry.check() if check else ((entry, None) for entry in registry.entries())
        table = Table("name", "from", "", box=None, header_style="bold", pad_edge=False)
        for entry, fault in rows:
            if not entry.listed:
                continue
            broken += fault is not None
            note = (
                Text(" ").join(
                    Text(line.replace("``", ""), style="dim" if number else "")
                    for number, line in enumerate(entry.lines)
                )
                if fault is None
                else Text(f"broken: {fault}", style="red")
            )
            table.add_row(Text(registry.address(entry)), Text(entry.provider, style="dim"), note)
        for variant, base in registry.variants().items():
            table.add_row(Text(variant), "", Text(f"variant of {base}", style="dim"))
        if not table.rows and kind is None:  # a kind that only plug-ins have
            continue
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
    found: list[Callable[[], None]] = []
    everything: list[str] = []
    synonyms: dict[str, str] = {}
    for group in _kinds(kind):
        if group == "pretrained":
            everything += pretrained.names()
            if name in pretrained.names():
                found.append(partial(_describe_pretrained, console, pretrained.get(name)))
            continue
        if group == "recipes":
            everything += recipes.names()
            if name in recipes.names():
                found.append(partial(_describe_recipe, console, recipes.get(name)))
            continue
        registry = _registry(group)
        everything += [*registry.names(), *registry.variants()]
        synonyms |= registry.synonyms
        try:
            component = registry.get(name)
        except UnknownNameError:
            continue
        found.append(partial(_describe, console, group, component))
    if not found:
        where = kind or "the zoo"
        raise UnknownNameError(
            f"Nothing in {where} is called '{name}'.{did_you_mean(name, everything, synonyms)} "
            f"There is: {listing(sorted(set(everything)))}."
        )
    for number, describe in enumerate(found):
        if number:
            console.print()
        describe()


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
    if component.variants:
        console.print("\nVariants:")
        for variant, options in component.variants.items():
            text = ", ".join(f"{option} {worded(value)}" for option, value in options.items())
            console.print(f"  {variant}: {text}", markup=False)
    if component.recommended:
        console.print("\nRecommended with it:")
        for key, value in component.recommended.items():
            console.print(f"  {key}: {value}", markup=False)
    if group == "architectures":
        console.print(f"\nTrain it: ganzoo train {component.name}", markup=False)


def _list_pretrained(console: Console, online: bool) -> None:
    rows = [
        (one.name, one.architecture, _bytes(one.size), one.license, _scores(one), one.place)
        for one in map(pretrained.get, pretrained.names())
    ]
    _print_generators(console, "pretrained", rows)
    if online:
        from ganzoo.generators import hub

        known = architectures.names()
        rows = [
            (
                one.repo_id,
                next((tag for tag in one.tags if tag in known), "?"),
                _bytes(one.size),
                one.license or "unknown",
                "on its card",
                one.revision[:7],
            )
            for one in hub.published()
        ]
        _print_generators(console, "on the Hugging Face Hub", rows)


def _print_generators(console: Console, title: str, rows: Sequence[tuple[str, ...]]) -> None:
    head = ("name", "architecture", "size", "licence", "scores", "from")
    table = Table(*head, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        *most, last = map(plain, row)  # anyone may have written those of the Hub
        table.add_row(*map(Text, most), Text(last, style="dim"))
    console.print(Text(title, style="bold"))
    console.print(table if rows else "none")
    console.print()


def _describe_pretrained(console: Console, one: pretrained.Pretrained) -> None:
    console.print(Text.assemble((one.name, "bold"), f"  pretrained, {one.place}"))
    console.print(one.summary[0].upper() + one.summary[1:] + ".\n", markup=False)
    rows = _content(one.folder) if one.folder else [("architecture", one.architecture)]
    rows += [("weights", f"{_bytes(one.size)}, under {one.license}"), ("scores", _scores(one))]
    table = Table("", "", box=None, show_header=False, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    if one.folder:
        record = bounded_json.read(one.folder / "training.json")
        console.print(f"\nTrained by: {record['command']}", markup=False)
    console.print(f"\nSample it: ganzoo sample {one.name}", markup=False)


def _content(folder: Path) -> list[tuple[str, str]]:
    """What the configuration of a bundle says of it; without torch, for it takes seconds."""
    config = bounded_json.read(folder / "config.json")
    training = config["training"]
    dataset, loss = training["dataset"]["name"], worded(training["loss"])
    low, high = config["sample"]["value_range"]
    preprocessing = config["preprocessing"]
    shape = [config["sample"]["shape"][0], *preprocessing["original_size"]]
    how = f"{training['steps']:,} steps of {training['batch_size']} with {loss}"
    return [
        ("architecture", worded(config["architecture"])),
        ("samples", f"{'x'.join(map(str, shape))} in [{low:g}, {high:g}]"),
        ("latent", f"{worded(config['latent']['shape'])}, {config['latent']['distribution']}"),
        ("trained on", f"{dataset} ({training['data_license']})"),
        ("training", how),
    ]


def _scores(one: pretrained.Pretrained) -> str:
    if not one.scores:
        return "none yet"
    return "; ".join(f"{score.metric} {score.value:g} ({score.protocol})" for score in one.scores)


def _bytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e6:.1f} MB"


def _list_recipes(console: Console) -> None:
    table = Table("name", "", box=None, header_style="bold", pad_edge=False)
    for name in recipes.names():
        table.add_row(Text(name), Text(recipes.summary(name)))
    console.print(Text("recipes", style="bold"))
    console.print(table)
    console.print()


def _describe_recipe(console: Console, recipe: recipes.Recipe) -> None:
    from ganzoo.config import differences

    console.print(Text.assemble((recipe.name, "bold"), "  recipe from ganzoo"))
    console.print(f"{recipe.summary}\n\n{recipe.about}", markup=False)
    counts = [f"{net} {count:,}" for net, count in recipe.parameters.items()]
    console.print(f"\nParameters: {', '.join(counts)}\n", markup=False)
    table = Table("setting", "here", "otherwise", "why", box=None, header_style="bold")
    for place, value, other, why in differences(recipe.name):
        table.add_row(Text(place), Text(worded(value)), Text(worded(other)), Text(why))
    console.print(table)
    more = " --dataset PATH" if recipe.needs else ""
    console.print(f"\nTrain it: ganzoo train --recipe {recipe.name}{more}", markup=False)


def worded(value: Any) -> str:
    """Return a setting's value as the command line takes it, a component with its options."""
    if isinstance(value, Mapping):
        options = [f"{key} {worded(item)}" for key, item in value.items() if key != "name"]
        if "name" not in value:
            return ", ".join(options) or "none"
        return f"{value['name']}" + (f" with {', '.join(options)}" if options else "")
    if isinstance(value, (tuple, list)):
        return " ".join(map(worded, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kinds(kind: str | None) -> tuple[str, ...]:
    kinds = ("pretrained", "recipes", *KINDS)
    if kind is None:
        return kinds
    if kind not in kinds:
        raise ConfigError(
            f"Unknown kind '{kind}'.{did_you_mean(kind, kinds)} Kinds: {listing(kinds)}."
        )
    return (kind,)


def _registry(kind: str) -> Registry[Any]:
    registry: Registry[Any] = importlib.import_module(f"ganzoo.{kind}").registry
    return registry
