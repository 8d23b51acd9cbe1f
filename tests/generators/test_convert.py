"""Weights of other programs: nets of others, written here as their authors do, become bundles."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import pickle
import random
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ganzoo import Generator, LatentSpec, SampleSpec, architectures
from ganzoo.architectures import Inferred
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.architectures.mlp import MLP
from ganzoo.cli import main
from ganzoo.errors import BundleError, CheckpointError, ConfigError, GanzooError, UnknownNameError
from ganzoo.files import statedicts
from ganzoo.generators.convert import convert
from ganzoo.testing import check_architecture

EXACT = {"atol": 1e-5, "rtol": 0}


class TheirDCGAN(nn.Module):
    """The generator of PyTorch's DCGAN example: latents (N, nz, 1, 1) to images (N, nc, H, H)."""

    def __init__(self, nz: int = 10, ngf: int = 2, nc: int = 3, stages: int = 4) -> None:
        super().__init__()
        widths = [nz, *(ngf * 2**stage for stage in reversed(range(stages)))]
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            stride, padding = (2, 1) if index else (1, 0)
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(True),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], nc, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z.reshape(len(z), -1, 1, 1))


class TheirDiscriminator(nn.Module):
    """Its counterpart."""

    def __init__(self, ndf: int = 2, nc: int = 3) -> None:
        super().__init__()
        widths = [nc, ndf, ndf * 2, ndf * 4, ndf * 8]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False))


