"""Bundles: a trained generator as a folder that anyone can read, move and publish.

``config.json`` says what the net is and carries the SHA-256 of every weight file and of itself;
``model.safetensors`` holds the weights, and ``discriminator.safetensors``, where it is there, those
of the other player. Never a pickle, never code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from ganzoo import architectures
from ganzoo._version import __version__
from ganzoo.architectures.base import Architecture
from ganzoo.core.model import Model
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import BundleError, ConfigError, GanzooError
from ganzoo.files import checksummed, storage, untrusted
from ganzoo.files.storage import new_folder, own_copies, sha256, write_json

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
    "assemble",
    "build_on_meta",
    "check_affordable",
    "check_sizes",
    "config",
    "discriminator",
    "extras",
    "load",
    "max_bytes",
    "mismatch",
    "not_finite",
    "read",
    "replaceable",
    "write",
]

FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
DISCRIMINATOR = "discriminator.safetensors"
CARD, SAMPLES, CURVES = "README.md", "samples.png", "curves.png"
TRAINING, METRICS = "training.json", "metrics.json"
EXTRAS = (CARD, SAMPLES, CURVES, TRAINING, METRICS)
"""What a bundle may hold besides, for whoever reads or publishes it."""
SCORED = re.compile(r"\w[\w.@+: -]{0,99}")
"""What a score in METRICS may be called: the name of a metric, or ``package:name``."""

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_CONFIG = 2**20  # bytes
_LARGEST = 16 * 2**30  # bytes in memory, unless GANZOO_MAX_BYTES says otherwise
_DRAWS = frozenset({"normal_", "uniform_", "bernoulli_", "exponential_", "random_"})


class WeightFile(Model):
    """What a weight file must be."""

    error_label: ClassVar[str] = "The weight file"

    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Origin(Model):
    """Where on the Hugging Face Hub a bundle was pulled from."""

    error_label: ClassVar[str] = "The origin"

    repo_id: str = Field(max_length=200, pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")


class Half(Model):
    """What storing in half precision costs the samples.

    Attributes:
        largest: Largest error of a value, as a share of the width of the value range; of the
            samples' own where it has none.
        mean: Mean error, in the same unit.
    """

    error_label: ClassVar[str] = "The error of half precision"

    largest: float = Field(ge=0)
    mean: float = Field(ge=0)


class BundleConfig(Model):
    """The content of ``config.json``.

    Attributes:
        format_version: Version of this layout.
        library: ``ganzoo``.
        library_version: The ganzoo that wrote it.
        architecture: The architecture with its options.
        sample: What the net makes, at the size of its output.
        preprocessing: How native images were brought to that size; undone when sampling.
        latent: What the net is fed.
        weights: Size and hash of every weight file, by name.
        training: Where the weights come from: dataset, loss, steps and the like.
        origin: Where on the Hub it was pulled from, if it was.
        half: Set if floating-point weights are stored as float16.
    """

    error_label: ClassVar[str] = "The bundle"

    format_version: int = FORMAT_VERSION
    library: str = "ganzoo"
    library_version: str = __version__
    architecture: SerializeAsAny[Architecture]
    sample: SampleSpec
    preprocessing: Preprocessing | None = None
    latent: LatentSpec
    weights: dict[str, WeightFile] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    # Left out where there are none, so that earlier versions read what they can use.
    origin: Origin | None = Field(None, exclude_if=lambda value: value is None)
    half: Half | None = Field(None, exclude_if=lambda value: value is None)

    @field_validator("architecture", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Architecture:
        return architectures.create(value)

    @model_validator(mode="after")
    def _framed(self) -> BundleConfig:
        preprocessing, sample = self.preprocessing, self.sample
        if preprocessing is not None and (
            sample.kind != "image" or sample.size != preprocessing.size
        ):
            raise ConfigError(
                f"The preprocessing makes images of {preprocessing.size[0]}x{preprocessing.size[1]}"
                f", but the net a {sample}."
            )
        return self


def write(
    folder: Path,
    config: BundleConfig,
    weights: Mapping[str, Tensor],
    discriminator: Mapping[str, Tensor] | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write a bundle; an older one in its place is replaced only when the new one is whole.

    Files that others have put beside an older bundle's own, such as a README, are kept; what tells
    of its weights (``EXTRAS`` without the README) only if the generator's are the same.

    Args:
        folder: Where to.
        config: What it is; the facts on weight files are filled in.
        weights: Of the generator.
        discriminator: Of the discriminator, to be saved too.
        beside: Of ``EXTRAS``, what is to lie beside, by name.

    Raises:
        BundleError: If weights are not finite, do not fit the architecture or exceed half
            precision where ``config.half`` asks for it, or if the folder cannot be written.
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
    for file, (net, values) in nets.items():
        _check_writable(config, file, net, values)
    try:
        with new_folder(folder) as fresh:
            files = {}
            for file, (_, values) in nets.items():
                kept = own_copies(_stored(values, config.half is not None))
                save_file(kept, fresh / file, metadata={"format": "pt"})
                size = (fresh / file).stat().st_size
                files[file] = WeightFile(size=size, sha256=sha256(fresh / file))
            config = config.model_copy(update={"weights": files})
            content = checksummed.add_checksum(config.model_dump(mode="json"))
            write_json(fresh / CONFIG, content)
            problem = checksummed.excess(content)
            if (fresh / CONFIG).stat().st_size > _LARGEST_CONFIG:
                problem = f"it is larger than {_LARGEST_CONFIG:,} bytes"
            if problem:
                raise BundleError(
                    f"The {CONFIG} of {folder} could not be read again, because {problem}: give "
                    f"it less to say in 'training'."
                )
            for name, told in (beside or {}).items():
                (fresh / name).write_bytes(told)
            _carry_over(folder, fresh, files[WEIGHTS].sha256)
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
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
    if bad := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise BundleError(
            f"The {net} cannot be saved: its weight '{bad[0]}' is not finite. The training "
            f"diverged; go back to an earlier checkpoint or lower the learning rates."
        )
    for name, value in _stored(weights, config.half is not None).items():
        if not value.isfinite().all():
            raise BundleError(
                f"The {net} cannot be saved in half precision: its weight '{name}' exceeds "
                f"65,504. Save it without half."
            )
    # A plug-in's nets may draw random numbers while they are built, which a training that goes on
    # would miss; ganzoo's own do not on this device.
    if not config.architecture.provider:
        expected = build_on_meta(_builder(config, file)).state_dict()
        if problem := mismatch(expected, weights):
            raise BundleError(
                f"The {net} cannot be saved: it {problem}. Give the net that its architecture "
                f"builds."
            )


def replaceable(folder: Path) -> bool:
    """Whether a bundle may be written there: nothing is there, or a bundle, be it damaged.

    Raises:
        BundleError: If no folder can be there: its name is too long, say.
    """
    try:
        return _replaceable(folder.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL in the name
        raise BundleError(
            f"The generator cannot be written to {folder} ({error}). Choose another folder."
        ) from error


def _replaceable(folder: Path) -> bool:
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        with untrusted.opened(folder / CONFIG) as file:
            content = file.read(checksummed.LARGEST)
    except (OSError, ValueError):
        return False
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):  # a damaged bundle of ours must not block a new one
        return b'"library": "ganzoo"' in content
    return isinstance(config, dict) and config.get("library") == "ganzoo"


def _carry_over(older: Path, newer: Path, weights: str) -> None:
    """Copy what others have put into the older bundle, and what is still true of the newer one.

    Args:
        older: The bundle that is replaced, if there is one.
        newer: The one in its place.
        weights: SHA-256 of its generator's weights.
    """
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


def read(
    folder: Path, file: str = WEIGHTS, *, root: Path | None = None
) -> tuple[BundleConfig, dict[str, Tensor]]:
    """Read a bundle, verify all of its files, and return one of its nets' weights.

    Whether they fit the architecture, only ``load`` knows.

    Args:
        folder: The bundle.
        file: ``WEIGHTS`` or ``DISCRIMINATOR``.
        root: Links may lead anywhere below it; by default, below the folder itself.

    Returns:
        Its configuration and the weights on the CPU, as float32 where they are stored in half
        precision. From 64 MiB on they are memory-mapped: the file may be replaced and removed then,
        but not written in place.

    Raises:
        BundleError: If a file is missing, damaged, malformed, not finite or from a newer ganzoo.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    found = config(folder, root=root)
    weights = _mapped(folder, found, file, root)
    if found.half is not None:
        weights = {n: v.float() if v.is_floating_point() else v for n, v in weights.items()}
    return found, weights


