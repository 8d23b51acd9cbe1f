"""``ganzoo sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from ganzoo.errors import ConfigError

__all__ = ["sample"]

_TENSORS = (".npy", ".safetensors")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def sample(
    source: Path,
    /,
    *,
    count: Annotated[int, Parameter(name=["--count", "-n"])] = 64,
    seed: int | None = None,
    labels: tuple[int, ...] | None = None,
    out: Path | None = None,
    columns: int | None = None,
    device: str = "auto",
    force: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw samples from a generator.

    Args:
        source: folder of a run or of a saved generator
        count: how many
        seed: decides the samples; without it they differ each time
        labels: one class for all, or one per sample
        out: a picture of all (.png), the numbers (.npy, .safetensors), or a folder for single
            pictures; by default samples.png, samples-1.png, ... whichever is free
        columns: samples in a row of the picture
        device: auto, cpu, cuda or mps
        force: replace what is there
    """
    from ganzoo.generator import Generator

    if count < 1:
        raise ConfigError(f"Cannot draw {count} samples; --count must be at least 1.")
    generator = Generator.from_pretrained(source, device=device)
    is_image = generator.spec.kind == "image"
    target = out or _free(Path("samples.png" if is_image else "samples.npy"))
    kind = target.suffix.lower()
    if kind and kind not in (*_TENSORS, *_PICTURES):
        raise ConfigError(
            f"Cannot write {target}: '{kind}' is not a known kind. Use .png for a picture, "
            f".npy or .safetensors for numbers, or a folder for single pictures."
        )
    if target.exists() and not force and (kind or any(target.iterdir())):
        raise ConfigError(f"{target} already exists. Choose another --out, or add --force.")
    chosen = labels[0] if labels and len(labels) == 1 else labels
    options: dict[str, Any] = {"seed": seed, "labels": chosen}
    try:
        if kind in _PICTURES:
            target.parent.mkdir(parents=True, exist_ok=True)
            generator.grid(count, columns=columns, **options).convert(
                "RGB" if kind in (".jpg", ".jpeg") else None
            ).save(target)
        elif kind == ".npy":
            import numpy as np

            target.parent.mkdir(parents=True, exist_ok=True)
            np.save(target, generator.sample(count, **options).numpy(), allow_pickle=False)
        elif kind == ".safetensors":
            from safetensors.torch import save_file

            target.parent.mkdir(parents=True, exist_ok=True)
            save_file({"samples": generator.sample(count, **options)}, target)
        else:
            pictures = generator.images(count, **options)
            target.mkdir(parents=True, exist_ok=True)
            for index, picture in enumerate(pictures):
                picture.save(target / f"{index:06d}.png")
    except OSError as error:
        raise ConfigError(
            f"Cannot write {target} ({error.strerror or error}). Choose another --out."
        ) from error
    Console(soft_wrap=True, highlight=False).print(str(target), markup=False)


def _free(path: Path) -> Path:
    """The path itself, or with a number where it is taken."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
