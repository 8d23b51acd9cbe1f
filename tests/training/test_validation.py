"""Scores while training: rows, the best generator, patience, and resuming."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import ganzoo
from ganzoo import evaluation
from ganzoo.cli import main
from ganzoo.errors import CheckpointError, ConfigError, DataError
from ganzoo.evaluation import Evaluator
from ganzoo.files import checkpoint
from ganzoo.generators import bundle
from ganzoo.runs.checkup import examine
from ganzoo.training.callbacks import Callback
from ganzoo.training.trainer import Trainer

SWD = {"name": "swd", "patches": 2, "directions": 4}
SIZE = 12


def train(out: Path | None = None, **settings) -> Trainer:
    images = torch.arange(64 * SIZE * SIZE, dtype=torch.float32).view(64, 1, SIZE, SIZE)
    chosen = {
        "dataset": (images.sin() * 127 + 128).to(torch.uint8),
        "steps": 12,
        "batch_size": 4,
        "log_every": 2,
        "sample_every": 0,
        "checkpoint_every": 6,
        "metrics": [SWD],
        "evaluate_every": 3,
        "evaluate_num_fake": 20,
        "device": "cpu",
        "precision": "fp32",
    } | settings
    return Trainer("mlp", out=out, progress=False, **chosen)


def again(run, **options) -> Trainer:
    return Trainer.resume(run.path, dataset=train().config.dataset, progress=False, **options)


class StopsAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer, step) -> None:
        if trainer.step == self.step:
            trainer.stop()


class StopsAtOnce(Callback):
    def on_start(self, trainer, run) -> None:
        trainer.stop()


SCORE = Evaluator.score


class Planned:
    """Scores that are planned, instead of those of the generator."""

    def __init__(self, values) -> None:
        self.values = iter(values)

    def __call__(self, evaluator, generator=None):
        value = next(self.values)
        if isinstance(value, Exception):
            raise value
        found = SCORE(evaluator, generator)
        return {name: s.model_copy(update={"value": value}) for name, s in found.items()}


def planned(monkeypatch, *values) -> None:
    plan = Planned(values)
    monkeypatch.setattr(Evaluator, "score", lambda self, generator=None, **_: plan(self, generator))


def content(run) -> dict[str, object]:
    """All that a run promises to be the same however often it was interrupted."""
    found: dict[str, object] = {
        name: (run.path / name).read_bytes()
        for name in ("scores.json", "best/model.safetensors", "best/metrics.json")
    }
    found["model"] = (run.path / "generator" / bundle.WEIGHTS).read_bytes()
    found["history"], found["scores"] = run.history, run.scores
    return found


# -- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [False, True])
def test_the_best_generator_is_kept_and_evaluate_finds_its_score(tmp_path, beside) -> None:
    run = train(tmp_path / "run", evaluate_async=beside).fit()
    assert [row["step"] for row in run.scores] == [3, 6, 9, 12]
    best = min(run.scores, key=lambda row: row["swd"])
    kept = json.loads((run.path / "best" / "metrics.json").read_text())["swd"]
    assert kept["value"] == best["swd"]
    assert kept["protocol"]["fake"]["count"] == 20
    assert bundle.config(run.path / "best").training["steps"] == best["step"]
    found = ganzoo.evaluate(
        run.path / "best", train().config.dataset, [SWD], num_fake=20, device="cpu"
    )
    assert found["swd"].value == pytest.approx(best["swd"], rel=1e-6)
    assert (run.path / "checkpoints" / f"step-{best['step']:08d}").is_dir()


def test_beside_the_training_the_same_is_found(tmp_path) -> None:
    one = train(tmp_path / "one").fit()
    other = train(tmp_path / "other", evaluate_async=True).fit()
    assert content(one) == content(other)


def test_scores_leave_the_training_as_it_is(tmp_path) -> None:
    with_scores = train(tmp_path / "with").fit()
    without = train(tmp_path / "without", evaluate_every=0, metrics=()).fit()
    weights = [
        (run.path / "generator" / bundle.WEIGHTS).read_bytes() for run in (with_scores, without)
    ]
    assert weights[0] == weights[1]
    assert with_scores.history == without.history


def test_points_of_a_mixture_are_scored_by_the_modes_reached(tmp_path) -> None:
    trainer = train(tmp_path / "run", dataset="ring", metrics=(), batch_size=8)
    run = trainer.fit()
    assert [metric.name for metric in trainer.config.metrics] == ["modes"]
    assert trainer.config.keep_best == "max:modes"
    assert set(run.scores[0]) == {"step", "modes"}


def test_callbacks_and_trackers_hear_of_scores(tmp_path) -> None:
    heard = []

    class Listens(Callback):
        def on_scores(self, trainer, step, scores) -> None:
            heard.append((step, scores["swd"].value, trainer.best_step))

    run = train(tmp_path / "run", callbacks=[Listens()]).fit()
    assert [(step, value) for step, value, _ in heard] == [
        (row["step"], row["swd"]) for row in run.scores
    ]
    assert heard[0][2] == 3


def test_the_last_steps_that_are_not_evaluated_are_named(tmp_path) -> None:
    trainer = train(tmp_path / "run", evaluate_every=5)
    run = trainer.fit()
    assert [row["step"] for row in run.scores] == [5, 10]
    assert "the last 2 of 12 steps are not evaluated" in trainer.notices


def test_a_score_that_fails_is_told_and_the_training_goes_on(tmp_path, monkeypatch) -> None:
    planned(monkeypatch, 2.0, DataError("The samples are all grey."), 1.0, 3.0)
    run = train(tmp_path / "run").fit()
    assert [row["step"] for row in run.scores] == [3, 9, 12]
    (told,) = run.diagnoses
    assert (told["step"], told["kind"]) == (6, "score")
    assert "all grey" in told["text"]


def test_scores_that_are_measured_otherwise_are_told_once(tmp_path, monkeypatch) -> None:
    threads = iter((1, 1, 2, 2, 2, 1, 1, 2))

    def score(evaluator, generator=None, **_):
        value = next(threads)
        found = SCORE(evaluator, generator)["swd"]
        protocol = found.protocol | {"samples": {"threads": value}}
        return {"swd": found.model_copy(update={"value": 2.0, "protocol": protocol})}

    monkeypatch.setattr(Evaluator, "score", score)
    run = train(tmp_path / "run", steps=24).fit()
    assert len(run.scores) == 8
    told = [(each["step"], each["text"]) for each in run.diagnoses]
    text = "scores are measured otherwise than those of the best, in samples.threads"
    assert told == [(9, text), (24, text)]


def test_a_score_for_which_memory_lacks_is_told(tmp_path, monkeypatch) -> None:
    planned(monkeypatch, 2.0, torch.OutOfMemoryError("no memory is left"), 1.0, 3.0)
    run = train(tmp_path / "run", evaluate_async=True).fit()
    assert [row["step"] for row in run.scores] == [3, 9, 12]
    assert "no memory" in run.diagnoses[0]["text"]


def test_an_error_that_is_not_ours_ends_the_training(tmp_path, monkeypatch) -> None:
    for beside in (False, True):
        planned(monkeypatch, ZeroDivisionError("a fault of the metric"))
        with pytest.raises(ZeroDivisionError):
            train(tmp_path / f"run-{beside}", evaluate_async=beside).fit()
    assert not [t for t in threading.enumerate() if t.name == "ganzoo-score"]


# -- enough ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [False, True])
def test_patience(tmp_path, monkeypatch, beside) -> None:
    planned(monkeypatch, 3.0, 2.0, 2.0, 2.5, 1.0)
    trainer = train(tmp_path / "run", steps=30, patience=2, evaluate_async=beside)
    run = trainer.fit()
    assert trainer.step == (15 if beside else 12)
    assert trainer.best_step == 6
    assert trainer.finished
    assert run.diagnoses[-1]["kind"] == "patience"
    assert "--patience" in run.diagnoses[-1]["text"]
    assert bundle.config(run.path / "best").training["steps"] == 6

    still = again(run)  # by itself nothing goes on
    still.fit()
    assert still.step == trainer.step
    planned(monkeypatch, *[1.5] * 9)
    more = again(run, patience=8)
    more.fit()
    assert (more.step, more.best_step) == (30, 15)


def test_patience_that_ended_is_told_once(tmp_path, monkeypatch) -> None:
    planned(monkeypatch, 1.0, *[2.0] * 9)
    run = train(tmp_path / "run", steps=30, callbacks=[StopsAt(10)]).fit()
    assert run.diagnoses == []
    for _ in range(2):
        less = again(run, patience=2)
        less.fit()
        assert less.step == 10
    assert [(each["step"], each["kind"]) for each in run.diagnoses] == [(9, "patience")]


def test_at_the_end_patience_is_no_matter(tmp_path, monkeypatch) -> None:
    planned(monkeypatch, 1.0, 2.0, 2.0, 2.0)
    trainer = train(tmp_path / "run", patience=3)
    run = trainer.fit()
    assert (trainer.step, run.diagnoses) == (12, [])


def test_higher_may_be_better(tmp_path, monkeypatch) -> None:
    planned(monkeypatch, 1.0, 3.0, 2.0, 2.0)
    trainer = train(tmp_path / "run", keep_best="max:swd")
    trainer.fit()
    assert trainer.best_step == 6


# -- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("left_at", [1, 3, 4, 6, 8])
def test_a_run_that_was_left_is_evaluated_as_if_it_never_was(tmp_path, beside, left_at) -> None:
    whole = train(tmp_path / "whole", evaluate_async=beside).fit()
    part = train(tmp_path / "part", evaluate_async=beside, callbacks=[StopsAt(left_at)]).fit()
    again(part).fit()
    assert content(part) == content(whole)


def test_a_run_that_was_made_longer(tmp_path) -> None:
    for beside in (False, True):
        whole = train(tmp_path / f"whole-{beside}", evaluate_async=beside).fit()
        part = train(tmp_path / f"part-{beside}", steps=6, evaluate_async=beside).fit()
        again(part, steps=12).fit()
        assert content(part) == content(whole)


def test_what_a_kill_left_behind_after_the_checkpoint_is_forgotten(tmp_path, monkeypatch) -> None:
    """The best generator is of step 9, and what goes on is of step 6."""
    planned(monkeypatch, 3.0, 2.0, 1.0, 4.0)
    run = train(tmp_path / "run", keep_checkpoints=9).fit()
    assert bundle.config(run.path / "best").training["steps"] == 9
    for step in (9, 12):
        (run.path / "checkpoints" / f"step-{step:08d}").rename(tmp_path / f"lost-{step}")
    planned(monkeypatch, 5.0, 5.0)
    trainer = again(run)
    assert (trainer.step, trainer.best_step) == (6, 6)
    trainer.fit()
    assert [row["swd"] for row in run.scores] == [3.0, 2.0, 5.0, 5.0]
    assert bundle.config(run.path / "best").training["steps"] == 6
    kept = json.loads((run.path / "best" / "metrics.json").read_text())
    assert kept["swd"]["value"] == 2.0


def test_a_generator_whose_checkpoint_is_gone_is_not_scored(tmp_path) -> None:
    run = train(tmp_path / "run", evaluate_async=True, callbacks=[StopsAt(4)]).fit()
    (run.path / "checkpoints" / "step-00000003").rename(tmp_path / "lost")
    trainer = again(run)
    trainer.fit()
    assert [row["step"] for row in run.scores] == [6, 9, 12]
    (told,) = run.diagnoses
    assert (told["step"], told["kind"]) == (3, "score")
    assert told["text"] == "no scores: its checkpoint is gone"


def test_a_run_whose_last_scores_are_owed_is_not_finished(tmp_path) -> None:
    for beside in (False, True):
        whole = train(tmp_path / f"whole-{beside}", evaluate_async=beside)
        whole.fit()
        assert whole.finished
        options = {"evaluate_async": beside, "callbacks": [StopsAt(12)]}
        part = train(tmp_path / f"part-{beside}", **options)
        part.fit()
        assert (part.step, part.finished) == (12, False)
        more = again(part.run)
        assert not more.finished
        more.fit()
        assert more.finished
        assert content(part.run) == content(whole.run)


@pytest.mark.parametrize("beside", [False, True])
def test_who_stops_right_before_scores_does_not_wait_for_them(
    tmp_path, monkeypatch, beside
) -> None:
    class Stops(Callback):
        def on_evaluate(self, trainer) -> None:
            trainer.stop()

    monkeypatch.setattr(Evaluator, "score", lambda *_, **__: pytest.fail("computed"))
    run = train(tmp_path / "run", evaluate_async=beside, callbacks=[Stops()]).fit()
    assert run.scores == []
    assert run.diagnoses == []


@pytest.mark.parametrize("best", ["min:swd", "min:step"])
def test_a_checkpoint_of_another_folder_brings_no_best(tmp_path, monkeypatch, best) -> None:
    """Neither that generator nor its checkpoint is in the new folder."""
    planned(monkeypatch, 3.0, 2.0, 1.0, 2.0, 5.0, 4.0)
    run = train(tmp_path / "run", keep_best=best, keep_checkpoints=9).fit()
    other = train(tmp_path / "other", keep_best=best, steps=18, keep_checkpoints=9)
    other.load_checkpoint(run.path / "checkpoints" / "step-00000012")
    copy = other.fit()
    assert [row["step"] for row in copy.scores] == [15, 18]
    assert [found for found in examine(copy.path) if found.verdict == "wrong"] == []
    _, state = checkpoint.load(copy.path / "checkpoints" / "step-00000018")
    parts = state["parts"]
    known = parts["scores"]["best"] or parts["keeper"]["best"]
    assert known["step"] in (15, 18)


class Slow:
    """Scores that take until they are given up, but for those of some steps."""

    def __init__(self, monkeypatch, quick: int = 0) -> None:
        self.begun, self.quick, self.calls = threading.Event(), quick, 0
        monkeypatch.setattr(Evaluator, "score", lambda *one, **two: self(*one, **two))

    def __call__(self, evaluator, generator=None, *, given_up=bool):
        self.calls += 1
        if self.calls > self.quick:
            self.begun.set()
            deadline = time.monotonic() + 60
            while not given_up() and time.monotonic() < deadline:
                time.sleep(0.01)
        return SCORE(evaluator, generator, given_up=given_up)


class Leaves(StopsAt):
    """Stops once scores are being computed."""

    def __init__(self, step: int, slow: Slow) -> None:
        super().__init__(step)
        self.slow = slow

    def on_step(self, trainer, step) -> None:
        if trainer.step == self.step:
            assert self.slow.begun.wait(60)
            trainer.stop()


def test_whoever_leaves_does_not_wait_for_scores(tmp_path, monkeypatch) -> None:
    whole = train(tmp_path / "whole", evaluate_async=True).fit()
    slow = Slow(monkeypatch)
    trainer = train(tmp_path / "run", evaluate_async=True, callbacks=[Leaves(4, slow)])
    run = trainer.fit()
    assert trainer.step == 4
    assert run.scores == []
    monkeypatch.setattr(Evaluator, "score", SCORE)
    again(run).fit()
    assert content(run) == content(whole)


@pytest.mark.parametrize("beside", [False, True])
def test_scores_that_are_waited_for_when_a_signal_comes(tmp_path, monkeypatch, beside) -> None:
    """Beside, those of step 3 are waited for at step 6: both are owed."""
    whole = train(tmp_path / "whole", evaluate_async=beside).fit()
    slow = Slow(monkeypatch)
    trainer = train(tmp_path / "run", evaluate_async=beside, keep_checkpoints=1)

    def leave() -> None:
        assert slow.begun.wait(60)
        while trainer.step < (6 if beside else 3):
            time.sleep(0.01)
        time.sleep(0.1)
        trainer.stop()

    other = threading.Thread(target=leave)
    other.start()
    run = trainer.fit()
    other.join()
    assert run.scores == []
    monkeypatch.setattr(Evaluator, "score", SCORE)
    again(run).fit()
    assert content(run) == content(whole)


def test_fitting_again_after_leaving_at_once(tmp_path, monkeypatch) -> None:
    whole = train(tmp_path / "whole").fit()
    for beside in (False, True):
        trainer = train(tmp_path / f"run-{beside}", evaluate_async=beside)

        class Interrupts(StopsAt):
            def on_step(self, trainer, step) -> None:
                if trainer.step == self.step:
                    self.step = -1
                    raise KeyboardInterrupt

        trainer.callbacks.append(Interrupts(4))
        with pytest.raises(KeyboardInterrupt):
            trainer.fit()
        run = trainer.fit()
        assert run.scores == whole.scores
        assert content(run)["model"] == content(whole)["model"]


def test_random_numbers_of_a_metric_leave_the_training_as_it_is(tmp_path) -> None:
    """The mlp's discriminator has dropout, which draws from the same generator."""

    def noisy(samples):
        return torch.rand(len(samples), 4) + samples.float().flatten(1)[:, :4]

    metric = {"name": "fid", "extractor": noisy}
    with_scores = train(tmp_path / "with", metrics=[metric]).fit()
    without = train(tmp_path / "without", evaluate_every=0, metrics=()).fit()
    weights = [
        (run.path / "generator" / bundle.WEIGHTS).read_bytes() for run in (with_scores, without)
    ]
    assert weights[0] == weights[1]


