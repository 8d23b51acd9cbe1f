"""Augmentations: what real and generated samples pass through before D."""

from ganzoo.augmentations.base import Augmentation
from ganzoo.core.registry import Registry

__all__ = ["Augmentation", "create", "get", "names", "register", "registry"]

registry: Registry[Augmentation] = Registry(
    Augmentation,
    group="ganzoo.augmentations",
    builtins={
        "ada": "ganzoo.augmentations.ada:ADA",
        "diffaugment": "ganzoo.augmentations.diffaugment:DiffAugment",
        "noise": "ganzoo.augmentations.noise:Noise",
    },
    synonyms={
        "diff-augment": "diffaugment",
        "diffaug": "diffaugment",
        "adaptive": "ada",
        "instance-noise": "noise",
        "gaussian-noise": "noise",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
