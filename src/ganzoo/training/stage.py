"""Everything that a training plays with, built from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganzoo.core import seeds
from ganzoo.core.nets import uses_batch_norm
from ganzoo.datasets import Samples
from ganzoo.errors import CheckpointError, ContractError, DivergenceError, listing
from ganzoo.files import storage
from ganzoo.files.storage import own_copies, write_json, write_text
from ganzoo.generators.generator import Generator
from ganzoo.runs import provenance
from ganzoo.showing import plots
from ganzoo.training import contract, preparation
from ganzoo.training.accumulator import NAMES, MetricAccumulator
from ganzoo.training.ema import EMA
from ganzoo.training.game import Game, Term, outer_autocast
from ganzoo.training.keeping import Keeper
from ganzoo.training.loader import Loader
from ganzoo.training.parts import Part, RandomState, collect, restore
from ganzoo.training.player import Player
from ganzoo.training.score_settings import resolve_evals
from ganzoo.training.validation import Validation
from ganzoo.training.visualizer import SampleVisualizer

if TYPE_CHECKING:
    from ganzoo.config import TrainConfig
    from ganzoo.core.device import Precision
    from ganzoo.core.spec import SampleSpec
    from ganzoo.datasets.preprocessing import Preprocessing
    from ganzoo.generators.bundle import BundleConfig

__all__ = ["Stage", "assemble"]

_PICTURES = 10  # pictures per run, unless set otherwise
_CHECKPOINTS = 5
_RESERVED = (
    *("generator", "discriminator", "ema", "g_optimizer", "d_optimizer", "loss", "augmentation"),
    *("loader", "game", "accumulator", "keeper", "scores", "random"),
)
"""Names of parts."""


@dataclass(eq=False)
class Stage:
    """What a training plays with.

    Attributes:
        config: All settings, with what follows from the data.
        device: Where it computes.
        precision: How it computes, and why.
        notices: What a person should know about this training; shared with the trainer.
        spec: What one sample is, at the size the nets work at.
        preprocessing: How samples come to that size; None where they are no images.
        samples: The real samples in memory, until scores have used them.
        modes: How many modes the data have, where it is known.
        loader: Batches of real samples.
        game: The players and their rules.
        accumulator: Numbers for the next row.
        visualizer: Pictures.
        validation: Scores while training, where there are any.
        random: All random generators.
        keeper: Checkpoints, and what they know of the run.
    """

    config: TrainConfig
    device: torch.device
    precision: Precision
    notices: list[str]
    spec: SampleSpec
    preprocessing: Preprocessing | None
    samples: Samples | None
    modes: int | None
    loader: Loader
    game: Game
    accumulator: MetricAccumulator
    visualizer: SampleVisualizer
    validation: Validation | None
    random: RandomState
    keeper: Keeper

    @property
    def step(self) -> int:
        """Iterations finished."""
        return self.game.played

    @property
    def total_steps(self) -> int:
        """Iterations in all."""
        return int(self.config.steps or 1)

    def parts(self) -> dict[str, Part]:
        """Return all parts with state, by name, in the order of restoring."""
        parts: dict[str, Part] = {"loader": self.loader}  # which refuses other data first
        parts |= self.game.parts()
        parts |= {"accumulator": self.accumulator, "keeper": self.keeper}
        if self.validation is not None:
            parts["scores"] = self.validation
        return parts | {"random": self.random}

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return all tensors, copied to the host, and the rest of a checkpoint.

        Raises:
            DivergenceError: If the state is not finite: it would be of no use.
        """
        tensors, values = collect(self.parts())
        copies = own_copies(tensors)
        self.check_finite(copies)
        return copies, {
            "step": self.step,
            "precision": self.precision.name,
            "retain_steps": self.retain_steps(),
            "parts": values,
        }

    def check_finite(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Refuse to save a state that is not finite, or comes from numbers that were not."""
        if self.config.nan_policy != "skip" and self.game.alarm:
            raise self.divergence()
        for name, value in tensors.items():
            # The sum reads memory once and makes nothing; only an overflow needs a second look.
            doubtful = value.is_floating_point() and not value.sum().isfinite()
            if doubtful and not value.isfinite().all():
                remedy = self.keeper.remedy()
                raise DivergenceError(f"{name} is no longer finite at step {self.step}. {remedy}")

    def restore(
        self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], path: Path
    ) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: If it does not fit these settings.
            DataError: If it is of other data.
        """
        try:
            restore(self.parts(), tensors, state["parts"])
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"The checkpoint {path} does not fit the run's config.yaml ({reason}). "
                f"Restore the config.yaml it was trained with."
            ) from error
        if self.random.moved_from:
            self.keeper.settings_unchanged = False
            self.note(
                f"the run was on {self.random.moved_from} and goes on on {self.device.type}: "
                f"from here on its random numbers differ."
            )
        self.keeper.saw(self.step)

    def retain_steps(self) -> list[int]:
        """Return steps whose checkpoints this state needs: the best, and those to be scored."""
        best, validation = self.keeper.best, self.validation
        wanted = set() if best is None else {int(best["step"])}
        if validation is not None:
            wanted |= {*validation.pending(self.step)}
            wanted |= set() if validation.best_step is None else {validation.best_step}
        return sorted(wanted)

    def divergence(self) -> DivergenceError:
        """Return the error that says which number is not finite, since when, and what to do."""
        players = self.game.players.values()
        reports = [found for player in players if (found := player.monitor.report())]
        if reports:
            since, names = min(reports, key=lambda report: report[0])
            alone = names[0].endswith("loss") or not names[1:]
            more = "" if alone else f" and {len(names) - 1} more"
            fact = f"The {names[0]}{more} is not finite since step {since}"
        else:
            fact = "What D says of real or generated samples is not finite"
        if self.config.nan_policy == "skip":
            fact += f", and all updates were left out from step {self.step} back to the last row"
        text = f"{fact} (noticed at step {self.step}). {self.keeper.remedy()}"
        return DivergenceError(text)

    def generator(self) -> Generator:
        """Return the averaged generator as it is now."""
        return Generator(self.game.ema.module, self.bundle_config())

    def bundle_config(self, step: int | None = None) -> BundleConfig:
        """Return what the generator of a step is, by default of this one."""
        step = self.step if step is None else step
        return provenance.bundle_config(
            self.config, self.spec, self.preprocessing, step, self.precision
        )

    def environment(self) -> dict[str, Any]:
        """Return what ``environment.json`` holds."""
        return provenance.environment(self.device, self.precision, self.notices)

    def describe(self, path: Path) -> None:
        """Write ``config.yaml`` and ``environment.json`` into a run's folder."""
        write_text(path / "config.yaml", self.config.yaml())
        write_json(path / "environment.json", self.environment())

    def check_autocast(self) -> None:
        """Refuse or note an autocast around the training."""
        dtype = outer_autocast(self.device)
        if dtype is not None:
            self.note(
                f"a torch.autocast around the training multiplies matrices in "
                f"{str(dtype).removeprefix('torch.')}, whatever its precision says: leave it out; "
                f"precision='bf16' computes in bfloat16"
            )

    def note(self, text: str) -> None:
        """Add a notice, once."""
        if text not in self.notices:
            self.notices.append(text)


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
        notices.append(preprocessing.notice(config.arch.name))
    seeds.seed_all(config.seed)
    loader = Loader(
        samples, config.batch_size, device, config.seed, preprocessing, workers=config.workers or 0
    )
    with contract.told_of(config.arch):
        generator, discriminator = (
            contract.build(config.arch, player, spec, config.latent)
            for player in ("generator", "discriminator")
        )
    if start and config.init_from is not None:
        config = _start_from(origin, config, spec, generator, discriminator, notices)
    for net in (generator, discriminator):
        _place(net, spec, device)
    fresh = start and config.init_from is None
    game = _game(config, spec, device, precision, generator, discriminator, fresh=fresh)
    if config.joint_batch and uses_batch_norm(discriminator):
        notices.append(
            f"joint_batch shows '{config.arch.name}' real and generated samples in one batch, "
            f"whose batch norm then tells them apart: training is known to collapse. Leave "
            f"joint_batch off."
        )
    skipping = config.nan_policy == "skip"
    accumulator = MetricAccumulator(game, device, skipping=skipping)
    config = _with_lengths(config, loader.batches_per_epoch / config.batches_per_step)

    def now() -> Generator:
        return stage.generator()

    visualizer = SampleVisualizer(game, loader, now, config.seed, samples.mixture)
    stage = Stage(
        config=config,
        device=device,
        precision=precision,
        notices=notices,
        spec=spec,
        preprocessing=preprocessing,
        samples=None,
        modes=None if samples.mixture is None else len(samples.mixture.centres),
        loader=loader,
        game=game,
        accumulator=accumulator,
        visualizer=visualizer,
        validation=None,
        random=RandomState(
            game.noise,
            lambda: game.noise.manual_seed(seeds.derive(config.seed, "noise", game.played)),
        ),
        keeper=Keeper(config),
    )
    stage.parts()  # which refuses what has no state
    if visualizer.plotted and not plots.available():
        stage.note(f"no pictures of these samples without matplotlib: {plots.REMEDY}")
    numbers = [*NAMES, *visualizer.numbers]
    numbers += ["diversity"] * (config.batch_size > 1) + ["skipped"] * skipping
    stage.config = stage.keeper.config = resolve_evals(config, spec, samples.mixture, numbers)
    if every := int(stage.config.evaluate_every):
        stage.validation = Validation(stage.config, device, lambda: game.played)
        stage.samples = samples if isinstance(samples, Samples) else None
        if left := stage.total_steps % every:
            stage.note(f"the last {left} of {stage.total_steps} steps are not evaluated")
    return stage


