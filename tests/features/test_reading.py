"""Weights are read once for their hash and their use, and what is used is what was hashed."""

import gc
import os

import pytest
import torch
from safetensors.torch import save_file

from ganzoo import features, metrics
from ganzoo.core.spec import SampleSpec
from ganzoo.datasets import InMemoryDataset
from ganzoo.evaluation import EvalOptions
from ganzoo.evaluation.feature_pass import FeaturePass
from ganzoo.evaluation.opening import sample_source
from ganzoo.features import huggingface, inception, vgg16, weights
from ganzoo.features.base import fingerprint
from ganzoo.features.inception_net import InceptionNet
from ganzoo.features.weights import Reading, stamp
from ganzoo.files import statedicts
from ganzoo.metrics import lpips

SPEC = SampleSpec(kind="image", shape=(3, 32, 32), value_range=(-1, 1))
CPU = torch.device("cpu")


@pytest.fixture
def read(monkeypatch):
    """The names of the weight files that are read as a whole, each time that one is."""
    names = []

    def told(function):
        def wrapper(path, *args, **options):
            names.append(path.name)
            return function(path, *args, **options)

        return wrapper

    monkeypatch.setattr(statedicts, "read", told(statedicts.read))
    monkeypatch.setattr(weights, "sha256", told(weights.sha256))
    weights._file_hash.cache_clear()
    for cache in (lpips._hashes, lpips._loaded, lpips._read):
        cache.cache_clear()
    return names


def drawn(shapes):
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=random) * 0.01 for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    save_file(drawn(InceptionNet.shapes()), path)
    return path


def gathered(*chosen):
    pictures = InMemoryDataset.of(torch.zeros(4, *SPEC.shape, dtype=torch.uint8))
    side = sample_source(pictures, None, None, keep=False)
    found = FeaturePass(chosen, None, side, CPU, EvalOptions(precision="fp32", batch_size=4))
    found.build()
    return found


@pytest.mark.parametrize(
    "names",
    [["fid"], ["kid"], ["fid", "kid"], ["inception-score"], ["fid", "inception-score", "kid"]],
)
def test_inception_is_read_once_for_an_evaluation(inception_file, monkeypatch, read, names):
    monkeypatch.setenv(inception.ENVIRONMENT, str(inception_file))
    chosen = [metrics.create(name) for name in names]
    gathered(*chosen)
    assert read == [inception_file.name]
    gathered(*chosen)  # another evaluation is another use
    assert read == [inception_file.name] * 2


def test_a_file_that_is_found_in_a_cache_is_hashed_once(inception_file, monkeypatch, read):
    monkeypatch.delenv(inception.ENVIRONMENT, raising=False)
    place = weights.extractors_root() / inception.WEIGHTS.names[0]
    place.parent.mkdir(parents=True)
    place.symlink_to(inception_file)
    monkeypatch.setattr(weights, "sha256", lambda path: read.append("hash") or "")
    other = inception.WEIGHTS
    monkeypatch.setattr(inception, "WEIGHTS", type(other)(**{**vars(other), "digest": ""}))
    net = features.create("inception")
    net.protocol(), net.logits_hash(), net.build(CPU, "fp32")
    assert read == ["hash", place.name]


