"""The same data by any way in: equal batches, spec, class names and notices."""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

import ganzoo
from ganzoo.architectures import Architecture, registry
from ganzoo.architectures.layers import output_activation
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import InMemoryDataset

EXAMPLES = 500  # of all origins together


class Reader(Architecture):
    """Dense nets that take labels: the data are what counts here."""

    name: ClassVar[str] = "one-reading"
    conditional: ClassVar[bool] = True

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.dense = nn.Linear(latent.numel, spec.numel)
                self.end = output_activation(spec)

            def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
                return self.end(self.dense(z.flatten(1))).unflatten(1, spec.shape)

        return Net()

    def discriminator(self, spec: SampleSpec) -> nn.Module:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.dense = nn.Linear(spec.numel, 1)

            def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
                return self.dense(x.flatten(1)).squeeze(1)

        return Net()


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    registry.register("one-reading")(Reader)
    yield
    registry.unregister("one-reading")


# -- the data ---------------------------------------------------------------------------------


class Case:
    """Data as a person has them.

    Attributes:
        data: Array, the first axis counts.
        labels: A class of each, or None.
        kind: What a person would say one sample is.
        range: The lowest and highest value that the person says, or None.
        conditional: Whether the labels are trained on.
    """

    def __init__(
        self,
        data: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any] | None,
        kind: str,
        said: tuple[float, float] | None,
        conditional: bool = True,
    ) -> None:
        self.data, self.labels, self.kind, self.range = data, labels, kind, said
        self.conditional = conditional and labels is not None

    @property
    def options(self) -> dict[str, Any]:
        """What goes with the data whichever way they come."""
        said: dict[str, Any] = {} if self.range is None else {"stored_range": self.range}
        return said | ({"sample_kind": "audio"} if self.kind == "audio" else {})

    def __repr__(self) -> str:
        named = None if self.labels is None else self.labels.tolist()
        return f"{self.data.dtype.str} {self.data.shape}, {self.options}, labels {named}" + (
            " unused" * (not self.conditional)
        )

    def pictures(self) -> list[Image.Image]:
        """Each sample as a Pillow image of the mode that holds its values."""
        return [_picture(each) for each in self.data]

    def names(self) -> list[str]:
        """Name of the class of each sample."""
        assert self.labels is not None
        return [str(label) for label in self.labels]


def _picture(sample: np.ndarray[Any, Any]) -> Image.Image:
    if sample.ndim == 3 and sample.shape[0] in (1, 3, 4):
        sample = np.moveaxis(sample, 0, -1)
    if sample.ndim == 3 and sample.shape[-1] == 1:
        sample = sample[..., 0]
    sample = np.ascontiguousarray(sample, dtype=sample.dtype.newbyteorder("="))
    if sample.dtype.kind == "i":
        sample = sample.astype(np.int32)
    elif sample.dtype.kind == "f":
        sample = sample.astype(np.float32)
    return Image.fromarray(sample)


#: dtype, lowest and highest value, range that is said.
NUMBERS = {
    "bytes": ("u1", 0, 255, None),
    "digits": ("u1", 0, 9, None),
    "dark bytes": ("u1", 3, 40, None),
    "bytes, range said": ("u1", 0, 9, (0.0, 15.0)),
    "bits": ("?", 0, 1, None),
    "16 bits": ("<u2", 0, 65535, None),
    "16 bits, big endian": (">u2", 0, 65535, None),
    "12 bits of 16": ("<u2", 0, 4095, None),
    "12 bits of 16, range said": ("<u2", 0, 4095, (0.0, 4095.0)),
    "integers that are bytes": ("<i8", 0, 255, None),
    "integers, range said": ("<i4", 0, 3000, (0.0, 4095.0)),
    "below zero, range said": ("<i2", -1000, 3000, (-1024.0, 3071.0)),
    "unit": ("<f4", 0.0, 1.0, None),
    "unit, 64 bits": ("<f8", 0.0, 1.0, None),
    "unit, 16 bits": ("<f2", 0.0, 1.0, None),
    "signed": ("<f4", -1.0, 1.0, None),
    "small floats": ("<f4", 0.0, 0.1, None),
    "floats, range said": (">f4", -20.0, 300.0, (-32.0, 512.0)),
}
IN_PICTURES = {  # those that a picture file holds as they are
    "bytes",
    "digits",
    "dark bytes",
    "bytes, range said",
    "16 bits",
    "16 bits, big endian",
    "12 bits of 16",
    "12 bits of 16, range said",
    "integers that are bytes",
    "integers, range said",
    "unit",
    "signed",
    "small floats",
    "floats, range said",
}
COLOURED = {"bytes", "digits", "dark bytes", "bytes, range said"}  # that a file holds in colours
LABELS = {
    "none": None,
    "numbers": np.array([0, 1, 2]),
    "gaps": np.array([1, 5, 12]),
    "digits": np.array(["2", "10", "1"]),
    "words": np.array(["bag", "Ankle boot", "coat"]),
}
SHAPES = {
    "grey": (9, 12),
    "grey, one channel": (1, 9, 12),
    "RGB, channels first": (3, 10, 8),
    "RGB, channels last": (10, 8, 3),
    "RGBA, channels first": (4, 10, 8),
    "RGBA, channels last": (10, 8, 4),
    "bands first": (6, 24, 20),
    "bands last": (24, 20, 6),
    "square bands last": (16, 16, 7),
    "two channels": (2, 12, 12),
    "square of rows": (49,),
    "rows": (10,),
    "audio": (2, 64),
    "audio, last": (64, 2),
}
PLAIN = tuple(name for name, shape in SHAPES.items() if len(shape) in (1, 2, 3))
FILES = ("grey", "grey, one channel", *(name for name in SHAPES if name.startswith("RGB")))


