"""Nets leave ganzoo by trace, torch.export and ONNX, for any number of samples."""

import importlib.util
import re
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from ganzoo import architectures
from ganzoo.architectures import Architecture
from ganzoo.core.spec import LatentSpec, SampleSpec
from ganzoo.testing import check_architecture

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("cat", "dog", "frog")
VECTOR = SampleSpec(kind="vector", shape=(3,), value_range=None)
AUDIO = SampleSpec(kind="audio", shape=(2, 50), value_range=(-3.0, 0.5))
SEQUENCE = SampleSpec(kind="sequence", shape=(5, 7), value_range=(0.0, 1.0))
MAP = LatentSpec(shape=(2, 3, 4), distribution="uniform")
# Each with what it is built with: pictures that are not square, colours, labels, latent maps.
BUILT = {
    "dcgan": ("dcgan", {"channels": 4}, SampleSpec(shape=(1, 32, 32)), LatentSpec(shape=(8,))),
    "dcgan-wide": ("dcgan", {"channels": 4}, SampleSpec(shape=(3, 16, 64)), MAP),
    "dcgan-norm": (
        "dcgan",
        {"channels": 4, "d_norm_input": True},
        SampleSpec(shape=(3, 64, 32), classes=CLASSES),
        LatentSpec(shape=(8,)),
    ),
    "mlp": ("mlp", {"hidden": (16,)}, SampleSpec(shape=(1, 28, 28)), LatentSpec(shape=(8,))),
    "mlp-vector": ("mlp", {"hidden": (16,)}, VECTOR, LatentSpec(shape=(1,))),
    "mlp-audio": ("mlp", {"hidden": (16, 8)}, AUDIO, MAP),
    "mlp-sequence": ("mlp", {"hidden": (16,)}, SEQUENCE, LatentSpec(shape=(8,))),
    "mirror": ("mirror", {"hidden": (16,)}, SampleSpec(shape=(3, 9, 5)), LatentSpec(shape=(8,))),
    "mirror-relu": ("mirror", {"activation": "relu"}, VECTOR, MAP),
    "upsample": (
        "upsample",
        {"channels": 8, "d_channels": 4},
        SampleSpec(shape=(1, 20, 20)),
        LatentSpec(shape=(8,)),
    ),
    "upsample-wide": (
        "upsample",
        {"channels": 8, "d_channels": 4},
        SampleSpec(shape=(3, 20, 40), classes=CLASSES),
        MAP,
    ),
    "tiny-conv": ("tiny-conv", {}, SampleSpec(shape=(3, 16, 8)), LatentSpec(shape=(8,))),
    "tiny-conv-classes": (
        "tiny-conv",
        {},
        SampleSpec(shape=(1, 8, 16), classes=CLASSES),
        LatentSpec(shape=(8,)),
    ),
    "two-layers": ("two-layers", {}, SampleSpec(shape=(3, 8, 12)), LatentSpec(shape=(8,))),
}
SIZES = (1, 4, 7, 32)


def from_docs(name):
    """The first example of docs/plugins.md, without its training."""
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    code = re.search(r"^```python\n(.*?)^ganzoo\.Trainer", page, re.MULTILINE | re.DOTALL)[1]
    with architectures_as_before():
        exec(code, namespace := {"__name__": "docs_example"})
    return namespace["TwoLayers"]


