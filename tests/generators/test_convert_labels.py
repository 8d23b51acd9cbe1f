"""Generators with labels of other programs, written here as their authors do, become bundles."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganzoo import Generator, architectures
from ganzoo.architectures.dcgan import DCGAN
from ganzoo.cli import main
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.errors import CheckpointError, ConfigError, DataError
from ganzoo.generators.convert import convert

LATENT, CLASSES, SIDE = 6, 10, 16
NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EXACT: dict[str, Any] = {"atol": 1e-5, "rtol": 0}


class TheirDCGAN(nn.Module):
    """A conditional DCGAN: the label one-hot after the latent, then transposed convolutions."""

    def __init__(self, classes: int = CLASSES, width: int = 2) -> None:
        super().__init__()
        self.classes = classes
        widths = [LATENT + classes, 4 * width, 2 * width]
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            stride, padding = (2, 1) if index else (1, 0)
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(True),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        code = nn.functional.one_hot(labels, self.classes).float()
        return self.main(torch.cat((z, code), 1)[:, :, None, None])


class TheirEmbedding(nn.Module):
    """Dense layers, fed the latent and a learned vector of the label."""

    def __init__(self, classes: int = CLASSES, width: int = 4) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(classes, width)
        self.model = nn.Sequential(
            nn.Linear(LATENT + width, 12), nn.LeakyReLU(0.2), nn.Linear(12, 64), nn.Tanh()
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        made = self.model(torch.cat((z, self.label_emb(labels)), 1))
        return made.reshape(-1, 1, 8, 8)


def trained(net: nn.Module) -> nn.Module:
    """Give a net weights and running statistics that are not those it began with."""
    torch.manual_seed(3)
    for layer in net.modules():
        if isinstance(layer, (nn.Linear, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.3)
            nn.init.normal_(layer.bias, 0, 0.3)
    net.train()
    with torch.no_grad():
        net(torch.randn(20, LATENT), torch.arange(20) % CLASSES)
    return net.eval()


@pytest.fixture
def theirs() -> nn.Module:
    net = trained(TheirDCGAN())
    torch.save({"netG": net.state_dict(), "epoch": 7}, "theirs.pth")
    return net


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Nets are tiny here: several threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fed(z: Tensor, labels: Tensor, classes: int = CLASSES) -> Tensor:
    """Latents with their one-hot labels, as a check has them."""
    return torch.cat((z, nn.functional.one_hot(labels, classes).float()), 1)


def checked(net: nn.Module, count: int = CLASSES) -> tuple[Tensor, Tensor]:
    z, labels = torch.randn(count, LATENT), torch.arange(count) % CLASSES
    with torch.no_grad():
        return fed(z, labels), net(z, labels)


def assert_same(net: nn.Module, folder: str | Path = "out") -> Generator:
    """Each class of the bundle must be that of the other program's net."""
    generator = Generator.from_pretrained(folder)
    assert generator.spec.classes is not None
    for number, name in enumerate(generator.spec.classes):
        z = torch.randn(3, LATENT)
        with torch.no_grad():
            expected = net(z, torch.full((3,), number))
        for label in (number, name):
            assert torch.allclose(generator.sample(labels=label, latents=z), expected, **EXACT)
    return generator


@pytest.mark.parametrize("classes", [10, NAMES, list(NAMES)], ids=["10", "tuple", "list"])
def test_a_conditional_dcgan(classes: Any, theirs: nn.Module) -> None:
    done = convert("theirs.pth", "dcgan", "out", classes=classes, check=checked(theirs))
    assert done.difference is not None and done.difference < 1e-5
    generator = assert_same(theirs)
    assert generator.latent.shape == (LATENT,)
    assert generator.spec.shape == (3, SIDE, SIDE)
    expected = tuple(map(str, range(10))) if classes == 10 else NAMES
    assert generator.spec.classes == done.config.sample.classes == expected
    assert generator.config.architecture.condition == "concat"
    if classes != 10:
        z = torch.randn(2, LATENT)
        with torch.no_grad():
            assert torch.allclose(
                generator.sample(labels=["cat", "truck"], latents=z),
                theirs(z, torch.tensor([3, 9])),
                **EXACT,
            )


def test_a_dense_generator_with_a_table_of_labels() -> None:
    net = trained(TheirEmbedding())
    torch.save(net.state_dict(), "theirs.pth")
    mapping = {"label_emb": "labels.embedding"}
    done = convert(
        "theirs.pth", "mlp", "out", classes=NAMES, mapping=mapping, check=checked(net), channels=1
    )
    assert done.difference is not None and done.difference < 1e-5
    generator = assert_same(net)
    arch = generator.config.architecture
    assert (arch.condition, arch.label_width, generator.latent.shape) == ("embedding", 4, (LATENT,))


def test_the_check_of_a_single_latent(theirs: nn.Module) -> None:
    z, picture = checked(theirs, 4)
    convert("theirs.pth", "dcgan", "out", classes=10, check=(z[3], picture[3]))
    np.save("z.npy", z[3].numpy()[:, None, None])
    np.save("picture.npy", picture[3].movedim(0, -1).numpy())  # channels last
    convert("theirs.pth", "dcgan", "out", classes=10, check=("z.npy", "picture.npy"))


