from __future__ import annotations

import functools
import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from ganzoo import architectures, losses
from ganzoo.cli.options import nested, setting_options
from ganzoo.config import TrainConfig, defaults, resolve
from ganzoo.losses import Loss
from ganzoo.training import diagnosis
from ganzoo.training.diagnosis import Diagnoses, Diagnosis

# Rows of real trainings on the CPU, some of them left out. Of images (Fashion-MNIST), the DCGAN has
# 16 channels and batches of 32. Columns: step, d_loss, g_grad, diversity, modes, high_quality.
RECORDED = {
    "healthy": """
        40 0.426 23.7 0.126; 80 0.283 33.2 0.108; 120 0.117 32.1 0.182; 160 0.266 26.6 0.409;
        200 0.106 24.7 0.485; 240 0.332 23.6 0.543; 280 0.135 21.9 0.686; 320 0.151 23.6 0.628;
        360 0.157 20.9 0.699; 400 0.148 21.8 0.754; 440 0.157 24.7 0.792; 480 0.167 23 0.829;
        520 0.361 26.5 0.816; 560 0.211 23 0.769; 600 0.191 22.1 0.861
    """,
    "ls": """
        40 0.0675 18.2 0.125; 80 0.0513 17 0.104; 120 0.0336 10.9 0.0857; 160 0.0226 11.3 0.0805;
        200 0.0207 10.6 0.0842; 240 0.0311 7.81 0.165; 280 0.0274 5.93 0.311; 320 0.0249 4.4 0.312;
        360 0.0249 3.85 0.387; 400 0.0212 3.85 0.423
    """,
    "wgan": """
        20 -0.00297 0.00489 0.14; 40 -0.00603 0.0191 0.136; 60 -0.00976 0.0405 0.136;
        80 -0.0153 0.0791 0.134; 100 -0.0234 0.107 0.118; 120 -0.0396 0.12 0.125;
        140 -0.0576 0.143 0.152; 160 -0.0691 0.189 0.212; 180 -0.0767 0.201 0.244;
        200 -0.0807 0.2 0.313; 220 -0.0806 0.2 0.341; 240 -0.08 0.194 0.364;
        260 -0.0778 0.185 0.424; 280 -0.0774 0.179 0.445; 300 -0.0746 0.178 0.47
    """,
    "bce-noise": """
        40 0.763 21.2 0.127; 80 0.718 28.9 0.107; 120 0.65 22.8 0.113; 160 0.697 23.5 0.288;
        200 0.682 17 0.439; 240 0.696 14.6 0.44; 280 0.672 14 0.602; 320 0.705 12.9 0.61;
        360 0.664 13.8 0.654; 400 0.698 13.1 0.701
    """,
    "mirror": """
        20 0.194 0.9 0.721; 40 0.0348 1.24 0.742; 60 0.0152 1.62 0.753; 80 0.00433 1.97 0.753;
        100 0.00175 2.43 0.718; 120 0.00291 2.99 0.73; 140 0.000619 3.51 0.744;
        160 0.000868 3.74 0.778; 180 0.000257 4.16 0.732; 200 0.00106 4.95 0.718;
        220 0.0121 5.03 0.755; 240 0.00196 5.65 0.711; 260 0.012 5.88 0.759; 280 0.00318 6.1 0.809;
        300 0.0158 6.81 0.743; 320 0.0168 6.98 0.722; 340 0.0291 6.98 0.713; 360 0.0379 7.06 0.79
    """,
    "gaussian": """
        80 0.107 6.11 0.0397; 160 0.178 5.78 0.214; 240 0.573 5.63 0.358; 320 1.34 3.66 0.465;
        400 1.58 1.6 0.607; 480 1.44 0.333 0.566; 560 1.36 0.387 0.689; 640 1.36 0.61 0.748;
        720 1.38 0.489 0.694; 800 1.39 0.256 0.608; 880 1.39 0.0627 0.457; 960 1.38 0.059 0.55;
        1040 1.39 0.0952 0.641; 1120 1.39 0.0791 0.614; 1200 1.39 0.0437 0.561;
        1280 1.39 0.0131 0.568; 1360 1.39 0.0074 0.598; 1440 1.39 0.0135 0.638;
        1520 1.39 0.0155 0.55; 1600 1.38 0.00682 0.709; 1680 1.38 0.00572 0.577;
        1760 1.38 0.00688 0.597; 1840 1.38 0.00664 0.604; 1920 1.38 0.00782 0.52;
        2000 1.38 0.00831 0.474
    """,
    "upsample": """
        80 0.691 0.0179 0.0466; 160 0.648 0.00175 0.0403; 240 0.696 0.00126 0.0341;
        320 0.531 0.000853 0.0298; 400 0.494 0.000528 0.0284; 480 0.491 0.000612 0.0369;
        560 0.484 0.000827 0.0409; 640 0.483 0.000815 0.0316; 720 0.471 0.000638 0.037;
        800 0.444 0.000972 0.035; 880 0.38 0.0105 0.0498; 960 0.667 0.000777 0.0668;
        1040 0.582 0.00126 0.0441; 1120 0.498 0.00317 0.0516; 1200 0.383 0.0198 0.076;
        1280 0.384 0.191 0.11; 1360 0.77 1.99 0.783; 1440 0.785 1.23 0.867
    """,
    "mlp": """
        60 1.09 2.18 0.116; 120 0.752 1.35 0.0683; 180 0.876 5.43 0.0763; 240 0.317 7.91 0.0745;
        300 0.466 9.91 0.0784; 360 0.473 8.21 0.0978; 420 0.318 10.3 0.0855; 480 0.128 5.84 0.0684;
        540 0.123 15.2 0.0944; 600 0.259 17.1 0.114; 660 0.176 10.6 0.118; 720 0.0948 8.64 0.106;
        780 0.141 7.5 0.0954; 840 0.0891 9.02 0.147; 900 0.272 9.66 0.342; 960 0.476 10.3 0.361;
        1020 0.174 10.8 0.323; 1080 0.26 10.8 0.255; 1140 0.207 9.84 0.351; 1200 0.168 9.04 0.422
    """,
    "minimax": """
        20 0.699 6.45 0.146; 40 0.333 4.34 0.142; 60 0.231 4.09 0.131; 80 0.204 3.3 0.12;
        100 0.127 2.18 0.11; 120 0.0462 0.913 0.109; 140 0.0272 0.594 0.111; 160 0.0179 0.38 0.116;
        180 0.0133 0.291 0.113; 200 0.00936 0.198 0.115; 220 0.00828 0.179 0.121;
        240 0.00707 0.155 0.119; 260 0.00635 0.136 0.127; 280 0.00522 0.132 0.138;
        300 0.00533 0.126 0.134; 320 0.00464 0.115 0.136; 340 0.00503 0.133 0.134;
        360 0.00465 0.133 0.16; 380 0.00504 0.149 0.167; 400 0.00589 0.178 0.173;
        420 0.00664 0.193 0.179; 440 0.00838 0.251 0.201; 460 0.00712 0.174 0.226;
        480 0.00499 0.121 0.224; 500 0.00455 0.101 0.224
    """,
    "joint": """
        20 0.298 5.22 0.126; 40 0.0405 2.03 0.105; 60 0.0192 0.906 0.0917; 80 0.0107 0.514 0.086;
        100 0.00734 0.322 0.0776; 120 0.00578 0.23 0.0747; 140 0.00401 0.18 0.0724;
        160 0.00341 0.145 0.0726; 180 0.00281 0.122 0.0661; 200 0.00228 0.106 0.0658;
        220 0.00262 0.0873 0.0657; 240 0.00169 0.0767 0.0621; 260 0.0015 0.0703 0.0649;
        280 0.00131 0.0646 0.0655; 300 0.00126 0.0566 0.061; 320 0.00103 0.0514 0.0593;
        340 0.00132 0.0474 0.0554; 360 0.000925 0.0441 0.0612; 380 0.000778 0.038 0.0621;
        400 0.00074 0.0351 0.0577
    """,
    "collapse": """
        80 0.0907 0.76 0.00643 0 0; 160 0.037 1.47 0.00871 0 0; 240 0.0274 2.63 0.0119 0 0;
        320 0.0296 3.48 0.0182 0 0; 400 0.0395 3.9 0.0257 0 0; 480 0.0515 4.22 0.0394 0 0;
        560 0.0975 4.61 0.0517 1 0.25; 640 0.193 4.8 0.0734 1 0.946; 720 0.37 4.5 0.096 1 1;
        800 0.594 3.69 0.122 1 1; 880 0.55 2.82 0.137 1 0.953; 960 0.5 2.57 0.144 1 0.827;
        1040 0.449 2.04 0.143 1 0.753; 1120 0.403 2.86 0.154 1 0.778; 1200 0.41 2.28 0.159 1 0.86;
        1280 0.384 2.44 0.152 1 0.959; 1360 0.42 2.46 0.147 1 1; 1440 0.543 2.02 0.145 1 1;
        1520 0.624 1.55 0.138 1 1; 1600 0.6 1.01 0.13 1 1; 1680 0.597 0.82 0.134 1 1;
        1760 0.591 1.06 0.144 1 1; 1840 0.622 1.28 0.161 1 1; 1920 0.66 1.17 0.155 1 1;
        2000 0.653 0.975 0.171 1 1
    """,
    "cured1": """
        120 1.08 1.03 0.997 2 0.494; 240 1.07 0.663 0.863 2 0.495; 360 1.07 0.59 0.822 2 0.584;
        480 1.08 1.08 0.817 2 0.659; 600 1.07 0.783 0.866 2 0.749; 720 1.12 0.914 0.735 2 0.886;
        840 1.13 1.1 0.653 2 0.924; 960 1.14 0.79 0.675 2 0.947; 1080 1.33 1 1.12 2 0.855;
        1200 1.32 0.449 1.02 3 0.846; 1320 1.32 0.602 1.08 3 0.861; 1440 1.33 0.606 0.94 3 0.87;
        1560 1.34 0.652 0.876 3 0.888; 1680 1.34 0.696 1.01 3 0.904; 1800 1.33 0.546 0.846 3 0.918;
        1920 1.35 0.631 0.882 3 0.931; 2040 1.35 0.72 1.08 3 0.938; 2160 1.35 0.565 0.82 3 0.939;
        2280 1.36 0.564 0.927 3 0.949; 2400 1.35 0.58 0.885 3 0.955; 2520 1.37 0.68 1 3 0.957;
        2640 1.38 0.641 0.878 3 0.963; 2760 1.38 0.47 0.938 3 0.966; 2880 1.36 0.512 1.01 3 0.969;
        3000 1.37 0.545 0.951 3 0.97
    """,
    "grid": """
        160 1.38 0.701 1.27 12 0.0084; 320 1.39 0.223 0.958 22 0.0208;
        480 1.38 0.211 0.964 22 0.0232; 640 1.38 0.146 1.06 20 0.0188;
        800 1.38 0.247 0.974 23 0.0196; 960 1.38 0.255 0.984 24 0.0188;
        1120 1.37 0.287 0.9 23 0.0228; 1280 1.37 0.214 0.953 21 0.0252;
        1440 1.36 0.288 1.13 21 0.024; 1600 1.35 0.356 0.99 24 0.0256;
        1760 1.36 0.467 0.984 25 0.028; 1920 1.35 0.444 0.95 21 0.0304;
        2080 1.34 0.499 1.18 22 0.0352; 2240 1.31 0.791 0.979 21 0.0376;
        2400 1.32 0.744 1.05 24 0.0428; 2560 1.29 0.686 0.922 21 0.0336;
        2720 1.28 0.963 1.02 23 0.034; 2880 1.28 1.09 1.03 22 0.0412
    """,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "healthy": {"steps": 600},
    "ls": {"loss": "least-squares", "steps": 400},
    "wgan": {"loss": "wasserstein", "steps": 300},
    "bce-noise": {"loss": {"name": "bce", "noise": 0.1, "smoothing": 0.1}, "steps": 400},
    "mirror": {"recipe": "mirror-mnist", "steps": 2000},
    "gaussian": {"recipe": "gaussian-1d", "steps": 2000},
    "upsample": {"recipe": "upsample-fashion", "epochs": None, "steps": 6000},
    "mlp": {"recipe": "mlp-mnist", "arch": {"hidden": [128, 256, 256]}, "steps": 1200},
    "minimax": {"loss": "minimax", "steps": 640},
    "joint": {"joint_batch": True, "steps": 400},
    "collapse": {"recipe": "three-gaussians-2d", "steps": 2000},
    "cured1": {"recipe": "three-gaussians-2d-cured", "seed": 1},
    "grid": {"recipe": "three-gaussians-2d-cured", "dataset": "grid"},
}
MODES = {"collapse": 3, "cured1": 3, "grid": 25}


