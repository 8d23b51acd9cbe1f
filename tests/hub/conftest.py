from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from hub.server import HubServer, configure_client


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub with nothing in it but the users ann (of zoo) and bob; the client speaks to it."""
    with HubServer() as server:
        server.add_user("ann", token="hf_ann", orgs=["zoo"])
        server.add_user("bob", token="hf_bob")
        configure_client(monkeypatch, server, tmp_path / "home")
        yield server
        huggingface_hub.close_session()
