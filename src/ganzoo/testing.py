"""Checks for the authors of components: what is wrong, and how to mend it.

    from ganzoo.testing import check_loss

    def test_my_loss():
        check_loss("my-loss")

Each check raises ``AssertionError`` with one sentence that states the fault and the remedy.
They build tiny things, take about a second, and leave the global random state as it was.
"""

from __future__ import annotations

import copy
import json
import math
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import torch
from torch import Tensor, nn

from ganzoo import architectures, datasets, features, losses, metrics, trackers
from ganzoo.architectures import Output
from ganzoo.config import TrainConfig, resolve
from ganzoo.core import seeds
from ganzoo.core.component import Component
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.core.step import Judge, Step
from ganzoo.datasets.mixture import Mixture
from ganzoo.errors import (
    ConfigError,
    ContractError,
    DataError,
    GanzooError,
    UnknownNameError,
    UnsupportedSampleError,
    did_you_mean,
    listing,
)
from ganzoo.features import Features
from ganzoo.losses import Loss
from ganzoo.metrics import Result
from ganzoo.metrics.base import ANY_KIND, Part
from ganzoo.metrics.inputs import MetricInputs, Moments
from ganzoo.training import contract

if TYPE_CHECKING:
    from ganzoo.architectures import Architecture
    from ganzoo.core.registry import Registry
    from ganzoo.datasets import Dataset
    from ganzoo.features import Extractor
    from ganzoo.metrics import Metric
    from ganzoo.trackers import Tracker

__all__ = [
    "check_architecture",
    "check_dataset",
    "check_extractor",
    "check_loss",
    "check_metric",
    "check_tracker",
]

T = TypeVar("T", bound=Component)
_BATCH = 4
_TOLERANCE = 1e-4
_SAMPLES, _FEATURES, _CLASSES = 64, 16, 10  # that a metric is tried on
_SEEN = 3  # that an extractor is tried on
_NAMES = ("a", "b", "c")  # of classes
_SPECS = (
    SampleSpec(shape=(3, 32, 32)),
    SampleSpec(kind="vector", shape=(2,), value_range=None),
    SampleSpec(kind="audio", shape=(1, 256)),
    SampleSpec(kind="sequence", shape=(8, 32), value_range=(0.0, 1.0)),
)
_HEADS = 3  # logits of one sample
_EXACT = 1e-6  # by which a score may depend on the order of the samples
_FROM_NET: frozenset[Part] = frozenset({"moments", "features", "logits"})


def check_architecture(
    component: str | type[Architecture] | Architecture,
    spec: SampleSpec | None = None,
    latent: LatentSpec | None = None,
) -> None:
    """Check that an architecture keeps its contract.

    It must be registered, round-trip through JSON and hold no state. Its nets must have the
    promised shapes and types, stay in the value range, use all of the latent, let gradients reach
    all parameters, be deterministic in eval mode, and be restored completely by ``state_dict``. The
    generator in eval mode must make the same sample whatever the batch, also once it is exported; a
    discriminator may compare samples. What ``infer`` makes of the generator's own shapes, if
    anything, must lead to the same net. A conditional one is checked with classes too, and must use
    the labels then.

    Args:
        component: The architecture, its class or its registered name.
        spec: What a sample is; by default the first of a small RGB image, a vector, audio and a
            sequence that the architecture accepts.
        latent: What the generator is fed; by default what the architecture recommends.

    Raises:
        AssertionError: If it breaks the contract.
        UnsupportedSampleError: If it refuses the ``spec`` that was given.
        GanzooError: If the component cannot be created, or refuses the ``latent``.
    """
    with _own_randomness():
        arch = _checked_config(component, architectures.registry)
        before = arch.model_dump()
        if latent is None:
            latent = LatentSpec.model_validate(arch.recommended.get("latent", {}))
        spec = _accepted_spec(arch) if spec is None else spec
        arch.check(spec)
        arch.check_latent(latent, spec)
        if spec.kind == "image":
            _check_nearest_size(arch, spec)
        for each in _with_and_without_classes(arch, spec):
            _check_nets(arch, each, latent)
        _require(
            arch.model_dump() == before,
            "Building the nets changed the architecture's options. A component is only a "
            "configuration: keep state in buffers of the nets.",
        )


def check_loss(component: str | type[Loss] | Loss, spec: SampleSpec | None = None) -> None:
    """Check that a loss keeps its contract.

    It must be registered, round-trip through JSON and hold no state. Both players' losses must be
    finite scalars whose gradients are finite and reach the player, for ordinary logits and for
    logits of -100 and 100, and depend on real and on fake samples, be it by judging them anew with
    ``step.discriminator``; of several logits for each sample the simple form must take the mean.
    ``score`` must give one value per logit and ``constrain`` must leave finite weights.

    Args:
        component: The loss, its class or its registered name.
        spec: What a sample is; by default the first of a small RGB image and a vector that the
            loss can do.

    Raises:
        AssertionError: If it breaks the contract.
        GanzooError: If the component cannot be created.
    """
    with _own_randomness():
        loss = _checked_config(component, losses.registry)
        before = loss.model_dump()
        _check_both_losses(loss, (spec,) if spec else (_SPECS[0], _SPECS[1]))
        logits = torch.linspace(-3, 3, _BATCH)
        score = contract.check_score(loss, logits.clone())
        _require(
            bool(torch.isfinite(score).all()),
            "score() returned values that are not finite for logits between -3 and 3.",
        )
        critic = _TinyDiscriminator(1.0, _SPECS[1])
        contract.constrain(loss, critic)
        _require(
            all(bool(torch.isfinite(weight).all()) for weight in critic.parameters()),
            "constrain() left weights that are not finite.",
        )
        _require(
            loss.model_dump() == before,
            "Using the loss changed its options. A component is only a configuration: it cannot "
            "keep state.",
        )


