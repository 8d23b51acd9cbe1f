"""Augmentations against formulas of their own, and in trainings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ganzoo
from ganzoo import augmentations
from ganzoo.augmentations import geometry
from ganzoo.augmentations.diffaugment import cut_out
from ganzoo.augmentations.translation import translate
from ganzoo.core.spec import SampleSpec
from ganzoo.core.step import Judge, Output, Step
from ganzoo.errors import ConfigError

SHAPES = [(1, 8, 8), (3, 8, 12), (4, 16, 9), (7, 6, 6)]
IMAGES = torch.randint(0, 256, (24, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()


def built(name: Any, shape: tuple[int, ...], **more: Any) -> Any:
    return augmentations.create(name).build(SampleSpec(kind="image", shape=shape, **more))


def images(shape: tuple[int, ...], count: int = 5, dtype: Any = torch.float64) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(count, *shape, dtype=dtype) * 2 - 1


# -- ADA ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_ada_without_probability_changes_nothing(shape: tuple[int, ...]) -> None:
    before = images(shape)
    assert torch.allclose(built("ada", shape)(before), before, atol=1e-12)


def source(matrix: Any) -> Tensor:
    return torch.tensor(matrix, dtype=torch.float64).reshape(1, 3, 3).expand(5, 3, 3)


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        ([-1, 0, 0, 0, 1, 0, 0, 0, 1], lambda x: x.flip(3)),
        ([-1, 0, 0, 0, -1, 0, 0, 0, 1], lambda x: x.rot90(2, (2, 3))),
        ([0, -1, 0, 1, 0, 0, 0, 0, 1], lambda x: x.rot90(1, (2, 3))),
        ([1, 0, 2, 0, 1, 0, 0, 0, 1], lambda x: torch.cat((x[..., 2:], x[..., -2:].flip(3)), 3)),
        ([1, 0, 0, 0, 1, -1, 0, 0, 1], lambda x: torch.cat((x[:, :, :1], x[:, :, :-1]), 2)),
    ],
    ids=["mirror", "half turn", "quarter turn", "shift and reflection", "down"],
)
def test_pixels_come_from_where_a_matrix_says(
    matrix: Any, wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "places", lambda images, p: source(matrix))
    for shape in ((3, 8, 8), *([(2, 6, 10)] if matrix[0] else [])):
        before = images(shape)
        assert torch.allclose(geometry.moved(before, torch.ones(())), wanted(before), atol=1e-9)


def test_a_turn_is_a_turn_of_a_smooth_image(monkeypatch: pytest.MonkeyPatch) -> None:
    angle = 0.4
    cos, sin = math.cos(angle), math.sin(angle)
    monkeypatch.setattr(
        geometry, "places", lambda images, p: source([cos, -sin, 0, sin, cos, 0, 0, 0, 1])
    )
    axis = torch.arange(32, dtype=torch.float64) - 15.5

    def wave(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-(((x - 4) / 5) ** 2) - ((y + 2) / 4) ** 2)

    y, x = torch.meshgrid(axis, axis, indexing="ij")
    before = wave(x, y).expand(5, 1, 32, 32)
    after = geometry.moved(before, torch.ones(()))
    wanted = wave(cos * x - sin * y, sin * x + cos * y)
    inside = x.hypot(y) < 15  # reflections come from outside
    assert torch.allclose(after[0, 0][inside], wanted[inside], atol=2e-2)


@pytest.mark.parametrize("sides", [(16, 16), (16, 24)])
def test_each_geometric_change_has_its_probability_and_distribution(
    sides: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[np.ndarray[Any, Any]]] = {}
    originals = dict(vars(geometry))
    for kind in ("_scaling", "_rotation", "_shift"):

        def note(*given: Any, kind: str = kind) -> Tensor:
            values = given[0] if kind == "_shift" else given
            seen.setdefault(kind, []).append(np.stack([value.numpy() for value in values]))
            return originals[kind](*given)

        monkeypatch.setattr(geometry, kind, note)
    torch.manual_seed(2)
    count, p = 20_000, 0.4
    geometry.places(torch.zeros(count, 1, *sides), torch.tensor(p))
    (mirror, _), size, stretch = seen["_scaling"]
    quarters, first, second = (row[0] / (math.pi / 2) for row in seen["_rotation"])
    whole, parts = seen["_shift"]
    height, width = sides
    assert (mirror == -1).mean() == pytest.approx(p / 2, abs=0.01)
    values = {0, 1, 2, 3} if height == width else {0, 2}
    assert set(np.unique(quarters.round(4))) == values
    share = p * (1 - 1 / len(values))
    assert (quarters > 0).mean() == pytest.approx(share, abs=0.01)
    assert ((first != 0) | (second != 0)).mean() == pytest.approx(p, abs=0.01)
    assert np.abs(first).max() <= 2.0001 and first[first != 0].std() == pytest.approx(
        2 / 3**0.5, rel=0.03
    )
    for way, side in zip(whole, (width, height), strict=True):
        assert np.array_equal(way, way.round()) and np.abs(way).max() == side / 8
    for way, side in zip(parts, (width, height), strict=True):
        assert (way != 0).mean() == pytest.approx(p, abs=0.01)
        assert way[way != 0].std() == pytest.approx(side / 8, rel=0.03)
    for one in (size[0], stretch[0]):
        powers = np.log2(one[one != 1])
        assert len(powers) / count == pytest.approx(p, abs=0.01)
        assert powers.std() == pytest.approx(0.2, rel=0.03)
    assert size[0] == pytest.approx(size[1]) and stretch[0] * stretch[1] == pytest.approx(1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("span", [(-1.0, 1.0), (0.0, 1.0)])
def test_colours_by_hand(channels: int, span: tuple[float, float]) -> None:
    shape = (channels, 3, 4)
    module = built(
        {"name": "ada", "start": 0.6, "geometry": False}, shape, value_range=span
    ).double()
    before = images(shape, 40)
    torch.manual_seed(4)
    found = module(before)
    torch.manual_seed(4)

    def maybe(value: Tensor) -> np.ndarray[Any, Any]:
        return (value * (torch.rand(40) < 0.6)).numpy()

    def draw(scale: float, shift: float = 0.0) -> Tensor:
        return shift + scale * torch.rand(40, dtype=torch.float64)

    def normal(scale: float) -> Tensor:
        return scale * torch.randn(40, dtype=torch.float64)

    bright, contrast = maybe(normal(0.2)), 2 ** maybe(normal(0.5))
    flip = maybe((draw(2)).floor())
    angle = maybe(draw(2 * math.pi, -math.pi)) if channels == 3 else np.zeros(40)
    colourful = 2 ** maybe(normal(1.0)) if channels > 1 else np.ones(40)
    middle, half = sum(span) / 2, (span[1] - span[0]) / 2
    for row, image in enumerate(before.numpy()):
        x = ((image - middle) / half + bright[row]) * contrast[row]
        if flip[row]:
            x = x - 2 * x.mean(0)
        if channels == 3:  # Rodrigues' formula about the grey axis
            axis = np.ones(3) / 3**0.5
            pixels = x.reshape(3, -1).T
            along = pixels @ axis
            cos, sin = math.cos(angle[row]), math.sin(angle[row])
            pixels = (
                pixels * cos
                + np.cross(axis, pixels) * sin
                + along[:, None] * axis[None] * (1 - cos)
            )
            x = pixels.T.reshape(x.shape)
        x = x.mean(0) + colourful[row] * (x - x.mean(0))
        assert found[row].numpy() == pytest.approx(x * half + middle, abs=1e-6)


@pytest.mark.parametrize("name", ["ada", "diffaugment"])
@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 7)])
def test_two_derivatives(name: str, shape: tuple[int, ...]) -> None:
    options = {"name": "ada", "start": 0.7} if name == "ada" else name
    module = built(options, shape).double()

    def changed(samples: Tensor) -> Tensor:
        torch.manual_seed(6)
        return module(samples).sin()

    before = images(shape, 2).requires_grad_()
    assert torch.autograd.gradcheck(changed, before)
    assert torch.autograd.gradgradcheck(changed, before)


@pytest.mark.parametrize("name", ["ada", "diffaugment", "noise"])
def test_two_derivatives_under_autocast(name: str) -> None:
    module = built({"name": "ada", "start": 0.7} if name == "ada" else name, (3, 8, 8))
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Softplus(), torch.nn.Flatten())
    for dtype in (torch.float32, torch.bfloat16):
        before = images((3, 8, 8), 4).to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(module(before)).float().mean(1)
        (slope,) = torch.autograd.grad(logits.sum(), before, create_graph=True)
        slope.float().square().sum().backward()
        assert before.grad is not None and bool(before.grad.isfinite().all())
        assert bool(before.grad.abs().sum() > 0)


def adapted(
    logits: float, updates: int, loss: Any = "non-saturating", packing: int = 1, **options: Any
) -> list[float]:
    """p after each of so many updates of D, whose logits of 8 real images are these."""
    made = ganzoo.Trainer(
        {"name": "mlp", "hidden": [8]},
        IMAGES,
        loss=loss,
        augmentation={"name": "ada", "ramp": 64, "interval": 2, **options},
        steps=updates,
        batch_size=8,
        packing=packing,
        progress=False,
        device="cpu",
    )
    made.setup()
    component, module = made.game.augmentation
    nothing = torch.zeros(8)
    found = []
    for number in range(updates):
        output = Output(torch.full((8 // packing,), logits))
        judge = Judge(made.game.discriminator, packing=packing)
        step = Step(number, made.game.generator, judge, nothing, nothing)
        step.real_output = output
        made.game._adapt(component, module, step)
        assert step.real_output is output
        found.append(step.scalars["ada_p"].item())
        assert found[-1] == float(module.p)
    return found


def test_p_follows_the_signs_of_d() -> None:
    pace = 2 * 8 / 64
    assert adapted(3.0, 6) == [0, pace, pace, 2 * pace, 2 * pace, 3 * pace]
    assert adapted(3.0, 8)[-1] == pytest.approx(0.8)  # its limit
    assert adapted(-3.0, 4) == [0, 0, 0, 0]
    assert adapted(-3.0, 4, start=0.5) == [0.5, 0.25, 0.25, 0.0]
    assert adapted(3.0, 4, start=0.3, ramp=None) == pytest.approx([0.3] * 4)
    assert adapted(3.0, 6, packing=2) == adapted(3.0, 6)  # the ramp counts images


def test_p_never_starts_above_its_limit() -> None:
    for options in ({"start": 0.9}, {"start": 0.9, "ramp": None}, {"start": 0.2, "limit": 0.1}):
        with pytest.raises(ConfigError, match="above its limit .* Give a start of at most that"):
            augmentations.create("ada", **options)
    with pytest.raises(ConfigError, match="above its limit 0.8"):
        ganzoo.Trainer(
            "mlp",
            IMAGES,
            augmentation={"name": "ada", "ramp": None},
            schedules={"augmentation.p": "linear 0 1"},
            progress=False,
        ).setup()


def test_p_heeds_losses_that_score_low_logits_as_real() -> None:
    swapped = {"name": "bce", "swapped": True}
    made = adapted(-3.0, 2, loss=swapped)
    assert made[0] == 0 and made[1] > 0
    assert adapted(3.0, 2, loss=swapped, start=0.5)[1] < 0.5


def test_p_reads_logits_from_the_middle_of_targets_on() -> None:
    for real, fake, up in ((1, 0, 0.7), (-1, 1, -0.3)):
        targets = {"name": "least-squares", "real": real, "fake": fake}
        assert adapted(up, 2, loss=targets)[1] > 0
        assert adapted(up + fake - real, 2, loss=targets, start=0.5)[1] < 0.5


# -- DiffAugment, noise ---------------------------------------------------------------------------


@pytest.mark.parametrize("span", [(-1.0, 1.0), (0.0, 1.0)])
def test_diffaugment_colours_by_hand(span: tuple[float, float]) -> None:
    options = {"name": "diffaugment", "translation": False, "cutout": False}
    module = built(options, (3, 4, 5), value_range=span)
    before = images((3, 4, 5), 9)
    torch.manual_seed(4)
    found = module(before)
    torch.manual_seed(4)
    draws = torch.rand(3, 9, 1, 1, 1, dtype=torch.float64).numpy().reshape(3, 9)
    width = span[1] - span[0]
    for row, image in enumerate(before.numpy()):
        bright, colourful, contrast = draws[:, row] * [width / 2, 2, 1] + [-width / 4, 0, 0.5]
        x = image + bright
        x = x.mean(0) + colourful * (x - x.mean(0))
        x = x.mean() + contrast * (x - x.mean())
        assert found[row].numpy() == pytest.approx(x)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 16, 8), (3, 8), (1, 8, 8, 8)])
def test_translations_are_whole_pixels_of_all_sizes(shape: tuple[int, ...]) -> None:
    before = 1 + torch.rand(300, *shape)
    after = translate(before, 1 / 4)
    seen = set()
    for old, new in zip(before, after, strict=True):
        rests = []
        for axis in range(1, new.ndim):
            others = [place for place in range(new.ndim) if place != axis]
            filled = (new.sum(others) != 0).nonzero().flatten()
            length = new.shape[axis]
            first, last = int(filled[0]), int(filled[-1]) + 1
            rests.append(first if last == length else last - length)
        moved = old
        for axis, by in enumerate(rests, 1):
            moved = moved.roll(by, axis)
            edge = [slice(None)] * old.ndim
            edge[axis] = slice(0, by) if by >= 0 else slice(by, None)
            if by:
                moved[tuple(edge)] = 0
        assert torch.equal(moved, new)
        seen.add(tuple(rests))
    reach = [round(side / 4) for side in shape[1:]]
    for axis, most in enumerate(reach):
        assert {rests[axis] for rests in seen} == set(range(-most, most + 1))


def test_cutouts_are_rectangles_anywhere() -> None:
    after = cut_out(torch.ones(4000, 2, 6, 8))
    cut = after == 0
    assert torch.equal(cut[:, 0], cut[:, 1])
    heights, widths = cut[:, 0].any(2).sum(1), cut[:, 0].any(1).sum(1)
    assert torch.equal(heights * widths, cut[:, 0].sum((1, 2)))
    assert heights.max() == 3 and widths.max() == 4 and heights.min() >= 1
    assert bool((cut[:, 0].float().mean(0) > 0.05).all())


@pytest.mark.parametrize("d_steps", [1, 2])
def test_noise_falls_in_a_straight_line(d_steps: int) -> None:
    made = ganzoo.Trainer(
        {"name": "mlp", "hidden": [8]},
        torch.randn(64, 2),
        augmentation={"name": "noise", "sigma": 0.5, "final": 0.1, "steps": 4},
        steps=6 // d_steps,
        d_steps=d_steps,
        batch_size=8,
        progress=False,
        device="cpu",
    )
    found = [float(step.scalars["noise"]) for step in made.iterations()]
    assert found == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.1, 0.1][d_steps - 1 :: d_steps])
    module = augmentations.create("noise", sigma=0.5).build(SampleSpec(kind="vector", shape=(2,)))
    added = module(torch.zeros(20_000, 2))
    assert float(added.std()) == pytest.approx(0.5, rel=0.03)


# -- in trainings ---------------------------------------------------------------------------------

ALL: dict[str, Any] = {
    "ada": {"name": "ada", "start": 0.3, "ramp": 100, "interval": 1},
    "diffaugment": "diffaugment",
    "noise": {"name": "noise", "steps": 3},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", augmentations.names())
def test_each_resumes_to_the_bit(name: str, precision: str, tmp_path: Path) -> None:
    def trained(steps: int, folder: str) -> Any:
        return ganzoo.Trainer(
            {"name": "dcgan", "channels": 4},
            IMAGES,
            augmentation=ALL[name],
            penalties="r1",
            precision=precision,
            out=tmp_path / folder,
            steps=steps,
            batch_size=8,
            progress=False,
            device="cpu",
            log_every=1,
        ).fit()

    whole, cut = trained(4, "whole"), trained(2, "cut")
    resumed = ganzoo.Trainer.resume(cut, dataset=IMAGES, steps=4, progress=False).fit()
    one, other = whole.generator.module.state_dict(), resumed.generator.module.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    text = [(Path(run.path) / "metrics.jsonl").read_text() for run in (whole, resumed)]
    column = {"ada": "ada_p", "noise": "noise", "diffaugment": "r1"}[name]
    values = [[json.loads(line)[column] for line in each.splitlines()] for each in text]
    assert values[0] == values[1] and len(values[0]) == 4
    if name == "ada":
        assert len(set(values[0])) > 1


@pytest.mark.parametrize("name", ["ada", "diffaugment"])
def test_what_is_no_image_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' changes images, not vector .* take 'noise'"):
        ganzoo.Trainer("mlp", torch.randn(128, 2), augmentation=name, progress=False).setup()


def test_nothing_to_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="'diffaugment' has nothing to do: set colour"):
        augmentations.create("diffaugment", colour=False, translation=False, cutout=False)
