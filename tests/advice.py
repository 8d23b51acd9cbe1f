"""What the tests of advice that is followed share: rows, ways to read a message, and makings."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganzoo.architectures.mlp import MLP
from ganzoo.cli import main
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import GanzooError
from ganzoo.generators.bundle import BundleConfig
from ganzoo.generators.generator import Generator
from ganzoo.training.trainer import Trainer
from hub.conftest import hub as hub_fixture
from hub.server import HubServer

hub_server = hub_fixture


class Rows(list[Any]):
    """Situations: each provokes a message, follows it, and asserts that this helps."""

    def __call__(
        self, area: str, *cases: Any
    ) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Enter a situation, or one for each case."""

        def enter(function: Callable[..., None]) -> Callable[..., None]:
            for case in cases or (None,):
                arguments = () if case is None else case if isinstance(case, tuple) else (case,)
                told = f"[{str(arguments[0])[:30]}]" if arguments else ""
                name = f"{area}: {function.__name__.replace('_', ' ')}{told}"
                self.append(pytest.param(function, arguments, id=name))
            return function

        return enter

    @property
    def areas(self) -> set[str]:
        return {str(each.id).partition(":")[0] for each in self}


def follow(
    situation: Callable[..., None], arguments: tuple[Any, ...], request: pytest.FixtureRequest
) -> None:
    """Meet a situation, with the fixtures that it takes after its arguments."""
    wanted = situation.__code__.co_varnames[: situation.__code__.co_argcount]
    situation(*arguments, *map(request.getfixturevalue, wanted[len(arguments) :]))


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


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Line:
    return Line(capsys)


# -- makings ----------------------------------------------------------------------------------

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


def maker(spec: SampleSpec | None = None, **options: Any) -> Generator:
    spec, latent = spec or SampleSpec(shape=(1, 8, 8)), LatentSpec(shape=(3,))
    arch = MLP(hidden=(4,))
    config = BundleConfig(architecture=arch, sample=spec, latent=latent, training={"steps": 1})
    return Generator(arch.generator(spec, latent), config, **options)


def flat(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1)


def literal(text: str) -> Any:
    return ast.literal_eval(text)


@pytest.fixture
def server(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    maker().push_to_hub("zoo/a")
    return hub_server
