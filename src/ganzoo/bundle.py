"""Bundles: a trained generator as a folder that anyone can read, move and publish.

``config.json`` says what the net is and carries the SHA-256 of every weight file and of itself;
``model.safetensors`` holds the weights, and ``discriminator.safetensors``, where it is there, those
of the other player. Never a pickle, never code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SerializeAsAny, field_validator

from ganzoo import architectures, sealed
from ganzoo._version import __version__
from ganzoo.architectures.base import Architecture
from ganzoo.errors import BundleError, ConfigError
from ganzoo.framing import Framing
from ganzoo.model import Model
from ganzoo.spec import LatentSpec, SampleSpec
from ganzoo.storage import new_folder, own_copies, sha256, write_json

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "CONFIG",
    "DISCRIMINATOR",
    "FORMAT_VERSION",
    "WEIGHTS",
    "BundleConfig",
    "WeightFile",
    "discriminator",
    "fill",
    "read",
    "replaceable",
    "write",
]

FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
DISCRIMINATOR = "discriminator.safetensors"


class WeightFile(Model):
    """What a weight file must be."""

    error_label: ClassVar[str] = "The weight file"

    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"[0-9a-f]{64}")


class BundleConfig(Model):
    """The content of ``config.json``.

    Attributes:
        format_version: Version of this layout.
        library: ``ganzoo``.
        library_version: The ganzoo that wrote it.
        architecture: The architecture with its options.
        sample: What the net makes, at the size of its output.
        framing: How native images were brought to that size; undone when sampling.
        latent: What the net is fed.
        weights: Size and hash of every weight file, by name.
        training: Where the weights come from: dataset, loss, steps and the like.
    """

    error_label: ClassVar[str] = "The bundle"

    format_version: int = FORMAT_VERSION
    library: str = "ganzoo"
    library_version: str = __version__
    architecture: SerializeAsAny[Architecture]
    sample: SampleSpec
    framing: Framing | None = None
    latent: LatentSpec
    weights: dict[str, WeightFile] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)

    @field_validator("architecture", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Architecture:
        return architectures.create(value)


def write(
    folder: Path,
    config: BundleConfig,
    weights: Mapping[str, Tensor],
    discriminator: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a bundle; an older one in its place is replaced only when the new one is whole.

    Files that others have put beside an older bundle's own, such as a README, are kept.

    Args:
        folder: Where to.
        config: What it is; the facts on weight files are filled in.
        weights: Of the generator.
        discriminator: Of the discriminator, to be saved too.

    Raises:
        BundleError: If weights are not finite or the folder cannot be written.
    """
    from safetensors.torch import save_file

    if not replaceable(folder):
        raise BundleError(
            f"{folder} holds something that is not a bundle, which saving would replace. "
            f"Choose another folder."
        )
    nets = {WEIGHTS: ("generator", weights)}
    if discriminator is not None:
        nets[DISCRIMINATOR] = ("discriminator", discriminator)
    for net, values in nets.values():
        if bad := [name for name, value in values.items() if not value.isfinite().all()]:
            raise BundleError(
                f"The {net} cannot be saved: its weight '{bad[0]}' is not finite. The training "
                f"diverged; go back to an earlier checkpoint or lower the learning rates."
            )
    try:
        with new_folder(folder) as fresh:
            files = {}
            for file, (_, values) in nets.items():
                save_file(own_copies(values), fresh / file, metadata={"format": "pt"})
                size = (fresh / file).stat().st_size
                files[file] = WeightFile(size=size, sha256=sha256(fresh / file))
            config = config.model_copy(update={"weights": files})
            write_json(fresh / CONFIG, sealed.seal(config.model_dump(mode="json")))
            if (fresh / CONFIG).stat().st_size > sealed.LARGEST:
                raise BundleError(
                    f"The {CONFIG} of {folder} would exceed {sealed.LARGEST:,} bytes and could "
                    f"not be read again: give it less to say in 'training'."
                )
            _carry_over(folder, fresh)
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise BundleError(
            f"The generator cannot be written to {folder} ({error}). "
            f"Free some space or choose another folder."
        ) from error