def config(**settings: Any) -> TrainConfig:
    return resolve(settings)


def recorded(name: str) -> list[dict[str, float]]:
    keys = ("step", "d_loss", "g_grad", "diversity", "modes", "high_quality")
    return [
        dict(zip(keys, map(float, cells.split()), strict=False))
        for cells in RECORDED[name].split(";")
    ]


def of(name: str) -> Diagnoses:
    settings = config(**SETTINGS[name])
    return Diagnoses(settings, MODES.get(name), settings.steps or 1)


def told(diagnoses: Diagnoses, rows: list[dict[str, float]]) -> list[Diagnosis]:
    return [each for row in rows for each in diagnoses.see(row)]


def rows(values: list[dict[str, float]], every: int = 20, first: int = 1) -> list[dict[str, float]]:
    return [{"step": every * (first + n), **row} for n, row in enumerate(values)]


# -- real trainings -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*RECORDED} - {"minimax", "joint", "collapse"}))
def test_trainings_that_do_well_are_left_in_peace(name: str) -> None:
    assert told(of(name), recorded(name)) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("minimax", [(280, "g-vanishes"), (460, "d-wins")]),
        ("joint", [(360, "d-wins")]),
        ("collapse", [(1840, "collapse"), (1840, "modes")]),
    ],
)
def test_trainings_that_go_wrong(name: str, expected: list[tuple[int, str]]) -> None:
    assert [(each.step, each.kind) for each in told(of(name), recorded(name))] == expected


