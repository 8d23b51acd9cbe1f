"""CLIP features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch import nn

from ganzoo.device import pick_precision
from ganzoo.features.base import Extractor, fingerprint
from ganzoo.features.vision import OPENAI, Seen, from_hub

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ganzoo.device import PrecisionName

__all__ = ["CLIP"]


class CLIP(Extractor):
    """CLIP's image embedding, as torch-fidelity has it.

    Pictures are resized, as TensorFlow 1 did, to the size that the model was trained on; the
    embedding is not normalised to length 1.
    """

    name: ClassVar[str] = "clip"
    citation: ClassVar[str] = (
        'Radford et al. 2021, "Learning Transferable Visual Models From Natural Language '
        'Supervision", arXiv:2103.00020'
    )

    weights: str = Field(
        "openai/clip-vit-large-patch14",
        description="repository on the Hugging Face Hub, or a folder",
    )
    revision: str | None = Field(None, description="commit, tag or branch of the repository")

    def build(self, device: torch.device, precision: PrecisionName = "auto") -> nn.Module:
        """Return the net.

        Raises:
            CheckpointError: If the weights are not there or are of another net.
            ConfigError: If transformers is not installed.
            DeviceError: If the device cannot compute so.
        """
        model = self._model()
        return Seen(
            _Embedding(model),
            "clip",
            device,
            pick_precision(precision, device),
            model.config.image_size,
            "tf1-bilinear",
            OPENAI,
        )

    def weights_hash(self) -> str:
        """Return the SHA-256 of the weights.

        Raises:
            CheckpointError: If they are not there or are of another net.
            ConfigError: If transformers is not installed.
        """
        return fingerprint(self._model().state_dict())

    def preparation(self) -> dict[str, Any]:
        """Return preset, model, resizing and scaling."""
        return {
            "preset": "torch-fidelity",
            "model": self.weights,
            "resize": "tf1-bilinear",
            "scaling": str(OPENAI),
            "layer": "image embedding",
        }

    def _model(self) -> Any:
        return from_hub("CLIPVisionModelWithProjection", self.weights, self.revision)


class _Embedding(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.model(pixel_values=x).image_embeds
        return found
