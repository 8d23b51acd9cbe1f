"""Advice on scores and on the weights of extractors."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import ganzoo
from advice_followed.components import (
    Points,
    Seeing,
    const,
    loads,
    registered,
    registered_for_labels,
)
from advice_followed.helpers import (
    Line,
    Made,
    Remedy,
    cases,
    extra,
    flat,
    floats,
    found,
    helped,
    kid,
    literal,
    maker,
    options_in,
    pictures,
    pixels,
    run_of,
    said,
)
from ganzoo import architectures, features, metrics
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets import Samples
from ganzoo.features import Features
from ganzoo.features.callable import Callable as Function
from ganzoo.features.classifier import ClassifierNet
from ganzoo.features.weights import Published, load
from ganzoo.metrics import Metric
from ganzoo.metrics.inputs import MetricInputs, Moments


def score(source: Any, dataset: Any, *chosen: Any, **options: Any) -> Any:
    options = {"cache": False, "device": "cpu", **options}
    return ganzoo.evaluate(source, dataset, [*chosen], **options)


def near(**options: Any) -> Metric:
    return metrics.create({"name": "nearest-neighbours", "extractor": Function.of(flat), **options})


def classified(samples: torch.Tensor) -> Features:
    return Features(flat(samples.float()), flat(samples.float())[:, :4])


def two(samples: torch.Tensor) -> Features:
    return Features(flat(samples), flat(samples)[:, :1])


def gathered(count: int = 24, **more: Any) -> MetricInputs:
    source = torch.Generator().manual_seed(0)
    made = {name: torch.rand(count, 5, generator=source) for name in ("features", "logits")}
    return MetricInputs(**{"count": count, "spec": SampleSpec(shape=(1, 8, 8)), **made, **more})


def of_size(size: int) -> MetricInputs:
    moments = Moments()
    moments.add(torch.rand(24, size))
    return gathered(moments=moments)


FID = metrics.create({"name": "fid", "extractor": Function.of(flat)})
OTHERS = pixels() // 2
DUPLICATES = np.concatenate([pixels(3)] * 12)
POINTS = floats(24, 3)


def sound(**options: Any) -> None:
    score(pixels(), OTHERS, kid(), **options)


def of_maker(data: Any, **options: Any) -> None:
    score(maker(), data, kid(), num_fake=10, **options)


def split(extractor: Any = classified, **options: Any) -> Any:
    """A metric of logits."""
    chosen = {"name": "inception-score", "extractor": Function.of(extractor), **options}
    return metrics.create(chosen)


def modes(extractor: Any = classified, **options: Any) -> Any:
    return metrics.create({"name": "modes", "extractor": Function.of(extractor), **options})


SCORES: dict[str, Remedy] = {
    "a metric twice": (
        lambda: ganzoo.evaluate(pixels(), pixels(), [kid(), kid()]), "leave one of them out", sound,
    ),
    "a preset for what is no Inception": (lambda: sound(preset="clean"), "Leave it out", sound),
    "images for points: swd": (
        lambda: score("ring", "ring", "swd"), "eave it out", lambda: score("ring", "ring", "modes"),
    ),
    "images for points: ms-ssim": (
        lambda: score("ring", "ring", "ms-ssim"), "eave it out",
        lambda: score("ring", "ring", "modes"),
    ),
    "images for points: fid": (
        lambda: score("ring", "ring", "fid"), "eave it out", lambda: score("ring", "ring", "modes"),
    ),
    "nothing to compare with": (lambda: of_maker(None), "(?i:give)", lambda: of_maker(pixels())),
    "no batches": (
        lambda: sound(batch_size=0), r"greater than or equal to (\d+)",
        lambda least: sound(batch_size=int(least)),
    ),
    "batches below zero": (
        lambda: sound(batch_size=-3), r"greater than or equal to (\d+)",
        lambda least: sound(batch_size=int(least)),
    ),
    "a picture of points": (
        lambda: score(POINTS, POINTS + 1, near(), picture="x.png"),
        "[Ll]eave (?:it|the picture) out", lambda: score(pixels(), OTHERS, near(), picture="x.png"),
    ),
    "no logits: another extractor": (
        lambda: score(pixels(), None, split(flat, splits=1)), "choose another extractor or metric",
        lambda: score(pixels(), None, split(splits=1)),
    ),
    "no logits: another metric": (
        lambda: score(pixels(), None, split(flat, splits=1)), "choose another extractor or metric",
        sound,
    ),
    "too many parts: fewer": (
        lambda: score(pixels(6), None, split()), r"give more, or set (\w+) lower",
        lambda option: score(pixels(6), None, split(**{option: 2})),
    ),
    "too many parts: more samples": (
        lambda: score(pixels(6), None, split()), r"give more, or set \w+ lower",
        lambda: score(pixels(24), None, split()),
    ),
    "modes of points that have none": (
        lambda: score(POINTS[:, :2], None, "modes"), r"such as '(\w+)'",
        lambda name: score(POINTS[:, :2], name, "modes"),
    ),
    "real pictures of other channels": (
        lambda: score(pixels(24, 8, 2), pixels(24, 8, 4), kid()),
        r"the generated ones (\d)\. Give images with as many",
        lambda count: score(pixels(24, 8, 2), pixels(24, 8, int(count)) // 2, kid()),
    ),
    "real samples of another form": (
        lambda: score(pixels(), POINTS, kid()), "Give a dataset of the same form", sound,
    ),
    "a split of data without splits": (
        lambda: sound(real_split="test"), "leave the real split out", sound,
    ),
    "patches of small images": (
        lambda: score(pixels(24, 4), pixels(24, 4) // 2, "swd", kid()), "leave it out",
        lambda: score(pixels(24, 4), pixels(24, 4) // 2, kid()),
    ),
    "features of another shape": (
        lambda: score(pixels(), OTHERS, kid(Function.of(lambda x: x))),
        r"such as (tensor\.flatten\(1\))",
        lambda way: score(pixels(), OTHERS, kid(Function.of(eval(f"lambda tensor: {way}")))),
    ),
    "logits of one class: inception-score": (
        lambda: score(pixels(), None, split(two, splits=1)), "choose another extractor",
        lambda: score(pixels(), None, split(splits=1)),
    ),
    "logits of one class: modes": (
        lambda: score(pixels(), None, modes(two)), "choose another extractor",
        lambda: score(pixels(), None, modes()),
    ),
    "features of two extractors": (
        lambda: FID.score(of_size(3), of_size(4)), "take both from the same extractor",
        lambda: FID.score(of_size(3), of_size(3)),
    ),
    "real samples that are duplicates": (
        lambda: score(pixels(), DUPLICATES, near()), "Look at the dataset for duplicates",
        lambda: score(pixels(), np.unique(np.concatenate((DUPLICATES, OTHERS)), axis=0), near()),
    ),
}  # fmt: skip


@cases(*SCORES)
def test_scores(situation: str):
    helped(*SCORES[situation])


@cases(100, 25, 1000)
def test_subsets_larger_than_the_samples(size: int):
    text = said(lambda: score(pixels(24), pixels(20) // 2, kid(subset_size=size)))
    lower = int(found(r"(?:subset_size=|, not )(\d+)", text))
    score(pixels(24), pixels(20) // 2, kid(subset_size=lower))


@cases(40, 21)
def test_more_samples_than_there_are(count: int):
    text = said(lambda: score(pixels(24), pixels(20), kid(subset_size=10), num_real=count))
    score(pixels(24), pixels(20), kid(subset_size=10), num_real=int(found(r"at most (\d+)", text)))


def test_no_metric():
    text = said(lambda: ganzoo.evaluate(pixels(), pixels(), []))
    for name in found(r"There are: (.+)\.$", text).split(", "):
        metrics.get(name)


@cases((16, 8), (32, 16))
def test_real_pictures_of_another_size(one: int, other: int):
    made, real = pixels(24, one), pixels(24, other)
    assert re.search(r"size", said(lambda: score(made, real, "swd")))
    Path("real").mkdir()
    for number, each in enumerate(real):
        Image.fromarray(each[0]).save(f"real/{number}.png")
    score(made, {"name": "folder", "path": "real", "size": one}, "swd")


def test_a_picture_of_neighbours_without_them():
    text = said(lambda: sound(picture="x.png"))
    name, option, bound = re.search(
        r"ask for '([\w-]+)' too, with '(\w+)' above (\d+)", text
    ).groups()
    chosen = {"name": name, "extractor": Function.of(flat), option: int(bound) + 1}
    score(pixels(), pixels() // 2, metrics.create(chosen), picture="x.png")
    assert Path("x.png").is_file()


@cases(0, -1)
def test_a_count_below_one(count: int):
    text = said(lambda: score(maker(), pixels(), kid(), num_fake=count))
    lower = int(found(r"num_fake cannot be -?\d+: input should be greater than (\d+)", text)) + 1
    text = said(lambda: score(maker(), pixels(), kid(), num_fake=lower))
    score(maker(), pixels(), kid(), num_fake=int(found(r"needs at least (\d+) generated", text)))


@cases("x", [8, 8, 8], [3], 0)
def test_a_size_that_is_none(size: Any):
    text = said(lambda: sound(size=size))
    first, second = re.search(r"such as (\d+) or (\(\d+, \d+\)), not", text).groups()
    for each in (first, second):
        sound(size=literal(each))


@cases("shown", "none")
def test_a_picture_of_no_pairs(way: str):
    text = said(lambda: score(pixels(), OTHERS, near(shown=0), picture="x.png"))
    name = found(r"with '(\w+)' above 0, or leave the picture out", text)
    if way == "shown":
        score(pixels(), OTHERS, near(**{name: 1}), picture="x.png")
        assert Path("x.png").is_file()
    else:
        score(pixels(), OTHERS, near(shown=0))


@cases("folder", "name", "remove")
def test_a_place_for_a_picture(way: str):
    path = Path("deep/x.png" if way == "folder" else "x.png")
    if way != "folder":
        path.touch()
    text = said(lambda: score(pixels(), OTHERS, near(), picture=str(path)))
    if way == "folder":
        Path(found(r"there is no folder (\S+)\. Make it", text)).mkdir()
    else:
        assert "Choose another name, or remove it" in text
    if way == "remove":
        path.unlink()
    path = Path("y.png") if way == "name" else path
    score(pixels(), OTHERS, near(), picture=str(path))
    assert path.is_file()


def test_parts_and_subsets_beyond_what_was_gathered():
    few = gathered(6)
    split = metrics.create({"name": "inception-score", "extractor": Function.of(classified)})
    name, there = lowered(said(lambda: split.score(None, few)))
    split.replace(**{name: there}).score(None, few)
    subset = kid(subset_size=10)
    name, there = lowered(said(lambda: subset.score(few, few)))
    subset.replace(**{name: there}).score(few, few)


def lowered(text: str) -> tuple[str, int]:
    """The option that a message says to set lower, and how many samples there are."""
    return found(r"or set (\w+) lower", text), int(found(r"samples, not (\d+)", text))


def test_modes_of_no_real_samples():
    settings = {"name": "modes", "reference": "real", "extractor": Function.of(classified)}
    assert "give a dataset" in said(lambda: metrics.create(settings).score(None, gathered()))
    assert "give a dataset" in said(lambda: score(pixels(), None, settings))
    score(pixels(), pixels(), settings)


@cases("more", "reference")
def test_a_mode_that_no_real_sample_has(way: str):
    made, real = np.zeros((24, 1, 8, 8), np.uint8), np.zeros((24, 1, 8, 8), np.uint8)
    made[:, :, 0, 1], real[:, :, 0, 0] = 200, 200
    made[0, :, 0, 3] = 100
    chosen = {"name": "modes", "reference": "real", "extractor": Function.of(classified)}
    text = said(lambda: score(made, real, chosen))
    if way == "more":
        assert "give more real samples" in text
        score(made, np.concatenate((real, made)), chosen)
    else:
        score(made, real, {**chosen, **options_in(found(r"or set (reference='\w+')", text))})


@cases("cifar10", "celeba")
def test_classes_that_no_classifier_knows(name: str):
    chosen = metrics.create("modes")
    option = found(r"give it an '(\w+)' that tells", said(lambda: chosen.for_dataset(name)))
    own = metrics.create({"name": "modes", option: Function.of(classified)})
    assert own.for_dataset(name) == own


@cases(2, 4)
def test_pictures_of_channels_that_an_extractor_does_not_see(channels: int):
    with registered(Seeing, const(channels=(3,), dimensions=4)) as seeing:
        made, real = (pixels(24, 8, channels) // each for each in (1, 2))
        text = said(lambda: score(made, real, kid(seeing())))
        assert re.search("Give it another extractor|Use another|RGB images", text)
        score(made, real, kid())


@cases("images", "folder")
def test_real_images_of_another_size_than_a_generator_makes(way: str):
    text = said(lambda: of_maker(pixels(24, 16)))
    height, width = map(int, found(r"Give real images of (\d+x\d+), or a folder", text).split("x"))
    assert height == width
    if way == "images":
        of_maker(pixels(24, height))
        return
    pictures(count=10, size=16)
    of_maker({"name": "folder", "path": "photos"})


def test_features_of_two_lengths():
    pictures(count=12)
    pictures("wide", count=12, size=12)
    for each in Path("wide").iterdir():
        each.rename(f"photos/w{each.name}")
    made = pixels(24)
    text = said(lambda: score(made, {"name": "folder", "path": "photos"}, kid()))
    way = literal(found(r"such as (\{.+\})\.$", text))
    way["path"] = way["path"].replace("PATH", "photos")
    score(pixels(24, way["size"]), way, kid())


@cases("raise", "remove")
def test_unreadable_pictures_to_score(way: str):
    pictures(count=12)
    Path("photos/0.png").write_bytes(b"no picture")
    folder = {"name": "folder", "path": "photos"}
    text = said(lambda: of_maker(folder))
    option = found(r"repair or remove them, or raise (\w+)\.$", text)
    if way == "raise":
        of_maker({**folder, option: 1})
        return
    for name in re.findall(r"'([^']+\.png)' \(", text):
        Path("photos", name).unlink()
    of_maker(folder)


def test_data_of_a_training_that_were_in_memory():
    run = run_of(pixels())
    text = said(lambda: score(str(run), None, kid(), num_fake=10))
    assert "Give it, or another one, as the dataset" in text
    score(str(run), pixels(), kid(), num_fake=10)


def test_labels_of_real_samples_without_any():
    with registered_for_labels():
        spec = SampleSpec(shape=(1, 8, 8), classes=("a", "b"))
        made = maker(spec, architectures.create("labelled"))
        text = said(lambda: score(made, pixels(), kid(), num_fake=10, labels="data"))
        options = options_in(found(r"Say (labels='\w+')", text))
        score(made, pixels(), kid(), num_fake=10, **options)


def test_a_score_of_each_class():
    with registered_for_labels():
        spec = SampleSpec(shape=(1, 8, 8), classes=("a", "b"))
        made = maker(spec, architectures.create("labelled"))
        named, few = ["a", "b"] * 12, ["a"] * 22 + ["b"] * 2
        ways = {
            "Give a generator": (pixels(), (pixels(), named), {}),
            "Give a dataset with labels": (made, pixels(), {}),
            "Give real samples whose classes have": (made, (pixels(), ["a", "c"] * 12), {}),
            "Give more": (made, (pixels(), named), {"num_fake": 1}),
            "give more, or set subset_size lower": (made, (pixels(), few), {}),
            "Leave one of them out": (made, (pixels(), named), {"labels": "data"}),
        }
        for advice, (source, real, options) in ways.items():
            options = {"num_fake": 20, **options}
            text = said(lambda: score(source, real, kid(), per_class=True, **options))  # noqa: B023
            assert advice in text
            score(source, real, kid(), **{**options, "num_fake": 20, "labels": "uniform"})
        score(made, (pixels(), named), kid(), per_class=True, num_fake=20)


@cases("spec", "bytes")
def test_images_without_a_range(way: str):
    spec = SampleSpec(shape=(1, 16, 16), value_range=None)
    chosen = metrics.create("swd")
    real = gathered(samples=torch.rand(24, 1, 16, 16), spec=spec)
    assert "Give it in their spec, or give them as uint8" in said(lambda: chosen.score(real, real))
    if way == "spec":
        known = spec.model_copy(update={"value_range": (0.0, 1.0)})
        real = gathered(samples=real.samples, spec=known)
    else:
        real = gathered(samples=(255 * real.samples).to(torch.uint8), spec=spec)
    chosen.score(real, real)


def test_small_images_of_their_own_size():
    chosen = metrics.create({"name": "lpips-diversity", "size": None})
    text = said(lambda: chosen.check(SampleSpec(shape=(1, 8, 8))))
    chosen.replace(**options_in(found(r"set (size=\d+)", text))).check(SampleSpec(shape=(1, 8, 8)))


@cases("delete", "no-write")
def test_scores_that_cannot_be_kept(way: str, line: Line):
    maker(SampleSpec(shape=(1, 16, 16))).save_pretrained("made")
    np.save("x.npy", pixels(24, 16))
    command = ("evaluate", "made", "--dataset", "x.npy", "--metrics", "swd", "--num-fake", "24")
    Path("made/metrics.json").write_text("[]" if way == "delete" else "{")
    text = line.refused(*command)
    path = found(r"(\S+metrics\.json) holds no scores", text)
    assert "Delete it; it is made again" in text
    if way == "no-write":
        line.runs(*command, "--no-write")
    Path(path).unlink()
    line.runs(*command)
    assert "swd" in json.loads(Path(path).read_text())


def test_an_array_as_an_extractor():
    assert "a torch module or a function of a batch of samples" in said(lambda: Function.of(3))
    for each in (nn.Flatten(), flat):
        score(pixels(), OTHERS, kid(Function.of(each)))
    assert "a name, a mapping" in said(lambda: kid(extractor=3.5))


def test_an_extractor_from_a_file():
    again = kid(json.loads(Function.of(flat).model_dump_json()))
    option = found(r"pass it again: (\w+)=", said(lambda: score(pixels(), OTHERS, again)))
    score(pixels(), OTHERS, metrics.create({**again.model_dump(), option: Function.of(flat)}))


def test_a_net_that_changes_after_it_was_given():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    def changed(given: Any) -> Any:
        chosen = kid(Function.of(given, name="mine"))
        with torch.no_grad():
            net[1].weight.add_(1)
        return score(pixels(), OTHERS, chosen)

    way = found(r"copy that stays as it is: (copy\.deepcopy\(net\))", said(lambda: changed(net)))
    changed(eval(way, {"copy": copy, "net": net}))


def test_a_metric_of_a_generator_for_data(line: Line):
    chosen = [each for each in metrics.names() if "generator" in metrics.get(each).requires]
    assert chosen
    for name in chosen:
        text = said(lambda name=name: score(pixels(24, 64, 3), None, name))
        assert "Leave it out, or give a generator" in text
    sound()


def test_images_of_a_dataset_without_a_range():
    spec = SampleSpec(shape=(1, 8, 8), value_range=None)
    data = torch.rand(24, 1, 8, 8)
    chosen = kid(Function.of(flat, quantise=True))
    with registered(Points, loads(lambda: Samples(data, spec, stored_range=None))) as points:
        text = said(lambda: score(points(), points(), chosen))
    assert "Give the dataset's stored_range" in text
    spec = SampleSpec(shape=(1, 8, 8))
    with registered(Points, loads(lambda: Samples(data, spec, stored_range=(0.0, 1.0)))) as points:
        score(points(), OTHERS, chosen)


@cases("shapes", "channels")
def test_items_that_are_not_alike(fault: str):
    def item(index: int) -> Any:
        odd = index % 2
        return floats(3 + odd) if fault == "shapes" else floats(5 + odd, 8, 8)

    real = floats(24, 3) if fault == "shapes" else pixels(24, 8, 5)
    text = said(lambda: score(Made(item), real, kid()))
    assert re.search("bring all items to one shape|bring all to one number of them", text)
    score(Made(lambda index: item(2 * index)), real, kid())


def test_not_one_picture_to_score():
    pictures(count=8)
    for each in Path("photos").iterdir():
        each.write_bytes(b"no picture")
    folder = {"name": "folder", "path": "photos", "max_bad": 99}
    assert "repair or replace them" in said(lambda: of_maker(folder))
    pictures(count=8)
    of_maker(folder)


def test_a_folder_where_scores_cannot_be_written(line: Line, monkeypatch: pytest.MonkeyPatch):
    maker(SampleSpec(shape=(1, 16, 16))).save_pretrained("made")
    np.save("x.npy", pixels(24, 16))
    command = ("evaluate", "made", "--dataset", "x.npy", "--metrics", "swd", "--num-fake", "24")

    def fails(**_: Any) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("ganzoo.evaluation.score.tempfile.TemporaryFile", fails)
    flag = found(r"do not save them \((--[\w-]+)\)", line.refused(*command))
    line.runs(*command, flag)


def test_pictures_that_are_not_resized():
    from ganzoo.features.resizing import as_rgb

    text = said(lambda: as_rgb(torch.rand(2, 2, 8, 8), "vgg16"))
    assert "Use another extractor, or another metric" in text
    score(pixels(24, 8, 2), pixels(24, 8, 2) // 2, kid())


# -- weights of extractors ------------------------------------------------------------------------


def published(content: bytes = b"weights", **more: Any) -> Published:
    Path("there").mkdir(exist_ok=True)
    Path("there/net.pt").write_bytes(content)
    return Published(**{
        "title": "the weights of a net", "address": Path("there/net.pt").absolute().as_uri(),
        "digest": hashlib.sha256(b"weights").hexdigest(), "size": 7, "names": ("net.pt",),
        "environment": "GANZOO_NET", **more,
    })  # fmt: skip


@cases("path", "leave out", "environment")
def test_weights_that_are_not_where_they_are_said_to_be(way: str, monkeypatch: pytest.MonkeyPatch):
    known = published()
    if way == "environment":
        monkeypatch.setenv(known.environment, "nowhere.pt")
        assert "Correct the path" in said(lambda: known.find(None, True))
        monkeypatch.setenv(known.environment, "there/net.pt")
        assert known.find(None, True).read_bytes() == b"weights"
        return
    text = said(lambda: known.find(Path("nowhere.pt"), True))
    name = found(r"Correct the path, or leave it out to have (\S+) downloaded", text)
    if way == "path":
        assert known.find(Path("there", name), True).name == name
    else:
        assert known.find(None, True).name == name


@cases(("offline", "put"), ("offline", "set"), ("gone", "put"), ("changed", "put"),
     ("large", "put"))  # fmt: skip
def test_weights_that_are_not_on_this_machine(why: str, way: str, monkeypatch: pytest.MonkeyPatch):
    content = {"changed": b"stranger", "large": b"x" * 99}.get(why, b"weights")
    known = published(content, size=8 if why == "changed" else 7)
    if why == "gone":
        Path("there/net.pt").rename("net.pt")
    text = said(lambda: known.find(None, why != "offline"))
    Path("mine.pt").write_bytes(b"weights")
    if way == "set":
        name = found(r"or set (\w+) to where it lies", text)
        monkeypatch.setenv(name, "mine.pt")
        assert known.find(None, False).read_bytes() == b"weights"
        return
    place = Path(found(r"put it at (\S+?)(?:, or|\.$)", text))
    if digest := re.search(r"\(SHA-256 (\w+)\)", text):
        assert hashlib.sha256(Path("mine.pt").read_bytes()).hexdigest() == digest[1]
    place.parent.mkdir(parents=True, exist_ok=True)
    Path("mine.pt").rename(place)
    assert known.find(None, False) == place


@cases("names", "NaN")
def test_weights_of_another_net(fault: str):
    wanted = {"layer.weight": (2, 2)}
    broken = {"names": {"other.weight": torch.zeros(2, 2)},
              "NaN": {"layer.weight": torch.full((2, 2), torch.nan)}}[fault]  # fmt: skip
    torch.save(broken, "net.pt")
    text = said(lambda: load(Path("net.pt"), wanted, ()))
    assert re.search("or one with the same names|Get the file again", text)
    torch.save({"layer.weight": torch.zeros(2, 2)}, "net.pt")
    assert [*load(Path("net.pt"), wanted, ())] == ["layer.weight"]


def test_a_library_of_nets_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    chosen = features.create({"name": "dinov2", "weights": "here"})
    extra(said(lambda: chosen.build(torch.device("cpu"))), "transformers")


def test_a_folder_that_is_no_net():
    transformers = pytest.importorskip("transformers")
    Path("empty").mkdir()
    chosen = features.create({"name": "dinov2", "weights": "empty"})
    text = said(lambda: chosen.weights_hash())
    names = found(r"Such a folder has ([\w.]+ and [\w.]+): get", text).split(" and ")
    assert "or give another folder as weights" in text
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained("tiny")
    assert {*names} <= {each.name for each in Path("tiny").iterdir()}
    assert chosen.replace(weights="tiny").weights_hash()


def test_pictures_that_an_extractor_does_not_take():
    net = ClassifierNet().eval()
    text = said(lambda: net(torch.rand(2, 3, 28, 28)))
    dtype = getattr(torch, found(r"greyscale pictures, (\w+) \(N, 1, H, W\)", text))
    assert net(torch.zeros(2, 1, 28, 28, dtype=dtype)).logits.shape == (2, 10)


@cases("lacks", "NaN")
def test_weights_of_a_folder_that_are_wrong(fault: str):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    net = transformers.Dinov2Model(config)
    net.save_pretrained("tiny")
    whole = safetensors.torch.load_file("tiny/model.safetensors")
    name = "layernorm.weight"
    broken = {key: each for key, each in whole.items() if key != name}
    if fault == "NaN":
        broken[name] = torch.full_like(whole[name], torch.nan)
    meta = {"format": "pt"}
    safetensors.torch.save_file(broken, "tiny/model.safetensors", meta)
    chosen = features.create({"name": "dinov2", "weights": "tiny"})
    text = said(lambda: chosen.build(torch.device("cpu")))
    assert re.search("Get them again|or others of its kind", text)
    safetensors.torch.save_file(whole, "tiny/model.safetensors", meta)
    chosen.build(torch.device("cpu"))
