"""Architectures: pairs of generator and discriminator."""

from ganzoo.architectures.base import Architecture, Inferred, Output
from ganzoo.core.registry import Registry

__all__ = ["Architecture", "Inferred", "Output", "create", "get", "names", "register", "registry"]

registry: Registry[Architecture] = Registry(
    Architecture,
    group="ganzoo.architectures",
    builtins={
        "dcgan": "ganzoo.architectures.dcgan:DCGAN",
        "mirror": "ganzoo.architectures.mirror:Mirror",
        "mlp": "ganzoo.architectures.mlp:MLP",
        "upsample": "ganzoo.architectures.upsample:Upsample",
    },
    synonyms={
        "gan": "mlp",
        "vanilla": "mlp",
        "fc": "mlp",
        "linear": "mlp",
        "dense": "mlp",
        "cnn": "dcgan",
        "conv": "dcgan",
        "convnet": "dcgan",
        "selu": "mirror",
        "resize-conv": "upsample",
        "nearest": "upsample",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
