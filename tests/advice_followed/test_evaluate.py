"""Advice on scores."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
    cases,
    flat,
    floats,
    found,
    kid,
    literal,
    maker,
    options_in,
    pictures,
    pixels,
    run_of,
    said,
)
from ganzoo import architectures, metrics
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import Samples
from ganzoo.features import Features
from ganzoo.features.callable import Callable as Function
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.metrics import Metric
from ganzoo.metrics.inputs import MetricInputs, Moments


@cases(100, 25, 1000)
def test_subsets_larger_than_the_samples(size: int):
    text = said(lambda: score(pixels(24), pixels(20) // 2, kid(subset_size=size)))
    lower = int(found(r"(?:subset_size=|, not )(\d+)", text))
    score(pixels(24), pixels(20) // 2, kid(subset_size=lower))


@cases(40, 21)
def test_more_samples_than_there_are(count: int):
    text = said(lambda: score(pixels(24), pixels(20), kid(subset_size=10), num_real=count))
    score(pixels(24), pixels(20), kid(subset_size=10), num_real=int(found(r"at most (\d+)", text)))


def test_a_metric_twice():
    text = said(lambda: ganzoo.evaluate(pixels(), pixels(), [kid(), kid()]))
    assert "leave one of them out" in text
    score(pixels(), pixels() // 2, kid())


def test_no_metric():
    text = said(lambda: ganzoo.evaluate(pixels(), pixels(), []))
    for name in found(r"There are: (.+)\.$", text).split(", "):
        metrics.get(name)


@cases("swd", "ms-ssim", "fid")
def test_a_metric_of_images_for_points(name: str):
    text = said(lambda: score("ring", "ring", name))
    assert "eave it out" in text
    score("ring", "ring", "modes")


def test_a_preset_for_what_is_no_inception():
    text = said(lambda: score(pixels(), pixels() // 2, kid(), preset="clean"))
    assert "Leave it out" in text
    score(pixels(), pixels() // 2, kid())


@cases((16, 8), (32, 16))
def test_real_pictures_of_another_size(one: int, other: int):
    made, real = pixels(24, one), pixels(24, other)
    text = said(lambda: score(made, real, "swd"))
    assert re.search(r"size", text)
    Path("real").mkdir()
    for number, each in enumerate(real):
        Image.fromarray(each[0]).save(f"real/{number}.png")
    score(made, {"name": "folder", "path": "real", "size": one}, "swd")


def test_a_picture_of_neighbours_without_them():
    text = said(lambda: score(pixels(), pixels() // 2, kid(), picture="x.png"))
    name, option, bound = re.search(
        r"ask for '([\w-]+)' too, with '(\w+)' above (\d+)", text
    ).groups()
    chosen = {"name": name, "extractor": Function.of(flat), option: int(bound) + 1}
    score(pixels(), pixels() // 2, metrics.create(chosen), picture="x.png")
    assert Path("x.png").is_file()


def test_nothing_to_compare_with():
    text = said(lambda: score(maker(), None, kid(), num_fake=10))
    assert "give" in text.lower()
    score(maker(), pixels(), kid(), num_fake=10)


@cases(0, -1)
def test_a_count_below_one(count: int):
    text = said(lambda: score(maker(), pixels(), kid(), num_fake=count))
    lower = int(found(r"num_fake cannot be -?\d+: input should be greater than (\d+)", text)) + 1
    text = said(lambda: score(maker(), pixels(), kid(), num_fake=lower))
    score(maker(), pixels(), kid(), num_fake=int(found(r"needs at least (\d+) generated", text)))


# -- scores -----------------------------------------------------------------------------------


def score(source: Any, dataset: Any, *chosen: Any, **options: Any) -> Any:
    options = {"cache": False, "device": "cpu", **options}
    return ganzoo.evaluate(source, dataset, [*chosen], **options)


def near(**options: Any) -> Metric:
    return metrics.create({"name": "nearest-neighbours", "extractor": Function.of(flat), **options})


def classified(samples: torch.Tensor) -> Features:
    return Features(flat(samples.float()), flat(samples.float())[:, :4])


OTHERS = pixels() // 2


@cases("x", [8, 8, 8], [3], 0)
def test_a_size_that_is_none(size: Any):
    text = said(lambda: score(pixels(), OTHERS, kid(), size=size))
    first, second = re.search(r"such as (\d+) or (\(\d+, \d+\)), not", text).groups()
    for each in (first, second):
        score(pixels(), OTHERS, kid(), size=literal(each))


@cases(0, -3)
def test_batches_of_nothing(size: int):
    text = said(lambda: score(pixels(), OTHERS, kid(), batch_size=size))
    least = int(found(r"greater than or equal to (\d+)", text))
    score(pixels(), OTHERS, kid(), batch_size=least)


@cases("shown", "none")
def test_a_picture_of_no_pairs(way: str):
    text = said(lambda: score(pixels(), OTHERS, near(shown=0), picture="x.png"))
    name = found(r"with '(\w+)' above 0, or leave the picture out", text)
    if way == "shown":
        score(pixels(), OTHERS, near(**{name: 1}), picture="x.png")
        assert Path("x.png").is_file()
    else:
        score(pixels(), OTHERS, near(shown=0))


def test_a_picture_of_points():
    points = floats(24, 3)
    text = said(lambda: score(points, points + 1, near(), picture="x.png"))
    assert re.search("[Ll]eave (it|the picture) out", text)
    score(pixels(), OTHERS, near(), picture="x.png")


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


@cases("extractor", "metric")
def test_an_extractor_without_logits(way: str):
    chosen = {"name": "inception-score", "splits": 1}
    text = said(lambda: score(pixels(), None, {**chosen, "extractor": Function.of(flat)}))
    assert "choose another extractor or metric" in text
    if way == "extractor":
        score(pixels(), None, {**chosen, "extractor": Function.of(classified)})
    else:
        score(pixels(), OTHERS, kid())


@cases("fewer", "option")
def test_samples_in_more_parts_than_there_are(way: str):
    chosen = {"name": "inception-score", "extractor": Function.of(classified)}
    text = said(lambda: score(pixels(6), None, chosen))
    option = found(r"give more, or set (\w+) lower", text)
    if way == "option":
        score(pixels(6), None, {**chosen, option: 2})
    else:
        score(pixels(24), None, chosen)


def gathered(count: int = 24, **more: Any) -> MetricInputs:
    source = torch.Generator().manual_seed(0)
    made = {name: torch.rand(count, 5, generator=source) for name in ("features", "logits")}
    return MetricInputs(**{"count": count, "spec": SampleSpec(shape=(1, 8, 8)), **made, **more})


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


def test_modes_of_points_that_have_none():
    points = floats(24, 2)
    text = said(lambda: score(points, None, "modes"))
    name = found(r"such as '(\w+)'", text)
    score(points, name, "modes")


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


def test_real_pictures_of_other_channels():
    text = said(lambda: score(pixels(24, 8, 2), pixels(24, 8, 4), kid()))
    count = int(found(r"the generated ones (\d)\. Give images with as many", text))
    score(pixels(24, 8, 2), pixels(24, 8, count) // 2, kid())


def test_real_samples_of_another_form():
    text = said(lambda: score(pixels(), floats(24, 3), kid()))
    assert "Give a dataset of the same form" in text
    score(pixels(), OTHERS, kid())


@cases("images", "folder")
def test_real_images_of_another_size_than_a_generator_makes(way: str):
    text = said(lambda: score(maker(), pixels(24, 16), kid(), num_fake=10))
    height, width = map(int, found(r"Give real images of (\d+x\d+), or a folder", text).split("x"))
    assert height == width
    if way == "images":
        score(maker(), pixels(24, height), kid(), num_fake=10)
        return
    pictures(count=10, size=16)
    score(maker(), {"name": "folder", "path": "photos"}, kid(), num_fake=10)


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
    text = said(lambda: score(maker(), folder, kid(), num_fake=10))
    option = found(r"repair or remove them, or raise (\w+)\.$", text)
    if way == "raise":
        score(maker(), {**folder, option: 1}, kid(), num_fake=10)
        return
    for name in re.findall(r"'([^']+\.png)' \(", text):
        Path("photos", name).unlink()
    score(maker(), folder, kid(), num_fake=10)


def test_data_of_a_training_that_were_in_memory():
    run = run_of(pixels())
    text = said(lambda: score(str(run), None, kid(), num_fake=10))
    assert "Give it, or another one, as the dataset" in text
    score(str(run), pixels(), kid(), num_fake=10)


def test_a_split_of_data_without_splits():
    text = said(lambda: score(pixels(), OTHERS, kid(), real_split="test"))
    assert "leave the real split out" in text
    score(pixels(), OTHERS, kid())


def test_labels_of_real_samples_without_any():
    with registered_for_labels():
        arch = architectures.create("labelled")
        spec, latent = SampleSpec(shape=(1, 8, 8), classes=("a", "b")), LatentSpec(shape=(3,))
        config = BundleConfig(architecture=arch, sample=spec, latent=latent, training={"steps": 1})
        made = Generator(arch.generator(spec, latent), config)
        text = said(lambda: score(made, pixels(), kid(), num_fake=10, labels="data"))
        options = options_in(found(r"Say (labels='\w+')", text))
        score(made, pixels(), kid(), num_fake=10, **options)


@cases("spec", "bytes")
def test_images_without_a_range(way: str):
    spec = SampleSpec(shape=(1, 16, 16), value_range=None)
    chosen = metrics.create("swd")
    real = gathered(samples=torch.rand(24, 1, 16, 16), spec=spec)
    text = said(lambda: chosen.score(real, real))
    assert "Give it in their spec, or give them as uint8" in text
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


def test_patches_of_small_images():
    assert "leave it out" in said(lambda: score(pixels(24, 4), pixels(24, 4) // 2, "swd", kid()))
    score(pixels(24, 4), pixels(24, 4) // 2, kid())


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
    text = said(lambda: Function.of(3))
    assert "a torch module or a function of a batch of samples" in text
    for each in (nn.Flatten(), flat):
        score(pixels(), OTHERS, kid(Function.of(each)))
    told = said(lambda: kid(extractor=3.5))
    assert "a name, a mapping" in told


def test_features_of_another_shape():
    text = said(lambda: score(pixels(), OTHERS, kid(Function.of(lambda x: x))))
    way = found(r"such as (tensor\.flatten\(1\))", text)
    score(pixels(), OTHERS, kid(Function.of(lambda tensor: eval(way, {"tensor": tensor}))))


def test_an_extractor_from_a_file():
    again = kid(json.loads(Function.of(flat).model_dump_json()))
    text = said(lambda: score(pixels(), OTHERS, again))
    option = found(r"pass it again: (\w+)=", text)
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


# -- more of scores ---------------------------------------------------------------------------


def two(samples: torch.Tensor) -> Features:
    return Features(flat(samples), flat(samples)[:, :1])


@cases("inception-score", "modes")
def test_logits_of_one_class(name: str):
    chosen = {"name": name, **({"splits": 1} if name != "modes" else {})}
    text = said(lambda: score(pixels(), None, {**chosen, "extractor": Function.of(two)}))
    assert "choose another extractor" in text
    score(pixels(), None, {**chosen, "extractor": Function.of(classified)})


def test_features_of_two_extractors():
    one, other = (gathered(moments=moments_of(size)) for size in (3, 4))
    chosen = metrics.create({"name": "fid", "extractor": Function.of(flat)})
    assert "take both from the same extractor" in said(lambda: chosen.score(one, other))
    chosen.score(one, gathered(moments=moments_of(3)))


def moments_of(size: int) -> Moments:
    made = Moments()
    made.add(torch.rand(24, size))
    return made


def test_real_samples_that_are_duplicates():
    data = np.concatenate([pixels(3)] * 12)
    text = said(lambda: score(pixels(), data, near()))
    assert "Look at the dataset for duplicates" in text
    score(pixels(), np.unique(np.concatenate((data, OTHERS)), axis=0), near())


def test_a_metric_of_a_generator_for_data(line: Line):
    chosen = [each for each in metrics.names() if "generator" in metrics.get(each).requires]
    assert chosen
    for name in chosen:
        text = said(lambda name=name: score(pixels(24, 64, 3), None, name))
        assert "Leave it out, or give a generator" in text
    score(pixels(), OTHERS, kid())


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
    text = said(lambda: score(maker(), folder, kid(), num_fake=10))
    assert "repair or replace them" in text
    pictures(count=8)
    score(maker(), folder, kid(), num_fake=10)


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
