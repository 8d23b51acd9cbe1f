"""DINOv2 features, in which the Frechet distance agrees better with what people see."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import interpolate

from ganzoo.features.arithmetic import feature_precision
from ganzoo.features.huggingface import SOURCE, HubExtractor, HubModel
from ganzoo.features.resizing import Resize
from ganzoo.features.vision import IMAGENET, Seen

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.device import PrecisionName

__all__ = ["MODEL", "DINOv2"]

MODEL = HubModel(
    kind="Dinov2Model",
    repository="facebook/dinov2-large",
    revision="47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
    digest="399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
)

_SIZE = 224
_OFFSET = 0.1  # of Meta's code, which keeps a rounding error from changing the grid's size
_RESIZE: dict[str, Resize] = {"dgm-eval": "pil-bicubic-uint8", "torch-fidelity": "tf1-bilinear"}


class DINOv2(HubExtractor):
    """The class token of DINOv2 after its last norm, of pictures resized to 224x224.

    FD-DINOv2 of Stein et al. 2023, arXiv:2306.04675, is the Frechet distance in the features of
    the large model with the preset ``dgm-eval``, the name of their program. The position
    embeddings are interpolated as Meta's own code does, and not as transformers would.
    """

    name: ClassVar[str] = "dinov2"
    citation: ClassVar[str] = (
        'Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision", '
        "arXiv:2304.07193"
    )
    model: ClassVar[HubModel] = MODEL
    packages: ClassVar[tuple[str, ...]] = ("transformers", "pillow")

    preset: Literal["dgm-eval", "torch-fidelity"] = Field(
        "dgm-eval", description="program whose preparation of pictures is followed"
    )
    weights: str = Field(MODEL.repository, description=SOURCE)

    @property
    def program(self) -> str:
        """The program that the preset follows."""
        return self.preset

    def build(self, device: torch.device, precision: PrecisionName = "auto") -> nn.Module:
        """Return the net."""
        model = self.loaded()
        embeddings = model.embeddings
        grid = _SIZE // model.config.patch_size
        embeddings.position_embeddings = nn.Parameter(
            _interpolated(embeddings.position_embeddings.detach(), grid), requires_grad=False
        )
        picked = feature_precision(precision, device)
        return Seen(
            _ClassToken(model), "dinov2", device, picked, _SIZE, _RESIZE[self.preset], IMAGENET
        )

    def preparation(self) -> dict[str, Any]:
        """Return preset, form of the net, size, resizing and scaling."""
        return {
            "preset": self.preset,
            "model": self.form(),
            "size": _SIZE,
            "resize": _RESIZE[self.preset],
            "scaling": str(IMAGENET),
            "layer": "class token after the last norm",
        }


class _ClassToken(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.model(pixel_values=x).pooler_output
        return found


def _interpolated(positions: Tensor, grid: int) -> Tensor:
    """Position embeddings (1, 1 + M*M, D) for a grid of patches, (1, 1 + grid*grid, D)."""
    own = math.isqrt(positions.shape[1] - 1)
    if own == grid:
        return positions
    patches = positions[:, 1:].float().reshape(1, own, own, -1).permute(0, 3, 1, 2)
    scale = (grid + _OFFSET) / own
    patches = interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([positions[:, :1], patches.permute(0, 2, 3, 1).flatten(1, 2)], 1)
