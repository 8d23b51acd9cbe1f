"""What the source of a class says, read without importing anything."""

from __future__ import annotations

import ast
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Definition", "definition"]


@dataclass(frozen=True)
class Definition:
    """What a module's source says of a name.

    Attributes:
        docstring: Of a class; None where the name is imported from elsewhere.
        variants: Names of a class's variants.
        module: Where the name is imported from.
        attribute: What it is called there.
    """

    docstring: str | None = None
    variants: tuple[str, ...] = ()
    module: str = ""
    attribute: str = ""


def definition(target: str) -> Definition:
    """Return what the source says of a class.

    Args:
        target: ``module:attribute``; where one module imports it from another, that is followed.
    """
    module, _, attribute = target.partition(":")
    seen: set[tuple[str, str]] = set()
    while (module, attribute) not in seen:
        seen.add((module, attribute))
        found = _definitions(module).get(attribute)
        if found is None or found.docstring is not None:
            return found or Definition()
        module, attribute = found.module, found.attribute
    return Definition()


def _variants(node: ast.ClassDef) -> tuple[str, ...]:
    """The keys of the literal ``variants`` in a class."""
    for each in node.body:
        match each:
            case ast.AnnAssign(target=ast.Name("variants"), value=ast.Dict(keys)):
                return tuple(str(key.value) for key in keys if isinstance(key, ast.Constant))
    return ()


def _definitions(module: str) -> dict[str, Definition]:
    """What a module defines and takes from others; nothing where its source cannot be read."""
    try:
        path, package = _source(module)
        return _parsed(path, package, path.stat().st_mtime_ns)
    except (ImportError, OSError, SyntaxError, ValueError, RecursionError):
        return {}


@functools.cache
def _parsed(path: Path, package: str, changed: int) -> dict[str, Definition]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = Definition(ast.get_docstring(node) or "", _variants(node))
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                there = Definition(None, (), origin, alias.name)
                found[alias.asname or alias.name] = there
    return found


def _source(module: str) -> tuple[Path, str]:
    """The file of a module and the package it is in; no package is imported on the way.

    Raises:
        ImportError, ValueError: If it has no file.
    """
    root, *parts = module.split(".")
    found = importlib.util.find_spec(root)
    if found is None or found.origin is None:
        raise ImportError(module)
    if not parts:
        return Path(found.origin), root if found.submodule_search_locations else ""
    for place in found.submodule_search_locations or ():
        path = Path(place, *parts)
        for file, package in (
            (path / "__init__.py", module),
            (path.with_suffix(".py"), module.rpartition(".")[0]),
        ):
            if file.is_file():
                return file, package
    raise ImportError(module)
