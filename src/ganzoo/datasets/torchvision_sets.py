"""Datasets that torchvision downloads: MNIST, Fashion-MNIST, CIFAR-10 and CelebA.

Addresses, checksums and file layouts are torchvision's own, read from its classes at run time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.base import DataPath, Dataset
from ganzoo.datasets.cache import cache_root, decoded
from ganzoo.datasets.formats import PictureError, RequestedFormat, span
from ganzoo.datasets.picture_files import Source
from ganzoo.datasets.root import ENVIRONMENT, data_root
from ganzoo.datasets.samples import Samples
from ganzoo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CIFAR10", "MNIST", "CelebA", "FashionMNIST", "TorchvisionDataset"]

_CELEBA_SIZE = (218, 178)  # height and width
_CELEBA_WIDTH = 178
_MOST_THREADS = 8


class _Source(NamedTuple):
    """One file that torchvision downloads.

    ``unpacked`` is what it is unpacked to, with the checksum where one is known; empty where the
    file is used as it is.
    """

    path: Path
    md5: str
    address: str
    unpacked: tuple[tuple[Path, str | None], ...] = ()


class TorchvisionDataset(Dataset):
    """What datasets that torchvision downloads have in common.

    The data root is ``root``, or the environment variable ``GANZOO_DATA``, or the user's cache
    folder. Files that are already there in torchvision's layout are used without a network.
    """

    root: DataPath | None = Field(
        None, description="data root; by default GANZOO_DATA or the user's cache folder"
    )
    download: bool = Field(True, description="download what is not there yet")

    def load(self) -> Samples:
        """Read the samples, downloading them first where they are absent.

        Raises:
            DataError: If they are absent and cannot be downloaded, or a file is damaged.
        """
        from numpy.exceptions import VisibleDeprecationWarning

        root = data_root(self.root)
        try:
            with warnings.catch_warnings():  # of how CIFAR-10's files were written
                warnings.simplefilter("ignore", VisibleDeprecationWarning)
                return self._read(root, self.download or self._complete(root))
        except DataError:
            raise
        except Exception as error:  # torchvision raises anything from AssertionError to URLError
            raise self._explained(root, error) from error

    @abstractmethod
    def _read(self, root: Path, download: bool) -> Samples:
        """Open torchvision's dataset and turn it into samples."""

    @abstractmethod
    def _sources(self, root: Path) -> list[_Source]:
        """The files that torchvision downloads."""

    def _is_whole(self, path: Path, md5: str | None) -> bool:
        from torchvision.datasets.utils import check_integrity

        return bool(check_integrity(path, md5))

    def _complete(self, root: Path) -> bool:
        """Whether all archives are there, so that torchvision's download only unpacks them."""
        return all(self._is_whole(each.path, each.md5) for each in self._sources(root))

    def _explained(self, root: Path, error: Exception) -> DataError:
        lines = [line.strip() for line in str(error).split("\n") if line.strip()]
        reason = lines[-1].strip("<>") if lines else type(error).__name__
        if isinstance(error, PermissionError):
            return DataError(
                f"The dataset '{self.name}' needs to write to {root}, which is not allowed "
                f"({reason}); set root or {ENVIRONMENT} to a folder of your own."
            )
        missing: dict[str, list[str]] = {}
        for source in self._sources(root):
            for path, md5 in (*source.unpacked, (source.path, source.md5)):
                if path.is_file() and not self._is_whole(path, md5):
                    return DataError(
                        f"The file {path} of the dataset '{self.name}' is damaged; delete it and "
                        f"run again, or fetch it anew from {source.address}."
                    )
            used = [path for path, _ in source.unpacked] or [source.path]
            if not all(path.exists() for path in used):
                missing.setdefault(source.address, []).append(source.path.name)
                place = source.path.parent
        if not missing:
            return DataError(
                f"The dataset '{self.name}' in {root} cannot be read "
                f"({type(error).__name__}: {reason}); delete its folder there and run again."
            )
        cause = f"could not be downloaded ({reason})" if self.download else "download is off"
        if self.download and self._lacks_gdown():
            cause = 'downloading it needs gdown: pip install "ganzoo[celeba]"'
        wanted = "; ".join(f"{', '.join(names)} from {where}" for where, names in missing.items())
        return DataError(
            f"The dataset '{self.name}' is not in {root}, and {cause}. By hand: fetch {wanted} "
            f"into {place}; or set root or {ENVIRONMENT} to the folder that has it."
        )

    def _lacks_gdown(self) -> bool:
        return False


