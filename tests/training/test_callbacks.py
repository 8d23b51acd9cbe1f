from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from rich.console import Console

from ganzoo.core.device import Precision
from ganzoo.core.spec import SampleSpec
from ganzoo.errors import ConfigError, DataError, RegistrationError
from ganzoo.trackers import Log
from ganzoo.training import progress as progress_module
from ganzoo.training.callbacks import Callback
from ganzoo.training.diagnosis import Diagnosis
from ganzoo.training.progress import Progress
from ganzoo.training.tracking import Tracking

HOOKS = [
    "on_start",
    "on_step",
    "on_log",
    "on_diagnosis",
    "on_evaluate",
    "on_scores",
    "on_picture",
    "on_checkpoint",
    "on_end",
    "on_close",
]


def test_hooks_may_be_overridden_one_by_one() -> None:
    for hook in HOOKS:
        cls = type("Mine", (Callback,), {hook: lambda self, *arguments: None, "other": 1})
        assert isinstance(cls(), Callback)


def test_hooks_do_nothing_by_default() -> None:
    callback = Callback()
    for hook in HOOKS:
        count = {"on_close": 1, "on_evaluate": 1, "on_scores": 3}.get(hook, 2)
        assert getattr(callback, hook)(*[None] * count) is None


@pytest.mark.parametrize(
    ("name", "hint"), [("on_stpe", " Did you mean 'on_step'?"), ("on_zebra_crossing", "")]
)
def test_a_misspelt_hook(name, hint) -> None:
    with pytest.raises(RegistrationError) as caught:
        type("Mine", (Callback,), {name: lambda self: None})
    assert str(caught.value) == f"Mine.{name} is not a hook.{hint} Hooks: {', '.join(HOOKS)}."


def test_a_misspelt_hook_of_a_grandchild() -> None:
    with pytest.raises(RegistrationError, match=r"Mine\.on_begin is not a hook"):
        type("Mine", (Progress,), {"on_begin": lambda self: None})


# -- progress -------------------------------------------------------------------------------------

ROW = {"d_loss": 1.2345, "g_loss": 0.5, "d_real": 0.756, "d_fake": 0.25}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.fixture
def trainer() -> SimpleNamespace:
    named = {key: SimpleNamespace(name=key, called=key) for key in ("arch", "dataset", "loss")}
    return SimpleNamespace(
        config=SimpleNamespace(batch_size=8, **named),
        precision=Precision("fp32", "as asked"),
        device=SimpleNamespace(type="cpu"),
        spec=SampleSpec(shape=(1, 28, 28)),
        modes=None,
        notices=["[images] are padded"],
        total_steps=1000,
        images_per_step=8,
        step=0,
        best_step=None,
    )


RUN = SimpleNamespace(path=Path("runs/one"))


def shown(**options) -> tuple[Progress, StringIO]:
    """A progress and what it writes; options are its own or of the console."""
    own = {key: options.pop(key) for key in ("every", "results") if key in options}
    file = StringIO()
    return Progress(
        Console(**{"file": file, "width": 200, "highlight": False} | options), **own
    ), file


def lines(file: StringIO) -> list[str]:
    return file.getvalue().splitlines()


def test_plain_lines(trainer, clock) -> None:
    progress, file = shown(every=10)
    progress.on_start(trainer, RUN)
    assert lines(file) == [
        "arch on dataset (28x28 greyscale image) with loss: 1000 steps of 8, cpu, fp32 (as asked)",
        "note: [images] are padded",
        f"run: {RUN.path}",
    ]

    clock.seconds, trainer.step = 105.0, 50
    progress.on_step(trainer, None)
    progress.on_log(trainer, ROW)
    assert len(lines(file)) == 3  # too early
    clock.seconds, trainer.step = 110.5, 100
    progress.on_log(trainer, ROW)
    expected = (
        "step 100/1000  loss D 1.234 G 0.500  D(x) 0.76  D(G(z)) 0.25  76 images/s  1:34 left"
    )
    assert lines(file)[3:] == [expected]
    clock.seconds, trainer.step = 115.0, 110
    progress.on_log(trainer, ROW)
    assert lines(file)[3:] == [expected]  # ten seconds after the last line, not the last row

    progress.on_picture(trainer, Path("a.png"))
    progress.on_picture(trainer, Path("b.png"))
    clock.seconds, trainer.step = 200.0, 1000
    progress.on_end(trainer, RUN)
    progress.on_close(trainer)
    assert lines(file)[4:] == [
        "step 1000/1000  loss D 1.234 G 0.500  D(x) 0.76  D(G(z)) 0.25  80 images/s  0:00 left",
        "picture: b.png",
        f"generator: {RUN.path / 'generator'}",
    ]
    assert "\x1b" not in file.getvalue()


