"""Named components: built in, registered in code, or found in installed plug-ins."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ganzoo._version import __version__
from ganzoo.core.class_source import definition
from ganzoo.core.component import RESERVED, Component, shadowed
from ganzoo.errors import (
    ConfigError,
    PluginError,
    RegistrationError,
    UnknownNameError,
    did_you_mean,
    listing,
    quoted,
)

__all__ = ["Entry", "Registry", "plugins_disabled"]

T = TypeVar("T", bound=Component)
_NAME = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_OWN = "ganzoo"
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508
_MODULE = re.compile(r"\w+(?:\.\w+)*")


def plugins_disabled() -> bool:
    """Whether the environment variable ``GANZOO_DISABLE_PLUGINS`` turns discovery off."""
    return os.environ.get("GANZOO_DISABLE_PLUGINS", "0").lower() not in ("", "0", "false", "no")


@dataclass(frozen=True)
class Entry:
    """One thing that a registry can give, known without importing it."""

    name: str
    distribution: str
    """Name of the distribution that provides it; for registrations in code, their module."""
    version: str
    """Version of the distribution; empty for registrations in code."""
    target: str
    """``module:attribute``."""
    text: str = field(default="", compare=False, repr=False)
    load: Callable[[], Any] = field(default=lambda: None, compare=False, repr=False)
    listed: bool = field(default=True, compare=False, repr=False)
    """Whether listings show it: what only files name is found by its name all the same."""

    @property
    def summary(self) -> str:
        """One line on what it is or what its package is, found without importing it."""
        return (
            _first_line(definition(self.target).docstring)
            if self.distribution == _OWN
            else self.text
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """What there is to say of it without importing it: on the class, and on its package."""
        is_plugin = self.distribution != _OWN and self.version != ""
        own = _first_line(definition(self.target).docstring) if is_plugin else self.summary
        return tuple(line for line in (own, self.text if is_plugin else "") if line)

    @property
    def provider(self) -> str:
        """Distribution and version, such as ``ganzoo-foo 0.3``."""
        return f"{self.distribution} {self.version}".strip()


class Registry(Generic[T]):
    """All components of one kind, by name.

    Args:
        base: Class that every component of this kind derives from; its ``kind`` names it.
        group: Entry-point group of plug-ins, such as ``ganzoo.losses``.
        builtins: Table name -> ``module:attribute``; a module is imported on first use.
        unlisted: Built-ins that no person asks for by name.
        synonyms: What papers and other programs call some of them; only hints know them.
        deprecated: Former names and their successors; a former name warns, and still works.
    """

    def __init__(
        self,
        base: type[T],
        group: str,
        builtins: Mapping[str, str],
        unlisted: frozenset[str] = frozenset(),
        synonyms: Mapping[str, str] | None = None,
        deprecated: Mapping[str, str] | None = None,
    ) -> None:
        self.base = base
        self.group = group
        self._builtins = dict(builtins)
        self._unlisted = unlisted
        self.synonyms = dict(synonyms or {})
        self.deprecated = dict(deprecated or {})
        self._registered: dict[str, Entry] = {}
        self._classes: dict[tuple[str, str], type[T]] = {}

    def __repr__(self) -> str:
        return f"Registry({self.group}: {listing(self.names())})"

    # -- looking up ---------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return all names, sorted. Nothing is imported."""
        return sorted({self.address(entry) for entry in self.entries() if entry.listed})

    def variants(self) -> dict[str, str]:
        """Return the component that each named variant is of, sorted. Nothing is imported."""
        found: dict[str, str] = {}
        for entry in filter(lambda entry: entry.listed, self.entries()):
            cls = self._classes.get((entry.distribution, entry.name))
            names = cls.variants if cls else definition(entry.target).variants
            address = self.address(entry)
            found |= {address.removesuffix(entry.name) + name: address for name in names}
        return dict(sorted(found.items()))

    def entries(self) -> list[Entry]:
        """Return what there is and who provides it, built-ins first. Nothing is imported."""
        own = [self._builtin(name) for name in sorted(self._builtins)]
        code = [self._registered[name] for name in sorted(self._registered)]
        return [*own, *code, *self._plugins()]

    def get(self, name: str, *, provider: str = "") -> type[T]:
        """Return the component class of that name, importing it on first use.

        Args:
            name: ``name``, or ``distribution:name`` where several provide it; of a variant, the
                class that it is a variant of.
            provider: Who provided it when a file was saved; another's namesake is not taken.

        Raises:
            UnknownNameError: If nothing has that name.
            PluginError: If its plug-in is missing, ambiguous or broken.
        """
        return self._resolved(name, provider)[0]

    def resolve(self, value: str | Mapping[str, Any], /) -> tuple[type[T], dict[str, Any]]:
        """Return the class and options that a name, or a mapping with ``name``, stands for.

        The options of a variant lie below those of the mapping.

        Raises:
            UnknownNameError, PluginError: As ``get``.
            ConfigError: If the mapping has no name.
        """
        if isinstance(value, str):
            return self._resolved(value, "")
        if not isinstance(value.get("name"), str):
            raise ConfigError(
                f"{_article(self.base.kind)} given as a mapping needs its 'name', which "
                f"{quoted(dict(value))} lacks. Available: {listing(self.names())}."
            )
        cls, options = self._resolved(value["name"], str(value.get("provider", "")))
        chosen = {str(key): item for key, item in value.items() if key not in RESERVED}
        return cls, {**options, **chosen}

    def create(self, value: Any, /, **options: Any) -> T:
        """Return a component from a name, a mapping with ``name``, a class or a component.

        Raises:
            UnknownNameError: If the name is not known.
            ConfigError: If an option does not exist or has a wrong value.
            PluginError: If the plug-in that provides it cannot be used.
            RegistrationError: If it is a class that breaks the contract.
        """
        kind = self.base.kind
        if isinstance(value, self.base):
            _check_class(self.base, type(value), type(value).__name__)
            self._recognise(type(value))
            return value.replace(**options) if options else value
        if isinstance(value, type) and issubclass(value, self.base):
            _check_class(self.base, value, value.__name__)
            self._recognise(value)
            return value(**options)
        if isinstance(value, (str, Mapping)):
            cls, chosen = self.resolve(value)
            return cls(**{**chosen, **options})
        raise ConfigError(
            f"{_article(kind)} is a name, a mapping with 'name', or a component of class "
            f"{self.base.__name__}; got {getattr(value, '__name__', type(value).__name__)}. "
            f"Available: {listing(self.names())}."
        )

    def check(self) -> Iterator[tuple[Entry, Exception | None]]:
        """Import everything; yield each entry with the error that using it would raise."""
        for entry in self.entries():
            try:
                self._class(entry)
            except Exception as error:
                yield entry, error
            else:
                yield entry, None

    # -- registering --------------------------------------------------------------------------

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Register the decorated class under ``name``.

        Registering the same class again does nothing, and the same definition run again, as in a
        notebook, replaces itself. A class that an installed plug-in declares as an entry point of
        this name belongs to the plug-in; decorating it as well changes nothing.

        Raises:
            RegistrationError: If the name is not plain, is taken by another class, or the class
                is not a complete component of this kind.
        """
        self._check_name(name)

        def decorate(cls: type[T]) -> type[T]:
            _check_class(self.base, cls, f"'{name}'")
            target = _target(cls)
            holders = [entry for entry in self.entries() if entry.name == name]
            own = [entry for entry in holders if _stands_for(entry, target)]
            if holders and not own:
                raise RegistrationError(
                    f"The {self.base.kind} name '{name}' is already taken by {holders[0].target} "
                    f"({holders[0].provider}); {target} needs another name."
                )
            _check_variants(cls, name)
            if own and name not in self._registered:
                return self._named(cls, own[0])  # built in or a plug-in's: that entry loads it
            entry = Entry(name, cls.__module__, "", target, _first_line(cls.__doc__), lambda: cls)
            self._classes[entry.distribution, name] = self._named(cls, entry)
            self._registered[name] = entry
            return cls

        return decorate

    def unregister(self, name: str) -> None:
        """Forget a class registered in code; built-ins and plug-ins stay.

        Raises:
            UnknownNameError: If no class was registered in code under that name.
        """
        if name not in self._registered:
            raise UnknownNameError(f"No {self.base.kind} '{name}' was registered in code.")
        entry = self._registered.pop(name)
        self._classes.pop((entry.distribution, name), None)

    # -- inside -------------------------------------------------------------------------------

    def _builtin(self, name: str) -> Entry:
        target, listed = self._builtins[name], name not in self._unlisted
        load = functools.partial(_import, target)
        return Entry(name, _OWN, __version__, target, load=load, listed=listed)

    def _plugins(self) -> list[Entry]:
        if plugins_disabled():
            return []
        return [
            Entry(*row, functools.partial(_import, row[3])) for row in _entry_points(self.group)
        ]

    def address(self, entry: Entry) -> str:
        """Return what names the entry: its name where it is unique, else ``distribution:name``."""
        if entry.distribution == _OWN:
            return entry.name
        same = {other.distribution for other in self.entries() if other.name == entry.name}
        return entry.name if same <= {entry.distribution} else f"{entry.distribution}:{entry.name}"

    def _resolved(self, name: str, provider: str) -> tuple[type[T], dict[str, Any]]:
        """The class of a name, and the options if it is that of a variant."""
        if name in self.deprecated:
            new = self.deprecated[name]
            warnings.warn(
                f"The {self.base.kind} '{name}' is now called '{new}'. Use the new name: the "
                f"former one will go.",
                FutureWarning,
                stacklevel=4,
            )
            name = new
        known = {entry.name for entry in self.entries()}
        plain, base = name.rpartition(":")[2], name
        while plain not in known and "_" in base.rpartition(":")[2]:
            base = base.rpartition("_")[0]
            if base.rpartition(":")[2] in known:
                cls = self._class(self._find(base, provider))
                if plain in cls.variants:
                    return cls, dict(cls.variants[plain])
        return self._class(self._find(name, provider)), {}

    def _find(self, name: str, provider: str) -> Entry:
        distribution, _, plain = name.rpartition(":")
        found = [entry for entry in self.entries() if entry.name == plain]
        if distribution:
            found = [entry for entry in found if _same(entry.distribution, distribution)]
        if provider:
            found = _of_provider(found, provider)
        own = [entry for entry in found if entry.distribution == _OWN]
        if own or len(found) == 1:
            return (own or found)[0]
        kind = self.base.kind
        if found:
            providers = listing(entry.provider for entry in found)
            addresses = listing(f"'{entry.distribution}:{plain}'" for entry in found)
            raise PluginError(
                f"The {kind} '{name}' is provided by several: {providers}. "
                f"Say which one: {addresses}."
            )
        if provider:
            raise PluginError(self._missing(name, provider))
        names = self.names()
        off = " Plug-ins are off: GANZOO_DISABLE_PLUGINS is set." if plugins_disabled() else ""
        raise UnknownNameError(
            f"Unknown {kind} '{name}'."
            f"{did_you_mean(name, [*names, *self.variants()], self.synonyms)} "
            f"Available: {listing(names)}.{off}"
        )

    def _missing(self, name: str, provider: str) -> str:
        """Say what is missing: only by the word of a file, so no message may be a command."""
        distribution, _, version = provider.partition(" ")
        lead = f"The {self.base.kind} '{name}'"
        if not version and _MODULE.fullmatch(distribution):
            return (
                f"{lead} says that it was registered by code in the module '{distribution}': if "
                f"that is your own, run or import it first."
            )
        if not _PACKAGE.fullmatch(distribution) or not _is_version(version):
            return (
                f"{lead} says that it comes from {quoted(provider)}, which names no package: the "
                f"file was damaged or made by hand. Get another copy of it."
            )
        lead = f"{lead} says that it comes from the package '{distribution}' {version}"
        if plugins_disabled():
            return (
                f"{lead}, but GANZOO_DISABLE_PLUGINS turns plug-ins off; unset it if you trust the "
                f"package."
            )
        try:
            installed = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return (
                f"{lead}, which is not installed. Only the file says so: look at it on PyPI "
                f"before you install it."
            )
        return (
            f"{lead}, but the installed {installed} does not provide it. If it is a plug-in of "
            f"ganzoo's that you trust, another version of it may."
        )

    def _class(self, entry: Entry) -> type[T]:
        key = (entry.distribution, entry.name)
        if key not in self._classes:
            self._classes[key] = self._load(entry)
        return self._classes[key]

    def _load(self, entry: Entry) -> type[T]:
        try:
            self._check_name(entry.name)
            cls = entry.load()
            _check_class(self.base, cls, f"'{entry.name}'")
            _check_variants(cls, entry.name)
            return self._named(cls, entry)
        except (Exception, SystemExit) as error:  # a module may even try to end the process
            remedy = "Reinstall" if entry.distribution == _OWN else "Upgrade or remove"
            raise PluginError(
                f"The {self.base.kind} '{entry.name}' of {entry.provider} cannot be loaded "
                f"from {entry.target} ({type(error).__name__}: {error}). "
                f"{remedy} {entry.distribution}."
            ) from error

    def _named(self, cls: type[T], entry: Entry) -> type[T]:
        """Write onto the class what saves it; one that already has a name keeps it."""
        if cls in self._classes.values():
            return cls
        if entry.distribution != _OWN and _target(cls) in self._builtins.values():
            raise RegistrationError(
                f"{_target(cls)} is ganzoo's own and keeps its name; derive a class from it to "
                f"call it '{entry.name}'."
            )
        cls.name = self.address(entry)
        cls.provider = "" if entry.distribution == _OWN else entry.provider
        return cls

    def _recognise(self, cls: type[T]) -> None:
        """Name a class that the caller imported directly instead of asking for it by name."""
        if cls in self._classes.values():
            return
        for entry in self.entries():
            if _stands_for(entry, _target(cls)):
                with contextlib.suppress(PluginError):  # something else of that plug-in is broken
                    self._class(entry)

    def _check_name(self, name: Any) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise RegistrationError(
                f"{name!r} cannot name a {self.base.kind}: use lower-case letters and digits, "
                f"joined by '-', '_' or '.'."
            )


@functools.cache
def _entry_points(group: str) -> tuple[tuple[str, str, str, str, str], ...]:
    """Name, distribution, version, target and summary of a group's entry points."""
    found: dict[tuple[str, str], tuple[str, str, str, str, str]] = {}
    for point in importlib.metadata.entry_points(group=group):
        about: Any = point.dist.metadata if point.dist else {}
        owner, version, summary = (
            about[key] if key in about else default  # noqa: SIM401 - metadata lacks get() in types
            for key, default in (("Name", "unknown"), ("Version", "0"), ("Summary", ""))
        )
        target = re.sub(r"\s|\[.*", "", point.value)  # without extras
        # A distribution seen twice on sys.path counts once: the first one is what imports.
        found.setdefault(
            (point.name, _canonical(owner)), (point.name, owner, version, target, summary)
        )
    return tuple(found[key] for key in sorted(found))