def check_dataset(component: str | type[Dataset] | Dataset) -> None:
    """Check that a dataset keeps its contract.

    It must be registered, round-trip through JSON and hold no state. What it loads must match its
    spec, lie in its stored range, have labels in range, and be the same when loaded again.

    Args:
        component: The dataset, its class or its registered name. It is loaded twice.

    Raises:
        AssertionError: If it breaks the contract.
        DataError: If it cannot be loaded.
        GanzooError: If the component cannot be created.
    """
    dataset = _checked_config(component, datasets.registry)
    before = dataset.model_dump()
    samples, again = dataset.load(), dataset.load()
    contract.check_loaded(samples, datasets.Samples)
    contract.check_type(samples)
    contract.check_data(samples, samples.data)
    contract.check_labels(samples)
    same = samples.spec == again.spec and torch.equal(samples.data, again.data)
    if same and samples.labels is not None:
        same = again.labels is not None and torch.equal(samples.labels, again.labels)
    _require(
        same,
        "Loading twice gave different samples. Keep their order and content fixed, so that a "
        "training can be resumed: sort file names and seed what is random.",
    )
    _require(
        dataset.model_dump() == before,
        "Loading changed the dataset's options. A component is only a configuration: it cannot "
        "keep state.",
    )


def check_tracker(component: str | type[Tracker] | Tracker) -> None:
    """Check that a tracker keeps its contract.

    It must be registered, round-trip through JSON and hold no state. Its log must take rows with
    columns that come and go, scores, and pictures of all modes; leave what it is given as it is;
    draw no random numbers of torch's; and be opened again for a training that continues.

    Args:
        component: The tracker, its class or its registered name. It is opened twice in a
            temporary folder: where it speaks to a service, give options that keep it offline.

    Raises:
        AssertionError: If it breaks the contract.
        GanzooError: If the component cannot be created, or what it needs is absent.
    """
    tracker = _checked_config(component, trackers.registry)
    before = tracker.model_dump()
    tracker.check()
    with tempfile.TemporaryDirectory(prefix="ganzoo-") as folder, _own_randomness():
        random = torch.get_rng_state()
        for step in (0, 1):
            _check_log(tracker, Path(folder), step)
        _require(
            torch.equal(random, torch.get_rng_state()),
            "Logging drew from torch's random numbers, so that training with the tracker differs "
            "from training without it. Use a torch.Generator or random.Random of its own.",
        )
    _require(
        tracker.model_dump() == before,
        "Logging changed the tracker's options. A component is only a configuration: keep state "
        "in the Log.",
    )


def check_metric(component: str | type[Metric] | Metric, spec: SampleSpec | None = None) -> None:
    """Check that a metric keeps its contract.

    It must be registered, round-trip through JSON and hold no state. Of what it gathers, made up
    here, it must compute a finite score, and the same one each time; also in another order of the
    samples, unless an option ``seed`` says that it draws at random. It may use only what it says
    that it gathers, leaves that as it is, and draws no random numbers of torch's. Samples that are
    too few, not finite or of another kind must be refused.

    Args:
        component: The metric, its class or its registered name. It is tried on 64 samples, or as
            many as ``min_samples`` and the options ``subset_size`` and ``splits`` ask for.
        spec: What a sample is; by default the first of a small RGB image, a vector, audio and a
            sequence that the metric is for.

    Raises:
        AssertionError: If it breaks the contract.
        ConfigError: If it refuses the ``spec`` that was given.
        GanzooError: If the component cannot be created.
    """
    with _own_randomness():
        metric = _checked_config(component, metrics.registry)
        before = metric.model_dump()
        _check_declared(metric)
        spec = _measured_spec(metric) if spec is None else spec
        metric.check(spec)
        options = (getattr(metric, option, 0) for option in ("subset_size", "splits"))
        count = max(_SAMPLES, metric.min_samples, *options)
        first = _check_result(metric, "compute", spec, count)
        random = torch.get_rng_state()
        again = _check_result(metric, "score", spec, count)
        _require(
            torch.equal(random, torch.get_rng_state()),
            "compute() drew from torch's random numbers. Draw from a torch.Generator or NumPy "
            "generator of its own, with an option 'seed'.",
        )
        _require(
            first.value == again.value,
            f"The same samples have the score {first.value!r}, and then {again.value!r}. What is "
            f"drawn at random must follow from an option 'seed'.",
        )
        if "seed" not in type(metric).model_fields:
            _check_order(metric, spec, count, first.value)
        _check_refusals(metric, spec, count)
        _require(
            metric.model_dump() == before,
            "Using the metric changed its options. A component is only a configuration: it cannot "
            "keep state; Gathered.cache holds what metrics of the same samples share.",
        )


