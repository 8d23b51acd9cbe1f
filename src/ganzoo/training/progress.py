"""Progress of a training, on a terminal or as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ganzoo.core.step import OWN
from ganzoo.training.callbacks import Callback

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.live import Live

    from ganzoo.core.step import Step
    from ganzoo.evaluation import Score
    from ganzoo.runs.run import Run
    from ganzoo.training.diagnosis import Diagnosis
    from ganzoo.training.trainer import Trainer

__all__ = ["Progress"]


_LOSSES = (("D", "d_loss"), ("G", "g_loss"))
_SCORES = (("D(x)", "d_real"), ("D(G(z))", "d_fake"))


class Progress(Callback):
    """Shows how training goes: a live display on a terminal, plain lines elsewhere.

    Writes to standard error by default; ``every`` are the seconds between plain lines. With
    ``results``, it says at the end where picture and generator are.
    """

    def __init__(
        self, console: Console | None = None, every: float = 10.0, results: bool = True
    ) -> None:
        from rich.console import Console

        self.console = console or Console(stderr=True, soft_wrap=True, highlight=False)
        self.every = every
        self.results = results
        self._live: Live | None = None
        self._render: Callable[[], Any] | None = None
        self._row: Mapping[str, float] = {}
        self._waits_for = ""
        self._picture = ""
        self._began = self._said = time.monotonic()
        self._first = 0

    def on_start(self, trainer: Trainer, run: Run) -> None:
        """Say what is trained, on what, and how; then start the display."""
        config, precision = trainer.config, trainer.precision
        self._say(
            f"{config.arch.name} on {config.dataset.called} ({trainer.spec}) with "
            f"{config.loss.name}: {trainer.total_steps} steps of {config.batch_size}, "
            f"{trainer.device.type}, {precision.name} ({precision.reason})"
        )
        for notice in trainer.notices:
            self._say(f"note: {notice}")
        self._say(f"run: {run.path}")
        self._began = self._said = time.monotonic()
        self._first = trainer.step
        if self.console.is_terminal:
            from rich.live import Live

            self._live = Live(self._table(trainer), console=self.console, refresh_per_second=4)
            self._live.start()

    def on_step(self, trainer: Trainer, step: Step) -> None:
        """Refresh the display; nothing is read from the device."""
        if self._live is not None and time.monotonic() - self._said > 0.25:
            self._said = time.monotonic()
            self._live.update(self._table(trainer))

    def on_log(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """Keep the numbers, and print them where there is no display."""
        self._row = row
        if self._live is None and time.monotonic() - self._said > self.every:
            self._said = time.monotonic()
            self._say(self._line(trainer))

    def on_diagnosis(self, trainer: Trainer, diagnosis: Diagnosis) -> None:
        """Print it at once, above the display where there is one."""
        self._say(f"warning: step {diagnosis.step}: {diagnosis.text}")

    def on_evaluate(self, trainer: Trainer) -> None:
        """Say on the display what the training waits for."""
        if self._live is not None and not trainer.config.evaluate_async:
            names = ", ".join(metric.name for metric in trainer.config.metrics)
            self._waits_for = f"step {trainer.step}: computing {names}"
            self._live.update(self._table(trainer), refresh=True)
            self._waits_for = ""

    def on_scores(self, trainer: Trainer, step: int, scores: Mapping[str, Score]) -> None:
        """Print them."""
        values = "  ".join(f"{name} {score.value:.6g}" for name, score in scores.items())
        best = "  (the best so far)" if step == trainer.best_step else ""
        self._say(f"step {step}: {values}{best}")

    def on_picture(self, trainer: Trainer, path: Path) -> None:
        """Show where the latest picture is."""
        self._picture = str(path)

    def on_end(self, trainer: Trainer, run: Run) -> None:
        """Say where the results are."""
        self._stop(trainer)
        if self._row:
            self._say(self._line(trainer))
        if trainer.modes is not None and trainer.modes > 1 and "modes" in self._row:
            self._say(_covered(self._row, trainer.modes))
        if not self.results:
            return
        if self._picture:
            self._say(f"picture: {self._picture}")
        self._say(f"generator: {run.path / 'generator'}")
        if trainer.best_step is not None and (run.path / "best").is_dir():
            self._say(f"best generator: {run.path / 'best'} (step {trainer.best_step})")

    def on_close(self, trainer: Trainer) -> None:
        """Leave the terminal as it was."""
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if self._live is not None:
            self._live.update(self._table(trainer))
            self._live.stop()
            self._live = None

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def _speed(self, trainer: Trainer) -> tuple[str, str]:
        """Samples per second and time left, in words."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        done = trainer.step - self._first
        left = (trainer.total_steps - trainer.step) * seconds / done if done else 0.0
        unit = "images" if trainer.spec.kind == "image" else "samples"
        return f"{done * trainer.images_per_step / seconds:.0f} {unit}/s", f"{_clock(left)} left"

    def _numbers(self) -> str:
        if self._waits_for:
            return self._waits_for
        row = self._row
        if not row:
            return "waiting for the first numbers"
        modes = f"  modes {row['modes']}" if "modes" in row else ""
        reported = (f"  {name} {value:.4g}" for name, value in row.items() if name not in OWN)
        losses = [f"{who} {row[key]:.3f}" for who, key in _LOSSES if key in row]
        scores = [f"{what} {row[key]:.2f}" for what, key in _SCORES if key in row]
        return f"loss {'  '.join([' '.join(losses), *scores])}{modes}{''.join(reported)}"

    def _line(self, trainer: Trainer) -> str:
        speed, left = self._speed(trainer)
        return f"step {trainer.step}/{trainer.total_steps}  {self._numbers()}  {speed}  {left}"

    def _table(self, trainer: Trainer) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        speed, left = self._speed(trainer)
        top = Table.grid(padding=(0, 2), expand=False)
        top.add_row(
            ProgressBar(total=trainer.total_steps, completed=trainer.step, width=32),
            f"{trainer.step}/{trainer.total_steps}",
            speed,
            left,
        )
        picture = Text(f"picture: {self._picture}", style="dim", overflow="ellipsis", no_wrap=True)
        return Group(top, Text(self._numbers()), *([picture] if self._picture else []))


def _covered(row: Mapping[str, float], total: int) -> str:
    """Mode coverage in words."""
    collapse = " (mode collapse)" if row["modes"] < total else ""
    due = f", {row['modes_due']} with a quarter of their due" if "modes_due" in row else ""
    return (
        f"modes covered: {row['modes']} of {total}{collapse}{due}, {row['high_quality']:.1%} of "
        f"the samples within three standard deviations of one, rarest mode "
        f"{row['rarest_mode']:.1%}"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
