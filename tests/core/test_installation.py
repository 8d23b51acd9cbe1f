"""Other packages that install files into ours are named, with the way out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ganzoo
from ganzoo.core import installation

SOURCE = Path(ganzoo.__file__).parent
STRANGER = {  # as PyPI's pytorch-gan-zoo 0.0.6 is laid out
    "ganzoo/__init__.py": "",
    "ganzoo/__version__.py": "__version__ = '0.0.6'\n",
    "ganzoo/constants/__init__.py": "",
    "ganzoo/losses/__init__.py": "",
    "ganzoo/losses/basic_losses.py": "",
    "run/basic_gan/__init__.py": "",
}
OWN = "pip install --force-reinstall --no-deps ganzoo"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder as pip leaves it: the package without its data, and its record."""
    site = tmp_path_factory.mktemp("original")
    keep = shutil.ignore_patterns("__pycache__", "*.npz", "*.npy", "*.safetensors", "*.png", "*.gz")
    shutil.copytree(SOURCE, site / "ganzoo", ignore=keep)
    files = [
        path.relative_to(site).as_posix() for path in sorted(site.rglob("*")) if path.is_file()
    ]
    record(site, "ganzoo", ganzoo.__version__, files)
    return site


@pytest.fixture
def site(original, tmp_path):
    shutil.copytree(original, tmp_path / "site")
    return tmp_path / "site"


