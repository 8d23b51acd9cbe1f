"""The package as it is installed: what importing it costs, and how it is started."""

import importlib.metadata
import subprocess
import sys
from importlib import resources

import pytest

import ganzoo

HEAVY = ("torch", "torchvision", "numpy", "huggingface_hub")


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8"
    )


def imported(*arguments):
    """Top-level packages that a program imports."""
    done = run("-X", "importtime", *arguments)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import ganzoo; ganzoo.losses; ganzoo.SampleSpec; ganzoo.TrainConfig"],
        ["-m", "ganzoo", "--help"],
        ["-m", "ganzoo", "--version"],
        ["-m", "ganzoo", "list"],
        ["-m", "ganzoo", "show", "dcgan.fashion"],
    ],
    ids=lambda arguments: arguments[-1].partition(";")[0],
)
def test_torch_is_not_imported_by(arguments):
    found = imported(*arguments)
    assert "ganzoo" in found
    assert found.isdisjoint(HEAVY)


def test_the_module_starts_the_command_line():
    done = run("-m", "ganzoo", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, ganzoo.__version__)


def test_the_installed_version_is_that_of_the_code():
    assert importlib.metadata.version("ganzoo") == ganzoo.__version__


def test_the_console_script_is_declared():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="ganzoo")
    assert script.value == "ganzoo.cli:main"


def test_types_are_for_others_too():
    assert resources.files("ganzoo").joinpath("py.typed").is_file()


def test_everything_public_can_be_imported_and_listed():
    for name in ganzoo.__all__:
        assert getattr(ganzoo, name) is not None
    assert set(ganzoo.__all__) <= set(dir(ganzoo))
    with pytest.raises(AttributeError, match="'ganzoo' has no attribute 'Trayner'"):
        ganzoo.Trayner  # noqa: B018