def test_what_is_said() -> None:
    vanished, _ = told(of("minimax"), recorded("minimax"))
    assert vanished.text == (
        "G's gradients have vanished (norm 0.13, 3.2% of the early 4.1): D's loss is 0.0052 "
        "(guessing costs 1.39), and a D this sure tells G nothing. Try --loss non-saturating (its "
        "gradients do not vanish when D is sure), --d-optimizer.lr 0.0001 (now 0.0004) or "
        "--g-steps 2."
    )
    (won,) = told(of("joint"), recorded("joint"))
    assert won.text == (
        "D's loss has stayed at 0.00093 (guessing costs 1.39): D tells all samples apart, so that "
        "neither net learns much from the other. Try --no-joint-batch, --d-optimizer.lr 0.0001 "
        "(now 0.0004) or --loss bce --loss.smoothing 0.1."
    )
    collapsed, missing = told(of("collapse"), recorded("collapse"))
    assert collapsed.text == (
        "The diversity of samples is only 0.16 after 1840 iterations (that of the data is 1): G "
        "makes nearly the same one from all latents. Try --latent.low -10 --latent.high 10 (a "
        "latent about as wide as the data), --g-optimizer.lr 0.0003 (now 0.001) or --batch-size "
        "128."
    )
    assert missing.text == (
        "The samples cover 1 of 3 modes (100% lie near one): G has found a part of the data that "
        "D accepts and leaves out the rest. Try --latent.low -10 --latent.high 10 (a latent about "
        "as wide as the data), --g-optimizer.lr 0.0003 (now 0.001) or --batch-size 128."
    )


