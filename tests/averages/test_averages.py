"""Rules of averages against formulas in float64, and what they refuse."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import nn

import ganzoo
from ganzoo import averages
from ganzoo.averages import Average
from ganzoo.averages.decay import Decay
from ganzoo.averages.half_life import HalfLife
from ganzoo.averages.power import Power, exponent
from ganzoo.cli import main
from ganzoo.config import read_config, resolve
from ganzoo.errors import ConfigError
from ganzoo.training.ema import EMA
from ganzoo.training.preparation import kept_settings

WIDTHS = (1e-3, 0.05, 0.1, 0.2, 0.288)


def followed(average: Average, count: int, images: float = 8.0) -> tuple[EMA, torch.Tensor]:
    """Averages of a net in float64 that was drawn anew ``count`` times, and all of its weights."""
    net = nn.Linear(4, 1, bias=False).double()
    ema = EMA(net, average, images=images)
    source = torch.Generator().manual_seed(3)
    seen = [net.weight.detach().clone()]
    for _ in range(count):
        with torch.no_grad():
            net.weight.normal_(generator=source)
        seen.append(net.weight.detach().clone())
        ema.update()
    return ema, torch.cat(seen)


def explicit(shares: list[float], seen: torch.Tensor) -> torch.Tensor:
    """The weighted mean of all snapshots, by the product of the shares that came after each."""
    weights = [math.prod(shares)]
    weights += [(1 - share) * math.prod(shares[at + 1 :]) for at, share in enumerate(shares)]
    assert sum(weights) == pytest.approx(1)
    return torch.tensor(weights, dtype=torch.float64) @ seen


def close(found: nn.Module, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.weight[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9])
def test_a_decay_is_that_of_the_formula(decay: float) -> None:
    ema, seen = followed(Decay(decay=decay), 40)
    close(ema.module, explicit([min(decay, (1 + n) / (10 + n)) for n in range(40)], seen))


@pytest.mark.parametrize("ramp", [0.0, 0.05, 0.5])
def test_a_half_life_is_that_of_the_formula(ramp: float) -> None:
    shares = []
    for number in range(40):
        life = min(100.0, ramp * 8 * number) if ramp else 100.0
        shares.append(2 ** (-8 / life) if life else 0.0)
    ema, seen = followed(HalfLife(images=100, ramp=ramp), 40)
    close(ema.module, explicit(shares, seen))


def test_no_limit_of_a_half_life_may_be_said_in_two_ways() -> None:
    assert averages.create("half-life", ramp=None) == HalfLife(ramp=0)


# -- powers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_an_exponent_gives_its_width_back(width: float) -> None:
    gamma = exponent(width)
    assert gamma > 0
    again = math.sqrt(gamma + 1) / (gamma + 2) / math.sqrt(gamma + 3)
    assert again == pytest.approx(width, rel=1e-12)


@pytest.mark.parametrize("width", WIDTHS[1:])
def test_a_width_is_the_deviation_of_the_weights(width: float) -> None:
    """By numerical integration of t^gamma over [0, 1], in float64."""
    times = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    weights = times ** exponent(width)
    weights = weights / weights.sum()
    mean = float(weights @ times)
    assert float(weights @ (times - mean).square()) ** 0.5 == pytest.approx(width, rel=1e-6)


def test_a_power_average_weighs_each_net_by_the_integral_of_its_power() -> None:
    ema, seen = followed(Power(widths=WIDTHS), 60)
    edges = torch.linspace(0, 1, 61, dtype=torch.float64)
    for module, width in zip(ema.modules, WIDTHS, strict=True):
        weights = (edges ** (exponent(width) + 1)).diff()
        close(module, weights @ seen[1:])
    assert all(not torch.equal(a.weight, b.weight) for a, b in pairwise(ema.modules))


def test_a_power_average_of_many_nets_weighs_them_by_the_power_itself() -> None:
    count = 4000
    shares = torch.tensor(
        [Power(widths=(0.1,)).retained(n, 8.0)[0] for n in range(count)], dtype=torch.float64
    )
    after = torch.cat((shares[1:], torch.ones(1, dtype=torch.float64))).flip(0).cumprod(0).flip(0)
    weights = (1 - shares) * after
    powers = torch.arange(1, count + 1, dtype=torch.float64) ** exponent(0.1)
    torch.testing.assert_close(weights, powers / powers.sum(), rtol=5e-3, atol=1e-7)


def test_a_width_may_be_alone_and_the_first_is_used() -> None:
    assert averages.create("power", widths=0.07) == Power(widths=(0.07,))
    ema, _ = followed(Power(widths=(0.05, 0.2)), 3)
    assert ema.module is ema.modules[0] and len(ema.modules) == 2


# -- several at once ------------------------------------------------------------------------------


def test_the_state_of_several_is_restored_to_the_bit() -> None:
    ema, _ = followed(Power(widths=(0.05, 0.2)), 5)
    ema.chosen = 1
    parts = ema.parts("ema")
    assert list(parts) == ["ema", "ema-2"]
    assert (ema.part("ema"), ema.part("ema", 0)) == ("ema-2", "ema")
    state = {name: part.state() for name, part in parts.items()}
    assert state["ema"][1] == {"updates": 5, "chosen": 1}
    other, _ = followed(Power(widths=(0.05, 0.2)), 0)
    for name, part in other.parts("ema").items():
        part.restore(*state[name])
    assert (other.updates, other.chosen) == (5, 1)
    for a, b in zip(ema.modules, other.modules, strict=True):
        assert torch.equal(a.weight, b.weight)
    with pytest.raises(ValueError, match="uses average 3 of 2"):
        other.restore(state["ema"][0], {"updates": 5, "chosen": 2})


def test_all_of_several_follow_exchanged_tensors_and_buffers() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double()
    ema = EMA(net, Power(widths=(0.05, 0.2)))
    for module in (net[0], net[1]):
        values = {name: torch.full_like(x, 3) for name, x in module.state_dict().items()}
        module.load_state_dict(values, assign=True)
    ema.update()
    for module in ema.modules:
        assert all(bool((value == 3).all()) for value in module.state_dict().values())


class Halves(Average):
    """Half of the net, and a share that an option says."""

    share: float = Field(0.25, ge=0, lt=1, description="the other share")
    schedulable = ("share",)

    @property
    def labels(self) -> tuple[float, ...]:
        return (self.share, 0.5)

    def retained(self, updates: int, images: float) -> tuple[float, ...]:
        return (self.share, 0.5)


def test_an_average_of_ones_own_is_followed_and_scheduled() -> None:
    averages.register("halves")(Halves)
    try:
        pictures = torch.arange(16 * 64).view(16, 1, 8, 8).to(torch.uint8)
        trainer = ganzoo.Trainer(
            {"name": "mlp", "hidden": [4]},
            pictures,
            average={"name": "halves", "share": 0.0},
            schedules={"average.share": "linear .5"},
            steps=2,
            batch_size=4,
            device="cpu",
            progress=False,
        )
        found = []
        for _ in trainer.iterations():
            now = [copied(each) for each in (trainer.game.generator, *trainer.game.ema.modules)]
            found.append((trainer.game.ema.average.share, *now))
        assert [share for share, *_ in found] == [0.0, 0.25]
        (_, _, one, half), (_, net, later, halved) = found
        torch.testing.assert_close(later, one * 0.25 + net * 0.75)
        torch.testing.assert_close(halved, half * 0.5 + net * 0.5)
    finally:
        averages.registry.unregister("halves")


def copied(net: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in net.parameters()])


# -- settings -------------------------------------------------------------------------------------


REFUSED: list[tuple[Any, str]] = [
    ("powr", "Unknown average 'powr'. Did you mean 'power'? Available: decay, half-life, power."),
    ("ema", "Unknown average 'ema'. Did you mean 'decay'?"),
    ({"decay": 1.0}, "Average 'decay': decay cannot be 1.0: input should be less than 1."),
    ({"decay": -0.1}, "Average 'decay': decay cannot be -0.1"),
    ({"images": 5}, "Average 'decay' has no option 'images'."),
    ({"name": "half-life", "images": -1}, "Average 'half-life': images cannot be -1"),
    ({"name": "half-life", "ramp": -1}, "Average 'half-life': ramp cannot be -1"),
    ({"name": "power", "widths": []}, "Average 'power' has no width. Give one or several"),
    (
        {"name": "power", "widths": [0.1, 0.05]},
        "The widths of average 'power' must ascend, and are 0.1, 0.05. Give each once, smallest",
    ),
    ({"name": "power", "widths": [0.1, 0.1]}, "must ascend, and are 0.1, 0.1."),
    ({"name": "power", "widths": [0.1, 0.3]}, "Average 'power': widths.1 cannot be 0.3: input"),
    ({"name": "power", "widths": [0.0]}, "Average 'power': widths.0 cannot be 0.0"),
    ({"name": "power", "widths": 1 / math.sqrt(12)}, "input should be less than 0.288675"),
]


@pytest.mark.parametrize(("average", "message"), REFUSED, ids=[case[1][-40:] for case in REFUSED])
def test_what_is_refused(average: Any, message: str) -> None:
    with pytest.raises(ConfigError if not isinstance(average, str) else Exception) as caught:
        resolve({"average": average})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("word", "value", "meant"),
    [
        ("ema_decay", 0.9, "average={'decay': 0.9}"),
        ("ema_half_life", 2000, "average={'name': 'half-life', 'images': 2000}"),
        ("ema_ramp", 0.1, "average={'name': 'half-life', 'ramp': 0.1}"),
    ],
)
def test_words_of_other_programs_lead_to_the_setting(word: str, value: Any, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({word: value})
    assert f"Unknown setting '{word}'. Did you mean {meant}? Settings" in str(caught.value)
    resolve({"average": eval(meant.partition("=")[2])})


def test_in_a_file_words_of_other_programs_lead_to_the_setting(tmp_path: Any) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("ema_half_life: 2000\n")
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    meant = "average: {name: half-life, images: 2000}"
    assert f"Did you mean {meant}?" in str(caught.value)
    file.write_text(meant)
    assert resolve(read_config(file)).average == HalfLife(images=2000)


def test_layers_change_the_average_that_lower_ones_chose() -> None:
    lower = {"average": {"name": "half-life", "images": 1000.0}}
    assert resolve(lower, {"average": {"ramp": 0}}).average == HalfLife(images=1000, ramp=0)
    assert resolve(lower, {"average": "decay"}).average == Decay()
    assert resolve(lower, {"seed": 3}).average == HalfLife(images=1000)
    for average in ("decay", "half-life", {"name": "power", "widths": [0.05, 0.2]}):
        config = resolve({"average": average})
        assert resolve(config.dump()) == config


def test_who_resumes_with_a_half_life_is_told_how_to_train_on(tmp_path: Any) -> None:
    told = kept_settings({"ema_half_life": 5}, tmp_path)
    assert told.endswith("average={'name': 'half-life', 'images': 5})")
    told = kept_settings({"--ema-half-life": ["5"]}, tmp_path)
    assert told.endswith(" --average half-life --average.images 5")


def test_widths_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = "train --average power --average.widths .05 1e-1 mlp --dataset ring --dry-run"
    main(line.split())
    assert "average:\n  name: power\n  widths:\n  - 0.05\n  - 0.1\n" in capsys.readouterr().out
    line = "train mlp --average half-life --average.images 20000 --dataset ring --dry-run"
    main(line.split())
    assert "name: half-life\n  images: 20000.0\n  ramp: 0.05\n" in capsys.readouterr().out
