"""A run survives what happens to it: signals, damage, numbers that go wrong, other processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ganzoo
from ganzoo.core import seeds
from ganzoo.errors import CheckpointError, ConfigError, DivergenceError, RunFolderError
from ganzoo.files import artifact, checkpoint, untrusted
from ganzoo.files.lock import RunLock
from ganzoo.training.callbacks import Callback
from ganzoo.training.parts import collect

SETTINGS: dict[str, Any] = {
    "arch": {"name": "dcgan", "channels": 2},
    "latent": 4,
    "batch_size": 16,
    "steps": 8,
    "progress": False,
    "precision": "fp32",
    "device": "cpu",
    "log_every": 2,
    "checkpoint_every": 2,
    "sample_every": 4,
}


class At(Callback):
    """Does something once, after the iteration of that number."""

    def __init__(self, step: int, act: Callable[[ganzoo.Trainer], None]) -> None:
        self.step, self.act, self.done = step, act, False

    def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
        if trainer.step == self.step and not self.done:
            self.done = True
            self.act(trainer)


def on(hook: str, act: Callable[..., object]) -> Callback:
    """A callback that calls something in one hook, with what the hook gets."""
    return type("On", (Callback,), {hook: lambda self, *what: act(*what)})()


def die(*what: Any) -> None:
    raise RuntimeError("gone")


def train(dataset: Any, out: str, *callbacks: Callback, **settings: Any) -> ganzoo.Trainer:
    return ganzoo.Trainer(dataset=dataset, out=out, callbacks=callbacks, **{**SETTINGS, **settings})


def resume(out: str, dataset: Any, **settings: Any) -> ganzoo.Trainer:
    return ganzoo.Trainer.resume(out, dataset=dataset, progress=False, **settings)


def assert_same_runs(one: str, other: str, *, but: tuple[str, ...] = ()) -> None:
    """Every file that training writes is equal, to the byte."""

    def content(run: str) -> dict[str, bytes]:
        aside = ("environment.json", ".lock", "config.yaml", *but)
        return {
            str(path.relative_to(run)): path.read_bytes()
            for path in sorted(Path(run).rglob("*"))
            if path.is_file() and path.name not in aside
        }

    first, second = content(one), content(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def steps_kept(out: str) -> list[str]:
    return sorted(path.name for path in Path(out, "checkpoints").iterdir())


# -- signals --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these to itself")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGUSR1", None)])
def test_a_scheduler_may_end_it_at_any_step(name: str, code: int | None, pictures: Tensor) -> None:
    number = getattr(signal, name)
    trainer = train(pictures, "out", At(5, lambda _: signal.raise_signal(number)))
    with pytest.raises(SystemExit) as caught:
        trainer.fit()
    assert caught.value.code == (code or 128 + number)
    resumed = resume("out", pictures)
    assert resumed.step == 5
    resumed.fit()
    train(pictures, "whole").fit()
    assert_same_runs("whole", "out")


def test_pictures_off_the_schedule_do_not_stay(pictures: Tensor) -> None:
    trainer = train(pictures, "out", At(5, lambda trainer: trainer.stop()))
    trainer.fit()
    assert [path.stem for path in trainer.run.samples] == ["step-00000004", "step-00000005"]
    resume("out", pictures).fit()
    train(pictures, "whole").fit()
    assert_same_runs("whole", "out")


# -- checkpoints ----------------------------------------------------------------------------------


def test_a_run_without_checkpoint_starts_afresh_and_says_so(pictures: Tensor) -> None:
    with pytest.raises(RuntimeError, match="gone"):
        train(pictures, "out", At(3, die), checkpoint_every=100).fit()
    assert not steps_kept("out")
    random.random(), np.random.rand(), torch.rand(3)
    resumed = resume("out", pictures)
    assert resumed.step == 0
    assert not resumed.finished
    assert "the run ended before its first checkpoint: it starts afresh" in resumed.notices
    resumed.fit()
    train(pictures, "whole", checkpoint_every=100).fit()
    assert_same_runs("whole", "out")


def test_the_newest_whole_checkpoint_is_used_and_others_set_aside(pictures: Tensor) -> None:
    train(pictures, "whole", keep_checkpoints=4).fit()
    shutil.copytree("whole", "out")
    for step, damage in ((8, b"not tensors"), (6, b"")):
        path = Path(f"out/checkpoints/step-{step:08d}/state.safetensors")
        path.write_bytes(damage)
    Path("out/checkpoints/.step-00000008.0123abcd.tmp").mkdir()
    resumed = resume("out", pictures)
    assert resumed.step == 4
    told = "\n".join(resumed.notices)
    assert "step-00000008 is damaged" in told
    assert "step-00000006 is damaged" in told
    assert "It was renamed to broken-step-00000006." in told
    assert ".step-00000008.0123abcd.tmp, which a kill had left unfinished" in told
    assert "broken-step-00000008" in steps_kept("out")
    resumed.fit()
    for broken in Path("out/checkpoints").glob("broken-*"):
        shutil.rmtree(broken)
    assert_same_runs("whole", "out")


def test_where_no_checkpoint_is_whole_nothing_is_used_or_lost(pictures: Tensor) -> None:
    train(pictures, "out").fit()
    for path in Path("out/checkpoints").glob("*/state.json"):
        path.write_text("{}", encoding="utf-8")
    before = steps_kept("out")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"No checkpoint in .* is whole") as caught:
            resume("out", pictures)
        assert "\n" not in str(caught.value)
        assert steps_kept("out") == before


def test_checkpoints_that_are_kept(pictures: Tensor) -> None:
    run = train(
        pictures, "out", steps=14, keep_checkpoints=1, keep_every=6, keep_best="min:g_loss"
    ).fit()
    best = min((row for row in run.history if row["step"] % 2 == 0), key=lambda row: row["g_loss"])
    expected = {6, 12, 14, int(best["step"])}
    assert steps_kept("out") == [f"step-{step:08d}" for step in sorted(expected)]


def test_the_best_is_remembered_over_a_resume(pictures: Tensor) -> None:
    settings = {"keep_checkpoints": 1, "keep_best": "max:d_grad", "steps": 16}
    train(pictures, "whole", **settings).fit()
    train(pictures, "out", At(9, lambda trainer: trainer.stop()), **settings).fit()
    resumed = resume("out", pictures)
    assert resumed.parts()["keeper"].best is not None
    resumed.fit()
    assert_same_runs("whole", "out")


def test_a_number_that_no_row_has_is_refused_at_once(pictures: Tensor) -> None:
    trainer = train(pictures, "out", keep_best="min:g_los")
    with pytest.raises(ConfigError, match="has no 'g_los'. Did you mean 'g_loss'"):
        trainer.fit()
    assert not Path("out").exists()
    with pytest.raises(ConfigError, match="keep_best"):
        train(pictures, "out", keep_best="g_loss")


def test_writing_goes_on_beside_the_training(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, writer, trained = checkpoint.save, [], threading.Event()

    def slow(*arguments: Any, **options: Any) -> Path:
        writer.append(threading.current_thread())
        assert trained.wait(30)  # the training is two iterations on
        return real(*arguments, **options)

    monkeypatch.setattr(checkpoint, "save", slow)
    trainer = train(pictures, "out", At(4, lambda _: trained.set()), checkpoint_every=3)
    trainer.fit()
    assert writer
    assert threading.main_thread() not in writer
    monkeypatch.setattr(checkpoint, "save", real)
    train(pictures, "whole", checkpoint_every=3).fit()
    assert_same_runs("whole", "out")


def test_a_failure_beside_the_training_ends_it_with_one_sentence(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = artifact.write_json

    def full(path: Path, value: Any) -> None:
        if "step-00000004" in str(path):
            raise OSError(28, "No space left on device")
        real(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(artifact, "write_json", full)
        with pytest.raises(CheckpointError, match="No space left on device") as caught:
            train(pictures, "out").fit()
    assert "\n" not in str(caught.value)
    assert steps_kept("out") == ["step-00000002"]
    resume("out", pictures).fit()
    train(pictures, "whole").fit()
    assert_same_runs("whole", "out")


def test_a_failing_save_does_not_hide_why_training_ended(
    pictures: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> Path:
        raise CheckpointError("No space left on device")

    def fail(trainer: ganzoo.Trainer, row: Any) -> None:
        if trainer.step == 2:
            background = trainer.parts()["keeper"].background
            background.submit(full)
            background.settle()
            die()

    with pytest.raises(RuntimeError, match="gone"):
        train(pictures, "out", on("on_log", fail)).fit()
    assert "No space left on device" in caplog.text


def test_a_folder_that_vanishes_is_said(pictures: Tensor) -> None:
    def vanish(trainer: ganzoo.Trainer) -> None:
        trainer.parts()["keeper"].background.settle()
        shutil.rmtree("out")

    trainer = train(pictures, "out", At(3, vanish))
    with pytest.raises(RunFolderError, match="has vanished"):
        trainer.fit()


# -- other processes ------------------------------------------------------------------------------


def test_two_trainers_do_not_share_a_run(pictures: Tensor) -> None:
    refused = []

    def meddle(trainer: ganzoo.Trainer) -> None:
        with pytest.raises(RunFolderError, match=f"process {os.getpid()} on") as caught:
            resume("out", pictures)
        refused.append(str(caught.value))

    train(pictures, "out", At(3, meddle)).fit()
    assert len(refused) == 1
    RunLock(Path("out")).release()  # free again


def test_a_run_that_went_on_elsewhere_is_not_continued_from_an_old_state(pictures: Tensor) -> None:
    train(pictures, "out", steps=4).fit()
    old = resume("out", pictures, steps=8)
    resume("out", pictures, steps=6).fit()
    with pytest.raises(RunFolderError, match="Another process has trained in out since"):
        old.fit()
    assert ganzoo.Run("out").history[-1]["step"] == 6


def test_going_on_from_an_earlier_checkpoint_forgets_the_later_ones(pictures: Tensor) -> None:
    trainer = train(pictures, "out", keep_checkpoints=9)
    trainer.fit()
    trainer.load_checkpoint("out/checkpoints/step-00000004")
    trainer.callbacks = [At(5, lambda trainer: trainer.stop())]
    trainer.fit()
    assert steps_kept("out") == [f"step-{step:08d}" for step in (2, 4, 5)]
    trainer.callbacks = []
    trainer.fit()
    train(pictures, "whole", keep_checkpoints=9).fit()
    shutil.rmtree("out/checkpoints/step-00000005")
    assert_same_runs("whole", "out")


# -- random numbers -------------------------------------------------------------------------------


class Draws(Callback):
    """Draws from every global generator, as a careless plug-in does."""

    def __init__(self) -> None:
        self.drawn: list[tuple[float, ...]] = []

    def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
        self.drawn.append(
            (random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(),
             torch.rand(()).item())
        )  # fmt: skip


def test_global_generators_go_on_where_they_were(pictures: Tensor) -> None:
    whole, first, second = Draws(), Draws(), Draws()
    train(pictures, "whole", whole).fit()
    train(pictures, "out", first, At(3, lambda trainer: trainer.stop())).fit()
    random.seed(), np.random.seed(), torch.seed()
    resumed = resume("out", pictures)
    resumed.callbacks = [second]
    resumed.fit()
    assert first.drawn + second.drawn == whole.drawn
    assert len(set(whole.drawn)) == SETTINGS["steps"]


def test_states_that_are_none_are_refused() -> None:
    device = torch.device("cpu")
    tensors = seeds.states(device)
    seeds.restore(tensors, device)
    for name in tensors:
        with pytest.raises((RuntimeError, KeyError, TypeError, ValueError)):
            seeds.restore({**tensors, name: torch.zeros(3, dtype=torch.uint8)}, device)
    with pytest.raises(KeyError):
        seeds.restore({}, device)


def test_another_machine_is_told(pictures: Tensor) -> None:
    train(pictures, "out", steps=4).fit()
    path = Path("out/environment.json")
    facts = json.loads(path.read_text(encoding="utf-8"))
    assert facts["format_version"] == 1
    assert resume("out", pictures, steps=8).notices == []
    path.write_text(json.dumps({**facts, "threads": 99}), encoding="utf-8")
    (notice,) = resume("out", pictures, steps=8).notices
    assert "threads 99, now" in notice
    path.write_text("{", encoding="utf-8")
    resume("out", pictures, steps=8).fit()


def test_deterministic_algorithms_are_asked_for_while_playing(pictures: Tensor) -> None:
    during = []

    class OutputFormat(torch.nn.Identity):
        def forward(self, x: Tensor) -> Tensor:
            during.append(torch.are_deterministic_algorithms_enabled())
            return x

    for asked in (True, False):
        trainer = train(pictures, f"out-{asked}", deterministic=asked, steps=1)
        trainer.setup()
        trainer.game.generator.add_module("look", OutputFormat())
        trainer.game.generator.register_forward_pre_hook(lambda net, inputs: net.look(inputs[0]))
        during.clear()
        trainer.fit()
        assert during[0] is asked
        assert not torch.are_deterministic_algorithms_enabled()


# -- numbers that go wrong ------------------------------------------------------------------------


def poison(where: str) -> Callable[[ganzoo.Trainer], None]:
    """Make the next iteration's numbers wrong, once."""

    def act(trainer: ganzoo.Trainer) -> None:
        game = trainer.game
        net = game.generator if where.startswith("generator") else game.discriminator
        parameter = next(net.parameters())
        if where.endswith("gradient"):

            def spoil(gradient: Tensor) -> Tensor:
                handle.remove()
                return gradient * float("nan")

            handle = parameter.register_hook(spoil)
        else:
            real = game.loss

            class Once:
                def __getattr__(self, name: str) -> Any:
                    return getattr(real, name)

                def discriminator_loss(self, step: Any) -> Tensor:
                    game.loss = real
                    return real.discriminator_loss(step) * float("inf")

            game.loss = Once()  # type: ignore[assignment]

    return act


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("generator gradient", r"The gradient of generator\.\S+ is not finite since step 4"),
        ("discriminator gradient", r"The gradient of discriminator\.\S+ is not finite since"),
        ("discriminator loss", "The discriminator's loss is not finite since step 4"),
    ],
)
def test_the_diagnosis_names_tensor_step_and_checkpoint(
    where: str, told: str, pictures: Tensor
) -> None:
    with pytest.raises(DivergenceError, match=told) as caught:
        train(pictures, "out", At(3, poison(where)), log_every=7, checkpoint_every=3).fit()
    text = str(caught.value)
    assert "\n" not in text
    assert "noticed at step 6" in text  # when it would have been saved
    assert f"The last good checkpoint is {Path('out/checkpoints/step-00000003')}" in text
    assert "ganzoo resume out --nan-policy rollback" in text
    assert steps_kept("out") == ["step-00000003"]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize(
    "where", ["generator gradient", "discriminator gradient", "discriminator loss"]
)
def test_skipping_leaves_no_trace(where: str, optimizer: str, pictures: Tensor) -> None:
    seen: dict[int, dict[str, Tensor]] = {}

    class Keep(Callback):
        def on_step(self, trainer: ganzoo.Trainer, step: Any) -> None:
            tensors, _ = collect(trainer.game.parts())
            seen[trainer.step] = {name: value.clone() for name, value in tensors.items()}

    settings = {"nan_policy": "skip", "g_optimizer": optimizer, "d_optimizer": optimizer}
    for step in (0, 3):  # at once, when optimizers have no state yet, and later
        bad = At(step, poison(where))
        trainer = train(pictures, f"out-{step}", bad, Keep(), **settings)
        trainer.setup()
        if not step:
            tensors, _ = collect(trainer.game.parts())
            seen[0] = {name: value.clone() for name, value in tensors.items()}
            bad.on_step(trainer, None)
        run = trainer.fit()
        player = where.split()[0]
        of_player = [f"{player}.{name}" for name, _ in trainer.nets()[player].named_parameters()]
        of_player += [name for name in seen[step] if name.startswith(f"{player[0]}_optimizer.")]
        for name in of_player:
            assert torch.equal(seen[step][name], seen[step + 1][name]), name
        assert any(
            not torch.equal(value, seen[8][name])
            for name, value in seen[step + 1].items()
            if name in of_player
        )
        assert all(
            value.isfinite().all() for value in seen[8].values() if value.is_floating_point()
        )
        assert run.history[-1]["skipped"] == 1
        assert all(np.isfinite(value) for row in run.history for value in row.values())


