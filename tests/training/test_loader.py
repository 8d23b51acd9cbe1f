from __future__ import annotations

import json
import multiprocessing
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ganzoo import Trainer, architectures
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets import InMemoryDataset
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.datasets.samples import Samples
from ganzoo.datasets.stream import Stream
from ganzoo.errors import ConfigError, DataError
from ganzoo.training.loader import Loader, _fits, _sent

CPU = torch.device("cpu")
RAW = SampleSpec(kind="vector", shape=(1,), value_range=None)
RAW3 = SampleSpec(kind="vector", shape=(3,), value_range=None)

# Elsewhere, what a test defines cannot be sent to a process.
forked = pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="processes are not forked here"
)
HERE_OR_THERE = [0, pytest.param(1, marks=forked)]


def numbered(count: int, labels: bool = False) -> Samples:
    """Samples whose one value is their number; labels are twice that."""
    data = torch.arange(count, dtype=torch.float32).reshape(-1, 1)
    doubled = 2 * torch.arange(count) if labels else None
    return Samples(data, RAW, doubled, stored_range=None)


def draw(loader: Loader, batches: int) -> list[list[int]]:
    return [loader.next()[0].flatten().int().tolist() for _ in range(batches)]


@pytest.mark.parametrize(("count", "batch"), [(12, 4), (13, 4), (15, 4), (5, 5), (7, 1)])
def test_every_epoch_is_a_permutation_in_full_batches(count, batch) -> None:
    loader = Loader(numbered(count), batch, CPU)
    assert loader.batches_per_epoch == count // batch
    orders = []
    for epoch in range(3):
        assert loader.epoch == epoch
        batches = draw(loader, loader.batches_per_epoch)
        assert all(len(one) == batch for one in batches)
        drawn = [number for one in batches for number in one]
        assert len(set(drawn)) == len(drawn) == count // batch * batch  # none twice
        assert set(drawn) <= set(range(count))
        orders.append(drawn)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_what_one_epoch_drops_another_may_have() -> None:
    loader = Loader(numbered(7), 4, CPU)
    seen = {number for one in draw(loader, 20) for number in one}
    assert seen == set(range(7))


def test_the_order_follows_from_the_seed_and_the_epoch() -> None:
    first, second, other = (Loader(numbered(12), 4, CPU, seed) for seed in (5, 5, 6))
    batches = draw(first, 9)
    torch.manual_seed(99)  # the global source has no part in it
    assert draw(second, 9) == batches
    assert draw(other, 9) != batches


def test_seeds_do_not_share_epochs() -> None:
    orders = set()
    for seed in (0, 1, 2, 2**63 - 1):
        loader = Loader(numbered(40), 40, CPU, seed)
        for _ in range(5):
            orders.add(tuple(draw(loader, 1)[0]))
    assert len(orders) == 20


@pytest.mark.parametrize("before", [0, 1, 2, 3, 4, 7])
def test_resuming_is_as_if_nothing_had_happened(before) -> None:
    whole = Loader(numbered(13, labels=True), 4, CPU, seed=3)
    draw(whole, before)
    state = json.loads(json.dumps(whole.state()[1]))  # as a checkpoint has it
    assert state["batches"] == before
    resumed = Loader(numbered(13, labels=True), 4, CPU, seed=3)
    draw(resumed, 5)  # wherever it was
    resumed.restore({}, state)
    assert resumed.epoch == whole.epoch == before / 3
    for _ in range(8):
        (data, labels), (again, labels_again) = whole.next(), resumed.next()
        assert torch.equal(data, again)
        assert torch.equal(labels, labels_again)


def test_the_epoch_has_a_fraction() -> None:
    loader = Loader(numbered(12), 3, CPU)
    draw(loader, 5)
    assert loader.epoch == 1.25


