"""Averages: how the generator that is kept follows the one that trains."""

from ganzoo.averages.base import Average
from ganzoo.core.registry import Registry

__all__ = ["Average", "create", "get", "names", "register", "registry"]

registry: Registry[Average] = Registry(
    Average,
    group="ganzoo.averages",
    builtins={
        "decay": "ganzoo.averages.decay:Decay",
        "half-life": "ganzoo.averages.half_life:HalfLife",
        "power": "ganzoo.averages.power:Power",
    },
    synonyms={
        "ema": "decay",
        "exponential": "decay",
        "beta": "decay",
        "kimg": "half-life",
        "power-function": "power",
        "phema": "power",
        "post-hoc": "power",
        "edm2": "power",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
