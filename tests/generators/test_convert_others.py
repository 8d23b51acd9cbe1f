"""What weights of other programs do not tell: variants of nets, checks, siblings, other names."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganzoo import Generator, Trainer
from ganzoo.cli import main
from ganzoo.errors import CheckpointError, ConfigError, DataError, GanzooError
from ganzoo.generators.convert import convert

Z = torch.randn(5, 10, generator=torch.Generator().manual_seed(8))


def their_gan(
    *,
    widths: tuple[int, ...] = (16, 8, 4),
    channels: int = 1,
    shape: tuple[tuple[int, ...], ...] = ((4, 1, 0), (4, 2, 1), (4, 2, 1), (4, 2, 1)),
    act=nn.ReLU,
    norm=nn.BatchNorm2d,
    first: bool = False,
    bias: bool = False,
    last_bias: bool = False,
    end=nn.Tanh,
) -> nn.Sequential:
    """A DCGAN as some program has it, trained a little; latents (N, 10, 1, 1)."""
    torch.manual_seed(3)
    layers: list[nn.Module] = []
    every = [10, *widths, channels]
    for index, ((inputs, outputs), way) in enumerate(zip(pairwise(every), shape, strict=True)):
        last = index == len(widths)
        layers.append(nn.ConvTranspose2d(inputs, outputs, *way, bias=last_bias if last else bias))
        if last:
            layers.append(end())
        else:
            after = [norm(outputs), act()] if norm else [act()]
            layers += after[::-1] if first else after
    net = nn.Sequential(*layers)
    for layer in net:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        for name in ("weight", "bias"):
            value = getattr(layer, name, None)
            if value is not None and value.dim() == 1:
                nn.init.normal_(value, float(name == "weight"), 0.3)
    net.train()
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(16, 10, 1, 1))
    return net.eval()


def made(net: nn.Module, z: Tensor = Z) -> Tensor:
    with torch.no_grad():
        return net(z[:, :, None, None])


def save(value: object, name: str = "theirs.pth") -> str:
    torch.save(value, name)
    return name


def assert_same(picture: Tensor, folder: str = "out") -> Generator:
    """The bundle must make the picture, and be what it was after saving it once more."""
    generator = Generator.from_pretrained(folder)
    torch.testing.assert_close(generator.sample(len(Z), latents=Z), picture, atol=1e-5, rtol=0)
    assert picture.std() > 0.01
    generator.save_pretrained("again")
    again = Generator.from_pretrained("again")
    assert again.config.architecture == generator.config.architecture
    assert torch.equal(again.sample(5, latents=Z), generator.sample(5, latents=Z))
    return generator


def group_norm(groups: int):
    return lambda channels: nn.GroupNorm(groups, channels)


def batch_norm(eps: float):
    return lambda channels: nn.BatchNorm2d(channels, eps)


def leaky(slope: float):
    return lambda: nn.LeakyReLU(slope)


UP = (4, 2, 1)
VARIANTS = {
    "slope .2": ({"act": leaky(0.2)}, {"slope": 0.2}),
    "slope .01": ({"act": leaky(0.01)}, {"slope": 0.01}),
    "slope .3 and eps .001": (
        {"act": leaky(0.3), "norm": batch_norm(1e-3)},
        {"slope": 0.3, "norm_eps": 1e-3},
    ),
    "elu": ({"act": nn.ELU}, {"activation": "elu"}),
    "selu before norm": (
        {"act": nn.SELU, "first": True},
        {"activation": "selu", "activation_first": True},
    ),
    "tanh inside": ({"act": nn.Tanh}, {"activation": "tanh"}),
    "gelu": ({"act": nn.GELU}, {"activation": "gelu"}),
    "silu": ({"act": nn.SiLU}, {"activation": "silu"}),
    "eps .8": ({"norm": batch_norm(0.8)}, {"norm_eps": 0.8}),
    "relu before norm": ({"first": True}, {"activation_first": True}),
    "no norm": ({"norm": None}, {}),
    "instance norm": ({"norm": nn.InstanceNorm2d}, {"norm": "instance"}),
    "instance norm with weights": (
        {"norm": lambda channels: nn.InstanceNorm2d(channels, affine=True)},
        {},
    ),
    "group norm": ({"norm": group_norm(2)}, {"norm": "group", "groups": 2}),
    "biases": ({"bias": True, "last_bias": True}, {}),
    "bias of the last layer": ({"last_bias": True}, {}),
    "colour, 128 px": (
        {"channels": 3, "widths": (32, 16, 8, 4, 2), "shape": ((4, 1, 0), *[UP] * 5)},
        {},
    ),
    "odd widths": ({"widths": (12, 7, 5)}, {}),
    "1-7-14-28": ({"widths": (8, 4), "shape": ((7, 1, 0), UP, UP)}, {}),
    "1-4-7-14-28 by a kernel of 3": ({"shape": ((4, 1, 0), (3, 2, 1), UP, UP)}, {}),
    "1-4-7-14-28 by a stride of 1": (
        {"shape": ((4, 1, 0), (4, 1, 0), UP, UP)},
        {"strides": (1, 1, 2, 2), "paddings": (0, 0, 1, 1)},
    ),
    "stride 2 without padding": (
        {"shape": ((3, 2, 0), (4, 1, 0), (3, 2, 0), (4, 2, 0))},
        {"strides": (1, 1, 2, 2), "paddings": (0, 0, 0, 0)},
    ),
    "4-10-22-46": (
        {"shape": ((4, 1, 0), (4, 2, 0), (4, 2, 0), (4, 2, 0))},
        {"strides": (1, 2, 2, 2), "paddings": (0, 0, 0, 0)},
    ),
    "output paddings": ({"shape": ((4, 1, 0), *[(5, 2, 2, 1)] * 3)}, {}),
    "a last kernel of 1 that cuts": (
        {"shape": ((4, 1, 0), UP, UP, (1, 1, 2)), "widths": (16, 8, 4)},
        {"strides": (1, 2, 2, 1), "paddings": (0, 1, 1, 2)},
    ),
    "all layers with padding": (
        {"shape": ((4, 2, 1), UP, UP, UP)},
        {"strides": (2, 2, 2, 2), "paddings": (1, 1, 1, 1)},
    ),
    "kernels of 6 and 2": ({"shape": ((4, 1, 0), (6, 2, 2), (2, 2, 0), UP)}, {}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_dcgan(name):
    build, options = VARIANTS[name]
    net = their_gan(**build)
    done = convert(
        save(net.state_dict()), {"name": "dcgan", **options}, "out", check=(Z, made(net))
    )
    assert done.difference is not None
    assert done.difference < 1e-5
    generator = assert_same(made(net))
    config = json.loads(Path("out/config.json").read_text())["architecture"]
    for option, value in options.items():
        assert config[option] == (list(value) if isinstance(value, tuple) else value)
        assert not any(f"'{option}'" in note for note in done.notes)
    # Such nets train too, and the discriminator goes the same way back.
    logits = generator.config.architecture.discriminator(generator.spec)(made(net))
    assert logits.shape == (5,)


@pytest.mark.parametrize("name", ["1-4-7-14-28 by a stride of 1", "group norm", "selu before norm"])
def test_variants_train(name):
    build, options = VARIANTS[name]
    net = their_gan(**build)
    convert(save(net.state_dict()), {"name": "dcgan", **options}, "out")
    arch = Generator.from_pretrained("out").config.architecture
    data = np.random.default_rng(0).integers(0, 256, (32, 28, 28), dtype=np.uint8)
    Trainer(arch, data, steps=2, batch_size=8, latent=10, progress=False, out="run").fit()
    size = Generator.from_pretrained("run").module(torch.zeros(1, 10)).shape[-2:]
    assert tuple(size) == tuple(made(net).shape[-2:])


def test_what_is_assumed_is_said_with_its_option():
    done = convert(save(their_gan().state_dict()), "dcgan", "out")
    told = " ".join(done.notes)
    for flag in ("slope", "activation", "activation-first", "norm-eps", "strides", "paddings"):
        assert f"--arch.{flag})" in told
    assert "--value-range" in told
    none = convert(save(their_gan(norm=None).state_dict()), "dcgan", "out")
    assert "'norm', taken as none (--arch.norm)" in " ".join(none.notes)
    assert "norm_eps" not in " ".join(none.notes)


# A torchgan DCGAN: leaky ReLU throughout, a bias in the last layer alone, without batch norm biases
# everywhere; stages are sequences in a sequence called "model".


class TorchganLike(nn.Module):
    def __init__(self, size: int, channels: int, step: int, norm: bool) -> None:
        super().__init__()
        count = size.bit_length() - 4
        widths = [10, *(step * 2**index for index in reversed(range(count + 1)))]
        stages = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            way = (4, 2, 1) if index else (4, 1, 0)
            conv = nn.ConvTranspose2d(inputs, outputs, *way, bias=not norm)
            parts = [conv, nn.BatchNorm2d(outputs)] if norm else [conv]
            stages.append(nn.Sequential(*parts, nn.LeakyReLU(0.2)))
        last = nn.ConvTranspose2d(step, channels, 4, 2, 1, bias=True)
        self.model = nn.Sequential(*stages, nn.Sequential(last, nn.Tanh()))

    def forward(self, z: Tensor) -> Tensor:
        return self.model(z.reshape(len(z), -1, 1, 1))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (64, 3), (128, 1)])
def test_dcgans_of_torchgan(size, channels, norm):
    torch.manual_seed(1)
    net = TorchganLike(size, channels, 4, norm)
    for layer in net.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight)
    net(torch.randn(8, 10))
    net.eval()
    with torch.no_grad():
        picture = net(Z)
    convert(save({"generator": net.state_dict()}), {"name": "dcgan", "slope": 0.2}, "out")
    assert_same(picture)


# -- the check ------------------------------------------------------------------------------------

UNTOLD = {
    "slope .2": {"act": leaky(0.2)},
    "elu": {"act": nn.ELU},
    "tanh": {"act": nn.Tanh},
    "eps .001": {"norm": batch_norm(0.8), "act": leaky(0.3)},
    "order": {"first": True},
    "order and slope": {"first": True, "act": leaky(0.2)},
    "sigmoid": {"end": nn.Sigmoid},
    "no end": {"end": nn.Identity},
    "instance norm": {"norm": nn.InstanceNorm2d},
    "group norm": {"norm": group_norm(4)},
    "1-4-7-14-28": {"shape": ((4, 1, 0), (4, 1, 0), UP, UP)},
    "1-4-8-14-28": {"shape": ((4, 1, 0), UP, (4, 2, 2), UP)},
    "3-6-13-28": {"shape": ((3, 2, 0), (4, 1, 0), (3, 2, 0), (4, 2, 0))},
    "2-4-8-16": {"shape": ((4, 2, 1), UP, UP, UP)},
}


@pytest.mark.parametrize("name", UNTOLD)
def test_a_check_names_the_setting_and_following_it_works(name):
    net = their_gan(**UNTOLD[name])
    save(net.state_dict())
    np.save("z.npy", Z.numpy())
    np.save("x.npy", made(net).numpy())
    with pytest.raises(CheckpointError) as caught:
        convert("theirs.pth", "dcgan", "out", check=("z.npy", "x.npy"))
    message = str(caught.value)
    assert not Path("out").exists()
    flags = re.search(r" with (--.*) \(in Python, (.*)\): say so\.$", message)
    assert flags, message
    line = "convert theirs.pth --arch dcgan -o out --check z.npy x.npy"
    main([*line.split(), *shlex.split(flags[1])])
    assert_same(made(net))
    arguments = eval(f"dict({flags[2]})")  # what a reader would paste
    done = convert("theirs.pth", **{"arch": "dcgan", "folder": "other", **arguments})
    assert_same(made(net), "other")
    assert done.difference is None


def test_a_check_that_nothing_passes_says_what_may_differ():
    net = their_gan(act=nn.Softplus)
    with pytest.raises(CheckpointError, match="no usual setting") as caught:
        convert(save(net.state_dict()), "dcgan", "out", check=(Z, made(net)))
    for flag in ("--arch.slope", "--arch.activation-first", "--arch.norm-eps", "--arch.strides"):
        assert flag in str(caught.value)
    other = made(net, Z + 1)
    with pytest.raises(CheckpointError, match="up to"):
        convert("theirs.pth", {"name": "dcgan", "slope": 0.1}, "out", check=(Z, other))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("z", "picture"),
    [
        (lambda z: z, lambda x: x),
        (lambda z: z[:, :, None, None], lambda x: x),
        (lambda z: z[0], lambda x: x[0]),
        (lambda z: z[:1], lambda x: x[0]),
        (lambda z: z[0][:, None, None], lambda x: x[:1]),
        (lambda z: z, lambda x: x.movedim(1, -1)),
        (lambda z: z[0], lambda x: x[0].movedim(0, -1)),
        (lambda z: z.double(), lambda x: x.double()),
        (lambda z: z.numpy(), lambda x: x.numpy()),
        (lambda z: z.numpy().astype(">f4"), lambda x: x.numpy().astype(">f8")),
        (lambda z: z.tolist(), lambda x: x.tolist()),
        (lambda z: z, lambda x: x.flatten(1)),
    ],
)
def test_forms_of_a_check(z, picture):
    net = their_gan(channels=3)
    done = convert(save(net.state_dict()), "dcgan", "out", check=(z(Z), picture(made(net))))
    assert done.difference < 1e-5
    assert any("differ from the picture given by" in note for note in done.notes)


def test_a_greyscale_picture_may_lack_its_axis():
    net = their_gan()
    convert(save(net.state_dict()), "dcgan", "out", check=(Z[0], made(net)[0, 0]))
    convert("theirs.pth", "dcgan", "out", check=(Z, made(net)[:, 0]))


class Evil:
    def __reduce__(self):
        return eval, ("open('hacked', 'w')",)


def object_array() -> None:
    np.save("bad.npy", np.array([Evil()], dtype=object), allow_pickle=True)


def cut() -> None:
    np.save("bad.npy", np.zeros((3, 100), np.float32))
    Path("bad.npy").write_bytes(Path("bad.npy").read_bytes()[:200])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: None, "is not there"),
        (lambda: Path("bad.npy").mkdir(), "is a folder"),
        (lambda: Path("bad.npy").touch(), "is no .npy file"),
        (lambda: Path("bad.npy").write_text("1 2 3"), "is no .npy file"),
        (lambda: np.save("bad.npy", np.zeros((5, 10), np.int64)), "is of type int64"),
        (lambda: np.save("bad.npy", np.zeros((5, 10), np.uint8)), "is of type uint8"),
        (lambda: np.save("bad.npy", np.zeros((5, 10), complex)), "is of type complex128"),
        (lambda: np.save("bad.npy", np.array(["a", "b"])), "is of type <U1"),
        (lambda: np.save("bad.npy", np.full((5, 10), np.nan)), "not finite"),
        (lambda: np.save("bad.npy", np.zeros((0, 10))), "has no values"),
        (object_array, "Python objects, which are never loaded"),
        (lambda: torch.save(Evil(), "bad.npy"), "file of torch.save"),
        (lambda: Path("bad.npy").write_bytes(b"\x80\x04K\x01."), "is a pickle"),
        (cut, "damaged or cut off"),
    ],
)
def test_files_that_are_no_check(make, reason):
    net = their_gan()
    save(net.state_dict())
    make()
    for check in (("bad.npy", made(net)), (Z, "bad.npy")):
        with pytest.raises(DataError) as caught:
            convert("theirs.pth", "dcgan", "out", check=check)
        assert reason in str(caught.value)
    assert not Path("out").exists()
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ((Z[:, :9], None), "where the generator is fed 10 values"),
        ((Z[None], None), "where the generator is fed 10 values"),
        ((Z, torch.zeros(4, 1, 32, 32)), "5 latents and 4 pictures"),
        ((Z, torch.zeros(5, 3, 32, 32)), "the picture given is of shape (5, 3, 32, 32)"),
        ((Z, torch.zeros(5, 1, 500, 3)), "the picture given is of shape (5, 1, 500, 3)"),
        ((Z, torch.zeros(7)), "5 latents and 7 pictures"),
        ((Z,), "two .npy files or arrays"),
        ("z.npy", "two .npy files or arrays"),
        (7, "two .npy files or arrays"),
        (([[1.0], [1.0, 2.0]], Z), "rows have different lengths"),
    ],
)
def test_checks_of_other_shapes(check, reason):
    net = their_gan()
    save(net.state_dict())
    if isinstance(check, tuple) and check[-1] is None:
        check = check[0], made(net)
    with pytest.raises(GanzooError) as caught:
        convert("theirs.pth", "dcgan", "out", check=check)
    assert reason in str(caught.value)
    assert not Path("out").exists()


def test_a_picture_that_was_scaled_is_told():
    net = their_gan()
    save(net.state_dict())
    for picture, told in (
        ((made(net) + 1) / 2, "brought from -1..1 to 0..1"),
        ((made(net) + 1) * 127.5, "brought from -1..1 to 0..255"),
    ):
        with pytest.raises(CheckpointError, match=told):
            convert("theirs.pth", "dcgan", "out", check=(Z, picture))


@pytest.mark.parametrize(
    ("act", "end", "name"),
    [
        (nn.ReLU(), nn.Tanh(), "mlp"),
        (nn.ELU(), nn.Tanh(), "mlp"),
        (nn.LeakyReLU(0.01), nn.Sigmoid(), "mlp"),
        (nn.Tanh(), nn.Identity(), "mlp"),
        (nn.GELU(), nn.Tanh(), "mlp"),
        (nn.ReLU(), nn.Tanh(), "mirror"),
        (nn.ReLU(), nn.Sigmoid(), "mirror"),
    ],
)
def test_dense_nets_are_checked_too(act, end, name):
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(10, 12), act, nn.Linear(12, 64), end)
    with torch.no_grad():
        picture = net(Z).view(5, 1, 8, 8)
    save(net.state_dict())
    with pytest.raises(CheckpointError, match=r"with --.*say so") as caught:
        convert("theirs.pth", name, "out", check=(Z, picture))
    arguments = eval(f"dict({re.search('in Python, (.*)[)]: say', str(caught.value))[1]})")
    convert("theirs.pth", **{"arch": name, "folder": "out", **arguments}, check=(Z, picture))
    assert_same(picture)


def test_a_size_that_weights_do_not_tell_is_found():
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(10, 12), nn.LeakyReLU(0.2), nn.Linear(12, 96), nn.Tanh())
    with torch.no_grad():
        picture = net(Z).view(5, 3, 4, 8)
    with pytest.raises(CheckpointError) as caught:
        convert(save(net.state_dict()), "mlp", "out", check=(Z, picture))
    assert "--size 4 8 --channels 3" in str(caught.value)
    convert("theirs.pth", "mlp", "out", size=(4, 8), channels=3, check=(Z, picture))
    assert_same(picture)


# -- siblings of the generator --------------------------------------------------------------------


def dense(*widths: int) -> dict[str, Tensor]:
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())]).state_dict()


def conv_net(channels: int = 3) -> dict[str, Tensor]:
    layers = [nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise((channels, 8, 16, 32))]
    return nn.Sequential(*layers, nn.Conv2d(32, 1, 4)).state_dict()


def synthesis() -> dict[str, Tensor]:
    return {
        "const": torch.zeros(1, 8, 4, 4),
        "b4.conv.weight": torch.zeros(8, 8, 3, 3),
        "b4.conv.affine.weight": torch.zeros(8, 8),
        "b4.torgb.weight": torch.zeros(3, 8, 1, 1),
    }


def under(lead: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{lead}.{name}": value for name, value in state.items()}


def encoder() -> dict[str, Tensor]:
    """An encoder whose layers, read backwards, are those of a generator."""
    parts: list[nn.Module] = []
    for a, b in pairwise((3, 4, 8, 16)):
        parts += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(16, 10, 4, bias=False)).state_dict()


SIBLINGS = {
    "S beside G": ("mlp", {"GAN": {**under("S.net", dense(*[16] * 9)), **under("G", synthesis())}}),
    "S and its average": (
        "mlp",
        {
            **under("S.net", dense(*[16] * 9)),
            **under("SE.net", dense(*[16] * 9)),
            **under("G", synthesis()),
        },
    ),
    "mapping in a generator": (
        "mlp",
        {**under("mapping", dense(16, 16, 16)), **under("synthesis", synthesis())},
    ),
    "mapping in G_ema": (
        "mlp",
        {
            "G_ema": {**under("mapping", dense(16, 16, 16)), **under("synthesis", synthesis())},
            "D": conv_net(),
        },
    ),
    "a mapping network alone": ("mlp", under("mapping", dense(16, 16, 16))),
    "a nameless mapping network": ("mlp", dense(*[16] * 9)),
    "style in two dicts": ("mlp", {"style": dense(16, 16, 16, 16), "generator": synthesis()}),
    "a discriminator alone": ("mlp", {"netD": dense(784, 32, 1)}),
    "a nameless discriminator": ("mlp", dense(784, 256, 1)),
    "a discriminator beside another generator": (
        "mlp",
        {"discriminator": dense(64, 8, 1), "generator": conv_net()},
    ),
    "an encoder of vectors": ("mlp", {"encoder": dense(64, 16, 4)}),
    "a classifier head": (
        "mlp",
        {**under("features", conv_net()), **under("classifier", dense(32, 16, 10))},
    ),
    "a head of wide layers": (
        "mlp",
        {**under("features", conv_net()), **under("head", dense(32, 64, 64))},
    ),
    "a nameless part": ("mlp", {**under("a", conv_net()), **under("b", dense(4, 16, 64))}),
    "a part of a generator": (
        "mlp",
        {**under("generator.a", conv_net()), **under("generator.b", dense(4, 16, 64))},
    ),
    "mirror, a mapping network": ("mirror", under("mapping", dense(16, 16, 16))),
    "a convolutional discriminator": ("dcgan", {"netD": conv_net()}),
    "a nameless one without biases": (
        "dcgan",
        {n: v for n, v in conv_net().items() if n.endswith("weight")},
    ),
    "a convolutional encoder": ("dcgan", encoder()),
    "an encoder in a part": (
        "dcgan",
        {**under("enc", encoder()), **under("head", dense(10, 4, 2))},
    ),
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_what_is_no_generator_is_not_taken_for_one(name):
    arch, content = SIBLINGS[name]
    with pytest.raises(CheckpointError) as caught:
        convert(save(content), arch, "out")
    assert not Path("out").exists()
    assert str(caught.value).startswith(f"theirs.pth holds no generator of '{arch}': ")
    if key := re.search(r"say so with --key (\S+)\.$", str(caught.value)):
        convert("theirs.pth", arch, "out", key=key[1])  # the way on works
    else:
        assert arch == "dcgan"


def test_a_generator_beside_its_siblings_is_taken():
    g, e = dense(4, 16, 64), dense(64, 16, 4)
    assert convert(save({"encoder": e, "decoder": g}), "mlp", "out").key == "decoder"
    assert convert(save({"e": e, "net": g}), "mlp", "out").key == "net"
    flat = {**under("generator", g), **under("discriminator", conv_net())}
    assert convert(save(flat), "mlp", "out").key == "generator"
    mixed = {"G": their_gan().state_dict(), "E": encoder(), "D": conv_net(), "M": dense(8, 8, 8, 8)}
    assert convert(save(mixed), "dcgan", "out").key == "G"
    # A toy: as narrow as the plane, which the caller says.
    assert convert(save(dense(8, 4, 2)), "mlp", "out", kind="vector").key == "."


def test_the_nearest_difference_comes_first_and_alone():
    state = their_gan().state_dict()
    state["1.extra"] = torch.zeros(3)
    content = {"a": dense(3, 4), "D": conv_net(), "netG": state, "M": dense(8, 8, 8, 8)}
    with pytest.raises(CheckpointError) as caught:
        convert(save(content), "dcgan", "out")
    assert str(caught.value).startswith(
        "theirs.pth holds no generator of 'dcgan': 'netG': it has '1' with"
    )
    assert "'D'" not in str(caught.value)


def blocks() -> dict[str, Tensor]:
    """A dense layer, then convolutions and norms in a part of their own."""
    bn = under("blocks.0", nn.BatchNorm2d(16).state_dict())
    conv = under("blocks.2", nn.Conv2d(16, 16, 3).state_dict())
    last = under("blocks.5", nn.Conv2d(16, 1, 3).state_dict())
    return {**under("l1", dense(10, 16 * 64)), **bn, **conv, **last}


def normed() -> dict[str, Tensor]:
    net = their_gan()
    for part in net.modules():
        if isinstance(part, nn.ConvTranspose2d):
            nn.utils.parametrizations.spectral_norm(part)
    return net.state_dict()


def named() -> dict[str, dict[str, Tensor]]:
    return {"G": normed()}


@pytest.mark.parametrize("arch", ["mlp", "dcgan", "upsample", "mirror"])
@pytest.mark.parametrize("make", [blocks, normed, named], ids=lambda f: f.__name__)
def test_parts_of_what_does_not_fit_are_not_guessed_at(make, arch):
    with pytest.raises(CheckpointError) as caught:
        convert(save(make()), arch, "out")
    told = str(caught.value)
    assert " more." not in told and "'.'" not in told
    assert "cannot do a" not in told and "values, which is no" not in told
    assert "'blocks'" not in told and "'0'" not in told


@pytest.mark.parametrize("place", ["", "net", "net.g"])
def test_the_key_that_is_named_is_taken(place):
    state = under(place, dense(784, 32, 10)) if place else dense(784, 32, 10)
    with pytest.raises(CheckpointError, match="say so with --key") as caught:
        convert(save(state), "mlp", "out")
    key = str(caught.value).rpartition("--key ")[2]
    for copied in (key, key.removesuffix(".")) if key == ".." else (key.removesuffix("."),):
        done = convert(save(state), "mlp", "out", key=copied, kind="vector")
        assert done.config.sample.numel == 10


# -- other names ----------------------------------------------------------------------------------


def keras(state: dict[str, Tensor], *, turn: bool, form: str = "{}") -> dict[str, Tensor]:
    """A state dict of torch with Keras' names, and its order of axes."""
    names = {"running_mean": "moving_mean", "running_var": "moving_variance", "bias": "bias"}
    norms = {n.rpartition(".")[0] for n in state if n.endswith("running_mean")}
    found = {}
    for name, value in state.items():
        layer, _, last = name.rpartition(".")
        if last == "num_batches_tracked":
            continue
        if layer in norms:
            last = {"weight": "gamma", "bias": "beta"}.get(last, names.get(last, last))
        elif last == "weight":
            last = "kernel"
            if turn:
                value = value.t() if value.dim() == 2 else value.permute(2, 3, 1, 0)
        found[form.format(f"layer{layer}.{last}")] = value.clone()
    return found


