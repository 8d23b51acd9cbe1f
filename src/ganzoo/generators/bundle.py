"""Bundles: a trained generator as a folder that anyone can read, move and publish.

``config.json`` says what the net is and carries the SHA-256 of every weight file and of itself.
Never a pickle, never code.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo.core.state_dicts import mismatch, not_finite
from ganzoo.errors import BundleError, ConfigError
from ganzoo.files import artifact, bounded_json, storage, untrusted
from ganzoo.files.bounded_json import LARGEST
from ganzoo.generators.assembly import assemble, stored
from ganzoo.generators.bundle_config import (
    DISCRIMINATOR,
    FORMAT_VERSION,
    WEIGHTS,
    BundleConfig,
    Half,
    Origin,
    WeightFile,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "CARD",
    "CONFIG",
    "CURVES",
    "DISCRIMINATOR",
    "EXTRAS",
    "FORMAT_VERSION",
    "METRICS",
    "SAMPLES",
    "SCORED",
    "TRAINING",
    "WEIGHTS",
    "BundleConfig",
    "Half",
    "Origin",
    "WeightFile",
    "config",
    "discriminator",
    "extras",
    "is_ours",
    "load",
    "read",
    "replaceable",
    "write",
]

CONFIG = "config.json"
CARD, SAMPLES, CURVES = "README.md", "samples.png", "curves.png"
TRAINING, METRICS = "training.json", "metrics.json"
EXTRAS = (CARD, SAMPLES, CURVES, TRAINING, METRICS)
"""What a bundle may hold besides its config and weights, to be read or published."""
SCORED = re.compile(r"\w[\w.@+: -]{0,99}")
"""What a score in METRICS may be called: the name of a metric, or ``package:name``."""

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_CONFIG = 2**20  # bytes
_OURS = re.compile(rb'"library"\s*:\s*"ganzoo"')


def write(
    folder: Path,
    config: BundleConfig,
    weights: Mapping[str, Tensor],
    discriminator: Mapping[str, Tensor] | None = None,
    extras: Mapping[str, bytes] | None = None,
) -> None:
    """Write a bundle; an older one in its place is replaced only when the new one is whole.

    Files that others have put into an older bundle, such as a README, stay; those that describe
    its weights (``EXTRAS`` without the README) only if the generator's are the same.

    Args:
        folder: Where to.
        config: What it is; the facts on weight files are filled in.
        weights: Of the generator.
        discriminator: Of the discriminator, to be saved too.
        extras: Content of ``EXTRAS`` to be written next to the weights, by name.

    Raises:
        BundleError: If weights are not finite, do not fit the architecture or exceed half
            precision where ``config.half`` asks for it, or if the folder cannot be written.
    """
    if not replaceable(folder):
        raise BundleError(
            f"{folder} holds something that is not a bundle, which saving would replace. "
            f"Choose another folder."
        )
    nets = {WEIGHTS: ("generator", weights)}
    if discriminator is not None:
        nets[DISCRIMINATOR] = ("discriminator", discriminator)
    for file, (net, values) in nets.items():
        _check_writable(config, file, net, values)
    try:
        with storage.new_folder(folder) as fresh:
            files = {}
            for file, (_, values) in nets.items():
                artifact.save_tensors(fresh / file, stored(values, config.half is not None))
                files[file] = WeightFile(**artifact.describe(fresh / file))
            _write_config(folder, fresh, config.model_copy(update={"weights": files}))
            for name, content in (extras or {}).items():
                (fresh / name).write_bytes(content)
            _carry_over(folder, fresh, files[WEIGHTS].sha256)
    except OSError as error:
        advice = "Free some space or choose another folder."
        if isinstance(error, storage.ContendedError):
            advice = "Save one after the other, or to different folders."
        raise BundleError(
            f"The generator cannot be written to {folder} ({error}). {advice}"
        ) from error


def _check_writable(
    config: BundleConfig, file: str, net: str, weights: Mapping[str, Tensor]
) -> None:
    """Refuse weights that could not be read again."""
    from ganzoo.core.nets import build_on_meta

    if bad := not_finite(weights):
        raise BundleError(
            f"The {net} cannot be saved: its weight '{bad}' is not finite. The training "
            f"diverged; go back to an earlier checkpoint or lower the learning rates."
        )
    if bad := not_finite(stored(weights, config.half is not None)):
        raise BundleError(
            f"The {net} cannot be saved in half precision: its weight '{bad}' exceeds "
            f"65,504. Save it without half."
        )
    # A plug-in's nets may draw random numbers while they are built, which a training that goes on
    # would miss; ganzoo's own do not on this device.
    if not config.architecture.provider:
        expected = build_on_meta(lambda: config.build(file)).state_dict()
        if problem := mismatch(expected, weights):
            raise BundleError(
                f"The {net} cannot be saved: it {problem}. Give the net that its architecture "
                f"builds."
            )


def _write_config(folder: Path, fresh: Path, config: BundleConfig) -> None:
    try:
        content = config.model_dump(mode="json")
        artifact.write_manifest(fresh / CONFIG, content, largest=_LARGEST_CONFIG)
    except artifact.BeyondBoundsError as error:
        raise BundleError(
            f"The {CONFIG} of {folder} could not be read again ({error}): put less into 'training'."
        ) from error
    except ValueError as error:  # text or a number that JSON cannot hold
        raise BundleError(
            f"The {CONFIG} of {folder} cannot be written ({error}). Put only valid Unicode and "
            f"integers of at most 4,300 digits into 'training'."
        ) from error


def replaceable(folder: Path) -> bool:
    """Whether a bundle may be written there: nothing is there, or a bundle, be it damaged.

    Raises:
        BundleError: If no folder can be there: its name is too long, say.
    """
    try:
        place = folder.resolve()
        if not place.exists() or (place.is_dir() and not any(place.iterdir())):
            return True
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL in the name
        raise BundleError(
            f"The generator cannot be written to {folder} ({error}). Choose another folder."
        ) from error
    try:
        return is_ours(place / CONFIG)
    except (OSError, ValueError):
        return False


def is_ours(path: Path, root: Path | None = None) -> bool:
    """Whether a ``config.json`` is that of a bundle, be it damaged.

    Raises:
        OSError, ValueError: If it cannot be read.
    """
    with untrusted.opened(path, root) as file:
        content = file.read(LARGEST)
    try:
        value = bounded_json.parse(content)
    except ValueError:
        return _OURS.search(content) is not None
    return isinstance(value, dict) and value.get("library") == "ganzoo"


def _carry_over(older: Path, newer: Path, weights: str) -> None:
    """Copy what others have put into the older bundle, and extras if it has the same weights."""
    try:
        with untrusted.opened(older / WEIGHTS) as file:
            same = untrusted.digest(file) == weights
    except (OSError, ValueError):
        same = False
    left = {CONFIG, WEIGHTS, DISCRIMINATOR} | (set() if same else {*EXTRAS} - {CARD})
    try:
        for path in older.iterdir() if older.is_dir() else ():
            target = newer / path.name
            if path.name in left or target.exists():
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, target, symlinks=True)
            else:
                shutil.copy2(path, target, follow_symlinks=False)
    except FileNotFoundError as error:  # it was there a moment ago
        raise storage.ContendedError(older) from error


def config(folder: Path, *, root: Path | None = None) -> BundleConfig:
    """Read the ``config.json`` of a bundle, not its weights.

    Args:
        folder: The bundle.
        root: Links may lead anywhere below it; by default, below the folder itself.

    Raises:
        BundleError: If it is missing, damaged, malformed or from a newer ganzoo.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    path = folder / CONFIG
    try:
        raw = artifact.read_manifest(
            path, newest=FORMAT_VERSION, largest=_LARGEST_CONFIG, root=_root(folder, root)
        )
        if raw.get("library") != "ganzoo":
            raise ValueError("its 'library' is not 'ganzoo'")
        found = BundleConfig(**raw)
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no {CONFIG}, so it is not a bundle. Give the folder 'generator' of a "
            f"run, or the run folder itself."
        ) from None
    except artifact.NewerFormatError as error:
        raise BundleError(f"{path} {error}.") from None
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{path} cannot be used ({error}). Copy the whole folder again or save it anew; or "
            f"give the folder 'generator' of a run, or the run folder itself."
        ) from error
    except ConfigError as error:
        raise BundleError(f"{path}: {error}") from None
    if not {WEIGHTS} <= set(found.weights) <= {WEIGHTS, DISCRIMINATOR}:
        raise BundleError(
            f"{path} lists the weight files {sorted(found.weights)}, not {WEIGHTS}: save the "
            f"generator again."
        )
    return found


