import pytest
import torch
from torch import nn

from ganzoo import features
from ganzoo.errors import ConfigError
from ganzoo.features import Features
from ganzoo.features.callable import Callable, interpret

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
    assert Callable.of(flat).fingerprint != Callable.of(torch.flatten).fingerprint
    assert Callable.of(flat).protocol() == {
        "extractor": "callable",
        "quantisation": "none",
        "callable": f"the function {__name__}.flat",
        "weights": Callable.of(flat).fingerprint,
    }


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
    assert interpret("inception") == "inception"
    assert interpret({"name": "clip"}) == {"name": "clip"}
    assert interpret(Callable) is Callable
    assert interpret(flat) == Callable.of(flat)
    with pytest.raises(ConfigError, match="An extractor is a name"):
        interpret(3)
