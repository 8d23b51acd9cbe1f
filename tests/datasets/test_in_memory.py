from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ganzoo import datasets
from ganzoo.datasets import InMemoryDataset, as_dataset, in_memory, stream
from ganzoo.datasets.reader import Request
from ganzoo.errors import ConfigError, DataError, UnknownNameError

PIXELS = torch.arange(5 * 3 * 6 * 8).remainder(256).to(torch.uint8).reshape(5, 3, 6, 8)
LABELS = torch.tensor([0, 1, 2, 1, 0])


class Items(Dataset):
    """A map-style dataset of given items."""

    def __init__(self, *items: object) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


class Stream(IterableDataset):
    """An iterable dataset of given items."""

    def __init__(self, *items: object) -> None:
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Foreign:
    """A dataset of another library, known by torch's batched protocol."""

    def __init__(self, *items: object) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]

    def __getitems__(self, indices: list[int]) -> list[object]:
        return [self.items[index] for index in indices]


def picture(index: int) -> Image.Image:
    return Image.fromarray(PIXELS[index].permute(1, 2, 0).numpy())


# -- what may be given ------------------------------------------------------------------------


def same(one: InMemoryDataset, other: InMemoryDataset) -> bool:
    return one._identified().fingerprint == other._identified().fingerprint


@pytest.mark.parametrize(
    ("value", "labelled", "description"),
    [
        (PIXELS, False, "tensor (5, 3, 6, 8) uint8"),
        (PIXELS.numpy(), False, "array (5, 3, 6, 8) uint8"),
        ((PIXELS, LABELS), True, "tensor (5, 3, 6, 8) uint8 with labels"),
        ((PIXELS.numpy(), LABELS.tolist()), True, "array (5, 3, 6, 8) uint8 with labels"),
        ((PIXELS, None), False, "tensor (5, 3, 6, 8) uint8"),
        ({"images": PIXELS}, False, "tensor (5, 3, 6, 8) uint8"),
        ({"images": PIXELS, "labels": LABELS}, True, "tensor (5, 3, 6, 8) uint8 with labels"),
        (TensorDataset(PIXELS), False, "TensorDataset (5, 3, 6, 8) uint8"),
        (TensorDataset(PIXELS, LABELS), True, "TensorDataset (5, 3, 6, 8) uint8 with labels"),
        (Items(*PIXELS), False, "Items (5, 3, 6, 8) uint8"),
        (Items(*PIXELS.numpy()), False, "Items (5, 3, 6, 8) uint8"),
        (Items(*map(picture, range(5))), False, "Items (5, 3, 6, 8) uint8"),
        (
            Items(*({"img": picture(i), "label": int(LABELS[i])} for i in range(5))),
            True,
            "Items (5, 3, 6, 8) uint8 with labels",
        ),
        (
            Foreign(*({"image": picture(i), "label": LABELS[i].numpy()} for i in range(5))),
            True,
            "Foreign (5, 3, 6, 8) uint8 with labels",
        ),
        (
            Stream(*zip(PIXELS, LABELS.tolist(), strict=True)),
            True,
            "Stream (5, 3, 6, 8) uint8 with labels",
        ),
    ],
)
def test_what_may_be_given(value, labelled, description) -> None:
    dataset, samples = InMemoryDataset.of(value).resolved()
    assert dataset.description == description
    assert torch.equal(samples.data, PIXELS)
    assert (samples.labels is not None) is labelled
    if samples.labels is not None:
        assert torch.equal(samples.labels, LABELS)
        assert samples.spec.classes == ("0", "1", "2")
    assert same(dataset, InMemoryDataset.of((PIXELS, LABELS) if labelled else PIXELS))


def test_floats_stay_floats() -> None:
    data = torch.rand(4, 1, 5, 5)
    samples = InMemoryDataset.of(Items(*data)).load()
    assert torch.equal(samples.data, data) and samples.stored_range == (0.0, 1.0)


