from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from ganzoo.datasets.root import data_root


def test_the_argument_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANZOO_DATA", "/elsewhere")
    assert data_root(tmp_path) == tmp_path


def test_the_environment_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANZOO_DATA", "~/pictures")
    assert data_root() == Path("~/pictures").expanduser()


@pytest.mark.parametrize("value", [None, ""])
def test_the_cache_folder_is_the_default(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("GANZOO_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("GANZOO_DATA", value)
    assert data_root() == Path(platformdirs.user_cache_dir("ganzoo")) / "data"
