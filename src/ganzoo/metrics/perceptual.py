"""Scores by a perceptual distance between images: path length and diversity."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from ganzoo.core.seeds import derive
from ganzoo.errors import ConfigError, DataError, an
from ganzoo.features.arithmetic import full_float32
from ganzoo.metrics import lpips
from ganzoo.metrics.base import Metric, Part, Result
from ganzoo.metrics.inputs import MetricInputs, batches
from ganzoo.metrics.ms_ssim import pairs

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.metrics.inputs import Sampler

__all__ = ["PPL", "LPIPSDiversity", "path_lengths", "slerp"]

_BATCH = 32


class _Perceptual(Metric):
    """What scores by LPIPS share."""

    pictures: ClassVar[Literal["uint8", "float"]]
    """Whether the images that are compared are rounded, as they would be in a file."""

    size: int | None = Field(
        64, ge=16, description="height and width that images are compared at; None for their own"
    )

    def check(self, spec: SampleSpec) -> None:
        """Refuse what is not a greyscale or RGB image.

        Raises:
            ConfigError: If it is not.
        """
        super().check(spec)
        if spec.channels not in (1, 3):
            raise ConfigError(
                f"The metric '{self.name}' looks at greyscale and RGB images, and this is "
                f"{an(spec)}: leave it out."
            )
        if self.size is None and min(spec.size) < 16:
            raise ConfigError(
                f"The metric '{self.name}' needs images of at least 16x16 pixels, and this is "
                f"{an(spec)}: set size=64."
            )

    def protocol(self, spec: SampleSpec, mixture: Mixture | None) -> dict[str, Any]:
        """Return the net, the hashes of its weights, and what is done to images before it."""
        resize = "none"
        if self.size is not None:
            how = "area" if min(spec.size) > self.size else "bilinear"
            resize = f"{how} to {self.size}x{self.size}"
        return {
            "distance": "LPIPS 0.1, VGG-16",
            **lpips.hashes(),
            "images": self.pictures,
            "resize": resize,
            "precision": "fp32",
        }

    def prepare(self, device: torch.device) -> None:
        """Load LPIPS with its weights."""
        lpips.pretrained(self.size, device)

    def _net(self, fake: MetricInputs) -> lpips.LPIPS:
        return lpips.pretrained(self.size, fake.device or torch.device("cpu"))


class PPL(_Perceptual):
    """Perceptual path length: how much images change along a short way through the latents.

    Karras et al. 2019, arXiv:1812.04948, sec. 4.1, eq. 2: the mean of d(G(a), G(b)) / epsilon^2 for
    latents a and b = a + epsilon (c - a), with a and c drawn at random and d LPIPS by VGG16. In
    [0, inf), low where interpolations are smooth, and also where all samples are alike. As in
    torch-fidelity, ways start at t = 0, images are compared at 64x64 pixels and the lengths below
    the 1st and above the 99th percentile are left out; unlike there, images are not rounded to
    uint8 first, which would be most of what changes. The error is the standard error of the mean,
    ``extra["std"]`` the standard deviation. Compute it from a generator in float32.
    """

    citation: ClassVar[str] = (
        'Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial '
        'Networks", arXiv:1812.04948'
    )
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    requires: ClassVar[tuple[Part, ...]] = ("generator",)
    needs_real: ClassVar[bool] = False
    min_samples: ClassVar[int] = 0
    pictures: ClassVar[Literal["uint8", "float"]] = "float"

    num_samples: int = Field(10_000, ge=2, description="ways that are averaged over")
    epsilon: float = Field(1e-4, gt=0, le=1, description="length of a way, of that from a to c")
    interpolation: Literal["lerp", "slerp"] = Field(
        "lerp", description="along a straight line, or along a great circle, as StyleGAN's latents"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="decides the latents")

    @full_float32()
    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Draw the latents and compute it.

        Raises:
            CheckpointError: If the weights of LPIPS are not there.
            DataError: If the generator makes NaN.
        """
        generator = fake.generator
        assert generator is not None
        start, end = (
            generator.latent.sample(
                self.num_samples,
                generator=torch.Generator().manual_seed(derive(self.seed, "path", which)),
            )
            for which in ("from", "to")
        )
        mix = slerp if self.interpolation == "slerp" else torch.lerp
        net = self._net(fake)
        lengths = path_lengths(generator, start, mix(start, end, self.epsilon), net, self.seed)
        lengths = lengths / self.epsilon**2
        low = float(np.percentile(lengths.numpy(), 1, method="lower"))
        high = float(np.percentile(lengths.numpy(), 99, method="higher"))
        kept = lengths[(lengths >= low) & (lengths <= high)]
        spread = kept.std(correction=0).item()
        return Result(kept.mean().item(), spread / len(kept) ** 0.5, {"std": spread})