def check_extractor(
    component: str | type[Extractor] | Extractor, spec: SampleSpec | None = None
) -> None:
    """Check that a feature extractor keeps its contract.

    It must be registered, round-trip through JSON and hold no state; its protocol must be plain
    values, and the same for the same options. The net that it builds must be in eval mode and
    without gradients; its features must be float32 (N, D), finite, the same each time and for each
    sample alone, and the samples stay as they are. Pictures with two channels must be seen, or
    refused by an error of ganzoo.

    Args:
        component: The extractor, its class or its registered name. Its net is built twice, on the
            CPU: give options that name weights which are there.
        spec: What a sample is; by default an RGB image of 32x32 pixels.

    Raises:
        AssertionError: If it breaks the contract.
        CheckpointError: If its weights are not there.
        GanzooError: If the component cannot be created.
    """
    spec = spec or SampleSpec(shape=(3, 32, 32))
    with _own_randomness():
        extractor = _checked_config(component, features.registry)
        before = extractor.model_dump()
        _check_protocol(extractor)
        device = torch.device("cpu")
        net, other = (extractor.build(device, "fp32") for _ in range(2))
        _check_frozen(net)
        samples = _shown_to(extractor, spec)
        kept, random = samples.clone(), torch.get_rng_state()
        seen = _check_features(extractor, net(samples), _SEEN)
        _require(
            torch.equal(samples, kept),
            "The net changes the samples in place, which others see too; work on new tensors.",
        )
        again = net(samples)
        _require(
            torch.equal(random, torch.get_rng_state()) and torch.equal(seen.pool, again.pool),
            "The net gives different features of the same samples, or draws random numbers. Put "
            "it into eval mode, and leave out what is random.",
        )
        last = slice(_SEEN - 1, _SEEN)
        for found, wanted, when in (
            (other(samples), seen.pool, "the net is built again: its weights must be loaded"),
            (net(samples[last]), seen.pool[last], "it is alone in the batch: no layer may mix"),
        ):
            _require(_close(found.pool, wanted), f"The features of a sample change when {when}.")
        _check_odd_pictures(extractor, net, spec)
        _require(
            extractor.model_dump() == before,
            "Building or using the net changed the extractor's options. A component is only a "
            "configuration: keep state in the net.",
        )


# -- every component ------------------------------------------------------------------------------


_require, _describe, _some = contract.require, contract.describe, contract.some


@contextmanager
def _own_randomness() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _checked_config(value: Any, registry: Registry[T]) -> T:
    """Create the component and check what all components owe."""
    component = registry.create(value)
    cls = type(component)
    _require(
        "name" in vars(cls) and _is_registered(cls, registry),
        f"{cls.__name__} is not registered. Decorate it with "
        f'@{registry.group}.register("some-name"), or declare it as an entry point of the '
        f"group '{registry.group}'.",
    )
    _require(
        bool(cls.model_config.get("frozen")) and cls.model_config.get("extra") == "forbid",
        f"{cls.__name__} changes model_config: a component must stay frozen and forbid unknown "
        f"options.",
    )
    _require(
        not cls.__private_attributes__,
        f"{cls.__name__} has private attributes ({', '.join(cls.__private_attributes__)}). They "
        f"would be lost on saving: make them options, ClassVars, or buffers of what is built.",
    )
    settings = sorted(TrainConfig.model_fields)
    for key in cls.recommended:
        _require(
            key in settings,
            f"{cls.__name__} recommends '{key}', which is no setting of a training."
            f"{did_you_mean(key, settings)} Settings: {listing(settings)}.",
        )
    try:
        text = component.model_dump_json()
        json.dumps(dict(cls.recommended))
    except Exception as error:
        raise AssertionError(
            f"{cls.__name__} cannot be written as JSON ({error}). Its options and 'recommended' "
            f"must be numbers, strings, booleans, None, or lists and mappings of them."
        ) from error
    try:
        again = registry.create(json.loads(text))
    except GanzooError as error:
        raise AssertionError(
            f"{cls.__name__} cannot be read back from its own JSON {text}: {error}"
        ) from error
    _require(
        again == component,
        f"{cls.__name__} changes on its way through JSON: {component!r} became {again!r}. "
        f"Options must survive being written and read; validators must be idempotent.",
    )
    return component


def _is_registered(cls: type[T], registry: Registry[T]) -> bool:
    try:
        return registry.get(cls.name) is cls
    except UnknownNameError:
        return False


# -- architectures --------------------------------------------------------------------------------


def _accepted_spec(arch: Architecture) -> SampleSpec:
    candidates = (
        SampleSpec(shape=(3, *arch.nearest_size(32, 32))),
        SampleSpec(kind="vector", shape=(2,), value_range=None),
        SampleSpec(kind="audio", shape=(1, 4096)),
        SampleSpec(kind="sequence", shape=(8, 32), value_range=(0.0, 1.0)),
    )
    named = [spec.model_copy(update={"classes": _NAMES}) for spec in candidates]
    tried: list[SampleSpec] = [*candidates, *named] if arch.conditional else [*candidates]
    for spec in tried:
        try:
            arch.check(spec)
        except UnsupportedSampleError:
            continue
        return spec
    raise AssertionError(
        f"Architecture '{arch.name}' refuses all of {', '.join(map(str, candidates))}. "
        f"Pass a spec that it can do: check_architecture(..., spec=SampleSpec(...))."
    )