def test_a_resumed_training_counts_its_own_steps(trainer, clock) -> None:
    progress, file = shown(every=0)
    trainer.step = 900
    progress.on_start(trainer, RUN)
    clock.seconds, trainer.step = 110.0, 950
    progress.on_log(trainer, ROW)
    assert lines(file)[-1].endswith("40 images/s  0:10 left")


def test_an_end_without_numbers(trainer, clock) -> None:
    progress, file = shown()
    progress.on_end(trainer, RUN)
    assert lines(file) == [f"generator: {RUN.path / 'generator'}"]


def test_long_lines_are_not_broken(trainer, capsys, clock) -> None:
    trainer.notices = ["word " * 60 + "end"]
    Progress().on_start(trainer, RUN)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"note: {'word ' * 60}end\n" in err


def test_the_display_on_a_terminal(trainer, clock) -> None:
    progress, file = shown(force_terminal=True, width=120, height=30, color_system=None)
    progress.on_start(trainer, RUN)
    try:
        clock.seconds, trainer.step = 110.0, 250
        progress.on_log(trainer, ROW)
        progress.on_picture(trainer, Path("samples/step-250.png"))
        progress.on_step(trainer, None)
    finally:
        progress.on_close(trainer)
    text = file.getvalue()
    for part in (
        "250/1000",
        "loss D 1.234 G 0.500  D(x) 0.76  D(G(z)) 0.25",
        "200 images/s",
        "0:30 left",
        "picture: samples/step-250.png",
    ):
        assert part in text
    assert "step 250/1000" not in text  # no plain lines beside the display
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back
    progress.on_close(trainer)  # once more does no harm
    assert file.getvalue() == text


def test_the_display_before_the_first_numbers(trainer, clock) -> None:
    progress, file = shown(force_terminal=True, width=120, color_system=None)
    progress.on_start(trainer, RUN)
    progress.on_close(trainer)
    assert "0/1000" in file.getvalue()
    assert "waiting for the first numbers" in file.getvalue()


WARNING = Diagnosis(340, "d-wins", f"D wins [{'word ' * 50}--d-optimizer.lr 5e-05].")


def test_a_diagnosis_is_printed_at_once(trainer, clock) -> None:
    progress, file = shown(soft_wrap=True, every=1e9)
    progress.on_start(trainer, RUN)
    trainer.step = 340
    progress.on_log(trainer, ROW)  # too early for a line of numbers
    progress.on_diagnosis(trainer, WARNING)
    assert lines(file)[3:] == [f"warning: step 340: {WARNING.text}"]


def test_a_diagnosis_stays_above_the_display(trainer, clock) -> None:
    progress, file = shown(force_terminal=True, soft_wrap=True, width=80, color_system=None)
    progress.on_start(trainer, RUN)
    try:
        progress.on_diagnosis(trainer, WARNING)
        assert f"warning: step 340: {WARNING.text}\n" in file.getvalue()
        before = file.getvalue()
        clock.seconds += 1
        progress.on_step(trainer, None)
    finally:
        progress.on_close(trainer)
    after = file.getvalue().removeprefix(before)
    # The display is drawn anew below it, and rubs out no more lines than its own two.
    assert "0/1000" in before.rpartition(WARNING.text)[2] and "0/1000" in after
    assert after.count("\x1b[2K") == 2 * after.count("0/1000")


def test_an_end_that_is_none_shows_nothing_more(trainer, clock) -> None:
    progress, file = shown(every=1e9)
    progress.on_start(trainer, RUN)
    progress.on_log(trainer, ROW)
    progress.on_picture(trainer, Path("a.png"))
    progress.on_close(trainer)  # a signal: there is no on_end
    assert len(lines(file)) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3600, "1:00:00"),
        (7384, "2:03:04"),
    ],
)
def test_clock(seconds, text) -> None:
    assert progress_module._clock(seconds) == text


