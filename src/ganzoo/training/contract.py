"""What architectures, losses and data owe to a training: a sentence for each fault, stated once.

``ganzoo.testing.check_*`` and the first batch of a training say the same.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganzoo import errors
from ganzoo.core import seeds
from ganzoo.core.step import Output
from ganzoo.errors import ContractError, GanzooError, an
from ganzoo.losses.base import Loss

if TYPE_CHECKING:
    from ganzoo.architectures.base import Architecture
    from ganzoo.core.component import Component
    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.core.step import Step
    from ganzoo.datasets import Samples

__all__ = [
    "IN_PLACE",
    "FirstBatch",
    "blaming",
    "build",
    "check_data",
    "check_finite",
    "check_gradients",
    "check_labels",
    "check_labels_are_used",
    "check_loaded",
    "check_logits_are_used",
    "check_loss_reaches",
    "check_scalar",
    "check_score",
    "check_signature",
    "check_type",
    "check_values",
    "check_whole_latent_is_used",
    "constrain",
    "describe",
    "judge",
    "loss_of",
    "make",
    "require",
    "some",
    "told_of",
    "try_out",
]

_EXTREME = 50.0  # times an ordinary latent
_FEW = 8  # samples that a generator is tried on
_STIRRED = 0.1  # sd of what is added to weights that may start at zero
_TRIES = 3  # passes in which layers that are left out at random get their turn
_ROOM = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3}  # of rounding
_LOW = frozenset({torch.bfloat16, torch.float16})
_BACKWARD = (
    "No layer may change in place what its gradient needs, and all must have one (a penalty on "
    "gradients needs that of the gradient too)."
)
_HOMES = (str(Path(torch.__file__).parent), str(Path(errors.__file__).parent))


def require(condition: bool, fault: str) -> None:
    """Raise the fault unless the condition holds.

    Raises:
        ContractError: With the fault.
    """
    if not condition:
        raise ContractError(fault)


def describe(value: Any, low_precision: bool = False) -> str:
    """Return what a value is, in words: of a tensor its type and shape.

    Args:
        value: The value.
        low_precision: Whether it was computed in bfloat16, which then counts as float32.
    """
    if isinstance(value, Tensor):
        dtype = torch.float32 if low_precision and value.dtype in _LOW else value.dtype
        return f"a {str(dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def some(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    quoted = ", ".join(f"'{name}'" for name in names[:3])
    return quoted + (f" and {len(names) - 3} more parameters" if len(names) > 3 else "")


@contextlib.contextmanager
def blaming(what: str, remedy: Callable[[Exception], str]) -> Iterator[None]:
    """Say in one sentence what somebody's code raised, and where.

    Errors of ganzoo's, and those of the machine, such as of memory, pass.

    Raises:
        ContractError: What ``what`` raised, and the ``remedy``.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, GanzooError | MemoryError) or _of_the_machine(error):
            raise
        told = " ".join(str(error).split())
        raise ContractError(
            f"{what} raised {type(error).__name__}{_place(error)}"
            f"{f' ({told})' if told else ''}. {remedy(error)}"
        ) from error


def _of_the_machine(error: Exception) -> bool:
    """Whether it is the machine or a setting that is at fault, not who called torch."""
    kinds = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))
    told = ("not enough memory", "deterministic implementation")
    return isinstance(error, kinds) or any(part in str(error) for part in told)


def _place(error: Exception) -> str:
    """Where it was raised, in the last file that is neither torch's nor ganzoo's."""
    frame = _own_frame(error)
    return f" in {Path(frame.filename).name}, line {frame.lineno}" if frame else ""


def _line(error: Exception) -> str:
    """The line of code that raised it, as far as the source is there."""
    frame = _own_frame(error)
    return (frame.line or "") if frame else ""


def _own_frame(error: Exception) -> traceback.FrameSummary | None:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_HOMES)]
    return own[-1] if own else None


def _one(spec: SampleSpec) -> str:
    count = len(spec.classes or ())
    return f"{an(spec)} {f'with {count} classes' if count else 'without classes'}"


# -- nets -----------------------------------------------------------------------------------------


