"""CLIP features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch import nn

from ganzoo.features.arithmetic import feature_precision
from ganzoo.features.huggingface import SOURCE, HubExtractor, HubModel
from ganzoo.features.vision import OPENAI, Seen

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ganzoo.core.device import PrecisionName

__all__ = ["CLIP", "MODEL"]

MODEL = HubModel(
    kind="CLIPVisionModelWithProjection",
    repository="openai/clip-vit-large-patch14",
    revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
    digest="a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
    alone=False,  # texts have a net there too
)


class CLIP(HubExtractor):
    """CLIP's image embedding, as torch-fidelity has it.

    Pictures are resized, as TensorFlow 1 did, to the size that the model was trained on; the
    embedding is not normalised to length 1.
    """

    name: ClassVar[str] = "clip"
    citation: ClassVar[str] = (
        'Radford et al. 2021, "Learning Transferable Visual Models From Natural Language '
        'Supervision", arXiv:2103.00020'
    )
    model: ClassVar[HubModel] = MODEL

    weights: str = Field(MODEL.repository, description=SOURCE)

    @property
    def program(self) -> str:
        """The program whose features these are."""
        return "torch-fidelity"

    def build(self, device: torch.device, precision: PrecisionName = "auto") -> nn.Module:
        """Return the net."""
        model = self.loaded()
        return Seen(
            _Embedding(model),
            "clip",
            device,
            feature_precision(precision, device),
            model.config.image_size,
            "tf1-bilinear",
            OPENAI,
        )

    def preparation(self) -> dict[str, Any]:
        """Return preset, form of the net, resizing and scaling."""
        return {
            "preset": "torch-fidelity",
            "model": self.form(),
            "resize": "tf1-bilinear",
            "scaling": str(OPENAI),
            "layer": "image embedding",
        }


class _Embedding(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.model(pixel_values=x).image_embeds
        return found
