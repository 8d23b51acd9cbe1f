"""Where downloaded data lies."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from ganzoo.files.storage import expanded

__all__ = ["ENVIRONMENT", "data_root"]

ENVIRONMENT = "GANZOO_DATA"
"""Environment variable that names the data root."""


def data_root(root: Path | None = None) -> Path:
    """Return the folder that downloaded datasets lie in; it need not exist yet.

    Args:
        root: What the caller asked for. None stands for the environment variable ``GANZOO_DATA``,
            and where that is unset or empty, for ``data`` in the user's cache folder of ganzoo.

    Returns:
        The folder, with ``~`` expanded.
    """
    chosen = root or os.environ.get(ENVIRONMENT)
    if chosen:
        return expanded(chosen)
    return platformdirs.user_cache_path("ganzoo") / "data"