def test_a_bad_batch_spoils_no_running_statistics(pictures: Tensor) -> None:
    trainer = train(pictures, "out", nan_policy="skip")
    trainer.setup()
    draw = trainer.loader.next

    def bad_once() -> tuple[Tensor, None]:
        batch, _ = draw()
        if trainer.step == 3:
            batch[0] = float("nan")
        return batch, None

    trainer.loader.next = bad_once  # type: ignore[assignment]
    run = trainer.fit()
    assert run.history[-1]["skipped"] == 1
    for net in trainer.nets().values():
        assert all(value.isfinite().all() for value in net.state_dict().values())


def test_skipping_everything_is_no_training(pictures: Tensor) -> None:
    def ruin(trainer: ganzoo.Trainer) -> None:
        with torch.no_grad():
            next(trainer.game.discriminator.parameters()).fill_(float("nan"))

    with pytest.raises(DivergenceError, match="all updates were left out"):
        train(
            pictures, "out", At(2, ruin), nan_policy="skip", checkpoint_every=0, log_every=3
        ).fit()


def test_going_back_halves_the_learning_rates_and_goes_on(pictures: Tensor) -> None:
    told: list[Any] = []
    hear = on("on_diagnosis", lambda _, diagnosis: told.append(diagnosis))
    bad = At(5, poison("generator gradient"))
    run = train(pictures, "out", bad, hear, nan_policy="rollback").fit()
    rates = {row["step"]: row["g_lr"] for row in run.history}
    assert [*rates] == [2, 4, 6, 8]
    assert rates[4] == 2 * rates[6] == 2 * rates[8]
    (back,) = [each for each in told if each.kind == "rollback"]
    assert back.step == 4
    assert "gradient of generator." in back.text
    assert "went back from step 6 to the checkpoint of step 4" in back.text
    assert back.text in [each["text"] for each in run.diagnoses]
    resumed = resume("out", pictures, steps=10)
    assert resumed.parts()["keeper"].rollbacks == 1
    resumed.fit()
    assert ganzoo.Run("out").history[-1]["g_lr"] == rates[8]


