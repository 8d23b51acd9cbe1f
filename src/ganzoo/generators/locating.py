"""Finds and loads what a name means: a folder, a pretrained generator, a repository on the Hub."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.core.state_dicts import below
from ganzoo.errors import BundleError, ConfigError, HubError, did_you_mean, listing
from ganzoo.files import checkpoint, storage
from ganzoo.generators import bundle, hub, pretrained
from ganzoo.generators.assembly import assemble

if TYPE_CHECKING:
    from torch import nn

    Loaded = tuple[nn.Module, bundle.BundleConfig, "Place"]  # the net is on the CPU

__all__ = ["Place", "fetch_extras", "load", "load_discriminator", "load_repository"]

_WAIT = 0.2  # seconds
_GIVE = "Give the folder of a run or of a saved generator"


@dataclass(frozen=True)
class Place:
    """Where a generator was loaded from.

    Attributes:
        folder: The bundle.
        root: The folder that links in it may lead into; itself where None.
        cache_dir: Of the Hub's client, where it came from the Hub.
    """

    folder: Path
    root: Path | None = None
    cache_dir: str | Path | None = None


def load(source: str | Path, revision: str | None, **options: Any) -> Loaded:
    """Load a net from what ``Generator.from_pretrained`` takes; options are for the Hub."""
    folder = storage.expanded(source)
    places = (folder, folder / "generator")  # of a bundle or a run
    before = [storage.state_of(place) for place in places]
    try:
        return _load(source, revision, options)
    except BundleError:
        # Saving replaces a folder as a whole; for a moment it is absent, or was read half.
        unchanged = before == [storage.state_of(place) for place in places]
        if unchanged and not any(map(storage.partial_writes, places)):
            raise
    time.sleep(_WAIT)
    return _load(source, revision, options)


def _load(source: str | Path, revision: str | None, options: dict[str, Any]) -> Loaded:
    found, at = _locate(source, revision)
    if isinstance(found, Path):
        config, module = bundle.load(found)
        return module, config, Place(found)
    return load_repository(found, revision=at, **options)


def _locate(source: str | Path, revision: str | None) -> tuple[Path | str, str | None]:
    """Find what a source means: the folder of a bundle, or a repository and its revision."""
    name, folder = os.fspath(source), storage.expanded(source)
    with contextlib.suppress(OSError):  # no name of a file at all
        if folder.is_dir():
            _refuse_revision(f"{folder} is a folder, which", revision)
            return _bundle_in(folder), None
        _refuse_absent(folder)
    if not isinstance(source, Path) and name in pretrained.names():
        _refuse_revision(f"'{name}' is one generator, which", revision)
        chosen = pretrained.get(name)
        return chosen.folder or str(chosen.repo_id), chosen.revision
    path = name.partition("@")[0]
    if isinstance(source, Path) or (
        "://" not in name
        and (re.match(r"[./~\\]|\w:", name) or "\\" in name or "/" in path[path.find("/") + 1 :])
    ):
        raise BundleError(f"There is no folder {Path(source)}. {_GIVE}.")
    if "/" not in name:
        options = pretrained.names()
        raise BundleError(
            f"There is no folder {name}.{did_you_mean(name, options)} {_GIVE}, a repository on "
            f"the Hub as 'owner/name', or a pretrained generator by its name: {listing(options)}."
        )
    repo_id, at = hub.parse(name)
    if at is not None and revision not in (None, at):
        raise ConfigError(
            f"Two revisions are given, '{at}' in '{name}' and '{revision}': leave one out."
        )
    return repo_id, at or revision


def _refuse_revision(fact: str, revision: str | None) -> None:
    if revision is not None:
        raise ConfigError(
            f"{fact} has no revision '{revision}'. Leave the revision out, or give a repository "
            f"on the Hub as 'owner/name'."
        )


def _refuse_absent(folder: Path) -> None:
    """Refuse a path that is not a folder, with the likely reason."""
    if folder.is_file():
        raise BundleError(
            f"{folder} is a file. {_GIVE}; a file of another library becomes one by 'ganzoo "
            f"convert'."
        )
    if left := storage.partial_writes(folder):
        raise BundleError(
            f"There is no folder {folder} at the moment: it is being saved, or was when its "
            f"process was killed, which left {left[0]}. Load it when that is done, or rename "
            f"what is left to {folder.name} if it is whole."
        )
    if folder.name == "best" and (folder.parent / "config.yaml").is_file():
        raise BundleError(
            f"The run {folder.parent} has no best generator, as none of its generators has "
            f"been scored yet. Scores are taken while it trains, where evaluate_every is set; "
            f"its newest generator is in {folder.parent / 'generator'}."
        )


def _bundle_in(folder: Path) -> Path:
    """The bundle that a folder is, or that it has as the folder of a run."""
    if (folder / bundle.CONFIG).is_file():
        return folder
    inner = folder / "generator"
    if inner.is_dir():
        if not inner.resolve().is_relative_to(folder.resolve()):
            raise BundleError(
                f"{inner} is a link that leads out of the run. Give the folder it leads to, if you "
                f"trust it."
            )
        return inner
    if (folder / "config.yaml").is_file():
        raise BundleError(
            f"The run {folder} has not saved its generator yet: 'ganzoo resume {folder}' "
            f"finishes it."
        )
    return folder


def load_repository(repo_id: str, **options: Any) -> Loaded:
    """Load from the Hub; a damaged file in the cache is fetched a second time.

    Options are those of ``hub.fetch``.
    """

    def attempt(**changed: Any) -> Loaded:
        fetched = hub.fetch(repo_id, **{**options, **changed})
        config, module = bundle.load(fetched.folder, root=fetched.root)
        origin = bundle.Origin(repo_id=repo_id, revision=fetched.revision)
        place = Place(fetched.folder, fetched.root, options.get("cache_dir"))
        return module, config.model_copy(update={"origin": origin}), place

    try:
        return attempt()
    except BundleError as error:
        if options.get("local_files_only") or options.get("force_download"):
            raise
        damage = error
    try:
        return attempt(force_download=True)
    except HubError as error:
        raise HubError(f"{damage} Fetching it again failed: {error}") from damage
    except BundleError as error:
        raise BundleError(
            f"{error} Fetching it from {repo_id} once more changed nothing."
        ) from error


def fetch_extras(
    place: Place | None, origin: bundle.Origin | None, token: str | bool | None, local: bool
) -> None:
    """Bring the extras of a generator of the Hub into the cache, as far as they can be had."""
    if place is not None and place.root is not None and origin is not None:
        with contextlib.suppress(HubError):  # a card with less is better than none
            hub.fetch(
                origin.repo_id,
                revision=origin.revision,
                token=token,
                cache_dir=place.cache_dir,
                local_files_only=local,
                extras=True,
            )


def load_discriminator(place: Place | None, config: bundle.BundleConfig) -> nn.Module | None:
    """Load what ``Generator.discriminator`` returns, from the bundle or its run."""
    if place is None:
        return None
    if bundle.DISCRIMINATOR in config.weights:
        return bundle.discriminator(place.folder, root=place.root)
    run = place.folder.parent
    if place.folder.name != "generator" or not (run / "config.yaml").is_file():
        return None
    newest = checkpoint.newest(run / "checkpoints")
    if newest.path is None:
        return None
    weights = below(newest.tensors, "discriminator")
    return assemble(newest.path, config, bundle.DISCRIMINATOR, lambda: weights)
