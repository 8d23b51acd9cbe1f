"""The two sides of a comparison: samples that are there, and those that a generator makes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from ganzoo import datasets
from ganzoo.core.seeds import derive
from ganzoo.datasets.picture_dataset import PictureDataset
from ganzoo.errors import ConfigError, DataError, GanzooError
from ganzoo.evaluation.encoded import Encoded
from ganzoo.evaluation.items import Items, items_of
from ganzoo.evaluation.own_size import (
    WINDOW,
    Sizes,
    called,
    chosen,
    described,
    dropped_alpha,
    in_range,
)
from ganzoo.files import storage
from ganzoo.generators import bundle
from ganzoo.generators.generator import Generator
from ganzoo.metrics.inputs import batches

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets import Dataset, Samples
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.datasets.preprocessing import Preprocessing
    from ganzoo.features.programs import Reading

__all__ = [
    "GeneratedSamples",
    "Labels",
    "Real",
    "SampleSource",
    "StoredSamples",
    "bundle_folder",
    "coloured",
    "dataset_of",
    "form_of",
    "label_weights",
    "matched",
    "mixture_of",
    "picked",
    "sample_source",
    "source_of",
]

Labels = Literal["uniform", "data"]

_BLOCK = 256  # generated samples with a seed of their own: no number of them changes others
_HASHED = 64 * 2**20  # bytes that are hashed together


class _Arrays:
    """Samples that are no files, all of one size."""

    if TYPE_CHECKING:

        @property
        def spec(self) -> SampleSpec: ...

    def reading(self, asked: Reading) -> Reading:
        """Whether alpha is dropped, as programs do with files."""
        return asked if self.spec.kind == "image" and self.spec.channels == 4 else "data"

    def spec_for(self, asked: Reading) -> SampleSpec:
        """What one sample is, with or without alpha."""
        if self.reading(asked) == "data":
            return self.spec
        return self.spec.model_copy(update={"shape": (self.spec.channels - 1, *self.spec.size)})

    def sizes(self, asked: Reading = "data") -> Sizes:
        """Heights and widths, of which there is one."""
        return Sizes(self.spec.size, self.spec.size)

    def left(self, program: str) -> tuple[str, ...]:
        """Return nothing: programs read files."""
        return ()


@dataclass(frozen=True, eq=False)
class StoredSamples(_Arrays):
    """Samples of a dataset, in the order in which they are looked at.

    ``grain`` is how many samples belong together, where several processes divide them.
    """

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
        """How many are looked at."""
        return len(self.samples) if self.indices is None else len(self.indices)

    @property
    def mixture(self) -> Mixture | None:
        """The distribution that they come from, where it is known."""
        return self.samples.mixture

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them, where they are seen as a program does."""
        if program is None or self.reading("program") == "data":
            return self.samples.notices
        return (*self.samples.notices, dropped_alpha(called(self.dataset), program))

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures on the way, where it was."""
        done: dict[str, str] = {}
        if isinstance(self.dataset, PictureDataset) and self.dataset.size is not None:
            height, width = self.dataset.size
            verb = "stretched" if self.dataset.crop == "none" else "resized and cropped"
            done["size"] = f"{verb} to {height}x{width}, as for a training"
        if self.reading(asked) == "program":
            done["alpha"] = "dropped"
        return done

    def kept_as(self, asked: Reading) -> dict[str, Any]:
        """What else decides what an extractor sees of them."""
        preprocessing = (
            None if self.preprocessing is None else self.preprocessing.model_dump(mode="json")
        )
        return {
            "original_size": self.samples.spec.shape,
            "preprocessing": preprocessing,
            "alpha": self.reading(asked),
        }

    @property
    def labels(self) -> Tensor | None:
        """Their class indices (count,), or None."""
        labels = self.samples.labels
        return labels if labels is None or self.indices is None else labels[self.indices]

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

    grain: ClassVar[int] = 1

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

    def protocol(self) -> dict[str, Any]:
        """Which samples these are."""
        return described(self.dataset, self.count, self.fingerprint)


@dataclass(frozen=True, eq=False)
class GeneratedSamples(_Arrays):
    """Samples of a generator."""

    generator: Generator
    count: int
    seed: int
    batch_size: int
    labels: Labels
    weights: Tensor | None  # labels of the real samples, which are drawn from

    mixture: Mixture | None = None

    @property
    def spec(self) -> SampleSpec:
        """What one sample is."""
        return self.generator.spec

    grain: ClassVar[int] = _BLOCK
    preprocessing: ClassVar[None] = None

    def notices(self, program: str | None = None) -> tuple[str, ...]:
        """What a person should know about them, where they are seen as a program does."""
        if program is None or self.reading("program") == "data":
            return ()
        return (dropped_alpha("this generator", program),)

    def read(self, asked: Reading) -> dict[str, str]:
        """What was done to pictures on the way, where it was."""
        return {"alpha": "dropped"} if self.reading(asked) == "program" else {}

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
        training = self.generator.config.training
        averaged = training.get("ema_decay")
        classes = self.spec.classes
        conditional: dict[str, str] = {} if classes is None else {"labels": self.labels}
        if classes is not None and self.weights is not None:
            counts = torch.bincount(self.weights, minlength=len(classes)).tolist()
            digest = hashlib.sha256(repr(counts).encode()).hexdigest()
            conditional["label_shares"] = digest
        return {
            "source": "generator",
            "count": self.count,
            "seed": self.seed,
            **conditional,
            "averaged": None if averaged is None else bool(averaged),
        }


Real = StoredSamples | Encoded | Items
"""Samples that are there."""

SampleSource = Real | GeneratedSamples


def sample_source(
    dataset: Dataset,
    count: int | None,
    generator: Generator | None,
    samples: Samples | None = None,
    *,
    keep: bool,
) -> Real:
    """Open a dataset as a side: pictures at their own sizes, or at that of a generator's.

    Args:
        dataset: The dataset.
        count: How many of its samples; all where None.
        generator: What they are compared with, if that is one.
        samples: What is loaded of the dataset, if it is.
        keep: Whether the cache is used.

    Raises:
        DataError: If the samples are absent, unreadable, or fewer than ``count``.
    """
    if generator is None and samples is None:
        if isinstance(dataset, PictureDataset):
            return Encoded.load(dataset, count, keep)
        if isinstance(dataset, datasets.InMemoryDataset) and dataset.unread is not None:
            found = items_of(dataset, count)
            if isinstance(found, Items):
                return found
            samples = found
    return StoredSamples.load(dataset, count, generator, samples)


def form_of(side: SampleSource, asked: Reading, channels: int) -> str:
    """Return what one sample of a side is, in words, where it is seen with so many channels."""
    spec = side.spec_for(asked)
    if spec.kind != "image":
        return str(spec)
    sizes = side.sizes(asked)
    told = str(spec.model_copy(update={"shape": (channels, *sizes.low)}))
    return told if sizes.one is not None else f"{told.partition(' ')[2]}s with {sizes}"


def picked(side: SampleSource, numbers: Sequence[int]) -> list[Tensor]:
    """Return some of the samples of a side, each (*shape,), in the order asked for."""
    blocks: dict[int, list[Tensor]] = {}
    for start in {number // side.grain * side.grain for number in numbers}:
        block = slice(start, min(start + side.grain, side.count))
        blocks[start] = [each for batch in side.batches(_BLOCK, block) for each in batch]
    rest = [(number // side.grain * side.grain, number % side.grain) for number in numbers]
    return [blocks[start][place] for start, place in rest]


def source_of(source: Any, device: str) -> Generator | Dataset:
    """The generator, or the dataset, that a source is."""
    if isinstance(source, Generator):
        return source
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        with contextlib.suppress(OSError, ValueError):
            place = storage.expanded(text)
            pictures = place.is_dir() and bundle_folder(place) is None
            pictures = pictures and not (place / "config.yaml").exists()
            if pictures or place.is_file() or (text in datasets.names() and not place.exists()):
                return datasets.create(datasets.as_dataset(source))
        return Generator.from_pretrained(text, device=device)
    return datasets.create(datasets.as_dataset(source))


def dataset_of(
    given: Any, split: str | None, generator: Generator | None, *, required: bool
) -> Dataset | None:
    """The dataset that is compared with, in the split that was asked for."""
    if given is not None:
        found = datasets.create(datasets.as_dataset(given))
    elif generator is None or "dataset" not in generator.config.training:
        if not required:
            return None
        raise ConfigError(
            "Nothing says what real samples to compare with: give a dataset, by its name, or as "
            "a folder of pictures."
        )
    else:
        saved = generator.config.training["dataset"]
        try:
            found = datasets.create(saved)
            if isinstance(found, datasets.InMemoryDataset):
                raise ConfigError(f"it was {found.description}")
        except GanzooError as error:
            if not required:
                return None
            raise ConfigError(
                f"The dataset that this generator was trained on cannot be made again "
                f"({str(error).rstrip('.')}). Give it, or another one, as the dataset."
            ) from error
    if split is None:
        return found
    if "split" not in type(found).model_fields:
        raise ConfigError(
            f"The dataset {called(found)} has no splits, so none can be chosen; leave the real "
            f"split out."
        )
    return found.replace(split=split)


def matched(real: Real, fake: SampleSource, preprocessing: Preprocessing | None) -> Real:
    """Real samples of the form of the generated ones; beside a generator also of their size.

    Raises:
        DataError: If they are of another form, or of another size than a generator makes.
    """
    have, want = real.spec, fake.spec
    if have.kind != want.kind or (have.kind != "image" and have.shape != want.shape):
        raise DataError(
            f"The real samples are of another form ({have}) than the generated ones ({want}). "
            f"Give a dataset of the same form."
        )
    if not isinstance(real, StoredSamples):
        return real
    size = real.samples.spec
    if have.kind == "image" and isinstance(fake, GeneratedSamples):
        if (
            preprocessing is not None
            and preprocessing.method == "resize"
            and have.size == preprocessing.original_size
        ):
            size = size.resized(preprocessing.size)
        else:
            preprocessing = None
        if size.size != want.size:
            raise DataError(
                f"The real images are {have.size[0]}x{have.size[1]} and the generated ones "
                f"{want.size[0]}x{want.size[1]}, so that a score would tell their sizes apart. "
                f"Give real images of {want.size[0]}x{want.size[1]}, or a folder of pictures "
                f"without a size, which are brought to it."
            )
    size = size.model_copy(update={"value_range": want.value_range})
    return StoredSamples(real.dataset, real.samples, real.indices, size, preprocessing)


def coloured(side: SampleSource, other: SampleSource | None, asked: Reading) -> SampleSpec:
    """Return what one sample of a side is where it is compared with another: grey becomes RGB."""
    spec = side.spec_for(asked)
    if other is None or spec.kind != "image":
        return spec
    channels = {spec.channels, other.spec_for(asked).channels}
    return spec.model_copy(update={"shape": (max(channels), *spec.shape[1:])})


def label_weights(generator: Generator, real: Real | None, labels: Labels) -> Tensor | None:
    """Return the labels that those of generated samples are drawn from; None for all alike.

    Raises:
        ConfigError: If they are to be drawn from the real samples', which have others or none.
    """
    classes = generator.spec.classes
    if labels == "uniform" or classes is None:
        return None
    if real is None or real.labels is None or real.spec.classes != classes:
        raise ConfigError(
            "labels='data' needs real samples with the classes that the generator knows, and "
            "these have others or none. Say labels='uniform'."
        )
    return real.labels


def mixture_of(known: Dataset | None, real: Real | None, fake: SampleSource) -> Mixture | None:
    """The distribution that the data come from, also where they were not loaded."""
    found: Mixture | None = fake.mixture or (real.mixture if real is not None else None)
    return found or getattr(known, "mixture", None)


def bundle_folder(source: Any) -> Path | None:
    """Return the folder of the bundle that a source is here, as a bundle or in a run, or None."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    with contextlib.suppress(OSError, ValueError):
        folder = storage.expanded(source)
        for place in (folder, folder / "generator"):
            if (place / bundle.CONFIG).is_file():
                return place
    return None