class TheirUpsample(nn.Module):
    """A generator in the manner of Keras: dense, twice upsampled and convolved, then refined."""

    def __init__(self, latent: int = 6, width: int = 4, size: tuple[int, int] = (28, 28)) -> None:
        super().__init__()
        self.base = (width, size[0] // 4, size[1] // 4)
        self.dense = nn.Linear(latent, width * self.base[1] * self.base[2])
        self.conv1 = nn.Conv2d(width, width, 5, padding="same")
        self.conv2 = nn.Conv2d(width, width, 5, padding="same")
        self.conv3 = nn.Conv2d(width, width, 4)
        self.conv4 = nn.Conv2d(width, width, 4)
        self.to_image = nn.Conv2d(width, 1, 4)

    def forward(self, z: Tensor) -> Tensor:
        act = nn.LeakyReLU(0.2)
        pad = nn.ZeroPad2d((1, 2, 1, 2))
        x = act(self.dense(z)).view(len(z), *self.base)
        for conv in (self.conv1, self.conv2):
            x = act(conv(nn.functional.interpolate(x, scale_factor=2)))
        for conv in (self.conv3, self.conv4):
            x = act(conv(pad(x)))
        return torch.tanh(self.to_image(pad(x)))


def their_mlp(*widths: int, last: nn.Module | None = None) -> nn.Sequential:
    """Dense layers with leaky ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1], last or nn.Tanh())


def trained(net: nn.Module, latent: int) -> nn.Module:
    """Give a net weights and running statistics that are not those it began with."""
    torch.manual_seed(3)
    for layer in net.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.3)
        if getattr(layer, "bias", None) is not None:
            nn.init.normal_(layer.bias, 0, 0.3)
    net.train()
    with torch.no_grad():
        net(torch.randn(16, latent))
    return net.eval()


def their_gan() -> nn.Module:
    return trained(TheirDCGAN(), 10)


def save(value: object, name: str = "theirs.pth", **options: object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(value, name, **options)  # type: ignore[arg-type]
    return name


def assert_same(net: nn.Module, latent: int, folder: str = "out") -> Generator:
    """The bundle's samples must be those of the other program's net."""
    generator = Generator.from_pretrained(folder)
    z = torch.randn(5, latent, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        expected = net(z).reshape(5, *generator.spec.shape)
    samples = generator.sample(5, latents=z.reshape(5, *generator.latent.shape))
    torch.testing.assert_close(samples, expected, **EXACT)
    assert expected.std() > 0.01  # not all alike
    return generator


# -- nets that others have trained ----------------------------------------------------------------


def test_the_generator_of_the_pytorch_example_as_it_is():
    net = trained(TheirDCGAN(nz=100, ngf=64), 100)
    done = convert(save(net.state_dict(), "netG.pth"), "dcgan", "out")
    generator = assert_same(net, 100)
    assert generator.config.architecture == DCGAN()
    assert generator.spec.shape == (3, 64, 64)
    assert generator.spec.value_range == (-1, 1)
    assert generator.latent == LatentSpec(shape=(100,))
    assert done.key == "."
    assert [pair.theirs for pair in done.pairs] == list(net.state_dict())
    assert done.pairs[0] == ("main.0.weight", "project.conv.weight", (100, 512, 4, 4))
    assert done.pairs[-1] == ("main.12.weight", "output.weight", (64, 3, 4, 4))


def nested(state: dict[str, Tensor]) -> object:
    net = TheirDCGAN()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 10)).sum().backward()
    optimizer.step()
    return {
        "epoch": 7,
        "fixed_noise": torch.randn(4, 10, 1, 1),
        "netD": TheirDiscriminator().state_dict(),
        "optimizerD": optimizer.state_dict(),
        "models": [{"nets": {"netG": state}}],
        "optimizerG": optimizer.state_dict(),
        "args": {"lr": 2e-4, "names": ("a", "b")},
    }


def prefixed(state: dict[str, Tensor], lead: str) -> dict[str, Tensor]:
    return OrderedDict((lead + name, value) for name, value in state.items())


@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (lambda state: prefixed(state, "module."), "."),
        (lambda state: prefixed(state, "_orig_mod.module."), "."),
        (lambda state: prefixed(state, "module._orig_mod.module."), "."),
        (nested, "models.0.nets.netG"),
        (lambda state: nested(prefixed(state, "module.")), "models.0.nets.netG"),
        (lambda state: {"n_averaged": torch.tensor(3), **prefixed(state, "module.")}, ".module"),
        (
            lambda state: {
                "state_dict": {
                    **prefixed(state, "generator."),
                    **prefixed(TheirDiscriminator().state_dict(), "discriminator."),
                }
            },
            "state_dict.generator",
        ),
    ],
    ids=["parallel", "compiled", "both", "nested", "nested parallel", "averaged", "lightning"],
)
def test_wherever_it_is_in_the_file(wrap, key):
    net = their_gan()
    done = convert(save(wrap(net.state_dict())), "dcgan", "out")
    assert done.key == key.removeprefix("." if key != "." else "")
    assert_same(net, 10)
    assert convert("theirs.pth", "dcgan", "out", key=done.key).pairs == done.pairs


def test_files_of_other_formats():
    net = their_gan()
    convert(save(net.state_dict(), _use_new_zipfile_serialization=False), "dcgan", "out")
    assert_same(net, 10)
    save_file(net.state_dict(), "theirs.safetensors")  # sorted: main.12 is before main.3
    done = convert("theirs.safetensors", "dcgan", "out")
    assert done.pairs[-1][:2] == ("main.12.weight", "output.weight")
    assert_same(net, 10)
    Path("theirs.safetensors").rename("weights.bin")  # what it is tells the content
    convert("weights.bin", "dcgan", "out")
    assert_same(net, 10)


@pytest.mark.parametrize(
    ("net", "options", "shape"),
    [
        (TheirDCGAN(ngf=4, nc=1, stages=3), {"channels": 4}, (1, 32, 32)),
        (TheirDCGAN(ngf=4, stages=5), {"channels": 4, "max_multiplier": 16}, (3, 128, 128)),
        (TheirDCGAN(ngf=3, nc=4, stages=2), {"channels": 3}, (4, 16, 16)),
    ],
)
def test_sizes_and_widths_follow_from_shapes(net, options, shape):
    trained(net, 10)
    convert(save(net.state_dict()), "dcgan", "out")
    generator = assert_same(net, 10)
    assert generator.config.architecture == DCGAN(**options)
    assert generator.spec.shape == shape


def test_dense_nets():
    net = trained(their_mlp(6, 8, 16, 3 * 8 * 8), 6)
    done = convert(save(net.state_dict()), "mlp", "out")
    generator = assert_same(net, 6)
    assert generator.config.architecture == MLP(hidden=(8, 16))
    assert generator.spec.shape == (3, 8, 8)
    assert any("taken for a 8x8 RGB image" in note for note in done.notes)
    assert any("'slope', taken as 0.2 (--arch.slope)" in note for note in done.notes)
    convert("theirs.pth", "mlp", "out", kind="vector", value_range=(-1, 1))
    assert assert_same(net, 6).spec.shape == (192,)
    convert("theirs.pth", "mlp", "out", size=(4, 16))
    assert assert_same(net, 6).spec.shape == (3, 4, 16)
    convert("theirs.pth", "mlp", "out", channels=12, size=4)
    assert assert_same(net, 6).spec.shape == (12, 4, 4)
    convert("theirs.pth", "mlp", "out", kind="audio", channels=2)
    assert assert_same(net, 6).spec.shape == (2, 96)
    with pytest.raises(CheckpointError, match="192 values, which is no 3 x 5 x 5: give --size"):
        convert("theirs.pth", "mlp", "out", size=5, channels=3)


def test_ranges_and_activations_that_weights_do_not_tell():
    net = trained(nn.Sequential(nn.Linear(3, 5), nn.SELU(), nn.Linear(5, 64), nn.Sigmoid()), 3)
    convert(save(net.state_dict()), "mirror", "out", value_range=(0, 1), latent=(3, 1))
    generator = assert_same(net, 3)
    assert generator.latent.shape == (3, 1)
    assert generator.config.architecture.hidden == (5,)
    points = trained(their_mlp(3, 5, 2, last=nn.Identity()), 3)
    done = convert(
        save(points.state_dict()), "mlp", "out", latent={"distribution": "uniform", "low": 0}
    )
    assert assert_same(points, 3).spec.value_range is None  # points have none
    assert (done.config.latent.distribution, done.config.latent.shape) == ("uniform", (3,))
    linear = trained(their_mlp(3, 5, 64, last=nn.Identity()), 3)
    convert(save(linear.state_dict()), "mlp", "out", value_range="unbounded")
    assert assert_same(linear, 3).spec.shape == (1, 8, 8)
    plain = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 64), nn.Tanh())
    trained(plain, 3)
    done = convert(save(plain.state_dict()), {"name": "mlp", "slope": 0}, "out")
    assert assert_same(plain, 3)
    assert not any("slope" in note for note in done.notes)
    convert("theirs.pth", MLP(slope=0), "out")
    assert_same(plain, 3)


def test_upsampling_nets():
    net = trained(TheirUpsample(), 6)
    convert(save(net.state_dict()), "upsample", "out")
    assert assert_same(net, 6).spec.shape == (1, 28, 28)
    oblong = trained(TheirUpsample(size=(20, 32)), 6)
    with pytest.raises(CheckpointError, match="640 values, which is no 1 x 25 x 25: give --size"):
        convert(save(oblong.state_dict()), "upsample", "out")
    convert("theirs.pth", "upsample", "out", size=(20, 32))
    assert assert_same(oblong, 6).spec.shape == (1, 20, 32)


@pytest.mark.parametrize("name", ["dcgan", "mlp", "upsample", "mirror"])
def test_weights_of_ones_own_match_by_name(name):
    shape = (1, 64, 64) if name == "dcgan" else (1, 20, 20)
    narrow = {"channels": 2} if name in ("dcgan", "upsample") else {"hidden": (4, 5)}
    arch = architectures.create({"name": name, **narrow})
    net = arch.generator(SampleSpec(shape=shape), LatentSpec(shape=(3,))).eval()
    save_file(net.state_dict(), "ours.safetensors")  # output, project: in the order of the alphabet
    done = convert("ours.safetensors", name, "out")
    assert done.config.architecture == arch
    assert all(pair.theirs == pair.ours for pair in done.pairs)
    other = dict(reversed(net.state_dict().items()))
    done = convert(save({"d": their_mlp(3, 4, 64).state_dict(), "g": other}), name, "out")
    assert done.key == "g"
    assert torch.equal(Generator.from_pretrained("out")(torch.ones(2, 3)), net(torch.ones(2, 3)))


def test_counters_that_older_torch_did_not_have():
    net = their_gan()
    state = {n: v for n, v in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    done = convert(save(state), "dcgan", "out")
    generator = assert_same(net, 10)
    assert generator.module.state_dict()["project.norm.num_batches_tracked"] == 0
    assert "The file lacks batch norm's counters of batches, which start at 0." in done.notes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision(dtype):
    net = their_gan()
    state = {n: v.to(dtype) if v.is_floating_point() else v for n, v in net.state_dict().items()}
    done = convert(save(state), "dcgan", "out")
    net.load_state_dict(state)  # rounded
    assert_same(net, 10)
    name = str(dtype).removeprefix("torch.")
    assert f"{name} weights were converted to float32." in done.notes


def test_tensors_that_share_memory():
    net = trained(their_mlp(4, 4, 4, 64), 4)
    with torch.no_grad():
        net[2].weight = net[0].weight
    state = net.state_dict()
    assert state["0.weight"].data_ptr() == state["2.weight"].data_ptr()
    convert(save(state), "mlp", "out")
    module = assert_same(net, 4).module
    assert torch.equal(module.hidden.dense1.weight, module.hidden.dense2.weight)


# -- which net, which name ------------------------------------------------------------------------


def test_several_nets_that_fit_are_listed_and_one_is_named():
    net, average = their_gan(), trained(TheirDCGAN(), 10)
    with torch.no_grad():
        average.main[-2].weight.mul_(0.5)
    save({"G": net.state_dict(), "extra": {"G_ema": average.state_dict()}})
    with pytest.raises(ConfigError, match="2 state dicts .* 'G' and 'extra.G_ema'.*--key"):
        convert("theirs.pth", "dcgan", "out")
    assert not Path("out").exists()
    convert("theirs.pth", "dcgan", "out", key="extra.G_ema")
    assert_same(average, 10)
    with pytest.raises(ConfigError, match="under 'extra.G_emma'. Did you mean 'extra.G_ema'"):
        convert("theirs.pth", "dcgan", "out", key="extra.G_emma")
    same = net.state_dict()
    convert(save({"last": same, "best": same}), "dcgan", "out")  # one, saved twice
    assert_same(net, 10)


def test_a_net_that_ends_in_one_value_is_the_discriminator_if_another_fits():
    net, other = trained(their_mlp(4, 5, 64), 4), their_mlp(64, 5, 1)
    done = convert(save({"d": other.state_dict(), "g": net.state_dict()}), "mlp", "out")
    assert done.key == "g"
    flat = prefixed(net.state_dict(), "g.") | prefixed(other.state_dict(), "d.")
    with pytest.raises(ConfigError, match="3 state dicts .* '.', 'g' and 'd'"):
        convert(save(flat), "mlp", "out")  # all in a row would be a net of one value too
    convert("theirs.pth", "mlp", "out", key="g")
    assert_same(net, 4)
    one = trained(their_mlp(4, 5, 1, last=nn.Identity()), 4)
    convert(save(one.state_dict()), "mlp", "out")
    assert assert_same(one, 4).spec.shape == (1,)


class Shuffled(nn.Module):
    """Defines its layers in another order than it uses them."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.out = nn.Linear(b, 64)
        self.second = nn.Linear(a, b)
        self.first = nn.Linear(4, a)

    def forward(self, z: Tensor) -> Tensor:
        act = nn.LeakyReLU(0.2)
        return torch.tanh(self.out(act(self.second(act(self.first(z))))))


def test_layers_in_another_order_are_matched_by_shape():
    net = trained(Shuffled(5, 6), 4)
    done = convert(save(net.state_dict()), "mlp", "out")
    assert done.config.architecture == MLP(hidden=(5, 6))
    assert ("first.weight", "hidden.dense1.weight", (5, 4)) in done.pairs
    assert_same(net, 4)


def test_what_cannot_be_told_is_refused_unless_a_mapping_tells(tmp_path):
    net = trained(Shuffled(4, 4), 4)
    save(net.state_dict())
    given = {"size": 8, "channels": 1, "latent": 4}
    arch = {"name": "mlp", "hidden": (4, 4)}
    with pytest.raises(ConfigError) as caught:
        convert("theirs.pth", arch, "out", **given)
    assert str(caught.value).startswith(
        "theirs.pth: nothing tells which of 'second' and 'first' is which of 'hidden.dense1' and "
        "'hidden.dense2'"
    )
    mapping = {"first": "hidden.dense1"}  # the rest follows
    convert("theirs.pth", arch, "out", mapping=mapping, **given)
    assert_same(net, 4)
    Path("names.yaml").write_text("first: hidden.dense1\nsecond.weight: hidden.dense2.weight\n")
    Path("names.json").write_text(json.dumps({"second": "hidden.dense2"}))
    for file in ("names.yaml", "names.json"):
        convert("theirs.pth", arch, "out", mapping=file, **given)
        assert_same(net, 4)
    for wrong, reason in (
        ({"frist": "hidden.dense1"}, "speaks of 'frist', which it lacks"),
        ({"first": "hidden.dense9"}, "leads to 'hidden.dense9.weight', which the generator lacks"),
        ({"first": "output"}, "'first.weight' is (4, 4), but the generator's 'output.weight' is"),
        ({"first": "output", "second": "output"}, "leads to 'output.weight', twice"),
    ):
        with pytest.raises(CheckpointError) as refused:
            convert("theirs.pth", arch, "out", mapping=wrong, **given)
        assert reason in str(refused.value)


def test_a_mapping_that_is_none(tmp_path):
    save(their_gan().state_dict())
    for text in ("[1, 2]", "a: {b: c}", "a: ''", "{", "\x00"):
        Path("names.yaml").write_text(text)
        with pytest.raises(ConfigError, match="names.yaml"):
            convert("theirs.pth", "dcgan", "out", mapping="names.yaml")
    with pytest.raises(ConfigError, match="absent.yaml cannot be read"):
        convert("theirs.pth", "dcgan", "out", mapping="absent.yaml")


def test_safetensors_do_not_keep_the_order_so_that_only_numbers_tell_it():
    net = trained(their_mlp(4, 4, 4, 4, 64), 4)
    save_file(net.state_dict(), "numbered.safetensors")
    convert("numbered.safetensors", "mlp", "out")
    assert_same(net, 4)
    words = {"0": "a_in", "2": "middle", "4": "c_after", "6": "z_out"}
    state = {words[n.split(".")[0]] + n[1:]: v for n, v in net.state_dict().items()}
    save_file(state, "words.safetensors")
    with pytest.raises(ConfigError, match="nothing tells which of 'a_in', 'c_after' and 'middle'"):
        convert("words.safetensors", "mlp", "out")
    convert(save(state), "mlp", "out")  # where the order is kept, it tells
    assert_same(net, 4)


def test_what_does_not_fit_is_explained():
    state = their_gan().state_dict()
    with_bias = OrderedDict({**state, "main.9.bias": torch.zeros(2)})
    with pytest.raises(CheckpointError) as caught:
        convert(save(with_bias), "dcgan", "out")
    assert str(caught.value) == (
        "theirs.pth holds no generator of 'dcgan': it has 'main.9' with bias (2,), weight "
        "(4, 2, 4, 4) where the generator has 'grow.2.conv' with weight (4, 2, 4, 4)."
    )
    for given, reason in (
        ({"size": 32}, "12,288 values, which is no 3 x 32 x 32"),
        ({"latent": 11}, "where the generator has 'project.conv' with weight (11, 16, 4, 4)"),
    ):
        with pytest.raises(CheckpointError) as caught:
            convert(save(state), "dcgan", "out", **given)
        assert reason in str(caught.value)
    with pytest.raises(CheckpointError, match="None of|'G': .*; 'D': "):
        convert(save({"G": state, "D": TheirDiscriminator().state_dict()}), "mlp", "out")
    big = trained(TheirDCGAN(ngf=1, stages=7), 10)
    with pytest.raises(CheckpointError, match="cannot do a 512x512 RGB image"):
        convert(save(big.state_dict()), "dcgan", "out")
    with pytest.raises(ConfigError, match="has no option 'chanels'. Did you mean 'channels'"):
        convert(save(state), {"name": "dcgan", "chanels": 3}, "out")
    with pytest.raises(UnknownNameError, match="Did you mean 'dcgan'"):
        convert("theirs.pth", "dcgn", "out")
    with pytest.raises(ConfigError, match="at least 1"):
        convert("theirs.pth", "dcgan", "out", size=0)
    assert not Path("out").exists()


# -- what is written ------------------------------------------------------------------------------


def test_the_bundle_says_where_it_came_from_and_nothing_of_the_machine():
    folder = Path("secret-place")
    folder.mkdir()
    file = save({"net": their_gan().state_dict()}, str(folder / "epoch_9.pth"))
    convert(file, "dcgan", "out")
    text = Path("out/config.json").read_text()
    assert json.loads(text)["training"] == {
        "converted_from": {
            "file": "epoch_9.pth",
            "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest(),
            "key": "net",
        }
    }
    assert "secret-place" not in text


def test_what_is_no_bundle_is_not_replaced():
    file = save(their_gan().state_dict())
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="not a bundle"):
        convert(file, "dcgan", "out")
    assert [path.name for path in Path("out").iterdir()] == ["thesis.txt"]
    convert(file, "dcgan", "bundle")
    net = trained(TheirDCGAN(ngf=3), 10)
    convert(save(net.state_dict()), "dcgan", "bundle")
    assert_same(net, 10, "bundle")