def load(folder: Path, *, root: Path | None = None) -> tuple[BundleConfig, nn.Module]:
    """Verify a bundle and return its generator.

    That names, shapes and types of all weights are those of the architecture, and that they are no
    more than memory is to hold, is known before a net is allocated. Nets of ganzoo's own
    architectures then use the weights as they were read, a plug-in's net is built and filled. A
    file of 64 MiB and more is mapped into memory, unless it is in half precision: it may be
    replaced and removed afterwards, but writing into it changes the samples, and cutting it short
    ends the process. The global random state stays as it is.

    Args:
        folder: The bundle.
        root: Links may lead anywhere below it; by default, below the folder itself.

    Returns:
        Its configuration and the net, on the CPU.

    Raises:
        BundleError: If a file is missing, damaged, malformed, not finite, too large, from a newer
            ganzoo, or does not fit.
        PluginError: If its architecture comes from a plug-in that is not installed.
        GanzooError: If the architecture refuses what it is asked for.
    """
    found = config(folder, root=root)
    return found, _loaded(folder, found, WEIGHTS, root)


def discriminator(folder: str | Path, *, root: Path | None = None) -> nn.Module:
    """Return the discriminator of a bundle that has one, on the CPU, ready to train on.

    Args:
        folder: The bundle, such as a snapshot of a run.
        root: Links may lead anywhere below it; by default, below the folder itself.

    Raises:
        BundleError: If the bundle was saved without it, or is damaged, as for ``load``.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    folder = storage.expanded(folder)
    return _loaded(folder, config(folder, root=root), DISCRIMINATOR, root)


def config(folder: Path, *, root: Path | None = None) -> BundleConfig:
    """Read what a bundle says of itself; its weights are not looked at.

    Args:
        folder: The bundle.
        root: Links may lead anywhere below it; by default, below the folder itself.

    Raises:
        BundleError: If it is missing, damaged, malformed or from a newer ganzoo.
        PluginError: If its architecture comes from a plug-in that is not installed.
    """
    path = folder / CONFIG
    try:
        raw, fault = checksummed.read(path, largest=_LARGEST_CONFIG, root=_root(folder, root))
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no {CONFIG}, so it is no bundle. Give the folder 'generator' of a "
            f"run, or the run folder itself."
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{path} cannot be read as JSON ({error}). Copy the whole folder again."
        ) from error
    if not isinstance(raw, dict) or raw.get("library") != "ganzoo":
        raise BundleError(
            f"{path} was not written by ganzoo: its 'library' is not 'ganzoo'. Give the folder "
            f"'generator' of a run, or the run folder itself."
        )
    try:
        version = checksummed.version(raw)
    except ValueError as error:
        raise BundleError(f"{path} is damaged: {error}. Copy the whole folder again.") from None
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{path} has format {version}, but this ganzoo reads up to {FORMAT_VERSION}: "
            f"upgrade ganzoo."
        )
    if fault := fault or checksummed.broken_checksum(raw):
        raise BundleError(f"{path} {fault}. Copy the whole folder again, or save it anew.")
    try:
        found = BundleConfig(
            **{key: value for key, value in raw.items() if key != checksummed.CHECKSUM}
        )
    except ConfigError as error:
        raise BundleError(f"{path}: {error}") from None
    if not {WEIGHTS} <= set(found.weights) <= {WEIGHTS, DISCRIMINATOR}:
        raise BundleError(
            f"{path} lists the weight files {sorted(found.weights)}, not {WEIGHTS}: save the "
            f"generator again."
        )
    return found


def extras(folder: Path, *, root: Path | None = None) -> dict[str, bytes]:
    """Read what lies beside a bundle, as far as it is what it should be.

    Left out is what is no file or leads out of ``root``, what is too large, a picture that is no
    PNG, and a file of the Hub's cache whose content is not that which its name there stands for.

    Args:
        folder: The bundle.
        root: Links may lead anywhere below it; by default, below the folder itself.

    Returns:
        The contents by name, of ``EXTRAS``.
    """
    found = {}
    for name in EXTRAS:
        path = folder / name
        with (
            contextlib.suppress(OSError, ValueError),
            untrusted.opened(path, _root(folder, root)) as file,
        ):
            content = file.read(checksummed.LARGEST + 1)
            fits = len(content) <= checksummed.LARGEST
            fits = fits and (path.suffix != ".png" or content.startswith(_PNG))
            if fits and _called_so(path.resolve(), content):
                found[name] = content
    return found


def mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Return in words the first tensor whose name, shape or dtype is another; empty if none is."""
    for name in sorted(set(expected) | set(found)):
        if name not in found:
            return f"lacks the weight '{name}' that its architecture has"
        if name not in expected:
            return f"has a weight '{name}' that its architecture lacks"
        have, need = found[name], expected[name]
        if have.shape != need.shape or have.dtype != need.dtype:
            return (
                f"has the weight '{name}' as {tuple(have.shape)} {have.dtype}, but its "
                f"architecture needs {tuple(need.shape)} {need.dtype}"
            )
    return ""


