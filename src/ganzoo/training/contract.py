"""The contract of plug-ins: one sentence for each mistake.

``ganzoo.testing.check_*`` and the first batch of a training share these checks. Each raises
``ContractError`` with the fact, its cause and the remedy.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganzoo import errors
from ganzoo.errors import ContractError, GanzooError

if TYPE_CHECKING:
    from ganzoo.core.component import Component
    from ganzoo.core.step import Step
    from ganzoo.datasets import Samples
    from ganzoo.losses.base import Loss

__all__ = [
    "attributed_to",
    "blaming",
    "check_data",
    "check_labels",
    "check_loaded",
    "check_logits_kept",
    "check_logits_used",
    "check_loss_finite",
    "check_loss_reaches",
    "check_scalar",
    "check_score",
    "check_type",
    "constrain",
    "describe",
    "loss_of",
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
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename
        of_python = file.startswith(_PYTHON) and "site-packages" not in file
        if not of_python and not file.startswith(_LIBRARIES):
            return f" in {Path(file).name}, line {frame.lineno}"
    return ""


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
    """Check that data, all or some of the samples, are finite and in the range they promise.

    ``room`` is the share of the range by which they may leave it.
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


# -- losses ---------------------------------------------------------------------------------------


def loss_of(loss: Loss, player: str, step: Step) -> Tensor:
    """Return one player's loss of a phase: a scalar that has a gradient."""
    with blaming(f"The {player}'s loss", lambda error: _why(loss, step, str(error))):
        of_g = player == "generator"
        value: Any = loss.generator_loss(step) if of_g else loss.discriminator_loss(step)
    return check_scalar(value, player)


def _why(loss: Loss, step: Step, error: str) -> str:
    """What a loss that raised had: shapes, what is None in this phase, and how to get it."""
    logits = None if step.fake_output is None else tuple(step.fake_output.logits.shape)
    text = f"Its logits have shape {logits}, and samples {tuple(step.fake.shape)}."
    if loss.generator_sees_real and "positional argument" in error:
        text = (
            f"With generator_sees_real set, G's half is generator(fake, real), and without it "
            f"generator(fake). {text}"
        )
    absent = [name for name in ("labels", "real", "real_output") if getattr(step, name) is None]
    for side in ("real_output", "fake_output"):
        output = getattr(step, side)
        parts = () if output is None else ("classes", "features")
        absent += [f"{side}.{part}" for part in parts if getattr(output, part) is None]
    if absent:
        text += f" In this phase these are None: step.{', step.'.join(absent)}."
    if step.real is None:
        text += (
            " G's phase has real samples where the loss says generator_sees_real: ClassVar[bool] = "
            "True."
        )
    return text


def check_scalar(value: Any, player: str) -> Tensor:
    """Check that a loss is a scalar on the graph, without a host-device sync."""
    require(
        isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point(),
        f"The {player}'s loss must be a scalar tensor of shape (); it is {describe(value)}. Return "
        f"the mean over the batch, computed from the logits by tensors, without item() or float().",
    )
    require(
        value.requires_grad,
        f"The {player}'s loss has no gradient: compute it from the logits, without detach, "
        f"item() or no_grad.",
    )
    scalar: Tensor = value
    return scalar


def check_loss_finite(
    value: Tensor, player: str, scale: float, gradients: Sequence[Tensor | None] = ()
) -> None:
    """Check that a loss, and its gradients, are finite for logits that are so far from 0."""
    sound = bool(value.isfinite())
    what, found = "gradient of the loss", "not finite"
    if not sound:
        what, found = "loss", str(value.item())
    require(
        sound and all(each is None or bool(each.isfinite().all()) for each in gradients),
        f"The {player}'s {what} is {found} for logits around +-{scale:.3g}. Use a stable form, "
        f"such as softplus or logsigmoid.",
    )


def check_loss_reaches(player: str, gradients: Sequence[Tensor | None]) -> None:
    """Check that a loss depends on its player, by the gradients of that one's parameters."""
    use = "the logits of fake samples" if player == "generator" else "its logits of both batches"
    require(
        any(gradient is not None for gradient in gradients),
        f"The {player}'s loss does not depend on the {player}: use {use}.",
    )


def check_logits_used(side: str, used: bool) -> None:
    """Check that D's loss depends on samples of that side, ``real`` or ``fake``."""
    require(used, f"The discriminator's loss does not depend on its logits of {side} samples.")


def check_logits_kept(before: Tensor, after: Tensor) -> None:
    """Check that a loss has left logits as they were."""
    require(
        same(before.detach(), after.detach()),
        "The loss changes the logits in place, which others still read; work on new tensors.",
    )


def check_score(loss: Loss, logits: Tensor) -> Tensor:
    """Return what a loss shows of logits, one value for each of them."""
    with blaming("score()", f"That was for logits of shape {tuple(logits.shape)}."):
        score: Any = loss.score(logits)
    require(
        isinstance(score, Tensor) and score.shape == logits.shape,
        f"score() must return one value per logit, shape {tuple(logits.shape)}; "
        f"it returned {describe(score)}.",
    )
    checked: Tensor = score
    return checked


def constrain(loss: Loss, discriminator: nn.Module) -> None:
    """Restrict D's weights as the loss wants it."""
    with blaming("constrain()", "It gets the discriminator."):
        loss.constrain(discriminator)