def read(
    folder: Path, file: str = WEIGHTS, *, root: Path | None = None
) -> tuple[BundleConfig, dict[str, Tensor]]:
    """Verify all files of a bundle, and return its configuration and one of its nets' weights.

    They are on the CPU, in float32 where they are stored in half precision. Whether they fit the
    architecture, only ``load`` knows.

    Raises:
        BundleError, PluginError: As ``load``.
    """
    found = config(folder, root=root)
    weights = _weights(folder, found, file, root)
    if found.half is not None:
        weights = {n: v.float() if v.is_floating_point() else v for n, v in weights.items()}
    return found, weights


def load(folder: Path, *, root: Path | None = None) -> tuple[BundleConfig, nn.Module]:
    """Verify a bundle and return its configuration and its generator, on the CPU.

    Names, shapes and types of all weights are compared with those of the architecture, and the
    memory that they need with ``GANZOO_MAX_BYTES``, before a net is allocated. The global random
    state stays as it is.

    Args:
        folder: The bundle.
        root: Links may lead anywhere below it; by default, below the folder itself.

    Raises:
        BundleError: If a file is missing, damaged, malformed, not finite, too large, from a newer
            ganzoo, or does not fit.
        PluginError: If its architecture comes from a plug-in that is not installed.
        GanzooError: If the architecture refuses its options, sample or latent.
    """
    found = config(folder, root=root)
    return found, _net(folder, found, WEIGHTS, root)


