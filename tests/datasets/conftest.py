"""Where the real MNIST and Fashion-MNIST come from, if this machine has them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SIBLING = Path(__file__).parents[3] / "shared/data/torchvision-root"


@pytest.fixture(scope="session")
def torchvision_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A writable copy of a torchvision root with MNIST and Fashion-MNIST."""
    source = Path(os.environ.get("GANZOO_TEST_DATA") or SIBLING)
    names = ("MNIST", "FashionMNIST")
    if not all((source / name / "raw").is_dir() for name in names):
        pytest.skip("no MNIST files: set GANZOO_TEST_DATA to a torchvision root")
    root = tmp_path_factory.mktemp("torchvision-root")
    for name in names:
        (root / name / "raw").mkdir(parents=True)
        for file in (source / name / "raw").glob("*.gz"):
            shutil.copyfile(file, root / name / "raw" / file.name)
    return root


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to open an address fails as it does without a network."""
    import urllib.error
    import urllib.request

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
