"""Check what ``python -m build`` has made: python tools/check_dist.py FOLDER.

The folder must hold one sdist and one wheel. The wheel must hold what it should and no more, and
must work from an empty folder with the dependencies of the running Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

LIMIT = 12 * 10**6  # bytes
PRETRAINED_LIMIT = 6 * 10**6
DATA = "ganzoo/datasets/data/"
PRETRAINED = "ganzoo/generators/pretrained/"
NEEDED = (
    "ganzoo/__init__.py",
    "ganzoo/py.typed",
    "ganzoo/recipes/mlp-mnist.yaml",
    f"{DATA}fashion-mnist-10k.npz",
    f"{DATA}FASHION-MNIST-LICENSE",
    f"{PRETRAINED}pretrained.yaml",
    f"{PRETRAINED}dcgan.fashion/config.json",
    f"{PRETRAINED}dcgan.fashion/model.safetensors",
    f"{PRETRAINED}mlp.mnist/config.json",
    f"{PRETRAINED}mlp.mnist/model.safetensors",
)
LICENCES = (
    "LICENSE",
    "src/ganzoo/datasets/data/FASHION-MNIST-LICENSE",
    "src/ganzoo/generators/pretrained/LICENSE",
)
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "src/ganzoo/__init__.py",
           "tests/test_docs.py", "docs/index.md", "mkdocs.yml")  # fmt: skip


def main() -> None:
    """Check the folder named on the command line."""
    folder = Path(sys.argv[1])
    wheel, sdist = only(folder, "*.whl"), only(folder, "*.tar.gz")
    check_wheel(wheel)
    check_sdist(sdist)
    check_use(wheel)
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {sdist.name}: both are as they should be")


def only(folder: Path, pattern: str) -> Path:
    """The one file of that pattern."""
    found = list(folder.glob(pattern))
    require(len(found) == 1, f"{folder} must hold one {pattern}, not {len(found)}")
    return found[0]


def check_wheel(wheel: Path) -> None:
    """What the wheel holds, and its size."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        pretrained = {
            each.filename: archive.read(each)
            for each in archive.infolist()
            if each.filename.startswith(PRETRAINED) and each.filename.count("/") == 3
        }
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/"
    for name in (*NEEDED, *(f"{info}licenses/{licence}" for licence in LICENCES)):
        require(name in names, f"{wheel.name} lacks {name}")
    odd = [name for name in names if not name.startswith(("ganzoo/", info)) or "test_" in name]
    require(not odd, f"{wheel.name} holds what does not belong there: {odd[:3]}")
    check_pretrained(pretrained)
    size = wheel.stat().st_size
    require(size < LIMIT, f"{wheel.name} has {size:,} bytes, and the limit is {LIMIT:,}")


def check_pretrained(files: dict[str, bytes]) -> None:
    """The bundles are small, and as their configurations say."""
    size = sum(map(len, files.values()))
    require(size < PRETRAINED_LIMIT, f"the bundles have {size:,} bytes: more than fits")
    for name, content in files.items():
        if name.endswith("/config.json"):
            for weights, facts in json.loads(content)["weights"].items():
                found = files[name.replace("config.json", weights)]
                whole = hashlib.sha256(found).hexdigest() == facts["sha256"]
                require(whole, f"{weights} is not the file that {name} describes")


def check_sdist(sdist: Path) -> None:
    """What the sdist holds."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (*SOURCES, *(f"src/{name}" for name in NEEDED)):
        require(name in names, f"{sdist.name} lacks {name}")


def check_use(wheel: Path) -> None:
    """Install the wheel without dependencies into an empty folder, and use it from there."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "target")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
        environment = {**os.environ, "PYTHONPATH": str(target)}
        script = (
            "import ganzoo, ganzoo.datasets; "
            "print(ganzoo.__file__, len(ganzoo.datasets.create('fashion-mnist-10k').load()))"
        )
        found = run([sys.executable, "-c", script], folder, environment).split()
        require(Path(found[0]).is_relative_to(target), f"imported {found[0]}, not the wheel")
        require(found[1] == "10000", f"the embedded data have {found[1]} samples")
        offline = {**environment, "HF_HUB_OFFLINE": "1", "HF_HOME": folder}
        said = run([sys.executable, "-m", "ganzoo", "sample"], folder, offline).strip()
        require(said == "samples.png", f"'ganzoo sample' says {said}")
        require(Path(folder, said).stat().st_size > 5000, "'ganzoo sample' writes no pictures")
        version = run([sys.executable, "-m", "ganzoo", "--version"], folder, environment).strip()
        require(version == wheel.name.split("-")[1], f"--version says {version}")


def run(command: list[str], folder: str, environment: dict[str, str]) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def require(condition: bool, fault: str) -> None:
    """Stop with the fault unless the condition holds."""
    if not condition:
        raise SystemExit(fault)


if __name__ == "__main__":
    main()
