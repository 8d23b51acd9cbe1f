"""The trained generator: what users hold, sample from, save, load and publish."""

from __future__ import annotations

import contextlib
import copy
import itertools
import operator
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo import pretrained
from ganzoo.core.device import pick_device
from ganzoo.core.labels import numbers
from ganzoo.core.nets import evaluating
from ganzoo.core.seeds import checked, derive
from ganzoo.errors import (
    BundleError,
    ConfigError,
    GanzooError,
    HubError,
    did_you_mean,
    listing,
    quoted,
)
from ganzoo.files import checkpoint, storage
from ganzoo.generators import bundle, card, hub
from ganzoo.showing import pictures

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.datasets.preprocessing import Preprocessing

__all__ = ["Generator", "of_repository"]

_BLOCK = 64
_BATCH = 2**30  # bytes that one layer's outputs may have; a hundred layers never live at once
_WAITS = 20
_WAIT = 0.05  # seconds


@dataclass(frozen=True)
class _Local:
    """A generator as a folder here has it."""

    folder: Path
    config: bundle.BundleConfig
    module: nn.Module


@dataclass(frozen=True)
class _Place:
    """Where a generator was loaded from.

    Attributes:
        folder: The bundle.
        root: The folder that links in it may lead into; itself where None.
        cache_dir: Of the Hub's client, where it came from the Hub.
    """

    folder: Path
    root: Path | None = None
    cache_dir: str | Path | None = None