def _check_nearest_size(arch: Architecture, spec: SampleSpec) -> None:
    for size in ((1, 1), spec.size, (28, 28), (45, 100), (300, 2000)):
        nearest = arch.nearest_size(*size)
        try:
            arch.check(spec.resized(nearest))
        except UnsupportedSampleError as error:
            raise AssertionError(
                f"nearest_size{size} is {nearest}, which check() refuses: {error} "
                f"Override nearest_size so that it returns only sizes that check() accepts."
            ) from error


def _with_and_without_classes(arch: Architecture, spec: SampleSpec) -> Iterator[SampleSpec]:
    yield spec
    if not arch.conditional:
        return
    other = spec.model_copy(update={"classes": None if spec.classes else _NAMES})
    with suppress(UnsupportedSampleError):  # it may want them, or not
        arch.check(other)
        yield other


def _check_nets(arch: Architecture, spec: SampleSpec, latent: LatentSpec) -> None:
    def build(player: str) -> nn.Module:
        return contract.build(arch, player, spec, latent)

    nets = {player: build(player) for player in ("generator", "discriminator")}
    for player, net in nets.items():
        _check_apart(net, build(player), player)
    generator, discriminator = nets.values()
    classes = len(spec.classes or ()) if arch.conditional else 0
    labels = torch.arange(_BATCH) % len(spec.classes) if spec.classes else None
    z = latent.sample(_BATCH)
    for player, net in nets.items():
        calls = [(z, labels)] if arch.conditional and spec.classes else [(z,), (z, labels)]
        contract.check_signature(net, player, *calls)
    copied = copy.deepcopy(generator).eval()
    samples = contract.make(generator, z, labels, spec)
    contract.check_values(samples, spec)
    contract.try_out(copied, z, labels, spec, classes)
    output = contract.judge(discriminator, samples, labels)
    _require(
        bool(torch.isfinite(output.logits).all()),
        "The discriminator returned logits that are not finite; check its initial weights.",
    )
    contract.check_gradients(generator, discriminator, z, labels)
    contract.check_whole_latent_is_used(copied, latent.sample(_BATCH), labels)
    samples = samples.detach()
    if labels is not None and classes > 1:
        judge = copy.deepcopy(discriminator).eval()
        contract.check_labels_are_used(judge, samples, labels)

    _check_eval(generator, build("generator"), z, labels, "generator")
    _check_eval(discriminator, build("discriminator"), samples, labels, "discriminator")
    _check_alone(generator, z, labels)
    _check_unbound(generator, z, labels)
    _check_inferred(arch, generator, spec, latent)


def _check_apart(net: nn.Module, other: nn.Module, player: str) -> None:
    shared = {id(weight) for weight in net.parameters()} & {id(w) for w in other.parameters()}
    _require(
        net is not other and not shared,
        f"Building the {player} twice gave nets that share parameters. Create all layers inside "
        f"the module's __init__: a component holds no state.",
    )


def _check_inferred(
    arch: Architecture, generator: nn.Module, spec: SampleSpec, latent: LatentSpec
) -> None:
    shapes = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    inferred = type(arch).infer(shapes)
    if inferred is None:
        return
    size = spec.size if spec.kind == "image" else None
    _require(
        inferred.latent == latent.numel
        and inferred.values == spec.numel
        and inferred.channels in (None, spec.channels)
        and inferred.size in (None, size),
        f"infer() takes the weights of a generator of {spec} from {latent.numel} values for those "
        f"of another one: {inferred}. Return None where shapes do not tell.",
    )
    again = arch.replace(**inferred.options).generator(spec, latent).state_dict()
    _require(
        {name: tuple(value.shape) for name, value in again.items()} == shapes,
        f"The options that infer() tells from a generator's weights build another one: "
        f"{dict(inferred.options)}. Leave out what shapes do not tell.",
    )


@torch.no_grad()
def _check_eval(
    net: nn.Module, other: nn.Module, inputs: Tensor, labels: Tensor | None, player: str
) -> None:
    first = _main(net.eval()(inputs, labels))
    _require(
        torch.equal(first, _main(net(inputs, labels))),
        f"The {player} gives different results for the same input in eval mode. Randomness such "
        f"as dropout must depend on self.training.",
    )
    state = net.state_dict()
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    _require(
        not odd,
        f"state_dict() of the {player} holds {_some(odd)}, which is no tensor; weights are saved "
        f"as safetensors, which hold tensors only.",
    )
    other.load_state_dict(state, strict=True)
    restored = _main(other.eval()(inputs, labels))
    _require(
        torch.allclose(first, restored, rtol=_TOLERANCE, atol=_TOLERANCE),
        f"The {player} gives other results after its state_dict is loaded into a new one. Tensors "
        f"that matter must be parameters or buffers (register_buffer), and not be drawn in "
        f"__init__ otherwise.",
    )


@torch.no_grad()
def _check_alone(generator: nn.Module, z: Tensor, labels: Tensor | None) -> None:
    together = generator(z, labels)
    alone = generator(z[:1], None if labels is None else labels[:1])
    _require(
        alone.shape[:1] == (1,)
        and torch.allclose(together[:1], alone, rtol=_TOLERANCE, atol=_TOLERANCE),
        "The generator makes another sample from the same latent when the batch has another size. "
        "In eval mode no layer may mix samples: use running statistics in norms.",
    )


