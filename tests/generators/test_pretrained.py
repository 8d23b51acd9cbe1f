"""What lies trained in the package: it loads, samples as it did, and needs no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open

import ganzoo
from ganzoo.cli import main
from ganzoo.errors import ConfigError, GanzooError, UnknownNameError
from ganzoo.generators import bundle, pretrained

EXPECTED: dict[str, list[float]] = {
    "dcgan.fashion": [-0.5678, -0.8849, 0.0099, -0.6534],
    "mlp.mnist": [-0.7994, -0.7727, -0.8719, -0.6227],
}  # means of the first four samples of seed 0, as tools/make_pretrained.py prints them
LIMIT = 6_000_000  # bytes of all bundles

ENTRY: dict[str, Any] = {"name": "a.b", "summary": "dots", "license": "MIT", "size": 1}
PLACE = {"repo_id": "zoo/a.b", "revision": "0" * 40}


def test_what_there_is() -> None:
    assert pretrained.names() == pretrained.bundled() == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_entry_says_what_its_folder_is(name: str) -> None:
    entry = pretrained.get(name)
    assert entry.folder is not None
    config, _ = bundle.read(entry.folder)
    training = config.training
    assert entry.architecture == config.architecture.name
    assert entry.license == training["data_license"]
    assert entry.size == (entry.folder / bundle.WEIGHTS).stat().st_size
    assert config.half is not None
    assert config.half.largest < 0.02  # of the range: three of 256 grey levels
    with safe_open(entry.folder / bundle.WEIGHTS, "pt") as weights:
        kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
    assert "F16" in kinds
    assert "F32" not in kinds


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bundle_has_what_its_card_needs_and_nothing_else(name: str) -> None:
    folder = pretrained.get(name).folder
    assert folder is not None
    beside = {bundle.SAMPLES, bundle.CURVES, bundle.TRAINING}
    assert {path.name for path in folder.iterdir()} == {bundle.CONFIG, bundle.WEIGHTS, *beside}
    record = json.loads((folder / bundle.TRAINING).read_text(encoding="utf-8"))
    assert record["command"].startswith("ganzoo train ")
    config, _ = bundle.read(folder)
    assert record["steps"] == config.training["steps"]


def test_together_they_are_small() -> None:
    folders = [pretrained.get(name).folder for name in pretrained.bundled()]
    sizes = [path.stat().st_size for folder in folders if folder for path in folder.iterdir()]
    assert sum(sizes) < LIMIT


@pytest.mark.parametrize("name", EXPECTED)
def test_each_samples_as_it_did(name: str) -> None:
    generator = ganzoo.Generator.from_pretrained(name)
    samples = generator.sample(32, seed=0)
    low, high = generator.spec.value_range or (0, 0)
    assert samples.shape == (32, 1, 28, 28)
    assert samples.isfinite().all()
    assert low <= float(samples.min()) < float(samples.max()) <= high
    assert samples[:4].mean((1, 2, 3)).tolist() == pytest.approx(EXPECTED[name], abs=1e-3)
    distances = torch.pdist(samples.flatten(1))
    assert float(distances.min()) > 1  # all of them different
    again = ganzoo.Generator.from_pretrained(str(pretrained.get(name).folder))
    assert torch.equal(again.sample(32, seed=0), samples)


def test_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'dcgan\.fashion'\? Available: dcgan"):
        pretrained.get("dcgan.fashon")
    with pytest.raises(GanzooError, match=r"Did you mean 'dcgan\.fashion'\?"):
        ganzoo.Generator.from_pretrained("dcgan.fashon")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, "'a.b' needs a folder or a repo_id"),
        ({"repo_id": "zoo/a.b"}, "needs a revision with its repo_id"),
        ({**PLACE, "revision": "main"}, "revision cannot be 'main'"),
        ({**PLACE, "repo_id": "a.b"}, "repo_id cannot be 'a.b'"),
        ({**PLACE, "name": "ab"}, "name cannot be 'ab'"),
        ({**PLACE, "licence": "MIT"}, "has no option 'licence'. Did you mean 'license'?"),
        (
            {**PLACE, "scores": [{"metric": "FID", "value": 30.0}]},
            "The score needs a value for 'protocol'",
        ),
    ],
)
def test_what_an_entry_must_have(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pretrained.Pretrained(**{**ENTRY, **values})
    assert fault in str(caught.value)


def test_where_an_entry_leads() -> None:
    there = pretrained.Pretrained(**ENTRY, **PLACE)
    assert (there.folder, there.place) == (None, f"zoo/a.b@{'0' * 40}")
    both = pretrained.Pretrained(**ENTRY, **PLACE, folder="a.b")
    assert both.folder == Path(pretrained.__file__).parent / "a.b"
    assert both.place == "bundled"  # which needs no network


def test_list_and_show(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    main(["list", "pretrained"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    size = pretrained.get("mlp.mnist").size / 1e6
    assert f"mlp.mnist mlp {size:.1f} MB CC-BY-SA-3.0 none yet bundled" in lines
    main(["list"])
    assert "dcgan.fashion" in capsys.readouterr().out
    main(["show", "dcgan.fashion"])
    text = " ".join(capsys.readouterr().out.split())
    assert "dcgan.fashion pretrained, bundled Pieces of clothing" in text
    assert "samples 1x28x28 in [-1, 1]" in text
    assert "trained on fashion-mnist (MIT)" in text
    assert "Trained by: ganzoo train dcgan --arch.channels 48 --dataset fashion-mnist" in text
    assert text.endswith("Sample it: ganzoo sample dcgan.fashion")
    score = {"metric": "FID", "value": 31.5, "protocol": "10,000 against the test set"}
    entry = {key: value for key, value in ENTRY.items() if key != "name"}
    monkeypatch.setattr(
        pretrained, "_entries", lambda: {"mlp.new": {**entry, **PLACE, "scores": [score]}}
    )
    main(["show", "mlp.new"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"pretrained, zoo/a.b@{'0' * 40}" in text
    assert "FID 31.5 (10,000 against the test set)" in text


def test_online_is_for_generators_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["list", "losses", "--online"])
    assert "--online is for 'pretrained'" in capsys.readouterr().err


def test_sample_without_a_word_or_a_network() -> None:
    program = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('it asked the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from ganzoo.cli import main\n"
        "main(['sample'])\n"
    )
    home = {name: str(Path("home").absolute()) for name in ("HOME", "USERPROFILE", "HF_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **home, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "samples.png\n", "")
    folder = pretrained.get("dcgan.fashion").folder
    assert folder is not None
    with Image.open("samples.png") as picture, Image.open(folder / bundle.SAMPLES) as grid:
        assert picture.size == grid.size
        assert len(picture.getcolors(1 << 20)) > 100
