"""What one phase of the game knows: for losses and penalties, and for your own loop."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["OWN", "Judge", "Output", "Play", "Step", "packed"]

OWN = (
    *("step", "epoch", "images", "d_loss", "g_loss", "d_real", "d_fake", "d_grad", "g_grad"),
    *("g_lr", "d_lr", "diversity", "skipped", "modes", "modes_due", "high_quality", "rarest_mode"),
    *("evaluated", "measured"),
)
"""The names in rows of ``metrics.jsonl`` that are ganzoo's own; losses report by others."""


@dataclass(frozen=True, eq=False)
class Output:
    """What a discriminator may return where a method needs more than logits.

    Attributes:
        logits: (N,), one score per sample, or (N, K) with K > 1 of each sample, as of patches,
            scales or heads; higher means more real. Losses take the mean over all.
        classes: (N, classes) class logits of an auxiliary classifier.
        features: Whatever the method matches or regularises.
    """

    logits: Tensor
    classes: Tensor | None = None
    features: Tensor | None = None

    @classmethod
    def of(cls, found: Tensor | Output) -> Output:
        """Return what a discriminator said as an ``Output`` with logits in float32."""
        output = found if isinstance(found, Output) else cls(found)
        return replace(output, logits=output.logits.float())


def packed(samples: Tensor, count: int) -> Tensor:
    """Return (N, C, *size) as packs (N / count, count * C, *size) of samples that follow."""
    if count == 1:
        return samples
    return samples.reshape(len(samples) // count, -1, *samples.shape[2:])


class Judge:
    """D as losses have it: ``(samples (N, *shape), labels or None) -> Output``.

    Whatever the net returns, this is an ``Output`` with logits in float32, computed in the
    precision of the training, behind the augmentation. All else, such as ``parameters()``, is
    the net's own.

    Args:
        net: The discriminator.
        autocast: Device type on which matrices are multiplied in bfloat16, or None.
        augmentation: Through which all samples pass, or None.
        packing: Samples that the net sees together, with one logit for all of them.
    """

    def __init__(
        self,
        net: nn.Module,
        autocast: str | None = None,
        augmentation: nn.Module | None = None,
        packing: int = 1,
    ) -> None:
        self.packing = packing
        self._net = net
        self._autocast = autocast
        self._augmentation = augmentation

    def __call__(self, samples: Tensor, labels: Tensor | None = None) -> Output:
        """Return what D says of samples."""
        if self._augmentation is not None:
            samples = self._augmentation(samples)
        samples = packed(samples, self.packing)
        with self.precision():
            return Output.of(self._net(samples, labels))

    def precision(self) -> AbstractContextManager[Any]:
        """Compute in the precision of the training within a block."""
        if self._autocast is None:
            return nullcontext()
        import torch

        return torch.autocast(self._autocast, torch.bfloat16)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_net", "_autocast", "_augmentation", "packing"):
            # as while copying
            raise AttributeError(name)
        return getattr(self._net, name)

    def __repr__(self) -> str:
        return f"Judge({self._net!r})"


class Play(Protocol):
    """The game as a method's own iteration has it: both phases, and what they are made of."""

    generator: nn.Module
    discriminator: nn.Module
    d_steps: int
    g_steps: int
    generator_sees_real: bool

    def update_discriminator(self, real: Tensor, labels: Tensor | None) -> Step:
        """Play D's phase on real samples (N, *shape) and as many generated ones."""
        ...

    def update_generator(self, count: int, real: Tensor | None, labels: Tensor | None) -> Step:
        """Play G's phase on ``count`` generated samples; ``real`` for losses that need it."""
        ...

    def draw(self, count: int) -> Tensor:
        """Return latents (count, *latent.shape) from the generator of the training."""
        ...

    def make(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        """Return samples (N, *shape) of the generator in training."""
        ...

    def judge(self, samples: Tensor, labels: Tensor | None = None) -> Output:
        """Return what D says of samples, behind the augmentation."""
        ...

    def net(self, name: str) -> nn.Module:
        """Return a net by its name: a player's, or one that the loss brings."""
        ...

    def precision(self) -> AbstractContextManager[Any]:
        """Compute in the precision of the training within a block."""
        ...

    def phase(self) -> AbstractContextManager[Any]:
        """Undo what a block does to buffers if its update is left out; then average the net."""
        ...

    def update(self, player: str, loss: Tensor) -> Tensor:
        """Follow the gradient of a loss with one net; returns its norm before clipping.

        Penalties, ``constrain`` and ``adapt`` belong to the two phases, and are not part of this.
        """
        ...


@dataclass(slots=True, eq=False)
class Step:
    """One phase of one iteration (for a loss), or the finished iteration (in your own loop).

    Attributes:
        number: Iterations finished before this one.
        generator: The net in training (not its average).
        discriminator: For a loss, a ``Judge``: ``(samples, labels or None) -> Output`` of D in
            training. In your own loop, the net itself.
        real: Real samples (N, *shape), normalised and not augmented; None in G's phase unless the
            loss asks.
        fake: Generated samples (N, *shape), not augmented.
        latent: What they were made from (N, *latent.shape).
        labels: Labels of ``real`` and ``fake`` (N,), or None.
        real_output: D's output on ``real``; with packing, logits are those of packs.
        fake_output: D's output on ``fake``.
        scalars: Detached 0-d tensors on the device, by name: ``d_loss``, ``g_loss``, ``d_real``
            and ``d_fake`` (D(x) and D(G(z)) as the loss scores them), ``d_grad`` and ``g_grad``
            (Euclidean norms of the nets' gradients before clipping), and what the loss reports.
            A loss or penalty reports by writing numbers or 0-d tensors here, by names of its own:
            their means are columns of ``metrics.jsonl``. Reading one with ``.item()`` waits for
            the device; the trainer itself reads them in batches.
        built: What the ``build`` of the component that is asked has returned: its own state.
        player: Whose phase it is, ``discriminator`` or ``generator``; empty in your own loop.
        share: Part of the batch that a loss or penalty sees here: below 1 with ``accumulate``.
    """

    number: int
    generator: nn.Module
    discriminator: nn.Module | Judge
    latent: Tensor
    fake: Tensor
    real: Tensor | None = None
    labels: Tensor | None = None
    real_output: Output | None = None
    fake_output: Output | None = None
    scalars: dict[str, Any] = field(default_factory=dict)
    built: Any = None
    player: str = ""
    share: float = 1.0