@pytest.mark.parametrize(("modes", "collapse"), [(1, " (mode collapse)"), (3, "")])
def test_mode_collapse_is_named(clock, trainer, modes, collapse) -> None:
    trainer.spec = SampleSpec(kind="vector", shape=(2,), value_range=None)
    trainer.modes = 3
    progress, file = shown(soft_wrap=True, every=0.0, results=False)
    progress.on_start(trainer, SimpleNamespace(path=Path("run")))
    clock.seconds += 1
    row = {**ROW, "modes": modes, "modes_due": 1, "high_quality": 0.975, "rarest_mode": 0.25}
    progress.on_log(trainer, row)
    progress.on_end(trainer, SimpleNamespace(path=Path("run")))
    *_, line, last = file.getvalue().splitlines()
    assert f"D(G(z)) 0.25  modes {modes}  " in line and "samples/s" in line
    assert last == (
        f"modes covered: {modes} of 3{collapse}, 1 with a quarter of their due, 97.5% of the "
        f"samples within three standard deviations of one, rarest mode 25.0%"
    )


def test_one_mode_is_no_news(clock, trainer) -> None:
    trainer.spec = SampleSpec(kind="vector", shape=(1,), value_range=None)
    trainer.modes = 1
    progress, file = shown(soft_wrap=True, every=0.0, results=False)
    progress.on_start(trainer, RUN)
    clock.seconds += 1
    progress.on_log(trainer, {**ROW, "modes": 1, "high_quality": 0.975, "rarest_mode": 1.0})
    progress.on_end(trainer, RUN)
    assert "modes covered" not in file.getvalue()


# -- tracking -------------------------------------------------------------------------------------


class Recorder(Log):
    """Keeps what it is told, until it breaks."""

    def __init__(self, told, breaks_at=""):
        self.told = told
        self.breaks_at = breaks_at

    def _tell(self, method, *arguments):
        self.told.append((method, *arguments))
        if method == self.breaks_at:
            raise OSError(28, "No space\nleft on device")

    def scalars(self, step, values):
        self._tell("scalars", step, values)

    def images(self, step, name, image):
        self._tell("images", step, name, image.mode, image.getpixel((0, 0)))

    def finish(self):
        self._tell("finish")


class FakeTracker:
    """Opens recorders."""

    def __init__(self, name="fake", breaks_at="", fault=None):
        self.name = name
        self.breaks_at = breaks_at
        self.fault = fault
        self.told = []

    def open(self, folder, settings, step):
        if self.fault:
            raise self.fault
        self.told.append(("open", folder, settings, step))
        return Recorder(self.told, self.breaks_at)

    @property
    def methods(self):
        return [method for method, *_ in self.told]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "step-00000100.png"
    Image.new("RGB", (2, 2), (1, 2, 3)).save(path)
    return path


def tracked(*trackers: FakeTracker) -> SimpleNamespace:
    config = SimpleNamespace(trackers=trackers, dump=lambda: {"steps": 200})
    return SimpleNamespace(config=config, step=20)


def test_trackers_are_told_everything(picture) -> None:
    fake, other = FakeTracker(), FakeTracker()
    trainer, tracking = tracked(fake, other), Tracking()
    tracking.on_start(trainer, RUN)
    trainer.step = 100
    tracking.on_log(trainer, {"step": 100, **ROW})
    tracking.on_picture(trainer, picture)
    assert fake.told == [
        ("open", RUN.path, {"steps": 200}, 20),
        ("scalars", 100, ROW),
        ("images", 100, "samples", "RGB", (1, 2, 3)),
    ]
    tracking.on_close(trainer)
    assert fake.told[3:] == [("finish",)]
    assert other.told == fake.told

    tracking.on_close(trainer)  # closed is closed
    tracking.on_log(trainer, ROW)
    assert len(fake.told) == 4
    tracking.on_start(trainer, RUN)  # fit is called again
    tracking.on_log(trainer, ROW)
    assert fake.methods[4:] == ["open", "scalars"]


def test_without_trackers_nothing_is_done(tmp_path) -> None:
    trainer, tracking = tracked(), Tracking()
    tracking.on_start(trainer, RUN)
    tracking.on_log(trainer, ROW)
    tracking.on_picture(trainer, tmp_path / "no-such.png")
    tracking.on_close(trainer)


def test_scores_go_to_trackers_that_take_them() -> None:
    class Takes(Recorder):
        def scores(self, step, values):
            self._tell("scores", step, values)

    fake = FakeTracker()
    fake.open = lambda *_: Takes(fake.told)
    rows_only = FakeTracker()
    trainer, tracking = tracked(fake, rows_only), Tracking()
    tracking.on_start(trainer, RUN)
    trainer.step = 40
    tracking.on_scores(trainer, 30, {"fid": SimpleNamespace(value=12.5)})
    assert fake.told == [("scores", 30, {"fid": 12.5})]
    tracking.on_log(trainer, ROW)
    assert rows_only.methods == ["open", "scalars"]