@torch.no_grad()
def _check_unbound(generator: nn.Module, z: Tensor, labels: Tensor | None) -> None:
    """Refuse a generator that an export binds to the number of samples it was exported with."""
    given = (z,) if labels is None else (z, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: what matters is tried here
        try:
            traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                generator, given, check_trace=False
            )
            traced(*given)
        except Exception:  # other faults keep it from being exported: not this one
            return
        for count in (1, _BATCH + 3):
            rows = torch.arange(count) % _BATCH
            inputs = [each[rows] for each in given]
            wanted = generator(*inputs)
            try:
                found = traced(*inputs)
                same = torch.allclose(found, wanted, rtol=_TOLERANCE, atol=_TOLERANCE)
            except Exception:  # it has another shape, or a layer inside
                same = False
            _require(
                same,
                f"The generator cannot be exported: traced with {_BATCH} latents, it makes "
                f"something else of {count}. len(z), int(...) or a number in its code makes the "
                f"size of the batch a constant: write x.reshape(-1, *shape), or z.shape[0].",
            )


def _main(output: Any) -> Tensor:
    tensor: Tensor = output.logits if isinstance(output, Output) else output
    return tensor


# -- losses ---------------------------------------------------------------------------------------


class _TinyDiscriminator(nn.Module):
    """Logits of about ``scale``, and class logits and features for losses that want them.

    Args:
        scale: Size of the logits.
        spec: What a sample is.
        heads: Logits of each sample, all the same; None for logits (N,).
    """

    def __init__(self, scale: float, spec: SampleSpec, heads: int | None = None) -> None:
        super().__init__()
        self.scale, self.shape, self.heads = scale, spec.shape, heads
        self.logits = nn.Linear(spec.numel, 1)
        self.classes = nn.Linear(spec.numel, len(_NAMES))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Output:
        if x.shape[1:] != self.shape:  # as a convolution would
            raise RuntimeError(f"samples have shape {tuple(x.shape)}, not (N, *{self.shape})")
        flat = x.flatten(1)
        # The sign alternates, so that both ends are seen whatever the weights are.
        signs = torch.ones(len(x)).index_fill(0, torch.arange(0, len(x), 2), -1.0)
        logits = self.scale * (signs + 0.1 * torch.tanh(self.logits(flat).squeeze(1)))
        if self.heads is not None:
            logits = logits[:, None].expand(-1, self.heads) * 1.0
        return Output(logits, self.classes(flat), flat)


class _TinyGenerator(nn.Module):
    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.shape = spec.shape
        self.output = nn.Linear(2, spec.numel)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        samples: Tensor = self.output(z)
        return samples.reshape(-1, *self.shape)


def _tiny_step(loss: Loss, scale: float, spec: SampleSpec, heads: int | None = None) -> Step:
    generator, discriminator = _TinyGenerator(spec), _TinyDiscriminator(scale, spec, heads)
    latent = torch.randn(_BATCH, 2)
    return Step(
        number=0,
        generator=generator,
        discriminator=Judge(discriminator),
        latent=latent,
        fake=generator(latent),
        labels=torch.arange(_BATCH) % len(_NAMES),
        built=loss.build(spec, LatentSpec(shape=(2,))),
    )


def _check_both_losses(loss: Loss, specs: Sequence[SampleSpec]) -> None:
    """Check both players' losses on the first kind of samples that the loss can do."""
    faults = []
    for spec in specs:
        try:
            for scale in (0.5, 100.0):
                _check_d_loss(loss, _tiny_step(loss, scale, spec), scale)
                _check_g_loss(loss, _tiny_step(loss, scale, spec), scale)
            _check_heads(loss, spec)
        except ContractError as error:
            if error.__cause__ is None:  # it can do them, and wrongly
                raise
            faults.append(error)
        else:
            return
    raise faults[0]


def _d_loss(loss: Loss, step: Step, real: Tensor) -> Tensor:
    step.fake = step.fake.detach()
    step.real = real
    step.real_output = step.discriminator(step.real, step.labels)
    step.fake_output = step.discriminator(step.fake, step.labels)
    return contract.loss_of(loss, "discriminator", step)


def _g_loss(loss: Loss, step: Step, real: Tensor) -> Tensor:
    step.discriminator.requires_grad_(False)
    if loss.generator_sees_real:
        step.real = real
        step.real_output = step.discriminator(step.real, step.labels)
    step.fake_output = step.discriminator(step.fake, step.labels)
    return contract.loss_of(loss, "generator", step)


def _check_d_loss(loss: Loss, step: Step, scale: float) -> None:
    real = torch.randn(step.fake.shape)
    again, weights = copy.deepcopy(step.discriminator), list(step.discriminator.parameters())
    with seeds.preserve_rng_state(real.device):
        value = _d_loss(loss, step, real)
    contract.check_finite(value, "discriminator", scale)
    assert step.real_output is not None and step.fake_output is not None
    logits = {"real": step.real_output.logits, "fake": step.fake_output.logits}
    gradients = torch.autograd.grad(value, [*logits.values(), *weights], allow_unused=True)
    contract.check_loss_reaches("discriminator", gradients)
    for (name, batch), gradient in zip(
        (("real", real), ("fake", step.fake)), gradients, strict=False
    ):
        used = gradient is not None
        if not used and scale < 1:  # it may have judged them itself
            used = _depends(loss, step, again, name, batch, value)
        contract.check_logits_are_used(name, used or scale > 1)
    _require(
        all(_finite(gradient) for gradient in gradients),
        f"The gradient of the discriminator's loss is not finite for logits around "
        f"+-{scale:g}. Use a stable form, such as softplus or logsigmoid.",
    )
    judged = step.discriminator(real, step.labels), step.discriminator(step.fake, step.labels)
    for found, output in zip(logits.values(), judged, strict=True):
        _require(torch.equal(found.detach(), output.logits.detach()), contract.IN_PLACE)


