"""The trainer: plays the game from start to end and leaves a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ganzoo.config import TrainConfig
from ganzoo.core.device import Precision, deterministic, pick_device, pick_precision
from ganzoo.core.processes import refuse_several
from ganzoo.core.spec import SampleSpec
from ganzoo.errors import DivergenceError
from ganzoo.files import checkpoint, storage
from ganzoo.generators.generator import Generator
from ganzoo.runs.run import Run, check_free
from ganzoo.training import preparation, resuming, summary
from ganzoo.training.assembly import assemble
from ganzoo.training.callbacks import Callback
from ganzoo.training.game import Game
from ganzoo.training.interrupt import leave, on_signals
from ganzoo.training.progress import Progress
from ganzoo.training.session import Session
from ganzoo.training.tracking import Tracking

if TYPE_CHECKING:
    from ganzoo.core.step import Step
    from ganzoo.datasets.preprocessing import Preprocessing
    from ganzoo.generators import hub
    from ganzoo.training.loader import Loader
    from ganzoo.training.parts import Part
    from ganzoo.training.stage import Stage
    from ganzoo.training.visualizer import SampleVisualizer

__all__ = ["Trainer"]


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
        stopped: Whether ``stop`` was called since ``fit`` or the loop began.
        spec: What one sample is, at the size the nets work at; like ``game``, ``loader`` and
            ``visualizer`` there after ``setup``.

    Raises:
        ConfigError: If a setting is unknown, wrong, or contradicts another.
        UnknownNameError: If a component's name is not known.
        DeviceError: If the device or precision is not available.
    """

    spec: SampleSpec
    preprocessing: Preprocessing | None = None
    game: Game
    loader: Loader
    visualizer: SampleVisualizer

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
        named = {"arch": arch, "dataset": dataset, "loss": loss, "recipe": recipe}
        given = {key: value for key, value in named.items() if value is not None} | settings
        self.config: TrainConfig
        self.config, self._origin = preparation.settings(config, given)
        self.device = pick_device(self.config.device)
        component, wanted = self.config.arch, self.config.precision
        recommended = component.recommended.get("precision") == wanted
        why = f"as '{component.name}' recommends" if recommended else "as set"
        self.precision: Precision = pick_precision(wanted, self.device, why)
        for tracker in self.config.trackers:
            tracker.check()
        tracking = [Tracking()] if self.config.trackers else []
        self.callbacks = [*callbacks, *tracking, *([Progress()] if progress else [])]
        self.notices: list[str] = []
        self.run: Run | None = None
        self.stopped = False
        self._out = storage.expanded(out) if out is not None else None
        self._stage: Stage | None = None
        self._showing = any(isinstance(each, Progress) for each in self.callbacks)

    @classmethod
    def from_recipe(cls, recipe: str, dataset: Any = None, **settings: Any) -> Trainer:
        """Return a trainer of a known system; ``ganzoo.recipes.names()`` has all.

        What else is given wins over the recipe.

        Raises:
            UnknownNameError: If there is no such recipe.
            ConfigError: If it needs data that are not given, or a setting is wrong.
        """
        return cls(dataset=dataset, recipe=recipe, **settings)

    # -- what there is ------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Iterations finished."""
        return 0 if self._stage is None else self._stage.step

    @property
    def total_steps(self) -> int:
        """Iterations in all (0 before ``setup``)."""
        return 0 if self._stage is None else self._stage.total_steps

    @property
    def images_per_step(self) -> int:
        """Real samples that one iteration sees."""
        return self.config.batch_size * self.config.batches_per_step

    @property
    def best_step(self) -> int | None:
        """Step of the best generator so far, where scores tell which it is."""
        validation = None if self._stage is None else self._stage.validation
        return None if validation is None else validation.best_step

    @property
    def modes(self) -> int | None:
        """How many modes the data have, where it is known."""
        return None if self._stage is None else self._stage.modes

    @property
    def generator(self) -> Generator:
        """The averaged generator as it is now; it changes while training goes on."""
        return self._built().generator()

    @property
    def finished(self) -> bool:
        """Whether the run has been trained to its end and summed up."""
        if self.run is None or self._stage is None:
            return False
        return summary.finished(self.run, self._stage)

    def nets(self) -> dict[str, nn.Module]:
        """Return ``generator``, ``discriminator`` and ``ema`` as they train."""
        return self._built().game.nets()

    def parts(self) -> dict[str, Part]:
        """Return everything that has a state in checkpoints, by name."""
        return self._built().parts()

    # -- preparing ----------------------------------------------------------------------------

    def setup(self) -> None:
        """Load the data and build the nets, once; the other methods call it where needed.

        Seeds the global random generators of Python, NumPy and torch.

        Raises:
            DataError: If the data are absent, unreadable, or fewer than a batch.
            UnsupportedSampleError, ContractError: If the architecture cannot make such samples,
                or nets or data break their contract.
        """
        self._built()

    def _built(self, *, start: bool = True) -> Stage:
        return self._stage or self._build(start=start)

    def _build(self, *, start: bool = True) -> Stage:
        before, origin, self._origin = self._stage, self._origin, None
        self._stage = None
        stage = assemble(
            self.config,
            self.device,
            self.precision,
            self.notices,
            start=start,
            origin=origin,
            showing=self._showing,
        )
        if before is not None and before.validation is not None and stage.validation is not None:
            before.validation.discard()
            stage.validation.adopt(before.validation)
        self.config, self.spec, self.preprocessing = stage.config, stage.spec, stage.preprocessing
        self.game, self.loader, self.visualizer = stage.game, stage.loader, stage.visualizer
        self._stage = stage
        return stage

    # -- training -----------------------------------------------------------------------------

    def iterations(self) -> Iterator[Step]:
        """Train, yielding after each iteration: the loop is yours.

        Nothing is logged or written, and numbers that are not finite are not acted on, but for
        ``nan_policy="skip"``; ``save_checkpoint`` and ``generator`` are at hand. ``stop`` ends the
        loop.

        Raises:
            ConfigError: In one of several processes that were started together; if a
                torch.autocast is on around the loop that caches weights from before their updates.
            ContractError: If the first batch shows that nets, loss or data break their contract.
        """
        refuse_several()
        self._built().check_autocast()
        self.stopped = False
        try:
            yield from self._iterate()
        finally:
            self.loader.close()

    def _iterate(self) -> Iterator[Step]:
        stage = self._built()
        game, config, total = stage.game, stage.config, stage.total_steps
        while game.played < total and not self.stopped:
            stage.scheduler.apply(game.played)
            game.rate(config.schedule.factor(game.played, total) * stage.keeper.lr_scale)
            first = game.first
            with deterministic(config.deterministic):
                step = game.play(stage.loader.next)
            for notice in () if first is None else first.notices:
                stage.note(notice)
            yield step

    def fit(self) -> Run:
        """Train to the last step, writing the run folder.

        Ctrl-C, SIGTERM and SIGUSR1 finish the iteration and save a checkpoint before the training
        is left as programs are by that signal; a second Ctrl-C ends it at once. ``stop`` ends
        early and well. Checkpoints are written in the background: the training waits only while
        its state is copied.

        Raises:
            ConfigError, ContractError: As ``iterations``.
            RunFolderError: If the folder is taken, is trained in by another process, or cannot
                be written.
            DivergenceError: If numbers are no longer finite and ``nan_policy`` knows no way on.
            CheckpointError, BundleError: If a checkpoint or the generator cannot be written;
                earlier checkpoints are untouched.
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After SIGTERM (code 143) or SIGUSR1.
        """
        refuse_several()
        if self.run is None and self._out is not None:
            check_free(self._out)  # before the data are read, which can take a while
        stage = self._built()
        stage.check_autocast()
        if stage.validation is not None:
            stage.validation.prepare(stage.generator(), stage.samples, showing=self._showing)
            stage.samples = None
        self.stopped = False
        with Session(self, stage, self._out, self._build) as session:
            with on_signals(self.stop) as signals, deterministic(self.config.deterministic):
                while True:
                    try:
                        session.begin()
                        for step in self._iterate():
                            session.after(step)
                        session.finish()
                        break
                    except DivergenceError as error:
                        session.go_back(error)
            if signals:
                leave(signals[0])
            session.summarize()
        return Run(session.run.path)

    def stop(self) -> None:
        """End ``fit`` or your loop after the present iteration; ``fit`` saves and returns."""
        self.stopped = True
        if self._stage is not None and self._stage.validation is not None:
            self._stage.validation.hurry()

    # -- saving and resuming ------------------------------------------------------------------

    def save_checkpoint(self, folder: str | Path) -> Path:
        """Write the whole state of the training as a new checkpoint below ``folder``; return it.

        Raises:
            CheckpointError: If it cannot be written.
            DivergenceError: If the state is not finite: it would be of no use.
        """
        tensors, state = self._built().state()
        path = checkpoint.save(storage.expanded(folder), self.step, tensors, state, copied=True)
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)
        return path

    def load_checkpoint(self, path: str | Path) -> None:
        """Continue from a checkpoint of a training with the same settings.

        On another kind of device than the one that wrote it, what is drawn from here on differs.

        Raises:
            CheckpointError: If it is damaged or does not fit these settings.
        """
        path = storage.expanded(path)
        tensors, state = checkpoint.load(path)
        stage = self._built(start=False)
        stage.restore(tensors, state, path)
        stage.keeper.unclean = False

    @classmethod
    def resume(
        cls,
        run: str | Path | Run,
        *,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        **settings: Any,
    ) -> Trainer:
        """Return a trainer that continues a run from its newest checkpoint that is whole.

        The resumed training is bit-exact. Damaged checkpoints are named in the notices and
        renamed. A run that ended before its first checkpoint starts afresh.

        Args:
            run: The run or its folder.
            callbacks: What else to call while training.
            progress: Whether to show how it goes.
            settings: A new total (``steps`` or ``epochs``), another ``device`` or number of
                ``workers``, another ``nan_policy`` or ``patience`` from here on; ``dataset`` and
                ``metrics`` again, where they were objects in memory. Any other setting is
                refused, with the way to train on with it.

        Raises:
            RunFolderError: If there is no run, another process trains in it, or its checkpoints
                are gone.
            CheckpointError: If no checkpoint is whole, or it is of another configuration.
            ConfigError: If a setting contradicts the run, such as fewer steps than it has done.
            DataError: If the data given are not those that the run was trained on.
        """
        refuse_several()
        run = run if isinstance(run, Run) else Run(run)
        config, settings = resuming.resumed(run, settings)
        found, notices = resuming.recover(run)
        if found.path is not None:
            settings["precision"] = found.state.get("precision")
        origin = config.pop("init_from", None)  # whose weights are in the checkpoint
        trainer = cls(config=config, callbacks=callbacks, progress=progress, **settings)
        trainer.config = trainer.config.model_copy(update={"init_from": origin})
        trainer.notices += notices
        trainer.notices += resuming.environment_changes(run, trainer.device, trainer.precision)
        if found.path is None:
            trainer.notices.append("the run ended before its first checkpoint: it starts afresh")
        else:
            resuming.restore(run, trainer._built(start=False), found, config)
        trainer.run = run
        return trainer

    def push_to_hub(self, repo_id: str, *, discriminator: bool = False, **options: Any) -> hub.Push:
        """Publish the generator that the run has saved, or that of your own loop, on the Hub.

        Args:
            repo_id: Where to: ``name`` or ``organization/name``.
            discriminator: Whether to publish the discriminator too.
            options: Those of ``Generator.push_to_hub``, whose result and errors these are.
        """
        if self.run is not None:
            generator = Generator.from_pretrained(self.run.path)
            return generator.push_to_hub(repo_id, discriminator=discriminator, **options)
        generator = self.generator
        opponent = discriminator and self.game.discriminator
        return generator.push_to_hub(repo_id, discriminator=opponent, **options)