@pytest.fixture
def dinov2(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dino")
    return tmp_path / "dino"


@pytest.fixture
def clip(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=8,
    )
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_a_model_of_the_hub_is_loaded_once(name, request, monkeypatch):
    folder = request.getfixturevalue(name)
    loaded = []
    load = huggingface.HubModel.load

    def counted(*args):
        loaded.append(args[1])
        return load(*args)

    monkeypatch.setattr(huggingface.HubModel, "load", counted)
    extractor = {"name": name, "weights": str(folder)}
    chosen = [
        metrics.create({"name": each, "extractor": extractor}) for each in ("kid", "precision")
    ]
    gathered(*chosen)
    assert loaded == [str(folder)]
    gathered(*chosen)
    assert loaded == [str(folder)] * 2


def test_a_hub_extractor_hashes_another_file_anew(dinov2):
    extractor = features.create({"name": "dinov2", "weights": str(dinov2)})
    before = extractor.weights_hash()
    model = huggingface.HubModel.load(type(extractor).model, str(dinov2), None)
    with torch.no_grad():
        model.layernorm.weight += 1
    model.save_pretrained(dinov2)
    assert extractor.weights_hash() != before
    used = extractor.loaded().state_dict()  # what is used is what was hashed last
    assert fingerprint(used) == extractor.weights_hash()


def test_vgg16_is_read_once(tmp_path, monkeypatch, read):
    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features = torch.nn.Linear(2, 2)
            self.classifier = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(7)))

    monkeypatch.setattr(vgg16, "_network", Small)
    save_file(Small().state_dict(), tmp_path / "vgg.safetensors")
    extractor = vgg16.VGG16(weights=tmp_path / "vgg.safetensors")
    extractor.weights_hash()
    extractor.build(CPU, "fp32")
    extractor.weights_hash()
    assert read == ["vgg.safetensors"]


def test_lpips_is_read_once(tmp_path, monkeypatch, read):
    net = lpips.LPIPS(None)
    trunk = {f"{n}.{k}": v for n, x in net._layers() for k, v in x.state_dict().items()}
    heads = {
        f"lin{i}.model.1.weight": head[None, :, None, None] for i, head in enumerate(net.heads)
    }
    for name, tensors in (("trunk", trunk), ("heads", heads)):
        kept = {key: value.detach().contiguous() for key, value in tensors.items()}
        save_file(kept, tmp_path / f"{name}.safetensors")
    monkeypatch.setenv(vgg16.ENVIRONMENT, str(tmp_path / "trunk.safetensors"))
    monkeypatch.setenv(lpips.HEADS.environment, str(tmp_path / "heads.safetensors"))
    hashes = lpips.hashes()
    used = [lpips.pretrained(size, CPU) for size in (None, 64, 32)]
    assert sorted(read) == ["heads.safetensors", "trunk.safetensors"]
    for each in used:
        state = each.state_dict()
        found = fingerprint({n: v for n, v in state.items() if n.startswith("heads.")})
        assert found == hashes["heads"]
    pictures = torch.rand(2, 3, 32, 32) * 255
    torch.testing.assert_close(used[0](pictures, pictures.flip(0)), net(pictures, pictures.flip(0)))


class Owner:
    pass


def test_what_is_used_is_what_was_hashed(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    reading = Reading(str.upper)
    owner = Owner()
    assert reading.digest(owner, lambda: stamp(path), path.read_text) == "ONE"
    path.write_text("other")
    assert reading.take(owner, path.read_text) == "one"
    assert reading.take(owner, path.read_text) == "other"
    assert reading.digest(owner, lambda: stamp(path), path.read_text) == "OTHER"


def test_each_owner_takes_what_was_read_for_it(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    reading = Reading(str.upper)
    first, second = Owner(), Owner()
    reading.digest(first, lambda: stamp(path), path.read_text)
    reading.digest(second, lambda: stamp(path), lambda: pytest.fail("is known"))
    assert reading.take(second, lambda: "read") == "read"
    assert reading.take(first, lambda: "read") == "one"


def test_nothing_is_held_for_what_is_gone(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    reading = Reading(str.upper)
    owner = Owner()
    reading.digest(owner, lambda: stamp(path), path.read_text)
    del owner
    gc.collect()
    assert not reading._held


def test_a_hash_is_not_remembered_of_a_file_exchanged_while_it_was_read(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    reading = Reading(str.upper)
    owner = Owner()

    def exchanged():
        content = path.read_text()
        path.write_text("another")
        return content

    assert reading.digest(owner, lambda: stamp(path), exchanged) == "ONE"
    assert reading.digest(owner, lambda: stamp(path), path.read_text) == "ANOTHER"


def test_a_file_of_the_same_size_and_time_is_another_one(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("one")
    other.write_text("two")
    os.utime(one, ns=(1, 1))
    os.utime(other, ns=(1, 1))
    before = stamp(one)
    other.replace(one)
    assert stamp(one) != before