@st.composite
def cases(draw: st.DrawFn, pictures: bool, strings: bool = True) -> Case:
    shape_name = draw(st.sampled_from(FILES if pictures else PLAIN))
    numbers = sorted(NUMBERS)
    if pictures:
        numbers = sorted(COLOURED if shape_name.startswith("RGB") else IN_PICTURES)
    dtype, low, high, said = NUMBERS[draw(st.sampled_from(numbers))]
    labels = draw(st.sampled_from(sorted(LABELS)))
    if not strings and LABELS[labels] is not None and LABELS[labels].dtype.kind == "U":
        labels = "numbers"
    count = draw(st.integers(4, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (count, *SHAPES[shape_name])
    kind = np.dtype(dtype).kind
    if kind == "f":
        data = rng.uniform(low, high, shape).astype(dtype)
    else:
        data = rng.integers(low, high, shape, endpoint=True).astype(dtype)
    flat = data.reshape(count, -1)
    flat[0, 0], flat[0, 1] = low, high  # the ends are there
    chosen = LABELS[labels]
    drawn = None if chosen is None else chosen[rng.permutation(np.arange(count) % len(chosen))]
    kinds = {1: "vector", 2: "image", 3: "image"}
    what = "audio" if shape_name.startswith("audio") else kinds[len(SHAPES[shape_name])]
    return Case(data, drawn, what, said, draw(st.booleans()) or draw(st.booleans()))


# -- the ways in ------------------------------------------------------------------------------


class Items(Dataset[Any]):
    """A torch Dataset of these samples."""

    def __init__(self, samples: Any, labels: Any) -> None:
        self.samples, self.labels = samples, labels
        if labels is None:
            del self.labels

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        sample = self.samples[index]
        if not hasattr(self, "labels"):
            return sample
        label = self.labels[index]
        return sample, (str(label) if isinstance(label, str) else int(label))


Way = Callable[[Case, Path], tuple[Any, dict[str, Any]]]


def _native(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


def _held(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    return InMemoryDataset.of((case.data, case.labels), **case.options), {}


def _tensors(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    return InMemoryDataset.of(
        (torch.from_numpy(_native(case.data)), case.labels), **case.options
    ), {}


def _mapping(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    data = {"samples": np.asfortranarray(case.data)}
    if case.labels is not None:
        data["labels"] = case.labels
    return InMemoryDataset.of(data, **case.options), {}


def _view(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    data = np.repeat(case.data, 2, axis=-1)[..., ::2]
    return InMemoryDataset.of((data, case.labels), **case.options), {}


def _npz(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    arrays = {"images": case.data} | ({} if case.labels is None else {"labels": case.labels})
    np.savez(folder / "data.npz", **arrays)
    return {"name": "array", "path": folder / "data.npz", **case.options}, {}


def _npy(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    np.save(folder / "data.npy", case.data)
    return {"name": "array", "path": folder / "data.npy", **case.options}, {}


def _safetensors(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    from safetensors.numpy import save_file

    arrays = {"images": _native(case.data)}
    if case.labels is not None:
        arrays["labels"] = np.ascontiguousarray(case.labels)
    save_file(arrays, folder / "data.safetensors")
    return {"name": "array", "path": folder / "data.safetensors", **case.options}, {}


def _items(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    return InMemoryDataset.of(Items(case.data, case.labels), **case.options), {}


def _streamed(workers: int) -> Way:
    def way(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
        data = InMemoryDataset.of(Items(case.data, case.labels), **case.options)
        return data, {"workers": workers}

    return way


def _pillow(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    return InMemoryDataset.of(Items(case.pictures(), case.labels), **case.options), {}


def _pillow_streamed(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    return InMemoryDataset.of(Items(case.pictures(), case.labels), **case.options), {"workers": 0}


def _saved(case: Case, folder: Path) -> list[str]:
    """Write the pictures into class folders; returns their names relative to the folder."""
    names = []
    for index, picture in enumerate(case.pictures()):
        suffix = "tif" if picture.mode in ("I", "F") else "png"
        inside = Path() if case.labels is None else Path(case.names()[index])
        (folder / inside).mkdir(parents=True, exist_ok=True)
        names.append((inside / f"{index}.{suffix}").as_posix())
        picture.save(folder / names[-1])
    return names


def _folder(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    _saved(case, folder / "pictures")
    return {"name": "folder", "path": folder / "pictures", **case.options}, {}


def _zip(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    names = _saved(case, folder / "pictures")
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for name in names:
            archive.write(folder / "pictures" / name, name)
    return {"name": "folder", "path": folder / "pictures.zip", **case.options}, {}


def _table(case: Case) -> Any:
    import datasets as hf

    columns: dict[str, Any] = {"image": case.pictures()}
    features: dict[str, Any] = {"image": hf.Image()}
    if case.labels is not None:
        kind = "string" if case.labels.dtype.kind == "U" else "int64"
        columns["label"], features["label"] = case.labels.tolist(), hf.Value(kind)
    return hf.Dataset.from_dict(columns, hf.Features(features))


def _parquet(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    _table(case).to_parquet(str(folder / "data.parquet"))
    return {"name": "huggingface", "path": folder / "data.parquet", **case.options}, {}


def _disk(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    _table(case).save_to_disk(str(folder / "saved"))
    return {"name": "huggingface", "path": folder / "saved", **case.options}, {}


def _rows(case: Case, folder: Path) -> tuple[Any, dict[str, Any]]:
    return InMemoryDataset.of(_table(case), **case.options), {}


ARRAYS: dict[str, Way] = {
    "tensors": _tensors,
    "dict": _mapping,
    "view": _view,
    "npz": _npz,
    "npy": _npy,
    "safetensors": _safetensors,
    "Dataset in memory": _items,
    "Dataset, workers=0": _streamed(0),
    "Dataset, workers=1": _streamed(1),
}
PICTURES: dict[str, Way] = {
    "Pillow in memory": _pillow,
    "Pillow, workers=0": _pillow_streamed,
    "folder": _folder,
    "zip": _zip,
    "Parquet": _parquet,
    "save_to_disk": _disk,
    "Hugging Face rows": _rows,
}
SLOW = {"Dataset, workers=1"}  # starts processes
SORTED = {"folder", "zip"}  # in an order of their own


@dataclass
class Seen:
    """What a training is about to learn from."""

    batch: np.ndarray[Any, Any]
    labels: list[int] | None
    spec: SampleSpec
    notices: list[str]


def _seen(data: Any, conditional: bool, count: int, **more: Any) -> Seen | str:
    """What comes of data, or the message where they are refused."""
    try:
        trainer = ganzoo.Trainer(
            "one-reading",
            data,
            conditional=conditional,
            batch_size=count,
            steps=1,
            device="cpu",
            precision="fp32",
            progress=False,
            **more,
        )
        trainer.setup()
    except ganzoo.GanzooError as error:
        return str(error)
    try:
        batch, labels = trainer.loader.next()
    finally:
        trainer.loader.close()
    assert trainer.spec is not None
    return Seen(
        batch.numpy(),
        None if labels is None else labels.tolist(),
        trainer.spec,
        trainer.notices,
    )


def _arranged(seen: Seen) -> tuple[np.ndarray[Any, Any], list[int] | None]:
    flat = seen.batch.reshape(len(seen.batch), -1)
    order = np.lexsort(np.round(flat[:, :8] * 2000).T[::-1])
    labels = None if seen.labels is None else [seen.labels[index] for index in order]
    return flat[order], labels


def _check(name: str, way: Way, case: Case) -> None:
    if name == "npy" and case.labels is not None:
        case = Case(case.data, None, case.kind, case.range)
    count, labelled = len(case.data), case.conditional
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        plain = _seen(*_unpacked(_held(case, Path(place))), labelled, count)
        data, more = way(case, Path(place))
        found = _seen(data, labelled, count, **more)
    if isinstance(plain, str) or isinstance(found, str):
        assert isinstance(plain, str) and isinstance(found, str), (plain, found)
        return
    assert found.spec == plain.spec
    assert found.notices == plain.notices
    mine, theirs = found, plain
    if name in SORTED:
        (batch, labels), (expected, known) = _arranged(mine), _arranged(theirs)
    else:
        (batch, labels), (expected, known) = (
            (mine.batch, mine.labels),
            (theirs.batch, theirs.labels),
        )
    assert labels == known
    np.testing.assert_allclose(batch, expected, rtol=0, atol=2e-6)


def _unpacked(pair: tuple[Any, dict[str, Any]]) -> tuple[Any]:
    return (pair[0],)


def _examples(name: str) -> int:
    if name in SLOW:
        return 10
    return -(-EXAMPLES // (len(ARRAYS) + len(PICTURES) - len(SLOW)))


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_the_same_by_any_way_in(name: str) -> None:
    @settings(
        max_examples=_examples(name),
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(pictures=False, strings=name != "safetensors"))
    def holds(case: Case) -> None:
        _check(name, ARRAYS[name], case)

    holds()


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_the_same_by_any_way_in(name: str) -> None:
    @settings(
        max_examples=_examples(name),
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(pictures=True))
    def holds(case: Case) -> None:
        _check(name, PICTURES[name], case)

    holds()
