"""Checks for the authors of components: what is wrong, and how to mend it.

    from ganzoo.testing import check_loss

    def test_my_loss():
        check_loss("my-loss")

Each check raises ``AssertionError`` with one sentence that states the fault and the remedy. Of any
component it requires that it is registered, frozen, and survives a round trip through JSON. Checks
build tiny things, take about a second, and leave the global random state as it was.
"""

from ganzoo.testing.architecture import check_architecture
from ganzoo.testing.average import check_average
from ganzoo.testing.dataset import check_dataset
from ganzoo.testing.extractor import check_extractor
from ganzoo.testing.loss import check_loss
from ganzoo.testing.metric import check_metric
from ganzoo.testing.tracker import check_tracker

__all__ = [
    "check_architecture",
    "check_average",
    "check_dataset",
    "check_extractor",
    "check_loss",
    "check_metric",
    "check_tracker",
]