class MNIST(TorchvisionDataset):
    """Handwritten digits, 28x28 greyscale, 60,000 to train with and 10,000 to test.

    Credit: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
    """

    name: ClassVar[str] = "mnist"
    classes_of: ClassVar[str | None] = "mnist"
    license: ClassVar[str] = "CC-BY-SA-3.0"
    citation: ClassVar[str] = "LeCun, Cortes and Burges, The MNIST database of handwritten digits"
    _class: ClassVar[str] = "MNIST"

    split: Literal["train", "test"] = Field("train", description="part of the dataset")

    def _read(self, root: Path, download: bool) -> Samples:
        import torchvision

        source = getattr(torchvision.datasets, self._class)
        opened = source(root, train=self.split == "train", download=download)
        classes = tuple(text.partition(" - ")[0] for text in opened.classes)
        return _grouped(opened.data.unsqueeze(1), opened.targets, classes)

    def _sources(self, root: Path) -> list[_Source]:
        import torchvision

        source = getattr(torchvision.datasets, self._class)
        folder = root / self._class / "raw"
        return [
            _Source(
                path=folder / filename,
                md5=md5,
                address=" or ".join(source.mirrors),
                unpacked=((folder / filename.removesuffix(".gz"), None),),
            )
            for filename, md5 in source.resources
        ]

    def _is_whole(self, path: Path, md5: str | None) -> bool:
        from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

        if path.suffix == ".gz":
            return super()._is_whole(path, md5)
        try:
            read_sn3_pascalvincent_tensor(str(path))
        except Exception:  # it asserts, or fails where it views the numbers
            return False
        return True


class FashionMNIST(MNIST):
    """Fashion articles, 28x28 greyscale, 60,000 to train with and 10,000 to test.

    Credit: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; MIT licence, Copyright (c) 2017
    Zalando SE.
    """

    name: ClassVar[str] = "fashion-mnist"
    classes_of: ClassVar[str | None] = "fashion-mnist"
    license: ClassVar[str] = "MIT"
    citation: ClassVar[str] = "Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747"
    _class: ClassVar[str] = "FashionMNIST"


class CIFAR10(TorchvisionDataset):
    """Small colour photographs of ten classes, 32x32 RGB, 50,000 to train with, 10,000 to test.

    Credit: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    """

    name: ClassVar[str] = "cifar10"
    classes_of: ClassVar[str | None] = "cifar10"
    citation: ClassVar[str] = (
        "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
    )

    split: Literal["train", "test"] = Field("train", description="part of the dataset")

    def _read(self, root: Path, download: bool) -> Samples:
        import torch
        import torchvision

        source = torchvision.datasets.CIFAR10
        opened = source(root, train=self.split == "train", download=download)
        data = torch.from_numpy(opened.data).permute(0, 3, 1, 2).contiguous()
        return _grouped(data, torch.tensor(opened.targets), tuple(opened.classes))

    def _sources(self, root: Path) -> list[_Source]:
        import torchvision

        source = torchvision.datasets.CIFAR10
        batches = [*source.train_list, *source.test_list]
        batches.append([source.meta["filename"], source.meta["md5"]])
        folder = root / source.base_folder
        return [
            _Source(
                path=root / source.filename,
                md5=source.tgz_md5,
                address=source.url,
                unpacked=tuple((folder / filename, md5) for filename, md5 in batches),
            )
        ]


