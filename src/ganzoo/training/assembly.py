"""Building all that a training plays with from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from ganzoo.core import seeds
from ganzoo.core.nets import sized
from ganzoo.datasets import Samples
from ganzoo.errors import ContractError, listing
from ganzoo.generators.generator import Generator
from ganzoo.showing import plots
from ganzoo.training import combinations, contract_nets, preparation
from ganzoo.training.accumulator import NAMES, MetricAccumulator
from ganzoo.training.contract import attributed_to
from ganzoo.training.ema import EMA
from ganzoo.training.first_batch import FirstBatch
from ganzoo.training.game import Game, Term
from ganzoo.training.keeping import Keeper
from ganzoo.training.loader import Loader
from ganzoo.training.parts import RandomState
from ganzoo.training.player import Player
from ganzoo.training.scheduling import Scheduler
from ganzoo.training.score_settings import resolve_evals
from ganzoo.training.stage import Stage
from ganzoo.training.validation import Validation
from ganzoo.training.visualizer import SampleVisualizer

if TYPE_CHECKING:
    from ganzoo.config import TrainConfig
    from ganzoo.core.device import Precision
    from ganzoo.core.spec import SampleSpec

__all__ = ["assemble"]

_PICTURES = 10  # pictures per run, unless set otherwise
_CHECKPOINTS = 5
_RESERVED = (
    *("generator", "discriminator", "ema", "g_optimizer", "d_optimizer", "loss", "augmentation"),
    *("loader", "game", "accumulator", "keeper", "scores", "random", "g", "d"),
)
"""Names of parts."""


def assemble(
    config: TrainConfig,
    device: torch.device,
    precision: Precision,
    notices: list[str],
    *,
    start: bool,
    origin: Generator | None,
    showing: bool,
) -> Stage:
    """Load the data and build all that a training plays with.

    Args:
        config: All settings.
        device: Where it computes.
        precision: How it computes.
        notices: What is noticed is added here.
        start: Whether it starts here; otherwise a state is restored next.
        origin: The generator of ``init_from``, where it has been loaded already.
        showing: Whether to show the progress of loading.
    """
    config, samples = preparation.load(config, showing=showing)
    spec, preprocessing = preparation.frame(config, samples.spec)
    notices += [notice for notice in samples.notices if notice not in notices]
    if preprocessing is not None and preprocessing.method != "none":
        notice = preprocessing.notice(config.arch.name)
        notices += [notice] * (notice not in notices)
    seeds.seed_all(config.seed)
    loader = Loader(
        samples,
        config.batch_size,
        device,
        config.seed,
        preprocessing,
        workers=config.workers or 0,
        balanced=config.labels == "uniform",
    )
    with attributed_to(config.arch):
        generator = contract_nets.build(config.arch, "generator", spec, config.latent)
        seen = spec.packed(config.packing)
        discriminator = contract_nets.build(config.arch, "discriminator", seen, config.latent)
    if start and config.init_from is not None:
        config = preparation.start_from(origin, config, spec, generator, discriminator, notices)
    for net in (generator, discriminator):
        _place(net, spec, device)
    fresh = start and config.init_from is None
    game = _game(config, spec, precision, generator, discriminator, device, fresh=fresh)
    config = _with_lengths(config, loader.batches_per_epoch / config.batches_per_step)
    stage = Stage(
        config=config,
        device=device,
        precision=precision,
        notices=notices,
        spec=spec,
        preprocessing=preprocessing,
        modes=None if samples.mixture is None else len(samples.mixture.centres),
        loader=loader,
        game=game,
        accumulator=MetricAccumulator(game, device, skipping=config.nan_policy == "skip"),
        visualizer=SampleVisualizer(
            game, loader, lambda: stage.generator(), config.seed, samples.mixture
        ),
        random=RandomState(
            game.noise,
            lambda: game.noise.manual_seed(seeds.derive(config.seed, "noise", game.played)),
        ),
        keeper=Keeper(config),
        scheduler=Scheduler(config, game),
    )
    stage.parts()  # which refuses what has no state
    combinations.check_signs(game)
    combinations.check_batch(game, config.batch_size)
    combinations.check_joint_batch(game, config.arch)
    combinations.check_packing(game, config.arch, spec)
    combinations.check_classes(game, config.arch, spec)
    combinations.check_second_derivatives(game, config.arch, spec)
    _note_oddities(stage)
    stage.config = stage.keeper.config = resolve_evals(
        config, spec, samples.mixture, _numbers(config, stage.visualizer)
    )
    if every := int(stage.config.evaluate_every):
        stage.validation = Validation(stage.config, device, lambda: game.played)
        stage.samples = samples if isinstance(samples, Samples) else None
        if left := stage.total_steps % every:
            stage.note(f"the last {left} of {stage.total_steps} steps are not evaluated")
    return stage


def _note_oddities(stage: Stage) -> None:
    config = stage.config
    for notice in combinations.notices(stage.game, config.arch):
        stage.note(notice)
    if stage.visualizer.plotted and not plots.available():
        stage.note(f"no pictures of these samples without matplotlib: {plots.REMEDY}")


def _numbers(config: TrainConfig, visualizer: SampleVisualizer) -> list[str]:
    """Names of what rows of ``metrics.jsonl`` have, as far as they are known before."""
    numbers = [*NAMES, *visualizer.numbers]
    for term in map(Term, config.penalties):
        numbers += map(term.column, sorted(term.penalty.players))
    numbers += ["diversity"] * (config.batch_size > 1)
    return numbers + ["skipped"] * (config.nan_policy == "skip")


def _place(net: nn.Module, spec: SampleSpec, device: torch.device) -> None:
    if spec.kind == "image":
        net.to(memory_format=torch.channels_last)
    net.to(device)
    if not net.training:  # parts that their author has put in evaluation mode stay in it
        net.train()


def _further(
    config: TrainConfig, spec: SampleSpec, device: torch.device, precision: Precision
) -> list[Player]:
    """Further nets of the loss, with the settings of G."""
    players = []
    for name, net in config.loss.nets(spec, config.latent).items():
        if not name.isidentifier() or name in _RESERVED:
            raise ContractError(
                f"Loss '{config.loss.name}' has a net called '{name}'. Give it a name of letters "
                f"and underscores that is not one of: {listing(_RESERVED)}."
            )
        _place(net, spec, device)
        player = Player(
            name,
            net,
            config.g_optimizer.build(net.parameters()),
            device,
            ema=_average(config, net, name),
            clip=config.clip_grad,
            skipping=config.nan_policy == "skip",
            autocast=precision.autocast,
        )
        players.append(player)
    return players


def _average(config: TrainConfig, net: nn.Module, name: str = "generator") -> EMA:
    """The moving averages of a net."""
    images = config.batch_size * config.batches_per_step / config.g_steps
    return EMA(net, config.average, name, images=images)


def _weights(net: nn.Module, heads: Mapping[str, nn.Module]) -> list[nn.Parameter]:
    return [weight for module in (net, *heads.values()) for weight in module.parameters()]


def _game(
    config: TrainConfig,
    spec: SampleSpec,
    precision: Precision,
    generator: nn.Module,
    discriminator: nn.Module,
    device: torch.device,
    *,
    fresh: bool,
) -> Game:
    skipping = config.nan_policy == "skip"
    built = config.loss.build(spec, config.latent)
    if isinstance(built, nn.Module):
        built = sized(built, discriminator, spec.packed(config.packing))
    terms = [
        Term(each, each.build_with(config.arch, spec, config.latent)) for each in config.penalties
    ]
    made = [(config.loss.trained_with, "loss", built)]
    made += [(term.penalty.player, term.part, term.built) for term in terms]
    augmentation = None
    if config.augmentation is not None:
        augmentation = config.augmentation, config.augmentation.build(spec)
        made.append(("discriminator", "augmentation", augmentation[1]))
    heads: dict[str, dict[str, nn.Module]] = {"generator": {}, "discriminator": {}}
    for player, part, module in made:
        if isinstance(module, nn.Module):
            heads[player][part] = module.to(device)
    g_weights = _weights(generator, heads["generator"])
    d_weights = _weights(discriminator, heads["discriminator"])
    return Game(
        generator=generator,
        discriminator=discriminator,
        loss=config.loss,
        latent=config.latent,
        g_optimizer=config.g_optimizer.build(g_weights),
        d_optimizer=config.d_optimizer.build(d_weights),
        ema=_average(config, generator),
        noise=torch.Generator(device).manual_seed(seeds.derive(config.seed, "noise")),
        d_steps=config.d_steps,
        g_steps=config.g_steps,
        packing=config.packing,
        accumulate=config.accumulate,
        joint_batch=config.joint_batch,
        d_eval_for_g=config.d_eval_for_g,
        clip=config.clip_grad,
        autocast=precision.autocast,
        adversarial_weight=config.adversarial_weight,
        skip_nonfinite=skipping,
        first=FirstBatch(config.arch, spec, fresh, skipping, config.packing),
        built=built,
        terms=terms,
        augmentation=augmentation,
        heads=heads,
        further=_further(config, spec, device, precision),
    )


def _with_lengths(config: TrainConfig, per_epoch: float) -> TrainConfig:
    """The settings with all lengths in iterations, of which an epoch has ``per_epoch``."""
    total = config.steps or 1
    if config.epochs is not None:
        total = max(1, round(config.epochs * per_epoch))

    def every(asked: int | str | None, parts: int = 1) -> int:
        if asked == "epoch":
            return max(1, round(per_epoch))
        return max(1, total // parts) if asked is None else int(asked)

    return config.model_copy(
        update={
            "steps": total,
            "epochs": None,
            "sample_every": every(config.sample_every, _PICTURES),
            "checkpoint_every": every(config.checkpoint_every, _CHECKPOINTS),
            "snapshot_every": every(config.snapshot_every),
            "evaluate_every": every(config.evaluate_every),
        }
    )
