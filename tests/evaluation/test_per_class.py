"""A score of each class, and their mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import ganzoo
from ganzoo import evaluation, metrics
from ganzoo.architectures.mlp import MLP
from ganzoo.cli import main
from ganzoo.core.seeds import derive
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import ConfigError, DataError
from ganzoo.evaluation import EvalOptions, Evaluator
from ganzoo.evaluation.sources import chosen
from ganzoo.features.callable import Callable
from ganzoo.generators import card
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.generators.protocols import described
from ganzoo.metrics.inputs import MetricInputs, Moments

NAMES = ("owl", "cat", "dog")  # the generator's order
LOOKED: list[int] = []


def cells(samples):
    """Mean brightness of four cells."""
    LOOKED.append(len(samples))
    return nn.functional.adaptive_avg_pool2d(samples.float(), 2).mean(1).flatten(1)


FID = {"name": "fid", "extractor": cells}
KID = {"name": "kid", "extractor": cells, "subset_size": 4, "subsets": 2}


class Bright(nn.Module):
    """Makes noise that is brighter for later classes; (N, 1, 8, 8) of (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.grain = nn.Parameter(0.1 * torch.randn(3, 64, generator=seeded(1)))

    def forward(self, z, labels=None):
        level = torch.zeros(len(z)) if labels is None else 0.4 * labels - 0.6
        return (level[:, None] + z @ self.grain).reshape(-1, 1, 8, 8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(classes: tuple[str, ...] | None = NAMES) -> Generator:
    spec = SampleSpec(shape=(1, 8, 8), classes=classes)
    config = BundleConfig(architecture=MLP(), sample=spec, latent=LatentSpec(shape=(3,)))
    return Generator(Bright(), config)


def reals(counts=(20, 12, 16)):
    """Pictures of 8x8 with the names of their classes, and those of each class by its name.

    The names are in the order of the alphabet, and so are the classes that are found in them.
    """
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=seeded(2))]
    noise = 40 * torch.randn(len(labels), 1, 8, 8, generator=seeded(3))
    pictures = (60 * labels[:, None, None, None] + 60 + noise).round().clamp(0, 255).byte()
    names = sorted(NAMES)
    by_name = {name: pictures[labels == number] for number, name in enumerate(names)}
    return (pictures, [names[label] for label in labels.tolist()]), by_name


def generated(generator: Generator, name: str, count: int) -> torch.Tensor:
    """What the generator makes of a class, as floats, in blocks of 256 with a seed each."""
    number = generator.spec.classes.index(name)
    parts = [
        generator.sample(
            min(256, count - start),
            seed=derive(0, "evaluate", start // 256),
            labels=torch.full((min(256, count - start),), number),
        )
        for start in range(0, count, 256)
    ]
    return torch.cat(parts)


def alone(metric, real, fake):
    """The score of tensors by the metric itself."""
    parts = []
    for samples in (real.float() / 127.5 - 1, fake):
        moments, seen = Moments(), cells(samples)
        moments.add(seen)
        spec = SampleSpec(shape=(1, 8, 8))
        parts.append(MetricInputs(len(samples), moments, features=seen, spec=spec))
    return metrics.create(metric).score(*parts).value


def evaluate(source, *arguments, **options):
    """Of each class, on the CPU."""
    return ganzoo.evaluate(source, *arguments, device="cpu", per_class=True, **options)


@pytest.fixture(autouse=True)
def _not_looked() -> None:
    LOOKED.clear()


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [30, 300])
def test_each_class_is_scored_by_itself(each) -> None:
    """By the metric's formula on samples of that class alone; the order of classes differs."""
    given, by_name = reals()
    scores = evaluate(make(), given, [FID, KID], num_fake=3 * each + 2, cache=False)
    assert list(scores) == ["fid-per-class", "kid-per-class"]
    for metric in (FID, KID):
        score = scores[f"{metric['name']}-per-class"]
        wanted = {
            name: alone(metric, by_name[name], generated(make(), name, each)) for name in NAMES
        }
        assert score.extra["per_class"] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert list(score.extra["per_class"]) == list(NAMES)
        assert score.value == pytest.approx(sum(wanted.values()) / 3, rel=1e-4)
        assert score.protocol["fake"]["count"] == 3 * each
    whole = ganzoo.evaluate(make(), given, [FID], num_fake=3 * each, device="cpu")["fid"]
    assert whole.value != pytest.approx(scores["fid-per-class"].value, rel=0.01)