class CelebA(TorchvisionDataset):
    """Faces of celebrities, aligned, cropped to a square and resized, 202,599 without labels.

    Of each aligned 178x218 picture the middle 178x178 is cut out and resized to ``size`` with
    Pillow's antialiased bilinear filter. Pictures are decoded once, into the cache, as those of a
    folder are: 12 KiB per picture at size 64. The data may be used for non-commercial research
    only.

    Credit: Liu, Luo, Wang and Tang 2015, "Deep Learning Face Attributes in the Wild".
    """

    name: ClassVar[str] = "celeba"
    classes_of: ClassVar[str | None] = "celeba"
    license: ClassVar[str] = "LicenseRef-CelebA-non-commercial-research"
    citation: ClassVar[str] = "Liu, Luo, Wang and Tang 2015, arXiv:1411.7766"

    split: Literal["train", "valid", "test", "all"] = Field(
        "train", description="part of the dataset"
    )
    size: int = Field(64, gt=0, le=_CELEBA_WIDTH, description="height and width of a picture")
    cache: DataPath | None = Field(
        None,
        description="folder of the cache; by default GANZOO_CACHE or the user's cache",
    )

    def _read(self, root: Path, download: bool) -> Samples:
        import torch
        import torchvision

        source = torchvision.datasets.CelebA
        opened = source(root, split=self.split, target_type=[], download=download)
        folder = root / source.base_folder / "img_align_celeba"
        faces = _Faces(folder, list(opened.filename))
        found = decoded(
            faces,
            RequestedFormat(size=(self.size, self.size), crop="center", mode="rgb"),
            root=cache_root(self.cache),
            threads=min(_MOST_THREADS, os.cpu_count() or 1),
            max_bad=len(faces),  # an error names the first, with a remedy
        )
        if found.skipped:
            raise faces.unreadable(found.skipped[0].name)
        if found.facts.low != found.facts.high or found.facts.high != _CELEBA_SIZE:
            raise DataError(
                f"The pictures in '{folder}' have {span(found.facts.low, found.facts.high)}, not "
                f"218 and 178; use the aligned pictures of img_align_celeba.zip."
            )
        return Samples(
            data=torch.from_numpy(found.pictures),
            spec=SampleSpec(kind="image", shape=(3, self.size, self.size)),
        )

    def _sources(self, root: Path) -> list[_Source]:
        import torchvision

        source = torchvision.datasets.CelebA
        folder = root / source.base_folder
        return [
            _Source(
                path=folder / filename,
                md5=md5,
                address=f"https://drive.google.com/uc?id={identifier}",
                unpacked=((folder / Path(filename).stem, None),)
                if filename.endswith("zip")
                else (),
            )
            for identifier, md5, filename in source.file_list
        ]

    def _lacks_gdown(self) -> bool:
        return importlib.util.find_spec("gdown") is None


def _grouped(data: Tensor, labels: Tensor, classes: tuple[str, ...]) -> Samples:
    """Samples uint8 (N, C, H, W) with labels (N,)."""
    spec = SampleSpec(kind="image", shape=tuple(data.shape[1:]), classes=classes)
    return Samples(data=data, spec=spec, labels=labels.long())


class _Faces(Source):
    """The pictures of CelebA as a source of the cache, in the order of its list."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        import numpy as np

        self.origin = f"CelebA in '{folder}'"
        self.notices = []
        self.groups = np.full(len(names), -1, np.int32)
        self.group_names = []
        self._folder, self._names = folder, names
        digest = hashlib.sha256()
        for name in names:
            try:
                state = os.stat(folder / name)  # noqa: PTH116 - for so many, it counts
                stamp = state.st_size, state.st_mtime_ns
            except OSError:
                stamp = -1, -1
            digest.update(f"{name} {stamp};".encode())
        self.key = f"celeba-{digest.hexdigest()}"

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> bytes:
        return self._names[index].encode()

    def read(self, start: int, stop: int) -> Iterator[bytes | PictureError]:
        for name in self._names[start:stop]:
            try:
                yield (self._folder / name).read_bytes()
            except OSError as error:
                yield PictureError(error.strerror or str(error))

    def unreadable(self, name: str) -> DataError:
        path = self._folder / name
        state = "damaged" if path.exists() else "missing"
        return DataError(
            f"The picture {path} is {state}; unpack img_align_celeba.zip in {path.parents[1]} "
            f"again."
        )
