"""A third-party package, installed for real and used from the command line."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "plugin_example"
PROVIDER = "ganzoo-example 0.1.0"
COMPONENTS = {"arch": "tiny-conv", "dataset": "checkerboard", "loss": "softplus-margin"}
OTHERS = ["adaptive-fade", "latent-encoder", "number-table", "sliding-penalty"]
TRACKER = "number-table"
TRAIN = (
    "train tiny-conv --dataset checkerboard --dataset.size 16 --dataset.count 20 "
    "--loss softplus-margin --loss.margin 0.5 --arch.channels 4 --conditional "
    "--penalties sliding-penalty --augmentation adaptive-fade --trackers number-table "
    "--batch-size 4 --steps 3 --device cpu --quiet --out run"
)
MISSING = (
    "error: The architecture 'tiny-conv' says that it comes from the package 'ganzoo-example' "
    "0.1.0, which is not installed. Only the file says so: look at it on PyPI "
    "before you install it."
)

# Several command lines in one process: importing torch takes longer than all else here.
SEVERAL = """
import contextlib, io, json, sys
from ganzoo.cli import main

results = []
for tokens in json.loads(sys.argv[1]):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(tokens)
        except SystemExit as leaving:
            code = leaving.code or 0
    results.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


@dataclass
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        assert self.code == 2, self
        assert "Traceback" not in self.err, self.err
        return " ".join(self.err.split())