def discriminator(folder: str | Path, *, root: Path | None = None) -> nn.Module:
    """Return the discriminator of a bundle that has one, on the CPU, ready to train on.

    Raises:
        BundleError: If the bundle was saved without it, or as for ``load``.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    folder = storage.expanded(folder)
    return _net(folder, config(folder, root=root), DISCRIMINATOR, root)


def extras(folder: Path, *, root: Path | None = None) -> dict[str, bytes]:
    """Return the content of the ``EXTRAS`` of a bundle, by name.

    Skipped are links out of ``root``, anything but regular files, too large files, and pictures
    that are not PNG.
    """
    found = {}
    for name in EXTRAS:
        with (
            contextlib.suppress(OSError, ValueError),
            untrusted.opened(folder / name, _root(folder, root)) as file,
        ):
            content = file.read(LARGEST + 1)
            is_png = content.startswith(_PNG)
            if len(content) <= LARGEST and (is_png or not name.endswith(".png")):
                found[name] = content
    return found


# -- inside ---------------------------------------------------------------------------------------


def _root(folder: Path, root: Path | None) -> Path:
    """Where links may lead; the Hub's cache has links from snapshots to blobs."""
    repository = folder.parent.parent
    if (
        root is not None
        or folder.parent.name != "snapshots"
        or not repository.name.startswith("models--")
    ):
        return folder if root is None else root
    # The client's own cache may share files among repositories; a folder that looks like one is
    # untrusted.
    from huggingface_hub.constants import HF_HUB_CACHE

    shared = Path(os.path.realpath(HF_HUB_CACHE))
    own = Path(os.path.realpath(repository)).is_relative_to(shared)
    return shared if own else repository


def _net(folder: Path, config: BundleConfig, file: str, root: Path | None) -> nn.Module:
    """Build a net and give it its weights."""
    half = config.half is not None
    return assemble(folder, config, file, lambda: _weights(folder, config, file, root), half=half)


def _weights(
    folder: Path, config: BundleConfig, wanted: str, root: Path | None
) -> dict[str, Tensor]:
    """Verify all weight files and read one of them, as it is stored."""
    if wanted not in config.weights:
        raise BundleError(
            f"{folder} has no {wanted}: it was saved without its discriminator. A snapshot of a "
            f"run has it (snapshot_every), or save it with save_pretrained(..., discriminator=...)."
        )
    weights: dict[str, Tensor] = {}
    for name, facts in sorted(config.weights.items(), reverse=True):  # the generator first
        path, described = folder / name, artifact.FileFacts(size=facts.size, sha256=facts.sha256)
        try:
            if name == wanted:
                weights = artifact.read_tensors(path, described, root=_root(folder, root))
            else:
                artifact.check(path, described, root=_root(folder, root))
        except artifact.TooLargeError as error:
            raise BundleError(str(error)) from None
        except (OSError, ValueError) as error:
            raise BundleError(
                f"{path}, which {CONFIG} lists, cannot be used ({error}). Copy the whole folder "
                f"again."
            ) from error
    if bad := not_finite(weights):
        raise BundleError(
            f"{folder / wanted} is of no use: its weight '{bad}' is not finite. Save the generator "
            f"again from an earlier checkpoint."
        )
    return weights
