"""``ganzoo doctor``."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shlex
from pathlib import Path

from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganzoo._version import __version__
from ganzoo.cli.zoo import KINDS
from ganzoo.core import installation
from ganzoo.errors import PluginError, RunFolderError
from ganzoo.files.storage import expanded

__all__ = ["doctor"]


_STYLES = {"ok": "green", "note": "yellow", "wrong": "red"}


def doctor(path: Path | None = None, /) -> None:
    """Check this installation (versions, device, precision, plug-ins), or a folder.

    Args:
        path: folder of a run, a saved generator or a checkpoint: its files, hashes, shapes and
            numbers are checked, and nothing is changed
    """
    if path is None:
        _installation()
    else:
        _folder(expanded(path))


def _folder(path: Path) -> None:
    from ganzoo.runs.checkup import examine

    console = Console(highlight=False, soft_wrap=True)
    wrong = total = 0
    for finding in examine(path):
        total += 1
        wrong += finding.verdict == "wrong"
        verdict = Text(f"{finding.verdict:5} ", style=_STYLES[finding.verdict])
        place = path if finding.place == "." else finding.place
        console.print(verdict + Text(f"{place}: {finding.text}"))
    if wrong:
        raise RunFolderError(
            f"{wrong} of {total} things in {path} {'is' if wrong == 1 else 'are'} wrong; the lines "
            f"above say what and what to do."
        )
    console.print("all is well")


def _installation() -> None:
    if why := installation.fault():  # first: nothing else is certain then
        raise PluginError(why)
    import torch

    from ganzoo.core.device import bf16_feature, pick_device, pick_precision
    from ganzoo.core.registry import plugins_disabled
    from ganzoo.datasets.cache import cache_root
    from ganzoo.datasets.root import data_root

    device = pick_device("auto")
    precision = pick_precision("auto", device)
    table = Table(box=None, show_header=False, pad_edge=False)

    def row(name: str, value: object) -> None:
        table.add_row(Text(name, style="bold"), Text(str(value)))

    row("ganzoo", __version__)
    row("python", f"{platform.python_version()} on {platform.platform()}")
    lacking, wanted = [], []
    for requirement in _requirements():
        there = _version(requirement.name)
        row(requirement.name, there or "missing")
        if there is None or not requirement.specifier.contains(there, prereleases=True):
            needed = f"{requirement.name}{requirement.specifier}"
            lacking.append(f"{needed} is needed, and {there or 'nothing'} is installed")
            wanted.append(shlex.quote(needed))
    row("device", f"{device.type} ({_device_name(device)}, {torch.get_num_threads()} threads)")
    row("CPU's bfloat16", bf16_feature() or "none")
    row("CUDA", torch.version.cuda if torch.cuda.is_available() else "no device")
    row("precision", f"auto picks {precision.name}: {precision.reason}")
    row("data root", data_root())
    row("picture cache", cache_root())
    console = Console(highlight=False, soft_wrap=True)
    broken = []
    if plugins_disabled():
        row("plug-ins", "off (GANZOO_DISABLE_PLUGINS)")
    else:
        found = []
        for kind in KINDS:
            for entry, fault in importlib.import_module(f"ganzoo.{kind}").registry.check():
                if fault is not None:
                    broken.append(str(fault))
                elif entry.distribution != "ganzoo":
                    found.append(f"{entry.provider}: {entry.name}")
        row("plug-ins", "; ".join(found) or "none")
    console.print(table)
    if lacking:
        raise PluginError(
            f"This installation is not whole: {'; '.join(lacking)}. "
            f"Run: pip install {' '.join(wanted)}"
        )
    if broken:
        raise PluginError(" ".join(broken))
    console.print("all is well")


def _requirements() -> list[Requirement]:
    """What ganzoo requires here, from its own metadata."""
    try:
        lines = importlib.metadata.requires("ganzoo") or []
    except importlib.metadata.PackageNotFoundError:  # run from a source folder
        return []
    found = map(Requirement, lines)
    here = [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]
    return sorted(here, key=lambda requirement: requirement.name)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device_name(device: object) -> str:
    import torch

    if isinstance(device, torch.device) and device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
