"""Every pair of methods trains and resumes to the bit, or is refused before training.

The factors of a training are its architecture with samples, its loss, penalty and augmentation, how
labels enter, and its precision. Each pair of their values that is not in ``REFUSED`` is in one of
``ROWS``, which few trainings cover. Whatever is built in is in it without further code, but for an
architecture, which needs tiny nets here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Set
from itertools import combinations, product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_args

import pytest
import torch

import ganzoo
from ganzoo import architectures, augmentations, losses, penalties
from ganzoo.core.registry import Registry
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets import Dataset, Samples
from ganzoo.datasets.in_memory import InMemoryDataset
from ganzoo.errors import ConfigError
from ganzoo.training import parts

DRAWN = torch.Generator().manual_seed(0)
LABELS = torch.arange(12) % 3


class Letters(Dataset):
    """Sequences over an alphabet of 5, one-hot."""

    name: ClassVar[str] = "letters-of-the-matrix"

    def load(self) -> Samples:
        letters = torch.randint(5, (12, 6), generator=torch.Generator().manual_seed(1))
        spec = SampleSpec(
            kind="sequence", shape=(5, 6), value_range=(0.0, 1.0), classes=("a", "b", "c")
        )
        onehot = torch.nn.functional.one_hot(letters, 5).movedim(2, 1).float().contiguous()
        return Samples(onehot, spec, labels=LABELS, stored_range=(0.0, 1.0))


def images(side: int) -> Any:
    return torch.randint(0, 256, (12, 3, side, side), generator=DRAWN).byte(), LABELS


DATA: dict[str, Any] = {
    "images": images(16),
    "images of 20": images(20),
    "vectors": (torch.randn(12, 8, generator=DRAWN), LABELS),
    "audio": InMemoryDataset.of(
        (torch.rand(12, 2, 16, generator=DRAWN) * 2 - 1, LABELS),
        sample_kind="audio",
        stored_range=(-1.0, 1.0),
    ),
    "sequences": Letters(),
}
TINY: dict[str, dict[str, Any]] = {
    "dcgan": {"channels": 2},
    "mirror": {"hidden": [8], "code": 6},
    "mlp": {"hidden": [8]},
    "upsample": {"channels": 2, "d_channels": 2},
}
"""Sizes of each architecture's nets."""
NETS: list[tuple[str, dict[str, Any], str]] = [
    ("dcgan", {}, "images"),
    ("dcgan", {"d_norm": "layer", "d_deviation": 2}, "images"),
    ("dcgan", {"d_norm": "none", "d_spectral": True}, "images"),
    ("mirror", {}, "images"),
    ("mirror", {}, "sequences"),
    ("mirror", {"d_spectral": True}, "vectors"),
    ("mlp", {}, "audio"),
    ("mlp", {"d_spectral": True}, "images"),
    ("mlp", {}, "vectors"),
    ("upsample", {}, "images of 20"),
    ("upsample", {"d_spectral": True}, "images of 20"),
]
"""Architectures, options and samples with which they are tried."""
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "ada": [{"start": 0.5, "interval": 3, "ramp": 100}],  # moves in the third step
    "consistency": [{}, {"fake": True, "latent": True}, {"real": False, "latent": True}],
    "orthogonal": [{"nets": "both"}],
    "path-length": [{"every": 2}],  # has state, and is due after resuming
}
"""Ways in which a method is tried; the others at their defaults."""
LABELLED: dict[str, dict[str, Any] | None] = {
    "no labels": None,
    "concat": {},
    "embedding": {"condition": "embedding", "label_width": 3},
    "batch-norm": {"condition": "batch-norm"},
    "projection": {"d_condition": "projection"},
    "auxiliary": {"d_condition": "auxiliary"},
}
"""Options of the architecture by which labels enter; the others are concat."""


def built_in(registry: Registry[Any]) -> list[str]:
    return [
        entry.name
        for entry in registry.entries()
        if entry.distribution == "ganzoo" and entry.listed
    ]


def titled(name: str, options: Mapping[str, Any]) -> str:
    return " ".join([name, *(f"{key}={value}" for key, value in options.items())])


def ways(registry: Registry[Any]) -> dict[str, dict[str, Any]]:
    """The components of a registry with the options that they are tried with, by a title."""
    return {
        titled(name, options): {"name": name, **options}
        for name in built_in(registry)
        for options in OPTIONS.get(name, [{}])
    }


ARCHITECTURES = {
    f"{titled(name, options)}, {data}": ({"name": name, **TINY[name], **options}, data)
    for name, options, data in NETS
}
PENALTIES: dict[str, Any] = {"no penalty": None, **ways(penalties.registry)}
AUGMENTATIONS: dict[str, Any] = {"no augmentation": None, **ways(augmentations.registry)}
FACTORS: dict[str, list[str]] = {
    "loss": built_in(losses.registry),
    "penalty": list(PENALTIES),
    "arch": list(ARCHITECTURES),
    "labels": list(LABELLED),
    "augmentation": list(AUGMENTATIONS),
    "precision": ["fp32", "bf16"],
}

