"""What a training shows of itself: samples, real ones beside them, curves, modes covered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ganzoo.core.nets import evaluating
from ganzoo.core.step import Output
from ganzoo.showing import pictures, plots

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image
    from torch import Tensor

    from ganzoo.datasets.mixture import Mixture
    from ganzoo.generators.generator import Generator
    from ganzoo.training.game import Game
    from ganzoo.training.loader import Loader

__all__ = ["SampleVisualizer"]

_SHOWN = 64  # samples on a picture
_POINTS = 2000  # real and generated vectors on a plot
_JUDGED = 2500  # samples by which modes are counted (PacGAN, arXiv:1712.04086)


class SampleVisualizer:
    """Looks at a training without changing it: its random state stays as it is.

    ``seed`` decides the latents, the same for every picture; ``mixture`` is the distribution of
    the real samples, where it is known.
    """

    def __init__(
        self,
        game: Game,
        loader: Loader,
        generator: Callable[[], Generator],
        seed: int,
        mixture: Mixture | None = None,
    ) -> None:
        self.game = game
        self.loader = loader
        self.generator = generator
        self.seed = seed
        self.mixture = mixture

    def picture(self, step: int) -> Image | None:
        """Return a grid of images, or a plot of vectors of one or two dimensions.

        None for other samples, or where a plot needs matplotlib and it is not installed.
        """
        generator = self.generator()
        spec = generator.spec
        if spec.kind == "image":
            return generator.grid(seed=self.seed)
        if not self.plotted or not plots.available():
            return None
        real, _ = self._real(_POINTS)
        judge = self._judge if spec.classes is None else None
        fake = generator.sample(len(real), seed=self.seed, batch_size=_POINTS)
        draw = plots.density if spec.numel == 1 else plots.scatter
        title, probability = f"step {step}", self.game.loss.probability
        return draw(real, fake, judge, plots.limits_of(real), title, probability=probability)

    def comparison(self) -> Image:
        """Return real and as many generated images side by side."""
        generator = self.generator()
        real, labels = self._real(_SHOWN)
        fake = generator.sample(len(real), seed=self.seed, labels=labels)
        grids = [pictures.grid(samples, generator.spec) for samples in (real, fake)]
        return pictures.side_by_side(grids, ["real", "generated"])

    def scores(self) -> dict[str, float]:
        """Return how generated samples cover the modes of the mixture, where it is known.

        Returns:
            ``modes`` covered, ``high_quality`` (share of samples within three standard deviations
            of one) and ``rarest_mode`` (its share of those), as ``Mixture.coverage`` has them.
        """
        if self.mixture is None:
            return {}
        fake = self.generator().sample(_JUDGED, seed=self.seed, batch_size=_JUDGED)
        found = self.mixture.coverage(fake)
        return {
            "modes": found.modes,
            "high_quality": found.high_quality,
            "rarest_mode": found.rarest,
        }

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of what ``scores`` returns."""
        return () if self.mixture is None else ("modes", "high_quality", "rarest_mode")

    @property
    def plotted(self) -> bool:
        """Whether samples are shown as a plot."""
        spec = self.generator().spec
        return spec.kind == "vector" and spec.numel <= 2

    def _real(self, count: int) -> tuple[Tensor, Tensor | None]:
        samples, labels = self.loader.preview(count)
        labels = None if labels is None else labels.cpu()
        return self.generator().seen(samples.cpu()), labels

    def _judge(self, points: Tensor) -> Tensor:
        """What D says of points (N, D), as its loss scores it: (N,)."""
        with evaluating(self.game.discriminator), torch.no_grad():
            # Not through the augmentation, whose random numbers are the training's.
            packs = points.to(self.loader.device).repeat(1, self.game.packing)  # of equal points
            found = self.game.discriminator(packs, None)
            logits = Output.of(found).logits
        return self.game.loss.score(logits).reshape(len(points), -1).mean(1).cpu()
