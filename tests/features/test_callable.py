import copy
import dataclasses
import functools

import pytest
import torch
from torch import nn

from ganzoo import features
from ganzoo.errors import ConfigError
from ganzoo.features import Features
from ganzoo.features.callable import Callable, as_extractor

CPU = torch.device("cpu")


def flat(samples):
    return samples.flatten(1)


def test_a_function_is_called():
    extractor = Callable.of(flat)
    assert extractor.quantisation == "none"
    found = extractor.build(CPU)(torch.ones(3, 1, 2, 2, dtype=torch.float64))
    assert found.pool.shape == (3, 4) and found.pool.dtype == torch.float32
    assert found.logits is None


def test_a_module_is_copied_and_not_trained_on():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Dropout(0.9)).train()
    built = Callable.of(net, quantise=True).build(CPU)
    samples = torch.rand(3, 1, 2, 2)
    first = built(samples).pool
    assert torch.equal(first, built(samples).pool) and not first.requires_grad
    assert net.training and net[1].weight.requires_grad
    assert Callable.of(net, quantise=True).quantisation == "uint8"


def test_logits_may_come_with_the_features():
    extractor = Callable.of(lambda samples: Features(samples, 2 * samples))
    found = extractor.build(CPU)(torch.ones(3, 4))
    assert torch.equal(found.logits, 2 * torch.ones(3, 4))


def test_a_name_of_your_own_identifies_code_and_weights():
    torch.manual_seed(0)
    net = nn.Linear(4, 2)
    same = copy.deepcopy(net)
    assert Callable.of(net, name="net") == Callable.of(same, name="net")
    other = {Callable.of(nn.Linear(4, 2), name="net"), Callable.of(net, name="v2")}
    assert Callable.of(net, name="net") not in other
    assert Callable.of(net, name="net").cacheable
    assert Callable.of(flat, name="flat") == Callable.of(flat, name="flat")
    assert Callable.of(flat, name="flat").cacheable
    assert Callable.of(flat, name="flat").protocol() == {
        "extractor": "callable",
        "quantisation": "none",
        "callable": f"the function {__name__}.flat",
        "weights": Callable.of(flat, name="flat").fingerprint,
    }


class Scaled(nn.Module):
    """Has a number that is not in its state."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, samples):
        return samples.flatten(1) * self.factor

    def also(self, samples):
        return self(samples)


def scaled(samples, factor):
    return samples.flatten(1) * factor


def with_closure(factor):
    return lambda samples: samples.flatten(1) * factor


@pytest.mark.parametrize(
    "make",
    [
        with_closure,
        lambda factor: functools.partial(scaled, factor=factor),
        lambda factor: Scaled(factor).also,
        lambda factor: eval(f"lambda samples: samples.flatten(1) * {factor}"),
        Scaled,
    ],
    ids=["closure", "partial", "bound method", "lambda", "attribute"],
)
def test_without_a_name_each_object_is_only_itself(make):
    one, other = make(1), make(100)
    extractors = [Callable.of(each) for each in (one, other)]
    assert extractors[0] == Callable.of(one) != extractors[1]
    assert extractors[0].protocol() == Callable.of(one).protocol() != extractors[1].protocol()
    assert not extractors[0].cacheable


def test_another_object_does_not_get_the_name_of_one_that_is_gone():
    names = {Callable.of(with_closure(factor)).fingerprint for factor in range(20)}
    assert len(names) == 20


@pytest.mark.parametrize("name", ["net", None])
def test_a_net_whose_weights_changed_is_another_and_refused(name):
    net = nn.Linear(4, 2)
    extractor = Callable.of(net, name=name)
    before = Callable.of(copy.deepcopy(net), name=name)
    with torch.no_grad():
        net.weight.add_(1)
    assert Callable.of(net, name=name).protocol() != extractor.protocol()
    with pytest.raises(ConfigError, match="weights have changed since"):
        extractor.build(CPU)
    assert before.build(CPU)(torch.ones(1, 4)).pool.shape == (1, 2)


@dataclasses.dataclass
class Equal:
    """Equal to all others of its kind, whatever they compute; without a hash."""

    factor: int = dataclasses.field(compare=False)

    def __call__(self, samples):
        return samples.flatten(1) * self.factor


@dataclasses.dataclass(unsafe_hash=True)
class Hashed(Equal):
    """With a hash."""


@pytest.mark.parametrize("kind", [Equal, Hashed])
def test_equal_objects_are_told_apart(kind):
    one, other = kind(1), kind(100)
    assert one == other
    assert Callable.of(one) == Callable.of(one) != Callable.of(other)


def test_what_was_read_from_a_file_asks_for_the_object():
    saved = features.create(Callable.of(flat).model_dump())
    assert saved == Callable.of(flat)
    with pytest.raises(ConfigError, match="which no file can hold; pass it again"):
        saved.build(CPU)


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (torch.zeros(2, 3, 4, 4), r"\(2, 3, 4, 4\)"),
        (torch.zeros(5, 3), r"\(5, 3\)"),
        ([1, 2], "list"),
    ],
)
def test_what_is_not_one_row_per_sample_is_refused(result, got):
    with pytest.raises(ConfigError, match=rf"must be a tensor \(2, D\) .* are {got}"):
        Callable.of(lambda samples: result).build(CPU)(torch.zeros(2, 1, 4, 4))


def test_interpret_takes_names_components_and_callables():
    assert as_extractor("inception") == "inception"
    assert as_extractor({"name": "clip"}) == {"name": "clip"}
    assert as_extractor(Callable) is Callable
    assert as_extractor(flat) == Callable.of(flat)
    with pytest.raises(ConfigError, match="An extractor is a name"):
        as_extractor(3)
