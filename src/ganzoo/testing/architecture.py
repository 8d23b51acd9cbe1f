"""The check of an architecture."""

from __future__ import annotations

import copy
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganzoo import architectures
from ganzoo.architectures.inference import Known
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Output
from ganzoo.errors import ContractError, UnsupportedSampleError, some
from ganzoo.testing.component import SPECS, checked, first_accepted
from ganzoo.training import contract_nets as on_nets
from ganzoo.training.contract import require

if TYPE_CHECKING:
    from ganzoo.architectures import Architecture

__all__ = ["check_architecture"]

_BATCH = 4
_TOLERANCE = 1e-4
_NAMES = ("a", "b", "c")  # of classes


def check_architecture(
    component: str | type[Architecture] | Architecture,
    spec: SampleSpec | None = None,
    latent: LatentSpec | None = None,
) -> None:
    """Check that an architecture keeps its contract.

    Its nets must have the promised shapes, types and value range, use all of the latent and labels,
    let gradients reach all parameters, be deterministic in eval mode, and be restored completely by
    ``state_dict``. The generator in eval mode must make the same sample in any batch, also once it
    is exported. A conditional one is checked with classes and without.

    Args:
        component: The architecture, its class or its registered name.
        spec: What a sample is; by default the first of a small RGB image, a vector, audio and a
            sequence that the architecture accepts.
        latent: What the generator gets; by default what the architecture recommends.

    Raises:
        AssertionError: If it breaks the contract.
        UnsupportedSampleError: If it refuses the ``spec``.
        GanzooError: If the component cannot be created, or refuses the ``latent``.
    """
    with checked(component, architectures.registry) as arch:
        if latent is None:
            latent = LatentSpec.model_validate(arch.recommended.get("latent", {}))
        if spec is None:
            image, vector, audio, sequence = SPECS
            image = image.resized(arch.nearest_size(*image.size))
            plain = (image, vector, _with(audio, shape=(1, 4096)), sequence)
            named = tuple(_with(each, classes=_NAMES) for each in plain)
            spec = first_accepted(arch, arch.check, plain + named * arch.conditional)
        arch.check(spec)
        arch.check_latent(latent, spec)
        if spec.kind == "image":
            _check_nearest_size(arch, spec)
        specs = [spec]
        if arch.conditional:
            other = _with(spec, classes=None if spec.classes else _NAMES)
            with suppress(UnsupportedSampleError):  # it may need classes, or have none
                arch.check(other)
                specs.append(other)
        for each in specs:
            _check_nets(arch, each, latent)


def _with(spec: SampleSpec, **changes: Any) -> SampleSpec:
    return spec.model_copy(update=changes)


def _check_nearest_size(arch: Architecture, spec: SampleSpec) -> None:
    for size in ((1, 1), spec.size, (28, 28), (45, 100), (300, 2000)):
        nearest = arch.nearest_size(*size)
        try:
            arch.check(spec.resized(nearest))
        except UnsupportedSampleError as error:
            raise ContractError(
                f"nearest_size{size} is {nearest}, which check() refuses: {error} "
                f"Override nearest_size so that it returns only sizes that check() accepts."
            ) from error


def _check_nets(arch: Architecture, spec: SampleSpec, latent: LatentSpec) -> None:
    classes = len(spec.classes or ()) if arch.conditional else 0
    labels = torch.arange(_BATCH) % len(spec.classes) if spec.classes else None
    z = latent.sample(_BATCH)
    nets, others = (
        {
            player: on_nets.build(arch, player, spec, latent)
            for player in ("generator", "discriminator")
        }
        for _ in range(2)
    )
    for player, net in nets.items():
        other = others[player]
        require(
            net is not other and not {*net.parameters()} & {*other.parameters()},
            f"Building the {player} twice gave nets that share parameters. Create all layers "
            f"inside the module's __init__: a component holds no state.",
        )
        on_nets.check_signature(net, player, *[(z, labels)] if classes else [(z,), (z, labels)])
    generator, discriminator = nets.values()
    copied = copy.deepcopy(generator).eval()
    samples = on_nets.make(generator, z, labels, spec)
    on_nets.check_values(samples, spec)
    on_nets.check_generator(copied, z, labels, spec, classes)
    on_nets.check_logits(on_nets.judge(discriminator, samples, labels))
    on_nets.check_gradients(generator, discriminator, z, labels)
    on_nets.check_whole_latent(copied, latent.sample(_BATCH), labels)
    samples = samples.detach()
    if labels is not None and classes > 1:
        _check_labels_are_used(copy.deepcopy(discriminator).eval(), samples, labels)
    for (player, net), inputs in zip(nets.items(), (z, samples), strict=True):
        _check_eval(player, net, others[player], inputs, labels)
    _check_batch_size(generator, z, labels)
    _check_inferred(arch, generator, spec, latent)


