"""The trained generator: what users hold, sample from, save, load and publish."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.core.device import pick_device
from ganzoo.errors import BundleError, ConfigError
from ganzoo.files import storage
from ganzoo.generators import bundle, card, hub, locating, markdown, sampling, saving
from ganzoo.showing import pictures

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from ganzoo.core.spec import LatentSpec, SampleSpec

__all__ = ["Generator", "of_repository"]

_ROWS = 16  # classes on a picture


class Generator:
    """A trained generator with all that is needed to use it.

    Get one from ``Generator.from_pretrained(source)``, ``trainer.generator`` or
    ``run.generator``.

    Attributes:
        module: The net itself, in evaluation mode: ``(z (N, *latent.shape), labels) -> samples``
            at the size it was trained at.
        config: What ``config.json`` of its bundle says; ``config.origin`` has the repository and
            the commit of one that came from the Hub.
        place: Where it was loaded from; None of one that was not.
    """

    def __init__(
        self,
        module: nn.Module,
        config: bundle.BundleConfig,
        place: locating.Place | None = None,
    ) -> None:
        self.module, self.config, self.place = module.eval(), config, place

    def __repr__(self) -> str:
        return (
            f"Generator({self.config.architecture.name}: {self.spec}, latent {self.latent.shape})"
        )

    def __call__(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Run the net itself: gradients flow, and nothing is cropped.

        Latents (N, *latent.shape) on the net's device, with labels (N,) int64 where it knows
        classes, give (N, *config.sample.shape) in the value range of ``spec``.
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
        return self.config.shown

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

        Repositories are stored in the Hub client's cache and load from there without a
        network; nothing of a repository is executed.

        Args:
            source: In this order: a folder with a ``config.json``, or of a run that has one in
                ``generator/``; the name of a pretrained one such as ``dcgan.fashion``; or a
                repository as ``org/repo`` or ``org/repo@revision``.
            revision: Of a repository: branch, tag, ``refs/pr/1`` or commit.
            token: For the Hub, instead of the machine's; False for none.
            cache_dir: Instead of the cache of the Hub's client.
            local_files_only: Ask the Hub for nothing.
            force_download: Fetch again, ignoring the cache.
            device: ``cpu``, ``cuda``, ``mps`` or ``auto``.

        Raises:
            BundleError: If the folder is absent, no bundle, or damaged.
            HubError: If the Hub refuses, cannot be reached, or has not what was asked for.
            ConfigError: If a revision is given for a folder or a pretrained generator.
            PluginError: If the architecture comes from a plug-in that is not installed.
            DeviceError: If the device is not available.
        """
        target = pick_device(device)
        cache_dir = None if cache_dir is None else storage.expanded(cache_dir)
        module, config, place = locating.load(
            source,
            revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
        )
        return cls(module.requires_grad_(False).to(target), config, place)

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        discriminator: nn.Module | bool | None = None,
        half: bool = False,
    ) -> Path:
        """Write the generator as a bundle: ``config.json`` and ``model.safetensors``.

        Of one that was loaded and has its weights still, the record of the training, the pictures
        and the scores go with it, not its README.md; scores only where half precision changes no
        weight. Changed weights are no copy of a commit: ``origin`` becomes what they started from.

        Args:
            folder: Where to; an older bundle there is replaced.
            discriminator: The net that its architecture builds, to be saved next to it as
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
        opponent = self._opponent(discriminator)
        saving.write(target, self.module, self.config, self.place, opponent, half)
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

        Scores, settings and curves that lie in the folder it was loaded from go with it, without
        secrets and folders of this machine. Doing it again is safe, and changes nothing where
        nothing has changed.

        Args:
            repo_id: ``org/repo``; made if it is not there.
            private: Whether a repository that is made is seen by its owner only.
            token: That may write, instead of the machine's.
            commit_message: The first line of the commit.
            revision: The branch, made if it is not there, or ``refs/pr/1``.
            create_pr: Send a pull request instead of changing the main branch.
            dry_run: Send nothing and use no network; the result says what would be sent.
            license: Of the weights, as the Hub names it, such as ``mit``.
            overwrite_card: Replace README.md even if it was edited there.
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
        origin, source = self.config.origin, self.place.folder if self.place else None
        training = self.config.model_dump(mode="json", include={"training"})["training"]
        config = self.config.model_copy(update={"training": markdown.hidden(training)})
        if origin is not None and origin.repo_id == repo_id:  # which is no origin of itself
            config = config.model_copy(update={"origin": None})
        opponent = self._opponent(discriminator)
        with hub.workplace(repo_id) as place:
            folder = place / "bundle"
            locating.fetch_extras(self.place, origin, token, dry_run)
            try:
                saving.write(folder, self.module, config, self.place, opponent, half)
            except BundleError as error:
                if isinstance(error.__cause__, OSError):  # of the temporary folder
                    raise error.__cause__ from None
                raise
            if self.spec.kind == "image" and not (folder / bundle.SAMPLES).exists():
                self.grid(seed=0).save(folder / bundle.SAMPLES)
            card.hide(folder, source)
            text = card.render(folder, repo_id=repo_id, license=options.license, source=source)
            (folder / bundle.CARD).write_bytes(text.encode())
            return hub.push(folder, repo_id, options)

    def _opponent(self, wanted: nn.Module | bool | None) -> nn.Module | None:
        """The discriminator that is to be saved, if one is."""
        net = self.discriminator() if wanted is True else wanted or None
        if net is None and wanted is True:
            raise BundleError(
                "There is no discriminator to save: this generator was not loaded from a bundle "
                "that has one. Give the net itself, or leave it out."
            )
        return net

    def discriminator(self) -> nn.Module | None:
        """Load the discriminator that this generator was trained against, ready to train on.

        It is that of its bundle or, where that has none and belongs to a run, of the run's newest
        checkpoint; on the CPU, and None where it was not saved.

        Raises:
            BundleError: If the bundle is damaged or gone, or the checkpoint holds another net.
            CheckpointError: If the run has checkpoints and none is whole.
            GanzooError: If the architecture cannot make a discriminator of such samples.
        """
        return locating.load_discriminator(self.place, self.config)

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
        return sampling.draw(
            self.module,
            self.config,
            count,
            seed=seed,
            labels=labels,
            latents=latents,
            batch_size=batch_size,
        )

    def seen(self, samples: Tensor) -> Tensor:
        """Return samples at the size of the net (N, *config.sample.shape) as people see them."""
        return self.config.cropped(samples)

    def images(self, count: int | None = None, **options: Any) -> list[Image]:
        """Draw samples as pictures; options are those of ``sample``.

        Raises:
            ConfigError: If the samples are not images.
        """
        return pictures.images(self.sample(count, **options), self.spec)

    def grid(
        self, count: int | None = None, *, columns: int | None = None, **options: Any
    ) -> Image:
        """Draw samples in rows on one picture; options are those of ``sample``.

        Of a generator with classes, where neither a count nor labels nor latents are given, each
        row has a class and its name, and each column a latent; of more than 16 classes, 16.

        Args:
            count: How many; by default as many as labels or latents are given, else 64.
            columns: Samples in a row; by default the picture is about square, or has 8 of each
                class.
            **options: Those of ``sample``.

        Raises:
            ConfigError: If the samples are not images.
        """
        chosen = (count, options.get("labels"), options.get("latents"))
        if self.spec.classes and all(each is None for each in chosen):
            options |= {"labels": None, "latents": None}
            return self._grid_by_class(8 if columns is None else columns, **options)
        labels = sampling.class_numbers(self.spec, options.pop("labels", None), count)
        count = sampling.number_of(count, labels, options.get("latents"), 64)
        return pictures.grid(self.sample(count, labels=labels, **options), self.spec, columns)

    def _grid_by_class(self, columns: int, *, seed: int | None = None, **options: Any) -> Image:
        """A row for each class, from the same latents."""
        names = self.spec.classes
        assert names is not None
        if columns < 1:
            raise ConfigError(f"A grid needs at least one column, not {columns}. Give 8, say.")
        rows = min(len(names), _ROWS)
        shown = [number * len(names) // rows for number in range(rows)]
        seed = sampling.seed_of(seed)
        options["latents"] = sampling.draw_latents(self.latent, columns, seed).repeat(
            rows, *(1,) * len(self.latent.shape)
        )
        options["labels"] = [number for number in shown for _ in range(columns)]
        samples = self.sample(seed=seed, **options)
        return pictures.grid(
            samples, self.spec, columns, {number: names[number] for number in shown}
        )


def of_repository(repo_id: str, *, device: torch.device | str = "cpu", **options: Any) -> Generator:
    """Load ``org/repo`` from the Hub, even if a folder here has that name.

    Options, and errors, are those of ``Generator.from_pretrained``.
    """
    module, config, place = locating.load_repository(repo_id, **options)
    return Generator(module.requires_grad_(False).to(device), config, place)