def test_a_best_checkpoint_by_a_row_beside_scores(tmp_path) -> None:
    trainer = train(tmp_path / "run", keep_best="min:g_loss", callbacks=[StopsAt(7)])
    run = trainer.fit()
    assert trainer.best_step is None
    assert not (run.path / "best").exists()
    again(run).fit()
    assert [row["step"] for row in run.scores] == [3, 6, 9, 12]


# -- damage ---------------------------------------------------------------------------------------


def test_a_best_generator_that_is_damaged_is_made_again(tmp_path) -> None:
    whole = train(tmp_path / "whole").fit()
    run = train(tmp_path / "run", callbacks=[StopsAt(7)]).fit()
    for name in ("config.json", "model.safetensors", "metrics.json"):
        (run.path / "best" / name).write_bytes(b"x")
        trainer = again(run, callbacks=[StopsAtOnce()])
        trainer.fit()
        assert trainer.step == 7
        assert not list(run.path.glob("best/*.tmp"))
        bundle.read(run.path / "best")
    again(run).fit()
    assert content(run) == content(whole)


def test_when_the_newest_checkpoint_is_damaged_the_best_one_of_that_before_is_there(
    tmp_path, monkeypatch
) -> None:
    planned(monkeypatch, 2.0, 3.0, 3.0, 1.0)
    run = train(tmp_path / "run").fit()
    assert bundle.config(run.path / "best").training["steps"] == 12
    (run.path / "checkpoints" / "step-00000012" / "state.safetensors").write_bytes(b"x")
    planned(monkeypatch, 3.0, 1.0)
    trainer = again(run, callbacks=[StopsAt(7)])
    assert (trainer.step, trainer.best_step) == (6, 3)
    trainer.fit()
    assert bundle.config(run.path / "best").training["steps"] == 3
    assert (run.path / "checkpoints" / "step-00000003").is_dir()