def _check_labels_are_used(discriminator: nn.Module, samples: Tensor, labels: Tensor) -> None:
    """Check that a conditional discriminator heeds labels, unless it returns more than logits."""
    found = discriminator(samples, labels)
    classifies = isinstance(found, Output) and not (found.classes is None is found.features)
    require(
        classifies or on_nets.depends(discriminator, (samples, labels), (samples, labels.flip(0))),
        "The discriminator ignores its labels, though the architecture is conditional, so that "
        "the generator need not heed them. Use the labels that forward() gets, return an Output "
        "with classes, or set conditional to False.",
    )


@torch.no_grad()
def _check_eval(
    player: str, net: nn.Module, other: nn.Module, inputs: Tensor, labels: Tensor | None
) -> None:
    """Check that a net in eval mode is deterministic, and that its state dict is all of it."""

    def output(module: nn.Module) -> Tensor:
        return Output.of(module.eval()(inputs, labels)).logits

    first = output(net)
    require(
        torch.equal(first, output(net)),
        f"The {player} gives different results for the same input in eval mode. Randomness such "
        f"as dropout must depend on self.training.",
    )
    state = net.state_dict()
    odd = some(repr(name) for name, value in state.items() if not isinstance(value, Tensor))
    require(
        not odd,
        f"state_dict() of the {player} holds {odd}, which is not a tensor; weights are saved as "
        f"safetensors, which hold tensors only.",
    )
    other.load_state_dict(state, strict=True)
    require(
        _close(first, output(other)),
        f"The {player} gives other results after its state_dict is loaded into a new one. Tensors "
        f"that matter must be parameters or buffers (register_buffer), and not be drawn in "
        f"__init__ otherwise.",
    )


@torch.no_grad()
def _check_batch_size(generator: nn.Module, z: Tensor, labels: Tensor | None) -> None:
    """Check that a sample depends on its own latent only, also in an exported generator."""
    inputs = (z,) if labels is None else (z, labels)
    alone = generator(*(each[:1] for each in inputs))
    require(
        alone.shape[:1] == (1,) and _close(generator(*inputs)[:1], alone),
        "The generator makes another sample from the same latent when the batch has another size. "
        "In eval mode no layer may mix samples: use running statistics in norms.",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's: its result is checked here
        try:
            traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                generator, inputs, check_trace=False
            )
            traced(*inputs)
        except Exception:  # other faults that prevent an export are not checked
            return
        for count in (1, _BATCH + 3):
            fewer = [each[torch.arange(count) % _BATCH] for each in inputs]
            same = False
            with suppress(Exception):  # of another shape, or a layer inside
                same = _close(traced(*fewer), generator(*fewer))
            require(
                same,
                f"The generator cannot be exported: traced with {_BATCH} latents, it makes "
                f"something else of {count}. len(z), int(...) or a number in its code makes the "
                f"size of the batch a constant: write x.reshape(-1, *shape), or z.shape[0].",
            )


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE)


def _check_inferred(
    arch: Architecture, generator: nn.Module, spec: SampleSpec, latent: LatentSpec
) -> None:
    """Check that ``infer`` leads from a generator's shapes to the same net."""
    shapes = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    inferred = type(arch).infer(shapes, Known(classes=len(spec.classes or ())))
    if inferred is None:
        return
    size = spec.size if spec.kind == "image" else None
    require(
        inferred.latent == latent.numel
        and inferred.values == spec.numel
        and inferred.channels in (None, spec.channels)
        and inferred.size in (None, size),
        f"infer() takes the weights of a generator of {spec} from {latent.numel} values for those "
        f"of another one: {inferred}. Return None where shapes do not tell.",
    )
    again = arch.replace(**inferred.options).generator(spec, latent).state_dict()
    require(
        {name: tuple(value.shape) for name, value in again.items()} == shapes,
        f"The options that infer() tells from a generator's weights build another one: "
        f"{dict(inferred.options)}. Leave out what shapes do not tell.",
    )
