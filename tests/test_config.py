from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml

from ganzoo import __version__, architectures, losses
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.architectures.mlp import MLP
from ganzoo.config import TrainConfig, defaults, read_config, resolve
from ganzoo.core.spec import LatentSpec
from ganzoo.datasets.in_memory import InMemoryDataset
from ganzoo.errors import ConfigError, UnknownNameError
from ganzoo.losses.hinge import Hinge
from ganzoo.losses.logistic import NonSaturating
from ganzoo.losses.wasserstein import Wasserstein
from ganzoo.optimizers import SGD, Adam, RMSprop
from ganzoo.schedules import Constant, Cosine

SETTINGS = ", ".join(sorted(TrainConfig.model_fields))


class Advised(MLP):
    """An architecture that recommends much."""

    name: ClassVar[str] = "advised"
    recommended: ClassVar[Mapping[str, Any]] = {
        "batch_size": 7,
        "d_steps": 2,
        "seed": 11,
        "log_every": 13,
        "g_optimizer": {"name": "adam", "lr": 0.5, "betas": (0.1, 0.2)},
    }


class AdvisedLoss(NonSaturating):
    """A loss that recommends some of the same."""

    name: ClassVar[str] = "advised"
    recommended: ClassVar[Mapping[str, Any]] = {
        "d_steps": 3,
        "seed": 12,
        "log_every": 14,
        "g_optimizer": {"lr": 0.25},
    }


# -- layers ---------------------------------------------------------------------------------------


def test_the_defaults() -> None:
    config = resolve()
    assert config.arch == DCGAN() and config.loss == NonSaturating()
    assert config.dataset.name == "fashion-mnist-10k"
    assert config.g_optimizer == config.d_optimizer == Adam(lr=4e-4, betas=(0.5, 0.999))
    assert config.schedule == Constant()
    assert config.latent == LatentSpec(shape=(100,))
    assert (config.steps, config.epochs, config.batch_size, config.seed) == (3000, None, 16, 0)


def test_later_layers_win() -> None:
    base = {"arch": Advised()}
    only_arch = resolve(base)
    assert (only_arch.batch_size, only_arch.d_steps, only_arch.seed) == (7, 2, 11)
    assert only_arch.g_optimizer == Adam(lr=0.5, betas=(0.1, 0.2))
    assert only_arch.d_optimizer == Adam()

    with_loss = resolve({**base, "loss": AdvisedLoss()})
    assert (with_loss.batch_size, with_loss.d_steps, with_loss.seed) == (7, 3, 12)
    assert with_loss.g_optimizer == Adam(lr=0.25, betas=(0.1, 0.2))

    file = {**base, "loss": AdvisedLoss(), "seed": 21, "log_every": 22}
    assert (resolve(file).d_steps, resolve(file).seed) == (3, 21)
    caller = resolve(file, {"log_every": 31})
    assert (caller.batch_size, caller.d_steps, caller.seed, caller.log_every) == (7, 3, 21, 31)


def test_advice_comes_from_what_the_last_layer_chose() -> None:
    config = resolve({"arch": "mlp", "loss": "wasserstein"}, {"arch": "dcgan", "loss": "hinge"})
    assert config == resolve({"arch": "dcgan", "loss": "hinge"})
    assert resolve({"loss": "wasserstein"}).g_optimizer == RMSprop(lr=5e-5)
    assert resolve({"loss": "wasserstein"}).d_steps == 5
    assert resolve({"arch": "mlp"}).g_optimizer == Adam(lr=2e-4, betas=(0.9, 0.999))


def test_layers_are_not_changed() -> None:
    lower = {"g_optimizer": {"name": "adam", "lr": 0.1}, "latent": {"shape": 3}}
    upper = {"g_optimizer": {"eps": 0.2}, "latent": {"distribution": "uniform"}, "epochs": 2}
    resolve(lower, upper)
    assert lower == {"g_optimizer": {"name": "adam", "lr": 0.1}, "latent": {"shape": 3}}
    assert upper["g_optimizer"] == {"eps": 0.2}
    assert resolve() == resolve()


