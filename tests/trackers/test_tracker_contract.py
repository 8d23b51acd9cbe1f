import json

import pytest

from ganzoo import trackers
from ganzoo.testing import check_tracker

BUILT_IN = [e.name for e in trackers.registry.entries() if e.distribution == "ganzoo"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_contract(name):
    check_tracker(name)
    tracker, cls = trackers.create(name), trackers.get(name)
    assert trackers.create(json.loads(json.dumps(tracker.model_dump(mode="json")))) == tracker
    assert (cls.name, cls.kind) == (name, "tracker")
    assert cls.citation.startswith("https://")
    assert cls.__doc__
    for option, field in cls.model_fields.items():
        assert field.description, option


def test_nothing_to_check_by_default(tmp_path):
    class Silent(trackers.Tracker):
        def open(self, folder, settings, step):
            raise NotImplementedError

    assert Silent().check() is None
