import warnings

import pytest
import torch
from torch import nn

from ganzoo.architectures.upsample import Upsample
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import UnsupportedSampleError

FASHION = SampleSpec(shape=(1, 28, 28), value_range=(0.0, 1.0))
LATENT = LatentSpec(shape=(128,))


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def test_parameters():
    assert count(Upsample().generator(FASHION, LATENT)) == 2_155_137
    assert count(Upsample().discriminator(FASHION)) == 1_113_345


def test_padding_equals_same_padding():
    net = Upsample(channels=4).generator(FASHION, LATENT)
    maps = torch.randn(2, 4, 9, 10)
    for pad, conv in (
        (net.refine[0].pad, net.refine[0].conv),
        (net.refine[1].pad, net.refine[1].conv),
        (net.output_pad, net.output),
    ):
        same = nn.Conv2d(conv.in_channels, conv.out_channels, 4, padding="same")
        same.load_state_dict(conv.state_dict())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = same(maps)
        assert conv(pad(maps)).shape == (2, conv.out_channels, 9, 10)
        torch.testing.assert_close(conv(pad(maps)), expected)


def test_dropout_of_the_discriminator():
    net = Upsample(d_channels=2, dropout=0.25).discriminator(FASHION)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.25] * 5
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == [2, 4, 8, 16]


def test_smallest_size_builds():
    spec = SampleSpec(shape=(2, 20, 20))
    samples = Upsample(channels=2).generator(spec, LATENT)(LATENT.sample(3))
    assert samples.shape == (3, 2, 20, 20)
    assert Upsample(d_channels=1).discriminator(spec)(samples).shape == (3,)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((1, 16), (20, 20)), ((28, 28), (28, 28)), ((29, 33), (32, 36)), ((999, 20), (1000, 20))],
)
def test_nearest_size(size, nearest):
    assert Upsample().nearest_size(*size) == nearest


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            SampleSpec(shape=(4, 30, 16)),
            "Architecture 'upsample' cannot do a 30x16 RGBA image: height and width must be "
            "divisible by 4 and at least 20; the nearest it can is 32x20.",
        ),
        (
            SampleSpec(kind="sequence", shape=(5, 400)),
            "Architecture 'upsample' cannot do a sequence of shape (5, 400): it makes images only; "
            "take 'mlp', which makes samples of any kind.",
        ),
    ],
)
def test_refusals(spec, message):
    for build in (
        Upsample().check,
        Upsample().discriminator,
        lambda spec: Upsample().generator(spec, LATENT),
    ):
        with pytest.raises(UnsupportedSampleError) as caught:
            build(spec)
        assert str(caught.value) == message


def test_initial_weights():
    torch.manual_seed(0)
    nets = Upsample().generator(FASHION, LATENT), Upsample().discriminator(FASHION)
    layers = [m for net in nets for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        area = layer.weight[0, 0].numel()  # of a kernel; 1 of a dense layer
        limit = (6 / ((layer.weight.shape[0] + layer.weight.shape[1]) * area)) ** 0.5
        assert 0.95 * limit < layer.weight.abs().max() <= limit
        assert not layer.bias.any()


def test_samples_differ_from_the_start():
    torch.manual_seed(0)
    net = Upsample().generator(FASHION, LATENT)
    with torch.no_grad():
        logits = torch.logit(net(LATENT.sample(16)))
    assert logits.std(dim=0).mean() > 0.02  # 0.004 under torch's own initial weights
