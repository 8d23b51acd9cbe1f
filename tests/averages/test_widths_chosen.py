"""Widths that scores choose among in real trainings: rows, files, resuming and going back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import ganzoo
from ganzoo import losses
from ganzoo.evaluation import Evaluator
from ganzoo.files import checkpoint
from ganzoo.generators import bundle
from ganzoo.losses.logistic import NonSaturating
from ganzoo.training.callbacks import Callback

SWD = {"name": "swd", "patches": 2, "directions": 4}
WIDTHS = (0.02, 0.1, 0.25)
IMAGES = (torch.arange(48 * 64, dtype=torch.float32).view(48, 1, 8, 8).sin() * 127 + 128).byte()


def train(out: Path, **settings: Any) -> ganzoo.Trainer:
    chosen = {
        "average": {"name": "power", "widths": WIDTHS},
        "steps": 12,
        "batch_size": 4,
        "log_every": 2,
        "sample_every": 3,
        "checkpoint_every": 6,
        "snapshot_every": 3,
        "metrics": [SWD],
        "evaluate_every": 3,
        "evaluate_num_fake": 20,
        "device": "cpu",
        "precision": "fp32",
        "g_optimizer": {"lr": 0.01},
    } | settings
    arch = {"name": "mlp", "hidden": [8]}
    return ganzoo.Trainer(arch, IMAGES, out=out, progress=False, **chosen)


def again(run: ganzoo.Run, **options: Any) -> ganzoo.Trainer:
    return ganzoo.Trainer.resume(run.path, dataset=IMAGES, progress=False, **options)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganzoo.training.visualizer._SHOWN", 4)
    monkeypatch.setattr("ganzoo.showing.plots.available", lambda: False)
    monkeypatch.setattr("os.fsync", lambda handle: None)


PLAN = [(3, 2, 1), (4, 0.5, 3), (2, 5, 4), (9, 8, 7)]
"""Scores of the widths, by evaluation."""


class StopsAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
        if trainer.step == self.step:
            trainer.stop()


SCORE = Evaluator.score


def planned(monkeypatch: pytest.MonkeyPatch, *plan: tuple[float, ...]) -> None:
    """Score the widths of each evaluation by a plan."""

    def scored(evaluator: Evaluator, generator: Any = None, **options: Any) -> Any:
        training = generator.config.training
        value = plan[training["steps"] // 3 - 1][WIDTHS.index(training["average_kept"])]
        found = SCORE(evaluator, generator, **options)
        return {name: each.model_copy(update={"value": value}) for name, each in found.items()}

    monkeypatch.setattr(Evaluator, "score", scored)


def averaged(run: ganzoo.Run, step: int, number: int) -> dict[str, torch.Tensor]:
    """Weights of an average, from a checkpoint."""
    tensors, _ = checkpoint.load(run.path / "checkpoints" / f"step-{step:08d}")
    part = "ema." if number == 0 else f"ema-{number + 1}."
    return {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}


def is_it(folder: Path, tensors: dict[str, torch.Tensor]) -> bool:
    found = bundle.load(folder)[1].state_dict()
    assert found.keys() == tensors.keys()
    return all(torch.equal(found[name], value) for name, value in tensors.items())


def content(run: ganzoo.Run) -> dict[str, bytes]:
    """All that must be the same however often a run was left."""
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in sorted(run.path.rglob("*"))
        if (
            path.suffix in (".safetensors", ".png", ".jsonl")
            or path.name in ("scores.json", "config.json")
        )
        and ("checkpoints" not in path.parts or path.parent.name == "step-00000012")
    }


def test_the_best_width_is_kept_and_the_row_has_the_scores_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch, (3, 2, 1), (4, 0.5, 3), (5, 5, 4), (9, 7, 8))
    trainer = train(tmp_path / "run", keep_checkpoints=9)
    run = trainer.fit()
    assert [row["average"] for row in run.scores] == [0.25, 0.1, 0.25, 0.1]
    assert [row["swd"] for row in run.scores] == [1, 0.5, 4, 7]
    assert run.scores[1] == {
        "step": 6,
        "average": 0.1,
        "swd": 0.5,
        "swd_average_0.02": 4,
        "swd_average_0.1": 0.5,
        "swd_average_0.25": 3,
    }
    assert trainer.best_step == 6 and trainer.game.ema.chosen == 1
    assert is_it(run.path / "best", averaged(run, 6, 1))
    assert not is_it(run.path / "best", averaged(run, 6, 0))
    assert is_it(run.path / "generator", averaged(run, 12, 1))
    assert bundle.config(run.path / "best").training["average_kept"] == 0.1
    # What scores chose at a step shows from the next step on.
    kept = [
        bundle.config(folder).training["average_kept"]
        for folder in sorted((run.path / "snapshots").iterdir())
    ]
    assert kept == [0.02, 0.25, 0.1, 0.25]
    state = json.loads((run.path / "checkpoints/step-00000006/state.json").read_text())
    assert state["parts"]["ema"] == {"updates": 6, "chosen": 1}
    assert state["parts"]["scores"]["best"]["average"] == 1


def test_a_score_of_a_real_training_is_that_of_the_kept_generator(tmp_path: Path) -> None:
    run = train(tmp_path / "run", evaluate_num_fake=40).fit()
    best = min(run.scores, key=lambda row: row["swd"])
    columns = [f"swd_average_{width:g}" for width in WIDTHS]
    for row in run.scores:
        assert row["swd"] == min(row[name] for name in columns)
        assert row["swd"] == row[f"swd_average_{row['average']:g}"]
    assert len({best[name] for name in columns}) == 3
    assert bundle.config(run.path / "best").training["average_kept"] == best["average"]
    found = ganzoo.evaluate(run.path / "best", IMAGES, [SWD], num_fake=40, device="cpu")
    assert found["swd"].value == pytest.approx(best["swd"], rel=1e-6)
    assert found["swd"].protocol["fake"]["averaged"] is True


@pytest.mark.parametrize(
    ("beside", "left_at"), [(False, 3), (False, 6), (False, 12), (True, 3), (True, 8)]
)
def test_a_run_that_was_left_is_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool, left_at: int
) -> None:
    planned(monkeypatch, *PLAN)
    whole = train(tmp_path / "whole", evaluate_async=beside).fit()
    part = train(tmp_path / "part", evaluate_async=beside, callbacks=[StopsAt(left_at)]).fit()
    resumed = again(part)
    resumed.fit()
    assert content(part) == content(whole)
    assert [row["average"] for row in part.scores] == [0.25, 0.1, 0.02, 0.25]
    assert resumed.game.ema.chosen == 2


def test_going_back_takes_the_choice_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, *PLAN)

    class Breaks(Callback):
        broken = False
        seen: int | None = None

        def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
            if trainer.step == 11 and not self.broken:
                self.broken = True
                with torch.no_grad():
                    next(trainer.game.generator.parameters()).fill_(float("nan"))
            elif trainer.step == 10 and self.broken:
                self.seen = trainer.game.ema.chosen
            elif trainer.step == 7 and self.broken:
                assert trainer.game.ema.chosen == 1

    breaks = Breaks()
    trainer = train(tmp_path / "run", nan_policy="rollback", callbacks=[breaks], keep_checkpoints=9)
    run = trainer.fit()
    assert breaks.broken
    assert [each["kind"] for each in run.diagnoses] == ["rollback"]
    assert trainer.game.ema.chosen == 2


def test_without_a_score_that_decides_it_is_the_first(tmp_path: Path) -> None:
    settings: list[dict[str, Any]] = [
        {"evaluate_every": 0, "metrics": ()},
        {"keep_best": "min:g_loss"},
    ]
    for number, more in enumerate(settings):
        run = train(tmp_path / str(number), **more).fit()
        assert bundle.config(run.path / "generator").training["average_kept"] == 0.02
        assert is_it(run.path / "generator", averaged(run, 12, 0))
        assert all(set(row) == {"step", "swd"} for row in run.scores)


def test_scores_of_one_width_have_no_further_columns(tmp_path: Path) -> None:
    run = train(tmp_path / "run", average={"name": "power", "widths": 0.1}).fit()
    assert all(set(row) == {"step", "swd"} for row in run.scores)
    training = bundle.config(run.path / "generator").training
    assert training["average"] == {"name": "power", "widths": [0.1]}
    assert "average_kept" not in training


def test_a_metric_must_not_be_called_as_the_column_of_the_average(tmp_path: Path) -> None:
    from ganzoo import metrics
    from ganzoo.errors import ConfigError
    from ganzoo.metrics import Metric, Result

    @metrics.register("average")
    class Mean(Metric):
        """A number."""

        requires = ("samples",)

        def compute(self, real: Any, fake: Any) -> Result:
            return Result(0.0)

    try:
        with pytest.raises(ConfigError, match="metric named 'average' would be confused"):
            train(tmp_path / "run", metrics=["average"]).setup()
    finally:
        metrics.registry.unregister("average")


def test_further_nets_of_a_loss_follow_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch, *PLAN)

    @losses.register("with-a-third-net")
    class WithNet(NonSaturating):
        """A third net that learns the mean of the samples."""

        def nets(self, spec: Any, latent: Any) -> dict[str, torch.nn.Module]:
            return {"third": torch.nn.Linear(1, 1)}

        def iteration(self, game: Any, batch: Any) -> Any:
            step = super().iteration(game, batch)
            with game.phase():
                guess = game.net("third")(torch.ones(1))
                game.update("third", (guess - step.fake.detach().mean()).square().sum())
            return step

    try:
        trainer = train(tmp_path / "run", loss="with-a-third-net", steps=6)
        trainer.fit()
        followed = trainer.game.players["third"].ema
        assert followed is not None and len(followed.modules) == 3
        assert followed.chosen == trainer.game.ema.chosen == 1
        assert {"third_ema", "third_ema-2", "third_ema-3"} <= trainer.parts().keys()
        assert again(trainer.run).game.players["third"].ema.chosen == 1
    finally:
        losses.registry.unregister("with-a-third-net")
