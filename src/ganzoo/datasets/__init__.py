"""Datasets: where real samples come from."""

from ganzoo.core.registry import Registry
from ganzoo.datasets.arguments import as_dataset
from ganzoo.datasets.base import Dataset
from ganzoo.datasets.in_memory import InMemoryDataset
from ganzoo.datasets.samples import Samples

__all__ = [
    "Dataset",
    "InMemoryDataset",
    "Samples",
    "as_dataset",
    "create",
    "get",
    "names",
    "register",
    "registry",
]

registry: Registry[Dataset] = Registry(
    Dataset,
    group="ganzoo.datasets",
    builtins={
        "array": "ganzoo.datasets.array:Array",
        "celeba": "ganzoo.datasets.torchvision_sets:CelebA",
        "cifar10": "ganzoo.datasets.torchvision_sets:CIFAR10",
        "fashion-mnist": "ganzoo.datasets.torchvision_sets:FashionMNIST",
        "fashion-mnist-10k": "ganzoo.datasets.fashion_mnist_10k:FashionMNIST10k",
        "folder": "ganzoo.datasets.folder:Folder",
        "gaussian-1d": "ganzoo.datasets.mixtures:Gaussian1D",
        "in-memory": "ganzoo.datasets.in_memory:InMemoryDataset",
        "grid": "ganzoo.datasets.mixtures:Grid",
        "huggingface": "ganzoo.datasets.huggingface:HuggingFace",
        "mnist": "ganzoo.datasets.torchvision_sets:MNIST",
        "ring": "ganzoo.datasets.mixtures:Ring",
        "spiral": "ganzoo.datasets.mixtures:Spiral",
        "stacked-mnist": "ganzoo.datasets.stacked_mnist:StackedMNIST",
        "three-gaussians": "ganzoo.datasets.mixtures:ThreeGaussians",
    },
    unlisted=frozenset({"in-memory"}),  # what a caller holds in memory
)
register = registry.register
names = registry.names
get = registry.get
create = registry.create
