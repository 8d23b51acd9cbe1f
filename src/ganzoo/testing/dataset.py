"""The check of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ganzoo import datasets
from ganzoo.testing.component import checked
from ganzoo.training import contract

if TYPE_CHECKING:
    from ganzoo.datasets import Dataset

__all__ = ["check_dataset"]


def check_dataset(component: str | type[Dataset] | Dataset) -> None:
    """Check that a dataset keeps its contract.

    What it loads must match its spec, lie in its stored range, have labels in range, and be the
    same when loaded again.

    Args:
        component: The dataset, its class or its registered name. It is loaded twice.

    Raises:
        AssertionError: If it breaks the contract.
        DataError: If it cannot be loaded.
        GanzooError: If the component cannot be created.
    """
    with checked(component, datasets.registry) as dataset:
        samples, again = dataset.load(), dataset.load()
        contract.check_loaded(samples, datasets.Samples)
        contract.check_type(samples)
        contract.check_data(samples, samples.data)
        contract.check_labels(samples)
        same = samples.spec == again.spec and torch.equal(samples.data, again.data)
        if samples.labels is not None:
            same &= again.labels is not None and torch.equal(samples.labels, again.labels)
        contract.require(
            same,
            "Loading twice gave different samples. Keep their order and content fixed, so that a "
            "training can be resumed: sort file names and seed what is random.",
        )
