"""Adversarial losses on the discriminator's logits."""

from ganzoo.core.registry import Registry
from ganzoo.losses.base import Loss

__all__ = ["Loss", "create", "get", "names", "register", "registry"]

registry: Registry[Loss] = Registry(
    Loss,
    group="ganzoo.losses",
    builtins={
        "auxiliary-classifier": "ganzoo.losses.auxiliary:AuxiliaryClassifier",
        "bce": "ganzoo.losses.bce:BCE",
        "hinge": "ganzoo.losses.hinge:Hinge",
        "info": "ganzoo.losses.info:Info",
        "least-squares": "ganzoo.losses.least_squares:LeastSquares",
        "minimax": "ganzoo.losses.logistic:Minimax",
        "non-saturating": "ganzoo.losses.logistic:NonSaturating",
        "relativistic": "ganzoo.losses.relativistic:Relativistic",
        "relativistic-average": "ganzoo.losses.relativistic:RelativisticAverage",
        "wasserstein": "ganzoo.losses.wasserstein:Wasserstein",
    },
    synonyms={
        "wgan": "wasserstein",
        "wgan-gp": "wasserstein",
        "wgangp": "wasserstein",
        "w": "wasserstein",
        "emd": "wasserstein",
        "earth-mover": "wasserstein",
        "lsgan": "least-squares",
        "ls": "least-squares",
        "mse": "least-squares",
        "l2": "least-squares",
        "vanilla": "non-saturating",
        "gan": "non-saturating",
        "standard": "non-saturating",
        "ns": "non-saturating",
        "nsgan": "non-saturating",
        "logistic": "non-saturating",
        "softplus": "non-saturating",
        "saturating": "minimax",
        "mm": "minimax",
        "cross-entropy": "bce",
        "bceloss": "bce",
        "bce-with-logits": "bce",
        "geometric": "hinge",
        "sngan": "hinge",
        "rsgan": "relativistic",
        "rgan": "relativistic",
        "rpgan": "relativistic",
        "r3gan": "relativistic",
        "paired-relativistic": "relativistic",
        "acgan": "auxiliary-classifier",
        "ac": "auxiliary-classifier",
        "infogan": "info",
        "ragan": "relativistic-average",
        "rasgan": "relativistic-average",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
