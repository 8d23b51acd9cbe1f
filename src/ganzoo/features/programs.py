"""How the programs that papers use find and open the pictures of a folder.

All of them open a file as ``PIL.Image.open(path).convert("RGB")``: alpha is dropped, Exif
orientation is not looked at, of an animation the first frame counts, and greyscale of more than 8
bits is clipped at 255. They differ in which files they look for. Looked up in torch-fidelity 0.4.0,
pytorch-fid 0.3.0, clean-fid 0.1.35 and torchvision 0.29.1, whose ``ImageFolder`` StudioGAN uses;
``benchmarks/references.py folders`` runs the first three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PROGRAMS", "Program", "Reading"]

Reading = Literal["program", "data"]
"""How files are opened: as these programs do, or as a dataset does for a training."""

_PYTORCH_FID = frozenset(
    (".bmp", ".jpg", ".jpeg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


@dataclass(frozen=True)
class Program:
    """Which files of a folder a program takes.

    Attributes:
        suffixes: Of the files that it looks for; None where that is not known.
        nested: Whether it searches sub-folders.
        any_case: Whether capital letters in a suffix make no difference.
    """

    suffixes: frozenset[str] | None = None
    nested: bool = True
    any_case: bool = True

    def finds(self, suffix: str) -> bool:
        """Whether it looks for files with this suffix."""
        known = suffix.lower() if self.any_case else suffix
        return self.suffixes is None or known in self.suffixes


PROGRAMS = {
    "torch-fidelity": Program(frozenset({".png", ".jpg", ".jpeg"}), nested=False),
    "pytorch-fid": Program(_PYTORCH_FID, nested=False, any_case=False),
    "clean-fid": Program(_PYTORCH_FID | {".JPEG", ".JPG", ".PNG"}, any_case=False),
    "StudioGAN": Program(_PYTORCH_FID),
    "dgm-eval": Program(),
}
"""By the names that ``Extractor.program`` gives."""
