"""One call of ``fit``: what is due when, and a run folder that is whole however it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ganzoo.errors import DivergenceError
from ganzoo.runs.run import GENERATOR, Run, writing
from ganzoo.runs.writer import RunWriter
from ganzoo.training.recording import Recorder
from ganzoo.training.saving import Saver
from ganzoo.training.scoring import Scoring
from ganzoo.training.summary import write_summary

if TYPE_CHECKING:
    from ganzoo.core.step import Step
    from ganzoo.training.stage import Stage
    from ganzoo.training.trainer import Trainer

__all__ = ["Session"]


class Session:
    """Opens the run, acts after iterations, and lets go of the run.

    ``rebuild`` builds the stage anew, for a run that was left before its first checkpoint.
    """

    def __init__(
        self, trainer: Trainer, stage: Stage, out: Path | None, rebuild: Callable[[], Stage]
    ) -> None:
        self._trainer, self._out, self._rebuild = trainer, out, rebuild
        self._writer: RunWriter | None = None
        self.run: Run
        self._done: dict[Callable[[], None], int] = {}
        self._take(stage)

    def _take(self, stage: Stage) -> None:
        """Make what works on a stage."""
        self.stage = stage
        self.saver = Saver(stage, lambda path: self.call("on_checkpoint", path))
        self.recorder = Recorder(stage, self.call)
        self.scoring: Scoring | None = None
        if stage.validation is not None:
            works_with = self.saver, self.recorder, self.call
            self.scoring = Scoring(self._trainer, stage.validation, *works_with)
        config = stage.config
        # What scores choose shows from the next step on, and in the checkpoint, so that a run that
        # was left before they came is the same.
        self._due: dict[Callable[[], None], int] = {
            self.recorder.log: config.log_every,
            self._picture: int(config.sample_every or 0),
            self._snapshot: int(config.snapshot_every),
            self._evaluate: int(config.evaluate_every),
            self._save: int(config.checkpoint_every or 0),
        }

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook of all callbacks."""
        for callback in self._trainer.callbacks:
            getattr(callback, hook)(self._trainer, *arguments)

    # -- beginning and leaving ----------------------------------------------------------------

    def __enter__(self) -> Session:
        """Make the run, or resume it if no other process has trained in it since."""
        try:
            self.saver.settle()
            if self._trainer.run is None:
                self._begin()
            else:
                self._continue(self._trainer.run)
            self.call("on_start", self.run)
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def _begin(self) -> None:
        stage = self.stage
        stage.keeper.best = None  # the best of a checkpoint that was loaded is in another folder
        if stage.validation is not None:
            stage.validation.forget(stage.step)
        stem = f"{stage.config.arch.name}-{stage.config.dataset.called}".replace(":", "-")
        self._write_into(RunWriter.begin(self._out, stem, stage.describe))

    def _continue(self, run: Run) -> None:
        self._write_into(RunWriter(run))
        if self.stage.keeper.unclean:
            self._recover()
        self.saver.check_newest()
        self.saver.rewind(self.recorder)
        self.saver.prune()

    def _write_into(self, writer: RunWriter) -> None:
        self._writer = self.saver.writer = self.recorder.writer = writer
        if self.scoring is not None:
            self.scoring.writer = writer
        self.run = self._trainer.run = writer.run
        self.stage.keeper.run = writer.run.path

    def _recover(self) -> None:
        """Leave the state that an unclean end left in the middle of something."""
        assert self._writer is not None
        found, notices = self._writer.recover()
        for notice in notices:
            self.stage.note(notice)
        if found.path is not None:
            self.saver.restore(found)
        else:
            self.stage.loader.close()
            self._take(self._rebuild())
            self._write_into(self._writer)
        self.stage.keeper.unclean = False
        self.stage.note(
            f"the training was left in the middle; it goes on from step {self.stage.step}"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(error)

    def _leave(self, failure: BaseException | None) -> None:
        """Let go of the run, however the training ended; each part whatever the others do."""
        stage = self.stage
        with contextlib.ExitStack() as parts:  # the last comes first
            parts.callback(self.call, "on_close")
            if self._writer is not None:  # an interruption may have left a write at work
                parts.callback(self._writer.release, stage.keeper.background)
            parts.callback(stage.loader.close)
            if not (stage.keeper.unclean and isinstance(failure, KeyboardInterrupt)):  # at once
                parts.callback(self.saver.finish, failure)
            if stage.validation is not None:
                parts.callback(stage.validation.discard)

    # -- the loop -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Do what comes before the first iteration of an attempt."""
        stage = self.stage
        stage.keeper.unclean = True
        if self.scoring is not None:
            self.scoring.catch_up()
        self._done = dict.fromkeys(self._due, stage.step)
        if stage.step and not (self.run.path / GENERATOR).exists():  # it was removed
            self._done[self._save] = -1
        back = stage.config.nan_policy == "rollback"
        if back and not stage.step and not stage.keeper.rollbacks:
            self._save()  # somewhere to go back to
        self._first = stage.game.first

    def after(self, step: Step) -> None:
        """Do what is due after an iteration."""
        stage = self.stage
        now = stage.step
        if self._first is not None:
            for text in self._first.notices:
                self.recorder.diagnose(now, "contract", text)
            self._first = None
        stage.accumulator.add(step)
        self.saver.poll()
        self.call("on_step", step)
        for act, every in self._due.items():
            if every and now % every == 0:
                act()
                self._done[act] = now
        if self._done[self._save] != now and now in stage.retain_steps():
            self._save()
            self._done[self._save] = now

    def finish(self) -> None:
        """Do what remains after the last iteration."""
        now = self.stage.step
        planned = (self._snapshot, self._evaluate)
        rest = [act for act in self._due if self._done[act] != now and act not in planned]
        if now < self.stage.total_steps:
            rest.reverse()  # not planned: a signal should wait for no more than the state
        for act in rest:
            act()
        if self.scoring is not None:
            self.scoring.end()
        self.saver.wait()
        self.stage.keeper.unclean = False

    def go_back(self, error: DivergenceError) -> None:
        """Return to the last good checkpoint, or raise the error where there is no way back."""
        text = self.saver.go_back(self.recorder, str(error).partition(" (noticed")[0])
        if text is None:
            raise error
        self.recorder.diagnose(self.stage.step, "rollback", text)

    def summarize(self) -> None:
        """Write what shows the whole training."""
        write_summary(self.run, self.stage)
        self.call("on_end", self.run)

    # -- what is due --------------------------------------------------------------------------

    def _evaluate(self) -> None:
        if self.scoring is not None:
            self.scoring.evaluate()

    def _picture(self) -> None:
        stage, writer = self.stage, self.saver.writer
        picture = stage.visualizer.picture(stage.step)
        if picture is not None:
            self.call("on_picture", writer.picture(stage.step, picture))

    def _snapshot(self) -> None:
        """Save both nets as they are now."""
        stage = self.stage
        folder = self.run.path / "snapshots" / f"step-{stage.step:08d}"
        nets = stage.game.nets().items()
        stage.check_finite(
            {f"{part}.{name}": x for part, net in nets for name, x in net.state_dict().items()}
        )
        with writing(self.run.path):
            stage.generator().save_pretrained(folder, discriminator=stage.game.discriminator)

    def _save(self) -> None:
        self.saver.save(self.recorder)
