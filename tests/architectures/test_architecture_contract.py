import json

import pytest
import torch

from ganzoo import architectures
from ganzoo.core.spec import FLOAT32_MAX, LatentSpec, SampleSpec
from ganzoo.errors import ConfigError, UnsupportedSampleError
from ganzoo.testing import check_architecture

BUILT_IN = [e.name for e in architectures.registry.entries() if e.distribution == "ganzoo"]
SMALL = {
    "dcgan": {"channels": 4},
    "mlp": {"hidden": (16, 32)},
    "mirror": {},
    "upsample": {"channels": 8, "d_channels": 4},
}
LATENT = LatentSpec(shape=(8,))


def small(name):
    return architectures.create(name, **SMALL[name])


def test_all_built_ins_are_listed():
    assert sorted(SMALL) == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_contract_with_defaults(name):
    check_architecture(name)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_contract_of_images(name, channels):
    arch = small(name)
    for height, width in {arch.nearest_size(20, 20), arch.nearest_size(16, 40)}:
        check_architecture(arch, SampleSpec(shape=(channels, height, width)), LATENT)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-3.0, 0.5), None])
def test_contract_of_value_ranges(name, value_range):
    arch = small(name)
    shape = (1, *arch.nearest_size(20, 20))
    check_architecture(arch, SampleSpec(shape=shape, value_range=value_range), LATENT)


@pytest.mark.parametrize("name", BUILT_IN)
def test_contract_of_a_latent_map_and_labels(name):
    arch = small(name)
    spec = SampleSpec(shape=(1, *arch.nearest_size(20, 20)), classes=("cat", "dog"))
    check_architecture(arch, spec, LatentSpec(shape=(2, 3, 4), distribution="uniform"))


@pytest.mark.parametrize("name", ["mlp", "mirror"])
@pytest.mark.parametrize(
    "spec",
    [
        SampleSpec(kind="vector", shape=(2,), value_range=None),
        SampleSpec(kind="audio", shape=(2, 50)),
        SampleSpec(kind="sequence", shape=(5, 7), value_range=(0.0, 1.0)),
    ],
    ids=str,
)
def test_contract_of_other_kinds(name, spec):
    check_architecture(small(name), spec, LatentSpec(shape=(1,)))


@pytest.mark.parametrize("name", ["mlp", "upsample"])
def test_the_steepest_slope_is_a_number_that_torch_takes(name):
    spec = SampleSpec(shape=(1, 20, 20))
    arch = architectures.create(name, **{**SMALL[name], "slope": FLOAT32_MAX})
    arch.generator(spec, LATENT)(LATENT.sample(2))
    arch.discriminator(spec)(torch.zeros(2, *spec.shape))
    with pytest.raises(ConfigError, match=r"slope cannot be 3.5e\+38: input should be less"):
        architectures.create(name, slope=3.5e38)


def test_audio_is_refused_in_plain_words():
    with pytest.raises(UnsupportedSampleError) as caught:
        architectures.create("dcgan").check(SampleSpec(kind="audio", shape=(1, 64)))
    assert str(caught.value) == (
        "Architecture 'dcgan' cannot do audio of shape (1, 64): it makes images only; take 'mlp', "
        "which makes samples of any kind."
    )


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_ins_are_described(name):
    cls = architectures.get(name)
    assert cls.name == name
    assert cls.citation
    assert cls.__doc__
    assert {"latent", "batch_size", "g_optimizer", "d_optimizer"} <= set(cls.recommended)
    for option, field in cls.model_fields.items():
        assert field.description, option
        assert field.description[0].islower() and field.description[-1] != ".", option


@pytest.mark.parametrize("name", BUILT_IN)
def test_round_trip_of_options(name):
    arch = small(name)
    saved = arch.model_dump(mode="json")
    assert saved["name"] == name
    assert architectures.create(json.loads(json.dumps(saved))) == arch


def test_names_of_parameters_are_kept():
    # They are the keys of every file of weights ever saved: they must never change.
    image, latent = SampleSpec(shape=(1, 32, 32)), LATENT
    vector = SampleSpec(kind="vector", shape=(2,))
    found = {
        name: [
            sorted({key.rpartition(".")[0] for key in net.state_dict()})
            for net in (arch.generator(spec, latent), arch.discriminator(spec))
        ]
        for name in BUILT_IN
        for arch in [small(name)]
        for spec in [vector if name in ("mlp", "mirror") else image]
    }
    assert {name: [" ".join(keys) for keys in nets] for name, nets in found.items()} == {
        "dcgan": [
            "grow.0.conv grow.0.norm grow.1.conv grow.1.norm output project.conv project.norm",
            "input output shrink.0.conv shrink.0.norm shrink.1.conv shrink.1.norm",
        ],
        "mirror": ["decoder.dense1 output", "encoder.dense1 encoder.dense2 output"],
        "mlp": ["hidden.dense1 hidden.dense2 output"] * 2,
        "upsample": [
            "grow.0.conv grow.1.conv output project refine.0.conv refine.1.conv",
            "convs.0.conv convs.1.conv convs.2.conv convs.3.conv output",
        ],
    }