Row = Mapping[str, str]
"""A value of each factor, or of some."""
Pair = tuple[tuple[str, str], ...]
"""Values of two factors, sorted."""


class Refused(NamedTuple):
    """Values of two factors, each of one with each of the other, and why they are refused.

    Values are those that match an expression wholly.
    """

    one: tuple[str, str]
    other: tuple[str, str]
    says: str

    def pairs(self) -> set[Pair]:
        sides = [
            [(factor, value) for value in FACTORS[factor] if re.fullmatch(values, value)]
            for factor, values in (self.one, self.other)
        ]
        return {tuple(sorted(pair)) for pair in product(*sides)}


AUXILIARY = "auxiliary-classifier"
OTHER_WAYS = "no labels|concat|embedding|batch-norm|projection"
REFUSED = [
    Refused(
        ("augmentation", "ada.*|diffaugment"),
        ("arch", "(mlp|mirror).*, (audio|sequences|vectors)"),
        "changes images, not .*Leave it out, or take 'noise'",
    ),
    Refused(
        ("augmentation", "ada.*"),
        ("loss", "relativistic|relativistic-average|wasserstein"),
        "adapts to the signs of D's logits, .*Set ramp to none",
    ),
    Refused(
        ("penalty", "consistency|consistency fake=True latent=True"),
        ("arch", "(mlp|mirror).*, vectors"),
        "have no axis to move along. Set real and fake to false and latent to true",
    ),
    Refused(
        ("labels", "batch-norm"),
        ("arch", "(mlp|mirror|upsample).*, .*"),
        "condition cannot be 'batch-norm': input should be 'concat' or 'embedding'",
    ),
    Refused(
        ("loss", "auxiliary-classifier"),
        ("labels", OTHER_WAYS),
        "needs labels, .*Give data with labels and set conditional=True|"
        "needs class logits .*Set its option d_condition to auxiliary",
    ),
    Refused(
        ("penalty", "auxiliary-classifier"),
        ("labels", OTHER_WAYS),
        "needs labels, .*Give data with labels and set conditional=True|"
        "needs class logits .*Set its option d_condition to auxiliary",
    ),
]
"""What is refused whatever else is chosen; all other pairs train."""
NOT_TOLD = "tells classes, and neither loss .* trains it to, .*Add penalty 'auxiliary-classifier'"
FIX = re.compile(r"\b(add|give|leave|set|should be|take)\b", re.IGNORECASE)


def pairs_of(row: Row) -> set[Pair]:
    return {tuple(sorted(pair)) for pair in combinations(row.items(), 2)}


def untold(row: Row) -> bool:
    """Whether D tells classes, and nothing trains it to."""
    chosen = row.get("loss", AUXILIARY), row.get("penalty", AUXILIARY)
    return row.get("labels") == "auxiliary" and AUXILIARY not in chosen


ALL: set[Pair] = {
    tuple(sorted(((one, value), (other, another))))
    for one, other in combinations(FACTORS, 2)
    for value, another in product(FACTORS[one], FACTORS[other])
}
REASONS = {pair: refused.says for refused in REFUSED for pair in refused.pairs()}


def completed(start: Row, refused: Set[Pair], left: Set[Pair], chance: random.Random) -> Row | None:
    """A row with some values, and others that are not refused and cover most of what is left."""
    row = dict(start)
    for factor in chance.sample(rest := [each for each in FACTORS if each not in row], len(rest)):
        gains = {}
        for value in FACTORS[factor]:
            new = {tuple(sorted(((factor, value), item))) for item in row.items()}
            if not new & refused and not untold({**row, factor: value}):
                gains[value] = len(new & left), chance.random()
        if not gains:
            return None
        row[factor] = max(gains, key=gains.__getitem__)
    return {factor: row[factor] for factor in FACTORS}


def covering() -> list[Row]:
    """Few rows that cover each pair that is not refused: greedily, the same ones each time."""
    chance, left, rows = random.Random(0), ALL - REASONS.keys(), []
    for pair in sorted(left):
        while pair in left:
            tries = [completed(dict(pair), REASONS.keys(), left, chance) for _ in range(6)]
            found = [row for row in tries if row is not None]
            rows.append(max(found, key=lambda row: len(pairs_of(row) & left)))
            left -= pairs_of(rows[-1])
    return rows


ROWS = covering()


def title(row: Row) -> str:
    return "; ".join(row.values())


def trainer(row: Row, **more: Any) -> ganzoo.Trainer:
    options, data = ARCHITECTURES[row["arch"]]
    labelled, penalty = LABELLED[row["labels"]], PENALTIES[row["penalty"]]
    settings: dict[str, Any] = {
        "loss": row["loss"],
        "penalties": [] if penalty is None else [penalty],
        "augmentation": AUGMENTATIONS[row["augmentation"]],
        "precision": row["precision"],
        "conditional": labelled is not None,
        "latent": 7,
        "batch_size": 4,
        "steps": 3,
        "device": "cpu",
        "progress": False,
    }
    if row["loss"] == "info":
        settings["latent"] = {"shape": 7, "categorical": [3], "continuous": 2}
    return ganzoo.Trainer({**options, **(labelled or {})}, DATA[data], **(settings | more))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Such small nets are fastest in one, on a busy machine by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def _letters() -> Iterator[None]:
    """The sequences are known in these tests only: a run's settings name them."""
    ganzoo.datasets.register(Letters.name)(Letters)
    yield
    ganzoo.datasets.registry.unregister(Letters.name)