def _depends(loss: Loss, step: Step, judge: Any, side: str, batch: Tensor, before: Tensor) -> bool:
    """Whether D's loss changes with the samples of one side."""
    assert step.real is not None
    other = replace(step, discriminator=judge)
    real = step.real
    if side == "real":
        real = 1.5 - batch
    else:
        other.fake = 1.5 - batch
    with seeds.preserve_rng_state(batch.device):
        value = _d_loss(loss, other, real)
    return not torch.equal(value, before)


def _check_g_loss(loss: Loss, step: Step, scale: float) -> None:
    value = _g_loss(loss, step, torch.randn(step.fake.shape))
    contract.check_finite(value, "generator", scale)
    weights = list(step.generator.parameters())
    gradients = torch.autograd.grad(value, weights, allow_unused=True)
    contract.check_loss_reaches("generator", gradients)
    _require(
        all(_finite(gradient) for gradient in gradients),
        f"The gradient of the generator's loss is not finite for logits around +-{scale:g}. "
        f"Use a stable form, such as softplus or logsigmoid.",
    )
    assert step.fake_output is not None
    judged = step.discriminator(step.fake, step.labels).logits
    _require(torch.equal(step.fake_output.logits.detach(), judged.detach()), contract.IN_PLACE)


def _finite(gradient: Tensor | None) -> bool:
    return gradient is None or bool(torch.isfinite(gradient).all())


def _check_heads(loss: Loss, spec: SampleSpec) -> None:
    """Check the simple form on several logits of each sample, by such as are all the same."""
    cls = type(loss)
    for player, general, compute in (
        ("discriminator", Loss.discriminator_loss, _d_loss),
        ("generator", Loss.generator_loss, _g_loss),
    ):
        if getattr(cls, f"{player}_loss") is not general:
            continue
        values = []
        for heads, seed in ((None, 1), (None, 2), (_HEADS, 1)):
            torch.manual_seed(0)
            step = _tiny_step(loss, 0.5, spec, heads)
            real = torch.randn(step.fake.shape)
            torch.manual_seed(seed)
            values.append(compute(loss, step, real).item())
        one, other, several = values
        _require(
            one != other or math.isclose(one, several, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE),
            f"The {player}'s loss is {several:.4g} where D returns {_HEADS} logits of each sample, "
            f"(N, {_HEADS}), and {one:.4g} for the same logits as (N,). Take the mean over all.",
        )


# -- trackers -------------------------------------------------------------------------------------


def _check_log(tracker: Tracker, folder: Path, step: int) -> None:
    """Log two rows and pictures of all modes, from ``step`` on."""
    from PIL import Image

    settings = resolve({"trackers": [tracker]}).dump()
    row = {"epoch": 0.5, "images": 64.0, "d_loss": 1.25, "g_loss": -0.5}
    rows = {step + 1: row, step + 2: {**row, "modes": 8.0}}
    given = copy.deepcopy((settings, rows))
    begins = "continues, after what earlier steps left in the folder" if step else "begins"
    with _blaming(f"open(folder, settings, step={step})", f"A training {begins} here."):
        log = tracker.open(folder, settings, step)
    _require(
        isinstance(log, trackers.Log),
        f"open() must return a Log, not {_describe(log)}.",
    )
    for number, values in rows.items():
        with _blaming(f"scalars({number}, {values})", "Columns may come and go between rows."):
            log.scalars(number, values)
    with _blaming("scores()", "Scores may be of an earlier step than the last row."):
        log.scores(step + 1, {"fid": 12.5})
    for mode in ("L", "RGB", "RGBA"):
        picture = Image.new(mode, (6, 4), "grey")
        before = picture.tobytes()
        with _blaming(f"images() of mode {mode}", "Pictures may be of mode L, RGB or RGBA."):
            log.images(step + 2, "samples", picture)
        _require(
            picture.tobytes() == before,
            "images() changes the picture in place, which other trackers get too; copy it.",
        )
    with _blaming("finish()", "It must end the log in any state."):
        log.finish()
    _require(
        (settings, rows) == given,
        "The tracker changes the settings or rows that it is given, which others get too; copy "
        "them.",
    )


