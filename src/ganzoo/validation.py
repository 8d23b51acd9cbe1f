"""Scores while training: which generator is the best so far, and when to stop."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganzoo import metrics
from ganzoo.errors import ConfigError, GanzooError, did_you_mean, listing
from ganzoo.evaluation import Evaluator, Score
from ganzoo.generator import Generator

if TYPE_CHECKING:
    import torch

    from ganzoo.datasets import Samples
    from ganzoo.metrics import Metric
    from ganzoo.mixture import Mixture
    from ganzoo.spec import SampleSpec
    from ganzoo.train_config import TrainConfig

__all__ = ["Scored", "Validation", "by_score", "settled"]


@dataclass(frozen=True, eq=False)
class Scored:
    """A generator at a step, and what was found of it.

    Attributes:
        step: Iterations finished then.
        generator: As it was then.
        scores: By the names of the metrics; none where there is a failure.
        failure: Why there are none.
    """

    step: int
    generator: Generator
    scores: Mapping[str, Score]
    failure: str = ""


class Validation:
    """Scores the averaged generator again and again, in the training or beside it.

    Beside it means in a thread, on a copy of the generator; what is found is asked for when the
    next one is scored, or at the end, so that it never depends on how long it took.

    Args:
        config: All settings of the training.
        device: Where it computes.

    Attributes:
        evaluated: Step of the newest generator whose scores have been taken.
        stale: How many have been scored since the best one.
        best: ``step``, ``value`` and ``scores`` of the best one, as JSON has them; or None.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        self._evaluator: Evaluator | None = None
        self._thread: threading.Thread | None = None
        self._found: Scored | BaseException | None = None
        better, _, self.judged_by = (config.keep_best or "").partition(":")
        self._sign = 1 if better == "max" else -1
        self.evaluated = 0
        self.stale = 0
        self.best: dict[str, Any] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether so many have been scored since the best one that more training is in vain."""
        patience = self._config.patience
        return patience is not None and self.stale >= patience

    def prepare(self, generator: Generator, samples: Samples | None) -> None:
        """Load what scores need, and look at the real samples, once.

        Args:
            generator: The generator as it is now.
            samples: The training's real samples, where they are in memory.

        Raises:
            ConfigError: If a metric is not for these samples, or lacks a package.
            CheckpointError: If the weights of an extractor are not there.
            DataError: If there are too few samples.
        """
        config = self._config
        if self._evaluator is None:
            self._evaluator = Evaluator(
                generator,
                config.dataset,
                config.metrics,
                real_split=config.real_split,
                reals=config.evaluate_reals,
                fakes=config.evaluate_fakes,
                device=str(self._device),
                samples=samples if config.real_split is None else None,
            )
        self._evaluator.cancel(False)
        self._evaluator.prepare()

    def begin(self, step: int, generator: Generator) -> None:
        """Score a generator; ``finish`` returns what was found."""
        assert self._evaluator is not None and self._thread is None
        if not self._config.evaluate_beside:
            self._found = self._scored(step, generator)
            return
        apart = Generator(copy.deepcopy(generator.module), generator.config)

        def work() -> None:
            try:
                self._found = self._scored(step, apart)
            except BaseException as error:
                self._found = error

        self._thread = threading.Thread(target=work, name="ganzoo-score", daemon=True)
        self._thread.start()

    def finish(self) -> Scored | None:
        """Wait for what ``begin`` has begun and return it, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        found, self._found = self._found, None
        if isinstance(found, BaseException):
            raise found
        return found

    def hurry(self) -> None:
        """Have what is being scored, here or in the thread, end soon and without scores."""
        if self._evaluator is not None:
            self._evaluator.cancel()

    def discard(self) -> None:
        """Give up what ``begin`` has begun."""
        self.hurry()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._evaluator is not None:
            self._evaluator.cancel(False)
        self._found = None

    def take(self, found: Scored) -> bool:
        """Judge what was found; return whether it is the best so far."""
        self.evaluated = found.step
        score = found.scores.get(self.judged_by)
        if score is None:
            return False
        if self.best is not None and self._sign * score.value <= self._sign * self.best["value"]:
            self.stale += 1
            return False
        self.stale = 0
        scores = {name: each.model_dump(mode="json") for name, each in found.scores.items()}
        self.best = {"step": found.step, "value": score.value, "scores": scores}
        return True

    def owed(self, step: int) -> int | None:
        """Return the step of a generator that must have been scored by then, and was not taken."""
        every = int(self._config.evaluate_every)
        due = step // every * every
        return due if due > self.evaluated else None

    def told(self) -> str:
        """Return in words why more training is in vain."""
        assert self.best is not None
        return (
            f"{self.judged_by} has not been better than {self.best['value']:.6g}, at step "
            f"{self.best['step']}, in {self.stale} evaluations since: the training ends here, and "
            f"'ganzoo resume RUN --patience' with a larger number goes on."
        )

    def best_scores(self) -> dict[str, Score]:
        """Return the scores of the best one."""
        assert self.best is not None
        return {name: Score(**score) for name, score in self.best["scores"].items()}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        return {"evaluated": self.evaluated, "stale": self.stale, "best": self.best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned.

        Raises:
            KeyError, TypeError, ValueError: If it is no such thing.
        """
        self.evaluated, self.stale = int(state["evaluated"]), int(state["stale"])
        best = state["best"]
        if best is None:
            self.best = None
            return
        value = float(best["value"])
        if not math.isfinite(value):
            raise ValueError("the best score is not finite")
        scores = {
            str(name): Score(**each).model_dump(mode="json")
            for name, each in best["scores"].items()
        }
        self.best = {"step": int(best["step"]), "value": value, "scores": scores}

    def _scored(self, step: int, generator: Generator) -> Scored:
        assert self._evaluator is not None
        try:
            return Scored(step, generator, self._evaluator.score(generator))
        except GanzooError as error:
            return Scored(step, generator, {}, str(error))


def settled(
    config: TrainConfig, spec: SampleSpec, mixture: Mixture | None, numbers: Sequence[str]
) -> TrainConfig:
    """Return the settings with all that decides which generator is the best.

    Args:
        config: All settings.
        spec: What one sample is.
        mixture: The distribution of the real samples, where it is known.
        numbers: Names of what rows of ``metrics.jsonl`` have.

    Raises:
        ConfigError: If a metric is for other samples, or there is no such score or number.
    """
    if config.evaluate_every:
        chosen = config.metrics or _usual(spec, mixture)
        for metric in chosen:
            metric.check(spec)
        better = "max" if chosen[0].better == "higher" else "min"
        best = config.keep_best or f"{better}:{chosen[0].name}"
        config = config.model_copy(update={"metrics": chosen, "keep_best": best})
    if by_score(config):
        return config
    if config.patience is not None:
        raise ConfigError(
            "patience waits for a better score, and there is none to be had. Leave it out, or set "
            "evaluate_every, and keep_best, if at all, to one of the metrics."
        )
    if config.keep_best is None:
        return config
    name = config.keep_best.partition(":")[2]
    known = [*numbers, *_scored(config)]
    if name not in known:
        raise ConfigError(
            f"keep_best needs a score or a number of metrics.jsonl, and this training has no "
            f"'{name}'.{did_you_mean(name, known)} Give min: or max: and one of: {listing(known)}."
        )
    if not config.checkpoint_every:
        raise ConfigError(
            "keep_best needs checkpoints to choose from, and checkpoint_every is 0. Set it."
        )
    return config


def by_score(config: TrainConfig) -> bool:
    """Return whether the best generator is told by a score, not by a number of the rows."""
    return (config.keep_best or "").partition(":")[2] in _scored(config)


def _scored(config: TrainConfig) -> list[str]:
    return [metric.name for metric in config.metrics if config.evaluate_every]


def _usual(spec: SampleSpec, mixture: Mixture | None) -> tuple[Metric, ...]:
    """What is scored where nothing is said."""
    if spec.kind == "image":
        return (metrics.create("fid"),)
    if mixture is not None:
        return (metrics.create("modes"),)
    raise ConfigError(
        f"'evaluate_every' needs metrics, and none is the usual one for samples of kind "
        f"'{spec.kind}'. Give some: 'ganzoo list metrics' shows them."
    )
