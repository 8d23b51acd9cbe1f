"""The trained generator: what users hold, sample from, save and load."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo import bundle, pictures
from ganzoo.device import pick_device
from ganzoo.errors import BundleError, ConfigError
from ganzoo.seeds import derive

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from ganzoo.framing import Framing
    from ganzoo.spec import LatentSpec, SampleSpec

__all__ = ["Generator"]

_BLOCK = 64


class Generator:
    """A trained generator with all that is needed to use it.

    Get one from ``Generator.from_pretrained(folder)``, ``trainer.generator`` or
    ``run.generator``.

    Attributes:
        module: The net itself, in evaluation mode: ``(z (N, *latent.shape), labels) -> samples``
            at the size it was trained at.
        config: What ``config.json`` of its bundle says.
    """

    def __init__(self, module: nn.Module, config: bundle.BundleConfig) -> None:
        self.module = module.eval()
        self.config = config

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
        return self.config.sample.resized(padding.native) if padding else self.config.sample

    @property
    def _padding(self) -> Framing | None:
        """What to crop from the net's output, if anything."""
        framing = self.config.framing
        return framing if framing is not None and framing.method == "pad" else None

    @classmethod
    def from_pretrained(cls, source: str | Path, *, device: str = "cpu") -> Generator:
        """Load a generator from a bundle folder or from the folder of a run.

        Args:
            source: Folder with a ``config.json``, or a run folder that has one in ``generator/``.
            device: ``cpu``, ``cuda``, ``mps`` or ``auto``.

        Raises:
            BundleError: If the folder is absent, no bundle, or damaged.
            PluginError: If the architecture comes from a plug-in that is not installed.
            DeviceError: If the device is not available.
        """
        target = pick_device(device)
        folder = Path(source)
        if not folder.is_dir():
            raise BundleError(
                f"There is no folder {folder}. Give the folder of a run or of a saved generator."
            )
        if not (folder / bundle.CONFIG).is_file() and (folder / "generator").is_dir():
            folder = folder / "generator"
        elif not (folder / bundle.CONFIG).is_file() and (folder / "config.yaml").is_file():
            raise BundleError(
                f"The run {folder} has not saved its generator yet: 'ganzoo resume {folder}' "
                f"finishes it."
            )
        config, weights = bundle.read(folder)
        module = config.architecture.generator(config.sample, config.latent)
        bundle.fill(module, weights, folder)
        return cls(module.requires_grad_(False).to(target), config)

    def save_pretrained(
        self, folder: str | Path, *, discriminator: nn.Module | None = None
    ) -> Path:
        """Write the generator as a bundle: ``config.json`` and ``model.safetensors``.

        Args:
            folder: Where to; an older bundle there is replaced.
            discriminator: The net that its architecture builds, to be saved beside it as
                ``discriminator.safetensors``.

        Returns:
            The folder.

        Raises:
            BundleError: If weights are not finite or the folder cannot be written.
        """
        second = None if discriminator is None else discriminator.state_dict()
        bundle.write(Path(folder), self.config, self.module.state_dict(), second)
        return Path(folder)

    def sample(
        self,
        count: int = 16,
        *,
        seed: int | None = None,
        labels: int | Sequence[int] | Tensor | None = None,
        latents: Tensor | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """Draw samples.

        The same seed gives the same latents whatever the count, the batch size and the device:
        ``sample(4, seed=0)`` is the beginning of ``sample(100, seed=0)``, up to the rounding
        with which a net computes batches of different size.

        Args:
            count: How many.
            seed: Decides the latents; None draws fresh ones each time.
            labels: One class for all, or one per sample; by default drawn at random where the
                generator knows classes.
            latents: (count, *latent.shape) to use instead of drawn ones.
            batch_size: Samples per pass through the net; bounds the memory.

        Returns:
            float32 tensor (count, *spec.shape) on the CPU, in ``spec.value_range``.

        Raises:
            ConfigError: If the count, the labels or the latents do not fit the generator.
        """
        if count < 0 or batch_size < 1:
            raise ConfigError(f"Cannot draw {count} samples in batches of {batch_size}.")
        if seed is None:
            seed = secrets.randbits(63)
        if latents is None:
            latents = self._latents(count, seed)
        elif tuple(latents.shape) != (count, *self.latent.shape):
            raise ConfigError(
                f"The latents have shape {tuple(latents.shape)}; {count} samples of this "
                f"generator need {(count, *self.latent.shape)}."
            )
        classes = self._labels(count, labels, seed)
        device = next(self.module.parameters()).device
        was_training = self.module.training
        self.module.eval()
        parts = []
        with torch.no_grad():
            for start in range(0, count, batch_size):
                part = slice(start, start + batch_size)
                chosen = None if classes is None else classes[part].to(device)
                parts.append(self.module(latents[part].to(device), chosen).float().cpu())
        self.module.train(was_training)
        if not parts:
            return torch.empty(0, *self.spec.shape)
        return self.seen(torch.cat(parts))

    def seen(self, samples: Tensor) -> Tensor:
        """Return samples at the size of the net (N, *config.sample.shape) as people see them."""
        padding = self._padding
        return (padding.undo(samples) if padding else samples).contiguous()

    def images(self, count: int = 16, **options: Any) -> list[Image]:
        """Draw samples as pictures; options are those of ``sample``.

        Raises:
            ConfigError: If the samples are no images.
        """
        return pictures.images(self.sample(count, **options), self.spec)

    def grid(self, count: int = 64, *, columns: int | None = None, **options: Any) -> Image:
        """Draw samples in rows on one picture; options are those of ``sample``.

        Raises:
            ConfigError: If the samples are no images.
        """
        return pictures.grid(self.sample(count, **options), self.spec, columns)

    def _latents(self, count: int, seed: int) -> Tensor:
        # Whole blocks, each from a seed of its own, so that no count changes another's latents.
        blocks = [
            self.latent.sample(_BLOCK, generator=_source(seed, "latents", number))
            for number in range(-(-count // _BLOCK))
        ]
        return torch.cat(blocks)[:count] if blocks else torch.empty(0, *self.latent.shape)

    def _labels(
        self, count: int, labels: int | Sequence[int] | Tensor | None, seed: int
    ) -> Tensor | None:
        classes = self.spec.classes
        if classes is None:
            if labels is not None:
                raise ConfigError(
                    "This generator was trained without labels, so it cannot be asked for a "
                    "class; leave out 'labels'."
                )
            return None
        if labels is None:
            blocks = [
                torch.randint(len(classes), (_BLOCK,), generator=_source(seed, "labels", number))
                for number in range(-(-count // _BLOCK))
            ]
            return torch.cat(blocks)[:count] if blocks else torch.empty(0, dtype=torch.int64)
        chosen = torch.as_tensor(labels, dtype=torch.int64)
        if chosen.dim() == 0:
            chosen = chosen.expand(count)
        if chosen.shape != (count,):
            raise ConfigError(
                f"Give one label for all samples or one for each of the {count}; "
                f"got {tuple(chosen.shape)}."
            )
        if count and not (int(chosen.min()) >= 0 and int(chosen.max()) < len(classes)):
            raise ConfigError(
                f"Labels go from 0 to {len(classes) - 1} ({', '.join(classes)}); "
                f"got {int(chosen.min())} to {int(chosen.max())}."
            )
        return chosen


def _source(seed: int, purpose: str, block: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "sample", purpose, block))
