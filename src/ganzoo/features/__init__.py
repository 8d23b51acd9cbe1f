"""Feature extractors: the nets behind scores in feature space."""

from ganzoo.core.registry import Registry
from ganzoo.features.base import Extractor, Features

__all__ = ["Extractor", "Features", "create", "get", "names", "register", "registry"]

registry: Registry[Extractor] = Registry(
    Extractor,
    group="ganzoo.features",
    builtins={
        "callable": "ganzoo.features.callable:Callable",
        "classifier": "ganzoo.features.classifier:Classifier",
        "clip": "ganzoo.features.clip:CLIP",
        "dinov2": "ganzoo.features.dinov2:DINOv2",
        "inception": "ganzoo.features.inception:Inception",
        "vgg16": "ganzoo.features.vgg16:VGG16",
    },
    unlisted=frozenset({"callable"}),  # what a caller holds in memory
    synonyms={
        "vgg": "vgg16",
        "vgg-16": "vgg16",
        "dino": "dinov2",
        "inception-v3": "inception",
        "inceptionv3": "inception",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