def test_labels_may_be_names() -> None:
    samples = InMemoryDataset.of(Items(*zip(PIXELS, "abcba", strict=True))).load()
    assert samples.spec.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [
        ("L", (1, 6, 8), torch.uint8),
        ("1", (1, 6, 8), torch.uint8),
        ("RGB", (3, 6, 8), torch.uint8),
        ("RGBA", (4, 6, 8), torch.uint8),
        ("LA", (2, 6, 8), torch.uint8),
        ("P", (3, 6, 8), torch.uint8),
        ("CMYK", (3, 6, 8), torch.uint8),
        ("I;16", (1, 6, 8), torch.float32),
        ("F", (1, 6, 8), torch.float32),
    ],
)
def test_modes_of_pillow(mode, shape, dtype) -> None:
    samples = InMemoryDataset.of(Items(Image.new(mode, (8, 6)), Image.new(mode, (8, 6)))).load()
    assert samples.spec.shape == shape and samples.data.dtype == dtype


def test_a_buffer_may_be_used_again() -> None:
    class Reusing(Stream):
        def __iter__(self):
            buffer = torch.zeros(1, 2, 2, dtype=torch.uint8)
            for value in range(3):
                yield buffer.fill_(value)

    assert InMemoryDataset.of(Reusing()).load().data[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_options() -> None:
    data = torch.rand(4, 6, 8, 9) * 255
    samples = InMemoryDataset.of(data, layout="channels-last", stored_range=(0, 255)).load()
    assert samples.spec.shape == (9, 6, 8) and samples.stored_range == (0, 255)
    with pytest.raises(ConfigError, match="has no option 'range'"):
        InMemoryDataset.of(data, range=(0, 255))


# -- what may not -----------------------------------------------------------------------------


class Endless(Stream):
    def __iter__(self):
        while True:
            yield PIXELS[0]


class Broken(Items):
    def __getitem__(self, index: int) -> object:
        if index == 2:
            raise OSError("truncated\nfile")
        return PIXELS[index]


class Breaking(Stream):
    def __iter__(self):
        yield PIXELS[0]
        raise OSError("truncated\nfile")


class Unsized(Dataset):
    def __getitem__(self, index: int) -> torch.Tensor:
        return PIXELS[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            Items(PIXELS[0], PIXELS[1], PIXELS[2, :, 1:]),
            r"Item 2 of Items has shape \(3, 5, 8\) uint8 but item 0 has \(3, 6, 8\) uint8",
        ),
        (Items(PIXELS[0], PIXELS[1].float()), r"Item 1 of Items .* float32 but item 0 has"),
        (
            Broken(*PIXELS),
            r"^Item 2 of Broken cannot be read \(OSError: truncated file\); repair it or leave it",
        ),
        (Breaking(), r"^Item 1 of Breaking cannot be read \(OSError: truncated file\)"),
        (Items(), "The dataset Items is empty; give at least one sample"),
        (Stream(), "The dataset Stream is empty"),
        (Unsized(), "The dataset Unsized has no length; give it a __len__"),
        (Endless(), r"The dataset Endless takes .* GiB or more, over the limit"),
        (Items(*[PIXELS[0]] * 100), r"The dataset Items takes .* save it as a .npy array"),
        (Items("a.png"), "Item 0 of Items is a str; an item is a tensor"),
        (Items(()), "Item 0 of Items is a tuple; an item is a tensor"),
        (np.full((3, 2), None), "The array in memory holds Python objects"),
    ],
)
def test_what_is_refused(value, text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "IN_MEMORY_LIMIT", 50 * PIXELS[0].numel())
    with pytest.raises(DataError, match=text) as caught:
        InMemoryDataset.of(value).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(5), r"The dataset in memory \(tensor \(5,\) float32\) has shape \(5,\)"),
        (
            torch.full((2, 1, 3, 3), 200.0),
            r"with ganzoo.datasets.InMemoryDataset.of\(data, stored_range=\(0, 255\)\)",
        ),
        ((PIXELS, LABELS[:4]), "has 5 samples but 4 labels"),
    ],
)
def test_what_loading_refuses(value, text) -> None:
    with pytest.raises(DataError, match=text):
        InMemoryDataset.of(value).load()


@pytest.mark.parametrize("value", [3, None, [1, 2], (1, 2), (PIXELS,), {}, object(), lambda: 0])
def test_something_else(value) -> None:
    with pytest.raises(ConfigError, match=r"A dataset is the name .* torch Dataset; got \w+"):
        InMemoryDataset.of(value)


# -- saving and finding again -----------------------------------------------------------------


