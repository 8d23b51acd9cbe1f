"""Bundles: a trained generator as a folder that anyone can read, move and publish.

``config.json`` says what the net is and carries the SHA-256 of every weight file;
``model.safetensors`` holds the weights. Never a pickle, never code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator

from ganzoo import architectures
from ganzoo._version import __version__
from ganzoo.architectures.base import Architecture
from ganzoo.component import explain
from ganzoo.errors import BundleError
from ganzoo.framing import Framing
from ganzoo.spec import LatentSpec, SampleSpec
from ganzoo.storage import new_folder, sha256, write_json

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["CONFIG", "FORMAT_VERSION", "WEIGHTS", "BundleConfig", "WeightFile", "read", "write"]

FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"


class WeightFile(BaseModel):
    """What a weight file must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"[0-9a-f]{64}")


class BundleConfig(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    library: str = "ganzoo"
    library_version: str = __version__
    architecture: SerializeAsAny[Architecture]
    sample: SampleSpec
    framing: Framing | None = None
    latent: LatentSpec
    weights: dict[str, WeightFile] = {}
    training: dict[str, Any] = {}

    @field_validator("architecture", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Architecture:
        return architectures.create(value)


def write(folder: Path, config: BundleConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a bundle; an older one in its place is replaced only when the new one is whole.

    Raises:
        BundleError: If weights are not finite or the folder cannot be written.
    """
    from safetensors.torch import save_file

    empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not empty and not (folder / CONFIG).is_file():
        raise BundleError(
            f"{folder} holds something that is not a bundle, which saving would replace. "
            f"Choose another folder."
        )
    if bad := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise BundleError(
            f"The generator cannot be saved: its weight '{bad[0]}' is not finite. The training "
            f"diverged; go back to an earlier checkpoint or lower the learning rates."
        )
    whole = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    try:
        with new_folder(folder) as fresh:
            save_file(whole, fresh / WEIGHTS, metadata={"format": "pt"})
            file = WeightFile(size=(fresh / WEIGHTS).stat().st_size, sha256=sha256(fresh / WEIGHTS))
            config = config.model_copy(update={"weights": {WEIGHTS: file}})
            write_json(fresh / CONFIG, config.model_dump(mode="json"))
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise BundleError(
            f"The generator cannot be written to {folder} ({error}). "
            f"Free some space or choose another folder."
        ) from error


def read(folder: Path) -> tuple[BundleConfig, dict[str, Tensor]]:
    """Read and verify a bundle.

    Returns:
        Its configuration and its weights, memory-mapped, on the CPU.

    Raises:
        BundleError: If a file is missing, damaged, malformed or from a newer ganzoo.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = _config(folder)
    if set(config.weights) != {WEIGHTS}:
        raise BundleError(
            f"{folder / CONFIG} lists the weight files {sorted(config.weights)}, "
            f"not {WEIGHTS}: save the generator again."
        )
    path, facts = folder / WEIGHTS, config.weights[WEIGHTS]
    if not path.is_file():
        raise BundleError(f"{path} is missing, which {CONFIG} lists: copy the whole folder again.")
    if path.stat().st_size != facts.size or sha256(path) != facts.sha256:
        raise BundleError(
            f"{path} is not the file that {CONFIG} describes (size or SHA-256 differ): it was "
            f"damaged or exchanged. Copy the whole folder again."
        )
    try:
        return config, load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read as safetensors ({error}).") from error


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
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no {CONFIG}, so it is no bundle. Give the folder 'generator' of a "
            f"run, or the run folder itself."
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(raw, dict) or raw.get("library") != "ganzoo":
        raise BundleError(f"{path} was not written by ganzoo: its 'library' is not 'ganzoo'.")
    version = raw.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"{path} has format {version}, but this ganzoo reads up to {FORMAT_VERSION}: "
            f"upgrade ganzoo."
        )
    try:
        return BundleConfig.model_validate(raw)
    except ValidationError as error:
        raise BundleError(explain(error, str(path), BundleConfig.model_fields)) from None
