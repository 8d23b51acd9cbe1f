"""Advice on loading generators and sampling from them."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from advice_followed.helpers import Line, cases, found, literal, load, maker, pixels, run_of, said
from ganzoo import architectures
from ganzoo.architectures.mlp import MLP
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.generators import pretrained
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.training.callbacks import Callback


@cases((4, (4, 7)), (2, (3, 3)))
def test_latents_of_another_shape(count: int, shape: tuple[int, ...]):
    text = said(lambda: maker().sample(count, latents=torch.zeros(shape)))
    needed = literal(found(r"need (\(.+?\))", text))
    assert len(maker().sample(count, latents=torch.zeros(needed))) == count


@cases(3, "cat")
def test_labels_without_classes(label: Any):
    assert "leave out 'labels'" in said(lambda: maker().sample(2, labels=label))
    maker().sample(2)


@cases("dcgan.fashon", "mlp.mnst")
def test_a_misspelt_generator(name: str):
    meant = found(r"Did you mean '(.+?)'", said(lambda: Generator.from_pretrained(name)))
    assert len(Generator.from_pretrained(meant).sample(2)) == 2


@cases((50, 4000), (200, 20000))
def test_more_bytes_than_are_allowed(count: int, allowed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_MAX_BYTES", str(allowed))
    text = said(lambda: maker().sample(count))
    assert "Draw them in parts" in text
    maker().sample(5)
    each = int(found(r"of (\d+) bytes each", text.replace(",", "")))
    monkeypatch.setenv(found(r"variable (\w+) to more", text), str(2 * count * each))
    assert len(maker().sample(count)) == count


@cases("much", "-3", "1e9")
def test_a_limit_that_is_no_number(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_MAX_BYTES", given)
    name = found(r"variable (\w+) is", said(lambda: maker().sample(2)))
    monkeypatch.setenv(name, "1000000")
    maker().sample(2)


# -- generators -------------------------------------------------------------------------------


@cases((-1, 4), (4, 0), (2.5, 4), ("many", 4), (True, 4))
def test_counts_that_are_none(count: Any, batch_size: Any):
    text = said(lambda: maker().sample(count, batch_size=batch_size))
    least = re.search(r"at least (\d) and (\d)", text).groups()
    assert len(maker().sample(int(least[0]), batch_size=int(least[1]))) == 0


def test_a_folder_that_is_being_saved():
    maker().save_pretrained("made")
    Path("made").rename(".made.12345678.old")
    text = said(lambda: Generator.from_pretrained("made"))
    left, name = re.search(r"which left (.+?)\. .*rename what is left to (\S+) if", text).groups()
    Path(left).rename(Path(left).with_name(name))
    load()


def test_weights_of_another_library(line: Line):
    net = MLP(hidden=(4,)).generator(SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,)))
    torch.save(net.state_dict(), "one.pt")
    command = found(r"'(ganzoo convert)'", said(lambda: Generator.from_pretrained("one.pt")))
    line.follow(f"{command} one.pt --arch mlp --out made")
    load()


def test_the_best_of_a_run_without_scores():
    run_of(pixels(24, 16))
    text = said(lambda: Generator.from_pretrained("run/best"))
    load(found(r"its newest generator is in (.+)\.$", text))
    setting = found(r"where (\w+) is set", text)
    run_of(pixels(24, 16), out="scored", metrics=["swd"], checkpoint_every=1, **{setting: 1})
    load("scored/best")


@cases("dcgan.fashion", "other")
def test_a_revision_of_what_has_none(name: str):
    maker().save_pretrained("other")
    text = said(lambda: Generator.from_pretrained(name, revision="main"))
    assert "Leave the revision out" in text.replace("\n", " ")
    load(name)


@cases("./nowhere", "a/b/c", "nowhere")
def test_a_folder_that_is_nowhere(name: str):
    text = said(lambda: Generator.from_pretrained(name))
    assert "Give the folder of a run or of a saved generator" in text
    run_of()
    load("run")
    maker().save_pretrained("made")
    load("made")
    for each in found(r"by its name: (.+)\.$", text).split(", ") if name == "nowhere" else ():
        assert each in ganzoo_names()


def ganzoo_names() -> list[str]:

    return list(pretrained.names())


def test_a_link_out_of_a_run():
    run_of()
    shutil.move("run/generator", "elsewhere")
    Path("run/generator").symlink_to(Path("elsewhere").resolve())
    text = said(lambda: Generator.from_pretrained("run"))
    assert "Give the folder it leads to" in text
    load(Path(found(r"^(\S+) is a link", text)).resolve())


class KilledError(Exception):
    """What ends a training at once."""


def killed(**settings: Any) -> None:
    """A run that was ended before its first checkpoint."""

    class Kill(Callback):
        def on_step(self, *_: Any) -> None:
            raise KilledError

    with contextlib.suppress(KilledError):
        run_of(callbacks=[Kill()], **settings)
    shutil.rmtree("run/generator", ignore_errors=True)


def test_a_run_without_a_generator_yet(line: Line):
    killed()
    command = found(r"'(ganzoo resume .+?)'", said(lambda: Generator.from_pretrained("run")))
    line.follow(f"{command} --quiet")
    load("run")


def test_a_run_that_has_lost_its_generator(line: Line):
    run_of()
    shutil.rmtree("run/generator")
    command = found(r"'(ganzoo resume .+?)'", said(lambda: Generator.from_pretrained("run")))
    line.follow(f"{command} --quiet")
    load("run")


# -- labels -----------------------------------------------------------------------------------

NAMES = ("cat", "dog", "Éclair", "7", "a,b")


@contextlib.contextmanager
def of_classes() -> Any:
    """A generator that knows classes."""

    class Classy(MLP):
        """Uses labels."""

        conditional = True

    architectures.register("classy")(Classy)
    try:
        spec, latent = SampleSpec(shape=(1, 8, 8), classes=NAMES), LatentSpec(shape=(3,))
        arch = Classy(hidden=(4,))
        config = BundleConfig(architecture=arch, sample=spec, latent=latent)
        yield Generator(arch.generator(spec, latent), config)
    finally:
        architectures.registry.unregister("classy")


LABELS = (
    ("dgo", r"Did you mean ('dog')"), ("cat,dog", r"in a list: (\[.+?\])"),
    ("1", r"given without quotes: (\d)"), (2.0, r"Give (\d)"),
    (np.eye(5)[[0, 1, 4]], r"instead: (labels\.argmax\(1\))"),
    (np.eye(5)[[0, 1, 4]].tolist(), r"instead: (numpy\.argmax\(labels, 1\))"),
    (np.array([0.0, 1.5]), r"by (labels\.astype\(int\))"),
    (torch.tensor([0.0, 1.5]), r"by .+ a tensor by (labels\.long\(\))"),
    (7, r"called '(7)': give it as a string"),
)  # fmt: skip


@cases(*[(number,) for number in range(len(LABELS))])
def test_labels_in_another_form(number: int):
    labels, pattern = LABELS[number]
    with of_classes() as made:
        way = found(pattern, said(lambda: made.sample(labels=labels)))
        better = way if labels is LABELS[8][0] else eval(way, {"labels": labels, "numpy": np})
        assert len(made.sample(labels=better))


@cases("set", "mapping", "several", "no label", "too large", "rows")
def test_labels_that_are_none(kind: str):
    labels: Any = {
        "set": {0, 1}, "mapping": {0: 1}, "several": [0, 1, 2], "no label": None,
        "too large": 9, "rows": [[0, 1], [1, 0]],
    }[kind]  # fmt: skip
    labels = [labels] if kind == "no label" else labels
    with of_classes() as made:
        text = said(lambda: made.sample(None if kind == "no label" else 2, labels=labels))
        if kind in ("set", "mapping"):
            assert "Give a list, with one for each sample" in text
            made.sample(2, labels=list(labels)[:1] * 2)
        elif kind in ("several", "rows"):
            assert "one label for all samples or one for each of the 2" in text
            made.sample(2, labels=0)
            made.sample(2, labels=[0, 1])
        elif kind == "no label":
            for name in found(r"Classes, from 0 on: (.+)\.$", text).split(", "):
                made.sample(2, labels=name)
        else:
            low, high = re.search(r"from (\d) to (\d)", text).groups()
            made.sample(2, labels=[int(low), int(high)])


# -- the installation -------------------------------------------------------------------------


def test_a_sample_that_needs_more_than_is_allowed(monkeypatch: pytest.MonkeyPatch):
    spec, latent, arch = SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,)), MLP(hidden=(400,))
    config = BundleConfig(architecture=arch, sample=spec, latent=latent)
    made = Generator(arch.generator(spec, latent), config)
    monkeypatch.setenv("GANZOO_MAX_BYTES", "1000")
    text = said(lambda: made.sample(2))
    needs = found(r"One sample of this generator needs ([\d,]+) bytes", text).replace(",", "")
    monkeypatch.setenv(found(r"environment variable (\w+) to more", text), needs)
    assert len(made.sample(2)) == 2
