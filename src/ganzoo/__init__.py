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
        augmentations,
        averages,
        datasets,
        errors,
        features,
        generators,
        losses,
        metrics,
        optimizers,
        penalties,
        recipes,
        schedules,
        testing,
        trackers,
    )
    from ganzoo.config import TrainConfig
    from ganzoo.core.spec import LatentSpec, SampleSpec
    from ganzoo.errors import GanzooError
    from ganzoo.evaluation import Score, evaluate
    from ganzoo.generators import pretrained  # noqa: F401 - likewise
    from ganzoo.generators.generator import Generator
    from ganzoo.runs.comparison import compare
    from ganzoo.runs.run import Run
    from ganzoo.training.callbacks import Callback
    from ganzoo.training.trainer import Trainer

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
    "Callback": "training.callbacks",
    "GanzooError": "errors",
    "Generator": "generators.generator",
    "LatentSpec": "core.spec",
    "Run": "runs.run",
    "SampleSpec": "core.spec",
    "Score": "evaluation",
    "TrainConfig": "config",
    "Trainer": "training.trainer",
    "compare": "runs.comparison",
    "evaluate": "evaluation",
}
_MODULES = frozenset(
    {
        "architectures",
        "augmentations",
        "averages",
        "datasets",
        "errors",
        "features",
        "generators",
        "losses",
        "metrics",
        "optimizers",
        "penalties",
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
        if name == "pretrained":
            return importlib.import_module("ganzoo.generators.pretrained")
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
    text: str | None = importlib.import_module("ganzoo.core.installation").fault()
    return text


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, "pretrained"})