def test_a_saved_config_asks_for_the_data_again() -> None:
    saved = json.loads(InMemoryDataset.of(PIXELS, stored_range=(0, 255)).model_dump_json())
    assert saved["name"] == "in-memory"
    read = datasets.create(saved)
    with pytest.raises(DataError) as caught:
        read.load()
    assert str(caught.value) == (
        "This run was trained on data held in memory (tensor (5, 3, 6, 8) uint8); pass it again: "
        "Trainer.resume(run, dataset=...)."
    )
    assert isinstance(read, InMemoryDataset)
    again = read.with_data(InMemoryDataset.of(PIXELS.clone()))
    assert again.stored_range == (0, 255)
    assert torch.equal(again.load().data, PIXELS)
    assert again == read and hash(again) == hash(read)


def test_a_torch_dataset_is_read_once_and_when_it_is_needed() -> None:
    reads = []

    class Counted(Items):
        def __getitem__(self, index: int) -> object:
            reads.append(index)
            return super().__getitem__(index)

    dataset = InMemoryDataset.of(Counted(*PIXELS))
    assert dataset.description == "Counted of 5"
    assert dataset != InMemoryDataset.of(Counted(*PIXELS)) and dataset == copy.deepcopy(dataset)
    assert not reads
    assert torch.equal(dataset.load().data, dataset.load().data)
    known, _ = dataset.resolved()
    assert known.fingerprint == InMemoryDataset.of(PIXELS).fingerprint
    assert reads == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("value", [Items(), Unsized()])
def test_what_cannot_be_read_at_all_is_refused_at_once(value) -> None:
    with pytest.raises(DataError, match="is empty|no length"):
        InMemoryDataset.of(value)


def test_a_torch_dataset_is_found_again_by_its_content() -> None:
    known, _ = InMemoryDataset.of(Items(*PIXELS)).resolved()
    saved = datasets.create(json.loads(known.model_dump_json()))
    assert isinstance(saved, InMemoryDataset)
    again = saved.with_data(InMemoryDataset.of(Items(*PIXELS)))
    assert torch.equal(again.load().data, PIXELS) and again == saved
    with pytest.raises(DataError, match="is other data"):
        saved.with_data(InMemoryDataset.of(Items(*(PIXELS + 1))))


def test_a_stream_is_found_again_by_its_form() -> None:
    known, stream = InMemoryDataset.of(Items(*(PIXELS / 255))).resolved(workers=0)
    assert known.fingerprint == f"stream:{stream.schema.fingerprint}"
    assert known.description == "Items (5, 3, 6, 8) float32"
    assert known.stored_range == (0.0, 1.0)  # so that another look cannot decide otherwise
    saved = datasets.create(json.loads(known.model_dump_json()))
    assert isinstance(saved, InMemoryDataset)
    with pytest.raises(DataError) as caught:
        saved.stream(0)
    assert str(caught.value) == (
        "This run was trained on data read while training (Items (5, 3, 6, 8) float32); pass it "
        "again: Trainer.resume(run, dataset=...)."
    )
    other = Items(*(PIXELS.flip(0) / 255))  # what random transforms may make of it
    again, stream = saved.with_data(InMemoryDataset.of(other)).resolved(workers=0)
    assert again == saved == known and stream.dataset is other
    for wrong in (Items(*PIXELS), Items(*(PIXELS[1:] / 255)), Items(*(PIXELS[:, 1:] / 255))):
        with pytest.raises(
            DataError, match=r"This run was trained on Items \(5, 3, 6, 8\) float32"
        ):
            saved.with_data(InMemoryDataset.of(wrong)).stream(0)
    with pytest.raises(DataError, match="is other data"):
        saved.with_data(InMemoryDataset.of(PIXELS / 255))