def check_sizes(config: BundleConfig, owner: str) -> None:
    """Refuse weight files that no net of theirs can need, before anybody fetches them.

    Args:
        config: What the bundle says of itself.
        owner: Whose files they are, for the message.

    Raises:
        BundleError: If one is larger than its architecture or ``GANZOO_MAX_BYTES`` allows.
        GanzooError: If the architecture refuses what it is asked for.
    """
    for name, facts in sorted(config.weights.items(), reverse=True):  # the generator first
        if facts.size > max_bytes():
            raise _too_large(Path(name), f"of {owner} has {facts.size:,} bytes")
        if config.architecture.provider:
            continue  # a plug-in's net may need memory only to be looked at
        try:
            weights = build_on_meta(_builder(config, name)).state_dict().values()
        except GanzooError:
            raise
        except Exception as error:
            raise _unbuildable(Path(), error) from error
        most = sum(weight.numel() * weight.element_size() for weight in weights)
        most += 2**16 + 2**10 * len(weights)  # names and shapes
        if facts.size > most:
            raise BundleError(
                f"{name} of {owner} has {facts.size:,} bytes, but the net that {CONFIG} describes "
                f"needs {most:,} at most: it is not what ganzoo writes. Load another one."
            )


def check_affordable(owner: Path, net: nn.Module, sample: SampleSpec, latent: LatentSpec) -> None:
    """Refuse a net that needs more memory than it may, before it is allocated.

    Args:
        owner: What describes the net, for the message.
        net: Its ``build_on_meta``.
        sample: What it makes or judges.
        latent: What it or its opponent is fed.

    Raises:
        BundleError: If the net and one sample need more than ``max_bytes``.
    """
    parts = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    needed = sum(part.numel() * part.element_size() for part in parts.values())
    needed += 4 * (sample.numel + latent.numel)
    if needed > max_bytes():
        raise _too_large(owner, f"needs {needed:,} bytes for its net and one sample")


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Return in words the first tensor with values that are not finite; empty if all are."""
    for name, value in tensors.items():
        if not (value.is_floating_point() or value.is_complex()):
            continue
        # The sum reads memory once and makes nothing; only an overflow needs a second look.
        if not value.sum().isfinite() and (count := int((~value.isfinite()).sum())):
            return f"{name} has {count} of {value.numel()} values not finite"
    return ""


# -- inside ---------------------------------------------------------------------------------------


def _root(folder: Path, root: Path | None) -> Path:
    """Where links may lead; the Hub's cache keeps files as links into folders beside."""
    if root is None and folder.parent.name == "snapshots":
        repository = folder.parent.parent
        if repository.name.startswith("models--"):
            # The client's own cache may share files among repositories; a folder that looks like
            # one may come from anybody.
            from huggingface_hub.constants import HF_HUB_CACHE

            shared = Path(os.path.realpath(HF_HUB_CACHE))
            own = Path(os.path.realpath(repository)).is_relative_to(shared)
            return shared if own else repository
    return folder if root is None else root


