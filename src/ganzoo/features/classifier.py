"""A classifier of small greyscale pictures, trained here on a data set's labels."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, pad

from ganzoo import datasets
from ganzoo.core.seeds import derive
from ganzoo.datasets import progress
from ganzoo.datasets.base import DataPath
from ganzoo.datasets.cache import only_one
from ganzoo.datasets.root import data_root
from ganzoo.errors import CheckpointError, DataError, UnsupportedSampleError
from ganzoo.features import tensor_cache
from ganzoo.features.arithmetic import full_float32
from ganzoo.features.base import Extractor, Features, fingerprint
from ganzoo.features.weights import extractors_root
from ganzoo.files.storage import own_copies

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.device import PrecisionName
    from ganzoo.datasets.samples import Samples

__all__ = ["Classifier", "ClassifierNet", "Trained", "accuracy", "train"]

_VERSION = 2  # of net and training; another one is trained anew
_SIZE, _WIDTH, _CLASSES = 28, 128, 10
_BATCH, _RATE, _SHIFT = 128, 5e-3, 1
_TOGETHER = 500
_EPOCHS = {"mnist": 4, "fashion-mnist": 6}
_NEEDED = {"mnist": 0.992, "fashion-mnist": 0.91}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained classifier.

    Attributes:
        tensors: The state of a ``ClassifierNet``.
        accuracy: On the data set's test split.
        digest: SHA-256 of the tensors.
    """

    tensors: dict[str, Tensor]
    accuracy: float
    digest: str


class Classifier(Extractor):
    """A small convolutional net that tells the ten classes of MNIST or Fashion-MNIST apart.

    It is trained once on the train split (a minute or two), must get 99.2 % of MNIST's test split
    right (91 % of Fashion-MNIST's), and is cached, one for each data root. One that
    is trained on another machine differs a little; the hash in its protocol tells. Pictures that
    were padded are cropped to 28x28, others are resized.
    """

    name: ClassVar[str] = "classifier"
    dimensions: ClassVar[int] = _WIDTH
    classes: ClassVar[int] = _CLASSES
    channelwise: ClassVar[bool] = True
    forced_dtype: ClassVar[str] = "fp32"

    dataset: Literal["mnist", "fashion-mnist"] = Field(
        "mnist", description="data set whose classes it tells apart"
    )
    root: DataPath | None = Field(None, description="data root of that data set, as it has it")

    @property
    def classes_of(self) -> str:
        """The data set that it was trained on."""
        return self.dataset

    def build(self, device: torch.device, precision: PrecisionName = "auto") -> nn.Module:
        """Return the net, trained now if it is not in the cache; it computes in float32."""
        net = ClassifierNet()
        net.load_state_dict(self.trained().tensors)
        return net.eval().requires_grad_(False).to(device)

    def weights_hash(self) -> str:
        """Return the SHA-256 of the weights, which are trained now if they are not in the cache."""
        return self.trained().digest

    def preparation(self) -> dict[str, Any]:
        """Return the data set, its size and the accuracy on its test split."""
        return {
            "dataset": self.dataset,
            "size": _SIZE,
            "scaling": "x / 127.5 - 1",
            "accuracy": self.trained().accuracy,
        }

    def trained(self) -> Trained:
        """Return the classifier from the cache, or train it and keep it there.

        Raises:
            CheckpointError: If it cannot be trained well enough, or not be cached.
            DataError: If the data set is not there.
        """
        # Under another root other data may lie, or the same ones with other labels.
        place = hashlib.sha256(str(data_root(self.root).resolve()).encode()).hexdigest()[:12]
        folder = extractors_root() / f"classifier-{self.dataset}-v{_VERSION}-{place}"
        if found := _kept(folder):
            return found
        try:
            with only_one(folder.parent, folder.name, f"training {folder.name}"):
                if found := _kept(folder):  # another process has trained it meanwhile
                    return found
                _keep(folder, self._train())
        except OSError as error:
            raise CheckpointError(
                f"The classifier of '{self.dataset}' cannot be cached in {folder.parent} "
                f"({error.strerror or error}). Free some space, or set GANZOO_CACHE to another "
                f"folder."
            ) from error
        if found := _kept(folder):
            return found
        raise CheckpointError(
            f"The classifier in {folder} is damaged right after writing; check the disk, or set "
            f"GANZOO_CACHE to another folder."
        )

    def _train(self) -> Trained:
        real, test = (self._samples(split) for split in ("train", "test"))
        text = f"training the classifier of {self.dataset}"
        tensors = train(real, text, _EPOCHS[self.dataset])
        share = accuracy(tensors, test)
        if share <= _NEEDED[self.dataset]:
            raise CheckpointError(
                f"The classifier of '{self.dataset}' gets only {share:.2%} of the test split "
                f"right, and needs more than {_NEEDED[self.dataset]:.1%}: the data or this "
                f"machine's arithmetic is at fault. Compare the data with what torchvision "
                f"downloads."
            )
        return Trained(tensors, share, fingerprint(tensors))

    def _samples(self, split: str) -> Samples:
        root = {"root": self.root} if self.root else {}
        return datasets.create({"name": self.dataset, "split": split, **root}).load()