@contextmanager
def _blaming(call: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{call} raised {type(error).__name__}: {error}. {remedy}") from error


# -- metrics --------------------------------------------------------------------------------------


def _check_declared(metric: Metric) -> None:
    cls = type(metric)
    _require(
        cls.better in ("lower", "higher", None),
        f"{cls.__name__}.better is {cls.better!r}: say 'lower' or 'higher', or None for neither.",
    )
    for name, known in (("requires", get_args(Part)), ("sample_kinds", ANY_KIND)):
        given = getattr(cls, name)
        _require(
            isinstance(given, tuple) and bool(given) and set(given) <= {*known},
            f"{cls.__name__}.{name} is {given!r}: give a tuple of {listing(known)}.",
        )
    has, needs = "extractor" in cls.model_fields, bool(_FROM_NET & {*cls.requires})
    _require(
        has == needs,
        f"{cls.__name__} gathers {listing(cls.requires)} and has {'an' if has else 'no'} option "
        f"'extractor': moments, features and logits are those of its extractor, which nothing "
        f"else needs.",
    )


def _measured_spec(metric: Metric) -> SampleSpec:
    for spec in _SPECS:
        try:
            metric.check(spec)
        except ConfigError:
            continue
        return spec
    raise AssertionError(
        f"Metric '{metric.name}' refuses all of {', '.join(map(str, _SPECS))}. Pass a spec that it "
        f"is for: check_metric(..., spec=SampleSpec(...))."
    )


def _made_up(spec: SampleSpec, count: int, seed: int) -> Tensor:
    """Samples: uint8 where they are images, else floats in the spec's range."""
    source = torch.Generator().manual_seed(seed)
    shape = (count, *spec.shape)
    if spec.kind == "image":
        return torch.randint(0, 256, shape, generator=source, dtype=torch.uint8)
    if spec.value_range is None:
        return torch.randn(shape, generator=source)
    low, high = spec.value_range
    return torch.rand(shape, generator=source) * (high - low) + low


class _MadeUp(nn.Module):
    """A generator, as metrics of the latent space see it."""

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.spec, self.latent = spec, LatentSpec(shape=(4,))
        source = torch.Generator().manual_seed(3)
        self.weight = torch.randn(4, spec.numel, generator=source)

    def sample(
        self, count: int = 16, *, seed: int | None = None, latents: Tensor | None = None
    ) -> Tensor:
        if latents is None:
            source = torch.Generator().manual_seed(seed or 0)
            latents = torch.randn(count, 4, generator=source)
        values = torch.tanh(latents @ self.weight).reshape(count, *self.spec.shape)
        if self.spec.value_range is None:
            return values
        low, high = self.spec.value_range
        return (values + 1) * ((high - low) / 2) + low


def _inputs(
    metric: Metric,
    spec: SampleSpec,
    count: int,
    side: int,
    *,
    order: Tensor | None = None,
    broken: Part | None = None,
) -> MetricInputs:
    """What a metric asks for of real (0) or generated (1) samples, and nothing else."""
    parts = metric.wants(spec)
    source = torch.Generator().manual_seed(10 + side)
    order = torch.arange(count) if order is None else order
    made: dict[str, Tensor] = {
        "features": (torch.rand(count, _FEATURES, generator=source) + 0.1 * side)[order],
        "logits": torch.randn(count, _CLASSES, generator=source)[order],
        "samples": _made_up(spec, count, 20 + side)[order],
    }
    if broken is not None:
        made[broken] = made[broken].float()
        made[broken][count // 2] = float("nan")
    moments = None
    if "moments" in parts:
        moments = Moments()
        moments.add(made["features"])
    mixture = None
    if spec.kind == "vector":
        mixture = Mixture(centres=tuple((float(k),) * spec.numel for k in range(3)), sd=1.0)
    return MetricInputs(
        count=count,
        moments=moments,
        generator=_MadeUp(spec) if "generator" in parts and side else None,
        spec=spec,
        mixture=mixture,
        features=made["features"] if "features" in parts else None,
        logits=made["logits"] if "logits" in parts else None,
        samples=made["samples"] if "samples" in parts else None,
    )


def _sides(
    metric: Metric, spec: SampleSpec, count: int, **how: Any
) -> tuple[MetricInputs | None, MetricInputs]:
    real = _inputs(metric, spec, count, 0, **how) if metric.reals else None
    return real, _inputs(metric, spec, count, 1, **how)


def _check_result(metric: Metric, method: str, spec: SampleSpec, count: int) -> Result:
    real, fake = _sides(metric, spec, count)
    before = [copy.deepcopy(_tensors(part)) for part in (real, fake)]
    remedy = f"It may use only what it gathers of a {spec}: {listing(metric.wants(spec))}."
    with _blaming(f"{method}() of {count} samples", remedy):
        result = getattr(metric, method)(real, fake)
    _require(
        isinstance(result, Result),
        f"compute() must return a Result(value, ...), not {_describe(result)}.",
    )
    for name, value in (("value", result.value), ("error", result.error)):
        _require(
            type(value) in (int, float) or (name == "error" and value is None),
            f"The {name} of the Result must be a number of Python's, not {_describe(value)}: take "
            f"float() of it.",
        )
    _require(
        result.error is None or 0 <= result.error < float("inf"),
        f"The error of the Result is {result.error}: it is a finite number from 0 on, or None.",
    )
    try:
        json.dumps(dict(result.extra), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"The extra of the Result cannot be written as JSON ({error}). Give numbers, texts, "
            f"and lists and mappings of them."
        ) from error
    _require(
        isinstance(result.notices, tuple) and all(isinstance(line, str) for line in result.notices),
        f"The notices of the Result must be a tuple of texts, not {result.notices!r}.",
    )
    for part, kept in zip((real, fake), before, strict=True):
        same = all(torch.equal(value, kept[name]) for name, value in _tensors(part).items())
        _require(same, "compute() changes in place what was gathered, which other metrics need.")
    checked: Result = result
    return checked


def _tensors(part: MetricInputs | None) -> dict[str, Tensor]:
    if part is None:
        return {}
    names = ("features", "logits", "samples")
    found = {name: getattr(part, name) for name in names if getattr(part, name) is not None}
    return found if part.moments is None else {**found, "moments": part.moments.mean}


def _check_order(metric: Metric, spec: SampleSpec, count: int, value: float) -> None:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(5))
    real, fake = _sides(metric, spec, count, order=order)
    found = metric.score(real, fake).value
    _require(
        abs(found - value) <= _EXACT * max(1.0, abs(value)),
        f"In another order the same samples have the score {found!r} instead of {value!r}. A "
        f"metric is of a set of samples; one that draws some at random has an option 'seed'.",
    )


def _check_refusals(metric: Metric, spec: SampleSpec, count: int) -> None:
    for other in _SPECS:
        if other.kind not in metric.sample_kinds:
            _check_refused(
                partial(metric.check, other),
                ConfigError,
                f"check() of a {other}, whose kind is not among its sample_kinds,",
            )
    if metric.reals:
        fake = _inputs(metric, spec, count, 1)
        call = partial(metric.score, None, fake)
        _check_refused(call, ConfigError, "score() without real samples")
    tensors: tuple[Part, ...] = ("features", "logits", "samples")
    cases: list[tuple[str, int, Part | None]] = [
        (f"{part} with NaN", count, part) for part in tensors if part in metric.wants(spec)
    ]
    if (few := metric.min_samples - 1) >= 0:
        cases.append((f"{few} samples, fewer than its 'min_samples',", few, None))
    for what, size, part in cases:
        real, fake = _sides(metric, spec, size, broken=part)
        _check_refused(partial(metric.score, real, fake), DataError, f"score() of {what}")


def _check_refused(call: Callable[[], Any], wanted: type[GanzooError], what: str) -> None:
    try:
        call()
    except wanted:
        return
    except Exception as error:
        raise AssertionError(
            f"{what} raised {type(error).__name__} ({error}) instead of {wanted.__name__}. Call "
            f"super(), whose checks come first."
        ) from error
    raise AssertionError(
        f"{what} raised nothing; it must raise {wanted.__name__}. Call super(), or leave the "
        f"method as it is."
    )


# -- extractors -----------------------------------------------------------------------------------


def _shown_to(extractor: Extractor, spec: SampleSpec) -> Tensor:
    """Samples as an extractor takes them."""
    samples = _made_up(spec, _SEEN, 0)
    if extractor.quantisation == "uint8" or samples.is_floating_point():
        return samples
    low, high = spec.value_range or (0.0, 255.0)
    return samples * ((high - low) / 255) + low


def _check_protocol(extractor: Extractor) -> None:
    _require(
        extractor.quantisation in ("uint8", "none"),
        f"quantisation is {extractor.quantisation!r}: 'uint8' or 'none' says what the net takes.",
    )
    digest = extractor.weights_hash()
    _require(
        isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) is not None,
        f"weights_hash() must be a hexadecimal SHA-256, not {digest!r}. "
        f"ganzoo.features.base.fingerprint makes one of tensors.",
    )
    told = extractor.protocol()
    try:
        text = json.dumps(told, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"protocol() cannot be written as JSON ({error}). preparation() must return plain "
            f"values."
        ) from error
    again = features.registry.create(json.loads(extractor.model_dump_json())).protocol()
    _require(
        json.dumps(again, sort_keys=True) == text,
        f"The same options have the protocol {told}, and then {again}. It must follow from the "
        f"options and the weights alone.",
    )


