"""Whether the files of this package are its own: others install a package of the same name."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ganzoo.errors import some

__all__ = ["check_root", "fault", "reinstall"]

_NAME = "ganzoo"


@cache
def fault() -> str | None:
    """Return what is wrong with the files of the package, and the remedy; None if nothing is.

    That is: another distribution lists files in our folder, which it has replaced or will take
    along when it is removed; or files of ours are gone.
    """
    every = importlib.metadata.distributions()
    strangers = sorted(found for each in every if (found := _listed(each)))
    gone = list(_gone())
    if not strangers and not gone:
        return None
    facts, steps = [], []
    for name, version, files in strangers:
        facts.append(
            f"the distribution '{name}' {version} installs files into the package '{_NAME}' too "
            f"({_some(files)}): it replaces ours, and takes them along when it is removed"
        )
        steps.append(f"pip uninstall {shlex.quote(name)}")
    if gone:
        facts.append(f"files of ganzoo are gone ({_some(gone)})")
    steps.append(reinstall())
    return f"This installation is not whole: {'; '.join(facts)}. Run: {', then: '.join(steps)}"


def check_root() -> None:
    """Refuse to go on below an ``__init__.py`` that is not ours.

    Raises:
        ImportError: With the distribution that installed it, if known, and the remedy.
    """
    if not hasattr(sys.modules[_NAME], "__version__"):
        raise ImportError(
            fault()
            or f"This installation is not whole: ganzoo/__init__.py is missing or not ganzoo's. "
            f"Run: {reinstall()}"
        )


def _listed(found: importlib.metadata.Distribution) -> tuple[str, str, list[str]] | None:
    """Name, version and files of a distribution that says it installs some of our package."""
    name = found.metadata["Name"] if found.metadata is not None else None
    if not name or re.sub(r"[-_.]+", "-", name).lower() == _NAME:
        return None
    files = [
        file
        for record in ("RECORD", "installed-files.txt")
        for line in (found.read_text(record) or "").splitlines()
        if (file := line.partition(",")[0].strip('"').removeprefix("../")).startswith(f"{_NAME}/")
        and "__pycache__" not in file
    ]
    if not files and _NAME not in (found.read_text("top_level.txt") or "").split():
        return None
    return name, found.metadata["Version"] or "", files or [f"{_NAME}/"]


def _gone() -> Iterator[str]:
    """Files that pip has installed for us and that are missing."""
    own = _own()
    for file in (own.files if own is not None else None) or ():
        if file.parts[0] == _NAME and file.suffix == ".py" and not Path(file.locate()).is_file():
            yield file.as_posix()


def _own() -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(_NAME)
    except importlib.metadata.PackageNotFoundError:  # run from a source folder
        return None


def reinstall() -> str:
    """Return the command that installs ganzoo again, from the folder or address that pip had.

    The name alone is no way while another's package has it on PyPI.
    """
    return f"pip install --force-reinstall --no-deps {_source()}"


def _source() -> str:
    """What pip is to install again: the folder or address it had us from, else our name."""
    own = _own()
    try:
        record = json.loads((own.read_text("direct_url.json") if own is not None else None) or "{}")
        url, vcs = str(record.get("url") or ""), record.get("vcs_info")
    except (ValueError, AttributeError):
        return _NAME
    if vcs:
        return shlex.quote(f"{vcs['vcs']}+{url}")
    parts = urlsplit(url)
    return shlex.quote(unquote(parts.path) if parts.scheme == "file" else url or _NAME)


def _some(files: list[str]) -> str:
    """The files that matter most."""
    return some(sorted(files, key=lambda f: (not f.endswith("__init__.py"), f.count("/"), f)))