def test_a_range_that_was_guessed_wrong_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is resumed is told that it has to be started anew, whatever is given now."""
    monkeypatch.setattr(stream, "MOST_LOOKED_AT", 8)
    dim, bright = torch.full((1, 2, 2), 0.5), torch.full((1, 2, 2), -1.0)
    known, _ = InMemoryDataset.of(Items(*[dim] * 9)).resolved(workers=0)
    saved = datasets.create(json.loads(known.model_dump_json()))
    data = Items(dim, *[dim] * 3, bright, *[dim] * 4)  # which is not looked at beforehand
    again = saved.with_data(InMemoryDataset.of(data))
    with pytest.raises(
        DataError,
        match=r"Item 4 of Items holds .* A run keeps its range: start a new one with "
        r"ganzoo.datasets.InMemoryDataset.of\(data, stored_range=\(low, high\)\)\.$",
    ):
        again.stream(0).read(Request(0, [0, 4]))
    with pytest.raises(
        DataError, match="The dataset Items holds .* A run keeps its range: start a"
    ):
        saved.with_data(InMemoryDataset.of(Items(bright, *[dim] * 8))).stream(0)
    with pytest.raises(ConfigError) as caught:
        saved.with_data(InMemoryDataset.of(data, stored_range=(-1, 1)))
    assert str(caught.value) == (
        "This run was started with stored_range=(0.0, 1.0) and keeps it, but the data is given "
        "with stored_range=(-1.0, 1.0). Leave stored_range out to resume the run, or start a new "
        "one with ganzoo.datasets.InMemoryDataset.of(data, stored_range=(-1.0, 1.0))."
    )
    assert saved.with_data(InMemoryDataset.of(data, stored_range=(0, 1))).stored_range == (0, 1)


@pytest.mark.parametrize(
    "option", [{"layout": "channels-last"}, {"sample_kind": "image"}, {"stored_range": (0, 99)}]
)
def test_options_that_are_others_than_before_are_refused(option) -> None:
    (name,) = option
    with pytest.raises(ConfigError, match=f"was started with {name}=.* but .* with {name}=.*Leave"):
        InMemoryDataset.of(PIXELS, stored_range=(0, 255)).with_data(
            InMemoryDataset.of(PIXELS, **option)
        )
    given = InMemoryDataset.of(PIXELS, **option)
    assert (
        given.with_data(InMemoryDataset.of(PIXELS, **option))
        == given
        == given.with_data(InMemoryDataset.of(PIXELS))
    )


@pytest.mark.parametrize("value", [PIXELS, (PIXELS, LABELS), {"x": PIXELS.numpy()}])
def test_what_is_in_memory_needs_no_workers(value) -> None:
    with pytest.raises(
        ConfigError, match="'(tensor|array)' is in memory or mapped .* leave 'workers' out"
    ):
        InMemoryDataset.of(value).stream(2)
    with pytest.raises(ConfigError, match="leave 'workers' out"):
        datasets.create("mnist").resolved(workers=0)


def test_other_data_is_no_match() -> None:
    first, second = InMemoryDataset.of(PIXELS), InMemoryDataset.of(PIXELS + 1)
    assert not same(first, second) and first != second
    with pytest.raises(DataError, match=r"is other data .*; pass the same data again"):
        first.with_data(second)


@pytest.mark.parametrize(
    "other",
    [
        PIXELS.reshape(5, 3, 8, 6),
        PIXELS.float(),
        PIXELS.flip(0),
        (PIXELS, LABELS),
        (PIXELS, LABELS.roll(1) + 1),
    ],
)
def test_the_fingerprint_covers(other) -> None:
    assert not same(InMemoryDataset.of(PIXELS), InMemoryDataset.of(other))
    assert not same(InMemoryDataset.of((PIXELS, LABELS + 1)), InMemoryDataset.of(other))


def test_the_fingerprint_does_not_depend_on_memory_layout() -> None:
    turned = PIXELS.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert same(InMemoryDataset.of(turned), InMemoryDataset.of(PIXELS))
    swapped = np.arange(12, dtype=">i4").reshape(3, 2, 2)
    assert same(InMemoryDataset.of(swapped), InMemoryDataset.of(swapped.astype("<i4")))


def test_the_fingerprint_of_large_data_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "_HASHED", 4 * 100)
    data = np.zeros((1000, 2), np.float32)
    assert len(in_memory._excerpt(data)) == 400
    for end in (0, -1):
        changed = data.copy()
        changed[end] = 1
        assert in_memory._excerpt(changed) != in_memory._excerpt(data)
    assert len(in_memory._excerpt(np.zeros((3, 1000), np.uint8))) == 2000  # the ends at the least


def test_copies_share_the_data() -> None:
    dataset = InMemoryDataset.of(PIXELS)
    for twin in (dataset.model_copy(), copy.copy(dataset), copy.deepcopy(dataset)):
        assert twin == dataset
        assert isinstance(twin, InMemoryDataset) and twin._arrays is dataset._arrays
    assert datasets.create(dataset) is dataset


# -- interpreting -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*datasets.names(), "fashion", "no such thing"])
def test_names_fall_through(name: str) -> None:
    assert as_dataset(name) == name


def test_a_typo_is_the_registrys_affair() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mnist'"):
        datasets.create(as_dataset("mnits"))


def test_a_name_goes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert as_dataset("mnist") == "mnist"
    assert as_dataset(Path("mnist")) == {"name": "folder", "path": "mnist"}


@pytest.mark.parametrize("suffix", [".npy", ".NPY", ".npz", ".safetensors"])
@pytest.mark.parametrize("form", [str, Path])
def test_array_files(tmp_path: Path, suffix: str, form) -> None:
    path = tmp_path / f"x{suffix}"
    path.touch()
    assert as_dataset(form(path)) == {"name": "array", "path": str(path)}


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", PIXELS.numpy())
    assert torch.equal(datasets.create(as_dataset("x.npy")).load().data, PIXELS)


@pytest.mark.parametrize("form", [str, Path])
def test_folders(tmp_path: Path, form) -> None:
    assert as_dataset(form(tmp_path)) == {"name": "folder", "path": str(tmp_path)}
    (tmp_path / "a.parquet").touch()
    assert as_dataset(form(tmp_path)) == {"name": "huggingface", "path": str(tmp_path)}


def test_one_picture_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").touch()
    with pytest.raises(
        DataError, match="a.PNG' is one picture: samples are read from .npy.*folder"
    ):
        as_dataset(tmp_path / "a.PNG")


@pytest.mark.parametrize(
    "value", ["a/b", "a\\b", "x.npy", "x.csv", "~/x", "./mnist", Path("x"), Path("x.npy")]
)
def test_files_that_are_not_there(value) -> None:
    with pytest.raises(DataError, match=r"There is no such file '.*Available: array, celeba"):
        as_dataset(value)


@pytest.mark.parametrize("form", [str, Path])
def test_files_that_are_no_arrays(tmp_path: Path, form) -> None:
    (tmp_path / "x.csv").touch()
    with pytest.raises(DataError, match=r"is no array file: samples are read from \.npy, \.npz"):
        as_dataset(form(tmp_path / "x.csv"))


def test_mappings_components_and_classes_are_themselves() -> None:
    mapping = {"name": "mnist", "split": "test"}
    component = datasets.create(mapping)
    held = InMemoryDataset.of(PIXELS)
    for value in (mapping, component, type(component), held, {"split": "test"}):
        assert as_dataset(value) is value


@pytest.mark.parametrize(
    "value",
    [PIXELS, PIXELS.numpy(), (PIXELS, LABELS), {"x": PIXELS, "y": LABELS}, TensorDataset(PIXELS)],
)
def test_data_is_held(value) -> None:
    made = datasets.create(as_dataset(value))
    assert isinstance(made, InMemoryDataset)
    assert torch.equal(made.load().data, PIXELS)


@pytest.mark.parametrize("value", [3, None, [PIXELS], (1, 2, 3)])
def test_anything_else_is_refused(value) -> None:
    with pytest.raises(ConfigError, match=f"A dataset is .*; got {type(value).__name__}"):
        as_dataset(value)


def test_listing_and_interpreting_import_no_torch() -> None:
    code = (
        "import sys, ganzoo.datasets as d\n"
        "d.as_dataset('mnist'), d.as_dataset({'name': 'x'}), d.as_dataset(d.get('array'))\n"
        "[d.get(name) for name in d.names()]\n"
        "[d.get(entry.name) and entry.summary for entry in d.registry.entries()]\n"
        "print([name for name in ('torch', 'torchvision', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_name_of_the_hub_and_a_text_that_is_no_path() -> None:
    with pytest.raises(DataError, match=r"it is {'name': 'huggingface', 'repo': 'org/set.1'}\. Av"):
        as_dataset("org/set.1")
    with pytest.raises(DataError, match=r"or give a name\. Available"):
        as_dataset("a/b/c")
    assert as_dataset("x" * 5000) == "x" * 5000  # the registry will refuse it