def _called_so(path: Path, content: bytes) -> bool:
    """Whether a file of the Hub's cache, which is called by its content, is what it is called."""
    if path.parent.name != "blobs":
        return True
    name = path.name
    if re.fullmatch(r"[0-9a-f]{64}", name):
        return hashlib.sha256(content).hexdigest() == name
    if re.fullmatch(r"[0-9a-f]{40}", name):  # as git calls it
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == name
    return True


def _stored(weights: Mapping[str, Tensor], half: bool) -> dict[str, Tensor]:
    """Weights in the types in which a file has them."""
    if not half:
        return dict(weights)
    return {n: v.half() if v.is_floating_point() else v for n, v in weights.items()}


def _mapped(
    folder: Path, config: BundleConfig, wanted: str, root: Path | None
) -> dict[str, Tensor]:
    """Verify all weight files and map one of them, as it is stored."""
    if wanted not in config.weights:
        raise BundleError(
            f"{folder} has no {wanted}: it was saved without its discriminator. A snapshot of a "
            f"run has it (snapshot_every), or save it with save_pretrained(..., discriminator=...)."
        )
    weights: dict[str, Tensor] = {}
    for name, facts in sorted(config.weights.items(), reverse=True):  # the generator first
        path = folder / name
        try:
            with untrusted.opened(path, _root(folder, root)) as file:
                whole = untrusted.amount(file) == facts.size
                if whole and facts.size > max_bytes():
                    raise _too_large(path, f"has {facts.size:,} bytes")
                if not whole or untrusted.digest(file) != facts.sha256:
                    raise BundleError(
                        f"{path} is not the file that {CONFIG} describes (size or SHA-256 differ): "
                        f"it was damaged or exchanged. Copy the whole folder again."
                    )
                if name == wanted:
                    weights = untrusted.tensors(file)
        except FileNotFoundError:
            raise BundleError(
                f"{path} is missing, which {CONFIG} lists: copy the whole folder again."
            ) from None
        except OSError as error:
            raise BundleError(
                f"{path} cannot be read ({error.strerror or error}). Copy the whole folder again."
            ) from error
        except ValueError as error:
            raise BundleError(
                f"{path} cannot be read as safetensors ({error}). Copy the whole folder again, or "
                f"take it from somebody else."
            ) from error
    if problem := not_finite(weights):
        raise BundleError(
            f"{folder / wanted} is of no use: {problem}. Save the generator again from an earlier "
            f"checkpoint."
        )
    return weights