def test_labels_follow_their_samples() -> None:
    loader = Loader(numbered(11, labels=True), 4, CPU)
    for _ in range(5):
        data, labels = loader.next()
        assert labels.dtype == torch.int64
        assert labels.tolist() == [2 * int(value) for value in data.flatten()]


def test_no_labels() -> None:
    assert Loader(numbered(4), 2, CPU).next()[1] is None


def normalised(data: torch.Tensor, stored, wanted) -> tuple[torch.Tensor, torch.Tensor]:
    """Stored values and what became of them, both in ascending order."""
    spec = SampleSpec(kind="vector", shape=(1,), value_range=wanted)
    loader = Loader(Samples(data.reshape(-1, 1), spec, None, stored), len(data), CPU)
    batch, _ = loader.next()
    assert batch.dtype == torch.float32
    return data.double().sort().values, batch.flatten().sort().values


BYTES = torch.arange(256, dtype=torch.uint8)
UNIT = torch.linspace(0, 1, 101)


@pytest.mark.parametrize(
    ("data", "stored", "wanted"),
    [
        (BYTES, (0.0, 255.0), (-1.0, 1.0)),
        (BYTES, (0.0, 255.0), (0.0, 1.0)),
        (BYTES, (0.0, 255.0), (-2.0, 3.0)),
        (torch.arange(0, 65536, 257.0), (0.0, 65535.0), (-1.0, 1.0)),
        (UNIT, (0.0, 1.0), (-1.0, 1.0)),
        (2 * UNIT - 1, (-1.0, 1.0), (0.0, 1.0)),
    ],
)
def test_normalisation(data, stored, wanted) -> None:
    values, found = normalised(data, stored, wanted)
    share = (values - stored[0]) / (stored[1] - stored[0])
    exact = wanted[0] + share * (wanted[1] - wanted[0])
    assert found[0].item() == wanted[0] and found[-1].item() == wanted[1]
    # One rounding of the scale, one of the product, one of the sum.
    assert (found - exact).abs().max() <= 2**-23 * (wanted[1] - wanted[0])
    assert len(found.unique()) == len(values)


def test_normalisation_of_an_uneven_range() -> None:
    values, found = normalised(100 * UNIT - 40, (-40.0, 60.0), (-1.0, 1.0))
    assert (found - ((values + 40) / 50 - 1)).abs().max() <= 2**-22


def test_bool_becomes_the_ends_of_the_range() -> None:
    bits = torch.tensor([1, 0, 1, 0], dtype=torch.uint8)
    _, found = normalised(bits, (0.0, 1.0), (-1.0, 1.0))
    assert found.tolist() == [-1.0, -1.0, 1.0, 1.0]


@pytest.mark.parametrize("wanted", [(-1.0, 1.0), (0.0, 1.0), None])
def test_what_is_in_range_already_is_not_touched(wanted) -> None:
    data = torch.rand(50) if wanted else 1000 * torch.randn(50)
    values, found = normalised(data, wanted, wanted)
    assert torch.equal(found.double(), values)


@pytest.mark.parametrize(("stored", "wanted"), [(None, (-1.0, 1.0)), ((0.0, 1.0), None)])
def test_without_a_range_values_stay_as_they_are(stored, wanted) -> None:
    values, found = normalised(torch.randn(50), stored, wanted)
    assert torch.equal(found.double(), values)


def test_the_stored_samples_are_not_changed() -> None:
    data = torch.rand(8, 1)
    before = data.clone()
    spec = SampleSpec(kind="vector", shape=(1,))
    loader = Loader(Samples(data, spec, None, (0.0, 1.0)), 8, CPU)
    loader.next()[0].zero_()
    assert torch.equal(data, before)
    assert torch.equal(loader.data, before)


def test_images_come_channels_last() -> None:
    data = torch.arange(4 * 3 * 2 * 5, dtype=torch.uint8).reshape(4, 3, 2, 5)
    loader = Loader(Samples(data, SampleSpec(shape=(3, 2, 5))), 2, CPU)
    batch, _ = loader.next()
    assert batch.shape == (2, 3, 2, 5)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    images = [2 / 255 * image.float() - 1 for image in data]
    for image in batch:
        assert any(torch.allclose(image, other, atol=1e-6) for other in images)


