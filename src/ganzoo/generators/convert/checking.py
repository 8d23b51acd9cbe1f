"""Compares a converted generator with a picture of the other program's, and finds what differs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.architectures.layers import output_activation
from ganzoo.core.nets import build_on_meta
from ganzoo.errors import CheckpointError, DataError, GanzooError, listing
from ganzoo.generators.convert import probe
from ganzoo.generators.convert.fitting import Fit, Request, flag, worded
from ganzoo.generators.convert.matching import MisfitError

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.architectures.base import Architecture
    from ganzoo.core.spec import LatentSpec, SampleSpec

__all__ = ["check"]

_SAME = 1e-3  # by which samples may differ from those expected, for values from -1 to 1
_ROUNDING = 1e-5  # by which they may without a word
_TRIES = 800  # settings that are tried for other samples
_AT_ONCE = 32  # samples that are made for a check
_SCALINGS = (
    ("that of the generator brought from -1..1 to 0..1", 0.5, 0.5),
    ("that of the generator brought from -1..1 to 0..255", 127.5, 127.5),
    ("that of the generator brought from 0..1 to 0..255", 255.0, 0.0),
    ("that of the generator brought from 0..1 to -1..1", 2.0, -1.0),
)


def check(
    path: Path,
    request: Request,
    fit: Fit,
    weights: Mapping[str, Tensor],
    latent: Tensor,
    picture: Tensor,
) -> tuple[float, str]:
    """Return by how much samples differ from those expected, and a note on it.

    Args:
        path: The file, for messages.
        request: What the caller says.
        fit: The generator that was found.
        weights: Of the generator.
        latent: Of the check, in any of the shapes that ``convert`` takes.
        picture: What the other program's net makes of it.

    Raises:
        CheckpointError: If by more than rounding, or they have another shape.
        DataError: If latent or picture are none of this generator.
    """
    z = probe.latents(latent, fit.latent, len(fit.sample.classes or ()))
    try:
        wanted = probe.samples(picture, len(z), fit.sample)
    except probe.MisshapenError as error:
        fault = f"the generator makes a {fit.sample}, the picture given is of shape {error.shape}"
        if 1 < len(z) != len(picture):
            raise DataError(
                f"The check has {len(z)} latents and {len(picture)} pictures: give one picture for "
                f"each latent."
            ) from None
    else:
        made = _made(fit.arch, fit.sample, fit.latent, weights, z)
        difference, scale = _largest(made - wanted), _scale(wanted)
        if difference <= _ROUNDING * scale:
            return difference, f"Samples differ from the picture given by {difference:.2g} at most."
        fault = f"samples differ from the picture given by up to {difference:.2g}"
        if difference <= _SAME * scale:
            other = _setting(request, fit, weights, z, picture, below=difference / 4)
            advice = f", by {other.difference:.2g} with {other}" if other else ""
            return difference, f"Other than by rounding, {fault}{advice}."
        for words, factor, shift in _SCALINGS:
            if _largest(made * factor + shift - wanted) <= _SAME * scale:
                raise CheckpointError(
                    f"{path}: {fault}, which is {words}: give the picture as the net itself makes "
                    f"it."
                )
    if other := _setting(request, fit, weights, z, picture):
        raise CheckpointError(
            f"{path}: {fault}. They differ by {other.difference:.2g} with {other}: say so."
        )
    open_ = fit.inferred.not_inferable if fit.inferred else ()
    options = [option for option in open_ if option not in request.options] or open_
    listed = [f"{option} ({flag(option)})" for option in options]
    raise CheckpointError(
        f"{path}: {fault}, and no usual setting makes it. Weights do not tell "
        f"{listing([*listed, 'what the net ends in (--value-range, --unbounded)'])}: say what that "
        f"net has, and make sure that the picture is of this latent, in evaluation mode."
    )


@dataclass(frozen=True)
class _Setting:
    """Arguments that the caller would have to add, and the difference that is left then."""

    options: dict[str, Any]
    about: dict[str, Any]
    name: str
    difference: float

    def __str__(self) -> str:
        flags = []
        for option, value in self.options.items():
            words = "" if isinstance(value, bool) else f" {worded(value)}"
            flags.append(flag(option, value is False) + words)
        for name, value in self.about.items():
            unbounded = value == "unbounded"
            flags.append("--unbounded" if unbounded else f"{flag(name, lead='')} {worded(value)}")
        python = [f"arch={ {'name': self.name, **self.options} }"] if self.options else []
        python += [f"{name}={value!r}" for name, value in self.about.items()]
        return f"{' '.join(flags)} (in Python, {', '.join(python)})"


def _setting(
    request: Request,
    fit: Fit,
    weights: Mapping[str, Tensor],
    z: Tensor,
    picture: Tensor,
    below: float | None = None,
) -> _Setting | None:
    """Return the setting, of those that other programs have, that makes the picture best.

    Args:
        request: What the caller says.
        fit: The generator that was found.
        weights: Of the generator.
        z: (N, *shape) latents.
        picture: What is made of them.
        below: The difference that it has to be smaller than, if not the one that is allowed.
    """
    start = fit
    shape = probe.image(picture, len(z)) or fit.sample.shape
    if len(shape) == 3 and shape != fit.sample.shape:
        resized = replace(request, size=(shape[1], shape[2]), channels=shape[0], likely=False)
        try:
            start = resized.fit(fit.state)
        except MisfitError:
            return None
    best = _best(request, start, weights, z, picture)
    if best is None:
        return None
    arch, sample = best
    wanted = probe.samples(picture, len(z), sample)
    try:
        difference = _largest(_made(arch, sample, fit.latent, weights, z) - wanted)
    except GanzooError:
        return None
    if difference > (_SAME * _scale(wanted) if below is None else below):
        return None
    now = _options(fit.arch)
    options = {n: v for n, v in _options(arch).items() if v != now[n] and v is not None}
    about: dict[str, Any] = {}
    if sample.value_range != fit.sample.value_range:
        about["value_range"] = "unbounded" if sample.value_range is None else sample.value_range
    try:
        said = replace(request, options={**request.options, **options}).fit(fit.state)
        if said.sample.shape != sample.shape:
            raise MisfitError("of another shape")
    except MisfitError:
        about |= {"size": sample.shape[1:], "channels": sample.shape[0]}
    return _Setting(options, about, fit.arch.name, difference) if options or about else None


def _best(
    request: Request, start: Fit, weights: Mapping[str, Tensor], z: Tensor, picture: Tensor
) -> tuple[Architecture, SampleSpec] | None:
    """The settings, judged by the first sample, whose samples are nearest to the picture."""
    first = slice(0, 1) if len(z) == len(picture) or len(z) > 1 else slice(None)
    sample, nearest = start.sample, math.inf
    best: tuple[Architecture, SampleSpec] | None = None
    ranges = dict.fromkeys([sample.value_range, (-1.0, 1.0), (0.0, 1.0), None])
    for changes in _changes(start):
        try:
            arch = request.cls(**{**_options(start.arch), **changes})
            wanted = probe.samples(picture, len(z), sample)[first]
            linear = sample.model_copy(update={"value_range": None})
            raw = _made(arch, linear, start.latent, weights, z[first])
        except (GanzooError, probe.MisshapenError, RuntimeError, ValueError):
            continue
        for ends in ranges:
            ended = sample.model_copy(update={"value_range": ends})
            apart = _largest(output_activation(ended)(raw) - wanted)
            if best is None or apart < nearest / 2:
                best, nearest = (arch, ended), apart
        if nearest <= _ROUNDING:
            break
    return best


def _changes(fit: Fit) -> Iterator[dict[str, Any]]:
    """Settings that other programs have, those that differ least from what was taken first."""
    elsewhere = fit.inferred.elsewhere if fit.inferred else ()
    axes = [[answer for answer in axis if _is_another(fit, answer)] for axis in elsewhere]
    tries = 0
    for count in range(len(axes) + 1):
        for chosen in combinations(axes, count):
            for answers in product(*chosen):
                if tries == _TRIES:
                    return
                tries += 1
                yield {name: value for answer in answers for name, value in answer.items()}


def _is_another(fit: Fit, answer: Mapping[str, Any]) -> bool:
    """Whether options make another net of samples of the same shape."""
    now = _options(fit.arch)
    if all(now[name] == value for name, value in answer.items()):
        return False
    try:
        type(fit.arch)(**{**now, **answer}).check(fit.sample)
    except GanzooError:
        return False
    return True


def _options(arch: Architecture) -> dict[str, Any]:
    return {name: getattr(arch, name) for name in type(arch).model_fields}


def _made(
    arch: Architecture,
    sample: SampleSpec,
    latent: LatentSpec,
    weights: Mapping[str, Tensor],
    z: Tensor,
) -> Tensor:
    """What a generator with these weights makes of latents, in evaluation mode.

    With classes, a latent has its one-hot label after it.
    """
    if arch.provider:  # a plug-in's net may hold more than its state dict says
        with torch.random.fork_rng(devices=[]):
            net = arch.generator(sample, latent)
    else:
        net = build_on_meta(lambda: arch.generator(sample, latent))
    net.load_state_dict(dict(weights), assign=True)
    net.eval()
    classes, parts = len(sample.classes or ()), []
    with torch.no_grad():
        for part in torch.split(z, _AT_ONCE):
            labels = None
            if classes:
                part, code = torch.split(part.flatten(1), [latent.numel, classes], 1)
                part, labels = part.reshape(-1, *latent.shape), code.argmax(1)
            parts.append(net(part, labels))
    return torch.cat(parts).float()


def _largest(difference: Tensor) -> float:
    value = difference.abs().max().item()
    return value if math.isfinite(value) else math.inf


def _scale(wanted: Tensor) -> float:
    """What differences are measured by: 1, or the largest value where there are larger ones."""
    return max(1.0, _largest(wanted))
