from __future__ import annotations

import contextlib
import io
import shutil
import sys
import threading
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from ganzoo import Trainer, trackers
from ganzoo.errors import ConfigError

pytest.importorskip("tensorboard", reason='needs pip install "ganzoo[tensorboard]"')

from tensorboard.summary.writer import event_file_writer, record_writer

ROW = {
    "epoch": 0.5,
    "images": 640.0,
    "d_loss": 1.25,
    "g_loss": -0.5,
    "d_real": 0.75,
    "d_fake": 0.25,
    "g_lr": 0.125,
    "d_lr": 0.0625,
}
TAGS = {
    "epoch": "progress/epoch",
    "images": "progress/images",
    "d_loss": "loss/discriminator",
    "g_loss": "loss/generator",
    "d_real": "score/real",
    "d_fake": "score/generated",
    "g_lr": "lr/generator",
    "d_lr": "lr/discriminator",
}


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Open a log of the run in tmp_path that continues from a step."""
    opened = []
    # Files of one second are told apart by a count per process, which sorts 10 before 9.
    counter = event_file_writer.AtomicCounter(0)
    monkeypatch.setattr(event_file_writer, "_global_uid", counter)

    def open_(step=0, **settings):
        opened.append(trackers.create("tensorboard").open(tmp_path, settings, step))
        return opened[-1]

    yield open_
    for each in opened:
        with contextlib.suppress(OSError):
            each.finish()


@pytest.fixture
def shown(tmp_path):
    """What TensorBoard reads."""

    def read():
        from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "tensorboard"), {"tensors": 0})
        events.Reload()
        return events

    return read


def points(events, tag="loss/discriminator"):
    assert events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    return [(event.step, event.tensor_proto.float_val[0]) for event in events.Tensors(tag)]


def pictures_of(events):
    """Step, width, height and file of each."""
    assert events.SummaryMetadata("samples").plugin_data.plugin_name == "images"
    found = [(event.step, event.tensor_proto.string_val) for event in events.Tensors("samples")]
    return [(step, int(width), int(height), file) for step, (width, height, file) in found]


def settings_of(events):
    assert events.SummaryMetadata("settings/text_summary").plugin_data.plugin_name == "text"
    found = []
    for event in events.Tensors("settings/text_summary"):
        (text,) = event.tensor_proto.string_val
        head, *lines, end = text.decode().splitlines()
        assert (head, end) == ("```yaml", "```")
        found.append((event.step, yaml.safe_load("\n".join(lines))))
    return found


def test_scalars(log, shown):
    one = log()
    one.scalars(20, ROW)
    one.scalars(40, {name: 2 * value for name, value in ROW.items()})
    one.finish()
    events = shown()
    assert sorted(events.Tags()["tensors"]) == sorted(["settings/text_summary", *TAGS.values()])
    for name, tag in TAGS.items():
        assert points(events, tag) == [(20, ROW[name]), (40, 2 * ROW[name])]


def test_scores(log, shown):
    one = log()
    one.scalars(20, ROW)
    one.scores(10, {"fid": 12.5})
    one.finish()
    assert points(shown(), "metric/fid") == [(10, 12.5)]


def test_columns_may_come_and_go(log, shown):
    one = log()
    one.scalars(1, {"d_loss": 1.0})
    one.scalars(2, {"modes": 8.0, "high_quality": 0.5, "fid": 3.0, "mine/x": 4.0})
    one.scalars(3, {"d_loss": 2.0})
    one.finish()
    events = shown()
    assert points(events) == [(1, 1.0), (3, 2.0)]
    assert points(events, "coverage/modes") == [(2, 8.0)]
    assert points(events, "coverage/high_quality") == [(2, 0.5)]
    assert points(events, "fid") == [(2, 3.0)]
    assert points(events, "mine/x") == [(2, 4.0)]


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_images(log, shown, mode, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    picture = Image.fromarray(pixels.squeeze())
    assert picture.mode == mode
    one = log()
    one.images(100, "samples", picture)
    one.finish()
    ((step, width, height, file),) = pictures_of(shown())
    assert (step, width, height) == (100, 7, 5)
    with Image.open(io.BytesIO(file)) as again:
        assert again.mode == ("RGB" if mode == "L" else mode)
        np.testing.assert_array_equal(np.asarray(again.convert(mode)), pixels.squeeze())


def test_settings(log, shown):
    settings = {"arch": {"name": "dcgan"}, "steps": 5, "trackers": [{"name": "tensorboard"}]}
    log(**settings).finish()
    assert settings_of(shown()) == [(1, settings)]


def test_each_row_can_be_read_at_once(log, shown):
    one = log()
    one.scalars(20, ROW)
    assert points(shown()) == [(20, 1.25)]
    one.scalars(40, ROW)
    assert points(shown()) == [(20, 1.25), (40, 1.25)]


def test_going_on_shows_nothing_twice(log, shown):
    white = Image.new("L", (2, 2), 255)
    first = log(steps=50)
    for step in (10, 20, 30, 40):  # the checkpoint is of step 20
        first.scalars(step, {"d_loss": 1.0})
        first.images(step, "samples", white)
    first.finish()
    second = log(20, steps=80)
    assert points(shown()) == [(10, 1.0), (20, 1.0)]
    for step in (30, 40, 50):
        second.scalars(step, {"d_loss": 2.0})
        second.images(step, "samples", white)
    second.finish()
    events = shown()
    assert points(events) == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0)]
    assert [step for step, *_ in pictures_of(events)] == [10, 20, 30, 40, 50]
    assert settings_of(events) == [(1, {"steps": 50}), (21, {"steps": 80})]


def test_going_on_again_and_again_from_one_checkpoint(log, shown, monkeypatch):
    log(steps=1).scalars(20, {"d_loss": 1.0})
    for attempt in range(2, 13):  # files are read in the order of their names, which begin so
        now = time.time() + 1
        monkeypatch.setattr(event_file_writer.time, "time", lambda now=now: now)
        log(20, steps=attempt).scalars(40, {"d_loss": float(attempt)})
    events = shown()
    assert points(events) == [(20, 1.0), (40, 12.0)]
    assert settings_of(events) == [(1, {"steps": 1}), (21, {"steps": 12})]


def test_a_file_that_a_kill_cut_short(log, shown, tmp_path):
    one = log()
    one.scalars(20, {"d_loss": 1.0})
    one.scalars(40, {"d_loss": 1.0})
    one.finish()
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    log(20).scalars(40, {"d_loss": 2.0})
    assert points(shown()) == [(20, 1.0), (40, 2.0)]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "tensorboard").touch()
    with pytest.raises(OSError, match="tensorboard"):
        trackers.create("tensorboard").open(tmp_path, {}, 0)


def test_a_disk_that_is_full(log, monkeypatch):
    one = log()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(record_writer.RecordWriter, "write", full)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(OSError, match="No space left"):
        one.scalars(20, ROW)


def test_the_package_is_absent(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    tracker = trackers.create("tensorboard")
    for act in (tracker.check, lambda: tracker.open(tmp_path, {}, 0)):
        with pytest.raises(ConfigError) as caught:
            act()
        assert str(caught.value).startswith(
            "The tracker 'tensorboard' needs the package tensorboard, which cannot be imported ("
        )
        assert str(caught.value).endswith('): pip install "ganzoo[tensorboard]"')
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_is_continued(pictures, shown, tmp_path):
    options = {"size": 16, "batch_size": 8, "log_every": 2, "sample_every": 4, "progress": False}
    small = {"name": "mlp", "hidden": [8]}
    trainer = Trainer(
        small, pictures, steps=4, trackers="tensorboard", out=tmp_path / "run", **options
    )
    trainer.fit()
    run = Trainer.resume(tmp_path / "run", dataset=pictures, steps=8, progress=False).fit()
    shutil.move(run.path / "tensorboard", tmp_path)
    events = shown()
    for name, tag in TAGS.items():
        wanted = [(row["step"], np.float32(row[name])) for row in run.history]
        assert [step for step, _ in wanted] == [2, 4, 6, 8]
        assert points(events, tag) == wanted
    files = [(step, Image.open(io.BytesIO(file))) for step, _, _, file in pictures_of(events)]
    assert [step for step, _ in files] == [4, 8]
    for (_, picture), path in zip(files, run.samples, strict=True):
        with Image.open(path) as saved:
            grey = picture.convert(saved.mode)
            np.testing.assert_array_equal(np.asarray(grey), np.asarray(saved))
    assert [(step, read["steps"]) for step, read in settings_of(events)] == [(1, 4), (5, 8)]
    assert settings_of(events)[-1][1] == run.config.dump()
