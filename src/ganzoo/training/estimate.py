"""What a training will take, found without running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganzoo.training import contract

if TYPE_CHECKING:
    from ganzoo.training.player import Player
    from ganzoo.training.trainer import Trainer

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """Sizes of a training.

    Attributes:
        generator: Parameters of G.
        discriminator: Parameters of D.
        steps: Iterations.
        state: Bytes of weights, averages, gradients and optimizer state, of all nets of the game.
        data: Bytes of the samples, as stored.
        activations: Bytes that the larger of both phases keeps for its backward pass, without what
            penalties, augmentation and further nets add.
    """

    generator: int
    discriminator: int
    steps: int
    state: int
    data: int
    activations: int

    @property
    def memory(self) -> int:
        """Bytes in all, without the program itself."""
        return self.state + self.data + self.activations

    def lines(self) -> list[str]:
        """Return the estimate in words."""
        return [
            f"parameters: generator {self.generator:,}, discriminator {self.discriminator:,}",
            f"memory: about {_mib(self.memory)} (weights and optimizers {_mib(self.state)}, "
            f"data {_mib(self.data)}, activations {_mib(self.activations)}) besides torch itself",
        ]


def estimate(trainer: Trainer) -> Estimate:
    """Return the sizes of a training that has been configured.

    The activations are the outputs of all layers at the configured batch size, computed on
    torch's meta device: shapes only, no arithmetic.
    """
    trainer.setup()
    config, game = trainer.config, trainer.game
    with torch.device("meta"):
        generator = config.arch.generator(trainer.spec, config.latent)
        discriminator = config.arch.discriminator(trainer.spec.packed(config.packing))
        latents = torch.empty(config.batch_size, *config.latent.shape)
        packs = config.batch_size // config.packing
        samples = torch.empty(packs, *trainer.spec.packed(config.packing).shape)
        labels = None
        if trainer.spec.classes is not None:
            labels = torch.zeros(config.batch_size, dtype=torch.int64)
    with contract.attributed_to(config.arch):
        made = _outputs("generator", generator, latents, labels)
        judged = _outputs("discriminator", discriminator, samples, labels)
    width = 2 if trainer.precision.autocast else 4
    return Estimate(
        generator=_size(game.generator),
        discriminator=_size(game.discriminator),
        steps=trainer.total_steps,
        state=4 * sum(_state(player) for player in game.players.values()),
        data=trainer.loader.data.numel() * trainer.loader.data.element_size(),
        activations=width * (judged + max(judged, made)),
    )


def _size(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


def _state(player: Player) -> int:
    """Numbers of weights, their gradients, the optimizer's moments and the averages."""
    trained = sum(_size(module) for module in player.modules.values())
    averages = 0 if player.ema is None else len(player.ema.modules)
    return (2 + _slots(player.optimizer)) * trained + averages * _size(player.net)


def _slots(optimizer: torch.optim.Optimizer) -> int:
    """Numbers that an optimizer keeps per parameter."""
    if isinstance(optimizer, torch.optim.Adam):
        return 2
    if isinstance(optimizer, torch.optim.RMSprop):
        return 1 + bool(optimizer.defaults["momentum"])
    return int(bool(optimizer.defaults.get("momentum")))


def _outputs(player: str, net: nn.Module, *inputs: Any) -> int:
    """Numbers that all layers of the net put out for these inputs."""
    total = 0

    def add(module: nn.Module, arguments: Any, output: Any) -> None:
        nonlocal total
        passed_on = any(output is each for each in arguments)
        if isinstance(output, torch.Tensor) and not passed_on:
            total += output.numel()

    hooks = [
        part.register_forward_hook(add)
        for part in net.modules()
        if not list(part.children()) or nn.utils.parametrize.is_parametrized(part)
    ]
    remedy = f"That was for an input of shape {tuple(inputs[0].shape)}, on torch's meta device."
    with contract.blaming(f"The {player}", remedy):
        net(*inputs)
    for hook in hooks:
        hook.remove()
    return total


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
