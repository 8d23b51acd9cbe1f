"""ganzoo: a plugin-based zoo of generative adversarial networks.

    import ganzoo

    run = ganzoo.Trainer(arch="dcgan").fit()
    run.generator.grid(64, seed=0).save("grid.png")

Importing ganzoo does not import torch; what is used is imported when it is used.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from ganzoo._version import __version__

if TYPE_CHECKING:
    from ganzoo import (  # noqa: F401 - attributes by __getattr__ below
        architectures,
        bundle,
        convert,
        datasets,
        errors,
        features,
        hub,
        losses,
        metrics,
        optimizers,
        pretrained,
        recipes,
        schedules,
        testing,
        trackers,
    )
    from ganzoo.callbacks import Callback
    from ganzoo.comparison import compare
    from ganzoo.errors import GanzooError
    from ganzoo.evaluation import Score, evaluate
    from ganzoo.generator import Generator
    from ganzoo.run import Run
    from ganzoo.spec import LatentSpec, SampleSpec
    from ganzoo.train_config import TrainConfig
    from ganzoo.trainer import Trainer

__all__ = [
    "Callback",
    "GanzooError",
    "Generator",
    "LatentSpec",
    "Run",
    "SampleSpec",
    "Score",
    "TrainConfig",
    "Trainer",
    "__version__",
    "compare",
    "evaluate",
]

_HOMES = {
    "Callback": "callbacks",
    "GanzooError": "errors",
    "Generator": "generator",
    "LatentSpec": "spec",
    "Run": "run",
    "SampleSpec": "spec",
    "Score": "evaluation",
    "TrainConfig": "train_config",
    "Trainer": "trainer",
    "compare": "comparison",
    "evaluate": "evaluation",
}
_MODULES = frozenset(
    {
        "architectures",
        "bundle",
        "convert",
        "datasets",
        "errors",
        "features",
        "hub",
        "losses",
        "metrics",
        "optimizers",
        "pretrained",
        "recipes",
        "schedules",
        "testing",
        "trackers",
    }
)


def __getattr__(name: str) -> Any:
    try:
        if name in _HOMES:
            value = getattr(importlib.import_module(f"ganzoo.{_HOMES[name]}"), name)
            globals()[name] = value
            return value
        if name in _MODULES:
            return importlib.import_module(f"ganzoo.{name}")
    except (ImportError, AttributeError) as error:
        if why := _fault():
            raise ImportError(why) from error
        raise
    # Not of what is imported next (`from ganzoo import module`), nor of what tools look for.
    known = name.startswith("_") or importlib.util.find_spec(f"ganzoo.{name}") is not None
    why = None if known else _fault()
    raise AttributeError(f"module 'ganzoo' has no attribute '{name}'{f'. {why}' if why else ''}")


def _fault() -> str | None:
    told: str | None = importlib.import_module("ganzoo.installation").fault()
    return told


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