# -- components -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{"lr": 0.1}], Adam(lr=0.1, betas=(0.5, 0.999))),
        ([{"name": "adam", "lr": 0.1}, {"eps": 0.3}], Adam(lr=0.1, eps=0.3)),
        ([{"name": "adam", "lr": 0.1}, {"name": "adam", "eps": 0.3}], Adam(lr=0.1, eps=0.3)),
        ([{"name": "adam", "lr": 0.1}, "adam"], Adam(lr=0.1)),
        ([{"name": "adam", "lr": 0.1}, {"name": "sgd"}], SGD()),
        ([{"name": "adam", "eps": 0.1}, "sgd", {"momentum": 0.5}], SGD(momentum=0.5)),
        ([{"name": "adam", "eps": 0.1}, "sgd", "adam"], Adam()),
        ([SGD(lr=0.3, momentum=0.1)], SGD(lr=0.3, momentum=0.1)),
        ([SGD(lr=0.3, momentum=0.1), {"momentum": 0.2}], SGD(lr=0.3, momentum=0.2)),
        ([{"name": "sgd", "momentum": 0.5}, SGD(lr=0.3)], SGD(lr=0.3)),
        ([SGD], SGD()),
    ],
)
def test_options_meet_the_component_that_lower_layers_chose(layers, expected) -> None:
    config = resolve(*({"g_optimizer": value} for value in layers))
    assert config.g_optimizer == expected
    assert config.d_optimizer == Adam(lr=4e-4)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("arch", MLP(hidden=(3,)), MLP(hidden=(3,))),
        ("arch", MLP, MLP()),
        ("arch", {"name": "mlp", "hidden": [3]}, MLP(hidden=(3,))),
        ("arch", {"channels": 8}, DCGAN(channels=8)),
        ("loss", Hinge(margin=0.5), Hinge(margin=0.5)),
        ("loss", {"name": "hinge", "margin": 0.5}, Hinge(margin=0.5)),
        ("loss", "wasserstein", Wasserstein()),
        ("schedule", {"name": "cosine", "warmup": 5}, Cosine(warmup=5)),
        ("schedule", {"warmup": 5}, Constant(warmup=5)),
    ],
)
def test_components_in_every_form(key, value, expected) -> None:
    assert getattr(resolve({key: value}), key) == expected


def test_options_of_an_architecture_given_as_an_object() -> None:
    config = resolve({"arch": MLP(hidden=(3,))}, {"arch": {"slope": 0.5}})
    assert config.arch == MLP(hidden=(3,), slope=0.5)


def test_datasets_in_memory() -> None:
    data = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    config = resolve({"dataset": data})
    assert isinstance(config.dataset, InMemoryDataset)
    assert config.dataset == InMemoryDataset.of(data)
    assert torch.equal(config.dataset.load().data, data)


def test_options_of_a_dataset_in_memory_keep_the_data() -> None:
    data = torch.zeros(4, 1, 2, 2)
    config = resolve({"dataset": data}, {"dataset": {"stored_range": (0.0, 2.0)}})
    samples = config.dataset.load()
    assert samples.stored_range == (0.0, 2.0) and torch.equal(samples.data, data)
    named = {"dataset": {"name": "array", "path": "x.npy"}}
    for options in ({"item_shape": (1, 2, 2)}, {"item_shape": [1, 2, 2], "stored_range": [0, 2]}):
        for below in ({"dataset": data}, named):
            assert resolve(below, {"dataset": options}).dataset.item_shape == (1, 2, 2)


def test_datasets_by_path(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    path.touch()
    for value in (path, str(path)):
        config = resolve({"dataset": value})
        assert config.dataset.model_dump(mode="json")["path"] == str(path)


# -- lengths and latents --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([], (3000, None)),
        ([{"steps": 5}], (5, None)),
        ([{"epochs": 2}], (None, 2.0)),
        ([{"steps": 5}, {"epochs": 2}], (None, 2.0)),
        ([{"epochs": 2}, {"steps": 5}], (5, None)),
        ([{"steps": 5}, {"epochs": 2}, {"steps": 7}], (7, None)),
        ([{"steps": 5}, {"steps": None, "epochs": 0.5}], (None, 0.5)),
        ([{"steps": 5}, {"steps": None}], (3000, None)),
        ([{"epochs": 2}, {"steps": None}], (None, 2.0)),
    ],
)
def test_steps_and_epochs_take_each_other_back(layers, expected) -> None:
    config = resolve(*layers)
    assert (config.steps, config.epochs) == expected