def from_plugin(name):
    path = ROOT / "tests" / "plugin_example" / "src" / "ganzoo_example" / "tiny_conv.py"
    spec = importlib.util.spec_from_file_location("example_tiny_conv", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TinyConv


class architectures_as_before:  # noqa: N801
    """Whatever is registered within the block is taken out again."""

    def __enter__(self):
        self.names = set(architectures.names())

    def __exit__(self, *_):
        for name in set(architectures.names()) - self.names:
            architectures.registry.unregister(name)


def nets(case):
    """Generator and discriminator, and what the generator is fed: a function of the count."""
    name, options, spec, latent = BUILT[case]
    sources = {"tiny-conv": from_plugin, "two-layers": from_docs}
    cls = sources.get(name, architectures.get)(name)
    arch = cls(**options)
    torch.manual_seed(3)
    generator, discriminator = arch.generator(spec, latent), arch.discriminator(spec)
    # As training leaves them: batch norm has seen numbers.
    generator(latent.sample(16), labels(spec, 16))
    return (generator.eval(), discriminator.eval(), spec, latent)


def labels(spec, count):
    return torch.arange(count) % len(spec.classes) if spec.classes else None


def inputs(case, player, spec, latent, count):
    """What a net is given."""
    torch.manual_seed(count)
    first = latent.sample(count) if player == "generator" else torch.rand(count, *spec.shape)
    given = labels(spec, count)
    return (first,) if given is None else (first, given)


def test_all_built_ins_are_exported():
    built_in = {e.name for e in architectures.registry.entries() if e.distribution == "ganzoo"}
    assert built_in <= {name for name, *_ in BUILT.values()}


def traced(net, example):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls traces old-fashioned
        return torch.jit.trace(net, example)


def exported(net, example):
    count = torch.export.Dim("count", min=1, max=4096)
    shapes = tuple({0: count} for _ in example)
    return torch.export.export(net, example, dynamic_shapes=shapes).module()


def onnx(net, example):
    for needed in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(needed)
    import onnxruntime

    count = torch.export.Dim("count", min=1, max=4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two inputs share the name of an axis
        program = torch.onnx.export(
            net,
            example,
            dynamo=True,
            dynamic_shapes=tuple({0: count} for _ in example),
            verbose=False,
        )
    program.save("net.onnx")
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(*given):
        loader = dict(zip(names, (each.numpy() for each in given), strict=True))
        return torch.from_numpy(session.run(None, loader)[0])

    return run


@pytest.mark.parametrize("player", ["generator", "discriminator"])
@pytest.mark.parametrize("way", [traced, exported, onnx], ids=lambda way: way.__name__)
@pytest.mark.parametrize("case", BUILT)
def test_an_exported_net_takes_any_batch(case, way, player):
    generator, discriminator, spec, latent = nets(case)
    net = generator if player == "generator" else discriminator
    there = way(net, inputs(case, player, spec, latent, 4))
    for count in SIZES:
        given = inputs(case, player, spec, latent, count)
        with torch.no_grad():
            torch.testing.assert_close(there(*given), net(*given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("case", BUILT)
def test_a_trace_at_any_batch_serves_all(case, count):
    generator, _, spec, latent = nets(case)
    there = traced(generator, inputs(case, "generator", spec, latent, count))
    for other in SIZES:
        given = inputs(case, "generator", spec, latent, other)
        with torch.no_grad():
            torch.testing.assert_close(there(*given), generator(*given), rtol=1e-5, atol=1e-5)


# -- what the check tells authors ------------------------------------------------------------------


class Plain(nn.Module):
    """A generator whose ``shape`` some subclass gets wrong."""

    def __init__(self, spec, latent):
        super().__init__()
        self.shape, self.latent = spec.shape, latent.numel
        self.layer = nn.Linear(latent.numel, spec.numel)

    def forward(self, z, labels=None):
        return self.shaped(z, self.layer(z.flatten(1)).tanh())


def plugin(shaped):
    class Bound(Architecture):
        """A generator that shapes its samples in one way or another."""

        def generator(self, spec, latent):
            net = Plain(spec, latent)
            net.shaped = lambda z, x: shaped(net, z, x)
            return net

        def discriminator(self, spec):
            return Discriminator(spec)

    return Bound


class Discriminator(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.judge = nn.Linear(spec.numel, 1)

    def forward(self, x, labels=None):
        return self.judge(x.flatten(1)).squeeze(1)


BOUND = {
    "len(z)": lambda net, z, x: x.reshape(len(z), *net.shape),
    "len(x)": lambda net, z, x: x.view(len(x), *net.shape),
    "int(size)": lambda net, z, x: x.reshape(int(z.shape[0]), *net.shape),
    "item": lambda net, z, x: x.reshape(torch.tensor(z.shape[0]).item(), *net.shape),
    "list": lambda net, z, x: torch.stack([each.reshape(net.shape) for each in x]),
    "range": lambda net, z, x: torch.cat([x[i : i + 1] for i in range(len(x))]).reshape(
        -1, *net.shape
    ),
    "split": lambda net, z, x: torch.stack([part.reshape(net.shape) for part in x.unbind()]),
    "chunks": lambda net, z, x: torch.cat(
        [part.reshape(-1, *net.shape) for part in x.split([1] * len(x))]
    ),
    "expand": lambda net, z, x: (
        x.reshape(-1, *net.shape) + torch.zeros(1, *net.shape).expand(len(x), *net.shape)
    ),
    "zeros": lambda net, z, x: x.reshape(-1, *net.shape) + torch.zeros(len(x), *net.shape),
    "numpy": lambda net, z, x: x.reshape(tuple(int(n) for n in (x.shape[0], *net.shape))),
    "arange": lambda net, z, x: x[torch.arange(len(x))].reshape(-1, *net.shape),
}
FREE = {
    "-1": lambda net, z, x: x.reshape(-1, *net.shape),
    "shape[0]": lambda net, z, x: x.reshape(z.shape[0], *net.shape),
    "size(0)": lambda net, z, x: x.view(z.size(0), *net.shape),
    "unflatten": lambda net, z, x: x.unflatten(1, net.shape),
    "zeros_like": lambda net, z, x: (x + torch.zeros_like(x)).reshape(-1, *net.shape),
    "new_zeros": lambda net, z, x: (x + x.new_zeros(x.shape[0], 1)).reshape(-1, *net.shape),
}


@pytest.fixture
def registered():
    def register(shaped):
        return architectures.register("bound")(plugin(shaped))

    with architectures_as_before():
        yield register


@pytest.mark.parametrize("way", BOUND)
def test_the_check_finds_a_generator_that_is_bound_to_its_batch(registered, way):
    with pytest.raises(AssertionError, match="cannot be exported: traced with 4 latents"):
        check_architecture(registered(BOUND[way]))


@pytest.mark.parametrize("way", FREE)
def test_the_check_lets_pass_what_takes_any_batch(registered, way):
    check_architecture(registered(FREE[way]))


def test_the_check_lets_pass_what_cannot_be_traced(registered):
    def shaped(net, z, x):
        if torch.jit.is_tracing():
            raise RuntimeError("no export")
        return x.reshape(len(z), *net.shape)

    check_architecture(registered(shaped))
