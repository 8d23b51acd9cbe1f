"""The recipes: each is what its source system is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import ganzoo
from commands import parsed
from ganzoo import recipes
from ganzoo.config import differences, resolve
from ganzoo.errors import ConfigError, UnknownNameError
from ganzoo.optimizers import SGD, Adam, RMSprop

NAMES = [
    "conditional-digits",
    "dcgan-faces",
    "few-shot-fashion",
    "gaussian-1d",
    "grid-pac",
    "hundred-gaussians",
    "mirror-mnist",
    "mlp-mnist",
    "ring-pac",
    "three-gaussians-2d",
    "three-gaussians-2d-cured",
    "upsample-fashion",
    "wgan-gp-mnist",
]
SHAPES = {
    "conditional-digits": (1, 28, 28),
    "dcgan-faces": (3, 64, 64),
    "mirror-mnist": (1, 28, 28),
    "mlp-mnist": (1, 28, 28),
    "upsample-fashion": (1, 28, 28),
    "wgan-gp-mnist": (1, 28, 28),
}


def stand_in(name: str, count: int = 300) -> Any:
    """Data of the recipe's shape where its own are downloaded or the caller's."""
    if name not in SHAPES:
        return None
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *SHAPES[name]), dtype=torch.uint8, generator=generator)
    return (images, torch.arange(count) % 10) if name.startswith("conditional") else images


def trainer_of(name: str, **settings: Any) -> ganzoo.Trainer:
    return ganzoo.Trainer.from_recipe(
        name, stand_in(name), progress=False, device="cpu", **settings
    )


def size_of(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_what_there_is() -> None:
    assert recipes.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_summary_is_found_without_parsing(name: str) -> None:
    assert recipes.summary(name) == recipes.get(name).summary


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name: str) -> None:
    nets = trainer_of(name).nets()
    counts = {net: size_of(nets[net]) for net in ("generator", "discriminator")}
    assert counts == recipes.get(name).parameters


def test_parameters_of_the_sources() -> None:
    """Counts that the source systems state, or that follow from their layers by hand."""
    assert recipes.get("upsample-fashion").parameters == {
        "generator": 2_155_137,
        "discriminator": 1_113_345,
    }
    assert recipes.get("mlp-mnist").parameters == {
        "generator": 1_486_352,
        "discriminator": 1_460_225,
    }
    assert recipes.get("mirror-mnist").parameters == {
        "generator": (100 + 1) * 150 + (150 + 1) * 784,
        "discriminator": (784 + 1) * 150 + (150 + 1) * 100 + (100 + 1),
    }
    # The published counts of DCGAN-64 for a latent of 100, with 28 latents and one norm more.
    assert recipes.get("dcgan-faces").parameters == {
        "generator": 3_576_704 + 28 * 512 * 16,
        "discriminator": 2_765_568 + 2 * 64,
    }
    for name, inputs in (("gaussian-1d", 1), ("three-gaussians-2d", 2)):
        assert recipes.get(name).parameters == {
            "generator": (inputs + 1) * 16 + (16 + 1) * inputs,
            "discriminator": (inputs + 1) * 64 + (64 + 1),
        }


@pytest.mark.parametrize("name", NAMES)
def test_every_difference_has_a_reason_and_every_reason_a_difference(name: str) -> None:
    rows = differences(name)
    places = {place for place, *_ in rows}
    for key in recipes.get(name).why:
        assert any(place == key or place.startswith(f"{key}.") for place in places), key
    assert all(why for *_, why in rows)
    assert all(value != other for _, value, other, _ in rows)


@pytest.mark.parametrize("name", ["gaussian-1d", "three-gaussians-2d"])
def test_the_fundamentals(name: str) -> None:
    config = resolve({"recipe": name})
    dimensions = 1 if name == "gaussian-1d" else 2
    assert (config.latent.shape, config.latent.distribution) == ((dimensions,), "uniform")
    assert (config.latent.low, config.latent.high) == (0, 1)
    assert config.g_optimizer == config.d_optimizer == SGD(lr=1e-3)
    assert (config.d_steps, config.g_steps, config.batch_size) == (50, 1, 64)
    assert (config.steps, config.epochs) == (10_000, None)
    trainer = trainer_of(name)
    nets = trainer.nets()
    for net, hidden in (("generator", 16), ("discriminator", 64)):
        layers = [module for module in nets[net].modules() if not list(module.children())]
        linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
        outputs = dimensions if net == "generator" else 1
        shapes = [(layer.in_features, layer.out_features) for layer in linear]
        assert shapes == [(dimensions, hidden), (hidden, outputs)]
        assert sum(isinstance(layer, torch.nn.ReLU) for layer in layers) == 1
        assert not any(isinstance(layer, torch.nn.LeakyReLU) for layer in layers)
        assert not any(isinstance(layer, torch.nn.Dropout) for layer in layers)
    real = trainer.loader.data
    if dimensions == 1:
        assert real.mean().item() == pytest.approx(5, abs=0.02)
        assert real.std().item() == pytest.approx(1, abs=0.02)
    else:
        assert trainer.visualizer.mixture.centres == ((-5, -5), (5, 5), (-5, 5))
        assert trainer.visualizer.mixture.sd == 1


def test_upsample_fashion() -> None:
    config = resolve({"recipe": "upsample-fashion"})
    assert config.dataset.name == "fashion-mnist"
    loss = config.loss
    assert (loss.noise, loss.swapped, loss.reduction, loss.smoothing) == (0.15, True, "mean", 0)
    assert config.g_optimizer == Adam(lr=1e-4, betas=(0.9, 0.999))
    assert config.d_optimizer == Adam(lr=1e-5, betas=(0.9, 0.999))
    assert config.d_eval_for_g and not config.joint_batch
    assert (config.batch_size, config.epochs, config.sample_every) == (128, 20, "epoch")
    assert config.value_range == (0, 1)
    assert (config.latent.shape, config.latent.distribution) == ((128,), "normal")


def test_mirror_mnist() -> None:
    config = resolve({"recipe": "mirror-mnist"})
    assert config.dataset.name == "mnist"
    assert config.joint_batch and config.loss.reduction == "mean" and not config.loss.swapped
    assert (config.arch.hidden, config.arch.code, config.arch.activation) == ((150,), 100, "selu")
    assert (config.latent.shape, config.latent.distribution) == ((100,), "normal")
    assert isinstance(config.g_optimizer, (Adam, RMSprop))
    assert resolve({"recipe": "mirror-mnist", "arch": {"activation": "relu"}}).joint_batch


def test_dcgan_faces() -> None:
    with pytest.raises(ConfigError, match=r"needs a folder of pictures: --dataset \./faces"):
        resolve({"recipe": "dcgan-faces"})
    Path("faces").mkdir()
    config = resolve({"recipe": "dcgan-faces"}, {"dataset": "faces"})
    assert (config.dataset.name, config.dataset.crop, config.dataset.mode) == (
        "folder",
        "center",
        "rgb",
    )
    assert (config.size, config.value_range) == ((64, 64), None)
    assert config.g_optimizer == config.d_optimizer == Adam(lr=2.6e-4, betas=(0.5, 0.999))
    assert (config.batch_size, config.epochs, config.latent.shape) == (256, 875, (128,))
    nets = trainer_of("dcgan-faces").nets()
    norms = [
        [
            module.num_features
            for module in net.modules()
            if isinstance(module, torch.nn.BatchNorm2d)
        ]
        for net in (nets["discriminator"], nets["generator"])
    ]
    assert norms == [[64, 128, 256, 512], [512, 256, 128, 64]]


@pytest.mark.parametrize("size", [32, 64])
def test_dcgan_faces_at_any_size(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    Path("faces").mkdir()
    for number in range(8):
        pixels = torch.randint(256, (60 + number, 50), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(f"faces/{number}.png")
    chosen = {} if size == 64 else {"size": size}
    trainer = ganzoo.Trainer.from_recipe(
        "dcgan-faces", "faces", batch_size=4, progress=False, device="cpu", **chosen
    )
    trainer.setup()
    real, _ = trainer.loader.next()
    assert tuple(real.shape) == (4, 3, size, size)
    assert trainer.preprocessing is not None and trainer.preprocessing.method == "none"


def test_mlp_mnist() -> None:
    config = resolve({"recipe": "mlp-mnist"})
    assert config.dataset.name == "mnist"
    assert config.g_optimizer == config.d_optimizer == Adam(lr=2e-4, betas=(0.9, 0.999))
    assert (config.batch_size, config.epochs) == (100, 200)
    assert config.sample_every == config.snapshot_every == "epoch"
    drops = [
        module.p
        for module in trainer_of("mlp-mnist").nets()["discriminator"].modules()
        if isinstance(module, torch.nn.Dropout)
    ]
    assert drops == [0.3, 0.3, 0.3]


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_saves_and_resumes(name: str) -> None:
    trainer = trainer_of(
        name, steps=2, batch_size=4, sample_every=0, snapshot_every=0, d_steps=1, out="run"
    )
    run = trainer.fit()
    assert run.config.recipe == name
    resumed = ganzoo.Trainer.resume("run", dataset=stand_in(name), steps=3, progress=False)
    assert resumed.fit().history[-1]["step"] == 3
    assert ganzoo.Generator.from_pretrained("run").config.training["recipe"] == name


def test_what_is_given_on_top_wins() -> None:
    Path("mine.yaml").write_text("recipe: mlp-mnist\nbatch_size: 7\nseed: 3\n", encoding="utf-8")
    trainer = ganzoo.Trainer(config="mine.yaml", seed=4, progress=False)
    assert (trainer.config.batch_size, trainer.config.seed) == (7, 4)
    assert trainer.config.epochs == 200
    other = resolve({"recipe": "mlp-mnist", "arch": "dcgan", "steps": 5})
    assert (other.arch.name, other.steps, other.epochs, other.batch_size) == ("dcgan", 5, None, 100)
    assert other.g_optimizer.betas == (0.9, 0.999)  # the recipe lies above recommendations


def test_an_unknown_recipe() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mlp-mnist'"):
        ganzoo.Trainer.from_recipe("mlp-minst")


def test_wgan_gp_mnist() -> None:
    config = resolve({"recipe": "wgan-gp-mnist"})
    assert (config.loss.name, config.loss.clip, config.d_steps) == ("wasserstein", None, 5)
    assert [(each.name, each.weight) for each in config.penalties] == [("gp", 10)]
    assert config.g_optimizer == config.d_optimizer == Adam(lr=1e-4, betas=(0, 0.9))
    trainer = trainer_of("wgan-gp-mnist")
    trainer.setup()
    assert not [notice for notice in trainer.notices if "batch norm" in notice]


def test_conditional_digits() -> None:
    config = resolve({"recipe": "conditional-digits"})
    assert config.conditional and config.dataset.name == "mnist"
    assert (config.arch.condition, config.arch.d_condition) == ("concat", "auxiliary")
    assert not config.loss.fake  # D learns digits from real ones


def test_few_shot_fashion() -> None:
    config = resolve({"recipe": "few-shot-fashion"})
    assert (config.num_samples, config.augmentation.name) == (500, "ada")
    trainer = trainer_of("few-shot-fashion")
    trainer.setup()
    assert len(trainer.loader.data) == 500
    assert not [notice for notice in trainer.notices if "batch norm" in notice]


FLAGS = re.compile(r"(?<=[ (])--[a-z][\w.-]*\w(?: (?!--|and|or|to)[\w.-]*\w)*")


def test_flags_that_a_recipe_names_can_be_added_to_it() -> None:
    found = {}
    for name in NAMES:
        about = re.sub(r"ganzoo evaluate RUN( --[\w-]+ \w+)+", "", recipes.get(name).about)
        if "--" in about:
            flags = FLAGS.findall(about)
            assert len(flags) == about.count("--")
            found[name] = parsed(f"ganzoo train --recipe {name} {' '.join(flags)}")
    assert found["ring-pac"].penalties == found["grid-pac"].penalties == ()
    assert found["ring-pac"].schedules.keys() == {"g_optimizer.lr", "d_optimizer.lr"}
    assert found["upsample-fashion"].batch_size == 32
    assert found["few-shot-fashion"].augmentation is None
    assert [each.name for each in found["mlp-mnist"].trackers] == ["tensorboard"]
