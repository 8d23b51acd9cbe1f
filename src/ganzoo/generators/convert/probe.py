"""A latent and the sample that another program's generator makes of it, to verify a net by."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import ConfigError, DataError, quoted

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec, SampleSpec

__all__ = ["MisshapenError", "image", "latents", "read", "samples"]

_NPY = b"\x93NUMPY"
_REMEDY = "Save it with numpy.save(file, tensor.detach().cpu().numpy())."


class MisshapenError(Exception):
    """A sample of another shape than a net makes; its shape is the argument."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.shape = shape


def read(check: Any) -> tuple[Tensor, Tensor]:
    """Return latent and sample as float32, of whatever shapes they have.

    Args:
        check: Two of ``.npy`` files, arrays or tensors.

    Raises:
        ConfigError: If it is not two.
        DataError: If one is missing, no array, not of real numbers, or not finite.
    """
    if not isinstance(check, (tuple, list)) or len(check) != 2:
        raise ConfigError(
            f"A check is a latent and the picture that the net makes of it, not {quoted(check)}: "
            f"give two .npy files or arrays."
        )
    return _array(check[0], "latent"), _array(check[1], "picture")


def _array(value: Any, what: str) -> Tensor:
    import numpy as np
    import torch

    name = f"The {what}"
    if isinstance(value, (str, Path)):
        name = f"The {what} {value}"
        array = _file(Path(value).expanduser(), name)
    elif isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    else:
        try:
            array = np.asarray(value)
        except ValueError:
            raise DataError(f"{name} is not an array: its rows have different lengths.") from None
    if array.dtype.kind != "f":
        hint = (
            "Give the net's own output, before it was scaled to bytes."
            if what == "picture" and array.dtype.kind in "iu"
            else "Give floating-point numbers."
        )
        raise DataError(f"{name} is of type {array.dtype}. {hint}")
    if array.size == 0:
        raise DataError(f"{name} of shape {array.shape} has no values.")
    if not np.isfinite(array).all():
        raise DataError(f"{name} has values that are not finite. Give those of a net that works.")
    return torch.from_numpy(np.array(array, dtype=np.float32))


def _file(path: Path, name: str) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        if path.is_dir():
            raise DataError(f"{name} is a folder. Give a .npy file.")
        with path.open("rb") as file:
            head = file.read(len(_NPY))
        if head != _NPY:
            kinds = {b"PK": "an archive such as .npz or a file of torch.save", b"\x80": "a pickle"}
            kind = next((words for lead, words in kinds.items() if head.startswith(lead)), "")
            raise DataError(f"{name} is {kind or 'no .npy file'}, and is not read. {_REMEDY}")
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise DataError(f"{name} is not there. Give a .npy file that is.") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror or error}).") from error
    except (ValueError, EOFError, MemoryError, OverflowError) as error:
        if "bject" in str(error):
            raise DataError(
                f"{name} holds Python objects, which are never loaded. {_REMEDY}"
            ) from error
        raise DataError(f"{name} is damaged or cut off ({error}). {_REMEDY}") from error


def latents(value: Tensor, latent: LatentSpec, classes: int = 0) -> Tensor:
    """Return latents (N, *latent.shape) from (D,), (N, D), (N, D, 1, 1) and the like.

    With classes, D and what is returned, (N, D), have the one-hot label after the latent.

    Raises:
        DataError: If it is not a latent of this shape, or no label follows.
    """
    numel = latent.numel + classes
    wanted = (numel,) if classes else latent.shape
    shape = tuple(value.shape)
    for form in (wanted, (numel,), (numel, 1, 1)):
        if shape == form or shape[1:] == form:
            found = value.reshape(-1, *wanted)
            if classes and not _one_hot(found[:, latent.numel :]):
                break
            return found
    if classes:
        raise DataError(
            f"The latent is of shape {shape}, where the generator has {latent.numel} values and "
            f"{classes} classes: give {numel} values, the last {classes} of which are a one-hot "
            f"label."
        )
    raise DataError(
        f"The latent is of shape {shape}, where the generator is fed {_shapes(wanted)}: give one "
        f"of shape {wanted} or a batch of shape (N, {', '.join(map(str, wanted))})."
    )


def samples(value: Tensor, count: int, sample: SampleSpec) -> Tensor:
    """Return samples (N, *sample.shape) from one or several, channels first or last, or flat.

    Raises:
        MisshapenError: If it is of another shape, or of another number than ``count``.
    """
    shape, wanted = tuple(value.shape), sample.shape
    many = shape[1:] if len(shape) > 1 and shape[0] == count else None
    singles = [shape] if count == 1 else []
    for single in [*singles, *([many] if many else [])]:
        if single == wanted or single == (math.prod(wanted),):
            return value.reshape(count, *wanted)
        if single == (*wanted[1:], wanted[0]):
            return value.reshape(count, *single).movedim(-1, 1)
        if single == wanted[1:] and wanted[0] == 1:
            return value.reshape(count, *wanted)
    raise MisshapenError(shape)


def image(value: Tensor, count: int) -> tuple[int, ...]:
    """Return (channels, height, width) of what may be ``count`` images; empty if it cannot be."""
    single = tuple(value.shape)
    if len(single) == 4 or (len(single) == 3 and count > 1):
        if single[0] != count:
            return ()
        single = single[1:]
    if len(single) == 2:
        return (1, *single)
    if len(single) != 3:
        return ()
    return single if single[0] <= single[-1] else (single[-1], *single[:2])


def _one_hot(code: Tensor) -> bool:
    return bool((((code == 0) | (code == 1)).all(1) & (code.sum(1) == 1)).all())


def _shapes(shape: tuple[int, ...]) -> str:
    return f"{math.prod(shape)} values" if len(shape) == 1 else f"latents of shape {shape}"
