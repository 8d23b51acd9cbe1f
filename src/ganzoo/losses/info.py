"""InfoGAN: codes in the latent that samples tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from ganzoo.errors import ConfigError
from ganzoo.losses.logistic import NonSaturating

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Output, Step

__all__ = ["CodeHead", "Info"]


class Info(NonSaturating):
    """The non-saturating loss, and a bound on how much samples tell of the codes in the latent.

    Chen et al. 2016, arXiv:1606.03657, eq. 5 and 6. The latent ends in codes (``categorical`` and
    ``continuous`` of the latent); a head Q on D's last features guesses them, and is trained with
    G. Minimised are the cross-entropy of each categorical code and, with a normal Q of fixed
    variance, half the squared error of continuous ones. D's features learn it too, as in the
    authors' code.
    """

    name: ClassVar[str] = "info"
    citation: ClassVar[str] = (
        'Chen et al. 2016, "InfoGAN: Interpretable Representation Learning by Information '
        'Maximizing Generative Adversarial Nets", arXiv:1606.03657'
    )
    wants: ClassVar[frozenset[str]] = frozenset({"features"})
    schedulable: ClassVar[tuple[str, ...]] = ("weight", "continuous_weight")

    weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="factor of the error of categorical codes"
    )
    continuous_weight: float = Field(
        0.1, ge=0, allow_inf_nan=False, description="factor of the error of continuous codes"
    )
    width: int = Field(128, ge=1, le=2**20, description="width of the head's hidden layer")

    def build(self, spec: SampleSpec, latent: LatentSpec) -> CodeHead:
        """Return the head Q, whose first layer takes its width from D's features.

        Raises:
            ConfigError: If the latent has no codes.
        """
        if not latent.codes:
            raise ConfigError(
                "Loss 'info' needs codes in the latent, and this one has none. Give it some, such "
                "as latent={'shape': 74, 'categorical': [10], 'continuous': 2} (--latent.shape 74 "
                "--latent.categorical 10 --latent.continuous 2)."
            )
        return CodeHead(self.width, latent)

    @property
    def d_range(self) -> None:
        """None: the loss holds the error of the codes, too."""
        return None

    def discriminator_loss(self, step: Step) -> Tensor:
        """D's loss."""
        return super().discriminator_loss(step) + self._error(step, report=False)

    def generator_loss(self, step: Step) -> Tensor:
        """G's loss; reports the errors of codes as ``categorical`` and ``continuous``."""
        return super().generator_loss(step) + self._error(step, report=True)

    def _error(self, step: Step, *, report: bool) -> Tensor:
        output: Output | None = step.fake_output
        assert output is not None and output.features is not None
        head: CodeHead = step.built
        categorical, continuous = head.errors(head(output.features), step.latent)
        if report:
            step.scalars |= {
                name: error.detach()
                for name, error in (("categorical", categorical), ("continuous", continuous))
                if error is not None
            }
        terms = [(self.weight, categorical), (self.continuous_weight, continuous)]
        found = [weight * error for weight, error in terms if error is not None]
        return torch.stack(found).sum()


class CodeHead(nn.Module):
    """Q: what D's features tell of a latent's codes.

    Args:
        width: Of the hidden layer.
        latent: Has the codes.
    """

    def __init__(self, width: int, latent: LatentSpec) -> None:
        super().__init__()
        self.latent = latent
        self.hidden = nn.LazyLinear(width)
        self.activation = nn.LeakyReLU(0.1)
        self.output = nn.Linear(width, latent.codes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, *shape) to what is guessed of the codes, (N, codes), in float32."""
        guessed: Tensor = self.output(self.activation(self.hidden(features.float().flatten(1))))
        return guessed.float()

    def errors(self, guessed: Tensor, latents: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return how wrong guesses (N, codes) are on the codes of latents (N, D).

        Returns:
            The sum over categorical codes of their cross-entropy in nats, and over continuous ones
            of half the mean squared error; None where there are none of them.
        """
        sizes = self.latent.categorical
        codes = latents[:, -self.latent.codes :].float()
        parts = torch.split(guessed, [*sizes, self.latent.continuous], 1)
        truth = torch.split(codes, [*sizes, self.latent.continuous], 1)
        categorical = continuous = None
        if sizes:
            pairs = zip(parts[:-1], truth[:-1], strict=True)
            categorical = torch.stack([cross_entropy(p, t.argmax(1)) for p, t in pairs]).sum()
        if self.latent.continuous:
            continuous = (parts[-1] - truth[-1]).square().mean(0).sum() / 2
        return categorical, continuous
