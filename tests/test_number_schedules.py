"""Courses of single numbers: against formulas, and what is refused."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import ganzoo
from ganzoo import architectures, optimizers, penalties
from ganzoo.cli import main
from ganzoo.config import TrainConfig, read_config, resolve
from ganzoo.errors import ConfigError, UnknownNameError
from ganzoo.schedules import NumberSchedule
from ganzoo.schedules.numbers import read

COS = [(1 - math.cos(math.pi * share)) / 2 for share in (0, 0.25, 0.5, 0.75)]
CASES: list[tuple[str, list[float]]] = [
    ("linear 2 0", [2, 1.5, 1, 0.5]),
    ("linear 0 8 begin=.25 end=.75", [0, 0, 4, 8]),
    ("linear 1 16 geometric=true", [1, 2, 4, 8]),
    ("linear 8 8 warmup=.5", [8 / 3, 16 / 3, 8, 8]),
    ("cosine 0 5", [5 * way for way in COS]),
    ("cosine 2e-4 5e-5", [2e-4 - 1.5e-4 * way for way in COS]),
    ("step 9 3 at=.25,.5,.75", [9, 7, 5, 3]),
    ("step 1 .01 at=.5,.75 geometric=yes", [1, 1, 0.1, 0.01]),
    ("inverse-square-root 1 .5", [1, 1, math.sqrt(0.5), math.sqrt(1 / 3)]),
    ("inverse-square-root 3 3", [3, 3, 3, 3]),
]


def made(text: str) -> NumberSchedule:
    return NumberSchedule(**read(text))


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_values(text: str, expected: list[float]) -> None:
    schedule = made(text)
    found = [schedule.value(step, 4) for step in range(4)]
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("text", [case[0] for case in CASES if "warmup" not in case[0]])
def test_a_shorter_training_has_the_same_shape_and_all_end_at_final(text: str) -> None:
    schedule = made(text)
    for step in range(100):
        assert schedule.value(step, 100) == pytest.approx(schedule.value(step * 7, 700), rel=1e-12)
    assert schedule.value(100, 100) == pytest.approx(schedule.final, rel=1e-12)
    values = [schedule.value(step, 100) for step in range(101)]
    assert values in (sorted(values), sorted(values, reverse=True))


def test_the_own_value_is_where_it_starts() -> None:
    assert made("linear 0").value(1, 4, own=2.0) == 1.5
    assert made("linear 4 0").value(0, 4, own=2.0) == 4


def test_a_warmup_comes_before_the_shape() -> None:
    values = [made("cosine 1 0 warmup=.1").value(step, 100) for step in range(100)]
    assert values[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert values[10] == 1
    assert values[55] == pytest.approx(0.5)
    assert all(left > right for left, right in pairwise(values[10:]))


WRONG: list[tuple[str, str]] = [
    ("step 1 0 at=.5,.25", "A schedule's fractions must ascend, and warmup, at, 1 are 0, 0.5, 0.2"),
    ("step 1 0 at=.5,.5", "A schedule's fractions must ascend"),
    ("step 1 0 at=1", "A schedule's fractions must ascend"),
    ("linear 1 0 begin=.5 end=.5", "must ascend, and warmup, begin, end are 0, 0.5, 0.5"),
    ("linear 1 0 warmup=.5 begin=.25", "must ascend, and warmup, begin, end are 0.5, 0.25, 1"),
    ("step 1 0", "A step schedule needs 'at'"),
    ("linear 1 0 at=.5", "A schedule of shape 'linear' has no 'at'. Leave it out."),
    ("inverse-square-root 1 .5 end=.5", "has no 'end'"),
    ("cosine", ". Write 'SHAPE [START] FINAL', such as 'cosine"),
    ("cosine 1 2 3", ". Write 'SHAPE [START] FINAL', such as 'cosine"),
    ("sine 1 2", "A schedule: shape cannot be 'sine': input should be 'linear', 'cosine'"),
    ("cosine 1 nan", "A schedule: final cannot be 'nan'"),
    ("cosine 1 0 warmup=2", "A schedule: warmup cannot be '2'"),
    ("cosine 1 0 warm=.1", "A schedule has no option 'warm'. Did you mean 'warmup'?"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[case[0] for case in WRONG])
def test_wrong_schedules(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(text)
    assert message in str(caught.value)


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"schedules": {"g_optimiser.lr": "cosine 1e-5"}},
        "There is no number 'g_optimiser.lr' that a schedule may set in this training. Did you "
        "mean 'g_optimizer.lr'? Choose one of: adversarial_weight, average.decay, ",
    ),
    ({"schedules": {"penalties.r1.weight": "cosine 1"}}, "no number 'penalties.r1.weight'"),
    (
        {"schedules": {"g_optimizer.lr": "cosine -1e-4"}},
        "schedules.g_optimizer.lr: Optimizer 'adam': lr cannot be -0.0001: input should be greater",
    ),
    ({"schedules": {"d_optimizer.beta2": "linear .9 1"}}, "schedules.d_optimizer.beta2: "),
    (
        {"penalties": "r1", "schedules": {"penalties.r1.weight": "linear -1"}},
        "schedules.penalties.r1.weight: Penalty 'r1': weight cannot be -1.0",
    ),
    ({"schedules": {"average.decay": "linear 1"}}, "Average 'decay': decay cannot be 1.0"),
    (
        {"average": "half-life", "schedules": {"average.decay": "linear .9"}},
        "There is no number 'average.decay' that a schedule may set in this training.",
    ),
    (
        {"average": "power", "schedules": {"average.widths": "linear .1"}},
        "There is no number 'average.widths'",
    ),
    (
        {"augmentation": "ada", "schedules": {"augmentation.p": "cosine .5"}},
        "There is no number 'augmentation.p'",
    ),
    (
        {"augmentation": "noise", "schedules": {"augmentation.sigma": "cosine -1"}},
        "schedules.augmentation.sigma: Augmentation 'noise': sigma cannot be -1.0",
    ),
    (
        {"schedules": {"g_optimizer.lr": "linear 1e-4 2e-4 at=.5"}},
        "schedules.g_optimizer.lr: A schedule of shape 'linear' has no 'at'.",
    ),
    (
        {"schedules": {"g_optimizer.lr": "inverse-square-root 1e-4 2e-4"}},
        "schedules.g_optimizer.lr: An inverse square root falls",
    ),
    (
        {"schedules": {"g_optimizer.weight_decay": "linear 0 1 geometric=on"}},
        "schedules.g_optimizer.weight_decay: geometric=True needs values above 0",
    ),
    ({"schedules": "d_optimizer.lr linear 1; d_optimizer.lr linear 2"}, "has two schedules"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=[case[1][:50] for case in REFUSED])
def test_what_a_training_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(settings)
    assert message in str(caught.value)


def test_an_exchanged_component_takes_its_schedules_with_it() -> None:
    lower = {
        "penalties": ["r1", "r2"],
        "augmentation": "noise",
        "average": "decay",
        "schedules": {
            "penalties.r1.weight": "cosine 1e-4",
            "penalties.r2.weight": "cosine 1e-4",
            "augmentation.sigma": "linear 0",
            "average.decay": "linear .99 .999",
            "g_optimizer.beta1": "linear 0 .9",
        },
    }
    all_of_them = lower["schedules"].keys()

    def left(**upper: Any) -> set[str]:
        return all_of_them - resolve(lower, upper).schedules.keys()

    assert left(seed=3) == set()
    assert left(penalties="none") == left(penalties=()) == left(penalties=["gp"])
    assert left(penalties=["gp"]) == {"penalties.r1.weight", "penalties.r2.weight"}
    assert left(penalties=["gp", {"name": "r2", "weight": 3}]) == {"penalties.r1.weight"}
    assert left(penalties=penalties.create("r1")) == {"penalties.r2.weight"}
    assert left(augmentation="none") == left(augmentation=None) == {"augmentation.sigma"}
    assert left(augmentation="diffaugment") == {"augmentation.sigma"}
    assert left(augmentation={"name": "noise", "sigma": 0.3}) == set()
    assert left(average="half-life") == {"average.decay"}
    assert left(average={"decay": 0.5}) == left(g_optimizer={"lr": 1e-3}) == set()
    assert left(g_optimizer="rmsprop") == {"g_optimizer.beta1"}
    assert left(g_optimizer=optimizers.create("sgd")) == {"g_optimizer.beta1"}
    # What is repeated by another name is the same.
    assert left(penalties=["ganzoo:r1", "r2"]) == left(average="ganzoo:decay") == set()
    assert left(penalties={"r1", "r2"}) == set()
    # Its own schedules are a layer's own affair.
    with pytest.raises(ConfigError, match=r"no number 'penalties\.r1\.weight'"):
        resolve(lower, {"penalties": "none", "schedules": {"penalties.r1.weight": "cosine 1"}})


@pytest.mark.parametrize(
    ("path", "upper"),
    [
        ("augmentation.sigma", {"augmentation": "noise"}),
        ("g_optimizer.momentum", {"g_optimizer": "sgd"}),
        ("average.images", {"average": "half-life"}),
        ("penalties.r1.weight", {"penalties": "r1"}),
    ],
)
def test_a_schedule_may_be_given_before_its_component(path: str, upper: dict[str, Any]) -> None:
    assert resolve({"schedules": {path: "linear .1 .5"}}, upper).schedules.keys() == {path}


@pytest.mark.parametrize(
    "upper",
    [
        {"penalties": [["r1"]]},
        {"penalties": [{"name": ["r1"]}]},
        {"penalties": [{1}]},
        {"penalties": 3},
        {"average": torch.zeros(3)},
        {"augmentation": torch.zeros(3)},
        {"g_optimizer": {"name": torch.zeros(2)}},
        {"average": "unknown"},
        {"batch_size": 32, "schedules": {"batch_size.x": "linear .1 .5"}},
    ],
)
def test_what_is_wrong_is_refused_where_there_are_schedules(upper: dict[str, Any]) -> None:
    lower = {
        "penalties": ["r1", "r2"],
        "augmentation": "noise",
        "schedules": {"penalties.r1.weight": "cosine 1e-4", "augmentation.sigma": "linear 0"},
    }
    with pytest.raises((ConfigError, UnknownNameError)):
        resolve(lower, upper)


def test_layers_have_schedules_by_path() -> None:
    lower = {"schedules": {"g_optimizer.lr": "cosine 1e-5", "d_optimizer.lr": "cosine 1e-5"}}
    upper = {"schedules": {"g_optimizer.lr": "linear 2e-5", "d_optimizer.lr": "none"}}
    found = resolve(lower, upper)
    assert found.schedules == {"g_optimizer.lr": made("linear 2e-5")}
    assert resolve(lower, {"seed": 3}).schedules.keys() == lower["schedules"].keys()


@pytest.mark.parametrize("value", [None, "none", " none "])
def test_none_takes_all_schedules_of_lower_layers_back(value: str | None) -> None:
    recipe = {"recipe": "ring-pac"}
    assert resolve(recipe).schedules
    assert resolve(recipe, {"schedules": value}).schedules == {}
    again = resolve(recipe, {"schedules": value}, {"schedules": {"g_optimizer.lr": "linear 0"}})
    assert list(again.schedules) == ["g_optimizer.lr"]


@pytest.mark.parametrize("taken", ["all", "g_optimizer.lr"])
def test_schedules_that_were_taken_back_stay_away_when_a_training_resumes(taken: str) -> None:
    schedules = None if taken == "all" else {taken: "none"}
    settings = {"log_every": 1, "checkpoint_every": 2, "sample_every": 0, "progress": False}
    dataset = {"name": "ring", "count": 200}
    made = ganzoo.Trainer.from_recipe(
        "ring-pac", dataset=dataset, schedules=schedules, steps=2, out="run", **settings
    )
    assert (taken == "all") == (not made.config.schedules)
    made.fit()
    again = ganzoo.Trainer.resume("run", progress=False)
    assert again.config.schedules == made.config.schedules
    assert resolve(made.config.dump()) == TrainConfig(**made.config.dump()) == made.config
    assert resolve(read_config(Path("run/config.yaml"))) == made.config


def test_a_later_recommendation_changes_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"checkpoint_every": 2, "sample_every": 0, "progress": False, "steps": 2}
    arch = {"name": "mlp", "hidden": [8]}
    ganzoo.Trainer(arch, {"name": "ring", "count": 200}, out="run", **settings).fit()
    recommended = architectures.get("mlp").recommended
    later = {**recommended, "schedules": {"g_optimizer.lr": "cosine 1e-5"}}
    monkeypatch.setattr(architectures.get("mlp"), "recommended", later)
    assert resolve({"arch": arch}).schedules
    assert ganzoo.Run("run").config.schedules == {}
    assert ganzoo.Trainer.resume("run", steps=3, progress=False).config.schedules == {}


@pytest.mark.parametrize(
    "line",
    [
        ["--schedules.g-optimizer.lr", "cosine 1e-5", "--schedules.d_optimizer.beta2=linear .99"],
        ["--schedules", "g_optimizer.lr cosine 1e-5; d_optimizer.beta2 linear .99"],
        ["--schedules=g_optimizer.lr cosine 1e-5", "--schedules.d-optimizer.beta2", "linear .99"],
    ],
)
def test_on_the_command_line(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "mlp", "--arch.hidden", "8", "--dry-run", *line])
    printed = yaml.safe_load(capsys.readouterr().out)
    found = resolve({"schedules": printed["schedules"]}).schedules
    assert found == {
        "g_optimizer.lr": made("cosine 1e-5"),
        "d_optimizer.beta2": made("linear .99"),
    }


def test_text_of_all_is_what_a_mapping_says_and_survives_json() -> None:
    text = "g_optimizer.lr cosine 2e-4 5e-5 warmup=.05; augmentation.p cosine 0 .55"
    ada = {"name": "ada", "ramp": None}
    found = resolve({"schedules": text, "augmentation": ada})
    mapping = {
        "g_optimizer.lr": {"shape": "cosine", "start": 2e-4, "final": 5e-5, "warmup": 0.05},
        "augmentation.p": {"shape": "cosine", "start": 0, "final": 0.55},
    }
    assert found == resolve({"schedules": mapping, "augmentation": ada})
    assert TrainConfig(**found.dump()) == found
