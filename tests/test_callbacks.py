from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from ganzoo import callbacks
from ganzoo.callbacks import Callback, Progress
from ganzoo.device import Precision
from ganzoo.errors import RegistrationError
from ganzoo.spec import SampleSpec

HOOKS = ["on_start", "on_step", "on_log", "on_picture", "on_checkpoint", "on_end", "on_close"]


def test_hooks_may_be_overridden_one_by_one() -> None:
    for hook in HOOKS:
        cls = type("Mine", (Callback,), {hook: lambda self, *arguments: None, "other": 1})
        assert isinstance(cls(), Callback)


def test_hooks_do_nothing_by_default() -> None:
    callback = Callback()
    for hook in HOOKS:
        arguments = (None,) if hook == "on_close" else (None, None)
        assert getattr(callback, hook)(*arguments) is None


@pytest.mark.parametrize(
    ("name", "hint"), [("on_stpe", " Did you mean 'on_step'?"), ("on_zebra_crossing", "")]
)
def test_a_misspelt_hook(name, hint) -> None:
    with pytest.raises(RegistrationError) as caught:
        type("Mine", (Callback,), {name: lambda self: None})
    assert str(caught.value) == f"Mine.{name} is no hook.{hint} Hooks: {', '.join(HOOKS)}."


def test_a_misspelt_hook_of_a_grandchild() -> None:
    with pytest.raises(RegistrationError, match=r"Mine\.on_begin is no hook"):
        type("Mine", (Progress,), {"on_begin": lambda self: None})


# -- progress -------------------------------------------------------------------------------------

ROW = {"d_loss": 1.2345, "g_loss": 0.5, "d_real": 0.756, "d_fake": 0.25}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.fixture
def trainer() -> SimpleNamespace:
    named = {key: SimpleNamespace(name=key) for key in ("arch", "dataset", "loss")}
    return SimpleNamespace(
        config=SimpleNamespace(batch_size=8, **named),
        precision=Precision("fp32", "as asked"),
        device=SimpleNamespace(type="cpu"),
        spec=SampleSpec(shape=(1, 28, 28)),
        notices=["[images] are padded"],
        total_steps=1000,
        images_per_step=8,
        step=0,
    )


RUN = SimpleNamespace(path=Path("runs/one"))


def lines(file: StringIO) -> list[str]:
    return file.getvalue().splitlines()


def test_plain_lines(trainer, clock) -> None:
    file = StringIO()
    progress = Progress(Console(file=file, width=200, highlight=False), every=10)
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
    file = StringIO()
    progress = Progress(Console(file=file, width=200, highlight=False), every=0)
    trainer.step = 900
    progress.on_start(trainer, RUN)
    clock.seconds, trainer.step = 110.0, 950
    progress.on_log(trainer, ROW)
    assert lines(file)[-1].endswith("40 images/s  0:10 left")


def test_an_end_without_numbers(trainer, clock) -> None:
    file = StringIO()
    progress = Progress(Console(file=file, width=200))
    progress.on_end(trainer, RUN)
    assert lines(file) == [f"generator: {RUN.path / 'generator'}"]


def test_long_lines_are_not_broken(trainer, capsys, clock) -> None:
    trainer.notices = ["word " * 60 + "end"]
    Progress().on_start(trainer, RUN)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"note: {'word ' * 60}end\n" in err


def test_the_display_on_a_terminal(trainer, clock) -> None:
    file = StringIO()
    console = Console(file=file, force_terminal=True, width=120, height=30, color_system=None)
    progress = Progress(console)
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
    file = StringIO()
    progress = Progress(Console(file=file, force_terminal=True, width=120, color_system=None))
    progress.on_start(trainer, RUN)
    progress.on_close(trainer)
    assert "0/1000" in file.getvalue()
    assert "waiting for the first numbers" in file.getvalue()


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
    assert callbacks._clock(seconds) == text