# -- files that are not what they should be -------------------------------------------------------


class Evil:
    """Runs code as soon as it is unpickled."""

    def __reduce__(self):
        return eval, ("open('hacked', 'w')",)


def rezipped(change, compress: int = zipfile.ZIP_STORED) -> None:
    """Write theirs.pth again with another content of its entries."""
    save({"w": torch.zeros(4)}, "inner.pth")
    with zipfile.ZipFile("inner.pth") as old, zipfile.ZipFile("theirs.pth", "w", compress) as new:
        for entry in old.infolist():
            content = change(entry.filename.partition("/")[2], old.read(entry))
            if content is not None:
                new.writestr(f"inner/{entry.filename.partition('/')[2]}", content)


def with_pickle(content: bytes) -> None:
    rezipped(lambda name, old: content if name == "data.pkl" else old)


def tensor_pickle(size: int, stride: int = 1, numel: int = 4) -> bytes:
    """A tensor that claims another size than its storage has."""
    head = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
    head += b"FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + number(numel) + b"tQK\x00"
    tail = number(size) + b"\x85" + number(stride) + b"\x85\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x05\x00\x00\x0000.aa" + head[2:] + tail + b"s."


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def module() -> None:
    save(TheirDCGAN())


def evil() -> None:
    save({"state_dict": their_gan().state_dict(), "args": Evil()})


