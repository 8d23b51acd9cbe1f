"""Publishing what lies in the package, for the owner of the organisation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

import ganzoo
from ganzoo.cli import main
from ganzoo.generators import bundle, pretrained
from hub.server import HubServer

NAMES = pretrained.bundled()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command, and return what it says on standard output and standard error."""

    def run(*tokens: str) -> tuple[str, str]:
        main(tokens)
        return capsys.readouterr()

    return run


def entries(text: str) -> dict[str, dict[str, str]]:
    """What is to be written into pretrained.yaml."""
    found: dict[str, dict[str, str]] = yaml.safe_load(
        text.partition("pretrained.yaml")[2].partition(":")[2]
    )
    return found


def test_nothing_is_sent_unless_asked(hub: HubServer, told: Any) -> None:
    out, err = told("publish-zoo")
    assert hub.repos() == []
    assert hub.requests == []
    for name in NAMES:
        assert f"ganzoo/{name} would hold, under {pretrained.get(name).license}:" in out
        assert f"note: {name}: It was trained on" in err
        assert f"  repo_id: ganzoo/{name}\n" in out
    assert f"{bundle.WEIGHTS} {pretrained.get(NAMES[0]).size:,}" in " ".join(out.split())


def test_publish_all(
    hub: HubServer, told: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    out, _ = told("publish-zoo", "--org", "zoo", "--really")
    assert sorted(hub.repos()) == [f"zoo/{name}" for name in NAMES]
    lines = entries(out)
    assert sorted(lines) == NAMES
    for name, line in lines.items():
        files = hub.files(f"zoo/{name}", line["revision"])
        folder = pretrained.get(name).folder
        assert folder is not None
        for path in folder.iterdir():  # to the byte
            assert files[path.name] == path.read_bytes(), path.name
        (tmp_path / "card.md").write_bytes(hub.files(f"zoo/{name}")["README.md"])
        card = ModelCard.load(tmp_path / "card.md")
        assert card.data.license == pretrained.get(name).license.lower()
        assert card.data.library_name == "ganzoo"

    # The lines make a name follow to the Hub, where nothing lies in the package.
    known = {name: pretrained.get(name) for name in NAMES}
    monkeypatch.setattr(pretrained, "get", lambda name: known[name])
    for name, line in lines.items():
        here = ganzoo.Generator.from_pretrained(name).sample(4, seed=3)
        facts = known[name].model_dump(exclude={"folder"}) | line
        known[name] = pretrained.Pretrained(**facts)
        pulled = ganzoo.Generator.from_pretrained(name)
        assert torch.equal(pulled.sample(4, seed=3), here)
        assert pulled.config.origin is not None
        assert pulled.config.origin.revision == line["revision"]

    # And it is found by whoever looks for generators online.
    out, _ = told("list", "pretrained", "--online")
    for name in NAMES:
        row = next(line.split() for line in out.splitlines() if line.startswith(f"zoo/{name}"))
        assert row[1] == name.partition(".")[0]
        assert pretrained.get(name).license.lower() in row


def test_publishing_again_changes_nothing(
    hub: HubServer, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    name = NAMES[0]
    first, _ = told("publish-zoo", name, "--org", "zoo", "--really")
    commits = hub.commits(f"zoo/{name}")
    again, _ = told("publish-zoo", name, "--org", "zoo", "--really")
    assert hub.commits(f"zoo/{name}") == commits
    assert f"{name}: nothing has changed" in again
    assert entries(again) == entries(first)
    assert re.fullmatch("[0-9a-f]{40}", entries(again)[name]["revision"])


def test_what_is_refused(
    hub: HubServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*tokens: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(tokens)
        assert caught.value.code == 2
        return capsys.readouterr().err

    assert "Did you mean 'mlp.mnist'?" in refused("publish-zoo", "mlp.minst")
    monkeypatch.setenv("HF_TOKEN", "hf_bob")  # who is not of zoo
    assert "the token is not valid, or may not do this" in refused(
        "publish-zoo", "--org", "zoo", "--really"
    )
    assert hub.repos() == []
