"""Resizing against Pillow itself, and against TensorFlow's rule written out in plain Python."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from features.conftest import chequered
from ganzoo.features.resizing import resize

FILTERS = {
    "pil-bilinear-float": Image.Resampling.BILINEAR,
    "pil-bicubic-float": Image.Resampling.BICUBIC,
}
SIZES = [(28, 28), (32, 20), (75, 90)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("how", FILTERS)
def test_float_filters_are_pillows(how, size):
    pictures = chequered(1, height=size[0], width=size[1])
    found = resize(pictures, 50, how)[0]
    for channel, wanted in zip(pictures[0].numpy(), found, strict=True):
        resized = Image.fromarray(channel.astype(np.float32)).resize((50, 50), FILTERS[how])
        pillow = torch.from_numpy(np.array(resized)).clamp(0, 255)
        assert (wanted - pillow).abs().max() < 4e-5  # of 255: the last bit of float32


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_8_bit_filter_is_pillows(size):
    pictures = chequered(2, height=size[0], width=size[1])
    found = resize(pictures, 50, "pil-bicubic-uint8")
    image = Image.fromarray(pictures[1].permute(1, 2, 0).numpy())
    pillow = np.array(image.resize((50, 50), Image.Resampling.BICUBIC))
    assert torch.equal(found[1], torch.from_numpy(pillow).permute(2, 0, 1).float())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bilinear_of_tensorflow_1(size):
    pictures = chequered(1, channels=1, height=size[0], width=size[1])
    found = resize(pictures, 50, "tf1-bilinear")[0, 0]
    picture = pictures[0, 0].tolist()

    def at(row, column):
        y, x = row * size[0] / 50, column * size[1] / 50
        top, left = math.floor(y), math.floor(x)
        low, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
        above = picture[top][left] + (picture[top][right] - picture[top][left]) * (x - left)
        below = picture[low][left] + (picture[low][right] - picture[low][left]) * (x - left)
        return above + (below - above) * (y - top)

    wanted = torch.tensor([[at(row, column) for column in range(50)] for row in range(50)])
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-3)  # places are float32 there


def test_the_right_size_stays_as_it_is():
    pictures = chequered(1, height=24, width=24)
    for how in ("tf1-bilinear", "bilinear", *FILTERS, "pil-bicubic-uint8"):
        assert torch.equal(resize(pictures, 24, how), pictures.float())
