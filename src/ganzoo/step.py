"""What one iteration of the game knows: handed to losses, and to whoever owns the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.adversarial import Judge
    from ganzoo.architectures.base import Output

__all__ = ["OWN", "Step"]

OWN = (
    *("step", "epoch", "images", "d_loss", "g_loss", "d_real", "d_fake", "d_grad", "g_grad"),
    *("g_lr", "d_lr", "diversity", "skipped", "modes", "high_quality", "rarest_mode"),
    *("evaluated", "measured"),
)
"""The names of rows of ``metrics.jsonl`` that are ganzoo's own: a loss reports by others."""


@dataclass(slots=True, eq=False)
class Step:
    """One phase of one iteration (to a loss), or the finished iteration (to your own loop).

    Attributes:
        number: Iterations finished before this one.
        generator: The net in training (not its average).
        discriminator: To a loss, ``(samples, labels or None) -> Output``: D in training, whatever
            it returns, with logits in float32 and in the precision of the training; all else of
            the net is there too. In your own loop, the net itself.
        real: Real samples (N, *shape), normalised; None in G's phase unless the loss asks.
        fake: Generated samples (N, *shape).
        latent: What they were made from (N, *latent.shape).
        labels: Labels of ``real`` and ``fake`` (N,), or None.
        real_output: D's output on ``real``.
        fake_output: D's output on ``fake``.
        scalars: Detached 0-d tensors on the device, by name: ``d_loss``, ``g_loss``, ``d_real``
            and ``d_fake`` (D(x) and D(G(z)) as the loss scores them), ``d_grad`` and ``g_grad``
            (Euclidean norms of the nets' gradients before clipping), and what the loss reports.
            A loss reports by writing numbers or 0-d tensors here, by names of its own: their
            means are columns of ``metrics.jsonl``. Reading one with ``.item()`` waits for the
            device; the trainer itself reads them in batches.
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
