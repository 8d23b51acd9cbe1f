"""What a training expects of an architecture's nets; see ``contract``."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganzoo.core import seeds
from ganzoo.core.state_dicts import not_finite
from ganzoo.core.step import Output, packed
from ganzoo.errors import ContractError, an, some
from ganzoo.training.contract import blaming, describe, require, same

if TYPE_CHECKING:
    from ganzoo.architectures.base import Architecture
    from ganzoo.core.spec import LatentSpec, SampleSpec

__all__ = [
    "backward",
    "build",
    "check_generator",
    "check_gradients",
    "check_logits",
    "check_signature",
    "check_values",
    "check_whole_latent",
    "depends",
    "judge",
    "make",
]

_EXTREME = 50.0  # times an ordinary latent
_FEW = 8  # samples that a generator is tried on
_NOISE = 0.1  # sd of what is added to weights that may start at zero
_TRIES = 3  # passes in which layers that are left out at random get their turn
_ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3}
_INPUTS = {"generator": ("z", "latents"), "discriminator": ("x", "samples")}


def build(arch: Architecture, player: str, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
    """Build one player's net, a module with parameters to train, all of them finite."""
    of_g = player == "generator"
    remedy = f"That was for {_labelled(spec)} and latents of shape {latent.shape}. "
    if arch.conditional and spec.classes is None:
        remedy += "Without classes spec.classes is None: build nets without labels then. "
    remedy += "Refuse what it cannot do in check(spec), a latent in check_latent(latent, spec)."
    with blaming(f"{player}()", remedy):
        net: Any = arch.generator(spec, latent) if of_g else arch.discriminator(spec)
    require(
        isinstance(net, nn.Module), f"{player}() must return an nn.Module, not {describe(net)}."
    )
    parameters = dict(net.named_parameters())
    require(
        any(parameter.requires_grad for parameter in parameters.values()),
        f"The {player} has no parameters to train. Assign its layers to self in __init__, lists "
        f"of them as nn.ModuleList.",
    )
    odd = not_finite({name: value for name, value in parameters.items() if not value.is_meta})
    require(
        not odd,
        f"The {player} starts with '{odd}' not finite; initialise what torch.empty made.",
    )
    checked: nn.Module = net
    return checked


def _labelled(spec: SampleSpec) -> str:
    count = len(spec.classes or ())
    return f"{an(spec)} {f'with {count} classes' if count else 'without classes'}"


def check_signature(net: nn.Module, player: str, *calls: Sequence[Any]) -> None:
    """Check that the net can be called with such arguments."""
    try:
        signature = inspect.signature(net.forward)
    except (TypeError, ValueError):  # compiled code may have none
        return
    try:
        for arguments in calls:
            signature.bind(*arguments)
    except TypeError as error:
        raise ContractError(
            f"The {player}'s forward{signature} cannot be called as contracted ({error}); "
            f"declare it as forward(self, {_INPUTS[player][0]}, labels=None)."
        ) from None


def _run(player: str, net: nn.Module, inputs: Tensor, labels: Tensor | None, remedy: str) -> Any:
    """Call a net, which must leave its inputs as they are."""
    before, kind = inputs.detach().clone(), _INPUTS[player][1]
    low_precision = torch.is_autocast_enabled(inputs.device.type)

    def explain(error: Exception) -> str:
        of = "" if labels is None else f" and labels of shape {tuple(labels.shape)}"
        text = f"That was for {kind} of shape {tuple(inputs.shape)}{of}{remedy}"
        if low_precision and "bfloat16" in str(error).lower():
            text += " It computes in bfloat16 here; precision='fp32' avoids that."
        if "more than 1 value per channel" in str(error):
            text += (
                " Batch norm needs several samples: give a larger batch_size, a lower accumulate, "
                "or another norm."
            )
        return text

    with blaming(f"The {player}", explain):
        found = net(inputs, labels)
    require(
        same(before, inputs.detach()),
        f"The {player} changes its {kind} in place, which others still read; work on new tensors.",
    )
    return found


