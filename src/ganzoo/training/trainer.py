"""The trainer: plays the game from start to end and leaves a run."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganzoo.config import TrainConfig, located, read_config, resolve
from ganzoo.core import seeds
from ganzoo.core.device import Precision, deterministic, pick_device, pick_precision
from ganzoo.core.nets import uses_batch_norm
from ganzoo.core.processes import refuse_several
from ganzoo.core.spec import SampleSpec
from ganzoo.core.step import Step
from ganzoo.datasets import InMemoryDataset, Samples, as_dataset
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import (
    BundleError,
    CheckpointError,
    ConfigError,
    DivergenceError,
    RunFolderError,
    UnknownNameError,
)
from ganzoo.files import checkpoint, storage
from ganzoo.files.background import Background
from ganzoo.files.storage import own_copies, write_json, write_text
from ganzoo.generators import bundle, hub
from ganzoo.generators.generator import Generator
from ganzoo.runs import provenance
from ganzoo.runs.run import (
    ANIMATION,
    COMPARISON,
    CURVES,
    DIAGNOSES,
    GENERATOR,
    METRICS,
    Run,
    check_free,
    writing,
)
from ganzoo.runs.writer import RunWriter
from ganzoo.showing import pictures, plots
from ganzoo.training import contract_nets, preparation
from ganzoo.training.accumulator import NAMES, MetricAccumulator
from ganzoo.training.callbacks import Callback, Progress, Tracking
from ganzoo.training.contract import attributed_to
from ganzoo.training.diagnosis import Diagnoses, Diagnosis
from ganzoo.training.first_batch import FirstBatch
from ganzoo.training.game import EMA, Game, foreign_autocast
from ganzoo.training.interrupt import leave, on_signals
from ganzoo.training.loader import Loader
from ganzoo.training.validation import EvalState, Validation, by_score, check_same, resolve_evals
from ganzoo.training.visualizer import SampleVisualizer

__all__ = ["Trainer"]

_PICTURES = 10  # pictures per run, unless asked otherwise
_CHECKPOINTS = 5
_LR_SCALE = 0.5  # of the learning rates, when going back


class Trainer:
    """Trains any architecture with any loss on any dataset.

    ``Trainer(arch="dcgan").fit()`` needs nothing else. Every other setting of ``TrainConfig``
    can be given by name; what is not given comes from the configuration file, the recipe, what
    the loss and the architecture recommend, and the library's defaults, in this order.

    Args:
        arch: Architecture: a name, a mapping with ``name`` and options, or a component.
        dataset: Real samples: a name, a component, the path of a folder of pictures or of an
            array, Parquet or Arrow file, a tensor (N, C, H, W), a numpy array, (data, labels),
            or a torch ``Dataset``.
        loss: Loss: a name, a mapping or a component.
        recipe: Name of a recipe, above which lie the configuration file and your own settings.
        config: A YAML file, such as ``config.yaml`` of a run, a ``TrainConfig``, or a mapping of
            settings.
        out: Folder of the run; by default the next free ``runs/<arch>-<dataset>-<number>``.
        callbacks: What else to call while training.
        progress: Whether to show how it goes.
        settings: Any other setting of ``TrainConfig``.

    Attributes:
        config: All settings. ``setup`` fills in what follows from the data.
        device: Where it computes.
        precision: How it computes, and why.
        notices: What a person should know about this training, a line each.
        run: The run folder, once ``fit`` has begun.
        spec: What one sample is, at the size the nets work at (after ``setup``).
        total_steps: Iterations in all (after ``setup``).

    Raises:
        ConfigError: If a setting is unknown, wrong, or contradicts another.
        UnknownNameError: If a component's name is not known.
        DeviceError: If the device or precision is not available.
    """

    def __init__(
        self,
        arch: Any = None,
        dataset: Any = None,
        *,
        loss: Any = None,
        recipe: str | None = None,
        config: str | Path | TrainConfig | Mapping[str, Any] | None = None,
        out: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        **settings: Any,
    ) -> None:
        file = storage.expanded(config) if isinstance(config, (str, Path)) else None
        layer = read_config(file) if file else dict(config or {})  # type: ignore[arg-type]
        named = {"arch": arch, "dataset": dataset, "loss": loss, "recipe": recipe}
        given = {key: value for key, value in named.items() if value is not None} | settings
        self._origin: Generator | None = None  # what a new training starts from
        below: dict[str, Any] = {}
        source = given.get("init_from", layer.get("init_from"))
        if isinstance(source, (str, Path)):
            self._origin = Generator.from_pretrained(source)
            below = preparation.inherited(self._origin)
        try:
            self.config: TrainConfig = resolve(below, layer, given)
        except (ConfigError, UnknownNameError) as error:
            # Where the file has this mistake by itself, it is named.
            with located(file if _refusal(layer) == str(error) else None):
                raise
        self.device = pick_device(self.config.device)
        arch, precision = self.config.arch, self.config.precision
        recommended = arch.recommended.get("precision") == precision
        self.precision: Precision = pick_precision(
            precision, self.device, f"as '{arch.name}' recommends" if recommended else "as set"
        )
        for tracker in self.config.trackers:
            tracker.check()
        tracking = [Tracking()] if self.config.trackers else []
        self.callbacks = [*callbacks, *tracking, *([Progress()] if progress else [])]
        self.notices: list[str] = []
        self._out = storage.expanded(out) if out is not None else None
        self.run: Run | None = None
        self._ready = False
        self.spec: SampleSpec
        self.preprocessing: Preprocessing | None = None
        self.game: Game
        self.loader: Loader
        self.visualizer: SampleVisualizer
        self.total_steps = 0
        self._accumulator: MetricAccumulator
        self._rows: list[dict[str, float]] = []
        self._modes: int | None = None
        self._diagnoses: Diagnoses
        self._best: dict[str, float] | None = None  # by a row: "step" and "value"
        self._validation: Validation | None = None
        self._kept_standing = EvalState()  # of which a checkpoint knows
        self._samples: Samples | None = None  # until scores have looked at them
        self._rollbacks = 0
        self._lr_scale = 1.0  # learning rates, by going back
        self._newest = 0  # step of the newest checkpoint that this trainer knows of
        self._writer: RunWriter  # during fit
        self._dirty = False  # whether fit was left in the middle of something
        self._settings_unchanged = True  # whether it had these settings all the way
        self._background = Background()
        self._stopped = False

    @classmethod
    def from_recipe(cls, recipe: str, dataset: Any = None, **settings: Any) -> Trainer:
        """Return a trainer of a known system.

        Args:
            recipe: Its name; ``ganzoo.recipes.names()`` has all.
            dataset: Other data than the recipe's.
            settings: Whatever else ``Trainer`` takes; it wins over the recipe.

        Raises:
            UnknownNameError: If there is no such recipe.
            ConfigError: If it needs data that are not given, or a setting is wrong.
        """
        return cls(dataset=dataset, recipe=recipe, **settings)

    @property
    def step(self) -> int:
        """Iterations finished."""
        return self.game.played if self._ready else 0

    @property
    def images_per_step(self) -> int:
        """Real samples that one iteration sees."""
        return self.config.batch_size * self.config.batches_per_step

    @property
    def best_step(self) -> int | None:
        """Step of the best generator so far, where scores tell which it is."""
        return None if self._validation is None else self._validation.best_step

    @property
    def generator(self) -> Generator:
        """The averaged generator as it is now; it changes while training goes on."""
        self.setup()
        return Generator(self.game.ema.module, self._bundle_config())

    # -- preparing ----------------------------------------------------------------------------

    def setup(self) -> None:
        """Load the data and build the nets; done once, and by itself where it is needed.

        Seeds the global random generators of Python, NumPy and torch.

        Raises:
            DataError: If the data are absent, unreadable, or fewer than a batch.
            UnsupportedSampleError: If the architecture cannot make such samples.
            ContractError: If the architecture builds no such nets, or the data are not what they
                say.
        """
        self._setup(start=True)

    def _setup(self, *, start: bool) -> None:
        """Prepare, either to start or for a state that is at hand."""
        if self._ready:
            return
        device = self.device
        showing = any(isinstance(each, Progress) for each in self.callbacks)
        self.config, samples = preparation.load(self.config, showing=showing)
        spec, self.preprocessing = preparation.frame(self.config, samples.spec)
        config = self.config
        for notice in samples.notices:
            self._note(notice)
        if self.preprocessing is not None and self.preprocessing.method != "none":
            self._note(self.preprocessing.notice(config.arch.name))
        seeds.seed_all(config.seed)
        self.loader = Loader(
            samples,
            config.batch_size,
            device,
            config.seed,
            self.preprocessing,
            workers=config.workers or 0,
        )
        with attributed_to(config.arch):
            generator, discriminator = (
                contract_nets.build(config.arch, player, spec, config.latent)
                for player in ("generator", "discriminator")
            )
        fresh = start and config.init_from is None
        if start and config.init_from is not None:
            self._start_from(config.init_from, spec, generator, discriminator)
        for net in (generator, discriminator):
            if spec.kind == "image":
                net.to(memory_format=torch.channels_last)
            net.to(device)
            if not net.training:  # parts that their author has put in evaluation mode stay in it
                net.train()
        self.spec = spec
        self.game = Game(
            generator=generator,
            discriminator=discriminator,
            loss=config.loss,
            latent=config.latent,
            g_optimizer=config.g_optimizer.build(generator.parameters()),
            d_optimizer=config.d_optimizer.build(discriminator.parameters()),
            ema=EMA(generator, config.ema_decay),
            noise=torch.Generator(device).manual_seed(seeds.derive(config.seed, "noise")),
            d_steps=config.d_steps,
            g_steps=config.g_steps,
            joint_batch=config.joint_batch,
            d_eval_for_g=config.d_eval_for_g,
            clip=config.clip_grad,
            autocast=self.precision.autocast,
            skip_nonfinite=config.nan_policy == "skip",
            first=FirstBatch(config.arch, spec, fresh, skipping=config.nan_policy == "skip"),
        )
        if config.joint_batch and uses_batch_norm(discriminator):
            self._note(
                f"joint_batch shows '{config.arch.name}' real and generated samples in one batch, "
                f"whose batch norm then tells them apart: training is known to collapse. Leave "
                f"joint_batch off."
            )
        self._accumulator = MetricAccumulator(
            self.game, device, skipping=config.nan_policy == "skip"
        )
        self._ready = True
        self.visualizer = SampleVisualizer(
            self.game, self.loader, lambda: self.generator, config.seed, samples.mixture
        )
        if self.visualizer.plotted and not plots.available():
            self._note(f"no pictures of these samples without matplotlib: {plots.REMEDY}")
        self._fix_lengths()
        self._modes = None if samples.mixture is None else len(samples.mixture.centres)
        self._diagnoses = self._new_diagnoses()
        try:
            numbers = [*NAMES, *self.visualizer.numbers]
            numbers += ["diversity"] * (config.batch_size > 1)
            numbers += ["skipped"] * (config.nan_policy == "skip")
            self.config = config = resolve_evals(self.config, spec, samples.mixture, numbers)
        except ConfigError:
            self._ready = False
            raise
        if config.evaluate_every:
            before, self._validation = self._validation, Validation(config, device)
            if before is not None:
                before.discard()
                self._validation.adopt(before)
            self._samples = samples if isinstance(samples, Samples) else None
            if left := self.total_steps % int(config.evaluate_every):
                self._note(f"the last {left} of {self.total_steps} steps are not evaluated")

    def _start_from(
        self, source: str, spec: SampleSpec, generator: nn.Module, discriminator: nn.Module
    ) -> None:
        origin = self._origin or Generator.from_pretrained(source)
        self._origin = None  # whose weights are no longer needed
        if not preparation.start_from(origin, self.config, spec, generator, discriminator):
            self._note(f"{source} has no discriminator: D starts anew")
        place = origin.config.origin
        if place is not None and not storage.expanded(source).is_dir():
            # The same weights for whoever repeats it.
            pinned = f"{place.repo_id}@{place.revision}"
            self.config = self.config.model_copy(update={"init_from": pinned})

    def _new_diagnoses(self) -> Diagnoses:
        count = self.loader.batches_per_epoch * self.config.batch_size
        return Diagnoses(self.config, self._modes, self.total_steps, samples=count)

    def _fix_lengths(self) -> None:
        config = self.config
        per_epoch = self.loader.batches_per_epoch / config.batches_per_step
        if config.epochs is not None:
            self.total_steps = max(1, round(config.epochs * per_epoch))
        else:
            self.total_steps = config.steps or 1

        def every(asked: int | str | None, parts: int = 1) -> int:
            if asked == "epoch":
                return max(1, round(per_epoch))
            return max(1, self.total_steps // parts) if asked is None else int(asked)

        self.config = config.model_copy(
            update={
                "steps": self.total_steps,
                "epochs": None,
                "sample_every": every(config.sample_every, _PICTURES),
                "checkpoint_every": every(config.checkpoint_every, _CHECKPOINTS),
                "snapshot_every": every(config.snapshot_every),
                "evaluate_every": every(config.evaluate_every),
            }
        )

    def _heed_autocast(self) -> None:
        """Refuse or note an autocast that somebody has around the training."""
        dtype = foreign_autocast(self.device)
        if dtype is not None:
            self._note(
                f"a torch.autocast around the training multiplies matrices in "
                f"{str(dtype).removeprefix('torch.')}, whatever its precision says: leave it out; "
                f"precision='bf16' computes in bfloat16"
            )

    def _note(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)

    # -- training -----------------------------------------------------------------------------

    def iterations(self) -> Iterator[Step]:
        """Train, yielding after each iteration: the loop is yours.

        Nothing is logged or written, and numbers that are not finite are not acted on, but for
        ``nan_policy="skip"``; ``save_checkpoint`` and ``generator`` are at hand. ``stop`` ends the
        loop.

        Raises:
            ConfigError: In one of several processes that were started together; if a
                torch.autocast is on around the loop that keeps weights from before their updates.
            ContractError: If the first batch shows that nets, loss or data break their contract.
        """
        refuse_several()
        self.setup()
        self._heed_autocast()
        self._stopped = False
        try:
            yield from self._iterate()
        finally:
            self.loader.close()

    def _iterate(self) -> Iterator[Step]:
        while self.step < self.total_steps and not self._stopped:
            factor = self.config.schedule.factor(self.step, self.total_steps)
            self.game.rate(factor * self._lr_scale)
            first = self.game.first
            with deterministic(self.config.deterministic):
                step = self.game.play(self.loader.next)
            for notice in () if first is None else first.notices:
                self._note(notice)
            yield step

    def fit(self) -> Run:
        """Train to the last step, writing the run folder.

        Ctrl-C, SIGTERM and SIGUSR1 finish the iteration and save a checkpoint before the training
        is left as programs are by that signal; a second Ctrl-C ends it at once. ``stop`` ends
        early and well. Checkpoints are written beside the training, which waits only while its
        state is copied.

        Returns:
            The run.

        Raises:
            ConfigError: In one of several processes that were started together; if a
                torch.autocast is on that keeps weights from before their updates.
            ContractError: If the first batch shows that nets, loss or data break their contract.
            RunFolderError: If the folder is taken, is trained in by another process, or cannot
                be written.
            DivergenceError: If losses, gradients or weights are no longer finite and the setting
                ``nan_policy`` knows no way on.
            CheckpointError, BundleError: If a checkpoint or the generator cannot be written;
                earlier checkpoints are untouched.
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After SIGTERM (code 143) or SIGUSR1.
        """
        refuse_several()
        if self.run is None and self._out is not None:
            check_free(self._out)  # before the data are read, which can take a while
        self._heed_autocast()
        self.setup()
        if self._validation is not None:
            showing = any(isinstance(each, Progress) for each in self.callbacks)
            self._validation.prepare(self.generator, self._samples, showing=showing)
            self._samples = None
        self._stopped = False
        number: int | None = None
        failure: BaseException | None = None
        writer: RunWriter | None = None

        def asked(signal: int) -> None:
            nonlocal number
            number = signal
            self.stop()

        try:
            self._writer = writer = self._begin()
            run = self.run = writer.run
            self._call("on_start", run)
            with on_signals(asked), deterministic(self.config.deterministic):
                self._train(run)
            if number is not None:
                leave(number)
            self._write_summary(run)
            self._call("on_end", run)
        except BaseException as error:
            failure = error
            raise
        finally:
            self._leave(writer, failure)
        return Run(run.path)

    def stop(self) -> None:
        """End ``fit`` or your loop after the present iteration; ``fit`` saves and returns."""
        self._stopped = True
        if self._validation is not None:
            self._validation.hurry()

    def _train(self, run: Run) -> None:
        self._dirty = True
        while True:
            try:
                self._play(run)
                self._tell(self._background.wait())
                break
            except DivergenceError as error:
                if not self._go_back(run, error):
                    raise
        self._dirty = False

    def _play(self, run: Run) -> None:
        config = self.config
        due: dict[Callable[[Run], None], Any] = {
            self._evaluate: config.evaluate_every,
            self._log: config.log_every,
            self._picture: config.sample_every,
            self._snapshot: config.snapshot_every,
            self._save: config.checkpoint_every,
        }
        self._evaluate_owed(run)
        done = dict.fromkeys(due, self.step)
        if self.step and not (run.path / GENERATOR).exists():  # somebody has removed it
            done[self._save] = -1
        if config.nan_policy == "rollback" and not self.step and not self._rollbacks:
            self._save(run)  # somewhere to go back to
        first = self.game.first
        for step in self._iterate():
            if first is not None:
                for text in first.notices:
                    self._diagnose(run, Diagnosis(self.step, "contract", text))
                first = None
            self._accumulator.add(step)
            self._tell(self._background.poll())
            self._call("on_step", step)
            for act, every in due.items():
                if every and self.step % every == 0:
                    act(run)
                    done[act] = self.step
            if self.step in self._wanted() and done[self._save] != self.step:
                self._save(run)
                done[self._save] = self.step
        planned = (self._snapshot, self._evaluate)
        rest = [act for act in due if done[act] != self.step and act not in planned]
        if self.step < self.total_steps:
            rest.reverse()  # not planned: who ended it may not wait for more than the state
        for act in rest:
            act(run)
        self._end_evaluation(run)

    def _evaluate(self, run: Run) -> None:
        """Score the averaged generator; where that is done beside the training, begin to."""
        validation = self._validation
        if validation is None:
            return
        self._take_scores(run)
        if self._stopped:  # who ends the training may not wait: it is done on resuming
            return
        self._score(run, self.step, self.generator)

    def _evaluate_owed(self, run: Run) -> None:
        """Score what the end of an earlier training has left unscored."""
        validation = self._validation
        if validation is None or self._stopped:
            return
        for step in () if validation.exhausted else validation.pending(self.step):
            generator = self.generator if step == self.step else self._earlier(run, step)
            self._take_scores(run)
            if self._stopped:
                return
            if generator is None:
                validation.give_up_on(step)
                text = "no scores: its checkpoint is gone"
                self._diagnose(run, Diagnosis(step, "score", text))
                continue
            self._score(run, step, generator)
        self._check_early_stopping(run)

    def _score(self, run: Run, step: int, generator: Generator) -> None:
        """Begin to score a generator; where that is not done beside the training, also end."""
        assert self._validation is not None
        self._call("on_evaluate")
        if self._stopped:
            return
        self._validation.begin(step, generator)
        if not self.config.evaluate_async:
            self._take_scores(run)

    def _end_evaluation(self, run: Run) -> None:
        """Take what is found at the end, and keep what no checkpoint has yet."""
        validation = self._validation
        if validation is None:
            return
        if self.step >= self.total_steps:
            self._take_scores(run)
        if validation.eval_state != self._kept_standing:
            self._save(run)

    def _take_scores(self, run: Run) -> None:
        """Record what was found of the generator that was scored last, if that was not done."""
        validation = self._validation
        found = None if validation is None else validation.finish()
        if validation is None or found is None:
            return
        unlike = validation.unlike_the_best(found)
        better = validation.take(found)
        if found.failure:
            self._diagnose(run, Diagnosis(found.step, "score", f"no scores: {found.failure}"))
            return
        if unlike:
            text = f"scores are measured otherwise than those of the best, in {', '.join(unlike)}"
            self._diagnose(run, Diagnosis(found.step, "score", text))
        self._writer.scored(found.step, found.scores)
        if better:
            self._writer.best(found.generator, found.scores)
        self._call("on_scores", found.step, found.scores)
        self._check_early_stopping(run)

    def _check_early_stopping(self, run: Run) -> None:
        """End the training where more of it is in vain, and say so once."""
        validation = self._validation
        if validation is None or not validation.exhausted or self._stopped:
            return
        text, step = validation.told(), validation.eval_state.evaluated
        told = any(each.get("text") == text for each in run.diagnoses)
        if self.step < self.total_steps and not told:
            self._diagnose(run, Diagnosis(step, "patience", text))
        self.stop()

    def _earlier(self, run: Run, step: int) -> Generator | None:
        """The averaged generator of a checkpoint; None if there is none that is whole.

        Raises:
            CheckpointError: If it cannot be read, which need not be its fault.
        """
        path = checkpoint.place(run.path / "checkpoints", step)
        if not path.is_dir():
            return None
        try:
            tensors, state = checkpoint.load(path)
            if checkpoint.misnamed(path, state):
                return None
            module = copy.deepcopy(self.game.ema.module)
            lead = "ema."
            module.load_state_dict(
                {k.removeprefix(lead): v for k, v in tensors.items() if k.startswith(lead)}
            )
        except checkpoint.UnusableError:
            raise
        except (CheckpointError, RuntimeError):
            return None
        return Generator(module, self._bundle_config(step))

    def _log(self, run: Run) -> None:
        row = self._row()
        self._writer.append(METRICS, row)
        self._rows.append(row)
        self._call("on_log", row)
        for diagnosis in self._diagnoses.see(row) if self._whole(self.step) else ():
            self._diagnose(run, diagnosis)

    def _diagnose(self, run: Run, diagnosis: Diagnosis) -> None:
        self._writer.append(DIAGNOSES, dataclasses.asdict(diagnosis))
        self._call("on_diagnosis", diagnosis)

    def _row(self) -> dict[str, float]:
        """Means since the last row, and what is measured at this step."""
        head = {"step": self.step, "epoch": self.loader.epoch, "images": self.loader.drawn}
        row = self._accumulator.row(head, self.visualizer.scores, whole=self._whole(self.step))
        if row is None:
            raise self._divergence()
        return row

    def _divergence(self) -> DivergenceError:
        """Return the diagnosis: what, since when, and the way on."""
        reports = [found for monitor in self.game.monitors.values() if (found := monitor.report())]
        if reports:
            since, names = min(reports, key=lambda report: report[0])
            alone = names[0].endswith("loss") or not names[1:]
            more = "" if alone else f" and {len(names) - 1} more"
            fact = f"The {names[0]}{more} is not finite since step {since}"
        else:
            fact = "What D says of real or generated samples is not finite"
        if self.config.nan_policy == "skip":
            fact += f", and all updates were left out from step {self.step} back to the last row"
        return DivergenceError(f"{fact} (noticed at step {self.step}). {self._remedy()}")

    def _remedy(self) -> str:
        lower = "lower learning rates (--g-optimizer.lr, --d-optimizer.lr) or with --clip-grad"
        if self._rollbacks:
            lower += f"; {self._rollbacks} times half of them was not enough"
        self._background.settle()
        if self.run is not None and not self._rollbacks:
            newest = checkpoint.latest(self.run.path / "checkpoints")
            if newest is not None:
                return (
                    f"The last good checkpoint is {newest}: 'ganzoo resume {self.run.path} "
                    f"--nan_policy rollback' goes on from there, and halves the learning rates if "
                    f"it comes to this again. Or train again with {lower}."
                )
        return f"Train again with {lower}."

    def _go_back(self, run: Run, error: DivergenceError) -> bool:
        """Return to the last good checkpoint with lower learning rates; whether there is a way."""
        config = self.config
        if config.nan_policy != "rollback" or self._rollbacks >= config.max_rollbacks:
            return False
        self._tell(self._background.wait())
        if self._validation is not None:
            self._validation.discard()
        found, notices = self._writer.recover()
        if found.path is None:
            return False
        left, rollbacks, scale = self.step, self._rollbacks + 1, self._lr_scale * _LR_SCALE
        self._restore(found.tensors, found.state, found.path)
        self._rollbacks, self._lr_scale = rollbacks, scale
        self._rewind(self._writer)
        self._save(run)  # so that it is not forgotten that it went back
        self._tell(self._background.wait())
        fact = str(error).partition(" (noticed")[0]
        text = " ".join(
            [
                f"{fact}: went back from step {left} to the checkpoint of step {self.step}, with "
                f"learning rates {scale:g} times those that were set ({rollbacks} of at most "
                f"{config.max_rollbacks} times).",
                *notices,
            ]
        )
        self._diagnose(run, Diagnosis(self.step, "rollback", text))
        return True

    def _whole(self, step: int) -> bool:
        """Whether the row of that step covers a whole interval, as the last one may not."""
        return step % self.config.log_every == 0

    def _picture(self, run: Run) -> None:
        picture = self.visualizer.picture(self.step)
        if picture is None:
            return
        self._call("on_picture", self._writer.picture(self.step, picture))

    def _snapshot(self, run: Run) -> None:
        """Keep both nets as they are now."""
        folder = run.path / "snapshots" / f"step-{self.step:08d}"
        self._check(self.game.state()[0])
        with writing(run.path):
            self.generator.save_pretrained(folder, discriminator=self.game.discriminator)

    @property
    def finished(self) -> bool:
        """Whether the run has been trained to its end and summed up."""
        if self.run is None or not self._ready:
            return False
        validation = self._validation
        enough = validation is not None and validation.exhausted
        if self.step < self.total_steps and not enough:
            return False
        if validation is not None and not enough and validation.pending(self.step):
            return False
        if not (self.run.path / GENERATOR).exists():
            return False
        return all(path.is_file() for path in self._summaries(self.run))

    def _write_summary(self, run: Run) -> None:
        """Leave what shows the whole training, the generator's share of it beside the generator."""
        with writing(run.path):
            for make in self._summaries(run).values():
                make()

    def _summaries(self, run: Run) -> dict[Path, Callable[[], object]]:
        """The files that the end of a run leaves, and what writes each of them, in order."""
        made: dict[Path, Callable[[], object]] = {}
        pictured = run.samples
        if self.spec.kind == "image":
            path = run.path / COMPARISON
            made[path] = lambda: pictures.write(self.visualizer.comparison(), path)
        if curved := plots.available() and bool(run.history):
            made[run.path / CURVES] = lambda: pictures.write(run.curves(), run.path / CURVES)
        if self.visualizer.plotted and len(pictured) > 1:
            made[run.path / ANIMATION] = lambda: pictures.animate(pictured, run.path / ANIMATION)
        beside = run.path / GENERATOR
        if not (beside / bundle.CONFIG).is_file():  # ended before the first iteration
            return made
        copied = {bundle.CURVES: run.path / CURVES} if curved else {}
        copied |= {bundle.SAMPLES: pictured[-1]} if pictured else {}
        for name, original in copied.items():
            made[beside / name] = functools.partial(storage.copy, original, beside / name)
        told = provenance.training(
            self.config,
            self._environment(),
            self.step,
            self.loader.drawn,
            settings_unchanged=self._settings_unchanged,
        )
        made[beside / bundle.TRAINING] = lambda: write_json(beside / bundle.TRAINING, told)
        return made

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self, *arguments)

    # -- saving and resuming ------------------------------------------------------------------

    @classmethod
    def resume(
        cls,
        run: str | Path | Run,
        *,
        dataset: Any = None,
        steps: int | None = None,
        epochs: float | None = None,
        device: str | None = None,
        workers: int | None = None,
        nan_policy: str | None = None,
        metrics: Any = None,
        patience: int | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        **others: Any,
    ) -> Trainer:
        """Return a trainer that continues a run from its newest checkpoint that is whole.

        It goes on as if the run had never ended. Checkpoints that are damaged are named in the
        notices and renamed, and what a kill left unfinished is cleared away. A run that ended
        before its first checkpoint starts afresh.

        Args:
            run: The run or its folder.
            dataset: The data again, where they were an object in memory.
            steps: A new total number of steps.
            epochs: A new total number of epochs.
            device: Another device.
            workers: Another number of processes that read data, where they are read while
                training; it changes nothing in the result.
            nan_policy: From here on, what follows numbers that are not finite.
            metrics: The metrics again, where one sees by a net or function in memory.
            patience: From here on, how many scores in a row may fail to be the best.
            callbacks: What else to call while training.
            progress: Whether to show how it goes.
            others: Any other setting is refused, with the way to go on with another one.

        Raises:
            RunFolderError: If there is no run, another process trains in it, or its checkpoints
                are gone.
            CheckpointError: If no checkpoint is whole, or it is of another configuration.
            ConfigError: If a setting contradicts the run, such as fewer steps than it has done.
            DataError: If the data given are not those that the run was trained on.
        """
        refuse_several()
        run = run if isinstance(run, Run) else Run(run)
        if others:
            raise ConfigError(preparation.kept_settings(others, run.path))
        writer = RunWriter.open(run)
        try:
            found, notices = writer.recover()
        finally:
            writer.release()
        settings: dict[str, Any] = {
            "steps": steps,
            "epochs": epochs,
            "device": device,
            "workers": workers,
            "nan_policy": nan_policy,
            "metrics": metrics,
            "patience": patience,
            "precision": found.state.get("precision"),
        }
        settings = {key: value for key, value in settings.items() if value is not None}
        config = read_config(run.path / "config.yaml")
        if workers is not None and config.get("workers") is None:
            raise ConfigError(
                f"The data of {run.path} were read before training, not by workers while it went "
                f"on, and that cannot be changed on the way. Leave workers out."
            )
        if dataset is not None:
            saved, given = resolve(config).dataset, as_dataset(dataset)
            if isinstance(saved, InMemoryDataset) and isinstance(given, InMemoryDataset):
                given = saved.with_data(given)
            settings["dataset"] = given
        if metrics is not None:
            check_same(resolve(config).metrics, metrics, run.path)
        origin = config.pop("init_from", None)  # whose weights are in the checkpoint
        trainer = cls(config=config, callbacks=callbacks, progress=progress, **settings)
        trainer.config = trainer.config.model_copy(update={"init_from": origin})
        for notice in (*notices, *trainer._environment_changes(run)):
            trainer._note(notice)
        if found.path is None:
            trainer._note("the run ended before its first checkpoint: it starts afresh")
        else:
            trainer._restore(found.tensors, found.state, found.path)
            other_end = trainer.total_steps != config.get("steps")
            if other_end and trainer.config.schedule.name != "constant":
                trainer._settings_unchanged = False
            if nan_policy not in (None, config.get("nan_policy")):
                trainer._settings_unchanged = False
        if trainer._ready and trainer.step > trainer.total_steps:
            raise ConfigError(
                f"{run.path} has already been trained for {trainer.step} steps, more than "
                f"{trainer.total_steps}. Give a larger total."
            )
        trainer.run = run
        return trainer

    def save_checkpoint(self, folder: str | Path) -> Path:
        """Write the whole state of the training as a new checkpoint below ``folder``.

        Returns:
            The checkpoint's own folder.

        Raises:
            CheckpointError: If it cannot be written.
            DivergenceError: If the state is not finite: such a checkpoint would help nobody.
        """
        self.setup()
        tensors, state = self._copied()
        path = checkpoint.save(storage.expanded(folder), self.step, tensors, state, copied=True)
        self._tell(path)
        return path

    def nets(self) -> dict[str, torch.nn.Module]:
        """Return ``generator``, ``discriminator`` and ``ema`` as they train."""
        self.setup()
        return self.game.nets()

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        tensors, state = self.game.state()
        tensors |= self._accumulator.state()
        tensors["rng.noise"] = self.game.noise.get_state()
        tensors.update(seeds.states(self.device))
        state |= {
            "device": self.device.type,
            "precision": self.precision.name,
            "feed": self.loader.state_dict(),
            "best": self._best,
            "rollbacks": self._rollbacks,
            "lr_scale": self._lr_scale,
            "settings_unchanged": self._settings_unchanged,
            "validation": None if self._validation is None else self._validation.state(),
            "retain_steps": self._wanted(),
        }
        return tensors, state

    def _copied(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The whole state on the host, apart from what goes on being trained."""
        tensors, state = self._state()
        copies = own_copies(tensors)
        self._check(copies)
        return copies, state

    def load_checkpoint(self, path: str | Path) -> None:
        """Continue from a checkpoint of a training with the same settings.

        On another kind of device than the one that wrote it, what is drawn from here on differs.

        Raises:
            CheckpointError: If it is damaged or does not fit these settings.
        """
        path = storage.expanded(path)
        tensors, state = checkpoint.load(path)
        self._restore(tensors, state, path)
        self._dirty = False

    def _restore(
        self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], path: Path
    ) -> None:
        self._setup(start=False)
        try:
            same = state["device"] == self.device.type
            self.loader.load_state_dict(state["feed"])  # which refuses other data
            self.game.restore(tensors, state)
            self._accumulator.restore(tensors)
            best = state["best"]
            self._best = best and {"step": int(best["step"]), "value": float(best["value"])}
            if self._validation is not None and state.get("validation") is not None:
                self._validation.restore(state["validation"], self.step)
                self._kept_standing = self._validation.eval_state
            self._rollbacks, self._lr_scale = int(state["rollbacks"]), float(state["lr_scale"])
            self._settings_unchanged = same and bool(state.get("settings_unchanged", True))
            seeds.restore(tensors, self.device, same)
            if same:
                self.game.noise.set_state(tensors["rng.noise"])
            else:
                self.game.noise.manual_seed(seeds.derive(self.config.seed, "noise", self.step))
                self._note(
                    f"the run was on {state['device']} and goes on on {self.device.type}: from "
                    f"here on its random numbers are others."
                )
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"The checkpoint {path} does not fit the run's config.yaml ({reason}). "
                f"Restore the config.yaml it was trained with."
            ) from error
        self._newest = max(self._newest, self.step)

    def _rewind(self, writer: RunWriter) -> None:
        """Forget what was left after the checkpoint, and a row that the end cut short.

        All of it is going to be written again, as if nothing had ended the training.
        """
        run, every = writer.run, self.config.sample_every
        over = self.step >= self.total_steps
        with writing(run.path):
            run.rewind(
                self.step,
                whole=lambda step: over or self._whole(step),  # over: it is not written again
                pictured=lambda step: over or bool(every and step % int(every) == 0),
                evaluated=0 if self._validation is None else self._validation.eval_state.evaluated,
            )
            self._repair_best(writer)
            self._describe(run.path)
        self._rows = run.history
        self._diagnoses = self._new_diagnoses()
        for row in self._rows:
            if self._whole(int(row["step"])):
                self._diagnoses.see(row)

    def _begin(self) -> RunWriter:
        """Make the run, or take it up again where nobody else has gone on in it since."""
        with contextlib.suppress(CheckpointError, RunFolderError, BundleError):
            self._background.wait()  # left behind by an interruption; it was not told, nor counts
        if self.run is None:
            self._best = None  # the best of a checkpoint that was loaded is in another folder
            if self._validation is not None:
                self._validation.forget(self.step)
            stem = f"{self.config.arch.name}-{self.config.dataset.called}".replace(":", "-")
            return RunWriter.begin(self._out, stem, self._describe)
        writer = RunWriter.open(self.run)
        folder = self.run.path / "checkpoints"
        try:
            if self._dirty:
                self._recover(writer)
            newest = checkpoint.latest(folder)
            if newest is not None and checkpoint.step_of(newest) > self._newest:
                raise RunFolderError(
                    f"Another process has trained in {self.run.path} since this one read it (there "
                    f"is {newest.name}). Resume the run again, from there."
                )
            self._rewind(writer)
            with writing(self.run.path):  # a kill may have come between a checkpoint and this
                self._keeping()(folder)
        except BaseException:
            writer.release(self._background)
            raise
        return writer

    def _recover(self, writer: RunWriter) -> None:
        """Leave the state that an unclean end left in the middle of something."""
        found, notices = writer.recover()
        for notice in notices:
            self._note(notice)
        if found.path is not None:
            self._restore(found.tensors, found.state, found.path)
        else:
            self.loader.close()
            self._ready, self._best, self._rollbacks, self._lr_scale = False, None, 0, 1.0
            self.setup()
        self._dirty = False
        self._note(f"the training was left in the middle; it goes on from step {self.step}")

    def _leave(self, writer: RunWriter | None, failure: BaseException | None) -> None:
        """Let go of the run, however the training ended; each part whatever the others do."""
        with contextlib.ExitStack() as parts:  # the last comes first
            parts.callback(self._call, "on_close")
            if writer is not None:  # who left at once may have left a write at work
                parts.callback(writer.release, self._background)
            parts.callback(self.loader.close)
            if not (self._dirty and isinstance(failure, KeyboardInterrupt)):  # that is at once
                parts.callback(self._finish_saving, failure)
            if self._validation is not None:
                parts.callback(self._validation.discard)

    def _finish_saving(self, failure: BaseException | None) -> None:
        try:
            path = self._background.wait()
        except Exception as error:
            if failure is None:
                raise
            if str(error) != str(failure):  # what ended the training is raised, this is told
                logging.getLogger("ganzoo").error("%s", error)
        else:
            if failure is None:
                self._tell(path)

    def _keeping(self) -> Callable[[Path], None]:
        """What removes the checkpoints that are over, as it is decided now."""
        last, every = self.config.keep_checkpoints, self.config.keep_every
        return lambda folder: checkpoint.prune(folder, last, every)

    def _wanted(self) -> list[int]:
        """Steps whose checkpoints this state needs: the best one, and those yet to be scored."""
        best, validation = self._best, self._validation
        wanted = set() if best is None else {int(best["step"])}
        if validation is not None:
            wanted |= {*validation.pending(self.step)}
            wanted |= set() if validation.best_step is None else {validation.best_step}
        return sorted(wanted)

    def _repair_best(self, writer: RunWriter) -> None:
        """Have the folder of the best generator hold what this state knows as the best."""
        best = None if self._validation is None else self._validation.eval_state.best
        if self._validation is None or writer.holds_best(self.best_step):
            return
        generator = None if best is None else self._earlier(writer.run, best.step)
        if best is None or generator is None:
            for notice in writer.set_best_aside():
                self._note(notice)
        else:
            writer.best(generator, best.scores)

    def _environment_changes(self, run: Run) -> list[str]:
        """What about this machine may change the last bits of a run that goes on here."""
        try:
            changed = provenance.changes(run.environment, self._environment())
        except RunFolderError:
            return []
        if not changed:
            return []
        return [f"not as where the run was before ({'; '.join(changed)}): last bits may differ"]

    def _describe(self, path: Path) -> None:
        write_text(path / "config.yaml", self.config.yaml())
        write_json(path / "environment.json", self._environment())

    def _environment(self) -> dict[str, Any]:
        return provenance.environment(self.device, self.precision, self.notices)

    def _save(self, run: Run) -> None:
        """Copy the state, and have it written beside the training."""
        self._tell(self._background.wait())  # so that only one copy is held
        config, step = self.config, self.step
        every = int(config.checkpoint_every or 0)
        # One where the training was left would make a resumed training's best another.
        if every and step % every == 0:
            self._judge(step)
        tensors, state = self._copied()
        if self._validation is not None:
            self._kept_standing = self._validation.eval_state
        writer, described, keep = self._writer, self._bundle_config(), self._keeping()
        self._background.submit(lambda: writer.save(step, tensors, state, described, keep))
        self._newest = step

    def _judge(self, step: int) -> None:
        """Find out whether this is the best checkpoint so far, by the last row."""
        if self.config.keep_best is None or by_score(self.config) or not self._rows:
            return
        better, _, name = self.config.keep_best.partition(":")
        value, sign = self._rows[-1].get(name, math.nan), 1 if better == "max" else -1
        if math.isfinite(value) and (
            self._best is None or sign * value > sign * self._best["value"]
        ):
            self._best = {"step": step, "value": value}

    def _tell(self, path: Path | None) -> None:
        """Say that a checkpoint has been written, if one has."""
        if path is not None:
            self._call("on_checkpoint", path)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        dry_run: bool = False,
        license: str | None = None,  # noqa: A002 - the Hub's word
        overwrite_card: bool = False,
        half: bool = False,
        discriminator: bool = False,
    ) -> hub.Push:
        """Publish the generator that the run has saved, or that of your own loop, on the Hub.

        Arguments, result and errors are those of ``Generator.push_to_hub``; ``discriminator``
        sends the other player with it.
        """
        opponent: nn.Module | bool = discriminator
        if self.run is not None:
            generator = Generator.from_pretrained(self.run.path)
        else:
            generator = self.generator
            opponent = discriminator and self.game.discriminator
        return generator.push_to_hub(
            repo_id,
            private=private,
            token=token,
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
            dry_run=dry_run,
            license=license,
            overwrite_card=overwrite_card,
            half=half,
            discriminator=opponent,
        )

    def _check(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Refuse to keep a state that is not finite, or came by way of numbers that were not."""
        if self.config.nan_policy != "skip" and self.game.alarm:
            raise self._divergence()
        for name, value in tensors.items():
            # The sum reads memory once and makes nothing; only an overflow needs a second look.
            doubtful = value.is_floating_point() and not value.sum().isfinite()
            if doubtful and not value.isfinite().all():
                raise DivergenceError(
                    f"{name} is no longer finite at step {self.step}. {self._remedy()}"
                )

    def _bundle_config(self, step: int | None = None) -> bundle.BundleConfig:
        step = self.step if step is None else step
        return provenance.bundle_config(
            self.config, self.spec, self.preprocessing, step, self.precision
        )


def _refusal(layer: Mapping[str, Any]) -> str:
    """Why a layer of settings is refused; empty if it is not."""
    try:
        resolve(layer)
    except (ConfigError, UnknownNameError) as error:
        return str(error)
    return ""
