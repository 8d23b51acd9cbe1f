"""What the tests of advice share: how a message is met, read and followed, and makings."""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import inspect
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganzoo import datasets, metrics
from ganzoo.architectures import registry
from ganzoo.architectures.mlp import MLP
from ganzoo.cli import main
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.datasets import InMemoryDataset, Samples
from ganzoo.errors import GanzooError
from ganzoo.features.callable import Callable as Function
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.metrics import Metric
from ganzoo.training.trainer import Trainer


def cases(*given: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Meet a situation once for each value, or tuple of values, of its first parameters."""
    rows = [case if isinstance(case, tuple) else (case,) for case in given]

    def enter(function: Callable[..., None]) -> Callable[..., None]:
        names = list(inspect.signature(function).parameters)[: len(rows[0])]
        ids = [getattr(row[0], "__name__", str(row[0]))[:30] for row in rows]
        return pytest.mark.parametrize(names, rows, ids=ids)(function)

    return enter


def said(call: Callable[[], Any]) -> str:
    """What a call refuses; checks of plug-ins refuse by an AssertionError."""
    with pytest.raises((GanzooError, AssertionError)) as caught:
        call()
    return str(caught.value)


def found(pattern: str, text: str) -> str:
    """What a pattern of a message holds, which must be there."""
    match = re.search(pattern, text)
    assert match, f"{pattern!r} is not in: {text}"
    return match.group(1)


Remedy = tuple[Callable[[], Any], str, Callable[..., Any]]
"""What is refused, what the message says, and what helps, given the groups of that pattern."""


def helped(broken: Callable[[], Any], remedy: str, mended: Callable[..., Any]) -> None:
    """Meet a message and follow it."""
    text = said(broken)
    match = re.search(remedy, text)
    assert match, f"{remedy!r} is not in: {text}"
    mended(*match.groups())


class Line:
    """The command line, in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.capture = capture

    def refused(self, *tokens: str) -> str:
        self.capture.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(tokens)
        error = self.capture.readouterr().err
        assert caught.value.code == 2, error
        return error.removeprefix("error: ").strip()

    def runs(self, *tokens: str) -> str:
        """Run a command that ends well."""
        self.capture.readouterr()
        main(tokens)
        return self.capture.readouterr().out

    def follow(self, command: str) -> str:
        """Run a command as a message says it."""
        words = shlex.split(command)
        assert words[0] == "ganzoo"
        return self.runs(*words[1:])


SMALL = {"name": "mlp", "hidden": [4]}
TINY = ("--arch.hidden", "4", "--batch-size", "8", "--quiet")


def pixels(count: int = 24, size: int = 8, channels: int = 1) -> np.ndarray[Any, Any]:
    shape = (count, channels, size, size)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def trainer(data: Any = None, **settings: Any) -> Trainer:
    """A training that is made ready."""
    data = pixels() if data is None else data
    made = Trainer(
        **{"arch": SMALL, "steps": 1, "batch_size": 8, "progress": False, **settings}, dataset=data
    )
    made.setup()
    return made


def run_of(data: Any = "ring", **settings: Any) -> Path:
    run = Trainer(
        **{"arch": SMALL, "steps": 2, "batch_size": 8, "progress": False, "out": "run", **settings},
        dataset=data,
    ).fit()
    return run.path


def maker(spec: SampleSpec | None = None, arch: Any = None, **options: Any) -> Generator:
    spec, latent = spec or SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,))
    arch = arch or MLP(hidden=(4,))
    config = BundleConfig(architecture=arch, sample=spec, latent=latent, training={"steps": 1})
    return Generator(arch.generator(spec, latent), config, **options)


def net() -> torch.nn.Module:
    """What `maker` makes, without what it says of itself."""
    return maker().module


def flat(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1)


def literal(text: str) -> Any:
    return ast.literal_eval(text)


@contextlib.contextmanager
def labelled(conditional: bool = True) -> Any:
    """An architecture that uses labels, or ignores them, as long as the block lasts."""

    class Labelled(MLP):
        """Uses labels."""

    Labelled.conditional = conditional
    registry.register("labelled")(Labelled)
    try:
        yield "labelled"
    finally:
        registry.unregister("labelled")


def load(folder: str | Path = "made") -> Generator:
    made = Generator.from_pretrained(folder)
    assert len(made.sample(2)) == 2
    return made


def pictures(
    root: str = "photos", count: int = 8, folders: tuple[str, ...] = (), size: int = 8
) -> Path:
    """A folder of pictures, in such folders by turns."""
    for number in range(count):
        place = Path(root, folders[number % len(folders)] if folders else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(1, size)[0, 0] // 9 + 20 * number).save(place / f"{number}.png")
    return Path(root)


def loaded(value: Any = "photos", **options: Any) -> Samples:
    """The samples of a folder, or of what is given."""
    if isinstance(value, (str, Path)):
        return datasets.create({"name": "folder", "path": str(value), **options}).load()
    return InMemoryDataset.of(value, **options).load()


def options_in(text: str) -> dict[str, Any]:
    """Options that a message says, such as key='x' and size=(1, 2)."""
    pairs = re.findall(r"\b([a-z]\w*)=('[^']*'|\([^)]*\)|\[[^\]]*\]|[\w.]+)", text)
    return {name: literal(value) for name, value in pairs}


def floats(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


class Made(torch.utils.data.Dataset):
    """Items as a function makes them."""

    def __init__(self, make: Callable[[int], Any], count: int | None = 24, **more: Any) -> None:
        self.make, self.count = make, count
        vars(self).update(more)

    def __len__(self) -> int:
        if self.count is None:
            raise OSError("no list of files")
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def extra(text: str, package: str) -> None:
    """A message names an extra that brings a package."""
    name = found(r"pip install ['\"]ganzoo\[(\w+)\]['\"]", text)
    brought = importlib.metadata.requires("ganzoo") or []
    assert any(
        re.match(rf"{package}\b", each) and re.search(rf"extra == ['\"]{name}['\"]", each)
        for each in brought
    )


def kid(extractor: Any = None, **options: Any) -> Metric:
    extractor = Function.of(flat) if extractor is None else extractor
    settings = {"name": "kid", "subset_size": 5, "subsets": 2, "extractor": extractor, **options}
    return metrics.create(settings)


def fit(data: Any = None, **settings: Any) -> Any:
    data = pixels() if data is None else data
    settings = {"arch": SMALL, "steps": 2, "batch_size": 8, "progress": False, **settings}
    return Trainer(dataset=data, **settings).fit()