def test_each_pair_is_trained_or_refused(record_property: Any) -> None:
    trained = set().union(*map(pairs_of, ROWS))
    assert trained | REASONS.keys() == ALL
    assert not trained & REASONS.keys()
    counts = {"trainings": len(ROWS), "trained": len(trained), "refused": len(REASONS)}
    for name, count in counts.items():
        record_property(name, count)
    print(counts)
    assert len(ROWS) < 250


def test_each_way_of_a_method_is_in_it() -> None:
    assert {name for name, _, _ in NETS} == set(built_in(architectures.registry))
    assert set(OPTIONS) <= {*built_in(penalties.registry), *built_in(augmentations.registry)}
    for name in TINY:
        fields = architectures.get(name).model_fields
        for option in ("condition", "d_condition"):
            usual = fields[option].default
            tried = {(options or {}).get(option, usual) for options in LABELLED.values()}
            assert tried >= {*get_args(fields[option].annotation)}, name
    assert {data for _, _, data in NETS} == set(DATA)


@pytest.mark.parametrize("row", ROWS, ids=title)
def test_it_trains_and_resumes_to_the_bit(row: Row, tmp_path: Path) -> None:
    whole = trainer(row)
    for step in whole.iterations():
        assert all(value.isfinite() for value in step.scalars.values()), step.scalars
        if whole.step == 2:
            kept = whole.save_checkpoint(tmp_path)
    resumed = trainer(row)
    resumed.load_checkpoint(kept)
    assert resumed.step == 2
    assert len(list(resumed.iterations())) == 1
    assert_same(whole, resumed)


def assert_same(one: ganzoo.Trainer, other: ganzoo.Trainer) -> None:
    """Nets, averages, optimizers, random numbers and whatever else has a state are the same."""
    (tensors, values), (others, other_values) = (
        parts.collect(each.parts()) for each in (one, other)
    )
    assert tensors.keys() == others.keys()
    for name in ("generator", "discriminator", "ema"):
        assert any(key.startswith(f"{name}.") for key in tensors), tensors.keys()
    assert not [key for key, value in tensors.items() if not torch.equal(value, others[key])]
    assert values == other_values


def refusal_of(row: Row, tmp_path: Path) -> str:
    with pytest.raises(ConfigError) as caught:  # of which UnsupportedSampleError is one
        trainer(row, out=tmp_path / "run").setup()
    assert not (tmp_path / "run").exists()
    assert FIX.search(str(caught.value)), caught.value
    return str(caught.value)


@pytest.mark.parametrize("pair", sorted(REASONS), ids=lambda pair: "; ".join(map(" ".join, pair)))
def test_it_is_refused_before_training(pair: Pair, tmp_path: Path) -> None:
    chance = random.Random(str(pair))
    for _ in range(3):
        row = completed(dict(pair), REASONS.keys() - {pair}, frozenset(), chance)
        assert row is not None
        assert re.search(REASONS[pair], refusal_of(row, tmp_path)), title(row)


UNTOLD = [
    (loss, penalty)
    for number, loss in enumerate(FACTORS["loss"])
    for penalty in FACTORS["penalty"][number % 3 :: 3]
    if AUXILIARY not in (loss, penalty)
]


@pytest.mark.parametrize(("loss", "penalty"), UNTOLD)
def test_a_discriminator_that_tells_classes_and_is_not_taught_is_refused(
    loss: str, penalty: str, tmp_path: Path
) -> None:
    start = {"loss": loss, "penalty": penalty, "labels": "concat"}
    row = completed(start, REASONS.keys(), frozenset(), random.Random(loss + penalty))
    assert row is not None
    assert re.search(NOT_TOLD, refusal_of({**row, "labels": "auxiliary"}, tmp_path)), title(row)


def with_each_value() -> list[Row]:
    """Few of the rows, that have each value of each factor."""
    left, rows = {(factor, value) for factor in FACTORS for value in FACTORS[factor]}, []
    while left:
        rows.append(max(ROWS, key=lambda row: len(left & row.items())))
        left -= rows[-1].items()
    return rows


@pytest.mark.parametrize("row", with_each_value(), ids=title)
def test_a_run_that_is_resumed_is_the_same_run(row: Row, tmp_path: Path) -> None:
    whole = trainer(row, out=tmp_path / "whole")
    whole.fit()
    cut = trainer(row, steps=2, out=tmp_path / "cut").fit()
    data = DATA[ARCHITECTURES[row["arch"]][1]]
    resumed = ganzoo.Trainer.resume(cut, dataset=data, steps=3, progress=False)
    assert resumed.step == 2
    resumed.fit()
    for name, net in whole.nets().items():
        other = resumed.nets()[name].state_dict()
        assert all(torch.equal(value, other[key]) for key, value in net.state_dict().items()), name
