"""Command-line options made from models: a field is an option, a component's field a dotted one."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from cyclopts import App, Group, Parameter
from pydantic.fields import FieldInfo

from ganzoo import augmentations, recipes
from ganzoo.config import COMPONENTS, LISTS, TrainConfig, flag_of
from ganzoo.core.component import Component
from ganzoo.errors import ConfigError, did_you_mean, listing
from ganzoo.schedules.numbers import read_all

__all__ = [
    "Option",
    "application",
    "check_dotted",
    "nested",
    "repeated",
    "schedule_options",
    "setting_options",
    "switches",
]

_TRAINING = Group("Training", sort_key=1)
_NUMBER = re.compile(r"(\d+|\d*\.\d+)(e-?\d+)?")


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    Attributes:
        path: Where its value goes: ``(setting,)`` or ``(setting, option of its component)``.
        type: What it is parsed as.
        parameter: How cyclopts names, groups and explains it.
    """

    path: tuple[str, ...]
    type: Any
    parameter: Parameter


def setting_options(shown: Mapping[str, Any]) -> Iterator[Option]:
    """Yield the options of ``TrainConfig`` and of the components chosen.

    Args:
        shown: What every setting would be without options, to name it in the help.
    """
    for name, field in TrainConfig.model_fields.items():
        value, flag = shown[name], flag_of(name)
        if name in COMPONENTS:
            choice = f"{field.description} [{', '.join(COMPONENTS[name].names())}]"
            yield Option((name,), str, _parameter(flag, choice, value.name, _TRAINING))
            group = Group(f"{flag} {value.name}", sort_key=2)
            for option, inner in type(value).model_fields.items():
                default = getattr(value, option, None)
                yield _field_option((name, option), inner, default, group)
        elif name == "latent":
            group = Group("--latent", sort_key=2)
            for option, inner in type(value).model_fields.items():
                both = ["--latent"] if option == "shape" else []
                yield _field_option((name, option), inner, getattr(value, option), group, both)
        elif name == "recipe":
            choice = f"{field.description} [{', '.join(recipes.names())}]"
            yield Option((name,), str, _parameter(flag, choice, value, _TRAINING))
        else:
            yield _field_option((name,), field, value, _TRAINING)
            for path, component in _inside(name, value):
                group = Group(" ".join((flag_of(path[0]), component.name)), sort_key=2)
                for option, inner in type(component).model_fields.items():
                    default = getattr(component, option, None)
                    yield _field_option((*path, option), inner, default, group)


def _inside(name: str, value: Any) -> Iterator[tuple[tuple[str, ...], Component]]:
    """The components of a setting that holds one or several, and where their options go."""
    if name == "augmentation" and isinstance(value, Component):
        yield (name,), value
    elif name in LISTS:
        found = {each.name: each for each in value if isinstance(each, Component)}
        yield from (((name, each.name), each) for each in found.values())


def schedule_options(tokens: Sequence[str]) -> Iterator[Option]:
    """Yield an option for each ``--schedules.PATH`` of a line, whatever the path."""
    flags = dict.fromkeys(token.partition("=")[0] for token in tokens)
    for flag in flags:
        path = flag.removeprefix("--schedules.")
        if path == flag or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", path):
            continue
        first, *middle, last = path.split(".") if "." in path else (path, "")
        ends = [first.replace("-", "_"), *middle, last.replace("-", "_")]
        group = Group("--schedules", sort_key=2)
        place = ".".join(filter(None, ends))
        yield Option(("schedules", place), str, _parameter(flag, "schedule", None, group))


def switches(options: Iterable[Option]) -> set[str]:
    """Return the flags that take no value."""
    return {
        flag
        for option in options
        if option.type is bool
        for flag in (*(option.parameter.name or ()), *_several(option.parameter.negative))
    }


def _several(flags: Any) -> tuple[str, ...]:
    return (flags,) if isinstance(flags, str) else tuple(flags or ())


