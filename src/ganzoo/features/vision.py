"""What extractors that see normalised pictures of one size have in common."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from ganzoo.errors import CheckpointError, ConfigError
from ganzoo.features.arithmetic import full_float32
from ganzoo.features.base import Features
from ganzoo.features.resizing import Resize, as_rgb, resize
from ganzoo.features.weights import not_finite

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.device import Precision

__all__ = ["IMAGENET", "OPENAI", "HubModel", "Normalisation", "Seen"]

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


@dataclass(frozen=True)
class HubModel:
    """A model of transformers, on the Hugging Face Hub.

    Only safetensors are read, and no code from there is run.

    Attributes:
        kind: Its class in transformers.
        repository: Where its authors have published it.
        revision: The commit that is taken from there.
        digest: SHA-256 of ``model.safetensors`` in it.
    """

    kind: str
    repository: str
    revision: str
    digest: str

    def load(self, source: str, revision: str | None) -> Any:
        """Return the model with the weights of a repository or folder.

        Raises:
            CheckpointError: If they are not there, damaged, or those of another model.
            ConfigError: If transformers is not installed.
        """
        kind = _class(self.kind)
        model = self._found(
            kind,
            source,
            revision,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
        if spoilt := not_finite(model.state_dict()):
            raise CheckpointError(
                f"The weights '{source}' hold NaN or infinity in the tensor '{spoilt}', so that "
                f"nothing can be computed with them. Get them again."
            )
        return model

    def form(self, source: str, revision: str | None) -> str:
        """Return the form of the net in words, wherever it lies.

        Raises:
            CheckpointError: If its ``config.json`` is not there.
            ConfigError: If transformers is not installed.
        """
        found = self._found(_class(self.kind).config_class, source, revision)
        return (
            f"{self.kind}: {found.num_hidden_layers} layers of {found.hidden_size}, "
            f"{found.num_attention_heads} heads, patches of {found.patch_size}, "
            f"{found.hidden_act}, eps {found.layer_norm_eps:g}"
        )

    def _found(self, kind: Any, source: str, revision: str | None, **options: Any) -> Any:
        if revision is None and source == self.repository:
            revision = self.revision
        try:
            return kind.from_pretrained(
                source, **options, **({"revision": revision} if revision else {})
            )
        except Exception as error:  # it raises anything from OSError to RuntimeError
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CheckpointError(
                f"The weights '{source}' cannot be loaded as {self.kind} "
                f"({reason.rstrip('.')}). {self._remedy(source, revision)}"
            ) from error

    def _remedy(self, source: str, revision: str | None) -> str:
        if Path(source).expanduser().is_dir():
            return (
                f"Such a folder has config.json and model.safetensors: get them from "
                f"https://huggingface.co/{self.repository}, or give another folder as weights."
            )
        known = source == self.repository and revision == self.revision
        digest = f" (SHA-256 {self.digest})" if known else ""
        return (
            f"Without a network, get config.json and model.safetensors{digest} from "
            f"https://huggingface.co/{source}/tree/{revision or 'main'}, put both into one folder "
            f"and give the path of that folder as weights."
        )


def _class(kind: str) -> Any:
    try:
        return getattr(importlib.import_module("transformers"), kind)
    except ImportError as error:
        raise ConfigError(
            f"This extractor needs transformers ({error}): pip install 'ganzoo[features]'."
        ) from error