def test_a_generator_that_swaps_labels_is_found_out() -> None:
    given, _ = reals()
    right = make(("cat", "dog", "owl"))  # brighter in the order of the data's classes
    wrong = make(("owl", "dog", "cat"))
    fids = [
        evaluate(each, given, [FID], num_fake=90)["fid-per-class"].value for each in (right, wrong)
    ]
    plain = [
        ganzoo.evaluate(each, given, [FID], num_fake=90, device="cpu", labels="uniform")["fid"]
        for each in (right, wrong)
    ]
    assert fids[1] > 2 * fids[0] and plain[0].value == plain[1].value


def test_metrics_that_need_no_real_samples() -> None:
    ring = make_points()
    score = ganzoo.evaluate(ring, metrics="modes", per_class=True, num_fake=80, device="cpu")
    score = score["modes-per-class"]
    assert set(score.extra["per_class"].values()) == {1.0} and score.value == 1
    assert "real" not in score.protocol
    assert {**score.protocol["per_class"], "division": ""} == {
        "classes": 8,
        "each": 10,
        "division": "",
    }


class Places(nn.Module):
    """Makes the centre of each of 8 places on a circle."""

    def __init__(self) -> None:
        super().__init__()
        angles = torch.arange(8) * torch.pi / 4
        self.centres = nn.Parameter(torch.stack((angles.cos(), angles.sin()), 1))

    def forward(self, z, labels=None):
        return self.centres[labels]


def make_points() -> Generator:
    classes = tuple(f"mode {number}" for number in range(8))
    spec = SampleSpec(kind="vector", shape=(2,), value_range=None, classes=classes)
    config = BundleConfig(
        architecture=MLP(),
        sample=spec,
        latent=LatentSpec(shape=(3,)),
        training={"dataset": {"name": "ring", "count": 200}},
    )
    return Generator(Places(), config)


def test_fewer_real_samples_are_divided_too() -> None:
    given, _ = reals()
    score = evaluate(make(), given, [FID], num_fake=30, num_real=24)["fid-per-class"]
    assert score.protocol["real"]["count"] == 24
    pictures, names = given
    rows = chosen(ganzoo.datasets.create(ganzoo.datasets.as_dataset(given)), 48, 24).tolist()
    same = pictures[rows], [names[row] for row in rows]
    by_hand = evaluate(make(), same, [FID], num_fake=30)["fid-per-class"]
    assert score.extra == by_hand.extra
    assert score.protocol["per_class"] == by_hand.protocol["per_class"]


# -- protocol, cache and another generator --------------------------------------------------------


def test_the_protocol_tells_it_from_other_scores() -> None:
    given, _ = reals()
    score = evaluate(make(), given, [FID], num_fake=31)["fid-per-class"]
    assert score.protocol["metric"] == "fid"
    said = score.protocol["per_class"]
    assert (said["classes"], said["each"], said["fewest"]) == (3, 10, 12)
    assert "mean over 3 classes, each by itself, with 10 generated samples of each" in described(
        score.protocol
    )
    how = {"num_fake": 30, "device": "cpu", "labels": "uniform"}
    whole = ganzoo.evaluate(make(), given, [FID], **how)["fid"]
    assert {key.partition(".")[0] for key in evaluation.differences(score, whole)} == {"per_class"}
    again = evaluate(make(("cat", "dog", "owl")), given, [FID], num_fake=30)["fid-per-class"]
    assert evaluation.same_protocol(score, again)  # in whatever order a generator has them
    pictures, names = given
    other = [*names[1:], names[0]]
    moved = evaluate(make(), (pictures, other), [FID], num_fake=30)["fid-per-class"]
    assert "per_class.division" in evaluation.differences(score, moved)


def test_real_samples_of_each_class_are_looked_at_once() -> None:
    given, _ = reals()
    fid = {"name": "fid", "extractor": Callable.of(cells, name="cells")}
    first = evaluate(make(), given, [fid], num_fake=30)["fid-per-class"]
    assert sum(LOOKED) == 48 + 30
    LOOKED.clear()
    assert evaluate(make(), given, [fid], num_fake=30)["fid-per-class"] == first
    assert sum(LOOKED) == 30


def test_an_evaluator_scores_other_generators_too() -> None:
    given, _ = reals()
    evaluator = Evaluator(
        make(), given, [FID], EvalOptions(device="cpu", per_class=True, num_fake=30, cache=False)
    )
    own, again = evaluator.score(), evaluator.score()
    assert own == again
    darker = make()
    with torch.no_grad():
        darker.module.grain.zero_()
    assert evaluator.score(darker) == evaluate(darker, given, [FID], num_fake=30, cache=False)
    LOOKED.clear()
    evaluator.score()
    assert sum(LOOKED) == 30  # of the real ones nothing