def _check_variants(cls: type[Component], name: str) -> None:
    if "variants" not in vars(cls):  # a subclass does not inherit the names of its base
        cls.variants = {}
    for variant, options in cls.variants.items():
        if not variant.startswith(f"{name}_"):
            raise RegistrationError(
                f"'{name}' has a variant '{variant}', which must be called '{name}_...'."
            )
        if unknown := set(options) - set(cls.model_fields):
            raise RegistrationError(
                f"The variant '{variant}' of '{name}' has an option '{min(unknown)}', which "
                f"'{name}' lacks. Options: {listing(sorted(cls.model_fields))}."
            )


def _check_class(base: type[Component], cls: Any, what: str) -> None:
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise RegistrationError(
            f"{what} is no {base.kind}: {cls!r} must be a subclass of {base.__name__}."
        )
    if missing := sorted(cls.__abstractmethods__):
        raise RegistrationError(
            f"{what} is incomplete: {cls.__name__} must define {listing(missing)}."
        )
    if taken := RESERVED & set(cls.model_fields):
        raise RegistrationError(
            f"{what} has an option called '{min(taken)}', which is reserved; rename it."
        )
    if hidden := shadowed(cls):
        option, owner = next(iter(hidden.items()))
        raise RegistrationError(
            f"{what} has an option called '{option}', which hides the member '{option}' of "
            f"{owner.__name__}; rename the option"
            + (
                f", or write '{option}: ClassVar = ...' to set the member."
                if not callable(getattr(owner, option, None))
                else "."
            )
        )


