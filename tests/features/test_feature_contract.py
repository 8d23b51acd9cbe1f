import json

import pytest

from ganzoo import features

BUILT_IN = [e.name for e in features.registry.entries() if e.distribution == "ganzoo" and e.listed]


def test_the_built_in_extractors():
    assert {"classifier", "clip", "dinov2", "inception", "vgg16"} == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_config_round_trips_and_holds_nothing(name):
    extractor = features.create(name)
    assert features.create(json.loads(extractor.model_dump_json())) == extractor
    assert type(extractor).name == name and extractor.quantisation == "uint8"
    assert not hasattr(extractor, "parameters")


@pytest.mark.parametrize("name", BUILT_IN)
def test_names_give_their_summary_without_an_import(name):
    entry = next(e for e in features.registry.entries() if e.name == name)
    assert entry.summary
