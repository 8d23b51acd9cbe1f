"""What extractors that see normalised pictures of one size have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from ganzoo.features.arithmetic import full_float32
from ganzoo.features.base import Features
from ganzoo.features.resizing import Resize, as_rgb, resize

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.device import Precision

__all__ = ["IMAGENET", "OPENAI", "Normalisation", "Seen"]

_TOGETHER = 32  # pictures on a CPU


class Normalisation(NamedTuple):
    """Mean and standard deviation per channel, of values in [0, 1]."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    def __str__(self) -> str:
        return f"(x / 255 - {list(self.mean)}) / {list(self.deviation)}"


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class Seen(nn.Module):
    """From uint8 pictures to the features of a net that sees them resized and normalised.

    Args:
        net: Maps (N, 3, size, size) to features (N, D).
        extractor: Its name, for messages.
        device: Where it computes.
        precision: In what.
        size: Height and width that it sees.
        how: How pictures are resized.
        scaling: How their values are scaled.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        net: nn.Module,
        extractor: str,
        device: torch.device,
        precision: Precision,
        size: int,
        how: Resize,
        scaling: Normalisation,
    ) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False).to(device)
        self.net.to(memory_format=torch.channels_last)
        self._extractor, self._size, self._how = extractor, size, how
        self._autocast = precision.autocast
        self._together = _TOGETHER if device.type == "cpu" else None
        for name, values in (("mean", scaling.mean), ("deviation", scaling.deviation)):
            tensor = torch.tensor(values, device=device).mul_(255).view(1, 3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)
        self.eval()

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Features:
        """Map uint8 (N, 1 or 3, H, W) to features, float32 (N, D)."""
        pictures = as_rgb(pictures, self._extractor)
        parts = torch.split(pictures, self._together or max(1, len(pictures)))
        return Features(torch.cat([self._features(part) for part in parts]))

    def _features(self, pictures: Tensor) -> Tensor:
        x = resize(pictures, self._size, self._how).sub(self.mean).div_(self.deviation)
        x = x.contiguous(memory_format=torch.channels_last)
        kind = pictures.device.type
        with (
            full_float32(not self._autocast),
            torch.autocast(kind, torch.bfloat16, enabled=self._autocast),
        ):
            found: Tensor = self.net(x)
        return found.float()