@dataclass
class Shell:
    """Runs ganzoo in a folder, with the plug-in installed unless asked otherwise."""

    site: Path
    folder: Path

    def _run(self, arguments, *, installed=True, **variables):
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GANZOO_")},
            "PYTHONPATH": str(self.site) if installed else "",
            "COLUMNS": "200",
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def __call__(self, line, **where):
        return self._run(["-m", "ganzoo", *line.split()], **where)

    def several(self, *lines, **where):
        tokens = json.dumps([line.split() for line in lines])
        done = self._run(["-c", SEVERAL, tokens], **where)
        assert done.code == 0, done.err
        return [Result(*result) for result in json.loads(done.out.splitlines()[-1])]

    def pytest(self, folder):
        return self._run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", folder])


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """Source of the plug-in and where it is installed, away from the checkout."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs hatchling: pip install 'ganzoo[test]'")
    place = tmp_path_factory.mktemp("plugin")
    source, site = place / "source", place / "site"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    options = "--quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check"
    command = [sys.executable, "-m", "pip", "install", *options.split()]
    done = subprocess.run(
        [*command, "--target", str(site), str(source)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert (site / "ganzoo_example-0.1.0.dist-info" / "entry_points.txt").is_file()
    return source, site


@pytest.fixture(scope="session")
def shell(package, tmp_path_factory):
    return Shell(package[1], tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def trained(shell):
    """Folder of a short conditional training with everything from the plug-in."""
    done = shell(TRAIN)
    assert done.code == 0, done.err
    return shell.folder / "run"


def test_its_own_tests_pass(package, shell):
    done = shell.pytest(package[0] / "tests")
    assert done.code == 0, done.out


def test_it_is_listed(shell):
    done = shell("list")
    assert done.code == 0, done.err
    rows = [line for line in done.out.splitlines() if PROVIDER in line]
    assert sorted(row.split()[0] for row in rows) == sorted([*COMPONENTS.values(), *OTHERS])
    assert all("A template for ganzoo plug-ins" in row for row in rows)
    assert any("Two small convolutional nets for images" in row for row in rows)
    assert any("Logistic loss whose discriminator" in row for row in rows)


def test_its_options_are_on_the_command_line(shell):
    check, shown, usage, wrong, constraint, size = shell.several(
        "list --check",
        "show tiny-conv",
        "train tiny-conv --dataset checkerboard --loss softplus-margin --help",
        "train tiny-conv --loss softplus-margin --loss.margn 0.5",
        "train tiny-conv --loss softplus-margin --loss.margin -1",
        "train tiny-conv --dataset checkerboard --dataset.size 15",
    )
    assert check.code == 0, check.err
    assert check.out.count(PROVIDER) == 7
    assert "broken" not in check.out
    assert f"tiny-conv  architecture from {PROVIDER}" in shown.out
    for text in (
        "--arch.channels",
        "channels at full size; twice that below",
        "--arch.no-batch-norm",
        "--arch.slope",
        "--loss.margin",
        "--dataset.size",
        "height and width of an image",
        "[default: 512]",
    ):
        assert text in usage.out, text
    assert "'margn'. Did you mean 'margin'? Options: margin." in wrong.error
    assert "Loss 'softplus-margin': margin cannot be -1.0" in constraint.error
    assert "Dataset 'checkerboard': size cannot be 15" in size.error


def test_what_is_saved_says_where_it_comes_from(trained):
    import yaml

    config = yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))
    for setting, name in COMPONENTS.items():
        assert config[setting]["name"] == name
        assert config[setting]["provider"] == PROVIDER
    assert config["loss"]["margin"] == 0.5
    assert config["dataset"]["size"] == 16
    assert config["trackers"] == [{"name": TRACKER, "provider": PROVIDER, "digits": 6}]
    bundle = json.loads((trained / "generator" / "config.json").read_text(encoding="utf-8"))
    assert bundle["architecture"]["name"] == "tiny-conv"
    assert bundle["architecture"]["provider"] == PROVIDER
    assert bundle["training"]["loss"]["provider"] == PROVIDER
    assert bundle["training"]["dataset"]["provider"] == PROVIDER
    assert bundle["sample"]["classes"] == ["coarse", "fine"]
    assert "provider" not in config["g_optimizer"]


def test_what_is_saved_can_be_used(shell, trained):
    import numpy as np

    folder = shutil.copytree(trained, shell.folder / "used")
    results = shell.several(
        "sample used --count 3 --seed 0 --labels 0 --out zeros.npy",
        "sample used/generator --count 3 --seed 0 --labels 1 --out ones.npy",
        "resume used --steps 5 --quiet",
        "train --config used/config.yaml --steps 1 --no-conditional --quiet --out again",
        "sample again --count 2 --out plain.npy",
    )
    assert [result.code for result in results] == [0] * 5, results
    zeros, ones, plain = (
        np.load(shell.folder / f"{name}.npy") for name in ("zeros", "ones", "plain")
    )
    assert zeros.shape == ones.shape == (3, 1, 16, 16)
    assert plain.shape == (2, 1, 16, 16)
    assert (zeros != ones).any()  # the label matters
    table = (folder / "numbers.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in table if ",d_loss," in line] == ["3", "5"]
    rows = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["step"] for row in rows] == [5]  # it takes in what the row of 3 had


def test_without_it_what_was_saved_names_what_to_install(shell, trained):
    first = shell("sample run/generator", installed=False)
    assert first.error == MISSING
    *results, unknown = shell.several(
        "sample run",
        "resume run --steps 5",
        "train --config run/config.yaml",
        "train --loss softplus-margin",
        installed=False,
    )
    for result in results:
        assert result.error == MISSING
    assert unknown.error.startswith(
        "error: Unknown loss 'softplus-margin'. Available: auxiliary-classifier,"
    )


def test_plugins_turned_off(shell, trained):
    listed, named, saved = shell.several(
        "list", "train tiny-conv", "sample run", GANZOO_DISABLE_PLUGINS="1"
    )
    assert listed.code == 0
    assert "ganzoo-example" not in listed.out
    assert "Unknown architecture 'tiny-conv'." in named.error
    assert "Plug-ins are off: GANZOO_DISABLE_PLUGINS is set." in named.error
    assert saved.error == (
        "error: The architecture 'tiny-conv' says that it comes from the package 'ganzoo-example' "
        "0.1.0, but GANZOO_DISABLE_PLUGINS turns plug-ins off; unset it if you trust the package."
    )


def test_installing_it_left_nothing_in_the_checkout():
    found = {path.name for path in SOURCE.rglob("*")}
    assert not found & {"build", "dist"}
    assert not [name for name in found if name.endswith((".egg-info", ".dist-info"))]
