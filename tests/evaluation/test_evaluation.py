"""Scores of generators and of samples, with their protocols."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import nn

import ganzoo
from ganzoo import evaluation, metrics
from ganzoo.architectures.mlp import MLP
from ganzoo.cli import main
from ganzoo.core.seeds import derive
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import BundleError, CheckpointError, ConfigError, DataError
from ganzoo.evaluation.sources import GeneratedSamples
from ganzoo.features import Features
from ganzoo.features.callable import Callable
from ganzoo.features.classifier import Classifier
from ganzoo.features.inception import Inception
from ganzoo.generators import card
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.metrics import lpips
from ganzoo.metrics.inputs import MetricInputs, Moments

SPEC = SampleSpec(shape=(1, 16, 16))
POINTS = SampleSpec(kind="vector", shape=(2,), value_range=None)
LOOKED: list[int] = []


def cells(samples):
    """Mean brightness of 16 cells."""
    LOOKED.append(len(samples))
    return nn.functional.adaptive_avg_pool2d(samples.float(), 4).mean(1).flatten(1)


def as_they_are(samples):
    return samples.flatten(1)


def net():
    """The same as ``cells``, which can be told by its content."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


FID = {"name": "fid", "extractor": cells}
SWD = '{"name": "swd", "patches": 2, "directions": 4}'
KID = {"name": "kid", "extractor": cells, "subset_size": 20, "subsets": 5}
PRECISION = {"name": "precision", "extractor": cells}


def make(spec=SPEC, preprocessing=None, training=None) -> Generator:
    arch, latent = MLP(hidden=(8,)), LatentSpec(shape=(3,))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = arch.generator(spec, latent)
    config = BundleConfig(
        architecture=arch,
        sample=spec,
        preprocessing=preprocessing,
        latent=latent,
        training=training or {},
    )
    return Generator(net, config)