@pytest.mark.parametrize("name", RECORDED)
def test_a_resumed_training_is_told_the_same(name: str) -> None:
    history = recorded(name)
    whole = of(name)
    undisturbed = [whole.see(row) for row in history]
    for end in range(0, len(history), 3):
        resumed = of(name)
        assert [resumed.see(row) for row in history[:end]] == undisturbed[:end]
        assert [resumed.see(row) for row in history[end:]] == undisturbed[end:]


# -- what is a sign and what is none --------------------------------------------------------------


def kinds(diagnoses: Diagnoses, values: list[dict[str, float]], every: int = 100) -> list[str]:
    return [each.kind for each in told(diagnoses, rows(values, every))]


def plain(
    loss: Any = "non-saturating", modes: int | None = None, steps: int = 100_000
) -> Diagnoses:
    return Diagnoses(config(loss=loss), modes, steps)


@pytest.mark.parametrize("loss", losses.names())
def test_d_wins_where_that_has_a_meaning(loss: str) -> None:
    ends = config(loss=loss).loss.d_range
    assert (ends is None) == (loss in ("wasserstein", "auxiliary-classifier", "info"))
    for at in (0.0, 1e-4, -3.0, 1.0) if ends is None else ():
        assert kinds(plain(loss), [{"d_loss": at}] * 50) == []
    if ends is not None:
        least, guess = ends
        assert kinds(plain(loss), [{"d_loss": least}] * 50) == ["d-wins"]
        assert kinds(plain(loss), [{"d_loss": least + 0.009 * (guess - least)}] * 9) == ["d-wins"]
        assert kinds(plain(loss), [{"d_loss": least + 0.011 * (guess - least)}] * 50) == []
        assert kinds(plain(loss), [{"d_loss": guess}] * 50) == []  # G wins: the optimum


