"""Scores of a run while it is trained, the best generator, and when to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ganzoo.generators.generator import Generator
    from ganzoo.runs.writer import RunWriter
    from ganzoo.training.recording import Recorder
    from ganzoo.training.saving import Saver
    from ganzoo.training.trainer import Trainer
    from ganzoo.training.validation import Scored, Validation

__all__ = ["Scoring"]


class Scoring:
    """Scores the averaged generator when it is due, and records what was found."""

    def __init__(
        self,
        trainer: Trainer,
        validation: Validation,
        saver: Saver,
        recorder: Recorder,
        call: Callable[..., None],
    ) -> None:
        self.trainer, self.saver, self.recorder = trainer, saver, recorder
        self.stage, self.call = saver.stage, call
        self._validation = validation
        self.writer: RunWriter

    def evaluate(self) -> None:
        """Score the averaged generator; where that is asynchronous, begin to."""
        self.take()
        if not self.trainer.stopped:  # a signal should not wait: it is done on resuming
            self._score(self.stage.step, self._candidates())

    def catch_up(self) -> None:
        """Score what the end of an earlier training has left unscored."""
        validation, stage = self._validation, self.stage
        if self.trainer.stopped:
            return
        for step in () if validation.exhausted else validation.pending(stage.step):
            generators = self._candidates() if step == stage.step else self._earlier(step)
            self.take()
            if self.trainer.stopped:
                return
            if not generators:
                validation.give_up_on(step)
                self.recorder.diagnose(step, "score", "no scores: its checkpoint is gone")
                continue
            self._score(step, generators)
        self._stop_early()

    def _numbers(self) -> Sequence[int]:
        """The averages that are scored: all of them where a score decides, else the one in use."""
        ema = self.stage.game.ema
        return range(len(ema.modules)) if self._validation.decides else (ema.chosen,)

    def _candidates(self) -> dict[int, Generator]:
        return {number: self.stage.generator(number) for number in self._numbers()}

    def _earlier(self, step: int) -> dict[int, Generator]:
        found = {number: self.saver.earlier(step, number) for number in self._numbers()}
        return {number: each for number, each in found.items() if each is not None}

    def _score(self, step: int, generators: Mapping[int, Generator]) -> None:
        self.call("on_evaluate")
        if self.trainer.stopped:
            return
        self._validation.begin(step, generators)
        if not self.stage.config.evaluate_async:
            self.take()

    def take(self) -> None:
        """Record the scores of the generator that was scored last, if that was not done."""
        validation = self._validation
        found = validation.finish()
        if found is None:
            return
        unlike = validation.unlike_the_best(found)
        better = validation.take(found)
        if found.failure:
            self.recorder.diagnose(found.step, "score", f"no scores: {found.failure}")
            return
        if unlike:
            text = f"scores are measured otherwise than those of the best, in {', '.join(unlike)}"
            self.recorder.diagnose(found.step, "score", text)
        self.stage.game.use_average(found.chosen)
        self.writer.scored(found.step, found.scores, self._of_averages(found))
        if better:
            self.writer.best(found.generator, found.scores)
        self.call("on_scores", found.step, found.scores)
        self._stop_early()

    def _of_averages(self, found: Scored) -> dict[str, float]:
        """Which average is the best, and the scores of all, as columns; none where there is one."""
        labels = self.stage.config.average.labels
        if len(found.each) < 2:
            return {}
        columns = {
            f"{name}_average_{labels[number]}": score.value
            for number, scores in found.each.items()
            for name, score in scores.items()
        }
        return {"average": labels[found.chosen], **columns}

    def end(self) -> None:
        """Record the last scores, and save those that no checkpoint has yet."""
        if self.stage.step >= self.stage.total_steps:
            self.take()
        if self._validation.eval_state != self.saver.saved_scores:
            self.saver.save(self.recorder)

    def _stop_early(self) -> None:
        """End the training where more of it is in vain, and say so once."""
        validation, stage = self._validation, self.stage
        if not validation.exhausted or self.trainer.stopped:
            return
        text = validation.stop_reason()
        if stage.step < stage.total_steps and not self.recorder.said(text):
            self.recorder.diagnose(validation.eval_state.evaluated, "patience", text)
        self.trainer.stop()