def replaceable(folder: Path) -> bool:
    """Whether a bundle may be written there: nothing is there, or a bundle, be it damaged."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        content = (folder / CONFIG).read_bytes()
    except OSError:
        return False
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):  # a damaged bundle of ours must not block a new one
        return b'"library": "ganzoo"' in content
    return isinstance(config, dict) and config.get("library") == "ganzoo"


def _carry_over(older: Path, newer: Path) -> None:
    """Copy what others have put into the older bundle."""
    for path in older.iterdir() if older.is_dir() else ():
        target = newer / path.name
        if path.name in (CONFIG, WEIGHTS, DISCRIMINATOR):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def read(folder: Path, file: str = WEIGHTS) -> tuple[BundleConfig, dict[str, Tensor]]:
    """Read a bundle, verify all of its files, and return one of its nets.

    Args:
        folder: The bundle.
        file: ``WEIGHTS`` or ``DISCRIMINATOR``.

    Returns:
        Its configuration and the weights, memory-mapped, on the CPU.

    Raises:
        BundleError: If a file is missing, damaged, malformed or from a newer ganzoo.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = _config(folder)
    if not {WEIGHTS} <= set(config.weights) <= {WEIGHTS, DISCRIMINATOR}:
        raise BundleError(
            f"{folder / CONFIG} lists the weight files {sorted(config.weights)}, "
            f"not {WEIGHTS}: save the generator again."
        )
    if file not in config.weights:
        raise BundleError(
            f"{folder} has no {file}: it was saved without its discriminator. A snapshot of a run "
            f"has it (snapshot_every), or save it with save_pretrained(..., discriminator=...)."
        )
    for name, facts in config.weights.items():
        _verify(folder / name, facts)
    try:
        return config, load_file(folder / file)
    except (SafetensorError, OSError) as error:
        raise BundleError(
            f"{folder / file} cannot be read as safetensors ({error}). Copy the whole folder again."
        ) from error


def _verify(path: Path, facts: WeightFile) -> None:
    if not path.is_file():
        raise BundleError(f"{path} is missing, which {CONFIG} lists: copy the whole folder again.")
    try:
        whole = path.stat().st_size == facts.size and sha256(path) == facts.sha256
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror or error}). Copy the whole folder again."
        ) from error
    if not whole:
        raise BundleError(
            f"{path} is not the file that {CONFIG} describes (size or SHA-256 differ): it was "
            f"damaged or exchanged. Copy the whole folder again."
        )


def discriminator(folder: str | Path) -> nn.Module:
    """Return the discriminator of a bundle that has one, on the CPU, ready to train on.

    Args:
        folder: The bundle, such as a snapshot of a run.

    Raises:
        BundleError: If the bundle was saved without it, or is damaged.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    folder = Path(folder)
    config, weights = read(folder, DISCRIMINATOR)
    module = config.architecture.discriminator(config.sample)
    fill(module, weights, folder)
    return module


def fill(module: nn.Module, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Put weights into the net built for them; names, shapes and dtypes must all agree.

    Raises:
        BundleError: With the first tensor that does not fit.
    """
    expected = module.state_dict()
    for name in sorted(set(expected) | set(weights)):
        if name not in weights:
            raise BundleError(f"{origin} lacks the weight '{name}' that its architecture has.")
        if name not in expected:
            raise BundleError(f"{origin} has a weight '{name}' that its architecture lacks.")
        have, need = weights[name], expected[name]
        if have.shape != need.shape or have.dtype != need.dtype:
            raise BundleError(
                f"The weight '{name}' of {origin} is {tuple(have.shape)} {have.dtype}, but its "
                f"architecture needs {tuple(need.shape)} {need.dtype}."
            )
    module.load_state_dict(dict(weights), strict=True)


def _config(folder: Path) -> BundleConfig:
    path = folder / CONFIG
    try:
        raw, fault = sealed.read(path)
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no {CONFIG}, so it is no bundle. Give the folder 'generator' of a "
            f"run, or the run folder itself."
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(raw, dict) or raw.get("library") != "ganzoo":
        raise BundleError(f"{path} was not written by ganzoo: its 'library' is not 'ganzoo'.")
    try:
        version = sealed.version(raw)
    except ValueError as error:
        raise BundleError(f"{path} is damaged: {error}. Copy the whole folder again.") from None
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{path} has format {version}, but this ganzoo reads up to {FORMAT_VERSION}: "
            f"upgrade ganzoo."
        )
    if fault := fault or sealed.broken_seal(raw):
        raise BundleError(f"{path} {fault}. Copy the whole folder again, or save it anew.")
    try:
        return BundleConfig(**{key: value for key, value in raw.items() if key != sealed.SEAL})
    except ConfigError as error:
        raise BundleError(f"{path}: {error}") from None
