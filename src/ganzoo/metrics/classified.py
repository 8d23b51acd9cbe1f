"""What metrics share that look at the classes which a classifier sees."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field

from ganzoo import features
from ganzoo.errors import ConfigError
from ganzoo.metrics.base import Chosen, Metric

__all__ = ["Classified"]


class Classified(Metric):
    """A metric of the classes that a classifier sees, by default of the digits of MNIST.

    A classifier sees its classes in anything, so it has to be that of the data.
    """

    data: ClassVar[dict[str, str | None]] = {
        "celeba": None,
        "cifar10": None,
        "fashion-mnist": "fashion-mnist",
        "fashion-mnist-10k": "fashion-mnist",
        "mnist": "mnist",
        "stacked-mnist": "mnist",
    }
    """Whose classes datasets of images have; None where there is no classifier of them."""

    extractor: Chosen = Field(
        "classifier", validate_default=True, description="the classifier whose logits count"
    )

    @property
    def classes_of(self) -> str | None:
        """The data whose classes the extractor tells apart; None where it does not say."""
        found = getattr(self.extractor, "dataset", None)
        return found if isinstance(found, str) else None

    def for_dataset(self, dataset_name: str) -> Self:
        """Return the metric with the classifier of a dataset, unless it has one of its own.

        Raises:
            ConfigError: If there is none, and the metric would look for digits.
        """
        if dataset_name not in self.data or self.extractor != features.create("classifier"):
            return self
        known = self.data[dataset_name]
        if known is None:
            raise ConfigError(
                f"The metric '{self.name}' looks at classes by a classifier of MNIST's digits, and "
                f"'{dataset_name}' has others: give it an 'extractor' that tells those apart, or "
                f"leave it out."
            )
        if known == self.classes_of:
            return self
        return self.replace(extractor={"name": "classifier", "dataset": known})
