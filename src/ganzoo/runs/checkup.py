"""Looks through a run, bundle or checkpoint and says what is wrong; changes nothing."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ganzoo.config import FORMAT_VERSION, TrainConfig, read_config, resolve
from ganzoo.errors import GanzooError, RunFolderError, plain
from ganzoo.files import checkpoint, checksummed, untrusted
from ganzoo.files.lock import OWNER, owner
from ganzoo.files.storage import expanded, is_partial_write
from ganzoo.generators import bundle
from ganzoo.generators.generator import Generator
from ganzoo.runs.run import BEST, DIAGNOSES, GENERATOR, METRICS, SCORES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.core.spec import SampleSpec
    from ganzoo.generators.bundle import BundleConfig

__all__ = ["Finding", "examine"]

_DRAWN = 8  # samples of each generator
_SLACK = 1e-3  # of the width of the value range, for rounding in activations
_BUNDLE = (bundle.CONFIG, bundle.WEIGHTS)
_CHECKPOINT = ("manifest.json", "state.json", "state.safetensors")
_LARGEST = 2**20  # bytes of environment.json, of scores, or of one row
_MOST = 20  # scores that are shown
_PICTURES = ("comparison.png", "curves.png", "animation.gif")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        place: Which, as a path below the folder; ``.`` is the folder itself.
        verdict: ``ok``; ``note`` for what harms nothing; ``wrong``.
        text: What it is, or what is wrong and what to do, in one line.
    """

    place: str
    verdict: Literal["ok", "note", "wrong"]
    text: str


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with one thing, and what to do."""


def examine(folder: str | Path) -> Iterator[Finding]:
    """Check everything in a run, a bundle or a checkpoint, in the order of their names.

    Nothing is changed, and no data are loaded.

    Yields:
        A finding per thing.

    Raises:
        RunFolderError: If the folder is none of the three, or cannot be read.
    """
    for finding in _examined(expanded(folder)):
        yield Finding(plain(finding.place), finding.verdict, plain(finding.text))


def _examined(folder: Path) -> Iterator[Finding]:
    try:
        holds = {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise RunFolderError(
            f"There is no folder {folder}. Give the folder of a run, a saved generator or a "
            f"checkpoint."
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"The folder {folder} cannot be read ({error.strerror or error}). Check its name and "
            f"permissions."
        ) from None
    if holds & {"config.yaml", METRICS, "checkpoints"}:
        yield from _run(folder)
    elif holds & set(_BUNDLE):
        yield from _bundles(folder, ".")
    elif holds & set(_CHECKPOINT):
        nets = _Nets(folder.parent.parent)
        yield from nets.findings(needed=False)
        yield _look(folder, ".", partial(_checkpoint, folder, nets))
    else:
        raise RunFolderError(
            f"{folder} is no run, no saved generator and no checkpoint: it has none of "
            f"config.yaml, {bundle.CONFIG} and manifest.json. Give a folder that ganzoo wrote."
        )


def _look(folder: Path, place: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(place, "ok", check())
    except _Wrong as wrong:
        return Finding(place, "wrong", str(wrong))
    except GanzooError as error:
        return Finding(place, "wrong", str(error))
    except OSError as error:
        return Finding(
            place,
            "wrong",
            f"cannot be read ({error.strerror or error}). Check the disk and its permissions.",
        )


def _run(folder: Path) -> Iterator[Finding]:
    if os.path.lexists(folder / OWNER):
        facts = owner(folder)
        who = (
            f"process {facts['pid']} on {facts['host']}, since {facts['started']}" if facts else ""
        )
        yield Finding(
            OWNER,
            "note",
            f"a training holds this run ({who or 'unreadable'}): if it is running, files change "
            f"while they are checked; if it was killed, the next one takes over",
        )
    yield _look(folder, "config.yaml", partial(_config, folder))
    if os.path.lexists(folder / "environment.json"):
        yield _look(folder, "environment.json", partial(_environment, folder / "environment.json"))
    else:
        yield Finding("environment.json", "note", "is missing; nothing is read from it")
    yield _look(folder, METRICS, partial(_rows, folder / METRICS))
    if (folder / DIAGNOSES).exists():
        yield _look(folder, DIAGNOSES, partial(_rows, folder / DIAGNOSES))
    if os.path.lexists(folder / SCORES):
        yield _look(folder, SCORES, partial(_newest_scores, folder / SCORES))
    yield _look(folder, "samples", partial(_pictures, folder / "samples"))
    for name in _PICTURES:
        if os.path.lexists(folder / name):
            yield _look(folder, name, partial(_picture, folder / name))
    nets = _Nets(folder)
    yield from nets.findings(needed=True)
    kept, whole = _numbered(folder / "checkpoints"), None
    for path in kept:
        found = _look(folder, f"checkpoints/{path.name}", partial(_checkpoint, path, nets))
        whole = path if found.verdict == "ok" else whole
        yield found
    if not kept:
        yield Finding("checkpoints", "note", "none yet: 'ganzoo resume' starts the run afresh")
    if kept or (folder / GENERATOR).exists():
        yield from _bundles(folder, GENERATOR, nets.config)
    yield from _best(folder, whole, nets.config)
    for path in _numbered(folder / "snapshots"):
        yield from _bundles(folder, f"snapshots/{path.name}", nets.config)
    yield from _remains(folder)


def _numbered(folder: Path) -> list[Path]:
    """What is named after a step, in order; hidden and set-aside things are not."""
    found = {
        int(path.name.removeprefix("step-")): path
        for path in folder.glob("step-*")
        if path.name.removeprefix("step-").isdecimal()
    }
    return [found[step] for step in sorted(found)]


def _remains(folder: Path) -> Iterator[Finding]:
    """What kills and damage have left."""
    for part in ("", "checkpoints", "snapshots", "samples", GENERATOR, BEST):
        for path in sorted((folder / part).iterdir()) if (folder / part).is_dir() else ():
            place = path.relative_to(folder).as_posix()
            if path.name.startswith("broken-"):
                text = "set aside, because it was damaged, and never used; delete it when you like"
                yield Finding(place, "note", text)
            elif is_partial_write(path):
                text = "left by a write that was cut short; 'ganzoo resume' clears up"
                yield Finding(place, "note", text)


# -- settings and environment ---------------------------------------------------------------------


def _settings(folder: Path) -> TrainConfig:
    return resolve(read_config(folder / "config.yaml", root=folder))


def _config(folder: Path) -> str:
    config = _settings(folder)
    dataset = config.dataset.called
    return (
        f"format {FORMAT_VERSION}; {config.arch.name} with {config.loss.name} on {dataset}, "
        f"{config.steps} steps"
    )


def _environment(path: Path) -> str:
    remedy = "Nothing is read from it: delete it, or ignore this."
    with _opened(path) as file:
        facts = _json(file.read(_LARGEST + 1), remedy)
    if not isinstance(facts, dict):
        raise _Wrong(f"is no JSON object. {remedy}")
    known = [f"{key} {facts[key]}" for key in ("ganzoo", "torch", "device") if key in facts]
    return ", ".join(known) or "empty"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file of a run, which may come from anybody."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(untrusted.opened(path))
        except ValueError as error:
            raise _Wrong(f"{error}. Put the file back that ganzoo wrote, or delete it.") from None
        yield file


def _json(content: bytes, remedy: str) -> Any:
    def refuse(name: str) -> float:
        raise _Wrong(f"holds {name:.40}, which is no JSON and no result. {remedy}")

    def real(text: str) -> float:
        return value if math.isfinite(value := float(text)) else refuse(text)

    def whole(text: str) -> float:
        return value if abs(value := int(text)) < 2**64 else refuse(text)

    if len(content) > _LARGEST:
        raise _Wrong(f"is larger than {_LARGEST:,} bytes, which ganzoo never writes. {remedy}")
    try:
        text = content.decode("utf-8")
        return json.loads(text, parse_constant=refuse, parse_float=real, parse_int=whole)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"is no JSON ({error}). {remedy}") from None


def _rows(path: Path) -> str:
    """Check lines of JSON whose steps ascend.

    What belongs to scores has steps of its own: they are known later than what is written of the
    training meanwhile. Two rows of one kind are never of the same step, two diagnoses may be.
    """
    if not os.path.lexists(path):
        return "no rows yet"
    rising = path.name == METRICS
    last = {False: -math.inf, True: -math.inf}  # by whether they belong to scores
    count, number, short = {False: 0, True: 0}, 0, False
    with _opened(path) as file:
        for line in iter(lambda: file.readline(_LARGEST + 1), b""):
            number += 1
            if short := not line.endswith(b"\n") and len(line) <= _LARGEST:
                break
            try:
                row = _json(line, "Remove that line.")
            except _Wrong as wrong:
                raise _Wrong(f"line {number} {wrong}") from None
            step = row.get("step") if isinstance(row, dict) else None
            if isinstance(step, bool) or not isinstance(step, int):
                raise _Wrong(f"line {number} has no step. Remove that line.")
            scored = "evaluated" in row if rising else row.get("kind") in ("score", "patience")
            if step < last[scored] or (rising and step == last[scored]):
                raise _Wrong(
                    f"line {number} is of step {step}, after one of step {last[scored]}: two "
                    f"trainings wrote into this run, or it was edited. Remove that line."
                )
            last[scored] = step
            count[scored] += 1
    rows = _plural(count[False] if rising else sum(count.values()), "row")
    if rising and count[True]:
        rows += f" and {count[True]} of scores"
    if short:
        return f"{rows}, and one that was cut short, which resuming writes again"
    return rows + f", to step {max(last.values())}" * any(count.values())


def _newest_scores(path: Path) -> str:
    """Check ``scores.json`` of a run."""
    remedy = "Nothing is read from it to resume: delete it."
    with _opened(path) as file:
        found = _json(file.read(_LARGEST + 1), remedy)
    step = found.get("step") if isinstance(found, dict) else None
    if isinstance(step, bool) or not isinstance(step, int):
        raise _Wrong(f"has no step. {remedy}")
    return f"step {step}: {_told(found.get('scores'), remedy)}"


def _scores(path: Path) -> str:
    """Check ``metrics.json`` of a bundle."""
    with _opened(path) as file:
        return _told(_json(file.read(_LARGEST + 1), _MEASURE), _MEASURE)


_MEASURE = "Delete it; 'ganzoo evaluate' measures again."


def _told(scores: Any, remedy: str) -> str:
    """Check scores by the names of their metrics."""
    if not isinstance(scores, dict) or not all(isinstance(each, dict) for each in scores.values()):
        raise _Wrong(f"holds no scores by the names of their metrics. {remedy}")
    told = []
    for name, score in scores.items():
        value, protocol = score.get("value"), score.get("protocol", {})
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Wrong(f"has no value of '{name:.40}'. {remedy}")
        if not isinstance(protocol, dict):
            raise _Wrong(f"does not say how '{name:.40}' was measured. {remedy}")
        told.append(f"{name:.40} {value:.6g}")
    more = f" and {len(told) - _MOST} more" if len(told) > _MOST else ""
    return ", ".join(told[:_MOST]) + more or "no scores"


def _pictures(folder: Path) -> str:
    paths = sorted(folder.glob("*.png")) if folder.is_dir() else []
    for path in paths:
        try:
            _picture(path)
        except _Wrong as wrong:
            raise _Wrong(f"{path.name} {wrong}") from None
    return _plural(len(paths), "picture")


def _picture(path: Path) -> str:
    from PIL import Image

    kind = path.suffix[1:].upper()
    with _opened(path) as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of pictures that would fill the memory
                with Image.open(file, formats=[kind]) as picture:
                    width, height = picture.size
                    picture.verify()
            if kind == "GIF":  # of which nothing is verified
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b";":
                    raise ValueError("it was cut short")
        except Exception as error:  # Pillow's decoders raise whatever they meet
            raise _Wrong(f"is damaged ({error}). Nothing depends on it: delete it.") from None
    return f"{width}x{height}"


# -- nets -----------------------------------------------------------------------------------------


class _Nets:
    """The nets that the configuration of a run describes, to compare checkpoints with.

    What a sample is follows from the data, which are not loaded: it is taken from a bundle.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.config: TrainConfig | None = None
        self.expected: dict[str, dict[str, Tensor]] = {}
        self.trained: dict[str, dict[str, torch.Size]] = {}
        self.problem = ""
        try:
            self.config = _settings(run)
        except GanzooError:
            self.problem = "its config.yaml cannot be used"
            return
        spec = next((found.sample for found in self._bundles()), None)
        if spec is None:
            self.problem = "no bundle says what a sample is"
            return
        try:
            generator, discriminator = _outlines(self.config, spec)
        except Exception as error:  # plug-ins may raise anything
            self.problem = f"its nets cannot be built ({' '.join(str(error).split())})"
            return
        for part, net in (
            ("generator", generator),
            ("discriminator", discriminator),
            ("ema", generator),
        ):
            self.expected[part] = dict(net.state_dict())
        for name, part, net in (
            ("g_optimizer", "generator", generator),
            ("d_optimizer", "discriminator", discriminator),
        ):
            self.trained[name] = {
                f"{part}.{parameter}": value.shape for parameter, value in net.named_parameters()
            }

    def _bundles(self) -> Iterator[BundleConfig]:
        for folder in (self.run / "generator", *reversed(_numbered(self.run / "snapshots"))):
            try:
                yield bundle.config(folder)
            except GanzooError:
                continue

    def findings(self, *, needed: bool) -> Iterator[Finding]:
        """Say so where shapes cannot be compared."""
        kept = not needed or _numbered(self.run / "checkpoints")
        if self.problem and kept:
            text = f"shapes of the weights are not compared, because {self.problem}"
            yield Finding("checkpoints" if needed else ".", "note", text)

    def compare(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Refuse a checkpoint that these nets and their optimizers could not take."""
        parts = tuple(f"{part}." for part in self.expected)
        expected = {
            f"{part}.{name}": value
            for part, net in self.expected.items()
            for name, value in net.items()
        }
        found = {name: value for name, value in tensors.items() if name.startswith(parts)}
        if self.expected and (problem := bundle.mismatch(expected, found)):
            raise _Wrong(f"{problem}. {_OTHER_CONFIG}")
        values = state.get("parts")
        if not isinstance(values, dict):
            raise _Wrong(f"lacks the values of its parts. {_OTHER_CONFIG}")
        for name, shapes in self.trained.items():
            own = not getattr(self.config, name).provider  # all of ours work element by element
            packed, rest = checkpoint.part(name, tensors), values.get(name, {})
            # A loss may have weights of its own, which are trained with a net's.
            packed = {k: v for k, v in packed.items() if not k.startswith("loss.")}
            rest = {k: v for k, v in rest.items() if not k.startswith("loss.")}
            if problem := checkpoint.mismatch(shapes, packed, rest, elementwise=own):
                raise _Wrong(f"{name} {problem}. {_OTHER_CONFIG}")


def _outlines(config: TrainConfig, spec: SampleSpec) -> tuple[nn.Module, nn.Module]:
    """The nets of a configuration, as long as they need no more memory than they may."""
    arch, latent = config.arch, config.latent

    def build_on_meta(build: Callable[[], nn.Module]) -> nn.Module:
        try:
            net = bundle.build_on_meta(build)
        except GanzooError:
            raise
        except Exception:
            if not arch.provider:
                raise
            return build()  # a plug-in's net may need numbers while it is built
        bundle.check_affordable(Path("config.yaml"), net, spec, latent)
        return net

    with torch.random.fork_rng(devices=[]):
        return build_on_meta(lambda: arch.generator(spec, latent)), build_on_meta(
            lambda: arch.discriminator(spec)
        )


_OTHER_CONFIG = "It does not fit config.yaml: restore the one it was trained with."


def _checkpoint(folder: Path, nets: _Nets) -> str:
    tensors, state = checkpoint.load(folder)
    step = state.get("step")
    if checkpoint.misnamed(folder, state):
        raise _Wrong(f"holds step {step}, which its name denies: give it its own name back.")
    _finite(tensors, "Resume from an earlier checkpoint: move this one away.")
    nets.compare(tensors, state)
    size = sum((folder / name).stat().st_size for name in _CHECKPOINT)
    return f"step {step}, {len(tensors)} tensors, {_amount(size)}; hashes agree, all finite"


def _bundles(folder: Path, place: str, settings: TrainConfig | None = None) -> Iterator[Finding]:
    """Look at a bundle, and at the scores that lie in it."""
    path = folder / place
    yield _look(folder, place, partial(_bundle, path, settings))
    if os.path.lexists(path / bundle.METRICS):
        scores = bundle.METRICS if place == "." else f"{place}/{bundle.METRICS}"
        yield _look(folder, scores, partial(_scores, path / bundle.METRICS))


def _best(folder: Path, newest: Path | None, settings: TrainConfig | None) -> Iterator[Finding]:
    """Look at the best generator, and whether it is the one that the newest checkpoint names."""
    path = folder / BEST
    known, named = _named(newest)
    if os.path.lexists(path):
        yield from _bundles(folder, BEST, settings)
    elif named is not None:
        kept = newest is not None and checkpoint.place(newest.parent, named).is_dir()
        again = "Resuming the run writes it again." if kept else "So is its checkpoint."
        yield Finding(BEST, "wrong", f"is missing, and was that of step {named}. {again}")
        return
    try:
        step = bundle.config(path).training.get("steps")
    except GanzooError:
        return
    if known and step != named:
        other = "none" if named is None else f"that of step {named}"
        yield Finding(
            BEST,
            "note",
            f"is of step {step}, and the newest whole checkpoint names {other} as the best, as "
            f"where a training ended between the two; 'ganzoo resume' brings them together",
        )


def _named(newest: Path | None) -> tuple[bool, int | None]:
    """Whether a whole checkpoint knows of scores, and the step of the best generator by them."""
    if newest is None:
        return False, None
    try:
        state, _ = checksummed.read(newest / "state.json")
        best = state["parts"]["scores"]["best"]
        return True, None if best is None else int(best["step"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return False, None


def _bundle(folder: Path, settings: TrainConfig | None) -> str:
    if not folder.exists():
        raise _Wrong("is missing. Resuming the run writes it with the next checkpoint.")
    config, module = bundle.load(folder)
    judge: nn.Module | None = None
    if bundle.DISCRIMINATOR in config.weights:
        judge = bundle.discriminator(folder)
    if settings is not None and config.architecture != settings.arch:
        raise _Wrong(
            f"is of another architecture ({config.architecture}) than config.yaml says "
            f"({settings.arch}): restore the one or the other."
        )
    _draw(Generator(module, config))
    nets = "both nets" if judge is not None else "generator"
    size = sum(facts.size for facts in config.weights.values())
    samples = "finite" if config.sample.value_range is None else "in range"
    return (
        f"{nets} {config.architecture.name}, {config.sample}, {_amount(size)}, by ganzoo "
        f"{config.library_version}; hashes agree, all finite, samples {samples}"
    )


def _draw(generator: Generator) -> None:
    spec = generator.spec
    try:
        samples = generator.sample(_DRAWN, seed=0)
    except Exception as error:  # the architecture may be a plug-in's
        reason = " ".join(str(error).split())
        raise _Wrong(f"cannot be sampled from ({type(error).__name__}: {reason}).") from error
    if tuple(samples.shape[1:]) != spec.shape:
        raise _Wrong(
            f"makes samples of shape {tuple(samples.shape[1:])}, not {spec.shape} as it says: its "
            f"architecture has changed since. Install the version that it was saved with."
        )
    if not samples.isfinite().all():
        raise _Wrong("makes samples that are not finite. Go back to an earlier checkpoint.")
    if spec.value_range is not None:
        low, high = spec.value_range
        slack = _SLACK * (high - low)
        least, most = float(samples.min()), float(samples.max())
        if least < low - slack or most > high + slack:
            raise _Wrong(
                f"makes values from {least:.3g} to {most:.3g}, outside its range of {low:g} to "
                f"{high:g}: its architecture does not keep what the sample spec says."
            )


def _finite(tensors: Mapping[str, Tensor], remedy: str) -> None:
    if problem := bundle.not_finite(tensors):
        raise _Wrong(f"{problem}. {remedy}")


def _plural(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"


def _amount(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