def check_dotted(tokens: Sequence[str], shown: Mapping[str, Any]) -> None:
    """Refuse dotted options that the chosen component does not have, by its name.

    Raises:
        ConfigError: With the options it has.
    """
    for token in tokens:
        setting, dot, option = token.partition("=")[0].removeprefix("--").partition(".")
        setting = setting.replace("-", "_")
        component = shown.get(setting)
        if token.startswith("--") and dot and setting in LISTS:
            name, _, option = option.rpartition(".")
            component = _one_of(setting, name or option, shown)
        if token.startswith("--") and dot and setting == "augmentation" and component is None:
            raise ConfigError(
                f"There is no augmentation here, whose option '{option}' could be set. Say "
                f"--augmentation NAME too ({listing(augmentations.names())})."
            )
        if not (token.startswith("--") and dot and isinstance(component, Component)):
            continue
        fields = [name.replace("_", "-") for name in type(component).model_fields]
        if option.removeprefix("no-") not in fields:
            raise ConfigError(
                f"{component.kind.capitalize()} '{component.name}' has no option '{option}'."
                f"{did_you_mean(option, fields)} Options: {listing(sorted(fields))}."
                f"{_of_others(component, setting, option)}"
            )


def _one_of(setting: str, name: str, shown: Mapping[str, Any]) -> Component:
    """The component of that name among several.

    Raises:
        ConfigError: If it is not there.
    """
    found = {each.name: each for each in shown[setting] if isinstance(each, Component)}
    if name in found:
        return found[name]
    here = f"only {listing(sorted(found))}" if found else "none at all"
    known = LISTS[setting].names()
    way = f" Say --{setting} {','.join([*found, name])} too."
    if name not in known:
        way = f"{did_you_mean(name, [*found, *known])} Give one of: {listing(known)}."
    raise ConfigError(f"'{name}' is not among the {setting} here, where there is {here}.{way}")


def _of_others(component: Component, setting: str, option: str) -> str:
    """Say which other components of the kind have an option."""
    if setting not in COMPONENTS:
        return ""
    registry = COMPONENTS[setting]
    name = option.replace("-", "_")
    having = [
        entry.name
        for entry, error in registry.check()
        if error is None and entry.listed and name in registry.get(entry.name).model_fields
    ]
    if not having or component.name in having:
        return ""
    return (
        f" It is an option of {listing(having)}: say {flag_of(setting)} {having[0]} too, for one."
    )


