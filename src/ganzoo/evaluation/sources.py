"""The two sides of a comparison: real samples, and those that a generator makes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ganzoo import averages
from ganzoo.core.seeds import derive
from ganzoo.datasets.base import SUBSET_FIELDS
from ganzoo.datasets.formats import span
from ganzoo.datasets.picture_dataset import PictureDataset
from ganzoo.errors import DataError, GanzooError
from ganzoo.metrics.inputs import batches

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets import Dataset, Samples
    from ganzoo.datasets.conversion import AnyArray
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.datasets.preprocessing import Preprocessing
    from ganzoo.datasets.ranges import Range
    from ganzoo.evaluation.options import Size
    from ganzoo.features.programs import Reading
    from ganzoo.generators.generator import Generator

__all__ = [
    "WINDOW",
    "Digest",
    "GeneratedSamples",
    "RealSamples",
    "SampleSource",
    "Sizes",
    "StoredSamples",
    "called",
    "chosen",
    "coloured",
    "fitted",
    "form_of",
    "in_range",
    "in_windows",
    "picked",
]

WINDOW = 64 * 2**20
"""Bytes of pictures that are in memory together, at most: of large ones it is one at a time."""

_BLOCK = 256  # generated samples with a seed of their own: no number of them changes others
_HASHED = 64 * 2**20  # bytes that are hashed together


class SampleSource:
    """One side of a comparison. As written here, samples are not files, and all of one size.

    Pictures of four channels in memory are taken for RGBA: a program's preset drops alpha.

    Attributes:
        grain: Samples that belong together, where several processes divide them.
    """

    grain: ClassVar[int] = 1

    if TYPE_CHECKING:

        @property
        def count(self) -> int:
            """How many are compared."""

        @property
        def spec(self) -> SampleSpec:
            """What one sample is, as a training would see it."""

        def batches(
            self, size: int, part: slice, asked: Reading = "data"
        ) -> Iterator[Tensor | list[Tensor]]:
            """Samples (n, *shape), or a list of pictures (C, H, W) where their sizes differ.

            Images are uint8 where they are stored so; all else are floats in the spec's range.
            """

        def protocol(self) -> dict[str, Any]:
            """Which samples these are."""

    @property
    def title(self) -> str:
        """What notices call them."""
        return "this generator"

    @property
    def mixture(self) -> Mixture | None:
        """The distribution that they come from, where it is known."""
        return None

    def reading(self, asked: Reading) -> Reading:
        """How pictures are opened: as programs do only where that makes a difference."""
        return asked if self.spec.kind == "image" and self.spec.channels == 4 else "data"

    def spec_for(self, asked: Reading) -> SampleSpec:
        """What one sample is, of the smallest height and width."""
        if self.reading(asked) == "data":
            return self.spec
        return self.spec.model_copy(update={"shape": (self.spec.channels - 1, *self.spec.size)})

    def sizes(self, asked: Reading = "data") -> Sizes:
        """Heights and widths of all that are compared."""
        return Sizes(self.spec.size, self.spec.size)

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures, for a protocol."""
        return {"alpha": "dropped"} if self.reading(asked) == "program" else {}

    def left(self, program: str) -> tuple[str, ...]:
        """In what a program would treat the files otherwise, a few words each."""
        return ()

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them, where they are opened as a program does."""
        if program is None or self.read("program").get("alpha") != "dropped":
            return ()
        return (
            f"The last channel of the pictures of {self.title} is taken for alpha and is dropped, "
            f"as {program} does with files; give them without it if it is none.",
        )


class RealSamples(SampleSource):
    """Samples of a dataset."""

    preprocessing: Preprocessing | None = None

    if TYPE_CHECKING:

        @property
        def dataset(self) -> Dataset:
            """Where they come from."""

        @property
        def fingerprint(self) -> str:
            """SHA-256 of the samples that are compared, as they are stored."""

        def cache_key(self, asked: Reading) -> dict[str, Any]:
            """What else decides what an extractor sees of them."""

    @property
    def title(self) -> str:
        """What notices call them."""
        return called(self.dataset)

    @property
    def labels(self) -> Tensor | None:
        """Their class indices (count,), or None."""
        return None

    def protocol(self) -> dict[str, Any]:
        """Which samples these are."""
        settings = self.dataset.model_dump(mode="json")
        parts = {name: settings[name] for name in SUBSET_FIELDS if settings.get(name) is not None}
        if Path(parts.get("repo", "")).is_absolute():
            del parts["repo"]  # a folder of this machine, which says nothing elsewhere
        name, count = self.dataset.name, self.count
        return {"dataset": name, **parts, "count": count, "sha256": self.fingerprint}


@dataclass(frozen=True, eq=False)
class StoredSamples(RealSamples):
    """Samples of a dataset in memory, all of one size, in their order."""

    dataset: Dataset
    samples: Samples
    indices: Tensor | None  # all of them where None
    spec: SampleSpec
    preprocessing: Preprocessing | None = None

    @classmethod
    def load(
        cls,
        dataset: Dataset,
        count: int | None,
        generator: Generator | None,
        samples: Samples | None = None,
    ) -> StoredSamples:
        """Load a dataset, at the size of what a generator makes, or take what is loaded of it."""
        if generator is not None and generator.spec.kind == "image":
            frame = generator.config.preprocessing
            resized = frame is not None and frame.method == "resize"
            size = frame.original_size if frame is not None and resized else generator.spec.size
            if getattr(dataset, "size", size) is None:  # it reads pictures of any size
                dataset = dataset.replace(size=size)
        samples = dataset.load() if samples is None else samples
        return cls(dataset, samples, chosen(dataset, len(samples), count), samples.spec)

    @property
    def count(self) -> int:
        """How many are compared."""
        return len(self.samples) if self.indices is None else len(self.indices)

    @property
    def mixture(self) -> Mixture | None:
        """The distribution that they come from, where it is known."""
        return self.samples.mixture

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them, where they are opened as a program does."""
        return (*self.samples.notices, *super().notices(program))

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures, for a protocol."""
        done: dict[str, str] = {}
        if isinstance(self.dataset, PictureDataset) and self.dataset.size is not None:
            height, width = self.dataset.size
            verb = "stretched" if self.dataset.crop == "none" else "resized and cropped"
            done["size"] = f"{verb} to {height}x{width}, as for a training"
        return done | super().read(asked)

    def cache_key(self, asked: Reading) -> dict[str, Any]:
        """What else decides what an extractor sees of them."""
        done = self.preprocessing
        return {
            "original_size": self.samples.spec.shape,
            "preprocessing": None if done is None else done.model_dump(mode="json"),
            "alpha": self.reading(asked),
        }

    @property
    def labels(self) -> Tensor | None:
        """Their class indices (count,), or None."""
        labels = self.samples.labels
        return labels if labels is None or self.indices is None else labels[self.indices]

    def of_class(self, number: int) -> StoredSamples:
        """Return those of one class, by its number; there must be labels."""
        labels = self.labels
        assert labels is not None
        rows = (labels == number).nonzero().flatten().cpu()
        return replace(self, indices=rows if self.indices is None else self.indices[rows])

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the samples that are compared, as they are stored."""
        data = self.samples.data
        head = (tuple(data.shape[1:]), str(data.dtype), self.count, self.samples.stored_range)
        digest = hashlib.sha256(repr(head).encode())
        rows = max(1, _HASHED // max(1, data[0].nbytes))
        for part in batches(self.count, rows):
            values = self._stored(part).contiguous().view(-1).view(torch.uint8)
            digest.update(values.cpu().numpy().data)
        return digest.hexdigest()

    def _stored(self, part: slice) -> Tensor:
        data = self.samples.data
        return data[part] if self.indices is None else data.index_select(0, self.indices[part])

    def batches(self, size: int, part: slice, asked: Reading = "data") -> Iterator[Tensor]:
        """Images as uint8 where they are stored so, all else as floats in the spec's range."""
        stored_range = self.samples.stored_range
        channels = self.spec_for(asked).shape[0]
        size = max(1, min(size, WINDOW // max(1, self.samples.data[0].nbytes)))
        for each in batches(part.stop - part.start, size):
            batch = self._stored(slice(part.start + each.start, part.start + each.stop))
            if self.samples.spec.kind == "image":
                (height, width), (tall, wide) = self.samples.spec.size, batch.shape[-2:]
                top, left = (tall - height) // 2, (wide - width) // 2
                batch = batch[..., top : top + height, left : left + width]
                if self.preprocessing is not None and self.preprocessing.method == "resize":
                    batch = self.preprocessing.apply(batch, 0)
                if batch.dtype == torch.uint8 and stored_range == (0.0, 255.0):
                    yield batch[:, :channels]
                    continue
            else:
                batch = batch.float()
            yield in_range(batch, stored_range, self.spec.value_range)[:, :channels]


@dataclass(frozen=True, eq=False)
class GeneratedSamples(SampleSource):
    """Samples of a generator."""

    generator: Generator
    count: int
    seed: int
    batch_size: int
    weights: Tensor | None  # labels that classes are drawn from; None for all alike

    grain: ClassVar[int] = _BLOCK

    @property
    def spec(self) -> SampleSpec:
        """What one sample is."""
        return self.generator.spec

    def batches(self, size: int, part: slice, asked: Reading = "data") -> Iterator[Tensor]:
        """Floats in the spec's range, all finite; ``part`` begins at a multiple of ``grain``."""
        channels = self.spec_for(asked).shape[0]
        for start in range(part.start, part.stop, _BLOCK):
            number, count = start // _BLOCK, min(_BLOCK, part.stop - start)
            seed = derive(self.seed, "evaluate", number)
            classes = None
            if self.weights is not None:
                source = torch.Generator().manual_seed(derive(self.seed, "labels", number))
                picked = torch.randint(len(self.weights), (_BLOCK,), generator=source)[:count]
                classes = self.weights[picked]
            samples = self.generator.sample(
                count, seed=seed, labels=classes, batch_size=self.batch_size
            )
            good = samples.flatten(1).isfinite().all(1)
            if not good.all():
                first = start + int((~good).nonzero()[0])
                raise DataError(
                    f"The generator makes NaN or infinity, first in sample {first:,} of seed "
                    f"{self.seed}, so that there is no score. Its training diverged: take an "
                    f"earlier checkpoint, or train it again."
                )
            yield from torch.split(samples[:, :channels], size)

    def protocol(self) -> dict[str, Any]:
        """Which samples these are."""
        classes = self.spec.classes
        conditional: dict[str, str] = {}
        if classes is not None:
            conditional["labels"] = "uniform" if self.weights is None else "data"
        if classes is not None and self.weights is not None:
            counts = torch.bincount(self.weights, minlength=len(classes)).tolist()
            named = sorted(zip(classes, counts, strict=True))  # two nets may number them otherwise
            digest = hashlib.sha256(repr(named).encode()).hexdigest()
            conditional["label_shares"] = digest
        return {
            "source": "generator",
            "count": self.count,
            "seed": self.seed,
            **conditional,
            "averaged": _averaged(self.generator.config.training),
        }


def _averaged(training: Mapping[str, Any]) -> bool | None:
    """Whether weights are an average and not those of the last step; None if it is not known."""
    try:
        late = averages.create(training["average"]).retained(10**6, 1.0)
    except (KeyError, GanzooError):
        return None
    return any(late)


@dataclass(frozen=True)
class Sizes:
    """Which sizes pictures have: smallest and largest height, smallest and largest width."""

    low: Size
    high: Size

    @classmethod
    def of(cls, table: Tensor) -> Sizes:
        """Those in a table of heights and widths (N, 2)."""
        low, high = table.amin(0).tolist(), table.amax(0).tolist()
        return cls((low[0], low[1]), (high[0], high[1]))

    @property
    def one(self) -> Size | None:
        """Height and width, if all agree."""
        return self.low if self.low == self.high else None

    def __str__(self) -> str:
        """Return them in words."""
        if self.one is not None:
            return f"{self.low[0]}x{self.low[1]}"
        return span(self.low, self.high)


def in_windows(windows: Iterable[Tensor], size: int) -> Iterator[Tensor | list[Tensor]]:
    """Gather pictures (C, H, W) into batches of at most ``size`` and ``WINDOW`` bytes, in order.

    A batch is a tensor where all are of one shape and type, and otherwise a list.
    """
    waiting: list[Tensor] = []
    held = 0
    for picture in windows:
        if waiting and (len(waiting) == size or held + picture.nbytes > WINDOW):
            yield _batch(waiting)
            waiting, held = [], 0
        waiting.append(picture)
        held += picture.nbytes
    if waiting:
        yield _batch(waiting)


def _batch(pictures: list[Tensor]) -> Tensor | list[Tensor]:
    forms = {(picture.shape, picture.dtype) for picture in pictures}
    return torch.stack(pictures) if len(forms) == 1 else pictures


def fitted(batch: Tensor | Sequence[Tensor], size: Size) -> Tensor:
    """Bring pictures to one size, as a dataset of pictures does for a training.

    What is too long for the proportions is cut off both ends; the rest is resized bilinearly, with
    antialiasing.

    Args:
        batch: (N, C, H, W), or pictures (C, H, W) of any sizes; uint8 or floats.
        size: Height and width.

    Returns:
        (N, C, *size), of the same type; of floats where they differ in it.
    """
    if not isinstance(batch, torch.Tensor):
        parts = [fitted(picture[None], size) for picture in batch]
        if len({part.dtype for part in parts}) > 1:
            raise DataError(
                "Some of these pictures are 8-bit numbers and others are floats, so that they "
                "cannot be put together; bring all to one type."
            )
        return torch.cat(parts)
    (height, width), (tall, wide) = batch.shape[-2:], size
    if (height, width) == (tall, wide):
        return batch
    scale = min(width / wide, height / tall)
    rows, columns = max(1, round(tall * scale)), max(1, round(wide * scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    part = batch[..., top : top + rows, left : left + columns]
    if (rows, columns) == (tall, wide):
        return part
    found = torch.nn.functional.interpolate(
        part.float(), size, mode="bilinear", align_corners=False, antialias=True
    )
    return found.round().clamp(0, 255).to(torch.uint8) if batch.dtype == torch.uint8 else found


def in_range(
    batch: Tensor, stored: tuple[float, float] | None, wanted: tuple[float, float] | None
) -> Tensor:
    """Stored values as floats in the range of a spec; pictures of 8 bits as they are."""
    if batch.dtype == torch.uint8 and stored == (0.0, 255.0):
        return batch
    batch = batch.float()
    if stored is not None and wanted is not None:
        (low, high), (bottom, top) = stored, wanted
        batch = (batch - low) * ((top - bottom) / (high - low)) + bottom
    return batch


def chosen(dataset: Dataset, there: int, count: int | None) -> Tensor | None:
    """Numbers of as many samples as are asked for, always the same ones; None for all.

    Raises:
        DataError: If there are fewer.
    """
    if count is None or count == there:
        return None
    if count > there:
        raise DataError(
            f"The dataset {called(dataset)} has {there:,} samples, fewer than the {count:,} that "
            f"are asked for. Ask for at most {there:,}."
        )
    order = torch.Generator().manual_seed(derive(0, "evaluated"))
    return torch.randperm(there, generator=order)[:count].sort().values


def called(dataset: Dataset) -> str:
    """Return how an error names a dataset."""
    path = getattr(dataset, "path", None)
    return f"'{dataset.name}' ({path})" if path else f"'{dataset.called}'"


class Digest:
    """SHA-256 of pictures: ``StoredSamples.fingerprint`` where all are there and of one size."""

    def __init__(self, expected: int, bounds: Range = (0.0, 255.0)) -> None:
        self._expected, self._bounds, self._count = expected, bounds, 0
        self._pixels, self._forms = hashlib.sha256(), hashlib.sha256()
        self._first: Any = None
        self._alike = True

    def add(self, pixels: AnyArray) -> None:
        """Take in the next picture."""
        import numpy as np

        form = (pixels.shape, f"torch.{pixels.dtype}")
        if self._first is None:
            self._first = form
            self._pixels.update(repr((*form, self._expected, self._bounds)).encode())
        self._alike = self._alike and form == self._first
        self._count += 1
        self._forms.update(repr(form).encode())
        self._pixels.update(np.ascontiguousarray(pixels).data)

    def hexdigest(self) -> str:
        """Return it."""
        if self._alike and self._count == self._expected:
            return self._pixels.hexdigest()
        parts: tuple[Any, ...] = (
            self._count,
            self._forms.hexdigest(),
            self._pixels.hexdigest(),
        )
        if self._bounds != (0.0, 255.0):
            parts = (*parts, self._bounds)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def form_of(side: SampleSource, asked: Reading, channels: int) -> str:
    """Return what one sample of a side is, in words, where it is seen with so many channels."""
    spec = side.spec_for(asked)
    if spec.kind != "image":
        return str(spec)
    sizes = side.sizes(asked)
    text = str(spec.model_copy(update={"shape": (channels, *sizes.low)}))
    return text if sizes.one is not None else f"{text.partition(' ')[2]}s with {sizes}"


def picked(side: SampleSource, numbers: Sequence[int]) -> list[Tensor]:
    """Return some of the samples of a side, each (*shape,), in the order asked for."""
    blocks: dict[int, list[Tensor]] = {}
    for start in {number // side.grain * side.grain for number in numbers}:
        block = slice(start, min(start + side.grain, side.count))
        blocks[start] = [each for batch in side.batches(_BLOCK, block) for each in batch]
    rest = [(number // side.grain * side.grain, number % side.grain) for number in numbers]
    return [blocks[start][place] for start, place in rest]


def coloured(side: SampleSource, other: SampleSource | None, asked: Reading) -> SampleSpec:
    """Return what one sample of a side is where it is compared with another: grey becomes RGB."""
    spec = side.spec_for(asked)
    if other is None or spec.kind != "image":
        return spec
    channels = {spec.channels, other.spec_for(asked).channels}
    return spec.model_copy(update={"shape": (max(channels), *spec.shape[1:])})