class LPIPSDiversity(_Perceptual):
    """How unlike pairs of generated images are, as people see it.

    Zhu et al. 2017, arXiv:1711.11586, sec. 5.1: the mean LPIPS distance by VGG16 over random pairs
    of generated images, each of them in one pair. From 0 on, 0 where all are the same picture; it
    says nothing about quality, so compare it with ``extra["real"]``, that of pairs of real images,
    where there are some. The error is the standard error of the mean over pairs.
    """

    citation: ClassVar[str] = (
        'Zhu et al. 2017, "Toward Multimodal Image-to-Image Translation", arXiv:1711.11586'
    )
    better: ClassVar[Literal["lower", "higher"]] = "higher"
    requires: ClassVar[tuple[Part, ...]] = ("samples",)
    needs_real: ClassVar[bool] = False
    pictures: ClassVar[Literal["uint8", "float"]] = "uint8"

    seed: int = Field(0, ge=0, lt=2**32, description="decides the pairs")

    @full_float32()
    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it pair by pair.

        Raises:
            CheckpointError: If the weights of LPIPS are not there.
        """
        net = self._net(fake)
        values = self._distances(fake, net)
        error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else None
        extra: dict[str, Any] = {"pairs": len(values)}
        if real is not None and real.samples is not None and real.count >= self.min_samples:
            real.require_finite("samples", "real")
            extra["real"] = self._distances(real, net).mean().item()
        return Result(values.mean().item(), error, extra)

    def _distances(self, part: MetricInputs, net: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        first, second = pairs(part.count, self.seed)
        return torch.cat(
            [
                net(part.pixels(first[batch]), part.pixels(second[batch])).double().cpu()
                for batch in batches(len(first), _BATCH)
            ]
        )


def path_lengths(
    generator: Sampler,
    start: Tensor,
    end: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    seed: int,
) -> Tensor:
    """Return the distances (N,), float64, between what a generator makes of two sets of latents.

    Args:
        generator: Both latents of a pair are of the same class, where it knows classes.
        start: (N, *latent.shape).
        end: The same.
        distance: Of images (n, C, H, W) in [0, 255], n at a time.
        seed: Decides the classes.

    Raises:
        DataError: If the generator makes NaN.
    """
    lengths = []
    for number, batch in enumerate(batches(len(start), _BATCH)):
        ends = []
        for latents in (start[batch], end[batch]):
            samples = generator.sample(
                len(latents), seed=derive(seed, "classes", number), latents=latents
            )
            made = MetricInputs(len(samples), samples=samples, spec=generator.spec)
            made.require_finite("samples", "generated")
            ends.append(made.pixels(slice(None)))
        with torch.no_grad():
            lengths.append(distance(*ends).double().cpu())
    found = torch.cat(lengths)
    if not torch.isfinite(found).all():
        raise DataError(
            "The perceptual distance between some generated images is not finite. Look at the "
            "samples: their values are far out of range."
        )
    return found


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Interpolate latents (N, *shape) along a great circle; nearly parallel ones along a line.

    Shoemake 1985 (SIGGRAPH), sec. 3.3, with lengths interpolated as well, as torch-fidelity does.
    """
    x, y = a.flatten(1), b.flatten(1)
    cosine = torch.cosine_similarity(x, y, dim=1, eps=1e-7)[:, None]
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin().clamp(min=1e-7)
    along = ((1 - share) * angle).sin() / sine * x + (share * angle).sin() / sine * y
    return torch.where(cosine.abs() > 1 - 1e-7, torch.lerp(x, y, share), along).reshape(a.shape)
