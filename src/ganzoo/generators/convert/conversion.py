"""``convert``: from a file of weights to a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ganzoo.core.state_dicts import not_finite
from ganzoo.errors import BundleError, CheckpointError, ConfigError, listing
from ganzoo.files import statedicts
from ganzoo.files.storage import expanded, sha256
from ganzoo.generators import bundle
from ganzoo.generators.convert import choosing, probe
from ganzoo.generators.convert.checking import check as compared
from ganzoo.generators.convert.fitting import Fit, Range, Request
from ganzoo.generators.convert.matching import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.architectures.base import Architecture
    from ganzoo.core.spec import Kind, LatentSpec

__all__ = ["Conversion", "Pair", "convert"]


class Pair(NamedTuple):
    """One tensor: its name in the file, its name in the generator here, its shape."""

    theirs: str
    ours: str
    shape: Shape


@dataclass(frozen=True)
class Conversion:
    """What was made of a file.

    Attributes:
        folder: The bundle.
        config: What it says of itself.
        key: Where in the file the weights were; ``.`` for the file itself.
        pairs: Which tensor became which, in the order of the file.
        notes: What was assumed or changed, a sentence each.
        difference: By how much samples differ at most from those of the check, if there was one.
    """

    folder: Path
    config: bundle.BundleConfig
    key: str
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    difference: float | None = None


def convert(
    checkpoint: str | Path,
    arch: str | Mapping[str, Any] | Architecture,
    folder: str | Path,
    *,
    key: str | None = None,
    mapping: str | Path | Mapping[str, str] | None = None,
    kind: Kind | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    latent: LatentSpec | Mapping[str, Any] | int | tuple[int, ...] | None = None,
    value_range: Range = None,
    classes: int | Sequence[str] | None = None,
    check: tuple[Any, Any] | None = None,
) -> Conversion:
    """Make a bundle of a generator's weights that another program saved with PyTorch.

    The architecture's options, the size and channels of a sample and the latent follow from the
    weights' shapes; arguments win. Names are matched as they are if they agree, else by order and
    shape. Nothing in the file is run. What weights do not tell, such as activations, is assumed
    and noted; a ``check`` verifies it.

    Args:
        checkpoint: File of ``torch.save`` or of safetensors, with the weights at any depth.
        arch: The architecture: its name, a mapping with the name and options, or the component.
        folder: Where the bundle goes; an older bundle there is replaced.
        key: Where in the file the weights are, if several nets in it fit: keys joined by dots, or
            ``.`` for the file itself.
        mapping: Names in the file to names here, or a YAML or JSON file of such: of tensors, or of
            layers with all that they have. What it leaves out is matched as without it.
        kind: What a sample is; by default an image, or a vector if it cannot be one.
        size: Height and width of an image; one number if they are equal.
        channels: Channels of a sample.
        latent: What the generator is fed, as wherever a latent is expected.
        value_range: Lowest and highest value of samples, which decides what the net ends in: tanh
            for (-1, 1), the default but for vectors; sigmoid for (0, 1); nothing if "unbounded".
        classes: Names of the classes of a generator with labels, in the order of their numbers, or
            how many there are. A label is one-hot after the latent, or a learned vector where the
            weights have a table of one row for each class.
        check: A latent and the picture that the other program's net makes of it in evaluation
            mode, or a batch of each: ``.npy`` files, arrays or tensors. (D,), (N, D) or (N, D, 1,
            1), and (C, H, W) or (N, C, H, W), channels first or last; with classes, D is the latent
            and the one-hot label after it. Where samples differ by more than 0.001 (for values
            from -1 to 1), nothing is written.

    Raises:
        CheckpointError: If the file cannot be read safely, holds no such generator, or the check
            fails; with the options that make it succeed, if usual ones do.
        ConfigError: If more must be said: which net of several, or which name is which.
        DataError: If latent or picture of the check cannot be read.
        BundleError: If the bundle cannot be written there.
        UnknownNameError: If there is no such architecture.
    """
    path, target = expanded(checkpoint), expanded(folder)
    if not bundle.replaceable(target):
        raise BundleError(
            f"{target} holds something that is not a bundle, which converting would replace. "
            f"Choose another folder."
        )
    request = Request.of(arch, mapping, kind, size, channels, latent, value_range, classes)
    expected = None if check is None else probe.read(check)
    found = statedicts.read(path)
    if key is None:
        fit = choosing.best(path, request, found)
    else:
        fit = choosing.only(path, request, statedicts.select(found, key, path))
    if fit.doubt:
        raise ConfigError(f"{path}: {fit.doubt}")
    statedicts.check_claims(fit.state, path)
    weights, types = _weights(path, fit)
    notes, difference = [*fit.notes], None
    if expected:
        difference, note = compared(path, request, fit, weights, *expected)
        notes.append(note)
    if types:
        notes.append(f"{listing(sorted(types))} weights were converted to float32.")
    if len(weights) > len(fit.names):
        notes.append("The file lacks batch norm's counters of batches, which start at 0.")
    file = path.name if path.name.isprintable() else ascii(path.name)
    source = {"file": file, "sha256": sha256(path), "key": fit.state.place}
    config = bundle.BundleConfig(
        architecture=fit.arch,
        sample=fit.sample,
        latent=fit.latent,
        training={"converted_from": source},
    )
    bundle.write(target, config, weights)
    pairs = tuple(
        Pair(theirs, fit.names[theirs], tuple(value.shape))
        for theirs, value in fit.state.tensors.items()
    )
    return Conversion(target, config, fit.state.place, pairs, tuple(notes), difference)


def _weights(path: Path, fit: Fit) -> tuple[dict[str, Tensor], set[str]]:
    """Return the generator's weights, and the types that they had where these were others.

    Raises:
        CheckpointError: If they are no real, finite numbers in the generator's types.
    """
    import torch

    weights: dict[str, Tensor] = {}
    types: set[str] = set()
    here = {theirs: name for name, theirs in fit.reading.names.items()}
    names = {ours: theirs for theirs, ours in fit.names.items()}
    for ours, like in fit.expected.items():
        if ours not in names:
            weights[ours] = torch.zeros(like.shape, dtype=like.dtype)
            continue
        value = fit.reading.state.tensors[here[names[ours]]]
        if value.is_complex() or value.is_floating_point() != like.dtype.is_floating_point:
            raise CheckpointError(
                f"'{names[ours]}' of {path} holds {value.dtype}, where the generator has "
                f"{like.dtype}. Save weights as real numbers."
            )
        weights[ours] = value.detach().to(like.dtype)
        if weights[ours].dtype != value.dtype:
            types.add(str(value.dtype).removeprefix("torch."))
    if bad := not_finite(weights):
        raise CheckpointError(
            f"'{names[bad]}' of {path} has values that are not finite: that training diverged. "
            f"Take an earlier checkpoint of it."
        )
    return weights, types
