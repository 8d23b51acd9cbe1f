import itertools

import pytest
import torch
from torch import nn

from ganzoo.architectures.dcgan import DCGAN
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import UnsupportedSampleError

SIDES = (16, 32, 64, 128, 256)


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def convs(net):
    return [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]


def test_parameters_at_64():
    spec = SampleSpec(shape=(3, 64, 64))
    assert count(DCGAN().generator(spec, LatentSpec())) == 3_576_704
    assert count(DCGAN().discriminator(spec)) == 2_765_568


@pytest.mark.parametrize(
    ("side", "multipliers"),
    [(16, [2, 1]), (32, [4, 2, 1]), (64, [8, 4, 2, 1]), (256, [8, 8, 8, 4, 2, 1])],
)
def test_widths(side, multipliers):
    spec = SampleSpec(shape=(5, side, side))
    generator = DCGAN(channels=2).generator(spec, LatentSpec(shape=(9,)))
    assert [conv.in_channels for conv in convs(generator)] == [9, *(2 * m for m in multipliers)]
    assert convs(generator)[-1].out_channels == 5
    discriminator = DCGAN(channels=2).discriminator(spec)
    widths = [conv.in_channels for conv in convs(discriminator)]
    assert widths == [5, *(2 * m for m in reversed(multipliers))]


def test_widest_layer_can_be_limited():
    spec = SampleSpec(shape=(1, 64, 64))
    arch = DCGAN(channels=2, max_multiplier=3)
    widths = [conv.out_channels for conv in convs(arch.generator(spec, LatentSpec()))]
    assert widths == [6, 6, 4, 2, 1]


@pytest.mark.parametrize(("height", "width"), [*itertools.product(SIDES, SIDES)])
def test_every_size_builds(height, width):
    spec = SampleSpec(shape=(1, height, width))
    arch, latent = DCGAN(channels=1, max_multiplier=2), LatentSpec(shape=(2,))
    samples = arch.generator(spec, latent)(latent.sample(2))
    assert samples.shape == (2, 1, height, width)
    assert arch.discriminator(spec)(samples).shape == (2,)


def test_norms_and_biases():
    spec = SampleSpec(shape=(3, 64, 64))
    nets = DCGAN(channels=4).generator(spec, LatentSpec()), DCGAN(channels=4).discriminator(spec)
    assert all(conv.bias is None for net in nets for conv in convs(net))
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in nets]
    assert norms == [4, 3]


def test_initial_weights():
    torch.manual_seed(0)
    net = DCGAN(channels=32).discriminator(SampleSpec(shape=(3, 64, 64)))
    wide = net.shrink[2].conv.weight
    assert wide.mean().item() == pytest.approx(0, abs=1e-3)
    assert wide.std().item() == pytest.approx(0.02, rel=0.02)
    norm = net.shrink[2].norm
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert not norm.bias.any()


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((1, 1), (16, 16)), ((28, 28), (32, 32)), ((64, 65), (64, 128)), ((999, 17), (256, 32))],
)
def test_nearest_size(size, nearest):
    assert DCGAN().nearest_size(*size) == nearest


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            SampleSpec(shape=(3, 48, 96)),
            "Architecture 'dcgan' cannot do a 48x96 RGB image: height and width must be powers of "
            "two from 16 to 256; the nearest it can is 64x128.",
        ),
        (
            SampleSpec(shape=(1, 512, 8)),
            "Architecture 'dcgan' cannot do a 512x8 greyscale image: height and width must be "
            "powers of two from 16 to 256; the nearest it can is 256x16.",
        ),
        (
            SampleSpec(kind="vector", shape=(2,)),
            "Architecture 'dcgan' cannot do a vector of shape (2,): it makes images only; "
            "take 'mlp', which makes samples of any kind.",
        ),
    ],
)
def test_refusals(spec, message):
    for build in (
        DCGAN().check,
        DCGAN().discriminator,
        lambda spec: DCGAN().generator(spec, LatentSpec()),
    ):
        with pytest.raises(UnsupportedSampleError) as caught:
            build(spec)
        assert str(caught.value) == message


def test_the_discriminators_first_layer_can_be_normalised():
    spec = SampleSpec(shape=(3, 64, 64))
    plain, normed = DCGAN().discriminator(spec), DCGAN(d_norm_input=True).discriminator(spec)
    assert count(normed) - count(plain) == 2 * 64
    images = torch.rand(16, 3, 64, 64)
    seen = []
    normed.activation.register_forward_hook(lambda *call: seen.append(call[1][0].clone()))
    normed.activation.inplace = False
    with torch.no_grad():
        normed.norm.weight.fill_(1)
    normed(images)
    (maps,) = seen
    assert maps.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert maps.var(dim=(0, 2, 3)).sub(1).abs().max() < 0.1  # eps 1e-5 beside small variances
