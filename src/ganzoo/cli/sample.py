"""``ganzoo sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from ganzoo.errors import ConfigError, plain
from ganzoo.files.storage import expanded, new_file

if TYPE_CHECKING:
    from ganzoo.generators.generator import Generator

__all__ = ["FAVOURITE", "sample"]

FAVOURITE = "dcgan.fashion"
"""The pretrained generator that is sampled where none is named."""

_TENSORS = (".npy", ".safetensors")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def sample(
    source: str = FAVOURITE,
    /,
    *,
    count: Annotated[int | None, Parameter(name=["--count", "-n"])] = None,
    seed: int | None = None,
    labels: tuple[str, ...] | None = None,
    out: Path | None = None,
    columns: int | None = None,
    device: str = "auto",
    force: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw samples from a generator.

    Args:
        source: folder of a run or of a saved generator, a name of 'ganzoo list pretrained', or
            org/repo[@revision] on the Hugging Face Hub
        count: how many; by default one per label, or 64, or a row of a picture for each class
        seed: decides the samples; without it they differ each time
        labels: one class for all, or one per sample with commas between: names of classes, as in
            Sneaker,Bag, or their numbers
        out: a picture of all (.png), the numbers (.npy, .safetensors), or a folder for single
            pictures; by default samples.png, samples-1.png, ... whichever is free
        columns: samples in a row of the picture
        device: auto, cpu, cuda or mps
        force: replace what is there
    """
    from safetensors import SafetensorError

    from ganzoo.generators.generator import Generator

    if count is not None and count < 1:
        raise ConfigError(f"Cannot draw {count} samples; --count must be at least 1.")
    generator = Generator.from_pretrained(source, device=device)
    free = "samples.png" if generator.spec.kind == "image" else "samples.npy"
    target = _free(Path(free)) if out is None else expanded(out)
    options: dict[str, Any] = {"seed": seed, "labels": _labels(labels, generator)}
    by_class = labels is None and generator.spec.classes and target.suffix.lower() in _PICTURES
    if count is None and not by_class and not isinstance(options["labels"], list):
        count = 64
    try:
        _check(target, force)
        if target.suffix:
            _write_one(generator, target, count, columns, options)
        else:
            pictures = generator.images(count, **options)
            target.mkdir(parents=True, exist_ok=True)
            for index, picture in enumerate(pictures):
                picture.save(target / f"{index:06d}.png")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"Cannot write {target} ({reason}). Choose another --out.") from error
    Console(soft_wrap=True, highlight=False).print(str(target), markup=False)


def _labels(words: tuple[str, ...] | None, generator: Generator) -> Any:
    """What the words mean to the generator; it refuses them itself if it knows no classes."""
    if not words or generator.spec.classes is None:
        return words or None
    from ganzoo.core.labels import of_words

    labels, notices = of_words(words, generator.spec.classes)
    for notice in notices:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            plain(f"note: {notice}"), markup=False
        )
    return labels


def _check(target: Path, force: bool) -> None:
    kind = target.suffix.lower()
    if kind and kind not in (*_TENSORS, *_PICTURES):
        raise ConfigError(
            f"Cannot write {target}: '{kind}' is not a known kind. Use .png for a picture, "
            f".npy or .safetensors for numbers, or a folder for single pictures."
        )
    if target.exists() and target.is_dir() == bool(kind):
        what = "a folder, not a file" if kind else "a file, not a folder for pictures"
        raise ConfigError(f"{target} is {what}. Choose another --out.")
    if target.exists() and not force and (kind or any(target.iterdir())):
        raise ConfigError(f"{target} already exists. Choose another --out, or add --force.")


def _write_one(
    generator: Generator,
    target: Path,
    count: int | None,
    columns: int | None,
    options: dict[str, Any],
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = target.suffix.lower()
    with new_file(target) as fresh, fresh.open("wb") as file:
        if kind in _PICTURES:
            picture = generator.grid(count, columns=columns, **options)
            form = {".jpg": "JPEG"}.get(kind, kind[1:].upper())
            picture.convert("RGB" if form == "JPEG" else None).save(file, form)
        elif kind == ".npy":
            import numpy as np

            np.save(file, generator.sample(count, **options).numpy(), allow_pickle=False)
        else:
            from safetensors.torch import save

            file.write(save({"samples": generator.sample(count, **options)}))


def _free(path: Path) -> Path:
    """The path itself, or with a number where it is taken."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
