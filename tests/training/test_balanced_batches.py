"""``labels="uniform"``: classes are drawn evenly, however many samples they have."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from ganzoo import Trainer
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.samples import Samples
from ganzoo.datasets.stream import Stream
from ganzoo.errors import ConfigError
from ganzoo.training.loader import Loader
from ganzoo.training.parts import collect

CPU = torch.device("cpu")
SPEC = SampleSpec(kind="vector", shape=(1,), value_range=None)
COUNTS = (120, 1, 12, 27)  # samples of each class


def skewed(counts: tuple[int, ...] = COUNTS, gap: int = 0) -> Samples:
    """Samples whose one value is their number, mixed; ``gap`` adds classes without samples."""
    labels = torch.cat([torch.full((n,), k * (1 + gap)) for k, n in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    data = torch.arange(len(labels), dtype=torch.float32).reshape(-1, 1)
    return Samples(data, SPEC, labels, stored_range=None)


def loader(samples: Samples | None = None, seed: int = 0, batch_size: int = 8) -> Loader:
    return Loader(samples or skewed(), batch_size, CPU, seed, balanced=True)


def numbers(made: Loader, batches: int) -> list[list[int]]:
    return [made.next()[0].flatten().int().tolist() for _ in range(batches)]


@pytest.mark.parametrize("gap", [0, 2])
def test_classes_have_even_shares_and_samples_even_shares_of_their_class(gap: int) -> None:
    samples = skewed(gap=gap)
    made, drawn = loader(samples), []
    for _ in range(1000):
        data, labels = made.next()
        assert labels.dtype == torch.int64
        chosen = data.flatten().long()
        assert torch.equal(samples.labels[chosen], labels)
        drawn.append(chosen)
    times = torch.bincount(torch.cat(drawn), minlength=160).double()
    for label, count in enumerate(COUNTS):
        own = times[samples.labels == label * (1 + gap)]
        share, sd = own.sum().item(), (8000 * 0.25 * 0.75) ** 0.5
        assert abs(share - 2000) < 5 * sd  # a quarter of all draws
        each = 2000 / count
        assert len(own) == count and (own - each).abs().max() < 6 * each**0.5 + 5 * sd / count


def test_without_it_shares_are_those_of_the_data() -> None:
    made = Loader(skewed(), 8, CPU)
    labels = torch.cat([made.next()[1] for _ in range(made.batches_per_epoch)])
    assert torch.bincount(labels).tolist() == list(COUNTS)


def test_an_epoch_is_as_long_as_before() -> None:
    made = loader()
    assert made.batches_per_epoch == 20
    numbers(made, 30)
    assert made.epoch == 1.5 and made.drawn == 240


def test_batches_follow_from_the_seed_and_their_number() -> None:
    found = numbers(loader(seed=5), 25)
    torch.manual_seed(99)  # the global source has no part in it
    assert numbers(loader(seed=5), 25) == found
    assert numbers(loader(seed=6), 25) != found
    assert len({tuple(batch) for batch in found}) == 25


@pytest.mark.parametrize("before", [0, 1, 7, 23])
def test_resuming_is_as_if_nothing_had_happened(before: int) -> None:
    whole = loader(seed=3)
    numbers(whole, before)
    state = json.loads(json.dumps(whole.state()[1]))  # as a checkpoint has it
    resumed = loader(seed=3)
    numbers(resumed, 5)  # wherever it was
    resumed.restore({}, state)
    assert resumed.epoch == whole.epoch == before / 20
    assert numbers(resumed, 9) == numbers(whole, 9)


def test_previews_are_those_of_other_batches() -> None:
    one, other = loader().preview(9), Loader(skewed(), 8, CPU).preview(9)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_one_class_alone() -> None:
    made = loader(skewed((9,)))
    assert {number for batch in numbers(made, 40) for number in batch} == set(range(9))


class Read(Dataset[tuple[torch.Tensor, int]]):
    """Points that are read while training."""

    classes = ("a", "b", "c")

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((2,), float(index)), index % 3


def test_streams_and_samples_without_labels_are_refused() -> None:
    data = torch.zeros(9, 1)
    with pytest.raises(ConfigError, match=r"have no labels\. Leave .* set labels to 'data'"):
        loader(Samples(data, SPEC, None, stored_range=None))
    stream = Stream.of(Read(), labels=True)
    with pytest.raises(ConfigError, match=r"are read while training\. Leave workers out"):
        Loader(stream, 8, CPU, balanced=True)


# -- in trainings ---------------------------------------------------------------------------------

POINTS = torch.rand(48, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0] * 40 + [1] * 6 + [2] * 2)


def trainer(data: Any = (POINTS, LABELS), **more: Any) -> Trainer:
    settings = {"batch_size": 8, "steps": 6, "latent": 4, "labels": "uniform", "log_every": 2}
    settings |= {"conditional": True, "progress": False, "device": "cpu", **more}
    return Trainer({"name": "mlp", "hidden": [8]}, data, **settings)


def test_both_players_see_labels_drawn_evenly() -> None:
    drawn = torch.cat([step.labels for step in trainer(steps=40).iterations()])
    times = torch.bincount(drawn, minlength=3)
    assert len(drawn) == 320 and (times - 320 / 3).abs().max() < 45  # 5 standard deviations


def test_a_training_resumes_to_the_bit() -> None:
    whole = trainer(out="whole")
    whole.fit()
    trainer(out="part", steps=4, checkpoint_every=4).fit()
    random.random(), np.random.rand(), torch.rand(7)  # another process has another history
    rest = Trainer.resume("part", dataset=(POINTS, LABELS), steps=6, progress=False)
    assert rest.step == 4 and rest.config.labels == "uniform"
    rest.fit()
    one, other = collect(whole.parts())[0], collect(rest.parts())[0]
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_trainings_that_cannot_are_refused() -> None:
    for data in (POINTS, (POINTS, LABELS)):
        with pytest.raises(ConfigError, match=r"have no labels\. .* set conditional=True"):
            trainer(data, conditional=False).setup()
    with pytest.raises(ConfigError, match=r"are read while training\. Leave workers out"):
        trainer(Read(), workers=0).setup()
    trainer(Read()).setup()  # read into memory
    with pytest.raises(ConfigError, match="labels cannot be 'even'.* 'data' or 'uniform'"):
        trainer(labels="even")


def test_classes_without_samples_are_said() -> None:
    data = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8)

    class Named(Dataset[Any]):
        classes = ("cat", "dog", "owl")

        def __init__(self, labels: list[int]) -> None:
            self.labels = labels

        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, index: int) -> Any:
            return data[index], self.labels[index]

    said = []
    for labels in ([0, 1, 2] * 4, [0, 2] * 6):
        made = Trainer(
            {"name": "mlp", "hidden": [8]},
            Named(labels),
            conditional=True,
            steps=1,
            batch_size=4,
            progress=False,
        )
        made.setup()
        said.append([notice for notice in made.notices if "no sample is of class" in notice])
    assert said[0] == []
    assert said[1] == [
        "no sample is of class 'dog', of 3 classes in all: what G makes of such labels means "
        "nothing"
    ]