def application(
    name: str, summary: str, options: Sequence[Option], execute: Callable[..., None]
) -> App:
    """Return an application with one command that takes these options, the first by position too.

    Args:
        name: How its help calls it.
        summary: What it does.
        options: What it takes.
        execute: Called with ``{path: value}`` of the options that were given.
    """
    keys = {_key(option): option.path for option in options}

    def command(*positional: Any, **given: Any) -> None:
        given.update(zip(keys, positional, strict=False))
        execute({keys[key]: value for key, value in given.items() if value is not None})

    parameters = [
        inspect.Parameter(
            _key(option),
            inspect.Parameter.KEYWORD_ONLY if index else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[option.type | None, option.parameter],
        )
        for index, option in enumerate(options)
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    app = App(name=name, help=summary, version_flags=(), help_format="plaintext")
    app.default(command)
    return app


def _key(option: Option) -> str:
    """A Python name for an option."""
    return re.sub(r"[.-]", "__", "__".join(option.path))


def repeated(tokens: Sequence[str], options: Sequence[Option]) -> list[str]:
    """Return a line with ``--size 48 96`` as ``--size 48 --size 96``, which the parser takes.

    Only numbers are taken for further values: the architecture's name may follow them.
    """
    lists = [option for option in options if get_args(option.type)[1:] == (...,)]
    flags = {flag for option in lists for flag in option.parameter.name or ()}
    line: list[str] = []
    flag = ""
    for token in tokens:
        if token in flags:
            flag = token
        elif flag and line[-1] != flag:
            if _NUMBER.fullmatch(token):
                line.append(flag)
            else:
                flag = ""
        line.append(token)
    return line


def nested(
    values: Mapping[tuple[str, ...], Any], shown: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return values by path as a layer of settings for ``resolve``.

    Args:
        values: What the line gives.
        shown: What every setting would be without the options of components.
    """
    from ganzoo.datasets import as_dataset

    settings: dict[str, Any] = {}
    for path in sorted(values, key=len):  # a component's name first, then its options
        value = values[path]
        if path[0] in LISTS and len(path) == 3 and shown is not None:
            chosen = settings.get(path[0])  # a list once an option has changed one of them
            several = chosen if isinstance(chosen, list) else shown[path[0]]
            settings[path[0]] = _with_option(several, path[1], {path[2]: value})
            continue
        if path[0] == "augmentation" and len(path) == 2 and shown is not None:
            given = {each[1]: values[each] for each in values if each[:1] == path[:1] and each[1:]}
            settings["augmentation"] = _changed(shown["augmentation"], given)
            continue
        if len(path) == 2:
            settings.setdefault(path[0], {})[path[1]] = value
            continue
        if path == ("schedules",):
            value = read_all(value)
        if path == ("dataset",):
            value = as_dataset(value)
        if path[0] in COMPONENTS and isinstance(value, str):
            value = {"name": value}
        settings[path[0]] = value
    return settings


def _with_option(
    several: Sequence[Component | Mapping[str, Any]], name: str, option: Mapping[str, Any]
) -> list[Any]:
    """Several components, one of which has another option."""
    return [_changed(each, option) if _name(each) == name else each for each in several]


def _name(component: Component | Mapping[str, Any]) -> str:
    return str(component["name"]) if isinstance(component, Mapping) else component.name


def _changed(component: Component | Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """A component as a mapping, with other options; what it lacks is asked for afterwards."""
    if isinstance(component, Component):
        given = {key: getattr(component, key) for key in component.model_fields_set}
        component = {"name": component.name, **given}
    return {**component, **options}


def _field_option(
    path: tuple[str, ...],
    field: FieldInfo,
    default: Any,
    group: Group,
    more_flags: Sequence[str] = (),
) -> Option:
    kind = _plain(field.annotation)
    if path[-1] == "size" and get_origin(kind) is tuple:
        kind = tuple[int, ...]  # one side or two
    elif path == ("trackers",):
        kind = tuple[str, ...]  # by name
    elif path in (("metrics",), ("penalties",), ("augmentation",), ("schedules",)):
        kind = str  # likewise, several with commas (schedules: semicolons) between
    negative = flag_of(*path[:-1], f"no-{path[-1]}") if kind is bool else ()
    flags = [flag_of(*path), *more_flags]
    parameter = _parameter(flags, field.description or "", default, group, negative)
    return Option(path, kind, parameter)


def _parameter(
    flags: str | list[str],
    text: str,
    default: Any,
    group: Group,
    negative: str | tuple[str, ...] = (),
) -> Parameter:
    if isinstance(default, Component):
        default = default.name
    elif isinstance(default, Mapping):
        default = ", ".join(default)  # the paths of schedules
    several = isinstance(default, (tuple, list))  # a list where it is from a file or a recipe
    if several and any(isinstance(each, Component) for each in default):
        default = [",".join(each.name for each in default if isinstance(each, Component))]
    shown = " ".join(map(str, default)) if several else str(default)
    known = default is not None and shown != ""
    return Parameter(
        name=flags,
        help=text,
        group=group,
        negative=negative,
        show_default=(lambda _: shown) if known else False,
    )


def _plain(annotation: Any) -> Any:
    """The type without ``None`` and without constraints, which pydantic checks later."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return str  # by its name
    if origin in (Union, types.UnionType):
        types_ = tuple(_plain(argument) for argument in arguments if argument is not type(None))
        return Union[types_]  # noqa: UP007 - made from a list
    if origin is tuple:
        items = tuple(item if item is ... else _plain(item) for item in arguments)
        return types.GenericAlias(tuple, items)
    return annotation
