"""Fixtures of the tests of advice."""

from __future__ import annotations

import pytest

from advice_followed.helpers import Line, maker
from hub.conftest import hub as hub_server
from hub.server import HubServer

__all__ = ["hub_server"]


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Line:
    return Line(capsys)


@pytest.fixture
def server(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    maker().push_to_hub("zoo/a")
    return hub_server
