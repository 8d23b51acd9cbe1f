"""What one iteration of the game knows: handed to losses, and to whoever owns the loop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["OWN", "Judge", "Output", "Step"]

OWN = (
    *("step", "epoch", "images", "d_loss", "g_loss", "d_real", "d_fake", "d_grad", "g_grad"),
    *("g_lr", "d_lr", "diversity", "skipped", "modes", "high_quality", "rarest_mode"),
    *("evaluated", "measured"),
)
"""The names of rows of ``metrics.jsonl`` that are ganzoo's own: a loss reports by others."""


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


class Judge:
    """D as losses have it: ``(samples (N, *shape), labels or None) -> Output``.

    Whatever the net returns, this is an ``Output`` with logits in float32, computed in the
    precision of the training. All else, such as ``parameters()``, is the net's own.

    Args:
        net: The discriminator.
        autocast: Device type on which matrices are multiplied in bfloat16, or None.
    """

    def __init__(self, net: nn.Module, autocast: str | None = None) -> None:
        self._net = net
        self._autocast = autocast

    def __call__(self, samples: Tensor, labels: Tensor | None = None) -> Output:
        """Return what D says of samples."""
        if self._autocast is None:
            return Output.of(self._net(samples, labels))
        import torch

        with torch.autocast(self._autocast, torch.bfloat16):
            return Output.of(self._net(samples, labels))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_net", "_autocast"):  # on the way through a copy
            raise AttributeError(name)
        return getattr(self._net, name)

    def __repr__(self) -> str:
        return f"Judge({self._net!r})"


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