def test_steps_and_epochs_together() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({}, {"steps": 5, "epochs": 2})
    assert str(caught.value) == "Give 'steps' or 'epochs', not both."


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([64], LatentSpec(shape=(64,))),
        ([(4, 2)], LatentSpec(shape=(4, 2))),
        ([[4, 2]], LatentSpec(shape=(4, 2))),
        ([{"shape": 5}], LatentSpec(shape=(5,))),
        ([{"distribution": "uniform"}], LatentSpec(distribution="uniform")),
        ([{"distribution": "uniform"}, 9], LatentSpec(shape=(9,), distribution="uniform")),
        ([9, {"distribution": "uniform"}], LatentSpec(shape=(9,), distribution="uniform")),
        ([9, LatentSpec(low=-2)], LatentSpec(shape=(9,), low=-2)),
        ([LatentSpec(shape=(9,))], LatentSpec(shape=(9,))),
    ],
)
def test_latents(layers, expected) -> None:
    assert resolve(*({"latent": value} for value in layers)).latent == expected


def test_no_latent() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"latent": "large"})
    assert str(caught.value) == (
        "A latent is a size, a shape or a mapping of its options, not str."
    )


@pytest.mark.parametrize(("size", "expected"), [(32, (32, 32)), ([16, 32], (16, 32))])
def test_sizes(size, expected) -> None:
    assert resolve({"size": size}).size == expected


# -- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            {"batchsize": 3},
            f"Unknown setting 'batchsize'. Did you mean 'batch_size'? Settings: {SETTINGS}.",
        ),
        ({"zzz": 3}, f"Unknown setting 'zzz'. Settings: {SETTINGS}."),
        (
            {"batch_size": 0},
            "The training: batch_size cannot be 0: input should be greater than or equal to 1.",
        ),
        (
            {"fit": "pad"},
            f"Unknown setting 'fit'. Did you mean 'resize_mode'? Settings: {SETTINGS}.",
        ),
        (
            {"resize_mode": "crop"},
            "The training: resize_mode cannot be 'crop': input should be 'pad' or 'resize'.",
        ),
        (
            {"latent": {"truncation": 0}},
            "The latent: truncation cannot be 0: input should be greater than 0.",
        ),
        (
            {"average": {"decay": 1}},
            "Average 'decay': decay cannot be 1: input should be less than 1.",
        ),
        ({"size": (0, 4)}, "A size is a height and a width of at least 1, not (0, 4)."),
        (
            {"seed": -1},
            "The training: seed cannot be -1: input should be greater than or equal to 0.",
        ),
        (
            {"g_optimizer": {"lrr": 1}},
            "Optimizer 'adam' has no option 'lrr'. Did you mean 'lr'? "
            "Options: betas, eps, lr, weight_decay.",
        ),
        (
            {"loss": {"name": "hinge", "margin": 0}},
            "Loss 'hinge': margin cannot be 0: input should be greater than 0.",
        ),
        (
            {"schedule": 3},
            "A schedule is a name, a mapping with 'name', or a component of class Schedule; got "
            "int. Available: constant, cosine, linear.",
        ),
    ],
)
def test_wrong_settings(layer, message) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(layer)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("layer", "rest"),
    [
        ({"batch_size": 0, "d_steps": 0}, "(1 more problem.)"),
        ({"batch_size": 0, "d_steps": 0, "g_steps": 0}, "(2 more problems.)"),
    ],
)
def test_more_than_one_problem(layer, rest) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(layer)
    assert str(caught.value) == (
        f"The training: batch_size cannot be 0: input should be greater than or equal to 1. {rest}"
    )


@pytest.mark.parametrize(("key", "value"), [("arch", "dcgam"), ("loss", {"name": "hing"})])
def test_unknown_names(key, value) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        resolve({key: value})


# -- files ----------------------------------------------------------------------------------------


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, "arch: mlp\nlatent: [3]\nloss: {name: hinge}\nsteps: 5\n")
    layer = read_config(path)
    assert layer == {"arch": "mlp", "latent": [3], "loss": {"name": "hinge"}, "steps": 5}
    config = resolve(layer, {"epochs": 1.5})
    assert config.arch == MLP() and config.latent.shape == (3,) and config.epochs == 1.5


NO_MAPPING = "The configuration {path} cannot be read (it must be a mapping of settings to values)."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "batchsize: 3",
            "{path}: Unknown setting 'batchsize'. Did you mean 'batch_size'? "
            f"Settings: {SETTINGS}.",
        ),
        ("steps: 3\nepochs: 2", "{path}: Give 'steps' or 'epochs', not both."),
        *((text, NO_MAPPING) for text in ("", "- arch")),
        (
            "format_version: 2\nfuture: 1",
            "The configuration {path} has format 2, but this ganzoo reads up to 1: upgrade ganzoo.",
        ),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value) == message.format(path=path)


