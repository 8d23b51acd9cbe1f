"""Penalties: terms that are added to the loss of one player."""

from ganzoo.core.registry import Registry
from ganzoo.penalties.base import Penalty

__all__ = ["Penalty", "create", "get", "names", "register", "registry"]

registry: Registry[Penalty] = Registry(
    Penalty,
    group="ganzoo.penalties",
    builtins={
        "approximate-r1": "ganzoo.penalties.finite_difference:ApproximateR1",
        "approximate-r2": "ganzoo.penalties.finite_difference:ApproximateR2",
        "auxiliary-classifier": "ganzoo.penalties.auxiliary:AuxiliaryClassifier",
        "consistency": "ganzoo.penalties.consistency:Consistency",
        "dragan": "ganzoo.penalties.dragan:Dragan",
        "feature-matching": "ganzoo.penalties.feature_matching:FeatureMatching",
        "gp": "ganzoo.penalties.gradient_penalty:GradientPenalty",
        "lecam": "ganzoo.penalties.lecam:LeCam",
        "orthogonal": "ganzoo.penalties.orthogonal:Orthogonal",
        "path-length": "ganzoo.penalties.path_length:PathLength",
        "r1": "ganzoo.penalties.zero_centred:R1",
        "r2": "ganzoo.penalties.zero_centred:R2",
        "reconstruction": "ganzoo.penalties.reconstruction:Reconstruction",
    },
    synonyms={
        "gradient-penalty": "gp",
        "wgan-gp": "gp",
        "wgangp": "gp",
        "ar1": "approximate-r1",
        "ar2": "approximate-r2",
        "acgan": "auxiliary-classifier",
        "cr": "consistency",
        "bcr": "consistency",
        "zcr": "consistency",
        "icr": "consistency",
        "le-cam": "lecam",
        "ppl": "path-length",
        "path": "path-length",
        "fm": "feature-matching",
        "ortho": "orthogonal",
        "autoencoder": "reconstruction",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