class Constant(nn.Module):
    """Makes the same sample for each label, or for all."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, z, labels=None):
        picked = torch.zeros(len(z), dtype=torch.int64) if labels is None else labels
        return self.value[picked]


def evaluate(source, *arguments, **options):
    """On the CPU."""
    return ganzoo.evaluate(source, *arguments, device="cpu", **options)


@pytest.fixture(autouse=True)
def _not_looked() -> None:
    LOOKED.clear()


# -- values ---------------------------------------------------------------------------------------


def test_samples_against_themselves(pictures) -> None:
    scores = evaluate(pictures, pictures, [FID, PRECISION])
    assert scores["fid"].value == pytest.approx(0, abs=1e-9)
    assert scores["precision"].value == 1
    assert scores["fid"].protocol["fake"]["count"] == 96


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_it_is_the_metric_of_these_samples(pictures, batch_size) -> None:
    """Floats of a generator, which a function sees, in blocks of 256 with a seed each."""
    generator = make()
    score = evaluate(generator, pictures, [FID], num_fake=300, batch_size=batch_size, cache=False)
    drawn = torch.cat(
        [
            generator.sample(count, seed=derive(0, "evaluate", block))
            for block, count in ((0, 256), (1, 44))
        ]
    )
    parts = []
    for samples in (pictures.float() / 127.5 - 1, drawn):
        moments = Moments()
        moments.add(cells(samples))
        parts.append(MetricInputs(len(samples), moments, spec=SPEC))
    expected = metrics.create(FID).score(*parts).value
    assert score["fid"].value == pytest.approx(expected, rel=1e-5)
    assert score["fid"].protocol["fake"]["count"] == 300


def test_more_fakes_begin_with_the_same_ones(pictures) -> None:
    side = [
        torch.cat(list(GeneratedSamples(make(), count, 3, 64, None).batches(50, slice(0, count))))
        for count in (40, 300)
    ]
    torch.testing.assert_close(side[0], side[1][:40], rtol=0, atol=1e-5)


class Sees(Classifier):
    """Tells how bright a channel is."""

    name: ClassVar[str] = "sees"
    seen: ClassVar[set] = set()

    def build(self, device, precision="auto"):
        class Net(nn.Module):
            def forward(self, samples):
                Sees.seen.add((samples.dtype, tuple(samples.shape[1:])))
                share = samples.float().mean((1, 2, 3)) / 255
                logits = torch.stack((share < 0.5, share >= 0.5), 1).float()
                return Features(share[:, None], logits)

        return Net()

    def weights_hash(self):
        return "none"

    def preparation(self):
        return {}


def test_extractors_that_see_bytes(pictures) -> None:
    Sees.seen.clear()
    dark, bright = torch.zeros(3, 16, 16), torch.full((3, 16, 16), 255)
    bright[0] = 0
    stacks = torch.stack((dark, bright) * 5).to(torch.uint8)
    modes = {"name": "modes", "extractor": Sees()}
    score = evaluate(stacks, metrics=[modes], num_fake=10)["modes"]
    assert (score.value, score.extra["total"]) == (2, 8)  # 000 and 011 of three channels
    assert Sees.seen == {(torch.uint8, (1, 16, 16))}


def test_modes_of_a_mixture() -> None:
    """The mixture is that of the data that the generator was trained on."""
    training = {"dataset": {"name": "ring", "count": 50}}
    generator = make(POINTS, training=training)
    generator.module = Constant(torch.tensor([[1.0, 0.0]]))
    score = evaluate(generator, metrics="modes", num_fake=30)["modes"]
    assert (score.value, score.extra["high_quality"]) == (1, 1)
    assert "real" not in score.protocol
    assert score.protocol["samples"]["form"] == "vector of shape (2,)"
    assert evaluate("ring", metrics=["modes"], num_fake=1000)["modes"].value == 8


def test_vectors_with_features_of_the_callers_own() -> None:
    metric = {"name": "fid", "extractor": as_they_are}
    scores = evaluate({"name": "ring", "seed": 1}, "ring", [metric], num_fake=2000, num_real=2000)
    assert scores["fid"].value < 0.01
    with pytest.raises(ConfigError, match="'inception', which sees pictures"):
        evaluate("ring", "ring")


def test_grey_and_rgb(pictures) -> None:
    colour = pictures.expand(-1, 3, -1, -1).contiguous()
    for one, other in ((pictures, colour), (colour, pictures)):
        scores = evaluate(one, other, [FID, {"name": "swd", "patches": 2, "directions": 4}])
        assert scores["fid"].value == pytest.approx(0, abs=1e-9)
        assert scores["swd"].protocol["samples"]["form"] == "16x16 RGB image"


def test_what_a_metric_sees_does_not_depend_on_the_others(pictures) -> None:
    colour = pictures.expand(-1, 3, -1, -1).contiguous()
    alone = [
        {"name": "modes", "extractor": Sees()},
        {"name": "classifier-score", "extractor": Sees(), "splits": 1},
        "ms-ssim",
    ]
    compared = [FID, KID | {"extractor": Sees()}]
    apart = evaluate(pictures, metrics=alone)
    assert apart["modes"].extra["total"] == 2
    scores = evaluate(pictures, colour, [*compared, *alone])
    for name in ("modes", "classifier-score"):
        assert scores[name] == apart[name]
    assert scores["ms-ssim"].value == apart["ms-ssim"].value
    same = evaluate(colour, colour, compared)
    for name in ("fid", "kid"):
        assert scores[name].value == pytest.approx(same[name].value, abs=1e-9)
        assert scores[name].protocol["samples"]["form"] == "16x16 RGB image"


def test_an_extractor_that_sees_no_rgb_is_refused_before_anything_is_looked_at(pictures) -> None:
    class Grey(Sees):
        """Of greyscale only."""

        name: ClassVar[str] = "grey"
        channels: ClassVar[tuple[int, ...]] = (1,)

    colour = pictures.expand(-1, 3, -1, -1).contiguous()
    metrics = [FID, PRECISION | {"extractor": Grey()}]
    evaluate(pictures, pictures, metrics)
    LOOKED.clear()
    with pytest.raises(ConfigError, match="sees images of 1 channels, and this is a 16x16 RGB"):
        evaluate(pictures, colour, metrics)
    assert LOOKED == []


def test_a_function_may_fill_one_tensor_again_and_again(pictures) -> None:
    held = torch.empty(16, 16)

    def again(samples):
        return held[: len(samples)].copy_(cells(samples))

    found, wanted = (
        evaluate(pictures[:40], pictures, [KID | {"extractor": each}], batch_size=16)["kid"].value
        for each in (again, cells)
    )
    assert found == wanted


def test_reals_are_resized_as_in_training(pictures) -> None:
    preprocessing = Preprocessing(method="resize", original_size=(16, 16), size=(8, 8))
    generator = make(SampleSpec(shape=(1, 8, 8)), preprocessing)
    score = evaluate(generator, pictures, [FID], num_fake=20)["fid"]
    assert score.protocol["samples"] == {
        "form": "8x8 greyscale image",
        "resized": "real from 16x16",
    }
    small = preprocessing.apply(pictures, 0)
    assert evaluate(generator, small, [FID], num_fake=20)["fid"].value == pytest.approx(score.value)


def test_padding_is_cropped(pictures) -> None:
    preprocessing = Preprocessing(method="pad", original_size=(16, 16), size=(20, 20))
    score = evaluate(
        make(SampleSpec(shape=(1, 20, 20)), preprocessing), pictures, [FID], num_fake=20
    )
    assert score["fid"].protocol["samples"] == {"form": "16x16 greyscale image"}


def test_labels(pictures) -> None:
    spec = SampleSpec(shape=(1, 16, 16), classes=("0", "1"))
    generator = make(spec)
    generator.module = Constant(torch.stack((-torch.ones(1, 16, 16), torch.ones(1, 16, 16))))
    labels = torch.tensor([0] * 95 + [1])
    bright = {}
    for how in ("uniform", "data"):
        side = GeneratedSamples(generator, 400, 0, 64, labels if how == "data" else None)
        bright[how] = float((torch.cat(list(side.batches(64, slice(0, 400)))) > 0).float().mean())
    assert 0.4 < bright["uniform"] < 0.6 and bright["data"] < 0.1
    plain, even, score = (
        evaluate(generator, (pictures, labels), [FID], num_fake=60, **how)["fid"]
        for how in ({}, {"labels": "uniform"}, {"labels": "data"})
    )
    assert plain == score and score.protocol["fake"]["labels"] == "data"
    assert even.protocol["fake"]["labels"] == "uniform" and even.value != score.value
    assert evaluation.differences(plain, even) == ("fake.label_shares", "fake.labels")
    without = evaluate(generator, pictures, [FID], num_fake=60)["fid"]
    assert without.protocol["fake"]["labels"] == "uniform"
    with pytest.raises(ConfigError, match="labels='data' needs real samples with the classes"):
        evaluate(generator, pictures, [FID], num_fake=60, labels="data")


def test_shares_are_those_of_names(pictures) -> None:
    names = make(SampleSpec(shape=(1, 16, 16), classes=("0", "1")))
    turned = make(SampleSpec(shape=(1, 16, 16), classes=("1", "0")))
    names.module = Constant(torch.stack((-torch.ones(1, 16, 16), torch.ones(1, 16, 16))))
    turned.module = Constant(torch.stack((torch.ones(1, 16, 16), -torch.ones(1, 16, 16))))
    given = pictures, torch.tensor([0] * 95 + [1])
    one, other = (evaluate(each, given, [FID], num_fake=60)["fid"] for each in (names, turned))
    assert one.value == other.value and not evaluation.differences(one, other)


def test_from_which_labels_classes_were_drawn_is_in_the_protocol(pictures) -> None:
    generator = make(SampleSpec(shape=(1, 16, 16), classes=("0", "1")))
    generator.module = Constant(torch.stack((-torch.ones(1, 16, 16), torch.ones(1, 16, 16))))
    scores = [
        evaluate(generator, (pictures, labels), [FID], num_fake=60, labels="data")["fid"]
        for labels in (torch.arange(96) % 2, (torch.arange(96) > 90).long())
    ]
    assert evaluation.differences(*scores) == ("fake.label_shares",)


def test_a_metric_of_a_generator_alone_draws_no_labels_of_the_data(pictures, monkeypatch) -> None:
    monkeypatch.setattr(lpips, "pretrained", lambda *_: lambda a, b: (a - b).mean((1, 2, 3)))
    monkeypatch.setattr(lpips, "hashes", dict)
    generator = make(SampleSpec(shape=(1, 16, 16), classes=("0", "1")))
    generator.module = Constant(torch.zeros(2, 1, 16, 16))
    given = pictures, torch.arange(96) % 2
    score = evaluate(generator, given, {"name": "ppl", "num_samples": 4}, labels="data")["ppl"]
    assert score.protocol["fake"] == {"source": "generator", "seed": 0, "averaged": None}


# -- one pass, and the cache ----------------------------------------------------------------------


def statistics() -> list[Path]:
    return sorted(Path(os.environ["GANZOO_CACHE"]).glob("statistics/*/*"))


@pytest.fixture
def _counted(monkeypatch) -> None:
    """What nets look at is counted as well."""
    pool = nn.AdaptiveAvgPool2d.forward

    def counting(self, samples):
        LOOKED.append(len(samples))
        return pool(self, samples)

    monkeypatch.setattr(nn.AdaptiveAvgPool2d, "forward", counting)


def by_net() -> list[dict]:
    return [
        metric | {"extractor": Callable.of(net(), name="net")} for metric in (FID, KID, PRECISION)
    ]


@pytest.mark.usefixtures("_counted")
def test_one_pass_for_all_metrics_and_none_for_known_reals(pictures) -> None:
    first = evaluate(make(), pictures, by_net(), num_fake=40)
    assert sum(LOOKED) == 96 + 40
    assert [path.name for path in statistics()] == ["features", "moments"]
    LOOKED.clear()
    assert evaluate(make(), pictures, by_net(), num_fake=40) == first
    assert sum(LOOKED) == 40
    LOOKED.clear()
    other = pictures.clone()
    other[0, 0, 0, 0] ^= 1
    evaluate(make(), other, by_net(), num_fake=40)
    assert sum(LOOKED) == 96 + 40


@pytest.mark.usefixtures("_counted")
@pytest.mark.parametrize("part", ["moments", "features"])
def test_what_is_damaged_in_the_cache_is_made_again(part, pictures) -> None:
    first = evaluate(make(), pictures, by_net(), num_fake=40)
    (folder,) = (path for path in statistics() if path.name == part)
    file = folder / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x40
    file.write_bytes(content)
    LOOKED.clear()
    assert evaluate(make(), pictures, by_net(), num_fake=40) == first
    assert sum(LOOKED) == 96 + 40
    LOOKED.clear()
    evaluate(make(), pictures, by_net(), num_fake=40)
    assert sum(LOOKED) == 40


def test_a_cache_that_cannot_be_written_costs_no_score(pictures, monkeypatch) -> None:
    first = evaluate(make(), pictures, by_net(), num_fake=40, cache=False)

    def full(*_, **__):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert evaluate(make(), pictures, by_net(), num_fake=40) == first
    assert statistics() == []


def test_functions_and_code_of_scripts_are_not_kept(pictures) -> None:
    def brighter(factor):
        return {"name": "fid", "extractor": lambda samples: cells(samples) * factor}

    values = [evaluate(make(), pictures, [brighter(k)], num_fake=40)["fid"] for k in (1, 2)]
    assert values[1].value == pytest.approx(4 * values[0].value, rel=1e-4)
    assert evaluation.differences(*values) == ("extractor.weights",)

    class Script(Inception):
        """As in a notebook."""

        name: ClassVar[str] = "script"
        provider: ClassVar[str] = "__main__"

    assert not Script().cacheable and Inception().cacheable
    assert Script.__module__ == __name__ and statistics() == []


@pytest.mark.usefixtures("_counted")
def test_other_versions_have_statistics_of_their_own(pictures, monkeypatch) -> None:
    evaluate(make(), pictures, by_net(), num_fake=40)
    monkeypatch.setattr("ganzoo.evaluation.extraction.__version__", "another")
    LOOKED.clear()
    evaluate(make(), pictures, by_net(), num_fake=40)
    assert sum(LOOKED) == 96 + 40


@pytest.mark.usefixtures("_small_inception")
def test_so_have_other_versions_of_packages_that_an_extractor_names(pictures, monkeypatch) -> None:
    monkeypatch.setattr(Inception, "packages", ("pillow",))
    first = evaluate(make(), pictures, num_fake=40)["fid"]
    assert first.protocol["versions"]["pillow"] == PIL.__version__
    before = statistics()
    monkeypatch.setattr("ganzoo.evaluation.extraction._version", lambda package: "another")
    second = evaluate(make(), pictures, num_fake=40)["fid"]
    assert len(statistics()) == 2 * len(before) > 0
    assert evaluation.same_protocol(first, second)


def test_what_a_kill_left_half_written_is_removed_after_a_day(pictures) -> None:
    folder = Path(os.environ["GANZOO_CACHE"], "statistics", "0123")
    old, young = folder / ".moments.0123abcd.tmp", folder / ".moments.4567abcd.tmp"
    for each in (old, young):
        each.mkdir(parents=True)
        (each / "weights.safetensors").touch()
    os.utime(old, (0, 0))
    evaluate(make(), pictures, by_net(), num_fake=40)
    assert young.exists() and not old.exists()


def test_nothing_is_kept_unless_asked_for(pictures) -> None:
    evaluate(make(), pictures, [FID], num_fake=40, cache=False)
    assert statistics() == []


# -- protocols ------------------------------------------------------------------------------------


def test_the_protocol_says_all(pictures) -> None:
    np.save("squares.npy", pictures.numpy())
    training = {
        "dataset": {"name": "array", "path": "squares.npy"},
        "average": {"name": "decay", "decay": 0.9},
    }
    score = evaluate(make(training=training), metrics=[KID], num_real=50, num_fake=40, seed=3)[
        "kid"
    ]
    protocol = score.protocol
    assert protocol["metric"] == "kid"
    assert protocol["options"] == {"subsets": 5, "subset_size": 20, "seed": 2020}
    assert protocol["extractor"]["extractor"] == "callable"
    assert (protocol["real"]["dataset"], protocol["real"]["count"]) == ("array", 50)
    assert protocol["fake"] == {"source": "generator", "count": 40, "seed": 3, "averaged": True}
    assert set(protocol["versions"]) == {"ganzoo", "torch"}
    json.dumps(evaluation.plain(score), allow_nan=False)


def test_protocols_that_may_and_may_not_be_compared(pictures) -> None:
    def score(**options):
        return evaluate(make(), pictures, [FID], **{"num_fake": 40, **options})["fid"]

    assert evaluation.same_protocol(score(), score(seed=1))
    assert evaluation.differences(score(), score(num_fake=41)) == ("fake.count",)
    assert evaluation.differences(score(), score(num_real=50)) == ("real.count", "real.sha256")
    assert not evaluation.same_protocol(
        score(), evaluate(make(), pictures, [KID], num_fake=40)["kid"]
    )


def test_sources_of_all_kinds_may_be_compared() -> None:
    def score(**fake):
        return ganzoo.Score(value=1, protocol={"fake": {"count": 4, **fake}})

    plain = score(source="generator", seed=0, averaged=True)
    stored = {"dataset": "huggingface", "repo": "a/b", "subset": "c", "revision": "d"}
    others = (
        score(source="generator", seed=0, averaged=True, labels="uniform"),
        score(source="generator", seed=0, averaged=True, labels="data", label_shares="f"),
        score(**stored, split="test", sha256="e"),
    )
    for other in others:
        assert evaluation.differences(plain, other) == ()
    assert evaluation.differences(others[0], others[1]) == ("fake.label_shares", "fake.labels")


def test_reals_that_decide_nothing_make_no_other_protocol(pictures) -> None:
    alone, beside = (
        evaluate(make(), given, "ms-ssim", num_fake=40)["ms-ssim"] for given in (None, pictures)
    )
    assert "real" in beside.extra and beside.protocol["real_extra"]["count"] == 96
    assert beside.value == alone.value and evaluation.same_protocol(alone, beside)


def test_reals_that_were_asked_for_in_vain_are_noted(pictures) -> None:
    score = evaluate(make(), None, "ms-ssim", num_fake=40, num_real=10)["ms-ssim"]
    assert score.notices == (
        "'num_real' changed nothing: none of these metrics looks at real samples.",
    )
    assert evaluate(make(), pictures, [FID], num_fake=40, num_real=50)["fid"].notices == ()


def test_samples_that_are_compared_with_themselves_are_noted(pictures) -> None:
    same = "The source and the real samples are the same ones"
    assert evaluate(pictures, pictures, [PRECISION])["precision"].notices[0].startswith(same)
    other = evaluate(pictures, pictures, [PRECISION], num_real=95)["precision"]
    assert not any(notice.startswith(same) for notice in other.notices)


def test_what_a_metric_says_of_itself_is_in_the_protocol(pictures, monkeypatch) -> None:
    told, for_dataset = [], []

    def protocol(self, spec, mixture):
        told.append(spec)
        return {"weights": "abc"}

    monkeypatch.setattr("ganzoo.metrics.swd.SWD.protocol", protocol)
    monkeypatch.setattr(
        "ganzoo.metrics.swd.SWD.for_dataset", lambda self, name: for_dataset.append(name) or self
    )
    training = {"dataset": {"name": "mnist"}}
    score = evaluate(make(training=training), pictures, json.loads(SWD), num_fake=40)["swd"]
    assert score.protocol["measured"] == {"weights": "abc"}
    assert told == [SPEC] and for_dataset == ["mnist"]


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "text"),
    [
        ("g", {"metrics": ["fid", "fid"]}, "'fid' is there twice"),
        ("g", {"metrics": []}, "No metric was asked for"),
        ("g", {"metrics": ["fdi"]}, "Did you mean 'fid'"),
        ("g", {"preset": "clean"}, "which none of fid uses"),
        ("g", {"metrics": ["fid"], "preset": "best"}, "preset cannot be 'best'"),
        ("g", {"num_fake": 0}, "num_fake cannot be 0"),
        ("g", {"num_fake": 1}, "needs at least 2 generated samples, not 1"),
        (
            "g",
            {"metrics": [{**KID, "subset_size": 41}]},
            "not 40: give more, or set subset",
        ),
        ("g", {"num_real": 97}, "has 96 samples, fewer than the 97"),
        ("g", {"real_split": "test"}, "has no splits"),
        ("g", {"dataset": None}, "Nothing says what real samples to compare with"),
        ("g", {"dataset": torch.zeros(9, 1, 8, 8)}, "are 8x8 and the generated ones 16x16"),
        ("g", {"dataset": torch.zeros(9, 4, 16, 16)}, "have 4 channels and the generated ones 1"),
        ("g", {"dataset": "ring"}, "of another form"),
        ("data", {"metrics": ["ppl"]}, "looks at the latents of a generator"),
        ("points", {"metrics": ["swd"]}, "is for samples of kind image"),
        ("nan", {}, "NaN or infinity, first in sample 0 of seed 0"),
    ],
)
def test_refusals(source, options, text, pictures) -> None:
    made = {"data": pictures, "points": make(POINTS)}.get(source) if source != "g" else make()
    if source == "nan":
        made = make()
        next(made.module.parameters()).data.fill_(torch.nan)
    arguments = {"dataset": pictures, "metrics": [FID], "num_fake": 40, "cache": False, **options}
    with pytest.raises((ConfigError, DataError, ganzoo.errors.UnknownNameError)) as caught:
        evaluate(made, arguments.pop("dataset"), **arguments)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_a_dataset_that_cannot_be_made_again(pictures) -> None:
    training = {"dataset": ganzoo.datasets.InMemoryDataset.of(pictures).model_dump(mode="json")}
    with pytest.raises(ConfigError, match="trained on cannot be made again"):
        evaluate(make(training=training), metrics=[FID])


def test_missing_weights_are_told_before_anything_is_computed(pictures) -> None:
    metric = {"name": "fid", "extractor": {"name": "inception", "weights": "absent.pth"}}
    with pytest.raises(CheckpointError, match=r"absent\.pth"):
        evaluate(make(), pictures, [metric, PRECISION], num_fake=40)
    assert LOOKED == []


def test_missing_logits_are_told_before_the_reals_are_looked_at(pictures) -> None:
    metric = {"name": "inception-score", "extractor": cells, "splits": 1}
    with pytest.raises(ConfigError, match="gives no logits"):
        evaluate(pictures, pictures, [FID, metric])
    assert sum(LOOKED) == 1


NEIGHBOURS = {"name": "nearest-neighbours", "extractor": cells}


def test_pictures_that_cannot_be_are_refused_first(pictures) -> None:
    Path("old.png").touch()
    for metric, path, text in (
        (NEIGHBOURS | {"shown": 0}, "new.png", "with 'shown' above 0"),
        (NEIGHBOURS, "old.png", "There is a file old.png already"),
        (NEIGHBOURS, "no/new.png", "there is no folder no"),
        (FID, "new.png", "ask for 'nearest-neighbours' too"),
    ):
        with pytest.raises(ConfigError, match=text):
            evaluate(pictures[:40], pictures, [metric], picture=path)
    assert LOOKED == []


def unwritable(*_):
    raise OSError(28, "No space left on device")


def test_a_picture_that_cannot_be_written_costs_no_score(monkeypatch) -> None:
    pictures = torch.randint(0, 256, (60, 1, 16, 16), dtype=torch.uint8)
    monkeypatch.setattr("ganzoo.showing.pictures.write", unwritable)
    score = evaluate(pictures[:40], pictures, [NEIGHBOURS], picture="new.png")
    assert "No space left on device" in score["nearest-neighbours"].notices[-1]


def test_no_such_source() -> None:
    with pytest.raises(BundleError, match="There is no folder"):
        evaluate("./nowhere", "ring")


# -- the command line -----------------------------------------------------------------------------


def run(*tokens: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) if code else _nothing() as caught:
        main(tokens)
    assert not code or caught.value.code == code


class _nothing:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


def folder_of(images: torch.Tensor, folder: str) -> None:
    Path(folder).mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(Path(folder, f"{number}.png"))


@pytest.fixture
def _small_inception(monkeypatch) -> None:
    """The network itself has tests of its own."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())

    class Small(nn.Module):
        def forward(self, pictures):
            assert pictures.dtype == torch.uint8
            return Features(net(pictures.float()))

    monkeypatch.setattr(Inception, "build", lambda self, device, precision: Small())
    monkeypatch.setattr(Inception, "weights_hash", lambda self: "small")