def mlp() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(10, 12), nn.LeakyReLU(0.2), nn.Linear(12, 20), nn.LeakyReLU(0.2),
        nn.Linear(20, 64), nn.Tanh(),
    )  # fmt: skip


@pytest.mark.parametrize("turn", [True, False])
@pytest.mark.parametrize("form", ["{}", "{}:0", "model/{}:0"])
@pytest.mark.parametrize("arch", ["mlp", "dcgan"])
def test_names_of_keras(arch, form, turn):
    net = mlp() if arch == "mlp" else their_gan(last_bias=True)
    with torch.no_grad():
        picture = net(Z).view(5, 1, 8, 8) if arch == "mlp" else made(net)
    state = keras(net.state_dict(), turn=turn, form=form)
    if "/" in form:
        state = {n.replace(".", "/"): v for n, v in state.items()}
    done = convert(save(state), arch, "out")
    assert_same(picture)
    note = next(note for note in done.notes if "'kernel' as 'weight'" in note)
    assert "--mapping" in note
    assert ("turned" in note) == turn
    assert [pair.theirs for pair in done.pairs] == list(state)


NAMES = {
    "w and b": {"weight": "w", "bias": "b"},
    "W and B": {"weight": "W", "bias": "B"},
    "kernel and biases": {"weight": "kernel", "bias": "biases"},
    "kernel and offset": {"weight": "kernel", "bias": "offset"},
}


