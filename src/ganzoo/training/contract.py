"""The contract of plug-ins: one sentence for each mistake.

``ganzoo.testing.check_*`` and the first batch of a training share these checks. Each raises
``ContractError`` with the fact, its cause and the remedy.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganzoo import errors
from ganzoo.errors import ContractError, GanzooError

if TYPE_CHECKING:
    from ganzoo.core.component import Component
    from ganzoo.datasets import Samples

__all__ = [
    "attributed_to",
    "blaming",
    "check_data",
    "check_labels",
    "check_loaded",
    "check_type",
    "describe",
    "require",
    "same",
]

_LOW = frozenset({torch.bfloat16, torch.float16})
_PYTHON = str(Path(traceback.__file__).parent)
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(errors.__file__).parent))
# What is no fault of the plug-in.
_MACHINE = (MemoryError, torch.OutOfMemoryError, getattr(torch, "AcceleratorError", MemoryError))
_MACHINE_SAYS = ("not enough memory", "deterministic implementation")


def require(condition: bool, fault: str) -> None:
    """Raise ``ContractError`` with the fault unless the condition holds."""
    if not condition:
        raise ContractError(fault)


def describe(value: Any, low_precision: bool = False) -> str:
    """Return a value's type and a tensor's shape; ``low_precision`` calls bfloat16 float32."""
    if isinstance(value, Tensor):
        dtype = torch.float32 if low_precision and value.dtype in _LOW else value.dtype
        return f"a {str(dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


@contextlib.contextmanager
def blaming(
    what: str, remedy: str | Callable[[Exception], str], *, own: bool = False
) -> Iterator[None]:
    """Turn an exception of a plug-in into one sentence that says what raised it, and where.

    Errors of the machine, such as a lack of memory, pass.

    Args:
        what: What is called.
        remedy: What to do about it.
        own: Whether ganzoo's own errors are a fault too; otherwise they pass.

    Raises:
        ContractError: If the block raises.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        of_machine = isinstance(error, _MACHINE) or any(part in reason for part in _MACHINE_SAYS)
        if of_machine or (isinstance(error, GanzooError) and not own):
            raise
        remedy = remedy if isinstance(remedy, str) else remedy(error)
        raise ContractError(
            f"{what} raised {type(error).__name__}{_place(error)}"
            f"{f' ({reason})' if reason else ''}. {remedy}"
        ) from error


def _place(error: Exception) -> str:
    """The last frame that is neither torch's, Python's nor ganzoo's."""
    frames = traceback.extract_tb(error.__traceback__)
    found = [frame for frame in frames if not _is_library(frame.filename)]
    return f" in {Path(found[-1].filename).name}, line {found[-1].lineno}" if found else ""


def _is_library(file: str) -> bool:
    of_python = file.startswith(_PYTHON) and "site-packages" not in file
    return of_python or file.startswith(_LIBRARIES)


@contextlib.contextmanager
def attributed_to(component: Component) -> Iterator[None]:
    """Add to a fault which component has it, and which function checks the whole of it."""
    try:
        yield
    except ContractError as error:
        if error.names_component:
            raise
        cls, kind = type(component), component.kind
        by = f" of {component.provider}" if component.provider else ""
        named = "name" in vars(cls) and bool(cls.name)
        who, how = (f"'{cls.name}'", f'"{cls.name}"') if named else (cls.__name__, cls.__name__)
        found = ContractError(
            f"{error} This is {kind} {who}{by}; ganzoo.testing.check_{kind}({how}) "
            f"checks all of it."
        )
        found.names_component = True
        raise found from error.__cause__


def same(before: Tensor, after: Tensor) -> bool:
    """Whether two tensors are equal, where NaN equals itself."""
    return bool(((before == after) | (before != before)).all())


# -- data -----------------------------------------------------------------------------------------


def check_loaded(samples: Any, kind: type, call: str = "load()") -> None:
    """Check the type of what a dataset returns."""
    require(
        isinstance(samples, kind),
        f"{call} must return {kind.__name__}(data, spec, ...), not {type(samples).__name__}.",
    )


def check_type(samples: Samples) -> None:
    """Check type and device of samples; those of another type train all the same."""
    data = samples.data
    require(
        isinstance(data, Tensor)
        and data.dtype in (torch.uint8, torch.float32)
        and data.device.type == "cpu",
        f"Samples must be uint8 or float32 on the CPU; these are {describe(data)}"
        f"{f' on {data.device}' if isinstance(data, Tensor) else ''}.",
    )


def check_data(samples: Samples, data: Tensor, room: float = 0.0) -> None:
    """Check that samples are finite and lie in the range that they promise.

    Args:
        samples: What the dataset has loaded.
        data: Its data, or a part of them.
        room: Share of the range by which they may leave it.
    """
    require(len(data) > 0, "The dataset is empty; raise DataError instead, saying what is absent.")
    low, high = data.min().item(), data.max().item()
    require(
        bool(torch.tensor([low, high]).isfinite().all()),
        "Some samples are not finite; remove or repair them in load().",
    )
    promised, what, remedy = samples.stored_range, "stored_range", "Say the range of the data"
    if promised is None:
        promised, what = samples.spec.value_range, "spec's value_range"
        remedy = "Give the stored_range of the data, or value_range=None"
    if promised is None:
        return
    slack = room * (promised[1] - promised[0])
    require(
        promised[0] - slack <= low and high <= promised[1] + slack,
        f"Samples lie between {low:g} and {high:g}, outside their {what} {promised}. {remedy}.",
    )


def check_labels(samples: Samples) -> None:
    """Check that labels are those of the classes that the spec names."""
    labels, classes = samples.labels, samples.spec.classes
    require(
        labels is None or classes is not None,
        "There are labels but the spec names no classes; give spec.classes.",
    )
    require(
        labels is not None or classes is None,
        "The spec names classes but there are no labels; give labels, or classes=None.",
    )
    if labels is None or classes is None:
        return
    require(
        labels.dtype == torch.int64 and labels.device.type == "cpu",
        f"Labels must be int64 on the CPU; these are {describe(labels)} on {labels.device}.",
    )
    low, high = int(labels.min()), int(labels.max())
    require(
        low >= 0 and high < len(classes),
        f"Labels run from {low} to {high} but there are {len(classes)} classes; they must lie "
        f"between 0 and {len(classes) - 1}.",
    )