def test_softened_targets_without_room_between_them_say_nothing() -> None:
    same = {"name": "bce", "smoothing": 1.0}
    assert kinds(plain(same), [{"d_loss": 0.0}] * 50) == []


@pytest.mark.parametrize(("every", "count"), [(1, 300), (20, 15), (60, 5), (100, 5), (1000, 5)])
def test_rows_and_iterations_it_takes(every: int, count: int) -> None:
    sure = [{"d_loss": 0.0}]
    assert kinds(plain(), sure * (count - 1), every) == []
    (found,) = told(plain(), rows(sure * count, every, first=0 + 1))
    assert found.step == every * count


@pytest.mark.parametrize(
    ("meanwhile", "again"),
    [
        ([0.5] * 5, True),
        ([0.5] * 4, False),  # not over for as long
        ([0.02] * 30, False),  # neither over nor not
        ([0.5] * 3 + [0.02] + [0.5] * 3, False),
    ],
)
def test_a_kind_is_said_again_only_after_it_was_over(meanwhile: list[float], again: bool) -> None:
    def losses_of(*values: float) -> list[dict[str, float]]:
        return [{"d_loss": value} for value in values]

    sure = losses_of(*[0.0] * 30)
    assert kinds(plain(), [*sure, *losses_of(*meanwhile), *sure]) == ["d-wins"] * (1 + again)


def test_what_holds_only_now_and_then_is_not_said() -> None:
    sure, between = {"d_loss": 0.0}, {"d_loss": 0.02}
    assert kinds(plain(), [*[sure] * 4, between] * 20) == []


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_a_row_lacks_decides_nothing(value: float | None) -> None:
    bad = {"d_loss": 0.0, "g_grad": 1e-9, "diversity": 0.01, "modes": 1, "high_quality": 1.0}
    for key in bad:
        row = {**bad, key: value} if value is not None else {k: bad[k] for k in bad if k != key}
        found = kinds(plain("bce", modes=2, steps=2000), [row] * 50)
        gone = {"d_loss": "d-wins", "g_grad": "g-vanishes", "diversity": "collapse"}
        assert sorted([*found, gone.get(key, "modes")]) == [
            "collapse",
            "d-wins",
            "g-vanishes",
            "modes",
        ]
    assert kinds(plain(), [{"d_loss": 1.0, "g_loss": 1.0}] * 50) == []  # a run of an older version