def record(site, name, version, files, **texts):
    """Write what pip writes of an installed distribution."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    texts = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", **texts}
    if files is not None:
        lines = [f"{file},sha256=x,1\n" for file in files]
        texts.setdefault("RECORD", "".join([*lines, f"{info.name}/RECORD,,\n"]))
    for file, text in texts.items():
        (info / file).write_text(text, encoding="utf-8")
    return info


def install(site, name="pytorch-gan-zoo", version="0.0.6", files=STRANGER, **texts):
    for file, text in files.items():
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return record(site, name, version, files, **texts)


def uninstall(site, info):
    for line in (info / "RECORD").read_text().splitlines():
        (site / line.partition(",")[0]).unlink(missing_ok=True)
    shutil.rmtree(info)


def python(site, *arguments):
    """Run Python with the folder and what ganzoo stands on, but without the ganzoo under test."""
    libraries = sysconfig.get_paths()["purelib"]
    if Path(libraries, "ganzoo").exists():
        pytest.skip("ganzoo lies among the libraries that it needs")
    path = os.pathsep.join([str(site), libraries])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-S", *arguments],  # no .pth files, which an editable ganzoo is one of
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )


def told(site):
    done = python(site, "-c", "from ganzoo.core import installation; print(installation.fault())")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_installation_of_its_own_is_whole(site) -> None:
    assert told(site) == "None"


def test_the_package_that_replaces_ours(site) -> None:
    install(site)
    assert told(site) == (
        "This installation is not whole: the distribution 'pytorch-gan-zoo' 0.0.6 installs files "
        "into the package 'ganzoo' too (ganzoo/__init__.py, ganzoo/constants/__init__.py, "
        "ganzoo/losses/__init__.py and 2 more): it replaces ours, and takes them along when it is "
        f"removed. Run: pip uninstall pytorch-gan-zoo, then: {OWN}"
    )


ONE = {"ganzoo/extra.py": ""}
STRANGERS = {
    "one more file": {"name": "more", "files": ONE},
    "another name": {"name": "gan.zoo_too", "files": STRANGER},
    "in a folder": {"name": "nested", "files": {"ganzoo/datasets/more.py": ""}},
    "data only": {"name": "data", "files": {"ganzoo/data.bin": ""}},
    "a name that begins like ours": {"name": "ganzoo-extras", "files": ONE},
    "top_level.txt alone": {"name": "old", "files": {}, "top_level.txt": "run\nganzoo\n"},
    "installed-files.txt": {
        "name": "older",
        "files": {},
        "installed-files.txt": "../ganzoo/a.py\n",
    },
    "no version": {"name": "odd", "files": ONE, "METADATA": "Name: odd\n"},
    "quoted in its record": {"name": "quoted", "files": {}, "RECORD": '"ganzoo/a,b.py",,\n'},
    "in capitals": {"name": "Gan-Zoo", "files": {"ganzoo/__init__.py": ""}},
}


@pytest.mark.parametrize("case", STRANGERS)
def test_strangers_of_any_kind(site, case) -> None:
    texts = {"files": {}, **STRANGERS[case]}
    name = texts.pop("name")
    install(site, name, "1.0", texts.pop("files"), **texts)
    found = told(site)
    assert found.startswith(f"This installation is not whole: the distribution '{name}' ")
    assert found.endswith(f"Run: pip uninstall {name}, then: {OWN}")


NEIGHBOURS = {
    "a plug-in": {"name": "ganzoo-example", "files": {"ganzoo_example/__init__.py": ""}},
    "another top level": {"name": "run", "files": {"run/__init__.py": ""}},
    "ganzoo further down": {"name": "deep", "files": {"deep/ganzoo/__init__.py": ""}},
    "a name that begins alike": {"name": "alike", "files": {"ganzoo2/__init__.py": ""}},
    "a module that begins alike": {"name": "alike", "files": {"ganzoo_tools.py": ""}},
    "a script": {"name": "script", "files": {}, "RECORD": "../../../bin/ganzoo,,\n"},
    "no record": {"name": "bare", "files": {}, "RECORD": ""},
    "no name": {"name": "nameless", "files": {}, "METADATA": "Version: 1\n"},
    "no metadata": {"name": "nothing", "files": {}, "METADATA": ""},
    "its top level": {"name": "top", "files": {}, "top_level.txt": "ganzoo_example\n"},
    "ours once more": {"name": "Ganzoo", "files": {}, "RECORD": "ganzoo/__init__.py,,\n"},
}


@pytest.mark.parametrize("case", NEIGHBOURS)
def test_neighbours_are_no_strangers(site, case) -> None:
    texts = {"files": {}, **NEIGHBOURS[case]}
    install(site, texts.pop("name"), "1.0", texts.pop("files"), **texts)
    assert told(site) == "None"


def test_two_strangers(site) -> None:
    install(site, "one", "1.0", {"ganzoo/one.py": ""})
    install(site, "two", "2.0", {"ganzoo/two.py": ""})
    found = told(site)
    assert "'one' 1.0" in found and "'two' 2.0" in found
    assert "pip uninstall one, then: pip uninstall two, then: pip install" in found


COMMANDS = [["doctor"], ["list"], ["show", "mlp"], ["train", "mlp", "--dry-run"], ["sample"]]


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_every_command_says_so_where_ours_is_replaced(site, line) -> None:
    install(site)
    done = python(site, "-m", "ganzoo", *line)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: This installation is not whole: the distribution 'pytor")


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_every_command_says_so_where_ours_is_gone(site, line) -> None:
    uninstall(site, install(site))
    assert not (site / "ganzoo/__init__.py").exists()
    done = python(site, "-m", "ganzoo", *line)
    assert done.returncode == 2
    assert done.stderr == (
        "error: This installation is not whole: files of ganzoo are gone (ganzoo/__init__.py, "
        f"ganzoo/losses/__init__.py). Run: {OWN}\n"
    )


@pytest.mark.parametrize("module", ["training.trainer", "core.spec", "config", "losses.bce"])
@pytest.mark.parametrize("removed", [False, True])
def test_modules_of_ours_say_so(site, module, removed) -> None:
    info = install(site)
    if removed:
        uninstall(site, info)
    done = python(site, "-c", f"import ganzoo.{module}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: This installation is not whole: ")
    assert last.endswith(OWN)


@pytest.mark.parametrize("name", ["constants", "lit_modules", "Discriminator"])
def test_a_failed_attribute_says_so(site, name) -> None:
    install(site, files={**ONE, "ganzoo/losses/basic_losses.py": ""})
    done = python(site, "-c", f"import ganzoo; ganzoo.{name}")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"AttributeError: module 'ganzoo' has no attribute '{name}'. This installation is not whole"
    )
    assert "pip uninstall pytorch-gan-zoo" in last
    quiet = python(site, "-c", "import ganzoo; print(hasattr(ganzoo, '_ipython_display_'))")
    assert quiet.stdout == "False\n"


def test_a_failed_attribute_of_a_whole_installation(site) -> None:
    done = python(site, "-c", "import ganzoo; ganzoo.Discriminator")
    assert done.stderr.endswith(
        "AttributeError: module 'ganzoo' has no attribute 'Discriminator'\n"
    )


@pytest.mark.parametrize("name", ["Trainer", "TrainConfig", "losses.names()", "testing"])
def test_what_is_behind_an_attribute_says_so(site, name) -> None:
    install(site, files={"ganzoo/losses/__init__.py": ""})  # the package's own is ours still
    done = python(site, "-c", f"import ganzoo; ganzoo.{name}")
    assert done.returncode == 1
    if name.startswith("losses"):  # which is found, and is theirs
        assert "AttributeError" in done.stderr
    else:
        assert "Error: This installation is not whole: " in done.stderr.splitlines()[-1]


def test_ours_installed_over_theirs(site) -> None:
    keep = {file: (site / file).read_text() for file in STRANGER if (site / file).exists()}
    info = install(site)
    for file, text in keep.items():
        (site / file).write_text(text)
    done = python(site, "-m", "ganzoo", "doctor")
    assert done.returncode == 2 and "pip uninstall pytorch-gan-zoo" in done.stderr
    assert python(site, "-m", "ganzoo", "list").returncode == 0  # it works, as long as both stay
    uninstall(site, info)
    assert "files of ganzoo are gone" in told(site)


@pytest.mark.parametrize(
    ("direct", "expected"),
    [
        ('{"url": "file:///home/ada/gan%20zoo", "dir_info": {}}', "'/home/ada/gan zoo'"),
        ('{"url": "file:///src/ganzoo", "dir_info": {"editable": true}}', "/src/ganzoo"),
        (
            '{"url": "https://example.org/g.git", "vcs_info": {"vcs": "git", "commit_id": "1"}}',
            "git+https://example.org/g.git",
        ),
        (
            '{"url": "https://example.org/ganzoo-1-py3-none-any.whl", "archive_info": {}}',
            "https://example.org/ganzoo-1-py3-none-any.whl",
        ),
        ("{}", "ganzoo"),
        ("not JSON", "ganzoo"),
        ("[]", "ganzoo"),
    ],
)
def test_it_is_installed_again_from_where_it_came(site, direct, expected) -> None:
    (info,) = site.glob("ganzoo-*.dist-info")
    (info / "direct_url.json").write_text(direct)
    install(site)
    assert told(site).endswith(f"then: pip install --force-reinstall --no-deps {expected}")


def test_damaged_data_are_installed_again_from_where_pip_had_them(monkeypatch) -> None:
    class Found:
        def read_text(self, name: str) -> str | None:
            url = "file:///home/me/my%20wheels/ganzoo-1.0-py3-none-any.whl"
            return json.dumps({"url": url}) if name == "direct_url.json" else None

    monkeypatch.setattr(installation.importlib.metadata, "distribution", lambda _: Found())
    told = str(ganzoo.datasets.get("fashion-mnist-10k")()._damaged("cut short"))
    expected = (
        "pip install --force-reinstall --no-deps '/home/me/my wheels/ganzoo-1.0-py3-none-any.whl'"
    )
    assert told.endswith(f"reinstall ganzoo: {expected}")


def test_the_steps_it_names_are_those_that_help(site, original) -> None:
    info = install(site)
    steps = re.findall(r"pip (\S+) ", told(site).partition("Run: ")[2])
    assert steps == ["uninstall", "install"]
    uninstall(site, info)
    shutil.copytree(original, site, dirs_exist_ok=True)  # as pip does
    assert told(site) == "None"
    assert python(site, "-m", "ganzoo", "list").returncode == 0
