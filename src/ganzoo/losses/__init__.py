"""Adversarial losses on the discriminator's logits."""

from ganzoo.losses.base import Loss
from ganzoo.registry import Registry

__all__ = ["Loss", "create", "get", "names", "register", "registry"]

registry: Registry[Loss] = Registry(
    Loss,
    group="ganzoo.losses",
    builtins={
        "bce": "ganzoo.losses.bce:BCE",
        "hinge": "ganzoo.losses.hinge:Hinge",
        "least-squares": "ganzoo.losses.least_squares:LeastSquares",
        "minimax": "ganzoo.losses.minimax:Minimax",
        "non-saturating": "ganzoo.losses.non_saturating:NonSaturating",
        "wasserstein": "ganzoo.losses.wasserstein:Wasserstein",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