def test_notices_of_some_classes_are_one() -> None:
    class Noticing(metrics.get("fid")):
        """Says something of each class, and something of small ones."""

        name = "noticing"

        def compute(self, real, fake):
            few = (f"only {real.count}",) if real.count < 18 else ()
            return metrics.Result(float(real.count), notices=("of all", *few))

    given, _ = reals()
    score = evaluate(make(), given, [Noticing(extractor=cells)], num_fake=30)
    score = score["noticing-per-class"]
    assert score.extra["per_class"] == {"owl": 16, "cat": 20, "dog": 12} and score.value == 16
    assert score.notices == (
        "of all",
        "Class 'owl': only 16",
        "1 other class has notices of its own.",
    )


# -- what is refused ------------------------------------------------------------------------------


def refused(source, *arguments, error=ConfigError, **options) -> str:
    with pytest.raises(error) as caught:
        evaluate(source, *arguments, **options)
    assert LOOKED == []
    return str(caught.value)


def test_who_knows_no_classes() -> None:
    given, _ = reals()
    text = refused(make(None), given, [FID])
    assert "this one knows none. Give one that was trained with conditional=True, or leave" in text
    assert "Give a dataset with labels, or leave per_class out." in refused(make(), given[0], [FID])
    assert "the source is a dataset. Give a generator" in refused(given, given, [FID])


def test_other_classes() -> None:
    (pictures, names), _ = reals()
    numbers = torch.tensor([NAMES.index(name) for name in names])  # as many, and none of the names
    for labels in (numbers, ["emu" if name == "owl" else name for name in names]):
        text = refused(make(), (pictures, labels), [FID])
        assert text.startswith("The generator knows the classes 'owl', 'cat', 'dog', and the real ")
        assert "Give real samples whose classes have the same names" in text
    many = make(tuple(f"class {number}" for number in range(12)))
    assert "'class 4' and 7 more, and" in refused(many, (pictures, names), [FID])


def test_too_few_samples_of_a_class() -> None:
    given, _ = reals((20, 3, 1))
    kid = {**KID, "subset_size": 4}
    text = refused(make(), given, [kid], num_fake=30, error=DataError)
    assert text == (
        "The metric 'kid' needs at least 4 real 'owl' samples, not 1: give more, or set "
        "subset_size lower."
    )
    given, _ = reals()
    text = refused(make(), given, [kid], num_fake=11, error=DataError)
    assert text == (
        "The metric 'kid' needs at least 4 generated 'dog' samples, not 3: give more, or set "
        "subset_size lower. per_class divides num_fake evenly among 3 classes."
    )
    assert "and 2 samples are fewer. Give more." in refused(make(), given, [FID], num_fake=2)


def test_what_has_no_meaning_with_it() -> None:
    given, _ = reals()
    assert "Leave one of them out." in refused(make(), given, [FID], labels="data")
    text = refused(make(), given, [{"name": "ppl", "num_samples": 4}])
    assert text.startswith("The metric 'ppl' draws samples of its own, of all classes together.")
    near = {"name": "nearest-neighbours", "extractor": cells}
    text = refused(make(), given, [near], num_fake=30, picture="pairs.png")
    assert "Leave one of them out." in text and not Path("pairs.png").exists()


# -- the command line -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A conditional training on eight places."""
    folder = tmp_path_factory.mktemp("run") / "ring"
    settings = {"steps": 2, "batch_size": 8, "latent": 2, "device": "cpu", "conditional": True}
    dataset = {"name": "ring", "count": 200, "sd": 0.3}
    ganzoo.Trainer({"name": "mlp", "hidden": [4]}, dataset, out=str(folder), **settings).fit()
    return folder


def test_the_command(run, capsys) -> None:
    line = ["evaluate", str(run), "--metrics", "modes", "--num-fake", "80", "--device", "cpu"]
    main(line)
    capsys.readouterr()
    main([*line, "--per-class"])
    shown = capsys.readouterr().out
    assert "modes-per-class" in shown and "per_class each: 10" in shown
    rows = [row.split() for row in shown.splitlines() if row.startswith("mode ")]
    assert [row[:2] for row in rows] == [["mode", str(number)] for number in range(8)]
    saved = json.loads((run / "generator" / "metrics.json").read_text())
    assert set(saved) == {"modes", "modes-per-class"}
    values = saved["modes-per-class"]["extra"]["per_class"]
    assert [float(row[2]) for row in rows] == list(values.values())
    assert saved["modes-per-class"]["value"] == sum(values.values()) / 8
    assert "modes-per-class" in card.render(run / "generator")
    main([*line, "--per-class", "--json", "--no-write"])
    assert json.loads(capsys.readouterr().out)["modes-per-class"]["extra"]["per_class"] == values


def test_the_command_refuses_it_where_there_are_no_classes(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "ring", "--metrics", "modes", "--per-class"])
    assert "Give a generator, or leave per_class out." in " ".join(capsys.readouterr().err.split())
