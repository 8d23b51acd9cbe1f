from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

import ganzoo
from ganzoo import datasets, evaluation, features, metrics
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets.mixture import Mixture
from ganzoo.errors import ConfigError, DataError
from ganzoo.features import Features, classifier
from ganzoo.metrics.inputs import MetricInputs
from ganzoo.metrics.modes import reverse_kl

VECTOR = SampleSpec(kind="vector", shape=(2,), value_range=None)
FOUR = Mixture(centres=((-1, -1), (-1, 1), (1, -1), (1, 1)), sd=0.05)
STACKED = SampleSpec(shape=(3, 28, 28))


def points(values):
    values = torch.as_tensor(values, dtype=torch.float32)
    return MetricInputs(len(values), samples=values, spec=VECTOR, mixture=FOUR)


def seen(digits, spec=STACKED):
    """Logits of a classifier that is sure of these digits, (N,) or (N, C)."""
    logits = 10.0 * torch.nn.functional.one_hot(torch.as_tensor(digits), 10)
    return MetricInputs(len(logits), logits=logits, spec=spec)


def test_samples_of_the_mixture():
    drawn, _ = FOUR.sample(4000, torch.Generator().manual_seed(0))
    result = metrics.create("modes").score(None, points(drawn))
    assert result.value == 4
    assert result.extra["total"] == 4
    assert result.extra["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.01)
    assert 0 <= result.extra["reverse_kl"] < 0.002
    assert result.extra["rarest"] == pytest.approx(0.25, abs=0.03)


def test_hand_made_points():
    # Two in one mode, one in another, one near a third and too far to be good.
    result = metrics.create("modes").score(None, points([[-1, -1], [-1.1, -1], [1, 1], [-1, 0.5]]))
    assert result.value == 2
    assert result.extra["high_quality"] == 0.75
    assert result.extra["rarest"] == 0
    assert result.extra["reverse_kl"] == pytest.approx(
        0.5 * math.log(2) + 2 * 0.25 * math.log(1), rel=1e-12
    )


def test_points_without_a_mixture():
    fake = MetricInputs(3, samples=torch.zeros(3, 2), spec=VECTOR)
    with pytest.raises(ConfigError, match="needs to know the modes of points: take a dataset that"):
        metrics.create("modes").score(None, fake)


def test_the_mixture_may_be_that_of_the_reals():
    fake = MetricInputs(2, samples=torch.ones(2, 2), spec=VECTOR)
    assert metrics.create("modes").score(points([[1, 1], [-1, -1]]), fake).value == 1


def test_the_protocol_says_which_mixture():
    metric = metrics.create("modes")
    known = metric.protocol(VECTOR, FOUR)
    assert known == metric.protocol(VECTOR, Mixture(centres=FOUR.centres, sd=0.05))
    assert known["modes"] == 4 and re.fullmatch("[0-9a-f]{16}", known["mixture"])
    wider = Mixture(centres=FOUR.centres, sd=0.06)
    moved = Mixture(centres=(*FOUR.centres[:3], (1, 1.5)), sd=0.05)
    assert len({metric.protocol(VECTOR, m)["mixture"] for m in (FOUR, wider, moved)}) == 3
    rule = {"counted": "modes with at least one sample"}
    assert metric.protocol(VECTOR, None) == metric.protocol(STACKED, None) == rule


def test_scores_of_two_mixtures_cannot_be_compared():
    ring, grid = (
        ganzoo.evaluate(datasets.create(name, count=200), metrics="modes")["modes"]
        for name in ("ring", "grid")
    )
    assert (ring.extra["total"], grid.extra["total"]) == (8, 25)
    assert not evaluation.same_protocol(ring, grid)


def test_all_stacks():
    digits = torch.cartesian_prod(*[torch.arange(10)] * 3)
    result = metrics.create("modes").score(None, seen(digits))
    assert result.value == result.extra["total"] == 1000
    assert result.extra["reverse_kl"] == pytest.approx(0, abs=1e-12)
    assert "high_quality" not in result.extra


def test_real_stacks_are_close_to_uniform():
    digits = np.random.RandomState(0).randint(0, 10, (26_000, 3))
    result = metrics.create("modes").score(None, seen(digits))
    assert result.value == 1000
    assert result.extra["reverse_kl"] == pytest.approx(999 / 52_000, rel=0.1)


def test_a_collapsed_generator_as_counted_by_hand():
    digits = [[1, 2, 3]] * 700 + [[7, 7, 7]] * 200 + [[3, 2, 1]] * 100
    result = metrics.create("modes").score(None, seen(digits))
    assert result.value == len(Counter(map(tuple, digits))) == 3
    shares = np.array([0.7, 0.2, 0.1])
    assert result.extra["reverse_kl"] == pytest.approx((shares * np.log(shares * 1000)).sum())
    assert result.extra["rarest"] == 0


def test_classes_of_plain_images():
    result = metrics.create("modes").score(None, seen([0, 1, 1, 5], SampleSpec(shape=(1, 28, 28))))
    assert (result.value, result.extra["total"]) == (3, 10)
    wanted = 0.5 * math.log(5) + 0.5 * math.log(2.5)
    assert result.extra["reverse_kl"] == pytest.approx(wanted, rel=1e-12)


def test_against_the_reals():
    metric = metrics.create("modes", reference="real")
    real, fake = seen([[1, 1, 1]] * 30 + [[2, 2, 2]] * 10), seen([[1, 1, 1]] * 6 + [[2, 2, 2]] * 2)
    assert metric.score(real, fake).extra["reverse_kl"] == pytest.approx(0, abs=1e-12)
    wanted = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert metric.score(real, seen([[1, 1, 1], [2, 2, 2]])).extra["reverse_kl"] == pytest.approx(
        wanted, rel=1e-12
    )
    with pytest.raises(DataError, match=r"^Mode 333 is among the generated samples and not among "):
        metric.score(real, seen([[3, 3, 3]]))
    with pytest.raises(ConfigError, match="compares with real samples, and there are none"):
        metric.score(None, fake)


def test_reverse_kl_against_numpy():
    source = np.random.RandomState(3)
    counts, p = source.randint(0, 40, 200), source.dirichlet(np.ones(200))
    q = counts / counts.sum()
    kept = q > 0
    wanted = np.sum(q[kept] * np.log(q[kept] / p[kept]))
    assert reverse_kl(counts.tolist(), p.tolist()) == pytest.approx(wanted, rel=1e-12)
    assert reverse_kl([1, 1], [1.0, 0.0]) == math.inf


def test_logits_that_tell_no_classes():
    for shape in ((5, 1), (5, 3, 10, 2)):
        fake = MetricInputs(5, logits=torch.zeros(shape), spec=STACKED)
        with pytest.raises(ConfigError, match="^Modes are counted by logits "):
            metrics.create("modes").score(None, fake)


def test_what_it_wants():
    metric = metrics.create("modes")
    assert metric.wants(VECTOR) == ("samples",)
    assert metric.wants(STACKED) == ("logits",)


# -- by a part of what is due ----------------------------------------------------------------------


def test_by_a_part_of_its_due():
    """A quarter of a quarter of 160 samples is 10; those near no mode count among the 160."""
    values = [[-1, -1]] * 100 + [[-1, 1]] * 10 + [[1, -1]] * 9 + [[1, 1]] + [[0, 0]] * 40
    by_one = metrics.create("modes").score(None, points(values))
    assert (by_one.value, by_one.extra["modes_due"]) == (4, 2)
    wanted = {0.25: 2, 0.2: 3, 0.025: 4, 1.0: 1}  # parts of 40 samples: 10, 8, 1 and 40
    for least, count in wanted.items():
        result = metrics.create("modes", least_share=least).score(None, points(values))
        assert (result.value, result.extra["modes_due"]) == (count, 2)
        assert result.extra["reverse_kl"] == by_one.extra["reverse_kl"]
        assert result.extra["high_quality"] == 0.75


def test_a_uniform_cloud_reaches_modes_by_one_sample_only():
    grid = datasets.create("grid", side=10, count=4000)
    cloud = np.random.RandomState(0).uniform(-10, 10, (10_000, 2)).astype(np.float32)
    places = np.arange(-9, 10, 2)
    nearest = places[np.abs(cloud[:, :, None] - places).argmin(2)]
    good = np.hypot(*(cloud - nearest).T) <= 0.15
    counts = Counter(map(tuple, nearest[good]))
    kinds = {"name": "modes"}, {"name": "modes", "least_share": 0.1}
    by_one, by_due = (ganzoo.evaluate(cloud, grid, [kind])["modes"] for kind in kinds)
    assert by_one.value == len(counts) > 80 and by_one.extra["modes_due"] == 0
    assert by_due.value == sum(count >= 10 for count in counts.values()) == 0
    assert by_one.extra["high_quality"] == good.mean() < 0.02
    # As near to even as can be: it is the high quality that tells, not the divergence.
    assert by_one.extra["reverse_kl"] < 0.01
    own = ganzoo.evaluate(grid, metrics=[kinds[1]])["modes"]
    assert own.value == own.extra["modes_due"] == 100
    assert by_one.protocol["measured"]["counted"] == "modes with at least one sample"
    assert by_due.protocol["measured"]["counted"] == (
        "modes with at least 0.1 of their due share of all samples"
    )
    assert "measured.counted" in evaluation.differences(by_one, by_due)


def test_due_are_the_shares_of_the_reals():
    """Rare modes are due less: a quarter of .6, .3 and .1 of 200 samples is 30, 15 and 5."""
    real = seen([0] * 60 + [1] * 30 + [2] * 10, SampleSpec(shape=(1, 28, 28)))
    fake = seen([0] * 181 + [1] * 14 + [2] * 5, SampleSpec(shape=(1, 28, 28)))
    metric = metrics.create("modes", reference="real", least_share=0.25)
    assert metric.score(real, fake).value == 2
    even = metrics.create("modes", least_share=0.25)  # of ten digits each is due 20
    assert even.score(None, fake).value == 3
    assert metrics.create("modes").score(None, fake).extra["modes_due"] == 3


def test_the_only_mode_of_a_mixture():
    one = Mixture(centres=((0.0, 0.0),), sd=1)
    values = torch.tensor([[0.0, 0.0]] + [[9.0, 0.0]] * 4)
    fake = MetricInputs(5, samples=values, spec=VECTOR, mixture=one)
    result = metrics.create("modes").score(None, fake)
    assert (result.value, result.extra["modes_due"], result.extra["high_quality"]) == (1, 0, 0.2)
    assert (result.extra["reverse_kl"], result.extra["rarest"]) == (0, 1)


@pytest.mark.parametrize("least", [0, 0.25])
def test_samples_that_are_not_finite_have_no_mode(least):
    with pytest.raises(DataError, match="NaN"):
        metrics.create("modes", least_share=least).score(None, points([[math.nan, 0], [1, 1]]))


@pytest.mark.parametrize("least", [-0.1, 1.5, math.nan])
def test_a_least_share_is_a_part(least):
    with pytest.raises(ConfigError, match="least_share"):
        metrics.create("modes", least_share=least)


# -- images, from pixels to the score --------------------------------------------------------------

TRIPLES = [(0, 0, 0), (1, 2, 3), (3, 2, 1), (7, 7, 7), (9, 0, 4), (9, 0, 5), (9, 9, 9)]
COUNTS = [700, 200, 60, 25, 10, 4, 1]


class Brightness(torch.nn.Module):
    """A classifier of digits that are as bright as their number says."""

    def forward(self, pictures):
        assert pictures.dtype == torch.uint8 and pictures.shape[1:] == (1, 28, 28)
        brightness = pictures.float().mean((1, 2, 3))[:, None]
        return Features(brightness, -(brightness - 25 * torch.arange(10.0)).square())


@pytest.fixture
def by_brightness(monkeypatch):
    """The digit classifier is that one."""
    known = classifier.Trained({}, 0.995, "0" * 64)
    monkeypatch.setattr(classifier.Classifier, "trained", lambda self: known)
    monkeypatch.setattr(
        classifier.Classifier, "build", lambda self, device, precision: Brightness()
    )


def collapsed_stacks():
    """Stacks of 7 of the 1,000 triples, in known counts, in no order."""
    triples = torch.tensor(TRIPLES).repeat_interleave(torch.tensor(COUNTS), 0)
    triples = triples[torch.randperm(len(triples), generator=torch.Generator().manual_seed(0))]
    return (25 * triples)[:, :, None, None].expand(-1, -1, 28, 28).to(torch.uint8)


def test_a_collapsed_generator_from_its_pictures(by_brightness):
    score = ganzoo.evaluate(collapsed_stacks(), metrics="modes")["modes"]
    assert (score.value, score.extra["total"], score.extra["rarest"]) == (7, 1000, 0)
    q, p = np.zeros((10, 10, 10)), np.full((10, 10, 10), 1 / 1000)
    for triple, count in zip(TRIPLES, COUNTS, strict=True):
        q[triple] = count / 1000
    wanted = np.sum(q[q > 0] * np.log(q[q > 0] / p[q > 0]))
    assert score.extra["reverse_kl"] == pytest.approx(wanted, rel=1e-12)
    assert score.protocol["fake"]["count"] == 1000 and "real" not in score.protocol
    assert score.notices == ()  # few samples, and no doubt that it has collapsed


def test_against_the_reals_from_their_pictures(by_brightness):
    """The shares of the reals are the reference, channel by channel in the same order."""
    real = collapsed_stacks()
    metric = {"name": "modes", "reference": "real"}
    score = ganzoo.evaluate(real[:500], real, [metric])["modes"]
    digits = (real[:, :, 0, 0].long() // 25).tolist()
    shares = [Counter(map(tuple, part)) for part in (digits[:500], digits)]
    q = {mode: count / 500 for mode, count in shares[0].items()}
    wanted = sum(share * math.log(share / (shares[1][mode] / 1000)) for mode, share in q.items())
    assert score.extra["reverse_kl"] == pytest.approx(wanted, rel=1e-9)
    assert score.value == len(q)


def test_stacks_of_real_digits(torchvision_root, monkeypatch):
    monkeypatch.setenv("GANZOO_DATA", str(torchvision_root))
    known = datasets.create("mnist", split="test").load()
    first = replace(known, data=known.data[:2000], labels=known.labels[:2000])

    def quickly(self):
        tensors = classifier.train(first, "training", epochs=2)
        return classifier.Trained(tensors, 0.995, classifier.fingerprint(tensors))

    monkeypatch.setattr(classifier, "_BATCH", 50)
    monkeypatch.setattr(classifier.Classifier, "_train", quickly)
    rest, labels = known.data[2000:], known.labels[2000:]
    of_class = [rest[labels == digit] for digit in range(10)]
    stacks = torch.stack(
        [
            torch.cat([of_class[digit][place] for digit in triple])
            for triple, count in zip(TRIPLES, COUNTS, strict=True)
            for place in range(-(-count // 2))
        ]
    )
    score = ganzoo.evaluate(stacks, metrics="modes")["modes"]
    net = features.create("classifier").build(torch.device("cpu"))
    told = [net(stacks[:, i : i + 1]).logits.argmax(1).tolist() for i in range(3)]
    counts = Counter(zip(*told, strict=True))
    q = np.array(list(counts.values())) / len(stacks)
    assert score.value == len(counts)
    assert score.extra["reverse_kl"] == pytest.approx(np.sum(q * np.log(1000 * q)), rel=1e-12)
    assert [mode for mode, _ in counts.most_common(2)] == TRIPLES[:2]
    assert score.extra["certainty"] > 0.7


# -- what a person should know ---------------------------------------------------------------------


def test_certainty():
    digits = torch.cartesian_prod(*[torch.arange(10)] * 3).repeat(20, 1)
    sure = metrics.create("modes").score(None, seen(digits))
    assert sure.extra["certainty"] == pytest.approx(math.exp(10) / (math.exp(10) + 9))
    assert sure.notices == ()
    logits = torch.nn.functional.one_hot(digits, 10).float()
    unsure = metrics.create("modes").score(None, MetricInputs(20_000, logits=logits, spec=STACKED))
    assert unsure.extra["certainty"] == pytest.approx(math.e / (math.e + 9))
    (notice,) = unsure.notices
    assert notice.startswith("The classifier of 'modes', which knows the classes of mnist, gives ")
    assert "a probability of only 0.23 on average" in notice


def test_whose_classes_they_are():
    fake = seen([0, 1, 1, 5], SampleSpec(shape=(1, 28, 28)))
    for name in ("modes", "classifier-score"):
        options = {} if name == "modes" else {"splits": 1}
        for data in ("mnist", "fashion-mnist"):
            extractor = {"name": "classifier", "dataset": data}
            result = metrics.create(name, extractor=extractor, **options).score(None, fake)
            assert result.extra["classes_of"] == data
        own = metrics.create(name, extractor=lambda x: x, **options)
        assert "classes_of" not in own.score(None, fake).extra
    assert "classes_of" not in metrics.create("modes").score(None, points([[1, 1]])).extra
    own = metrics.create("modes", extractor=lambda x: x)
    unsure = MetricInputs(1000, logits=torch.zeros(1000, 10), spec=SampleSpec(shape=(1, 28, 28)))
    (notice,) = own.score(None, unsure).notices
    assert notice.startswith("The classifier of 'modes' gives what it sees a probability of only ")


def test_few_samples_for_so_many_modes():
    digits = np.random.RandomState(0).randint(0, 10, (10_000, 3))
    result = metrics.create("modes").score(None, seen(digits))
    (notice,) = result.notices
    assert "is about 0.05 by chance alone with 10,000 samples of 1,000 modes" in notice
    assert result.extra["reverse_kl"] == pytest.approx(0.05, rel=0.15)


def test_more_modes_than_can_be_counted():
    spec = SampleSpec(shape=(7, 28, 28))
    fake = MetricInputs(5, logits=torch.zeros(5, 7, 10), spec=spec)
    with pytest.raises(ConfigError, match="counts at most 1,000,000 modes, and 7 channels of 10"):
        metrics.create("modes").score(None, fake)