def test_going_back_is_possible_before_the_first_checkpoint(pictures: Tensor) -> None:
    run = train(
        pictures,
        "out",
        At(1, poison("discriminator loss")),
        nan_policy="rollback",
        checkpoint_every=100,
        log_every=4,
    ).fit()
    assert run.history[0]["step"] == 4
    assert run.diagnoses[0]["step"] == 0


def test_going_back_ends_after_a_limit(pictures: Tensor) -> None:
    def always(trainer: ganzoo.Trainer, step: Any) -> None:
        if trainer.step == 5:
            poison("generator gradient")(trainer)

    bad = on("on_step", always)
    with pytest.raises(DivergenceError, match="2 times half of them was not enough"):
        train(pictures, "out", bad, nan_policy="rollback", max_rollbacks=2).fit()
    assert len(ganzoo.Run("out").diagnoses) == 2
    assert steps_kept("out")[-1] == "step-00000004"


def test_a_stopped_run_goes_on_with_another_policy(pictures: Tensor) -> None:
    with pytest.raises(DivergenceError):
        train(pictures, "out", At(5, poison("generator gradient"))).fit()
    resumed = resume("out", pictures, nan_policy="rollback")
    assert resumed.step == 4
    resumed.callbacks = [At(5, poison("generator gradient"))]
    run = resumed.fit()
    assert run.history[-1]["step"] == 8
    assert run.config.nan_policy == "rollback"


