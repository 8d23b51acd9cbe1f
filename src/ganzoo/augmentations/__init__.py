"""Augmentations: what real and generated samples pass through before D."""

from ganzoo.augmentations.base import Augmentation
from ganzoo.core.registry import Registry

__all__ = ["Augmentation", "create", "get", "names", "register", "registry"]

registry: Registry[Augmentation] = Registry(Augmentation, group="ganzoo.augmentations", builtins={})
register = registry.register
names = registry.names
get = registry.get
create = registry.create
