"""Scores while training: which generator is the best so far, and when to stop."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ganzoo.core import seeds
from ganzoo.core.model import Model
from ganzoo.datasets import progress
from ganzoo.errors import GanzooError
from ganzoo.evaluation import EvalOptions, Evaluator, Score, differences
from ganzoo.generators.generator import Generator
from ganzoo.training.score_settings import by_score

if TYPE_CHECKING:
    import torch

    from ganzoo.config import TrainConfig
    from ganzoo.datasets import Samples
    from ganzoo.training.parts import State

__all__ = ["Best", "EvalState", "Scored", "Validation"]

_EXTRAS = 4096  # characters of further numbers of a score that a checkpoint keeps


@dataclass(frozen=True, eq=False)
class Scored:
    """Generators at a step, one for each average, and their scores by metric; or why none.

    Attributes:
        step: Iterations finished.
        generators: By the number of the average.
        each: Scores by metric, by the number of the average; empty after a failure.
        chosen: Number of the average whose score is the best.
        failure: Why there are no scores.
    """

    step: int
    generators: Mapping[int, Generator]
    each: Mapping[int, Mapping[str, Score]]
    chosen: int
    failure: str = ""

    @property
    def generator(self) -> Generator:
        """The generator of the chosen average."""
        return self.generators[self.chosen]

    @property
    def scores(self) -> Mapping[str, Score]:
        """Its scores."""
        return self.each.get(self.chosen, {})


class Best(Model):
    """The best generator so far: step, number of the average, the score that decides, all scores.

    Scores are compact.
    """

    error_label: ClassVar[str] = "The best score"

    step: int = Field(ge=1)
    average: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    value: float = Field(allow_inf_nan=False)
    scores: dict[str, Score]


class EvalState(Model):
    """What is known of the scores of a training, as a checkpoint keeps it.

    Attributes:
        evaluated: Step of the newest generator whose scores have been taken.
        stale: How many have been scored since the best one.
        best: The best one.
    """

    error_label: ClassVar[str] = "The state of the scores"

    evaluated: int = Field(0, ge=0)
    stale: int = Field(0, ge=0)
    best: Best | None = None


class _Job:
    """Generators of one step that are being scored, here or in a thread."""

    def __init__(
        self,
        evaluator: Evaluator,
        step: int,
        generators: Mapping[int, Generator],
        leaving: threading.Event,
    ) -> None:
        self._evaluator, self._step, self._generators = evaluator, step, generators
        self._dropped, self._leaving = threading.Event(), leaving
        self._found: Scored | BaseException | None = None
        self._thread: threading.Thread | None = None

    def here(self) -> None:
        try:
            self._found = self._scored()
        except BaseException as error:  # which ``result`` raises
            self._found = error

    def beside(self) -> None:
        thread = threading.Thread(target=self.here, name="ganzoo-score", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system allows no more
            self._found = self._failed(error)
            return
        self._thread = thread

    def drop(self) -> None:
        self._dropped.set()

    def _given_up(self) -> bool:
        return self._dropped.is_set() or self._leaving.is_set()

    def result(self) -> Scored | None:
        """Wait for it; None if it was given up."""
        if self._thread is not None:
            self._thread.join()
        if isinstance(self._found, BaseException):
            raise self._found
        dropped = self._given_up() and self._found is not None and self._found.failure
        return None if dropped else self._found

    def _scored(self) -> Scored:
        try:
            with progress.showing(False):  # the training has a display of its own
                each = {
                    number: self._evaluator.score(generator, given_up=self._given_up)
                    for number, generator in self._generators.items()
                }
        # Memory and linear algebra fail with RuntimeError: no reason to end a training.
        except (GanzooError, RuntimeError, MemoryError) as error:
            return self._failed(error)
        return Scored(self._step, self._generators, each, min(each))

    def _failed(self, error: Exception) -> Scored:
        text = " ".join(str(error).split())[:500] or type(error).__name__
        return Scored(self._step, self._generators, {}, min(self._generators), text)


class Validation:
    """Scores the averaged generator again and again, in the training or beside it.

    Where there are several averages and a score decides which generator is the best, all of them
    are scored, and the best of them is the one that counts.

    Beside the training means in a thread, on a copy of the generator; what is found is asked for
    when the next one is scored, or at the end, so that it never depends on how long it took. Global
    random numbers are left as they were; beside the training, metrics and generators must not draw
    any. ``played`` returns the number of iterations finished.
    """

    def __init__(
        self, config: TrainConfig, device: torch.device, played: Callable[[], int]
    ) -> None:
        self._config = config
        self._played = played
        self._device = device
        self._evaluator: Evaluator | None = None
        self._job: _Job | None = None
        self._leaving = threading.Event()
        better, _, self._name = (config.keep_best or "").partition(":")
        self._sign = 1 if better == "max" else -1
        self._last_unlike: tuple[str, ...] = ()
        self.eval_state = EvalState()

    @property
    def best_step(self) -> int | None:
        """Step of the best generator so far, where a score tells which is best."""
        return None if self.eval_state.best is None else self.eval_state.best.step

    @property
    def decides(self) -> bool:
        """Whether a score tells which generator is better."""
        return by_score(self._config)

    @property
    def exhausted(self) -> bool:
        """Whether so many have been scored since the best one that more training is in vain."""
        patience = self._config.patience
        return patience is not None and self.eval_state.stale >= patience

    def prepare(self, generator: Generator, samples: Samples | None, *, showing: bool) -> None:
        """Load what scores need, and look at the real samples, once.

        Raises:
            ConfigError: If a metric is not for these samples, or lacks a package.
            CheckpointError: If the weights of an extractor are not there.
            DataError: If there are too few samples.
        """
        config = self._config
        self.discard()
        self._leaving.clear()
        with progress.showing(showing), seeds.preserve_rng_state(self._device):
            if self._evaluator is None:
                self._evaluator = Evaluator(
                    generator,
                    config.dataset,
                    config.metrics,
                    EvalOptions(
                        real_split=config.real_split,
                        num_real=config.evaluate_num_real,
                        num_fake=config.evaluate_num_fake,
                        device=str(self._device),
                    ),
                    samples=samples if config.real_split is None else None,
                )
            self._evaluator.prepare()

    def adopt(self, other: Validation) -> None:
        """Take over what another one of the same training has prepared."""
        self._evaluator = other._evaluator

    def begin(self, step: int, generators: Mapping[int, Generator]) -> None:
        """Score generators, by the number of the average; ``finish`` returns what was found."""
        assert self._evaluator is not None and self._job is None
        beside = self._config.evaluate_async
        if beside:
            generators = {
                number: Generator(copy.deepcopy(each.module), each.config)
                for number, each in generators.items()
            }
        self._job = _Job(self._evaluator, step, generators, self._leaving)
        if beside:
            self._job.beside()
            return
        with seeds.preserve_rng_state(self._device):
            self._job.here()

    def finish(self) -> Scored | None:
        """Wait for what ``begin`` has begun and return it, once; None if it was given up."""
        try:
            found = None if self._job is None else self._job.result()  # while it may be given up
        finally:
            self._job = None
        return None if found is None else replace(found, chosen=self._chosen(found))

    def _chosen(self, found: Scored) -> int:
        """The average with the best score; of equal ones the first."""
        known = {
            number: self._sign * scores[self._name].value
            for number, scores in found.each.items()
            if self._name in scores
        }
        return max(known, key=lambda number: known[number]) if known else found.chosen

    def hurry(self) -> None:
        """Have what is being scored end soon and without scores, until the next ``prepare``."""
        self._leaving.set()

    def discard(self) -> None:
        """Give up what ``begin`` has begun, without waiting for its end."""
        if self._job is not None:
            self._job.drop()
        self._job = None

    def take(self, found: Scored) -> bool:
        """Judge what was found; return whether it is the best so far."""
        score, best = found.scores.get(self._name), self.eval_state.best
        stale = self.eval_state.stale + (score is not None)
        better = score is not None and (
            best is None or self._sign * score.value > self._sign * best.value
        )
        if better and score is not None:
            scores = {name: _compact(each) for name, each in found.scores.items()}
            best = Best(step=found.step, average=found.chosen, value=score.value, scores=scores)
            stale = 0
        self.eval_state = EvalState(evaluated=found.step, stale=stale, best=best)
        return better

    def unlike_the_best(self, found: Scored) -> tuple[str, ...]:
        """Return in what it was measured otherwise than the best one, if that is new."""
        best, score = self.eval_state.best, found.scores.get(self._name)
        if best is None or score is None:
            return ()
        found_in = differences(best.scores[self._name], score)
        seen = score.protocol.get("extractor", {})
        if seen.get("extractor") == "callable":  # a function has another name in each process
            found_in = tuple(key for key in found_in if key != "extractor.weights")
        last, self._last_unlike = self._last_unlike, found_in
        return () if found_in == last else found_in

    def give_up_on(self, step: int) -> None:
        """Count a step as evaluated that cannot be any more."""
        self.eval_state = self.eval_state.model_copy(update={"evaluated": step})

    def forget(self, step: int) -> None:
        """Know no scores up to a step, as a training that goes on in a new folder does."""
        self.eval_state = EvalState(evaluated=step)

    def pending(self, step: int) -> list[int]:
        """Return the steps up to this one whose scores are due and not taken, ascending."""
        every = int(self._config.evaluate_every)
        first = self.eval_state.evaluated // every * every + every
        return list(range(first, step + 1, every))

    def stop_reason(self) -> str:
        """Return in words why more training is in vain."""
        best = self.eval_state.best
        assert best is not None
        return (
            f"{self._name} has not been better than {best.value:.6g}, at step {best.step}, in "
            f"{self.eval_state.stale} evaluations since: the training ends here, and 'ganzoo "
            f"resume RUN --patience' with a larger number goes on."
        )

    def state(self) -> State:
        """Return what is known so far."""
        return {}, self.eval_state.model_dump(mode="json")

    def restore(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned; raises ValueError if it is of another training."""
        try:
            found = EvalState.model_validate(values)
        except GanzooError as error:
            raise ValueError(str(error)) from error
        named = found.best is None or self._name in found.best.scores
        latest = max(found.evaluated, 0 if found.best is None else found.best.step)
        if latest > self._played() or not named:
            raise ValueError("its scores are not those of this training")
        self.eval_state = found


def _compact(score: Score) -> Score:
    """What of a score every checkpoint can keep."""
    kept, size = {}, 0
    for name, value in score.extra.items():
        length = len(json.dumps({name: value}))
        if size + length <= _EXTRAS:
            kept[name] = value
            size += length
    return score.model_copy(update={"extra": kept})