def older_evil() -> None:
    save({"a": Evil(), "w": torch.zeros(3)}, _use_new_zipfile_serialization=False)


def plain_pickle() -> None:
    Path("theirs.pth").write_bytes(pickle.dumps({"w": [1.0]}))


def old_tar() -> None:
    with tarfile.open("theirs.pth", "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))


def torchscript() -> None:
    rezipped(lambda name, old: old)
    with zipfile.ZipFile("theirs.pth", "a") as archive:
        archive.writestr("inner/constants.pkl", b"\x80\x02).")


def another_zip() -> None:
    with zipfile.ZipFile("theirs.pth", "w") as archive:
        archive.writestr("word/document.xml", "<a/>")


def bomb() -> None:
    rezipped(lambda name, old: bytes(10**7) if name == "data/0" else old, zipfile.ZIP_DEFLATED)


def overlapping() -> None:
    """Many entries that are all the same bytes."""
    save({"w": torch.zeros(2500)})
    with zipfile.ZipFile("theirs.pth", "a") as archive:
        archive.writestr("theirs/more", b"")
        for index in range(1, 9):
            twin = copy.copy(archive.getinfo("theirs/data/0"))
            twin.filename = f"theirs/data/{index}"
            archive.filelist.append(twin)


def twins_but_for_case() -> None:
    """Torch takes the one that it finds first, whatever the case of its name."""
    rezipped(lambda name, old: old)
    with zipfile.ZipFile("theirs.pth", "a") as archive:
        archive.writestr(
            "inner/DATA.PKL", b"\x80\x02cbuiltins\nbytearray\n" + number(9) + b"\x85R."
        )


def bytearrays() -> None:
    with_pickle(b"\x80\x02cbuiltins\nbytearray\n" + number(10**12) + b"\x85R.")


def encoded() -> None:
    with_pickle(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.")


def constructor() -> None:
    with_pickle(b"\x80\x02ctorch\nFloatTensor\n" + number(10**12) + b"\x85R.")


def lying_storage() -> None:
    with_pickle(tensor_pickle(10**9, numel=10**9))


def lying_tensor() -> None:
    with_pickle(tensor_pickle(10**9))


def expanded() -> None:
    save({"0.weight": torch.zeros(1).expand(64, 10**6), "0.bias": torch.zeros(64)})


def sparse() -> None:
    save({"w": torch.eye(3).to_sparse()})


def quantized() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save({"w": torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)})


def cut() -> None:
    save(their_gan().state_dict())
    content = Path("theirs.pth").read_bytes()
    Path("theirs.pth").write_bytes(content[: len(content) // 2])


def older_cut() -> None:
    save(their_gan().state_dict(), _use_new_zipfile_serialization=False)
    content = Path("theirs.pth").read_bytes()
    Path("theirs.pth").write_bytes(content[: len(content) // 2])


def nan() -> None:
    state = their_gan().state_dict()
    state["main.6.weight"][0, 0, 0, 0] = float("nan")
    save(state)


def too_large_for_float32() -> None:
    state = their_gan().state_dict()
    state["main.6.weight"] = state["main.6.weight"].double()
    state["main.6.weight"][0, 0, 0, 0] = 1e300
    save(state)


def complex_numbers() -> None:
    save({n: v.to(torch.complex64) for n, v in their_mlp(3, 64).state_dict().items()})


def integers() -> None:
    save({n: v.to(torch.int32) for n, v in their_mlp(3, 64).state_dict().items()})


def no_values() -> None:
    save({"w": torch.zeros(0, 4)})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: None, "There is no file theirs.pth"),
        (lambda: Path("theirs.pth").mkdir(), "is a folder"),
        (lambda: Path("theirs.pth").touch(), "is empty"),
        (lambda: Path("theirs.pth").write_text("see the other file"), "is neither"),
        (module, "would run test_convert.TheirDCGAN, torch.nn.modules.container.Sequential"),
        (evil, "would run __builtin__.eval. Only plain tensors"),
        (older_evil, "would run __builtin__.eval. Only plain tensors"),
        (plain_pickle, "is a pickle that torch.save did not write"),
        (old_tar, "is a tar archive"),
        (torchscript, "is a TorchScript program"),
        (another_zip, "is a zip archive, but not one of torch.save"),
        (bomb, "claims to hold more bytes than it has"),
        (overlapping, "claims to hold more bytes than it has"),
        (twins_but_for_case, "names differ in nothing or only in case"),
        (bytearrays, "would run builtins.bytearray"),
        (encoded, "would run _codecs.encode"),
        (constructor, "would run torch.FloatTensor"),
        (lying_storage, "cannot be read as PyTorch weights"),
        (lying_tensor, "cannot be read as PyTorch weights"),
        (expanded, "claims more values than it holds: '0.weight'"),
        (sparse, "sparse or quantized tensors"),
        (quantized, "sparse or quantized tensors"),
        (cut, "is damaged or cut off"),
        (older_cut, "cannot be read as PyTorch weights"),
        (nan, "'main.6.weight' of theirs.pth has values that are not finite"),
        (too_large_for_float32, "'main.6.weight' of theirs.pth has values that are not finite"),
        (complex_numbers, "holds torch.complex64"),
        (integers, "holds torch.int32"),
        (no_values, "'w' has no values"),
        (lambda: save(torch.zeros(3)), "holds no state dict"),
        (lambda: save({"epoch": 3}), "holds no state dict"),
        (lambda: save({1: torch.zeros(3), "a\x1b[2J": torch.zeros(3)}), "holds no state dict"),
    ],
)
def test_refused_files(make, reason):
    make()
    for arch in ("dcgan", "mlp"):
        with pytest.raises(CheckpointError) as caught:
            convert("theirs.pth", arch, "out")
        if reason in str(caught.value):
            break
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()
    assert not Path("out").exists()
    assert not Path("hacked").exists()


def header(text: object, data: bytes = b"") -> bytes:
    content = text if isinstance(text, bytes) else json.dumps(text).encode()
    return len(content).to_bytes(8, "little") + content + data


F4 = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8 + b"{}",
        header({"w": {**F4, "shape": [10**12]}}, bytes(16)),
        header({"w": {**F4, "data_offsets": [0, 4 * 10**12], "shape": [10**12]}}, bytes(16)),
        header({"w": F4, "v": F4}, bytes(16)),
        header({"w": F4}, bytes(12)),
        header({"w": {**F4, "dtype": "OBJECT"}}, bytes(16)),
        header(b"[" * 100_000),
        pickle.dumps(Evil),
    ],
)
def test_safetensors_that_lie(content):
    Path("theirs.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        convert("theirs.safetensors", "mlp", "out")


def test_a_name_that_is_too_long():
    with pytest.raises(CheckpointError, match=r"x cannot be read \("):
        statedicts.read(Path("x" * 300))


def test_a_pickle_that_poses_as_safetensors():
    save({"a": Evil()}, "theirs.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors .*a pickle"):
        convert("theirs.safetensors", "dcgan", "out")
    assert not Path("hacked").exists()


def test_containers_that_never_end():
    loop: dict[str, object] = {"w": torch.zeros(3)}
    loop["self"] = loop
    loop["list"] = [loop, loop]
    twice: list[object] = [torch.zeros(1)]
    for _ in range(60):  # 2**60 ways lead to the end
        twice = [twice, twice]
    with pytest.raises(CheckpointError, match="no generator of 'mlp'"):
        convert(save({**loop, "twice": twice}), "mlp", "out")
    deep = b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."
    with_pickle(deep)
    with pytest.raises(CheckpointError, match="holds no state dict"):
        convert("theirs.pth", "mlp", "out")


def test_damaged_files_give_our_errors_only():
    net = trained(their_mlp(3, 4, 64), 3)
    save(net.state_dict(), "zip.pth")
    save(net.state_dict(), "older.pth", _use_new_zipfile_serialization=False)
    save_file(net.state_dict(), "new.safetensors")
    chance = random.Random(4)
    refused = 0
    for file in ("zip.pth", "older.pth", "new.safetensors"):
        whole = Path(file).read_bytes()
        for _ in range(50):
            content = bytearray(whole)
            for _ in range(chance.choice((1, 1, 4, 40))):
                place = chance.randrange(min(len(content), chance.choice((200, 1000, 10**6))))
                content[place] = chance.randrange(256)
            if chance.random() < 0.2:
                del content[chance.randrange(len(content)) :]
            Path(file).write_bytes(content)
            try:
                convert(file, "mlp", "out")
            except GanzooError:
                refused += 1
    assert 30 < refused < 150


# -- plug-ins -------------------------------------------------------------------------------------


@pytest.fixture
def plugin():
    @architectures.register("plain")
    class Plain(MLP):
        """Infers nothing."""

        @classmethod
        def infer(cls, shapes, known=None):
            return None

    yield Plain
    architectures.registry.unregister("plain")


def test_an_architecture_that_infers_nothing_is_told_everything(plugin):
    net = trained(their_mlp(4, 5, 64), 4)
    save(net.state_dict())
    with pytest.raises(CheckpointError, match="tell nothing to 'plain'"):
        convert("theirs.pth", "plain", "out")
    arch = {"name": "plain", "hidden": [5]}
    convert("theirs.pth", arch, "out", latent=4, size=8, channels=1)
    assert_same(net, 4)
    convert("theirs.pth", arch, "out", latent=4, channels=64, kind="vector", value_range=(-1, 1))
    assert_same(net, 4)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Inferred(latent=7, values=3 * 32 * 32), "infer.. takes the weights"),
        (Inferred(latent=100, values=3 * 32 * 32, size=(16, 48)), "infer.. takes the weights"),
        (Inferred(100, 3 * 32 * 32, options={"hidden": (3,)}), "build another one"),
    ],
)
def test_authors_are_told_of_wrong_inference(plugin, monkeypatch, answer, fault):
    check_architecture(plugin(hidden=(4,)))
    monkeypatch.setattr(plugin, "infer", classmethod(lambda cls, shapes, known=None: answer))
    with pytest.raises(AssertionError, match=fault):
        check_architecture(plugin(hidden=(4,)))


