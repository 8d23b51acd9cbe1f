"""What cannot be combined is refused before training, with what to do instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

import ganzoo
from ganzoo import architectures, penalties
from ganzoo.augmentations import Augmentation
from ganzoo.errors import ConfigError

IMAGES = torch.randint(0, 256, (16, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()


class Attention(nn.Module):
    """Attention over 4 tokens of 4 numbers, whose fused form has no second derivative on a CPU."""

    def forward(self, tokens: Tensor) -> Tensor:
        heads = tokens.reshape(len(tokens), 1, 4, 4)
        return scaled_dot_product_attention(heads, heads, heads).reshape(len(tokens), 16)


class Attending(architectures.Architecture):
    """Layers without a second derivative in either net."""

    layer: str = "attention"

    def _layer(self) -> nn.Module:
        return {"attention": Attention, "hardsigmoid": nn.Hardsigmoid, "tanh": nn.Tanh}[
            self.layer
        ]()

    def generator(self, spec: Any, latent: Any) -> nn.Module:
        layers = nn.Linear(latent.numel, 16), self._layer(), nn.Linear(16, 256), nn.Tanh()
        return Flat(nn.Sequential(*layers, nn.Unflatten(1, spec.shape)))

    def discriminator(self, spec: Any) -> nn.Module:
        layers = nn.Flatten(), nn.Linear(256, 16), self._layer(), nn.Linear(16, 1), nn.Flatten(0)
        return Flat(nn.Sequential(*layers))


@pytest.fixture(autouse=True)
def _attending() -> Iterator[None]:
    """The architecture is known in these tests only."""
    architectures.register("attending")(Attending)
    yield
    architectures.registry.unregister("attending")


class Flat(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, values: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(values)


def trainer(arch: Any, penalty: Any, **more: Any) -> ganzoo.Trainer:
    settings = {"steps": 1, "batch_size": 8, "device": "cpu", "progress": False, **more}
    return ganzoo.Trainer(arch, IMAGES, penalties=penalty, **settings)


class Once(torch.autograd.Function):
    """The same samples, and a first derivative alone."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor) -> Tensor:
        return samples.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()


class Rough(Augmentation):
    """An augmentation without a second derivative."""

    name = "rough"

    def build(self, spec: Any) -> nn.Module:
        return type("Module", (nn.Module,), {"forward": lambda self, x: Once.apply(x)})()


@pytest.mark.parametrize("packing", [1, 2])
def test_an_augmentation_without_a_second_derivative(packing: int, tmp_path: Path) -> None:
    arch = {"name": "mlp", "hidden": [8]}
    out = tmp_path / "run"
    refused = "augmentation 'rough' has no second derivative here .* Take penalty 'approximate-r1'"
    for penalty in ("r1", "gp"):
        with pytest.raises(ConfigError, match=refused):
            trainer(arch, penalty, augmentation=Rough(), packing=packing, out=out).fit()
        assert not out.exists()
    trainer(arch, "approximate-r1", augmentation=Rough(), packing=packing, out=out).fit()


SECOND = [name for name in penalties.names() if penalties.get(name).second_order]


@pytest.mark.parametrize("layer", ["attention", "hardsigmoid"])
@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_layer_without_a_second_derivative(
    name: str, layer: str, precision: str, tmp_path: Path
) -> None:
    arch = {"name": "attending", "layer": layer}
    player = penalties.get(name).player
    with pytest.raises(ConfigError) as caught:
        trainer(arch, name, precision=precision, out=tmp_path / "run").fit()
    message = str(caught.value)
    assert f"Penalty '{name}' differentiates a gradient, and a layer in the {player} of " in message
    assert (
        "architecture 'attending' has no second derivative here (derivative for aten::" in message
    )
    assert not (tmp_path / "run").exists()
    instead = penalties.get(name).instead
    if not instead:
        assert message.endswith(
            "Leave the penalty out, or take an architecture without that layer."
        )
        return
    assert message.endswith(f"Take penalty '{instead}', which needs none.")
    (step,) = trainer(arch, instead, precision=precision).iterations()
    assert step.scalars[instead] > 0


@pytest.mark.parametrize("name", SECOND)
def test_what_has_second_derivatives_trains_and_draws_nothing_more(name: str) -> None:
    arch = {"name": "attending", "layer": "tanh"}
    plain, made = trainer(arch, ()), trainer(arch, {"name": name, "weight": 0})
    one, other = next(plain.iterations()), next(made.iterations())
    if name in ("r1", "r2"):  # the others draw random numbers of their own
        assert torch.equal(one.scalars["g_loss"], other.scalars["g_loss"])
    assert torch.equal(one.scalars["d_loss"], other.scalars["d_loss"])


def test_every_penalty_that_names_another_names_one_that_there_is() -> None:
    for name in penalties.names():
        instead = penalties.get(name).instead
        assert not instead or not penalties.get(instead).second_order


@pytest.mark.parametrize(
    ("settings", "noticed"),
    [
        ({"augmentation": "ada"}, True),
        ({"augmentation": {"name": "ada", "ramp": None, "start": 0.1}}, False),
        ({"augmentation": "diffaugment"}, False),
        (
            {"augmentation": "ada", "arch": {"name": "dcgan", "channels": 4, "d_norm": "none"}},
            False,
        ),
        ({"augmentation": "ada", "arch": {"name": "mlp", "hidden": [8]}}, False),
    ],
)
def test_batch_norm_under_an_augmentation_that_reads_signs_is_noticed(
    settings: dict[str, Any], noticed: bool
) -> None:
    made = trainer(**{"arch": {"name": "dcgan", "channels": 4}, "penalty": (), **settings})
    made.setup()
    found = [notice for notice in made.notices if "batch norm" in notice]
    assert len(found) == noticed
    for notice in found:
        assert "makes them sure of unseen samples too. Set its option d_norm to layer" in notice


@pytest.mark.parametrize("name", ["gp", "dragan"])
def test_batch_norm_under_a_penalty_of_single_samples_is_noticed(name: str) -> None:
    made = trainer({"name": "dcgan", "channels": 4}, name)
    made.setup()
    (notice,) = [notice for notice in made.notices if name in notice]
    assert "batch norm in that of 'dcgan' looks at the whole batch" in notice
    for arch, penalty in (({"name": "mlp", "hidden": [8]}, name), ("dcgan", "r1")):
        other = trainer(arch, penalty)
        other.setup()
        assert not [notice for notice in other.notices if "batch norm" in notice]
