import copy
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


def test_the_fingerprint_tells_contents_apart():
    torch.manual_seed(0)
    net = nn.Linear(4, 2)
    same = nn.Linear(4, 2)
    same.load_state_dict(net.state_dict())
    assert Callable.of(net) == Callable.of(same)
    assert Callable.of(net).fingerprint != Callable.of(nn.Linear(4, 2)).fingerprint
    assert Callable.of(net).cacheable
    assert Callable.of(flat).fingerprint != Callable.of(torch.flatten).fingerprint
    assert Callable.of(flat).protocol() == {
        "extractor": "callable",
        "quantisation": "none",
        "callable": f"the function {__name__}.flat",
        "weights": Callable.of(flat).fingerprint,
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


def class_with_closure(factor):
    class Local(nn.Module):
        def forward(self, samples):
            return samples.flatten(1) * factor

    return Local()


@pytest.mark.parametrize(
    "make",
    [
        with_closure,
        lambda factor: functools.partial(scaled, factor=factor),
        lambda factor: Scaled(factor).also,
        lambda factor: eval(f"lambda samples: samples.flatten(1) * {factor}"),
        Scaled,
        class_with_closure,
    ],
    ids=["closure", "partial", "bound method", "lambda", "attribute", "class"],
)
def test_functions_that_differ_in_what_no_source_tells(make):
    one, other = make(1), make(100)
    extractors = [Callable.of(each) for each in (one, other)]
    assert extractors[0] == Callable.of(one) != extractors[1]
    assert extractors[0].protocol() == Callable.of(one).protocol() != extractors[1].protocol()
    assert extractors[0].cacheable == isinstance(one, nn.Module)


def test_nets_of_one_content_are_one():
    assert Callable.of(Scaled(2.0)) == Callable.of(Scaled(2.0))
    assert Callable.of(Scaled(2.0)) != Callable.of(Scaled(2))
    assert Callable.of(class_with_closure(3)) == Callable.of(class_with_closure(3))


def test_a_net_with_objects_in_it_is_only_itself():
    net, twin = Scaled(object()), Scaled(object())
    assert not Callable.of(net).cacheable
    assert Callable.of(net) == Callable.of(net) != Callable.of(twin)


def importing(line):
    """A net with an import in its code."""
    space = {}
    exec(f"def forward(self, samples):\n    {line}\n    return samples", globals(), space)
    return type("Importing", (nn.Module,), space)()


@pytest.mark.parametrize(
    ("line", "cacheable"),
    [
        ("from torch.nn.functional import relu", True),
        ("import json, torch.nn as parts", True),
        ("from helper import scaled", False),
        ("import torch, helper.within as parts", False),
        ("from . import torch", False),
        ("from .torch import scaled", False),
        ("def within(): import helper", False),
    ],
)
def test_what_a_net_imports_as_it_computes_is_known_of_libraries_only(line, cacheable):
    assert Callable.of(importing(line)).cacheable == cacheable


def test_another_object_does_not_get_the_name_of_one_that_is_gone():
    names = {Callable.of(with_closure(factor)).fingerprint for factor in range(20)}
    assert len(names) == 20


def test_a_net_that_changed_since_it_was_given_is_refused():
    net = nn.Linear(4, 2)
    extractor = Callable.of(net)
    before = Callable.of(copy.deepcopy(net))
    with torch.no_grad():
        net.weight.add_(1)
    with pytest.raises(ConfigError, match="has changed since"):
        extractor.build(CPU)
    assert before.build(CPU)(torch.ones(1, 4)).pool.shape == (1, 2)


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