# -- the command ----------------------------------------------------------------------------------


def test_the_command(capsys):
    net = their_gan()
    save(nested(prefixed(net.state_dict(), "module.")), "whole.pth")
    main(["convert", "whole.pth", "--arch", "dcgan", "-o", "out"])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["in", "the", "file", "shape", "here"]
    assert lines[1].split() == [
        "main.0.weight", "10", "x", "16", "x", "4", "x", "4", "project.conv.weight"
    ]  # fmt: skip
    assert lines[-3:] == [
        "dcgan: 64x64 RGB image, normal latent of shape (10,), from 'models.0.nets.netG'",
        "generator: out",
        "sample it with: ganzoo sample out",
    ]
    assert [line.partition(" (--")[0] for line in err.splitlines()] == [
        "note: Weights do not tell 'activation', taken as relu",
        "note: Weights do not tell 'slope', taken as 0",
        "note: Weights do not tell 'activation_first', taken as no",
        "note: Weights do not tell 'norm_eps', taken as 1e-05",
        "note: Weights do not tell 'strides', taken as 1 2 2 2 2",
        "note: Weights do not tell 'paddings', taken as 0 1 1 1 1",
        "note: Weights do not tell the range of values, taken as -1 to 1",
    ]
    assert_same(net, 10)


def test_options_of_the_command(capsys):
    net = trained(their_mlp(6, 8, 16, 3 * 8 * 8, last=nn.Sigmoid()), 6)
    save({"g": net.state_dict(), "h": net.state_dict() | {"4.bias": torch.zeros(192)}})
    line = ["convert", "--arch=mlp", "--arch.hidden", "8", "16", "theirs.pth", "--out", "out"]
    more = "--key g --size 8 --channels 3 --latent 6 1 --value-range 0 1 --arch.slope 0.2"
    main([*line, *more.split(), "--latent.distribution", "uniform"])
    generator = assert_same(net, 6)
    assert generator.latent.distribution == "uniform"
    assert generator.latent.shape == (6, 1)
    assert capsys.readouterr().err == ""  # nothing was assumed
    main([*line, "--key", "g", "--value-range", "-1", "1"])
    assert Generator.from_pretrained("out").spec.value_range == (-1, 1)
    main([*line, "--key", "g", "--unbounded", "--kind", "vector"])
    assert Generator.from_pretrained("out").spec.value_range is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "Give a file of weights"),
        ("theirs.pth -o out", "Give an architecture (dcgan, mirror, mlp, "),
        ("theirs.pth --arch dcgan", "Give a folder for the generator"),
        ("theirs.pth --arch dcgn -o out", "Did you mean 'dcgan'"),
        ("theirs.pth --arch dcgan --arch.hidden 3 -o out", "has no option 'hidden'"),
        ("theirs.pth --arch dcgan --size 1 2 3 -o out", "a height and a width"),
        ("theirs.pth --arch dcgan --unbounded --value-range 0 1 -o out", "not both"),
        ("theirs.pth --arch dcgan --kind picture -o out", "kind"),
        ("absent.pth --arch dcgan -o out", "There is no file absent.pth"),
    ],
)
def test_mistakes_at_the_command_line(line, reason, capsys):
    save(their_gan().state_dict())
    with pytest.raises(SystemExit) as caught:
        main(["convert", *line.split()])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert reason in err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "foo"}, "There is no kind of samples 'foo'"),
        ({"value_range": (1.0, 0.0)}, "value range"),
        ({"latent": {"shape": [0]}}, "shape"),
        ({"arch": {"name": "mlp", "slope": "steep"}}, "slope"),
    ],
)
def test_a_mistake_of_the_callers_is_not_the_files(settings, told):
    save(their_gan().state_dict())
    with pytest.raises(ConfigError, match=told):
        convert("theirs.pth", folder="out", **{"arch": "dcgan", **settings})
