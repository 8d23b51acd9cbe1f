"""Advice is followed: a situation makes a message, its remedy is read from it, and it helps.

Each row is such a situation. What is followed is read from the text itself, so that a message
that comes to say something else is followed in its new form.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import advice
import ganzoo
from advice import (
    SMALL,
    TINY,
    Line,
    Rows,
    flat,
    follow,
    found,
    literal,
    maker,
    pixels,
    run_of,
    said,
    trainer,
)
from ganzoo import datasets, losses, metrics, optimizers, schedules
from ganzoo.architectures import Architecture, registry
from ganzoo.architectures.mlp import MLP
from ganzoo.cli import main
from ganzoo.config import read_config, resolve
from ganzoo.core.device import pick_device
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import InMemoryDataset
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import GanzooError
from ganzoo.features.callable import Callable as Function
from ganzoo.generators import bundle, hub
from ganzoo.generators.convert import convert
from ganzoo.generators.generator import Generator
from ganzoo.losses import Loss
from ganzoo.metrics import Metric
from ganzoo.showing.pictures import animate
from ganzoo.testing import check_loss
from ganzoo.training.callbacks import Callback
from ganzoo.training.diagnosis import Diagnoses
from ganzoo.training.trainer import Trainer
from hub.server import HubServer

hub_server, line, server = advice.hub_server, advice.line, advice.server

row = Rows()


@pytest.mark.parametrize(("situation", "arguments"), row)
def test_advice_helps(
    situation: Callable[..., None], arguments: tuple[Any, ...], request: pytest.FixtureRequest
) -> None:
    follow(situation, arguments, request)


def test_there_are_rows_of_all_areas() -> None:
    assert len(row) >= 80
    assert row.areas >= {
        "config", "command line", "data", "evaluate", "resume", "generator", "hub", "convert",
        "plug-ins", "device",
    }  # fmt: skip


# -- config -----------------------------------------------------------------------------------

WORDS = (
    ("lr", 1e-4), ("learning_rate", 1e-4), ("g_lr", 1e-4), ("d_lr", 1e-4), ("betas", (0.5, 0.9)),
    ("optimizer", "sgd"), ("bs", 8), ("iterations", 5), ("num_epochs", 2), ("n_critic", 2),
    ("nz", 16), ("image_size", 16), ("criterion", "hinge"), ("scheduler", "cosine"),
    ("manual_seed", 3), ("ema", 0.9), ("grad_clip", 1.0), ("dataroot", "ring"), ("cond", False),
    ("batch_sise", 8),
)  # fmt: skip


@row("config", *WORDS)
def a_word_of_another_program(word: str, value: Any) -> None:
    text = said(lambda: resolve({word: value}))
    hint = found(r"Did you mean (.*?)\? Settings", text)
    if hint.startswith("'"):
        resolve({literal(hint): value})
        return
    settings = {name: literal(given) for name, given in re.findall(r"(\w+)=(.+?)(?: and |$)", hint)}
    assert settings
    resolve(settings)


@row("config", "lr", "learning_rate", "betas")
def a_word_of_another_program_in_a_file(word: str) -> None:
    value = "[0.5, 0.9]" if word == "betas" else "0.0002"
    Path("mine.yaml").write_text(f"{word}: {value}\n")
    text = said(lambda: read_config(Path("mine.yaml")))
    hint = found(r"Did you mean (.*?)\? Settings", text)
    Path("mine.yaml").write_text(hint.replace(" and ", "\n"))
    resolve(read_config(Path("mine.yaml")))


NAMES = (
    ("wgan", losses), ("wgan-gp", losses), ("lsgan", losses), ("vanilla", losses),
    ("WGAN", losses), ("ns", losses), ("mse", losses), ("BCEWithLogits", losses),
    ("is", metrics), ("lpips", metrics), ("momentum", optimizers), ("RMS", optimizers),
    ("step", schedules), ("cosine_annealing", schedules), ("gan", ganzoo.architectures),
    ("cnn", ganzoo.architectures), ("fashon-mnist", datasets), ("VGG", ganzoo.features),
)  # fmt: skip


@row("config", *NAMES)
def a_name_of_another_program(name: str, zoo: Any) -> None:
    meant = found(r"Did you mean '(.+?)'", said(lambda: zoo.get(name)))
    assert zoo.get(meant).name == meant


@row("config")
def steps_and_epochs() -> None:
    both = {"steps": 5, "epochs": 1}
    first, second = re.findall(r"'(\w+)'", said(lambda: resolve(both)))
    for one in (first, second):
        resolve({one: both[one]})


@row("config", {"train": 1}, {"test": 1, "val": 1})
def a_mapping_of_splits(splits: dict[str, Any]) -> None:
    data = {name: torch.utils.data.TensorDataset(torch.rand(24, 1, 8, 8)) for name in splits}
    key = found(r"such as data\['(\w+)'\]", said(lambda: trainer(data)))
    assert trainer(data[key]).spec.shape == (1, 8, 8)


@row("config")
def a_mapping_of_a_path_alone() -> None:
    np.save("x.npy", pixels())
    assert "Correct the path" in said(lambda: trainer({"path": "y.npy"}))
    assert trainer({"path": "x.npy"}).spec.shape == (1, 8, 8)


@row("config")
def a_mapping_of_nothing() -> None:
    assert "leave the dataset out for the default one" in said(lambda: trainer({}))
    Trainer(arch=SMALL, progress=False).setup()


@row("config")
def a_mapping_of_lists() -> None:
    data = {"images": pixels().tolist(), "labels": [0] * 24}
    way = found(r"to be arrays: (\{.+?\})\.", said(lambda: trainer(data)).lower())
    assert trainer(eval(way, {"numpy": np, "data": data})).spec.shape == (1, 8, 8)


@row("config")
def a_batch_that_is_larger_than_the_data() -> None:
    text = said(lambda: trainer(batch_size=500))
    trainer(batch_size=int(found(r"at most (\d+)", text)))


@row("config", (48, "dcgan"), (50, "upsample"), (20, "dcgan"), (31, "upsample"))
def a_size_that_an_architecture_cannot_do(size: int, name: str) -> None:
    text = said(lambda: ganzoo.architectures.create(name).check(SampleSpec(shape=(1, size, size))))
    height, width = map(int, found(r"nearest it can is (\d+x\d+)", text).split("x"))
    ganzoo.architectures.create(name).check(SampleSpec(shape=(1, height, width)))


@row("config", "dcgan", "upsample")
def samples_that_are_no_images(name: str) -> None:
    text = said(lambda: trainer("ring", arch=name))
    trainer("ring", arch=found(r"take '(\w+)'", text))


@row("config", 4, [6, 8], [8, 7], 1)
def padding_to_a_smaller_size(size: Any) -> None:
    size = size if isinstance(size, int) else tuple(size)
    text = said(lambda: trainer(resize_mode="pad", size=size))
    name, mode = re.search(r"(\w+)='(\w+)'", text).groups()
    trainer(**{name: mode, "size": size})


@row("config", [16, 16], [16, 12], [9, 9], [4, 8])
def a_size_without_a_way_to_it(size: list[int]) -> None:
    text = said(lambda: Preprocessing(method="none", original_size=(8, 8), size=tuple(size)))
    ways = re.findall(r"(\w+)='(\w+)'", text)
    assert ways
    for name, mode in ways if min(size) >= 8 else ways[1:]:
        trainer(**{name: mode, "size": tuple(size)})


@row("config")
def a_size_of_points() -> None:
    assert "Leave it out" in said(lambda: trainer("ring", size=16))
    trainer("ring")


@row("config")
def classes_without_labels() -> None:
    assert "leave it off" in said(lambda: trainer(conditional=True))
    trainer(conditional=False)


@row("config")
def classes_without_an_architecture_for_them() -> None:
    data = (pixels(), np.arange(24) % 3)
    text = said(lambda: trainer(data, conditional=True))
    assert "leave conditional off" in text
    if others := re.search(r"one that does: ([\w, -]+);", text):
        for name in others.group(1).split(", "):
            assert ganzoo.architectures.get(name).conditional
    else:  # or one is written
        with labelled() as name:
            text = said(lambda: trainer(data, conditional=True))
            assert name in text
            trainer(data, arch=name, conditional=True)
    trainer(data, conditional=False)


@contextlib.contextmanager
def labelled() -> Any:
    """An architecture that uses labels, as long as the block lasts."""

    class Labelled(MLP):
        """Uses labels."""

        conditional = True

    registry.register("labelled")(Labelled)
    try:
        yield "labelled"
    finally:
        registry.unregister("labelled")


@row("config")
def nesterov_without_momentum() -> None:
    sgd = {"name": "sgd", "nesterov": True}
    text = said(lambda: optimizers.create(sgd))
    optimizers.create({**sgd, "momentum": float(found(r"such as ([\d.]+\d)", text))})


@row("config")
def targets_the_wrong_way_round() -> None:
    text = said(lambda: losses.create({"name": "bce", "real": 0.0, "fake": 1.0}))
    losses.create({"name": "bce", "swapped": literal(found(r"swapped=(\w+)", text))})


@row("config", (0.5, 0.4, 1.0), (0.9, 0.1, 0.9), (0.0, 0.6, 0.7), (0.3, 0.3, 0.73))
def targets_that_pass_each_other(smoothing: float, noise: float, real: float) -> None:
    text = said(
        lambda: losses.create({"name": "bce", "smoothing": smoothing, "noise": noise, "real": real})
    )
    within = float(found(r"within ([\d.]+\d|\d)", text))
    losses.create({"name": "bce", "smoothing": 0, "noise": within / 2, "real": real})
    losses.create({"name": "bce", "smoothing": within, "noise": 0, "real": real})


@row("config")
def scores_that_never_come() -> None:
    settings = {"evaluate_every": 50, "metrics": ["swd"], "steps": 10}
    data = pixels(24, 16)
    text = said(lambda: trainer(data, **settings))
    assert "Set it lower, or leave it out" in text
    lower = int(found(r"training has (\d+) steps", text))
    trainer(data, **{**settings, "evaluate_every": lower})
    trainer(data, steps=10)


@row("config", ("metrics", ["swd"]), ("evaluate_num_real", 8), ("evaluate_async", True))
def settings_of_scores_without_scores(name: str, value: Any) -> None:
    data = pixels(24, 16)
    text = said(lambda: trainer(data, **{name: value}))
    needed = found(r"Set (\w+), or leave", text)
    trainer(data, **{"metrics": ["swd"], name: value, needed: 1})
    trainer(data)


@row("config", "min:los", "max:dloss", "min:fid", "min:swdd")
def the_best_by_what_is_not_there(keep: str) -> None:
    text = said(lambda: trainer(keep_best=keep, checkpoint_every=1, steps=2))
    for way in re.findall(r"\b(min:|max:)", found(r"Give (.+?) and one of", text)):
        for name in found(r"one of: (.+)\.$", text).split(", "):
            trainer(keep_best=way + name, checkpoint_every=1, steps=2)


@row("config")
def the_best_without_checkpoints() -> None:
    text = said(lambda: trainer(keep_best="min:d_loss", checkpoint_every=0))
    assert "Set it" in text
    trainer(keep_best="min:d_loss", **{found(r"and (\w+) is 0", text): 1})


@row("config")
def patience_without_scores() -> None:
    text = said(lambda: trainer(pixels(24, 16), patience=2))
    needed = found(r"or set (\w+)", text)
    trainer(pixels(24, 16), patience=2, metrics=["swd"], **{needed: 1})
    trainer(pixels(24, 16))


@row("config", "mlp", 3)
def a_recipe_by_what_is_no_name(given: Any) -> None:
    text = said(lambda: resolve({"recipe": given}))
    for name in found(r"Available: (.+)\.", text).split(", "):
        ganzoo.recipes.get(name)


@row("config")
def an_alias_in_a_file() -> None:
    Path("c.yaml").write_text("steps: &n 5\nlog_every: *n\n")
    assert "write out what it stands for" in said(lambda: read_config(Path("c.yaml")))
    Path("c.yaml").write_text("steps: 5\nlog_every: 5\n")
    resolve(read_config(Path("c.yaml")))


@row("config", ((0, 1), (8, 8)), ((-2, 2), (8, 8)), ((-1, 1), (16, 16)), ((-1, 1), (12, 10)))
def a_generator_of_another_form(value_range: Any, size: Any) -> None:
    run_of(pixels(), value_range=(-1, 1), size=(8, 8))
    settings = {"init_from": "run", "value_range": value_range, "size": size, "arch": None}
    settings = {"latent": None, **settings}
    settings = {name: value for name, value in settings.items() if value is not None}
    make = lambda more: Trainer(  # noqa: E731
        dataset=pixels(), steps=1, batch_size=8, progress=False, **{**settings, **more}
    ).setup()
    text = said(lambda: make({}))
    name, value = re.search(r"Give (\w+)=(\(.+?\))", text).groups()
    make({name: literal(value)})


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


@row("config", *DIAGNOSES)
def what_a_diagnosis_advises(settings: dict[str, Any], about: str, line: Line) -> None:
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


@row("config")
def two_trackers_alike() -> None:
    text = said(lambda: resolve({"metrics": ["swd", "swd"]}))
    assert "once is enough" in text
    resolve({"metrics": ["swd"]})


# -- device -----------------------------------------------------------------------------------


@row("device", "tpu", "gpu", "cuda:99", "mps", "cuda:x")
def a_device_that_is_not_there(name: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")
    text = said(lambda: pick_device(name))
    told = [each for each in re.findall(r"'([\w:]+)'", text) if each != name]
    assert "cpu" in told
    assert pick_device("cpu") and pick_device("auto")
    for each in told:  # what is named is a device, be it here or not
        with contextlib.suppress(GanzooError):
            pick_device(each)
            continue
        assert "is not a device" not in said(lambda each=each: pick_device(each))


@row("device", "tpu", "mps")
def a_device_on_the_command_line(name: str, line: Line) -> None:
    text = line.refused("train", "mlp", "--dataset", "ring", "--device", name, "--dry-run")
    device = found(r"'(auto)'", text)
    line.runs("train", "mlp", "--dataset", "ring", *TINY, "--device", device, "--dry-run")


# -- the command line -------------------------------------------------------------------------

FLAGS = (
    ("--lr", "1e-4"), ("--learning-rate", "1e-4"), ("--g-lr", "1e-4"), ("--bs", "8"),
    ("--n-epochs", "1"), ("--iters", "3"), ("--nz", "5"), ("--n-critic", "2"),
    ("--criterion", "hinge"), ("--scheduler", "cosine"), ("--manual-seed", "1"), ("--stepz", "3"),
    ("--learning_rate", "1e-4"), ("--ema", "0.9"), ("--fit", "pad"),
)  # fmt: skip


@row("command line", *FLAGS)
def an_option_of_another_program(flag: str, value: str, line: Line) -> None:
    start = ("train", "mlp", "--dataset", "ring", "--arch.hidden", "4", "--quiet", "--dry-run")
    hint = found(r"Did you mean (.+)\?", line.refused(*start, flag, value))
    meant = [token for each in hint.split(" and ") for token in (each, value)]
    line.runs(*start, *meant)


@row("command line", "ring", "three-gaussians")
def the_data_as_a_second_word(data: str, line: Line) -> None:
    text = line.refused("train", "mlp", data, "--dry-run")
    line.runs("train", "mlp", *shlex.split(found(r"write (.+)\.$", text)), *TINY, "--dry-run")


@row("command line", "ring", "three-gaussians-2d", "grid")
def no_architecture_but_something_else_first(word: str, line: Line) -> None:
    text = line.refused("train", word, "--dry-run")
    said_so = shlex.split(found(r"write (--\w+ \S+)\. Architectures", text))
    if said_so[0] == "--recipe":
        line.runs("train", *said_so, "--dry-run")
        return
    other = found(r"take '(\w+)'", line.refused("train", *said_so, "--dry-run"))
    line.runs("train", other, *said_so, *TINY, "--dry-run")


@row("command line", ("hidden", "4"), ("reversed", "1"), ("dropout", "0.1"), ("maps", "8"))
def an_option_of_another_architecture(option: str, value: str, line: Line) -> None:
    text = line.refused("train", "dcgan", f"--arch.{option}", value, "--dry-run")
    other = re.search(r"say (--arch) (\w+) too", text)
    if other is None:  # nobody has it: what there is, is told
        for each in found(r"Options: (.+?)\.", text).split(", "):
            assert each.replace("-", "_") in ganzoo.architectures.get("dcgan").model_fields
        return
    assert option in ganzoo.architectures.get(other.group(2)).model_fields
    np.save("x.npy", pixels(24, 16))
    more = ("--dataset", "x.npy", "--batch-size", "8", "--dry-run")
    line.runs("train", *other.groups(), f"--arch.{option}", value, *more)


@row("command line", "coutn", "outt", "sed")
def a_misspelt_option_of_sample(option: str, line: Line) -> None:
    maker().save_pretrained("made")
    meant = found(r"Did you mean (--\w+)\?", line.refused("sample", "made", f"--{option}", "2"))
    line.runs("sample", "made", meant, "two.npy" if meant == "--out" else "2")


@row("command line", "trian", "resum", "evalute", "comapre", "doctr")
def a_misspelt_command(word: str, line: Line) -> None:
    meant = found(r'Did you mean "(.+?)"', line.refused(word))
    with pytest.raises(SystemExit) as caught:
        main([meant, "--help"])
        raise SystemExit(0)
    assert caught.value.code == 0


@row("command line", "wgan", "lsgan", "dcgn")
def a_misspelt_name_to_show(name: str, line: Line) -> None:
    meant = found(r"Did you mean '(.+?)'", line.refused("show", name))
    assert meant in line.runs("show", meant)


@row("command line", "archs", "loses", "metric")
def a_misspelt_kind(kind: str, line: Line) -> None:
    text = line.refused("list", kind)
    for each in found(r"Kinds: (.+)\.$", text).split(", "):
        assert line.runs("list", each)


@row("command line")
def a_folder_that_is_taken(line: Line) -> None:
    line.runs("train", "mlp", "--dataset", "ring", "--steps", "2", *TINY, "--out", "mine")
    text = line.refused("train", "mlp", "--dataset", "ring", *TINY, "--out", "mine")
    again = found(r"'(ganzoo resume .+?)'", text)
    line.follow(f"{again} --steps 3 --quiet")
    other = found(r"(--out)\.", text)
    line.runs("train", "mlp", "--dataset", "ring", "--steps", "2", *TINY, other, "other")


@row("command line")
def fewer_than_one_sample(line: Line) -> None:
    maker().save_pretrained("made")
    text = line.refused("sample", "made", "--count", "0")
    flag, least = re.search(r"(--\w+) must be at least (\d+)", text).groups()
    line.runs("sample", "made", flag, least, "--out", "x.npy")


@row("command line")
def an_unknown_kind_of_file(line: Line) -> None:
    maker().save_pretrained("made")
    text = line.refused("sample", "made", "--count", "2", "--out", "x.jpeg2")
    kinds = re.findall(r"(\.[a-z]+)(?= for| or|,)", text.partition("Use ")[2])
    assert len(kinds) >= 3
    for kind in kinds:
        line.runs("sample", "made", "--count", "2", "--out", f"x{kind}")


@row("command line")
def a_file_that_is_there(line: Line) -> None:
    maker().save_pretrained("made")
    Path("x.npy").touch()
    text = line.refused("sample", "made", "--count", "2", "--out", "x.npy")
    line.runs("sample", "made", "--count", "2", "--out", "x.npy", found(r"add (--\w+)", text))


@row("command line")
def one_run_to_compare(line: Line) -> None:
    assert "give two or more" in line.refused("compare", str(run_of()))
    run_of(out="second")
    line.runs("compare", "run", "second")


@row("command line")
def what_a_picture_of_a_comparison_may_be_called(line: Line) -> None:
    run_of()
    run_of(out="second")
    text = line.refused("compare", "run", "second", "--plot", "x.bmp2")
    for ending in found(r"ending in (.+)\.$", text).split(", "):
        line.runs("compare", "run", "second", "--plot", f"x{ending}")


# -- data -------------------------------------------------------------------------------------

RANGES = {
    "negative floats": np.float32([-24.3963, 26.7462, 3.3]),
    "large floats": np.float32([0, 1234.5678, 7]),
    "small floats": np.float32([-1.00001, 0.5, 1.2]),
    "tiny": np.float32([0.123456789, 2.7182818, 1.5]),
    "float64": np.float64([-3.14159265358979, 99999.999999, 0]),
    "huge": np.float32([-1.5e20, 3.3e19, 0]),
    "int16": np.int16([-32768, 32767, 12]),
    "uint16": np.uint16([0, 4095, 77]),
    "int32": np.int32([-123456789, 987654321, 5]),
    "int64": np.int64([0, 1234567891, 5]),
    "half": np.float16([-7.77, 5.55, 0]),
    "few digits": np.float32([0, 255.5, 3]),
}
_RANGE = r"stored_range=\(\s*([^,()\s]+),\s*([^()\s]+?)\s*\)"


def spread(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.resize(values, (24, 1, 8, 8))


@row("data", *RANGES)
def a_range_that_nobody_knows(name: str) -> None:
    data = spread(RANGES[name])
    given = said(lambda: InMemoryDataset.of(data).load()) if _refuses(data) else _note(data)
    advised = re.search(_RANGE, given)
    if advised is None:
        pytest.skip("a range that is taken as known, without a note")
    low, high = (float(end) for end in advised.groups())
    assert low <= data.min() and data.max() <= high  # outwards
    kept = InMemoryDataset.of(data, stored_range=(low, high))
    assert trainer(kept).spec.shape == (1, 8, 8)


def _refuses(data: Any) -> bool:
    try:
        InMemoryDataset.of(data).load()
    except GanzooError:
        return True
    return False


def _note(data: Any) -> str:
    return " ".join(trainer(data).notices)


@row("data", *[name for name in RANGES if name not in ("huge",)])
def a_range_in_a_file_on_the_command_line(name: str, line: Line) -> None:
    np.save("x.npy", spread(RANGES[name]))
    start = ("train", "mlp", "--dataset", "x.npy", "--dry-run", *TINY)
    try:
        text = line.runs(*start)
    except SystemExit:
        text = line.capture.readouterr().err
    advised = re.search(r"--dataset\.stored-range (\S+) (\S+)", text) or re.search(_RANGE, text)
    if advised is None:
        pytest.skip("a range that is taken as known, without a note")
    low, high = advised.groups()
    low, high = low.rstrip(".,;:)"), high.rstrip(".,;:)")
    line.runs(*start, "--dataset.stored-range", low, high)


@row("data", "bool", "uint8")
def a_range_that_is_known_needs_no_word(dtype: str) -> None:
    data = (pixels() > 100) if dtype == "bool" else pixels()
    assert trainer(data).spec.value_range == (-1, 1)


@row("data", ("npz", 0), ("mapping", 0))
def several_arrays_and_no_word_which(kind: str, _: int) -> None:
    arrays = {"train_images": pixels(), "test_images": pixels(), "train_labels": np.zeros(24, int)}
    np.savez("x.npz", **arrays)
    dataset = {"name": "array", "path": "x.npz"}
    text = said(
        (lambda: trainer(dataset)) if kind == "npz" else (lambda: InMemoryDataset.of(arrays))
    )
    for key in ("key", "labels_key"):
        assert key in text
    there = found(r"Names in it: (.+?)\.", text).split(", ")
    chosen = {"key": next(n for n in there if "images" in n)}
    chosen["labels_key"] = next(n for n in there if "labels" in n)
    if kind == "npz":
        assert trainer({**dataset, **chosen}).spec.shape == (1, 8, 8)
    else:
        assert InMemoryDataset.of(arrays, **chosen).load().data.shape[1:] == (1, 8, 8)


@row("data", "imges", "image", "labesl")
def an_array_by_a_misspelt_name(key: str) -> None:
    np.savez("x.npz", images=pixels(), labels=np.zeros(24, int))
    option = "labels_key" if key.startswith("lab") else "key"
    dataset = {"name": "array", "path": "x.npz", option: key}
    meant = found(r"Did you mean '(\w+)'", said(lambda: trainer(dataset)))
    trainer({**dataset, option: meant})


@row("data")
def a_name_for_an_array_without_one() -> None:
    np.save("x.npy", pixels())
    text = said(lambda: trainer({"name": "array", "path": "x.npy", "key": "images"}))
    assert "leave out key" in text
    trainer({"name": "array", "path": "x.npy"})


@row("data")
def objects_instead_of_numbers() -> None:
    data = np.array([[1, 2.0, 3.0]] * 24, dtype=object)
    dtypes = re.findall(r"\b(uint8|float32)\b", said(lambda: InMemoryDataset.of(data).load()))
    assert "float32" in dtypes
    for dtype in dtypes:
        InMemoryDataset.of(data.astype(dtype), stored_range=(0, 10)).load()


@row("data")
def one_row_without_an_axis_that_counts() -> None:
    text = said(lambda: InMemoryDataset.of(np.zeros(64, np.float32)).load())
    for shape in re.findall(r"\((N(?:, \w)+)\)", text):
        sizes = {"N": 24, "D": 4, "C": 1, "H": 8, "W": 8}
        InMemoryDataset.of(np.zeros([sizes[axis] for axis in shape.split(", ")], np.float32)).load()


@row("data")
def one_hot_labels_become_classes() -> None:
    labels = np.eye(3, dtype=np.int64)[np.arange(24) % 3]
    text = (
        said(lambda: InMemoryDataset.of((pixels(), labels)).load())
        if _refuses((pixels(), labels))
        else ""
    )
    if text:
        assert "argmax" in text
        InMemoryDataset.of((pixels(), labels.argmax(1))).load()


@row("data", "nowhere.npy", "fashon-mnist")
def data_that_are_nowhere(name: str) -> None:
    text = said(lambda: trainer(name))
    for each in found(r"Available: (.+)\.$", text).split(", "):
        datasets.get(each)


@row("data")
def a_data_set_of_the_hub_by_its_name() -> None:
    text = said(lambda: trainer("ylecun/mnist"))
    chosen = literal(found(r"it is (\{.+?\})", text))
    assert datasets.create(chosen).name == chosen["name"]


@row("data", "train", "val")
def folders_that_look_like_splits(name: str) -> None:
    for part in ("train", "val"):
        Path("photos", part).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(pixels(1)[0, 0]).save(f"photos/{part}/{number}.png")
    text = " ".join(trainer("photos", batch_size=4).notices)
    place, option = found(r"such as '(.+?)'", text), literal(found(r"labels=('\w+')", text))
    trainer(place.replace(place.rpartition("/")[2], name), batch_size=4)
    assert trainer({"name": "folder", "path": "photos", "labels": option}, batch_size=4).spec


@row("data", "x.rar", "x.7z", "x.png")
def a_file_instead_of_a_folder(name: str) -> None:
    Image.fromarray(pixels(1)[0, 0]).save("y.png")
    Path(name).write_bytes(Path("y.png").read_bytes())
    assert re.search(r"give the folder|Give one of these|unpack", said(lambda: trainer(name)))


@row("data", "zip", "tar")
def an_archive_that_is_none(kind: str) -> None:
    Path("photos").mkdir()
    for number in range(8):
        Image.fromarray(pixels(1)[0, 0]).save(f"photos/{number}.png")
    Path(f"x.{kind}").write_bytes(Path("photos/0.png").read_bytes())
    assert "make it again" in said(lambda: trainer(f"x.{kind}"))
    shutil.make_archive("x", kind, "photos")
    assert trainer(f"x.{kind}").spec.shape == (1, 8, 8)


class Items(torch.utils.data.Dataset):
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return 300  # more than are looked at

    def __getitem__(self, index: int) -> Any:
        return torch.full((1, 8, 8), index / 300), index % 3


@row("data", ("classes", ["a", "b", "c"]), ("targets", [0, 1, 2] * 100))
def classes_that_workers_must_know(name: str, value: Any) -> None:
    with labelled() as arch:
        settings = {"arch": arch, "conditional": True}
        text = said(lambda: trainer(Items(), workers=0, **settings))
        assert f"'{name}'" in text and "leave 'workers' out" in text
        assert trainer(Items(**{name: value}), workers=0, **settings).spec.classes
        assert trainer(Items(), **settings).spec.classes


@row("data", "ring", "array")
def workers_for_what_is_in_memory(name: str) -> None:
    data = name if name == "ring" else pixels()
    assert "leave 'workers' out" in said(lambda: trainer(data, workers=2))
    trainer(data)


# -- evaluate ---------------------------------------------------------------------------------


def kid(size: int) -> Metric:
    return metrics.create(
        {"name": "kid", "subset_size": size, "subsets": 2, "extractor": Function.of(flat)}
    )


def score(source: Any, dataset: Any, chosen: Any, **options: Any) -> Any:
    return ganzoo.evaluate(source, dataset, [chosen], cache=False, device="cpu", **options)


@row("evaluate", 100, 25, 1000)
def subsets_larger_than_the_samples(size: int) -> None:
    text = said(lambda: score(pixels(24), pixels(20) // 2, kid(size)))
    lower = int(found(r"(?:subset_size=|, not )(\d+)", text))
    score(pixels(24), pixels(20) // 2, kid(lower))


@row("evaluate", 40, 21)
def more_samples_than_there_are(count: int) -> None:
    text = said(lambda: score(pixels(24), pixels(20), kid(10), num_real=count))
    score(pixels(24), pixels(20), kid(10), num_real=int(found(r"at most (\d+)", text)))


@row("evaluate")
def a_metric_twice() -> None:
    text = said(lambda: ganzoo.evaluate(pixels(), pixels(), [kid(5), kid(5)]))
    assert "leave one of them out" in text
    score(pixels(), pixels() // 2, kid(5))


@row("evaluate")
def no_metric() -> None:
    text = said(lambda: ganzoo.evaluate(pixels(), pixels(), []))
    for name in found(r"There are: (.+)\.$", text).split(", "):
        metrics.get(name)


@row("evaluate", "swd", "ms-ssim", "fid")
def a_metric_of_images_for_points(name: str) -> None:
    text = said(lambda: score("ring", "ring", name))
    assert "eave it out" in text
    score("ring", "ring", "modes")


@row("evaluate")
def a_preset_for_what_is_no_inception() -> None:
    text = said(lambda: score(pixels(), pixels() // 2, kid(5), preset="clean"))
    assert "Leave it out" in text
    score(pixels(), pixels() // 2, kid(5))


@row("evaluate", (16, 8), (32, 16))
def real_pictures_of_another_size(one: int, other: int) -> None:
    made, real = pixels(24, one), pixels(24, other)
    text = said(lambda: score(made, real, "swd"))
    assert re.search(r"size", text)
    Path("real").mkdir()
    for number, each in enumerate(real):
        Image.fromarray(each[0]).save(f"real/{number}.png")
    score(made, {"name": "folder", "path": "real", "size": one}, "swd")


@row("evaluate")
def a_picture_of_neighbours_without_them() -> None:
    text = said(lambda: score(pixels(), pixels() // 2, kid(5), picture="x.png"))
    name, option, bound = re.search(
        r"ask for '([\w-]+)' too, with '(\w+)' above (\d+)", text
    ).groups()
    chosen = {"name": name, "extractor": Function.of(flat), option: int(bound) + 1}
    score(pixels(), pixels() // 2, metrics.create(chosen), picture="x.png")
    assert Path("x.png").is_file()


@row("evaluate")
def nothing_to_compare_with() -> None:
    text = said(lambda: score(maker(), None, kid(5), num_fake=10))
    assert "give" in text.lower()
    score(maker(), pixels(), kid(5), num_fake=10)


@row("evaluate", 0, -1)
def a_count_below_one(count: int) -> None:
    text = said(lambda: score(maker(), pixels(), kid(5), num_fake=count))
    lower = int(found(r"num_fake cannot be -?\d+: input should be greater than (\d+)", text)) + 1
    text = said(lambda: score(maker(), pixels(), kid(5), num_fake=lower))
    score(maker(), pixels(), kid(5), num_fake=int(found(r"needs at least (\d+) generated", text)))


@row("evaluate", '{"name": "kid",', "{kid}")
def a_metric_that_is_nearly_json(text: str, line: Line) -> None:
    np.save("a.npy", pixels(24, 16))
    np.save("b.npy", pixels(24, 16) // 2)
    told = line.refused("evaluate", "a.npy", "--dataset", "b.npy", "--metrics", text)
    example = found(r"Write it as '(\{.+\})'", told)
    assert metrics.create(literal(example)).name == "kid"


# -- resume -----------------------------------------------------------------------------------


@row(
    "resume", ("--batch-size", "4"), ("--seed", "3"), ("--g-optimizer.lr", "1e-5"), ("--lr", "1e-5")
)
def another_setting_of_a_run(flag: str, value: str, line: Line) -> None:
    run_of()
    text = line.refused("resume", "run", flag, value)
    line.follow(f"{found(r': (ganzoo train .+)$', text)} --quiet --out next")
    for each in found(r"only (.+?) may be given", text).split(", "):
        assert each in _help(line, "resume")


def _help(line: Line, command: str) -> str:
    with contextlib.suppress(SystemExit):
        main([command, "--help"])
    return line.capture.readouterr().out


OTHERS = (
    ("batch_size", 4), ("seed", 3), ("g_optimizer", {"lr": 1e-5}), ("lr", 1e-5), ("loss", "hinge"),
    ("log_every", 1), ("learning_rate", 1e-3), ("precision", "fp32"), ("d_steps", 2), ("bs", 4),
)  # fmt: skip


@row("resume", *OTHERS)
def another_setting_of_a_run_in_python(name: str, value: Any) -> None:
    run = run_of()
    text = said(lambda: Trainer.resume(run, progress=False, **{name: value}))
    again = eval(found(r": (Trainer\(.+\))$", text), {"Trainer": Trainer})
    assert again.fit().path != run
    taken = found(r"only (.+?) may be given", text).split(", ")
    assert {"steps", "device"} <= {*taken}


@row("resume", "--size 16 16", "--deterministic", "--value-range 0 1", "--no-conditional")
def another_setting_of_several_words_or_none(given: str, line: Line) -> None:
    words = given.split()
    np.save("x.npy", pixels())
    run_of("x.npy")
    text = line.refused("resume", "run", *words)
    follow = found(r": (ganzoo train .+)$", text)
    assert shlex.split(follow)[-len(words) :] == words
    line.follow(f"{follow} --quiet --out next")


@row("resume", "step", "devise", "epoch")
def a_misspelt_word_of_resume(word: str) -> None:
    run = run_of()
    meant = found(r"Did you mean '(\w+)'", said(lambda: Trainer.resume(run, **{word: 3})))
    assert meant in ("steps", "device", "epochs")
    value = {"steps": 3, "device": "cpu", "epochs": None}[meant]
    Trainer.resume(run, progress=False, **{meant: value})


@row("resume")
def a_run_that_is_done(line: Line) -> None:
    run = run_of()
    flag = found(r"total with (--\w+)", line.refused("resume", str(run)))
    line.runs("resume", str(run), flag, "3", "--quiet")


@row("resume")
def fewer_steps_than_are_done() -> None:
    run = run_of()
    done = int(found(r"trained for (\d+) steps", said(lambda: Trainer.resume(run, steps=1))))
    Trainer.resume(run, steps=done + 1, progress=False).fit()


@row("resume")
def data_that_were_in_memory() -> None:
    run = run_of(pixels())
    text = said(lambda: Trainer.resume(run, steps=3, progress=False))
    option = found(r"Trainer\.resume\(run, (\w+)=", text)
    Trainer.resume(run, steps=3, progress=False, **{option: pixels()}).fit()


@row("resume")
def other_data_than_before() -> None:
    run = run_of(pixels())
    text = said(lambda: Trainer.resume(run, steps=3, dataset=pixels() // 2, progress=False))
    assert "pass the same data again" in text
    Trainer.resume(run, steps=3, dataset=pixels(), progress=False).fit()


@row("resume")
def workers_for_a_run_without() -> None:
    run = run_of()
    assert "Leave workers out" in said(lambda: Trainer.resume(run, steps=3, workers=1))
    Trainer.resume(run, steps=3, progress=False).fit()


@row("resume", "rum", "nowhere")
def a_run_that_is_not_there(name: str) -> None:
    assert "Give the folder of a run" in said(lambda: Trainer.resume(name))
    Trainer.resume(run_of(), progress=False)


# -- generator --------------------------------------------------------------------------------


@row("generator", (4, (4, 7)), (2, (3, 3)))
def latents_of_another_shape(count: int, shape: tuple[int, ...]) -> None:
    text = said(lambda: maker().sample(count, latents=torch.zeros(shape)))
    needed = literal(found(r"need (\(.+?\))", text))
    assert len(maker().sample(count, latents=torch.zeros(needed))) == count


@row("generator", 3, "cat")
def labels_without_classes(label: Any) -> None:
    assert "leave out 'labels'" in said(lambda: maker().sample(2, labels=label))
    maker().sample(2)


@row("generator", "dcgan.fashon", "mlp.mnst")
def a_misspelt_generator(name: str) -> None:
    meant = found(r"Did you mean '(.+?)'", said(lambda: Generator.from_pretrained(name)))
    assert len(Generator.from_pretrained(meant).sample(2)) == 2


@row("generator", (50, 4000), (200, 20000))
def more_bytes_than_are_allowed(count: int, allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANZOO_MAX_BYTES", str(allowed))
    text = said(lambda: maker().sample(count))
    assert "Draw them in parts" in text
    maker().sample(5)
    each = int(found(r"of (\d+) bytes each", text.replace(",", "")))
    monkeypatch.setenv(found(r"variable (\w+) to more", text), str(2 * count * each))
    assert len(maker().sample(count)) == count


@row("generator", "much", "-3", "1e9")
def a_limit_that_is_no_number(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANZOO_MAX_BYTES", given)
    name = found(r"variable (\w+) is", said(lambda: maker().sample(2)))
    monkeypatch.setenv(name, "1000000")
    maker().sample(2)


@row("generator")
def half_precision_that_is_exceeded() -> None:
    made = maker()
    with torch.no_grad():
        next(made.module.parameters()).fill_(1e6)
    assert "without half" in said(lambda: made.save_pretrained("made", half=True))
    made.save_pretrained("made")


@row("generator")
def a_discriminator_that_is_not_there() -> None:
    text = said(lambda: maker().save_pretrained("made", discriminator=True))
    assert "Give the net itself, or leave it out" in text
    net = MLP(hidden=(4,)).discriminator(SampleSpec(shape=(1, 8, 8)))
    maker().save_pretrained("made", discriminator=net)
    maker().save_pretrained("other")
    text = said(
        lambda: Generator.from_pretrained("other").discriminator() or bundle.discriminator("other")
    )
    option = found(r"save_pretrained\(\.\.\., (\w+)=", text)
    maker().save_pretrained("third", **{option: net})
    assert bundle.discriminator("third")


@row("generator")
def a_revision_of_a_folder() -> None:
    maker().save_pretrained("made")
    text = said(lambda: Generator.from_pretrained("made", revision="main"))
    assert "Leave the revision out" in text
    Generator.from_pretrained("made")


@row("generator")
def a_folder_that_is_something_else() -> None:
    Path("mine").mkdir()
    Path("mine/letter.txt").touch()
    assert "Choose another folder" in said(lambda: maker().save_pretrained("mine"))
    maker().save_pretrained("other")


@row("generator", SampleSpec(kind="audio", shape=(2, 64)), SampleSpec(kind="vector", shape=(6,)))
def a_picture_of_what_is_no_image(spec: SampleSpec) -> None:
    text = said(lambda: maker(spec).grid(4))
    assert "a audio" not in text and spec.kind in text


@row("generator", ".png", ".mp4")
def an_animation_of_another_kind(ending: str) -> None:
    for number in range(2):
        Image.fromarray(pixels(1)[0, 0]).save(f"{number}.png")
    frames = [Path("0.png"), Path("1.png")]
    text = said(lambda: animate(frames, Path(f"x{ending}")))
    for kind in re.findall(r"(\.gif|\.webp)", text):
        animate(frames, Path(f"x{kind}"))
        assert Path(f"x{kind}").is_file()


# -- convert ----------------------------------------------------------------------------------


def weights_file() -> None:
    spec, latent = SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,))
    nets = [MLP(hidden=(4,)).generator(spec, latent).state_dict() for _ in range(2)]
    torch.save(nets[0], "one.pt")
    torch.save({"a": nets[0], "b": nets[1]}, "two.pt")


@row("convert")
def weights_without_a_word_of_what(line: Line) -> None:
    weights_file()
    text = line.refused("convert", "one.pt")
    command = found(r"(ganzoo convert CHECKPOINT [^.;]+)", text)
    follow = (
        command.replace("CHECKPOINT", "one.pt").replace("NAME", "mlp").replace("FOLDER", "made")
    )
    line.follow(follow)


@row("convert")
def two_nets_that_fit(line: Line) -> None:
    weights_file()
    text = line.refused("convert", "two.pt", "--arch", "mlp", "--out", "made")
    flag = found(r"Name one with (--\w+)", text)
    for place in re.findall(r"'([ab])'", text):
        line.runs("convert", "two.pt", "--arch", "mlp", "--out", f"made-{place}", flag, place)


@row("convert")
def a_range_and_none(line: Line) -> None:
    weights_file()
    start = ("convert", "one.pt", "--arch", "mlp", "--out")
    text = line.refused(*start, "made", "--value-range", "-1", "1", "--unbounded")
    first, second = re.findall(r"(--[\w-]+)", text)
    line.runs(*start, "made1", first, "-1", "1")
    line.runs(*start, "made2", second)


@row("convert", "imge", "vectr")
def a_misspelt_kind_of_samples(kind: str) -> None:
    weights_file()
    text = said(lambda: convert("one.pt", "mlp", "made", kind=kind))
    convert("one.pt", "mlp", "made", kind=found(r"Did you mean '(\w+)'", text))


# -- the Hub ----------------------------------------------------------------------------------


@row("hub", "https://huggingface.co/zoo/a", "hf.co/zoo/a")
def an_address_instead_of_a_name(address: str, server: HubServer) -> None:
    text = said(lambda: Generator.from_pretrained(address))
    name = re.search(r"as '([^']+)'", text)
    assert len(Generator.from_pretrained(name.group(1) if name else "zoo/a").sample(1)) == 1


@row("hub")
def two_revisions(server: HubServer) -> None:
    text = said(lambda: Generator.from_pretrained("zoo/a@main", revision="other"))
    assert "leave one out" in text
    Generator.from_pretrained("zoo/a@main")


@row("hub", "mian", "v1")
def a_revision_that_is_not_there(revision: str, server: HubServer) -> None:
    text = said(lambda: Generator.from_pretrained("zoo/a", revision=revision))
    for each in found(r"branches and tags: (.+)\.$", text).split(", "):
        Generator.from_pretrained("zoo/a", revision=each)


@row("hub")
def no_token(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    variable = found(r"set (HF_\w+)", said(lambda: maker().push_to_hub("zoo/b")))
    monkeypatch.setenv(variable, "hf_ann")
    maker().push_to_hub("zoo/b")


@row("hub", "commit")
def a_push_to_a_commit(_: str, server: HubServer) -> None:
    commit = server.commits("zoo/a")[-1]
    text = said(lambda: maker().push_to_hub("zoo/a", revision=_hash(commit)))
    assert "give a branch" in text
    maker().push_to_hub("zoo/a", revision="another")


def _hash(commit: Any) -> str:
    return next(v for v in vars(commit).values() if re.fullmatch(r"[0-9a-f]{40}", str(v)))


@row("hub")
def a_pull_request_to_a_branch(server: HubServer) -> None:
    text = said(lambda: maker().push_to_hub("zoo/a", create_pr=True, revision="refs/pr/1"))
    assert "leave out the revision" in text
    maker().push_to_hub("zoo/a", create_pr=True)


@row("hub")
def an_edited_card(server: HubServer) -> None:
    server.commit("zoo/a", {"README.md": b"---\nlicense: mit\n---\nMine.\n"})
    done = maker(SampleSpec(shape=(1, 4, 4))).push_to_hub("zoo/a")
    option = found(r"(\w+) replaces it", " ".join(done.notices))
    again = maker(SampleSpec(shape=(1, 4, 4))).push_to_hub("zoo/a", **{option: True})
    assert not again.notices or "was edited" not in " ".join(again.notices)


@row("hub")
def a_public_repository_that_should_be_private(server: HubServer) -> None:
    text = said(lambda: maker().push_to_hub("zoo/a", private=True))
    assert "choose another name" in text
    maker().push_to_hub("zoo/other", private=True)


@row("hub", "no name", "a/b/c", "-a/b")
def what_is_no_name_of_a_repository(name: str, server: HubServer) -> None:
    text = said(lambda: hub.parse(name))
    assert re.search(r"owner/name|letters, digits", text)
    hub.parse("owner/name@revision")


@row("hub")
def another_model_there(server: HubServer) -> None:
    server.create_repo("zoo/theirs")
    server.commit("zoo/theirs", {"model.safetensors": b"x", "config.json": b"{}"})
    assert "Choose another repository" in said(lambda: maker().push_to_hub("zoo/theirs"))
    maker().push_to_hub("zoo/ours")


@row("hub", "mitt", "apache")
def a_licence_that_is_none(name: str, server: HubServer) -> None:
    with contextlib.suppress(GanzooError):
        maker().push_to_hub("zoo/a", license=name, dry_run=True)
        return
    text = said(lambda: maker().push_to_hub("zoo/a", license=name, dry_run=True))
    maker().push_to_hub("zoo/a", license=found(r"such as (\w+)", text).lower(), dry_run=True)


# -- plug-ins ---------------------------------------------------------------------------------


class Mine(Loss):
    """A loss."""

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return fake.mean() - real.mean()

    def generator(self, fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        return -fake.mean()


@row("plug-ins", "config", "check")
def a_component_without_a_name(way: str) -> None:
    class Fresh(Mine):
        """A loss."""

    def use() -> Any:
        return check_loss(Fresh()) if way == "check" else resolve({"loss": Fresh()})

    text = said(use)
    name = found(r'register\("([\w-]+)"\)', text)
    losses.register(name)(Fresh)
    try:
        use()
    finally:
        losses.registry.unregister(name)


@row("plug-ins", "My Loss", "UPPER", "a--b", "")
def a_name_that_is_none(name: str) -> None:
    text = said(lambda: losses.register(name)(Mine))
    assert "lower-case letters and digits" in text
    better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"
    losses.register(better)(type("Other", (Mine,), {"__doc__": "A loss."}))
    losses.registry.unregister(better)


@row("plug-ins", "hinge", "bce")
def a_name_that_is_taken(name: str) -> None:
    assert "needs another name" in said(lambda: losses.register(name)(Mine))
    losses.register(f"my-{name}")(type("Other", (Mine,), {"__doc__": "A loss."}))
    losses.registry.unregister(f"my-{name}")


@row("plug-ins", "on_steps", "on_sampel", "on_score")
def a_hook_that_is_none(name: str) -> None:
    text = said(lambda: type("NonFiniteMonitor", (Callback,), {name: lambda self, *args: None}))
    meant = found(r"Did you mean '(\w+)'", text)
    type("NonFiniteMonitor", (Callback,), {meant: lambda self, *args: None})
    for hook in found(r"Hooks: (.+)\.$", text).split(", "):
        assert hasattr(Callback, hook)


@row("plug-ins", ("batchsize", "batch_size"), ("latents", "latent"))
def advice_for_a_setting_that_is_none(name: str, meant: str) -> None:
    def loss(setting: str) -> type[Loss]:
        return type("Advises", (Mine,), {"__doc__": "x", "recommended": {setting: 8}})

    losses.register("advises")(found_class := loss(name))
    try:
        text = said(lambda: check_loss(found_class()))
        assert found(r"Did you mean '(\w+)'", text) == meant
    finally:
        losses.registry.unregister("advises")
    losses.register("advises")(found_class := loss(meant))
    try:
        check_loss(found_class())
    finally:
        losses.registry.unregister("advises")


@row("plug-ins")
def an_architecture_that_is_incomplete() -> None:
    half = type("Half", (Architecture,), {"__doc__": "x"})
    text = said(lambda: registry.register("half")(half))
    missing = found(r"must define (.+)\.$", text).split(", ")
    whole = type("Whole", (Architecture,), {"__doc__": "x"} | dict.fromkeys(missing, _net))
    registry.register("half")(whole)
    registry.unregister("half")


def _net(self: Any, *args: Any) -> torch.nn.Module:
    return torch.nn.Identity()


@row("plug-ins", "name", "provider")
def an_option_that_is_reserved(name: str) -> None:
    namespace = {"__doc__": "x", "__annotations__": {name: str}, name: "y"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydantic, which says that it shadows one
        text = said(lambda: losses.register("reserving")(type("Reserving", (Mine,), namespace)))
    assert "rename it" in text
    namespace = {"__doc__": "x", "__annotations__": {f"my_{name}": str}, f"my_{name}": "y"}
    losses.register("reserving")(type("Reserving", (Mine,), namespace))
    losses.registry.unregister("reserving")
