"""Penalties: terms that are added to the loss of one player."""

from ganzoo.core.registry import Registry
from ganzoo.penalties.base import Penalty

__all__ = ["Penalty", "create", "get", "names", "register", "registry"]

registry: Registry[Penalty] = Registry(Penalty, group="ganzoo.penalties", builtins={})
register = registry.register
names = registry.names
get = registry.get
create = registry.create