@pytest.mark.parametrize("name", NAMES)
def test_other_names_that_are_known(name):
    net = mlp()
    state = {}
    for tensor, value in net.state_dict().items():
        layer, _, last = tensor.rpartition(".")
        state[f"{layer}.{NAMES[name][last]}"] = value
    convert(save(state), "mlp", "out")
    with torch.no_grad():
        assert_same(net(Z).view(5, 1, 8, 8))


UNKNOWN = {
    "matrix and shift": lambda n: n.replace("weight", "matrix").replace("bias", "shift"),
    "underscores": lambda n: n.replace(".", "_"),
    "one word": lambda n: n.replace(".weight", "W").replace(".bias", "B"),
    "German": lambda n: n.replace("weight", "gewicht").replace("bias", "versatz"),
    "weight and shift": lambda n: n.replace("bias", "shift"),
    "with a tail": lambda n: f"{n}.data",
    "in front": lambda n: ".".join(n.split(".")[::-1]),
    "param": lambda n: n.replace("weight", "param0").replace("bias", "param1"),
    "numbers": lambda n: n.replace("weight", "0").replace("bias", "1"),
    "theta": lambda n: n.replace("weight", "theta").replace("bias", "theta0"),
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("arch", ["mlp", "dcgan"])
def test_unknown_names_are_refused_with_a_mapping_that_works(name, arch):
    net = mlp() if arch == "mlp" else their_gan(norm=None, bias=True, last_bias=True)
    with torch.no_grad():
        picture = net(Z).view(5, 1, 8, 8) if arch == "mlp" else made(net)
    state = {UNKNOWN[name](n): v for n, v in net.state_dict().items()}
    save(state)
    arguments: dict[str, object] = {}
    try:
        convert("theirs.pth", **{"arch": arch, "folder": "out", **arguments})
    except ConfigError as error:
        assert "--mapping FILE.yaml" in str(error)
        lines = re.findall(r"'([^' ]+: [^' ]+)'", str(error))
        assert len(lines) == len(state)
        Path("names.yaml").write_text("\n".join(lines))
        convert("theirs.pth", **{"arch": arch, "folder": "out", **arguments}, mapping="names.yaml")
    assert_same(picture)


@pytest.mark.parametrize(
    ("state", "arch", "reason"),
    [
        (
            {"a.kernel": torch.zeros(8, 8), "b.kernel": torch.zeros(8, 8)},
            "mlp",
            "nothing tells whether its kernels are (inputs, outputs)",
        ),
        (
            {"a.kernel": torch.zeros(10, 192), "a.bias": torch.zeros(192)},
            "mlp",
            "its dense layer makes maps as (height, width, channels)",
        ),
        (
            {"d.kernel": torch.zeros(10, 64), "c.kernel": torch.zeros(4, 4, 8, 4)},
            "dcgan",
            "a dense layer, where 'dcgan' has transposed convolutions alone",
        ),
        (
            {"0.weight_orig": torch.zeros(10, 8, 4, 4), "0.weight_u": torch.zeros(8)},
            "dcgan",
            "take it off each layer",
        ),
        (
            {"0.parametrizations.weight.original0": torch.zeros(10, 8, 4, 4)},
            "dcgan",
            "take it off each layer",
        ),
    ],
)
def test_what_cannot_be_read_soundly_is_refused(state, arch, reason):
    with pytest.raises(CheckpointError) as caught:
        convert(save(state), arch, "out")
    assert reason in str(caught.value)


# -- at the command line --------------------------------------------------------------------------


def test_the_check_of_the_command(capsys):
    net = their_gan(act=leaky(0.2))
    save(net.state_dict())
    np.save("z.npy", Z[0].numpy())
    np.save("x.npy", made(net)[0].numpy())
    line = ["convert", "theirs.pth", "--arch", "dcgan", "--check", "z.npy", "x.npy", "-o", "out"]
    with pytest.raises(SystemExit):
        main(line)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--arch.slope 0.2" in err
    main([*line, "--arch.slope", "0.2"])
    assert "note: Samples differ from the picture given by " in capsys.readouterr().err
    shape = "--arch.strides 1 2 2 2 --arch.paddings 0 1 1 1 --arch.slope 0.2"
    main([*line, *shape.split()])
    assert_same(made(net))