def test_rows_tell_gradients_and_diversity(pictures: Tensor) -> None:
    run = train(pictures, "out").fit()
    for row in run.history:
        assert row["d_grad"] > 0
        assert row["g_grad"] > 0
        assert 0 < row["diversity"] < 10


# -- what a strict reader of the code has found ---------------------------------------------------


def test_a_bad_latent_does_not_reach_the_average(pictures: Tensor) -> None:
    trainer = train(pictures, "out", nan_policy="skip")
    trainer.setup()
    draw, drawn = trainer.game.draw, []

    def bad_for_g(count: int) -> Tensor:
        latent = draw(count)
        drawn.append(latent)
        if len(drawn) == 6:  # D and G take turns: G's of the third iteration
            latent[0] = float("nan")
        return latent

    trainer.game.draw = bad_for_g  # type: ignore[method-assign]
    run = trainer.fit()
    assert run.history[-1]["skipped"] == 1
    for net in trainer.nets().values():
        assert all(value.isfinite().all() for value in net.state_dict().values())


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these to itself")
def test_a_signal_counts_though_the_same_iteration_goes_back(pictures: Tensor) -> None:
    def both(trainer: ganzoo.Trainer) -> None:
        poison("generator gradient")(trainer)
        signal.raise_signal(signal.SIGTERM)

    trainer = train(pictures, "out", At(5, both), nan_policy="rollback", steps=40)
    trainer.setup()
    trainer.callbacks.append(At(5, lambda _: None))
    with pytest.raises(SystemExit):
        trainer.fit()
    assert trainer.step == 5


