"""How a source, or the real samples, are found and opened from what a caller names."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import datasets
from ganzoo.datasets.picture_dataset import PictureDataset
from ganzoo.errors import ConfigError, DataError, GanzooError
from ganzoo.evaluation.encoded import Encoded
from ganzoo.evaluation.items import Items, items_of
from ganzoo.evaluation.sources import GeneratedSamples, RealSamples, StoredSamples, called
from ganzoo.files import storage
from ganzoo.generators import bundle
from ganzoo.generators.generator import Generator

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets import Dataset, Samples
    from ganzoo.datasets.mixture import Mixture
    from ganzoo.datasets.preprocessing import Preprocessing
    from ganzoo.evaluation.options import Labels
    from ganzoo.evaluation.sources import SampleSource

__all__ = [
    "bundle_folder",
    "dataset_of",
    "label_weights",
    "matched",
    "mixture_of",
    "sample_source",
    "source_of",
]


def sample_source(
    dataset: Dataset,
    count: int | None,
    generator: Generator | None,
    samples: Samples | None = None,
    *,
    keep: bool,
) -> RealSamples:
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
    asked: Any, split: str | None, generator: Generator | None, *, required: bool
) -> Dataset | None:
    """The dataset that is compared with, in the split that was asked for."""
    if asked is not None:
        found = datasets.create(datasets.as_dataset(asked))
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


def matched(
    real: RealSamples, fake: SampleSource, preprocessing: Preprocessing | None
) -> RealSamples:
    """Real samples of the form of the generated ones, and next to a generator also of their size.

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


def label_weights(
    generator: Generator, real: RealSamples | None, labels: Labels | None
) -> Tensor | None:
    """Return the labels that those of generated samples are drawn from; None for all alike.

    Raises:
        ConfigError: If they are to be drawn from the real samples', which have others or none.
    """
    classes = generator.spec.classes
    if labels == "uniform" or classes is None:
        return None
    theirs = () if real is None else real.spec.classes or ()
    if real is None or real.labels is None or set(theirs) != set(classes):
        if labels is None:
            return None
        raise ConfigError(
            "labels='data' needs real samples with the classes that the generator knows, and "
            "these have others or none. Say labels='uniform'."
        )
    if theirs == classes:
        return real.labels
    import torch

    numbers = torch.tensor([classes.index(name) for name in theirs])
    return numbers.to(real.labels.device)[real.labels]


def mixture_of(
    known: Dataset | None, real: RealSamples | None, fake: SampleSource
) -> Mixture | None:
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
