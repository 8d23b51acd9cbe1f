"""Trackers: where else a training's numbers and pictures go."""

from ganzoo.core.registry import Registry
from ganzoo.trackers.base import Log, Tracker

__all__ = ["Log", "Tracker", "create", "get", "names", "register", "registry"]

registry: Registry[Tracker] = Registry(
    Tracker,
    group="ganzoo.trackers",
    builtins={"tensorboard": "ganzoo.trackers.tensorboard:TensorBoard"},
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