@pytest.mark.parametrize("text", ["arch: [", "a: b: c", "arch: !!python/object/apply:os.getcwd []"])
def test_files_that_are_no_yaml(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(f"The configuration {path} cannot be read (it is not valid YAML: ")
    assert "\n" not in message


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"arch: \xff\xfe")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_config(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent.yaml", "No such file or directory"), ("", "it is not a regular file")],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value) == f"The configuration {path} cannot be read ({reason})."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="it is not a regular file"):
        read_config(tmp_path / "config.yaml")


def test_a_link_to_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("steps: 3", encoding="utf-8")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").symlink_to("../mine.yaml")
    assert read_config(run / "config.yaml") == {"steps": 3}
    with pytest.raises(ConfigError, match="a link that leads out of"):
        read_config(run / "config.yaml", root=run)


_TENFOLD = "".join(f", &{new} [{','.join(['*' + old] * 10)}]" for old, new in pairwise("abcdefghi"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"seed: [&a [x]{_TENFOLD}]", r"line 1 uses the alias \*a; write out what it stands for"),
        ("arch: &a {name: mlp}\nloss:\n  <<: *a", "line 3 uses the alias"),
        ("seed: " + "[" * 5000, "nested too deeply"),
        ("seed: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("# " + "x" * 2**17, "larger than 131,072 bytes"),
        ("steps: 2024-13-45", "is not valid YAML"),
        ("steps: !!int zzz", "is not valid YAML"),
        ("steps: " + "9" * 5000, "is not valid YAML"),
        ("steps: 0001-01-01T00:00:00+23:59", "cannot|not valid"),
        ('steps: !!python/object/apply:os.system ["id"]', "is not valid YAML"),
        ("format_version: 0x1" + "f" * 5000, "has format a number of 20,001 bits"),
        ("? 0x1" + "f" * 5000 + "\n: 1", "Unknown setting 'a number of 20,001 bits'"),
        ("steps: -0x1" + "f" * 5000, "steps cannot be a number of 20,001 bits"),
        ("arch: {x: 0x1" + "f" * 5000 + "}\nloss: {x: 1}", "no option 'x'"),
    ],
)
def test_files_by_people_who_mean_harm(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=problem) as caught:
        resolve(read_config(path))
    assert len(str(caught.value)) < 2100


# -- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", architectures.names())
@pytest.mark.parametrize("loss", losses.names())
def test_what_is_dumped_is_read_back(tmp_path: Path, arch: str, loss: str) -> None:
    config = resolve({"arch": arch, "loss": loss}, {"epochs": 1.5, "size": 32, "clip_grad": 0.5})
    path = write(tmp_path, yaml.safe_dump(config.dump(), sort_keys=False))
    again = resolve(read_config(path))
    assert again == config
    assert again.dump() == config.dump()


def test_a_dump_is_a_layer() -> None:
    """``resolve`` reads back what ``dump`` returns."""
    config = resolve({"arch": "mlp", "loss": "wasserstein"})
    assert resolve(config.dump()) == config


def test_a_dump_keeps_what_the_caller_set_against_the_advice(tmp_path: Path) -> None:
    config = resolve({"loss": "wasserstein", "d_steps": 1, "g_optimizer": "sgd", "epochs": 3})
    path = write(tmp_path, yaml.safe_dump(config.dump()))
    again = resolve(read_config(path))
    assert again == config
    assert again.d_steps == 1 and again.g_optimizer == SGD() and again.steps is None


def test_a_dump_says_what_wrote_it() -> None:
    config = resolve()
    written = yaml.safe_load(config.yaml())
    assert written["format_version"] == 1 and written["ganzoo"] == __version__
    assert written.keys() - {"format_version", "ganzoo"} == TrainConfig.model_fields.keys()
    assert resolve(config.dump()) == config


def test_defaults_show_every_setting() -> None:
    shown = defaults({"arch": "mlp", "latent": 5, "g_optimizer": {"lr": 0.1}})
    config = resolve({"arch": "mlp", "latent": 5, "g_optimizer": {"lr": 0.1}})
    assert shown.keys() == TrainConfig.model_fields.keys()
    for key in shown.keys() - {"steps"}:  # which epochs may yet replace
        assert shown[key] == getattr(config, key)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent": {3: 1}}, "3"),
        ({"d_steps": torch.zeros(20, 20)}, r"d_steps.* cannot be tensor\(.{150,220}: input"),
        ({"dataset": {"name": "in-memory", "description": "a\nb", "fingerprint": 3}}, "finger"),
    ],
)
def test_odd_values_are_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve(settings)
    assert "\n" not in str(caught.value)