def _start_from(
    origin: Generator | None,
    config: TrainConfig,
    spec: SampleSpec,
    generator: nn.Module,
    discriminator: nn.Module,
    notices: list[str],
) -> TrainConfig:
    """Give the nets the weights of a trained generator; return the settings that name it."""
    source = str(config.init_from)
    origin = origin or Generator.from_pretrained(source)
    if not preparation.start_from(origin, config, spec, generator, discriminator):
        notices.append(f"{source} has no discriminator: D starts anew")
    place = origin.config.origin
    if place is None or storage.expanded(source).is_dir():
        return config
    # The same weights when it is repeated.
    return config.model_copy(update={"init_from": f"{place.repo_id}@{place.revision}"})


def _place(net: nn.Module, spec: SampleSpec, device: torch.device) -> None:
    if spec.kind == "image":
        net.to(memory_format=torch.channels_last)
    net.to(device)
    if not net.training:  # parts that their author has put in evaluation mode stay in it
        net.train()


def _game(
    config: TrainConfig,
    spec: SampleSpec,
    device: torch.device,
    precision: Precision,
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    fresh: bool,
) -> Game:
    skipping = config.nan_policy == "skip"
    built = config.loss.build(spec, config.latent)
    terms = [Term(each, each.build(spec, config.latent)) for each in config.penalties]
    augmentation = None
    if config.augmentation is not None:
        augmentation = (config.augmentation, config.augmentation.build(spec))
    heads: dict[str, dict[str, nn.Module]] = {"generator": {}, "discriminator": {}}
    if isinstance(built, nn.Module):
        heads[config.loss.trained_with]["loss"] = built
    for term in terms:
        if isinstance(term.built, nn.Module):
            heads[term.penalty.player][term.part] = term.built
    if augmentation is not None:
        heads["discriminator"]["augmentation"] = augmentation[1]
    for modules in heads.values():
        for module in modules.values():
            module.to(device)

    def optimizer(build: Callable[..., Any], net: nn.Module, player: str) -> Any:
        modules = (net, *heads[player].values())
        return build([weight for module in modules for weight in module.parameters()])

    further = []
    for name, net in config.loss.nets(spec, config.latent).items():
        if not name.isidentifier() or name in _RESERVED:
            raise ContractError(
                f"Loss '{config.loss.name}' has a net called '{name}'. Give it a name of letters "
                f"and underscores that is not one of: {listing(_RESERVED)}."
            )
        _place(net, spec, device)
        further.append(
            Player(
                name,
                net,
                config.g_optimizer.build(net.parameters()),
                device,
                ema=EMA(net, config.ema_decay),
                clip=config.clip_grad,
                skipping=skipping,
                autocast=precision.autocast,
            )
        )
    return Game(
        generator=generator,
        discriminator=discriminator,
        loss=config.loss,
        latent=config.latent,
        g_optimizer=optimizer(config.g_optimizer.build, generator, "generator"),
        d_optimizer=optimizer(config.d_optimizer.build, discriminator, "discriminator"),
        ema=EMA(generator, config.ema_decay),
        noise=torch.Generator(device).manual_seed(seeds.derive(config.seed, "noise")),
        d_steps=config.d_steps,
        g_steps=config.g_steps,
        joint_batch=config.joint_batch,
        d_eval_for_g=config.d_eval_for_g,
        clip=config.clip_grad,
        autocast=precision.autocast,
        skip_nonfinite=skipping,
        first=contract.FirstBatch(config.arch, spec, fresh, skipping=skipping),
        built=built,
        terms=terms,
        augmentation=augmentation,
        heads=heads,
        further=further,
    )


def _with_lengths(config: TrainConfig, per_epoch: float) -> TrainConfig:
    """The settings with all lengths in iterations.

    Args:
        config: All settings.
        per_epoch: Iterations of one pass over the data.
    """
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