def test_a_check_of_another_class_fails(theirs: nn.Module) -> None:
    z, picture = checked(theirs)
    other = torch.cat((z[:, :LATENT], z[:, LATENT:].roll(1, 1)), 1)
    with pytest.raises(CheckpointError, match="samples differ from the picture given"):
        convert("theirs.pth", "dcgan", "out", classes=10, check=(other, picture))
    assert not Path("out").exists()


@pytest.mark.parametrize("fault", ["absent", "number", "two", "none", "soft", "first", "short"])
def test_a_check_whose_label_is_not_one_hot(fault: str, theirs: nn.Module) -> None:
    z, picture = checked(theirs)
    latent, code = z.split([LATENT, CLASSES], 1)
    two = code.clone()
    two[4, (code[4].argmax() + 1) % CLASSES] = 1
    given = {
        "absent": latent,
        "number": torch.cat((latent, code.argmax(1)[:, None].float()), 1),
        "two": torch.cat((latent, two), 1),
        "none": torch.cat((latent, torch.zeros_like(code)), 1),
        "soft": torch.cat((latent, 0.9 * code + 0.01), 1),
        "first": torch.cat((code, latent), 1),
        "short": z[:, :-1],
    }[fault]
    with pytest.raises(DataError) as caught:
        convert("theirs.pth", "dcgan", "out", classes=10, check=(given, picture))
    assert str(caught.value) == (
        f"The latent is of shape {tuple(given.shape)}, where the generator has 6 values and 10 "
        f"classes: give 16 values, the last 10 of which are a one-hot label."
    )
    assert not Path("out").exists()


@pytest.mark.parametrize("arch", ["dcgan", "mlp"])
@pytest.mark.parametrize("classes", [16, 17, 100])
def test_a_first_layer_that_is_too_small_for_the_labels(
    arch: str, classes: int, theirs: nn.Module
) -> None:
    if arch == "mlp":
        net = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 64), nn.Tanh())
        torch.save(net.state_dict(), "theirs.pth")
    with pytest.raises(CheckpointError) as caught:
        convert("theirs.pth", arch, "out", classes=classes)
    text = str(caught.value)
    assert f"its first layer has 16 inputs, of which a label takes {classes}: none are" in text
    assert not Path("out").exists()


def test_without_a_word_labels_are_part_of_the_latent(theirs: nn.Module) -> None:
    convert("theirs.pth", "dcgan", "out")
    generator = Generator.from_pretrained("out")
    assert generator.latent.shape == (LATENT + CLASSES,) and generator.spec.classes is None
    z, picture = checked(theirs)
    assert torch.allclose(generator.sample(latents=z), picture, **EXACT)


class Plain(architectures.Architecture):
    """An architecture that has no labels."""

    def generator(self, spec: SampleSpec, latent: LatentSpec) -> nn.Module:
        return DCGAN().generator(spec, latent)

    def discriminator(self, spec: SampleSpec) -> nn.Module:
        return DCGAN().discriminator(spec)


def test_an_architecture_without_labels(theirs: nn.Module) -> None:
    architectures.register("test-plain")(Plain)
    try:
        with pytest.raises(ConfigError, match=r"'test-plain' makes no use of labels\. Leave class"):
            convert("theirs.pth", "test-plain", "out", classes=10)
    finally:
        architectures.registry.unregister("test-plain")


@pytest.mark.parametrize(
    "classes",
    [
        0,
        1,
        -3,
        True,
        "cat,dog",
        "cat",
        (),
        ("cat",),
        ("cat", "dog", "cat"),
        (0, 1),
        ("a", " "),
        2.5,
    ],
)
def test_what_is_no_list_of_classes(classes: Any, theirs: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"two names or more, each once, or how many .* Give 10"):
        convert("theirs.pth", "dcgan", "out", classes=classes)


# -- on the command line --------------------------------------------------------------------------


def on_a_line(*tokens: str) -> None:
    main(["convert", "theirs.pth", "--arch", "dcgan", "--out", "out", *tokens])


@pytest.mark.parametrize(
    ("words", "expected"),
    [("10", tuple(map(str, range(10)))), (" , ".join(NAMES), NAMES), (",".join(NAMES), NAMES)],
)
def test_classes_on_the_command_line(
    words: str, expected: tuple[str, ...], theirs: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    z, picture = checked(theirs)
    np.save("z.npy", z.numpy())
    np.save("picture.npy", picture.numpy())
    on_a_line("--classes", words, "--check", "z.npy", "picture.npy")
    assert "latent of shape (6,)" in capsys.readouterr().out
    assert assert_same(theirs).spec.classes == expected
    main(["sample", "out", "--labels", expected[3], "--count", "2", "--seed", "1"])
    assert Path("samples.png").is_file()


@pytest.mark.parametrize("words", ["1", "0", "cat", "cat,cat", "cat,", ","])
def test_no_classes_on_the_command_line(
    words: str, theirs: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        on_a_line("--classes", words)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: Classes are two names or more, each once, or how many there are")
    assert err.count("\n") == 1 and not Path("out").exists()