@pytest.mark.parametrize(
    ("loss", "d_loss", "expected"),
    [
        ("non-saturating", 0.13, ["g-vanishes"]),
        ("non-saturating", 0.15, []),  # D is not that sure
        ("non-saturating", 1.38, []),  # both agree
        ("wasserstein", 0.0, []),
    ],
)
def test_gradients_against_their_early_level(loss: str, d_loss: float, expected: list[str]) -> None:
    def of_norm(norm: float, count: int) -> list[dict[str, float]]:
        return [{"d_loss": d_loss, "g_grad": norm}] * count

    # The median of the first five: one row that stands out is no level.
    early = [*of_norm(2.0, 4), *of_norm(1000.0, 1)]
    assert kinds(plain(loss), [*early, *of_norm(0.099, 20)]) == expected
    assert kinds(plain(loss), [*early, *of_norm(0.101, 20)]) == []
    assert kinds(plain(loss), of_norm(1e-7, 30)) == []  # small from the start is no sign
    assert kinds(plain(loss), of_norm(1e-9, 30)) == ["g-vanishes"]  # but not that small
    assert kinds(plain(loss), of_norm(0.0, 30)) == ["g-vanishes"]


def test_diversity_that_falls() -> None:
    high, middle, low = {"diversity": 0.6}, {"diversity": 0.11}, {"diversity": 0.09}
    (found,) = told(plain(), rows([high, *[low] * 5]))
    assert "has fallen from 0.60 to 0.09" in found.text
    assert kinds(plain(), [high, *[middle] * 50]) == []
    assert kinds(plain(), [high, *[low, low, low, low, middle] * 9]) == []
    assert kinds(plain(), [high, *[low] * 5, *[high] * 5, *[low] * 5]) == ["collapse"] * 2


@pytest.mark.parametrize(("total", "fair"), [(1000, 1500), (6000, 1500), (20_000, 5000)])
def test_diversity_that_never_rises(total: int, fair: int) -> None:
    low = {"diversity": 0.19}
    first, *more = told(plain(steps=total), rows([low] * 300))
    assert (first.step, first.kind, more) == (fair + 100, "collapse", [])
    assert kinds(plain(steps=total), [*[low] * 3, {"diversity": 0.21}, *[low] * 90]) == []


@pytest.mark.parametrize(("total", "fair"), [(1000, 1500), (3000, 1500), (20_000, 10_000)])
def test_modes_that_are_missing(total: int, fair: int) -> None:
    missing = {"modes": 2, "high_quality": 0.9}
    first, *more = told(plain(modes=3, steps=total), rows([missing] * 600))
    assert (first.step, first.kind, more) == (fair + 100, "modes", [])
    assert "2 of 3 modes (90% lie near one)" in first.text
    for harmless in ({"modes": 3, "high_quality": 0.9}, {"modes": 2, "high_quality": 0.2}):
        assert kinds(plain(modes=3, steps=total), [harmless] * 600, 20) == []
    assert kinds(plain(modes=None, steps=total), [missing] * 600, 20) == []


# -- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        *(name for name in losses.names() if losses.create(name).d_range is not None),
        {"name": "bce", "smoothing": 0.1, "noise": 0.15, "swapped": True},
        {"name": "bce", "real": 0.9, "fake": 0.05, "reduction": "mean"},
        {"name": "hinge", "margin": 0.4},
        {"name": "least-squares", "real": 1.5, "fake": -1.0},
    ],
    ids=str,
)
def test_the_range_of_d_losses(loss: Any) -> None:
    torch.manual_seed(0)
    made = losses.create(loss)
    ends = made.d_range
    assert ends is not None
    levels = torch.cat((torch.linspace(-4, 4, 33), torch.tensor([-30.0, 30.0])))

    def cost(real: torch.Tensor, fake: torch.Tensor) -> float:
        return made.discriminator(real.expand(2_000), fake.expand(2_000)).item()

    real = min(levels, key=lambda level: cost(level, levels[0]))
    apart = min(cost(real, level) for level in levels)
    guess = min(cost(level, level) for level in levels)
    assert ends == pytest.approx((apart, guess), abs=0.02)