def make(generator: nn.Module, latent: Tensor, labels: Tensor | None, spec: SampleSpec) -> Tensor:
    """Return a generator's samples (N, *spec.shape) of latents (N, *latent.shape), checked."""
    low_precision = torch.is_autocast_enabled(latent.device.type)
    samples = _run("generator", generator, latent, labels, f", and {_labelled(spec)}.")
    wanted = (len(latent), *spec.shape)
    require(
        _is_float(samples, low_precision) and samples.shape == wanted,
        f"The generator must return a float32 tensor of shape {wanted} for a {spec}; "
        f"it returned {describe(samples, low_precision)}.",
    )
    made: Tensor = samples
    return made


def _is_float(value: Any, low_precision: bool) -> bool:
    low = (torch.bfloat16, torch.float16) if low_precision else ()
    return isinstance(value, Tensor) and value.dtype in (torch.float32, *low)


def judge(discriminator: nn.Module, samples: Tensor, labels: Tensor | None) -> Output:
    """Return a discriminator's output on samples (N, *spec.shape), checked."""
    remedy = ": what discriminator(spec) builds must follow from spec.shape and spec.classes."
    found = _run("discriminator", discriminator, samples, labels, remedy)
    count, low_precision = len(samples), torch.is_autocast_enabled(samples.device.type)
    logits: Any = found.logits if isinstance(found, Output) else found
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else ()
    right = shape == (count,) or (len(shape) == 2 and shape[0] == count and shape[1] > 1)
    require(
        right and _is_float(logits, low_precision),
        f"The discriminator must return float32 logits of shape (N,), here ({count},), or (N, K) "
        f"for K > 1 of each sample, or an Output(logits, classes=..., features=...) with them; it "
        f"returned {describe(logits, low_precision)}. Keep the batch axis, squeeze(1) a single "
        f"logit, flatten(1) several, and return no decisions.",
    )
    if len(shape) == 2 and shape[1] == count > 1:
        fewer = [None if each is None else each[:-1] for each in (samples.detach(), labels)]
        with torch.no_grad(), seeds.preserve_rng_state(samples.device):
            again = Output.of(copy.deepcopy(discriminator)(*fewer)).logits
        require(
            again.shape[-1] == count,
            "The discriminator returns a table of logits (N, N), one for each pair of samples, as "
            "adding (N, 1) and (N,) makes it. One logit per sample: squeeze the last axis.",
        )
    return Output.of(found)


def check_logits(output: Output) -> None:
    """Check that logits are finite."""
    require(
        bool(output.logits.isfinite().all()),
        "The discriminator returned logits that are not finite; check its initial weights.",
    )