class ClassifierNet(nn.Module):
    """From uint8 pictures to 128 features and 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*_stage(1, 16, 5), *_stage(16, 32, 3), *_stage(32, 64, 3))
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64 * 3 * 3, _WIDTH), nn.ReLU())
        self.last = nn.Sequential(nn.Dropout(0.3), nn.Linear(_WIDTH, _CLASSES))
        self.to(memory_format=torch.channels_last)  # twice as fast

    def forward(self, pictures: Tensor) -> Features:
        """Map uint8 (N, 1, H, W) to features (N, 128) and logits (N, 10), float32.

        Raises:
            UnsupportedSampleError: If they are no such pictures.
        """
        if pictures.dtype != torch.uint8 or pictures.dim() != 4 or pictures.shape[1] != 1:
            raise UnsupportedSampleError(
                f"The extractor 'classifier' sees greyscale pictures, uint8 (N, 1, H, W), and got "
                f"{str(pictures.dtype).removeprefix('torch.')} {tuple(pictures.shape)}. Use "
                f"another extractor, or another metric."
            )
        with full_float32():
            pool = torch.cat([self._features(part) for part in torch.split(pictures, _TOGETHER)])
            return Features(pool, self.last(pool))

    def _features(self, pictures: Tensor) -> Tensor:
        x = _framed(pictures).div(127.5).sub_(1)
        found: Tensor = self.features(self.convolutions(x))
        return found


def train(samples: Samples, text: str, epochs: int) -> dict[str, Tensor]:
    """Train a ``ClassifierNet`` on labelled greyscale pictures and return its state.

    Adam with a rate that rises and falls (Smith & Topin 2017, arXiv:1708.07120), on pictures
    shifted by up to a pixel. It computes in one thread: more gain little on batches this small,
    lose much where the machine is busy, and would make another net. The same machine makes the
    same one.

    Raises:
        DataError: If the samples have no labels.
    """
    if samples.labels is None:
        raise DataError(f"There are no labels for {text}; give a data set that has them.")
    random = torch.Generator().manual_seed(derive(0, "classifier"))
    with _one_thread(), torch.random.fork_rng(devices=()), torch.enable_grad():
        torch.manual_seed(derive(0, "classifier", "weights"))
        net = ClassifierNet().train()
        batches = max(1, len(samples) // _BATCH)
        optimizer = torch.optim.Adam(net.parameters(), lr=_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=_RATE, total_steps=epochs * batches
        )
        with progress.Bar(text, epochs * batches) as bar:
            for epoch in range(epochs):
                order = torch.randperm(len(samples), generator=random)
                for batch in range(batches):
                    picked = order[batch * _BATCH : (batch + 1) * _BATCH]
                    pictures = _shifted(samples.data[picked], random)
                    logits = net(pictures).logits
                    optimizer.zero_grad()
                    loss = cross_entropy(logits, samples.labels[picked], label_smoothing=0.05)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    schedule.step()
                    bar.show(epoch * batches + batch + 1)
    return own_copies(net.state_dict())


@torch.no_grad()
def accuracy(tensors: dict[str, Tensor], samples: Samples) -> float:
    """Return the share of labelled pictures that a trained net gets right."""
    assert samples.labels is not None
    net = ClassifierNet()
    net.load_state_dict(tensors)
    found = net.eval()(samples.data).logits.argmax(1)
    return float((found == samples.labels).double().mean())


def _stage(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    """A convolution to half the size; the norm comes after pooling, where it has less to do."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return convolution, nn.MaxPool2d(2), nn.BatchNorm2d(outputs), nn.ReLU()


def _framed(pictures: Tensor) -> Tensor:
    """The pictures as float (N, 1, 28, 28): the middle of padded ones, others resized."""
    height, width = pictures.shape[2:]
    top, left = (height - _SIZE) // 2, (width - _SIZE) // 2
    if _SIZE <= height <= _SIZE + 4 and _SIZE <= width <= _SIZE + 4:
        return pictures[:, :, top : top + _SIZE, left : left + _SIZE].float()
    return interpolate(
        pictures.float(), (_SIZE, _SIZE), mode="bilinear", antialias=True, align_corners=False
    )


def _shifted(pictures: Tensor, random: torch.Generator) -> Tensor:
    """The pictures of a batch, all moved by the same few pixels."""
    top, left = torch.randint(2 * _SHIFT + 1, (2,), generator=random).tolist()
    height, width = pictures.shape[2:]
    return pad(pictures, [_SHIFT] * 4)[:, :, top : top + height, left : left + width]


def _keep(folder: Path, trained: Trained) -> None:
    tensor_cache.write(folder, trained.tensors, accuracy=trained.accuracy, digest=trained.digest)


def _kept(folder: Path) -> Trained | None:
    """What is in the cache; None if nothing is, or if it is damaged."""
    if (found := tensor_cache.read(folder)) is None:
        return None
    tensors, facts = found
    return Trained(tensors, facts["accuracy"], facts["digest"])


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
