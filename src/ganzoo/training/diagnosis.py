"""Diagnosis: what goes wrong in a training, in words, as its numbers show it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganzoo.config import TrainConfig

__all__ = ["Diagnoses", "Diagnosis"]

# Chosen from recorded trainings, against which tests hold them; docs/diagnosis.md states them.
_ROWS = 5  # rows in succession before anything is said
_STEPS = 100  # iterations that these rows must cover
_STEPS_WON = 300  # a sure D often lets go by itself, so it gets more time
_WON = 0.01  # share of the way from telling all samples apart to guessing
_SURE = 0.1  # likewise, up to which D is to blame where G's gradients are small
_EARLY = 5  # rows whose median is the early level of G's gradient
_VANISHED = 0.05  # G's gradient as a share of its early level
_UNDERFLOW = 1e-8  # Adam's eps: smaller gradients no longer move a weight
_ALIKE = 0.1  # diversity below which samples have become alike
_RISEN = 0.2  # diversity above which they are no longer as alike as at first
_FAIR_ALIKE = 0.25  # share of the training in which samples may still be alike
_FAIR_MODES = 0.5  # share of the training in which modes may still be missing
_FAIR_LEAST = 1500  # iterations in which both may be so, however short the training is
_NEAR_MODES = 0.25  # high quality from which missing modes mean something
_MOST = 3  # pieces of advice at once


@dataclass(frozen=True)
class Diagnosis:
    """Something that goes wrong in a training.

    Attributes:
        step: Iterations finished when it was found.
        kind: ``d-wins``, ``g-vanishes``, ``collapse`` or ``modes``; ``rollback`` where the trainer
            went back to a checkpoint; ``contract`` where the first batch showed something odd.
        text: Fact, cause and advice in a line.
    """

    step: int
    kind: str
    text: str


class Diagnoses:
    """Reads the rows of ``metrics.jsonl`` as they are written and says what goes wrong.

    A kind is said once it has held for five rows in succession that cover enough iterations, and
    again only after it was over for as long; samples that are all one are reported at once. The
    same rows in order give the same state. Numbers that a row lacks, or that are not finite,
    decide nothing.

    Args:
        config: The training's settings.
        total_modes: Modes of the data, where they are known.
        total_steps: Iterations in all.
        samples: Size of the dataset, where it is known: no larger batch is advised.
    """

    def __init__(
        self,
        config: TrainConfig,
        total_modes: int | None,
        total_steps: int,
        samples: int | None = None,
    ) -> None:
        self.config = config
        self.total_modes = total_modes
        self.total_steps = total_steps
        self.samples = samples
        self._step = 0
        self._early: list[float] = []
        self._peak = 0.0
        self._kinds = {
            "d-wins": (self._d_wins, _Spell(_STEPS_WON)),
            "g-vanishes": (self._g_vanishes, _Spell(_STEPS)),
            "collapse": (self._collapse, _Spell(_STEPS)),
            "modes": (self._modes, _Spell(_STEPS)),
        }

    def see(self, row: Mapping[str, float]) -> list[Diagnosis]:
        """Take in the next row and return what it shows to have gone wrong, most often nothing."""
        before, self._step = self._step, int(row["step"])
        found = []
        for kind, (check, spell) in self._kinds.items():
            text, plain = check(row), kind == "collapse" and _one(row)
            if spell.begins(before, self._step, text, plain) and text:
                found.append(Diagnosis(self._step, kind, text))
        return found

    # Each check returns a text where its kind holds, "" where it clearly does not, and None in
    # between or where the row cannot tell.

    def _d_wins(self, row: Mapping[str, float]) -> str | None:
        share = self._share(row)
        if share is None or self._pretrains():
            return None
        if share > _WON:
            return "" if share > 2 * _WON else None
        return (
            f"D's loss has stayed at {self._d_loss(row)}: D tells all samples apart, so that "
            f"neither net learns much from the other. {_try(self._weaker_d())}"
        )

    def _g_vanishes(self, row: Mapping[str, float]) -> str | None:
        gradient, share = _number(row, "g_grad"), self._share(row)
        if gradient is None or self._pretrains():
            return None
        if len(self._early) < _EARLY:
            self._early.append(gradient)
        if gradient < _UNDERFLOW:
            fact = f"G's gradients are gone (norm {gradient:.1e})"
        elif len(self._early) < _EARLY:
            return None
        else:
            level = median(self._early)
            if gradient >= 2 * _VANISHED * level or self.config.loss.d_range is None:
                return ""  # the loss of a critic does not say who is winning
            if share is None:
                return None
            if share > _SURE:
                return ""  # small gradients are normal where the nets agree, or have yet to begin
            if gradient >= _VANISHED * level:
                return None
            fact = (
                f"G's gradients have vanished (norm {gradient:.2g}, {gradient / level:.1%} of the "
                f"early {level:.2g})"
            )
        if share is not None and share <= _SURE:
            return (
                f"{fact}: D's loss is {self._d_loss(row)}, and a D this sure tells G nothing. "
                f"{_try(self._weaker_d())}"
            )
        unknown = "G's units may be saturated or dead", ""
        why, advice = self.config.loss.small_gradients() or unknown
        return f"{fact}: {why}. {_try([*[advice] * bool(advice), *self._slower_g()])}"

    def _collapse(self, row: Mapping[str, float]) -> str | None:
        diversity = _number(row, "diversity")
        if diversity is None:
            return None
        risen = self._peak > _RISEN
        self._peak = max(self._peak, diversity)
        if diversity > _RISEN:
            return ""
        if _one(row):
            return (
                "All samples of a batch are the same (diversity 0; that of the data is 1): G "
                "does not compute them from its latents, as ganzoo.testing.check_architecture "
                f"would say, or its units are dead or saturated. {_try(self._slower_g())}"
            )
        if risen:
            if diversity >= _ALIKE:
                return None
            fact = f"has fallen from {self._peak:.2f} to {diversity:.2f}"
        else:
            if not self._fair(_FAIR_ALIKE):
                return None
            fact = f"is only {diversity:.2f} after {self._step} iterations"
        share, why, advice = self._share(row), "", self._against_collapse()
        if share is not None and share <= _WON:
            why = f", and D, whose loss is {self._d_loss(row)}, is too sure to teach it others"
            advice = self._weaker_d()
        return (
            f"The diversity of samples {fact} (that of the data is 1): G makes nearly the same one "
            f"from all latents{why}. {_try(advice)}"
        )

    def _modes(self, row: Mapping[str, float]) -> str | None:
        modes, quality = _number(row, "modes"), _number(row, "high_quality")
        total = self.total_modes
        if modes is None or quality is None or total is None:
            return None
        if modes >= total:
            return ""
        # Where few samples lie near any mode, it is precision that is missing.
        if quality < _NEAR_MODES or not self._fair(_FAIR_MODES):
            return None
        return (
            f"The samples cover {modes:.0f} of {total} modes ({quality:.0%} lie near one): G "
            f"has found a part of the data that D accepts and leaves out the rest. "
            f"{_try(self._against_collapse())}"
        )

    def _pretrains(self) -> bool:
        """Whether G learns less from D than it will, or nothing: then D is sure, and no harm."""
        config = self.config
        now = final = config.adversarial_weight
        if schedule := config.schedules.get("adversarial_weight"):
            now = schedule.value(self._step, self.total_steps, config.adversarial_weight)
            final = schedule.final
        return now < final or now == 0

    def _fair(self, share: float) -> bool:
        """Whether G has had a fair time to learn."""
        return self._step > max(_FAIR_LEAST, share * self.total_steps)

    def _share(self, row: Mapping[str, float]) -> float | None:
        """D's loss between telling all samples apart (0) and guessing (1), if it has a least."""
        loss, ends = _number(row, "d_loss"), self.config.loss.d_range
        if loss is None or ends is None or not ends[0] < ends[1]:
            return None
        return (loss - ends[0]) / (ends[1] - ends[0])

    def _d_loss(self, row: Mapping[str, float]) -> str:
        ends = self.config.loss.d_range
        assert ends is not None
        least = f"{ends[0]:.3g} is the least, " if ends[0] else ""
        return f"{row['d_loss']:.2g} ({least}guessing costs {ends[1]:.3g})"

    # Advice, what helps most first. Each piece is a setting that exists in this configuration.

    def _weaker_d(self) -> Iterator[str]:
        config = self.config
        if config.loss.instead:
            yield f"--loss {config.loss.instead} (its gradients do not vanish when D is sure)"
        if config.joint_batch:
            yield "--no-joint-batch"
        if config.d_steps > 1:
            yield f"--d-steps {config.d_steps // 2}"
        yield f"--d-optimizer.lr {_quarter(config.d_optimizer.lr)}"
        dropout = getattr(config.arch, "dropout", None)
        if isinstance(dropout, float) and dropout < 0.5:
            yield f"--arch.dropout {0.3 if dropout < 0.3 else 0.5}"
        yield from config.loss.softer()
        yield f"--g-steps {config.g_steps + 1}"

    def _slower_g(self) -> Iterator[str]:
        yield f"--g-optimizer.lr {_quarter(self.config.g_optimizer.lr)}"

    def _against_collapse(self) -> Iterator[str]:
        config, latent = self.config, self.config.latent
        narrow = latent.distribution == "uniform" and latent.high - latent.low < 4
        if narrow and self.total_modes is not None:
            yield "--latent.low -10 --latent.high 10 (a latent about as wide as the data)"
        if config.loss.instead:
            yield f"--loss {config.loss.instead}"
        if config.loss.d_range is None and config.d_steps < 5:
            yield "--d-steps 5"  # a critic is of use when it is near its best
        yield from self._slower_g()
        if self.samples is None or 2 * config.batch_size <= self.samples:
            yield f"--batch-size {2 * config.batch_size}"