def check_values(samples: Tensor, spec: SampleSpec, extremes: Tensor | None = None) -> None:
    """Check that a generator's values are finite, and in the range of the spec.

    ``extremes`` are samples of extreme latents, which may overflow.
    """
    samples = samples.detach()
    require(
        bool(samples.isfinite().all()),
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
    slack = _ROUNDING.get(samples.dtype, 0.0) * max(abs(low), abs(high))
    require(
        found[0] >= low - slack and found[1] <= high + slack,
        f"The generator made values from {found[0]:.3g} to {found[1]:.3g}, outside the spec's "
        f"range {spec.value_range}. End it with output_activation(spec) of "
        f"ganzoo.architectures.layers.",
    )


@torch.no_grad()
def check_generator(
    generator: nn.Module,
    latent: Tensor,
    labels: Tensor | None,
    spec: SampleSpec,
    classes: int = 0,
) -> None:
    """Check the range, and the use of latents and labels, of a generator in evaluation mode.

    Weights that are zero at first, as a last layer's may be, are no fault: only with perturbed
    weights, too, must samples differ. ``classes`` is 0 where labels need not count.
    """
    latent, labels = _first_few(latent, labels)
    with blaming("The generator in evaluation mode", "Samples are made in it."):
        ordinary = _output(generator, latent, labels)
        if ordinary.isfinite().all():  # else batch statistics are to blame
            check_values(ordinary, spec, _output(generator, _EXTREME * latent, labels))
        both = torch.cat((latent, 0.5 - latent))
        alike = None if labels is None else labels[:1].expand(len(both))
        rows = [_output(net, both, alike) for net in _with_perturbed(generator)]
        require(
            depends(generator, (both, alike), (0.5 - both, alike))
            and any(not (made == made[:1]).all() for made in rows),
            "The generator ignores its latent: it makes the same samples from any. Compute each "
            "from its own row of the z that forward() gets.",
        )
        require(
            labels is None
            or classes < 2
            or depends(generator, (latent, labels), (latent, (labels + 1) % classes)),
            "The generator ignores its labels, though the architecture is conditional: it makes "
            "the same samples of all classes. Use the labels that forward() gets, or set "
            "conditional to False.",
        )


def check_whole_latent(generator: nn.Module, latent: Tensor, labels: Tensor | None) -> None:
    """Check that each value of the latent counts, for a generator in evaluation mode."""
    latent, labels = _first_few(latent, labels)
    silent = torch.ones_like(latent[0], dtype=torch.bool)
    for net in _with_perturbed(generator):
        with seeds.preserve_rng_state(latent.device), torch.enable_grad():
            inputs = latent.clone().requires_grad_()
            made = net(inputs * 1, labels)
            if made.requires_grad:
                total = (made * torch.randn_like(made)).sum()
                (gradient,) = torch.autograd.grad(total, inputs, allow_unused=True)
                if gradient is not None:
                    silent &= (gradient == 0).all(0)
        if not silent.any():
            return
    other = torch.where(silent, 0.5 - latent, latent)
    require(
        depends(generator, (latent, labels), (other, labels)),
        f"The generator ignores {int(silent.sum())} of the {silent.numel()} values of its latent "
        f"(the first is number {int(silent.flatten().nonzero()[0])}, from 0 on). Use all of z, or "
        f"a smaller latent.",
    )


def _first_few(latent: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return latent[:_FEW], None if labels is None else labels[:_FEW]


def depends(net: nn.Module, one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether outputs differ, with the net's own weights or with perturbed ones."""
    return any(not torch.equal(_output(x, *one), _output(x, *other)) for x in _with_perturbed(net))


@torch.no_grad()
def _output(net: nn.Module, inputs: Tensor, labels: Tensor | None) -> Tensor:
    """What a net gives; random numbers that it draws are the same each time."""
    with seeds.preserve_rng_state(inputs.device):
        found = net(inputs.clone(), None if labels is None else labels.clone())
    tensor: Tensor = found.logits if isinstance(found, Output) else found
    return tensor


def _with_perturbed(net: nn.Module) -> Iterator[nn.Module]:
    """The net, then a copy with perturbed weights."""
    yield net
    other, source = copy.deepcopy(net), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in other.parameters():
            if weight.is_floating_point():
                weight.add_(torch.randn(weight.shape, generator=source).to(weight), alpha=_NOISE)
    yield other


def check_gradients(
    generator: nn.Module,
    discriminator: nn.Module,
    latent: Tensor,
    labels: Tensor | None,
    packing: int = 1,
) -> None:
    """Check that gradients of all that D returns reach all parameters of both nets.

    These keep the gradients, and their buffers may change. D sees ``packing`` samples together.
    """
    trained = {}
    for player, net in (("generator", generator), ("discriminator", discriminator)):
        net.zero_grad(set_to_none=True)
        trained[player] = {n: w for n, w in net.named_parameters() if w.requires_grad}
    for _ in range(_TRIES):
        made = packed(generator(latent.clone(), labels), packing)
        output = Output.of(discriminator(made, labels))
        heads = (output.logits, output.classes, output.features)
        total = torch.stack([head.float().sum() for head in heads if isinstance(head, Tensor)])
        require(
            total.requires_grad,
            "The logits have no gradient: the nets must not detach, or run under no_grad.",
        )
        backward(total.sum(), "both nets")
        if all(w.grad is not None for weights in trained.values() for w in weights.values()):
            break
    for player, weights in trained.items():
        missed = some(repr(name) for name, weight in weights.items() if weight.grad is None)
        require(
            not missed,
            f"No gradient reaches {missed} of the {player}. Use these parameters in forward, "
            f"remove what detaches them, or set requires_grad_(False) on purpose.",
        )
        gradients = {n: w.grad for n, w in weights.items() if w.grad is not None}
        broken = not_finite(gradients)
        require(not broken, f"The gradient of '{broken}' of the {player} is not finite.")


def backward(value: Tensor, of: str) -> None:
    """Take the gradients of a scalar."""
    with blaming(
        f"The backward pass of {of}",
        "No layer may change in place what its gradient needs, and all must have one (a penalty "
        "on gradients needs that of the gradient too).",
    ):
        value.backward()  # type: ignore[no-untyped-call]
