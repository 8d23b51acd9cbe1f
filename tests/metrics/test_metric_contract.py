from __future__ import annotations

import json
import subprocess
import sys
from typing import ClassVar

import pytest
import torch

from ganzoo import metrics
from ganzoo.core.spec import SampleSpec
from ganzoo.errors import ConfigError, DataError
from ganzoo.metrics import Metric, Result
from ganzoo.metrics.inputs import MetricInputs
from ganzoo.testing import check_metric

BUILT_IN = [e.name for e in metrics.registry.entries() if e.distribution == "ganzoo"]
OTHER_OPTIONS = [
    {"name": "fid", "extractor": "dinov2"},
    {"name": "kid", "subsets": 3, "subset_size": 10, "seed": 1},
    {"name": "inception-score", "splits": 1},
    {"name": "classifier-score", "extractor": {"name": "classifier", "dataset": "fashion-mnist"}},
    {"name": "modes", "reference": "real"},
    {"name": "ppl", "interpolation": "slerp", "size": None},
    {"name": "swd", "patches": 4, "directions": 8},
]
NEED_WEIGHTS = {"lpips-diversity", "ppl"}
SMALLER = {
    "kid": {"name": "kid", "subsets": 3, "subset_size": 10},
    "swd": {"name": "swd", "patches": 2, "directions": 4},
}
POINTS = SampleSpec(kind="vector", shape=(2,), value_range=None)


def test_it_is_torch_free():
    program = "import sys, ganzoo.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("options", [*BUILT_IN, *OTHER_OPTIONS], ids=str)
def test_round_trip_of_options(options):
    metric = metrics.create(options)
    assert metrics.create(json.loads(json.dumps(metric.model_dump(mode="json")))) == metric


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_ins_are_described(name):
    cls = metrics.get(name)
    assert cls.name == name
    assert "arXiv:" in cls.citation
    assert "arXiv:" in cls.__doc__
    assert cls.better in ("lower", "higher", None)
    assert cls.requires
    for option, field in cls.model_fields.items():
        assert field.description, option
        assert field.description[0].islower() and field.description[-1] != ".", option
    needs_net = {"moments", "features", "logits"} & set(cls.requires)
    assert ("extractor" in cls.model_fields) == bool(needs_net)


@pytest.mark.parametrize("name", sorted({*BUILT_IN} - NEED_WEIGHTS))
def test_every_metric_keeps_the_contract(name):
    check_metric(SMALLER.get(name, name))


@pytest.mark.parametrize("name", ["modes", "fid", "coverage"])
def test_metrics_of_points_keep_the_contract(name):
    check_metric(name, POINTS)


@pytest.mark.parametrize("name", BUILT_IN)
def test_wrong_kinds_are_refused(name):
    metric = metrics.create(name)
    for kind, shape in (("audio", (1, 100)), ("vector", (2,)), ("sequence", (4, 9))):
        spec = SampleSpec(kind=kind, shape=shape)
        if kind in metric.sample_kinds:
            metric.check(spec)
        else:
            with pytest.raises(ConfigError, match=f"^The metric '{name}' is for samples of kind "):
                metric.check(spec)
    metric.check(SampleSpec(shape=(3, 32, 32)))


@pytest.mark.parametrize("name", ["fid", "fd-dinov2", "precision", "inception-score"])
@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_an_extractor_cannot_see(name, channels):
    with pytest.raises(ConfigError) as caught:
        metrics.create(name).check(SampleSpec(shape=(channels, 32, 32)))
    text = str(caught.value)
    assert text.startswith(f"The metric '{name}' takes features of the extractor '")
    assert "', which sees images of 1 or 3 channels, and this is a 32x32 " in text
    assert text.endswith(". Give it another extractor, or leave it out.")


def test_channels_of_no_matter():
    spec = SampleSpec(shape=(4, 32, 32))
    for metric in ("swd", "ms-ssim", {"name": "fid", "extractor": lambda x: x.flatten(1)}, "modes"):
        metrics.create(metric).check(spec)
    metrics.create("fid").check(SampleSpec(shape=(1, 32, 32)))


# -- the classifier of the data --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["modes", "classifier-score"])
def test_the_classifier_is_that_of_the_data(name):
    metric = metrics.create(name)
    for data in ("mnist", "stacked-mnist", "array", "ring", "of-a-plug-in"):
        assert metric.for_dataset(data) is metric
    other = metrics.create(name, extractor={"name": "classifier", "dataset": "fashion-mnist"})
    for data in ("fashion-mnist", "fashion-mnist-10k"):
        assert metric.for_dataset(data) == metric.for_dataset(data).for_dataset(data) == other
    again = metrics.create(json.loads(metric.model_dump_json()))  # as a run has written it
    assert again.for_dataset("fashion-mnist") == other
    assert (
        metric.replace(seed=7).for_dataset("fashion-mnist").seed == 7 if name != "modes" else True
    )
    with pytest.raises(ConfigError) as caught:
        metric.for_dataset("cifar10")
    assert str(caught.value) == (
        f"The metric '{name}' looks at classes by a classifier of 'mnist', and 'cifar10' has "
        f"others: give it an 'extractor' that tells those apart, or leave it out."
    )