def _loaded(folder: Path, config: BundleConfig, file: str, root: Path | None) -> nn.Module:
    """Build a net and give it its weights."""
    half = config.half is not None
    return assemble(folder, config, file, lambda: _mapped(folder, config, file, root), half=half)


def assemble(
    place: Path,
    config: BundleConfig,
    file: str,
    read: Callable[[], Mapping[str, Tensor]],
    *,
    half: bool = False,
) -> nn.Module:
    """Build a net of a bundle and give it weights, of which nothing is believed.

    Args:
        place: Where the weights lie, for messages.
        config: What the bundle says of itself.
        file: ``WEIGHTS`` or ``DISCRIMINATOR``.
        read: Gives the weights, on the CPU; called when the net is known to be affordable.
        half: Whether they are stored in half precision.

    Raises:
        BundleError: If the net cannot be built, needs more than is allowed, or has other weights.
        GanzooError: If the architecture refuses what it is asked for.
    """
    import torch

    build = _builder(config, file)
    own = not config.architecture.provider  # their state dicts hold all tensors, each once
    # A plug-in's nets may draw random numbers; ganzoo's own do not on the meta device.
    with contextlib.nullcontext() if own else torch.random.fork_rng(devices=[]):
        try:
            plan = build_on_meta(build)
        except GanzooError:
            raise
        except Exception as error:
            if own:
                raise _unbuildable(place, error) from error
            plan = None  # a plug-in's net may need numbers while it is built
        if plan is not None:
            check_affordable(place, plan, config.sample, config.latent)
        weights = read()
        if plan is not None:
            fitting = _fitting(place, plan.state_dict(), weights, half)
            if own:
                if file == DISCRIMINATOR:  # it is to be trained, which would copy every page
                    fitting = {name: value.clone() for name, value in fitting.items()}
                plan.load_state_dict(fitting, strict=True, assign=True)
                return plan
        try:
            module = build()
        except GanzooError:
            raise
        except Exception as error:
            raise _unbuildable(place, error) from error
    module.load_state_dict(_fitting(place, module.state_dict(), weights, half), strict=True)
    return module