def test_stopping_on_the_way_back_is_heard(pictures: Tensor) -> None:
    enough = on("on_diagnosis", lambda trainer, _: trainer.stop())
    bad = At(5, poison("generator gradient"))
    trainer = train(pictures, "out", bad, enough, nan_policy="rollback")
    trainer.fit()
    assert trainer.step == 4


@pytest.mark.parametrize("nan_policy", ["stop", "rollback"])
@pytest.mark.parametrize("step", [1, 5, 7])
def test_training_goes_on_in_the_same_process_after_any_end(
    step: int, nan_policy: str, pictures: Tensor
) -> None:
    """As in a notebook: the cell is interrupted twice, and run again."""

    def trainer_of(out: str) -> ganzoo.Trainer:
        bad = [At(3, poison("generator gradient"))] if nan_policy == "rollback" else []
        return train(pictures, out, *bad, steps=12, nan_policy=nan_policy)

    trainer = trainer_of("out")
    trainer.setup()
    real = trainer.game.update_generator

    def interrupted(*arguments: Any) -> Any:
        if trainer.step == step:  # D has learnt, G has not
            trainer.game.update_generator = real  # type: ignore[method-assign]
            raise KeyboardInterrupt
        return real(*arguments)

    trainer.game.update_generator = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    run = trainer.fit()
    assert any("was left in the middle" in notice for notice in trainer.notices)
    assert run.history[-1]["step"] == 12
    trainer_of("whole").fit()
    assert_same_runs("whole", "out")