@pytest.mark.parametrize(
    "state",
    [
        [],
        {"evaluated": -1},
        {"evaluated": float("inf")},
        {"evaluated": 99},
        {"best": {"step": 3, "value": "x", "scores": []}},
        {"best": {"step": 3, "value": 1.0, "scores": {}}},
        {"best": {"step": 10**30, "value": 1.0, "scores": {"swd": {"value": 1.0}}}},
    ],
)
def test_a_state_of_scores_that_is_none(tmp_path, state) -> None:
    run = train(tmp_path / "run", callbacks=[StopsAt(6)]).fit()
    trainer = again(run)
    tensors, whole = trainer._stage.state()
    with pytest.raises(CheckpointError, match="does not fit"):
        trainer._stage.restore(
            tensors, whole | {"parts": whole["parts"] | {"scores": state}}, run.path
        )


def test_scores_of_the_end_are_in_a_checkpoint(tmp_path) -> None:
    for beside in (False, True):
        run = train(tmp_path / f"run-{beside}", evaluate_async=beside).fit()
        state = json.loads((run.path / "checkpoints/step-00000012/state.json").read_text())
        assert state["parts"]["scores"]["evaluated"] == 12


def test_scores_that_were_found_too_late_are_forgotten(tmp_path) -> None:
    run = train(tmp_path / "run", keep_checkpoints=9).fit()
    for path in (run.path / "checkpoints").glob("step-*"):
        if int(path.name.removeprefix("step-")) > 6:
            path.rename(tmp_path / path.name)
    assert json.loads((run.path / "scores.json").read_text())["step"] == 12
    again(run, callbacks=[StopsAt(7)]).fit()
    assert [row["step"] for row in run.scores] == [3, 6]
    assert not (run.path / "scores.json").exists()


