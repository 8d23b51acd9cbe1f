"""What metrics share that look at the classes which a classifier sees."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from ganzoo import datasets, features
from ganzoo.errors import ConfigError, GanzooError
from ganzoo.metrics.base import Chosen, Metric

__all__ = ["Classified"]


class Classified(Metric):
    """A metric of the classes that a classifier sees, by default of the digits of MNIST.

    A classifier sees its classes in anything, so it has to be that of the data.
    """

    extractor: Chosen = Field(
        "classifier", validate_default=True, description="the classifier whose logits count"
    )

    @property
    def classes_of(self) -> str | None:
        """The data whose classes the extractor tells apart; None where it does not say."""
        return self.extractor.classes_of

    def for_dataset(self, dataset_name: str) -> Self:
        """Return the metric with the classifier of a dataset, unless it has one of its own.

        Raises:
            ConfigError: If there is none, and the metric would look for digits.
        """
        if self.extractor != features.create("classifier"):
            return self
        try:
            known = datasets.get(dataset_name).classes_of
        except GanzooError:  # of a plug-in that is not here, so nothing is known
            return self
        if known in (None, self.classes_of):
            return self
        try:
            return self.replace(extractor={"name": "classifier", "dataset": known})
        except ConfigError:
            raise ConfigError(
                f"The metric '{self.name}' looks at classes by a classifier of "
                f"'{self.classes_of}', and '{dataset_name}' has others: give it an 'extractor' "
                f"that tells those apart, or leave it out."
            ) from None