@pytest.mark.parametrize("breaks_at", ["scalars", "images"])
def test_a_tracker_that_fails_is_given_up(picture, caplog, breaks_at) -> None:
    broken, sound = FakeTracker("broken", breaks_at), FakeTracker("sound")
    trainer, tracking = tracked(broken, sound), Tracking()
    tracking.on_start(trainer, RUN)
    for trainer.step in (40, 60):
        tracking.on_log(trainer, ROW)
        tracking.on_picture(trainer, picture)
    tracking.on_close(trainer)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("ganzoo", "WARNING")
    assert record.getMessage() == (
        "The tracker 'broken' failed at step 40 (OSError: [Errno 28] No space left on device) and "
        "is given up; the run folder has it all."
    )
    before = ["open", "scalars", "images"][: 2 + (breaks_at == "images")]
    assert broken.methods == [*before, "finish"]
    assert sound.methods == ["open", *2 * ["scalars", "images"], "finish"]


def test_a_tracker_that_fails_in_the_end(caplog) -> None:
    broken, sound = FakeTracker("broken", "finish"), FakeTracker("sound")
    trainer, tracking = tracked(broken, sound), Tracking()
    tracking.on_start(trainer, RUN)
    tracking.on_close(trainer)
    assert [record.getMessage()[:36] for record in caplog.records] == [
        "The tracker 'broken' failed at step "
    ]
    assert broken.methods == sound.methods == ["open", "finish"]


def test_a_failure_is_one_line_on_standard_error() -> None:
    code = (
        "from types import SimpleNamespace\n"
        "from ganzoo.training.tracking import Tracking\n"
        "class Broken:\n"
        "    def scalars(self, step, values): raise OSError('first\\nsecond')\n"
        "    def finish(self): raise OSError('again')\n"
        "tracker = SimpleNamespace(name='broken', open=lambda *_: Broken())\n"
        "config = SimpleNamespace(trackers=[tracker], dump=dict)\n"
        "trainer = SimpleNamespace(config=config, step=3)\n"
        "tracking = Tracking()\n"
        "tracking.on_start(trainer, SimpleNamespace(path=None))\n"
        "tracking.on_log(trainer, {'step': 3})\n"
        "tracking.on_close(trainer)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "The tracker 'broken' failed at step 3 (OSError: first second) and is given up; the run "
        "folder has it all.\n"
    )


def test_ctrl_c_in_a_tracker_is_passed_on() -> None:
    fake = FakeTracker()
    trainer, tracking = tracked(fake), Tracking()
    tracking.on_start(trainer, RUN)

    def interrupt(*_):
        raise KeyboardInterrupt

    tracking._logs[0][1].scalars = interrupt
    with pytest.raises(KeyboardInterrupt):
        tracking.on_log(trainer, ROW)
    tracking.on_close(trainer)
    assert fake.methods == ["open", "finish"]


def test_a_tracker_that_cannot_be_opened() -> None:
    sound, broken = FakeTracker("sound"), FakeTracker("broken", fault=OSError("no\nroom"))
    trainer, tracking = tracked(sound, broken), Tracking()
    with pytest.raises(ConfigError) as caught:
        tracking.on_start(trainer, RUN)
    assert str(caught.value) == (
        "The tracker 'broken' cannot be opened (OSError: no room). Mend the cause, or train "
        "without this tracker."
    )
    tracking.on_close(trainer)
    assert sound.methods == ["open", "finish"]

    own = DataError("The tracker says it itself.")
    with pytest.raises(DataError) as caught:
        tracking.on_start(tracked(FakeTracker(fault=own)), RUN)
    assert caught.value is own


def test_scores_are_printed_with_which_is_the_best(trainer, tmp_path) -> None:
    progress, file = shown()
    trainer.best_step = 20
    for step, value in ((10, 3.25), (20, 1.5)):
        progress.on_scores(trainer, step, {"fid": SimpleNamespace(value=value)})
    assert lines(file) == ["step 10: fid 3.25", "step 20: fid 1.5  (the best so far)"]
    run = SimpleNamespace(path=tmp_path)
    progress.on_end(trainer, run)  # damaged and its checkpoint gone: it is not there
    assert lines(file)[-1] == f"generator: {tmp_path / 'generator'}"
    (tmp_path / "best").mkdir()
    progress.on_end(trainer, run)
    assert lines(file)[-1] == f"best generator: {tmp_path / 'best'} (step 20)"
