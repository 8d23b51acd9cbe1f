"""Scores of generated samples, most of them against real ones."""

from ganzoo.core.registry import Registry
from ganzoo.metrics.base import Metric, Result

__all__ = ["Metric", "Result", "create", "get", "names", "register", "registry"]

registry: Registry[Metric] = Registry(
    Metric,
    group="ganzoo.metrics",
    builtins={
        "classifier-score": "ganzoo.metrics.inception_score:ClassifierScore",
        "coverage": "ganzoo.metrics.neighbours:Coverage",
        "density": "ganzoo.metrics.neighbours:Density",
        "fd-dinov2": "ganzoo.metrics.frechet:FDDinov2",
        "fid": "ganzoo.metrics.frechet:FID",
        "inception-score": "ganzoo.metrics.inception_score:InceptionScore",
        "kid": "ganzoo.metrics.kid:KID",
        "lpips-diversity": "ganzoo.metrics.perceptual:LPIPSDiversity",
        "modes": "ganzoo.metrics.modes:Modes",
        "ms-ssim": "ganzoo.metrics.ms_ssim:MSSSIM",
        "nearest-neighbours": "ganzoo.metrics.neighbours:NearestNeighbours",
        "ppl": "ganzoo.metrics.perceptual:PPL",
        "precision": "ganzoo.metrics.neighbours:Precision",
        "recall": "ganzoo.metrics.neighbours:Recall",
        "swd": "ganzoo.metrics.swd:SWD",
    },
    synonyms={
        "is": "inception-score",
        "inception": "inception-score",
        "isc": "inception-score",
        "mmd": "kid",
        "fdd": "fd-dinov2",
        "dinov2": "fd-dinov2",
        "fd": "fid",
        "frechet": "fid",
        "ssim": "ms-ssim",
        "msssim": "ms-ssim",
        "lpips": "lpips-diversity",
        "diversity": "lpips-diversity",
        "path-length": "ppl",
        "prdc": "precision",
        "pr": "precision",
        "mode-coverage": "modes",
        "wasserstein": "swd",
        "memorisation": "nearest-neighbours",
        "memorization": "nearest-neighbours",
        "nn": "nearest-neighbours",
    },
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