def test_other_metrics_are_refused_on_resuming(tmp_path) -> None:
    run = train(tmp_path / "run", callbacks=[StopsAt(6)]).fit()
    with pytest.raises(ConfigError, match="could not be compared"):
        again(run, metrics=[SWD | {"directions": 8}])
    with pytest.raises(ConfigError, match="is scored by swd: scores of these"):
        again(run, metrics="ms-ssim,swd")
    unscored = train(tmp_path / "unscored", evaluate_every=0, metrics=()).fit()
    with pytest.raises(ConfigError, match="is not scored while training"):
        again(unscored, metrics="swd")


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"metrics": "swd,swd"}, "given twice"),
        ({"metrics": "fidd"}, "Did you mean 'fid'"),
        ({"metrics": ["modes"], "keep_best": "min:fid"}, "has no 'fid'"),
        ({"evaluate_every": 0, "metrics": (), "patience": 2}, "set evaluate_every"),
        ({"keep_best": "min:g_loss", "patience": 2}, "keep_best"),
        ({"evaluate_every": 0, "metrics": (), "keep_best": "min:swd"}, "has no 'swd'"),
        ({"evaluate_every": 0}, "'metrics' is for scores while training"),
        ({"evaluate_every": 0, "metrics": (), "real_split": "test"}, "'real_split' is for scores"),
        ({"evaluate_every": 13}, "nothing would be scored"),
        ({"real_split": "test"}, "no splits"),
        ({"evaluate_num_real": 65}, "fewer than the 65"),
    ],
)
def test_settings_that_cannot_be(tmp_path, settings, told) -> None:
    with pytest.raises((ConfigError, DataError, ganzoo.errors.UnknownNameError), match=told):
        train(tmp_path / "run", **settings).fit()
    assert not (tmp_path / "run").exists()