def test_a_plug_ins_loss() -> None:
    assert Loss.d_range.fget(Loss()) is None
    cross_entropy = type("CrossEntropy", (Loss,), {"probability": True})()
    assert cross_entropy.d_range == (0, 2 * math.log(2))


# -- advice ---------------------------------------------------------------------------------------

VARIANTS: list[dict[str, Any]] = [
    {},
    {"joint_batch": True},
    {"d_steps": 5},
    {"arch": {"dropout": 0.0}},
    {"arch": {"dropout": 0.4}, "latent": {"distribution": "uniform", "low": 0.0, "high": 1.0}},
    {"arch": {"dropout": 0.6}, "d_steps": 1, "g_optimizer": "sgd", "d_optimizer": "rmsprop"},
    {"arch": {"dropout": 0.6}, "loss": {"smoothing": 0.2}},
    {"arch": {"dropout": 0.6}, "loss": {"smoothing": 0.2, "noise": 0.2}},
    {"arch": {"dropout": 0.6}, "loss": {"smoothing": 0.95}},
    {"loss": {"clip": None}},
]


def layer(arch: str, loss: str, variant: dict[str, Any]) -> dict[str, Any]:
    """The variant as settings, without options that these components do not have."""
    chosen: dict[str, Any] = {**variant}
    for key, name, registry in (
        ("arch", arch, architectures.registry),
        ("loss", loss, losses.registry),
    ):
        fields = registry.get(name).model_fields
        options = {k: v for k, v in variant.get(key, {}).items() if k in fields}
        chosen[key] = {"name": name, **options}
    return chosen


def advice(settings: TrainConfig) -> list[str]:
    """Everything that is advised under these settings, in each of the ways to go wrong."""
    low, guess = settings.loss.d_range or (-1.0, 1.0)
    bad = {"diversity": 0.01, "modes": 1, "high_quality": 1.0}
    texts = []
    for d_loss, gradient in ((low, 1e-3), (guess, 1e-9), ((low + guess) / 3, 1e-3)):
        for modes in (None, 3):
            healthy = [{"d_loss": guess, "g_grad": 1.0}] * 5
            ill = [{"d_loss": d_loss, "g_grad": gradient, **bad}] * 9
            found = told(Diagnoses(settings, modes, 1000), rows([*healthy, *ill], 1000))
            texts += [each.text for each in found]
    assert texts
    assert all(text.count("Try ") == 1 and text.endswith(".") for text in texts)
    return [text.partition("Try ")[2].removesuffix(".") for text in texts]


def test_advice_names_options_that_exist() -> None:
    seen = set()
    combinations = itertools.product(architectures.names(), losses.names(), VARIANTS)
    layers = {repr(chosen): chosen for each in combinations if (chosen := layer(*each))}
    for chosen in layers.values():
        settings = resolve(chosen)
        pieces = {
            piece
            for text in advice(settings)
            for piece in re.split(r", | or ", re.sub(r" \(.*?\)", "", text))
        }
        for line in sorted(pieces):
            words = line.split()
            seen.update(word for word in words if word.startswith("--"))
            lower = {**chosen, "loss": {"name": words[1]}} if words[0] == "--loss" else chosen
            values = parsed(words, options(lower))
            assert resolve(lower, nested(values)) != settings, line  # valid, and a change
    assert seen == {
        "--arch.dropout",
        "--batch-size",
        "--d-optimizer.lr",
        "--d-steps",
        "--g-optimizer.lr",
        "--g-steps",
        "--latent.high",
        "--latent.low",
        "--loss",
        "--loss.clip",
        "--loss.noise",
        "--loss.smoothing",
        "--no-joint-batch",
    }


