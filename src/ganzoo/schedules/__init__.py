"""Schedules: a factor on both learning rates, and the course of any one number."""

from ganzoo.core.registry import Registry
from ganzoo.schedules.factors import Constant, Cosine, Linear, Schedule
from ganzoo.schedules.numbers import NumberSchedule

__all__ = ["Constant", "Cosine", "Linear", "NumberSchedule", "Schedule"]
__all__ += ["create", "get", "names", "register", "registry"]

registry: Registry[Schedule] = Registry(
    Schedule,
    group="ganzoo.schedules",
    builtins={
        "constant": "ganzoo.schedules.factors:Constant",
        "cosine": "ganzoo.schedules.factors:Cosine",
        "linear": "ganzoo.schedules.factors:Linear",
    },
    synonyms={
        "none": "constant",
        "step": "linear",
        "decay": "linear",
        "cos": "cosine",
        "cosine-annealing": "cosine",
        "cosineannealinglr": "cosine",
        "linear-decay": "linear",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
