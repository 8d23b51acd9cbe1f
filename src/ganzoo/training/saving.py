"""Checkpoints of a run while it is trained: writing, going back, and going on from one."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo.core.state_dicts import below
from ganzoo.errors import BundleError, CheckpointError, RunFolderError
from ganzoo.files import checkpoint
from ganzoo.generators.generator import Generator
from ganzoo.runs.run import writing
from ganzoo.training.validation import EvalState

if TYPE_CHECKING:
    from ganzoo.runs.writer import RunWriter
    from ganzoo.training.recording import Recorder
    from ganzoo.training.stage import Stage

__all__ = ["Saver"]

_LR_SCALE = 0.5  # of the learning rates, when going back


class Saver:
    """Writes checkpoints in the background, and goes back to them.

    ``announce`` is called with the path of each checkpoint once it is written.
    """

    def __init__(self, stage: Stage, announce: Callable[[Path], None]) -> None:
        self.stage = stage
        self.keeper = stage.keeper
        self.announce = announce
        self.writer: RunWriter
        self.saved_scores = EvalState() if stage.validation is None else stage.validation.eval_state
        """Scores that a checkpoint has."""

    def save(self, recorder: Recorder) -> None:
        """Copy the state, and have it written while the training goes on.

        Raises:
            DivergenceError: If the state is not finite.
            CheckpointError, BundleError, RunFolderError: If the one before could not be written.
        """
        self.wait()  # so that only one copy is in memory
        stage, step = self.stage, self.stage.step
        every = int(stage.config.checkpoint_every or 0)
        # One where the training was left would make a resumed training's best another.
        if every and step % every == 0 and recorder.rows:
            self.keeper.judge(step, recorder.rows[-1])
        tensors, state = stage.state()
        if stage.validation is not None:
            self.saved_scores = stage.validation.eval_state
        writer, described, prune = self.writer, stage.bundle_config(), self.keeper.pruning()
        part = stage.game.ema.part("ema")
        self.keeper.background.submit(
            lambda: writer.save(step, tensors, state, described, part, prune)
        )
        self.keeper.newest = step

    def wait(self) -> None:
        """Wait for the checkpoint that is being written."""
        if path := self.keeper.background.wait():
            self.announce(path)

    def poll(self) -> None:
        """Announce a checkpoint that has been written, without waiting."""
        if path := self.keeper.background.poll():
            self.announce(path)

    def finish(self, failure: BaseException | None) -> None:
        """Wait for the last write; what ended the training comes before a failure of it."""
        if failure is None:
            self.wait()
            return
        try:
            self.keeper.background.wait()
        except Exception as error:
            if str(error) != str(failure):
                logging.getLogger("ganzoo").error("%s", error)

    def settle(self) -> None:
        """Wait for a write that an interruption left behind; its outcome does not count."""
        with contextlib.suppress(CheckpointError, RunFolderError, BundleError):
            self.keeper.background.wait()

    def check_newest(self) -> None:
        """Refuse to go on where another process has written a newer checkpoint."""
        run = self.writer.run
        newest = checkpoint.latest(run.path / "checkpoints")
        if newest is not None and checkpoint.step_of(newest) > self.keeper.newest:
            raise RunFolderError(
                f"Another process has trained in {run.path} since this one read it (there is "
                f"{newest.name}). Resume the run again, from there."
            )

    def restore(self, found: checkpoint.Newest) -> None:
        """Go on from a checkpoint."""
        assert found.path is not None
        self.stage.restore(found.tensors, found.state, found.path)
        if self.stage.validation is not None:
            self.saved_scores = self.stage.validation.eval_state

    def go_back(self, recorder: Recorder, fact: str) -> str | None:
        """Return to the last good checkpoint with lower learning rates.

        Returns:
            What happened, in words, beginning with ``fact``; None where there is no way back.
        """
        config, keeper, left = self.stage.config, self.keeper, self.stage.step
        if config.nan_policy != "rollback" or keeper.rollbacks >= config.max_rollbacks:
            return None
        self.wait()
        if self.stage.validation is not None:
            self.stage.validation.discard()
        found, notices = self.writer.recover()
        if found.path is None:
            return None
        rollbacks, scale = keeper.rollbacks + 1, keeper.lr_scale * _LR_SCALE
        self.restore(found)
        keeper.rollbacks, keeper.lr_scale = rollbacks, scale
        self.rewind(recorder)
        self.save(recorder)  # so that a resumed training knows of it
        self.wait()
        text = (
            f"{fact}: went back from step {left} to the checkpoint of step {self.stage.step}, with "
            f"learning rates {scale:g} times those that were set ({rollbacks} of at most "
            f"{config.max_rollbacks} times)."
        )
        return " ".join([text, *notices])

    def rewind(self, recorder: Recorder) -> None:
        """Remove what was written after the checkpoint, and a row that the end cut short.

        All of it is going to be written again, as if nothing had ended the training.
        """
        run, stage = self.writer.run, self.stage
        step, every = stage.step, stage.config.sample_every
        over = step >= stage.total_steps  # then it is not written again
        with writing(run.path):
            run.rewind(
                step,
                whole=lambda step: over or recorder.whole(step),
                pictured=lambda step: over or bool(every and step % int(every) == 0),
                evaluated=0 if stage.validation is None else stage.validation.eval_state.evaluated,
            )
            self._repair_best(recorder)
            stage.describe(run.path)
        recorder.read(run.history)

    def prune(self) -> None:
        """Remove old checkpoints, as a kill may have come between a checkpoint and this."""
        with writing(self.writer.run.path):
            self.keeper.pruning()(self.writer.run.path / "checkpoints")

    def earlier(self, step: int, average: int) -> Generator | None:
        """Return an averaged generator of a checkpoint; None if there is none that is whole.

        Raises:
            CheckpointError: If it cannot be read, which need not be its fault.
        """
        path = checkpoint.place(self.writer.run.path / "checkpoints", step)
        if not path.is_dir():
            return None
        try:
            tensors, state = checkpoint.load(path)
            if checkpoint.misnamed(path, state):
                return None
            ema = self.stage.game.ema
            module = copy.deepcopy(ema.modules[average])
            module.load_state_dict(below(tensors, ema.part("ema", average)))
        except checkpoint.UnusableError:
            raise
        except (CheckpointError, RuntimeError):
            return None
        return Generator(module, self.stage.bundle_config(step, average))

    def _repair_best(self, recorder: Recorder) -> None:
        """Have the folder of the best generator hold what this state knows as the best."""
        validation = self.stage.validation
        if validation is None or self.writer.holds_best(validation.best_step):
            return
        best = validation.eval_state.best
        generator = None if best is None else self.earlier(best.step, best.average)
        if best is not None and generator is not None:
            self.writer.best(generator, best.scores)
            return
        for notice in self.writer.set_best_aside():
            self.stage.note(notice)