class _Spell:
    """How long something has held, or has been over: it must do so for some rows and iterations."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._said = False
        self._rows = 0
        self._since = 0

    def begins(self, before: int, step: int, text: str | None, plain: bool = False) -> bool:
        """Whether it has just held for long enough, from the row of step ``before`` on.

        ``text`` is what a check returns; ``plain`` says that one row is enough.
        """
        # It is waited for what changes the verdict: to hold before it is said, then to be over.
        if text is None or bool(text) is self._said:
            self._rows = 0
            return False
        if self._rows == 0:
            self._since = before
        self._rows += 1
        if not (plain and text) and (self._rows < _ROWS or step - self._since < self.steps):
            return False
        self._said, self._rows = bool(text), 0
        return self._said


def _one(row: Mapping[str, float]) -> bool:
    """Whether samples are all the same, to what float32 can tell."""
    diversity = _number(row, "diversity")
    return diversity is not None and diversity < 1e-6


def _number(row: Mapping[str, float], key: str) -> float | None:
    value = row.get(key)
    return value if value is not None and math.isfinite(value) else None


def _quarter(rate: float) -> str:
    return f"{rate / 4:.1g} (now {rate:g})"


def _try(advice: Iterator[str] | Sequence[str]) -> str:
    *most, last = list(advice)[:_MOST]
    return f"Try {', '.join(most)} or {last}." if most else f"Try {last}."
