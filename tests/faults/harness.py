"""Kills trainings, fails their writes and sends them signals, and looks at what became of them.

Run as a program. It imports torch once and forks a process per training, which the parent kills
from outside at a random moment, or which kills itself, or has a write fail, at a random operation
on the disk. Whatever happened, the run is continued until it is whole and must then equal, file by
file, the run that nothing disturbed. The parent computes nothing, so that it has no threads when
it forks. What it finds goes as JSON into ``--report``; a problem tells the seed that repeats it.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import ctypes
import errno
import faulthandler
import functools
import hashlib
import importlib
import io
import itertools
import json
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import yaml
from PIL import PngImagePlugin  # noqa: F401 (imported once, before all forks)
from safetensors import SafetensorError

import ganzoo.files.checkpoint
import ganzoo.showing.plots
import ganzoo.training.trainer
from ganzoo.cli import main as command_line
from ganzoo.cli import train as _commands  # noqa: F401
from ganzoo.errors import GanzooError
from ganzoo.files import checkpoint
from ganzoo.generators import bundle
from ganzoo.training.game import Game
from ganzoo.training.trainer import Trainer

STEPS = 60
SETTINGS: dict[str, Any] = {
    "arch": {"name": "mlp", "hidden": [8]},
    "latent": 4,
    "batch_size": 8,
    "steps": STEPS,
    "average": {"name": "decay", "decay": 0.9},
    "precision": "fp32",
    "device": "cpu",
    "seed": 3,
    # Lengths that do not divide each other, so that every kind of file is caught half done.
    "log_every": 3,
    "sample_every": 7,
    "checkpoint_every": 2,
    "snapshot_every": 25,
    "keep_checkpoints": 2,
    "keep_every": 20,
    "keep_best": "min:g_loss",
}
PATIENCE = 120.0  # seconds that one life may take on a busy machine; an undisturbed one takes one
AFRESH = "it starts afresh"
_open = os.open


# -- what a training process tells, also after its death ----------------------------------------


class Told:
    """Numbers in memory that parent and child share, so that they outlive the child."""

    NAMES = (
        "operations",  # on the disk
        "saves",  # checkpoints that have been written or begun
        "saving",  # whether one is being written now
        "save_operations",
        "before_saving",  # operations before the first checkpoint
        "bundling",  # whether the generator is being written now
        "began",  # signals are heeded from here on
        "ended",  # and from here on not any more
        "played",  # step
        "asked",  # step at which a signal was heeded, plus 1
        "failed",  # operations that were made to fail
        "failed_saving",  # those within a checkpoint or generator
        "died_saving",  # whether the child killed itself within a checkpoint
    )

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * len(self.NAMES))

    def __getitem__(self, name: str) -> int:
        return int(struct.unpack_from("q", self._memory, 8 * self.NAMES.index(name))[0])

    def __setitem__(self, name: str, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * self.NAMES.index(name), value)

    def snapshot(self) -> dict[str, int]:
        return {name: self[name] for name in self.NAMES}


@dataclass(frozen=True)
class Plan:
    """What shall happen to one training process.

    Attributes:
        kill: Number of the operation on the disk at which it kills itself.
        kill_saving: The same, counting operations within checkpoints only.
        fail: Number of the operation that fails.
        error: With which errno.
        lasting: Whether later operations that need what is lacking fail too.
        half: Whether the operation is done in part before (a write), or wholly (others).
        pause: Seconds that each iteration takes longer.
        cli: Whether the command line is used.
        workers: Processes that read the data, which are then a torch Dataset; 0 for none.
        lockable: Whether the file system knows locks.
        layered: Whether the layer over the disk's operations is there at all.
    """

    kill: int = 0
    kill_saving: int = 0
    fail: int = 0
    error: int = errno.EIO
    cacheable: bool = False
    half: bool = False
    pause: float = 0.0
    cli: bool = False
    workers: int = 0
    lockable: bool = True
    layered: bool = True

    def words(self) -> str:
        """What is not as by default, as code."""
        values = {one.name: (getattr(self, one.name), one.default) for one in fields(self)}
        chosen = (
            f"{name}={value}" for name, (value, default) in values.items() if value != default
        )
        return f"Plan({', '.join(chosen)})"


# -- the layer between ganzoo and the disk ------------------------------------------------------

_SPACE = ("write", "open", "mkdir", "serialize")  # what a full disk refuses


class Disk:
    """Counts what a process does to the disk, and has it fail, or kill the process, in between.

    It stands between Python and the system: renames, flushes, new folders and files, deletions,
    every ``write`` that leaves a buffer, and the writing of safetensors. Reading is left alone.
    """

    def __init__(self, plan: Plan, told: Told) -> None:
        self.plan = plan
        self.told = told
        self._saving = threading.local()
        self._lock = threading.RLock()

    def install(self) -> None:
        for name in ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir", "chmod"):
            setattr(os, name, self._guarded(name, getattr(os, name)))
        real_open, opening = os.open, self._guarded("open", os.open)

        def low(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            return (opening if writes else real_open)(path, flags, *rest, **named)  # type: ignore[no-any-return]

        os.open = low  # type: ignore[assignment]
        real = io.open

        @functools.wraps(real)
        def high(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            if isinstance(file, int) or not set(mode) & set("wax+"):
                return real(file, mode, buffering, *rest, **named)
            plain = mode.replace("b", "").replace("t", "")
            raw = self.operation("open", functools.partial(_File, self, file, plain))
            buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)

        io.open = builtins.open = high  # type: ignore[assignment]
        serialize = safetensors.torch.serialize_file

        def guarded(tensors: Any, path: Any, *rest: Any, **named: Any) -> None:
            def whole() -> None:
                serialize(tensors, path, *rest, **named)

            def part() -> None:
                whole()
                os.truncate(path, Path(path).stat().st_size // 2)

            self.operation("serialize", whole, part, _safetensors_error)

        safetensors.torch.serialize_file = guarded

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Within: a checkpoint is written by this thread."""
        self._saving.on = True
        if not self.told["saves"]:
            self.told["before_saving"] = self.told["operations"]
        self.told["saves"] += 1
        self.told["saving"] = 1
        try:
            yield
        finally:
            self._saving.on = False
            self.told["saving"] = 0

    def _guarded(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def guarded(*arguments: Any, **named: Any) -> Any:
            if name == "mkdir" and Path(arguments[0]).is_dir():
                return act(*arguments, **named)  # which says that it is there
            return self.operation(name, functools.partial(act, *arguments, **named))

        return guarded

    def operation(
        self,
        name: str,
        act: Callable[[], Any],
        part: Callable[[], Any] | None = None,
        wrong: Callable[[int], Exception] = lambda code: OSError(code, os.strerror(code)),
    ) -> Any:
        """Do it, or a part of it where it can be done in part, or not at all."""
        plan, told = self.plan, self.told
        with self._lock:
            told["operations"] += 1
            number = told["operations"]
            saving = getattr(self._saving, "on", False)
            if saving:
                told["save_operations"] += 1
            dies = number == plan.kill or (saving and told["save_operations"] == plan.kill_saving)
            due = bool(plan.fail) and number >= plan.fail
            if due and (plan.error != errno.ENOSPC or name in _SPACE):
                due = plan.cacheable or not told["failed"]
            else:
                due = False
            if dies:
                told["died_saving"] = int(saving)
                if plan.half:
                    (part or act)()
                os.kill(os.getpid(), signal.SIGKILL)
            if due:
                told["failed"] += 1
                told["failed_saving"] += saving or bool(told["bundling"])
                if plan.half and part is not None:
                    part()
                raise wrong(plan.error)
        return act()


class _File(io.FileIO):
    """A file whose writes go through the layer."""

    def __init__(self, disk: Disk, path: Any, mode: str) -> None:
        super().__init__(path, mode)
        self._disk = disk

    def write(self, data: Any) -> int:
        whole = functools.partial(super().write, data)
        part = functools.partial(super().write, bytes(data)[: len(data) // 2])
        return int(self._disk.operation("write", whole, part))


def _safetensors_error(code: int) -> SafetensorError:
    """What safetensors raises where the system refuses."""
    return SafetensorError(
        f"Error while serializing: I/O error: {os.strerror(code)} (os error {code})"
    )


# -- one life of a training ---------------------------------------------------------------------


@dataclass
class Life:
    """A training process and what is left of it.

    Attributes:
        code: Exit code; minus the signal's number where it was killed.
        told: What it told, at the end.
        text: What it printed.
        notices: Of a run that was resumed.
        resumed: Whether it resumed a run; else it trained anew.
        had_checkpoint: Whether there was one when it began.
    """

    pid: int
    folder: Path
    shared: Told
    resumed: bool
    had_checkpoint: bool
    began: float
    code: int | None = None
    told: dict[str, int] = field(default_factory=dict)
    text: str = ""
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def over(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._buried(os.waitstatus_to_exitcode(status))
        return self.code is not None

    def wait(self, seconds: float = PATIENCE) -> Life:
        """Wait for its end.

        Raises:
            TimeoutError: If it does not end; it is killed then.
        """
        until = time.monotonic() + seconds
        while not self.over():
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                _, status = os.waitpid(self.pid, 0)
                self._buried(os.waitstatus_to_exitcode(status))
                raise TimeoutError(f"it hangs: {self.text}")
            time.sleep(0.003)
        return self

    def wait_until(self, done: Callable[[Told], object]) -> bool:
        """Wait for something that it tells; whether it lives then."""
        until = time.monotonic() + PATIENCE
        while not self.over() and not done(self.shared):
            if time.monotonic() > until:
                self.wait(0)
            time.sleep(0.001)
        return self.code is None

    def send(self, number: int) -> None:
        if not self.over():
            os.kill(self.pid, number)

    def _buried(self, code: int) -> None:
        self.code = code
        self.seconds = time.monotonic() - self.began
        self.told = self.shared.snapshot()
        self.text = (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        notices = self.folder / "notices.json"
        self.notices = json.loads(notices.read_text()) if notices.exists() else []


class Pictures(torch.utils.data.Dataset[torch.Tensor]):
    """Items that a worker process reads."""

    def __init__(self, file: Path) -> None:
        self.pictures = np.load(file)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.pictures[index]).float()[None] / 255


class Workshop:
    """Starts trainings below a folder, and knows what an undisturbed one leaves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "pictures.npy"
        draw = np.random.default_rng(5)
        np.save(self.data, draw.integers(0, 256, (50, 4, 4), dtype=np.uint8))
        self.config = root / "settings.yaml"
        self.config.write_text(yaml.safe_dump({**SETTINGS, "dataset": str(self.data)}))
        self._numbers = itertools.count()
        self.whole: dict[str, str] = {}
        self.streamed: dict[str, str] = {}
        self.seconds = 1.0
        self.told: dict[str, int] = {}

    def measure(self) -> None:
        """Train without disturbance: once plainly, and once with the layer over the disk."""
        plain, layered = self.root / "whole", self.root / "layered"
        life = self.start(plain, Plan(layered=False, cli=True)).wait()
        assert life.code == 0, life.text
        self.whole = contents(plain)
        # What it had to import is imported here, so that no other one has to.
        for module in (life.folder / "modules.txt").read_text().split():
            with contextlib.suppress(Exception):
                importlib.import_module(module)
        tasks = Path("/proc/self/task")
        assert not tasks.exists() or len(list(tasks.iterdir())) == 1, "threads do not survive forks"
        life = self.start(layered, Plan()).wait()
        assert life.code == 0, life.text
        assert contents(layered) == self.whole, "the layer over the disk changes what is written"
        self.seconds, self.told = life.seconds, life.told

    def new(self) -> Path:
        return self.root / f"run-{next(self._numbers)}"

    def start(self, run: Path, plan: Plan) -> Life:
        """Train, or resume where there is something to resume, in a process of its own."""
        folder = self.root / f"life-{next(self._numbers)}"
        folder.mkdir()
        (folder / "output.txt").touch()
        told = Told()
        resumed = (run / "config.yaml").exists()
        had = checkpoint.latest(run / "checkpoints") is not None
        began = time.monotonic()
        pid = os.fork()
        if pid:
            return Life(pid, folder, told, resumed, had, began)
        code = 1
        try:
            code = self._live(run, plan, told, folder, resumed)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def _live(self, run: Path, plan: Plan, told: Told, folder: Path, resumed: bool) -> int:
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        faulthandler.dump_traceback_later(PATIENCE * 0.9)
        os.chdir(folder)
        disk = Disk(plan, told)
        _watch(disk, plan)
        if plan.layered:
            disk.install()
        if not plan.lockable:
            _without_locks()
        try:
            if plan.cli:
                asked = ["resume", str(run)] if resumed else self._asked(run)
                command_line([*asked, "--quiet"])
            else:
                self._train(run, plan, folder, resumed)
        except SystemExit as end:
            _calm()
            sys.stderr.flush()
            return int(end.code or 0)
        except KeyboardInterrupt:
            _calm()
            return 130
        except GanzooError as error:
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            return 2
        if not plan.layered:
            (folder / "modules.txt").write_text("\n".join(sys.modules))
        return 0

    def _asked(self, run: Path) -> list[str]:
        return ["train", "--config", str(self.config), "--out", str(run)]

    def _train(self, run: Path, plan: Plan, folder: Path, resumed: bool) -> None:
        data = Pictures(self.data) if plan.workers else None
        if resumed:
            trainer = Trainer.resume(run, dataset=data, progress=False)
            notices = _open(folder / "notices.new", os.O_WRONLY | os.O_CREAT)  # never made to fail
            os.write(notices, json.dumps(trainer.notices).encode())
            os.link(folder / "notices.new", folder / "notices.json")
        elif data is not None:
            trainer = Trainer(
                dataset=data, **SETTINGS, workers=plan.workers, out=run, progress=False
            )
        else:
            trainer = Trainer(config=self.config, out=run, progress=False)
        trainer.fit()

    def reference(self, workers: int) -> dict[str, str]:
        """What an undisturbed training leaves."""
        if not workers:
            return self.whole
        if not self.streamed:
            run = self.root / "streamed"
            life = self.start(run, Plan(layered=False, workers=workers)).wait()
            assert life.code == 0, life.text
            self.streamed = contents(run)
        return self.streamed


def _watch(disk: Disk, plan: Plan) -> None:
    """Have the trainer tell where it is."""
    told = disk.told
    save, write, play, stop = checkpoint.save, bundle.write, Game.play, Trainer.stop
    heed = ganzoo.training.trainer.on_signals

    def saved(*arguments: Any, **named: Any) -> Path:
        with disk.saving():
            return save(*arguments, **named)

    def written(*arguments: Any, **named: Any) -> None:
        told["bundling"] += 1
        try:
            write(*arguments, **named)
        finally:
            told["bundling"] -= 1

    def played(game: Game, *arguments: Any) -> Any:
        if plan.pause:
            time.sleep(plan.pause)
        step = play(game, *arguments)
        told["played"] = game.played
        return step

    def asked(trainer: Trainer) -> None:
        stop(trainer)
        told["asked"] = trainer.step + 1

    @contextlib.contextmanager
    def heeded(act: Callable[[], object]) -> Iterator[list[int]]:
        with heed(act) as numbers:
            told["began"] = 1
            try:
                yield numbers
            finally:
                told["ended"] = 1

    checkpoint.save, bundle.write = saved, written
    Game.play, Trainer.stop = played, asked  # type: ignore[method-assign, assignment]
    ganzoo.training.trainer.on_signals = heeded


def _without_locks() -> None:
    """As on a network file system without them."""
    import fcntl

    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    fcntl.flock = flock


def _calm() -> None:
    """A training has been left: signals that come now are for nobody."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def contents(run: Path) -> dict[str, str]:
    """The SHA-256 of every file that must not depend on what happened to the run."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        of_machine = name in ("environment.json", ".lock", ".owner.json")
        if path.is_file() and not of_machine and "broken-" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def whole_checkpoints(run: Path) -> list[Path]:
    """Checkpoints that can be loaded, oldest first."""
    found = []
    for path in sorted((run / "checkpoints").glob("step-*")):
        with contextlib.suppress(GanzooError):
            checkpoint.load(path)
            found.append(path)
    return found


# -- what is done to trainings ------------------------------------------------------------------


@dataclass
class Report:
    """Figures by name, and what went wrong, each with what repeats it."""

    figures: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


class Story:
    """One run and all that happens to it, from the first life to the last."""

    def __init__(self, shop: Workshop, report: Report, title: str, workers: int = 0) -> None:
        self.shop = shop
        self.report = report
        self.title = title
        self.workers = workers
        self.run = shop.new()
        self.events: list[str] = []
        self.harmed: list[Path] = []

    def problem(self, text: str) -> None:
        events = "; ".join(self.events)
        self.report.problems.append(f"[{self.title}] {text} (before: {events or 'nothing'})")

    def check(self, fact: object, text: str) -> None:
        if not fact:
            self.problem(text)

    def start(self, plan: Plan) -> Life:
        self.events.append(plan.words())
        return self.shop.start(self.run, plan)

    def end(self, life: Life) -> Life:
        """Wait for a life's end, and check what every life must keep to."""
        try:
            life.wait()
        except TimeoutError as error:
            self.problem(str(error))
        self.events.append(f"code {life.code} at step {life.told['played']}")
        figures = self.report.figures
        afresh = any(AFRESH in notice for notice in life.notices)
        if life.resumed and life.notices:
            self.check(
                afresh != life.had_checkpoint, f"starting afresh is not told: {life.notices}"
            )
        figures["resumed"] += life.resumed
        figures["resumed afresh"] += afresh
        found = (self.run / "checkpoints").glob("step-*")
        broken = {*found} - {*whole_checkpoints(self.run)} - {*self.harmed}
        self.check(not broken, f"there are broken checkpoints: {broken}")
        return life

    def finish(self, plan: Plan = Plan()) -> None:
        """Let the run come to its end, and compare."""
        life = self.end(self.start(replace(plan, workers=self.workers)))
        self.check(life.code == 0, f"it cannot be continued: {life.text}")
        self.compare()

    def compare(self) -> None:
        found, wanted = contents(self.run), self.shop.reference(self.workers)
        unlike = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
        self.check(not unlike, f"not as undisturbed: {unlike} in {self.run}")
        aside = list((self.run / "checkpoints").glob("broken-*"))
        self.check(len(aside) == len(self.harmed), f"harmed {self.harmed}, set aside {aside}")
        self.report.figures["broken checkpoints set aside"] += len(aside)
        self.report.figures["runs"] += 1
        self.report.figures["runs lost"] += bool(unlike)
        if not unlike:
            shutil.rmtree(self.run)


def kills(shop: Workshop, report: Report, seed: int, wanted: int, chain: int = 6) -> None:
    """``kill -9``, at moments of three kinds: any time, any operation, within a checkpoint."""
    figures = report.figures
    full = shop.told
    for number in itertools.count():
        if figures["kills"] >= wanted or number > wanted:
            break
        draw = random.Random(f"kills {seed} {number}")
        story = Story(shop, report, f"kills, seed {seed}, run {number}")
        for _ in range(chain):
            # A resumed training has less before it: what is drawn shall mostly be reached.
            done = checkpoint.latest(story.run / "checkpoints")
            left = 1 - (checkpoint.step_of(done) if done else 0) / STEPS
            kinds = ["time", "time", "operation", "saving", "saving", "early"]
            kind = draw.choice(kinds) if story.events or number % 3 else "early"
            half = draw.random() < 0.5
            delay = 0.0
            plan = Plan(half=half)
            if kind == "time":
                delay = draw.uniform(0, shop.seconds * left)
            elif kind == "operation":
                plan = Plan(half=half, kill=1 + int(draw.random() * left * full["operations"]))
            elif kind == "saving":
                last = left * full["save_operations"]
                plan = Plan(half=half, kill_saving=1 + int(draw.random() * last))
            else:
                plan = Plan(half=half, kill=draw.randint(1, full["before_saving"] + 10))
            life = story.start(plan)
            if kind == "time":
                story.events.append(f"killed after {delay:.4f} s")
                until = time.monotonic() + delay
                while time.monotonic() < until and not life.over():
                    time.sleep(0.001)
                life.send(signal.SIGKILL)
            story.end(life)
            if life.code == -signal.SIGKILL:
                figures["kills"] += 1
                figures[f"kills by {'time' if kind == 'time' else 'operation'}"] += 1
                saving = life.told["saving"] if kind == "time" else life.told["died_saving"]
                figures["kills while a checkpoint was written"] += bool(saving)
                figures["kills while the generator was written"] += bool(life.told["bundling"])
                first = checkpoint.latest(story.run / "checkpoints") is None
                figures["kills before the first checkpoint"] += first
                bare = not (story.run / "config.yaml").exists()
                figures["kills before config.yaml"] += bare
                if draw.random() < 0.15:
                    _power_cut(story, draw)
            elif life.code == 0:
                break
            else:
                story.problem(f"it ends by itself: {life.text}")
        story.finish()


def _power_cut(story: Story, draw: random.Random) -> None:
    """Harm the newest checkpoint, as disks do that lie about what they have flushed."""
    found = whole_checkpoints(story.run)
    if len(found) < 2:
        return
    file = draw.choice(sorted(found[-1].iterdir()))
    size = file.stat().st_size
    if draw.random() < 0.5:
        os.truncate(file, draw.randrange(size))
    else:
        file.write_bytes(bytes(size))
    story.harmed.append(found[-1])
    story.report.figures["checkpoints harmed"] += 1
    story.events.append(f"harmed {file.relative_to(story.run)}")


def failing(shop: Workshop, report: Report, seed: int, wanted: int) -> None:
    """Writes that fail: a transient error, a disk that turns read-only, a full disk."""
    figures = report.figures
    kinds = [(errno.EIO, False), (errno.EROFS, True), (errno.ENOSPC, True), (errno.ENOSPC, False)]
    for number in itertools.count():
        if figures["failing writes"] >= wanted or number > 3 * wanted:
            break
        draw = random.Random(f"failing {seed} {number}")
        story = Story(shop, report, f"failing writes, seed {seed}, run {number}")
        for _ in range(3):
            error, cacheable = draw.choice(kinds)
            done = checkpoint.latest(story.run / "checkpoints")
            left = 1 - (checkpoint.step_of(done) if done else 0) / STEPS
            last = 60 if draw.random() < 0.2 else max(60, int(left * shop.told["operations"]))
            plan = Plan(
                fail=draw.randint(1, last),
                error=error,
                cacheable=cacheable,
                half=draw.random() < 0.5,
                cli=draw.random() < 0.3,
            )
            before = {path.name for path in whole_checkpoints(story.run)}
            life = story.end(story.start(plan))
            figures["failing writes"] += bool(life.told["failed"])
            if life.code == 0:
                story.check(not life.told["failed_saving"], "a failure was not told")
                figures["failing writes that did not matter"] += bool(life.told["failed"])
                break
            _one_error(story, life)
            figures[f"failing writes reported, {errno.errorcode[error]}"] += 1
            left_whole = {path.name for path in whole_checkpoints(story.run)}
            story.check(not before or left_whole, f"no checkpoint is whole any more: {before}")
        story.finish()


def _one_error(story: Story, life: Life) -> None:
    """There must be exit code 2 and one line that says what is wrong.

    Before it there may be one more, of what failed beside the training at the same time.
    """
    lines = life.text.splitlines()
    clear = bool(lines) and lines[-1].startswith("error: ")
    known = ("cannot be written", "has vanished")
    clear = clear and all(any(what in line for what in known) for line in lines[:-1])
    clear = clear and len(lines) <= 2
    story.check(life.code == 2 and clear, f"not one clear error, code {life.code}: {life.text}")


SIGNALS = {"SIGTERM": 143, "SIGUSR1": 138, "SIGINT": 130, "two SIGINT": 130}


def signals(shop: Workshop, report: Report, seed: int, wanted: int) -> None:
    """Signals at random moments, by the command line."""
    figures = report.figures
    kinds = itertools.cycle(SIGNALS)
    for number in itertools.count():
        if figures["signals"] >= wanted or number > 3 * wanted:
            break
        draw = random.Random(f"signals {seed} {number}")
        story = Story(shop, report, f"signals, seed {seed}, run {number}")
        for _ in range(4):
            name = next(kinds)
            done = checkpoint.latest(story.run / "checkpoints")
            left = STEPS - (checkpoint.step_of(done) if done else 0)
            pause = 0.02
            life = story.start(Plan(cli=True, pause=pause))
            story.events.append(name)
            early = draw.random() < 0.15  # where ganzoo does not heed signals yet
            if early or life.wait_until(lambda told: told["began"]):
                until = time.monotonic() + draw.uniform(0, 0.3 if early else left * pause)
                while time.monotonic() < until and not life.over():
                    time.sleep(0.001)
                signalled = getattr(signal, name.removeprefix("two "))
                life.send(signalled)
                if name == "two SIGINT":
                    life.wait_until(lambda told: told["asked"])
                    time.sleep(draw.uniform(0, pause))
                    life.send(signalled)
            story.end(life)
            if not life.told["asked"]:  # it came before the first or after the last iteration
                if life.code == 0:
                    break
                continue
            figures["signals"] += 1
            figures[name] += 1
            _left_well(story, life, name)
        story.finish()


def _left_well(story: Story, life: Life, name: str) -> None:
    """Exit code, the way on, and a checkpoint of that very step."""
    told, run = life.told, story.run
    story.check(life.code == SIGNALS[name], f"{name}: code {life.code}: {life.text}")
    lines = [line for line in life.text.splitlines() if line.startswith("interrupted at step ")]
    story.check(len(lines) == 1, f"{name}: no way on is told: {life.text}")
    story.check(len(life.text.splitlines()) == 1, f"{name}: more than one line: {life.text}")
    if not lines:
        return
    step = int(lines[0].split()[3].rstrip(";"))
    story.check(lines[0].endswith(f"continue with: ganzoo resume {run}"), lines[0])
    # The iteration under way is finished, and no other one is begun.
    story.check(
        told["asked"] - 1 <= step <= told["asked"],
        f"{name} came after step {told['asked'] - 1}, and it ended after step {step}",
    )
    newest = whole_checkpoints(run)
    if name != "two SIGINT":
        saved = newest and checkpoint.step_of(newest[-1]) == step
        story.check(saved or not step, f"{name} at step {step}, but there are {newest}")
    elif not newest or checkpoint.step_of(newest[-1]) != step:
        story.report.figures["two SIGINT that ended it at once"] += 1


def others(shop: Workshop, report: Report, seed: int, rounds: int) -> None:
    """Two processes on one folder, a folder that vanishes, one that is read-only."""
    for number in range(rounds):
        draw = random.Random(f"others {seed} {number}")
        for lockable in (True, False):
            story = Story(shop, report, f"two processes, seed {seed}, run {number}, {lockable=}")
            first = story.start(Plan(pause=0.05, lockable=lockable))
            first.wait_until(lambda told: told["saves"] > 1)
            for cli in (True, False):
                second = shop.start(story.run, Plan(cli=cli, lockable=lockable)).wait()
                _one_error(story, second)
                for fact in (str(first.pid), socket.gethostname()):
                    story.check(fact in second.text, f"{fact} is not named: {second.text}")
                report.figures["second processes refused"] += 1
            first.send(signal.SIGKILL)
            story.end(first)
            story.check(first.code == -signal.SIGKILL, f"the first ended before: {first.text}")
            story.finish(Plan(lockable=lockable))  # the lock that the first left is no hindrance

        story = Story(shop, report, f"vanished folder, seed {seed}, run {number}")
        life = story.start(Plan(cli=True, pause=0.01))
        step = draw.randint(1, STEPS // 2)
        life.wait_until(lambda told, step=step: told["played"] >= step)  # type: ignore[misc]
        aside = story.run.with_name(f"{story.run.name}-aside")
        story.run.rename(aside)
        story.end(life)
        _one_error(story, life)
        shutil.rmtree(story.run, ignore_errors=True)  # of a checkpoint that was just begun
        aside.rename(story.run)
        report.figures["folders that vanished"] += 1
        story.finish()

        story = Story(shop, report, f"read-only folder, seed {seed}, run {number}")
        story.end(story.start(Plan(kill_saving=draw.randint(60, 120))))
        before = contents(story.run)
        life = story.end(story.start(Plan(fail=1, error=errno.EROFS, cacheable=True, cli=True)))
        _one_error(story, life)
        story.check(contents(story.run) == before, "a read-only folder has changed")
        report.figures["read-only folders refused"] += 1
        story.finish()


def with_workers(shop: Workshop, report: Report, seed: int, rounds: int) -> None:
    """``kill -9`` of a training whose data other processes read, and a resume at once."""
    for number in range(rounds):
        draw = random.Random(f"workers {seed} {number}")
        story = Story(shop, report, f"workers, seed {seed}, run {number}", workers=2)
        shop.reference(2)
        life = story.start(Plan(workers=2, pause=0.01))
        step = draw.randint(1, STEPS - 10)
        if life.wait_until(lambda told, step=step: told["played"] >= step):  # type: ignore[misc]
            life.send(signal.SIGKILL)
        story.end(life)
        report.figures["kills of trainings with workers"] += life.code == -signal.SIGKILL
        story.finish()


# -- a disk that is really full -----------------------------------------------------------------

_NEW_MOUNTS, _PRIVATE, _RECURSIVE, _REMOUNT, _READ_ONLY = 0x20000, 1 << 18, 1 << 14, 32, 1


class Mounts:
    """A small file system in memory that only this process and its children see.

    Raises:
        OSError: If this machine does not let us.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._call(self._libc.unshare, _NEW_MOUNTS)
        except AttributeError as error:
            raise OSError(errno.ENOSYS, "no mount namespaces") from error
        self._mount(b"none", Path("/"), None, _PRIVATE | _RECURSIVE, None)
        self._mount(b"tmpfs", folder, b"tmpfs", 0, b"size=16m")
        self._filler = folder / "filler"

    def leave(self, size: int) -> None:
        """Leave as many bytes free."""
        self._filler.unlink(missing_ok=True)
        free = os.statvfs(self.folder)
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - size)

    def free(self) -> None:
        """Leave enough."""
        self._filler.unlink(missing_ok=True)

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Within: nothing can be written."""
        self._mount(b"tmpfs", self.folder, b"tmpfs", _REMOUNT | _READ_ONLY, b"")
        try:
            yield
        finally:
            self._mount(b"tmpfs", self.folder, b"tmpfs", _REMOUNT, b"")

    def _mount(
        self, source: bytes, target: Path, kind: bytes | None, flags: int, data: bytes | None
    ) -> None:
        self._call(self._libc.mount, source, os.fsencode(target), kind, ctypes.c_ulong(flags), data)

    def _call(self, function: Any, *arguments: Any) -> None:
        if function(*arguments) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def full_disk(shop: Workshop, report: Report, seed: int, rounds: int) -> None:
    """A file system that is full, and one that is read-only."""
    try:
        mounts = Mounts(shop.root / "mounted")
    except OSError as error:
        report.skipped["full disk"] = f"nothing can be mounted here ({error.strerror})"
        return
    needed = sum(max(path.stat().st_size, 4096) for path in (shop.root / "whole").rglob("*"))
    for number in range(rounds):
        draw = random.Random(f"full disk {seed} {number}")
        story = Story(shop, report, f"full disk, seed {seed}, run {number}")
        story.run = mounts.folder / story.run.name
        for _ in range(2):
            size = draw.randint(8192, needed)
            mounts.leave(size)
            story.events.append(f"a disk with {size} bytes left")
            life = story.end(story.start(Plan(cli=draw.random() < 0.5, layered=False)))
            mounts.free()
            if life.code == 0:
                break
            _one_error(story, life)
            report.figures["disks that were full"] += 1
        if (story.run / "config.yaml").exists():
            before = contents(story.run)
            with mounts.read_only():
                life = story.end(story.start(Plan(cli=True, layered=False)))
            _one_error(story, life)
            story.check(contents(story.run) == before, "a read-only folder has changed")
            report.figures["file systems mounted read-only"] += 1
        story.finish()
        shutil.rmtree(story.run, ignore_errors=True)


SUBSET_FIELDS: dict[str, Callable[[Workshop, Report, int, int], None]] = {
    "kills": kills,
    "failing": failing,
    "signals": signals,
    "others": others,
    "workers": with_workers,
    "full-disk": full_disk,
}


def _cpu() -> float:
    """Seconds that this process and its children have computed."""
    return sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="an empty folder to work in")
    parser.add_argument("--report", type=Path, required=True, help="where the findings go")
    parser.add_argument("--seed", type=int, default=0)
    for part in SUBSET_FIELDS:
        parser.add_argument(f"--{part}", type=int, default=0, help="how many")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    ganzoo.showing.plots.available = lambda: False  # they take longer than these trainings
    shop = Workshop(asked.root.resolve())
    shop.measure()
    found = {}
    for part, act in SUBSET_FIELDS.items():
        if wanted := getattr(asked, part.replace("-", "_")):
            report, began, before = Report(), time.monotonic(), _cpu()
            try:
                act(shop, report, asked.seed, wanted)
            except Exception:
                report.problems.append(f"[{part}] {traceback.format_exc()}")
            found[part] = {
                "figures": dict(report.figures),
                "problems": report.problems,
                "skipped": report.skipped,
                "seconds": round(time.monotonic() - began, 1),
                "cpu_seconds": round(_cpu() - before, 1),
            }
            asked.report.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
