"""Advice on settings: words of other programs, names, values and what does not go together."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ganzoo
from advice_followed.helpers import (
    SMALL,
    Line,
    Remedy,
    cases,
    found,
    helped,
    labelled,
    literal,
    pictures,
    pixels,
    said,
    trainer,
)
from ganzoo import architectures, datasets, losses, metrics, optimizers, schedules
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.config import read_config, resolve
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets.mixture import Mixture
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.generators import pretrained
from ganzoo.generators.pretrained import Pretrained
from ganzoo.training.diagnosis import Diagnoses
from ganzoo.training.trainer import Trainer

IMAGE = functools.partial(SampleSpec, shape=(1, 8, 8))
UNIFORM = functools.partial(LatentSpec, shape=(1, 8, 8), distribution="uniform")
ENTRY = {"name": "mlp.mine", "summary": "x", "license": "mit", "size": 1}
NESTEROV = {"name": "sgd", "nesterov": True}

SETTINGS: dict[str, Remedy] = {
    "nothing instead of data": (
        lambda: trainer({}), "leave the dataset out for the default one",
        lambda: Trainer(arch=SMALL, progress=False).setup(),
    ),
    "a batch that is larger than the data": (
        lambda: trainer(batch_size=500), r"at most (\d+)",
        lambda most: trainer(batch_size=int(most)),
    ),
    "points for dcgan": (
        lambda: trainer("ring", arch="dcgan"), r"take '(\w+)'",
        lambda name: trainer("ring", arch=name),
    ),
    "points for upsample": (
        lambda: trainer("ring", arch="upsample"), r"take '(\w+)'",
        lambda name: trainer("ring", arch=name),
    ),
    "a size of points": (lambda: trainer("ring", size=16), "Leave it out", lambda: trainer("ring")),
    "classes without labels": (
        lambda: trainer(conditional=True), "leave it off", lambda: trainer(conditional=False),
    ),
    "nesterov without momentum": (
        lambda: optimizers.create(NESTEROV), r"such as ([\d.]+\d)",
        lambda told: optimizers.create({**NESTEROV, "momentum": float(told)}),
    ),
    "targets the wrong way round": (
        lambda: losses.create({"name": "bce", "real": 0.0, "fake": 1.0}), r"swapped=(\w+)",
        lambda told: losses.create({"name": "bce", "swapped": literal(told)}),
    ),
    "two metrics alike": (
        lambda: resolve({"metrics": ["swd", "swd"]}), "once is enough",
        lambda: resolve({"metrics": ["swd"]}),
    ),
    "a height of nothing": (
        lambda: resolve({"size": (0, 8)}), r"at least (\d+)",
        lambda least: resolve({"size": (int(least), 8)}),
    ),
    "a height below zero": (
        lambda: resolve({"size": (-4, 8)}), r"at least (\d+)",
        lambda least: resolve({"size": (int(least), 8)}),
    ),
    "a misspelt pretrained dcgan": (
        lambda: pretrained.get("dcgan.fashon"), r"Did you mean '(\S+)'", pretrained.get,
    ),
    "a misspelt pretrained mlp": (
        lambda: pretrained.get("mlp.mnst"), r"Did you mean '(\S+)'", pretrained.get,
    ),
    "a pretrained generator of no place": (
        lambda: Pretrained(**ENTRY), "needs a folder or a repo_id",
        lambda: Pretrained(**ENTRY, folder="mlp.mine"),
    ),
    "a pretrained generator of no revision": (
        lambda: Pretrained(**ENTRY, repo_id="a/b"), r"needs a (\w+) with its repo_id",
        lambda name: Pretrained(**ENTRY, repo_id="a/b", **{name: 40 * "a"}),
    ),
    "values from high to low": (
        lambda: IMAGE(value_range=(1.0, -1.0)), "low < high",
        lambda: IMAGE(value_range=(-1.0, 1.0)),
    ),
    "values too far apart": (
        lambda: IMAGE(value_range=(-3e38, 3e38)), "nearer",
        lambda: IMAGE(value_range=(-3e37, 3e37)),
    ),
    "latents from high to low": (
        lambda: UNIFORM(low=1.0, high=-1.0), "low < high", lambda: UNIFORM(low=-1.0, high=1.0),
    ),
    "latents too far apart": (
        lambda: UNIFORM(low=-3e38, high=3e38), "nearer", lambda: UNIFORM(low=-3e37, high=3e37),
    ),
}  # fmt: skip


@cases(*SETTINGS)
def test_a_setting(situation: str):
    helped(*SETTINGS[situation])


WORDS = (
    ("lr", 1e-4), ("learning_rate", 1e-4), ("g_lr", 1e-4), ("d_lr", 1e-4), ("betas", (0.5, 0.9)),
    ("optimizer", "sgd"), ("bs", 8), ("iterations", 5), ("num_epochs", 2), ("n_critic", 2),
    ("nz", 16), ("image_size", 16), ("criterion", "hinge"), ("scheduler", "cosine"),
    ("manual_seed", 3), ("ema", 0.9), ("grad_clip", 1.0), ("dataroot", "ring"), ("cond", False),
    ("batch_sise", 8),
)  # fmt: skip


@cases(*WORDS)
def test_a_word_of_another_program(word: str, value: Any):
    hint = found(r"Did you mean (.*?)\? Settings", said(lambda: resolve({word: value})))
    if hint.startswith("'"):
        resolve({literal(hint): value})
        return
    settings = {name: literal(given) for name, given in re.findall(r"(\w+)=(.+?)(?: and |$)", hint)}
    assert settings
    resolve(settings)


@cases("lr", "learning_rate", "betas")
def test_a_word_of_another_program_in_a_file(word: str):
    value = "[0.5, 0.9]" if word == "betas" else "0.0002"
    Path("mine.yaml").write_text(f"{word}: {value}\n")
    hint = found(r"Did you mean (.*?)\? Settings", said(lambda: read_config(Path("mine.yaml"))))
    Path("mine.yaml").write_text(hint.replace(" and ", "\n"))
    resolve(read_config(Path("mine.yaml")))


NAMES = (
    ("wgan", losses), ("wgan-gp", losses), ("lsgan", losses), ("vanilla", losses),
    ("WGAN", losses), ("ns", losses), ("mse", losses), ("BCEWithLogits", losses),
    ("is", metrics), ("lpips", metrics), ("momentum", optimizers), ("RMS", optimizers),
    ("step", schedules), ("cosine_annealing", schedules), ("gan", ganzoo.architectures),
    ("cnn", ganzoo.architectures), ("fashon-mnist", datasets), ("VGG", ganzoo.features),
)  # fmt: skip


@cases(*NAMES)
def test_a_name_of_another_program(name: str, zoo: Any):
    meant = found(r"Did you mean '(.+?)'", said(lambda: zoo.get(name)))
    assert zoo.get(meant).name == meant


def test_steps_and_epochs():
    both = {"steps": 5, "epochs": 1}
    first, second = re.findall(r"'(\w+)'", said(lambda: resolve(both)))
    for one in (first, second):
        resolve({one: both[one]})


@cases({"train": 1}, {"test": 1, "val": 1})
def test_a_mapping_of_splits(splits: dict[str, Any]):
    data = {name: torch.utils.data.TensorDataset(torch.rand(24, 1, 8, 8)) for name in splits}
    key = found(r"such as data\['(\w+)'\]", said(lambda: trainer(data)))
    assert trainer(data[key]).spec.shape == (1, 8, 8)


def test_a_mapping_of_a_path_alone():
    np.save("x.npy", pixels())
    assert "Correct the path" in said(lambda: trainer({"path": "y.npy"}))
    assert trainer({"path": "x.npy"}).spec.shape == (1, 8, 8)


def test_a_mapping_of_lists():
    data = {"images": pixels().tolist(), "labels": [0] * 24}
    way = found(r"to be arrays: (\{.+?\})\.", said(lambda: trainer(data)).lower())
    assert trainer(eval(way, {"numpy": np, "data": data})).spec.shape == (1, 8, 8)


@cases((48, "dcgan"), (50, "upsample"), (20, "dcgan"), (31, "upsample"))
def test_a_size_that_an_architecture_cannot_do(size: int, name: str):
    text = said(lambda: ganzoo.architectures.create(name).check(SampleSpec(shape=(1, size, size))))
    height, width = map(int, found(r"nearest it can is (\d+x\d+)", text).split("x"))
    ganzoo.architectures.create(name).check(SampleSpec(shape=(1, height, width)))


@cases(4, [6, 8], [8, 7], 1)
def test_padding_to_a_smaller_size(size: Any):
    size = size if isinstance(size, int) else tuple(size)
    text = said(lambda: trainer(resize_mode="pad", size=size))
    name, mode = re.search(r"(\w+)='(\w+)'", text).groups()
    trainer(**{name: mode, "size": size})


@cases([16, 16], [16, 12], [9, 9], [4, 8])
def test_a_size_without_a_way_to_it(size: list[int]):
    text = said(lambda: Preprocessing(method="none", original_size=(8, 8), size=tuple(size)))
    ways = re.findall(r"(\w+)='(\w+)'", text)
    assert ways
    for name, mode in ways if min(size) >= 8 else ways[1:]:
        trainer(**{name: mode, "size": tuple(size)})


def test_classes_without_an_architecture_for_them():
    data = (pixels(), np.arange(24) % 3)
    with labelled(False) as arch:
        text = said(lambda: trainer(data, arch=arch, conditional=True))
        assert "leave conditional off" in text
        for name in found(r"one that does: ([\w, -]+);", text).split(", "):
            assert ganzoo.architectures.get(name).conditional
        trainer(data, arch=arch, conditional=False)


@cases((0.5, 0.4, 1.0), (0.9, 0.1, 0.9), (0.0, 0.6, 0.7), (0.3, 0.3, 0.73))
def test_targets_that_pass_each_other(smoothing: float, noise: float, real: float):
    text = said(
        lambda: losses.create({"name": "bce", "smoothing": smoothing, "noise": noise, "real": real})
    )
    within = float(found(r"within ([\d.]+\d|\d)", text))
    losses.create({"name": "bce", "smoothing": 0, "noise": within / 2, "real": real})
    losses.create({"name": "bce", "smoothing": within, "noise": 0, "real": real})


def test_scores_that_never_come():
    settings = {"evaluate_every": 50, "metrics": ["swd"], "steps": 10}
    data = pixels(24, 16)
    text = said(lambda: trainer(data, **settings))
    assert "Set it lower, or leave it out" in text
    lower = int(found(r"training has (\d+) steps", text))
    trainer(data, **{**settings, "evaluate_every": lower})
    trainer(data, steps=10)


@cases(("metrics", ["swd"]), ("evaluate_num_real", 8), ("evaluate_async", True))
def test_settings_of_scores_without_scores(name: str, value: Any):
    data = pixels(24, 16)
    needed = found(r"Set (\w+), or leave", said(lambda: trainer(data, **{name: value})))
    trainer(data, **{"metrics": ["swd"], name: value, needed: 1})
    trainer(data)


@cases("min:los", "max:dloss", "min:fid", "min:swdd")
def test_the_best_by_what_is_not_there(keep: str):
    text = said(lambda: trainer(keep_best=keep, checkpoint_every=1, steps=2))
    for way in re.findall(r"\b(min:|max:)", found(r"Give (.+?) and one of", text)):
        for name in found(r"one of: (.+)\.$", text).split(", "):
            trainer(keep_best=way + name, checkpoint_every=1, steps=2)


def test_the_best_without_checkpoints():
    text = said(lambda: trainer(keep_best="min:d_loss", checkpoint_every=0))
    assert "Set it" in text
    trainer(keep_best="min:d_loss", **{found(r"and (\w+) is 0", text): 1})


def test_patience_without_scores():
    needed = found(r"or set (\w+)", said(lambda: trainer(pixels(24, 16), patience=2)))
    trainer(pixels(24, 16), patience=2, metrics=["swd"], **{needed: 1})
    trainer(pixels(24, 16))


@cases("mlp", 3)
def test_a_recipe_by_what_is_no_name(given: Any):
    text = said(lambda: resolve({"recipe": given}))
    for name in found(r"Available: (.+)\.", text).split(", "):
        ganzoo.recipes.get(name)


def test_an_alias_in_a_file():
    Path("c.yaml").write_text("steps: &n 5\nlog_every: *n\n")
    assert "write out what it stands for" in said(lambda: read_config(Path("c.yaml")))
    Path("c.yaml").write_text("steps: 5\nlog_every: 5\n")
    resolve(read_config(Path("c.yaml")))


DIAGNOSES = (
    ({"loss": "minimax"}, "_weaker_d"), ({"d_steps": 4}, "_weaker_d"),
    ({"loss": "bce"}, "_weaker_d"), ({"arch": "mlp"}, "_weaker_d"),
    ({"joint_batch": True, "arch": "mlp"}, "_weaker_d"), ({"loss": "wasserstein"}, "_slower_g"),
    ({"loss": "minimax"}, "_against_collapse"), ({"loss": "hinge"}, "_against_collapse"),
    ({"loss": "wasserstein"}, "_against_collapse"),
    ({"latent": {"distribution": "uniform"}}, "_against_collapse"),
    ({"loss": {"name": "bce", "smoothing": 0.3, "noise": 0.2}}, "_weaker_d"),
    ({"d_optimizer": {"lr": 3.333e-7}, "g_optimizer": {"lr": 7e-9}}, "_against_collapse"),
)  # fmt: skip


@cases(*DIAGNOSES)
def test_what_a_diagnosis_advises(settings: dict[str, Any], about: str, line: Line):
    settings = {"arch": SMALL, "batch_size": 8, "dataset": "ring", **settings}
    config = resolve(settings)
    seen = Diagnoses(config, 8, 100, 400)
    advice = list(getattr(seen, about)())
    assert advice
    Path("c.yaml").write_text(config.yaml())
    for each in advice:
        words = shlex.split(each.partition(" (")[0])
        out = line.runs("train", "--config", "c.yaml", *words, "--quiet", "--dry-run")
        assert out != line.runs("train", "--config", "c.yaml", "--quiet", "--dry-run")


# -- specs ------------------------------------------------------------------------------------


@cases(("image", (3, 8)), ("vector", (3, 8)), ("audio", (8,)), ("sequence", (1, 2, 3)))
def test_a_shape_of_another_kind(kind: str, shape: tuple[int, ...]):
    text = said(lambda: SampleSpec(kind=kind, shape=shape))
    axes = found(r"has shape \(([^)]+?),?\), not", text).split(", ")
    SampleSpec(kind=kind, shape=(4,) * len(axes))


@cases(SampleSpec, LatentSpec)
def test_more_values_than_there_may_be(spec: type[Any]):
    text = said(lambda: spec(shape=(3, 2**16, 2**16)))
    spec(shape=(1, 1, int(found(r"at most ([\d,]+) values", text).replace(",", ""))))


def test_a_mixture_of_points_of_no_space():
    text = said(lambda: Mixture(centres=((0.0, 1.0), (2.0,)), sd=1.0))
    assert "all with the same number of coordinates" in text
    made = Mixture(centres=((0.0, 1.0), (2.0, 3.0)), sd=1.0)
    shape = found(r"give a tensor \((.+?)\)", said(lambda: made.density(torch.zeros(4, 3))))
    size = shape.rpartition(", ")[2]
    assert made.density(torch.zeros(4, int(size))).shape == (4,)
    assert "at least one sample" in said(lambda: made.coverage(torch.zeros(0, 2)))
    made.coverage(torch.zeros(1, 2))


DCGANS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "numbers": ({"widths": [8, 4], "kernels": [4, 4]}, "one number for each of the generator's",
                {"widths": [8, 4], "kernels": [4, 4, 4]}),
    "strides": ({"strides": [1, 0, 2]}, "strides of at least 1", {"strides": [1, 1, 2]}),
    "output paddings": (
        {"strides": [1, 2, 2], "paddings": [0, 1, 1], "output_paddings": [0, 2, 0]},
        "output paddings less than the stride",
        {"strides": [1, 2, 2], "paddings": [0, 1, 1], "output_paddings": [0, 1, 0]},
    ),
    "paddings": ({"paddings": [9, 1, 1]}, "Take smaller paddings", {"paddings": [0, 1, 1]}),
    "kernels": ({"kernels": [2, 2, 2], "paddings": [1, 1, 1]}, "or larger kernels",
                {"kernels": [4, 4, 4], "paddings": [1, 1, 1]}),
}  # fmt: skip


@cases(*DCGANS)
def test_layers_that_make_no_map(fault: str):
    broken, remedy, mended = DCGANS[fault]
    assert re.search(remedy, said(lambda: architectures.create({"name": "dcgan", **broken})))
    architectures.create({"name": "dcgan", **mended})


def test_groups_that_do_not_divide():
    arch = {"name": "dcgan", "norm": "group", "g_width": 6, "d_width": 6}
    arch = {key: each for key, each in arch.items() if key in DCGAN.model_fields or key == "name"}
    text = said(lambda: trainer(pixels(24, 16), arch={**arch, "groups": 7}))
    count = int(found(r"a map of (\d+) channels", text))
    assert "give other groups" in text
    trainer(pixels(24, 16), arch={**arch, "groups": 2 if count % 2 == 0 else 1})


@cases("words", "python")
def test_what_a_recipe_cannot_know(way: str, line: Line):
    needy = [name for name in ganzoo.recipes.names() if ganzoo.recipes.get(name).needs]
    assert needy
    for name in needy:
        text = line.refused("train", "--recipe", name, "--dry-run")
        flag, path, setting, again = re.search(r"(--\w+) (\S+), or (\w+)='(\S+)'\.", text).groups()
        pictures(path, count=2)
        if way == "words":
            line.runs("train", "--recipe", name, flag, path, "--batch-size", "2", "--dry-run")
        else:
            resolve({"recipe": name, setting: again})