@pytest.mark.parametrize("hook", ["on_log", "on_picture", "on_checkpoint", "on_close"])
def test_a_hook_that_fails_once_costs_nothing(hook: str, pictures: Tensor) -> None:
    failed = []

    def fail(trainer: ganzoo.Trainer, *what: Any) -> None:
        if not failed and trainer.step >= 4:
            failed.append(trainer.step)
            die()

    trainer = train(pictures, "out", on(hook, fail))
    with pytest.raises(RuntimeError, match="gone"):
        trainer.fit()
    RunLock(Path("out")).release()  # free
    trainer.fit()
    train(pictures, "whole").fit()
    assert_same_runs("whole", "out")


def test_nobody_else_comes_in_while_a_write_goes_on(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving at once does not wait for the write, which may live on, as in a notebook."""
    go, real = threading.Event(), checkpoint.save

    def slow(*arguments: Any, **options: Any) -> Path:
        assert go.wait(10)
        return real(*arguments, **options)

    def leave(trainer: ganzoo.Trainer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", slow)
    monkeypatch.setattr("ganzoo.files.lock._PATIENCE", 0.1)
    with pytest.raises(KeyboardInterrupt):
        train(pictures, "out", At(3, leave)).fit()
    with pytest.raises(RunFolderError, match="is training in out"):
        RunLock(Path("out"))
    go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ganzoo-"):
            thread.join(10)
    RunLock(Path("out")).release()
    assert steps_kept("out") == ["step-00000002"]


def test_closing_is_complete_whatever_fails(pictures: Tensor) -> None:
    closed: list[int] = []
    trainer = train(pictures, "out", on("on_close", lambda trainer: closed.append(trainer.step)))
    trainer.setup()

    def interrupted() -> None:
        raise KeyboardInterrupt

    trainer.loader.close = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert closed == [8]
    RunLock(Path("out")).release()


def test_a_run_that_lost_its_checkpoints_is_not_wiped(pictures: Tensor) -> None:
    train(pictures, "out").fit()
    rows = Path("out/metrics.jsonl").read_bytes()
    for part in ("checkpoints", *(f"checkpoints/{name}" for name in steps_kept("out"))):
        shutil.move("out/checkpoints", "aside")
        if part != "checkpoints":
            Path("out/checkpoints").mkdir()
        with pytest.raises(RunFolderError, match="its checkpoints are gone"):
            resume("out", pictures)
        shutil.rmtree("out/checkpoints", ignore_errors=True)
        shutil.move("aside", "out/checkpoints")
    assert Path("out/metrics.jsonl").read_bytes() == rows
    assert resume("out", pictures).step == 8


def test_a_kill_before_the_first_checkpoint_is_whole_loses_nothing(pictures: Tensor) -> None:
    """The row of the second checkpoint's step may be there before the first one is written."""
    train(pictures, "out", log_every=1, steps=4).fit()
    for name in steps_kept("out"):
        shutil.rmtree(Path("out/checkpoints", name))
    assert [row["step"] for row in ganzoo.Run("out").history] == [1, 2, 3, 4]
    resumed = resume("out", pictures)
    assert any("starts afresh" in notice for notice in resumed.notices)
    resumed.fit()
    train(pictures, "whole", log_every=1, steps=4).fit()
    assert_same_runs("whole", "out")


@pytest.mark.parametrize(
    "error", [MemoryError(), PermissionError(13, "Permission denied"), OSError(5, "I/O error")]
)
def test_what_cannot_be_read_now_is_not_taken_for_damage(
    error: Exception, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: Any) -> Any:
        raise error

    train(pictures, "out").fit()
    before = steps_kept("out")
    with monkeypatch.context() as patch:
        patch.setattr(untrusted, "tensors", fail)
        with pytest.raises(CheckpointError, match="cannot be read") as caught:
            resume("out", pictures)
    assert type(error).__name__ in str(caught.value) or str(error) in str(caught.value)
    assert steps_kept("out") == before


def test_checkpoints_under_each_others_names_are_damage(pictures: Tensor) -> None:
    train(pictures, "out", keep_checkpoints=3).fit()
    folder = Path("out/checkpoints")
    (folder / "step-00000006").rename(folder / "x")
    (folder / "step-00000008").rename(folder / "step-00000006")
    (folder / "x").rename(folder / "step-00000008")
    resumed = resume("out", pictures)
    assert resumed.step == 4
    assert "it holds the state of step 6" in " ".join(resumed.notices)


def test_going_back_past_a_damaged_checkpoint_sets_it_aside(pictures: Tensor) -> None:
    def damage(trainer: ganzoo.Trainer) -> None:
        trainer.parts()["keeper"].background.settle()
        Path("out/checkpoints/step-00000004/state.json").write_bytes(b"")
        poison("generator gradient")(trainer)

    run = train(pictures, "out", At(5, damage), nan_policy="rollback", keep_checkpoints=3).fit()
    (told,) = run.diagnoses
    assert "to the checkpoint of step 2" in told["text"]
    assert "renamed to broken-step-00000004" in told["text"]
    assert "broken-step-00000004" in steps_kept("out")


def test_a_kill_after_going_back_does_not_forget_it(pictures: Tensor) -> None:
    bad = At(5, poison("generator gradient"))
    with pytest.raises(RuntimeError, match="gone"):
        train(pictures, "out", bad, on("on_diagnosis", die), nan_policy="rollback").fit()
    resumed = resume("out", pictures)
    keeper = resumed.parts()["keeper"]
    assert (resumed.step, keeper.rollbacks, keeper.lr_scale) == (4, 1, 0.5)


def test_at_most_one_copy_of_the_state_is_held(
    pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganzoo.training import stage as module

    real_save, real_copy, held, most = checkpoint.save, module.own_copies, [0], []

    def copied(tensors: Any) -> Any:
        held[0] += 1
        most.append(held[0])
        return real_copy(tensors)

    def slow(*arguments: Any, **options: Any) -> Path:
        threading.Event().wait(0.05)
        path = real_save(*arguments, **options)
        held[0] -= 1
        return path

    monkeypatch.setattr(module, "own_copies", copied)
    monkeypatch.setattr(checkpoint, "save", slow)
    train(pictures, "out", checkpoint_every=1).fit()
    assert most == [1] * 8


def test_hooks_are_told_of_checkpoints_that_are_there(pictures: Tensor) -> None:
    seen: list[tuple[str, bool]] = []
    hear = on("on_checkpoint", lambda _, path: seen.append((path.name, path.is_dir())))
    train(pictures, "out", hear, checkpoint_every=1, keep_checkpoints=1).fit()
    assert seen == [(f"step-{step:08d}", True) for step in range(1, 9)]


def test_what_others_put_into_a_run_stays(pictures: Tensor) -> None:
    train(pictures, "out", steps=4).fit()
    Path("out/samples/favourite.png").write_bytes(b"mine")
    Path("out/snapshots/step-best").mkdir(parents=True)
    resume("out", pictures, steps=8).fit()
    assert Path("out/samples/favourite.png").is_file()
    assert Path("out/snapshots/step-best").is_dir()


@pytest.mark.parametrize("line", ['{"st', "[1]", '{"g_loss": 1}', '{"step": "x"}'])
def test_a_damaged_row_is_named(line: str, pictures: Tensor) -> None:
    train(pictures, "out", steps=4).fit()
    path = Path("out/metrics.jsonl")
    path.write_text(f"{line}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    with pytest.raises(RunFolderError, match="Line 1 of .*metrics.jsonl is damaged"):
        resume("out", pictures, steps=8).fit()


def test_a_total_below_what_is_done_is_refused(pictures: Tensor) -> None:
    train(pictures, "out").fit()
    config = Path("out/config.yaml").read_bytes()
    with pytest.raises(ConfigError, match="already been trained for 8 steps, more than 5"):
        resume("out", pictures, steps=5)
    assert Path("out/config.yaml").read_bytes() == config


def test_stopping_before_the_first_iteration_ends_well(pictures: Tensor, plotted: None) -> None:
    never = on("on_start", lambda trainer, run: trainer.stop())
    trainer = train(pictures, "out", never, checkpoint_every=0, sample_every=0)
    trainer.stop()  # before fit it is no request
    assert trainer.fit().history == []
    trainer.callbacks = []
    assert trainer.fit().history[-1]["step"] == 8


def test_scores_that_are_not_finite_are_noticed(pictures: Tensor) -> None:
    trainer = train(pictures, "out", log_every=2)
    trainer.setup()
    real = trainer.game.loss

    class Odd:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def score(self, logits: Tensor) -> Tensor:
            return logits * float("inf")

    trainer.game.loss = Odd()  # type: ignore[assignment]
    with pytest.raises(DivergenceError, match="What D says of real or generated samples is not"):
        trainer.fit()


def test_saving_comes_first_when_time_is_short(pictures: Tensor) -> None:
    broken, stop = on("on_picture", die), At(3, lambda trainer: trainer.stop())
    with pytest.raises(RuntimeError, match="gone"):
        train(pictures, "out", broken, stop, sample_every=100, checkpoint_every=100).fit()
    assert steps_kept("out") == ["step-00000003"]


def test_the_best_needs_checkpoints(pictures: Tensor) -> None:
    with pytest.raises(ConfigError, match="keep_best needs checkpoints"):
        train(pictures, "out", keep_best="min:g_loss", checkpoint_every=0).fit()


def test_a_link_in_the_generators_folder_is_left_alone(pictures: Tensor) -> None:
    train(pictures, "out", steps=4).fit()
    private = Path("private")
    private.touch(mode=0o600)
    Path("out/generator/link").symlink_to(private.absolute())
    Path("out/generator/dangling").symlink_to("nowhere")
    resume("out", pictures, steps=8).fit()
    assert private.stat().st_mode & 0o777 == 0o600
    assert Path("out/generator/dangling").is_symlink()


def test_own_loops_stop_and_go_on(pictures: Tensor) -> None:
    trainer = train(pictures, "out")
    for _ in trainer.iterations():
        if trainer.step == 3:
            trainer.stop()
    assert trainer.step == 3
    assert [trainer.step for _ in trainer.iterations()] == [4, 5, 6, 7, 8]