@pytest.mark.parametrize(("count", "batch"), [(3, 4), (1, 64)])
def test_too_few_samples(count, batch) -> None:
    with pytest.raises(DataError) as caught:
        Loader(numbered(count), batch, CPU)
    assert str(caught.value) == (
        f"The dataset has {count} samples, fewer than one batch of {batch}. "
        f"Use a batch size of at most {count}."
    )


# -- other data under the same name ---------------------------------------------------------------

PICTURES = torch.arange(40 * 3 * 4 * 5).mul(7919).remainder(251).to(torch.uint8)
PICTURES = Samples(PICTURES.reshape(40, 3, 4, 5), SampleSpec(shape=(3, 4, 5)), torch.arange(40) % 3)
POINTS = Samples(torch.linspace(-9, 5, 60).reshape(20, 3) ** 3, RAW3, None, stored_range=None)


def state_of(samples: Samples | Stream) -> dict:
    loader = Loader(samples, 4, CPU)
    draw(loader, 3)
    return json.loads(json.dumps(loader.state()[1]))


def changed(samples: Samples, change) -> Samples:
    return replace(samples, data=change(samples.data.clone()))


@pytest.mark.parametrize(
    ("now", "fact"),
    [
        (
            Samples(PICTURES.data[:-1], PICTURES.spec, PICTURES.labels[:-1]),
            "there are 39 samples instead of 40",
        ),
        (
            Samples(PICTURES.data[..., :-1], SampleSpec(shape=(3, 4, 4)), PICTURES.labels),
            r"samples have the shape \(3, 4, 4\) instead of \(3, 4, 5\)",
        ),
        (
            changed(PICTURES, lambda data: data.roll(1, 0)),
            r"\d+ of 16 that were compared have other",
        ),
        (changed(PICTURES, lambda data: data.flip(1)), r"\d+ of 16 that were compared have other"),
        (changed(PICTURES, lambda data: data // 2), "16 of 16 that were compared have other"),
        (replace(PICTURES, labels=PICTURES.labels.flip(0)), "their labels are others"),
        (changed(POINTS, lambda data: data.flip(0)), "16 of 16 that were compared have other"),
        (changed(POINTS, lambda data: data + 1), "16 of 16 that were compared have other"),
    ],
)
def test_a_position_in_other_data_is_refused(now, fact) -> None:
    state, loader = state_of(PICTURES if now.spec.kind == "image" else POINTS), Loader(now, 4, CPU)
    with pytest.raises(DataError, match=rf"not those of the checkpoint \({fact}.*Bring them back"):
        loader.restore({}, state)
    assert loader.state()[1]["batches"] == 0


@pytest.mark.parametrize("samples", [PICTURES, POINTS, numbered(5), numbered(300)])
def test_a_position_in_the_same_data_is_taken(samples) -> None:
    def taken(now: Samples, state: dict) -> bool:
        loader = Loader(now, 4, CPU)
        loader.restore({}, state)
        return loader.state()[1]["batches"] == 3

    state = state_of(samples)
    assert taken(samples, state)
    if samples is PICTURES:  # another decoder, and labels that are not asked for any more
        assert taken(changed(samples, lambda data: data.clamp(max=249) + data % 2), state)
        assert taken(replace(samples, labels=None), state)
    else:  # another processor
        assert taken(changed(samples, lambda data: data * (1 + 2**-22)), state)


def test_values_without_a_mean_are_no_obstacle() -> None:
    endless = changed(numbered(5), lambda data: data.index_fill(0, torch.tensor(2), torch.inf))
    Loader(endless, 4, CPU).restore({}, state_of(endless))


def test_only_the_form_is_compared_of_what_may_be_made_at_random() -> None:
    def made(count: int) -> list[Samples | Stream]:
        items = Shaken()
        items.count = count
        return [InMemoryDataset.of(items).load(), Stream.of(items)]

    for before, same, longer in zip(made(13), made(13), made(14), strict=True):
        loader = Loader(same, 4, CPU)
        loader.restore({}, state_of(before))
        assert loader.state()[1]["batches"] == 3
        with pytest.raises(DataError, match="there are 14 samples instead of 13"):
            Loader(longer, 4, CPU).restore({}, state_of(before))


def test_a_run_does_not_go_on_in_other_data(tmp_path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, PICTURES.data.numpy())
    run = Trainer(TINY, path, steps=1, out=tmp_path / "run", **SETTINGS).fit()
    np.save(path, 255 - PICTURES.data.numpy())
    with pytest.raises(DataError, match="The data are not those of the checkpoint"):
        Trainer.resume(run, steps=2, progress=False)
    np.save(path, PICTURES.data.numpy())
    assert Trainer.resume(run, steps=2, progress=False).step == 1


# -- images that vary -----------------------------------------------------------------------------


def marked(count: int, height: int, width: int, crop: tuple[int, int], flip=False) -> Samples:
    """Images whose pixels tell where they are: red the row, green the column, blue the image."""
    rows = torch.arange(height).reshape(1, height, 1).expand(count, height, width)
    columns = torch.arange(width).reshape(1, 1, width).expand(count, height, width)
    which = torch.arange(count).reshape(count, 1, 1).expand(count, height, width)
    data = torch.stack((rows, columns, which), dim=1).to(torch.uint8)
    spec = SampleSpec(shape=(3, *crop), value_range=(0.0, 255.0))
    return Samples(data, spec, torch.arange(count), flip=flip)


def test_parts_are_cut_out_at_random() -> None:
    loader = Loader(marked(8, 9, 12, (5, 6)), 8, CPU)
    corners = set()
    for _ in range(40):
        batch, labels = loader.next()
        assert batch.shape == (8, 3, 5, 6)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        for image, label in zip(batch, labels, strict=True):
            assert (image[2] == label).all()
            top, left = int(image[0, 0, 0]), int(image[1, 0, 0])
            assert torch.equal(image[0], torch.arange(top, top + 5.0)[:, None].expand(5, 6))
            assert torch.equal(image[1], torch.arange(left, left + 6.0).expand(5, 6))
            corners.add((top, left))
    assert corners == {(top, left) for top in range(5) for left in range(7)}


def test_half_of_the_images_are_mirrored() -> None:
    loader = Loader(marked(50, 2, 3, (2, 3), flip=True), 50, CPU)
    mirrored = 0
    for _ in range(20):
        batch, _ = loader.next()
        forward = (batch[:, 1] == torch.arange(3.0)).all(dim=(1, 2))
        backward = (batch[:, 1] == torch.arange(2.0, -1, -1)).all(dim=(1, 2))
        assert (forward ^ backward).all()
        assert (batch[:, 0] == torch.arange(2.0)[:, None]).all()  # never upside down
        mirrored += int(backward.sum())
    assert 400 < mirrored < 600  # of 1,000: six standard deviations


def test_variations_follow_from_the_seed_and_the_position() -> None:
    def loader(seed: int = 1) -> Loader:
        return Loader(marked(8, 9, 12, (5, 6), flip=True), 4, CPU, seed)

    whole, other = loader(), loader(2)
    batches = [whole.next()[0] for _ in range(7)]
    resumed = loader()
    resumed.restore({}, resumed.state()[1] | {"batches": 3})
    for expected in batches[3:]:
        assert torch.equal(resumed.next()[0], expected)
    assert not torch.equal(other.next()[0], batches[0])


def test_a_preview_is_the_middle_and_takes_no_part() -> None:
    loader = Loader(marked(8, 9, 12, (5, 6), flip=True), 4, CPU)
    same = Loader(marked(8, 9, 12, (5, 6), flip=True), 4, CPU)
    first, labels = loader.preview(5)
    again, _ = loader.preview(5)
    assert torch.equal(first, again)
    assert (first[:, 0, 0, 0] == 2).all() and (first[:, 1, 0, 0] == 3).all()
    assert torch.equal(first[:, 2, 0, 0].long(), labels) and len(labels.unique()) == 5
    assert len(loader.preview(100)[0]) == 8
    assert torch.equal(loader.next()[0], same.next()[0])


def test_images_are_preprocessed_as_they_are_drawn() -> None:
    preprocessing = Preprocessing.fit((2, 3), (4, 6), "pad")
    samples = Samples(
        torch.full((4, 1, 2, 3), 9.0), SampleSpec(shape=(1, 2, 3)), stored_range=(1.0, 9.0)
    )
    batch, _ = Loader(samples, 4, CPU, preprocessing=preprocessing).next()
    assert batch.shape == (4, 1, 4, 6)
    assert torch.equal(preprocessing.undo(batch), torch.ones(4, 1, 2, 3))
    assert batch.sum() == 4 * (6 - 18)  # what is around them is the lowest value


def test_images_smaller_than_their_spec_are_refused() -> None:
    with pytest.raises(DataError, match="their spec says"):
        Samples(torch.zeros(4, 1, 8, 7), SampleSpec(shape=(1, 8, 8)))


@pytest.mark.parametrize("fits", [True, False])
def test_images_are_preprocessed_on_the_device_wherever_they_are(fits, monkeypatch) -> None:
    device, seen = torch.device("meta"), []
    apply = Preprocessing.apply

    def noting(self, data: torch.Tensor, low: float) -> torch.Tensor:
        seen.append(data.device)
        return apply(self, data, low)

    monkeypatch.setattr(Preprocessing, "apply", noting)
    monkeypatch.setattr("ganzoo.training.loader._fits", lambda data, device: fits)
    preprocessing = Preprocessing.fit((5, 6), (8, 8), "resize")
    loader = Loader(marked(8, 9, 12, (5, 6), flip=True), 4, device, preprocessing=preprocessing)
    assert loader.data.device.type == ("meta" if fits else "cpu")
    batch, labels = loader.next()
    assert batch.shape == (4, 3, 8, 8) and batch.device == labels.device == device
    loader.preview(2)
    assert seen == [device, device]


def test_copies_to_a_gpu_are_from_page_locked_memory(monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: calls.append("pin") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **how: calls.append(how) or self)
    _sent(torch.zeros(1), SimpleNamespace(type="cuda"))
    assert calls == ["pin", {"non_blocking": True}]
    _sent(torch.zeros(1), CPU)
    assert calls[2:] == [{}]


def test_samples_too_large_for_a_gpu_stay_in_the_hosts_memory(monkeypatch) -> None:
    data = torch.zeros(100)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (800, 10**9))
    assert _fits(data, torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (799, 10**9))
    assert not _fits(data, torch.device("cuda"))
    assert _fits(data, CPU)


# -- samples that are read while training ---------------------------------------------------------


class Shaken(Dataset):
    """Thirteen pictures, brightened at random in three ways; labels in threes."""

    classes = ("ant", "bee", "cat")
    count = 13

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        light = random.random() + np.random.rand() + torch.rand(())
        return torch.full((1, 16, 16), (index + light.item()) / 16), index % 3


def streamed(workers: int = 0, batch_size: int = 4, **options: object) -> Loader:
    source = Stream.of(Shaken(), workers=workers, labels=True)
    return Loader(source, batch_size, CPU, seed=3, workers=workers, **options)


def drawn(loader: Loader, batches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    found = [loader.next() for _ in range(batches)]
    loader.close()
    return found


def same(some: list, others: list) -> bool:
    pairs = zip(some, others, strict=True)
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


def test_a_stream_comes_in_the_order_of_loaded_samples() -> None:
    values = torch.arange(13.0).reshape(13, 1)
    loaded = Loader(InMemoryDataset.of(values).load(), 4, CPU, seed=3)
    loader = Loader(Stream.of(TensorDataset(values)), 4, CPU, seed=3)
    assert loader.batches_per_epoch == 3
    assert draw(loader, 7) == draw(loaded, 7)
    assert loader.epoch == loaded.epoch
    assert torch.equal(loader.preview(5)[0], loaded.preview(5)[0])


@forked
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_are_the_same_however_many_read_them(workers) -> None:
    expected = drawn(streamed(0), 8)
    assert same(drawn(streamed(workers), 8), expected)
    values = torch.cat([batch for batch, _ in expected])[:, 0, 0, 0]
    assert len(values.unique()) == len(values)  # each time drawn, other light


@pytest.mark.parametrize("workers", HERE_OR_THERE)
@pytest.mark.parametrize("before", [0, 1, 2, 3, 5, 7])
def test_a_stream_resumes_anywhere(workers, before) -> None:
    expected = drawn(streamed(0), 10)
    loader = streamed(workers)
    loader.next()  # wherever it was
    loader.restore({}, loader.state()[1] | {"batches": before})
    assert same(drawn(loader, 10 - before), expected[before:])
    assert loader.state()[1]["batches"] == 10


@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_a_stream_goes_on_after_closing(workers) -> None:
    loader = streamed(workers)
    found = [*drawn(loader, 2), *drawn(loader, 3), *drawn(loader, 1)]
    loader.close()
    assert same(found, drawn(streamed(0), 6))


@pytest.mark.parametrize("workers", HERE_OR_THERE)
def test_a_batch_that_failed_is_read_again(workers, tmp_path) -> None:
    class Missing(Shaken):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            if not (tmp_path / "there").exists():
                raise FileNotFoundError(index)
            return super().__getitem__(index)

    (tmp_path / "there").touch()
    source = Stream.of(Missing(), labels=True)
    (tmp_path / "there").unlink()
    loader = Loader(source, 4, CPU, seed=3, workers=workers)
    with pytest.raises(DataError, match=r"of Missing cannot be read \(FileNotFoundError"):
        loader.next()
    (tmp_path / "there").touch()
    assert same(drawn(loader, 4), drawn(streamed(0), 4))


@forked
def test_a_preview_of_a_stream_takes_no_part() -> None:
    loader = streamed(1)
    first, labels = loader.preview(5)
    loader.next()
    first_value = first[0, 0, 0, 0].item()
    first.zero_()
    again, labels_again = loader.preview(5)
    assert again[0, 0, 0, 0].item() == first_value != 0
    other, _ = streamed(0).preview(5)
    assert torch.equal(again, other) and torch.equal(labels, labels_again)
    assert len(loader.preview(100)[0]) == 13
    assert same(drawn(loader, 3), drawn(streamed(0), 4)[1:])


def test_a_preview_that_is_kept_draws_nothing(monkeypatch) -> None:
    loader = streamed()
    kept, _ = loader.preview(5)
    monkeypatch.delattr("ganzoo.training.loader._Order.permutation")
    assert torch.equal(loader.preview(5)[0], kept)


def test_a_stream_is_preprocessed_and_normalised() -> None:
    preprocessing = Preprocessing.fit((16, 16), (20, 24), "pad")
    plain, framed = streamed(), streamed(preprocessing=preprocessing)
    (batch, _), (wide, _) = plain.next(), framed.next()
    assert wide.shape == (4, 1, 20, 24) and torch.equal(preprocessing.undo(wide), batch)
    assert wide[0, 0, 0, 0] == -1 and -1 <= batch.min() < batch.max() <= 1
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_too_few_items_of_a_stream() -> None:
    with pytest.raises(DataError, match="has 13 samples, fewer than one batch of 14"):
        streamed(batch_size=14)


# -- trainings that read their data ---------------------------------------------------------------

TINY = {"name": "mlp", "hidden": [8]}
SETTINGS = {"batch_size": 4, "latent": 4, "progress": False, "log_every": 2, "seed": 3}


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    trainer.loader.close()
    return {f"{k}.{n}": v for k, net in trainer.nets().items() for n, v in net.state_dict().items()}


def equal(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[k], others[k]) for k in some)


@forked
def test_a_training_does_not_depend_on_the_number_of_workers() -> None:
    trainers = [Trainer(TINY, Shaken(), steps=5, workers=w, **SETTINGS) for w in (0, 2)]
    runs = [trainer.fit() for trainer in trainers]
    assert equal(*map(weights, trainers))
    assert runs[0].history == runs[1].history
    assert trainers[0].config.dataset.description == "Shaken (13, 1, 16, 16) float32"


@forked
@pytest.mark.parametrize("steps", [2, 4])
def test_a_training_is_resumed_in_the_middle_of_an_epoch(steps) -> None:
    whole = Trainer(TINY, Shaken(), steps=7, workers=1, **SETTINGS)
    undisturbed = whole.fit()
    run = Trainer(TINY, Shaken(), steps=steps, workers=2, **SETTINGS).fit()
    rest = Trainer.resume(run, dataset=Shaken(), steps=7, progress=False)
    assert rest.config.workers == 2
    resumed = rest.fit()
    assert equal(weights(rest), weights(whole))
    assert resumed.history == undisturbed.history


def test_resuming_asks_for_the_same_data() -> None:
    run = Trainer(TINY, Shaken(), steps=1, workers=0, **SETTINGS).fit()
    with pytest.raises(DataError, match=r"data read while training \(Shaken .*; pass it again"):
        Trainer.resume(run, steps=2)
    with pytest.raises(DataError, match=r"trained on Shaken .* and TensorDataset .* is other data"):
        Trainer.resume(run, dataset=TensorDataset(torch.zeros(13, 4)), steps=2)


@architectures.register("test-labelled-feed")
class Labelled(architectures.get("mlp")):
    """Takes labels, and leaves them."""

    conditional = True


@forked
def test_a_conditional_training_reads_labels() -> None:
    class Unnamed(Shaken):
        classes = None

    class Many(Unnamed):
        count = 300  # more than are looked at

    settings = {"steps": 2, "conditional": True, "workers": 1, **SETTINGS}
    trainer = Trainer("test-labelled-feed", Shaken(), **settings)
    trainer.setup()
    assert trainer.spec.classes == ("ant", "bee", "cat")
    _, labels = trainer.loader.next()
    trainer.loader.close()
    assert labels.tolist() == drawn(streamed(), 1)[0][1].tolist()
    with pytest.raises(DataError, match="Many does not say what classes it has"):
        Trainer("test-labelled-feed", Many(), **settings).setup()
    trainer = Trainer("test-labelled-feed", Unnamed(), **settings)
    trainer.setup()
    trainer.loader.close()
    assert trainer.spec.classes == ("0", "1", "2")
    settings["conditional"] = False
    trainer = Trainer("test-labelled-feed", Unnamed(), **settings)
    trainer.setup()
    assert trainer.loader.next()[1] is None and trainer.spec.classes is None
    trainer.loader.close()


def test_data_that_need_no_workers_refuse_them() -> None:
    class InOrder(IterableDataset):
        def __iter__(self):
            return iter(torch.zeros(13, 2))

    for data in ("gaussian-1d", torch.zeros(13, 2)):
        with pytest.raises(ConfigError, match="leave 'workers' out"):
            Trainer(TINY, data, workers=2, **SETTINGS).setup()
    with pytest.raises(ConfigError, match="could not be resumed in the middle"):
        Trainer(TINY, InOrder(), workers=2, **SETTINGS).setup()