def build(arch: Architecture, player: str, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
    """Build one player's net.

    Args:
        arch: The architecture.
        player: ``generator`` or ``discriminator``.
        spec: What a sample is.
        latent: What the generator is fed.

    Raises:
        ContractError: If that raises what is no error of ganzoo's, or gives no net that can be
            trained.
        UnsupportedSampleError: If it cannot do such samples.
    """
    of_g = player == "generator"
    start = f" from latents of shape {latent.shape}" if of_g else ""
    remedy = f"That was for {_one(spec)}{start}. "
    if arch.conditional and spec.classes is None:
        remedy += "Without classes spec.classes is None: build nets without labels then, or refuse "
        remedy += "such samples in check(spec)."
    else:
        remedy += "What it cannot do it refuses in check(spec)"
        remedy += ", or a latent in check_latent(latent, spec)." if of_g else "."
    with blaming(f"{player}()", lambda _: remedy):
        net: Any = arch.generator(spec, latent) if of_g else arch.discriminator(spec)
    require(
        isinstance(net, nn.Module),
        f"{player}() must return an nn.Module, not {describe(net)}.",
    )
    parameters = dict(net.named_parameters())
    require(
        any(parameter.requires_grad for parameter in parameters.values()),
        f"The {player} has no parameters to train. Assign its layers to self in __init__, lists "
        f"of them as nn.ModuleList.",
    )
    # A sum meets every number, and makes nothing; only an overflow needs a second look.
    odd = [
        name
        for name, value in parameters.items()
        if value.is_floating_point()
        and not value.is_meta
        and not value.sum().isfinite()
        and not value.isfinite().all()
    ]
    require(
        not odd,
        f"The {player} starts with {some(odd)} not finite; initialise what torch.empty made.",
    )
    checked: nn.Module = net
    return checked


def check_signature(net: nn.Module, player: str, *calls: Sequence[Any]) -> None:
    """Check that the net can be called with such arguments."""
    try:
        signature = inspect.signature(net.forward)
    except (TypeError, ValueError):  # compiled code may not tell
        return
    try:
        for arguments in calls:
            signature.bind(*arguments)
    except TypeError as error:
        argument = "z" if player == "generator" else "x"
        raise ContractError(
            f"The {player}'s forward{signature} cannot be called as contracted ({error}); "
            f"declare it as forward(self, {argument}, labels=None)."
        ) from None


def make(
    generator: nn.Module,
    latent: Tensor,
    labels: Tensor | None,
    spec: SampleSpec,
) -> Tensor:
    """Return what a generator makes of latents (N, *latent.shape): (N, *spec.shape), checked.

    Raises:
        ContractError: If it raises, returns something else, or changes its latents.
    """
    before, low_precision = latent.clone(), torch.is_autocast_enabled(latent.device.type)
    of = "" if labels is None else f" and labels of shape {tuple(labels.shape)}"
    remedy = f"That was for latents of shape {tuple(latent.shape)}{of}, and {_one(spec)}."
    with blaming("The generator", lambda error: remedy + _in_bf16(error, low_precision)):
        made: Any = generator(latent, labels)
    check_samples(made, len(latent), spec, low_precision)
    require(
        _same(before, latent),
        "The generator changes its latents in place, which others still read; work on new tensors.",
    )
    samples: Tensor = made
    return samples


def judge(
    discriminator: nn.Module,
    samples: Tensor,
    labels: Tensor | None,
) -> Output:
    """Return what a discriminator says of samples (N, *spec.shape), checked.

    Raises:
        ContractError: If it raises, returns something else, or changes the samples.
    """
    before = samples.detach().clone()
    low_precision = torch.is_autocast_enabled(samples.device.type)
    of = "" if labels is None else f" and labels of shape {tuple(labels.shape)}"
    remedy = (
        f"That was for samples of shape {tuple(samples.shape)}{of}: what discriminator(spec) "
        f"builds must follow from spec.shape and spec.classes."
    )
    with blaming("The discriminator", lambda error: remedy + _in_bf16(error, low_precision)):
        found: Any = discriminator(samples, labels)
    output = check_output(found, len(samples), low_precision)
    require(
        _same(before, samples.detach()),
        "The discriminator changes its samples in place, which others still read; work on new "
        "tensors.",
    )
    if output.logits.ndim == 2 and output.logits.shape[1] == len(samples) > 1:
        fewer = [None if each is None else each[:-1] for each in (samples.detach(), labels)]
        with torch.no_grad(), seeds.preserve_rng_state(samples.device):
            again = Output.of(copy.deepcopy(discriminator)(*fewer)).logits
        require(
            again.shape[-1] == len(samples),
            "The discriminator returns a table of logits (N, N), one for each pair of samples, as "
            "adding (N, 1) and (N,) makes it. One logit per sample: squeeze the last axis.",
        )
    return output


def _in_bf16(error: Exception, low_precision: bool) -> str:
    if low_precision and "bfloat16" in str(error).lower():
        return " It computes in bfloat16 here; precision='fp32' avoids that."
    return ""


def _same(before: Tensor, after: Tensor) -> bool:
    return bool(((before == after) | (before != before)).all())  # NaN is itself


def check_samples(samples: Any, count: int, spec: SampleSpec, low_precision: bool = False) -> None:
    """Check the type and shape of what a generator made of ``count`` latents."""
    wanted = (count, *spec.shape)
    types = {torch.float32, *(_LOW if low_precision else ())}
    require(
        isinstance(samples, Tensor) and samples.shape == wanted and samples.dtype in types,
        f"The generator must return a float32 tensor of shape {wanted} for a {spec}; "
        f"it returned {describe(samples, low_precision)}.",
    )


def check_output(found: Any, count: int, low_precision: bool = False) -> Output:
    """Check what a discriminator said of ``count`` samples, and return it as an ``Output``."""
    output = found if isinstance(found, Output) else Output(found)
    logits: Any = output.logits
    types = {torch.float32, *(_LOW if low_precision else ())}
    is_tensor = isinstance(logits, Tensor)
    shape = tuple(logits.shape) if is_tensor else ()
    right = shape == (count,) or (len(shape) == 2 and shape[0] == count and shape[1] > 1)
    if not is_tensor:
        remedy = "Return the logits themselves, or Output(logits, classes=..., features=...)."
    elif right:
        remedy = "Logits are numbers without bounds, not decisions: return them as float32."
    elif shape[:1] == (count,) and logits.numel() == count:
        remedy = "One logit per sample: squeeze the last axis."
    elif shape[:1] == (count,):
        remedy = "Several logits per sample, as of patches, are (N, K): flatten(1)."
    else:
        remedy = "One logit per sample: take no mean over the batch, and keep its axis first."
    require(
        is_tensor and right and logits.dtype in types,
        f"The discriminator must return float32 logits of shape (N,), here ({count},), or (N, K) "
        f"for K > 1 of each sample, or an Output with them; it returned "
        f"{describe(logits, low_precision)}. {remedy}",
    )
    return Output.of(output)


def check_values(samples: Tensor, spec: SampleSpec, extremes: Tensor | None = None) -> None:
    """Check that a generator's values are finite, and in the range of the spec.

    Args:
        samples: From ordinary latents.
        spec: What a sample is.
        extremes: From extreme ones, which may overflow.
    """
    samples = samples.detach()
    require(
        bool(torch.isfinite(samples).all()),
        "The generator made values that are not finite from an ordinary latent; "
        "check its initial weights.",
    )
    if spec.value_range is None:
        return
    low, high = spec.value_range
    values = samples.float().flatten()
    if extremes is not None:
        extremes = extremes.float().flatten()
        values = torch.cat((values, extremes[extremes.isfinite()]))
    found = values.min().item(), values.max().item()
    slack = _ROOM.get(samples.dtype, 0.0) * max(abs(low), abs(high))
    require(
        found[0] >= low - slack and found[1] <= high + slack,
        f"The generator made values from {found[0]:.3g} to {found[1]:.3g}, outside the spec's "
        f"range {spec.value_range}. End it with output_activation(spec) of "
        f"ganzoo.architectures.layers.",
    )


def try_out(
    generator: nn.Module,
    latent: Tensor,
    labels: Tensor | None,
    spec: SampleSpec,
    classes: int = 0,
) -> None:
    """Check what a generator in evaluation mode makes of extreme latents, and of others.

    Args:
        generator: A copy that nobody trains; it stays as it is.
        latent: Latents (N, *latent.shape).
        labels: Labels (N,), or None.
        spec: What a sample is.
        classes: How many classes there are, if samples shall depend on their labels.
    """
    with blaming("The generator in evaluation mode", lambda _: "Samples are made in it."):
        check_extremes(generator, latent, labels, spec)
        check_latent_is_used(generator, latent, labels, classes)


@torch.no_grad()
def check_extremes(
    generator: nn.Module, latent: Tensor, labels: Tensor | None, spec: SampleSpec
) -> None:
    """Check the range of what a generator in evaluation mode makes of any latent."""
    latent, labels = _few(latent, labels)
    with seeds.preserve_rng_state(latent.device):
        ordinary = generator(latent.clone(), labels)
        extremes = generator(_EXTREME * latent, labels)
    if ordinary.isfinite().all():  # in training mode it is, or its statistics are to blame
        check_values(ordinary, spec, extremes)


@torch.no_grad()
def check_latent_is_used(
    generator: nn.Module, latent: Tensor, labels: Tensor | None, classes: int = 0
) -> None:
    """Check that what a generator in evaluation mode makes depends on what it is fed.

    Weights that are zero at first, as a last layer's may be, are no fault: whoever gives the same
    for all latents has to do so with other weights, too.

    Args:
        generator: A copy that nobody trains; it stays as it is.
        latent: Latents (N, *latent.shape).
        labels: Labels (N,), or None.
        classes: How many classes there are, if samples shall depend on their labels.
    """
    latent, labels = _few(latent, labels)
    both = torch.cat((latent, 0.5 - latent))
    alike = None if labels is None else labels[:1].expand(len(both))
    require(
        _tells_apart(generator, (both, alike), (0.5 - both, alike))
        and any(_varied(_drawn(net, (both, alike))) for net in _with_others(generator)),
        "The generator ignores its latent: it makes the same samples from any. Compute each from "
        "its own row of the z that forward() gets.",
    )
    if labels is None or classes < 2:
        return
    require(
        _tells_apart(generator, (latent, labels), (latent, (labels + 1) % classes)),
        "The generator ignores its labels, though the architecture is conditional: it makes the "
        "same samples of all classes. Use the labels that forward() gets, or set conditional to "
        "False.",
    )


def check_whole_latent_is_used(generator: nn.Module, latent: Tensor, labels: Tensor | None) -> None:
    """Check that each value of the latent counts, for a generator in evaluation mode."""
    latent, labels = _few(latent, labels)
    silent = torch.ones_like(latent[0], dtype=torch.bool)
    for net in _with_others(generator):
        with seeds.preserve_rng_state(latent.device), torch.enable_grad():
            fed = latent.clone().requires_grad_()
            made = net(fed * 1, labels)
            if made.requires_grad:
                total = (made * torch.randn_like(made)).sum()
                (gradient,) = torch.autograd.grad(total, fed, allow_unused=True)
                if gradient is not None:
                    silent &= (gradient == 0).all(0)
        if not silent.any():
            return
    other = torch.where(silent, 0.5 - latent, latent)
    require(
        _tells_apart(generator, (latent, labels), (other, labels)),
        f"The generator ignores {int(silent.sum())} of the {silent.numel()} values of its latent "
        f"(the first is number {int(silent.flatten().nonzero()[0])}, from 0 on). Use all of z, or "
        f"a smaller latent.",
    )


@torch.no_grad()
def check_labels_are_used(discriminator: nn.Module, samples: Tensor, labels: Tensor) -> None:
    """Check that a conditional discriminator in evaluation mode says more with labels.

    Not of one that returns more than logits: it may classify samples itself.
    """
    found = discriminator(samples, labels)
    if isinstance(found, Output) and not (found.classes is None and found.features is None):
        return
    other = labels.flip(0)
    require(
        _tells_apart(discriminator, (samples, labels), (samples, other)),
        "The discriminator ignores its labels, though the architecture is conditional, so that "
        "the generator need not heed them. Use the labels that forward() gets, return an Output "
        "with classes, or set conditional to False.",
    )


def _few(latent: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return latent[:_FEW], None if labels is None else labels[:_FEW]


def _tells_apart(net: nn.Module, one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether the net gives others of other inputs, with its own weights or with others."""
    return any(not torch.equal(_drawn(x, one), _drawn(x, other)) for x in _with_others(net))


def _varied(rows: Tensor) -> bool:
    return not bool((rows == rows[:1]).all())


def _with_others(net: nn.Module) -> Iterator[nn.Module]:
    """The net, then the net with other weights, which is made where it comes to that."""
    yield net
    yield _stirred(net)


@torch.no_grad()
def _drawn(net: nn.Module, inputs: Sequence[Any]) -> Tensor:
    """What a net gives; random numbers that it draws are the same each time."""
    own = [each.clone() if isinstance(each, Tensor) else each for each in inputs]
    with seeds.preserve_rng_state(own[0].device):
        found = net(*own)
    tensor: Tensor = found.logits if isinstance(found, Output) else found
    return tensor


@torch.no_grad()
def _stirred(net: nn.Module) -> nn.Module:
    """A copy with other weights."""
    other = copy.deepcopy(net)
    source = torch.Generator().manual_seed(0)
    for weight in other.parameters():
        if weight.is_floating_point():
            weight.add_(torch.randn(weight.shape, generator=source).to(weight), alpha=_STIRRED)
    return other


def check_gradients(
    generator: nn.Module, discriminator: nn.Module, latent: Tensor, labels: Tensor | None
) -> None:
    """Check that gradients of all that D returns reach all parameters of both nets.

    The nets keep these gradients, and their buffers may change.
    """
    players = (("generator", generator), ("discriminator", discriminator))
    for net in (generator, discriminator):
        net.zero_grad(set_to_none=True)
    trained = [
        (player, [item for item in net.named_parameters() if item[1].requires_grad])
        for player, net in players
    ]
    for _ in range(_TRIES):
        output = Output.of(discriminator(generator(latent.clone(), labels), labels))
        heads = [output.logits, output.classes, output.features]
        floats = [head.float().sum() for head in heads if isinstance(head, Tensor)]
        total = torch.stack(floats).sum()
        require(
            total.requires_grad,
            "The logits have no gradient: the nets must not detach, or run under no_grad.",
        )
        with blaming("The backward pass through both nets", lambda _: _BACKWARD):
            total.backward()  # type: ignore[no-untyped-call]
        if all(weight.grad is not None for _, weights in trained for _, weight in weights):
            break
    for player, weights in trained:
        missed = [name for name, weight in weights if weight.grad is None]
        require(
            not missed,
            f"No gradient reaches {some(missed)} of the {player}. Use these parameters in "
            f"forward, remove what detaches them, or set requires_grad_(False) on purpose.",
        )
        broken = [
            name
            for name, weight in weights
            if weight.grad is not None and not weight.grad.isfinite().all()
        ]
        require(
            not broken,
            f"The gradient of {some(broken)} of the {player} is not finite.",
        )


# -- losses ---------------------------------------------------------------------------------------


def loss_of(loss: Loss, player: str, step: Step) -> Tensor:
    """Return one player's loss of a phase, a scalar that has a gradient.

    Args:
        loss: The loss.
        player: ``generator`` or ``discriminator``.
        step: What the phase knows.

    Raises:
        ContractError: If it raises what is no error of ganzoo's, or is something else.
    """
    what = f"The {player}'s loss"
    with blaming(what, lambda error: _why(loss, player, step, error)):
        of_g = player == "generator"
        value: Any = loss.generator_loss(step) if of_g else loss.discriminator_loss(step)
    return check_scalar(value, player)


def _why(loss: Loss, player: str, step: Step, error: Exception) -> str:
    """What a loss that raised may have relied on in vain."""
    text = str(error)
    lacking = "NoneType" in text or "must be Tensor" in text or "'real'" in text
    none = [name for name in ("labels", "real", "real_output") if getattr(step, name) is None]
    for name in ("real_output", "fake_output"):
        output = getattr(step, name)
        if output is not None:
            none += [f"{name}.{x}" for x in ("classes", "features") if getattr(output, x) is None]
    line = _line(error)
    read = [name for name in none if f".{name.rpartition('.')[2]}" in line]
    if lacking and read and ".real" not in line:
        return _are_none(read)
    if player == "generator" and not loss.generator_sees_real and lacking:
        return (
            "G's phase has real samples only where the loss says generator_sees_real: "
            "ClassVar[bool] = True; without it real, step.real and step.real_output are None."
        )
    if loss.generator_sees_real and "positional argument" in text:
        return (
            "Where generator_sees_real is set, it is generator(fake, real), and without it "
            "generator(fake)."
        )
    if "NoneType" in text and none:
        return _are_none(none)
    logits = None if step.fake_output is None else tuple(step.fake_output.logits.shape)
    return f"Its logits have shape {logits}, and samples {tuple(step.fake.shape)}."


def _are_none(names: Sequence[str]) -> str:
    are = "is" if len(names) == 1 else "are"
    return f"In this phase step.{', step.'.join(names)} {are} None."


def check_scalar(value: Any, player: str) -> Tensor:
    """Check that a loss is a scalar on the graph; nothing waits for the device."""
    is_tensor = isinstance(value, Tensor)
    if is_tensor:
        remedy = "Take the mean over the batch." if value.ndim else "Losses are real numbers."
    elif value is None:
        remedy = "End it with return."
    else:
        remedy = "Compute it from the logits by tensors, without item() or float()."
    require(
        is_tensor and value.ndim == 0 and value.is_floating_point(),
        f"The {player}'s loss must be a scalar tensor of shape (); it is {describe(value)}. "
        f"{remedy}",
    )
    require(
        value.requires_grad,
        f"The {player}'s loss has no gradient: compute it from the logits, without detach, "
        f"item() or no_grad.",
    )
    scalar: Tensor = value
    return scalar


def check_finite(value: Tensor, player: str, scale: float) -> None:
    """Check that a loss is finite for logits that are so far from 0."""
    require(
        bool(value.isfinite()),
        f"The {player}'s loss is {value.item()} for logits around +-{scale:.3g}. Use a stable "
        f"form, such as softplus or logsigmoid.",
    )


def constrain(loss: Loss, discriminator: nn.Module) -> None:
    """Restrict D's weights as the loss wants it.

    Raises:
        ContractError: If that raises what is no error of ganzoo's.
    """
    with blaming("constrain()", lambda _: "It gets the discriminator."):
        loss.constrain(discriminator)


def check_loss_reaches(player: str, gradients: Sequence[Tensor | None]) -> None:
    """Check that a loss depends on its player, by the gradients of that one's parameters."""
    use = "the logits of fake samples" if player == "generator" else "its logits of both batches"
    require(
        any(gradient is not None for gradient in gradients),
        f"The {player}'s loss does not depend on the {player}: use {use}.",
    )


def check_logits_are_used(side: str, used: bool) -> None:
    """Check that D's loss depends on samples of that side, ``real`` or ``fake``."""
    require(used, f"The discriminator's loss does not depend on its logits of {side} samples.")


def check_score(loss: Loss, logits: Tensor) -> Tensor:
    """Return what a loss shows of logits, one value for each of them."""
    with blaming("score()", lambda _: f"That was for logits of shape {tuple(logits.shape)}."):
        score: Any = loss.score(logits)
    require(
        isinstance(score, Tensor) and score.shape == logits.shape,
        f"score() must return one value per logit, shape {tuple(logits.shape)}; "
        f"it returned {describe(score)}.",
    )
    checked: Tensor = score
    return checked


IN_PLACE = "The loss changes the logits in place, which others still read; work on new tensors."


# -- data -----------------------------------------------------------------------------------------


def check_loaded(samples: Any, kind: type, call: str = "load()") -> None:
    """Check that a dataset gives what it promises."""
    require(
        isinstance(samples, kind),
        f"{call} must return {kind.__name__}(data, spec, ...), not {type(samples).__name__}.",
    )


def check_type(samples: Samples) -> None:
    """Check the type of samples; those of another one train all the same."""
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
        bool(torch.isfinite(torch.tensor([low, high])).all()),
        "Some samples are not finite; remove or repair them in load().",
    )
    if samples.stored_range is not None:
        promised, what, remedy = samples.stored_range, "stored_range", "Say the range of the data"
    elif samples.spec.value_range is not None:
        promised, what = samples.spec.value_range, "spec's value_range"
        remedy = "Give the stored_range of the data, or value_range=None"
    else:
        return
    slack = room * (promised[1] - promised[0])
    require(
        promised[0] - slack <= low and high <= promised[1] + slack,
        f"Samples lie between {low:g} and {high:g}, outside their {what} {promised}. {remedy}.",
    )


def check_labels(samples: Samples) -> None:
    """Check that labels are those of the classes that the spec names."""
    labels, classes = samples.labels, samples.spec.classes
    if labels is None:
        require(
            classes is None,
            "The spec names classes but there are no labels; give labels, or classes=None.",
        )
        return
    require(
        labels.dtype == torch.int64 and labels.device.type == "cpu",
        f"Labels must be int64 on the CPU; these are {describe(labels)} on {labels.device}.",
    )
    if classes is None:
        raise ContractError("There are labels but the spec names no classes; give spec.classes.")
    low, high = int(labels.min()), int(labels.max())
    require(
        low >= 0 and high < len(classes),
        f"Labels run from {low} to {high} but there are {len(classes)} classes; they must lie "
        f"between 0 and {len(classes) - 1}.",
    )


# -- the first batch ------------------------------------------------------------------------------


class FirstBatch:
    """Looks at the first iteration of a game as it is played, without changing what it computes.

    What it tries besides is tried on copies, and all random generators stay as they were.

    Args:
        arch: The architecture of both nets.
        spec: What a sample is.
        fresh: Whether the weights are as they were made: what trained ones compute is not judged.
        skipping: Whether the game leaves out updates that are not finite: it may begin with one.

    Attributes:
        notices: What is odd and does no harm, a line each.
    """

    def __init__(
        self, arch: Architecture, spec: SampleSpec, fresh: bool, skipping: bool = False
    ) -> None:
        self.arch, self.spec, self.fresh, self._skipping = arch, spec, fresh, skipping
        self.notices: list[str] = []
        self.loss: Loss
        self._nets: tuple[nn.Module, nn.Module] | None = None
        self._trained: frozenset[str] = frozenset()  # of D, which G's phase freezes
        self._inputs: tuple[Tensor, Tensor | None] | None = None
        self._tried = False

    def begin(self, generator: nn.Module, discriminator: nn.Module, loss: Loss) -> None:
        """Know the players before anything is frozen."""
        self._nets, self.loss = (generator, discriminator), loss
        named = discriminator.named_parameters()
        self._trained = frozenset(name for name, weight in named if weight.requires_grad)

    def make(
        self, generator: nn.Module, copied: nn.Module, latent: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return G's samples of latents; ``copied`` is a copy of it in evaluation mode."""
        self._inputs = latent, labels
        with told_of(self.arch):
            check_signature(generator, "generator", (latent, labels))
            samples = make(generator, latent, labels, self.spec)
            if self.fresh and _whole(generator) and bool(latent.isfinite().all()):
                check_values(samples, self.spec)
                if not self._tried:
                    self._tried = True
                    classes = len(self.spec.classes or ()) if self.arch.conditional else 0
                    try_out(copied, latent, labels, self.spec, classes)
                    try:
                        with contextlib.suppress(RuntimeError):  # nets that only training can do
                            check_whole_latent_is_used(copied, latent, labels)
                    except ContractError as fault:  # a waste, but it trains
                        self.notices.append(str(fault))
            if torch.is_grad_enabled() and not samples.requires_grad:
                self._check_gradients()
        return samples

    def judge(self, discriminator: nn.Module, samples: Tensor, labels: Tensor | None) -> Output:
        """Return D's output on samples."""
        with told_of(self.arch):
            check_signature(discriminator, "discriminator", (samples, labels))
            output = judge(discriminator, samples, labels)
            if self.fresh and _whole(discriminator) and bool(samples.isfinite().all()):
                require(
                    bool(output.logits.isfinite().all()),
                    "The discriminator returned logits that are not finite; check its initial "
                    "weights.",
                )
            if torch.is_grad_enabled() and not output.logits.requires_grad:
                self._check_gradients()
        return output

    def loss_of(self, player: str, step: Step) -> Tensor:
        """Return one player's loss of a phase."""
        if player == "discriminator":
            for output in (step.real_output, step.fake_output):
                if output is not None and output.logits.requires_grad:
                    output.logits.retain_grad()
        outputs = [each for each in (step.real_output, step.fake_output) if each is not None]
        before = [output.logits.detach().clone() for output in outputs]
        with told_of(self.loss):
            value = loss_of(self.loss, player, step)
            for output, old in zip(outputs, before, strict=True):
                require(_same(old, output.logits.detach()), IN_PLACE)
            if self._sound(before) and not self._skipping:
                scale = max(logits.abs().mean().item() for logits in before)
                check_finite(value.detach(), player, scale)
        return value

    def _sound(self, logits: Sequence[Tensor]) -> bool:
        """Whether all that a loss has been given is finite and of nets that nobody has spoilt."""
        assert self._nets is not None
        finite = all(bool(each.isfinite().all()) for each in logits)
        return self.fresh and bool(logits) and finite and all(map(_whole, self._nets))

    def backward(self, player: str, loss: Tensor) -> None:
        """Take the gradients of a loss."""
        try:
            with (
                told_of(self.loss),
                blaming(f"The backward pass of the {player}'s loss", lambda _: _BACKWARD),
            ):
                loss.backward()  # type: ignore[no-untyped-call]
        except ContractError:
            with told_of(self.arch):
                self._check_gradients()
            raise

    def check_update(self, player: str, net: nn.Module, step: Step) -> None:
        """Look at the gradients of a loss, before they are followed."""
        gradients = [weight.grad for weight in net.parameters() if weight.requires_grad]
        if any(gradient is None for gradient in gradients):
            with told_of(self.arch):
                self._check_gradients()
        with told_of(self.loss):
            check_loss_reaches(player, gradients)
            general = getattr(type(self.loss), "discriminator_loss", None)
            if player == "discriminator" and general is Loss.discriminator_loss:
                for side, output in (("real", step.real_output), ("fake", step.fake_output)):
                    if output is not None and output.logits.requires_grad:
                        check_logits_are_used(side, output.logits.grad is not None)

    def score(self, logits: Tensor) -> Tensor:
        """Return what the loss shows of logits."""
        with told_of(self.loss):
            return check_score(self.loss, logits)

    def constrain(self, discriminator: nn.Module) -> None:
        """Restrict D's weights as the loss wants it."""
        with told_of(self.loss):
            constrain(self.loss, discriminator)

    def _check_gradients(self) -> None:
        """Find out whether a gradient that is missing is the nets' fault, by copies of them."""
        assert self._nets is not None and self._inputs is not None
        latent, labels = self._inputs
        generator, discriminator = copy.deepcopy(self._nets)
        for name, weight in discriminator.named_parameters():
            weight.requires_grad_(name in self._trained)
        with seeds.preserve_rng_state(latent.device), torch.enable_grad():
            check_gradients(generator.train(), discriminator.train(), latent, labels)


def _whole(net: nn.Module) -> bool:
    """Whether all weights are finite: those that are not have been spoilt since they were made."""
    floats = [weight for weight in net.parameters() if weight.is_floating_point()]
    return all(bool(weight.isfinite().all()) for weight in floats)


@contextlib.contextmanager
def told_of(component: Component) -> Iterator[None]:
    """Say of a fault which component has it, and what checks the whole of it."""
    try:
        yield
    except ContractError as error:
        if error.told:
            raise
        cls, kind = type(component), component.kind
        by = f" of {component.provider}" if component.provider else ""
        named = "name" in vars(cls) and bool(cls.name)
        who, how = (f"'{cls.name}'", f'"{cls.name}"') if named else (cls.__name__, cls.__name__)
        found = ContractError(
            f"{error} This is {kind} {who}{by}; ganzoo.testing.check_{kind}({how}) "
            f"checks all of it."
        )
        found.told = True
        raise found from error.__cause__
