import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ganzoo import features
from ganzoo.features import vgg16
from ganzoo.testing import check_extractor

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


@pytest.mark.slow
def test_inception_keeps_the_contract(random_weights):
    check_extractor(features.create({"name": "inception", "weights": random_weights}))


class TinyVGG(nn.Module):
    """VGG's three parts, few features."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 16, 16)
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        # The layer that is taken has as many features as the whole net.
        layers = [nn.Linear(16, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 4096), nn.ReLU()]
        self.classifier = nn.Sequential(*layers, nn.Dropout(), nn.Linear(4096, 1))

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def test_vgg16_keeps_the_contract(tmp_path, monkeypatch):
    monkeypatch.setattr(vgg16, "_network", TinyVGG)
    path = tmp_path / "vgg.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(TinyVGG().state_dict(), path)
    check_extractor(features.create({"name": "vgg16", "weights": str(path)}))


def test_clip_keeps_the_contract(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip")
    check_extractor(features.create({"name": "clip", "weights": str(tmp_path / "clip")}))