class Generator:
    """A trained generator with all that is needed to use it.

    Get one from ``Generator.from_pretrained(source)``, ``trainer.generator`` or
    ``run.generator``.

    Attributes:
        module: The net itself, in evaluation mode: ``(z (N, *latent.shape), labels) -> samples``
            at the size it was trained at.
        config: What ``config.json`` of its bundle says; ``config.origin`` has the repository and
            the commit of one that came from the Hub.
    """

    def __init__(self, module: nn.Module, config: bundle.BundleConfig) -> None:
        self.module = module.eval()
        self.config = config
        self._place: _Place | None = None

    def __repr__(self) -> str:
        return (
            f"Generator({self.config.architecture.name}: {self.spec}, latent {self.latent.shape})"
        )

    def __call__(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Run the net itself: gradients flow, and nothing is cropped.

        Args:
            latents: (N, *latent.shape), on the net's device.
            labels: (N,) int64 where the generator knows classes.

        Returns:
            (N, *config.sample.shape) in the value range of ``spec``.
        """
        output: Tensor = self.module(latents, labels)
        return output

    @property
    def latent(self) -> LatentSpec:
        """What the net is fed."""
        return self.config.latent

    @property
    def spec(self) -> SampleSpec:
        """What one sample of ``sample()`` is."""
        padding = self._padding
        return self.config.sample.resized(padding.original_size) if padding else self.config.sample

    @property
    def _padding(self) -> Preprocessing | None:
        """What to crop from the net's output, if anything."""
        preprocessing = self.config.preprocessing
        return (
            preprocessing if preprocessing is not None and preprocessing.method == "pad" else None
        )

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        device: str = "cpu",
    ) -> Generator:
        """Load a generator from a folder, by its name, or from the Hugging Face Hub.

        What comes from the Hub is kept in its client's cache and loads from there without a
        network; nothing of a repository is executed.

        Args:
            source: In this order: a folder with a ``config.json``, or of a run that has one in
                ``generator/``; the name of a pretrained one such as ``dcgan.fashion``; or a
                repository as ``org/repo`` or ``org/repo@revision``.
            revision: Of a repository: branch, tag, ``refs/pr/1`` or commit.
            token: For the Hub, instead of the machine's; False for none.
            cache_dir: Instead of the cache of the Hub's client.
            local_files_only: Ask the Hub for nothing.
            force_download: Fetch anew what is in the cache.
            device: ``cpu``, ``cuda``, ``mps`` or ``auto``.

        Raises:
            BundleError: If the folder is absent, no bundle, or damaged.
            HubError: If the Hub refuses, cannot be reached, or has not what was asked for.
            ConfigError: If a revision is given for what has none.
            PluginError: If the architecture comes from a plug-in that is not installed.
            DeviceError: If the device is not available.
        """
        target = pick_device(device)
        cache_dir = None if cache_dir is None else storage.expanded(cache_dir)
        found = _local(source, revision)
        if isinstance(found, _Local):
            return cls._loaded(found.config, found.module, _Place(found.folder), target)
        return of_repository(
            found[0],
            device=target,
            revision=found[1],
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
        )

    @classmethod
    def _loaded(
        cls, config: bundle.BundleConfig, module: nn.Module, place: _Place, device: torch.device
    ) -> Generator:
        generator = cls(module.requires_grad_(False).to(device), config)
        generator._place = place
        return generator

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        discriminator: nn.Module | bool | None = None,
        half: bool = False,
    ) -> Path:
        """Write the generator as a bundle: ``config.json`` and ``model.safetensors``.

        Of one that was loaded and has its weights still, the record of the training, the pictures
        and the scores go with it, as far as they are on this machine; not its README.md. Scores
        stay behind where half precision changes the weights. Weights that were changed are no copy
        of a commit any more: ``origin`` becomes what they started from.

        Args:
            folder: Where to; an older bundle there is replaced.
            discriminator: The net that its architecture builds, to be saved beside it as
                ``discriminator.safetensors``; True for that of ``discriminator()``.
            half: Store weights in half precision, which halves the file. The error that this
                costs 64 samples is written into ``config.json``. One that is stored so already
                stays so.

        Returns:
            The folder.

        Raises:
            BundleError: If weights are not finite, there is no discriminator, or the folder cannot
                be written.
        """
        target = storage.expanded(folder)
        self._write(target, self.config, discriminator, half)
        return target

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        dry_run: bool = False,
        license: str | None = None,  # noqa: A002 - the Hub's word
        overwrite_card: bool = False,
        half: bool = False,
        discriminator: nn.Module | bool | None = None,
    ) -> hub.Push:
        """Publish the generator on the Hugging Face Hub, with a card and a picture of samples.

        Scores, settings and curves that lie in the folder it was loaded from go with it. Doing it
        again is safe, and changes nothing where nothing has changed.

        Args:
            repo_id: ``org/repo``; made if it is not there.
            private: Whether a repository that is made is seen by its owner only.
            token: That may write, instead of the machine's.
            commit_message: The first line of the commit.
            revision: The branch, made if it is not there, or ``refs/pr/1``.
            create_pr: Send a pull request instead of changing the main branch.
            dry_run: Send nothing and use no network: what is returned says what would be sent.
            license: Of the weights, as the Hub names it, such as ``mit``.
            overwrite_card: Replace a README.md too that somebody has edited there.
            half: Store weights in half precision, as in ``save_pretrained``.
            discriminator: As in ``save_pretrained``.

        Returns:
            What was sent, where it is, the commit, and what to know about data and licence.

        Raises:
            BundleError: If weights are not finite or there is no discriminator.
            HubError: If the Hub refuses or cannot be reached, or the repository holds something
                else.
        """
        options = hub.HubOptions(
            private=private,
            token=token,
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
            dry_run=dry_run,
            license=license,
            overwrite_card=overwrite_card,
        )
        config, origin = self.config, self.config.origin
        if origin is not None and origin.repo_id == repo_id:  # which is no origin of itself
            config = config.model_copy(update={"origin": None})
        with hub.workplace(repo_id) as place:
            folder = place / "bundle"
            self._fetch_extras(token, dry_run)
            try:
                self._write(folder, config, discriminator, half)
            except BundleError as error:
                if isinstance(error.__cause__, OSError):  # of the temporary folder
                    raise error.__cause__ from None
                raise
            if self.spec.kind == "image" and not (folder / bundle.SAMPLES).exists():
                self.grid(64, seed=0).save(folder / bundle.SAMPLES)
            text = card.render(folder, repo_id=repo_id, license=options.license)
            (folder / bundle.CARD).write_bytes(text.encode())
            return hub.push(folder, repo_id, options)

    def _write(
        self,
        folder: Path,
        config: bundle.BundleConfig,
        discriminator: nn.Module | bool | None,
        half: bool,
    ) -> None:
        """Write a bundle, with what lies beside the one that this was loaded from."""
        weights = self.module.state_dict()
        second = self._opponent(discriminator)
        if config.half is None or not _are_half(weights):
            error = self._rounding() if half else None
            config = config.model_copy(update={"half": error})
        beside = self._beside(weights, config)
        if beside is None and config.origin is not None:
            base = f"{config.origin.repo_id}@{config.origin.revision}"
            training = {**config.training, "init_from": base}
            config = config.model_copy(update={"origin": None, "training": training})
        bundle.write(folder, config, weights, second, beside)

    def _beside(
        self, weights: Mapping[str, Tensor], config: bundle.BundleConfig
    ) -> dict[str, bytes] | None:
        """What lies beside the bundle that this was loaded from and is true of these weights.

        Args:
            weights: Of this generator.
            config: With which they are to be written.

        Returns:
            The contents by name; None if the weights are others, or that bundle is gone.
        """
        if self._place is None:
            return None
        place, root = self._place.folder, self._place.root
        found = bundle.extras(place, root=root)
        found.pop(bundle.CARD, None)  # which tells where it is to be loaded from
        if not found and config.origin is None:
            return None
        try:
            theirs, there = bundle.read(place, root=root)
        except GanzooError:  # it has gone or changed since
            return None
        if _equal(weights, there, rounded=config.half is not None):
            return found
        # A rounded copy, or the exact one of a bundle that was rounded since it was loaded.
        since = theirs.half is not None and self.config.half is None
        if not _equal(weights, there, rounded=since):
            return None
        found.pop(bundle.METRICS, None)  # measured with the others
        return found

    def _opponent(self, wanted: nn.Module | bool | None) -> Mapping[str, Tensor] | None:
        """The weights of the discriminator that is to be saved, if one is."""
        net = self.discriminator() if wanted is True else wanted or None
        if net is None and wanted is True:
            raise BundleError(
                "There is no discriminator to save: this generator was not loaded from a bundle "
                "that has one. Give the net itself, or leave it out."
            )
        return None if net is None else net.state_dict()

    def _rounding(self) -> bundle.Half | None:
        """What storing the weights in half precision costs 64 samples; None if it cannot be."""
        weights = self.module.state_dict()
        if not all(value.isfinite().all() for value in weights.values()):
            return None  # which cannot be saved at all
        rounded = {name: _rounded(value) for name, value in weights.items()}
        if bad := [name for name, value in rounded.items() if not value.isfinite().all()]:
            raise BundleError(
                f"The generator cannot be saved in half precision: its weight '{bad[0]}' exceeds "
                f"65,504. Save it without half."
            )
        module = copy.deepcopy(self.module)
        module.load_state_dict(rounded)
        exact = self.sample(64, seed=0)
        error = (Generator(module, self.config).sample(64, seed=0) - exact).abs()
        low, high = self.spec.value_range or (float(exact.min()), float(exact.max()))
        width = high - low or 1.0
        return bundle.Half(largest=float(error.max()) / width, mean=float(error.mean()) / width)

    def _fetch_extras(self, token: str | bool | None, local: bool) -> None:
        """Bring what lies beside a generator of the Hub into the cache."""
        origin, place = self.config.origin, self._place
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

    def discriminator(self) -> nn.Module | None:
        """Load the discriminator that this generator was trained against, ready to train on.

        It is that of the bundle that this was loaded from or, where that has none and belongs to a
        run, of the run's newest checkpoint.

        Returns:
            The net on the CPU; None where it was not kept.

        Raises:
            BundleError: If the bundle is damaged or gone, or the checkpoint holds another net.
            CheckpointError: If the run has checkpoints and none is whole.
            GanzooError: If the architecture cannot make a discriminator of such samples.
        """
        if self._place is None:
            return None
        folder = self._place.folder
        if bundle.DISCRIMINATOR in self.config.weights:
            return bundle.discriminator(folder, root=self._place.root)
        run = folder.parent
        if folder.name != "generator" or not (run / "config.yaml").is_file():
            return None
        newest = checkpoint.newest(run / "checkpoints")
        if newest.path is None:
            return None
        weights = checkpoint.part("discriminator", newest.tensors)
        return bundle.assemble(newest.path, self.config, bundle.DISCRIMINATOR, lambda: weights)

    def sample(
        self,
        count: int | None = None,
        *,
        seed: int | None = None,
        labels: int | str | Iterable[int | str] | Tensor | None = None,
        latents: Tensor | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """Draw samples.

        The same seed gives the same latents whatever the count, the batch size and the device:
        ``sample(4, seed=0)`` is the beginning of ``sample(100, seed=0)``, up to the rounding
        with which a net computes batches of different size.

        Args:
            count: How many; by default as many as labels or latents are given, else 16.
            seed: Decides the latents, from 0 to 2**63 - 1; None draws fresh ones each time.
            labels: One class for all, or one per sample, each by its name or by its number: a
                string is a name, an integer the place among ``spec.classes``. By default drawn at
                random where the generator knows classes.
            latents: (count, *latent.shape) to use instead of drawn ones.
            batch_size: Samples per pass through the net, which bounds the memory; fewer where one
                layer's outputs would exceed 1 GiB.

        Returns:
            float32 tensor (count, *spec.shape) on the CPU, in ``spec.value_range``.

        Raises:
            ConfigError: If the count, the seed, the labels or the latents do not fit the
                generator, or more memory would be needed than is allowed.
        """
        asked = (batch_size,) if count is None else (batch_size, count)
        if not all(map(_whole, asked)) or min(asked) < 0 or batch_size < 1:
            raise ConfigError(
                f"Cannot draw {quoted(count)} samples in batches of {quoted(batch_size)}: both are "
                f"whole numbers, of at least 0 and 1."
            )
        labels = self._numbers(labels, count)
        count = operator.index(_count(count, labels, latents, 16))
        batch_size = operator.index(batch_size)
        batch_size = self._affordable(count, batch_size)
        seed = secrets.randbits(63) if seed is None else checked(seed)
        if latents is None:
            latents = self._latents(count, seed)
        elif tuple(latents.shape) != (count, *self.latent.shape):
            raise ConfigError(
                f"The latents have shape {tuple(latents.shape)}; {count} samples of this "
                f"generator need {(count, *self.latent.shape)}."
            )
        classes = self._labels(count, labels, seed)
        device = _device_of(self.module)
        parts = []
        with evaluating(self.module), torch.no_grad():
            for start in range(0, count, batch_size):
                part = slice(start, start + batch_size)
                chosen = None if classes is None else classes[part].to(device)
                parts.append(self.module(latents[part].to(device), chosen).float().cpu())
        if not parts:
            return torch.empty(0, *self.spec.shape)
        return self.seen(torch.cat(parts))

    def seen(self, samples: Tensor) -> Tensor:
        """Return samples at the size of the net (N, *config.sample.shape) as people see them."""
        padding = self._padding
        return (padding.undo(samples) if padding else samples).contiguous()

    def images(self, count: int | None = None, **options: Any) -> list[Image]:
        """Draw samples as pictures; options are those of ``sample``.

        Raises:
            ConfigError: If the samples are no images.
        """
        return pictures.images(self.sample(count, **options), self.spec)

    def grid(
        self, count: int | None = None, *, columns: int | None = None, **options: Any
    ) -> Image:
        """Draw samples in rows on one picture; options are those of ``sample``.

        Args:
            count: How many; by default as many as labels or latents are given, else 64.
            columns: Samples in a row; by default the picture is about square.
            **options: Those of ``sample``.

        Raises:
            ConfigError: If the samples are no images.
        """
        options["labels"] = self._numbers(options.get("labels"), count)
        count = _count(count, options["labels"], options.get("latents"), 64)
        return pictures.grid(self.sample(count, **options), self.spec, columns)

    def _affordable(self, count: int, batch_size: int) -> int:
        """How many samples to draw at once; refuses more memory than is allowed."""
        sample, latent, allowed = self.config.sample, self.config.latent, bundle.max_bytes()
        if count * 4 * (sample.numel + latent.numel) > allowed:
            raise ConfigError(
                f"{count:,} samples of {4 * sample.numel:,} bytes each exceed the {allowed:,} "
                f"bytes that are allowed. Draw them in parts, each with a seed of its own, or set "
                f"the environment variable GANZOO_MAX_BYTES to more."
            )
        batch_size = min(batch_size, count)
        # Hidden layers are seldom as large as they could be: looked at only where that matters.
        pixels = sample.numel // sample.shape[0]
        sizes = [axis for weight in self.module.parameters() for axis in weight.shape]
        largest = 4 * sample.numel
        if 4 * pixels * batch_size * max(sizes, default=1) > allowed:
            largest = max(largest, self._widest())
        if largest > allowed:
            raise ConfigError(
                f"One sample of this generator needs {largest:,} bytes, more than the {allowed:,} "
                f"that are allowed. If it is meant to be so large, set the environment variable "
                f"GANZOO_MAX_BYTES to more."
            )
        room = min(_BATCH, allowed) // max(largest, 16 * sample.numel)
        return max(1, min(batch_size, room))

    def _widest(self) -> int:
        """Bytes of the largest output of a layer for one sample; 0 where only trying could tell."""
        config, largest = self.config, 0

        def look(layer: nn.Module, given: Any, output: Any) -> None:
            nonlocal largest
            if isinstance(output, torch.Tensor):
                largest = max(largest, output.numel() * output.element_size())

        with contextlib.suppress(Exception), torch.random.fork_rng(devices=[]):
            plan = bundle.build_on_meta(
                lambda: config.architecture.generator(config.sample, config.latent)
            )
            for layer in plan.modules():
                layer.register_forward_hook(look)
            labels = None
            if config.sample.classes:
                labels = torch.zeros(1, dtype=torch.int64, device="meta")
            with torch.no_grad():
                plan.eval()(torch.zeros(1, *config.latent.shape, device="meta"), labels)
        return largest

    def _latents(self, count: int, seed: int) -> Tensor:
        # Whole blocks, each from a seed of its own, so that no count changes another's latents.
        blocks = [
            self.latent.sample(_BLOCK, generator=_source(seed, "latents", number))
            for number in range(-(-count // _BLOCK))
        ]
        return torch.cat(blocks)[:count] if blocks else torch.empty(0, *self.latent.shape)

    def _numbers(self, labels: Any, count: int | None) -> Tensor | None:
        """The numbers of the classes that are asked for: () or (N,)."""
        if labels is None:
            return None
        if self.spec.classes is None:
            raise ConfigError(
                "This generator was trained without labels, so it cannot be asked for a "
                "class; leave out 'labels'."
            )
        return numbers(labels, self.spec.classes, count)

    def _labels(self, count: int, chosen: Tensor | None, seed: int) -> Tensor | None:
        """One class for each sample, drawn where none is chosen; None where there are none."""
        classes = self.spec.classes
        if classes is None or chosen is not None:
            return None if chosen is None else chosen.expand(count)
        blocks = [
            torch.randint(len(classes), (_BLOCK,), generator=_source(seed, "labels", number))
            for number in range(-(-count // _BLOCK))
        ]
        return torch.cat(blocks)[:count] if blocks else torch.empty(0, dtype=torch.int64)


def _count(count: int | None, labels: Tensor | None, latents: Tensor | None, usual: int) -> int:
    """How many samples to draw, if that is not said: one for each label or latent."""
    if count is not None:
        return count
    if labels is not None and labels.dim():
        return len(labels)
    return usual if latents is None else len(latents)


def _whole(value: Any) -> bool:
    try:
        return type(value) is not bool and operator.index(value) == value
    except (TypeError, RuntimeError):
        return False


def _device_of(module: nn.Module) -> torch.device:
    """Where a net computes; the CPU where it holds no tensor at all."""
    held = itertools.chain(module.parameters(), module.buffers())
    return next((value.device for value in held), torch.device("cpu"))


def _source(seed: int, purpose: str, block: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "sample", purpose, block))


def _rounded(value: Tensor) -> Tensor:
    """A weight as it comes back from half precision."""
    return value.half().to(value.dtype) if value.is_floating_point() else value


def _equal(own: Mapping[str, Tensor], there: Mapping[str, Tensor], *, rounded: bool) -> bool:
    """Whether weights, or what half precision makes of them, are those that were read."""
    return own.keys() == there.keys() and all(
        torch.equal((_rounded(value) if rounded else value).cpu(), there[name])
        for name, value in own.items()
    )


def _are_half(weights: Mapping[str, Tensor]) -> bool:
    """Whether half precision loses nothing of them."""
    return all(torch.equal(_rounded(value), value) for value in weights.values())


def _local(source: str | Path, revision: str | None) -> _Local | tuple[str, str | None]:
    """Load a generator from the folder that a source means, or tell the repository and revision.

    Whoever saves into the folder meanwhile exchanges it as a whole; then it is looked at again.
    """
    folder = storage.expanded(source)
    places = (folder, folder / "generator")  # of a bundle or a run
    for waits in range(_WAITS, -1, -1):
        before = [storage.state_of(place) for place in places]
        try:
            found = _locate(source, revision)
            if isinstance(found, Path):
                return _Local(found, *bundle.load(found))
            if not waits or before == [storage.state_of(place) for place in places]:
                return found
        except BundleError:
            saving = any(map(storage.partial_writes, places))
            if not waits or not (saving or before != [storage.state_of(place) for place in places]):
                raise
        time.sleep(_WAIT)
    raise AssertionError  # the last round returns or raises


def _locate(source: str | Path, revision: str | None) -> Path | tuple[str, str | None]:
    """Find what a source means: the folder of a bundle, or a repository and its revision."""
    name, folder = os.fspath(source), storage.expanded(source)
    with contextlib.suppress(OSError):  # no name of a file at all
        if not folder.is_dir() and (left := storage.partial_writes(folder)) and not folder.is_dir():
            raise BundleError(
                f"There is no folder {folder} at the moment: it is being saved, or was when its "
                f"process was killed, which left {left[0]}. Load it when that is done, or rename "
                f"what is left to {folder.name} if it is whole."
            )
        if folder.is_dir():
            if revision is not None:
                raise ConfigError(
                    f"{folder} is a folder, which has no revision '{revision}'. Leave the revision "
                    f"out, or give a repository on the Hub as 'owner/name'."
                )
            return _bundle_in(folder)
        if folder.is_file():
            raise BundleError(
                f"{folder} is a file. Give the folder of a run or of a saved generator; what "
                f"another library saved is made one by 'ganzoo convert'."
            )
        if folder.name == "best" and (folder.parent / "config.yaml").is_file():
            raise BundleError(
                f"The run {folder.parent} has no best generator, as none of its generators has "
                f"been scored yet. Scores are taken while it trains, where evaluate_every is set; "
                f"its newest generator is in {folder.parent / 'generator'}."
            )
    if not isinstance(source, Path) and name in pretrained.names():
        chosen = pretrained.get(name)
        if revision is not None:
            raise ConfigError(
                f"'{name}' is one generator, which has no revision '{revision}'. Leave the "
                f"revision out, or give a repository on the Hub as 'owner/name'."
            )
        return chosen.folder or (str(chosen.repo_id), chosen.revision)
    path = name.partition("@")[0]
    if isinstance(source, Path) or (
        "://" not in name
        and (re.match(r"[./~\\]|\w:", name) or "\\" in name or "/" in path[path.find("/") + 1 :])
    ):
        raise BundleError(
            f"There is no folder {Path(source)}. Give the folder of a run or of a saved generator."
        )
    if "/" not in name:
        options = pretrained.names()
        raise BundleError(
            f"There is no folder {name}.{did_you_mean(name, options)} Give the folder of a run or "
            f"of a saved generator, a repository on the Hub as 'owner/name', or a pretrained "
            f"generator by its name: {listing(options)}."
        )
    repo_id, at = hub.parse(name)
    if at is not None and revision not in (None, at):
        raise ConfigError(
            f"Two revisions are given, '{at}' in '{name}' and '{revision}': leave one out."
        )
    return repo_id, at or revision


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


def of_repository(repo_id: str, *, device: torch.device | str = "cpu", **options: Any) -> Generator:
    """Load a generator from the Hub, even if a folder here has the repository's name.

    Args:
        repo_id: ``org/repo``.
        device: Where to.
        options: Those of ``Generator.from_pretrained``.

    Raises:
        BundleError: If it is damaged.
        HubError: If the Hub refuses, cannot be reached, or has not what was asked for.
        PluginError: If the architecture comes from a plug-in that is not installed.
    """
    config, module, fetched = _from_hub(repo_id, **options)
    place = _Place(fetched.folder, fetched.root, options.get("cache_dir"))
    return Generator._loaded(config, module, place, torch.device(device))


def _from_hub(repo_id: str, **options: Any) -> tuple[bundle.BundleConfig, nn.Module, hub.Fetched]:
    """Load from the Hub; what is damaged in the cache is fetched a second time."""

    def load(**changed: Any) -> tuple[bundle.BundleConfig, nn.Module, hub.Fetched]:
        fetched = hub.fetch(repo_id, **{**options, **changed})
        config, module = bundle.load(fetched.folder, root=fetched.root)
        origin = bundle.Origin(repo_id=repo_id, revision=fetched.revision)
        return config.model_copy(update={"origin": origin}), module, fetched

    try:
        return load()
    except BundleError as error:
        if options.get("local_files_only") or options.get("force_download"):
            raise
        damage = error
    try:
        return load(force_download=True)
    except HubError as error:
        raise HubError(f"{damage} Fetching it again failed: {error}") from damage
    except BundleError as error:
        raise BundleError(
            f"{error} Fetching it from {repo_id} once more changed nothing."
        ) from error