def test_a_classifier_that_was_chosen_stays():
    for extractor in (lambda x: x, {"name": "classifier", "dataset": "fashion-mnist"}, "inception"):
        metric = metrics.create("modes", extractor=extractor)
        for data in ("mnist", "fashion-mnist", "cifar10"):
            assert metric.for_dataset(data) is metric
    for name in ("inception-score", "fid", "swd"):
        metric = metrics.create(name)
        assert metric.for_dataset("cifar10") is metric


def test_nothing_else_decides_most_metrics():
    for name in {*BUILT_IN} - NEED_WEIGHTS:
        rule = {"counted": "modes with at least one sample"} if name == "modes" else {}
        assert metrics.create(name).protocol(SampleSpec(shape=(3, 32, 32)), None) == rule


def test_a_function_is_an_extractor():
    metric = metrics.create("fid", extractor=lambda samples: samples.flatten(1))
    assert metric.extractor.name == "callable"


# -- what score() checks before it computes -------------------------------------------------------


class Mean(Metric):
    """Mean of the first feature."""

    requires: ClassVar = ("features",)
    min_samples: ClassVar = 3

    def compute(self, real, fake):
        return Result(float((fake.features[:, 0] / (fake.features[:, 1])).mean()))


@pytest.fixture
def mean():
    yield metrics.register("first-mean")(Mean)()
    metrics.registry.unregister("first-mean")


def part(values, spec=None):
    return MetricInputs(len(values), features=values, spec=spec)


def message(metric, real, fake, error):
    with pytest.raises(error) as caught:
        metric.score(real, fake)
    return str(caught.value)


def test_score(mean):
    assert mean.score(part(torch.ones(3, 2)), part(torch.ones(4, 2))) == Result(1.0)


def test_too_few(mean):
    good = part(torch.ones(3, 2))
    assert message(mean, part(torch.ones(2, 2)), good, DataError) == (
        "The metric 'first-mean' needs at least 3 real samples, not 2: give more."
    )
    assert message(mean, good, part(torch.ones(0, 2)), DataError) == (
        "The metric 'first-mean' needs at least 3 generated samples, not 0: give more."
    )


def test_no_real_ones(mean):
    assert message(mean, None, part(torch.ones(3, 2)), ConfigError) == (
        "The metric 'first-mean' compares with real samples, and there are none: give a dataset."
    )


def test_not_gathered(mean):
    assert message(mean, part(torch.ones(3, 2)), MetricInputs(3), ConfigError) == (
        "The metric 'first-mean' needs the features of the generated samples: give them in its "
        "inputs."
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_finite(mean, bad):
    values = torch.ones(5000, 2)
    values[4321, 1] = bad
    assert message(mean, part(torch.ones(3, 2)), part(values), DataError) == (
        "The features of generated samples are not finite (NaN or infinity), the first of them in "
        "sample 4,321, so that there is no score. Look at the samples: a generator that diverged "
        "makes such ones."
    )


def test_samples_that_are_not_finite_are_named():
    samples = torch.zeros(4, 1, 32, 32)
    samples[2, 0, 0, 0] = float("nan")
    spec = SampleSpec(shape=(1, 32, 32))
    fake = MetricInputs(4, samples=samples, spec=spec)
    text = message(metrics.create("ms-ssim"), None, fake, DataError)
    assert text.startswith("Some generated samples are not finite (NaN or infinity), the first ")


def test_a_value_that_is_not_finite(mean):
    ones = part(torch.ones(3, 2))
    assert message(mean, ones, part(torch.tensor([[1.0, 0.0]] * 3)), DataError) == (
        "The metric 'first-mean' of these samples is inf. Look at the samples: what they hold is "
        "beyond what it can be computed from."
    )


def test_another_kind(mean):
    vectors = part(torch.ones(3, 2), SampleSpec(kind="vector", shape=(2,), value_range=None))
    assert message(mean, vectors, vectors, ConfigError) == (
        "The metric 'first-mean' is for samples of kind image; this is a vector of shape (2,). "
        "Leave it out."
    )


def test_images_without_a_range():
    spec = SampleSpec(shape=(1, 32, 32), value_range=None)
    fake = MetricInputs(2, samples=torch.zeros(2, 1, 32, 32), spec=spec)
    with pytest.raises(ConfigError, match="^These images have no value range"):
        metrics.create("ms-ssim").score(None, fake)