@pytest.mark.usefixtures("_small_inception")
def test_two_folders(pictures, capsys) -> None:
    folder_of(pictures[:40], "a")
    folder_of(pictures[40:], "b")
    line = ("evaluate", "a", "--dataset", "b", "--preset", "pytorch-fid", "--device", "cpu")
    run(*line, "--metrics", "fid,precision", "--precision", "fp32", "--json")
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"fid", "precision"} and found["fid"]["value"] > 0
    protocol = found["fid"]["protocol"]
    assert protocol["extractor"]["preset"] == "pytorch-fid"
    assert (protocol["real"]["count"], protocol["fake"]["count"]) == (56, 40)
    assert not Path("a/metrics.json").exists()


def test_a_bundle_keeps_its_scores(pictures, capsys) -> None:
    np.save("squares.npy", pictures.numpy())
    training = {"dataset": {"name": "array", "path": "squares.npy"}}
    make(training=training).save_pretrained("saved")
    line = ("evaluate", "saved", "--num-fake", "20", "--device", "cpu")
    run(*line, "--metrics", SWD, "--no-write")
    assert not Path("saved/metrics.json").exists()
    run(*line, "--metrics", SWD)
    told = capsys.readouterr().out
    assert "real dataset: array" in told and f"scores: {Path('saved/metrics.json')}" in told
    run(*line, "--metrics", '{"name": "swd", "patches": 0}', "--json", code=2)
    assert capsys.readouterr().out == ""
    Path("saved/metrics.json").write_text('{"other": {"value": 1.5, "protocol": {}}}')
    run(*line, "--metrics", SWD)
    text = Path("saved/metrics.json").read_text(encoding="utf-8")
    assert set(json.loads(text)) == {"other", "swd"}
    rendered = card.render(Path("saved"))
    assert "| swd |" in rendered and "- swd" in rendered
    Generator.from_pretrained("saved")


