from __future__ import annotations

import pytest
import torch

from ganzoo.datasets import preprocessing
from ganzoo.datasets.preprocessing import Preprocessing
from ganzoo.errors import ConfigError


@pytest.mark.parametrize("method", ["none", "pad", "resize"])
def test_equal_sizes_need_nothing(method) -> None:
    same = Preprocessing.fit((28, 28), (28, 28), method)
    images = torch.zeros(2, 1, 28, 28)
    assert same.method == "none"
    assert same.apply(images, 0.0) is images
    assert same.undo(images) is images
    assert same.notice("dcgan") == ""


@pytest.mark.parametrize(
    ("original_size", "size"),
    [((28, 28), (32, 32)), ((5, 8), (8, 8)), ((5, 4), (8, 9)), ((1, 1), (2, 2))],
)
@pytest.mark.parametrize(("dtype", "low"), [(torch.uint8, 0.0), (torch.float32, -1.0)])
def test_padding_is_undone_exactly(original_size, size, dtype, low) -> None:
    data = (torch.rand(3, 2, *original_size) * 200 + 1).to(dtype)
    fitted = Preprocessing.fit(original_size, size, "pad")
    padded = fitted.apply(data, low)
    assert padded.shape == (3, 2, *size) and padded.dtype == dtype
    assert torch.equal(fitted.undo(padded), data)
    assert torch.equal(fitted.undo(padded[0]), data[0])
    added = 6 * (size[0] * size[1] - original_size[0] * original_size[1])
    assert (padded == low).sum() == added


def test_padding_is_centred() -> None:
    padded = Preprocessing.fit((2, 2), (4, 5), "pad").apply(
        torch.ones(1, 1, 2, 2, dtype=torch.uint8), 0
    )
    assert padded[0, 0].tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("size", [(4, 4), (16, 12)])
def test_resizing_keeps_the_dtype_and_flat_images(size) -> None:
    data = torch.full((3, 2, 8, 8), 77, dtype=torch.uint8)
    resized = Preprocessing.fit((8, 8), size, "resize").apply(data, 0.0)
    assert resized.dtype == torch.uint8 and resized.shape == (3, 2, *size)
    assert (resized == 77).all()


def test_resizing_rounds() -> None:
    data = torch.tensor([[[[0, 255], [0, 254]]]], dtype=torch.uint8)
    assert Preprocessing.fit((2, 2), (1, 1), "resize").apply(data, 0.0).item() == 127  # of 127.25


def test_resizing_is_antialiased() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(16).expand(1, 1, 32, 32)
    resized = Preprocessing.fit((32, 32), (8, 8), "resize").apply(stripes, 0.0)
    assert (resized[..., 1:-1] - 0.5).abs().max() < 0.05


def test_resizing_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = torch.randint(0, 256, (7, 3, 9, 5), dtype=torch.uint8)
    fitted = Preprocessing.fit((9, 5), (6, 6), "resize")
    whole = fitted.apply(data, 0.0)
    monkeypatch.setattr(preprocessing, "_CHUNK", 4 * 2 * 3 * 45)
    assert torch.equal(fitted.apply(data, 0.0), whole)


def test_resizing_is_not_undone() -> None:
    images = torch.zeros(2, 1, 32, 32)
    assert Preprocessing.fit((28, 28), (32, 32), "resize").undo(images) is images


@pytest.mark.parametrize("size", [(16, 16), (16, 64), (64, 16)])
def test_padding_to_a_smaller_size(size) -> None:
    with pytest.raises(ConfigError, match=r"cannot be padded to .*resize_mode='resize'"):
        Preprocessing.fit((28, 28), size, "pad")


def test_doing_nothing_is_not_always_possible() -> None:
    with pytest.raises(ConfigError, match="28x28 images are not 32x32: they need padding"):
        Preprocessing.fit((28, 28), (32, 32), "none")


@pytest.mark.parametrize("what", ["apply", "undo"])
@pytest.mark.parametrize("method", ["pad", "resize"])
def test_other_images_are_refused(what, method) -> None:
    fitted = Preprocessing.fit((28, 28), (32, 32), method)
    with pytest.raises(ConfigError, match=r"\(2, 1, 30, 30\) are not"):
        getattr(fitted, what)(torch.zeros(2, 1, 30, 30), *([0.0] if what == "apply" else []))


@pytest.mark.parametrize(
    ("original_size", "size", "method", "text"),
    [
        (
            (28, 28),
            (32, 32),
            "pad",
            "28x28 images are padded to 32x32, which 'dcgan' can do; samples come out 28x28.",
        ),
        (
            (28, 28),
            (32, 32),
            "resize",
            "28x28 images are resized to 32x32, which 'dcgan' can do; samples come out 32x32.",
        ),
        (
            (218, 178),
            (64, 64),
            "resize",
            "218x178 images are resized to 64x64, which 'dcgan' can do; samples come out 64x64, "
            "with other proportions.",
        ),
    ],
)
def test_notice(original_size, size, method, text) -> None:
    assert Preprocessing.fit(original_size, size, method).notice("dcgan") == text


def test_json() -> None:
    fitted = Preprocessing.fit((28, 28), (32, 32), "pad")
    assert Preprocessing.model_validate_json(fitted.model_dump_json()) == fitted
