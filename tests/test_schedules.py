from __future__ import annotations

import json
import math

import pytest

from ganzoo import schedules
from ganzoo.errors import ConfigError, UnknownNameError
from ganzoo.schedules import Constant, Cosine, Linear


def factors(schedule, total: int) -> list[float]:
    return [schedule.factor(step, total) for step in range(total)]


CASES = [
    (Constant(), [1, 1, 1, 1]),
    (Constant(warmup=3), [0.25, 0.5, 0.75, 1, 1]),
    (Linear(), [1, 0.75, 0.5, 0.25]),
    (Linear(final=0.5), [1, 0.875, 0.75, 0.625]),
    (Linear(final=2.0), [1, 1.25, 1.5, 1.75]),
    (Linear(start=0.5), [1, 1, 1, 0.5]),
    (Linear(warmup=1), [0.5, 1, 0.75, 0.5, 0.25]),
    (Linear(warmup=1, start=0.5, final=0.2), [0.5, 1, 1, 1, 0.6]),
    (Cosine(), [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    (Cosine(final=0.2), [1, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.6 - 0.4 * math.sqrt(0.5)]),
    (Cosine(warmup=2), [1 / 3, 2 / 3, 1, 0.5]),
]


@pytest.mark.parametrize(("schedule", "expected"), CASES, ids=[repr(case[0]) for case in CASES])
def test_values(schedule, expected) -> None:
    assert factors(schedule, len(expected)) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", schedules.names())
def test_every_schedule_starts_at_one_and_reaches_its_end(name) -> None:
    schedule = schedules.create(name)
    assert schedule.factor(0, 1000) == 1.0
    assert schedule.decay(1.0) == pytest.approx(1.0 if name == "constant" else 0.0, abs=1e-15)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_a_final_factor_of_one_is_constant(name) -> None:
    assert factors(schedules.create(name, final=1.0), 7) == [1.0] * 7


@pytest.mark.parametrize("name", schedules.names())
def test_a_warmup_longer_than_the_run_only_rises(name) -> None:
    assert factors(schedules.create(name, warmup=9), 4) == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("name", schedules.names())
def test_a_warmup_as_long_as_the_run(name) -> None:
    schedule = schedules.create(name, warmup=4)
    assert factors(schedule, 4) == [0.2, 0.4, 0.6, 0.8]
    assert schedule.factor(4, 4) == 1.0  # and nothing is divided by zero


@pytest.mark.parametrize("name", schedules.names())
def test_every_schedule_survives_json(name) -> None:
    options = {"warmup": 5} if name == "constant" else {"warmup": 5, "final": 0.25}
    schedule = schedules.create(name, **options)
    text = schedule.model_dump_json()
    assert json.loads(text)["name"] == name
    assert schedules.create(json.loads(text)) == schedule


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "linear",
            {"start": 1.0},
            "Schedule 'linear': start cannot be 1.0: input should be less than 1.",
        ),
        (
            "cosine",
            {"final": -0.1},
            "Schedule 'cosine': final cannot be -0.1: input should be greater than or equal to 0.",
        ),
        (
            "linear",
            {"final": 1e7},
            "Schedule 'linear': final cannot be 10000000.0: "
            "input should be less than or equal to 1000000.",
        ),
        (
            "constant",
            {"warmup": -1},
            "Schedule 'constant': warmup cannot be -1: input should be greater than or equal to 0.",
        ),
        (
            "constant",
            {"warm_up": 1},
            "Schedule 'constant' has no option 'warm_up'. Did you mean 'warmup'? Options: warmup.",
        ),
    ],
)
def test_wrong_options(name, options, message) -> None:
    with pytest.raises(ConfigError) as caught:
        schedules.create(name, **options)
    assert str(caught.value) == message


def test_an_unknown_schedule() -> None:
    with pytest.raises(UnknownNameError) as caught:
        schedules.create("cosin")
    assert str(caught.value) == (
        "Unknown schedule 'cosin'. Did you mean 'cosine'? Available: constant, cosine, linear."
    )
