"""Numbers that change while training, by their schedules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ganzoo.errors import ConfigError
from ganzoo.schedules.paths import BETAS

if TYPE_CHECKING:
    from torch import nn

    from ganzoo.config import TrainConfig
    from ganzoo.training.game import Game, Term
    from ganzoo.training.player import Player

__all__ = ["Scheduler"]

Setter = Callable[[float], None]


class Scheduler:
    """Gives a game's numbers their values of an iteration, which follow from it alone.

    There is nothing to save, and no host-device sync.

    Args:
        config: All settings, with the length in iterations.
        game: Whose numbers they are.

    Raises:
        ConfigError: If what a component builds has no such number.
    """

    def __init__(self, config: TrainConfig, game: Game) -> None:
        self._total = int(config.steps or 1)
        known = config.numbers()
        self._courses = [
            (_setter(path, config, game), schedule, known[path].own)
            for path, schedule in config.schedules.items()
        ]

    def apply(self, step: int) -> None:
        """Set all numbers for the iteration after ``step`` finished ones."""
        for setter, schedule, own in self._courses:
            setter(schedule.value(step, self._total, own))


def _setter(path: str, config: TrainConfig, game: Game) -> Setter:
    if path == "adversarial_weight":
        return partial(setattr, game, path)
    setting, _, rest = path.partition(".")
    others = [player for name, player in game.players.items() if name != "discriminator"]
    if setting == "loss":
        return partial(_of_loss, game, rest)
    if setting == "penalties":
        name = rest.rpartition(".")[0]
        return partial(_weight, next(term for term in game.terms if term.penalty.name == name))
    if setting == "augmentation":
        assert game.augmentation is not None
        return _buffer(game.augmentation[1], path, rest)
    if setting == "average":
        return partial(_average, others, rest)
    players = others if setting == "g_optimizer" else [game.players["discriminator"]]
    return _option(players, path, rest)


def _weight(term: Term, value: float) -> None:
    term.weight = value


def _of_loss(game: Game, option: str, value: float) -> None:
    game.loss = game.loss.model_copy(update={option: value})  # both ends were validated


def _average(players: list[Player], option: str, value: float) -> None:
    for player in players:
        if player.ema is not None:
            # Start and final were validated, and what is between takes no longer.
            player.ema.average = player.ema.average.model_copy(update={option: value})


def _buffer(module: nn.Module, path: str, name: str) -> Setter:
    if not isinstance(getattr(module, name, None), torch.Tensor):
        raise ConfigError(
            f"schedules.{path}: the augmentation builds a module without a buffer '{name}'. Leave "
            f"the schedule out."
        )

    def change(value: float) -> None:
        with torch.no_grad():
            getattr(module, name).fill_(value)

    return change


def _option(players: list[Player], path: str, name: str) -> Setter:
    key = "betas" if name in BETAS else name
    for player in players:
        if any(key not in group for group in player.optimizer.param_groups):
            raise ConfigError(
                f"schedules.{path}: the optimizer's parameter groups have no '{key}'. Leave the "
                f"schedule out."
            )

    def change(value: float) -> None:
        for player in players:
            for group in player.optimizer.param_groups:
                _set(group, name, value)

    return change


def _set(group: dict[str, Any], name: str, value: float) -> None:
    if name in BETAS:
        betas = list(group["betas"])
        betas[BETAS.index(name)] = value
        group["betas"] = tuple(betas)
    elif name == "lr":
        group["initial_lr"] = value  # which ``Player.rate`` multiplies
    else:
        group[name] = value
