"""Make the small Fashion-MNIST that ships inside the package.

It takes the first 1,000 training images of each of the ten classes of Fashion-MNIST (Xiao, Rasul
and Vollgraf 2017, arXiv:1708.07747; MIT licence, Copyright (c) 2017 Zalando SE), keeps them in the
order of the training split, and writes one ``.npz`` with ``images`` uint8 (10000, 28, 28) and
``labels`` uint8 (10000,). The same zlib makes the same bytes: entries carry a fixed time stamp.

Usage:
    python tools/embed_fashion_mnist.py ROOT

ROOT is a folder in which ``torchvision.datasets.FashionMNIST`` finds its files, or fetches them.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
from torchvision.datasets import FashionMNIST

PER_CLASS = 1000
LIMIT = 5_000_000
OUTPUT = Path(__file__).parents[1] / "src/ganzoo/datasets/data/fashion-mnist-10k.npz"


def choose(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first ``PER_CLASS`` images of each class, in their order.

    Args:
        images: uint8 (N, 28, 28).
        labels: Class indices (N,).

    Returns:
        Images uint8 (classes * PER_CLASS, 28, 28) and their labels uint8.
    """
    firsts = [np.flatnonzero(labels == label)[:PER_CLASS] for label in np.unique(labels)]
    kept = np.sort(np.concatenate(firsts))
    return images[kept], labels[kept].astype(np.uint8)


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a reproducible ``.npz`` with the strongest deflate compression."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            archive.writestr(entry, content.getvalue(), compresslevel=9)


def main() -> None:
    """Read the training split, choose, write, and say how large the file is."""
    parser = argparse.ArgumentParser(description="Make the small Fashion-MNIST of the package.")
    parser.add_argument("root", type=Path, help="torchvision data root")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file to write")
    options = parser.parse_args()

    split = FashionMNIST(options.root, train=True, download=True)
    images, labels = choose(split.data.numpy(), split.targets.numpy())
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write(options.output, {"images": images, "labels": labels})
    size = options.output.stat().st_size
    print(f"{options.output}: {len(images)} images, {size:,} bytes")
    if size >= LIMIT:
        raise SystemExit(f"The file has {size:,} bytes; it must stay below {LIMIT:,}.")


if __name__ == "__main__":
    main()