def test_scores_of_a_generator_that_was_replaced_meanwhile(pictures, capsys, monkeypatch) -> None:
    np.save("squares.npy", pictures.numpy())
    training = {"dataset": {"name": "array", "path": "squares.npy"}}
    make(training=training).save_pretrained("saved")
    score = evaluation.Evaluator.score

    def slow(self):
        other = make(training=training)
        with torch.no_grad():
            next(other.module.parameters()).add_(1)
        other.save_pretrained("saved")
        return score(self)

    monkeypatch.setattr(evaluation.Evaluator, "score", slow)
    line = ("evaluate", "saved", "--num-fake", "20", "--device", "cpu", "--metrics", SWD, "--json")
    run(*line, code=2)
    told = capsys.readouterr()
    assert json.loads(told.out)["swd"]["value"] > 0
    assert "holds another generator now" in told.err
    assert not Path("saved/metrics.json").exists()


def test_scores_that_cannot_be_saved_are_shown(pictures, capsys, monkeypatch) -> None:
    np.save("squares.npy", pictures.numpy())
    training = {"dataset": {"name": "array", "path": "squares.npy"}}
    make(training=training).save_pretrained("saved")
    line = ("evaluate", "saved", "--num-fake", "20", "--device", "cpu", "--metrics", SWD, "--json")
    with monkeypatch.context() as patch:
        patch.setattr("ganzoo.files.storage.write_json", unwritable)
        run(*line, code=2)
    told = capsys.readouterr()
    assert json.loads(told.out)["swd"]["value"] > 0
    assert "No space left on device" in told.err
    Path("saved/metrics.json").write_text("damaged")
    monkeypatch.setattr("ganzoo.evaluation.Evaluator.score", lambda self: pytest.fail("computed"))
    run(*line, code=2)
    assert "holds no scores" in capsys.readouterr().err


def test_json_that_is_none(capsys) -> None:
    run("evaluate", "ring", "--metrics", "[swd", code=2)
    assert "begins as JSON does and is none" in capsys.readouterr().err
