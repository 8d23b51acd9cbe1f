"""Extractors on models of transformers, whose weights are on the Hugging Face Hub."""

from __future__ import annotations

import importlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field

from ganzoo.core.state_dicts import not_finite
from ganzoo.errors import CheckpointError, ConfigError
from ganzoo.features.base import Extractor, fingerprint
from ganzoo.features.weights import Reading, faults, stamp
from ganzoo.files.storage import expanded

__all__ = ["SOURCE", "HubExtractor", "HubModel"]

SOURCE = "repository on the Hugging Face Hub, or a folder"
"""What ``weights`` is."""


@dataclass(frozen=True)
class HubModel:
    """A model of transformers, on the Hugging Face Hub.

    Only safetensors are read, and no code from there is run.

    Attributes:
        kind: Its class in transformers.
        repository: Where its authors have published it.
        revision: The commit that is taken from there.
        digest: SHA-256 of ``model.safetensors`` in it.
        alone: Whether nothing else is in that file.
    """

    kind: str
    repository: str
    revision: str
    digest: str
    alone: bool = True

    def load(self, source: str, revision: str | None) -> Any:
        """Return the model with the weights of a repository or folder."""
        kind = _class(self.kind)
        model, read = self._found(
            kind,
            source,
            revision,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
        besides = read["unexpected_keys"] if self.alone else ()
        if wrong := faults({"lacks": read["missing_keys"], "also has": besides}):
            raise CheckpointError(
                f"The weights '{source}' are those of another net than {self.kind}: the file "
                f"{wrong}. Give those of {self.repository}, or others of its kind."
            )
        if spoilt := not_finite(model.state_dict()):
            raise CheckpointError(
                f"The weights '{source}' hold NaN or infinity in the tensor '{spoilt}', so that "
                f"nothing can be computed with them. Get them again."
            )
        return model

    def form(self, source: str, revision: str | None) -> str:
        """Return the form of the net in words, wherever it lies."""
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
                str(expanded(source)), **options, **({"revision": revision} if revision else {})
            )
        except Exception as error:  # it raises anything from OSError to RuntimeError
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CheckpointError(
                f"The weights '{source}' cannot be loaded as {self.kind} "
                f"({reason.rstrip('.')}). {self._remedy(source, revision)}"
            ) from error

    def _remedy(self, source: str, revision: str | None) -> str:
        if expanded(source).is_dir():
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


class HubExtractor(Extractor):
    """An extractor on a model of transformers; ``weights`` has the repository as its default."""

    model: ClassVar[HubModel]
    channels: ClassVar[tuple[int, ...] | None] = (1, 3)
    packages: ClassVar[tuple[str, ...]] = ("transformers",)

    weights: str = Field(description=SOURCE)
    revision: str | None = Field(
        None, description="commit, tag or branch of the repository; by default a known commit"
    )

    def loaded(self) -> Any:
        """Return the model with its weights."""
        return _READING.take(self, self._load)

    def form(self) -> str:
        """Return the form of the net in words."""
        return self.model.form(self.weights, self.revision)

    def weights_hash(self) -> str:
        """Return the SHA-256 of the weights."""
        return _READING.digest(self, self._files, self._load)

    def _load(self) -> Any:
        return self.model.load(self.weights, self.revision)

    def _files(self) -> Hashable:
        """What stands for the files as they are; of a repository nothing here does."""
        folder = expanded(self.weights)
        files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
        return (self.model.kind, *map(stamp, files)) if files else object()


def _hashed(model: Any) -> str:
    return fingerprint(model.state_dict())


_READING: Reading[Any, str] = Reading(_hashed)


def _class(kind: str) -> Any:
    try:
        return getattr(importlib.import_module("transformers"), kind)
    except ImportError as error:
        raise ConfigError(
            f"This extractor needs transformers ({error}): pip install 'ganzoo[features]'."
        ) from error