def _of_provider(entries: list[Entry], provider: str) -> list[Entry]:
    """Those that a file saved with this provider can mean.

    Another distribution's namesake is another thing. A class that was registered in code, though,
    may have moved since, from a notebook into a module or a plug-in.
    """
    owner, _, version = provider.partition(" ")
    same = [entry for entry in entries if _same(entry.distribution, owner)]
    if same or version:
        return same
    return [entry for entry in entries if entry.distribution != _OWN]


def _stands_for(entry: Entry, target: str) -> bool:
    """Whether the entry gives the class defined at ``target``.

    A plug-in's entry point may export a class from another module than the one that defines it.
    """
    is_plugin = entry.distribution != _OWN and entry.version != ""
    return entry.target == target or (is_plugin and _root(entry.target) == _root(target))


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _same(distribution: str, other: str) -> bool:
    return _canonical(distribution) == _canonical(other)


def _is_version(text: str) -> bool:
    from packaging.version import Version

    try:
        return text == text.strip() and bool(str(Version(text)))
    except ValueError:  # which InvalidVersion is, and what numbers of too many digits raise
        return False


def _import(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))


def _target(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _root(target: str) -> str:
    return re.split(r"[.:]", target)[0]


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _article(noun: str) -> str:
    return f"{'An' if noun[0] in 'aeiou' else 'A'} {noun}"