@pytest.mark.parametrize(("samples", "told_so"), [(None, True), (16, True), (15, False)])
def test_no_batch_is_advised_that_is_larger_than_the_data(
    samples: int | None, told_so: bool
) -> None:
    settings = resolve({"arch": "mlp", "batch_size": 8})
    ill = [{"d_loss": 1.3, "g_grad": 1.0, "diversity": 0.01}] * 9
    (found,) = told(Diagnoses(settings, None, 1000, samples=samples), rows(ill, 1000))
    assert found.kind == "collapse"
    assert ("--batch-size 16" in found.text) is told_so
    assert "--g-optimizer.lr" in found.text


def test_ranges_have_no_negative_zero() -> None:
    assert all(math.copysign(1, end) == 1 for end in losses.create("bce").d_range or ())


def test_samples_that_are_all_one_are_told_of_at_once() -> None:
    one, low, high = {"diversity": 0.0}, {"diversity": 0.01}, {"diversity": 0.5}
    (found,) = told(plain(), rows([one] * 40))
    assert (found.step, found.kind) == (rows([one])[0]["step"], "collapse")
    assert "All samples of a batch are the same" in found.text and "--g-optimizer.lr" in found.text
    assert kinds(plain(), [one, low, one, low, one]) == ["collapse"]  # told once
    assert kinds(plain(), [low, low, one]) == ["collapse"]
    assert kinds(plain(), [high, one]) == ["collapse"]
    assert kinds(plain(), [one, *[high] * 5, one]) == ["collapse"] * 2
    assert kinds(plain(), [{"diversity": 1e-3}] * 3) == []
    assert kinds(plain(), [{"diversity": 1e-7}]) == ["collapse"]  # float32 tells no more


@functools.cache
def _options(arch: str, loss: str) -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    for option in setting_options(defaults({"arch": arch, "loss": loss})):
        names = (*(option.parameter.name or ()), *(option.parameter.negative or ()))
        known |= dict.fromkeys(names, option.path)
    return known


def options(settings: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The flags of the command line under these settings, and where their values go."""
    return _options(settings["arch"]["name"], settings["loss"]["name"])


def parsed(line: list[str], known: dict[str, tuple[str, ...]]) -> dict[tuple[str, ...], Any]:
    values: dict[tuple[str, ...], Any] = {}
    while line:
        flag, *line = line
        values[known[flag]] = False if flag.startswith("--no-") else line.pop(0)
    return values


# -- documentation --------------------------------------------------------------------------------


STATED = {
    "_ROWS": "A warning needs {} rows in succession",
    "_STEPS": "together cover {} iterations",
    "_STEPS_WON": "({} for `d-wins`)",
    "_WON": "The warning is for s <= {} over 300 iterations, and is over at s > 0.02",
    "_SURE": "while s <= {} and is over at twice that gradient, or as soon as s > {}",
    "_EARLY": "the median of the first {} rows",
    "_VANISHED": "g_grad < {} * early level",
    "_UNDERFLOW": "g_grad < {}: no part",
    "_ALIKE": "has fallen below {}.",
    "_RISEN": "It has never been above {}",
    "_FAIR_ALIKE": "after {:.0%} of the training and at least 1,500",
    "_FAIR_MODES": "after {:.0%} of the training and at least 1,500",
    "_FAIR_LEAST": "at least {:,} iterations",
    "_NEAR_MODES": "with a high quality of at least {:.0%}",
    "_MOST": "At most {} pieces of advice",
}


def test_the_page_states_the_limits() -> None:
    page = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    page = " ".join(page.split())
    limits = {
        name: value
        for name, value in vars(diagnosis).items()
        if name.startswith("_") and isinstance(value, (int, float))
    }
    assert limits.keys() == STATED.keys()
    for name, value in limits.items():
        number = f"{value:.0e}".replace("e-0", "e-") if 0 < value < 1e-4 else value
        sentence = STATED[name].format(number, number)
        assert sentence in page, name
    for entry in losses.registry.entries():
        if entry.distribution == "ganzoo":
            assert f"`{entry.name}`" in page
    for kind in ("d-wins", "g-vanishes", "collapse", "modes", "rollback"):
        assert f"(`{kind}`)" in page