def test_samples_of_a_kind_that_has_no_usual_metric(tmp_path) -> None:
    with pytest.raises(ConfigError, match="Give some"):
        train(tmp_path / "run", dataset=torch.randn(32, 3), metrics=()).fit()


def test_a_metric_for_other_samples(tmp_path) -> None:
    with pytest.raises(ConfigError, match="sees pictures"):
        train(tmp_path / "run", dataset="ring", metrics="fid").fit()


def test_a_function_that_sees_is_given_again(tmp_path) -> None:
    def cells(samples):
        return nn.functional.adaptive_avg_pool2d(samples.float(), 4).mean(1).flatten(1)

    metric = {"name": "fid", "extractor": cells}
    run = train(tmp_path / "run", metrics=[metric], callbacks=[StopsAt(6)]).fit()
    with pytest.raises(ConfigError, match="function"):
        again(run).fit()
    again(run, metrics=[metric]).fit()
    assert [row["step"] for row in run.scores] == [3, 6, 9, 12]


def test_from_the_command_line(tmp_path, capsys) -> None:
    line = ["train", "mlp", "--dataset", "ring", "--steps", "4", "--batch-size", "8"]
    line += ["--metrics", "modes", "--evaluate-every", "2", "--evaluate-num-fake", "50"]
    main([*line, "--out", str(tmp_path / "run"), "--device", "cpu", "--quiet"])
    assert len(ganzoo.Run(tmp_path / "run").scores) == 2
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["step"] == 4
    assert evaluation.Score(**scores["scores"]["modes"]).protocol["metric"] == "modes"
    capsys.readouterr()