def _check_frozen(net: Any) -> None:
    _require(isinstance(net, nn.Module), f"build() must return an nn.Module, not {_describe(net)}.")
    training = [name or "itself" for name, module in net.named_modules() if module.training]
    _require(
        not training,
        f"The net that build() returns is in training mode: {_some(training)}. Call eval().",
    )
    trained = [name for name, weight in net.named_parameters() if weight.requires_grad]
    _require(
        not trained,
        f"Gradients would be kept for {_some(trained)} of the net: call requires_grad_(False).",
    )


def _check_features(extractor: Extractor, found: Any, count: int) -> Features:
    _require(
        isinstance(found, Features),
        f"The net must return Features(pool, logits=None), not {_describe(found)}.",
    )
    for name, value, size in (
        ("pool", found.pool, extractor.dimensions),
        ("logits", found.logits, extractor.classes),
    ):
        if value is None and name == "logits":
            continue
        right = isinstance(value, Tensor) and value.dtype == torch.float32 and value.ndim == 2
        _require(
            right and len(value) == count and size in (None, value.shape[1]),
            f"The {name} of {count} samples must be a float32 tensor of shape "
            f"({count}, {size or 'any number'}); it is {_describe(value)}.",
        )
        _require(
            bool(torch.isfinite(value).all()) and not value.requires_grad,
            f"The {name} is not finite, or carries gradients: run the net under torch.no_grad, and "
            f"check its weights.",
        )
    checked: Features = found
    return checked


def _check_odd_pictures(extractor: Extractor, net: nn.Module, spec: SampleSpec) -> None:
    if spec.kind != "image":
        return
    try:
        found = net(_shown_to(extractor, SampleSpec(shape=(2, *spec.size))))
    except GanzooError:
        return
    except Exception as error:
        raise AssertionError(
            f"Pictures with two channels raised {type(error).__name__} ({error}). Refuse what the "
            f"net cannot see by UnsupportedSampleError, saying what it can."
        ) from error
    _check_features(extractor, found, _SEEN)


def _close(found: Tensor, wanted: Tensor) -> bool:
    scale = float(wanted.abs().max())
    return found.shape == wanted.shape and torch.allclose(
        found, wanted, rtol=_TOLERANCE, atol=_TOLERANCE * scale
    )
