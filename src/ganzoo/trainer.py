"""The trainer: plays the game from start to end and leaves a run."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganzoo import bundle, checkpoint, pictures, plots
from ganzoo._version import __version__
from ganzoo.adversarial import Average, Game, uses_batch_norm
from ganzoo.callbacks import Callback, Progress, Tracking
from ganzoo.datasets import Given, Samples, interpret
from ganzoo.datasets import progress as loading
from ganzoo.device import Precision, pick_device, pick_precision
from ganzoo.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergenceError,
    RunFolderError,
    UnknownNameError,
)
from ganzoo.feed import Feed
from ganzoo.framing import Framing
from ganzoo.gallery import Gallery
from ganzoo.generator import Generator
from ganzoo.interrupt import on_interrupt
from ganzoo.run import Run, check_free, new_run, next_folder, writing
from ganzoo.seeds import derive
from ganzoo.spec import SampleSpec
from ganzoo.step import Step
from ganzoo.storage import write_json, write_text
from ganzoo.train_config import TrainConfig, located, read_config, resolve

__all__ = ["Trainer"]

_PICTURES = 10  # pictures per run, unless asked otherwise
_CHECKPOINTS = 5
_NOT_IN_BUNDLES = (
    "arch",
    "latent",
    "device",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "snapshot_every",
    "trackers",
)
_COMPARISON, _CURVES, _ANIMATION = "comparison.png", "curves.png", "animation.gif"
_SCALARS = ("d_loss", "g_loss", "d_real", "d_fake")


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
        file = Path(config) if isinstance(config, (str, Path)) else None
        layer = read_config(file) if file else dict(config or {})  # type: ignore[arg-type]
        named = {"arch": arch, "dataset": dataset, "loss": loss, "recipe": recipe}
        given = {key: value for key, value in named.items() if value is not None}
        try:
            self.config: TrainConfig = resolve(layer, {**given, **settings})
        except (ConfigError, UnknownNameError) as error:
            # Where the file has this mistake by itself, it is named.
            with located(file if _refusal(layer) == str(error) else None):
                raise
        self.device = pick_device(self.config.device)
        self.precision: Precision = pick_precision(self.config.precision, self.device)
        for tracker in self.config.trackers:
            tracker.check()
        tracking = [Tracking()] if self.config.trackers else []
        self.callbacks = [*callbacks, *tracking, *([Progress()] if progress else [])]
        self.notices: list[str] = []
        self._out = Path(out) if out is not None else None
        self.run: Run | None = None
        self._ready = False
        self.spec: SampleSpec
        self.framing: Framing | None = None
        self.game: Game
        self.feed: Feed
        self.gallery: Gallery
        self.total_steps = 0
        self._sums: torch.Tensor
        self._summed = 0
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
        return self.config.batch_size * self.config.d_steps

    @property
    def generator(self) -> Generator:
        """The averaged generator as it is now; it changes while training goes on."""
        self.setup()
        return Generator(self.game.average.module, self._bundle_config())

    # -- preparing ----------------------------------------------------------------------------

    def setup(self) -> None:
        """Load the data and build the nets; done once, and by itself where it is needed.

        Sets torch's global seed.

        Raises:
            DataError: If the data are absent, unreadable, or fewer than a batch.
            UnsupportedSampleError: If the architecture cannot make such samples.
        """
        if self._ready:
            return
        samples = self._load()
        spec = self._frame(samples.spec)
        config, device = self.config, self.device
        torch.manual_seed(derive(config.seed, "torch"))
        self.feed = Feed(samples, config.batch_size, device, config.seed, self.framing)
        generator = config.arch.generator(spec, config.latent)
        discriminator = config.arch.discriminator(spec)
        for net in (generator, discriminator):
            if spec.kind == "image":
                net.to(memory_format=torch.channels_last)
            net.to(device).train()
        self.spec = spec
        self.game = Game(
            generator=generator,
            discriminator=discriminator,
            loss=config.loss,
            latent=config.latent,
            g_optimizer=config.g_optimizer.build(generator.parameters()),
            d_optimizer=config.d_optimizer.build(discriminator.parameters()),
            average=Average(generator, config.ema_decay),
            noise=torch.Generator(device).manual_seed(derive(config.seed, "noise")),
            d_steps=config.d_steps,
            g_steps=config.g_steps,
            joint_batch=config.joint_batch,
            d_eval_for_g=config.d_eval_for_g,
            clip=config.clip_grad,
            autocast=self.precision.autocast,
        )
        if config.joint_batch and uses_batch_norm(discriminator):
            self._note(
                f"joint_batch shows '{config.arch.name}' real and generated samples in one batch, "
                f"whose batch norm then tells them apart: training is known to collapse. Leave "
                f"joint_batch off."
            )
        self._sums, self._summed = torch.zeros(len(_SCALARS), device=device), 0
        self._ready = True
        self.gallery = Gallery(
            self.game, self.feed, lambda: self.generator, config.seed, samples.mixture
        )
        if self.gallery.plotted and not plots.available():
            self._note(f"no pictures of these samples without matplotlib: {plots.REMEDY}")
        self._fix_lengths()

    def _load(self) -> Samples:
        config = self.config
        if config.size is not None and getattr(config.dataset, "size", config.size) is None:
            # Whoever reads pictures of any size brings them to that size at once.
            config = self.config = config.model_copy(
                update={"dataset": config.dataset.replace(size=config.size)}
            )
        with loading.showing(any(isinstance(each, Progress) for each in self.callbacks)):
            samples = config.dataset.load()
        for notice in samples.notices:
            self._note(notice)
        spec = samples.spec
        if config.value_range is not None:
            if samples.stored_range is None:
                raise ConfigError(
                    f"'value_range' needs data with a known range, and dataset "
                    f"'{config.dataset.name}' has none. Leave it out, or give the dataset's "
                    f"stored_range."
                )
            spec = spec.model_copy(update={"value_range": config.value_range})
        if config.conditional:
            if samples.labels is None or spec.classes is None:
                raise DataError(
                    f"conditional=True needs labels, and dataset '{config.dataset.name}' has none. "
                    f"Give data with labels, or leave it off."
                )
            if not config.arch.conditional:
                raise ConfigError(
                    f"conditional=True needs an architecture that uses labels, and "
                    f"'{config.arch.name}' does not. Leave it off."
                )
            return replace(samples, spec=spec)
        return replace(samples, spec=spec.model_copy(update={"classes": None}), labels=None)

    def _frame(self, spec: SampleSpec) -> SampleSpec:
        """Decide how images come to a size that the architecture can do."""
        config = self.config
        if spec.kind != "image":
            if config.size is not None:
                raise ConfigError(f"'size' is for images, and these samples are {spec}.")
            config.arch.check(spec)
            return spec
        native = spec.size
        size = config.size or config.arch.nearest_size(*native)
        config.arch.check(spec.resized(size))
        self.framing = Framing.fit(native, size, config.fit)
        if self.framing.method != "none":
            self._note(self.framing.notice(config.arch.name))
        self.config = config.model_copy(update={"size": size})
        return spec.resized(size)

    def _fix_lengths(self) -> None:
        config = self.config
        per_epoch = self.feed.batches_per_epoch / config.d_steps
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
            }
        )

    def _note(self, text: str) -> None:
        self.notices.append(text)

    # -- training -----------------------------------------------------------------------------

    def iterations(self) -> Iterator[Step]:
        """Train, yielding after each iteration: the loop is yours.

        Nothing is logged or written; ``save_checkpoint`` and ``generator`` are at hand.
        """
        self.setup()
        try:
            while self.step < self.total_steps and not self._stopped:
                self.game.rate(self.config.schedule.factor(self.step, self.total_steps))
                yield self.game.play(self.feed.next)
        finally:
            self._stopped = False

    def fit(self) -> Run:
        """Train to the last step, writing the run folder.

        Ctrl-C finishes the iteration and saves a checkpoint before it is passed on; a second
        Ctrl-C ends at once. ``stop`` ends early and well.

        Returns:
            The run.

        Raises:
            RunFolderError: If the folder is taken or cannot be written.
            DivergenceError: If losses are no longer finite.
            CheckpointError: If a checkpoint cannot be written.
            KeyboardInterrupt: After Ctrl-C.
        """
        if self.run is None and self._out is not None:
            check_free(self._out)  # before the data are read, which can take a while
        self.setup()
        run = self.run
        if run is None:
            run = self.run = self._open()
        else:
            self._rewind(run)
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            self.stop()

        try:
            self._call("on_start", run)
            with on_interrupt(interrupt):
                self._train(run)
            if interrupted:
                raise KeyboardInterrupt
            self._sum_up(run)
            self._call("on_end", run)
        finally:
            self._call("on_close")
        return Run(run.path)

    def stop(self) -> None:
        """End the training after the present iteration; ``fit`` saves and returns as usual."""
        self._stopped = True

    def _train(self, run: Run) -> None:
        config = self.config
        due: dict[Callable[[Run], None], Any] = {
            self._log: config.log_every,
            self._picture: config.sample_every,
            self._snapshot: config.snapshot_every,
            self._save: config.checkpoint_every,
        }
        done = dict.fromkeys(due, self.step)
        for step in self.iterations():
            self._sums += torch.stack([step.scalars[name].float() for name in _SCALARS])
            self._summed += 1
            self._call("on_step", step)
            for act, every in due.items():
                if every and self.step % every == 0:
                    act(run)
                    done[act] = self.step
        for act in due:  # the end, planned or not
            if done[act] != self.step and act != self._snapshot:
                act(run)

    def _log(self, run: Run) -> None:
        row = self._row()
        with writing(run.path), (run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._call("on_log", row)

    def _row(self) -> dict[str, float]:
        """Means since the last row; the only place where the host waits for the device."""
        game = self.game
        means = dict(zip(_SCALARS, (self._sums / self._summed).tolist(), strict=True))
        if self._whole(self.step):  # else whoever resumes completes these means
            self._sums.zero_()
            self._summed = 0
        bad = [name for name, value in means.items() if not abs(value) < float("inf")]
        if bad:
            raise DivergenceError(
                f"{bad[0]} is no longer finite at step {self.step}: training diverged. Train "
                f"again with lower learning rates (--g-optimizer.lr, --d-optimizer.lr) or with "
                f"--clip-grad."
            )
        return {
            "step": self.step,
            "epoch": self.feed.epoch,
            "images": self.step * self.images_per_step,
            **means,
            **self.gallery.scores(),
            "g_lr": float(game.g_optimizer.param_groups[0]["lr"]),
            "d_lr": float(game.d_optimizer.param_groups[0]["lr"]),
        }

    def _whole(self, step: int) -> bool:
        """Whether the row of that step covers a whole interval, as the last one may not."""
        return step % self.config.log_every == 0

    def _picture(self, run: Run) -> None:
        picture = self.gallery.picture(self.step)
        if picture is None:
            return
        path = run.path / "samples" / f"step-{self.step:08d}.png"
        with writing(run.path):
            picture.save(path)
        self._call("on_picture", path)

    def _snapshot(self, run: Run) -> None:
        """Keep both nets as they are now."""
        folder = run.path / "snapshots" / f"step-{self.step:08d}"
        self._check_finite()
        with writing(run.path):
            self.generator.save_pretrained(folder, discriminator=self.game.discriminator)

    def _sum_up(self, run: Run) -> None:
        """Leave the pictures that show the whole training."""
        with writing(run.path):
            if (comparison := self.gallery.comparison()) is not None:
                comparison.save(run.path / _COMPARISON)
            if plots.available():
                run.curves().save(run.path / _CURVES)
            if self.gallery.plotted and len(run.samples) > 1:
                pictures.animate(run.samples, run.path / _ANIMATION)

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
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> Trainer:
        """Return a trainer that continues a run from its newest checkpoint.

        Args:
            run: The run or its folder.
            dataset: The data again, where they were an object in memory.
            steps: A new total number of steps.
            epochs: A new total number of epochs.
            device: Another device.
            callbacks: What else to call while training.
            progress: Whether to show how it goes.

        Raises:
            RunFolderError: If there is no run, or it has no checkpoint.
            CheckpointError: If the checkpoint is damaged or of another configuration.
            DataError: If the data given are not those that the run was trained on.
        """
        run = run if isinstance(run, Run) else Run(run)
        newest = checkpoint.latest(run.path / "checkpoints")
        if newest is None:
            raise RunFolderError(
                f"{run.path} has no checkpoint to continue from. Train again: "
                f"ganzoo train --config {run.path / 'config.yaml'}"
            )
        tensors, state = checkpoint.load(newest)
        settings: dict[str, Any] = {"steps": steps, "epochs": epochs, "device": device}
        settings = {key: value for key, value in settings.items() if value is not None}
        settings["precision"] = state["precision"]
        config = read_config(run.path / "config.yaml")
        if dataset is not None:
            saved, given = resolve(config).dataset, interpret(dataset)
            if isinstance(saved, Given) and isinstance(given, Given):
                given = saved.holding(given)
            settings["dataset"] = given
        trainer = cls(config=config, callbacks=callbacks, progress=progress, **settings)
        trainer._restore(tensors, state, newest)
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
        self._check_finite()
        tensors, state = self._state()
        path = checkpoint.save(Path(folder), self.step, tensors, state)
        self._call("on_checkpoint", path)
        return path

    def nets(self) -> dict[str, torch.nn.Module]:
        """Return ``generator``, ``discriminator`` and ``average`` as they train."""
        self.setup()
        game = self.game
        return {
            "generator": game.generator,
            "discriminator": game.discriminator,
            "average": game.average.module,
        }

    def _trained(self, optimizer: str) -> list[str]:
        """Names of the parameters of one optimizer, in its order."""
        net = self.game.generator if optimizer == "g_optimizer" else self.game.discriminator
        return [name for name, _ in net.named_parameters()]

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        game = self.game
        tensors = {
            f"{part}.{name}": value
            for part, module in self.nets().items()
            for name, value in module.state_dict().items()
        }
        optimizers = {}
        for name in ("g_optimizer", "d_optimizer"):
            packed, optimizers[name] = checkpoint.pack_optimizer(
                name, getattr(game, name), self._trained(name)
            )
            tensors.update(packed)
        tensors["log.sums"] = self._sums
        tensors["rng.noise"] = game.noise.get_state()
        tensors["rng.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["rng.device"] = torch.cuda.get_rng_state(self.device)
        elif self.device.type == "mps":
            tensors["rng.device"] = torch.mps.get_rng_state()
        state = {
            "step": self.step,
            "device": self.device.type,
            "precision": self.precision.name,
            "average_updates": game.average.updates,
            "feed": self.feed.state_dict(),
            "log_summed": self._summed,
            "optimizers": optimizers,
        }
        return tensors, state

    def load_checkpoint(self, path: str | Path) -> None:
        """Continue from a checkpoint of a training with the same settings.

        On another kind of device than the one that wrote it, what is drawn from here on differs.

        Raises:
            CheckpointError: If it is damaged or does not fit these settings.
        """
        tensors, state = checkpoint.load(Path(path))
        self._restore(tensors, state, Path(path))

    def _restore(
        self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], path: Path
    ) -> None:
        self.setup()
        game = self.game
        try:
            for part, module in self.nets().items():
                lead = f"{part}."
                module.load_state_dict(
                    {k.removeprefix(lead): v for k, v in tensors.items() if k.startswith(lead)}
                )
            for name in ("g_optimizer", "d_optimizer"):
                checkpoint.unpack_optimizer(
                    name,
                    getattr(game, name),
                    self._trained(name),
                    tensors,
                    state["optimizers"][name],
                )
            game.played = state["step"]
            game.average.updates = state["average_updates"]
            self.feed.load_state_dict(state["feed"])
            self._sums.copy_(tensors["log.sums"])
            self._summed = state["log_summed"]
            torch.set_rng_state(tensors["rng.cpu"])
            if state["device"] == self.device.type:
                game.noise.set_state(tensors["rng.noise"])
                if self.device.type == "cuda":
                    torch.cuda.set_rng_state(tensors["rng.device"], self.device)
                elif self.device.type == "mps":
                    torch.mps.set_rng_state(tensors["rng.device"])
            else:
                game.noise.manual_seed(derive(self.config.seed, "noise", self.step))
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

    def _rewind(self, run: Run) -> None:
        """Forget what was left after the checkpoint, and a row that the end cut short.

        All of it is going to be written again, as if nothing had ended the training.
        """
        over = self.step >= self.total_steps  # then the last row is not written again
        kept = [row for row in run.history if row["step"] <= self.step]
        rows = [json.dumps(row) for row in kept if over or self._whole(int(row["step"]))]
        newest = f"step-{self.step:08d}"
        with writing(run.path):
            write_text(run.path / "metrics.jsonl", "".join(f"{row}\n" for row in rows))
            for picture in run.samples:
                if picture.stem > newest:
                    picture.unlink()
            for snapshot in (run.path / "snapshots").glob("step-*"):
                if snapshot.name > newest:
                    shutil.rmtree(snapshot)
            for summary in (_COMPARISON, _CURVES, _ANIMATION):
                (run.path / summary).unlink(missing_ok=True)
            self._describe(run.path)

    def _open(self) -> Run:
        stem = f"{self.config.arch.name}-{self.config.dataset.name}".replace(":", "-")
        path = self._out or next_folder(Path("runs"), stem)
        with new_run(path, made=self._out is None):
            self._describe(path)
        return Run(path)

    def _describe(self, path: Path) -> None:
        write_text(path / "config.yaml", self.config.yaml())
        write_json(path / "environment.json", self._environment())

    def _environment(self) -> dict[str, Any]:
        device = self.device
        cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else None
        return {
            "ganzoo": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "platform": platform.platform(),
            "device": device.type,
            "device_name": cuda or platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "precision": self.precision.name,
            "precision_reason": self.precision.reason,
            "notices": self.notices,
        }

    def _save(self, run: Run) -> None:
        folder = run.path / "checkpoints"
        self._check_finite()
        with writing(run.path):
            self.generator.save_pretrained(run.path / "generator")
        # After the generator: a run whose last checkpoint is written lacks nothing.
        self.save_checkpoint(folder)
        with writing(run.path):
            checkpoint.prune(folder, self.config.keep_checkpoints)

    def _check_finite(self) -> None:
        for name, value in self._state()[0].items():
            if value.is_floating_point() and not value.isfinite().all():
                raise DivergenceError(
                    f"{name} is no longer finite at step {self.step}: training diverged. Earlier "
                    f"checkpoints are kept. Train again with lower learning rates "
                    f"(--g-optimizer.lr, --d-optimizer.lr) or with --clip-grad."
                )

    def _bundle_config(self) -> bundle.BundleConfig:
        config = self.config
        settings = config.dump()
        for key in _NOT_IN_BUNDLES:
            settings.pop(key)
        for key in (
            "path",
            "root",
            "cache",
        ):  # where files lay on this machine is nobody else's business
            if settings["dataset"].get(key):
                settings["dataset"][key] = Path(settings["dataset"][key]).name
        return bundle.BundleConfig(
            architecture=config.arch,
            sample=self.spec,
            framing=self.framing,
            latent=config.latent,
            training={
                **settings,
                "steps": self.step,
                "precision": self.precision.name,
                "data_license": config.dataset.license,
            },
        )


def _refusal(layer: Mapping[str, Any]) -> str:
    """Why a layer of settings is refused; empty if it is not."""
    try:
        resolve(layer)
    except (ConfigError, UnknownNameError) as error:
        return str(error)
    return ""