def _builder(config: BundleConfig, file: str) -> Callable[[], nn.Module]:
    """What builds the net of a weight file."""
    architecture, sample = config.architecture, config.sample
    if file == WEIGHTS:
        return lambda: architecture.generator(sample, config.latent)
    return lambda: architecture.discriminator(sample)


def build_on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a net on torch's meta device: all of its shapes, none of its numbers."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        """Leaves initial weights out, for which torch would import its compiler."""

        def __torch_function__(
            self, function: Any, types: Any, arguments: Any = (), options: Any = None
        ) -> Any:
            named = {} if options is None else options
            initial = getattr(function, "__module__", "") == "torch.nn.init"
            if initial or getattr(function, "__name__", "") in _DRAWS:
                return arguments[0] if arguments else named["tensor"]
            return function(*arguments, **named)

    with torch.device("meta"), Undrawn():
        return build()


def _fitting(
    folder: Path, expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], half: bool
) -> dict[str, Tensor]:
    """Return weights as they are stored in the types that the net needs."""
    if problem := mismatch(_stored(expected, half), weights):
        raise BundleError(
            f"{folder} {problem}. Copy the whole folder again or save it anew; if its architecture "
            f"has changed, install the version that it was saved with."
        )
    return {name: value.to(expected[name].dtype) for name, value in weights.items()}


def max_bytes() -> int:
    """Return the bytes that a bundle, or what is made with it, may need.

    Raises:
        ConfigError: If the environment variable GANZOO_MAX_BYTES is no number.
    """
    given = os.environ.get("GANZOO_MAX_BYTES", "").strip()
    if given and not (given.isascii() and given.isdecimal() and len(given) < 20):
        raise ConfigError(
            f"The environment variable GANZOO_MAX_BYTES is '{given}', not a number of bytes."
        )
    return int(given) if given else _LARGEST


def _too_large(place: Path, needs: str) -> BundleError:
    return BundleError(
        f"{place} {needs}, more than the {max_bytes():,} that are allowed. If it is meant to be so "
        f"large, set the environment variable GANZOO_MAX_BYTES to more."
    )


def _unbuildable(folder: Path, error: Exception) -> BundleError:
    return BundleError(
        f"The net that {folder / CONFIG} describes cannot be built ({type(error).__name__}: "
        f"{error}). Load another one, or upgrade what its architecture comes from."
    )
